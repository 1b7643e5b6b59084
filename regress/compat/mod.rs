//! Tests of kind compat.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
