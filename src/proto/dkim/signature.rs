//! The DKIM-Signature field.  RFC 6376 3.5.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::ops::Range;

use super::canon::{push_field, CRLF};
use super::tag::{b_value, without_space, TagList};
use super::{Algorithm, Canon, Sha256, Verdict};
use crate::proto::cursor::Cursor;
use crate::proto::dns::Name;
use crate::proto::limits;
use crate::proto::mime::field::without_line_end;
use crate::proto::mime::Field;
use crate::proto::text::{base64, idna};

/// Why a signature did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The field is no tag list, or a tag's value does not follow its grammar.
    Syntax,
    /// A tag occurs twice.
    DuplicateTag,
    /// A tag that must be there is missing.
    MissingTag,
    /// `v=` is not 1.
    Version,
    /// `a=` is unknown.
    Algorithm,
    /// `a=` is rsa-sha1.
    Sha1,
    /// `c=` is unknown.
    Canonicalisation,
    /// `q=` does not offer dns/txt.
    QueryMethod,
    /// `i=` is not within `d=`.
    Identity,
    /// `h=` does not name From, or there is no From.
    NoFrom,
    /// `h=` names more different fields than the limit.
    TooManyNames,
    /// `x=` is not after `t=`.
    Expiry,
    /// `x=` is in the past.
    Expired,
    /// `t=` is in the future.
    Future,
    /// `l=` is longer than the body.
    LongLength,
    /// The body goes on after `l=`.
    UnsignedTail,
    /// The body is not what was signed.
    BodyHash,
    /// The header is not what was signed.
    Signature,
    /// There are more signatures than are looked at.
    TooManySignatures,
    /// The header has more fields than are looked at.
    TooManyFields,
    /// The DNS failed.
    Dns,
    /// There is no key record.
    NoKey,
    /// There are several key records.
    ManyKeys,
    /// The key record is wrong.
    KeySyntax,
    /// The key was revoked.
    Revoked,
    /// The key is of another kind than the signature.
    KeyType,
    /// The key does not permit SHA-256.
    KeyHash,
    /// The key is not for mail.
    KeyService,
    /// The key wants `i=` to be `d=`.
    KeyIdentity,
    /// The RSA key is too small.
    KeyTooSmall,
    /// The key is none that can be used: its size, exponent, or point.
    KeyWeak,
    /// The domain is testing: it says to ignore its signatures.
    Testing,
}

impl Fault {
    /// The verdict that this leads to.
    pub const fn verdict(self) -> Verdict {
        match self {
            Fault::BodyHash | Fault::Signature | Fault::Expired => Verdict::Fail,
            Fault::UnsignedTail | Fault::Sha1 | Fault::KeyTooSmall | Fault::Testing => {
                Verdict::Policy
            }
            Fault::Future | Fault::TooManySignatures => Verdict::Neutral,
            Fault::Dns => Verdict::TempError,
            _ => Verdict::PermError,
        }
    }
}

impl Fault {
    /// True if the DNS has to be looked at to mend it: the key, or its absence.
    pub const fn is_of_the_key(self) -> bool {
        matches!(
            self,
            Fault::Dns
                | Fault::NoKey
                | Fault::ManyKeys
                | Fault::KeySyntax
                | Fault::Revoked
                | Fault::KeyType
                | Fault::KeyHash
                | Fault::KeyService
                | Fault::KeyIdentity
                | Fault::KeyTooSmall
                | Fault::KeyWeak
                | Fault::Testing
        )
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Fault::Syntax => "syntax error in the signature",
            Fault::DuplicateTag => "a tag occurs twice",
            Fault::MissingTag => "a required tag is missing",
            Fault::Version => "unknown version",
            Fault::Algorithm => "unknown algorithm",
            Fault::Sha1 => "rsa-sha1 is not accepted",
            Fault::Canonicalisation => "unknown canonicalisation",
            Fault::QueryMethod => "unknown query method",
            Fault::Identity => "the identity is outside the domain",
            Fault::NoFrom => "From is not signed",
            Fault::TooManyNames => "too many names in h=",
            Fault::Expiry => "expires before it was made",
            Fault::Expired => "expired",
            Fault::Future => "dated in the future",
            Fault::LongLength => "l= is longer than the body",
            Fault::UnsignedTail => "part of the body is not signed",
            Fault::BodyHash => "body hash did not verify",
            Fault::Signature => "signature did not verify",
            Fault::TooManySignatures => "too many signatures",
            Fault::TooManyFields => "too many header fields",
            Fault::Dns => "the DNS did not answer",
            Fault::NoKey => "no key",
            Fault::ManyKeys => "more than one key record",
            Fault::KeySyntax => "syntax error in the key record",
            Fault::Revoked => "key revoked",
            Fault::KeyType => "key of another type",
            Fault::KeyHash => "key does not permit sha256",
            Fault::KeyService => "key is not for mail",
            Fault::KeyIdentity => "key does not permit a sub-domain",
            Fault::KeyTooSmall => "key of less than 1024 bits",
            Fault::KeyWeak => "unusable key",
            Fault::Testing => "key in test mode",
        })
    }
}

/// What a signature field belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// DKIM-Signature: From must be signed.  RFC 6376 5.4.
    Dkim,
    /// ARC-Message-Signature: nothing must be, and without `c=` the public test
    /// suite wants `relaxed`.
    Arc,
}

impl Kind {
    const fn canon(self) -> (Canon, Canon) {
        match self {
            Kind::Dkim => (Canon::Simple, Canon::Simple),
            Kind::Arc => (Canon::Relaxed, Canon::Relaxed),
        }
    }
}

/// A signature field, read.  Also an ARC-Message-Signature, which has the same
/// tags but for `v=` and another meaning of `i=`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// `a=`
    pub algorithm: Algorithm,
    /// `b=`, decoded.
    pub signature: Vec<u8>,
    /// `bh=`, decoded.
    pub body_hash: [u8; 32],
    /// `c=` for the header.
    pub header_canon: Canon,
    /// `c=` for the body.
    pub body_canon: Canon,
    /// `d=`, in A-labels.
    pub domain: Name,
    /// `d=` as text, lower case.
    pub domain_text: String,
    /// `h=` without white space: names between colons.
    pub headers: Vec<u8>,
    /// The domain of `i=`; `None` if it is not given.
    pub identity: Option<Name>,
    /// `l=`
    pub length: Option<u64>,
    /// `s=`, in A-labels.
    pub selector: Name,
    /// `t=`, seconds since 1970.
    pub signed_at: Option<u64>,
    /// `x=`, seconds since 1970.
    pub expires: Option<u64>,
}

impl Signature {
    /// Reads the value of a DKIM-Signature field, folded as it came.
    pub fn parse(value: &[u8]) -> Result<Signature, Fault> {
        Signature::from_dkim_tags(&read_tags(value)?)
    }

    /// Reads the tags of a DKIM-Signature field.
    pub fn from_dkim_tags(tags: &TagList<'_>) -> Result<Signature, Fault> {
        match tags.get(b"v") {
            Some(b"1") => {}
            Some(_) => return Err(Fault::Version),
            None => return Err(Fault::MissingTag),
        }
        let mut signature = Signature::from_tags(tags, Kind::Dkim)?;
        if let Some(identity) = tags.get(b"i") {
            // Its local part is quoted-printable and of no interest.
            let at = memchr::memrchr(b'@', identity).ok_or(Fault::Syntax)?;
            let domain = identity.get(at.saturating_add(1)..).unwrap_or_default();
            let (identity, _) = parse_domain(domain)?;
            if !identity.is_within(&signature.domain) {
                return Err(Fault::Identity);
            }
            signature.identity = Some(identity);
        }
        Ok(signature)
    }

    /// The tags that DKIM-Signature and ARC-Message-Signature share.
    pub fn from_tags(tags: &TagList<'_>, kind: Kind) -> Result<Signature, Fault> {
        let required = |name: &[u8]| tags.get(name).ok_or(Fault::MissingTag);
        let algorithm = parse_algorithm(required(b"a")?)?;
        let (header_canon, body_canon) = match tags.get(b"c") {
            None => kind.canon(),
            Some(c) => parse_canon(c)?,
        };
        let signature = parse_base64(required(b"b")?)?;
        let body_hash = parse_base64(required(b"bh")?)?.try_into().map_err(|_| Fault::Syntax)?;
        let (domain, domain_text) = parse_domain(required(b"d")?)?;
        let (selector, _) = parse_labels(required(b"s")?)?;
        let headers = parse_headers(required(b"h")?, kind)?;
        if let Some(q) = tags.get(b"q") {
            let methods = without_space(q);
            if !methods.split(|b| *b == b':').any(|m| m == b"dns/txt" || m == b"dns") {
                return Err(Fault::QueryMethod);
            }
        }
        let number = |name: &[u8]| tags.get(name).map(parse_number).transpose();
        let (signed_at, expires) = (number(b"t")?, number(b"x")?);
        if matches!((signed_at, expires), (Some(t), Some(x)) if x <= t) {
            return Err(Fault::Expiry);
        }
        Ok(Signature {
            algorithm,
            signature,
            body_hash,
            header_canon,
            body_canon,
            domain,
            domain_text,
            headers,
            identity: None,
            length: number(b"l")?,
            selector,
            signed_at,
            expires,
        })
    }

    /// The names of `h=`, in order.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        names(&self.headers)
    }

    /// True if `h=` has this name, ASCII case folded.
    pub fn signs(&self, name: &[u8]) -> bool {
        self.names().any(|n| n.eq_ignore_ascii_case(name))
    }

    /// Where the key is.  RFC 6376 3.6.2.1.
    pub fn key_name(&self) -> Result<Name, Fault> {
        let keys = Name::from_dotted(b"_domainkey").map_err(|_| Fault::Syntax)?;
        let below = keys.under(&self.domain).map_err(|_| Fault::Syntax)?;
        self.selector.under(&below).map_err(|_| Fault::Syntax)
    }

    /// The digests of the signed header: the fields of `h=`, then the
    /// signature's own field with `b=` empty.  RFC 6376 3.7.
    ///
    /// `own` is the field's raw bytes; it is not among `fields` for this
    /// purpose, wherever it stands.
    pub fn header_digests<D: Sha256>(&self, fields: &FieldIndex<'_>, own: &Field<'_>) -> Digests {
        let selected = fields.select(self.names(), own.at);
        Digests::of(own.raw, |own| digest::<D>(self.header_canon, &selected, own))
    }
}

/// What a signature may be over, by what its signer took for the value of `b=`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Digests {
    /// The value with all white space around it, as RFC 6376 3.7 says.
    pub bare: [u8; 32],
    /// The value with what stands before it, if white space follows that this
    /// leaves: some signers, dkimpy among them, go by the value's own grammar.
    pub spaced: Option<[u8; 32]>,
}

impl Digests {
    /// Both of them, of a signature field's raw bytes; the second only where it
    /// is another one, which hardly any field is made for.
    pub fn of(raw: &[u8], digest: impl Fn(&[u8]) -> [u8; 32]) -> Digests {
        let (bare, spaced) = without_b(raw);
        Digests { bare: digest(&bare), spaced: spaced.map(|own| digest(&own)) }
    }
}

/// The digest of canonical fields, then of a signature field without its value.
/// RFC 6376 3.7.
pub fn digest<D: Sha256>(canon: Canon, fields: &[&[u8]], own: &[u8]) -> [u8; 32] {
    let mut digest = D::new();
    let mut text = Vec::with_capacity(TEXT);
    for raw in fields {
        // Short ones go together: a digest takes long to take little.
        if text.len() > TEXT / 2 {
            digest.update(&text);
            text.clear();
        }
        push_field(canon, raw, &mut text);
        text.extend_from_slice(CRLF);
    }
    push_field(canon, own, &mut text);
    digest.update(&text);
    digest.finish()
}

/// Most headers are no longer than this.
const TEXT: usize = 2048;

/// A signature field without the value of `b=` and its line end; and with the
/// white space that follows the value, if there is any.
pub fn without_b(raw: &[u8]) -> (Vec<u8>, Option<Vec<u8>>) {
    let raw = without_line_end(raw);
    let colon = memchr::memchr(b':', raw).map_or(0, |n| n.saturating_add(1));
    let at = |n: usize| colon.saturating_add(n);
    let value = raw.get(colon..).and_then(b_value).map(|v| at(v.start)..at(v.end));
    let Some(value) = value else { return (raw.to_vec(), None) };
    let before = raw.get(..value.start).unwrap_or_default();
    let after = raw.get(value.end..).unwrap_or_default();
    let text = raw.get(value).unwrap_or_default();
    let space = text.get(text.trim_ascii_end().len()..).unwrap_or_default();
    let spaced = (!space.is_empty()).then(|| [before, space, after].concat());
    ([before, after].concat(), spaced)
}

/// The fields of a header by name, so that a selection of n names takes time
/// n log n.
#[derive(Clone, Debug)]
pub struct FieldIndex<'a> {
    /// In the order of their names; those of one name from the top.
    sorted: Vec<Field<'a>>,
}

/// An order of names without regard to ASCII case: most differ in their length.
fn order(a: &[u8], b: &[u8]) -> Ordering {
    let lower = u8::to_ascii_lowercase;
    a.len().cmp(&b.len()).then_with(|| a.iter().map(lower).cmp(b.iter().map(lower)))
}

impl<'a> FieldIndex<'a> {
    /// Indexes fields given from the top.
    pub fn new(fields: &[Field<'a>]) -> FieldIndex<'a> {
        let mut sorted = fields.to_vec();
        sorted.sort_by(|a, b| order(a.name, b.name));
        FieldIndex { sorted }
    }

    fn range(&self, name: &[u8]) -> Range<usize> {
        let start = self.sorted.partition_point(|field| order(field.name, name).is_lt());
        let from = self.sorted.get(start..).unwrap_or_default();
        let count = from.partition_point(|field| order(field.name, name).is_eq());
        start..start.saturating_add(count)
    }

    /// The fields of that name, from the top.
    pub fn named(&self, name: &[u8]) -> &[Field<'a>] {
        self.sorted.get(self.range(name)).unwrap_or_default()
    }

    /// The raw fields that a list of names means: each name takes the next one
    /// from the bottom, and is nothing once there are no more.  RFC 6376 5.4.2.
    pub fn select<'n>(
        &self,
        names: impl Iterator<Item = &'n [u8]>,
        except_at: usize,
    ) -> Vec<&'a [u8]> {
        // How many of a name were taken, at the place of the first of them.
        let mut taken = vec![0_usize; self.sorted.len()];
        let mut next = |name: &[u8]| loop {
            let range = self.range(name);
            let taken = taken.get_mut(range.start)?;
            let left = range.len().checked_sub(*taken)?.checked_sub(1)?;
            let field = self.sorted.get(range.start.saturating_add(left))?;
            *taken = taken.saturating_add(1);
            if field.at != except_at {
                return Some(field.raw);
            }
        };
        names.filter_map(&mut next).collect()
    }
}

/// Reads a tag list with the faults of a signature.
pub fn read_tags(value: &[u8]) -> Result<TagList<'_>, Fault> {
    TagList::parse(value).map_err(|e| match e {
        super::tag::TagError::Duplicate => Fault::DuplicateTag,
        _ => Fault::Syntax,
    })
}

/// `a=`.
pub fn parse_algorithm(value: &[u8]) -> Result<Algorithm, Fault> {
    let is = |word: &str| value.eq_ignore_ascii_case(word.as_bytes());
    match value {
        _ if is("rsa-sha256") => Ok(Algorithm::RsaSha256),
        _ if is("ed25519-sha256") => Ok(Algorithm::Ed25519Sha256),
        // RFC 8301 3.1: verifiers MUST NOT.
        _ if is("rsa-sha1") => Err(Fault::Sha1),
        _ => Err(Fault::Algorithm),
    }
}

/// `c=`: `header/body`, or the header's alone.
pub fn parse_canon(value: &[u8]) -> Result<(Canon, Canon), Fault> {
    let word = |w: &[u8]| {
        let mut known = [Canon::Simple, Canon::Relaxed].into_iter();
        known
            .find(|canon| w.eq_ignore_ascii_case(canon.word().as_bytes()))
            .ok_or(Fault::Canonicalisation)
    };
    let value = without_space(value);
    match memchr::memchr(b'/', &value) {
        None => Ok((word(&value)?, Canon::Simple)),
        Some(slash) => {
            let (header, body) = value.split_at_checked(slash).unwrap_or_default();
            Ok((word(header)?, word(body.get(1..).unwrap_or_default())?))
        }
    }
}

/// Base 64 with white space anywhere; a signature of a key of 8192 bits is the
/// longest that has a use.
pub fn parse_base64(value: &[u8]) -> Result<Vec<u8>, Fault> {
    let text = without_space(value);
    if text.is_empty() || text.len() > limits::DKIM_SIGNATURE.size() {
        return Err(Fault::Syntax);
    }
    // Strict but for the unused bits and padding, of which signers make mistakes.
    let end = text.iter().rposition(|b| *b != b'=').map_or(0, |n| n.saturating_add(1));
    base64::decode_letters(text.get(..end).unwrap_or_default()).ok_or(Fault::Syntax)
}

/// domain-name = sub-domain 1*("." sub-domain): a TLD alone signs nothing.
pub fn parse_domain(value: &[u8]) -> Result<(Name, String), Fault> {
    let (name, text) = parse_labels(value)?;
    if name.label_count() < 2 {
        return Err(Fault::Syntax);
    }
    Ok((name, text))
}

/// Labels of letters, digits, hyphens and underscores, or U-labels; as a name
/// and as lower-case text.
pub fn parse_labels(value: &[u8]) -> Result<(Name, String), Fault> {
    let mut ascii = idna::to_ascii(value).ok_or(Fault::Syntax)?;
    ascii.make_ascii_lowercase();
    let sound = ascii.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let name = Name::from_dotted(&ascii).map_err(|_| Fault::Syntax)?;
    if !sound || name.is_root() || ascii.ends_with(b".") {
        return Err(Fault::Syntax);
    }
    Ok((name, String::from_utf8(ascii).map_err(|_| Fault::Syntax)?))
}

/// `h=`: names between colons; in DKIM From must be among them, and none empty.
fn parse_headers(value: &[u8], kind: Kind) -> Result<Vec<u8>, Fault> {
    let headers = without_space(value);
    let (mut count, mut from, mut empty) = (0_usize, false, false);
    for name in headers.split(|b| *b == b':') {
        count = count.saturating_add(1);
        from |= name.eq_ignore_ascii_case(b"from");
        empty |= name.is_empty();
    }
    if kind == Kind::Dkim {
        if empty {
            return Err(Fault::Syntax);
        }
        if !from {
            return Err(Fault::NoFrom);
        }
    }
    let most = limits::DKIM_NAMES.size();
    if count > most {
        // One name may well occur as often, each of an oversigned field.
        let different: HashSet<Vec<u8>> = names(&headers).map(<[u8]>::to_ascii_lowercase).collect();
        if different.len() > most {
            return Err(Fault::TooManyNames);
        }
    }
    Ok(headers.into_owned())
}

/// What stands between colons.
fn names(headers: &[u8]) -> impl Iterator<Item = &[u8]> {
    headers.split(|b| *b == b':').filter(|name| !name.is_empty())
}

/// 1*76DIGIT.  More than 64 bits of it is no time and no length.
fn parse_number(value: &[u8]) -> Result<u64, Fault> {
    let mut c = Cursor::new(value);
    c.number().filter(|_| c.at_end()).ok_or(Fault::Syntax)
}
