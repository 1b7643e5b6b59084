//! keyd: private keys.  Signs digests, gives no key out.
//!
//! Runs as a user of its own in /var/empty with "stdio recvfd".  Keys come from
//! parent with the configuration, PEM files as they are, and are kept by the
//! digest of their public halves.  A peer is known by its channel; it may use
//! the keys of its own listeners and relays and no other.  What may be signed
//! at all is `base::signing`'s affair.
//!
//! Shared: [`Shared::ring`], swapped whole on reload; no other lock is held
//! with it.  The input comes from less privileged processes: what is malformed
//! is refused and logged.

use crate::base::crypto;
use crate::base::lock;
use crate::base::log;
use crate::base::remotekey::{self, KeyId};
use crate::base::signing::{SignError, SigningKey};
use crate::base::tls;
use crate::conf;
use crate::conf::ast::{Config, Method, Service};
use crate::ipc::call::{Back, Channel, Peer, Serve};
use crate::ipc::keyd::{Answer, Ask};
use crate::ipc::parent::{File, Part, Stat};
use crate::ipc::pool::Pool;
use crate::ipc::wire::Wire;
use crate::proc::start::{Events, Greeted, StartError};
use crate::proc::table::{self, Kind};
use std::collections::{HashMap, HashSet};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, RwLock};

/// Requests of one neighbour that may wait for a thread; more are answered
/// `Busy`, and a handshake fails.
const WAITING: usize = 256;

/// The kinds of processes that have keys signed with.
const ASKERS: [Kind; 3] = [Kind::Smtp, Kind::Imap, Kind::Mta];

/// The keys of one configuration.
#[derive(Default)]
struct Ring {
    keys: HashMap<KeyId, Arc<SigningKey>>,
    /// Which of them each kind of process may use.
    allowed: HashMap<Kind, HashSet<KeyId>>,
}

impl Ring {
    /// Reads the keys of a part, and wipes the bytes that they came in.
    fn load(part: &mut Part) -> Result<Ring, String> {
        let config = conf::part(&part.text)?;
        let mut ring = Ring::default();
        let mut certificates = HashMap::new();
        for file in &mut part.files {
            let loaded = ring.read(file, &mut certificates);
            crypto::wipe(&mut file.bytes);
            loaded.map_err(|why| format!("{}: {why}", file.path.display()))?;
        }
        for kind in ASKERS {
            let named = certificates_of(&config, kind);
            let used = config.pkis().filter(|pki| named.contains(pki.name.as_str()));
            let ids = used.filter_map(|pki| certificates.get(Path::new(&pki.cert)).copied());
            ring.allowed.insert(kind, ids.collect());
        }
        Ok(ring)
    }

    /// A file is a key, a certificate, or both in one.
    fn read(
        &mut self,
        file: &File,
        certificates: &mut HashMap<PathBuf, KeyId>,
    ) -> Result<(), String> {
        if contains(&file.bytes, b"PRIVATE KEY-----") {
            let key = SigningKey::from_pem(&file.bytes).map_err(|e| e.to_string())?;
            let id = key.id().map_err(|e| e.to_string())?;
            self.keys.insert(id, Arc::new(key));
        }
        if contains(&file.bytes, b"CERTIFICATE-----") {
            let chain = tls::certificates(&file.bytes).map_err(|e| e.to_string())?;
            if let Some(leaf) = chain.first() {
                let id = remotekey::key_id(leaf).map_err(|e| e.to_string())?;
                certificates.insert(file.path.clone(), id);
            }
        }
        Ok(())
    }

    /// The key, if this kind of process may use it.
    fn key(&self, kind: Kind, id: &KeyId) -> Option<Arc<SigningKey>> {
        let allowed = self.allowed.get(&kind)?;
        self.keys.get(id).filter(|_| allowed.contains(id)).cloned()
    }
}

fn contains(bytes: &[u8], word: &[u8]) -> bool {
    memchr::memmem::find(bytes, word).is_some()
}

/// The names of the certificates that processes of this kind show.
fn certificates_of(config: &Config, kind: Kind) -> HashSet<&str> {
    let listeners = |services: &'static [Service]| {
        let chosen = config.listeners().filter(move |l| services.contains(&l.service));
        chosen.flat_map(|l| l.pki.iter().map(String::as_str)).collect()
    };
    match kind {
        Kind::Smtp => listeners(&[Service::Smtp, Service::Lmtp]),
        Kind::Imap => listeners(&[Service::Imap]),
        Kind::Mta => {
            let relays = config.actions().filter_map(|action| match &action.method {
                Method::Relay(relay) => relay.pki.as_deref(),
                _ => None,
            });
            relays.collect()
        }
        _ => HashSet::new(),
    }
}

/// What all threads share.
struct Shared {
    ring: RwLock<Arc<Ring>>,
    signed: AtomicU64,
    refused: AtomicU64,
}

impl Shared {
    /// Answers one question of a process of this kind.  Runs in the pool.
    fn sign(&self, kind: Kind, ask: &Ask) -> Answer {
        let Ask::Sign { key, way, input } = ask;
        let ring = Arc::clone(&lock::read(&self.ring));
        let result = match ring.key(kind, key) {
            Some(key) => key.sign((*way).into(), input),
            None => Err(SignError::Refused),
        };
        match result {
            Ok(signature) => {
                self.signed.fetch_add(1, Ordering::Relaxed);
                Answer::Signed { signature: Some(signature) }
            }
            Err(why) => {
                self.refused.fetch_add(1, Ordering::Relaxed);
                let error = match why {
                    SignError::Refused => "not its key, or not what it may have signed".to_owned(),
                    SignError::Failed(error) => error.to_string(),
                };
                log::warn!("keyd", peer = table::process(kind).name, error = error);
                Answer::Signed { signature: None }
            }
        }
    }
}

/// One neighbour: whoever is at the other end of its channel.
struct Edge {
    kind: Kind,
    /// Its own: a flood of handshakes on port 25 keeps nobody from his mail.
    pool: Pool,
    shared: Arc<Shared>,
}

impl Serve for Edge {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let Ok(ask) = Ask::from_bytes(&payload) else {
            // Dropping `back` answers; the peer is broken or broken into.
            log::warn!("keyd", peer = table::process(self.kind).name, msg = "malformed request");
            return;
        };
        let (kind, shared) = (self.kind, Arc::clone(&self.shared));
        // A full pool drops the job and with it `back`: the peer is told.
        self.pool.submit(move || back.reply(&shared.sign(kind, &ask), None));
    }

    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// Parent's events, on the main thread.
struct Main {
    shared: Arc<Shared>,
    edges: Vec<(Kind, Peer<(), ()>)>,
}

impl Events for Main {
    fn config(&self, mut part: Part) -> Result<(), String> {
        let ring = Ring::load(&mut part)?;
        *lock::write(&self.shared.ring) = Arc::new(ring);
        Ok(())
    }

    fn peer(&self, kind: Kind, channel: Channel) {
        // lookup has no keys yet; its channel is closed.
        let Some((_, edge)) = self.edges.iter().find(|(k, _)| *k == kind) else { return };
        if let Err(e) = edge.attach(channel) {
            log::fatal("keyd", &e.to_string());
        }
    }

    fn stats(&self) -> Vec<Stat> {
        let keys = lock::read(&self.shared.ring).keys.len();
        let stat = |name: &str, value| Stat { name: name.into(), value };
        vec![
            stat("keyd.keys", u64::try_from(keys).unwrap_or(u64::MAX)),
            stat("keyd.signed", self.shared.signed.load(Ordering::Relaxed)),
            stat("keyd.refused", self.shared.refused.load(Ordering::Relaxed)),
        ]
    }

    fn stop(&self) {
        crate::sys::spawn::exit_now(0);
    }
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    // Counting processors reads files on Linux: before the sandbox.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let mut child = greeted.confine()?;
    let ring = Ring::load(&mut child.part).map_err(StartError::Other)?;
    let shared = Arc::new(Shared {
        ring: RwLock::new(Arc::new(ring)),
        signed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let edge = |kind: Kind| {
        let name = table::process(kind).name;
        let pool = Pool::start(name, cpus, WAITING)?;
        let serve = Arc::new(Edge { kind, pool, shared: Arc::clone(&shared) });
        Ok((kind, Peer::new(name, serve)))
    };
    let edges: std::io::Result<Vec<_>> = ASKERS.into_iter().map(edge).collect();
    let edges = edges.map_err(|e| StartError::Other(e.to_string()))?;
    Ok(child.serve(&Main { shared, edges }))
}

#[cfg(test)]
mod tests;
