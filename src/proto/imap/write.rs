//! Words of responses: each in the plainest form that is safe for its bytes.
//!
//! An atom where the grammar allows one, a quoted string where the bytes are
//! short plain ASCII, a literal otherwise.  NUL, which no IMAP string may hold,
//! becomes 0x80 as in Dovecot, so that lengths stay true.  RFC 3501 4.3, 9.

use super::lex;

/// A quoted string longer than this would make an unpleasant line.
const QUOTED_MAX: usize = 1000;

/// astring
pub fn astring(out: &mut Vec<u8>, bytes: &[u8]) {
    let plain = !bytes.is_empty() && bytes.iter().all(|b| lex::is_astring_char(*b));
    if plain && !bytes.eq_ignore_ascii_case(b"NIL") {
        out.extend_from_slice(bytes);
    } else {
        string(out, bytes);
    }
}

/// string = quoted / literal
pub fn string(out: &mut Vec<u8>, bytes: &[u8]) {
    let quotable = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\t';
    if bytes.len() > QUOTED_MAX || !bytes.iter().all(quotable) {
        return literal(out, bytes);
    }
    out.push(b'"');
    for &b in bytes {
        if matches!(b, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(b);
    }
    out.push(b'"');
}

/// nstring = string / nil
pub fn nstring(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        Some(bytes) => string(out, bytes),
        None => out.extend_from_slice(b"NIL"),
    }
}

/// literal, whatever the bytes.
pub fn literal(out: &mut Vec<u8>, bytes: &[u8]) {
    literal_head(out, u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    octets(out, bytes);
}

/// `{n}CRLF`; the caller writes exactly `n` octets after it, by [`octets`].
pub fn literal_head(out: &mut Vec<u8>, octets: u64) {
    out.push(b'{');
    number(out, octets);
    out.extend_from_slice(b"}\r\n");
}

/// The octets of a literal, or some of them.
pub fn octets(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.extend_from_slice(bytes);
    if memchr::memchr(0, bytes).is_some() {
        for b in out.iter_mut().skip(start).filter(|b| **b == 0) {
            *b = 0x80;
        }
    }
}

/// number
pub fn number(out: &mut Vec<u8>, n: u64) {
    out.extend_from_slice(n.to_string().as_bytes());
}

/// Text for people at the end of a response: one line of printable ASCII.
pub fn text(out: &mut Vec<u8>, text: &str) {
    let printable = |b: u8| if (0x20..0x7f).contains(&b) { b } else { b'?' };
    out.extend(text.bytes().map(printable));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::cursor::Cursor;

    fn written(f: impl Fn(&mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        f(&mut out);
        out
    }

    #[test]
    fn the_plainest_form_is_taken() {
        for (bytes, astr, str) in [
            (&b"INBOX"[..], &b"INBOX"[..], &b"\"INBOX\""[..]),
            (b"a b", b"\"a b\"", b"\"a b\""),
            (b"", b"\"\"", b"\"\""),
            (b"nil", b"\"nil\"", b"\"nil\""),
            (b"a*", b"\"a*\"", b"\"a*\""),
            (b"a]", b"a]", b"\"a]\""),
            (b"q\"\\", b"\"q\\\"\\\\\"", b"\"q\\\"\\\\\""),
            (b"\xe4", b"{1}\r\n\xe4", b"{1}\r\n\xe4"),
            (b"a\r\nb", b"{4}\r\na\r\nb", b"{4}\r\na\r\nb"),
            (b"a\0b", b"{3}\r\na\x80b", b"{3}\r\na\x80b"),
        ] {
            assert_eq!(written(|o| astring(o, bytes)), astr);
            assert_eq!(written(|o| string(o, bytes)), str);
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut seed = 3u32;
        for n in 0..3000 {
            let bytes: Vec<u8> = (0..n % 40)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    ((seed >> 24) as u8).max(1)
                })
                .collect();
            let text = written(|o| astring(o, &bytes));
            assert_eq!(lex::astring(&mut Cursor::new(&text)).as_deref(), Ok(&bytes[..]));
            let text = written(|o| nstring(o, Some(&bytes)));
            assert_eq!(lex::nstring(&mut Cursor::new(&text)).unwrap().as_deref(), Some(&bytes[..]));
        }
        assert_eq!(lex::nstring(&mut Cursor::new(&written(|o| nstring(o, None)))), Ok(None));
    }

    #[test]
    fn text_stays_on_its_line() {
        assert_eq!(written(|o| text(o, "a\r\n* BYE ä")), b"a??* BYE ??");
    }
}
