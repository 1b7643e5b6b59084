//! Signals: explicit dispositions, and a pipe that poll(2) can wait on.
//!
//! rc(8) starts daemons with SIGHUP ignored, and masks and ignored signals
//! are inherited through fork and exec: every process therefore sets every
//! disposition first thing in main.  A handler does two things, both safe
//! there: it sets a bit and writes a byte.

use super::errno::{check, Result, SysError};
use std::fs::File;
use std::io::Read;
use std::mem;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering};

/// The signals that the parent process acts upon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Signal {
    /// Reload.
    Hup = 1,
    /// Stop.
    Term = 2,
    /// Stop, from the terminal.
    Int = 4,
    /// A child has ended.
    Chld = 8,
    /// For the process's own use.
    Usr1 = 16,
}

const WATCHED: [(Signal, i32); 5] = [
    (Signal::Hup, libc::SIGHUP),
    (Signal::Term, libc::SIGTERM),
    (Signal::Int, libc::SIGINT),
    (Signal::Chld, libc::SIGCHLD),
    (Signal::Usr1, libc::SIGUSR1),
];

static PENDING: AtomicU32 = AtomicU32::new(0);
static WAKE: AtomicI32 = AtomicI32::new(-1);

extern "C" fn handler(signal: libc::c_int) {
    let bit = WATCHED.iter().find(|(_, n)| *n == signal).map_or(0, |(s, _)| *s as u32);
    PENDING.fetch_or(bit, Ordering::SeqCst);
    // SAFETY: write(2) and access to errno are async-signal-safe; errno is
    // put back for the code that was interrupted.
    unsafe {
        let errno = errno_location();
        let saved = *errno;
        libc::write(WAKE.load(Ordering::SeqCst), [0u8].as_ptr().cast(), 1);
        *errno = saved;
    }
}

/// The address of the calling thread's errno.
unsafe fn errno_location() -> *mut libc::c_int {
    #[cfg(target_os = "linux")]
    return libc::__errno_location();
    #[cfg(not(target_os = "linux"))]
    return libc::__errno();
}

/// The process's signals, as something to poll.
pub struct Signals {
    pipe: File,
    // Kept open for the handler, which knows its number.
    _wake: OwnedFd,
}

impl Signals {
    /// Catches HUP, TERM, INT, CHLD and USR1, ignores PIPE, empties the mask.
    /// First thing in the parent's main; once in a process.
    pub fn install() -> Result<Self> {
        let (pipe, wake) = super::fdpass::pipe()?;
        for end in [pipe.as_fd(), wake.as_fd()] {
            super::poll::set_nonblocking(end, true).map_err(|e| SysError::of("ioctl", &e))?;
        }
        WAKE.store(wake.as_raw_fd(), Ordering::SeqCst);
        for (_, signal) in WATCHED {
            set(signal, handler as *const () as libc::sighandler_t)?;
        }
        set(libc::SIGPIPE, libc::SIG_IGN)?;
        empty_mask()?;
        Ok(Self { pipe: pipe.into(), _wake: wake })
    }

    /// The signals that have come since the last call, each once.
    pub fn take(&mut self) -> impl Iterator<Item = Signal> {
        // The pipe is emptied first: a signal that comes in between leaves a
        // byte, which at worst wakes the process for nothing.
        let mut sink = [0; 64];
        while matches!(self.pipe.read(&mut sink), Ok(n) if n == sink.len()) {}
        let pending = PENDING.swap(0, Ordering::SeqCst);
        WATCHED.into_iter().map(|(s, _)| s).filter(move |s| pending & *s as u32 != 0)
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pipe.as_fd()
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        WAKE.store(-1, Ordering::SeqCst);
    }
}

/// Dispositions of a child process of the daemon; first thing in its main.
/// HUP, INT, USR1 and PIPE are ignored (a terminal sends its signals to the
/// whole group, and it is the parent that decides), TERM and CHLD have their
/// defaults, and the mask is empty.
pub fn child() -> Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGPIPE] {
        set(signal, libc::SIG_IGN)?;
    }
    for signal in [libc::SIGTERM, libc::SIGCHLD] {
        set(signal, libc::SIG_DFL)?;
    }
    empty_mask()
}

/// Dispositions of a program that a person runs (rmailctl, sendmail): all
/// default but PIPE, whose error is seen at the write.
pub fn program() -> Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGUSR1, libc::SIGTERM, libc::SIGCHLD] {
        set(signal, libc::SIG_DFL)?;
    }
    set(libc::SIGPIPE, libc::SIG_IGN)?;
    empty_mask()
}

fn set(signal: i32, action: libc::sighandler_t) -> Result<()> {
    // SAFETY: sigaction is plain data for which zero is valid; the handler, if
    // one is set, only does what is safe in one.
    unsafe {
        let mut new: libc::sigaction = mem::zeroed();
        new.sa_sigaction = action;
        new.sa_flags = libc::SA_RESTART;
        libc::sigemptyset(&mut new.sa_mask);
        check("sigaction", libc::sigaction(signal, &new, ptr::null_mut())).map(drop)
    }
}

fn empty_mask() -> Result<()> {
    // SAFETY: as in block_all().
    unsafe {
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        check("sigprocmask", libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut())).map(drop)
    }
}

/// Blocks everything and returns the mask that was in force.
pub(super) fn block_all() -> Result<libc::sigset_t> {
    // SAFETY: sigset_t is plain data; both sets are ours.
    unsafe {
        let (mut all, mut old): (libc::sigset_t, libc::sigset_t) = (mem::zeroed(), mem::zeroed());
        libc::sigfillset(&mut all);
        check("sigprocmask", libc::sigprocmask(libc::SIG_SETMASK, &all, &mut old))?;
        Ok(old)
    }
}

/// Puts a mask back.
pub(super) fn restore(mask: &libc::sigset_t) -> Result<()> {
    // SAFETY: the mask came from block_all().
    let n = unsafe { libc::sigprocmask(libc::SIG_SETMASK, mask, ptr::null_mut()) };
    check("sigprocmask", n).map(drop)
}

/// All dispositions default, nothing blocked.  Between fork and exec:
/// allocates nothing, and what cannot be set (KILL, STOP) is left.
pub(super) fn reset_in_child() {
    // SAFETY: all calls are async-signal-safe and take our own plain data.
    unsafe {
        let mut default: libc::sigaction = mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigemptyset(&mut default.sa_mask);
        for signal in 1..=LAST {
            libc::sigaction(signal, &default, ptr::null_mut());
        }
        let mut none: libc::sigset_t = mem::zeroed();
        libc::sigemptyset(&mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &none, ptr::null_mut());
    }
}

/// The highest signal number.
#[cfg(target_os = "linux")]
const LAST: i32 = 64;
/// The highest signal number.
#[cfg(not(target_os = "linux"))]
const LAST: i32 = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_signal_makes_the_pipe_readable_once() {
        let mut signals = Signals::install().unwrap();
        unsafe { libc::raise(libc::SIGUSR1) };
        unsafe { libc::raise(libc::SIGUSR1) };
        let wait = |s: &Signals, ms| {
            super::super::poll::wait_for(
                s.as_fd(),
                super::super::poll::IN,
                Some(Duration::from_millis(ms)),
            )
            .unwrap()
        };
        assert!(wait(&signals, 1000));
        // Other tests have children, so CHLD may be there too.
        assert_eq!(signals.take().filter(|s| *s == Signal::Usr1).count(), 1);
        assert_eq!(signals.take().filter(|s| *s == Signal::Usr1).count(), 0);
        child().unwrap();
    }
}
