//! `pki NAME ...` and `ca NAME cert FILE`

use super::ast::*;
use super::features;
use super::parse::{Finished, Parsed, Parser};
use super::print::Printer;
use super::scalar;

/// The name of a pki or ca: `*`, or a host name, in lower case.
pub(super) fn name(p: &mut Parser<'_>) -> Parsed<String> {
    // An unquoted asterisk is no word, but means only one thing here.
    if p.eat_sign(b'*') {
        return Ok("*".to_string());
    }
    let at = p.here();
    let name = p.name("a name: a host name or *")?.to_ascii_lowercase();
    if name != "*" && !scalar::is_hostname(&name) {
        return p.fail_at(at, format!("\"{name}\" is neither a host name nor *"));
    }
    Ok(name)
}

/// `pki NAME [cert FILE] [key FILE] [dhe none|legacy|auto] ...`
///
/// Several statements of one name are one, at the place of the first.
pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let name = name(p)?;
    p.declares("pki", &name);
    let (mut cert, mut key) = (None, None);
    if p.at_end_of_line() {
        return p.unexpected("pki has cert FILE, key FILE or dhe none, auto or legacy");
    }
    while !p.at_end_of_line() {
        if p.option("cert")? {
            cert = Some(p.absolute("the certificate's path")?);
        } else if p.option("key")? {
            key = Some(p.absolute("the key's path")?);
        } else if p.option("dhe")? {
            // Elliptic curves are all that is offered.
            for (word, name) in [("auto", "pki dhe auto"), ("legacy", "pki dhe legacy")] {
                if p.eat(word) {
                    return features::refused_here(p, name, "clients use ECDHE: remove it");
                }
            }
            if !p.eat("none") {
                return p.unexpected("dhe is none, auto or legacy");
            }
        } else {
            return p.unexpected("pki has cert FILE, key FILE or dhe none, auto or legacy");
        }
    }
    let at = p.statement.clone();
    if p.config.pki(&name).is_none() {
        let name = name.clone();
        p.push(Stmt::Pki(Pki { name, cert: String::new(), key: None }));
    }
    let mut twice = None;
    for s in &mut p.config.statements {
        if let Stmt::Pki(old) = &mut s.stmt {
            if old.name != name {
                continue;
            }
            if let Some(cert) = cert.take() {
                if !old.cert.is_empty() {
                    twice = Some("cert");
                }
                old.cert = cert;
            }
            if let Some(key) = key.take() {
                if old.key.is_some() {
                    twice = Some("key");
                }
                old.key = Some(key);
            }
        }
    }
    match twice {
        Some(what) => {
            p.fail_at(at, format!("pki {name} has a {what} already: remove one of the two"))
        }
        None => Ok(()),
    }
}

/// `ca NAME cert FILE`
pub(super) fn ca(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let name = name(p)?;
    p.declares("ca", &name);
    if p.config.cas().any(|c| c.name == name) {
        return p
            .fail_at(at, format!("there is a ca \"{name}\" already: give this one another name"));
    }
    p.expect("cert")?;
    let cert = p.absolute("the path of the certificates")?;
    p.push(Stmt::Ca(Ca { name, cert }));
    Ok(())
}

/// Checks that each pki has both halves.
pub(super) fn check(config: &Config, run: &mut Finished) {
    for s in &config.statements {
        let Stmt::Pki(pki) = &s.stmt else { continue };
        let missing = match (pki.cert.is_empty(), pki.key.is_none()) {
            (true, true) => "cert and key",
            (true, false) => "cert",
            (false, true) => "key",
            (false, false) => continue,
        };
        let name = &pki.name;
        let first = missing.split(' ').next().unwrap_or(missing);
        let text = format!("pki {name} has no {missing}: add pki {name} {first} FILE");
        run.missing("pki", name, &s.at, text);
    }
}

pub(super) fn print(p: &Pki, out: &mut Printer) {
    out.word("pki").text(&p.name).word("cert").text(&p.cert);
    if out.sees_keys() {
        out.option("key", p.key.as_ref());
    }
}

pub(super) fn print_ca(c: &Ca, out: &mut Printer) {
    out.word("ca").text(&c.name).word("cert").text(&c.cert);
}
