//! Signing with a private key: keyd's half of what `remotekey` asks for.
//!
//! Runs in keyd.  A peer that is broken into may have anything signed that its
//! keys sign anyway, but no more: an RSA block must be a PSS encoding and a
//! PKCS #1 input a DigestInfo, so that the key can be used neither to decrypt
//! recorded traffic nor to sign blindly.  RFC 8017 9.1, 9.2.

use crate::base::crypto::{self, CryptoError};
use crate::base::remotekey::{KeyId, Op};
use openssl::ec::EcKey;
use openssl::ecdsa::EcdsaSig;
use openssl::hash::{hash, MessageDigest};
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::{Padding, Rsa};

/// A private key that can sign.
pub enum SigningKey {
    /// RSA of 1024 bits or more.
    Rsa(Rsa<Private>),
    /// ECDSA.
    Ec(EcKey<Private>),
    /// Ed25519: for DKIM (RFC 8463), not for TLS.
    Ed25519(PKey<Private>),
}

/// Why there is no signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SignError {
    /// The input is not what may be signed, or not with this key.
    Refused,
    /// The library failed.
    Failed(CryptoError),
}

impl From<openssl::error::ErrorStack> for SignError {
    fn from(stack: openssl::error::ErrorStack) -> Self {
        Self::Failed(stack.into())
    }
}

/// DigestInfo of SHA-256, SHA-384 and SHA-512 without the digest itself
/// (RFC 8017 9.2, note 1), and the digest's length.
const DIGEST_INFOS: [(&[u8], usize); 3] = [
    (
        &[
            0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x01, 0x05, 0x00, 0x04, 0x20,
        ],
        32,
    ),
    (
        &[
            0x30, 0x41, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x02, 0x05, 0x00, 0x04, 0x30,
        ],
        48,
    ),
    (
        &[
            0x30, 0x51, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02,
            0x03, 0x05, 0x00, 0x04, 0x40,
        ],
        64,
    ),
];

impl SigningKey {
    /// Reads a key in PEM; encrypted ones are an error.
    pub fn from_pem(pem: &[u8]) -> Result<Self, CryptoError> {
        // Without a passphrase callback that says no, the library would ask a
        // terminal.
        let key = PKey::private_key_from_pem_callback(pem, |_| Ok(0))?;
        match key.id() {
            Id::RSA => Ok(Self::Rsa(key.rsa()?)),
            Id::EC => Ok(Self::Ec(key.ec_key()?)),
            Id::ED25519 => Ok(Self::Ed25519(key)),
            _ => Err(CryptoError::new("the key is neither RSA, ECDSA nor Ed25519")),
        }
    }

    /// The name by which `remotekey` asks for it.
    pub fn id(&self) -> Result<KeyId, CryptoError> {
        Ok(crypto::sha256(&match self {
            Self::Rsa(rsa) => rsa.public_key_to_der()?,
            Self::Ec(ec) => ec.public_key_to_der()?,
            Self::Ed25519(key) => key.public_key_to_der()?,
        }))
    }

    /// What TLS asks for.
    pub fn sign(&self, op: Op, input: &[u8]) -> Result<Vec<u8>, SignError> {
        match (self, op) {
            (Self::Rsa(rsa), Op::RsaPkcs1) => {
                if !DIGEST_INFOS.iter().any(|(head, len)| {
                    input.strip_prefix(*head).is_some_and(|digest| digest.len() == *len)
                }) {
                    return Err(SignError::Refused);
                }
                private_encrypt(rsa, input, Padding::PKCS1)
            }
            (Self::Rsa(rsa), Op::RsaBlock) => {
                if !is_pss(input, rsa.n().num_bits())? {
                    return Err(SignError::Refused);
                }
                private_encrypt(rsa, input, Padding::NONE)
            }
            (Self::Ec(ec), Op::Ecdsa) if (20..=64).contains(&input.len()) => {
                Ok(EcdsaSig::sign(input, ec)?.to_der()?)
            }
            _ => Err(SignError::Refused),
        }
    }

    /// What DKIM and ARC ask for: a signature over a SHA-256 digest.
    /// RSASSA-PKCS1-v1_5 (RFC 6376 3.3.1) or pure Ed25519 of the digest
    /// (RFC 8463 3); other keys are refused.
    pub fn sign_sha256(&self, digest: &[u8; 32]) -> Result<Vec<u8>, SignError> {
        match self {
            Self::Rsa(rsa) => {
                let mut info = DIGEST_INFOS.first().map_or(Vec::new(), |(head, _)| head.to_vec());
                info.extend_from_slice(digest);
                private_encrypt(rsa, &info, Padding::PKCS1)
            }
            Self::Ed25519(key) => {
                let mut signer = openssl::sign::Signer::new_without_digest(key)?;
                Ok(signer.sign_oneshot_to_vec(digest)?)
            }
            Self::Ec(_) => Err(SignError::Refused),
        }
    }
}

fn private_encrypt(
    rsa: &Rsa<Private>,
    input: &[u8],
    padding: Padding,
) -> Result<Vec<u8>, SignError> {
    let mut out = vec![0; usize::try_from(rsa.size()).unwrap_or(0)];
    let n = rsa.private_encrypt(input, &mut out, padding)?;
    out.truncate(n);
    Ok(out)
}

/// Whether a block is an EMSA-PSS encoding for a modulus of `bits` bits with
/// SHA-256, SHA-384 or SHA-512, the same for the mask, and a salt as long as
/// the digest, which is what TLS uses (RFC 8446 4.2.3).  Everything of RFC
/// 8017 9.1.2 is checked but the message, which is not known here.
fn is_pss(block: &[u8], bits: i32) -> Result<bool, SignError> {
    let Some(bits) = usize::try_from(bits).ok().and_then(|b| b.checked_sub(1)) else {
        return Ok(false);
    };
    // The block is as long as the modulus; the encoding may be an octet less.
    let em_len = bits.div_ceil(8);
    let Some(skip) = block.len().checked_sub(em_len).filter(|n| *n <= 1) else {
        return Ok(false);
    };
    let (zero, em) = block.split_at(skip);
    let unused = em_len.saturating_mul(8).saturating_sub(bits);
    let top_mask = 0xffu8.checked_shr(u32::try_from(unused).unwrap_or(0)).unwrap_or(0);
    let (Some((0xbc, rest)), true) = (em.split_last(), zero.iter().all(|b| *b == 0)) else {
        return Ok(false);
    };
    if rest.first().is_none_or(|first| first & !top_mask != 0) {
        return Ok(false);
    }
    for digest in [MessageDigest::sha256(), MessageDigest::sha384(), MessageDigest::sha512()] {
        let len = digest.size();
        let Some(db_len) = rest.len().checked_sub(len) else { continue };
        let (masked, h) = rest.split_at(db_len);
        let mut db = mgf1(h, db_len, digest)?;
        for (byte, mask) in db.iter_mut().zip(masked) {
            *byte ^= mask;
        }
        if let Some(first) = db.first_mut() {
            *first &= top_mask;
        }
        let Some(padding) = db_len.checked_sub(len.saturating_add(1)) else { continue };
        let (zeros, one) = (db.get(..padding).unwrap_or_default(), db.get(padding));
        if zeros.iter().all(|b| *b == 0) && one == Some(&1) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The mask of RFC 8017 B.2.1.
fn mgf1(seed: &[u8], len: usize, digest: MessageDigest) -> Result<Vec<u8>, SignError> {
    let mut out = Vec::new();
    let mut counter = 0u32;
    while out.len() < len {
        let mut input = seed.to_vec();
        input.extend_from_slice(&counter.to_be_bytes());
        out.extend_from_slice(&hash(digest, &input)?);
        counter = counter.saturating_add(1);
    }
    out.truncate(len);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openssl::ec::EcGroup;
    use openssl::nid::Nid;
    use openssl::sign::Verifier;

    #[test]
    fn rsa_signs_digests_and_nothing_else() {
        let rsa = Rsa::generate(2048).unwrap();
        let key = SigningKey::Rsa(rsa.clone());
        let digest = openssl::sha::sha256(b"hello");
        let signature = key.sign_sha256(&digest).unwrap();
        let public = PKey::from_rsa(
            Rsa::from_public_components(rsa.n().to_owned().unwrap(), rsa.e().to_owned().unwrap())
                .unwrap(),
        )
        .unwrap();
        let mut verifier = Verifier::new(MessageDigest::sha256(), &public).unwrap();
        assert!(verifier.verify_oneshot(&signature, b"hello").unwrap());
        // A bare digest, a ciphertext, a block without structure: no.
        assert_eq!(key.sign(Op::RsaPkcs1, &digest), Err(SignError::Refused));
        let mut cipher = vec![0; 256];
        rsa.public_encrypt(b"secret", &mut cipher, Padding::PKCS1).unwrap();
        assert_eq!(key.sign(Op::RsaBlock, &cipher), Err(SignError::Refused));
        *cipher.last_mut().unwrap() = 0xbc;
        assert_eq!(key.sign(Op::RsaBlock, &cipher), Err(SignError::Refused));
        assert_eq!(key.sign(Op::RsaBlock, b""), Err(SignError::Refused));
        assert_eq!(key.sign(Op::Ecdsa, &digest), Err(SignError::Refused));
    }

    #[test]
    fn pss_blocks_of_all_key_sizes_are_known() {
        for bits in [1024, 1025, 2047, 2048] {
            let rsa = Rsa::generate(bits).unwrap();
            let pkey = PKey::from_rsa(rsa.clone()).unwrap();
            let mut signer = openssl::sign::Signer::new(MessageDigest::sha256(), &pkey).unwrap();
            signer.set_rsa_padding(Padding::PKCS1_PSS).unwrap();
            signer.set_rsa_pss_saltlen(openssl::sign::RsaPssSaltlen::DIGEST_LENGTH).unwrap();
            let signature = signer.sign_oneshot_to_vec(b"hello").unwrap();
            let mut block = vec![0; rsa.size() as usize];
            rsa.public_decrypt(&signature, &mut block, Padding::NONE).unwrap();
            assert!(is_pss(&block, bits as i32).unwrap(), "{bits}");
            let again = SigningKey::Rsa(rsa).sign(Op::RsaBlock, &block).unwrap();
            assert_eq!(again, signature);
            block[5] ^= 1;
            assert!(!is_pss(&block, bits as i32).unwrap());
        }
    }

    #[test]
    fn ecdsa_and_ed25519() {
        let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
        let ec = EcKey::generate(&group).unwrap();
        let digest = openssl::sha::sha256(b"x");
        let der = SigningKey::Ec(ec.clone()).sign(Op::Ecdsa, &digest).unwrap();
        assert!(EcdsaSig::from_der(&der).unwrap().verify(&digest, &ec).unwrap());
        assert_eq!(SigningKey::Ec(ec.clone()).sign(Op::Ecdsa, b"short"), Err(SignError::Refused));
        assert_eq!(SigningKey::Ec(ec).sign_sha256(&digest), Err(SignError::Refused));
        let ed = PKey::generate_ed25519().unwrap();
        let pem = ed.private_key_to_pem_pkcs8().unwrap();
        let key = SigningKey::from_pem(&pem).unwrap();
        let signature = key.sign_sha256(&digest).unwrap();
        let mut verifier = Verifier::new_without_digest(&ed).unwrap();
        assert!(verifier.verify_oneshot(&signature, &digest).unwrap());
        assert_eq!(key.sign(Op::Ecdsa, &digest), Err(SignError::Refused));
        assert_eq!(key.id().unwrap(), crypto::sha256(&ed.public_key_to_der().unwrap()));
        assert!(SigningKey::from_pem(b"nonsense").is_err());
    }
}
