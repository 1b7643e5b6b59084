//! pledge(2) and unveil(2).

use super::{Promise, Unveil};
use crate::sys::errno::SysError;
use std::os::unix::ffi::OsStrExt;

/// See [`super::enter`].
pub fn enter(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    use Promise::{Chown, Cpath, Dns, Exec, Fattr, Getpw, Rpath, Unix, Wpath};
    // Without one of these no path can be named, and nothing is to be hidden.
    let names_paths = promises
        .iter()
        .any(|p| matches!(p, Rpath | Wpath | Cpath | Fattr | Chown | Exec | Unix | Dns | Getpw));
    if names_paths {
        let mut visible = false;
        for entry in unveils {
            match unveil::unveil(entry.path.as_os_str().as_bytes(), entry.perms) {
                // The directory that holds it is missing, or not this user's to
                // search: neither is it there now nor will it be visible later,
                // like anything not listed.
                Err(unveil::Error::Os(libc::ENOENT | libc::ENOTDIR | libc::EACCES)) => {}
                Ok(()) => visible = true,
                Err(unveil::Error::Os(errno)) => {
                    return Err(SysError::new("unveil", errno).at(&entry.path));
                }
                Err(_) => return Err(SysError::new("unveil", libc::EINVAL).at(&entry.path)),
            }
        }
        if !visible {
            // The lock alone would leave everything visible.
            unveil::unveil("/", "").map_err(|e| unveil_error(&e))?;
        }
        unveil::unveil("", "").map_err(|e| unveil_error(&e))?;
    }
    let words: Vec<&str> = promises.iter().map(|p| p.word()).collect();
    // No exec promises, ever: they would kill every program that is started.
    match pledge::pledge(words.join(" ").as_str(), None) {
        Ok(()) => Ok(Vec::new()),
        Err(pledge::Error::Other(errno)) => Err(SysError::new("pledge", errno)),
        Err(_) => Err(SysError::new("pledge", libc::EINVAL)),
    }
}

/// See [`super::enter_parent`].
pub fn enter_parent(promises: &[Promise], unveils: &[Unveil]) -> Result<Vec<String>, SysError> {
    enter(promises, unveils)
}

fn unveil_error(error: &unveil::Error) -> SysError {
    match error {
        unveil::Error::Os(errno) => SysError::new("unveil", *errno),
        _ => SysError::new("unveil", libc::EINVAL),
    }
}
