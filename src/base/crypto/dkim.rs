//! The primitives of DKIM and ARC over openssl: SHA-256, RSA and Ed25519.
//!
//! Verifying runs in filter and in rmailctl; signing takes a key that was read
//! and is what keyd does with a digest.  Any thread; nothing blocks.
//! RFC 6376 3.3, RFC 8017 8.2, RFC 8463 3.

use openssl::bn::BigNum;
use openssl::pkey::{Id, PKey, Private, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use openssl::sign::{Signer, Verifier};
use std::sync::Mutex;

use super::CryptoError;
use crate::base::lock::lock;
use crate::proto::dkim::key::RsaKey;
use crate::proto::dkim::{Algorithm, Crypto, Sha256};

/// A running SHA-256 that needs no allocation.
#[derive(Clone)]
pub struct Digest(openssl::sha::Sha256);

impl Sha256 for Digest {
    fn new() -> Self {
        Digest(openssl::sha::Sha256::new())
    }

    fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

/// Verification by openssl.
///
/// It keeps the RSA keys that it met last, ready for use: to get one ready takes
/// half as long as to verify with it, and few keys sign most mail; the two
/// signatures of an ARC set are mostly by one.  A key is found by its numbers,
/// so that it makes no difference whence or for whom it came.
#[derive(Default)]
pub struct OpenSsl {
    /// The one used last is the first.  Locked for the search only.
    keys: Mutex<Vec<(RsaKey, Rsa<Public>)>>,
}

/// Keys that are kept: some 100 kB.
const KEYS: usize = 64;

impl OpenSsl {
    /// Has met no key yet.
    pub fn new() -> OpenSsl {
        OpenSsl::default()
    }

    fn ready(&self, key: &RsaKey) -> Result<Rsa<Public>, CryptoError> {
        let mut keys = lock(&self.keys);
        if let Some(at) = keys.iter().position(|(known, _)| known == key) {
            keys[..=at].rotate_right(1);
            return Ok(keys[0].1.clone());
        }
        let modulus = BigNum::from_slice(&key.modulus)?;
        let exponent = BigNum::from_slice(&key.exponent)?;
        let ready = Rsa::from_public_components(modulus, exponent)?;
        keys.truncate(KEYS - 1);
        keys.insert(0, (key.clone(), ready.clone()));
        Ok(ready)
    }
}

impl Crypto for OpenSsl {
    type Digest = Digest;

    fn verify_rsa(&self, key: &RsaKey, digest: &[u8; 32], signature: &[u8]) -> bool {
        // An error is a signature that openssl cannot take: the same as a false
        // one.
        self.ready(key).and_then(|key| verify_rsa(&key, digest, signature)).unwrap_or(false)
    }

    fn verify_ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        verify_ed25519(key, message, signature).unwrap_or(false)
    }
}

/// RSASSA-PKCS1-V1_5-VERIFY of RFC 8017 8.2.2, steps 1 to 4.
///
/// RSAVP1 alone is asked of openssl, and the message is encoded here: through
/// EVP, OpenSSL 3 takes half as long again, to look up the key, the padding and
/// the digest by their names.  To compare with the one right encoding is also
/// what no parser of the encoded message can get wrong.
fn verify_rsa(key: &Rsa<Public>, digest: &[u8; 32], signature: &[u8]) -> Result<bool, CryptoError> {
    // 1: the signature is as long as the modulus.
    if signature.len() != usize::try_from(key.size()).unwrap_or(0) {
        return Ok(false);
    }
    // 2: RSAVP1, an error unless the signature is below the modulus.
    let mut room = [0; KEY_OCTETS];
    let Some(encoded) = room.get_mut(..signature.len()) else { return Ok(false) };
    let octets = key.public_decrypt(signature, encoded, Padding::NONE)?;
    // 3, 4: nothing here is secret, so that time does not matter.
    Ok(octets == encoded.len() && is_encoded(encoded, digest))
}

/// A key of 8192 bits is the longest that is read.
const KEY_OCTETS: usize = 1024;

/// DigestInfo of a SHA-256 digest, up to the digest.  RFC 8017 9.2, note 1.
const SHA256_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// Whether `encoded` is EMSA-PKCS1-v1_5 of a SHA-256 digest: 00 01, at least
/// eight octets of FF, 00, DigestInfo.  RFC 8017 9.2.
fn is_encoded(encoded: &[u8], digest: &[u8; 32]) -> bool {
    let padding = encoded
        .strip_suffix(digest)
        .and_then(|rest| rest.strip_suffix(SHA256_INFO))
        .and_then(|rest| rest.strip_suffix(&[0]))
        .and_then(|rest| rest.strip_prefix(&[0, 1]));
    padding.is_some_and(|ff| ff.len() >= 8 && ff.iter().all(|b| *b == 0xff))
}

fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    let key = PKey::public_key_from_raw_bytes(key, Id::ED25519)?;
    let mut verifier = Verifier::new_without_digest(&key)?;
    Ok(verifier.verify_oneshot(signature, message)?)
}

/// A private key for signatures on messages.
pub struct SigningKey(PKey<Private>);

/// Bits of an RSA key of ours: verifiers need not take more than 2048, and need
/// not believe less for long.  RFC 8301 3.2.
const OWN_LEAST_BITS: i32 = 2048;

impl SigningKey {
    /// Reads a key that mail of ours is to be signed with: as
    /// [`SigningKey::from_pem`], and an RSA key has 2048 bits at least.
    pub fn own_from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let key = Self::from_pem(pem)?;
        let bits = key.0.rsa().map(|rsa| rsa.n().num_bits());
        if bits.is_ok_and(|bits| bits < OWN_LEAST_BITS) {
            return Err(CryptoError::new(
                "an RSA key of less than 2048 bits: make a longer one, and publish it",
            ));
        }
        Ok(key)
    }

    /// Reads a key in PEM: PKCS #1, PKCS #8 or, for Ed25519, PKCS #8.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        let key = PKey::private_key_from_pem(pem)?;
        match key.id() {
            Id::RSA | Id::ED25519 => Ok(SigningKey(key)),
            _ => Err(CryptoError::new("neither an RSA nor an Ed25519 key")),
        }
    }

    /// An Ed25519 key from its 32 octets.
    pub fn from_ed25519(octets: &[u8]) -> Result<Self, CryptoError> {
        Ok(SigningKey(PKey::private_key_from_raw_bytes(octets, Id::ED25519)?))
    }

    /// The algorithm that the key signs with.
    pub fn algorithm(&self) -> Algorithm {
        match self.0.id() {
            Id::ED25519 => Algorithm::Ed25519Sha256,
            _ => Algorithm::RsaSha256,
        }
    }

    /// What `p=` of the key record takes.
    pub fn public(&self) -> Result<Vec<u8>, CryptoError> {
        match self.algorithm() {
            Algorithm::Ed25519Sha256 => Ok(self.0.raw_public_key()?),
            Algorithm::RsaSha256 => Ok(self.0.public_key_to_der()?),
        }
    }

    /// The signature over a SHA-256 digest.
    pub fn sign(&self, digest: &[u8; 32]) -> Result<Vec<u8>, CryptoError> {
        match self.algorithm() {
            Algorithm::Ed25519Sha256 => {
                Ok(Signer::new_without_digest(&self.0)?.sign_oneshot_to_vec(digest)?)
            }
            Algorithm::RsaSha256 => {
                let mut ctx = PkeyCtx::new(&self.0)?;
                ctx.sign_init()?;
                ctx.set_signature_md(openssl::md::Md::sha256())?;
                let mut signature = Vec::new();
                ctx.sign_to_vec(digest, &mut signature)?;
                Ok(signature)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> (Rsa<Private>, RsaKey) {
        let private = Rsa::generate(1024).unwrap();
        let public = RsaKey { modulus: private.n().to_vec(), exponent: private.e().to_vec() };
        (private, public)
    }

    /// A signature over whatever is given as the encoded message.
    fn sign_encoded(key: &Rsa<Private>, encoded: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; encoded.len()];
        key.private_encrypt(encoded, &mut signature, Padding::NONE).unwrap();
        signature
    }

    fn encoding(digest: &[u8], octets: usize) -> Vec<u8> {
        let mut encoded = vec![0, 1];
        encoded.resize(octets - SHA256_INFO.len() - digest.len() - 1, 0xff);
        encoded.push(0);
        encoded.extend_from_slice(SHA256_INFO);
        encoded.extend_from_slice(digest);
        encoded
    }

    #[test]
    fn what_openssl_signs_verifies_and_nothing_else() {
        let (private, public) = key();
        let openssl = OpenSsl::new();
        let digest = [7; 32];
        let signer = SigningKey(PKey::from_rsa(private.clone()).unwrap());
        let signature = signer.sign(&digest).unwrap();
        assert_eq!(signature, sign_encoded(&private, &encoding(&digest, 128)));
        assert!(openssl.verify_rsa(&public, &digest, &signature));
        assert!(!openssl.verify_rsa(&public, &[8; 32], &signature));
        for at in 0..signature.len() {
            let mut other = signature.clone();
            other[at] ^= 1;
            assert!(!openssl.verify_rsa(&public, &digest, &other), "octet {at}");
        }
    }

    /// RFC 8301 3.2.
    #[test]
    fn an_rsa_key_of_ours_has_2048_bits_at_least() {
        let own = |bits: u32| {
            let key = PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap();
            let pem = key.private_key_to_pem_pkcs8().unwrap();
            assert!(SigningKey::from_pem(&pem).is_ok(), "{bits}: as others use");
            SigningKey::own_from_pem(&pem)
        };
        for bits in [1024, 2040] {
            let error = own(bits).err().unwrap().to_string();
            assert!(error.contains("less than 2048 bits"), "{bits}: {error}");
        }
        assert_eq!(own(2048).unwrap().algorithm(), Algorithm::RsaSha256);
        let ed25519 = PKey::generate_ed25519().unwrap().private_key_to_pem_pkcs8().unwrap();
        let key = SigningKey::own_from_pem(&ed25519).unwrap();
        assert_eq!(key.algorithm(), Algorithm::Ed25519Sha256);
        let ec = openssl::ec::EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1);
        let ec = openssl::ec::EcKey::generate(&ec.unwrap()).unwrap();
        let ec = PKey::from_ec_key(ec).unwrap().private_key_to_pem_pkcs8().unwrap();
        assert!(SigningKey::own_from_pem(&ec).is_err(), "another kind");
        assert!(SigningKey::own_from_pem(b"no key").is_err());
    }

    /// RFC 8463 3: PureEdDSA, and what it signs is the digest.
    #[test]
    fn ed25519_signs_the_digest_as_its_message() {
        let signer = SigningKey::from_ed25519(&[9; 32]).unwrap();
        let key: [u8; 32] = signer.public().unwrap().try_into().unwrap();
        let digest = crate::base::crypto::sha256(b"the canonical data");
        let signature = signer.sign(&digest).unwrap();
        let openssl = OpenSsl::new();
        assert!(openssl.verify_ed25519(&key, &digest, &signature));
        assert!(!openssl.verify_ed25519(&key, b"the canonical data", &signature));
        assert!(!openssl.verify_ed25519(&key, &digest, &signature[1..]));
    }

    #[test]
    fn a_signature_of_another_length_than_the_modulus_is_none() {
        let (private, public) = key();
        let openssl = OpenSsl::new();
        // One that begins with 00, so that it is the same number without it.
        let (signature, digest) = std::iter::repeat_with(crate::base::crypto::random)
            .map(|digest| (sign_encoded(&private, &encoding(&digest, 128)), digest))
            .find(|(signature, _)| signature[0] == 0)
            .unwrap();
        assert!(openssl.verify_rsa(&public, &digest, &signature));
        assert!(!openssl.verify_rsa(&public, &digest, &signature[1..]));
        assert!(!openssl.verify_rsa(&public, &digest, &[&[0], &signature[..]].concat()));
        assert!(!openssl.verify_rsa(&public, &digest, &[]));
        assert!(!openssl.verify_rsa(&public, &digest, &[0xff; 128]), "above the modulus");
    }

    #[test]
    fn an_encoding_with_any_octet_changed_is_another() {
        // RFC 8017 8.2.2, and the forgeries of parsers that skip: short padding
        // with a tail, parameters other than NULL, other padding octets.
        let (private, public) = key();
        let openssl = OpenSsl::new();
        let digest = [7; 32];
        let good = encoding(&digest, 128);
        // The first octet only as 00: the number must be below the modulus.
        for at in 1..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            let signature = sign_encoded(&private, &bad);
            assert!(!openssl.verify_rsa(&public, &digest, &signature), "octet {at}");
        }
        let mut tail = encoding(&digest, 80);
        tail.resize(128, 0);
        assert!(!openssl.verify_rsa(&public, &digest, &sign_encoded(&private, &tail)));
        assert!(is_encoded(&good, &digest));
        assert!(is_encoded(&encoding(&digest, 62), &digest), "eight octets of FF");
        assert!(!is_encoded(&encoding(&digest, 61), &digest), "seven");
    }

    #[test]
    fn it_agrees_with_the_verification_of_openssl() {
        let (private, public) = key();
        let openssl = OpenSsl::new();
        let evp = PKey::from_rsa(
            Rsa::from_public_components(
                private.n().to_owned().unwrap(),
                private.e().to_owned().unwrap(),
            )
            .unwrap(),
        )
        .unwrap();
        let digest = [7; 32];
        let good = encoding(&digest, 128);
        for at in 0..good.len() {
            for change in [0, 1, 0x7f] {
                let mut encoded = good.clone();
                encoded[at] ^= change;
                if encoded[0] > 0 {
                    continue;
                }
                let signature = sign_encoded(&private, &encoded);
                let mut ctx = PkeyCtx::new(&evp).unwrap();
                ctx.verify_init().unwrap();
                ctx.set_signature_md(openssl::md::Md::sha256()).unwrap();
                let theirs = ctx.verify(&digest, &signature).unwrap_or(false);
                assert_eq!(openssl.verify_rsa(&public, &digest, &signature), theirs, "octet {at}");
                assert_eq!(theirs, change == 0);
            }
        }
    }

    #[test]
    fn keys_are_told_apart_and_only_so_many_are_kept() {
        let openssl = OpenSsl::new();
        let digest = [7; 32];
        let (private, public) = key();
        let (other, another) = (RsaKey { exponent: vec![3], ..public.clone() }, key().1);
        let signature = sign_encoded(&private, &encoding(&digest, 128));
        for _ in 0..3 {
            assert!(openssl.verify_rsa(&public, &digest, &signature));
            assert!(!openssl.verify_rsa(&other, &digest, &signature));
            assert!(!openssl.verify_rsa(&another, &digest, &signature));
        }
        assert_eq!(lock(&openssl.keys).len(), 3);
        assert_eq!(lock(&openssl.keys)[0].0, another, "used last");
        for n in 0..100 {
            let modulus = [&public.modulus[..127], &[n | 1]].concat();
            openssl.verify_rsa(&RsaKey { modulus, ..public.clone() }, &digest, &signature);
            assert!(openssl.verify_rsa(&public, &digest, &signature));
        }
        assert!(lock(&openssl.keys).len() <= KEYS);
        assert!(openssl.verify_rsa(&public, &digest, &signature));
    }
}
