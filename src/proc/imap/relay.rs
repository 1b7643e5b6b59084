//! Carries a session's bytes between the client and its store.
//!
//! Runs in imap, after login: TLS ends here, the store speaks plaintext over
//! a socketpair.  One thread, one poll(2), two bounded buffers that exist only
//! while they hold something, so an idle session costs its stack and its TLS
//! state.  The client's half-close reaches the store.  The store owns the session's
//! deadlines; the relay's own is longer and only catches a store that died
//! without closing.

use crate::base::clock::Deadline;
use crate::base::stream::{Stream, StreamError};
use crate::sys::poll::{self, PollFd};
use std::os::fd::AsFd;
use std::time::Duration;

/// What may wait in one direction.  A reader that is slower than its peer
/// makes the peer wait, not this process grow.
const BUFFER: usize = 16 * 1024;

/// Which side ended the session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The store closed: LOGOUT, BYE, or its death.
    Store,
    /// The client went away without LOGOUT.
    Client,
    /// Neither said anything for too long.
    Idle,
    /// The store did not say its first word in time: it is stopped.
    Silent,
}

/// How long a relay waits.
#[derive(Clone, Copy, Debug)]
pub struct Patience {
    /// For the store's first word, whatever the client says meanwhile.
    pub greeting: Duration,
    /// Afterwards, for a word of either side.
    pub idle: Duration,
}

/// How much went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Octets from the client to the store.
    pub up: u64,
    /// Octets from the store to the client.
    pub down: u64,
}

/// One direction.
#[derive(Default)]
struct Way {
    buffer: Vec<u8>,
    ended: bool,
    passed_on: bool,
    octets: u64,
    /// Where it ends, its target's input is closed.  Not so towards the client,
    /// who may still have to be told something.
    half_close: bool,
}

impl Way {
    /// Moves what can be moved without waiting; true if anything was.
    fn step(&mut self, from: &mut Stream, to: &mut Stream) -> Result<bool, (Side, StreamError)> {
        let mut moved = false;
        if self.buffer.is_empty() && !self.ended {
            let mut room = [0; BUFFER];
            match from.try_read(&mut room).map_err(|e| (Side::From, e))? {
                Some(0) => {
                    self.ended = true;
                    moved = true;
                }
                Some(n) => {
                    self.buffer = room.get(..n).unwrap_or_default().to_vec();
                    self.octets = self.octets.saturating_add(u64::try_from(n).unwrap_or(0));
                    moved = true;
                }
                None => {}
            }
        }
        if !self.buffer.is_empty() {
            let n = to.try_write(&self.buffer).map_err(|e| (Side::To, e))?;
            if n >= self.buffer.len() {
                self.buffer = Vec::new();
            } else {
                self.buffer.drain(..n);
            }
            moved |= n > 0;
        }
        if self.ended && !self.passed_on && self.buffer.is_empty() && to.is_flushed() {
            self.passed_on = true;
            moved = true;
            if self.half_close {
                // A peer that closed meanwhile has nothing left to be told.
                let _ = to.shutdown(Deadline::now());
            }
        }
        Ok(moved)
    }

    /// Whether more is wanted from where this way begins.
    fn wants(&self) -> i16 {
        if self.buffer.is_empty() && !self.ended {
            poll::IN
        } else {
            0
        }
    }
}

/// Where an error of one direction happened.
enum Side {
    From,
    To,
}

/// Relays until one side closes or its patience is over; `early` is what the
/// client has already sent for the store.
///
/// What the store wrote before it closed still reaches the client; the caller
/// closes both.
pub fn relay(
    client: &mut Stream,
    store: &mut Stream,
    early: Vec<u8>,
    patience: Patience,
) -> (End, Count) {
    let octets = u64::try_from(early.len()).unwrap_or(0);
    let mut up = Way { buffer: early, octets, half_close: true, ..Way::default() };
    let mut down = Way::default();
    let end = run(client, store, &mut up, &mut down, patience);
    (end, Count { up: up.octets, down: down.octets })
}

fn run(
    client: &mut Stream,
    store: &mut Stream,
    up: &mut Way,
    down: &mut Way,
    patience: Patience,
) -> End {
    let mut deadline = Deadline::after(patience.greeting);
    loop {
        // TLS may hold decrypted bytes of which poll(2) knows nothing, so both
        // ways are tried until neither moves, and only then is there a wait.
        let up_moved = match up.step(client, store) {
            Ok(moved) => moved,
            Err((Side::From, _)) => return End::Client,
            // The store closed its end; what it wrote before is still to be read.
            Err((Side::To, _)) => {
                up.ended = true;
                up.passed_on = true;
                up.buffer = Vec::new();
                true
            }
        };
        let down_moved = match down.step(store, client) {
            Ok(moved) => moved,
            Err((Side::From, _)) => return End::Store,
            Err((Side::To, _)) => return End::Client,
        };
        if down.passed_on {
            return End::Store;
        }
        if up_moved || down_moved {
            if down.octets > 0 {
                deadline = Deadline::after(patience.idle);
            }
            continue;
        }
        let to_store = if up.buffer.is_empty() { 0 } else { poll::OUT };
        let to_client = if down.buffer.is_empty() { 0 } else { poll::OUT };
        let late = |s: &Stream| if s.is_flushed() { 0 } else { poll::OUT };
        let mut fds = [
            PollFd::new(client.as_fd(), up.wants() | to_client | late(client)),
            PollFd::new(store.as_fd(), down.wants() | to_store | late(store)),
        ];
        match poll::wait(&mut fds, deadline.left()) {
            Ok(0) if deadline.expired() && down.octets == 0 => return End::Silent,
            Ok(0) if deadline.expired() => return End::Idle,
            Ok(_) => {}
            Err(_) => return End::Client,
        }
        // A peer that hung up while nothing is read from it (half-closed before)
        // would make poll(2) return at once for ever.
        let [c, s] = &fds;
        if c.hung_up() && up.ended && down.buffer.is_empty() && !s.ready() {
            return End::Client;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fdpass;
    use std::fs::File;
    use std::io::{Read, Write};
    use std::os::fd::OwnedFd;
    use std::thread;

    const IDLE: Duration = Duration::from_secs(10);

    /// A relay on a thread of its own, and the far ends of both its sides.
    fn start(idle: Duration) -> (File, File, thread::JoinHandle<(End, Count)>) {
        let patience = Patience { greeting: idle, idle };
        let (client, client_far) = fdpass::socketpair().unwrap();
        let (store, store_far) = fdpass::socketpair().unwrap();
        let stream = |fd: OwnedFd| Stream::local(fd).unwrap();
        let handle = thread::spawn(move || {
            let (mut client, mut store) = (stream(client), stream(store));
            relay(&mut client, &mut store, Vec::new(), patience)
        });
        (File::from(client_far), File::from(store_far), handle)
    }

    #[test]
    fn bytes_go_both_ways_and_the_store_ends_it() {
        let (mut client, mut store, relay) = start(IDLE);
        client.write_all(b"a NOOP\r\n").unwrap();
        let mut buf = [0; 8];
        store.read_exact(&mut buf).unwrap();
        assert_eq!(&buf, b"a NOOP\r\n");
        store.write_all(b"* BYE\r\n").unwrap();
        drop(store);
        let mut all = Vec::new();
        client.read_to_end(&mut all).unwrap();
        assert_eq!(all, b"* BYE\r\n");
        assert_eq!(relay.join().unwrap(), (End::Store, Count { up: 8, down: 7 }));
    }

    #[test]
    fn more_than_any_buffer_arrives_whole() {
        let (client, mut store, relay) = start(IDLE);
        let all: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let sent = all.clone();
        let writer = thread::spawn(move || store.write_all(&sent).map(|()| drop(store)));
        thread::sleep(Duration::from_millis(20));
        let mut got = Vec::new();
        (&client).read_to_end(&mut got).unwrap();
        assert!(got == all);
        writer.join().unwrap().unwrap();
        assert_eq!(relay.join().unwrap().0, End::Store);
    }

    #[test]
    fn the_client_s_half_close_reaches_the_store_which_still_answers() {
        let (client, mut store, relay) = start(IDLE);
        let client = std::os::unix::net::UnixStream::from(OwnedFd::from(client));
        client.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        store.read_to_end(&mut all).unwrap();
        assert!(all.is_empty());
        store.write_all(b"bye").unwrap();
        drop(store);
        let mut got = Vec::new();
        (&client).read_to_end(&mut got).unwrap();
        assert_eq!(got, b"bye");
        assert_eq!(relay.join().unwrap().0, End::Store);
    }

    #[test]
    fn silence_ends_it() {
        let (_client, mut store, relay) = start(Duration::from_millis(30));
        store.write_all(b"a OK\r\n").unwrap();
        assert_eq!(relay.join().unwrap().0, End::Idle);
    }

    #[test]
    fn a_store_that_never_greets_ends_it_whatever_the_client_says() {
        let (mut client, _store, relay) = start(Duration::from_millis(100));
        while !relay.is_finished() {
            // It closes while this writes.
            let _ = client.write_all(b"a NOOP\r\n");
            thread::sleep(Duration::from_millis(5));
        }
        assert_eq!(relay.join().unwrap().0, End::Silent);
    }

    #[test]
    fn a_client_that_is_gone_ends_it() {
        let (client, store, relay) = start(IDLE);
        drop(client);
        drop(store);
        assert!(matches!(relay.join().unwrap().0, End::Client | End::Store));
    }
}
