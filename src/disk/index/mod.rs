//! `rmail.index`: what is known of a mailbox's messages without opening them.
//!
//! Runs in store.  A snapshot followed by a journal, read once when a mailbox
//! is opened and then only written.  It is a cache: removing it costs a scan
//! and sets every MODSEQ to one that is higher than all before.  Not synced
//! but at compaction; see [`codec`] for how damage is found.  pread and pwrite
//! only: OpenBSD's mmap does not see what write(2) wrote.

pub mod codec;

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::disk::atomic;
use crate::disk::crc32c::crc32c;
use crate::disk::maildir::error::{At, Error, Result};
use crate::proto::cursor::Cursor;
use crate::proto::limits;
use codec::{Attrs, Entry, Header, Range, Refused, Stamp, HEADER_LEN, RECORD_LEN};

/// The file's name in a mailbox's directory.
pub const NAME: &str = "rmail.index";

/// How many expunges are kept for `VANISHED`.  RFC 7162 3.2.
const EXPUNGES_KEPT: usize = 100_000;

/// The journal may always grow to this many octets before it is compacted.
const JOURNAL_MIN: u64 = 1 << 20;

/// Messages that went, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expunged {
    /// The MODSEQ of the expunge.
    pub modseq: u64,
    /// The UIDs.
    pub range: Range,
}

/// Everything in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The messages, by UID.
    pub attrs: Vec<Attrs>,
    /// The highest MODSEQ.
    pub modseq: u64,
    /// Expunges with a higher MODSEQ than this are all in `expunged`.
    pub floor: u64,
    /// One above the highest UID ever seen.
    pub next_uid: u32,
    /// The expunges, oldest first.
    pub expunged: Vec<Expunged>,
    /// What the directories looked like.
    pub stamp: Stamp,
}

impl Loaded {
    /// Adds expunges, forgetting the oldest when there are too many.
    pub fn note_expunged(&mut self, modseq: u64, ranges: &[Range]) {
        note_expunged(&mut self.expunged, &mut self.floor, modseq, ranges);
    }
}

/// Adds expunges to `all`, forgetting the oldest when there are too many: `floor` is
/// then the last MODSEQ of which not all are there.
pub fn note_expunged(all: &mut Vec<Expunged>, floor: &mut u64, modseq: u64, ranges: &[Range]) {
    all.extend(ranges.iter().map(|range| Expunged { modseq, range: *range }));
    // Cut in large steps: moving the vector costs its length.
    if all.len() > EXPUNGES_KEPT.saturating_mul(2) {
        let cut = all.len().saturating_sub(EXPUNGES_KEPT);
        let last = all.drain(..cut).next_back();
        *floor = last.map_or(*floor, |e| e.modseq.max(*floor));
    }
}

/// The file, open for appending.
#[derive(Debug)]
pub struct Index {
    path: PathBuf,
    file: File,
    seed: u32,
    generation: u32,
    begin: u64,
    end: u64,
}

impl Index {
    /// Reads a mailbox's index.  `None`: there is none, or it is of another
    /// UIDVALIDITY or GUID, or damaged; the caller makes a new one.
    ///
    /// A file that a later release wrote is [`Error::Newer`].
    pub fn load(dir: &Path, uidvalidity: u32, guid: &[u8; 16]) -> Result<Option<(Index, Loaded)>> {
        let path = dir.join(NAME);
        let mut file = match OpenOptions::new().read(true).write(true).open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(e).at("open", &path),
        };
        let mut bytes = Vec::new();
        Read::by_ref(&mut file)
            .take(limits::INDEX_FILE.default)
            .read_to_end(&mut bytes)
            .at("read", &path)?;
        let (header, sum, seed) = match codec::read_header(&bytes) {
            Ok(found) => found,
            Err(Refused::Version(v)) => return Err(Error::Newer(path, u32::from(v))),
            Err(Refused::Damaged) => return Ok(None),
        };
        if header.uidvalidity != uidvalidity || header.guid != *guid {
            return Ok(None);
        }
        let Some((loaded, begin, end)) = replay(&bytes, &header, sum, seed) else {
            return Ok(None);
        };
        let index = Index { path, file, seed, generation: header.generation, begin, end };
        Ok(Some((index, loaded)))
    }

    /// Writes a new file from `all`, synced, and takes the old one's place.
    pub fn create(
        dir: &Path,
        mode: u32,
        uidvalidity: u32,
        guid: [u8; 16],
        generation: u32,
        all: &Loaded,
    ) -> Result<Index> {
        let mut records = Vec::with_capacity(all.attrs.len().saturating_mul(RECORD_LEN));
        for a in &all.attrs {
            codec::write_attrs(a, &mut records);
        }
        let count = u32::try_from(all.attrs.len()).map_err(|_| Error::Limit("messages"))?;
        let header = Header {
            uidvalidity,
            guid,
            generation,
            modseq: all.modseq,
            floor: all.floor,
            count,
            next_uid: all.next_uid,
        };
        let mut bytes = codec::write_header(&header, crc32c(&records));
        let seed = crc32c(bytes.get(..HEADER_LEN.saturating_sub(4)).unwrap_or_default());
        bytes.append(&mut records);
        let begin = len_of(&bytes);
        let old = all.expunged.len().saturating_sub(EXPUNGES_KEPT);
        for run in all.expunged.get(old..).unwrap_or_default().chunk_by(|a, b| a.modseq == b.modseq)
        {
            let modseq = run.first().map_or(0, |e| e.modseq);
            let entry = Entry::Expunge(run.iter().map(|e| e.range).collect());
            let at = len_of(&bytes);
            codec::write_entry(&entry, modseq, seed, at, &mut bytes);
        }
        let at = len_of(&bytes);
        codec::write_entry(&Entry::Stamp(all.stamp), all.modseq, seed, at, &mut bytes);
        let path = dir.join(NAME);
        atomic::replace(&path, &dir.join("rmail.index.new"), &bytes, mode)?;
        let file = OpenOptions::new().read(true).write(true).open(&path).at("open", &path)?;
        Ok(Index { path, file, seed, generation, begin, end: len_of(&bytes) })
    }

    /// Appends entries with their MODSEQ in one write.  Not synced.
    ///
    /// After an error the file is as before, and so is behind the mailbox: the
    /// next reader finds the directories changed and scans.
    pub fn append(&mut self, entries: &[(u64, Entry)]) -> Result<()> {
        let mut bytes = Vec::new();
        for (modseq, entry) in entries {
            let at = self.end.saturating_add(len_of(&bytes));
            codec::write_entry(entry, *modseq, self.seed, at, &mut bytes);
        }
        self.file.write_all_at(&bytes, self.end).at("write", &self.path)?;
        self.end = self.end.saturating_add(len_of(&bytes));
        Ok(())
    }

    /// True when the journal has grown so long that a new snapshot pays.
    pub fn is_long(&self) -> bool {
        let journal = self.end.saturating_sub(self.begin);
        journal > JOURNAL_MIN.max(self.begin.checked_div(2).unwrap_or(0))
    }

    /// The number for the next file.
    pub fn next_generation(&self) -> u32 {
        self.generation.wrapping_add(1)
    }
}

fn len_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

/// Reads the snapshot and goes through the journal up to the first damage.
fn replay(bytes: &[u8], header: &Header, sum: u32, seed: u32) -> Option<(Loaded, u64, u64)> {
    let count = usize::try_from(header.count).ok()?;
    let mut c = Cursor::new(bytes);
    c.take(HEADER_LEN)?;
    let snapshot = c.take(count.checked_mul(RECORD_LEN)?)?;
    if crc32c(snapshot) != sum {
        return None;
    }
    let begin = c.pos();
    let mut all = Replay { messages: Vec::with_capacity(count), sorted: true };
    let mut records = Cursor::new(snapshot);
    while let Some(a) = codec::read_attrs(&mut records) {
        all.add(a);
    }
    let mut loaded = Loaded {
        modseq: header.modseq,
        floor: header.floor,
        next_uid: header.next_uid,
        ..Loaded::default()
    };
    let mut end = begin;
    while let Some((modseq, entry)) =
        codec::read_entry(&mut c, seed, u64::try_from(end).unwrap_or(u64::MAX))
    {
        end = c.pos();
        loaded.modseq = loaded.modseq.max(modseq);
        match entry {
            Entry::Add(new) => {
                for a in new {
                    loaded.next_uid = loaded.next_uid.max(a.uid.saturating_add(1));
                    all.add(a);
                }
            }
            Entry::Flags(changes) => {
                for (range, flags, in_new, keywords) in changes {
                    for (a, _) in all.range(range) {
                        (a.flags, a.in_new, a.keywords, a.modseq) =
                            (flags, in_new, keywords, modseq);
                    }
                }
            }
            Entry::Expunge(ranges) => {
                for range in &ranges {
                    for (_, alive) in all.range(*range) {
                        *alive = false;
                    }
                }
                loaded.note_expunged(modseq, &ranges);
            }
            Entry::Stamp(stamp) => loaded.stamp = stamp,
            Entry::Facts(facts) => {
                for f in facts {
                    for (a, _) in all.range(Range { first: f.uid, last: f.uid }) {
                        (a.size, a.vsize, a.internal, a.saved, a.in_new) =
                            (f.size, f.vsize, f.internal, f.saved, f.in_new);
                    }
                }
            }
        }
    }
    all.sort();
    loaded.attrs = all.messages.into_iter().filter(|(_, alive)| *alive).map(|(a, _)| a).collect();
    Some((loaded, u64::try_from(begin).ok()?, u64::try_from(end).ok()?))
}

/// The messages while the journal is read: expunged ones stay until the end, since taking each
/// out of the middle would cost the square of their number.
struct Replay {
    messages: Vec<(Attrs, bool)>,
    sorted: bool,
}

impl Replay {
    fn add(&mut self, a: Attrs) {
        if self.messages.last().is_some_and(|(last, _)| last.uid >= a.uid) {
            self.sorted = false;
        }
        self.messages.push((a, true));
    }

    fn sort(&mut self) {
        if !self.sorted {
            // Stable, so that of two records of one UID the later is the last.
            self.messages.sort_by_key(|(a, _)| a.uid);
            self.messages.reverse();
            self.messages.dedup_by_key(|(a, _)| a.uid);
            self.messages.reverse();
            self.sorted = true;
        }
    }

    fn range(&mut self, range: Range) -> &mut [(Attrs, bool)] {
        self.sort();
        let from = self.messages.partition_point(|(a, _)| a.uid < range.first);
        let to = self.messages.partition_point(|(a, _)| a.uid <= range.last);
        self.messages.get_mut(from..to).unwrap_or_default()
    }
}

/// Ascending UIDs as ranges.
pub fn ranges(uids: impl IntoIterator<Item = u32>) -> Vec<Range> {
    let mut all: Vec<Range> = Vec::new();
    for uid in uids {
        match all.last_mut() {
            Some(last) if last.last.checked_add(1) == Some(uid) => last.last = uid,
            _ => all.push(Range { first: uid, last: uid }),
        }
    }
    all
}

/// Fuzz target: an index file as it stands, and one whose sums hold: the number
/// of records, the records, then entries (a kind, a length, a payload).
pub fn fuzz_index(bytes: &[u8]) {
    ascending(bytes);
    let Some((count, rest)) = bytes.split_first() else { return };
    let count = count % 8;
    let records = RECORD_LEN.saturating_mul(usize::from(count));
    let Some((snapshot, mut journal)) = rest.split_at_checked(records) else { return };
    let count = u32::from(count);
    let header = Header {
        uidvalidity: 1,
        guid: [7; 16],
        generation: 1,
        modseq: 9,
        floor: 1,
        count,
        next_uid: 9,
    };
    let mut file = codec::write_header(&header, crc32c(snapshot));
    let Ok((_, _, seed)) = codec::read_header(&file) else { return };
    file.extend_from_slice(snapshot);
    while let [kind, len, tail @ ..] = journal {
        let (payload, tail) = tail.split_at_checked(usize::from(*len)).unwrap_or((tail, &[]));
        let at = u64::try_from(file.len()).unwrap_or(0);
        codec::frame(*kind, u64::from(*kind), payload, seed, at, &mut file);
        journal = tail;
    }
    ascending(&file);
}

/// Whatever a file gives is ascending: all of the mailbox relies on that.
fn ascending(file: &[u8]) {
    if let Ok((header, sum, seed)) = codec::read_header(file) {
        if let Some((loaded, _, _)) = replay(file, &header, sum, seed) {
            assert!(loaded.attrs.is_sorted_by(|a, b| a.uid < b.uid));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::index::codec::UNKNOWN;
    use crate::disk::maildir::file::Flags;
    use crate::disk::testdir::TestDir;

    const GUID: [u8; 16] = [9; 16];

    fn attrs(uid: u32) -> Attrs {
        Attrs {
            uid,
            flags: Flags::NONE,
            in_new: false,
            keywords: 0,
            modseq: 5,
            size: 1,
            vsize: UNKNOWN,
            internal: 2,
            saved: 3,
        }
    }

    fn sample() -> Loaded {
        Loaded {
            attrs: (1..=10).map(attrs).collect(),
            modseq: 5,
            floor: 2,
            next_uid: 20,
            expunged: vec![Expunged { modseq: 4, range: Range { first: 11, last: 19 } }],
            stamp: Stamp { cur: 1, new: 2, provisional: false },
        }
    }

    fn load(dir: &TestDir) -> Loaded {
        Index::load(dir.path(), 7, &GUID).unwrap().unwrap().1
    }

    #[test]
    fn what_was_written_and_appended_is_read() {
        let dir = TestDir::new();
        let mut index = Index::create(dir.path(), 0o600, 7, GUID, 1, &sample()).unwrap();
        assert_eq!(load(&dir), sample());
        let range = Range { first: 2, last: 4 };
        index
            .append(&[
                (6, Entry::Flags(vec![(range, Flags::SEEN, false, 3)])),
                (7, Entry::Expunge(vec![Range { first: 3, last: 3 }])),
                (8, Entry::Add(vec![Attrs { modseq: 8, ..attrs(20) }])),
                (8, Entry::Facts(vec![Attrs { vsize: 99, ..attrs(1) }])),
                (8, Entry::Stamp(Stamp { cur: 3, new: 4, provisional: true })),
            ])
            .unwrap();
        let now = load(&dir);
        let uids: Vec<u32> = now.attrs.iter().map(|a| a.uid).collect();
        assert_eq!(uids, [1, 2, 4, 5, 6, 7, 8, 9, 10, 20]);
        assert_eq!(
            (now.attrs[1].flags, now.attrs[1].keywords, now.attrs[1].modseq),
            (Flags::SEEN, 3, 6)
        );
        assert_eq!((now.attrs[0].vsize, now.attrs[0].modseq), (99, 5));
        assert_eq!((now.modseq, now.next_uid, now.stamp.cur), (8, 21, 3));
        assert_eq!(now.expunged.len(), 2);
    }

    #[test]
    fn a_torn_end_is_cut_and_written_over() {
        let dir = TestDir::new();
        let mut index = Index::create(dir.path(), 0o600, 7, GUID, 1, &sample()).unwrap();
        index.append(&[(6, Entry::Expunge(vec![Range { first: 1, last: 1 }]))]).unwrap();
        let path = dir.path().join(NAME);
        let mut bytes = std::fs::read(&path).unwrap();
        let good = bytes.clone();
        for byte in bytes.iter_mut().rev().take(4) {
            *byte = 0;
        }
        bytes.extend_from_slice(&[0; 500]);
        std::fs::write(&path, &bytes).unwrap();
        let (mut index, loaded) = Index::load(dir.path(), 7, &GUID).unwrap().unwrap();
        assert_eq!(loaded, sample());
        index.append(&[(6, Entry::Expunge(vec![Range { first: 1, last: 1 }]))]).unwrap();
        assert!(std::fs::read(&path).unwrap().starts_with(&good));
        assert_eq!(load(&dir).attrs.len(), 9);
    }

    #[test]
    fn another_mailbox_a_damaged_snapshot_and_a_later_version() {
        let dir = TestDir::new();
        Index::create(dir.path(), 0o600, 7, GUID, 1, &sample()).unwrap();
        assert!(Index::load(dir.path(), 8, &GUID).unwrap().is_none());
        assert!(Index::load(dir.path(), 7, &[8; 16]).unwrap().is_none());
        let path = dir.path().join(NAME);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        bad[HEADER_LEN + 3] ^= 1;
        std::fs::write(&path, &bad).unwrap();
        assert!(Index::load(dir.path(), 7, &GUID).unwrap().is_none());
        let mut later = good;
        later[4] = 9;
        std::fs::write(&path, &later).unwrap();
        assert_eq!(Index::load(dir.path(), 7, &GUID).err(), Some(Error::Newer(path, 9)));
    }

    #[test]
    fn uids_become_ranges() {
        let r = |first, last| Range { first, last };
        assert_eq!(ranges([1, 2, 3, 5, 9, 10]), [r(1, 3), r(5, 5), r(9, 10)]);
    }
}
