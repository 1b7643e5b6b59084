//! No descriptor left: the limit of the process under test is lowered to what
//! it has open, and raised again.

use super::site::{post, Site, HEADER, JOE};
use crate::daemon::eventually;
use crate::imap::client::Client as Imap;
use crate::smtp::client::Client as Smtp;
use crate::{Env, Outcome};
use std::process::Command;
use std::time::Duration;

/// A process that can open nothing for as long as this lives.
struct Starved {
    pid: u32,
    soft: String,
}

impl Starved {
    fn new(pid: u32) -> Starved {
        let soft = prlimit(pid, &["--nofile", "--output=SOFT", "--noheadings", "--raw"]);
        let soft = soft.trim().to_string();
        let starved = Starved { pid, soft };
        // The lowest number that is free is the one that open(2) would give.
        let open: Vec<u32> = super::site::entries(format!("/proc/{pid}/fd").as_ref())
            .iter()
            .filter_map(|p| p.file_name()?.to_str()?.parse().ok())
            .collect();
        let free = (0..).find(|n| !open.contains(n)).expect("a number");
        prlimit(pid, &[&format!("--nofile={free}:")]);
        starved
    }
}

impl Drop for Starved {
    fn drop(&mut self) {
        // Not to panic: the process may be gone, and a test with it.
        let _ = asked(self.pid, &[&format!("--nofile={}:", self.soft)]);
    }
}

/// Descriptors of a process that is not to be looked into (PR_SET_DUMPABLE) are
/// seen by root alone.
fn not_ours() -> Option<Outcome> {
    let why = "counting another process's descriptors needs root";
    (!rmail::sys::user::is_root()).then(|| Outcome::Skipped(why.into()))
}

fn prlimit(pid: u32, args: &[&str]) -> String {
    let out = asked(pid, args).expect("prlimit (util-linux)");
    assert!(out.status.success(), "prlimit: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8_lossy(&out.stdout).into_owned()
}

fn asked(pid: u32, args: &[&str]) -> std::io::Result<std::process::Output> {
    use std::os::unix::process::CommandExt;
    // As its own user, who needs no privilege for it.
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let own = |key: &str| {
        let line = status.lines().find_map(|l| l.strip_prefix(key))?;
        line.split_whitespace().next()?.parse().ok()
    };
    let mut command = Command::new("prlimit");
    command.arg(format!("--pid={pid}")).args(args);
    if let (true, Some(uid), Some(gid)) = (rmail::sys::user::is_root(), own("Uid:"), own("Gid:")) {
        command.uid(uid).gid(gid);
    }
    command.output()
}

fn transaction(client: &mut Smtp) {
    assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
    assert_eq!(client.ask(&format!("RCPT TO:<{JOE}>")), 250);
}

fn ends_well(site: &Site, client: &mut Smtp, want: usize) {
    assert_eq!(post(client, JOE, "accepted"), 250, "{}", site.daemon.log());
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), want, "{}", site.daemon.log());
    site.spool_is_empty();
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
}

/// queue cannot make a file.
pub fn in_data(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut client = site.smtp();
    transaction(&mut client);
    let starved = Starved::new(site.pid("queue"));
    assert_eq!(client.ask("DATA"), 452, "{}", site.daemon.log());
    drop(starved);
    ends_well(&site, &mut client, 1);
    Outcome::Passed
}

/// smtp cannot take the file that queue made, nor accept.
pub fn in_data_in_smtp(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut client = site.smtp();
    transaction(&mut client);
    let address = site.daemon.address("smtp", 0);
    let starved = Starved::new(site.pid("smtp"));
    assert_eq!(client.ask("DATA"), 452, "{}", site.daemon.log());
    let mut other = Smtp::connect(address);
    assert_eq!(other.reply().code, 421);
    assert!(other.is_closed());
    drop(starved);
    ends_well(&site, &mut client, 1);
    site.works();
    Outcome::Passed
}

/// queue cannot publish the message.
pub fn in_commit(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut client = site.smtp();
    transaction(&mut client);
    assert_eq!(client.ask("DATA"), 354);
    client.send(format!("{HEADER}refused\r\n"));
    let starved = Starved::new(site.pid("queue"));
    assert_eq!(client.ask("."), 452, "{}", site.daemon.log());
    drop(starved);
    ends_well(&site, &mut client, 1);
    Outcome::Passed
}

/// The store cannot make a file, nor take the message: it is not a death.
pub fn in_delivery(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    let starved = Starved::new(site.pid("store"));
    site.post(JOE, "waits");
    site.logged("result=postponed");
    assert!(site.mails("joe").is_empty());
    drop(starved);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 1, "{}", site.daemon.log());
    assert!(eventually(Duration::from_secs(20), || {
        c.ok("NOOP");
        c.ok("SEARCH ALL") == ["* SEARCH 1"]
    }));
    assert!(!site.daemon.log().contains("result=died"), "{}", site.daemon.log());
    site.works();
    Outcome::Passed
}

/// queue cannot read the message that it is to give to a store.
pub fn in_delivery_in_queue(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    site.daemon.ctl_ok(&["pause", "mda"]);
    site.post(JOE, "waits");
    let starved = Starved::new(site.pid("queue"));
    site.daemon.ctl_ok(&["resume", "mda"]);
    site.logged("result=later");
    assert!(site.mails("joe").is_empty());
    drop(starved);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 1, "{}", site.daemon.log());
    site.works();
    Outcome::Passed
}

/// mta cannot take the message, nor connect.
pub fn in_relaying(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let starved = Starved::new(site.pid("mta"));
    site.post("x@far.example", "waits");
    site.logged("result=later");
    drop(starved);
    assert_eq!(site.sink.wait(1).len(), 1);
    site.daemon.drained();
    assert_eq!(site.sink.mails().len(), 1, "{}", site.daemon.log());
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
    Outcome::Passed
}

/// The store cannot make a file.
pub fn in_append(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    let append = |c: &mut Imap| {
        let text = format!("{HEADER}appended\r\n");
        c.send(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()).as_bytes());
        c.until("a").pop().expect("a tagged line")
    };
    let starved = Starved::new(site.pid("store"));
    let answer = append(&mut c);
    assert!(answer.starts_with("a NO "), "{answer}");
    c.ok("NOOP");
    drop(starved);
    let answer = append(&mut c);
    assert!(answer.starts_with("a OK [APPENDUID "), "{answer}\n{}", site.daemon.log());
    assert_eq!(site.mails("joe").len(), 1);
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
    Outcome::Passed
}

/// imap cannot accept, nor take the store's channel; sessions go on.
pub fn in_imap(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    let mut half = site.imap();
    let address = site.daemon.address("imaps", 0);
    let starved = Starved::new(site.pid("imap"));
    c.ok("NOOP");
    let mut other = std::net::TcpStream::connect(address).expect("connect");
    let mut text = String::new();
    std::io::Read::read_to_string(&mut other, &mut text).expect("read");
    assert!(text.starts_with("* BYE [UNAVAILABLE]"), "{text}");
    // One descriptor is kept for what parent passes; the next login finds none.
    half.answer("LOGIN joe@example.com secret");
    c.ok("NOOP");
    drop(starved);
    site.login(JOE).ok("SELECT INBOX");
    c.ok("NOOP");
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
    Outcome::Passed
}

/// parent cannot open a store.
pub fn in_parent(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let starved = Starved::new(site.daemon.pid());
    let answer = site.imap().answer("LOGIN joe@example.com secret");
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    site.post(JOE, "waits");
    site.logged("result=later");
    site.daemon.ctl_ok(&["show", "procs"]);
    drop(starved);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 1, "{}", site.daemon.log());
    site.login(JOE).ok("SELECT INBOX");
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
    Outcome::Passed
}

/// control cannot accept: rmailctl waits, and is answered afterwards.
pub fn in_control(env: &Env) -> Outcome {
    if let Some(skipped) = not_ours() {
        return skipped;
    }
    let site = Site::start(env, "");
    let pid = site.pid("control");
    let starved = Starved::new(pid);
    let text = std::thread::scope(|scope| {
        let asked = scope.spawn(|| site.daemon.ctl_ok(&["show", "procs"]));
        site.logged("control error=");
        drop(starved);
        asked.join().expect("rmailctl")
    });
    assert!(text.contains(&pid.to_string()), "{text}");
    site.works();
    Outcome::Passed
}
