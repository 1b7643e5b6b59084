//! `:count` and `:value`.  RFC 5231.

use super::super::language::{Extension, Shape, Tag, MATCHES};

/// The extension.
pub const RELATIONAL: Extension = Extension {
    name: "relational",
    tags: &[
        Tag::of("count", Shape::Constant).group("match type").on(&[MATCHES]),
        Tag::of("value", Shape::Constant).group("match type").on(&[MATCHES]),
    ],
    ..Extension::NOTHING
};
