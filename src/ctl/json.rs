//! JSON as `rmailctl -j` writes it: one value, keys in the order given.  RFC 8259.

/// A value under construction.
pub enum Json {
    /// True or false.
    Bool(bool),
    /// A number.
    Number(i64),
    /// A string; bytes that are not UTF-8 become U+FFFD.
    Text(String),
    /// Elements.
    Array(Vec<Json>),
    /// Members.
    Object(Vec<(&'static str, Json)>),
    /// Members whose names come from elsewhere.
    Fields(Vec<(String, Json)>),
}

impl Json {
    /// A string from bytes.
    pub fn bytes(bytes: &[u8]) -> Json {
        Json::Text(String::from_utf8_lossy(bytes).into_owned())
    }

    /// A number; beyond what an i64 holds never happens to a count.
    pub fn count(n: u64) -> Json {
        Json::Number(i64::try_from(n).unwrap_or(i64::MAX))
    }

    /// The text, with a line end.
    pub fn line(&self) -> Vec<u8> {
        let mut out = String::new();
        self.write(&mut out);
        out.push('\n');
        out.into_bytes()
    }

    fn write(&self, out: &mut String) {
        match self {
            Json::Bool(b) => out.push_str(if *b { "true" } else { "false" }),
            Json::Number(n) => out.push_str(&n.to_string()),
            Json::Text(s) => quote(s, out),
            Json::Array(all) => {
                out.push('[');
                for (i, v) in all.iter().enumerate() {
                    if i > 0 {
                        out.push(',');
                    }
                    v.write(out);
                }
                out.push(']');
            }
            Json::Object(all) => members(all, out),
            Json::Fields(all) => members(all, out),
        }
    }
}

fn members<K: AsRef<str>>(all: &[(K, Json)], out: &mut String) {
    out.push('{');
    for (i, (k, v)) in all.iter().enumerate() {
        if i > 0 {
            out.push(',');
        }
        quote(k.as_ref(), out);
        out.push(':');
        v.write(out);
    }
    out.push('}');
}

/// RFC 8259 7: quotation mark, reverse solidus and control characters escaped.
fn quote(s: &str, out: &mut String) {
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if u32::from(c) < 0x20 => out.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped() {
        let v = Json::Object(vec![
            ("a", Json::bytes(b"\"\\\n\x01\xff")),
            ("b", Json::Array(vec![Json::Number(-1), Json::Number(7)])),
        ]);
        let want = "{\"a\":\"\\\"\\\\\\n\\u0001\u{fffd}\",\"b\":[-1,7]}\n";
        assert_eq!(v.line(), want.as_bytes());
    }
}
