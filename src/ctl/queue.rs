//! The queue: what waits, and what is done with it.

use super::client::{again, command, Client};
use super::json::Json;
use super::{fail, print, usage_of, Options};
use crate::base::clock;
use crate::base::exits::sysexits;
use crate::ipc::ctl::{QueueRow, Reply, Request};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// Rows that are asked for at a time.
const ROWS: u32 = 100;

fn word(args: &[OsString]) -> Option<String> {
    match args {
        [one] => one.to_str().map(str::to_string),
        _ => None,
    }
}

macro_rules! on_envelopes {
    ($($(#[$doc:meta])* $name:ident => $request:ident),* $(,)?) => {$(
        $(#[$doc])*
        pub fn $name(options: &Options, args: &[OsString]) -> ExitCode {
            match word(args) {
                Some(what) => command(options, &Request::$request { what }),
                None => usage_of(&[stringify!($name)]),
            }
        }
    )*};
}

on_envelopes! {
    /// `hold`
    hold => Hold,
    /// `release`
    release => Release,
    /// `remove`
    remove => Remove,
    /// `schedule`
    schedule => Schedule,
    /// `pause`
    pause => Pause,
    /// `resume`
    resume => Resume,
}

/// `show queue`
pub fn show(options: &Options, args: &[OsString]) -> ExitCode {
    if !args.is_empty() {
        return usage_of(&["show", "queue"]);
    }
    let mut client = match Client::connect(options) {
        Ok(client) => client,
        Err(e) => return fail(&e, sysexits::UNAVAILABLE),
    };
    let mut after = String::new();
    let mut json = Vec::new();
    loop {
        let request = Request::ShowQueue { after: after.clone(), max: ROWS };
        let (rows, more) = match again(&mut client, &request) {
            Ok(Reply::Queue { rows, more }) => (rows, more),
            Ok(_) => return fail("rmaild gave an unexpected answer", sysexits::PROTOCOL),
            Err(code) => return code,
        };
        if options.json {
            json.extend(rows.iter().map(row_json));
        } else {
            let text: Vec<u8> = rows.iter().flat_map(row_text).collect();
            let code = print(&text);
            if code != ExitCode::SUCCESS {
                return code;
            }
        }
        match rows.last() {
            Some(last) if more => after = last.qid.clone(),
            _ => break,
        }
    }
    if options.json {
        return print(&Json::Array(json).line());
    }
    ExitCode::SUCCESS
}

fn row_json(r: &QueueRow) -> Json {
    Json::Object(vec![
        ("qid", Json::Text(r.qid.clone())),
        ("envelope", Json::Text(format!("{}.{}", r.qid, r.rcpt))),
        ("kind", Json::Text(r.kind.clone())),
        ("state", Json::Text(r.state.clone())),
        ("sender", Json::bytes(&r.sender)),
        ("recipient", Json::bytes(&r.recipient)),
        ("size", Json::count(r.size)),
        ("created", Json::Number(r.created)),
        ("expires", Json::Number(r.expires)),
        ("last_try", Json::Number(r.last_try)),
        ("next_try", Json::Number(r.next_try)),
        ("tries", Json::count(r.tries.into())),
        ("last_error", Json::bytes(&r.last_error)),
    ])
}

/// One line: envelope, kind, state, age, size, sender, recipient, the error.
fn row_text(r: &QueueRow) -> Vec<u8> {
    let now = clock::now().secs;
    let age = duration(now.saturating_sub(r.created));
    let next = match r.next_try {
        0 => "-".to_string(),
        at => duration(at.saturating_sub(now).max(0)),
    };
    let mut line = Vec::new();
    // Writing to a Vec does not fail; what came from outside is escaped.
    let _ = writeln!(
        line,
        "{}.{} {} {} age {age} next {next} tries {} size {} from=<{}> to=<{}> {}",
        r.qid,
        r.rcpt,
        r.kind,
        r.state,
        r.tries,
        r.size,
        r.sender.escape_ascii(),
        r.recipient.escape_ascii(),
        r.last_error.escape_ascii(),
    );
    line
}

/// Seconds as an administrator reads them: `45s`, `12m`, `3h`, `2d`.
fn duration(secs: i64) -> String {
    match secs {
        s if s < 120 => format!("{s}s"),
        s if s < 7200 => format!("{}m", s / 60),
        s if s < 172_800 => format!("{}h", s / 3600),
        s => format!("{}d", s / 86_400),
    }
}

/// `show message QID`: as it will be sent, piece by piece.
pub fn message(options: &Options, args: &[OsString]) -> ExitCode {
    let Some(qid) = word(args) else { return usage_of(&["show", "message"]) };
    let mut client = match Client::connect(options) {
        Ok(client) => client,
        Err(e) => return fail(&e, sysexits::UNAVAILABLE),
    };
    let mut offset = 0u64;
    let mut whole = Vec::new();
    loop {
        let request = Request::ShowMessage { qid: qid.clone(), offset };
        let (bytes, more) = match again(&mut client, &request) {
            Ok(Reply::Bytes { bytes, more }) => (bytes, more),
            Ok(_) => return fail("rmaild gave an unexpected answer", sysexits::PROTOCOL),
            Err(code) => return code,
        };
        if options.json {
            whole.extend_from_slice(&bytes);
            if !more || bytes.is_empty() {
                return print(&Json::bytes(&whole).line());
            }
        }
        let code = if options.json { ExitCode::SUCCESS } else { print(&bytes) };
        if code != ExitCode::SUCCESS || !more || bytes.is_empty() {
            return code;
        }
        offset = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
    }
}

/// `show envelope ID`
pub fn envelope(options: &Options, args: &[OsString]) -> ExitCode {
    let Some(id) = word(args) else { return usage_of(&["show", "envelope"]) };
    match super::client::ask(options, &Request::ShowEnvelope { id }) {
        Ok(Reply::Bytes { bytes, .. }) if options.json => print(&fields(&bytes).line()),
        Ok(Reply::Bytes { bytes, .. }) => print(&bytes),
        Ok(_) => fail("rmaild gave an unexpected answer", sysexits::PROTOCOL),
        Err(code) => code,
    }
}

/// Lines `name: value` as an object.
fn fields(text: &[u8]) -> Json {
    let text = String::from_utf8_lossy(text);
    let pairs = text.lines().filter_map(|line| line.split_once(": "));
    Json::Fields(pairs.map(|(k, v)| (k.to_string(), Json::Text(v.to_string()))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_is_an_object() {
        let json = fields(b"id: 1.1\nlast-error: 451 4.7.1: \"later\"\n").line();
        assert_eq!(json, b"{\"id\":\"1.1\",\"last-error\":\"451 4.7.1: \\\"later\\\"\"}\n");
    }
}
