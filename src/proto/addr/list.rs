//! Address lists of header fields, as leniently as mail readers take them.
//!
//! *Runs in* store, filter and smtp; input is hostile.  Linear and bounded: at
//! most [`limits::HEADER_ADDRESSES`] entries come out, however long the field.
//! Comments and folds may stand anywhere, a comment after a bare address is
//! its name, empty elements are passed over.  Nothing is decoded: a display
//! name keeps its encoded words.  RFC 5322 3.4, 4.4.

use std::ops::Range;

use crate::proto::chars;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// An element of an address list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// An address.
    Mailbox(Mailbox),
    /// `name:`, the beginning of a group.
    GroupStart(Vec<u8>),
    /// `;`, its end.
    GroupEnd,
}

/// An address with its name.  Quotes and backslashes are taken off.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailbox {
    /// The display name or, failing that, the comment after the address.
    pub name: Option<Vec<u8>>,
    /// An obsolete source route: `@a,@b`.
    pub route: Option<Vec<u8>>,
    /// The local part; empty if missing.
    pub local: Vec<u8>,
    /// The domain; empty if missing.
    pub domain: Vec<u8>,
    /// Where the addr-spec stands in the value, as written: whoever has to be
    /// sure reads this with the strict parser of [`super::Mailbox`].  Where the
    /// domain is missing, it belongs at its end.
    pub spec: Range<usize>,
}

/// Reads a field's value, folded or not.
pub fn parse(value: &[u8]) -> Vec<Entry> {
    let mut list = List { c: Cursor::new(value), entries: Vec::new(), in_group: false };
    list.run();
    list.entries
}

/// The addresses of a field's value, groups opened up.
pub fn mailboxes(value: &[u8]) -> impl Iterator<Item = Mailbox> {
    parse(value).into_iter().filter_map(|entry| match entry {
        Entry::Mailbox(mailbox) => Some(mailbox),
        Entry::GroupStart(_) | Entry::GroupEnd => None,
    })
}

struct List<'a> {
    c: Cursor<'a>,
    entries: Vec<Entry>,
    in_group: bool,
}

impl List<'_> {
    fn run(&mut self) {
        let most = limits::HEADER_ADDRESSES.size();
        while self.entries.len() < most {
            let mut comment = None;
            skip(&mut self.c, &mut comment);
            match self.c.peek() {
                None => break,
                Some(b',') => {
                    self.c.next_byte();
                }
                Some(b';') => {
                    self.c.next_byte();
                    if std::mem::take(&mut self.in_group) {
                        self.entries.push(Entry::GroupEnd);
                    }
                }
                Some(_) => self.element(),
            }
        }
        // A group that the field does not close ends with the field; at the
        // limit its end takes the place of the last entry.
        if self.in_group {
            self.entries.truncate(most.saturating_sub(1));
            self.entries.push(Entry::GroupEnd);
        }
    }

    /// mailbox / group name ":"
    fn element(&mut self) {
        let c = &mut self.c;
        let mut comment = None;
        let start = c.pos();
        let phrase = words(c, &mut comment);
        match c.peek() {
            Some(b'<') => {
                c.next_byte();
                let mut mailbox = angle(c);
                skip(c, &mut comment);
                mailbox.name = phrase.text().or(comment);
                self.entries.push(Entry::Mailbox(mailbox));
            }
            Some(b':') if !self.in_group => {
                c.next_byte();
                self.in_group = true;
                self.entries.push(Entry::GroupStart(phrase.text().unwrap_or_default()));
            }
            Some(b'@') => {
                c.next_byte();
                let (domain, end) = domain(c, &mut comment);
                let spec = start..end;
                let mailbox =
                    Mailbox { name: comment, route: None, local: phrase.joined(), domain, spec };
                self.entries.push(Entry::Mailbox(mailbox));
            }
            Some(b',' | b';') | None => {
                if let Some(local) = phrase.text() {
                    let (name, spec) = (comment, start..phrase.end);
                    let mailbox = Mailbox { name, local, spec, ..Mailbox::default() };
                    self.entries.push(Entry::Mailbox(mailbox));
                }
            }
            // A byte that has no meaning here.
            Some(_) => {
                c.next_byte();
            }
        }
    }
}

/// A run of words: a phrase, or a local part.
#[derive(Default)]
struct Words {
    /// With one space where there was white space.
    spaced: Vec<u8>,
    /// Without.
    tight: Vec<u8>,
    any: bool,
    /// After the last word.
    end: usize,
}

impl Words {
    fn text(&self) -> Option<Vec<u8>> {
        self.any.then(|| self.spaced.clone())
    }

    fn joined(self) -> Vec<u8> {
        self.tight
    }
}

/// *(atom / quoted-string / "." / CFWS)
fn words(c: &mut Cursor<'_>, comment: &mut Option<Vec<u8>>) -> Words {
    let mut out = Words { end: c.pos(), ..Words::default() };
    loop {
        let blank = skip(c, comment) && out.any;
        let mut add = |bytes: &[u8]| {
            if blank {
                out.spaced.push(b' ');
            }
            out.spaced.extend_from_slice(bytes);
            out.tight.extend_from_slice(bytes);
            out.any = true;
        };
        match c.peek() {
            Some(b'"') => add(&quoted(c)),
            Some(b) if is_word(b) => add(c.take_while(is_word)),
            _ => return out,
        }
        out.end = c.pos();
    }
}

/// Bytes of a word; everything but specials, blanks and controls, for there is
/// mail with 8-bit names, stray backslashes and brackets.
const fn is_word(b: u8) -> bool {
    b > 0x20
        && b != 0x7f
        && !matches!(b, b'(' | b')' | b'<' | b'>' | b',' | b';' | b':' | b'@' | b'"')
}

/// [route] addr-spec ">", the "<" already read.
fn angle(c: &mut Cursor<'_>) -> Mailbox {
    let mut none = None;
    let mut mailbox = Mailbox::default();
    skip(c, &mut none);
    if c.peek() == Some(b'@') {
        // obs-route = "@" domain *("," ["@" domain]) ":"
        let start = c.pos();
        let route = c.take_while(|b| !matches!(b, b':' | b'>' | b'<' | b'"'));
        if c.eat(b':') {
            mailbox.route = Some(route.iter().copied().filter(|b| !chars::is_wsp(*b)).collect());
        } else {
            c.seek(start);
        }
    }
    let start = c.pos();
    let local = words(c, &mut none);
    let mut end = local.end;
    mailbox.local = local.joined();
    if c.eat(b'@') {
        (mailbox.domain, end) = domain(c, &mut none);
    }
    // What else stands before the bracket is nothing we know, but it is part of
    // the addr-spec as written.
    if !c.take_while(|b| !matches!(b, b'>' | b',' | b';' | b'<')).is_empty() {
        end = c.pos();
    }
    c.eat(b'>');
    mailbox.spec = start..end;
    mailbox
}

/// dot-atom / domain-literal, and where it ends
fn domain(c: &mut Cursor<'_>, comment: &mut Option<Vec<u8>>) -> (Vec<u8>, usize) {
    skip(c, comment);
    if c.peek() == Some(b'[') {
        let start = c.pos();
        c.take_while(|b| !matches!(b, b']' | b'\r' | b'\n' | b'>'));
        c.eat(b']');
        let (literal, end) = (c.since(start).to_vec(), c.pos());
        skip(c, comment);
        return (literal, end);
    }
    let words = words(c, comment);
    let end = words.end;
    (words.joined(), end)
}

/// quoted-string, its escapes undone; an open one runs to the end.
fn quoted(c: &mut Cursor<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    c.eat(b'"');
    while let Some(b) = c.next_byte() {
        match b {
            b'"' => break,
            b'\\' => out.extend(c.next_byte()),
            b'\r' | b'\n' => {}
            b => out.push(b),
        }
    }
    out
}

/// CFWS; true if anything was passed over.  The last comment is kept.
fn skip(c: &mut Cursor<'_>, comment: &mut Option<Vec<u8>>) -> bool {
    let start = c.pos();
    while let Some(b) = c.peek() {
        match b {
            b' ' | b'\t' | b'\r' | b'\n' => {
                c.next_byte();
            }
            b'(' => {
                let text = comment_text(c);
                if !text.is_empty() {
                    *comment = Some(text);
                }
            }
            // Another control byte, or a bracket that nothing opened.
            0..=0x1f | 0x7f | b')' | b'>' => {
                c.next_byte();
            }
            _ => break,
        }
    }
    c.pos() > start
}

/// comment = "(" *([FWS] ccontent) [FWS] ")"; without its outer brackets.
fn comment_text(c: &mut Cursor<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    let mut depth: usize = 0;
    while let Some(b) = c.next_byte() {
        match b {
            b'(' => {
                if depth > 0 {
                    out.push(b);
                }
                depth = depth.saturating_add(1);
            }
            b')' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    break;
                }
                out.push(b);
            }
            b'\\' => out.extend(c.next_byte()),
            b'\r' | b'\n' => {}
            b => out.push(b),
        }
    }
    out.trim_ascii().to_vec()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|route|local@domain` for each address, `{name` and `}` for groups.
    fn show(value: &str) -> Vec<String> {
        let text = |v: &[u8]| String::from_utf8_lossy(v).into_owned();
        parse(value.as_bytes())
            .iter()
            .map(|entry| match entry {
                Entry::GroupStart(name) => format!("{{{}", text(name)),
                Entry::GroupEnd => "}".to_string(),
                Entry::Mailbox(m) => {
                    let name = m.name.as_deref().map(text).unwrap_or_default();
                    let route = m.route.as_deref().map(text).unwrap_or_default();
                    format!("{name}|{route}|{}@{}", text(&m.local), text(&m.domain))
                }
            })
            .collect()
    }

    #[test]
    fn the_usual_forms() {
        for (value, want) in [
            ("joe@example.com", "||joe@example.com"),
            ("Joe Q. Public <joe@example.com>", "Joe Q. Public||joe@example.com"),
            ("\"Public, \\\"Joe\\\"\" <joe@x.org>", "Public, \"Joe\"||joe@x.org"),
            ("joe@example.com (Joe Public)", "Joe Public||joe@example.com"),
            ("<@a.b,@c.d:joe@x.org>", "|@a.b,@c.d|joe@x.org"),
            ("\"joe q\"@x.org", "||joe q@x.org"),
            ("joe . q @ x . org", "||joe.q@x.org"),
            ("joe@[192.0.2.1]", "||joe@[192.0.2.1]"),
            ("=?utf-8?q?J=C3=B6?= <j@x.org>", "=?utf-8?q?J=C3=B6?=||j@x.org"),
            ("joe", "||joe@"),
            ("Jö <j@x.org>", "Jö||j@x.org"),
            ("a(c(d)e)b <x@y>", "a b||x@y"),
        ] {
            assert_eq!(show(value), [want], "{value}");
        }
    }

    #[test]
    fn the_addr_spec_as_written() {
        for (value, want) in [
            ("joe@x (Joe)", &["joe@x"][..]),
            (" Joe <joe@x> , (c) ann", &["joe@x", "ann"]),
            ("<@a:\"j q\"@x >, <joe >", &["\"j q\"@x", "joe"]),
            ("<joe(c)@x>, a b@c, <a@b c>", &["joe(c)@x", "a b@c", "a@b c"]),
            ("<a@b@c>, @x, a@[1.2.3.4]", &["a@b@c", "@x", "a@[1.2.3.4]"]),
            ("joe@", &["joe@"]),
        ] {
            let specs: Vec<_> = mailboxes(value.as_bytes()).map(|m| &value[m.spec]).collect();
            assert_eq!(specs, want, "{value}");
        }
    }

    #[test]
    fn lists_and_groups() {
        assert_eq!(show("a@x, ,b@y,"), ["||a@x", "||b@y"]);
        assert_eq!(
            show("A Group:Ed Jones <joe@where.test>,j@one.test; c@z"),
            ["{A Group", "Ed Jones||joe@where.test", "||j@one.test", "}", "||c@z"]
        );
        assert_eq!(show("Undisclosed recipients:;"), ["{Undisclosed recipients", "}"]);
        assert_eq!(show("g: a@b"), ["{g", "||a@b", "}"]);
    }

    #[test]
    fn folds_are_white_space() {
        assert_eq!(show("Joe\r\n Public <joe@x>,\n\tann@y"), ["Joe Public||joe@x", "||ann@y"]);
    }

    #[test]
    fn broken_lists_still_give_addresses() {
        assert_eq!(show("<joe@x.org"), ["||joe@x.org"]);
        assert_eq!(show("Joe <joe@x.org, ann@y.org"), ["Joe||joe@x.org", "||ann@y.org"]);
        assert_eq!(show("(open"), Vec::<String>::new());
        assert_eq!(show("\"open"), ["||open@"]);
        assert_eq!(show("@x.org"), ["||@x.org"]);
        assert_eq!(show(">)<a@b>"), ["||a@b"]);
    }

    #[test]
    fn floods_are_cut() {
        let many = "a@b,".repeat(100_000);
        assert_eq!(parse(many.as_bytes()).len(), limits::HEADER_ADDRESSES.size());
        let group = "g:".to_string() + &many;
        assert_eq!(parse(group.as_bytes()).last(), Some(&Entry::GroupEnd));
        parse("(".repeat(1_000_000).as_bytes());
        parse("<".repeat(1_000_000).as_bytes());
        parse("\"\\".repeat(500_000).as_bytes());
        parse(":".repeat(1_000_000).as_bytes());
    }

    #[test]
    fn any_bytes_give_an_answer() {
        let mut seed = 9u32;
        for _ in 0..30_000 {
            let bytes: Vec<u8> = (0..14)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    b"ab@.<>()\",;:\\[] \r\n\xe4"[(seed >> 24) as usize % 19]
                })
                .collect();
            let mut last = 0;
            for m in mailboxes(&bytes) {
                assert!(last <= m.spec.start && m.spec.start <= m.spec.end, "{bytes:?}");
                assert!(m.spec.end <= bytes.len());
                last = m.spec.end;
            }
        }
    }
}
