//! Opening stores, mailboxes, programs and sockets: at lookup's word alone.
//!
//! lookup says what to open and for whom; parent starts or finds the process,
//! gives one end of a socketpair to it and the other to the asker under the
//! asker's own request id.  Whatever the configuration does not lead to is
//! refused ([`super::grants`]).

use super::children::Asker;
use super::{Phase, Supervisor};
use crate::base::log;
use crate::conf::ast::MdaLimit;
use crate::ipc::parent::{Account, Down, Program, Refusal, Role, Target};
use crate::proc::start::program_id;
use crate::proc::table::{self, Kind};
use crate::proto::limits;
use crate::sys::fdpass;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// How long a program has beyond the time that its asker waits.
const PROGRAM_GRACE: Duration = Duration::from_secs(1);

/// How long a process for one job has beyond the time that queue waits for it:
/// to start, and for two locks of half a minute.
const JOB_GRACE: Duration = Duration::from_secs(90);

/// The key of an account everywhere.
pub type AccountKey = (u32, PathBuf);

/// The deaths of an account's store.
pub struct StoreDeaths {
    deaths: u32,
    not_before: Instant,
}

fn key(account: &Account) -> AccountKey {
    let forward = || account.home.join(".forward");
    (account.uid, account.mail_root.clone().unwrap_or_else(forward))
}

fn failed(e: impl std::fmt::Display) -> Refusal {
    Refusal::Failed { why: e.to_string() }
}

impl Supervisor {
    /// Opens `target` for the process of kind `asker` under its `request`.
    pub fn open(&mut self, target: Target, asker: Kind, request: u64, sid: u64) {
        let opened = self.may_open(&target, asker).and_then(|()| match target {
            // What is begun while others end would have the stop wait for it.
            _ if self.phase == Phase::Stopping => Err(Refusal::Busy),
            Target::Store { account, role } => self.open_store(account, role, asker, sid),
            Target::Program { program } => self.open_program(program, Asker::Kind(asker), request),
            Target::Mbox { .. } => self.open_job(Kind::Mbox, target),
            Target::Socket { path } => connect(&path),
        });
        let (result, fd) = match opened {
            Ok(fd) => (Ok(()), Some(fd)),
            Err(why) => (Err(why), None),
        };
        self.tell(asker, &Down::Opened { request, result }, fd);
    }

    fn open_store(
        &mut self,
        account: Account,
        role: Role,
        asker: Kind,
        sid: u64,
    ) -> Result<OwnedFd, Refusal> {
        let found = self.children.iter().find(|c| {
            c.pipe.is_some()
                && c.kill_at.is_none()
                && c.account.as_ref().map(key) == Some(key(&account))
        });
        let id = match found {
            Some(store) => store.id,
            None => self.start_store(&account, role)?,
        };
        self.idle_stores.retain(|i| *i != id);
        if let Some(store) = self.children.iter_mut().find(|c| c.id == id) {
            store.attached = store.attached.wrapping_add(1);
        }
        let (ours, theirs) = fdpass::socketpair().map_err(failed)?;
        let attach = Down::Attach { account, role, sid, peer: asker as u8 };
        self.tell_id(id, &attach, Some(theirs));
        Ok(ours)
    }

    /// Starts a process for a job.  One of another build would leave at once, and
    /// that would count as a death of the message that it was for.
    pub fn begin(&mut self, kind: Kind, job: (Target, Option<OwnedFd>)) -> Result<u64, Refusal> {
        if program_id(&self.program) != self.build {
            self.other_build();
            return Err(Refusal::Busy);
        }
        self.spawn(table::process(kind), Some(job)).map_err(failed)
    }

    /// Starts the store of an account if the limits allow it.
    fn start_store(&mut self, account: &Account, role: Role) -> Result<u64, Refusal> {
        if self.store_deaths.get(&key(account)).is_some_and(|d| d.not_before > Instant::now()) {
            return Err(Refusal::Busy);
        }
        let running = self.children.iter().filter(|c| c.account.is_some()).count();
        let most = self.loaded.config.limit(&limits::STORE_PROCESSES);
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        // A quarter of the slots is kept for logins.
        let slots = match role {
            Role::Session => most,
            Role::Deliver => most.saturating_mul(3) / 4,
        };
        if running >= slots.max(1) {
            self.shed_idle_store();
            return Err(Refusal::Busy);
        }
        let job = Target::Store { account: account.clone(), role };
        self.begin(Kind::Store, (job, None))
    }

    /// Ends the longest idle store, so that a slot is free at the next try.
    fn shed_idle_store(&mut self) {
        let oldest = self.idle_stores.first().copied();
        if let Some(id) = oldest {
            self.idle_stores.retain(|i| *i != id);
            self.let_go(id, Duration::from_secs(10));
        }
    }

    /// Tells a child to leave, and kills it if it has not within `grace`.
    pub fn let_go(&mut self, id: u64, grace: Duration) {
        self.tell_id(id, &Down::Stop, None);
        if let Some(child) = self.children.iter_mut().find(|c| c.id == id) {
            child.kill_at = Some(Instant::now() + grace);
        }
    }

    /// Whether the configuration leads there, and for this asker.
    fn may_open(&self, target: &Target, asker: Kind) -> Result<(), Refusal> {
        let grants = &self.loaded.grants;
        let (name, may) = match (target, asker) {
            (Target::Store { account, role: Role::Deliver }, Kind::Queue)
            | (Target::Store { account, role: Role::Session }, Kind::Imap) => {
                ("store", grants.store(account))
            }
            (Target::Mbox { user, uid, gid, path }, Kind::Queue) => {
                ("mbox", grants.mbox(user, *uid, *gid, path))
            }
            (Target::Program { program }, Kind::Queue) => ("exec", grants.program(program)),
            (Target::Socket { path }, Kind::Mta) => ("socket", grants.socket(path)),
            _ => ("open", Err(format!("not for {}", table::process(asker).name))),
        };
        may.map_err(|why| {
            log::warn!(name, msg = "refused", why = why.as_str());
            Refusal::Forbidden { why }
        })
    }

    /// A process that lives for one job.
    fn open_job(&mut self, kind: Kind, target: Target) -> Result<OwnedFd, Refusal> {
        let (ours, theirs) = fdpass::socketpair().map_err(failed)?;
        let id = self.begin(kind, (target, Some(theirs)))?;
        let time = self.loaded.config.limit_time(&limits::DELIVERY_TIME);
        if let Some(child) = self.children.iter_mut().find(|c| c.id == id) {
            // queue has given up by then and asks for the next, which would
            // wait at the same disk or lock.
            child.deadline = Some(Instant::now() + time + JOB_GRACE);
        }
        Ok(ours)
    }

    fn open_program(
        &mut self,
        program: Program,
        asker: Asker,
        request: u64,
    ) -> Result<OwnedFd, Refusal> {
        // Who asked may have ended since: nobody would feed it, or end it.
        if matches!(asker, Asker::Kind(kind) if self.child(kind).is_none()) {
            return Err(Refusal::Busy);
        }
        let (ours, theirs) = fdpass::socketpair().map_err(failed)?;
        let input = ours.try_clone().map_err(failed)?;
        let id = self.begin(Kind::Exec, (Target::Program { program }, Some(theirs)))?;
        let time = self.loaded.config.limit_time(&limits::PROGRAM_TIME);
        if let Some(child) = self.children.iter_mut().find(|c| c.id == id) {
            child.requester = Some((asker, request));
            child.input = Some(input);
            // Whoever waits for it has given up by then, and has it run again
            // later: two at a time, then three, would be the machine's end.
            child.kill_at = Some(Instant::now() + time + PROGRAM_GRACE);
        }
        Ok(ours)
    }

    /// A store wants a program run for its own account: `.forward`.
    pub fn run_for_store(&mut self, store: u64, program: Program, request: u64) {
        let account = self.children.iter().find(|c| c.id == store).and_then(|c| c.account.clone());
        let own = account.is_some_and(|a| {
            a.system && a.uid == program.uid && a.gid == program.gid && a.home == program.home
        });
        // Each of its deliveries runs one at a time; a store that was broken into
        // would have as many as the machine has room for.
        let asker = Asker::Child(store);
        let running = self.children.iter().filter(|c| c.requester.is_some_and(|r| r.0 == asker));
        let most = self.loaded.config.mda_limit(MdaLimit::MaxSessionPerUser);
        let opened = if !own {
            Err(Refusal::Forbidden { why: "a store runs programs for its own account only".into() })
        } else if running.count() >= usize::try_from(most).unwrap_or(usize::MAX) {
            Err(Refusal::Busy)
        } else {
            self.open_program(program, asker, request)
        };
        let (result, fd) = match opened {
            Ok(fd) => (Ok(()), Some(fd)),
            Err(why) => (Err(why), None),
        };
        self.tell_id(store, &Down::Opened { request, result }, fd);
    }

    /// A store has nothing to do: it is ended when slots are short, or at once if it says that it
    /// may leave.  Not if it was given another channel meanwhile.
    pub fn store_idle(&mut self, id: u64, attached: u64, leave: bool) {
        self.idle_stores.retain(|i| *i != id);
        if !self.children.iter().any(|c| c.id == id && c.attached == attached) {
            return;
        }
        if leave {
            self.let_go(id, Duration::from_secs(10));
        } else {
            self.idle_stores.push(id);
        }
    }

    /// A store has ended; its next start waits if it died.
    pub fn store_ended(&mut self, account: &Account, clean: bool, lived: Duration) {
        let key = key(account);
        if clean {
            self.store_deaths.remove(&key);
            return;
        }
        let state = self
            .store_deaths
            .entry(key)
            .or_insert_with(|| StoreDeaths { deaths: 0, not_before: Instant::now() });
        state.deaths = super::children::deaths_after(state.deaths, lived);
        state.not_before = Instant::now() + super::children::backoff(state.deaths);
    }
}

/// Connects to a unix-domain socket for a process that may not.
fn connect(path: &Path) -> Result<OwnedFd, Refusal> {
    crate::sys::net::connect_unix(path).map_err(failed)
}
