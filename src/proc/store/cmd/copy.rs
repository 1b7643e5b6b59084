//! COPY and UID COPY.  RFC 3501 6.4.7, RFC 4315 3.

use crate::disk::maildir::Error;
use crate::proc::store::account::Placed;
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::response::Code;
use crate::proto::imap::seqset::{Ranges, SeqSet};

/// Copies messages: all of them or none.
pub fn run(s: &mut Session, tag: &[u8], uid: bool, set: &SeqSet, to: &Mailbox<'_>) -> Ran {
    let messages = match s.messages(set, uid) {
        Ok(messages) => messages,
        Err(reply) => return s.refuse(tag, reply),
    };
    let name = match s.target(to) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    let Some(selected) = &s.selected else { return s.refuse(tag, Problem::NotSelected) };
    let uids: Vec<u32> = messages.iter().map(|(_, uid)| *uid).collect();
    let placed = match s.account.copy(selected.view.open(), &uids, &name) {
        Ok(placed) => placed,
        Err(Error::NoMailbox) => return s.refuse(tag, Problem::TryCreate),
        Err(e) => return s.fail(tag, &e),
    };
    match numbers(&placed) {
        Some((from, to)) => {
            let code = Code::CopyUid(placed.uidvalidity, &from, &to);
            s.done(tag, Some(code), "Copy completed.")
        }
        None => s.ok(tag, "No messages copied."),
    }
}

/// The two sets of COPYUID; none if nothing was copied.
///
/// Both ascend, so that the n-th of one is the n-th of the other.
pub fn numbers(placed: &Placed) -> Option<(Ranges, Ranges)> {
    if placed.to.is_empty() {
        return None;
    }
    Some((placed.from.iter().copied().collect(), placed.to.iter().copied().collect()))
}
