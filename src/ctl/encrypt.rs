//! `encrypt [password]`: a hash for a table of credentials.

use super::{fail, print, Options};
use crate::base::exits::sysexits;
use crate::sys::crypt;
use crate::sys::errno::reason;
use std::ffi::OsString;
use std::io::BufRead;
use std::process::ExitCode;

/// The longest password: bcrypt(3) reads no more than 72 octets of it.
const LONGEST: usize = 72;

/// Hashes each line of standard input, or the argument.  An argument can be
/// seen by other users of the machine while it runs.
pub fn run(_: &Options, args: &[OsString]) -> ExitCode {
    let mut out = Vec::new();
    match args {
        [] => {
            for line in std::io::stdin().lock().lines() {
                let hashed = match line {
                    Ok(line) => hash(line.as_bytes()),
                    Err(e) => return fail(&format!("stdin: {}", reason(&e)), sysexits::IOERR),
                };
                match hashed {
                    Ok(hash) => out.extend_from_slice(format!("{hash}\n").as_bytes()),
                    Err(code) => return code,
                }
            }
        }
        [password] => match hash(password.as_encoded_bytes()) {
            Ok(hash) => out.extend_from_slice(format!("{hash}\n").as_bytes()),
            Err(code) => return code,
        },
        _ => return super::usage_of(&["encrypt"]),
    }
    print(&out)
}

/// bcrypt's work: about a tenth of a second, at each login.
const COST: u8 = 10;

fn hash(password: &[u8]) -> Result<String, ExitCode> {
    if password.is_empty() {
        return Err(fail("an empty password", sysexits::DATAERR));
    }
    if password.len() > LONGEST {
        return Err(fail("a password has at most 72 octets", sysexits::DATAERR));
    }
    crypt::new_hash(password, COST).map_err(|e| fail(&e.to_string(), sysexits::OSERR))
}
