//! LOGOUT.  RFC 3501 6.1.3.

use crate::proc::store::session::{Ran, Session, Stop};
use crate::proto::imap::response::{self, Status};

/// BYE, then OK, then the end.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    response::untagged(&mut s.out, Status::Bye, None, "Logging out");
    response::tagged(&mut s.out, tag, Status::Ok, None, "Logout completed.");
    Err(Stop::Done("logout"))
}
