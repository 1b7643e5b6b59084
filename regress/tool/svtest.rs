//! The Sieve test language: runs `.svtest` files.
//!
//! Such a file is a Sieve script that requires `vnd.dovecot.testsuite`.  The
//! extension is defined in [`verbs`], as one more row for the language's table;
//! the mail store and the SMTP sink that results are carried out on are in
//! memory ([`bench`]), and settings go by Pigeonhole's names ([`config`]).
//! Each file has a state of its own.  The language is described in regress(7)'s
//! README and used by public suites, which run unchanged.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rmail::proto::sieve::check::compile;
use rmail::proto::sieve::language::{Language, EXTENSIONS};
use rmail::proto::sieve::message::Message;
use rmail::proto::sieve::run::Run;
use rmail::proto::sieve::settings::Settings;
use rmail::proto::sieve::surroundings::Surroundings;

use self::bench::{Bench, Files};
use self::verbs::TESTSUITE;

#[path = "testsuite/bench.rs"]
mod bench;
#[path = "testsuite/config.rs"]
mod config;
#[path = "testsuite/verbs.rs"]
mod verbs;

/// What became of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// How many test blocks held.
    pub passed: usize,
    /// The others: name and reason.
    pub failed: Vec<(String, String)>,
    /// Why the file was not run, or not to its end.
    pub skipped: Option<String>,
}

/// `regress --svtest FILE...`: one line for each file, and a total.
pub fn main(files: &[String]) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for file in files {
        let report = run_file(Path::new(file));
        passed += report.passed;
        failed += report.failed.len();
        skipped += usize::from(report.skipped.is_some());
        match &report.skipped {
            Some(why) => println!("SKIPPED {file}: {why}"),
            None if report.failed.is_empty() => println!("passed {file}: {} tests", report.passed),
            None => println!("FAILED {file}: {} of its tests", report.failed.len()),
        }
        for (name, why) in &report.failed {
            println!("    {name}: {why}");
        }
    }
    println!("svtest: {passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// An empty world, for who only wants to run scripts.
pub fn world() -> Box<dyn Surroundings> {
    Box::new(Bench::new(PathBuf::new()))
}

/// Runs one file.
pub fn run_file(path: &Path) -> Report {
    let source = match std::fs::read(path) {
        Ok(source) => source,
        Err(e) => return Report { skipped: Some(e.to_string()), ..Report::default() },
    };
    let dir = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let mut bench = Bench::new(dir);
    let language = Language::new(EXTENSIONS.iter().copied().chain([&TESTSUITE]));
    let mut library = Files { dir: bench.dir.clone(), global: None, script: PathBuf::new() };
    let script = match compile(&source, &language, &mut library) {
        Ok(script) => script,
        Err(errors) => {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let text = text.join("; ");
            if text.contains("is not supported") {
                return Report { skipped: Some(text), ..Report::default() };
            }
            let failed = vec![("compile".to_string(), text)];
            return Report { failed, ..Report::default() };
        }
    };
    let settings = Settings { fuel: u64::MAX, max_actions: 1000, ..Settings::default() };
    let envelope = bench.envelope.clone();
    let message = Message::new(Arc::new(b"\r\n".to_vec()));
    let mut run = Run::new(&script, message, envelope, &settings, &mut bench);
    if let Err(fault) = run.execute() {
        bench.fail(&fault.to_string());
    }
    bench.end_test();
    Report { passed: bench.passed, failed: bench.failed, skipped: bench.skipped }
}
