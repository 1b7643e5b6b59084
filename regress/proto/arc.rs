//! The ARC test suite: validation and signing.

use rmail::base::crypto::dkim::{OpenSsl, SigningKey};
use rmail::proto::arc::seal::{own_results, seal, Request};
use rmail::proto::arc::{Chain, Validation};
use rmail::proto::dkim::canon::BodyHashes;
use rmail::proto::dkim::signature::FieldIndex;
use rmail::proto::dkim::{Canon, Crypto};
use rmail::proto::dns::{Answer, Answers, Data, Status};
use rmail::proto::mime::{split, Field, Fields};

use super::yaml::{self, Yaml};
use crate::{Env, Outcome};

type Digest = <OpenSsl as Crypto>::Digest;

/// The cases of the two files; fewer means that some were not read.
const VALIDATION_CASES: usize = 171;
const SIGNING_CASES: usize = 17;

fn scenarios(env: &Env, file: &str) -> Result<Vec<Yaml>, Outcome> {
    let dir = env.suites("arc")?;
    let text = std::fs::read_to_string(dir.join(file)).expect("read the suite");
    Ok(yaml::parse(&text).expect("YAML of the subset"))
}

fn verdict(cases: usize, least: usize, wrong: &[String]) -> Outcome {
    if cases < least {
        return Outcome::Failed(format!("only {cases} of {least} cases were found"));
    }
    if !wrong.is_empty() {
        return Outcome::Failed(format!("{} of {cases}: {}", wrong.len(), wrong.join("; ")));
    }
    Outcome::Passed
}

pub fn validation(env: &Env) -> Outcome {
    let scenarios = match scenarios(env, "arc-draft-validation-tests.yml") {
        Ok(scenarios) => scenarios,
        Err(skipped) => return skipped,
    };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        for (name, case) in scenario.get("tests").expect("tests").pairs() {
            cases += 1;
            let expected = case.text("cv").expect("cv").trim().to_ascii_lowercase();
            let (got, why) = validate(case.text("message").expect("message"), scenario);
            // Where the suite leaves the result open, anything but a pass will do.
            let right = match expected.as_str() {
                "" => got != Validation::Pass,
                expected => got.word() == expected,
            };
            if !right {
                wrong.push(format!("{name}: {} ({why}), not {expected:?}", got.word()));
            }
        }
    }
    verdict(cases, VALIDATION_CASES, &wrong)
}

fn validate(message: &str, scenario: &Yaml) -> (Validation, String) {
    let (header, body) = split(message.as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let chain = Chain::new(&index);
    let mut hashes = BodyHashes::<Digest>::default();
    chain.want(&mut hashes);
    hashes.feed(body);
    let checked = chain.check::<Digest>(&index, &hashes.finish());
    let outcome = Answers::new().run(
        |answers| checked.evaluate(&OpenSsl::new(), answers),
        |query| {
            let name = query.name.to_string();
            match scenario.get("txt-records").and_then(|r| r.text(&name)) {
                // A record over several lines is one with line ends in its key.
                Some(text) => Answer::found(&query.name, 60, vec![Data::txt(text.as_bytes())]),
                None => Answer::negative(&query.name, Status::NxDomain, 60),
            }
        },
    );
    (outcome.validation, outcome.fault.map(|f| f.to_string()).unwrap_or_default())
}

pub fn signing(env: &Env) -> Outcome {
    let scenarios = match scenarios(env, "arc-draft-sign-tests.yml") {
        Ok(scenarios) => scenarios,
        Err(skipped) => return skipped,
    };
    let mut cases = 0;
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let pem = scenario.text("privatekey").expect("privatekey");
        let key = SigningKey::from_pem(pem.as_bytes()).expect("a key");
        for (name, case) in scenario.get("tests").expect("tests").pairs() {
            cases += 1;
            if let Err(why) = sign(case, scenario, &key) {
                wrong.push(format!("{name}: {why}"));
            }
        }
    }
    verdict(cases, SIGNING_CASES, &wrong)
}

fn sign(case: &Yaml, scenario: &Yaml, key: &SigningKey) -> Result<(), String> {
    let (header, body) = split(case.text("message").expect("message").as_bytes());
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let index = FieldIndex::new(&fields);
    let mut hashes = BodyHashes::<Digest>::default();
    hashes.want(Canon::Relaxed, None);
    hashes.feed(body);
    let body_hash = hashes.finish().get(Canon::Relaxed, None).expect("wanted").digest;
    let ours = case.text("srv-id").expect("srv-id");
    let results = own_results(&index, ours);
    // The suite gives the state of the chain in the results.
    let validation = if results.contains(" arc=fail") {
        Validation::Fail
    } else if results.contains(" arc=pass") {
        Validation::Pass
    } else {
        Validation::None
    };
    let headers: Vec<String> =
        case.text("sig-headers").expect("sig-headers").split(':').map(str::to_owned).collect();
    let request = Request {
        domain: scenario.text("domain").expect("domain"),
        selector: scenario.text("sel").expect("sel"),
        algorithm: key.algorithm(),
        now: case.text("t").expect("t").trim().parse().expect("a time"),
        validation,
        results: &results,
        headers: &headers,
    };
    let set = seal::<Digest, _>(&index, &body_hash, &request, |d| key.sign(d))
        .map_err(|e| e.to_string())?;
    let fields = match &set {
        Some(set) => [&set.seal, &set.message, &set.results].map(Vec::as_slice),
        None => [&b""[..]; 3],
    };
    for (name, got) in ["AS", "AMS", "AAR"].iter().zip(fields) {
        let value = got.splitn(2, |b| *b == b':').nth(1).unwrap_or_default();
        let expected = case.text(name).unwrap_or_default();
        let (got, expected) = (compact(&String::from_utf8_lossy(value)), compact(expected));
        if got != expected {
            return Err(format!("{name}: {got}, not {expected}"));
        }
    }
    Ok(())
}

/// Without white space: the suite wraps its lines as it likes.
fn compact(text: &str) -> String {
    text.split_whitespace().collect()
}
