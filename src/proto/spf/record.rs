//! An SPF record as a list of terms.  RFC 7208 4.6, 5, 6, 12.
//!
//! The whole record is read before anything is evaluated: a syntax error at
//! its end makes a permerror even if its beginning would have matched.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::macros::MacroString;
use super::{Problem, Verdict};
use crate::proto::cursor::Cursor;

/// qualifier = "+" / "-" / "?" / "~".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Qualifier {
    /// `+`, and none.
    Pass,
    /// `-`
    Fail,
    /// `~`
    SoftFail,
    /// `?`
    Neutral,
}

impl Qualifier {
    /// The result if the mechanism matches.
    pub const fn verdict(self) -> Verdict {
        match self {
            Qualifier::Pass => Verdict::Pass,
            Qualifier::Fail => Verdict::Fail,
            Qualifier::SoftFail => Verdict::SoftFail,
            Qualifier::Neutral => Verdict::Neutral,
        }
    }
}

/// Prefix lengths for both families.  dual-cidr-length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// 0 to 32.
    pub v4: u8,
    /// 0 to 128.
    pub v6: u8,
}

/// A mechanism.  RFC 7208 5.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mechanism {
    /// `all`
    All,
    /// `include`
    Include(MacroString),
    /// `a`
    A(Option<MacroString>, Cidr),
    /// `mx`
    Mx(Option<MacroString>, Cidr),
    /// `ptr`
    Ptr(Option<MacroString>),
    /// `ip4`
    Ip4(Ipv4Addr, u8),
    /// `ip6`
    Ip6(Ipv6Addr, u8),
    /// `exists`
    Exists(MacroString),
}

/// A directive and its place in the record's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directive {
    /// The result if it matches.
    pub qualifier: Qualifier,
    /// What it matches.
    pub mechanism: Mechanism,
    /// As it is written.
    pub text: String,
}

/// A record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// The directives in order.
    pub directives: Vec<Directive>,
    /// `redirect=`
    pub redirect: Option<MacroString>,
    /// `exp=`
    pub exp: Option<MacroString>,
}

/// True if a text is an SPF record of version 1: `v=spf1` and a space or the end.
/// RFC 7208 4.5.
pub fn is_spf1(text: &[u8]) -> bool {
    let mut c = Cursor::new(text);
    c.eat_word(b"v=spf1") && (c.at_end() || c.peek() == Some(b' '))
}

/// Reads a text for which [`is_spf1`] holds.
pub fn parse(text: &[u8]) -> Result<Record, Problem> {
    if !text.iter().all(|b| (0x20..0x7f).contains(b)) {
        return Err(Problem::NotAscii);
    }
    let mut record = Record::default();
    // record = version terms *SP; terms = *( 1*SP ( directive / modifier ) )
    for term in text.split(|b| *b == b' ').skip(1).filter(|t| !t.is_empty()) {
        parse_term(term, &mut record).ok_or(Problem::Syntax)?;
    }
    Ok(record)
}

fn parse_term(term: &[u8], record: &mut Record) -> Option<()> {
    let mut c = Cursor::new(term);
    // name = ALPHA *( ALPHA / DIGIT / "-" / "_" / "." )
    let name_at = |c: &mut Cursor<'_>| -> Vec<u8> {
        if c.peek().is_some_and(|b| b.is_ascii_alphabetic()) {
            c.take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'))
                .to_ascii_lowercase()
        } else {
            Vec::new()
        }
    };
    let name = name_at(&mut c);
    if !name.is_empty() && c.eat(b'=') {
        return parse_modifier(&name, c.rest(), record);
    }
    c.seek(0);
    let qualifier = match c.peek() {
        Some(b'-') => Qualifier::Fail,
        Some(b'~') => Qualifier::SoftFail,
        Some(b'?') => Qualifier::Neutral,
        _ => Qualifier::Pass,
    };
    if matches!(c.peek(), Some(b'+' | b'-' | b'~' | b'?')) {
        c.next_byte();
    }
    let name = name_at(&mut c);
    let mechanism = parse_mechanism(&name, c.rest())?;
    let text = String::from_utf8_lossy(term).into_owned();
    record.directives.push(Directive { qualifier, mechanism, text });
    Some(())
}

/// RFC 7208 6.  An unknown modifier must follow the grammar all the same.
fn parse_modifier(name: &[u8], value: &[u8], record: &mut Record) -> Option<()> {
    let slot = match name {
        b"redirect" => &mut record.redirect,
        b"exp" => &mut record.exp,
        _ => return MacroString::parse(value).map(|_| ()),
    };
    // "redirect" and "exp" MUST appear once at most.
    if slot.is_some() {
        return None;
    }
    *slot = Some(MacroString::parse_domain_spec(value)?);
    Some(())
}

fn parse_mechanism(name: &[u8], rest: &[u8]) -> Option<Mechanism> {
    // What follows the name: nothing, ":" and an argument, or "/" and a length.
    let argument = rest.strip_prefix(b":");
    let whole = |m: Mechanism| rest.is_empty().then_some(m);
    match name {
        b"all" => whole(Mechanism::All),
        b"include" => Some(Mechanism::Include(MacroString::parse_domain_spec(argument?)?)),
        b"exists" => Some(Mechanism::Exists(MacroString::parse_domain_spec(argument?)?)),
        b"ptr" => match argument {
            Some(spec) => Some(Mechanism::Ptr(Some(MacroString::parse_domain_spec(spec)?))),
            None => whole(Mechanism::Ptr(None)),
        },
        b"a" => parse_domain_cidr(argument, rest).map(|(spec, cidr)| Mechanism::A(spec, cidr)),
        b"mx" => parse_domain_cidr(argument, rest).map(|(spec, cidr)| Mechanism::Mx(spec, cidr)),
        b"ip4" => {
            let (address, length) = split_length(argument?);
            let length = length.map_or(Some(32), |l| prefix_length(l, 32))?;
            Some(Mechanism::Ip4(std::str::from_utf8(address).ok()?.parse().ok()?, length))
        }
        b"ip6" => {
            let (address, length) = split_length(argument?);
            let length = length.map_or(Some(128), |l| prefix_length(l, 128))?;
            Some(Mechanism::Ip6(std::str::from_utf8(address).ok()?.parse().ok()?, length))
        }
        _ => None,
    }
}

/// `[ ":" domain-spec ] [ dual-cidr-length ]`.
///
/// A domain-spec may hold slashes, so the lengths are taken from the end: "/"
/// and digits, or "//" and digits, or both.
fn parse_domain_cidr(argument: Option<&[u8]>, rest: &[u8]) -> Option<(Option<MacroString>, Cidr)> {
    let text = argument.unwrap_or(rest);
    let mut cidr = Cidr { v4: 32, v6: 128 };
    let mut spec = text;
    if let (before, Some(length)) = split_length(spec) {
        if let Some(before) = before.strip_suffix(b"/") {
            cidr.v6 = prefix_length(length, 128)?;
            spec = before;
            if let (before, Some(length)) = split_length(spec) {
                cidr.v4 = prefix_length(length, 32)?;
                spec = before;
            }
        } else {
            cidr.v4 = prefix_length(length, 32)?;
            spec = before;
        }
    }
    match argument {
        Some(_) => Some((Some(MacroString::parse_domain_spec(spec)?), cidr)),
        None => spec.is_empty().then_some((None, cidr)),
    }
}

/// Cuts `/` and what follows from the end, if that is all digits.
fn split_length(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    let Some(slash) = memchr::memrchr(b'/', text) else { return (text, None) };
    let (before, after) = text.split_at_checked(slash).unwrap_or((text, &[]));
    let digits = after.get(1..).unwrap_or_default();
    if !digits.is_empty() && digits.iter().all(u8::is_ascii_digit) {
        (before, Some(digits))
    } else {
        (text, None)
    }
}

/// ip4-cidr-length = "/" ("0" / %x31-39 0*1DIGIT), and the like: no leading zeros.
fn prefix_length(digits: &[u8], most: u64) -> Option<u8> {
    if digits.len() > 1 && digits.starts_with(b"0") {
        return None;
    }
    let n = Cursor::new(digits).number().filter(|n| *n <= most)?;
    u8::try_from(n).ok()
}
