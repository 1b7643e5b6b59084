//! `dovecot-uidlist`: which UID belongs to which message file.
//!
//! Runs in store.  Readers take no lock; who assigns UIDs holds
//! `dovecot-uidlist.lock`, reads again, then appends whole lines or replaces
//! the file.  Existing bytes never change in place.  The appended lines are
//! synced before anybody hears of a UID; a directory sync follows a
//! replacement.  A line that makes no sense is passed over: its message is found
//! by the scan and gets a new UID.

pub mod codec;

use std::fs::{self, File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::disk::atomic;
use crate::disk::dotlock::{Dotlock, Owner, UIDLIST};
use crate::disk::maildir::error::{At, Error, Result};
use crate::proto::limits;
use codec::{Header, Record};

/// The file's name in a mailbox's directory.
pub const NAME: &str = "dovecot-uidlist";

/// The list as last read: everything but the records, which the mailbox keeps.
#[derive(Debug)]
pub struct UidList {
    path: PathBuf,
    mode: u32,
    /// The first line.
    pub header: Header,
    /// The file that was read, and how far.  It is held open: so long no other
    /// file, which might be taken for it, has its number.
    id: (u64, u64),
    held: Option<File>,
    read: u64,
    last: u32,
    highest: u32,
    /// Record lines in the file, also those whose message is gone.
    pub lines: usize,
    /// Lines that made no sense when the whole file was read.
    pub bad: usize,
}

/// What reading again found.
#[derive(Debug)]
pub enum News {
    /// Nothing.
    Same,
    /// Lines were appended.
    Appended(Vec<Record>),
    /// Another file: these are all records that there are now.
    Replaced(Vec<Record>),
}

/// Takes the lock under which UIDs are assigned and the keywords change.
///
/// Blocks up to 122 s while another program works on the mailbox.
pub fn lock(dir: &Path, owner: &Owner, mode: u32) -> Result<Dotlock> {
    Dotlock::plain(&dir.join(NAME), UIDLIST, owner, mode)
}

impl UidList {
    /// Reads a mailbox's list.  `None`: there is none, or none that can be used;
    /// `maildir::mailbox::load` makes another then, with a new UIDVALIDITY.
    pub fn load(dir: &Path, mode: u32) -> Result<Option<(UidList, Vec<Record>)>> {
        let path = dir.join(NAME);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).at("open", &path),
        };
        let meta = file.metadata().at("fstat", &path)?;
        if !meta.is_file() || meta.len() > limits::UIDLIST_FILE.default {
            return Err(Error::Suspect(path, "not a list of UIDs, or too large"));
        }
        let mut text = Vec::new();
        Read::by_ref(&mut file)
            .take(limits::UIDLIST_FILE.default)
            .read_to_end(&mut text)
            .at("read", &path)?;
        let Some(end) = memchr::memchr(b'\n', &text) else { return Ok(None) };
        let (first, rest) = text.split_at_checked(end).unwrap_or_default();
        let rest = rest.strip_prefix(b"\n").unwrap_or_default();
        let Some(header) = codec::parse_header(first) else { return Ok(None) };
        let lines = codec::parse_records(rest, header.current, 0);
        let read = end.saturating_add(1).saturating_add(lines.used);
        let list = UidList {
            path,
            mode,
            header,
            id: (meta.dev(), meta.ino()),
            held: Some(file),
            read: u64::try_from(read).unwrap_or(u64::MAX),
            last: lines.records.last().map_or(0, |r| r.uid),
            highest: lines.highest,
            lines: lines.records.len().saturating_add(lines.bad),
            bad: lines.bad,
        };
        Ok(Some((list, lines.records)))
    }

    /// Makes a list with no record, replacing what is there.  The caller holds the lock.
    pub fn create(dir: &Path, mode: u32, uidvalidity: u32, guid: [u8; 32]) -> Result<UidList> {
        let header =
            Header { uidvalidity, next_uid: 1, guid: Some(guid), other: Vec::new(), current: true };
        let mut list = UidList {
            path: dir.join(NAME),
            mode,
            header,
            id: (0, 0),
            held: None,
            read: 0,
            last: 0,
            highest: 0,
            lines: 0,
            bad: 0,
        };
        list.rewrite(1, std::iter::empty())?;
        Ok(list)
    }

    /// The mailbox's directory has another name now.
    pub fn set_dir(&mut self, dir: &Path) {
        self.path = dir.join(NAME);
    }

    /// The next UID that the list allows; the index may know a higher one.
    pub fn next_uid(&self) -> u32 {
        self.header.next_uid.max(self.highest.saturating_add(1))
    }

    /// Reads what others have changed since.
    ///
    /// [`Error::NoMailbox`]: the list was removed, or is that of another
    /// mailbox (its UIDVALIDITY differs): what was read before is void.
    pub fn refresh(&mut self) -> Result<News> {
        let meta = match fs::symlink_metadata(&self.path) {
            Ok(meta) => Some(meta),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
            Err(e) => return Err(e).at("stat", &self.path),
        };
        let same = meta.as_ref().is_some_and(|m| (m.dev(), m.ino()) == self.id);
        let len = meta.as_ref().map_or(0, MetadataExt::size);
        if same && len == self.read {
            return Ok(News::Same);
        }
        if same && len > self.read {
            return self.read_tail();
        }
        let dir = self.path.parent().unwrap_or(Path::new(".")).to_path_buf();
        let Some((list, records)) = UidList::load(&dir, self.mode)? else {
            return Err(Error::NoMailbox);
        };
        if list.header.uidvalidity != self.header.uidvalidity {
            return Err(Error::NoMailbox);
        }
        *self = list;
        Ok(News::Replaced(records))
    }

    fn read_tail(&mut self) -> Result<News> {
        let mut file = File::open(&self.path).at("open", &self.path)?;
        let meta = file.metadata().at("fstat", &self.path)?;
        if (meta.dev(), meta.ino()) != self.id {
            // Replaced between stat and open; the next look reads it whole.
            return Ok(News::Same);
        }
        let mut text = Vec::new();
        std::io::Seek::seek(&mut file, std::io::SeekFrom::Start(self.read))
            .at("lseek", &self.path)?;
        file.take(limits::UIDLIST_FILE.default).read_to_end(&mut text).at("read", &self.path)?;
        let lines = codec::parse_records(&text, self.header.current, self.last);
        self.note(&lines.records, lines.highest, lines.bad, lines.used);
        Ok(News::Appended(lines.records))
    }

    fn note(&mut self, records: &[Record], highest: u32, bad: usize, used: usize) {
        self.read = self.read.saturating_add(u64::try_from(used).unwrap_or(u64::MAX));
        self.last = records.last().map_or(self.last, |r| r.uid);
        self.highest = self.highest.max(highest);
        self.lines = self.lines.saturating_add(records.len()).saturating_add(bad);
    }

    /// True when lines cannot simply be appended: an old version, no GUID, or an unfinished line.
    pub fn must_rewrite(&self) -> Result<bool> {
        let len = fs::symlink_metadata(&self.path).map(|m| m.len()).at("stat", &self.path)?;
        Ok(!self.header.current || self.header.guid.is_none() || len != self.read)
    }

    /// True when more than a quarter of the lines are of messages that are gone.
    pub fn is_sparse(&self, live: usize) -> bool {
        self.lines >= 32 && live.saturating_mul(4) <= self.lines.saturating_mul(3)
    }

    /// Appends records and syncs them.  The caller holds the lock and has read again.
    ///
    /// The UIDs are ascending and above all in the file.  On an error nothing
    /// of them is in the file, or the next reader finds whole lines.
    pub fn append(&mut self, records: &[Record]) -> Result<()> {
        let mut text = Vec::new();
        for r in records {
            codec::write_record(r.uid, &r.ext, &r.base, &mut text);
        }
        let file = OpenOptions::new().write(true).open(&self.path).at("open", &self.path)?;
        let written = file
            .write_all_at(&text, self.read)
            .at("write", &self.path)
            .and_then(|()| Ok(atomic::sync_file(&file, &self.path)?));
        if let Err(e) = written {
            // A half line would make the next append start in its middle.
            file.set_len(self.read).at("ftruncate", &self.path)?;
            return Err(e);
        }
        self.note(records, records.last().map_or(0, |r| r.uid), 0, text.len());
        Ok(())
    }

    /// Replaces the file with the given records (ascending).  The caller holds the lock.
    pub fn rewrite<'a>(
        &mut self,
        next_uid: u32,
        records: impl Iterator<Item = (u32, &'a [u8], &'a [u8])>,
    ) -> Result<()> {
        self.header.next_uid = next_uid.max(self.next_uid());
        self.header.current = true;
        let mut text = Vec::new();
        codec::write_header(&self.header, &mut text);
        let (mut lines, mut last) = (0usize, 0);
        for (uid, ext, base) in records {
            codec::write_record(uid, ext, base, &mut text);
            lines = lines.saturating_add(1);
            last = uid;
        }
        let temporary = self.path.with_extension("tmp");
        atomic::replace(&self.path, &temporary, &text, self.mode)?;
        // The lock is held: it is ours.
        let file = File::open(&self.path).at("open", &self.path)?;
        let meta = file.metadata().at("fstat", &self.path)?;
        (self.id, self.held) = ((meta.dev(), meta.ino()), Some(file));
        self.read = u64::try_from(text.len()).unwrap_or(u64::MAX);
        (self.lines, self.bad, self.last) = (lines, 0, last);
        self.highest = self.highest.max(last);
        Ok(())
    }
}
