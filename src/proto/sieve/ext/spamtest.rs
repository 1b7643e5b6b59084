//! `spamtest` and `virustest`.  RFC 5235.
//!
//! The verdict comes from the filter (`Settings::spam`), or from a header field
//! that some other filter has written, read as the site says.

use super::super::code::Op;
use super::super::compare::{Fold, Matcher};
use super::super::ere::Ere;
use super::super::language::{Extension, Param, Tag, Verb, MATCHES};
use super::super::run::{Ended, Run};
use super::super::settings::{Scale, Score};

/// RFC 5235 3.2.1
pub const SPAMTEST: Extension = Extension { name: "spamtest", verbs: SPAM, ..Extension::NOTHING };

/// RFC 5235 3.2.2
pub const SPAMTESTPLUS: Extension = Extension {
    name: "spamtestplus",
    implies: &["spamtest"],
    tags: &[Tag::new("percent").on(&["spamtest"])],
    ..Extension::NOTHING
};

/// RFC 5235 3.3
pub const VIRUSTEST: Extension = Extension {
    name: "virustest",
    verbs: &[Verb {
        name: "virustest",
        params: &[Param::text("value")],
        classes: &[MATCHES],
        ..Verb::test(test_virustest)
    }],
    ..Extension::NOTHING
};

const SPAM: &[Verb] = &[Verb {
    name: "spamtest",
    params: &[Param::text("value")],
    classes: &[MATCHES],
    ..Verb::test(test_spamtest)
}];

/// `"0"` is not tested; 1 is certainly clean and 10 certainly spam.  With `:percent` 0 to 100.
fn test_spamtest<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let verdict = match run.settings.spam {
        Some(verdict) => Some(Verdict::Ratio(verdict)),
        None => read(run, run.settings.spamtest.as_ref()),
    };
    let value = match verdict {
        None => 0.0,
        Some(Verdict::Ratio(ratio)) if op.has("percent") => (ratio * 100.0 + 1e-6).floor(),
        Some(Verdict::Ratio(ratio)) => 1.0 + (ratio * 9.0 + 1e-6).floor(),
        Some(Verdict::Word(n)) if op.has("percent") => (n * 10.0).min(100.0),
        Some(Verdict::Word(n)) => n,
    };
    compare(run, op, value, verdict.is_some())
}

/// `"0"` is not tested; 1 is certainly clean and 5 certainly a virus.
fn test_virustest<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let verdict = read(run, run.settings.virustest.as_ref());
    let value = match verdict {
        None => 0.0,
        Some(Verdict::Ratio(ratio)) => 1.0 + (ratio * 4.0 + 1e-6).floor(),
        Some(Verdict::Word(n)) => n,
    };
    compare(run, op, value, verdict.is_some())
}

/// RFC 5235 3.2: `:count` tells whether the message has been tested.
fn compare<'a>(run: &mut Run<'a>, op: &'a Op, value: f64, tested: bool) -> Result<bool, Ended> {
    let mut matcher = Matcher::new(run, op, 0)?;
    if (tested || !matcher.counts()) && matcher.value(run, format!("{value:.0}").as_bytes())? {
        return Ok(true);
    }
    matcher.finish(run)
}

#[derive(Clone, Copy)]
enum Verdict {
    /// 0.0 is clean, 1.0 certain.
    Ratio(f64),
    /// A result that the site has tied to a word.
    Word(f64),
}

fn read(run: &Run<'_>, score: Option<&Score>) -> Option<Verdict> {
    let score = score?;
    let found = extract(run, &score.field, score.expression.as_deref())?;
    let max = match &score.scale {
        Scale::Words(words) => {
            let word = words.iter().find(|(_, word)| word.as_bytes() == found.trim().as_bytes());
            let number = word.and_then(|(n, _)| u32::try_from(*n).ok())?;
            return Some(Verdict::Word(f64::from(number)));
        }
        Scale::Max(max) | Scale::Stars(max) => *max,
        Scale::MaxIn { field, expression } | Scale::StarsIn { field, expression } => {
            number(&extract(run, field, expression.as_deref())?)?
        }
    };
    let value = match &score.scale {
        Scale::Stars(_) | Scale::StarsIn { .. } => {
            let count = found.trim().chars().count();
            f64::from(u32::try_from(count).unwrap_or(u32::MAX))
        }
        _ => number(&found)?,
    };
    (max > 0.0).then(|| Verdict::Ratio((value / max).clamp(0.0, 1.0)))
}

/// The first group of the expression in the field, or all it matches, or the whole field.
fn extract(run: &Run<'_>, field: &str, expression: Option<&str>) -> Option<String> {
    let value = run.message.text(field.as_bytes())?;
    let range = match expression {
        None => 0..value.len(),
        Some(expression) => {
            let ere = Ere::new(expression.as_bytes(), Fold::Ascii).ok()?;
            let mut groups = ere.captures(&value).ok()??.into_iter();
            let whole = groups.next()?;
            groups.next().unwrap_or(whole)
        }
    };
    Some(String::from_utf8_lossy(value.get(range)?).into_owned())
}

fn number(text: &str) -> Option<f64> {
    let text = text.trim();
    let good = |c: char| c.is_ascii_digit() || matches!(c, '.' | '-' | '+');
    let end = text.find(|c| !good(c)).unwrap_or(text.len());
    text.get(..end)?.parse().ok().filter(|n: &f64| n.is_finite())
}
