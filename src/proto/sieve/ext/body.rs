//! The `body` test.  RFC 5173.

use std::sync::Arc;

use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Run};
use super::mime::part_text;
use crate::proto::mime;

/// The extension.
pub const BODY: Extension = Extension {
    name: "body",
    verbs: &[Verb {
        name: "body",
        params: &[Param::list("key list")],
        tags: &[
            Tag::new("raw").group("body transform"),
            Tag::of("content", Shape::List).group("body transform"),
            Tag::new("text").group("body transform"),
        ],
        classes: &[MATCHES],
        ..Verb::test(test_body)
    }],
    ..Extension::NOTHING
};

/// RFC 5173 4; the default transform is `:text`.
fn test_body<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    // RFC 5173 6: a body test does not set match variables.
    let mut matcher = Matcher::new(run, op, 0)?.without_match_values();
    if !run.message.has_body() {
        // RFC 5173 4: nothing matches, not even the empty string.
    } else if op.has("raw") {
        // RFC 5173 5.1: the octets of the body, nothing decoded.
        let base = run.message.base().clone();
        let body = base.get(run.message.body()..).unwrap_or_default();
        if matcher.value(run, body)? {
            return Ok(true);
        }
    } else {
        let types = run.tag_list(op, "content")?;
        for part in 0..run.message.parts().len() {
            let value = match &types {
                Some(types) => {
                    let wanted = types.iter().any(|name| has_type(run, part, name));
                    if wanted {
                        content(run, part)?
                    } else {
                        None
                    }
                }
                None => part_text(run, part)?,
            };
            if let Some(value) = value {
                if matcher.value(run, &value)? {
                    return Ok(true);
                }
            }
        }
    }
    matcher.finish(run)
}

/// RFC 5173 5.2: `""` is every type, `text` every subtype, anything ill-formed none.
fn has_type(run: &Run<'_>, part: usize, name: &[u8]) -> bool {
    let Some(part) = run.message.part(part) else { return false };
    let content = &part.content_type;
    if name.is_empty() {
        return true;
    }
    let mut halves = name.split(|b| *b == b'/');
    match (halves.next(), halves.next(), halves.next()) {
        (Some(main), None, None) => content.is_main(main),
        (Some(main), Some(sub), None) if !main.is_empty() && !sub.is_empty() => {
            content.is(main, sub)
        }
        _ => false,
    }
}

/// RFC 5173 5.2: of a multipart the prologue and epilogue, of a message its header, otherwise
/// the content, text as UTF-8.
fn content(run: &mut Run<'_>, number: usize) -> Result<Option<Arc<[u8]>>, Ended> {
    let Some(part) = run.message.part(number).cloned() else { return Ok(None) };
    if !part.composite && !part.content_type.is_main(b"multipart") {
        let (text, octets) = run.message.kept_text(number, false);
        run.charge(octets.saturating_mul(2))?;
        if text.is_some() {
            return Ok(text);
        }
        run.charge(part.body.octets().saturating_mul(2))?;
        return Ok(Some(run.message.content(number).into()));
    }
    run.charge(part.body.octets().saturating_mul(2))?;
    let base = run.message.base();
    if part.content_type.is_main(b"multipart") {
        let children = run.message.structure().children(number);
        let children: Vec<_> = children.filter_map(|child| run.message.part(child)).collect();
        let (Some(first), Some(last)) = (children.first(), children.last()) else {
            return Ok(Some(part.body.of(base).into()));
        };
        let slice = |from: u64, to: u64| {
            let from = usize::try_from(from).unwrap_or(usize::MAX);
            base.get(from..usize::try_from(to).unwrap_or(0)).unwrap_or_default()
        };
        let prologue = slice(part.body.start, first.header.start);
        let epilogue = slice(last.body.end, part.body.end);
        // Delimiter lines belong to neither.
        let without = |text: &[u8]| {
            let lines = text.split_inclusive(|b| *b == b'\n');
            lines.filter(|line| !line.starts_with(b"--")).collect::<Vec<_>>().concat()
        };
        return Ok(Some([without(prologue), without(epilogue)].concat().into()));
    }
    let inner = run.message.structure().children(number).next();
    let header = inner.and_then(|inner| run.message.part(inner)).map(|p| p.header.of(base));
    Ok(Some(mime::split(header.unwrap_or_default()).0.into()))
}
