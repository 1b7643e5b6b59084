//! What the daemon is and does: processes, listeners, numbers, limits.

use super::client::ask;
use super::json::Json;
use super::{fail, print, Options};
use crate::base::exits::sysexits;
use crate::ipc::ctl::{Reply, Request};
use std::ffi::OsString;
use std::fmt::Write;
use std::process::ExitCode;

fn unexpected() -> ExitCode {
    fail("rmaild gave an unexpected answer", sysexits::PROTOCOL)
}

/// `show procs`
pub fn procs(options: &Options, _: &[OsString]) -> ExitCode {
    let rows = match ask(options, &Request::ShowProcs) {
        Ok(Reply::Procs { rows }) => rows,
        Ok(_) => return unexpected(),
        Err(code) => return code,
    };
    if options.json {
        let row = |r: &crate::ipc::ctl::ProcRow| {
            let unenforced = r.unenforced.iter().map(|u| Json::Text(u.clone())).collect();
            Json::Object(vec![
                ("name", Json::Text(r.name.clone())),
                ("pid", Json::count(r.pid.into())),
                ("state", Json::Text(r.state.clone())),
                ("uptime", Json::count(r.uptime)),
                ("user", Json::Text(r.user.clone())),
                ("root", Json::Text(r.root.clone())),
                ("unveil", Json::Text(r.unveil.clone())),
                ("promises", Json::Text(r.promises.clone())),
                ("unenforced", Json::Array(unenforced)),
                ("account", Json::Text(r.account.clone())),
            ])
        };
        return print(&Json::Array(rows.iter().map(row).collect()).line());
    }
    let mut text = String::new();
    for r in &rows {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "{:8} pid {} {} up {} s user {} root {}{}{}",
            r.name,
            r.pid,
            r.state,
            r.uptime,
            r.user,
            r.root,
            if r.account.is_empty() { "" } else { " account " },
            r.account
        );
        let _ = writeln!(text, "         promises {}", r.promises);
        if !r.unveil.is_empty() {
            let _ = writeln!(text, "         unveil {}", r.unveil);
        }
        if !r.unenforced.is_empty() {
            let _ = writeln!(text, "         not enforced here: {}", r.unenforced.join(" "));
        }
    }
    print(text.as_bytes())
}

/// `show listeners`
pub fn listeners(options: &Options, _: &[OsString]) -> ExitCode {
    let rows = match ask(options, &Request::ShowListeners) {
        Ok(Reply::Listeners { rows }) => rows,
        Ok(_) => return unexpected(),
        Err(code) => return code,
    };
    let addr = |r: &crate::ipc::ctl::ListenerRow| {
        r.listener.addr.map_or_else(|| "socket".to_string(), |a| a.to_string())
    };
    if options.json {
        let row = |r: &crate::ipc::ctl::ListenerRow| {
            Json::Object(vec![
                ("index", Json::count(r.listener.index.into())),
                ("address", Json::Text(addr(r))),
                ("port", Json::count(r.listener.addr.map_or(0, |a| a.port()).into())),
                ("protocol", Json::Text(r.protocol.clone())),
                ("tag", Json::Text(r.tag.clone())),
            ])
        };
        return print(&Json::Array(rows.iter().map(row).collect()).line());
    }
    let mut text = String::new();
    for r in &rows {
        let _ = writeln!(text, "{:6} {} {}", r.protocol, addr(r), r.tag); // a String
    }
    print(text.as_bytes())
}

/// `show stats`
pub fn stats(options: &Options, _: &[OsString]) -> ExitCode {
    let rows = match ask(options, &Request::ShowStats) {
        Ok(Reply::Stats { rows }) => rows,
        Ok(_) => return unexpected(),
        Err(code) => return code,
    };
    if options.json {
        let row = |r: &crate::ipc::parent::Stat| {
            Json::Object(vec![
                ("name", Json::Text(r.name.clone())),
                ("value", Json::count(r.value)),
            ])
        };
        return print(&Json::Array(rows.iter().map(row).collect()).line());
    }
    let mut text = String::new();
    for r in &rows {
        let _ = writeln!(text, "{}={}", r.name, r.value); // a String
    }
    print(text.as_bytes())
}

/// `show limits`
pub fn limits(options: &Options, _: &[OsString]) -> ExitCode {
    let rows = match ask(options, &Request::ShowLimits) {
        Ok(Reply::Limits { rows }) => rows,
        Ok(_) => return unexpected(),
        Err(code) => return code,
    };
    if options.json {
        let row = |r: &crate::ipc::ctl::LimitRow| {
            Json::Object(vec![
                ("name", Json::Text(r.name.clone())),
                ("value", Json::count(r.value)),
                ("default", Json::count(r.default)),
            ])
        };
        return print(&Json::Array(rows.iter().map(row).collect()).line());
    }
    let mut text = String::new();
    for r in &rows {
        let changed =
            if r.value == r.default { String::new() } else { format!(" (default {})", r.default) };
        let _ = writeln!(text, "{} {}{changed}", r.name, r.value); // a String
    }
    print(text.as_bytes())
}
