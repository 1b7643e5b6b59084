//! External lists: `:list`, `valid_ext_list`, `redirect :list`.  RFC 6134.

use super::super::code::Op;
use super::super::compare::MatchType;
use super::super::language::{Extension, Param, Tag, Verb};
use super::super::run::{Ended, Run};
use super::comparator::MATCH_TYPE;

/// The extension.
pub const EXTLISTS: Extension = Extension {
    name: "extlists",
    verbs: &[Verb {
        name: "valid_ext_list",
        params: &[Param::list("list names")],
        ..Verb::test(test_valid)
    }],
    tags: &[
        Tag::new("list").sets(MATCH_TYPE, |_, m, _| m.by(MatchType::Other(is_in_list))),
        Tag::new("list").on(&["redirect"]),
    ],
    ..Extension::NOTHING
};

/// RFC 6134 2.3: the value is a member of the list that the key names.
fn is_in_list(run: &mut Run<'_>, op: &Op, value: &[u8], key: &[u8]) -> Result<bool, Ended> {
    run.charge_bytes(value.len())?;
    let answer = run.world.list_contains(key, value);
    run.answer(op, answer)
}

/// RFC 6134 2.7: true if all of them can be asked.
fn test_valid<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for name in run.list(op, 0)? {
        let answer = run.world.list_exists(&name);
        if !run.answer(op, answer)? {
            return Ok(false);
        }
    }
    Ok(true)
}
