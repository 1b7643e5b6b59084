//! The bytes of `rmail.index`: header, snapshot records, journal records.
//!
//! Pure; all numbers are little-endian.  The file is not synced on the usual
//! path, so after a power cut its end can be zeros or another file's old
//! bytes: every journal record carries a CRC that covers the file's header
//! and the record's own offset, so a record of another file, generation or
//! place is never taken for one of this.

use crate::disk::crc32c::{crc32c, crc32c_from};
use crate::disk::maildir::file::Flags;
use crate::proto::cursor::Cursor;

/// The first four bytes of the file.
pub const MAGIC: &[u8; 4] = b"RMIX";

/// The version that this code writes, and the only one it reads.
pub const VERSION: u8 = 1;

/// Octets of the header.
pub const HEADER_LEN: usize = 64;

/// Octets of a snapshot record.
pub const RECORD_LEN: usize = 40;

/// Octets of a journal record before its payload.
pub const FRAME_LEN: usize = 16;

/// The longest payload, so that the length fits 16 bits.
pub const PAYLOAD_MAX: usize = 60_000;

/// A number of octets or seconds that is not known yet.
pub const UNKNOWN: u32 = u32::MAX;

/// The file's first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The mailbox's UIDVALIDITY; another one makes the file worthless.
    pub uidvalidity: u32,
    /// The mailbox's GUID as in the uidlist's header.
    pub guid: [u8; 16],
    /// One more with every compaction.
    pub generation: u32,
    /// The highest MODSEQ at the time of the snapshot.
    pub modseq: u64,
    /// Expunges with a MODSEQ above this are all known.
    pub floor: u64,
    /// How many snapshot records follow.
    pub count: u32,
    /// One above the highest UID ever seen.
    pub next_uid: u32,
}

/// What the index knows of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// The UID.
    pub uid: u32,
    /// The system flags.
    pub flags: Flags,
    /// True while the file is in `new/`.
    pub in_new: bool,
    /// The keywords by number.
    pub keywords: u64,
    /// The MODSEQ of its last change.
    pub modseq: u64,
    /// Octets on disk, or [`UNKNOWN`].
    pub size: u32,
    /// Octets with every line end as CRLF, or [`UNKNOWN`].
    pub vsize: u32,
    /// INTERNALDATE in seconds, or [`UNKNOWN`].
    pub internal: u32,
    /// When it came into this mailbox, in seconds, or [`UNKNOWN`].
    pub saved: u32,
}

/// UIDs from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    /// The first UID.
    pub first: u32,
    /// The last UID, not below the first.
    pub last: u32,
}

/// What the directories looked like when they were last known to be in step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stamp {
    /// mtime of `cur/` in nanoseconds; 0 means unknown.
    pub cur: u64,
    /// mtime of `new/`.
    pub new: u64,
    /// True when a foreign change in the same tick cannot be ruled out.
    pub provisional: bool,
}

/// One journal record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// New messages.
    Add(Vec<Attrs>),
    /// New flags: every message of the range has exactly these.
    Flags(Vec<(Range, Flags, bool, u64)>),
    /// Messages that are gone.
    Expunge(Vec<Range>),
    /// The directories' state.
    Stamp(Stamp),
    /// Sizes and dates found out later, or a move from `new/` to `cur/`: no change that a client
    /// sees, so no new MODSEQ.
    Facts(Vec<Attrs>),
}

impl Entry {
    const fn kind(&self) -> u8 {
        match self {
            Entry::Add(_) => 1,
            Entry::Flags(_) => 2,
            Entry::Expunge(_) => 3,
            Entry::Stamp(_) => 4,
            Entry::Facts(_) => 5,
        }
    }
}

/// Writes the header; `snapshot` is the CRC of the records.
pub fn write_header(h: &Header, snapshot: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEADER_LEN);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&h.uidvalidity.to_le_bytes());
    out.extend_from_slice(&h.guid);
    out.extend_from_slice(&h.generation.to_le_bytes());
    out.extend_from_slice(&h.modseq.to_le_bytes());
    out.extend_from_slice(&h.floor.to_le_bytes());
    out.extend_from_slice(&h.count.to_le_bytes());
    out.extend_from_slice(&h.next_uid.to_le_bytes());
    out.extend_from_slice(&snapshot.to_le_bytes());
    out.extend_from_slice(&crc32c(&out).to_le_bytes());
    out
}

/// Why a file is not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// Not whole, or a checksum is wrong.
    Damaged,
    /// Of a version that this program does not know.
    Version(u8),
}

/// Reads the header: it, the CRC of the snapshot, and the seed of the journal's CRCs.
pub fn read_header(bytes: &[u8]) -> Result<(Header, u32, u32), Refused> {
    let bytes = bytes.get(..HEADER_LEN).ok_or(Refused::Damaged)?;
    if !bytes.starts_with(MAGIC) {
        return Err(Refused::Damaged);
    }
    match bytes.get(4) {
        Some(&VERSION) => {}
        Some(other) => return Err(Refused::Version(*other)),
        None => return Err(Refused::Damaged),
    }
    let (covered, sum) =
        bytes.split_at_checked(HEADER_LEN.saturating_sub(4)).ok_or(Refused::Damaged)?;
    let seed = crc32c(covered);
    let mut c = Cursor::new(covered);
    c.take(8);
    let header = (|| {
        Some((
            Header {
                uidvalidity: u32_of(&mut c)?,
                guid: c.take(16)?.try_into().ok()?,
                generation: u32_of(&mut c)?,
                modseq: u64_of(&mut c)?,
                floor: u64_of(&mut c)?,
                count: u32_of(&mut c)?,
                next_uid: u32_of(&mut c)?,
            },
            u32_of(&mut c)?,
            seed,
        ))
    })();
    match header {
        Some(h) if sum == seed.to_le_bytes() => Ok(h),
        _ => Err(Refused::Damaged),
    }
}

/// Writes a snapshot record.
pub fn write_attrs(a: &Attrs, out: &mut Vec<u8>) {
    out.extend_from_slice(&a.uid.to_le_bytes());
    out.extend_from_slice(&[a.flags.0, u8::from(a.in_new), 0, 0]);
    out.extend_from_slice(&a.keywords.to_le_bytes());
    out.extend_from_slice(&a.modseq.to_le_bytes());
    for n in [a.size, a.vsize, a.internal, a.saved] {
        out.extend_from_slice(&n.to_le_bytes());
    }
}

/// Reads a snapshot record.
pub fn read_attrs(c: &mut Cursor<'_>) -> Option<Attrs> {
    let uid = u32_of(c)?;
    let flags = Flags(c.next_byte()? & Flags::ALL.0);
    let in_new = c.next_byte()? & 1 == 1;
    c.take(2)?;
    Some(Attrs {
        uid,
        flags,
        in_new,
        keywords: u64_of(c)?,
        modseq: u64_of(c)?,
        size: u32_of(c)?,
        vsize: u32_of(c)?,
        internal: u32_of(c)?,
        saved: u32_of(c)?,
    })
}

/// Writes journal records for an entry that is to stand at `offset`.
///
/// A long entry becomes several records, so that no length exceeds 16 bits.
pub fn write_entry(entry: &Entry, modseq: u64, seed: u32, offset: u64, out: &mut Vec<u8>) {
    let start = out.len();
    let mut payload = Vec::new();
    let flush = |payload: &mut Vec<u8>, force: bool, out: &mut Vec<u8>| {
        if payload.is_empty() || (!force && payload.len() < PAYLOAD_MAX.saturating_sub(RECORD_LEN))
        {
            return;
        }
        let done = u64::try_from(out.len().saturating_sub(start)).unwrap_or(u64::MAX);
        frame(entry.kind(), modseq, payload, seed, offset.saturating_add(done), out);
        payload.clear();
    };
    match entry {
        Entry::Add(all) | Entry::Facts(all) => {
            for a in all {
                write_attrs(a, &mut payload);
                flush(&mut payload, false, out);
            }
        }
        Entry::Flags(all) => {
            for (range, flags, in_new, keywords) in all {
                write_range(range, &mut payload);
                payload.extend_from_slice(&[flags.0, u8::from(*in_new), 0, 0]);
                payload.extend_from_slice(&keywords.to_le_bytes());
                flush(&mut payload, false, out);
            }
        }
        Entry::Expunge(all) => {
            for range in all {
                write_range(range, &mut payload);
                flush(&mut payload, false, out);
            }
        }
        Entry::Stamp(stamp) => {
            payload.extend_from_slice(&stamp.cur.to_le_bytes());
            payload.extend_from_slice(&stamp.new.to_le_bytes());
            payload.push(u8::from(stamp.provisional));
        }
    }
    flush(&mut payload, true, out);
}

fn write_range(range: &Range, out: &mut Vec<u8>) {
    out.extend_from_slice(&range.first.to_le_bytes());
    out.extend_from_slice(&range.last.to_le_bytes());
}

/// Puts the frame around a payload: length, kind, CRC, MODSEQ.
pub(super) fn frame(
    kind: u8,
    modseq: u64,
    payload: &[u8],
    seed: u32,
    offset: u64,
    out: &mut Vec<u8>,
) {
    let len = u16::try_from(payload.len()).unwrap_or(u16::MAX).to_le_bytes();
    let [l0, l1] = len;
    let head = [l0, l1, kind, 0];
    out.extend_from_slice(&head);
    out.extend_from_slice(&sum(&head, modseq, payload, seed, offset).to_le_bytes());
    out.extend_from_slice(&modseq.to_le_bytes());
    out.extend_from_slice(payload);
}

fn sum(head: &[u8], modseq: u64, payload: &[u8], seed: u32, offset: u64) -> u32 {
    let crc = crc32c_from(seed, &offset.to_le_bytes());
    let crc = crc32c_from(crc, head);
    let crc = crc32c_from(crc, &modseq.to_le_bytes());
    crc32c_from(crc, payload)
}

/// Reads the journal record at the cursor, which stands at `offset` of the file.
///
/// `None` at the first thing that is not a whole record with the right sum:
/// the journal ends there, and the rest is cut.
pub fn read_entry(c: &mut Cursor<'_>, seed: u32, offset: u64) -> Option<(u64, Entry)> {
    let head = c.take(4)?;
    let &[l0, l1, kind, 0] = head else { return None };
    let want = u32_of(c)?;
    let modseq = u64_of(c)?;
    let payload = c.take(usize::from(u16::from_le_bytes([l0, l1])))?;
    if sum(head, modseq, payload, seed, offset) != want {
        return None;
    }
    let mut p = Cursor::new(payload);
    let entry = match kind {
        1 => Entry::Add(all_of(&mut p, read_attrs)?),
        2 => Entry::Flags(all_of(&mut p, |p| {
            let range = read_range(p)?;
            let flags = Flags(p.next_byte()? & Flags::ALL.0);
            let in_new = p.next_byte()? & 1 == 1;
            p.take(2)?;
            Some((range, flags, in_new, u64_of(p)?))
        })?),
        3 => Entry::Expunge(all_of(&mut p, read_range)?),
        4 => Entry::Stamp(Stamp {
            cur: u64_of(&mut p)?,
            new: u64_of(&mut p)?,
            provisional: p.next_byte()? != 0,
        }),
        5 => Entry::Facts(all_of(&mut p, read_attrs)?),
        _ => return None,
    };
    Some((modseq, entry))
}

fn read_range(c: &mut Cursor<'_>) -> Option<Range> {
    let range = Range { first: u32_of(c)?, last: u32_of(c)? };
    (range.first <= range.last).then_some(range)
}

/// Reads items to the end of the payload.
fn all_of<T>(c: &mut Cursor<'_>, item: impl Fn(&mut Cursor<'_>) -> Option<T>) -> Option<Vec<T>> {
    let mut all = Vec::new();
    while !c.at_end() {
        all.push(item(c)?);
    }
    Some(all)
}

fn u32_of(c: &mut Cursor<'_>) -> Option<u32> {
    Some(u32::from_le_bytes(c.take(4)?.try_into().ok()?))
}

fn u64_of(c: &mut Cursor<'_>) -> Option<u64> {
    Some(u64::from_le_bytes(c.take(8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attrs(uid: u32) -> Attrs {
        Attrs {
            uid,
            flags: Flags::SEEN,
            in_new: uid % 2 == 0,
            keywords: 1 << 63 | 5,
            modseq: 1 << 41,
            size: 10,
            vsize: UNKNOWN,
            internal: 1_700_000_000,
            saved: UNKNOWN,
        }
    }

    fn header() -> Header {
        Header {
            uidvalidity: 7,
            guid: *b"0123456789abcdef",
            generation: 3,
            modseq: 99,
            floor: 4,
            count: 2,
            next_uid: 12,
        }
    }

    #[test]
    fn header_and_records_have_their_fixed_lengths() {
        let bytes = write_header(&header(), 77);
        assert_eq!(bytes.len(), HEADER_LEN);
        let (h, snapshot, _) = read_header(&bytes).unwrap();
        assert_eq!((h, snapshot), (header(), 77));
        let mut out = Vec::new();
        write_attrs(&attrs(4), &mut out);
        assert_eq!(out.len(), RECORD_LEN);
        assert_eq!(read_attrs(&mut Cursor::new(&out)), Some(attrs(4)));
    }

    #[test]
    fn every_changed_bit_of_the_header_is_found() {
        let good = write_header(&header(), 77);
        for i in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[i / 8] ^= 1 << (i % 8);
            assert!(read_header(&bad).is_err(), "bit {i}");
        }
        assert_eq!(read_header(&good[..63]), Err(Refused::Damaged));
        let mut later = good;
        later[4] = 2;
        assert_eq!(read_header(&later), Err(Refused::Version(2)));
    }

    fn entries() -> Vec<Entry> {
        vec![
            Entry::Add((1..4000).map(attrs).collect()),
            Entry::Flags(vec![(Range { first: 1, last: 9 }, Flags::DRAFT, true, 9)]),
            Entry::Expunge(vec![Range { first: 3, last: 3 }, Range { first: 7, last: 100 }]),
            Entry::Stamp(Stamp { cur: u64::MAX, new: 1, provisional: true }),
            Entry::Facts(vec![attrs(1)]),
        ]
    }

    #[test]
    fn the_journal_is_read_as_written_and_ends_at_damage() {
        let mut out = Vec::new();
        let begin = 640u64;
        for (n, e) in entries().iter().enumerate() {
            let at = begin + out.len() as u64;
            write_entry(e, n as u64, 5, at, &mut out);
        }
        let read = |bytes: &[u8], seed| {
            let mut c = Cursor::new(bytes);
            let mut all = Vec::new();
            loop {
                let at = begin + c.pos() as u64;
                match read_entry(&mut c, seed, at) {
                    Some(e) => all.push(e),
                    None => return all,
                }
            }
        };
        let all = read(&out, 5);
        let added: usize =
            all.iter().map(|(_, e)| if let Entry::Add(a) = e { a.len() } else { 0 }).sum();
        assert_eq!(added, 3999);
        let rest: Vec<Entry> = all.iter().filter(|(n, _)| *n > 0).map(|(_, e)| e.clone()).collect();
        assert_eq!(rest, entries()[1..]);
        assert!(read(&out, 6).is_empty());
        let mut bad = out.clone();
        let last = bad.len() - 1;
        bad[last] ^= 1;
        assert_eq!(read(&bad, 5).len(), all.len() - 1);
        assert_eq!(read(&out[..out.len() - 1], 5).len(), all.len() - 1);
        // A good record at another place is not taken.
        assert!(read(&out[all.len()..], 5).is_empty());
    }
}
