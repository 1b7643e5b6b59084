//! Tests of kind sieve: the `.svtest` files of this directory.
use crate::{svtest, Env, Outcome, Test};

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "actions", run: |env| file(env, "actions.svtest") },
    Test { name: "base", run: |env| file(env, "base.svtest") },
    Test { name: "date", run: |env| file(env, "date.svtest") },
    Test { name: "errors", run: |env| file(env, "errors.svtest") },
    Test { name: "hostile", run: |env| file(env, "hostile.svtest") },
    Test { name: "include", run: |env| file(env, "include.svtest") },
    Test { name: "match", run: |env| file(env, "match.svtest") },
    Test { name: "messages", run: |env| file(env, "messages.svtest") },
    Test { name: "mime", run: |env| file(env, "mime.svtest") },
    Test { name: "variables", run: |env| file(env, "variables.svtest") },
];

/// Runs one file; every one of its test blocks has to hold.
fn file(env: &Env, name: &str) -> Outcome {
    let report = svtest::run_file(&env.root().join("regress/sieve").join(name));
    if let Some(why) = report.skipped {
        return Outcome::Failed(why);
    }
    let failed: Vec<String> =
        report.failed.iter().map(|(name, why)| format!("{name}: {why}")).collect();
    if failed.is_empty() && report.passed > 0 {
        Outcome::Passed
    } else {
        Outcome::Failed(failed.join("; "))
    }
}
