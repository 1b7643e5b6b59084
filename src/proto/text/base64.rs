//! Base 64 as protocols use it: one line, padded, nothing else allowed.
//!
//! SASL exchanges, keys and tokens are read here.  The body of a MIME part,
//! with its line ends and stray bytes, is the business of the transfer
//! decoding, which shares [`value`] and [`letter`].  RFC 4648 4.

/// The letter of a six-bit value; the two upper bits are ignored.
pub const fn letter(six: u8) -> u8 {
    let six = six & 0x3f;
    match six {
        0..=25 => b'A'.wrapping_add(six),
        26..=51 => b'a'.wrapping_add(six.wrapping_sub(26)),
        52..=61 => b'0'.wrapping_add(six.wrapping_sub(52)),
        62 => b'+',
        _ => b'/',
    }
}

/// The six-bit value of a letter; `None` for a byte outside the alphabet.
pub const fn value(letter: u8) -> Option<u8> {
    match letter {
        b'A'..=b'Z' => Some(letter.wrapping_sub(b'A')),
        b'a'..=b'z' => Some(letter.wrapping_sub(b'a').wrapping_add(26)),
        b'0'..=b'9' => Some(letter.wrapping_sub(b'0').wrapping_add(52)),
        b'+' => Some(62),
        b'/' => Some(63),
        _ => None,
    }
}

/// Encodes, with padding and without line ends.
pub fn encode(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3).saturating_mul(4));
    for chunk in bytes.chunks(3) {
        let at = |i: usize| chunk.get(i).copied().unwrap_or(0);
        let (a, b, c) = (at(0), at(1), at(2));
        out.push(letter(a >> 2));
        out.push(letter((a & 0x03) << 4 | b >> 4));
        out.push(if chunk.len() > 1 { letter((b & 0x0f) << 2 | c >> 6) } else { b'=' });
        out.push(if chunk.len() > 2 { letter(c) } else { b'=' });
    }
    out
}

/// Decodes strictly: whole groups of four, padding at the end only, unused bits zero.
///
/// `None` is a syntax error.  Two texts never decode to the same bytes, so a
/// token cannot be written in a second way.  RFC 4648 3.3, 3.5.
pub fn decode(text: &[u8]) -> Option<Vec<u8>> {
    if text.len() % 4 != 0 {
        return None;
    }
    let mut out = Vec::with_capacity(text.len());
    let mut groups = text.chunks(4).peekable();
    while let Some(group) = groups.next() {
        let &[a, b, c, d] = group else { return None };
        let (a, b) = (value(a)?, value(b)?);
        out.push(a << 2 | b >> 4);
        let last = groups.peek().is_none();
        match (c, d) {
            (b'=', b'=') if last && b & 0x0f == 0 => {}
            (c, b'=') if last => {
                let c = value(c).filter(|c| c & 0x03 == 0)?;
                out.push(b << 4 | c >> 2);
            }
            (c, d) => {
                let (c, d) = (value(c)?, value(d)?);
                out.push(b << 4 | c >> 2);
                out.push(c << 6 | d);
            }
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_rfc_4648_10() {
        for (plain, text) in [
            ("", ""),
            ("f", "Zg=="),
            ("fo", "Zm8="),
            ("foo", "Zm9v"),
            ("foob", "Zm9vYg=="),
            ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ] {
            assert_eq!(encode(plain.as_bytes()), text.as_bytes());
            assert_eq!(decode(text.as_bytes()).as_deref(), Some(plain.as_bytes()));
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let all: Vec<u8> = (0..=255).collect();
        for n in 0..all.len() {
            assert_eq!(decode(&encode(&all[n..])).as_deref(), Some(&all[n..]));
        }
    }

    #[test]
    fn decode_refuses_what_has_a_second_spelling() {
        for bad in [
            "Zg", "Zg=", "Zh==", "Zm9=", "Zg==Zg==", "=Zg=", "Z===", "====", "Zm9v\n", "Zm 9",
            "Zm-_",
        ] {
            assert_eq!(decode(bad.as_bytes()), None, "{bad}");
        }
    }
}
