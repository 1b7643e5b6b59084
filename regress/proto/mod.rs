//! Tests of kind proto.
use crate::Test;

mod spf;
mod yaml;

/// The tests of this kind.
pub const TESTS: &[Test] = &[Test { name: "spf-suite", run: spf::suite }];
