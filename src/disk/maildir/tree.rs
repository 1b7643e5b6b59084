//! The tree of mailboxes: LIST, CREATE, DELETE, RENAME on directories.
//!
//! A parent need not exist for a child to: the caller that lists shows it as
//! `\NonExistent`.  A mailbox is taken away by renaming its directory, which
//! is the moment of deletion; its files go afterwards.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::error::{At, Error, Result};
use super::name::Name;
use super::{now_nanos, os, Root};
use crate::base::lock;
use crate::disk::uidlist::{self, UidList};
use crate::disk::{atomic, uidvalidity};
use crate::sys::rand;

/// Where Dovecot puts a mailbox that is being deleted.
const TRASHED: &str = "..DOVECOT-TRASHED";

/// The empty file that marks a directory as a folder and not a root.
const MARKER: &str = "maildirfolder";

impl Root {
    /// All mailboxes, the inbox first, then by name.
    ///
    /// What is no directory of the user's, or whose name is no mailbox's, is
    /// not shown.  Blocks on the disk.
    pub fn list(&self) -> Result<Vec<Name>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.path()).at("opendir", self.path())? {
            let entry = entry.at("readdir", self.path())?;
            let Some(name) = Name::from_dir(entry.file_name().as_bytes()) else { continue };
            if self.is_own_dir(&entry.path())? {
                names.push(name);
            }
        }
        names.sort();
        // A store can hold one name as UTF-7 and as UTF-8.
        names.dedup();
        names.insert(0, Name::inbox());
        Ok(names)
    }

    /// True if the mailbox exists.
    pub fn exists(&self, name: &Name) -> Result<bool> {
        match self.dir_of(name) {
            Ok(_) => Ok(true),
            Err(Error::NoMailbox) => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes a mailbox, with its UIDVALIDITY.  [`Error::Exists`] if it is there.
    pub fn create(&self, name: &Name) -> Result<()> {
        if self.exists(name)? {
            return Err(Error::Exists);
        }
        let dir = self.path().join(os(&name.dir()));
        match fs::DirBuilder::new().create(&dir) {
            Ok(()) => {}
            Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => return Err(Error::Exists),
            Err(e) => return Err(e).at("mkdir", &dir),
        }
        let made = self.fill(&dir);
        if made.is_err() {
            // Half a mailbox would answer the next try with "exists".
            let _ = fs::remove_dir_all(&dir);
        }
        made?;
        Ok(atomic::sync_dir(self.path())?)
    }

    fn fill(&self, dir: &Path) -> Result<()> {
        let mode = <fs::Permissions as PermissionsExt>::from_mode(self.dir_mode);
        fs::set_permissions(dir, mode).at("chmod", dir)?;
        self.make_parts(dir)?;
        let marker = dir.join(MARKER);
        let made = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(self.file_mode())
            .open(&marker);
        made.at("open", &marker)?;
        let _lock = uidlist::lock(dir, self.owner(), self.file_mode())?;
        self.new_list(dir)?;
        Ok(())
    }

    /// Makes a mailbox's uidlist with the next UIDVALIDITY.  The caller holds its lock.
    pub(crate) fn new_list(&self, dir: &Path) -> Result<UidList> {
        let secs = u32::try_from(crate::base::clock::now().secs).unwrap_or(1);
        let value = {
            let _counting = lock::lock(&self.counting);
            uidvalidity::allocate(self.path(), self.file_mode(), secs)?
        };
        UidList::create(dir, self.file_mode(), value, new_guid())
    }

    /// Takes a mailbox away, its messages too; mailboxes below it stay.  Its
    /// files are removed by [`Root::empty_trash`], which can take its time.  One
    /// at a time: there is one trash.  RFC 9051 6.3.5.
    pub fn trash(&self, name: &Name) -> Result<()> {
        if name.is_inbox() {
            return Err(Error::Cannot("INBOX cannot be deleted"));
        }
        let dir = self.dir_of(name)?;
        let trash = self.path().join(TRASHED);
        remove_tree(&trash)?;
        atomic::rename(&dir, &trash)?;
        Ok(atomic::sync_dir(self.path())?)
    }

    /// Removes what was a mailbox.  What stays goes with the next deletion, or an
    /// hour after a crash.
    pub fn empty_trash(&self) {
        let trash = self.path().join(TRASHED);
        if let Err(e) = remove_tree(&trash) {
            crate::base::log::warn!(
                "store",
                event = "not-removed",
                path = trash.as_path(),
                error = crate::base::log::Show(&e)
            );
        }
    }

    /// Gives a mailbox and all below it another name.  RFC 9051 6.3.6.
    ///
    /// Also when the mailbox itself does not exist but children do.  A child
    /// whose new name is taken stays.  The pairs are what was renamed, in
    /// order; the inbox is not renamed here, since its messages would move.
    pub fn rename(&self, old: &Name, new: &Name) -> Result<Vec<(Name, Name)>> {
        if old.is_inbox() || new.is_inbox() {
            return Err(Error::Cannot("INBOX cannot be renamed"));
        }
        if self.exists(new)? {
            return Err(Error::Exists);
        }
        if new.is_below(old) {
            return Err(Error::Cannot("a mailbox cannot become its own child"));
        }
        // Collected, and the new names checked, before anything moves.
        let mut pairs = Vec::new();
        for name in self.list()? {
            if name == *old {
                pairs.push((name, new.clone()));
            } else if name.is_below(old) {
                let moved = name.moved(old, new)?;
                pairs.push((name, moved));
            }
        }
        if pairs.is_empty() {
            return Err(Error::NoMailbox);
        }
        let mut done = Vec::new();
        for (from, to) in pairs {
            if self.exists(&to)? {
                continue;
            }
            atomic::rename(&self.dir_of(&from)?, &self.path().join(os(&to.dir())))?;
            done.push((from, to));
        }
        atomic::sync_dir(self.path())?;
        Ok(done)
    }

    /// Removes what a deletion left behind when the process died in it, if it is an hour old.
    pub(crate) fn remove_old_trash(&self) {
        let trash = self.path().join(TRASHED);
        let Ok(meta) = fs::symlink_metadata(&trash) else { return };
        let age = now_nanos().saturating_sub(super::nanos(meta.mtime(), meta.mtime_nsec()));
        if age > 3600 * 1_000_000_000 {
            // It is tried again at the next start.
            let _ = remove_tree(&trash);
        }
    }
}

/// Removes a directory and all in it; not being there is no error.  Does not follow links.
fn remove_tree(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(e).at("rmdir", dir),
        _ => Ok(()),
    }
}

/// A mailbox's GUID: 32 random hexadecimal digits.
pub(crate) fn new_guid() -> [u8; 32] {
    let mut guid = [b'0'; 32];
    let digits = format!("{:016x}{:016x}", rand::u64(), rand::u64());
    for (to, from) in guid.iter_mut().zip(digits.bytes()) {
        *to = from;
    }
    guid
}
