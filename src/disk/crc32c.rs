//! CRC-32C (Castagnoli), the checksum of every record that is not synced.
//!
//! Pure; a table of 8 x 256 words made at compile time, eight bytes a step.
//! It finds torn and foreign bytes after a power cut, not an attacker's.

/// The polynomial, bits reversed.
const POLY: u32 = 0x82f6_3b78;

const TABLES: [[u32; 256]; 8] = tables();

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "evaluated at compile time, where a panic is an error of the build"
)]
const fn tables() -> [[u32; 256]; 8] {
    let mut t = [[0u32; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 == 1 { (crc >> 1) ^ POLY } else { crc >> 1 };
            bit += 1;
        }
        t[0][i] = crc;
        i += 1;
    }
    let mut k = 1;
    while k < 8 {
        let mut i = 0;
        while i < 256 {
            let before = t[k - 1][i];
            t[k][i] = (before >> 8) ^ t[0][(before & 0xff) as usize];
            i += 1;
        }
        k += 1;
    }
    t
}

/// The CRC of `bytes`.
pub fn crc32c(bytes: &[u8]) -> u32 {
    crc32c_from(0, bytes)
}

/// The CRC of what `before` is the CRC of, followed by `bytes`.
pub fn crc32c_from(before: u32, bytes: &[u8]) -> u32 {
    let mut crc = !before;
    let mut chunks = bytes.chunks_exact(8);
    for chunk in chunks.by_ref() {
        let [a, b, c, d, e, f, g, h] = chunk else { break };
        let low = crc ^ u32::from_le_bytes([*a, *b, *c, *d]);
        let [l0, l1, l2, l3] = low.to_le_bytes();
        crc = at(7, l0)
            ^ at(6, l1)
            ^ at(5, l2)
            ^ at(4, l3)
            ^ at(3, *e)
            ^ at(2, *f)
            ^ at(1, *g)
            ^ at(0, *h);
    }
    for b in chunks.remainder() {
        let [low, ..] = crc.to_le_bytes();
        crc = (crc >> 8) ^ at(0, low ^ *b);
    }
    !crc
}

/// An entry of a table.
#[expect(clippy::indexing_slicing, reason = "a byte is below 256, and k is a literal below 8")]
#[inline]
fn at(k: usize, byte: u8) -> u32 {
    TABLES[k][usize::from(byte)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_values() {
        // RFC 3720 B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn parts_give_the_same_as_the_whole() {
        let text: Vec<u8> = (0..=255).collect();
        for cut in [0, 1, 7, 8, 9, 100, 256] {
            let (a, b) = text.split_at(cut);
            assert_eq!(crc32c_from(crc32c(a), b), crc32c(&text));
        }
    }
}
