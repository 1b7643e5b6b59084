//! The text of `dovecot-keywords`: which letter of a file name is which keyword.
//!
//! Pure; the mailbox reads and replaces the file under the uidlist's lock.
//! Lines are `<n> <keyword>`, n from 0 to 25 for the letters a to z.  A number
//! is never given to another keyword, since a file may still carry its letter.
//! Names are compared without case and written as first seen.

use crate::disk::maildir::file::LETTER_KEYWORDS;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// The keywords of a mailbox by number; 0 to 25 have letters, the rest live in `rmail.meta`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keywords {
    names: Vec<Option<String>>,
}

/// How many keywords a mailbox can have: bits of a 64-bit set.
pub const MAX: u32 = 64;

impl Keywords {
    /// Reads the file.  A line that is not a number and a name is left out;
    /// of two lines with one number or one name the first counts.
    pub fn parse(text: &[u8]) -> Keywords {
        let mut keywords = Keywords::default();
        for line in text.split(|b| *b == b'\n') {
            let mut c = Cursor::new(line);
            let Some(n) = c.number().and_then(|n| u32::try_from(n).ok()) else { continue };
            if n < LETTER_KEYWORDS && c.eat(b' ') {
                if let Ok(name) = std::str::from_utf8(c.rest()) {
                    keywords.set(n, name);
                }
            }
        }
        keywords
    }

    /// The file's content: the keywords that have letters.
    pub fn write(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (n, name) in self.all().filter(|(n, _)| *n < LETTER_KEYWORDS) {
            out.extend_from_slice(format!("{n} {name}\n").as_bytes());
        }
        out
    }

    /// Names a number, unless the number or the name is taken or the name is no keyword.
    pub fn set(&mut self, n: u32, name: &str) -> bool {
        if n >= MAX || !is_keyword(name) || self.find(name).is_some() || self.name(n).is_some() {
            return false;
        }
        let Ok(n) = usize::try_from(n) else { return false };
        if self.names.len() <= n {
            self.names.resize(n.saturating_add(1), None);
        }
        if let Some(slot) = self.names.get_mut(n) {
            *slot = Some(name.to_string());
        }
        true
    }

    /// The number of a keyword.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.all().find(|(_, known)| known.eq_ignore_ascii_case(name)).map(|(n, _)| n)
    }

    /// The keyword of a number.
    pub fn name(&self, n: u32) -> Option<&str> {
        self.names.get(usize::try_from(n).ok()?)?.as_deref()
    }

    /// The lowest number that no keyword has, outside `used` (the letters that files carry).
    pub fn free(&self, used: u64) -> Option<u32> {
        (0..MAX).find(|n| {
            self.name(*n).is_none() && 1u64.checked_shl(*n).is_some_and(|bit| used & bit == 0)
        })
    }

    /// All keywords with their numbers, ascending.
    pub fn all(&self) -> impl Iterator<Item = (u32, &str)> {
        (0u32..).zip(&self.names).filter_map(|(n, name)| Some((n, name.as_deref()?)))
    }

    /// The names of a set, without those bits that have none.
    pub fn known(&self, set: u64) -> Vec<String> {
        let carried = |n: u32| 1u64.checked_shl(n).is_some_and(|bit| set & bit != 0);
        self.all().filter(|(n, _)| carried(*n)).map(|(_, name)| name.to_string()).collect()
    }

    /// The names of a set.  A letter without a keyword is `unknown-<n>`, as with Dovecot.
    pub fn names(&self, set: u64) -> Vec<String> {
        (0..MAX)
            .filter(|n| 1u64.checked_shl(*n).is_some_and(|bit| set & bit != 0))
            .map(|n| self.name(n).map_or_else(|| format!("unknown-{n}"), str::to_string))
            .collect()
    }
}

/// True for what can be a keyword on disk: an atom's characters, as RFC 9051 `flag-keyword` has
/// them, and not too long.
pub fn is_keyword(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= limits::KEYWORD.size()
        && name.bytes().all(|b| {
            b > 0x20
                && b < 0x7f
                && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
        })
}

/// Fuzz target: a whole file; what was read is what is written.
pub fn fuzz_keywords(bytes: &[u8]) {
    let keywords = Keywords::parse(bytes);
    assert_eq!(Keywords::parse(&keywords.write()).write(), keywords.write());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_is_written_as_it_was_read() {
        let text = b"0 $Label1\n1 custom2\n25 z\n";
        let keywords = Keywords::parse(text);
        assert_eq!(keywords.write(), text);
        assert_eq!(keywords.find("CUSTOM2"), Some(1));
        assert_eq!(keywords.names(0b111), ["$Label1", "custom2", "unknown-2"]);
    }

    #[test]
    fn lines_that_cannot_be_are_left_out() {
        let k = Keywords::parse(b"26 no\nx\n0\n0 a b\n1 ok\n1 other\n2 OK\n3 \xff\n");
        assert_eq!(k.all().collect::<Vec<_>>(), [(1, "ok")]);
    }

    #[test]
    fn a_letter_that_a_file_carries_is_not_given_away() {
        let mut k = Keywords::parse(b"0 a\n");
        assert_eq!(k.free(0b110), Some(3));
        assert!(k.set(3, "b"));
        assert_eq!(k.free(0), Some(1));
    }

    #[test]
    fn the_65th_keyword_has_no_room() {
        let mut k = Keywords::default();
        for n in 0..MAX {
            assert!(k.set(k.free(0).unwrap(), &format!("k{n}")));
        }
        assert_eq!(k.free(0), None);
        assert_eq!(k.write().iter().filter(|b| **b == b'\n').count(), 26);
    }
}
