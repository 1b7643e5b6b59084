//! Modified UTF-7, the spelling of mailbox names in IMAP4rev1 and on disk.
//!
//! Printable ASCII stands for itself, `&` is `&-`, and every other run is `&`,
//! the base 64 of its UTF-16 with `,` for `/` and no padding, and `-`.
//! The strict reader accepts exactly what [`encode`] writes, so one name has
//! one spelling and no second one can slip past a comparison.  RFC 3501 5.1.3.

use super::base64;

/// Spells a name; the result is printable ASCII.
pub fn encode(name: &str) -> Vec<u8> {
    let mut out = Vec::with_capacity(name.len());
    let mut run = String::new();
    for c in name.chars() {
        if matches!(c, ' '..='~') {
            flush(&mut run, &mut out);
            match c {
                '&' => out.extend_from_slice(b"&-"),
                _ => out.extend(u8::try_from(c)),
            }
        } else {
            run.push(c);
        }
    }
    flush(&mut run, &mut out);
    out
}

/// Writes a run of characters that cannot stand for themselves.
fn flush(run: &mut String, out: &mut Vec<u8>) {
    if run.is_empty() {
        return;
    }
    let utf16: Vec<u8> = run.encode_utf16().flat_map(u16::to_be_bytes).collect();
    out.push(b'&');
    let text = base64::encode(&utf16);
    out.extend(text.iter().filter(|b| **b != b'=').map(|b| if *b == b'/' { b',' } else { *b }));
    out.push(b'-');
    run.clear();
}

/// Reads a name strictly: `None` unless [`encode`] would spell it the same.
///
/// A mailbox is created only under such a name.
pub fn decode(text: &[u8]) -> Option<String> {
    let name = decode_with(text, false)?;
    (encode(&name) == text).then_some(name)
}

/// Reads a name for display and comparison; what is not modified UTF-7 stays as it is.
///
/// Bytes of 0x80 and above are taken as UTF-8 where they are UTF-8.
pub fn decode_lenient(text: &[u8]) -> String {
    decode_with(text, true).unwrap_or_else(|| String::from_utf8_lossy(text).into_owned())
}

/// True when the name is spelled as RFC 3501 5.1.3 demands.
pub fn is_valid(text: &[u8]) -> bool {
    decode(text).is_some()
}

fn decode_with(text: &[u8], eight_bit: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&b, after)) = rest.split_first() {
        rest = after;
        match b {
            b'&' => {
                let end = memchr::memchr(b'-', rest)?;
                let (shifted, after) = rest.split_at_checked(end)?;
                rest = after.split_first()?.1;
                if shifted.is_empty() {
                    out.push(b'&');
                } else {
                    out.extend_from_slice(unshift(shifted)?.as_bytes());
                }
            }
            b' '..=b'~' => out.push(b),
            0x80.. if eight_bit => out.push(b),
            _ => return None,
        }
    }
    String::from_utf8(out).ok()
}

/// Decodes one shifted run: base 64 of whole UTF-16 units, left-over bits zero.
fn unshift(shifted: &[u8]) -> Option<String> {
    let mut units = Vec::with_capacity(shifted.len());
    let (mut bits, mut have): (u32, u32) = (0, 0);
    for &b in shifted {
        let six = match b {
            b',' => 63,
            b'/' => return None,
            _ => base64::value(b)?,
        };
        bits = bits << 6 | u32::from(six);
        have = have.saturating_add(6);
        if have >= 16 {
            have = have.saturating_sub(16);
            units.push(u16::try_from(bits.checked_shr(have)? & 0xffff).ok()?);
            bits &= 1u32.checked_shl(have)?.wrapping_sub(1);
        }
    }
    if have >= 6 || bits != 0 {
        return None;
    }
    String::from_utf16(&units).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_examples_of_the_rfc_and_of_dovecot() {
        for (name, text) in [
            ("INBOX", "INBOX"),
            ("Arbeit.äöü", "Arbeit.&AOQA9gD8-"),
            ("~peter/mail/台北/日本語", "~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
            ("Q&A", "Q&-A"),
            ("\u{1f600}", "&2D3eAA-"),
            ("", ""),
            ("tab\t", "tab&AAk-"),
        ] {
            assert_eq!(encode(name), text.as_bytes());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(name), "{text}");
        }
    }

    #[test]
    fn strict_refuses_a_second_spelling() {
        for bad in [
            "&",
            "a&b",
            "&Jjo",           // no end
            "&Jjo!",          // no end
            "&AGE-",          // a printable letter
            "&U,BTFw-&ZeVn-", // two runs in a row
            "&AOR-",          // left-over bits
            "&2D0-",          // half a surrogate pair
            "&3gA-",
            "&A-",
            "&AAAA/w-",
            "\u{e4}",
            "a\tb",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn lenient_keeps_what_it_cannot_read() {
        assert_eq!(decode_lenient(b"a&b"), "a&b");
        assert_eq!(decode_lenient("grün".as_bytes()), "grün");
        assert_eq!(decode_lenient(b"&AGE-"), "a");
        assert_eq!(decode_lenient(b"\xff"), "\u{fffd}");
    }

    #[test]
    fn every_scalar_value_comes_back() {
        for c in (0..=0x10ffffu32).step_by(7).filter_map(char::from_u32) {
            let name = format!("x{c}&{c}{c}y");
            assert_eq!(decode(&encode(&name)).as_deref(), Some(name.as_str()));
        }
    }

    #[test]
    fn any_bytes_give_an_answer_and_strict_is_encode_s_inverse() {
        let mut seed = 7u32;
        for _ in 0..50_000 {
            let bytes: Vec<u8> = (0..8)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"&-AOQ,Jjo+ab\xc3\xa4 9"[(seed >> 24) as usize % 16]
                })
                .collect();
            let _ = decode_lenient(&bytes);
            if let Some(name) = decode(&bytes) {
                assert_eq!(encode(&name), bytes);
            }
        }
    }
}
