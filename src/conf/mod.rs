//! The language of rmail.conf(5): lexer, grammar, checks and canonical print.
//!
//! Pure code: it is handed bytes and a name.  One file per statement family.
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

pub mod ast;
pub mod format;
mod queue;
mod view;
