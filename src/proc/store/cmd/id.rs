//! ID.  RFC 2971: who the client says it is goes to the log, who we are comes back.

use crate::base::log;
use crate::proc::store::session::{Ran, Session, Sid};
use crate::proto::imap::lex::Text;
use crate::proto::imap::response;

/// Neither version nor system is told: they help an attacker more than a client.
pub fn run(s: &mut Session, tag: &[u8], pairs: &[(Text<'_>, Option<Text<'_>>)]) -> Ran {
    let value = |name: &[u8]| {
        let found = pairs.iter().find(|(field, _)| field.eq_ignore_ascii_case(name));
        found.and_then(|(_, value)| value.as_deref()).unwrap_or_default()
    };
    log::info!(
        "imap",
        sid = Sid(s.sid),
        event = "id",
        name = value(b"name"),
        version = value(b"version")
    );
    response::id(&mut s.out, &[("name", "rmail")]);
    s.ok(tag, "ID completed.")
}
