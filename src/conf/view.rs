//! What processes ask of a configuration, with the defaults.
//!
//! Every default of the language is here or in `proto/limits.rs`, and
//! rmail.conf(5) gives the same.

use std::net::SocketAddr;
use std::time::Duration;

use super::ast::*;
use crate::proto::limits::{self, Limit};

/// `smtp max-message-size`, in octets.
pub const MAX_MESSAGE_SIZE: u64 = 35 * 1024 * 1024;
/// `smtp limit max-mails`.
pub const MAX_MAILS: u32 = 100;
/// `smtp limit max-rcpt`.
pub const MAX_RCPT: u32 = 1000;
/// `smtp sub-addr-delim`.
pub const SUB_ADDR_DELIM: char = '+';
/// `smtp ciphers`.
pub const CIPHERS: &str = "HIGH:!aNULL:!MD5";
/// `queue ttl`: four days.
pub const QUEUE_TTL: Duration = Duration::from_secs(4 * 24 * 3600);
/// `queue retry local`.
pub const RETRY_LOCAL: Duration = Duration::from_secs(10);
/// `queue retry remote`.
pub const RETRY_REMOTE: Duration = Duration::from_secs(400);
/// `bounce warn-interval`: once, after four hours.
pub const WARN_INTERVAL: Duration = Duration::from_secs(4 * 3600);
/// `mda limit max-session`.
pub const MAX_SESSION: u32 = 20;
/// `mda limit max-session-per-user`.
pub const MAX_SESSION_PER_USER: u32 = 1;
/// `mta max-deferred`.
pub const MAX_DEFERRED: u32 = 100;
/// `queue directory`.
pub const QUEUE_DIRECTORY: &str = "/var/spool/rmail";
/// `socket`.
pub const SOCKET: &str = "/var/run/rmaild.sock";

/// The first value that a statement gives, of those that stand at most once.
macro_rules! find {
    ($config:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        $config.stmts().find_map(|s| match s {
            $pattern $(if $guard)? => Some($value),
            _ => None,
        })
    };
}

/// All values that statements of one kind give, in the order of the text.
macro_rules! every {
    ($config:expr, $pattern:pat $(if $guard:expr)? => $value:expr) => {
        $config.stmts().filter_map(|s| match s {
            $pattern $(if $guard)? => Some($value),
            _ => None,
        })
    };
}

impl Config {
    /// The statements without their places.
    pub fn stmts(&self) -> impl Iterator<Item = &Stmt> {
        self.statements.iter().map(|s| &s.stmt)
    }

    /// The listeners on the network.
    pub fn listeners(&self) -> impl Iterator<Item = &Listen> {
        every!(self, Stmt::Listen(l) => l)
    }

    /// The listener on the socket; it is there without a statement.
    pub fn listen_socket(&self) -> ListenSocket {
        find!(self, Stmt::ListenSocket(l) => l.clone()).unwrap_or_default()
    }

    /// The action of this name.
    pub fn action(&self, name: &str) -> Option<&Action> {
        self.actions().find(|a| a.name == name)
    }

    /// All actions.
    pub fn actions(&self) -> impl Iterator<Item = &Action> {
        every!(self, Stmt::Action(a) => a)
    }

    /// The rules; the first that matches decides.
    pub fn rules(&self) -> impl Iterator<Item = &Match> {
        every!(self, Stmt::Match(m) => m.as_ref())
    }

    /// The tables that have a name.
    pub fn tables(&self) -> impl Iterator<Item = &Table> {
        every!(self, Stmt::Table(t) => t)
    }

    /// The table of this name.
    pub fn table(&self, name: &str) -> Option<&Table> {
        self.tables().find(|t| t.name == name)
    }

    /// All certificates.
    pub fn pkis(&self) -> impl Iterator<Item = &Pki> {
        every!(self, Stmt::Pki(p) => p)
    }

    /// The certificate of this name.
    pub fn pki(&self, name: &str) -> Option<&Pki> {
        self.pkis().find(|p| p.name == name)
    }

    /// All bundles of certificate authorities.
    pub fn cas(&self) -> impl Iterator<Item = &Ca> {
        every!(self, Stmt::Ca(c) => c)
    }

    /// The bundle of this name, else the one named `*`, else the system's (`None`).
    pub fn ca(&self, name: Option<&str>) -> Option<&Ca> {
        let name = name.unwrap_or("*");
        self.cas().find(|c| c.name == name)
    }

    /// The command of this wrapper.
    pub fn wrapper(&self, name: &str) -> Option<&Wrapper> {
        every!(self, Stmt::MdaWrapper(w) => w).find(|w| w.name == name)
    }

    /// The server's name, where the configuration has one.
    pub fn hostname(&self) -> Option<&str> {
        find!(self, Stmt::Hostname(h) => h.as_str())
    }

    /// Our authserv-id, where the configuration has one; else the server's name.
    pub fn admd(&self) -> Option<&str> {
        find!(self, Stmt::Admd(a) => a.as_str())
    }

    /// The value of a limit.
    pub fn limit(&self, limit: &Limit) -> u64 {
        find!(self, Stmt::Limit(l) if l.limit.name == limit.name => l.value)
            .unwrap_or(limit.default)
    }

    /// The same as a duration, for a limit in milliseconds.
    pub fn limit_time(&self, limit: &Limit) -> Duration {
        Duration::from_millis(self.limit(limit))
    }

    /// Every limit by its name, with its value and its default: the table's, then
    /// those that smtpd.conf(5) has statements for.
    pub fn limits(&self) -> Vec<(&'static str, u64, u64)> {
        let row = |l: &&'static Limit| (l.name, self.limit(l), l.default);
        let mut all: Vec<_> = limits::ALL.iter().map(row).collect();
        let count = |name, value: u32, default: u32| (name, u64::from(value), u64::from(default));
        let (session, user) = (MdaLimit::MaxSession, MdaLimit::MaxSessionPerUser);
        all.extend([
            ("smtp max-message-size", self.max_message_size(), MAX_MESSAGE_SIZE),
            count("smtp limit max-mails", self.max_mails(), MAX_MAILS),
            count("smtp limit max-rcpt", self.max_rcpt(), MAX_RCPT),
            count("mda limit max-session", self.mda_limit(session), MAX_SESSION),
            count("mda limit max-session-per-user", self.mda_limit(user), MAX_SESSION_PER_USER),
            count("mta max-deferred", self.max_deferred(), MAX_DEFERRED),
        ]);
        all
    }

    /// The largest message that is accepted, in octets.
    pub fn max_message_size(&self) -> u64 {
        find!(self, Stmt::SmtpMaxMessageSize(n) => *n).unwrap_or(MAX_MESSAGE_SIZE)
    }

    /// How many messages one SMTP session may bring.
    pub fn max_mails(&self) -> u32 {
        find!(self, Stmt::SmtpLimit(SmtpLimit::MaxMails, n) => *n).unwrap_or(MAX_MAILS)
    }

    /// How many recipients one message may have.
    pub fn max_rcpt(&self) -> u32 {
        find!(self, Stmt::SmtpLimit(SmtpLimit::MaxRcpt, n) => *n).unwrap_or(MAX_RCPT)
    }

    /// What begins the sub-address in a local part.
    pub fn sub_addr_delim(&self) -> char {
        find!(self, Stmt::SmtpSubAddrDelim(c) => *c).unwrap_or(SUB_ADDR_DELIM)
    }

    /// The ciphers of listeners that have none of their own.
    pub fn smtp_ciphers(&self) -> &str {
        find!(self, Stmt::SmtpCiphers(c) => c.as_str()).unwrap_or(CIPHERS)
    }

    /// True if bodies are compressed in the queue.
    pub fn queue_compression(&self) -> bool {
        self.stmts().any(|s| matches!(s, Stmt::QueueCompression))
    }

    /// The key of the queue, if it is encrypted.
    pub fn queue_key(&self) -> Option<&QueueKey> {
        find!(self, Stmt::QueueEncryption(k) => k)
    }

    /// How long a message is tried, unless its action says otherwise.
    pub fn queue_ttl(&self) -> Duration {
        find!(self, Stmt::QueueTtl(d) => *d).unwrap_or(QUEUE_TTL)
    }

    /// The base of the retry times: attempt n+1 is due base * n * n after acceptance.
    pub fn retry_base(&self, distance: Distance) -> Duration {
        find!(self, Stmt::QueueRetry(d, base) if *d == distance => *base).unwrap_or(
            match distance {
                Distance::Local => RETRY_LOCAL,
                Distance::Remote => RETRY_REMOTE,
            },
        )
    }

    /// After how long senders are told that a message is still waiting.
    pub fn warn_intervals(&self) -> Vec<Duration> {
        find!(self, Stmt::BounceWarn(d) => d.clone()).unwrap_or_else(|| vec![WARN_INTERVAL])
    }

    /// How many local deliveries go on at a time, in all or for one user.
    pub fn mda_limit(&self, which: MdaLimit) -> u32 {
        find!(self, Stmt::MdaLimit(w, n) if *w == which => *n).unwrap_or(match which {
            MdaLimit::MaxSession => MAX_SESSION,
            MdaLimit::MaxSessionPerUser => MAX_SESSION_PER_USER,
        })
    }

    /// How many waiting messages of a host that answers again are tried at once.
    pub fn max_deferred(&self) -> u32 {
        find!(self, Stmt::MtaMaxDeferred(n) => *n).unwrap_or(MAX_DEFERRED)
    }

    /// The DNS servers; none: those of resolv.conf(5).
    pub fn resolvers(&self) -> impl Iterator<Item = SocketAddr> + '_ {
        every!(self, Stmt::Resolver(a) => *a)
    }

    /// The mailboxes that every account is told of.
    pub fn mailboxes(&self) -> impl Iterator<Item = &Mailbox> {
        every!(self, Stmt::Mailbox(m) => m)
    }

    /// The mail root of a login that receives no mail.
    pub fn mailbox_root(&self) -> Option<&super::format::Format> {
        find!(self, Stmt::MailboxRoot(f) => f)
    }

    /// The queue's directory.
    pub fn queue_directory(&self) -> &str {
        find!(self, Stmt::QueueDirectory(d) => d.as_str()).unwrap_or(QUEUE_DIRECTORY)
    }

    /// The control socket.
    pub fn socket(&self) -> &str {
        find!(self, Stmt::Socket(s) => s.as_str()).unwrap_or(SOCKET)
    }
}
