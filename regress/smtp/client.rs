//! A raw SMTP client: it sends what it is told, in the pieces it is told, and
//! reads replies strictly.

use crate::tcp::{start_tls, Tcp};
use openssl::ssl::SslStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than any reply may take.
const LIMIT: Duration = Duration::from_secs(60);

enum Wire {
    Tcp(Tcp),
    Tls(Box<SslStream<Tcp>>),
    Unix(UnixStream),
    Gone,
}

/// A connection.
pub struct Client {
    wire: Wire,
    read: Vec<u8>,
}

/// A reply: its code and its lines without the code.
#[derive(Debug)]
pub struct Reply {
    pub code: u16,
    pub lines: Vec<String>,
}

impl Client {
    /// Connects; the greeting is not read.
    pub fn connect(to: SocketAddr) -> Client {
        let tcp = Tcp::connect(to, LIMIT);
        Client { wire: Wire::Tcp(tcp), read: Vec::new() }
    }

    /// A mail session over the control socket, as sendmail opens one.
    pub fn local(socket: &Path) -> Client {
        let mut unix = UnixStream::connect(socket).expect("connect");
        unix.set_read_timeout(Some(LIMIT)).expect("timeout");
        unix.write_all(&[rmail::ipc::ctl::MAIL]).expect("write");
        Client { wire: Wire::Unix(unix), read: Vec::new() }
    }

    /// Becomes TLS.
    pub fn start_tls(&mut self) {
        let Wire::Tcp(tcp) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            panic!("TLS twice");
        };
        let tls = start_tls("mx.example", tcp).expect("handshake");
        self.wire = Wire::Tls(Box::new(tls));
    }

    /// Protocol, whether there is a cipher, and the bits of its key.
    pub fn cipher(&self) -> (String, bool, i32) {
        let Wire::Tls(tls) = &self.wire else { panic!("no TLS") };
        let cipher = tls.ssl().current_cipher();
        let bits = cipher.map_or(0, |c| c.bits().secret);
        (tls.ssl().version_str().to_owned(), cipher.is_some(), bits)
    }

    /// Sends bytes in one write.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        assert!(self.try_send(bytes.as_ref()), "the server closed");
    }

    /// The same; false if the server has closed.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        match &mut self.wire {
            Wire::Tcp(s) => s.write_all(bytes),
            Wire::Tls(s) => s.write_all(bytes),
            Wire::Unix(s) => s.write_all(bytes),
            Wire::Gone => return false,
        }
        .is_ok()
    }

    /// Sends octet by octet: each in a segment or TLS record of its own.
    pub fn trickle(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.send([*b]);
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn fill(&mut self) -> bool {
        let mut buf = [0; 4096];
        let got = match &mut self.wire {
            Wire::Tcp(s) => s.read(&mut buf),
            Wire::Tls(s) => s.read(&mut buf),
            Wire::Unix(s) => s.read(&mut buf),
            Wire::Gone => Ok(0),
        };
        match got {
            Ok(n) => {
                self.read.extend_from_slice(&buf[..n]);
                n > 0
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no reply within {LIMIT:?}")
            }
            Err(_) => false, // reset
        }
    }

    /// The next line with its CRLF; `None` if the server has closed.
    fn line(&mut self) -> Option<Vec<u8>> {
        loop {
            if let Some(at) = self.read.iter().position(|b| *b == b'\n') {
                return Some(self.read.drain(..=at).collect());
            }
            if !self.fill() {
                assert!(self.read.is_empty(), "half a line: {:?}", self.read);
                return None;
            }
        }
    }

    /// The next reply; every line of it must be in form.
    pub fn reply(&mut self) -> Reply {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        loop {
            let line = self.line().expect("a reply");
            assert!(line.len() <= 512 && line.ends_with(b"\r\n"), "{line:?}");
            let text = String::from_utf8(line).expect("text");
            let text = text.trim_end_matches("\r\n");
            assert!(!text.contains(char::is_control), "{text:?}");
            let code: u16 = text[..3].parse().expect("a code");
            assert!(reply.code == 0 || reply.code == code, "{text}");
            reply.code = code;
            reply.lines.push(text.get(4..).unwrap_or_default().to_string());
            match text.as_bytes().get(3) {
                Some(b'-') => {}
                Some(b' ') | None => return reply,
                Some(_) => panic!("{text}"),
            }
        }
    }

    /// Sends a line and gives the code of the reply.
    pub fn ask(&mut self, line: &str) -> u16 {
        self.send(format!("{line}\r\n"));
        self.reply().code
    }

    /// The codes of so many replies.
    pub fn codes(&mut self, n: usize) -> Vec<u16> {
        (0..n).map(|_| self.reply().code).collect()
    }

    /// True if the server closes without another word.
    pub fn is_closed(&mut self) -> bool {
        self.read.is_empty() && !self.fill()
    }

    /// MAIL, RCPT and DATA up to 354.
    pub fn begin(&mut self, from: &str, to: &str) {
        self.send(format!("MAIL FROM:<{from}>\r\nRCPT TO:<{to}>\r\nDATA\r\n"));
        assert_eq!(self.codes(3), [250, 250, 354]);
    }
}
