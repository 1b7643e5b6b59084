//! The content of a message, read as far as somebody asks for it.
//!
//! A header is read without the body.  A small message is in memory once and
//! looked at from there; a large one is read through for its structure and
//! again for what is sent, in pieces, so that a session's memory does not
//! depend on what was mailed to its user.

use crate::base::log::{self, Show};
use crate::disk::maildir::{Error, MessageFile, Result};
use crate::proc::store::view::View;
use crate::proto::imap::section::Wire;
use crate::proto::limits;
use crate::proto::mime::{self, Extent, Scanner, Structure};
use crate::sys::errno::SysError;
use std::io::Read;

/// How much is read at once.
const PIECE: usize = 32 * 1024;

/// A message as far as it has been read.
pub struct Content<'v> {
    view: &'v View,
    uid: u32,
    header: Option<Vec<u8>>,
    whole: Option<Whole>,
}

/// A message that has been read through.
struct Whole {
    structure: Structure,
    /// The bytes, CRLF for every line end; none if it is large.
    bytes: Option<Vec<u8>>,
}

impl<'v> Content<'v> {
    /// Nothing is read yet.
    pub const fn new(view: &'v View, uid: u32) -> Content<'v> {
        Content { view, uid, header: None, whole: None }
    }

    /// Opens the file; a lock on the mailbox is held only for this.
    fn open(&self) -> Result<MessageFile> {
        self.view.with(|m| m.open_message(self.uid))
    }

    /// The message's header with the empty line after it, at most
    /// `imap-header` octets of it.
    pub fn header(&mut self) -> Result<&[u8]> {
        if self.header.is_none() {
            let header = match &self.whole {
                Some(whole) => {
                    let extent = whole.structure.parts.first().map(|p| p.header);
                    let extent = extent.unwrap_or_default();
                    self.range(&extent, limits::IMAP_HEADER.size())?
                }
                None => read_header(&mut self.open()?)?,
            };
            self.header = Some(header);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    /// The structure.
    pub fn structure(&mut self) -> Result<&Structure> {
        if self.whole.is_none() {
            self.whole = Some(read_through(&mut self.open()?)?);
        }
        // It was put there above.
        self.whole.as_ref().map(|w| &w.structure).ok_or(Error::Gone)
    }

    /// The bytes of a range of the message, at most `most` of them.
    pub fn range(&self, extent: &Extent, most: usize) -> Result<Vec<u8>> {
        if let Some(bytes) = self.whole.as_ref().and_then(|w| w.bytes.as_deref()) {
            let range = extent.of(bytes);
            return Ok(range.get(..most).unwrap_or(range).to_vec());
        }
        let most = u64::try_from(most).unwrap_or(u64::MAX).min(extent.octets());
        let mut out = Vec::new();
        self.stream(extent, 0, most, |piece| {
            out.extend_from_slice(piece);
            Ok::<(), Error>(())
        })?;
        Ok(out)
    }

    /// Gives `count` octets of a range, after its first `skip`, in pieces.
    ///
    /// Fewer are given only if the file has shrunk, which no message file does;
    /// the caller, who has announced a literal, must then end the connection.
    pub fn stream<E: From<Error>>(
        &self,
        extent: &Extent,
        skip: u64,
        count: u64,
        mut sink: impl FnMut(&[u8]) -> core::result::Result<(), E>,
    ) -> core::result::Result<u64, E> {
        let mut window = Wire::window(extent.start.saturating_add(skip), count);
        let mut out = Vec::with_capacity(PIECE);
        if let Some(bytes) = self.whole.as_ref().and_then(|w| w.bytes.as_deref()) {
            window.feed(bytes, &mut out);
            sink(&out)?;
            return Ok(count.saturating_sub(window.left()));
        }
        let mut file = self.open()?;
        let mut piece = vec![0; PIECE];
        while window.left() > 0 {
            let n = read_some(&mut file, &mut piece)?;
            if n == 0 {
                break;
            }
            out.clear();
            window.feed(piece.get(..n).unwrap_or_default(), &mut out);
            if !out.is_empty() {
                sink(&out)?;
            }
        }
        Ok(count.saturating_sub(window.left()))
    }

    /// Logs that a message could not be read.
    pub fn complain(&self, e: &Error) {
        log::warn!("imap", uid = self.uid, error = Show(e));
    }
}

fn read_some(file: &mut MessageFile, piece: &mut [u8]) -> Result<usize> {
    loop {
        match file.read(piece) {
            Ok(n) => return Ok(n),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
            Err(e) => return Err(SysError::of("read", &e).into()),
        }
    }
}

/// Reads up to the empty line, and cuts there.
fn read_header(file: &mut MessageFile) -> Result<Vec<u8>> {
    let most = limits::IMAP_HEADER.size();
    let mut header = Vec::new();
    let mut piece = vec![0; 8 * 1024];
    loop {
        let n = read_some(file, &mut piece)?;
        // The empty line may have begun in the piece before.
        let from = header.len().saturating_sub(3);
        header.extend_from_slice(piece.get(..n).unwrap_or_default());
        if header.starts_with(b"\r\n") {
            header.truncate(2);
            return Ok(header);
        }
        let fresh = header.get(from..).unwrap_or_default();
        if let Some(at) = memchr::memmem::find(fresh, b"\r\n\r\n") {
            header.truncate(from.saturating_add(at).saturating_add(4));
            return Ok(header);
        }
        if n == 0 || header.len() >= most {
            header.truncate(most);
            return Ok(header);
        }
    }
}

/// Reads a message through for its structure, and keeps it if it is small.
fn read_through(file: &mut MessageFile) -> Result<Whole> {
    let keep = limits::IMAP_IN_MEMORY.default;
    if file.size() <= keep {
        let all = file.read_all(keep.saturating_mul(2));
        if let Some(bytes) = all.map_err(|e| SysError::of("read", &e))? {
            return Ok(Whole { structure: mime::scan(&bytes), bytes: Some(bytes) });
        }
        // It grew while it was read; no message file does.
        return Err(Error::Gone);
    }
    let mut scanner = Scanner::new();
    let mut piece = vec![0; PIECE];
    loop {
        match read_some(file, &mut piece)? {
            0 => return Ok(Whole { structure: scanner.finish(), bytes: None }),
            n => scanner.feed(piece.get(..n).unwrap_or_default()),
        }
    }
}
