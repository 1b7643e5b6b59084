//! STATUS.  RFC 3501 6.3.10.

use crate::disk::maildir::{Name, Result};
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::list::StatusItem;
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::response;
use crate::proto::text::mutf7;

/// Counts a mailbox without selecting it.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>, items: &[StatusItem]) -> Ran {
    let name = match s.name(mailbox) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    match s.account.exists(&name) {
        Ok(true) => {}
        Ok(false) => return s.refuse(tag, Problem::NoMailbox),
        Err(e) => return s.fail(tag, &e),
    }
    match write(s, &name, items) {
        Ok(()) => s.ok(tag, "Status completed."),
        Err(e) => s.fail(tag, &e),
    }
}

/// Appends the STATUS response of a mailbox; also for LIST-STATUS.
pub fn write(s: &mut Session, name: &Name, items: &[StatusItem]) -> Result<()> {
    let status = s.account.status(name)?;
    let value = |item: &StatusItem| {
        let n = match item {
            StatusItem::Messages => status.messages,
            StatusItem::Recent => status.recent,
            StatusItem::UidNext => status.uidnext,
            StatusItem::UidValidity => status.uidvalidity,
            StatusItem::Unseen => status.unseen,
        };
        (*item, u64::from(n))
    };
    let values: Vec<(StatusItem, u64)> = items.iter().map(value).collect();
    response::status(&mut s.out, &mutf7::encode(name.as_str()), &values);
    Ok(())
}
