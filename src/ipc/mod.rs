//! Typed messages between the processes, one file per edge of the graph.
//!
//! [`wire`] is how a value becomes bytes, [`frame`] how bytes and a descriptor
//! cross a socketpair, [`call`] how many threads ask one peer and wait, each
//! with its own deadline, and [`pool`] how a server bounds the work that its
//! peers can give it.  The other files are the edges: what one process may say
//! to another, as two enums.
//!
//! A channel is a plain stream socketpair without socket options: waiting is
//! poll(2) only, since a pledged process may not set timeouts on it.

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

pub mod call;
pub mod control_queue;
pub mod control_smtp;
pub mod ctl;
pub mod frame;
pub mod fuzz;
pub mod imap_lookup;
pub mod imap_store;
pub mod keyd;
pub mod mta_lookup;
pub mod openings;
pub mod parent;
pub mod pool;
pub mod queue_lookup;
pub mod queue_mta;
pub mod queue_store;
pub mod smtp_lookup;
pub mod smtp_queue;
pub mod wire;
