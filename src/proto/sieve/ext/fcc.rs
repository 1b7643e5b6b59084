//! `:fcc`: a copy of what vacation and notify send.  RFC 8580.

use super::super::action::Store;
use super::super::code::Op;
use super::super::language::{Extension, Shape, Tag};
use super::super::run::{Ended, Run};
use super::deliver::mailbox_name;
use super::{imap4flags, mailbox};

/// The extension.
pub const FCC: Extension = Extension {
    name: "fcc",
    tags: &[Tag::of("fcc", Shape::Text).on(&["vacation", "notify"])],
    ..Extension::NOTHING
};

/// Where to keep the copy, if anywhere.
pub fn copy<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Option<Store>, Ended> {
    let Some(name) = run.tag(op, "fcc")? else { return Ok(None) };
    if let Err(why) = mailbox_name(&name) {
        return Err(run.fault(op.pos, why));
    }
    // RFC 8580 3.1: only the tag sets flags, not the internal variable.
    let flags = run.tag_list(op, "flags")?.map(|given| imap4flags::flags(&given));
    let flags = flags.unwrap_or_default();
    let target = mailbox::target(run, op)?;
    Ok(Some(Store { mailbox: Some(name.into_owned()), flags, ..target }))
}
