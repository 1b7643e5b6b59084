//! Measurements: only with BENCH set, as `make bench` does, in a release build.
use crate::Test;

mod auth;
mod sieve;

/// The tests of this kind.
pub const TESTS: &[Test] =
    &[Test { name: "mail-auth", run: auth::run }, Test { name: "sieve", run: sieve::bench }];
