//! The processes, one directory each.  `proc::X` never imports `proc::Y`;
//! only `table` and `start` name them all, and this file, which starts them.

pub mod control;
pub mod exec;
pub mod imap;
pub mod keyd;
pub mod listening;
pub mod lookup;
pub mod mbox;
pub mod mta;
pub mod parent;
pub mod program;
pub mod queue;
pub mod smtp;
pub mod start;
pub mod store;
pub mod table;

use crate::base::exits::sysexits;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;
use table::Kind;

const USAGE: &str = "usage: rmaild [-dnv] [-D name=value] [-f file]";

/// The daemon's main function: parent, a check of the configuration, or, as
/// `-x name`, one of parent's children.
pub fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    if let [x, name] = args.as_slice() {
        if x == "-x" {
            return child(&name.to_string_lossy());
        }
    }
    let mut options = getopts::Options::new();
    options.optmulti("D", "", "", "").optflag("d", "", "").optopt("f", "", "", "");
    options.optflag("n", "", "").optflagmulti("v", "", "");
    let found = match options.parse(&args) {
        Ok(found) => found,
        Err(e) => return usage(&e.to_string()),
    };
    if !found.free.is_empty() {
        return usage(&format!("{}: no such argument", found.free.join(" ")));
    }
    let mut macros = Vec::new();
    for d in found.opt_strs("D") {
        match d.split_once('=') {
            Some((name, value)) => macros.push((name.to_string(), value.to_string())),
            None => return usage(&format!("-D {d}: not of the form name=value")),
        }
    }
    let options = parent::Options {
        foreground: found.opt_present("d"),
        config: PathBuf::from(found.opt_str("f").unwrap_or("/etc/rmail.conf".into())),
        macros,
        verbose: u8::try_from(found.opt_count("v")).unwrap_or(u8::MAX),
    };
    if found.opt_present("n") {
        return parent::check(&options, lookup::check_logins);
    }
    parent::run(options)
}

fn usage(why: &str) -> ExitCode {
    // A closed stderr leaves nobody to tell.
    let _ = writeln!(std::io::stderr(), "{why}\n{USAGE}");
    ExitCode::from(sysexits::USAGE)
}

/// Runs one of parent's children on channel 3.
fn child(name: &str) -> ExitCode {
    let Some(process) = table::named(name).filter(|p| p.kind != Kind::Parent) else {
        return usage(&format!("-x {name}: no such process"));
    };
    if let Err(e) = crate::sys::signal::child() {
        crate::base::log::crit!("start", name = process.name, error = crate::base::log::Show(&e));
        return ExitCode::from(sysexits::OSERR);
    }
    let run = match process.kind {
        Kind::Keyd => keyd::run,
        Kind::Lookup => lookup::run,
        Kind::Smtp => smtp::run,
        Kind::Queue => queue::run,
        Kind::Mta => mta::run,
        Kind::Imap => imap::run,
        Kind::Store => store::run,
        Kind::Mbox => mbox::run,
        Kind::Exec => exec::run,
        Kind::Control => control::run,
        Kind::Parent => return usage("parent is not a child"),
    };
    match start::greet(process).and_then(run) {
        Ok(code) => code,
        Err(e) => {
            crate::base::log::crit!(
                "start",
                name = process.name,
                error = crate::base::log::Show(&e)
            );
            ExitCode::from(sysexits::OSERR)
        }
    }
}
