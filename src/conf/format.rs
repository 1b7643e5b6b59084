//! Format specifiers: `%{token[range]:modifier|modifier}` in paths and commands.
//!
//! Parsed once, when the configuration is read, so that a mistake in one is an
//! error with a line; proc/lookup puts the values in.  `%%` is a per cent sign,
//! and a `%` that no `{` follows stands for itself.
//!
//! Unlike smtpd, a range and modifiers may be used together.

use crate::proto::cursor::Cursor;

/// A text with specifiers, parsed.
#[derive(Clone, Debug)]
pub struct Format {
    text: String,
    parts: Vec<Part>,
}

// Two formats are equal when they were written alike.
impl PartialEq for Format {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Format {}

/// A piece of a format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// Text that stands for itself.
    Text(String),
    /// A specifier.
    Specifier(Specifier),
}

/// `%{...}`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Specifier {
    /// What is inserted.
    pub token: Token,
    /// Which of its characters.
    pub range: Option<Range>,
    /// What is done to them, in this order.
    pub modifiers: Vec<Modifier>,
}

/// What a specifier stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// The sender, empty for a bounce.
    Sender,
    /// Its local part.
    SenderUser,
    /// Its domain.
    SenderDomain,
    /// The recipient as the client named it.
    Rcpt,
    /// Its local part.
    RcptUser,
    /// Its domain.
    RcptDomain,
    /// The recipient after expansion.
    Dest,
    /// Its local part.
    DestUser,
    /// Its domain.
    DestDomain,
    /// The user that the message is delivered as.
    UserName,
    /// His home directory.
    UserDirectory,
    /// The sender, MAILER-DAEMON for a bounce.
    MboxFrom,
    /// The command that a wrapper wraps.
    Mda,
}

/// The names of the tokens.
pub const TOKENS: &[(&str, Token)] = &[
    ("dest", Token::Dest),
    ("dest.domain", Token::DestDomain),
    ("dest.user", Token::DestUser),
    ("mbox.from", Token::MboxFrom),
    ("mda", Token::Mda),
    ("rcpt", Token::Rcpt),
    ("rcpt.domain", Token::RcptDomain),
    ("rcpt.user", Token::RcptUser),
    ("sender", Token::Sender),
    ("sender.domain", Token::SenderDomain),
    ("sender.user", Token::SenderUser),
    ("user.directory", Token::UserDirectory),
    ("user.username", Token::UserName),
];

/// A range of characters; a negative number counts from the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first character.
    pub begin: i32,
    /// The last one, itself included when it is positive; `None` is the end.
    pub end: Option<i32>,
}

/// What is done to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Modifier {
    /// To lower case.
    Lowercase,
    /// To upper case.
    Uppercase,
    /// Without the sub-address and its delimiter.
    Strip,
    /// Without replacing the characters that a shell knows.
    Raw,
}

/// The names of the modifiers.
pub const MODIFIERS: &[(&str, Modifier)] = &[
    ("lowercase", Modifier::Lowercase),
    ("raw", Modifier::Raw),
    ("strip", Modifier::Strip),
    ("uppercase", Modifier::Uppercase),
];

/// Where a format stands: not every token has a value everywhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The path of `maildir`.
    Path,
    /// The path of `mailbox root`: there is no message.
    LoginPath,
    /// The command of `mda`.
    Command,
    /// The command of `mda wrapper`.
    Wrapper,
}

impl Place {
    fn allows(self, token: Token) -> bool {
        match token {
            Token::Mda => self == Place::Wrapper,
            Token::Sender | Token::SenderUser | Token::SenderDomain | Token::MboxFrom => {
                self != Place::LoginPath
            }
            _ => true,
        }
    }
}

impl Format {
    /// Parses a format; the error is for people.
    pub fn parse(text: &str, place: Place) -> Result<Format, String> {
        let mut parts = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            plain.push_str(before);
            if let Some(after) = after.strip_prefix('{') {
                let Some((inside, after)) = after.split_once('}') else {
                    return Err(format!("\"%{{{after}\" has no closing brace"));
                };
                if !plain.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut plain)));
                }
                parts.push(Part::Specifier(specifier(inside, place)?));
                rest = after;
            } else {
                plain.push('%');
                rest = after.strip_prefix('%').unwrap_or(after);
            }
        }
        plain.push_str(rest);
        if !plain.is_empty() {
            parts.push(Part::Text(plain));
        }
        Ok(Format { text: text.to_string(), parts })
    }

    /// The text as it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Its pieces in order.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The text before the first specifier: every expansion begins so.
    pub fn literal_prefix(&self) -> &str {
        match self.parts.first() {
            Some(Part::Text(t)) => t,
            _ => "",
        }
    }
}

fn specifier(inside: &str, place: Place) -> Result<Specifier, String> {
    let name_len = inside.find(['[', ':']).unwrap_or(inside.len());
    let (name, mut rest) = inside.split_at(name_len);
    let Some((_, token)) = TOKENS.iter().find(|(n, _)| n.eq_ignore_ascii_case(name)) else {
        return Err(format!("%{{{inside}}}: no token \"{name}\"; there are {}", names(TOKENS)));
    };
    if !place.allows(*token) {
        let why = match (token, place) {
            (Token::Mda, _) => "only a wrapper has a command to wrap",
            _ => "there is no message at login",
        };
        return Err(format!("%{{{inside}}}: no value here: {why}"));
    }
    let mut span = None;
    if let Some(after) = rest.strip_prefix('[') {
        let Some((r, after)) = after.split_once(']') else {
            return Err(format!("%{{{inside}}}: the range has no closing bracket"));
        };
        span = Some(range(r).ok_or_else(|| {
            format!("%{{{inside}}}: range \"[{r}]\" is not [i], [a:b], [a:] or [:b]")
        })?);
        rest = after;
    }
    let mut modifiers = Vec::new();
    if let Some(list) = rest.strip_prefix(':') {
        for word in list.split('|') {
            let Some((_, m)) = MODIFIERS.iter().find(|(n, _)| n.eq_ignore_ascii_case(word)) else {
                let all = names(MODIFIERS);
                return Err(format!("%{{{inside}}}: no modifier \"{word}\"; there are {all}"));
            };
            modifiers.push(*m);
        }
    } else if !rest.is_empty() {
        return Err(format!("%{{{inside}}}: unexpected \"{rest}\"; modifiers begin with \":\""));
    }
    Ok(Specifier { token: *token, range: span, modifiers })
}

/// `i`, `a:b`, `a:`, `:b`
fn range(text: &str) -> Option<Range> {
    let mut c = Cursor::new(text.as_bytes());
    let begin = offset(&mut c);
    let range = if c.eat(b':') {
        let end = offset(&mut c);
        if begin.is_none() && end.is_none() {
            return None;
        }
        Range { begin: begin.unwrap_or(0), end }
    } else {
        // One character: from it to itself.  -1 is the last one, whose end in
        // this notation is the end of the text.
        let begin = begin?;
        let end = match begin {
            -1 => None,
            n if n < 0 => Some(n.saturating_add(1)),
            n => Some(n),
        };
        Range { begin, end }
    };
    c.at_end().then_some(range)
}

fn offset(c: &mut Cursor<'_>) -> Option<i32> {
    let start = c.pos();
    let minus = c.eat(b'-');
    let Some(n) = c.number().and_then(|n| i32::try_from(n).ok()) else {
        c.seek(start);
        return None;
    };
    Some(if minus { n.saturating_neg() } else { n })
}

fn names<T>(table: &[(&'static str, T)]) -> String {
    table.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Specifier {
        match Format::parse(text, Place::Wrapper).unwrap().parts() {
            [Part::Specifier(s)] => s.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn token_range_and_modifiers_together() {
        let s = one("%{Dest.User[0:-4]:lowercase|strip}");
        assert_eq!(s.token, Token::DestUser);
        assert_eq!(s.range, Some(Range { begin: 0, end: Some(-4) }));
        assert_eq!(s.modifiers, [Modifier::Lowercase, Modifier::Strip]);
    }

    #[test]
    fn ranges() {
        assert_eq!(range("8:"), Some(Range { begin: 8, end: None }));
        assert_eq!(range(":3"), Some(Range { begin: 0, end: Some(3) }));
        assert_eq!(range("2"), Some(Range { begin: 2, end: Some(2) }));
        assert_eq!(range("-1"), Some(Range { begin: -1, end: None }));
        assert_eq!(range("-2"), Some(Range { begin: -2, end: Some(-1) }));
        for bad in ["", ":", "a", "1:2:3", "99999999999", "1 "] {
            assert_eq!(range(bad), None, "{bad}");
        }
    }

    #[test]
    fn per_cent_signs_stand_for_themselves() {
        let f = Format::parse("/a%%b%c/%{user.username}%", Place::Path).unwrap();
        assert_eq!(f.literal_prefix(), "/a%b%c/");
        assert_eq!(f.parts().len(), 3);
    }

    #[test]
    fn mistakes_are_told() {
        let bad = |t: &str, p| Format::parse(t, p).unwrap_err();
        assert!(bad("%{dest.usr}", Place::Path).contains("no token"));
        assert!(bad("%{mda}", Place::Path).contains("wrapper"));
        assert!(bad("%{sender}", Place::LoginPath).contains("login"));
        assert!(bad("%{dest", Place::Path).contains("closing brace"));
        assert!(bad("%{dest:small}", Place::Path).contains("no modifier"));
        assert!(bad("%{dest[1}", Place::Path).contains("closing bracket"));
        assert!(bad("%{dest[x]}", Place::Path).contains("range"));
        assert!(bad("%{dest[1]lowercase}", Place::Path).contains("unexpected"));
    }
}
