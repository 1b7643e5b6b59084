//! i;unicode-casemap: what is the same text for people.  RFC 5051.
//!
//! Each character is brought to its titlecase form and then decomposed as far
//! as possible; equal results are equal texts.  Used by Sieve's comparator and
//! by IMAP's SORT and THREAD (RFC 5256 2.1).  An octet that is not part of a
//! UTF-8 character stands for itself.

mod table;

/// The folded form of a text; linear, at most 18 times as long.
pub fn fold(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for chunk in text.utf8_chunks() {
        for c in chunk.valid().chars() {
            fold_char(c, &mut |c| {
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            });
        }
        out.extend_from_slice(chunk.invalid());
    }
    out
}

/// Gives the characters that one character folds to.
pub fn fold_char(c: char, give: &mut dyn FnMut(char)) {
    if c.is_ascii() {
        return give(c.to_ascii_uppercase());
    }
    if let Some(parts) = hangul(u32::from(c)) {
        return parts.into_iter().flatten().for_each(give);
    }
    match table::MAP.binary_search_by_key(&c, |row| row.0) {
        Ok(i) => table::MAP.get(i).map_or("", |row| row.1).chars().for_each(give),
        Err(_) => give(c),
    }
}

/// A Hangul syllable's letters: Unicode 3.12.
fn hangul(c: u32) -> Option<[Option<char>; 3]> {
    let s = c.checked_sub(0xac00).filter(|s| *s < 11172)?;
    let letter = |base: u32, n: u32| char::from_u32(base.saturating_add(n));
    let (l, v, t) = (s / 588, s % 588 / 28, s % 28);
    let tail = if t == 0 { None } else { letter(0x11a7, t) };
    Some([letter(0x1100, l), letter(0x1161, v), tail])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_and_composition_do_not_matter() {
        let same = |a: &str, b: &str| fold(a.as_bytes()) == fold(b.as_bytes());
        assert!(same("Ärger", "äRGER"));
        assert!(same("\u{e4}", "a\u{308}"));
        assert!(same("ΣΊΣΥΦΟΣ", "σίσυφοσ"));
        assert!(same("\u{ff21}", "a"));
        assert!(same("\u{ac01}", "\u{1100}\u{1161}\u{11a8}"));
        assert!(!same("a", "b"));
        // RFC 5051 2: the titlecase form of U+0131 is I, whatever the language.
        assert!(same("ı", "i"));
        assert!(!same("ß", "s"));
    }

    #[test]
    fn the_table_is_in_order() {
        assert!(table::MAP.windows(2).all(|w| w[0].0 < w[1].0));
        assert!(table::MAP.iter().all(|(c, s)| s.len() <= 18 * c.len_utf8()));
    }

    #[test]
    fn octets_that_are_no_text_stay() {
        assert_eq!(fold(b"a\xff\xc3"), b"A\xff\xc3");
    }
}
