//! `set`, the `string` test, and the modifiers of values.  RFC 5229.

use super::super::check::Check;
use super::super::code::{Noted, Op, Variable};
use super::super::compare::{Comparator, Matcher};
use super::super::glob::Characters;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Flow, Run};
use super::super::template::{self, Name};
use crate::proto::cursor::Cursor;

/// The extension.
pub const VARIABLES: Extension = Extension {
    name: "variables",
    verbs: &[
        Verb {
            name: "set",
            params: &[
                Param { shape: Shape::Constant, ..Param::text("name") },
                Param::text("value"),
            ],
            check: |check, op| note_variable(check, op, 0),
            ..Verb::command(run_set)
        },
        Verb {
            name: "string",
            params: &[Param::list("source"), Param::list("key list")],
            classes: &[MATCHES],
            // RFC 5229 5 names none; Pigeonhole's users count on exact comparison.
            comparator: Comparator::Octet,
            ..Verb::test(test_string)
        },
    ],
    tags: &[
        // Of the modifiers with one precedence only one may be given.  RFC 5229 4.1.
        Tag::new("lower").group("case").on(MODIFIED),
        Tag::new("upper").group("case").on(MODIFIED),
        Tag::new("lowerfirst").group("first case").on(MODIFIED),
        Tag::new("upperfirst").group("first case").on(MODIFIED),
        Tag::new("quotewildcard").group("quoting").on(MODIFIED),
        Tag::new("quoteregex").group("quoting").on(MODIFIED),
        Tag::new("length").on(MODIFIED),
    ],
    ..Extension::NOTHING
};

/// The commands whose value can be modified.
pub const MODIFIED: &[&str] = &["set", "extracttext"];

/// RFC 5229 4
fn run_set<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let value = run.string(op, 1)?.into_owned();
    let value = modified(op, value, run.settings.variable_size);
    run.charge_bytes(value.len())?;
    if let Noted::Variables(variables) = &op.noted {
        if let Some(variable) = variables.first() {
            run.set_variable(variable, value);
        }
    }
    Ok(Flow::Next)
}

/// Notes the variable whose name is in a parameter.
pub fn note_variable(check: &mut Check<'_>, op: &mut Op, param: usize) {
    let Some(given) = op.arg(param) else { return };
    let pos = given.pos;
    let name = given.constants().next().map(<[u8]>::to_vec).unwrap_or_default();
    if let Some(variable) = writable(check, pos, &name) {
        op.noted = Noted::Variables([variable].into());
    }
}

/// The variable of this name, if it can be set; otherwise the mistake is reported.
pub fn writable(
    check: &mut Check<'_>,
    pos: super::super::fault::Pos,
    name: &[u8],
) -> Option<Variable> {
    let mut c = Cursor::new(name);
    let shown = String::from_utf8_lossy(name).into_owned();
    let Some(parsed) = template::variable_name(&mut c).filter(|_| c.at_end()) else {
        check.error(pos, format!("'{shown}' is no name of a variable"));
        return None;
    };
    if matches!(parsed, Name::Match(_)) {
        check.error(pos, format!("the match variable '{shown}' cannot be set"));
        return None;
    }
    let variable = check.variable(pos, parsed)?;
    if matches!(variable, Variable::Space(..)) {
        check.error(pos, format!("the variable '{shown}' cannot be set"));
        return None;
    }
    Some(variable)
}

/// A value with the modifiers of a command applied, highest precedence first.  RFC 5229 4.1.
///
/// What quoting makes longer than `max` is cut between its units, never within one.
pub fn modified(op: &Op, mut value: Vec<u8>, max: usize) -> Vec<u8> {
    if op.has("lower") {
        value.make_ascii_lowercase();
    }
    if op.has("upper") {
        value.make_ascii_uppercase();
    }
    if let Some(first) = value.first_mut() {
        if op.has("lowerfirst") {
            first.make_ascii_lowercase();
        }
        if op.has("upperfirst") {
            first.make_ascii_uppercase();
        }
    }
    if op.has("quotewildcard") {
        value = quoted(&value, b"*?\\", max);
    }
    if op.has("quoteregex") {
        value = quoted(&value, b".*+?^$|()[]{}\\", max);
    }
    // RFC 5435 6
    if op.has("encodeurl") {
        value = percent_encoded(&value, max);
    }
    if op.has("length") {
        let characters = value.iter().filter(|b| **b & 0xc0 != 0x80).count();
        value = characters.to_string().into_bytes();
    }
    value
}

fn quoted(value: &[u8], special: &[u8], max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for b in value {
        let quote = special.contains(b);
        if out.len().saturating_add(1).saturating_add(usize::from(quote)) > max {
            break;
        }
        if quote {
            out.push(b'\\');
        }
        out.push(*b);
    }
    out
}

/// All but the unreserved characters of RFC 3986 2.3.
fn percent_encoded(value: &[u8], max: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (_, range) in (Characters { rest: value, at: 0 }) {
        let before = out.len();
        for b in value.get(range).unwrap_or_default() {
            if b.is_ascii_alphanumeric() || b"-_.~".contains(b) {
                out.push(*b);
            } else {
                out.extend_from_slice(format!("%{b:02X}").as_bytes());
            }
        }
        if out.len() > max {
            out.truncate(before);
            break;
        }
    }
    out
}

/// RFC 5229 5
fn test_string<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let sources = run.list(op, 0)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    for source in sources {
        // The empty string does not count.  RFC 5229 5.
        if (!matcher.counts() || !source.is_empty()) && matcher.value(run, &source)? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}
