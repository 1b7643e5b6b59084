//! The RFC 7208 test suite.

use rmail::proto::dns::{Answer, Answers, Data, Failure, Name, Query, Status, Type};
use rmail::proto::spf::{check, Identity, Outcome as Spf, Policy, Sender};

use super::yaml::{self, Yaml};
use crate::{Env, Outcome};

/// The cases of the suite; fewer means that some were not read.
const CASES: usize = 203;

pub fn suite(env: &Env) -> Outcome {
    let dir = match env.suites("spf") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let file = std::fs::read_to_string(dir.join("rfc7208-tests.yml")).expect("read the suite");
    let scenarios = yaml::parse(&file).expect("YAML of the subset");
    let mut cases = 0;
    let mut wrong = Vec::new();
    for scenario in &scenarios {
        let zone = scenario.get("zonedata").expect("zonedata");
        for (name, case) in scenario.get("tests").expect("tests").pairs() {
            cases += 1;
            let (got, expected) = (run(case, zone), case.get("result").expect("result").texts());
            if !expected.contains(&got.verdict.word()) {
                wrong.push(format!(
                    "{name}: {} ({:?}), not {expected:?}",
                    got.verdict.word(),
                    got.problem
                ));
            }
            if let Some(wanted) = case.text("explanation") {
                let wanted = Some(wanted).filter(|w| *w != "DEFAULT");
                if got.explanation.as_deref() != wanted {
                    wrong.push(format!("{name}: {:?}, not {wanted:?}", got.explanation));
                }
            }
        }
    }
    if cases < CASES {
        return Outcome::Failed(format!("only {cases} of {CASES} cases were found"));
    }
    if !wrong.is_empty() {
        return Outcome::Failed(format!("{} of {cases}: {}", wrong.len(), wrong.join("; ")));
    }
    Outcome::Passed
}

fn run(case: &Yaml, zone: &Yaml) -> Spf {
    let text = |key| case.text(key).unwrap_or_default().as_bytes().to_vec();
    let sender = Sender {
        ip: case.text("host").expect("host").parse().expect("an address"),
        helo: text("helo"),
        mail_from: text("mailfrom"),
        receiver: b"unknown".to_vec(),
        now: 0,
    };
    Answers::new().run(
        |answers| check(Identity::MailFrom, &sender, Policy::default(), answers),
        |query| answer(zone, query, 0),
    )
}

/// The answer of the suite's zone data.
fn answer(zone: &Yaml, query: &Query, aliases: usize) -> Answer {
    if aliases > 8 {
        return Answer::failed(&query.name, Failure::Malformed);
    }
    let mut records = Vec::new();
    let mut exists = false;
    let mut timeout = false;
    for (owner, data) in zone.pairs() {
        if Name::from_dotted(owner.as_bytes()).as_ref() != Ok(&query.name) {
            continue;
        }
        exists = true;
        let Yaml::List(items) = data else { panic!("zone data of {owner}") };
        // An SPF record is served as TXT too, unless TXT is given.
        let own_txt = items.iter().any(|item| item.get("TXT").is_some());
        for item in items {
            match item {
                Yaml::Text(t) if t == "TIMEOUT" => timeout = true,
                item => {
                    let (kind, value) = &item.pairs()[0];
                    records.extend(record(kind, value, own_txt));
                }
            }
        }
    }
    if let Some(Data::Cname(target)) = records.first() {
        return answer(zone, &Query::new(target.clone(), query.rtype), aliases + 1);
    }
    records.retain(|data: &Data| data.rtype() == query.rtype);
    match (records.is_empty(), timeout, exists) {
        (false, ..) => Answer::found(&query.name, 60, records),
        (true, true, _) => Answer::failed(&query.name, Failure::Timeout),
        (true, false, true) => Answer::negative(&query.name, Status::NoData, 60),
        (true, false, false) => Answer::negative(&query.name, Status::NxDomain, 60),
    }
}

fn record(kind: &str, value: &Yaml, own_txt: bool) -> Option<Data> {
    let name = |text: &str| Name::from_dotted(text.as_bytes()).expect("a name");
    let texts = value.texts();
    let first = texts.first().copied().unwrap_or_default();
    // Escapes in the file are octets, not characters.
    let octets = |t: &str| t.chars().map(|c| u8::try_from(u32::from(c)).expect("octet")).collect();
    Some(match kind {
        "SPF" if own_txt => return None,
        "TXT" if first == "NONE" => return None,
        "SPF" | "TXT" => Data::Txt(texts.iter().map(|t| octets(t)).collect()),
        "A" => Data::A(first.parse().expect("IPv4")),
        "AAAA" => Data::Aaaa(first.parse().expect("IPv6")),
        "MX" => Data::Mx(first.parse().expect("preference"), name(texts[1])),
        "PTR" => Data::Ptr(name(first)),
        "CNAME" => Data::Cname(name(first)),
        other => panic!("{other} is unknown: {:?}", Type::NAMED),
    })
}
