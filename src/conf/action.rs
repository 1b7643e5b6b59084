//! `action NAME METHOD ...`, `mda wrapper`, `mda limit`
//!
//! Options stand in any order, each at most once.  smtpd wants `ttl` last and
//! `auth` after `host`; here that does not matter.

use super::ast::*;
use super::features::{refuse, refused};
use super::format::{Format, Place};
use super::lex::Token;
use super::listen::{ciphers, protocols, skip_filter};
use super::parse::{Finished, Parsed, Parser};
use super::print::Printer;
use super::table::{self, Use};
use super::{pki, scalar};
use crate::proto::addr::{Charset, Mailbox as Address};
use crate::proto::pattern;

const METHODS: &str =
    "the methods are expand-only, forward-only, lmtp, maildir, mbox, mda and relay";

pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let name = p.name("the name of the action")?;
    p.declares("action", &name);
    if p.config.action(&name).is_some() {
        return p.fail_at(
            at,
            format!("there is an action \"{name}\" already: give this one another name"),
        );
    }
    let mut ttl = None;
    let method = if p.eat("relay") {
        Method::Relay(Box::new(relay(p, &mut ttl)?))
    } else {
        let deliver = deliver(p)?;
        Method::Local(local(p, deliver, &mut ttl)?)
    };
    p.push(Stmt::Action(Action { name, method, ttl }));
    Ok(())
}

/// The method of a local action, with what belongs to it.
fn deliver(p: &mut Parser<'_>) -> Parsed<Deliver> {
    if p.eat("mbox") {
        return Ok(Deliver::Mbox);
    }
    if p.eat("expand-only") {
        return Ok(Deliver::ExpandOnly);
    }
    if p.eat("forward-only") {
        return Ok(Deliver::ForwardOnly);
    }
    if p.eat("mda") {
        return Ok(Deliver::Mda(format(p, "the command", Place::Command)?));
    }
    if p.eat("maildir") {
        let path = match p.peek() {
            Token::Word(_) | Token::Quoted(_) | Token::Sign(_) => Some(mail_root(p, Place::Path)?),
            _ => None,
        };
        return Ok(Deliver::Maildir { path, junk: p.option("junk")? });
    }
    if p.eat("lmtp") {
        let dest = lmtp_dest(p)?;
        return Ok(Deliver::Lmtp { dest, rcpt_to: p.option("rcpt-to")? });
    }
    p.unexpected(METHODS)
}

/// A mail root: a path from `/` or the user's home.
pub(super) fn mail_root(p: &mut Parser<'_>, place: Place) -> Parsed<Format> {
    let at = p.here();
    let path = format(p, "the path of the Maildir", place)?;
    let text = path.text().to_ascii_lowercase();
    if !text.starts_with('/') && !text.starts_with("~/") && !text.starts_with("%{user.directory}") {
        let text = format!("maildir \"{}\": the path must begin with / or ~/", path.text());
        return p.fail_at(at, text);
    }
    if path.text().split('/').any(|part| part == "..") {
        return p.fail_at(at, format!("maildir \"{}\": write the path without ..", path.text()));
    }
    Ok(path)
}

fn format(p: &mut Parser<'_>, what: &str, place: Place) -> Parsed<Format> {
    let at = p.here();
    let text = p.name(what)?;
    match Format::parse(&text, place) {
        Ok(f) => Ok(f),
        Err(e) => p.fail_at(at, e),
    }
}

/// `host:port`, `[address]:port` or the path of a socket.
fn lmtp_dest(p: &mut Parser<'_>) -> Parsed<LmtpDest> {
    let at = p.here();
    let text = p.name("the LMTP server")?;
    if text.starts_with('/') {
        return Ok(LmtpDest::Unix(text));
    }
    let right = "write host:port, [address]:port or the path of a socket";
    // The same grammar as lmtp://host:port, which has the same meaning.
    match scalar::relay_url(&format!("lmtp://{text}")) {
        Ok(url) if url.label.is_none() => Ok(LmtpDest::Tcp(url.host, url.port)),
        _ => p.fail_at(at, format!("lmtp \"{text}\": {right}")),
    }
}

/// The options of a local action.
fn local(
    p: &mut Parser<'_>,
    deliver: Deliver,
    ttl: &mut Option<std::time::Duration>,
) -> Parsed<Local> {
    let mut l = Local { deliver, aliases: None, userbase: None, user: None, wrapper: None };
    while !p.at_end_of_line() {
        let at = p.here();
        if p.eat("alias") {
            p.once("alias or virtual")?;
            l.aliases = Some(Aliases::Alias(table::reference(p, "alias")?));
        } else if p.eat("virtual") {
            p.once("alias or virtual")?;
            l.aliases = Some(Aliases::Virtual(table::reference(p, "virtual")?));
        } else if p.option("userbase")? {
            l.userbase = Some(table::reference(p, "userbase")?);
        } else if p.option("user")? {
            let user = p.name("the name of a user")?;
            if matches!(l.deliver, Deliver::Mbox | Deliver::ExpandOnly | Deliver::ForwardOnly) {
                let text =
                    "user means nothing here: only maildir, lmtp and mda deliver as another user";
                return p.fail_at(at, text);
            }
            if user == "root" {
                return p.fail_at(at, "nothing is delivered as root: name another user");
            }
            l.user = Some(user);
        } else if p.option("wrapper")? {
            if !matches!(l.deliver, Deliver::Mda(_) | Deliver::ExpandOnly) {
                return p
                    .fail_at(at, "a wrapper wraps a command: only mda and expand-only have one");
            }
            l.wrapper = Some(p.name("the name of a wrapper")?);
        } else if p.option("ttl")? {
            *ttl = Some(p.delay("ttl", true)?);
        } else {
            let more = match l.deliver {
                Deliver::Maildir { .. } => " and junk (directly after maildir and its path)",
                Deliver::Lmtp { .. } => " and rcpt-to (directly after the server)",
                _ => "",
            };
            return p.unexpected(&format!(
                "the options are alias, ttl, user, userbase, virtual, wrapper{more}"
            ));
        }
    }
    Ok(l)
}

/// The options of `relay`.
fn relay(p: &mut Parser<'_>, ttl: &mut Option<std::time::Duration>) -> Parsed<Relay> {
    let mut r = Relay::default();
    while !p.at_end_of_line() {
        if p.option("backup")? {
            r.backup = Some(if p.eat("mx") { Some(p.hostname("mx")?) } else { None });
        } else if p.option("host")? {
            r.host = Some(hosts(p)?);
        } else if p.option("domain")? {
            r.domain = Some(table::reference(p, "domain")?);
        } else if p.option("auth")? {
            r.auth = Some(table::named_reference(p, "auth")?);
        } else if p.option("tls")? {
            r.tls = Some(!p.eat("no-verify"));
        } else if p.option("ca")? {
            r.ca = Some(pki::name(p)?);
        } else if p.option("pki")? {
            r.pki = Some(pki::name(p)?);
        } else if p.option("ciphers")? {
            r.ciphers = Some(ciphers(p)?);
        } else if p.option("protocols")? {
            r.protocols = Some(protocols(p)?);
        } else if p.option("helo")? {
            r.helo = Some(p.hostname("helo")?);
        } else if p.option("helo-src")? {
            r.helo_src = Some(table::reference(p, "helo-src")?);
        } else if p.option("src")? {
            r.src = Some(sources(p)?);
        } else if p.option("mail-from")? {
            r.mail_from = Some(address(p)?);
        } else if p.option("ttl")? {
            *ttl = Some(p.delay("ttl", true)?);
        } else if matches!(p.peek(), Token::Keyword("srs")) {
            refused(p, "action relay srs", "remove it");
            p.advance();
        } else if matches!(p.peek(), Token::Keyword("filter")) {
            refused(p, "action relay filter", "remove it");
            p.advance();
            skip_filter(p)?;
        } else {
            return p.unexpected(
                "the options of relay are auth, backup, ca, ciphers, domain, helo, helo-src, \
                 host, mail-from, pki, protocols, src, tls and ttl",
            );
        }
    }
    relay_rules(p, &r)?;
    Ok(r)
}

/// What options of relay need each other, and exclude each other.
fn relay_rules(p: &mut Parser<'_>, r: &Relay) -> Parsed<()> {
    let at = p.statement.clone();
    let mut wrong = Vec::new();
    let ways = [
        (r.backup.is_some(), "backup"),
        (r.host.is_some(), "host"),
        (r.domain.is_some(), "domain"),
    ];
    let given: Vec<&str> = ways.iter().filter(|(g, _)| *g).map(|(_, n)| *n).collect();
    if given.len() > 1 {
        wrong.push(format!("{} exclude each other: keep one", given.join(" and ")));
    }
    if r.auth.is_some() && r.host.is_none() && r.domain.is_none() {
        wrong.push("auth needs host or domain, with a label: host smtps://label@host".to_string());
    }
    if let (Some(Hosts::Urls(urls)), auth) = (&r.host, &r.auth) {
        for url in urls {
            if url.label.is_some() && auth.is_none() {
                wrong.push(format!("host {url}: the label needs auth <table>"));
            }
            if url.scheme == Scheme::SmtpNoTls && r.tls.is_some() {
                wrong
                    .push(format!("host {url} is never encrypted, and tls demands it: remove one"));
            }
        }
        if auth.is_some() && urls.iter().all(|u| u.label.is_none()) {
            wrong.push("auth needs a label in host: host smtps://label@host".to_string());
        }
    }
    let failed = !wrong.is_empty();
    for text in wrong {
        p.error_at(at.clone(), format!("relay: {text}"));
    }
    if failed {
        return Err(super::parse::Failed);
    }
    Ok(())
}

/// `host`: relay URLs, or a table of them.
fn hosts(p: &mut Parser<'_>) -> Parsed<Hosts> {
    let at = p.here();
    match table::reference(p, "host")? {
        TableRef::Named(name) => Ok(Hosts::Table(name)),
        TableRef::Inline(Entries::List(list)) => {
            let urls: Result<Vec<RelayUrl>, String> =
                list.iter().map(|t| scalar::relay_url(t)).collect();
            match urls {
                Ok(urls) => Ok(Hosts::Urls(urls)),
                Err(e) => p.fail_at(at, e),
            }
        }
        TableRef::Inline(Entries::Mapping(_)) => p.fail_at(
            at,
            "host takes relays alone; for relays by recipient domain write domain { a = relay }",
        ),
    }
}

/// `src`: addresses, or a table of them.
fn sources(p: &mut Parser<'_>) -> Parsed<Sources> {
    let at = p.here();
    match table::reference(p, "src")? {
        TableRef::Named(name) => Ok(Sources::Table(name)),
        TableRef::Inline(entries) => {
            let list = match &entries {
                Entries::List(list) => list.as_slice(),
                Entries::Mapping(_) => &[],
            };
            let addrs: Option<Vec<_>> = list.iter().map(|t| pattern::address(t)).collect();
            match addrs.filter(|a| !a.is_empty()) {
                Some(addrs) => Ok(Sources::Addrs(addrs)),
                None => p.fail_at(at, "src takes local addresses, such as src 192.0.2.1"),
            }
        }
    }
}

fn address(p: &mut Parser<'_>) -> Parsed<String> {
    let at = p.here();
    let text = p.name("an address")?;
    match Address::parse(text.as_bytes(), Charset::Utf8) {
        Ok(_) => Ok(text),
        Err(_) => p.fail_at(at, format!("\"{text}\" is not an address such as user@example.com")),
    }
}

/// `mda wrapper NAME COMMAND`, `mda limit KEY N ...`
pub(super) fn mda(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    if p.eat("wrapper") {
        let at = p.here();
        let name = p.name("the name of the wrapper")?;
        p.declares("wrapper", &name);
        if p.config.wrapper(&name).is_some() {
            return p.fail_at(
                at,
                format!("there is a wrapper \"{name}\" already: give this one another name"),
            );
        }
        let command = format(p, "the command", Place::Wrapper)?;
        p.push(Stmt::MdaWrapper(Wrapper { name, command }));
        return Ok(());
    }
    if !p.eat("limit") {
        return p.unexpected("mda has wrapper and limit");
    }
    let mut any = false;
    while !any || !p.at_end_of_line() {
        any = true;
        let key = p.name("the name of a limit")?;
        let (which, name) = match key.as_str() {
            "max-session" => (MdaLimit::MaxSession, "mda limit max-session"),
            "max-session-per-user" => {
                (MdaLimit::MaxSessionPerUser, "mda limit max-session-per-user")
            }
            "task-hiwat" => return refuse(p, "mda limit task-hiwat", "remove it"),
            "task-lowat" => return refuse(p, "mda limit task-lowat", "remove it"),
            "task-release" => return refuse(p, "mda limit task-release", "remove it"),
            _ => {
                let text = format!(
                    "no mda limit \"{key}\": there are max-session and max-session-per-user"
                );
                return p.fail(text);
            }
        };
        let n = p.number::<u32>(name, 1)?;
        p.push_single(
            Stmt::MdaLimit(which, n),
            name,
            |s| matches!(s, Stmt::MdaLimit(w, _) if *w == which),
        )?;
    }
    Ok(())
}

/// Checks what actions refer to.
pub(super) fn check(config: &Config, run: &mut Finished) {
    for s in &config.statements {
        let Stmt::Action(a) = &s.stmt else { continue };
        let mut missing = |kind: &str, name: &String, how: String| {
            let text = format!("action \"{}\": no {kind} \"{name}\": declare {how}", a.name);
            run.missing(kind, name, &s.at, text);
        };
        match &a.method {
            Method::Local(l) => {
                if let Some(w) = l.wrapper.as_ref().filter(|w| config.wrapper(w).is_none()) {
                    missing("wrapper", w, format!("mda wrapper \"{w}\" COMMAND"));
                }
            }
            Method::Relay(r) => {
                if let Some(n) = r.pki.as_ref().filter(|n| config.pki(n).is_none()) {
                    missing("pki", n, format!("pki {n} cert FILE and pki {n} key FILE"));
                }
                if let Some(n) = r.ca.as_ref().filter(|n| config.ca(Some(n)).is_none()) {
                    missing("ca", n, format!("ca {n} cert FILE"));
                }
            }
        }
    }
}

pub(super) fn uses<'c>(a: &'c Action, add: &mut dyn FnMut(&'c TableRef, Use)) {
    match &a.method {
        Method::Local(l) => {
            match &l.aliases {
                Some(Aliases::Alias(t)) => add(t, Use::Alias),
                Some(Aliases::Virtual(t)) => add(t, Use::Virtual),
                None => {}
            }
            if let Some(t) = &l.userbase {
                add(t, Use::UserInfo);
            }
        }
        Method::Relay(r) => {
            if let Some(t) = &r.domain {
                add(t, Use::RelayHostMap);
            }
            if let Some(t) = &r.helo_src {
                add(t, Use::AddrName);
            }
        }
    }
}

pub(super) fn print(a: &Action, out: &mut Printer) {
    out.word("action").text(&a.name);
    match &a.method {
        Method::Local(l) => print_local(l, out),
        Method::Relay(r) => print_relay(r, out),
    }
    if let Some(ttl) = a.ttl {
        out.word("ttl").delay(ttl);
    }
}

fn print_local(l: &Local, out: &mut Printer) {
    match &l.deliver {
        Deliver::Mbox => out.word("mbox"),
        Deliver::ExpandOnly => out.word("expand-only"),
        Deliver::ForwardOnly => out.word("forward-only"),
        Deliver::Mda(command) => out.word("mda").text(command.text()),
        Deliver::Maildir { path, junk } => {
            out.word("maildir");
            if let Some(path) = path {
                out.text(path.text());
            }
            out.flag(*junk, "junk")
        }
        Deliver::Lmtp { dest, rcpt_to } => {
            out.word("lmtp");
            match dest {
                LmtpDest::Unix(path) => out.text(path),
                LmtpDest::Tcp(host, port) => out.text(&format!("{host}:{port}")),
            };
            out.flag(*rcpt_to, "rcpt-to")
        }
    };
    match &l.aliases {
        Some(Aliases::Alias(t)) => out.word("alias").table(t),
        Some(Aliases::Virtual(t)) => out.word("virtual").table(t),
        None => out,
    };
    if let Some(t) = &l.userbase {
        out.word("userbase").table(t);
    }
    out.option("user", l.user.as_ref()).option("wrapper", l.wrapper.as_ref());
}

fn print_relay(r: &Relay, out: &mut Printer) {
    out.word("relay");
    if let Some(mx) = &r.backup {
        out.word("backup").option("mx", mx.as_ref());
    }
    match &r.host {
        Some(Hosts::Table(name)) => {
            out.word("host").named(name);
        }
        Some(Hosts::Urls(urls)) => {
            let urls = urls.iter().map(ToString::to_string).collect();
            out.word("host").table(&TableRef::Inline(Entries::List(urls)));
        }
        None => {}
    }
    if let Some(t) = &r.domain {
        out.word("domain").table(t);
    }
    if let Some(name) = &r.auth {
        out.word("auth").named(name);
    }
    match r.tls {
        Some(verify) => out.word("tls").flag(!verify, "no-verify"),
        None => out,
    };
    out.option("ca", r.ca.as_ref()).option("pki", r.pki.as_ref());
    out.option("ciphers", r.ciphers.as_ref()).protocols(r.protocols);
    out.option("helo", r.helo.as_ref());
    if let Some(t) = &r.helo_src {
        out.word("helo-src").table(t);
    }
    match &r.src {
        Some(Sources::Table(name)) => {
            out.word("src").named(name);
        }
        Some(Sources::Addrs(addrs)) => {
            let addrs = addrs.iter().map(ToString::to_string).collect();
            out.word("src").table(&TableRef::Inline(Entries::List(addrs)));
        }
        None => {}
    }
    out.option("mail-from", r.mail_from.as_ref());
}

pub(super) fn print_wrapper(w: &Wrapper, out: &mut Printer) {
    out.word("mda wrapper").text(&w.name).text(w.command.text());
}

pub(super) fn print_mda_limit(which: MdaLimit, n: u32, out: &mut Printer) {
    let name = match which {
        MdaLimit::MaxSession => "max-session",
        MdaLimit::MaxSessionPerUser => "max-session-per-user",
    };
    out.word("mda limit").word(name).number(n);
}
