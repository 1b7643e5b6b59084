//! Names of message files: `<base>[:2,<flags>]`, and what they say.
//!
//! Pure.  The base (all before the first colon) is a message's identity and
//! never changes; the rest, the info part, holds the flags and does.  Names
//! come from a directory that other programs write, so anything may stand in
//! them: unknown letters and a foreign tail after a second comma are kept, and
//! a field that does not parse is ignored.  Dovecot reads the flags after the
//! *last* colon, but compares names up to the *first*; so does this.

use std::cmp::Ordering;

use crate::proto::cursor::Cursor;

/// System flags of a message, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// No flag.
    pub const NONE: Flags = Flags(0);
    /// `\Answered`, letter R.
    pub const ANSWERED: Flags = Flags(1);
    /// `\Flagged`, letter F.
    pub const FLAGGED: Flags = Flags(2);
    /// `\Deleted`, letter T.
    pub const DELETED: Flags = Flags(4);
    /// `\Seen`, letter S.
    pub const SEEN: Flags = Flags(8);
    /// `\Draft`, letter D.
    pub const DRAFT: Flags = Flags(16);
    /// All five.
    pub const ALL: Flags = Flags(31);

    /// True when every flag of `other` is set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    /// The flags of both.
    #[must_use]
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// The flags of `self` that are not in `other`.
    #[must_use]
    pub const fn without(self, other: Flags) -> Flags {
        Flags(self.0 & !other.0)
    }
}

/// Letters of the system flags, in the order in which they are written.
const LETTERS: [(u8, Flags); 5] = [
    (b'D', Flags::DRAFT),
    (b'F', Flags::FLAGGED),
    (b'R', Flags::ANSWERED),
    (b'S', Flags::SEEN),
    (b'T', Flags::DELETED),
];

/// How many keywords have a letter in file names: a to z.
pub const LETTER_KEYWORDS: u32 = 26;

/// The bits of a keyword set that have a letter.
pub const LETTER_MASK: u64 = (1 << LETTER_KEYWORDS) - 1;

/// Splits a file name into base and info part (which begins with a colon, or is empty).
pub fn split(name: &[u8]) -> (&[u8], &[u8]) {
    let at = memchr::memchr(b':', name).unwrap_or(name.len());
    name.split_at_checked(at).unwrap_or((name, b""))
}

/// What the info part says: the flags, and the keyword letters as bits 0 to 25.
pub fn parse_info(info: &[u8]) -> (Flags, u64) {
    let mut flags = Flags::NONE;
    let mut letters = 0u64;
    for b in letters_of(info).1 {
        if let Some((_, f)) = LETTERS.iter().find(|(l, _)| l == b) {
            flags = flags.with(*f);
        } else if let Some(bit) = letter_bit(*b) {
            letters |= bit;
        }
    }
    (flags, letters)
}

/// The info part that says `flags` and `keywords`, made from the one before.
///
/// Letters that mean nothing here keep their sorted place, and what follows a
/// second comma stays as it is.  Bits of `keywords` above the 26th are not
/// written: they live in `rmail.meta`.
pub fn set_info(old: &[u8], flags: Flags, keywords: u64) -> Vec<u8> {
    let (head, letters, tail) = letters_of(old);
    let mut all: Vec<u8> = letters
        .iter()
        .copied()
        .filter(|b| letter_bit(*b).is_none() && !LETTERS.iter().any(|(l, _)| l == b))
        .collect();
    all.extend(LETTERS.iter().filter(|(_, f)| flags.has(*f)).map(|(l, _)| *l));
    all.extend((b'a'..=b'z').filter(|b| letter_bit(*b).is_some_and(|bit| keywords & bit != 0)));
    all.sort_unstable();
    all.dedup();
    let mut out = head.to_vec();
    out.extend_from_slice(b":2,");
    out.append(&mut all);
    out.extend_from_slice(tail);
    out
}

/// The bit of a keyword letter.
fn letter_bit(b: u8) -> Option<u64> {
    b.is_ascii_lowercase().then(|| 1u64.checked_shl(u32::from(b.wrapping_sub(b'a')))).flatten()
}

/// Splits an info part into what stands before the last `:2,`, the letters, and the tail that
/// begins with a second comma.  An info part of another kind is all head.
fn letters_of(info: &[u8]) -> (&[u8], &[u8], &[u8]) {
    let none = (info, &b""[..], &b""[..]);
    let Some(at) = memchr::memrchr(b':', info) else { return none };
    let Some((head, rest)) = info.split_at_checked(at) else { return none };
    let Some(rest) = rest.strip_prefix(b":2,") else { return none };
    let end = memchr::memchr(b',', rest).unwrap_or(rest.len());
    rest.split_at_checked(end).map_or(none, |(letters, tail)| (head, letters, tail))
}

/// The number of a `,S=` (octets on disk) or `,W=` (octets with CRLF) field of the base.
///
/// The digits must end at a comma, a colon or the end of the name; a field
/// that does not is as if it were not there.
pub fn size_field(base: &[u8], key: u8) -> Option<u64> {
    let mut c = Cursor::new(base);
    while c.take_until(b',').is_some() {
        c.eat(b',');
        let start = c.pos();
        if c.eat(key) && c.eat(b'=') {
            if let Some(n) = c.number() {
                if matches!(c.peek(), None | Some(b',' | b':')) {
                    return Some(n);
                }
            }
        }
        c.seek(start);
    }
    None
}

/// The seconds at the beginning of a base name, as a fallback for a date.
pub fn leading_secs(base: &[u8]) -> Option<u64> {
    Cursor::new(base).number()
}

/// The order in which files without a UID get one: seconds, then microseconds
/// if both have them, then the bytes.  Dovecot's own order.
pub fn uid_order(a: &[u8], b: &[u8]) -> Ordering {
    let (a_secs, a_usecs) = stamp(a);
    let (b_secs, b_usecs) = stamp(b);
    let usecs = match (a_usecs, b_usecs) {
        (Some(a), Some(b)) => a.cmp(&b),
        _ => Ordering::Equal,
    };
    a_secs.cmp(&b_secs).then(usecs).then_with(|| a.cmp(b))
}

/// Leading seconds and the `M<usecs>` behind them.
fn stamp(base: &[u8]) -> (u64, Option<u64>) {
    let mut c = Cursor::new(base);
    let secs = c.number().unwrap_or(0);
    let usecs = if c.eat_exact(b".M") { c.number() } else { None };
    (secs, usecs)
}

/// The part of a base name that a delivery fixes: all before the first comma.
pub fn unique(base: &[u8]) -> &[u8] {
    let at = memchr::memchr(b',', base).unwrap_or(base.len());
    base.get(..at).unwrap_or(base)
}

/// True for a directory entry that can be a message: Dovecot skips the same ones.
pub fn is_message(name: &[u8]) -> bool {
    !name.is_empty()
        && !name.starts_with(b".")
        && !name.starts_with(b":")
        && !name.iter().any(|b| matches!(b, b'\r' | b'\n' | b'/' | 0))
}

/// Fuzz target: a file name; flags survive being written, and so does the rest.
pub fn fuzz_name(bytes: &[u8]) {
    let (base, info) = split(bytes);
    let (flags, letters) = parse_info(info);
    let again = set_info(info, flags, letters);
    assert_eq!(parse_info(&again), (flags, letters));
    assert_eq!(set_info(&again, flags, letters), again);
    let _ = (size_field(base, b'S'), uid_order(base, info), is_message(bytes));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_and_keywords_are_read_and_written_back_sorted() {
        let (base, info) = split(b"1.M2P3.h,S=4,W=5:2,Sab");
        assert_eq!(base, b"1.M2P3.h,S=4,W=5");
        assert_eq!(parse_info(info), (Flags::SEEN, 3));
        let flags = Flags::SEEN.with(Flags::FLAGGED);
        assert_eq!(set_info(info, flags, 2), b":2,FSb");
        assert_eq!(set_info(b"", Flags::ALL, 1 << 25), b":2,DFRSTz");
    }

    #[test]
    fn unknown_letters_and_a_foreign_tail_are_kept() {
        assert_eq!(set_info(b":2,PSX,foreign,x", Flags::DRAFT, 0), b":2,DPX,foreign,x");
        assert_eq!(parse_info(b":2,PS,aT"), (Flags::SEEN, 0));
    }

    #[test]
    fn flags_stand_after_the_last_colon_and_the_base_before_the_first() {
        let (base, info) = split(b"1.x:odd:2,S");
        assert_eq!((base, info), (&b"1.x"[..], &b":odd:2,S"[..]));
        assert_eq!(parse_info(info).0, Flags::SEEN);
        assert_eq!(set_info(info, Flags::NONE, 0), b":odd:2,");
        assert_eq!(set_info(b":1,ab", Flags::SEEN, 0), b":1,ab:2,S");
    }

    #[test]
    fn keywords_without_a_letter_are_not_written() {
        assert_eq!(set_info(b"", Flags::NONE, u64::MAX << 26), b":2,");
    }

    #[test]
    fn size_fields_that_do_not_end_well_are_ignored() {
        assert_eq!(size_field(b"1.x,S=12,W=13", b'S'), Some(12));
        assert_eq!(size_field(b"1.x,S=12,W=13", b'W'), Some(13));
        assert_eq!(size_field(b"1.x,S=12x,S=9", b'S'), Some(9));
        assert_eq!(size_field(b"1.x,S=", b'S'), None);
        assert_eq!(size_field(b"1.x,S=99999999999999999999999", b'S'), None);
        assert_eq!(size_field(b"1.x", b'S'), None);
    }

    #[test]
    fn uid_order_is_seconds_then_microseconds_then_bytes() {
        let mut names: Vec<&[u8]> =
            vec![b"10.M1P1.h", b"9.zz", b"10.M05P1.h", b"10.abc", b"9.M3P1.h", b"10.M1P0.h"];
        names.sort_by(|a, b| uid_order(a, b));
        assert_eq!(names.first(), Some(&&b"9.M3P1.h"[..]));
        let of = |n: &[u8]| names.iter().position(|x| *x == n).unwrap();
        assert!(of(b"10.M1P0.h") < of(b"10.M1P1.h"));
        assert!(of(b"10.M1P1.h") < of(b"10.M05P1.h"));
    }

    #[test]
    fn entries_that_dovecot_skips_are_no_messages() {
        assert!(!is_message(b".x") && !is_message(b"a\nb") && !is_message(b":2,S"));
        assert!(is_message(b"1.x:2,") && is_message(b"without-a-number"));
    }
}
