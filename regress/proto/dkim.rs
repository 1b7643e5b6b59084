//! DKIM with real keys: the RFCs' messages, and dkimpy both ways.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use rmail::base::crypto::dkim::{OpenSsl, SigningKey};
use rmail::base::crypto::sha256;
use rmail::proto::dkim::canon::BodyHashes;
use rmail::proto::dkim::signature::FieldIndex;
use rmail::proto::dkim::{
    sign, Algorithm, Canon, Crypto, Fault, Policy, Verdict, Verified, Verifier,
};
use rmail::proto::dns::{Answer, Answers, Data, Query, Status};
use rmail::proto::mime::{split, Field, Fields};
use rmail::proto::text::base64;

use crate::{Env, Outcome};

type Digest = <OpenSsl as Crypto>::Digest;

/// Verifies a message with keys from a function.
fn verify(message: &[u8], now: u64, mut key: impl FnMut(&str) -> Option<Vec<u8>>) -> Vec<Verified> {
    let (header, body) = split(message);
    let mut verifier = Verifier::<Digest>::new(header, None, Policy::default(), now);
    for chunk in body.chunks(1000) {
        verifier.feed(chunk);
    }
    let (checked, _) = verifier.finish();
    Answers::new().run(
        |answers| checked.evaluate(&OpenSsl::new(), answers),
        |query: &Query| match key(&query.name.to_string()) {
            Some(text) => Answer::found(&query.name, 60, vec![Data::txt(&text)]),
            None => Answer::negative(&query.name, Status::NxDomain, 60),
        },
    )
}

fn read(dir: &Path, name: &str) -> Vec<u8> {
    std::fs::read(dir.join(name)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A record of the suite: one line.
fn record(dir: &Path, name: &str) -> Vec<u8> {
    read(dir, name).trim_ascii().to_vec()
}

const RFC_8463_KEY: &[u8] = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn check(
    what: &str,
    got: &[Verified],
    expected: &[(Verdict, Option<Fault>)],
) -> Result<(), String> {
    let got: Vec<_> = got.iter().map(|v| (v.verdict, v.fault)).collect();
    if got == expected {
        Ok(())
    } else {
        Err(format!("{what}: {got:?}, not {expected:?}"))
    }
}

fn outcome(result: Result<(), String>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

/// The signed messages of RFC 6376 and RFC 8463 A.3.
pub fn rfc_vectors(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let rsa = record(&dir, "test.txt");
    let key = |name: &str| match name {
        "brisbane._domainkey.football.example.com" => Some(RFC_8463_KEY.to_vec()),
        "test._domainkey.football.example.com" => Some(rsa.clone()),
        other => panic!("asked for {other}"),
    };
    let pass = (Verdict::Pass, None);
    let run = || {
        for name in ["rfc6376.signed.msg", "rfc6376.signed.rsa.msg"] {
            let message = read(&dir, name);
            let got = verify(&message, 1_600_000_000, key);
            check(name, &got, &vec![pass; got.len().max(1)])?;
            // The same message as it was on the wire.
            let wire = String::from_utf8_lossy(&message).replace('\n', "\r\n");
            check(name, &verify(wire.as_bytes(), 1_600_000_000, key), &vec![pass; got.len()])?;
            let broken = wire.replace("hungry", "angry");
            let fails = vec![(Verdict::Fail, Some(Fault::BodyHash)); got.len()];
            check("changed body", &verify(broken.as_bytes(), 1_600_000_000, key), &fails)?;
            let broken = wire.replace("Is dinner", "is dinner");
            let fails = vec![(Verdict::Fail, Some(Fault::Signature)); got.len()];
            check("changed header", &verify(broken.as_bytes(), 1_600_000_000, key), &fails)?;
        }
        Ok(())
    };
    outcome(run())
}

/// Keys as they are met: PKCS #1, SubjectPublicKeyInfo, and ones that are none.
pub fn key_forms(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let pass = (Verdict::Pass, None);
    let perm = |fault| (Verdict::PermError, Some(fault));
    let run = || {
        let cases = [
            ("2048_testkey.key", "2048_testkey_wo_markers.pub.txt", pass),
            ("2048_testkey.key", "2048_testkey_wo_markers.pub.rsa.txt", pass),
            ("2048_testkey_PKCS8.key", "2048_testkey_PKCS8.key.pub.txt", pass),
            ("1024_testkey.key", "1024_testkey_wo_markers.pub.txt", pass),
            ("1024_testkey.key", "1024_testkey_wo_markers.pub.rsa.txt", pass),
            ("test.private", "test.txt", pass),
            ("test.private", "test2.txt", pass),
            ("test.private", "test_bad.txt", perm(Fault::KeySyntax)),
            ("test.private", "badk.txt", perm(Fault::KeyType)),
            ("test.private", "badversion.txt", perm(Fault::NoKey)),
            ("test.private", "test_tlsrpt.txt", perm(Fault::KeyService)),
            ("test.private", "ed25519test.dns", perm(Fault::KeyType)),
        ];
        for (private, public, expected) in cases {
            let key = SigningKey::from_pem(&read(&dir, private)).map_err(|e| e.to_string())?;
            let signed =
                sign_message(&read(&dir, "test.message"), &key, Canon::Relaxed, Canon::Simple);
            let got = verify(&signed, 0, |_| Some(record(&dir, public)));
            check(&format!("{private} {public}"), &got, &[expected])?;
        }
        // Messages that cannot pass whatever the key.
        let key = |_: &str| Some(record(&dir, "test.txt"));
        let got = verify(&read(&dir, "test.message.baddomain"), u64::MAX, key);
        check("d= with a comment", &got, &[perm(Fault::Syntax)])
    };
    outcome(run())
}

fn sign_message(
    message: &[u8],
    key: &SigningKey,
    header_canon: Canon,
    body_canon: Canon,
) -> Vec<u8> {
    let (header, body) = split(message);
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = BodyHashes::<Digest>::default();
    hashes.want(body_canon, None);
    hashes.feed(body);
    let hash = hashes.finish().get(body_canon, None).expect("wanted").digest;
    let request = sign::Request {
        domain: "example.com",
        selector: "test",
        algorithm: key.algorithm(),
        header_canon,
        body_canon,
        signed_at: None,
        expires: None,
    };
    let names = sign::fields_to_sign(&index);
    let mut out =
        sign::sign::<Digest, _>(&index, &names, &hash, &request, |digest| key.sign(digest))
            .expect("sign");
    out.extend_from_slice(message);
    out
}

/// Random choices that are the same in every run.
struct Seed(u64);

impl Seed {
    fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % n
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}

/// A message as dkimpy takes it (no white space before colons), with odd folding, odd white space, 8-bit and UTF-8 header fields,
/// perhaps without a body.
fn message(seed: &mut Seed) -> Vec<u8> {
    let words =
        ["a", "word", "  ", "\t", " \t ", "=?utf-8?Q?=C3=A9?=", "é", "日本", ";", "b=c", ":", "\""];
    let mut out = Vec::new();
    let names =
        ["Subject", "Date", "To", "X-Odd", "Cc", "List-Id", "subject", "Received", "Message-ID"];
    for i in 0..seed.below(8) + 1 {
        if i == 0 {
            out.extend_from_slice(b"From: A <a@example.com>\r\n");
        }
        out.extend_from_slice(seed.pick(&names).as_bytes());
        out.extend_from_slice(seed.pick(&[": ", ":", ":  ", ":\t", ":\r\n "]).as_bytes());
        for _ in 0..seed.below(6) {
            out.extend_from_slice(seed.pick(&words).as_bytes());
            if seed.below(4) == 0 {
                out.extend_from_slice(b"x\r\n");
                out.extend_from_slice(seed.pick(&[" ", "\t", "   "]).as_bytes());
            }
        }
        out.extend_from_slice(b"end\r\n");
        if seed.below(10) == 0 {
            out.extend_from_slice(b"X-Latin: \xe9\xff\r\n");
        }
    }
    out.extend_from_slice(b"\r\n");
    for _ in 0..seed.below(6) {
        for _ in 0..seed.below(5) {
            out.extend_from_slice(seed.pick(&words).as_bytes());
        }
        out.extend_from_slice(b"\r\n");
    }
    for _ in 0..seed.below(4) {
        out.extend_from_slice(b"\r\n");
    }
    if seed.below(3) == 0 {
        out.extend_from_slice(b"no line end");
    }
    out
}

const MESSAGES: usize = 500;

/// Fails unless the messages are of every kind that is to be tried, each often:
/// so that a change to the generator cannot quietly leave one out.
fn covered(messages: &[Vec<u8>]) -> Result<(), String> {
    if messages.len() != MESSAGES {
        return Err(format!("{} messages, not {MESSAGES}", messages.len()));
    }
    type Kind = (&'static str, fn(&[u8], &[u8]) -> bool);
    let kinds: [Kind; 7] = [
        ("folded fields", |header, _| header.windows(3).any(|w| w == b"\r\n " || w == b"\r\n\t")),
        ("UTF-8 in the header", |header, _| {
            !header.is_ascii() && std::str::from_utf8(header).is_ok()
        }),
        ("8-bit that is no UTF-8", |header, _| std::str::from_utf8(header).is_err()),
        ("empty bodies", |_, body| body.is_empty()),
        ("bodies of empty lines", |_, body| {
            !body.is_empty() && body.iter().all(|b| matches!(b, b'\r' | b'\n'))
        }),
        ("trailing empty lines", |_, body| body.ends_with(b"\r\n\r\n") && body.len() > 4),
        ("no line end at the end", |_, body| !body.is_empty() && !body.ends_with(b"\n")),
    ];
    for (what, is) in kinds {
        let count = messages.iter().map(|m| split(m)).filter(|(h, b)| is(h, b)).count();
        if count < 10 {
            return Err(format!("{count} messages with {what}"));
        }
    }
    Ok(())
}
const CANONS: [Canon; 2] = [Canon::Simple, Canon::Relaxed];

/// The pair of canonicalisations and the kind of key of the nth message.
fn kind(n: usize) -> (Canon, Canon, bool) {
    (CANONS[n % 2], CANONS[n / 2 % 2], n / 4 % 2 == 0)
}

/// Reads frames (a decimal length, a line end, the octets) from its input;
/// signs or verifies each, and writes frames.
const DKIMPY: &str = r#"
import sys, dkim
mode, rsa_key, rsa_dns, ed_key, ed_dns = sys.argv[1:]
pem, seed = open(rsa_key,'rb').read(), open(ed_key,'rb').read().strip()
zone = {b'test._domainkey.example.com.': open(rsa_dns,'rb').read().strip(),
        b'ed._domainkey.example.com.': open(ed_dns,'rb').read().strip()}
names = (b'simple', b'relaxed')
inp, out = sys.stdin.buffer, sys.stdout.buffer
n = 0
while True:
    line = inp.readline()
    if not line: break
    message = inp.read(int(line))
    rsa = n // 4 % 2 == 0
    try:
        if mode == 'sign':
            canon = (names[n % 2], names[n // 2 % 2])
            kw = {} if rsa else {'signature_algorithm': b'ed25519-sha256'}
            answer = dkim.sign(message, b'test' if rsa else b'ed', b'example.com',
                pem if rsa else seed, canonicalize=canon, **kw) + message
        else:
            where = b'test._domainkey.example.com.' if rsa else b'ed._domainkey.example.com.'
            answer = b'%d' % dkim.verify(message, dnsfunc=lambda name, timeout=5: zone[where])
    except Exception as e:
        answer = repr(e).encode()
    out.write(b'%d\n' % len(answer) + answer)
    n += 1
"#;

/// Puts all messages through dkimpy; `None` if it is not installed.
fn dkimpy(dir: &Path, mode: &str, messages: &[Vec<u8>]) -> Option<Vec<Vec<u8>>> {
    let python = "/usr/bin/python3";
    let found = Command::new(python).args(["-c", "import dkim, nacl"]).output().ok()?;
    if !found.status.success() {
        return None;
    }
    let mut child = Command::new(python)
        .args(["-c", DKIMPY, mode])
        .args(
            ["test.private", "test.txt", "ed25519test.key", "ed25519test.dns"].map(|f| dir.join(f)),
        )
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("start python");
    let mut input = child.stdin.take().expect("stdin");
    let mut output = child.stdout.take().expect("stdout");
    let mut answers = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for message in messages {
                writeln!(input, "{}", message.len()).expect("write");
                input.write_all(message).expect("write");
            }
        });
        let mut all = Vec::new();
        output.read_to_end(&mut all).expect("read");
        let mut rest = all.as_slice();
        while let Some(end) = rest.iter().position(|b| *b == b'\n') {
            let n: usize = String::from_utf8_lossy(&rest[..end]).parse().expect("a length");
            answers.push(rest[end + 1..end + 1 + n].to_vec());
            rest = &rest[end + 1 + n..];
        }
    });
    assert!(child.wait().expect("wait").success());
    assert_eq!(answers.len(), messages.len());
    Some(answers)
}

/// What dkimpy signs, we verify.
pub fn dkimpy_signs(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let mut seed = Seed(6376);
    let messages: Vec<Vec<u8>> = (0..MESSAGES).map(|_| message(&mut seed)).collect();
    if let Err(why) = covered(&messages) {
        return Outcome::Failed(why);
    }
    let Some(signed) = dkimpy(&dir, "sign", &messages) else {
        return Outcome::Skipped("no python3-dkim, python3-nacl".into());
    };
    let (rsa, ed) = (record(&dir, "test.txt"), record(&dir, "ed25519test.dns"));
    let key = |name: &str| Some(if name.starts_with("ed.") { ed.clone() } else { rsa.clone() });
    let run = || {
        for (n, signed) in signed.iter().enumerate() {
            let what = format!("message {n} {:?}: {}", kind(n), String::from_utf8_lossy(signed));
            check(&what, &verify(signed, u64::MAX / 2, key), &[(Verdict::Pass, None)])?;
        }
        Ok(())
    };
    outcome(run())
}

/// What we sign, dkimpy verifies.
pub fn dkimpy_verifies(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let rsa = SigningKey::from_pem(&read(&dir, "test.private")).expect("RSA key");
    let octets = base64::decode(&record(&dir, "ed25519test.key")).expect("base 64");
    let ed = SigningKey::from_ed25519(&octets).expect("Ed25519 key");
    assert_eq!(ed.algorithm(), Algorithm::Ed25519Sha256);
    let mut seed = Seed(8463);
    let messages: Vec<Vec<u8>> = (0..MESSAGES)
        .map(|n| {
            let (header, body, is_rsa) = kind(n);
            sign_message(&message(&mut seed), if is_rsa { &rsa } else { &ed }, header, body)
        })
        .collect();
    if let Err(why) = covered(&messages) {
        return Outcome::Failed(why);
    }
    let Some(answers) = dkimpy(&dir, "verify", &messages) else {
        return Outcome::Skipped("no python3-dkim, python3-nacl".into());
    };
    for (n, (answer, message)) in answers.iter().zip(&messages).enumerate() {
        if answer != b"1" {
            return Outcome::Failed(format!(
                "message {n} {:?}: {}: {}",
                kind(n),
                String::from_utf8_lossy(answer),
                String::from_utf8_lossy(message)
            ));
        }
    }
    Outcome::Passed
}

/// Two signatures, RSA and Ed25519, with selectors of their own: each verifies
/// whichever came first, and either is worth something without the other.
/// RFC 8463 3.
pub fn both_algorithms(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let rsa = SigningKey::from_pem(&read(&dir, "2048_testkey.key")).expect("RSA key");
    let octets = base64::decode(&record(&dir, "ed25519test.key")).expect("base 64");
    let ed = SigningKey::from_ed25519(&octets).expect("Ed25519 key");
    let message = read(&dir, "test.message");
    let sign_as = |message: &[u8], key: &SigningKey, selector: &str| {
        let (header, body) = split(message);
        let fields: Vec<Field<'_>> = Fields::new(header).collect();
        let index = FieldIndex::new(&fields);
        let request = sign::Request::new("example.com", selector, key.algorithm(), 1_000_000);
        let mut hashes = BodyHashes::<Digest>::default();
        hashes.want(request.body_canon, None);
        hashes.feed(body);
        let hash = hashes.finish().get(request.body_canon, None).expect("wanted").digest;
        let names = sign::fields_to_sign(&index);
        let mut out = sign::sign::<Digest, _>(&index, &names, &hash, &request, |d| key.sign(d))
            .expect("sign");
        out.extend_from_slice(message);
        out
    };
    let (rsa_dns, ed_dns) =
        (record(&dir, "2048_testkey_wo_markers.pub.txt"), record(&dir, "ed25519test.dns"));
    let run = || {
        for (first, second) in [((&rsa, "r"), (&ed, "e")), ((&ed, "e"), (&rsa, "r"))] {
            let once = sign_as(&message, first.0, first.1);
            let twice = sign_as(&once, second.0, second.1);
            let key = |name: &str| {
                Some(if name.starts_with("r.") { rsa_dns.clone() } else { ed_dns.clone() })
            };
            let pass = (Verdict::Pass, None);
            check(first.1, &verify(&twice, 1_000_001, key), &[pass, pass])?;
            let one = |name: &str| key(name).filter(|_| name.starts_with(second.1));
            let gone = (Verdict::PermError, Some(Fault::NoKey));
            check(first.1, &verify(&twice, 1_000_001, one), &[pass, gone])?;
        }
        Ok(())
    };
    outcome(run())
}

/// The digests of the empty body, as everybody knows them.
pub fn empty_bodies(_env: &Env) -> Outcome {
    for (canon, expected) in [
        (Canon::Simple, "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY="),
        (Canon::Relaxed, "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU="),
    ] {
        let mut hashes = BodyHashes::<Digest>::default();
        hashes.want(canon, None);
        let digest = hashes.finish().get(canon, None).expect("wanted").digest;
        if base64::encode(&digest) != expected.as_bytes() {
            return Outcome::Failed(format!("{canon:?}: {digest:?}"));
        }
    }
    assert_eq!(base64::encode(&sha256(b"")), b"47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    Outcome::Passed
}
