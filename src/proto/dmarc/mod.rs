//! DMARC: does the author's domain vouch for the message, and what does it
//! ask for if not?  RFC 9989.
//!
//! *Runs in* filter and in `rmailctl auth check`; input is hostile.  [`author`]
//! finds the Author Domain, [`record`] reads policy records, [`report`] writes
//! and reads aggregate reports, [`tally`] adds up what they say of messages and
//! [`summary`] what they say to us, [`walk`] is the DNS tree walk that replaced
//! the public suffix list, [`evaluate`] puts SPF and
//! DKIM beside it.  No list of suffixes is needed, and none is used.
//!
//! RFC 9989 (obsoletes 7489 and 9091); RFC 9990 (aggregate reports).

pub mod author;
pub mod evaluate;
pub mod record;
pub mod report;
pub mod summary;
pub mod tally;
pub mod walk;
pub mod xml;

pub use author::{author_domain, AuthorFault};
pub use evaluate::{
    dispose, evaluate, Disposition, Exception, Identifiers, Outcome, Problem, Verdict,
};
pub use record::{Alignment, Record, Request};

/// Fuzz target: records and From fields.
pub fn fuzz_record(bytes: &[u8]) {
    let _record = record::parse(bytes);
    let _author = author::domain_of(bytes);
}

#[cfg(test)]
mod tests;
