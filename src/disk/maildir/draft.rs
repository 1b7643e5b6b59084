//! A message on its way into a mailbox: written to `tmp/`, synced, then named.
//!
//! Runs in store.  The bytes come from the wire or the spool with CRLF and are
//! stored with LF; both sizes are counted on the way, since they become part
//! of the name.  A draft that is dropped takes its file with it.
//!
//! *Once.*  The name of a delivery begins with its [`DeliveryId`], the same at
//! every attempt.  An attempt after one of which the end is not known looks for
//! it in all mailboxes first (`Root::find_delivery`), since a session moves
//! messages on: that is what makes a delivery happen once.  link(2) into `new/`,
//! which never replaces a file, stands behind it.

use std::fs::{self, File};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};

use super::error::{At, Error, Result};
use super::file::{is_message, split, unique};
use super::name::Name;
use super::{os, Root};
use crate::disk::atomic;
use crate::disk::uidlist::UidList;
use crate::sys::file::{create_new, set_mtime};

/// What fixes the name of a delivered message, the same at every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryId<'a> {
    /// When the message was accepted.
    pub secs: u64,
    /// The microseconds of that time.
    pub usecs: u32,
    /// The queue's id of the message: lower-case letters and digits.
    pub qid: &'a str,
    /// The number of the recipient in the message.
    pub rcpt: u32,
    /// Which of several copies for this recipient.
    pub copy: u32,
}

impl Root {
    /// The fixed part of a delivery's file name.
    pub fn delivery_name(&self, id: &DeliveryId<'_>) -> String {
        let DeliveryId { secs, usecs, qid, rcpt, copy } = id;
        format!("{secs}.M{usecs}Q{qid}R{rcpt}C{copy}.{}", self.owner().host)
    }

    /// Starts a message in a mailbox under a name that [`Root::unique`] or
    /// [`Root::delivery_name`] made.
    ///
    /// A file of that name that an earlier attempt left in `tmp/` is removed:
    /// this process is the only one that delivers here.
    pub fn draft(&self, mailbox: &Name, unique: &str) -> Result<Draft> {
        let dir = self.dir_of(mailbox)?;
        self.make_parts(&dir)?;
        let path = dir.join("tmp").join(unique);
        let file = match create_new(&path, self.file_mode()) {
            Err(e) if e.errno == exists() => {
                fs::remove_file(&path).at("unlink", &path)?;
                create_new(&path, self.file_mode())?
            }
            other => other?,
        };
        Ok(Draft {
            dir,
            file: Some(file),
            path,
            unique: unique.to_string(),
            buffer: Vec::with_capacity(BUFFER),
            cr: false,
            last: 0,
            size: 0,
            vsize: 0,
        })
    }

    /// Looks in all mailboxes for a message that this delivery has stored already.
    ///
    /// In `new/`, `cur/` and the uidlist, so that one which the user has since
    /// moved or expunged is found too.  Reads every directory: only for a
    /// delivery that may have happened.
    pub fn find_delivery(&self, id: &DeliveryId<'_>) -> Result<Option<Name>> {
        let wanted = self.delivery_name(id);
        for name in self.list()? {
            let dir = match self.dir_of(&name) {
                Ok(dir) => dir,
                Err(Error::NoMailbox) => continue,
                Err(e) => return Err(e),
            };
            for part in ["new", "cur"] {
                let part = dir.join(part);
                if holds(&part, wanted.as_bytes())? {
                    // Who made the name may have died before it was durable.
                    atomic::sync_dir(&part)?;
                    // It may have left its first name too; garbage if this fails.
                    let _ = fs::remove_file(dir.join("tmp").join(&wanted));
                    return Ok(Some(name));
                }
            }
            if let Some((_, records)) = UidList::load(&dir, self.file_mode())? {
                if records.iter().any(|r| unique(&r.base) == wanted.as_bytes()) {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }
}

/// True if a directory has a file whose name begins with `wanted` as its fixed part.
fn holds(dir: &Path, wanted: &[u8]) -> Result<bool> {
    let entries = match fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(e).at("opendir", dir),
    };
    for entry in entries {
        let name = entry.at("readdir", dir)?.file_name();
        let bytes = std::os::unix::ffi::OsStrExt::as_bytes(&*name);
        if is_message(bytes) && unique(split(bytes).0) == wanted {
            return Ok(true);
        }
    }
    Ok(false)
}

/// EEXIST, as std knows it.
fn exists() -> i32 {
    crate::sys::errno::errno_of(&std::io::ErrorKind::AlreadyExists.into())
}

/// How much is written at once.
const BUFFER: usize = 64 * 1024;

/// A message being written.
#[derive(Debug)]
pub struct Draft {
    dir: PathBuf,
    file: Option<File>,
    path: PathBuf,
    unique: String,
    buffer: Vec<u8>,
    cr: bool,
    last: u8,
    size: u64,
    vsize: u64,
}

impl Draft {
    /// Adds bytes of the message; CRLF becomes LF, every other byte stays.  A CRLF
    /// behind a CR stays too: an LF behind a CR is read as it is.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let mut rest = bytes;
        if self.cr && !rest.is_empty() {
            self.cr = false;
            if !rest.starts_with(b"\n") || self.last == b'\r' {
                self.put(b"\r")?;
            }
        }
        while let Some(at) = memchr::memchr(b'\r', rest) {
            let (before, from) = rest.split_at_checked(at).unwrap_or_default();
            self.put(before)?;
            match from.get(1) {
                Some(b'\n') if self.last != b'\r' => {}
                Some(_) => self.put(b"\r")?,
                None => {
                    self.cr = true;
                    return Ok(());
                }
            }
            rest = from.get(1..).unwrap_or_default();
        }
        self.put(rest)
    }

    /// Adds bytes as they are to be on disk.
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        let len = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let before = |at: usize| at.checked_sub(1).map_or(Some(&self.last), |at| bytes.get(at));
        let bare = |at: &usize| before(*at) != Some(&b'\r');
        let ends = memchr::memchr_iter(b'\n', bytes).filter(bare).count();
        let ends = u64::try_from(ends).unwrap_or(0);
        self.last = bytes.last().copied().unwrap_or(self.last);
        self.size = self.size.saturating_add(len);
        self.vsize = self.vsize.saturating_add(len).saturating_add(ends);
        self.buffer.extend_from_slice(bytes);
        if self.buffer.len() >= BUFFER {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let Some(file) = &mut self.file {
            file.write_all(&self.buffer).at("write", &self.path)?;
        }
        self.buffer.clear();
        Ok(())
    }

    /// Ends the message: all bytes written, the date set, synced.
    ///
    /// `internal` is INTERNALDATE in seconds; `None` leaves the present.
    pub fn finish(mut self, internal: Option<i64>) -> Result<Finished> {
        if self.cr {
            self.cr = false;
            self.put(b"\r")?;
        }
        self.flush()?;
        if let Some(file) = self.file.take() {
            if let Some(secs) = internal {
                set_mtime(file.as_fd(), secs, 0)?;
            }
            atomic::sync_file(&file, &self.path)?;
        }
        let base = format!("{},S={},W={}", self.unique, self.size, self.vsize);
        Ok(Finished {
            dir: std::mem::take(&mut self.dir),
            path: std::mem::take(&mut self.path),
            base,
            size: self.size,
            vsize: self.vsize,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What stays is garbage that goes after 36 hours.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A message in `tmp/`, whole and synced; dropping it removes the file.
#[derive(Debug)]
pub struct Finished {
    dir: PathBuf,
    path: PathBuf,
    /// The base name that it will have.
    pub base: String,
    /// Octets on disk.
    pub size: u64,
    /// Octets with CRLF line ends.
    pub vsize: u64,
}

impl Finished {
    /// Delivers: links the file into `new/` and syncs the directory.
    ///
    /// A name that is there already means that an earlier attempt succeeded,
    /// which is success too (false).  The UID is assigned when the mailbox is
    /// next read.
    pub fn deliver(self) -> Result<bool> {
        let new = self.dir.join("new");
        let fresh = match atomic::link(&self.path, &new.join(&self.base)) {
            Ok(()) => true,
            Err(e) if e.errno == exists() => false,
            Err(e) => return Err(e.into()),
        };
        atomic::sync_dir(&new)?;
        Ok(fresh)
    }

    /// Gives the file up to [`super::Mailbox::adopt`], which renames it.
    pub(crate) fn into_parts(mut self) -> (PathBuf, String) {
        (std::mem::take(&mut self.path), std::mem::take(&mut self.base))
    }
}

impl Drop for Finished {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What stays is garbage that goes after 36 hours.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A path below a mailbox's directory.
pub(crate) fn part(dir: &Path, part: &str, name: &[u8]) -> PathBuf {
    dir.join(part).join(os(name))
}
