//! JSON within bounds.  RFC 8259.
//!
//! Numbers are counts here: whole, not negative; any other one is 0.  Depth is
//! bounded, so that the recursion is; a text that is not UTF-8 is repaired.

use crate::proto::cursor::Cursor;

/// Arrays and objects within each other.
const DEPTH: usize = 16;
/// Values in all.
const VALUES: usize = 200_000;

/// A value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// `null`, `true`, `false`.
    Word,
    /// A count.
    Number(u64),
    /// A string.
    Text(String),
    /// An array.
    List(Vec<Value>),
    /// An object, in its order.
    Object(Vec<(String, Value)>),
}

impl Value {
    /// A member of an object.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Object(pairs) => pairs.iter().find(|(k, _)| k == key).map(|(_, v)| v),
            _ => None,
        }
    }

    /// A member that is a text; empty if it is not.
    pub fn text(&self, key: &str) -> String {
        match self.get(key) {
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        }
    }

    /// A member that is a count; 0 if it is not.
    pub fn number(&self, key: &str) -> u64 {
        match self.get(key) {
            Some(Value::Number(n)) => *n,
            _ => 0,
        }
    }

    /// The elements of an array.
    pub fn list(&self) -> &[Value] {
        match self {
            Value::List(list) => list,
            _ => &[],
        }
    }

    /// The texts of an array, or the one text.
    pub fn texts(&self) -> Vec<String> {
        match self {
            Value::Text(text) => vec![text.clone()],
            Value::List(list) => list
                .iter()
                .filter_map(|v| match v {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// The value as JSON.
    pub fn write(&self) -> String {
        let mut out = String::new();
        self.push(&mut out);
        out
    }

    fn push(&self, out: &mut String) {
        match self {
            Value::Word => out.push_str("null"),
            Value::Number(n) => out.push_str(&n.to_string()),
            Value::Text(text) => quote(text, out),
            Value::List(list) => {
                out.push('[');
                for (i, value) in list.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    value.push(out);
                }
                out.push(']');
            }
            Value::Object(pairs) => {
                out.push('{');
                for (i, (key, value)) in pairs.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    quote(key, out);
                    out.push(':');
                    value.push(out);
                }
                out.push('}');
            }
        }
    }
}

fn quote(text: &str, out: &mut String) {
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            c if c < ' ' => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

/// Reads one value and nothing after it.
pub fn parse(bytes: &[u8]) -> Option<Value> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    let mut c = Cursor::new(bytes);
    let mut left = VALUES;
    let value = value(&mut c, DEPTH, &mut left)?;
    skip(&mut c);
    c.at_end().then_some(value)
}

fn skip(c: &mut Cursor<'_>) {
    c.take_while(|b| matches!(b, b' ' | b'\t' | b'\r' | b'\n'));
}

fn value(c: &mut Cursor<'_>, depth: usize, left: &mut usize) -> Option<Value> {
    *left = left.checked_sub(1)?;
    skip(c);
    match c.peek()? {
        b'"' => Some(Value::Text(string(c)?)),
        b'[' => {
            let depth = depth.checked_sub(1)?;
            c.next_byte();
            let mut list = Vec::new();
            skip(c);
            while !c.eat(b']') {
                if !list.is_empty() && !c.eat(b',') {
                    return None;
                }
                list.push(value(c, depth, left)?);
                skip(c);
            }
            Some(Value::List(list))
        }
        b'{' => {
            let depth = depth.checked_sub(1)?;
            c.next_byte();
            let mut pairs = Vec::new();
            skip(c);
            while !c.eat(b'}') {
                if !pairs.is_empty() && !c.eat(b',') {
                    return None;
                }
                skip(c);
                let key = string(c)?;
                skip(c);
                if !c.eat(b':') {
                    return None;
                }
                pairs.push((key, value(c, depth, left)?));
                skip(c);
            }
            Some(Value::Object(pairs))
        }
        _ => {
            let word =
                c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.'))?;
            match word {
                b"null" | b"true" | b"false" => Some(Value::Word),
                word if word.first().is_some_and(|b| b.is_ascii_digit() || *b == b'-') => {
                    let mut n = Cursor::new(word);
                    let count = n.number().filter(|_| n.at_end()).unwrap_or(0);
                    Some(Value::Number(count))
                }
                _ => None,
            }
        }
    }
}

fn string(c: &mut Cursor<'_>) -> Option<String> {
    if !c.eat(b'"') {
        return None;
    }
    let mut out = Vec::new();
    loop {
        match c.next_byte()? {
            b'"' => return Some(String::from_utf8_lossy(&out).into_owned()),
            b'\\' => {
                let ch = match c.next_byte()? {
                    b'n' => '\n',
                    b't' => '\t',
                    b'r' => '\r',
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'u' => unicode(c)?,
                    b @ (b'"' | b'\\' | b'/') => char::from(b),
                    _ => return None,
                };
                out.extend_from_slice(ch.encode_utf8(&mut [0; 4]).as_bytes());
            }
            b => out.push(b),
        }
    }
}

/// `\uXXXX`, a surrogate pair as one character.
fn unicode(c: &mut Cursor<'_>) -> Option<char> {
    let first = hex4(c)?;
    if !(0xd800..0xdc00).contains(&first) {
        return Some(char::from_u32(first).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    let back = c.pos();
    let second = if c.eat_exact(b"\\u") { hex4(c) } else { None };
    match second.filter(|s| (0xdc00..0xe000).contains(s)) {
        Some(second) => {
            let bits = (first & 0x3ff) << 10 | (second & 0x3ff);
            let code = bits.saturating_add(0x1_0000);
            Some(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER))
        }
        None => {
            c.seek(back);
            Some(char::REPLACEMENT_CHARACTER)
        }
    }
}

fn hex4(c: &mut Cursor<'_>) -> Option<u32> {
    c.take(4)?.iter().try_fold(0, |n: u32, b| Some(n << 4 | char::from(*b).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(json: &str) -> Option<String> {
        match parse(json.as_bytes())? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    #[test]
    fn strings() {
        assert_eq!(text(r#""a\n\"\u00e9\ud83d\ude00\/""#).unwrap(), "a\n\"é😀/");
        assert_eq!(text(r#""\udbff\udfff""#).unwrap(), "\u{10ffff}");
        assert_eq!(text(r#""\ud800x""#).unwrap(), "\u{fffd}x");
        assert_eq!(text("\"\\x\""), None);
        assert_eq!(text("\"open"), None);
        assert_eq!(text(r#""\u00""#), None);
        assert_eq!(text(r#""\u+0e9""#), None);
    }

    #[test]
    fn values_come_back() {
        let json = r#" {"a":[1,2,{"b":"c"}],"d":null,"e":-1.5e3,"f":{}} "#;
        let value = parse(json.as_bytes()).unwrap();
        assert_eq!(value.write(), r#"{"a":[1,2,{"b":"c"}],"d":null,"e":0,"f":{}}"#);
        for bad in ["{a:1}", "[1 2]", "[1,]", "{\"a\" 1}", "tru", "1 2", "[", "{\"a\":"] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn depth_and_count_are_bounded() {
        let nest = |n: usize| "[".repeat(n) + &"]".repeat(n);
        assert!(parse(nest(16).as_bytes()).is_some());
        assert!(parse(nest(17).as_bytes()).is_none());
        assert!(parse(format!("[{}1]", "1,".repeat(200_000)).as_bytes()).is_none());
        for unit in ["[", "\"", "1,", "\\", "{\"a\":"] {
            crate::proto::testing::assert_linear(|n| {
                std::hint::black_box(parse(unit.repeat(n / unit.len()).as_bytes()));
            });
        }
    }
}
