//! A small zone in a text file: names and records, one to a line.
//!
//!     ; a comment
//!     example.org.       300 IN  TXT  "v=spf1 mx -all"
//!     example.org            MX   10 mx.example.org
//!     mx.example.org         A    192.0.2.1
//!     slow.example.org       FAIL
//!
//! For trying things without a name server: `rmailctl auth check --zone`, tests.
//! All names are absolute, with a final dot or without; TTL and class may be
//! left out.  `FAIL` is ours: every question about the name fails, as with
//! SERVFAIL.  It is the notation of RFC 1035 5.1 without `$`, `@` and brackets.

use std::collections::HashMap;

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
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub what: &'static str,
}

impl Zone {
    /// Reads a file.
    pub fn parse(text: &[u8]) -> Result<Zone, ZoneError> {
        let mut zone = Zone::default();
        for (line, text) in (1_usize..).zip(text.split(|b| *b == b'\n')) {
            let words = words(text).map_err(|what| ZoneError { line, what })?;
            if !words.is_empty() {
                zone.add(&words).map_err(|what| ZoneError { line, what })?;
            }
        }
        Ok(zone)
    }

    fn add(&mut self, words: &[Vec<u8>]) -> Result<(), &'static str> {
        let (owner, mut rest) = words.split_first().ok_or("no name")?;
        let name = Name::parse(owner).map_err(|_| "not a name")?;
        let mut ttl = TTL;
        if let Some((word, after)) = rest.split_first() {
            if let Some(n) = number(word) {
                ttl = n;
                rest = after;
            }
        }
        if let Some((word, after)) = rest.split_first() {
            if word.eq_ignore_ascii_case(b"IN") {
                rest = after;
            }
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

/// The words of a line; quoted ones without their quotes.
fn words(line: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let mut words = Vec::new();
    let mut c = Cursor::new(line);
    loop {
        c.take_while(|b| b.is_ascii_whitespace());
        match c.peek() {
            None | Some(b';') => return Ok(words),
            Some(b'"') => {
                c.next_byte();
                let mut word = Vec::new();
                loop {
                    match c.next_byte().ok_or("a quote is not closed")? {
                        b'"' => break,
                        b'\\' => word.push(c.next_byte().ok_or("a quote is not closed")?),
                        b => word.push(b),
                    }
                }
                words.push(word);
            }
            Some(_) => {
                let word = c.take_while(|b| !b.is_ascii_whitespace() && b != b';');
                words.push(word.to_vec());
            }
        }
    }
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
            if words.iter().any(|w| w.len() > 255) {
                // What people paste is longer than a string may be.
                Data::txt(&words.concat())
            } else {
                Data::Txt(words.to_vec())
            }
        }
        b"SRV" => {
            Data::Srv { priority: small(0)?, weight: small(1)?, port: small(2)?, target: name(3)? }
        }
        _ => return Err("the type is not one of A AAAA NS CNAME PTR MX TXT SRV FAIL"),
    })
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

    #[test]
    fn errors_name_their_line() {
        let error = |t: &[u8]| Zone::parse(t).unwrap_err();
        assert_eq!(
            error(b"a A 192.0.2.1\nb A 192.0.2"),
            ZoneError { line: 2, what: "not an IPv4 address" }
        );
        assert_eq!(error(b"a TXT \"x").what, "a quote is not closed");
        assert_eq!(error(b"a").what, "no type");
        assert_eq!(error(b"a MX 10").what, "the record is too short");
    }
}
