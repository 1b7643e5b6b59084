//! The `ihave` test and the `error` command.  RFC 5463.

use super::super::check::Check;
use super::super::code::{Noted, Op};
use super::super::fault::Fault;
use super::super::language::{Extension, Param, Verb};
use super::super::run::{Ended, Flow, Run};

/// The extension.
pub const IHAVE: Extension = Extension {
    name: "ihave",
    verbs: &[
        Verb {
            name: "ihave",
            params: &[Param::list("capabilities")],
            check: check_ihave,
            ..Verb::test(test_ihave)
        },
        Verb { name: "error", params: &[Param::text("message")], ..Verb::command(run_error) },
    ],
    ..Extension::NOTHING
};

/// RFC 5463 4: what is there is as good as required from here on; what is not makes the block
/// unreachable, so that it is not checked.
fn check_ihave(check: &mut Check<'_>, op: &mut Op) {
    let Some(given) = op.arg(0) else { return };
    if given.constants().count() < given.texts().len() {
        let text = "the capabilities of ihave must be constant";
        return check.error(given.pos, text);
    }
    let names: Vec<Vec<u8>> = given.constants().map(<[u8]>::to_vec).collect();
    // RFC 5463 4: what changes how strings are read cannot be switched on half-way.
    let reads = |name: &Vec<u8>| matches!(name.as_slice(), b"variables" | b"encoded-character");
    let late = |name: &Vec<u8>| reads(name) && !check.has(&String::from_utf8_lossy(name));
    let value = names.iter().all(|name| check.offers(name) && !late(name));
    if value {
        for name in &names {
            check.require(name);
        }
    }
    op.noted = Noted::Truth { value, by_ihave: true };
}

fn test_ihave<'a>(_: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    Ok(matches!(op.noted, Noted::Truth { value: true, .. }))
}

/// RFC 5463 5
fn run_error<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let text = String::from_utf8_lossy(&run.string(op, 0)?).into_owned();
    Err(Box::new(Fault { by_script: true, ..*run.fault(op.pos, text) }))
}
