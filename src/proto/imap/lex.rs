//! The words of the IMAP grammar: atoms, strings, literals, numbers.
//!
//! A command is parsed from its bytes as they came, literals in place:
//! `a1 LOGIN {3}CRLF joe {2}CRLF pw`.  [`super::collect`] has seen to it that
//! each literal is whole.  Nothing is copied but a quoted string that holds a
//! backslash.  RFC 3501 9; RFC 7888 for `{n+}`.

use std::borrow::Cow;

use crate::proto::cursor::Cursor;

/// What is wrong with a command; [`super::reply`] has the answer to each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// No tag, or one with bytes that a tag may not have.
    Tag,
    /// No command of this name.
    Unknown,
    /// A space is missing.
    Space,
    /// Something follows the last argument.
    Trailing,
    /// An atom or a string is missing or malformed.
    AString,
    /// A literal is malformed or holds NUL.
    Literal,
    /// A literal or all of a command is larger than allowed.
    TooLarge,
    /// A line is longer than allowed.
    LineTooLong,
    /// A number is missing, or does not fit 32 bits, or is zero where it may not be.
    Number,
    /// A sequence set is malformed.
    SeqSet,
    /// A flag that cannot be set, or is malformed.
    Flag,
    /// A keyword longer than allowed.
    KeywordTooLong,
    /// A date or date-time is malformed or no day of the calendar.
    Date,
    /// An opening or closing parenthesis is missing.
    Parenthesis,
    /// An unknown FETCH item, section or partial.
    FetchItem,
    /// An unknown STORE item.
    StoreItem,
    /// An unknown STATUS item.
    StatusItem,
    /// An unknown LIST option, or RECURSIVEMATCH alone.
    ListOption,
    /// An unknown SEARCH key.
    SearchKey,
    /// An unknown SEARCH RETURN option.
    SearchReturn,
    /// A charset that SEARCH does not know, or a string that is not in it.
    Charset,
    /// An option in parentheses after the mailbox of SELECT or CREATE, or before a STORE item.
    Parameter,
    /// Nested deeper than allowed.
    TooDeep,
    /// More items than allowed.
    TooMany,
    /// APPEND's message is missing or is no literal.
    NoMessage,
    /// A `~{n}` literal.
    Binary,
    /// Something else than DONE in IDLE.
    NoDone,
}

/// The result of a rule.
pub type Parsed<T> = Result<T, Fault>;

/// The bytes of a string argument; owned only if it was quoted with a backslash.
pub type Text<'a> = Cow<'a, [u8]>;

/// SP, exactly one.
pub fn sp(c: &mut Cursor<'_>) -> Parsed<()> {
    if c.eat(b' ') {
        Ok(())
    } else {
        Err(Fault::Space)
    }
}

/// ATOM-CHAR = any CHAR except atom-specials.
pub const fn is_atom_char(b: u8) -> bool {
    b > 0x20 && b < 0x7f && !matches!(b, b'(' | b')' | b'{' | b'%' | b'*' | b'"' | b'\\' | b']')
}

/// ASTRING-CHAR = ATOM-CHAR / resp-specials.
pub const fn is_astring_char(b: u8) -> bool {
    is_atom_char(b) || b == b']'
}

/// list-char = ATOM-CHAR / list-wildcards / resp-specials.
pub const fn is_list_char(b: u8) -> bool {
    is_astring_char(b) || matches!(b, b'%' | b'*')
}

/// atom = 1*ATOM-CHAR
pub fn atom<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    c.take_while1(is_atom_char).ok_or(Fault::AString)
}

/// astring = 1*ASTRING-CHAR / string
pub fn astring<'a>(c: &mut Cursor<'a>) -> Parsed<Text<'a>> {
    match c.peek() {
        Some(b'"' | b'{') => string(c),
        _ => c.take_while1(is_astring_char).map(Cow::Borrowed).ok_or(Fault::AString),
    }
}

/// list-mailbox = 1*list-char / string
pub fn list_mailbox<'a>(c: &mut Cursor<'a>) -> Parsed<Text<'a>> {
    match c.peek() {
        Some(b'"' | b'{') => string(c),
        _ => c.take_while1(is_list_char).map(Cow::Borrowed).ok_or(Fault::AString),
    }
}

/// nstring = string / nil
pub fn nstring<'a>(c: &mut Cursor<'a>) -> Parsed<Option<Text<'a>>> {
    if c.eat_word(b"NIL") {
        return Ok(None);
    }
    string(c).map(Some)
}

/// string = quoted / literal
pub fn string<'a>(c: &mut Cursor<'a>) -> Parsed<Text<'a>> {
    match c.peek() {
        Some(b'"') => quoted(c),
        Some(b'{') => literal(c).map(Cow::Borrowed),
        _ => Err(Fault::AString),
    }
}

/// quoted = DQUOTE *QUOTED-CHAR DQUOTE
///
/// Bytes of 0x80 and above are let through: passwords and search strings come
/// so from clients of every age, and RFC 6855 allows UTF-8 there.
pub fn quoted<'a>(c: &mut Cursor<'a>) -> Parsed<Text<'a>> {
    if !c.eat(b'"') {
        return Err(Fault::AString);
    }
    let plain = c.take_while(is_quoted_plain);
    if c.eat(b'"') {
        return Ok(Cow::Borrowed(plain));
    }
    let mut owned = plain.to_vec();
    loop {
        match c.next_byte() {
            Some(b'"') => return Ok(Cow::Owned(owned)),
            Some(b'\\') => match c.next_byte() {
                Some(b @ (b'"' | b'\\')) => owned.push(b),
                _ => return Err(Fault::AString),
            },
            Some(b) if is_quoted_plain(b) => owned.push(b),
            _ => return Err(Fault::AString),
        }
    }
}

const fn is_quoted_plain(b: u8) -> bool {
    !matches!(b, b'"' | b'\\' | b'\r' | b'\n' | 0)
}

/// literal = "{" number ["+"] "}" CRLF *CHAR8, NUL refused.  RFC 3501 4.3, RFC 7888 4.
pub fn literal<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    let size = literal_head(c)?.octets;
    let size = usize::try_from(size).map_err(|_| Fault::Literal)?;
    if !c.eat_crlf() {
        return Err(Fault::Literal);
    }
    let bytes = c.take(size).ok_or(Fault::Literal)?;
    if memchr::memchr(0, bytes).is_some() {
        return Err(Fault::Literal);
    }
    Ok(bytes)
}

/// What `{n}` announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiteralHead {
    /// How many octets follow the CRLF.
    pub octets: u64,
    /// True if the client waits for a continuation request.
    pub synchronising: bool,
    /// True for `~{n}`, which may hold NUL.  RFC 3516 4.4.
    pub binary: bool,
}

/// `["~"] "{" number ["+"] "}"`, up to and without the CRLF.
pub fn literal_head(c: &mut Cursor<'_>) -> Parsed<LiteralHead> {
    let binary = c.eat(b'~');
    if !c.eat(b'{') {
        return Err(Fault::Literal);
    }
    let octets = c.number().ok_or(Fault::Literal)?;
    let synchronising = !c.eat(b'+');
    if !c.eat(b'}') {
        return Err(Fault::Literal);
    }
    Ok(LiteralHead { octets, synchronising, binary })
}

/// number = 1*DIGIT, below 2^32.
pub fn number(c: &mut Cursor<'_>) -> Parsed<u32> {
    let start = c.pos();
    match c.number().map(u32::try_from) {
        Some(Ok(n)) => Ok(n),
        _ => {
            c.seek(start);
            Err(Fault::Number)
        }
    }
}

/// nz-number = digit-nz *DIGIT
pub fn nz_number(c: &mut Cursor<'_>) -> Parsed<u32> {
    let start = c.pos();
    if c.peek() == Some(b'0') {
        return Err(Fault::Number);
    }
    match number(c)? {
        0 => {
            c.seek(start);
            Err(Fault::Number)
        }
        n => Ok(n),
    }
}

/// tag = 1*<any ASTRING-CHAR except "+">
pub fn tag<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    c.take_while1(|b| is_astring_char(b) && b != b'+').ok_or(Fault::Tag)
}

/// The command is over: nothing but an optional CRLF is left.
pub fn end(c: &mut Cursor<'_>) -> Parsed<()> {
    c.eat_crlf();
    if c.at_end() {
        Ok(())
    } else {
        Err(Fault::Trailing)
    }
}

/// True if a whole word, not only its beginning, is next; consumes it.
pub fn keyword(c: &mut Cursor<'_>, word: &[u8]) -> bool {
    let start = c.pos();
    if c.eat_word(word) && !c.peek().is_some_and(is_astring_char) {
        return true;
    }
    c.seek(start);
    false
}

/// "(" item *(SP item) ")", at least one item and at most `most`.
pub fn list<'a, T>(
    c: &mut Cursor<'a>,
    most: usize,
    item: impl Fn(&mut Cursor<'a>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    if !c.eat(b'(') {
        return Err(Fault::Parenthesis);
    }
    let mut items = Vec::new();
    loop {
        if items.len() >= most {
            return Err(Fault::TooMany);
        }
        items.push(item(c)?);
        if c.eat(b')') {
            return Ok(items);
        }
        if !c.eat(b' ') {
            return Err(Fault::Parenthesis);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_string_is_borrowed_unless_it_has_a_backslash() {
        assert!(matches!(quoted(&mut Cursor::new(b"\"ab c\"")), Ok(Cow::Borrowed(b"ab c"))));
        assert_eq!(quoted(&mut Cursor::new(br#""a\"b\\c""#)).as_deref(), Ok(&br#"a"b\c"#[..]));
    }

    #[test]
    fn a_quoted_string_refuses_line_ends_nul_and_other_escapes() {
        for bad in [&b"\"a"[..], b"\"a\r\n\"", b"\"a\0\"", b"\"a\\n\"", b"\"a\\"] {
            assert_eq!(quoted(&mut Cursor::new(bad)), Err(Fault::AString));
        }
    }

    #[test]
    fn a_literal_takes_its_octets_whatever_they_are() {
        let mut c = Cursor::new(b"{5}\r\na\")\r\n rest");
        assert_eq!(literal(&mut c), Ok(&b"a\")\r\n"[..]));
        assert_eq!(c.rest(), b" rest");
        assert_eq!(literal(&mut Cursor::new(b"{2+}\r\nab")), Ok(&b"ab"[..]));
        for bad in [
            &b"{2}\r\na"[..],
            b"{2}ab",
            b"{}\r\n",
            b"{-1}\r\n",
            b"{1}\r\n\0",
            b"{99999999999999999999}\r\n",
        ] {
            assert_eq!(literal(&mut Cursor::new(bad)), Err(Fault::Literal));
        }
    }

    #[test]
    fn numbers_stay_below_two_to_the_32() {
        assert_eq!(number(&mut Cursor::new(b"4294967295")), Ok(u32::MAX));
        assert_eq!(number(&mut Cursor::new(b"4294967296")), Err(Fault::Number));
        assert_eq!(nz_number(&mut Cursor::new(b"0")), Err(Fault::Number));
        assert_eq!(nz_number(&mut Cursor::new(b"01")), Err(Fault::Number));
    }

    #[test]
    fn a_list_has_bounds() {
        let f = |c: &mut Cursor<'_>| number(c);
        assert_eq!(list(&mut Cursor::new(b"(1 2 3)"), 3, f), Ok(vec![1, 2, 3]));
        assert_eq!(list(&mut Cursor::new(b"(1 2 3)"), 2, f), Err(Fault::TooMany));
        assert_eq!(list(&mut Cursor::new(b"()"), 2, f), Err(Fault::Number));
        assert_eq!(list(&mut Cursor::new(b"(1  2)"), 2, f), Err(Fault::Number));
        assert_eq!(list(&mut Cursor::new(b"(1 2"), 2, f), Err(Fault::Parenthesis));
    }
}
