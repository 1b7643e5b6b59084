//! Files: what std does not offer, or does with calls that pledge(2) kills.
//!
//! Not here: rename, link, unlink and fsync of files, which std has and which
//! `disk::atomic` alone calls.  `std::fs::copy`, `File::set_times` and
//! `set_permissions` need "fattr" and are not to be used without it.

use super::errno::{check, Result, SysError};
use std::fs::{File, OpenOptions};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

/// Opens for reading what must not be a symbolic link (ELOOP) and, should it
/// be a FIFO or a device, without waiting for it.
pub fn open_nofollow(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| SysError::of("open", &e).at(path))
}

/// Opens for reading a file from a place that users can write to: a regular
/// file, with one link, owned by `uid`, and no symbolic link.
///
/// Anybody can hard-link any file that he can name into his own directory, so
/// owner and link count are what tells his files from others'.  A file that is
/// not one of these is EPERM.
pub fn open_owned(path: &Path, uid: u32) -> Result<File> {
    let file = open_nofollow(path)?;
    let meta = file.metadata().map_err(|e| SysError::of("fstat", &e).at(path))?;
    if !meta.is_file() || meta.nlink() != 1 || meta.uid() != uid {
        return Err(SysError::new("open", libc::EPERM).at(path));
    }
    Ok(file)
}

/// Opens a directory that must not be a symbolic link (ENOTDIR or ELOOP).
pub fn open_directory(path: &Path) -> Result<File> {
    std::fs::File::options()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| SysError::of("open", &e).at(path))
}

/// Opens for reading and writing what must not be a symbolic link (ELOOP) and,
/// should it be a FIFO or a device, without waiting for it.
pub fn open_update(path: &Path) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(libc::O_NOFOLLOW | libc::O_NONBLOCK)
        .open(path)
        .map_err(|e| SysError::of("open", &e).at(path))
}

/// Creates a file that must not exist yet (EEXIST), for reading and writing,
/// with this mode less the umask.
pub fn create_new(path: &Path, mode: u32) -> Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(mode)
        .custom_flags(libc::O_NOFOLLOW)
        .open(path)
        .map_err(|e| SysError::of("open", &e).at(path))
}

/// Writes a directory's entries to disk: what was created, linked, renamed or
/// removed in it before is then durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY)
        .open(path)
        .and_then(|dir| dir.sync_all())
        .map_err(|e| SysError::of("fsync", &e).at(path))
}

/// Closes a file and tells what close(2) said, which dropping it does not.
pub fn close(file: File) -> Result<()> {
    use std::os::fd::IntoRawFd;
    // SAFETY: the descriptor was given up by its owner and is closed once;
    // after EINTR it is closed too, on both systems, so it is not tried again.
    match check("close", unsafe { libc::close(file.into_raw_fd()) }) {
        Err(e) if e.errno == libc::EINTR => Ok(()),
        other => other.map(drop),
    }
}

/// Whose lock a [`lock`] is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lock {
    /// Many may hold it.
    Shared,
    /// One holds it.
    Exclusive,
}

/// Tries to take a flock(2) lock without waiting; false if another open file
/// has one that excludes it.  It lasts until the last copy of the descriptor
/// is closed.
pub fn try_lock(file: &File, kind: Lock) -> Result<bool> {
    let op = match kind {
        Lock::Shared => libc::LOCK_SH,
        Lock::Exclusive => libc::LOCK_EX,
    };
    loop {
        // SAFETY: plain numbers.
        match check("flock", unsafe { libc::flock(file.as_raw_fd(), op | libc::LOCK_NB) }) {
            Ok(_) => return Ok(true),
            Err(error) if error.errno == libc::EWOULDBLOCK => return Ok(false),
            Err(error) if error.errno == libc::EINTR => {}
            Err(error) => return Err(error),
        }
    }
}

/// Gives a flock(2) lock up.
pub fn unlock(file: &File) -> Result<()> {
    // SAFETY: plain numbers.
    check("flock", unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_UN) }).map(drop)
}

/// What a file system has left for an ordinary user.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// Octets, the part reserved for root not counted.
    pub octets: u64,
    /// Files; u64::MAX where the file system has no limit.
    pub files: u64,
}

/// The room on the file system of a path: statvfs(3), which needs "rpath".
pub fn space(path: &Path) -> Result<Space> {
    let stat = nix::sys::statvfs::statvfs(path)
        .map_err(|e| SysError::new("statvfs", e as i32).at(path))?;
    let files = if stat.files() == 0 { u64::MAX } else { widen(stat.files_available()) };
    let octets = widen(stat.blocks_available()).saturating_mul(widen(stat.fragment_size()));
    Ok(Space { octets, files })
}

/// The counters of statvfs have different widths on different systems.
fn widen<T: TryInto<u64>>(n: T) -> u64 {
    n.try_into().unwrap_or(u64::MAX)
}

/// Sets the time of last modification (and of access) of an open file:
/// INTERNALDATE of a message.  Needs "fattr".
pub fn set_mtime(fd: BorrowedFd<'_>, secs: i64, nanos: u32) -> Result<()> {
    let time = libc::timespec { tv_sec: secs, tv_nsec: libc::c_long::from(nanos) };
    // SAFETY: two timespecs of ours.
    check("futimens", unsafe { libc::futimens(fd.as_raw_fd(), [time, time].as_ptr()) }).map(drop)
}

/// Gives an open file to a user and a group.  Needs root.
pub fn fchown(file: &File, uid: u32, gid: u32) -> Result<()> {
    // SAFETY: an open descriptor and plain numbers.
    check("fchown", unsafe { libc::fchown(file.as_raw_fd(), uid, gid) }).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Dir(std::path::PathBuf);
    impl Dir {
        fn new(name: &str) -> Self {
            let dir = std::env::temp_dir().join(format!("rmail-{name}.{}", std::process::id()));
            std::fs::create_dir(&dir).unwrap();
            Self(dir)
        }
    }
    impl Drop for Dir {
        fn drop(&mut self) {
            std::fs::remove_dir_all(&self.0).unwrap();
        }
    }

    #[test]
    fn only_own_plain_files_are_opened() {
        let dir = Dir::new("file");
        let (a, b, c) = (dir.0.join("a"), dir.0.join("b"), dir.0.join("c"));
        let me = crate::sys::user::uid();
        create_new(&a, 0o600).unwrap();
        assert_eq!(create_new(&a, 0o600).unwrap_err().errno, libc::EEXIST);
        open_owned(&a, me).unwrap();
        assert_eq!(open_owned(&a, me + 1).unwrap_err().errno, libc::EPERM);
        std::os::unix::fs::symlink("a", &b).unwrap();
        assert_eq!(open_owned(&b, me).unwrap_err().errno, libc::ELOOP);
        std::fs::hard_link(&a, &c).unwrap();
        assert_eq!(open_owned(&a, me).unwrap_err().errno, libc::EPERM);
        assert_eq!(open_owned(&dir.0, me).unwrap_err().errno, libc::EPERM);
        nix::unistd::mkfifo(&dir.0.join("f"), nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert_eq!(open_owned(&dir.0.join("f"), me).unwrap_err().errno, libc::EPERM);
        sync_dir(&dir.0).unwrap();
        assert!(space(&dir.0).unwrap().octets > 0);
    }

    #[test]
    fn locks_belong_to_the_open_file() {
        let dir = Dir::new("lock");
        let path = dir.0.join("lock");
        let (a, b) = (create_new(&path, 0o600).unwrap(), File::open(&path).unwrap());
        assert!(try_lock(&a, Lock::Exclusive).unwrap());
        assert!(!try_lock(&b, Lock::Shared).unwrap());
        unlock(&a).unwrap();
        assert!(try_lock(&b, Lock::Shared).unwrap());
        assert!(try_lock(&a, Lock::Shared).unwrap());
    }

    #[test]
    fn times_are_set_to_the_nanosecond() {
        use std::os::fd::AsFd;
        let dir = Dir::new("mtime");
        let file = create_new(&dir.0.join("m"), 0o600).unwrap();
        set_mtime(file.as_fd(), 1_000_000_000, 5).unwrap();
        let meta = file.metadata().unwrap();
        assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_000_000_000, 5));
    }
}
