//! The `duplicate` test.  RFC 7352.
//!
//! Looks only: what is to be remembered goes into the outcome, to be marked
//! when the message has been delivered (RFC 7352 3.1).

use super::super::action::{Record, RecordKind};
use super::super::check::Check;
use super::super::code::Op;
use super::super::language::{Extension, Shape, Tag, Verb};
use super::super::run::{Ended, Run};

/// The extension.
pub const DUPLICATE: Extension = Extension {
    name: "duplicate",
    verbs: &[Verb {
        name: "duplicate",
        tags: &[
            Tag::of("handle", Shape::Text),
            Tag::of("header", Shape::Text).group("identity"),
            Tag::of("uniqueid", Shape::Text).group("identity"),
            Tag::of("seconds", Shape::Number),
            Tag::new("last"),
        ],
        check: check_duplicate,
        ..Verb::test(test_duplicate)
    }],
    ..Extension::NOTHING
};

/// RFC 7352 3
fn test_duplicate<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let handle = run.tag(op, "handle")?.unwrap_or_default();
    let id = match run.tag(op, "uniqueid")? {
        Some(id) => Some(id.into_owned()),
        None => {
            let name = run.tag(op, "header")?;
            let name = name.as_deref().unwrap_or(b"message-id");
            run.message.text(name)
        }
    };
    // RFC 7352 3.1: a message without the field is never a duplicate, nor remembered.
    let Some(id) = id.filter(|id| !id.is_empty()) else { return Ok(false) };
    run.charge_bytes(id.len())?;
    let max = run.settings.duplicate_max_secs;
    let seconds = op.tag_number("seconds").unwrap_or(run.settings.duplicate_default_secs).min(max);
    // A length before the handle keeps handle and id apart.
    let mut key = format!("{}:", handle.len()).into_bytes();
    key.extend_from_slice(&handle);
    key.extend_from_slice(&id);
    let record = Record { kind: RecordKind::Duplicate, key, seconds, last: op.has("last") };
    let answer = run.world.seen(&record);
    let seen = run.answer(op, answer)?;
    let noted = run.results.records.iter().any(|other| other.key == record.key);
    if (!seen || record.last) && !noted {
        run.results.records.push(record);
    }
    Ok(seen)
}

fn check_duplicate(check: &mut Check<'_>, op: &mut Op) {
    let Some(given) = op.tag("header") else { return };
    let bad = given.constants().find(|name| !super::header::is_field_name(name));
    if let Some(bad) = bad {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("'{bad}' is no name of a header field"));
    }
}
