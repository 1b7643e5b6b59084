//! What mail authentication costs.  Medians of alternating runs in one process.

use std::time::{Duration, Instant};

use rmail::base::crypto::dkim::{OpenSsl, SigningKey};
use rmail::proto::dkim::canon::BodyHashes;
use rmail::proto::dkim::key::{self, PublicKey};
use rmail::proto::dkim::signature::FieldIndex;
use rmail::proto::dkim::{sign, Canon, Crypto, Policy, Sha256, Verdict, Verifier};
use rmail::proto::dmarc::{self, Identifiers};
use rmail::proto::dns::zone::Zone;
use rmail::proto::dns::{Answers, Name};
use rmail::proto::mime::{split, Field, Fields};
use rmail::proto::spf::{self, Identity, Sender};

use crate::{Env, Outcome};

type Digest = <OpenSsl as Crypto>::Digest;

const RUNS: usize = 20;

/// Medians of two things that take turns.
fn medians(mut one: impl FnMut(), mut other: impl FnMut()) -> (Duration, Duration) {
    let time = |run: &mut dyn FnMut()| {
        let begun = Instant::now();
        run();
        begun.elapsed()
    };
    let (mut a, mut b) = (Vec::new(), Vec::new());
    for _ in 0..RUNS {
        a.push(time(&mut one));
        b.push(time(&mut other));
    }
    a.sort();
    b.sort();
    (a[RUNS / 2], b[RUNS / 2])
}

fn ratio(what: &str, ours: Duration, bare: Duration, most: f64, wrong: &mut Vec<String>) {
    let r = ours.as_secs_f64() / bare.as_secs_f64();
    println!("bench {what}: {ours:?}, bare {bare:?}, ratio {r:.2} (at most {most})");
    if r > most {
        wrong.push(format!("{what}: {r:.2}"));
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = Digest::new();
    digest.update(bytes);
    digest.finish()
}

fn text(octets: usize) -> Vec<u8> {
    let line = b"The quick brown fox jumps over the lazy dog, and then it comes back.\r\n";
    line.iter().copied().cycle().take(octets / line.len() * line.len()).collect()
}

/// Canonicalising and hashing 10 MB beside SHA-256 of it.
fn bodies(wrong: &mut Vec<String>) {
    let body = text(10 << 20);
    for canon in [Canon::Simple, Canon::Relaxed] {
        let hash = || {
            let mut hashes = BodyHashes::<Digest>::default();
            hashes.want(canon, None);
            body.chunks(64 << 10).for_each(|c| hashes.feed(c));
            std::hint::black_box(hashes.finish());
        };
        let bare = || {
            std::hint::black_box(sha256(&body));
        };
        let (ours, bare) = medians(hash, bare);
        ratio(&format!("10 MB body, {}", canon.word()), ours, bare, 1.5, wrong);
    }
}

const ZONE: &str = "example.com TXT \"v=spf1 include:a.example.net ip4:198.51.100.0/24 mx -all\"\n\
    a.example.net TXT \"v=spf1 ip4:203.0.113.0/24 ?all\"\nexample.com MX 10 mx.example.com\n\
    mx.example.com A 192.0.2.1\n_dmarc.example.com TXT \"v=DMARC1; p=reject; rua=mailto:a@example.com\"\n";

pub fn run(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let mut wrong = Vec::new();
    bodies(&mut wrong);

    let read = |name| std::fs::read(dir.join(name)).expect("read the suite");
    let key = SigningKey::from_pem(&read("2048_testkey.key")).expect("a key");
    let record = read("2048_testkey_wo_markers.pub.txt").trim_ascii().to_vec();
    let zone_text =
        format!("{ZONE}s._domainkey.example.com TXT \"{}\"\n", String::from_utf8_lossy(&record));
    let zone = Zone::parse(zone_text.as_bytes()).expect("a zone");

    // A signed message of 5 KB.
    let mut message =
        b"From: a@example.com\r\nTo: b@example.net\r\nSubject: a test\r\nDate: now\r\n\r\n"
            .to_vec();
    message.extend_from_slice(&text(4500));
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

    // Answers that are known: the DNS is not what is measured.
    let mut answers = Answers::new();
    let mut verify = |times: usize| {
        for _ in 0..times {
            let (header, body) = split(&signed);
            let mut verifier = Verifier::<Digest>::new(header, None, Policy::default(), 0);
            verifier.feed(body);
            let (checked, _) = verifier.finish();
            let results = answers.run(|a| checked.evaluate(&OpenSsl, a), |q| zone.answer(q));
            assert_eq!(results[0].verdict, Verdict::Pass);
        }
    };
    verify(1);
    let PublicKey::Rsa(rsa) = key::parse(&record).expect("a key").key else { panic!("RSA") };
    let digest = sha256(&signed);
    let signature = key.sign(&digest).expect("sign");
    let bare = || {
        for _ in 0..100 {
            std::hint::black_box(sha256(&signed));
            assert!(OpenSsl.verify_rsa(&rsa, &digest, &signature));
        }
    };
    let (ours, bare) = medians(|| verify(100), bare);
    ratio("DKIM verification of 5 KB, 100 times", ours, bare, 1.3, &mut wrong);

    let sender = Sender {
        ip: [192, 0, 2, 1].into(),
        helo: b"mx.example.com".to_vec(),
        mail_from: b"a@example.com".to_vec(),
        receiver: b"mx".to_vec(),
        now: 0,
    };
    let mut answers = Answers::new();
    let mut spf = || {
        for _ in 0..100 {
            let ask = |q: &rmail::proto::dns::Query| zone.answer(q);
            let outcome = answers.run(|a| spf::check(Identity::MailFrom, &sender, a), ask);
            assert_eq!(outcome.verdict, spf::Verdict::Pass);
        }
    };
    spf();
    let author = Name::parse(b"example.com").expect("a name");
    let identifiers = Identifiers { spf: Some(author.clone()), dkim: vec![] };
    let mut known = Answers::new();
    let mut dmarc = || {
        for _ in 0..100 {
            let ask = |q: &rmail::proto::dns::Query| zone.answer(q);
            let outcome = known.run(|a| dmarc::evaluate(&author, &identifiers, a), ask);
            assert_eq!(outcome.verdict, dmarc::Verdict::Pass);
        }
    };
    dmarc();
    let (spf, dmarc) = medians(spf, dmarc);
    println!("bench SPF: {:?} a message; DMARC: {:?} a message", spf / 100, dmarc / 100);
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}
