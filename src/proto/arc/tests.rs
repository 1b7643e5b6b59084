use super::seal::{own_results, seal, Request};
use super::verify::Fault;
use super::*;
use crate::proto::dkim::canon::BodyHashes;
use crate::proto::dkim::signature::{digest, FieldIndex};
use crate::proto::dkim::tests::{Echo, Sum, ED25519};
use crate::proto::dkim::{Algorithm, Canon, Fault as DkimFault};
use crate::proto::dns::{Answer, Answers, Data, Failure, Query};
use crate::proto::mime::{split, Field, Fields};
use crate::proto::testing::assert_linear;
use crate::proto::text::base64;

const MESSAGE: &str = "From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n";

/// Puts the next set on top of a message; `None` if there is to be none.
fn sealed(message: &str, validation: Validation) -> Option<String> {
    let (header, body) = split(message.as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = BodyHashes::<Sum>::default();
    hashes.want(Canon::Relaxed, None);
    hashes.feed(body);
    let hash = hashes.finish().get(Canon::Relaxed, None).unwrap().digest;
    let headers = ["from", "subject", "authentication-results", "arc-seal"].map(str::to_string);
    let request = Request {
        domain: "example.org",
        selector: "s",
        algorithm: Algorithm::Ed25519Sha256,
        now: 1000,
        validation,
        results: "mx.example.org; spf=pass",
        headers: &headers,
    };
    let set = seal::<Sum, ()>(&index, &hash, &request, |d| Ok(d.to_vec())).unwrap()?;
    let set = [set.seal, set.message, set.results].concat();
    Some(String::from_utf8(set).unwrap() + message)
}

/// A chain of so many sets.
fn chain(sets: usize) -> String {
    let mut message = MESSAGE.to_string();
    for i in 0..sets {
        let state = if i == 0 { Validation::None } else { Validation::Pass };
        message = sealed(&message, state).unwrap();
    }
    message
}

fn validate_with(message: &str, answer: impl FnMut(&Query) -> Answer) -> Outcome {
    let (header, body) = split(message.as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let chain = Chain::new(&index);
    let mut hashes = BodyHashes::<Sum>::default();
    chain.want(&mut hashes);
    hashes.feed(body);
    let checked = chain.check::<Sum>(&index, &hashes.finish());
    Answers::new().run(|answers| checked.evaluate(&Echo, answers), answer)
}

fn validate(message: &str) -> Outcome {
    validate_with(message, |q| Answer::found(&q.name, 60, vec![Data::txt(ED25519)]))
}

/// RFC 6376 3.6.1: what a key is not for, it does not vouch for in a chain either.
#[test]
fn a_key_that_is_testing_or_not_for_mail_makes_the_chain_fail() {
    for (tag, why) in [("t=y", DkimFault::Testing), ("s=tlsrpt", DkimFault::KeyService)] {
        let key = [ED25519, b"; ", tag.as_bytes()].concat();
        let outcome =
            validate_with(&chain(1), |q| Answer::found(&q.name, 60, vec![Data::txt(&key)]));
        assert_eq!(outcome.validation, Validation::Fail, "{tag}");
        assert_eq!(outcome.fault, Some(Fault::Message(1, why)), "{tag}");
    }
}

/// A chain that is wrong in its form: no key is asked for.
fn fault(message: &str) -> Option<Fault> {
    let outcome = validate_with(message, |_| panic!("asked"));
    assert_eq!(outcome.validation, Validation::Fail);
    outcome.fault
}

/// RFC 8617 5.2.
#[test]
fn a_chain_validates_and_names_its_sealers() {
    assert_eq!(validate(MESSAGE).validation, Validation::None);
    let outcome = validate(&chain(3));
    assert_eq!(
        (outcome.validation, outcome.fault, outcome.oldest_pass),
        (Validation::Pass, None, 0)
    );
    assert_eq!(outcome.sealers, ["example.org"; 3]);
}

/// RFC 8617 5.2, steps 4 and 5: the newest message signature counts; older ones
/// say since when the message is as it is.
#[test]
fn a_change_before_the_newest_set_only_moves_the_oldest_pass() {
    let changed = chain(2).replace("Subject: x", "Subject: [list] x");
    let outcome = validate(&changed);
    let message = Some(Fault::Message(2, DkimFault::Signature));
    assert_eq!((outcome.validation, outcome.fault), (Validation::Fail, message));
    let resealed = sealed(&changed, Validation::Pass).unwrap();
    let outcome = validate(&resealed);
    assert_eq!((outcome.validation, outcome.oldest_pass), (Validation::Pass, 3));
    let body = validate(&chain(1).replace("body", "bady"));
    assert_eq!(body.fault, Some(Fault::Message(1, DkimFault::BodyHash)));
}

/// RFC 8617 5.1.1, 5.2, step 6: every seal covers all sets up to its own.
#[test]
fn a_change_to_any_earlier_set_breaks_a_seal() {
    let changed =
        chain(3).replacen("i=1; mx.example.org; spf=pass", "i=1; mx.example.org; spf=fail", 1);
    assert_eq!(validate(&changed).fault, Some(Fault::Seal(3, DkimFault::Signature)));
    // White space may change: seals are relaxed.
    let spaced = chain(3).replace("ARC-Seal: ", "arc-seal :   ");
    assert_eq!(validate(&spaced).validation, Validation::Pass);
}

/// RFC 6376 3.7, RFC 8617 4.1.3: sealers too differ in what they take away with
/// the value of `b=`.
#[test]
fn a_seal_over_either_form_of_its_own_field_verifies() {
    let one = chain(1);
    let (seal, rest) = one.split_once("\r\nARC-Message").unwrap();
    let (before, b) = seal.split_once("b=").unwrap();
    let (_, after) = b.split_once(';').unwrap();
    let spaced = one.replacen(&format!(";{after}"), &format!("\r\n ;{after}"), 1);
    assert_ne!(spaced, one);
    assert_eq!(validate(&spaced).fault, None, "hashed without");

    let (message, rest) = rest.split_once("\r\nARC-Auth").unwrap();
    let (results, _) = rest.split_once("\r\n").unwrap();
    let rest = [format!("ARC-Auth{results}"), format!("ARC-Message{message}")];
    let kept = first_set(rest, [before, " ;", after]);
    assert_eq!(validate(&kept).fault, None, "hashed with what follows");
    let other = kept.replacen("spf=pass", "spf=fail", 1);
    assert_eq!(validate(&other).fault, Some(Fault::Seal(1, DkimFault::Signature)));
}

/// The message with its first set as another sealer might have made it: results
/// and message signature, and a seal in three pieces, its value between the first
/// two.
fn first_set([results, message]: [String; 2], [before, space, after]: [&str; 3]) -> String {
    let covered = [results.as_bytes(), message.as_bytes()];
    let own = format!("{before}b={space}{after}");
    let value = digest::<Sum>(Canon::Relaxed, &covered, own.as_bytes());
    let value = String::from_utf8(base64::encode(&value)).unwrap();
    format!("{before}b={value}{space}{after}\r\n{message}\r\n{results}\r\n{MESSAGE}")
}

/// Our seal covers what a verifier takes for the fields of the sets below.
#[test]
fn a_set_that_is_written_in_another_way_is_sealed_as_it_is_read() {
    let one = chain(1);
    let lines: Vec<&str> = one.split("\r\nARC-").collect();
    let results = "ARC-Authentication-Results: (first) i = 1 ; other.example; none";
    let (before, after) = ("ARC-Seal: ix=1; cv=none; ", ";a=ed25519-sha256;d=a.example;s=s;i=1");
    let first = first_set([results.into(), format!("ARC-{}", lines[1])], [before, "", after]);
    assert_eq!(validate(&first).fault, None);
    let outcome = validate(&sealed(&first, Validation::Pass).unwrap());
    assert_eq!((outcome.fault, outcome.sealers.len()), (None, 2));
}

/// RFC 8617 5.1: the instance is one more than the highest, also where there is a
/// gap below it, which makes the chain fail.
#[test]
fn the_instance_is_one_more_than_the_highest() {
    let gap = format!("ARC-Authentication-Results: i=4; other.example; none\r\n{}", chain(1));
    let top = sealed(&gap, Validation::Fail).unwrap();
    assert!(top.starts_with("ARC-Seal: ") && top.contains("cv=fail; d=example.org; i=5;"), "{top}");
    assert_eq!(sealed(&gap.replace("i=4", "i=50"), Validation::Fail), None, "no more are made");
}

/// RFC 8617 4.2.1, 5.2, step 3.
#[test]
fn sets_are_whole_and_numbered_from_one_without_a_gap() {
    let two = chain(2);
    let without = |name: &str| {
        let at = two.find(name).unwrap();
        let end = two[at + 1..].find("\r\nARC").unwrap() + at + 3;
        format!("{}{}", &two[..at], &two[end..])
    };
    for name in ["ARC-Seal", "ARC-Message-Signature", "ARC-Authentication-Results"] {
        assert_eq!(fault(&without(name)), Some(Fault::Sets), "{name}");
    }
    for (from, to) in [("i=2;", "i=1;"), ("i=2;", "i=3;"), ("i=1;", "i=0;"), ("i=1;", "i=1x;")] {
        assert_eq!(fault(&two.replace(from, to)), Some(Fault::Sets), "{from} {to}");
    }
    let twice = format!("ARC-Authentication-Results: i=1; mx; none\r\n{two}");
    assert_eq!(fault(&twice), Some(Fault::Sets));
}

/// RFC 8617 4.2.1.
#[test]
fn fifty_sets_are_the_most_that_are_read_or_made() {
    let fifty = chain(50);
    assert_eq!(validate(&fifty).validation, Validation::Pass);
    assert_eq!(sealed(&fifty, Validation::Pass), None);
    assert_eq!(fault(&format!("ARC-Seal: i=51\r\n{fifty}")), Some(Fault::TooMany));
    let many = "ARC-Seal: i=1\r\n".repeat(900) + MESSAGE;
    assert_eq!(fault(&many), Some(Fault::TooMany));
}

/// RFC 8617 4.4, 5.2, step 2: none first, then pass; what failed has failed.
#[test]
fn cv_is_none_at_first_and_then_pass() {
    let two = chain(2);
    assert_eq!(fault(&two.replace("cv=none", "cv=pass")), Some(Fault::Validation(1)));
    assert_eq!(fault(&two.replace("cv=pass", "cv=none")), Some(Fault::Validation(2)));
    assert_eq!(fault(&two.replace("cv=pass", "cv=fail")), Some(Fault::Validation(2)));
    assert_eq!(fault(&two.replace("cv=pass", "cv=x")), Some(Fault::Syntax(2)));
}

/// RFC 8617 4.1.2, 4.1.3: a seal has no h= and no bh=, a message signature does
/// not cover seals; duplicate tags make a field unreadable.
#[test]
fn tags_that_must_not_be_there_break_the_chain() {
    let one = chain(1);
    assert_eq!(fault(&one.replace("cv=none;", "cv=none; h=from;")), Some(Fault::Syntax(1)));
    assert_eq!(fault(&one.replace("cv=none;", "cv=none; bh=AAAA;")), Some(Fault::Syntax(1)));
    assert_eq!(fault(&one.replace("h=from", "h=arc-seal:from")), Some(Fault::Syntax(1)));
    assert_eq!(fault(&one.replace("cv=none;", "cv=none; cv=none;")), Some(Fault::Sets));
    assert_eq!(fault(&one.replace("a=ed25519-sha256", "a=rsa-sha1")), Some(Fault::Syntax(1)));
}

/// RFC 8616 5: a seal's selector and domain are looked up as A-labels, as those of
/// a signature are.
#[test]
fn u_labels_of_a_seal_are_looked_up_as_a_labels() {
    let mut asked = Vec::new();
    let message = chain(1).replacen("s=s;", "s=b\u{fc}cher;", 1);
    validate_with(&message, |q| {
        asked.push(q.name.to_string());
        Answer::found(&q.name, 60, vec![Data::txt(ED25519)])
    });
    assert!(asked.contains(&"xn--bcher-kva._domainkey.example.org".to_string()), "{asked:?}");
    assert_eq!(fault(&chain(1).replacen("s=s;", "s=a b;", 1)), Some(Fault::Syntax(1)));
}

/// RFC 8617 4.1.2: what the sealer is asked to sign and must not.
#[test]
fn our_message_signature_covers_no_field_of_arc_and_no_results() {
    let one = chain(1);
    assert!(one.contains("h=from:subject;"), "{one}");
    let set: Vec<&str> = one.split("\r\n").filter(|l| l.starts_with("ARC-")).collect();
    assert!(set[0].starts_with("ARC-Seal: ") && set[1].starts_with("ARC-Message-Signature: "));
    assert_eq!(set[2], "ARC-Authentication-Results: i=1; mx.example.org; spf=pass");
}

/// RFC 8617 5.1.2: a chain that came in broken is sealed once, and that seal
/// covers its own set alone.
#[test]
fn a_failed_chain_is_sealed_once_over_its_own_set() {
    let broken = chain(2).replace("i=1; mx.example.org; spf=pass", "i=1; mx.example.org; spf=fail");
    let b_of_top = |message: &str| {
        let seal = message.split("b=").nth(1).unwrap();
        seal.split(';').next().unwrap().to_string()
    };
    let closed = sealed(&broken, Validation::Fail).unwrap();
    assert!(closed.contains("cv=fail;"), "{closed}");
    let otherwise = sealed(&chain(2), Validation::Fail).unwrap();
    assert_eq!(b_of_top(&closed), b_of_top(&otherwise), "what lies below is not covered");
    assert_ne!(b_of_top(&sealed(&chain(2), Validation::Pass).unwrap()), b_of_top(&otherwise));
    assert_eq!(sealed(&closed, Validation::Fail), None);
    assert_eq!(fault(&closed), Some(Fault::Validation(3)));
}

/// RFC 8617 5.1, step 2: the results are those that we wrote, and no others.
#[test]
fn the_results_of_a_set_are_our_own() {
    let header = b"Authentication-Results: mx.example.org;\r\n\tspf=pass\r\n\
        Authentication-Results: other; dkim=pass\r\n\
        Authentication-Results: MX.example.org; dkim=fail\r\n";
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let results = own_results(&FieldIndex::new(&fields), "mx.example.org");
    assert_eq!(results, "mx.example.org; spf=pass; dkim=fail");
    // RFC 8601 2.2: no-result is not one among others, and nothing is no result.
    for (header, wanted) in [
        ("", "mx.example.org; none"),
        ("Authentication-Results: other; dkim=pass\r\n", "mx.example.org; none"),
        (
            "Authentication-Results: mx.example.org; none\r\n\
             Authentication-Results: mx.example.org; spf=pass\r\n",
            "mx.example.org; spf=pass",
        ),
    ] {
        let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
        assert_eq!(own_results(&FieldIndex::new(&fields), "mx.example.org"), wanted);
    }
}

/// RFC 8617 5.2.1: all failures are permanent, those of the DNS too; that it was
/// the DNS is said.
#[test]
fn a_chain_whose_keys_are_not_answered_fails_and_says_why() {
    let slow = validate_with(&chain(2), |q| Answer::failed(&q.name, Failure::Timeout));
    assert_eq!(slow.validation, Validation::Fail);
    assert!(slow.fault.unwrap().is_temporary());
    assert_eq!(slow.fault.unwrap().to_string(), "i=2: message signature: the DNS did not answer");
    let gone = validate_with(&chain(2), |q| Answer::found(&q.name, 1, vec![]));
    assert!(!gone.fault.unwrap().is_temporary());
}

/// A key that is missing or not answered is no pass.
#[test]
fn a_chain_without_its_keys_fails() {
    let slow = validate_with(&chain(2), |q| Answer::failed(&q.name, Failure::Timeout));
    assert_eq!(slow.fault, Some(Fault::Message(2, DkimFault::Dns)));
    let gone = validate_with(&chain(2), |q| Answer::found(&q.name, 1, vec![Data::txt(b"x")]));
    assert_eq!(gone.fault, Some(Fault::Message(2, DkimFault::NoKey)));
}

#[test]
fn sealing_takes_linear_time() {
    for unit in ["X: y\r\n", "ARC-Seal: i=1; cv=pass\r\n", "ARC-Seal: i=1;;;;\r\n"] {
        assert_linear(|n| {
            std::hint::black_box(sealed(
                &(unit.repeat(n / unit.len()) + MESSAGE),
                Validation::Pass,
            ));
        });
    }
}

#[test]
fn reading_a_chain_takes_linear_time() {
    for unit in ["ARC-Seal: i=1; cv=none\r\n", "ARC-Authentication-Results: i=1; (((((\r\n"] {
        assert_linear(|n| {
            let header = unit.repeat(n / unit.len());
            let fields: Vec<Field<'_>> = Fields::new(header.as_bytes()).collect();
            std::hint::black_box(Chain::new(&FieldIndex::new(&fields)).len());
        });
    }
}
