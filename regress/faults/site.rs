//! A daemon with everything: SMTP, submission, IMAP, two mailboxes, a relay.

use crate::daemon::{certificate, eventually, Daemon};
use crate::imap::client::Client as Imap;
use crate::sink::{Action, Event, Options, Sink};
use crate::smtp::client::Client as Smtp;
use crate::Env;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longer than anything that must happen takes.
pub const SOON: Duration = Duration::from_secs(30);
/// The recipients here; each has a mailbox of its own.
pub const JOE: &str = "joe@example.com";
pub const ANN: &str = "ann@example.com";
/// Both users' password.
pub const PASSWORD: &str = "secret";
/// A header to begin a message with.
pub const HEADER: &str = "From: a@sender.example\r\nSubject: x\r\n\r\n";

/// A running daemon and the sink that takes what it relays.
pub struct Site {
    pub daemon: Daemon,
    pub sink: Sink,
}

impl Site {
    /// With lines of configuration before the listeners.
    pub fn start(env: &Env, more: &str) -> Site {
        let sink = Sink::start(Options::default());
        configure(&env.dir, &sink, more);
        Site { daemon: Daemon::launch(env, &env.dir), sink }
    }

    /// With a host that does what the script says.
    pub fn relaying(
        env: &Env,
        script: impl Fn(&Event<'_>) -> Action + Send + Sync + 'static,
    ) -> Site {
        let sink = Sink::start(Options { script: Box::new(script), ..Options::default() });
        configure(&env.dir, &sink, "");
        Site { daemon: Daemon::launch(env, &env.dir), sink }
    }

    /// With file systems of their own below the test's directory: name and
    /// options of tmpfs.  As root only.
    pub fn small(env: &Env, sink: Sink, mounts: &[(&str, &str)], more: &str) -> Site {
        configure(&env.dir, &sink, more);
        let mut script = String::new();
        for (name, options) in mounts {
            let at = env.dir.join(name);
            std::fs::create_dir_all(&at).expect("mkdir");
            script += &format!("mount -t tmpfs -o {options} tmpfs '{}'\n", at.display());
        }
        Site { daemon: Daemon::launch_within(env, &env.dir, &script), sink }
    }

    /// A path below the test's directory, as the daemon sees it.
    pub fn path(&self, name: &str) -> PathBuf {
        let inside = self.daemon.dir.join(name);
        let relative = inside.strip_prefix("/").expect("an absolute path");
        Path::new("/proc").join(self.daemon.pid().to_string()).join("root").join(relative)
    }

    /// The message files of a mailbox, in `new` and `cur`.
    pub fn mails(&self, user: &str) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for part in ["new", "cur"] {
            all.extend(entries(&self.path(&format!("mail/{user}/{part}"))));
        }
        all
    }

    /// A client that has said EHLO.
    pub fn smtp(&self) -> Smtp {
        let mut client = Smtp::connect(self.daemon.address("smtp", 0));
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.ask("EHLO client.example"), 250);
        client
    }

    /// A client of the submission port that has logged in under TLS.
    pub fn submission(&self, user: &str) -> Smtp {
        let mut client = Smtp::connect(self.daemon.address("smtp", 1));
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.ask("EHLO client.example"), 250);
        assert_eq!(client.ask("STARTTLS"), 220);
        client.start_tls();
        assert_eq!(client.ask("EHLO client.example"), 250);
        let plain = openssl::base64::encode_block(format!("\0{user}\0{PASSWORD}").as_bytes());
        assert_eq!(client.ask(&format!("AUTH PLAIN {plain}")), 235);
        client
    }

    /// Posts a message with this text, which must be accepted.
    pub fn post(&self, to: &str, text: &str) {
        let code = post(&mut self.smtp(), to, text);
        assert_eq!(code, 250, "{}", self.daemon.log());
    }

    /// A connection to the IMAP port, its greeting read.
    pub fn imap(&self) -> Imap {
        let mut client = Imap::tls(self.daemon.address("imaps", 0));
        let greeting = client.line();
        assert!(greeting.starts_with("* OK "), "{greeting}");
        client
    }

    /// A session of a user.
    pub fn login(&self, user: &str) -> Imap {
        let mut client = self.imap();
        let answer = client.answer(&format!("LOGIN {user} {PASSWORD}"));
        assert!(answer.starts_with("OK "), "{answer}\n{}", self.daemon.log());
        client
    }

    /// The only process of a kind.
    pub fn pid(&self, kind: &str) -> u32 {
        self.daemon.pids(kind)[0]
    }

    /// Waits until the log has this.
    pub fn logged(&self, text: &str) {
        let found = eventually(SOON, || self.daemon.log().contains(text));
        assert!(found, "{text} is not in:\n{}", self.daemon.log());
    }

    /// A message to joe arrives, and nothing else does.
    pub fn works(&self) {
        self.daemon.drained();
        let before = self.mails("joe").len();
        self.post(JOE, "the next message");
        self.daemon.drained();
        assert_eq!(self.mails("joe").len(), before + 1, "{}", self.daemon.log());
    }

    /// Nothing is left of what was refused.
    pub fn spool_is_empty(&self) {
        let left = || {
            let mut all = entries(&self.path("spool/incoming"));
            all.extend(entries(&self.path("spool/queue")));
            all
        };
        assert!(eventually(SOON, || left().is_empty()), "{:?}\n{}", left(), self.daemon.log());
    }
}

/// The files of a directory; none if it is not there.
pub fn entries(dir: &Path) -> Vec<PathBuf> {
    let Ok(all) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut all: Vec<PathBuf> = all.map(|e| e.expect("an entry").path()).collect();
    all.sort();
    all
}

/// Posts a message; the code of the last reply.
pub fn post(client: &mut Smtp, to: &str, text: &str) -> u16 {
    assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
    assert_eq!(client.ask(&format!("RCPT TO:<{to}>")), 250);
    match client.ask("DATA") {
        354 => client.ask(&format!("{HEADER}{text}\r\n.")),
        refused => refused,
    }
}

/// Writes the configuration and what it names.
pub fn configure(dir: &Path, sink: &Sink, more: &str) {
    let mail = dir.join("mail");
    std::fs::create_dir_all(&mail).expect("mkdir");
    let uid = match rmail::sys::user::uid() {
        0 => {
            std::os::unix::fs::chown(&mail, Some(12_000), Some(12_000)).expect("chown");
            12_000
        }
        own => own,
    };
    if !dir.join("server.pem").exists() {
        certificate(dir, "server", &["mail.example.com"]);
    }
    let hash = rmail::sys::crypt::new_hash(PASSWORD.as_bytes(), 4).expect("crypt");
    let config = format!(
        "hostname \"mail.example.com\"\n\
         pki \"mail.example.com\" cert \"@DIR@/server.pem\"\n\
         pki \"mail.example.com\" key \"@DIR@/server.key\"\n\
         table credentials {{ \"{JOE}\" = \"{hash}\", \"{ANN}\" = \"{hash}\" }}\n\
         table users {{ \"joe\" = \"{uid}:{uid}:@DIR@/mail\", \"ann\" = \"{uid}:{uid}:@DIR@/mail\" }}\n\
         table virtuals {{ \"{JOE}\" = \"joe\", \"{ANN}\" = \"ann\" }}\n\
         queue retry local 100ms\n\
         queue retry remote 100ms\n\
         limit login-delay 1ms\n\
         limit mta-idle-time 200ms\n\
         {more}\n\
         listen on 127.0.0.1 port 0\n\
         listen on 127.0.0.1 port 0 tls-require pki \"mail.example.com\" auth <credentials>\n\
         listen on 127.0.0.1 port 0 imaps pki \"mail.example.com\" auth <credentials>\n\
         action \"in\" maildir \"@DIR@/mail/%{{dest.user:lowercase}}\" virtual <virtuals> userbase <users>\n\
         action \"out\" relay host \"smtp://{sink}\"\n\
         match from any for domain \"example.com\" action \"in\"\n\
         match from any for any action \"out\"\n",
        sink = sink.addr,
    );
    Daemon::configure(dir, &config);
}

/// Sends a signal.
pub fn signal(pid: u32, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(pid).expect("a pid")), signal).expect("kill");
}

/// A process that is stopped for as long as this lives.
pub struct Stopped(u32);

impl Stopped {
    pub fn new(pid: u32) -> Stopped {
        signal(pid, Signal::SIGSTOP);
        let state = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
        };
        assert!(eventually(SOON, state), "{pid} does not stop");
        Stopped(pid)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // Not to panic: the process may be gone, and a test with it.
        let _ = kill(Pid::from_raw(i32::try_from(self.0).unwrap_or(0)), Signal::SIGCONT);
    }
}
