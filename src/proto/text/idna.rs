//! U-labels to A-labels, for names that the DNS is asked about.
//!
//! Lower case and Punycode, no more: normalisation and the tables of allowed
//! characters are left to who registers names.  A name that was not written in
//! normal form leads to an A-label that does not exist, and so to "none", never
//! to somebody else's name.  RFC 3492; RFC 5891 4.4; RFC 8616.

use std::borrow::Cow;

/// The domain with every label that is not ASCII as an A-label.
///
/// `None` if it is not UTF-8 or a label cannot be encoded.  ASCII labels stay
/// as they are.
pub fn to_ascii(domain: &[u8]) -> Option<Vec<u8>> {
    if domain.is_ascii() {
        return Some(domain.to_vec());
    }
    let text = std::str::from_utf8(domain).ok()?;
    // The ideographic full stops of RFC 3490 3.1 are dots too.
    let mut out = Vec::new();
    for (i, label) in text.split(['.', '\u{3002}', '\u{ff0e}', '\u{ff61}']).enumerate() {
        if i > 0 {
            out.push(b'.');
        }
        if label.is_ascii() {
            out.extend_from_slice(label.as_bytes());
        } else {
            // Longer ones cannot fit 63 octets; Punycode is quadratic in the label.
            let lower: Vec<u32> =
                label.chars().flat_map(char::to_lowercase).map(u32::from).take(64).collect();
            out.extend_from_slice(b"xn--");
            punycode(&lower, &mut out)?;
        }
    }
    Some(out)
}

/// The one form of a domain that comparisons use: lower case, A-labels.
///
/// What [`to_ascii`] cannot encode stays as it is, in lower case.
pub fn domain_key(domain: &str) -> Cow<'_, str> {
    if domain.is_ascii() && !domain.bytes().any(|b| b.is_ascii_uppercase()) {
        return Cow::Borrowed(domain);
    }
    let ascii = to_ascii(domain.as_bytes()).and_then(|a| String::from_utf8(a).ok());
    Cow::Owned(ascii.map_or_else(|| domain.to_lowercase(), |a| a.to_ascii_lowercase()))
}

/// The same for an address or a pattern of addresses: the domain is what
/// follows the last `@`.  The local part is left alone; without `@` so is all.
pub fn address_key(address: &str) -> Cow<'_, str> {
    match address.rsplit_once('@') {
        Some((local, domain)) if !domain.is_ascii() => {
            Cow::Owned(format!("{local}@{}", domain_key(domain)))
        }
        _ => Cow::Borrowed(address),
    }
}

const BASE: u32 = 36;
const TMIN: u32 = 1;
const TMAX: u32 = 26;
const SKEW: u32 = 38;
const DAMP: u32 = 700;

/// The encoder of RFC 3492 6.3.
fn punycode(input: &[u32], out: &mut Vec<u8>) -> Option<()> {
    let basic: Vec<u8> =
        input.iter().filter(|c| **c < 0x80).filter_map(|c| u8::try_from(*c).ok()).collect();
    out.extend_from_slice(&basic);
    if !basic.is_empty() {
        out.push(b'-');
    }
    let basic = u32::try_from(basic.len()).ok()?;
    let total = u32::try_from(input.len()).ok()?;
    let (mut n, mut delta, mut bias) = (0x80_u32, 0_u32, 72_u32);
    let mut handled = basic;
    while handled < total {
        let m = *input.iter().filter(|c| **c >= n).min()?;
        let step = m.checked_sub(n)?.checked_mul(handled.checked_add(1)?)?;
        delta = delta.checked_add(step)?;
        n = m;
        for c in input {
            if *c < n {
                delta = delta.checked_add(1)?;
            }
            if *c == n {
                let mut q = delta;
                let mut k = BASE;
                loop {
                    let t = k.saturating_sub(bias).clamp(TMIN, TMAX);
                    if q < t {
                        break;
                    }
                    let span = BASE.checked_sub(t)?;
                    let over = q.checked_sub(t)?;
                    out.push(digit(t.checked_add(over.checked_rem(span)?)?)?);
                    q = over.checked_div(span)?;
                    k = k.checked_add(BASE)?;
                }
                out.push(digit(q)?);
                bias = adapt(delta, handled.checked_add(1)?, handled == basic)?;
                delta = 0;
                handled = handled.checked_add(1)?;
            }
        }
        delta = delta.checked_add(1)?;
        n = n.checked_add(1)?;
    }
    Some(())
}

/// RFC 3492 6.1.
fn adapt(delta: u32, points: u32, first: bool) -> Option<u32> {
    let mut delta = if first { delta / DAMP } else { delta / 2 };
    delta = delta.checked_add(delta.checked_div(points)?)?;
    let mut k = 0_u32;
    while delta > 455 {
        // ((base - tmin) * tmax) / 2
        delta /= 35; // base - tmin
        k = k.checked_add(BASE)?;
    }
    let slope = delta.checked_mul(36)?.checked_div(delta.checked_add(SKEW)?)?;
    k.checked_add(slope)
}

fn digit(value: u32) -> Option<u8> {
    let value = u8::try_from(value).ok()?;
    match value {
        0..=25 => Some(b'a'.saturating_add(value)),
        26..=35 => Some(b'0'.saturating_add(value.saturating_sub(26))),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ascii(text: &str) -> String {
        String::from_utf8(to_ascii(text.as_bytes()).unwrap()).unwrap()
    }

    #[test]
    fn labels_that_are_registered() {
        assert_eq!(ascii("Bücher.example"), "xn--bcher-kva.example");
        assert_eq!(ascii("例え.テスト"), "xn--r8jz45g.xn--zckzah");
        assert_eq!(ascii("почта.рф"), "xn--80a1acny.xn--p1ai");
        assert_eq!(ascii("他们为什么不说中文.test"), "xn--ihqwcrb4cv8a8dqg056pqjye.test");
        assert_eq!(ascii("MajiでKoiする5秒前"), "xn--majikoi5-783gue6qz075azm5e");
        assert_eq!(ascii("Example.ORG"), "Example.ORG");
    }

    #[test]
    fn both_forms_of_a_domain_have_one_key() {
        assert_eq!(domain_key("BÜCHER.Example"), "xn--bcher-kva.example");
        assert_eq!(domain_key("XN--Bcher-KVA.example"), "xn--bcher-kva.example");
        assert_eq!(domain_key("[192.0.2.1]"), "[192.0.2.1]");
        assert_eq!(address_key("jörg@bücher.example"), "jörg@xn--bcher-kva.example");
        assert_eq!(address_key("@*.bücher.example"), "@*.xn--bcher-kva.example");
        assert_eq!(address_key("jörg"), "jörg");
    }

    #[test]
    fn what_is_no_utf_8_has_none() {
        assert_eq!(to_ascii(b"\xff.example"), None);
        assert!(to_ascii("é".repeat(5000).as_bytes()).unwrap().len() < 300);
    }
}
