//! Tests on header fields: `header`, `address`, `exists`.  RFC 5228 5.1, 5.5, 5.7.
//!
//! With `:mime` (RFC 5703 4) they look at parts, with `:index` (RFC 5260 6) at
//! one field of a name only; both are asked of [`mime`](super::mime) and
//! [`date`](super::date).

use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Verb, ADDRESS_PARTS, MATCHES};
use super::super::message::{addresses, decoded};
use super::super::run::{Ended, Run};
use super::{date, mime, subaddress};

/// What is always there.
pub const CORE: Extension = Extension {
    verbs: &[
        Verb {
            name: "header",
            params: &[Param::list("header names"), Param::list("key list")],
            classes: &[MATCHES],
            check: check_header,
            ..Verb::test(test_header)
        },
        Verb {
            name: "address",
            params: &[Param::list("header list"), Param::list("key list")],
            classes: &[MATCHES, ADDRESS_PARTS],
            check: check_address,
            ..Verb::test(test_address)
        },
        Verb {
            name: "exists",
            params: &[Param::list("header names")],
            check: check_header,
            ..Verb::test(test_exists)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5228 5.7
fn test_header<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let names = run.list(op, 0)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    let option = mime::has_option(op);
    for part in mime::parts(run, op)? {
        for name in &names {
            look(run, part)?;
            if part == 0 && !option {
                for value in date::indexed(op, run.message.decoded_values(name)) {
                    if matcher.value(run, &value)? {
                        return Ok(true);
                    }
                }
                continue;
            }
            let values = run.message.part_values(part, name);
            for value in date::indexed(op, values) {
                run.charge_bytes(value.len())?;
                let options = mime::field_option(run, op, &value)?;
                for value in options.unwrap_or_else(|| vec![decoded(&value)]) {
                    if matcher.value(run, &value)? {
                        return Ok(true);
                    }
                }
            }
        }
    }
    matcher.finish(run)
}

/// RFC 5228 5.1
fn test_address<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let names = run.list(op, 0)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    for part in mime::parts(run, op)? {
        for name in &names {
            look(run, part)?;
            let fields = match part {
                0 => run.message.addresses(name),
                _ => run.message.part_values(part, name).iter().map(|v| addresses(v)).collect(),
            };
            for field in date::indexed(op, fields) {
                run.charge_bytes(field.len())?;
                for address in field.iter() {
                    let domain = address.domain.as_deref();
                    let text = subaddress::part(run, op, &address.local, domain);
                    if let Some(text) = text {
                        if matcher.value(run, &text)? {
                            return Ok(true);
                        }
                    }
                }
            }
        }
    }
    matcher.finish(run)
}

/// RFC 5228 5.5
fn test_exists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let names = run.list(op, 0)?;
    let parts = mime::parts(run, op)?;
    for name in &names {
        let mut found = false;
        for part in parts.clone() {
            look(run, part)?;
            found = found
                || match part {
                    0 => run.message.has(name),
                    _ => !run.message.part_values(part, name).is_empty(),
                };
        }
        if !found {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Charges for finding the fields of a name in the header of a part.
fn look(run: &mut Run<'_>, part: usize) -> Result<(), Ended> {
    let work = match part {
        0 => run.message.fields(),
        // It is read anew each time.
        _ => run.message.part(part).map_or(0, |part| part.header.octets().try_into().unwrap_or(0)),
    };
    run.charge_bytes(work)
}

fn check_header(check: &mut Check<'_>, op: &mut Op) {
    date::check_index(check, op);
    let Some(names) = op.arg(0) else { return };
    let bad = names.constants().find(|name| !is_field_name(name));
    if let Some(name) = bad.map(|name| String::from_utf8_lossy(name).into_owned()) {
        check.warning(names.pos, format!("'{name}' is no name of a header field"));
    }
}

/// RFC 5228 5.1: only fields that hold addresses.
fn check_address(check: &mut Check<'_>, op: &mut Op) {
    date::check_index(check, op);
    let Some(names) = op.arg(0) else { return };
    let known = |name: &[u8]| {
        ADDRESS_FIELDS.iter().any(|field| field.as_bytes().eq_ignore_ascii_case(name))
    };
    let bad = names.constants().find(|name| !known(name));
    if let Some(name) = bad.map(|name| String::from_utf8_lossy(name).into_owned()) {
        check.error(names.pos, format!("header '{name}' is not allowed in the address test"));
    }
}

/// field-name = 1*ftext.  RFC 5322 2.2.
pub fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|b| crate::proto::chars::is_ftext(*b))
}

/// Fields whose value is an address list, standard and common.
const ADDRESS_FIELDS: &[&str] = &[
    "from",
    "to",
    "cc",
    "bcc",
    "sender",
    "reply-to",
    "resent-from",
    "resent-to",
    "resent-cc",
    "resent-bcc",
    "resent-sender",
    "resent-reply-to",
    "return-path",
    "delivered-to",
    "x-original-to",
    "envelope-to",
    "errors-to",
    "mail-followup-to",
    "mail-reply-to",
    "disposition-notification-to",
    "return-receipt-to",
    "apparently-to",
    "original-recipient",
    "final-recipient",
];
