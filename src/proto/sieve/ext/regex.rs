//! `:regex`.  draft-murchison-sieve-regex; the expressions are those of
//! [`ere`](super::super::ere).

use super::super::compare::MatchType;
use super::super::language::{Extension, Tag};
use super::comparator::MATCH_TYPE;

/// The extension.
pub const REGEX: Extension = Extension {
    name: "regex",
    tags: &[Tag::new("regex").sets(MATCH_TYPE, |_, m, _| m.by(MatchType::Regex))],
    ..Extension::NOTHING
};
