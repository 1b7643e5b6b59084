//! DMARC's tree walk over the cases of `dmarc-discovery.yml`.

use rmail::proto::dmarc::{evaluate, Identifiers, Verdict};
use rmail::proto::dns::zone::Zone;
use rmail::proto::dns::{Answers, Name};

use super::yaml::{self, Yaml};
use crate::{Env, Outcome};

/// The cases of the file; fewer means that some were not read.
const CASES: usize = 60;

pub fn discovery(env: &Env) -> Outcome {
    let path = env.root().join("regress/proto/dmarc-discovery.yml");
    let text = std::fs::read_to_string(path).expect("read the cases");
    let documents = yaml::parse(&text).expect("YAML of the subset");
    let mut wrong = Vec::new();
    let cases = documents[0].pairs();
    for (name, case) in cases {
        let (organization, policy) = run(case);
        let expected = (
            case.text("organization").expect("organization"),
            case.text("policy").expect("policy"),
        );
        if (organization.as_str(), policy.as_str()) != expected {
            let spec = case.text("spec").expect("spec");
            wrong.push(format!(
                "{name} (RFC 9989 {spec}): {organization}, {policy}, not {expected:?}"
            ));
        }
    }
    if cases.len() < CASES {
        wrong.push(format!("only {} of {CASES} cases were found", cases.len()));
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}

fn run(case: &Yaml) -> (String, String) {
    let mut zone = String::new();
    for entry in case.get("zone").expect("zone").texts() {
        let (name, what) = entry.split_once(' ').expect("a name and a text");
        zone += &match what.split_once(' ') {
            Some(("alias", target)) => format!("{name} CNAME {target}\n"),
            _ if what == "exists" => format!("{name} MX 0 .\n"),
            _ if what == "fails" => format!("{name} FAIL\n"),
            _ => format!("{name} TXT \"{what}\"\n"),
        };
    }
    let zone = Zone::parse(zone.as_bytes()).expect("a zone");
    let author = Name::parse(case.text("from").expect("from").as_bytes()).expect("a name");
    let identifiers = Identifiers::default();
    let outcome = Answers::new()
        .run(|answers| evaluate(&author, &identifiers, answers), |query| zone.answer(query));
    let organization =
        outcome.organization.map_or_else(|| "unknown".into(), |o| o.to_lower().to_string());
    let policy = match (outcome.verdict, outcome.policy) {
        (Verdict::TempError, _) => "temperror".to_string(),
        (_, Some((name, _))) => format!("{} {}", name.to_lower(), outcome.requested.word()),
        (_, None) => "none".to_string(),
    };
    (organization, policy)
}
