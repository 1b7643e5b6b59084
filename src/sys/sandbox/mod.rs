//! The sandbox of a process: pledge and unveil, seccomp and Landlock.

use super::errno::SysError;
use std::path::PathBuf;

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
pub fn enter(promises: &[Promise], _unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    Ok(promises.iter().map(|p| p.word().to_string()).collect())
}

/// The same for the process that starts all others.  On Linux nothing is
/// installed, since its children would inherit it through exec.
pub fn enter_parent(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    enter(promises, unveils)
}

/// Whether a process that died of this signal probably broke its promises:
/// SIGABRT on OpenBSD, SIGSYS where seccomp does it.
#[must_use]
pub fn is_violation(signal: i32) -> bool {
    signal == libc::SIGABRT || signal == libc::SIGSYS
}
