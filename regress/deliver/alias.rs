//! Files and commands that aliases name are a user's of their own.

use super::local::TEXT;
use super::post::{self, post};
use crate::daemon::{eventually, Daemon};
use crate::{Env, Outcome};
use rmail::sys::user::{is_root, User};
use std::os::unix::fs::{chown, MetadataExt};
use std::path::PathBuf;
use std::time::Duration;

const RULES: &str = "action \"al\" expand-only alias <aliases>\n\
                     match from any for domain \"al.example\" action \"al\"\n";

/// One of rmail's own users.
fn own(name: &str) -> User {
    User::by_name(name).expect("users").unwrap_or_else(|| panic!("no user {name}"))
}

/// A directory in which commands of aliases may write.
fn writable(env: &Env) -> PathBuf {
    let out = env.dir.join("out");
    std::fs::create_dir(&out).expect("mkdir");
    if is_root() {
        let user = own("_rmaila");
        chown(&out, Some(user.uid), Some(user.gid)).expect("chown");
    }
    out
}

/// A message to each name, and its delivery.
fn send(daemon: &Daemon, name: &str) {
    post(daemon, &format!("{name}@al.example"), TEXT);
    daemon.drained();
}

/// A command has the ids of `_rmaila` and no group beside; without root those of
/// whoever started the daemon.
pub fn ids(env: &Env) -> Outcome {
    let out = writable(env);
    let aliases =
        "table aliases { ids = \"|(id -u; id -g; id -G; echo $USER) > @DIR@/out/ids\" }\n";
    let daemon = post::daemon(env, "", &format!("{aliases}{RULES}"));
    send(&daemon, "ids");
    let said = std::fs::read_to_string(out.join("ids"));
    let said = said.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    let lines: Vec<&str> = said.lines().collect();
    if is_root() {
        let User { uid, gid, .. } = own("_rmaila");
        assert_ne!(uid, own("_rmaild").uid);
        assert_eq!(lines, [&*uid.to_string(), &*gid.to_string(), &*gid.to_string(), "_rmaila"]);
    } else {
        assert_eq!(lines[0], rmail::sys::user::uid().to_string(), "{said}");
    }
    Outcome::Passed
}

/// A command can signal no process of rmail's, and is no administrator.
pub fn signals_nothing(env: &Env) -> Outcome {
    if !is_root() {
        return Outcome::Skipped("without root all processes have one user".into());
    }
    let out = writable(env);
    // Where the user may not go it could not be run, which proves nothing.
    std::fs::copy(env.rmailctl(), env.dir.join("rmailctl")).expect("copy");
    let aliases = "table aliases { \
         kill = \"|@DIR@/probe\", \
         ask = \"|@DIR@/rmailctl -s @DIR@/run/rmaild.sock show procs > @DIR@/out/ask 2>&1; true\" }\n";
    let daemon = post::daemon(env, "", &format!("{aliases}{RULES}"));
    let kinds = ["parent", "keyd", "lookup", "smtp", "queue", "mta", "imap", "control"];
    let pids: Vec<u32> = kinds.iter().flat_map(|kind| daemon.pids(kind)).collect();
    assert_eq!(pids.len(), kinds.len(), "{}", daemon.ctl_ok(&["show", "procs"]));
    let listed: Vec<String> = pids.iter().map(u32::to_string).collect();
    let probe = format!(
        "#!/bin/sh\nfor pid in $$ {}; do\n\
         env LC_ALL=C /bin/kill -0 $pid 2>&1 && echo $pid: done || echo $pid: no\n\
         done > {}/out/kill\n",
        listed.join(" "),
        env.dir.display()
    );
    crate::daemon::write(&env.dir.join("probe"), probe);
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(env.dir.join("probe"), mode).expect("chmod");
    send(&daemon, "kill");
    let said = std::fs::read_to_string(out.join("kill"));
    let said = said.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    // Its own shell it can: the probe works.
    assert_eq!(said.matches(": done\n").count(), 1, "{said}");
    assert!(said.lines().next().is_some_and(|l| l.ends_with(": done")), "{said}");
    for pid in &pids {
        assert!(said.contains(&format!("\n{pid}: no\n")), "{pid}: {said}");
    }
    assert_eq!(said.matches("not permitted").count(), pids.len(), "{said}");
    send(&daemon, "ask");
    let said = std::fs::read_to_string(out.join("ask")).expect("read");
    assert!(said.contains("permission denied: be root, or in the group _rmaild"), "{said}");
    Outcome::Passed
}

/// A file that is made is `_rmaila`'s; one of another owner holds the message
/// until its owner is changed, and the log says how.
pub fn file(env: &Env) -> Outcome {
    if !is_root() {
        return Outcome::Skipped("giving files away needs root".into());
    }
    let boxes = env.dir.join("box");
    std::fs::create_dir(&boxes).expect("mkdir");
    let (alias, before) = (own("_rmaila"), own("_rmaild"));
    let old = boxes.join("old");
    std::fs::write(&old, "From x\n\nkept\n\n").expect("write");
    chown(&old, Some(before.uid), Some(before.gid)).expect("chown");
    let aliases = "table aliases { new = \"@DIR@/box/new\", old = \"@DIR@/box/old\" }\n";
    let daemon = post::daemon(env, "", &format!("{aliases}{RULES}"));
    send(&daemon, "new");
    let meta = std::fs::metadata(boxes.join("new"));
    let meta = meta.unwrap_or_else(|e| panic!("{e}: {}", daemon.log()));
    assert_eq!((meta.uid(), meta.gid(), meta.mode() & 0o777), (alias.uid, alias.gid, 0o600));

    post(&daemon, "old@al.example", TEXT);
    let path = old.display();
    let told = format!(
        "{path}: belongs to uid {}, and not to uid {}: chown {1} {path}",
        before.uid, alias.uid
    );
    let is_told = || daemon.log().contains(&told);
    assert!(eventually(Duration::from_secs(20), is_told), "{told}\n{}", daemon.log());
    assert_eq!(std::fs::read_to_string(&old).expect("read"), "From x\n\nkept\n\n");
    assert!(daemon.ctl_ok(&["show", "queue"]).contains("old@al.example"), "it waits");
    chown(&old, Some(alias.uid), None).expect("chown");
    // The answer of the first attempt may be under way still.
    let empty = || {
        daemon.ctl_ok(&["schedule", "all"]);
        daemon.ctl(&["wait", "queue-empty", "1"]).status.success()
    };
    assert!(eventually(Duration::from_secs(60), empty), "{}", daemon.log());
    let text = std::fs::read_to_string(&old).expect("read");
    assert!(text.starts_with("From x\n\nkept\n\nFrom a@sender.example "), "{text}");
    assert_eq!(text.matches("\nFrom ").count(), 1, "{text}");
    Outcome::Passed
}
