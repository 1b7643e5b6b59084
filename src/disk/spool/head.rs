//! The first 4 KiB of a spool file, and the keys that are wrapped in it.
//!
//! ```text
//! 0     8  "rmailspl"
//! 8     2  version, 1
//! 10    2  flags: 1 = chunks may be deflated
//! 12    8  qid
//! 20    8  accepted, seconds since 1970
//! 28    4  microseconds
//! 32    8  which master key wrapped the keys
//! 40   12  nonce
//! 52   80  body key and log key, sealed (AES-256-GCM) under the master key
//! 132   8  where the log begins; 0 while the body is being written
//! 140   8  octets of the body
//! 148      zeros
//! 4092  4  CRC-32C of all before
//! ```
//!
//! Numbers are little-endian.  A message has two random keys: readers of the
//! body get the body key and nothing of the envelopes, which only queue reads.

use crate::base::crypto::{self, CryptoError, KEY_LEN, NONCE_LEN, TAG_LEN};
use crate::disk::crc32c::crc32c;
use crate::disk::spool::codec::{Get, Put};
use crate::disk::spool::qid::Qid;

/// Octets of the head; the body begins here.
pub const HEAD: usize = 4096;

/// The version that is written, and the only one that is read.
pub const VERSION: u16 = 1;

const MAGIC: &[u8; 8] = b"rmailspl";
const FLAG_DEFLATE: u16 = 1;
const CRC_AT: usize = HEAD - 4;
const WRAPPED: usize = 2 * KEY_LEN + TAG_LEN;

/// A key that is wiped when it is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key([u8; KEY_LEN]);

impl Key {
    /// From its octets.
    pub const fn new(octets: [u8; KEY_LEN]) -> Key {
        Key(octets)
    }

    /// A random one.
    pub fn random() -> Key {
        Key(crypto::random())
    }

    /// The octets, to seal with or to send to a reader.
    pub const fn expose(&self) -> &[u8; KEY_LEN] {
        &self.0
    }

    /// What tells this key from others without telling anything about it.
    pub fn id(&self) -> [u8; 8] {
        let mut text = b"rmail queue key id".to_vec();
        text.extend_from_slice(&self.0);
        let digest = crypto::sha256(&text);
        crypto::wipe(&mut text);
        let mut id = [0; 8];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        id
    }
}

impl Drop for Key {
    fn drop(&mut self) {
        crypto::wipe(&mut self.0);
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key")
    }
}

/// Why a head cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HeadError {
    /// Not a spool file, or a damaged one.
    Damaged,
    /// Another rmail wrote it.
    Version(u16),
    /// It is sealed with a key that is not ours.
    ForeignKey,
}

impl std::fmt::Display for HeadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            HeadError::Damaged => f.write_str("head is damaged"),
            HeadError::Version(v) => {
                write!(f, "spool format {v}, but this rmail reads format {VERSION}")
            }
            HeadError::ForeignKey => f.write_str("sealed with another key of `queue encryption`"),
        }
    }
}

/// What a head says, but for the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// The message's id.
    pub qid: Qid,
    /// When it was accepted: seconds since 1970, and microseconds.
    pub created: (i64, u32),
    /// Chunks may be deflated.
    pub deflate: bool,
    /// Where the log begins; 0 while the body is being written.
    pub log: u64,
    /// Octets of the body.
    pub body: u64,
    master: [u8; 8],
    nonce: [u8; NONCE_LEN],
    wrapped: [u8; WRAPPED],
}

/// The keys of a message.
#[derive(Clone, Debug)]
pub struct Keys {
    /// Of the body's chunks; goes to whoever reads or writes the body.
    pub body: Key,
    /// Of the log's records; never leaves queue.
    pub log: Key,
}

impl Head {
    /// The head of a new message and its keys.
    pub fn new(
        qid: Qid,
        created: (i64, u32),
        deflate: bool,
        master: &Key,
    ) -> Result<(Head, Keys), CryptoError> {
        let keys = Keys { body: Key::random(), log: Key::random() };
        let nonce = crypto::random();
        let mut both = keys.body.expose().to_vec();
        both.extend_from_slice(keys.log.expose());
        let sealed = crypto::seal(master.expose(), &nonce, &qid.bits().to_le_bytes(), &both);
        crypto::wipe(&mut both);
        let mut wrapped = [0; WRAPPED];
        wrapped.iter_mut().zip(sealed?).for_each(|(to, from)| *to = from);
        let head =
            Head { qid, created, deflate, log: 0, body: 0, master: master.id(), nonce, wrapped };
        Ok((head, keys))
    }

    /// The keys, if one of these master keys wrapped them.
    pub fn keys(&self, masters: &[Key]) -> Result<Keys, HeadError> {
        let master = masters.iter().find(|m| m.id() == self.master).ok_or(HeadError::ForeignKey)?;
        let aad = self.qid.bits().to_le_bytes();
        let mut both = crypto::open(master.expose(), &self.nonce, &aad, &self.wrapped)
            .map_err(|_| HeadError::Damaged)?;
        let keys = both.split_first_chunk::<KEY_LEN>().and_then(|(body, log)| {
            let log: [u8; KEY_LEN] = log.try_into().ok()?;
            Some(Keys { body: Key::new(*body), log: Key::new(log) })
        });
        crypto::wipe(&mut both);
        keys.ok_or(HeadError::Damaged)
    }

    /// The 4 KiB.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut w = Put::new();
        w.raw(MAGIC);
        w.u16(VERSION);
        w.u16(if self.deflate { FLAG_DEFLATE } else { 0 });
        w.u64(self.qid.bits());
        w.i64(self.created.0);
        w.u32(self.created.1);
        w.raw(&self.master);
        w.raw(&self.nonce);
        w.raw(&self.wrapped);
        w.u64(self.log);
        w.u64(self.body);
        let mut bytes = w.finish();
        bytes.resize(CRC_AT, 0);
        let crc = crc32c(&bytes);
        bytes.extend_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads the 4 KiB.
    pub fn parse(bytes: &[u8]) -> Result<Head, HeadError> {
        let (text, crc) = bytes.split_at_checked(CRC_AT).ok_or(HeadError::Damaged)?;
        let mut r = Get::new(text);
        if r.raw(MAGIC.len()) != Some(MAGIC) {
            return Err(HeadError::Damaged);
        }
        // The version goes first: another one may have its checksum elsewhere.
        let version = r.u16().ok_or(HeadError::Damaged)?;
        if version != VERSION {
            return Err(HeadError::Version(version));
        }
        if crc != crc32c(text).to_le_bytes() {
            return Err(HeadError::Damaged);
        }
        Head::fields(&mut r).ok_or(HeadError::Damaged)
    }

    fn fields(r: &mut Get<'_>) -> Option<Head> {
        let flags = r.u16()?;
        Some(Head {
            qid: Qid::from_bits(r.u64()?)?,
            created: (r.i64()?, r.u32()?),
            deflate: flags & FLAG_DEFLATE != 0,
            master: r.array()?,
            nonce: r.array()?,
            wrapped: r.array()?,
            log: r.u64()?,
            body: r.u64()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_are_written_and_read_and_every_flipped_bit_shows() {
        let (master, other) = (Key::random(), Key::random());
        let qid = Qid::from_bits(77).unwrap();
        let (mut head, keys) = Head::new(qid, (1_700_000_000, 5), true, &master).unwrap();
        (head.log, head.body) = (5000, 123);
        let bytes = head.to_bytes();
        assert_eq!(bytes.len(), HEAD);
        let back = Head::parse(&bytes).unwrap();
        assert_eq!(back, head);
        let opened = back.keys(&[other.clone(), master.clone()]).unwrap();
        assert!(opened.body == keys.body && opened.log == keys.log);
        assert_eq!(back.keys(&[other]).unwrap_err(), HeadError::ForeignKey);
        for at in 0..HEAD {
            let mut bad = bytes.clone();
            bad[at] ^= 4;
            assert!(Head::parse(&bad).is_err(), "{at}");
            assert!(Head::parse(&bytes[..at]).is_err(), "{at}");
        }
        let mut newer = bytes;
        newer[8] = 9;
        assert_eq!(Head::parse(&newer), Err(HeadError::Version(9)));
    }

    #[test]
    fn keys_cannot_move_to_another_message() {
        let master = Key::random();
        let (mut head, _) = Head::new(Qid::from_bits(1).unwrap(), (0, 0), false, &master).unwrap();
        head.qid = Qid::from_bits(2).unwrap();
        assert_eq!(head.keys(&[master]).unwrap_err(), HeadError::Damaged);
    }
}
