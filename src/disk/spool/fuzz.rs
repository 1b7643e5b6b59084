//! Fuzz target: a spool file that a power cut, a disk or a hand has changed.

use super::body::{BodyReader, BodyWriter};
use super::codec::Get;
use super::head::{Head, Key, HEAD};
use super::record::Record;
use super::{deflate, log};
use crate::disk::crc32c::crc32c;
use crate::proto::limits;
use std::fs::{File, OpenOptions};
use std::os::unix::fs::FileExt;

/// Fuzz target: where the damage is (two octets) and what it is (one), then
/// records: a type, a length of two octets, a payload.
///
/// A record that is read can be written and read again.  Of a log the records before the
/// damage are read and no others, of a body the chunks before it, and a head
/// is whole or refused.
pub fn fuzz_file(bytes: &[u8]) {
    let Some(([low, high, mask], rest)) = bytes.split_first_chunk::<3>() else { return };
    let at = usize::from(u16::from_le_bytes([*low, *high]));
    let key = Key::new([7; 32]);
    let mut records = Vec::new();
    let mut input = Get::new(rest);
    while let (Some(kind), Some(len)) = (input.u8(), input.u16()) {
        let Some(payload) = input.raw(usize::from(len)) else { break };
        let Some(record) = Record::decode(kind, payload) else { continue };
        let (again, spelled) = record.encode();
        assert_eq!(Record::decode(again, &spelled).as_ref(), Some(&record));
        records.push(record);
    }
    damaged_log(&records, &key, at, *mask);
    damaged_body(rest, &key, at, *mask);
    // What is no log and no head as it stands.
    assert!(log::scan(rest, &key).good <= rest.len());
    whole_head(rest);
    // Each use has a thread of its own, which costs more than all the rest.
    if mask % 16 == 1 {
        if let Ok(Some(text)) = deflate::inflate(rest, 1000) {
            assert!(text.len() <= 1000);
        }
    }
}

/// A head whose sum holds: it is read and written the same.
fn whole_head(fields: &[u8]) {
    let mut bytes = b"rmailspl\x01\0".to_vec();
    bytes.extend_from_slice(fields);
    bytes.resize(HEAD.saturating_sub(4), 0);
    bytes.extend_from_slice(&crc32c(&bytes).to_le_bytes());
    if let Ok(head) = Head::parse(&bytes) {
        assert_eq!(Head::parse(&head.to_bytes()), Ok(head.clone()));
        assert!(head.keys(&[Key::new([7; 32])]).is_err(), "nobody wrapped these keys");
    }
}

fn damaged_log(records: &[Record], key: &Key, at: usize, mask: u8) {
    let mut bytes = Vec::new();
    let mut ends = Vec::new();
    for record in records {
        if log::append(record, key, &mut bytes).is_err() {
            return;
        }
        ends.push(bytes.len());
    }
    let whole = log::scan(&bytes, key);
    assert_eq!((whole.records.as_slice(), whole.good), (records, bytes.len()));
    let Some(octet) = bytes.get_mut(at).filter(|_| mask != 0) else { return };
    *octet ^= mask;
    let good = ends.iter().take_while(|end| **end <= at).count();
    let scan = log::scan(&bytes, key);
    assert_eq!(Some(scan.records.as_slice()), records.get(..good), "up to the damage");
}

fn damaged_body(text: &[u8], key: &Key, at: usize, mask: u8) {
    let Some(file) = nameless() else { return };
    let deflate = mask % 16 == 2;
    let Ok(copy) = file.try_clone() else { return };
    let mut writer = BodyWriter::new(copy, key.clone(), deflate);
    let Ok(()) = writer.write(text) else { return };
    let Ok(end) = writer.finish() else { return };
    assert_eq!(read(&file, key, end.body).as_deref(), Some(text));
    let place = u64::try_from(HEAD.saturating_add(at)).unwrap_or(0);
    let mut octet = [0];
    if mask == 0 || place >= end.file || file.read_exact_at(&mut octet, place).is_err() {
        return;
    }
    let [was] = octet;
    assert!(file.write_all_at(&[was ^ mask], place).is_ok());
    assert_eq!(read(&file, key, end.body), None, "damage is seen");
    // A length that lies asks for no memory and gives no octet that was not there.
    assert_eq!(read(&file, key, u64::MAX), None);
}

fn read(file: &File, key: &Key, len: u64) -> Option<Vec<u8>> {
    let mut reader = BodyReader::new(file, key, len);
    let mut all = Vec::new();
    while let Some(chunk) = reader.chunk().ok()? {
        all.extend_from_slice(&chunk);
        assert!(all.len() <= limits::SPOOL_RECORD.size());
    }
    Some(all)
}

/// A file that is gone when it is closed.
fn nameless() -> Option<File> {
    static COUNT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let n = COUNT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("rmail-fuzz.{}.{n}", std::process::id()));
    let mut options = OpenOptions::new();
    let file = options.read(true).write(true).create_new(true).open(&path).ok()?;
    std::fs::remove_file(&path).ok()?;
    Some(file)
}
