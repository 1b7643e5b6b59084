//! The text of an HTML part, for `body :text` and `extracttext`.
//!
//! One pass, linear, no tree: tags are dropped, block tags become line ends,
//! the commonest character references are replaced, `script`, `style` and
//! comments are left out.  RFC 5173 5.3 leaves the transformation to us.

use crate::proto::cursor::Cursor;

/// The text of a piece of HTML in UTF-8.
pub fn text(html: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(html.len() / 2);
    let mut c = Cursor::new(html);
    while let Some(b) = c.peek() {
        match b {
            b'<' => tag(&mut c, &mut out),
            b'&' => reference(&mut c, &mut out),
            b if b.is_ascii_whitespace() => {
                c.next_byte();
                blank(&mut out);
            }
            _ => {
                out.extend_from_slice(c.take_while(|b| {
                    !matches!(b, b'<' | b'&' | b' ' | b'\t' | b'\r' | b'\n' | 0x0c)
                }))
            }
        }
    }
    out
}

fn line_end(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b'\n')) {
        out.extend_from_slice(b"\r\n");
    }
}

/// White space runs are one blank.
fn blank(out: &mut Vec<u8>) {
    if !matches!(out.last(), None | Some(b' ' | b'\n')) {
        out.push(b' ');
    }
}

fn tag(c: &mut Cursor<'_>, out: &mut Vec<u8>) {
    c.next_byte();
    if c.eat_exact(b"!--") {
        return skip_past(c, b"-->");
    }
    let closing = c.eat(b'/');
    let name = c.take_while(|b| b.is_ascii_alphanumeric()).to_ascii_lowercase();
    if name.is_empty() && !closing && c.peek() != Some(b'!') && c.peek() != Some(b'?') {
        return out.push(b'<');
    }
    // Attributes; a quoted value may hold a '>'.
    let mut quote = None;
    while let Some(b) = c.next_byte() {
        match (quote, b) {
            (Some(q), b) if q == b => quote = None,
            (None, b'"' | b'\'') => quote = Some(b),
            (None, b'>') => break,
            _ => {}
        }
    }
    match name.as_slice() {
        b"script" if !closing => skip_past(c, b"</script"),
        b"style" if !closing => skip_past(c, b"</style"),
        b"br" | b"p" | b"div" | b"tr" | b"li" | b"table" | b"h1" | b"h2" | b"h3" | b"h4"
        | b"ul" | b"ol" | b"hr" | b"blockquote" | b"pre" | b"title" => {
            line_end(out);
        }
        b"td" | b"th" => blank(out),
        _ => {}
    }
}

/// After the next occurrence, ASCII case folded; the end without one.
fn skip_past(c: &mut Cursor<'_>, end: &[u8]) {
    while !c.at_end() {
        if c.eat_word(end) {
            if end.first() == Some(&b'<') {
                c.take_while(|b| b != b'>');
                c.next_byte();
            }
            return;
        }
        c.next_byte();
    }
}

/// character reference; what is none stays.
fn reference(c: &mut Cursor<'_>, out: &mut Vec<u8>) {
    c.next_byte();
    let start = c.pos();
    let name = c.take_while(|b| b.is_ascii_alphanumeric() || b == b'#');
    let char = match name {
        b"amp" => Some('&'),
        b"lt" => Some('<'),
        b"gt" => Some('>'),
        b"quot" => Some('"'),
        b"apos" => Some('\''),
        b"nbsp" => Some(' '),
        _ => numeric(name),
    };
    match char.filter(|_| name.len() <= 8) {
        Some(char) => {
            c.eat(b';');
            out.extend_from_slice(char.encode_utf8(&mut [0; 4]).as_bytes());
        }
        None => {
            c.seek(start);
            out.push(b'&');
        }
    }
}

fn numeric(name: &[u8]) -> Option<char> {
    let digits = std::str::from_utf8(name.strip_prefix(b"#")?).ok()?;
    let code = match digits.strip_prefix(['x', 'X']) {
        Some(hex) => u32::from_str_radix(hex, 16).ok()?,
        None => digits.parse().ok()?,
    };
    char::from_u32(code).filter(|c| *c != '\0')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::assert_linear;
    use std::hint::black_box;

    #[test]
    fn tags_scripts_and_references() {
        let html = b"<p class='a>b'>Hello&nbsp;<b>W&#246;rld</b> &amp; co\n<script>var a='<p>';\
            </SCRIPT ><!-- x --><br>1 < 2 &bogus;";
        let want = "Hello W\u{f6}rld & co \r\n1 < 2 &bogus;";
        assert_eq!(String::from_utf8(text(html)).unwrap(), want);
    }

    #[test]
    fn floods_take_linear_time() {
        for flood in [
            "<", "<!--", "<script>", "<style>", "</script", "&#", "&a", "&", "<a \"", "<a>",
            "<a b", "a=b ", "\"", "'", ">", " ",
        ] {
            assert_linear(|n| {
                black_box(text(flood.repeat(n / flood.len()).as_bytes()));
                black_box(text(format!("<a {}", flood.repeat(n / flood.len())).as_bytes()));
                black_box(text(format!("<script>{}", flood.repeat(n / flood.len())).as_bytes()));
            });
        }
    }

    /// There is no limit to their number because none of them is kept.
    #[test]
    fn attributes_without_number_are_read_over_and_kept_nowhere() {
        let many: String = (0..100_000).map(|i| format!(" a{i}=\"<b>{i}\"")).collect();
        let out = text(format!("<p{many}>text</p{many}>").as_bytes());
        assert_eq!(out, b"text\r\n");
    }

    /// No URL is looked at, so that none can be fetched: neither text nor address
    /// of it is given on.
    #[test]
    fn urls_of_attributes_are_left_out_and_nothing_is_fetched() {
        let html = "<a href=\"javascript:alert(1)\">one</a> <img src='data:text/html,two'>\
                    <iframe src=https://example.org/three></iframe>\
                    <link rel=stylesheet href=//example.org/four><base href=\"http://e/\">end";
        assert_eq!(text(html.as_bytes()), b"one end");
    }

    /// What is not closed takes the rest with it.
    #[test]
    fn elements_within_each_other_need_no_stack() {
        let deep = "<div>".repeat(100_000) + "x" + &"</div>".repeat(100_000);
        assert_eq!(text(deep.as_bytes()), b"x\r\n");
        assert_eq!(text(b"a<b \"c>d"), b"a");
        assert_eq!(text(b"a<!-- b"), b"a");
    }
}
