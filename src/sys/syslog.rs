//! The way to syslogd(8): sendsyslog(2) on OpenBSD, the /dev/log datagram
//! socket on Linux, connected before chroot.  Facility mail, RFC 3164 4.1.

use super::errno::Result;
use std::io;
#[cfg(target_os = "linux")]
use std::os::fd::AsRawFd;
#[cfg(target_os = "linux")]
use std::sync::atomic::{AtomicI32, Ordering};

/// How bad it is: syslog(3)'s numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Something of ours is broken: a panic, a child that died.
    Crit = 2,
    /// An operator should look.
    Warn = 4,
    /// The mail log.
    Info = 6,
    /// Off unless asked for.
    Debug = 7,
}

/// LOG_MAIL.
const FACILITY: u8 = 2 << 3;

/// A way to syslogd.  Any thread.
pub struct Syslog {
    ident: &'static str,
    #[cfg(target_os = "linux")]
    socket: std::os::unix::net::UnixDatagram,
}

impl Syslog {
    /// Opens it; `ident` is what the lines begin with.  On Linux this must be
    /// before chroot, and fails where there is no /dev/log.
    #[cfg(target_os = "linux")]
    pub fn open(ident: &'static str) -> Result<Self> {
        let to = |e: &io::Error| super::errno::SysError::of("connect", e).at("/dev/log");
        let socket = std::os::unix::net::UnixDatagram::unbound().map_err(|e| to(&e))?;
        socket.connect("/dev/log").map_err(|e| to(&e))?;
        socket.set_nonblocking(true).map_err(|e| to(&e))?;
        EMERGENCY.store(socket.as_raw_fd(), Ordering::SeqCst);
        Ok(Self { ident, socket })
    }

    /// Opens it; `ident` is what the lines begin with.
    #[cfg(not(target_os = "linux"))]
    pub fn open(ident: &'static str) -> Result<Self> {
        Ok(Self { ident })
    }

    /// Sends one line.  Never blocks: with syslogd stuck or gone it is an
    /// error and the line is lost, which is better than mail that stands.
    pub fn send(&self, level: Level, line: &[u8]) -> io::Result<()> {
        let mut frame = Vec::with_capacity(line.len().saturating_add(64));
        self.frame(&mut frame, level);
        frame.extend_from_slice(line);
        self.put(&frame)
    }

    /// `<22>Nov 23 22:40:46 rmaild[71]: `: on the local socket there is no host
    /// name, as in syslog(3).
    #[cfg(target_os = "linux")]
    fn frame(&self, out: &mut Vec<u8>, level: Level) {
        use std::io::Write;
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let pri = FACILITY | level as u8;
        let pid = super::spawn::getpid();
        let now = super::time::local(super::time::realtime().0);
        // Writing to a Vec cannot fail.
        let _ = match now {
            Some(t) => write!(
                out,
                "<{pri}>{} {:2} {:02}:{:02}:{:02} {}[{pid}]: ",
                MONTHS.get(usize::from(t.month).wrapping_sub(1)).unwrap_or(&"Jan"),
                t.day,
                t.hour,
                t.minute,
                t.second,
                self.ident
            ),
            None => write!(out, "<{pri}>{}[{pid}]: ", self.ident),
        };
    }

    /// `<22>rmaild[71]: `: the time is syslogd's there.
    #[cfg(not(target_os = "linux"))]
    fn frame(&self, out: &mut Vec<u8>, level: Level) {
        use std::io::Write;
        // Writing to a Vec cannot fail.
        let _ =
            write!(out, "<{}>{}[{}]: ", FACILITY | level as u8, self.ident, super::spawn::getpid());
    }

    #[cfg(target_os = "linux")]
    fn put(&self, frame: &[u8]) -> io::Result<()> {
        self.socket.send(frame).map(drop)
    }

    #[cfg(not(target_os = "linux"))]
    fn put(&self, frame: &[u8]) -> io::Result<()> {
        extern "C" {
            fn sendsyslog(
                msg: *const libc::c_char,
                len: libc::size_t,
                flags: libc::c_int,
            ) -> libc::c_int;
        }
        // SAFETY: pointer and length are of one slice; sendsyslog(2) is allowed
        // under every set of promises and in any chroot.
        if unsafe { sendsyslog(frame.as_ptr().cast(), frame.len(), 0) } == -1 {
            return Err(io::Error::last_os_error());
        }
        Ok(())
    }
}

/// Writes a line to standard error with one write(2) and no lock.  What cannot
/// be written (a full disk, a closed terminal) is lost: there is nobody left
/// to tell.
pub fn stderr(line: &[u8]) {
    // SAFETY: pointer and length are of one slice.
    unsafe { libc::write(2, line.as_ptr().cast(), line.len()) };
}

/// The socket of the log, for [`emergency`].  It stays open until the end.
#[cfg(target_os = "linux")]
static EMERGENCY: AtomicI32 = AtomicI32::new(-1);

/// Writes a line of our own to standard error and, if that is where the log
/// goes, to syslogd, from a signal handler: no allocation, no lock.
#[cfg(target_os = "linux")]
pub(super) fn emergency(line: &[u8]) {
    stderr(line);
    let fd = EMERGENCY.load(Ordering::SeqCst);
    if fd == -1 {
        return;
    }
    let mut frame = [0; 128];
    let head = b"<18>rmaild: ";
    let len = line.len().min(frame.len() - head.len());
    frame[..head.len()].copy_from_slice(head);
    frame[head.len()..head.len() + len].copy_from_slice(&line[..len]);
    // SAFETY: pointer and length are of one array; send(2) may be called in a
    // handler.
    unsafe {
        libc::send(fd, frame.as_ptr().cast(), head.len() + len, libc::MSG_NOSIGNAL);
    }
}

/// Whether standard error leads to the journal of systemd(1), which takes the
/// level from a leading `<N>`: JOURNAL_STREAM names the device and inode.
#[must_use]
pub fn stderr_is_journal() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else { return false };
    let Ok(stat) = nix::sys::stat::fstat(io::stderr()) else { return false };
    stream.to_str() == Some(&format!("{}:{}", stat.st_dev, stat.st_ino))
}

/// Whether standard error is a terminal.
#[must_use]
pub fn stderr_is_terminal() -> bool {
    io::IsTerminal::is_terminal(&io::stderr())
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn frames_as_rfc_3164_4_1() {
        let (a, b) = std::os::unix::net::UnixDatagram::pair().unwrap();
        let log = Syslog { ident: "rmaild", socket: a };
        log.send(Level::Info, b"smtp sid=1").unwrap();
        let mut buf = [0; 256];
        let n = b.recv(&mut buf).unwrap();
        let text = std::str::from_utf8(&buf[..n]).unwrap();
        assert!(text.starts_with("<22>"));
        assert!(text.ends_with(&format!(" rmaild[{}]: smtp sid=1", std::process::id())));
        assert_eq!(text.as_bytes()[4 + 15], b' ');
    }
}
