//! What entries of tables are compared with: networks, names with asterisks,
//! regular expressions, patterns of mail addresses.
//!
//! *Runs in* lookup, and in parent to check a configuration.  The entries are
//! the administrator's, what is compared with them is hostile: every comparison
//! is linear in its length.

use std::net::{IpAddr, Ipv6Addr};

/// An address, IPv6 with or without brackets.
pub fn address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|t| t.strip_suffix(']')) {
        Some(inside) => inside.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        None => text.parse().ok(),
    }
}

/// An address or network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    addr: IpAddr,
    bits: u8,
}

impl Network {
    /// `192.0.2.1`, `192.0.2.0/24`, `[::1]`, `[fe80::]/10`, brackets optional.
    pub fn parse(text: &str) -> Option<Network> {
        let (addr, bits) = match text.split_once('/') {
            Some((a, b)) => (a, Some(b)),
            None => (text, None),
        };
        let addr = address(addr)?;
        let max = if addr.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            None => max,
            Some(b) if b.bytes().all(|b| b.is_ascii_digit()) => {
                b.parse().ok().filter(|b| *b <= max)?
            }
            Some(_) => return None,
        };
        Some(Network { addr, bits })
    }

    /// True if the address is in it.
    pub fn contains(&self, other: IpAddr) -> bool {
        use IpAddr::{V4, V6};
        let same = |x: u128, width: u32| {
            let shift = width.saturating_sub(u32::from(self.bits));
            x.checked_shr(shift).unwrap_or(0) == 0
        };
        match (self.addr, other) {
            (V4(a), V4(b)) => same(u128::from(a.to_bits() ^ b.to_bits()), 32),
            (V6(a), V6(b)) => same(a.to_bits() ^ b.to_bits(), 128),
            _ => false,
        }
    }
}

/// A regular expression as smtpd.conf knows them: POSIX extended syntax, found
/// anywhere in the text, case ignored after `(?i)`.  The error is for people.
pub fn regex(text: &str) -> Result<regex::bytes::Regex, String> {
    // Addresses are bytes, and only ASCII has case here.
    let built = regex::bytes::RegexBuilder::new(text).unicode(false).size_limit(1 << 20).build();
    built.map_err(|e| {
        let why = e.to_string();
        format!("\"{text}\" is not a regular expression: {}", why.lines().last().unwrap_or(&why))
    })
}

/// True if a name is what a pattern says; `*` stands for any characters, ASCII
/// case does not count.
///
/// Without backtracking: each asterisk goes on to the first place where what
/// follows it fits, so this is linear, and `*.a.*.b` never takes a second look.
pub fn glob(pattern: &str, name: &str) -> bool {
    let (pattern, name) = (pattern.to_ascii_lowercase(), name.to_ascii_lowercase());
    let mut pieces = pattern.split('*');
    let first = pieces.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let pieces: Vec<&str> = pieces.collect();
    let Some((last, middle)) = pieces.split_last() else { return rest.is_empty() };
    for piece in middle {
        match rest.split_once(piece) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// A pattern of mail addresses: `user`, `@domain`, `user@domain`,
/// `user@*.domain`, `@`.
///
/// The sub-address of what is compared counts only if the pattern has one.
pub fn mail_address(pattern: &str, local: &str, domain: &str, delim: char) -> bool {
    let (want_local, want_domain) = match pattern.rsplit_once('@') {
        Some((l, d)) => (l, Some(d)),
        None => (pattern, None),
    };
    if let Some(d) = want_domain.filter(|d| !d.is_empty()) {
        if !glob(d, domain) {
            return false;
        }
    }
    if want_local.is_empty() {
        return want_domain.is_some();
    }
    let tagged = want_local.chars().skip(1).any(|c| c == delim);
    let bare = crate::proto::addr::split_detail(local, delim).0;
    want_local.eq_ignore_ascii_case(if tagged { local } else { bare })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let net = |t: &str| Network::parse(t).unwrap();
        let ip = |t: &str| t.parse().unwrap();
        assert!(net("192.0.2.0/24").contains(ip("192.0.2.255")));
        assert!(!net("192.0.2.0/24").contains(ip("192.0.3.0")));
        assert!(net("0.0.0.0/0").contains(ip("255.1.2.3")));
        assert!(!net("0.0.0.0/0").contains(ip("::1")));
        assert!(net("::/0").contains(ip("fe80::1")));
        assert!(net("[fe80::]/10").contains(ip("fe80::1")));
        assert!(net("[::1]").contains(ip("::1")));
        assert!(!net("::1").contains(ip("::2")));
        for bad in
            ["", "1.2.3", "1.2.3.4/33", "::1/129", "1.2.3.4/", "1.2.3.4/+8", "[1.2.3.4]", "x"]
        {
            assert_eq!(Network::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn globs() {
        for (pattern, name, is) in [
            ("*", "", true),
            ("*", "example.org", true),
            ("example.org", "Example.ORG", true),
            ("example.org", "an.example.org", false),
            ("*.example.org", "an.example.org", true),
            ("*.example.org", "example.org", false),
            ("mx*.example.*", "mx1.example.net", true),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "acb", false),
            ("a*a", "a", false),
            ("a**", "ab", true),
        ] {
            assert_eq!(glob(pattern, name), is, "{pattern} {name}");
        }
    }

    #[test]
    fn a_glob_of_asterisks_is_linear() {
        let pattern = "*a".repeat(1000);
        assert!(!glob(&pattern, &"b".repeat(100_000)));
    }

    #[test]
    fn mail_addresses() {
        for (pattern, local, domain, is) in [
            ("@", "joe", "example.org", true),
            ("joe", "joe", "anywhere.example", true),
            ("joe", "Joe", "example.org", true),
            ("joe", "joey", "example.org", false),
            ("@example.org", "x", "example.org", true),
            ("@example.org", "x", "sub.example.org", false),
            ("joe@example.org", "joe+tag", "example.org", true),
            ("joe+tag@example.org", "joe+tag", "example.org", true),
            ("joe+tag@example.org", "joe+other", "example.org", false),
            ("joe+tag@example.org", "joe", "example.org", false),
            ("joe@*.example.org", "joe", "a.example.org", true),
            ("", "", "", false),
        ] {
            assert_eq!(mail_address(pattern, local, domain, '+'), is, "{pattern} {local}@{domain}");
        }
    }
}
