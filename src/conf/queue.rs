//! `queue ...` and what else the queue is told: `bounce`, `mta max-deferred`,
//! `mda limit`.

/// The octets of a key that the parser has accepted: 64 hexadecimal digits are
/// decoded, 32 characters are taken as they are.
pub(super) fn key_octets(text: &str) -> [u8; 32] {
    let mut key = [0; 32];
    let bytes = text.as_bytes();
    if bytes.len() == 64 {
        for (out, pair) in key.iter_mut().zip(bytes.chunks_exact(2)) {
            let digits = std::str::from_utf8(pair).unwrap_or_default();
            *out = u8::from_str_radix(digits, 16).unwrap_or_default();
        }
    } else {
        for (out, b) in key.iter_mut().zip(bytes) {
            *out = *b;
        }
    }
    key
}
