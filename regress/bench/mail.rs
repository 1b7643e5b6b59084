//! What mail costs: figures beside Postfix for receiving, and our own for reading.
//!
//! Runs take turns and ratios are of one run: the machine is shared.  A message
//! counts when it is visible in its mailbox.  Both servers sync what they
//! accept; Postfix rests for none of its own speed limits here.

use super::postfix::Postfix;
use crate::daemon::{certificate, eventually, Daemon};
use crate::imap::client::Client as Imap;
use crate::smtp::client::Client as Smtp;
use crate::{Env, Outcome};
use std::fmt::Write;
use std::net::SocketAddr;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The mailboxes that messages go to in turn.
const USERS: usize = 10;
/// The owner of the mailboxes.
const OWNER: u32 = 65534;
/// Runs of each server.
const ROUNDS: usize = 5;
/// How long a run may take.
const LIMIT: Duration = Duration::from_secs(120);

/// A server under load.
struct Server<'a> {
    name: &'static str,
    address: SocketAddr,
    mail: PathBuf,
    /// Its processes; those that they start are followed.
    pids: &'a dyn Fn() -> Vec<u32>,
}

impl Server<'_> {
    /// How many messages its mailboxes hold.
    fn held(&self) -> usize {
        let count = |dir: PathBuf| std::fs::read_dir(dir).map_or(0, Iterator::count);
        (0..USERS).map(|u| count(self.mail.join(format!("u{u}/new")))).sum()
    }

    /// Sends this many messages, each connection its share, and gives the time
    /// until all are in their mailboxes.
    fn load(&self, connections: usize, each: usize) -> Result<Duration, String> {
        let before = self.held();
        let begun = Instant::now();
        let address = self.address;
        std::thread::scope(|scope| {
            for c in 0..connections {
                scope.spawn(move || send(address, c, each));
            }
        });
        let want = before + connections * each;
        if eventually(LIMIT, || self.held() >= want) {
            Ok(begun.elapsed())
        } else {
            Err(format!("{}: {} of {want} messages", self.name, self.held()))
        }
    }
}

/// A message of 4 KB.
fn message(number: usize) -> String {
    let mut text = format!(
        "From: Ann <ann@example.net>\r\nTo: u@example.com\r\nSubject: message {number}\r\n\
         Date: Mon, 7 Jul 2025 23:59:58 +0200\r\nMessage-ID: <{number}@example.net>\r\n\r\n"
    );
    while text.len() < 4096 {
        let _ = write!(text, "Line {} of a message, as long as lines are.\r\n", text.len());
    }
    text
}

/// One session with several messages, pipelined.
fn send(address: SocketAddr, connection: usize, each: usize) {
    let mut smtp = Smtp::connect(address);
    assert_eq!(smtp.reply().code, 220);
    assert_eq!(smtp.ask("EHLO client.example"), 250);
    for i in 0..each {
        smtp.begin("ann@example.net", &format!("u{}@example.com", (connection + i) % USERS));
        smtp.send(format!("{}.\r\n", message(i)));
        assert_eq!(smtp.reply().code, 250);
    }
    assert_eq!(smtp.ask("QUIT"), 221);
}

/// A connection, STARTTLS and one message: the time from connecting to its 250.
fn one_by_starttls(address: SocketAddr) -> Duration {
    let begun = Instant::now();
    let mut smtp = Smtp::connect(address);
    assert_eq!(smtp.reply().code, 220);
    assert_eq!(smtp.ask("EHLO client.example"), 250);
    assert_eq!(smtp.ask("STARTTLS"), 220);
    smtp.start_tls();
    assert_eq!(smtp.ask("EHLO client.example"), 250);
    smtp.begin("ann@example.net", "u0@example.com");
    smtp.send(format!("{}.\r\n", message(0)));
    assert_eq!(smtp.reply().code, 250);
    let took = begun.elapsed();
    assert_eq!(smtp.ask("QUIT"), 221);
    took
}

/// System calls of the processes while `work` is done, and of all they start.
fn system_calls(env: &Env, pids: &[u32], work: impl FnOnce()) -> Option<u64> {
    let out = env.dir.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&out).stderr(Stdio::piped());
    for pid in pids {
        strace.args(["-p", &pid.to_string()]);
    }
    let mut child = strace.spawn().ok()?;
    // It says so for each process that it has taken hold of.
    let traced = |pid: &u32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|l| l.starts_with("TracerPid:") && !l.ends_with("\t0"))
    };
    if eventually(LIMIT, || pids.iter().all(traced)) {
        work();
    }
    let stopped = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    child.wait().ok()?;
    stopped.ok()?;
    let text = std::fs::read_to_string(&out).ok()?;
    let total = text.lines().find(|l| l.trim_end().ends_with(" total"))?;
    total.split_whitespace().next()?.parse().ok()
}

/// A process and all below it.
fn family(pid: u32) -> Vec<u32> {
    let mut all = vec![pid];
    let mut at = 0;
    while let Some(parent) = all.get(at).copied() {
        let children = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"));
        all.extend(
            children.unwrap_or_default().split_whitespace().filter_map(|p| p.parse::<u32>().ok()),
        );
        at += 1;
    }
    all
}

/// The proportional set size of processes, in KB.
fn pss(pids: &[u32]) -> u64 {
    let of = |pid: &u32| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
        let line = text.lines().find(|l| l.starts_with("Pss:"))?;
        line.split_whitespace().nth(1)?.parse::<u64>().ok()
    };
    pids.iter().filter_map(of).sum()
}

fn median<T: Ord + Copy>(mut all: Vec<T>) -> T {
    all.sort_unstable();
    all[all.len() / 2]
}

fn ms(d: Duration) -> f64 {
    d.as_secs_f64() * 1e3
}

/// The daemon with ten mailboxes, a certificate and `more`.
fn server(env: &Env, more: &str) -> Daemon {
    let mail = env.dir.join("mail");
    std::fs::create_dir_all(&mail).expect("mkdir");
    chown(&mail, Some(OWNER), Some(OWNER)).expect("chown");
    let (cert, key) = certificate(&env.dir, "rmail", &["mail.example.com"]);
    // bcrypt as the manual advises, of a middling cost.
    let hash = rmail::sys::crypt::new_hash(b"secret", 8).expect("crypt");
    let (mut virtuals, mut credentials) = (String::new(), String::new());
    for u in 0..USERS {
        let _ = writeln!(virtuals, "u{u}@example.com: vmail"); // a String takes it
        let _ = writeln!(credentials, "u{u}@example.com: {hash}");
    }
    crate::daemon::write(&env.dir.join("credentials"), credentials);
    crate::daemon::write(&env.dir.join("virtuals"), virtuals);
    Daemon::start(
        env,
        &format!(
            "hostname \"mail.example.com\"\n\
             pki mail.example.com cert \"{}\"\npki mail.example.com key \"{}\"\n\
             table c file:@DIR@/credentials\n\
             table virtuals file:@DIR@/virtuals\n\
             table people {{ \"vmail\" = \"{OWNER}:{OWNER}:@DIR@/mail\" }}\n\
             listen on 127.0.0.1 port 0 tls pki mail.example.com\n\
             {more}\
             action \"in\" maildir \"@DIR@/mail/%{{dest.user}}\" virtual <virtuals> \
             userbase <people>\n\
             match from any for domain \"example.com\" action \"in\"\n",
            cert.display(),
            key.display()
        ),
    )
}

/// Receiving beside Postfix: rate, system calls, latency over STARTTLS.
pub fn receive(env: &Env) -> Outcome {
    let users: Vec<String> = (0..USERS).map(|u| format!("u{u}")).collect();
    let daemon = server(env, "");
    let postfix = match Postfix::start(env, &users, OWNER) {
        Ok(postfix) => Some(postfix),
        Err(why) => {
            println!("no Postfix beside: {why}");
            None
        }
    };
    let ours = || family(daemon.pid());
    let theirs = || postfix.as_ref().map_or_else(Vec::new, |p| family(p.pid()));
    let mut servers = vec![Server {
        name: "rmail",
        address: daemon.address("smtp", 0),
        mail: env.dir.join("mail"),
        pids: &ours,
    }];
    if let Some(p) = &postfix {
        let (address, mail) = (p.address, p.mail.clone());
        servers.push(Server { name: "Postfix", address, mail, pids: &theirs });
    }
    // The first messages make mailboxes and start processes.
    for server in &servers {
        if let Err(why) = server.load(USERS, 2) {
            return Outcome::Failed(why);
        }
    }
    for (connections, each) in [(1, 50), (10, 40), (40, 20)] {
        let mut took = vec![Vec::new(); servers.len()];
        for _ in 0..ROUNDS {
            for (server, took) in servers.iter().zip(&mut took) {
                match server.load(connections, each) {
                    Ok(time) => took.push(time),
                    Err(why) => return Outcome::Failed(why),
                }
            }
        }
        let rate =
            |all: &Vec<Duration>| (connections * each) as f64 / median(all.clone()).as_secs_f64();
        let mut line = format!("bench receive, {connections} connections:");
        for (server, took) in servers.iter().zip(&took) {
            let _ = write!(line, " {} {:.0} messages/s", server.name, rate(took));
        }
        ratio(&mut line, took.iter().map(rate));
        println!("{line}");
    }
    let mut line = "bench receive, system calls per message:".to_string();
    let mut calls = Vec::new();
    for server in &servers {
        let mut failed = None;
        let counted = system_calls(env, &(server.pids)(), || {
            failed = server.load(4, 25).err();
        });
        let (Some(counted), None) = (counted, failed) else {
            line.push_str(" no strace");
            continue;
        };
        let _ = write!(line, " {} {}", server.name, counted / 100);
        calls.push(counted as f64);
    }
    ratio(&mut line, calls.into_iter());
    println!("{line}");
    let mut took = vec![Vec::new(); servers.len()];
    for _ in 0..100 {
        for (server, took) in servers.iter().zip(&mut took) {
            took.push(one_by_starttls(server.address));
        }
    }
    let mut line = "bench one message per STARTTLS connection:".to_string();
    for (server, took) in servers.iter().zip(&mut took) {
        took.sort_unstable();
        let (half, most) = (took[took.len() / 2], took[took.len() * 95 / 100]);
        let _ = write!(line, " {} median {:.1} ms, 95 % {:.1} ms", server.name, ms(half), ms(most));
    }
    ratio(&mut line, took.iter().map(|all| ms(all[all.len() / 2])));
    println!("{line}");
    Outcome::Passed
}

/// Adds the first over the second, where there are two.
fn ratio(line: &mut String, mut of: impl Iterator<Item = f64>) {
    if let (Some(first), Some(second)) = (of.next(), of.next()) {
        let _ = write!(line, ", ratio {:.2}", first / second);
    }
}

/// Messages in the mailbox that is read.
const MESSAGES: usize = 1000;

/// Reading: login, SELECT, the start of a store, the memory of idle sessions.
pub fn read(env: &Env) -> Outcome {
    let daemon = server(env, "listen on 127.0.0.1 port 0 imaps pki mail.example.com auth <c>\n");
    for u in 0..USERS {
        fill(&env.dir.join(format!("mail/u{u}")));
    }
    let imaps = daemon.address("imaps", 0);
    let (mut cold, mut warm, mut select) = (Vec::new(), Vec::new(), Vec::new());
    // Each user's first login starts a store; the first of all also warms the rest.
    drop(login(imaps, USERS - 1));
    for u in 0..USERS - 1 {
        let (mut first, time) = login(imaps, u);
        cold.push(time);
        // The mailbox is read for the first time, which is no SELECT's usual price.
        first.ok("SELECT INBOX");
        for _ in 0..5 {
            let (mut second, time) = login(imaps, u);
            warm.push(time);
            let begun = Instant::now();
            second.ok("SELECT INBOX");
            select.push(begun.elapsed());
        }
    }
    let (cold, warm, select) = (median(cold), median(warm), median(select));
    println!(
        "bench login: TLS and LOGIN {:.1} ms, SELECT of {MESSAGES} messages {:.2} ms; with the \
         start of the store {:.1} ms, which is {:.1} ms more",
        ms(warm),
        ms(select),
        ms(cold),
        ms(cold.saturating_sub(warm))
    );

    let processes = || [daemon.pids("imap"), daemon.pids("store")].concat();
    let idle = |user: usize| {
        let (mut session, _) = login(imaps, user);
        session.ok("SELECT INBOX");
        session.send(b"i IDLE\r\n");
        session.line();
        session
    };
    // The stores of all users run already: each is measured by itself.
    let stores = daemon.pids("store");
    let store = pss(&stores) / stores.len().max(1) as u64;
    let before = pss(&processes());
    const SESSIONS: usize = 50;
    let open: Vec<Imap> = (0..SESSIONS).map(|n| idle(n % USERS)).collect();
    let after = pss(&processes());
    println!(
        "bench memory: {store} KB PSS for the store of a user, {} KB for each idle session \
         ({} KB for all processes, {} stores, {} sessions)",
        after.saturating_sub(before) / SESSIONS as u64,
        pss(&family(daemon.pid())),
        stores.len(),
        open.len()
    );
    Outcome::Passed
}

/// A session that is logged in, and the time that it took from connecting.
fn login(to: SocketAddr, user: usize) -> (Imap, Duration) {
    let begun = Instant::now();
    let mut session = Imap::tls(to);
    session.line();
    let answer = session.answer(&format!("LOGIN u{user}@example.com secret"));
    assert!(answer.starts_with("OK "), "{answer}");
    (session, begun.elapsed())
}

/// Puts messages into an inbox as another program would.
fn fill(root: &Path) {
    let own = |path: &Path| chown(path, Some(OWNER), Some(OWNER)).expect("chown");
    for dir in ["", "cur", "new", "tmp"] {
        std::fs::create_dir_all(root.join(dir)).expect("mkdir");
        own(&root.join(dir));
    }
    for i in 0..MESSAGES {
        let path = root.join(format!("cur/1751925598.M{i}P1.bench:2,S"));
        std::fs::write(&path, message(i).replace("\r\n", "\n")).expect("write");
        own(&path);
    }
}
