//! `addheader` and `deleteheader`.  RFC 5293.

use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::message::decoded;
use super::super::run::{Ended, Flow, Run};
use super::header::is_field_name;
use crate::proto::mime::unfold;
use crate::proto::text::encoded_word;

/// The extension.
pub const EDITHEADER: Extension = Extension {
    name: "editheader",
    verbs: &[
        Verb {
            name: "addheader",
            params: &[Param::text("field name"), Param::text("value")],
            tags: &[Tag::new("last")],
            check: check_names,
            ..Verb::command(run_addheader)
        },
        Verb {
            name: "deleteheader",
            params: &[Param::text("field name"), Param::list("value patterns").or_none()],
            tags: &[Tag::of("index", Shape::Number), Tag::new("last").with("index")],
            classes: &[MATCHES],
            check: check_names,
            ..Verb::command(run_deleteheader)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5293 6: what shows a message's way and stops loops is not for scripts to remove.
const NEVER_DELETED: &[&str] = &["received", "auto-submitted"];

fn check_names(check: &mut Check<'_>, op: &mut Op) {
    super::date::check_index(check, op);
    let Some(given) = op.arg(0) else { return };
    if let Some(bad) = given.constants().find(|name| !is_field_name(name)) {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("the field name '{bad}' is invalid"));
    }
    if op.verb.name == "addheader" {
        let Some(given) = op.arg(1) else { return };
        if let Some(why) = given.constants().find_map(bad_value) {
            check.error(given.pos, why);
        }
    }
}

/// RFC 5293 4: UTF-8 text; line ends are folding.
fn bad_value(value: &[u8]) -> Option<String> {
    // Other controls become blanks when the field is written.
    let why = match std::str::from_utf8(value) {
        Err(_) => "it is not UTF-8",
        Ok(_) if value.contains(&0) => "it has a NUL in it",
        Ok(_) => return None,
    };
    let shown = String::from_utf8_lossy(value.get(..value.len().min(32)).unwrap_or_default());
    Some(format!("the field value '{}' is invalid: {why}", shown.escape_debug()))
}

/// RFC 5293 4
fn run_addheader<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let name = run.string(op, 0)?;
    let value = run.string(op, 1)?;
    if !is_field_name(&name) {
        let name = String::from_utf8_lossy(&name).into_owned();
        return Err(run.fault(op.pos, format!("the field name '{name}' is invalid")));
    }
    if let Some(why) = bad_value(&value) {
        return Err(run.fault(op.pos, why));
    }
    if name.len().saturating_add(value.len()) > run.settings.header_size {
        let text = format!("a header field of more than {} octets", run.settings.header_size);
        return Err(run.fault(op.pos, text));
    }
    // RFC 5293 6: edits of protected fields are ignored, not errors.
    let set = run.settings;
    if listed(&set.header_protected, &name) || listed(&set.header_no_add, &name) {
        return Ok(Flow::Next);
    }
    run.charge_bytes(value.len().saturating_add(1024))?;
    // RFC 5293 4: line ends are folding; what is added is one line.
    let line = unfold(&value);
    let line = String::from_utf8_lossy(&line).replace("\r\n", " ");
    let line: String = line.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let text = line.trim();
    let mut raw = name.to_vec();
    raw.extend_from_slice(b": ");
    raw.extend_from_slice(&encoded_word::encode(text, raw.len()));
    raw.extend_from_slice(b"\r\n");
    // The others move.
    run.charge_bytes(run.message.fields())?;
    run.message.add_field(&name, text.as_bytes(), raw, op.has("last"));
    Ok(Flow::Next)
}

/// RFC 5293 5
fn run_deleteheader<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let name = run.string(op, 0)?;
    let set = run.settings;
    let never = NEVER_DELETED.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(&name));
    if never || listed(&set.header_protected, &name) || listed(&set.header_no_delete, &name) {
        return Ok(Flow::Next);
    }
    run.charge_bytes(run.message.fields())?;
    let values: Vec<Vec<u8>> = run.message.values(&name).map(decoded).collect();
    let numbered: Vec<(usize, Vec<u8>)> = values.into_iter().enumerate().collect();
    let candidates = super::date::indexed(op, numbered);
    let mut gone = Vec::new();
    if op.arg(1).is_none() {
        gone.extend(candidates.iter().map(|(number, _)| *number));
    } else if super::super::compare::counts(op) {
        // :count looks at all of them together.
        let mut matcher = Matcher::new(run, op, 1)?;
        for (_, value) in &candidates {
            matcher.value(run, value)?;
        }
        if matcher.finish(run)? {
            gone.extend(candidates.iter().map(|(number, _)| *number));
        }
    } else {
        let mut matcher = Matcher::new(run, op, 1)?;
        for (number, value) in &candidates {
            if matcher.value(run, value)? {
                gone.push(*number);
            }
        }
    }
    run.charge_bytes(gone.len().saturating_mul(64))?;
    run.message.delete_fields(&name, &gone);
    Ok(Flow::Next)
}

/// The subject can always be changed: that is what the extension is for.  RFC 5293 6.
fn listed(names: &[String], name: &[u8]) -> bool {
    if name.eq_ignore_ascii_case(b"subject") {
        return false;
    }
    names.iter().any(|n| n.as_bytes().eq_ignore_ascii_case(name))
}
