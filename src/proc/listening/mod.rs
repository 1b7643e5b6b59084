//! What the processes that listen have in common: parent's sockets, how many
//! may come, how many may guess passwords, TLS, and the end.
//!
//! *Runs in* smtp and imap.

pub mod tls;

use crate::base::clock::Deadline;
use crate::base::listen::{Caps, Gate};
use crate::base::lock::lock;
use crate::base::logins;
use crate::conf::ast::Config;
use crate::ipc::parent::Listener as Socket;
use crate::proto::limits;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How long running sessions are waited for when the daemon stops.
const STOP: Duration = Duration::from_secs(30);

/// The sockets that parent gave, each with the options of its `listen` statement.
/// Any thread.
pub struct Sockets<L>(Mutex<Vec<Listening<L>>>);

struct Listening<L> {
    socket: Socket,
    fd: Arc<OwnedFd>,
    options: Arc<L>,
}

impl<L> Default for Sockets<L> {
    fn default() -> Sockets<L> {
        Sockets(Mutex::new(Vec::new()))
    }
}

impl<L> Sockets<L> {
    /// Keeps those of `all`; their numbers are those of the configuration that
    /// `options` asks, and until now they had the options of the one before.
    pub fn keep(&self, all: &[Socket], options: impl Fn(u32) -> Option<Arc<L>>) {
        lock(&self.0).retain_mut(|one| {
            let found = options(one.socket.index).filter(|_| all.contains(&one.socket));
            let stays = found.is_some();
            found.into_iter().for_each(|found| one.options = found);
            stays
        });
    }

    /// One more, or another descriptor of one that was there.
    pub fn add(&self, socket: Socket, fd: OwnedFd, options: Arc<L>) {
        let mut sockets = lock(&self.0);
        sockets.retain(|old| old.socket != socket);
        sockets.push(Listening { socket, fd: Arc::new(fd), options });
    }

    /// All, to be listened on.
    pub fn all(&self) -> Vec<(Arc<OwnedFd>, Arc<L>)> {
        let pair = |one: &Listening<L>| (Arc::clone(&one.fd), Arc::clone(&one.options));
        lock(&self.0).iter().map(pair).collect()
    }
}

/// The bounds of connections: a quarter is kept for those who have logged in.
pub fn caps(total: usize, per_peer: usize) -> Caps {
    Caps { total, reserve: total / 4, per_peer }
}

/// The bounds of logins, from the configuration.
pub fn logins(config: &Config) -> logins::Limits {
    logins::Limits {
        failures: config.limit(&limits::LOGIN_FAILURES),
        failures_peer: config.limit(&limits::LOGIN_FAILURES_PEER),
        window: config.limit_time(&limits::LOGIN_WINDOW),
        delay: config.limit_time(&limits::LOGIN_DELAY),
    }
}

/// Ends the process when its sessions have ended, or had their time.
pub fn leave(gate: &Arc<Gate>) {
    let gate = Arc::clone(gate);
    let wait = move || {
        gate.wait_empty(Deadline::after(STOP));
        crate::sys::spawn::exit_now(0)
    };
    if std::thread::Builder::new().name("stop".into()).spawn(wait).is_err() {
        crate::sys::spawn::exit_now(0);
    }
}
