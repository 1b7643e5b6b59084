//! Parent's end of a child's channel: it never waits for it.
//!
//! What cannot be written at once is queued; a child whose queue is full does
//! not read, and is ended.  A descriptor that the system does not pass (too many
//! are on their way, OpenBSD: kern.maxfiles/10) is missed by its message alone,
//! as one that found no room in the child.

use crate::base::log::{self, Show};
use crate::ipc::frame::{self, Assembler, Broken, Kind};
use crate::ipc::parent::{Down, Up, MESSAGE};
use crate::ipc::wire::Wire;
use crate::sys::fdpass;
use crate::sys::poll;
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

/// How many bytes may wait for a child besides a configuration: a child that
/// lets more wait is stopped or broken.
const QUEUED: usize = 8 * 1024 * 1024;

/// A message that waits: its bytes, how many are out, its descriptor.
struct Waiting {
    bytes: Vec<u8>,
    at: usize,
    fd: Option<OwnedFd>,
    config: bool,
}

/// The channel to one child.
pub struct Pipe {
    fd: OwnedFd,
    out: VecDeque<Waiting>,
    queued: usize,
    assembler: Assembler,
}

impl Pipe {
    /// Takes parent's end of the socketpair.
    pub fn new(fd: OwnedFd) -> io::Result<Pipe> {
        poll::set_nonblocking(fd.as_fd(), true)?;
        let assembler = Assembler::new(crate::ipc::frame::MESSAGE);
        Ok(Pipe { fd, out: VecDeque::new(), queued: 0, assembler })
    }

    /// For poll(2).
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// True if something waits to be written.
    pub fn wants_write(&self) -> bool {
        !self.out.is_empty()
    }

    /// Queues a message; false if the child has let too much wait.
    #[must_use]
    pub fn send(&mut self, message: &Down, fd: Option<OwnedFd>) -> bool {
        let payload = message.to_bytes();
        if payload.len() > MESSAGE {
            return false;
        }
        let bytes = frame::frames(Kind::Event, 0, &payload, fd.is_some());
        let config = matches!(message, Down::Config { .. });
        if !config {
            self.queued = self.queued.saturating_add(bytes.len());
        }
        let waiting = Waiting { bytes, at: 0, fd, config };
        // Each reload would wait whole for a child that is stopped.  In the
        // place of the older one: listeners that follow that may be new to it.
        match self.out.iter_mut().find(|w| config && w.config && w.at == 0) {
            Some(older) => *older = waiting,
            None => self.out.push_back(waiting),
        }
        self.queued <= QUEUED && self.flush().is_ok()
    }

    /// Writes what the channel takes now.
    pub fn flush(&mut self) -> Result<(), Broken> {
        while let Some(first) = self.out.front_mut() {
            let left = first.bytes.get(first.at..).unwrap_or_default();
            let pass: Vec<BorrowedFd<'_>> = first.fd.iter().map(AsFd::as_fd).collect();
            match fdpass::send(self.fd.as_fd(), left, &pass) {
                Ok(n) => {
                    first.fd = None;
                    first.at = first.at.saturating_add(n);
                    if !first.config {
                        self.queued = self.queued.saturating_sub(n);
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) if first.fd.is_some() && fdpass::is_shortage(&e) => {
                    log::crit!("child", msg = "a descriptor cannot be passed", error = Show(&e));
                    first.fd = None;
                    frame::without_fd(&mut first.bytes);
                }
                Err(e) => return Err(e.into()),
            }
            if first.at >= first.bytes.len() {
                self.out.pop_front();
            }
        }
        self.queued = 0;
        Ok(())
    }

    /// Reads once and gives the whole messages, each with its descriptor.
    pub fn receive(&mut self) -> Result<Vec<(Up, Option<OwnedFd>)>, Broken> {
        if !self.assembler.fill(self.fd.as_fd())? {
            return Err(Broken::Gone);
        }
        let mut all = Vec::new();
        while let Some(m) = self.assembler.next_message()? {
            let up = Up::from_bytes(&m.payload)
                .map_err(|_| Broken::Protocol("malformed message to parent"))?;
            all.push((up, m.fd));
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::clock::Deadline;
    use crate::ipc::frame::Receiver;
    use crate::ipc::parent::Part;
    use std::time::Duration;

    fn config(generation: u64) -> Down {
        let part = Part { generation, text: vec![b'x'; 1 << 20], files: Vec::new() };
        Down::Config { part }
    }

    #[test]
    fn configurations_for_a_child_that_is_stopped_do_not_pile_up() {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let mut pipe = Pipe::new(ours).unwrap();
        for generation in 1..=20 {
            assert!(pipe.send(&config(generation), None));
            assert!(pipe.send(&Down::Verbose { level: 0 }, None));
        }
        assert_eq!(pipe.out.iter().filter(|w| w.config).count(), 2);
        let small: usize = pipe.out.iter().filter(|w| !w.config).map(|w| w.bytes.len()).sum();
        assert_eq!(pipe.queued, small);
        let reader = std::thread::spawn(move || {
            let mut inbox = Receiver::reserving(MESSAGE);
            let mut got = Vec::new();
            while got.len() < 22 {
                let deadline = Deadline::after(Duration::from_secs(60));
                let message = inbox.recv(theirs.as_fd(), deadline).unwrap();
                got.push(Down::from_bytes(&message.payload).unwrap());
            }
            got.into_iter()
                .filter_map(|down| match down {
                    Down::Config { part } => Some(part.generation),
                    _ => None,
                })
                .collect::<Vec<u64>>()
        });
        while pipe.wants_write() {
            pipe.flush().unwrap();
            std::thread::yield_now();
        }
        assert_eq!(reader.join().unwrap(), [1, 20]);
    }
}
