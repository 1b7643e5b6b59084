//! The only caller of fsync(2), link(2) and rename(2).
//!
//! Bytes are *written*, then [`sync_file`] makes them *synced*; [`link`] or
//! [`rename`] makes a name *visible*; [`sync_dir`] makes it *committed*.  Each
//! checks its result: an error means that the promise does not hold.  Errors
//! keep errno, so that a caller can tell ENOSPC and EDQUOT (452, try later)
//! from EMFILE (pause) and from a fault.
//!
//! [`NewFile`] is a file that is removed again unless somebody says that it is
//! to stay; [`DirSync`] lets many threads share one sync of a directory.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex};

use crate::base::lock;
use crate::sys;
use crate::sys::errno::{Result, SysError};

/// Makes a file's bytes and length durable.  Blocks on the device.
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_data().map_err(|e| SysError::of("fdatasync", &e).at(path))
}

/// Makes a directory's names durable.  Blocks on the device.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).map_err(|e| SysError::of("open", &e).at(dir))?;
    file.sync_all().map_err(|e| SysError::of("fsync", &e).at(dir))
}

/// Gives a file a second name; EEXIST if the name is taken.
pub fn link(old: &Path, new: &Path) -> Result<()> {
    fs::hard_link(old, new).map_err(|e| SysError::of("link", &e).at(new))
}

/// Gives a file another name, replacing what had it.
pub fn rename(old: &Path, new: &Path) -> Result<()> {
    fs::rename(old, new).map_err(|e| SysError::of("rename", &e).at(new))
}

/// Takes a name away; that it was gone already is no error.
pub fn unlink(path: &Path) -> Result<()> {
    match fs::remove_file(path).map_err(|e| SysError::of("unlink", &e).at(path)) {
        Err(e) if !e.is_missing() => Err(e),
        _ => Ok(()),
    }
}

/// Replaces a small file as a whole: another file beside it is written and
/// synced, renamed over it, and the directory synced.  After a crash the old
/// content or the new one is there, never a mixture.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    unlink(temporary)?;
    let mut new = NewFile::create(temporary, mode)?;
    new.write_all(bytes)?;
    new.publish(path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// A file that did not exist before and is unlinked again when this is
/// dropped: giving up is safe at any moment, success is said explicitly.
#[derive(Debug)]
pub struct NewFile {
    file: File,
    path: PathBuf,
    keep: bool,
}

impl NewFile {
    /// Creates it, for reading and writing; EEXIST if the name is taken.
    pub fn create(path: &Path, mode: u32) -> Result<NewFile> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(|e| SysError::of("open", &e).at(path))?;
        Ok(NewFile { file, path: path.to_path_buf(), keep: false })
    }

    /// The open file.
    pub const fn file(&self) -> &File {
        &self.file
    }

    /// Its name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Appends all of `bytes`.
    pub fn write_all(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).map_err(|e| SysError::of("write", &e).at(&self.path))
    }

    /// Makes what was written durable; the name is not.
    pub fn sync(&self) -> Result<()> {
        sync_file(&self.file, &self.path)
    }

    /// Keeps the file under its own name, without syncing it.
    pub fn keep(mut self) -> Result<File> {
        self.keep = true;
        self.file.try_clone().map_err(|e| SysError::of("dup", &e).at(&self.path))
    }

    /// Syncs it and closes it under its own name; the directory is not synced.
    /// An error of any of these removes the file.
    pub fn finish(mut self) -> Result<()> {
        self.sync()?;
        self.close()?;
        self.keep = true;
        Ok(())
    }

    /// Syncs it, closes it and renames it to `to`, replacing what is there; the
    /// directory is not synced.  An error of any of these removes the file.
    pub fn publish(mut self, to: &Path) -> Result<()> {
        self.sync()?;
        self.close()?;
        rename(&self.path, to)?;
        self.keep = true;
        Ok(())
    }

    /// Syncs it, closes it, links it as `to` and removes the first name; the
    /// directory is not synced.  EEXIST: `to` is taken, and this file is removed.
    pub fn publish_new(self, to: &Path) -> Result<()> {
        self.sync()?;
        self.close()?;
        link(&self.path, to)
        // Drop takes the first name away.
    }

    /// The result of close(2), which drop would not tell: NFS reports a full
    /// disk only then.  The descriptor that is closed is a copy; close reports
    /// the same for each.
    fn close(&self) -> Result<()> {
        let copy = self.file.try_clone().map_err(|e| SysError::of("dup", &e).at(&self.path))?;
        sys::file::close(copy).map_err(|e| e.at(&self.path))
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.keep {
            // What cannot be removed is found and removed at the next start.
            let _ = unlink(&self.path);
        }
    }
}

/// A directory whose syncs are shared: whoever asks while one is running waits
/// for the next, which then serves all who wait.  Any thread.
#[derive(Debug)]
pub struct DirSync {
    dir: PathBuf,
    state: Mutex<Rounds>,
    changed: Condvar,
}

/// Rounds of syncing; each has a number, from 1.
#[derive(Debug, Default)]
struct Rounds {
    begun: u64,
    ended: u64,
    failed: Option<(u64, SysError)>,
}

impl DirSync {
    /// For this directory.
    pub fn new(dir: &Path) -> DirSync {
        DirSync { dir: dir.to_path_buf(), state: Mutex::default(), changed: Condvar::new() }
    }

    /// Makes durable what was done to the directory's names before the call.
    /// Blocks on the device, for two syncs at most.
    pub fn sync(&self) -> Result<()> {
        let mut state = lock::lock(&self.state);
        // A round that has begun may have passed our change by.
        let wanted = state.begun.saturating_add(1);
        while state.ended < wanted {
            if state.begun > state.ended {
                state = lock::wait(&self.changed, state);
                continue;
            }
            state.begun = state.begun.saturating_add(1);
            let round = state.begun;
            drop(state);
            let result = sync_dir(&self.dir);
            state = lock::lock(&self.state);
            state.ended = round;
            // The last failure is kept for good: who waited for that round, or
            // for one before it, must not take a later success for his own.
            if let Err(e) = result {
                state.failed = Some((round, e));
            }
            self.changed.notify_all();
        }
        match &state.failed {
            Some((round, e)) if *round >= wanted => Err(e.clone()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;
    use crate::sys::errno;

    #[test]
    fn a_new_file_is_gone_unless_somebody_keeps_it() {
        let dir = TestDir::new();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let mut new = NewFile::create(&a, 0o600).unwrap();
        new.write_all(b"x").unwrap();
        assert_eq!(NewFile::create(&a, 0o600).unwrap_err().errno, errno::EEXIST);
        drop(new);
        assert!(!a.exists());
        let mut new = NewFile::create(&a, 0o600).unwrap();
        new.write_all(b"x").unwrap();
        new.finish().unwrap();
        assert!(a.exists());
        let mut new = NewFile::create(&b, 0o600).unwrap();
        new.write_all(b"y").unwrap();
        assert_eq!(new.publish_new(&a).unwrap_err().errno, errno::EEXIST);
        assert_eq!(fs::read(&a).unwrap(), b"x");
        assert!(!b.exists());
        let mut new = NewFile::create(&b, 0o600).unwrap();
        new.write_all(b"y").unwrap();
        new.publish(&a).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"y");
        assert!(!b.exists());
    }

    #[test]
    fn replace_leaves_old_or_new() {
        let dir = TestDir::new();
        let (a, t) = (dir.path().join("a"), dir.path().join("a.tmp"));
        fs::write(&t, b"left by a crash").unwrap();
        replace(&a, &t, b"one", 0o600).unwrap();
        replace(&a, &t, b"two", 0o600).unwrap();
        assert_eq!(fs::read(&a).unwrap(), b"two");
        assert!(!t.exists());
    }

    #[test]
    fn many_threads_share_the_syncs_of_a_directory() {
        let dir = TestDir::new();
        let shared = DirSync::new(dir.path());
        std::thread::scope(|s| {
            for _ in 0..8 {
                s.spawn(|| (0..20).for_each(|_| shared.sync().unwrap()));
            }
        });
        let rounds = lock::lock(&shared.state);
        assert_eq!(rounds.begun, rounds.ended);
        assert!(rounds.ended <= 160);
    }

    #[test]
    fn everybody_hears_of_a_failed_sync() {
        let dir = TestDir::new();
        let shared = DirSync::new(&dir.path().join("missing"));
        std::thread::scope(|s| {
            for _ in 0..4 {
                s.spawn(|| assert_eq!(shared.sync().unwrap_err().errno, errno::ENOENT));
            }
        });
    }
}
