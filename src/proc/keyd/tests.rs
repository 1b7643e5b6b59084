//! keyd over a channel, as smtp and a stranger see it.

use super::*;
use crate::base::clock::Deadline;
use crate::ipc::call::{CallError, NoRequests};
use crate::ipc::keyd::{Keyd, Way};
use crate::sys::fdpass;
use openssl::sign::Verifier;
use std::time::Duration;

const TEXT: &str = r#"
pki a.example cert "/etc/rmail/a.pem"
pki b.example cert "/etc/rmail/b.pem"
listen on lo port 25 tls pki a.example
listen on lo imaps auth <users> pki b.example
"#;

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A self-signed certificate and its key, as PEM.
fn pair(name: &str) -> (Vec<u8>, Vec<u8>, openssl::pkey::PKey<openssl::pkey::Private>) {
    use openssl::{asn1::Asn1Time, hash::MessageDigest, x509::*};
    let key = openssl::rsa::Rsa::generate(2048).unwrap();
    let key = openssl::pkey::PKey::from_rsa(key).unwrap();
    let mut subject = X509NameBuilder::new().unwrap();
    subject.append_entry_by_text("CN", name).unwrap();
    let subject = subject.build();
    let mut b = X509Builder::new().unwrap();
    b.set_subject_name(&subject).unwrap();
    b.set_issuer_name(&subject).unwrap();
    b.set_pubkey(&key).unwrap();
    b.set_not_before(&Asn1Time::days_from_now(0).unwrap()).unwrap();
    b.set_not_after(&Asn1Time::days_from_now(1).unwrap()).unwrap();
    b.sign(&key, MessageDigest::sha256()).unwrap();
    (b.build().to_pem().unwrap(), key.private_key_to_pem_pkcs8().unwrap(), key)
}

fn file(path: &str, bytes: Vec<u8>) -> File {
    File { path: path.into(), bytes }
}

fn digest_info(text: &[u8]) -> Vec<u8> {
    let mut info = vec![
        0x30, 0x31, 0x30, 0x0d, 0x06, 0x09, 0x60, 0x86, 0x48, 0x01, 0x65, 0x03, 0x04, 0x02, 0x01,
        0x05, 0x00, 0x04, 0x20,
    ];
    info.extend_from_slice(&crypto::sha256(text));
    info
}

#[test]
fn each_peer_has_its_own_keys_signed_with_and_no_other() {
    let (cert_a, pem_a, key_a) = pair("a.example");
    let (cert_b, pem_b, _) = pair("b.example");
    let id = |pem: &[u8]| remotekey::key_id(&tls::certificates(pem).unwrap()[0]).unwrap();
    let (id_a, id_b) = (id(&cert_a), id(&cert_b));
    let mut part = Part {
        generation: 1,
        text: TEXT.into(),
        files: vec![
            file("/etc/rmail/a.pem", cert_a),
            file("/etc/rmail/a.key", pem_a),
            file("/etc/rmail/b.pem", cert_b),
            file("/etc/rmail/b.key", pem_b),
        ],
    };
    let ring = Ring::load(&mut part).unwrap();
    assert!(part.files.iter().all(|f| f.bytes.iter().all(|b| *b == 0)), "the bytes are wiped");
    let shared = Arc::new(Shared {
        ring: RwLock::new(Arc::new(ring)),
        signed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let connect = |kind| {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let pool = Pool::start("t", 2, 4).unwrap();
        let edge: Peer<(), ()> =
            Peer::new("asker", Arc::new(Edge { kind, pool, shared: Arc::clone(&shared) }));
        edge.attach(ours).unwrap();
        let keyd: Keyd = Peer::new("keyd", Arc::new(NoRequests));
        keyd.attach(theirs).unwrap();
        (keyd, edge)
    };
    let ask = |keyd: &Keyd, key, way, input: &[u8]| {
        let ask = Ask::Sign { key, way, input: input.to_vec() };
        let Answer::Signed { signature } = keyd.call(&ask, soon()).unwrap();
        signature
    };
    let (smtp, _smtp) = connect(Kind::Smtp);
    let signature = ask(&smtp, id_a, Way::RsaPkcs1, &digest_info(b"hello")).unwrap();
    let mut verifier = Verifier::new(openssl::hash::MessageDigest::sha256(), &key_a).unwrap();
    assert!(verifier.verify_oneshot(&signature, b"hello").unwrap());
    // Another's key, an unknown one, something that is no digest.
    assert_eq!(ask(&smtp, id_b, Way::RsaPkcs1, &digest_info(b"hello")), None);
    assert_eq!(ask(&smtp, [7; 32], Way::RsaPkcs1, &digest_info(b"hello")), None);
    assert_eq!(ask(&smtp, id_a, Way::RsaPkcs1, b"hello"), None);
    assert_eq!(ask(&smtp, id_a, Way::Ecdsa, &[1; 32]), None);
    let (imap, _imap) = connect(Kind::Imap);
    assert!(ask(&imap, id_b, Way::RsaPkcs1, &digest_info(b"x")).is_some());
    assert_eq!(ask(&imap, id_a, Way::RsaPkcs1, &digest_info(b"x")), None);
    let (mta, _mta) = connect(Kind::Mta);
    assert_eq!(ask(&mta, id_a, Way::RsaPkcs1, &digest_info(b"x")), None);
    // A reload without the certificate takes the key away.
    let mut part = Part { generation: 2, text: Vec::new(), files: Vec::new() };
    *lock::write(&shared.ring) = Arc::new(Ring::load(&mut part).unwrap());
    assert_eq!(ask(&smtp, id_a, Way::RsaPkcs1, &digest_info(b"x")), None);
}

#[test]
fn a_malformed_request_is_answered_and_costs_nothing() {
    let shared = Arc::new(Shared {
        ring: RwLock::default(),
        signed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let (ours, theirs) = fdpass::socketpair().unwrap();
    let pool = Pool::start("t", 1, 1).unwrap();
    let edge: Peer<(), ()> = Peer::new("asker", Arc::new(Edge { kind: Kind::Smtp, pool, shared }));
    edge.attach(ours).unwrap();
    let keyd: Peer<Vec<u8>, Answer> = Peer::new("keyd", Arc::new(NoRequests));
    keyd.attach(theirs).unwrap();
    for _ in 0..3 {
        assert!(matches!(keyd.call(&vec![0xff; 100], soon()), Err(CallError::Busy)));
    }
}

#[test]
fn a_broken_key_is_an_error_and_is_named() {
    let text = b"-----BEGIN PRIVATE KEY-----\nnonsense\n-----END PRIVATE KEY-----\n".to_vec();
    let files = vec![file("/etc/rmail/x.key", text)];
    let mut part = Part { generation: 1, text: Vec::new(), files };
    let error = Ring::load(&mut part).err().unwrap();
    assert!(error.starts_with("/etc/rmail/x.key: "), "{error}");
}

#[test]
fn a_neighbour_that_asks_too_much_keeps_no_other_from_signing() {
    let shared = Arc::new(Shared {
        ring: RwLock::default(),
        signed: AtomicU64::new(0),
        refused: AtomicU64::new(0),
    });
    let connect = |kind| {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let pool = Pool::start("t", 1, 1).unwrap();
        let edge = Arc::new(Edge { kind, pool, shared: Arc::clone(&shared) });
        let peer: Peer<(), ()> = Peer::new("asker", edge.clone());
        peer.attach(ours).unwrap();
        let keyd: Keyd = Peer::new("keyd", Arc::new(NoRequests));
        keyd.attach(theirs).unwrap();
        (keyd, edge, peer)
    };
    let (smtp, edge, _smtp) = connect(Kind::Smtp);
    let (imap, _edge, _imap) = connect(Kind::Imap);
    let (go, wait) = std::sync::mpsc::channel::<()>();
    let (begun, busy) = std::sync::mpsc::channel();
    edge.pool.submit(move || {
        begun.send(()).unwrap();
        let _ = wait.recv();
    });
    busy.recv().unwrap();
    edge.pool.submit(|| ());
    let ask = || Ask::Sign { key: [7; 32], way: Way::RsaPkcs1, input: digest_info(b"x") };
    assert!(matches!(smtp.call(&ask(), soon()), Err(CallError::Busy)));
    assert!(matches!(imap.call(&ask(), soon()), Ok(Answer::Signed { signature: None })));
    drop(go);
}
