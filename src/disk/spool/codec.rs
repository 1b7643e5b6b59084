//! Numbers, texts and addresses of spool files as bytes: little-endian, with a
//! 32-bit length before what has one.  Reading is total and bounded by the
//! bytes that are there.

use std::net::IpAddr;

use crate::proto::addr::{Charset, Mailbox, ReversePath};
use crate::proto::cursor::Cursor;

/// Where a value is written.
#[derive(Default)]
pub struct Put(Vec<u8>);

impl Put {
    /// Nothing yet.
    pub fn new() -> Put {
        Put::default()
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }

    /// Bytes as they are.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }

    /// A byte.
    pub fn u8(&mut self, n: u8) {
        self.0.push(n);
    }

    /// Two bytes.
    pub fn u16(&mut self, n: u16) {
        self.raw(&n.to_le_bytes());
    }

    /// Four bytes.
    pub fn u32(&mut self, n: u32) {
        self.raw(&n.to_le_bytes());
    }

    /// Eight bytes.
    pub fn u64(&mut self, n: u64) {
        self.raw(&n.to_le_bytes());
    }

    /// Eight bytes.
    pub fn i64(&mut self, n: i64) {
        self.raw(&n.to_le_bytes());
    }

    /// 0 or 1.
    pub fn bool(&mut self, b: bool) {
        self.u8(u8::from(b));
    }

    /// Bytes with their length.
    pub fn bytes(&mut self, bytes: &[u8]) {
        self.u32(u32::try_from(bytes.len()).unwrap_or(u32::MAX));
        self.raw(bytes);
    }

    /// Text with its length.
    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    /// 0, or 1 and the value.
    pub fn option<T>(&mut self, value: Option<&T>, put: impl FnOnce(&mut Put, &T)) {
        self.bool(value.is_some());
        if let Some(value) = value {
            put(self, value);
        }
    }

    /// A count and the values.
    pub fn list<T>(&mut self, values: &[T], mut put: impl FnMut(&mut Put, &T)) {
        self.u32(u32::try_from(values.len()).unwrap_or(u32::MAX));
        for value in values {
            put(self, value);
        }
    }

    /// An address, as it is written in a path.
    pub fn mailbox(&mut self, mailbox: &Mailbox) {
        self.text(&mailbox.to_string());
    }

    /// A sender; the null path is an empty text.
    pub fn sender(&mut self, sender: &ReversePath) {
        self.text(&sender.to_string());
    }

    /// 4 or 6 and the octets.
    pub fn ip(&mut self, ip: &IpAddr) {
        match ip {
            IpAddr::V4(v4) => {
                self.u8(4);
                self.raw(&v4.octets());
            }
            IpAddr::V6(v6) => {
                self.u8(6);
                self.raw(&v6.octets());
            }
        }
    }
}

/// Where a value is read; `None` when it is not one.
pub struct Get<'a>(Cursor<'a>);

impl<'a> Get<'a> {
    /// Begins at the first byte.
    pub fn new(bytes: &'a [u8]) -> Get<'a> {
        Get(Cursor::new(bytes))
    }

    /// True when nothing is left.
    pub fn at_end(&self) -> bool {
        self.0.at_end()
    }

    /// The next `n` bytes.
    pub fn raw(&mut self, n: usize) -> Option<&'a [u8]> {
        self.0.take(n)
    }

    /// The next N bytes.
    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.raw(N)?.try_into().ok()
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.0.next_byte()
    }

    /// Two bytes.
    pub fn u16(&mut self) -> Option<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// Eight bytes.
    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    /// 0 or 1.
    pub fn bool(&mut self) -> Option<bool> {
        match self.u8()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Bytes with their length.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let n = usize::try_from(self.u32()?).ok()?;
        self.raw(n)
    }

    /// Text with its length.
    pub fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.to_vec()).ok()
    }

    /// 0, or 1 and a value.
    pub fn option<T>(&mut self, get: impl FnOnce(&mut Self) -> Option<T>) -> Option<Option<T>> {
        match self.bool()? {
            true => get(self).map(Some),
            false => Some(None),
        }
    }

    /// A count and the values.  Each takes a byte at least, so a count that
    /// lies ends with the bytes.
    pub fn list<T>(&mut self, mut get: impl FnMut(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let n = self.u32()?;
        let mut all = Vec::new();
        for _ in 0..n {
            all.push(get(self)?);
        }
        Some(all)
    }

    /// An address.
    pub fn mailbox(&mut self) -> Option<Mailbox> {
        Mailbox::parse(self.bytes()?, Charset::Utf8).ok()
    }

    /// A sender.
    pub fn sender(&mut self) -> Option<ReversePath> {
        match self.bytes()? {
            [] => Some(ReversePath::Null),
            text => Mailbox::parse(text, Charset::Utf8).ok().map(ReversePath::Mailbox),
        }
    }

    /// 4 or 6 and the octets.
    pub fn ip(&mut self) -> Option<IpAddr> {
        match self.u8()? {
            4 => self.array::<4>().map(IpAddr::from),
            6 => self.array::<16>().map(IpAddr::from),
            _ => None,
        }
    }
}
