//! `match [conditions] action NAME` and `match [conditions] reject`
//!
//! Conditions stand in any order, one of each class, and all must hold; `!`
//! before one negates it.  The first rule that matches decides.

use super::ast::*;
use super::lex::Token;
use super::parse::{Parsed, Parser};
use super::print::Printer;
use super::table::{self, pattern, Use};
use super::Error;

const CONDITIONS: &str = "the conditions are auth, for, from, helo, mail-from, rcpt-to, tag and \
    tls, and a rule ends with action NAME or reject";

pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let (mut from, mut dest) = (None, None);
    let mut m = Match {
        from: Cond { not: false, is: From::Local },
        dest: Cond { not: false, is: For::Local },
        auth: None,
        helo: None,
        mail_from: None,
        rcpt_to: None,
        tag: None,
        tls: None,
        action: None,
    };
    loop {
        if p.eat("reject") {
            break;
        }
        if p.eat("action") {
            let at = p.here();
            let name = p.name("the name of an action")?;
            if !p.part && p.config.action(&name).is_none() && !p.is_broken("action", &name) {
                let text = format!(
                    "no action \"{name}\" above this line: declare it with action \"{name}\" ..."
                );
                return p.fail_at(at, text);
            }
            m.action = Some(name);
            break;
        }
        let not = p.eat_sign(b'!');
        if p.option("from")? {
            from = Some(Cond { not, is: origin(p)? });
        } else if p.option("for")? {
            dest = Some(Cond { not, is: destination(p)? });
        } else if p.option("auth")? {
            let is = if table::begins(p) || matches!(p.peek(), Token::Keyword("regex")) {
                Some(pattern(p, "auth")?)
            } else {
                None
            };
            m.auth = Some(Cond { not, is });
        } else if p.option("helo")? {
            m.helo = Some(Cond { not, is: pattern(p, "helo")? });
        } else if p.option("mail-from")? {
            m.mail_from = Some(Cond { not, is: pattern(p, "mail-from")? });
        } else if p.option("rcpt-to")? {
            m.rcpt_to = Some(Cond { not, is: pattern(p, "rcpt-to")? });
        } else if p.option("tag")? {
            m.tag = Some(Cond { not, is: pattern(p, "tag")? });
        } else if p.option("tls")? {
            m.tls = Some(Cond { not, is: () });
        } else {
            return p.unexpected(CONDITIONS);
        }
    }
    m.from = from.unwrap_or(m.from);
    m.dest = dest.unwrap_or(m.dest);
    p.push(Stmt::Match(Box::new(m)));
    Ok(())
}

/// What follows `from`.  `from auth` and `from mail-from` are the conditions
/// `auth` and `mail-from` of the same rule, so those cannot be given again.
fn origin(p: &mut Parser<'_>) -> Parsed<From> {
    let optional = |p: &mut Parser<'_>, what: &str| {
        if table::begins(p) || matches!(p.peek(), Token::Keyword("regex")) {
            pattern(p, what).map(Some)
        } else {
            Ok(None)
        }
    };
    if p.eat("any") {
        Ok(From::Any)
    } else if p.eat("local") {
        Ok(From::Local)
    } else if p.eat("socket") {
        Ok(From::Socket)
    } else if p.eat("src") {
        Ok(From::Src(pattern(p, "from src")?))
    } else if p.eat("rdns") {
        Ok(From::Rdns(optional(p, "from rdns")?))
    } else if p.option("auth")? {
        Ok(From::Auth(optional(p, "from auth")?))
    } else if p.option("mail-from")? {
        Ok(From::MailFrom(pattern(p, "from mail-from")?))
    } else {
        p.unexpected("from has any, auth, local, mail-from, rdns, socket and src")
    }
}

/// What follows `for`.
fn destination(p: &mut Parser<'_>) -> Parsed<For> {
    if p.eat("any") {
        Ok(For::Any)
    } else if p.eat("local") {
        Ok(For::Local)
    } else if p.eat("domain") {
        Ok(For::Domain(pattern(p, "for domain")?))
    } else if p.option("rcpt-to")? {
        Ok(For::RcptTo(pattern(p, "for rcpt-to")?))
    } else {
        p.unexpected("for has any, domain, local and rcpt-to")
    }
}

/// Checks that there are rules, and a listener for each tag that they name.
pub(super) fn check(config: &Config, end: Pos, errors: &mut Vec<Error>) {
    if config.rules().next().is_none() {
        let text =
            "no rules, nothing to do: add a line such as match from local for local action NAME";
        errors.push(Error { at: end, text: text.to_string() });
    }
    let tags: Vec<&String> = config
        .stmts()
        .filter_map(|s| match s {
            Stmt::Listen(l) => l.tag.as_ref(),
            Stmt::ListenSocket(l) => l.tag.as_ref(),
            _ => None,
        })
        .collect();
    for s in &config.statements {
        let Stmt::Match(m) = &s.stmt else { continue };
        let Some(Cond { not: false, is }) = &m.tag else { continue };
        let Pattern { regex: false, table: TableRef::Inline(Entries::List(list)) } = is else {
            continue;
        };
        if !list.iter().any(|t| tags.iter().any(|tag| tag.eq_ignore_ascii_case(t))) {
            let text = format!(
                "no listener has the tag \"{}\": add tag \"{}\" to a listen line",
                list.join("\", \""),
                list.first().map_or("", String::as_str)
            );
            errors.push(Error { at: s.at.clone(), text });
        }
    }
}

pub(super) fn uses<'c>(m: &'c Match, add: &mut dyn FnMut(&'c TableRef, Use)) {
    let mut pattern = |p: Option<&'c Pattern>, plain: Use| {
        if let Some(p) = p {
            add(&p.table, if p.regex { Use::Regex } else { plain });
        }
    };
    match &m.from.is {
        From::Src(p) => pattern(Some(p), Use::NetAddr),
        From::Rdns(p) => pattern(p.as_ref(), Use::Domain),
        From::Auth(p) => pattern(p.as_ref(), Use::Text),
        From::MailFrom(p) => pattern(Some(p), Use::MailAddr),
        From::Any | From::Local | From::Socket => {}
    }
    match &m.dest.is {
        For::Domain(p) => pattern(Some(p), Use::Domain),
        For::RcptTo(p) => pattern(Some(p), Use::MailAddr),
        For::Any | For::Local => {}
    }
    pattern(m.auth.as_ref().and_then(|c| c.is.as_ref()), Use::Text);
    pattern(m.helo.as_ref().map(|c| &c.is), Use::Domain);
    pattern(m.mail_from.as_ref().map(|c| &c.is), Use::MailAddr);
    pattern(m.rcpt_to.as_ref().map(|c| &c.is), Use::MailAddr);
    pattern(m.tag.as_ref().map(|c| &c.is), Use::Text);
}

pub(super) fn print(m: &Match, out: &mut Printer) {
    let sign = |not: bool, word: &str| if not { format!("!{word}") } else { word.to_string() };
    out.word("match").word(&sign(m.from.not, "from"));
    match &m.from.is {
        From::Any => out.word("any"),
        From::Local => out.word("local"),
        From::Socket => out.word("socket"),
        From::Src(p) => out.word("src").pattern(p),
        From::Rdns(None) => out.word("rdns"),
        From::Rdns(Some(p)) => out.word("rdns").pattern(p),
        From::Auth(None) => out.word("auth"),
        From::Auth(Some(p)) => out.word("auth").pattern(p),
        From::MailFrom(p) => out.word("mail-from").pattern(p),
    };
    out.word(&sign(m.dest.not, "for"));
    match &m.dest.is {
        For::Any => out.word("any"),
        For::Local => out.word("local"),
        For::Domain(p) => out.word("domain").pattern(p),
        For::RcptTo(p) => out.word("rcpt-to").pattern(p),
    };
    if let Some(c) = &m.auth {
        out.word(&sign(c.not, "auth"));
        if let Some(p) = &c.is {
            out.pattern(p);
        }
    }
    for (c, word) in
        [(&m.helo, "helo"), (&m.mail_from, "mail-from"), (&m.rcpt_to, "rcpt-to"), (&m.tag, "tag")]
    {
        if let Some(c) = c {
            out.word(&sign(c.not, word)).pattern(&c.is);
        }
    }
    if let Some(c) = &m.tls {
        out.word(&sign(c.not, "tls"));
    }
    match &m.action {
        Some(name) => out.word("action").text(name),
        None => out.word("reject"),
    };
}
