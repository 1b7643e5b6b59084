//! CREATE.  RFC 3501 6.3.3.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;

/// Makes a mailbox.  A separator at the end only announces children and is
/// left out; names above it need not exist.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>) -> Ran {
    let bare = mailbox.name().strip_suffix(b".").unwrap_or(mailbox.name());
    let name = match s.name(&Mailbox::from_text(bare.into())) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    match s.account.create(&name) {
        Ok(()) => s.ok(tag, "Create completed."),
        Err(e) => s.fail(tag, &e),
    }
}
