//! The promises of pledge(2) as a seccomp filter (Linux).
//!
//! What pledge kills, this kills (SIGSYS), so that a call that OpenBSD would
//! not allow is found by every test run here.  Each promise adds system calls,
//! some only with certain arguments.  seccomp sees numbers and not what they
//! point to: paths are Landlock's business, and with AT_EMPTY_PATH a path may
//! still be given to statx(2).
//!
//! Laxer than pledge: sendfile(2), splice(2) and copy_file_range(2), which
//! std::io::copy uses; signals to the process itself.  A system call of a newer
//! C library that is missing here is reported by number (sandbox/linux.rs).

use super::Promise;
use crate::sys::errno::SysError;
use seccompiler::{
    apply_filter, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};
use std::collections::BTreeMap;

/// A condition on an argument of 32 bits (`W`) or 64 (`P`).
enum Arg {
    /// Equal.
    W(u8, u32),
    /// The bits of the mask are equal.
    Mask(u8, u32, u32),
    /// A pointer or number of 64 bits, equal.
    P(u8, u64),
}

use Arg::{Mask, P, W};

/// The numbers as libc has them.
type Number = libc::c_long;

#[derive(Default)]
struct Rules {
    /// An empty list means "always".
    map: BTreeMap<i64, Vec<SeccompRule>>,
    failed: bool,
}

impl Rules {
    /// Allows these, whatever their arguments.
    fn allow(&mut self, numbers: &[Number]) {
        for number in numbers {
            self.map.insert(*number, Vec::new());
        }
    }

    /// Allows it when all conditions hold.
    fn when(&mut self, number: Number, conditions: &[Arg]) {
        let conditions: Result<Vec<SeccompCondition>, _> = conditions
            .iter()
            .map(|c| match *c {
                W(arg, value) => SeccompCondition::new(
                    arg,
                    SeccompCmpArgLen::Dword,
                    SeccompCmpOp::Eq,
                    u64::from(value),
                ),
                Mask(arg, mask, value) => SeccompCondition::new(
                    arg,
                    SeccompCmpArgLen::Dword,
                    SeccompCmpOp::MaskedEq(u64::from(mask)),
                    u64::from(value),
                ),
                P(arg, value) => {
                    SeccompCondition::new(arg, SeccompCmpArgLen::Qword, SeccompCmpOp::Eq, value)
                }
            })
            .collect();
        let rule = conditions.and_then(SeccompRule::new);
        match (rule, self.map.get_mut(&number)) {
            (Ok(rule), None) => {
                self.map.insert(number, vec![rule]);
            }
            // Always is more than sometimes.
            (Ok(_), Some(rules)) if rules.is_empty() => {}
            (Ok(rule), Some(rules)) => rules.push(rule),
            (Err(_), _) => self.failed = true,
        }
    }
}

/// Installs the filter for the calling thread and all that it starts.
pub fn install(promises: &[Promise]) -> Result<(), SysError> {
    let refused = || SysError::new("seccomp", libc::EINVAL);
    let rules = rules(promises);
    if rules.failed {
        return Err(refused());
    }
    // clone3 hides its flags in memory; without it the C library takes clone.
    let mut absent = Rules::default();
    absent.allow(&[libc::SYS_clone3]);
    let errno = SeccompAction::Errno(libc::ENOSYS as u32);
    for (rules, other, these) in
        [(absent, SeccompAction::Allow, errno), (rules, SeccompAction::Trap, SeccompAction::Allow)]
    {
        let filter = SeccompFilter::new(rules.map, other, these, ARCH).map_err(|_| refused())?;
        let program: BpfProgram = filter.try_into().map_err(|_| refused())?;
        apply_filter(&program).map_err(|e| match e {
            seccompiler::Error::Prctl(e) | seccompiler::Error::Seccomp(e) => {
                SysError::of("seccomp", &e)
            }
            _ => refused(),
        })?;
    }
    Ok(())
}

#[cfg(target_arch = "x86_64")]
const ARCH: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCH: TargetArch = TargetArch::aarch64;

fn rules(promises: &[Promise]) -> Rules {
    let has = |p: Promise| promises.contains(&p);
    let mut rules = Rules::default();
    let r = &mut rules;
    stdio(r);
    let (rpath, wpath, cpath) = (has(Promise::Rpath), has(Promise::Wpath), has(Promise::Cpath));
    open(r, rpath, wpath, cpath);
    if rpath {
        r.allow(&[
            libc::SYS_getdents64,
            libc::SYS_newfstatat,
            libc::SYS_statx,
            libc::SYS_readlinkat,
            libc::SYS_faccessat,
            libc::SYS_faccessat2,
            libc::SYS_statfs,
            libc::SYS_fstatfs,
            libc::SYS_getcwd,
            libc::SYS_chdir,
            libc::SYS_fchdir,
        ]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[
            libc::SYS_stat,
            libc::SYS_lstat,
            libc::SYS_access,
            libc::SYS_readlink,
            libc::SYS_getdents,
        ]);
    }
    if wpath {
        r.allow(&[libc::SYS_truncate]);
    }
    if cpath {
        r.allow(&[libc::SYS_unlinkat, libc::SYS_mkdirat, libc::SYS_symlinkat]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[libc::SYS_unlink, libc::SYS_mkdir, libc::SYS_rmdir, libc::SYS_symlink]);
    }
    if cpath && rpath {
        // renameat2 with RENAME_EXCHANGE and the like is nothing that OpenBSD
        // has.
        r.allow(&[libc::SYS_renameat, libc::SYS_linkat]);
        r.when(libc::SYS_renameat2, &[W(4, 0)]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[libc::SYS_rename, libc::SYS_link]);
    }
    if has(Promise::Fattr) {
        r.allow(&[libc::SYS_fchmod, libc::SYS_fchmodat, SYS_FCHMODAT2, libc::SYS_utimensat]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[libc::SYS_chmod, libc::SYS_utime, libc::SYS_utimes, libc::SYS_futimesat]);
        let (uid, gid) = (super::super::user::uid(), super::super::user::gid());
        r.when(libc::SYS_fchown, &[W(1, uid), W(2, gid)]);
    }
    if has(Promise::Chown) {
        r.allow(&[libc::SYS_fchown, libc::SYS_fchownat]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[libc::SYS_chown, libc::SYS_lchown]);
    }
    if has(Promise::Flock) {
        r.allow(&[libc::SYS_flock]);
        for command in [
            libc::F_GETLK,
            libc::F_SETLK,
            libc::F_SETLKW,
            libc::F_OFD_GETLK,
            libc::F_OFD_SETLK,
            libc::F_OFD_SETLKW,
        ] {
            r.when(libc::SYS_fcntl, &[W(1, command as u32)]);
        }
    }
    sockets(r, has(Promise::Inet), has(Promise::Unix));
    if has(Promise::Proc) {
        r.allow(&[
            libc::SYS_clone,
            libc::SYS_kill,
            libc::SYS_setsid,
            libc::SYS_setpgid,
            libc::SYS_setpriority,
            libc::SYS_prlimit64,
        ]);
        #[cfg(target_arch = "x86_64")]
        r.allow(&[libc::SYS_fork, libc::SYS_vfork]);
    }
    if has(Promise::Exec) {
        r.allow(&[libc::SYS_execve, libc::SYS_execveat]);
    }
    if has(Promise::Id) {
        r.allow(&[
            libc::SYS_setuid,
            libc::SYS_setgid,
            libc::SYS_setresuid,
            libc::SYS_setresgid,
            libc::SYS_setgroups,
            libc::SYS_prlimit64,
        ]);
    }
    rules
}

/// fchmodat2(2), the same number on all machines.
const SYS_FCHMODAT2: Number = 452;

/// What every process needs.
fn stdio(r: &mut Rules) {
    // Descriptors that are open already.
    r.allow(&[
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_readv,
        libc::SYS_writev,
        libc::SYS_pread64,
        libc::SYS_pwrite64,
        libc::SYS_preadv,
        libc::SYS_pwritev,
        libc::SYS_preadv2,
        libc::SYS_pwritev2,
        libc::SYS_lseek,
        libc::SYS_fstat,
        libc::SYS_close,
        libc::SYS_close_range,
        libc::SYS_dup,
        libc::SYS_dup3,
        libc::SYS_ppoll,
        libc::SYS_pselect6,
        libc::SYS_pipe2,
        libc::SYS_fsync,
        libc::SYS_fdatasync,
        libc::SYS_ftruncate,
        libc::SYS_copy_file_range,
        libc::SYS_sendfile,
        libc::SYS_splice,
        libc::SYS_umask,
    ]);
    // Descriptors that are sockets already.
    r.allow(&[
        libc::SYS_getsockname,
        libc::SYS_getpeername,
        libc::SYS_recvfrom,
        libc::SYS_sendmsg,
        libc::SYS_recvmsg,
        libc::SYS_shutdown,
    ]);
    r.when(libc::SYS_sendto, &[P(4, 0)]);
    r.when(libc::SYS_socketpair, &[W(0, libc::AF_UNIX as u32)]);
    // Memory, threads, time, identity, signals to itself.
    r.allow(&[
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_set_robust_list,
        libc::SYS_get_robust_list,
        libc::SYS_set_tid_address,
        libc::SYS_rseq,
        libc::SYS_membarrier,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_clone3,
        libc::SYS_exit,
        libc::SYS_exit_group,
        libc::SYS_restart_syscall,
        libc::SYS_clock_gettime,
        libc::SYS_clock_getres,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_gettimeofday,
        libc::SYS_getrandom,
        libc::SYS_getpid,
        libc::SYS_getppid,
        libc::SYS_gettid,
        libc::SYS_getuid,
        libc::SYS_geteuid,
        libc::SYS_getgid,
        libc::SYS_getegid,
        libc::SYS_getresuid,
        libc::SYS_getresgid,
        libc::SYS_getgroups,
        libc::SYS_getrusage,
        libc::SYS_getrlimit,
        libc::SYS_sysinfo,
        libc::SYS_times,
        libc::SYS_uname,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_rt_sigpending,
        libc::SYS_rt_sigtimedwait,
        libc::SYS_sigaltstack,
        libc::SYS_wait4,
        libc::SYS_waitid,
    ]);
    #[cfg(target_arch = "x86_64")]
    r.allow(&[libc::SYS_poll, libc::SYS_select, libc::SYS_dup2, libc::SYS_pipe, libc::SYS_time]);
    let me = super::super::spawn::getpid() as u32;
    r.when(libc::SYS_kill, &[W(0, me)]);
    r.when(libc::SYS_tgkill, &[W(0, me)]);
    // Limits may be read, of this process.
    r.when(libc::SYS_prlimit64, &[W(0, 0), P(2, 0)]);
    r.when(libc::SYS_prlimit64, &[W(0, me), P(2, 0)]);
    // No new code: prot_exec is a promise that nobody makes.
    let exec = libc::PROT_EXEC as u32;
    r.when(libc::SYS_mmap, &[Mask(2, exec, 0)]);
    r.when(libc::SYS_mprotect, &[Mask(2, exec, 0)]);
    // Threads, and no new processes or name spaces.
    let thread = libc::CLONE_THREAD as u32;
    let spaces = (libc::CLONE_NEWNS
        | libc::CLONE_NEWCGROUP
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUSER
        | libc::CLONE_NEWPID
        | libc::CLONE_NEWNET) as u32;
    r.when(libc::SYS_clone, &[Mask(0, thread | spaces, thread)]);
    // The names of threads, and of memory areas (the C library's).
    for option in [libc::PR_SET_NAME, libc::PR_GET_NAME, libc::PR_SET_VMA] {
        r.when(libc::SYS_prctl, &[W(0, option as u32)]);
    }
    for command in [
        libc::F_GETFD,
        libc::F_SETFD,
        libc::F_GETFL,
        libc::F_SETFL,
        libc::F_DUPFD,
        libc::F_DUPFD_CLOEXEC,
    ] {
        r.when(libc::SYS_fcntl, &[W(1, command as u32)]);
    }
    for request in [libc::FIONBIO, libc::FIONREAD, libc::FIOCLEX, libc::TCGETS] {
        r.when(libc::SYS_ioctl, &[W(1, request as u32)]);
    }
    // fstat(2) as the C library and std spell it.
    let empty = libc::AT_EMPTY_PATH as u32;
    r.when(libc::SYS_newfstatat, &[Mask(3, empty, empty)]);
    r.when(libc::SYS_statx, &[Mask(2, empty, empty)]);
}

/// open(2) by its flags.  O_CREAT needs cpath, also for a file that exists;
/// O_TMPFILE is nothing that OpenBSD has; openat2(2) hides its flags.
fn open(r: &mut Rules, rpath: bool, wpath: bool, cpath: bool) {
    // O_TMPFILE without the O_DIRECTORY that is part of it.
    let tmpfile = (libc::O_TMPFILE & !libc::O_DIRECTORY) as u32;
    let create = libc::O_CREAT as u32;
    let mode = libc::O_ACCMODE as u32 | tmpfile;
    let ways = [(libc::O_RDONLY, rpath), (libc::O_WRONLY, wpath), (libc::O_RDWR, rpath && wpath)];
    for (way, allowed) in ways {
        if !allowed {
            continue;
        }
        let (mask, value) = match cpath && wpath {
            true => (mode, way as u32),
            false => (mode | create, way as u32),
        };
        r.when(libc::SYS_openat, &[Mask(2, mask, value)]);
        #[cfg(target_arch = "x86_64")]
        r.when(libc::SYS_open, &[Mask(1, mask, value)]);
    }
}

/// Sockets and their options.
fn sockets(r: &mut Rules, inet: bool, unix: bool) {
    let mut domains = Vec::new();
    if inet {
        domains.extend([libc::AF_INET, libc::AF_INET6]);
    }
    if unix {
        domains.push(libc::AF_UNIX);
    }
    // The kind without SOCK_CLOEXEC and SOCK_NONBLOCK: no raw sockets.
    for domain in domains {
        for kind in [libc::SOCK_STREAM, libc::SOCK_DGRAM] {
            r.when(libc::SYS_socket, &[W(0, domain as u32), Mask(1, 0xf, kind as u32)]);
        }
    }
    if inet || unix {
        r.allow(&[
            libc::SYS_bind,
            libc::SYS_connect,
            libc::SYS_listen,
            libc::SYS_accept,
            libc::SYS_accept4,
            libc::SYS_sendto,
        ]);
    }
    // (level, option): these are allowed with "stdio" alone ...
    let mut options = vec![
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
        (libc::SOL_SOCKET, libc::SO_ERROR),
        (libc::SOL_SOCKET, libc::SO_RCVBUF),
        (libc::IPPROTO_IP, libc::IP_TOS),
        (libc::IPPROTO_IPV6, libc::IPV6_TCLASS),
    ];
    // ... these with any kind of socket ...
    if inet || unix {
        options.extend(
            [
                libc::SO_REUSEADDR,
                libc::SO_TYPE,
                libc::SO_SNDBUF,
                libc::SO_KEEPALIVE,
                libc::SO_LINGER,
                libc::SO_PEERCRED,
                libc::SO_RCVTIMEO,
                libc::SO_SNDTIMEO,
                libc::SO_ACCEPTCONN,
                libc::SO_DOMAIN,
            ]
            .map(|option| (libc::SOL_SOCKET, option)),
        );
    }
    // ... and these only on the network.
    if inet {
        options.extend([
            (libc::IPPROTO_TCP, libc::TCP_MAXSEG),
            (libc::IPPROTO_TCP, libc::TCP_CORK),
            (libc::IPPROTO_TCP, libc::TCP_INFO),
            (libc::IPPROTO_IP, libc::IP_TTL),
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY),
        ]);
    }
    for (level, option) in options {
        let conditions = || [W(1, level as u32), W(2, option as u32)];
        r.when(libc::SYS_setsockopt, &conditions());
        r.when(libc::SYS_getsockopt, &conditions());
    }
}
