//! mta: outgoing SMTP and LMTP.
//!
//! In the order of a job: `job` (queue gives it; hosts are tried until the
//! recipients are settled), `policy` (what a relay action demands), `session`
//! (one connection, as the client), `transact` (one message over it), `idle`
//! (connections that wait for another).  The remote side is hostile.
//!
//! Jobs run on a bounded number of threads.  Shared state, in lock order:
//! `snapshot`, `idle`, `working`; none is held while a network or process is
//! waited for.

mod idle;
mod job;
mod policy;
mod session;
mod transact;

#[cfg(test)]
mod tests;

use crate::base::clock::Deadline;
use crate::base::listen::STACK;
use crate::base::lock;
use crate::base::log;
use crate::base::tls;
use crate::base::tls::X509;
use crate::ipc::call::{Back, Channel, NoRequests, Peer, Serve};
use crate::ipc::keyd::{self, Keyd};
use crate::ipc::mta_lookup;
use crate::ipc::openings::Openings;
use crate::ipc::parent::{Part, Refusal, Stat};
use crate::ipc::pool::Pool;
use crate::ipc::queue_mta::{Answer, Ask, Down};
use crate::ipc::wire::Wire;
use crate::proc::start::{Child, Events, Greeted, StartError};
use crate::proc::table::Kind;
use idle::Idle;
use policy::Snapshot;
use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, RwLock};

/// What the threads share.
pub struct Shared {
    hostname: String,
    snapshot: RwLock<Arc<Snapshot>>,
    lookup: Peer<mta_lookup::Ask, mta_lookup::Answer>,
    queue: Peer<Ask, Answer>,
    openings: Openings,
    idle: Mutex<Idle>,
    counts: Counts,
    turn: AtomicU64,
    /// Tells this process from its predecessor.
    life: u64,
    /// The jobs that queue gave and has no last report of.
    working: Mutex<HashSet<u64>>,
}

/// For `show stats`.
#[derive(Default)]
struct Counts {
    connections: AtomicU64,
    reused: AtomicU64,
    tls: AtomicU64,
    sent: AtomicU64,
}

impl Shared {
    fn new(hostname: String, snapshot: Snapshot, serve: Arc<dyn Serve>) -> Shared {
        Shared {
            hostname,
            snapshot: RwLock::new(Arc::new(snapshot)),
            lookup: Peer::new("lookup", Arc::new(NoRequests)),
            queue: Peer::new("queue", serve),
            openings: Openings::default(),
            idle: Mutex::default(),
            counts: Counts::default(),
            turn: AtomicU64::new(0),
            life: crate::sys::rand::u64(),
            working: Mutex::default(),
        }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock::read(&self.snapshot))
    }

    /// The deadline of a question to lookup, and of what parent opens.
    fn soon(&self) -> Deadline {
        Deadline::after(self.snapshot().limits.answer)
    }
}

/// Takes queue's jobs.
#[derive(Default)]
struct Server(OnceLock<(Arc<Shared>, Pool)>);

impl Serve for Server {
    fn request(&self, _: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        back.busy();
    }

    fn event(&self, payload: Vec<u8>, fd: Option<OwnedFd>) {
        let Some((shared, pool)) = self.0.get() else { return };
        let Ok(Down::Job { job }) = Down::from_bytes(&payload) else {
            // More privileged than we are, and broken.
            log::fatal("mta", "malformed job of queue");
        };
        lock::lock(&shared.working).insert(job.id);
        let shared = Arc::clone(shared);
        let work = move || match fd {
            Some(fd) => shared.run(*job, fd),
            None => shared.give_back(&job, "out of descriptors"),
        };
        if !pool.submit(work) {
            // More jobs than queue may ever give; it gives them anew.
            log::fatal("mta", "more jobs than there is room for");
        }
    }

    fn attached(&self) {
        let Some((shared, _)) = self.0.get() else { return };
        let shared = Arc::clone(shared);
        let thread = std::thread::Builder::new().name("hello".into()).stack_size(STACK);
        if let Err(e) = thread.spawn(move || shared.hello()) {
            // queue would give no job: the next mta may have better luck.
            log::fatal("mta", &format!("no thread to greet queue: {e}"));
        }
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    // Before the sandbox: afterwards there is no file system.
    let system = system_authorities();
    let child: Child = greeted.confine()?;
    let keyd = keyd::neighbour();
    let snapshot = Snapshot::build(&child.part, &child.hostname, &system)
        .map_err(|e| StartError::Other(format!("mta: {e}")))?;
    let jobs = snapshot.jobs;
    let server = Arc::new(Server::default());
    let hostname = child.hostname.clone();
    let shared = Arc::new(Shared::new(hostname, snapshot, Arc::clone(&server) as Arc<dyn Serve>));
    let failed = |e: std::io::Error| StartError::Other(format!("mta: {e}"));
    let pool = Pool::start("job", jobs, jobs.saturating_mul(4).max(1024)).map_err(failed)?;
    let fresh = server.0.set((Arc::clone(&shared), pool)).is_ok();
    debug_assert!(fresh, "set once");
    idle::start(&shared).map_err(failed)?;
    Ok(child.serve(&Main { shared, keyd, system }))
}

/// The system's authorities, where `ca` names no others: OpenBSD's place and
/// Debian's.  A machine without them verifies nothing.
fn system_authorities() -> Vec<X509> {
    for path in ["/etc/ssl/cert.pem", "/etc/ssl/certs/ca-certificates.crt"] {
        if let Ok(bytes) = std::fs::read(path) {
            match tls::certificates(&bytes) {
                Ok(all) => return all,
                Err(e) => log::warn!("mta", path = path, error = log::Show(&e)),
            }
        }
    }
    Vec::new()
}

/// Parent's events, on the main thread.
struct Main {
    shared: Arc<Shared>,
    keyd: Arc<Keyd>,
    system: Vec<X509>,
}

impl Events for Main {
    fn config(&self, part: Part) -> Result<(), String> {
        let snapshot = Snapshot::build(&part, &self.shared.hostname, &self.system)?;
        *lock::write(&self.shared.snapshot) = Arc::new(snapshot);
        // Connections of the old one keep what it demanded; none is reused.
        let old = std::mem::take(&mut *lock::lock(&self.shared.idle));
        drop(old);
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        let attached = match kind {
            Kind::Queue => self.shared.queue.attach(channel),
            Kind::Lookup => self.shared.lookup.attach(channel),
            Kind::Keyd => self.keyd.attach(channel),
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("mta", &e.to_string());
        }
    }

    fn opened(&self, request: u64, result: Result<OwnedFd, Refusal>) {
        self.shared.openings.complete(request, result);
    }

    fn stats(&self) -> Vec<Stat> {
        let c = &self.shared.counts;
        [
            ("mta.connections", &c.connections),
            ("mta.reused", &c.reused),
            ("mta.tls", &c.tls),
            ("mta.messages", &c.sent),
        ]
        .into_iter()
        .map(|(name, n)| Stat { name: name.into(), value: n.load(Ordering::Relaxed) })
        .collect()
    }

    fn stop(&self) {
        crate::sys::spawn::exit_now(0);
    }
}
