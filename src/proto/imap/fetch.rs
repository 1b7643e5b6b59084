//! What FETCH asks for: items, sections and partials.  RFC 3501 6.4.5, 9.

use super::lex::{self, Fault, Parsed, Text};
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// One item of a FETCH, the macros ALL, FAST and FULL already expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// `FLAGS`
    Flags,
    /// `UID`
    Uid,
    /// `INTERNALDATE`
    InternalDate,
    /// `RFC822.SIZE`
    Size,
    /// `ENVELOPE`
    Envelope,
    /// `BODY` without a section: the structure without extension data.
    Body,
    /// `BODYSTRUCTURE`
    BodyStructure,
    /// `BODY[...]`, `BODY.PEEK[...]` and the three `RFC822` items.
    Section(Fetch<'a>),
}

/// Bytes of the message that are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fetch<'a> {
    /// Under which name the answer goes.
    pub name: Name,
    /// True if `\Seen` stays as it is.
    pub peek: bool,
    /// Which bytes.
    pub section: Section<'a>,
    /// `<first.count>`; `count` is not zero.
    pub partial: Option<(u32, u32)>,
}

/// How a section was asked for, and so how it is named in the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// `BODY[section]`
    Body,
    /// `RFC822`
    Rfc822,
    /// `RFC822.HEADER`
    Rfc822Header,
    /// `RFC822.TEXT`
    Rfc822Text,
}

/// section-spec: a part, and what of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section<'a> {
    /// section-part; empty for the message itself.
    pub part: Vec<u32>,
    /// What of the part.
    pub of: Of<'a>,
}

/// section-text
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Of<'a> {
    /// All of the message, or the body of the part.
    All,
    /// `HEADER`
    Header,
    /// `HEADER.FIELDS (...)`
    Fields(Vec<Text<'a>>),
    /// `HEADER.FIELDS.NOT (...)`
    FieldsNot(Vec<Text<'a>>),
    /// `TEXT`
    Text,
    /// `MIME`; only with a part.
    Mime,
}

/// "ALL" / "FULL" / "FAST" / fetch-att / "(" fetch-att *(SP fetch-att) ")"
///
/// An item that was already asked for is left out.
pub fn parse_items<'a>(c: &mut Cursor<'a>) -> Parsed<Vec<Item<'a>>> {
    if lex::keyword(c, b"ALL") {
        return Ok(vec![Item::Flags, Item::InternalDate, Item::Size, Item::Envelope]);
    }
    if lex::keyword(c, b"FAST") {
        return Ok(vec![Item::Flags, Item::InternalDate, Item::Size]);
    }
    if lex::keyword(c, b"FULL") {
        return Ok(vec![Item::Flags, Item::InternalDate, Item::Size, Item::Envelope, Item::Body]);
    }
    if c.peek() != Some(b'(') {
        return Ok(vec![parse_item(c)?]);
    }
    let mut items = Vec::new();
    for item in lex::list(c, limits::IMAP_FETCH_ITEMS.size(), parse_item)? {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(items)
}

fn parse_item<'a>(c: &mut Cursor<'a>) -> Parsed<Item<'a>> {
    let name = c.take_while(|b| b.is_ascii_alphanumeric() || b == b'.');
    let is = |word: &[u8]| name.eq_ignore_ascii_case(word);
    let whole = |name, peek, of| {
        let section = Section { part: Vec::new(), of };
        Ok(Item::Section(Fetch { name, peek, section, partial: None }))
    };
    if is(b"BODY") || is(b"BODY.PEEK") {
        let peek = is(b"BODY.PEEK");
        if !c.eat(b'[') {
            return if peek { Err(Fault::FetchItem) } else { Ok(Item::Body) };
        }
        let section = parse_section(c)?;
        let partial = parse_partial(c)?;
        return Ok(Item::Section(Fetch { name: Name::Body, peek, section, partial }));
    }
    match () {
        () if is(b"FLAGS") => Ok(Item::Flags),
        () if is(b"UID") => Ok(Item::Uid),
        () if is(b"INTERNALDATE") => Ok(Item::InternalDate),
        () if is(b"ENVELOPE") => Ok(Item::Envelope),
        () if is(b"BODYSTRUCTURE") => Ok(Item::BodyStructure),
        () if is(b"RFC822.SIZE") => Ok(Item::Size),
        () if is(b"RFC822") => whole(Name::Rfc822, false, Of::All),
        () if is(b"RFC822.HEADER") => whole(Name::Rfc822Header, true, Of::Header),
        () if is(b"RFC822.TEXT") => whole(Name::Rfc822Text, false, Of::Text),
        () => Err(Fault::FetchItem),
    }
}

/// section = "[" [section-spec] "]", the first bracket already read.
fn parse_section<'a>(c: &mut Cursor<'a>) -> Parsed<Section<'a>> {
    let mut part = Vec::new();
    while c.peek().is_some_and(|b| b.is_ascii_digit()) {
        if part.len() >= limits::IMAP_SECTION_DEPTH.size() {
            return Err(Fault::TooDeep);
        }
        part.push(lex::nz_number(c)?);
        if !c.eat(b'.') {
            return close(c, Section { part, of: Of::All });
        }
    }
    let word = c.take_while(|b| b.is_ascii_alphabetic() || b == b'.');
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    let of = match () {
        () if word.is_empty() && part.is_empty() => Of::All,
        () if is(b"HEADER") => Of::Header,
        () if is(b"TEXT") => Of::Text,
        () if is(b"MIME") && !part.is_empty() => Of::Mime,
        () if is(b"HEADER.FIELDS") => Of::Fields(header_list(c)?),
        () if is(b"HEADER.FIELDS.NOT") => Of::FieldsNot(header_list(c)?),
        () => return Err(Fault::FetchItem),
    };
    close(c, Section { part, of })
}

fn close<'a>(c: &mut Cursor<'a>, section: Section<'a>) -> Parsed<Section<'a>> {
    if c.eat(b']') {
        Ok(section)
    } else {
        Err(Fault::FetchItem)
    }
}

/// SP header-list = "(" header-fld-name *(SP header-fld-name) ")"
fn header_list<'a>(c: &mut Cursor<'a>) -> Parsed<Vec<Text<'a>>> {
    lex::sp(c)?;
    lex::list(c, limits::IMAP_FETCH_FIELDS.size(), lex::astring)
}

/// ["<" number "." nz-number ">"]
fn parse_partial(c: &mut Cursor<'_>) -> Parsed<Option<(u32, u32)>> {
    if !c.eat(b'<') {
        return Ok(None);
    }
    let first = lex::number(c)?;
    if !c.eat(b'.') {
        return Err(Fault::FetchItem);
    }
    let count = lex::nz_number(c)?;
    if !c.eat(b'>') {
        return Err(Fault::FetchItem);
    }
    Ok(Some((first, count)))
}

impl Fetch<'_> {
    /// Appends the item's name as the answer has it: `BODY[1.2.MIME]<0>`.
    ///
    /// Field names come back as the client wrote them, quoted where they need it.
    pub fn write_name(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(match self.name {
            Name::Body => b"BODY[",
            Name::Rfc822 => b"RFC822",
            Name::Rfc822Header => b"RFC822.HEADER",
            Name::Rfc822Text => b"RFC822.TEXT",
        });
        if self.name != Name::Body {
            return;
        }
        for (i, n) in self.section.part.iter().enumerate() {
            if i > 0 {
                out.push(b'.');
            }
            out.extend_from_slice(n.to_string().as_bytes());
        }
        if !self.section.part.is_empty() && self.section.of != Of::All {
            out.push(b'.');
        }
        match &self.section.of {
            Of::All => {}
            Of::Header => out.extend_from_slice(b"HEADER"),
            Of::Text => out.extend_from_slice(b"TEXT"),
            Of::Mime => out.extend_from_slice(b"MIME"),
            Of::Fields(fields) => write_fields(b"HEADER.FIELDS (", fields, out),
            Of::FieldsNot(fields) => write_fields(b"HEADER.FIELDS.NOT (", fields, out),
        }
        out.push(b']');
        if let Some((first, _)) = self.partial {
            out.extend_from_slice(format!("<{first}>").as_bytes());
        }
    }
}

fn write_fields(word: &[u8], fields: &[Text<'_>], out: &mut Vec<u8>) {
    out.extend_from_slice(word);
    for (i, field) in fields.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        super::write::astring(out, field);
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn items(text: &str) -> Parsed<Vec<Item<'_>>> {
        let mut c = Cursor::new(text.as_bytes());
        let items = parse_items(&mut c)?;
        lex::end(&mut c)?;
        Ok(items)
    }

    fn one(text: &str) -> Fetch<'_> {
        match items(text).unwrap().remove(0) {
            Item::Section(f) => f,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn macros_expand() {
        assert_eq!(items("fast").unwrap().len(), 3);
        assert_eq!(items("ALL").unwrap().len(), 4);
        assert_eq!(items("Full").unwrap().last(), Some(&Item::Body));
        assert_eq!(items("(ALL)"), Err(Fault::FetchItem));
    }

    #[test]
    fn an_item_asked_for_twice_is_answered_once() {
        assert_eq!(items("(UID FLAGS uid)").unwrap(), [Item::Uid, Item::Flags]);
    }

    #[test]
    fn sections_are_read_and_named_again() {
        for text in [
            "BODY[]",
            "BODY[1]",
            "BODY[1.2.3]",
            "BODY[HEADER]",
            "BODY[TEXT]",
            "BODY[4.1.MIME]",
            "BODY[4.2.HEADER]",
            "BODY[3.TEXT]",
            "BODY[HEADER.FIELDS (DATE FROM)]",
            "BODY[2.HEADER.FIELDS.NOT (Received \"a b\")]",
            "RFC822",
            "RFC822.HEADER",
            "RFC822.TEXT",
        ] {
            let mut out = Vec::new();
            one(text).write_name(&mut out);
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
    }

    #[test]
    fn peek_and_the_header_leave_seen_alone() {
        assert!(one("BODY.PEEK[]").peek && one("RFC822.HEADER").peek);
        assert!(!one("BODY[]").peek && !one("RFC822").peek && !one("RFC822.TEXT").peek);
    }

    #[test]
    fn a_partial_has_a_beginning_and_a_length() {
        let f = one("BODY[]<0.2048>");
        assert_eq!(f.partial, Some((0, 2048)));
        let mut out = Vec::new();
        f.write_name(&mut out);
        assert_eq!(out, b"BODY[]<0>");
        for bad in ["BODY[]<0>", "BODY[]<0.0>", "BODY[]<.1>", "BODY[]<1.2", "BODY[]<1.4294967296>"]
        {
            assert!(items(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn malformed_items_are_refused() {
        for bad in [
            "",
            "()",
            "BODY[",
            "BODY[MIME]",
            "BODY[1.]",
            "BODY[0]",
            "BODY[1..2]",
            "BODY.PEEK",
            "BODY[1HEADER]",
            "BODY[HEADER.FIELDS]",
            "BODY[HEADER.FIELDS ()]",
            "(FLAGS",
            "(FLAGS)UID",
            "MODSEQ",
            "RFC822.PEEK",
            "FLAGS UID",
            "BINARY[1]",
            "BODY[FOO]",
        ] {
            assert!(items(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_part_path_and_the_field_list_are_bounded() {
        let deep = format!("BODY[{}1]", "1.".repeat(limits::IMAP_SECTION_DEPTH.size()));
        assert_eq!(items(&deep), Err(Fault::TooDeep));
        let many =
            format!("BODY[HEADER.FIELDS ({}x)]", "x ".repeat(limits::IMAP_FETCH_FIELDS.size()));
        assert_eq!(items(&many), Err(Fault::TooMany));
    }
}
