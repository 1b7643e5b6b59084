//! Macro strings.  RFC 7208 7.
//!
//! A string is read into pieces once, with its record; expanding it cannot
//! fail but for what RFC 8616 takes away from local parts that are not ASCII.
//! The places where C libraries broke (CVE-2021-20314, CVE-2023-42118) are
//! counts and lengths; here a transformer's number saturates, an expansion has
//! a cap, and a buffer grows.

use std::net::IpAddr;

use crate::proto::chars;
use crate::proto::cursor::Cursor;

/// A domain name may have this many octets as text.  RFC 7208 7.3.
pub const DOMAIN_OCTETS: usize = 253;
/// An explanation may have this many octets when expanded.
pub const EXPLANATION_OCTETS: usize = 512;

/// What a macro letter stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Letter {
    /// `s`: the sender.
    Sender,
    /// `l`: its local part.
    Local,
    /// `o`: its domain.
    SenderDomain,
    /// `d`: the domain being evaluated.
    Domain,
    /// `i`: the address, in dots.
    Ip,
    /// `p`: the validated name of the address.
    Validated,
    /// `v`: `in-addr` or `ip6`.
    Family,
    /// `h`: the HELO name.
    Helo,
    /// `c`: the address, readable.  Explanations only.
    ReadableIp,
    /// `r`: the name of the receiving host.  Explanations only.
    Receiver,
    /// `t`: the time.  Explanations only.
    Time,
}

/// A macro-expand: a letter and what is done to its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Macro {
    /// What it stands for.
    pub letter: Letter,
    /// Written in upper case: URL escapes.  7.3.
    pub escape: bool,
    /// How many labels are kept on the right; all without a number.
    pub keep: Option<u64>,
    /// Labels are reversed.
    pub reverse: bool,
    /// What separates labels; a dot if nothing is given.
    pub delimiters: Vec<u8>,
}

/// A piece of a macro-string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Taken as it is.
    Literal(Vec<u8>),
    /// What `%%`, `%_` and `%-` stand for.
    Escape(&'static [u8]),
    /// Expanded.
    Macro(Macro),
}

/// A macro-string, read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MacroString {
    pieces: Vec<Piece>,
}

/// The values that letters stand for.
pub struct Values<'a> {
    /// The client's address.
    pub ip: IpAddr,
    /// `l`
    pub local: &'a [u8],
    /// `o`
    pub sender_domain: &'a [u8],
    /// `d`
    pub domain: &'a [u8],
    /// `p`, which the caller looked up if [`MacroString::needs_validated`].
    pub validated: &'a [u8],
    /// `h`
    pub helo: &'a [u8],
    /// `r`
    pub receiver: &'a [u8],
    /// `t`
    pub now: u64,
}

/// A local part that is not ASCII: the term never matches.  RFC 8616 4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NeverMatches;

impl MacroString {
    /// macro-string = *( macro-expand / macro-literal ), without `c`, `r`, `t`.
    pub fn parse(text: &[u8]) -> Option<MacroString> {
        parse(text, false)
    }

    /// explain-string = *( macro-string / SP ), with `c`, `r`, `t`.
    pub fn parse_explanation(text: &[u8]) -> Option<MacroString> {
        parse(text, true)
    }

    /// domain-spec = macro-string domain-end
    /// domain-end = ( "." toplabel [ "." ] ) / macro-expand
    /// macro-expand = ( "%{" macro-letter transformers *delimiter "}" )
    ///                / "%%" / "%_" / "%-"
    pub fn parse_domain_spec(text: &[u8]) -> Option<MacroString> {
        let spec = parse(text, false)?;
        match spec.pieces.last()? {
            Piece::Macro(_) | Piece::Escape(_) => Some(spec),
            Piece::Literal(tail) => ends_in_toplabel(tail).then_some(spec),
        }
    }

    /// True if `%{p}` occurs, for which the DNS must be asked.
    pub fn needs_validated(&self) -> bool {
        self.pieces.iter().any(|p| matches!(p, Piece::Macro(m) if m.letter == Letter::Validated))
    }

    /// Expands; the result has at most `cap` octets.
    pub fn expand(&self, values: &Values<'_>, cap: usize) -> Result<Vec<u8>, NeverMatches> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Escape(text) => out.extend_from_slice(text),
                Piece::Macro(m) => m.expand(values, &mut out)?,
            }
            if out.len() > cap.saturating_mul(4) {
                // A domain is cut on its left anyway, an explanation on its right.
                break;
            }
        }
        Ok(out)
    }

    /// Expands to a domain name of at most 253 octets: labels that are too many
    /// are left out on the left.  RFC 7208 7.3.
    pub fn expand_domain(&self, values: &Values<'_>) -> Result<Vec<u8>, NeverMatches> {
        let mut whole = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => whole.extend_from_slice(text),
                Piece::Escape(text) => whole.extend_from_slice(text),
                Piece::Macro(m) => m.expand(values, &mut whole)?,
            }
            // Only the end can count; more than this is cut in any case.
            let over = whole.len().saturating_sub(DOMAIN_OCTETS.saturating_mul(4));
            whole.drain(..over);
        }
        let mut rest = whole.strip_suffix(b".").unwrap_or(&whole);
        while rest.len() > DOMAIN_OCTETS {
            let dot = memchr::memchr(b'.', rest).unwrap_or(rest.len());
            rest = rest.get(dot.saturating_add(1)..).unwrap_or_default();
        }
        Ok(rest.to_vec())
    }
}

/// toplabel = ( *alphanum ALPHA *alphanum ) /
///            ( 1*alphanum "-" *( alphanum / "-" ) alphanum )
fn ends_in_toplabel(text: &[u8]) -> bool {
    let text = text.strip_suffix(b".").unwrap_or(text);
    let Some(dot) = memchr::memrchr(b'.', text) else { return false };
    let label = text.get(dot.saturating_add(1)..).unwrap_or_default();
    let edge = |b: Option<&u8>| b.is_some_and(u8::is_ascii_alphanumeric);
    edge(label.first())
        && edge(label.last())
        && label.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'-')
        && !label.iter().all(u8::is_ascii_digit)
}

fn parse(text: &[u8], explanation: bool) -> Option<MacroString> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut c = Cursor::new(text);
    while let Some(b) = c.next_byte() {
        if b != b'%' {
            // macro-literal = %x21-24 / %x26-7E; an explanation may have spaces.
            let literal_byte = chars::is_vchar(b) || (explanation && b == b' ');
            if !literal_byte {
                return None;
            }
            literal.push(b);
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(std::mem::take(&mut literal)));
        }
        pieces.push(match c.next_byte()? {
            b'%' => Piece::Escape(b"%"),
            b'_' => Piece::Escape(b" "),
            b'-' => Piece::Escape(b"%20"),
            b'{' => Piece::Macro(parse_macro(&mut c, explanation)?),
            _ => return None,
        });
    }
    if !literal.is_empty() {
        pieces.push(Piece::Literal(literal));
    }
    Some(MacroString { pieces })
}

/// What stands between `%{` and `}`.
fn parse_macro(c: &mut Cursor<'_>, explanation: bool) -> Option<Macro> {
    let b = c.next_byte()?;
    let letter = match b.to_ascii_lowercase() {
        b's' => Letter::Sender,
        b'l' => Letter::Local,
        b'o' => Letter::SenderDomain,
        b'd' => Letter::Domain,
        b'i' => Letter::Ip,
        b'p' => Letter::Validated,
        b'v' => Letter::Family,
        b'h' => Letter::Helo,
        b'c' if explanation => Letter::ReadableIp,
        b'r' if explanation => Letter::Receiver,
        b't' if explanation => Letter::Time,
        _ => return None,
    };
    let digits = c.take_while(|b| b.is_ascii_digit());
    let keep = match digits {
        b"" => None,
        // More labels than any name has are all of them.
        digits => Some(Cursor::new(digits).number().unwrap_or(u64::MAX)),
    };
    if keep == Some(0) {
        return None;
    }
    let reverse = c.eat(b'r') || c.eat(b'R');
    let delimiters =
        c.take_while(|b| matches!(b, b'.' | b'-' | b'+' | b',' | b'/' | b'_' | b'=')).to_vec();
    c.eat(b'}').then_some(Macro {
        letter,
        escape: b.is_ascii_uppercase(),
        keep,
        reverse,
        delimiters,
    })
}

impl Macro {
    fn expand(&self, values: &Values<'_>, out: &mut Vec<u8>) -> Result<(), NeverMatches> {
        let value = match self.letter {
            Letter::Sender | Letter::Local if !values.local.is_ascii() => {
                return Err(NeverMatches);
            }
            Letter::Sender => [values.local, b"@", values.sender_domain].concat(),
            Letter::Local => values.local.to_vec(),
            Letter::SenderDomain => values.sender_domain.to_vec(),
            Letter::Domain => values.domain.to_vec(),
            Letter::Ip => dotted(values.ip).into_bytes(),
            Letter::Validated => values.validated.to_vec(),
            Letter::Family => family(values.ip).as_bytes().to_vec(),
            Letter::Helo => values.helo.to_vec(),
            Letter::ReadableIp => values.ip.to_string().into_bytes(),
            Letter::Receiver => values.receiver.to_vec(),
            Letter::Time => values.now.to_string().into_bytes(),
        };
        let transformed = self.transform(&value);
        if self.escape {
            for b in transformed {
                // unreserved of RFC 3986 2.3.
                if b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~') {
                    out.push(b);
                } else {
                    out.extend_from_slice(format!("%{b:02X}").as_bytes());
                }
            }
        } else {
            out.extend_from_slice(&transformed);
        }
        Ok(())
    }

    /// Splits at the delimiters, reverses, keeps labels on the right, joins
    /// with dots.
    fn transform(&self, value: &[u8]) -> Vec<u8> {
        if self.keep.is_none() && !self.reverse && self.delimiters.is_empty() {
            return value.to_vec();
        }
        let delimiters: &[u8] = if self.delimiters.is_empty() { b"." } else { &self.delimiters };
        let mut labels: Vec<&[u8]> = value.split(|b| delimiters.contains(b)).collect();
        if self.reverse {
            labels.reverse();
        }
        let keep = self.keep.and_then(|n| usize::try_from(n).ok()).unwrap_or(usize::MAX);
        let from = labels.len().saturating_sub(keep);
        labels.get(from..).unwrap_or_default().join(&b'.')
    }
}

/// The value of `v`.
pub const fn family(ip: IpAddr) -> &'static str {
    match ip {
        IpAddr::V4(_) => "in-addr",
        IpAddr::V6(_) => "ip6",
    }
}

/// The value of `i`: a dotted quad, or the nibbles of an IPv6 address with dots.
pub fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let nibbles: Vec<String> = v6
                .octets()
                .iter()
                .flat_map(|b| [b >> 4, b & 0x0f])
                .map(|n| format!("{n:X}"))
                .collect();
            nibbles.join(".")
        }
    }
}
