//! External lists: `:list`, `valid_ext_list`, `redirect :list`.  RFC 6134.

use super::super::code::Op;
use super::super::language::{Extension, Param, Tag, Verb, MATCHES};
use super::super::run::{Ended, Run};

/// The extension.
pub const EXTLISTS: Extension = Extension {
    name: "extlists",
    verbs: &[Verb {
        name: "valid_ext_list",
        params: &[Param::list("list names")],
        ..Verb::test(test_valid)
    }],
    tags: &[
        Tag::new("list").group("match type").on(&[MATCHES]),
        Tag::new("list").on(&["redirect"]),
    ],
    ..Extension::NOTHING
};

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
