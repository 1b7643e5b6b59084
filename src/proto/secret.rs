//! Bytes that must not stay in memory, nor get into a log by mistake.
//!
//! No `Debug`, no `Clone`; the memory is overwritten when the value goes.  Build
//! the vector at its full length before it is handed in: what `Vec` leaves
//! behind when it grows cannot be reached from here.

use std::hint::black_box;

/// A password, a key, a token.
pub struct Secret(Vec<u8>);

impl Secret {
    /// Takes the bytes over.
    pub const fn new(bytes: Vec<u8>) -> Secret {
        Secret(bytes)
    }

    /// The bytes.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Secret {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites bytes with zeros in a way that the compiler keeps.
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    // Without a reader the stores would be dead; black_box is one.
    black_box(&*bytes);
}
