//! sendmail(8) over the control socket.

use crate::daemon::Daemon;
use crate::{Env, Outcome};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Who a virtual user's mail belongs to: as root nobody, else whoever runs.
fn owner() -> (u32, u32) {
    let id = |what: &str, user: &str| {
        let out = Command::new("id").arg(what).args((!user.is_empty()).then_some(user)).output();
        let text = String::from_utf8_lossy(&out.expect("id").stdout).trim().to_string();
        text.parse::<u32>().expect("a number")
    };
    match id("-u", "") {
        0 => (id("-u", "nobody"), id("-g", "nobody")),
        uid => (uid, id("-g", "")),
    }
}

/// Whose mail is one user's.
const BOXES: [&str; 5] = ["joe", "ann", "bob", "eve", "kim"];

pub fn start(env: &Env) -> Daemon {
    start_with(env, "")
}

fn start_with(env: &Env, more: &str) -> Daemon {
    let (uid, gid) = owner();
    let mail = env.dir.join("mail");
    std::fs::create_dir_all(&mail).expect("mkdir");
    // Without root it is ours already.
    let _ = std::os::unix::fs::chown(&mail, Some(uid), Some(gid));
    let boxes = BOXES.map(|name| format!("\"{name}@example.com\" = \"joe\"")).join(", ");
    let config = format!(
        "hostname \"mail.example.com\"\n\
         table people {{ \"joe\" = \"{uid}:{gid}:@DIR@/mail\" }}\n\
         table boxes {{ {boxes} }}\n\
         listen on 127.0.0.1 port 0\n\
         action \"in\" maildir \"@DIR@/mail/%{{dest.user}}\" virtual <boxes> userbase <people>\n\
         match from any for domain \"example.com\" action \"in\"\n\
         {more}"
    );
    Daemon::start(env, &config)
}

fn send(env: &Env, daemon: &Daemon, args: &[&str], message: &str) -> Output {
    let mut child = Command::new(env.sendmail())
        .arg("-S")
        .arg(&daemon.socket)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sendmail");
    child.stdin.take().expect("stdin").write_all(message.as_bytes()).expect("write");
    child.wait_with_output().expect("sendmail")
}

/// The messages below a Maildir.
pub fn messages(maildir: &Path) -> Vec<String> {
    let mut all = Vec::new();
    for sub in ["new", "cur"] {
        let entries = std::fs::read_dir(maildir.join(sub));
        for entry in entries.into_iter().flatten().flatten() {
            all.push(String::from_utf8_lossy(&std::fs::read(entry.path()).expect("read")).into());
        }
    }
    all
}

pub fn mailbox(daemon: &Daemon, user: &str) -> PathBuf {
    daemon.dir.join("mail").join(user)
}

pub fn delivers(env: &Env) -> Outcome {
    let daemon = start(env);
    let out = send(env, &daemon, &["-i", "joe@example.com"], "Subject: one\n\n.\nlast\n");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.drained();
    let all = messages(&mailbox(&daemon, "joe"));
    assert_eq!(all.len(), 1, "{}", daemon.log());
    assert!(all[0].contains("Subject: one\n"), "{}", all[0]);
    assert!(all[0].ends_with("\n\n.\nlast\n"), "{}", all[0]);
    assert!(all[0].contains("\nDate: ") && all[0].contains("\nMessage-ID: <"), "{}", all[0]);
    Outcome::Passed
}

pub fn header_recipients(env: &Env) -> Outcome {
    let daemon = start(env);
    let message = "To: joe@example.com\nBcc: ann@example.com\nSubject: two\n\nx\n";
    // Options without a value may stand together.
    let out = send(env, &daemon, &["-ti"], message);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.drained();
    for user in ["joe", "ann"] {
        let all = messages(&mailbox(&daemon, user));
        assert_eq!(all.len(), 1, "{user}: {}", daemon.log());
        assert!(!all[0].contains("Bcc"), "{}", all[0]);
    }
    Outcome::Passed
}

pub fn refused(env: &Env) -> Outcome {
    let daemon = start(env);
    let out = send(env, &daemon, &["nobody-here@example.com"], "Subject: x\n\nx\n");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.contains("nobody-here@example.com: 550 5.1.1 "), "{said}");
    Outcome::Passed
}

pub fn other_names(env: &Env) -> Outcome {
    let daemon = start(env);
    // What rmailctl says of this daemon: the one in PATH would ask another.
    let out = send(env, &daemon, &["-bp"], "");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    Outcome::Passed
}

pub fn speaks_smtp(env: &Env) -> Outcome {
    let daemon = start(env);
    let dialogue = "EHLO here\r\nMAIL FROM:<joe@example.com>\r\nRCPT TO:<joe@example.com>\r\n\
                    DATA\r\nSubject: three\r\n\r\nx\r\n.\r\nQUIT\r\n";
    let out = send(env, &daemon, &["-bs"], dialogue);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    assert!(text.contains("\r\n354 ") && text.contains("\r\n221 "), "{text}");
    daemon.drained();
    assert_eq!(messages(&mailbox(&daemon, "joe")).len(), 1);
    Outcome::Passed
}

/// What was sent while no daemon ran is sent as its owner; links, pipes and
/// what others could have written are not touched, and hold nothing up.
pub fn offline(env: &Env) -> Outcome {
    let daemon = start(env);
    let dir = env.dir.clone();
    assert!(daemon.stop().success());
    let place = dir.join("spool/offline");
    let kept = |subject: &str| rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients: vec!["joe@example.com".into()],
        message: format!("Subject: {subject}\r\n\r\nhi\r\n").into_bytes(),
    };
    let write =
        |to: &Path, subject: &str| rmail::disk::offline::write(to, &kept(subject)).expect("write");
    write(&place, "mine");
    let (uid, gid) = owner();
    let other = write(&place, "another");
    // Without root it is ours as well.
    let _ = std::os::unix::fs::chown(&other, Some(uid), Some(gid));
    let secret = write(&dir, "secret");
    std::os::unix::fs::symlink(&secret, place.join("symlink")).expect("symlink");
    std::fs::hard_link(&secret, place.join("hardlink")).expect("link");
    assert!(Command::new("mkfifo").arg(place.join("fifo")).status().expect("mkfifo").success());
    let open = write(&place, "open");
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o666);
    std::fs::set_permissions(open, mode).expect("chmod");
    let daemon = Daemon::launch(env, &dir);
    let arrived = || messages(&dir.join("mail/joe")).len() == 2;
    assert!(
        crate::daemon::eventually(std::time::Duration::from_secs(60), arrived),
        "{}",
        daemon.log()
    );
    daemon.drained();
    let all = messages(&dir.join("mail/joe")).join("\n");
    assert!(all.contains("Subject: mine\n") && all.contains("Subject: another\n"), "{all}");
    assert!(all.contains(&format!("(uid {uid} [local])")), "{all}");
    let left = std::fs::read_dir(&place).expect("read").count();
    assert_eq!(left, 4, "the two that were sent are gone, the others stay");
    Outcome::Passed
}

/// Nobody waits for the answer to mail that was kept: who is refused comes back.
pub fn offline_refused(env: &Env) -> Outcome {
    let daemon = start(env);
    let dir = env.dir.clone();
    assert!(daemon.stop().success());
    let kept = rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients: ["ann@example.com", "nobody-here@example.com"].map(String::from).to_vec(),
        message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
    };
    let place = dir.join("spool/offline");
    rmail::disk::offline::write(&place, &kept).expect("write");
    let daemon = Daemon::launch(env, &dir);
    let gone = || std::fs::read_dir(&place).expect("read").count() == 0;
    assert!(
        crate::daemon::eventually(std::time::Duration::from_secs(60), gone),
        "{}",
        daemon.log()
    );
    daemon.drained();
    let ann = messages(&dir.join("mail/ann"));
    assert!(ann.len() == 1 && ann[0].contains("Subject: kept\n"), "{ann:?}\n{}", daemon.log());
    let joe = messages(&dir.join("mail/joe"));
    assert_eq!(joe.len(), 1, "{}", daemon.log());
    for line in [
        "Return-Path: <>",
        "Final-Recipient: rfc822; nobody-here@example.com",
        "Status: 5.1.1",
        "Subject: kept",
    ] {
        assert!(joe[0].lines().any(|l| l == line), "{line}\n{}", joe[0]);
    }
    assert!(!joe[0].contains("ann@example.com"), "{}", joe[0]);
    Outcome::Passed
}

/// A session ends at its fiftieth refusal; those whom it did not come to get the
/// message in others, and the sender hears of all who do not.
pub fn offline_many_refused(env: &Env) -> Outcome {
    let daemon = start(env);
    let dir = env.dir.clone();
    assert!(daemon.stop().success());
    let nobody = (0..120).map(|n| format!("nobody{n}@example.com"));
    let kept = rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients: nobody.chain(["ann@example.com".to_string()]).collect(),
        message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
    };
    let place = dir.join("spool/offline");
    rmail::disk::offline::write(&place, &kept).expect("write");
    let daemon = Daemon::launch(env, &dir);
    let gone = || std::fs::read_dir(&place).expect("read").count() == 0;
    let soon = std::time::Duration::from_secs(60);
    assert!(crate::daemon::eventually(soon, gone), "{}", daemon.log());
    daemon.drained();
    assert_eq!(messages(&dir.join("mail/ann")).len(), 1, "{}", daemon.log());
    let told = messages(&dir.join("mail/joe")).concat();
    for n in 0..120 {
        let line = format!("\nFinal-Recipient: rfc822; nobody{n}@example.com\n");
        assert_eq!(told.matches(&line).count(), 1, "{n}: {}", daemon.log());
    }
    Outcome::Passed
}

/// What is not a message that this program knows stays where it is: its sender
/// was told that it is kept.  Half a message goes: he was told that it is not.
pub fn offline_unknown(env: &Env) -> Outcome {
    let kept = rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients: vec!["joe@example.com".into()],
        message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
    };
    for (status, stays, change) in [
        (65, true, (|b| b[4] = b'9') as fn(&mut Vec<u8>)),
        (65, true, |b| *b = String::from_utf8_lossy(b).replace("1:1,", "5:10001,").into_bytes()),
        (66, false, |b| b.truncate(b.len() - 9)),
        (66, false, Vec::clear),
        // Whole, and nobody listens.
        (75, true, |_| {}),
    ] {
        let path = rmail::disk::offline::write(&env.dir, &kept).expect("write");
        let mut bytes = std::fs::read(&path).expect("read");
        change(&mut bytes);
        std::fs::write(&path, &bytes).expect("write");
        let out = Command::new(env.sendmail())
            .arg("-S")
            .arg(env.dir.join("no.sock"))
            .arg("-Z")
            .arg(&path)
            .output()
            .expect("sendmail");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(status), "{said}");
        assert_eq!(path.exists(), stays, "{said}");
        if stays {
            assert_eq!(std::fs::read(&path).expect("read"), bytes, "it is not rewritten");
        }
    }
    Outcome::Passed
}

/// RFC 5321 4.5.3.1.10: who is told that a transaction takes no more
/// recipients sends the message to the others in another.  All or none holds
/// across them.
pub fn several_transactions(env: &Env) -> Outcome {
    let daemon = start_with(env, "smtp limit max-rcpt 2\n");
    let all = BOXES.map(|name| format!("{name}@example.com"));
    let mut args: Vec<&str> = all.iter().map(String::as_str).collect();
    args.push("nobody-here@example.com");
    let out = send(env, &daemon, &args, "Subject: none\n\nx\n");
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(69), "{said}");
    assert!(said.contains("nobody-here@example.com: 550 5.1.1 "), "{said}");
    args.pop();
    let out = send(env, &daemon, &args, "Subject: all\n\nx\n");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.drained();
    for name in BOXES {
        let got = messages(&mailbox(&daemon, name));
        assert!(got.len() == 1 && got[0].contains("Subject: all\n"), "{name}: {got:?}");
    }
    Outcome::Passed
}

/// The same for mail that was kept: everybody who is taken has it once, and the
/// sender hears of the others.
pub fn offline_several_transactions(env: &Env) -> Outcome {
    let daemon = start_with(env, "smtp limit max-rcpt 2\n");
    let mut recipients = BOXES.map(|name| format!("{name}@example.com")).to_vec();
    recipients.insert(1, "nobody-1@example.com".into());
    recipients.push("nobody-2@example.com".into());
    let kept = rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients,
        message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
    };
    let path = rmail::disk::offline::write(&env.dir, &kept).expect("write");
    let out = send(env, &daemon, &["-Z", path.to_str().expect("a path")], "");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(!path.exists());
    daemon.drained();
    for name in BOXES {
        let got = messages(&mailbox(&daemon, name));
        let (own, reports): (Vec<_>, Vec<_>) =
            got.iter().partition(|m| !m.contains("\nAuto-Submitted: "));
        assert_eq!(own.len(), 1, "{name}: {got:?}");
        assert_eq!(reports.len(), if name == "joe" { 2 } else { 0 }, "{name}: {got:?}");
    }
    let reports = messages(&mailbox(&daemon, "joe")).concat();
    for nobody in ["nobody-1", "nobody-2"] {
        let field = format!("Final-Recipient: rfc822; {nobody}@example.com\n");
        assert_eq!(reports.matches(&field).count(), 1, "{reports}");
    }
    let ids: std::collections::HashSet<_> = reports
        .lines()
        .filter(|l| l.starts_with("Message-ID: ") && l.contains("@mail.example.com"))
        .collect();
    assert!(ids.len() >= 2, "two reports are two messages: {ids:?}");
    Outcome::Passed
}

fn keep_one(place: &Path, subject: &str) -> PathBuf {
    let kept = rmail::disk::offline::Kept {
        sender: "joe@example.com".into(),
        notify: None,
        ret: None,
        envid: None,
        recipients: vec!["joe@example.com".into()],
        message: format!("Subject: {subject}\r\n\r\nhi\r\n").into_bytes(),
    };
    rmail::disk::offline::write(place, &kept).expect("write")
}

/// Who found no socket a moment before it was there writes his file after the
/// daemon has looked for the first time.
pub fn offline_after_the_start(env: &Env) -> Outcome {
    let daemon = start(env);
    let place = daemon.dir.join("spool/offline");
    // Its first look is over when it answers.
    assert!(daemon.ctl_ok(&["show", "stats"]).contains("\nparent.offline=0\n"));
    keep_one(&place, "late");
    let joe = mailbox(&daemon, "joe");
    let arrived = || messages(&joe).len() == 1;
    let limit = std::time::Duration::from_secs(60);
    assert!(crate::daemon::eventually(limit, arrived), "{}", daemon.log());
    Outcome::Passed
}

/// A sendmail of the offline directory that its user has stopped is killed
/// after the time of a program, and its message is tried again.
pub fn offline_stopped(env: &Env) -> Outcome {
    let daemon = start_with(env, "limit program-time 2s\n");
    let dir = daemon.dir.clone();
    assert!(daemon.stop().success());
    // The daemon runs the sendmail beside it: one that stops the first time.
    let (bin, once) = (dir.join("bin"), dir.join("once"));
    crate::daemon::write(
        &bin.join("sendmail"),
        format!(
            "#!/bin/sh\nmkdir {} && kill -STOP $$\nexec {} \"$@\"\n",
            once.display(),
            env.sendmail().display()
        ),
    );
    for path in [bin.clone(), bin.join("sendmail")] {
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(path, mode).expect("chmod");
    }
    std::os::unix::fs::symlink(env.rmaild(), bin.join("rmaild")).expect("symlink");
    keep_one(&dir.join("spool/offline"), "stuck");
    let daemon = Daemon::launch_as(env, &dir, Command::new(bin.join("rmaild")));
    let limit = std::time::Duration::from_secs(60);
    let failed = || daemon.log().contains("it is tried again");
    assert!(crate::daemon::eventually(limit, failed), "{}", daemon.log());
    assert!(daemon.log().contains("signal=9"), "{}", daemon.log());
    assert!(daemon.ctl_ok(&["show", "stats"]).contains("\nparent.offline=1\n"));
    assert!(once.exists(), "it was stopped");
    let joe = mailbox(&daemon, "joe");
    let arrived = || messages(&joe).len() == 1;
    assert!(crate::daemon::eventually(limit, arrived), "{}", daemon.log());
    Outcome::Passed
}

/// newaliases has aliases read again from every file that the configuration
/// names, whatever the tables are called.
pub fn new_aliases(env: &Env) -> Outcome {
    let file = env.dir.join("people");
    let write = |text: &str| crate::daemon::write(&file, text);
    write("ann: joe@example.com\n");
    let more = "table staff file:@DIR@/people\n\
                action \"staff\" maildir \"@DIR@/mail/%{dest.user}\" alias <staff>\n\
                match from any for domain \"staff.example\" action \"staff\"\n";
    let daemon = start_with(env, more);
    let bob = || send(env, &daemon, &["bob@staff.example"], "Subject: x\n\nx\n").status.code();
    assert_eq!(bob(), Some(69), "{}", daemon.log());
    write("ann: joe@example.com\nbob: joe@example.com\n");
    let out = send(env, &daemon, &["-bi"], "");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert_eq!(bob(), Some(0), "{}", daemon.log());
    Outcome::Passed
}

/// What is no address at all is named to the sender too, beside one that is and
/// alone.
pub fn offline_no_address(env: &Env) -> Outcome {
    let daemon = start(env);
    for (recipients, groups) in
        [(vec!["foo bar@-x", "nobody-here@example.com"], 1), (vec!["foo bar@-x"], 0)]
    {
        let kept = rmail::disk::offline::Kept {
            sender: "joe@example.com".into(),
            notify: None,
            ret: None,
            envid: None,
            recipients: recipients.into_iter().map(String::from).collect(),
            message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
        };
        let path = rmail::disk::offline::write(&env.dir, &kept).expect("write");
        let out = send(env, &daemon, &["-Z", path.to_str().expect("a path")], "");
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
        daemon.drained();
        let all = messages(&mailbox(&daemon, "joe"));
        let with_groups = |m: &&String| m.matches("\nFinal-Recipient: ").count() == groups;
        let reports: Vec<_> = all.iter().filter(with_groups).collect();
        assert_eq!(reports.len(), 1, "{all:?}");
        assert!(reports[0].contains("\n<foo bar@-x>\n    5"), "{}", reports[0]);
        assert_eq!(reports[0].contains("multipart/report"), groups > 0, "{}", reports[0]);
    }
    Outcome::Passed
}
