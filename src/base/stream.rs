//! A connection: TCP or unix, plain or TLS, with a deadline on every wait.
//!
//! Runs in smtp, mta, imap, store (plaintext), lookup.  The descriptor is
//! non-blocking; all waiting is poll(2) with the time left, never a socket
//! option.  TCP_NODELAY is set and what is written is gathered: a handshake
//! flight or a reply is one write(2), so that no message meets the 40 ms of
//! Nagle and delayed acknowledgement.  A write is also what is left over from
//! the handshake (session tickets), which thus travels with the greeting.
//!
//! A stream belongs to one thread.  Errors end the connection.

use crate::base::clock::Deadline;
use crate::base::log::{Line, Show, Value};
use crate::base::tls::{self, TlsInfo};
use crate::sys::errno::{self, SysError};
use crate::sys::{net, poll};
use openssl::ssl::{ErrorCode, SslStream};
use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

/// Ciphertext that may wait to be written.  Beyond it nothing more is read
/// from or taken for the peer until it has read.
const OUT_MAX: usize = 64 * 1024;
/// Plaintext of one TLS record (RFC 8446 5.1).
const RECORD: usize = 16 * 1024;

/// Why a connection cannot go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamError {
    /// The deadline passed: the peer is too slow.
    Timeout,
    /// The peer closed, or a system call failed.
    Io(SysError),
    /// The peer broke TLS, or its certificate does not hold.
    Tls(String),
}

impl fmt::Display for StreamError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("time-out"),
            Self::Io(error) => error.fmt(f),
            Self::Tls(text) => write!(f, "TLS: {text}"),
        }
    }
}

impl std::error::Error for StreamError {}

impl Value for StreamError {
    fn put(&self, line: &mut Line) -> bool {
        Show(self).put(line)
    }
}

impl From<SysError> for StreamError {
    fn from(error: SysError) -> Self {
        Self::Io(error)
    }
}

/// The socket, and what is to be written to it.
struct Wire {
    // Shared with nobody; counted only because it moves into the TLS layer,
    // which keeps it when a handshake fails.
    socket: Arc<File>,
    out: Vec<u8>,
    eof: bool,
}

/// What the TLS library calls.  Writes are only gathered; reads stop while too
/// much is gathered (a peer that sends key updates and never reads).
impl Read for Wire {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        if self.out.len() >= OUT_MAX {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let n = read_retrying(&self.socket, buf)?;
        self.eof |= n == 0 && !buf.is_empty();
        Ok(n)
    }
}

impl Write for Wire {
    fn write(&mut self, buf: &[u8]) -> io::Result<usize> {
        self.out.extend_from_slice(buf);
        Ok(buf.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Wire {
    const fn new(socket: Arc<File>) -> Self {
        Self { socket, out: Vec::new(), eof: false }
    }

    /// Writes what is gathered, as far as the socket takes it; true if all.
    fn push(&mut self) -> Result<bool, StreamError> {
        let mut done = 0;
        while let Some(rest) = self.out.get(done..).filter(|r| !r.is_empty()) {
            match (&*self.socket).write(rest) {
                Ok(n) => done = done.saturating_add(n),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(SysError::of("write", &e).into()),
            }
        }
        if done >= self.out.len() {
            // An idle connection keeps no buffer.
            self.out = Vec::new();
            return Ok(true);
        }
        self.out.drain(..done);
        Ok(false)
    }
}

fn read_retrying(mut socket: &File, buf: &mut [u8]) -> io::Result<usize> {
    loop {
        match socket.read(buf) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

enum Layer {
    Plain(Wire),
    Tls(Box<SslStream<Wire>>),
    /// Between the two, and for good if that step failed.
    Broken(Wire),
}

/// A connection.
pub struct Stream {
    layer: Layer,
    info: Option<TlsInfo>,
}

impl Stream {
    /// Takes a connected socket over.
    pub fn new(fd: OwnedFd) -> Result<Self, SysError> {
        poll::set_nonblocking(fd.as_fd(), true).map_err(|e| SysError::of("ioctl", &e))?;
        net::set_nodelay(fd.as_fd())?;
        let wire = Wire::new(Arc::new(File::from(fd)));
        Ok(Self { layer: Layer::Plain(wire), info: None })
    }

    /// Takes a socketpair's end over.  No socket option is set: a pledged process
    /// without "inet" is killed for it.
    pub fn local(fd: OwnedFd) -> Result<Self, SysError> {
        poll::set_nonblocking(fd.as_fd(), true).map_err(|e| SysError::of("ioctl", &e))?;
        let wire = Wire::new(Arc::new(File::from(fd)));
        Ok(Self { layer: Layer::Plain(wire), info: None })
    }

    /// Connects by TCP, from `source` if given; blocks up to `deadline`.
    pub fn connect(
        addr: SocketAddr,
        source: Option<IpAddr>,
        deadline: Deadline,
    ) -> Result<Self, StreamError> {
        let fd = net::connect_tcp(addr, source)?;
        wait(fd.as_fd(), poll::OUT, deadline)?;
        net::socket_error(fd.as_fd())?;
        Ok(Self::new(fd)?)
    }

    fn wire(&self) -> &Wire {
        match &self.layer {
            Layer::Plain(wire) | Layer::Broken(wire) => wire,
            Layer::Tls(tls) => tls.get_ref(),
        }
    }

    fn wire_mut(&mut self) -> &mut Wire {
        match &mut self.layer {
            Layer::Plain(wire) | Layer::Broken(wire) => wire,
            Layer::Tls(tls) => tls.get_mut(),
        }
    }

    /// What was agreed on, once TLS is up.
    #[must_use]
    pub const fn tls(&self) -> Option<&TlsInfo> {
        self.info.as_ref()
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_tls(&self) -> bool {
        self.info.is_some()
    }

    /// Decrypted octets that a read would give without waiting, and of which
    /// poll(2) knows nothing.
    #[must_use]
    pub fn pending(&self) -> usize {
        match &self.layer {
            Layer::Tls(tls) => tls.ssl().pending(),
            _ => 0,
        }
    }

    /// Reads what there is, at least one octet; 0 is the end.  Writes first
    /// what is still to be written.  Blocks up to `deadline`.
    pub fn read(&mut self, buf: &mut [u8], deadline: Deadline) -> Result<usize, StreamError> {
        loop {
            if let Some(n) = self.try_read(buf)? {
                return Ok(n);
            }
            self.wait_ready(deadline)?;
        }
    }

    /// Forgets what waits to be written: the peer takes nothing any more, but may
    /// have said why.
    pub fn discard_unwritten(&mut self) {
        self.wire_mut().out = Vec::new();
    }

    /// Waits until a read has something to give, without needing a buffer for
    /// it meanwhile.  TLS may then still have nothing: a record that holds no
    /// data.
    pub fn wait_readable(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        while !self.wire_mut().push()? {
            wait(self.as_fd(), poll::OUT, deadline)?;
        }
        if self.pending() != 0 {
            return Ok(());
        }
        wait(self.as_fd(), poll::IN, deadline)
    }

    /// Waits until something can go on: input, or room for what waits.
    fn wait_ready(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        let events = self.interest();
        wait(self.as_fd(), events, deadline)
    }

    /// What poll(2) should watch for: input, and room if something waits to be
    /// written.
    #[must_use]
    pub fn interest(&self) -> i16 {
        match self.wire().out.len() {
            0 => poll::IN,
            n if n >= OUT_MAX => poll::OUT,
            _ => poll::IN | poll::OUT,
        }
    }

    /// Reads without waiting; None if nothing is there.
    pub fn try_read(&mut self, buf: &mut [u8]) -> Result<Option<usize>, StreamError> {
        self.wire_mut().push()?;
        let result = match &mut self.layer {
            Layer::Plain(wire) => match wire.read(buf) {
                Ok(n) => Ok(Some(n)),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => Ok(None),
                Err(e) => Err(SysError::of("read", &e).into()),
            },
            Layer::Tls(tls) => match tls.ssl_read(buf) {
                Ok(n) => Ok(Some(n)),
                Err(e) if would_block(&e) => Ok(None),
                // The end, announced (RFC 8446 6.1) or not: whoever needs to
                // tell knows from the protocol above.
                Err(e) if e.code() == ErrorCode::ZERO_RETURN || tls.get_ref().eof => Ok(Some(0)),
                Err(e) => Err(tls_error(&e)),
            },
            Layer::Broken(_) => Err(broken()),
        };
        // What the library had to answer (a key update) goes out now.
        self.wire_mut().push()?;
        result
    }

    /// Takes as much of `buf` as there is room for and writes what the socket
    /// takes; 0 if the peer does not read.  For relays.
    pub fn try_write(&mut self, buf: &[u8]) -> Result<usize, StreamError> {
        if !self.wire_mut().push()? || buf.is_empty() {
            return Ok(0);
        }
        let n = buf.len().min(RECORD);
        let n = self.take_in(buf.get(..n).unwrap_or_default())?;
        self.wire_mut().push()?;
        Ok(n)
    }

    /// Whether everything that was taken has been given to the system.
    #[must_use]
    pub fn is_flushed(&self) -> bool {
        self.wire().out.is_empty()
    }

    /// Adds plaintext, of one record at most, to what is to be written.
    fn take_in(&mut self, part: &[u8]) -> Result<usize, StreamError> {
        match &mut self.layer {
            Layer::Plain(wire) => {
                wire.out.extend_from_slice(part);
                Ok(part.len())
            }
            Layer::Tls(tls) => match tls.ssl_write(part) {
                Ok(n) => Ok(n),
                Err(e) if would_block(&e) => Ok(0),
                Err(e) => Err(tls_error(&e)),
            },
            Layer::Broken(_) => Err(broken()),
        }
    }

    /// Writes everything, in one write(2) if it fits [`OUT_MAX`] and the
    /// socket takes it.  Blocks up to `deadline`.
    pub fn write_all(&mut self, buf: &[u8], deadline: Deadline) -> Result<(), StreamError> {
        let mut rest = buf;
        while !rest.is_empty() {
            let part = rest.get(..rest.len().min(RECORD)).unwrap_or(rest);
            let n = self.take_in(part)?;
            rest = rest.get(n..).unwrap_or_default();
            if n == 0 {
                // TLS waits for the peer (a handshake message that it must
                // send first); reading is what takes it in.
                self.wait_ready(deadline)?;
                self.wire_mut().push()?;
            }
            if self.wire().out.len() >= OUT_MAX {
                self.flush(deadline)?;
            }
        }
        self.flush(deadline)
    }

    /// Writes what is still gathered.  Blocks up to `deadline`.
    pub fn flush(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        while !self.wire_mut().push()? {
            wait(self.as_fd(), poll::OUT, deadline)?;
        }
        Ok(())
    }

    /// Becomes the server of a TLS session: STARTTLS, or at once on a port of
    /// its own.  Blocks up to `deadline`; after an error the connection is of
    /// no use any more.
    pub fn start_tls_server(
        &mut self,
        server: &tls::Server,
        deadline: Deadline,
    ) -> Result<&TlsInfo, StreamError> {
        let ssl = server.session().map_err(|e| StreamError::Tls(e.to_string()))?;
        self.handshake(ssl, true, deadline)
    }

    /// Becomes the client of a TLS session with the host `name`, whose
    /// certificate is looked at as `client` says.  Blocks up to `deadline`;
    /// after an error the connection is of no use any more.
    pub fn start_tls_client(
        &mut self,
        client: &tls::Client,
        name: &str,
        verify: tls::Verify,
        deadline: Deadline,
    ) -> Result<&TlsInfo, StreamError> {
        let ssl = client.session(name, verify).map_err(|e| StreamError::Tls(e.to_string()))?;
        self.handshake(ssl, false, deadline)
    }

    fn handshake(
        &mut self,
        ssl: openssl::ssl::Ssl,
        server: bool,
        deadline: Deadline,
    ) -> Result<&TlsInfo, StreamError> {
        self.flush(deadline)?;
        let spare = Wire::new(Arc::clone(&self.wire().socket));
        let wire = match std::mem::replace(&mut self.layer, Layer::Broken(spare)) {
            Layer::Plain(wire) => wire,
            other => {
                self.layer = other;
                return Err(StreamError::Tls("TLS is active already".to_owned()));
            }
        };
        let mut tls =
            Box::new(SslStream::new(ssl, wire).map_err(|e| StreamError::Tls(e.to_string()))?);
        loop {
            let result = if server { tls.accept() } else { tls.connect() };
            match result {
                Ok(()) => break,
                Err(e) if would_block(&e) => {
                    while !tls.get_mut().push()? {
                        wait(tls.get_ref().socket.as_fd(), poll::OUT, deadline)?;
                    }
                    wait(tls.get_ref().socket.as_fd(), poll::IN, deadline)?;
                }
                Err(e) => {
                    // The alert that says why (RFC 8446 6.2), if it can be
                    // written; the connection is lost either way.
                    let _ = tls.get_mut().push();
                    if tls.get_ref().eof {
                        return Err(SysError::new("TLS handshake", errno::ECONNRESET).into());
                    }
                    return Err(tls_failure(&e, tls.ssl()));
                }
            }
        }
        if !server {
            // A server's last flight waits for what it will say anyway.
            while !tls.get_mut().push()? {
                wait(tls.get_ref().socket.as_fd(), poll::OUT, deadline)?;
            }
        }
        let info = TlsInfo::of(tls.ssl());
        self.layer = Layer::Tls(tls);
        Ok(self.info.insert(info))
    }

    /// Ends the connection properly: what is gathered is written, TLS says
    /// good-bye, our direction is closed, and what the peer still sends is
    /// thrown away until it closes, 64 KB came, or `deadline`.  Closing with
    /// input unread would make the system send a reset, which can destroy the
    /// last reply on its way.
    pub fn close(mut self, deadline: Deadline) {
        if self.say_bye(deadline).is_err() {
            return;
        }
        let mut sink = [0; 4096];
        for _ in 0..16 {
            match (&*self.wire().socket).read(&mut sink) {
                Ok(0) => return,
                Ok(_) => {}
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if wait(self.as_fd(), poll::IN, deadline).is_err() {
                        return;
                    }
                }
                Err(_) => return,
            }
        }
    }

    /// Closes our direction; reading goes on.  RFC 8446 6.1.
    pub fn shutdown(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        self.say_bye(deadline)
    }

    fn say_bye(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        if let Layer::Tls(tls) = &mut self.layer {
            // An error here means that the session is already broken.
            let _ = tls.shutdown();
        }
        self.flush(deadline)?;
        Ok(net::shutdown(self.as_fd(), Shutdown::Write)?)
    }
}

impl AsFd for Stream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wire().socket.as_fd()
    }
}

fn wait(fd: BorrowedFd<'_>, events: i16, deadline: Deadline) -> Result<(), StreamError> {
    match poll::wait_for(fd, events, deadline.left()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(StreamError::Timeout),
        Err(e) => Err(SysError::of("poll", &e).into()),
    }
}

fn would_block(error: &openssl::ssl::Error) -> bool {
    matches!(error.code(), ErrorCode::WANT_READ | ErrorCode::WANT_WRITE)
}

fn broken() -> StreamError {
    SysError::new("read", errno::EPIPE).into()
}

fn tls_error(error: &openssl::ssl::Error) -> StreamError {
    match error.io_error() {
        Some(io) => StreamError::Io(SysError::of("TLS", io)),
        None => StreamError::Tls(reason(error)),
    }
}

/// The error of a handshake: a certificate that does not hold is named as such.
fn tls_failure(error: &openssl::ssl::Error, ssl: &openssl::ssl::SslRef) -> StreamError {
    let verdict = ssl.verify_result();
    if verdict != openssl::x509::X509VerifyResult::OK && error.io_error().is_none() {
        return StreamError::Tls(format!("{}: {}", reason(error), verdict.error_string()));
    }
    tls_error(error)
}

/// The library's reason, without its source files and function names.
fn reason(error: &openssl::ssl::Error) -> String {
    error
        .ssl_error()
        .and_then(|stack| stack.errors().iter().find_map(openssl::error::Error::reason))
        .unwrap_or("protocol error")
        .to_owned()
}

#[cfg(test)]
#[path = "stream_tests.rs"]
mod tests;
