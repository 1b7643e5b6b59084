//! DomainKeys Identified Mail: signatures on messages.
//!
//! *Runs in* filter (verifying) and queue (signing); messages and keys are
//! hostile, and nothing here has a key: a signer is asked for the signature
//! over a digest.  [`tag`] reads tag lists, [`signature`] the DKIM-Signature
//! field, [`key`] key records, [`canon`] canonicalises in one pass, [`verify`]
//! and [`sign`] put it together, [`replay`] has signs of misuse.  ARC uses the same pieces.
//!
//! RFC 6376; RFC 8301 (no SHA-1, key sizes), RFC 8463 (Ed25519), RFC 8553,
//! RFC 8616 (internationalised mail), RFC 6008 (header.b).

pub mod canon;
pub mod key;
pub mod replay;
pub mod sign;
pub mod signature;
pub mod tag;
pub mod verify;

pub use signature::Fault;
pub use verify::{Checked, Policy, Verified, Verifier};

/// A running SHA-256.
pub trait Sha256: Clone {
    /// Begins with nothing.
    fn new() -> Self;
    /// Adds bytes.
    fn update(&mut self, bytes: &[u8]);
    /// The digest of all that was added.
    fn finish(self) -> [u8; 32];
}

/// The primitives that are not pure code: `base::crypto` has them from openssl,
/// so that nothing in `proto` depends on a library.
pub trait Crypto {
    /// The running digest.
    type Digest: Sha256;
    /// RSASSA-PKCS1-v1_5 over a SHA-256 digest.  The key was checked for its
    /// size and exponent.
    fn verify_rsa(&self, key: &key::RsaKey, digest: &[u8; 32], signature: &[u8]) -> bool;
    /// PureEdDSA over a message, which in DKIM is a digest.  RFC 8463 3.
    fn verify_ed25519(&self, key: &[u8; 32], message: &[u8], signature: &[u8]) -> bool;
}

/// A canonicalisation algorithm.  RFC 6376 3.4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Canon {
    /// `simple`
    Simple,
    /// `relaxed`
    Relaxed,
}

impl Canon {
    /// The algorithm's name.
    pub const fn word(self) -> &'static str {
        match self {
            Canon::Simple => "simple",
            Canon::Relaxed => "relaxed",
        }
    }
}

/// A signature algorithm that can pass.  RFC 8301 3.1, RFC 8463 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `rsa-sha256`
    RsaSha256,
    /// `ed25519-sha256`
    Ed25519Sha256,
}

impl Algorithm {
    /// The algorithm's name.
    pub const fn word(self) -> &'static str {
        match self {
            Algorithm::RsaSha256 => "rsa-sha256",
            Algorithm::Ed25519Sha256 => "ed25519-sha256",
        }
    }
}

/// The result of one signature.  RFC 8601 2.7.1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It verifies.
    Pass,
    /// It does not.
    Fail,
    /// It would, but is not accepted as it is.
    Policy,
    /// It was not looked at.
    Neutral,
    /// The DNS failed.
    TempError,
    /// The signature or the key is wrong.
    PermError,
}

impl Verdict {
    /// The word for Authentication-Results.
    pub const fn word(self) -> &'static str {
        match self {
            Verdict::Pass => "pass",
            Verdict::Fail => "fail",
            Verdict::Policy => "policy",
            Verdict::Neutral => "neutral",
            Verdict::TempError => "temperror",
            Verdict::PermError => "permerror",
        }
    }
}

/// Fuzz target: tag lists, signatures and key records.
pub fn fuzz_signature(bytes: &[u8]) {
    let _tags = tag::TagList::parse(bytes);
    let _range = tag::b_value(bytes);
    let _key = key::parse(bytes);
    if let Ok(signature) = signature::Signature::parse(bytes) {
        assert!(signature.signs(b"from"));
    }
}

#[cfg(test)]
pub(in crate::proto) mod tests;
