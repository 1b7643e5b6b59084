//! `smtp ...` and `admd NAME`

use super::ast::*;
use super::lex::Token;
use super::listen::ciphers;
use super::parse::{Parsed, Parser};
use super::print::Printer;
use crate::proto::chars;

/// `admd NAME`
pub(super) fn admd(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let name = p.name("the authserv-id")?;
    if !name.bytes().all(chars::is_token) {
        return p.fail_at(
            at,
            format!("admd \"{name}\" has characters that an authserv-id cannot have"),
        );
    }
    p.push_single(Stmt::Admd(name), "admd", |s| matches!(s, Stmt::Admd(_)))
}

/// `smtp ciphers|limit|max-message-size|sub-addr-delim ...`
pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    if p.eat("ciphers") {
        let list = ciphers(p)?;
        return p.push_single(Stmt::SmtpCiphers(list), "smtp ciphers", |s| {
            matches!(s, Stmt::SmtpCiphers(_))
        });
    }
    if p.eat("max-message-size") {
        let at = p.here();
        let size = p.size("max-message-size")?;
        if size == 0 {
            return p.fail_at(at, "max-message-size 0 would refuse every message");
        }
        return p.push_single(Stmt::SmtpMaxMessageSize(size), "smtp max-message-size", |s| {
            matches!(s, Stmt::SmtpMaxMessageSize(_))
        });
    }
    if p.eat("sub-addr-delim") {
        let at = p.here();
        let sign = match p.peek() {
            // Signs that begin no word need no quotes: only one can be meant.
            Token::Sign(b) if b.is_ascii_graphic() => {
                let s = char::from(*b).to_string();
                p.advance();
                s
            }
            _ => p.name("one character")?,
        };
        let mut chars = sign.chars();
        let c = match (chars.next(), chars.next()) {
            (Some(c), None) if c.is_ascii_graphic() && c != '@' => c,
            _ => {
                return p.fail_at(
                    at,
                    format!(
                        "sub-addr-delim \"{sign}\" is not one printable character other than @"
                    ),
                )
            }
        };
        return p.push_single(Stmt::SmtpSubAddrDelim(c), "smtp sub-addr-delim", |s| {
            matches!(s, Stmt::SmtpSubAddrDelim(_))
        });
    }
    if !p.eat("limit") {
        return p.unexpected("smtp has ciphers, limit, max-message-size and sub-addr-delim");
    }
    limits(p)
}

/// `limit { max-mails N | max-rcpt N } ...`
fn limits(p: &mut Parser<'_>) -> Parsed<()> {
    let mut any = false;
    while !any || !p.at_end_of_line() {
        any = true;
        let (which, name) = if p.eat("max-mails") {
            (SmtpLimit::MaxMails, "smtp limit max-mails")
        } else if p.eat("max-rcpt") {
            (SmtpLimit::MaxRcpt, "smtp limit max-rcpt")
        } else {
            return p.unexpected("smtp limit has max-mails N and max-rcpt N");
        };
        let n = p.number::<u32>(name, 1)?;
        p.push_single(
            Stmt::SmtpLimit(which, n),
            name,
            |s| matches!(s, Stmt::SmtpLimit(w, _) if *w == which),
        )?;
    }
    Ok(())
}

pub(super) fn print_admd(name: &str, out: &mut Printer) {
    out.word("admd").text(name);
}

pub(super) fn print(s: &Stmt, out: &mut Printer) {
    out.word("smtp");
    match s {
        Stmt::SmtpCiphers(list) => out.word("ciphers").text(list),
        Stmt::SmtpMaxMessageSize(n) => out.word("max-message-size").number(n),
        Stmt::SmtpSubAddrDelim(c) => out.word("sub-addr-delim").text(&c.to_string()),
        Stmt::SmtpLimit(SmtpLimit::MaxMails, n) => out.word("limit max-mails").number(n),
        Stmt::SmtpLimit(SmtpLimit::MaxRcpt, n) => out.word("limit max-rcpt").number(n),
        _ => out,
    };
}
