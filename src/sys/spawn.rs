//! Starting programs: fork(2) and execve(2), for the parent process alone.
//!
//! The caller has one thread.  Everything is allocated before the fork; the
//! child calls only what signal-safety(7) allows and ends in execve or _exit.
//! std's Command is not used: it passes on the signal mask and ignored
//! signals, and gives no say over which descriptors live on.

use super::errno::{check, Result, SysError};
use super::signal;
use std::ffi::{CStr, CString};
use std::fmt;
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::ptr;

/// A process id.
pub type Pid = libc::pid_t;

/// A program to start, with all that it inherits.
pub struct Exec {
    /// Absolute path of the program.
    pub path: CString,
    /// Its arguments, the first of which is its name.
    pub argv: Vec<CString>,
    /// Its whole environment, as `NAME=value`.
    pub env: Vec<CString>,
    /// Descriptors, and the number that each gets in the program.  0, 1 and 2
    /// are inherited unless given here; everything else is closed.
    pub fds: Vec<(OwnedFd, i32)>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It called exit with this status.
    Code(i32),
    /// A signal killed it.  Signal 6 may be a pledge violation, which nobody
    /// else reports; on Linux signal 31 is a seccomp one.
    Signal(i32),
}

impl Exit {
    /// Whether it ended as it should.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exited with status {code}"),
            Self::Signal(libc::SIGABRT) => f.write_str("died of signal 6 (pledge violation?)"),
            Self::Signal(signal) => write!(f, "died of signal {signal}"),
        }
    }
}

/// What the child needs, laid out before the fork.
struct Ready {
    path: CString,
    argv: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    /// Source, target, and the descriptor in between.
    map: Vec<(i32, i32, i32)>,
    /// One above the highest target, and above 2.
    top: i32,
    /// The highest descriptor that may be open, should close_range be missing.
    open_max: i32,
}

impl Ready {
    fn new(exec: &Exec) -> Self {
        let pointers = |list: &[CString]| {
            list.iter().map(|s| s.as_ptr()).chain(std::iter::once(ptr::null())).collect()
        };
        Self {
            path: exec.path.clone(),
            argv: pointers(&exec.argv),
            env: pointers(&exec.env),
            map: exec.fds.iter().map(|(fd, target)| (fd.as_raw_fd(), *target, -1)).collect(),
            top: exec.fds.iter().map(|(_, target)| target.saturating_add(1)).fold(3, i32::max),
            // SAFETY: takes and gives plain numbers.
            open_max: i32::try_from(unsafe { libc::sysconf(libc::_SC_OPEN_MAX) })
                .unwrap_or(65536)
                .clamp(256, 65536),
        }
    }

    /// The child's part: never returns an error but errno, allocates nothing.
    fn exec(&mut self) -> i32 {
        // Sources first go above all targets, so that no target overwrites a
        // source that is still needed, and so that dup2 never meets equal
        // numbers, for which it would leave close-on-exec set.
        for (source, _, between) in &mut self.map {
            // SAFETY: plain numbers.
            *between = unsafe { libc::fcntl(*source, libc::F_DUPFD_CLOEXEC, self.top) };
            if *between == -1 {
                return last_errno();
            }
        }
        for (_, target, between) in &self.map {
            // SAFETY: plain numbers; whatever was open at `target` is this
            // process's copy.
            if unsafe { libc::dup2(*between, *target) } == -1 {
                return last_errno();
            }
        }
        for fd in 3..self.top {
            if !self.map.iter().any(|(_, target, _)| *target == fd) {
                // SAFETY: plain number; nothing in this process uses it.
                unsafe { libc::close(fd) };
            }
        }
        close_from(self.top, self.open_max);
        // SAFETY: path, argv and env are NUL-terminated strings in lists that
        // end with a null pointer, and live in `exec`, which outlives this.
        unsafe { libc::execve(self.path.as_ptr(), self.argv.as_ptr(), self.env.as_ptr()) };
        last_errno()
    }
}

fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}

/// Closes every descriptor from `low` up.
#[cfg(target_os = "linux")]
fn close_from(low: i32, open_max: i32) {
    // SAFETY: plain numbers; the caller uses nothing above `low` any more.
    unsafe {
        if libc::syscall(libc::SYS_close_range, low as libc::c_uint, libc::c_uint::MAX, 0) == -1 {
            for fd in low..open_max {
                libc::close(fd);
            }
        }
    }
}

/// Closes every descriptor from `low` up.
#[cfg(not(target_os = "linux"))]
fn close_from(low: i32, _open_max: i32) {
    extern "C" {
        fn closefrom(fd: libc::c_int) -> libc::c_int;
    }
    // SAFETY: closefrom(2); the caller uses nothing above `low` any more.
    unsafe { closefrom(low) };
}

/// Starts a program and returns its process id.  The descriptors given to it
/// are closed here.
///
/// An error is one of fork; a program that cannot be executed ends with 127
/// (it does not exist) or 126 (anything else).  Owner only, and only while the
/// process has a single thread.
pub fn exec_child(exec: Exec) -> Result<Pid> {
    let mut ready = Ready::new(&exec);
    // No handler of ours may run in the child: it would write into the
    // parent's pipe.
    let mask = signal::block_all()?;
    // SAFETY: the process has one thread (this module's contract), so that the
    // child's memory is consistent; the child only calls async-signal-safe
    // functions and leaves by execve or _exit.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        signal::reset_in_child();
        let errno = ready.exec();
        exit_now(if errno == libc::ENOENT { 127 } else { 126 });
    }
    let result = check("fork", pid);
    signal::restore(&mask)?;
    result
}

/// Replaces this process by a program; returns only with the error.  Signal
/// dispositions and mask are reset first, descriptors mapped as in
/// [`exec_child`]; after an error all others are closed, whoever owns them, and
/// what is left to do is to write to those and [`exit_now`].
pub fn exec_now(exec: Exec) -> SysError {
    let mut ready = Ready::new(&exec);
    signal::reset_in_child();
    let errno = ready.exec();
    for (fd, _) in exec.fds {
        // Closed by its number already; std aborts on a second close.
        let _ = fd.into_raw_fd();
    }
    SysError::new("execve", errno).at(path_of(&exec.path))
}

fn path_of(path: &CStr) -> std::path::PathBuf {
    use std::os::unix::ffi::OsStrExt;
    std::ffi::OsStr::from_bytes(path.to_bytes()).into()
}

/// Ends the process at once, without exit handlers: those of OpenSSL must not
/// run beside other threads.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: never returns.
    unsafe { libc::_exit(code) }
}

/// A child that has ended, if there is one; to be called until it says no.
#[must_use]
pub fn waitpid_nohang() -> Option<(Pid, Exit)> {
    let mut status = 0;
    loop {
        // SAFETY: writes one int.
        let pid = unsafe { libc::waitpid(-1, &mut status, libc::WNOHANG) };
        if pid == -1 && last_errno() == libc::EINTR {
            continue;
        }
        return (pid > 0).then(|| (pid, exit_of(status)));
    }
}

/// Waits for one child to end.
pub fn waitpid(pid: Pid) -> Result<Exit> {
    let mut status = 0;
    loop {
        // SAFETY: writes one int.
        match check("waitpid", unsafe { libc::waitpid(pid, &mut status, 0) }) {
            Ok(_) => return Ok(exit_of(status)),
            Err(error) if error.errno == libc::EINTR => {}
            Err(error) => return Err(error),
        }
    }
}

fn exit_of(status: i32) -> Exit {
    if libc::WIFSIGNALED(status) {
        Exit::Signal(libc::WTERMSIG(status))
    } else {
        Exit::Code(libc::WEXITSTATUS(status))
    }
}

/// Sends a signal to one process.  0, 1 and negative ids are refused: they
/// mean groups, everybody or init.
pub fn kill(pid: Pid, signal: i32) -> Result<()> {
    if pid <= 1 {
        return Err(SysError::new("kill", libc::EINVAL));
    }
    // SAFETY: plain numbers.
    check("kill", unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends a signal to the process group that a process leads (it has called
/// setsid): an external program together with what it has started.
pub fn kill_group(leader: Pid, signal: i32) -> Result<()> {
    if leader <= 1 {
        return Err(SysError::new("killpg", libc::EINVAL));
    }
    // SAFETY: plain numbers.
    check("killpg", unsafe { libc::killpg(leader, signal) }).map(drop)
}

/// Makes this process the leader of a new session without a terminal.
pub fn setsid() -> Result<()> {
    // SAFETY: takes nothing.
    check("setsid", unsafe { libc::setsid() }).map(drop)
}

/// Goes into the background: forks, ends the old process, starts a session,
/// and points 0, 1 and 2 at /dev/null.  Only with a single thread.
pub fn daemonize() -> Result<()> {
    // SAFETY: single-threaded by contract; the parent leaves at once.
    match check("fork", unsafe { libc::fork() })? {
        0 => setsid()?,
        _ => exit_now(0),
    }
    let null = std::fs::File::options()
        .read(true)
        .write(true)
        .open("/dev/null")
        .map_err(|e| SysError::of("open", &e).at("/dev/null"))?;
    for fd in 0..3 {
        // SAFETY: plain numbers; std opens with close-on-exec and above 2
        // here, so the numbers differ and the copies survive exec.
        check("dup2", unsafe { libc::dup2(null.as_raw_fd(), fd) })?;
    }
    Ok(())
}

/// Takes over a descriptor that this program was started with; close-on-exec
/// from now on.  EBADF if it is not open.  Once for each number.
pub fn inherited(fd: i32) -> Result<OwnedFd> {
    // SAFETY: plain numbers.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } == -1 {
        return Err(SysError::last("fcntl"));
    }
    // SAFETY: it is open, and nothing else in a fresh program owns it.
    Ok(unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) })
}

/// The id of this process.
#[must_use]
pub fn getpid() -> Pid {
    // SAFETY: takes nothing, cannot fail.
    unsafe { libc::getpid() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn c(text: &str) -> CString {
        CString::new(text).unwrap()
    }

    fn sh(script: &str, fds: Vec<(OwnedFd, i32)>) -> Pid {
        exec_child(Exec {
            path: c("/bin/sh"),
            argv: vec![c("sh"), c("-c"), c(script)],
            env: vec![c("PATH=/bin:/usr/bin"), c("ONLY=this")],
            fds,
        })
        .unwrap()
    }

    #[test]
    fn statuses_and_signals() {
        assert_eq!(waitpid(sh("exit 7", vec![])).unwrap(), Exit::Code(7));
        assert_eq!(waitpid(sh("kill -TERM $$", vec![])).unwrap(), Exit::Signal(libc::SIGTERM));
        let missing =
            Exec { path: c("/nonexistent"), argv: vec![c("x")], env: vec![], fds: vec![] };
        assert_eq!(waitpid(exec_child(missing).unwrap()).unwrap(), Exit::Code(127));
    }

    #[test]
    #[cfg(target_os = "linux")] // /proc tells what a descriptor is
    fn descriptors_swap_places_and_others_are_closed() {
        use std::io::Read;
        let (out, w) = super::super::fdpass::pipe().unwrap();
        let (a, b) = super::super::fdpass::pipe().unwrap();
        // A descriptor that already has its target's number, and two that
        // exchange theirs, are what a naive dup2 loop gets wrong.
        let (na, nb) = (a.as_raw_fd(), b.as_raw_fd());
        let same = std::fs::File::open("/dev/null").unwrap();
        let n = same.as_raw_fd();
        let pid = sh(
            &format!("ls -l /proc/self/fd/{na} /proc/self/fd/{nb} /proc/self/fd/{n} | grep -c -e pipe -e null; env | grep -c ONLY"),
            vec![(w, 1), (a, nb), (b, na), (same.into(), n)],
        );
        assert!(waitpid(pid).unwrap().success());
        let mut text = String::new();
        std::fs::File::from(out).read_to_string(&mut text).unwrap();
        assert_eq!(text, "3\n1\n");
    }

    #[test]
    fn whole_groups_and_init_cannot_be_killed() {
        for pid in [-1, 0, 1] {
            assert!(kill(pid, 0).is_err());
            assert!(kill_group(pid, 0).is_err());
        }
    }

    #[test]
    #[cfg(target_os = "linux")] // /proc tells what is blocked and ignored
    fn signals_start_at_their_defaults() {
        use std::io::Read;
        let (out, w) = super::super::fdpass::pipe().unwrap();
        waitpid(sh("grep -e SigBlk -e SigIgn /proc/self/status", vec![(w, 1)])).unwrap();
        let mut text = String::new();
        std::fs::File::from(out).read_to_string(&mut text).unwrap();
        let masks: Vec<u64> = text
            .lines()
            .map(|line| u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap())
            .collect();
        // 32 and 33 are the C library's own, which it lets nobody set.
        assert_eq!(masks.iter().map(|m| m & !(3 << 31)).collect::<Vec<_>>(), [0, 0]);
    }
}
