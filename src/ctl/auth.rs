//! `auth check file`: what SPF, DKIM, DMARC and ARC say of a message.
//!
//! Works without a daemon, with the system's name servers or with a zone in a
//! file.  The client is given by options, or taken from the topmost Received
//! and Return-Path fields, which is only as true as whoever wrote them.

use super::json::Json;
use super::{fail, print, Options};
use crate::base::clock::{self, Deadline};
use crate::base::crypto::dkim::OpenSsl;
use crate::base::dns::{parse_resolv_conf, Budget, Resolver, TRY_TIME};
use crate::base::exits::sysexits;
use crate::proto::assess::{Findings, Reader};
use crate::proto::dkim::{self, Crypto};
use crate::proto::dmarc::{dispose, Disposition, Exception};
use crate::proto::dns::zone::Zone;
use crate::proto::dns::Answers;
use crate::proto::mime::{split, Field, Fields};
use crate::proto::spf::{self, Sender};
use std::ffi::OsString;
use std::net::IpAddr;
use std::process::ExitCode;
use std::time::Duration;

/// As for a message that comes in: questions, and time for all of them.
const QUERIES: u32 = 60;
const TIME: Duration = Duration::from_secs(20);

/// What the command line says.
struct Request {
    client: Option<IpAddr>,
    helo: Option<String>,
    mail_from: Option<String>,
    zone: Option<String>,
    json: bool,
    file: String,
}

/// Runs the command.
pub fn check(options: &Options, args: &[OsString]) -> ExitCode {
    let Some(request) = parse(options, args) else {
        return super::usage_of(&["auth", "check"]);
    };
    match run(&request) {
        Ok(out) => print(&out),
        Err((text, code)) => fail(&text, code),
    }
}

fn parse(options: &Options, args: &[OsString]) -> Option<Request> {
    let mut opts = getopts::Options::new();
    opts.optopt("c", "", "", "").optopt("h", "", "", "").optopt("m", "", "", "");
    opts.optopt("", "zone", "", "").optflag("j", "", "");
    let matches = opts.parse(args).ok()?;
    let [file] = matches.free.as_slice() else { return None };
    let client = match matches.opt_str("c") {
        Some(text) => Some(text.parse().ok()?),
        None => None,
    };
    Some(Request {
        client,
        helo: matches.opt_str("h"),
        mail_from: matches.opt_str("m"),
        zone: matches.opt_str("zone"),
        json: options.json || matches.opt_present("j"),
        file: file.clone(),
    })
}

fn run(request: &Request) -> Result<Vec<u8>, (String, u8)> {
    let read =
        |path: &str| std::fs::read(path).map_err(|e| (format!("{path}: {e}"), sysexits::NOINPUT));
    let message = read(&request.file)?;
    let zone = match &request.zone {
        Some(path) => Some(
            Zone::parse(&read(path)?)
                .map_err(|e| (format!("{path}:{}: {}", e.line, e.what), sysexits::DATAERR))?,
        ),
        None => None,
    };
    let now = u64::try_from(clock::now().secs).unwrap_or(0);
    let (header, body) = split(&message);
    let fields: Vec<Field<'_>> = Fields::new(header).collect();
    let sender = sender(request, &fields, now);
    let mut reader =
        Reader::<<OpenSsl as Crypto>::Digest>::new(header, sender, dkim::Policy::default(), now);
    reader.feed(body);
    let read = reader.finish();
    let mut answers = Answers::new();
    let openssl = OpenSsl::new();
    let findings = match &zone {
        Some(zone) => answers.run(|a| read.evaluate(&openssl, a), |q| zone.answer(q)),
        None => {
            // Without the file the name server is the one on this machine.
            let conf = std::fs::read("/etc/resolv.conf").unwrap_or_default();
            let resolver = Resolver::new(parse_resolv_conf(&conf), TRY_TIME);
            let mut budget = Budget { queries: QUERIES, deadline: Deadline::after(TIME) };
            answers.run(|a| read.evaluate(&openssl, a), |q| resolver.ask_within(q, &mut budget))
        }
    };
    let list = fields.iter().any(|f| f.is(b"list-id"));
    let (disposition, exception) = dispose(&findings.dmarc, list.then_some(Exception::MailingList));
    let field = findings.results("localhost", disposition).write(true);
    let field = String::from_utf8_lossy(&field).replace("\r\n", "\n");
    Ok(if request.json {
        json(&findings, disposition, &field, answers.len()).line()
    } else {
        text(&findings, disposition, exception, &field, answers.len()).into_bytes()
    })
}

/// The client, by options or from the topmost trace fields.
fn sender(request: &Request, fields: &[Field<'_>], now: u64) -> Option<Sender> {
    let received = fields.iter().find(|f| f.is(b"received")).map(Field::text);
    let trace = received.as_deref().and_then(from_clause);
    let ip = request.client.or(trace.as_ref().map(|(_, ip)| *ip))?;
    let helo = match &request.helo {
        Some(helo) => helo.clone().into_bytes(),
        None => trace.map(|(helo, _)| helo).unwrap_or_default(),
    };
    let mail_from = match &request.mail_from {
        Some(path) => path.clone().into_bytes(),
        None => {
            let path = fields.iter().find(|f| f.is(b"return-path")).map(Field::text);
            path.unwrap_or_default()
        }
    };
    let mail_from = mail_from.strip_prefix(b"<").unwrap_or(&mail_from);
    let mail_from = mail_from.strip_suffix(b">").unwrap_or(mail_from).to_vec();
    Some(Sender { ip, helo, mail_from, receiver: b"localhost".to_vec(), now })
}

/// `from HELO (name [address])`.  RFC 5321 4.4.
fn from_clause(received: &[u8]) -> Option<(Vec<u8>, IpAddr)> {
    let text = String::from_utf8_lossy(received);
    let rest = text.strip_prefix("from ")?;
    let helo = rest.split_ascii_whitespace().next()?;
    // Up to the next clause: an address after it is not the client's.
    let clause = rest.split(" by ").next()?;
    let (_, after) = clause.rsplit_once('[')?;
    let address = after.split(']').next()?;
    let address = address.strip_prefix("IPv6:").unwrap_or(address);
    Some((helo.as_bytes().to_vec(), address.parse().ok()?))
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
    if outcome.signals.plus_all {
        line += "\n    the record lets anybody send (+all)";
    }
    line + "\n"
}

/// What came from outside goes to a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}

fn text(
    findings: &Findings,
    disposition: Disposition,
    exception: Option<Exception>,
    field: &str,
    lookups: usize,
) -> String {
    let mut out = String::new();
    match &findings.spf {
        Some((helo, mail_from)) => {
            out += &spf_text("helo", helo);
            out += &spf_text("mail from", mail_from);
        }
        None => out += "spf: not checked: the client's address is not known (-c)\n",
    }
    if findings.dkim.is_empty() {
        out += "dkim: none: there is no signature\n";
    }
    for v in &findings.dkim {
        out += &format!("dkim: {} by {}", v.verdict.word(), printable(&v.domain));
        if let (Some(algorithm), Some(bits)) = (v.algorithm, v.key_bits) {
            let selector = printable(&v.selector);
            out += &format!(", selector {selector}, {}, {bits} bits", algorithm.word());
        }
        if let Some(fault) = v.fault {
            out += &format!(": {fault}");
        }
        out.push('\n');
    }
    let arc = &findings.arc;
    out += &format!("arc: {}", arc.validation.word());
    if !arc.sealers.is_empty() {
        out += &format!(", sealed by {}", arc.sealers.join(", "));
    }
    if let Some(fault) = arc.fault {
        out += &format!(": {fault}");
    }
    out.push('\n');
    let dmarc = &findings.dmarc;
    out += &format!("dmarc: {}", dmarc.verdict.word());
    match &findings.author {
        Ok(author) => out += &format!(" for {author}"),
        Err(fault) => out += &format!(": {fault}"),
    }
    if let Some((name, record)) = &dmarc.policy {
        let test = if record.testing { ", in test" } else { "" };
        out += &format!(": {name} asks for {}{test}", dmarc.requested.word());
        let by = match (dmarc.dkim, dmarc.spf) {
            (true, true) => "DKIM and SPF are aligned",
            (true, false) => "DKIM is aligned",
            (false, true) => "SPF is aligned",
            (false, false) => "nothing that passed is aligned",
        };
        out += &format!("; {by}\n    disposition: {}", disposition.word());
        if let Some(exception) = exception {
            out += &format!(" ({})", exception.word());
        }
    }
    out.push('\n');
    if findings.duplicates {
        out += "note: a header field that may occur once occurs more often\n";
    }
    out + &format!("{lookups} DNS lookups\n\n{field}")
}

fn json(findings: &Findings, disposition: Disposition, field: &str, lookups: usize) -> Json {
    let word = |w: &str| Json::Text(w.to_string());
    let text = |t: Option<String>| Json::Text(t.unwrap_or_default());
    let spf = |o: &spf::Outcome| {
        Json::Object(vec![
            ("result", word(o.verdict.word())),
            ("domain", word(&o.domain)),
            ("matched", text(o.matched.clone())),
            ("reason", text(o.problem.map(|p| p.to_string()))),
            ("explanation", text(o.explanation.clone())),
        ])
    };
    let mut members = Vec::new();
    if let Some((helo, mail_from)) = &findings.spf {
        members.push(("spf_helo", spf(helo)));
        members.push(("spf", spf(mail_from)));
    }
    let signatures = findings.dkim.iter().map(|v| {
        Json::Object(vec![
            ("result", word(v.verdict.word())),
            ("reason", text(v.fault.map(|f| f.to_string()))),
            ("domain", word(&v.domain)),
            ("selector", word(&v.selector)),
            ("algorithm", word(v.algorithm.map_or("", dkim::Algorithm::word))),
            ("bits", Json::count(v.key_bits.unwrap_or(0).into())),
        ])
    });
    members.push(("dkim", Json::Array(signatures.collect())));
    let arc = &findings.arc;
    members.push((
        "arc",
        Json::Object(vec![
            ("result", word(arc.validation.word())),
            ("reason", text(arc.fault.map(|f| f.to_string()))),
            ("sealers", Json::Array(arc.sealers.iter().map(|s| word(s)).collect())),
        ]),
    ));
    let dmarc = &findings.dmarc;
    let policy = dmarc.policy.as_ref().map(|(name, _)| name.to_string());
    members.push((
        "dmarc",
        Json::Object(vec![
            ("result", word(dmarc.verdict.word())),
            ("from", text(findings.author.as_ref().ok().map(ToString::to_string))),
            ("reason", text(findings.author.as_ref().err().map(ToString::to_string))),
            ("policy_domain", text(policy)),
            ("requested", word(dmarc.requested.word())),
            ("disposition", word(disposition.word())),
        ]),
    ));
    members.push(("lookups", Json::count(u64::try_from(lookups).unwrap_or(0))));
    members.push(("field", word(field.trim_end())));
    Json::Object(members)
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
        assert_eq!(from("by mx with LMTP"), None);
        assert_eq!(from("from a by mx ([192.0.2.1])"), None);
    }
}
