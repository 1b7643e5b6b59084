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
mod tests {
    use super::*;
    use crate::proto::testing::assert_linear;

    fn sample() -> Results {
        Results {
            authserv_id: "mx.example.org".into(),
            methods: vec![
                Method::new("spf", "pass").with("smtp", "mailfrom", "a@example.com"),
                Method::new("dkim", "fail")
                    .because(Some("body hash did not verify".into()))
                    .with("header", "d", "example.com")
                    .with("header", "s", "sel")
                    .with("header", "a", "rsa-sha256")
                    .with("header", "b", "Ab/+12=="),
                Method {
                    comment: Some("p=reject (dis=none)".into()),
                    ..Method::new("dmarc", "pass")
                }
                .with("header", "from", "example.com"),
            ],
        }
    }

    /// RFC 8601 2.2.
    #[test]
    fn what_is_written_reads_the_same_and_is_folded() {
        let written = sample().write(false);
        let text = String::from_utf8(written.clone()).unwrap();
        assert!(text.starts_with("Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=a@example.com;"), "{text}");
        assert!(text.contains("dmarc=pass (p=reject \\(dis=none\\)) header.from=example.com\r\n"));
        assert!(text.split("\r\n").all(|l| l.len() <= 78));
        let mut back = parse(&written[23..]).unwrap();
        back.methods[2].comment = sample().methods[2].comment.clone();
        assert_eq!(back, sample());
        let none = Results { authserv_id: "mx".into(), methods: vec![] };
        assert_eq!(none.write(false), b"Authentication-Results: mx; none\r\n");
        assert_eq!(parse(b" mx; none").unwrap().methods, []);
    }

    /// RFC 8601 2.2, 2.7: all methods that we report, in one field.
    #[test]
    fn one_field_has_every_method() {
        let results = Results {
            authserv_id: "mx.example.org".into(),
            methods: vec![
                Method::new("spf", "pass").with("smtp", "mailfrom", "a@example.com"),
                Method::new("dkim", "pass").with("header", "d", "example.com"),
                Method::new("dmarc", "pass").with("header", "from", "example.com"),
                Method::new("arc", "none"),
                Method::new("iprev", "pass").with("policy", "iprev", "2001:db8::1"),
                Method::new("auth", "pass").with("smtp", "auth", "a b@example.org"),
            ],
        };
        let written = results.write(false);
        let text = String::from_utf8(written.clone()).unwrap();
        assert_eq!(text.matches("Authentication-Results:").count(), 1);
        assert!(text.contains("iprev=pass policy.iprev=\"2001:db8::1\";"), "{text}");
        assert!(text.contains("auth=pass smtp.auth=\"a b@example.org\"\r\n"), "{text}");
        assert_eq!(parse(&written[23..]), Some(results));
    }

    /// CVE-2020-12272, CVE-2020-12460; RFC 8601 7.
    #[test]
    fn nothing_from_outside_begins_a_line() {
        let evil = "x\r\nBcc: y\0\" \\ é";
        let results = Results {
            authserv_id: "mx".into(),
            methods: vec![Method {
                comment: Some(evil.into()),
                ..Method::new("spf\r\n", "pass\n")
            }
            .because(Some(evil.into()))
            .with("smtp", "helo", evil)],
        };
        let text = String::from_utf8(results.write(false)).unwrap();
        assert!(!text.contains("\nBcc") && !text.contains('\0') && text.is_ascii());
        assert!(text.contains("smtp.helo=\"xBcc: y\\\" \\\\ ?\""), "{text}");
        assert!(String::from_utf8(results.write(true)).unwrap().contains('é'));
        let long = Results {
            authserv_id: "mx".into(),
            methods: vec![Method::new("spf", "pass").with("smtp", "helo", &"x".repeat(10_000))],
        };
        assert!(long.write(false).len() < 600);
    }

    /// RFC 8601 2.2, 2.5, 5.
    #[test]
    fn a_forged_field_is_ours_however_it_is_written() {
        for value in [
            " mx.example.org; spf=pass",
            "MX.Example.ORG;spf=pass",
            " mx.example.org 1; spf=pass",
            "\r\n\t(c (d)) mx.example.org (e)\r\n ; spf=pass",
            " \"mx.example.org\"; spf=pass",
            " \"mx\\.example.org\"; spf=pass",
            " mx.example.org",
            " mx.example.org.; spf=pass",
            " mx\u{ff0e}example\u{ff0e}org; spf=pass",
            " mx.example.org spf=pass",
            " ;mx.example.org; spf=pass",
            " (open mx.example.org; spf=pass",
            " \"mx.example.org; dmarc=pass",
            " \"mx.example.org\\\"; dmarc=pass",
            " \" mx.example.org \"; dmarc=pass",
            " \"mx\".example.org; dmarc=pass",
            " \"mx.\" \"example.org\"; dmarc=pass",
            " mx.(x)example.org; dmarc=pass",
            " mx.\r\n example.org; dmarc=pass",
            " (open mx\u{ff0e}example\u{ff0e}org; dmarc=pass",
            " (open) m\u{ff58}.example .org; dmarc=pass",
            " mx.example.org 1 x; dmarc=pass",
        ] {
            assert!(is_ours(value.as_bytes(), "mx.example.org"), "{value}");
        }
        for value in [
            " mx.example.net; spf=pass",
            " other; spf=pass smtp.helo=mx.example.org",
            " amx.example.org; none",
            " \"other\\\\\"; spf=pass smtp.helo=mx.example.org",
            " other 1 (mx.example.org); spf=pass smtp.helo=mx.example.org",
        ] {
            assert!(!is_ours(value.as_bytes(), "mx.example.org"), "{value}");
        }
    }

    /// RFC 8601 5.
    #[test]
    fn fields_that_only_we_write_go() {
        let header = b"X-Spam: Yes\r\nx-rmail-spam : 1\r\nX-SPAM-Status: a\r\nAuthentication-Results : mx; none\r\n\
            Authentication-Results: other; none\r\nX-Other: mx\r\n";
        let gone: Vec<bool> =
            crate::proto::mime::Fields::new(header).map(|f| must_go(&f, "mx")).collect();
        assert_eq!(gone, [true, true, true, true, false, false]);
    }

    /// RFC 8601 B.
    #[test]
    fn the_examples_of_rfc_8601() {
        // B.3, B.6
        let r = parse(b" example.com;\r\n auth=pass (cleartext) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net").unwrap();
        assert_eq!(r.methods[0].get("smtp", "auth"), Some("sender@example.net"));
        let r = parse(b" example.com; dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net; dkim=fail reason=\"bad signature\" header.i=@newyork.example.com").unwrap();
        assert_eq!(r.methods[1].reason.as_deref(), Some("bad signature"));
        // B.7: comments everywhere.
        let r = parse(b" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462").unwrap();
        assert_eq!(r.methods[0].get("policy", "expired"), Some("1362471462"));
        let most = limits::AUTHRES_METHODS.size();
        let many = parse(format!("mx{}; ?", "; spf=pass".repeat(most)).as_bytes()).unwrap();
        assert_eq!(many.methods.len(), most, "the rest is not read");
        assert!(parse(b" a b c").is_none());
        assert!(parse(b"").is_none());
    }

    /// RFC 8601 2.2, 7; RFC 5322 2.2: HELO, the name of the client's address, who
    /// logged in, an explanation, our own name: each is a text of somebody else.
    #[test]
    fn each_value_from_outside_is_on_its_line_printable_and_within_512_octets() {
        let evil = format!("x\r\nBcc: y\0\x08\x7f\u{85}\u{2028}({}", "z".repeat(1000));
        let field = |method: Method| {
            let results = Results { authserv_id: "mx".into(), methods: vec![method] };
            results.write(false)
        };
        let blank = || Method::new("spf", "fail");
        for written in [
            field(blank().with("smtp", "helo", &evil)),
            field(blank().with("smtp", "mailfrom", &evil)),
            field(blank().with("policy", "iprev", &evil)),
            field(blank().with("smtp", "auth", &evil)),
            field(blank().with("header", "from", &evil)),
            field(blank().because(Some(evil.clone()))),
            field(Method { comment: Some(evil.clone()), ..blank() }),
            field(Method::new(&evil, "pass")),
            field(Method::new("spf", &evil)),
            field(blank().with(&evil, &evil, "x")),
            Results { authserv_id: evil.clone(), methods: vec![] }.write(false),
        ] {
            let text = String::from_utf8(written).unwrap();
            let lines: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
            assert!(lines[1..].iter().all(|l| l.starts_with('\t')), "{text}");
            let plain = |b: u8| matches!(b, b'\t' | b' '..=b'~');
            assert!(lines.iter().all(|l| l.bytes().all(plain)), "{text}");
            assert!(text.matches('z').count() <= 512, "{text}");
            assert!(parse(&text.as_bytes()[23..]).is_some(), "{text}");
        }
    }

    /// RFC 8601 2.2: `none` where nothing was checked.
    #[test]
    fn a_field_without_methods_says_none() {
        let none = Results { authserv_id: "mx.example.org".into(), methods: vec![] };
        assert_eq!(none.write(true), b"Authentication-Results: mx.example.org; none\r\n");
        assert_eq!(parse(b" mx.example.org 1; none"), Some(none));
    }

    #[test]
    fn writing_takes_time_that_doubles_with_its_values() {
        for unit in ["x", "\"", "\r\n", "\u{e9}"] {
            assert_linear(|n| {
                let text = unit.repeat(n / unit.len());
                let method = Method { comment: Some(text.clone()), ..Method::new(&text, &text) };
                let method = method.because(Some(text.clone())).with(&text, &text, &text);
                let results = Results { authserv_id: text, methods: vec![method] };
                std::hint::black_box(results.write(true));
            });
        }
        assert_linear(|n| {
            let one = Method::new("dkim", "pass").with("header", "d", "example.org");
            let results = Results { authserv_id: "mx".into(), methods: vec![one; n / 16] };
            std::hint::black_box(results.write(false));
        });
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in ["(", ";", "a=b;", " ", "\"", "a.b=c ", "x"] {
            assert_linear(|n| {
                let value = "mx;a=b ".to_string() + &unit.repeat(n / unit.len());
                std::hint::black_box(parse(value.as_bytes()));
                std::hint::black_box(is_ours(value.as_bytes(), "mx"));
                let unreadable = "m x".to_string() + &unit.repeat(n / unit.len());
                std::hint::black_box(is_ours(unreadable.as_bytes(), "mx.example.org"));
            });
        }
    }
}
