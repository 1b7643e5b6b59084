//! The text of `dovecot-uidlist`: version 3 read and written, version 1 read.
//!
//! Pure.  The file decides whether a client must fetch its mail anew, so a
//! damaged one is read as far as it makes sense: a line that cannot be is
//! left out and counted, and the next UID stays above every number that was
//! seen.  Unknown header fields and record keys are kept.

use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// One line: a UID and the base name of its message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The UID, ascending in the file.
    pub uid: u32,
    /// Extension fields as they stand in the line, separated by spaces; usually empty.
    pub ext: Box<[u8]>,
    /// The base name: what stands before the first colon of the file's name.
    pub base: Box<[u8]>,
}

impl Record {
    /// The value of an extension field, such as `G` (the message's GUID) or `W` (its size).
    pub fn field(&self, key: u8) -> Option<&[u8]> {
        self.ext.split(|b| *b == b' ').find_map(|f| f.strip_prefix(&[key]))
    }
}

/// The first line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// UIDVALIDITY, never 0.
    pub uidvalidity: u32,
    /// The next UID as the file says it: only a lower bound.
    pub next_uid: u32,
    /// The mailbox's GUID, 32 hexadecimal digits.
    pub guid: Option<[u8; 32]>,
    /// Fields that this code does not know, as they stand, separated by spaces.
    pub other: Vec<u8>,
    /// False for the Courier-compatible version 1, which is rewritten at the next change.
    pub current: bool,
}

/// What a file, or its newly appended end, holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// The records, in file order; with a base that appears twice both are here.
    pub records: Vec<Record>,
    /// The highest UID of any line, a damaged one too.
    pub highest: u32,
    /// Lines that were left out.
    pub bad: usize,
    /// How many bytes were read: all but a last line without its end.
    pub used: usize,
}

/// Reads the first line, without its line end.  `None`: not a list that can be used.
pub fn parse_header(line: &[u8]) -> Option<Header> {
    let mut words = line.split(|b| *b == b' ').filter(|w| !w.is_empty());
    let version = words.next()?;
    let mut header =
        Header { uidvalidity: 0, next_uid: 1, guid: None, other: Vec::new(), current: true };
    match version {
        b"1" => {
            header.current = false;
            header.uidvalidity = number32(words.next()?)?;
            header.next_uid = number32(words.next()?)?;
        }
        b"3" => {
            for word in words {
                let (key, value) = word.split_first()?;
                match key {
                    b'V' => header.uidvalidity = number32(value)?,
                    b'N' => header.next_uid = number32(value)?,
                    b'G' if value.len() == 32 && value.iter().all(u8::is_ascii_hexdigit) => {
                        header.guid = value.try_into().ok();
                    }
                    _ => {
                        if !header.other.is_empty() {
                            header.other.push(b' ');
                        }
                        header.other.extend_from_slice(word);
                    }
                }
            }
        }
        _ => return None,
    }
    (header.uidvalidity != 0 && header.next_uid != 0).then_some(header)
}

/// Reads record lines; `after` is the last UID that came before them.
pub fn parse_records(text: &[u8], current: bool, after: u32) -> Lines {
    let mut lines = Lines { highest: after, ..Lines::default() };
    let mut last = after;
    let mut c = Cursor::new(text);
    while let Some(line) = c.take_until(b'\n') {
        c.eat(b'\n');
        let record = parse_record(line, current);
        if let Some(uid) = leading_uid(line) {
            lines.highest = lines.highest.max(uid);
        }
        match record {
            Some(record) if record.uid > last => {
                last = record.uid;
                lines.records.push(record);
            }
            _ => lines.bad = lines.bad.saturating_add(1),
        }
    }
    lines.used = c.pos();
    lines
}

/// `<uid>[ <K><value>]* :<base>`, or `<uid> <filename>` in version 1.
fn parse_record(line: &[u8], current: bool) -> Option<Record> {
    let mut c = Cursor::new(line);
    let uid = c.number().and_then(|n| u32::try_from(n).ok()).filter(|n| is_uid(*n))?;
    if !c.eat(b' ') {
        return None;
    }
    let mut ext = &b""[..];
    if current {
        let start = c.pos();
        while c.peek().is_some_and(|b| b.is_ascii_uppercase()) {
            c.take_until(b' ')?;
            ext = c.since(start);
            c.eat(b' ');
        }
        if !c.eat(b':') {
            return None;
        }
    }
    let name = c.rest();
    let base = super::super::maildir::file::split(name).0;
    let sane = !base.is_empty()
        && base.len() <= limits::MAILDIR_FILE_NAME.size()
        && ext.len() <= limits::UIDLIST_LINE.size()
        && !base.iter().any(|b| matches!(b, b'/' | b'\r' | 0));
    sane.then(|| Record { uid, ext: ext.into(), base: base.into() })
}

/// The UID with which a line begins, if it is one.
fn leading_uid(line: &[u8]) -> Option<u32> {
    Cursor::new(line).number().and_then(|n| u32::try_from(n).ok()).filter(|n| is_uid(*n))
}

/// A UID is never 0, and the highest number is left free so that the next one exists.
fn is_uid(n: u32) -> bool {
    n != 0 && n < u32::MAX
}

/// A whole word that is a decimal number of 32 bits.
fn number32(word: &[u8]) -> Option<u32> {
    let mut c = Cursor::new(word);
    let n = c.number()?;
    if c.at_end() {
        u32::try_from(n).ok()
    } else {
        None
    }
}

/// Writes the first line, always of version 3.
pub fn write_header(header: &Header, out: &mut Vec<u8>) {
    out.extend_from_slice(format!("3 V{} N{}", header.uidvalidity, header.next_uid).as_bytes());
    if let Some(guid) = &header.guid {
        out.extend_from_slice(b" G");
        out.extend_from_slice(guid);
    }
    if !header.other.is_empty() {
        out.push(b' ');
        out.extend_from_slice(&header.other);
    }
    out.push(b'\n');
}

/// Writes one record line.
pub fn write_record(uid: u32, ext: &[u8], base: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(uid.to_string().as_bytes());
    out.push(b' ');
    if !ext.is_empty() {
        out.extend_from_slice(ext);
        out.push(b' ');
    }
    out.push(b':');
    out.extend_from_slice(base);
    out.push(b'\n');
}

/// Fuzz target: a whole file.  What is read and written again reads the same.
pub fn fuzz_list(bytes: &[u8]) {
    let cut = memchr::memchr(b'\n', bytes).unwrap_or(bytes.len());
    let (first, rest) = bytes.split_at_checked(cut).unwrap_or_default();
    let Some(header) = parse_header(first) else { return };
    let lines = parse_records(rest.get(1..).unwrap_or_default(), header.current, 0);
    let mut out = Vec::new();
    write_header(&header, &mut out);
    let head = out.len();
    for r in &lines.records {
        write_record(r.uid, &r.ext, &r.base, &mut out);
    }
    let again = parse_records(out.get(head..).unwrap_or_default(), true, 0);
    assert_eq!(again.records, lines.records);
    assert_eq!(again.bad, 0);
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUID: &[u8; 32] = b"0123456789abcdef0123456789abcdef";

    #[test]
    fn version_3_is_written_as_it_was_read() {
        let head = b"3 V1795571575 N4 G0123456789abcdef0123456789abcdef Pxyz Zq";
        let header = parse_header(head).unwrap();
        assert_eq!((header.uidvalidity, header.next_uid), (1_795_571_575, 4));
        assert_eq!(header.guid.as_ref(), Some(GUID));
        let body = b"1 :1.M1P1.h,S=1,W=2\n2 W77 Gabc :two words\n9 :3.x\n";
        let lines = parse_records(body, true, 0);
        assert_eq!((lines.records.len(), lines.bad, lines.highest), (3, 0, 9));
        assert_eq!(lines.records[1].field(b'G'), Some(&b"abc"[..]));
        assert_eq!(lines.records[1].field(b'W'), Some(&b"77"[..]));
        assert_eq!(&lines.records[1].base[..], b"two words");
        let mut out = Vec::new();
        write_header(&header, &mut out);
        for r in &lines.records {
            write_record(r.uid, &r.ext, &r.base, &mut out);
        }
        assert_eq!(out, [&head[..], b"\n", &body[..]].concat());
    }

    #[test]
    fn version_1_is_read() {
        let header = parse_header(b"1 1234 7").unwrap();
        assert_eq!((header.uidvalidity, header.next_uid, header.current), (1234, 7, false));
        let lines = parse_records(b"3 1.x:2,S\n6 W.y\n", false, 0);
        assert_eq!(lines.records.len(), 2);
        assert_eq!(&lines.records[0].base[..], b"1.x");
        assert_eq!(&lines.records[1].base[..], b"W.y");
    }

    #[test]
    fn headers_that_cannot_be_used() {
        for head in [
            &b""[..],
            b"2 V1 N1",
            b"3 V0 N1",
            b"3 V1 N0",
            b"3 N1",
            b"3 V99999999999 N1",
            b"3 V1x N1",
            b"1 5",
            b"x",
        ] {
            assert_eq!(parse_header(head), None, "{}", String::from_utf8_lossy(head));
        }
    }

    #[test]
    fn damaged_lines_are_left_out_and_their_numbers_stay_used() {
        let text =
            b"1 :a\n1 :b\n0 :c\n5 :d\n4 :e\n700 nocolon\n4294967295 :f\n8 :x/y\n9 :ok\n10 :no end";
        let lines = parse_records(text, true, 0);
        let uids: Vec<u32> = lines.records.iter().map(|r| r.uid).collect();
        assert_eq!(uids, [1, 5, 9]);
        assert_eq!((lines.bad, lines.highest), (6, 700));
        assert_eq!(lines.used, text.len() - b"10 :no end".len());
    }

    #[test]
    fn an_appended_end_continues_the_order() {
        let lines = parse_records(b"4 :a\n7 :b\n", true, 5);
        assert_eq!(lines.records.len(), 1);
        assert_eq!(lines.records[0].uid, 7);
    }
}
