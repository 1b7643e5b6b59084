//! The error of a system call: what was tried, on what, and errno.
//!
//! It prints as err(3) would (`open /x: No space left on device`) and keeps
//! errno, so that a caller can tell ENOSPC (452) from EMFILE (pause) from
//! ENOENT.  Turning it into an [`std::io::Error`] keeps errno too.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

pub use libc::{
    EACCES, EADDRNOTAVAIL, EAFNOSUPPORT, EAGAIN, ECONNABORTED, ECONNREFUSED, ECONNRESET, EDQUOT,
    EEXIST, EINTR, EINVAL, EIO, EISDIR, ELOOP, EMFILE, EMSGSIZE, ENAMETOOLONG, ENFILE, ENOENT,
    ENOMEM, ENOSPC, ENOTDIR, ENOTEMPTY, EPERM, EPIPE, ETIMEDOUT, EXDEV,
};

/// What link(2) says on file systems that have no links.
pub const NO_LINKS: [i32; 3] = [EPERM, libc::EOPNOTSUPP, libc::ENOSYS];

/// What a system call or a C library function failed with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SysError {
    /// The call, as its manual page is called: `"open"`, `"fsync"`.
    pub op: &'static str,
    /// What it was tried on, where that is a path.
    pub path: Option<PathBuf>,
    /// The error number; never 0.
    pub errno: i32,
}

/// The result of anything in `sys`.
pub type Result<T> = core::result::Result<T, SysError>;

impl SysError {
    /// An error with a known number.
    #[must_use]
    pub const fn new(op: &'static str, errno: i32) -> Self {
        Self { op, path: None, errno }
    }

    /// The error that the calling thread's last failed call left in errno.
    #[must_use]
    pub fn last(op: &'static str) -> Self {
        Self::of(op, &io::Error::last_os_error())
    }

    /// What `std` reported.  An error of std's own making, which has no
    /// errno, gets the number that the kernel would have given.
    #[must_use]
    pub fn of(op: &'static str, error: &io::Error) -> Self {
        Self::new(op, errno_of(error))
    }

    /// The same error, with the path that it is about.
    #[must_use]
    pub fn at(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Whether no space or quota is left: the one error that waiting for
    /// other people's mail to be removed can cure.  452 4.3.1 on the wire.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        matches!(self.errno, libc::ENOSPC | libc::EDQUOT)
    }

    /// Whether descriptors or other kernel tables ran out.
    #[must_use]
    pub const fn is_exhausted(&self) -> bool {
        matches!(
            self.errno,
            libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM | libc::EAGAIN
        )
    }

    /// Whether the thing does not exist.
    #[must_use]
    pub const fn is_missing(&self) -> bool {
        matches!(self.errno, libc::ENOENT | libc::ENOTDIR)
    }
}

impl fmt::Display for SysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.path {
            Some(path) => write!(f, "{} {}: {}", self.op, path.display(), message(self.errno)),
            None => write!(f, "{}: {}", self.op, message(self.errno)),
        }
    }
}

impl std::error::Error for SysError {}

impl From<SysError> for io::Error {
    fn from(error: SysError) -> Self {
        Self::from_raw_os_error(error.errno)
    }
}

impl From<nix::errno::Errno> for SysError {
    /// For a nix call whose name the caller adds with [`SysError::new`]; the
    /// bare conversion says only that a system call failed.
    fn from(errno: nix::errno::Errno) -> Self {
        Self::new("system call", errno as i32)
    }
}

/// The error number of an [`io::Error`], also of one that std made up itself.
#[must_use]
pub fn errno_of(error: &io::Error) -> i32 {
    error.raw_os_error().filter(|e| *e != 0).unwrap_or(match error.kind() {
        io::ErrorKind::NotFound => libc::ENOENT,
        io::ErrorKind::PermissionDenied => libc::EACCES,
        io::ErrorKind::ConnectionRefused => libc::ECONNREFUSED,
        io::ErrorKind::ConnectionReset => libc::ECONNRESET,
        io::ErrorKind::AlreadyExists => libc::EEXIST,
        io::ErrorKind::WouldBlock => libc::EAGAIN,
        io::ErrorKind::InvalidInput => libc::EINVAL,
        io::ErrorKind::TimedOut => libc::ETIMEDOUT,
        io::ErrorKind::WriteZero | io::ErrorKind::BrokenPipe => libc::EPIPE,
        io::ErrorKind::Interrupted => libc::EINTR,
        _ => libc::EIO,
    })
}

/// Why something failed, for people: as strerror(3) gives it, without the number that std adds.
#[must_use]
pub fn reason(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), message)
}

/// The text of an error number, as strerror(3) gives it.
#[must_use]
pub fn message(errno: i32) -> String {
    let mut buf = [0u8; 128];
    // SAFETY: the buffer is ours and its length is passed; strerror_r (the XSI
    // one in the libc crate) terminates what it writes.
    unsafe {
        libc::strerror_r(errno, buf.as_mut_ptr().cast(), buf.len());
    }
    let end = buf.iter().position(|b| *b == 0).unwrap_or(buf.len());
    String::from_utf8_lossy(&buf[..end]).into_owned()
}

/// Turns -1 into the error that errno holds.
pub(super) fn check(op: &'static str, result: i32) -> Result<i32> {
    if result == -1 {
        Err(SysError::last(op))
    } else {
        Ok(result)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_like_err_3() {
        let error = SysError::new("open", libc::ENOSPC).at("/x");
        assert_eq!(error.to_string(), "open /x: No space left on device");
        assert_eq!(SysError::new("fork", libc::EPERM).to_string(), "fork: Operation not permitted");
    }

    #[test]
    fn errno_survives_both_ways() {
        let io: io::Error = SysError::new("write", libc::EDQUOT).into();
        assert_eq!(io.raw_os_error(), Some(libc::EDQUOT));
        assert!(SysError::of("write", &io).is_full());
        let made_up = io::Error::from(io::ErrorKind::TimedOut);
        assert_eq!(SysError::of("read", &made_up).errno, libc::ETIMEDOUT);
    }
}
