//! `action`: what becomes of messages.

use super::{Protocols, TableRef};
use crate::conf::format::Format;
use std::net::IpAddr;
use std::time::Duration;

/// `action NAME METHOD ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Action {
    /// Its name: what envelopes in the queue hold.
    pub name: String,
    /// What is done.
    pub method: Method,
    /// How long it is tried; else `queue ttl`.
    pub ttl: Option<Duration>,
}

/// What an action does.
#[derive(Clone, Debug, PartialEq)]
pub enum Method {
    /// Deliver here.
    Local(Local),
    /// Send on.
    Relay(Box<Relay>),
}

/// A local action.
#[derive(Clone, Debug, PartialEq)]
pub struct Local {
    /// How the message is delivered.
    pub deliver: Deliver,
    /// Local part to list of targets, or a whole address to the same.
    pub aliases: Option<Aliases>,
    /// User to uid, gid and home; else the system's users.
    pub userbase: Option<TableRef>,
    /// Everything is delivered as this user.
    pub user: Option<String>,
    /// The name of the wrapper for commands.
    pub wrapper: Option<String>,
}

/// The two kinds of aliases; an action has at most one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Aliases {
    /// `alias`: keys are local parts.
    Alias(TableRef),
    /// `virtual`: keys are addresses, local parts, `@domain` and `@`; who is
    /// not there does not exist.
    Virtual(TableRef),
}

/// The methods of local delivery.
#[derive(Clone, Debug, PartialEq)]
pub enum Deliver {
    /// Appended to the user's system mailbox.
    Mbox,
    /// Into a Maildir; the path is `~/Maildir` unless given.
    Maildir {
        /// The mail root.
        path: Option<Format>,
        /// True: spam goes to the mailbox Junk.
        junk: bool,
    },
    /// To an LMTP server.
    Lmtp {
        /// Where it is.
        dest: LmtpDest,
        /// True: RCPT names the expanded address, else the local user.
        rcpt_to: bool,
    },
    /// To a command.
    Mda(Format),
    /// Only files and commands that aliases or .forward name.
    ExpandOnly,
    /// Only addresses elsewhere that aliases or .forward name.
    ForwardOnly,
}

/// Where an LMTP server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LmtpDest {
    /// The path of a socket.
    Unix(String),
    /// A host name or address, and the port.
    Tcp(String, u16),
}

/// `relay ...`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Relay {
    /// Only to MX hosts better than this name (`None` inside: our own).
    pub backup: Option<Option<String>>,
    /// Smarthosts instead of MX.
    pub host: Option<Hosts>,
    /// Recipient domain to relay URL.
    pub domain: Option<TableRef>,
    /// The name of the table of label to `user:password`.
    pub auth: Option<String>,
    /// TLS is demanded; true: and the certificate verified.
    pub tls: Option<bool>,
    /// Who vouches for the server.
    pub ca: Option<String>,
    /// The certificate that we show.
    pub pki: Option<String>,
    /// Ciphers, in the TLS library's notation.
    pub ciphers: Option<String>,
    /// TLS versions.
    pub protocols: Option<Protocols>,
    /// Our name in EHLO.
    pub helo: Option<String>,
    /// The same by local address; it goes before `helo`.
    pub helo_src: Option<TableRef>,
    /// Local addresses to connect from.
    pub src: Option<Sources>,
    /// The sender in place of the real one.
    pub mail_from: Option<String>,
}

/// `host ...` of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hosts {
    /// Relays of the configuration, used in turn.
    Urls(Vec<RelayUrl>),
    /// A list table of relay URLs, used in turn.
    Table(String),
}

/// `src ...` of a relay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sources {
    /// Addresses of the configuration, used in turn.
    Addrs(Vec<IpAddr>),
    /// A list table of addresses, used in turn.
    Table(String),
}

/// `[proto://][label@]host[:port]`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelayUrl {
    /// The scheme.
    pub scheme: Scheme,
    /// The key of the credentials.
    pub label: Option<String>,
    /// A domain, or an address in brackets.
    pub host: String,
    /// The port; the scheme's own unless given.
    pub port: u16,
}

/// The schemes of a relay URL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// SMTP, encrypted where the peer offers it.
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
