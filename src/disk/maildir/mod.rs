//! The mail store: Maildir++ as Dovecot keeps it.

pub mod file;
pub mod name;
