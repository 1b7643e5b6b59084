//! Tests of kind layers.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
