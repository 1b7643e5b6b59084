//! A process that is stopped (SIGSTOP): others serve, waits end, rmailctl is
//! answered, and when it goes on (SIGCONT) everything does, once.
//!
//! `limit answer-time` is short here.  With SOAK=1 each is stopped for the 60
//! seconds that operators know from swapping machines.

use super::site::{post, Site, Stopped, ANN, HEADER, JOE, SOON};
use crate::daemon::eventually;
use crate::imap::client::Client as Imap;
use crate::{Env, Outcome};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// What `limit answer-time` says here, and what a loaded machine adds to it.
const ANSWER: Duration = Duration::from_millis(1500);
const SLACK: Duration = Duration::from_secs(8);

fn start(env: &Env) -> Site {
    let site = Site::start(env, "limit answer-time 1500ms\n");
    site.works();
    site
}

/// What holds whatever is stopped, control excepted.
fn rmailctl_answers(site: &Site) {
    // The best of three: this machine may have other work.
    let fastest = (0..3).map(|_| {
        let begun = Instant::now();
        assert!(site.daemon.ctl_ok(&["show", "procs"]).contains("parent"));
        begun.elapsed()
    });
    let fastest = fastest.min().expect("three");
    assert!(fastest < Duration::from_secs(1), "show procs took {fastest:?}");
    site.daemon.ctl_ok(&["show", "stats"]);
    // parent waits for nobody: the configuration is queued for the one that sleeps.
    site.daemon.ctl_ok(&["reload"]);
}

/// Stays stopped for the whole minute in `make soak`.
fn hold(since: Instant) {
    if std::env::var_os("SOAK").is_some() {
        std::thread::sleep(Duration::from_secs(60).saturating_sub(since.elapsed()));
    }
}

/// Something that must end in time, not much before it.
fn in_time<T>(what: &str, f: impl FnOnce() -> T) -> T {
    let begun = Instant::now();
    let result = f();
    let took = begun.elapsed();
    assert!(took < ANSWER + SLACK, "{what}: {took:?}");
    result
}

fn reads(c: &mut Imap) {
    c.ok("NOOP");
    c.ok("FETCH 1 (FLAGS BODY.PEEK[])");
}

fn selected(site: &Site, user: &str) -> Imap {
    let mut c = site.login(user);
    c.ok("SELECT INBOX");
    c
}

/// Nothing died, and a message and a login work as ever.
fn all_is_well(site: &Site) {
    site.works();
    selected(site, JOE).ok("NOOP");
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
}

/// Without keyd there is no handshake; all that needs none goes on.
pub fn keyd(env: &Env) -> Outcome {
    let site = start(env);
    let mut c = selected(&site, JOE);
    let imaps = site.daemon.address("imaps", 0);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("keyd"));
    rmailctl_answers(&site);
    site.works();
    reads(&mut c);
    // A handshake ends without one, after its own ten seconds.
    assert!(!handshake(imaps, &AtomicUsize::new(0)));
    assert!(since.elapsed() < Duration::from_secs(10) + SLACK, "{:?}", since.elapsed());
    hold(since);
    drop(stopped);
    all_is_well(&site);
    Outcome::Passed
}

/// A connection that tells when its client waits for the server's first words.
struct Told<'a>(crate::tcp::Tcp, &'a AtomicUsize);

impl Read for Told<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.read(buf)
    }
}

impl Write for Told<'_> {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        self.0.write(buf)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.0.flush()
    }
}

/// True if a TLS client gets through its handshake.
fn handshake(to: SocketAddr, waiting: &AtomicUsize) -> bool {
    let tcp = Told(crate::tcp::Tcp::connect(to, SOON), waiting);
    crate::tcp::start_tls("mail.example.com", tcp).is_ok()
}

/// A keyd that dies while handshakes wait for it ends them at once; the next
/// one is signed by its successor.
pub fn keyd_dies(env: &Env) -> Outcome {
    let site = start(env);
    let imaps = site.daemon.address("imaps", 0);
    let pid = site.pid("keyd");
    let stopped = Stopped::new(pid);
    let asked = &AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let waiting: Vec<_> =
            (0..3).map(|_| scope.spawn(move || handshake(imaps, asked))).collect();
        assert!(eventually(SOON, || asked.load(Ordering::SeqCst) >= 3), "{}", site.daemon.log());
        let begun = Instant::now();
        super::site::signal(pid, nix::sys::signal::Signal::SIGKILL);
        let signed = waiting.into_iter().filter_map(|w| w.join().ok()).filter(|ok| *ok).count();
        assert!(signed < 3, "nobody waited for keyd");
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    // There is nothing left that could go on.
    std::mem::forget(stopped);
    assert!(eventually(SOON, || handshake(imaps, asked)), "{}", site.daemon.log());
    selected(&site, JOE).ok("NOOP");
    site.works();
    Outcome::Passed
}

/// Without lookup nobody logs in and no recipient is taken; what is selected is
/// read.
pub fn lookup(env: &Env) -> Outcome {
    let site = start(env);
    let mut c = selected(&site, JOE);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("lookup"));
    rmailctl_answers(&site);
    reads(&mut c);
    let mut client = site.smtp();
    assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
    assert_eq!(in_time("RCPT", || client.ask(&format!("RCPT TO:<{JOE}>"))), 451);
    let mut late = site.imap();
    let answer = in_time("LOGIN", || late.answer("LOGIN joe@example.com secret"));
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    hold(since);
    drop(stopped);
    // The same sessions try again.
    assert_eq!(client.ask(&format!("RCPT TO:<{JOE}>")), 250);
    assert!(late.answer("LOGIN joe@example.com secret").starts_with("OK "));
    all_is_well(&site);
    Outcome::Passed
}

/// Without smtp no mail comes in; mailboxes are open, and what waits for a
/// greeting gets it.
pub fn smtp(env: &Env) -> Outcome {
    let site = start(env);
    let mut open = site.smtp();
    site.daemon.ctl_ok(&["pause", "mda"]);
    site.post(JOE, "queued before");
    let address = site.daemon.address("smtp", 0);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("smtp"));
    rmailctl_answers(&site);
    site.daemon.ctl_ok(&["resume", "mda"]);
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 2);
    reads(&mut selected(&site, JOE));
    let mut waiting = crate::smtp::client::Client::connect(address);
    hold(since);
    drop(stopped);
    assert_eq!(waiting.reply().code, 220);
    assert_eq!(post(&mut open, JOE, "in the old session"), 250);
    all_is_well(&site);
    Outcome::Passed
}

/// Without queue no message is taken: 451 for a new one, and one whose end was
/// sent waits for its answer, which is true.
pub fn queue(env: &Env) -> Outcome {
    let site = start(env);
    let mut c = selected(&site, JOE);
    let mut waits = site.smtp();
    waits.begin("a@sender.example", JOE);
    let mut fresh = site.smtp();
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("queue"));
    rmailctl_answers(&site);
    reads(&mut c);
    reads(&mut selected(&site, JOE));
    waits.send(format!("{HEADER}waits\r\n.\r\n"));
    let code = in_time("DATA", || post(&mut fresh, JOE, "refused"));
    assert_eq!(code, 451, "{}", site.daemon.log());
    hold(since);
    drop(stopped);
    assert_eq!(waits.reply().code, 250, "{}", site.daemon.log());
    site.daemon.drained();
    // The one before, and the one that waited; the refused one is nowhere.
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    // The file that nobody waited for is removed when its session would be over.
    assert!(super::site::entries(&site.path("spool/queue")).is_empty());
    assert_eq!(post(&mut fresh, JOE, "again"), 250);
    all_is_well(&site);
    Outcome::Passed
}

/// Without mta nothing leaves, and local mail is delivered beside whatever waits;
/// each message that waited leaves once.
pub fn mta(env: &Env) -> Outcome {
    let site = start(env);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("mta"));
    rmailctl_answers(&site);
    // More than the channel to mta holds.
    let mut client = site.smtp();
    let long = "x".repeat(200);
    for n in 0..40 {
        assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
        for r in 0..40 {
            let to = format!("RCPT TO:<r{r}@{n}.{}.example>", &long[..60]);
            assert_eq!(client.ask(&to), 250);
        }
        assert_eq!(client.ask("DATA"), 354);
        assert_eq!(client.ask(&format!("{HEADER}text\r\n.")), 250);
    }
    let begun = Instant::now();
    site.post(JOE, "local");
    assert!(eventually(SOON, || site.mails("joe").len() == 2), "{}", site.daemon.log());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    hold(since);
    drop(stopped);
    site.daemon.drained();
    let mails = site.sink.mails();
    let rcpts: usize = mails.iter().map(|m| m.rcpts.len()).sum();
    assert_eq!((mails.len(), rcpts), (40, 1600), "{}", site.daemon.log());
    all_is_well(&site);
    Outcome::Passed
}

/// Without imap mail comes in; sessions stand still and go on.
pub fn imap(env: &Env) -> Outcome {
    let site = start(env);
    let mut c = selected(&site, JOE);
    let address = site.daemon.address("imaps", 0);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("imap"));
    rmailctl_answers(&site);
    site.works();
    site.post("x@far.example", "out");
    assert_eq!(site.sink.wait(1).len(), 1);
    let waiting = std::thread::spawn(move || Imap::tls(address).line());
    c.send(b"w NOOP\r\n");
    hold(since);
    drop(stopped);
    assert!(waiting.join().expect("a greeting").starts_with("* OK "));
    assert!(c.until("w").pop().is_some_and(|l| l.starts_with("w OK")));
    reads(&mut c);
    all_is_well(&site);
    Outcome::Passed
}

/// Without a user's store his mail waits and he cannot log in; others notice
/// nothing.
pub fn store(env: &Env) -> Outcome {
    let site = start(env);
    let mut joe = selected(&site, JOE);
    let pid = site.pid("store");
    site.post(ANN, "first");
    site.daemon.drained();
    let mut ann = selected(&site, ANN);
    let since = Instant::now();
    let stopped = Stopped::new(pid);
    rmailctl_answers(&site);
    site.post(JOE, "waits");
    site.post(ANN, "goes on");
    assert!(eventually(SOON, || site.mails("ann").len() == 2), "{}", site.daemon.log());
    reads(&mut ann);
    let mut late = site.imap();
    let answer = in_time("LOGIN", || late.answer("LOGIN joe@example.com secret"));
    assert!(answer.starts_with("NO [UNAVAILABLE]"), "{answer}");
    joe.send(b"w NOOP\r\n");
    hold(since);
    drop(stopped);
    assert!(joe.until("w").pop().is_some_and(|l| l.starts_with("w OK")));
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    reads(&mut joe);
    all_is_well(&site);
    Outcome::Passed
}

/// A store that gives no answer in time did not die of the message: however
/// often that happens, nothing is held, and it is delivered once.
pub fn store_is_not_dead(env: &Env) -> Outcome {
    let site = Site::start(env, "limit delivery-time 100ms\n");
    site.works();
    // Its session keeps the store.
    let mut joe = selected(&site, JOE);
    let stopped = Stopped::new(site.pid("store"));
    site.post(JOE, "waits");
    let late = || site.daemon.log().matches("said=\"no answer in time\"").count();
    assert!(eventually(SOON, || late() > 6), "{}", site.daemon.log());
    drop(stopped);
    site.daemon.drained();
    assert!(!site.daemon.log().contains("processes die of it"), "{}", site.daemon.log());
    assert!(!site.daemon.log().contains("result=died"), "{}", site.daemon.log());
    assert_eq!(site.mails("joe").len(), 2, "{}", site.daemon.log());
    reads(&mut joe);
    all_is_well(&site);
    Outcome::Passed
}

/// Without control rmailctl says so, and mail goes on.
pub fn control(env: &Env) -> Outcome {
    let site = start(env);
    let mut client = site.smtp();
    let mut c = selected(&site, JOE);
    let since = Instant::now();
    let stopped = Stopped::new(site.pid("control"));
    let out = site.daemon.ctl(&["show", "procs"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("control process"), "{said}");
    assert!(since.elapsed() < Duration::from_secs(10) + SLACK, "{:?}", since.elapsed());
    assert_eq!(post(&mut client, JOE, "goes on"), 250);
    assert!(eventually(SOON, || site.mails("joe").len() == 2), "{}", site.daemon.log());
    reads(&mut c);
    hold(since);
    drop(stopped);
    rmailctl_answers(&site);
    all_is_well(&site);
    Outcome::Passed
}
