//! `.forward`, before each kind of local delivery.

use std::os::unix::fs::{chown, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use super::post::{self, daemon, files, post};
use crate::daemon::{eventually, Daemon};
use crate::sink::{Action, Event, Options, Sink, Stage};
use crate::{Env, Outcome};

const TEXT: &str = "From: a@sender.example\r\nSubject: hello\r\n\r\nline\r\n";

/// Makes a path the property of the user that mail is delivered as.
fn give(path: &PathBuf) {
    if rmail::sys::user::is_root() {
        chown(path, Some(post::user()), Some(post::user())).unwrap();
    }
}

/// joe has a home of his own with this file in it, and mail of every local
/// method; jim is at example.com.
fn start(env: &Env, forward: &str) -> Daemon {
    start_with(env, forward, "")
}

/// The same with more rules.
fn start_with(env: &Env, forward: &str, more: &str) -> Daemon {
    let id = post::user();
    let home = env.dir.join("joe");
    std::fs::create_dir_all(&home).unwrap();
    let file = home.join(".forward");
    std::fs::write(&file, forward).unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    give(&home);
    give(&file);
    let rules = format!(
        "table people {{ joe = \"{id}:{id}:@DIR@/joe\" }}\n\
         action \"dir\" maildir userbase <people>\n\
         action \"box\" mbox userbase <people>\n\
         action \"run\" mda \"test -e @DIR@/closed && exit 75; cat >> @DIR@/joe/run\" \
         userbase <people>\n\
         match from any for domain \"dir.example\" action \"dir\"\n\
         match from any for domain \"box.example\" action \"box\"\n\
         match from any for domain \"run.example\" action \"run\"\n{more}"
    );
    daemon(env, "", &rules)
}

fn at_jim(env: &Env) -> usize {
    files(&env.dir.join("mail/jim")).len()
}

pub fn sends_on(env: &Env) -> Outcome {
    let daemon = start(env, "jim@example.com\n");
    for (n, domain) in ["dir.example", "box.example", "run.example"].iter().enumerate() {
        post(&daemon, &format!("joe@{domain}"), TEXT);
        daemon.drained();
        assert_eq!(at_jim(env), n + 1, "{domain}: {}", daemon.log());
    }
    assert!(!env.dir.join("joe/run").exists(), "{}", daemon.log());
    assert!(files(&env.dir.join("joe/Maildir")).is_empty(), "{}", daemon.log());
    Outcome::Passed
}

pub fn keeps(env: &Env) -> Outcome {
    let daemon = start(env, "# mine, and his\n\\joe, jim@example.com\n");
    for (n, domain) in ["dir.example", "run.example"].iter().enumerate() {
        post(&daemon, &format!("joe@{domain}"), TEXT);
        daemon.drained();
        assert_eq!(at_jim(env), n + 1, "{domain}: {}", daemon.log());
    }
    let run = std::fs::read_to_string(env.dir.join("joe/run")).unwrap();
    assert_eq!(run.matches("Subject: hello\n").count(), 1, "{run}");
    assert_eq!(files(&env.dir.join("joe/Maildir")).len(), 1, "{}", daemon.log());
    Outcome::Passed
}

/// An attempt that fails sends nothing on, so that the next one does not twice.
pub fn waits(env: &Env) -> Outcome {
    let daemon = start(env, "joe\njim@example.com\n");
    std::fs::write(env.dir.join("closed"), "").unwrap();
    post(&daemon, "joe@run.example", TEXT);
    assert!(tried(&daemon), "{}", daemon.log());
    assert_eq!(at_jim(env), 0, "{}", daemon.log());
    std::fs::remove_file(env.dir.join("closed")).unwrap();
    daemon.ctl_ok(&["schedule", "all"]);
    daemon.drained();
    assert_eq!(at_jim(env), 1, "{}", daemon.log());
    Outcome::Passed
}

/// Before an LMTP server too; what the server has not taken is not sent on.
pub fn lmtp(env: &Env) -> Outcome {
    let closed = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(true));
    let is_closed = std::sync::Arc::clone(&closed);
    let script = move |e: &Event<'_>| match e.stage {
        Stage::Mail if is_closed.load(std::sync::atomic::Ordering::SeqCst) => {
            Action::Say("451 4.3.0 later")
        }
        _ => Action::Usual,
    };
    let sink = Sink::start(Options { lmtp: true, script: Box::new(script), ..Options::default() });
    let rules = format!(
        "action \"server\" lmtp \"{}\" userbase <people>\n\
         match from any for domain \"lmtp.example\" action \"server\"\n",
        sink.addr
    );
    let daemon = start_with(env, "joe, jim@example.com\n", &rules);
    post(&daemon, "joe@lmtp.example", TEXT);
    assert!(tried(&daemon), "{}", daemon.log());
    assert_eq!((at_jim(env), sink.mails().len()), (0, 0), "{}", daemon.log());
    closed.store(false, std::sync::atomic::Ordering::SeqCst);
    daemon.ctl_ok(&["schedule", "all"]);
    daemon.drained();
    assert_eq!((at_jim(env), sink.mails().len()), (1, 1), "{}", daemon.log());
    std::fs::write(env.dir.join("joe/.forward"), "jim@example.com\n").unwrap();
    post(&daemon, "joe@lmtp.example", TEXT);
    daemon.drained();
    assert_eq!((at_jim(env), sink.mails().len()), (2, 1), "{}", daemon.log());
    Outcome::Passed
}

/// The own name in another case, or with a sub-address, goes in no circle.
pub fn own_name(env: &Env) -> Outcome {
    let daemon = start(env, "\\Joe\n");
    let file = env.dir.join("joe/.forward");
    let at_joe = || files(&env.dir.join("joe/Maildir")).len();
    for (n, text) in ["\\Joe\n", "JOE+lists\n", "joe+lists@DIR.example\n"].iter().enumerate() {
        std::fs::write(&file, text).unwrap();
        post(&daemon, "joe@dir.example", TEXT);
        daemon.drained();
        assert_eq!(at_joe(), n + 1, "{text}: {}", daemon.log());
    }
    Outcome::Passed
}

/// joe is a user of the system, in whose home this file lies.
fn start_as_user(env: &Env, forward: &str) -> Daemon {
    let id = post::user();
    let home = env.dir.join("joe");
    std::fs::create_dir_all(&home).unwrap();
    std::fs::write(home.join(".forward"), forward).unwrap();
    give(&home);
    give(&home.join(".forward"));
    let users = std::fs::read_to_string("/etc/passwd").unwrap();
    let joe = format!("joe:x:{id}:{id}::{}:/bin/sh\n", home.display());
    std::fs::write(env.dir.join("passwd"), format!("{joe}{users}")).unwrap();
    let rules = "action \"run\" mda \"test -e @DIR@/closed && exit 75; cat >> @DIR@/joe/run\"\n\
                 match from any for domain \"run.example\" action \"run\"\n\
                 action \"dir\" maildir \"@DIR@/joe/mail\"\n\
                 match from any for domain \"dir.example\" action \"dir\"\n";
    Daemon::configure(&env.dir, &post::config(env, "", rules));
    let mount = format!("mount --bind '{}/passwd' /etc/passwd", env.dir.display());
    Daemon::launch_within(env, &env.dir, &mount)
}

/// How many messages a file in joe's home has.
fn count(env: &Env, name: &str) -> usize {
    let text = std::fs::read_to_string(env.dir.join("joe").join(name)).unwrap_or_default();
    text.matches("Subject: hello\n").count()
}

/// Kills queue and waits until another one has the messages.
fn kill_queue(daemon: &Daemon) {
    let recovered = || daemon.log().matches("recovered").count();
    let before = recovered();
    for pid in daemon.pids("queue") {
        let _ = std::process::Command::new("kill").arg("-9").arg(pid.to_string()).status();
    }
    assert!(eventually(Duration::from_secs(20), || recovered() > before), "{}", daemon.log());
}

/// Of several commands the one that fails is run again, and no other, whatever
/// dies meanwhile; the mailbox and the addresses get the message once.
pub fn several_commands(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("a user of the system needs root".into());
    }
    let closed = env.dir.join("closed");
    let file = format!(
        "joe, jim@example.com, \"|cat >> first\"\n\
         \"|test -e {} && exit 75; cat >> second\"\n\
         \"|cat >> third\"\n",
        closed.display()
    );
    let daemon = start_as_user(env, &file);
    let ran = || ["first", "second", "third"].map(|name| count(env, name));
    for (n, domain) in ["dir.example", "run.example"].iter().enumerate() {
        std::fs::write(&closed, "").unwrap();
        post(&daemon, &format!("joe@{domain}"), TEXT);
        assert!(tried(&daemon), "{}", daemon.log());
        assert_eq!(ran(), [n + 1, n, n], "{domain}: {}", daemon.log());
        kill_queue(&daemon);
        std::fs::remove_file(&closed).unwrap();
        let done = || {
            daemon.ctl(&["schedule", "all"]);
            at_jim(env) == n + 1
        };
        assert!(eventually(Duration::from_secs(20), done), "{domain}: {}", daemon.log());
        daemon.drained();
        assert_eq!(ran(), [n + 1; 3], "{domain}: {}", daemon.log());
    }
    assert_eq!(files(&env.dir.join("joe/mail")).len(), 1, "{}", daemon.log());
    assert_eq!(count(env, "run"), 1, "{}", daemon.log());
    Outcome::Passed
}

/// A command of the file runs once, however often the delivery behind it fails,
/// and whatever dies meanwhile.
pub fn commands(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("a user of the system needs root".into());
    }
    let daemon = start_as_user(env, "joe, jim@example.com, \"|cat >> ran\"\n");
    let count = |name: &str| count(env, name);
    std::fs::write(env.dir.join("closed"), "").unwrap();
    post(&daemon, "joe@run.example", TEXT);
    assert!(tried(&daemon), "{}", daemon.log());
    assert_eq!((count("ran"), at_jim(env)), (1, 0), "{}", daemon.log());
    kill_queue(&daemon);
    std::fs::remove_file(env.dir.join("closed")).unwrap();
    let delivered = || {
        daemon.ctl(&["schedule", "all"]);
        count("run") == 1
    };
    assert!(eventually(Duration::from_secs(20), delivered), "{}", daemon.log());
    daemon.drained();
    assert_eq!((count("ran"), count("run"), at_jim(env)), (1, 1, 1), "{}", daemon.log());
    Outcome::Passed
}

pub fn holds(env: &Env) -> Outcome {
    let daemon = start(env, "jim@example.com\n");
    let file = env.dir.join("joe/.forward");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o666)).unwrap();
    post(&daemon, "joe@run.example", TEXT);
    assert!(tried(&daemon), "{}", daemon.log());
    assert!(daemon.log().contains("others can write it"), "{}", daemon.log());
    // A user of a table runs nothing.
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o644)).unwrap();
    std::fs::write(&file, format!("|touch {}/joe/ran\n", env.dir.display())).unwrap();
    let said = || {
        daemon.ctl_ok(&["schedule", "all"]);
        daemon.log().contains("users of the system")
    };
    assert!(eventually(Duration::from_secs(20), said), "{}", daemon.log());
    assert!(!env.dir.join("joe/ran").exists() && !env.dir.join("joe/run").exists());
    assert_eq!(at_jim(env), 0);
    Outcome::Passed
}

fn tried(daemon: &Daemon) -> bool {
    eventually(Duration::from_secs(20), || {
        let queue = daemon.ctl_ok(&["show", "queue"]);
        !queue.is_empty() && !queue.contains(" tries 0 ")
    })
}
