//! Tests of kind filter.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
