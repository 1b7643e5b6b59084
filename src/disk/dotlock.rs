//! Lock files beside the file that they protect (`x.lock`), as Dovecot makes them.
//!
//! Runs in store.  The lock is made with O_EXCL.  A *plain* lock holds
//! `<pid>:<hostname>`; a *content* lock holds the protected file's next content
//! and is committed by renaming it over that file.  A lock is stale when
//! neither it nor the protected file has changed for the rule's time, or when
//! it holds the pid of an earlier store of this account, which is known to be
//! dead since its flock on `rmail.lock` is gone.  Whether another program's
//! pid lives cannot be asked inside the sandbox, so its lock waits for the time.
//! Where the holders have no lock of their own that tells (mbox), theirs are
//! flocked too, and say so: one that is not is of a dead one.
//! Where all programs write into their locks at once, one that stays empty is of
//! nobody, and goes stale sooner: its maker died between the two.

mod flocked;

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::base::clock::{Since, WallTime};
use crate::disk::atomic;
use crate::disk::maildir::error::{At, Error, Result};

/// Who makes locks, and whose locks are stale without a wait.
#[derive(Clone, Debug)]
pub struct Owner {
    /// This process.
    pub pid: u32,
    /// This host, as it stands in locks and file names.
    pub host: String,
    /// The processes that held `rmail.lock` before this one, as far as is known:
    /// one that died early may have left its predecessor's locks as they were.
    pub dead: Vec<u32>,
}

/// How long to wait for a lock, and when it is stale.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// The longest wait.
    pub wait: Duration,
    /// A lock and a protected file unchanged for this long mean that nobody holds it.
    pub stale: Duration,
    /// The same for a lock that is empty, whatever became of the file.
    pub empty: Duration,
    /// Our own locks are flocked as long as they are held.
    pub flocked: bool,
}

/// How long the lock of a program that writes into its locks may be empty.
/// Dovecot takes one that its holder does not touch for so long for stale
/// whatever is in it.
const EMPTY: Duration = Duration::from_secs(10);

/// `dovecot-uidlist.lock` and `dovecot-keywords.lock`.
pub const UIDLIST: Rule = Rule {
    wait: Duration::from_secs(122),
    stale: Duration::from_secs(120),
    empty: EMPTY,
    flocked: false,
};

/// `subscriptions.lock`.
pub const SUBSCRIPTIONS: Rule = Rule {
    wait: Duration::from_secs(120),
    stale: Duration::from_secs(30),
    empty: EMPTY,
    flocked: false,
};

/// A lock that is held; dropping it removes the file.
#[derive(Debug)]
pub struct Dotlock {
    path: PathBuf,
    target: PathBuf,
    file: File,
    mode: u32,
    committed: bool,
    touched: Since,
    /// What a holder that died had noted in its flocked lock.
    left: Option<String>,
}

impl Dotlock {
    /// Makes `target`'s lock, waiting while somebody else holds it.
    ///
    /// Blocks up to `rule.wait`, polling every 20 to 500 ms; then the error is
    /// [`Error::Locked`].  The file gets `mode`.
    pub fn acquire(target: &Path, rule: Rule, owner: &Owner, mode: u32) -> Result<Dotlock> {
        let mut path = target.as_os_str().to_owned();
        path.push(".lock");
        let path = PathBuf::from(path);
        let begun = Since::now();
        let mut pause = Duration::from_millis(20);
        loop {
            let taken = match rule.flocked {
                true => flocked::take(&path, rule, owner, mode)?,
                false => create(&path, mode)?.map_or(Taken::Held, |file| Taken::Ours(file, None)),
            };
            if let Taken::Ours(file, left) = taken {
                let (touched, target) = (Since::now(), target.to_path_buf());
                return Ok(Dotlock { path, target, file, mode, committed: false, touched, left });
            }
            if matches!(taken, Taken::Held) && is_stale(&path, target, rule, owner) {
                // Two programs can find the same lock stale; the pause lets the
                // one that came first make its own before this one looks again.
                remove(&path)?;
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
            if begun.elapsed() >= rule.wait {
                return Err(Error::Locked(path));
            }
            std::thread::sleep(pause.min(rule.wait));
            pause = pause.saturating_mul(2).min(Duration::from_millis(500));
        }
    }

    /// Makes a plain lock: it holds this process's name.
    pub fn plain(target: &Path, rule: Rule, owner: &Owner, mode: u32) -> Result<Dotlock> {
        let mut lock = Dotlock::acquire(target, rule, owner, mode)?;
        let text = format!("{}:{}", owner.pid, owner.host);
        lock.file.write_all(text.as_bytes()).at("write", &lock.path)?;
        Ok(lock)
    }

    /// Adds to what the lock says, for who finds it when this process has died.
    pub fn note(&mut self, text: &str) -> Result<()> {
        self.file.write_all(text.as_bytes()).at("write", &self.path)
    }

    /// What the holders before this one had noted, if they died.
    pub fn left(&self) -> Option<&str> {
        self.left.as_deref()
    }

    /// Shows others that the lock is alive; call it often during long work.
    ///
    /// Touches the file at most every 5 s, well below the 10 s that others allow.
    pub fn touch(&mut self) -> Result<()> {
        if self.touched.elapsed() < Duration::from_secs(5) {
            return Ok(());
        }
        self.touched = Since::now();
        self.file.set_modified(system(WallTime::now())).at("utimensat", &self.path)
    }

    /// Makes `content` the protected file's: written, synced, renamed, directory synced.
    ///
    /// `newer_than` is a time that the file's mtime must exceed by at least a
    /// second: Dovecot caches dovecot-keywords by it.
    pub fn commit(mut self, content: &[u8], newer_than: Option<SystemTime>) -> Result<()> {
        self.file.write_all(content).at("write", &self.path)?;
        if let Some(old) = newer_than {
            let least = old.checked_add(Duration::from_secs(1)).unwrap_or(old);
            if self.file.metadata().and_then(|m| m.modified()).at("fstat", &self.path)? < least {
                self.file.set_modified(least).at("utimensat", &self.path)?;
            }
        }
        atomic::sync_file(&self.file, &self.path)?;
        atomic::rename(&self.path, &self.target)?;
        self.committed = true;
        if let Some(dir) = self.target.parent() {
            atomic::sync_dir(dir)?;
        }
        Ok(())
    }

    /// The mode that the lock was made with.
    pub fn mode(&self) -> u32 {
        self.mode
    }
}

impl Drop for Dotlock {
    fn drop(&mut self) {
        if self.committed {
            return;
        }
        // Somebody who found this lock stale may have made another: only our own goes.
        if matches!(is_at(&self.path, &self.file), Ok(true)) {
            // A lock that cannot be removed goes stale by itself.
            let _ = remove(&self.path);
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("unlink", path),
        _ => Ok(()),
    }
}

/// A time as std's file calls take it.
fn system(t: WallTime) -> SystemTime {
    let secs = Duration::from_secs(u64::try_from(t.secs).unwrap_or(0));
    let since = secs.saturating_add(Duration::from_nanos(u64::from(t.nanos)));
    SystemTime::UNIX_EPOCH.checked_add(since).unwrap_or(SystemTime::UNIX_EPOCH)
}

/// What came of a try.
enum Taken {
    /// The lock is ours; with what a holder that died had noted.
    Ours(File, Option<String>),
    /// It is another's, who may be dead: it can be stale.
    Held,
    /// It is another's, who lives, or was in somebody's way: only wait.
    Busy,
}

/// Makes a file that must not exist; `None` if it does.
fn create(path: &Path, mode: u32) -> Result<Option<File>> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(mode).open(path);
    match made {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => Ok(None),
        Err(e) => Err(e).at("open", path),
    }
}

/// Whether this is the file of that name.
fn is_at(path: &Path, file: &File) -> Result<bool> {
    let there = std::fs::symlink_metadata(path).map(|m| (m.dev(), m.ino())).ok();
    let meta = file.metadata().at("fstat", path)?;
    Ok(there == Some((meta.dev(), meta.ino())))
}

/// True when nobody can be holding the lock any more.
fn is_stale(lock: &Path, target: &Path, rule: Rule, owner: &Owner) -> bool {
    let Ok(meta) = std::fs::symlink_metadata(lock) else { return false };
    let now = system(WallTime::now());
    let age = |t: Option<SystemTime>| t.and_then(|t| now.duration_since(t).ok());
    let made = meta.modified().ok();
    if meta.is_file() && meta.len() == 0 && age(made).is_some_and(|age| age >= rule.empty) {
        return true;
    }
    if meta.is_file() && meta.len() < 512 {
        let text = std::fs::read_to_string(lock).unwrap_or_default();
        let of = |pid: &u32| text.trim_end() == format!("{pid}:{}", owner.host);
        if owner.dead.iter().any(of) {
            return true;
        }
    }
    let changed = std::fs::symlink_metadata(target).ok().and_then(|m| m.modified().ok());
    age(made.max(changed)).is_some_and(|age| age >= rule.stale)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    const QUICK: Rule = Rule { wait: Duration::from_millis(50), ..UIDLIST };

    fn owner() -> Owner {
        Owner { pid: std::process::id(), host: "h".into(), dead: Vec::new() }
    }

    #[test]
    fn a_held_lock_keeps_others_out_and_goes_when_dropped() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        let lock = Dotlock::plain(&target, QUICK, &owner(), 0o600).unwrap();
        let path = dir.path().join("x.lock");
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, format!("{}:h", std::process::id()));
        let second = Dotlock::acquire(&target, QUICK, &owner(), 0o600);
        assert_eq!(second.err(), Some(Error::Locked(path.clone())));
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn a_lock_of_a_dead_store_is_overridden_at_once() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        let owner = Owner { dead: vec![12, 4711], ..owner() };
        for (text, free) in [("12:h", true), ("4711:h", true), ("13:h", false), ("12:x", false)] {
            std::fs::write(dir.path().join("x.lock"), text).unwrap();
            let lock = Dotlock::plain(&target, QUICK, &owner, 0o600);
            assert_eq!(lock.is_ok(), free, "{text}");
        }
    }

    #[test]
    fn a_lock_that_stays_empty_is_of_nobody() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        std::fs::write(&target, "").unwrap();
        let lock = dir.path().join("x.lock");
        let made = |secs, text: &str| {
            std::fs::write(&lock, text).unwrap();
            let time = SystemTime::now() - Duration::from_secs(secs);
            File::options().write(true).open(&lock).unwrap().set_modified(time).unwrap();
            Dotlock::plain(&target, QUICK, &owner(), 0o600).is_ok()
        };
        assert!(!made(5, ""));
        assert!(!made(11, "1:elsewhere"));
        assert!(made(11, ""));
    }

    #[test]
    fn an_old_lock_is_stale_only_when_the_file_is_old_too() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        let lock = dir.path().join("x.lock");
        std::fs::write(&lock, "1:elsewhere").unwrap();
        let old = SystemTime::now() - Duration::from_secs(121);
        File::options().write(true).open(&lock).unwrap().set_modified(old).unwrap();
        std::fs::write(&target, "").unwrap();
        assert!(Dotlock::acquire(&target, QUICK, &owner(), 0o600).is_err());
        File::options().write(true).open(&target).unwrap().set_modified(old).unwrap();
        assert!(Dotlock::acquire(&target, QUICK, &owner(), 0o600).is_ok());
    }

    #[test]
    fn a_lock_that_was_taken_over_is_not_removed() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        let lock = Dotlock::plain(&target, QUICK, &owner(), 0o600).unwrap();
        let path = dir.path().join("x.lock");
        let kept = dir.path().join("kept");
        std::fs::rename(&path, kept).unwrap();
        std::fs::write(&path, "another").unwrap();
        drop(lock);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "another");
    }

    #[test]
    fn commit_replaces_the_content_and_moves_the_time_forward() {
        let dir = TestDir::new();
        let target = dir.path().join("x");
        std::fs::write(&target, "old").unwrap();
        let before = std::fs::metadata(&target).unwrap().modified().unwrap();
        let lock = Dotlock::acquire(&target, QUICK, &owner(), 0o640).unwrap();
        lock.commit(b"new", Some(before)).unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"new");
        let after = std::fs::metadata(&target).unwrap();
        assert!(after.modified().unwrap() >= before + Duration::from_secs(1));
        assert_eq!(after.mode() & 0o777, 0o640);
        assert!(!dir.path().join("x.lock").exists());
    }
}
