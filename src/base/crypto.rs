//! Digests, message authentication, sealing, and secrets that wipe themselves.
//!
//! Everything is the openssl crate's, restricted to what OpenSSL 3 and
//! LibreSSL 4.1 both have.  Any thread; nothing blocks.

pub mod dkim;

use crate::sys::rand;
use openssl::error::ErrorStack;
use openssl::hash::{Hasher, MessageDigest};
use openssl::memcmp;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{self, Cipher};
use std::fmt;

/// Octets of a SHA-256 digest.
pub const SHA256_LEN: usize = 32;
/// Octets of a key of [`seal`].
pub const KEY_LEN: usize = 32;
/// Octets of a nonce of [`seal`].
pub const NONCE_LEN: usize = 12;
/// Octets by which [`seal`] makes a text longer.
pub const TAG_LEN: usize = 16;

/// The library refused: memory, or a text that fails its authentication.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CryptoError(String);

impl CryptoError {
    /// An error in words of our own.
    pub(super) fn new(text: &str) -> Self {
        Self(text.to_owned())
    }
}

impl fmt::Display for CryptoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for CryptoError {}

impl From<ErrorStack> for CryptoError {
    fn from(stack: ErrorStack) -> Self {
        let text = stack.errors().iter().filter_map(openssl::error::Error::reason).next();
        Self(text.unwrap_or("cryptographic operation failed").to_owned())
    }
}

/// Bytes that nobody may see: without Debug and Clone, never grown (which
/// would leave copies behind), overwritten when dropped.
pub struct Secret(Box<[u8]>);

impl Secret {
    /// Takes bytes over.
    #[must_use]
    pub fn new(bytes: Vec<u8>) -> Self {
        let mut bytes = bytes;
        // into_boxed_slice copies when there is spare capacity, and frees what
        // it copied from as it is.
        if bytes.capacity() == bytes.len() {
            return Self(bytes.into_boxed_slice());
        }
        let copy = bytes.as_slice().into();
        wipe(&mut bytes);
        Self(copy)
    }

    /// Copies bytes; wiping the original is the caller's business.
    #[must_use]
    pub fn copy_of(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    /// Random bytes.
    #[must_use]
    pub fn random(len: usize) -> Self {
        let mut bytes = vec![0; len].into_boxed_slice();
        rand::fill(&mut bytes);
        Self(bytes)
    }

    /// The bytes.  The name is meant to be looked for in reviews.
    #[must_use]
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Number of octets.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites bytes with zeros in a way that the compiler must not leave out.
pub fn wipe(bytes: &mut [u8]) {
    crate::sys::rand::explicit_zero(bytes);
}

/// Whether two byte strings are equal, in a time that depends on their lengths
/// only.
#[must_use]
pub fn equal(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && memcmp::eq(a, b)
}

/// N random bytes.
#[must_use]
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes);
    bytes
}

/// SHA-256 of a text.
#[must_use]
pub fn sha256(text: &[u8]) -> [u8; SHA256_LEN] {
    openssl::sha::sha256(text)
}

/// SHA-1 of a text: to compare with what old formats hold, never to sign.
#[must_use]
pub fn sha1(text: &[u8]) -> [u8; 20] {
    openssl::sha::sha1(text)
}

/// A running digest.
pub struct Digest(Hasher);

impl Digest {
    /// SHA-256.
    pub fn sha256() -> Result<Self, CryptoError> {
        Ok(Self(Hasher::new(MessageDigest::sha256())?))
    }

    /// SHA-1, for comparison with old signatures.
    pub fn sha1() -> Result<Self, CryptoError> {
        Ok(Self(Hasher::new(MessageDigest::sha1())?))
    }

    /// Adds text.
    pub fn update(&mut self, text: &[u8]) -> Result<(), CryptoError> {
        Ok(self.0.update(text)?)
    }

    /// The digest of all that was added.
    pub fn finish(mut self) -> Result<Vec<u8>, CryptoError> {
        Ok(self.0.finish()?.to_vec())
    }
}

/// HMAC-SHA-256, RFC 2104.
pub fn hmac_sha256(key: &[u8], text: &[u8]) -> Result<[u8; SHA256_LEN], CryptoError> {
    let key = PKey::hmac(key)?;
    let mut signer = Signer::new(MessageDigest::sha256(), &key)?;
    signer.update(text)?;
    let mut mac = [0; SHA256_LEN];
    signer.sign(&mut mac)?;
    Ok(mac)
}

/// Encrypts and authenticates: AES-256-GCM (NIST SP 800-38D); `aad` is
/// authenticated only.  The tag is the last [`TAG_LEN`] octets of the result.
/// A nonce must never be used twice under one key.
pub fn seal(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    text: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let mut tag = [0; TAG_LEN];
    let mut out = symm::encrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), aad, text, &mut tag)?;
    out.extend_from_slice(&tag);
    Ok(out)
}

/// The reverse of [`seal`]; an error if anything differs from what was sealed.
pub fn open(
    key: &[u8; KEY_LEN],
    nonce: &[u8; NONCE_LEN],
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, CryptoError> {
    let short = || CryptoError("sealed text is too short".to_owned());
    let at = sealed.len().checked_sub(TAG_LEN).ok_or_else(short)?;
    let (text, tag) = sealed.split_at_checked(at).ok_or_else(short)?;
    symm::decrypt_aead(Cipher::aes_256_gcm(), key, Some(nonce), aad, text, tag)
        .map_err(|_| CryptoError("sealed text fails its authentication".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn digests_have_their_known_values() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hex(&sha256(b"abc")), abc);
        assert_eq!(hex(&sha1(b"abc")), "a9993e364706816aba3e25717850c26c9cd0d89d");
        let mut digest = Digest::sha256().unwrap();
        digest.update(b"a").unwrap();
        digest.update(b"bc").unwrap();
        assert_eq!(hex(&digest.finish().unwrap()), abc);
        // RFC 4231 4.3
        assert_eq!(
            hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?").unwrap()),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
    }

    #[test]
    fn what_is_sealed_opens_and_nothing_else_does() {
        let (key, nonce) = (random(), random());
        let sealed = seal(&key, &nonce, b"head", b"text").unwrap();
        assert_eq!(sealed.len(), 4 + TAG_LEN);
        assert_eq!(open(&key, &nonce, b"head", &sealed).unwrap(), b"text");
        assert!(open(&key, &nonce, b"Head", &sealed).is_err());
        assert!(open(&random(), &nonce, b"head", &sealed).is_err());
        for i in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[i] ^= 1;
            assert!(open(&key, &nonce, b"head", &bad).is_err());
            assert!(open(&key, &nonce, b"head", &sealed[..i]).is_err());
        }
        assert_eq!(open(&key, &nonce, b"", &seal(&key, &nonce, b"", b"").unwrap()).unwrap(), b"");
    }

    #[test]
    fn aes_256_gcm_is_the_standard_one() {
        // NIST GCM specification, test case 14.
        let sealed = seal(&[0; 32], &[0; 12], b"", &[0; 16]).unwrap();
        assert_eq!(
            hex(&sealed),
            "cea7403d4d606b6e074ec5d3baf39d18d0d1c8a799996bf0265b98b5d48ab919"
        );
    }

    #[test]
    fn equality_of_secrets() {
        assert!(equal(b"", b"") && equal(b"ab", b"ab"));
        assert!(!equal(b"ab", b"ac") && !equal(b"ab", b"abc"));
        let mut spare = Vec::with_capacity(64);
        spare.extend_from_slice(b"key");
        assert_eq!(Secret::new(spare).expose(), b"key");
        assert_eq!(Secret::random(32).len(), 32);
        let mut bytes = *b"key";
        wipe(&mut bytes);
        assert_eq!(bytes, [0; 3]);
    }
}
