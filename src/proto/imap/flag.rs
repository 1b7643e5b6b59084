//! Flags of a message, as they stand in commands and responses.
//!
//! `flag = "\Answered" / "\Flagged" / "\Deleted" / "\Seen" / "\Draft" /
//! flag-keyword`.  `\Recent` can be shown but not set, and a flag-extension
//! that nobody has registered is refused.  Keywords are opaque: RFC 9979 and
//! others register more every year.  RFC 3501 2.3.2, 9.

use super::lex::{self, Fault, Parsed};
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// The system flags that can be stored, as a set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SystemFlags(u8);

impl SystemFlags {
    /// No flag.
    pub const NONE: SystemFlags = SystemFlags(0);
    /// `\Answered`
    pub const ANSWERED: SystemFlags = SystemFlags(1);
    /// `\Flagged`
    pub const FLAGGED: SystemFlags = SystemFlags(2);
    /// `\Deleted`
    pub const DELETED: SystemFlags = SystemFlags(4);
    /// `\Seen`
    pub const SEEN: SystemFlags = SystemFlags(8);
    /// `\Draft`
    pub const DRAFT: SystemFlags = SystemFlags(16);

    /// All of them.
    pub const ALL: SystemFlags = SystemFlags(31);

    /// The bits, as the store keeps them.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The flags of these bits; others are left out.
    pub const fn from_bits(bits: u8) -> SystemFlags {
        SystemFlags(bits & Self::ALL.0)
    }

    /// Each flag with its name, in the order of responses.
    pub const NAMES: [(SystemFlags, &'static str); 5] = [
        (SystemFlags::ANSWERED, "\\Answered"),
        (SystemFlags::FLAGGED, "\\Flagged"),
        (SystemFlags::DELETED, "\\Deleted"),
        (SystemFlags::SEEN, "\\Seen"),
        (SystemFlags::DRAFT, "\\Draft"),
    ];

    /// The flags of both.
    pub const fn with(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 | other.0)
    }

    /// The flags of this one that `other` has not.
    pub const fn without(self, other: SystemFlags) -> SystemFlags {
        SystemFlags(self.0 & !other.0)
    }

    /// True if all flags of `other` are here.
    pub const fn has(self, other: SystemFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True if there is no flag.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The names of the flags, in the order of responses.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        Self::NAMES.iter().filter(move |(f, _)| self.has(*f)).map(|(_, name)| *name)
    }
}

/// The flags of a command: system flags, and keywords as written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Flags<'a> {
    /// The system flags.
    pub system: SystemFlags,
    /// The keywords, each once (ASCII case folded), in the order written.
    pub keywords: Vec<&'a [u8]>,
}

impl<'a> Flags<'a> {
    /// flag-list = "(" [flag *(SP flag)] ")"
    pub fn parse_list(c: &mut Cursor<'a>) -> Parsed<Flags<'a>> {
        let mut flags = Flags::default();
        if !c.eat(b'(') {
            return Err(Fault::Parenthesis);
        }
        if c.eat(b')') {
            return Ok(flags);
        }
        loop {
            flags.parse_one(c)?;
            if c.eat(b')') {
                return Ok(flags);
            }
            if !c.eat(b' ') {
                return Err(Fault::Parenthesis);
            }
        }
    }

    /// flag *(SP flag), as STORE also takes them.
    pub fn parse_bare(c: &mut Cursor<'a>) -> Parsed<Flags<'a>> {
        let mut flags = Flags::default();
        flags.parse_one(c)?;
        while c.eat(b' ') {
            flags.parse_one(c)?;
        }
        Ok(flags)
    }

    fn parse_one(&mut self, c: &mut Cursor<'a>) -> Parsed<()> {
        if c.eat(b'\\') {
            let name = lex::atom(c).map_err(|_| Fault::Flag)?;
            for (flag, known) in SystemFlags::NAMES {
                if known.as_bytes().get(1..).is_some_and(|k| k.eq_ignore_ascii_case(name)) {
                    self.system = self.system.with(flag);
                    return Ok(());
                }
            }
            return Err(Fault::Flag);
        }
        let keyword = parse_keyword(c)?;
        if !self.keywords.iter().any(|k| k.eq_ignore_ascii_case(keyword)) {
            if self.keywords.len() >= limits::IMAP_FLAGS.size() {
                return Err(Fault::TooMany);
            }
            self.keywords.push(keyword);
        }
        Ok(())
    }
}

/// flag-keyword = atom, not longer than `keyword`.
pub fn parse_keyword<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    let keyword = lex::atom(c).map_err(|_| Fault::Flag)?;
    if keyword.len() > limits::KEYWORD.size() {
        return Err(Fault::KeywordTooLong);
    }
    Ok(keyword)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &[u8]) -> Parsed<Flags<'_>> {
        Flags::parse_list(&mut Cursor::new(text))
    }

    #[test]
    fn system_flags_fold_case_and_keywords_are_kept_once() {
        let flags = list(b"(\\seen \\FLAGGED $Forwarded Work work)").unwrap();
        assert_eq!(flags.system, SystemFlags::SEEN.with(SystemFlags::FLAGGED));
        assert_eq!(flags.keywords, [&b"$Forwarded"[..], b"Work"]);
        assert_eq!(flags.system.names().collect::<Vec<_>>(), ["\\Flagged", "\\Seen"]);
    }

    #[test]
    fn recent_and_unknown_system_flags_cannot_be_set() {
        assert_eq!(list(b"(\\Recent)"), Err(Fault::Flag));
        assert_eq!(list(b"(\\Foo)"), Err(Fault::Flag));
        assert_eq!(list(b"(\\)"), Err(Fault::Flag));
        assert_eq!(list(b"(a{)"), Err(Fault::Parenthesis));
    }

    #[test]
    fn keywords_are_bounded_in_length_and_number() {
        let long = format!("({})", "k".repeat(limits::KEYWORD.size() + 1));
        assert_eq!(list(long.as_bytes()), Err(Fault::KeywordTooLong));
        let many: Vec<String> = (0..=limits::IMAP_FLAGS.size()).map(|i| format!("k{i}")).collect();
        assert_eq!(list(format!("({})", many.join(" ")).as_bytes()), Err(Fault::TooMany));
    }

    #[test]
    fn an_empty_list_is_no_flags() {
        assert_eq!(list(b"()"), Ok(Flags::default()));
    }
}
