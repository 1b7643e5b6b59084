//! MIME parts: `:mime` and its companions, `foreverypart`, `break`,
//! `extracttext`.  RFC 5703 3, 4, 7.

use std::ops::RangeInclusive;
use std::sync::Arc;

use super::super::check::{Check, Enclosing};
use super::super::code::{Noted, Op};
use super::super::language::{Extension, Param, Shape, Tag, Verb};
use super::super::message::decoded;
use super::super::run::{cut, Ended, Flow, Frame, Repeat, Run};
use super::variables::{modified, note_variable};
use crate::proto::limits;
use crate::proto::mime::{ContentType, Disposition, Params};

/// RFC 5703 4
pub const MIME: Extension = Extension {
    name: "mime",
    tags: &[
        Tag::new("mime").on(&["header", "address", "exists"]),
        Tag::new("anychild").with("mime").on(&["header", "address", "exists"]),
        Tag::new("type").group("MIME option").with("mime").on(&["header"]),
        Tag::new("subtype").group("MIME option").with("mime").on(&["header"]),
        Tag::new("contenttype").group("MIME option").with("mime").on(&["header"]),
        Tag::of("param", Shape::List).group("MIME option").with("mime").on(&["header"]),
    ],
    ..Extension::NOTHING
};

/// RFC 5703 3
pub const FOREVERYPART: Extension = Extension {
    name: "foreverypart",
    verbs: &[
        Verb {
            name: "foreverypart",
            tags: &[Tag::of("name", Shape::Constant)],
            check: check_loop,
            ..Verb::block(run_loop)
        },
        Verb {
            name: "break",
            tags: &[Tag::of("name", Shape::Constant)],
            check: check_break,
            ..Verb::command(run_break)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5703 7
pub const EXTRACTTEXT: Extension = Extension {
    name: "extracttext",
    verbs: &[Verb {
        name: "extracttext",
        tags: &[Tag::of("first", Shape::Number)],
        params: &[Param { shape: Shape::Constant, ..Param::text("name") }],
        check: check_extracttext,
        ..Verb::command(run_extracttext)
    }],
    ..Extension::NOTHING
};

/// The open `foreverypart` loops, outermost first.
#[derive(Default)]
struct Loops(Vec<Loop>);

/// The parts that an open `foreverypart` goes through.
struct Loop {
    parts: Vec<usize>,
    at: usize,
}

/// The loops around a command that is checked, outermost first.
fn around<'c>(check: &'c Check<'_>) -> impl Iterator<Item = &'c Enclosing> {
    check.enclosing.iter().filter(|outer| outer.verb.name == "foreverypart")
}

/// The part that the innermost loop is at; the message itself outside of loops.
pub fn current(run: &Run<'_>) -> usize {
    let inner = run.kept().and_then(|Loops(loops)| loops.last());
    inner.and_then(|inner| inner.parts.get(inner.at).copied()).unwrap_or(0)
}

/// The parts whose header a test looks at.
///
/// Without `:mime` that is the message's own header, inside of loops too.  RFC 5703 4.1.
pub fn parts(run: &mut Run<'_>, op: &Op) -> Result<RangeInclusive<usize>, Ended> {
    if !op.has("mime") {
        return Ok(0..=0);
    }
    let here = current(run);
    if !op.has("anychild") {
        return Ok(here..=here);
    }
    within(run, here)
}

/// A part and all parts inside it, in the order of the message.
fn within(run: &mut Run<'_>, top: usize) -> Result<RangeInclusive<usize>, Ended> {
    let end = last_within(run, top);
    run.charge_bytes(end.saturating_sub(top).saturating_mul(16))?;
    Ok(top..=end)
}

/// True if the tags ask for something of a field's value rather than for the whole.
pub fn has_option(op: &Op) -> bool {
    ["type", "subtype", "contenttype", "param"].iter().any(|name| op.has(name))
}

/// What `:type`, `:subtype`, `:contenttype` or `:param` make of a field's value; `None` without
/// any of them.  RFC 5703 4.2.
pub fn field_option<'a>(
    run: &mut Run<'a>,
    op: &'a Op,
    value: &[u8],
) -> Result<Option<Vec<Vec<u8>>>, Ended> {
    let wanted = run.tag_list(op, "param")?;
    let (kind, subtype, params) = structured(value);
    Ok(Some(if let Some(names) = wanted {
        let named = |name: &[u8]| {
            let name = name.to_ascii_lowercase();
            params.get(&name).map(|param| param.text().into_bytes())
        };
        names.iter().filter_map(|name| named(name)).collect()
    } else if op.has("type") {
        vec![kind]
    } else if op.has("subtype") {
        vec![subtype]
    } else if op.has("contenttype") {
        if subtype.is_empty() {
            vec![kind]
        } else {
            vec![[kind, subtype].join(&b'/')]
        }
    } else {
        return Ok(None);
    }))
}

/// Content-Type, or a field of the shape of Content-Disposition.
fn structured(value: &[u8]) -> (Vec<u8>, Vec<u8>, Params) {
    match ContentType::parse(value) {
        Some(content) if !content.sub.is_empty() => (content.main, content.sub, content.params),
        _ => match Disposition::parse(value) {
            Some(disposition) => (disposition.kind, Vec::new(), disposition.params),
            None => (decoded(value), Vec::new(), Params::default()),
        },
    }
}

/// The number of the last part inside a part; its own if there is none.
pub fn last_within(run: &Run<'_>, top: usize) -> usize {
    let parts = run.message.parts();
    let depth = parts.get(top).map_or(0, |part| part.depth);
    let inside = parts.iter().skip(top.saturating_add(1)).take_while(|part| part.depth > depth);
    top.saturating_add(inside.count())
}

/// Gives the parts of open loops their new numbers after the message has changed; those that
/// are gone (`None`) are not visited any more.
pub fn renumber(run: &mut Run<'_>, new: impl Fn(usize) -> Option<usize>) {
    let Loops(loops) = run.keep();
    for open in loops {
        let passed = open.parts.iter().take(open.at).filter(|part| new(**part).is_some()).count();
        open.parts = open.parts.iter().filter_map(|part| new(*part)).collect();
        open.at = passed;
    }
}

fn check_loop(check: &mut Check<'_>, op: &mut Op) {
    if around(check).count() >= limits::SIEVE_LOOP_NESTING.size() {
        let max = limits::SIEVE_LOOP_NESTING.default;
        check.error(op.pos, format!("foreverypart is nested deeper than {max}"));
    }
}

/// RFC 5703 3.1: all parts of the message, or inside a loop those within its part.
fn run_loop<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let open = run.kept().map_or(0, |Loops(loops)| loops.len());
    if open >= run.settings.loop_nesting {
        return Err(run.fault(op.pos, "foreverypart is nested too deep"));
    }
    // RFC 5703 3: a loop inside of a loop goes through what is inside of the part.
    let inside = usize::from(open > 0);
    let here = current(run);
    let parts: Vec<usize> = within(run, here)?.skip(inside).collect();
    if parts.is_empty() {
        return Ok(Flow::Next);
    }
    let Loops(loops) = run.keep();
    loops.push(Loop { parts, at: 0 });
    Ok(Flow::Enter(Frame::owned(op, Some(&Repeat { again: next_part, leave: leave_loop }))))
}

fn next_part(run: &mut Run<'_>) -> Result<bool, Ended> {
    let Loops(loops) = run.keep();
    let Some(inner) = loops.last_mut() else { return Ok(false) };
    inner.at = inner.at.saturating_add(1);
    Ok(inner.at < inner.parts.len())
}

fn leave_loop(run: &mut Run<'_>) {
    let Loops(loops) = run.keep();
    loops.pop();
}

fn check_break(check: &mut Check<'_>, op: &mut Op) {
    let name = op.tag("name").and_then(|given| given.constants().next()).map(<[u8]>::to_vec);
    match name {
        None if around(check).next().is_none() => {
            check.error(op.pos, "break must stand inside of a foreverypart");
        }
        Some(name) if !around(check).any(|outer| outer.name.as_ref() == Some(&name)) => {
            let name = String::from_utf8_lossy(&name);
            check.error(op.pos, format!("there is no foreverypart named '{name}' around break"));
        }
        _ => {}
    }
}

/// RFC 5703 3.2
fn run_break<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let name = |op: &Op| op.tag("name").and_then(|g| g.constants().next()).map(<[u8]>::to_vec);
    let wanted = name(op);
    let depth = run.find_block(|block| {
        block.verb.name == "foreverypart" && (wanted.is_none() || name(block) == wanted)
    });
    Ok(depth.map_or(Flow::Next, Flow::Leave))
}

fn check_extracttext(check: &mut Check<'_>, op: &mut Op) {
    if !check.has("variables") {
        return check.error(op.pos, "extracttext needs require \"variables\"");
    }
    if around(check).next().is_none() {
        return check.error(op.pos, "extracttext must stand inside of a foreverypart");
    }
    note_variable(check, op, 0);
}

/// RFC 5703 7: the text of the part, UTF-8; nothing if it is no text.
fn run_extracttext<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let here = current(run);
    let mut text = part_text(run, here)?.map_or_else(Vec::new, |text| text.to_vec());
    if let Some(first) = op.tag_number("first") {
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let starts = text.iter().enumerate().filter(|(_, b)| **b & 0xc0 != 0x80);
        let end = starts.map(|(at, _)| at).nth(first);
        cut(&mut text, end.unwrap_or(usize::MAX));
    }
    if let Noted::Variables(variables) = &op.noted {
        if let Some(variable) = variables.first() {
            let value = modified(op, text, run.settings.variable_size);
            run.set_variable(variable, value);
        }
    }
    Ok(Flow::Next)
}

/// The text of a part, markup removed; `None` if it is no text.
pub fn part_text(run: &mut Run<'_>, part: usize) -> Result<Option<Arc<[u8]>>, Ended> {
    let (text, octets) = run.message.kept_text(part, true);
    run.charge(octets.saturating_mul(2))?;
    Ok(text)
}
