//! `auth check file`: what SPF, DKIM, DMARC and ARC say of a message.
//!
//! Works without a daemon, with the system's name servers or with a zone in a
//! file.  The client is given by options, or taken from the topmost Received
//! and Return-Path fields, which is only as true as whoever wrote them; so it is
//! said where it comes from.  What the message and the DNS say goes to a
//! terminal: no control character of theirs does.

use super::input::{self, Message, Wrong};
use super::json::Json;
use super::{fail, print, printable, Options};
use crate::base::clock::{self, Deadline};
use crate::base::crypto::dkim::OpenSsl;
use crate::base::dns::{parse_resolv_conf, Budget, Resolver, TRY_TIME};
use crate::base::exits::sysexits;
use crate::proto::arc;
use crate::proto::assess::{Findings, Policy, Reader};
use crate::proto::dkim::{self, Crypto};
use crate::proto::dmarc::{self, dispose, Disposition, Exception};
use crate::proto::dns::zone::{Zone, ZoneError};
use crate::proto::dns::{Answer, Answers, Name, Query};
use crate::proto::mime::{Field, Fields};
use crate::proto::spf::{self, Sender};
use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

/// As for a message that comes in: questions, and time for all of them.
const QUERIES: u32 = 60;
const TIME: Duration = Duration::from_secs(20);

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Octets of a zone file.
const ZONE: usize = 16 << 20;

/// Failed lookups that are named.
const FAILURES: usize = 10;

/// What the command line says.
struct Request {
    client: Option<IpAddr>,
    helo: Option<String>,
    mail_from: Option<String>,
    resolver: Option<SocketAddr>,
    zone: Option<String>,
    json: bool,
    file: String,
}

/// Runs the command.
pub fn check(options: &Options, args: &[OsString]) -> ExitCode {
    let request = match parse(options, args) {
        Ok(request) => request,
        Err(why) => {
            fail(&why, sysexits::USAGE);
            return super::usage_of(&["auth", "check"]);
        }
    };
    let report = match run(&request) {
        Ok(report) => report,
        Err((text, code)) => return fail(&text, code),
    };
    let out = if request.json { report.json().line() } else { report.text().into_bytes() };
    let printed = print(&out);
    if report.unfinished() && printed == ExitCode::SUCCESS {
        return ExitCode::from(sysexits::TEMPFAIL);
    }
    printed
}

fn parse(options: &Options, args: &[OsString]) -> Result<Request, String> {
    let mut opts = getopts::Options::new();
    opts.optopt("c", "", "", "").optopt("h", "", "", "").optopt("m", "", "", "");
    opts.optopt("", "resolver", "", "").optopt("", "zone", "", "").optflag("j", "", "");
    let matches = opts.parse(args).map_err(|e| e.to_string())?;
    let [file] = matches.free.as_slice() else {
        return Err("one file with one message is wanted".into());
    };
    let client = match matches.opt_str("c") {
        Some(text) => Some(text.parse().map_err(|_| format!("-c {text}: not an IP address"))?),
        None => None,
    };
    let resolver = match matches.opt_str("resolver") {
        Some(text) => Some(server(&text).ok_or_else(|| {
            format!("--resolver {text}: write address, address:port or [address]:port")
        })?),
        None => None,
    };
    let zone = matches.opt_str("zone");
    if resolver.is_some() && zone.is_some() {
        return Err("--resolver and --zone: with a zone file no name server is asked".into());
    }
    if zone.as_deref() == Some("-") && file == "-" {
        return Err("standard input is the message or the zone file, not both".into());
    }
    Ok(Request {
        client,
        resolver,
        helo: matches.opt_str("h"),
        mail_from: matches.opt_str("m"),
        zone,
        json: options.json || matches.opt_present("j"),
        file: file.clone(),
    })
}

/// A name server's address, at port 53 unless it says otherwise.
fn server(text: &str) -> Option<SocketAddr> {
    let bare = text.strip_prefix('[').and_then(|t| t.strip_suffix(']')).unwrap_or(text);
    match bare.parse::<IpAddr>() {
        Ok(ip) => Some(SocketAddr::new(ip, 53)),
        Err(_) => text.parse().ok().filter(|s: &SocketAddr| s.port() != 0),
    }
}

/// Where the DNS is.
enum Dns {
    Zone(Zone),
    Servers {
        servers: Vec<SocketAddr>,
        resolver: Resolver,
        /// From the first question on.
        budget: Option<Budget>,
    },
}

impl Dns {
    fn new(request: &Request) -> Result<Dns, Wrong> {
        if let Some(path) = &request.zone {
            let zone = Zone::parse(&input::whole(path, ZONE)?);
            let wrong =
                |e: ZoneError| (format!("{path}:{}: {}", e.line, e.what), sysexits::DATAERR);
            return zone.map(Dns::Zone).map_err(wrong);
        }
        let servers = match request.resolver {
            Some(server) => vec![server],
            // Without the file the name server is the one on this machine.
            None => parse_resolv_conf(&std::fs::read(RESOLV_CONF).unwrap_or_default()),
        };
        let resolver = Resolver::new(servers.clone(), TRY_TIME);
        Ok(Dns::Servers { servers, resolver, budget: None })
    }

    fn ask(&mut self, query: &Query) -> Answer {
        match self {
            Dns::Zone(zone) => zone.answer(query),
            Dns::Servers { resolver, budget, .. } => {
                let new = || Budget { queries: QUERIES, deadline: Deadline::after(TIME) };
                resolver.ask_within(query, budget.get_or_insert_with(new))
            }
        }
    }

    /// What is to be said of name servers that did not answer everything.
    fn notes(&self, notes: &mut Vec<String>) {
        let Dns::Servers { servers, budget: Some(budget), .. } = self else { return };
        let names: Vec<String> = servers.iter().map(ToString::to_string).collect();
        notes.push(format!("the name servers are {}", names.join(", ")));
        if budget.deadline.expired() {
            let secs = TIME.as_secs();
            notes.push(format!("the DNS took longer than {secs} s: the rest was not asked"));
        } else if budget.queries == 0 {
            notes.push(format!("{QUERIES} questions were asked: the rest was not"));
        }
    }
}

fn run(request: &Request) -> Result<Report, Wrong> {
    let mut dns = Dns::new(request)?;
    let mut file = Message::open(&request.file)?;
    let header = std::mem::take(&mut file.header);
    let now = u64::try_from(clock::now().secs).unwrap_or(0);
    let fields: Vec<Field<'_>> = Fields::new(&header).collect();
    let (sender, mut notes) = sender(request, &fields, now);
    if file.mailbox {
        notes.push("the file is a mailbox: its \"From \" line is no part of the message".into());
    }
    if header.starts_with("\u{feff}".as_bytes()) {
        notes.push("a byte order mark stands before the name of the first field".into());
    }
    let mut reader =
        Reader::<<OpenSsl as Crypto>::Digest>::new(&header, sender, Policy::default(), now);
    if file.body(|piece| reader.feed(piece))? {
        notes.push("the mailbox has more messages, which were not looked at".into());
    }
    let message = reader.finish();
    let mut answers = Answers::new();
    let openssl = OpenSsl::new();
    let mut failures = Vec::new();
    let findings = answers.run(
        |answers| message.evaluate(&openssl, answers),
        |query| {
            let answer = dns.ask(query);
            if let Some(why) = answer.failure() {
                failures.push(format!("{} {}: {why}", query.name, query.rtype));
            }
            answer
        },
    );
    if !failures.is_empty() {
        dns.notes(&mut notes);
    }
    if findings.duplicates {
        notes.push("a header field that may occur once occurs more often".into());
    }
    for v in findings.dkim.iter().filter(|v| v.verdict == dkim::Verdict::Pass) {
        if dkim::replay::is_old(v, now) {
            let (domain, selector) = (printable(&v.domain), printable(&v.selector));
            notes.push(format!(
                "the signature of {domain}, selector {selector}, is more than a week old"
            ));
        }
    }
    let list = fields.iter().any(|f| f.is(b"list-id"));
    let (disposition, exception) = dispose(&findings.dmarc, list.then_some(Exception::MailingList));
    let field = findings.results("localhost", disposition).write(true);
    let field = String::from_utf8_lossy(&field).replace("\r\n", "\n");
    let lookups = answers.len();
    Ok(Report { findings, disposition, exception, field, lookups, failures, notes })
}

/// The client, by options or from the topmost trace fields; and what is to be
/// said about where it was found.
fn sender(request: &Request, fields: &[Field<'_>], now: u64) -> (Option<Sender>, Vec<String>) {
    let mut notes = Vec::new();
    let received = fields.iter().find(|f| f.is(b"received")).map(Field::text);
    let trace = received.as_deref().and_then(from_clause);
    let ip = match (request.client, &trace) {
        (Some(ip), _) => ip,
        (None, Some((_, ip))) => {
            notes.push("the client is that of the topmost Received field".into());
            *ip
        }
        (None, None) => {
            let none = if received.is_some() { "names no client" } else { "is not there" };
            notes.push(format!("SPF needs the client's address: Received {none}, so give it (-c)"));
            return (None, notes);
        }
    };
    let helo = match &request.helo {
        Some(helo) => helo.clone().into_bytes(),
        None => trace.map(|(helo, _)| helo).unwrap_or_default(),
    };
    let path = fields.iter().find(|f| f.is(b"return-path")).map(Field::text);
    let mail_from = match (&request.mail_from, path) {
        (Some(path), _) => path.clone().into_bytes(),
        (None, Some(path)) => {
            notes.push("the sender is that of the Return-Path field".into());
            path
        }
        (None, None) => {
            notes.push("without a Return-Path field or -m the sender is taken as <>".into());
            Vec::new()
        }
    };
    let mail_from = mail_from.strip_prefix(b"<").unwrap_or(&mail_from);
    let mail_from = mail_from.strip_suffix(b">").unwrap_or(mail_from).to_vec();
    (Some(Sender { ip, helo, mail_from, receiver: b"localhost".to_vec(), now }), notes)
}

/// `from HELO (name [address])`.  RFC 5321 4.4.
fn from_clause(received: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    let text = String::from_utf8_lossy(received);
    let (word, rest) = text.split_once(|c: char| c.is_ascii_whitespace())?;
    if !word.eq_ignore_ascii_case("from") {
        return None;
    }
    let helo = rest.split_ascii_whitespace().next()?;
    // Up to the next clause: an address after it is not the client's.
    let clause = rest.split(" by ").next()?;
    let (_, after) = clause.rsplit_once('[')?;
    let address = after.split(']').next()?;
    let address = address.strip_prefix("IPv6:").unwrap_or(address);
    Some((helo.as_bytes().to_vec(), address.parse().ok()?))
}

/// All that is said about a message.
struct Report {
    findings: Findings,
    disposition: Disposition,
    exception: Option<Exception>,
    /// The Authentication-Results field, its lines ended by LF.
    field: String,
    lookups: usize,
    failures: Vec<String>,
    notes: Vec<String>,
}

impl Report {
    /// The DNS left a result open: another time it may be another one.
    fn unfinished(&self) -> bool {
        let f = &self.findings;
        let mut spf = f.spf.iter().flat_map(|(helo, mail_from)| [helo, mail_from]);
        let dmarc = f.dmarc.problem.filter(|p| *p != dmarc::Problem::Skipped);
        dmarc.is_some()
            || spf.any(|o| o.verdict == spf::Verdict::TempError)
            || f.dkim.iter().any(|v| v.verdict == dkim::Verdict::TempError)
            || f.arc.fault.is_some_and(arc::Fault::is_temporary)
    }

    fn text(&self) -> String {
        let mut out = String::new();
        let findings = &self.findings;
        if let Some(sender) = &findings.sender {
            let text = |bytes: &[u8]| printable(&String::from_utf8_lossy(bytes));
            let (helo, path) = (text(&sender.helo), text(&sender.mail_from));
            let helo = if helo.is_empty() { "not known" } else { &helo };
            out += &format!("client: {}, helo {helo}, mail from <{path}>\n", sender.ip);
        }
        match &findings.spf {
            Some((helo, mail_from)) => {
                if findings.sender.as_ref().is_some_and(|s| s.helo.is_empty()) {
                    out += "spf helo: not checked: the name is not known (-h)\n";
                } else {
                    out += &spf_text("helo", helo);
                }
                out += &spf_text("mail from", mail_from);
            }
            None => out += "spf: not checked\n",
        }
        if findings.dkim.is_empty() {
            out += "dkim: none: there is no signature\n";
        }
        for v in &findings.dkim {
            out += &dkim_text(v);
        }
        out += &self.arc_text();
        out += &self.dmarc_text();
        for note in &self.notes {
            out += &format!("note: {note}\n");
        }
        let s = if self.lookups == 1 { "" } else { "s" };
        out += &format!("{} DNS lookup{s}", self.lookups);
        if !self.failures.is_empty() {
            out += &format!(", {} failed:", self.failures.len());
        }
        for failure in self.failures.iter().take(FAILURES) {
            out += &format!("\n    {failure}");
        }
        out + &format!("\n\n{}", self.field)
    }

    fn arc_text(&self) -> String {
        let arc = &self.findings.arc;
        let mut line = format!("arc: {}", arc.validation.word());
        if !arc.sealers.is_empty() {
            line += &format!(", sealed by {}", arc.sealers.join(", "));
        }
        if arc.oldest_pass > 0 {
            line += &format!(", unchanged since i={}", arc.oldest_pass);
        }
        if let Some(fault) = arc.fault {
            line += &format!(": {fault}");
        }
        line + "\n"
    }

    fn dmarc_text(&self) -> String {
        let dmarc = &self.findings.dmarc;
        let mut out = format!("dmarc: {}", dmarc.verdict.word());
        let author = match &self.findings.author {
            Ok(author) => author,
            Err(fault) => return out + &format!(": {fault}\n"),
        };
        out += &format!(" for {author}");
        if let Some(problem) = dmarc.problem {
            out += &format!(": {problem}");
        }
        match &dmarc.policy {
            Some((name, record)) => out += &self.policy_text(name, record),
            None if dmarc.verdict == dmarc::Verdict::None => {
                out += &format!(": no policy at _dmarc.{author} or above it\n");
            }
            None => out.push('\n'),
        }
        if let Some((code, enhanced, text)) = dmarc.reply(author, self.disposition) {
            out += &format!("    reply: {code} {enhanced} {text}\n");
        }
        out
    }

    fn policy_text(&self, name: &Name, record: &dmarc::Record) -> String {
        let dmarc = &self.findings.dmarc;
        let test = if record.testing { ", in test (t=y)" } else { "" };
        let (requested, tag) = (dmarc.requested.word(), dmarc.tag.word());
        let mut out = format!(": _dmarc.{name} asks for {requested} ({tag}){test}");
        out += match (dmarc.dkim, dmarc.spf) {
            (true, true) => "; DKIM and SPF are aligned",
            (true, false) => "; DKIM is aligned",
            (false, true) => "; SPF is aligned",
            (false, false) => "; nothing that passed is aligned",
        };
        if let Some(organization) = &dmarc.organization {
            out += &format!("\n    organizational domain: {organization}");
        }
        out += &format!("\n    disposition: {}", self.disposition.word());
        if let Some(exception) = self.exception {
            out += &format!(" ({})", exception.word());
        }
        out + "\n"
    }

    fn json(&self) -> Json {
        let findings = &self.findings;
        let texts = |all: &[String]| Json::Array(all.iter().map(|t| word(t)).collect());
        let mut members = Vec::new();
        if let Some(sender) = &findings.sender {
            members.push(("client", word(&sender.ip.to_string())));
            members.push(("helo", Json::bytes(&sender.helo)));
            members.push(("mail_from", Json::bytes(&sender.mail_from)));
        }
        if let Some((helo, mail_from)) = &findings.spf {
            members.push(("spf_helo", spf_json(helo)));
            members.push(("spf", spf_json(mail_from)));
        }
        members.push(("dkim", Json::Array(findings.dkim.iter().map(dkim_json).collect())));
        let arc = &findings.arc;
        members.push((
            "arc",
            Json::Object(vec![
                ("result", word(arc.validation.word())),
                ("reason", reason(arc.fault)),
                ("oldest_pass", Json::count(arc.oldest_pass.into())),
                ("sealers", texts(&arc.sealers)),
            ]),
        ));
        members.push(("dmarc", self.dmarc_json()));
        members.push(("notes", texts(&self.notes)));
        members.push(("lookups", Json::count(u64::try_from(self.lookups).unwrap_or(0))));
        members.push(("failures", texts(&self.failures)));
        members.push(("field", word(self.field.trim_end())));
        Json::Object(members)
    }

    fn dmarc_json(&self) -> Json {
        let dmarc = &self.findings.dmarc;
        let author = &self.findings.author;
        let fault = author.as_ref().err().map(ToString::to_string);
        let policy = dmarc.policy.as_ref().map(|(name, _)| name);
        Json::Object(vec![
            ("result", word(dmarc.verdict.word())),
            ("from", reason(author.as_ref().ok())),
            ("reason", reason(fault.or(dmarc.problem.map(|p| p.to_string())))),
            ("policy_domain", reason(policy)),
            ("organizational_domain", reason(dmarc.organization.as_ref())),
            ("requested", word(dmarc.requested.word())),
            ("tag", word(dmarc.tag.word())),
            ("testing", Json::Bool(dmarc.testing())),
            ("dkim_aligned", Json::Bool(dmarc.dkim)),
            ("spf_aligned", Json::Bool(dmarc.spf)),
            ("disposition", word(self.disposition.word())),
            ("exception", word(self.exception.map_or("", Exception::word))),
        ])
    }
}

fn spf_text(name: &str, outcome: &spf::Outcome) -> String {
    let mut line = format!("spf {name}: {}", outcome.verdict.word());
    if !outcome.domain.is_empty() {
        line += &format!(" for {}", printable(&outcome.domain));
    }
    if let Some(term) = &outcome.matched {
        line += &format!(", by \"{}\"", printable(term));
    }
    if let Some(problem) = outcome.problem {
        line += &format!(": {problem}");
    }
    if let Some(explanation) = &outcome.explanation {
        line += &format!("\n    the domain explains: {explanation}");
    }
    for (set, what) in [
        (outcome.signals.plus_all, "lets anybody send (+all)"),
        (outcome.signals.wide, "lets more than 65536 addresses send"),
        (outcome.signals.ptr, "uses ptr, which is slow and not to be relied on"),
    ] {
        if set {
            line += &format!("\n    the record {what}");
        }
    }
    line + "\n"
}

fn dkim_text(v: &dkim::Verified) -> String {
    let mut line = format!("dkim: {}", v.verdict.word());
    if !v.domain.is_empty() {
        line += &format!(" by {}", printable(&v.domain));
    }
    if !v.selector.is_empty() {
        line += &format!(", selector {}", printable(&v.selector));
    }
    if let Some(algorithm) = v.algorithm {
        line += &format!(", {}", algorithm.word());
    }
    if let Some(bits) = v.key_bits {
        line += &format!(", {bits} bits");
    }
    if let Some(fault) = v.fault {
        line += &format!(": {fault}");
        if fault.is_of_the_key() {
            let (domain, selector) = (printable(&v.domain), printable(&v.selector));
            line += &format!(" (TXT at {selector}._domainkey.{domain})");
        }
    }
    line + "\n"
}

fn word(text: &str) -> Json {
    Json::Text(text.to_string())
}

/// A text, empty without a value.
fn reason(value: Option<impl ToString>) -> Json {
    Json::Text(value.map(|v| v.to_string()).unwrap_or_default())
}

fn spf_json(outcome: &spf::Outcome) -> Json {
    Json::Object(vec![
        ("result", word(outcome.verdict.word())),
        ("domain", word(&outcome.domain)),
        ("matched", reason(outcome.matched.as_ref())),
        ("reason", reason(outcome.problem)),
        ("explanation", reason(outcome.explanation.as_ref())),
        ("plus_all", Json::Bool(outcome.signals.plus_all)),
        ("wide", Json::Bool(outcome.signals.wide)),
        ("ptr", Json::Bool(outcome.signals.ptr)),
    ])
}

fn dkim_json(v: &dkim::Verified) -> Json {
    Json::Object(vec![
        ("result", word(v.verdict.word())),
        ("reason", reason(v.fault)),
        ("domain", word(&v.domain)),
        ("selector", word(&v.selector)),
        ("algorithm", word(v.algorithm.map_or("", dkim::Algorithm::word))),
        ("bits", Json::count(v.key_bits.unwrap_or(0).into())),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_client_of_a_received_field() {
        let from = |t: &str| {
            from_clause(t.as_bytes()).map(|(h, ip)| (String::from_utf8(h).unwrap(), ip.to_string()))
        };
        assert_eq!(
            from("from mail.example.org (mail.example.org [192.0.2.1]) by mx"),
            Some(("mail.example.org".into(), "192.0.2.1".into()))
        );
        assert_eq!(
            from("from [192.0.2.9] (unknown [IPv6:2001:db8::1]) by mx [198.51.100.1]"),
            Some(("[192.0.2.9]".into(), "2001:db8::1".into()))
        );
        assert_eq!(
            from("FROM a\t([192.0.2.1]) by mx").map(|(helo, _)| helo),
            Some("a".into()),
            "however it is spaced"
        );
        assert_eq!(from("by mx with LMTP"), None);
        assert_eq!(from("from a by mx ([192.0.2.1])"), None);
    }
}
