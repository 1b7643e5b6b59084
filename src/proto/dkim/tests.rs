use super::key::{self, PublicKey};
use super::signature::{without_b, Fault, FieldIndex, Signature};
use super::tag::{b_value, TagError, TagList};
use super::*;
use crate::proto::dns::{Answer, Answers, Data, Failure, Name, Query, Status, Step, Type};
use crate::proto::mime::{split, Field, Fields};
use crate::proto::testing::assert_linear;

/// A digest that is no digest, for what is not about hashing.
#[derive(Clone)]
struct Sum(u64);

impl Sha256 for Sum {
    fn new() -> Sum {
        Sum(7)
    }
    fn update(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.0 = self.0.wrapping_mul(1_000_003).wrapping_add(u64::from(*b));
        }
    }
    fn finish(self) -> [u8; 32] {
        let mut out = [0; 32];
        out[..8].copy_from_slice(&self.0.to_le_bytes());
        out
    }
}

/// Whatever is signed is its digest.
struct Echo;

impl Crypto for Echo {
    type Digest = Sum;
    fn verify_rsa(&self, _: &key::RsaKey, digest: &[u8; 32], signature: &[u8]) -> bool {
        digest == signature
    }
    fn verify_ed25519(&self, _: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        message == signature
    }
}

const ED25519: &[u8] = b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

fn request() -> sign::Request<'static> {
    sign::Request {
        domain: "example.org",
        selector: "s",
        algorithm: Algorithm::Ed25519Sha256,
        header_canon: Canon::Relaxed,
        body_canon: Canon::Relaxed,
        signed_at: Some(1000),
        expires: Some(2000),
    }
}

/// Signs a message and gives the whole of it.
fn signed(message: &str, request: &sign::Request<'_>) -> Vec<u8> {
    let (header, body) = split(message.as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = canon::BodyHashes::<Sum>::default();
    hashes.want(request.body_canon, None);
    hashes.feed(body);
    let hash = hashes.finish().get(request.body_canon, None).unwrap().digest;
    let names = sign::fields_to_sign(&index);
    let mut out =
        sign::sign::<Sum, ()>(&index, &names, &hash, request, |d| Ok(d.to_vec())).unwrap();
    out.extend_from_slice(message.as_bytes());
    out
}

fn verify_with(message: &[u8], now: u64, answer: impl FnMut(&Query) -> Answer) -> Vec<Verified> {
    let (header, body) = split(message);
    let mut verifier = Verifier::<Sum>::new(header, None, Policy::default(), now);
    verifier.feed(body);
    let (checked, _) = verifier.finish();
    Answers::new().run(|a| checked.evaluate(&Echo, a), answer)
}

fn verify(message: &[u8]) -> Vec<Verified> {
    verify_with(message, 1500, |q| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]))
}

const MESSAGE: &str = "From: a@example.org\r\nSubject: x\r\nDate: y\r\n\r\nbody\r\n";

fn outcome(message: &[u8]) -> (Verdict, Option<Fault>) {
    let v = verify(message);
    assert_eq!(v.len(), 1);
    (v[0].verdict, v[0].fault)
}

#[test]
fn what_is_signed_verifies_with_every_pair_of_canonicalisations() {
    for header_canon in [Canon::Simple, Canon::Relaxed] {
        for body_canon in [Canon::Simple, Canon::Relaxed] {
            let request = sign::Request { header_canon, body_canon, ..request() };
            let m = signed(MESSAGE, &request);
            assert_eq!(outcome(&m), (Verdict::Pass, None), "{}", String::from_utf8_lossy(&m));
            assert!(m.split(|b| *b == b'\n').all(|l| l.len() <= 79));
        }
    }
}

fn with(from: &str, to: &str) -> Vec<u8> {
    let m = String::from_utf8(signed(MESSAGE, &request())).unwrap();
    assert!(m.contains(from), "{from} in {m}");
    m.replacen(from, to, 1).into_bytes()
}

#[test]
fn a_change_to_what_is_signed_fails() {
    assert_eq!(outcome(&with("body\r\n", "bady\r\n")), (Verdict::Fail, Some(Fault::BodyHash)));
    assert_eq!(outcome(&with("Subject: x", "Subject: z")), (Verdict::Fail, Some(Fault::Signature)));
    assert_eq!(outcome(&with("Date: y", "date:\r\n y ")), (Verdict::Pass, None));
}

#[test]
fn an_added_field_of_a_name_that_is_oversigned_fails() {
    for added in ["Subject: 2", "From: b@example.net", "To: c", "Reply-To: d", "Content-Type: e"] {
        let m = with("From: a@", &format!("{added}\r\nFrom: a@"));
        assert_eq!(outcome(&m).1, Some(Fault::Signature), "{added}");
    }
    assert_eq!(outcome(&with("From: a@", "X-New: 1\r\nFrom: a@")), (Verdict::Pass, None));
}

#[test]
fn faults_of_the_field_have_their_own_names() {
    for (from, to, fault) in [
        ("v=1;", "v=2;", Fault::Version),
        ("v=1;", "", Fault::MissingTag),
        ("v=1;", "v=1; v=1;", Fault::DuplicateTag),
        ("a=ed25519-sha256", "a=rsa-sha1", Fault::Sha1),
        ("a=ed25519-sha256", "a=x", Fault::Algorithm),
        ("c=relaxed/relaxed", "c=strict", Fault::Canonicalisation),
        ("v=1;", "v=1; q=http;", Fault::QueryMethod),
        ("v=1;", "v=1; i=@example.com;", Fault::Identity),
        ("v=1;", "v=1; i=example.org;", Fault::Syntax),
        ("d=example.org", "d=org", Fault::Syntax),
        ("d=example.org", "d=example.org(.attacker.com", Fault::Syntax),
        ("t=1000", "t=2000", Fault::Expiry),
        ("t=1000", "t=9223372036854775808", Fault::Expiry),
        ("t=1000", "t=99999999999999999999999999", Fault::Syntax),
        ("x=2000", "x=0", Fault::Expiry),
        ("h=From:From", "h=X:X", Fault::NoFrom),
        ("h=From", "h=:From", Fault::Syntax),
        ("bh=", "bh=A", Fault::Syntax),
        ("v=1;", "v=1; l=18446744073709551616;", Fault::Syntax),
    ] {
        let (verdict, found) = outcome(&with(from, to));
        assert_eq!(found, Some(fault), "{from} to {to}");
        assert_eq!(verdict, fault.verdict());
    }
    let empty = with("h=From", "h=;y=From");
    assert!(matches!(outcome(&empty).1, Some(Fault::Syntax | Fault::NoFrom)));
    assert_eq!(
        outcome(&with("v=1;", "v=1; unknown=x;")).1,
        Some(Fault::Signature),
        "read, not refused"
    );
}

#[test]
fn times_are_compared_with_some_slack() {
    let m = signed(MESSAGE, &request());
    let at = |now| {
        verify_with(&m, now, |q| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]))[0].fault
    };
    assert_eq!(at(2299), None);
    assert_eq!(at(2301), Some(Fault::Expired));
    assert_eq!(at(701), None);
    assert_eq!(at(699), Some(Fault::Future));
}

fn key_fault(record: &[u8]) -> Option<Fault> {
    let m = signed(MESSAGE, &request());
    verify_with(&m, 1500, |q| {
        assert_eq!(q.name, Name::parse(b"s._domainkey.example.org").unwrap());
        Answer::found(&q.name, 60, vec![Data::txt(record)])
    })[0]
        .fault
}

#[test]
fn key_records_say_what_they_permit() {
    let key = |tags: &str| {
        let text = String::from_utf8(ED25519.to_vec()).unwrap().replace("v=DKIM1;", tags);
        key_fault(text.as_bytes())
    };
    assert_eq!(key(""), None);
    assert_eq!(key("v=DKIM1; h=sha1:sha256; s=email; n=note;"), None);
    assert_eq!(key("v=DKIM1; h=sha1;"), Some(Fault::KeyHash));
    assert_eq!(key("v=DKIM1; s=other;"), Some(Fault::KeyService));
    assert_eq!(key("v=DKIM1; s=other:*;"), None);
    assert_eq!(key("v=DKIM1; t=y;"), Some(Fault::Testing));
    assert_eq!(key("v=DKIM1; t=y:s;").unwrap().verdict(), Verdict::Policy);
    assert_eq!(key("n=x; v=DKIM1;"), Some(Fault::KeySyntax));
    assert_eq!(key("v=DKIM2;"), Some(Fault::KeySyntax));
    assert_eq!(key_fault(b"v=DKIM1; k=ed25519; p="), Some(Fault::Revoked));
    assert_eq!(key_fault(b"v=DKIM1; k=x; p=AAAA"), Some(Fault::KeyType));
    assert_eq!(key_fault(b"v=DKIM1; k=ed25519"), Some(Fault::KeySyntax));
    assert_eq!(key_fault(b"v=spf1 -all"), Some(Fault::NoKey));
}

#[test]
fn a_strict_key_wants_the_identity_to_be_the_domain() {
    let strict = String::from_utf8(ED25519.to_vec()).unwrap().replace("k=", "t=s; k=");
    let fault = |i: &str| {
        let m = with("v=1;", &format!("v=1; i={i};"));
        verify_with(&m, 1500, |q| Answer::found(&q.name, 60, vec![Data::txt(strict.as_bytes())]))[0]
            .fault
    };
    assert_eq!(fault("@sub.example.org"), Some(Fault::KeyIdentity));
    assert_eq!(fault("=20a@example.org"), Some(Fault::Signature), "permitted, but not signed");
}

#[test]
fn answers_of_the_dns_are_told_apart() {
    let m = signed(MESSAGE, &request());
    let fault = |answer: Answer| verify_with(&m, 1500, |_| answer.clone())[0].fault;
    let n = Name::parse(b"x").unwrap();
    assert_eq!(fault(Answer::failed(&n, Failure::ServFail)), Some(Fault::Dns));
    assert_eq!(fault(Answer::negative(&n, Status::NxDomain, 1)), Some(Fault::NoKey));
    assert_eq!(fault(Answer::negative(&n, Status::NoData, 1)), Some(Fault::NoKey));
    let two = vec![Data::txt(ED25519), Data::txt(ED25519)];
    assert_eq!(fault(Answer::found(&n, 1, two)), Some(Fault::ManyKeys));
    let wild = vec![Data::txt(b"v=spf1 -all"), Data::txt(ED25519)];
    assert_eq!(fault(Answer::found(&n, 1, wild)), None, "a wildcard beside the key");
    // The key at the end of a CNAME comes with the answer.
    let alias = Answer { canonical: n.clone(), ..Answer::found(&n, 1, vec![Data::txt(ED25519)]) };
    assert_eq!(fault(alias), None);
    assert_eq!(Fault::NoKey.verdict(), Verdict::PermError);
    assert_eq!(Fault::Dns.verdict(), Verdict::TempError);
}

#[test]
fn no_question_is_asked_for_a_body_that_does_not_match() {
    let m = with("body\r\n", "other\r\n");
    let v = verify_with(&m, 1500, |_| panic!("asked"));
    assert_eq!(v[0].fault, Some(Fault::BodyHash));
    assert!(verify_with(MESSAGE.as_bytes(), 1500, |_| panic!("asked")).is_empty());
}

/// Signs with l= of the body as it was, then appends to the body.
fn limited(length: &str, tail: &str, names: &str) -> Vec<u8> {
    let mut hash = Sum::new();
    let whole = b"body\r\n";
    let n: usize = length.parse().unwrap_or(usize::MAX);
    hash.update(&whole[..n.min(whole.len())]);
    let bh = String::from_utf8(crate::proto::text::base64::encode(&hash.finish())).unwrap();
    let field = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=s; h={names}; l={length}; bh={bh};\r\n\tb="
    );
    let header: Vec<Field<'_>> = Fields::new(MESSAGE.as_bytes()).collect();
    let index = FieldIndex::new(&header);
    let selected = index.select(names.split(':').map(str::as_bytes), usize::MAX);
    let digest = sign::digest::<Sum>(Canon::Relaxed, &selected, field.as_bytes());
    let b = String::from_utf8(crate::proto::text::base64::encode(&digest)).unwrap();
    format!("{field}{b}\r\n{MESSAGE}{tail}").into_bytes()
}

#[test]
fn a_body_that_goes_on_after_its_signed_length_does_not_pass() {
    assert_eq!(outcome(&limited("6", "", "From")), (Verdict::Pass, None));
    assert_eq!(
        outcome(&limited("6", "more\r\n", "From")),
        (Verdict::Policy, Some(Fault::UnsignedTail))
    );
    assert_eq!(outcome(&limited("0", "", "From")), (Verdict::Policy, Some(Fault::UnsignedTail)));
    assert_eq!(outcome(&limited("1", "", "From")), (Verdict::Policy, Some(Fault::UnsignedTail)));
    assert_eq!(outcome(&limited("7", "", "From")).1, Some(Fault::LongLength));
    assert_eq!(outcome(&limited("18446744073709551615", "", "From")).1, Some(Fault::LongLength));
}

#[test]
fn a_tail_is_never_accepted_with_an_unsigned_content_type() {
    let accepted = |names: &str| {
        let m = limited("6", "more\r\n", names);
        let (header, body) = split(&m);
        let mut verifier = Verifier::<Sum>::new(header, None, Policy { unsigned_tail: true }, 1500);
        verifier.feed(body);
        let answer = |q: &Query| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]);
        let checked = verifier.finish().0;
        Answers::new().run(|a| checked.evaluate(&Echo, a), answer)[0].verdict
    };
    assert_eq!(accepted("From:Content-Type:MIME-Version"), Verdict::Pass);
    assert_eq!(accepted("From:Content-Type"), Verdict::Policy);
}

#[test]
fn signatures_by_the_hundred_cost_20_8_and_4() {
    let one = signed(MESSAGE, &request());
    let field = &one[..one.len() - MESSAGE.len()];
    let mut m = field.repeat(990);
    m.extend_from_slice(MESSAGE.as_bytes());
    let v = verify(&m);
    assert_eq!(v.len(), 20);
    assert_eq!(v.iter().filter(|v| v.verdict == Verdict::Pass).count(), 8);
    assert_eq!(v[8].fault, Some(Fault::TooManySignatures));
    let mut m = Vec::new();
    for i in 0..20 {
        let selector = format!("s{i}");
        let one = signed(MESSAGE, &sign::Request { selector: &selector, ..request() });
        m.extend_from_slice(&one[..one.len() - MESSAGE.len()]);
    }
    m.extend_from_slice(MESSAGE.as_bytes());
    assert_eq!(verify(&m).iter().filter(|v| v.verdict == Verdict::Pass).count(), 4);
}

#[test]
fn the_signatures_of_the_author_s_domain_come_first() {
    let mut m = Vec::new();
    for i in 0..20 {
        let domain = if i == 19 { "example.org".to_string() } else { format!("d{i}.example") };
        let one = signed(MESSAGE, &sign::Request { domain: &domain, ..request() });
        m.extend_from_slice(&one[..one.len() - MESSAGE.len()]);
    }
    m.extend_from_slice(MESSAGE.as_bytes());
    let (header, body) = split(&m);
    let author = Name::parse(b"example.org").unwrap();
    let mut verifier = Verifier::<Sum>::new(header, Some(&author), Policy::default(), 1500);
    verifier.feed(body);
    let checked = verifier.finish().0;
    let v = Answers::new().run(
        |a| checked.evaluate(&Echo, a),
        |q| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]),
    );
    assert_eq!(v[19].verdict, Verdict::Pass);
    assert_eq!(v[3].verdict, Verdict::Neutral);
}

#[test]
fn names_of_h_are_counted_once_each_and_repeated_ones_cost_nothing() {
    let many: String = (0..100).map(|i| format!(":x{i}")).collect();
    let parse = |h: &str| {
        Signature::parse(
            format!("v=1;a=rsa-sha256;d=a.b;s=s;bh={};b=AA==;h={h}", "A".repeat(43)).as_bytes(),
        )
    };
    assert_eq!(parse(&format!("from{many}")).unwrap_err(), Fault::TooManyNames);
    assert_eq!(parse(&format!("from{}", ":x".repeat(10_000))).unwrap().names().count(), 10_001);
    let b = format!(
        "v=1;a=rsa-sha256;d=a.b;s=s;bh={};h=from;b={}",
        "A".repeat(43),
        "A".repeat(1 << 20)
    );
    assert_eq!(Signature::parse(b.as_bytes()).unwrap_err(), Fault::Syntax);
    assert_linear(|n| {
        let s = parse(&format!("from{}", ":x".repeat(n))).unwrap();
        let header = "x: 1\r\n".repeat(n / 6);
        let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
        std::hint::black_box(FieldIndex::new(&fields).select(s.names(), usize::MAX));
    });
}

#[test]
fn a_header_of_too_many_fields_verifies_nothing() {
    let mut m = signed(MESSAGE, &request());
    m.splice(0..0, b"X: 1\r\n".repeat(1000));
    assert!(verify(&m).is_empty(), "the signature is beyond the limit");
    let mut m = signed(&format!("{}{MESSAGE}", "X: 1\r\n".repeat(1000)), &request());
    m.extend_from_slice(b"");
    assert_eq!(outcome(&m).1, Some(Fault::TooManyFields));
}

#[test]
fn tag_lists() {
    let get = |t: &str| TagList::parse(t.as_bytes()).map(|l| l.0.len());
    assert_eq!(get("a=1;b=2"), Ok(2));
    assert_eq!(get(" a = 1 ;\r\n\tb_1=2 3 ; "), Ok(2));
    assert_eq!(get("a=1;b"), Err(TagError::Syntax));
    assert_eq!(get("a=1;;b=2"), Err(TagError::Syntax));
    assert_eq!(get("1a=1"), Err(TagError::Syntax));
    assert_eq!(get(""), Err(TagError::Syntax));
    assert_eq!(get("a=1;a=1"), Err(TagError::Duplicate));
    assert_eq!(get("a=1;A=1"), Ok(2));
    assert_eq!(get("a=\u{1}"), Err(TagError::Syntax));
    assert_eq!(get("a="), Ok(1));
    let many: String = (0..51).map(|i| format!("a{i}=1;")).collect();
    assert_eq!(get(&many), Err(TagError::TooMany));
    for unit in ["a", "=", ";", " ", "a=1;", "a=;"] {
        assert_linear(|n| {
            let _ = std::hint::black_box(TagList::parse(unit.repeat(n / unit.len()).as_bytes()));
        });
    }
}

#[test]
fn only_the_value_of_b_is_removed() {
    let cut = |t: &str| String::from_utf8(without_b(t.as_bytes())).unwrap();
    assert_eq!(cut("D: a=1; b=x y\r\n z ; bh=q"), "D: a=1; b= ; bh=q");
    assert_eq!(cut("D: bh=b=; b =\r\n\tAbc=\r\n"), "D: bh=b=; b =\r\n");
    assert_eq!(cut("D: a=1"), "D: a=1");
    assert_eq!(b_value(b"bb=1; b="), Some(8..8));
}

/// A key record of an RSA key with that modulus and exponent.
fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<PublicKey, Fault> {
    let int = |n: &[u8]| {
        let mut out = vec![2, 0x82];
        out.extend_from_slice(&(n.len() as u16).to_be_bytes());
        out.extend_from_slice(n);
        out
    };
    let body = [int(modulus), int(exponent)].concat();
    let mut der = vec![0x30, 0x82];
    der.extend_from_slice(&(body.len() as u16).to_be_bytes());
    der.extend_from_slice(&body);
    let p = String::from_utf8(crate::proto::text::base64::encode(&der)).unwrap();
    key::parse(format!("p={p}").as_bytes()).map(|r| r.key)
}

#[test]
fn rsa_keys_that_are_none() {
    let modulus = |octets: usize| {
        let mut n = vec![0x01; octets + 1];
        n[0] = 0;
        n[1] = 0x80;
        n
    };
    let e = [1, 0, 1];
    assert_eq!(rsa(&modulus(128), &e).unwrap().bits(), 1024);
    assert_eq!(rsa(&modulus(1024), &e).unwrap().bits(), 8192);
    assert_eq!(rsa(&modulus(1025), &e), Err(Fault::KeyWeak), "over 8192 bits");
    assert_eq!(rsa(&modulus(127), &e), Err(Fault::KeyTooSmall));
    assert_eq!(rsa(&modulus(64), &e), Err(Fault::KeyTooSmall));
    assert_eq!(rsa(&modulus(256), &[1]), Err(Fault::KeyWeak), "e=1");
    assert_eq!(rsa(&modulus(256), &[2]), Err(Fault::KeyWeak), "e even");
    assert_eq!(rsa(&modulus(256), &[0]), Err(Fault::KeySyntax), "e=0");
    assert_eq!(rsa(&modulus(256), &[1, 0, 0, 0, 1]), Err(Fault::KeyWeak), "e huge");
    assert_eq!(rsa(&[0x80; 256], &e), Err(Fault::KeySyntax), "negative");
    assert_eq!(rsa(&[], &e), Err(Fault::KeySyntax), "zero length");
    assert_eq!(rsa(&[0; 256], &e), Err(Fault::KeySyntax), "zero");
    assert_eq!(rsa(&modulus(2048), &e), Err(Fault::KeySyntax), "16384 bits");
}

#[test]
fn ed25519_keys_of_small_order_and_in_other_forms_are_none() {
    let parse = |octets: &[u8]| {
        let p = String::from_utf8(crate::proto::text::base64::encode(octets)).unwrap();
        key::parse(format!("k=ed25519; p={p}").as_bytes()).map(|r| r.key.bits())
    };
    assert_eq!(parse(&[9; 32]), Ok(256));
    assert_eq!(parse(&[0; 32]), Err(Fault::KeyWeak));
    let mut one = [0; 32];
    one[0] = 1;
    one[31] = 0x80;
    assert_eq!(parse(&one), Err(Fault::KeyWeak));
    assert_eq!(parse(&[9; 44]), Err(Fault::KeySyntax), "a SubjectPublicKeyInfo");
    assert_eq!(parse(&[]), Err(Fault::Revoked));
}

#[test]
fn u_labels_are_looked_up_as_a_labels() {
    let m = signed(MESSAGE, &sign::Request { domain: "bücher.example", ..request() });
    let v = verify_with(&m, 1500, |q| {
        assert_eq!(q.name.to_string(), "s._domainkey.xn--bcher-kva.example");
        assert_eq!(q.rtype, Type::TXT);
        Answer::found(&q.name, 60, vec![Data::txt(ED25519)])
    });
    assert_eq!(v[0].verdict, Verdict::Pass);
    assert_eq!(v[0].domain, "xn--bcher-kva.example");
}

#[test]
fn a_step_asks_before_it_is_done() {
    let m = signed(MESSAGE, &request());
    let (header, body) = split(&m);
    let mut verifier = Verifier::<Sum>::new(header, None, Policy::default(), 1500);
    verifier.feed(body);
    let checked = verifier.finish().0;
    assert!(matches!(checked.evaluate(&Echo, &Answers::new()), Step::Need(_)));
}

#[test]
fn verifying_takes_time_that_doubles_with_the_header() {
    let whole = signed(MESSAGE, &request());
    let end = whole.windows(6).position(|w| w == b"\r\nFrom").unwrap() + 2;
    let signature = String::from_utf8(whole[..end].to_vec()).unwrap();
    for unit in
        ["DKIM-Signature: a\r\n", "DKIM-Signature:\r\n", &signature, "a: b\r\n", " \r\n", "x", "; "]
    {
        assert_linear(|n| {
            let mut m = signature.clone().into_bytes();
            // A folded line goes on in the last field of the header.
            m.extend_from_slice(b"From: a@example.org\r\n");
            m.extend_from_slice(unit.repeat(n / unit.len()).as_bytes());
            m.extend_from_slice(b"\r\n\r\nbody\r\n");
            std::hint::black_box(verify(&m));
        });
    }
    // Names of h= that are all there, and a field that is folded without end.
    for (names, field) in [(":x", "x: 1\r\n"), (":x", "x: \t \r\n"), (":y", "y:\r\n")] {
        assert_linear(|n| {
            let header = "From: a@example.org\r\n".to_string() + &field.repeat(n / field.len());
            let value = format!(
                " v=1; a=rsa-sha256; d=a.b; s=s; bh={}; h=from{}; b=AA==",
                "A".repeat(43),
                names.repeat(n / names.len())
            );
            let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
            let own =
                Field { raw: value.as_bytes(), name: b"", value: value.as_bytes(), at: usize::MAX };
            let parsed = Signature::parse(value.as_bytes()).unwrap();
            std::hint::black_box(parsed.header_digest::<Sum>(&FieldIndex::new(&fields), &own));
        });
    }
}
