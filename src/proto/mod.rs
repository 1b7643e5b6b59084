//! The protocols of mail as pure code: bytes in, values out.
//!
//! No I/O, clock, threads, globals, openssl or libc here.  Every parser is
//! total, linear and bounded; limits come from [`limits`].  Whoever calls owns
//! time, transport and policy.
#![forbid(unsafe_code)]
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects,
        clippy::as_conversions
    )
)]

pub mod addr;
pub mod arc;
pub mod assess;
pub mod authres;
pub mod bucket;
pub mod chars;
pub mod cursor;
pub mod date;
pub mod dkim;
pub mod dmarc;
pub mod dns;
pub mod dsn;
pub mod imap;
pub mod letter;
pub mod limits;
pub mod mime;
pub mod mtasts;
pub mod pattern;
pub mod secret;
pub mod sieve;
pub mod smtp;
pub mod spf;
#[cfg(test)]
pub(crate) mod testing;
pub mod text;
pub mod tlsrpt;
pub mod unpack;
pub mod zip;
