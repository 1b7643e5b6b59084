//! Validating a chain.  RFC 8617 5.2.
//!
//! [`Chain`] reads the sets from the header and asks DKIM's verifier for the
//! digests of the body; [`Checked`] asks the DNS for keys and compares.  A
//! chain that is broken in its form asks nothing.

use std::fmt;

use super::Validation;
use crate::proto::cursor::Cursor;
use crate::proto::dkim::canon::{push_field, BodyHashes, HashedBody};
use crate::proto::dkim::signature::{
    self, parse_algorithm, parse_base64, read_tags, Digests, FieldIndex, Signature,
};
use crate::proto::dkim::verify::{check_body, check_key, check_signature, find_key};
use crate::proto::dkim::Fault as DkimFault;
use crate::proto::dkim::{Algorithm, Canon, Crypto, Policy, Sha256};
use crate::proto::dns::{Answers, Name, Need, Query, Step, Type};
use crate::proto::limits;
use crate::proto::mime::Field;

/// Why a chain fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A field of a set is missing or occurs twice, or the numbers have a gap.
    Sets,
    /// The header has more fields than are looked at.
    TooManyFields,
    /// There are more than 50 sets.
    TooMany,
    /// A field cannot be read, or has a tag that it must not have.
    Syntax(u32),
    /// `cv=` is not what it must be at this place, or says that the chain failed.
    Validation(u32),
    /// The message signature of this instance does not verify.
    Message(u32, DkimFault),
    /// The seal of this instance does not verify.
    Seal(u32, DkimFault),
}

impl Fault {
    /// True if the DNS did not answer.  The chain fails all the same, and for
    /// ever once it is sealed: RFC 8617 5.2.1 has no temporary result.  Who can
    /// have the message come again, or tells a person, may want to know.
    pub const fn is_temporary(self) -> bool {
        matches!(self, Fault::Message(_, DkimFault::Dns) | Fault::Seal(_, DkimFault::Dns))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Sets => f.write_str("the sets are not complete"),
            Fault::TooManyFields => f.write_str("too many header fields"),
            Fault::TooMany => f.write_str("too many sets"),
            Fault::Syntax(i) => write!(f, "i={i}: syntax error"),
            Fault::Validation(i) => write!(f, "i={i}: the chain had failed"),
            Fault::Message(i, fault) => write!(f, "i={i}: message signature: {fault}"),
            Fault::Seal(i, fault) => write!(f, "i={i}: seal: {fault}"),
        }
    }
}

/// The result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// The state of the chain.
    pub validation: Validation,
    /// Why it fails.
    pub fault: Option<Fault>,
    /// The oldest instance from which on all message signatures verify; 0 if
    /// all do.  For a chain that passes.
    pub oldest_pass: u32,
    /// The sealers, `d=` of each instance in order.
    pub sealers: Vec<String>,
}

/// One set, read.
#[derive(Debug)]
struct Set<'a> {
    results: Field<'a>,
    message: Field<'a>,
    seal: Field<'a>,
    message_signature: Signature,
    seal_signature: Seal,
}

/// An ARC-Seal.  RFC 8617 4.1.3.
#[derive(Debug)]
struct Seal {
    algorithm: Algorithm,
    signature: Vec<u8>,
    domain: Name,
    domain_text: String,
    selector: Name,
    validation: Validation,
}

/// The names of the fields of a set.
pub const FIELDS: [&[u8]; 3] =
    [b"arc-authentication-results", b"arc-message-signature", b"arc-seal"];

/// The sets of a header.
#[derive(Debug)]
pub struct Chain<'a> {
    sets: Result<Vec<Set<'a>>, Fault>,
}

impl<'a> Chain<'a> {
    /// Reads the sets.
    pub fn new(index: &FieldIndex<'a>) -> Chain<'a> {
        Chain { sets: read_sets(index) }
    }

    /// The chain of a header that is not read to its end: what its signatures
    /// cover is chosen from the bottom.  RFC 6376 5.4.2.
    pub const fn of_too_many_fields() -> Chain<'a> {
        Chain { sets: Err(Fault::TooManyFields) }
    }

    /// How many sets there are; 0 also for a chain that cannot be read.
    pub fn len(&self) -> usize {
        self.sets.as_ref().map_or(0, Vec::len)
    }

    /// True without any set that can be read.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The digests of the body that are needed: that of the newest set, which
    /// decides, and so many others from there on.  With another `l=` in each set
    /// a body would be hashed once for each, only to say how old the pass is.
    pub fn want<D: Sha256>(&self, hashes: &mut BodyHashes<D>) {
        let mut wanted = Vec::new();
        for set in self.sets.iter().flatten().rev() {
            let signature = &set.message_signature;
            let body = (signature.body_canon, signature.length);
            if wanted.len() <= limits::ARC_BODIES.size() && !wanted.contains(&body) {
                wanted.push(body);
                hashes.want(signature.body_canon, signature.length);
            }
        }
    }

    /// With the body read: all that can be done without keys.
    pub fn check<D: Sha256>(&self, index: &FieldIndex<'_>, body: &HashedBody) -> Checked {
        let sets = match &self.sets {
            Ok(sets) if sets.is_empty() => return Checked(Err(None)),
            Ok(sets) => sets,
            Err(fault) => return Checked(Err(Some(*fault))),
        };
        let mut ready = Vec::new();
        // The seal of each set covers all sets before it: one digest runs on.
        let mut running = D::new();
        for set in sets {
            let mut text = Vec::new();
            for field in [&set.results, &set.message] {
                push_field(Canon::Relaxed, field.raw, &mut text);
                text.extend_from_slice(b"\r\n");
            }
            running.update(&text);
            let seal_digests = Digests::of(set.seal.raw, |own| {
                let (mut digest, mut text) = (running.clone(), Vec::new());
                push_field(Canon::Relaxed, own, &mut text);
                digest.update(&text);
                digest.finish()
            });
            text.clear();
            push_field(Canon::Relaxed, set.seal.raw, &mut text);
            text.extend_from_slice(b"\r\n");
            running.update(&text);
            let signature = &set.message_signature;
            ready.push(Ready {
                body: check_body(signature, body, Policy::default()).err(),
                message_digests: signature.header_digests::<D>(index, &set.message),
                message: signature.clone(),
                seal_digests,
                seal: as_signature(&set.seal_signature, signature),
                sealer: set.seal_signature.domain_text.clone(),
            });
        }
        Checked(Ok(ready))
    }
}

/// A seal as a signature: what verifying needs of it.
fn as_signature(seal: &Seal, like: &Signature) -> Signature {
    Signature {
        algorithm: seal.algorithm,
        signature: seal.signature.clone(),
        domain: seal.domain.clone(),
        selector: seal.selector.clone(),
        ..like.clone()
    }
}

fn read_sets<'a>(index: &FieldIndex<'a>) -> Result<Vec<Set<'a>>, Fault> {
    let results = index.named(b"arc-authentication-results");
    let messages = index.named(b"arc-message-signature");
    let seals = index.named(b"arc-seal");
    let count = seals.len();
    if results.is_empty() && messages.is_empty() && seals.is_empty() {
        return Ok(Vec::new());
    }
    if count > limits::ARC_SETS.size() {
        return Err(Fault::TooMany);
    }
    if results.len() != count || messages.len() != count {
        return Err(Fault::Sets);
    }
    let results = in_order(results, instance_of_results)?;
    let messages = in_order(messages, instance_of_tags)?;
    let seals = in_order(seals, instance_of_tags)?;
    let mut sets = Vec::new();
    for (i, ((results, message), seal)) in
        (1_u32..).zip(results.into_iter().zip(messages).zip(seals))
    {
        let message_signature = read_message(message.value).ok_or(Fault::Syntax(i))?;
        let seal_signature = read_seal(seal.value).ok_or(Fault::Syntax(i))?;
        let expected = if i == 1 { Validation::None } else { Validation::Pass };
        if seal_signature.validation != expected {
            return Err(Fault::Validation(i));
        }
        sets.push(Set { results, message, seal, message_signature, seal_signature });
    }
    Ok(sets)
}

/// The fields by instance: each of 1 to n exactly once.
fn in_order<'a>(
    fields: &[Field<'a>],
    instance: fn(&[u8]) -> Option<u64>,
) -> Result<Vec<Field<'a>>, Fault> {
    let mut slots: Vec<Option<Field<'a>>> = vec![None; fields.len()];
    for field in fields {
        let i = instance(field.value).and_then(|i| usize::try_from(i).ok());
        let slot = i.and_then(|i| slots.get_mut(i.checked_sub(1)?)).ok_or(Fault::Sets)?;
        if slot.replace(*field).is_some() {
            return Err(Fault::Sets);
        }
    }
    slots.into_iter().collect::<Option<Vec<_>>>().ok_or(Fault::Sets)
}

/// ARC-Authentication-Results: `i=1;` comes first.  RFC 8617 4.1.1.
pub(super) fn instance_of_results(value: &[u8]) -> Option<u64> {
    let mut c = Cursor::new(value);
    crate::proto::mime::param::skip_cfws(&mut c);
    let blank = |b: u8| b.is_ascii_whitespace();
    if !c.eat(b'i') {
        return None;
    }
    c.take_while(blank);
    if !c.eat(b'=') {
        return None;
    }
    c.take_while(blank);
    let i = c.number()?;
    crate::proto::mime::param::skip_cfws(&mut c);
    c.eat(b';').then_some(i)
}

/// `i=` of the two others.  RFC 8617 4.1.2, 4.1.3.
pub(super) fn instance_of_tags(value: &[u8]) -> Option<u64> {
    let tags = read_tags(value).ok()?;
    let mut c = Cursor::new(tags.get(b"i")?);
    c.number().filter(|_| c.at_end())
}

/// ARC-Message-Signature: a DKIM signature without `v=` that must not cover
/// the seals.  RFC 8617 4.1.2.
///
/// It must not cover results either, says 4.1.2 to who signs; that one does is no
/// failure to who reads, as the public test suite has it.
fn read_message(value: &[u8]) -> Option<Signature> {
    let tags = read_tags(value).ok()?;
    let signature = Signature::from_tags(&tags, signature::Kind::Arc).ok()?;
    let covers_seals = signature.signs(b"arc-seal");
    (!covers_seals).then_some(signature)
}

/// ARC-Seal.  RFC 8617 4.1.3: `h=` must not be there.
fn read_seal(value: &[u8]) -> Option<Seal> {
    let tags = read_tags(value).ok()?;
    if tags.get(b"h").is_some() || tags.get(b"bh").is_some() {
        return None;
    }
    let (domain, domain_text) = signature::parse_domain(tags.get(b"d")?).ok()?;
    Some(Seal {
        algorithm: parse_algorithm(tags.get(b"a")?).ok()?,
        signature: parse_base64(tags.get(b"b")?).ok()?,
        selector: signature::parse_labels(tags.get(b"s")?).ok()?.0,
        domain,
        domain_text,
        validation: match tags.get(b"cv")? {
            b"none" => Validation::None,
            b"pass" => Validation::Pass,
            b"fail" => Validation::Fail,
            _ => return None,
        },
    })
}

#[derive(Debug)]
struct Ready {
    message: Signature,
    message_digests: Digests,
    body: Option<DkimFault>,
    seal: Signature,
    seal_digests: Digests,
    sealer: String,
}

/// All that can be done without the DNS is done.  `Err(None)` is no chain.
#[derive(Debug)]
pub struct Checked(Result<Vec<Ready>, Option<Fault>>);

impl Checked {
    /// The result.
    pub fn evaluate(&self, crypto: &impl Crypto, answers: &Answers) -> Step<Outcome> {
        self.result(crypto, answers).into()
    }

    fn result(&self, crypto: &impl Crypto, answers: &Answers) -> Result<Outcome, Need> {
        let mut outcome = Outcome {
            validation: Validation::None,
            fault: None,
            oldest_pass: 0,
            sealers: Vec::new(),
        };
        let sets = match &self.0 {
            Ok(sets) => sets,
            Err(None) => return Ok(outcome),
            Err(Some(fault)) => {
                outcome.validation = Validation::Fail;
                outcome.fault = Some(*fault);
                return Ok(outcome);
            }
        };
        outcome.sealers = sets.iter().map(|s| s.sealer.clone()).collect();
        match validate(sets, crypto, answers)? {
            Ok(oldest) => {
                outcome.validation = Validation::Pass;
                outcome.oldest_pass = oldest;
            }
            Err(fault) => {
                outcome.validation = Validation::Fail;
                outcome.fault = Some(fault);
            }
        }
        Ok(outcome)
    }
}

/// The newest message signature must verify, then all seals, the newest first;
/// older message signatures only tell how far back the message is unchanged.
fn validate(
    sets: &[Ready],
    crypto: &impl Crypto,
    answers: &Answers,
) -> Result<Result<u32, Fault>, Need> {
    let mut numbered: Vec<(u32, &Ready)> = (1_u32..).zip(sets).collect();
    numbered.reverse();
    // All keys first, so that no signature is verified twice.
    for (_, set) in &numbered {
        for signature in [&set.message, &set.seal] {
            if let Ok(name) = signature.key_name() {
                answers.get(&Query::new(name, Type::TXT))?;
            }
        }
    }
    let message = |set: &Ready| -> Result<Option<DkimFault>, Need> {
        if set.body.is_some() {
            return Ok(set.body);
        }
        verify(crypto, answers, &set.message, &set.message_digests)
    };
    if let Some((i, newest)) = numbered.first() {
        if let Some(fault) = message(newest)? {
            return Ok(Err(Fault::Message(*i, fault)));
        }
    }
    for (i, set) in &numbered {
        if let Some(fault) = verify(crypto, answers, &set.seal, &set.seal_digests)? {
            return Ok(Err(Fault::Seal(*i, fault)));
        }
    }
    for (i, set) in numbered.iter().skip(1) {
        if message(set)?.is_some() {
            return Ok(Ok(i.saturating_add(1)));
        }
    }
    Ok(Ok(0))
}

fn verify(
    crypto: &impl Crypto,
    answers: &Answers,
    signature: &Signature,
    digests: &Digests,
) -> Result<Option<DkimFault>, Need> {
    let name = match signature.key_name() {
        Ok(name) => name,
        Err(fault) => return Ok(Some(fault)),
    };
    let answer = answers.get(&Query::new(name, Type::TXT))?;
    let checked = find_key(answer).and_then(|record| {
        check_key(signature, &record)?;
        check_signature(crypto, signature, &record.key, digests)?;
        if record.testing {
            Err(DkimFault::Testing)
        } else {
            Ok(())
        }
    });
    Ok(checked.err())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mime::Fields;
    use crate::proto::testing::assert_linear;

    /// Time is spent as a digest spends it: with each byte.
    #[derive(Clone)]
    struct Sum(u8);

    impl Sha256 for Sum {
        fn new() -> Sum {
            Sum(0)
        }
        fn update(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().fold(self.0, |sum, b| sum.wrapping_mul(3).wrapping_add(*b));
        }
        fn finish(self) -> [u8; 32] {
            [self.0; 32]
        }
    }

    fn set(i: usize, names: &str) -> String {
        let (bh, validation) = ("A".repeat(43), if i == 1 { "none" } else { "pass" });
        format!(
            "ARC-Seal: i={i}; a=rsa-sha256; cv={validation}; d=a.example; s=s; b=AA==\r\n\
             ARC-Message-Signature: i={i}; a=rsa-sha256; d=a.example; s=s; h=from{names}; bh={bh}; b=AA==\r\n\
             ARC-Authentication-Results: i={i}; mx; none\r\n"
        )
    }

    /// Reads and hashes all that a header asks for.
    fn check(header: &str) -> usize {
        let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
        let index = FieldIndex::new(&fields);
        let chain = Chain::new(&index);
        let mut hashes = BodyHashes::<Sum>::default();
        chain.want(&mut hashes);
        let checked = chain.check::<Sum>(&index, &hashes.finish());
        std::hint::black_box(checked);
        chain.len()
    }

    /// The newest set decides, and older ones do not make much work.
    #[test]
    fn a_body_is_hashed_for_the_newest_set_and_a_few_others() {
        let most = limits::ARC_SETS.size();
        let header: String = (1..=most).map(|i| set(i, &format!("; l={i}"))).collect();
        let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
        let chain = Chain::new(&FieldIndex::new(&fields));
        assert_eq!(chain.len(), most);
        let mut hashes = BodyHashes::<Sum>::default();
        chain.want(&mut hashes);
        let body = hashes.finish();
        let hashed = |i: &u64| body.get(Canon::Relaxed, Some(*i)).is_some();
        assert_eq!((1..=50).filter(hashed).collect::<Vec<u64>>(), (42..=50).collect::<Vec<u64>>());
    }

    #[test]
    fn time_doubles_with_the_input() {
        assert_eq!(check(&(set(1, "") + &set(2, ":to"))), 2, "what is measured is read");
        // Header fields of one kind, and of every kind, without end.
        for unit in
            ["ARC-Seal: i=1; cv=none\r\n", "ARC-Seal:\r\n", &set(1, ""), "a: b\r\n", " \r\n"]
        {
            assert_linear(|n| {
                check(&(set(1, "") + &unit.repeat(n / unit.len())));
            });
        }
        // A set that names a field over and over, which is there as often.
        assert_linear(|n| {
            check(&(set(1, &":x".repeat(n / 2)) + &"x: 1\r\n".repeat(n / 6)));
        });
        // A chain of the most sets, each over one long field.
        assert_linear(|n| {
            let sets: String = (1..=limits::ARC_SETS.size()).map(|i| set(i, ":x")).collect();
            assert_eq!(check(&(sets + "x: " + &"y".repeat(n) + "\r\n")), limits::ARC_SETS.size());
        });
    }
}
