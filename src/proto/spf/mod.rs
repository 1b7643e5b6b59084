//! Sender Policy Framework: may this host send for this domain?  RFC 7208.
//!
//! *Runs in* filter and in `rmailctl auth check`; records are hostile.
//! [`check`] evaluates one identity over a set of DNS answers (see
//! [`crate::proto::dns::step`]).  [`record`] reads a whole record before
//! anything of it is evaluated (4.6), [`macros`] expands, [`eval`] is
//! check_host().
//!
//! RFC 7208; RFC 7372 (status codes); RFC 8616 (internationalised mail).

pub mod eval;
pub mod macros;
pub mod record;

use std::fmt;
use std::net::IpAddr;

use crate::proto::dns::{Answers, Step};
use crate::proto::limits;
use crate::proto::text::idna;

/// Which name is checked.  RFC 7208 2.3, 2.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The name of HELO or EHLO.
    Helo,
    /// The reverse-path; `postmaster` at the HELO name if that is null.
    MailFrom,
}

/// What is known about a message's sender.
#[derive(Clone, Debug)]
pub struct Sender {
    /// The client's address; an IPv4-mapped one counts as IPv4.
    pub ip: IpAddr,
    /// The name given in HELO or EHLO, as it came.
    pub helo: Vec<u8>,
    /// The reverse-path without angle brackets; empty for the null path.
    pub mail_from: Vec<u8>,
    /// Our own host name, for the macro `r`.
    pub receiver: Vec<u8>,
    /// Seconds since 1970, for the macro `t`.
    pub now: u64,
}

/// RFC 7208 2.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// No record, or no name that could have one.
    None,
    /// The domain says nothing about the host.
    Neutral,
    /// The host may send for the domain.
    Pass,
    /// The host may not.
    Fail,
    /// The host probably may not.
    SoftFail,
    /// The DNS failed.
    TempError,
    /// The record is wrong.
    PermError,
}

impl Verdict {
    /// The word for Authentication-Results.  RFC 8601 2.7.2.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::None => "none",
            Verdict::Neutral => "neutral",
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::SoftFail => "softfail",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        }
    }

    /// The reply to a sender who is turned away for this.  RFC 7372 3.2,
    /// RFC 7208 8.6, 8.7.  `None` for what is no reason to.
    pub const fn reply(self) -> Option<(u16, &'static str)> {
        match self {
            Verdict::Fail => Some((550, "5.7.23")),
            Verdict::TempError => Some((451, "4.4.3")),
            Verdict::PermError => Some((550, "5.7.24")),
            _ => None,
        }
    }
}

/// Why there is no clean result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The name cannot have a record.  4.3.
    NoDomain,
    /// The domain does not exist.  4.3.
    NxDomain,
    /// There is no record.  4.5.
    NoRecord,
    /// There are several records.  4.5.
    ManyRecords,
    /// The record has a byte that is not printable ASCII.  4.5, 4.6.
    NotAscii,
    /// The record does not follow the grammar.  4.6.
    Syntax,
    /// More than 10 terms ask the DNS.  4.6.4.
    TooManyTerms,
    /// More lookups found nothing than [`Policy::void_lookups`].  4.6.4.
    TooManyVoid,
    /// More than 10 exchanges at one `mx`.  4.6.4.
    TooManyMx,
    /// The name of an `include` or `redirect` has no record.  5.2, 6.1.
    NoTarget,
    /// The DNS failed or took too long.  4.4.
    Dns,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Problem::NoDomain => "the name cannot have an SPF record",
            Problem::NxDomain => "the domain does not exist",
            Problem::NoRecord => "the domain has no SPF record",
            Problem::ManyRecords => "the domain has more than one SPF record",
            Problem::NotAscii => "the record has a byte that is not printable ASCII",
            Problem::Syntax => "the record has a syntax error",
            Problem::TooManyTerms => "the record needs more than 10 DNS lookups",
            Problem::TooManyVoid => "too many DNS lookups found nothing",
            Problem::TooManyMx => "a domain has more than 10 mail exchanges",
            Problem::NoTarget => "an included domain has no SPF record",
            Problem::Dns => "the DNS did not answer",
        })
    }
}

/// What a record says about its domain, whatever the result: for a classifier.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signals {
    /// `+all`: anybody may send.
    pub plus_all: bool,
    /// `ip4` networks of a passing qualifier hold more than 65,536 addresses in
    /// all, or an `ip6` one is wider than /32.
    pub wide: bool,
    /// `ptr` is used, which RFC 7208 5.5 says not to.
    pub ptr: bool,
}

/// What the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// Lookups of one check that may find nothing: more are a permerror.  4.6.4
    /// says two, and lets the receiver choose another number.
    pub void_lookups: usize,
}

impl Default for Policy {
    fn default() -> Policy {
        Policy { void_lookups: limits::SPF_VOID_LOOKUPS.size() }
    }
}

/// The result of a check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The result.
    pub verdict: Verdict,
    /// The domain that was checked, in A-labels.
    pub domain: String,
    /// The term that decided, as the record has it.
    pub matched: Option<String>,
    /// What was wrong, for none, temperror and permerror.
    pub problem: Option<Problem>,
    /// For fail: what the domain's owner has to say.  Printable ASCII; it comes
    /// from outside and says so to whom it is shown.  RFC 7208 6.2, 11.5.
    pub explanation: Option<String>,
    /// What the records are like.
    pub signals: Signals,
}

/// Evaluates one identity.
pub fn check(
    identity: Identity,
    sender: &Sender,
    policy: Policy,
    answers: &Answers,
) -> Step<Outcome> {
    let (local, domain) = match identity {
        Identity::Helo => (&b"postmaster"[..], sender.helo.as_slice()),
        Identity::MailFrom if sender.mail_from.is_empty() => {
            (&b"postmaster"[..], sender.helo.as_slice())
        }
        Identity::MailFrom => {
            let at = memchr::memrchr(b'@', &sender.mail_from);
            let (local, domain) = match at {
                Some(at) => sender.mail_from.split_at_checked(at).unwrap_or_default(),
                None => (&[][..], sender.mail_from.as_slice()),
            };
            let domain = domain.strip_prefix(b"@").unwrap_or(domain);
            // 4.3: an empty local part is read as "postmaster".
            (if local.is_empty() { b"postmaster" } else { local }, domain)
        }
    };
    // The root's dot is no part of a name that macros take apart.
    let domain = domain.strip_suffix(b".").unwrap_or(domain);
    // A record may repeat a macro as often as it has room: what the sender wrote
    // must not be multiplied.  No path and no name is as long (RFC 5321 4.5.3.1).
    let domain = if local.len() > limits::SMTP_LOCAL_PART.size() {
        Vec::new()
    } else {
        idna::to_ascii(domain).unwrap_or_default()
    };
    eval::check_host(local, &domain, sender, policy, answers).into()
}

/// Fuzz target: a record and the rest of an evaluation with it.
pub fn fuzz_record(bytes: &[u8]) {
    use crate::proto::dns::{Answer, Data, Name, Type};
    let sender = Sender {
        ip: IpAddr::from([192, 0, 2, 1]),
        helo: b"mail.example.org".to_vec(),
        mail_from: b"\"a b\"@example.org".to_vec(),
        receiver: b"mx.example.net".to_vec(),
        now: 0,
    };
    let mut lookups = 0_usize;
    let ask = |query: &crate::proto::dns::Query| {
        lookups = lookups.saturating_add(1);
        assert!(lookups < 200, "lookups are bounded");
        let records = match query.rtype {
            Type::TXT => vec![Data::Txt(vec![bytes.to_vec()])],
            Type::MX => vec![Data::Mx(1, query.name.clone())],
            Type::PTR => vec![Data::Ptr(Name::parse(b"a.example.org").unwrap_or_default())],
            Type::A => vec![Data::A([192, 0, 2, 7].into())],
            _ => Vec::new(),
        };
        Answer::found(&query.name, 60, records)
    };
    let policy = Policy::default();
    let outcome =
        Answers::new().run(|answers| check(Identity::MailFrom, &sender, policy, answers), ask);
    if let Some(explanation) = outcome.explanation {
        assert!(explanation.bytes().all(|b| (0x20..0x7f).contains(&b)));
    }
}

#[cfg(test)]
mod tests;
