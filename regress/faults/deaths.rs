//! Deaths that come again: restarts that wait, and a message that is to blame.

use super::site::{signal, Site, JOE, SOON};
use crate::daemon::eventually;
use crate::sink::{Action, Event};
use crate::{Env, Outcome};
use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::Signal;
use std::fs::File;
use std::sync::Mutex;
use std::time::Duration;

/// 0.1 s, then double each time; with a line of CRIT for each death.
pub fn backoff(env: &Env) -> Outcome {
    let site = Site::start(env, "");
    for (n, wait) in [100, 200, 400, 800].into_iter().enumerate() {
        let pids = || site.daemon.pids("keyd");
        assert!(eventually(SOON, || pids().len() == 1), "{}", site.daemon.log());
        signal(pids()[0], Signal::SIGKILL);
        site.logged(&format!("restart_ms={wait}"));
        let deaths = site.daemon.log().matches("name=keyd").count();
        assert!(deaths > n, "{}", site.daemon.log());
        let back = || site.daemon.log().matches("msg=\"is back\"").count() == n + 1;
        assert!(eventually(SOON, back), "{}", site.daemon.log());
    }
    // TLS works with the fifth of them.
    site.login(JOE);
    site.works();
    Outcome::Passed
}

/// The message in work when stores die is counted: five deaths hold it, others
/// are delivered, and `release` tries it again.
pub fn poison(env: &Env) -> Outcome {
    let site = Site::start(env, "");
    site.works();
    assert!(eventually(SOON, || site.daemon.pids("store").is_empty()), "{}", site.daemon.log());
    // A store waits for the mail root's lock before it does anything: in that
    // time it is killed, with the message already in its channel.
    let lock = File::options().write(true).open(env.dir.join("mail/joe/rmail.lock"));
    let lock = Flock::lock(lock.expect("open"), FlockArg::LockExclusive).expect("flock");
    site.post(JOE, "poison");
    let mut killed = Vec::new();
    let mut kill_next = || {
        let fresh = site.daemon.pids("store").into_iter().find(|p| !killed.contains(p));
        if let Some(pid) = fresh {
            // One that dies before it was given the message is no death of it, and
            // another comes: the time is only to have few of those.
            std::thread::sleep(Duration::from_millis(100));
            signal(pid, Signal::SIGKILL);
            killed.push(pid);
        }
        site.daemon.log().matches("result=died").count() == 5
    };
    assert!(eventually(SOON * 2, &mut kill_next), "{}", site.daemon.log());
    site.logged("processes die of it");
    let queue = site.daemon.ctl_ok(&["show", "queue"]);
    let row = queue.lines().find(|l| l.contains(JOE)).expect("a row").to_string();
    assert!(row.contains("held"), "{queue}");
    let log = site.daemon.log();
    let held = log.lines().find(|l| l.contains("processes die of it")).expect("a line");
    let qid = held.split("qid=").nth(1).and_then(|t| t.split(' ').next()).expect("an id");
    let qid = qid.trim_matches('"');
    let shown = site.daemon.ctl_ok(&["show", "envelope", &format!("{qid}.1")]);
    assert!(shown.contains("processes die of it"), "{shown}");
    // It stays so when queue starts anew.
    let old = site.pid("queue");
    signal(old, Signal::SIGKILL);
    let back = || site.daemon.pids("queue").first().is_some_and(|p| *p != old);
    assert!(eventually(SOON, back), "{}", site.daemon.log());
    let held =
        || String::from_utf8_lossy(&site.daemon.ctl(&["show", "queue"]).stdout).contains("held");
    assert!(eventually(SOON, held), "{}", site.daemon.log());
    drop(lock);
    site.post(JOE, "another");
    assert!(eventually(SOON, || site.mails("joe").len() == 2), "{}", site.daemon.log());
    site.daemon.ctl_ok(&["release", qid]);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 3, "{}", site.daemon.log());
    Outcome::Passed
}

/// The same of a message that is relayed: mta dies of it and nobody else does.
pub fn poison_of_mta(env: &Env) -> Outcome {
    // The host answers this recipient when the mta that named him is dead.
    let (named, wait) = std::sync::mpsc::channel();
    let named = Mutex::new(named);
    let script = move |e: &Event<'_>| {
        if e.line == "RCPT TO:<poison@far.example>" {
            let (answer, dead) = std::sync::mpsc::channel::<()>();
            let _ = named.lock().expect("lock").send(answer);
            let _ = dead.recv_timeout(SOON);
        }
        Action::Usual
    };
    let site = Site::relaying(env, script);
    site.post("poison@far.example", "poison");
    let mut deaths = 0;
    while deaths < 5 {
        let _answer =
            wait.recv_timeout(SOON).unwrap_or_else(|e| panic!("{e}: {}", site.daemon.log()));
        signal(site.pid("mta"), Signal::SIGKILL);
        deaths += 1;
        let counted = || site.daemon.log().matches("result=died").count() == deaths;
        assert!(eventually(SOON, counted), "{}", site.daemon.log());
    }
    site.logged("processes die of it");
    let queue = site.daemon.ctl_ok(&["show", "queue"]);
    let row = queue.lines().find(|l| l.contains("poison@far.example")).expect("a row");
    assert!(row.contains("held"), "{queue}");
    site.post("another@far.example", "another");
    assert_eq!(site.sink.wait(1)[0].rcpts, ["RCPT TO:<another@far.example>"]);
    Outcome::Passed
}

/// A mail root that cannot be opened is not the message's fault: it is tried until
/// that is mended, more often than deaths would have it, and logins are refused.
pub fn no_mail_root(env: &Env) -> Outcome {
    let site = Site::start(env, "");
    let in_its_place = env.dir.join("mail/joe");
    std::fs::write(&in_its_place, "").expect("write");
    site.post(JOE, "waits");
    let tried = || {
        let log = site.daemon.log();
        assert!(!log.contains("result=died") && !log.contains("died="), "{log}");
        log.matches("result=later").count()
    };
    let often = || {
        site.daemon.ctl_ok(&["schedule", "all"]);
        tried() > 6
    };
    assert!(eventually(SOON, often), "{}", site.daemon.log());
    let queue = site.daemon.ctl_ok(&["show", "queue"]);
    assert!(queue.contains("the mailbox cannot be opened"), "{queue}");
    let path = in_its_place.display();
    site.logged(&format!("msg=\"not now\" why=\"mkdir {path}: File exists\""));
    let answer = site.imap().answer(&format!("LOGIN {JOE} secret"));
    assert!(answer.starts_with("NO [UNAVAILABLE] "), "{answer}");
    std::fs::remove_file(&in_its_place).expect("unlink");
    site.daemon.ctl_ok(&["schedule", "all"]);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 1, "{}", site.daemon.log());
    site.works();
    Outcome::Passed
}
