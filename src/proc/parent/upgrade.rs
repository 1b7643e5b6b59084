//! `make install` while the daemon runs: the new program takes its place.
//!
//! A child that is started is another build then, and says so.  The program on
//! disk is first asked whether it would run, `rmaild -n`; then running work ends
//! as at a stop, and it is executed in this one's place, with the arguments and
//! in the directory of the first.  One that refuses leaves this daemon as it is:
//! without new children, but mail is taken and the rest can be mended.

use super::admin::PAUSABLE;
use super::{Options, Phase, Supervisor};
use crate::base::log::{self, Show};
use crate::proc::start::program_id;
use crate::sys;
use crate::sys::spawn::{self, Exit, Pid};
use std::collections::BTreeSet;
use std::ffi::{CString, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

/// Where make install puts the program.
const INSTALLED: &str = match option_env!("RMAILD") {
    Some(path) => path,
    None => "/usr/local/sbin/rmaild",
};

/// How long the program on disk may take to say that it would run.
const TRIAL: Duration = Duration::from_secs(60);
/// After a refusal, how soon it is asked anew.
const PAUSE: Duration = Duration::from_secs(5);

/// The variable that tells the next program what is paused.
const PAUSED: &str = "RMAILD_PAUSED";

/// What was paused in the program that this one took the place of.
pub fn paused_before() -> BTreeSet<String> {
    let words = std::env::var(PAUSED).unwrap_or_default();
    words.split(',').filter(|w| PAUSABLE.contains(w)).map(str::to_owned).collect()
}

/// How the program on disk is executed in place of this one.
pub struct Again {
    program: CString,
    /// As the command line had them.
    arguments: Vec<OsString>,
    /// Where it was started: the arguments may be relative to it.
    directory: PathBuf,
}

/// What has come of another build.
pub struct Upgrade {
    again: Again,
    /// The one that is asked, and until when.
    trial: Option<(Pid, Instant)>,
    /// No other trial before.
    not_before: Option<Instant>,
    agreed: bool,
}

impl Upgrade {
    /// There is none yet.
    pub fn new(program: CString, arguments: Vec<OsString>, directory: PathBuf) -> Upgrade {
        let again = Again { program, arguments, directory };
        Upgrade { again, trial: None, not_before: None, agreed: false }
    }

    /// What is executed now that everything has ended; `None`: it was a stop.
    pub fn agreed(self) -> Option<Again> {
        self.agreed.then_some(self.again)
    }

    /// When [`Supervisor::upgrade_timers`] has something to do next.
    pub fn next(&self) -> Option<Instant> {
        self.trial.map(|(_, until)| until)
    }
}

impl Supervisor {
    /// A child found the program on disk to be another build.
    pub fn other_build(&mut self) {
        let now = Instant::now();
        let upgrade = &mut self.upgrade;
        let soon = upgrade.not_before.is_some_and(|at| now < at);
        if self.phase != Phase::Running || upgrade.trial.is_some() || soon {
            return;
        }
        let exec = trial(&upgrade.again.program, &self.options, self.environment.clone());
        match spawn::exec_child(exec) {
            Ok(pid) => upgrade.trial = Some((pid, now + TRIAL)),
            Err(e) => self.would_not_run(&e.to_string()),
        }
    }

    /// True if this was the program that was asked.
    pub fn tried(&mut self, pid: Pid, exit: Exit) -> bool {
        if !matches!(self.upgrade.trial, Some((trial, _)) if trial == pid) {
            return false;
        }
        self.upgrade.trial = None;
        match exit {
            // Told to stop meanwhile.
            _ if self.phase != Phase::Running => {}
            // The old one is back in its place.
            _ if program_id(&self.program) == self.build => {}
            Exit::Code(0) => {
                log::info!(
                    "rmaild",
                    msg = "the program on disk is another build: it is started when work has ended"
                );
                self.upgrade.agreed = true;
                self.stop();
            }
            Exit::Code(code) => self.would_not_run(&format!("it exited with {code}")),
            Exit::Signal(signal) => self.would_not_run(&format!("it died of signal {signal}")),
        }
        true
    }

    fn would_not_run(&mut self, why: &str) {
        self.upgrade.not_before = Some(Instant::now() + PAUSE);
        log::crit!(
            "rmaild",
            msg = "the program on disk is another build and would not run: see rmaild -n; until \
                   it would, no process is started and no mail delivered",
            error = why
        );
    }

    /// The daemon stops: nothing comes of a trial.
    pub fn end_trial(&mut self) {
        if let Some((pid, _)) = self.upgrade.trial {
            super::kill(pid, super::KILL);
        }
    }

    /// Ends a trial that does not end.
    pub fn upgrade_timers(&mut self, now: Instant) {
        if let Some((pid, until)) = &mut self.upgrade.trial {
            if *until <= now {
                super::kill(*pid, super::KILL);
                *until = now + TRIAL;
            }
        }
    }
}

/// `rmaild -n` of the program on disk, with what decides about the configuration.
fn trial(program: &CString, options: &Options, env: Vec<CString>) -> spawn::Exec {
    let mut argv = vec![program.clone(), c"-n".to_owned(), c"-f".to_owned()];
    argv.extend(CString::new(options.config.as_os_str().as_bytes()));
    for (name, value) in &options.macros {
        argv.push(c"-D".to_owned());
        argv.extend(CString::new(format!("{name}={value}")));
    }
    spawn::Exec { path: program.clone(), argv, env, fds: Vec::new() }
}

impl Again {
    /// Executes the program on disk in place of this one.
    pub fn execute(self, mut env: Vec<CString>, paused: &BTreeSet<String>) -> ExitCode {
        // Its name is its path, whatever it was found by: what was looked for in
        // PATH would not be found in that of the new environment.
        let Again { program: path, arguments, directory } = self;
        let mut argv = vec![path.clone()];
        argv.extend(arguments.into_iter().filter_map(|a| CString::new(a.into_vec()).ok()));
        if let Err(e) = sys::user::chdir(&directory) {
            log::warn!("rmaild", error = Show(&e));
        }
        // The administrator's pause ends with his word, or with the daemon.
        let paused: Vec<&str> = paused.iter().map(String::as_str).collect();
        env.extend(CString::new(format!("{PAUSED}={}", paused.join(","))));
        // Whoever watches it still does: systemd.exec(5), sd_notify(3).
        for name in ["JOURNAL_STREAM", "NOTIFY_SOCKET"] {
            if let Ok(value) = std::env::var(name) {
                env.extend(CString::new(format!("{name}={value}")));
            }
        }
        let exec = spawn::Exec { path, argv, env, fds: Vec::new() };
        log::crit!("rmaild", error = Show(&spawn::exec_now(exec)));
        ExitCode::FAILURE
    }
}

/// The program's absolute path: what is executed for each child.  A name
/// without a slash came through PATH, where it is looked for again; not found
/// there, it is the installed program.
pub fn program_path() -> Result<CString, String> {
    let arg0 = std::env::args_os().next().unwrap_or_default();
    let path = if arg0.as_bytes().contains(&b'/') {
        std::path::absolute(&arg0).map_err(|e| format!("{}: {e}", Path::new(&arg0).display()))?
    } else {
        let path = std::env::var_os("PATH").unwrap_or_default();
        let named = std::env::split_paths(&path).map(|dir| dir.join(&arg0));
        let found = named.filter(|p| p.is_absolute()).find(|p| is_executable(p));
        found.unwrap_or_else(|| PathBuf::from(INSTALLED))
    };
    if !is_executable(&path) {
        let path = path.display();
        return Err(format!(
            "{path}: no program: start rmaild by the path that it is installed in"
        ));
    }
    CString::new(path.as_os_str().as_bytes()).map_err(|_| "NUL in the program's path".into())
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
}
