//! The header of a message as it streams by: one field at a time.
//!
//! *Runs in* smtp, between the DATA machine and the spool; input is hostile.
//! Fields are found by their place only, never decoded here, and one field at a
//! time is in memory.  The header ends at the first empty line, or before the
//! first line that is no field: [`End::missing_line`] says that nothing parts
//! it from the body.
//!
//! RFC 5322 2.2, 3.5.

use crate::proto::chars;
use crate::proto::limits;

/// A field with its place in the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, as written.
    pub name: &'a [u8],
    /// What follows the colon, folded as it is, without the last CRLF.
    pub value: &'a [u8],
    /// The offset of the name's first octet.
    pub start: u64,
    /// The offset of `value`.
    pub value_start: u64,
    /// The offset after the field's last CRLF.
    pub end: u64,
}

impl Field<'_> {
    /// True if the field has this name, ASCII case folded.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// Where the header ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct End {
    /// The offset after the last field: where a field can be added.
    pub offset: u64,
    /// True if no empty line follows there.
    pub missing_line: bool,
}

/// The header is over a limit: a field, all of it, or the number of lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeaderTooBig;

/// Finds the fields in chunks of any size.
#[derive(Debug, Default)]
pub struct HeaderReader {
    /// The field so far: whole lines, then the line that is not complete.
    field: Vec<u8>,
    /// Where in `field` the line that is not complete begins.
    line: usize,
    /// The offset of `field` in the body.
    start: u64,
    lines: usize,
    end: Option<End>,
}

impl HeaderReader {
    /// Begins at the body's first octet.
    pub fn new() -> HeaderReader {
        HeaderReader::default()
    }

    /// The end of the header, once it has been seen.
    pub const fn end(&self) -> Option<End> {
        self.end
    }

    /// Takes the next octets of the body; `each` gets every field that is complete.
    ///
    /// Costs nothing once the header has ended.
    pub fn feed(
        &mut self,
        chunk: &[u8],
        mut each: impl FnMut(Field<'_>),
    ) -> Result<(), HeaderTooBig> {
        let mut rest = chunk;
        while self.end.is_none() && !rest.is_empty() {
            let n = memchr::memchr(b'\n', rest).map(|at| at.saturating_add(1));
            let (line, later) = rest.split_at_checked(n.unwrap_or(rest.len())).unwrap_or_default();
            rest = later;
            self.field.extend_from_slice(line);
            if n.is_some() {
                self.lines = self.lines.saturating_add(1);
                self.line_done(&mut each);
            }
            if self.end.is_none() && self.is_too_big() {
                return Err(HeaderTooBig);
            }
        }
        Ok(())
    }

    /// The body is over.  Gives the last field of a message without a body.
    pub fn finish(&mut self, mut each: impl FnMut(Field<'_>)) -> End {
        if let Some(end) = self.end {
            return end;
        }
        // A last line without CRLF is no line; what it belongs to stays body.
        self.flush(&mut each);
        self.stop(true)
    }

    /// Whether a limit is passed by what surely is header: the begin of a line
    /// may still be the next field's, the empty line's, or the body's.
    fn is_too_big(&self) -> bool {
        let (whole, last) = self.field.split_at_checked(self.line).unwrap_or_default();
        let folded = last.first().copied().is_none_or(chars::is_wsp);
        let field = if folded { self.field.len() } else { whole.len().max(last.len()) };
        // What has no name yet may be the body's, if no empty line parts them.
        let is_header = folded || name_len(last).is_some();
        let header = if is_header { len(&self.field) } else { len(whole) };
        field > limits::HEADER_FIELD.size()
            || self.lines > limits::HEADER_LINES.size()
            || self.start.saturating_add(header) > limits::HEADER.default
    }

    fn line_done(&mut self, each: &mut impl FnMut(Field<'_>)) {
        let line = self.field.get(self.line..).unwrap_or_default();
        if line == b"\r\n" {
            self.flush(each);
            self.stop(false);
        } else if self.line > 0 && line.first().copied().is_some_and(chars::is_wsp) {
            self.line = self.field.len(); // a continuation
        } else if name_len(line).is_some() {
            self.flush(each);
            self.line = self.field.len();
        } else {
            self.flush(each);
            self.stop(true);
        }
    }

    /// Hands out the complete lines of `field` and forgets them.
    fn flush(&mut self, each: &mut impl FnMut(Field<'_>)) {
        let whole = self.field.get(..self.line).unwrap_or_default();
        let end = self.start.saturating_add(len(whole));
        if let Some(name) = name_len(whole) {
            let colon = memchr::memchr(b':', whole).unwrap_or(name);
            let value = whole.get(colon.saturating_add(1)..).unwrap_or_default();
            let value_start = end.saturating_sub(len(value));
            each(Field {
                name: whole.get(..name).unwrap_or_default(),
                value: value.strip_suffix(b"\r\n").unwrap_or(value),
                start: self.start,
                value_start,
                end,
            });
        }
        self.field.drain(..self.line);
        self.line = 0;
        self.start = end;
    }

    fn stop(&mut self, missing_line: bool) -> End {
        let end = End { offset: self.start, missing_line };
        self.end = Some(end);
        self.field = Vec::new();
        end
    }
}

/// The length of the field name that a line begins with.
///
/// field = field-name ":" unstructured CRLF; blanks before the colon are
/// obs-syntax (RFC 5322 4.5.8) and pass.
fn name_len(line: &[u8]) -> Option<usize> {
    let n = line.iter().position(|b| !chars::is_ftext(*b)).filter(|n| *n > 0)?;
    let after = line.get(n..)?.iter().find(|b| !chars::is_wsp(**b));
    (after == Some(&b':')).then_some(n)
}

fn len(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    type Seen = Vec<(String, String, u64, u64)>;

    fn read(body: &[u8], step: usize) -> (Seen, End) {
        let mut seen = Vec::new();
        let mut reader = HeaderReader::new();
        let mut keep = |f: Field<'_>| {
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            assert_eq!(f.value_start + f.value.len() as u64 + 2, f.end);
            seen.push((text(f.name), text(f.value), f.start, f.end));
        };
        for chunk in body.chunks(step) {
            reader.feed(chunk, &mut keep).unwrap();
        }
        let end = reader.finish(&mut keep);
        (seen, end)
    }

    #[test]
    fn fields_and_end_in_every_split() {
        let body = b"A: 1\r\nLong : x\r\n\ty\r\n z\r\nB:\r\n\r\nC: body\r\n";
        for step in 1..=body.len() {
            let (seen, end) = read(body, step);
            assert_eq!(
                seen,
                [
                    ("A".into(), " 1".into(), 0, 6),
                    ("Long".into(), " x\r\n\ty\r\n z".into(), 6, 24),
                    ("B".into(), String::new(), 24, 28),
                ],
                "step {step}"
            );
            assert_eq!(end, End { offset: 28, missing_line: false });
        }
    }

    #[test]
    fn a_header_that_begins_with_a_blank_is_none() {
        for body in [&b" x: y\r\nA: b\r\n\r\n"[..], b"\tfoo\r\n", b"hello\r\n", b": x\r\n", b""] {
            let (seen, end) = read(body, 3);
            assert!(seen.is_empty(), "{body:?}");
            assert_eq!(end, End { offset: 0, missing_line: true });
        }
    }

    #[test]
    fn a_line_that_is_no_field_ends_the_header() {
        let (seen, end) = read(b"A: b\r\nhello there: x\r\nC: d\r\n\r\n", 7);
        assert_eq!(seen.len(), 1);
        assert_eq!(end, End { offset: 6, missing_line: true });
    }

    #[test]
    fn a_message_without_body() {
        let (seen, end) = read(b"A: b\r\nC: d\r\n e\r\n", 4);
        assert_eq!(seen[1], ("C".into(), " d\r\n e".into(), 6, 16));
        assert_eq!(end, End { offset: 16, missing_line: true });
    }

    #[test]
    fn a_header_without_end_is_bounded() {
        let feed = |line: &[u8], times: usize| {
            let mut reader = HeaderReader::new();
            (0..times).try_for_each(|_| reader.feed(line, |_| ()))
        };
        assert_eq!(feed(b"A: b\r\n", 1_000_000), Err(HeaderTooBig));
        assert_eq!(feed(&[b'a'; 4096], 1_000), Err(HeaderTooBig));
        assert_eq!(feed(b"A: b\r\n", 100), Ok(()));
        let mut reader = HeaderReader::new();
        reader.feed(b"A: b\r\n", |_| ()).unwrap();
        assert_eq!(
            (0..1000).try_for_each(|_| reader.feed(&[b' '; 1000], |_| ())),
            Err(HeaderTooBig)
        );
    }

    #[test]
    fn a_header_and_a_field_at_their_limits_are_taken_and_an_octet_more_is_not() {
        // A field of so many octets, its CRLF among them, folded once.
        let field = |octets: usize| {
            let half = octets / 2;
            format!("A: {}\r\n {}\r\n", "x".repeat(half), "y".repeat(octets - half - 8))
        };
        let most = limits::HEADER_FIELD.size();
        let all = limits::HEADER.size();
        let cases = [
            (field(most), Ok(())),
            (field(most + 1), Err(HeaderTooBig)),
            (field(all / 8).repeat(8), Ok(())),
            (field(all / 8).repeat(7) + &field(all / 8 + 1), Err(HeaderTooBig)),
        ];
        for (header, expected) in &cases {
            let message = format!("{header}\r\nbody\r\n");
            for chunk in [1, 3, 7, 4096, message.len()] {
                let mut reader = HeaderReader::new();
                let fed = message.as_bytes().chunks(chunk).try_for_each(|c| reader.feed(c, |_| ()));
                assert_eq!(fed, *expected, "{} octets by {chunk}", header.len());
            }
        }
        // A body that no empty line parts from a header at its limit.
        let message = format!("{}Hello\r\n", field(all / 8).repeat(8));
        for chunk in [1, 3, 7, 4096, message.len()] {
            let mut reader = HeaderReader::new();
            let fed = message.as_bytes().chunks(chunk).try_for_each(|c| reader.feed(c, |_| ()));
            assert_eq!(fed, Ok(()), "by {chunk}");
            assert!(reader.end().is_some_and(|end| end.missing_line));
        }
        // What follows a field at its limit is not the field's.
        let mut reader = HeaderReader::new();
        reader.feed(field(most).as_bytes(), |_| ()).unwrap();
        reader.feed(b"Subj", |_| ()).unwrap();
        reader.feed(b"ect: x\r\n\r", |_| ()).unwrap();
        reader.feed(b"\n", |_| ()).unwrap();
        assert!(reader.end().is_some());
    }
}
