//! `queue ...`, and what else the queue is told: `bounce`, `mta max-deferred`.

use std::time::Duration;

use super::ast::*;
use super::features::{refuse, refused_here};
use super::lex::Token;
use super::parse::{Parsed, Parser};
use super::print::Printer;

/// How many times senders can be warned.
const WARN_MAX: usize = 4;

/// `queue compression|directory|encryption|retry|ttl ...`
pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    if p.eat("compression") {
        return p.push_single(Stmt::QueueCompression, "queue compression", |s| {
            matches!(s, Stmt::QueueCompression)
        });
    }
    if p.eat("directory") {
        let path = p.absolute("the queue's directory")?;
        return p.push_single(Stmt::QueueDirectory(path), "queue directory", |s| {
            matches!(s, Stmt::QueueDirectory(_))
        });
    }
    if p.eat("encryption") {
        return encryption(p);
    }
    if p.eat("retry") {
        let (which, name) = if p.eat("local") {
            (Distance::Local, "queue retry local")
        } else if p.eat("remote") {
            (Distance::Remote, "queue retry remote")
        } else {
            return p.unexpected("queue retry has local and remote");
        };
        let base = p.delay(name, true)?;
        return p.push_single(
            Stmt::QueueRetry(which, base),
            name,
            |s| matches!(s, Stmt::QueueRetry(w, _) if *w == which),
        );
    }
    if p.eat("ttl") {
        let ttl = p.delay("queue ttl", true)?;
        return p.push_single(Stmt::QueueTtl(ttl), "queue ttl", |s| matches!(s, Stmt::QueueTtl(_)));
    }
    p.unexpected("queue has compression, directory, encryption, retry and ttl")
}

/// `queue encryption KEY`
fn encryption(p: &mut Parser<'_>) -> Parsed<()> {
    let from_elsewhere = p.at_end_of_line()
        || p.is(&Token::Sign(b'-'))
        || matches!(p.peek(), Token::Word(w) if w == "stdin");
    if from_elsewhere {
        let way_out =
            "write the key here, and let only root read this file (openssl rand -hex 32 makes one)";
        return refused_here(p, "queue encryption from stdin", way_out);
    }
    let at = p.here();
    let key = p.string("the key")?;
    let hex = key.len() == 64 && key.bytes().all(|b| b.is_ascii_hexdigit());
    if !hex && key.len() != 32 {
        let not = if key.len() == 64 { ", which are not all hexadecimal digits" } else { "" };
        let text = format!(
            "queue encryption: the key has {} characters{not}; it must have 32, or be 64 hexadecimal digits: make one with \"openssl rand -hex 32\"",
            key.len()
        );
        return p.fail_at(at, text);
    }
    p.push_single(Stmt::QueueEncryption(QueueKey(key)), "queue encryption", |s| {
        matches!(s, Stmt::QueueEncryption(_))
    })
}

/// The octets of a key that the parser has accepted: 64 hexadecimal digits are
/// decoded, 32 characters are taken as they are, as smtpd does.
pub(super) fn key_octets(text: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let bytes = text.as_bytes();
    if bytes.len() == 64 {
        for (out, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            *out = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
    } else {
        for (out, b) in key.iter_mut().zip(bytes) {
            *out = *b;
        }
    }
    key
}

/// `bounce warn-interval D [, D ...]`
pub(super) fn bounce(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    p.expect("warn-interval")?;
    let mut times: Vec<Duration> = Vec::new();
    loop {
        let at = p.here();
        let time = p.delay("warn-interval", true)?;
        if times.len() >= WARN_MAX {
            return p.fail_at(
                at,
                format!("warn-interval: at most {WARN_MAX} times: remove the others"),
            );
        }
        if times.last().is_some_and(|last| *last >= time) {
            return p.fail_at(at, "warn-interval: each time must be longer than the one before");
        }
        times.push(time);
        if p.at_end_of_line() {
            break;
        }
        // The comma may be missing, as in smtpd's lists.
        p.eat_sign(b',');
    }
    p.push_single(Stmt::BounceWarn(times), "bounce warn-interval", |s| {
        matches!(s, Stmt::BounceWarn(_))
    })
}

/// `mta max-deferred N`
pub(super) fn mta(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    if matches!(p.peek(), Token::Keyword("limit")) {
        return refuse(p, "mta limit", "remove it");
    }
    if !p.eat("max-deferred") {
        return p.unexpected("mta has max-deferred");
    }
    let n = p.number::<u32>("max-deferred", 0)?;
    p.push_single(Stmt::MtaMaxDeferred(n), "mta max-deferred", |s| {
        matches!(s, Stmt::MtaMaxDeferred(_))
    })
}

/// `scheduler limit ...`
pub(super) fn scheduler(p: &mut Parser<'_>) -> Parsed<()> {
    refuse(p, "scheduler limit", "remove it")
}

pub(super) fn print(s: &Stmt, out: &mut Printer) {
    out.word("queue");
    match s {
        Stmt::QueueCompression => out.word("compression"),
        Stmt::QueueDirectory(path) => out.word("directory").text(path),
        Stmt::QueueEncryption(key) => out.word("encryption").text(&key.0),
        Stmt::QueueRetry(Distance::Local, base) => out.word("retry local").delay(*base),
        Stmt::QueueRetry(Distance::Remote, base) => out.word("retry remote").delay(*base),
        Stmt::QueueTtl(ttl) => out.word("ttl").delay(*ttl),
        _ => out,
    };
}

pub(super) fn print_bounce(times: &[Duration], out: &mut Printer) {
    let times: Vec<String> = times.iter().map(|t| super::scalar::print_delay(*t)).collect();
    out.word("bounce warn-interval").word(&times.join(", "));
}

pub(super) fn print_max_deferred(n: u32, out: &mut Printer) {
    out.word("mta max-deferred").number(n);
}
