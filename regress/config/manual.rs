//! rmail.conf(5) and the program say the same.

use super::outcome;
use crate::{Env, Outcome};
use rmail::conf::{print_limit, NoFiles, FEATURES};
use rmail::proto::limits::{Limit, ALL};
use std::fmt::Write;

/// LIMITS is what the table says.  `UPDATE_MANUAL=1` writes it anew.
pub fn limits(env: &Env) -> Outcome {
    let path = env.root().join("man/rmail.conf.5");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let (begin, end) = (".\\\" LIMITS BEGIN\n", ".\\\" LIMITS END\n");
    let Some((head, rest)) = text.split_once(begin) else {
        return Outcome::Failed("rmail.conf.5 has no LIMITS BEGIN".to_string());
    };
    let Some((section, tail)) = rest.split_once(end) else {
        return Outcome::Failed("rmail.conf.5 has no LIMITS END".to_string());
    };
    let right = print();
    if section == right {
        return Outcome::Passed;
    }
    if std::env::var_os("UPDATE_MANUAL").is_some() {
        let whole = format!("{head}{begin}{right}{end}{tail}");
        return match std::fs::write(&path, whole) {
            Ok(()) => Outcome::Passed,
            Err(e) => Outcome::Failed(e.to_string()),
        };
    }
    let missing: Vec<&str> =
        right.lines().filter(|l| !section.lines().any(|s| s == *l)).take(5).collect();
    Outcome::Failed(format!(
        "LIMITS of rmail.conf(5) is not what limits.rs says: UPDATE_MANUAL=1 make regress T=config/limits writes it anew; missing: {}",
        missing.join(" / ")
    ))
}

/// The section as mdoc.
fn print() -> String {
    let mut out = String::from(".Bl -tag -width Ds\n");
    for l in ALL.iter().filter(|l| l.settable) {
        row(&mut out, l);
    }
    out.push_str(".El\n.Pp\nThese are part of the program:\n.Pp\n.Bl -tag -width Ds -compact\n");
    for l in ALL.iter().filter(|l| !l.settable) {
        row(&mut out, l);
    }
    out.push_str(".El\n");
    out
}

fn row(out: &mut String, l: &Limit) {
    let text = |s: &str| s.replace('\\', "\\e");
    let (name, value) = (l.name, print_limit(l, l.default));
    let (source, reached) = (text(l.source), text(l.reached));
    // Writing to a string cannot fail.
    let _ =
        writeln!(out, ".It Cm {name} Ar {value}\nBecause of: {source}.\nAt the limit: {reached}.");
}

/// Every statement and option of both lists is in the manual.
pub fn features(env: &Env) -> Outcome {
    let text = std::fs::read_to_string(env.root().join("man/rmail.conf.5")).unwrap_or_default();
    let mut wrong = Vec::new();
    for feature in FEATURES.iter().filter(|f| f.works) {
        let last = feature.name.split(' ').next_back().unwrap_or_default();
        if !["inline", "macro"].contains(&last) && !text.contains(last) {
            wrong.push(format!("rmail.conf(5) has no {}", feature.name));
        }
    }
    outcome(wrong)
}

/// The pages are without a complaint of mandoc.
pub fn lint(env: &Env) -> Outcome {
    let mut wrong = Vec::new();
    for page in ["rmail.conf.5", "rmail-tables.5"] {
        let path = env.root().join("man").join(page);
        match std::process::Command::new("mandoc").args(["-Tlint", "-Wwarning"]).arg(&path).output()
        {
            Ok(out) if out.status.success() => {}
            Ok(out) => wrong.push(String::from_utf8_lossy(&out.stdout).into_owned()),
            Err(_) => return Outcome::Skipped("no mandoc: install mandoc".to_string()),
        }
    }
    outcome(wrong)
}

/// What stands in EXAMPLES is a configuration.
pub fn examples(env: &Env) -> Outcome {
    let path = env.root().join("man/rmail.conf.5");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    let section = text.split("\n.Sh ").find(|s| s.starts_with("EXAMPLES\n")).unwrap_or_default();
    let blocks: Vec<&str> = section
        .split(".Bd -literal -offset indent\n")
        .skip(1)
        .filter_map(|b| b.split("\n.Ed").next())
        .collect();
    let mut wrong = Vec::new();
    if blocks.len() < 2 {
        wrong.push(format!("{} examples", blocks.len()));
    }
    for block in blocks {
        let plain = block.replace("\\e", "\\");
        if let Err(e) = rmail::conf::parse("example", plain.as_bytes(), &[], &mut NoFiles) {
            let said: Vec<String> = e.iter().map(ToString::to_string).collect();
            wrong.push(format!("{}:\n{plain}", said.join("; ")));
        }
    }
    outcome(wrong)
}
