//! UNSELECT.  RFC 3691: as CLOSE, but nothing is expunged.

use crate::proc::store::session::{Ran, Session};

/// Lets go of the mailbox.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    s.selected = None;
    s.ok(tag, "Unselect completed.")
}
