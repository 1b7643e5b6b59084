//! DNS for the daemon: a cache over the stub resolver, the names of clients,
//! and the hosts that take a domain's mail.
//!
//! RFC 5321 5.1 (MX), RFC 7505 (null MX), RFC 8601 2.7.3 (iprev), RFC 2308 and
//! RFC 9520 (what failures may be kept).

use super::servers::NameServers;
use crate::base::clock::{Deadline, Since};
use crate::base::lock;
use crate::conf::ast::Config;
use crate::ipc::mta_lookup::NoRoute;
use crate::ipc::smtp_lookup::Rdns;
use crate::proto::dns::{Answer, Data, Name, Query, Status, Type};
use crate::proto::text::idna;
use crate::sys::rand;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

/// How many answers are kept.
const KEPT_MAX: usize = 20_000;
/// An answer is kept no longer than this, whatever its TTL.
const KEEP_MAX: Duration = Duration::from_secs(3600);
/// How long a failure is kept (RFC 9520 3.2: at least 1 s, at most 5 min).
const KEEP_FAILURE: Duration = Duration::from_secs(5);
/// Names of one address that are looked at, and hosts of one domain.
const NAMES_MAX: usize = 10;

/// The DNS with a cache.  Any thread.
pub struct Dns {
    servers: NameServers,
    kept: Mutex<HashMap<Query, Kept>>,
}

struct Kept {
    answer: Answer,
    since: Since,
    time: Duration,
}

/// A host of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MxHost {
    /// Its name.
    pub name: String,
    /// Its addresses, IPv6 first; never none.
    pub addrs: Vec<IpAddr>,
    /// Lower is better.
    pub preference: u16,
    /// DNSSEC vouches for it.
    pub authentic: bool,
}

impl Dns {
    /// For a configuration; `before`: the one before it.
    pub fn new(config: &Config, before: Option<&Dns>) -> Dns {
        let servers = NameServers::new(config, before.map(|b| &b.servers));
        Dns { servers, kept: Mutex::default() }
    }

    /// Asks, or knows.
    pub fn ask(&self, name: &Name, rtype: Type, deadline: Deadline) -> Answer {
        let query = Query::new(name.to_lower(), rtype);
        if let Some(kept) = lock::lock(&self.kept).get(&query) {
            if kept.since.elapsed() < kept.time {
                return kept.answer.clone();
            }
        }
        let answer = self.servers.resolver().ask(&query, deadline);
        let time = match answer.failure() {
            // Our own haste is no failure of the DNS.
            Some(_) if deadline.expired() => return answer,
            Some(_) => KEEP_FAILURE,
            None => Duration::from_secs(u64::from(answer.ttl)).min(KEEP_MAX),
        };
        if !time.is_zero() {
            let mut kept = lock::lock(&self.kept);
            if kept.len() >= KEPT_MAX {
                kept.retain(|_, k| k.since.elapsed() < k.time);
                if kept.len() >= KEPT_MAX {
                    kept.clear();
                }
            }
            kept.insert(query, Kept { answer: answer.clone(), since: Since::now(), time });
        }
        answer
    }

    /// How many answers are kept.
    pub fn kept(&self) -> usize {
        lock::lock(&self.kept).len()
    }

    /// The addresses of a host, IPv6 first; the error: not known now.
    pub fn addresses(
        &self,
        name: &Name,
        deadline: Deadline,
    ) -> Result<(Vec<IpAddr>, bool), String> {
        let mut found = Vec::new();
        let mut failed = None;
        let mut authentic = true;
        for rtype in [Type::AAAA, Type::A] {
            let answer = self.ask(name, rtype, deadline);
            authentic &= answer.authentic;
            match answer.failure() {
                Some(f) => failed = Some(f),
                None => found.extend(answer.addresses()),
            }
        }
        match failed {
            // Half an answer is worth more than none.
            Some(f) if found.is_empty() => Err(format!("{}: {f:?}", text(name))),
            _ => Ok((found, authentic)),
        }
    }

    /// Which host is this address?  Names that lead back to it are confirmed.
    pub fn client(&self, addr: IpAddr, deadline: Deadline) -> Rdns {
        let addr = addr.to_canonical();
        let Some(query) = reverse(addr) else { return Rdns::Unknown };
        let answer = self.ask(&query, Type::PTR, deadline);
        if answer.failure().is_some() {
            return Rdns::Unknown;
        }
        let mut first = None;
        let mut unknown = false;
        for data in answer.records.iter().take(NAMES_MAX) {
            let Data::Ptr(name) = data else { continue };
            first = first.or_else(|| Some(text(name)));
            match self.addresses(name, deadline) {
                Ok((addrs, _)) if addrs.contains(&addr) => {
                    return Rdns::Confirmed { name: text(name) };
                }
                Ok(_) => {}
                Err(_) => unknown = true,
            }
        }
        match first {
            None => Rdns::NoName,
            Some(_) if unknown => Rdns::Unknown,
            Some(name) => Rdns::Unconfirmed { name },
        }
    }

    /// The hosts that take a domain's mail, best first, those of one preference
    /// in random order.  `better_than`: only hosts before this one of ours.
    /// RFC 5321 5.1.
    pub fn mail_hosts(
        &self,
        domain: &str,
        own: &[&str],
        deadline: Deadline,
    ) -> Result<Vec<MxHost>, NoRoute> {
        let domain = &*idna::domain_key(domain);
        let Ok(name) = Name::from_dotted(domain.as_bytes()) else { return Err(NoRoute::NoDomain) };
        let answer = self.ask(&name, Type::MX, deadline);
        let mut exchanges: Vec<(u16, Name)> = match answer.status {
            Status::Failed(f) => {
                return Err(NoRoute::Temporary { why: format!("MX of {domain}: {f:?}") });
            }
            Status::NxDomain => return Err(NoRoute::NoDomain),
            // RFC 5321 5.1: without MX the domain itself is the host.
            Status::NoData => vec![(0, name)],
            Status::Found => {
                let mx = |d: &Data| match d {
                    Data::Mx(preference, host) => Some((*preference, host.clone())),
                    _ => None,
                };
                answer.records.iter().filter_map(mx).collect()
            }
        };
        // RFC 7505 3: one record with the root as its host.
        if matches!(exchanges.as_slice(), [(_, host)] if host.is_root()) {
            return Err(NoRoute::NullMx);
        }
        exchanges.retain(|(_, host)| !host.is_root());
        // RFC 5321 5.1: hosts that are not better than ourselves would loop.
        let is_own = |host: &Name| own.iter().any(|o| text(host) == idna::domain_key(o));
        let limit = exchanges.iter().filter(|(_, h)| is_own(h)).map(|(p, _)| *p).min();
        if let Some(limit) = limit {
            exchanges.retain(|(p, _)| *p < limit);
            if exchanges.is_empty() {
                return Err(NoRoute::Loop);
            }
        }
        let mut hosts = Vec::new();
        let mut failed = None;
        exchanges.sort_by_key(|(p, _)| (*p, rand::u32()));
        for (preference, host) in exchanges.into_iter().take(NAMES_MAX) {
            match self.addresses(&host, deadline) {
                Ok((mut addrs, authentic)) => {
                    addrs.retain(|addr| is_host(*addr));
                    if addrs.is_empty() {
                        continue;
                    }
                    hosts.push(MxHost {
                        name: text(&host),
                        addrs,
                        preference,
                        authentic: authentic && answer.authentic,
                    });
                }
                Err(why) => failed = Some(why),
            }
        }
        match failed {
            _ if !hosts.is_empty() => Ok(hosts),
            Some(why) => Err(NoRoute::Temporary { why }),
            // It names hosts that do not exist: nobody takes its mail.
            None => Err(NoRoute::NoDomain),
        }
    }
}

/// Whether a host on the network can have this address.  A connection to 0.0.0.0
/// would lead here.
pub fn is_host(addr: IpAddr) -> bool {
    let addr = addr.to_canonical();
    let broadcast = matches!(addr, IpAddr::V4(a) if a.is_broadcast());
    !addr.is_unspecified() && !addr.is_multicast() && !broadcast
}

/// `1.2.0.192.in-addr.arpa`, and the nibbles of IPv6.  RFC 1035 3.5, RFC 3596 2.5.
fn reverse(addr: IpAddr) -> Option<Name> {
    let text = match addr {
        IpAddr::V4(a) => {
            let [a, b, c, d] = a.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(a) => {
            let nibbles: String =
                a.octets().iter().rev().map(|o| format!("{:x}.{:x}.", o & 15, o >> 4)).collect();
            format!("{nibbles}ip6.arpa")
        }
    };
    Name::parse(text.as_bytes()).ok()
}

/// A name as text, in lower case, without the dot at its end.
fn text(name: &Name) -> String {
    name.to_lower().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_lead_back_here_are_no_hosts() {
        let host = |text: &str| is_host(text.parse().unwrap());
        assert!(host("192.0.2.1") && host("127.0.0.1") && host("2001:db8::1"));
        for not in ["0.0.0.0", "::", "::ffff:0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"] {
            assert!(!host(not), "{not}");
        }
    }

    #[test]
    fn reverse_names() {
        let name = |a: &str| text(&reverse(a.parse().unwrap()).unwrap());
        assert_eq!(name("192.0.2.1"), "1.2.0.192.in-addr.arpa");
        assert_eq!(
            name("2001:db8::1"),
            "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa"
        );
    }

    /// A cache that knows a zone and has nobody to ask.
    fn dns(zone: &[(&str, Type, Status, Vec<Data>)]) -> Dns {
        let dns = Dns { servers: NameServers::fixed(Vec::new()), kept: Mutex::default() };
        for (name, rtype, status, records) in zone {
            let name = Name::parse(name.as_bytes()).unwrap();
            let mut answer = Answer::found(&name, 60, records.clone());
            answer.status = *status;
            let time = Duration::from_secs(3600);
            let kept = Kept { answer, since: Since::now(), time };
            lock::lock(&dns.kept).insert(Query::new(name, *rtype), kept);
        }
        dns
    }

    fn mx(p: u16, host: &str) -> Data {
        Data::Mx(p, Name::parse(host.as_bytes()).unwrap())
    }
    fn a(addr: &str) -> Data {
        Data::A(addr.parse().unwrap())
    }
    fn aaaa(addr: &str) -> Data {
        Data::Aaaa(addr.parse().unwrap())
    }
    fn ptr(host: &str) -> Data {
        Data::Ptr(Name::parse(host.as_bytes()).unwrap())
    }

    fn zone() -> Dns {
        use Status::{Found, NoData, NxDomain};
        dns(&[
            ("d.example", Type::MX, Found, vec![mx(20, "b.example"), mx(10, "a.example")]),
            ("a.example", Type::A, Found, vec![a("192.0.2.1")]),
            ("a.example", Type::AAAA, Found, vec![aaaa("2001:db8::1")]),
            ("b.example", Type::A, Found, vec![a("192.0.2.2")]),
            ("b.example", Type::AAAA, NoData, vec![]),
            ("xn--bcher-kva.example", Type::MX, Found, vec![mx(10, "a.example")]),
            ("null.example", Type::MX, Found, vec![mx(0, ".")]),
            ("plain.example", Type::MX, NoData, vec![]),
            ("plain.example", Type::A, Found, vec![a("192.0.2.3")]),
            ("plain.example", Type::AAAA, NoData, vec![]),
            ("gone.example", Type::MX, NxDomain, vec![]),
            ("dangling.example", Type::MX, Found, vec![mx(10, "gone.example")]),
            ("gone.example", Type::A, NxDomain, vec![]),
            ("gone.example", Type::AAAA, NxDomain, vec![]),
            ("broken.example", Type::MX, Found, vec![mx(10, "unknown.example")]),
            (
                "1.2.0.192.in-addr.arpa",
                Type::PTR,
                Found,
                vec![ptr("gone.example"), ptr("a.example")],
            ),
            ("2.2.0.192.in-addr.arpa", Type::PTR, Found, vec![ptr("a.example")]),
            ("3.2.0.192.in-addr.arpa", Type::PTR, NxDomain, vec![]),
        ])
    }

    fn hosts(domain: &str, own: &[&str]) -> Result<Vec<String>, NoRoute> {
        let soon = Deadline::after(Duration::from_millis(50));
        zone().mail_hosts(domain, own, soon).map(|h| h.into_iter().map(|h| h.name).collect())
    }

    #[test]
    fn hosts_of_a_domain() {
        assert_eq!(hosts("d.example", &[]).unwrap(), ["a.example", "b.example"]);
        assert_eq!(hosts("D.Example", &[]).unwrap(), ["a.example", "b.example"]);
        assert_eq!(hosts("plain.example", &[]).unwrap(), ["plain.example"]);
        assert_eq!(hosts("null.example", &[]), Err(NoRoute::NullMx));
        assert_eq!(hosts("gone.example", &[]), Err(NoRoute::NoDomain));
        assert_eq!(hosts("dangling.example", &[]), Err(NoRoute::NoDomain));
        assert!(matches!(hosts("broken.example", &[]), Err(NoRoute::Temporary { .. })));
        assert!(matches!(hosts("other.example", &[]), Err(NoRoute::Temporary { .. })));
        assert_eq!(hosts("bücher.example", &[]).unwrap(), ["a.example"]);
        assert_eq!(hosts("xn--bcher-kva.example", &[]).unwrap(), ["a.example"]);
        assert_eq!(hosts("a..b", &[]), Err(NoRoute::NoDomain));
    }

    #[test]
    fn a_host_sends_only_to_better_ones() {
        assert_eq!(hosts("d.example", &["B.example"]).unwrap(), ["a.example"]);
        assert_eq!(hosts("d.example", &["a.example"]), Err(NoRoute::Loop));
    }

    #[test]
    fn clients_are_confirmed_both_ways() {
        let dns = zone();
        let client =
            |a: &str| dns.client(a.parse().unwrap(), Deadline::after(Duration::from_millis(50)));
        assert_eq!(client("192.0.2.1"), Rdns::Confirmed { name: "a.example".into() });
        assert_eq!(client("::ffff:192.0.2.1"), Rdns::Confirmed { name: "a.example".into() });
        assert_eq!(client("192.0.2.2"), Rdns::Unconfirmed { name: "a.example".into() });
        assert_eq!(client("192.0.2.3"), Rdns::NoName);
        assert_eq!(client("192.0.2.9"), Rdns::Unknown);
    }
}
