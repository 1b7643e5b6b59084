//! A stored message, read by offset as it lies on disk.
//!
//! Runs in store.  The file is opened without following links and must be a
//! regular file of the account's user.  Its link count is not looked at: COPY
//! makes hard links.  Line ends are those of the file, LF or CRLF;
//! `proto::imap::section` makes them CRLF on the way out.  Whoever knows where
//! something lies reads that and nothing before it: pread(2).

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use super::error::{At, Error, Result};
use crate::sys::file::open_nofollow;

/// How much is read at once where all is read.
const BUFFER: usize = 32 * 1024;

/// A message file that is open.
#[derive(Debug)]
pub struct MessageFile {
    file: File,
    size: u64,
    modified: i64,
}

impl MessageFile {
    /// Opens a message file; `uid` is the user who must own it.
    pub(crate) fn open(path: &Path, uid: u32) -> Result<MessageFile> {
        let file = open_nofollow(path)?;
        let meta = file.metadata().at("fstat", path)?;
        if !meta.is_file() || meta.uid() != uid {
            return Err(Error::Suspect(path.into(), "not a regular file of the account's user"));
        }
        Ok(MessageFile { file, size: meta.size(), modified: meta.mtime() })
    }

    /// Octets on disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// When the file was changed last, in seconds since 1970: INTERNALDATE.
    pub fn modified(&self) -> i64 {
        self.modified
    }

    /// Reads from an offset on; fewer octets than there is room for only at the end.
    pub fn read_at(&self, offset: u64, room: &mut [u8]) -> io::Result<usize> {
        let mut done = 0usize;
        while let Some(rest) = room.get_mut(done..).filter(|r| !r.is_empty()) {
            let at = offset.saturating_add(u64::try_from(done).unwrap_or(u64::MAX));
            match self.file.read_at(rest, at) {
                Ok(0) => break,
                Ok(n) => done = done.saturating_add(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        #[cfg(test)]
        OCTETS_READ.with(|n| n.set(n.get() + done as u64));
        Ok(done)
    }

    /// At most `most` octets from an offset on.
    pub fn read(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = self.size.saturating_sub(offset);
        let mut all = vec![0; usize::try_from(left).unwrap_or(usize::MAX).min(most)];
        let got = self.read_at(offset, &mut all)?;
        all.truncate(got);
        Ok(all)
    }

    /// Octets when every line end is CRLF, counted by reading to the end.
    pub fn count(self) -> io::Result<u64> {
        let mut total = 0u64;
        let mut cr = false;
        let mut offset = 0u64;
        let mut piece = vec![0; BUFFER];
        loop {
            let got = self.read_at(offset, &mut piece)?;
            let Some(raw) = piece.get(..got).filter(|raw| !raw.is_empty()) else {
                return Ok(total);
            };
            let octets = u64::try_from(got).unwrap_or(u64::MAX);
            offset = offset.saturating_add(octets);
            total = total.saturating_add(octets);
            for at in memchr::memchr_iter(b'\n', raw) {
                let after_cr = match at.checked_sub(1) {
                    Some(before) => raw.get(before) == Some(&b'\r'),
                    None => cr,
                };
                total = total.saturating_add(u64::from(!after_cr));
            }
            cr = raw.last() == Some(&b'\r');
        }
    }
}

#[cfg(test)]
thread_local! {
    /// Octets that the thread has read of message files: tests of linear work count them.
    pub(crate) static OCTETS_READ: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn open(dir: &TestDir, text: &[u8]) -> MessageFile {
        let path = dir.path().join("m");
        std::fs::write(&path, text).unwrap();
        MessageFile::open(&path, crate::sys::user::uid()).unwrap()
    }

    #[test]
    fn a_message_is_read_from_any_offset() {
        let dir = TestDir::new();
        let file = open(&dir, b"one\ntwo\r\nthree");
        assert_eq!(file.size(), 14);
        assert_eq!(file.read(0, 100).unwrap(), b"one\ntwo\r\nthree");
        assert_eq!(file.read(4, 5).unwrap(), b"two\r\n");
        assert_eq!(file.read(9, usize::MAX).unwrap(), b"three");
        assert_eq!(file.read(14, 1).unwrap(), b"");
        assert_eq!(file.read(u64::MAX, 1).unwrap(), b"");
        let mut room = [0; 3];
        assert_eq!(file.read_at(12, &mut room).unwrap(), 2);
    }

    #[test]
    fn every_line_end_counts_as_crlf_wherever_the_buffer_ends() {
        let dir = TestDir::new();
        for before in [0, BUFFER - 2, BUFFER - 1, BUFFER] {
            for (text, octets) in [
                (&b"a\nb\n"[..], 6),
                (b"a\r\nb\r\n", 6),
                (b"\n\n\r\n\r\r\nx", 10),
                (b"", 0),
                (b"no end", 6),
            ] {
                let all = [&b"x".repeat(before)[..], text].concat();
                let counted = open(&dir, &all).count().unwrap();
                assert_eq!(counted, (before + octets) as u64, "{before} and {text:?}");
            }
        }
    }

    #[test]
    fn links_and_devices_are_not_opened() {
        let dir = TestDir::new();
        let path = dir.path().join("m");
        std::fs::write(&path, "x").unwrap();
        let link = dir.path().join("l");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let uid = crate::sys::user::uid();
        assert!(MessageFile::open(&link, uid).is_err());
        assert!(MessageFile::open(dir.path(), uid).is_err());
        assert!(MessageFile::open(&path, uid + 1).is_err());
    }
}
