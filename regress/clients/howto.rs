//! The stack of the how-to, after the changes that a sed script makes: mail
//! submitted over both ports is read by every client.

use super::sendmail::messages;
use crate::daemon::{certificate, write, Daemon};
use crate::{Env, Outcome};
use std::path::Path;
use std::process::{Command, Output, Stdio};

const LOGIN: &str = "example_user@example.org";
const PASSWORD: &str = "a password";

/// The how-to's system user, made for the test where it is missing.
struct Vmail {
    made: bool,
}

impl Vmail {
    fn make() -> Option<Vmail> {
        let exists = || {
            let id = Command::new("id").arg("vmail").stderr(Stdio::null()).output();
            id.is_ok_and(|o| o.status.success())
        };
        if exists() {
            return Some(Vmail { made: false });
        }
        let made = Command::new("useradd")
            .args(["-u", "2000", "-U", "-M", "-d", "/var/empty", "-s", "/usr/sbin/nologin"])
            .arg("vmail")
            .stderr(Stdio::null())
            .status();
        (made.is_ok_and(|s| s.success()) && exists()).then_some(Vmail { made: true })
    }
}

impl Drop for Vmail {
    fn drop(&mut self) {
        if self.made {
            // It stays if something of it still runs; the next run uses it.
            let _ = Command::new("userdel").arg("vmail").stderr(Stdio::null()).status();
        }
    }
}

fn run(command: &mut Command) -> Output {
    command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"))
}

fn ok(command: &mut Command, daemon: &Daemon) -> String {
    let out = run(command);
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{command:?}: {err}\n{}", daemon.log());
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// Fills the directory as the how-to does, and starts the daemon.
fn start(env: &Env) -> Daemon {
    let dir = &env.dir;
    let howto = env.root().join("regress/config/howto");
    let (cert, key) = certificate(dir, "mail", &["mail.example.org", "localhost"]);
    std::fs::rename(&cert, dir.join("mail.example.org.pem")).expect("rename");
    std::fs::rename(&key, dir.join("mail.example.org.key")).expect("rename");
    let out = run(Command::new(env.rmailctl()).arg("encrypt").arg(PASSWORD));
    let hash = String::from_utf8_lossy(&out.stdout).trim().to_string();
    assert!(hash.starts_with("$2"), "{hash}");
    let home = dir.join("vmail/example.org/example_user");
    let (home, d) = (home.display(), dir.display());
    let credentials =
        format!("{LOGIN}:{hash}:vmail:2000:2000:{home}::userdb_mail=maildir:{home}\n");
    write(&dir.join("credentials"), credentials);
    let virtuals = env.root().join("regress/config/howto/virtuals");
    let virtuals = std::fs::read_to_string(virtuals).unwrap_or_else(|_| {
        "example_user@example.com: vmail\npostmaster@example.com: example_user@example.com\n".into()
    });
    write(&dir.join("virtuals"), virtuals.replace("example.com", "example.org"));
    write(&dir.join("aliases"), "root: vmail\n");
    std::fs::create_dir_all(dir.join("vmail/example.org")).expect("mkdir");
    ok_chown(&dir.join("vmail"));
    ok_chown(&dir.join("vmail/example.org"));
    let fill = |text: String| {
        let ports = ["@SUBMISSION@", "@SUBMISSIONS@", "@SMTP@", "@IMAPS@"];
        let text = ports.iter().fold(text, |t, p| t.replace(p, "0"));
        text.replace("@DIR@", &d.to_string()).replace("on lo0 ", "on 127.0.0.1 ")
    };
    let sed = run(Command::new("sed")
        .arg("-f")
        .arg(howto.join("smtpd.sed"))
        .arg(howto.join("smtpd.conf")));
    write(&dir.join("rmail.conf"), fill(String::from_utf8_lossy(&sed.stdout).into_owned()));
    let own = std::fs::read_to_string(howto.join("own.conf")).expect("own.conf");
    write(&dir.join("own.conf"), fill(own).replace("/rmaild.sock", "/run/rmaild.sock"));
    std::fs::create_dir_all(dir.join("run")).expect("mkdir");
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o755)).expect("chmod");
    Daemon::launch(env, dir)
}

fn ok_chown(path: &Path) {
    let done = Command::new("chown").arg("vmail").arg(path).status();
    assert!(done.is_ok_and(|s| s.success()), "chown vmail {}", path.display());
}

fn submit(env: &Env, daemon: &Daemon, url: &str, subject: &str) {
    let message = env.dir.join("message");
    let text =
        format!("From: {LOGIN}\r\nTo: {LOGIN}\r\nSubject: {subject}\r\n\r\nbody of {subject}\r\n");
    write(&message, text);
    let mut curl = Command::new("curl");
    curl.args(["-sS", "--ssl-reqd", "--cacert"]).arg(env.dir.join("mail.example.org.pem"));
    curl.arg(url).arg("--user").arg(format!("{LOGIN}:{PASSWORD}"));
    curl.args(["--mail-from", LOGIN, "--mail-rcpt", LOGIN, "--upload-file"]).arg(&message);
    ok(&mut curl, daemon);
}

pub fn mail_is_read_by_every_client(env: &Env) -> Outcome {
    for tool in ["curl", "mbsync", "mutt", "fetchmail", "python3", "openssl"] {
        let found = Command::new("sh").arg("-c").arg(format!("command -v {tool}")).output();
        if !found.is_ok_and(|o| o.status.success()) {
            return Outcome::Skipped(format!("no {tool}: run make deps"));
        }
    }
    let uid = run(Command::new("id").arg("-u"));
    if uid.stdout != b"0\n" {
        // The how-to's mailboxes belong to another user.
        return Outcome::Passed;
    }
    let Some(_vmail) = Vmail::make() else {
        return Outcome::Skipped("no user vmail".into());
    };
    let daemon = start(env);
    let submission = daemon.address("smtp", 0).port();
    let submissions = daemon.address("smtps", 0).port();
    let imaps = daemon.address("imaps", 0).port();
    submit(env, &daemon, &format!("smtp://localhost:{submission}/client"), "over-587");
    submit(env, &daemon, &format!("smtps://localhost:{submissions}/client"), "over-465");
    daemon.drained();
    let maildir = env.dir.join("vmail/example.org/example_user");
    assert_eq!(messages(&maildir).len(), 2, "at the action's path: {}", daemon.log());
    let both = |client: &str, text: &str| {
        for subject in ["over-587", "over-465"] {
            assert!(
                text.contains(&format!("body of {subject}")),
                "{client}: {text}\n{}",
                daemon.log()
            );
        }
    };
    let cert = env.dir.join("mail.example.org.pem");
    let cert = cert.display();
    let dir = env.dir.display();

    let url = format!("imaps://localhost:{imaps}/INBOX;MAILINDEX=[1-2]");
    let user = format!("{LOGIN}:{PASSWORD}");
    let text = ok(
        Command::new("curl")
            .args(["-sS", "--cacert"])
            .arg(cert.to_string())
            .arg(url)
            .arg("--user")
            .arg(user),
        &daemon,
    );
    both("curl", &text);

    let script = format!(
        "import imaplib, ssl\n\
         c = ssl.create_default_context(cafile={:?})\n\
         m = imaplib.IMAP4_SSL('localhost', {imaps}, ssl_context=c)\n\
         m.login({LOGIN:?}, {PASSWORD:?})\n\
         print(m.list())\n\
         print(m.select('INBOX'))\n\
         for n in m.search(None, 'ALL')[1][0].split():\n    \
             print(m.fetch(n, '(BODY.PEEK[] FLAGS)')[1][0][1].decode())\n\
         m.logout()\n",
        cert.to_string()
    );
    let text = ok(Command::new("python3").arg("-c").arg(script), &daemon);
    both("imaplib", &text);
    for mailbox in ["Archive", "Drafts", "Junk", "Sent", "Trash"] {
        assert!(text.contains(mailbox), "no {mailbox}: {text}");
    }

    let sync = format!(
        "IMAPStore far\nHost localhost\nPort {imaps}\nUser {LOGIN}\nPass \"{PASSWORD}\"\n\
         SSLType IMAPS\nCertificateFile {cert}\n\nMaildirStore near\nPath {dir}/near/\n\
         Inbox {dir}/near/INBOX\nSubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\n\
         Patterns INBOX\nCreate Near\nSync Pull\nSyncState *\n"
    );
    write(&env.dir.join("mbsyncrc"), sync);
    std::fs::create_dir_all(env.dir.join("near")).expect("mkdir");
    ok(Command::new("mbsync").arg("-c").arg(env.dir.join("mbsyncrc")).arg("all"), &daemon);
    both("mbsync", &messages(&env.dir.join("near/INBOX")).join("\n"));

    let fetch = format!(
        "poll localhost protocol imap service {imaps} user \"{LOGIN}\" password \"{PASSWORD}\" \
         ssl sslcertck sslcertfile {cert} keep fetchall mda \"cat >> {dir}/fetched\"\n"
    );
    write(&env.dir.join("fetchmailrc"), fetch);
    let mut fetchmail = Command::new("fetchmail");
    fetchmail.arg("-f").arg(env.dir.join("fetchmailrc")).env("FETCHMAILHOME", &env.dir);
    ok(fetchmail.env("HOME", &env.dir), &daemon);
    both("fetchmail", &std::fs::read_to_string(env.dir.join("fetched")).unwrap_or_default());

    // Each message is shown by a pager that keeps it.
    let pager = env.dir.join("pager");
    write(&pager, format!("#!/bin/sh\ncat \"$1\" >> {dir}/copied\n"));
    let muttrc = format!(
        "set certificate_file=\"{cert}\"\nset imap_user=\"{LOGIN}\"\n\
         set imap_pass=\"{PASSWORD}\"\nset folder=\"imaps://localhost:{imaps}/\"\n\
         set spoolfile=\"imaps://localhost:{imaps}/INBOX\"\n\
         set pager=\"sh {dir}/pager\"\nset prompt_after=no\nset wait_key=no\nset sort=mailbox-order\n\
         push \"1<enter><display-message>2<enter><display-message><exit>\"\n"
    );
    write(&env.dir.join("muttrc"), muttrc);
    let script = format!("TERM=xterm mutt -n -F {dir}/muttrc");
    let mut mutt = Command::new("timeout");
    mutt.args(["30", "script", "-qec"]).arg(script).arg("/dev/null");
    let out = run(mutt.env("HOME", &env.dir).env("LC_ALL", "C"));
    let copied = std::fs::read_to_string(env.dir.join("copied")).unwrap_or_default();
    assert!(
        copied.contains("body of over-587") && copied.contains("body of over-465"),
        "mutt: {copied}\n{}\n{}",
        String::from_utf8_lossy(&out.stdout),
        daemon.log()
    );
    Outcome::Passed
}

/// `make demo DEMO_EXIT=1`, with the programs that are under test.
pub fn demo(env: &Env) -> Outcome {
    let bin = env.rmaild().parent().expect("a directory");
    let out = run(Command::new("sh")
        .arg(env.root().join("etc/demo.sh"))
        .env("DEMO_EXIT", "1")
        .env("BIN", bin)
        .env("TMPDIR", &env.dir));
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let err = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(out.status.success(), "{text}\n{err}");
    assert!(text.contains("Hello from make demo"), "{text}");
    Outcome::Passed
}
