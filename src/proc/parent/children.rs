//! Parent's children: starting them, handing out their channels, and what
//! follows a death.
//!
//! A child that dies is started again after 0.1 s, doubling to 30 s, for ever,
//! with a CRIT line each time; its neighbours get fresh channels at once.  One
//! that lived a second, and longer than the wait before, has settled: its next
//! wait is the shortest again.  So a child that cannot live costs little, and
//! one that dies now and then is hardly missed.  Only
//! a death before a process's first `Ready` ends the start.  A store's deaths
//! count for its account alone: `store_ended` in `open.rs`.

use super::pipe::Pipe;
use super::{Phase, Supervisor};
use crate::base::log::{self, Show};
use crate::ipc::parent::{Account, Down, Ended, Target};
use crate::proc::table::{self, Kind, Process};
use crate::sys::spawn::{self, Exit};
use crate::sys::{errno::SysError, fdpass, sandbox};
use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

/// The first wait before a restart.
const BACKOFF: Duration = Duration::from_millis(100);
/// The longest.
const BACKOFF_MAX: Duration = Duration::from_secs(30);
/// A child that lived so long, and longer than the wait before, begins its
/// back-off anew: the wait is there for what dies as soon as it is started.
const SETTLED: Duration = Duration::from_secs(1);

/// A running child.
pub struct Running {
    /// Never reused.
    pub id: u64,
    /// Its row.
    pub process: &'static Process,
    /// Its process id.
    pub pid: i32,
    /// Its channel; none once it was closed.
    pub pipe: Option<Pipe>,
    /// In its sandbox and at work.
    pub ready: bool,
    /// The configuration that it has applied.
    pub generation: u64,
    /// What its platform cannot enforce, as it said.
    pub unenforced: Vec<String>,
    /// When it was started.
    pub since: Instant,
    /// A store's account.
    pub account: Option<Account>,
    /// A store's channels so far.
    pub attached: u64,
    /// Who waits for the end of this program, and its request.
    pub requester: Option<(Asker, u64)>,
    /// The asker's end of a program's channel: as long as it is open here, the
    /// program's input ends when the asker says so, and not when it dies.
    pub input: Option<OwnedFd>,
    /// When its one job must have ended: it hangs, and nobody waits for it.
    pub deadline: Option<Instant>,
    /// When it is killed if it has not gone by then.
    pub kill_at: Option<Instant>,
}

/// Who asked for a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asker {
    /// The one process of a kind that is always running.
    Kind(Kind),
    /// This child, a store.
    Child(u64),
}

/// A kind that is always running: its deaths and the next start.
pub struct Slot {
    /// Which.
    pub kind: Kind,
    /// It has been ready once.
    pub proven: bool,
    /// Deaths in a row; see [`deaths_after`].
    pub deaths: u32,
    /// When it is started again.
    pub restart_at: Option<Instant>,
}

/// SIGKILL.
pub const KILL: i32 = 9;

/// Sends a signal to a child, which may be gone already.
pub fn kill(pid: i32, signal: i32) {
    // ESRCH: it has ended, and SIGCHLD says so.
    let _ = spawn::kill(pid, signal);
}

/// How long to wait after so many deaths.
pub fn backoff(deaths: u32) -> Duration {
    let doublings = deaths.saturating_sub(1).min(16);
    BACKOFF.saturating_mul(1 << doublings).min(BACKOFF_MAX)
}

/// Deaths in a row, with one more after a life of `lived`.
pub fn deaths_after(deaths: u32, lived: Duration) -> u32 {
    let settled = match deaths {
        0 => SETTLED,
        _ => SETTLED.max(backoff(deaths)),
    };
    if lived >= settled {
        1
    } else {
        deaths.saturating_add(1)
    }
}

impl Supervisor {
    /// The running child of an always-running kind.
    pub fn child(&mut self, kind: Kind) -> Option<&mut Running> {
        self.children.iter_mut().find(|c| c.process.kind == kind && c.pipe.is_some())
    }

    /// Sends to the child of an always-running kind; dropped if it is not
    /// there, since its successor is told everything anew.
    pub fn tell(&mut self, kind: Kind, message: &Down, fd: Option<OwnedFd>) {
        if let Some(id) = self.child(kind).map(|c| c.id) {
            self.tell_id(id, message, fd);
        }
    }

    /// Sends to one child; one that does not read is ended.
    pub fn tell_id(&mut self, id: u64, message: &Down, fd: Option<OwnedFd>) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        let Some(pipe) = &mut child.pipe else { return };
        if !pipe.send(message, fd) {
            log::crit!(
                "child",
                name = child.process.name,
                pid = child.pid,
                msg = "does not read its channel: ending it"
            );
            kill(child.pid, KILL);
            child.pipe = None;
        }
    }

    /// Starts a process of this kind with its configuration.
    pub fn spawn(
        &mut self,
        process: &'static Process,
        job: Option<(Target, Option<OwnedFd>)>,
    ) -> Result<u64, SysError> {
        let (ours, theirs) = fdpass::socketpair()?;
        let mut argv = vec![self.program.clone(), c"-x".to_owned()];
        argv.extend(CString::new(process.name));
        let exec = spawn::Exec {
            path: self.program.clone(),
            argv,
            env: self.environment.clone(),
            fds: vec![(theirs, 3)],
        };
        let pid = spawn::exec_child(exec)?;
        let id = self.next_id;
        self.next_id += 1;
        let pipe = Pipe::new(ours).map_err(|e| SysError::of("fcntl", &e))?;
        let mut running = Running {
            id,
            process,
            pid,
            pipe: Some(pipe),
            ready: false,
            generation: 0,
            unenforced: Vec::new(),
            since: Instant::now(),
            account: None,
            attached: 0,
            requester: None,
            input: None,
            deadline: None,
            kill_at: None,
        };
        if let Some((Target::Store { account, .. }, _)) = &job {
            running.account = Some(account.clone());
        }
        self.children.push(running);
        let hello = Down::Hello {
            build: self.build.clone(),
            verbose: self.verbose,
            log: log::Dest::choose(self.options.foreground).as_str().into(),
            hostname: self.hostname.clone(),
            spool: self.loaded.directories().spool,
            socket: self.loaded.directories().socket,
            paused: self.paused.iter().cloned().collect(),
        };
        self.tell_id(id, &hello, None);
        let part = self.loaded.part(process.kind);
        self.tell_id(id, &Down::Config { part }, None);
        if let Some((target, fd)) = job {
            self.tell_id(id, &Down::Job { target }, fd);
        }
        Ok(id)
    }

    /// Starts an always-running kind and connects it with its neighbours.
    pub fn start(&mut self, kind: Kind) {
        let process = table::process(kind);
        if let Err(e) = self.spawn(process, None) {
            log::crit!("child", name = process.name, msg = "cannot start", error = Show(&e));
            self.died(kind, Duration::ZERO);
            return;
        }
        for (from, to) in table::edges() {
            let other = match (from == kind, to == kind) {
                (true, _) => to,
                (_, true) => from,
                _ => continue,
            };
            self.connect(kind, other);
        }
        self.hand_listeners(kind);
    }

    /// Reaps what has ended.
    pub fn reap(&mut self) {
        while let Some((pid, exit)) = spawn::waitpid_nohang() {
            if self.tried(pid, exit) {
                continue;
            }
            let Some(at) = self.children.iter().position(|c| c.pid == pid) else { continue };
            let child = self.children.swap_remove(at);
            self.ended(child, exit);
        }
    }

    fn ended(&mut self, child: Running, exit: Exit) {
        let name = child.process.name;
        let lived = child.since.elapsed();
        let expected = self.phase == Phase::Stopping || child.kill_at.is_some();
        let clean = matches!(exit, Exit::Code(0));
        if let Some((asker, request)) = child.requester {
            let ended = match exit {
                Exit::Code(code) => Ended::Code { code },
                Exit::Signal(signal) => Ended::Signal { signal },
            };
            let exited = Down::Exited { request, ended };
            match asker {
                Asker::Kind(kind) => self.tell(kind, &exited, None),
                Asker::Child(id) => self.tell_id(id, &exited, None),
            }
        }
        self.end_programs_of(&child);
        if !clean && !expected && child.process.kind != Kind::Exec {
            log::crit!(
                "child",
                name = name,
                pid = child.pid,
                lived_ms = millis(lived),
                died = words(exit).as_str()
            );
        }
        self.offline_ended(child.id, exit);
        if let Some(account) = child.account {
            self.store_ended(&account, clean || expected, lived);
        } else if child.process.always {
            if self.phase == Phase::Starting {
                self.failed_start.get_or_insert(format!("{name} did not start: {}", words(exit)));
            } else if self.phase == Phase::Running {
                self.died(child.process.kind, lived);
            }
        }
    }

    /// A process that has ended feeds no program any more.
    fn end_programs_of(&mut self, asker: &Running) {
        let (kind, id) = (asker.process.kind, asker.id);
        self.end_programs(|by, _| by == Asker::Kind(kind) || by == Asker::Child(id));
    }

    /// The asker does not feed this program any more.
    pub fn end_program(&mut self, asker: Asker, request: u64) {
        self.end_programs(|by, of| by == asker && of == request);
    }

    /// Kills programs that would take what they have of a message for all of it;
    /// they are run again.
    fn end_programs(&mut self, which: impl Fn(Asker, u64) -> bool) {
        for child in &mut self.children {
            if child.requester.is_some_and(|(by, request)| which(by, request)) {
                child.requester = None;
                child.kill_at = Some(Instant::now() + Duration::from_secs(5));
                kill(child.pid, KILL);
                // It leads a session, with all that it has started.
                let _ = spawn::kill_group(child.pid, KILL);
            }
        }
    }

    /// Plans the next start of an always-running kind.
    fn died(&mut self, kind: Kind, lived: Duration) {
        if let Some(slot) = self.slots.iter_mut().find(|s| s.kind == kind) {
            slot.deaths = deaths_after(slot.deaths, lived);
            let wait = backoff(slot.deaths);
            slot.restart_at = Some(Instant::now() + wait);
            log::warn!("child", name = table::process(kind).name, restart_ms = millis(wait));
        }
    }

    /// Starts what is due, and kills what was told to go and has not.
    pub fn timers(&mut self, now: Instant) {
        let mut due = Vec::new();
        for slot in &mut self.slots {
            if slot.restart_at.is_some_and(|at| at <= now) {
                slot.restart_at = None;
                due.push(slot.kind);
            }
        }
        for kind in due {
            if self.phase == Phase::Running {
                self.start(kind);
            }
        }
        self.mend_due(now);
        self.offline_timers(now);
        self.listeners_due(now);
        self.upgrade_timers(now);
        for child in &mut self.children {
            if child.deadline.is_some_and(|at| at <= now) {
                child.deadline = None;
                child.kill_at = Some(now);
            }
            if child.kill_at.is_some_and(|at| at <= now) {
                log::warn!(
                    "child",
                    name = child.process.name,
                    pid = child.pid,
                    msg = "did not leave in time: killed"
                );
                kill(child.pid, KILL);
                if child.process.kind == Kind::Exec {
                    // It leads a session, with all that it has started; which
                    // it may have left.
                    let _ = spawn::kill_group(child.pid, KILL);
                }
                child.kill_at = Some(now + Duration::from_secs(5));
            }
        }
    }

    /// When [`Supervisor::timers`] has something to do next.
    pub fn next_timer(&self) -> Option<Instant> {
        let slots = self.slots.iter().filter_map(|s| s.restart_at);
        let kills = self.children.iter().flat_map(|c| [c.kill_at, c.deadline]).flatten();
        let own = [
            self.next_mend(),
            self.next_admin(),
            self.next_offline(),
            self.next_listeners(),
            self.upgrade.next(),
        ];
        slots.chain(kills).chain(own.into_iter().flatten()).min()
    }

    /// A child is in its sandbox.
    pub fn became_ready(&mut self, id: u64, unenforced: Vec<String>) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        child.ready = true;
        child.generation = self.loaded.generation;
        child.unenforced = unenforced;
        let (kind, pid) = (child.process.kind, child.pid);
        if let Some(slot) = self.slots.iter_mut().find(|s| s.kind == kind) {
            if slot.proven {
                log::info!("child", name = table::process(kind).name, pid = pid, msg = "is back");
            }
            slot.proven = true;
        }
    }
}

/// How a child ended, in words.
fn words(exit: Exit) -> String {
    match exit {
        Exit::Code(code) => format!("exit code {code}"),
        Exit::Signal(signal) if sandbox::is_violation(signal) => {
            format!("signal {signal} (pledge violation? rmaild(8) says how to find the call)")
        }
        Exit::Signal(signal) => format!("signal {signal}"),
    }
}

fn millis(d: Duration) -> u64 {
    u64::try_from(d.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_from_a_tenth_of_a_second_to_thirty() {
        let ms: Vec<u128> = (1..=12).map(|d| backoff(d).as_millis()).collect();
        assert_eq!(ms, [100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000, 30000]);
    }

    #[test]
    fn a_life_longer_than_the_wait_before_it_begins_the_backoff_anew() {
        let ms = Duration::from_millis;
        // As soon as it is started, for ever.
        assert_eq!((0..5).fold(0, |deaths, _| deaths_after(deaths, ms(900))), 5);
        // A life of a second settles the short waits, not the long ones.
        assert_eq!(deaths_after(0, ms(1000)), 1);
        assert_eq!(deaths_after(4, ms(1000)), 1);
        assert_eq!(deaths_after(5, ms(1000)), 6);
        assert_eq!(deaths_after(5, ms(1600)), 1);
        assert_eq!(deaths_after(40, ms(29_999)), 41);
        assert_eq!(deaths_after(40, ms(30_000)), 1);
    }
}
