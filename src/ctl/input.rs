//! Files that rmailctl reads: messages of any size, and zones.
//!
//! A message is read as it is on disk, with LF or CRLF, or as the first one of
//! a mailbox file (mbox), whose `From ` line belongs to no message.  Only its
//! header is kept; the body goes by in pieces, so that a file of any length can
//! be checked.

use crate::base::exits::sysexits;
use crate::sys::errno::reason;
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read};

/// What is wrong, and the exit status for it.
pub type Wrong = (String, u8);

/// Octets read at a time.
const PIECE: usize = 64 << 10;
/// Octets of a header: a file need not have come through a server of ours.
const HEADER: usize = 1 << 20;

/// Opens a file; `-` is standard input.
fn open(path: &str) -> Result<Box<dyn Read>, Wrong> {
    if path == "-" {
        return Ok(Box::new(std::io::stdin()));
    }
    match File::open(path) {
        Ok(file) => Ok(Box::new(file)),
        Err(e) => Err((format!("{path}: {}", reason(&e)), sysexits::NOINPUT)),
    }
}

/// Reads a whole file of at most `most` octets.
pub fn whole(path: &str, most: usize) -> Result<Vec<u8>, Wrong> {
    let mut bytes = Vec::new();
    let cap = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    open(path)?
        .take(cap)
        .read_to_end(&mut bytes)
        .map_err(|e| (format!("{path}: {}", reason(&e)), sysexits::NOINPUT))?;
    if bytes.len() > most {
        return Err((format!("{path}: longer than {most} octets"), sysexits::DATAERR));
    }
    Ok(bytes)
}

/// A message whose header was read.
pub struct Message {
    path: String,
    from: BufReader<Box<dyn Read>>,
    /// The header, up to its empty line.
    pub header: Vec<u8>,
    /// It is the first one of a mailbox file.
    pub mailbox: bool,
}

impl Message {
    /// Reads the header.  A file that is no message is an EX_DATAERR.
    pub fn open(path: &str) -> Result<Message, Wrong> {
        let mut message = Message {
            path: path.to_string(),
            from: BufReader::with_capacity(PIECE, open(path)?),
            header: Vec::new(),
            mailbox: false,
        };
        message.read_header()?;
        let header = &message.header;
        let text = if header.is_empty() {
            "it is empty, or begins with an empty line"
        } else if !header.contains(&b'\n') && header.contains(&b'\r') {
            "its lines end in CR alone, not in LF or CRLF"
        } else if crate::proto::mime::Fields::new(header).all(|f| f.name.is_empty()) {
            "it has no header field"
        } else {
            return Ok(message);
        };
        Err((format!("{path}: not a message: {text}"), sysexits::DATAERR))
    }

    fn read_header(&mut self) -> Result<(), Wrong> {
        let most = HEADER;
        let mut line = Vec::new();
        let mut first = true;
        loop {
            line.clear();
            let left = most.saturating_sub(self.header.len()).saturating_add(1);
            let cap = u64::try_from(left).unwrap_or(u64::MAX);
            let read = (&mut self.from).take(cap).read_until(b'\n', &mut line);
            read.map_err(|e| self.unread(&e))?;
            if std::mem::take(&mut first) && line.starts_with(b"From ") {
                self.mailbox = true;
                continue;
            }
            if matches!(line.as_slice(), b"" | b"\n" | b"\r\n") {
                return Ok(());
            }
            self.header.extend_from_slice(&line);
            if self.header.len() > most {
                let text = format!("{}: the header is longer than {most} octets", self.path);
                return Err((text, sysexits::DATAERR));
            }
        }
    }

    /// Hands on the body, piece by piece.  True if another message follows in
    /// the mailbox.
    pub fn body(&mut self, mut each: impl FnMut(&[u8])) -> Result<bool, Wrong> {
        let mut cut = Cut::new();
        loop {
            let piece = match self.from.fill_buf() {
                Ok(piece) => piece,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(self.unread(&e)),
            };
            if piece.is_empty() {
                cut.finish(&mut each);
                return Ok(false);
            }
            let length = piece.len();
            if !self.mailbox {
                each(piece);
            } else if cut.feed(piece, &mut each) {
                return Ok(true);
            }
            self.from.consume(length);
        }
    }

    fn unread(&self, e: &std::io::Error) -> Wrong {
        (format!("{}: {}", self.path, reason(e)), sysexits::NOINPUT)
    }
}

/// What begins a message in a mailbox, after an empty line.
const SEPARATOR: &[u8] = b"From ";

/// Finds the end of a message in a mailbox.
struct Cut {
    /// The line before was empty, or it is the first line.
    after_empty: bool,
    /// The beginning of a line that may be a separator.
    held: Vec<u8>,
    /// Octets of this line so far, held ones too: 0 at its beginning, 1 for a CR
    /// alone, 2 for more.
    line: u8,
}

impl Cut {
    const fn new() -> Cut {
        Cut { after_empty: true, held: Vec::new(), line: 0 }
    }

    /// Hands on what belongs to the message; true at its end.
    fn feed(&mut self, piece: &[u8], each: &mut impl FnMut(&[u8])) -> bool {
        let mut rest = piece;
        while !rest.is_empty() {
            if self.after_empty && (self.line == 0 || !self.held.is_empty()) {
                let wanted = SEPARATOR.get(self.held.len()..).unwrap_or_default();
                let same = wanted.iter().zip(rest).take_while(|(a, b)| a == b).count();
                let (taken, after) = rest.split_at_checked(same).unwrap_or((rest, &[]));
                self.held.extend_from_slice(taken);
                rest = after;
                if self.held.len() == SEPARATOR.len() {
                    return true;
                }
                if rest.is_empty() {
                    return false;
                }
                if !self.held.is_empty() {
                    self.line = 2;
                    self.finish(each);
                }
                self.after_empty = false;
            }
            let end = memchr::memchr(b'\n', rest);
            let length = end.map_or(rest.len(), |n| n.saturating_add(1));
            let (line, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            rest = after;
            each(line);
            let text = line.strip_suffix(b"\n").unwrap_or(line);
            self.line = match (self.line, text) {
                (line, b"") => line,
                (0, b"\r") => 1,
                _ => 2,
            };
            if end.is_some() {
                self.after_empty = self.line < 2;
                self.line = 0;
            }
        }
        false
    }

    /// The end of the file: what was held is no separator.
    fn finish(&mut self, each: &mut impl FnMut(&[u8])) {
        if !self.held.is_empty() {
            each(&self.held);
            self.held.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The body up to its end, and whether another message follows.
    fn cut(text: &str, step: usize) -> (String, bool) {
        let (mut cut, mut out) = (Cut::new(), Vec::new());
        let mut each = |bytes: &[u8]| out.extend_from_slice(bytes);
        let ended = text.as_bytes().chunks(step).any(|piece| cut.feed(piece, &mut each));
        if !ended {
            cut.finish(&mut each);
        }
        (String::from_utf8(out).unwrap(), ended)
    }

    #[test]
    fn a_message_of_a_mailbox_ends_at_a_from_line_after_an_empty_one() {
        for (text, body, more) in [
            ("body\n\nFrom b@c\nx", "body\n\n", true),
            ("body\r\n\r\nFrom b@c\r\nx", "body\r\n\r\n", true),
            ("From b@c\n", "", true),
            ("body\nFrom here on\n", "body\nFrom here on\n", false),
            ("a\n\nFro", "a\n\nFro", false),
            ("a\n\nFrom: x\n\nFromage\n", "a\n\nFrom: x\n\nFromage\n", false),
            ("a\n\n>From b\n", "a\n\n>From b\n", false),
            ("a\n\n\nFFrom b\n\nFrFrom \n", "a\n\n\nFFrom b\n\nFrFrom \n", false),
            ("x\r\rFrom b\n", "x\r\rFrom b\n", false),
            ("", "", false),
        ] {
            for step in 1..=text.len().max(1) {
                assert_eq!(cut(text, step), (body.to_string(), more), "{text:?} by {step}");
            }
        }
    }
}
