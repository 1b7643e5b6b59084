//! Tests of kind sandbox.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
