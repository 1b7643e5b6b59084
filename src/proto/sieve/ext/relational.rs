//! `:count` and `:value`.  RFC 5231.

use super::super::compare::{MatchType, Relation};
use super::super::language::{Extension, Shape, Tag};
use super::comparator::MATCH_TYPE;

/// The extension.
pub const RELATIONAL: Extension = Extension {
    name: "relational",
    tags: &[
        Tag::of("count", Shape::Constant)
            .sets(MATCH_TYPE, |_, m, name| m.by(MatchType::Count(relation(name)?))),
        Tag::of("value", Shape::Constant)
            .sets(MATCH_TYPE, |_, m, name| m.by(MatchType::Value(relation(name)?))),
    ],
    ..Extension::NOTHING
};

fn relation(name: &[u8]) -> Result<Relation, String> {
    Relation::parse(name)
        .ok_or_else(|| format!("'{}' is no relation", String::from_utf8_lossy(name)))
}
