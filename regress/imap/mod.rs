//! IMAP against a running daemon: a raw client, and Python's imaplib.

pub mod client;
pub mod login;
pub mod mail;
pub mod python;
