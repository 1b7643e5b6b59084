//! Mail addresses as the envelope carries them: mailbox, path, domain, literal.
//!
//! *Runs in* every process that meets an address; input is hostile.  What these
//! types hold is valid by construction and canonical: a quoted local part is
//! kept without quotes and backslashes, a source route is dropped, a domain is
//! lower case.  No control byte, bare or quoted, gets in: an address can go to
//! a log line, a header field, a table key or a reply as it is (CVE-2020-7247
//! and the injections of its kind began with one that could not).
//!
//! RFC 5321 4.1.2, 4.1.3; RFC 6531 3.3.

pub mod fuzz;
pub mod list;

use std::borrow::Cow;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::proto::chars;
use crate::proto::cursor::Cursor;
use crate::proto::limits;
use crate::proto::mime::param::percent_decode;
use crate::proto::text::idna;

/// Whether bytes of 0x80 and above may stand in an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Charset {
    /// RFC 5321: ASCII alone.
    Ascii,
    /// RFC 6531: UTF-8 in local part and domain.
    Utf8,
}

/// What is wrong with an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// There is no local part, or an empty one.
    NoLocal,
    /// A byte that a local part may not hold, or a quoted string without end.
    Local,
    /// The local part is over the limit.
    LocalLength,
    /// There is no `@domain`.
    NoDomain,
    /// The domain is not a name.
    Domain,
    /// The domain or one of its labels is over the limit.
    DomainLength,
    /// The address literal is not an address.
    Literal,
    /// A source route that is none.
    Route,
    /// `<` or `>` is missing.
    Bracket,
    /// The path is over the limit.
    PathLength,
    /// A byte of 0x80 and above where only ASCII may stand, or broken UTF-8.
    Charset,
    /// Something follows the address.
    Trailing,
}

/// Why bytes are not an address, and where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrError {
    /// What is wrong.
    pub what: What,
    /// The offset of the byte where it shows.
    pub at: usize,
}

const fn bad<T>(what: What, at: usize) -> Result<T, AddrError> {
    Err(AddrError { what, at })
}

/// A domain name in lower case, or an address literal in brackets.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Domain(String);

impl Domain {
    /// Parses the whole of `bytes`.
    pub fn parse(bytes: &[u8], charset: Charset) -> Result<Domain, AddrError> {
        let mut c = Cursor::new(bytes);
        let domain = domain_or_literal(&mut c, charset)?;
        end(&c)?;
        Ok(domain)
    }

    /// The text: `example.org`, `[192.0.2.1]`, `[IPv6:2001:db8::1]`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The form that the DNS, certificates and tables know: every U-label as its
    /// A-label.  What is written to people and in SMTP stays as it came.
    ///
    /// A name that has no such form stays as it is, which nobody has registered.
    /// RFC 5891 4.4; RFC 6531 3.2.
    pub fn to_ascii(&self) -> Cow<'_, str> {
        idna::domain_key(&self.0)
    }

    /// The address, if this is a literal.
    pub fn address(&self) -> Option<IpAddr> {
        let inner = self.0.strip_prefix('[')?.strip_suffix(']')?;
        match inner.strip_prefix("IPv6:") {
            Some(v6) => v6.parse().ok().map(IpAddr::V6),
            None => inner.parse().ok().map(IpAddr::V4),
        }
    }
}

impl From<IpAddr> for Domain {
    fn from(addr: IpAddr) -> Domain {
        Domain(match addr {
            IpAddr::V4(v4) => format!("[{v4}]"),
            IpAddr::V6(v6) => format!("[IPv6:{v6}]"),
        })
    }
}

impl fmt::Display for Domain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A local part and a domain.  [`fmt::Display`] writes it so that it parses
/// again to the same, quoted where it must be.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Mailbox {
    local: String,
    domain: Domain,
}

impl Mailbox {
    /// Parses the whole of `bytes`, without angle brackets.
    pub fn parse(bytes: &[u8], charset: Charset) -> Result<Mailbox, AddrError> {
        let mut c = Cursor::new(bytes);
        let mailbox = mailbox(&mut c, charset)?;
        end(&c)?;
        Ok(mailbox)
    }

    /// The one address of a mailto URI; what the URI has to say of the message's
    /// fields, after a question mark, is left out.  RFC 6068 2.
    pub fn from_mailto(uri: &[u8]) -> Option<Mailbox> {
        let (scheme, to) = uri.split_at_checked(b"mailto:".len())?;
        let to = to.split(|b| matches!(b, b'?' | b'#')).next()?;
        let address = scheme.eq_ignore_ascii_case(b"mailto:").then(|| percent_decode(to))?;
        Mailbox::parse(&address, Charset::Ascii).ok()
    }

    /// Joins a local part as it is meant (not quoted) and a domain.
    pub fn new(local: &str, domain: Domain) -> Result<Mailbox, AddrError> {
        check_local(local.as_bytes(), 0)?;
        match local.bytes().position(chars::is_ctl) {
            Some(at) => bad(What::Local, at),
            None => Ok(Mailbox { local: local.to_owned(), domain }),
        }
    }

    /// The local part as it is meant: no quotes, case kept.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain.
    pub const fn domain(&self) -> &Domain {
        &self.domain
    }

    /// True if it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.local.is_ascii() && self.domain.0.is_ascii()
    }

    /// The local part as it is written: a dot-string, or a quoted string.
    pub fn written_local(&self) -> String {
        if is_dot_string(self.local.as_bytes()) {
            return self.local.clone();
        }
        let mut out = String::from("\"");
        for ch in self.local.chars() {
            if matches!(ch, '"' | '\\') {
                out.push('\\');
            }
            out.push(ch);
        }
        out.push('"');
        out
    }

    /// The key for tables and comparisons: ASCII letters in lower case, U-labels
    /// as A-labels.
    ///
    /// RFC 5321 2.4 leaves the case of a local part to its host; we are the
    /// host, and `Joe@` and `joe@` are one person.
    pub fn key(&self) -> String {
        let mut key = self.local.to_ascii_lowercase();
        key.push('@');
        key.push_str(&self.domain.to_ascii());
        key
    }

    /// The same address without sub-address: `joe+x@a` gives `joe@a`.
    #[must_use]
    pub fn without_detail(&self, delim: char) -> Mailbox {
        let (user, _) = split_detail(&self.local, delim);
        Mailbox { local: user.to_owned(), domain: self.domain.clone() }
    }
}

impl fmt::Display for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.written_local(), self.domain)
    }
}

/// Splits `user+detail` at the first delimiter that leaves a user.
pub fn split_detail(local: &str, delim: char) -> (&str, Option<&str>) {
    match local.char_indices().find(|(at, ch)| *at > 0 && *ch == delim) {
        Some((at, ch)) => {
            let (user, rest) = local.split_at_checked(at).unwrap_or((local, ""));
            (user, rest.strip_prefix(ch))
        }
        None => (local, None),
    }
}

/// Where a message comes from: an address, or nobody.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReversePath {
    /// `<>`: a notification, never answered.
    Null,
    /// An address that takes notifications.
    Mailbox(Mailbox),
}

impl ReversePath {
    /// Parses the whole of `bytes`, angle brackets included.
    pub fn parse(bytes: &[u8], charset: Charset) -> Result<ReversePath, AddrError> {
        let mut c = Cursor::new(bytes);
        let path = reverse_path(&mut c, charset)?;
        end(&c)?;
        Ok(path)
    }

    /// The address; `None` for `<>`.
    pub const fn mailbox(&self) -> Option<&Mailbox> {
        match self {
            ReversePath::Null => None,
            ReversePath::Mailbox(m) => Some(m),
        }
    }

    /// True if it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        self.mailbox().is_none_or(Mailbox::is_ascii)
    }
}

/// Writes the address without angle brackets; nothing for `<>`.
impl fmt::Display for ReversePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.mailbox().map_or(Ok(()), |m| m.fmt(f))
    }
}

/// Where a message is to go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ForwardPath {
    /// `<Postmaster>` without a domain: whoever runs this host.  RFC 5321 4.5.1.
    Postmaster,
    /// An address.
    Mailbox(Mailbox),
}

impl ForwardPath {
    /// Parses the whole of `bytes`, angle brackets included.
    pub fn parse(bytes: &[u8], charset: Charset) -> Result<ForwardPath, AddrError> {
        let mut c = Cursor::new(bytes);
        let path = forward_path(&mut c, charset)?;
        end(&c)?;
        Ok(path)
    }

    /// The address, with `here` as the domain of a bare postmaster.
    pub fn into_mailbox(self, here: &Domain) -> Mailbox {
        match self {
            ForwardPath::Mailbox(m) => m,
            ForwardPath::Postmaster => {
                Mailbox { local: String::from("postmaster"), domain: here.clone() }
            }
        }
    }

    /// True if it can be written without SMTPUTF8.
    pub fn is_ascii(&self) -> bool {
        match self {
            ForwardPath::Postmaster => true,
            ForwardPath::Mailbox(m) => m.is_ascii(),
        }
    }
}

impl fmt::Display for ForwardPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForwardPath::Postmaster => f.write_str("postmaster"),
            ForwardPath::Mailbox(m) => m.fmt(f),
        }
    }
}

/// Reverse-path = Path / "<>"
pub fn reverse_path(c: &mut Cursor<'_>, charset: Charset) -> Result<ReversePath, AddrError> {
    if c.eat_exact(b"<>") {
        return Ok(ReversePath::Null);
    }
    path(c, charset).map(ReversePath::Mailbox)
}

/// Forward-path = Path, or "<Postmaster>" in any case
pub fn forward_path(c: &mut Cursor<'_>, charset: Charset) -> Result<ForwardPath, AddrError> {
    if c.eat_word(b"<postmaster>") {
        return Ok(ForwardPath::Postmaster);
    }
    path(c, charset).map(ForwardPath::Mailbox)
}

/// Path = "<" [ A-d-l ":" ] Mailbox ">"
///
/// The route is checked and forgotten, as RFC 5321 C demands.
fn path(c: &mut Cursor<'_>, charset: Charset) -> Result<Mailbox, AddrError> {
    let start = c.pos();
    if !c.eat(b'<') {
        return bad(What::Bracket, start);
    }
    if c.peek() == Some(b'@') {
        source_route(c, charset)?;
    }
    let mailbox = mailbox(c, charset)?;
    if !c.eat(b'>') {
        return bad(What::Bracket, c.pos());
    }
    if c.since(start).len() > limits::SMTP_PATH.size() {
        return bad(What::PathLength, start);
    }
    Ok(mailbox)
}

/// A-d-l = At-domain *( "," At-domain ), then ":"
fn source_route(c: &mut Cursor<'_>, charset: Charset) -> Result<(), AddrError> {
    let start = c.pos();
    loop {
        if !c.eat(b'@') {
            return bad(What::Route, c.pos());
        }
        domain_or_literal(c, charset).map_err(|e| AddrError { what: What::Route, at: e.at })?;
        if c.since(start).len() > limits::SMTP_PATH.size() {
            return bad(What::PathLength, start);
        }
        if c.eat(b':') {
            return Ok(());
        }
        if !c.eat(b',') {
            return bad(What::Route, c.pos());
        }
    }
}

/// Mailbox = Local-part "@" ( Domain / address-literal )
pub fn mailbox(c: &mut Cursor<'_>, charset: Charset) -> Result<Mailbox, AddrError> {
    let local = local_part(c, charset)?;
    if !c.eat(b'@') {
        // `a b@c`, `a;b` and `a<b` stop the dot-string at their bad byte.
        let what = if c.at_end() || c.peek() == Some(b'>') { What::NoDomain } else { What::Local };
        return bad(what, c.pos());
    }
    if matches!(c.peek(), None | Some(b'>')) {
        return bad(What::NoDomain, c.pos());
    }
    let domain = domain_or_literal(c, charset)?;
    Ok(Mailbox { local, domain })
}

/// Local-part = Dot-string / Quoted-string
fn local_part(c: &mut Cursor<'_>, charset: Charset) -> Result<String, AddrError> {
    let start = c.pos();
    let bytes = if c.eat(b'"') {
        quoted(c)?
    } else {
        let raw = c.take_while(|b| chars::is_atext_utf8(b) || b == b'.');
        if !raw.is_empty() && !is_dot_string(raw) {
            return bad(What::Local, start);
        }
        raw.to_vec()
    };
    check_local(&bytes, start)?;
    text(bytes, charset, start)
}

/// The rest of Quoted-string = DQUOTE *QcontentSMTP DQUOTE, without its quotes.
fn quoted(c: &mut Cursor<'_>) -> Result<Vec<u8>, AddrError> {
    let mut out = Vec::new();
    loop {
        let at = c.pos();
        match c.next_byte() {
            Some(b'"') => return Ok(out),
            // quoted-pairSMTP = %d92 %d32-126
            Some(b'\\') => match c.next_byte() {
                Some(b @ 32..=126) => out.push(b),
                _ => return bad(What::Local, at),
            },
            Some(b) if chars::is_qtext_smtp(b) || b >= 0x80 => out.push(b),
            _ => return bad(What::Local, at),
        }
        if out.len() > limits::SMTP_LOCAL_PART.size() {
            return bad(What::LocalLength, at);
        }
    }
}

/// An empty local part, which `""@a` would be, is refused: it would match the
/// catch-all key `@a` of a table.
fn check_local(local: &[u8], at: usize) -> Result<(), AddrError> {
    if local.is_empty() {
        return bad(What::NoLocal, at);
    }
    if local.len() > limits::SMTP_LOCAL_PART.size() {
        return bad(What::LocalLength, at);
    }
    Ok(())
}

/// Dot-string = Atom *("." Atom)
fn is_dot_string(bytes: &[u8]) -> bool {
    bytes
        .split(|b| *b == b'.')
        .all(|atom| !atom.is_empty() && atom.iter().all(|b| chars::is_atext_utf8(*b)))
}

/// Domain / address-literal
fn domain_or_literal(c: &mut Cursor<'_>, charset: Charset) -> Result<Domain, AddrError> {
    if c.peek() == Some(b'[') {
        return literal(c);
    }
    let start = c.pos();
    let raw = c.take_while(|b| chars::is_ldh(b) || b == b'_' || b == b'.' || b >= 0x80);
    if raw.len() > limits::SMTP_DOMAIN.size() {
        return bad(What::DomainLength, start);
    }
    for label in raw.split(|b| *b == b'.') {
        check_label(label, start)?;
    }
    let mut name = text(raw.to_vec(), charset, start)?;
    name.make_ascii_lowercase();
    Ok(Domain(name))
}

/// sub-domain = Let-dig [Ldh-str]
///
/// An underscore passes, as it does in OpenSMTPD and Postfix: hosts that send
/// real mail bear it in their names.
fn check_label(label: &[u8], at: usize) -> Result<(), AddrError> {
    if label.is_empty() || label.first() == Some(&b'-') || label.last() == Some(&b'-') {
        return bad(What::Domain, at);
    }
    if label.len() > limits::DNS_LABEL.size() {
        return bad(What::DomainLength, at);
    }
    Ok(())
}

/// address-literal = "[" ( IPv4-address-literal / IPv6-address-literal ) "]"
///
/// General-address-literal has no registered use and is refused, so are scoped
/// addresses (`fe80::1%em0`), which mean something on one host only.
fn literal(c: &mut Cursor<'_>) -> Result<Domain, AddrError> {
    let start = c.pos();
    c.eat(b'[');
    let v6 = c.eat_word(b"IPv6:");
    let inner = c.take_while(|b| b.is_ascii_hexdigit() || matches!(b, b'.' | b':'));
    let text = std::str::from_utf8(inner).unwrap_or_default();
    let addr = if v6 {
        text.parse::<Ipv6Addr>().map(IpAddr::V6)
    } else {
        text.parse::<Ipv4Addr>().map(IpAddr::V4)
    };
    match addr {
        Ok(addr) if c.eat(b']') => Ok(Domain::from(addr)),
        _ => bad(What::Literal, start),
    }
}

/// Checks what the grammar calls text: ASCII, or UTF-8 without control characters.
fn text(bytes: Vec<u8>, charset: Charset, at: usize) -> Result<String, AddrError> {
    let ascii = bytes.is_ascii();
    match String::from_utf8(bytes) {
        // U+0080 to U+009F are controls too: terminals obey them.
        Ok(s) if ascii || (charset == Charset::Utf8 && !s.chars().any(char::is_control)) => Ok(s),
        _ => bad(What::Charset, at),
    }
}

fn end(c: &Cursor<'_>) -> Result<(), AddrError> {
    if c.at_end() {
        Ok(())
    } else {
        bad(What::Trailing, c.pos())
    }
}

#[cfg(test)]
mod tests;
