//! exec: the last step before a foreign program.
//!
//! Not confined: it becomes the program of its job, in a session of its own,
//! with the ids and environment that the job says, descriptors 0, 1
//! and 2 on the job's channel and none above.  Parent cannot do this itself:
//! its forked copy may not change root or leave its pledge.

use crate::ipc::parent::{Program, Target};
use crate::proc::start::{Greeted, Job, StartError};
use crate::sys::{self, spawn};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::ExitCode;

/// Becomes the program; returns only with what went wrong.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    let Some(Job::Target(Target::Program { program }, channel)) = greeted.into_job() else {
        return Err(StartError::Other("no program to run".into()));
    };
    become_program(program, channel)
}

fn become_program(program: Program, channel: OwnedFd) -> Result<ExitCode, StartError> {
    let strings = |all: Vec<Vec<u8>>| -> Result<Vec<CString>, StartError> {
        let nul = |_| StartError::Other("NUL in the program's arguments".into());
        all.into_iter().map(|a| CString::new(a).map_err(nul)).collect()
    };
    let argv = strings(program.argv)?;
    let env = strings(program.env)?;
    let Some(path) = argv.first().cloned() else {
        return Err(StartError::Other("an empty command".into()));
    };
    spawn::setsid()?;
    if sys::user::is_root() {
        let user = sys::user::User::by_uid(program.uid)?;
        let groups = match user {
            Some(user) => user.groups()?,
            None => vec![program.gid],
        };
        sys::user::become_user(program.uid, program.gid, &groups)?;
    }
    // A home that is not there is no reason to lose mail: the program decides.
    if sys::user::chdir(&program.home).is_err() {
        sys::user::chdir(std::path::Path::new("/"))?;
    }
    sys::user::umask(0o077);
    sys::limits::lower()?;
    let dup = |fd: &OwnedFd| fd.try_clone().map_err(|e| sys::errno::SysError::of("dup", &e));
    let fds = vec![(dup(&channel)?, 0), (dup(&channel)?, 1), (dup(&channel)?, 2)];
    // The program reads and writes as any other: blocking.
    sys::poll::set_nonblocking(std::os::fd::AsFd::as_fd(&channel), false)
        .map_err(|e| sys::errno::SysError::of("fcntl", &e))?;
    drop(channel);
    let e = spawn::exec_now(spawn::Exec { path, argv, env, fds });
    // Descriptor 2 is the channel now, and the log is closed: whoever waits for
    // the program has this as its output, with the status that sh(1) has for it.
    let _ = writeln!(std::io::stderr(), "{e}");
    spawn::exit_now(if e.is_missing() { 127 } else { 126 });
}
