//! Accepting connections: counted before they cost anything, a thread for each.
//!
//! Runs in smtp, imap and control.  A [`Gate`] counts connections in all and by
//! address (IPv4 /32, IPv6 /64) before a thread is started; some places are
//! kept for local and logged-in peers, so that strangers cannot lock users out.
//! When descriptors run out, one is kept in reserve to accept and refuse with,
//! and the loop pauses instead of spinning.  A thread that cannot be started
//! (kern.maxthread is small for a whole OpenBSD machine) is a refusal, not an
//! end.  A panic costs its own connection only.

use crate::base::clock::Deadline;
use crate::base::lock::{lock, wait_for};
use crate::log_crit;
use crate::sys::errno::{self, SysError};
use crate::sys::{fdpass, net, poll};
use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

/// Stack of a connection's thread, and of those that deliver: on OpenBSD it
/// counts against the process's data limit, touched or not.  TLS takes 32 KB
/// of it, parsers are limited in depth, and deflate has threads of its own;
/// hostile mail and commands were seen to touch 48 KB of it, 80 KB without
/// optimisation.
pub const STACK: usize = 128 * 1024;

/// How long the loop rests when descriptors have run out.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections taken from one listener before the others have their turn.
const BATCH: usize = 32;

/// Who counts as one peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PeerKey(u128);

impl PeerKey {
    /// An IPv4 address by itself, an IPv6 address by its first 64 bits (what
    /// one customer gets); an IPv4 address mapped into IPv6 is itself.
    #[must_use]
    pub fn of(ip: IpAddr) -> Self {
        match ip.to_canonical() {
            IpAddr::V4(v4) => Self(u128::from(u32::from(v4))),
            IpAddr::V6(v6) => Self(u128::from(v6) >> 64 << 64 | 1 << 63),
        }
    }
}

/// Caps of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caps {
    /// Connections in all.
    pub total: usize,
    /// How many of them are kept for local and logged-in peers.
    pub reserve: usize,
    /// Connections of one peer; local ones are not counted.
    pub per_peer: usize,
}

/// Why a connection is not served.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// All places are taken.
    Full,
    /// This peer has as many as it may.
    Peer,
    /// No thread could be started.
    Threads,
    /// There are no descriptors left.
    Descriptors,
}

impl Refused {
    /// The word for the log.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Full => "too many connections",
            Self::Peer => "too many connections from this address",
            Self::Threads => "out of threads",
            Self::Descriptors => "out of descriptors",
        }
    }
}

#[derive(Default)]
struct Count {
    common: usize,
    reserved: usize,
    peers: HashMap<PeerKey, usize>,
}

/// Counts connections.  Any thread.
pub struct Gate {
    caps: Mutex<Caps>,
    // Taken after `caps`, never before it.
    count: Mutex<Count>,
    left: Condvar,
}

impl Gate {
    /// An empty one.
    #[must_use]
    pub fn new(caps: Caps) -> Arc<Self> {
        Arc::new(Self {
            caps: Mutex::new(caps),
            count: Mutex::new(Count::default()),
            left: Condvar::new(),
        })
    }

    /// Sets the caps anew; connections beyond them stay.
    pub fn set_caps(&self, caps: Caps) {
        *lock(&self.caps) = caps;
    }

    /// Counts a connection in, or says why not.  No address is a unix socket,
    /// which like the loopback addresses is local.
    pub fn admit(self: &Arc<Self>, peer: Option<IpAddr>) -> Result<Slot, Refused> {
        let caps = *lock(&self.caps);
        let mut count = lock(&self.count);
        let local = peer.is_none_or(|ip| ip.to_canonical().is_loopback());
        let all = count.common.saturating_add(count.reserved);
        let common = caps.total.saturating_sub(caps.reserve);
        if all >= caps.total || (!local && count.common >= common) {
            return Err(Refused::Full);
        }
        let key = peer.filter(|_| !local).map(PeerKey::of);
        if let Some(key) = key {
            let n = count.peers.entry(key).or_default();
            if *n >= caps.per_peer {
                return Err(Refused::Peer);
            }
            *n = n.saturating_add(1);
        }
        if local && count.common >= common {
            count.reserved = count.reserved.saturating_add(1);
            return Ok(Slot { gate: Arc::clone(self), key, reserved: true });
        }
        count.common = count.common.saturating_add(1);
        Ok(Slot { gate: Arc::clone(self), key, reserved: false })
    }

    /// Connections at present.
    #[must_use]
    pub fn in_use(&self) -> usize {
        let count = lock(&self.count);
        count.common.saturating_add(count.reserved)
    }

    /// Waits until there is no connection; false if `deadline` came first.
    pub fn wait_empty(&self, deadline: Deadline) -> bool {
        let mut count = lock(&self.count);
        while count.common != 0 || count.reserved != 0 {
            if deadline.expired() {
                return false;
            }
            count = wait_for(&self.left, count, deadline.left());
        }
        true
    }
}

/// A connection's place; dropping it gives it back.
pub struct Slot {
    gate: Arc<Gate>,
    key: Option<PeerKey>,
    reserved: bool,
}

impl Slot {
    /// Moves to a kept place, if one is free: the peer has logged in.  The
    /// place it leaves is a stranger's again.
    pub fn promote(&mut self) {
        let reserve = lock(&self.gate.caps).reserve;
        let mut count = lock(&self.gate.count);
        if !self.reserved && count.reserved < reserve {
            count.common = count.common.saturating_sub(1);
            count.reserved = count.reserved.saturating_add(1);
            self.reserved = true;
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let mut count = lock(&self.gate.count);
        if self.reserved {
            count.reserved = count.reserved.saturating_sub(1);
        } else {
            count.common = count.common.saturating_sub(1);
        }
        if let Some(key) = self.key {
            if let Some(n) = count.peers.get_mut(&key) {
                *n = n.saturating_sub(1);
                if *n == 0 {
                    count.peers.remove(&key);
                }
            }
        }
        self.gate.left.notify_all();
    }
}

/// A connection that has come.
pub struct Accepted<T> {
    /// The socket, non-blocking.
    pub fd: OwnedFd,
    /// Where it comes from; None for a unix socket.
    pub peer: Option<SocketAddr>,
    /// What the listener it came to was tagged with.
    pub listener: T,
    /// Its place.
    pub slot: Slot,
}

/// What a connection's thread does.
pub type Serve<T> = Arc<dyn Fn(Accepted<T>) + Send + Sync>;

/// What is told to a connection that is not served: socket, peer, tag, reason.
pub type Refuse<T> = dyn Fn(OwnedFd, Option<SocketAddr>, &T, Refused);

/// Listening sockets, each with a tag that says what is spoken there; may be
/// replaced while the loop runs.
pub struct Listeners<T> {
    list: Mutex<Arc<Vec<Listener<T>>>>,
    stopped: Mutex<bool>,
    wake: File,
    woken: File,
}

/// A listening socket, which others may keep too, and its tag.
pub type Listener<T> = (Arc<OwnedFd>, T);

impl<T: Clone + Send + 'static> Listeners<T> {
    /// None yet.
    pub fn new() -> Result<Self, SysError> {
        let (woken, wake) = fdpass::pipe()?;
        for fd in [&woken, &wake] {
            poll::set_nonblocking(fd.as_fd(), true).map_err(|e| SysError::of("ioctl", &e))?;
        }
        let (wake, woken) = (File::from(wake), File::from(woken));
        Ok(Self { list: Mutex::new(Arc::default()), stopped: Mutex::new(false), wake, woken })
    }

    /// Replaces them all; connections that were accepted are not concerned.
    pub fn replace(&self, list: Vec<Listener<T>>) {
        *lock(&self.list) = Arc::new(list);
        self.wake();
    }

    /// Ends [`run`](Self::run) and closes them.
    pub fn stop(&self) {
        *lock(&self.stopped) = true;
        self.replace(Vec::new());
    }

    fn wake(&self) {
        use io::Write;
        // A full pipe wakes just as well.
        let _ = (&self.wake).write(b".");
    }

    /// Accepts connections until [`stop`](Self::stop): `serve` runs in a thread
    /// of its own for each, `refuse` in this thread for those that get none; it
    /// must not wait (a 421 or BYE, written at once or not at all).
    pub fn run(
        &self,
        gate: &Arc<Gate>,
        name: &str,
        serve: &Serve<T>,
        refuse: &Refuse<T>,
    ) -> Result<(), SysError> {
        let reserve = || self.woken.try_clone().ok();
        let mut spare = reserve();
        let mut pause = None;
        while !*lock(&self.stopped) {
            let list = Arc::clone(&*lock(&self.list));
            let mut fds = vec![poll::PollFd::new(self.woken.as_fd(), poll::IN)];
            if pause.is_none() {
                let listening = list.iter().map(|(fd, _)| poll::PollFd::new(fd.as_fd(), poll::IN));
                fds.extend(listening);
            }
            poll::wait(&mut fds, pause.take()).map_err(|e| SysError::of("poll", &e))?;
            if fds.first().is_some_and(poll::PollFd::readable) {
                use io::Read;
                // What is read says nothing; not being able to read it neither.
                let _ = (&self.woken).read(&mut [0; 64]);
                continue;
            }
            for ((fd, tag), ready) in list.iter().zip(fds.iter().skip(1)) {
                if !ready.readable() {
                    continue;
                }
                for _ in 0..BATCH {
                    match net::accept(fd.as_fd()) {
                        Ok(Some((fd, peer))) => {
                            start(gate, name, fd, peer, tag, serve, refuse);
                        }
                        Ok(None) => break,
                        Err(e) if e.is_exhausted() => {
                            // Refusing one by one empties the queue of waiting
                            // connections; then rest, since poll stays ready.
                            drop(spare.take());
                            if let Ok(Some((fd, peer))) = net::accept(fd.as_fd()) {
                                refuse(fd, peer, tag, Refused::Descriptors);
                            }
                            spare = reserve();
                            pause = Some(PAUSE);
                            break;
                        }
                        Err(e) if e.errno == errno::EINVAL => break, // closed under us
                        Err(e) => return Err(e),
                    }
                }
            }
            if spare.is_none() {
                spare = reserve();
            }
        }
        Ok(())
    }
}

fn start<T: Clone + Send + 'static>(
    gate: &Arc<Gate>,
    name: &str,
    fd: OwnedFd,
    peer: Option<SocketAddr>,
    tag: &T,
    serve: &Serve<T>,
    refuse: &Refuse<T>,
) {
    let slot = match gate.admit(peer.map(|a| a.ip())) {
        Ok(slot) => slot,
        Err(why) => return refuse(fd, peer, tag, why),
    };
    // The thread takes the connection out; if there is none, it is still here.
    let hand = Arc::new(Mutex::new(Some(Accepted { fd, peer, listener: tag.clone(), slot })));
    let (theirs, serve) = (Arc::clone(&hand), Arc::clone(serve));
    let thread = std::thread::Builder::new().stack_size(STACK).name(name.to_owned());
    let started = thread.spawn(move || {
        let Some(accepted) = lock(&theirs).take() else { return };
        if catch_unwind(AssertUnwindSafe(|| serve(accepted))).is_err() {
            log_crit!("connection", peer = peer.map(|a| a.ip()), msg = "lost to a panic");
        }
    });
    if started.is_err() {
        if let Some(accepted) = lock(&hand).take() {
            refuse(accepted.fd, peer, tag, Refused::Threads);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::net::TcpStream;

    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn peers_are_counted_by_address_and_network() {
        assert_eq!(
            PeerKey::of("2001:db8::1".parse().unwrap()),
            PeerKey::of("2001:db8::ffff:1".parse().unwrap())
        );
        assert_ne!(
            PeerKey::of("2001:db8::1".parse().unwrap()),
            PeerKey::of("2001:db8:0:1::1".parse().unwrap())
        );
        assert_eq!(
            PeerKey::of("::ffff:192.0.2.1".parse().unwrap()),
            PeerKey::of("192.0.2.1".parse().unwrap())
        );
        let gate = Gate::new(Caps { total: 10, reserve: 0, per_peer: 2 });
        let a = gate.admit(ip("192.0.2.1")).unwrap();
        let _b = gate.admit(ip("192.0.2.1")).unwrap();
        assert!(matches!(gate.admit(ip("192.0.2.1")), Err(Refused::Peer)));
        let _c = gate.admit(ip("192.0.2.2")).unwrap();
        drop(a);
        let _d = gate.admit(ip("192.0.2.1")).unwrap();
        assert_eq!(gate.in_use(), 3);
    }

    #[test]
    fn places_are_kept_for_local_and_logged_in_peers() {
        let gate = Gate::new(Caps { total: 3, reserve: 1, per_peer: 9 });
        let mut a = gate.admit(ip("192.0.2.1")).unwrap();
        let _b = gate.admit(ip("192.0.2.2")).unwrap();
        assert!(matches!(gate.admit(ip("192.0.2.3")), Err(Refused::Full)));
        a.promote();
        let c = gate.admit(ip("192.0.2.3")).unwrap();
        assert!(matches!(gate.admit(None), Err(Refused::Full)));
        drop(c);
        let _d = gate.admit(ip("127.0.0.1")).unwrap();
        assert!(!gate.wait_empty(Deadline::now()));
        drop(a);
        let _e = gate.admit(None).unwrap();
    }

    /// The other side of [`running_out_of_descriptors_is_survived`].
    #[test]
    fn probe() {
        if std::env::var_os("RMAIL_LISTEN_PROBE").is_none() {
            return;
        }
        let listener = net::listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = net::local_addr(&listener).unwrap();
        let gate = Gate::new(Caps { total: 1000, reserve: 0, per_peer: 1000 });
        let listeners = Arc::new(Listeners::new().unwrap());
        listeners.replace(vec![(Arc::new(listener), ())]);
        let serve: Serve<()> = Arc::new(|accepted| {
            let mut socket = TcpStream::from(accepted.fd);
            socket.set_nonblocking(false).unwrap();
            socket.write_all(b"s").unwrap();
            let _ = socket.read(&mut [0]);
        });
        let loop_ = Arc::clone(&listeners);
        std::thread::spawn(move || {
            loop_.run(&gate, "test", &serve, &|fd, _, _, why| {
                let byte: &[u8] = if why == Refused::Descriptors { b"r" } else { b"?" };
                let _ = std::fs::File::from(fd).write(byte);
            })
        });
        println!("address={addr}");
        // Until the other side has seen enough.
        let _ = std::io::stdin().read(&mut [0]);
        crate::sys::spawn::exit_now(42);
    }

    #[test]
    fn running_out_of_descriptors_is_survived() {
        use std::io::BufRead;
        use std::process::{Command, Stdio};
        let me = std::env::current_exe().unwrap();
        let mut server = Command::new("/bin/sh")
            .args(["-c", "ulimit -n 40; exec \"$0\" base::listen::tests::probe --nocapture"])
            .arg(me)
            .env("RMAIL_LISTEN_PROBE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = std::io::BufReader::new(server.stdout.take().unwrap());
        let addr: std::net::SocketAddr = stdout
            .lines()
            .find_map(|l| l.unwrap().split_once("address=").map(|(_, a)| a.parse().unwrap()))
            .unwrap();
        let ask = || {
            let mut socket = TcpStream::connect(addr).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            (socket, byte)
        };
        // The server has descriptors for fewer than 40 connections: they are
        // held, the next is refused, and when they are free it serves again.
        let mut held = Vec::new();
        let refused = loop {
            let (socket, byte) = ask();
            if &byte != b"s" {
                break byte;
            }
            held.push(socket);
            assert!(held.len() < 40, "more connections than descriptors");
        };
        assert_eq!(&refused, b"r");
        drop(held);
        let begun = std::time::Instant::now();
        while &ask().1 != b"s" {
            assert!(begun.elapsed() < Duration::from_secs(20), "not served again");
        }
        drop(server.stdin.take());
        assert_eq!(server.wait().unwrap().code(), Some(42));
    }

    #[test]
    fn connections_are_served_refused_and_survive_panics() {
        let listener = net::listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let addr = net::local_addr(&listener).unwrap();
        let gate = Gate::new(Caps { total: 2, reserve: 0, per_peer: 9 });
        let listeners = Arc::new(Listeners::new().unwrap());
        listeners.replace(vec![(Arc::new(listener), "tag")]);
        let serve: Serve<&'static str> = Arc::new(|accepted| {
            assert_eq!(accepted.listener, "tag");
            let mut socket = TcpStream::from(accepted.fd);
            socket.set_nonblocking(false).unwrap();
            let mut byte = [0];
            let _ = socket.read(&mut byte);
            assert_ne!(byte, *b"p", "asked to");
            socket.write_all(b"served").unwrap();
        });
        let loop_ = {
            let (listeners, gate) = (Arc::clone(&listeners), Arc::clone(&gate));
            std::thread::spawn(move || {
                listeners.run(&gate, "test", &serve, &|fd, _, _, why| {
                    let _ = std::fs::File::from(fd).write(why.as_str().as_bytes());
                })
            })
        };
        let ask = |mut s: TcpStream, byte: &[u8]| {
            s.write_all(byte).unwrap();
            let mut text = String::new();
            let _ = s.read_to_string(&mut text);
            text
        };
        let (a, b) = (TcpStream::connect(addr).unwrap(), TcpStream::connect(addr).unwrap());
        let c = TcpStream::connect(addr).unwrap();
        let mut text = String::new();
        (&c).read_to_string(&mut text).unwrap();
        assert_eq!(text, "too many connections");
        assert_eq!(ask(a, b"p"), "");
        assert_eq!(ask(b, b"x"), "served");
        assert!(gate.wait_empty(Deadline::after(Duration::from_secs(5))));
        assert_eq!(ask(TcpStream::connect(addr).unwrap(), b"x"), "served");
        listeners.stop();
        loop_.join().unwrap().unwrap();
        assert!(TcpStream::connect(addr).is_err());
    }
}
