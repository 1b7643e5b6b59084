//! The regress suite: real processes, sockets, files and clients.
//!
//! A test is a row of its kind's table: a name and a function that returns
//! what became of it.  Tests run in parallel, each with a directory of its own;
//! a panic is a failure.  `make regress T=pattern` runs those whose
//! `kind/name` contains the pattern; `--list` prints the names.

#![allow(missing_docs, reason = "a test suite has no users")]

use std::io::Write;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Instant;

#[path = "../bench/mod.rs"]
mod bench;
#[path = "../clients/mod.rs"]
mod clients;
#[path = "../compat/mod.rs"]
mod compat;
#[path = "../config/mod.rs"]
mod config;
#[path = "../control/mod.rs"]
mod control;
#[path = "../crash/mod.rs"]
mod crash;
#[path = "../deliver/mod.rs"]
mod deliver;
#[path = "../faults/mod.rs"]
mod faults;
#[path = "../filter/mod.rs"]
mod filter;
#[path = "../fuzz/mod.rs"]
mod fuzz;
#[path = "../imap/mod.rs"]
mod imap;
#[path = "../layers/mod.rs"]
mod layers;
#[path = "../man/mod.rs"]
mod man;
#[path = "../proto/mod.rs"]
mod proto;
#[path = "../sandbox/mod.rs"]
mod sandbox;
#[path = "../sieve/mod.rs"]
mod sieve;
#[path = "../smtp/mod.rs"]
mod smtp;
mod svtest;
#[path = "../tls/mod.rs"]
mod tls;

pub mod daemon;
mod dns;
mod sink;
pub mod tcp;

/// What became of a test that did not panic.
pub enum Outcome {
    Passed,
    /// It cannot run here; the text names the missing package or suite.
    Skipped(String),
    Failed(String),
}

/// A test: its name and what to run.
pub struct Test {
    pub name: &'static str,
    pub run: fn(&Env) -> Outcome,
}

/// What a test is given.
pub struct Env {
    /// A fresh directory, removed when the test has passed.
    pub dir: PathBuf,
}

impl Env {
    /// The project's root.
    pub fn root(&self) -> &'static Path {
        Path::new(env!("CARGO_MANIFEST_DIR"))
    }

    /// The public conformance data: `SUITES=dir`, else `../shared/suites`.
    pub fn suites(&self, folder: &str) -> Result<PathBuf, Outcome> {
        let base = std::env::var_os("SUITES")
            .map_or_else(|| self.root().join("../shared/suites"), PathBuf::from);
        let dir = base.join(folder);
        if dir.is_dir() {
            Ok(dir)
        } else {
            Err(Outcome::Skipped(format!("no {}: set SUITES to the suites folder", dir.display())))
        }
    }

    /// The daemon under test.
    pub fn rmaild(&self) -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_rmaild"))
    }

    /// The control program under test.
    pub fn rmailctl(&self) -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_rmailctl"))
    }

    /// The sendmail front end under test.
    pub fn sendmail(&self) -> &'static Path {
        Path::new(env!("CARGO_BIN_EXE_sendmail"))
    }
}

const KINDS: &[(&str, &[Test])] = &[
    ("bench", bench::TESTS),
    ("clients", clients::TESTS),
    ("compat", compat::TESTS),
    ("control", control::TESTS),
    ("config", config::TESTS),
    ("crash", crash::TESTS),
    ("deliver", deliver::TESTS),
    ("faults", faults::TESTS),
    ("filter", filter::TESTS),
    ("fuzz", fuzz::TESTS),
    ("imap", imap::login::TESTS),
    ("imap", imap::mail::TESTS),
    ("imap", imap::python::TESTS),
    ("layers", layers::TESTS),
    ("man", man::TESTS),
    ("proto", proto::TESTS),
    ("sandbox", sandbox::TESTS),
    ("sieve", sieve::TESTS),
    ("smtp", smtp::TESTS),
    ("tls", tls::TESTS),
];

fn main() -> ExitCode {
    if let Some(code) = sandbox::claims::stand_in() {
        return code;
    }
    sandbox::probe();
    users();
    let args: Vec<String> = std::env::args().skip(1).filter(|a| !a.is_empty()).collect();
    if let Some((_, files)) = args.split_first().filter(|(first, _)| *first == "--svtest") {
        return svtest::main(files);
    }
    let list = args.iter().any(|a| a == "--list");
    let patterns: Vec<&String> = args.iter().filter(|a| !a.starts_with("--")).collect();
    let mut chosen = Vec::new();
    for (kind, tests) in KINDS {
        // A measurement is worth something only alone and in a release build.
        if *kind == "bench" && std::env::var_os("BENCH").is_none() {
            continue;
        }
        for test in *tests {
            let name = format!("{kind}/{}", test.name);
            if patterns.is_empty() || patterns.iter().any(|p| name.contains(p.as_str())) {
                chosen.push((name, test));
            }
        }
    }
    if list {
        for (name, _) in &chosen {
            println!("{name}");
        }
        return ExitCode::SUCCESS;
    }
    run(&chosen)
}

/// As root the daemon changes to users of its own, which must exist.
fn users() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let id = std::process::Command::new("id").arg("-u").output();
    if id.is_ok_and(|o| o.stdout == b"0\n") {
        let status = std::process::Command::new("sh")
            .arg("etc/install.sh")
            .arg("users")
            .current_dir(root)
            .status();
        assert!(status.is_ok_and(|s| s.success()), "etc/install.sh users");
    }
}

/// Runs the tests on a few threads and prints a line for each.
fn run(chosen: &[(String, &Test)]) -> ExitCode {
    let base = std::env::temp_dir().join(format!("rmail-regress.{}", std::process::id()));
    let next = AtomicUsize::new(0);
    let counts = Mutex::new([0usize; 3]);
    let jobs = std::env::var("JOBS").ok().and_then(|j| j.parse().ok()).unwrap_or(4);
    // Those that last a minute by their nature, and mostly wait, go beside the
    // others from the start.
    let (long, short): (Vec<_>, Vec<_>) =
        chosen.iter().partition(|(name, _)| name.starts_with("crash/"));
    let (long, short) = (&long, &short);
    let (next, counts, base) = (&next, &counts, &base);
    std::thread::scope(|scope| {
        for own in (0..long.len()).map(Some).chain((0..jobs).map(|_| None)) {
            scope.spawn(move || loop {
                let (name, test) = match own {
                    Some(own) => long[own],
                    None => match short.get(next.fetch_add(1, Ordering::SeqCst)) {
                        Some(test) => *test,
                        None => return,
                    },
                };
                let dir = base.join(name.replace('/', "."));
                let begun = Instant::now();
                let outcome = std::fs::create_dir_all(&dir)
                    .map_err(|e| e.to_string())
                    .and_then(|()| {
                        catch_unwind(AssertUnwindSafe(|| (test.run)(&Env { dir: dir.clone() })))
                            .map_err(|p| panic_text(&p))
                    })
                    .unwrap_or_else(Outcome::Failed);
                let (slot, word, why) = match outcome {
                    Outcome::Passed => (0, "passed", String::new()),
                    Outcome::Failed(why) => {
                        (1, "FAILED", format!(": {why} (see {})", dir.display()))
                    }
                    Outcome::Skipped(why) => (2, "SKIPPED", format!(": {why}")),
                };
                if slot != 1 {
                    // What could not be removed is only clutter in the temporary directory.
                    let _ = std::fs::remove_dir_all(&dir);
                }
                let mut counts = counts.lock().unwrap_or_else(|e| e.into_inner());
                counts[slot] += 1;
                let ms = begun.elapsed().as_millis();
                let _ = writeln!(std::io::stdout(), "{word} {name} {ms} ms{why}");
                // a closed pipe
                if own.is_some() {
                    return;
                }
            });
        }
    });
    let [passed, failed, skipped] = *counts.lock().unwrap_or_else(|e| e.into_inner());
    if failed == 0 {
        let _ = std::fs::remove_dir_all(base); // clutter
    }
    println!("regress: {passed} passed, {failed} failed, {skipped} skipped");
    let strict = std::env::var_os("STRICT").is_some();
    ExitCode::from(u8::from(failed > 0 || (strict && skipped > 0)))
}

/// What a panic said.
fn panic_text(payload: &Box<dyn std::any::Any + Send>) -> String {
    payload
        .downcast_ref::<String>()
        .cloned()
        .or_else(|| payload.downcast_ref::<&str>().map(|s| (*s).to_string()))
        .unwrap_or_else(|| "panic".to_string())
}
