//! What a valid configuration is made of: one variant per statement.
//!
//! Values of these types come only out of the parser, which has checked them,
//! so nobody checks them again.  A [`Config`] is the list of its statements,
//! each with its place in the text; `view.rs` has the questions that processes
//! ask of it, with the defaults.  Who gets a statement as part of its
//! configuration is in [`Stmt::owners`], what it looks like in `print.rs`.

mod action;
mod listen;

pub use action::{
    Action, Aliases, Deliver, Hosts, LmtpDest, Local, Method, Relay, RelayUrl, Scheme, Sources,
};
pub use listen::{Auth, Family, Listen, ListenSocket, Protocols, Service, Tls};

use std::net::SocketAddr;
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
