//! The Sieve language.  RFC 5228 and its extensions.
//!
//! Script and message in, actions out; no I/O.  What a script asks about the
//! world goes through [`surroundings::Surroundings`]; what it wants done comes
//! back as [`action::Outcome`].

pub mod action;
pub mod fault;
pub mod surroundings;
