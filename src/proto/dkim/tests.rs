use super::key::{self, PublicKey};
use super::signature::{without_b, Fault, FieldIndex, Signature};
use super::tag::{b_value, TagError, TagList};
use super::*;
use crate::proto::dns::{Answer, Answers, Data, Failure, Name, Query, Status, Step, Type};
use crate::proto::mime::{split, Field, Fields};
use crate::proto::testing::assert_linear;

/// A digest that is no digest, for what is not about hashing.
#[derive(Clone)]
pub(in crate::proto) struct Sum(u64);

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
pub(in crate::proto) struct Echo;

impl Crypto for Echo {
    type Digest = Sum;
    fn verify_rsa(&self, _: &key::RsaKey, digest: &[u8; 32], signature: &[u8]) -> bool {
        digest == signature
    }
    fn verify_ed25519(&self, _: &[u8; 32], message: &[u8], signature: &[u8]) -> bool {
        message == signature
    }
}

pub(in crate::proto) const ED25519: &[u8] =
    b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";

pub(in crate::proto) fn request() -> sign::Request<'static> {
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
pub(in crate::proto) fn signed(message: &str, request: &sign::Request<'_>) -> Vec<u8> {
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

pub(super) fn verify_with(
    message: &[u8],
    now: u64,
    answer: impl FnMut(&Query) -> Answer,
) -> Vec<Verified> {
    let (header, body) = split(message);
    let mut verifier = Verifier::<Sum>::new(header, None, Policy::default(), now);
    verifier.feed(body);
    let (checked, _) = verifier.finish();
    Answers::new().run(|a| checked.evaluate(&Echo, a), answer)
}

fn verify(message: &[u8]) -> Vec<Verified> {
    verify_with(message, 1500, |q| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]))
}

pub(super) const MESSAGE: &str = "From: a@example.org\r\nSubject: x\r\nDate: y\r\n\r\nbody\r\n";

fn outcome(message: &[u8]) -> (Verdict, Option<Fault>) {
    let v = verify(message);
    assert_eq!(v.len(), 1);
    (v[0].verdict, v[0].fault)
}

/// RFC 6376 3.4, 3.7.
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

/// RFC 6376 6.1.3.
#[test]
fn a_change_to_what_is_signed_fails() {
    assert_eq!(outcome(&with("body\r\n", "bady\r\n")), (Verdict::Fail, Some(Fault::BodyHash)));
    assert_eq!(outcome(&with("Subject: x", "Subject: z")), (Verdict::Fail, Some(Fault::Signature)));
    assert_eq!(outcome(&with("Date: y", "date:\r\n y ")), (Verdict::Pass, None));
}

/// RFC 6376 5.4.2, 8.15.
#[test]
fn an_added_field_of_a_name_that_is_oversigned_fails() {
    for added in ["Subject: 2", "From: b@example.net", "To: c", "Reply-To: d", "Content-Type: e"] {
        let m = with("From: a@", &format!("{added}\r\nFrom: a@"));
        assert_eq!(outcome(&m).1, Some(Fault::Signature), "{added}");
    }
    assert_eq!(outcome(&with("From: a@", "X-New: 1\r\nFrom: a@")), (Verdict::Pass, None));
}

/// RFC 6376 3.2, 3.5, 6.1.1.
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

/// RFC 6376 3.5: v, a, b, bh, d, h and s must be there.
#[test]
fn each_required_tag_is_required() {
    let m = String::from_utf8(signed(MESSAGE, &request())).unwrap();
    let value = Fields::new(m.as_bytes()).next().unwrap().value.to_vec();
    let tags: Vec<String> = String::from_utf8(value)
        .unwrap()
        .split(';')
        .map(|t| t.split_whitespace().collect::<String>())
        .collect();
    let without = |name: &str| {
        let prefix = format!("{name}=");
        let left: Vec<&str> =
            tags.iter().map(String::as_str).filter(|t| !t.starts_with(&prefix)).collect();
        Signature::parse(left.join(";").as_bytes()).map(|_| ())
    };
    assert_eq!(without("c"), Ok(()), "not required");
    for name in ["v", "a", "b", "bh", "d", "h", "s"] {
        assert_eq!(without(name), Err(Fault::MissingTag), "{name}");
    }
}

/// RFC 6376 3.5 (c, q, i), 3.2 (white space in b, bh and h).
#[test]
fn tags_have_their_defaults_and_may_be_folded() {
    let parse = |t: &str| {
        let bh = "A".repeat(43);
        Signature::parse(format!("v=1;a=rsa-sha256;d=a.b;s=s;bh={bh};b=AA==;h=from;{t}").as_bytes())
    };
    let canon = |t: &str| parse(t).map(|s| (s.header_canon, s.body_canon));
    assert_eq!(canon(""), Ok((Canon::Simple, Canon::Simple)));
    assert_eq!(canon("c=relaxed"), Ok((Canon::Relaxed, Canon::Simple)));
    assert_eq!(canon("c=simple/relaxed"), Ok((Canon::Simple, Canon::Relaxed)));
    assert_eq!(parse("").unwrap().identity, None, "i= is @d by default");
    assert!(parse("q=dns/txt").is_ok() && parse("q=x : dns/txt").is_ok());
    assert!(parse("i=any=20body@sub.a.b").is_ok());
    assert_eq!(parse("i=@notsub-a.b").unwrap_err(), Fault::Identity);
    let folded = Signature::parse(
        format!(
            "v=1;\r\n\ta = rsa-sha256; d=a.b; s=s; bh={}\r\n {};\r\n b=A\r\n\tA = =; h=from :\r\n To",
            "A".repeat(20),
            "A".repeat(23)
        )
        .as_bytes(),
    )
    .unwrap();
    assert_eq!((folded.body_hash, folded.signature), ([0; 32], vec![0]));
    assert_eq!(folded.headers, b"from:To");
}

/// RFC 8301 3.1.
#[test]
fn rsa_sha1_is_never_a_pass_whatever_it_signs() {
    let m = with("a=ed25519-sha256", "a=rsa-sha1");
    assert_eq!(outcome(&m), (Verdict::Policy, Some(Fault::Sha1)));
    let v = verify_with(&m, 1500, |_| panic!("no key is asked for"));
    assert_eq!((v[0].algorithm, v[0].key_bits), (None, None));
}

/// RFC 6376 3.5 (t, x).
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

/// RFC 6376 3.6.1, 3.6.2.2: a record of many strings is one text, and a giant
/// one is read within bounds.
#[test]
fn giant_key_records_are_read_within_bounds() {
    let m = signed(MESSAGE, &request());
    let fault = |strings: Vec<Vec<u8>>| {
        verify_with(&m, 1500, |q| Answer::found(&q.name, 60, vec![Data::Txt(strings.clone())]))[0]
            .fault
    };
    let short = ED25519.chunks(1).map(<[u8]>::to_vec).collect();
    assert_eq!(fault(short), None, "one octet to a string");
    let note = |n: usize| {
        [b"n=".to_vec(), vec![b'x'; n], b"; ".to_vec(), ED25519.get(9..).unwrap().to_vec()].concat()
    };
    let long: Vec<Vec<u8>> = note(60_000).chunks(200).map(<[u8]>::to_vec).collect();
    assert_eq!((long.len() > 300, fault(long)), (true, None), "60 KB in 300 strings");
    let tags = "x=1;".repeat(15_000).into_bytes();
    assert_eq!(fault(vec![[b"v=DKIM1;", tags.as_slice()].concat()]), Some(Fault::KeySyntax));
    let p = format!("v=DKIM1; p={}", "A".repeat(60_000)).into_bytes();
    assert_eq!(fault(vec![p]), Some(Fault::KeySyntax));
    assert_linear(|n| {
        let _ = std::hint::black_box(key::parse(&note(n)));
    });
}

fn key_fault(record: &[u8]) -> Option<Fault> {
    let m = signed(MESSAGE, &request());
    verify_with(&m, 1500, |q| {
        assert_eq!(q.name, Name::parse(b"s._domainkey.example.org").unwrap());
        Answer::found(&q.name, 60, vec![Data::txt(record)])
    })[0]
        .fault
}

/// RFC 6376 3.6.1; 6.1.2.
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
    assert_eq!(key("v=DKIM2;"), Some(Fault::NoKey), "another version is discarded");
    assert_eq!(key("v=DKIM1; =;"), Some(Fault::KeySyntax));
    assert_eq!(key("v=DKIM10; =;"), Some(Fault::NoKey));
    assert_eq!(key_fault(b"v=DKIM1; k=ed25519; p="), Some(Fault::Revoked));
    assert_eq!(key_fault(b"v=DKIM1; k=x; p=AAAA"), Some(Fault::KeyType));
    assert_eq!(key_fault(b"v=DKIM1; k=ed25519"), Some(Fault::KeySyntax));
    assert_eq!(key_fault(b"v=spf1 -all"), Some(Fault::NoKey));
}

/// RFC 6376 3.6.1 (t=s).
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

/// RFC 6376 6.1.2.
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
    let wild = vec![Data::txt(b"v=DMARC1; p=none"), Data::txt(ED25519), Data::txt(b"v=DKIM2; p=A")];
    assert_eq!(fault(Answer::found(&n, 1, wild)), None, "of other versions");
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
    let digest = signature::digest::<Sum>(Canon::Relaxed, &selected, field.as_bytes());
    let b = String::from_utf8(crate::proto::text::base64::encode(&digest)).unwrap();
    format!("{field}{b}\r\n{MESSAGE}{tail}").into_bytes()
}

/// RFC 6376 3.4.5, 3.5 (l), 8.2.
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

/// RFC 6376 8.2.
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

/// RFC 6376 5.4.2: of fields with one name the lowest is taken first, and a
/// name without a field is nothing.
#[test]
fn fields_are_selected_from_the_bottom_up() {
    let header = b"X: 1\r\nFrom: a\r\nx: 2\r\nX : 3\r\n";
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let select = |n: &str, except| index.select(n.split(':').map(str::as_bytes), except).concat();
    assert_eq!(select("x:from:x", usize::MAX), b"X : 3\r\nFrom: a\r\nx: 2\r\n");
    assert_eq!(select("x:x:x:x:y", usize::MAX), b"X : 3\r\nx: 2\r\nX: 1\r\n");
    assert_eq!(select("x:x:x", fields[2].at), b"X : 3\r\nX: 1\r\n", "but for one's own field");
}

/// RFC 6376 3.7: a signature may sign another one, and never itself.
#[test]
fn a_signature_over_another_signature_verifies() {
    let first = signed(MESSAGE, &request());
    let (header, body) = split(&first);
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let mut hashes = canon::BodyHashes::<Sum>::default();
    hashes.want(Canon::Relaxed, None);
    hashes.feed(body);
    let hash = hashes.finish().get(Canon::Relaxed, None).unwrap().digest;
    let names = ["From".to_string(), "DKIM-Signature".to_string()];
    let index = FieldIndex::new(&fields);
    let mut both =
        sign::sign::<Sum, ()>(&index, &names, &hash, &request(), |d| Ok(d.to_vec())).unwrap();
    both.extend_from_slice(&first);
    let v = verify(&both);
    assert_eq!((v[0].verdict, v[1].verdict), (Verdict::Pass, Verdict::Pass));
}

/// One pass over the body and one digest for each canonicalisation and length,
/// however many signatures ask.
#[test]
fn signatures_share_the_digests_of_the_body() {
    use std::cell::Cell;
    thread_local! {
        static HASHED: Cell<usize> = const { Cell::new(0) };
    }
    #[derive(Clone)]
    struct Counting;
    impl Sha256 for Counting {
        fn new() -> Counting {
            Counting
        }
        fn update(&mut self, bytes: &[u8]) {
            HASHED.with(|h| h.set(h.get() + bytes.len()));
        }
        fn finish(self) -> [u8; 32] {
            [0; 32]
        }
    }
    let mut hashes = canon::BodyHashes::<Counting>::default();
    for _ in 0..20 {
        hashes.want(Canon::Relaxed, None);
        hashes.want(Canon::Simple, None);
        hashes.want(Canon::Relaxed, Some(10));
    }
    hashes.feed(&b"0123456789\r\n".repeat(1000));
    hashes.finish();
    assert_eq!(HASHED.with(Cell::get), 12_000 + 12_000 + 10);
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

/// RFC 6376 3.2.
#[test]
fn a_tag_list_has_no_tag_twice_and_may_end_in_a_semicolon() {
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
    for unit in ["a", "=", ";", " ", "a=1;", "a=;", "b=", "\r\n ", "\n", ":"] {
        assert_linear(|n| {
            let text = unit.repeat(n / unit.len());
            let _ = std::hint::black_box(TagList::parse(text.as_bytes()));
            std::hint::black_box(tag::without_space(text.as_bytes()));
            std::hint::black_box(b_value(text.as_bytes()));
            std::hint::black_box(without_b(text.as_bytes()));
            for canon in [Canon::Simple, Canon::Relaxed] {
                canon::push_field(canon, text.as_bytes(), &mut Vec::new());
            }
        });
    }
}

/// RFC 6376 3.2: FWS = [*WSP CRLF] 1*WSP; a CR alone is none.
#[test]
fn white_space_of_values_is_blanks_tabs_and_line_ends() {
    let cut = |t: &str| String::from_utf8(tag::without_space(t.as_bytes()).into_owned()).unwrap();
    assert_eq!(cut("a b\tc\r\n d\n\te  "), "abcde");
    assert_eq!(cut(""), "");
    assert_eq!(cut(" \r\n\t"), "");
    assert_eq!(cut("a\rb\r \r\r\n"), "a\rb\r\r");
}

/// What opensmtpd's filter-dkimsign writes unless it is told otherwise:
/// simple/simple, neither t= nor x=, and in h= only the fields that are there.
#[test]
fn a_signature_as_filter_dkimsign_makes_it_verifies() {
    let (header, body) = split(MESSAGE.as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = canon::BodyHashes::<Sum>::default();
    hashes.want(Canon::Simple, None);
    hashes.feed(body);
    let hash = hashes.finish().get(Canon::Simple, None).unwrap().digest;
    let request = sign::Request {
        header_canon: Canon::Simple,
        body_canon: Canon::Simple,
        signed_at: None,
        expires: None,
        ..request()
    };
    let names = ["from", "subject", "date"].map(str::to_string);
    let mut m = sign::sign::<Sum, ()>(&index, &names, &hash, &request, |d| Ok(d.to_vec())).unwrap();
    m.extend_from_slice(MESSAGE.as_bytes());
    assert_eq!(outcome(&m), (Verdict::Pass, None));
    // Nothing is signed once more than it is there: a second Subject changes
    // nothing, since the lowest one is the signed one.
    let twice = [&b"Subject: another\r\n"[..], &m].concat();
    assert_eq!(outcome(&twice), (Verdict::Pass, None));
}

/// Which To and Cc are signed, for who looks for replays.  RFC 6376 5.4.2, 8.6.
#[test]
fn a_result_says_how_many_to_and_cc_are_signed() {
    let v = verify(&signed(MESSAGE, &request()));
    assert_eq!((v[0].signed_to, v[0].signed_cc), (1, 1), "oversigned as missing");
    let m = signed(&format!("To: a@b.c\r\nTO: d@e.f\r\n{MESSAGE}"), &request());
    assert_eq!(verify(&m)[0].signed_to, 3);
}

/// RFC 6376 3.5 (b), 3.7: "all surrounding whitespace" goes with the value.  What
/// is kept by who leaves that after it is tried next, if there is any.
#[test]
fn the_value_of_b_is_removed_with_the_white_space_around_it() {
    let cut = |t: &str| {
        let (bare, spaced) = without_b(t.as_bytes());
        let text = |t: Vec<u8>| String::from_utf8(t).unwrap();
        (text(bare), spaced.map(text))
    };
    let both = |bare: &str, spaced: &str| (bare.to_string(), Some(spaced.to_string()));
    let one = |bare: &str| (bare.to_string(), None);
    assert_eq!(cut("D: a=1; b=x y\r\n z ; bh=q"), both("D: a=1; b=; bh=q", "D: a=1; b= ; bh=q"));
    assert_eq!(cut("D: a=1; b= x; bh=q"), one("D: a=1; b=; bh=q"));
    assert_eq!(cut("D: bh=b=; b =\r\n\tAbc=\r\n"), one("D: bh=b=; b ="));
    assert_eq!(cut("D: b=Abc= \r\n"), both("D: b=", "D: b= "));
    assert_eq!(cut("D: a=1"), one("D: a=1"));
    assert_eq!(b_value(b"bb=1; b=a ;c=d"), Some(8..10));
}

/// RFC 6376 3.7: signers differ in what they leave when they take `b=` away.
#[test]
fn a_signature_over_either_form_of_its_own_field_verifies() {
    let one = signed(MESSAGE, &request());
    let (before, _) = std::str::from_utf8(&one).unwrap().split_once("\r\n\tb=").unwrap();
    let fields: Vec<Field<'_>> = Fields::new(split(MESSAGE.as_bytes()).0).collect();
    let index = FieldIndex::new(&fields);
    for header_canon in [Canon::Simple, Canon::Relaxed] {
        let tags = before.replace("c=relaxed/", &format!("c={}/", header_canon.word()));
        for (hashed, written) in [
            ("b=;\r\n\tz=x", "b=B\r\n ;\r\n\tz=x"),
            ("b=\r\n ;\r\n\tz=x", "b=B\r\n ;\r\n\tz=x"),
            ("b=", "b=B \t"),
            ("b= \t", "b=B \t"),
        ] {
            let (_, value) = tags.split_once(':').unwrap();
            let parsed = Signature::parse(format!("{value}b=AA==").as_bytes()).unwrap();
            let own = format!("{tags}\r\n\t{hashed}");
            let selected = index.select(parsed.names(), usize::MAX);
            let digest = signature::digest::<Sum>(header_canon, &selected, own.as_bytes());
            let value = crate::proto::text::base64::encode(&digest);
            let value = String::from_utf8(value).unwrap();
            let m = format!("{tags}\r\n\t{}\r\n{MESSAGE}", written.replace('B', &value));
            assert_eq!(outcome(m.as_bytes()), (Verdict::Pass, None), "{m}");
            let other = m.replace("Subject: x", "Subject: z");
            assert_eq!(outcome(other.as_bytes()).1, Some(Fault::Signature));
        }
    }
}

/// The header is hashed once more only where there is white space to differ.
#[test]
fn an_ordinary_signature_is_hashed_once() {
    let count = |raw: &str| {
        let times = std::cell::Cell::new(0);
        signature::Digests::of(raw.as_bytes(), |_| {
            times.set(times.get() + 1);
            [0; 32]
        });
        times.get()
    };
    let m = String::from_utf8(signed(MESSAGE, &request())).unwrap();
    assert_eq!(count(m.split("From").next().unwrap()), 1, "as we sign");
    assert_eq!((count("D: b=x;\r\n"), count("D: b=x\r\n ;\r\n")), (1, 2));
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

/// RFC 8301 3.2.
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

/// RFC 8463 4; RFC 8032 5.1.7.
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

/// RFC 8616 5.
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
            std::hint::black_box(parsed.header_digests::<Sum>(&FieldIndex::new(&fields), &own));
        });
    }
}

/// RFC 6376 3.6.2.2: strings of at most 255 octets, as a zone file has them.
#[test]
fn a_key_is_published_in_strings_that_a_zone_file_takes() {
    let line = key::zone_line("s1", "example.org", Algorithm::RsaSha256, &[7; 294]);
    let strings: Vec<&str> = line.split('"').skip(1).step_by(2).collect();
    assert!(strings.len() > 1 && strings.iter().all(|s| s.len() <= 255), "{line}");
    assert_eq!(strings.concat().into_bytes(), key::write(Algorithm::RsaSha256, &[7; 294]));
    let zone = crate::proto::dns::zone::Zone::parse(line.as_bytes()).unwrap();
    let name = Name::parse(b"s1._domainkey.example.org").unwrap();
    let answer = zone.answer(&Query::new(name, Type::TXT));
    assert_eq!(answer.texts().next().unwrap(), key::write(Algorithm::RsaSha256, &[7; 294]));
}

/// RFC 6376 3.6.1 (s); RFC 8460 3.
#[test]
fn a_key_for_tlsrpt_signs_reports_of_tls_and_no_mail() {
    let read = |s: &str| {
        let text = String::from_utf8(ED25519.to_vec()).unwrap().replace("k=", s);
        key::parse(text.as_bytes()).map(|r| (r.for_mail, r.for_tlsrpt)).unwrap()
    };
    assert_eq!(read("k="), (true, true), "s=* is the default");
    assert_eq!(read("s=tlsrpt; k="), (false, true));
    assert_eq!(read("s=email : tlsrpt; k="), (true, true));
    assert_eq!(read("s=email; k="), (true, true));
    assert_eq!(read("s=other; k="), (false, false));
    let only = String::from_utf8(ED25519.to_vec()).unwrap().replace("k=", "s=tlsrpt; k=");
    assert_eq!(key_fault(only.as_bytes()), Some(Fault::KeyService));
}

/// RFC 6376 3.6.1 (k, h, s, t, v): what is given by default, and what is not
/// known is no error.
#[test]
fn a_key_record_of_p_alone_is_an_rsa_key_for_all_uses() {
    let p = rsa_p(256);
    let record = key::parse(format!("p={p}").as_bytes()).unwrap();
    assert_eq!(record.key.algorithm(), Algorithm::RsaSha256);
    assert!(record.for_mail && !record.testing && !record.strict);
    let more = format!("v=DKIM1; x=y; k=rsa; t=z; g=*; p={p};");
    assert_eq!(key::parse(more.as_bytes()), Ok(record));
}

/// `p=` of an RSA key of so many octets.
fn rsa_p(octets: usize) -> String {
    let mut modulus = vec![1; octets + 1];
    (modulus[0], modulus[1]) = (0, 0x80);
    let int = |n: &[u8]| [&[2, 0x82][..], &(n.len() as u16).to_be_bytes(), n].concat();
    let body = [int(&modulus), int(&[1, 0, 1])].concat();
    let der = [&[0x30, 0x82][..], &(body.len() as u16).to_be_bytes(), &body].concat();
    String::from_utf8(crate::proto::text::base64::encode(&der)).unwrap()
}

/// RFC 6376 3.5 (h).
#[test]
fn five_hundred_names_of_h_are_refused_and_a_hundred_are_read() {
    let fault = |names: usize| {
        let h: String = (1..names).map(|i| format!(":x-{i}")).collect();
        let bh = "A".repeat(43);
        let text = format!("v=1;a=rsa-sha256;d=a.b;s=s;bh={bh};b=AA==;h=From{h}");
        Signature::parse(text.as_bytes()).err()
    };
    assert_eq!(fault(100), None);
    assert_eq!(fault(101), Some(Fault::TooManyNames));
    assert_eq!(fault(500), Some(Fault::TooManyNames));
}

/// Names as long as fields may be, alike but for their end: what sorts and
/// searches them compares them whole.
#[test]
fn names_that_differ_at_their_end_take_time_that_doubles() {
    for octets in [20, 2000] {
        assert_linear(|n| {
            let common = "x".repeat(octets);
            let names: Vec<String> = (0..n / octets).map(|i| format!("{common}{i:05}")).collect();
            let header: String = names.iter().map(|n| format!("{n}: 1\r\n")).collect();
            let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
            let index = FieldIndex::new(&fields);
            let found = index.select(names.iter().map(|n| n.as_bytes()), usize::MAX);
            assert_eq!(found.len(), names.len());
        });
        // The names of tags.
        assert_linear(|n| {
            let list: String =
                (0..n / octets).map(|i| format!("{}{i:05}=1;", "x".repeat(octets))).collect();
            let _ = std::hint::black_box(TagList::parse(list.as_bytes()));
        });
    }
}

/// RFC 6376 3.6.1: lists of a key record without end.
#[test]
fn a_key_record_takes_time_that_doubles_with_its_lists() {
    for unit in [":", "a : ", "A", "="] {
        for tag in ["h", "p"] {
            assert_linear(|n| {
                let text = format!("v=DKIM1; {tag}={}; p=AAAA", unit.repeat(n / unit.len()));
                let _ = std::hint::black_box(key::parse(text.as_bytes()));
                let _ = std::hint::black_box(key::read(text.as_bytes()));
            });
        }
    }
}

/// RFC 6376 5.4: what we sign is as long as the header is.
#[test]
fn signing_takes_time_that_doubles_with_the_message() {
    for unit in ["Subject: x\r\n", "X: y\r\n", " \t\r\n"] {
        assert_linear(|n| {
            let header = format!("From: a@example.org\r\n{}", unit.repeat(n / unit.len()));
            std::hint::black_box(signed(&format!("{header}\r\nbody\r\n"), &request()));
        });
    }
}
