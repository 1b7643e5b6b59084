//! Scripts at IMAP events.  RFC 6785.
//!
//! Brings no commands: what is new are items of the environment, answered by
//! the surroundings, and that some actions have no place there; those ask
//! [`delivery_only`].

use super::super::code::Op;
use super::super::language::Extension;
use super::super::run::{Ended, Run};
use super::super::surroundings::Occasion;

/// RFC 6785; the items are `imap.cause`, `imap.mailbox`, `imap.user` and their like.
pub const IMAPSIEVE: Extension =
    Extension { name: "imapsieve", implies: &["environment"], ..Extension::NOTHING };

/// `vnd.dovecot.mailbox-from` and `-to` of copied messages.
pub const DOVECOT_IMAPSIEVE: Extension =
    Extension { name: "vnd.dovecot.imapsieve", implies: &["imapsieve"], ..Extension::NOTHING };

/// An error unless a message is being delivered: there is nobody to answer.  RFC 6785 4.4 to 4.8.
pub fn delivery_only(run: &Run<'_>, op: &Op) -> Result<(), Ended> {
    if run.settings.occasion == Occasion::Delivery {
        return Ok(());
    }
    Err(run.fault(op.pos, format!("{} is only for deliveries", op.verb.title())))
}
