//! CAPABILITY.  RFC 3501 6.1.1.

use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::{capability, response};

/// The same list as in the tagged OK of the login.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    response::capability(&mut s.out, capability::SESSION);
    s.ok(tag, "Capability completed.")
}
