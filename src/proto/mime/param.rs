//! Structured MIME fields: types, dispositions and their parameters.
//!
//! The grammar is read generously, as mail readers do: `name=my file.pdf`
//! without quotes is a value with a space.  Continued and encoded parameters
//! (RFC 2231) are joined here; their characters are decoded only by
//! [`Param::text`].  RFC 2045 5.1, RFC 2183 2, RFC 2231.

use crate::proto::chars;
use crate::proto::cursor::Cursor;
use crate::proto::limits;
use crate::proto::text::{charset, encoded_word};

/// One parameter, its continuations joined.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Param {
    /// The name in lower case, without `*`.
    pub name: Vec<u8>,
    /// The value without quotes.  When `extended`, it still is
    /// `charset'language'text` with `%XX` in the text, as `name*=` has it.
    pub value: Vec<u8>,
    /// It was written with `*=`.  RFC 2231 4.
    pub extended: bool,
}

impl Param {
    /// The octets of the value, decoded but of no charset.
    pub fn octets(&self) -> Vec<u8> {
        if !self.extended {
            return self.value.clone();
        }
        percent_decode(self.value.splitn(3, |b| *b == b'\'').nth(2).unwrap_or(&self.value))
    }

    /// The value as text, whatever it was encoded in.
    ///
    /// Encoded-words are not allowed here (RFC 2047 5) but are what many
    /// senders write, and what readers show decoded.
    pub fn text(&self) -> String {
        if !self.extended {
            return encoded_word::decode(&self.value, limits::HEADER_FIELD.size());
        }
        let mut pieces = self.value.splitn(3, |b| *b == b'\'');
        let (label, _language, text) = (pieces.next(), pieces.next(), pieces.next());
        match (label, text) {
            (Some(label), Some(text)) => {
                charset::decode(label, &percent_decode(text), limits::HEADER_FIELD.size())
            }
            _ => charset::decode(b"", &percent_decode(&self.value), limits::HEADER_FIELD.size()),
        }
    }
}

/// Parameters in the order of the field, each name once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Params(pub Vec<Param>);

impl Params {
    /// The parameter of that name (given in lower case).
    pub fn get(&self, name: &[u8]) -> Option<&Param> {
        self.0.iter().find(|p| p.name == name)
    }
}

/// `Content-Type`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// The type, as written: `text`.
    pub main: Vec<u8>,
    /// The subtype, as written: `plain`.
    pub sub: Vec<u8>,
    /// Its parameters.
    pub params: Params,
    /// A parameter was given more than once; the first was taken.
    pub repeated_param: bool,
    /// The boundary was given as RFC 2231 has it, which not all readers know.
    pub encoded_boundary: bool,
}

impl ContentType {
    /// Without parameters.
    pub fn new(main: &[u8], sub: &[u8]) -> ContentType {
        let (main, sub) = (main.to_vec(), sub.to_vec());
        ContentType {
            main,
            sub,
            params: Params::default(),
            repeated_param: false,
            encoded_boundary: false,
        }
    }

    /// Parses a field's value, folded or not; `None` if there is no `type/subtype`.
    pub fn parse(value: &[u8]) -> Option<ContentType> {
        let mut c = Cursor::new(value);
        skip_cfws(&mut c);
        let main = c.take_while1(chars::is_token)?.to_vec();
        skip_cfws(&mut c);
        if !c.eat(b'/') {
            return None;
        }
        skip_cfws(&mut c);
        let sub = c.take_while1(chars::is_token)?.to_vec();
        let (params, repeated_param, encoded_boundary) = parse_params(&mut c);
        Some(ContentType { main, sub, params, repeated_param, encoded_boundary })
    }

    /// True if it is `main/sub`, ASCII case folded.
    pub fn is(&self, main: &[u8], sub: &[u8]) -> bool {
        self.is_main(main) && self.sub.eq_ignore_ascii_case(sub)
    }

    /// True if the type is `main`, ASCII case folded.
    pub fn is_main(&self, main: &[u8]) -> bool {
        self.main.eq_ignore_ascii_case(main)
    }
}

/// `Content-Disposition`.  RFC 2183 2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// `attachment` or `inline`, as written.
    pub kind: Vec<u8>,
    /// Its parameters.
    pub params: Params,
}

impl Disposition {
    /// Parses a field's value, folded or not; `None` without a token.
    pub fn parse(value: &[u8]) -> Option<Disposition> {
        let mut c = Cursor::new(value);
        skip_cfws(&mut c);
        let kind = c.take_while1(chars::is_token)?.to_vec();
        let (params, ..) = parse_params(&mut c);
        Some(Disposition { kind, params })
    }
}

/// Skips white space, line ends and comments.  RFC 5322 3.2.2.
///
/// Comments nest by a count, not by calls; one without an end takes all that
/// is left, so that a run of `(` is read once.
pub fn skip_cfws(c: &mut Cursor<'_>) {
    loop {
        c.take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
        if c.peek() != Some(b'(') {
            return;
        }
        let mut depth = 0_usize;
        while let Some(b) = c.next_byte() {
            match b {
                b'(' => depth = depth.saturating_add(1),
                b')' => depth = depth.saturating_sub(1),
                b'\\' => {
                    c.next_byte();
                }
                _ => {}
            }
            if depth == 0 {
                break;
            }
        }
    }
}

/// A quoted-string without its quotes and backslashes; `None` if none begins
/// here.  Line ends of folding are left out; without an end it takes all.
pub fn quoted_string(c: &mut Cursor<'_>) -> Option<Vec<u8>> {
    if !c.eat(b'"') {
        return None;
    }
    let mut out = Vec::new();
    while let Some(b) = c.next_byte() {
        match b {
            b'"' => break,
            b'\\' => out.extend(c.next_byte()),
            b'\r' | b'\n' => {}
            b => out.push(b),
        }
    }
    Some(out)
}

/// One `name=value` as it stands: `name*2*=...` is (name, Some(2), true, ...).
struct Piece {
    name: Vec<u8>,
    section: Option<u64>,
    extended: bool,
    value: Vec<u8>,
}

/// Parameters up to the end, whether one was given twice, and whether a boundary
/// was encoded or continued.
fn parse_params(c: &mut Cursor<'_>) -> (Params, bool, bool) {
    let mut pieces = Vec::new();
    while pieces.len() < limits::MIME_PARAMETERS.size() {
        // To the next semicolon, over what is no part of a value.
        skip_cfws(c);
        match c.next_byte() {
            None => break,
            Some(b';') => {}
            Some(b'"') => {
                c.take_while(|b| b != b'"');
                c.eat(b'"');
                continue;
            }
            Some(_) => {
                c.take_while(|b| !matches!(b, b';' | b'"' | b'('));
                continue;
            }
        }
        skip_cfws(c);
        let Some(name) = c.take_while1(chars::is_token) else { continue };
        skip_cfws(c);
        if !c.eat(b'=') {
            continue;
        }
        skip_cfws(c);
        let value = quoted_string(c).unwrap_or_else(|| {
            let bare = c.take_while(|b| !matches!(b, b';' | b'(' | b'"' | b'\r' | b'\n'));
            bare.trim_ascii().to_vec()
        });
        pieces.push(parse_piece(name, value));
    }
    let encoded = |p: &Piece| p.name == b"boundary" && (p.extended || p.section.is_some());
    let encoded_boundary = pieces.iter().any(encoded);
    let (params, repeated) = join(pieces);
    (params, repeated, encoded_boundary)
}

fn parse_piece(name: &[u8], value: Vec<u8>) -> Piece {
    let whole = || Piece {
        name: name.to_ascii_lowercase(),
        section: None,
        extended: false,
        value: value.clone(),
    };
    let Some(star) = memchr::memchr(b'*', name) else { return whole() };
    let (base, tail) = name.split_at_checked(star).unwrap_or((name, &[]));
    let mut t = Cursor::new(tail.get(1..).unwrap_or_default());
    let section = t.number();
    let extended = if section.is_some() { t.eat(b'*') } else { t.at_end() };
    if base.is_empty() || !t.at_end() || (section.is_none() && !extended) {
        return whole();
    }
    Piece { name: base.to_ascii_lowercase(), section, extended, value }
}

/// Joins continuations.  `name*` wins over `name*0` and that over `name`,
/// which is what a sender adds for old readers.  RFC 2231 3, 4.1.  Of a boundary
/// the plain one counts: readers that know no other would see other parts.
///
/// Quadratic in the number of pieces, of which there are at most
/// [`limits::MIME_PARAMETERS`].
fn join(pieces: Vec<Piece>) -> (Params, bool) {
    let mut params: Vec<Param> = Vec::new();
    let mut repeated = false;
    for (i, piece) in pieces.iter().enumerate() {
        let twin = |p: &Piece| {
            p.name == piece.name && p.section == piece.section && p.extended == piece.extended
        };
        if pieces.iter().take(i).any(twin) {
            repeated = true;
        }
        if params.iter().any(|p| p.name == piece.name) {
            continue;
        }
        let same = || pieces.iter().filter(|p| p.name == piece.name);
        let whole = |extended| same().find(|p| p.section.is_none() && p.extended == extended);
        let section = |n| same().find(|p| p.section == Some(n));
        let plain = if piece.name == b"boundary" { whole(false) } else { None };
        if let Some(p) = plain {
            let (name, value) = (p.name.clone(), p.value.clone());
            params.push(Param { name, value, extended: false });
            continue;
        }
        let param = match (whole(true), section(0), whole(false)) {
            (Some(p), _, _) => {
                Param { name: p.name.clone(), value: p.value.clone(), extended: true }
            }
            (None, Some(_), _) => {
                let run: Vec<&Piece> = (0_u64..).map_while(section).collect();
                continued(&piece.name, &run)
            }
            (None, None, Some(p)) => {
                Param { name: p.name.clone(), value: p.value.clone(), extended: false }
            }
            // A continuation without a beginning.
            (None, None, None) => continue,
        };
        params.push(param);
    }
    (Params(params), repeated)
}

/// `name*0`, `name*1*`, ... as one: extended if any of them is.
fn continued(name: &[u8], run: &[&Piece]) -> Param {
    let extended = run.iter().any(|p| p.extended);
    let mut value = Vec::new();
    if extended && run.first().is_some_and(|p| !p.extended) {
        value.extend_from_slice(b"''");
    }
    for piece in run {
        if extended && !piece.extended {
            percent_encode(&piece.value, &mut value);
        } else {
            value.extend_from_slice(&piece.value);
        }
    }
    Param { name: name.to_vec(), value, extended }
}

fn percent_encode(bytes: &[u8], out: &mut Vec<u8>) {
    for b in bytes {
        // attribute-char of RFC 2231 7.
        if chars::is_token(*b) && !matches!(b, b'*' | b'\'' | b'%') {
            out.push(*b);
        } else {
            out.extend_from_slice(format!("%{b:02X}").as_bytes());
        }
    }
}

/// `%XX` as the octet that it stands for; a `%` without digits stays.
pub fn percent_decode(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut c = Cursor::new(text);
    while let Some(b) = c.next_byte() {
        let digits = (c.peek().and_then(hex), c.peek_at(1).and_then(hex));
        match (b, digits) {
            (b'%', (Some(high), Some(low))) => {
                c.take(2);
                out.push(high << 4 | low);
            }
            _ => out.push(b),
        }
    }
    out
}

/// The value of a hexadecimal digit of either case.
pub const fn hex(b: u8) -> Option<u8> {
    match b {
        b'0'..=b'9' => Some(b.wrapping_sub(b'0')),
        b'a'..=b'f' => Some(b.wrapping_sub(b'a').wrapping_add(10)),
        b'A'..=b'F' => Some(b.wrapping_sub(b'A').wrapping_add(10)),
        _ => None,
    }
}
