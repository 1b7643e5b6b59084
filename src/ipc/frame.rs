//! How messages and descriptors cross a socketpair.
//!
//! Runs in every process.  A message is one or more frames of at most 16 KB,
//! since a socketpair buffers 32 KB and a frame should fit whole:
//!
//! ```text
//! length u32 | id u64 | kind u8 | flags u8 | payload
//! ```
//!
//! Flags: 1 says that a descriptor belongs to this frame, and it travels with
//! the frame's first byte; 2 says that the message goes on in the next frame.
//! A frame that breaks these rules, a descriptor that nobody announced or one
//! that was announced and not sent ends the channel: the peer is broken, or the
//! two are out of step, and neither can be mended.  A descriptor that found no
//! free slot in this process is another matter: its message arrives without it,
//! marked [`Message::lost`], and is answered as what it is, a shortage that will
//! pass.
//!
//! Both ends are non-blocking and waited for with poll(2) only: a pledged
//! process may not set a timeout on a socket.  A peer that is stopped does not
//! stop its callers: whoever waits for the right to write has a deadline too,
//! and a frame that was begun is finished by the next writer.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::sys::fdpass::{self, Received};
use crate::sys::{net, poll};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard};

/// The largest frame, header included.
pub const FRAME: usize = 16 * 1024;

/// The largest message of an ordinary edge.
pub const MESSAGE: usize = 4 * 1024 * 1024;

const HEADER: usize = 14;
const PAYLOAD: usize = FRAME.saturating_sub(HEADER);
const HAS_FD: u8 = 1;
const MORE: u8 = 2;

/// What a message is to its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Wants an answer with the same id.
    Request,
    /// The answer.
    Reply,
    /// Wants no answer.
    Event,
    /// The answer of a server whose pool is full.
    Busy,
}

impl Kind {
    const fn byte(self) -> u8 {
        match self {
            Kind::Request => 1,
            Kind::Reply => 2,
            Kind::Event => 3,
            Kind::Busy => 4,
        }
    }

    const fn of(byte: u8) -> Option<Kind> {
        match byte {
            1 => Some(Kind::Request),
            2 => Some(Kind::Reply),
            3 => Some(Kind::Event),
            4 => Some(Kind::Busy),
            _ => None,
        }
    }
}

/// A whole message as it arrived.
#[derive(Debug)]
pub struct Message {
    /// What it is.
    pub kind: Kind,
    /// Whose answer it is, or wants to be.
    pub id: u64,
    /// The value, for [`crate::ipc::wire::Wire::from_bytes`].
    pub payload: Vec<u8>,
    /// The descriptor that came with it.
    pub fd: Option<OwnedFd>,
    /// A descriptor came with it, and this process had no room for it.
    pub lost: bool,
}

/// Why a message could not be sent or received.
#[derive(Debug)]
pub enum Broken {
    /// The other end is closed.
    Gone,
    /// The deadline passed; the channel is still good.
    Timeout,
    /// The peer broke the rules of framing; the channel must be closed.
    Protocol(&'static str),
    /// The system call failed; the channel must be closed.
    Io(io::Error),
}

impl std::fmt::Display for Broken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Broken::Gone => f.write_str("peer is gone"),
            Broken::Timeout => f.write_str("deadline passed"),
            Broken::Protocol(why) => write!(f, "peer broke the channel: {why}"),
            Broken::Io(e) => write!(f, "channel: {e}"),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(e: io::Error) -> Self {
        match e.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => Broken::Gone,
            _ => Broken::Io(e),
        }
    }
}

/// A message as the bytes of its frames, ready to be written.  Its descriptor,
/// if it has one, must travel with the first byte.
pub fn frames(kind: Kind, id: u64, payload: &[u8], has_fd: bool) -> Vec<u8> {
    let mut chunks: Vec<&[u8]> = payload.chunks(PAYLOAD).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    let last = chunks.len().saturating_sub(1);
    let mut out = Vec::with_capacity(payload.len().saturating_add(HEADER));
    for (i, chunk) in chunks.iter().enumerate() {
        out.extend_from_slice(&u32::try_from(chunk.len()).unwrap_or(0).to_be_bytes());
        out.extend_from_slice(&id.to_be_bytes());
        out.push(kind.byte());
        out.push(if has_fd && i == 0 { HAS_FD } else { 0 } | if i < last { MORE } else { 0 });
        out.extend_from_slice(chunk);
    }
    out
}

/// Puts messages together from what recvmsg(2) gives.
pub struct Assembler {
    bytes: Vec<u8>,
    /// `None`: one that was lost.
    fds: VecDeque<Option<OwnedFd>>,
    partial: Option<Message>,
    max: usize,
    /// Keeps a place in the table of descriptors for what the next read brings.
    reserve: Option<OwnedFd>,
    reserves: bool,
}

impl Assembler {
    /// For messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Assembler {
            bytes: Vec::new(),
            fds: VecDeque::new(),
            partial: None,
            max,
            reserve: None,
            reserves: false,
        }
    }

    /// Reads once from a readable channel.  False at the end of the stream.
    pub fn fill(&mut self, from: BorrowedFd<'_>) -> Result<bool, Broken> {
        let mut chunk = [0u8; FRAME];
        let mut fds = Vec::new();
        self.reserve = None;
        let received = fdpass::recv(from, &mut chunk, &mut fds);
        if self.reserves {
            // Without room for it there is none now; the next read tries again.
            self.reserve = from.try_clone_to_owned().ok();
        }
        match received {
            Ok(Received { bytes: 0, .. }) => Ok(false),
            Ok(Received { bytes, lost }) => {
                self.bytes.extend_from_slice(chunk.get(..bytes).unwrap_or_default());
                self.fds.extend(fds.into_iter().map(Some));
                if lost {
                    // A frame carries one.
                    self.fds.push_back(None);
                }
                Ok(true)
            }
            Err(e) if would_wait(&e) => Ok(true),
            Err(e) => Err(e.into()),
        }
    }

    /// The next whole message, if it is there.
    pub fn next_message(&mut self) -> Result<Option<Message>, Broken> {
        loop {
            let Some((frame, more)) = self.next_frame()? else { return Ok(None) };
            let message = match self.partial.take() {
                None => frame,
                Some(mut whole) => {
                    if whole.kind != frame.kind || whole.id != frame.id || frame.fd.is_some() {
                        return Err(Broken::Protocol("a message inside another"));
                    }
                    whole.payload.extend_from_slice(&frame.payload);
                    whole
                }
            };
            if message.payload.len() > self.max {
                return Err(Broken::Protocol("message too long"));
            }
            if !more {
                return Ok(Some(message));
            }
            self.partial = Some(message);
        }
    }

    fn next_frame(&mut self) -> Result<Option<(Message, bool)>, Broken> {
        let Some((head, rest)) = self.bytes.split_first_chunk::<HEADER>() else { return Ok(None) };
        let [l0, l1, l2, l3, id @ .., kind, flags] = *head;
        let len = usize::try_from(u32::from_be_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        if len > PAYLOAD {
            return Err(Broken::Protocol("frame too long"));
        }
        let kind = Kind::of(kind).ok_or(Broken::Protocol("unknown kind of frame"))?;
        let Some(payload) = rest.get(..len) else { return Ok(None) };
        let payload = payload.to_vec();
        let id = u64::from_be_bytes(id);
        let (fd, lost) = if flags & HAS_FD == 0 {
            (None, false)
        } else {
            let missing = Broken::Protocol("announced descriptor did not arrive");
            let fd = self.fds.pop_front().ok_or(missing)?;
            let lost = fd.is_none();
            (fd, lost)
        };
        self.bytes.drain(..HEADER.saturating_add(len));
        if self.bytes.is_empty() && !self.fds.is_empty() {
            return Err(Broken::Protocol("descriptor that nobody announced"));
        }
        Ok(Some((Message { kind, id, payload, fd, lost }, flags & MORE != 0)))
    }
}

/// The reading half: one owner, usually a thread of its own.
pub struct Receiver {
    assembler: Assembler,
}

impl Receiver {
    /// For messages of at most `max` bytes.
    pub fn new(max: usize) -> Self {
        Receiver { assembler: Assembler::new(max) }
    }

    /// The same, with a descriptor kept in reserve, so that one that comes with a
    /// message finds room although the process has none left.
    pub fn reserving(max: usize) -> Self {
        let mut receiver = Receiver::new(max);
        receiver.assembler.reserves = true;
        receiver
    }

    /// The next message from a non-blocking channel, always the same one;
    /// blocks up to the deadline.
    pub fn recv(&mut self, from: BorrowedFd<'_>, deadline: Deadline) -> Result<Message, Broken> {
        loop {
            if let Some(m) = self.assembler.next_message()? {
                return Ok(m);
            }
            match poll::wait_for(from, poll::IN, deadline.left()) {
                Ok(true) => {}
                Ok(false) => return Err(Broken::Timeout),
                Err(e) => return Err(Broken::Io(e)),
            }
            if !self.assembler.fill(from)? {
                return Err(Broken::Gone);
            }
        }
    }
}

/// The writing half, shared by all threads that use the channel.
pub struct Sender {
    fd: OwnedFd,
    state: Mutex<Writing>,
    free: Condvar,
}

#[derive(Default)]
struct Writing {
    busy: bool,
    /// The rest of a frame whose writer ran out of time.
    rest: Vec<u8>,
}

impl Sender {
    /// Takes one end of a socketpair and makes it non-blocking.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        poll::set_nonblocking(fd.as_fd(), true)?;
        Ok(Sender { fd, state: Mutex::default(), free: Condvar::new() })
    }

    /// The channel itself, for its reader.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sends a message; blocks up to the deadline.
    ///
    /// [`Broken::Timeout`] means that nothing of it was sent.  A message whose
    /// first bytes are out counts as sent: the next writer finishes it.
    pub fn send(
        &self,
        kind: Kind,
        id: u64,
        payload: &[u8],
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), Broken> {
        let mut rest = self.acquire(deadline)?;
        let result = self.write(&mut rest, kind, id, payload, fd, deadline);
        self.release(rest);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Writing> {
        lock::lock(&self.state)
    }

    /// Ends the channel for both sides: it is out of step.
    pub fn shutdown(&self) {
        // Already closed by the peer is as good.
        let _ = net::shutdown(self.fd.as_fd(), std::net::Shutdown::Both);
    }

    fn acquire(&self, deadline: Deadline) -> Result<Vec<u8>, Broken> {
        let mut state = self.lock();
        while state.busy {
            if deadline.expired() {
                return Err(Broken::Timeout);
            }
            state = lock::wait_for(&self.free, state, deadline.left());
        }
        state.busy = true;
        Ok(std::mem::take(&mut state.rest))
    }

    fn release(&self, rest: Vec<u8>) {
        let mut state = self.lock();
        state.busy = false;
        state.rest = rest;
        self.free.notify_one();
    }

    fn write(
        &self,
        rest: &mut Vec<u8>,
        kind: Kind,
        id: u64,
        payload: &[u8],
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), Broken> {
        while !rest.is_empty() {
            let n = self.write_some(rest, None, deadline)?;
            rest.drain(..n);
        }
        let all = frames(kind, id, payload, fd.is_some());
        let mut at = self.write_some(&all, fd, deadline)?;
        while let Some(left) = all.get(at..).filter(|l| !l.is_empty()) {
            match self.write_some(left, None, deadline) {
                Ok(n) => at = at.saturating_add(n),
                Err(Broken::Timeout) => {
                    rest.extend_from_slice(left);
                    break;
                }
                Err(e) => return Err(e),
            }
        }
        Ok(())
    }

    fn write_some(
        &self,
        bytes: &[u8],
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<usize, Broken> {
        loop {
            let pass: &[BorrowedFd<'_>] = match &fd {
                Some(fd) => std::slice::from_ref(fd),
                None => &[],
            };
            match fdpass::send(self.fd(), bytes, pass) {
                Ok(n) => return Ok(n),
                Err(e) if would_wait(&e) => {}
                Err(e) => return Err(e.into()),
            }
            match poll::wait_for(self.fd(), poll::OUT, deadline.left()) {
                Ok(true) => {}
                Ok(false) => return Err(Broken::Timeout),
                Err(e) => return Err(Broken::Io(e)),
            }
        }
    }
}

fn would_wait(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
