//! Waking the sessions that wait (IDLE) when a mailbox changes.
//!
//! A session waits with poll(2) for its client and for its waker, a pipe; who
//! changes the model writes a byte into each.  No timer, no thread.  A delivery
//! that only links the file (the store died of it before) rings nobody.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex, Weak};

use crate::base::lock::lock;
use crate::sys::errno::SysError;
use crate::sys::{fdpass, poll};

/// One session's ear.
pub struct Waker {
    read: File,
    write: File,
}

impl Waker {
    /// Makes one; two descriptors.
    pub fn new() -> Result<Waker, SysError> {
        let (read, write) = fdpass::pipe()?;
        for fd in [read.as_fd(), write.as_fd()] {
            poll::set_nonblocking(fd, true).map_err(|e| SysError::of("fcntl", &e))?;
        }
        Ok(Waker { read: File::from(read), write: File::from(write) })
    }

    /// Readable once something has changed.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.read.as_fd()
    }

    /// Forgets what was said so far; call it before looking at the mailbox.
    pub fn drain(&self) {
        let mut bytes = [0u8; 64];
        // Empty (EAGAIN) is the usual end.
        while matches!((&self.read).read(&mut bytes), Ok(n) if n > 0) {}
    }

    fn ring(&self) {
        // A full pipe says all there is to say.
        let _ = (&self.write).write(&[1]);
    }
}

/// The sessions that listen to one mailbox.
#[derive(Default)]
pub struct Wakers(Mutex<Vec<Weak<Waker>>>);

impl Wakers {
    /// Adds a session; it leaves by dropping its waker.
    pub fn add(&self, waker: &Arc<Waker>) {
        lock(&self.0).push(Arc::downgrade(waker));
    }

    /// Wakes all.
    pub fn wake(&self) {
        lock(&self.0).retain(|w| w.upgrade().map(|w| w.ring()).is_some());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_ring_is_heard_until_drained_and_the_dead_are_forgotten() {
        let wakers = Wakers::default();
        let waker = Arc::new(Waker::new().unwrap());
        wakers.add(&waker);
        let heard = |w: &Waker| poll::wait_for(w.fd(), poll::IN, Some(Duration::ZERO)).unwrap();
        assert!(!heard(&waker));
        for _ in 0..100_000 {
            wakers.wake();
        }
        assert!(heard(&waker));
        waker.drain();
        assert!(!heard(&waker));
        drop(waker);
        wakers.wake();
        assert!(lock(&wakers.0).is_empty());
    }
}
