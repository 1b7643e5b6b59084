//! Sending what was kept in the offline directory while no daemon ran, or
//! while none was found.
//!
//! Each file is sent by the sendmail program as the file's owner, so that
//! whoever put a link there gains nothing that he could not send himself; a few
//! at a time, one of each user, each with a deadline, so that a program that
//! its user has stopped holds up nobody else's mail for long.  Parent reads names and
//! owners, never contents.
//!
//! The directory is looked at after the start, soon again (who found no socket
//! then writes his file afterwards), and every few minutes: a sendmail that
//! meets a full backlog of the socket, or knows another one, keeps its mail
//! while the daemon runs.  What was not sent is tried again after a wait that
//! doubles.  A look is taken in pieces, since any user can fill the directory.

mod directory;

pub use self::directory::make;

use self::directory::{owner, NAME};
use super::{Phase, Supervisor};
use crate::base::exits::sysexits;
use crate::base::log::{self, Show};
use crate::disk::offline::{HALF, UNKNOWN};
use crate::ipc::parent::{Program, Target};
use crate::proc::table::Kind;
use crate::proto::limits;
use crate::sys::fdpass;
use crate::sys::spawn::Exit;
use crate::sys::user::User;
use std::collections::HashMap;
use std::ffi::OsString;
use std::fs::ReadDir;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Between the first looks; doubled to [`LOOK`].
const FIRST_LOOK: Duration = Duration::from_secs(5);
/// Between looks.
const LOOK: Duration = Duration::from_secs(300);
/// Names that are read without a pause.
const PIECE: usize = 1000;
/// Files that are remembered; the rest are found when these are gone.
const MOST: usize = 10_000;
/// The same of one user.
const MOST_OF_ONE: usize = 1000;
/// Files that are sent at a time.
const AT_ONCE: usize = 4;
/// Before a file is tried again; doubled to [`AGAIN_MAX`].
const AGAIN: Duration = Duration::from_secs(10);
/// The longest.
const AGAIN_MAX: Duration = Duration::from_secs(900);
/// Before one that is not known is tried again: the program may be another then.
const AGAIN_UNKNOWN: Duration = Duration::from_secs(6 * 3600);

/// The files that wait.
#[derive(Default)]
pub struct Offline {
    /// By their names in the directory.
    files: HashMap<OsString, Waiting>,
    /// A look that is not at its end.
    look: Option<Look>,
    /// When the next begins.
    look_at: Option<Instant>,
    /// How long after that the one after it does.
    wait: Duration,
    /// What the last look found beyond `files`.
    beyond: u64,
}

struct Look {
    entries: ReadDir,
    found: HashMap<OsString, u32>,
    of_user: HashMap<u32, usize>,
    beyond: u64,
}

/// A file.
struct Waiting {
    uid: u32,
    failures: u32,
    /// When it is tried.
    at: Instant,
    /// The process that sends it.
    sender: Option<u64>,
}

/// How long a file waits after so many failures.
fn again(failures: u32) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    AGAIN.saturating_mul(1 << doublings).min(AGAIN_MAX)
}

impl Offline {
    /// How many files wait.
    pub fn waiting(&self) -> u64 {
        self.beyond.saturating_add(u64::try_from(self.files.len()).unwrap_or(u64::MAX))
    }

    /// The file whose turn it is, and when: the one that is due longest, of
    /// those whose owner has none being sent.
    fn turn(&self) -> Option<(&OsString, Instant)> {
        let sent = self.files.values().filter(|f| f.sender.is_some()).map(|f| f.uid);
        let busy: Vec<u32> = sent.collect();
        let ready = |f: &Waiting| f.sender.is_none() && !busy.contains(&f.uid);
        let files = self.files.iter().filter(|(_, f)| busy.len() < AT_ONCE && ready(f));
        files.map(|(name, f)| (name, f.at)).min_by_key(|(_, at)| *at)
    }

    /// When there is something to do next.
    fn next(&self) -> Option<Instant> {
        self.turn().map(|(_, at)| at).into_iter().chain(self.look_at).min()
    }

    /// A look is at its end: what it found is what is there.
    fn looked(&mut self, look: Look, now: Instant) {
        let Look { found, beyond, .. } = look;
        self.files.retain(|name, f| f.sender.is_some() || found.get(name) == Some(&f.uid));
        for (name, uid) in found {
            let new = Waiting { uid, failures: 0, at: now, sender: None };
            self.files.entry(name).or_insert(new);
        }
        self.beyond = beyond;
        self.plan(now);
    }

    fn plan(&mut self, now: Instant) {
        self.wait = self.wait.saturating_mul(2).clamp(FIRST_LOOK, LOOK);
        self.look_at = Some(now + self.wait);
    }

    /// The program that sent a file has ended; gives the file's owner and, if it
    /// is tried again, how long it waits.
    fn ended(&mut self, id: u64, exit: Exit, now: Instant) -> Option<(u32, Option<Duration>)> {
        let (name, file) = self.files.iter_mut().find(|(_, f)| f.sender == Some(id))?;
        let uid = file.uid;
        if [Exit::Code(0), Exit::Code(i32::from(HALF))].contains(&exit) {
            let name = name.clone();
            self.files.remove(&name);
            if self.beyond > 0 && !self.files.values().any(|f| f.uid == uid) {
                self.look_at = Some(now);
            }
            return Some((uid, None));
        }
        file.sender = None;
        Some((uid, Some(file.failed(exit, now))))
    }
}

impl Waiting {
    fn failed(&mut self, exit: Exit, now: Instant) -> Duration {
        self.failures = self.failures.saturating_add(1);
        let wait = match exit {
            Exit::Code(code) if code == i32::from(UNKNOWN) => AGAIN_UNKNOWN,
            _ => again(self.failures),
        };
        self.at = now + wait;
        wait
    }
}

impl Look {
    fn begin(directory: &Path) -> std::io::Result<Look> {
        let entries = std::fs::read_dir(directory)?;
        Ok(Look { entries, found: HashMap::new(), of_user: HashMap::new(), beyond: 0 })
    }

    /// Reads some names; true at the end.
    fn go_on(&mut self) -> bool {
        for _ in 0..PIECE {
            let Some(Ok(entry)) = self.entries.next() else { return true };
            let name = entry.file_name();
            // sendmail gives the rest of a message such a name for a moment.
            if name.as_bytes().starts_with(b".") {
                continue;
            }
            if let Some(uid) = owner(&entry.path()) {
                self.find(name, uid);
            }
        }
        false
    }

    fn find(&mut self, name: OsString, uid: u32) {
        let his = self.of_user.entry(uid).or_default();
        if *his < MOST_OF_ONE && self.found.len() < MOST {
            *his += 1;
            self.found.insert(name, uid);
        } else {
            self.beyond += 1;
        }
    }
}

impl Supervisor {
    /// The daemon is at work: it looks what is there.
    pub fn find_offline(&mut self) {
        self.offline.look_at = Some(Instant::now());
    }

    /// When [`Supervisor::offline_timers`] has something to do next.
    pub fn next_offline(&self) -> Option<Instant> {
        self.offline.next().filter(|_| self.phase == Phase::Running)
    }

    /// Looks, and sends what is due.
    pub fn offline_timers(&mut self, now: Instant) {
        if self.phase != Phase::Running {
            return;
        }
        if self.offline.look_at.is_some_and(|at| at <= now) {
            self.look_offline(now);
        }
        while let Some((name, at)) = self.offline.turn() {
            if at > now {
                return;
            }
            let name = name.clone();
            let path = self.loaded.directories().spool.join(NAME).join(&name);
            let Some(file) = self.offline.files.get(&name) else { return };
            let uid = file.uid;
            if owner(&path) != Some(uid) {
                self.offline.files.remove(&name);
                continue;
            }
            let sent = self.send_file(&path, uid);
            let Some(file) = self.offline.files.get_mut(&name) else { return };
            match sent {
                Ok(id) => file.sender = Some(id),
                Err(e) => {
                    let wait = file.failed(Exit::Code(i32::from(sysexits::OSERR)), now);
                    let secs = wait.as_secs();
                    log::warn!("offline", uid = uid, retry_secs = secs, error = e.as_str());
                }
            }
        }
    }

    fn look_offline(&mut self, now: Instant) {
        let directory = self.loaded.directories().spool.join(NAME);
        let look = self.offline.look.take().map_or_else(|| Look::begin(&directory), Ok);
        match look {
            Ok(mut look) => {
                if look.go_on() {
                    self.offline.looked(look, now);
                } else {
                    self.offline.look = Some(look);
                }
            }
            Err(e) => {
                log::warn!("offline", error = Show(&e));
                self.offline.plan(now);
            }
        }
    }

    /// A program has ended: perhaps it sent a file.
    pub fn offline_ended(&mut self, id: u64, exit: Exit) {
        let Some((uid, wait)) = self.offline.ended(id, exit, Instant::now()) else { return };
        let msg = match exit {
            Exit::Code(0) => return,
            Exit::Code(code) if code == i32::from(HALF) => {
                "half a message, whose sender was told so: removed"
            }
            Exit::Code(code) if code == i32::from(UNKNOWN) => {
                "a file of another version, too large or damaged: it stays"
            }
            _ => "a message was not sent: it is tried again",
        };
        let (code, signal) = match exit {
            Exit::Code(code) => (code, 0),
            Exit::Signal(signal) => (0, signal),
        };
        let secs = wait.map_or(0, |w| w.as_secs());
        log::warn!(
            "offline",
            uid = uid,
            exit = code,
            signal = signal,
            retry_secs = secs,
            msg = msg
        );
    }

    fn send_file(&mut self, path: &Path, uid: u32) -> Result<u64, String> {
        let sendmail = self.sendmail().ok_or("no sendmail program beside rmaild")?;
        let user = User::by_uid(uid).map_err(|e| e.to_string())?;
        let user = user.ok_or_else(|| format!("uid {uid} has no name"))?;
        let words = [sendmail.as_path(), Path::new("-S"), &self.loaded.socket_path()]
            .iter()
            .chain(&[Path::new("-Z"), path])
            .map(|w| w.as_os_str().as_bytes().to_vec())
            .collect();
        let program = Program {
            argv: words,
            user: user.name,
            uid,
            gid: user.gid,
            home: PathBuf::from("/"),
            env: vec![b"PATH=/usr/bin:/bin".to_vec()],
        };
        // Nobody reads what it says: the log has its exit status.
        let (_, theirs) = fdpass::socketpair().map_err(|e| e.to_string())?;
        let job = (Target::Program { program }, Some(theirs));
        let id = self.begin(Kind::Exec, job).map_err(|why| format!("{why:?}"))?;
        // It is its user's process, who may have stopped it.
        let time = self.loaded.config.limit_time(&limits::PROGRAM_TIME);
        if let Some(child) = self.children.iter_mut().find(|c| c.id == id) {
            child.kill_at = Some(Instant::now() + time);
        }
        Ok(id)
    }

    /// The sendmail program: beside rmaild, or where make install puts it.
    fn sendmail(&self) -> Option<PathBuf> {
        let program = PathBuf::from(std::ffi::OsStr::from_bytes(self.program.as_bytes()));
        let beside = program.parent()?;
        let places = [beside.join("sendmail"), beside.join("../libexec/rmail/sendmail")];
        places.into_iter().find(|p| p.is_file())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    const UID: u32 = 1000;

    fn waiting(all: &[(&str, u32)]) -> (Offline, Instant) {
        let now = Instant::now();
        let mut offline = Offline::default();
        look(&mut offline, all, now);
        (offline, now)
    }

    fn look(offline: &mut Offline, all: &[(&str, u32)], now: Instant) {
        let mut look = Look::begin(Path::new("/")).unwrap();
        for (name, uid) in all {
            look.find((*name).into(), *uid);
        }
        offline.looked(look, now);
    }

    /// Sends what is due; gives the owners.
    fn send(offline: &mut Offline, now: Instant, next_id: &mut u64) -> Vec<u32> {
        let mut owners = Vec::new();
        while let Some((name, _)) = offline.turn().filter(|(_, at)| *at <= now) {
            let name = name.clone();
            let file = offline.files.get_mut(&name).unwrap();
            *next_id += 1;
            file.sender = Some(*next_id);
            owners.push(file.uid);
        }
        owners.sort_unstable();
        owners
    }

    #[test]
    fn one_of_each_user_is_sent_at_a_time_and_four_in_all() {
        let (mut offline, now) = waiting(&[("a", 1), ("b", 1), ("c", 1), ("d", 2), ("e", 3)]);
        let mut id = 0;
        assert_eq!(send(&mut offline, now, &mut id), [1, 2, 3]);
        assert_eq!(offline.waiting(), 5);
        let first = offline.files.values().find(|f| f.uid == 1 && f.sender.is_some()).unwrap();
        let first = first.sender.unwrap();
        assert_eq!(offline.ended(first, Exit::Code(0), now), Some((1, None)));
        assert_eq!(send(&mut offline, now, &mut id), [1]);
        look(&mut offline, &[("f", 4), ("g", 5), ("h", 6)], now);
        assert_eq!(send(&mut offline, now, &mut id).len(), 1);
    }

    #[test]
    fn what_fails_is_tried_again_after_the_others() {
        let (mut offline, now) = waiting(&[("a", UID)]);
        let mut id = 0;
        let mut waits = Vec::new();
        let mut at = now;
        for _ in 0..9 {
            assert_eq!(send(&mut offline, at, &mut id), [UID]);
            let (_, wait) = offline.ended(id, Exit::Signal(9), at).unwrap();
            waits.push(wait.unwrap().as_secs());
            assert_eq!(send(&mut offline, at, &mut id), [] as [u32; 0]);
            at = offline.files[OsStr::new("a")].at;
        }
        assert_eq!(waits, [10, 20, 40, 80, 160, 320, 640, 900, 900]);
        look(&mut offline, &[("a", UID), ("b", UID)], now);
        let (name, _) = offline.turn().unwrap();
        assert_eq!(name, "b");
    }

    #[test]
    fn looks_are_soon_at_first_and_then_each_five_minutes() {
        let (mut offline, now) = waiting(&[]);
        let mut waits = Vec::new();
        for _ in 0..8 {
            waits.push((offline.next().unwrap() - now).as_secs());
            look(&mut offline, &[], now);
        }
        assert_eq!(waits, [5, 10, 20, 40, 80, 160, 300, 300]);
    }

    #[test]
    fn one_users_thousands_of_files_leave_room_for_others() {
        let names: Vec<String> = (0..=MOST_OF_ONE).map(|n| n.to_string()).collect();
        let mut all: Vec<(&str, u32)> = names.iter().map(|n| (n.as_str(), 1)).collect();
        all.push(("another", 2));
        let (mut offline, now) = waiting(&all);
        assert_eq!(offline.files.len(), MOST_OF_ONE + 1);
        assert_eq!(offline.waiting(), all.len() as u64);
        let mut id = 0;
        assert_eq!(send(&mut offline, now, &mut id), [1, 2]);
        // The rest is looked for when these are sent.
        offline.files.retain(|_, f| f.sender.is_some());
        let his = offline.files.values().find(|f| f.uid == 1).and_then(|f| f.sender).unwrap();
        offline.ended(his, Exit::Code(0), now);
        assert_eq!(offline.next(), Some(now));
    }

    #[test]
    fn what_is_gone_is_forgotten() {
        let (mut offline, now) = waiting(&[("a", 1), ("b", 2)]);
        look(&mut offline, &[("b", 2)], now);
        assert_eq!(offline.waiting(), 1);
    }
}
