//! A message as it is delivered: the body of a spool file with its edits.
//!
//! Runs in store, mta, mbox and filter, which have a read-only descriptor, the
//! body key and the edits, and in queue.  The size is exact and known before
//! the first octet, as SIZE and `,S=` need it.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use crate::disk::spool::body::BodyReader;
use crate::disk::spool::head::{Head, Key, HEAD};
use crate::proto::smtp::edit::{Edits, Splice};
use crate::sys::errno::{self, SysError};

/// A message that can be read any number of times.
#[derive(Debug)]
pub struct Message {
    file: File,
    key: Key,
    body: u64,
    edits: Edits,
    size: u64,
}

impl Message {
    /// Opens a committed message.  EIO: not a spool file, a damaged one, or
    /// edits that reach outside of the body.
    pub fn open(file: File, key: Key, edits: Edits) -> Result<Message, SysError> {
        let mut bytes = vec![0; HEAD];
        file.read_exact_at(&mut bytes, 0).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => SysError::new("spool head", errno::EIO),
            _ => SysError::of("pread", &e),
        })?;
        let head = Head::parse(&bytes).map_err(|_| SysError::new("spool head", errno::EIO))?;
        if head.log == 0 {
            return Err(SysError::new("spool head", errno::EIO));
        }
        Message::of_body(file, key, head.body, edits)
    }

    /// The same for a body of this length that is written but not committed,
    /// whose head does not say so yet.
    pub fn of_body(file: File, key: Key, body: u64, edits: Edits) -> Result<Message, SysError> {
        let size = edits.size(body).map_err(|_| SysError::new("spool edits", errno::EIO))?;
        Ok(Message { file, key, body, edits, size })
    }

    /// Octets of the whole message, CRLF line ends.
    pub const fn size(&self) -> u64 {
        self.size
    }

    /// The changes to the body.
    pub const fn edits(&self) -> &Edits {
        &self.edits
    }

    /// Begins to read at the first octet.
    pub fn reader(&self) -> MessageReader<'_> {
        MessageReader {
            body: BodyReader::new(&self.file, &self.key, self.body),
            splice: Some(self.edits.splice()),
            buffer: Vec::new(),
            at: 0,
        }
    }

    /// The whole message, if it has at most `max` octets; else `None`.
    pub fn read_all(&self, max: u64) -> Result<Option<Vec<u8>>, SysError> {
        if self.size > max {
            return Ok(None);
        }
        let mut all = Vec::new();
        let mut reader = self.reader();
        while let Some(piece) = reader.next_piece()? {
            all.extend_from_slice(piece);
        }
        Ok(Some(all))
    }

    /// The header with the empty line that ends it, cut at the last whole line
    /// within `max` octets.
    pub fn header(&self, max: usize) -> Result<Vec<u8>, SysError> {
        let mut header = Vec::new();
        let mut reader = self.reader();
        while let Some(piece) = reader.next_piece()? {
            header.extend_from_slice(piece);
            if header.starts_with(b"\r\n") {
                header.truncate(2);
                return Ok(header);
            }
            if let Some(at) = memchr::memmem::find(&header, b"\r\n\r\n") {
                header.truncate(at.saturating_add(4));
                break;
            }
            if header.len() > max {
                break;
            }
        }
        if header.len() > max {
            let cut = header.get(..max).unwrap_or_default();
            let end = memchr::memmem::rfind(cut, b"\r\n").map_or(0, |at| at.saturating_add(2));
            header.truncate(end);
        }
        Ok(header)
    }
}

/// Reads a [`Message`] once; also a [`Read`].
#[derive(Debug)]
pub struct MessageReader<'a> {
    body: BodyReader<'a>,
    splice: Option<Splice<'a>>,
    buffer: Vec<u8>,
    at: usize,
}

impl MessageReader<'_> {
    /// The next octets, some 64 KiB; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<&[u8]>, SysError> {
        if self.at >= self.buffer.len() && !self.fill()? {
            return Ok(None);
        }
        let piece = self.buffer.get(self.at..).unwrap_or_default();
        self.at = self.buffer.len();
        Ok(Some(piece))
    }

    /// False at the end.
    fn fill(&mut self) -> Result<bool, SysError> {
        self.buffer.clear();
        self.at = 0;
        while self.buffer.is_empty() {
            let Some(splice) = &mut self.splice else { return Ok(false) };
            let buffer = &mut self.buffer;
            match self.body.chunk()? {
                Some(chunk) => splice.feed(&chunk, |bytes| buffer.extend_from_slice(bytes)),
                None => {
                    splice.finish(|bytes| buffer.extend_from_slice(bytes));
                    self.splice = None;
                }
            }
        }
        Ok(true)
    }
}

impl Read for MessageReader<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.buffer.len() && !self.fill()? {
            return Ok(0);
        }
        let left = self.buffer.get(self.at..).unwrap_or_default();
        let n = left.len().min(into.len());
        into.iter_mut().zip(left).for_each(|(to, from)| *to = *from);
        self.at = self.at.saturating_add(n);
        Ok(n)
    }
}
