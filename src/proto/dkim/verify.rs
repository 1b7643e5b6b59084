//! Verifying the signatures of a message.  RFC 6376 6.
//!
//! A [`Verifier`] is made from the header, fed the body in chunks, and then
//! [`Checked`]: all hashing is done, and what is left asks the DNS for keys and
//! compares.  A message with no signature to check costs nothing for its body.

use super::canon::{BodyHashes, HashedBody};
use super::key::{self, KeyRecord, PublicKey};
use super::signature::{read_tags, Digests, Fault, FieldIndex, Signature};
use super::tag::TagList;
use super::{Algorithm, Crypto, Sha256, Verdict};
use crate::proto::dns::{Answer, Answers, Name, Need, Query, Status, Step, Type};
use crate::proto::limits;
use crate::proto::mime::{Field, Fields};

/// Seconds that clocks may differ.
const SKEW: u64 = 300;

/// What the operator decides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// A signature with `l=` passes although the body goes on after it, if it
    /// signs Content-Type and MIME-Version.  Off: anybody can add what is shown.
    pub unsigned_tail: bool,
}

/// The result of one signature, in the order of the header.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// The result.
    pub verdict: Verdict,
    /// Why, unless it passes.
    pub fault: Option<Fault>,
    /// `d=`, lower case; empty if the field could not be read.
    pub domain: String,
    /// `s=`
    pub selector: String,
    /// `a=`; `None` if the field could not be read.
    pub algorithm: Option<Algorithm>,
    /// The first 8 characters of `b=`: header.b of RFC 6008.
    pub b_prefix: String,
    /// Bits of the key, if there was one.
    pub key_bits: Option<u32>,
    /// `t=`
    pub signed_at: Option<u64>,
    /// `bh=`: with domain and selector what tells a replay.
    pub body_hash: Option<[u8; 32]>,
    /// How many To fields are signed, the lowest of them; `h=` may name more
    /// than there are.
    pub signed_to: usize,
    /// The same of Cc.
    pub signed_cc: usize,
}

/// Most headers have no more fields than this.
const FIELDS: usize = 40;

/// Signatures of a message whose body is still to come.
pub struct Verifier<'a, D> {
    fields: Vec<Field<'a>>,
    index: FieldIndex<'a>,
    entries: Vec<Entry<'a>>,
    hashes: BodyHashes<D>,
    policy: Policy,
}

struct Entry<'a> {
    field: Field<'a>,
    tags: TagList<'a>,
    parsed: Result<Signature, Fault>,
}

impl<'a, D: Sha256> Verifier<'a, D> {
    /// Reads the header: the message up to its empty line.
    ///
    /// `author` is the domain of From, whose signatures are looked at first
    /// when there are too many; `now` is seconds since 1970.
    pub fn new(
        header: &'a [u8],
        author: Option<&Name>,
        policy: Policy,
        now: u64,
    ) -> Verifier<'a, D> {
        let most = limits::HEADER_FIELDS.size();
        let mut fields: Vec<Field<'a>> = Vec::with_capacity(FIELDS);
        fields.extend(Fields::new(header).take(most.saturating_add(1)));
        let cut = fields.len() > most;
        fields.truncate(most);
        let index = FieldIndex::new(&fields);
        let mut entries: Vec<Entry<'a>> = index
            .named(b"dkim-signature")
            .iter()
            .take(limits::DKIM_SIGNATURES.size())
            .map(|field| {
                let tags = read_tags(field.value);
                let parsed = match &tags {
                    _ if cut => Err(Fault::TooManyFields),
                    _ if index.named(b"from").is_empty() => Err(Fault::NoFrom),
                    Ok(tags) => Signature::from_dkim_tags(tags).and_then(|s| in_time(s, now)),
                    Err(fault) => Err(*fault),
                };
                Entry { field: *field, tags: tags.unwrap_or_default(), parsed }
            })
            .collect();
        choose(&mut entries, author);
        let mut hashes = BodyHashes::default();
        for signature in entries.iter().filter_map(|e| e.parsed.as_ref().ok()) {
            hashes.want(signature.body_canon, signature.length);
        }
        Verifier { fields, index, entries, hashes, policy }
    }

    /// The fields of the header, for those who look at the same message.
    pub fn fields(&self) -> &[Field<'a>] {
        &self.fields
    }

    /// The digests to be computed: ARC adds its own.
    pub fn hashes(&mut self) -> &mut BodyHashes<D> {
        &mut self.hashes
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        self.hashes.feed(chunk);
    }

    /// The end of the body.  Also gives its digests, for ARC.
    pub fn finish(self) -> (Checked, HashedBody) {
        let body = self.hashes.finish();
        let pending = self.entries.into_iter().map(|entry| {
            let mut verified = describe(&entry);
            let ready = entry.parsed.and_then(|signature| {
                check_body(&signature, &body, self.policy)?;
                let key = Query::new(signature.key_name()?, Type::TXT);
                let digests = signature.header_digests::<D>(&self.index, &entry.field);
                Ok(Ready { signature, key, digests })
            });
            match ready {
                Ok(ready) => (verified, Some(ready)),
                Err(fault) => {
                    verified.verdict = fault.verdict();
                    verified.fault = Some(fault);
                    (verified, None)
                }
            }
        });
        (Checked { pending: pending.collect() }, body)
    }
}

/// Marks what is over the limits: signatures, and different keys to be asked
/// for.  Signatures of the author's own domain come first.
fn choose(entries: &mut [Entry<'_>], author: Option<&Name>) {
    let own =
        |s: &Signature| author.is_some_and(|a| a.is_within(&s.domain) || s.domain.is_within(a));
    let mut keys: Vec<(Name, Name)> = Vec::new();
    let mut chosen = 0_usize;
    for first in [true, false] {
        for entry in entries.iter_mut() {
            let Ok(signature) = &entry.parsed else { continue };
            if own(signature) != first {
                continue;
            }
            let key = (signature.selector.clone(), signature.domain.clone());
            let many_keys = !keys.contains(&key) && keys.len() >= limits::DKIM_KEYS.size();
            if chosen >= limits::DKIM_VERIFIED.size() || many_keys {
                entry.parsed = Err(Fault::TooManySignatures);
                continue;
            }
            chosen = chosen.saturating_add(1);
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
}

fn in_time(signature: Signature, now: u64) -> Result<Signature, Fault> {
    if signature.expires.is_some_and(|x| x.saturating_add(SKEW) < now) {
        return Err(Fault::Expired);
    }
    if signature.signed_at.is_some_and(|t| t > now.saturating_add(SKEW)) {
        return Err(Fault::Future);
    }
    Ok(signature)
}

/// What can be said of a signature however it turns out: where the field as a
/// whole is at fault, its tags may still tell whose it claims to be.
fn describe(entry: &Entry<'_>) -> Verified {
    let tags = &entry.tags;
    let text = |name: &[u8]| {
        let value = tags.get(name).filter(|v| v.is_ascii() && v.len() <= 253).unwrap_or_default();
        String::from_utf8_lossy(value).to_ascii_lowercase()
    };
    let parsed = entry.parsed.as_ref().ok();
    let (mut signed_to, mut signed_cc) = (0_usize, 0_usize);
    for name in parsed.iter().flat_map(|s| s.names()).filter(|n| n.len() == 2) {
        signed_to = signed_to.saturating_add(usize::from(name.eq_ignore_ascii_case(b"to")));
        signed_cc = signed_cc.saturating_add(usize::from(name.eq_ignore_ascii_case(b"cc")));
    }
    let b = tags.get(b"b").unwrap_or_default().iter().filter(|b| !b.is_ascii_whitespace());
    let b_prefix = b.take(8).take_while(|b| b.is_ascii_graphic()).map(|b| char::from(*b));
    Verified {
        verdict: Verdict::Neutral,
        fault: None,
        domain: parsed.map_or_else(|| text(b"d"), |s| s.domain_text.clone()),
        selector: text(b"s"),
        algorithm: tags.get(b"a").and_then(|a| super::signature::parse_algorithm(a).ok()),
        b_prefix: b_prefix.collect(),
        key_bits: None,
        signed_at: parsed.and_then(|s| s.signed_at),
        body_hash: parsed.map(|s| s.body_hash),
        signed_to,
        signed_cc,
    }
}

/// RFC 6376 3.5 (bh=, l=), 3.7, 6.1.3.
pub fn check_body(signature: &Signature, body: &HashedBody, policy: Policy) -> Result<(), Fault> {
    let hash = body.get(signature.body_canon, signature.length).ok_or(Fault::BodyHash)?;
    if let Some(length) = signature.length {
        if length > hash.octets {
            return Err(Fault::LongLength);
        }
        if hash.digest == signature.body_hash && length < hash.octets {
            // 8.2: a new Content-Type can make the reader show only the tail.
            let fixed = signature.signs(b"content-type") && signature.signs(b"mime-version");
            if !policy.unsigned_tail || !fixed {
                return Err(Fault::UnsignedTail);
            }
        }
    }
    if hash.digest == signature.body_hash {
        Ok(())
    } else {
        Err(Fault::BodyHash)
    }
}

struct Ready {
    signature: Signature,
    key: Query,
    digests: Digests,
}

/// All that can be done without the DNS is done.
pub struct Checked {
    pending: Vec<(Verified, Option<Ready>)>,
}

impl Checked {
    /// The results, in the order of the header; empty for an unsigned message.
    pub fn evaluate(&self, crypto: &impl Crypto, answers: &Answers) -> Step<Vec<Verified>> {
        self.results(crypto, answers).into()
    }

    fn results(&self, crypto: &impl Crypto, answers: &Answers) -> Result<Vec<Verified>, Need> {
        // All keys first, so that no signature is verified twice.
        let keys = self.pending.iter().map(|(_, ready)| match ready {
            Some(ready) => answers.get(&ready.key).map(Some),
            None => Ok(None),
        });
        let keys = keys.collect::<Result<Vec<Option<&Answer>>, Need>>()?;
        let mut results = Vec::with_capacity(self.pending.len());
        for ((verified, ready), key) in self.pending.iter().zip(keys) {
            let mut verified = verified.clone();
            if let (Some(ready), Some(key)) = (ready, key) {
                let checked = find_key(key).and_then(|record| {
                    verified.key_bits = Some(record.key.bits());
                    check_key(&ready.signature, &record)?;
                    check_signature(crypto, &ready.signature, &record.key, &ready.digests)?;
                    if record.testing {
                        Err(Fault::Testing)
                    } else {
                        Ok(())
                    }
                });
                verified.verdict = checked.map_or_else(Fault::verdict, |()| Verdict::Pass);
                verified.fault = checked.err();
            }
            results.push(verified);
        }
        Ok(results)
    }
}

/// RFC 6376 6.1.2.
pub fn find_key(answer: &Answer) -> Result<KeyRecord, Fault> {
    match answer.status {
        Status::Failed(_) => return Err(Fault::Dns),
        Status::NxDomain | Status::NoData => return Err(Fault::NoKey),
        Status::Found => {}
    }
    let mut keys = answer.texts().filter_map(|text| key::read(&text));
    match (keys.next(), keys.next()) {
        (None, _) => Err(Fault::NoKey),
        (Some(key), None) => key,
        (Some(_), Some(_)) => Err(Fault::ManyKeys),
    }
}

/// What the key's owner has to say about its use.  RFC 6376 3.6.1.
pub fn check_key(signature: &Signature, record: &KeyRecord) -> Result<(), Fault> {
    if !record.for_mail {
        return Err(Fault::KeyService);
    }
    if record.strict && signature.identity.as_ref().is_some_and(|i| *i != signature.domain) {
        return Err(Fault::KeyIdentity);
    }
    Ok(())
}

/// The signature over a digest, of the one or the other form of its field.
pub fn check_signature(
    crypto: &impl Crypto,
    signature: &Signature,
    key: &PublicKey,
    digests: &Digests,
) -> Result<(), Fault> {
    if key.algorithm() != signature.algorithm {
        return Err(Fault::KeyType);
    }
    let over = |digest: &[u8; 32]| match key {
        PublicKey::Rsa(key) => crypto.verify_rsa(key, digest, &signature.signature),
        // RFC 8463 3: the message that is signed is the digest.
        PublicKey::Ed25519(key) => crypto.verify_ed25519(key, digest, &signature.signature),
    };
    if over(&digests.bare) || digests.spaced.as_ref().is_some_and(over) {
        Ok(())
    } else {
        Err(Fault::Signature)
    }
}
