//! BODY[section]<partial>: which bytes of a stored message are meant, and how
//! they go out.
//!
//! [`find`] turns a section into ranges of the file; [`Wire`] turns the file's
//! bytes into what the wire counts, CRLF for every line end, while they stream
//! by.  A literal's size is known before its first octet from the line ends
//! that the scanner counted.  RFC 3501 6.4.5.

use super::fetch::{Of, Section};
use super::lex::Text;
use crate::proto::mime::{Extent, Fields, Structure};

/// What a section means in a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'s, 'a> {
    /// There is no such part, or it has no such thing.
    Nothing,
    /// These bytes.
    Bytes(Extent),
    /// Fields of the header in these bytes.
    Fields {
        /// The header.
        header: Extent,
        /// The names.
        names: &'s [Text<'a>],
        /// True for HEADER.FIELDS.NOT.
        not: bool,
    },
}

/// Looks a section up.
pub fn find<'s, 'a>(structure: &Structure, section: &'s Section<'a>) -> Found<'s, 'a> {
    let mut at = At { part: 0, as_part: false };
    for n in &section.part {
        match at.step(structure, *n) {
            Some(next) => at = next,
            None => return Found::Nothing,
        }
    }
    let Some(part) = structure.parts.get(at.part) else { return Found::Nothing };
    // HEADER and TEXT are of a message: the whole one, or an attached one.
    let message = if at.as_part {
        attached(structure, at.part).and_then(|i| structure.parts.get(i))
    } else {
        Some(part)
    };
    let fields = |names: &'s [Text<'a>], not| match message {
        Some(m) => Found::Fields { header: m.header, names, not },
        None => Found::Nothing,
    };
    match &section.of {
        Of::All if at.as_part => Found::Bytes(part.body),
        Of::All => Found::Bytes(joined(part.header, part.body)),
        Of::Mime => Found::Bytes(part.header),
        Of::Header => message.map_or(Found::Nothing, |m| Found::Bytes(m.header)),
        Of::Text => message.map_or(Found::Nothing, |m| Found::Bytes(m.body)),
        Of::Fields(names) => fields(names, false),
        Of::FieldsNot(names) => fields(names, true),
    }
}

/// A place in the structure: a part, and whether it is meant as a part or as
/// the message that it also is.
struct At {
    part: usize,
    as_part: bool,
}

impl At {
    /// Goes to part `n` of this.  Every message has a part 1: its body.
    fn step(&self, structure: &Structure, n: u32) -> Option<At> {
        let mut holder = self.part;
        let mut of_message = !self.as_part;
        if self.as_part {
            if let Some(inner) = attached(structure, self.part) {
                holder = inner;
                of_message = true;
            }
        }
        let part = structure.parts.get(holder)?;
        if part.composite && part.content_type.is_main(b"multipart") {
            let nth = usize::try_from(n.checked_sub(1)?).ok()?;
            let part = structure.children(holder).nth(nth)?;
            return Some(At { part, as_part: true });
        }
        (of_message && n == 1).then_some(At { part: holder, as_part: true })
    }
}

/// The message within a message/rfc822 part.
fn attached(structure: &Structure, part: usize) -> Option<usize> {
    let holder = structure.parts.get(part)?;
    if holder.composite && !holder.content_type.is_main(b"multipart") {
        structure.children(part).next()
    } else {
        None
    }
}

/// Two ranges that stand one after the other.
fn joined(header: Extent, body: Extent) -> Extent {
    Extent {
        start: header.start,
        end: body.end,
        lines: header.lines.saturating_add(body.lines),
        bare_lf: header.bare_lf.saturating_add(body.bare_lf),
        bare_lf_before: header.bare_lf_before,
    }
}

/// The fields of a header that were asked for, CRLF and the empty line included.
///
/// The order is that of the header; folding stays.
pub fn select_fields(header: &[u8], names: &[Text<'_>], not: bool) -> Vec<u8> {
    let mut out = Vec::new();
    let mut wire = Wire::whole();
    for field in Fields::new(header) {
        let named = names.iter().any(|n| field.is(n)) && !field.name.is_empty();
        if named != not {
            wire.feed(field.raw, &mut out);
            if !field.raw.ends_with(b"\n") {
                wire.feed(b"\n", &mut out);
            }
        }
    }
    wire.feed(b"\n", &mut out);
    out
}

/// The octets of a partial: how many are skipped and how many go out.
pub fn window(octets: u64, partial: Option<(u32, u32)>) -> (u64, u64) {
    match partial {
        None => (0, octets),
        Some((first, count)) => {
            let first = u64::from(first).min(octets);
            (first, octets.saturating_sub(first).min(u64::from(count)))
        }
    }
}

/// Turns stored bytes into those of the wire: CRLF for every LF, NUL as 0x80,
/// and of all that only a window.
#[derive(Clone, Copy, Debug)]
pub struct Wire {
    skip: u64,
    left: u64,
    after_cr: bool,
}

impl Wire {
    /// Everything.
    pub const fn whole() -> Wire {
        Wire { skip: 0, left: u64::MAX, after_cr: false }
    }

    /// `count` octets of the wire after the first `skip`.
    pub const fn window(skip: u64, count: u64) -> Wire {
        Wire { skip, left: count, after_cr: false }
    }

    /// The same from a place within the file; `after_cr` tells whether the octet
    /// before it is a CR.
    pub const fn window_at(skip: u64, count: u64, after_cr: bool) -> Wire {
        Wire { skip, left: count, after_cr }
    }

    /// How many octets are still wanted.
    pub const fn left(&self) -> u64 {
        self.left
    }

    /// Appends what a piece of the file becomes.
    pub fn feed(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        let mut rest = piece;
        while !rest.is_empty() && self.left > 0 {
            let n = memchr::memchr2(b'\n', 0, rest).unwrap_or(rest.len());
            let (plain, after) = rest.split_at_checked(n).unwrap_or((rest, &[]));
            self.push(plain, out);
            if let Some(last) = plain.last() {
                self.after_cr = *last == b'\r';
            }
            let Some((&b, after)) = after.split_first() else { return };
            rest = after;
            match b {
                b'\n' if self.after_cr => self.push(b"\n", out),
                b'\n' => self.push(b"\r\n", out),
                _ => self.push(b"\x80", out),
            }
            self.after_cr = false;
        }
    }

    /// Appends octets of the wire, those within the window.
    fn push(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        let skip = usize::try_from(self.skip).unwrap_or(usize::MAX).min(bytes.len());
        self.skip = self.skip.saturating_sub(u64::try_from(skip).unwrap_or(u64::MAX));
        let rest = bytes.get(skip..).unwrap_or_default();
        let take = usize::try_from(self.left).unwrap_or(usize::MAX).min(rest.len());
        self.left = self.left.saturating_sub(u64::try_from(take).unwrap_or(u64::MAX));
        out.extend_from_slice(rest.get(..take).unwrap_or_default());
    }
}

#[cfg(test)]
mod tests {
    use super::super::fetch::{parse_items, Item};
    use super::*;
    use crate::proto::cursor::Cursor;
    use crate::proto::mime::scan;

    /// What `BODY[...]` of a message gives, `None` for NIL.
    fn fetch(message: &[u8], section: &str) -> Option<String> {
        let text = format!("BODY[{section}]");
        let items = parse_items(&mut Cursor::new(text.as_bytes())).unwrap();
        let Item::Section(fetch) = &items[0] else { panic!("{section}") };
        let structure = scan(message);
        let mut out = Vec::new();
        match find(&structure, &fetch.section) {
            Found::Nothing => return None,
            Found::Bytes(extent) => {
                Wire::whole().feed(extent.of(message), &mut out);
                assert_eq!(out.len() as u64, extent.wire_octets(), "{section}");
            }
            Found::Fields { header, names, not } => {
                out = select_fields(header.of(message), names, not);
            }
        }
        Some(String::from_utf8(out).unwrap())
    }

    fn some(text: &str) -> Option<String> {
        Some(text.to_string())
    }

    #[test]
    fn a_plain_message_has_part_one() {
        let m = b"Subject: x\nTo: y\n\nbody\n";
        assert_eq!(fetch(m, ""), some("Subject: x\r\nTo: y\r\n\r\nbody\r\n"));
        assert_eq!(fetch(m, "HEADER"), some("Subject: x\r\nTo: y\r\n\r\n"));
        assert_eq!(fetch(m, "TEXT"), some("body\r\n"));
        assert_eq!(fetch(m, "1"), some("body\r\n"));
        assert_eq!(fetch(m, "1.MIME"), some("Subject: x\r\nTo: y\r\n\r\n"));
        assert_eq!(fetch(m, "2"), None);
        assert_eq!(fetch(m, "1.1"), None);
        assert_eq!(fetch(m, "1.HEADER"), None);
    }

    #[test]
    fn fields_are_chosen_in_the_order_of_the_header() {
        let m = b"A: 1\nB: 2\n folded\nC: 3\nb: 4\n\nbody\n";
        assert_eq!(
            fetch(m, "HEADER.FIELDS (C b)"),
            some("B: 2\r\n folded\r\nC: 3\r\nb: 4\r\n\r\n")
        );
        assert_eq!(fetch(m, "HEADER.FIELDS.NOT (B)"), some("A: 1\r\nC: 3\r\n\r\n"));
        assert_eq!(fetch(m, "HEADER.FIELDS (Zz)"), some("\r\n"));
        assert_eq!(fetch(b"A: 1", "HEADER.FIELDS (A)"), some("A: 1\r\n\r\n"));
    }

    const NESTED: &[u8] = b"Content-Type: multipart/mixed; boundary=o\n\n\
        --o\nContent-Type: text/plain\n\none\n\
        --o\nContent-Type: message/rfc822\n\n\
        Subject: inner\nContent-Type: multipart/alternative; boundary=i\n\n\
        --i\n\nplain\n--i\nContent-Type: text/html\n\n<p>\n--i--\n\
        --o\nContent-Type: message/rfc822\n\nSubject: flat\n\nflat body\n--o--\n";

    #[test]
    fn the_numbers_of_rfc_3501_6_4_5() {
        assert_eq!(fetch(NESTED, "1"), some("one"));
        assert_eq!(fetch(NESTED, "1.MIME"), some("Content-Type: text/plain\r\n\r\n"));
        assert_eq!(fetch(NESTED, "2.1"), some("plain"));
        assert_eq!(fetch(NESTED, "2.2"), some("<p>"));
        assert_eq!(fetch(NESTED, "2.2.MIME"), some("Content-Type: text/html\r\n\r\n"));
        assert!(fetch(NESTED, "2.HEADER").unwrap().starts_with("Subject: inner\r\n"));
        assert_eq!(fetch(NESTED, "2.HEADER.FIELDS (Subject)"), some("Subject: inner\r\n\r\n"));
        assert!(fetch(NESTED, "2.TEXT").unwrap().starts_with("--i\r\n"));
        assert_eq!(fetch(NESTED, "3.1"), some("flat body"));
        assert_eq!(fetch(NESTED, "3.TEXT"), some("flat body"));
        assert!(fetch(NESTED, "3").unwrap().starts_with("Subject: flat\r\n\r\nflat"));
        for none in ["4", "1.1", "2.3", "3.2", "3.1.1", "2.1.TEXT"] {
            assert_eq!(fetch(NESTED, none), None, "{none}");
        }
    }

    #[test]
    fn a_window_counts_octets_of_the_wire_however_the_file_comes() {
        let file = b"a\nb\r\nc\0\n\n";
        let mut whole = Vec::new();
        Wire::whole().feed(file, &mut whole);
        assert_eq!(whole, b"a\r\nb\r\nc\x80\r\n\r\n");
        for first in 0..=whole.len() + 1 {
            for count in 1..=whole.len() + 1 {
                for size in 1..=file.len() {
                    let partial = Some((first as u32, count as u32));
                    let (skip, left) = window(whole.len() as u64, partial);
                    let mut wire = Wire::window(skip, left);
                    let mut out = Vec::new();
                    for piece in file.chunks(size) {
                        wire.feed(piece, &mut out);
                    }
                    let from = first.min(whole.len());
                    let to = (from + count).min(whole.len());
                    assert_eq!(out, &whole[from..to]);
                    assert_eq!(wire.left(), 0);
                }
            }
        }
    }
}
