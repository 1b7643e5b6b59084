//! NOOP.  RFC 3501 6.1.2: how a client asks for news.

use crate::proc::store::session::{Ran, Session};

/// What is new comes before the tagged OK, as with every command.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    s.ok(tag, "NOOP completed.")
}
