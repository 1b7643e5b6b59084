//! EXPUNGE and UID EXPUNGE.  RFC 3501 6.4.3, RFC 4315 2.1.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::reply::Problem;
use crate::proto::imap::seqset::SeqSet;

/// Removes the messages marked `\Deleted`, of a set if one is given.
pub fn run(s: &mut Session, tag: &[u8], set: Option<&SeqSet>) -> Ran {
    let Some(selected) = &mut s.selected else { return s.refuse(tag, Problem::NotSelected) };
    let view = &mut selected.view;
    if view.read_only {
        return s.refuse(tag, Problem::ReadOnly);
    }
    let wanted = set.map(|set| set.resolve(view.last_uid()));
    match view.expunge(wanted.as_ref()).map(|done| done.failed) {
        Ok(None) => s.ok(tag, "Expunge completed."),
        Ok(Some(e)) | Err(e) => {
            // What went before the error is gone and is told.
            s.tell(true)?;
            s.fail(tag, &e)
        }
    }
}
