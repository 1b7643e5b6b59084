//! XML within bounds, as reports need it.
//!
//! Elements and text, no more: a document type, and with it every entity of a
//! document's own, is refused, so there is nothing to expand and nothing to
//! fetch.  Comments, processing instructions and attributes are read over.  One
//! pass with a stack of element names; the reader asks for one event at a time.

use crate::proto::cursor::Cursor;

/// Elements within each other.
const DEPTH: usize = 32;
/// Octets of one element's text that are kept.
const TEXT: usize = 4096;

/// What comes next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// An element begins; the name without its prefix.
    Start(&'a [u8]),
    /// The innermost element ends; its own text, white space at the ends removed.
    End(String),
}

/// A document being read.
pub struct Reader<'a> {
    c: Cursor<'a>,
    open: Vec<(&'a [u8], Vec<u8>)>,
    /// An empty element (`<a/>`) still has to end.
    pending_end: bool,
    seen_root: bool,
}

/// The document is not well formed, or over a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotXml;

impl<'a> Reader<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Reader<'a> {
        let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
        Reader { c: Cursor::new(bytes), open: Vec::new(), pending_end: false, seen_root: false }
    }

    /// The names of the open elements, the outermost first.
    pub fn path(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.open.iter().map(|(name, _)| *name)
    }

    /// The next event; `None` at the end of the document.
    pub fn next_event(&mut self) -> Result<Option<Event<'a>>, NotXml> {
        if std::mem::take(&mut self.pending_end) {
            return self.end().map(Some);
        }
        loop {
            let text = match self.c.take_until(b'<') {
                Some(text) => text,
                None => {
                    let rest = self.c.rest();
                    self.c.take(rest.len());
                    let done = self.open.is_empty() && self.seen_root;
                    let blank = rest.iter().all(u8::is_ascii_whitespace);
                    return if done && blank { Ok(None) } else { Err(NotXml) };
                }
            };
            self.text(text)?;
            self.c.next_byte();
            if self.c.eat_exact(b"!--") {
                self.skip_past(b"-->")?;
            } else if self.c.eat_exact(b"![CDATA[") {
                let data = self.skip_past(b"]]>")?;
                self.push_text(data);
            } else if self.c.eat(b'?') {
                self.skip_past(b"?>")?;
            } else if self.c.eat(b'/') {
                let name = self.name()?;
                self.space();
                if !self.c.eat(b'>') || self.open.last().map(|(n, _)| *n) != Some(name) {
                    return Err(NotXml);
                }
                return self.end().map(Some);
            } else {
                return self.start().map(Some);
            }
        }
    }

    /// Skips the rest of the innermost element.
    fn skip_past(&mut self, end: &[u8]) -> Result<&'a [u8], NotXml> {
        let n = memchr::memmem::find(self.c.rest(), end).ok_or(NotXml)?;
        let skipped = self.c.take(n).unwrap_or_default();
        self.c.take(end.len());
        Ok(skipped)
    }

    fn space(&mut self) {
        self.c.take_while(|b| b.is_ascii_whitespace());
    }

    /// A name; what stands before a colon is a prefix and is dropped.
    fn name(&mut self) -> Result<&'a [u8], NotXml> {
        let word = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b':');
        let name = self.c.take_while1(word).ok_or(NotXml)?;
        name.rsplit(|b| *b == b':').next().filter(|n| !n.is_empty()).ok_or(NotXml)
    }

    fn start(&mut self) -> Result<Event<'a>, NotXml> {
        if self.open.len() >= DEPTH || (self.open.is_empty() && self.seen_root) {
            return Err(NotXml);
        }
        let name = self.name()?;
        loop {
            self.space();
            if self.c.eat(b'>') {
                break;
            }
            if self.c.eat_exact(b"/>") {
                self.pending_end = true;
                break;
            }
            self.name()?;
            self.space();
            if !self.c.eat(b'=') {
                return Err(NotXml);
            }
            self.space();
            let quote = self.c.next_byte().filter(|b| matches!(b, b'"' | b'\'')).ok_or(NotXml)?;
            self.c.take_until(quote).ok_or(NotXml)?;
            self.c.next_byte();
        }
        self.seen_root = true;
        self.open.push((name, Vec::new()));
        Ok(Event::Start(name))
    }

    fn end(&mut self) -> Result<Event<'a>, NotXml> {
        let (_, text) = self.open.pop().ok_or(NotXml)?;
        Ok(Event::End(String::from_utf8_lossy(text.trim_ascii()).into_owned()))
    }

    fn push_text(&mut self, bytes: &[u8]) {
        if let Some((_, text)) = self.open.last_mut() {
            let room = TEXT.saturating_sub(text.len());
            text.extend_from_slice(bytes.get(..room).unwrap_or(bytes));
        }
    }

    /// Character data: the five entities that every document has, and numbers.
    fn text(&mut self, bytes: &'a [u8]) -> Result<(), NotXml> {
        let mut c = Cursor::new(bytes);
        loop {
            let plain = c.take_while(|b| b != b'&');
            self.push_text(plain);
            if !c.eat(b'&') {
                return Ok(());
            }
            let name = c.take_while(|b| b.is_ascii_alphanumeric() || b == b'#');
            if !c.eat(b';') {
                return Err(NotXml);
            }
            let ch = match name {
                b"lt" => '<',
                b"gt" => '>',
                b"amp" => '&',
                b"quot" => '"',
                b"apos" => '\'',
                number => reference(number).ok_or(NotXml)?,
            };
            self.push_text(ch.encode_utf8(&mut [0; 4]).as_bytes());
        }
    }
}

/// `#65` or `#x41`.
fn reference(name: &[u8]) -> Option<char> {
    let digits = std::str::from_utf8(name.strip_prefix(b"#")?).ok()?;
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code)
}

/// Text with what means something in XML escaped; control characters left out,
/// and what is no Char (XML 1.0 2.2).
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => {}
            c if c.is_control() && c != '\n' && c != '\t' => {}
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &str) -> Result<Vec<String>, NotXml> {
        let mut reader = Reader::new(text.as_bytes());
        let mut out = Vec::new();
        while let Some(event) = reader.next_event()? {
            out.push(match event {
                Event::Start(name) => format!("<{}", String::from_utf8_lossy(name)),
                Event::End(text) => format!("{text}>"),
            });
        }
        Ok(out)
    }

    #[test]
    fn elements_and_text() {
        let text = "<?xml version='1.0'?><!-- c --><n:a x='1' y = \"<\"><b>1 &lt;&#x41;&#66;</b><c/><![CDATA[<z>]]></n:a>\n";
        assert_eq!(events(text).unwrap(), ["<a", "<b", "1 <AB>", "<c", ">", "<z>>"]);
        assert_eq!(escape("a<b>&\"\u{1}"), "a&lt;b&gt;&amp;&quot;");
        assert_eq!(escape("\t\u{fffd}\u{fffe}\u{ffff}\u{10000}"), "\t\u{fffd}\u{10000}");
    }

    #[test]
    fn what_is_not_well_formed_is_refused() {
        for bad in [
            "",
            "x",
            "<a>",
            "</a>",
            "<a></b>",
            "<a/><b/>",
            "<a b></a>",
            "<a>&x;</a>",
            "<a>&lt</a>",
            "<!DOCTYPE a [<!ENTITY x 'y'>]><a/>",
            "<a><!ENTITY x 'y'></a>",
            "<a><b@c></b@c></a>",
            "<a><!-- </a>",
        ] {
            assert_eq!(events(bad), Err(NotXml), "{bad}");
        }
        assert_eq!(events(&"<a>".repeat(33)), Err(NotXml));
    }

    #[test]
    fn a_text_is_kept_to_its_limit() {
        let long = format!("<a>{}</a>", "x".repeat(1 << 20));
        assert_eq!(events(&long).unwrap()[1].len(), TEXT + 1);
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in ["<", "<a>", "<!--", "&", "<a ", "<a></a>", "]]>", "<![CDATA["] {
            crate::proto::testing::assert_linear(|n| {
                let _ =
                    std::hint::black_box(events(&format!("<r>{}", unit.repeat(n / unit.len()))));
            });
        }
    }
}
