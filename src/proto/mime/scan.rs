//! The structure of a message in one pass.
//!
//! [`Scanner`] is fed a message in chunks of any size and keeps what a window
//! needs: the open parts, the field being read, the beginning of a line that
//! crosses a chunk.  It is a loop over lines with a stack of open parts, no
//! recursion, and each byte is looked at once; a line that begins with `--` is
//! compared with at most [`limits::MIME_DEPTH`] boundaries.
//!
//! How a broken structure is read: a delimiter of an outer multipart closes all
//! within it (the terminators that are missing are implied); a delimiter must
//! match whole, so that `--a` and `--ab` are told apart; after the close
//! delimiter comes the epilogue, also if another delimiter follows; of two
//! Content-Type fields the first valid one counts; what lies too deep, or comes
//! after too many parts, is the opaque body of the last part that was opened.
//!
//! RFC 2046 5.1, 5.2.1; RFC 5322 2.1.

use super::param::{ContentType, Disposition};
use super::structure::{Encoding, Extent, Oddities, Part, Structure};
use crate::proto::chars;
use crate::proto::limits;

/// The structure of a message that is in memory.
pub fn scan(message: &[u8]) -> Structure {
    let mut scanner = Scanner::new();
    scanner.feed(message);
    scanner.finish()
}

/// How a line ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineEnd {
    Nothing,
    Lf,
    CrLf,
}

impl LineEnd {
    const fn octets(self) -> u64 {
        match self {
            LineEnd::Nothing => 0,
            LineEnd::Lf => 1,
            LineEnd::CrLf => 2,
        }
    }
}

/// A count of octets and lines up to some place.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    at: u64,
    lines: u64,
    bare_lf: u64,
}

impl Mark {
    const fn to(self, end: Mark) -> Extent {
        Extent {
            start: self.at,
            end: end.at,
            lines: end.lines.saturating_sub(self.lines),
            bare_lf: end.bare_lf.saturating_sub(self.bare_lf),
            bare_lf_before: self.bare_lf,
        }
    }
}

/// What is open around the place reached; the last entry is the innermost.
#[derive(Debug)]
struct Open {
    part: usize,
    /// Where its body began; its header while that is being read.
    start: Mark,
    /// A multipart's boundary.
    boundary: Option<Vec<u8>>,
    /// Its close delimiter came: what follows is the epilogue.
    closed: bool,
}

/// Reads a message chunk by chunk.
#[derive(Debug)]
pub struct Scanner {
    /// Where the line being read begins.
    here: Mark,
    /// Where the line before it ended, its line end not counted.
    before: Mark,
    /// The beginning of a line that crosses a chunk; how long the line is so
    /// far, of which `line` may be only the beginning; and its last byte.
    line: Vec<u8>,
    line_octets: u64,
    line_last: u8,
    /// The header of the innermost open part is being read.
    in_header: bool,
    /// Octets of this header so far.
    header_octets: u64,
    /// The MIME field being read, unfolded, with its name; empty if none.
    field: Vec<u8>,
    /// Two fields of a kind are odd.
    seen_type: bool,
    seen_encoding: bool,
    open: Vec<Open>,
    parts: Vec<Part>,
    odd: Oddities,
}

/// Octets at the beginning of a body line that can be a delimiter: the
/// boundary, four hyphens, some white space.
const DELIMITER_OCTETS: usize = limits::MIME_BOUNDARY.size().saturating_add(56);
/// The longest boundary that RFC 2046 5.1.1 allows.
const BOUNDARY_OCTETS: usize = 70;
/// The longest line that RFC 5322 2.1.1 allows, with its CRLF.
const LINE_OCTETS: u64 = 1000;

impl Default for Scanner {
    fn default() -> Self {
        Scanner::new()
    }
}

impl Scanner {
    /// Begins with the header of the message.
    pub fn new() -> Scanner {
        let mut scanner = Scanner {
            here: Mark::default(),
            before: Mark::default(),
            line: Vec::new(),
            line_octets: 0,
            line_last: 0,
            in_header: true,
            header_octets: 0,
            field: Vec::new(),
            seen_type: false,
            seen_encoding: false,
            open: Vec::new(),
            parts: Vec::new(),
            odd: Oddities::default(),
        };
        scanner.open_part(None);
        scanner
    }

    /// Takes the next bytes of the message.
    pub fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(n) = memchr::memchr(b'\n', rest) {
            let (text, after) = rest.split_at_checked(n).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if self.line_octets == 0 {
                let total = octets(text).saturating_add(1);
                match text.strip_suffix(b"\r") {
                    Some(text) => self.take_line(text, total, LineEnd::CrLf),
                    None => self.take_line(text, total, LineEnd::Lf),
                }
            } else {
                self.keep(text);
                self.take_kept(true);
            }
        }
        self.keep(rest);
    }

    /// The end of the message: closes what is open.
    pub fn finish(mut self) -> Structure {
        if self.line_octets > 0 {
            self.take_kept(false);
        }
        let end = self.here;
        self.close_down_to(0, end);
        Structure { parts: self.parts, odd: self.odd }
    }

    /// Keeps as much of a line's beginning as can matter.
    fn keep(&mut self, piece: &[u8]) {
        let Some(last) = piece.last() else { return };
        let cap = if self.in_header { limits::HEADER_FIELD.size() } else { DELIMITER_OCTETS };
        let room = cap.saturating_sub(self.line.len());
        self.line.extend_from_slice(piece.get(..room).unwrap_or(piece));
        self.line_octets = self.line_octets.saturating_add(octets(piece));
        self.line_last = *last;
    }

    /// The kept line is whole; `lf` tells whether a LF came, or the end.
    fn take_kept(&mut self, lf: bool) {
        let mut line = std::mem::take(&mut self.line);
        let kept = octets(&line);
        let total = std::mem::take(&mut self.line_octets);
        let end = match (lf, self.line_last) {
            (false, _) => LineEnd::Nothing,
            (true, b'\r') => LineEnd::CrLf,
            (true, _) => LineEnd::Lf,
        };
        if end == LineEnd::CrLf && kept == total {
            line.pop();
        }
        self.take_line(&line, total.saturating_add(u64::from(lf)), end);
        line.clear();
        self.line = line; // keeps its room
    }

    /// One line: its text (perhaps only the beginning), all its octets, its end.
    fn take_line(&mut self, text: &[u8], total: u64, end: LineEnd) {
        let start = self.here;
        let next = Mark {
            at: start.at.saturating_add(total),
            lines: start.lines.saturating_add(u64::from(end != LineEnd::Nothing)),
            bare_lf: start.bare_lf.saturating_add(u64::from(end == LineEnd::Lf)),
        };
        self.odd.long_line |= total > LINE_OCTETS;
        let whole = octets(text).saturating_add(end.octets()) == total;
        let mut delimiter =
            if whole && text.starts_with(b"--") { self.find_delimiter(text) } else { None };
        if matches!(delimiter, Some((_, false))) && self.parts.len() >= limits::MIME_PARTS.size() {
            // From here on no delimiter is seen any more.
            self.odd.too_many_parts = true;
            delimiter = None;
        }
        if let Some((index, close)) = delimiter {
            let before = self.before;
            self.close_down_to(index.saturating_add(1), before);
            if close {
                if let Some(multipart) = self.open.last_mut() {
                    multipart.closed = true;
                }
            }
            self.here = next;
            if !close {
                let parent = self.open.last().map(|open| open.part);
                self.open_part(parent);
            }
        } else if self.in_header {
            self.header_line(text, total, next);
        }
        self.here = next;
        self.before = Mark { at: next.at.saturating_sub(end.octets()), ..start };
    }

    /// The open multipart to which this line is a delimiter, the innermost
    /// first, and whether it is the close delimiter.
    ///
    /// delimiter := "--" boundary; close-delimiter := delimiter "--"; both with
    /// transport-padding := *LWSP-char.  RFC 2046 5.1.1.
    fn find_delimiter(&self, text: &[u8]) -> Option<(usize, bool)> {
        if self.odd.too_many_parts || text.len() > DELIMITER_OCTETS {
            return None;
        }
        let text = text.get(2..)?.trim_ascii_end();
        self.open.iter().enumerate().rev().find_map(|(index, open)| {
            let boundary = open.boundary.as_deref().filter(|_| !open.closed)?;
            match text.strip_prefix(boundary)? {
                b"" => Some((index, false)),
                b"--" => Some((index, true)),
                _ => None,
            }
        })
    }

    /// Opens a part at the place reached; its header comes next.
    fn open_part(&mut self, parent: Option<usize>) {
        let above = parent.and_then(|p| self.parts.get(p));
        let depth = above.map_or(0, |p| p.depth.saturating_add(1));
        // RFC 2046 5.1.5.
        let content_type = if above.is_some_and(|p| p.content_type.is(b"multipart", b"digest")) {
            ContentType::new(b"message", b"rfc822")
        } else {
            ContentType::new(b"text", b"plain")
        };
        let part = self.parts.len();
        self.parts.push(Part {
            parent,
            depth,
            header: Extent::default(),
            body: Extent::default(),
            content_type,
            type_given: false,
            encoding: Encoding::default(),
            encoding_name: Vec::new(),
            disposition: None,
            id: None,
            description: None,
            md5: None,
            language: None,
            location: None,
            composite: false,
        });
        self.open.push(Open { part, start: self.here, boundary: None, closed: false });
        self.in_header = true;
        self.header_octets = 0;
        self.seen_type = false;
        self.seen_encoding = false;
    }

    /// Closes the open parts but for the first `left`; their bodies end at `end`.
    fn close_down_to(&mut self, left: usize, end: Mark) {
        if self.in_header && self.open.len() > left {
            // A header without an empty line: the delimiter or the end cut it.
            let here = self.here;
            self.end_header_at(here);
        }
        while self.open.len() > left {
            let Some(open) = self.open.pop() else { return };
            self.odd.unclosed |= open.boundary.is_some() && !open.closed;
            if let Some(part) = self.parts.get_mut(open.part) {
                // The line end before a delimiter belongs to the delimiter; if
                // it is the one that ended the header, the body is empty.
                let end = if end.at < open.start.at { open.start } else { end };
                part.body = open.start.to(end);
            }
        }
    }

    fn end_header_at(&mut self, end: Mark) {
        self.take_field();
        self.in_header = false;
        if let Some(open) = self.open.last_mut() {
            if let Some(part) = self.parts.get_mut(open.part) {
                part.header = open.start.to(end);
            }
            open.start = end;
        }
    }

    fn header_line(&mut self, text: &[u8], total: u64, next: Mark) {
        if text.is_empty() {
            self.end_header_at(next);
            self.here = next;
            self.begin_body();
            return;
        }
        let cap = limits::HEADER_FIELD.size();
        self.odd.long_header |= text.len() > cap || total > octets(text).saturating_add(2);
        let text = text.get(..cap).unwrap_or(text);
        let first = self.header_octets == 0;
        self.header_octets = self.header_octets.saturating_add(total);
        if self.header_octets > limits::MIME_HEADER.default {
            self.odd.long_header = true;
            return;
        }
        self.odd.eight_bit_in_header |= !text.is_ascii();
        if memchr::memchr2(0, b'\r', text).is_some() {
            self.odd.nul_in_header |= text.contains(&0);
            self.odd.bare_cr_in_header |= text.contains(&b'\r');
        }
        if text.first().is_some_and(|b| chars::is_wsp(*b)) {
            self.odd.no_field |= first;
            if !self.field.is_empty() {
                let room = limits::HEADER_FIELD.size().saturating_sub(self.field.len());
                self.odd.long_header |= text.len() > room;
                self.field.extend_from_slice(text.get(..room).unwrap_or(text));
            }
            return;
        }
        self.take_field();
        if memchr::memchr(b':', text).is_none() {
            // The "From " line of an mbox is no oddity.
            self.odd.no_field |= !(first && text.starts_with(b"From "));
        } else if text.get(..8).is_some_and(|p| p.eq_ignore_ascii_case(b"content-")) {
            self.field.extend_from_slice(text);
        }
    }

    /// The MIME field that was being read is whole.
    fn take_field(&mut self) {
        let field = std::mem::take(&mut self.field);
        let Some(colon) = memchr::memchr(b':', &field) else { return };
        let (name, value) = field.split_at_checked(colon).unwrap_or((&field, &[]));
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        let Some(part) = self.open.last().and_then(|open| self.parts.get_mut(open.part)) else {
            return;
        };
        let text = |slot: &mut Option<Vec<u8>>| {
            slot.get_or_insert_with(|| value.to_vec());
        };
        match name.trim_ascii_end().to_ascii_lowercase().as_slice() {
            b"content-type" => {
                self.odd.repeated_type |= std::mem::replace(&mut self.seen_type, true);
                if part.type_given {
                    return;
                }
                if let Some(content_type) = ContentType::parse(value) {
                    self.odd.repeated_param |= content_type.repeated_param;
                    self.odd.encoded_boundary |= content_type.encoded_boundary;
                    part.content_type = content_type;
                    part.type_given = true;
                }
            }
            b"content-transfer-encoding" => {
                self.odd.repeated_encoding |= std::mem::replace(&mut self.seen_encoding, true);
                let mut c = crate::proto::cursor::Cursor::new(value);
                super::param::skip_cfws(&mut c);
                let token = c.take_while(chars::is_token);
                if part.encoding_name.is_empty() && !token.is_empty() {
                    part.encoding_name = token.to_vec();
                    part.encoding = Encoding::parse(token);
                }
            }
            b"content-disposition" if part.disposition.is_none() => {
                part.disposition = Disposition::parse(value);
            }
            b"content-id" => text(&mut part.id),
            b"content-description" => text(&mut part.description),
            b"content-md5" => text(&mut part.md5),
            b"content-language" => text(&mut part.language),
            b"content-location" => text(&mut part.location),
            _ => {}
        }
    }

    /// The header is read: decides what the body is.
    fn begin_body(&mut self) {
        let many = self.parts.len() >= limits::MIME_PARTS.size();
        let Some(open) = self.open.last_mut() else { return };
        let index = open.part;
        let Some(part) = self.parts.get_mut(index) else { return };
        let multipart = part.content_type.is_main(b"multipart");
        let message = part.content_type.is(b"message", b"rfc822")
            || part.content_type.is(b"message", b"global");
        if !multipart && !message {
            return;
        }
        if !part.encoding.is_identity() {
            // RFC 2046 5.1 and 5.2.1 forbid it.  Readers look into the
            // multipart as if it were not said, and decode the message.
            self.odd.encoded_composite = true;
            if message {
                return;
            }
        }
        if part.depth >= limits::MIME_DEPTH.size() {
            self.odd.too_deep = true;
            return;
        }
        if many {
            self.odd.too_many_parts = true;
            return;
        }
        if message {
            part.composite = true;
            self.open_part(Some(index));
            return;
        }
        let boundary = part.content_type.params.get(b"boundary");
        let boundary = boundary.map(super::Param::octets).unwrap_or_default();
        let boundary = boundary.trim_ascii_end();
        if boundary.is_empty() || boundary.len() > limits::MIME_BOUNDARY.size() {
            self.odd.no_boundary = true;
            return;
        }
        self.odd.long_boundary |= boundary.len() > BOUNDARY_OCTETS;
        open.boundary = Some(boundary.to_vec());
        part.composite = true;
    }
}

fn octets(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
impl Scanner {
    /// Octets of the message that are kept.
    pub(super) fn held(&self) -> usize {
        self.line.capacity().saturating_add(self.field.capacity())
    }
}
