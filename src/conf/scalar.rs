//! Scalars: durations, sizes, names, service ports, TLS versions, relay URLs.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::ast::{Protocols, RelayUrl, Scheme};
use crate::proto::chars;

/// `<digits><unit>`: one unit, at least 1.
pub(super) fn delay(text: &str, ms: bool) -> Option<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let n: u64 = number.parse().ok().filter(|n| *n >= 1 && *n <= u64::from(u32::MAX))?;
    let factor = match unit {
        "ms" if ms => return Some(Duration::from_millis(n)),
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return None,
    };
    n.checked_mul(factor).filter(|n| *n <= u64::from(u32::MAX)).map(Duration::from_secs)
}

/// The same in its canonical form: the largest unit that divides it.
pub(super) fn print_delay(d: Duration) -> String {
    if d.subsec_millis() != 0 {
        return format!("{}ms", d.as_millis());
    }
    let secs = d.as_secs();
    for (unit, size) in [("d", 86400), ("h", 3600), ("m", 60)] {
        if secs > 0 && secs.checked_rem(size) == Some(0) {
            return format!("{}{unit}", secs.checked_div(size).unwrap_or_default());
        }
    }
    format!("{secs}s")
}

/// A number of octets: digits, with a fraction only if a unit follows; B, K, M,
/// G, T of 1024 each, as scan_scaled(3) reads it.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = match text.char_indices().last()? {
        (_, c) if c.is_ascii_digit() => (text, 1),
        (i, c) => {
            let power = match c.to_ascii_uppercase() {
                'B' => 0,
                'K' => 10,
                'M' => 20,
                'G' => 30,
                'T' => 40,
                _ => return None,
            };
            (text.get(..i)?, 1u64.checked_shl(power)?)
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let all_digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    if number.contains('.') && (fraction.is_empty() || fraction.len() > 9 || unit == 1) {
        return None;
    }
    let mut octets = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let places = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = u128::from(fraction.parse::<u64>().ok()?)
            .checked_mul(u128::from(unit))?
            .checked_div(u128::from(places))?;
        octets = octets.checked_add(u64::try_from(part).ok()?)?;
    }
    (octets <= u64::from(u32::MAX).saturating_mul(256)).then_some(octets)
}

/// The services of mail; others are asked of the system.
pub(super) fn service(name: &str) -> Option<u16> {
    const SERVICES: &[(&str, u16)] = &[
        ("imap", 143),
        ("imap2", 143),
        ("imaps", 993),
        ("lmtp", 24),
        ("smtp", 25),
        ("smtps", 465),
        ("submission", 587),
        ("submissions", 465),
    ];
    SERVICES.iter().find(|(n, _)| *n == name).map(|(_, port)| *port)
}

/// Labels of letters, digits, hyphens and underscores.
pub(super) fn is_hostname(name: &str) -> bool {
    name.len() <= 253
        && name.split('.').all(|label| {
            !label.is_empty()
                && label.len() <= 63
                && !label.starts_with('-')
                && !label.ends_with('-')
                && label.bytes().all(|b| chars::is_ldh(b) || b == b'_')
        })
}

/// The TLS versions that libtls's notation names, such as `tlsv1.2,tlsv1.3`,
/// `secure`, `all:!tlsv1.3`.
pub(super) fn protocols(text: &str) -> Result<Protocols, String> {
    let mut found = Protocols { v1_2: false, v1_3: false };
    for word in text.split([',', ':']) {
        let word = word.trim();
        let (on, name) = match word.strip_prefix('!') {
            Some(name) => (false, name),
            None => (true, word),
        };
        match name.to_ascii_lowercase().as_str() {
            "all" | "legacy" | "default" | "secure" | "tlsv1" => {
                found = Protocols { v1_2: on, v1_3: on };
            }
            "tlsv1.2" => found.v1_2 = on,
            "tlsv1.3" => found.v1_3 = on,
            "tlsv1.0" | "tlsv1.1" if !on => {}
            "tlsv1.0" | "tlsv1.1" => {
                return Err(format!(
                    "{name} is not safe and never offered: write tlsv1.2 or tlsv1.3"
                ));
            }
            _ => return Err(format!("no TLS version \"{name}\": there are tlsv1.2 and tlsv1.3")),
        }
    }
    if !found.v1_2 && !found.v1_3 {
        return Err("no TLS version is left: write tlsv1.2 or tlsv1.3".to_string());
    }
    Ok(found)
}

/// A cipher list is checked by the TLS library when it is loaded; here only
/// that it is one word of printable characters.
pub(super) fn is_cipher_list(text: &str) -> bool {
    !text.is_empty() && text.len() <= 1023 && text.bytes().all(chars::is_vchar)
}

/// `[proto://][label@]host[:port]`
///
/// Public for the tables of relay hosts, whose entries are the same.
pub fn relay_url(text: &str) -> Result<RelayUrl, String> {
    let bad = |why: &str| format!("relay \"{text}\": {why}");
    if text.len() > 1023 {
        return Err("relay: longer than 1023 bytes".to_string());
    }
    let (scheme, rest) = match text.split_once("://") {
        None => (Scheme::Smtp, text),
        Some((name, rest)) => {
            let found = SCHEMES.iter().find(|(n, _, _)| n.eq_ignore_ascii_case(name));
            let scheme = found.map(|(_, s, _)| *s).ok_or_else(|| {
                bad("the schemes are smtp://, smtp+tls://, smtp+notls://, smtps:// and lmtp://")
            })?;
            (scheme, rest)
        }
    };
    let (label, rest) = match rest.split_once('@') {
        None => (None, rest),
        Some((label, rest)) => {
            if !matches!(scheme, Scheme::SmtpTls | Scheme::Smtps) {
                return Err(bad("a password needs encryption: write smtp+tls:// or smtps://"));
            }
            if label.is_empty() || !label.bytes().all(chars::is_vchar) {
                return Err(bad("the label before @ is empty or not printable"));
            }
            (Some(label.to_string()), rest)
        }
    };
    let (host, port) = if rest.starts_with('[') {
        let end = rest.find(']').ok_or_else(|| bad("the [ of the address is not closed"))?;
        let (host, after) = rest.split_at_checked(end.saturating_add(1)).unwrap_or((rest, ""));
        let inside = host.trim_start_matches('[').trim_end_matches(']');
        let v6 = inside.get(..5).filter(|p| p.eq_ignore_ascii_case("IPv6:"));
        let inside = if v6.is_some() { inside.get(5..).unwrap_or_default() } else { inside };
        let ip = inside.parse::<IpAddr>().map_err(|_| bad("no address between the brackets"))?;
        let port = match after {
            "" => None,
            p => Some(p.strip_prefix(':').ok_or_else(|| bad("unexpected text after ]"))?),
        };
        (format!("[{ip}]"), port)
    } else {
        let (host, port) = match rest.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let host = host.to_ascii_lowercase();
        if host.parse::<Ipv4Addr>().is_err() && !is_hostname(&host) {
            return Err(bad("the host is not a name, an IPv4 address, or an address in brackets"));
        }
        (host, port)
    };
    let port = match port {
        Some(p) => match p.parse::<u16>().ok().filter(|p| *p > 0).or_else(|| service(p)) {
            Some(port) => port,
            None => return Err(bad("the port is not between 1 and 65535")),
        },
        None => {
            let default = SCHEMES.iter().find(|(_, s, _)| *s == scheme).and_then(|(_, _, p)| *p);
            default.ok_or_else(|| bad("lmtp:// needs a port, such as lmtp://127.0.0.1:24"))?
        }
    };
    Ok(RelayUrl { scheme, label, host, port })
}

/// The schemes and their ports.
const SCHEMES: &[(&str, Scheme, Option<u16>)] = &[
    ("smtp", Scheme::Smtp, Some(25)),
    ("smtp+tls", Scheme::SmtpTls, Some(25)),
    ("smtp+notls", Scheme::SmtpNoTls, Some(25)),
    ("smtps", Scheme::Smtps, Some(465)),
    ("lmtp", Scheme::Lmtp, None),
];

impl std::fmt::Display for RelayUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let scheme = SCHEMES.iter().find(|(_, s, _)| *s == self.scheme).map_or("", |(n, _, _)| n);
        write!(f, "{scheme}://")?;
        if let Some(label) = &self.label {
            write!(f, "{label}@")?;
        }
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_have_one_unit() {
        assert_eq!(delay("4h", false), Some(Duration::from_secs(14400)));
        assert_eq!(delay("500ms", true), Some(Duration::from_millis(500)));
        for bad in ["4", "0s", "4w", "1h30m", "h", "-1s", "500ms", "99999999999s", "60000d", ""] {
            assert_eq!(delay(bad, false), None, "{bad}");
        }
    }

    #[test]
    fn delays_print_in_their_largest_unit() {
        for text in ["1s", "90s", "1m", "4h", "4d", "25h", "1500ms", "1ms"] {
            assert_eq!(print_delay(delay(text, true).unwrap()), text);
        }
        assert_eq!(print_delay(delay("24h", false).unwrap()), "1d");
    }

    #[test]
    fn sizes() {
        assert_eq!(size("35M"), Some(35 << 20));
        assert_eq!(size("1.5k"), Some(1536));
        assert_eq!(size("100"), Some(100));
        assert_eq!(size("0"), Some(0));
        for bad in
            ["", "M", "-1", "1.5", "1.", "1.M", "1e9", "1KB", "99999999999G", "1.0000000001M"]
        {
            assert_eq!(size(bad), None, "{bad}");
        }
    }

    #[test]
    fn host_names() {
        assert!(is_hostname("mail.example.com"));
        assert!(is_hostname("localhost"));
        for bad in ["", ".", "a..b", "-a.b", "a b", "a/b", "a.b."] {
            assert!(!is_hostname(bad), "{bad}");
        }
    }

    #[test]
    fn tls_versions() {
        assert_eq!(protocols("tlsv1.3"), Ok(Protocols { v1_2: false, v1_3: true }));
        assert_eq!(protocols("all,!tlsv1.2"), Ok(Protocols { v1_2: false, v1_3: true }));
        assert_eq!(protocols("secure"), Ok(Protocols { v1_2: true, v1_3: true }));
        assert!(protocols("tlsv1.0").unwrap_err().contains("not safe"));
        assert!(protocols("tlsv1.2:!tlsv1.2").unwrap_err().contains("left"));
        assert!(protocols("ssl3").unwrap_err().contains("no TLS version"));
    }

    #[test]
    fn relay_urls() {
        let url = |t| relay_url(t).map(|u| u.to_string());
        assert_eq!(url("mx.example.org").unwrap(), "smtp://mx.example.org:25");
        assert_eq!(url("SMTPS://me@mx.Example.org").unwrap(), "smtps://me@mx.example.org:465");
        assert_eq!(url("smtp+tls://a@[::1]:2525").unwrap(), "smtp+tls://a@[::1]:2525");
        assert_eq!(url("smtp://[IPv6:::1]").unwrap(), "smtp://[::1]:25");
        assert_eq!(url("lmtp://127.0.0.1:24").unwrap(), "lmtp://127.0.0.1:24");
        assert_eq!(url("smtp://h:submission").unwrap(), "smtp://h:587");
        for bad in [
            "",
            "smtp://",
            "ftp://h",
            "smtp://me@h",
            "smtp+notls://me@h",
            "lmtp://h",
            "h:0",
            "h:x",
            "[::1",
            "[x]",
            "[::1]x",
            "smtps://@h",
            "h:70000",
            "a b",
        ] {
            assert!(relay_url(bad).is_err(), "{bad}");
        }
        let printed = url("smtp+tls://label@[192.0.2.1]").unwrap();
        assert_eq!(url(&printed).unwrap(), printed);
    }
}
