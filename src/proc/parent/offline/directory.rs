//! The offline directory: made, and told from what somebody put in its place.

use crate::sys::file::open_directory;
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// The directory's name below the queue directory.
pub const NAME: &str = "offline";

/// Makes the directory: all may write, root alone may list.  What stands in its
/// place was put there by whoever took queue, whose directory the spool is: it
/// is left alone, and so is where it leads.
pub fn make(spool: &Path) -> Result<(), String> {
    let path = spool.join(NAME);
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    match std::fs::DirBuilder::new().mode(0o700).create(&path) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => return Err(fail(e)),
        _ => {}
    }
    let directory = ours(&path)?;
    directory.set_permissions(std::fs::Permissions::from_mode(0o1733)).map_err(fail)
}

/// Opens a directory that is root's, or without root whoever's we run as.
fn ours(path: &Path) -> Result<File, String> {
    let refused = |why: String| {
        format!(
            "{}: {why}: look who put it there, and rename it; rmaild makes the directory anew",
            path.display()
        )
    };
    let directory =
        open_directory(path).map_err(|e| refused(format!("not a directory of rmaild's ({e})")))?;
    let owner = directory.metadata().map_err(|e| refused(e.to_string()))?.uid();
    if owner != crate::sys::user::uid() {
        return Err(refused(format!("belongs to uid {owner}")));
    }
    Ok(directory)
}

/// Who owns a file that may be sent: regular, one name, nobody else's to write.
/// One of root's is sent out of root's own directory alone: that the directory
/// was another at the start says nothing.
pub fn owner(path: &Path) -> Option<u32> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let plain = meta.is_file() && meta.nlink() == 1 && meta.permissions().mode() & 0o077 == 0;
    let here = || path.parent().is_some_and(|directory| ours(directory).is_ok());
    (plain && (meta.uid() != 0 || here())).then(|| meta.uid())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
    }

    #[test]
    fn the_directory_is_made_and_found_again() {
        let dir = TestDir::new();
        for _ in 0..2 {
            make(dir.path()).unwrap();
            assert_eq!(mode(&dir.path().join(NAME)), 0o1733);
        }
    }

    #[test]
    fn a_link_in_its_place_is_not_followed() {
        let dir = TestDir::new();
        let victim = dir.path().join("victim");
        std::fs::create_dir(&victim).unwrap();
        std::fs::set_permissions(&victim, std::fs::Permissions::from_mode(0o700)).unwrap();
        std::os::unix::fs::symlink(&victim, dir.path().join(NAME)).unwrap();
        let why = make(dir.path()).unwrap_err();
        assert!(why.contains("rename it"), "{why}");
        assert_eq!(mode(&victim), 0o700);
        let key = victim.join("key");
        std::fs::write(&key, "secret").unwrap();
        std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).unwrap();
        if crate::sys::user::is_root() {
            assert_eq!(owner(&dir.path().join(NAME).join("key")), None);
            assert_eq!(owner(&key), Some(0));
        }
    }

    #[test]
    fn a_directory_of_somebody_else_is_refused() {
        if !crate::sys::user::is_root() {
            return; // nothing can be given away
        }
        let dir = TestDir::new();
        let place = dir.path().join(NAME);
        std::fs::create_dir(&place).unwrap();
        std::os::unix::fs::chown(&place, Some(4_000_001), None).unwrap();
        let before = mode(&place);
        let why = make(dir.path()).unwrap_err();
        assert!(why.contains("belongs to uid 4000001"), "{why}");
        assert_eq!(mode(&place), before);
    }
}
