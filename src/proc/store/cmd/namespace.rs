//! NAMESPACE.  RFC 2342: one personal name space without a prefix.

use crate::disk::maildir::name::SEPARATOR;
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::response;

/// `(("" ".")) NIL NIL`
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    response::namespace(&mut s.out, u8::try_from(SEPARATOR).unwrap_or(b'.'));
    s.ok(tag, "Namespace completed.")
}
