//! Tests of kind man.
use crate::{Env, Outcome, Test};
use rmail::proc::table::{Kind, Process, Root, RunAs, PROCESSES};
use std::path::Path;

/// The tests of this kind.
pub const TESTS: &[Test] =
    &[Test { name: "process-table-of-the-manual-is-that-of-the-source", run: processes }];

/// A row of rmail-internals(7) as the source has it.
fn row(process: &Process) -> String {
    // What belongs to a job is the job's to say; a store's job is an account.
    let job = if process.kind == Kind::Store { "the account" } else { "of its job" };
    let user = match process.user {
        RunAs::Root => "root",
        RunAs::User(name) => name,
        RunAs::Account => job,
    };
    let root = match process.root {
        Root::Real => "/",
        Root::Empty => "/var/empty",
        Root::Spool => "the queue",
        Root::Job => "of its job",
    };
    let calls: Vec<&str> =
        process.calls.iter().map(|k| rmail::proc::table::process(*k).name).collect();
    let asks = if calls.is_empty() { "nobody".to_string() } else { calls.join(" ") };
    format!("{} Ta {user} Ta {root} Ta {asks}", process.name)
}

/// The table of rmail-internals(7) and that of the source are one: no row of
/// either is missing in the other, or says something else.
fn processes(_: &Env) -> Outcome {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("man/rmail-internals.7");
    let text = std::fs::read_to_string(page).expect("the manual");
    let mut lines =
        text.lines().skip_while(|l| *l != ".It Sy process Ta Sy user Ta Sy root Ta Sy asks");
    assert!(lines.next().is_some(), "the table of processes");
    let mut manual: Vec<&str> =
        lines.take_while(|l| *l != ".El").filter_map(|l| l.strip_prefix(".It ")).collect();
    let mut source: Vec<String> = PROCESSES.iter().map(row).collect();
    manual.sort_unstable();
    source.sort_unstable();
    assert_eq!(manual, source);
    Outcome::Passed
}
