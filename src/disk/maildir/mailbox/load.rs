//! Opening a mailbox: the uidlist says which messages there are, the index what is known of
//! them, and a scan finds the rest.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::{Mailbox, Message, LAST_UID};
use crate::base::clock::Since;
use crate::disk::index::codec::Attrs;
use crate::disk::index::{ranges, Index, Loaded};
use crate::disk::keywords::Keywords;
use crate::disk::maildir::error::Result;
use crate::disk::maildir::file::LETTER_MASK;
use crate::disk::maildir::name::Name;
use crate::disk::maildir::tree::new_guid;
use crate::disk::maildir::{nanos, now_nanos, read_small, Root, TMP_AGE};
use crate::disk::meta::Meta;
use crate::disk::uidlist::codec::Record;
use crate::disk::uidlist::{self, UidList};
use crate::proto::limits;

/// The keyword file's name in a mailbox's directory.
pub(super) const KEYWORDS: &str = "dovecot-keywords";

impl Mailbox {
    /// Opens a mailbox and brings the model in step with its files.
    ///
    /// [`Error::NoMailbox`] if there is none.  Reads the uidlist and the index;
    /// the directories only if they changed since.  Blocks on the disk.
    pub fn open(root: Arc<Root>, name: &Name) -> Result<Mailbox> {
        let dir = root.dir_of(name)?;
        root.make_parts(&dir)?;
        remove_old_drafts(&dir);
        let meta = Meta::load(&dir)?;
        let (list, records, fresh) = load_list(&root, &dir)?;
        let guid = guid_bytes(&list.header.guid.unwrap_or([b'0'; 32]));
        let found = Index::load(&dir, list.header.uidvalidity, &guid)?;
        let have_index = found.is_some();
        let (index, loaded) = match found {
            Some((index, loaded)) => (Some(index), loaded),
            None => (None, without_index(&meta, fresh)),
        };
        let mut mailbox = Mailbox {
            root,
            name: name.clone(),
            dir,
            messages: Vec::new(),
            odd: HashMap::new(),
            ext: HashMap::new(),
            pending: HashMap::new(),
            dead: HashSet::new(),
            by_base: None,
            hasher: RandomState::new(),
            keywords: Keywords::default(),
            keywords_seen: None,
            next_uid: list.next_uid().max(loaded.next_uid),
            list,
            generation: index.as_ref().map_or(0, Index::next_generation),
            index,
            modseq: loaded.modseq.max(meta.modseq),
            floor: loaded.floor,
            meta,
            expunged: loaded.expunged,
            stamp: loaded.stamp,
            last_scan: Since::now(),
            scan_cost: Duration::ZERO,
            void: false,
        };
        mailbox.read_keywords()?;
        let lost =
            mailbox.join(records, &loaded.attrs, if have_index { loaded.next_uid } else { 0 });
        if !lost.is_empty() {
            let modseq = mailbox.issue()?;
            let gone = ranges(lost);
            mailbox.note_expunged(modseq, &gone);
        }
        let must_scan = !have_index || !mailbox.pending.is_empty();
        if must_scan {
            mailbox.stamp = Default::default();
        } else {
            // A large mailbox is not scanned for a doubt alone; see `sync`.
            mailbox.scan_cost = estimate(mailbox.messages.len());
        }
        let changes = mailbox.sync()?;
        if mailbox.index.is_none() && (changes.is_empty() || !have_index) {
            mailbox.journal(&[]);
        }
        Ok(mailbox)
    }

    /// Brings records and index together by UID; gives the UIDs that only the index has.
    ///
    /// A record below `known` that the index does not have was expunged: the
    /// line is only waiting for the file's next rewrite, and a file that has
    /// its name again is a new message.
    fn join(&mut self, records: Vec<Record>, attrs: &[Attrs], known: u32) -> Vec<u32> {
        let mut lost = Vec::new();
        let mut attrs = attrs.iter().peekable();
        self.messages.reserve(attrs.len());
        for record in records {
            while let Some(a) = attrs.next_if(|a| a.uid < record.uid) {
                lost.push(a.uid);
            }
            if let Some(a) = attrs.next_if(|a| a.uid == record.uid) {
                if !record.ext.is_empty() {
                    self.ext.insert(record.uid, record.ext);
                }
                let mut attrs = *a;
                // The index may be behind `rmail.meta`, which was synced first.
                let extra = self.extra_keywords(attrs.uid);
                attrs.keywords = attrs.keywords & LETTER_MASK | extra;
                self.messages.push(Message { attrs, base: record.base });
            } else if record.uid >= known {
                if !record.ext.is_empty() {
                    self.ext.insert(record.uid, record.ext);
                }
                // Of two lines with one name the later counts.
                self.pending.insert(record.base, record.uid);
            } else {
                self.dead.insert(self.hasher.hash_one(&*record.base));
            }
        }
        lost.extend(attrs.map(|a| a.uid));
        lost
    }

    /// Reads the keywords if their file is another than before; true if they changed.
    pub(super) fn read_keywords(&mut self) -> Result<bool> {
        let path = self.dir.join(KEYWORDS);
        let seen = fs::symlink_metadata(&path)
            .ok()
            .map(|m| (m.ino(), m.size(), nanos(m.mtime(), m.mtime_nsec())));
        if seen == self.keywords_seen && seen.is_some() {
            return Ok(false);
        }
        let mut keywords = Keywords::parse(&read_small(&path, limits::KEYWORDS_FILE.default)?);
        for (n, name) in &self.meta.keywords {
            keywords.set(*n, name);
        }
        self.keywords_seen = seen;
        let changed = keywords != self.keywords;
        self.keywords = keywords;
        Ok(changed)
    }

    /// The bits of keywords without a letter that `rmail.meta` gives a message.
    pub(super) fn extra_keywords(&self, uid: u32) -> u64 {
        let mut bits = 0u64;
        for (n, set) in &self.meta.sets {
            let at = set.partition_point(|r| r.last < uid);
            if set.get(at).is_some_and(|r| r.first <= uid) {
                bits |= 1u64.checked_shl(*n).unwrap_or(0);
            }
        }
        bits
    }
}

/// Reads the uidlist, or makes one.  True: the mailbox is new and empty of history.
fn load_list(root: &Root, dir: &Path) -> Result<(UidList, Vec<Record>, bool)> {
    let mode = root.file_mode();
    if let Some((list, records)) = UidList::load(dir, mode)? {
        if list.header.guid.is_some() && list.header.current && has_uids(&list) {
            return Ok((list, records, false));
        }
    }
    let _lock = uidlist::lock(dir, root.owner(), mode)?;
    let usable = UidList::load(dir, mode)?.filter(|(list, _)| has_uids(list));
    let Some((mut list, records)) = usable else {
        // A list that is there but cannot be read at all, or that has no UID
        // left (damage more likely than mail): the UIDs are lost, so UIDVALIDITY
        // must change too.  RFC 9051 2.3.1.1.
        return Ok((root.new_list(dir)?, Vec::new(), true));
    };
    if list.header.guid.is_none() {
        list.header.guid = Some(new_guid());
    }
    let next = list.next_uid();
    list.rewrite(next, records.iter().map(|r| (r.uid, &*r.ext, &*r.base)))?;
    Ok((list, records, false))
}

/// True if there is a UID left for another message.
fn has_uids(list: &UidList) -> bool {
    list.next_uid() < LAST_UID
}

/// What is known without an index.
///
/// MODSEQ begins above everything that can have been given out: rmail's mark,
/// and the present in milliseconds, which is above all that Dovecot counts.
fn without_index(meta: &Meta, fresh: bool) -> Loaded {
    let modseq = if fresh && meta.modseq == 0 {
        1
    } else {
        meta.modseq.max(now_nanos().checked_div(1_000_000).unwrap_or(0))
    };
    Loaded { modseq, floor: modseq, ..Loaded::default() }
}

/// Removes from `tmp/` what nobody is writing any more.
fn remove_old_drafts(dir: &Path) {
    let Ok(entries) = fs::read_dir(dir.join("tmp")) else { return };
    let oldest = now_nanos().saturating_sub(u64::try_from(TMP_AGE.as_nanos()).unwrap_or(u64::MAX));
    for entry in entries.flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        if meta.is_file() && nanos(meta.ctime(), meta.ctime_nsec()) < oldest {
            // Clutter; the next open tries again.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// What a scan will cost before one has been measured; nothing worth a delay for most mailboxes.
fn estimate(messages: usize) -> Duration {
    match u64::try_from(messages) {
        Ok(n) if n > 20_000 => Duration::from_micros(n.saturating_mul(2)),
        _ => Duration::ZERO,
    }
}

/// A GUID's 32 digits as 16 bytes.
pub(super) fn guid_bytes(digits: &[u8; 32]) -> [u8; 16] {
    let value = std::str::from_utf8(digits).ok().and_then(|t| u128::from_str_radix(t, 16).ok());
    value.unwrap_or(0).to_be_bytes()
}
