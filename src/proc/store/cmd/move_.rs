//! MOVE and UID MOVE.  RFC 6851 3.

use super::copy::numbers;
use crate::disk::maildir::Error;
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::response::{self, Code, Status};
use crate::proto::imap::seqset::SeqSet;

/// Copies messages and takes them out here; COPYUID comes before the expunges.
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
    if selected.view.read_only {
        return s.refuse(tag, Problem::ReadOnly);
    }
    let uids: Vec<u32> = messages.iter().map(|(_, uid)| *uid).collect();
    let moved = match s.account.relocate(selected.view.open(), &uids, &name) {
        Ok(moved) => moved,
        Err(Error::NoMailbox) => return s.refuse(tag, Problem::TryCreate),
        Err(e) => {
            s.tell(true)?;
            return s.fail(tag, &e);
        }
    };
    let numbers = numbers(&moved.placed);
    if let Some((from, to)) = &numbers {
        let code = Code::CopyUid(moved.placed.uidvalidity, from, to);
        response::untagged(&mut s.out, Status::Ok, Some(code), "Moved UIDs.");
    }
    match moved.failed {
        Some(e) => {
            // What moved is told; the rest is where it was.
            s.tell(true)?;
            s.fail(tag, &e)
        }
        None if numbers.is_none() => s.ok(tag, "No messages moved."),
        None => s.ok(tag, "Move completed."),
    }
}
