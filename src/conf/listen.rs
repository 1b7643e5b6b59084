//! `listen on INTERFACE ...` and `listen on socket ...`
//!
//! Options stand in any order, each at most once (`pki` up to [`PKI_MAX`]
//! times).  What an option of SMTP would do for IMAP is nothing, so it is
//! refused there.

use super::ast::*;
use super::features::{refused, refused_here};
use super::lex::Token;
use super::parse::{Finished, Parsed, Parser};
use super::print::Printer;
use super::table;
use super::{scalar, Error};

/// How many certificates a listener chooses from.
const PKI_MAX: usize = 32;
/// The longest tag.
const TAG_MAX: usize = 31;
const OPTIONS: &str = "the options are auth, auth-optional, ca, ciphers, hostname, hostnames, \
    imap, imaps, inet4, inet6, lmtp, mask-src, no-dsn, pki, port, protocols, received-auth, \
    senders, smtps, tag, tls and tls-require";

pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    p.expect("on")?;
    if p.eat("socket") {
        return socket(p);
    }
    let on = p.name("an interface, an address or socket")?;
    let mut l = Listen {
        on,
        service: Service::Smtp,
        family: None,
        port: 0,
        tls: Tls::None,
        verify: false,
        pki: Vec::new(),
        ca: None,
        auth: None,
        ciphers: None,
        protocols: None,
        hostname: None,
        hostnames: None,
        mask_src: false,
        received_auth: false,
        no_dsn: false,
        senders: None,
        tag: None,
    };
    let mut port = None;
    // The names of the options that mean nothing for IMAP.
    let mut smtp_only = Vec::new();
    while !p.at_end_of_line() {
        option(p, &mut l, &mut port, &mut smtp_only)?;
    }
    l.port = port.unwrap_or(match (l.service, l.tls) {
        (Service::Smtp, Tls::Implicit) => 465,
        (Service::Smtp, _) => 25,
        (Service::Lmtp, _) => 24,
        (Service::Imap, Tls::Implicit) => 993,
        (Service::Imap, _) => 143,
    });
    rules(p, &mut l, &smtp_only)?;
    p.push(Stmt::Listen(l));
    Ok(())
}

/// One option.
fn option(
    p: &mut Parser<'_>,
    l: &mut Listen,
    port: &mut Option<u16>,
    smtp_only: &mut Vec<&'static str>,
) -> Parsed<()> {
    let word: &str = match p.peek() {
        Token::Keyword(k) => k,
        Token::Word(w) if w == "imap" => "imap",
        Token::Word(w) if w == "imaps" => "imaps",
        _ => return p.unexpected(OPTIONS),
    };
    match word {
        "port" => {
            p.option("port")?;
            *port = Some(p.port()?);
        }
        "inet4" | "inet6" => {
            p.once("inet4 or inet6")?;
            p.advance();
            l.family = Some(if word == "inet4" { Family::Inet4 } else { Family::Inet6 });
        }
        "tls" => start_tls(p, l, Tls::Offered)?,
        "tls-require" => start_tls(p, l, Tls::Required)?,
        "smtps" => {
            service(p, l, Service::Smtp)?;
            start_tls(p, l, Tls::Implicit)?;
        }
        "imaps" => {
            service(p, l, Service::Imap)?;
            start_tls(p, l, Tls::Implicit)?;
        }
        "imap" => {
            service(p, l, Service::Imap)?;
            p.advance();
        }
        "lmtp" => {
            service(p, l, Service::Lmtp)?;
            p.advance();
        }
        "pki" => {
            p.advance();
            let name = super::pki::name(p)?;
            if l.pki.len() >= PKI_MAX {
                return p.fail(format!("more than {PKI_MAX} pki on one listener"));
            }
            if l.pki.contains(&name) {
                return p
                    .fail(format!("pki \"{name}\" is given twice: once is enough, remove one"));
            }
            l.pki.push(name);
        }
        "ca" => {
            p.option("ca")?;
            l.ca = Some(super::pki::name(p)?);
        }
        "auth" | "auth-optional" => {
            p.once("auth or auth-optional")?;
            p.advance();
            if !table::begins(p) {
                let way_out = "name a table of credentials, such as auth <credentials>";
                refused(p, "listen on auth without a table", way_out);
                return Ok(());
            }
            let table = table::named_reference(p, word)?;
            l.auth = Some(Auth { required: word == "auth", table });
        }
        "ciphers" => {
            p.option("ciphers")?;
            l.ciphers = Some(ciphers(p)?);
        }
        "protocols" => {
            p.option("protocols")?;
            l.protocols = Some(protocols(p)?);
        }
        "hostname" => {
            p.option("hostname")?;
            smtp_only.push("hostname");
            l.hostname = Some(p.hostname("hostname")?);
        }
        "hostnames" => {
            p.option("hostnames")?;
            smtp_only.push("hostnames");
            l.hostnames = Some(table::named_reference(p, "hostnames")?);
        }
        "mask-src" => {
            p.option("mask-src")?;
            smtp_only.push("mask-src");
            l.mask_src = true;
        }
        "received-auth" => {
            p.option("received-auth")?;
            smtp_only.push("received-auth");
            l.received_auth = true;
        }
        "no-dsn" => {
            p.option("no-dsn")?;
            smtp_only.push("no-dsn");
            l.no_dsn = true;
        }
        "senders" => {
            p.option("senders")?;
            smtp_only.push("senders");
            l.senders = Some(table::named_reference(p, "senders")?);
            if matches!(p.peek(), Token::Keyword("masquerade")) {
                refused(p, "listen on senders masquerade", "remove the word masquerade");
                p.advance();
            }
        }
        "tag" => {
            p.option("tag")?;
            smtp_only.push("tag");
            l.tag = Some(tag(p)?);
        }
        "filter" => {
            refused(p, "listen on filter", "remove the filter from the listener");
            p.advance();
            skip_filter(p)?;
        }
        "proxy-v2" => {
            refused(p, "listen on proxy-v2", "remove it");
            p.advance();
        }
        _ => return p.unexpected(OPTIONS),
    }
    Ok(())
}

fn service(p: &mut Parser<'_>, l: &mut Listen, service: Service) -> Parsed<()> {
    p.once("smtps, imap, imaps or lmtp")?;
    l.service = service;
    Ok(())
}

fn start_tls(p: &mut Parser<'_>, l: &mut Listen, tls: Tls) -> Parsed<()> {
    p.once("tls, tls-require, smtps or imaps")?;
    p.advance();
    l.tls = tls;
    if tls != Tls::Offered {
        l.verify = p.eat("verify");
    }
    Ok(())
}

/// A cipher list; the TLS library judges it when it is loaded.
pub(super) fn ciphers(p: &mut Parser<'_>) -> Parsed<String> {
    let at = p.here();
    let list = p.name("a list of ciphers")?;
    if !scalar::is_cipher_list(&list) {
        return p.fail_at(at, format!("ciphers \"{list}\": write one list without blanks"));
    }
    Ok(list)
}

pub(super) fn protocols(p: &mut Parser<'_>) -> Parsed<Protocols> {
    let at = p.here();
    let text = p.name("TLS versions")?;
    match scalar::protocols(&text) {
        Ok(v) => Ok(v),
        Err(e) => p.fail_at(at, format!("protocols: {e}")),
    }
}

fn tag(p: &mut Parser<'_>) -> Parsed<String> {
    let at = p.here();
    let tag = p.name("a tag")?;
    if tag.len() > TAG_MAX {
        return p.fail_at(at, format!("tag \"{tag}\" is longer than {TAG_MAX} bytes: shorten it"));
    }
    Ok(tag)
}

/// `"name"`, `{ "a", "b" }` after `filter`.
pub(super) fn skip_filter(p: &mut Parser<'_>) -> Parsed<()> {
    if !p.eat_sign(b'{') {
        return p.string("the name of a filter").map(|_| ());
    }
    while !p.eat_sign(b'}') {
        if p.is(&Token::End) {
            return p.unexpected("the list of filters is not closed by }");
        }
        p.advance();
    }
    Ok(())
}

/// `listen on socket [mask-src] [no-dsn] [tag NAME]`
fn socket(p: &mut Parser<'_>) -> Parsed<()> {
    let mut l = ListenSocket::default();
    while !p.at_end_of_line() {
        if p.option("mask-src")? {
            l.mask_src = true;
        } else if p.option("no-dsn")? {
            l.no_dsn = true;
        } else if p.option("tag")? {
            l.tag = Some(tag(p)?);
        } else if matches!(p.peek(), Token::Keyword("filter")) {
            let way_out = "remove the filter from the listener";
            return refused_here(p, "listen on socket filter", way_out);
        } else {
            return p.unexpected("the options of the socket are mask-src, no-dsn and tag");
        }
    }
    p.push_single(Stmt::ListenSocket(l), "the socket", |s| matches!(s, Stmt::ListenSocket(_)))
}

/// What options need each other, and exclude each other.
fn rules(p: &mut Parser<'_>, l: &mut Listen, smtp_only: &[&'static str]) -> Parsed<()> {
    let at = p.statement.clone();
    let name = match l.service {
        Service::Smtp => "smtp",
        Service::Lmtp => "lmtp",
        Service::Imap => "imap",
    };
    let mut wrong = Vec::new();
    if l.tls == Tls::None {
        for (given, what) in [
            (!l.pki.is_empty(), "pki"),
            (l.ca.is_some(), "ca"),
            (l.ciphers.is_some(), "ciphers"),
            (l.protocols.is_some(), "protocols"),
        ] {
            if given {
                wrong.push(format!(
                    "{what} without TLS does nothing: add tls, tls-require or smtps, or remove it"
                ));
            }
        }
        if l.auth.is_some() && l.service != Service::Imap {
            wrong.push(
                "auth without TLS would show passwords: add tls, tls-require or smtps, and pki"
                    .to_string(),
            );
        }
    }
    if l.ca.is_some() && !l.verify && l.tls != Tls::None {
        l.ca = None;
        wrong.push(
            "ca does nothing without verify: write tls-require verify or smtps verify".to_string(),
        );
    }
    if l.auth.is_none() {
        for (given, what) in [(l.senders.is_some(), "senders"), (l.received_auth, "received-auth")]
        {
            if given {
                wrong.push(format!(
                    "{what} without auth does nothing: add auth <table> or remove it"
                ));
            }
        }
    }
    if l.service == Service::Imap {
        for what in smtp_only {
            wrong.push(format!("{what} means nothing for imap: remove it"));
        }
        if !matches!(l.tls, Tls::Required | Tls::Implicit) {
            wrong.push(
                "imap takes no login without TLS: write imap tls-require, or imaps, and pki"
                    .to_string(),
            );
        }
        // An `auth` without a table has been refused already.
        let refused = p.seen("auth or auth-optional") && l.auth.is_none();
        if !refused && !l.auth.as_ref().is_some_and(|a| a.required) {
            wrong.push("imap needs a table of credentials: write auth <table>".to_string());
        }
    }
    let failed = !wrong.is_empty();
    for text in wrong {
        p.error_at(at.clone(), format!("listen on {} ({name}): {text}", l.on));
    }
    // Without a name it is the certificate for every name; check() asks for it.
    if !failed && l.tls != Tls::None && l.pki.is_empty() {
        l.pki.push("*".to_string());
    }
    Ok(())
}

/// Checks what listeners refer to, and that no two are the same.
pub(super) fn check(config: &Config, run: &mut Finished) {
    let mut earlier: Vec<(&Pos, &Listen)> = Vec::new();
    for s in &config.statements {
        let Stmt::Listen(l) = &s.stmt else { continue };
        let on = &l.on;
        for name in &l.pki {
            if config.pki(name).is_some() {
                continue;
            }
            let text = if name == "*" {
                "TLS needs a certificate: add pki NAME, and declare pki NAME cert FILE, pki NAME key FILE".to_string()
            } else {
                format!("no pki \"{name}\": declare pki {name} cert FILE and pki {name} key FILE")
            };
            run.missing("pki", name, &s.at, format!("listen on {on}: {text}"));
        }
        if let Some(name) = l.ca.as_ref().filter(|n| config.ca(Some(n)).is_none()) {
            let text = format!("listen on {on}: no ca \"{name}\": declare ca {name} cert FILE");
            run.missing("ca", name, &s.at, text);
        }
        if l.verify && config.ca(l.ca.as_deref()).is_none() && l.ca.is_none() {
            let text = format!(
                "listen on {on}: verify needs somebody who vouches for clients: add ca NAME, \
                 and declare ca NAME cert FILE"
            );
            run.errors.push(Error { at: s.at.clone(), text });
        }
        let twin = earlier.iter().find(|(_, e)| {
            l.port != 0
                && e.port == l.port
                && e.on == l.on
                && (e.family == l.family || e.family.is_none() || l.family.is_none())
        });
        if let Some((at, _)) = twin {
            let port = l.port;
            let text = format!(
                "listen on {on} port {port} is there already at {at}: remove one or change its port"
            );
            run.errors.push(Error { at: s.at.clone(), text });
        }
        earlier.push((&s.at, l));
    }
}

pub(super) fn print(l: &Listen, out: &mut Printer) {
    out.word("listen on").text(&l.on);
    match l.family {
        Some(Family::Inet4) => out.word("inet4"),
        Some(Family::Inet6) => out.word("inet6"),
        None => out,
    };
    let word = match (l.service, l.tls) {
        (Service::Smtp, Tls::Implicit) => Some("smtps"),
        (Service::Smtp, _) => None,
        (Service::Imap, Tls::Implicit) => Some("imaps"),
        (Service::Imap, _) => Some("imap"),
        (Service::Lmtp, _) => Some("lmtp"),
    };
    match (word, l.tls) {
        (Some(w @ ("smtps" | "imaps")), _) => out.word(w).flag(l.verify, "verify"),
        (w, tls) => {
            out.flag(w.is_some(), w.unwrap_or_default());
            match tls {
                Tls::Offered => out.word("tls"),
                Tls::Required => out.word("tls-require").flag(l.verify, "verify"),
                Tls::None | Tls::Implicit => out,
            }
        }
    };
    out.word("port").number(l.port);
    for name in &l.pki {
        out.word("pki").text(name);
    }
    out.option("ca", l.ca.as_ref());
    if let Some(auth) = &l.auth {
        out.word(if auth.required { "auth" } else { "auth-optional" }).named(&auth.table);
    }
    out.option("ciphers", l.ciphers.as_ref()).protocols(l.protocols);
    out.option("hostname", l.hostname.as_ref());
    if let Some(t) = &l.hostnames {
        out.word("hostnames").named(t);
    }
    out.flag(l.mask_src, "mask-src")
        .flag(l.received_auth, "received-auth")
        .flag(l.no_dsn, "no-dsn");
    if let Some(t) = &l.senders {
        out.word("senders").named(t);
    }
    out.option("tag", l.tag.as_ref());
}

pub(super) fn print_socket(l: &ListenSocket, out: &mut Printer) {
    out.word("listen on socket").flag(l.mask_src, "mask-src").flag(l.no_dsn, "no-dsn");
    out.option("tag", l.tag.as_ref());
}
