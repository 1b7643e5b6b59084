//! What every process stands on: log, clock, deadlines, bounded I/O, TLS.
#![cfg_attr(not(test), deny(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

pub mod clock;
pub mod crypto;
pub mod dns;
pub mod exits;
pub mod imap;
pub mod line;
pub mod listen;
pub mod lock;
pub mod log;
pub mod logins;
pub mod remotekey;
pub mod signing;
pub mod stream;
#[cfg(test)]
pub(crate) mod testcert;
pub mod tls;
