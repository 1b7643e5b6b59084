//! queue: spool files, schedule, bounces.
//!
//! In the order of a message's life: `intake` (smtp hands it over), `sched`
//! (what is due), `work` (the loop that gives out jobs), `local` and `remote`
//! (who does them), `settle` (what became of recipients, on disk first),
//! `bounce` (what senders are told).  `recover` is the start, `admin` is
//! rmailctl(8).
//!
//! The truth is on disk ([`crate::disk::spool`]); what is in memory is made of
//! it at each start.  Shared state, in lock order: `drafts`, `queue`, `remote`.
//! None is held while a disk, a process or a network is waited for.

mod admin;
mod bounce;
mod ended;
mod fair;
mod intake;
mod local;
mod message;
mod place;
mod recover;
mod remote;
pub mod sched;
mod settle;
mod work;

use crate::base::clock::{Deadline, Since, WallTime};
use crate::base::crypto::KEY_LEN;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf;
use crate::conf::ast::{Config, Distance, MdaLimit};
use crate::disk::spool::qid::Qid;
use crate::disk::spool::{Spool, SpoolError};
use crate::ipc::call::{Channel, NoRequests, Peer};
use crate::ipc::ctl::{Reply, Request};
use crate::ipc::openings::{Openings, Slots};
use crate::ipc::parent::{Ended, Part, Refusal, Stat, Up};
use crate::ipc::pool::Pool;
use crate::ipc::{queue_lookup, queue_mta, smtp_queue};
use crate::proc::start::{Child, Events, Greeted, Parent, StartError};
use crate::proc::table::Kind;
use crate::proto::limits;
use message::Kept;
use sched::{Class, Now, Rules, Sched, Settings};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, RwLock};
use std::time::Duration;

/// How long the queue of a daemon whose parent died may take to give up the lock.
const PREDECESSOR: Duration = Duration::from_secs(10);
/// Threads that take messages in: each may wait for a sync.
const INTAKE_THREADS: usize = 16;
/// Threads for what mta reports.
const REPORT_THREADS: usize = 8;
/// Threads for rmailctl(8).
const ADMIN_THREADS: usize = 2;
/// Threads for `rmailctl wait`.
const WAIT_THREADS: usize = 16;

/// What the threads share.
pub struct Shared {
    hostname: String,
    config: RwLock<Arc<Config>>,
    spool: Spool,
    clock: Since,
    drafts: Mutex<intake::Drafts>,
    /// A commit has ended.
    committed: Condvar,
    queue: Mutex<Queue>,
    /// Something may have become due, or the queue has changed.
    changed: Condvar,
    remote: Mutex<remote::Remote>,
    lookup: Peer<queue_lookup::Ask, queue_lookup::Answer>,
    mta: Peer<queue_mta::Down, ()>,
    parent: Parent,
    openings: Openings,
    programs: Slots<Ended>,
    counts: Counts,
}

/// Messages and their schedule; what is in one is in the other.
pub struct Queue {
    /// Every committed message that is not finished.
    messages: BTreeMap<Qid, Kept>,
    /// Those of the last that have left otherwise than delivered.
    undelivered: ended::Undelivered,
    sched: Sched,
    /// smtp has asked what became of its open commits, or has had its time.
    resumed: bool,
    /// Recovery has read everything that was there at the start.
    loaded: bool,
    /// The administrator has paused it.
    paused: HashSet<Class>,
    /// Messages of which senders are to be told something ([`Kept::untold`]).
    untold: BTreeSet<Qid>,
    /// Messages with something to be published ([`Kept::unpublished`]).
    unpublished: BTreeSet<Qid>,
    /// A thread is at work on those of these two that are overdue.
    catching_up: Option<Since>,
    /// The daemon ends: nothing more is begun, and whose process goes has not died.
    resting: bool,
    /// mta is being restarted, or has not said yet which jobs it has.
    mta_down: bool,
    /// How many channels to mta there have been: whoever finds one broken says
    /// `mta_down` of that one, not of its successor.
    mta_channels: u64,
}

/// For `show stats`.
#[derive(Default)]
struct Counts {
    accepted: AtomicU64,
    delivered: AtomicU64,
    deferred: AtomicU64,
    failed: AtomicU64,
    bounces: AtomicU64,
    quarantined: AtomicU64,
    unread: AtomicU64,
}

impl Counts {
    fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(u64::try_from(n).unwrap_or(0), Ordering::Relaxed);
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    let child: Child = greeted.confine()?;
    let config = conf::part(&child.part.text).map_err(StartError::Other)?;
    let key = config.queue_key().map(conf::ast::QueueKey::octets);
    let spool = open_spool(&child.spool, key)?;
    let hostname = config.hostname().unwrap_or(&child.hostname).to_owned();
    let sched = Sched::new(settings(&config));
    let mta_server = Arc::new(remote::Server::default());
    let shared = Arc::new(Shared {
        hostname,
        config: RwLock::new(Arc::new(config)),
        spool,
        clock: Since::now(),
        drafts: Mutex::default(),
        committed: Condvar::new(),
        queue: Mutex::new(Queue {
            messages: BTreeMap::new(),
            undelivered: ended::Undelivered::default(),
            sched,
            resumed: false,
            loaded: false,
            paused: child.paused.iter().filter_map(|what| admin::class(what)).collect(),
            untold: BTreeSet::new(),
            unpublished: BTreeSet::new(),
            catching_up: None,
            resting: false,
            mta_down: true,
            mta_channels: 0,
        }),
        changed: Condvar::new(),
        remote: Mutex::default(),
        lookup: Peer::new("lookup", Arc::new(NoRequests)),
        mta: Peer::new("mta", Arc::clone(&mta_server) as Arc<dyn crate::ipc::call::Serve>),
        parent: child.parent.clone(),
        openings: Openings::default(),
        programs: Slots::default(),
        counts: Counts::default(),
    });
    let start = |name, threads, waiting| {
        Pool::start(name, threads, waiting).map_err(|e| StartError::Other(format!("{name}: {e}")))
    };
    mta_server.serve(&shared, start("report", REPORT_THREADS, 1024)?);
    let intake = intake::Server::new(&shared, start("intake", INTAKE_THREADS, 4096)?);
    let admin = admin::Server::new(
        &shared,
        start("admin", ADMIN_THREADS, 64)?,
        start("wait", WAIT_THREADS, 0)?,
    );
    recover::start(&shared).map_err(|e| StartError::Other(format!("queue: {e}")))?;
    work::start(&shared).map_err(|e| StartError::Other(format!("queue: {e}")))?;
    let main = Main {
        smtp: Peer::new("smtp", Arc::new(intake)),
        control: Peer::new("control", Arc::new(admin)),
        shared,
    };
    Ok(child.serve(&main))
}

/// Opens the spool; the queue of a daemon that was killed may still be leaving it.
fn open_spool(dir: &Path, key: Option<[u8; KEY_LEN]>) -> Result<Spool, StartError> {
    let begun = Since::now();
    loop {
        match Spool::open(dir, key) {
            Ok(spool) => return Ok(spool),
            Err(SpoolError::Locked(_)) if begun.elapsed() < PREDECESSOR => {
                std::thread::sleep(Duration::from_millis(20));
            }
            Err(e) => return Err(StartError::Other(format!("queue: {e}"))),
        }
    }
}

/// Parent's events, on the main thread.
struct Main {
    smtp: Peer<(), smtp_queue::Answer>,
    control: Peer<Request, Reply>,
    shared: Arc<Shared>,
}

impl Events for Main {
    fn config(&self, part: Part) -> Result<(), String> {
        let config = conf::part(&part.text)?;
        let settings = settings(&config);
        let config = Arc::new(config);
        *lock::write(&self.shared.config) = Arc::clone(&config);
        let now = self.shared.now();
        self.shared.queue().configure(&config, settings, now);
        self.shared.changed.notify_all();
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        let attached = match kind {
            Kind::Smtp => self.smtp.attach(channel),
            Kind::Control => self.control.attach(channel),
            Kind::Lookup => self.shared.lookup.attach(channel),
            Kind::Mta => self.shared.mta.attach(channel),
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("queue", &e.to_string());
        }
    }

    fn opened(&self, request: u64, result: Result<OwnedFd, Refusal>) {
        if !self.shared.openings.complete(request, result) {
            self.shared.unfed(request);
        }
    }

    fn exited(&self, request: u64, ended: Ended) {
        self.shared.programs.complete(request, ended);
    }

    fn stats(&self) -> Vec<Stat> {
        let queue = self.shared.queue();
        let (messages, rcpts) = (queue.messages.len(), queue.sched.len());
        let jobs = (queue.sched.jobs(Class::Local), queue.sched.jobs(Class::Remote));
        drop(queue);
        let c = &self.shared.counts;
        let count = |n: usize| u64::try_from(n).unwrap_or(u64::MAX);
        [
            ("queue.messages", count(messages)),
            ("queue.recipients", count(rcpts)),
            ("queue.jobs.local", count(jobs.0)),
            ("queue.jobs.remote", count(jobs.1)),
            ("queue.accepted", c.accepted.load(Ordering::Relaxed)),
            ("queue.delivered", c.delivered.load(Ordering::Relaxed)),
            ("queue.deferred", c.deferred.load(Ordering::Relaxed)),
            ("queue.failed", c.failed.load(Ordering::Relaxed)),
            ("queue.bounces", c.bounces.load(Ordering::Relaxed)),
            ("queue.quarantined", c.quarantined.load(Ordering::Relaxed)),
            ("queue.unread", c.unread.load(Ordering::Relaxed)),
        ]
        .into_iter()
        .map(|(name, value)| Stat { name: name.into(), value })
        .collect()
    }

    fn rest(&self) {
        self.shared.queue().resting = true;
    }

    fn stop(&self) {
        // The disk is the truth; what is in work is tried again, marked so.
        crate::sys::spawn::exit_now(0);
    }
}

/// Around a change that must not stay half done in memory: a panic within it ends
/// the process, and the next one reads from the disk what is true.
struct Whole {
    /// Within the unwinding of a panic that began outside.
    unwinding: bool,
}

impl Whole {
    fn begin() -> Whole {
        Whole { unwinding: std::thread::panicking() }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.unwinding {
            log::fatal("queue", "a change was cut short by an internal error: starting anew");
        }
    }
}

impl Shared {
    /// A program does not get its message, or not all of it: it must not take what
    /// it has for the whole.
    fn unfed(&self, request: u64) {
        if let Err(e) = self.parent.tell(&Up::Unfed { request }, None) {
            log::warn!("local", msg = "parent", error = Show(&e));
        }
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        lock::lock(&self.queue)
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&lock::read(&self.config))
    }

    /// The present, for the schedule.
    fn now(&self) -> Now {
        let wall = WallTime::now();
        let wall = wall.secs.saturating_mul(1000).saturating_add(i64::from(wall.nanos / 1_000_000));
        let mono = i64::try_from(self.clock.elapsed().as_millis()).unwrap_or(i64::MAX);
        Now { wall, mono }
    }

    /// Logs what only an operator can mend.
    fn trouble(&self, what: &'static str, qid: Qid, error: &dyn std::fmt::Display) {
        log::crit!(what, qid = Show(&qid), error = Show(&error.to_string()));
    }

    /// The deadline of a question to lookup, and of what parent opens.
    fn soon(&self) -> Deadline {
        Deadline::after(self.config().limit_time(&limits::ANSWER_TIME))
    }
}

fn settings(config: &Config) -> Settings {
    let count = |n: u64| usize::try_from(n).unwrap_or(usize::MAX);
    let mda = |which| count(u64::from(config.mda_limit(which)));
    Settings {
        local: Rules {
            base: config.retry_base(Distance::Local),
            jobs: mda(MdaLimit::MaxSession),
            jobs_per_dest: mda(MdaLimit::MaxSessionPerUser),
            rcpts: 1,
        },
        remote: Rules {
            base: config.retry_base(Distance::Remote),
            jobs: count(config.limit(&limits::MTA_JOBS)),
            jobs_per_dest: count(config.limit(&limits::MTA_JOBS_PER_DESTINATION)),
            rcpts: count(config.limit(&limits::MTA_RCPTS)),
        },
        max_deferred: count(u64::from(config.max_deferred())),
    }
}
