//! The `envelope` test.  RFC 5228 5.4, RFC 6009 3 and 4.

use std::borrow::Cow;

use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Verb, ADDRESS_PARTS, MATCHES};
use super::super::run::{Ended, Run};
use super::subaddress;
use crate::proto::date::DateTime;

/// RFC 5228 5.4
pub const ENVELOPE: Extension = Extension {
    name: "envelope",
    verbs: &[Verb {
        name: "envelope",
        params: &[Param::list("envelope parts"), Param::list("key list")],
        classes: &[MATCHES, ADDRESS_PARTS],
        check: check_envelope,
        ..Verb::test(test_envelope)
    }],
    ..Extension::NOTHING
};

/// RFC 6009 3: `notify`, `orcpt`, `ret`, `envid`.
pub const ENVELOPE_DSN: Extension =
    Extension { name: "envelope-dsn", implies: &["envelope"], ..Extension::NOTHING };

/// RFC 6009 4: `bytimeabsolute`, `bytimerelative`, `bymode`, `bytrace`.
pub const ENVELOPE_DELIVERBY: Extension =
    Extension { name: "envelope-deliverby", implies: &["envelope"], ..Extension::NOTHING };

/// The envelope parts: name and the extension that brings it.
const PARTS: &[(&str, &str)] = &[
    ("from", "envelope"),
    ("to", "envelope"),
    ("auth", "envelope"),
    ("orig_to", "envelope"),
    ("notify", "envelope-dsn"),
    ("orcpt", "envelope-dsn"),
    ("ret", "envelope-dsn"),
    ("envid", "envelope-dsn"),
    ("bytimeabsolute", "envelope-deliverby"),
    ("bytimerelative", "envelope-deliverby"),
    ("bymode", "envelope-deliverby"),
    ("bytrace", "envelope-deliverby"),
];

fn check_envelope(check: &mut Check<'_>, op: &mut Op) {
    let Some(names) = op.arg(0) else { return };
    for name in names.constants() {
        let lower = String::from_utf8_lossy(name).to_ascii_lowercase();
        match PARTS.iter().find(|(part, _)| *part == lower) {
            Some((_, extension)) if check.has(extension) => {}
            Some((_, extension)) => {
                let text = format!("the envelope part '{lower}' needs require \"{extension}\"");
                check.error(names.pos, text);
            }
            None => check.error(names.pos, format!("'{lower}' is no part of the envelope")),
        }
    }
}

fn test_envelope<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let names = run.list(op, 0)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    for name in &names {
        let Some(value) = part(run, &name.to_ascii_lowercase()) else { continue };
        let is_path = matches!(name.to_ascii_lowercase().as_slice(), b"from" | b"to" | b"orig_to");
        // The null reverse path is the empty string, whatever the address part.  RFC 5228 5.4.
        let text = if is_path && !value.is_empty() {
            let at = memchr::memrchr(b'@', &value);
            let (local, domain) = match at.and_then(|at| value.split_at_checked(at)) {
                Some((local, domain)) => (local, domain.get(1..)),
                None => (&value[..], None),
            };
            subaddress::part(run, op, local, domain)
        } else {
            Some(Cow::Borrowed(&value[..]))
        };
        let Some(text) = text else { continue };
        if matcher.counts() && text.is_empty() {
            continue;
        }
        if matcher.value(run, &text)? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

fn part(run: &mut Run<'_>, name: &[u8]) -> Option<Vec<u8>> {
    let envelope = &run.envelope;
    match name {
        b"from" => envelope.from.clone(),
        b"to" => envelope.to.clone(),
        b"auth" => envelope.auth.clone(),
        b"orig_to" => envelope.orig_to.clone(),
        b"notify" => envelope.notify.clone(),
        b"orcpt" => envelope.orcpt.clone(),
        b"ret" => envelope.ret.clone(),
        b"envid" => envelope.envid.clone(),
        b"bytimeabsolute" => {
            let at = envelope.by_time?;
            // RFC 6009 4.1: ISO 8601, in UTC.
            let offset = i16::try_from(run.world.zone(at)).unwrap_or(0);
            super::date::part(DateTime { unix: at, offset }, "iso8601").map(String::into_bytes)
        }
        b"bytimerelative" => {
            let at = envelope.by_time?;
            Some(at.saturating_sub(run.world.now()).to_string().into_bytes())
        }
        b"bymode" => envelope.by_mode.map(|mode| vec![mode.to_ascii_uppercase()]),
        b"bytrace" => envelope.by_trace.then(|| b"true".to_vec()),
        _ => None,
    }
}
