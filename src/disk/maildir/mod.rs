//! The mail store of an account: Maildir++ as Dovecot 2.3 keeps it.
//!
//! Runs in store, as the account's user; the files are the user's own, but
//! other programs may write them too, so nothing about them is believed that
//! was not looked at.  [`Root`] is the tree of mailboxes, [`Mailbox`] one that
//! is open, [`Draft`] a message on its way in.  Layout: the root is INBOX, and
//! `.A.B` beside `cur new tmp` is the mailbox `A.B`.
//!
//! Durability: a message is *written* and *synced* in `tmp/`, *visible* by
//! link or rename, *committed* when the directory is synced.  Order of truth:
//! files and their names, Dovecot's lists, then rmail's own files.

pub mod draft;
pub mod error;
pub mod file;
pub mod mailbox;
pub mod message;
pub mod name;
pub mod tree;

pub use draft::{DeliveryId, Draft};
pub use error::{Error, Result};
pub use file::Flags;
pub use mailbox::{Changes, FlagOp, Incoming, Mailbox, Stored};
pub use message::MessageFile;
pub use name::{BadName, Name};

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::base::clock::WallTime;
use crate::base::lock::lock;
use crate::disk::dotlock::{Dotlock, Owner, SUBSCRIPTIONS};
use crate::disk::subscriptions::Subscriptions;
use crate::proto::limits;
use crate::sys::file::{try_lock, Lock};
use crate::sys::user;
use error::At;

/// Held (flock) by the one process that works on the account.  Its lines are pids: that
/// process's, then those that held it before, the last first.
pub const LOCK_NAME: &str = "rmail.lock";

/// The list of subscribed mailboxes.
const SUBSCRIPTIONS_NAME: &str = "subscriptions";

/// In the same form, those that the user took out of what the configuration subscribes.
const OWN_SUBSCRIPTIONS_NAME: &str = "rmail.subscriptions";

/// The mail root of an account.  Any thread may use it.
#[derive(Debug)]
pub struct Root {
    path: PathBuf,
    owner: Owner,
    uid: u32,
    /// Mode of new directories: that of the root.
    dir_mode: u32,
    /// The last name made for a message: seconds and microseconds.
    last_stamp: Mutex<(i64, u32)>,
    /// Held while a UIDVALIDITY is taken: mailboxes may be made at the same time.
    counting: Mutex<()>,
    /// Keeps rmail.lock while the value lives.
    _lock: File,
}

impl Root {
    /// Opens an account's mail root, making what is missing, and takes `rmail.lock`.
    ///
    /// `host` becomes part of message names.  [`Error::Locked`]: another
    /// process works on this account.  Does not wait.
    pub fn open(path: &Path, host: &str) -> Result<Root> {
        if !path.is_dir() {
            DirBuilder::new().recursive(true).mode(0o700).create(path).at("mkdir", path)?;
        }
        let meta = fs::symlink_metadata(path).at("stat", path)?;
        let uid = user::uid();
        // A root that is a symbolic link is the configuration's doing; one of
        // another owner is a mistake that would show one user's mail to another.
        let meta = if meta.is_symlink() { fs::metadata(path).at("stat", path)? } else { meta };
        if !meta.is_dir() || meta.uid() != uid {
            return Err(Error::Suspect(path.into(), "not a directory of the account's user"));
        }
        let (lock, dead) = take_lock(&path.join(LOCK_NAME))?;
        let owner = Owner { pid: std::process::id(), host: host_part(host), dead };
        let root = Root {
            path: path.to_path_buf(),
            owner,
            uid,
            dir_mode: meta.mode() & 0o777,
            last_stamp: Mutex::new((0, 0)),
            counting: Mutex::new(()),
            _lock: lock,
        };
        root.make_parts(path)?;
        root.remove_old_trash();
        Ok(root)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Who makes locks here.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The user to whom all files belong.
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// Mode of new files: the root's, without execute.
    pub fn file_mode(&self) -> u32 {
        self.dir_mode & 0o666
    }

    /// A name for a message that is not a delivery's: `<secs>.M<usecs>P<pid>.<host>`,
    /// never the same twice, whatever the clock does.
    pub fn unique(&self) -> String {
        let now = WallTime::now();
        let mut last = lock(&self.last_stamp);
        let mut stamp = (now.secs, now.micros());
        if stamp <= *last {
            stamp = match last.1.checked_add(1) {
                Some(usecs) if usecs < 1_000_000 => (last.0, usecs),
                _ => (last.0.saturating_add(1), 0),
            };
        }
        *last = stamp;
        format!("{}.M{}P{}.{}", stamp.0, stamp.1, self.owner.pid, self.owner.host)
    }

    /// The directory of a mailbox that exists.
    pub fn dir_of(&self, name: &Name) -> Result<PathBuf> {
        if name.is_inbox() {
            return Ok(self.path.clone());
        }
        let dir = self.path.join(os(&name.dir()));
        if self.is_own_dir(&dir)? {
            return Ok(dir);
        }
        if let Some(utf8) = name.utf8_dir() {
            let dir = self.path.join(os(&utf8));
            if self.is_own_dir(&dir)? {
                return Ok(dir);
            }
        }
        Err(Error::NoMailbox)
    }

    /// A real directory, no link, and the user's.
    fn is_own_dir(&self, dir: &Path) -> Result<bool> {
        match fs::symlink_metadata(dir) {
            Ok(meta) if meta.is_dir() && meta.uid() == self.uid => Ok(true),
            Ok(_) => Ok(false),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(false),
            Err(e) => Err(e).at("stat", dir),
        }
    }

    /// Makes `cur`, `new` and `tmp` where they are missing.
    fn make_parts(&self, dir: &Path) -> Result<()> {
        for part in ["cur", "new", "tmp"] {
            make_dir(&dir.join(part), self.dir_mode)?;
        }
        Ok(())
    }

    /// The subscribed mailboxes, in the order of subscription; they need not exist.
    pub fn subscriptions(&self) -> Result<Vec<Name>> {
        Ok(self.read_list(SUBSCRIPTIONS_NAME)?.names())
    }

    /// Adds a mailbox to the subscriptions; it need not exist.  RFC 9051 6.3.7.
    pub fn subscribe(&self, name: &Name) -> Result<()> {
        self.change_list(SUBSCRIPTIONS_NAME, |list| list.add(name))
    }

    /// Takes a mailbox out of the subscriptions; not being there is no error.  RFC 9051 6.3.8.
    pub fn unsubscribe(&self, name: &Name) -> Result<()> {
        self.change_list(SUBSCRIPTIONS_NAME, |list| list.remove(name))
    }

    /// The mailboxes of which the subscriptions file alone decides, whatever the
    /// configuration subscribes.
    pub fn own_subscriptions(&self) -> Result<Vec<Name>> {
        Ok(self.read_list(OWN_SUBSCRIPTIONS_NAME)?.names())
    }

    /// From now on the subscriptions file alone decides of the mailbox.
    pub fn own_subscription(&self, name: &Name) -> Result<()> {
        self.change_list(OWN_SUBSCRIPTIONS_NAME, |list| list.add(name))
    }

    fn read_list(&self, file: &str) -> Result<Subscriptions> {
        let path = self.path.join(file);
        Ok(Subscriptions::parse(&read_small(&path, limits::SUBSCRIPTIONS_FILE.default)?))
    }

    fn change_list(
        &self,
        file: &str,
        change: impl FnOnce(&mut Subscriptions) -> bool,
    ) -> Result<()> {
        let path = self.path.join(file);
        let lock = Dotlock::acquire(&path, SUBSCRIPTIONS, &self.owner, self.file_mode())?;
        let mut list = self.read_list(file)?;
        if !change(&mut list) {
            return Ok(());
        }
        let text = list.write();
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > limits::SUBSCRIPTIONS_FILE.default {
            return Err(Error::Limit("subscriptions"));
        }
        lock.commit(&text, None)
    }
}

/// How many earlier holders `rmail.lock` names.
const HOLDERS: usize = 16;

/// Opens rmail.lock and takes its flock; also the pids of those that held it before.
fn take_lock(path: &Path) -> Result<(File, Vec<u32>)> {
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .at("open", path)?;
    if !try_lock(&file, Lock::Exclusive)? {
        return Err(Error::Locked(path.into()));
    }
    let own = std::process::id();
    let text = read_small(path, 4096)?;
    let lines = text.split(|b| *b == b'\n').filter_map(|l| std::str::from_utf8(l).ok());
    // A pid that is ours now is nobody else's, whoever had it before.
    let dead: Vec<u32> =
        lines.filter_map(|l| l.parse().ok()).filter(|p| *p != own).take(HOLDERS).collect();
    let text: String = std::iter::once(&own).chain(&dead).map(|p| format!("{p}\n")).collect();
    // Over the old lines, and cut then: a death in between forgets nobody.
    file.write_all_at(text.as_bytes(), 0).at("write", path)?;
    file.set_len(u64::try_from(text.len()).unwrap_or(0)).at("ftruncate", path)?;
    Ok((file, dead))
}

/// A host name as it may stand in a file name: '/' and ':' as Maildir writes them.
fn host_part(host: &str) -> String {
    let host = if host.is_empty() { "localhost" } else { host };
    host.replace('/', "\\057").replace(':', "\\072").replace(',', "\\054")
}

/// Bytes of a directory entry as a path.
pub(crate) fn os(bytes: &[u8]) -> &std::ffi::OsStr {
    std::os::unix::ffi::OsStrExt::from_bytes(bytes)
}

/// Makes a directory unless it is there.
fn make_dir(dir: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(e).at("mkdir", dir),
        _ => Ok(()),
    }
}

/// Reads a file of at most `max` octets; one that is missing is empty, a longer one an error.
pub(crate) fn read_small(path: &Path, max: u64) -> Result<Vec<u8>> {
    let file = match crate::sys::file::open_nofollow(path) {
        Ok(file) => file,
        Err(e) if e.is_missing() => return Ok(Vec::new()),
        Err(e) => return Err(e.into()),
    };
    let mut text = Vec::new();
    file.take(max.saturating_add(1)).read_to_end(&mut text).at("read", path)?;
    if u64::try_from(text.len()).unwrap_or(u64::MAX) > max {
        return Err(Error::Suspect(path.into(), "too large"));
    }
    Ok(text)
}

/// A file time in nanoseconds since 1970; 0 before.
pub(crate) fn nanos(secs: i64, nanos: i64) -> u64 {
    let secs = u64::try_from(secs).unwrap_or(0).saturating_mul(1_000_000_000);
    secs.saturating_add(u64::try_from(nanos).unwrap_or(0))
}

/// The present in nanoseconds since 1970.
pub(crate) fn now_nanos() -> u64 {
    let now = WallTime::now();
    nanos(now.secs, i64::from(now.nanos))
}

/// How old a file in `tmp/` is before it is taken for garbage.
pub(crate) const TMP_AGE: Duration = Duration::from_secs(36 * 3600);
