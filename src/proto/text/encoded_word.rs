//! Encoded-words: text beyond ASCII in header fields.  RFC 2047.
//!
//!     encoded-word = "=?" charset "?" encoding "?" encoded-text "?="
//!
//! Decoding is for people and for tests on text; nothing is decided by it that
//! an address or a signature depends on.  A word that is not well formed stays
//! as it is.  Words of one character set that follow each other are decoded as
//! one, since senders cut them within characters.

use super::{base64, charset, transfer};
use crate::proto::cursor::Cursor;
use crate::proto::mime::param::hex;
use crate::proto::mime::Encoding;

/// Decodes an unstructured value, giving at most `cap` octets.
///
/// Line ends of folding are left out.  Bytes beyond ASCII outside of words are
/// read as UTF-8, or as windows-1252 if they are not.
pub fn decode(value: &[u8], cap: usize) -> String {
    let mut out = String::new();
    let mut c = Cursor::new(value);
    // The run of words being gathered: its character set and octets.
    let mut run: Option<(Vec<u8>, Vec<u8>)> = None;
    let mut blanks: &[u8] = &[];
    while !c.at_end() && out.len() < cap {
        if let Some((label, octets)) = parse_word(&mut c) {
            // White space between two words is not shown.  RFC 2047 6.2.
            match &mut run {
                Some((same, gathered)) if same.eq_ignore_ascii_case(label) => {
                    gathered.extend_from_slice(&octets);
                }
                _ => {
                    if run.is_none() {
                        push_plain(blanks, &mut out, cap);
                    }
                    flush(&mut run, &mut out, cap);
                    run = Some((label.to_vec(), octets));
                }
            }
            blanks = c.take_while(|b| b.is_ascii_whitespace());
            continue;
        }
        flush(&mut run, &mut out, cap);
        push_plain(blanks, &mut out, cap);
        // Up to the next thing that can be a word: at least one byte.
        let start = c.pos();
        c.next_byte();
        let next = memchr::memmem::find(c.rest(), b"=?").unwrap_or(c.left());
        c.take(next);
        let plain = c.since(start);
        let kept = plain.trim_ascii_end();
        push_plain(kept, &mut out, cap);
        blanks = plain.get(kept.len()..).unwrap_or_default();
    }
    flush(&mut run, &mut out, cap);
    push_plain(blanks, &mut out, cap);
    charset::truncate(&mut out, cap);
    out
}

fn flush(run: &mut Option<(Vec<u8>, Vec<u8>)>, out: &mut String, cap: usize) {
    if let Some((label, octets)) = run.take() {
        out.push_str(&charset::decode(&label, &octets, cap.saturating_sub(out.len())));
    }
}

fn push_plain(bytes: &[u8], out: &mut String, cap: usize) {
    let bytes: Vec<u8> = bytes.iter().copied().filter(|b| !matches!(b, b'\r' | b'\n')).collect();
    out.push_str(&charset::decode(b"", &bytes, cap.saturating_sub(out.len())));
}

/// One word at the cursor: its character set, and its octets decoded.  Nothing
/// is consumed if there is none.
///
/// No part of a word holds a `?`, so a try that fails has read no further than
/// to where the next one can begin: all tries together are linear.
fn parse_word<'a>(c: &mut Cursor<'a>) -> Option<(&'a [u8], Vec<u8>)> {
    let start = c.pos();
    let word = word(c);
    if word.is_none() {
        c.seek(start);
    }
    word
}

fn word<'a>(c: &mut Cursor<'a>) -> Option<(&'a [u8], Vec<u8>)> {
    let graphic = |b: u8| b > 0x20 && b != b'?' && b != 0x7f;
    if !c.eat_exact(b"=?") {
        return None;
    }
    let label = c.take_while1(|b| graphic(b) && b.is_ascii())?;
    // RFC 2231 5: a language may follow the character set.
    let label = label.split(|b| *b == b'*').next()?;
    let kind = c.eat(b'?').then(|| c.next_byte())??;
    let text = c.eat(b'?').then(|| c.take_while(graphic))?;
    if !c.eat_exact(b"?=") {
        return None;
    }
    let octets = match kind {
        b'B' | b'b' => transfer::decode(Encoding::Base64, text, text.len()),
        b'Q' | b'q' => decode_q(text),
        _ => return None,
    };
    Some((label, octets))
}

/// The "Q" encoding.  RFC 2047 4.2.
fn decode_q(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut c = Cursor::new(text);
    while let Some(b) = c.next_byte() {
        match (b, c.peek().and_then(hex), c.peek_at(1).and_then(hex)) {
            (b'_', ..) => out.push(b' '),
            (b'=', Some(high), Some(low)) => {
                c.take(2);
                out.push(high << 4 | low);
            }
            _ => out.push(b),
        }
    }
    out
}

/// A word may have this many octets.  RFC 2047 2.
const WORD_OCTETS: usize = 75;
const PREFIX: &[u8] = b"=?utf-8?B?";
const SUFFIX: &[u8] = b"?=";

/// Writes text as the value of an unstructured field.
///
/// Printable ASCII is written as it is, folded before `column` 78 where there
/// is white space.  All else becomes encoded-words of UTF-8, one to a line; no
/// character is cut.  Control characters, line ends among them, become spaces:
/// what comes from a script or a message cannot begin a field of its own.
/// `column` is where the value begins, behind the field's name and colon.
pub fn encode(text: &str, column: usize) -> Vec<u8> {
    let text: String = text.chars().map(|ch| if ch.is_control() { ' ' } else { ch }).collect();
    if text.is_ascii() && !text.contains("=?") {
        return fold(text.as_bytes(), column);
    }
    let mut out = Vec::new();
    let mut room = WORD_OCTETS.min(LINE.saturating_sub(column));
    let mut chunk: Vec<u8> = Vec::new();
    for ch in text.chars() {
        let mut utf8 = [0; 4];
        let bytes = ch.encode_utf8(&mut utf8).as_bytes();
        if !chunk.is_empty() && word_octets(chunk.len().saturating_add(bytes.len())) > room {
            push_word(&mut chunk, &mut out);
            room = WORD_OCTETS;
        }
        chunk.extend_from_slice(bytes);
    }
    push_word(&mut chunk, &mut out);
    out
}

const LINE: usize = 78;

fn word_octets(octets: usize) -> usize {
    let letters = octets.div_ceil(3).saturating_mul(4);
    letters.saturating_add(PREFIX.len()).saturating_add(SUFFIX.len())
}

fn push_word(chunk: &mut Vec<u8>, out: &mut Vec<u8>) {
    if !out.is_empty() {
        out.extend_from_slice(b"\r\n ");
    }
    out.extend_from_slice(PREFIX);
    out.extend_from_slice(&base64::encode(chunk));
    out.extend_from_slice(SUFFIX);
    chunk.clear();
}

/// Folds ASCII at its spaces; never into a line of nothing but white space.
fn fold(text: &[u8], column: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len().saturating_add(8));
    let mut at = column;
    let mut begun = false;
    for word in text.split_inclusive(|b| *b == b' ') {
        let graphic = word.trim_ascii_end().len();
        if begun && graphic > 0 && at.saturating_add(graphic) > LINE && out.ends_with(b" ") {
            // The space goes to the next line.
            out.pop();
            if !out.trim_ascii_end().is_empty() && !out.ends_with(b" ") {
                out.extend_from_slice(b"\r\n ");
                at = 1;
            } else {
                out.push(b' ');
            }
        }
        begun |= graphic > 0;
        out.extend_from_slice(word);
        at = at.saturating_add(word.len());
    }
    out
}

/// Fuzz target: decoding is bounded, and what is encoded is decoded.
pub fn fuzz_words(bytes: &[u8]) {
    assert!(decode(bytes, 100).len() <= 100);
    if let Ok(text) = std::str::from_utf8(bytes) {
        let encoded = encode(text, 9);
        assert!(encoded.split(|b| *b == b'\n').all(|line| !line.is_empty()) || encoded.is_empty());
        if !text.is_ascii() && !text.contains(|c: char| c.is_control() || c == '\u{feff}') {
            assert_eq!(decode(&encoded, bytes.len()), text);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> String {
        decode(value.as_bytes(), 10_000)
    }

    #[test]
    fn the_examples_of_rfc_2047_8() {
        assert_eq!(text("(=?ISO-8859-1?Q?a?=)"), "(a)");
        assert_eq!(text("=?ISO-8859-1?Q?a?= b"), "a b");
        assert_eq!(text("=?ISO-8859-1?Q?a?= =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(text("=?ISO-8859-1?Q?a?=\r\n   =?ISO-8859-1?Q?b?="), "ab");
        assert_eq!(text("=?ISO-8859-1?Q?a_b?="), "a b");
        assert_eq!(text("=?ISO-8859-1?Q?a?= =?ISO-8859-2?Q?_b?="), "a b");
        assert_eq!(text("=?US-ASCII*EN?Q?Keith_Moore?="), "Keith Moore");
    }

    #[test]
    fn a_character_may_be_cut_between_words() {
        assert_eq!(text("=?utf-8?Q?caf=C3?= =?utf-8?Q?=A9?="), "café");
    }

    #[test]
    fn what_is_no_word_stays() {
        for t in ["=?utf-8?Q?a", "=?utf-8?X?a?=", "=?utf-8?Q?a b?=", "=?", "a =?= b", "=??Q?a?="] {
            assert_eq!(text(t), t);
        }
        assert_eq!(text("a =?utf-8?Q?b?= c"), "a b c");
        assert_eq!(text("a  b"), "a  b");
        assert_eq!(text("caf\u{e9}"), "caf\u{e9}");
    }

    #[test]
    fn what_is_encoded_is_decoded_and_fits_its_lines() {
        for t in ["plain text", "é", &"日本語 ".repeat(60), "=?utf-8?Q?fake?=", "mixed é and a"]
        {
            let encoded = encode(t, 9);
            assert!(encoded.is_ascii());
            assert_eq!(decode(&encoded, 10_000), t.trim_end_matches('\0'));
            for line in encoded.split(|b| *b == b'\n') {
                assert!(line.len() <= 78, "{}", line.len());
            }
        }
    }

    #[test]
    fn long_ascii_is_folded_at_spaces_and_comes_back() {
        let t = "word ".repeat(50);
        let encoded = encode(&t, 9);
        assert!(encoded.split(|b| *b == b'\n').all(|l| l.len() <= 79));
        assert_eq!(decode(&encoded, 10_000), t);
    }

    #[test]
    fn line_ends_cannot_be_smuggled_into_a_field() {
        assert_eq!(encode("a\r\nBcc: b", 9), b"a  Bcc: b");
        assert!(!encode("é\r\nBcc: b", 9).windows(4).any(|w| w == b"\nBcc"));
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in ["=?", "=?a?Q?", "=?a?Q?b", "=?a?Q?b?= ", "=?a?b?c?=", " =", "=?utf-8?B?//8=?="]
        {
            crate::proto::testing::assert_linear(|n| {
                let input = unit.repeat(n / unit.len());
                std::hint::black_box(decode(input.as_bytes(), usize::MAX / 4));
            });
        }
    }
}
