//! The tokens of a script.  RFC 5228 8.1.
//!
//! Total and linear: every byte string is a sequence of tokens, some of them
//! [`Token::Bad`] with the reason.  Tokens borrow from the script wherever it
//! says literally what they mean.  Line ends inside strings become CRLF,
//! whatever the script uses, so that texts are fit for mail.

use std::borrow::Cow;

use crate::proto::cursor::Cursor;
use crate::proto::limits;

use super::fault::Pos;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Token<'a> {
    /// A name, in lower case.
    Identifier(Cow<'a, str>),
    /// `:name`, without the colon, in lower case.
    Tag(Cow<'a, str>),
    /// A number with its quantifier applied.
    Number(u64),
    /// A quoted or multi-line string, unescaped.
    Text(Cow<'a, [u8]>),
    /// One of `( ) [ ] { } , ;`.
    Punct(u8),
    /// Something that is no token; skipped already.
    Bad(String),
    /// The end of the script.
    End,
}

impl Token<'_> {
    /// What it is called in an error.
    pub fn describe(&self) -> String {
        match self {
            Token::Identifier(name) => format!("'{name}'"),
            Token::Tag(name) => format!("':{name}'"),
            Token::Number(_) => "a number".into(),
            Token::Text(_) => "a string".into(),
            Token::Punct(b) => format!("'{}'", char::from(*b)),
            Token::Bad(_) => "garbage".into(),
            Token::End => "the end of the script".into(),
        }
    }
}

/// Reads tokens one by one.
pub struct Lexer<'a> {
    script: &'a str,
    c: Cursor<'a>,
    line: u32,
    line_start: usize,
}

impl<'a> Lexer<'a> {
    /// Begins at the script's first octet.
    pub fn new(script: &'a str) -> Self {
        let mut c = Cursor::new(script.as_bytes());
        c.eat_exact(b"\xef\xbb\xbf"); // some editors write a byte order mark
        Lexer { script, c, line: 1, line_start: 0 }
    }

    /// The place of the next octet.
    fn pos(&self) -> Pos {
        let column = self.c.pos().saturating_sub(self.line_start).saturating_add(1);
        Pos { line: self.line, column: u32::try_from(column).unwrap_or(u32::MAX) }
    }

    /// Consumes one octet and counts lines.
    fn bump(&mut self) -> Option<u8> {
        let b = self.c.next_byte()?;
        if b == b'\n' {
            self.line = self.line.saturating_add(1);
            self.line_start = self.c.pos();
        }
        Some(b)
    }

    /// The next token and where it begins.
    pub fn next_token(&mut self) -> (Pos, Token<'a>) {
        if let Err(bad) = self.skip_white() {
            return bad;
        }
        let pos = self.pos();
        let token = match self.c.peek() {
            None => Token::End,
            Some(b'"') => self.quoted(),
            Some(b'0'..=b'9') => self.number(),
            Some(b':') => {
                self.bump();
                let (name, upper) = self.word();
                match name.as_bytes() {
                    // An identifier does not begin with a digit.
                    [] | [b'0'..=b'9', ..] => Token::Bad("a colon without a tag name".into()),
                    _ => named(name, upper).map_or_else(Token::Bad, Token::Tag),
                }
            }
            Some(b @ (b'(' | b')' | b'[' | b']' | b'{' | b'}' | b',' | b';')) => {
                self.bump();
                Token::Punct(b)
            }
            Some(b) if is(b, WORD) => {
                let (name, upper) = self.word();
                if self.c.peek() == Some(b':') && name.eq_ignore_ascii_case("text") {
                    self.bump();
                    self.multi_line()
                } else {
                    named(name, upper).map_or_else(Token::Bad, Token::Identifier)
                }
            }
            Some(_) => self.garbage(),
        };
        (pos, token)
    }

    /// white-space = 1*(SP / CRLF / HTAB) / comment
    fn skip_white(&mut self) -> Result<(), (Pos, Token<'a>)> {
        loop {
            match self.c.peek() {
                Some(b' ' | b'\t' | b'\r') => {
                    self.c.next_byte();
                }
                Some(b'\n') => {
                    self.bump();
                }
                Some(b'#') => {
                    self.c.take_while(|b| b != b'\n');
                }
                Some(b'/') if self.c.peek_at(1) == Some(b'*') => {
                    let pos = self.pos();
                    self.c.take(2);
                    while !self.c.eat_exact(b"*/") {
                        if self.bump().is_none() {
                            return Err((pos, Token::Bad("this comment does not end".into())));
                        }
                    }
                }
                _ => return Ok(()),
            }
        }
    }

    /// identifier = (ALPHA / "_") *(ALPHA / DIGIT / "_")
    ///
    /// And whether there is a capital letter in it.
    fn word(&mut self) -> (&'a str, bool) {
        let start = self.c.pos();
        self.c.take_while(|b| is(b, LOWER));
        let upper = !self.c.take_while(|b| is(b, WORD)).is_empty();
        (self.script.get(start..self.c.pos()).unwrap_or_default(), upper)
    }

    /// number = 1*DIGIT [ QUANTIFIER ]; QUANTIFIER = "K" / "M" / "G"
    fn number(&mut self) -> Token<'a> {
        let too_large = || Token::Bad("this number is too large".into());
        let Some(n) = self.c.number() else {
            self.c.take_while(|b| b.is_ascii_alphanumeric());
            return too_large();
        };
        let shift = match self.c.peek().map(|b| b.to_ascii_uppercase()) {
            Some(b'K') => 10,
            Some(b'M') => 20,
            Some(b'G') => 30,
            _ => 0,
        };
        if shift > 0 {
            self.bump();
        }
        if self.c.peek().is_some_and(|b| is(b, WORD)) {
            self.c.take_while(|b| is(b, WORD));
            return Token::Bad("a number followed by letters".into());
        }
        n.checked_mul(1 << shift).map_or_else(too_large, Token::Number)
    }

    /// quoted-string = DQUOTE quoted-text DQUOTE; a backslash takes the next octet as it is.
    fn quoted(&mut self) -> Token<'a> {
        self.bump();
        let plain = |b| is(b, PLAIN);
        let first = self.c.take_while(plain);
        if self.c.eat(b'"') {
            return checked(Cow::Borrowed(first));
        }
        let mut text = first.to_vec();
        loop {
            text.extend_from_slice(self.c.take_while(plain));
            match self.bump() {
                None => return Token::Bad("this string does not end".into()),
                Some(b'"') => break,
                Some(b'\\') => match self.bump() {
                    Some(b'\n') => text.extend_from_slice(b"\r\n"),
                    Some(b) => text.push(b),
                    None => return Token::Bad("this string does not end".into()),
                },
                Some(b'\r') if self.c.peek() == Some(b'\n') => {}
                Some(b'\n') => text.extend_from_slice(b"\r\n"),
                Some(b) => text.push(b),
            }
        }
        checked(Cow::Owned(text))
    }

    /// multi-line = "text:" *(SP / HTAB) (hash-comment / CRLF)
    ///              *(multiline-literal / multiline-dotstart) "." CRLF
    fn multi_line(&mut self) -> Token<'a> {
        self.c.take_while(|b| matches!(b, b' ' | b'\t' | b'\r'));
        if self.c.peek() == Some(b'#') {
            self.c.take_while(|b| b != b'\n');
        }
        if self.bump() != Some(b'\n') {
            return Token::Bad("'text:' is not followed by a line end".into());
        }
        let mut text = Vec::new();
        loop {
            let line = self.c.take_while(|b| b != b'\n');
            let ended = self.bump().is_some();
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            match line {
                // The last line may lack its line end: nothing can be meant but the end.
                b"." => break,
                // ".foo" means ".foo", bad style that it is.  RFC 5228 2.4.2.
                [b'.', stuffed @ ..] if stuffed.starts_with(b".") => {
                    text.extend_from_slice(stuffed);
                }
                _ => text.extend_from_slice(line),
            }
            if !ended {
                return Token::Bad("this multi-line text does not end in a line with a dot".into());
            }
            text.extend_from_slice(b"\r\n");
        }
        checked(Cow::Owned(text))
    }

    /// A run of octets that begin no token.
    fn garbage(&mut self) -> Token<'a> {
        let bad = self.c.take_while(|b| {
            b > 0x20 && !b.is_ascii_alphanumeric() && !b"\":()[]{},;_#\x7f".contains(&b)
        });
        let shown = String::from_utf8_lossy(bad.get(..bad.len().min(16)).unwrap_or_default());
        if bad.is_empty() {
            let b = self.bump().unwrap_or_default();
            return Token::Bad(format!("the octet 0x{b:02x} has no place in a script"));
        }
        Token::Bad(format!("'{shown}' has no meaning here"))
    }
}

/// A name in lower case.
fn named(name: &str, upper: bool) -> Result<Cow<'_, str>, String> {
    if name.len() > limits::SIEVE_IDENTIFIER.size() {
        return Err(format!("a name of more than {} octets", limits::SIEVE_IDENTIFIER.default));
    }
    Ok(if upper { name.to_ascii_lowercase().into() } else { name.into() })
}

fn checked(text: Cow<'_, [u8]>) -> Token<'_> {
    if text.len() > limits::SIEVE_STRING.size() {
        Token::Bad(format!("a string of more than {} octets", limits::SIEVE_STRING.default))
    } else {
        Token::Text(text)
    }
}

/// What names consist of: (ALPHA / DIGIT / "_").
const WORD: u8 = 1;

/// The same but for capital letters.
const LOWER: u8 = 4;

/// What stands for itself in a quoted string, and is no line end.
const PLAIN: u8 = 2;

/// True if an octet is of this class.
fn is(b: u8, class: u8) -> bool {
    CLASSES.get(usize::from(b)).is_some_and(|classes| classes & class != 0)
}

/// The classes of each octet: most of a script is names and strings, and a table does not branch.
#[expect(clippy::indexing_slicing, clippy::as_conversions, reason = "evaluated when compiling")]
static CLASSES: [u8; 256] = {
    let mut classes = [0; 256];
    let mut at = 0;
    while at < classes.len() {
        let b = at as u8;
        if b.is_ascii_alphanumeric() || b == b'_' {
            classes[at] |= if b.is_ascii_uppercase() { WORD } else { WORD | LOWER };
        }
        if !matches!(b, b'"' | b'\\' | b'\r' | b'\n') {
            classes[at] |= PLAIN;
        }
        at += 1;
    }
    classes
};

#[cfg(test)]
mod tests {
    use super::*;

    fn all(script: &str) -> Vec<Token<'_>> {
        let mut lexer = Lexer::new(script);
        let mut tokens = Vec::new();
        loop {
            match lexer.next_token().1 {
                Token::End => return tokens,
                token => tokens.push(token),
            }
        }
    }

    #[test]
    fn a_multi_line_text_is_unstuffed_and_gets_crlf() {
        assert_eq!(
            all("text: # why\nHello\n..dot\n.\n;"),
            [Token::Text(b"Hello\r\n.dot\r\n"[..].into()), Token::Punct(b';')]
        );
    }

    #[test]
    fn quantifiers_multiply_and_overflow_is_an_error() {
        assert_eq!(all("1K 2m"), [Token::Number(1024), Token::Number(2 << 20)]);
        assert!(matches!(all("18446744073709551615K").as_slice(), [Token::Bad(_)]));
        assert!(matches!(all("10x").as_slice(), [Token::Bad(_)]));
    }

    #[test]
    fn positions_count_lines_and_octets() {
        let mut lexer = Lexer::new("/* a\n b */ keep\n  ;");
        assert_eq!(lexer.next_token().0, Pos { line: 2, column: 7 });
        assert_eq!(lexer.next_token().0, Pos { line: 3, column: 3 });
    }
}
