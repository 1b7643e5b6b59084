//! ENABLE.  RFC 5161.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::response;

/// No extension here needs enabling, so the list of what was is empty; it is
/// sent all the same, since clients wait for it (mailspring-sync#91).
pub fn run(s: &mut Session, tag: &[u8], _names: &[&[u8]]) -> Ran {
    response::enabled(&mut s.out, &[]);
    s.ok(tag, "ENABLE completed.")
}
