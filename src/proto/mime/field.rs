//! The header as a list of raw fields.  RFC 5322 2.2.
//!
//! Both CRLF and LF end a line: the wire has the one, files of the mail store
//! the other.  Every byte of a header belongs to exactly one [`Field`], so that
//! a signature can be checked over what really came.

use crate::proto::chars;

/// One header field with its folded lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The whole of it, final line end included.
    pub raw: &'a [u8],
    /// The name as written, without white space before the colon.  Empty for
    /// lines that are no field: without a colon, or with a name that is none.
    pub name: &'a [u8],
    /// What follows the colon, folded as it came, without the final line end.
    pub value: &'a [u8],
    /// The offset of `raw` in the header.
    pub at: usize,
}

impl Field<'_> {
    /// True if it has this name, ASCII case folded.
    pub fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    /// The value on one line, white space at both ends removed.
    pub fn text(&self) -> Vec<u8> {
        unfold(self.value).trim_ascii().to_vec()
    }
}

/// The fields of a header, from the top.  Linear; allocates nothing.
///
/// Ends at the empty line or at the end of the bytes.  There is no count to
/// it: who collects fields has a limit of his own.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    header: &'a [u8],
    at: usize,
}

impl<'a> Fields<'a> {
    /// Begins at the first byte of a message or header.
    pub const fn new(header: &'a [u8]) -> Self {
        Fields { header, at: 0 }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let rest = self.header.get(self.at..)?;
        if rest.is_empty() || is_line_end(rest) {
            return None;
        }
        let mut end = 0_usize;
        loop {
            let after = rest.get(end..).unwrap_or_default();
            end = end.saturating_add(line_len(after));
            // A line that begins with white space continues the field, also
            // when nothing else is on it.
            if !rest.get(end).is_some_and(|b| chars::is_wsp(*b)) {
                break;
            }
        }
        let raw = rest.get(..end).unwrap_or_default();
        let at = self.at;
        self.at = at.saturating_add(end);
        Some(parse_field(raw, at))
    }
}

/// Octets of the first line with its end; all of it when it has no end.
fn line_len(bytes: &[u8]) -> usize {
    memchr::memchr(b'\n', bytes).map_or(bytes.len(), |n| n.saturating_add(1))
}

fn is_line_end(bytes: &[u8]) -> bool {
    bytes.starts_with(b"\n") || bytes.starts_with(b"\r\n")
}

/// Where the header ends that a message begins with: after its empty line;
/// `None` if that is not there yet.
///
/// `looked_at` octets had been there when none was found, so a header that is
/// read in pieces is looked at once.
pub fn header_end(bytes: &[u8], looked_at: usize) -> Option<usize> {
    let end_of = |at: usize| {
        let rest = bytes.get(at..).filter(|rest| is_line_end(rest))?;
        Some(at.saturating_add(line_len(rest)))
    };
    if let Some(end) = end_of(0) {
        return Some(end);
    }
    // The line end before an empty line may be among the last octets of those.
    let from = looked_at.saturating_sub(2);
    let fresh = bytes.get(from..).unwrap_or_default();
    memchr::memchr_iter(b'\n', fresh)
        .find_map(|at| end_of(from.saturating_add(at).saturating_add(1)))
}

/// The bytes without one line end at their end.
pub fn without_line_end(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}

fn parse_field(raw: &[u8], at: usize) -> Field<'_> {
    let whole = without_line_end(raw);
    let none = Field { raw, name: &[], value: whole, at };
    let Some(colon) = memchr::memchr(b':', whole) else { return none };
    let (name, value) = whole.split_at_checked(colon).unwrap_or((whole, &[]));
    // obs-optional: white space may stand before the colon.  RFC 5322 4.5.8.
    let name = name.trim_ascii_end();
    if name.is_empty() || !name.iter().all(|b| chars::is_ftext(*b) || *b >= 0x80) {
        return none;
    }
    Field { raw, name, value: value.get(1..).unwrap_or_default(), at }
}

/// Cuts a message at the empty line: header without it, body after it.
///
/// Without an empty line all is header.
pub fn split(message: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0_usize;
    loop {
        let rest = message.get(at..).unwrap_or_default();
        if rest.is_empty() {
            return (message, &[]);
        }
        if is_line_end(rest) {
            let body = rest.get(line_len(rest)..).unwrap_or_default();
            return (message.get(..at).unwrap_or_default(), body);
        }
        at = at.saturating_add(line_len(rest));
    }
}

/// Takes the line ends out of a folded value and leaves the white space that
/// follows them.  RFC 5322 2.2.3.
pub fn unfold(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut bytes = value.iter().copied().peekable();
    while let Some(b) = bytes.next() {
        match b {
            b'\n' => {}
            b'\r' if bytes.peek() == Some(&b'\n') => {}
            b => out.push(b),
        }
    }
    out
}
