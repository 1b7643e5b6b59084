//! The one strict, bounded line reader, and the writer that goes with it.
//!
//! Runs in smtp, mta, imap, store, lookup (tables), filter: every dialogue in
//! lines, from outside and between our own programs, is read here.  Input is
//! hostile.  A line ends with CRLF and nothing else; a bare LF, a bare CR and a
//! NUL are told apart, so that the caller can say why he refuses (RFC 5321
//! 2.3.8: they "MUST NOT" be sent; two readers that disagree on line ends are
//! what SMTP smuggling needs).  A line over the limit is read to its end and
//! reported, so that the dialogue stays in step.  Every call has a deadline;
//! the session has one too.
//!
//! What is [`put`](LineReader::put) is written before the reader next waits
//! for input: answers to pipelined commands go out together, in one write
//! (RFC 2920 3.2).  An idle connection holds no buffers.
//!
//! RFC 5321 2.3.8, 4.5.3.1; RFC 9051 2.2, 4.3; RFC 3030 2 (counted octets).

use crate::base::clock::{Deadline, Since};
use crate::base::crypto;
use crate::base::stream::{Stream, StreamError};
use crate::base::tls::{Client, Server, TlsInfo, Verify};
use crate::proto::limits;
use memchr::{memchr, memchr2};
use std::fmt;
use std::time::Duration;

/// How long the first word may be that is kept of a line that is refused.
const WORD: usize = 128;

/// Octets that are read at a time: one TLS record.
const CHUNK: usize = 16 * 1024;

/// A line's first word with the blank after it; nothing if it is long.
fn first_word(text: &[u8]) -> &[u8] {
    let end = memchr(b' ', text.get(..text.len().min(WORD)).unwrap_or_default());
    end.and_then(|at| text.get(..=at)).unwrap_or_default()
}

/// Why there is no line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LineError {
    /// It was longer than allowed and has been read to its end: 500, go on.
    TooLong,
    /// LF without CR before it.  Everything up to and with the LF is taken: the
    /// peer's idea of a line end is another than ours, so answer and close.
    BareLf,
    /// CR without LF after it, in a line that has been read to its end: 500.
    BareCr,
    /// NUL in a line that has been read to its end: 500.
    Nul,
    /// A line without end: over `limits::LINE_DISCARDED` octets thrown away.
    Flood,
    /// The peer has closed; true if in the middle of a line.
    Eof(bool),
    /// The connection cannot go on.
    Stream(StreamError),
}

impl LineError {
    /// Whether the dialogue can go on after an error reply.
    #[must_use]
    pub const fn in_step(&self) -> bool {
        matches!(self, Self::TooLong | Self::BareCr | Self::Nul)
    }

    /// Whether the peer was too slow, which is answered (421, BYE) rather than
    /// only logged.
    #[must_use]
    pub const fn is_timeout(&self) -> bool {
        matches!(self, Self::Stream(StreamError::Timeout))
    }
}

impl fmt::Display for LineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TooLong => "line too long",
            Self::BareLf => "bare LF",
            Self::BareCr => "bare CR",
            Self::Nul => "NUL in a line",
            Self::Flood => "line without end",
            Self::Eof(false) => "connection closed",
            Self::Eof(true) => "connection closed in the middle of a line",
            Self::Stream(error) => return error.fmt(f),
        })
    }
}

impl std::error::Error for LineError {}

impl crate::base::log::Value for LineError {
    fn put(&self, line: &mut crate::base::log::Line) -> bool {
        crate::base::log::Show(self).put(line)
    }
}

impl From<StreamError> for LineError {
    fn from(error: StreamError) -> Self {
        Self::Stream(error)
    }
}

/// How slowly a peer may bring what it has announced.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The longest wait for a piece; and how far on the whole the peer may be
    /// behind the rate.
    pub patience: Duration,
    /// Octets a second.
    pub rate: u64,
}

impl Pace {
    /// Any: the session's own deadline is the only one.
    pub const ANY: Pace = Pace { patience: Duration::MAX, rate: 1 };

    /// Until when the next piece is waited for: `got` octets came in `elapsed`.
    fn deadline(self, got: u64, elapsed: Duration) -> Deadline {
        let millis = got.saturating_mul(1000).checked_div(self.rate).unwrap_or(0);
        let earned = self.patience.saturating_add(Duration::from_millis(millis));
        Deadline::after(self.patience.min(earned.saturating_sub(elapsed)))
    }
}

/// A connection that is read in lines and counted octets.  Owns the stream;
/// belongs to one thread.
pub struct LineReader {
    stream: Stream,
    /// Input not yet handed out is `buf[start..]`.
    buf: Vec<u8>,
    start: usize,
    /// So much of it has been searched for a line end already.
    searched: usize,
    out: Vec<u8>,
    session: Deadline,
    /// The last octets of the last line that was refused, its CRLF among them.
    refused: [u8; 4],
}

impl LineReader {
    /// Takes a stream over.  `session` is a limit for everything, beside the
    /// deadline of each call.
    #[must_use]
    pub const fn new(stream: Stream, session: Deadline) -> Self {
        Self {
            stream,
            buf: Vec::new(),
            start: 0,
            searched: 0,
            out: Vec::new(),
            session,
            refused: [0; 4],
        }
    }

    /// Sets the limit for everything anew: after login, for instance.
    pub fn set_session_deadline(&mut self, session: Deadline) {
        self.session = session;
    }

    /// The connection: its descriptor and TLS state.
    #[must_use]
    pub const fn stream(&self) -> &Stream {
        &self.stream
    }

    /// What has been read off the wire and not yet handed out.
    #[must_use]
    pub fn buffered(&self) -> &[u8] {
        self.buf.get(self.start..).unwrap_or_default()
    }

    /// Whether a whole line is there already: the client pipelines.
    #[must_use]
    pub fn has_line(&self) -> bool {
        memchr(b'\n', self.buffered()).is_some()
    }

    /// Adds to what is written at the next flush or wait for input.  Bounded by
    /// the caller, who flushes what he streams.
    pub fn put(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }

    /// Octets that wait to be written.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.out.len()
    }

    /// Forgets what was put and not written: the peer does not take it any more.
    pub fn discard_unflushed(&mut self) {
        self.out = Vec::new();
        self.stream.discard_unwritten();
    }

    /// Writes what was put, in one write.  Blocks up to `deadline`.
    pub fn flush(&mut self, deadline: Deadline) -> Result<(), StreamError> {
        let deadline = deadline.min(self.session);
        if !self.out.is_empty() {
            self.stream.write_all(&self.out, deadline)?;
            self.out = Vec::new();
        }
        self.stream.flush(deadline)
    }

    /// Reads a line into `line`, without its CRLF, of at most `max` octets
    /// without it.  Blocks up to `deadline`; writes first what was put.
    ///
    /// On an error `line` holds nothing, or the line's first word and the blank
    /// after it, so that a refusal can have the command's tag.  The octets are
    /// wiped from the buffer they came in: a line may hold a password.
    pub fn read_line(
        &mut self,
        line: &mut Vec<u8>,
        max: usize,
        deadline: Deadline,
    ) -> Result<(), LineError> {
        line.clear();
        self.refused = [0; 4];
        let mut fault = None;
        let mut discarded = 0usize;
        loop {
            let fresh = self.buf.get(self.start.saturating_add(self.searched)..);
            if let Some(at) = memchr(b'\n', fresh.unwrap_or_default()) {
                let end = self.searched.saturating_add(at);
                let text = self.buffered().get(..end).unwrap_or_default();
                let (text, crlf) = match text.split_last() {
                    Some((b'\r', text)) => (text, true),
                    _ => (text, false),
                };
                // A NUL or a bare CR before the end, whichever comes first.
                let bad = memchr2(0, b'\r', text).and_then(|at| text.get(at).copied());
                let fault = fault.or(match bad {
                    Some(0) => Some(LineError::Nul),
                    Some(_) => Some(LineError::BareCr),
                    None if !crlf => Some(LineError::BareLf),
                    None if text.len() > max => Some(LineError::TooLong),
                    None => None,
                });
                // Without CR it is no end of a line that went wrong before.
                let ended = crlf || fault == Some(LineError::BareLf);
                if fault.is_none() {
                    line.extend_from_slice(text);
                } else if discarded == 0 {
                    line.extend_from_slice(first_word(text));
                }
                if fault.is_some() {
                    self.note_end(end.saturating_add(1));
                }
                self.drop_front(end.saturating_add(1));
                match fault {
                    None => return Ok(()),
                    Some(fault) if ended => return Err(fault),
                    Some(fault_) => {
                        discarded = discarded.saturating_add(end);
                        self.skip_rest(fault_.clone(), discarded, deadline)?;
                        return Err(fault_);
                    }
                }
            }
            self.searched = self.buffered().len();
            // One octet more than max may be the CR of a line that just fits.
            if self.searched > max.saturating_add(1) {
                fault.get_or_insert(LineError::TooLong);
                // A CR that ends what is here may belong to the line's end.
                let cr = usize::from(self.buffered().last() == Some(&b'\r'));
                let n = self.searched.saturating_sub(cr);
                if discarded == 0 {
                    line.extend_from_slice(first_word(self.buffered()));
                }
                discarded = discarded.saturating_add(n);
                self.note_end(n);
                self.drop_front(n);
                self.searched = cr;
                if discarded > limits::LINE_DISCARDED.size() {
                    return Err(LineError::Flood);
                }
            }
            if self.fill(deadline)? == 0 {
                let middle = !self.buffered().is_empty() || discarded != 0;
                return Err(LineError::Eof(middle));
            }
        }
    }

    /// Reads on to the CRLF of a line that is refused already.
    fn skip_rest(
        &mut self,
        fault: LineError,
        mut discarded: usize,
        deadline: Deadline,
    ) -> Result<(), LineError> {
        let mut cr = false;
        loop {
            let here = self.buffered();
            let mut end = None;
            for (i, byte) in here.iter().enumerate() {
                if cr && *byte == b'\n' {
                    end = Some(i);
                    break;
                }
                cr = *byte == b'\r';
            }
            if let Some(end) = end {
                self.note_end(end.saturating_add(1));
                self.drop_front(end.saturating_add(1));
                return Ok(());
            }
            let n = here.len();
            discarded = discarded.saturating_add(n);
            self.note_end(n);
            self.drop_front(n);
            if discarded > limits::LINE_DISCARDED.size() {
                return Err(LineError::Flood);
            }
            match self.fill(deadline) {
                Ok(0) => return Err(LineError::Eof(true)),
                Ok(_) => {}
                // The peer that sent nonsense waits for an answer to it.
                Err(StreamError::Timeout) => return Err(fault),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Whether the last line that was refused announced a literal which follows
    /// unasked (RFC 7888 4): then the dialogue is out of step.
    #[must_use]
    pub fn refused_a_literal(&self) -> bool {
        self.refused == *b"+}\r\n"
    }

    fn note_end(&mut self, n: usize) {
        for octet in
            self.buf.get(self.start..).unwrap_or_default().iter().take(n).rev().take(4).rev()
        {
            self.refused.rotate_left(1);
            self.refused[3] = *octet;
        }
    }

    /// The next octets, at least one unless the peer has closed; nothing of
    /// them is taken until [`consume`](Self::consume) is told how many.  For
    /// DATA.  Blocks up to `deadline`; writes first what was put.
    pub fn chunk(&mut self, deadline: Deadline) -> Result<&[u8], StreamError> {
        if self.buffered().is_empty() {
            self.fill(deadline)?;
        }
        Ok(self.buffered())
    }

    /// Takes octets that [`chunk`](Self::chunk) has shown.
    pub fn consume(&mut self, n: usize) {
        self.start = self.start.saturating_add(n).min(self.buf.len());
        self.searched = self.searched.saturating_sub(n);
        if self.start == self.buf.len() {
            self.buf.clear();
            self.start = 0;
            self.searched = 0;
        }
    }

    /// Reads exactly `n` octets and gives them to `sink` in pieces: a literal,
    /// a BDAT chunk.  `deadline` is for all of them.
    pub fn read_octets(
        &mut self,
        n: u64,
        deadline: Deadline,
        sink: impl FnMut(&[u8]),
    ) -> Result<(), LineError> {
        self.read_pieces(n, |_| deadline, sink)
    }

    /// The same for what is so large that it takes its time: a peer is waited
    /// for as long as it keeps to the pace.
    pub fn read_paced(
        &mut self,
        n: u64,
        pace: Pace,
        sink: impl FnMut(&[u8]),
    ) -> Result<(), LineError> {
        let begun = Since::now();
        self.read_pieces(n, |got| pace.deadline(got, begun.elapsed()), sink)
    }

    /// `deadline` is for the next piece when so many octets are there.
    fn read_pieces(
        &mut self,
        n: u64,
        deadline: impl Fn(u64) -> Deadline,
        mut sink: impl FnMut(&[u8]),
    ) -> Result<(), LineError> {
        let mut left = n;
        while left != 0 {
            let here = self.chunk(deadline(n.saturating_sub(left)))?;
            if here.is_empty() {
                return Err(LineError::Eof(true));
            }
            let take = here.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            sink(here.get(..take).unwrap_or_default());
            self.consume(take);
            left = left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
        }
        Ok(())
    }

    /// Throws away what was read and not handed out; says how much it was.
    pub fn discard_buffered(&mut self) -> usize {
        let n = self.buffered().len();
        self.drop_front(n);
        n
    }

    /// What was read and not handed out, and the connection: for a relay.
    #[must_use]
    pub fn into_parts(self) -> (Stream, Vec<u8>) {
        let rest = self.buffered().to_vec();
        (self.stream, rest)
    }

    /// Becomes the server of a TLS session.  What was put (220, OK) is written
    /// first; input that came before TLS is thrown away, since anybody could
    /// have put it there (CVE-2011-0411); a caller who finds
    /// [`buffered`](Self::buffered) not empty may rather close.  After an error
    /// the connection is of no use.
    pub fn start_tls_server(
        &mut self,
        server: &Server,
        deadline: Deadline,
    ) -> Result<&TlsInfo, StreamError> {
        self.flush(deadline)?;
        self.discard_buffered();
        self.stream.start_tls_server(server, deadline.min(self.session))
    }

    /// Becomes the client of a TLS session with `name`, as
    /// [`start_tls_server`](Self::start_tls_server).
    pub fn start_tls_client(
        &mut self,
        client: &Client,
        name: &str,
        verify: Verify,
        deadline: Deadline,
    ) -> Result<&TlsInfo, StreamError> {
        self.flush(deadline)?;
        self.discard_buffered();
        self.stream.start_tls_client(client, name, verify, deadline.min(self.session))
    }

    /// Writes what was put and closes, see [`Stream::close`].
    pub fn close(mut self, deadline: Deadline) {
        if self.flush(deadline).is_ok() {
            self.stream.close(deadline);
        }
    }

    /// Wipes and forgets octets at the front of the input.
    fn drop_front(&mut self, n: usize) {
        let end = self.start.saturating_add(n).min(self.buf.len());
        if let Some(gone) = self.buf.get_mut(self.start..end) {
            crypto::wipe(gone);
        }
        self.consume(n);
        self.searched = 0;
    }

    /// Reads more; 0 is the end.
    fn fill(&mut self, deadline: Deadline) -> Result<usize, StreamError> {
        self.flush(deadline)?;
        let deadline = deadline.min(self.session);
        if self.buffered().is_empty() {
            self.buf = Vec::new();
            self.start = 0;
            self.stream.wait_readable(deadline)?;
        } else if self.start != 0 {
            self.buf.drain(..self.start);
            self.start = 0;
        }
        let len = self.buf.len();
        self.buf.resize(len.saturating_add(CHUNK), 0);
        let result = self.stream.read(self.buf.get_mut(len..).unwrap_or_default(), deadline);
        self.buf.truncate(len.saturating_add(*result.as_ref().unwrap_or(&0)));
        result
    }
}

/// Fuzz target: a byte for the size of the pieces, and what a client sends.
///
/// Lines are what stands before each CRLF, up to the first that is refused;
/// the pieces do not matter, nor does what is pipelined.
pub fn fuzz_lines(bytes: &[u8]) {
    const MAX: usize = 60;
    let Some((step, stream)) = bytes.split_first() else { return };
    let (lines, whole) = lines(stream, None, MAX);
    let mut taken = Vec::new();
    for line in &lines {
        assert!(line.len() <= MAX && !line.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')));
        taken.extend_from_slice(line);
        taken.extend_from_slice(b"\r\n");
    }
    assert!(stream.starts_with(&taken), "nothing is lost and nothing is added");
    let rest = stream.get(taken.len()..).unwrap_or_default();
    assert_eq!(whole == LineError::Eof(false), rest.is_empty());
    // A reader whose time is up within a line over the limit starts anew, so
    // this limit is one that is not met.
    let (unlimited, end) = self::lines(stream, None, CHUNK);
    let (pieces, error) = self::lines(stream, Some(usize::from(*step).saturating_add(1)), CHUNK);
    assert_eq!(pieces, unlimited);
    // A line that is refused is waited for to its end, which here may not come.
    let refused = end == LineError::Eof(true) && error.in_step();
    assert!(error == end || refused, "{error} is not {end}");
}

/// The lines up to the first error, which is at the end of the stream at last;
/// in pieces, each read before the next one is written, or all at once.
fn lines(stream: &[u8], step: Option<usize>, max: usize) -> (Vec<Vec<u8>>, LineError) {
    let mut lines = Vec::new();
    let opened = crate::sys::fdpass::socketpair().ok().and_then(|(ours, theirs)| {
        Some((LineReader::new(Stream::local(ours).ok()?, Deadline::NEVER), theirs))
    });
    let Some((mut reader, theirs)) = opened else { return (lines, LineError::Eof(false)) };
    let mut theirs = Some(std::os::unix::net::UnixStream::from(theirs));
    let mut write = |piece: Option<&[u8]>| match piece {
        Some(piece) => {
            let sent = theirs.as_mut().map(|t| std::io::Write::write_all(t, piece));
            assert!(matches!(sent, Some(Ok(()))), "a fresh channel takes a piece: {sent:?}");
        }
        None => theirs = None,
    };
    let mut pieces = stream.chunks(step.unwrap_or(CHUNK));
    if step.is_none() {
        write(Some(stream));
        write(None);
    }
    let mut line = Vec::new();
    loop {
        match reader.read_line(&mut line, max, Deadline::after(std::time::Duration::ZERO)) {
            Ok(()) => lines.push(line.clone()),
            Err(error) if error.is_timeout() => write(pieces.next()),
            Err(error) => return (lines, error),
        }
    }
}

#[cfg(test)]
mod tests;
