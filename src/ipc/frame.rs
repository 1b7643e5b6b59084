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
//! A frame that breaks these rules (only a message's first may announce a
//! descriptor), a descriptor that nobody announced or one
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
use crate::sys::errno::reason;
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
            Broken::Io(e) => write!(f, "channel: {}", reason(e)),
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

/// Takes the announcement of a descriptor out of a message's frames: there was
/// no room to send it.
pub fn without_fd(frames: &mut [u8]) {
    if let Some(flags) = frames.get_mut(HEADER.saturating_sub(1)) {
        *flags &= !HAS_FD;
    }
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
                // One comes with the first octet of its frame: a peer that sends
                // more would fill the table of descriptors with a frame that
                // never ends.
                let begun = self.bytes.len().div_ceil(HEADER);
                if self.fds.len() > begun {
                    return Err(Broken::Protocol("more descriptors than frames"));
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
                    if whole.kind != frame.kind || whole.id != frame.id {
                        return Err(Broken::Protocol("a message inside another"));
                    }
                    // Lost or not: its sender does not keep the rules.
                    if frame.fd.is_some() || frame.lost {
                        return Err(Broken::Protocol("a descriptor inside a message"));
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

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::socket::{sendmsg, ControlMessage, MsgFlags};
    use std::io::IoSlice;
    use std::os::fd::AsRawFd;

    /// A channel and what reads it.
    struct Ends {
        ours: OwnedFd,
        theirs: OwnedFd,
        assembler: Assembler,
    }

    impl Ends {
        fn new() -> Ends {
            let (ours, theirs) = fdpass::socketpair().unwrap();
            poll::set_nonblocking(theirs.as_fd(), true).unwrap();
            Ends { ours, theirs, assembler: Assembler::new(MESSAGE) }
        }

        /// Sends all of it, with descriptors at its first byte, reading meanwhile.
        fn send(&mut self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> Result<Vec<Message>, Broken> {
            let raw: Vec<i32> = fds.iter().map(AsRawFd::as_raw_fd).collect();
            let mut rights = [ControlMessage::ScmRights(&raw)].to_vec();
            let mut got = Vec::new();
            for piece in bytes.chunks(8192) {
                let iov = [IoSlice::new(piece)];
                let control: &[_] = if raw.is_empty() { &[] } else { &rights };
                let to = self.ours.as_raw_fd();
                let sent = sendmsg::<()>(to, &iov, control, MsgFlags::empty(), None);
                assert_eq!(sent, Ok(piece.len()));
                rights.clear();
                assert!(self.assembler.fill(self.theirs.as_fd())?);
                while let Some(message) = self.assembler.next_message()? {
                    got.push(message);
                }
            }
            Ok(got)
        }
    }

    /// More descriptors than a message may carry: the kernel closes what has no
    /// room, as it does when the process has none left.
    fn too_many(one: &OwnedFd) -> Vec<BorrowedFd<'_>> {
        vec![one.as_fd(); fdpass::MAX_FDS + 4]
    }

    const LONG: usize = 3 * PAYLOAD - 5;

    #[test]
    fn a_descriptor_that_is_lost_is_missed_by_its_message_alone() {
        let mut ends = Ends::new();
        let (null, _other) = fdpass::socketpair().unwrap();
        for len in [0, 5, LONG] {
            let bytes = frames(Kind::Event, 1, &vec![7; len], true);
            let got = ends.send(&bytes, &too_many(&null)).unwrap();
            assert_eq!(got.len(), 1, "{len}");
            assert!(got[0].lost && got[0].fd.is_none() && got[0].payload.len() == len);
            // The next has its own, and one without is not thought to lack one.
            let got = ends.send(&frames(Kind::Event, 2, &vec![8; len], true), &[null.as_fd()]);
            let got = got.unwrap();
            assert!(!got[0].lost && got[0].fd.is_some() && got[0].payload.len() == len);
            let got = ends.send(&frames(Kind::Event, 3, b"", false), &[]).unwrap();
            assert!(!got[0].lost && got[0].fd.is_none());
        }
    }

    #[test]
    fn messages_that_arrive_at_once_keep_their_descriptors() {
        let mut ends = Ends::new();
        let (null, _other) = fdpass::socketpair().unwrap();
        let plain = frames(Kind::Event, 1, b"plain", false);
        let carrying = frames(Kind::Event, 2, b"carrying", true);
        assert_eq!(fdpass::send(ends.ours.as_fd(), &plain, &[]).unwrap(), plain.len());
        fdpass::send(ends.ours.as_fd(), &carrying, &[null.as_fd()]).unwrap();
        let mut got = ends.send(&plain, &[]).unwrap();
        while got.len() < 3 {
            assert!(ends.assembler.fill(ends.theirs.as_fd()).unwrap());
            got.extend(ends.assembler.next_message().unwrap());
        }
        let with: Vec<(u64, bool)> = got.iter().map(|m| (m.id, m.fd.is_some())).collect();
        assert_eq!(with, [(1, false), (2, true), (1, false)]);
    }

    #[test]
    fn a_descriptor_inside_a_message_ends_the_channel_also_when_it_is_lost() {
        for lost in [false, true] {
            let mut ends = Ends::new();
            let (null, _other) = fdpass::socketpair().unwrap();
            let bytes = frames(Kind::Event, 1, &[7; LONG], false);
            let (first, rest) = bytes.split_at(FRAME);
            assert!(ends.send(first, &[]).unwrap().is_empty());
            let mut rest = rest.to_vec();
            rest[HEADER - 1] |= HAS_FD;
            let fds = if lost { too_many(&null) } else { vec![null.as_fd()] };
            let got = ends.send(&rest, &fds);
            assert!(matches!(got, Err(Broken::Protocol("a descriptor inside a message"))));
        }
    }

    #[test]
    fn a_descriptor_that_was_not_announced_or_not_sent_ends_the_channel() {
        let (null, _other) = fdpass::socketpair().unwrap();
        let got = Ends::new().send(&frames(Kind::Event, 1, b"x", false), &[null.as_fd()]);
        assert!(matches!(got, Err(Broken::Protocol(_))));
        let got = Ends::new().send(&frames(Kind::Event, 1, b"x", true), &[]);
        assert!(matches!(got, Err(Broken::Protocol(_))));
        let mut bytes = frames(Kind::Event, 1, b"x", true);
        without_fd(&mut bytes);
        let got = Ends::new().send(&bytes, &[]).unwrap();
        assert!(got[0].fd.is_none() && !got[0].lost && got[0].payload == b"x");
    }

    #[test]
    fn a_frame_whose_writer_ran_out_of_time_is_ended_by_the_next() {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let sender = Sender::new(ours).unwrap();
        let long = vec![7; 1 << 20];
        let now = Deadline::after(std::time::Duration::ZERO);
        // The channel takes a part of it, and then nothing more.
        sender.send(Kind::Event, 1, &long, None, now).unwrap();
        assert!(matches!(sender.send(Kind::Event, 2, b"x", None, now), Err(Broken::Timeout)));
        let soon = Deadline::after(std::time::Duration::from_secs(20));
        std::thread::scope(|s| {
            s.spawn(|| sender.send(Kind::Event, 3, b"y", None, soon).unwrap());
            let mut receiver = Receiver::new(MESSAGE);
            let first = receiver.recv(theirs.as_fd(), soon).unwrap();
            assert_eq!((first.id, first.payload.len()), (1, 1 << 20));
            let second = receiver.recv(theirs.as_fd(), soon).unwrap();
            assert_eq!((second.id, second.payload), (3, b"y".to_vec()));
        });
    }
}
