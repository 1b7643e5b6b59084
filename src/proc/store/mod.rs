//! store: one account's mailboxes: delivery, IMAP sessions, index.
//!
//! *Runs as* the account's user, one process for each account, with nothing of
//! the file system but the mail root and `.forward`.  Where an action puts mail
//! elsewhere there is no mail root: the store tells what `.forward` says, and
//! no more.  Parent attaches channels:
//! of imap for a session, of queue for deliveries; each is served by a thread
//! of its own.  Shared: [`account::Account`] (its lock order is told there),
//! `state` (which channels there are; no other lock is taken under it).
//!
//! A mail root that cannot be opened (a file system that is full or not mounted, a
//! directory of somebody else) is no reason to die, for which messages would be
//! blamed: each delivery is answered with what is wrong, and the store leaves.
//!
//! It leaves by parent's word alone: `Idle` says that nothing is going on, and
//! again after a while that it may leave, so no channel meets a store on its
//! way out.

pub mod account;
pub mod cmd;
pub mod deliver;
pub mod forward;
pub mod notify;
pub mod session;
pub mod view;

use crate::base::clock::{Deadline, Since};
use crate::base::listen::STACK;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf::ast::Config;
use crate::conf::{self, ast};
use crate::disk::maildir::{Error, Root};
use crate::ipc::call::Channel;
use crate::ipc::frame;
use crate::ipc::openings::{Openings, Slots};
use crate::ipc::parent::{Account as Who, Ended, Part, Refusal, Role, Stat, Up};
use crate::proc::start::{Events, Greeted, Job, Parent, StartError};
use crate::proc::table::Kind;
use crate::proto::imap::response::{self, Status};
use crate::proto::limits;
use crate::sys::fdpass;
use account::Account;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// How long the last store of this account may take to give up `rmail.lock`.
const PREDECESSOR: Duration = Duration::from_secs(10);

/// How long a store stays that has had no session.
const STAY_DELIVERED: Duration = Duration::from_secs(2);

/// How long a store stays after its last session.
const STAY_SESSION: Duration = Duration::from_secs(60);

/// How long running work may take when the store is told to leave.
const LEAVE: Duration = Duration::from_secs(8);

/// What all threads share.
pub struct Shared {
    /// Whose store this is.
    pub who: Who,
    /// The server's name.
    pub hostname: String,
    /// The mailboxes, if there are any.
    pub account: Option<Arc<Account>>,
    /// Why there are none though there should be.
    pub trouble: Option<Error>,
    /// The way to parent.
    pub parent: Parent,
    /// Programs that parent is starting.
    pub openings: Openings,
    /// Programs that are running.
    pub programs: Slots<Ended>,
    /// Deliveries that are being written.
    pub in_work: deliver::InWork,
    /// What the configuration says of them.
    pub options: Mutex<Options>,
    stopping: Arc<AtomicBool>,
    state: Mutex<State>,
    changed: Condvar,
}

/// What the configuration says of deliveries.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How long a program may run: `limit program-time`.
    pub program_time: Duration,
    /// What parts a user and a sub-address: `smtp sub-addr-delim`.
    pub delim: char,
}

impl Options {
    fn of(config: &Config) -> Options {
        Options {
            program_time: config.limit_time(&limits::PROGRAM_TIME),
            delim: config.sub_addr_delim(),
        }
    }
}

#[derive(Default)]
struct State {
    next: u64,
    /// A second handle of every channel in work, to end it.
    channels: HashMap<u64, UnixStream>,
    had_session: bool,
    sessions: u64,
    deliveries: u64,
    idle: Option<Since>,
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    let child = greeted.confine()?;
    let Some(Job::Account(who)) = &child.job else {
        return Err(StartError::Other("no account to work for".into()));
    };
    let who = who.clone();
    let config = conf::part(&child.part.text).map_err(StartError::Other)?;
    let hostname = config.hostname().unwrap_or(&child.hostname).to_string();
    let opened = match (&who.mail_root, child.no_mail_root.clone()) {
        (Some(_), Some(e)) => Err(Error::from(e)),
        (Some(mail_root), None) => open_root(mail_root, &hostname).map(Some),
        (None, _) => Ok(None),
    };
    let (account, trouble) = match opened {
        Ok(root) => (root.map(|r| Arc::new(Account::new(r, mailboxes(&config)))), None),
        Err(e) => {
            log::warn!("store", acct = who.name.as_str(), msg = "no mailbox", error = Show(&e));
            (None, Some(e))
        }
    };
    let shared = Arc::new(Shared {
        who,
        hostname,
        account,
        trouble,
        parent: child.parent.clone(),
        openings: Openings::default(),
        programs: Slots::default(),
        in_work: deliver::InWork::default(),
        options: Mutex::new(Options::of(&config)),
        stopping: Arc::new(AtomicBool::new(false)),
        state: Mutex::new(State { idle: Some(Since::now()), ..State::default() }),
        changed: Condvar::new(),
    });
    let idler = shared.clone();
    std::thread::Builder::new()
        .name("idle".into())
        .stack_size(STACK)
        .spawn(move || idler.watch_idleness())
        .map_err(|e| StartError::Other(format!("thread: {e}")))?;
    Ok(child.serve(&Running(shared)))
}

/// Opens the mail root; the account's last store may still be leaving it.
fn open_root(mail_root: &Path, hostname: &str) -> Result<Root, Error> {
    let begun = Since::now();
    loop {
        match Root::open(mail_root, hostname) {
            Ok(root) => return Ok(root),
            Err(Error::Locked(_)) if begun.elapsed() < PREDECESSOR => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(e),
        }
    }
}

fn mailboxes(config: &ast::Config) -> Vec<ast::Mailbox> {
    config.mailboxes().cloned().collect()
}

/// What parent's messages act on.
struct Running(Arc<Shared>);

impl Events for Running {
    fn config(&self, part: Part) -> Result<(), String> {
        let config = conf::part(&part.text)?;
        *lock::lock(&self.0.options) = Options::of(&config);
        if let Some(account) = &self.0.account {
            account.configure(mailboxes(&config));
        }
        Ok(())
    }

    fn peer(&self, _: Kind, _: Channel) {}

    fn opened(&self, request: u64, opened: Result<OwnedFd, Refusal>) {
        if !self.0.openings.complete(request, opened) {
            // Nobody feeds it any more.
            drop(self.0.parent.tell(&Up::Unfed { request }, None));
        }
    }

    fn exited(&self, request: u64, ended: Ended) {
        self.0.programs.complete(request, ended);
    }

    fn attach(&self, _: Who, role: Role, sid: u64, _: Option<Kind>, fd: Option<OwnedFd>) {
        let shared = self.0.clone();
        let Some((id, fd)) = shared.begin(role, fd) else { return };
        let worker = shared.clone();
        let started =
            std::thread::Builder::new().name("channel".into()).stack_size(STACK).spawn(move || {
                let work = std::panic::AssertUnwindSafe(|| worker.work(role, sid, fd));
                if std::panic::catch_unwind(work).is_err() {
                    log::crit!("store", sid = session::Sid(sid), msg = "a thread panicked");
                    if role == Role::Session {
                        worker.say_bye(id);
                    }
                }
                worker.end(role, id);
            });
        if let Err(e) = started {
            log::warn!("store", msg = "no thread", error = Show(&e));
            shared.end(role, id);
        }
    }

    fn stats(&self) -> Vec<Stat> {
        let state = lock::lock(&self.0.state);
        [("store.session.active", state.sessions), ("store.deliver.active", state.deliveries)]
            .map(|(name, value)| Stat { name: name.into(), value })
            .into()
    }

    fn stop(&self) {
        self.0.leave();
        crate::sys::spawn::exit_now(0);
    }
}

impl Shared {
    /// Serves one channel to its end.
    fn work(self: &Arc<Self>, role: Role, sid: u64, fd: OwnedFd) {
        match role {
            Role::Deliver => deliver::run(self, fd),
            Role::Session => match &self.account {
                Some(account) => session::run(account.clone(), fd, sid, self.stopping.clone()),
                None => {
                    log::warn!("store", sid = session::Sid(sid), msg = "a session, and no mailbox");
                }
            },
        }
    }

    /// Counts a channel in; one for which there is no descriptor is closed, which
    /// its other end takes for a store that is not there now.
    fn begin(&self, role: Role, fd: Option<OwnedFd>) -> Option<(u64, OwnedFd)> {
        let mut state = lock::lock(&self.state);
        // Counted whatever becomes of it, as parent counts.
        state.next = state.next.wrapping_add(1);
        let handle = fd.as_ref().and_then(|fd| fd.try_clone().ok());
        let Some(handle) = handle else {
            log::warn!("store", msg = "out of descriptors: a channel is closed");
            if let (Role::Deliver, Some(fd)) = (role, &fd) {
                // Not a death: the message is not to blame.  A fresh channel has
                // room for this.
                let busy = frame::frames(frame::Kind::Busy, 1, &[], false);
                let _ = fdpass::send(fd.as_fd(), &busy, &[]);
            }
            if state.idle.is_some() {
                // Parent compares counts, so it is told anew.
                state.idle = Some(Since::now());
            }
            drop(state);
            self.changed.notify_all();
            return None;
        };
        let id = state.next;
        state.channels.insert(id, UnixStream::from(handle));
        state.idle = None;
        match role {
            Role::Session => {
                state.had_session = true;
                state.sessions = state.sessions.saturating_add(1);
            }
            Role::Deliver => state.deliveries = state.deliveries.saturating_add(1),
        }
        drop(state);
        self.changed.notify_all();
        Some((id, fd?))
    }

    /// The last word to a client whose session's thread is gone; once, if there is room.
    fn say_bye(&self, id: u64) {
        let mut out = Vec::new();
        response::untagged(&mut out, Status::Bye, None, "Internal error, closing connection.");
        if let Some(channel) = lock::lock(&self.state).channels.get(&id) {
            // A client that is gone needs no word.
            let _ = fdpass::send(channel.as_fd(), &out, &[]);
        }
    }

    /// Counts a channel out.
    fn end(&self, role: Role, id: u64) {
        let mut state = lock::lock(&self.state);
        state.channels.remove(&id);
        match role {
            Role::Session => state.sessions = state.sessions.saturating_sub(1),
            Role::Deliver => state.deliveries = state.deliveries.saturating_sub(1),
        }
        if state.channels.is_empty() {
            state.idle = Some(Since::now());
        }
        drop(state);
        self.changed.notify_all();
    }

    /// Tells parent when nothing is going on, and again when it may let go.
    fn watch_idleness(&self) {
        let mut told = 0;
        // What was told is worth something until another channel comes, even one
        // that has ended before this thread looked.
        let mut seen = 0;
        let mut state = lock::lock(&self.state);
        loop {
            if state.next != seen {
                (seen, told) = (state.next, 0);
            }
            let stay = match (&self.trouble, state.had_session) {
                // The next one may find the mail root mended.
                (Some(_), _) => Duration::ZERO,
                (None, true) => STAY_SESSION,
                (None, false) => STAY_DELIVERED,
            };
            let Some(since) = state.idle else {
                state = lock::wait(&self.changed, state);
                continue;
            };
            let left = stay.saturating_sub(since.elapsed());
            let leave = left.is_zero();
            if told == 0 || (told == 1 && leave) {
                told = if leave { 2 } else { 1 };
                let attached = state.next;
                drop(state);
                // Parent gone: the main thread ends the process.
                let _ = self.parent.tell(&Up::Idle { attached, leave }, None);
                state = lock::lock(&self.state);
                continue;
            }
            state = lock::wait_for(&self.changed, state, (told < 2).then_some(left));
        }
    }

    /// Ends all channels and waits for their threads.
    fn leave(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        let until = Deadline::after(LEAVE);
        let mut state = lock::lock(&self.state);
        for channel in state.channels.values() {
            // What is being answered still goes out; one that is closed is as good.
            let _ = channel.shutdown(std::net::Shutdown::Read);
        }
        while !state.channels.is_empty() && !until.expired() {
            state = lock::wait_for(&self.changed, state, until.left());
        }
    }
}
