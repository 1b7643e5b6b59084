//! Header fields and the MIME structure of a message, as raw ranges.
//!
//! *Runs in* smtp, filter and store; input is hostile.  Nothing here copies a
//! message or writes one anew: [`field`] gives each header field as the bytes
//! that came, [`scan`] goes once over a message in chunks of any size and says
//! where each part's header and body lie, [`param`] reads the structured fields
//! that MIME needs.  What is decoded is decoded by `proto::text` when somebody
//! asks for it.
//!
//! Broken messages are read as common mail readers show them, since that is
//! what the recipient will see; what was odd is kept in [`Oddities`] for those
//! who judge a message.  RFC 5322, RFC 2045, RFC 2046, RFC 2183, RFC 2231.

pub mod field;
pub mod param;
pub mod scan;
pub mod structure;

pub use field::{header_end, split, unfold, Field, Fields};
pub use param::{ContentType, Disposition, Param, Params};
pub use scan::{scan, Scanner};
pub use structure::{Encoding, Extent, Oddities, Part, Structure};

/// Fuzz target: a message, whole and in pieces, must have one structure.
pub fn fuzz_message(bytes: &[u8]) {
    let whole = scan(bytes);
    let mut scanner = Scanner::new();
    for piece in bytes.chunks(7) {
        scanner.feed(piece);
    }
    assert_eq!(scanner.finish(), whole, "the structure does not depend on the chunks");
    for part in &whole.parts {
        assert!(part.header.end <= part.body.start && part.body.start <= part.body.end);
        for param in &part.content_type.params.0 {
            let _text = param.text();
        }
    }
    let (header, _body) = split(bytes);
    let total: usize = Fields::new(header).map(|f| f.raw.len()).sum();
    assert!(total <= header.len());
}

#[cfg(test)]
mod tests;
