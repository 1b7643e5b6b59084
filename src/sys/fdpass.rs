//! Channels between processes: socketpairs that carry bytes and descriptors.
//!
//! No socket option is ever set on a channel: under pledge(2) "stdio" even
//! SO_RCVTIMEO kills the process.  Deadlines are the business of poll(2).
//! Directories are refused both ways: they cannot be passed under sendfd and
//! recvfd, and one would be a way out of the receiver's chroot.
//!
//! On a stream socket the descriptors belong to the first byte of the message
//! that they were sent with; the kernel never merges two messages that both
//! carry some.  A receiver keeps them in a queue, as imsg(3) does.

use super::errno::{check, Result, SysError};
use std::io;
use std::mem;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

/// The most descriptors that one message may carry.
pub const MAX_FDS: usize = 8;

/// A pair of connected stream sockets, close-on-exec and blocking.
pub fn socketpair() -> Result<(OwnedFd, OwnedFd)> {
    let mut fds = [-1; 2];
    // SAFETY: the array has room for the two descriptors that are written.
    check("socketpair", unsafe {
        libc::socketpair(libc::AF_UNIX, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0, fds.as_mut_ptr())
    })?;
    // SAFETY: the call succeeded, so both are open and nobody else's.
    Ok(unsafe { (OwnedFd::from_raw_fd(fds[0]), OwnedFd::from_raw_fd(fds[1])) })
}

/// A pipe, read end first, close-on-exec and blocking.
pub fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).map_err(|e| SysError::new("pipe", e as i32))
}

/// Room for the control message of [`MAX_FDS`] descriptors, aligned as one.
#[repr(C)]
union Control {
    _align: mem::MaybeUninit<libc::cmsghdr>,
    bytes: [u8; 128],
}

/// Bytes of payload that `n` descriptors need.
const fn payload(n: usize) -> u32 {
    (n * mem::size_of::<libc::c_int>()) as u32
}

/// Sends bytes and, with the first of them, descriptors.  Returns how many
/// bytes went; the descriptors have gone if that is not an error.
///
/// Blocks only if the socket does.  `data` must not be empty when there are
/// descriptors (EINVAL), since they travel with its first byte; more than
/// [`MAX_FDS`] are E2BIG; a directory is EISDIR.
pub fn send(fd: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    if data.is_empty() && !fds.is_empty() {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    for passed in fds {
        refuse_directory(*passed)?;
    }
    let mut control = Control { bytes: [0; 128] };
    let mut iov = libc::iovec { iov_base: data.as_ptr() as *mut libc::c_void, iov_len: data.len() };
    // SAFETY: msghdr is plain data for which all zero is valid.
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = &mut iov;
    msg.msg_iovlen = 1;
    if !fds.is_empty() {
        msg.msg_control = (&mut control as *mut Control).cast();
        // SAFETY: CMSG_SPACE and CMSG_LEN only compute; the header lies inside
        // `control`, which has room for MAX_FDS descriptors and is aligned.
        unsafe {
            msg.msg_controllen = libc::CMSG_SPACE(payload(fds.len())) as _;
            let header = libc::CMSG_FIRSTHDR(&msg);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(payload(fds.len())) as _;
            let out = libc::CMSG_DATA(header).cast::<libc::c_int>();
            for (i, passed) in fds.iter().enumerate() {
                out.add(i).write_unaligned(passed.as_raw_fd());
            }
        }
    }
    // SAFETY: every pointer in `msg` outlives the call, and iov_base is only
    // read by sendmsg.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &msg, libc::MSG_NOSIGNAL) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}

/// True for an error of [`send`] that passes: too many descriptors are on their
/// way in the system, or there is no room for them.  Nothing was sent.
pub fn is_shortage(e: &io::Error) -> bool {
    matches!(
        e.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ETOOMANYREFS | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Receives bytes, and appends the descriptors that came with them (all
/// close-on-exec).  0 is the end: the peer has closed.
///
/// Blocks only if the socket does.  Descriptors that found no room, here or in
/// the process, are lost, all that came with these bytes: [`Received::lost`].
/// Linux says so by MSG_CTRUNC; OpenBSD fails the call with EMSGSIZE and hands
/// out the bytes, without descriptors, at the next one.
pub fn recv(fd: BorrowedFd<'_>, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Received> {
    match recv_once(fd, buf, fds) {
        Err(e) if e.raw_os_error() == Some(libc::EMSGSIZE) => {
            let bytes = recv_once(fd, buf, fds)?.bytes;
            Ok(Received { bytes, lost: true })
        }
        received => received,
    }
}

/// What [`recv`] got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    /// How many bytes.
    pub bytes: usize,
    /// Descriptors came with them and are lost: there were none left.
    pub lost: bool,
}

fn recv_once(fd: BorrowedFd<'_>, buf: &mut [u8], fds: &mut Vec<OwnedFd>) -> io::Result<Received> {
    let mut control = Control { bytes: [0; 128] };
    let mut iov = libc::iovec { iov_base: buf.as_mut_ptr().cast(), iov_len: buf.len() };
    // SAFETY: as in send().
    let mut msg: libc::msghdr = unsafe { mem::zeroed() };
    msg.msg_iov = &mut iov;
    msg.msg_iovlen = 1;
    msg.msg_control = (&mut control as *mut Control).cast();
    // SAFETY: computes only.
    msg.msg_controllen = unsafe { libc::CMSG_SPACE(payload(MAX_FDS)) } as _;
    // SAFETY: every pointer in `msg` outlives the call and has the room that
    // its length says.
    let got = unsafe { libc::recvmsg(fd.as_raw_fd(), &mut msg, libc::MSG_CMSG_CLOEXEC) };
    let Ok(bytes) = usize::try_from(got) else {
        return Err(io::Error::last_os_error());
    };
    let before = fds.len();
    // SAFETY: the CMSG macros walk what the kernel has just written into
    // `control`; each number in an SCM_RIGHTS message is a new descriptor that
    // is ours alone.
    unsafe {
        let mut header = libc::CMSG_FIRSTHDR(&msg);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let len = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<libc::c_int>();
                for i in 0..len / mem::size_of::<libc::c_int>() {
                    fds.push(OwnedFd::from_raw_fd(data.add(i).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&msg, header);
        }
    }
    if msg.msg_flags & (libc::MSG_CTRUNC | libc::MSG_TRUNC) != 0 {
        fds.truncate(before);
        return Ok(Received { bytes, lost: true });
    }
    for passed in &fds[before..] {
        use std::os::fd::AsFd;
        if let Err(error) = refuse_directory(passed.as_fd()) {
            fds.truncate(before);
            return Err(error);
        }
    }
    Ok(Received { bytes, lost: false })
}

/// EISDIR for a directory.
fn refuse_directory(fd: BorrowedFd<'_>) -> io::Result<()> {
    let stat = nix::sys::stat::fstat(fd).map_err(|e| io::Error::from_raw_os_error(e as i32))?;
    if stat.st_mode & libc::S_IFMT == libc::S_IFDIR {
        return Err(SysError::new("sendmsg", libc::EISDIR).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::{Read, Seek, Write};
    use std::os::fd::AsFd;

    #[test]
    fn bytes_and_descriptors_arrive_together() {
        let (a, b) = socketpair().unwrap();
        let (r, w) = pipe().unwrap();
        let mut r = File::from(r);
        let null = File::open("/dev/null").unwrap();
        assert_eq!(send(a.as_fd(), b"hello", &[w.as_fd(), null.as_fd()]).unwrap(), 5);
        drop(w);
        let (mut buf, mut fds) = ([0; 16], Vec::new());
        assert_eq!(recv(b.as_fd(), &mut buf, &mut fds).unwrap().bytes, 5);
        assert_eq!(fds.len(), 2);
        let mut sent = File::from(fds.remove(0));
        sent.write_all(b"x").unwrap();
        drop(sent);
        let mut text = String::new();
        r.read_to_string(&mut text).unwrap();
        assert_eq!(text, "x");
        let flags = nix::fcntl::fcntl(&fds[0], nix::fcntl::FcntlArg::F_GETFD).unwrap();
        assert_eq!(flags & libc::FD_CLOEXEC, libc::FD_CLOEXEC);
        drop(a);
        assert_eq!(recv(b.as_fd(), &mut buf, &mut fds).unwrap().bytes, 0);
    }

    #[test]
    fn a_directory_is_refused() {
        let (a, _b) = socketpair().unwrap();
        let dir = File::open("/").unwrap();
        let error = send(a.as_fd(), b"x", &[dir.as_fd()]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EISDIR));
    }

    #[test]
    fn descriptors_need_a_byte() {
        let (a, _b) = socketpair().unwrap();
        assert!(send(a.as_fd(), b"", &[a.as_fd()]).is_err());
    }

    #[test]
    fn a_closed_peer_is_an_error_and_no_signal() {
        let (a, b) = socketpair().unwrap();
        drop(b);
        let error = send(a.as_fd(), b"x", &[]).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
    }

    #[test]
    fn the_offset_is_shared() {
        let (a, b) = socketpair().unwrap();
        let path = std::env::temp_dir().join(format!("rmail-fdpass.{}", std::process::id()));
        let mut file = File::create_new(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        send(a.as_fd(), b"x", &[file.as_fd()]).unwrap();
        let (mut buf, mut fds) = ([0; 1], Vec::new());
        recv(b.as_fd(), &mut buf, &mut fds).unwrap();
        file.write_all(b"abc").unwrap();
        assert_eq!(File::from(fds.remove(0)).stream_position().unwrap(), 3);
    }
}
