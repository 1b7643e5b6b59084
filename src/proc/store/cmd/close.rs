//! CLOSE.  RFC 3501 6.4.2.

use crate::proc::store::session::{Ran, Session};

/// Removes what is marked `\Deleted`, without saying so, and lets go of the
/// mailbox.  One that was opened read-only is left as it is.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    if let Some(mut selected) = s.selected.take() {
        if !selected.view.read_only {
            match selected.view.expunge(None).map(|done| done.failed) {
                Ok(None) => {}
                Ok(Some(e)) | Err(e) => return s.fail(tag, &e),
            }
        }
    }
    s.ok(tag, "Close completed.")
}
