//! smtp: the SMTP, submission and LMTP servers, a thread per connection.
//!
//! The process that strangers speak to: it owns no file and no key.  [`session`]
//! is the dialogue, [`message`] takes a message into the spool, [`intake`] is the
//! way to queue, [`config`] is what the
//! configuration means here.  Shared state is in [`Shared`]; its locks are taken
//! one at a time.

pub mod config;
pub mod intake;
pub mod message;
pub mod session;

use crate::base::clock::Deadline;
use crate::base::line::LineReader;
use crate::base::listen::{Accepted, Caps, Gate, Listeners, Refused, Serve, STACK};
use crate::base::lock::lock;
use crate::base::log::{self, Show};
use crate::base::logins::Logins;
use crate::base::stream::Stream;
use crate::ipc::call::{self, Back, CallError, Channel, NoRequests, Peer};
use crate::ipc::control_smtp::ToSmtp;
use crate::ipc::keyd::{self, Keyd};
use crate::ipc::parent::{Listener as Socket, Part, Stat};
use crate::ipc::smtp_lookup::{Answer, Ask};
use crate::ipc::wire::Wire;
use crate::proc::listening::{self, Sockets};
use crate::proc::start::{Events, Greeted, StartError};
use crate::proc::table::Kind;
use crate::proto::smtp::reply::table;
use crate::sys::errno::SysError;
use crate::sys::net;
use config::{Listener, Snapshot};
use intake::Intake;
use session::{Client, Session};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::OwnedFd;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a good-bye may take.
const GOODBYE: Duration = Duration::from_secs(10);

/// What all threads share.
pub struct Shared {
    snapshot: Mutex<Arc<Snapshot>>,
    lookup: Peer<Ask, Answer>,
    intake: Arc<Intake>,
    logins: Logins,
    gate: Arc<Gate>,
    listeners: Listeners<Arc<Listener>>,
    /// What parent gave, by the number of the statement; kept for `resume smtp`.
    sockets: Sockets<Listener>,
    paused: AtomicBool,
    stopping: AtomicBool,
    hostname: String,
    sessions: AtomicU64,
    messages: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    /// A process without peers yet.
    pub fn new(snapshot: Snapshot, hostname: String) -> Result<Arc<Shared>, SysError> {
        Ok(Arc::new(Shared {
            gate: Gate::new(caps(&snapshot)),
            snapshot: Mutex::new(Arc::new(snapshot)),
            lookup: Peer::new("lookup", Arc::new(NoRequests)),
            intake: Arc::<Intake>::default(),
            logins: Logins::default(),
            listeners: Listeners::new()?,
            sockets: Sockets::default(),
            paused: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            hostname,
            sessions: AtomicU64::new(0),
            messages: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        }))
    }

    /// Asks lookup; blocks.  DNS and a queue of password hashes are in its time.
    fn ask(&self, ask: &Ask) -> Result<Answer, CallError> {
        let answer = lock(&self.snapshot).limits.answer;
        self.lookup.call(ask, Deadline::after(answer))
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Arc::clone(&lock(&self.snapshot))
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    fn accepted(&self) {
        self.messages.fetch_add(1, Ordering::Relaxed);
    }

    /// A connection over the network, in its own thread.
    fn network(&self, accepted: Accepted<Arc<Listener>>) {
        let Accepted { fd, peer, listener: options, slot } = accepted;
        let unspecified = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        let local = net::local_addr(&fd).unwrap_or(unspecified).ip();
        // A scope would not survive the way into a header (CVE-2023-29323).
        let peer = peer.unwrap_or(unspecified).ip();
        let snapshot = self.snapshot();
        match Stream::new(fd) {
            Ok(stream) => {
                let client = Client::Net { peer, local };
                self.sessions.fetch_add(1, Ordering::Relaxed);
                let io = LineReader::new(stream, Deadline::after(snapshot.limits.session));
                let limits = snapshot.limits;
                drop(snapshot);
                Session::new(self, options, limits, io, client, Some(slot)).serve();
            }
            Err(e) => log::info!("smtp", peer = peer, error = e),
        }
    }

    /// A connection that control passed on: sendmail of a user of this machine.
    fn local(self: &Arc<Self>, uid: u32, fd: OwnedFd) {
        let slot = match self.gate.admit(None) {
            Ok(slot) => slot,
            Err(why) => return self.refuse(fd, None, why),
        };
        let snapshot = self.snapshot();
        let this = Arc::clone(self);
        let serve = move || match Stream::local(fd) {
            Ok(stream) => {
                this.sessions.fetch_add(1, Ordering::Relaxed);
                let io = LineReader::new(stream, Deadline::after(snapshot.limits.session));
                let options = Arc::clone(&snapshot.socket);
                let client = Client::Local { uid };
                Session::new(&this, options, snapshot.limits, io, client, Some(slot)).serve();
            }
            Err(e) => log::info!("smtp", uid = uid, error = e),
        };
        let thread = std::thread::Builder::new().stack_size(STACK).name("local".into());
        if let Err(e) = thread.spawn(serve) {
            // The descriptor went with the closure: the client sees a close.
            log::warn!("smtp", uid = uid, error = Show(&e));
        }
    }

    /// Says 421, at once or not at all.
    fn refuse(&self, fd: OwnedFd, peer: Option<SocketAddr>, why: Refused) {
        use std::io::Write;
        self.refused.fetch_add(1, Ordering::Relaxed);
        log::info!("smtp", refused = peer.map(|p| p.ip()), msg = why.as_str());
        let mut text = Vec::new();
        table::TOO_MANY_CONNECTIONS.write(&mut text);
        // A client that cannot be told sees the close.
        let _ = std::fs::File::from(fd).write(&text);
    }

    /// Listens on what parent gave, or on nothing while paused.
    fn relisten(&self) {
        let rests = self.paused.load(Ordering::Acquire) || self.is_stopping();
        self.listeners.replace(if rests { Vec::new() } else { self.sockets.all() });
    }

    /// The accept loop; one thread.
    fn accept(self: &Arc<Self>) {
        let (this, refuser) = (Arc::clone(self), Arc::clone(self));
        let serve: Serve<Arc<Listener>> = Arc::new(move |accepted| this.network(accepted));
        let ended = self.listeners.run(&self.gate, "session", &serve, &move |fd, peer, _, why| {
            refuser.refuse(fd, peer, why);
        });
        if let Err(e) = ended {
            log::fatal_sys("smtp", &e);
        }
    }
}

fn caps(snapshot: &Snapshot) -> Caps {
    listening::caps(snapshot.limits.connections, snapshot.limits.per_peer)
}

/// What control says.
struct FromControl(Arc<Shared>);

impl call::Serve for FromControl {
    fn request(&self, _: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        back.busy();
    }

    fn event(&self, payload: Vec<u8>, fd: Option<OwnedFd>) {
        match (ToSmtp::from_bytes(&payload), fd) {
            (Ok(ToSmtp::Local { uid, .. }), Some(fd)) => self.0.local(uid, fd),
            (Ok(ToSmtp::Pause { paused }), None) => {
                self.0.paused.store(paused, Ordering::Release);
                self.0.relisten();
            }
            _ => log::warn!("smtp", peer = "control", msg = "malformed event"),
        }
    }
}

/// Parent's events, on the main thread.
struct Main {
    shared: Arc<Shared>,
    control: Peer<(), ()>,
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
            Kind::Control => self.control.attach(channel),
            Kind::Keyd => self.keyd.attach(channel),
            Kind::Queue => {
                self.shared.intake.attach(channel);
                Ok(())
            }
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("smtp", &e.to_string());
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

    fn stats(&self) -> Vec<Stat> {
        let stat = |name: &str, value| Stat { name: name.into(), value };
        let s = &self.shared;
        vec![
            stat("smtp.sessions", s.sessions.load(Ordering::Relaxed)),
            stat("smtp.sessions.active", u64::try_from(s.gate.in_use()).unwrap_or(u64::MAX)),
            stat("smtp.messages", s.messages.load(Ordering::Relaxed)),
            stat("smtp.refused", s.refused.load(Ordering::Relaxed)),
        ]
    }

    fn stop(&self) {
        self.shared.stopping.store(true, Ordering::Release);
        self.shared.listeners.stop();
        listening::leave(&self.shared.gate);
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    // The TLS library is started and its first contexts are built before the
    // sandbox: it reads files of its own when it begins.
    let snapshot = Snapshot::build(&greeted.part, &greeted.hostname).map_err(StartError::Other)?;
    let shared = Shared::new(snapshot, greeted.hostname.clone())?;
    let child = greeted.confine()?;
    shared.paused.store(child.paused.iter().any(|what| what == "smtp"), Ordering::Release);
    let accept = Arc::clone(&shared);
    let thread = std::thread::Builder::new().name("accept".into());
    thread.spawn(move || accept.accept()).map_err(|e| StartError::Other(e.to_string()))?;
    let control = Peer::new("control", Arc::new(FromControl(Arc::clone(&shared))));
    Ok(child.serve(&Main { shared, control, keyd: keyd::neighbour() }))
}

#[cfg(test)]
mod tests;
