//! DELETE.  RFC 3501 6.3.4.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::reply::Problem;

/// Removes a mailbox with its messages; those below it stay, and its name stays
/// as their parent.  The session's own selected mailbox is let go of.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>) -> Ran {
    let name = match s.name(mailbox) {
        Ok(name) if name.is_inbox() => return s.refuse(tag, Problem::DeleteInbox),
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    match s.account.delete(&name) {
        Ok(()) => {
            // Not by its name, which it may have had only when it was selected.
            if s.selected.as_ref().is_some_and(|selected| selected.view.open().is_gone()) {
                s.selected = None;
            }
            s.ok(tag, "Delete completed.")
        }
        Err(e) => s.fail(tag, &e),
    }
}
