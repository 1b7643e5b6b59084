//! The text of `subscriptions`, Dovecot's list of subscribed mailboxes.
//!
//! Pure; the mail root reads and replaces the file.  Version 2 begins with
//! `V<TAB>2` and an empty line, and separates the parts of a name with a TAB;
//! version 1 is one name per line with the layout's separator.  The version
//! found is kept, a new file is version 2, and the order is that in which the
//! mailboxes were subscribed.  Lines that are not names are kept as they are.

use crate::disk::maildir::name::{Name, SEPARATOR};
use crate::proto::text::mutf7;

/// The list, as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscriptions {
    /// True for version 2.
    tabs: bool,
    lines: Vec<Vec<u8>>,
}

/// The first two lines of version 2.
const HEADER: &[u8] = b"V\t2\n\n";

impl Default for Subscriptions {
    fn default() -> Self {
        Subscriptions { tabs: true, lines: Vec::new() }
    }
}

impl Subscriptions {
    /// Reads a file; an empty one is a new one.
    pub fn parse(text: &[u8]) -> Subscriptions {
        if text.is_empty() {
            return Subscriptions::default();
        }
        let (tabs, rest) = match text.strip_prefix(HEADER) {
            Some(rest) => (true, rest),
            None => (false, text),
        };
        let lines = rest.split(|b| *b == b'\n').filter(|l| !l.is_empty()).map(<[u8]>::to_vec);
        Subscriptions { tabs, lines: lines.collect() }
    }

    /// The file's new content.
    pub fn write(&self) -> Vec<u8> {
        let mut out = if self.tabs { HEADER.to_vec() } else { Vec::new() };
        for line in &self.lines {
            out.extend_from_slice(line);
            out.push(b'\n');
        }
        out
    }

    /// The subscribed names, each once, in order; a mailbox need not exist.
    pub fn names(&self) -> Vec<Name> {
        let mut seen = std::collections::HashSet::new();
        self.lines
            .iter()
            .filter_map(|line| self.name_of(line))
            .filter(|name| seen.insert(name.clone()))
            .collect()
    }

    /// Adds a name at the end.  False: it was there.
    pub fn add(&mut self, name: &Name) -> bool {
        if self.lines.iter().any(|line| self.name_of(line).as_ref() == Some(name)) {
            return false;
        }
        let mut line = Vec::new();
        for (i, part) in name.as_str().split(SEPARATOR).enumerate() {
            if i > 0 {
                line.push(if self.tabs { b'\t' } else { b'.' });
            }
            let part = mutf7::encode(part);
            if self.tabs {
                escape(&part, &mut line);
            } else {
                line.extend_from_slice(&part);
            }
        }
        self.lines.push(line);
        true
    }

    /// Takes a name out, however often it is there.  False: it was not there.
    pub fn remove(&mut self, name: &Name) -> bool {
        let before = self.lines.len();
        let tabs = self.tabs;
        self.lines.retain(|line| name_of(line, tabs).as_ref() != Some(name));
        self.lines.len() != before
    }

    fn name_of(&self, line: &[u8]) -> Option<Name> {
        name_of(line, self.tabs)
    }
}

/// The name that a line stands for.
fn name_of(line: &[u8], tabs: bool) -> Option<Name> {
    let parts: Vec<String> = if tabs {
        line.split(|b| *b == b'\t').map(|p| part_of(&unescape(p))).collect::<Option<_>>()?
    } else {
        line.split(|b| *b == b'.').map(part_of).collect::<Option<_>>()?
    };
    Name::new(&parts.join(".")).ok()
}

/// A part in modified UTF-7, or in UTF-8 in a store that has it so.
fn part_of(part: &[u8]) -> Option<String> {
    if part.is_ascii() {
        mutf7::decode(part)
    } else {
        std::str::from_utf8(part).ok().map(str::to_string)
    }
}

/// Dovecot's tab escaping: what each byte becomes after a `\001`.
const ESCAPES: [(u8, u8); 5] = [(0, b'0'), (1, b'1'), (b'\t', b't'), (b'\n', b'n'), (b'\r', b'r')];

fn escape(text: &[u8], out: &mut Vec<u8>) {
    for b in text {
        match ESCAPES.iter().find(|(raw, _)| raw == b) {
            Some((_, letter)) => out.extend_from_slice(&[1, *letter]),
            None => out.push(*b),
        }
    }
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        if *b != 1 {
            out.push(*b);
            continue;
        }
        if let Some(next) = bytes.next() {
            let raw = ESCAPES.iter().find(|(_, letter)| letter == next).map(|(raw, _)| *raw);
            out.push(raw.unwrap_or(*next));
        }
    }
    out
}

/// Fuzz target: a whole file; names survive being written.
pub fn fuzz_subscriptions(bytes: &[u8]) {
    let list = Subscriptions::parse(bytes);
    assert_eq!(Subscriptions::parse(&list.write()).names(), list.names());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::new(text).unwrap()
    }

    #[test]
    fn version_2_keeps_order_and_lines_that_are_no_names() {
        let text = b"V\t2\n\nSent\nArbeit\t&AOQA9gD8-\ninbox\nbad&name\n";
        let mut subs = Subscriptions::parse(text);
        assert_eq!(subs.names(), [name("Sent"), name("Arbeit.äöü"), name("INBOX")]);
        assert!(subs.add(&name("a.b")) && !subs.add(&name("Sent")) && !subs.add(&name("Inbox")));
        assert!(subs.remove(&name("Sent")) && !subs.remove(&name("Sent")));
        assert_eq!(subs.write(), b"V\t2\n\nArbeit\t&AOQA9gD8-\ninbox\nbad&name\na\tb\n");
    }

    #[test]
    fn version_1_stays_version_1() {
        let mut subs = Subscriptions::parse(b"Sent\nArbeit.&AOQA9gD8-\n");
        assert_eq!(subs.names(), [name("Sent"), name("Arbeit.äöü")]);
        subs.add(&name("x.y"));
        assert_eq!(subs.write(), b"Sent\nArbeit.&AOQA9gD8-\nx.y\n");
    }

    #[test]
    fn a_new_file_is_version_2() {
        let mut subs = Subscriptions::parse(b"");
        subs.add(&name("R&D"));
        assert_eq!(subs.write(), b"V\t2\n\nR&-D\n");
    }

    #[test]
    fn tab_escaping_both_ways() {
        let raw = [0, 1, b'\t', b'\n', b'\r', b'x'];
        let mut out = Vec::new();
        escape(&raw, &mut out);
        assert_eq!(out, b"\x010\x011\x01t\x01n\x01rx");
        assert_eq!(unescape(&out), raw);
        assert_eq!(unescape(b"a\x01"), b"a");
    }
}
