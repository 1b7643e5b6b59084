//! Tests of kind imap.
use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[];
