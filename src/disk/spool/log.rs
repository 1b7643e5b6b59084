//! The log behind a spool file's body: records that are only ever appended.
//!
//! ```text
//! length u32 | type u8 | crc32c u32 | nonce 12 | payload, sealed
//! ```
//!
//! The length is that of the sealed payload; the checksum is over length, type,
//! nonce and payload.  Whatever a power cut left behind the last whole record
//! (zeros, another file's bytes, half a record) fails it: [`scan`] stops there,
//! and recovery cuts.  The payload is sealed under the message's log key, so
//! that neither addresses nor changed header fields stand on the disk.

use crate::base::crypto::{self, CryptoError, NONCE_LEN, TAG_LEN};
use crate::disk::crc32c::{crc32c, crc32c_from};
use crate::disk::spool::codec::Get;
use crate::disk::spool::head::Key;
use crate::disk::spool::record::Record;
use crate::proto::limits;

const PREFIX: usize = 4 + 1 + 4 + NONCE_LEN;

/// Appends a record's bytes.
pub fn append(record: &Record, key: &Key, out: &mut Vec<u8>) -> Result<(), CryptoError> {
    let (kind, payload) = record.encode();
    let nonce: [u8; NONCE_LEN] = crypto::random();
    let sealed = crypto::seal(key.expose(), &nonce, &[kind], &payload)?;
    let len = u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_le_bytes();
    out.extend_from_slice(&len);
    out.push(kind);
    out.extend_from_slice(&checksum(len, kind, &nonce, &sealed).to_le_bytes());
    out.extend_from_slice(&nonce);
    out.extend_from_slice(&sealed);
    Ok(())
}

fn checksum(len: [u8; 4], kind: u8, nonce: &[u8], sealed: &[u8]) -> u32 {
    let [a, b, c, d] = len;
    crc32c_from(crc32c_from(crc32c(&[a, b, c, d, kind]), nonce), sealed)
}

/// What a log holds.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The records up to the first bad one.
    pub records: Vec<Record>,
    /// Octets that they take; what is behind them is to be cut.
    pub good: usize,
}

/// Reads a log to its end or to the first bad record.  Linear.
pub fn scan(log: &[u8], key: &Key) -> Scan {
    let mut found = Scan::default();
    while let Some((record, len)) = log.get(found.good..).and_then(|rest| first(rest, key)) {
        found.records.push(record);
        found.good = found.good.saturating_add(len);
    }
    found
}

/// The record at the beginning of `bytes`, and its length.
fn first(bytes: &[u8], key: &Key) -> Option<(Record, usize)> {
    let mut r = Get::new(bytes);
    let len: [u8; 4] = r.array()?;
    let kind = r.u8()?;
    let crc = r.u32()?;
    let nonce: [u8; NONCE_LEN] = r.array()?;
    let size = usize::try_from(u32::from_le_bytes(len)).ok()?;
    if size > limits::SPOOL_RECORD.size() || size < TAG_LEN {
        return None;
    }
    let sealed = r.raw(size)?;
    if checksum(len, kind, &nonce, sealed) != crc {
        return None;
    }
    let payload = crypto::open(key.expose(), &nonce, &[kind], sealed).ok()?;
    Some((Record::decode(kind, &payload)?, PREFIX.saturating_add(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::spool::record::End;

    fn records() -> Vec<Record> {
        vec![
            Record::Commit,
            Record::Attempt { rcpt: 1, at: 5, tries: 1, deaths: 0, said: "try again".into() },
            Record::Done { rcpts: vec![1], end: End::Delivered },
        ]
    }

    #[test]
    fn a_log_is_read_to_its_first_bad_record() {
        let key = Key::random();
        let mut log = Vec::new();
        let mut ends = vec![0];
        for record in &records() {
            append(record, &key, &mut log).unwrap();
            ends.push(log.len());
        }
        let whole = scan(&log, &key);
        assert_eq!((whole.records, whole.good), (records(), log.len()));
        for cut in 0..=log.len() {
            let mut torn = log[..cut].to_vec();
            for tail in [&b""[..], &[0; 64], &[0xff; 64], b"bytes of somebody's deleted mail"] {
                torn.truncate(cut);
                torn.extend_from_slice(tail);
                // The octet that was cut off may be the first of the tail.
                let n =
                    ends.iter().filter(|end| torn.get(..**end) == Some(&log[..**end])).count() - 1;
                let found = scan(&torn, &key);
                assert_eq!((found.records.as_slice(), found.good), (&records()[..n], ends[n]));
            }
        }
        for at in 0..log.len() {
            let n = ends.iter().filter(|end| **end <= at).count() - 1;
            let mut bad = log.clone();
            bad[at] ^= 0x10;
            assert_eq!(scan(&bad, &key).good, ends[n], "{at}");
        }
        assert_eq!(scan(&log, &Key::random()).good, 0);
    }
}
