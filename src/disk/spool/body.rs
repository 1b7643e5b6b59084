//! The body of a spool file: chunks of 64 KiB, deflated or not, sealed.
//!
//! ```text
//! length u32 | sealed: how u8 (0 as it is, 1 deflated) | octets
//! ```
//!
//! Runs in smtp (which writes through a descriptor that queue passed), queue,
//! store, mta and filter (which read through a read-only one).  The nonce of a
//! chunk is its number, with a mark on the last: chunks cannot be exchanged,
//! dropped or added, and a body that was cut off does not pass for a whole one.
//! pread(2) and pwrite(2) only: the descriptor's offset is shared by several
//! processes.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use crate::base::crypto::{self, NONCE_LEN, TAG_LEN};
use crate::disk::spool::deflate;
use crate::disk::spool::head::{Key, HEAD};
use crate::sys::errno::{self, SysError};

/// Octets of a chunk; the last has fewer.
pub const CHUNK: usize = 64 * 1024;

/// Octets of a sealed chunk at most: deflating is given up when it does not help.
const SEALED: usize = CHUNK + 1 + TAG_LEN;

const PREFIX: u64 = 4;

/// Where a body that was written ends: smtp tells queue at commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BodyEnd {
    /// Octets of the body.
    pub body: u64,
    /// Octets of the file up to here; the log begins here.
    pub file: u64,
}

/// Writes a body once, from its first octet to its last.
#[derive(Debug)]
pub struct BodyWriter {
    file: File,
    key: Key,
    deflate: bool,
    buffer: Vec<u8>,
    number: u64,
    body: u64,
    at: u64,
}

impl BodyWriter {
    /// Begins behind the head of a fresh spool file.
    pub fn new(file: File, key: Key, deflate: bool) -> BodyWriter {
        let at = u64::try_from(HEAD).unwrap_or(0);
        let buffer = Vec::with_capacity(CHUNK);
        BodyWriter { file, key, deflate, buffer, number: 0, body: 0, at }
    }

    /// Octets taken so far.
    pub const fn len(&self) -> u64 {
        self.body
    }

    /// True before the first octet.
    pub const fn is_empty(&self) -> bool {
        self.body == 0
    }

    /// Takes the next octets.  An error (ENOSPC) leaves a file that can only
    /// be given up.
    pub fn write(&mut self, mut bytes: &[u8]) -> Result<(), SysError> {
        while !bytes.is_empty() {
            if self.buffer.len() >= CHUNK {
                self.flush(false)?;
            }
            let room = CHUNK.saturating_sub(self.buffer.len()).min(bytes.len());
            let (now, later) = bytes.split_at_checked(room).unwrap_or((bytes, &[]));
            self.buffer.extend_from_slice(now);
            self.body = self.body.saturating_add(u64::try_from(now.len()).unwrap_or(0));
            bytes = later;
        }
        Ok(())
    }

    /// Writes the last chunk.  Nothing is synced: queue does that, once.
    pub fn finish(mut self) -> Result<BodyEnd, SysError> {
        self.flush(true)?;
        Ok(BodyEnd { body: self.body, file: self.at })
    }

    fn flush(&mut self, last: bool) -> Result<(), SysError> {
        let sealed = seal(&self.key, self.number, last, self.deflate, &self.buffer)?;
        let mut bytes = u32::try_from(sealed.len()).unwrap_or(u32::MAX).to_le_bytes().to_vec();
        bytes.extend_from_slice(&sealed);
        self.file.write_all_at(&bytes, self.at).map_err(|e| SysError::of("pwrite", &e))?;
        self.at = self.at.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        self.number = self.number.saturating_add(1);
        self.buffer.clear();
        Ok(())
    }
}

fn nonce(number: u64, last: bool) -> [u8; NONCE_LEN] {
    let [a, b, c, d, e, f, g, h] = number.to_le_bytes();
    [u8::from(last), 0, 0, 0, a, b, c, d, e, f, g, h]
}

fn seal(
    key: &Key,
    number: u64,
    last: bool,
    deflate: bool,
    text: &[u8],
) -> Result<Vec<u8>, SysError> {
    let mut plain = Vec::with_capacity(text.len().saturating_add(1));
    let shorter = if deflate { deflate::deflate(text, text.len())? } else { None };
    plain.push(u8::from(shorter.is_some()));
    plain.extend_from_slice(shorter.as_deref().unwrap_or(text));
    crypto::seal(key.expose(), &nonce(number, last), b"", &plain)
        .map_err(|_| SysError::new("seal", errno::ENOMEM))
}

/// Reads the chunks of a body in order.
#[derive(Debug)]
pub struct BodyReader<'a> {
    file: &'a File,
    key: &'a Key,
    number: u64,
    at: u64,
    left: u64,
    done: bool,
}

impl<'a> BodyReader<'a> {
    /// For a body of `len` octets, as the head says.
    pub fn new(file: &'a File, key: &'a Key, len: u64) -> BodyReader<'a> {
        let at = u64::try_from(HEAD).unwrap_or(0);
        BodyReader { file, key, number: 0, at, left: len, done: false }
    }

    /// The next chunk; `None` after the last.  EIO: the file is damaged, or the
    /// key is another's.  What was given out before is right all the same.
    pub fn chunk(&mut self) -> Result<Option<Vec<u8>>, SysError> {
        if self.done {
            return Ok(None);
        }
        let damaged = || SysError::new("spool body", errno::EIO);
        let mut len = [0; 4];
        self.read(&mut len, self.at)?;
        let size = usize::try_from(u32::from_le_bytes(len)).unwrap_or(usize::MAX);
        if size > SEALED {
            return Err(damaged());
        }
        let last = self.left <= u64::try_from(CHUNK).unwrap_or(0);
        let mut sealed = vec![0; size];
        self.read(&mut sealed, self.at.saturating_add(PREFIX))?;
        let mut plain = crypto::open(self.key.expose(), &nonce(self.number, last), b"", &sealed)
            .map_err(|_| damaged())?;
        let how = if plain.is_empty() { 2 } else { plain.remove(0) };
        let text = match how {
            0 => plain,
            1 => deflate::inflate(&plain, CHUNK)?.ok_or_else(damaged)?,
            _ => return Err(damaged()),
        };
        let got = u64::try_from(text.len()).unwrap_or(u64::MAX);
        let wanted = self.left.min(u64::try_from(CHUNK).unwrap_or(0));
        if got != wanted {
            return Err(damaged());
        }
        self.left = self.left.saturating_sub(got);
        self.at =
            self.at.saturating_add(PREFIX).saturating_add(u64::try_from(size).unwrap_or(u64::MAX));
        self.number = self.number.saturating_add(1);
        self.done = last;
        Ok(Some(text))
    }

    fn read(&self, into: &mut [u8], at: u64) -> Result<(), SysError> {
        self.file.read_exact_at(into, at).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => SysError::new("spool body", errno::EIO),
            _ => SysError::of("pread", &e),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;
    use std::fs::OpenOptions;

    fn file(dir: &TestDir) -> File {
        let path = dir.path().join("body");
        OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path).unwrap()
    }

    fn read(file: &File, key: &Key, len: u64) -> Result<Vec<u8>, SysError> {
        let mut all = Vec::new();
        let mut reader = BodyReader::new(file, key, len);
        while let Some(chunk) = reader.chunk()? {
            all.extend_from_slice(&chunk);
        }
        Ok(all)
    }

    #[test]
    fn bodies_of_every_awkward_length_come_back() {
        let dir = TestDir::new();
        for deflate in [false, true] {
            for len in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 3 * CHUNK, 200_000] {
                let text: Vec<u8> = (0..len).map(|i| (i * i / 7) as u8).collect();
                let (file, key) = (file(&dir), Key::random());
                let mut w = BodyWriter::new(file.try_clone().unwrap(), key.clone(), deflate);
                for piece in text.chunks(10_007) {
                    w.write(piece).unwrap();
                }
                let end = w.finish().unwrap();
                assert_eq!(end.body, len as u64);
                assert_eq!(end.file, file.metadata().unwrap().len());
                assert!(read(&file, &key, end.body).unwrap() == text, "{len} {deflate}");
                assert_eq!(read(&file, &Key::random(), end.body).unwrap_err().errno, errno::EIO);
                assert!(read(&file, &key, end.body + 1).is_err());
                assert!(end.body == 0 || read(&file, &key, end.body - 1).is_err());
            }
        }
    }

    #[test]
    fn compression_makes_text_smaller_and_noise_hardly_larger() {
        let dir = TestDir::new();
        for (text, max) in
            [(vec![b'a'; 60_000], 1000), (crypto::random::<60_000>().to_vec(), 60_100)]
        {
            let file = file(&dir);
            let mut w = BodyWriter::new(file, Key::random(), true);
            w.write(&text).unwrap();
            assert!(w.finish().unwrap().file < (HEAD + max) as u64);
        }
    }

    #[test]
    fn damage_anywhere_is_an_error_and_never_other_text() {
        let dir = TestDir::new();
        let (file, key) = (file(&dir), Key::random());
        let mut w = BodyWriter::new(file.try_clone().unwrap(), key.clone(), true);
        w.write(b"Subject: hello\r\n\r\nhello hello hello\r\n").unwrap();
        let end = w.finish().unwrap();
        for at in HEAD as u64..end.file {
            let mut byte = [0];
            file.read_exact_at(&mut byte, at).unwrap();
            file.write_all_at(&[byte[0] ^ 1], at).unwrap();
            assert_eq!(read(&file, &key, end.body).unwrap_err().errno, errno::EIO, "{at}");
            file.write_all_at(&byte, at).unwrap();
        }
        read(&file, &key, end.body).unwrap();
        for len in HEAD as u64..end.file {
            file.set_len(len).unwrap();
            assert_eq!(read(&file, &key, end.body).unwrap_err().errno, errno::EIO, "{len}");
        }
    }
}
