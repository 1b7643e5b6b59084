//! `table NAME ...`, and tables where other statements ask for one.
//!
//! What a table is asked for decides what may stand in it: entries in the
//! configuration are checked here, when it is read; those of files by whoever
//! reads the files, with the same list of uses ([`Config::table_uses`]).

use super::ast::*;
use super::features::refused_here;
use super::lex::Token;
use super::parse::{Parsed, Parser};
use super::print::Printer;
use super::{scalar, Error};
use crate::proto::pattern::{self as patterns, Network};

/// What a table is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// Local part to targets.
    Alias,
    /// Address, local part or domain to targets.
    Virtual,
    /// User to password hash.
    Credentials,
    /// Label to `user:password`.
    RelayCredentials,
    /// Domains, with `*`.
    Domain,
    /// Networks.
    NetAddr,
    /// User to uid, gid and home.
    UserInfo,
    /// Local addresses.
    Source,
    /// Addresses, local parts, `@domain`, `@`.
    MailAddr,
    /// User to a list of the same.
    MailAddrMap,
    /// Local address to host name.
    AddrName,
    /// Relay URLs.
    RelayHost,
    /// Domain to relay URL.
    RelayHostMap,
    /// User names, tags.
    Text,
    /// Regular expressions.
    Regex,
}

impl Use {
    /// What it is called in messages.
    pub fn name(self) -> &'static str {
        match self {
            Use::Alias => "aliases",
            Use::Virtual => "virtual aliases",
            Use::Credentials => "credentials",
            Use::RelayCredentials => "relay credentials",
            Use::Domain => "domains",
            Use::NetAddr => "networks",
            Use::UserInfo => "users",
            Use::Source => "source addresses",
            Use::MailAddr => "mail addresses",
            Use::MailAddrMap => "users and their senders",
            Use::AddrName => "addresses and their names",
            Use::RelayHost => "relay hosts",
            Use::RelayHostMap => "domains and their relay hosts",
            Use::Text => "words",
            Use::Regex => "regular expressions",
        }
    }

    /// True if each key needs a value.
    pub fn is_mapping(self) -> bool {
        matches!(
            self,
            Use::Alias
                | Use::Virtual
                | Use::Credentials
                | Use::RelayCredentials
                | Use::UserInfo
                | Use::MailAddrMap
                | Use::AddrName
                | Use::RelayHostMap
        )
    }

    /// True if values make no sense.
    pub fn is_list(self) -> bool {
        matches!(self, Use::NetAddr | Use::Source | Use::RelayHost | Use::Regex | Use::Domain)
    }

    /// Checks one entry; the error is for people.
    pub fn check(self, key: &str, value: Option<&str>) -> Result<(), String> {
        match (self, value) {
            // `local` is the socket and the daemon itself.
            (Use::NetAddr, _) if key == "local" => Ok(()),
            (Use::NetAddr, _) => Network::parse(key).map(|_| ()).ok_or_else(|| {
                format!("\"{key}\" is not an address or network such as 192.0.2.0/24")
            }),
            (Use::Source, _) => patterns::address(key)
                .map(|_| ())
                .ok_or_else(|| format!("\"{key}\" is not an address")),
            (Use::RelayHost, _) => scalar::relay_url(key).map(|_| ()),
            (Use::RelayHostMap, Some(v)) => scalar::relay_url(v).map(|_| ()),
            (Use::AddrName, Some(v)) => {
                if patterns::address(key).is_none() {
                    return Err(format!("\"{key}\" is not an address"));
                }
                if !scalar::is_hostname(v) {
                    return Err(format!("\"{v}\" is not a host name"));
                }
                Ok(())
            }
            (Use::Regex, _) => patterns::regex(key).map(|_| ()),
            (Use::RelayCredentials, Some(v)) => match v.split_once(':') {
                Some((user, _)) if !user.is_empty() => Ok(()),
                _ => Err(format!("the value of \"{key}\" is not user:password")),
            },
            (_, None) if self.is_mapping() => Err(format!("\"{key}\" has no value")),
            _ => Ok(()),
        }
    }
}

/// `table NAME [type:]PATH`, `table NAME { ... }`
pub(super) fn parse(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let name = p.name("the name of the table")?;
    p.declares("table", &name);
    if p.config.table(&name).is_some() {
        return p.fail_at(
            at,
            format!("there is a table \"{name}\" already: give this one another name"),
        );
    }
    let kind = if p.is(&Token::Sign(b'{')) {
        TableKind::Inline(entries(p)?)
    } else if p.part && p.eat("elsewhere") {
        TableKind::Elsewhere
    } else {
        source(p, &name)?
    };
    p.push(Stmt::Table(Table { name, kind }));
    Ok(())
}

fn source(p: &mut Parser<'_>, name: &str) -> Parsed<TableKind> {
    let at = p.here();
    let text = match p.peek() {
        Token::Word(s) | Token::Quoted(s) => s.clone(),
        _ => {
            return p
                .unexpected(&format!("table {name} is file:/path, passwd:/path or {{ entries }}"));
        }
    };
    let (kind, path) = match text.split_once(':') {
        _ if text.starts_with('/') => ("file", text.as_str()),
        Some(found) => found,
        None => {
            return p.fail(format!(
                "table \"{text}\": write file:/path, passwd:/path or {{ entries }}"
            ));
        }
    };
    match kind {
        "file" | "passwd" => {}
        "db" => return refused_here(p, "table db", "write file: and give the text file"),
        _ => {
            let way_out = "write its entries into a file, and file:/path";
            return refused_here(p, "table external", way_out);
        }
    }
    p.advance();
    if !path.starts_with('/') {
        return p.fail_at(at, format!("table {name}: the path \"{path}\" must begin with /"));
    }
    let path = path.to_string();
    Ok(if kind == "passwd" { TableKind::Passwd(path) } else { TableKind::File(path) })
}

/// `{ a, b ... }` or `{ k = v, ... }`, separated by commas, line ends or both.
fn entries(p: &mut Parser<'_>) -> Parsed<Entries> {
    let opened = p.here();
    p.advance();
    let mut list = Vec::new();
    let mut pairs = Vec::new();
    loop {
        while p.is(&Token::Newline) || p.is(&Token::Sign(b',')) {
            p.advance();
        }
        if p.eat_sign(b'}') {
            break;
        }
        // A statement's keyword at the place of an entry: the brace is missing.
        let statement = matches!(
            p.peek(),
            Token::End | Token::Keyword("action" | "listen" | "match" | "pki" | "table" | "queue")
        );
        if statement {
            p.at_statement = true;
            return p.fail_at(opened, "the { opened here is not closed by }");
        }
        let at = p.here();
        let key = p.string("an entry")?;
        let mapped = p.eat_sign(b'=') || {
            let arrow = p.is(&Token::Arrow);
            if arrow {
                p.advance();
            }
            arrow
        };
        if mapped {
            p.skip_newlines();
            let value = p.string("the value of the entry")?;
            pairs.push((key, value));
        } else {
            list.push(key);
        }
        if !pairs.is_empty() && !list.is_empty() {
            return p.fail_at(at, "a table has keys alone or keys with values, not both");
        }
    }
    if pairs.is_empty() && list.is_empty() {
        return p.fail_at(opened, "a table with no entries: add one, or use a file");
    }
    Ok(if pairs.is_empty() { Entries::List(list) } else { Entries::Mapping(pairs) })
}

/// True where a table can begin.
pub(super) fn begins(p: &Parser<'_>) -> bool {
    matches!(
        p.peek(),
        Token::Sign(b'<' | b'{') | Token::Word(_) | Token::Quoted(_) | Token::Number(..)
    )
}

/// `<name>`, one string, or entries in braces.
pub(super) fn reference(p: &mut Parser<'_>, what: &str) -> Parsed<TableRef> {
    match p.peek() {
        Token::Sign(b'<') => {
            p.advance();
            let at = p.here();
            let name = p.name("the name of a table")?;
            if !p.eat_sign(b'>') {
                return p.unexpected(&format!("expected > after the table's name <{name}"));
            }
            if !p.part && p.config.table(&name).is_none() && !p.is_broken("table", &name) {
                return p.fail_at(
                    at,
                    format!("no table <{name}> above this line: declare it with table {name} ..."),
                );
            }
            Ok(TableRef::Named(name))
        }
        Token::Sign(b'{') => Ok(TableRef::Inline(entries(p)?)),
        _ => {
            let one = p.string(&format!("{what}: <table>, a text or {{ entries }}"))?;
            Ok(TableRef::Inline(Entries::List(vec![one])))
        }
    }
}

/// A mapping that another process asks lookup for: entries written in place
/// become a table with a name, so that those who only refer to it do not see
/// them.
pub(super) fn named_reference(p: &mut Parser<'_>, what: &str) -> Parsed<String> {
    let at = p.here();
    match reference(p, what)? {
        TableRef::Named(name) => Ok(name),
        TableRef::Inline(entries @ Entries::Mapping(_)) => {
            let count = p.config.tables().count();
            let free = |n: &usize| p.config.table(&format!("_{n}")).is_none();
            let n = (1..=count.saturating_add(1)).find(free).unwrap_or_default();
            let name = format!("_{n}");
            p.push(Stmt::Table(Table { name: name.clone(), kind: TableKind::Inline(entries) }));
            Ok(name)
        }
        TableRef::Inline(Entries::List(_)) => p.fail_at(
            at,
            format!("{what} needs keys with values: write <table> or {{ key = value }}"),
        ),
    }
}

/// `[regex] TABLE`
pub(super) fn pattern(p: &mut Parser<'_>, what: &str) -> Parsed<Pattern> {
    let regex = p.eat("regex");
    Ok(Pattern { regex, table: reference(p, what)? })
}

impl Config {
    /// Every table that a statement asks something of, and what.
    pub fn table_uses(&self) -> Vec<(&Pos, &TableRef, Use)> {
        let mut uses = Vec::new();
        for s in &self.statements {
            let mut add = |t, u| uses.push((&s.at, t, u));
            match &s.stmt {
                Stmt::Action(a) => super::action::uses(a, &mut add),
                Stmt::Match(m) => super::matches::uses(m, &mut add),
                _ => {}
            }
        }
        uses
    }

    /// The tables that statements ask for by name alone, and what they hold.
    fn named_uses<'c>(&'c self) -> Vec<(&'c Pos, &'c str, Use)> {
        let mut found = Vec::new();
        for s in &self.statements {
            let mut add = |name: Option<&'c String>, u| {
                found.extend(name.map(|n| (&s.at, n.as_str(), u)));
            };
            match &s.stmt {
                Stmt::Listen(l) => {
                    add(l.auth.as_ref().map(|a| &a.table), Use::Credentials);
                    add(l.hostnames.as_ref(), Use::AddrName);
                    add(l.senders.as_ref(), Use::MailAddrMap);
                }
                Stmt::Action(Action { method: Method::Relay(r), .. }) => {
                    add(r.auth.as_ref(), Use::RelayCredentials);
                    if let Some(Hosts::Table(t)) = &r.host {
                        add(Some(t), Use::RelayHost);
                    }
                    if let Some(Sources::Table(t)) = &r.src {
                        add(Some(t), Use::Source);
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// True if passwords or their hashes are in the table.
    pub fn is_secret_table(&self, name: &str) -> bool {
        let secret = |u: Use| matches!(u, Use::Credentials | Use::RelayCredentials);
        self.named_uses().iter().any(|(_, n, u)| *n == name && secret(*u))
            || matches!(self.table(name).map(|t| &t.kind), Some(TableKind::Passwd(_)))
    }

    /// True if such a table stands in the configuration itself.
    pub fn inline_secrets(&self) -> bool {
        self.tables()
            .any(|t| matches!(t.kind, TableKind::Inline(_)) && self.is_secret_table(&t.name))
    }

    /// Checks an entry of a named table's file for everything that the table is
    /// asked for; the error is for people.
    pub fn check_entry(uses: &[Use], key: &str, value: Option<&str>) -> Result<(), String> {
        uses.iter().try_for_each(|u| {
            u.check(key, value).map_err(|why| format!("used for {}: {why}", u.name()))
        })
    }

    /// What a named table is asked for.
    pub fn uses_of(&self, name: &str) -> Vec<Use> {
        let mut found: Vec<Use> = Vec::new();
        for (_, table, u) in self.table_uses() {
            if matches!(table, TableRef::Named(n) if n == name) && !found.contains(&u) {
                found.push(u);
            }
        }
        for (_, table, u) in self.named_uses() {
            if table == name && !found.contains(&u) {
                found.push(u);
            }
        }
        found
    }
}

/// Checks that every table can answer what it is asked.
pub(super) fn check(config: &Config, errors: &mut Vec<Error>) {
    let mut check = |at: &Pos, name: Option<&str>, entries: Option<&Entries>, u: Use| {
        let said = |why: String| match name {
            Some(name) => format!("table <{name}> is used for {}: {why}", u.name()),
            None => format!("{}: {why}", u.name()),
        };
        if let Some(why) = entries.and_then(|e| check_entries(e, u)) {
            errors.push(Error { at: at.clone(), text: said(why) });
        }
    };
    let of = |name: &str| config.table(name).map(|t| &t.kind);
    let mut wrong_kind = Vec::new();
    let named = config
        .table_uses()
        .into_iter()
        .filter_map(|(at, t, u)| match t {
            TableRef::Named(n) => Some((at, n.as_str(), u)),
            TableRef::Inline(_) => None,
        })
        .chain(config.named_uses());
    for (at, name, u) in named {
        match of(name) {
            Some(TableKind::Inline(entries)) => check(at, Some(name), Some(entries), u),
            Some(TableKind::Passwd(_)) if !matches!(u, Use::Credentials | Use::UserInfo) => {
                let text = format!(
                    "table <{name}> is of type passwd, which knows credentials and users, and cannot be used for {}: use a file: table",
                    u.name()
                );
                wrong_kind.push(Error { at: at.clone(), text });
            }
            _ => {}
        }
    }
    for (at, t, u) in config.table_uses() {
        if let TableRef::Inline(entries) = t {
            check(at, None, Some(entries), u);
        }
    }
    errors.append(&mut wrong_kind);
}

fn check_entries(entries: &Entries, u: Use) -> Option<String> {
    match entries {
        Entries::List(_) if u.is_mapping() => {
            Some("each entry needs a value: write { key = value }".to_string())
        }
        Entries::Mapping(_) if u.is_list() => {
            Some("entries have no values here: write { a, b }".to_string())
        }
        Entries::List(l) => l.iter().find_map(|k| u.check(k, None).err()),
        Entries::Mapping(m) => m.iter().find_map(|(k, v)| u.check(k, Some(v)).err()),
    }
}

/// `table NAME ...`; the entries only where they may be seen.
pub(super) fn print(t: &Table, out: &mut Printer) {
    out.word("table").text(&t.name);
    match &t.kind {
        TableKind::File(path) => out.text(&format!("file:{path}")),
        TableKind::Passwd(path) => out.text(&format!("passwd:{path}")),
        TableKind::Inline(entries) if out.sees_tables() => out.entries(entries),
        TableKind::Inline(_) | TableKind::Elsewhere => out.word("elsewhere"),
    };
}
