//! The lexer: bytes of rmail.conf to tokens, with macros and includes.
//!
//! The rules are those of smtpd.conf, to the letter, since administrators bring
//! their files: a backslash before the end of a line joins lines, outside quotes
//! `\x` is `x`, a comment runs to the end of the *joined* line, a quoted text is
//! never a keyword or number, and inside quotes an end of line vanishes and a
//! backslash stays unless the quote, a space or a tab follows.  A macro's value
//! is lexed in its place, so it may hold several tokens, or the first part of
//! one; there are no macros inside macros.
//!
//! A file that ends inside a line ends that line, and at its end the including
//! file goes on.  Nothing here recurses: includes are a stack, an expansion is
//! pushed back in front of the input.

use std::sync::Arc;

use super::ast::Pos;
use super::keywords::KEYWORDS;
use super::{Error, Source};

/// The longest token, in bytes.
pub(super) const TOKEN_MAX: usize = 8095;
/// How deep files may include files.
const INCLUDE_MAX: usize = 16;
/// How many files one configuration may include.
const FILES_MAX: usize = 1000;
/// The largest file.
const FILE_MAX: usize = 16 << 20;

/// A token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A keyword, unquoted.
    Keyword(&'static str),
    /// Any other unquoted word.
    Word(String),
    /// A quoted text.
    Quoted(String),
    /// A number, and how it was written.
    Number(i64, String),
    /// `=>`
    Arrow,
    /// `= ! { } < > ,` and whatever else stands alone.
    Sign(u8),
    /// The end of a logical line.
    Newline,
    /// The end of the last file.
    End,
}

impl std::fmt::Display for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Token::Keyword(w) => write!(f, "{w}"),
            Token::Word(w) | Token::Number(_, w) => write!(f, "{}", w.escape_debug()),
            Token::Quoted(w) => write!(f, "\"{}\"", w.escape_debug()),
            Token::Arrow => write!(f, "=>"),
            Token::Sign(b) if b.is_ascii_graphic() => write!(f, "{}", char::from(*b)),
            Token::Sign(b) => write!(f, "byte {b:#04x}"),
            Token::Newline => write!(f, "end of line"),
            Token::End => write!(f, "end of file"),
        }
    }
}

/// What is read before the file's own bytes.
enum Back {
    Byte(u8),
    ExpansionBegins,
    ExpansionEnds,
}

struct Input {
    name: Arc<str>,
    bytes: Vec<u8>,
    pos: usize,
    line: u32,
    end_seen: bool,
}

struct Macro {
    name: String,
    value: String,
    /// Set with -D: a definition in the text does not change it.
    fixed: bool,
    used: bool,
    at: Option<Pos>,
}

/// Where a lexer stands.
pub(super) struct Lexer<'s> {
    source: &'s mut dyn Source,
    files: Vec<Input>,
    back: Vec<Back>,
    expanding: bool,
    macros: Vec<Macro>,
    opened: usize,
    /// Mistakes of words themselves.
    pub(super) errors: Vec<Error>,
    /// The place of the last token.
    pub(super) at: Pos,
    /// The line where a quoted text began that goes over several lines.
    pub(super) long_quote: Option<u32>,
}

impl<'s> Lexer<'s> {
    /// Begins with one file, and the macros of the command line.
    pub(super) fn new(
        name: &str,
        text: &[u8],
        defines: &[(String, String)],
        source: &'s mut dyn Source,
    ) -> Lexer<'s> {
        let name: Arc<str> = name.into();
        let mut lexer = Lexer {
            source,
            files: Vec::new(),
            back: Vec::new(),
            expanding: false,
            macros: Vec::new(),
            opened: 0,
            errors: Vec::new(),
            at: Pos { file: name.clone(), line: 1 },
            long_quote: None,
        };
        for (name, value) in defines {
            lexer.set_macro(name, value, true, None);
        }
        lexer.push_file(name, text.to_vec());
        lexer
    }

    /// Defines a macro; one of the command line stays as it is.
    pub(super) fn define(&mut self, name: &str, value: &str, at: Pos) {
        self.set_macro(name, value, false, Some(at));
    }

    fn set_macro(&mut self, name: &str, value: &str, fixed: bool, at: Option<Pos>) {
        if let Some(old) = self.macros.iter_mut().find(|m| m.name == name) {
            if !old.fixed || fixed {
                old.value = value.to_string();
            }
        } else {
            let (name, value) = (name.to_string(), value.to_string());
            self.macros.push(Macro { name, value, fixed, used: false, at });
        }
    }

    /// The macros that nothing has used, with their places.
    pub(super) fn unused(&self) -> impl Iterator<Item = (&str, &Pos)> {
        self.macros
            .iter()
            .filter(|m| !m.used)
            .filter_map(|m| Some((m.name.as_str(), m.at.as_ref()?)))
    }

    /// Goes on in another file, and here again at its end.
    pub(super) fn include(&mut self, path: &str) -> Result<(), String> {
        if self.files.len() >= INCLUDE_MAX {
            return Err(format!("includes more than {INCLUDE_MAX} deep: does it include itself?"));
        }
        if self.opened >= FILES_MAX {
            return Err(format!("more than {FILES_MAX} includes: does a file include itself?"));
        }
        let bytes = self.source.read(path).map_err(|e| format!("include \"{path}\": {e}"))?;
        if bytes.len() > FILE_MAX {
            return Err(format!("include \"{path}\": larger than {} MB", FILE_MAX >> 20));
        }
        self.push_file(path.into(), bytes);
        Ok(())
    }

    fn push_file(&mut self, name: Arc<str>, bytes: Vec<u8>) {
        self.opened = self.opened.saturating_add(1);
        self.files.push(Input { name, bytes, pos: 0, line: 1, end_seen: false });
    }

    /// The port of a service name.
    pub(super) fn service(&mut self, name: &str) -> Option<u16> {
        self.source.port(name)
    }

    fn error(&mut self, text: impl Into<String>) {
        self.errors.push(Error { at: self.at.clone(), text: text.into() });
    }

    /// The next byte, before escapes: pushed-back ones, then the file's.
    fn raw(&mut self) -> Option<u8> {
        loop {
            match self.back.pop() {
                Some(Back::Byte(b)) => return Some(b),
                Some(Back::ExpansionBegins) => self.expanding = true,
                Some(Back::ExpansionEnds) => self.expanding = false,
                None => break,
            }
        }
        let file = self.files.last_mut()?;
        let b = file.bytes.get(file.pos).copied()?;
        file.pos = file.pos.saturating_add(1);
        Some(b)
    }

    fn unread(&mut self, b: Option<u8>) {
        self.back.extend(b.map(Back::Byte));
    }

    fn next_line(&mut self) {
        if let Some(file) = self.files.last_mut() {
            file.line = file.line.saturating_add(1);
        }
    }

    /// The next byte outside quotes: joined lines are one, `\x` is x.  At the
    /// end of a file comes one end of line, then the including file.
    fn byte(&mut self) -> Option<u8> {
        loop {
            match self.raw() {
                Some(b'\\') => match self.raw() {
                    Some(b'\n') => self.next_line(),
                    other => return other,
                },
                Some(b) => return Some(b),
                None => {
                    let file = self.files.last_mut()?;
                    if !std::mem::replace(&mut file.end_seen, true) {
                        return Some(b'\n');
                    }
                    if self.files.len() == 1 {
                        return None;
                    }
                    self.files.pop();
                }
            }
        }
    }

    /// The next token; `at` is its place.
    pub(super) fn next(&mut self) -> Token {
        loop {
            let mut b = self.byte();
            while matches!(b, Some(b' ' | b'\t')) {
                b = self.byte();
            }
            // The end of a text has the place of its last line.
            if let Some(file) = self.files.last().filter(|_| b.is_some()) {
                self.at = Pos { file: file.name.clone(), line: file.line };
            }
            if b == Some(b'#') {
                while !matches!(b, Some(b'\n') | None) {
                    b = self.byte();
                }
            }
            if b == Some(b'$') && !self.expanding {
                if self.expand() {
                    continue;
                }
                return self.skip_line();
            }
            return match b {
                Some(quote @ (b'\'' | b'"')) => self.quoted(quote),
                Some(first @ (b'-' | b'0'..=b'9')) => self.number(first),
                Some(b'=') => {
                    let next = self.byte();
                    if next == Some(b'>') {
                        return Token::Arrow;
                    }
                    self.unread(next);
                    Token::Sign(b'=')
                }
                Some(first) if first.is_ascii_alphabetic() || matches!(first, b':' | b'_') => {
                    self.word(first)
                }
                // A file edited elsewhere may end its lines with CRLF.
                Some(b'\r') => {
                    let next = self.byte();
                    self.unread(next);
                    if next == Some(b'\n') {
                        continue;
                    }
                    Token::Sign(b'\r')
                }
                Some(b'\n') => {
                    self.next_line();
                    Token::Newline
                }
                Some(other) => Token::Sign(other),
                None => Token::End,
            };
        }
    }

    /// Reads on to the end of the logical line, which is the next token.
    pub(super) fn skip_line(&mut self) -> Token {
        // What is left of an expansion belongs to the line.
        loop {
            match self.byte() {
                Some(b'\n') => {
                    self.next_line();
                    return Token::Newline;
                }
                Some(_) => {}
                None => return Token::End,
            }
        }
    }

    /// `$name`: pushes the value back to be read next.
    fn expand(&mut self) -> bool {
        let mut name = String::new();
        let mut b = self.byte();
        while let Some(c) = b.filter(|c| c.is_ascii_alphanumeric() || *c == b'_') {
            if name.len() >= TOKEN_MAX {
                self.error("macro name too long");
                return false;
            }
            name.push(char::from(c));
            b = self.byte();
        }
        self.unread(b);
        let Some(found) = self.macros.iter_mut().find(|m| m.name == name) else {
            self.error(format!(
                "macro \"{name}\" is not defined: write {name} = \"value\" above, or start with -D {name}=value"
            ));
            return false;
        };
        found.used = true;
        self.back.push(Back::ExpansionEnds);
        self.back.extend(found.value.bytes().rev().map(Back::Byte));
        self.back.push(Back::ExpansionBegins);
        true
    }

    fn quoted(&mut self, quote: u8) -> Token {
        let mut text = Vec::new();
        let begun = self.at.line;
        loop {
            let mut b = self.raw();
            if b == Some(b'\\') {
                let next = self.raw();
                match next {
                    Some(n) if n == quote || n == b' ' || n == b'\t' => b = next,
                    Some(b'\n') => {
                        self.next_line();
                        continue;
                    }
                    _ => self.unread(next),
                }
            } else if b == Some(b'\n') {
                self.next_line();
                self.long_quote = Some(begun);
                continue;
            } else if b == Some(quote) {
                return self.text(text, Token::Quoted);
            }
            match b {
                None => {
                    self.error("a quote is opened here and never closed");
                    return self.skip_line();
                }
                Some(0) => {
                    self.error("a NUL byte in a quoted text: this is no text file");
                    return self.skip_line();
                }
                Some(_) if text.len() >= TOKEN_MAX => {
                    self.error(format!("text longer than {TOKEN_MAX} bytes: is a quote missing?"));
                    return self.skip_line();
                }
                Some(b) => text.push(b),
            }
        }
    }

    fn text(&mut self, bytes: Vec<u8>, make: fn(String) -> Token) -> Token {
        match String::from_utf8(bytes) {
            Ok(text) => make(text),
            Err(_) => {
                self.error("text that is not UTF-8");
                self.skip_line()
            }
        }
    }

    /// Digits that end where a number may end; else the start of a word.
    fn number(&mut self, first: u8) -> Token {
        let mut digits = vec![first];
        let mut b = self.byte();
        while let Some(d) = b.filter(u8::is_ascii_digit) {
            digits.push(d);
            if digits.len() > TOKEN_MAX {
                self.error(format!("number longer than {TOKEN_MAX} digits"));
                return self.skip_line();
            }
            b = self.byte();
        }
        self.unread(b);
        let ends = b.is_none_or(|b| {
            b.is_ascii_whitespace() || matches!(b, 0x0b | b')' | b',' | b'/' | b'}' | b'=')
        });
        let text = String::from_utf8_lossy(&digits).into_owned();
        if ends {
            // 32 digits are a key, not a number: what does not fit is a word.
            if let Ok(n) = text.parse() {
                return Token::Number(n, text);
            }
        }
        for d in digits.iter().skip(1).rev() {
            self.unread(Some(*d));
        }
        if first == b'-' {
            return Token::Sign(first);
        }
        self.word(first)
    }

    fn word(&mut self, first: u8) -> Token {
        let mut text = vec![first];
        let mut b = self.byte();
        while let Some(c) = b.filter(|c| {
            c.is_ascii_alphanumeric()
                || (c.is_ascii_punctuation()
                    && !matches!(
                        c,
                        b'(' | b')' | b'{' | b'}' | b'<' | b'>' | b'!' | b'=' | b'#' | b','
                    ))
        }) {
            if text.len() >= TOKEN_MAX {
                self.error(format!("word longer than {TOKEN_MAX} bytes"));
                return self.skip_line();
            }
            text.push(c);
            b = self.byte();
        }
        self.unread(b);
        match KEYWORDS.iter().find(|k| k.as_bytes() == text) {
            Some(k) => Token::Keyword(k),
            None => self.text(text, Token::Word),
        }
    }
}

#[cfg(test)]
mod tests;
