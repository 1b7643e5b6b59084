//! Policy records.  RFC 9989 4.7, 4.8.
//!
//! A record is one that begins with `v=DMARC1`; what follows is read
//! generously: a tag that is not understood, or whose value is none, is as if
//! it were not there.

use crate::proto::addr::Mailbox;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// What a domain asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Request {
    /// `none`
    None,
    /// `quarantine`
    Quarantine,
    /// `reject`
    Reject,
}

impl Request {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Request::None => "none",
            Request::Quarantine => "quarantine",
            Request::Reject => "reject",
        }
    }

    /// One step less, for `t=y`.
    pub const fn lowered(self) -> Request {
        match self {
            Request::Reject => Request::Quarantine,
            _ => Request::None,
        }
    }

    fn parse(word: &[u8]) -> Option<Request> {
        match word.to_ascii_lowercase().as_slice() {
            b"none" => Some(Request::None),
            b"quarantine" => Some(Request::Quarantine),
            b"reject" => Some(Request::Reject),
            _ => None,
        }
    }
}

/// `adkim`, `aspf`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Alignment {
    /// `r`: the same Organizational Domain.
    #[default]
    Relaxed,
    /// `s`: the same name.
    Strict,
}

impl Alignment {
    /// The letter.
    pub const fn word(self) -> &'static str {
        match self {
            Alignment::Relaxed => "r",
            Alignment::Strict => "s",
        }
    }
}

/// `psd`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Psd {
    /// `y`: names are registered below this one.
    Yes,
    /// `n`: this is an Organizational Domain.
    No,
    /// `u`: found by the walk.
    #[default]
    Unknown,
}

/// A policy record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// `p`
    pub p: Option<Request>,
    /// `sp`
    pub sp: Option<Request>,
    /// `np`
    pub np: Option<Request>,
    /// `psd`
    pub psd: Psd,
    /// `t=y`; also the old `pct=0`, which meant the same.
    pub testing: bool,
    /// `adkim`
    pub adkim: Alignment,
    /// `aspf`
    pub aspf: Alignment,
    /// `sp` or `np` is there with a value that is none.  RFC 9989 4.10.1.
    pub bad_policy: bool,
    /// The addresses of `rua` that can be used, without the old size limits.
    pub rua: Vec<Mailbox>,
    /// `rua` has another URI that is well formed.
    pub other_rua: bool,
    /// `fo`
    pub fo: Option<Vec<u8>>,
}

/// True if a TXT record is for DMARC: `v` comes first, with nothing before it,
/// and is DMARC1.  RFC 9989 4.8.
pub fn is_dmarc1(text: &[u8]) -> bool {
    let mut c = Cursor::new(text);
    let blank = |b: u8| matches!(b, b' ' | b'\t');
    if !c.eat_word(b"v") {
        return false;
    }
    c.take_while(blank);
    if !c.eat(b'=') {
        return false;
    }
    c.take_while(blank);
    let version = c.eat_exact(b"DMARC1");
    c.take_while(blank);
    version && (c.at_end() || c.peek() == Some(b';'))
}

/// Reads a record; `None` if it is not for DMARC.
pub fn parse(text: &[u8]) -> Option<Record> {
    if !is_dmarc1(text) {
        return None;
    }
    let mut record = Record::default();
    let mut seen: Vec<Vec<u8>> = Vec::new();
    let mut t_given = false;
    let mut pct_zero = false;
    for spec in text.split(|b| *b == b';').take(limits::TAGS.size()) {
        let Some(equals) = memchr::memchr(b'=', spec) else { continue };
        let (name, value) = spec.split_at_checked(equals).unwrap_or_default();
        let name = name.trim_ascii().to_ascii_lowercase();
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        // Of two, the first counts.
        if seen.contains(&name) {
            continue;
        }
        match name.as_slice() {
            b"p" => record.p = Request::parse(value),
            b"sp" => {
                record.sp = Request::parse(value);
                record.bad_policy |= record.sp.is_none();
            }
            b"np" => {
                record.np = Request::parse(value);
                record.bad_policy |= record.np.is_none();
            }
            b"psd" => {
                record.psd = match value {
                    b"y" | b"Y" => Psd::Yes,
                    b"n" | b"N" => Psd::No,
                    _ => Psd::Unknown,
                }
            }
            b"t" => {
                t_given = true;
                record.testing = value.eq_ignore_ascii_case(b"y");
            }
            b"pct" => pct_zero = value == b"0",
            b"adkim" => record.adkim = parse_alignment(value),
            b"aspf" => record.aspf = parse_alignment(value),
            b"rua" => parse_rua(value, &mut record),
            b"fo" => record.fo = Some(value.to_vec()),
            _ => {}
        }
        seen.push(name);
    }
    record.testing |= !t_given && pct_zero;
    Some(record)
}

fn parse_alignment(value: &[u8]) -> Alignment {
    if value.eq_ignore_ascii_case(b"s") {
        Alignment::Strict
    } else {
        Alignment::Relaxed
    }
}

impl Record {
    /// `rua` has a URI that is well formed, whether it can be used or not.
    pub fn wants_reports(&self) -> bool {
        self.other_rua || !self.rua.is_empty()
    }
}

/// `mailto:` addresses between commas; the old `!10m` at the end is dropped
/// (obs-dmarc-report-size, RFC 9989 4.8).  Other schemes are not used.
fn parse_rua(value: &[u8], record: &mut Record) {
    for uri in value.split(|b| *b == b',').map(<[u8]>::trim_ascii) {
        let unlimited = uri.split(|b| *b == b'!').next().unwrap_or_default();
        match Mailbox::from_mailto(unlimited) {
            Some(address) if record.rua.len() < limits::REPORT_ADDRESSES.size() => {
                record.rua.push(address);
            }
            Some(_) => {}
            None => record.other_rua |= is_uri(uri),
        }
    }
}

/// URI = scheme ":" hier-part, as far as it can be told without its scheme's
/// rules; of `mailto` it is known that it names an address.  RFC 3986 3.
fn is_uri(uri: &[u8]) -> bool {
    let mut c = Cursor::new(uri.trim_ascii());
    let Some(scheme) =
        c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))
    else {
        return false;
    };
    let named = scheme.first().is_some_and(u8::is_ascii_alphabetic) && c.eat(b':');
    let rest = c.rest();
    let address = !scheme.eq_ignore_ascii_case(b"mailto") || rest.contains(&b'@');
    named && address && !rest.is_empty() && rest.iter().all(|b| (0x21..0x7f).contains(b))
}
