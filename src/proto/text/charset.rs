//! Character sets to UTF-8, within a cap.
//!
//! The tables are those of encoding_rs, which are what mail readers have too:
//! overlong UTF-8 and lone surrogates become U+FFFD, escapes of ISO-2022 end
//! where they must.  UTF-7 is not decoded: nobody has a reason to send it, and
//! text that one reader decodes and another does not is a place to hide
//! (`+ADw-script+AD4-`).  RFC 2046 4.1.2.

use encoding_rs::{DecoderResult, Encoding, UTF_8, WINDOWS_1252};

/// Decodes `bytes` from the character set of that name, giving at most `cap`
/// octets of UTF-8.
///
/// Without a name, with an unknown one, and for US-ASCII: UTF-8 if it is valid
/// UTF-8, else windows-1252, in which every byte is something.
pub fn decode(label: &[u8], bytes: &[u8], cap: usize) -> String {
    let encoding = match Encoding::for_label(label) {
        // for_label gives windows-1252 for us-ascii.
        Some(e) if !label.trim_ascii().eq_ignore_ascii_case(b"us-ascii") => e,
        _ if std::str::from_utf8(bytes).is_ok() => UTF_8,
        _ => WINDOWS_1252,
    };
    // One octet becomes at most three; the cap holds whatever that comes to.
    let mut out = String::with_capacity(bytes.len().min(cap).saturating_add(8));
    let mut decoder = encoding.new_decoder_without_bom_handling();
    let mut rest =
        bytes.strip_prefix(b"\xef\xbb\xbf").filter(|_| encoding == UTF_8).unwrap_or(bytes);
    while out.len() < cap {
        let (result, read) = decoder.decode_to_string_without_replacement(rest, &mut out, true);
        rest = rest.get(read..).unwrap_or_default();
        match result {
            DecoderResult::InputEmpty => break,
            DecoderResult::OutputFull => out.reserve(out.len().min(cap).max(64)),
            DecoderResult::Malformed(..) => out.push(char::REPLACEMENT_CHARACTER),
        }
    }
    truncate(&mut out, cap);
    out
}

/// True if the character set of that name is known.
pub fn is_known(label: &[u8]) -> bool {
    Encoding::for_label(label).is_some()
}

/// Cuts at the last character that ends within `cap` octets.
pub fn truncate(text: &mut String, cap: usize) {
    if text.len() > cap {
        let mut at = cap;
        while !text.is_char_boundary(at) {
            at = at.saturating_sub(1);
        }
        text.truncate(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(label: &str, bytes: &[u8]) -> String {
        decode(label.as_bytes(), bytes, 1000)
    }

    #[test]
    fn sets_that_mail_is_written_in() {
        assert_eq!(text("iso-8859-1", b"caf\xe9"), "café");
        assert_eq!(text("ISO-8859-15", b"\xa4"), "€");
        assert_eq!(text("koi8-r", b"\xcd\xc9\xd2"), "мир");
        assert_eq!(text("iso-2022-jp", b"\x1b$B$\"\x1b(B"), "あ");
        assert_eq!(text("gb2312", b"\xc4\xe3"), "你");
        assert_eq!(text(" utf-8 ", "é".as_bytes()), "é");
    }

    #[test]
    fn unknown_and_ascii_are_utf_8_or_windows_1252() {
        assert_eq!(text("x-unknown", "é".as_bytes()), "é");
        assert_eq!(text("us-ascii", b"\x93a\x94"), "“a”");
        assert_eq!(text("", b"\xe9"), "é");
    }

    #[test]
    fn overlong_utf_8_is_not_decoded() {
        assert!(!text("utf-8", b"\xc0\xaf\xe0\x80\xaf").contains('/'));
        assert!(!text("utf-8", b"\xed\xa0\x80").is_empty());
    }

    #[test]
    fn utf_7_stays_what_it_is() {
        assert_eq!(text("utf-7", b"+ADw-script+AD4-"), "+ADw-script+AD4-");
    }

    #[test]
    fn escapes_of_iso_2022_hide_nothing() {
        assert_eq!(text("iso-2022-jp", b"\x1b(Babc\x1b$"), "abc\u{fffd}$".to_string());
    }

    #[test]
    fn output_is_capped_at_a_character() {
        assert_eq!(decode(b"iso-8859-1", &[0xe9; 1000], 9), "éééé");
        assert_eq!(decode(b"utf-8", &[0xff; 1000], 10).len(), 9);
        assert_eq!(decode(b"utf-8", b"abc", 0), "");
    }
}
