//! Tests of kind clients.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
