//! The fuzz targets without the fuzzer: each over its corpus, and none forgotten.

use std::collections::BTreeSet;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};

use crate::{Env, Outcome, Test};

mod targets;

pub use targets::{Target, TARGETS};

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "corpus", run: corpus },
    Test { name: "every-target-has-a-row-and-a-corpus", run: complete },
];

/// The largest input that is kept, and the largest corpus of all targets.
const INPUT: u64 = 4096;
const WHOLE: u64 = 3 << 20;

/// Runs a target; what it panicked with, if it did.
pub fn finding(target: &Target, bytes: &[u8]) -> Option<String> {
    let (name, run) = target;
    let panic = catch_unwind(AssertUnwindSafe(|| run(bytes))).err()?;
    Some(format!("{name}: {}", crate::panic_text(&panic)))
}

/// Every input that once taught the fuzzer something, or was a finding.
fn corpus(env: &Env) -> Outcome {
    let mut size = 0;
    for target in TARGETS {
        for path in files(&env.root().join("regress/fuzz/corpus").join(target.0)) {
            let bytes = std::fs::read(&path).expect("an input");
            let octets = u64::try_from(bytes.len()).expect("a length");
            size += octets;
            if octets > INPUT {
                return Outcome::Failed(format!("{}: over {INPUT} octets", path.display()));
            }
            if let Some(why) = finding(target, &bytes) {
                return Outcome::Failed(format!("{why} ({})", path.display()));
            }
        }
    }
    if size > WHOLE {
        return Outcome::Failed(format!(
            "the corpus has {size} octets: MERGE=1 regress/fuzz/run.sh"
        ));
    }
    Outcome::Passed
}

/// A `pub fn fuzz_*` without a row would never run, a row without a corpus not here.
fn complete(env: &Env) -> Outcome {
    let mut missing = Vec::new();
    let table = std::fs::read_to_string(env.root().join("regress/fuzz/targets.rs"))
        .expect("the table of targets");
    let rows: BTreeSet<String> = table
        .lines()
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split_once("\", "))
        .map(|(_, path)| path.trim_end_matches("),").to_string())
        .collect();
    if rows.len() != TARGETS.len() {
        missing.push(format!("{} rows were read, there are {}", rows.len(), TARGETS.len()));
    }
    for (path, function) in functions(&env.root().join("src")) {
        if !rows.contains(&function) {
            missing.push(format!("{path}: {function} has no row in regress/fuzz/targets.rs"));
        }
    }
    let corpora = env.root().join("regress/fuzz/corpus");
    for (name, _) in TARGETS {
        if files(&corpora.join(name)).is_empty() {
            missing.push(format!("{name}: no input in regress/fuzz/corpus/{name}"));
        }
    }
    for entry in std::fs::read_dir(&corpora).expect("regress/fuzz/corpus").flatten() {
        if !TARGETS.iter().any(|(name, _)| entry.file_name() == *name) {
            missing.push(format!("{}: no such target", entry.path().display()));
        }
    }
    if missing.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(missing.join("\n"))
    }
}

/// Each public fuzz function with its file, as a path below the crate.
fn functions(src: &Path) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut sources = Vec::new();
    crate::layers::source::files(src, &mut sources);
    for path in sources {
        let name = path.strip_prefix(src).expect("below src").display().to_string();
        let module = name.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
        let text = std::fs::read_to_string(&path).expect("source");
        for line in text.lines() {
            let Some(rest) = line.strip_prefix("pub fn fuzz_") else { continue };
            let function = rest.split('(').next().unwrap_or_default();
            found.push((name.clone(), format!("{module}::fuzz_{function}")));
        }
    }
    found
}

/// The inputs of a directory in order; none if there is no such directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut files: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    files.sort();
    files
}
