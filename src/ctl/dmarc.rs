//! `dmarc file ...`: what aggregate reports say of the mail of our domains.
//!
//! A file is a report as it comes: XML, gzip, zip, or a message to which one is
//! attached.  Reports are written by strangers, who need not be the receivers
//! that they say they are; so all files are read first, and then, before the
//! first of them is looked at, the process gives up everything but its memory,
//! its output and two seconds of the processor for each.  Works without a daemon.

use super::input::{self, Wrong};
use super::json::Json;
use super::{fail, print, printable, usage_of, Options};
use crate::base::exits::sysexits;
use crate::proto::date::Date;
use crate::proto::dmarc::report::{Published, Report};
use crate::proto::dmarc::summary::{Counts, Domain, Summary};
use crate::proto::limits;
use crate::proto::mime::{self, Fields};
use crate::proto::text::transfer;
use crate::proto::unpack::{unpack, Refused};
use crate::sys::sandbox::{self, Promise};
use std::ffi::OsString;
use std::process::ExitCode;

/// Octets of one file, and of all: what is attached is longer than what it is
/// attached as.
const FILE: usize = 32 << 20;
const FILES: usize = 256 << 20;
/// Seconds of the processor for each file.
const SECONDS: u64 = 2;
/// Sources of a domain that are printed.
const SOURCES: usize = 50;

/// Runs the command.
pub fn run(options: &Options, args: &[OsString]) -> ExitCode {
    let mut opts = getopts::Options::new();
    opts.optflag("j", "", "");
    let given = match opts.parse(args) {
        Ok(given) if !given.free.is_empty() => given,
        Ok(_) => return usage_of(&["dmarc"]),
        Err(e) => {
            fail(&e.to_string(), sysexits::USAGE);
            return usage_of(&["dmarc"]);
        }
    };
    let json = options.json || given.opt_present("j");
    let files = match read(&given.free) {
        Ok(files) => files,
        Err((text, code)) => return fail(&text, code),
    };
    if let Err(e) = confine(files.len()) {
        return fail(&format!("sandbox: {e}"), sysexits::OSERR);
    }
    let mut summary = Summary::default();
    let mut wrong = 0_usize;
    for (path, bytes) in &files {
        match reports(bytes) {
            Ok(reports) => reports.iter().for_each(|report| {
                summary.add(report);
            }),
            Err(why) => {
                fail(&format!("{path}: {why}"), sysexits::DATAERR);
                wrong = wrong.saturating_add(1);
            }
        }
    }
    let out = if json { to_json(&summary).line() } else { to_text(&summary).into_bytes() };
    match print(&out) {
        ExitCode::SUCCESS if wrong > 0 => ExitCode::from(sysexits::DATAERR),
        printed => printed,
    }
}

fn read(paths: &[String]) -> Result<Vec<(&str, Vec<u8>)>, Wrong> {
    let mut left = FILES;
    let mut files = Vec::new();
    for path in paths {
        let bytes = input::whole(path, FILE)?;
        left = left.checked_sub(bytes.len()).ok_or_else(|| {
            (
                format!("{path}: more than {FILES} octets in all: give fewer files"),
                sysexits::DATAERR,
            )
        })?;
        files.push((path.as_str(), bytes));
    }
    Ok(files)
}

/// From here on nothing can be opened, sent or run.
fn confine(files: usize) -> Result<(), crate::sys::errno::SysError> {
    let files = u64::try_from(files).unwrap_or(u64::MAX);
    crate::sys::limits::cpu(SECONDS.saturating_mul(files))?;
    sandbox::enter(&[Promise::Stdio], &[]).map(|_| ())
}

/// The reports in a file; without one that can be read, why.
fn reports(bytes: &[u8]) -> Result<Vec<Report>, &'static str> {
    let mut why = "no aggregate report: what it holds is no XML of that kind";
    let mut found = Vec::new();
    let mut look = |content: &[u8]| match unpack(content) {
        Ok(xml) => found.extend(Report::parse(&xml).ok()),
        Err(Refused::TooLong) => why = "unpacks to more than a report may have",
        Err(Refused::Damaged) => why = "damaged, encrypted, or packed in an unknown way",
    };
    look(bytes);
    if Fields::new(bytes).any(|f| f.is(b"content-type")) {
        let structure = mime::scan(bytes);
        for part in structure.parts.iter().filter(|p| !p.composite) {
            let most = limits::REPORT_OCTETS.size();
            look(&transfer::decode(part.encoding, part.body.of(bytes), most));
        }
    }
    if found.is_empty() {
        Err(why)
    } else {
        Ok(found)
    }
}

fn to_text(summary: &Summary) -> String {
    let mut out = String::new();
    for (name, domain) in &summary.domains {
        out += &domain_text(name, domain);
    }
    if summary.left_out > 0 {
        out += &format!("{} reports were there before, and count once\n", summary.left_out);
    }
    out
}

fn domain_text(name: &str, domain: &Domain) -> String {
    let name = if name.is_empty() { "(no domain)" } else { name };
    let mut out = format!("{}:", printable(name));
    for (tag, value) in policy(&domain.published) {
        if !value.is_empty() {
            out += &format!(" {tag}={}", printable(value));
        }
    }
    let named = domain.reporters.iter().filter(|r| !r.is_empty());
    let mut reporters: Vec<String> = named.map(|r| printable(r)).collect();
    if reporters.len() < domain.reporters.len() {
        reporters.push("somebody without a name".into());
    }
    let (s, by) = (plural(domain.reports), reporters.join(", "));
    let (begin, end) = (day(domain.begin), day(domain.end));
    out += &format!("\n    {} report{s} by {by}, {begin} to {end}\n", domain.reports);
    let t = &domain.total;
    let fail = t.messages.saturating_sub(t.pass);
    out += &format!(
        "    {} message{}: {} pass, {fail} fail; {} quarantined, {} rejected\n",
        t.messages,
        plural(t.messages),
        t.pass,
        t.quarantined,
        t.rejected
    );
    out += &format!(
        "    {:<40}{:>10}{:>10}{:>10}{:>10}\n",
        "source", "messages", "pass", "dkim", "spf"
    );
    let mut sources: Vec<(&String, &Counts)> = domain.sources.iter().collect();
    // The most first; where they are as many, by address.
    sources.sort_by_key(|(_, counts)| std::cmp::Reverse(counts.messages));
    for (source, counts) in sources.iter().take(SOURCES) {
        out += &counts_text(&printable(source), counts);
    }
    let rest = sources.iter().skip(SOURCES).count();
    if rest > 0 {
        out += &format!("    and {rest} more\n");
    }
    if domain.others != Counts::default() {
        out += &counts_text("others", &domain.others);
    }
    out
}

fn counts_text(source: &str, c: &Counts) -> String {
    format!("    {source:<40}{:>10}{:>10}{:>10}{:>10}\n", c.messages, c.pass, c.dkim, c.spf)
}

fn policy(p: &Published) -> [(&'static str, &str); 5] {
    [("p", &p.p), ("sp", &p.sp), ("np", &p.np), ("adkim", &p.adkim), ("aspf", &p.aspf)]
}

const fn plural(n: u64) -> &'static str {
    if n == 1 {
        ""
    } else {
        "s"
    }
}

/// The day of a time in UTC.
fn day(secs: u64) -> String {
    let days = i64::try_from(secs / 86_400).unwrap_or(i64::MAX);
    Date::from_days(days)
        .map_or_else(|| "?".to_string(), |d| format!("{:04}-{:02}-{:02}", d.year, d.month, d.day))
}

fn to_json(summary: &Summary) -> Json {
    let text = |t: &str| Json::Text(t.to_string());
    let domains = summary.domains.iter().map(|(name, domain)| {
        let mut members = vec![("domain", text(name))];
        members.extend(policy(&domain.published).map(|(tag, value)| (tag, text(value))));
        members
            .push(("reporters", Json::Array(domain.reporters.iter().map(|r| text(r)).collect())));
        members.push(("reports", Json::count(domain.reports)));
        members.push(("begin", Json::count(domain.begin)));
        members.push(("end", Json::count(domain.end)));
        members.push(("total", Json::Object(counts_json(&domain.total))));
        let sources = domain.sources.iter().map(|(source, counts)| {
            let mut members = vec![("source", text(source))];
            members.extend(counts_json(counts));
            Json::Object(members)
        });
        members.push(("sources", Json::Array(sources.collect())));
        members.push(("others", Json::Object(counts_json(&domain.others))));
        Json::Object(members)
    });
    Json::Object(vec![
        ("domains", Json::Array(domains.collect())),
        ("left_out", Json::count(summary.left_out)),
    ])
}

fn counts_json(c: &Counts) -> Vec<(&'static str, Json)> {
    [
        ("messages", c.messages),
        ("pass", c.pass),
        ("dkim", c.dkim),
        ("spf", c.spf),
        ("quarantined", c.quarantined),
        ("rejected", c.rejected),
    ]
    .map(|(name, n)| (name, Json::count(n)))
    .into()
}
