//! Landlock for unveil(2), seccomp for pledge(2).
//!
//! Both are inherited through exec, so parent and exec have neither.  Landlock
//! knows files by inode and cannot name one that does not exist yet or is
//! replaced by rename: for a single file its directory is opened, read only.

use super::{seccomp, Promise, Unveil};
use crate::sys::errno::SysError;
use crate::sys::syslog;
use landlock::{
    Access, AccessFs, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetError, RulesetStatus, ABI,
};
use std::path::Path;

/// The newest set of rights that is asked for; older kernels give less.
const NEWEST: ABI = ABI::V5;

/// See [`super::enter`].
pub fn enter(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    // The C library reads files and memory maps for the first thread.
    std::thread::Builder::new()
        .spawn(grow_and_shrink)
        .map_err(|e| SysError::of("pthread_create", &e))?
        .join()
        .map_err(|_| SysError::new("pthread_create", libc::EAGAIN))?;
    // glibc's malloc counts the processors, in a file of /sys, when its ninth
    // thread or so wants an arena: a number set beforehand spares it that, and
    // a thousand connections the memory of as many arenas.
    #[cfg(target_env = "gnu")]
    // SAFETY: plain numbers.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 8)
    };
    // SAFETY: plain numbers.  No core files, which would hold keys and mail,
    // and no ptrace(2) by other processes of the same user.
    unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0) };
    let mut unenforced = not_enforced(promises);
    match landlock(unveils) {
        Ok(true) => {}
        Ok(false) => unenforced.push("unveil (no Landlock ABI 2 in this kernel)".to_owned()),
        Err(error) => {
            return Err(SysError::new("landlock", errno_of(&error)));
        }
    }
    install_handler()?;
    seccomp::install(promises)?;
    Ok(unenforced)
}

/// See [`super::enter_parent`].
pub fn enter_parent(promises: &[Promise], _: &[Unveil]) -> Result<Vec<String>, SysError> {
    let mut all: Vec<String> = promises.iter().map(|p| p.word().to_owned()).collect();
    all.push("unveil".to_owned());
    Ok(all)
}

/// What seccomp cannot tell apart: it sees numbers, neither control messages
/// nor the ports that a socket connects to.
fn not_enforced(promises: &[Promise]) -> Vec<String> {
    promises
        .iter()
        .filter(|p| {
            matches!(
                p,
                Promise::Sendfd | Promise::Recvfd | Promise::Dns | Promise::Route | Promise::Getpw
            )
        })
        .map(|p| p.word().to_owned())
        .collect()
}

/// Restricts the file system; false if the kernel cannot do what matters.
fn landlock(unveils: &[Unveil]) -> Result<bool, RulesetError> {
    // ABI 1 cannot permit a rename from one directory into another, which is
    // how mail gets from tmp into new.
    if landlock_abi() < 2 {
        return Ok(false);
    }
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(NEWEST))?
        .create()?;
    for entry in unveils {
        let directory = entry.path.is_dir();
        let path = if directory {
            entry.path.as_path()
        } else {
            entry.path.parent().unwrap_or(Path::new("/"))
        };
        // What is not there cannot be read either.
        let Ok(fd) = PathFd::new(path) else { continue };
        rules = rules.add_rule(PathBeneath::new(fd, rights(entry.perms)))?;
    }
    let status = rules.restrict_self()?;
    Ok(status.ruleset != RulesetStatus::NotEnforced)
}

/// The version of Landlock in the running kernel; -1 without it.
fn landlock_abi() -> i64 {
    const CREATE_RULESET_VERSION: u32 = 1;
    // SAFETY: with this flag and no attributes the call only tells a number,
    // landlock_create_ruleset(2).
    unsafe {
        libc::syscall(
            libc::SYS_landlock_create_ruleset,
            std::ptr::null::<libc::c_void>(),
            0usize,
            CREATE_RULESET_VERSION,
        )
    }
}

/// The letters of unveil(2) as rights.
fn rights(perms: &str) -> BitFlags<AccessFs> {
    let read = AccessFs::ReadFile | AccessFs::ReadDir;
    let mut all = BitFlags::empty();
    for letter in perms.bytes() {
        match letter {
            b'r' => all |= read,
            b'x' => all |= AccessFs::Execute,
            b'w' => all |= AccessFs::WriteFile | AccessFs::Truncate,
            b'c' => all |= AccessFs::from_write(NEWEST),
            _ => {}
        }
    }
    // from_write() includes device nodes and ioctl on devices: never.
    all & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::MakeFifo | AccessFs::IoctlDev)
}

/// The errno at the root of Landlock's error, else EPERM.
fn errno_of(error: &RulesetError) -> i32 {
    let mut at: Option<&dyn std::error::Error> = Some(error);
    while let Some(e) = at {
        if let Some(io) = e.downcast_ref::<std::io::Error>() {
            return crate::sys::errno::errno_of(io);
        }
        at = e.source();
    }
    libc::EPERM
}

/// What the kernel writes for SIGSYS: siginfo_t of sigaction(2), the part for
/// seccomp.
#[repr(C)]
struct SysInfo {
    signo: libc::c_int,
    errno: libc::c_int,
    code: libc::c_int,
    call_addr: *mut libc::c_void,
    syscall: libc::c_int,
    arch: libc::c_uint,
}

/// Reports the number of a refused system call and dies of the signal.  Only
/// async-signal-safe calls, no allocation.
extern "C" fn refused(_: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    // SAFETY: for SIGSYS the kernel fills siginfo as SysInfo has it.
    let number = unsafe { (*info.cast::<SysInfo>()).syscall };
    let mut text = *b"sandbox: system call      is not allowed here\n";
    let mut rest = number.unsigned_abs();
    for place in text[21..25].iter_mut().rev() {
        *place = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    syslog::emergency(&text);
    // SAFETY: all of these may be called in a handler.  The default action of
    // SIGSYS ends the whole process, and parent sees which signal it was.
    unsafe {
        let mut default: libc::sigaction = std::mem::zeroed();
        default.sa_sigaction = libc::SIG_DFL;
        libc::sigaction(libc::SIGSYS, &default, std::ptr::null_mut());
        // To this thread, and not deferred: it does not return.
        libc::syscall(libc::SYS_tgkill, libc::getpid(), libc::gettid(), libc::SIGSYS);
        libc::_exit(70);
    }
}

fn install_handler() -> Result<(), SysError> {
    // SAFETY: sigaction is plain data for which zero is valid; the handler
    // only does what is safe in one.
    let n = unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = refused as *const () as libc::sighandler_t;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_NODEFER | libc::SA_ONSTACK;
        libc::sigaction(libc::SIGSYS, &action, std::ptr::null_mut())
    };
    crate::sys::errno::check("sigaction", n).map(drop)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;

/// Makes the C library's second heap grow by 4 MB and shrink again.  The first
/// time that a heap shrinks, glibc reads /proc/sys/vm/overcommit_memory to know
/// whether it may, and remembers; after the sandbox that read would be the end
/// of the process.
fn grow_and_shrink() {
    // Below the size that is mapped by itself, so that it comes from the heap.
    let blocks: Vec<Vec<u8>> = (0..64).map(|_| std::hint::black_box(vec![0; 64 * 1024])).collect();
    drop(std::hint::black_box(blocks));
}
