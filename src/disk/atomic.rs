//! The only caller of fsync(2), link(2) and rename(2).
//!
//! Bytes are *written*, then [`sync_file`] makes them *synced*; [`link`] or
//! [`rename`] makes a name *visible*; [`sync_dir`] makes it *committed*.  Each
//! checks its result: an error means that the promise does not hold.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::sys::errno::{Result, SysError};

/// Makes a file's bytes and length durable.  Blocks on the device.
pub fn sync_file(file: &File, path: &Path) -> Result<()> {
    file.sync_data().map_err(|e| SysError::of("fdatasync", &e).at(path))
}

/// Makes a directory's names durable.  Blocks on the device.
pub fn sync_dir(dir: &Path) -> Result<()> {
    let file = File::open(dir).map_err(|e| SysError::of("open", &e).at(dir))?;
    file.sync_all().map_err(|e| SysError::of("fsync", &e).at(dir))
}

/// Gives a file a second name; EEXIST if the name is taken.
pub fn link(old: &Path, new: &Path) -> Result<()> {
    fs::hard_link(old, new).map_err(|e| SysError::of("link", &e).at(new))
}

/// Gives a file another name, replacing what had it.
pub fn rename(old: &Path, new: &Path) -> Result<()> {
    fs::rename(old, new).map_err(|e| SysError::of("rename", &e).at(new))
}

/// Replaces a small file as a whole: another file beside it is written and
/// synced, renamed over it, and the directory synced.  After a crash the old
/// content or the new one is there, never a mixture.
pub fn replace(path: &Path, temporary: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let fail = |op| move |e: std::io::Error| SysError::of(op, &e).at(temporary);
    match fs::remove_file(temporary) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(fail("unlink")(e)),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(temporary)
        .map_err(fail("open"))?;
    let done = file.write_all(bytes).map_err(fail("write"));
    done.and_then(|()| sync_file(&file, temporary))
        .and_then(|()| rename(temporary, path))
        .inspect_err(|_| {
            // Left behind it is only clutter, and the next try removes it.
            let _ = fs::remove_file(temporary);
        })?;
    path.parent().map_or(Ok(()), sync_dir)
}
