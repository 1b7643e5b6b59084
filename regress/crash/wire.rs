//! A connection whose end is a result, not a failure of the test: here servers die.

use crate::tcp::start_tls;
use openssl::ssl::SslStream;
use std::io::{Error, ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything may take; a reply that has not come by then is a hang.
const LIMIT: Duration = Duration::from_secs(60);

enum Wire {
    Tcp(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
    Gone,
}

/// A connection, read by lines.
pub struct Connection {
    wire: Wire,
    read: Vec<u8>,
}

impl Connection {
    pub fn open(to: SocketAddr) -> Result<Connection> {
        let tcp = TcpStream::connect_timeout(&to, LIMIT)?;
        tcp.set_nodelay(true)?;
        tcp.set_read_timeout(Some(LIMIT))?;
        tcp.set_write_timeout(Some(LIMIT))?;
        Ok(Connection { wire: Wire::Tcp(tcp), read: Vec::new() })
    }

    pub fn start_tls(&mut self) -> Result<()> {
        let Wire::Tcp(tcp) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            return Err(Error::other("TLS twice"));
        };
        let tls = start_tls("mail.example.com", tcp).map_err(Error::other)?;
        self.wire = Wire::Tls(Box::new(tls));
        Ok(())
    }

    pub fn send(&mut self, bytes: impl AsRef<[u8]>) -> Result<()> {
        match &mut self.wire {
            Wire::Tcp(s) => s.write_all(bytes.as_ref()),
            Wire::Tls(s) => s.write_all(bytes.as_ref()),
            Wire::Gone => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// The next line without its CRLF; a server that closes is an error of its own.
    pub fn line(&mut self) -> Result<String> {
        loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            let mut piece = [0; 16 * 1024];
            let n = match &mut self.wire {
                Wire::Tcp(s) => s.read(&mut piece),
                Wire::Tls(s) => s.read(&mut piece),
                Wire::Gone => Ok(0),
            }?;
            if n == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            self.read.extend_from_slice(&piece[..n]);
        }
    }

    /// The code of the next SMTP reply.
    pub fn code(&mut self) -> Result<u16> {
        loop {
            let line = self.line()?;
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.get(..3).and_then(|c| c.parse().ok()).ok_or_else(|| {
                    Error::new(ErrorKind::InvalidData, format!("not a reply: {line:?}"))
                });
            }
        }
    }
}

/// True for a server that lives and does not answer.
pub fn is_hang(e: &Error) -> bool {
    matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut)
}
