//! Limits of the system: descriptors, files, processes, threads.

use super::errno::{Result, SysError};
use nix::sys::resource::{getrlimit, setrlimit, Resource};

/// What the system bounds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bounded {
    /// Descriptors of a process.
    Descriptors,
    /// Open files of the machine.
    Files,
    /// Processes of the machine.
    Processes,
    /// Threads of the machine.
    Threads,
    /// Processes of a user (see [`A_USERS_THREADS_COUNT`]).
    OfUser,
}

/// How much of it there may be; `None`: as much as one likes, or the system
/// does not say.  Before pledge.
pub fn most(of: Bounded) -> Option<u64> {
    match of {
        Bounded::Descriptors => hard(Resource::RLIMIT_NOFILE),
        Bounded::OfUser => hard(Resource::RLIMIT_NPROC),
        of => platform::machine(of),
    }
}

pub use platform::{raised_by, A_USERS_THREADS_COUNT};

/// A hard limit of this process, which its children inherit.
fn hard(resource: Resource) -> Option<u64> {
    let (_, hard) = getrlimit(resource).ok()?;
    (hard != libc::RLIM_INFINITY).then_some(hard)
}

/// Raises the number of descriptors, and of processes of this user, to the hard
/// limits; returns the first.  Before the first exec: children inherit them.
pub fn raise() -> Result<u64> {
    let raise = |resource| {
        let (_, hard) = getrlimit(resource).map_err(|e| SysError::new("getrlimit", e as i32))?;
        setrlimit(resource, hard, hard).map_err(|e| SysError::new("setrlimit", e as i32))?;
        Ok(hard)
    };
    raise(Resource::RLIMIT_NPROC)?;
    raise(Resource::RLIMIT_NOFILE)
}

/// Lowers the number of descriptors to what foreign programs are used to: some
/// of them use select(2), or close all that there may be.
pub fn lower() -> Result<()> {
    const USUAL: u64 = 1024;
    let resource = Resource::RLIMIT_NOFILE;
    let (_, hard) = getrlimit(resource).map_err(|e| SysError::new("getrlimit", e as i32))?;
    setrlimit(resource, hard.min(USUAL), hard).map_err(|e| SysError::new("setrlimit", e as i32))
}

/// No core files of this process and those that it starts: they would hold
/// keys and mail, and lie in some working directory.
pub fn no_cores() -> Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(|e| SysError::new("setrlimit", e as i32))
}

#[cfg(target_os = "openbsd")]
mod platform {
    use super::Bounded;

    /// RLIMIT_NPROC counts processes, and binds nobody who forks as root.
    pub const A_USERS_THREADS_COUNT: bool = false;

    /// What an administrator raises it with.
    pub const fn raised_by(of: Bounded) -> &'static str {
        match of {
            Bounded::Descriptors => "openfiles of a class rmaild in login.conf(5)",
            Bounded::Files => "sysctl kern.maxfiles",
            Bounded::Processes => "sysctl kern.maxproc",
            Bounded::Threads => "sysctl kern.maxthread",
            Bounded::OfUser => "maxproc of the user's class in login.conf(5)",
        }
    }

    pub fn machine(of: Bounded) -> Option<u64> {
        let name = match of {
            Bounded::Files => libc::KERN_MAXFILES,
            Bounded::Processes => libc::KERN_MAXPROC,
            Bounded::Threads => libc::KERN_MAXTHREAD,
            Bounded::Descriptors | Bounded::OfUser => return None,
        };
        let name = [libc::CTL_KERN, name];
        let mut value: libc::c_int = 0;
        let mut len = size_of::<libc::c_int>();
        // SAFETY: sysctl(2): two integers name the variable, an int of `len`
        // octets takes its value, and nothing is set.
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
}

#[cfg(not(target_os = "openbsd"))]
mod platform {
    use super::Bounded;
    use std::path::{Path, PathBuf};

    /// RLIMIT_NPROC counts threads, of each user who is not root.
    pub const A_USERS_THREADS_COUNT: bool = true;

    /// What an administrator raises it with.
    pub const fn raised_by(of: Bounded) -> &'static str {
        match of {
            Bounded::Descriptors => "LimitNOFILE of the unit, or ulimit -n",
            Bounded::Files => "sysctl fs.file-max",
            Bounded::Processes => "sysctl kernel.pid_max",
            Bounded::Threads => {
                "sysctl kernel.threads-max and kernel.pid_max, TasksMax of the unit"
            }
            Bounded::OfUser => "LimitNPROC of the unit, or ulimit -u",
        }
    }

    pub fn machine(of: Bounded) -> Option<u64> {
        match of {
            Bounded::Files => number(Path::new("/proc/sys/fs/file-max")),
            Bounded::Processes => number(Path::new("/proc/sys/kernel/pid_max")),
            // A thread has a process id, and is a task of its group.
            Bounded::Threads => {
                let threads = number(Path::new("/proc/sys/kernel/threads-max"));
                let ids = number(Path::new("/proc/sys/kernel/pid_max"));
                [threads, ids, tasks()].into_iter().flatten().min()
            }
            Bounded::Descriptors | Bounded::OfUser => None,
        }
    }

    /// The tasks that this process's control group allows, or one that it is in.
    fn tasks() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = text.lines().find_map(|l| l.strip_prefix("0::/"))?;
        let root = PathBuf::from("/sys/fs/cgroup");
        let group = root.join(own);
        let above = group.ancestors().take_while(|g| g.starts_with(&root));
        above.filter_map(|g| number(&g.join("pids.max"))).min()
    }

    /// A file with a number in it; "max" is none.
    fn number(path: &Path) -> Option<u64> {
        std::fs::read_to_string(path).ok()?.trim().parse().ok()
    }
}

/// Gives the process so many seconds of the processor; when they are used up
/// SIGXCPU ends it.  Before the sandbox: setrlimit(2) needs more than "stdio".
pub fn cpu(seconds: u64) -> Result<()> {
    let hard = seconds.saturating_add(1);
    setrlimit(Resource::RLIMIT_CPU, seconds, hard).map_err(|e| SysError::new("setrlimit", e as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_says_something_of_itself() {
        for of in [Bounded::Files, Bounded::Processes, Bounded::Threads] {
            assert!(most(of).is_some_and(|n| n > 16), "{of:?}: {:?}", most(of));
            assert!(!raised_by(of).is_empty());
        }
    }
}
