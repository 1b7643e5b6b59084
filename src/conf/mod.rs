//! The language of rmail.conf(5): lexer, grammar, checks and canonical print.
//!
//! It is smtpd.conf(5) of OpenSMTPD and some statements more.  Pure code: it is
//! handed bytes and a name, and asks a [`Source`] for included files.  Start at
//! [`parse`]; what it gives is in `ast`, the questions asked of it in `view`.
//! One file per statement family has its grammar, checks and print; adding a
//! statement touches that file, `ast`, and the tables in `parse`, `print` and
//! `features`.
//!
//! *Runs in* parent (the whole configuration) and in every child (its part, as
//! text).  *Trusts* nothing: a mistake is an error with file and line, and all
//! mistakes of a text are reported at once.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

mod action;
pub mod ast;
mod features;
pub mod format;
mod keywords;
mod lex;
mod listen;
mod matches;
mod own;
mod parse;
mod pki;
mod print;
mod queue;
mod scalar;
mod smtp;
mod table;
pub mod view;

pub use features::{Feature, FEATURES};
pub use own::{print_limit, SPECIAL_USES};
pub use scalar::relay_url;
pub use table::Use;

use ast::{Config, Pos};

/// A mistake and its place; prints as `file:line: text`, which is one line
/// whatever the configuration holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// Where.
    pub at: Pos,
    /// What is wrong, and the way out.
    pub text: String,
}

impl std::fmt::Display for Error {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for ch in format!("{}: {}", self.at, self.text).chars() {
            match ch.is_control() {
                true => write!(f, "{}", ch.escape_default())?,
                false => write!(f, "{ch}")?,
            }
        }
        Ok(())
    }
}

/// Where included files come from.
pub trait Source {
    /// The bytes of a file, or why there are none, for people.
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String>;

    /// The TCP port of a service that mail has no own name for.
    fn port(&mut self, _service: &str) -> Option<u16> {
        None
    }
}

/// A source without files.
pub struct NoFiles;

impl Source for NoFiles {
    fn read(&mut self, _path: &str) -> Result<Vec<u8>, String> {
        Err("nothing can be included here".to_string())
    }
}

/// A closure that reads a file is a source.
impl<F: FnMut(&str) -> Result<Vec<u8>, String>> Source for F {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        self(path)
    }
}

/// Reads a configuration.
///
/// `name` stands for the text in messages; `defines` are the macros of the
/// command line, which win over those of the text.  The error is every mistake,
/// in the order of the text.
pub fn parse(
    name: &str,
    text: &[u8],
    defines: &[(String, String)],
    source: &mut dyn Source,
) -> Result<Config, Vec<Error>> {
    read(name, text, defines, false, source)
}

/// Reads the part of a configuration that [`Config::print_for`] made: names may
/// be elsewhere, and the checks of the whole have been made.
pub fn part(text: &[u8]) -> Result<Config, String> {
    read("part", text, &[], true, &mut NoFiles)
        .map_err(|e| e.first().map(ToString::to_string).unwrap_or_default())
}

fn read(
    name: &str,
    text: &[u8],
    defines: &[(String, String)],
    part: bool,
    source: &mut dyn Source,
) -> Result<Config, Vec<Error>> {
    let mut run = parse::run(name, text, defines, part, source).finish();
    if !part {
        let complete = run.errors.is_empty();
        let config = std::mem::take(&mut run.config);
        listen::check(&config, &mut run);
        pki::check(&config, &mut run);
        action::check(&config, &mut run);
        table::check(&config, &mut run.errors);
        // What a statement with a mistake would have said is not known, so
        // nothing can be said about the rules and tags as a whole.
        if complete {
            let end = run.end.clone();
            matches::check(&config, end, &mut run.errors);
        }
        run.config = config;
    }
    let mut errors = run.errors;
    if errors.is_empty() {
        return Ok(Config { warnings: run.warnings, ..run.config });
    }
    let mut files: Vec<std::sync::Arc<str>> = Vec::new();
    for e in &errors {
        if !files.contains(&e.at.file) {
            files.push(e.at.file.clone());
        }
    }
    errors.sort_by_key(|e| (files.iter().position(|f| *f == e.at.file), e.at.line));
    errors.dedup();
    Err(errors)
}

/// Fuzz target: any octets as a configuration that includes itself.
///
/// Each mistake has a place and says something; what has none prints in a form
/// that reads as the same, for the whole and for each process's part.
pub fn fuzz_config(bytes: &[u8]) {
    let mut source = |_: &str| Ok(bytes.to_vec());
    match parse("fuzz", bytes, &[], &mut source) {
        Ok(config) => {
            let text = config.print();
            match parse("again", text.as_bytes(), &[], &mut NoFiles) {
                Ok(again) => assert_eq!(again.print(), text, "the canonical form is one form"),
                Err(errors) => assert!(errors.is_empty(), "{text}\n{errors:?}"),
            }
            let part = part(text.as_bytes()).map(|part| part.print());
            assert_eq!(part.as_ref(), Ok(&text), "every part is read");
        }
        Err(errors) => {
            assert!(!errors.is_empty());
            assert!(errors.iter().all(|e| !e.text.is_empty() && e.at.line > 0));
            let clean = |e: &Error| !e.to_string().chars().any(char::is_control);
            assert!(errors.iter().all(clean), "an error is one line: {errors:?}");
        }
    }
}

#[cfg(test)]
mod tests;
