//! The SMTP grammar and the server transaction. RFC 5321.
//!
//! [`command`] reads lines, [`server`] decides, [`data`] reads the message,
//! [`reply`] answers; [`trace`] is what each message gets, [`edit`]s say what is
//! changed in it ([`fixup`] for submissions).  [`client`] is the other side.

pub mod client;
pub mod command;
pub mod data;
pub mod edit;
pub mod fixup;
pub mod fuzz;
pub mod handover;
pub mod header;
pub mod reply;
pub mod sasl;
pub mod server;
pub mod trace;
