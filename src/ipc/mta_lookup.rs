//! The edge from mta to lookup: hosts, addresses, credentials for relays.
//!
//! mta has the parameters of its relay actions; what stands in tables or in the
//! DNS it asks for here.  A table of credentials is asked by action and label,
//! so that a broken mta learns no more passwords than it uses.

use crate::proto::secret::Secret;
use std::net::IpAddr;

crate::wire! {
    /// mta to lookup.
    pub enum Ask {
        /// Which hosts take mail of this action for this domain, best first?
        Route { action: String, domain: String },
        /// User and password of a label, by the action's `auth` table.
        Credentials { action: String, label: String },
        /// Our name in EHLO from this local address, by the action's `helo-src`.
        Helo { action: String, local: IpAddr },
        /// An LMTP server on a socket: have parent connect it under `request`.
        Socket { action: String, request: u64 },
    }

    /// lookup to mta.
    pub enum Answer {
        /// To `Route`.
        Route { route: Result<Route, NoRoute> },
        /// To `Credentials`; `None`: the table has no such label.
        Credentials { found: Result<Option<Credentials>, String> },
        /// To `Helo`; `None`: the table has no such address.
        Helo { name: Result<Option<String>, String> },
        /// To `Socket`: parent has been asked.
        Socket { asked: Result<(), String> },
    }

    /// Where mail of a domain goes.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Route {
        /// Hosts, best first; those of equal preference in random order.
        pub hosts: Vec<Host>,
        /// Local addresses to connect from, used in turn; none: any.
        pub sources: Vec<IpAddr>,
    }

    /// A host that takes mail.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Host {
        /// Its name, or an address in brackets: what its certificate must say.
        pub name: String,
        /// Its addresses, IPv6 first; never none.
        pub addrs: Vec<IpAddr>,
        /// Where.
        pub port: u16,
        /// How.
        pub scheme: Scheme,
        /// The key of the credentials.
        pub label: Option<String>,
        /// The MX preference; 0 without MX.
        pub preference: u16,
        /// True if the DNS answer was authentic (DNSSEC).
        pub authentic: bool,
    }

    /// How a host is spoken to.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Scheme {
        /// SMTP, encrypted where offered.
        Smtp,
        /// SMTP, STARTTLS demanded and verified.
        SmtpTls,
        /// SMTP in clear.
        SmtpNoTls,
        /// SMTP inside TLS, verified.
        Smtps,
        /// LMTP.
        Lmtp,
    }

    /// Why there is no route.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum NoRoute {
        /// The domain does not exist: 5.1.2.
        NoDomain,
        /// It says that it takes no mail (RFC 7505): 5.1.10.
        NullMx,
        /// The best host is ourselves, and no rule delivers here: 5.4.6.
        Loop,
        /// Not known now: 4.4.3.
        Temporary { why: String },
    }

    /// What a relay asks for.
    pub struct Credentials {
        /// The user.
        pub user: String,
        /// The password.
        pub password: Secret,
    }
}
