//! What every process stands on: log, clock, deadlines, bounded I/O, TLS.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
