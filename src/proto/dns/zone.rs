//! A small zone in a text file: names and records, one to a line.
//!
//!     ; a comment
//!     example.org.       300 IN  TXT  "v=spf1 mx -all"
//!     example.org            MX   10 mx.example.org
//!     mx.example.org         A    192.0.2.1
//!     s._domainkey.example.org IN TXT ( "v=DKIM1; k=rsa; "
//!                                       "p=MIIB..." )
//!     slow.example.org       FAIL
//!
//! For trying things without a name server: `rmailctl auth check --zone`, tests.
//! All names are absolute, with a final dot or without; TTL and class may be
//! left out.  `FAIL` is ours: every question about the name fails, as with
//! SERVFAIL.  It is the notation of RFC 1035 5.1 without `$` and `@`, and every
//! record has its name.

use std::collections::HashMap;

use super::name::unescape;
use super::{Answer, Data, Failure, Name, Query, Status, Type};
use crate::proto::cursor::Cursor;

/// CNAMEs followed.
const CNAME_CHAIN: usize = 8;
/// The TTL where none is written.
const TTL: u32 = 300;

/// Records by name.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    names: HashMap<Name, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    fails: bool,
    records: Vec<(u32, Data)>,
}

/// A line that cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZoneError {
    /// Its number, from 1; of a record in brackets, the line where it begins.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Zone {
    /// Reads a file.
    pub fn parse(text: &[u8]) -> Result<Zone, ZoneError> {
        let mut zone = Zone::default();
        let mut lines = Lines { c: Cursor::new(text), line: 1 };
        loop {
            let begun = lines.line;
            let words = lines.next_record().map_err(|what| ZoneError { line: lines.line, what })?;
            match words {
                None => return Ok(zone),
                Some(words) if words.is_empty() => {}
                Some(words) => {
                    zone.add(&words).map_err(|what| ZoneError { line: begun, what })?;
                }
            }
        }
    }

    fn add(&mut self, words: &[Vec<u8>]) -> Result<(), &'static str> {
        let (owner, mut rest) = words.split_first().ok_or("no name")?;
        if owner == b"@" || owner.starts_with(b"$") {
            return Err("$ORIGIN, $TTL and @ are not known here: write names in full");
        }
        let name = Name::parse(owner).map_err(|_| "not a name")?;
        let mut ttl = TTL;
        // TTL and class in either order.
        for _ in 0..2 {
            let Some((word, after)) = rest.split_first() else { break };
            match number(word) {
                Some(n) => ttl = n,
                None if word.eq_ignore_ascii_case(b"IN") => {}
                None => break,
            }
            rest = after;
        }
        let (kind, rest) = rest.split_first().ok_or("no type")?;
        // Names above exist, as empty ones.
        let mut above = name.parent();
        while let Some(parent) = above {
            above = parent.parent();
            self.names.entry(parent).or_default();
        }
        let node = self.names.entry(name).or_default();
        if kind.eq_ignore_ascii_case(b"FAIL") {
            node.fails = true;
        } else {
            node.records.push((ttl, data(kind, rest)?));
        }
        Ok(())
    }

    /// The answer to a question.
    pub fn answer(&self, query: &Query) -> Answer {
        let mut name = query.name.clone();
        for _ in 0..=CNAME_CHAIN {
            let Some(node) = self.names.get(&name) else {
                return Answer {
                    canonical: name,
                    ..Answer::negative(&query.name, Status::NxDomain, TTL)
                };
            };
            if node.fails {
                return Answer::failed(&query.name, Failure::ServFail);
            }
            let alias = node.records.iter().find_map(|(_, d)| match d {
                Data::Cname(target) if query.rtype != Type::CNAME => Some(target.clone()),
                _ => None,
            });
            if let Some(target) = alias {
                name = target;
                continue;
            }
            let found: Vec<&(u32, Data)> =
                node.records.iter().filter(|(_, d)| d.rtype() == query.rtype).collect();
            let ttl = found.iter().map(|(ttl, _)| *ttl).min().unwrap_or(TTL);
            let records = found.into_iter().map(|(_, d)| d.clone()).collect();
            return Answer { canonical: name, ..Answer::found(&query.name, ttl, records) };
        }
        Answer::failed(&query.name, Failure::Malformed)
    }
}

/// The text, record by record.
struct Lines<'a> {
    c: Cursor<'a>,
    /// The line that the cursor is in, from 1.
    line: usize,
}

impl Lines<'_> {
    /// The words of the next line, quoted ones without their quotes, escapes as
    /// they stand; brackets join lines.  `None` at the end.
    fn next_record(&mut self) -> Result<Option<Vec<Vec<u8>>>, &'static str> {
        let mut words = Vec::new();
        let mut open = false;
        if self.c.at_end() {
            return Ok(None);
        }
        loop {
            match self.c.peek() {
                None if open => return Err("a bracket is not closed"),
                None => return Ok(Some(words)),
                Some(b'\n') => {
                    self.c.next_byte();
                    self.line = self.line.saturating_add(1);
                    if !open {
                        return Ok(Some(words));
                    }
                }
                Some(b';') => {
                    self.c.take_while(|b| b != b'\n');
                }
                Some(b @ (b'(' | b')')) => {
                    if open == (b == b'(') {
                        return Err("brackets do not pair");
                    }
                    self.c.next_byte();
                    open = b == b'(';
                }
                Some(b'"') => words.push(self.quoted()?),
                Some(b) if b.is_ascii_whitespace() => {
                    self.c.next_byte();
                }
                Some(_) => words.push(self.plain()?),
            }
        }
    }

    /// Up to white space, a comment or a bracket that is not escaped.
    fn plain(&mut self) -> Result<Vec<u8>, &'static str> {
        let start = self.c.pos();
        let ends = |b: u8| b.is_ascii_whitespace() || matches!(b, b';' | b'(' | b')');
        while let Some(b) = self.c.peek().filter(|b| !ends(*b)) {
            self.c.next_byte();
            if b == b'\\' {
                self.c.next_byte().filter(|b| *b != b'\n').ok_or(ESCAPE)?;
            }
        }
        Ok(self.c.since(start).to_vec())
    }

    fn quoted(&mut self) -> Result<Vec<u8>, &'static str> {
        const OPEN: &str = "a quote is not closed";
        self.c.next_byte();
        let start = self.c.pos();
        loop {
            let word = self.c.since(start);
            match self.c.next_byte().filter(|b| *b != b'\n').ok_or(OPEN)? {
                b'"' => return Ok(word.to_vec()),
                b'\\' => self.c.next_byte().filter(|b| *b != b'\n').ok_or(OPEN)?,
                b => b,
            };
        }
    }
}

const ESCAPE: &str = "a backslash without what it stands for";

/// The octets of a character-string: `\X` is X, `\DDD` a number.
fn string(word: &[u8]) -> Result<Vec<u8>, &'static str> {
    let mut out = Vec::with_capacity(word.len());
    let mut bytes = word.iter().copied();
    while let Some(b) = bytes.next() {
        out.push(if b == b'\\' { unescape(&mut bytes).ok_or(ESCAPE)? } else { b });
    }
    Ok(out)
}

fn number(word: &[u8]) -> Option<u32> {
    let mut c = Cursor::new(word);
    let n = c.number().filter(|_| c.at_end())?;
    u32::try_from(n).ok()
}

fn data(kind: &[u8], words: &[Vec<u8>]) -> Result<Data, &'static str> {
    let word = |i: usize| words.get(i).map(Vec::as_slice).ok_or("the record is too short");
    let text = |i: usize| std::str::from_utf8(word(i)?).map_err(|_| "not text");
    let name = |i: usize| Name::parse(word(i)?).map_err(|_| "not a name");
    let small = |i: usize| -> Result<u16, &'static str> {
        number(word(i)?).and_then(|n| u16::try_from(n).ok()).ok_or("not a number")
    };
    Ok(match kind.to_ascii_uppercase().as_slice() {
        b"A" => Data::A(text(0)?.parse().map_err(|_| "not an IPv4 address")?),
        b"AAAA" => Data::Aaaa(text(0)?.parse().map_err(|_| "not an IPv6 address")?),
        b"NS" => Data::Ns(name(0)?),
        b"CNAME" => Data::Cname(name(0)?),
        b"PTR" => Data::Ptr(name(0)?),
        b"MX" => Data::Mx(small(0)?, name(1)?),
        b"TXT" => {
            word(0)?;
            let strings = words.iter().map(|w| string(w)).collect::<Result<Vec<_>, _>>()?;
            if strings.iter().any(|s| s.len() > 255) {
                // What people paste is longer than a string may be.
                Data::txt(&strings.concat())
            } else {
                Data::Txt(strings)
            }
        }
        b"SRV" => {
            Data::Srv { priority: small(0)?, weight: small(1)?, port: small(2)?, target: name(3)? }
        }
        _ => return Err("the type is not one of A AAAA NS CNAME PTR MX TXT SRV FAIL"),
    })
}

/// Fuzz target: a zone file.
pub fn fuzz_zone(bytes: &[u8]) {
    if let Err(e) = Zone::parse(bytes) {
        let lines = bytes.iter().filter(|b| **b == b'\n').count();
        assert!(e.line <= lines.saturating_add(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(zone: &Zone, name: &str, rtype: Type) -> Answer {
        zone.answer(&Query::new(Name::parse(name.as_bytes()).unwrap(), rtype))
    }

    #[test]
    fn a_zone_answers() {
        let zone = Zone::parse(
            b"; zone\n\nexample.org. 60 IN TXT \"v=spf1 \" \"-all\" ; text\nexample.org MX 10 mx.example.org\n\
              a.b.example.org A 192.0.2.1\nwww.example.org CNAME a.b.example.org.\nbad.example.org FAIL\n\
              loop.example.org CNAME loop.example.org\n",
        )
        .unwrap();
        let txt = ask(&zone, "EXAMPLE.org", Type::TXT);
        assert_eq!((txt.texts().next().unwrap(), txt.ttl), (b"v=spf1 -all".to_vec(), 60));
        assert_eq!(ask(&zone, "www.example.org", Type::A).records.len(), 1);
        assert_eq!(ask(&zone, "b.example.org", Type::A).status, Status::NoData);
        assert_eq!(ask(&zone, "x.example.org", Type::A).status, Status::NxDomain);
        assert!(ask(&zone, "bad.example.org", Type::A).failure().is_some());
        assert!(ask(&zone, "loop.example.org", Type::A).failure().is_some());
    }

    /// As administrators have them: what a key generator prints, and TTL and class
    /// in either order.  RFC 1035 5.1.
    #[test]
    fn brackets_join_lines() {
        let zone = Zone::parse(
            b"s._domainkey.example.org. IN 60 TXT ( \"v=DKIM1; k=rsa; \" ; the key\n\t\"p=AAAA\" )\r\n\
              example.org 60 IN A 192.0.2.1",
        )
        .unwrap();
        let txt = ask(&zone, "s._domainkey.example.org", Type::TXT);
        assert_eq!(
            (txt.texts().next().unwrap(), txt.ttl),
            (b"v=DKIM1; k=rsa; p=AAAA".to_vec(), 60)
        );
        assert_eq!(ask(&zone, "example.org", Type::A).ttl, 60);
    }

    /// RFC 1035 5.1.
    #[test]
    fn escapes_are_read_in_quotes_and_without() {
        let zone = Zone::parse(
            br#"a TXT "v=\068KIM1\; \"q\"\\" b\;c\ d\032e\(
a\.b TXT \"x"#,
        )
        .unwrap();
        let strings = |name: &str| match &ask(&zone, name, Type::TXT).records[0] {
            Data::Txt(strings) => strings.clone(),
            other => panic!("{other:?}"),
        };
        assert_eq!(strings("a"), [&b"v=DKIM1; \"q\"\\"[..], b"b;c d e("]);
        assert_eq!(strings("a\\.b"), [b"\"x"]);
        for broken in
            ["a TXT \"\\06\"", "a TXT \"\\256\"", "a TXT \\25x", "a TXT x\\", "a TXT x\\\n"]
        {
            assert_eq!(Zone::parse(broken.as_bytes()).unwrap_err().what, ESCAPE, "{broken}");
        }
    }

    #[test]
    fn errors_name_their_line() {
        let error = |t: &[u8]| Zone::parse(t).unwrap_err();
        assert_eq!(
            error(b"a A 192.0.2.1\nb A 192.0.2"),
            ZoneError { line: 2, what: "not an IPv4 address" }
        );
        assert_eq!(error(b"a TXT \"x").what, "a quote is not closed");
        assert_eq!(error(b"a").what, "no type");
        assert_eq!(error(b"\n\n@ A 192.0.2.1").line, 3);
        assert!(error(b"$ORIGIN example.org.").what.contains("in full"));
        assert_eq!(error(b"a TXT ( \"x\"\n\"y\"").what, "a bracket is not closed");
        assert_eq!(error(b"a TXT \"x\" )").what, "brackets do not pair");
        let broken = error(b"ok A 192.0.2.1\na A (\n192.0.2\n)\n");
        assert_eq!(broken, ZoneError { line: 2, what: "not an IPv4 address" });
        assert_eq!(error(b"a MX 10").what, "the record is too short");
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in [
            "a A 192.0.2.1\n",
            "(",
            ")",
            "\"",
            ";",
            " ",
            "\n",
            "a",
            "a.",
            "a TXT x \"y z\"\n",
            "\\",
        ] {
            crate::proto::testing::assert_linear(|n| {
                let _ = std::hint::black_box(Zone::parse(unit.repeat(n / unit.len()).as_bytes()));
            });
        }
        // Names without number, each with all those above it.
        crate::proto::testing::assert_linear(|n| {
            let lines = (0..n / 30).map(|i| format!("h{i}.a.b.c.example A 192.0.2.1\n"));
            let zone = Zone::parse(lines.collect::<String>().as_bytes()).unwrap();
            std::hint::black_box(zone);
        });
    }
}
