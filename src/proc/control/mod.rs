//! control: the control socket and what comes over it.
//!
//! Accepts on /var/run/rmaild.sock.  A mail session is passed on to smtp with
//! the peer's ids; an administrative connection is served here, if the peer is
//! root or a member of the group `_rmaild` (without root: who started the
//! daemon): requests about the queue go to queue, all others to parent.  Input is
//! hostile: any user can connect.  Shared state: `listener` and the seats,
//! of which no two are locked at once.

mod seats;
mod session;

use self::seats::Seats;
use crate::base::clock::Deadline;
use crate::base::listen::STACK;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::ipc::call::{Channel, NoRequests, Peer};
use crate::ipc::control_smtp::ToSmtp;
use crate::ipc::ctl::{Reply, Request};
use crate::ipc::openings::Slots;
use crate::ipc::parent::{Listener, Part, Stat};
use crate::proc::start::{Child, Events, Greeted, Parent, StartError};
use crate::proc::table::{self, Kind};
use crate::sys::poll;
use crate::sys::user::{self, Group, User};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long a listener that cannot be accepted on is left alone.
const PAUSE: Duration = Duration::from_millis(100);
/// How long the answers of the last requests may take at a stop.
const LAST_ANSWERS: Duration = Duration::from_secs(1);

/// What the threads share.
pub struct Shared {
    parent: Parent,
    queue: Peer<Request, Reply>,
    smtp: Peer<(), ()>,
    /// Requests that wait for parent.
    answers: Slots<Vec<u8>>,
    admins: Admins,
    seats: Arc<Seats>,
    /// Held by whoever has something paused or resumed.
    pausing: Mutex<()>,
    /// Requests whose answers have not been sent.
    answering: AtomicUsize,
    requests: AtomicU64,
    sessions: AtomicU64,
    listener: Mutex<Option<OwnedFd>>,
}

/// Who may administrate: read from the system before the sandbox.
struct Admins {
    uids: Vec<u32>,
}

impl Admins {
    /// The members of the group, but none of rmail's own users: neither a process
    /// that meets the network nor a command of an alias administrates, whatever
    /// group(5) says.
    fn load() -> Result<Admins, StartError> {
        let mut uids = vec![0];
        if !user::is_root() {
            uids.push(user::uid());
        }
        let group = Group::by_name(table::USER)?;
        let others = |member: &&String| !table::USERS.contains(&member.as_str());
        for member in group.iter().flat_map(|g| &g.members).filter(others) {
            uids.extend(User::by_name(member)?.map(|u| u.uid));
        }
        Ok(Admins { uids })
    }

    fn may(&self, uid: u32) -> bool {
        self.uids.contains(&uid)
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    let admins = Admins::load()?;
    let child: Child = greeted.confine()?;
    let shared = Arc::new(Shared {
        parent: child.parent.clone(),
        queue: Peer::new("queue", Arc::new(NoRequests)),
        smtp: Peer::new("smtp", Arc::new(NoRequests)),
        answers: Slots::default(),
        admins,
        seats: Arc::default(),
        pausing: Mutex::default(),
        answering: AtomicUsize::new(0),
        requests: AtomicU64::new(0),
        sessions: AtomicU64::new(0),
        listener: Mutex::new(None),
    });
    Ok(child.serve(&Main(shared)))
}

/// Parent's events, on the main thread.
struct Main(Arc<Shared>);

impl Events for Main {
    fn config(&self, _: Part) -> Result<(), String> {
        // Nothing of the configuration is used after the start.
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        let attached = match kind {
            Kind::Queue => self.0.queue.attach(channel),
            Kind::Smtp => self.0.smtp.attach(channel),
            // Its channel is kept by nobody: no request goes there.
            _ => Ok(()),
        };
        if let Err(e) = attached {
            log::fatal("control", &e.to_string());
        }
    }

    fn listen(&self, _: Listener, fd: OwnedFd) {
        let first = lock::lock(&self.0.listener).is_none();
        if !first {
            // The socket is the same for as long as the daemon runs.
            return;
        }
        let listener = match fd.try_clone() {
            Ok(copy) => UnixListener::from(copy),
            Err(e) => log::fatal("control", &e.to_string()),
        };
        *lock::lock(&self.0.listener) = Some(fd);
        let shared = Arc::clone(&self.0);
        let spawned = std::thread::Builder::new()
            .name("accept".into())
            .stack_size(STACK)
            .spawn(move || accept(&shared, &listener));
        if let Err(e) = spawned {
            log::fatal("control", &e.to_string());
        }
    }

    fn answer(&self, request: u64, payload: Vec<u8>) {
        self.0.answers.complete(request, payload);
    }

    fn stats(&self) -> Vec<Stat> {
        let stat = |name: &str, value| Stat { name: name.into(), value };
        vec![
            stat("control.requests", self.0.requests.load(Ordering::Relaxed)),
            stat("control.sessions", self.0.sessions.load(Ordering::Relaxed)),
        ]
    }

    fn stop(&self) {
        // Who asked for the stop is told that it is done.
        let until = Deadline::after(LAST_ANSWERS);
        while self.0.answering.load(Ordering::SeqCst) > 0 && !until.expired() {
            let _ = poll::wait(&mut [], Some(Duration::from_millis(5))); // only to wait
        }
        crate::sys::spawn::exit_now(0);
    }
}

/// Accepts for as long as the process lives.
fn accept(shared: &Arc<Shared>, listener: &UnixListener) {
    loop {
        // Non-blocking, and shared with parent: wait, then try.
        if poll::wait_for(listener.as_fd(), poll::IN, None).is_err() {
            continue;
        }
        let fd = match listener.accept() {
            Ok((stream, _)) => OwnedFd::from(stream),
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(e) => {
                log::warn!("control", error = Show(&e));
                let _ = poll::wait(&mut [], Some(PAUSE)); // only to wait
                continue;
            }
        };
        let Ok((uid, gid)) = user::peer(fd.as_fd()) else { continue };
        let Some(seat) = shared.seats.take(uid, shared.admins.may(uid)) else {
            log::warn!("control", uid = uid, msg = "too many connections");
            continue;
        };
        let shared = Arc::clone(shared);
        // A thread that cannot be started closes the connection.
        let _ =
            std::thread::Builder::new().name("session".into()).stack_size(STACK).spawn(move || {
                session::serve(&shared, fd, uid, gid);
                drop(seat);
            });
    }
}

impl Shared {
    /// Hands a mail session to smtp.
    fn pass(&self, fd: &OwnedFd, uid: u32, gid: u32, deadline: Deadline) -> bool {
        self.smtp.tell(&ToSmtp::Local { uid, gid }, Some(fd.as_fd()), deadline).is_ok()
    }
}
