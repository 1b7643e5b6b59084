//! `sieve check` and `sieve test`: scripts looked at and tried out, without a daemon.

use super::{fail, input, print, Options};
use crate::base::clock;
use crate::base::exits::sysexits;
use crate::proto::limits;
use crate::proto::sieve::action::{Action, Outcome, Program, Record, Store, Version};
use crate::proto::sieve::check::compile;
use crate::proto::sieve::code::{Op, Script};
use crate::proto::sieve::ext::include::is_script_name;
use crate::proto::sieve::language::Language;
use crate::proto::sieve::message::Message;
use crate::proto::sieve::settings::Settings;
use crate::proto::sieve::surroundings::{
    Answer, Envelope, Library, Location, Ran, Surroundings, Trace, Unavailable,
};
use crate::proto::sieve::{parse, print as canonical, run as evaluator};
use std::any::Any;
use std::ffi::{OsStr, OsString};
use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

/// Octets of a message, which is read whole.
const MESSAGE: usize = 256 << 20;

/// `sieve check [-p] [-g directory] file`: reports every mistake; with `-p` prints the script in
/// its canonical form.
pub fn check(_: &Options, args: &[OsString]) -> ExitCode {
    let mut options = getopts::Options::new();
    options.optflag("p", "", "").optopt("g", "", "", "");
    let Ok(given) = options.parse(args) else { return super::usage_of(&["sieve", "check"]) };
    let [file] = given.free.as_slice() else { return super::usage_of(&["sieve", "check"]) };
    let (source, script) = match load(file, given.opt_str("g")) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let mut err = String::new();
    for warning in &script.warnings {
        // Writing to a String does not fail.
        let _ = writeln!(err, "{file}:{warning} (warning)");
    }
    warn(&err);
    if given.opt_present("p") {
        let nodes = parse::parse(&source, &mut Vec::new());
        return print(&canonical::print(&nodes));
    }
    ExitCode::SUCCESS
}

/// `sieve test [-v] ... script message`: prints what the script would do.
pub fn test(_: &Options, args: &[OsString]) -> ExitCode {
    let mut options = getopts::Options::new();
    options.optflag("v", "", "").optopt("g", "", "", "").optopt("f", "", "", "");
    options.optopt("t", "", "", "").optopt("o", "", "", "").optopt("u", "", "", "");
    options.optmulti("m", "", "", "");
    let Ok(given) = options.parse(args) else { return super::usage_of(&["sieve", "test"]) };
    let [file, message] = given.free.as_slice() else {
        return super::usage_of(&["sieve", "test"]);
    };
    let (_, script) = match load(file, given.opt_str("g")) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let bytes = match input::whole(message, MESSAGE) {
        Ok(bytes) => crlf(bytes),
        Err((why, code)) => return fail(&why, code),
    };
    let path = |name: &str| {
        let text = given.opt_str(name)?;
        Some(text.trim_matches(['<', '>']).as_bytes().to_vec())
    };
    let user = path("u").or_else(|| path("t"));
    let mut world = Offline {
        mailboxes: given.opt_strs("m"),
        user: user.clone(),
        trace: given.opt_present("v").then(String::new),
    };
    let envelope =
        Envelope { from: path("f"), to: path("t"), orig_to: path("o"), ..Envelope::default() };
    let settings = Settings { user, ..Settings::default() };
    let message = Message::new(Arc::new(bytes));
    let outcome = evaluator::run(&script, message, &envelope, &settings, &mut world);
    let mut out = world.trace.unwrap_or_default();
    for action in &outcome.actions {
        describe(&mut out, action);
    }
    for record in &outcome.records {
        // As above.
        let _ = writeln!(out, "remember for {} s", record.seconds);
    }
    // The process ends here: nobody waits for memory that is given back piece by piece.
    std::mem::forget(script);
    let printed = print(out.as_bytes());
    match &outcome {
        Outcome { fault: Some(fault), .. } => fail(&format!("{file}:{fault}"), sysexits::DATAERR),
        _ => printed,
    }
}

/// Reads and compiles a script; its errors have been printed if there is none.
fn load(file: &str, global: Option<String>) -> Result<(Vec<u8>, Script), ExitCode> {
    let source = input::whole(file, limits::SIEVE_SCRIPT.size())
        .map_err(|(why, status)| fail(&why, status))?;
    let dir = Path::new(file).parent().unwrap_or(Path::new("")).to_path_buf();
    let mut library = Directories { personal: dir, global: global.map(PathBuf::from) };
    match compile(&source, &Language::default(), &mut library) {
        Ok(script) => Ok((source, script)),
        Err(errors) => {
            let mut text = String::new();
            for error in errors {
                let _ = match error.is_about_all() {
                    true => writeln!(text, "{file}: {error}"),
                    false => writeln!(text, "{file}:{error}"),
                };
            }
            warn(&text);
            Err(ExitCode::from(sysexits::DATAERR))
        }
    }
}

/// Prints to standard error; if nobody reads it there is nobody to tell.
fn warn(text: &str) {
    let _ = std::io::Write::write_all(&mut std::io::stderr().lock(), text.as_bytes());
}

/// Line ends as on the wire: what scripts see when mail is delivered.
fn crlf(bytes: Vec<u8>) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().saturating_add(bytes.len() / 32));
    for b in bytes {
        if b == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(b);
    }
    out
}

fn describe(out: &mut String, action: &Action) {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let changed = |version: &Version| if version.is_some() { " (changed message)" } else { "" };
    let line = match action {
        Action::Store(store) => {
            let place = match &store.mailbox {
                Some(name) => format!("fileinto \"{}\"", shown(name)),
                None => "keep".to_string(),
            };
            let how = if store.implicit { " (implicit)" } else { "" };
            format!("{place}{}{how}{}", tags(store), changed(&store.message))
        }
        Action::Redirect(redirect) => {
            let (from, to) = (shown(&redirect.from), shown(&redirect.to));
            format!("redirect to <{to}> from <{from}>{}", changed(&redirect.message))
        }
        Action::Reject(reject) => {
            format!("{} \"{}\"", action.name(), shown(reject.reason.trim_ascii()))
        }
        Action::Discard => "discard".to_string(),
        Action::Vacation(vacation) => format!(
            "vacation to <{}> from <{}> subject \"{}\"{}",
            shown(&vacation.to),
            shown(&vacation.from),
            shown(&vacation.subject),
            vacation.fcc.as_ref().map(copy).unwrap_or_default()
        ),
        Action::Notify(notify) => format!(
            "notify {} subject \"{}\"{}",
            shown(&notify.method),
            shown(&notify.subject),
            notify.fcc.as_ref().map(copy).unwrap_or_default()
        ),
        Action::Pipe(program) => format!("pipe {}", command_line(program)),
        Action::Nothing { name, why } => format!("no {name}: {why}"),
    };
    out.push_str(&line);
    out.push('\n');
}

fn tags(store: &Store) -> String {
    let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).escape_debug().to_string();
    let mut out = String::new();
    if store.create {
        out.push_str(" create");
    }
    if let Some(attribute) = &store.special_use {
        let _ = write!(out, " special-use {}", shown(attribute));
    }
    if let Some(id) = &store.mailbox_id {
        let _ = write!(out, " mailbox-id {}", shown(id));
    }
    for flag in &store.flags {
        let _ = write!(out, " flag {}", shown(flag));
    }
    out
}

fn copy(store: &Store) -> String {
    let name = store.mailbox.as_deref().unwrap_or_default();
    format!(" copy in \"{}\"{}", String::from_utf8_lossy(name).escape_debug(), tags(store))
}

fn command_line(program: &Program) -> String {
    let words = std::iter::once(&program.name).chain(&program.args);
    let words: Vec<String> =
        words.map(|w| String::from_utf8_lossy(w).escape_debug().to_string()).collect();
    words.join(" ")
}

/// Included scripts as files `NAME.sieve` beside the script, or in the directory of `-g`.
struct Directories {
    personal: PathBuf,
    global: Option<PathBuf>,
}

impl Library for Directories {
    fn script(&mut self, location: Location, name: &str) -> Answer<Option<Vec<u8>>> {
        let dir = match location {
            Location::Personal => &self.personal,
            Location::Global => match &self.global {
                Some(dir) => dir,
                None => return Ok(None),
            },
        };
        if !is_script_name(name) {
            return Ok(None);
        }
        let file = OsString::from_iter([OsStr::from_bytes(name.as_bytes()), OsStr::new(".sieve")]);
        // One octet more than a script may have tells that it has too many.
        let most = limits::SIEVE_SCRIPT.default.saturating_add(1);
        let mut text = Vec::new();
        let read = File::open(dir.join(file)).and_then(|f| f.take(most).read_to_end(&mut text));
        match read {
            Ok(_) => Ok(Some(text)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(_) => Err(Unavailable),
        }
    }
}

/// A world in which nothing happens: no records, no programs, the mailboxes that `-m` names.
struct Offline {
    mailboxes: Vec<String>,
    user: Option<Vec<u8>>,
    trace: Option<String>,
}

impl Surroundings for Offline {
    fn now(&mut self) -> i64 {
        clock::now().secs
    }

    fn zone(&mut self, at: i64) -> i32 {
        clock::WallTime { secs: at, nanos: 0 }.local().map_or(0, |local| local.offset_secs / 60)
    }

    fn environment(&mut self, item: &str) -> Option<Vec<u8>> {
        Some(match item {
            "location" => b"MDA".to_vec(),
            "phase" => b"pre".to_vec(),
            _ => return None,
        })
    }

    fn is_mine(&mut self, address: &[u8]) -> bool {
        self.user.as_ref().is_some_and(|user| user.eq_ignore_ascii_case(address))
    }

    fn mailbox_exists(&mut self, mailbox: &[u8]) -> Answer<bool> {
        let given = self.mailboxes.iter().any(|name| name.as_bytes() == mailbox);
        Ok(given || mailbox.eq_ignore_ascii_case(b"INBOX"))
    }

    fn mailbox_id_exists(&mut self, _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn special_use_exists(&mut self, _: Option<&[u8]>, _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn metadata(&mut self, _: Option<&[u8]>, _: &[u8]) -> Answer<Option<Vec<u8>>> {
        Ok(None)
    }

    fn list_exists(&mut self, _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn list_contains(&mut self, _: &[u8], _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn list_members(&mut self, _: &[u8], _: usize) -> Answer<Vec<Vec<u8>>> {
        Ok(Vec::new())
    }

    fn seen(&mut self, _: &Record) -> Answer<bool> {
        Ok(false)
    }

    /// Nothing is run; the script goes on as if the program had failed.
    fn run_program(&mut self, program: &Program) -> Answer<Option<Ran>> {
        if let Some(trace) = &mut self.trace {
            let _ = writeln!(trace, "not run: {}", command_line(program));
        }
        Ok(Some(Ran::default()))
    }

    fn trace(&mut self, event: Trace<'_>) {
        let Some(trace) = &mut self.trace else { return };
        let place = |script: &str, op: &Op| match script {
            "" => op.pos.line.to_string(),
            script => format!("{script}:{}", op.pos.line),
        };
        // As above.
        let _ = match event {
            // What these do shows in their tests.
            Trace::Command { op, .. }
                if matches!(op.verb.name, "require" | "if" | "elsif" | "else") =>
            {
                return
            }
            Trace::Command { script, op } => writeln!(trace, "{}: {op}", place(script, op)),
            Trace::Test { script, op, held } => {
                writeln!(trace, "{}: {op} is {held}", place(script, op))
            }
            Trace::Debug { line, text } => {
                let text = String::from_utf8_lossy(text);
                writeln!(trace, "{line}: debug_log: {}", text.escape_debug())
            }
        };
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}
