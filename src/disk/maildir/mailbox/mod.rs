//! One open mailbox: the model of its messages, kept in step with the files.
//!
//! Runs in store.  The model is shared by all sessions of the account under
//! one lock (the store's, not here): every method that changes something takes
//! `&mut self`, so scans and renames of the directory never overlap.
//! - `load`: opening, from uidlist and index;
//! - `scan`: finding what other programs did;
//! - `change`: flags and expunges;
//! - `save`: messages that come in.
//!
//! *Durability.* A UID is synced before anybody hears of it.  Flags are file
//! names; the index only remembers them.  A MODSEQ is given out only below a
//! mark that is synced, so a power cut never makes HIGHESTMODSEQ go back.

mod change;
#[cfg(test)]
mod hostile;
mod load;
mod save;
mod scan;
#[cfg(test)]
mod tests;
mod uids;

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use change::{FlagOp, Stored};
pub use save::Incoming;
pub use scan::Changes;

use super::draft::part;
use super::error::{At, Error, Result};
use super::file::{self, LETTER_MASK};
use super::message::MessageFile;
use super::name::Name;
use super::Root;
use crate::base::clock::Since;
use crate::disk::index::codec::{Attrs, Entry, Range, Stamp, UNKNOWN};
use crate::disk::index::{Expunged, Index, Loaded};
use crate::disk::keywords::Keywords;
use crate::disk::meta::Meta;
use crate::disk::uidlist::UidList;

/// A message: what the index keeps, and the base of its file name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// UID, flags, keywords, MODSEQ, sizes and dates.
    pub attrs: Attrs,
    /// The file name without the info part.
    pub base: Box<[u8]>,
}

/// An open mailbox.  Owner only: one thread at a time.
#[derive(Debug)]
pub struct Mailbox {
    root: Arc<Root>,
    name: Name,
    dir: PathBuf,
    /// By UID, ascending.
    messages: Vec<Message>,
    /// Info parts that are not what the flags alone would give: unknown letters, foreign tails.
    odd: HashMap<u32, Box<[u8]>>,
    /// Extension fields of uidlist records.
    ext: HashMap<u32, Box<[u8]>>,
    /// Records of the uidlist whose file has not been looked for yet.
    pending: HashMap<Box<[u8]>, u32>,
    /// Hashes of the bases of uidlist lines whose message is gone: a new line with such a name
    /// would be a duplicate.
    dead: HashSet<u64>,
    /// UIDs by the hash of the base, made when a scan or a copy first needs it.
    by_base: Option<HashMap<u64, u32>>,
    hasher: RandomState,
    keywords: Keywords,
    keywords_seen: Option<(u64, u64, u64)>,
    list: UidList,
    next_uid: u32,
    index: Option<Index>,
    generation: u32,
    meta: Meta,
    modseq: u64,
    floor: u64,
    expunged: Vec<Expunged>,
    stamp: Stamp,
    last_scan: Since,
    scan_cost: Duration,
    /// Its directory or its uidlist is gone, or is another's.
    void: bool,
}

impl Mailbox {
    /// The mailbox's name when it was opened.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// UIDVALIDITY, never 0.
    pub fn uidvalidity(&self) -> u32 {
        self.list.header.uidvalidity
    }

    /// UIDNEXT: no message will have a lower UID than this that has none yet.
    pub fn uidnext(&self) -> u32 {
        self.next_uid
    }

    /// The mailbox's GUID, 32 hexadecimal digits: MAILBOXID.  RFC 8474 4.
    pub fn guid(&self) -> [u8; 32] {
        self.list.header.guid.unwrap_or([b'0'; 32])
    }

    /// HIGHESTMODSEQ.  RFC 7162 3.1.2.1.
    pub fn highest_modseq(&self) -> u64 {
        self.modseq
    }

    /// The messages by UID, ascending.
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The message with this UID.
    pub fn get(&self, uid: u32) -> Option<&Message> {
        self.messages.get(self.find(uid)?)
    }

    /// The keywords that the mailbox knows.
    pub fn keywords(&self) -> &Keywords {
        &self.keywords
    }

    /// The UIDs that were expunged after `modseq`, oldest first, or `None` when not all of them
    /// are known any more.  RFC 7162 3.2.10.
    pub fn expunged_since(&self, modseq: u64) -> Option<Vec<Range>> {
        if modseq < self.floor {
            return None;
        }
        let from = self.expunged.partition_point(|e| e.modseq <= modseq);
        Some(self.expunged.get(from..).unwrap_or_default().iter().map(|e| e.range).collect())
    }

    /// What identifies a message across mailboxes and copies: the `G` field of its uidlist
    /// record, else its base name.  EMAILID is made of it.  RFC 8474 5.1.
    pub fn message_guid(&self, uid: u32) -> Option<&[u8]> {
        let message = self.get(uid)?;
        let ext = self.ext.get(&uid).map(|e| &**e).unwrap_or_default();
        let field = ext.split(|b| *b == b' ').find_map(|f| f.strip_prefix(b"G"));
        Some(field.unwrap_or(&message.base))
    }

    /// Opens a message for reading.
    ///
    /// A file that another program renamed is looked for once more after a
    /// scan.  [`Error::Gone`]: the message is not there any more.
    pub fn open_message(&mut self, uid: u32) -> Result<MessageFile> {
        for again in [false, true] {
            let Some(message) = self.get(uid) else { return Err(Error::Gone) };
            match MessageFile::open(&self.path_of(message), self.root.uid()) {
                Err(e) if e.is_missing() && !again => {
                    // What the scan found is announced by the next sync, which
                    // compares sessions with the model and not with this.
                    self.rescan()?;
                }
                Err(e) if e.is_missing() => return Err(Error::Gone),
                other => return other,
            }
        }
        Err(Error::Gone)
    }

    /// Octets with CRLF line ends: RFC822.SIZE.
    ///
    /// Known from the name or the index; otherwise the file is read once and
    /// the number kept.
    pub fn size_of(&mut self, uid: u32) -> Result<u64> {
        let Some(message) = self.get(uid) else { return Err(Error::Gone) };
        if message.attrs.vsize != UNKNOWN {
            return Ok(u64::from(message.attrs.vsize));
        }
        let path = self.path_of(message);
        let octets = self.open_message(uid)?.count().at("read", &path)?;
        if let (Some(at), Ok(vsize)) = (self.find(uid), u32::try_from(octets)) {
            if let Some(message) = self.messages.get_mut(at) {
                message.attrs.vsize = vsize;
                let facts = message.attrs;
                self.journal(&[(self.modseq, Entry::Facts(vec![facts]))]);
            }
        }
        Ok(octets)
    }

    /// INTERNALDATE in seconds since 1970.
    pub fn internal_date(&self, uid: u32) -> Option<i64> {
        let message = self.get(uid)?;
        match message.attrs.internal {
            UNKNOWN => i64::try_from(file::leading_secs(&message.base).unwrap_or(0)).ok(),
            secs => Some(i64::from(secs)),
        }
    }

    /// The place of a UID in `messages`.
    fn find(&self, uid: u32) -> Option<usize> {
        self.messages.binary_search_by_key(&uid, |m| m.attrs.uid).ok()
    }

    /// The info part of a message's file name as it is now.
    fn info_of(&self, message: &Message) -> Vec<u8> {
        match self.odd.get(&message.attrs.uid) {
            Some(info) => info.to_vec(),
            None if message.attrs.in_new => Vec::new(),
            None => file::set_info(b"", message.attrs.flags, message.attrs.keywords & LETTER_MASK),
        }
    }

    /// The path of a message's file as it is now.
    fn path_of(&self, message: &Message) -> PathBuf {
        let mut name = message.base.to_vec();
        name.extend_from_slice(&self.info_of(message));
        part(&self.dir, if message.attrs.in_new { "new" } else { "cur" }, &name)
    }

    /// Remembers an info part if it is not what the flags alone would give.
    fn note_info(&mut self, uid: u32, info: &[u8], in_new: bool) {
        let (flags, letters) = file::parse_info(info);
        let plain =
            if in_new { info.is_empty() } else { file::set_info(b"", flags, letters) == info };
        if plain {
            self.odd.remove(&uid);
        } else {
            self.odd.insert(uid, info.into());
        }
    }

    /// The place of a base name, if a message has it.
    fn find_base(&mut self, base: &[u8]) -> Option<usize> {
        if self.by_base.is_none() {
            let mut map = HashMap::with_capacity(self.messages.len());
            for m in &self.messages {
                map.insert(self.hasher.hash_one(&*m.base), m.attrs.uid);
            }
            self.by_base = Some(map);
        }
        let hash = self.hasher.hash_one(base);
        let uid = *self.by_base.as_ref()?.get(&hash)?;
        let at = self.find(uid)?;
        if self.messages.get(at).is_some_and(|m| *m.base == *base) {
            return Some(at);
        }
        // Two names with one hash: the map holds the later one.
        self.messages.iter().position(|m| *m.base == *base)
    }

    /// Puts messages with new UIDs into the model and the journal.
    fn insert(&mut self, new: Vec<Message>) {
        for m in &new {
            self.next_uid = self.next_uid.max(m.attrs.uid.saturating_add(1));
            if let Some(map) = &mut self.by_base {
                map.insert(self.hasher.hash_one(&*m.base), m.attrs.uid);
            }
        }
        let sorted = match (self.messages.last(), new.first()) {
            (Some(last), Some(first)) => last.attrs.uid < first.attrs.uid,
            _ => true,
        };
        self.messages.extend(new);
        if !sorted {
            self.messages.sort_by_key(|m| m.attrs.uid);
        }
    }

    /// Takes messages out of the model; `uids` is ascending.  The journal is the caller's.
    fn remove(&mut self, uids: &[u32]) {
        if uids.is_empty() {
            return;
        }
        for uid in uids {
            self.odd.remove(uid);
            self.ext.remove(uid);
        }
        let hasher = &self.hasher;
        let (by_base, dead) = (&mut self.by_base, &mut self.dead);
        self.messages.retain(|m| {
            let gone = uids.binary_search(&m.attrs.uid).is_ok();
            if gone {
                let hash = hasher.hash_one(&*m.base);
                dead.insert(hash);
                if let Some(map) = by_base.as_mut().filter(|m2| m2.get(&hash) == Some(&m.attrs.uid))
                {
                    map.remove(&hash);
                }
            }
            !gone
        });
    }

    /// The next MODSEQ, below the synced mark.
    fn issue(&mut self) -> Result<u64> {
        let next = self.modseq.saturating_add(1);
        if next > self.meta.modseq {
            let mut meta = self.meta.clone();
            meta.modseq = next.saturating_add(MODSEQ_BLOCK);
            meta.store(&self.dir, self.root.file_mode())?;
            self.meta = meta;
        }
        self.modseq = next;
        Ok(next)
    }

    /// The same for a change that takes no room.  On a full disk it goes on above
    /// the mark, for there above all must messages be marked and expunged; a crash
    /// before the mark has followed may give such a MODSEQ a second time.
    fn issue_though_full(&mut self) -> Result<u64> {
        match self.issue() {
            Err(e) if e.is_full() => {
                self.modseq = self.modseq.saturating_add(1);
                Ok(self.modseq)
            }
            other => other,
        }
    }

    /// Makes sure that a scan will not lack a MODSEQ on its way.
    fn reserve_modseqs(&mut self) -> Result<()> {
        let wanted = self.modseq.saturating_add(MODSEQ_RESERVE);
        if wanted > self.meta.modseq {
            let mut meta = self.meta.clone();
            meta.modseq = wanted.saturating_add(MODSEQ_BLOCK);
            meta.store(&self.dir, self.root.file_mode())?;
            self.meta = meta;
        }
        Ok(())
    }

    /// Appends to the index, and makes a new snapshot when the journal has grown long.
    ///
    /// The index is a cache: an error (a full disk) costs a scan later, so it
    /// is logged and the index given up until the next change.
    fn journal(&mut self, entries: &[(u64, Entry)]) {
        let written = match &mut self.index {
            Some(index) if !index.is_long() => index.append(entries),
            _ => self.write_index(),
        };
        if let Err(e) = written {
            self.index = None;
            crate::base::log::warn!(
                "store",
                event = "index-not-written",
                path = self.dir.as_path(),
                error = crate::base::log::Show(&e)
            );
        }
    }

    fn write_index(&mut self) -> Result<()> {
        // Records whose file has not been found yet must be looked for again
        // after a crash: the next reader takes those below for expunged.
        let next_uid = self.pending.values().copied().min().unwrap_or(self.next_uid);
        let all = Loaded {
            attrs: self.messages.iter().map(|m| m.attrs).collect(),
            modseq: self.modseq,
            floor: self.floor,
            next_uid,
            expunged: self.expunged.clone(),
            stamp: self.stamp,
        };
        self.generation = self.generation.wrapping_add(1);
        let (mode, validity) = (self.root.file_mode(), self.uidvalidity());
        self.index = None;
        let guid = load::guid_bytes(&self.guid());
        self.index = Some(Index::create(&self.dir, mode, validity, guid, self.generation, &all)?);
        Ok(())
    }

    /// The mailbox was renamed, by [`Root::rename`].
    pub fn set_name(&mut self, name: Name) -> Result<()> {
        self.dir = self.root.dir_of(&name)?;
        self.list.set_dir(&self.dir);
        self.name = name;
        // It is open, but its next snapshot would go to the old place.
        self.index = None;
        Ok(())
    }

    /// True once another program has taken the mailbox away or put another in its place: nothing
    /// that was told of it holds any more, and it must be opened anew.
    pub fn is_void(&self) -> bool {
        self.void
    }

    /// The mailbox's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// How many MODSEQs are given out before the synced mark must move.
const MODSEQ_BLOCK: u64 = 1000;

/// The UID that is given to nobody: UIDNEXT must be a number above all others.
const LAST_UID: u32 = u32::MAX - 1;

/// More MODSEQs than one scan issues.
const MODSEQ_RESERVE: u64 = 64;
