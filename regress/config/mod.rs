//! Tests of kind config.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
