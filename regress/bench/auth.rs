//! What mail authentication costs: medians of runs that take turns.
//!
//! What is "bare" in a ratio: the calls of openssl that no verifier can do
//! without.  For a message that is SHA-256 of its bytes in one piece and one RSA
//! verification.  Both begin with a key that is ready, or both with the bytes of
//! the key's record; and the bare verification is EVP_PKEY_verify(3), or less
//! than one: the public key operation alone, without the check of the padding.
//! OpenSSL 3 takes ten times as long to read a key for EVP as to use it, so that
//! with the bytes of the record the lesser one is what counts.

use std::hint::black_box;
use std::time::Duration;

use openssl::bn::BigNum;
use openssl::pkey::{PKey, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::{Padding, Rsa};
use rmail::base::crypto::dkim::{OpenSsl, SigningKey};
use rmail::proto::dkim::canon::BodyHashes;
use rmail::proto::dkim::key::{self, PublicKey, RsaKey};
use rmail::proto::dkim::signature::FieldIndex;
use rmail::proto::dkim::tag::TagList;
use rmail::proto::dkim::{sign, Canon, Crypto, Policy, Sha256, Verdict, Verifier};
use rmail::proto::dmarc::{self, Identifiers};
use rmail::proto::dns::zone::Zone;
use rmail::proto::dns::{Answers, Name, Query};
use rmail::proto::mime::{split, Field, Fields};
use rmail::proto::spf::{self, Identity, Sender};

use super::alloc::allocations;
use super::medians;
use crate::{Env, Outcome};

type Digest = <OpenSsl as Crypto>::Digest;

/// Messages in one run: long enough to be timed.
const MESSAGES: u32 = 50;

/// Prints a ratio, and notes it if it is too much.
fn ratio(what: &str, ours: Duration, bare: Duration, most: f64, wrong: &mut Vec<String>) {
    let r = ours.as_secs_f64() / bare.as_secs_f64();
    println!("bench {what}: {ours:.1?}, bare {bare:.1?}, ratio {r:.2} (at most {most})");
    if r > most {
        wrong.push(format!("{what}: {r:.2}"));
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = Digest::new();
    digest.update(bytes);
    digest.finish()
}

/// Lines of the same words over and over.
fn text(line: &[u8], octets: usize) -> Vec<u8> {
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

/// Bodies that are not canonical: what is in them over and over.
const CHANGED: &[(&str, &[u8])] = &[
    ("two spaces in every line", SPACED),
    ("LF for CRLF", b"The quick brown fox jumps over the lazy dog, and then it comes back.\n"),
    ("tabs between letters", b"a\tb\tc\td  e\tf "),
    ("lines of two letters and a space", b"ab \r\n"),
];

const PLAIN: &[u8] = b"The quick brown fox jumps over the lazy dog, and then it comes back.\r\n";
/// Every line of it is changed by `relaxed`.
const SPACED: &[u8] = b"The quick brown fox jumps over the lazy dog.  And then it comes back.\r\n";

/// Canonicalising and hashing 10 MB beside SHA-256 of it.
fn bodies(wrong: &mut Vec<String>) {
    let hash = |body: &[u8], canon| {
        let mut hashes = BodyHashes::<Digest>::default();
        hashes.want(canon, None);
        body.chunks(64 << 10).for_each(|c| hashes.feed(c));
        black_box(hashes.finish());
    };
    let body = text(PLAIN, 10 << 20);
    let [simple, relaxed, bare] = medians([
        &mut || hash(&body, Canon::Simple),
        &mut || hash(&body, Canon::Relaxed),
        &mut || _ = black_box(sha256(&body)),
    ]);
    ratio("10 MB body, simple", simple, bare, 1.5, wrong);
    ratio("10 MB body, relaxed", relaxed, bare, 1.5, wrong);
    for (what, unit) in CHANGED {
        let body = text(unit, 10 << 20);
        let [changed, bare] =
            medians([&mut || hash(&body, Canon::Relaxed), &mut || _ = black_box(sha256(&body))]);
        let r = changed.as_secs_f64() / bare.as_secs_f64();
        println!("bench 10 MB body, relaxed, {what}: {changed:.1?}, ratio {r:.2}");
    }
}

const ZONE: &str = "example.com TXT \"v=spf1 include:a.example.net ip4:198.51.100.0/24 mx -all\"\n\
    a.example.net TXT \"v=spf1 ip4:203.0.113.0/24 ?all\"\nexample.com MX 10 mx.example.com\n\
    mx.example.com A 192.0.2.1\n_dmarc.example.com TXT \"v=DMARC1; p=reject; rua=mailto:a@example.com\"\n";

/// A message of 5 KB, signed.
fn signed(key: &SigningKey) -> Vec<u8> {
    let mut message =
        b"From: a@example.com\r\nTo: b@example.net\r\nSubject: a test\r\nDate: now\r\n\r\n"
            .to_vec();
    message.extend_from_slice(&text(PLAIN, 4500));
    let (header, body) = split(&message);
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = BodyHashes::<Digest>::default();
    hashes.want(Canon::Relaxed, None);
    hashes.feed(body);
    let hash = hashes.finish().get(Canon::Relaxed, None).expect("wanted").digest;
    let request = sign::Request {
        domain: "example.com",
        selector: "s",
        algorithm: key.algorithm(),
        header_canon: Canon::Relaxed,
        body_canon: Canon::Relaxed,
        signed_at: None,
        expires: None,
    };
    let names = sign::fields_to_sign(&index);
    let mut signed =
        sign::sign::<Digest, _>(&index, &names, &hash, &request, |d| key.sign(d)).expect("sign");
    signed.extend_from_slice(&message);
    signed
}

/// A key that openssl can use, from its numbers.
fn ready(key: &RsaKey) -> Rsa<Public> {
    let modulus = BigNum::from_slice(&key.modulus).expect("a number");
    let exponent = BigNum::from_slice(&key.exponent).expect("a number");
    Rsa::from_public_components(modulus, exponent).expect("a key")
}

/// The public key operation alone.
fn bare_rsa(key: &Rsa<Public>, signature: &[u8]) {
    let mut encoded = [0; 512];
    black_box(key.public_decrypt(signature, &mut encoded, Padding::NONE).expect("a signature"));
}

fn bare_evp(key: &PKey<Public>, digest: &[u8], signature: &[u8]) {
    let mut ctx = PkeyCtx::new(key).expect("a context");
    ctx.verify_init().expect("a context");
    ctx.set_signature_md(openssl::md::Md::sha256()).expect("SHA-256");
    assert!(ctx.verify(digest, signature).expect("a signature"));
}

fn verification(signer: &SigningKey, record: &[u8], zone: &Zone, wrong: &mut Vec<String>) {
    let message = signed(signer);
    let parsed = key::parse(record).expect("a key");
    let PublicKey::Rsa(numbers) = parsed.key else { panic!("RSA") };
    let tags = TagList::parse(record).expect("a record");
    let p = std::str::from_utf8(tags.get(b"p").expect("p=")).expect("base 64");
    let digest = sha256(&message);
    let signature = signer.sign(&digest).expect("sign");

    // Answers that are known: the DNS is not what is measured.
    let verify = |openssl: &OpenSsl, answers: &mut Answers| {
        let (header, body) = split(&message);
        let mut verifier = Verifier::<Digest>::new(header, None, Policy::default(), 0);
        verifier.feed(body);
        let (checked, _) = verifier.finish();
        let results = answers.run(|a| checked.evaluate(openssl, a), |q| zone.answer(q));
        assert_eq!(results[0].verdict, Verdict::Pass);
    };
    let (openssl, mut answers) = (OpenSsl::new(), Answers::new());
    verify(&openssl, &mut answers);
    let known = allocations(|| verify(&openssl, &mut answers));
    let new = allocations(|| verify(&OpenSsl::new(), &mut answers));

    let rsa = ready(&numbers);
    let evp = PKey::from_rsa(ready(&numbers)).expect("a key");
    let der = || openssl::base64::decode_block(p).expect("base 64");
    let mut answers_too = answers.clone();
    let [known_time, new_time, by_rsa, by_evp, bytes_rsa, bytes_evp] = medians([
        &mut || (0..MESSAGES).for_each(|_| verify(&openssl, &mut answers)),
        &mut || (0..MESSAGES).for_each(|_| verify(&OpenSsl::new(), &mut answers_too)),
        &mut || {
            for _ in 0..MESSAGES {
                black_box(sha256(&message));
                bare_rsa(&rsa, &signature);
            }
        },
        &mut || {
            for _ in 0..MESSAGES {
                black_box(sha256(&message));
                bare_evp(&evp, &digest, &signature);
            }
        },
        &mut || {
            for _ in 0..MESSAGES {
                black_box(sha256(&message));
                let key = Rsa::public_key_from_der(&der()).expect("a key");
                bare_rsa(&key, &signature);
            }
        },
        &mut || {
            for _ in 0..MESSAGES {
                black_box(sha256(&message));
                let key = PKey::public_key_from_der(&der()).expect("a key");
                bare_evp(&key, &digest, &signature);
            }
        },
    ])
    .map(|time| time / MESSAGES);
    let octets = message.len();
    println!("bench DKIM verification of {octets} octets: {known_time:.1?}, {known} allocations");
    println!("bench   with a key not met before: {new_time:.1?}, {new} allocations");
    let begin = "  both from a key that is ready, beside SHA-256 and";
    ratio(&format!("{begin} EVP_PKEY_verify"), known_time, by_evp, 1.3, wrong);
    let r = known_time.as_secs_f64() / by_rsa.as_secs_f64();
    println!("bench {begin} the RSA operation alone: bare {by_rsa:.1?}, ratio {r:.2}");
    let begin = "  both from the record's bytes, beside SHA-256 and";
    ratio(&format!("{begin} the RSA operation alone"), new_time, bytes_rsa, 1.3, wrong);
    let r = new_time.as_secs_f64() / bytes_evp.as_secs_f64();
    println!("bench {begin} EVP_PKEY_verify: bare {bytes_evp:.1?}, ratio {r:.2}");
}

/// SPF and DMARC, with all answers known.
fn policies(zone: &Zone) {
    let sender = Sender {
        ip: [192, 0, 2, 1].into(),
        helo: b"mx.example.com".to_vec(),
        mail_from: b"a@example.com".to_vec(),
        receiver: b"mx".to_vec(),
        now: 0,
    };
    let ask = |q: &Query| zone.answer(q);
    let spf = |answers: &mut Answers| {
        let outcome = answers
            .run(|a| spf::check(Identity::MailFrom, &sender, spf::Policy::default(), a), ask);
        assert_eq!(outcome.verdict, spf::Verdict::Pass);
    };
    let author = Name::parse(b"example.com").expect("a name");
    let identifiers = Identifiers { spf: Some(author.clone()), ..Identifiers::default() };
    let dmarc = |answers: &mut Answers| {
        let outcome = answers.run(|a| dmarc::evaluate(&author, &identifiers, a), ask);
        assert_eq!(outcome.verdict, dmarc::Verdict::Pass);
    };
    let (mut spf_answers, mut dmarc_answers) = (Answers::new(), Answers::new());
    spf(&mut spf_answers);
    dmarc(&mut dmarc_answers);
    let by_spf = allocations(|| spf(&mut spf_answers));
    let by_dmarc = allocations(|| dmarc(&mut dmarc_answers));
    let [spf, dmarc] =
        medians([&mut || (0..MESSAGES).for_each(|_| spf(&mut spf_answers)), &mut || {
            (0..MESSAGES).for_each(|_| dmarc(&mut dmarc_answers))
        }])
        .map(|time| time / MESSAGES);
    println!("bench SPF: {spf:.2?}, {by_spf} allocations a message");
    println!("bench DMARC: {dmarc:.2?}, {by_dmarc} allocations a message");
}

pub fn run(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let read = |name| std::fs::read(dir.join(name)).expect("read the suite");
    let key = SigningKey::from_pem(&read("2048_testkey.key")).expect("a key");
    let record = read("2048_testkey_wo_markers.pub.txt").trim_ascii().to_vec();
    let zone =
        format!("{ZONE}s._domainkey.example.com TXT \"{}\"\n", String::from_utf8_lossy(&record));
    let zone = Zone::parse(zone.as_bytes()).expect("a zone");

    let mut wrong = Vec::new();
    bodies(&mut wrong);
    verification(&key, &record, &zone, &mut wrong);
    policies(&zone);
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}
