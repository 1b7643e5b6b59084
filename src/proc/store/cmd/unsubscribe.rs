//! UNSUBSCRIBE.  RFC 3501 6.3.7.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;

/// Takes a name off the list; it need not exist, nor be on it.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>) -> Ran {
    let name = match s.name(mailbox) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    match s.account.unsubscribe(&name) {
        Ok(()) => s.ok(tag, "Unsubscribe completed."),
        Err(e) => s.fail(tag, &e),
    }
}
