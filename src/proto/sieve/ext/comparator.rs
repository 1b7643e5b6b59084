//! Comparators, match types of the base language, and their tags.
//! RFC 5228 2.7, RFC 4790 9, RFC 5051.

use super::super::check::Check;
use super::super::compare::{Comparator, MatchType, Matching};
use super::super::language::{Extension, Shape, Tag};

/// i;octet.
pub const OCTET: Extension = Extension {
    name: "comparator-i;octet",
    comparator: Some(Comparator::Octet),
    ..Extension::NOTHING
};

/// i;ascii-casemap.
pub const ASCII_CASEMAP: Extension = Extension {
    name: "comparator-i;ascii-casemap",
    comparator: Some(Comparator::AsciiCasemap),
    ..Extension::NOTHING
};

/// i;ascii-numeric.
pub const ASCII_NUMERIC: Extension = Extension {
    name: "comparator-i;ascii-numeric",
    comparator: Some(Comparator::AsciiNumeric),
    ..Extension::NOTHING
};

/// i;unicode-casemap.
pub const UNICODE_CASEMAP: Extension = Extension {
    name: "comparator-i;unicode-casemap",
    comparator: Some(Comparator::UnicodeCasemap),
    ..Extension::NOTHING
};

/// The tags of every test that matches.  RFC 5228 2.7.1 and 2.7.3.
pub const CORE: Extension = Extension {
    tags: &[
        Tag::new("is").sets(MATCH_TYPE, |_, m, _| m.by(MatchType::Is)),
        Tag::new("contains").sets(MATCH_TYPE, |_, m, _| m.by(MatchType::Contains)),
        Tag::new("matches").sets(MATCH_TYPE, |_, m, _| m.by(MatchType::Matches)),
        Tag::of("comparator", Shape::Constant).sets("comparator", comparator),
    ],
    ..Extension::NOTHING
};

/// The group of the match types, of which a test has one.
pub const MATCH_TYPE: &str = "match type";

fn comparator(check: &Check<'_>, matching: &mut Matching, name: &[u8]) -> Result<(), String> {
    let shown = String::from_utf8_lossy(name);
    let capability = format!("comparator-{shown}");
    let Some(comparator) = check.extension(&capability).and_then(|e| e.comparator) else {
        return Err(format!("unknown comparator '{shown}'"));
    };
    let always = matches!(comparator, Comparator::Octet | Comparator::AsciiCasemap);
    if !always && !check.has(&capability) {
        return Err(format!("the comparator '{shown}' needs require \"{capability}\""));
    }
    matching.comparator = comparator;
    Ok(())
}
