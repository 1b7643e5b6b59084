//! Strings with variables in them, and encoded characters.  RFC 5229 3,
//! RFC 5228 2.4.2.4.
//!
//! Both are resolved once, when the script is compiled: encoded characters
//! first, then variable references, so that `${hex:24}{x}` is a reference.

use super::check::Check;
use super::code::{Part, Text};
use super::fault::Pos;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// A name in a variable reference or in the argument of `set`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// Digits only: a match variable.
    Match(usize),
    /// An identifier, in lower case.
    Plain(String),
    /// Identifiers with dots between, cut at the first dot; in lower case.
    Spaced(String, String),
}

/// variable-name = num-variable / *namespace identifier
pub fn variable_name(c: &mut Cursor<'_>) -> Option<Name> {
    let start = c.pos();
    let name = name(c);
    if name.is_none() {
        c.seek(start);
    }
    name
}

fn name(c: &mut Cursor<'_>) -> Option<Name> {
    if c.peek()?.is_ascii_digit() {
        // A number too large for us is a match variable that nothing ever sets.
        let digits = c.take_while(|b| b.is_ascii_digit());
        let n = std::str::from_utf8(digits).ok().and_then(|d| d.parse().ok());
        return Some(Name::Match(n.unwrap_or(usize::MAX)));
    }
    let start = c.pos();
    let mut first_dot = None;
    loop {
        if !c.peek().is_some_and(|b| b.is_ascii_alphabetic() || b == b'_') {
            return None;
        }
        c.take_while(|b| b.is_ascii_alphanumeric() || b == b'_');
        if c.peek() != Some(b'.') {
            break;
        }
        first_dot.get_or_insert(c.pos().saturating_sub(start));
        c.next_byte();
    }
    let text = String::from_utf8_lossy(c.since(start)).to_ascii_lowercase();
    Some(match first_dot.and_then(|at| text.split_at_checked(at)) {
        Some((space, rest)) => Name::Spaced(space.into(), rest.trim_start_matches('.').into()),
        None => Name::Plain(text),
    })
}

/// Makes the text of a string as it stands in the script.
pub fn text(check: &mut Check<'_>, pos: Pos, raw: &[u8]) -> Text {
    if memchr::memchr(b'$', raw).is_none() {
        return Text::Constant(raw.into());
    }
    let decoded = match check.has("encoded-character") {
        true => match decode(raw) {
            Ok(decoded) => decoded,
            Err(why) => {
                check.error(pos, why);
                raw.to_vec()
            }
        },
        false => raw.to_vec(),
    };
    if !check.has("variables") {
        return Text::Constant(decoded.as_slice().into());
    }
    let mut parts = Vec::new();
    let mut plain = Vec::new();
    let mut c = Cursor::new(&decoded);
    while let Some(b) = c.next_byte() {
        let here = c.pos();
        // variable-ref = "${" variable-name "}"
        if b == b'$' && c.eat(b'{') {
            let name = variable_name(&mut c).filter(|_| c.eat(b'}'));
            if let Some(name) = name {
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.extend(check.variable(pos, name).map(Part::Variable));
                continue;
            }
        }
        c.seek(here);
        plain.push(b);
    }
    if parts.is_empty() {
        return Text::Constant(plain.as_slice().into());
    }
    if !plain.is_empty() {
        parts.push(Part::Text(plain));
    }
    Text::Template(parts.into())
}

/// encoded-arb-octets / encoded-unicode-char; what is neither stays as it is.
///
/// A number that is no Unicode character is an error.  RFC 5228 2.4.2.4.
pub fn decode(raw: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut c = Cursor::new(raw);
    while !c.at_end() {
        let start = c.pos();
        if c.eat_exact(b"${") {
            let mut decoded = Vec::new();
            let whole = if c.eat_word(b"hex:") {
                hex_list(&mut c, &mut |digits, n| {
                    // hex-pair = 1*2HEXDIG: "040" is none, though its value would fit.
                    let octet = u8::try_from(n).ok().filter(|_| digits <= 2);
                    octet.map(|b| decoded.push(b)).ok_or(())
                })
            } else if c.eat_word(b"unicode:") {
                let mut bad = None;
                let whole = hex_list(&mut c, &mut |_, n| {
                    match char::from_u32(n) {
                        Some(char) => {
                            decoded.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
                        }
                        None => bad = Some(n),
                    }
                    Ok(())
                });
                if let (Some(n), true) = (bad, whole) {
                    return Err(format!("'{n:x}' is no Unicode character"));
                }
                whole
            } else {
                false
            };
            if whole {
                out.extend_from_slice(&decoded);
                continue;
            }
            c.seek(start);
        }
        out.extend(c.next_byte());
    }
    Ok(out)
}

/// blank-separated hexadecimal numbers and a closing brace; false if it is anything else.
///
/// Gives how many digits each has, and its value.
fn hex_list(c: &mut Cursor<'_>, give: &mut dyn FnMut(usize, u32) -> Result<(), ()>) -> bool {
    let blank = |b| matches!(b, b' ' | b'\t' | b'\r' | b'\n');
    let mut any = false;
    loop {
        let gap = c.take_while(blank);
        if c.eat(b'}') {
            return any;
        }
        if any && gap.is_empty() {
            return false;
        }
        let Some(digits) = c.take_while1(|b| b.is_ascii_hexdigit()) else { return false };
        let digits = std::str::from_utf8(digits).unwrap_or_default();
        let octets = digits.trim_start_matches('0').len();
        let number = u32::from_str_radix(digits, 16).unwrap_or(u32::MAX);
        if octets > limits::SIEVE_IDENTIFIER.size() || give(digits.len(), number).is_err() {
            return false;
        }
        any = true;
    }
}

/// Appends a value and bounds the growth; false if it has become too large.
pub fn append(out: &mut Vec<u8>, more: &[u8]) -> bool {
    if out.len().saturating_add(more.len()) > limits::SIEVE_STRING.size() {
        return false;
    }
    out.extend_from_slice(more);
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoded_characters_are_decoded_and_mistakes_left_alone() {
        for (raw, decoded) in [
            ("$${hex:40}", "$@"),
            ("${hex: 40 }", "@"),
            ("${HEX: 40}", "@"),
            ("${hex:40", "${hex:40"),
            ("${hex:400}", "${hex:400}"),
            ("${hex:040}", "${hex:040}"),
            ("${hex:4${hex:30}}", "${hex:40}"),
            ("${unicode:40 e9}", "@\u{e9}"),
            ("${unicode:000040}", "@"),
            ("${ unicode:40}", "${ unicode:40}"),
            ("${unicode:Cool}", "${unicode:Cool}"),
            ("${hex:}", "${hex:}"),
        ] {
            assert_eq!(decode(raw.as_bytes()), Ok(decoded.as_bytes().to_vec()), "{raw}");
        }
        assert!(decode(b"${unicode:DF01}").is_err());
        assert!(decode(b"${unicode:200000}").is_err());
    }

    #[test]
    fn names_of_variables() {
        let name = |s: &str| {
            let mut c = Cursor::new(s.as_bytes());
            variable_name(&mut c).filter(|_| c.at_end())
        };
        assert_eq!(name("Abc_1"), Some(Name::Plain("abc_1".into())));
        assert_eq!(name("12"), Some(Name::Match(12)));
        assert_eq!(name("global.X"), Some(Name::Spaced("global".into(), "x".into())));
        assert_eq!(name("a.b.c"), Some(Name::Spaced("a".into(), "b.c".into())));
        for bad in ["", "1a", "a.", ".a", "a-b", "0.s"] {
            assert_eq!(name(bad), None, "{bad}");
        }
    }
}
