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
pub fn value(letter: u8) -> Option<u8> {
    VALUES.get(usize::from(letter)).copied().filter(|six| *six < NONE)
}

/// In [`VALUES`] for what is no letter.
const NONE: u8 = 64;

/// The value of each byte: bodies are decoded by this, and a table does not
/// branch.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "evaluated when compiling")]
static VALUES: [u8; 256] = {
    let mut values = [NONE; 256];
    let mut six = 0;
    while six < NONE {
        values[letter(six) as usize] = six;
        six += 1;
    }
    values
};

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

/// Decodes letters alone, without padding, as keys and signatures are written
/// by so many programs: unused bits may be anything, and a letter too many at
/// the end is nothing.
///
/// `None` for any byte that is no letter.
pub fn decode_letters(text: &[u8]) -> Option<Vec<u8>> {
    let mut out = vec![0; text.len().div_ceil(4).saturating_mul(3)];
    let mut groups = text.chunks_exact(4);
    let mut octets = out.chunks_exact_mut(3);
    // Whether all are letters is looked at once, at the end.
    let mut all = 0;
    let mut decode = |letters: [u8; 4]| {
        let [a, b, c, d] = letters.map(|b| VALUES.get(usize::from(b)).copied().unwrap_or(NONE));
        all |= a | b | c | d;
        [a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]
    };
    for (letters, octets) in (&mut groups).zip(&mut octets) {
        octets.copy_from_slice(&decode(letters.try_into().ok()?));
    }
    let rest = groups.remainder();
    if let Some(octets) = octets.next() {
        let mut letters = [b'A'; 4];
        letters.iter_mut().zip(rest).for_each(|(to, b)| *to = *b);
        octets.copy_from_slice(&decode(letters));
    }
    let whole = text.len() / 4;
    out.truncate(whole.saturating_mul(3).saturating_add(rest.len().saturating_sub(1)));
    (all < NONE).then_some(out)
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
    fn letters_alone_are_read_without_padding() {
        for n in 0..100 {
            let octets: Vec<u8> = (0..n).map(|i: u8| i.wrapping_mul(37)).collect();
            let text = encode(&octets);
            let letters = text.split(|b| *b == b'=').next().unwrap();
            assert_eq!(decode_letters(letters).unwrap(), octets);
        }
        assert_eq!(decode_letters(b"Zh").unwrap(), b"f", "unused bits");
        assert_eq!(decode_letters(b"Zm9vZ").unwrap(), b"foo", "a letter too many");
    }

    #[test]
    fn among_letters_there_is_nothing_else() {
        let letters = b"ABCDEFGHIJ";
        for bad in (0..=255).filter(|b| value(*b).is_none()) {
            for at in 0..letters.len() {
                let mut text = *letters;
                text[at] = bad;
                assert_eq!(decode_letters(&text), None, "{bad} at {at}");
            }
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
