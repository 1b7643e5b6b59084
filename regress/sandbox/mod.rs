//! Each row of the process table tries everything: what it promises works,
//! for the rest the kernel ends it.
//!
//! A try is a process of its own: this program, told by its environment which
//! row it is and what to do ([`probe`]).

use crate::{Env, Outcome, Test};
use rmail::proc::table::{named, Kind, Process, PROCESSES};
use rmail::sys::sandbox::Promise::{self, *};
use rmail::sys::sandbox::{enter, is_violation, Unveil};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::net::{TcpListener, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

pub mod claims;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "each-process-may-do-what-its-row-says-and-no-more", run: rows },
    Test { name: "a-process-that-reads-files-reads-no-others", run: unveiled },
    Test {
        name: "a-false-imap-claims-a-mailbox-in-vain",
        run: claims::false_imap_claims_a_mailbox,
    },
    Test { name: "a-false-lookup-opens-in-vain", run: claims::false_lookup_opens_in_vain },
    Test {
        name: "a-channel-to-a-store-is-for-its-role-alone",
        run: claims::channels_are_for_their_role,
    },
    Test { name: "a-broken-channel-is-replaced", run: claims::a_broken_channel_is_replaced },
];

const VARIABLE: &str = "RMAIL_REGRESS_SANDBOX";

/// What is tried, and the promises that it needs, all of them; none: no
/// process of the table may.
struct Try {
    name: &'static str,
    needs: &'static [&'static [Promise]],
    run: fn(&Path) -> io::Result<()>,
}

const fn attempt(
    name: &'static str,
    needs: &'static [&'static [Promise]],
    run: fn(&Path) -> io::Result<()>,
) -> Try {
    Try { name, needs, run }
}

const TRIES: &[Try] = &[
    attempt("thread", &[&[Stdio]], |_| {
        let thread = std::thread::Builder::new().stack_size(128 * 1024).spawn(|| 7)?;
        assert_eq!(thread.join().ok(), Some(7));
        Ok(())
    }),
    attempt("caught-panic", &[&[Stdio]], |_| {
        let _ = std::panic::catch_unwind(|| panic!("on purpose"));
        Ok(())
    }),
    attempt("read", &[&[Rpath]], |dir| fs::read(dir.join("file")).map(drop)),
    attempt("list", &[&[Rpath]], |dir| fs::read_dir(dir).map(drop)),
    attempt("exists", &[&[Rpath]], |dir| dir.join("nothing").try_exists().map(drop)),
    attempt("write", &[&[Wpath]], |dir| {
        OpenOptions::new().write(true).open(dir.join("file")).map(drop)
    }),
    attempt("create", &[&[Wpath, Cpath]], |dir| File::create(dir.join("new")).map(drop)),
    attempt("mkdir", &[&[Cpath]], |dir| fs::create_dir(dir.join("d"))),
    attempt("unlink", &[&[Cpath]], |dir| fs::remove_file(dir.join("file"))),
    attempt("rename", &[&[Rpath, Cpath]], |dir| fs::rename(dir.join("file"), dir.join("f"))),
    attempt("link", &[&[Rpath, Cpath]], |dir| fs::hard_link(dir.join("file"), dir.join("f"))),
    attempt("chmod", &[&[Rpath, Fattr]], |dir| {
        File::open(dir.join("file"))?.set_permissions(fs::Permissions::from_mode(0o600))
    }),
    attempt("udp", &[&[Inet]], |_| UdpSocket::bind("127.0.0.1:0").map(drop)),
    attempt("tcp", &[&[Inet]], |_| TcpListener::bind("127.0.0.1:0").map(drop)),
    attempt("unix", &[&[Unix]], |_| UnixDatagram::unbound().map(drop)),
    // Trap 25: a channel has no socket options without one of these.
    attempt("read-timeout-on-a-channel", &[&[Inet], &[Unix]], |_| {
        UnixStream::pair()?.0.set_read_timeout(Some(Duration::from_secs(1)))
    }),
    attempt("run-a-program", &[], |_| Command::new("/bin/true").status().map(drop)),
    attempt("chroot", &[], |dir| std::os::unix::fs::chroot(dir)),
    attempt("signal-to-parent", &[], |_| {
        rmail::sys::spawn::kill(std::os::unix::process::parent_id().try_into().unwrap_or(2), 0)
            .map_err(io::Error::from)
    }),
    attempt("new-session", &[], |_| rmail::sys::spawn::setsid().map_err(io::Error::from)),
];

/// The rows that are confined on every platform.
fn confined() -> impl Iterator<Item = &'static Process> {
    PROCESSES.iter().filter(|p| !matches!(p.kind, Kind::Parent | Kind::Exec))
}

/// The other side: if the environment says so, becomes a row of the table,
/// tries, and never returns.
pub fn probe() {
    let Ok(what) = std::env::var(VARIABLE) else { return };
    let mut words = what.splitn(4, ' ');
    let (row, name) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
    let (visible, dir) = (words.next().unwrap_or(""), PathBuf::from(words.next().unwrap_or("")));
    let row = named(row).expect("a row");
    let attempt = TRIES.iter().find(|t| t.name == name).expect("a try");
    let unveil = Unveil { path: dir.join(visible), perms: "rwc" };
    // As every child: our panic hook, which takes no backtrace, and the zone.
    rmail::base::log::init("regress", rmail::base::log::Dest::Stderr);
    rmail::sys::time::tzset();
    enter(row.promises, &[unveil]).expect("the sandbox");
    let result = (attempt.run)(&dir);
    rmail::sys::spawn::exit_now(i32::from(result.is_err()));
}

fn run(env: &Env, row: &Process, attempt: &str, visible: &str) -> ExitStatus {
    let dir = env.dir.join(format!("{}-{attempt}", row.name));
    fs::create_dir_all(dir.join("sub")).expect("mkdir");
    fs::write(dir.join("file"), "text").expect("write");
    Command::new(std::env::current_exe().expect("this program"))
        .env_clear()
        .env(VARIABLE, format!("{} {attempt} {visible} {}", row.name, dir.display()))
        .stderr(Stdio::null())
        .status()
        .expect("this program runs")
}

fn rows(env: &Env) -> Outcome {
    let mut wrong = Vec::new();
    for row in confined() {
        for attempt in TRIES {
            let status = run(env, row, attempt.name, ".");
            let holds = |all: &&[Promise]| all.iter().all(|p| row.promises.contains(p));
            let right = match attempt.needs.iter().any(holds) {
                true => status.success(),
                false => status.signal().is_some_and(is_violation),
            };
            if !right {
                wrong.push(format!("{}: {}: {status}", row.name, attempt.name));
            }
        }
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("\n"))
    }
}

fn unveiled(env: &Env) -> Outcome {
    if let Some(why) = no_unveil() {
        return Outcome::Skipped(why);
    }
    let mut wrong = Vec::new();
    let tries = ["read", "write", "create", "unlink", "rename"];
    for row in confined() {
        for attempt in TRIES.iter().filter(|t| tries.contains(&t.name)) {
            let holds = |all: &&[Promise]| all.iter().all(|p| row.promises.contains(p));
            if !attempt.needs.iter().any(holds) {
                continue;
            }
            // Only the directory `sub` beside the file is visible.
            let status = run(env, row, attempt.name, "sub");
            if status.code() != Some(1) {
                wrong.push(format!("{}: {}: {status}", row.name, attempt.name));
            }
        }
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("\n"))
    }
}

/// Why paths cannot be hidden here, if they cannot.
#[cfg(target_os = "linux")]
fn no_unveil() -> Option<String> {
    let list = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    let known = list.is_empty() || list.contains("landlock");
    (!known).then(|| "this kernel has no Landlock".to_owned())
}

#[cfg(not(target_os = "linux"))]
fn no_unveil() -> Option<String> {
    None
}
