//! DMARC's tree walk over the cases of every `dmarc-*.yml`; the first of them,
//! `dmarc-discovery.yml`, says in its head what a case is made of.

use rmail::proto::dmarc::author::domain_of;
use rmail::proto::dmarc::{evaluate, Identifiers, Verdict};
use rmail::proto::dns::zone::Zone;
use rmail::proto::dns::Answers;

use std::collections::HashSet;
use std::path::PathBuf;

use super::yaml::{self, Yaml};
use crate::{Env, Outcome};

/// The cases of the first file; fewer means that some were not read.
const CASES: usize = 71;

pub fn discovery(env: &Env) -> Outcome {
    let dir = env.root().join("regress/proto");
    let mut files: Vec<PathBuf> = std::fs::read_dir(&dir)
        .expect("read the directory")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            name.starts_with("dmarc-") && name.ends_with(".yml")
        })
        .collect();
    files.sort();
    let mut wrong = Vec::new();
    let mut names = HashSet::new();
    for path in &files {
        let text = std::fs::read_to_string(path).expect("read the cases");
        let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let documents = match yaml::parse(&text) {
            Ok(documents) => documents,
            Err(why) => return Outcome::Failed(format!("{file}: {why:?}")),
        };
        let cases: Vec<_> = documents.iter().flat_map(Yaml::pairs).collect();
        // As many names at the margin as cases, or some are not read as such.
        let written = text.lines().filter(|l| l.ends_with(':') && !l.starts_with([' ', '#']));
        if cases.is_empty() || cases.len() != written.count() {
            wrong.push(format!("{file}: {} cases are not all of them", cases.len()));
        }
        for (name, case) in cases {
            if !names.insert(name.clone()) {
                wrong.push(format!("{file}: {name} is there twice"));
            }
            if let Err(why) = check(case) {
                wrong.push(format!("{file}: {name}: {why}"));
            }
        }
    }
    if names.len() < CASES {
        wrong.push(format!("only {} of {CASES} cases were found", names.len()));
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}

fn check(case: &Yaml) -> Result<(), String> {
    let key = |key: &str| case.text(key).ok_or_else(|| format!("no {key}"));
    let (spec, expected) = (key("spec")?, (key("organization")?, key("policy")?));
    let (organization, policy) = run(case, key("from")?)?;
    if (organization.as_str(), policy.as_str()) == expected {
        Ok(())
    } else {
        Err(format!("RFC 9989 {spec}: {organization}, {policy}, not {expected:?}"))
    }
}

fn run(case: &Yaml, from: &str) -> Result<(String, String), String> {
    let mut zone = String::new();
    for entry in case.get("zone").ok_or("no zone")?.texts() {
        let (name, what) = entry.split_once(' ').ok_or_else(|| format!("{entry}: no record"))?;
        zone += &match what.split_once(' ') {
            Some(("alias", target)) => format!("{name} CNAME {target}\n"),
            _ if what == "exists" => format!("{name} MX 0 .\n"),
            _ if what == "fails" => format!("{name} FAIL\n"),
            _ => {
                let what = what.replace('\\', "\\\\").replace('"', "\\\"");
                format!("{name} TXT \"{what}\"\n")
            }
        };
    }
    let zone = Zone::parse(zone.as_bytes()).map_err(|e| format!("zone: {}", e.what))?;
    let author = domain_of(format!("a@{from}").as_bytes()).map_err(|e| format!("{from}: {e}"))?;
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
    Ok((organization, policy))
}
