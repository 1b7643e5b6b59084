//! The sandbox of a process: pledge(2) and unveil(2) in `openbsd.rs`; on Linux what
//! comes near them, system calls in `seccomp.rs` and paths in `linux.rs` (Landlock).

use super::errno::SysError;
use std::path::PathBuf;

#[cfg(target_os = "linux")]
#[path = "linux.rs"]
mod platform;
#[cfg(target_os = "openbsd")]
#[path = "openbsd.rs"]
mod platform;
#[cfg(target_os = "linux")]
mod seccomp;
#[cfg(not(any(target_os = "linux", target_os = "openbsd")))]
mod platform {
    //! Systems without a sandbox: development only.
    use super::{Promise, Unveil};
    use crate::sys::errno::SysError;

    pub fn enter(_: &[Promise], _: &[Unveil]) -> Result<Vec<String>, SysError> {
        Ok(vec!["all promises".to_owned(), "unveil".to_owned()])
    }

    pub fn enter_parent(p: &[Promise], u: &[Unveil]) -> Result<Vec<String>, SysError> {
        enter(p, u)
    }
}

/// A word of pledge(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "pledge(2) documents its words")]
pub enum Promise {
    Stdio,
    Rpath,
    Wpath,
    Cpath,
    Fattr,
    Chown,
    Flock,
    Id,
    Proc,
    Exec,
    Sendfd,
    Recvfd,
    Unix,
    Inet,
    Dns,
    Route,
    Getpw,
}

impl Promise {
    /// The word as pledge(2) takes it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Promise::Stdio => "stdio",
            Promise::Rpath => "rpath",
            Promise::Wpath => "wpath",
            Promise::Cpath => "cpath",
            Promise::Fattr => "fattr",
            Promise::Chown => "chown",
            Promise::Flock => "flock",
            Promise::Id => "id",
            Promise::Proc => "proc",
            Promise::Exec => "exec",
            Promise::Sendfd => "sendfd",
            Promise::Recvfd => "recvfd",
            Promise::Unix => "unix",
            Promise::Inet => "inet",
            Promise::Dns => "dns",
            Promise::Route => "route",
            Promise::Getpw => "getpw",
        }
    }
}

/// A path that stays visible, and how: `r`, `rx` or `rwc`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unveil {
    /// The path; a directory covers what is below it.
    pub path: PathBuf,
    /// The letters of unveil(2).
    pub perms: &'static str,
}

/// Enters the sandbox for good, before any thread is started.  Returns what
/// the platform cannot enforce, in words.
///
/// OpenBSD: unveil(2) of each path, the lock, pledge(2) with no exec promises.
/// A path that does not exist is left out, as far as the kernel does.  Linux: a
/// thread is started and joined (the C library reads what it needs for that),
/// then Landlock, then seccomp.  A call that is not promised ends the process
/// with a signal that [`is_violation`] knows.
pub fn enter(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    platform::enter(promises, unveils)
}

/// The same for the process that starts all others.  On Linux nothing is
/// installed, since its children would inherit it through exec.
pub fn enter_parent(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    platform::enter_parent(promises, unveils)
}

/// Whether a process that died of this signal probably broke its promises:
/// SIGABRT on OpenBSD, SIGSYS where seccomp does it.
#[must_use]
pub fn is_violation(signal: i32) -> bool {
    signal == libc::SIGABRT || signal == libc::SIGSYS
}
