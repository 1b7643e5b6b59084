//! Comparators, match types of the base language, and their tags.
//! RFC 5228 2.7, RFC 4790 9, RFC 5051.

use super::super::compare::Comparator;
use super::super::language::{Extension, Shape, Tag, MATCHES};

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
        Tag::new("is").group("match type").on(&[MATCHES]),
        Tag::new("contains").group("match type").on(&[MATCHES]),
        Tag::new("matches").group("match type").on(&[MATCHES]),
        Tag::of("comparator", Shape::Constant).on(&[MATCHES]),
    ],
    ..Extension::NOTHING
};
