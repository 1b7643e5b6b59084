//! The content of a message, read as far as somebody asks for it.
//!
//! A header is read without the body.  A small message is in memory once and
//! looked at from there.  A large one is read through once for where its parts
//! and its line ends are, and then each part from where it begins, in pieces:
//! the work is in proportion to the message, the session's memory does not
//! depend on what was mailed to its user.

use crate::base::log::{self, Show};
use crate::disk::maildir::{Error, MessageFile, Result};
use crate::proc::store::view::View;
use crate::proto::imap::fetch::{Of, Section};
use crate::proto::imap::lines::{Lines, Place};
use crate::proto::imap::section::{self, Found, Wire};
use crate::proto::limits;
use crate::proto::mime::{self, Extent, Scanner, Structure};
use crate::sys::errno::SysError;
use std::rc::Rc;

/// How much is read at once.
const PIECE: usize = 32 * 1024;
/// How much is read at once of what may be a short header.
const HEADER_PIECE: usize = 8 * 1024;
/// The largest structure that is kept from one command to the next: that of a
/// message with as many parts as are told apart, unless each is made to be large.
const KEPT: usize = 512 * 1024;

/// A message as far as it has been read.
pub struct Content<'v> {
    view: &'v View,
    uid: u32,
    /// Opened once: another program may rename it meanwhile.
    file: Option<MessageFile>,
    header: Option<Vec<u8>>,
    /// All of it, if it is small.
    bytes: Option<Vec<u8>>,
    outline: Option<Outline>,
}

/// What is known of a message that has been read through.
#[derive(Debug)]
pub struct Outline {
    /// The message's UID.
    pub uid: u32,
    lines: Lines,
    /// Nobody asked for it, or it was not worth keeping.
    structure: Option<Rc<Structure>>,
}

impl<'v> Content<'v> {
    /// Nothing is read yet; `known` is what an earlier command found out.
    pub fn new(view: &'v View, uid: u32, known: Option<Outline>) -> Content<'v> {
        let outline = known.filter(|o| o.uid == uid);
        Content { view, uid, file: None, header: None, bytes: None, outline }
    }

    /// What is worth keeping for the next command about this message: clients
    /// fetch a large message piece by piece.
    pub fn into_outline(self) -> Option<Outline> {
        let mut outline = self.outline.filter(|_| self.bytes.is_none())?;
        outline.structure = outline.structure.filter(|s| s.weight() <= KEPT);
        Some(outline)
    }

    /// Opens the file; a lock on the mailbox is held only for this.
    pub fn open(&mut self) -> Result<&MessageFile> {
        if self.file.is_none() {
            self.file = Some(self.view.with(|m| m.open_message(self.uid))?);
        }
        // It was put there above.
        self.file.as_ref().ok_or(Error::Gone)
    }

    /// The message's header with the empty line after it, at most
    /// `imap-header` octets of it, as it is on disk.
    pub fn header(&mut self) -> Result<&[u8]> {
        if self.header.is_none() {
            self.header = Some(self.read_header()?);
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    /// Reads up to the empty line, and cuts there.
    fn read_header(&mut self) -> Result<Vec<u8>> {
        let most = limits::IMAP_HEADER.size();
        let mut header = Vec::new();
        let mut looked_at = 0;
        loop {
            let begin = u64::try_from(header.len()).unwrap_or(u64::MAX);
            let more = self.read(begin, HEADER_PIECE)?;
            header.extend_from_slice(&more);
            if let Some(end) = mime::header_end(&header, looked_at) {
                header.truncate(end.min(most));
                return Ok(header);
            }
            if more.len() < HEADER_PIECE || header.len() >= most {
                header.truncate(most);
                return Ok(header);
            }
            looked_at = header.len();
        }
    }

    /// The structure.
    pub fn structure(&mut self) -> Result<Rc<Structure>> {
        if let Some(known) = self.outline.as_ref().and_then(|o| o.structure.as_ref()) {
            return Ok(known.clone());
        }
        let mut scanner = Scanner::new();
        self.read_through(|piece| scanner.feed(piece))?;
        let structure = Rc::new(scanner.finish());
        if let Some(outline) = &mut self.outline {
            outline.structure = Some(structure.clone());
        }
        Ok(structure)
    }

    /// All of the message as a range: for this it need not be understood.
    pub fn whole(&mut self) -> Result<Extent> {
        if self.outline.is_none() {
            self.read_through(|_| ())?;
        }
        Ok(self.outline.as_ref().map(|o| o.lines.whole()).unwrap_or_default())
    }

    /// Reads the message from its beginning to its end, and keeps it if it is small.
    fn read_through(&mut self, mut look: impl FnMut(&[u8])) -> Result<()> {
        let size = self.open()?.size();
        if self.bytes.is_none() && size <= limits::IMAP_IN_MEMORY.default {
            self.bytes = Some(self.read(0, limits::IMAP_IN_MEMORY.size())?);
        }
        let mut lines = Lines::new();
        if let Some(bytes) = &self.bytes {
            lines.feed(bytes);
            look(bytes);
        } else {
            let mut piece = vec![0; PIECE];
            let mut at = 0;
            // What a file has beyond the size that it had is nobody's message.
            while at < size {
                let n = self.open()?.read_at(at, &mut piece).map_err(unread)?;
                let Some(piece) = piece.get(..n).filter(|piece| !piece.is_empty()) else { break };
                lines.feed(piece);
                look(piece);
                at = at.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
            }
        }
        self.outline = Some(Outline { uid: self.uid, lines, structure: None });
        Ok(())
    }

    /// Looks a section up.
    pub fn find<'s, 'a>(&mut self, section: &'s Section<'a>) -> Result<Found<'s, 'a>> {
        if section.part.is_empty() && section.of == Of::All {
            return Ok(Found::Bytes(self.whole()?));
        }
        Ok(section::find(&*self.structure()?, section))
    }

    /// At most `most` octets of the file from an offset on.
    fn read(&mut self, offset: u64, most: usize) -> Result<Vec<u8>> {
        if let Some(bytes) = &self.bytes {
            let rest = bytes.get(usize::try_from(offset).unwrap_or(usize::MAX)..);
            let rest = rest.unwrap_or_default();
            return Ok(rest.get(..most).unwrap_or(rest).to_vec());
        }
        self.open()?.read(offset, most).map_err(unread)
    }

    /// The bytes of a range of the file, at most `most` of them.
    pub fn range(&mut self, extent: &Extent, most: usize) -> Result<Vec<u8>> {
        let octets = usize::try_from(extent.octets()).unwrap_or(usize::MAX);
        self.read(extent.start, most.min(octets))
    }

    /// Gives `count` octets of a range as the wire has them, after its first
    /// `skip`, in pieces.
    ///
    /// Fewer are given only if the file has shrunk, which no message file does;
    /// the caller, who has announced a literal, must then end the connection.
    pub fn stream<E: From<Error>>(
        &mut self,
        extent: &Extent,
        skip: u64,
        count: u64,
        mut sink: impl FnMut(&[u8]) -> core::result::Result<(), E>,
    ) -> core::result::Result<u64, E> {
        let place = match &self.outline {
            Some(outline) if skip > 0 => outline.lines.place(extent, skip),
            _ => Place { offset: extent.start, skip, after_cr: false },
        };
        let mut window = Wire::window_at(place.skip, count, place.after_cr);
        let mut at = place.offset;
        // No octet of the file is less than one on the wire.
        let mut most = place.skip.saturating_add(count);
        let mut out = Vec::with_capacity(PIECE);
        while window.left() > 0 && most > 0 {
            let piece = self.read(at, usize::try_from(most).unwrap_or(PIECE).min(PIECE))?;
            let n = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            if n == 0 {
                break;
            }
            at = at.saturating_add(n);
            most = most.saturating_sub(n);
            out.clear();
            window.feed(&piece, &mut out);
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

fn unread(e: std::io::Error) -> Error {
    SysError::of("read", &e).into()
}
