//! The Authentication-Results header field, written and read.  RFC 8601.
//!
//! *Runs in* filter and store.  What is written comes in part from outside (a
//! HELO name, an explanation): nothing but printable text gets into the field,
//! each value within a bound, so that no line end can begin a field of its own
//! (CVE-2020-12272).  What is read may be a forgery: a field that claims to be
//! ours is removed before ours is added, however it spells our name.

use crate::proto::chars;
use crate::proto::cursor::Cursor;
use crate::proto::limits;
use crate::proto::mime::param::{quoted_string, skip_cfws};
use crate::proto::mime::Field;
use crate::proto::text::idna;

/// A value that came from outside is cut to this many octets.
const VALUE_OCTETS: usize = 512;
/// Lines are folded here.
const LINE: usize = 78;

/// `ptype.property=value`.  RFC 8601 2.2, 2.3.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// `smtp`, `header`, `body` or `policy`.
    pub ptype: String,
    /// `mailfrom`, `d`, `from`, ...
    pub property: String,
    /// The value.
    pub value: String,
}

/// The result of one method.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Method {
    /// `spf`, `dkim`, ...
    pub name: String,
    /// `pass`, ...
    pub result: String,
    /// A comment after the result, for people.
    pub comment: Option<String>,
    /// `reason=`
    pub reason: Option<String>,
    /// The properties in order.
    pub properties: Vec<Property>,
}

impl Method {
    /// A method and its result.
    pub fn new(name: &str, result: &str) -> Method {
        Method { name: name.into(), result: result.into(), ..Method::default() }
    }

    /// Adds `ptype.property=value`; an empty value is left out.
    #[must_use]
    pub fn with(mut self, ptype: &str, property: &str, value: &str) -> Method {
        if !value.is_empty() {
            let (ptype, property) = (ptype.into(), property.into());
            self.properties.push(Property { ptype, property, value: value.into() });
        }
        self
    }

    /// Adds the reason.
    #[must_use]
    pub fn because(mut self, reason: Option<String>) -> Method {
        self.reason = reason;
        self
    }

    /// The value of a property.
    pub fn get(&self, ptype: &str, property: &str) -> Option<&str> {
        let found = self.properties.iter().find(|p| p.ptype == ptype && p.property == property);
        found.map(|p| p.value.as_str())
    }
}

/// What one host found out about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Results {
    /// Whose results these are.
    pub authserv_id: String,
    /// The methods in order; none is written as `none`.
    pub methods: Vec<Method>,
}

impl Results {
    /// The field with its final CRLF, folded.
    ///
    /// With `utf8` bytes beyond ASCII may stand in values (the message came
    /// with SMTPUTF8); otherwise each becomes a question mark.
    pub fn write(&self, utf8: bool) -> Vec<u8> {
        let mut w = Writer { out: b"Authentication-Results:".to_vec(), column: 23 };
        w.word(&value(&self.authserv_id, utf8));
        for method in &self.methods {
            w.raw(";");
            w.line();
            w.word(&format!("{}={}", keyword(&method.name), keyword(&method.result)));
            if let Some(text) = &method.comment {
                w.word(&comment(text, utf8));
            }
            if let Some(text) = &method.reason {
                w.word(&format!("reason={}", quoted(text, utf8)));
            }
            for p in &method.properties {
                w.word(&format!(
                    "{}.{}={}",
                    keyword(&p.ptype),
                    keyword(&p.property),
                    value(&p.value, utf8)
                ));
            }
        }
        if self.methods.is_empty() {
            w.raw("; none");
        }
        w.raw("\r\n");
        w.out
    }
}

struct Writer {
    out: Vec<u8>,
    column: usize,
}

impl Writer {
    fn raw(&mut self, text: &str) {
        self.out.extend_from_slice(text.as_bytes());
        self.column = self.column.saturating_add(text.len());
    }

    fn line(&mut self) {
        self.raw("\r\n\t");
        self.column = 8;
    }

    /// A word with a space before it, or on a line of its own.  Folding white
    /// space may stand before every word; none is put inside one.
    fn word(&mut self, text: &str) {
        if self.column > 8 {
            if self.column.saturating_add(text.len()).saturating_add(1) > LINE {
                self.line();
            } else {
                self.raw(" ");
            }
        }
        self.raw(text);
    }
}

/// Keyword = Let-dig and hyphens: what is not is left out.
fn keyword(text: &str) -> String {
    let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    text.chars().filter(allowed).take(64).collect()
}

/// Printable characters only, within the bound.
fn printable(text: &str, utf8: bool) -> String {
    let mut out: String = text
        .chars()
        .filter(|c| !c.is_control())
        .map(|c| if c.is_ascii() || utf8 { c } else { '?' })
        .collect();
    crate::proto::text::charset::truncate(&mut out, VALUE_OCTETS);
    out
}

/// A quoted-string.
fn quoted(text: &str, utf8: bool) -> String {
    let mut out = String::from("\"");
    for c in printable(text, utf8).chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

/// pvalue = value / [ [ local-part ] "@" ] domain-name: bare if it can be.
fn value(text: &str, utf8: bool) -> String {
    let text = printable(text, utf8);
    let bare = |b: u8| chars::is_token(b) || matches!(b, b'@' | b'/' | b'=') || b >= 0x80;
    // A slash and equals sign are bare in base 64 (header.b) as all write it.
    if !text.is_empty() && text.bytes().all(bare) {
        text
    } else {
        quoted(&text, utf8)
    }
}

/// A comment: parentheses and backslashes escaped.
fn comment(text: &str, utf8: bool) -> String {
    let mut out = String::from("(");
    for c in printable(text, utf8).chars() {
        if matches!(c, '(' | ')' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push(')');
    out
}

/// Reads a field's value, folded as it came; `None` if it does not follow the
/// grammar as far as its methods.
pub fn parse(field: &[u8]) -> Option<Results> {
    let mut c = Cursor::new(field);
    let authserv_id = authserv_id(&mut c)?;
    skip_cfws(&mut c);
    // authres-version = 1*DIGIT
    if c.number().is_some() {
        skip_cfws(&mut c);
    }
    let mut results = Results { authserv_id: text_of(&authserv_id), methods: Vec::new() };
    while c.eat(b';') {
        if results.methods.len() >= limits::AUTHRES_METHODS.size() {
            return Some(results);
        }
        skip_cfws(&mut c);
        if c.at_end() {
            break;
        }
        let name = c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
        skip_cfws(&mut c);
        if name.eq_ignore_ascii_case(b"none") && (c.at_end() || c.peek() == Some(b';')) {
            continue;
        }
        // method = Keyword [ "/" method-version ]
        if c.eat(b'/') {
            skip_cfws(&mut c);
            c.number()?;
            skip_cfws(&mut c);
        }
        let mut method = Method::new(&text_of(&name.to_ascii_lowercase()), "");
        if !c.eat(b'=') {
            return None;
        }
        skip_cfws(&mut c);
        let result = c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
        method.result = text_of(&result.to_ascii_lowercase());
        read_rest(&mut c, &mut method)?;
        results.methods.push(method);
    }
    c.at_end().then_some(results)
}

/// `[ CFWS reasonspec ] [ CFWS 1*propspec ]`, in any order, as met in practice.
fn read_rest(c: &mut Cursor<'_>, method: &mut Method) -> Option<()> {
    loop {
        skip_cfws(c);
        if c.at_end() || c.peek() == Some(b';') {
            return Some(());
        }
        let key = c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
        let key = text_of(&key.to_ascii_lowercase());
        skip_cfws(c);
        let property = if c.eat(b'.') {
            skip_cfws(c);
            let p = c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))?;
            skip_cfws(c);
            Some(text_of(&p.to_ascii_lowercase()))
        } else {
            None
        };
        if !c.eat(b'=') {
            return None;
        }
        skip_cfws(c);
        let mut text = quoted_string(c).unwrap_or_default();
        // [ local-part ] "@" domain-name: the local part may be quoted.
        let bare = |b: u8| {
            chars::is_token(b) || matches!(b, b'@' | b'/' | b'=' | b':' | b'[' | b']') || b >= 0x80
        };
        text.extend_from_slice(c.take_while(bare));
        match property {
            Some(property) if method.properties.len() < limits::AUTHRES_METHODS.size() => {
                method.properties.push(Property { ptype: key, property, value: text_of(&text) });
            }
            None if key == "reason" => method.reason = Some(text_of(&text)),
            _ => {}
        }
    }
}

fn text_of(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// authserv-id = value: a token or a quoted-string.
fn authserv_id(c: &mut Cursor<'_>) -> Option<Vec<u8>> {
    skip_cfws(c);
    match quoted_string(c) {
        Some(id) => Some(id),
        None => c.take_while1(|b| chars::is_token(b) || b >= 0x80).map(<[u8]>::to_vec),
    }
}

/// True if the field claims to have been written by `ours`.
///
/// Case, comments, quotes, folding, a version and full stops of other scripts
/// change nothing.  A field that cannot be read is ours if our name occurs in
/// it, whatever stands within the name: who reads more generously might find it
/// there.  RFC 8601 5.
pub fn is_ours(value: &[u8], ours: &str) -> bool {
    let name = |id: &[u8]| {
        let ascii = idna::to_ascii(id.trim_ascii()).unwrap_or_default();
        ascii.strip_suffix(b".").unwrap_or(&ascii).to_ascii_lowercase()
    };
    let wanted = name(ours.as_bytes());
    match readable_id(value) {
        Some(id) => name(&id) == wanted,
        // Readers differ also in whether they know comments.
        None => [true, false]
            .iter()
            .any(|comments| memchr::memmem::find(&squeezed(value, *comments), &wanted).is_some()),
    }
}

/// The authserv-id of a field that leaves no doubt where it ends: a version or
/// nothing follows it, and then the end or a semicolon.
fn readable_id(value: &[u8]) -> Option<Vec<u8>> {
    let mut c = Cursor::new(value);
    skip_cfws(&mut c);
    let quoted = c.peek() == Some(b'"');
    let id = authserv_id(&mut c)?;
    // A string that nothing closes took all there is.
    let taken = value.get(..c.pos()).unwrap_or_default();
    if quoted && !closed(taken) {
        return None;
    }
    skip_cfws(&mut c);
    if c.number().is_some() {
        skip_cfws(&mut c);
    }
    (c.at_end() || c.peek() == Some(b';')).then_some(id)
}

/// True if a quotation mark that is not escaped is the last byte.
fn closed(quoted: &[u8]) -> bool {
    let Some(before) = quoted.strip_suffix(b"\"") else { return false };
    let escapes = before.iter().rev().take_while(|b| **b == b'\\').count();
    escapes & 1 == 0
}

/// What is left of a value without white space, quotes and backslashes, and
/// without comments or with what they say; wide characters are narrow, and the
/// full stops of other scripts are dots, as IDNA takes them (UTS 46 4).
fn squeezed(value: &[u8], comments: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    let mut depth = 0_usize;
    let mut chars = String::from_utf8_lossy(value).into_owned();
    chars.make_ascii_lowercase();
    let mut chars = chars.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' if depth > 0 && !comments => {
                chars.next();
            }
            '(' => depth = depth.saturating_add(1),
            ')' => depth = depth.saturating_sub(1),
            _ if depth > 0 && !comments => {}
            '"' | '\\' => {}
            c if c.is_whitespace() || c.is_control() => {}
            '\u{3002}' | '\u{ff0e}' | '\u{ff61}' => out.push(b'.'),
            c => {
                let narrow = u32::from(c).wrapping_sub(0xfee0);
                let narrow = u8::try_from(narrow).ok().filter(|b| b.is_ascii_graphic());
                let c = narrow.map_or(c, |b| char::from(b.to_ascii_lowercase()));
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
    out
}

/// True if a field of an incoming message must be removed before ours are
/// added: results under our name, and fields that only we may write.
pub fn must_go(field: &Field<'_>, ours: &str) -> bool {
    let begins = |prefix: &[u8]| {
        field.name.get(..prefix.len()).is_some_and(|n| n.eq_ignore_ascii_case(prefix))
    };
    (field.is(b"authentication-results") && is_ours(field.value, ours))
        || begins(b"x-spam")
        || begins(b"x-rmail-")
}

/// Fuzz target: what is read is written, and reads the same.
pub fn fuzz_authres(bytes: &[u8]) {
    let _ours = is_ours(bytes, "mx.example.org");
    let Some(results) = parse(bytes) else { return };
    let written = results.write(true);
    let mut lines = written.split(|b| *b == b'\n').skip(1);
    assert!(lines.all(|l| l.is_empty() || l.starts_with(b"\t")));
}

#[cfg(test)]
mod tests;
