//! Limits of the system: descriptors, processes, threads.

use super::errno::{Result, SysError};
use nix::sys::resource::{getrlimit, setrlimit, Resource};

/// How many descriptors a process may have at most.
pub fn most_descriptors() -> Result<u64> {
    let (_, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| SysError::new("getrlimit", e as i32))?;
    Ok(hard)
}

/// How many threads the whole machine may run; `None`: it does not say.
#[cfg(target_os = "openbsd")]
pub fn threads() -> Option<u64> {
    let name = [libc::CTL_KERN, libc::KERN_MAXTHREAD];
    let mut value: libc::c_int = 0;
    let mut len = size_of::<libc::c_int>();
    // SAFETY: sysctl(2): two integers name the variable, an int of `len` octets
    // takes its value, and nothing is set.
    let n = unsafe {
        libc::sysctl(
            name.as_ptr(),
            2,
            std::ptr::from_mut(&mut value).cast(),
            &mut len,
            std::ptr::null_mut(),
            0,
        )
    };
    u64::try_from(value).ok().filter(|v| n == 0 && *v > 0)
}

/// How many threads the whole machine may run; `None`: it does not say.
#[cfg(not(target_os = "openbsd"))]
pub fn threads() -> Option<u64> {
    std::fs::read_to_string("/proc/sys/kernel/threads-max").ok()?.trim().parse().ok()
}

/// Raises the number of descriptors to the hard limit and returns it.  Before
/// the first exec: children inherit it.
pub fn raise_nofile() -> Result<u64> {
    let (_, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| SysError::new("getrlimit", e as i32))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|e| SysError::new("setrlimit", e as i32))?;
    Ok(hard)
}
