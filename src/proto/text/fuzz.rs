//! Fuzz target: the small codecs of text.

use super::{base64, casemap, charset, idna, mutf7};
use crate::proto::pattern;

/// Fuzz target: any octets through each codec of text, and as pattern and name.
///
/// What is encoded decodes to the same, what is decoded is bounded, and a glob
/// finds what a search that tries everything finds.
pub fn fuzz_text(bytes: &[u8]) {
    assert_eq!(base64::decode(&base64::encode(bytes)).as_deref(), Some(bytes));
    if let Some(octets) = base64::decode(bytes) {
        assert_eq!(base64::encode(&octets), bytes, "one spelling");
    }
    if let Some(name) = mutf7::decode(bytes) {
        assert_eq!(mutf7::encode(&name), bytes, "one spelling");
    }
    let lenient = mutf7::decode_lenient(bytes);
    assert_eq!(mutf7::decode(&mutf7::encode(&lenient)), Some(lenient));
    if let Some(ascii) = idna::to_ascii(bytes) {
        assert!(ascii.is_ascii());
        assert!(ascii.len() <= bytes.len().saturating_mul(8).saturating_add(1000));
    }
    let (label, text) = bytes.split_at_checked(12).unwrap_or((bytes, &[]));
    for name in [label, b"utf-8", b"iso-2022-jp", b"gb18030", b"utf-16le"] {
        let decoded = charset::decode(name, text, 100);
        assert!(decoded.len() <= 100);
        assert_eq!(charset::decode(name, text, usize::MAX).get(..decoded.len()), Some(&*decoded));
    }
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(mutf7::decode(&mutf7::encode(text)).as_deref(), Some(text));
    let folded = casemap::fold(text.as_bytes());
    // RFC 5051 2 maps to title case before it decomposes, so that what only the
    // decomposition brings (U+02E0: a small gamma) is mapped by a second time.
    let twice = casemap::fold(&folded);
    assert_eq!(casemap::fold(&twice), twice, "folding thrice is folding twice");
    let (left, right) = text.split_once('\n').unwrap_or((text, ""));
    let wanted = tries_everything(
        left.to_ascii_lowercase().as_bytes(),
        right.to_ascii_lowercase().as_bytes(),
    );
    assert_eq!(pattern::glob(left, right), wanted);
    if let Some(network) = pattern::Network::parse(left) {
        assert!(pattern::address(right).is_none_or(|ip| network.contains(ip) || left != right));
    }
    pattern::mail_address(left, right, right, '+');
}

/// Which beginnings of `name` does the pattern so far fit?
fn tries_everything(pattern: &[u8], name: &[u8]) -> bool {
    let mut fits = vec![false; name.len().saturating_add(1)];
    if let Some(first) = fits.first_mut() {
        *first = true;
    }
    for p in pattern {
        let before = fits.clone();
        let mut any = false;
        for (at, fit) in fits.iter_mut().enumerate() {
            let here = before.get(at).copied().unwrap_or(false);
            let left = at.checked_sub(1);
            let last = left.and_then(|l| before.get(l)).copied().unwrap_or(false);
            any |= here;
            *fit = match p {
                b'*' => any,
                _ => last && left.and_then(|l| name.get(l)) == Some(p),
            };
        }
    }
    fits.last().copied().unwrap_or(false)
}
