//! How redirected mail is reported and by when: redirect-dsn and
//! redirect-deliverby.  RFC 6009 5 and 6.

use super::super::action::{DeliverBy, Redirect};
use super::super::check::Check;
use super::super::code::Op;
use super::super::language::{Extension, Shape, Tag};
use super::super::run::{Ended, Run};
use crate::proto::date::{Date, DateTime};

const REDIRECT: &[&str] = &["redirect"];

/// RFC 6009 5
pub const REDIRECT_DSN: Extension = Extension {
    name: "redirect-dsn",
    tags: &[Tag::of("notify", Shape::Text).on(REDIRECT), Tag::of("ret", Shape::Text).on(REDIRECT)],
    ..Extension::NOTHING
};

/// RFC 6009 6
pub const REDIRECT_DELIVERBY: Extension = Extension {
    name: "redirect-deliverby",
    tags: &[
        Tag::of("bytimerelative", Shape::Number).group("by time").on(REDIRECT),
        Tag::of("bytimeabsolute", Shape::Text).group("by time").on(REDIRECT),
        Tag::of("bymode", Shape::Text).on(REDIRECT),
        Tag::new("bytrace").on(REDIRECT),
    ],
    ..Extension::NOTHING
};

/// Adds the parameters that the tags give.
pub fn parameters<'a>(run: &mut Run<'a>, op: &'a Op, redirect: &mut Redirect) -> Result<(), Ended> {
    if let Some(notify) = run.tag(op, "notify")? {
        if !is_notify(&notify) {
            return Err(run.fault(op.pos, "this is no value of NOTIFY"));
        }
        redirect.notify = Some(notify.to_ascii_uppercase());
    }
    if let Some(ret) = run.tag(op, "ret")? {
        if !is_ret(&ret) {
            return Err(run.fault(op.pos, "this is no value of RET"));
        }
        redirect.ret = Some(ret.to_ascii_uppercase());
    }
    let mode = run.tag(op, "bymode")?.map(|mode| mode.to_ascii_uppercase());
    let at = match (op.tag_number("bytimerelative"), run.tag(op, "bytimeabsolute")?) {
        (Some(seconds), _) => {
            let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
            Some(run.now().saturating_add(seconds))
        }
        (None, Some(text)) => match absolute(&text) {
            Some(at) => Some(at),
            None => return Err(run.fault(op.pos, "this is no date and time of RFC 3339")),
        },
        (None, None) => None,
    };
    if let Some(at) = at {
        let mode = match mode.as_deref() {
            None | Some(b"N") => b'N',
            Some(b"R") => b'R',
            Some(_) => return Err(run.fault(op.pos, "':bymode' is \"N\" or \"R\"")),
        };
        redirect.deliver_by = Some(DeliverBy { at, mode, trace: op.has("bytrace") });
    }
    Ok(())
}

/// Reports constant values that cannot be right.
pub fn check_tags(check: &mut Check<'_>, op: &mut Op) {
    let bad = |tag: &str, good: fn(&[u8]) -> bool| {
        let given = op.tag(tag)?;
        given.constants().any(|text| !good(text)).then_some(given.pos)
    };
    if let Some(pos) = bad("notify", is_notify) {
        check.error(pos, "':notify' is \"NEVER\" or a list of SUCCESS, FAILURE and DELAY");
    }
    if let Some(pos) = bad("ret", is_ret) {
        check.error(pos, "':ret' is \"FULL\" or \"HDRS\"");
    }
    if let Some(pos) = bad("bymode", |m| matches!(m, b"N" | b"n" | b"R" | b"r")) {
        check.error(pos, "':bymode' is \"N\" or \"R\"");
    }
    if let Some(pos) = bad("bytimeabsolute", |text| absolute(text).is_some()) {
        check.error(pos, "':bytimeabsolute' is a date and time of RFC 3339");
    }
    let time = op.has("bytimerelative") || op.has("bytimeabsolute");
    if !time && (op.has("bymode") || op.has("bytrace")) {
        let text = "':bymode' and ':bytrace' need ':bytimerelative' or ':bytimeabsolute'";
        check.error(op.pos, text);
    }
}

/// notify-esmtp-value = "NEVER" / 1#notify-list-element.  RFC 3461 4.1.
fn is_notify(value: &[u8]) -> bool {
    let value = value.to_ascii_uppercase();
    let element = |w: &[u8]| matches!(w, b"SUCCESS" | b"FAILURE" | b"DELAY");
    value == b"NEVER" || value.split(|b| *b == b',').all(element)
}

fn is_ret(value: &[u8]) -> bool {
    value.eq_ignore_ascii_case(b"FULL") || value.eq_ignore_ascii_case(b"HDRS")
}

/// date-time of RFC 3339, without fractions of a second.
fn absolute(text: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(text).ok()?;
    let (date, time) = text.split_once(['T', 't'])?;
    let number = |text: &str, range: std::ops::Range<usize>| -> Option<u16> {
        let digits = text.get(range)?;
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| digits.parse().ok())?
    };
    let small = |n: u16| u8::try_from(n).ok();
    (date.len() == 10 && date.get(4..5) == Some("-") && date.get(7..8) == Some("-"))
        .then_some(())?;
    let day =
        Date::new(number(date, 0..4)?, small(number(date, 5..7)?)?, small(number(date, 8..10)?)?)?;
    (time.get(2..3) == Some(":") && time.get(5..6) == Some(":")).then_some(())?;
    let (h, m, s) = (number(time, 0..2)?, number(time, 3..5)?, number(time, 6..8)?);
    let zone = time.get(8..)?;
    let offset = match zone.get(..1)? {
        "Z" | "z" if zone.len() == 1 => 0,
        sign @ ("+" | "-") if zone.len() == 6 && zone.get(3..4) == Some(":") => {
            let minutes = number(zone, 1..3)?.checked_mul(60)?.checked_add(number(zone, 4..6)?)?;
            let minutes = i16::try_from(minutes).ok()?;
            if sign == "-" {
                minutes.checked_neg()?
            } else {
                minutes
            }
        }
        _ => return None,
    };
    Some(DateTime::new(day, small(h)?, small(m)?, small(s)?, offset)?.unix)
}
