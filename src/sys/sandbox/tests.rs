//! Every promise: what it allows works, and without it the process dies.
//!
//! Each try is a process of its own: this test binary, told by its environment
//! to run `probe` alone.

use super::super::Promise::{self, *};
use super::super::{enter, is_violation, Unveil};
use crate::sys::spawn::{exec_child, waitpid, Exec, Exit};
use std::ffi::CString;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

type Try = fn(&Path) -> io::Result<()>;

/// A call, and the promises beside stdio that it needs, all of them.
struct Case {
    name: &'static str,
    needs: &'static [Promise],
    call: Try,
}

const fn case(name: &'static str, needs: &'static [Promise], call: Try) -> Case {
    Case { name, needs, call }
}

fn sys(n: libc::c_long) -> io::Result<()> {
    if n == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

fn socketpair() -> (std::os::fd::OwnedFd, std::os::fd::OwnedFd) {
    crate::sys::fdpass::socketpair().unwrap()
}

fn option(level: i32, option: i32) -> io::Result<()> {
    let (a, _b) = socketpair();
    let one: libc::timeval = unsafe { std::mem::zeroed() };
    let n = unsafe {
        libc::setsockopt(
            a.as_raw_fd(),
            level,
            option,
            (&one as *const libc::timeval).cast(),
            std::mem::size_of::<libc::timeval>() as u32,
        )
    };
    // Some mean nothing to this kind of socket; that is not the question.
    let _ = n;
    Ok(())
}

fn existing(dir: &Path) -> PathBuf {
    dir.join("existing")
}

/// Opened before the sandbox by `probe`, as descriptors 3 (file), 4 (directory).
fn held(fd: i32) -> std::os::fd::BorrowedFd<'static> {
    unsafe { std::os::fd::BorrowedFd::borrow_raw(fd) }
}

const CASES: &[Case] = &[
    case("read and write", &[], |_| {
        let (a, b) = socketpair();
        nix::unistd::write(&a, b"x").map_err(io::Error::from)?;
        nix::unistd::read(&b, &mut [0; 4]).map_err(io::Error::from)?;
        File::from(held(3).try_clone_to_owned()?).metadata()?;
        Ok(())
    }),
    case("threads, memory, time, random", &[], |_| {
        let threads: Vec<_> = (0..8)
            .map(|_| {
                std::thread::Builder::new()
                    .name("probe".into())
                    .stack_size(128 * 1024)
                    .spawn(|| vec![1u8; 4 << 20].len())
                    .unwrap()
            })
            .collect();
        for thread in threads {
            thread.join().unwrap();
        }
        assert_ne!(crate::sys::rand::u64(), 0);
        assert_eq!(std::collections::HashMap::from([(1, 2)]).len(), 1);
        std::thread::sleep(std::time::Duration::from_millis(1));
        assert!(crate::sys::time::local(crate::sys::time::realtime().0).is_some());
        Ok(())
    }),
    case("descriptors over channels", &[], |_| {
        let (a, b) = socketpair();
        crate::sys::fdpass::send(a.as_fd(), b"x", &[held(3)])?;
        crate::sys::fdpass::recv(b.as_fd(), &mut [0; 4], &mut Vec::new())?;
        crate::sys::poll::set_nonblocking(a.as_fd(), true)?;
        let _ = crate::sys::net::set_nodelay(a.as_fd());
        crate::sys::net::socket_error(a.as_fd())?;
        Ok(())
    }),
    case("fsync of an open file and directory", &[], |_| {
        sys(unsafe { libc::fsync(3) }.into())?;
        sys(unsafe { libc::fsync(4) }.into())
    }),
    case("panic that is caught", &[], |_| {
        let _ = std::panic::catch_unwind(|| panic!("on purpose"));
        Ok(())
    }),
    case("open for reading", &[Rpath], |dir| File::open(existing(dir)).map(drop)),
    case("stat", &[Rpath], |dir| {
        let path = CString::new(existing(dir).as_os_str().as_bytes()).unwrap();
        let mut stat: libc::stat = unsafe { std::mem::zeroed() };
        sys(unsafe { libc::stat(path.as_ptr(), &mut stat) }.into())
    }),
    case("read a directory", &[Rpath], |dir| fs::read_dir(dir).map(|d| assert_eq!(d.count(), 2))),
    case("getdents of an open directory", &[Rpath], |_| {
        sys(unsafe { libc::syscall(libc::SYS_getdents64, 4, [0u8; 512].as_mut_ptr(), 512) })
    }),
    case("fstatfs", &[Rpath], |_| {
        let mut buf: libc::statfs = unsafe { std::mem::zeroed() };
        sys(unsafe { libc::fstatfs(3, &mut buf) }.into())
    }),
    case("getcwd", &[Rpath], |_| std::env::current_dir().map(drop)),
    case("chdir", &[Rpath], |dir| std::env::set_current_dir(dir)),
    case("readlink", &[Rpath], |dir| match fs::read_link(existing(dir)) {
        Err(e) if e.raw_os_error() == Some(libc::EINVAL) => Ok(()),
        other => other.map(drop),
    }),
    case("open for writing", &[Wpath], |dir| {
        OpenOptions::new().write(true).open(existing(dir)).map(drop)
    }),
    case("open for both", &[Rpath, Wpath], |dir| {
        OpenOptions::new().read(true).write(true).open(existing(dir)).map(drop)
    }),
    case("create", &[Wpath, Cpath], |dir| {
        OpenOptions::new().write(true).create_new(true).open(dir.join("new")).map(drop)
    }),
    case("create what exists", &[Wpath, Cpath], |dir| File::create(existing(dir)).map(drop)),
    case("unlink", &[Cpath], |dir| fs::remove_file(existing(dir))),
    case("mkdir and rmdir", &[Cpath], |dir| {
        fs::create_dir(dir.join("d")).and_then(|()| fs::remove_dir(dir.join("d")))
    }),
    case("rename", &[Rpath, Cpath], |dir| fs::rename(existing(dir), dir.join("sub/other"))),
    case("link", &[Rpath, Cpath], |dir| fs::hard_link(existing(dir), dir.join("sub/other"))),
    case("fchmod", &[Fattr], |_| sys(unsafe { libc::fchmod(3, 0o600) }.into())),
    case("futimens", &[Fattr], |_| {
        crate::sys::file::set_mtime(held(3), 1, 0).map_err(io::Error::from)
    }),
    case("fchown to itself", &[Fattr], |_| {
        let (uid, gid) = (crate::sys::user::uid(), crate::sys::user::gid());
        sys(unsafe { libc::fchown(3, uid, gid) }.into())
    }),
    case("flock", &[Flock], |_| sys(unsafe { libc::flock(3, libc::LOCK_SH) }.into())),
    case("fcntl lock", &[Flock], |_| {
        let mut lock: libc::flock = unsafe { std::mem::zeroed() };
        lock.l_type = libc::F_RDLCK as libc::c_short;
        sys(unsafe { libc::fcntl(3, libc::F_SETLK, &lock) }.into())
    }),
    case("inet socket", &[Inet], |_| std::net::UdpSocket::bind("127.0.0.1:0").map(drop)),
    case("tcp", &[Inet], |_| {
        let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
        let addr = listener.local_addr()?;
        let a = std::net::TcpStream::connect(addr)?;
        listener.accept()?;
        a.set_read_timeout(Some(std::time::Duration::from_secs(1)))
    }),
    case("TCP_MAXSEG", &[Inet], |_| option(libc::IPPROTO_TCP, libc::TCP_MAXSEG)),
    case("unix socket", &[Unix], |_| std::os::unix::net::UnixDatagram::unbound().map(drop)),
    case("SO_PEERCRED", &[Unix], |_| {
        crate::sys::user::peer(socketpair().0.as_fd()).map(drop).map_err(io::Error::from)
    }),
    case("SO_RCVTIMEO", &[Unix], |_| option(libc::SOL_SOCKET, libc::SO_RCVTIMEO)),
    case("SO_SNDBUF", &[Unix], |_| option(libc::SOL_SOCKET, libc::SO_SNDBUF)),
];

/// Everything that a process without proc, exec, id and unix may have.
const MOST: &[Promise] = &[Stdio, Rpath, Wpath, Cpath, Fattr, Chown, Flock, Inet, Sendfd, Recvfd];

/// Calls that end the process whatever else it may do.
const NEVER: &[(&str, Try)] = &[
    ("chroot", |dir| std::os::unix::fs::chroot(dir)),
    ("fork", |_| sys(unsafe { libc::fork() }.into())),
    ("vfork by clone", |_| {
        sys(unsafe {
            libc::syscall(libc::SYS_clone, libc::CLONE_VFORK | libc::SIGCHLD, 0, 0, 0, 0)
        })
    }),
    ("exec", |_| Err(exec("/bin/true"))),
    ("kill of another", |_| sys(unsafe { libc::kill(libc::getppid(), 0) }.into())),
    ("ptrace", |_| sys(unsafe { libc::ptrace(libc::PTRACE_TRACEME, 0, 0, 0) })),
    ("process_vm_readv", |_| {
        sys(unsafe { libc::syscall(libc::SYS_process_vm_readv, libc::getpid(), 0, 0, 0, 0, 0) })
    }),
    ("keyctl", |_| sys(unsafe { libc::syscall(libc::SYS_keyctl, 0, 0, 0, 0, 0) })),
    ("io_uring_setup", |_| sys(unsafe { libc::syscall(libc::SYS_io_uring_setup, 1, 0) })),
    ("openat2", |_| sys(unsafe { libc::syscall(libc::SYS_openat2, -1, 0, 0, 0) })),
    ("mkfifo", |dir| {
        nix::unistd::mkfifo(&dir.join("f"), nix::sys::stat::Mode::S_IRWXU).map_err(io::Error::from)
    }),
    ("memory that is executable", |_| {
        let p = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                4096,
                libc::PROT_READ | libc::PROT_EXEC,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS,
                -1,
                0,
            )
        };
        sys(if p == libc::MAP_FAILED { -1 } else { 0 })
    }),
    ("raw socket", |_| {
        sys(unsafe { libc::socket(libc::AF_INET, libc::SOCK_RAW, libc::IPPROTO_ICMP) }.into())
    }),
    (
        "netlink socket",
        |_| sys(unsafe { libc::socket(libc::AF_NETLINK, libc::SOCK_RAW, 0) }.into()),
    ),
    ("setrlimit", |_| {
        let limit = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        sys(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) }.into())
    }),
    ("setuid", |_| sys(unsafe { libc::setuid(1) }.into())),
];

fn exec(path: &str) -> io::Error {
    crate::sys::spawn::exec_now(Exec {
        path: CString::new(path).unwrap(),
        argv: vec![CString::new(path).unwrap()],
        env: vec![],
        fds: vec![],
    })
    .into()
}

/// The other side: does what the environment says, and exits.
#[test]
fn probe() {
    let Ok(what) = std::env::var("RMAIL_SANDBOX_PROBE") else { return };
    let mut lines = what.lines();
    let name = lines.next().unwrap();
    let dir = PathBuf::from(lines.next().unwrap());
    let all = [
        Stdio, Rpath, Wpath, Cpath, Fattr, Chown, Flock, Id, Proc, Exec, Sendfd, Recvfd, Unix, Inet,
    ];
    let words = lines.next().unwrap();
    let promises: Vec<Promise> =
        all.into_iter().filter(|p| words.split(' ').any(|w| w == p.word())).collect();
    let unveils: Vec<Unveil> = lines
        .map(|line| {
            let (perms, path) = line.split_once(' ').unwrap();
            let perms = ["r", "rwc"].into_iter().find(|p| *p == perms).unwrap();
            Unveil { path: path.into(), perms }
        })
        .collect();
    let call = CASES
        .iter()
        .map(|c| (c.name, c.call))
        .chain(NEVER.iter().copied())
        .find(|(n, _)| *n == name)
        .unwrap()
        .1;
    let file = File::options().read(true).write(true).open(existing(&dir)).unwrap();
    let directory = File::open(&dir).unwrap();
    let (a, b) = (file.as_raw_fd(), directory.as_raw_fd());
    // Both above 10 first, so that 3 and 4 overwrite nothing that is needed.
    let (a, b) = unsafe { (libc::fcntl(a, libc::F_DUPFD, 10), libc::fcntl(b, libc::F_DUPFD, 10)) };
    unsafe {
        libc::dup2(a, 3);
        libc::dup2(b, 4);
    }
    std::mem::forget((file, directory));
    crate::sys::time::tzset();
    enter(&promises, &unveils).unwrap();
    crate::sys::spawn::exit_now(match call(&dir) {
        Ok(()) => 0,
        Err(e) => e.raw_os_error().unwrap_or(1).clamp(1, 120),
    });
}

fn run(name: &str, promises: &[Promise], unveils: impl Fn(&Path) -> Vec<String>) -> Exit {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
    let dir = std::env::temp_dir().join(format!("rmail-sandbox.{}.{n}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    fs::create_dir(dir.join("sub")).unwrap();
    fs::write(existing(&dir), b"text").unwrap();
    let words: Vec<&str> = promises.iter().map(|p| p.word()).collect();
    let mut what = format!("{name}\n{}\n{}", dir.display(), words.join(" "));
    for line in unveils(&dir) {
        what.push('\n');
        what.push_str(&line);
    }
    let me = std::env::current_exe().unwrap();
    let text = |s: &str| CString::new(s).unwrap();
    let null = || std::os::fd::OwnedFd::from(File::create("/dev/null").unwrap());
    let exit = waitpid(
        exec_child(Exec {
            path: CString::new(me.as_os_str().as_bytes()).unwrap(),
            argv: ["rmail", "sandbox::platform::tests::probe", "--nocapture"].map(text).to_vec(),
            env: vec![text(&format!("RMAIL_SANDBOX_PROBE={what}"))],
            fds: vec![(null(), 1), (null(), 2)],
        })
        .unwrap(),
    )
    .unwrap();
    fs::remove_dir_all(&dir).unwrap();
    exit
}

fn all_of(dir: &Path) -> Vec<String> {
    vec![format!("rwc {}", dir.display())]
}

#[test]
fn what_is_promised_works() {
    for case in CASES {
        let promises = [&[Stdio], case.needs].concat();
        assert_eq!(run(case.name, &promises, all_of), Exit::Code(0), "{}", case.name);
    }
}

#[test]
fn what_is_not_promised_kills() {
    for case in CASES {
        for missing in case.needs {
            let rest: Vec<Promise> = [Stdio]
                .into_iter()
                .chain(case.needs.iter().copied().filter(|p| p != missing))
                .collect();
            let exit = run(case.name, &rest, all_of);
            assert!(
                matches!(exit, Exit::Signal(s) if s == libc::SIGSYS && is_violation(s)),
                "{} without {missing:?}: {exit}",
                case.name
            );
        }
    }
}

#[test]
fn some_calls_kill_whatever_is_promised() {
    for (name, _) in NEVER {
        assert_eq!(run(name, MOST, all_of), Exit::Signal(libc::SIGSYS), "{name}");
    }
}

#[test]
fn paths_that_are_not_unveiled_are_out_of_reach() {
    if super::landlock_abi() < 2 {
        // enter() says so too, as a warning; there is nothing to try here.
        return;
    }
    let exit =
        |name, promises: &[Promise], list: fn(&Path) -> Vec<String>| run(name, promises, list);
    let nothing = |_: &Path| Vec::new();
    let readable = |dir: &Path| vec![format!("r {}", dir.display())];
    let sub = |dir: &Path| vec![format!("rwc {}", dir.join("sub").display())];
    let file = |dir: &Path| vec![format!("r {}", existing(dir).display())];
    let denied = Exit::Code(libc::EACCES);
    assert_eq!(exit("open for reading", &[Stdio, Rpath], nothing), denied);
    assert_eq!(exit("open for reading", &[Stdio, Rpath], readable), Exit::Code(0));
    assert_eq!(exit("open for reading", &[Stdio, Rpath], sub), denied);
    assert_eq!(exit("open for reading", &[Stdio, Rpath], file), Exit::Code(0));
    assert_eq!(exit("open for writing", &[Stdio, Wpath], readable), denied);
    assert_eq!(exit("create", &[Stdio, Wpath, Cpath], readable), denied);
    assert_eq!(exit("unlink", &[Stdio, Cpath], readable), denied);
    assert_ne!(exit("rename", &[Stdio, Rpath, Cpath], sub), Exit::Code(0));
}
