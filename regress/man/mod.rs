//! Tests of kind man.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
