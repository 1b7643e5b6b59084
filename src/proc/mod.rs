//! The processes, one directory each.  `proc::X` never imports `proc::Y`;
//! only `table` and `start` name them all.

use std::process::ExitCode;

/// The daemon's main function.
pub fn main() -> ExitCode {
    ExitCode::from(64)
}
