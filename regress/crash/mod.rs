//! Tests of kind crash.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
