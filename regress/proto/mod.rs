//! Tests of kind proto.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
