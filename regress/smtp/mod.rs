//! Tests of kind smtp.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
