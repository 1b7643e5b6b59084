//! SELECT and EXAMINE.  RFC 3501 6.3.1, 6.3.2.

use crate::disk::maildir::Flags;
use crate::proc::store::session::{write_flags, Ran, Selected, Session};
use crate::proto::imap::mailbox::Mailbox;
use crate::proto::imap::response::{self, Code, Status};

/// Opens a mailbox, and lets go of the one that was open, also if this fails.
pub fn run(s: &mut Session, tag: &[u8], mailbox: &Mailbox<'_>, read_only: bool) -> Ran {
    if s.selected.take().is_some() {
        response::untagged(
            &mut s.out,
            Status::Ok,
            Some(Code::Closed),
            "Previous mailbox is now closed.",
        );
    }
    let name = match s.name(mailbox) {
        Ok(name) => name,
        Err(problem) => return s.refuse(tag, problem),
    };
    let view = match s.account.select(&name, read_only) {
        Ok(view) => view,
        Err(e) => return s.fail(tag, &e),
    };
    let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let facts =
        view.with(|m| Ok(m.messages().iter().position(|x| !x.attrs.flags.has(Flags::SEEN))));
    let unseen = match facts {
        Ok(unseen) => unseen,
        Err(e) => return s.fail(tag, &e),
    };
    write_flags(&mut s.out, &view);
    response::exists(&mut s.out, view.len());
    response::recent(&mut s.out, count(view.recent()));
    let mut told = |code, text: &str| {
        response::untagged(&mut s.out, Status::Ok, Some(code), text);
    };
    // The first message without \Seen, if the session knows it.
    if let Some(at) = unseen.filter(|at| count(*at) < view.len()) {
        told(Code::Unseen(count(at).saturating_add(1)), "First unseen.");
    }
    told(Code::UidValidity(view.uidvalidity), "UIDs valid.");
    // Of the messages that EXISTS counted: what has come since is still to be
    // announced, and a client that goes on from UIDNEXT must not miss it.
    told(Code::UidNext(view.uidnext()), "Predicted next UID.");
    s.selected = Some(Selected { name, view, outline: None });
    let (code, text) = if read_only {
        (Code::ReadOnly, "Examine completed.")
    } else {
        (Code::ReadWrite, "Select completed.")
    };
    response::tagged(&mut s.out, tag, Status::Ok, Some(code), text);
    Ok(())
}
