//! rmailctl(8): a table of sub-commands.
//!
//! A sub-command is a row of [`COMMANDS`] and a function; the row is also what
//! `rmailctl` prints when it is not told what to do.  Commands may be
//! abbreviated as long as they stay unambiguous.

use std::io::Write;
use std::process::ExitCode;

/// EX_USAGE of sysexits(3).
const EX_USAGE: u8 = 64;

/// One sub-command.
pub struct Command {
    /// Its words, as typed: `["auth", "check"]`.
    pub words: &'static [&'static str],
    /// Its arguments, in the manner of a synopsis.
    pub synopsis: &'static str,
    /// Runs it with the arguments after its words.
    pub run: fn(&[std::ffi::OsString]) -> ExitCode,
}

/// Every sub-command, in alphabetical order.
pub const COMMANDS: &[Command] = &[];

/// The program's main function.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let found: Vec<&Command> = COMMANDS.iter().filter(|c| matches(c, &args)).collect();
    match found.as_slice() {
        [one] => (one.run)(args.get(one.words.len()..).unwrap_or_default()),
        _ => usage(),
    }
}

/// True if each word of the command begins with what was typed in its place.
fn matches(command: &Command, args: &[std::ffi::OsString]) -> bool {
    args.len() >= command.words.len()
        && command.words.iter().zip(args).all(|(word, arg)| {
            arg.to_str().is_some_and(|arg| !arg.is_empty() && word.starts_with(arg))
        })
}

fn usage() -> ExitCode {
    let mut err = std::io::stderr().lock();
    for c in COMMANDS {
        // A closed stderr leaves nobody to tell.
        let _ = writeln!(err, "usage: rmailctl {} {}", c.words.join(" "), c.synopsis);
    }
    ExitCode::from(EX_USAGE)
}
