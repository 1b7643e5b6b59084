//! The values of aliases, and .forward files: where one recipient's mail goes.
//!
//! *Runs in* lookup (tables) and store (.forward).  A table is the
//! administrator's, a .forward its user's and hostile.  The syntax is that of
//! aliases(5) and forward(5): items separated by commas (in files also by line
//! ends), quotes and backslashes honoured.

use crate::proto::addr::{Charset, Mailbox};
use crate::proto::limits;

/// One item.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Item {
    /// `error:NNN text`: the recipient is refused.
    Error {
        /// 4xx or 5xx.
        code: u16,
        /// What the sender is told.
        text: String,
    },
    /// `:include:/path`: a file of more items.
    Include(String),
    /// `|command`
    Command(String),
    /// `/path`: appended to this file.
    File(String),
    /// `local@domain`
    Address(Mailbox),
    /// A user or another alias, perhaps with a sub-address.
    Name(String),
}

/// Why a value cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadItem {
    /// The item.
    pub item: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl std::fmt::Display for BadItem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "\"{}\": {}", self.item.escape_debug(), self.why)
    }
}

/// The items of one value.
pub fn parse_value(value: &str) -> Result<Vec<Item>, BadItem> {
    let mut items = Vec::new();
    for text in split(value)? {
        if items.len() >= limits::ALIAS_ITEMS.size() {
            return Err(BadItem { item: text, why: "more items than an alias may have" });
        }
        items.push(item(&text)?);
    }
    Ok(items)
}

/// The items of a file: `:include:` and .forward.  Lines that begin with `#`
/// are comments.
pub fn parse_file(text: &str) -> Result<Vec<Item>, BadItem> {
    let mut items = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#')) {
        items.append(&mut parse_value(line)?);
        if items.len() > limits::ALIAS_ITEMS.size() {
            let why = "more items than a file may have";
            return Err(BadItem { item: line.to_string(), why });
        }
    }
    Ok(items)
}

/// Splits at commas outside quotes.  Quotes are taken away, and so are
/// backslashes, whose next character stands for itself.
fn split(value: &str) -> Result<Vec<String>, BadItem> {
    let mut all = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    let mut chars = value.trim().chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => quoted = !quoted,
            '\\' => match chars.next() {
                // In a command a backslash belongs to the shell's own quoting,
                // unless it protects the quote or a backslash.
                Some(n @ ('"' | '\\')) => word.push(n),
                Some(n) if is_command(&word) => word.extend(['\\', n]),
                Some(n) => word.push(n),
                None => word.push('\\'),
            },
            ',' if !quoted => all.push(std::mem::take(&mut word)),
            c => word.push(c),
        }
    }
    if quoted {
        return Err(BadItem { item: value.to_string(), why: "a quote is not closed" });
    }
    all.push(word);
    Ok(all.iter().map(|w| w.trim().to_string()).filter(|w| !w.is_empty()).collect())
}

fn is_command(word: &str) -> bool {
    word.trim_start().starts_with('|')
}

/// One item, tested in the order of the manual.
fn item(text: &str) -> Result<Item, BadItem> {
    let bad = |why| Err(BadItem { item: text.to_string(), why });
    if text.bytes().any(|b| b.is_ascii_control() && b != b'\t') {
        return bad("it has a control character");
    }
    if let Some(rest) = text.strip_prefix("error:") {
        let rest = rest.trim();
        let (code, words) = rest.split_once(' ').unwrap_or((rest, ""));
        return match code.parse() {
            Ok(421 | 521) => bad("error: 421 and 521 end the session: take another code"),
            Ok(code @ 400..=599) if code.to_string().len() == 3 && !words.trim().is_empty() => {
                Ok(Item::Error { code, text: words.trim().to_string() })
            }
            _ => bad("error: has a code of 4xx or 5xx and a text"),
        };
    }
    if let Some(path) = text.strip_prefix(":include:") {
        let path = path.trim();
        return if path.starts_with('/') {
            Ok(Item::Include(path.to_string()))
        } else {
            bad("the path must begin with /")
        };
    }
    if let Some(command) = text.strip_prefix('|') {
        let command = command.trim();
        return if command.is_empty() {
            bad("there is no command after |")
        } else {
            Ok(Item::Command(command.to_string()))
        };
    }
    if text.starts_with('/') {
        return Ok(Item::File(text.to_string()));
    }
    if text.contains('@') {
        return match Mailbox::parse(text.as_bytes(), Charset::Utf8) {
            Ok(address) => Ok(Item::Address(address)),
            Err(_) => bad("it is not a mail address"),
        };
    }
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-' | b'+');
    if text.bytes().all(plain) && !text.starts_with('-') {
        return Ok(Item::Name(text.to_string()));
    }
    bad("it is neither a user, an address, a /file, a |command, :include: nor error:")
}

/// Fuzz target: a .forward file.
pub fn fuzz_file(bytes: &[u8]) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        // Only that it ends, and within its bounds.
        let items = parse_file(text).unwrap_or_default();
        assert!(items.len() <= limits::ALIAS_ITEMS.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(s: &str) -> Item {
        Item::Name(s.into())
    }

    #[test]
    fn items_of_every_kind() {
        let items = parse_value(
            "joe, joe+tag, a@example.org, /var/mail/x, |/bin/cat, \"|/bin/sh -c 'a, b'\", :include:/etc/x, error:550 no such list",
        )
        .unwrap();
        let address = Mailbox::parse(b"a@example.org", Charset::Ascii).unwrap();
        assert_eq!(
            items,
            [
                name("joe"),
                name("joe+tag"),
                Item::Address(address),
                Item::File("/var/mail/x".into()),
                Item::Command("/bin/cat".into()),
                Item::Command("/bin/sh -c 'a, b'".into()),
                Item::Include("/etc/x".into()),
                Item::Error { code: 550, text: "no such list".into() },
            ]
        );
    }

    #[test]
    fn quotes_and_backslashes() {
        assert_eq!(parse_value(r#"joe, \joe"#).unwrap(), [name("joe"), name("joe")]);
        assert_eq!(parse_value(r#""|a \"b\" \n""#).unwrap(), [Item::Command(r#"a "b" \n"#.into())]);
        assert_eq!(parse_value("a,,b,").unwrap(), [name("a"), name("b")]);
        assert!(parse_value("\"|a").is_err());
    }

    #[test]
    fn bad_items() {
        for bad in [
            "error:200 ok",
            "error:550",
            "error:421 later",
            "error: x",
            ":include:x",
            "|",
            "a b",
            "joe;rm",
            "-f",
            "a@",
            "@b",
            "a\u{7}",
            "$(x)",
            "error:+55 x",
        ] {
            assert!(parse_value(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_file_has_an_item_or_more_on_a_line() {
        let text = "# mine\n\njoe, ann\n  bob\n|cat\n";
        let items = parse_file(text).unwrap();
        assert_eq!(items, [name("joe"), name("ann"), name("bob"), Item::Command("cat".into())]);
        assert!(parse_file(&"a\n".repeat(limits::ALIAS_ITEMS.size() + 1)).is_err());
    }
}
