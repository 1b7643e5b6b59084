//! Key records.  RFC 6376 3.6.1; RFC 8301 3.2; RFC 8463 4.
//!
//! An RSA key is met in two forms, SubjectPublicKeyInfo and the bare
//! RSAPublicKey of PKCS #1; both are read here to their two numbers, which are
//! judged before any library sees them.

use super::signature::{parse_base64, Fault};
use super::tag::{without_space, TagList};
use super::Algorithm;
use crate::proto::cursor::Cursor;

/// The two numbers of an RSA key, big-endian, without leading zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RsaKey {
    /// n
    pub modulus: Vec<u8>,
    /// e
    pub exponent: Vec<u8>,
}

impl RsaKey {
    /// Bits of the modulus.
    pub fn bits(&self) -> u32 {
        let octets = u32::try_from(self.modulus.len()).unwrap_or(u32::MAX);
        let zeros = self.modulus.first().map_or(0, |b| b.leading_zeros());
        octets.saturating_mul(8).saturating_sub(zeros)
    }
}

/// A public key that can verify.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA
    Rsa(RsaKey),
    /// Ed25519
    Ed25519([u8; 32]),
}

impl PublicKey {
    /// Bits, as people count them.
    pub fn bits(&self) -> u32 {
        match self {
            PublicKey::Rsa(rsa) => rsa.bits(),
            PublicKey::Ed25519(_) => 256,
        }
    }

    /// The algorithm that it verifies.
    pub const fn algorithm(&self) -> Algorithm {
        match self {
            PublicKey::Rsa(_) => Algorithm::RsaSha256,
            PublicKey::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }
}

/// A key record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub key: PublicKey,
    /// `t=y`: the domain is testing.
    pub testing: bool,
    /// `t=s`: `i=` must be `d=`.
    pub strict: bool,
    /// `s=` has `*` or `email`.
    pub for_mail: bool,
    /// `s=` has `*`, `email` or `tlsrpt`.  RFC 8460 3.
    pub for_tlsrpt: bool,
}

/// RFC 8301 3.2: no key below this is valid.
const RSA_LEAST_BITS: u32 = 1024;
/// A verification takes time with the square of this and more.
const RSA_MOST_BITS: u32 = 8192;

/// Reads a TXT record; `None` if it does not look like a key, as others may share
/// a wildcard: one that begins with another version is discarded.  RFC 6376 3.6.1.
pub fn read(text: &[u8]) -> Option<Result<KeyRecord, Fault>> {
    let version = |tags: &TagList<'_>| match tags.0.first() {
        Some(tag) if tag.name == b"v" => Some(tag.value == VERSION),
        _ => None,
    };
    match TagList::parse(text) {
        Ok(tags) => {
            let is_key = version(&tags).unwrap_or_else(|| tags.get(b"p").is_some());
            is_key.then(|| from_tags(&tags))
        }
        // What follows the first tag may be anything.
        Err(_) => {
            let first = text.split(|b| *b == b';').next().unwrap_or_default();
            let tags = TagList::parse(first).ok()?;
            (version(&tags) == Some(true)).then_some(Err(Fault::KeySyntax))
        }
    }
}

const VERSION: &[u8] = b"DKIM1";

/// Reads a key record.
pub fn parse(text: &[u8]) -> Result<KeyRecord, Fault> {
    from_tags(&TagList::parse(text).map_err(|_| Fault::KeySyntax)?)
}

fn from_tags(tags: &TagList<'_>) -> Result<KeyRecord, Fault> {
    // "v" must be the first tag if it is there at all.
    for (i, tag) in tags.0.iter().enumerate() {
        if tag.name == b"v" && (i > 0 || tag.value != VERSION) {
            return Err(Fault::KeySyntax);
        }
    }
    let words = |name: &[u8]| -> Option<Vec<Vec<u8>>> {
        let value = without_space(tags.get(name)?).to_ascii_lowercase();
        Some(value.split(|b| *b == b':').map(<[u8]>::to_vec).collect())
    };
    let has = |words: &Option<Vec<Vec<u8>>>, word: &[u8]| {
        words.as_ref().is_some_and(|w| w.iter().any(|w| w == word))
    };
    let p = tags.get(b"p").ok_or(Fault::KeySyntax)?;
    if p.is_empty() {
        return Err(Fault::Revoked);
    }
    let hashes = words(b"h");
    if hashes.is_some() && !has(&hashes, b"sha256") {
        return Err(Fault::KeyHash);
    }
    let services = words(b"s");
    let any = services.is_none() || has(&services, b"*") || has(&services, b"email");
    let octets = parse_base64(p).map_err(|_| Fault::KeySyntax)?;
    let kind = tags.get(b"k").unwrap_or(b"rsa");
    let key = if kind.eq_ignore_ascii_case(b"rsa") {
        PublicKey::Rsa(check_rsa(parse_rsa(&octets)?)?)
    } else if kind.eq_ignore_ascii_case(b"ed25519") {
        PublicKey::Ed25519(check_ed25519(&octets)?)
    } else {
        return Err(Fault::KeyType);
    };
    let flags = words(b"t");
    Ok(KeyRecord {
        key,
        testing: has(&flags, b"y"),
        strict: has(&flags, b"s"),
        for_mail: any,
        for_tlsrpt: any || has(&services, b"tlsrpt"),
    })
}

fn check_rsa(key: RsaKey) -> Result<RsaKey, Fault> {
    // An exponent of 1 verifies anything, an even one nothing; a huge one only
    // costs time.
    let odd = key.exponent.last().is_some_and(|b| b & 1 == 1);
    let one = key.exponent == [1];
    if !odd || one || key.exponent.len() > 4 || key.bits() > RSA_MOST_BITS {
        return Err(Fault::KeyWeak);
    }
    if key.modulus.last().is_none_or(|b| b & 1 == 0) {
        return Err(Fault::KeyWeak);
    }
    if key.bits() < RSA_LEAST_BITS {
        return Err(Fault::KeyTooSmall);
    }
    Ok(key)
}

/// The encodings of points of small order, with which a signature could verify
/// for many messages.  The top bit is a sign and is not compared.
const SMALL_ORDER: [[u8; 32]; 7] = [
    // 0 (order 4) and 1 (order 1)
    hex32("0000000000000000000000000000000000000000000000000000000000000000"),
    hex32("0100000000000000000000000000000000000000000000000000000000000000"),
    // order 8
    hex32("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"),
    hex32("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a"),
    // p-1 (order 2), and p and p+1, which are 0 and 1 again
    hex32("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    hex32("edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
    hex32("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"),
];

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "evaluated when compiling, on the constants above"
)]
const fn hex32(text: &str) -> [u8; 32] {
    const fn digit(b: u8) -> u8 {
        match b {
            b'0'..=b'9' => b - b'0',
            _ => b - b'a' + 10,
        }
    }
    let mut out = [0; 32];
    let mut i = 0;
    while i < 32 {
        out[i] = digit(text.as_bytes()[2 * i]) << 4 | digit(text.as_bytes()[2 * i + 1]);
        i += 1;
    }
    out
}

/// RFC 8463 4: the 32 octets themselves, not a SubjectPublicKeyInfo.
fn check_ed25519(octets: &[u8]) -> Result<[u8; 32], Fault> {
    let key: [u8; 32] = octets.try_into().map_err(|_| Fault::KeySyntax)?;
    let mut unsigned = key;
    if let Some(last) = unsigned.last_mut() {
        *last &= 0x7f;
    }
    if SMALL_ORDER.contains(&unsigned) {
        return Err(Fault::KeyWeak);
    }
    Ok(key)
}

/// The object identifier rsaEncryption, with its tag and length.
const RSA_ENCRYPTION: &[u8] = b"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";

/// SubjectPublicKeyInfo (RFC 5280 4.1) or RSAPublicKey (RFC 8017 A.1.1).
fn parse_rsa(der: &[u8]) -> Result<RsaKey, Fault> {
    rsa_public_key(der).or_else(|| spki(der)).ok_or(Fault::KeySyntax)
}

fn spki(der: &[u8]) -> Option<RsaKey> {
    let mut outer = Cursor::new(der);
    let mut info = Cursor::new(element(&mut outer, 0x30)?);
    let mut algorithm = Cursor::new(element(&mut info, 0x30)?);
    if !outer.at_end() || !algorithm.eat_exact(RSA_ENCRYPTION) {
        return None;
    }
    // A BIT STRING without unused bits.
    let bits = element(&mut info, 0x03)?.strip_prefix(&[0])?;
    rsa_public_key(bits)
}

fn rsa_public_key(der: &[u8]) -> Option<RsaKey> {
    let mut outer = Cursor::new(der);
    let mut key = Cursor::new(element(&mut outer, 0x30)?);
    let modulus = unsigned(element(&mut key, 0x02)?)?;
    let exponent = unsigned(element(&mut key, 0x02)?)?;
    (outer.at_end() && key.at_end()).then_some(RsaKey { modulus, exponent })
}

/// The content of a DER element of that tag.  X.690 8.1.3.
fn element<'a>(c: &mut Cursor<'a>, tag: u8) -> Option<&'a [u8]> {
    if !c.eat(tag) {
        return None;
    }
    let first = c.next_byte()?;
    let length = match first {
        0..=0x7f => usize::from(first),
        0x81 => usize::from(c.next_byte()?),
        0x82 => usize::from(u16::from_be_bytes(c.take(2)?.try_into().ok()?)),
        _ => return None,
    };
    c.take(length)
}

/// An INTEGER that is positive.
fn unsigned(content: &[u8]) -> Option<Vec<u8>> {
    let first = content.first()?;
    if first & 0x80 != 0 {
        return None;
    }
    let zeros = content.iter().take_while(|b| **b == 0).count();
    content.get(zeros..).filter(|n| !n.is_empty()).map(<[u8]>::to_vec)
}

/// The text of a record that publishes a key.
///
/// `octets` is what `p=` takes: SubjectPublicKeyInfo for RSA, the 32 octets of
/// the key for Ed25519.
pub fn write(algorithm: Algorithm, octets: &[u8]) -> Vec<u8> {
    let kind = match algorithm {
        Algorithm::RsaSha256 => "rsa",
        Algorithm::Ed25519Sha256 => "ed25519",
    };
    let mut text = format!("v=DKIM1; k={kind}; p=").into_bytes();
    text.extend_from_slice(&crate::proto::text::base64::encode(octets));
    text
}

/// The record of [`write`] as a line of a zone file, its text in strings of at
/// most 255 octets.  RFC 6376 3.6.2.2; RFC 1035 3.3, 5.1.
pub fn zone_line(selector: &str, domain: &str, algorithm: Algorithm, octets: &[u8]) -> String {
    let mut line = format!("{selector}._domainkey.{domain}. IN TXT");
    for string in write(algorithm, octets).chunks(255) {
        line += &format!(" \"{}\"", String::from_utf8_lossy(string));
    }
    line
}
