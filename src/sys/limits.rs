//! Limits of the system: descriptors, processes, threads.

use super::errno::{Result, SysError};
use nix::sys::resource::{getrlimit, setrlimit, Resource};

/// Raises the number of descriptors to the hard limit and returns it.  Before
/// the first exec: children inherit it.
pub fn raise_nofile() -> Result<u64> {
    let (_, hard) =
        getrlimit(Resource::RLIMIT_NOFILE).map_err(|e| SysError::new("getrlimit", e as i32))?;
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard)
        .map_err(|e| SysError::new("setrlimit", e as i32))?;
    Ok(hard)
}
