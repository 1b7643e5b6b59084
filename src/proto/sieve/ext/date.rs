//! Dates, and fields by their number: `date`, `currentdate`, `:index`, `:last`.
//! RFC 5260.

use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Run};
use crate::proto::date::DateTime;

/// RFC 5260 4 and 5
pub const DATE: Extension = Extension {
    name: "date",
    verbs: &[
        Verb {
            name: "date",
            params: &[
                Param::text("header name"),
                Param::text("date part"),
                Param::list("key list"),
            ],
            tags: &[
                Tag::of("zone", Shape::Text).group("zone"),
                Tag::new("originalzone").group("zone"),
            ],
            classes: &[MATCHES],
            check: |check, op| check_date(check, op, 1),
            ..Verb::test(test_date)
        },
        Verb {
            name: "currentdate",
            params: &[Param::text("date part"), Param::list("key list")],
            tags: &[Tag::of("zone", Shape::Text)],
            classes: &[MATCHES],
            check: |check, op| check_date(check, op, 0),
            ..Verb::test(test_currentdate)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5260 6
pub const INDEX: Extension = Extension {
    name: "index",
    tags: &[
        Tag::of("index", Shape::Number).on(&["header", "address", "date"]),
        Tag::new("last").with("index").on(&["header", "address", "date"]),
    ],
    ..Extension::NOTHING
};

/// Of the fields of one name those that `:index` and `:last` leave.  Fields count from 1.
pub fn indexed<T>(op: &Op, values: Vec<T>) -> Vec<T> {
    let Some(index) = op.tag_number("index") else { return values };
    let at = usize::try_from(index).ok().and_then(|n| n.checked_sub(1));
    let at = match (at, op.has("last")) {
        (Some(n), true) => values.len().checked_sub(n.saturating_add(1)),
        (at, _) => at,
    };
    let Some(at) = at else { return Vec::new() };
    values.into_iter().skip(at).take(1).collect()
}

/// Reports `:index 0`: fields count from 1.  RFC 5260 6.
pub fn check_index(check: &mut Check<'_>, op: &Op) {
    if op.tag_number("index") == Some(0) {
        check.error(op.pos, "':index' counts from 1");
    }
}

/// RFC 5260 4
fn test_date<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let name = run.string(op, 0)?;
    let wanted = run.string(op, 1)?;
    let zone = zone(run, op)?;
    let mut matcher = Matcher::new(run, op, 2)?;
    let values: Vec<Vec<u8>> = run.message.values(&name).map(<[u8]>::to_vec).collect();
    for value in indexed(op, values) {
        run.charge_bytes(value.len())?;
        // RFC 5260 4: in Received and its like the date stands after the last semicolon.
        let from = memchr::memrchr(b';', &value).map_or(0, |at| at.saturating_add(1));
        let date = value.get(from..).and_then(DateTime::parse_rfc5322);
        let Some(date) = date else { continue };
        let offset = match zone {
            _ if op.has("originalzone") => date.offset,
            Some(offset) => offset,
            None => i16::try_from(run.world.zone(date.unix)).unwrap_or(0),
        };
        let date = DateTime { unix: date.unix, offset };
        let Some(text) = part(date, &String::from_utf8_lossy(&wanted)) else { continue };
        if matcher.value(run, text.as_bytes())? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

/// RFC 5260 5
fn test_currentdate<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let wanted = run.string(op, 0)?;
    let zone = zone(run, op)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    let unix = run.now();
    let offset = match zone {
        Some(offset) => offset,
        None => i16::try_from(run.world.zone(unix)).unwrap_or(0),
    };
    if let Some(text) = part(DateTime { unix, offset }, &String::from_utf8_lossy(&wanted)) {
        if matcher.value(run, text.as_bytes())? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

fn check_date(check: &mut Check<'_>, op: &mut Op, param: usize) {
    check_index(check, op);
    if let Some(given) = op.arg(param) {
        let bad = given.constants().find(|name| {
            let name = String::from_utf8_lossy(name);
            part(DateTime::utc(0), &name).is_none()
        });
        if let Some(bad) = bad {
            let bad = String::from_utf8_lossy(bad);
            check.warning(given.pos, format!("'{bad}' is no part of a date"));
        }
    }
    if let Some(given) = op.tag("zone") {
        if let Some(bad) = given.constants().find(|zone| offset(zone).is_none()) {
            let bad = String::from_utf8_lossy(bad);
            check.error(given.pos, format!("'{bad}' is no time zone of the form +hhmm"));
        }
    }
}

/// The offset that `:zone` names; a variable that holds none counts as UTC.
fn zone<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Option<i16>, Ended> {
    Ok(run.tag(op, "zone")?.map(|zone| offset(&zone).unwrap_or(0)))
}

/// time-zone = ( "+" / "-" ) 4DIGIT, in minutes.
fn offset(zone: &[u8]) -> Option<i16> {
    let (sign, digits) = zone.split_first()?;
    if digits.len() != 4 || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number: i16 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    let minutes = number.checked_div(100)?.checked_mul(60)?.checked_add(number % 100)?;
    match sign {
        b'+' => Some(minutes),
        b'-' => minutes.checked_neg(),
        _ => None,
    }
    .filter(|minutes| minutes.abs() < 1440)
}

/// A part of a date by its name, in any case.  RFC 5260 4.2.
pub fn part(date: DateTime, name: &str) -> Option<String> {
    let (day, seconds) = date.local();
    let (h, m, s) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    let minutes = date.offset.unsigned_abs();
    let sign = if date.offset < 0 { '-' } else { '+' };
    let (zh, zm) = (minutes / 60, minutes % 60);
    Some(match name.to_ascii_lowercase().as_str() {
        "year" => format!("{:04}", day.year),
        "month" => format!("{:02}", day.month),
        "day" => format!("{:02}", day.day),
        "date" => format!("{:04}-{:02}-{:02}", day.year, day.month, day.day),
        // Modified Julian Day: 1970-01-01 is 40587.
        "julian" => day.days().saturating_add(40_587).to_string(),
        "hour" => format!("{h:02}"),
        "minute" => format!("{m:02}"),
        "second" => format!("{s:02}"),
        "time" => format!("{h:02}:{m:02}:{s:02}"),
        "iso8601" => {
            let date = format!("{:04}-{:02}-{:02}", day.year, day.month, day.day);
            format!("{date}T{h:02}:{m:02}:{s:02}{sign}{zh:02}:{zm:02}")
        }
        "std11" => date.rfc5322(),
        "zone" => format!("{sign}{zh:02}{zm:02}"),
        // 1970-01-01 was a Thursday, 4; Sunday is 0.
        "weekday" => day.days().saturating_add(4).rem_euclid(7).to_string(),
        _ => return None,
    })
}
