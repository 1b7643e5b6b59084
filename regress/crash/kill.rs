//! Mail while processes die: what was said to clients must be true afterwards.
//!
//! 50 clients send 1,000 messages over a minute while processes get SIGKILL;
//! then the queue runs empty, and each message is looked for.  250 means that
//! it is in each mailbox exactly once, 4xx and 5xx that it is nowhere, a lost
//! connection that it is at most once in each.  A relay gets it at least once.

use super::plan::{self, Chance, Letter, ACCOUNTS, CLIENTS, SENDER};
use super::post::{self, Said};
use super::read::{self, Memory};
use super::Places;
use crate::daemon::{certificate, eventually, write, Daemon};
use crate::sink::{self, Sink};
use crate::Env;
use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The kinds that die, with parent apart.
const KINDS: &[&str] = &["keyd", "lookup", "queue", "smtp", "mta", "imap", "store", "control"];
/// How often each dies at least.
const LEAST: usize = 5;
/// How often the whole daemon is killed.
const LIVES: u64 = 10;
/// How long the clients send.
const LASTS: Duration = Duration::from_secs(60);

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// One process after the other.
    Processes,
    /// The daemon, ten times: parent alone or all at once.
    Daemon,
}

/// What a run came to.
#[derive(Default)]
pub struct Figures {
    /// Kills of each kind, and how many of them when a file appeared.
    kills: BTreeMap<&'static str, (usize, usize)>,
    accepted: usize,
    refused: usize,
    lost: usize,
    rounds: usize,
    wrong: Vec<String>,
}

impl Figures {
    /// One line for a run.
    pub fn line(&self) -> String {
        let kills: Vec<String> =
            self.kills.iter().map(|(k, (all, at))| format!("{k} {all} ({at})")).collect();
        format!(
            "{} accepted, {} refused, {} lost; kills (at a new file): {}; {} looks by IMAP; {}",
            self.accepted,
            self.refused,
            self.lost,
            kills.join(", "),
            self.rounds,
            if self.wrong.is_empty() {
                "all true".to_owned()
            } else {
                format!("{} VIOLATIONS", self.wrong.len())
            }
        )
    }

    /// What was not as it was said; the first few.
    pub fn wrong(&self) -> Option<String> {
        let first: Vec<&str> = self.wrong.iter().take(10).map(String::as_str).collect();
        (!first.is_empty()).then(|| first.join("; "))
    }
}

/// A run with a seed, in a directory of its own.
pub fn run(env: &Env, dir: &Path, seed: u64, victim: Victim) -> Figures {
    let sink = Sink::start(sink::Options::default());
    configure(dir, &sink);
    let daemon = Mutex::new(Some(Daemon::launch(env, dir)));
    let places = Places::default();
    places.learn(daemon.lock().unwrap().as_ref().unwrap());
    let (sent, idle) = (AtomicBool::new(false), AtomicBool::new(false));
    let begun = Instant::now();
    let ms = u64::try_from(LASTS.as_millis()).unwrap();
    let mut figures = Figures::default();
    std::thread::scope(|scope| {
        let places = &places;
        let readers: Vec<_> = ACCOUNTS
            .iter()
            .take(4)
            .map(|a| (a, scope.spawn(|| read::run(places, dir, a, &idle))))
            .collect();
        let clients: Vec<_> = (0..CLIENTS)
            .map(|n| scope.spawn(move || post::run(places, seed, n, begun, ms)))
            .collect();
        let killer = scope.spawn(|| {
            let mut killer = Killer::new(dir, seed);
            match victim {
                Victim::Processes => killer.processes(&daemon, &sent),
                Victim::Daemon => killer.daemons(env, &daemon, places, &sent),
            }
            killer.kills
        });
        let mut all = Vec::new();
        for client in clients {
            all.extend(client.join().expect("a client"));
        }
        sent.store(true, Ordering::SeqCst);
        figures.kills = killer.join().expect("the killer");
        let drained = drain(daemon.lock().unwrap().as_ref().unwrap());
        idle.store(true, Ordering::SeqCst);
        for (account, reader) in readers {
            let Memory { wrong, rounds, .. } = reader.join().expect("a reader");
            figures.rounds += rounds;
            figures.wrong.extend(wrong.into_iter().map(|w| format!("{account}: {w}")));
        }
        if let Err(left) = drained {
            figures.wrong.push(format!("the queue does not run empty: {left}"));
        }
        judge(dir, &sink, &all, &mut figures);
    });
    if let Some(daemon) = daemon.into_inner().unwrap() {
        daemon.stop();
    }
    for kind in ["queue", "store"] {
        let (all, at) = figures.kills.get(kind).copied().unwrap_or_default();
        if victim == Victim::Processes && at * 2 + 1 < all {
            figures.wrong.push(format!("only {at} of {all} kills of {kind} came at a new file"));
        }
    }
    figures
}

fn configure(dir: &Path, sink: &Sink) {
    use crate::deliver::post::user;
    let id = user();
    for sub in ["mail", "home"] {
        std::fs::create_dir_all(dir.join(sub)).expect("mkdir");
        if rmail::sys::user::is_root() {
            std::os::unix::fs::chown(dir.join(sub), Some(id), Some(id)).expect("chown");
        }
    }
    let (cert, key) = certificate(dir, "server", &["mail.example.com", "localhost"]);
    let hash = Command::new("openssl")
        .args(["passwd", "-6", "-salt", "regress", "secret"])
        .output()
        .expect("openssl passwd");
    let hash = String::from_utf8(hash.stdout).expect("ASCII");
    let names = || ACCOUNTS.iter().copied().chain([SENDER]);
    let credentials: String =
        names().map(|n| format!("{n}@example.com:{}:{id}:{id}::::\n", hash.trim())).collect();
    write(&dir.join("credentials"), credentials);
    write(&dir.join("aliases"), "team: joe, jim\n");
    let users: Vec<String> = names().map(|n| format!("{n} = \"{id}:{id}:@DIR@/home\"")).collect();
    let pki = "pki \"mail.example.com\"";
    let config = format!(
        "hostname \"mail.example.com\"\n\
         {pki} cert \"{}\"\n{pki} key \"{}\"\n\
         queue retry local 1s\nqueue retry remote 1s\n\
         limit smtp-connections-peer 500\nlimit imap-connections-peer 500\n\
         table credentials passwd:@DIR@/credentials\n\
         table aliases file:@DIR@/aliases\n\
         table users {{ {} }}\n\
         listen on 127.0.0.1 port 0\n\
         listen on 127.0.0.1 port 0 tls-require {pki} auth <credentials>\n\
         listen on 127.0.0.1 port 0 smtps {pki} auth <credentials>\n\
         listen on 127.0.0.1 port 0 imaps {pki} auth <credentials>\n\
         action \"in\" maildir \"@DIR@/mail/%{{user.username}}\" alias <aliases> userbase <users>\n\
         action \"out\" relay host \"smtp://{}\"\n\
         match from any for domain \"example.com\" action \"in\"\n\
         match from any for domain \"relay.example\" action \"out\"\n",
        cert.display(),
        key.display(),
        users.join(", "),
        sink.addr,
    );
    Daemon::configure(dir, &config);
}

/// Kills, and counts.
struct Killer<'a> {
    dir: &'a Path,
    chance: Chance,
    kills: BTreeMap<&'static str, (usize, usize)>,
}

impl<'a> Killer<'a> {
    fn new(dir: &'a Path, seed: u64) -> Killer<'a> {
        Killer { dir, chance: Chance::new(seed, 1), kills: BTreeMap::new() }
    }

    fn count(&mut self, kind: &'static str, at_file: bool) {
        let (all, at) = self.kills.entry(kind).or_default();
        *all += 1;
        *at += usize::from(at_file);
    }

    /// 200 to 800 ms: the test's rate.
    fn pause(&mut self) {
        std::thread::sleep(Duration::from_millis(200 + self.chance.below(601)));
    }

    /// One process every 200 to 800 ms until all is sent.
    fn processes(&mut self, daemon: &Mutex<Option<Daemon>>, sent: &AtomicBool) {
        let mut next: Vec<&'static str> = Vec::new();
        while !sent.load(Ordering::SeqCst) {
            self.pause();
            if next.is_empty() {
                // Each kind in turn, in an order of chance: none is forgotten.
                next = KINDS.to_vec();
                self.chance.shuffle(&mut next);
            }
            let Some(kind) = next.pop() else { continue };
            let (all, at) = self.kills.get(kind).copied().unwrap_or_default();
            let at_file = matches!(kind, "queue" | "store") && at * 2 <= all;
            let pids = |kind| {
                let daemon = daemon.lock().unwrap();
                daemon.as_ref().map(|d| pids(d, Some(kind))).unwrap_or_default()
            };
            let mut killed = false;
            for _ in 0..100 {
                let found = pids(kind);
                let Some(at) = usize::try_from(self.chance.below(found.len().max(1) as u64)).ok()
                else {
                    break;
                };
                let Some(pid) = found.get(at).copied() else {
                    // It is being started, or control is.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                if at_file {
                    let watched = self.watched(kind);
                    let Some(file) = appears(&watched, sent) else { break };
                    // The store that writes there says its pid in its lock.
                    let owner = (kind == "store").then(|| writer(&file)).flatten();
                    killed = kill(&[owner.unwrap_or(pid)]);
                } else {
                    killed = kill(&[pid]);
                }
                break;
            }
            if killed {
                self.count(kind, at_file);
            } else if !sent.load(Ordering::SeqCst) {
                next.push(kind);
            }
        }
        for kind in KINDS {
            let all = self.kills.get(kind).map_or(0, |k| k.0);
            assert!(all >= LEAST, "{kind} was killed {all} times only");
        }
    }

    /// The whole daemon ten times, each some seconds after it was ready: on a slow
    /// machine it lives as long as on a fast one.
    fn daemons(
        &mut self,
        env: &Env,
        daemon: &Mutex<Option<Daemon>>,
        places: &Places,
        sent: &AtomicBool,
    ) {
        for life in 1..=LIVES {
            std::thread::sleep(Duration::from_millis(3000 + self.chance.below(2500)));
            let mut slot = daemon.lock().unwrap();
            let Some(old) = slot.take() else { return };
            let parent = old.pid();
            // Parent alone: the others find their channels closed.  Or all at
            // once, as a machine dies.
            let alone = life % 2 == 0;
            let mut victims = vec![parent];
            if !alone {
                victims.extend(pids(&old, None));
            }
            let at_file = self.chance.below(2) == 0 && {
                let which = if self.chance.below(2) == 0 { "queue" } else { "store" };
                appears(&self.watched(which), sent).is_some()
            };
            kill(&victims);
            self.count(if alone { "parent" } else { "all" }, at_file);
            drop(old);
            *slot = Some(Daemon::launch(env, self.dir));
            places.learn(slot.as_ref().unwrap());
        }
    }

    /// Where a file of this kind of process appears.
    fn watched(&self, kind: &str) -> Vec<PathBuf> {
        if kind == "queue" {
            return vec![self.dir.join("spool/incoming"), self.dir.join("spool/queue")];
        }
        ACCOUNTS.iter().map(|a| self.dir.join("mail").join(a).join("tmp")).collect()
    }
}

/// Waits until a file appears that was not there; `None` if all is sent before.
///
/// Looks again and again without a pause but its turn: it is the moment that counts.
fn appears(dirs: &[PathBuf], sent: &AtomicBool) -> Option<PathBuf> {
    let list = || -> Vec<PathBuf> {
        let entries = dirs.iter().filter_map(|d| std::fs::read_dir(d).ok()).flatten();
        entries.flatten().map(|e| e.path()).collect()
    };
    let before: HashSet<PathBuf> = list().into_iter().collect();
    while !sent.load(Ordering::SeqCst) {
        if let Some(new) = list().into_iter().find(|p| !before.contains(p)) {
            return Some(new);
        }
        std::thread::yield_now();
    }
    None
}

/// The store that writes a file in `tmp/`.
fn writer(file: &Path) -> Option<u32> {
    let lock = file.parent()?.parent()?.join("rmail.lock");
    std::fs::read_to_string(lock).ok()?.lines().next()?.trim().parse().ok()
}

/// The daemon's processes of a kind, or all; none while control is being restarted.
fn pids(daemon: &Daemon, kind: Option<&str>) -> Vec<u32> {
    let out = daemon.ctl(&["show", "procs"]);
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    let of = |l: &str| {
        let words: Vec<&str> = l.split_whitespace().collect();
        let right = kind.is_none_or(|k| words.first() == Some(&k));
        (right && words.get(1) == Some(&"pid")).then(|| words.get(2).and_then(|p| p.parse().ok()))
    };
    text.lines().filter_map(of).flatten().collect()
}

/// SIGKILL for these, at once; false if one was gone.
fn kill(pids: &[u32]) -> bool {
    let args = pids.iter().map(u32::to_string);
    let status = Command::new("kill").arg("-9").args(args).stderr(Stdio::null()).status();
    status.expect("kill").success()
}

/// Lets the queue run empty; what a death put off or held is tried at once.
fn drain(daemon: &Daemon) -> Result<(), String> {
    let empty = || {
        daemon.ctl(&["release", "all"]);
        daemon.ctl(&["schedule", "all"]);
        daemon.ctl(&["wait", "queue-empty", "2"]).status.success()
    };
    if eventually(Duration::from_secs(60), empty) {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&daemon.ctl(&["show", "queue"]).stdout).into_owned())
}

/// Every file below a mail root.
fn mails(root: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for sub in ["", ".lists"] {
        all.extend(crate::deliver::post::files(&root.join(sub)));
    }
    all
}

/// Compares what was said with what is there.
fn judge(dir: &Path, sink: &Sink, sent: &[(Letter, Said)], figures: &mut Figures) {
    // Copies by message and place; the relay's place is its address.
    let mut copies: BTreeMap<(String, String), usize> = BTreeMap::new();
    let by_id: BTreeMap<&str, &Letter> = sent.iter().map(|(l, _)| (l.id.as_str(), l)).collect();
    for account in ACCOUNTS.iter().chain([&SENDER]) {
        for file in mails(&dir.join("mail").join(account)) {
            let text = std::fs::read_to_string(&file).unwrap_or_default();
            let id = text.lines().find_map(|l| l.strip_prefix("X-Id: ")).unwrap_or_default();
            let Some(letter) = by_id.get(id) else {
                figures.wrong.push(format!("{}: nobody sent this", file.display()));
                continue;
            };
            let body = text.split_once("\n\n").map_or("", |(_, body)| body);
            if body != letter.body() {
                figures.wrong.push(format!("{}: not the body that was sent", file.display()));
            }
            *copies.entry((id.to_owned(), (*account).to_owned())).or_default() += 1;
        }
    }
    for mail in sink.mails() {
        let id = mail.text.lines().find_map(|l| l.strip_prefix("X-Id: ")).unwrap_or_default();
        let body = mail.text.replace("\r\n", "\n");
        if by_id.get(id).is_none_or(|l| !body.ends_with(&l.body())) {
            figures.wrong.push(format!("{id}: the relay has another body"));
        }
        for rcpt in &mail.rcpts {
            let address = rcpt.trim_start_matches("RCPT TO:<").split('>').next().unwrap_or("");
            *copies.entry((id.to_owned(), address.to_owned())).or_default() += 1;
        }
    }
    for (letter, said) in sent {
        match said {
            Said::Accepted(_) => figures.accepted += 1,
            Said::Refused(_) => figures.refused += 1,
            Said::Lost => figures.lost += 1,
            Said::Hang => {
                figures.lost += 1;
                figures.wrong.push(format!("{}: no answer in a minute", letter.id));
            }
        }
        for (n, rcpt) in letter.rcpts.iter().enumerate() {
            let taken = matches!(said, Said::Accepted(taken) if taken.contains(&n));
            let maybe = matches!(said, Said::Lost | Said::Hang);
            let relay = rcpt.relayed.then_some(rcpt.address.as_str());
            for place in rcpt.at.iter().copied().chain(relay) {
                let there =
                    copies.remove(&(letter.id.clone(), place.to_owned())).unwrap_or_default();
                let right = match (taken, maybe, rcpt.relayed) {
                    (true, _, false) => there == 1,
                    (true, _, true) => there >= 1,
                    (false, true, false) => there <= 1,
                    (false, true, true) => true,
                    (false, false, _) => there == 0,
                };
                if !right {
                    figures.wrong.push(format!("{}: {said:?}, {there} times {place}", letter.id));
                }
            }
        }
    }
    for ((id, place), n) in copies {
        figures.wrong.push(format!("{id}: {n} times {place}, which is no recipient"));
    }
    let total = plan::CLIENTS * plan::EACH;
    assert_eq!(sent.len(), total, "messages that were sent");
    // A server that refuses everything would be always right.
    if figures.accepted * 2 < total {
        figures.wrong.push(format!("only {} of {total} were accepted", figures.accepted));
    }
}
