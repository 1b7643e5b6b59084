//! The primitives of DKIM and ARC over openssl: SHA-256, RSA and Ed25519.
//!
//! Verifying runs in filter and in rmailctl; signing takes a key that was read
//! and is what keyd does with a digest.  Any thread; nothing blocks.
//! RFC 6376 3.3, RFC 8017 8.2, RFC 8463 3.

use openssl::bn::BigNum;
use openssl::pkey::{Id, PKey, Private};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Rsa;
use openssl::sign::{Signer, Verifier};

use super::CryptoError;
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
#[derive(Clone, Copy, Debug, Default)]
pub struct OpenSsl;

impl Crypto for OpenSsl {
    type Digest = Digest;

    fn verify_rsa(&self, key: &RsaKey, digest: &[u8; 32], signature: &[u8]) -> bool {
        verify_rsa(key, digest, signature).unwrap_or(false)
    }

    fn verify_ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        verify_ed25519(key, message, signature).unwrap_or(false)
    }
}

/// An error is a signature that openssl cannot take: the same as a false one.
fn verify_rsa(key: &RsaKey, digest: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    let modulus = BigNum::from_slice(&key.modulus)?;
    let exponent = BigNum::from_slice(&key.exponent)?;
    let key = PKey::from_rsa(Rsa::from_public_components(modulus, exponent)?)?;
    let mut ctx = PkeyCtx::new(&key)?;
    ctx.verify_init()?;
    ctx.set_signature_md(openssl::md::Md::sha256())?;
    Ok(ctx.verify(digest, signature)?)
}

fn verify_ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, CryptoError> {
    let key = PKey::public_key_from_raw_bytes(key, Id::ED25519)?;
    let mut verifier = Verifier::new_without_digest(&key)?;
    Ok(verifier.verify_oneshot(signature, message)?)
}

/// A private key for signatures on messages.
pub struct SigningKey(PKey<Private>);

impl SigningKey {
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
