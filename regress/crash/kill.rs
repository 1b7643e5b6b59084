//! Mail while processes die: what was said to clients must be true afterwards.
//!
//! 50 clients send 1,000 messages over a minute while processes get SIGKILL;
//! then the queue runs empty, and each message is looked for: [`super::judge`].

use super::judge::judge;
use super::plan::{Chance, ACCOUNTS, BOX, CLIENTS, RUN, SENDER};
use super::post;
use super::read::{self, Memory};
use super::Places;
use crate::daemon::{certificate, eventually, write, Daemon};
use crate::sink::{self, Sink};
use crate::Env;
use std::collections::{BTreeMap, HashSet};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The kinds that die, with parent apart.  "exec" is a program of an action.
const KINDS: &[&str] =
    &["keyd", "lookup", "queue", "smtp", "mta", "imap", "store", "control", "mbox", "exec"];
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
    pub accepted: usize,
    pub refused: usize,
    pub lost: usize,
    rounds: usize,
    pub wrong: Vec<String>,
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
        judge(dir, &sink, &all, victim, &mut figures);
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
    // The mailbox is in a directory of root's, as /var/mail is.
    std::fs::create_dir_all(dir.join(BOX)).expect("mkdir");
    for sub in ["mail", "home", RUN] {
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
    let place = dir.display();
    write(&dir.join("aliases"), format!("team: joe, jim\nfiled: {place}/{BOX}/file\n"));
    // Its file has the pid of who writes it, and another name when it is whole.
    let program = dir.join("take");
    let take = format!(
        "#!/bin/sh\nset -e\nfile=$(mktemp {place}/{RUN}/$$.XXXXXX)\n\
         cat > $file\nmv $file $file.mail\n"
    );
    write(&program, take);
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("chmod");
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
         action \"run\" mda \"@DIR@/take\" userbase <users>\n\
         action \"out\" relay host \"smtp://{}\"\n\
         match from any for domain \"example.com\" action \"in\"\n\
         match from any for domain \"run.example\" action \"run\"\n\
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
                next.retain(|kind| *kind != "mbox" || rmail::sys::user::is_root());
                self.chance.shuffle(&mut next);
            }
            let Some(kind) = next.pop() else { continue };
            let (all, at) = self.kills.get(kind).copied().unwrap_or_default();
            // What lives for one delivery is known by its file alone.
            let brief = matches!(kind, "mbox" | "exec");
            let at_file = brief || matches!(kind, "queue" | "store") && at * 2 <= all;
            let mut killed = false;
            for _ in 0..100 {
                let found = match at_file && kind != "queue" {
                    // Who writes the file says its pid there.
                    true => {
                        let parent = daemon.lock().unwrap().as_ref().map(Daemon::pid);
                        let file = appears(&self.watched(kind), sent);
                        file.and_then(|f| writer(kind, &f)).filter(|pid| is_child(*pid, parent))
                    }
                    false => self.one_of(daemon, kind),
                };
                let Some(pid) = found else {
                    if sent.load(Ordering::SeqCst) {
                        break;
                    }
                    // It is being started, or control is; or the file was gone.
                    std::thread::sleep(Duration::from_millis(20));
                    continue;
                };
                if at_file && kind == "queue" && appears(&self.watched(kind), sent).is_none() {
                    break;
                }
                killed = kill(&[pid]);
                break;
            }
            if killed {
                self.count(kind, at_file);
            } else if !sent.load(Ordering::SeqCst) {
                next.push(kind);
            }
        }
        let can = |kind: &str| kind != "mbox" || rmail::sys::user::is_root();
        for kind in KINDS.iter().filter(|k| can(k)) {
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
                // None are told while control is being started.
                let others = (0..500).find_map(|_| {
                    std::thread::sleep(Duration::from_millis(20));
                    Some(pids(&old, None)).filter(|all| !all.is_empty())
                });
                victims.extend(others.expect("the daemon has processes"));
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

    /// A process of a kind, by chance; none while it, or control, is being started.
    fn one_of(&mut self, daemon: &Mutex<Option<Daemon>>, kind: &str) -> Option<u32> {
        let found = pids(daemon.lock().unwrap().as_ref()?, Some(kind));
        let at = self.chance.below(found.len().max(1) as u64);
        found.get(usize::try_from(at).ok()?).copied()
    }

    /// Where a file of this kind of process appears.
    fn watched(&self, kind: &str) -> Vec<PathBuf> {
        match kind {
            "queue" => vec![self.dir.join("spool/incoming"), self.dir.join("spool/queue")],
            "mbox" => vec![self.dir.join(BOX)],
            "exec" => vec![self.dir.join(RUN)],
            _ => ACCOUNTS.iter().map(|a| self.dir.join("mail").join(a).join("tmp")).collect(),
        }
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

/// The pid of the process that writes a file.
fn writer(kind: &str, file: &Path) -> Option<u32> {
    let first = |path: &Path| {
        let text = std::fs::read_to_string(path).ok()?;
        text.lines().next().map(str::to_owned)
    };
    match kind {
        "store" => first(&file.parent()?.parent()?.join("rmail.lock"))?.trim().parse().ok(),
        "mbox" => first(&file.with_extension("lock"))?.split(':').nth(1)?.trim().parse().ok(),
        _ => file.file_name()?.to_str()?.split('.').next()?.parse().ok(),
    }
}

/// Whether this is a process of the daemon still: a file may be a dead one's.
fn is_child(pid: u32, parent: Option<u32>) -> bool {
    if !Path::new("/proc/self/stat").exists() {
        return true; // where only ps(1) tells, it would tell too late
    }
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let of = stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(1));
    of.is_some_and(|of| of.parse().ok() == parent)
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
    let killed = |pid: &u32| {
        let pid = nix::unistd::Pid::from_raw(i32::try_from(*pid).expect("a pid"));
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).is_ok()
    };
    // Each, whatever becomes of the others.
    let gone = pids.iter().filter(|pid| !killed(pid)).count();
    gone == 0
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
