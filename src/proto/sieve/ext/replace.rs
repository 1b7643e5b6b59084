//! `replace` and `enclose`: other MIME parts in the place of what came.
//! RFC 5703 5 and 6.

use super::super::check::Check;
use super::super::code::Op;
use super::super::language::{Extension, Param, Shape, Tag, Verb};
use super::super::run::{Ended, Flow, Run};
use super::deliver::check_address;
use super::mime::{current, last_within, renumber};
use crate::proto::mime::Fields;
use crate::proto::text::encoded_word;

/// RFC 5703 5
pub const REPLACE: Extension = Extension {
    name: "replace",
    verbs: &[Verb {
        name: "replace",
        params: &[Param::text("replacement")],
        tags: &[Tag::new("mime"), Tag::of("subject", Shape::Text), Tag::of("from", Shape::Text)],
        check: check_replace,
        ..Verb::command(run_replace)
    }],
    ..Extension::NOTHING
};

/// RFC 5703 6
pub const ENCLOSE: Extension = Extension {
    name: "enclose",
    verbs: &[Verb {
        name: "enclose",
        params: &[Param::text("text")],
        tags: &[Tag::of("subject", Shape::Text), Tag::of("headers", Shape::List)],
        check: check_enclose,
        ..Verb::command(run_enclose)
    }],
    ..Extension::NOTHING
};

fn check_replace(check: &mut Check<'_>, op: &mut Op) {
    check_address(check, op.tag("from"));
}

/// RFC 5703 5: the part that the loop is at, or the whole body.
fn run_replace<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let text = run.string(op, 0)?;
    let subject = run.tag(op, "subject")?;
    let from = run.tag(op, "from")?;
    let here = current(run);
    run.charge_bytes(run.message.len().saturating_mul(4))?;
    let entity = if op.has("mime") { text.into_owned() } else { plain(&text) };
    if here > 0 {
        // Inside a part ':subject' and ':from' have no meaning.  RFC 5703 5.
        let Some(part) = run.message.part(here) else { return Ok(Flow::Next) };
        let range = (part.header.start, part.body.end);
        let mut bytes = run.message.bytes();
        // Fields that the script has added or deleted have moved the parts.
        let moved = bytes.len().checked_sub(run.message.base().len());
        let lost = run.message.base().len().checked_sub(bytes.len());
        let at = |offset: u64| {
            let offset = usize::try_from(offset).unwrap_or(usize::MAX);
            match (moved, lost) {
                (Some(more), _) => offset.saturating_add(more),
                (None, less) => offset.saturating_sub(less.unwrap_or(0)),
            }
            .min(bytes.len())
        };
        let (start, end) = (at(range.0), at(range.1));
        bytes.splice(start..end.max(start), entity);
        replace_bytes(run, here, bytes);
        return Ok(Flow::Next);
    }
    let mut out = Vec::new();
    if let Some(from) = &from {
        field(&mut out, "From", from);
    }
    if let Some(subject) = &subject {
        field(&mut out, "Subject", subject);
    }
    let bytes = run.message.bytes();
    let had_version = run.message.has(b"mime-version");
    for kept in Fields::new(&bytes) {
        let replaced = kept.name.to_ascii_lowercase().starts_with(b"content-")
            || (from.is_some() && kept.is(b"From"))
            || (subject.is_some() && kept.is(b"Subject"));
        if !replaced {
            out.extend_from_slice(kept.raw);
        }
    }
    if !had_version {
        out.extend_from_slice(b"MIME-Version: 1.0\r\n");
    }
    out.extend_from_slice(&entity);
    replace_bytes(run, 0, out);
    Ok(Flow::Next)
}

/// Takes the new message; the parts that were inside the replaced one are gone from open loops,
/// and those behind it have other numbers.
fn replace_bytes(run: &mut Run<'_>, replaced: usize, bytes: Vec<u8>) {
    let last = last_within(run, replaced);
    let before = run.message.parts().len();
    run.message.replace_all(bytes);
    let after = run.message.parts().len();
    renumber(run, |part| match part {
        _ if part <= replaced => Some(part),
        _ if part <= last => None,
        _ => part.saturating_add(after).checked_sub(before),
    });
}

fn check_enclose(check: &mut Check<'_>, op: &mut Op) {
    let Some(given) = op.tag("headers") else { return };
    if let Some(bad) = given.constants().find(|line| !is_field(line)) {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("'{bad}' is no header field"));
    }
}

/// `Name: value` on one line.
fn is_field(line: &[u8]) -> bool {
    let Some(colon) = memchr::memchr(b':', line) else { return false };
    super::header::is_field_name(line.get(..colon).unwrap_or_default().trim_ascii_end())
        && !line.iter().any(|b| matches!(b, b'\r' | b'\n' | 0))
}

/// RFC 5703 6: the whole message becomes the second part of a new one.
fn run_enclose<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let text = run.string(op, 0)?;
    let subject = run.tag(op, "subject")?;
    let headers = run.tag_list(op, "headers")?.unwrap_or_default();
    run.charge_bytes(run.message.len().saturating_mul(4))?;
    let bytes = run.message.bytes();
    let mut out = Vec::with_capacity(bytes.len().saturating_add(2048));
    for line in &headers {
        if !is_field(line) {
            return Err(run.fault(op.pos, "':headers' holds something that is no header field"));
        }
        out.extend_from_slice(line);
        out.extend_from_slice(b"\r\n");
    }
    if let Some(subject) = &subject {
        field(&mut out, "Subject", subject);
    }
    // The fields that say whose message it is stay; trace fields stay inside.
    let copied: [&[u8]; 6] = [b"From", b"To", b"Cc", b"Date", b"Message-ID", b"Subject"];
    for kept in Fields::new(&bytes) {
        let given = |line: &[u8]| {
            let name = line.split(|b| *b == b':').next().unwrap_or_default().trim_ascii_end();
            kept.is(name)
        };
        let replaced =
            (subject.is_some() && kept.is(b"Subject")) || headers.iter().any(|line| given(line));
        if copied.iter().any(|name| kept.is(name)) && !replaced {
            out.extend_from_slice(kept.raw);
        }
    }
    let boundary = boundary(&bytes, &text);
    let head = format!(
        "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"{boundary}\"\r\n\r\n\
         --{boundary}\r\n"
    );
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&plain(&text));
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(
        format!("--{boundary}\r\nContent-Type: message/rfc822\r\n\r\n").as_bytes(),
    );
    out.extend_from_slice(&bytes);
    if !bytes.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    run.message.replace_all(out);
    // Multipart, text and message/rfc822 now stand before what was the first part.
    renumber(run, |part| part.checked_add(3));
    Ok(Flow::Next)
}

/// A boundary that occurs in neither text: numbered until that is so.
fn boundary(message: &[u8], text: &[u8]) -> String {
    let mut number = 0u32;
    loop {
        let boundary = format!("=_rmail_sieve_{number}_");
        let needle = memchr::memmem::Finder::new(boundary.as_bytes());
        let found = needle.find(message).is_some() || needle.find(text).is_some();
        if !found || number == u32::MAX {
            return boundary;
        }
        // A message that holds a thousand of them was made for it: jump.
        number = number.saturating_mul(3).saturating_add(1);
    }
}

/// A text/plain entity.
fn plain(text: &[u8]) -> Vec<u8> {
    let mut out = b"Content-Type: text/plain; charset=utf-8\r\n".to_vec();
    if !text.is_ascii() {
        out.extend_from_slice(b"Content-Transfer-Encoding: 8bit\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(text);
    out
}

fn field(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    let text = String::from_utf8_lossy(value);
    out.extend_from_slice(&encoded_word::encode(text.trim(), name.len().saturating_add(2)));
    out.extend_from_slice(b"\r\n");
}
