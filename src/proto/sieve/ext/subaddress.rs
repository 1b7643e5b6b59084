//! `:user` and `:detail`.  RFC 5233.  The parts of addresses in general are here too.

use std::borrow::Cow;

use super::super::code::Op;
use super::super::language::{Extension, Tag, ADDRESS_PARTS};
use super::super::run::Run;

/// The extension.
pub const SUBADDRESS: Extension = Extension {
    name: "subaddress",
    tags: &[
        Tag::new("user").group("address part").on(&[ADDRESS_PARTS]),
        Tag::new("detail").group("address part").on(&[ADDRESS_PARTS]),
    ],
    ..Extension::NOTHING
};

/// The address parts of the base language.  RFC 5228 2.7.4.
pub const CORE: Extension = Extension {
    tags: &[
        Tag::new("all").group("address part").on(&[ADDRESS_PARTS]),
        Tag::new("localpart").group("address part").on(&[ADDRESS_PARTS]),
        Tag::new("domain").group("address part").on(&[ADDRESS_PARTS]),
    ],
    ..Extension::NOTHING
};

/// The part of an address that a test's tags name; `None` if the address has no such part.
///
/// What is no address (`domain` is `None`) has only `:all`.  RFC 5228 5.1, RFC 5233 4.
pub fn part<'t>(
    run: &Run<'_>,
    op: &Op,
    local: &'t [u8],
    domain: Option<&'t [u8]>,
) -> Option<Cow<'t, [u8]>> {
    let detail = |local: &[u8]| {
        let delimiter = |b: &u8| run.settings.delimiters.as_bytes().contains(b);
        // The first delimiter counts; a detail may hold more of them.
        local.iter().position(delimiter)
    };
    if op.has("localpart") {
        domain.map(|_| local.into())
    } else if op.has("domain") {
        domain.map(Cow::Borrowed)
    } else if op.has("user") {
        domain?;
        local.get(..detail(local).unwrap_or(local.len())).map(Cow::Borrowed)
    } else if op.has("detail") {
        domain?;
        local.get(detail(local)?.saturating_add(1)..).map(Cow::Borrowed)
    } else {
        Some(match domain {
            Some(domain) => [local, b"@", domain].concat().into(),
            None => local.into(),
        })
    }
}
