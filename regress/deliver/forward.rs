//! `.forward`, before each kind of local delivery.

use std::os::unix::fs::{chown, PermissionsExt};
use std::path::PathBuf;
use std::time::Duration;

use super::post::{self, daemon, files, post};
use crate::daemon::{eventually, Daemon};
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
         match from any for domain \"run.example\" action \"run\"\n"
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
