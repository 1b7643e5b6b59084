//! hosts(5): names that this machine knows without the DNS.
//!
//! *Runs in* lookup, for relays and LMTP servers: whoever wrote such a name
//! into the configuration means what his machine means by it.  Domains of mail
//! are never looked up here.  The administrator's file is read at each question,
//! as resolver(3) does; what is no address is left out.  RFC 6761 6.3: localhost
//! is this machine whatever anybody says.

use crate::base::log::{self, Show};
use std::io::Read;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

const HOSTS: &str = "/etc/hosts";
/// More than this of the file is not read.
const MAX: u64 = 1 << 20;

/// The addresses of a name, in the file's order; none: the DNS is to be asked.
pub fn addresses(name: &str) -> Vec<IpAddr> {
    let text = match read(Path::new(HOSTS)) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
        Err(e) => {
            log::warn!("hosts", file = HOSTS, error = Show(&e));
            String::new()
        }
    };
    let found = named(&text, name);
    let local = name.eq_ignore_ascii_case("localhost")
        || name.len() > 10 && name.to_ascii_lowercase().ends_with(".localhost");
    if found.is_empty() && local {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    found
}

fn read(path: &Path) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// `address name [alias ...]`, comments after `#`.
fn named(text: &str, name: &str) -> Vec<IpAddr> {
    let name = name.trim_end_matches('.');
    let mut all: Vec<IpAddr> = Vec::new();
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let mut words = line.split_ascii_whitespace();
        let Some(addr) = words.next().and_then(|a| a.parse().ok()) else { continue };
        let is = words.any(|w| w.trim_end_matches('.').eq_ignore_ascii_case(name));
        if is && !all.contains(&addr) {
            all.push(addr);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_a_file() {
        let text = "# 192.0.2.9 relay\n127.0.0.1\tlocalhost relay\n::1 localhost\n\
                    192.0.2.1 mx.example.org. Relay # b\nfe80::1%lo0 localhost\n192.0.2.1 relay\nx y";
        let all = |name: &str| {
            named(text, name).iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(all("localhost"), "127.0.0.1 ::1");
        assert_eq!(all("RELAY"), "127.0.0.1 192.0.2.1");
        assert_eq!(all("mx.example.org"), "192.0.2.1");
        assert_eq!(all("b"), "");
        assert_eq!(all("y"), "");
    }

    #[test]
    fn localhost_is_this_machine() {
        for name in ["localhost", "LOCALHOST", "no.such.localhost"] {
            assert!(addresses(name).iter().all(IpAddr::is_loopback), "{name}");
            assert!(!addresses(name).is_empty(), "{name}");
        }
        assert!(addresses("no.such.name.example").is_empty());
    }
}
