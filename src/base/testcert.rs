//! Certificates for tests.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509Builder, X509NameBuilder, X509};

/// A certificate and its key.
pub struct Made {
    pub cert: X509,
    pub key: PKey<Private>,
}

pub fn rsa_key() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).unwrap()).unwrap()
}

pub fn ec_key() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).unwrap();
    PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap()
}

/// A certificate for `names`, signed by `ca` or by itself; without names it is
/// an authority.
pub fn make(names: &[&str], key: PKey<Private>, ca: Option<&Made>) -> Made {
    let mut b = X509Builder::new().unwrap();
    b.set_version(2).unwrap();
    let mut n = X509NameBuilder::new().unwrap();
    n.append_entry_by_nid(Nid::COMMONNAME, names.first().unwrap_or(&"test authority")).unwrap();
    let subject = n.build();
    b.set_subject_name(&subject).unwrap();
    b.set_issuer_name(ca.map_or(&subject, |ca| ca.cert.subject_name())).unwrap();
    b.set_pubkey(&key).unwrap();
    b.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    b.set_not_after(&Asn1Time::days_from_now(30).unwrap()).unwrap();
    let serial = BigNum::from_u32(crate::sys::rand::u32() >> 1).unwrap();
    b.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
    if names.is_empty() {
        b.append_extension(BasicConstraints::new().critical().ca().build().unwrap()).unwrap();
    } else {
        let mut san = SubjectAlternativeName::new();
        for name in names {
            san.dns(name);
        }
        let san = san.build(&b.x509v3_context(ca.map(|ca| ca.cert.as_ref()), None)).unwrap();
        b.append_extension(san).unwrap();
    }
    b.sign(ca.map_or(&key, |ca| &ca.key), MessageDigest::sha256()).unwrap();
    Made { cert: b.build(), key }
}
