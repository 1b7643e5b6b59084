//! A TCP connection with a time-out on reads that nothing else ends.
//!
//! When a process is stopped and goes on (or the machine under it is frozen),
//! a read with SO_RCVTIMEO ends in EINTR without any signal handler: signal(7).
//! std retries connect and accept, but hands this one out, and a TLS library
//! takes it for the end of the connection.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// The connection.
#[derive(Debug)]
pub struct Tcp(pub TcpStream);

impl Tcp {
    /// Connects; a read that takes longer than this fails.
    pub fn connect(to: SocketAddr, limit: Duration) -> Tcp {
        let tcp = TcpStream::connect(to).expect("connect");
        tcp.set_read_timeout(Some(limit)).expect("timeout");
        tcp.set_nodelay(true).expect("nodelay");
        Tcp(tcp)
    }
}

impl Read for Tcp {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        loop {
            match self.0.read(buf) {
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Write for Tcp {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.0.write(buf)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}
