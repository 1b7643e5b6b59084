//! check_host().  RFC 7208 4, 5, 6.
//!
//! The counters live in [`Check`] and run over the whole evaluation, included
//! records too; they are also what ends every loop of includes and redirects,
//! so the recursion is never deeper than the 10 terms that ask the DNS.

use std::net::IpAddr;

use super::macros::{self, MacroString, NeverMatches, Values};
use super::record::{self, Cidr, Mechanism, Qualifier, Record};
use super::{Outcome, Policy, Problem, Sender, Signals, Verdict};
use crate::proto::dns::{Answer, Answers, Data, Name, Need, Query, Status, Type};
use crate::proto::limits;

/// Terms that ask the DNS.  4.6.4.
const TERMS: usize = limits::SPF_TERMS.size();
/// Exchanges of one `mx`, names of one `ptr`.  4.6.4.
const NAMES: usize = limits::SPF_NAMES.size();

/// The longest name of HELO.  RFC 5321 4.5.3.1.2.
const HELO_OCTETS: usize = limits::SMTP_DOMAIN.size();

/// Why an evaluation stops before its end.
enum Stop {
    Need(Need),
    /// temperror or permerror, and why.
    Error(Verdict, Problem),
}

impl From<Need> for Stop {
    fn from(need: Need) -> Stop {
        Stop::Need(need)
    }
}

const fn perm<T>(problem: Problem) -> Result<T, Stop> {
    Err(Stop::Error(Verdict::PermError, problem))
}

/// The names of an address, as `ptr` and the macro `p` see them.  5.5.
struct Validated {
    /// Those that lead back to it.
    names: Vec<Name>,
    /// A question on the way found nothing.
    void: bool,
}

/// What check_host() gives, without errors.
struct Found {
    verdict: Verdict,
    /// For none.
    problem: Option<Problem>,
    matched: Option<String>,
    /// The domain and `exp=` of the record that decided.  6.2.
    exp: Option<(Vec<u8>, MacroString)>,
}

struct Check<'a> {
    answers: &'a Answers,
    sender: &'a Sender,
    /// The client's address, an IPv4-mapped one as IPv4.
    ip: IpAddr,
    local: &'a [u8],
    /// The domain of the identity, to which `s` and `o` refer throughout.
    sender_domain: &'a [u8],
    policy: Policy,
    terms: usize,
    voids: usize,
    /// The term at hand was counted among them.
    void_term: bool,
    signals: Signals,
    /// Addresses in passing `ip4` networks so far.
    ip4_addresses: u64,
}

/// Evaluates `domain` for the client; `local` is the local part of the identity.
pub fn check_host(
    local: &[u8],
    domain: &[u8],
    sender: &Sender,
    policy: Policy,
    answers: &Answers,
) -> Result<Outcome, Need> {
    let mut check = Check {
        answers,
        sender,
        ip: sender.ip.to_canonical(),
        local,
        sender_domain: domain,
        policy,
        terms: 0,
        voids: 0,
        void_term: false,
        signals: Signals::default(),
        ip4_addresses: 0,
    };
    let mut outcome = Outcome {
        verdict: Verdict::None,
        domain: String::from_utf8_lossy(domain).into_owned(),
        matched: None,
        problem: None,
        explanation: None,
        signals: Signals::default(),
    };
    match check.host(domain) {
        Ok(found) => {
            outcome.verdict = found.verdict;
            outcome.problem = found.problem;
            outcome.matched = found.matched;
            if found.verdict == Verdict::Fail {
                if let Some((domain, exp)) = found.exp {
                    outcome.explanation = check.explanation(&domain, &exp)?;
                }
            }
        }
        Err(Stop::Need(need)) => return Err(need),
        Err(Stop::Error(verdict, problem)) => {
            outcome.verdict = verdict;
            outcome.problem = Some(problem);
        }
    }
    outcome.signals = check.signals;
    Ok(outcome)
}

/// Initial processing, 4.3: labels of 1 to 63 octets, two at least, 253 in all.
fn valid_domain(domain: &[u8]) -> Option<Name> {
    let name = Name::from_dotted(domain).ok()?;
    (name.label_count() >= 2 && !domain.starts_with(b"[")).then_some(name)
}

impl Check<'_> {
    /// check_host() for a domain; recursive through include and redirect.
    fn host(&mut self, domain: &[u8]) -> Result<Found, Stop> {
        let none = |problem| {
            Ok(Found { verdict: Verdict::None, problem: Some(problem), matched: None, exp: None })
        };
        let Some(name) = valid_domain(domain) else { return none(Problem::NoDomain) };
        let answer = self.answers.get(&Query::new(name, Type::TXT))?;
        match answer.status {
            // 4.4.
            Status::Failed(_) => return Err(Stop::Error(Verdict::TempError, Problem::Dns)),
            Status::NxDomain => return none(Problem::NxDomain),
            _ => {}
        }
        // 4.5: exactly one.
        let mut records = answer.texts().filter(|text| record::is_spf1(text));
        let Some(text) = records.next() else { return none(Problem::NoRecord) };
        if records.next().is_some() {
            return perm(Problem::ManyRecords);
        }
        let record = match record::parse(&text) {
            Ok(record) => record,
            Err(problem) => return perm(problem),
        };
        self.note_signals(&record);
        self.evaluate(domain, record)
    }

    fn note_signals(&mut self, record: &Record) {
        for directive in record.directives.iter().filter(|d| d.qualifier == Qualifier::Pass) {
            match directive.mechanism {
                Mechanism::All => self.signals.plus_all = true,
                Mechanism::Ip4(_, length) => {
                    let bits = 32_u32.saturating_sub(u32::from(length));
                    let addresses = 1_u64.checked_shl(bits).unwrap_or(u64::MAX);
                    self.ip4_addresses = self.ip4_addresses.saturating_add(addresses);
                    self.signals.wide |= self.ip4_addresses > 1 << 16;
                }
                Mechanism::Ip6(_, length) => self.signals.wide |= length < 32,
                Mechanism::Ptr(_) => self.signals.ptr = true,
                _ => {}
            }
        }
    }

    /// 4.6.2, 4.7: the first directive that matches; else redirect; else neutral.
    fn evaluate(&mut self, domain: &[u8], record: Record) -> Result<Found, Stop> {
        for directive in &record.directives {
            if self.matches(&directive.mechanism, domain)? {
                return Ok(Found {
                    verdict: directive.qualifier.verdict(),
                    problem: None,
                    matched: Some(directive.text.clone()),
                    exp: record.exp.map(|exp| (domain.to_vec(), exp)),
                });
            }
        }
        let Some(redirect) = record.redirect else {
            let verdict = Verdict::Neutral;
            return Ok(Found { verdict, problem: None, matched: None, exp: None });
        };
        // 6.1.
        self.count_term()?;
        let Ok(target) = self.expand_domain(&redirect, domain)? else {
            return perm(Problem::NoTarget);
        };
        let found = self.host(&target)?;
        match found.verdict {
            Verdict::None => perm(Problem::NoTarget),
            _ => Ok(found),
        }
    }

    fn matches(&mut self, mechanism: &Mechanism, domain: &[u8]) -> Result<bool, Stop> {
        match mechanism {
            Mechanism::All => Ok(true),
            Mechanism::Ip4(network, length) => {
                Ok(in_network(self.ip, IpAddr::V4(*network), *length))
            }
            Mechanism::Ip6(network, length) => {
                Ok(in_network(self.ip, IpAddr::V6(*network), *length))
            }
            Mechanism::Include(spec) => self.include(spec, domain),
            Mechanism::A(spec, cidr) => {
                self.count_term()?;
                let Some(name) = self.target(spec.as_ref(), domain)? else { return Ok(false) };
                self.address_matches(&name, *cidr)
            }
            Mechanism::Mx(spec, cidr) => self.mx(spec.as_ref(), *cidr, domain),
            Mechanism::Ptr(spec) => self.ptr(spec.as_ref(), domain),
            Mechanism::Exists(spec) => {
                // 5.7: always an A lookup, also for an IPv6 client.
                self.count_term()?;
                let Some(name) = self.target(Some(spec), domain)? else { return Ok(false) };
                Ok(self.lookup(name, Type::A)?.status == Status::Found)
            }
        }
    }

    /// 5.2.
    fn include(&mut self, spec: &MacroString, domain: &[u8]) -> Result<bool, Stop> {
        self.count_term()?;
        let Ok(target) = self.expand_domain(spec, domain)? else { return Ok(false) };
        match self.host(&target)?.verdict {
            Verdict::Pass => Ok(true),
            Verdict::None => perm(Problem::NoTarget),
            _ => Ok(false),
        }
    }

    /// 5.4.
    fn mx(&mut self, spec: Option<&MacroString>, cidr: Cidr, domain: &[u8]) -> Result<bool, Stop> {
        self.count_term()?;
        let Some(name) = self.target(spec, domain)? else { return Ok(false) };
        let answer = self.lookup(name, Type::MX)?;
        let exchanges: Vec<Name> = answer
            .records
            .iter()
            .filter_map(|data| match data {
                Data::Mx(_, exchange) => Some(exchange.clone()),
                _ => None,
            })
            .collect();
        if exchanges.len() > NAMES {
            return perm(Problem::TooManyMx);
        }
        for exchange in exchanges.iter().filter(|e| !e.is_root()) {
            if self.address_matches(exchange, cidr)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// 5.5.  No failure of the DNS is an error here.
    fn ptr(&mut self, spec: Option<&MacroString>, domain: &[u8]) -> Result<bool, Stop> {
        self.count_term()?;
        let Some(target) = self.target(spec, domain)? else { return Ok(false) };
        let Validated { names, void } = self.validated_names()?;
        if void {
            self.count_void()?;
        }
        Ok(names.iter().any(|name| name.is_within(&target)))
    }

    /// The names of the client's address that lead back to it, of the first 10.
    ///
    /// The macro `p` asks the same; but it is no term, and what it does not find
    /// is not counted.
    fn validated_names(&self) -> Result<Validated, Need> {
        let reversed: Vec<String> =
            macros::dotted(self.ip).split('.').rev().map(str::to_owned).collect();
        let text = format!("{}.{}.arpa", reversed.join("."), macros::family(self.ip));
        let mut valid = Validated { names: Vec::new(), void: false };
        let Ok(name) = Name::from_dotted(text.as_bytes()) else { return Ok(valid) };
        let answer = self.answers.get(&Query::new(name, Type::PTR))?;
        valid.void = answer.is_void();
        for data in answer.records.iter().take(NAMES) {
            let Data::Ptr(name) = data else { continue };
            let answer = self.answers.get(&Query::new(name.clone(), self.address_type()))?;
            valid.void |= answer.is_void();
            if answer.addresses().any(|ip| ip == self.ip) {
                valid.names.push(name.clone());
            }
        }
        Ok(valid)
    }

    fn address_type(&self) -> Type {
        match self.ip {
            IpAddr::V4(_) => Type::A,
            IpAddr::V6(_) => Type::AAAA,
        }
    }

    /// 5.3: an address of the name is the client's, within the prefix.
    fn address_matches(&mut self, name: &Name, cidr: Cidr) -> Result<bool, Stop> {
        let ip = self.ip;
        let length = if ip.is_ipv4() { cidr.v4 } else { cidr.v6 };
        let answer = self.lookup(name.clone(), self.address_type())?;
        Ok(answer.addresses().any(|network| in_network(ip, network, length)))
    }

    /// A lookup of a mechanism: a failure is a temperror, "nothing" is counted.
    fn lookup(&mut self, name: Name, rtype: Type) -> Result<&Answer, Stop> {
        let answers = self.answers;
        let answer = answers.get(&Query::new(name, rtype))?;
        if answer.failure().is_some() {
            return Err(Stop::Error(Verdict::TempError, Problem::Dns));
        }
        if answer.is_void() {
            self.count_void()?;
        }
        Ok(answer)
    }

    /// 4.6.4 limits the terms with such answers, not the answers: an `mx` whose
    /// hosts have addresses of the other family only is one.
    fn count_void(&mut self) -> Result<(), Stop> {
        if !std::mem::replace(&mut self.void_term, true) {
            self.voids = self.voids.saturating_add(1);
        }
        if self.voids > self.policy.void_lookups {
            return perm(Problem::TooManyVoid);
        }
        Ok(())
    }

    fn count_term(&mut self) -> Result<(), Stop> {
        self.terms = self.terms.saturating_add(1);
        self.void_term = false;
        if self.terms > TERMS {
            return perm(Problem::TooManyTerms);
        }
        Ok(())
    }

    /// The target name of 4.8; `None` if it is no name, and nothing can match.
    fn target(&self, spec: Option<&MacroString>, domain: &[u8]) -> Result<Option<Name>, Need> {
        let text = match spec {
            Some(spec) => match self.expand_domain(spec, domain)? {
                Ok(text) => text,
                Err(NeverMatches) => return Ok(None),
            },
            None => domain.to_vec(),
        };
        Ok(Name::from_dotted(&text).ok().filter(|name| !name.is_root()))
    }

    fn expand_domain(
        &self,
        spec: &MacroString,
        domain: &[u8],
    ) -> Result<Result<Vec<u8>, NeverMatches>, Need> {
        let validated = self.validated(spec, domain)?;
        Ok(spec.expand_domain(&self.values(domain, &validated)))
    }

    fn values<'v>(&'v self, domain: &'v [u8], validated: &'v [u8]) -> Values<'v> {
        Values {
            ip: self.ip,
            local: self.local,
            sender_domain: self.sender_domain,
            domain,
            validated,
            // One that is too long for a name is none, and is not repeated.
            helo: if self.sender.helo.len() > HELO_OCTETS { &[] } else { &self.sender.helo },
            receiver: &self.sender.receiver,
            now: self.sender.now,
        }
    }

    /// The value of `%{p}` if the string has it: the domain itself if it is
    /// among the validated names, else one below it, else any.  7.3.
    fn validated(&self, spec: &MacroString, domain: &[u8]) -> Result<Vec<u8>, Need> {
        if !spec.needs_validated() {
            return Ok(Vec::new());
        }
        let names = self.validated_names()?.names;
        let domain = Name::from_dotted(domain).unwrap_or_default();
        let best = names
            .iter()
            .find(|n| **n == domain)
            .or_else(|| names.iter().find(|n| n.is_within(&domain)))
            .or_else(|| names.first());
        Ok(best.map_or_else(|| b"unknown".to_vec(), |n| n.to_string().into_bytes()))
    }

    /// 6.2.  Whatever goes wrong, there is no explanation.
    fn explanation(&self, domain: &[u8], exp: &MacroString) -> Result<Option<String>, Need> {
        let Ok(target) = self.expand_domain(exp, domain)? else { return Ok(None) };
        let Some(name) = Name::from_dotted(&target).ok().filter(|n| !n.is_root()) else {
            return Ok(None);
        };
        let answer = self.answers.get(&Query::new(name, Type::TXT))?;
        let mut texts = answer.texts();
        let (Some(text), None) = (texts.next(), texts.next()) else { return Ok(None) };
        let Some(string) = MacroString::parse_explanation(&text) else { return Ok(None) };
        let validated = self.validated(&string, domain)?;
        let values = self.values(domain, &validated);
        let Ok(mut text) = string.expand(&values, macros::EXPLANATION_OCTETS) else {
            return Ok(None);
        };
        text.truncate(macros::EXPLANATION_OCTETS);
        // Macros bring in bytes of the sender's choice: no line end gets through.
        let printable = text.iter().all(|b| (0x20..0x7f).contains(b));
        Ok(String::from_utf8(text).ok().filter(|_| printable))
    }
}

/// True if the first `length` bits of both are the same, in one family.
pub fn in_network(ip: IpAddr, network: IpAddr, length: u8) -> bool {
    let same = |a: u128, b: u128, bits: u32| {
        let unused = bits.saturating_sub(u32::from(length));
        // A shift by all bits leaves nothing to differ.
        (a ^ b).checked_shr(unused).unwrap_or(0) == 0
    };
    match (ip, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => same(u32::from(a).into(), u32::from(b).into(), 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => same(u128::from(a), u128::from(b), 128),
        _ => false,
    }
}
