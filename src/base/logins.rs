//! Failed logins by address: who guesses passwords is not answered any more.
//!
//! Runs in smtp and imap.  An address (IPv6: its /64) that failed too often
//! within the window is refused (454, NO) at every further login without anybody
//! being asked, until the window has passed.  A login that succeeds wipes the slate, so that one user's forgotten
//! telephone does not lock out his house for long.

use crate::base::clock::Deadline;
use crate::base::listen::PeerKey;
use crate::base::lock::lock;
use crate::proto::limits;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// How much guessing is borne.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Failed logins of a session.
    pub failures: u64,
    /// Failed logins of an address within [`Limits::window`].
    pub failures_peer: u64,
    /// How long they are remembered.
    pub window: Duration,
    /// How long a failed login waits for its answer.
    pub delay: Duration,
}

/// The table.  Any thread.
#[derive(Default)]
pub struct Logins {
    peers: Mutex<HashMap<PeerKey, Failures>>,
}

#[derive(Clone, Copy)]
struct Failures {
    count: u64,
    forget: Deadline,
}

impl Logins {
    /// Whether this address has failed too often.
    pub fn is_blocked(&self, peer: IpAddr, most: u64) -> bool {
        let peers = lock(&self.peers);
        peers.get(&PeerKey::of(peer)).is_some_and(|f| f.count >= most && !f.forget.expired())
    }

    /// One more failure; the window begins anew.
    pub fn failed(&self, peer: IpAddr, window: Duration) {
        let mut peers = lock(&self.peers);
        let key = PeerKey::of(peer);
        if peers.len() >= limits::LOGIN_PEERS.size() && !peers.contains_key(&key) {
            make_room(&mut peers);
        }
        let forget = Deadline::after(window);
        let entry = peers.entry(key).or_insert(Failures { count: 0, forget });
        if entry.forget.expired() {
            entry.count = 0;
        }
        entry.count = entry.count.saturating_add(1);
        entry.forget = forget;
    }

    /// A login succeeded.
    pub fn succeeded(&self, peer: IpAddr) {
        lock(&self.peers).remove(&PeerKey::of(peer));
    }
}

/// Drops what has expired, else the entry that expires first.
fn make_room(peers: &mut HashMap<PeerKey, Failures>) {
    peers.retain(|_, f| !f.forget.expired());
    if peers.len() >= limits::LOGIN_PEERS.size() {
        let first = peers.iter().min_by_key(|(_, f)| f.forget.left()).map(|(key, _)| *key);
        first.map(|key| peers.remove(&key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_blocked_and_forgiven() {
        let logins = Logins::default();
        let peer: IpAddr = "2001:db8::1".parse().unwrap();
        let neighbour: IpAddr = "2001:db8::2".parse().unwrap();
        let other: IpAddr = "192.0.2.1".parse().unwrap();
        let window = Duration::from_secs(60);
        logins.failed(peer, window);
        assert!(!logins.is_blocked(peer, 2));
        logins.failed(neighbour, window);
        assert!(logins.is_blocked(peer, 2));
        assert!(!logins.is_blocked(other, 2));
        logins.succeeded(peer);
        assert!(!logins.is_blocked(peer, 2));
        logins.failed(peer, Duration::ZERO);
        logins.failed(peer, Duration::ZERO);
        assert!(!logins.is_blocked(peer, 1));
    }

    #[test]
    fn the_table_is_bounded() {
        let logins = Logins::default();
        for i in 0..u32::try_from(limits::LOGIN_PEERS.size()).unwrap() + 100 {
            logins.failed(IpAddr::V4(i.into()), Duration::from_secs(60));
        }
        assert_eq!(logins.peers.lock().unwrap().len(), limits::LOGIN_PEERS.size());
    }
}
