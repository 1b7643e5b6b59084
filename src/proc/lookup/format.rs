//! Puts values into format specifiers, safely.
//!
//! The values come from the network.  In a path none of them may name another
//! directory; in a command none may be more than one word, or anything to a
//! shell.

use crate::conf::format::Place;
use crate::conf::format::{Format, Modifier, Part, Range, Specifier, Token};
use crate::proto::addr::{split_detail, Charset, Mailbox};

/// The longest expansion of one format, in bytes.
const EXPANSION_MAX: usize = 1023;

/// What the shell of an administrator's command may see in a value.
const SHELL_SAFE: &str = "@._+-=,:/";

/// The values of the tokens.
#[derive(Clone, Debug, Default)]
pub struct Values {
    /// The sender, empty for `<>`.
    pub sender: String,
    /// The recipient as the client named it.
    pub rcpt: String,
    /// The recipient after expansion.
    pub dest: String,
    /// The user that mail is delivered as.
    pub user: String,
    /// His home.
    pub home: String,
    /// The words of the command in a wrapper.
    pub mda: Vec<String>,
    /// What begins a sub-address.
    pub delim: char,
}

/// Why a format cannot be expanded: the address's fault, so it is permanent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsafe(pub String);

/// A path.  `~/` at its beginning is the user's home.
///
/// A sub-address is a mailbox inside the mail root, so it is left out here:
/// else everybody could have a new directory made with every message.  (smtpd
/// leaves it in, unless `strip` is written.)
pub fn path(format: &Format, values: &Values) -> Result<String, Unsafe> {
    let values = &Values {
        rcpt: strip(&values.rcpt, values.delim),
        dest: strip(&values.dest, values.delim),
        ..values.clone()
    };
    let mut out = String::new();
    for part in format.parts() {
        match part {
            Part::Text(text) => out.push_str(text),
            Part::Specifier(s) => {
                let value = value(s, values)?;
                if s.token != Token::UserDirectory {
                    component(&value, is_raw(s), format)?;
                }
                out.push_str(&value);
            }
        }
    }
    if let Some(rest) = out.strip_prefix("~/") {
        out = format!("{}/{rest}", values.home);
    }
    bounded(out).and_then(|path| {
        // Two spellings of one directory would be two accounts.
        let parts: Vec<&str> = path.split('/').filter(|p| !p.is_empty()).collect();
        let plain = path.starts_with('/') && parts.iter().all(|p| *p != "." && *p != "..");
        if plain && !parts.is_empty() {
            Ok(format!("/{}", parts.join("/")))
        } else {
            Err(Unsafe(format!("\"{}\" gives no plain path", format.text())))
        }
    })
}

/// A value in a path is a part of one name, and a whole name only if it names
/// no other place.  One with a character that would be replaced is refused:
/// `x|y` and `x!y` would share a directory.
fn component(value: &str, raw: bool, format: &Format) -> Result<(), Unsafe> {
    let bad = value.is_empty()
        || (!raw && value.contains(is_replaced))
        || value == "."
        || value.contains('/')
        || value.contains("..")
        || value.chars().any(|c| c.is_control());
    if bad {
        let value = value.escape_debug();
        return Err(Unsafe(format!("\"{value}\" may not stand in the path \"{}\"", format.text())));
    }
    Ok(())
}

/// A command: its words, or, where the text itself asks for a shell, the words
/// that start one.
///
/// The text is split before anything is put into it, so a value is never more
/// than a part of one word.  With a shell, values keep only characters that
/// mean nothing to it, `raw` or not.
pub fn command(format: &Format, values: &Values) -> Result<Vec<String>, Unsafe> {
    let texts = format.parts().iter().filter_map(|p| match p {
        Part::Text(t) => Some(t.as_str()),
        Part::Specifier(_) => None,
    });
    let shell = texts.clone().any(|t| t.contains(|c| "|&;<>()$`\\*?[]#~=%{}!\n".contains(c)));
    if shell {
        let mut line = String::new();
        for part in format.parts() {
            match part {
                Part::Text(text) => line.push_str(text),
                // Its words are complete: the shell takes each as it is.
                Part::Specifier(s) if s.token == Token::Mda => line.push_str(&quoted(&values.mda)),
                Part::Specifier(s) => line.push_str(&shell_safe(&expand(s, values)?)),
            }
        }
        return Ok(vec!["/bin/sh".to_string(), "-c".to_string(), bounded(line)?]);
    }
    words(format, values)
}

/// Words as sh(1) reads them back.
fn quoted(words: &[String]) -> String {
    let quote = |w: &String| format!("'{}'", w.replace('\'', "'\\''"));
    words.iter().map(quote).collect::<Vec<_>>().join(" ")
}

fn shell_safe(value: &str) -> String {
    let safe = |c: char| c.is_ascii_alphanumeric() || SHELL_SAFE.contains(c);
    let replaced: String = value.chars().map(|c| if safe(c) { c } else { ':' }).collect();
    // A word that begins with a hyphen would be an option.
    match replaced.strip_prefix('-') {
        Some(rest) => format!(":{rest}"),
        None => replaced,
    }
}

/// Splits at blanks outside quotes; quotes are taken away.
fn words(format: &Format, values: &Values) -> Result<Vec<String>, Unsafe> {
    let mut all = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for part in format.parts() {
        let text = match part {
            Part::Text(text) => text,
            Part::Specifier(s) if s.token == Token::Mda && word.is_none() => {
                all.extend(values.mda.iter().cloned());
                continue;
            }
            Part::Specifier(s) => {
                let value = expand(s, values)?;
                if value.contains('\0') {
                    return Err(Unsafe("a NUL byte in a command".to_string()));
                }
                // An address that begins with a hyphen would be an option.
                let first = word.is_none() && value.starts_with('-');
                let word = word.get_or_insert_with(String::new);
                if first {
                    word.push(':');
                    word.push_str(value.get(1..).unwrap_or_default());
                } else {
                    word.push_str(&value);
                }
                continue;
            }
        };
        for c in text.chars() {
            match (c, quote) {
                (q, Some(open)) if q == open => quote = None,
                ('"' | '\'', None) => {
                    quote = Some(c);
                    word.get_or_insert_with(String::new);
                }
                (' ' | '\t', None) => all.extend(word.take()),
                (c, _) => word.get_or_insert_with(String::new).push(c),
            }
        }
    }
    all.extend(word);
    if all.iter().map(String::len).sum::<usize>() > EXPANSION_MAX || all.is_empty() {
        return Err(Unsafe("the command is empty or too long".to_string()));
    }
    Ok(all)
}

fn bounded(text: String) -> Result<String, Unsafe> {
    if text.len() > EXPANSION_MAX {
        return Err(Unsafe(format!("longer than {EXPANSION_MAX} bytes after expansion")));
    }
    Ok(text)
}

/// The value of one specifier, with what a shell knows replaced.
fn expand(s: &Specifier, v: &Values) -> Result<String, Unsafe> {
    let value = value(s, v)?;
    if is_raw(s) {
        return Ok(value);
    }
    Ok(value.replace(is_replaced, ":"))
}

fn is_raw(s: &Specifier) -> bool {
    matches!(s.token, Token::UserDirectory | Token::Mda) || s.modifiers.contains(&Modifier::Raw)
}

fn is_replaced(c: char) -> bool {
    "!#$%&'*?`{|}~".contains(c)
}

/// The value of one specifier as it is.
fn value(s: &Specifier, v: &Values) -> Result<String, Unsafe> {
    let mut value = match s.token {
        Token::Sender => v.sender.clone(),
        Token::Rcpt => v.rcpt.clone(),
        Token::Dest => v.dest.clone(),
        Token::SenderUser => halves(&v.sender).0.to_string(),
        Token::SenderDomain => halves(&v.sender).1.to_string(),
        Token::RcptUser => halves(&v.rcpt).0.to_string(),
        Token::RcptDomain => halves(&v.rcpt).1.to_string(),
        Token::DestUser => halves(&v.dest).0.to_string(),
        Token::DestDomain => halves(&v.dest).1.to_string(),
        Token::UserName => v.user.clone(),
        Token::UserDirectory => v.home.clone(),
        Token::MboxFrom if v.sender.is_empty() => "MAILER-DAEMON".to_string(),
        Token::MboxFrom => v.sender.clone(),
        Token::Mda => return Ok(v.mda.join(" ")),
    };
    if let Some(range) = s.range {
        value = cut(&value, range).ok_or_else(|| {
            Unsafe(format!("\"{}\" has no such characters", value.escape_debug()))
        })?;
    }
    for m in &s.modifiers {
        match m {
            Modifier::Lowercase => value = value.to_lowercase(),
            Modifier::Uppercase => value = value.to_uppercase(),
            Modifier::Strip => value = strip(&value, v.delim),
            Modifier::Raw => {}
        }
    }
    Ok(value)
}

/// Local part and domain.
fn halves(address: &str) -> (&str, &str) {
    address.rsplit_once('@').unwrap_or((address, ""))
}

/// Without the sub-address, of a local part or a whole address.
fn strip(value: &str, delim: char) -> String {
    match value.rsplit_once('@') {
        Some((local, domain)) => format!("{}@{domain}", split_detail(local, delim).0),
        None => split_detail(value, delim).0.to_string(),
    }
}

/// The characters of a range.  A positive end is included; a negative one
/// counts from the last character.
fn cut(value: &str, range: Range) -> Option<String> {
    let chars: Vec<char> = value.chars().collect();
    let len = i64::try_from(chars.len()).ok()?;
    let begin = match i64::from(range.begin) {
        b if b < 0 => (len + b).max(0),
        b => b,
    };
    let end = match range.end.map(i64::from) {
        None => len - 1,
        Some(e) if e < 0 => len - 1 + e,
        Some(e) => e.min(len - 1),
    };
    if begin >= len || begin > end {
        return None;
    }
    let (begin, end) = (usize::try_from(begin).ok()?, usize::try_from(end).ok()?);
    Some(chars.get(begin..=end)?.iter().collect())
}

/// Fuzz target: sender and recipient, parted by NUL, in a path, in a command and
/// in one for a shell.
pub fn fuzz_values(bytes: &[u8]) {
    let text = |b: &[u8]| {
        let parsed = Mailbox::parse(b, Charset::Utf8).ok();
        parsed.map(|m| m.to_string()).unwrap_or_default()
    };
    let mut parts = bytes.splitn(2, |b| *b == 0).map(text);
    let sender = parts.next().unwrap_or_default();
    let dest = parts.next().unwrap_or_else(|| sender.clone());
    let user = dest.split('@').next().unwrap_or_default().to_owned();
    let values = Values {
        sender,
        rcpt: dest.clone(),
        dest,
        user,
        home: "/home/joe".into(),
        mda: Vec::new(),
        delim: '+',
    };
    let format = |text, place| Format::parse(text, place).expect("a format");
    let place = format("/m/%{dest.domain}/%{dest.user:lowercase|strip}", Place::Path);
    if let Ok(path) = path(&place, &values) {
        let names: Vec<&str> = path.split('/').collect();
        assert!(
            matches!(names[..], ["", "m", domain, user] if !domain.is_empty() && !user.is_empty())
        );
        assert!(!names.iter().any(|n| matches!(*n, "." | "..")) && !path.contains('\0'), "{path}");
    }
    let plain = format("prog -f %{sender} x%{dest.user}", Place::Command);
    if let Ok(words) = command(&plain, &values) {
        assert!(words.len() == 4 || (words.len() == 3 && values.sender.is_empty()), "{words:?}");
        assert!(!words[2].starts_with('-'), "{words:?}");
    }
    let shell = format("|%{dest:raw}|%{sender}|%{user.username}", Place::Command);
    if let Ok(words) = command(&shell, &values) {
        assert_eq!((words.len(), words[1].as_str()), (3, "-c"));
        let safe = |c: char| c.is_ascii_alphanumeric() || SHELL_SAFE.contains(c);
        let parts: Vec<&str> = words[2].split('|').collect();
        assert!(parts.len() == 4 && parts.iter().all(|p| p.chars().all(safe)), "{words:?}");
    }
}

/// The specifiers of a path whose value keeps the case of an address: mail to
/// `Joe@` and to `joe@` would lie in two places.
pub fn keeping_case(format: &Format) -> impl Iterator<Item = &'static str> + '_ {
    format.parts().iter().filter_map(|part| {
        let Part::Specifier(s) = part else { return None };
        let folds = |m: &Modifier| matches!(m, Modifier::Lowercase | Modifier::Uppercase);
        let name = match s.token {
            Token::Rcpt => "rcpt",
            Token::RcptUser => "rcpt.user",
            Token::Dest => "dest",
            Token::DestUser => "dest.user",
            _ => return None,
        };
        (!s.modifiers.iter().any(folds)).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            sender: "Ann@example.net".into(),
            rcpt: "me@example.org".into(),
            dest: "Joe+lists@example.org".into(),
            user: "joe".into(),
            home: "/home/joe".into(),
            mda: vec!["cat".into(), "-n".into()],
            delim: '+',
        }
    }

    fn one(text: &str) -> Result<String, Unsafe> {
        let format = Format::parse(text, Place::Wrapper).unwrap();
        match format.parts() {
            [Part::Specifier(s)] => expand(s, &values()),
            other => panic!("{other:?}"),
        }
    }

    fn to_path(text: &str, dest: &str) -> Result<String, Unsafe> {
        let format = Format::parse(text, Place::Path).unwrap();
        path(&format, &Values { dest: dest.into(), ..values() })
    }

    fn to_command(text: &str, dest: &str) -> Result<Vec<String>, Unsafe> {
        let format = Format::parse(text, Place::Command).unwrap();
        command(&format, &Values { dest: dest.into(), ..values() })
    }

    #[test]
    fn every_token() {
        for (text, value) in [
            ("%{sender}", "Ann@example.net"),
            ("%{sender.user}", "Ann"),
            ("%{sender.domain}", "example.net"),
            ("%{rcpt}", "me@example.org"),
            ("%{rcpt.user}", "me"),
            ("%{rcpt.domain}", "example.org"),
            ("%{dest}", "Joe+lists@example.org"),
            ("%{dest.user}", "Joe+lists"),
            ("%{dest.domain}", "example.org"),
            ("%{user.username}", "joe"),
            ("%{user.directory}", "/home/joe"),
            ("%{mbox.from}", "Ann@example.net"),
            ("%{mda}", "cat -n"),
            ("%{dest.user:lowercase}", "joe+lists"),
            ("%{dest.user:uppercase}", "JOE+LISTS"),
            ("%{dest.user:strip}", "Joe"),
            ("%{dest:strip|lowercase}", "joe@example.org"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(value), "{text}");
        }
    }

    #[test]
    fn ranges_count_as_smtpd_does() {
        for (text, value) in [
            ("%{dest.domain[8:]}", "org"),
            ("%{dest.domain[-3:]}", "org"),
            ("%{dest.domain[0:6]}", "example"),
            ("%{dest.domain[0:-4]}", "example"),
            ("%{dest.domain[0]}", "e"),
            ("%{dest.domain[-1]}", "g"),
            ("%{dest.domain[-3]}", "o"),
            ("%{dest.domain[:100]}", "example.org"),
            ("%{dest.user[0]:lowercase}", "j"),
        ] {
            assert_eq!(one(text).as_deref(), Ok(value), "{text}");
        }
        assert!(one("%{dest.domain[11:]}").is_err());
        assert!(one("%{dest.domain[5:2]}").is_err());
    }

    #[test]
    fn characters_of_the_shell_are_replaced_unless_raw() {
        let format = Format::parse("%{dest.user}", Place::Command).unwrap();
        let v = Values { dest: "a!#$%&'*?`{|}~b@c".into(), ..values() };
        let Part::Specifier(s) = &format.parts()[0] else { panic!() };
        assert_eq!(expand(s, &v).unwrap(), format!("a{}b", ":".repeat(13)));
        let raw = Format::parse("%{dest.user:raw}", Place::Command).unwrap();
        let Part::Specifier(s) = &raw.parts()[0] else { panic!() };
        assert_eq!(expand(s, &v).unwrap(), "a!#$%&'*?`{|}~b");
    }

    #[test]
    fn paths() {
        let p = "/m/%{dest.domain}/%{dest.user:lowercase}";
        assert_eq!(to_path(p, "Joe@a.b").as_deref(), Ok("/m/a.b/joe"));
        assert_eq!(to_path("~/Maildir", "x@y").as_deref(), Ok("/home/joe/Maildir"));
        assert_eq!(to_path("%{user.directory}/M/", "x@y").as_deref(), Ok("/home/joe/M"));
        assert_eq!(to_path("/m//%{dest.user}/", "x@y").as_deref(), Ok("/m/x"));
        assert_eq!(to_path("/m/%{dest.user}", "x+tag@y").as_deref(), Ok("/m/x"));
    }

    #[test]
    fn no_address_names_another_directory() {
        for local in ["../x", "a/b", "/etc", "..", "a..b", ".", "a\0b", "a\nb", ""] {
            assert!(to_path("/m/%{dest.user}", &format!("{local}@d")).is_err(), "{local:?}");
            assert!(to_path("/m/%{dest.user:raw}/x", &format!("{local}@d")).is_err(), "{local:?}");
        }
        assert!(to_path("/m/%{dest.domain}", "a@../b").is_err());
        let long = format!("{}@d", "x".repeat(2000));
        assert!(to_path("/m/%{dest.user}", &long).is_err());
    }

    #[test]
    fn a_path_that_keeps_the_case_of_addresses_is_known() {
        for (text, names) in [
            ("/m/%{dest.domain}/%{dest.user:lowercase}", &[][..]),
            ("/m/%{rcpt:strip|uppercase}", &[]),
            ("/m/%{user.username}", &[]),
            ("/m/%{dest.user:strip}/%{rcpt}", &["dest.user", "rcpt"]),
        ] {
            let format = Format::parse(text, Place::Path).unwrap();
            assert_eq!(keeping_case(&format).collect::<Vec<_>>(), names, "{text}");
        }
    }

    #[test]
    fn two_addresses_never_share_a_path_by_replacing() {
        for local in ["x|y", "x!y", "o'neil"] {
            assert!(to_path("/m/%{dest.user}", &format!("{local}@d")).is_err(), "{local}");
            let raw = to_path("/m/%{dest.user:raw}", &format!("{local}@d"));
            assert_eq!(raw, Ok(format!("/m/{local}")));
        }
        assert_eq!(to_path("/m/%{dest.user}", "x:y@d").as_deref(), Ok("/m/x:y"));
    }

    #[test]
    fn a_command_is_split_before_values_are_put_in() {
        let words = to_command("/bin/x -f '%{sender}' \"a b\" -d %{dest.user}", "j; rm -rf / x@d");
        let w: Vec<String> = ["/bin/x", "-f", "Ann@example.net", "a b", "-d", "j; rm -rf / x"]
            .map(String::from)
            .into();
        assert_eq!(words, Ok(w));
        assert_eq!(to_command("/bin/x %{dest.user}", "-fx@d").unwrap()[1], ":fx");
        assert!(to_command("/bin/x %{dest.user:raw}", "a\0b@d").is_err());
    }

    #[test]
    fn a_wrapper_keeps_the_words_of_what_it_wraps() {
        let wrap = |text: &str| {
            let format = Format::parse(text, Place::Wrapper).unwrap();
            command(&format, &Values { mda: vec!["cat".into(), "it's".into()], ..values() })
        };
        assert_eq!(wrap("/bin/w -x %{mda}").unwrap(), ["/bin/w", "-x", "cat", "it's"]);
        assert_eq!(wrap("%{mda} | w").unwrap()[2], "'cat' 'it'\\''s' | w");
    }

    #[test]
    fn a_shell_sees_only_harmless_values() {
        let words = to_command("/bin/x %{dest.user:raw} | /bin/y", "$(id) ;`a`'\"\n@d").unwrap();
        assert_eq!(words[..2], ["/bin/sh", "-c"]);
        assert_eq!(words[2], "/bin/x ::id::::a:::: | /bin/y");
    }
}
