//! Connections that have done their work and wait a few seconds for more.

use crate::base::clock::{Deadline, Since};
use crate::base::listen::STACK;
use crate::base::lock;
use crate::proc::mta::policy::TlsUse;
use crate::proc::mta::session::Session;
use crate::proc::mta::Shared;
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Connections that wait, in all.
const MAX: usize = 100;
/// How long a good-bye may take.
const QUIT: Duration = Duration::from_secs(5);

/// What makes two connections the same.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    /// The action: its certificate, its authorities.
    pub action: String,
    /// The host's name, for which the certificate was looked at.
    pub host: String,
    /// Where it is.
    pub addr: SocketAddr,
    /// From where.
    pub source: Option<IpAddr>,
    /// The demands on TLS.
    pub tls: TlsUse,
    /// As whom.
    pub label: Option<String>,
    /// LHLO was said.
    pub lmtp: bool,
}

/// The waiting connections.
#[derive(Default)]
pub struct Idle {
    all: HashMap<Key, Vec<(Session, Since)>>,
    count: usize,
}

impl Shared {
    /// A connection that waits, if there is one.
    pub(super) fn reuse(&self, key: &Key) -> Option<Session> {
        let mut idle = lock::lock(&self.idle);
        let list = idle.all.get_mut(key)?;
        let (session, _) = list.pop()?;
        if list.is_empty() {
            idle.all.remove(key);
        }
        idle.count -= 1;
        Some(session)
    }

    /// Lets a connection wait; one too many is closed.
    pub(super) fn keep(&self, key: Key, session: Session) {
        let mut idle = lock::lock(&self.idle);
        if idle.count < MAX {
            idle.count += 1;
            idle.all.entry(key).or_default().push((session, Since::now()));
            return;
        }
        drop(idle);
        session.quit(Deadline::after(QUIT));
    }

    /// Those that have waited long enough.
    fn tired(&self, wait: Duration) -> Vec<Session> {
        let mut idle = lock::lock(&self.idle);
        let mut tired = Vec::new();
        for list in idle.all.values_mut() {
            let (old, young) =
                std::mem::take(list).into_iter().partition(|(_, since)| since.elapsed() >= wait);
            *list = young;
            let old: Vec<(Session, Since)> = old;
            tired.extend(old.into_iter().map(|(session, _)| session));
        }
        idle.all.retain(|_, list| !list.is_empty());
        idle.count -= tired.len();
        tired
    }
}

/// Starts the thread that closes what has waited long enough.
pub fn start(shared: &Arc<Shared>) -> std::io::Result<()> {
    let shared = Arc::clone(shared);
    let run = move || loop {
        std::thread::sleep(Duration::from_secs(1));
        for session in shared.tired(shared.snapshot().limits.idle) {
            session.quit(Deadline::after(QUIT));
        }
    };
    std::thread::Builder::new().name("idle".into()).stack_size(STACK).spawn(run).map(drop)
}
