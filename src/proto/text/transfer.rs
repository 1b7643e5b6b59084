//! Content transfer encodings: base 64 and quoted-printable of MIME bodies.
//!
//! Decoders take a body in chunks and never give more than the caller's cap, so
//! that a search or a Sieve test costs what it was allowed to.  They read what
//! mail readers read: bytes outside the base 64 alphabet are skipped, data may
//! go on after padding, a broken `=XY` stands for itself.  The strict base 64
//! of protocols is [`super::base64`].  RFC 2045 6.7, 6.8.

use super::base64;
use crate::proto::mime::param::hex;
use crate::proto::mime::Encoding;

/// A run of white space that may turn out to end a line; what is longer is content.
const BLANKS: usize = 1024;

/// Decodes the body of a part chunk by chunk.
#[derive(Debug)]
pub struct Decoder {
    state: State,
    /// Octets that may still be given out.
    room: usize,
}

#[derive(Debug)]
enum State {
    Identity,
    /// Bits gathered so far, and how many letters they came from (0 to 3).
    Base64 {
        bits: u32,
        letters: u8,
    },
    Quoted(Quoted),
}

#[derive(Debug, Default)]
struct Quoted {
    /// White space that is dropped if a line end follows.
    blanks: Vec<u8>,
    /// What came since an `=`: nothing, a digit, white space, CR.
    escape: Option<Vec<u8>>,
}

impl Decoder {
    /// Decodes `encoding`, giving out at most `cap` octets in all.  An unknown
    /// encoding is left as it is.
    pub fn new(encoding: Encoding, cap: usize) -> Decoder {
        let state = match encoding {
            Encoding::Base64 => State::Base64 { bits: 0, letters: 0 },
            Encoding::QuotedPrintable => State::Quoted(Quoted::default()),
            _ => State::Identity,
        };
        Decoder { state, room: cap }
    }

    /// Decodes the next bytes and appends them to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        if self.room == 0 {
            return;
        }
        let before = out.len();
        match &mut self.state {
            State::Identity => out.extend_from_slice(bytes.get(..self.room).unwrap_or(bytes)),
            State::Base64 { bits, letters } => {
                for b in bytes {
                    if out.len().saturating_sub(before) >= self.room {
                        break;
                    }
                    feed_base64(*b, bits, letters, out);
                }
            }
            State::Quoted(quoted) => {
                for b in bytes {
                    if out.len().saturating_sub(before) >= self.room {
                        break;
                    }
                    quoted.feed(*b, out);
                }
            }
        }
        self.account(before, out);
    }

    /// The end of the body: gives out what was held back.
    pub fn finish(mut self, out: &mut Vec<u8>) {
        let before = out.len();
        if let State::Quoted(quoted) = &mut self.state {
            // White space at the very end is dropped like that before a line end.
            if let Some(escape) = quoted.escape.take().filter(|e| !e.is_empty()) {
                out.push(b'=');
                out.extend_from_slice(&escape);
            }
        }
        self.account(before, out);
    }

    /// True when the cap was reached: more input changes nothing.
    pub fn is_full(&self) -> bool {
        self.room == 0
    }

    fn account(&mut self, before: usize, out: &mut Vec<u8>) {
        out.truncate(before.saturating_add(self.room));
        self.room = self.room.saturating_sub(out.len().saturating_sub(before));
    }
}

fn feed_base64(b: u8, bits: &mut u32, letters: &mut u8, out: &mut Vec<u8>) {
    if b == b'=' {
        // Padding ends a group; its left-over bits are nothing.
        (*bits, *letters) = (0, 0);
        return;
    }
    let Some(six) = base64::value(b) else { return };
    *bits = *bits << 6 | u32::from(six);
    *letters = letters.saturating_add(1);
    // Each letter but the first completes an octet.
    let octet = match *letters {
        2 => *bits >> 4,
        3 => *bits >> 2,
        4 => *bits,
        _ => return,
    };
    out.push(octet.to_le_bytes()[0]);
    if *letters == 4 {
        (*bits, *letters) = (0, 0);
    }
}

impl Quoted {
    fn feed(&mut self, b: u8, out: &mut Vec<u8>) {
        let Some(escape) = &mut self.escape else {
            self.plain(b, out);
            return;
        };
        match (escape.as_slice(), b) {
            // Soft line break, with white space before the line end or without.
            (_, b'\n') if escape.iter().all(u8::is_ascii_whitespace) => self.escape = None,
            ([], b' ' | b'\t' | b'\r') => escape.push(b),
            ([], _) if hex(b).is_some() => escape.push(b),
            ([blank, ..], b' ' | b'\t' | b'\r')
                if blank.is_ascii_whitespace() && escape.len() < BLANKS =>
            {
                escape.push(b);
            }
            ([digit], _) => match (hex(*digit), hex(b)) {
                (Some(high), Some(low)) => {
                    out.push(high << 4 | low);
                    self.escape = None;
                }
                _ => self.literal(b, out),
            },
            _ => self.literal(b, out),
        }
    }

    /// The `=` was none of quoted-printable's: it and what followed stand for
    /// themselves.  RFC 2045 6.7, note to rule 1.
    fn literal(&mut self, b: u8, out: &mut Vec<u8>) {
        out.push(b'=');
        out.extend(self.escape.take().unwrap_or_default());
        self.plain(b, out);
    }

    fn plain(&mut self, b: u8, out: &mut Vec<u8>) {
        match b {
            b' ' | b'\t' | b'\r' if self.blanks.len() < BLANKS => self.blanks.push(b),
            b'\n' => {
                // Rule 3: white space before a line end is not content.
                let cr = self.blanks.last() == Some(&b'\r');
                self.blanks.clear();
                out.extend_from_slice(if cr { b"\r\n" } else { b"\n" });
            }
            b => {
                out.append(&mut self.blanks);
                if b == b'=' {
                    self.escape = Some(Vec::new());
                } else {
                    out.push(b);
                }
            }
        }
    }
}

/// Decodes a body that is in memory, at most `cap` octets of it.
pub fn decode(encoding: Encoding, body: &[u8], cap: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let mut decoder = Decoder::new(encoding, cap);
    decoder.feed(body, &mut out);
    decoder.finish(&mut out);
    out
}

/// Base 64 in lines of 76 letters with CRLF after each.
pub fn encode_base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_mul(2));
    for line in bytes.chunks(57) {
        out.extend_from_slice(&base64::encode(line));
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Octets of an encoded line, the `=` of a soft break included.
const QUOTED_LINE: usize = 76;

/// Quoted-printable of text whose lines end with LF or CRLF; lines end with CRLF.
///
/// A leading dot and `From ` are encoded, so that no transport touches them.
pub fn encode_quoted(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(text.len() / 8));
    let ends_open = !text.ends_with(b"\n");
    let text = text.strip_suffix(b"\n").unwrap_or(text);
    for (i, line) in text.split(|b| *b == b'\n').enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\r\n");
        }
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut column = 0_usize;
        for (at, b) in line.iter().enumerate() {
            let last = at.saturating_add(1) == line.len();
            let risky = at == 0 && (*b == b'.' || line.starts_with(b"From "));
            let plain = match b {
                b'=' => false,
                b' ' | b'\t' => !last,
                _ => (0x21..=0x7e).contains(b) && !risky,
            };
            let width = if plain { 1 } else { 3 };
            let room = if last { QUOTED_LINE } else { QUOTED_LINE.saturating_sub(1) };
            if column.saturating_add(width) > room {
                out.extend_from_slice(b"=\r\n");
                column = 0;
            }
            if plain {
                out.push(*b);
            } else {
                out.extend_from_slice(format!("={b:02X}").as_bytes());
            }
            column = column.saturating_add(width);
        }
    }
    if !ends_open {
        out.extend_from_slice(b"\r\n");
    }
    out
}

/// Fuzz target: each decoder, whole and in pieces, gives the same within its cap.
pub fn fuzz_decode(bytes: &[u8]) {
    for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::Binary] {
        let whole = decode(encoding, bytes, 1000);
        assert!(whole.len() <= 1000);
        let mut out = Vec::new();
        let mut decoder = Decoder::new(encoding, 1000);
        for piece in bytes.chunks(3) {
            decoder.feed(piece, &mut out);
        }
        decoder.finish(&mut out);
        assert_eq!(out, whole);
    }
    let quoted = encode_quoted(bytes);
    assert!(quoted.split(|b| *b == b'\n').all(|line| line.len() <= QUOTED_LINE.saturating_add(1)));
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(text: &str) -> String {
        String::from_utf8(decode(Encoding::QuotedPrintable, text.as_bytes(), 1 << 20)).unwrap()
    }

    fn base64(text: &str) -> String {
        String::from_utf8(decode(Encoding::Base64, text.as_bytes(), 1 << 20)).unwrap()
    }

    #[test]
    fn quoted_printable_is_decoded() {
        assert_eq!(quoted("a=3Db=\r\nc \t \r\nd"), "a=bc\r\nd");
        assert_eq!(quoted("a=  \r\nb"), "ab", "padding after a soft break");
        assert_eq!(quoted("=3d=C3=A9"), "=é");
        assert_eq!(quoted("a  b\n"), "a  b\n");
    }

    #[test]
    fn broken_quoted_printable_stands_for_itself() {
        assert_eq!(quoted("a=zz=4"), "a=zz=4");
        assert_eq!(quoted("==41"), "=A");
        assert_eq!(quoted("100%= sure"), "100%= sure");
        assert_eq!(quoted("a="), "a");
    }

    #[test]
    fn base64_is_decoded_over_stray_bytes_and_after_padding() {
        assert_eq!(base64("SGVs\r\nbG8="), "Hello");
        assert_eq!(base64("SGVs!bG8=SGVsbG8="), "HelloHello");
        assert_eq!(base64("SGVsbG8"), "Hello", "padding is missing");
        assert_eq!(base64("===="), "");
    }

    #[test]
    fn decoders_stop_at_the_cap() {
        for encoding in [Encoding::Base64, Encoding::QuotedPrintable, Encoding::EightBit] {
            let mut decoder = Decoder::new(encoding, 10);
            let mut out = Vec::new();
            decoder.feed(&[b'A'; 1000], &mut out);
            assert!(decoder.is_full());
            assert_eq!(out.len(), 10);
        }
    }

    #[test]
    fn what_is_encoded_is_decoded() {
        let text: Vec<u8> = (0..=255u8).cycle().take(2000).filter(|b| *b != b'\r').collect();
        let encoded = encode_base64(&text);
        assert!(encoded.split(|b| *b == b'\n').all(|l| l.len() <= 77));
        assert_eq!(decode(Encoding::Base64, &encoded, 1 << 20), text);
        let lines = b"From here\n.dot\n\xc3\xa9 = e'  \n".repeat(30);
        let encoded = encode_quoted(&lines);
        assert!(encoded.split(|b| *b == b'\n').all(|l| l.len() <= 77));
        let back = decode(Encoding::QuotedPrintable, &encoded, 1 << 20);
        assert_eq!(back, String::from_utf8(lines).unwrap().replace('\n', "\r\n").as_bytes());
    }

    #[test]
    fn pieces_give_the_same_as_the_whole() {
        for text in [&b"a=3Db=\r\nc \t \r\nd= \r\n=4"[..], b"SGVs\r\nbG8=SGVs", b"\xff=\0=A"] {
            fuzz_decode(text);
        }
    }
}
