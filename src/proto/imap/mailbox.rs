//! A mailbox name as it stands on the wire.
//!
//! The bytes stay in modified UTF-7, as on disk; only INBOX, which is the same
//! in any case, is brought to one spelling.  `mailbox = "INBOX" / astring`.
//! RFC 3501 5.1, 9.

use std::borrow::Cow;

use super::lex::{self, Parsed, Text};
use crate::proto::cursor::Cursor;

/// A mailbox name of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox<'a>(Text<'a>);

impl<'a> Mailbox<'a> {
    /// Reads a name.  Whether it is well-formed is asked by who looks it up:
    /// an ill-formed one is a NO, not a syntax error.
    pub fn parse(c: &mut Cursor<'a>) -> Parsed<Mailbox<'a>> {
        lex::astring(c).map(Mailbox::from_text)
    }

    /// The mailbox of a name that was read otherwise.
    pub fn from_text(text: Text<'a>) -> Mailbox<'a> {
        if text.eq_ignore_ascii_case(b"INBOX") {
            Mailbox(Cow::Borrowed(b"INBOX"))
        } else {
            Mailbox(text)
        }
    }

    /// The name, in modified UTF-7 if it is well-formed.
    pub fn name(&self) -> &[u8] {
        &self.0
    }

    /// True for the INBOX.
    pub fn is_inbox(&self) -> bool {
        *self.0 == *b"INBOX"
    }
}
