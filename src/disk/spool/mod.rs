//! The queue's directory: one file per message.
//!
//! Runs in queue, which alone writes names and records; readers and the writer
//! of a body have descriptors.  Layout of a file: [`head`] (4 KiB), [`body`]
//! (chunks, sealed), [`log`] ([`record`]s, sealed, only ever appended).
//!
//! ```text
//! VERSION         "rmail spool 1", and which release wrote it
//! lock            held (flock) by the one queue that works here
//! key             32 octets, mode 0600: the master key without `queue encryption`
//! incoming/<qid>  being written; not accepted yet
//! queue/<qid>     committed
//! bad/<qid>       damaged: kept for a person to look at, never read again
//! ```
//!
//! *Durability.*  A message is *written* into incoming, *synced*, made *visible*
//! by a rename into queue and *committed* when that directory is synced: two
//! syncs, the second shared by all commits of the moment.  Only then may 250 be
//! said.  What is found in incoming at start was never accepted and is removed,
//! unless a committed message says that it spawned it.  Records that follow are
//! appended and synced; [`Spool::load`] cuts behind the last whole one.
//!
//! *Keys.*  Each message has keys of its own, wrapped by the master key: that of
//! `queue encryption`, else the one in the file `key`, which is made at first
//! start.  The file stays when encryption is configured later, so that what was
//! queued before is still read; a message of a key that is gone stays where it
//! is and is complained of, for the key may come back.

pub mod body;
pub mod codec;
mod deflate;
pub mod fuzz;
pub mod head;
pub mod log;
pub mod message;
pub mod qid;
pub mod record;
pub mod state;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use crate::base::clock::WallTime;
use crate::base::crypto::{CryptoError, KEY_LEN};
use crate::base::lock;
use crate::disk::atomic::{self, DirSync, NewFile};
use crate::disk::spool::body::{BodyEnd, BodyWriter};
use crate::disk::spool::head::{Head, HeadError, Key, Keys, HEAD};
use crate::disk::spool::message::Message;
use crate::disk::spool::qid::{Qid, Qids};
use crate::disk::spool::record::Record;
use crate::disk::spool::state::State;
use crate::proto::limits;
use crate::sys::errno::{self, SysError};
use crate::sys::file::{self, Space};

/// The first line of VERSION.
const VERSION_LINE: &str = "rmail spool 1";
const MODE: u32 = 0o600;
/// Appends to one message are serialised; so many may go on at a time.
const STRIPES: usize = 64;

/// Why the spool or a message of it cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SpoolError {
    /// A system call failed.  Temporary, the file is not touched.
    Sys(SysError),
    /// The message is no longer there.
    Gone,
    /// Sealed with a key that we do not have.  The file stays.
    ForeignKey,
    /// Written by another release.  The file stays.
    Version(String),
    /// The file is not a whole committed message.  It belongs into quarantine.
    Damaged(&'static str),
    /// Another process works on this directory.
    Locked(PathBuf),
}

impl std::fmt::Display for SpoolError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SpoolError::Sys(e) => e.fmt(f),
            SpoolError::Gone => f.write_str("no such message"),
            SpoolError::ForeignKey => HeadError::ForeignKey.fmt(f),
            SpoolError::Version(text) => f.write_str(text),
            SpoolError::Damaged(what) => write!(f, "damaged: {what}"),
            SpoolError::Locked(path) => {
                write!(f, "{}: another rmaild works on this queue", path.display())
            }
        }
    }
}

impl std::error::Error for SpoolError {}

impl From<SysError> for SpoolError {
    fn from(e: SysError) -> Self {
        if e.errno == errno::ENOENT {
            SpoolError::Gone
        } else {
            SpoolError::Sys(e)
        }
    }
}

impl From<HeadError> for SpoolError {
    fn from(e: HeadError) -> Self {
        match e {
            HeadError::Damaged => SpoolError::Damaged("head"),
            HeadError::ForeignKey => SpoolError::ForeignKey,
            HeadError::Version(_) => SpoolError::Version(e.to_string()),
        }
    }
}

/// The library can fail for want of memory only.
fn crypto(_: CryptoError) -> SysError {
    SysError::new("seal", errno::ENOMEM)
}

/// The queue's directory.  Any thread; each call blocks on the disk.
#[derive(Debug)]
pub struct Spool {
    dir: PathBuf,
    masters: Vec<Key>,
    committed: DirSync,
    qids: Qids,
    stripes: Vec<Mutex<()>>,
    /// Keeps the lock while the value lives.
    _lock: File,
}

impl Spool {
    /// Opens the directory and makes what is missing in it.  `configured` is
    /// the key of `queue encryption`.
    ///
    /// [`SpoolError::Locked`]: another queue has it, perhaps that of a daemon
    /// whose parent was killed and which is about to notice.  Two at once would
    /// each miss what the other commits.  Does not wait.
    pub fn open(dir: &Path, configured: Option<[u8; KEY_LEN]>) -> Result<Spool, SpoolError> {
        let lock = take_lock(dir)?;
        check_version(dir)?;
        for name in ["incoming", "queue", "bad"] {
            let path = dir.join(name);
            match fs::DirBuilder::new().mode(0o700).create(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => {
                    return Err(SysError::of("mkdir", &e).at(path).into());
                }
                _ => {}
            }
        }
        // What is committed is in a directory whose own name must not be lost.
        atomic::sync_dir(dir)?;
        let mut masters: Vec<Key> = configured.map(Key::new).into_iter().collect();
        masters.extend(key_file(dir, masters.is_empty())?);
        Ok(Spool {
            dir: dir.to_path_buf(),
            masters,
            committed: DirSync::new(&dir.join("queue")),
            qids: Qids::after(last_second(dir)?),
            stripes: (0..STRIPES).map(|_| Mutex::new(())).collect(),
            _lock: lock,
        })
    }

    /// What the file system has left.
    pub fn space(&self) -> Result<Space, SysError> {
        file::space(&self.dir)
    }

    /// Begins a message.
    pub fn begin(&self, now: WallTime, deflate: bool) -> Result<Draft, SysError> {
        let master = self.masters.first().ok_or(SysError::new("queue key", errno::ENOENT))?;
        let now = self.after_start(now);
        let qid = self.qids.next(now.secs);
        let (head, keys) =
            Head::new(qid, (now.secs, now.micros()), deflate, master).map_err(crypto)?;
        let file = NewFile::create(&self.incoming(qid), MODE)?;
        write_at(file.file(), &head.to_bytes(), 0).map_err(|e| e.at(file.path()))?;
        Ok(Draft { file, head, keys })
    }

    /// Waits for the second after that in which this process began, see [`Qids`].
    fn after_start(&self, now: WallTime) -> WallTime {
        if !self.qids.first_second(now.secs) {
            return now;
        }
        let left = 1_000_000_000u32.saturating_sub(now.nanos);
        std::thread::sleep(Duration::from_nanos(u64::from(left)));
        WallTime::now()
    }

    /// Publishes a message that is complete: it is committed when this returns.
    ///
    /// An error means that it is not and never will be: the file is removed.
    pub fn publish(&self, ready: Ready) -> Result<Qid, SysError> {
        let Ready { qid, file } = ready;
        let name = self.queue(qid);
        // rename(2) would put it in the place of another message.
        if self.is_committed(qid)? {
            return Err(SysError::new("rename", errno::EEXIST).at(name));
        }
        file.publish(&name)?;
        if let Err(e) = self.committed.sync() {
            // The name may or may not be durable; nobody was told 250, so it
            // must not be there.
            atomic::unlink(&name)?;
            return Err(e);
        }
        Ok(qid)
    }

    /// Publishes what lies complete in incoming under these ids; one that is
    /// not there any more was published before.
    pub fn publish_spawned(&self, ids: &[Qid]) -> Result<(), SysError> {
        for qid in ids {
            match atomic::rename(&self.incoming(*qid), &self.queue(*qid)) {
                Err(e) if !e.is_missing() => return Err(e),
                _ => {}
            }
        }
        self.committed.sync()
    }

    /// Appends records to a committed message; they are durable when this
    /// returns, all or, after an error, none.
    pub fn append(&self, qid: Qid, records: &[Record]) -> Result<(), SpoolError> {
        let path = self.queue(qid);
        let _serial = self.serial(qid);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|e| SysError::of("open", &e).at(&path))?;
        let keys = read_head(&file)?.keys(&self.masters)?;
        let end = file.metadata().map_err(|e| SysError::of("fstat", &e).at(&path))?.len();
        let mut bytes = Vec::new();
        for record in records {
            log::append(record, &keys.log, &mut bytes).map_err(crypto)?;
        }
        let done = write_at(&file, &bytes, end).and_then(|()| atomic::sync_file(&file, &path));
        if let Err(e) = done {
            // Half a record would hide all that are appended later.
            file.set_len(end).map_err(|e| SysError::of("ftruncate", &e).at(&path))?;
            return Err(SpoolError::Sys(e.at(&path)));
        }
        Ok(())
    }

    /// Reads a committed message's head and log.  What stands behind the last
    /// whole record is cut off: [`Loaded::cut`] tells how much.
    pub fn load(&self, qid: Qid) -> Result<Loaded, SpoolError> {
        let path = self.queue(qid);
        let _serial = self.serial(qid);
        let file = OpenOptions::new().read(true).write(true).open(&path);
        let file = file.map_err(|e| SysError::of("open", &e).at(&path))?;
        let head = read_head(&file)?;
        if head.qid != qid {
            return Err(SpoolError::Damaged("another message's name"));
        }
        // Not before: an administrator may ask for any id.
        self.qids.seen(qid);
        let keys = head.keys(&self.masters)?;
        if head.log < u64::try_from(HEAD).unwrap_or(u64::MAX) {
            return Err(SpoolError::Damaged("no log"));
        }
        let len = file.metadata().map_err(|e| SysError::of("fstat", &e).at(&path))?.len();
        let size = len.checked_sub(head.log).ok_or(SpoolError::Damaged("body is cut off"))?;
        if size > limits::SPOOL_LOG.default {
            return Err(SpoolError::Damaged("log is too long"));
        }
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        file.read_exact_at(&mut bytes, head.log)
            .map_err(|e| SysError::of("pread", &e).at(&path))?;
        let found = log::scan(&bytes, &keys.log);
        let state = State::fold(&found.records).ok_or(SpoolError::Damaged("no commit"))?;
        let cut = bytes.len().saturating_sub(found.good);
        if cut > 0 {
            let good = head.log.saturating_add(u64::try_from(found.good).unwrap_or(0));
            file.set_len(good).map_err(|e| SysError::of("ftruncate", &e).at(&path))?;
            atomic::sync_file(&file, &path)?;
        }
        let created = WallTime { secs: head.created.0, nanos: head.created.1.saturating_mul(1000) };
        Ok(Loaded { qid, created, body: head.body, state, cut })
    }

    /// What a reader of the body needs: a read-only descriptor and the key.
    pub fn open_body(&self, qid: Qid) -> Result<(File, Key), SpoolError> {
        let path = self.queue(qid);
        let file = File::open(&path).map_err(|e| SysError::of("open", &e).at(&path))?;
        let keys = read_head(&file)?.keys(&self.masters)?;
        Ok((file, keys.body))
    }

    /// Removes a message.  A power cut may bring it back.
    pub fn remove(&self, qid: Qid) -> Result<(), SysError> {
        atomic::unlink(&self.queue(qid))
    }

    /// True if the message is committed.
    pub fn is_committed(&self, qid: Qid) -> Result<bool, SysError> {
        let path = self.queue(qid);
        match File::open(&path).map_err(|e| SysError::of("open", &e).at(&path)) {
            Ok(_) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        }
    }

    /// Makes the names of all committed messages durable, whoever made them.
    pub fn sync_committed(&self) -> Result<(), SysError> {
        self.committed.sync()
    }

    /// Puts a damaged message out of the way, into `bad`.
    pub fn quarantine(&self, qid: Qid) -> Result<(), SysError> {
        let to = self.dir.join("bad").join(qid.file_name());
        atomic::rename(&self.queue(qid), &to)?;
        atomic::sync_dir(&self.dir.join("bad"))
    }

    /// The committed messages, oldest first, to be called before the first
    /// [`Spool::begin`].  Entries with other names are
    /// given separately: nobody of ours made them.
    pub fn list(&self) -> Result<(Vec<Qid>, Vec<PathBuf>), SysError> {
        let (all, others) = list(&self.dir.join("queue"))?;
        all.iter().for_each(|qid| self.qids.seen(*qid));
        Ok((all, others))
    }

    /// What lies in incoming, to be called before the first [`Spool::begin`].
    pub fn list_incoming(&self) -> Result<Vec<Qid>, SysError> {
        let all = list(&self.dir.join("incoming"))?.0;
        all.iter().for_each(|qid| self.qids.seen(*qid));
        Ok(all)
    }

    /// Removes what was never accepted.
    pub fn discard_incoming(&self, qid: Qid) -> Result<(), SysError> {
        atomic::unlink(&self.incoming(qid))
    }

    fn incoming(&self, qid: Qid) -> PathBuf {
        self.dir.join("incoming").join(qid.file_name())
    }

    fn queue(&self, qid: Qid) -> PathBuf {
        self.dir.join("queue").join(qid.file_name())
    }

    fn serial(&self, qid: Qid) -> Option<std::sync::MutexGuard<'_, ()>> {
        let stripes = u64::try_from(STRIPES).unwrap_or(1);
        let at = usize::try_from(qid.bits().checked_rem(stripes).unwrap_or(0)).unwrap_or(0);
        self.stripes.get(at).map(lock::lock)
    }
}

/// A committed message as it is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded {
    /// Its id.
    pub qid: Qid,
    /// When it was accepted.
    pub created: WallTime,
    /// Octets of the body, edits not counted.
    pub body: u64,
    /// What the log says.
    pub state: State,
    /// Octets that were cut off behind the last whole record.
    pub cut: usize,
}

/// A message that is being written.  Dropping it removes the file.
#[derive(Debug)]
pub struct Draft {
    file: NewFile,
    head: Head,
    keys: Keys,
}

impl Draft {
    /// Its id.
    pub const fn qid(&self) -> Qid {
        self.head.qid
    }

    /// When it was begun: the time of acceptance that its file names.
    pub const fn created(&self) -> WallTime {
        WallTime { secs: self.head.created.0, nanos: self.head.created.1.saturating_mul(1000) }
    }

    /// Whether chunks are to be deflated.
    pub const fn deflate(&self) -> bool {
        self.head.deflate
    }

    /// The key for [`BodyWriter::new`].
    pub const fn body_key(&self) -> &Key {
        &self.keys.body
    }

    /// A descriptor for whoever writes the body.
    pub fn descriptor(&self) -> Result<File, SysError> {
        self.file.file().try_clone().map_err(|e| SysError::of("dup", &e))
    }

    /// Writes the body from here.
    pub fn body_writer(&self) -> Result<BodyWriter, SysError> {
        Ok(BodyWriter::new(self.descriptor()?, self.keys.body.clone(), self.head.deflate))
    }

    /// The message with its body, before it is committed.
    pub fn message(&self, end: BodyEnd) -> Result<Message, SysError> {
        let edits = crate::proto::smtp::edit::Edits::new();
        Message::of_body(self.descriptor()?, self.keys.body.clone(), end.body, edits)
    }

    /// Writes head and records behind a body that ends there.  The file must
    /// end there too: EINVAL, whoever wrote the body has lied.
    pub fn complete(mut self, end: BodyEnd, records: &[Record]) -> Result<Ready, SysError> {
        let path = self.file.path().to_path_buf();
        let file = self.file.file();
        let len = file.metadata().map_err(|e| SysError::of("fstat", &e).at(&path))?.len();
        if len != end.file || end.file <= u64::try_from(HEAD).unwrap_or(u64::MAX) {
            return Err(SysError::new("spool body", errno::EINVAL).at(path));
        }
        let mut bytes = Vec::new();
        for record in records {
            log::append(record, &self.keys.log, &mut bytes).map_err(crypto)?;
        }
        write_at(file, &bytes, end.file).map_err(|e| e.at(&path))?;
        (self.head.log, self.head.body) = (end.file, end.body);
        write_at(file, &self.head.to_bytes(), 0).map_err(|e| e.at(&path))?;
        Ok(Ready { qid: self.head.qid, file: self.file })
    }
}

/// A message that is complete but not published.  Dropping it removes the file.
#[derive(Debug)]
pub struct Ready {
    qid: Qid,
    file: NewFile,
}

impl Ready {
    /// Its id.
    pub const fn qid(&self) -> Qid {
        self.qid
    }

    /// Syncs it and leaves it in incoming, for a `Spawned` record to name and
    /// [`Spool::publish_spawned`] to publish.  The directory is synced by
    /// [`Spool::sync_incoming`].
    pub fn park(self) -> Result<Qid, SysError> {
        let qid = self.qid;
        self.file.finish()?;
        Ok(qid)
    }
}

impl Spool {
    /// Makes the names of parked messages durable.
    pub fn sync_incoming(&self) -> Result<(), SysError> {
        atomic::sync_dir(&self.dir.join("incoming"))
    }
}

fn write_at(file: &File, bytes: &[u8], at: u64) -> Result<(), SysError> {
    file.write_all_at(bytes, at).map_err(|e| SysError::of("pwrite", &e))
}

fn read_head(file: &File) -> Result<Head, SpoolError> {
    let mut bytes = vec![0; HEAD];
    match file.read_exact_at(&mut bytes, 0) {
        Ok(()) => Ok(Head::parse(&bytes)?),
        Err(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Err(SpoolError::Damaged("shorter than a head"))
        }
        Err(e) => Err(SpoolError::Sys(SysError::of("pread", &e))),
    }
}

fn list(dir: &Path) -> Result<(Vec<Qid>, Vec<PathBuf>), SysError> {
    let fail = |e: std::io::Error| SysError::of("readdir", &e).at(dir);
    let (mut ids, mut others) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(dir).map_err(fail)? {
        let name = entry.map_err(fail)?.file_name();
        match Qid::parse(std::os::unix::ffi::OsStrExt::as_bytes(name.as_os_str())) {
            Some(qid) => ids.push(qid),
            None => others.push(dir.join(name)),
        }
    }
    ids.sort_unstable();
    Ok((ids, others))
}

/// The last second in which somebody may have made an id here: now, or when the
/// clock stood where it does not any more.
fn last_second(dir: &Path) -> Result<i64, SysError> {
    let mut last = WallTime::now().secs;
    for name in ["incoming", "queue"] {
        let path = dir.join(name);
        let meta = fs::metadata(&path).map_err(|e| SysError::of("stat", &e).at(&path))?;
        last = last.max(std::os::unix::fs::MetadataExt::mtime(&meta));
    }
    Ok(last)
}

/// Takes the directory's lock.
fn take_lock(dir: &Path) -> Result<File, SpoolError> {
    let path = dir.join("lock");
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(MODE)
        .open(&path)
        .map_err(|e| SpoolError::Sys(SysError::of("open", &e).at(&path)))?;
    if !file::try_lock(&file, file::Lock::Exclusive).map_err(|e| SpoolError::Sys(e.at(&path)))? {
        return Err(SpoolError::Locked(path));
    }
    Ok(file)
}

/// Reads VERSION, or writes it into a directory that has none.
fn check_version(dir: &Path) -> Result<(), SpoolError> {
    let path = dir.join("VERSION");
    match read_small(&path) {
        Ok(bytes) => {
            let text = String::from_utf8_lossy(&bytes);
            if text.lines().next() == Some(VERSION_LINE) {
                return Ok(());
            }
            let shown: String = text.chars().filter(|c| !c.is_control()).take(80).collect();
            Err(SpoolError::Version(format!(
                "{}: \"{shown}\", but rmail {} reads only \"{VERSION_LINE}\": \
                 empty the queue with the release that wrote it",
                path.display(),
                env!("CARGO_PKG_VERSION"),
            )))
        }
        Err(e) if e.is_missing() => {
            let text = format!("{VERSION_LINE}\nwritten by rmail {}\n", env!("CARGO_PKG_VERSION"));
            atomic::replace(&path, &dir.join("VERSION.new"), text.as_bytes(), 0o644)?;
            Ok(())
        }
        Err(e) => Err(SpoolError::Sys(e)),
    }
}

/// The key in the file `key`; made if it is missing and there is no other.
fn key_file(dir: &Path, needed: bool) -> Result<Option<Key>, SpoolError> {
    let path = dir.join("key");
    match read_small(&path) {
        Ok(mut bytes) => {
            let octets: Result<[u8; KEY_LEN], _> = bytes.as_slice().try_into();
            crate::base::crypto::wipe(&mut bytes);
            let wrong = |_| SpoolError::Version(format!("{}: not 32 octets", path.display()));
            octets.map(|o| Some(Key::new(o))).map_err(wrong)
        }
        Err(e) if e.is_missing() && needed => {
            let key = Key::random();
            let mut file = NewFile::create(&dir.join("key.new"), MODE).or_else(|e| {
                // Left by a crash in the middle of the next few lines.
                if e.errno == errno::EEXIST {
                    atomic::unlink(&dir.join("key.new"))?;
                    return NewFile::create(&dir.join("key.new"), MODE);
                }
                Err(e)
            })?;
            file.write_all(key.expose())?;
            file.publish_new(&path)?;
            atomic::sync_dir(dir)?;
            Ok(Some(key))
        }
        Err(e) if e.is_missing() => Ok(None),
        Err(e) => Err(SpoolError::Sys(e)),
    }
}

fn read_small(path: &Path) -> Result<Vec<u8>, SysError> {
    let file = File::open(path).map_err(|e| SysError::of("open", &e).at(path))?;
    let mut bytes = Vec::new();
    file.take(4096).read_to_end(&mut bytes).map_err(|e| SysError::of("read", &e).at(path))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests;
