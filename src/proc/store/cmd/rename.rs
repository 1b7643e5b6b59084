//! RENAME.  RFC 3501 6.3.5.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;

/// Renames a mailbox and what is below it; renaming INBOX moves its messages.
pub fn run(s: &mut Session, tag: &[u8], from: &Mailbox<'_>, to: &Mailbox<'_>) -> Ran {
    let (old, new) = match (s.name(from), s.name(to)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(problem), _) | (_, Err(problem)) => return s.refuse(tag, problem),
    };
    match s.account.rename(&old, &new) {
        Ok(()) => s.ok(tag, "Rename completed."),
        Err(e) => s.fail(tag, &e),
    }
}
