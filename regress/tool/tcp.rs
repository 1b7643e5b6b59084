//! A TCP connection with a time-out on reads that nothing else ends.
//!
//! When a process is stopped and goes on (or the machine under it is frozen),
//! a read with SO_RCVTIMEO ends in EINTR without any signal handler: signal(7).
//! std retries connect and accept, but hands this one out, and a TLS library
//! takes it for the end of the connection.

use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::OnceLock;
use std::time::Duration;

/// A client's handshake, whatever the certificate.
///
/// The connector is made once: each reads the system's certificates, which takes
/// longer than the handshake and would count as the server's time.
pub fn start_tls<S: Read + Write>(name: &str, wire: S) -> Result<SslStream<S>, HandshakeError<S>> {
    static CONNECTOR: OnceLock<SslConnector> = OnceLock::new();
    let connector = CONNECTOR.get_or_init(|| {
        let mut builder = SslConnector::builder(SslMethod::tls_client()).expect("openssl");
        builder.set_verify(SslVerifyMode::NONE);
        builder.build()
    });
    connector.connect(name, wire)
}

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
