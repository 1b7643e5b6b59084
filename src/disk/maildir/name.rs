//! Names of mailboxes, and of the directories that hold them.
//!
//! Pure.  A mailbox name is UTF-8 text whose parts are joined with '.', the
//! separator that Dovecot has for this layout; a store taken over must keep
//! it, or every client fetches all mail anew.  The directory is '.' and the
//! parts in modified UTF-7, joined with '.'.  Names are compared byte by byte:
//! no Unicode normalisation, so two names that differ only in composition are
//! two mailboxes, as with Dovecot 2.3.  A directory whose name is raw UTF-8
//! (Dovecot's `mailbox_list_utf8`) is found and kept; new ones are UTF-7.

use std::fmt;

use crate::proto::limits;
use crate::proto::text::mutf7;

/// The hierarchy separator.
pub const SEPARATOR: char = '.';

/// Why a name cannot be a mailbox's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadName {
    /// No character at all, or an empty part between two separators.
    Empty,
    /// A '/', which no directory name can hold.
    Slash,
    /// A control character.
    Control,
    /// A name that is the server's own, like `dovecot.sieve`, or begins with '~'.
    Reserved,
    /// The directory's name would be longer than the file system takes.
    TooLong,
}

impl fmt::Display for BadName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            BadName::Empty => "mailbox name is empty or has an empty part",
            BadName::Slash => "mailbox name must not have '/' characters",
            BadName::Control => "mailbox name must not have control characters",
            BadName::Reserved => "mailbox name is reserved",
            BadName::TooLong => "mailbox name is too long",
        })
    }
}

/// A mailbox's name that has been checked: `INBOX`, or parts joined with '.'.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

impl Name {
    /// Checks a name.  `INBOX` in any case is the inbox, also as the first part of
    /// a name below it.  RFC 9051 5.1.
    pub fn new(text: &str) -> Result<Name, BadName> {
        if text.eq_ignore_ascii_case("INBOX") {
            return Ok(Name::inbox());
        }
        if text.contains('/') {
            return Err(BadName::Slash);
        }
        if text.split(SEPARATOR).any(str::is_empty) {
            return Err(BadName::Empty);
        }
        if text.chars().any(char::is_control) {
            return Err(BadName::Control);
        }
        if text.starts_with('~') || is_reserved(text.as_bytes()) {
            return Err(BadName::Reserved);
        }
        let name = match text.split_once(SEPARATOR) {
            Some((top, rest)) if top.eq_ignore_ascii_case("INBOX") => {
                Name(format!("INBOX{SEPARATOR}{rest}"))
            }
            _ => Name(text.to_string()),
        };
        // The dot in front counts; so would the suffix of a lock or a temporary directory.
        if text.len() > limits::MAILBOX_NAME.size() || name.dir().len() > DIR_NAME_MAX {
            return Err(BadName::TooLong);
        }
        Ok(name)
    }

    /// The inbox, which is the mail root itself.
    pub fn inbox() -> Name {
        Name("INBOX".to_string())
    }

    /// True for the inbox.
    pub fn is_inbox(&self) -> bool {
        self.0 == "INBOX"
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The mailbox above, if this one is not at the top.
    pub fn parent(&self) -> Option<Name> {
        let (above, _) = self.0.rsplit_once(SEPARATOR)?;
        Some(Name(above.to_string()))
    }

    /// True if this mailbox is below `other` in the hierarchy.
    pub fn is_below(&self, other: &Name) -> bool {
        self.0.strip_prefix(&other.0).is_some_and(|rest| rest.starts_with(SEPARATOR))
    }

    /// The same mailbox with `old` at its beginning replaced by `new`.
    pub fn moved(&self, old: &Name, new: &Name) -> Result<Name, BadName> {
        let rest = self.0.strip_prefix(&old.0).unwrap_or(&self.0);
        Name::new(&format!("{}{rest}", new.0))
    }

    /// The directory's name below the mail root, dot included; empty for the inbox.
    pub fn dir(&self) -> Vec<u8> {
        if self.is_inbox() {
            return Vec::new();
        }
        let mut dir = vec![b'.'];
        dir.extend_from_slice(&mutf7::encode(&self.0));
        dir
    }

    /// The directory's name in a store that has UTF-8 names, where it differs.
    pub fn utf8_dir(&self) -> Option<Vec<u8>> {
        if self.0.is_ascii() {
            return None;
        }
        Some(format!(".{}", self.0).into_bytes())
    }

    /// The name that a directory entry of the mail root stands for.
    ///
    /// `None` for what is not a mailbox: no dot in front, `..DOVECOT-TRASHED`
    /// (a deletion on its way), `.dovecot.*` and `.nfs*`, text that is not
    /// valid, and UTF-7 that is not written as this server writes it, since
    /// its name would lead to another directory.
    pub fn from_dir(entry: &[u8]) -> Option<Name> {
        let rest = entry.strip_prefix(b".")?;
        if rest.is_empty() || rest.starts_with(b".") || is_reserved(rest) {
            return None;
        }
        let text = if rest.is_ascii() {
            mutf7::decode(rest)?
        } else {
            std::str::from_utf8(rest).ok()?.to_string()
        };
        let name = Name::new(&text).ok()?;
        let back = name.dir() == entry || name.utf8_dir().is_some_and(|dir| dir == entry);
        (back && !name.is_inbox()).then_some(name)
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// NAME_MAX of every file system of both platforms.
const DIR_NAME_MAX: usize = 255;

/// Names without their dot that are never mailboxes.
fn is_reserved(rest: &[u8]) -> bool {
    rest.starts_with(b"dovecot.") || rest.starts_with(b"nfs")
}

/// Fuzz target: an entry of a mail root, and a client's name for a mailbox.
///
/// A name and its directory lead to each other, and neither leads elsewhere.
pub fn fuzz_name(bytes: &[u8]) {
    if let Some(name) = Name::from_dir(bytes) {
        assert!(name.dir() == bytes || name.utf8_dir().as_deref() == Some(bytes));
        assert_eq!(Name::new(name.as_str()), Ok(name));
    }
    let text = String::from_utf8_lossy(bytes);
    let Ok(name) = Name::new(&text) else { return };
    let dir = name.dir();
    assert!(!dir.contains(&b'/') && dir.len() <= 255 && !dir.starts_with(b".."));
    assert!(!dir.iter().any(u8::is_ascii_control) && dir.is_ascii());
    if !name.is_inbox() {
        assert_eq!(Name::from_dir(&dir), Some(name.clone()));
    }
    if let Some(parent) = name.parent() {
        assert!(name.is_below(&parent) && !parent.is_below(&name));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_inbox_is_one_in_whatever_case_it_is_written() {
        let sub = Name::new("inBox.sub").unwrap();
        assert_eq!(sub, Name::new("INBOX.sub").unwrap());
        assert_eq!((sub.dir(), sub.parent()), (b".INBOX.sub".to_vec(), Some(Name::inbox())));
        assert_eq!(Name::from_dir(b".inbox.sub"), None, "nobody could name it");
        assert_eq!(Name::new("Inboxes.x").unwrap().as_str(), "Inboxes.x");
    }

    #[test]
    fn a_name_and_its_directory() {
        let name = Name::new("Arbeit.äöü").unwrap();
        assert_eq!(name.dir(), b".Arbeit.&AOQA9gD8-");
        assert_eq!(Name::from_dir(b".Arbeit.&AOQA9gD8-"), Some(name.clone()));
        assert_eq!(Name::from_dir(".Arbeit.äöü".as_bytes()), Some(name));
        assert_eq!(Name::new("R&D").unwrap().dir(), b".R&-D");
        assert_eq!(Name::new("inBox").unwrap().dir(), b"");
    }

    #[test]
    fn entries_that_are_no_mailboxes() {
        for entry in [
            &b"cur"[..],
            b".",
            b"..",
            b"..DOVECOT-TRASHED",
            b".dovecot.sieve",
            b".nfs0001",
            b".a..b",
            b".a.",
            b".inbox",
            b".bad&utf7",
            b".\xff\xfe",
            b".&AEE-",
        ] {
            assert_eq!(Name::from_dir(entry), None, "{}", String::from_utf8_lossy(entry));
        }
        assert_eq!(Name::from_dir(b".INBOX.x"), Name::new("INBOX.x").ok());
    }

    #[test]
    fn names_that_are_refused() {
        for (text, why) in [
            ("", BadName::Empty),
            ("a..b", BadName::Empty),
            (".a", BadName::Empty),
            ("a.", BadName::Empty),
            ("a/b", BadName::Slash),
            ("../x", BadName::Slash),
            ("~joe", BadName::Reserved),
            ("dovecot.sieve", BadName::Reserved),
            ("a\nb", BadName::Control),
        ] {
            assert_eq!(Name::new(text), Err(why), "{text:?}");
        }
        assert_eq!(Name::new(&"x".repeat(255)), Err(BadName::TooLong));
        assert!(Name::new(&"x".repeat(254)).is_ok());
        assert_eq!(Name::new(&"ü".repeat(100)), Err(BadName::TooLong));
    }

    #[test]
    fn hierarchy() {
        let (a, b) = (Name::new("a").unwrap(), Name::new("a.b").unwrap());
        assert!(b.is_below(&a) && !Name::new("ab").unwrap().is_below(&a));
        assert_eq!(b.parent(), Some(a.clone()));
        assert_eq!(b.moved(&a, &Name::new("x.y").unwrap()).unwrap().as_str(), "x.y.b");
    }
}
