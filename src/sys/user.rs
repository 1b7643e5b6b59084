//! Users, groups, and giving up privilege for good.
//!
//! Names are looked up through the C library, which may read files and, on
//! Linux, load NSS libraries: before chroot, or in the short-lived process
//! that `lookup` asks.

use super::errno::{check, Result, SysError};
use nix::errno::Errno;
use nix::unistd::{self, Gid, Uid};
use std::ffi::CString;
use std::path::{Path, PathBuf};

/// A row of passwd(5), without the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Id of the login group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
    /// Login shell.
    pub shell: PathBuf,
}

impl User {
    fn from(user: unistd::User) -> Self {
        Self {
            name: user.name,
            uid: user.uid.as_raw(),
            gid: user.gid.as_raw(),
            home: user.dir,
            shell: user.shell,
        }
    }

    /// getpwnam(3): None if there is no such user; an error means that the
    /// question could not be answered, which is never "no".
    pub fn by_name(name: &str) -> Result<Option<Self>> {
        if name.as_bytes().contains(&0) {
            return Ok(None);
        }
        found("getpwnam", unistd::User::from_name(name)).map(|u| u.map(Self::from))
    }

    /// getpwuid(3).
    pub fn by_uid(uid: u32) -> Result<Option<Self>> {
        found("getpwuid", unistd::User::from_uid(Uid::from_raw(uid))).map(|u| u.map(Self::from))
    }

    /// The user that runs this process.
    pub fn me() -> Result<Option<Self>> {
        Self::by_uid(uid())
    }

    /// Ids of the groups that the user is in, the login group among them.
    pub fn groups(&self) -> Result<Vec<u32>> {
        let name = CString::new(self.name.as_bytes())
            .map_err(|_| SysError::new("getgrouplist", libc::EINVAL))?;
        unistd::getgrouplist(&name, Gid::from_raw(self.gid))
            .map(|list| list.into_iter().map(Gid::as_raw).collect())
            .map_err(|e| SysError::new("getgrouplist", e as i32))
    }
}

/// Some C libraries say "no such user" by an error number (getpwnam(3)).
fn found<T>(op: &'static str, result: nix::Result<Option<T>>) -> Result<Option<T>> {
    match result {
        Ok(found) => Ok(found),
        Err(Errno::ENOENT | Errno::ESRCH) => Ok(None),
        Err(errno) => Err(SysError::new(op, errno as i32)),
    }
}

/// A row of group(5).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    /// Group name.
    pub name: String,
    /// Group id.
    pub gid: u32,
    /// Names of the users for whom it is a supplementary group.
    pub members: Vec<String>,
}

impl Group {
    /// getgrnam(3); None and errors as with [`User::by_name`].
    pub fn by_name(name: &str) -> Result<Option<Self>> {
        if name.as_bytes().contains(&0) {
            return Ok(None);
        }
        found("getgrnam", unistd::Group::from_name(name))
            .map(|g| g.map(|g| Self { name: g.name, gid: g.gid.as_raw(), members: g.mem }))
    }
}

/// The real user id of this process.
#[must_use]
pub fn uid() -> u32 {
    unistd::getuid().as_raw()
}

/// The real group id of this process.
#[must_use]
pub fn gid() -> u32 {
    unistd::getgid().as_raw()
}

/// Whether this process has root's powers.
#[must_use]
pub fn is_root() -> bool {
    unistd::geteuid().is_root()
}

/// Changes the root directory and goes there.  Allowed under no promise:
/// before the sandbox.
pub fn chroot(dir: &Path) -> Result<()> {
    unistd::chroot(dir).map_err(|e| SysError::new("chroot", e as i32).at(dir))?;
    chdir(Path::new("/"))
}

/// Changes the working directory.
pub fn chdir(dir: &Path) -> Result<()> {
    unistd::chdir(dir).map_err(|e| SysError::new("chdir", e as i32).at(dir))
}

/// Sets the file creation mask and returns the old one.
pub fn umask(mask: u32) -> u32 {
    // SAFETY: takes and gives numbers, cannot fail.
    unsafe { libc::umask(mask) }
}

/// Becomes another user for good: the groups, then real, effective and saved
/// ids; then makes sure that there is no way back.  `groups` are the
/// supplementary ones (setgroups(2) replaces all that were held).
pub fn become_user(uid: u32, gid: u32, groups: &[u32]) -> Result<()> {
    let list: Vec<Gid> = groups.iter().map(|g| Gid::from_raw(*g)).collect();
    unistd::setgroups(&list).map_err(|e| SysError::new("setgroups", e as i32))?;
    let g = Gid::from_raw(gid);
    unistd::setresgid(g, g, g).map_err(|e| SysError::new("setresgid", e as i32))?;
    let u = Uid::from_raw(uid);
    unistd::setresuid(u, u, u).map_err(|e| SysError::new("setresuid", e as i32))?;
    // SAFETY: takes a number.
    if uid != 0 && unsafe { libc::setuid(0) } != -1 {
        return Err(SysError::new("setresuid", libc::EPERM));
    }
    Ok(())
}

/// The ids of the process that connected a unix socket, or made a socketpair:
/// getpeereid(3).  Needs "inet" or "unix" under pledge.
pub fn peer(fd: std::os::fd::BorrowedFd<'_>) -> Result<(u32, u32)> {
    use std::os::fd::AsRawFd;
    #[cfg(target_os = "linux")]
    {
        // SAFETY: ucred is plain data.
        let mut cred: libc::ucred = unsafe { std::mem::zeroed() };
        let mut len = std::mem::size_of::<libc::ucred>() as libc::socklen_t;
        // SAFETY: pointer and length are of one value of ours.
        check("getsockopt", unsafe {
            libc::getsockopt(
                fd.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERCRED,
                (&mut cred as *mut libc::ucred).cast(),
                &mut len,
            )
        })?;
        Ok((cred.uid, cred.gid))
    }
    #[cfg(not(target_os = "linux"))]
    {
        let (mut uid, mut gid) = (0, 0);
        // SAFETY: writes two ids.
        check("getpeereid", unsafe { libc::getpeereid(fd.as_raw_fd(), &mut uid, &mut gid) })?;
        Ok((uid, gid))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn root_is_found_and_nobody_else() {
        let root = User::by_name("root").unwrap().unwrap();
        assert_eq!((root.uid, root.gid), (0, 0));
        assert_eq!(User::by_uid(0).unwrap().unwrap().name, "root");
        assert!(root.groups().unwrap().contains(&0));
        assert_eq!(User::by_name("no such user").unwrap(), None);
        assert_eq!(User::by_name("a\0b").unwrap(), None);
        assert_eq!(Group::by_name("no such group").unwrap(), None);
    }

    #[test]
    fn a_socketpair_peer_is_ourselves() {
        let (a, _b) = crate::sys::fdpass::socketpair().unwrap();
        assert_eq!(peer(a.as_fd()).unwrap().0, unistd::geteuid().as_raw());
    }
}
