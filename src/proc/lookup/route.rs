//! Routes: which hosts take mail of a relay action for a domain, and what the
//! action's tables say of them.

use super::dns::{is_host, Dns};
use super::hosts;
use super::tables::Tables;
use crate::base::clock::Deadline;
use crate::conf::ast::{
    Config, Deliver, Hosts, LmtpDest, Method, Relay, RelayUrl, Scheme as UrlScheme, Sources,
};
use crate::conf::relay_url;
use crate::disk::table::{Service, Value};
use crate::ipc::mta_lookup::{Credentials, Host, NoRoute, Route, Scheme};
use crate::proto::dns::Name;
use crate::proto::pattern;
use crate::proto::secret::Secret;
use crate::proto::text::idna;
use crate::sys::rand;
use std::net::IpAddr;

/// What routes are made of.
#[derive(Clone, Copy)]
pub struct Router<'a> {
    /// The configuration.
    pub config: &'a Config,
    /// Its tables.
    pub tables: &'a Tables,
    /// The DNS.
    pub dns: &'a Dns,
    /// The server's name.
    pub server: &'a str,
}

fn temporary(why: impl std::fmt::Display) -> NoRoute {
    NoRoute::Temporary { why: why.to_string() }
}

impl Router<'_> {
    fn relay(&self, action: &str) -> Result<&Relay, String> {
        match self.config.action(action).map(|a| &a.method) {
            Some(Method::Relay(relay)) => Ok(relay),
            Some(Method::Local(_)) => Err(format!("action \"{action}\" does not relay")),
            None => Err(format!("no action \"{action}\"")),
        }
    }

    /// The server of an action `lmtp "host:port"`: mta delivers to it as to a
    /// relay, whatever the domain.
    fn lmtp(&self, action: &str) -> Option<RelayUrl> {
        let Method::Local(local) = &self.config.action(action)?.method else { return None };
        let Deliver::Lmtp { dest: LmtpDest::Tcp(host, port), .. } = &local.deliver else {
            return None;
        };
        let (host, port) = (host.clone(), *port);
        Some(RelayUrl { scheme: UrlScheme::Lmtp, label: None, host, port })
    }

    /// The hosts for a domain; blocks up to `deadline`, for the DNS.
    pub fn route(&self, action: &str, domain: &str, deadline: Deadline) -> Result<Route, NoRoute> {
        if let Some(lmtp) = self.lmtp(action) {
            let hosts = self.of_urls(&[lmtp], deadline)?;
            return Ok(Route { hosts, sources: Vec::new() });
        }
        let relay = self.relay(action).map_err(temporary)?;
        let sources = self.sources(relay, deadline).map_err(temporary)?;
        let hosts = if let Some(hosts) = &relay.host {
            let mut urls = match hosts {
                Hosts::Urls(urls) => urls.clone(),
                Hosts::Table(name) => {
                    let list = self.tables.named(name).and_then(|t| t.fetch(deadline));
                    let list = list.map_err(|e| temporary(e.0))?;
                    list.iter()
                        .map(|t| relay_url(t))
                        .collect::<Result<_, _>>()
                        .map_err(temporary)?
                }
            };
            // Each has its share: one is first, those behind it come after it.
            let turn = usize::try_from(rand::u32()).unwrap_or(0);
            let first = turn.checked_rem(urls.len()).unwrap_or(0);
            urls.rotate_left(first);
            self.of_urls(&urls, deadline)?
        } else if let Some(table) = &relay.domain {
            let found = self.tables.ask(table, Service::DomainMapping, domain, deadline);
            let Some(Value::Text(url)) = found.map_err(|e| temporary(e.0))? else {
                // The administrator sent the domain here and named no relay.
                return Err(temporary(format!("no relay for {domain} in the table")));
            };
            self.of_urls(&[relay_url(&url).map_err(temporary)?], deadline)?
        } else {
            self.of_mx(relay, domain, deadline)?
        };
        Ok(Route { hosts, sources })
    }

    /// Hosts of relay URLs: no MX, the next one when the one before is unknown.
    fn of_urls(&self, urls: &[RelayUrl], deadline: Deadline) -> Result<Vec<Host>, NoRoute> {
        let mut hosts = Vec::new();
        let mut failed = None;
        for url in urls {
            let (addrs, authentic) = match url.host.trim_matches(['[', ']']).parse::<IpAddr>() {
                Ok(addr) => (vec![addr], false),
                Err(_) => {
                    let host = idna::domain_key(&url.host);
                    let Ok(name) = Name::from_dotted(host.as_bytes()) else { continue };
                    let here = hosts::addresses(&url.host);
                    let found = match here.is_empty() {
                        true => self.dns.addresses(&name, deadline),
                        false => Ok((here, false)),
                    };
                    match found {
                        Ok(found) => found,
                        Err(why) => {
                            failed = Some(why);
                            continue;
                        }
                    }
                }
            };
            if addrs.is_empty() {
                // Whoever wrote the relay down meant an existing one.
                failed = Some(format!("{} has no address", url.host));
                continue;
            }
            hosts.push(Host {
                // What SNI carries and certificates have.
                name: idna::domain_key(&url.host).into_owned(),
                addrs,
                port: url.port,
                scheme: scheme(url.scheme),
                label: url.label.clone(),
                preference: 0,
                authentic,
            });
        }
        match failed {
            Some(why) if hosts.is_empty() => Err(temporary(why)),
            _ => Ok(hosts),
        }
    }

    fn of_mx(&self, relay: &Relay, domain: &str, deadline: Deadline) -> Result<Vec<Host>, NoRoute> {
        let plain = |name: String, addrs, preference, authentic| Host {
            name,
            addrs,
            port: 25,
            scheme: Scheme::Smtp,
            label: None,
            preference,
            authentic,
        };
        // RFC 5321 4.1.3: an address literal is its own host.
        if domain.starts_with('[') {
            let inside = domain.trim_matches(['[', ']']);
            let inside = inside
                .strip_prefix("IPv6:")
                .or_else(|| inside.strip_prefix("ipv6:"))
                .unwrap_or(inside);
            let addr = inside.parse().ok().filter(|addr| is_host(*addr));
            let addr: IpAddr = addr.ok_or(NoRoute::NoDomain)?;
            return Ok(vec![plain(domain.to_string(), vec![addr], 0, false)]);
        }
        let mut own = vec![self.server];
        if let Some(Some(mx)) = &relay.backup {
            own = vec![mx.as_str()];
        }
        let hosts = self.dns.mail_hosts(domain, &own, deadline)?;
        Ok(hosts.into_iter().map(|h| plain(h.name, h.addrs, h.preference, h.authentic)).collect())
    }

    fn sources(&self, relay: &Relay, deadline: Deadline) -> Result<Vec<IpAddr>, String> {
        match &relay.src {
            None => Ok(Vec::new()),
            Some(Sources::Addrs(addrs)) => Ok(addrs.clone()),
            Some(Sources::Table(name)) => {
                let list = self.tables.named(name).and_then(|t| t.fetch(deadline));
                let list = list.map_err(|e| e.0)?;
                list.iter()
                    .map(|t| pattern::address(t).ok_or_else(|| format!("{t} is not an address")))
                    .collect()
            }
        }
    }

    /// User and password of a label.
    pub fn credentials(
        &self,
        action: &str,
        label: &str,
        deadline: Deadline,
    ) -> Result<Option<Credentials>, String> {
        let relay = self.relay(action)?;
        let table = relay.auth.as_ref().ok_or_else(|| format!("{action} has no auth"))?;
        let found =
            self.tables.named(table).and_then(|t| t.lookup(Service::Mapping, label, deadline));
        let Some(Value::Text(value)) = found.map_err(|e| e.0)? else { return Ok(None) };
        let (user, password) = value.split_once(':').ok_or("not user:password")?;
        let password = Secret::new(password.as_bytes().to_vec());
        Ok(Some(Credentials { user: user.to_string(), password }))
    }

    /// Our name from this local address.
    pub fn helo(
        &self,
        action: &str,
        local: IpAddr,
        deadline: Deadline,
    ) -> Result<Option<String>, String> {
        if self.lmtp(action).is_some() {
            return Ok(None);
        }
        let Some(table) = &self.relay(action)?.helo_src else { return Ok(None) };
        for key in keys_of(local) {
            match self.tables.ask(table, Service::Mapping, &key, deadline).map_err(|e| e.0)? {
                Some(Value::Text(name)) => return Ok(Some(name)),
                _ => continue,
            }
        }
        Ok(None)
    }
}

/// How a table may write an address.
pub fn keys_of(addr: IpAddr) -> [String; 2] {
    let addr = addr.to_canonical();
    [addr.to_string(), format!("[{addr}]")]
}

fn scheme(s: UrlScheme) -> Scheme {
    match s {
        UrlScheme::Smtp => Scheme::Smtp,
        UrlScheme::SmtpTls => Scheme::SmtpTls,
        UrlScheme::SmtpNoTls => Scheme::SmtpNoTls,
        UrlScheme::Smtps => Scheme::Smtps,
        UrlScheme::Lmtp => Scheme::Lmtp,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;
    use std::time::Duration;

    const CONFIG: &str = r#"
table secrets { me = "user:pass:word" }
table relays { "[192.0.2.1]:2525", "lmtp://127.0.0.1:24" }
table srcs { 192.0.2.9, "[::1]" }
action smart relay host smtps://me@192.0.2.8 auth <secrets> src <srcs> helo-src { "192.0.2.9" = a.b }
action many relay host <relays>
action bydomain relay domain { "d.example" = "smtp+notls://[::1]:26", "bücher.example" = "smtp://192.0.2.4" }
action box mbox
match action box
"#;

    fn with<T>(f: impl FnOnce(&Router<'_>) -> T) -> T {
        let config = conf::parse("t", CONFIG.as_bytes(), &[], &mut conf::NoFiles)
            .unwrap_or_else(|e| panic!("{e:?}"));
        let tables = Tables::build(&config, &[]).unwrap();
        let dns = Dns::new(&config, None);
        f(&Router { config: &config, tables: &tables, dns: &dns, server: "mx.example" })
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(20))
    }

    #[test]
    fn smarthosts() {
        with(|r| {
            let route = r.route("smart", "x.example", soon()).unwrap();
            let host = &route.hosts[0];
            assert_eq!(
                (host.port, host.scheme, host.label.as_deref()),
                (465, Scheme::Smtps, Some("me"))
            );
            assert_eq!(route.sources.len(), 2);
            let mut orders = std::collections::HashSet::new();
            for _ in 0..100 {
                let many = r.route("many", "x.example", soon()).unwrap();
                orders.insert(many.hosts.iter().map(|h| h.port).collect::<Vec<_>>());
            }
            assert_eq!(orders, [vec![2525, 24], vec![24, 2525]].into());
            let by = r.route("bydomain", "D.example", soon()).unwrap();
            assert_eq!(by.hosts[0].scheme, Scheme::SmtpNoTls);
            for (action, domain) in [("bydomain", "e.example"), ("box", "x"), ("none", "x")] {
                assert!(matches!(r.route(action, domain, soon()), Err(NoRoute::Temporary { .. })));
            }
        });
    }

    #[test]
    fn credentials_and_names_of_a_relay() {
        with(|r| {
            let found = r.credentials("smart", "me", soon()).unwrap().unwrap();
            assert_eq!((found.user.as_str(), found.password.expose()), ("user", &b"pass:word"[..]));
            assert!(r.credentials("smart", "you", soon()).unwrap().is_none());
            assert!(r.credentials("many", "me", soon()).is_err());
            let helo = |a: &str| r.helo("smart", a.parse().unwrap(), soon()).unwrap();
            assert_eq!(helo("192.0.2.9").as_deref(), Some("a.b"));
            assert_eq!(helo("192.0.2.10"), None);
        });
    }
}
