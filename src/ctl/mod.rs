//! rmailctl(8): a table of sub-commands.
//!
//! A sub-command is a row of [`COMMANDS`] and a function; the row is also what
//! `rmailctl` prints when it is not told what to do.  Commands may be
//! abbreviated as long as they stay unambiguous.  Some speak to the daemon
//! over its control socket ([`client`]), the others work without one.

mod auth;
pub mod client;
mod daemon;
mod dmarc;
mod encrypt;
mod input;
pub mod json;
mod queue;
mod show;
mod sieve;

use crate::base::exits::sysexits;
use crate::sys;
use crate::sys::errno::{reason, SysError};
use crate::sys::sandbox::{self, Promise, Unveil};
use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

/// What the command line says before the command.
#[derive(Clone, Debug)]
pub struct Options {
    /// `-j`: print JSON.
    pub json: bool,
    /// `-s path`: the control socket.
    pub socket: std::path::PathBuf,
    /// `-f path`: the configuration, for commands that read it.
    pub config: std::path::PathBuf,
}

/// What a sub-command may do; all else ends it.  Messages and reports are read
/// as whoever asks, who may be root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum May {
    /// Reckon with what it was given.
    Reckon,
    /// Read files, whichever it is told.
    Read,
    /// Read files and ask name servers.
    Ask,
    /// Talk to the daemon.
    Talk,
    /// It confines itself: what comes before is more than a sandbox has, such
    /// as to run the daemon's program or to limit its own time.
    Itself,
}

impl May {
    /// Enters the sandbox, before any input is read.
    fn enter(self, options: &Options) -> Result<(), SysError> {
        use Promise::{Inet, Rpath, Stdio, Unix};
        let of = |path: &Path, perms| vec![Unveil { path: path.to_path_buf(), perms }];
        let all = || of(Path::new("/"), "r");
        // Local times are shown: the zone is read by now.
        sys::time::tzset();
        let entered = match self {
            May::Reckon => sandbox::enter(&[Stdio], &[]),
            May::Read => sandbox::enter(&[Stdio, Rpath], &all()),
            May::Ask => sandbox::enter(&[Stdio, Rpath, Inet], &all()),
            // unveil(2): connect(2) needs w.
            May::Talk => sandbox::enter(&[Stdio, Unix], &of(&options.socket, "w")),
            May::Itself => return Ok(()),
        };
        entered.map(drop)
    }
}

/// One sub-command.
pub struct Command {
    /// Its words, as typed: `["auth", "check"]`.
    pub words: &'static [&'static str],
    /// Its arguments, in the manner of a synopsis.
    pub synopsis: &'static str,
    may: May,
    /// Runs it with the arguments after its words.
    pub run: fn(&Options, &[OsString]) -> ExitCode,
}

const fn command(
    words: &'static [&'static str],
    synopsis: &'static str,
    may: May,
    run: fn(&Options, &[OsString]) -> ExitCode,
) -> Command {
    Command { words, synopsis, may, run }
}

/// Every sub-command, in alphabetical order.
pub const COMMANDS: &[Command] = &[
    command(
        &["auth", "check"],
        "[-j] [-c address] [-h helo] [-m sender] [--resolver address | --zone file] file",
        May::Ask,
        auth::check,
    ),
    command(&["check"], "", May::Itself, daemon::check),
    command(&["dmarc"], "[-j] file ...", May::Itself, dmarc::run),
    command(&["encrypt"], "[password]", May::Reckon, encrypt::run),
    command(&["hold"], "qid | envelope | all", May::Talk, queue::hold),
    command(&["log", "brief"], "", May::Talk, daemon::brief),
    command(&["log", "verbose"], "", May::Talk, daemon::verbose),
    command(&["pause"], "mda | mta | smtp", May::Talk, queue::pause),
    command(&["release"], "qid | envelope | all", May::Talk, queue::release),
    command(&["reload"], "", May::Talk, daemon::reload),
    command(&["remove"], "qid | envelope | all", May::Talk, queue::remove),
    command(&["resume"], "mda | mta | smtp", May::Talk, queue::resume),
    command(&["schedule"], "qid | envelope | all", May::Talk, queue::schedule),
    command(&["show", "envelope"], "envelope", May::Talk, queue::envelope),
    command(&["show", "limits"], "", May::Talk, show::limits),
    command(&["show", "listeners"], "", May::Talk, show::listeners),
    command(&["show", "message"], "qid", May::Talk, queue::message),
    command(&["show", "procs"], "", May::Talk, show::procs),
    command(&["show", "queue"], "", May::Talk, queue::show),
    command(&["show", "stats"], "", May::Talk, show::stats),
    command(&["sieve", "check"], "[-p] [-g directory] script", May::Read, sieve::check),
    command(
        &["sieve", "test"],
        "[-v] [-f sender] [-t recipient] [-o recipient] [-u address] [-m mailbox] [-g directory] \
         script message",
        May::Read,
        sieve::test,
    ),
    command(&["stop"], "", May::Talk, daemon::stop),
    command(&["update", "table"], "name", May::Talk, daemon::update_table),
    command(&["wait"], "idle | delivered qid | queue-empty [seconds]", May::Talk, daemon::wait),
];

/// The program's main function.
pub fn main() -> ExitCode {
    if crate::sys::signal::program().is_err() {
        return ExitCode::from(sysexits::OSERR);
    }
    let args: Vec<OsString> = std::env::args_os().skip(1).collect();
    let mut options = Options {
        json: false,
        socket: crate::conf::view::SOCKET.into(),
        config: "/etc/rmail.conf".into(),
    };
    let mut rest = args.as_slice();
    while let Some((first, tail)) = rest.split_first() {
        match (first.to_str(), tail.split_first()) {
            (Some("-j"), _) => {
                options.json = true;
                rest = tail;
            }
            (Some("-s"), Some((path, tail))) => {
                options.socket = path.into();
                rest = tail;
            }
            (Some("-f"), Some((path, tail))) => {
                options.config = path.into();
                rest = tail;
            }
            _ => break,
        }
    }
    if let Some(option) = rest.first().filter(|a| a.to_string_lossy().starts_with('-')) {
        return wrong(&format!(
            "{}: no such option, or its value is missing",
            option.to_string_lossy()
        ));
    }
    let found: Vec<&Command> = COMMANDS.iter().filter(|c| matches(c, rest)).collect();
    let typed = || {
        let words: Vec<_> = rest.iter().map(|a| a.to_string_lossy()).collect();
        words.join(" ")
    };
    match found.as_slice() {
        [one] => one.call(&mut options, rest.get(one.words.len()..).unwrap_or_default()),
        [] if rest.is_empty() => usage(COMMANDS.iter()),
        [] => {
            let begun: Vec<_> = COMMANDS.iter().filter(|c| is_begun(c, rest)).collect();
            match begun.as_slice() {
                [] => wrong(&format!("{}: no such command", typed())),
                begun => {
                    fail(&format!("{}: no such command, but there are", typed()), sysexits::USAGE);
                    usage(begun.iter().copied())
                }
            }
        }
        several => {
            let names: Vec<String> = several.iter().map(|c| c.words.join(" ")).collect();
            wrong(&format!("{}: which one: {}?", typed(), names.join(", ")))
        }
    }
}

impl Command {
    /// Runs it.  `-j` may stand behind a command that has no options of its own.
    fn call(&self, options: &mut Options, args: &[OsString]) -> ExitCode {
        if let Err(e) = self.may.enter(options) {
            return fail(&format!("the sandbox: {e}"), sysexits::OSERR);
        }
        if matches!(self.words, ["auth" | "dmarc" | "sieve", ..]) {
            return (self.run)(options, args);
        }
        let mut args = args.to_vec();
        let given = args.len();
        args.retain(|a| a != "-j");
        options.json |= args.len() != given;
        if self.synopsis.is_empty() && !args.is_empty() {
            return usage([self].into_iter());
        }
        (self.run)(options, &args)
    }
}

/// Says what is wrong with the command line, and what there is.
fn wrong(why: &str) -> ExitCode {
    fail(why, sysexits::USAGE);
    usage(COMMANDS.iter())
}

/// True if each word of the command begins with what was typed in its place.
fn matches(command: &Command, args: &[OsString]) -> bool {
    args.len() >= command.words.len()
        && command.words.iter().zip(args).all(|(word, arg)| {
            arg.to_str().is_some_and(|arg| !arg.is_empty() && word.starts_with(arg))
        })
}

/// True of a command of two words of which only the first was typed right.
fn is_begun(command: &Command, args: &[OsString]) -> bool {
    let first = command.words.get(..1).unwrap_or_default();
    command.words.len() > 1 && matches(&Command { words: first, ..*command }, args)
}

/// Prints what there is and gives EX_USAGE.
pub fn usage<'a>(commands: impl Iterator<Item = &'a Command>) -> ExitCode {
    let mut err = std::io::stderr().lock();
    let all: Vec<String> =
        commands.map(|c| format!("{} {}", c.words.join(" "), c.synopsis)).collect();
    // A closed stderr leaves nobody to tell.
    let _ = match all.as_slice() {
        [one] => writeln!(err, "usage: rmailctl [-j] [-f file] [-s socket] {}", one.trim_end()),
        several => {
            let lines = several.iter().map(|c| format!("\n       {}", c.trim_end()));
            let lines: String = lines.collect();
            writeln!(err, "usage: rmailctl [-j] [-f file] [-s socket] command{lines}")
        }
    };
    ExitCode::from(sysexits::USAGE)
}

/// The usage of the one command with these words.
pub fn usage_of(words: &[&str]) -> ExitCode {
    usage(COMMANDS.iter().filter(|c| c.words == words))
}

/// Prints a result; a reader who has left has read enough.
pub fn print(text: &[u8]) -> ExitCode {
    let mut out = std::io::stdout().lock();
    match out.write_all(text).and_then(|()| out.flush()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(e) => fail(&format!("stdout: {}", reason(&e)), sysexits::IOERR),
    }
}

/// What comes from outside goes to a terminal.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

/// Prints an error and gives its exit status.
pub fn fail(why: &str, status: u8) -> ExitCode {
    // A closed stderr leaves nobody to tell; the status does.
    let _ = writeln!(std::io::stderr(), "rmailctl: {why}");
    ExitCode::from(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(words: &[&str]) -> Vec<String> {
        let args: Vec<OsString> = words.iter().map(OsString::from).collect();
        COMMANDS.iter().filter(|c| matches(c, &args)).map(|c| c.words.join(" ")).collect()
    }

    #[test]
    fn commands_may_be_abbreviated_until_they_are_ambiguous() {
        assert_eq!(found(&["sh", "q"]), ["show queue"]);
        assert_eq!(found(&["rel"]), ["release", "reload"]);
        assert_eq!(found(&["show"]), Vec::<String>::new());
        assert_eq!(found(&["nonsense"]), Vec::<String>::new());
    }

    #[test]
    fn a_first_word_has_the_commands_that_begin_with_it() {
        let begun = |words: &[&str]| {
            let args: Vec<OsString> = words.iter().map(OsString::from).collect();
            let all = COMMANDS.iter().filter(|c| is_begun(c, &args)).map(|c| c.words.join(" "));
            all.collect::<Vec<_>>()
        };
        assert_eq!(begun(&["log"]), ["log brief", "log verbose"]);
        assert_eq!(begun(&["up", "nothing"]), ["update table"]);
        assert_eq!(begun(&["nonsense"]), Vec::<String>::new());
        assert_eq!(begun(&["hold"]), Vec::<String>::new());
    }

    #[test]
    fn the_table_is_in_alphabetical_order() {
        let names: Vec<String> = COMMANDS.iter().map(|c| c.words.join(" ")).collect();
        let mut sorted = names.clone();
        sorted.sort();
        assert_eq!(names, sorted);
    }
}
