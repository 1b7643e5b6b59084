//! imap: TLS and login for IMAP, then a relay to the account's store.
//!
//! Strangers speak to it, so it owns no file, no key and no mailbox: [`login`] is
//! the dialogue up to the password, [`relay`] carries bytes afterwards, [`config`]
//! is what the configuration means here.  Shared state is in [`Shared`]; its locks
//! are taken one at a time.

pub mod config;
pub mod login;
pub mod relay;

use crate::base::listen::{Accepted, Caps, Gate, Listeners, Refused, Serve};
use crate::base::lock::lock;
use crate::base::log;
use crate::base::logins::Logins;
use crate::base::stream::Stream;
use crate::ipc::call::{Channel, NoRequests, Peer};
use crate::ipc::imap_lookup::{Answer, Ask};
use crate::ipc::keyd::{self, Keyd};
use crate::ipc::openings::Openings;
use crate::ipc::parent::{Listener as Socket, Part, Refusal, Stat};
use crate::proc::listening::{self, Sockets};
use crate::proc::start::{Events, Greeted, StartError};
use crate::proc::table::Kind;
use crate::proto::imap::response::{self, Code, Status};
use crate::sys::errno::SysError;
use crate::sys::net;
use config::{Listener, Snapshot};
use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A second handle of what a connection waits for, and the direction whose end
/// makes it leave.
struct Wake(OwnedFd, Shutdown);

impl Wake {
    fn ring(&self) {
        // One that has just closed needs no waking.
        let _ = net::shutdown(self.0.as_fd(), self.1);
    }
}

/// What all threads share.
pub struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    lookup: Peer<Ask, Answer>,
    openings: Openings,
    logins: Logins,
    gate: Arc<Gate>,
    listeners: Listeners<Arc<Listener>>,
    sockets: Sockets<Listener>,
    hostname: String,
    /// What wakes each connection when the process stops.
    wakes: Mutex<HashMap<u64, Wake>>,
    stopping: AtomicBool,
    connections: AtomicU64,
    sessions: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    /// A process without peers yet.
    pub fn new(snapshot: Snapshot, hostname: String) -> Result<Arc<Shared>, SysError> {
        Ok(Arc::new(Shared {
            gate: Gate::new(caps(&snapshot)),
            snapshot: Mutex::new(Arc::new(snapshot)),
            lookup: Peer::new("lookup", Arc::new(NoRequests)),
            openings: Openings::default(),
            logins: Logins::default(),
            listeners: Listeners::new()?,
            sockets: Sockets::default(),
            hostname,
            wakes: Mutex::new(HashMap::new()),
            stopping: AtomicBool::new(false),
            connections: AtomicU64::new(0),
            sessions: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// True once no session is to go on.
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Says what ends a connection's wait: the end of the client's input before
    /// login, and of the store's after it, for the store then ends what it is
    /// saying and closes.
    fn wake_by(&self, sid: u64, fd: BorrowedFd<'_>, how: Shutdown) {
        let Ok(fd) = fd.try_clone_to_owned() else { return };
        let wake = Wake(fd, how);
        if self.is_stopping() {
            wake.ring();
        }
        lock(&self.wakes).insert(sid, wake);
    }

    /// The connection is over.
    fn forget(&self, sid: u64) {
        lock(&self.wakes).remove(&sid);
    }

    fn logged_in(&self) {
        self.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection, in its own thread.
    fn serve(&self, accepted: Accepted<Arc<Listener>>) {
        let Accepted { fd, peer, listener: options, slot } = accepted;
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |p| p.ip().to_canonical());
        let limits = lock(&self.snapshot).limits;
        self.connections.fetch_add(1, Ordering::Relaxed);
        match Stream::new(fd) {
            Ok(stream) => login::Session::new(self, options, limits, stream, peer, slot).serve(),
            Err(e) => log::info!("imap", client = peer, error = e),
        }
    }

    /// Says BYE, at once or not at all.
    fn refuse(&self, fd: OwnedFd, peer: Option<SocketAddr>, why: Refused) {
        use std::io::Write;
        self.refused.fetch_add(1, Ordering::Relaxed);
        log::info!("imap", refused = peer.map(|p| p.ip()), msg = why.as_str());
        let mut text = Vec::new();
        let code = Some(Code::Unavailable);
        response::untagged(&mut text, Status::Bye, code, "Too many connections, try again later.");
        // A client that cannot be told sees the close; one that waits for TLS
        // would not understand it anyway.
        let _ = std::fs::File::from(fd).write(&text);
    }

    /// Listens on what parent gave.
    fn relisten(&self) {
        self.listeners.replace(self.sockets.all());
    }

    /// The accept loop; one thread.
    fn accept(self: &Arc<Self>) {
        let (this, refuser) = (Arc::clone(self), Arc::clone(self));
        let serve: Serve<Arc<Listener>> = Arc::new(move |accepted| this.serve(accepted));
        let ended = self.listeners.run(&self.gate, "session", &serve, &move |fd, peer, _, why| {
            refuser.refuse(fd, peer, why);
        });
        if let Err(e) = ended {
            log::fatal_sys("imap", &e);
        }
    }
}

fn caps(snapshot: &Snapshot) -> Caps {
    listening::caps(snapshot.limits.connections, snapshot.limits.per_peer)
}

/// Parent's events, on the main thread.
struct Main {
    shared: Arc<Shared>,
    keyd: Arc<Keyd>,
}

impl Events for Main {
    fn config(&self, part: Part) -> Result<(), String> {
        let snapshot = Snapshot::build(&part, &self.shared.hostname)?;
        self.shared.gate.set_caps(caps(&snapshot));
        *lock(&self.shared.snapshot) = Arc::new(snapshot);
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        let attached = match kind {
            Kind::Lookup => self.shared.lookup.attach(channel),
            Kind::Keyd => self.keyd.attach(channel),
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("imap", &e.to_string());
        }
    }

    fn listeners(&self, all: Vec<Socket>) {
        let snapshot = Arc::clone(&lock(&self.shared.snapshot));
        self.shared.sockets.keep(&all, |number| snapshot.listener(number));
        self.shared.relisten();
    }

    fn listen(&self, socket: Socket, fd: OwnedFd) {
        let Some(options) = lock(&self.shared.snapshot).listener(socket.index) else { return };
        self.shared.sockets.add(socket, fd, options);
        self.shared.relisten();
    }

    fn opened(&self, request: u64, result: Result<OwnedFd, Refusal>) {
        self.shared.openings.complete(request, result);
    }

    fn stats(&self) -> Vec<Stat> {
        let stat = |name: &str, value| Stat { name: name.into(), value };
        let s = &self.shared;
        vec![
            stat("imap.connections", s.connections.load(Ordering::Relaxed)),
            stat("imap.connections.active", u64::try_from(s.gate.in_use()).unwrap_or(u64::MAX)),
            stat("imap.logins", s.sessions.load(Ordering::Relaxed)),
            stat("imap.refused", s.refused.load(Ordering::Relaxed)),
        ]
    }

    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.listeners.stop();
        for wake in lock(&self.shared.wakes).values() {
            wake.ring();
        }
        listening::leave(&self.shared.gate);
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    // TLS contexts are built before the sandbox: the library reads files of its
    // own when it begins.
    let snapshot = Snapshot::build(&greeted.part, &greeted.hostname).map_err(StartError::Other)?;
    let shared = Shared::new(snapshot, greeted.hostname.clone())?;
    let child = greeted.confine()?;
    let accept = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("accept".into());
    thread.spawn(move || accept.accept()).map_err(|e| StartError::Other(e.to_string()))?;
    Ok(child.serve(&Main { shared, keyd: keyd::neighbour() }))
}
