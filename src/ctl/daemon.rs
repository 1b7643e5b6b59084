//! Commands about the daemon as a whole.

use super::client::command;
use super::json::Json;
use super::{fail, print, usage_of, Options};
use crate::base::exits::sysexits;
use crate::disk::spool::qid::Qid;
use crate::ipc::ctl::{Event, Reply, Request};
use crate::sys::errno::reason;
use std::ffi::OsString;
use std::process::ExitCode;

/// How long `wait` waits unless told.
const WAIT_SECS: u64 = 60;

/// `check`: the configuration on disk, by the program that would run it.
pub fn check(options: &Options, _: &[OsString]) -> ExitCode {
    let beside = std::env::current_exe().ok().and_then(|p| Some(p.parent()?.join("rmaild")));
    let program = beside.filter(|p| p.exists()).unwrap_or("rmaild".into());
    let mut check = std::process::Command::new(program);
    check.arg("-n").arg("-f").arg(&options.config);
    if options.json {
        check.stdout(std::process::Stdio::null());
    }
    match check.status() {
        Ok(status) => match status.code().and_then(|c| u8::try_from(c).ok()) {
            Some(0) if options.json => {
                let done = Json::Text("configuration OK".into());
                print(&Json::Object(vec![("done", done)]).line())
            }
            Some(code) => ExitCode::from(code),
            None => ExitCode::FAILURE,
        },
        Err(e) => fail(&format!("rmaild: {}", reason(&e)), sysexits::OSERR),
    }
}

/// `reload`
pub fn reload(options: &Options, _: &[OsString]) -> ExitCode {
    command(options, &Request::Reload)
}

/// `stop`
pub fn stop(options: &Options, _: &[OsString]) -> ExitCode {
    command(options, &Request::Stop)
}

/// `log brief`
pub fn brief(options: &Options, _: &[OsString]) -> ExitCode {
    command(options, &Request::Verbose { level: 0 })
}

/// `log verbose`
pub fn verbose(options: &Options, _: &[OsString]) -> ExitCode {
    command(options, &Request::Verbose { level: 1 })
}

/// `update table NAME`
pub fn update_table(options: &Options, args: &[OsString]) -> ExitCode {
    match args {
        [name] => {
            let name = name.to_string_lossy().into_owned();
            command(options, &Request::UpdateTable { name })
        }
        _ => usage_of(&["update", "table"]),
    }
}

/// `wait idle|delivered QID|queue-empty [SECONDS]`: exits with 75 when the time
/// is over before the event, and with 1 when the message left undelivered.
pub fn wait(options: &Options, args: &[OsString]) -> ExitCode {
    let words: Vec<&str> = args.iter().filter_map(|a| a.to_str()).collect();
    let (event, rest) = match words.as_slice() {
        ["idle", rest @ ..] => (Event::Idle, rest),
        ["queue-empty", rest @ ..] => (Event::QueueEmpty, rest),
        ["delivered", qid, rest @ ..] if Qid::parse(qid.as_bytes()).is_some() => {
            (Event::Delivered { qid: (*qid).to_string() }, rest)
        }
        _ => return usage_of(&["wait"]),
    };
    let secs = match rest {
        [] => WAIT_SECS,
        [n] => match n.parse() {
            Ok(n) => n,
            Err(_) => return usage_of(&["wait"]),
        },
        _ => return usage_of(&["wait"]),
    };
    let millis = u64::saturating_mul(secs, 1000);
    let asked = super::client::Client::connect(options)
        .and_then(|mut client| client.ask(&Request::Wait { event, millis }));
    match asked {
        Ok(Reply::Error { text }) => fail(&text, sysexits::TEMPFAIL),
        // It has come to an end, and not to the one that was waited for.
        Ok(Reply::Errors { lines }) => {
            for line in &lines {
                fail(line, 1);
            }
            ExitCode::FAILURE
        }
        Ok(_) => ExitCode::SUCCESS,
        Err(e) => fail(&e, sysexits::UNAVAILABLE),
    }
}
