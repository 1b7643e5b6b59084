//! poll(2): the one way in which rmail waits for descriptors.
//!
//! Timed waits are up to 20 ms late on OpenBSD (10 ms clock ticks), never
//! early: a wait is rounded up to whole milliseconds.

use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// Something can be read, accepted, or the peer has closed.
pub const IN: i16 = libc::POLLIN;
/// Something can be written, or a connect has ended.
pub const OUT: i16 = libc::POLLOUT;

/// A descriptor and what to wait for.
#[repr(transparent)]
#[derive(Clone, Copy)]
pub struct PollFd<'a> {
    raw: libc::pollfd,
    fd: PhantomData<BorrowedFd<'a>>,
}

impl<'a> PollFd<'a> {
    /// Waits for `events`, [`IN`] and [`OUT`]; 0 waits only for hang-up.
    #[must_use]
    pub fn new(fd: BorrowedFd<'a>, events: i16) -> Self {
        Self { raw: libc::pollfd { fd: fd.as_raw_fd(), events, revents: 0 }, fd: PhantomData }
    }

    /// An entry that is never ready, to keep the places of a table.
    #[must_use]
    pub const fn none() -> Self {
        Self { raw: libc::pollfd { fd: -1, events: 0, revents: 0 }, fd: PhantomData }
    }

    /// Whether a read would not block: data, end of file, or an error to fetch.
    #[must_use]
    pub const fn readable(&self) -> bool {
        self.raw.revents & (libc::POLLIN | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    /// Whether a write would not block: room, or an error to fetch.
    #[must_use]
    pub const fn writable(&self) -> bool {
        self.raw.revents & (libc::POLLOUT | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    /// Whether the peer is gone for good: both directions are closed.
    #[must_use]
    pub const fn hung_up(&self) -> bool {
        self.raw.revents & (libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) != 0
    }

    /// Whether anything at all is to be done.
    #[must_use]
    pub const fn ready(&self) -> bool {
        self.raw.revents != 0
    }
}

/// Waits until one of the descriptors is ready or `timeout` (None: no limit)
/// has passed.  Returns how many are ready; 0 is the time-out.
///
/// A signal does not end the wait: it is taken up again with the time that is
/// left.  A process that wants to see signals polls [`super::signal::Signals`].
pub fn wait(fds: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<usize> {
    let end = timeout.map(|t| Instant::now().checked_add(t));
    loop {
        let ms = match end {
            None | Some(None) => -1,
            Some(Some(end)) => {
                let left = end.saturating_duration_since(Instant::now());
                i32::try_from(left.as_nanos().div_ceil(1_000_000)).unwrap_or(i32::MAX)
            }
        };
        // SAFETY: PollFd is transparent over pollfd; pointer and length are of
        // one slice.
        let n = unsafe { libc::poll(fds.as_mut_ptr().cast(), fds.len() as libc::nfds_t, ms) };
        match usize::try_from(n) {
            Ok(n) => return Ok(n),
            Err(_) => {
                let error = io::Error::last_os_error();
                if error.kind() != io::ErrorKind::Interrupted {
                    return Err(error);
                }
            }
        }
    }
}

/// Waits for one descriptor; false is the time-out.
pub fn wait_for(fd: BorrowedFd<'_>, events: i16, timeout: Option<Duration>) -> io::Result<bool> {
    wait(&mut [PollFd::new(fd, events)], timeout).map(|n| n != 0)
}

/// Makes the open file description behind a descriptor (also in every process
/// that shares it) non-blocking, or blocking again.
pub fn set_nonblocking(fd: BorrowedFd<'_>, on: bool) -> io::Result<()> {
    let mut flag = libc::c_int::from(on);
    // SAFETY: FIONBIO reads one int.  It is allowed under pledge "stdio".
    if unsafe { libc::ioctl(fd.as_raw_fd(), libc::FIONBIO, &mut flag) } == -1 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn a_timeout_is_never_early() {
        let (r, _w) = super::super::fdpass::pipe().unwrap();
        let begun = Instant::now();
        assert!(!wait_for(r.as_fd(), IN, Some(Duration::from_millis(15))).unwrap());
        assert!(begun.elapsed() >= Duration::from_millis(15));
    }

    #[test]
    fn readiness_and_hangup() {
        let (a, b) = super::super::fdpass::socketpair().unwrap();
        let mut fds = [PollFd::new(a.as_fd(), IN | OUT), PollFd::none()];
        assert_eq!(wait(&mut fds, None).unwrap(), 1);
        assert!(fds[0].writable() && !fds[0].readable() && !fds[1].ready());
        drop(b);
        let mut fds = [PollFd::new(a.as_fd(), IN)];
        wait(&mut fds, None).unwrap();
        assert!(fds[0].readable() && fds[0].hung_up());
    }

    #[test]
    fn nonblocking_reads_do_not_wait() {
        let (a, _b) = super::super::fdpass::socketpair().unwrap();
        set_nonblocking(a.as_fd(), true).unwrap();
        let error =
            super::super::fdpass::recv(a.as_fd(), &mut [0; 1], &mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
}
