//! `reject` and `ereject`.  RFC 5429.

use super::super::action::Reject;
use super::super::code::Op;
use super::super::language::{Extension, Param, Verb};
use super::super::run::{Ended, Flow, Run};
use super::imapsieve::delivery_only;

/// RFC 5429 2.2
pub const REJECT: Extension = Extension {
    name: "reject",
    verbs: &[Verb {
        name: "reject",
        params: &[Param::text("reason")],
        ..Verb::command(|run, op| refuse(run, op, false))
    }],
    ..Extension::NOTHING
};

/// RFC 5429 2.1
pub const EREJECT: Extension = Extension {
    name: "ereject",
    verbs: &[Verb {
        name: "ereject",
        params: &[Param::text("reason")],
        ..Verb::command(|run, op| refuse(run, op, true))
    }],
    ..Extension::NOTHING
};

fn refuse<'a>(run: &mut Run<'a>, op: &'a Op, at_protocol: bool) -> Result<Flow<'a>, Ended> {
    delivery_only(run, op)?;
    let reason = run.string(op, 0)?.into_owned();
    let added = run.results.reject(Reject { reason, at_protocol }, run.settings);
    run.added(op, added)?;
    Ok(Flow::Next)
}
