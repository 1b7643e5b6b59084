//! rmail's own statements, for what smtpd.conf cannot say: `hostname`, `limit`,
//! `mailbox`, `resolver`, `socket`.
//!
//! Their words are no keywords, so a name that smtpd.conf takes without quotes
//! is taken here too.

use std::net::{IpAddr, SocketAddr};

use super::action::mail_root;
use super::ast::*;
use super::features;
use super::format::Place;
use super::lex::Token;
use super::parse::{Parsed, Parser};
use super::print::Printer;
use super::scalar;
use crate::proto::limits::{self, Limit, Unit};
use crate::proto::pattern::address;

/// How many resolvers are asked in turn.
const RESOLVERS_MAX: usize = 3;
/// How many mailboxes every account can be told of.
const MAILBOXES_MAX: usize = 100;

/// The special uses and their names.
pub const SPECIAL_USES: &[(&str, SpecialUse)] = &[
    ("all", SpecialUse::All),
    ("archive", SpecialUse::Archive),
    ("drafts", SpecialUse::Drafts),
    ("flagged", SpecialUse::Flagged),
    ("important", SpecialUse::Important),
    ("junk", SpecialUse::Junk),
    ("sent", SpecialUse::Sent),
    ("trash", SpecialUse::Trash),
];

/// A statement that begins with a word that is no keyword; or a macro.
pub(super) fn word(p: &mut Parser<'_>) -> Parsed<()> {
    let at = p.here();
    let Token::Word(word) = p.advance() else { return Ok(()) };
    if p.is(&Token::Sign(b'=')) {
        return p.define(&word);
    }
    match word.as_str() {
        "mailbox" => mailbox(p),
        "resolver" => resolver(p),
        "state" => state(p),
        _ => p.fail_at(
            at,
            format!(
                "no statement begins with \"{word}\": there are action, admd, bounce, ca, \
                 hostname, include, limit, listen, mailbox, match, mda, mta, pki, queue, \
                 resolver, smtp, socket, state, table, and macros: {word} = \"value\""
            ),
        ),
    }
}

/// `hostname NAME`
pub(super) fn hostname(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let name = p.hostname("hostname")?;
    p.push_single(Stmt::Hostname(name), "hostname", |s| matches!(s, Stmt::Hostname(_)))
}

/// `socket PATH`
pub(super) fn socket(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let path = p.absolute("the socket's path")?;
    p.push_single(Stmt::Socket(path), "socket", |s| matches!(s, Stmt::Socket(_)))
}

/// `state directory PATH`: nothing is kept beside mail and queue so far.
fn state(p: &mut Parser<'_>) -> Parsed<()> {
    features::refuse(p, "state directory", "nothing would be kept there: remove the line")
}

/// `resolver ADDRESS[:PORT]`
fn resolver(p: &mut Parser<'_>) -> Parsed<()> {
    let at = p.here();
    let text = p.name("the address of a DNS server")?;
    let addr = match address(&text) {
        Some(ip) => SocketAddr::new(ip, 53),
        None => match text.parse::<SocketAddr>() {
            Ok(addr) if addr.port() != 0 => addr,
            _ => {
                let text = format!(
                    "resolver \"{text}\": write address, address:port or \"[address]:port\""
                );
                return p.fail_at(at, text);
            }
        },
    };
    let earlier: Vec<SocketAddr> = p.config.resolvers().collect();
    if earlier.contains(&addr) {
        return p.fail_at(at, format!("resolver {addr} is there already: remove one of the two"));
    }
    if earlier.len() >= RESOLVERS_MAX {
        return p.fail_at(at, format!("at most {RESOLVERS_MAX} resolvers are asked: remove one"));
    }
    p.push(Stmt::Resolver(addr));
    Ok(())
}

/// `mailbox NAME [special-use USE] [auto no|create|subscribe]`, `mailbox root PATH`
fn mailbox(p: &mut Parser<'_>) -> Parsed<()> {
    if p.eat("root") {
        let path = mail_root(p, Place::LoginPath)?;
        return p.push_single(Stmt::MailboxRoot(path), "mailbox root", |s| {
            matches!(s, Stmt::MailboxRoot(_))
        });
    }
    let at = p.here();
    let name = p.name("the name of a mailbox, or root")?;
    if let Err(why) = mailbox_name(&name) {
        return p.fail_at(at, format!("mailbox \"{name}\": {why}"));
    }
    let mut m = Mailbox { name, special_use: None, auto: Auto::No };
    if p.at_end_of_line() {
        return p.unexpected("mailbox has special-use USE and auto no, create or subscribe");
    }
    while !p.at_end_of_line() {
        if p.option("special-use")? {
            let found = SPECIAL_USES.iter().find(|(name, _)| p.eat(name));
            match found {
                Some((_, u)) => m.special_use = Some(*u),
                None => {
                    return p.unexpected(
                        "special-use has all, archive, drafts, flagged, important, junk, sent and trash",
                    )
                }
            }
        } else if p.option("auto")? {
            m.auto = if p.eat("no") {
                Auto::No
            } else if p.eat("create") {
                Auto::Create
            } else if p.eat("subscribe") {
                Auto::Subscribe
            } else {
                return p.unexpected("auto has no, create and subscribe");
            };
        } else {
            return p.unexpected("mailbox has special-use USE and auto no, create or subscribe");
        }
    }
    if m.special_use.is_none() && m.auto == Auto::No {
        return p
            .fail_at(at, format!("mailbox \"{}\" says nothing: add special-use or auto", m.name));
    }
    if p.config.mailboxes().any(|old| old.name == m.name) {
        return p.fail_at(
            at,
            format!("mailbox \"{}\" is there already: remove one of the two", m.name),
        );
    }
    let same_use =
        p.config.mailboxes().find(|o| o.special_use.is_some() && o.special_use == m.special_use);
    if let Some(old) = same_use {
        let text = format!(
            "mailbox \"{}\" has this special use already: take it from one of the two",
            old.name
        );
        return p.fail_at(at, text);
    }
    if p.config.mailboxes().count() >= MAILBOXES_MAX {
        return p.fail_at(at, format!("more than {MAILBOXES_MAX} mailboxes: remove one"));
    }
    p.push(Stmt::Mailbox(m));
    Ok(())
}

/// What a Maildir++ store can hold: parts divided by dots, none empty, no slash.
fn mailbox_name(name: &str) -> Result<(), &'static str> {
    if name.eq_ignore_ascii_case("INBOX") {
        return Err("INBOX is always there: name another");
    }
    if name.contains('/') {
        return Err("mailboxes are divided by dots, and a name has no slash");
    }
    if name.split('.').any(str::is_empty) {
        return Err("a dot divides mailboxes: none may be first, last or doubled");
    }
    if name.starts_with('~') {
        return Err("a name cannot begin with ~");
    }
    if name.len() > limits::MAILBOX_NAME.size() {
        return Err("the name is too long");
    }
    Ok(())
}

/// `limit NAME VALUE`; the words of a name may be divided by blanks.
pub(super) fn limit(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let mut words: Vec<String> = Vec::new();
    while !p.at_end_of_line() {
        let word = match p.peek() {
            Token::Keyword(k) => (*k).to_string(),
            Token::Word(w) | Token::Quoted(w) | Token::Number(_, w) => w.clone(),
            _ => return p.unexpected("expected limit NAME VALUE"),
        };
        words.push(word);
        p.advance();
    }
    let Some(value) = words.pop().filter(|_| !words.is_empty()) else {
        return p.fail_at(at, "expected limit NAME VALUE, such as limit store-processes 200");
    };
    let name = words.join("-");
    let Some(row) = limits::ALL.iter().find(|l| l.name == name) else {
        return p.fail_at(at, format!("no limit \"{name}\": rmailctl show limits lists them all"));
    };
    if !row.settable {
        let why = format!(
            "limit {name} is part of the program ({}) and cannot be changed: remove it",
            row.source
        );
        return p.fail_at(at, why);
    }
    let (parsed, right) = match row.unit {
        Unit::Octets => (scalar::size(&value), "a size, such as 64K"),
        Unit::Count => (value.parse::<u64>().ok(), "a number"),
        Unit::Millis => (
            scalar::delay(&value, true).and_then(|d| u64::try_from(d.as_millis()).ok()),
            "a number of ms, s, m, h or d",
        ),
    };
    let Some(n) = parsed.filter(|n| *n >= 1 && *n <= u64::from(u32::MAX)) else {
        return p.fail_at(at, format!("limit {name} \"{value}\" is not {right}"));
    };
    let value = LimitValue { limit: row, value: n };
    p.push_single(
        Stmt::Limit(value),
        &format!("limit {name}"),
        |s| matches!(s, Stmt::Limit(l) if l.limit.name == name),
    )
}

pub(super) fn print(s: &Stmt, out: &mut Printer) {
    match s {
        Stmt::Hostname(name) => out.word("hostname").text(name),
        Stmt::Limit(l) => out.word("limit").word(l.limit.name).word(&print_limit(l.limit, l.value)),
        Stmt::Mailbox(m) => {
            out.word("mailbox").text(&m.name);
            let name = SPECIAL_USES.iter().find(|(_, u)| Some(*u) == m.special_use);
            if let Some((name, _)) = name {
                out.word("special-use").word(name);
            }
            match m.auto {
                Auto::No => out,
                Auto::Create => out.word("auto create"),
                Auto::Subscribe => out.word("auto subscribe"),
            }
        }
        Stmt::MailboxRoot(path) => out.word("mailbox root").text(path.text()),
        Stmt::Resolver(addr) => out.word("resolver").text(&print_resolver(addr)),
        Stmt::Socket(path) => out.word("socket").text(path),
        _ => out,
    };
}

fn print_resolver(addr: &SocketAddr) -> String {
    match (addr.ip(), addr.port()) {
        (IpAddr::V4(ip), 53) => ip.to_string(),
        (IpAddr::V6(ip), 53) => ip.to_string(),
        _ => addr.to_string(),
    }
}

/// A limit's value as it is written in the configuration.
pub fn print_limit(limit: &Limit, value: u64) -> String {
    match limit.unit {
        Unit::Millis => scalar::print_delay(std::time::Duration::from_millis(value)),
        Unit::Octets | Unit::Count => value.to_string(),
    }
}
