//! Every on-disk format, and nothing else: spool, Maildir++, index, tables.
//!
//! A Maildir's files beside the messages: `uidlist` and `uidvalidity` (UIDs),
//! `keywords`, `subscriptions`, `index` (flags' MODSEQ), `meta`; `dotlock` guards
//! those that Dovecot writes too.  `atomic` is how a file comes to be, with every
//! fsync; `offline` and `mbox` are what sendmail and old users read.
//!
//! Vocabulary: bytes are *written*, then *synced*, a name makes them *visible*,
//! and a synced directory makes them *committed*.

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

pub mod aliases;
pub mod atomic;
pub mod crc32c;
pub mod dotlock;
pub mod index;
pub mod keywords;
pub mod maildir;
pub mod mbox;
pub mod meta;
pub mod offline;
pub mod spool;
pub mod subscriptions;
pub mod table;
pub mod uidlist;
pub mod uidvalidity;

#[cfg(test)]
pub(crate) mod testdir;
