//! The edge from control to queue: an administrator's requests and replies, as
//! they came from rmailctl(8).
//!
//! Queue answers `ShowQueue`, `ShowMessage`, `ShowEnvelope`, `Schedule`,
//! `Remove`, `Hold`, `Release`, `Pause` and `Resume` (of `mta` and `mda`), and
//! `Wait`; it refuses the others.  A `Wait` is answered when its event has come
//! or its time is over, from a pool of its own, so that it holds up nothing.

pub use crate::ipc::ctl::{Reply, Request};
