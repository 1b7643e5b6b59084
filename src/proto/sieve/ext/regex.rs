//! `:regex`.  draft-murchison-sieve-regex; the expressions are those of
//! [`ere`](super::super::ere).

use super::super::language::{Extension, Tag, MATCHES};

/// The extension.
pub const REGEX: Extension = Extension {
    name: "regex",
    tags: &[Tag::new("regex").group("match type").on(&[MATCHES])],
    ..Extension::NOTHING
};
