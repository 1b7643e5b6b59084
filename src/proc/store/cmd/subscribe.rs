//! SUBSCRIBE.  RFC 3501 6.3.6.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::reply::Problem;

/// Subscribes to a mailbox, which must exist: as with Dovecot, a name that was
/// mistyped is refused.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>) -> Ran {
    let name = match s.name(mailbox) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    match s.account.exists(&name) {
        Ok(true) => {}
        Ok(false) => return s.refuse(tag, Problem::NoMailbox),
        Err(e) => return s.fail(tag, &e),
    }
    match s.account.subscribe(&name) {
        Ok(()) => s.ok(tag, "Subscribe completed."),
        Err(e) => s.fail(tag, &e),
    }
}
