//! `dovecot-uidvalidity`: the counter from which each mailbox's UIDVALIDITY comes.
//!
//! Runs in store.  The mail root holds an empty file `dovecot-uidvalidity.<8
//! hex>`, whose name is the counter and whose rename is the atomic step, and
//! `dovecot-uidvalidity` with the same digits as a hint.  A mailbox that is
//! deleted and made again thus has a higher value.

use std::fs::{self, OpenOptions};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::disk::atomic;
use crate::disk::maildir::error::{At, Error, Result};

const NAME: &str = "dovecot-uidvalidity";

/// Takes the next value.  `now` (seconds) is the first of an account that has none yet.
///
/// Another program may count at the same time; the rename of a counter that
/// is gone is tried again.  Blocks on the device.
pub fn allocate(root: &Path, mode: u32, now: u32) -> Result<u32> {
    for _ in 0..10 {
        let values = counters(root)?;
        let Some(last) = values.iter().copied().max() else {
            // The hint is all that is left when somebody removed the counter.
            let value = now.max(hint(root).map_or(0, |h| h.wrapping_add(1))).max(1);
            match OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o444)
                .open(counter(root, value))
            {
                Ok(_) => {}
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => continue,
                Err(e) => return Err(e).at("open", &counter(root, value)),
            }
            write_hint(root, value, mode)?;
            return Ok(value);
        };
        for low in values.iter().filter(|v| **v != last) {
            // Another program may have been quicker.
            let _ = fs::remove_file(counter(root, *low));
        }
        let next = last.checked_add(1).unwrap_or(1);
        match atomic::rename(&counter(root, last), &counter(root, next)) {
            Ok(()) => {}
            Err(e) if e.is_missing() => continue,
            Err(e) => return Err(e.into()),
        }
        write_hint(root, next, mode)?;
        return Ok(next);
    }
    Err(Error::Locked(root.join(NAME)))
}

fn counter(root: &Path, value: u32) -> PathBuf {
    root.join(format!("{NAME}.{value:08x}"))
}

/// The values of all counter files; normally one.
fn counters(root: &Path) -> Result<Vec<u32>> {
    let mut values = Vec::new();
    for entry in fs::read_dir(root).at("opendir", root)? {
        let name = entry.at("readdir", root)?.file_name();
        let digits =
            name.as_bytes().strip_prefix(NAME.as_bytes()).and_then(|r| r.strip_prefix(b"."));
        values.extend(digits.and_then(value_of));
    }
    Ok(values)
}

/// Exactly eight hexadecimal digits, not all 0.
fn value_of(digits: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(digits).ok().filter(|t| t.len() == 8)?;
    if !text.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    u32::from_str_radix(text, 16).ok().filter(|v| *v != 0)
}

fn hint(root: &Path) -> Option<u32> {
    let mut digits = Vec::new();
    // Longer than any value: nothing but eight digits is one.
    fs::File::open(root.join(NAME)).ok()?.take(16).read_to_end(&mut digits).ok()?;
    value_of(&digits)
}

/// Fuzz target: the end of a counter's name, or what the hint's file has in it.
pub fn fuzz_value(bytes: &[u8]) {
    if let Some(value) = value_of(bytes) {
        let written = format!("{value:08x}");
        assert!(written.as_bytes().eq_ignore_ascii_case(bytes));
    }
}

fn write_hint(root: &Path, value: u32, mode: u32) -> Result<()> {
    let temporary = root.join("dovecot-uidvalidity.tmp");
    Ok(atomic::replace(&root.join(NAME), &temporary, format!("{value:08x}").as_bytes(), mode)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn names(dir: &Path) -> Vec<String> {
        let mut all: Vec<String> = fs::read_dir(dir)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .collect();
        all.sort();
        all
    }

    #[test]
    fn the_first_value_is_the_time_and_each_next_one_higher() {
        let dir = TestDir::new();
        assert_eq!(allocate(dir.path(), 0o600, 0x6b02_c377).unwrap(), 0x6b02_c377);
        assert_eq!(allocate(dir.path(), 0o600, 1).unwrap(), 0x6b02_c378);
        assert_eq!(names(dir.path()), ["dovecot-uidvalidity", "dovecot-uidvalidity.6b02c378"]);
        assert_eq!(fs::read(dir.path().join(NAME)).unwrap(), b"6b02c378");
    }

    #[test]
    fn of_several_counters_the_highest_counts_and_the_rest_go() {
        let dir = TestDir::new();
        for v in ["00000005", "00000009", "zzzzzzzz", "123"] {
            fs::write(dir.path().join(format!("{NAME}.{v}")), "").unwrap();
        }
        assert_eq!(allocate(dir.path(), 0o600, 1).unwrap(), 10);
        assert!(!dir.path().join("dovecot-uidvalidity.00000005").exists());
        assert!(dir.path().join("dovecot-uidvalidity.zzzzzzzz").exists());
    }

    #[test]
    fn without_counters_the_value_stays_above_the_hint() {
        let dir = TestDir::new();
        fs::write(dir.path().join(NAME), "70000000").unwrap();
        assert_eq!(allocate(dir.path(), 0o600, 0x6000_0000).unwrap(), 0x7000_0001);
    }
}
