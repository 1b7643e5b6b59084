//! A full disk: a small file system (tmpfs) in a mount namespace of the
//! daemon's own, filled to the last page and emptied again.

use super::site::{entries, Site, HEADER, JOE, SOON};
use crate::daemon::eventually;
use crate::sink::{Action, Options, Sink, Stage};
use crate::{Env, Outcome};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;

/// What tmpfs gives out at a time.
const PAGE: u64 = 4096;
/// The queue's own reserve would refuse before the disk is full.
const NO_RESERVE: &str = "limit queue-free-octets 1\nlimit queue-free-files 1\n";

/// Why these tests cannot run, if they cannot.
pub fn cannot() -> Option<Outcome> {
    if !rmail::sys::user::is_root() {
        return Some(Outcome::Skipped("only root can mount a small file system".into()));
    }
    let probe = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "mount", "-t", "tmpfs", "tmpfs", "/mnt"])
        .output();
    match probe {
        Ok(out) if out.status.success() => None,
        Ok(out) => Some(Outcome::Skipped(format!(
            "no file system can be mounted: {}",
            String::from_utf8_lossy(&out.stderr).trim()
        ))),
        Err(e) => Some(Outcome::Skipped(format!("unshare (util-linux): {e}"))),
    }
}

/// A file that takes all the room there is, for as long as this lives.
struct Filler(PathBuf);

impl Filler {
    /// Fills the file system of `dir` but for so many pages.
    fn new(dir: &Path, pages: u64) -> Filler {
        let path = dir.join("filler");
        let mut file = File::create(&path).expect("create");
        let page = [0xaa; PAGE as usize];
        let mut len = 0;
        while let Ok(n) = file.write(&page) {
            len += n as u64;
        }
        assert!(len > pages * PAGE, "there was no room to begin with");
        file.set_len(len - pages * PAGE).expect("truncate");
        Filler(path)
    }
}

impl Drop for Filler {
    fn drop(&mut self) {
        // The daemon, and the file system with it, may be gone.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn usual() -> Sink {
    Sink::start(Options::default())
}

/// Options of a file system that is queue's.
fn spool_of(size: &str) -> String {
    let queue = rmail::sys::user::User::by_name("_rmailq").expect("users").expect("_rmailq");
    format!("{size},mode=700,uid={},gid={}", queue.uid, queue.gid)
}

fn small_spool(env: &Env) -> Site {
    Site::small(env, usual(), &[("spool", &spool_of("size=1m"))], NO_RESERVE)
}

fn small_mail(env: &Env) -> Site {
    let mount = [("mail", "size=1m,mode=700,uid=12000,gid=12000")];
    Site::small(env, usual(), &mount, "")
}

/// 452 at the end of the message, the room given back, the same session goes on.
pub fn in_data(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_spool(env);
    let mut client = site.smtp();
    client.begin("a@sender.example", JOE);
    client.send(HEADER);
    let line = format!("{}\r\n", "0123456789abcdef".repeat(60));
    for _ in 0..4096 {
        client.send(&line);
    }
    client.send(".\r\n");
    let reply = client.reply();
    assert_eq!((reply.code, &reply.lines[0][..5]), (452, "4.3.1"), "{}", site.daemon.log());
    site.spool_is_empty();
    assert_eq!(super::site::post(&mut client, JOE, "small"), 250, "{}", site.daemon.log());
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 1, "{}", site.daemon.log());
    site.spool_is_empty();
    Outcome::Passed
}

/// The body found its page; the records behind it find none.
pub fn in_commit(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_spool(env);
    site.works();
    let mut client = site.smtp();
    assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
    for n in 0..100 {
        assert_eq!(client.ask(&format!("RCPT TO:<joe+{n}@example.com>")), 250);
    }
    assert_eq!(client.ask("DATA"), 354);
    let filler = Filler::new(&site.path("spool"), 1);
    client.send(format!("{HEADER}refused\r\n.\r\n"));
    let reply = client.reply();
    assert_eq!((reply.code, &reply.lines[0][..5]), (452, "4.3.1"), "{}", site.daemon.log());
    // It was queue that had no room, not smtp.
    let log = site.daemon.log();
    let of_queue = |l: &&str| l.contains("intake") && l.contains("No space left");
    assert!(log.lines().any(|l| of_queue(&l)) && !log.contains("msg=body"), "{log}");
    site.spool_is_empty();
    drop(filler);
    assert_eq!(super::site::post(&mut client, JOE, "accepted"), 250, "{}", site.daemon.log());
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    Outcome::Passed
}

/// No room for another file, though there is for octets.
pub fn no_inodes(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let mount = spool_of("size=4m,nr_inodes=64");
    let site = Site::small(env, usual(), &[("spool", &mount)], NO_RESERVE);
    site.works();
    let dir = site.path("spool/full");
    std::fs::create_dir(&dir).expect("mkdir");
    let mut n = 0;
    while File::create(dir.join(n.to_string())).is_ok() {
        n += 1;
    }
    let mut client = site.smtp();
    assert_eq!(super::site::post(&mut client, JOE, "refused"), 452, "{}", site.daemon.log());
    std::fs::remove_dir_all(&dir).expect("rm");
    assert_eq!(super::site::post(&mut client, JOE, "accepted"), 250, "{}", site.daemon.log());
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    Outcome::Passed
}

/// A failure for now: the message stays in the queue until there is room.
pub fn in_delivery(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_mail(env);
    site.works();
    let filler = Filler::new(&site.path("mail"), 0);
    site.post(JOE, "waits");
    site.logged("result=later status=4.3.1");
    assert_eq!(site.mails("joe").len(), 1);
    assert!(entries(&site.path("mail/joe/tmp")).is_empty(), "{}", site.daemon.log());
    assert!(site.daemon.ctl_ok(&["show", "queue"]).contains(JOE));
    drop(filler);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    site.works();
    Outcome::Passed
}

/// NO, the literal is taken off the wire, and the session goes on.
pub fn in_append(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_mail(env);
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    let append = |c: &mut crate::imap::client::Client, text: &str| {
        c.send(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()).as_bytes());
        c.until("a").pop().expect("a tagged line")
    };
    let large = format!("{HEADER}{}", "0123456789abcdef\r\n".repeat(100_000));
    let answer = append(&mut c, &large);
    assert!(answer.starts_with("a NO [OVERQUOTA]"), "{answer}");
    let filler = Filler::new(&site.path("mail"), 0);
    let answer = append(&mut c, &format!("{HEADER}small\r\n"));
    assert!(answer.starts_with("a NO [OVERQUOTA]"), "{answer}");
    assert!(entries(&site.path("mail/joe/tmp")).is_empty(), "{}", site.daemon.log());
    drop(filler);
    let answer = append(&mut c, &format!("{HEADER}small\r\n"));
    assert!(answer.starts_with("a OK [APPENDUID "), "{answer}\n{}", site.daemon.log());
    assert_eq!(site.mails("joe").len(), 1);
    Outcome::Passed
}

/// A delivery into a selected mailbox, with every number of pages free, from
/// none to enough: the message, its UID and its index need some each.
pub fn every_shortage(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_mail(env);
    site.works();
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    for pages in 0..10 {
        let filler = Filler::new(&site.path("mail"), pages);
        let tries = site.daemon.log().matches("to=<joe@example.com> action=in result=").count();
        site.post(JOE, &format!("with {pages} pages"));
        let tried = || {
            let log = site.daemon.log();
            log.matches("to=<joe@example.com> action=in result=").count() > tries
        };
        assert!(eventually(SOON, tried), "{}", site.daemon.log());
        c.ok("NOOP");
        // Another session reads on the full disk.
        site.login(JOE).ok("SELECT INBOX");
        drop(filler);
        site.daemon.drained();
        let want = usize::try_from(pages).expect("few") + 2;
        assert_eq!(site.mails("joe").len(), want, "{pages}\n{}", site.daemon.log());
        let all =
            || c.ok("NOOP").is_empty() && c.ok("UID SEARCH ALL")[0].split(' ').count() == want + 2;
        assert!(eventually(SOON, all), "{pages}\n{}", site.daemon.log());
    }
    let uids = c.ok("UID SEARCH ALL");
    drop(c);
    // A fresh reader finds the same.
    let mut c = site.login(JOE);
    c.ok("SELECT INBOX");
    assert_eq!(c.ok("UID SEARCH ALL"), uids);
    Outcome::Passed
}

/// Mail is read on a full disk, flags are set, and EXPUNGE makes room.
pub fn read_and_emptied(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let site = small_mail(env);
    for _ in 0..3 {
        site.works();
    }
    // The mailbox is known to nobody yet but for its files; one that was never
    // opened has no UIDs.
    site.login(JOE).ok("SELECT INBOX");
    let _filler = Filler::new(&site.path("mail"), 0);
    let mut c = site.login(JOE);
    assert!(c.ok("SELECT INBOX").contains(&"* 3 EXISTS".to_string()), "{}", site.daemon.log());
    let text = c.ok("FETCH 1 BODY[]").join("\n");
    assert!(text.contains("the next message"), "{text}");
    c.ok("STORE 1 +FLAGS.SILENT (\\Seen \\Deleted)");
    c.ok("EXPUNGE");
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    c.ok("STATUS INBOX (MESSAGES UIDNEXT)");
    c.ok("LIST \"\" *");
    Outcome::Passed
}

/// What became of recipients cannot be written down.  While the process lives
/// nothing is forgotten; the next record tells it, and then a death of queue
/// repeats nothing either.
pub fn no_record(env: &Env) -> Outcome {
    if let Some(skipped) = cannot() {
        return skipped;
    }
    let take = Arc::new(AtomicBool::new(false));
    let takes = Arc::clone(&take);
    let script = move |e: &crate::sink::Event<'_>| match (e.stage, e.line) {
        (Stage::Rcpt, "RCPT TO:<late@far.example>") if !takes.load(Ordering::SeqCst) => {
            Action::Say("451 4.7.1 not now")
        }
        _ => Action::Usual,
    };
    let sink = Sink::start(Options { script: Box::new(script), ..Options::default() });
    let site = Site::small(env, sink, &[("spool", &spool_of("size=1m"))], NO_RESERVE);
    site.daemon.ctl_ok(&["pause", "mta"]);
    let spooled = |text: &str| {
        let mut client = site.smtp();
        assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
        assert_eq!(client.ask("RCPT TO:<early@far.example>"), 250);
        assert_eq!(client.ask("RCPT TO:<late@far.example>"), 250);
        assert_eq!(client.ask("DATA"), 354);
        assert_eq!(client.ask(&format!("{HEADER}{text}\r\n.")), 250);
        let file = entries(&site.path("spool/queue"))[0].clone();
        let len = std::fs::metadata(&file).expect("stat").len();
        (file, len)
    };
    // A message whose file ends a few octets before the end of a page: so long
    // a text that nothing can be appended without another page.
    let (first, len) = spooled("x");
    let qid = first.file_name().expect("a name").to_string_lossy().into_owned();
    site.daemon.ctl_ok(&["remove", &qid]);
    site.spool_is_empty();
    let missing = usize::try_from((PAGE - 8) - len % PAGE).unwrap_or(0);
    let text: String = "x".repeat(1 + missing).as_bytes().chunks(900).map(line).collect();
    let (_, len) = spooled(&text[..1 + missing]);
    let room = PAGE - len % PAGE;
    assert!(room < 40, "{room} octets left in the page");
    let filler = Filler::new(&site.path("spool"), 0);
    site.daemon.ctl_ok(&["resume", "mta"]);
    let full = || {
        let log = site.daemon.log();
        log.lines().any(|l| l.contains("spool qid=") && l.contains("No space left"))
    };
    assert!(eventually(SOON, full), "{}", site.daemon.log());
    assert_eq!(site.sink.wait(1)[0].rcpts, ["RCPT TO:<early@far.example>"]);
    drop(filler);
    // The next attempt is recorded, and with it what was owed.
    let tries = || site.daemon.log().matches("result=later").count();
    let before = tries();
    assert!(eventually(SOON, || tries() > before + 1), "{}", site.daemon.log());
    let old = site.pid("queue");
    super::site::signal(old, nix::sys::signal::Signal::SIGKILL);
    take.store(true, Ordering::SeqCst);
    let mails = site.sink.wait(2);
    assert_eq!(mails[1].rcpts, ["RCPT TO:<late@far.example>"], "{}", site.daemon.log());
    site.daemon.drained();
    assert_eq!(site.sink.mails().len(), 2, "{}", site.daemon.log());
    Outcome::Passed
}

/// Octets as a line of their own length.
fn line(octets: &[u8]) -> String {
    let mut line = String::from_utf8_lossy(octets).into_owned();
    if line.len() > 2 {
        line.replace_range(line.len() - 2.., "\r\n");
    }
    line
}

/// A log that takes nothing costs nothing but the log.
pub fn no_log(env: &Env) -> Outcome {
    std::os::unix::fs::symlink("/dev/full", env.dir.join("log")).expect("symlink");
    let site = Site::start(env, "");
    for _ in 0..3 {
        site.works();
    }
    let mut c = site.login(JOE);
    assert!(c.ok("SELECT INBOX").contains(&"* 3 EXISTS".to_string()));
    assert!(site.daemon.stop().success());
    Outcome::Passed
}
