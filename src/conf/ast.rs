//! What a valid configuration is made of: one variant per statement.
//!
//! Values of these types come only out of the parser, which has checked them,
//! so nobody checks them again.  A [`Config`] is the list of its statements,
//! each with its place in the text; `view.rs` has the questions that processes
//! ask of it, with the defaults.  Who gets a statement as part of its
//! configuration is in [`Stmt::owners`], what it looks like in `print.rs`.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::format::Format;
use crate::proto::limits::Limit;

/// A place in the text of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pos {
    /// The file, as the command line or the `include` named it.
    pub file: Arc<str>,
    /// The line, from 1.
    pub line: u32,
}

impl std::fmt::Display for Pos {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

/// A configuration that has passed all checks.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// All statements, in the order of the text; each in its final form
    /// (several `pki` statements of one name are one).
    pub statements: Vec<Statement>,
    /// What is not wrong but does nothing: macros that nobody uses.
    pub warnings: Vec<super::Error>,
}

/// A statement and its place.
#[derive(Clone, Debug)]
pub struct Statement {
    /// Where it begins.
    pub at: Pos,
    /// What it says.
    pub stmt: Stmt,
}

/// A process kind, as the receiver of a part of the configuration.
///
/// Parent is not here: it has the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Private keys.
    Keyd,
    /// Rules, tables, accounts, DNS.
    Lookup,
    /// Incoming SMTP and LMTP.
    Smtp,
    /// Spool, schedule, bounces.
    Queue,
    /// Outgoing mail.
    Mta,
    /// TLS and login for IMAP.
    Imap,
    /// One account's mailboxes.
    Store,
    /// The control socket.
    Control,
}

/// Every statement of the language.
#[derive(Clone, Debug, PartialEq)]
pub enum Stmt {
    /// `action NAME METHOD ...`
    Action(Action),
    /// `admd NAME`: our authserv-id.
    Admd(String),
    /// `bounce warn-interval D, ...`
    BounceWarn(Vec<Duration>),
    /// `ca NAME cert FILE`
    Ca(Ca),
    /// `hostname NAME`: the server's name in place of the system's.
    Hostname(String),
    /// `limit NAME VALUE`
    Limit(LimitValue),
    /// `listen on ...`
    Listen(Listen),
    /// `listen on socket ...`
    ListenSocket(ListenSocket),
    /// `mailbox NAME ...`
    Mailbox(Mailbox),
    /// `mailbox root PATH`
    MailboxRoot(Format),
    /// `match ...`
    Match(Box<Match>),
    /// `mda limit max-session N` and `max-session-per-user N`
    MdaLimit(MdaLimit, u32),
    /// `mda wrapper NAME COMMAND`
    MdaWrapper(Wrapper),
    /// `mta max-deferred N`
    MtaMaxDeferred(u32),
    /// `pki NAME cert FILE key FILE`
    Pki(Pki),
    /// `queue compression`
    QueueCompression,
    /// `queue directory PATH`
    QueueDirectory(String),
    /// `queue encryption KEY`
    QueueEncryption(QueueKey),
    /// `queue retry local|remote D`: the base of the retry times.
    QueueRetry(Distance, Duration),
    /// `queue ttl D`
    QueueTtl(Duration),
    /// `resolver ADDRESS`
    Resolver(SocketAddr),
    /// `smtp ciphers LIST`
    SmtpCiphers(String),
    /// `smtp limit max-mails N` and `max-rcpt N`
    SmtpLimit(SmtpLimit, u32),
    /// `smtp max-message-size SIZE`, in octets
    SmtpMaxMessageSize(u64),
    /// `smtp sub-addr-delim C`
    SmtpSubAddrDelim(char),
    /// `socket PATH`
    Socket(String),
    /// `table NAME ...`
    Table(Table),
}

impl Stmt {
    /// Which processes get the statement as part of their configuration.
    /// Secrets in it (keys, table entries) go to fewer: see `print.rs`.
    pub fn owners(&self) -> &'static [Owner] {
        use Owner::*;
        match self {
            Stmt::Action(_) => &[Keyd, Lookup, Queue, Mta],
            Stmt::Admd(_) => &[Smtp],
            Stmt::BounceWarn(_) => &[Queue],
            Stmt::Ca(_) => &[Smtp, Mta, Imap],
            Stmt::Hostname(_) | Stmt::Limit(_) | Stmt::QueueDirectory(_) | Stmt::Socket(_) => {
                &[Keyd, Lookup, Smtp, Queue, Mta, Imap, Store, Control]
            }
            Stmt::Listen(_) => &[Keyd, Lookup, Smtp, Imap, Control],
            Stmt::ListenSocket(_) => &[Smtp, Control],
            Stmt::Mailbox(_) => &[Store],
            Stmt::MailboxRoot(_) => &[Lookup],
            Stmt::Match(_) => &[Lookup],
            Stmt::MdaLimit(..) => &[Queue],
            Stmt::MdaWrapper(_) => &[Lookup],
            Stmt::MtaMaxDeferred(_) => &[Queue],
            Stmt::Pki(_) => &[Keyd, Smtp, Mta, Imap],
            Stmt::QueueCompression
            | Stmt::QueueEncryption(_)
            | Stmt::QueueRetry(..)
            | Stmt::QueueTtl(_) => &[Queue],
            Stmt::Resolver(_) => &[Lookup],
            Stmt::SmtpCiphers(_) => &[Smtp, Imap],
            Stmt::SmtpLimit(..) => &[Smtp],
            Stmt::SmtpMaxMessageSize(_) => &[Smtp, Queue],
            Stmt::SmtpSubAddrDelim(_) => &[Lookup, Queue, Store],
            Stmt::Table(_) => &[Lookup, Smtp, Mta],
        }
    }
}

/// `ca NAME cert FILE`: a named bundle of certificate authorities.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ca {
    /// Its name, in lower case; `*` is used where no other is named.
    pub name: String,
    /// The PEM file.
    pub cert: String,
}

/// `pki NAME ...`: a certificate and the file of its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pki {
    /// Its name, in lower case; `*` is used where no other is named.
    pub name: String,
    /// The PEM file of the certificate and its chain.
    pub cert: String,
    /// The PEM file of the private key.  Only parent's configuration has it.
    pub key: Option<String>,
}

/// `table NAME ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name.
    pub name: String,
    /// What it is.
    pub kind: TableKind,
}

/// Where a table's entries come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// `file:PATH`: a list or a mapping, as its first line says.
    File(String),
    /// `passwd:PATH`: lines of user, hash, uid, gid, gecos, home.
    Passwd(String),
    /// The entries stand in the configuration.
    Inline(Entries),
    /// The entries are with another process (only in a part of a configuration).
    Elsewhere,
}

/// Entries that stand in the configuration.
#[derive(Clone, PartialEq, Eq, Hash)]
pub enum Entries {
    /// `{ a, b }`
    List(Vec<String>),
    /// `{ k = v, ... }`
    Mapping(Vec<(String, String)>),
}

// Values may be password hashes: a debug line names keys only.
impl std::fmt::Debug for Entries {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Entries::List(l) => f.debug_list().entries(l).finish(),
            Entries::Mapping(m) => f.debug_list().entries(m.iter().map(|(k, _)| k)).finish(),
        }
    }
}

/// A table where a statement asks for one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TableRef {
    /// `<name>`
    Named(String),
    /// One string, or entries in braces.
    Inline(Entries),
}

/// A table and how its keys are compared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// True: the entries are regular expressions.
    pub regex: bool,
    /// The entries.
    pub table: TableRef,
}

/// `listen on INTERFACE ...`
#[derive(Clone, Debug, PartialEq)]
pub struct Listen {
    /// Interface, interface group, address or host name, as written.
    pub on: String,
    /// What is spoken there.
    pub service: Service,
    /// Only addresses of this family.
    pub family: Option<Family>,
    /// The port; 0 lets the system choose.
    pub port: u16,
    /// When TLS begins.
    pub tls: Tls,
    /// True: the client must show a certificate that `ca` vouches for.
    pub verify: bool,
    /// Certificates, the first is for clients that name no host.
    pub pki: Vec<String>,
    /// Who vouches for client certificates.
    pub ca: Option<String>,
    /// Who may log in, and whether they must.
    pub auth: Option<Auth>,
    /// Ciphers, in the TLS library's notation.
    pub ciphers: Option<String>,
    /// TLS versions.
    pub protocols: Option<Protocols>,
    /// The name in greeting and Received.
    pub hostname: Option<String>,
    /// The name of the table of the same by local address; it goes before `hostname`.
    pub hostnames: Option<String>,
    /// True: Received names no client.
    pub mask_src: bool,
    /// True: Received says who logged in.
    pub received_auth: bool,
    /// True: DSN is not offered.
    pub no_dsn: bool,
    /// The name of the table of logged-in users and the senders they may use.
    pub senders: Option<String>,
    /// The mark that `match tag` looks for.
    pub tag: Option<String>,
}

/// What a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// SMTP.
    Smtp,
    /// LMTP.
    Lmtp,
    /// IMAP.
    Imap,
}

/// An address family.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `inet4`
    Inet4,
    /// `inet6`
    Inet6,
}

/// When a listener's sessions are encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tls {
    /// Never.
    None,
    /// `tls`: STARTTLS is offered.
    Offered,
    /// `tls-require`: STARTTLS is demanded before anything else.
    Required,
    /// `smtps`, `imaps`: from the first byte.
    Implicit,
}

/// `auth` and `auth-optional` of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    /// True: no mail without it.
    pub required: bool,
    /// The name of the table of credentials.
    pub table: String,
}

/// The TLS versions of a listener or relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocols {
    /// TLS 1.2.
    pub v1_2: bool,
    /// TLS 1.3.
    pub v1_3: bool,
}

/// `listen on socket ...`
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct ListenSocket {
    /// True: Received names no client.
    pub mask_src: bool,
    /// True: DSN is not offered.
    pub no_dsn: bool,
    /// The mark that `match tag` looks for.
    pub tag: Option<String>,
}

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

/// `match ... action NAME` and `match ... reject`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Match {
    /// Where the message comes from; `from local` unless given.
    pub from: Cond<From>,
    /// Where it goes; `for local` unless given.
    pub dest: Cond<For>,
    /// The session is logged in (as a user of the table).
    pub auth: Option<Cond<Option<Pattern>>>,
    /// The HELO name.
    pub helo: Option<Cond<Pattern>>,
    /// The sender.
    pub mail_from: Option<Cond<Pattern>>,
    /// The recipient.
    pub rcpt_to: Option<Cond<Pattern>>,
    /// The listener's tag.
    pub tag: Option<Cond<Pattern>>,
    /// The session is encrypted.
    pub tls: Option<Cond<()>>,
    /// The action's name; `None` is `reject`.
    pub action: Option<String>,
}

/// A condition, perhaps negated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cond<T> {
    /// True: `!` stood before it.
    pub not: bool,
    /// The condition.
    pub is: T,
}

/// `from ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum From {
    /// Anywhere.
    Any,
    /// This machine: a loopback address or the socket.
    Local,
    /// The socket.
    Socket,
    /// The client's address.
    Src(Pattern),
    /// The client's host name (any; or one of these).
    Rdns(Option<Pattern>),
    /// Anywhere, logged in (as anybody; or as one of these).
    Auth(Option<Pattern>),
    /// Anywhere, with this sender.
    MailFrom(Pattern),
}

/// `for ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum For {
    /// Anybody.
    Any,
    /// `localhost` and the server's name.
    Local,
    /// The recipient's domain.
    Domain(Pattern),
    /// The recipient.
    RcptTo(Pattern),
}

/// `mda wrapper NAME COMMAND`
#[derive(Clone, Debug, PartialEq)]
pub struct Wrapper {
    /// Its name.
    pub name: String,
    /// The command; `%{mda}` is what it wraps.
    pub command: Format,
}

/// The names of `mda limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MdaLimit {
    /// Local deliveries at a time.
    MaxSession,
    /// The same for one user.
    MaxSessionPerUser,
}

/// The names of `smtp limit`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmtpLimit {
    /// Messages of a session.
    MaxMails,
    /// Recipients of a message.
    MaxRcpt,
}

/// Which deliveries a retry base is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distance {
    /// Deliveries on this machine.
    Local,
    /// Deliveries elsewhere.
    Remote,
}

/// The key of `queue encryption`, as written: 32 characters, used as they are,
/// or 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq)]
pub struct QueueKey(pub(super) String);

impl QueueKey {
    /// The 32 octets of the key.
    pub fn octets(&self) -> [u8; 32] {
        super::queue::key_octets(&self.0)
    }
}

// The octets do not stay in freed memory.  Safe code cannot promise more than
// to overwrite them where they are.
impl Drop for QueueKey {
    fn drop(&mut self) {
        let mut octets = std::mem::take(&mut self.0).into_bytes();
        octets.fill(0);
        std::hint::black_box(&octets);
    }
}

// A key never reaches a log.
impl std::fmt::Debug for QueueKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("QueueKey")
    }
}

/// `limit NAME VALUE`: a row of `proto/limits.rs` with another value.
#[derive(Clone, Copy)]
pub struct LimitValue {
    /// The row.
    pub limit: &'static Limit,
    /// The value, in the row's unit.
    pub value: u64,
}

impl PartialEq for LimitValue {
    fn eq(&self, other: &Self) -> bool {
        self.limit.name == other.limit.name && self.value == other.value
    }
}

impl std::fmt::Debug for LimitValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}={}", self.limit.name, self.value)
    }
}

/// `mailbox NAME ...`
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Its name, as clients see it.
    pub name: String,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
    /// Whether it is there without having been made.
    pub auto: Auto,
}

/// The special uses of RFC 6154 and RFC 8457.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpecialUse {
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Important`
    Important,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

/// Whether a mailbox of the configuration is there by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Auto {
    /// Only when somebody has made it.
    #[default]
    No,
    /// It is listed, and made when first used.
    Create,
    /// The same, and listed as subscribed.
    Subscribe,
}
