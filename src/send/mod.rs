//! The sendmail, mailq and newaliases front ends.

use std::process::ExitCode;

/// The programs' main function; the name in argv\[0\] decides which it is.
pub fn main() -> ExitCode {
    ExitCode::from(64)
}
