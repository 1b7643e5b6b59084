//! Tests of kind sieve.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
