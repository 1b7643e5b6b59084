//! Nothing is said before it is on disk: the daemon's system calls, in order.
//!
//! strace(1) watches queue, smtp and a store while a message is taken in,
//! delivered, and worked on by IMAP.  A power cut cannot be had here; that
//! every file and directory is synced before the reply is what it would test.

use crate::daemon::{eventually, Daemon};
use crate::imap::client::{daemon, Client};
use crate::{Env, Outcome};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

const CALLS: &str = "trace=write,writev,sendto,sendmsg,fdatasync,fsync,rename,renameat,renameat2,\
                     link,linkat,unlink,unlinkat";

/// A system call: where in the trace it began and ended.
struct Call {
    tid: String,
    text: String,
    begun: usize,
    ended: usize,
}

/// A running strace; dropped, it lets go.
struct Trace {
    child: Child,
    file: PathBuf,
}

impl Trace {
    /// Watches these processes from now on; the error says why it cannot.
    fn start(dir: &Path, pids: &[u32]) -> Result<Trace, String> {
        let file = dir.join("trace");
        let mut command = Command::new("strace");
        command.args(["-f", "-y", "-s", "200", "-e", CALLS, "-o"]).arg(&file);
        for pid in pids {
            command.arg("-p").arg(pid.to_string());
        }
        let mut child = command.stderr(Stdio::piped()).spawn().map_err(|e| e.to_string())?;
        let mut said = BufReader::new(child.stderr.take().expect("stderr")).lines();
        for _ in pids {
            let line = said.next().and_then(Result::ok).unwrap_or_default();
            if !line.contains("attached") {
                // It may have attached to some; it goes in any case.
                let _ = child.kill();
                let _ = child.wait();
                return Err(line);
            }
        }
        // More is said when threads begin; it must not fill the pipe.
        std::thread::spawn(move || said.for_each(drop));
        Ok(Trace { child, file })
    }

    /// All calls so far.
    fn calls(&self) -> Vec<Call> {
        let text = std::fs::read(&self.file).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let mut calls: Vec<Call> = Vec::new();
        for (at, line) in text.lines().enumerate() {
            let Some((tid, rest)) = line.split_once(char::is_whitespace) else { continue };
            let rest = rest.trim_start();
            if rest.starts_with("<... ") {
                let open = calls.iter_mut().rev().find(|c| c.tid == tid && c.ended == usize::MAX);
                if let Some(call) = open {
                    call.text.push_str(rest);
                    call.ended = at;
                }
                continue;
            }
            let ended = if rest.ends_with("<unfinished ...>") { usize::MAX } else { at };
            calls.push(Call { tid: tid.into(), text: rest.into(), begun: at, ended });
        }
        calls
    }

    /// The calls once one of them has this text.
    fn until(&self, text: &str) -> Vec<Call> {
        let there = || self.calls().iter().any(|c| c.text.contains(text));
        assert!(eventually(Duration::from_secs(20), there), "strace shows no {text:?}");
        self.calls()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(&pid).status(); // it may be gone
        let _ = self.child.wait();
    }
}

/// Asserts that the steps were done one after the other, each having succeeded,
/// and the last of them before the reply was begun.
fn in_order(calls: &[Call], steps: &[(&str, &str)], reply: &str) {
    let said = calls
        .iter()
        .filter(|c| is_write(c))
        .find(|c| c.text.contains(reply))
        .unwrap_or_else(|| panic!("no {reply:?}"));
    let mut after = None;
    for (names, place) in steps {
        let found = calls.iter().find(|c| {
            names.split('|').any(|n| c.text.starts_with(&format!("{n}(")))
                && c.text.contains(place)
                && c.text.trim_end().ends_with("= 0")
                && after.is_none_or(|a| c.begun > a)
                && c.ended < said.begun
        });
        let Some(found) = found else {
            let all: Vec<&str> = calls.iter().map(|c| c.text.as_str()).collect();
            panic!("no {names} of {place} before {reply:?} in:\n{}", all.join("\n"));
        };
        after = Some(found.ended);
    }
}

fn is_write(call: &Call) -> bool {
    ["write(", "writev(", "sendto(", "sendmsg("].iter().any(|n| call.text.starts_with(n))
}

const SYNC: &str = "fdatasync|fsync";
const RENAME: &str = "rename|renameat|renameat2";
const LINK: &str = "link|linkat";
const UNLINK: &str = "unlink|unlinkat";

pub fn before_the_reply(env: &Env) -> Outcome {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return Outcome::Skipped("strace is missing (package strace)".into());
    }
    let daemon = daemon(env, "listen on 127.0.0.1 port 0\n");
    // A session keeps the store where it is.
    let mut imap = Client::logged_in(&daemon);
    imap.ok("CREATE Other");
    imap.ok("SELECT Other");
    let pids: Vec<u32> = ["queue", "smtp", "store"].iter().flat_map(|k| daemon.pids(k)).collect();
    let trace = match Trace::start(&env.dir, &pids) {
        Ok(trace) => trace,
        Err(why) => return Outcome::Skipped(format!("strace cannot attach here: {why}")),
    };
    taken_in_and_delivered(&daemon, &trace);
    worked_on(&mut imap, &trace);
    Outcome::Passed
}

/// 250 after the queue's commit; `Done` after the store's.
fn taken_in_and_delivered(daemon: &Daemon, trace: &Trace) {
    let mut smtp = crate::deliver::post::Client::connect(daemon.address("smtp", 0));
    let said = smtp.post("ann@example.net", "joe@example.com", "Subject: s\r\n\r\nHello.\r\n");
    assert!(said.starts_with("250"), "{said}");
    let calls = trace.until("Message accepted");
    let steps = [(SYNC, "/incoming/"), (RENAME, "/queue/"), (SYNC, "/queue>")];
    // The queue's root is the spool, so the paths that it names are short.
    in_order(&calls, &steps, "Message accepted");
    daemon.drained();
    let calls = trace.until("/new/");
    let linked = calls.iter().find(|c| c.text.starts_with("link")).expect("a link into new/");
    let of_thread: Vec<&Call> = calls.iter().filter(|c| c.tid == linked.tid).collect();
    let at = of_thread.iter().position(|c| c.begun == linked.begun).expect("itself");
    let before: Vec<&str> = of_thread[..at].iter().map(|c| c.text.as_str()).collect();
    let synced = |c: &str| c.starts_with("fdatasync(") && c.contains("/tmp/") && c.ends_with("= 0");
    assert!(before.iter().any(|c| synced(c)), "linked before it was synced: {before:#?}");
    // Whatever the thread says next, it says after the directory's sync.
    let next = of_thread[at + 1..]
        .iter()
        .find(|c| c.text.starts_with("fsync(") || (is_write(c) && !c.text.contains("(2<")))
        .expect("a sync or an answer");
    assert!(next.text.starts_with("fsync(") && next.text.contains("/new>"), "{}", next.text);
}

/// The tagged OK after what it says.
fn worked_on(imap: &mut Client, trace: &Trace) {
    imap.send(b"a1 APPEND Other () {16+}\r\nSubject: y\r\n\r\nz\n\r\n");
    let done = imap.until("a1").pop().expect("a tagged line");
    assert!(done.starts_with("a1 OK [APPENDUID "), "{done}");
    let calls = trace.until("a1 OK");
    let steps = [
        (SYNC, ".Other/tmp/"),
        (RENAME, ".Other/new/"),
        (SYNC, ".Other/new>"),
        (SYNC, ".Other/dovecot-uidlist>"),
    ];
    in_order(&calls, &steps, "a1 OK");
    imap.ok("NOOP");
    imap.send(b"a2 STORE 1 +FLAGS (\\Flagged)\r\n");
    imap.until("a2");
    let steps = [(RENAME, ".Other/cur/"), (SYNC, ".Other/cur>")];
    in_order(&trace.until("a2 OK"), &steps, "a2 OK");
    imap.send(b"a3 COPY 1 INBOX\r\n");
    imap.until("a3");
    let steps = [
        (LINK, "/joe/tmp/"),
        (RENAME, "/joe/cur/"),
        (SYNC, "/joe/cur>"),
        (SYNC, "/joe/dovecot-uidlist>"),
    ];
    in_order(&trace.until("a3 OK"), &steps, "a3 OK");
    imap.ok("STORE 1 +FLAGS.SILENT (\\Deleted)");
    imap.send(b"a4 EXPUNGE\r\n");
    imap.until("a4");
    let steps = [(UNLINK, ".Other/cur/"), (SYNC, ".Other/cur>")];
    in_order(&trace.until("a4 OK"), &steps, "a4 OK");
}
