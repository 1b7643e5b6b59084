//! The mail store: Maildir++ as Dovecot keeps it.

pub mod error;
pub mod file;
pub mod name;
