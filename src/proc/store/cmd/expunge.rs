//! EXPUNGE and UID EXPUNGE.  RFC 3501 6.4.3, RFC 4315 2.1.

use crate::disk::maildir::{Flags, Result};
use crate::proc::store::session::{Ran, Session};
use crate::proc::store::view::View;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::seqset::{Ranges, SeqSet};

/// Removes the messages marked `\Deleted`, of a set if one is given.
pub fn run(s: &mut Session, tag: &[u8], set: Option<&SeqSet>) -> Ran {
    let Some(selected) = &mut s.selected else { return s.refuse(tag, Problem::NotSelected) };
    let view = &mut selected.view;
    if view.read_only {
        return s.refuse(tag, Problem::ReadOnly);
    }
    let wanted = set.map(|set| set.resolve(view.last_uid()));
    let done = deleted(view, wanted.as_ref()).and_then(|uids| view.expunge(&uids));
    match done.map(|done| done.failed) {
        Ok(None) => s.ok(tag, "Expunge completed."),
        Ok(Some(e)) | Err(e) => {
            // What went before the error is gone and is told.
            s.tell(true)?;
            s.fail(tag, &e)
        }
    }
}

/// The UIDs marked `\Deleted` that the session knows, ascending.
///
/// A message that came after the last news is left alone: the client has not
/// seen that it is marked.
pub fn deleted(view: &View, wanted: Option<&Ranges>) -> Result<Vec<u32>> {
    view.with(|m| {
        let marked = m.messages().iter().filter(|x| x.attrs.flags.has(Flags::DELETED));
        let known = marked.map(|x| x.attrs.uid).filter(|uid| view.seq(*uid).is_some());
        Ok(known.filter(|uid| wanted.is_none_or(|w| w.contains(*uid))).collect())
    })
}
