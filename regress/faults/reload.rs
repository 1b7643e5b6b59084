//! SIGHUP under load: nobody is disturbed and nothing leaks.

use super::site::{configure, entries, post, signal, Site, ANN, HEADER, JOE, SOON};
use crate::daemon::{eventually, Daemon};
use crate::{Env, Outcome};
use nix::sys::signal::Signal;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

/// How often it is reloaded.
const RELOADS: usize = 50;
/// What a process may have grown by when all is over, in KB: its allocator keeps
/// what its busiest moment needed.
const GROWTH: u64 = 8 * 1024;

const KINDS: &[&str] =
    &["parent", "keyd", "lookup", "queue", "smtp", "mta", "imap", "control", "store"];

/// A process: its kind and id.
type Process = (&'static str, u32);

/// Descriptors and PSS (KB) of each process.
type Figures = BTreeMap<Process, (usize, u64)>;

fn processes(site: &Site) -> Vec<Process> {
    let of = |kind: &&'static str| -> Vec<Process> {
        site.daemon.pids(kind).into_iter().map(|pid| (*kind, pid)).collect()
    };
    KINDS.iter().flat_map(of).collect()
}

/// Read from /proc alone: a question to control is a connection, and a
/// descriptor there until control has seen its end.
fn figures(of: &[Process]) -> Figures {
    let figure = |process: &Process| {
        let pid = process.1;
        let fds = entries(format!("/proc/{pid}/fd").as_ref()).len();
        let rollup = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup"));
        let rollup = rollup.unwrap_or_default();
        let pss = rollup.lines().find_map(|l| l.strip_prefix("Pss:"));
        let pss = pss.and_then(|l| l.trim().trim_end_matches(" kB").parse().ok());
        // Another user's process, or one that changed its own, shows nothing.
        assert!(fds > 0 || !rmail::sys::user::is_root(), "{process:?}");
        (*process, (fds, pss.unwrap_or(0)))
    };
    of.iter().map(figure).collect()
}

fn descriptors(figures: &Figures) -> BTreeMap<Process, usize> {
    figures.iter().map(|(process, (fds, _))| (*process, *fds)).collect()
}

/// What each descriptor of a process is.
fn links(pid: u32) -> String {
    let link = |path: PathBuf| {
        let to = std::fs::read_link(&path).unwrap_or_default();
        format!("{} -> {}\n", path.display(), to.display())
    };
    entries(format!("/proc/{pid}/fd").as_ref()).into_iter().map(link).collect()
}

/// One round of everything, so that what is made once is made.
fn warm_up(site: &Site) {
    for user in [JOE, ANN] {
        site.post(user, "first");
        site.daemon.drained();
        site.login(user).ok("SELECT INBOX");
    }
    assert_eq!(post(&mut site.submission(JOE), "x@far.example", "first"), 250);
    site.sink.wait(1);
    site.daemon.drained();
}

/// How often the log has this.
fn logged(site: &Site, text: &str) -> usize {
    site.daemon.log().matches(text).count()
}

pub fn fifty_under_load(env: &Env) -> Outcome {
    let site = Site::start(env, "");
    warm_up(&site);
    // What was open for the last of that closes by and by; the connection that
    // mta keeps for more mail as the last, which it looks after each second.
    let all = processes(&site);
    let calm = || {
        let now = descriptors(&figures(&all));
        std::thread::sleep(Duration::from_millis(2500));
        descriptors(&figures(&all)) == now
    };
    assert!(eventually(SOON, calm), "{}", site.daemon.log());
    let before = figures(&all);
    let open: BTreeMap<u32, String> = all.iter().map(|(_, pid)| (*pid, links(*pid))).collect();
    let over = AtomicBool::new(false);
    let (local, remote) = (AtomicUsize::new(1), AtomicUsize::new(1));
    let (fetches, idles) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let going = || !over.load(Ordering::SeqCst);
    // Each session is one connection for the whole time.  A thread that
    // fails sets the end, so that the others come to theirs.
    let guarded = |name: &str, work: &dyn Fn()| {
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(work));
        if let Err(panic) = result {
            over.store(true, Ordering::SeqCst);
            eprintln!("{name} failed");
            std::panic::resume_unwind(panic);
        }
    };
    let submit = |to: &'static str, count: &AtomicUsize| {
        let mut client = site.submission(JOE);
        while going() {
            assert_eq!(post(&mut client, to, "load"), 250, "{}", site.daemon.log());
            count.fetch_add(1, Ordering::SeqCst);
        }
        assert_eq!(client.ask("QUIT"), 221);
    };
    let (guarded, submit) = (&guarded, &submit);
    std::thread::scope(|scope| {
        scope.spawn(|| guarded("local", &|| submit(JOE, &local)));
        scope.spawn(|| guarded("remote", &|| submit("x@far.example", &remote)));
        scope.spawn(|| {
            guarded("idle", &|| {
                let mut c = site.login(JOE);
                c.ok("SELECT INBOX");
                while going() {
                    c.send(b"i IDLE\r\n");
                    assert_eq!(c.line(), "+ idling");
                    // Mail comes all the time.
                    let line = c.line();
                    assert!(line.starts_with("* ") && !line.contains("BYE"), "{line}");
                    c.send(b"DONE\r\n");
                    c.until("i");
                    idles.fetch_add(1, Ordering::SeqCst);
                }
                c.ok("LOGOUT");
            });
        });
        scope.spawn(|| {
            guarded("fetch", &|| {
                let mut c = site.login(ANN);
                c.ok("SELECT INBOX");
                while going() {
                    let text = c.ok("FETCH 1 (FLAGS BODY.PEEK[])").join("\n");
                    assert!(text.contains("first"), "{text}");
                    fetches.fetch_add(1, Ordering::SeqCst);
                }
                c.ok("LOGOUT");
            });
        });
        guarded("reload", &|| {
            for n in 1..=RELOADS {
                // Each time another one, and each is in force before the next.
                configure(&env.dir, &site.sink, &format!("limit smtp-errors {}\n", 50 + n));
                signal(site.daemon.pid(), Signal::SIGHUP);
                let applied = || logged(&site, "msg=\"in force\"") == n;
                assert!(eventually(SOON, applied), "{n}: {}", site.daemon.log());
                if n == RELOADS / 2 {
                    bad_one(env, &site, n);
                }
            }
            // What was loaded last is what is in force.
            let limits = site.daemon.ctl_ok(&["show", "limits"]);
            let row = limits.lines().find(|l| l.contains("smtp-errors")).expect("a row");
            assert!(row.contains("100"), "{row}");
        });
        over.store(true, Ordering::SeqCst);
    });
    let (local, remote) = (local.into_inner(), remote.into_inner());
    site.daemon.drained();
    assert_eq!(site.mails("joe").len(), local, "{}", site.daemon.log());
    assert_eq!(site.sink.wait(remote).len(), remote);
    assert!(!site.daemon.log().contains("died="), "{}", site.daemon.log());
    assert!(fetches.into_inner() > 0 && idles.into_inner() > 0);
    let settled = || descriptors(&figures(&all)) == descriptors(&before);
    let same = eventually(SOON, settled);
    let after = figures(&all);
    for (process, (fds, pss)) in &before {
        let (fds_now, pss_now) = after.get(process).copied().unwrap_or((0, 0));
        println!(
            "  {:8} {:7} descriptors {fds:3} -> {fds_now:3}, PSS {pss:6} -> {pss_now:6} KB",
            process.0, process.1
        );
    }
    println!("  {RELOADS} reloads, {local} messages delivered, {remote} relayed");
    let others = before.keys().filter(|p| before[*p].0 != after[*p].0);
    let others: String =
        others.map(|p| format!("{p:?}:\n{}->\n{}", open[&p.1], links(p.1))).collect();
    assert!(same, "descriptors: {before:?} -> {after:?}\n{others}");
    for (process, (_, pss)) in &before {
        let now = after.get(process).map_or(0, |(_, pss)| *pss);
        assert!(now <= pss + GROWTH, "{process:?} grew from {pss} to {now} KB");
    }
    Outcome::Passed
}

/// A configuration with an error: who asked is told, and the old one stays.
fn bad_one(env: &Env, site: &Site, generation: usize) {
    let limits = site.daemon.ctl_ok(&["show", "limits"]);
    let listeners = site.daemon.ctl_ok(&["show", "listeners"]);
    Daemon::configure(&env.dir, "limit smtp-errors 7\nlisten on 127.0.0.1 port nonsense\n");
    signal(site.daemon.pid(), Signal::SIGHUP);
    site.logged("rmail.conf:4:");
    let out = site.daemon.ctl(&["reload"]);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success() && said.contains("rmail.conf:4:"), "{said}");
    assert_eq!(site.daemon.ctl_ok(&["show", "limits"]), limits);
    assert_eq!(site.daemon.ctl_ok(&["show", "listeners"]), listeners);
    assert_eq!(logged(site, "msg=\"in force\""), generation);
    let mut client = site.smtp();
    assert_eq!(client.ask("MAIL FROM:<a@sender.example>"), 250);
    assert_eq!(client.ask(&format!("RCPT TO:<{ANN}>")), 250);
    client.send(format!("DATA\r\n{HEADER}"));
    assert_eq!(client.reply().code, 354);
    drop(client);
}

/// The last listener of a process goes like any other: its port is closed.  What
/// cannot change is refused, with all else left as it is.
pub fn listeners(env: &Env) -> Outcome {
    let site = Site::start(env, "");
    let file = env.dir.join("rmail.conf");
    let text = std::fs::read_to_string(&file).expect("read");
    let imaps = site.daemon.address("imaps", 0);
    assert!(std::net::TcpStream::connect(imaps).is_ok());
    let is_imap = |l: &&str| l.contains("imaps");
    let without: Vec<&str> = text.lines().filter(|l| !is_imap(l)).collect();
    let without = without.join("\n") + "\n";
    std::fs::write(&file, &without).expect("write");
    site.daemon.ctl_ok(&["reload"]);
    let closed = || std::net::TcpStream::connect(imaps).is_err();
    assert!(eventually(SOON, closed), "{}", site.daemon.log());
    std::fs::write(&file, text.replace("rmaild.sock", "other.sock")).expect("write");
    let out = site.daemon.ctl(&["reload"]);
    let said = String::from_utf8_lossy(&out.stderr);
    assert!(!out.status.success() && said.contains("socket: cannot change"), "{said}");
    assert!(closed());
    // And it comes again.
    let port = format!("port {} imaps", imaps.port());
    std::fs::write(&file, text.replace("port 0 imaps", &port)).expect("write");
    site.daemon.ctl_ok(&["reload"]);
    let open = || std::net::TcpStream::connect(imaps).is_ok();
    assert!(eventually(SOON, open), "{}", site.daemon.log());
    site.post(JOE, "works");
    Outcome::Passed
}
