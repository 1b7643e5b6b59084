//! Reports come packed: gzip, or a zip with one file.
//!
//! Of a zip with more the report is found by its name: some senders put it into
//! a directory, or beside what their system adds.  One level is unpacked, to at most [`limits::REPORT_OCTETS`] and at most
//! [`limits::REPORT_RATIO`] times what came; what goes beyond either is a bomb
//! and refused, not cut.  RFC 1952; RFC 1951; APPNOTE.TXT 4.3.7.

use std::io::{Read, Write};

use flate2::write::GzEncoder;
use flate2::Compression;

use crate::proto::limits;
use crate::proto::zip::{self, Entry};

/// Why nothing was unpacked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// It is longer than the limits allow.
    TooLong,
    /// It is damaged, encrypted, or packed in an unknown way.
    Damaged,
}

/// The content: of a gzip, of the report in a zip, or the bytes themselves.
pub fn unpack(bytes: &[u8]) -> Result<Vec<u8>, Refused> {
    let ratio = limits::REPORT_RATIO.size().saturating_mul(bytes.len().max(1024));
    let most = limits::REPORT_OCTETS.size().min(ratio);
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return read_within(flate2::read::GzDecoder::new(bytes), most);
    }
    // A local header, or the end of an archive without any.
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return match zip::list(bytes) {
            Ok(directory) => unzip(bytes, &directory.entries, most),
            // An archive whose end is missing still has its first file.
            Err(zip::NotZip) => unzip_first(bytes, most),
        };
    }
    if bytes.len() > most {
        Err(Refused::TooLong)
    } else {
        Ok(bytes.to_vec())
    }
}

/// The first file that is named as a report is, else the first file.
fn unzip(bytes: &[u8], entries: &[Entry<'_>], most: usize) -> Result<Vec<u8>, Refused> {
    let mut files = entries.iter().filter(|e| !e.is_directory());
    let is_report = |e: &&Entry<'_>| {
        let ending = e.name.rsplit(|b| *b == b'.').next().unwrap_or_default();
        let resource = e.name.starts_with(b"__MACOSX/");
        !resource && [&b"xml"[..], b"json"].iter().any(|r| ending.eq_ignore_ascii_case(r))
    };
    let first = files.clone().next();
    let entry = files.find(is_report).or(first).ok_or(Refused::Damaged)?;
    if entry.encrypted {
        return Err(Refused::Damaged);
    }
    let data = entry.data(bytes).ok_or(Refused::Damaged)?;
    match entry.method {
        8 => read_within(flate2::read::DeflateDecoder::new(data), most),
        0 if data.len() > most => Err(Refused::TooLong),
        0 => Ok(data.to_vec()),
        _ => Err(Refused::Damaged),
    }
}

/// The first local file header and its data.
fn unzip_first(bytes: &[u8], most: usize) -> Result<Vec<u8>, Refused> {
    let u16_at = |at: usize| -> Result<usize, Refused> {
        let octets = bytes.get(at..at.saturating_add(2)).and_then(|b| b.try_into().ok());
        octets.map(|o| usize::from(u16::from_le_bytes(o))).ok_or(Refused::Damaged)
    };
    let (flags, method) = (u16_at(6)?, u16_at(8)?);
    let (name, extra) = (u16_at(26)?, u16_at(28)?);
    // Bit 0: encrypted.
    if flags & 1 != 0 {
        return Err(Refused::Damaged);
    }
    let start = 30_usize.saturating_add(name).saturating_add(extra);
    let data = bytes.get(start..).ok_or(Refused::Damaged)?;
    match method {
        // The end of deflate is in its own data, so the sizes, which may come
        // after it, are not needed.
        8 => read_within(flate2::read::DeflateDecoder::new(data), most),
        0 => {
            let octets =
                bytes.get(18..22).and_then(|b| b.try_into().ok()).ok_or(Refused::Damaged)?;
            let size = usize::try_from(u32::from_le_bytes(octets)).unwrap_or(usize::MAX);
            if size > most {
                return Err(Refused::TooLong);
            }
            data.get(..size).map(<[u8]>::to_vec).ok_or(Refused::Damaged)
        }
        _ => Err(Refused::Damaged),
    }
}

/// Packs a report to be sent.
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut packed = GzEncoder::new(Vec::new(), Compression::default());
    // Writing to a vector does not fail.
    let _ = packed.write_all(bytes);
    packed.finish().unwrap_or_default()
}

fn read_within(from: impl Read, most: usize) -> Result<Vec<u8>, Refused> {
    let cap = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    let mut out = Vec::new();
    from.take(cap).read_to_end(&mut out).map_err(|_| Refused::Damaged)?;
    if out.len() > most {
        Err(Refused::TooLong)
    } else {
        Ok(out)
    }
}

/// Fuzz target.
pub fn fuzz_unpack(bytes: &[u8]) {
    if let Ok(out) = unpack(bytes) {
        assert!(out.len() <= limits::REPORT_OCTETS.size());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zip(method: u8, flags: u8, data: &[u8]) -> Vec<u8> {
        let mut out = b"PK\x03\x04\x14\0".to_vec();
        out.extend_from_slice(&[flags, 0, method, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        out.extend_from_slice(&(data.len() as u32).to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&[1, 0, 0, 0, b'x']);
        out.extend_from_slice(data);
        out
    }

    #[test]
    fn what_is_packed_is_unpacked() {
        assert_eq!(unpack(&gzip(b"<a/>")).unwrap(), b"<a/>");
        assert_eq!(unpack(b"<a/>").unwrap(), b"<a/>");
        assert_eq!(unpack(&zip(0, 0, b"<a/>")).unwrap(), b"<a/>");
        let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        z.write_all(b"<b/>").unwrap();
        assert_eq!(unpack(&zip(8, 8, &z.finish().unwrap())).unwrap(), b"<b/>");
    }

    #[test]
    fn bombs_are_refused() {
        assert_eq!(unpack(&gzip(&vec![0; 1 << 20])), Err(Refused::TooLong), "over the ratio");
        assert_eq!(unpack(&gzip(&vec![0; 30 << 20])), Err(Refused::TooLong));
        assert_eq!(unpack(&vec![b' '; 21 << 20]), Err(Refused::TooLong));
        // One level only: what is inside stays packed.
        let inner = gzip(b"<a/>");
        assert_eq!(unpack(&gzip(&inner)).unwrap(), inner);
    }

    /// APPNOTE.TXT 4.3.6.
    #[test]
    fn the_report_of_a_zip_is_found_beside_directories_and_other_files() {
        use crate::proto::zip::tests::{archive, file, File};
        let packed = {
            let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            z.write_all(b"<report/>").unwrap();
            z.finish().unwrap()
        };
        let deflated = |name| File { method: 8, ..file(name, &packed) };
        let unpacked = |files: &[File<'_>]| unpack(&archive(files)).map(|b| b.len());
        assert_eq!(unpacked(&[file("reports/", b""), deflated("reports/a.XML")]), Ok(9));
        let mac = file("__MACOSX/._a.xml", b"?");
        assert_eq!(unpacked(&[mac, file("readme", b"hello"), deflated("a.xml")]), Ok(9));
        assert_eq!(unpacked(&[file("no-ending", b"<a/>")]), Ok(4));
        assert_eq!(unpacked(&[file("only/", b"")]), Err(Refused::Damaged), "no file at all");
        assert_eq!(unpacked(&[]), Err(Refused::Damaged));
        let secret = File { flags: 1, ..file("a.xml", b"<a/>") };
        assert_eq!(unpacked(&[secret]), Err(Refused::Damaged), "encrypted");
        // What the archive claims of the size does not count.
        let zeros = {
            let mut z = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
            z.write_all(&vec![0; 1 << 20]).unwrap();
            z.finish().unwrap()
        };
        let bomb = File { method: 8, size: 1, ..file("a.xml", &zeros) };
        assert_eq!(unpacked(&[bomb]), Err(Refused::TooLong));
    }

    #[test]
    fn time_doubles_with_the_input() {
        use crate::proto::zip::tests::{archive, file, File};
        crate::proto::testing::assert_linear(|n| {
            let text: Vec<u8> =
                (0..n).map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
            let _ = std::hint::black_box(unpack(&gzip(&text)));
        });
        crate::proto::testing::assert_linear(|n| {
            let files: Vec<File<'_>> = (0..n / 64).map(|_| file("d/", b"")).collect();
            let _ = std::hint::black_box(unpack(&archive(&files)));
        });
    }

    #[test]
    fn what_is_damaged_is_refused() {
        let whole = gzip(b"<a/>");
        assert_eq!(unpack(&whole[..whole.len() - 9]), Err(Refused::Damaged));
        assert_eq!(unpack(b"PK\x03\x04"), Err(Refused::Damaged));
        assert_eq!(unpack(&zip(0, 1, b"<a/>")), Err(Refused::Damaged), "encrypted");
        assert_eq!(unpack(&zip(99, 0, b"<a/>")), Err(Refused::Damaged));
    }
}
