//! A stored message, read as IMAP shows it: every line end is CRLF.
//!
//! Runs in store.  The file is opened without following links and must be a
//! regular file of the account's user.  Its link count is not looked at: COPY
//! makes hard links.  A message that was stored with CRLF is given as it is.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::error::{At, Error, Result};
use crate::sys::file::open_nofollow;

/// How much is read at once.
const BUFFER: usize = 32 * 1024;

/// A message being read; [`Read`] gives its bytes with CRLF line ends.
#[derive(Debug)]
pub struct MessageFile {
    file: File,
    raw: Vec<u8>,
    at: usize,
    /// The last byte given was a CR, so an LF that follows needs none.
    cr: bool,
    /// An LF is due, the CR before it was given.
    lf: bool,
    size: u64,
}

impl MessageFile {
    /// Opens a message file; `uid` is the user who must own it.
    pub(crate) fn open(path: &Path, uid: u32) -> Result<MessageFile> {
        let file = open_nofollow(path)?;
        let meta = file.metadata().at("fstat", path)?;
        if !meta.is_file() || meta.uid() != uid {
            return Err(Error::Suspect(path.into(), "not a regular file of the account's user"));
        }
        Ok(MessageFile { file, raw: Vec::new(), at: 0, cr: false, lf: false, size: meta.size() })
    }

    /// Octets on disk.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The whole message with CRLF, if it is not longer than `max` octets.
    ///
    /// `None`: it is longer; the reader is then somewhere in the middle.
    pub fn read_all(&mut self, max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut all = Vec::new();
        let got = Read::by_ref(self).take(max.saturating_add(1)).read_to_end(&mut all)?;
        Ok((u64::try_from(got).unwrap_or(u64::MAX) <= max).then_some(all))
    }

    /// Octets with CRLF, counted by reading to the end.
    pub fn count(mut self) -> io::Result<u64> {
        let mut total = 0u64;
        let mut cr = false;
        loop {
            self.fill()?;
            if self.raw.is_empty() {
                return Ok(total);
            }
            total = total.saturating_add(u64::try_from(self.raw.len()).unwrap_or(u64::MAX));
            let mut before = cr;
            for at in memchr::memchr_iter(b'\n', &self.raw) {
                if let Some(i) = at.checked_sub(1) {
                    before = self.raw.get(i) == Some(&b'\r');
                }
                total = total.saturating_add(u64::from(!before));
            }
            cr = self.raw.last() == Some(&b'\r');
        }
    }

    fn fill(&mut self) -> io::Result<()> {
        self.raw.resize(BUFFER, 0);
        self.at = 0;
        let got = loop {
            match self.file.read(&mut self.raw) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                other => break other?,
            }
        };
        self.raw.truncate(got);
        Ok(())
    }
}

impl Read for MessageFile {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        if out.is_empty() {
            return Ok(0);
        }
        if !self.lf && self.at >= self.raw.len() {
            self.fill()?;
        }
        let mut done = 0usize;
        while let Some(room) = out.get_mut(done..).filter(|r| !r.is_empty()) {
            if self.lf {
                self.lf = false;
                self.at = self.at.saturating_add(1);
                if let Some(first) = room.first_mut() {
                    *first = b'\n';
                }
                done = done.saturating_add(1);
                continue;
            }
            let rest = self.raw.get(self.at..).unwrap_or_default();
            let run = memchr::memchr(b'\n', rest).unwrap_or(rest.len());
            let n = run.min(room.len());
            if n > 0 {
                let (from, _) = rest.split_at_checked(n).unwrap_or_default();
                if let Some(to) = room.get_mut(..n) {
                    to.copy_from_slice(from);
                }
                self.cr = from.last() == Some(&b'\r');
                self.at = self.at.saturating_add(n);
                done = done.saturating_add(n);
                continue;
            }
            if rest.is_empty() {
                break;
            }
            // An LF is next.
            self.lf = true;
            if !self.cr {
                if let Some(first) = room.first_mut() {
                    *first = b'\r';
                }
                done = done.saturating_add(1);
            }
            self.cr = false;
        }
        Ok(done)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn read_in(text: &[u8], step: usize) -> Vec<u8> {
        let dir = TestDir::new();
        let path = dir.path().join("m");
        std::fs::write(&path, text).unwrap();
        let mut file = MessageFile::open(&path, crate::sys::user::uid()).unwrap();
        let mut out = Vec::new();
        let mut buf = vec![0; step];
        loop {
            match file.read(&mut buf).unwrap() {
                0 => break,
                n => out.extend_from_slice(&buf[..n]),
            }
        }
        let counted = MessageFile::open(&path, crate::sys::user::uid()).unwrap().count().unwrap();
        assert_eq!(counted, out.len() as u64);
        out
    }

    #[test]
    fn every_line_end_becomes_crlf_whatever_the_buffer() {
        let long = [&b"x".repeat(BUFFER - 1)[..], b"\r\ny\n"].concat();
        for (text, want) in [
            (&b"a\nb\n"[..], &b"a\r\nb\r\n"[..]),
            (b"a\r\nb\r\n", b"a\r\nb\r\n"),
            (b"\n\n\r\n\r\r\nx", b"\r\n\r\n\r\n\r\r\nx"),
            (b"", b""),
            (b"no end", b"no end"),
        ] {
            for step in [1, 2, 3, 100] {
                assert_eq!(read_in(text, step), want, "step {step}");
            }
        }
        assert_eq!(read_in(&long, 4096), [&b"x".repeat(BUFFER - 1)[..], b"\r\ny\r\n"].concat());
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
