//! Tests of kind deliver.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
