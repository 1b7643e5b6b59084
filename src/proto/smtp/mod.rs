//! The SMTP grammar and the server transaction. RFC 5321.

pub mod command;
pub mod edit;
