//! The transaction of an SMTP or LMTP session: what may come when.
//!
//! *Runs in* smtp.  Pure: a command goes in, an [`Action`] comes out.  What only
//! others know (is the password right, who takes this recipient, is there room)
//! the session asks and tells here with the methods below; every refusal goes
//! through [`Server::reply`], which counts it.  There is one place where a
//! transaction ends, [`Server::reset`], and all ends go there: a refused message
//! leaves neither sender nor recipients behind.
//!
//! RFC 5321 3.3, 4.1.4; RFC 1870; RFC 3030; RFC 3207; RFC 4954; RFC 6531; RFC
//! 9422; RFC 2033 (LMTP).

use crate::proto::smtp::command::{self, Command, CommandError, Features, HeloName, Mail, Rcpt};
use crate::proto::smtp::reply::{table, Reply};
use crate::proto::smtp::sasl::Mechanism;

/// What a listener offers and demands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// The name in greeting and EHLO.
    pub hostname: String,
    /// LMTP instead of SMTP.
    pub lmtp: bool,
    /// When TLS begins.
    pub tls: TlsPolicy,
    /// Whether one may or must log in.
    pub auth: AuthPolicy,
    /// False: DSN is not offered and its parameters are unknown.
    pub dsn: bool,
    /// Octets of a message.
    pub max_size: u64,
    /// Messages of a session.
    pub max_mails: u64,
    /// Recipients of a message.
    pub max_rcpt: u64,
    /// Replies of 4xx and 5xx before the session is closed.
    pub max_errors: u64,
    /// Commands between two messages that bring none nearer.
    pub max_idle_commands: u64,
}

/// When TLS begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Never.
    None,
    /// STARTTLS may be said.
    Offered,
    /// STARTTLS must be said before anything of weight.
    Required,
    /// It began before the first byte.
    Implicit,
}

/// Whether one may or must log in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthPolicy {
    /// There is no AUTH.
    None,
    /// One may.
    Optional,
    /// MAIL needs it.
    Required,
}

/// What the session has to do next.
#[derive(Debug)]
pub enum Action {
    /// Send it and read on.
    Reply(Reply),
    /// Send it and close.
    Close(Reply),
    /// Send 220, throw away what was read beyond this line, shake hands, then
    /// [`Server::tls_started`].
    StartTls,
    /// Run the dialogue, ask for the password, then [`Server::auth_ok`] or `reply`.
    Auth {
        /// One that we have.
        mechanism: Mechanism,
        /// The initial response, still base64.
        initial: Option<Vec<u8>>,
    },
    /// Ask whether the sender may be used, then [`Server::mail_ok`] or `reply`.
    Mail(Mail),
    /// Ask who takes the recipient, then [`Server::rcpt_ok`] or `reply`.
    Rcpt(Rcpt),
    /// Open a message, send 354, read it, then [`Server::message_done`].
    Data,
    /// Read that many octets off the wire in any case.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// The message ends with it.
        last: bool,
        /// What to do with them.
        chunk: Chunk,
    },
}

/// What becomes of a BDAT chunk.
#[derive(Debug, PartialEq, Eq)]
pub enum Chunk {
    /// Open a message with it.
    First,
    /// It belongs to the message that is open.
    Next,
    /// Throw it away and answer this.
    Refused(Reply),
}

/// How a client introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name it gave.
    pub name: HeloName,
    /// True after EHLO or LHLO.
    pub esmtp: bool,
}

#[derive(Debug)]
struct Transaction {
    mail: Mail,
    rcpts: u64,
    chunks: bool,
}

/// The state of one session.
#[derive(Debug)]
pub struct Server {
    config: Config,
    hello: Option<Hello>,
    tls: bool,
    user: Option<String>,
    tx: Option<Transaction>,
    mails: u64,
    errors: u64,
    idle: u64,
}

impl Server {
    /// A session that has just begun.
    pub fn new(config: Config) -> Server {
        Server {
            tls: config.tls == TlsPolicy::Implicit,
            config,
            hello: None,
            user: None,
            tx: None,
            mails: 0,
            errors: 0,
            idle: 0,
        }
    }

    /// The first reply.  RFC 5321 4.3.1.
    pub fn greeting(&self) -> Reply {
        let protocol = if self.config.lmtp { "LMTP" } else { "ESMTP" };
        Reply::plain(220, format!("{} {protocol} rmail", self.config.hostname))
    }

    /// What the client may use now: for [`command::parse`].
    pub fn features(&self) -> Features {
        Features {
            dsn: self.config.dsn,
            lmtp: self.config.lmtp,
            esmtp: self.hello.as_ref().is_some_and(|h| h.esmtp),
        }
    }

    /// Parses a line without its CRLF and decides.
    pub fn line(&mut self, line: &[u8]) -> Action {
        match command::parse(line, self.features()) {
            Ok(command) => self.command(command),
            Err(CommandError::Foreign) => Action::Close(CommandError::Foreign.into()),
            Err(e) => self.reply(e.into()),
        }
    }

    /// Decides about a command.
    pub fn command(&mut self, command: Command) -> Action {
        if self.is_idle(&command) {
            self.idle = self.idle.saturating_add(1);
            if self.idle > self.config.max_idle_commands {
                return Action::Close(table::TOO_MANY_ERRORS);
            }
        }
        match command {
            Command::Helo(name) => self.helo(Hello { name, esmtp: false }),
            Command::Ehlo(name) | Command::Lhlo(name) => self.helo(Hello { name, esmtp: true }),
            Command::Mail(mail) => self.mail(mail),
            Command::Rcpt(rcpt) => self.rcpt(rcpt),
            Command::Data => self.data(),
            Command::Bdat { size, last } => self.bdat(size, last),
            Command::Rset => {
                self.reset();
                self.reply(table::OK)
            }
            Command::Noop => self.reply(table::OK),
            Command::Quit => Action::Close(table::BYE),
            Command::Vrfy => self.reply(table::CANNOT_VERIFY),
            Command::Expn => self.reply(table::NOT_IMPLEMENTED),
            Command::Help => self.reply(table::HELP),
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => self.auth(&mechanism, initial),
        }
    }

    /// Sends a reply, counting it if it is a refusal; closes after too many.
    pub fn reply(&mut self, reply: Reply) -> Action {
        if reply.closes() {
            return Action::Close(reply);
        }
        if !reply.is_positive() {
            self.errors = self.errors.saturating_add(1);
            if self.errors >= self.config.max_errors {
                return Action::Close(table::TOO_MANY_ERRORS);
            }
        }
        Action::Reply(reply)
    }

    /// Ends the transaction, however far it was.
    pub fn reset(&mut self) {
        self.tx = None;
    }

    /// TLS is active: nothing said before counts.  RFC 3207 4.2.
    pub fn tls_started(&mut self) {
        self.reset();
        self.tls = true;
        self.hello = None;
        self.user = None;
    }

    /// The password was right.
    pub fn auth_ok(&mut self, user: String) -> Action {
        self.user = Some(user);
        self.reply(table::AUTHENTICATED)
    }

    /// The sender may be used: the transaction begins.
    pub fn mail_ok(&mut self, mail: Mail) -> Action {
        self.tx = Some(Transaction { mail, rcpts: 0, chunks: false });
        self.reply(table::SENDER_OK)
    }

    /// The recipient is taken.
    pub fn rcpt_ok(&mut self) -> Action {
        if let Some(tx) = &mut self.tx {
            tx.rcpts = tx.rcpts.saturating_add(1);
        }
        self.reply(table::RECIPIENT_OK)
    }

    /// The message was read to its end: the transaction is over whatever became of
    /// it.  Gives how often the reply has to be sent:
    /// once, or in LMTP once for each recipient (RFC 2033 4.2).
    pub fn message_done(&mut self, reply: Reply) -> (Action, u64) {
        let times = self.tx.as_ref().map_or(1, |tx| tx.rcpts);
        self.reset();
        if reply.is_positive() {
            self.mails = self.mails.saturating_add(1);
            self.idle = 0;
        }
        let times = if self.config.lmtp && !reply.closes() { times.max(1) } else { 1 };
        (self.reply(reply), times)
    }

    /// MAIL of the transaction.
    pub fn transaction(&self) -> Option<&Mail> {
        self.tx.as_ref().map(|tx| &tx.mail)
    }

    /// Recipients taken so far.
    pub fn recipients(&self) -> u64 {
        self.tx.as_ref().map_or(0, |tx| tx.rcpts)
    }

    /// How the client introduced itself.
    pub const fn hello(&self) -> Option<&Hello> {
        self.hello.as_ref()
    }

    /// Who logged in.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// True once TLS is active.
    pub const fn is_tls(&self) -> bool {
        self.tls
    }

    /// The listener's options.
    pub const fn config(&self) -> &Config {
        &self.config
    }

    /// True for what a client can send for ever without sending mail.
    fn is_idle(&self, command: &Command) -> bool {
        match command {
            Command::Mail(_) | Command::Rcpt(_) | Command::Data | Command::Quit => false,
            // An empty chunk does not.
            Command::Bdat { size, .. } => *size == 0,
            _ => true,
        }
    }

    /// RFC 5321 4.1.4: EHLO in the middle is a RSET.
    fn helo(&mut self, hello: Hello) -> Action {
        self.reset();
        let esmtp = hello.esmtp;
        self.hello = Some(hello);
        let text = if esmtp { self.ehlo_text() } else { self.config.hostname.clone() };
        self.reply(Reply::plain(250, text))
    }

    fn ehlo_text(&self) -> String {
        let c = &self.config;
        let mut lines = vec![
            c.hostname.clone(),
            "PIPELINING".into(),
            format!("SIZE {}", c.max_size),
            "8BITMIME".into(),
            "SMTPUTF8".into(),
            "ENHANCEDSTATUSCODES".into(),
            "CHUNKING".into(),
        ];
        if c.dsn {
            lines.push("DSN".into());
        }
        if !self.tls && matches!(c.tls, TlsPolicy::Offered | TlsPolicy::Required) {
            lines.push("STARTTLS".into());
        }
        // RFC 4954 4: not in clear text, and not again.
        if self.tls && c.auth != AuthPolicy::None && self.user.is_none() {
            lines.push(format!("AUTH {}", Mechanism::ALL.join(" ")));
        }
        lines.push(format!("LIMITS MAILMAX={} RCPTMAX={}", c.max_mails, c.max_rcpt));
        lines.push("HELP".into());
        lines.join("\n")
    }

    /// What MAIL, and nothing before it, needs.
    fn may_mail(&self) -> Result<(), Reply> {
        if self.config.tls == TlsPolicy::Required && !self.tls {
            return Err(table::TLS_REQUIRED);
        }
        if self.hello.is_none() {
            return Err(table::SAY_HELLO);
        }
        if self.config.auth == AuthPolicy::Required && self.user.is_none() {
            return Err(table::AUTH_REQUIRED);
        }
        if self.tx.is_some() {
            return Err(table::BAD_SEQUENCE); // RFC 5321 3.3: no nested MAIL
        }
        Ok(())
    }

    fn mail(&mut self, mail: Mail) -> Action {
        if let Err(refusal) = self.may_mail() {
            return self.reply(refusal);
        }
        if self.mails >= self.config.max_mails {
            return self.reply(table::TOO_MANY_MAILS);
        }
        // RFC 1870 6.1
        if mail.size.is_some_and(|size| size > self.config.max_size) {
            return self.reply(table::TOO_BIG);
        }
        if !mail.from.is_ascii() && !mail.smtputf8 {
            return self.reply(table::NEEDS_SMTPUTF8);
        }
        Action::Mail(mail)
    }

    fn rcpt(&mut self, rcpt: Rcpt) -> Action {
        let refusal = match &self.tx {
            None => Some(table::NEED_MAIL),
            Some(tx) if tx.chunks => Some(table::BAD_SEQUENCE),
            Some(tx) if tx.rcpts >= self.config.max_rcpt => Some(table::TOO_MANY_RECIPIENTS),
            Some(tx) if !rcpt.to.is_ascii() && !tx.mail.smtputf8 => Some(table::NEEDS_SMTPUTF8),
            Some(_) => None,
        };
        match refusal {
            Some(reply) => self.reply(reply),
            None => Action::Rcpt(rcpt),
        }
    }

    fn data(&mut self) -> Action {
        match &self.tx {
            None => self.reply(table::NEED_MAIL),
            Some(tx) if tx.chunks => self.reply(table::BAD_SEQUENCE), // RFC 3030 2
            Some(tx) if tx.rcpts == 0 => self.reply(self.no_recipients()),
            Some(_) => Action::Data,
        }
    }

    const fn no_recipients(&self) -> Reply {
        if self.config.lmtp {
            table::LMTP_NO_RECIPIENTS
        } else {
            table::NO_RECIPIENTS
        }
    }

    /// RFC 3030 2: the octets follow whatever the answer will be.
    fn bdat(&mut self, size: u64, last: bool) -> Action {
        let no_recipients = self.no_recipients();
        let chunk = match &mut self.tx {
            None => Chunk::Refused(table::NEED_MAIL),
            Some(tx) if tx.rcpts == 0 => {
                // The failed transaction is over: the chunks after this one too.
                self.tx = None;
                Chunk::Refused(no_recipients)
            }
            Some(tx) if tx.chunks => Chunk::Next,
            Some(tx) => {
                tx.chunks = true;
                Chunk::First
            }
        };
        Action::Bdat { size, last, chunk }
    }

    fn start_tls(&mut self) -> Action {
        if self.tls {
            return self.reply(table::TLS_ACTIVE);
        }
        if !matches!(self.config.tls, TlsPolicy::Offered | TlsPolicy::Required) {
            return self.reply(table::NOT_OFFERED);
        }
        Action::StartTls
    }

    fn auth(&mut self, mechanism: &str, initial: Option<Vec<u8>>) -> Action {
        let refusal = if self.config.auth == AuthPolicy::None {
            Some(table::NOT_OFFERED)
        } else if !self.tls {
            Some(table::AUTH_NEEDS_TLS)
        } else if self.hello.is_none() {
            Some(table::SAY_HELLO)
        } else if self.user.is_some() {
            Some(table::ALREADY_AUTHENTICATED)
        } else if self.tx.is_some() {
            Some(table::BAD_SEQUENCE) // RFC 4954 4
        } else {
            None
        };
        match (refusal, Mechanism::by_name(mechanism)) {
            (Some(reply), _) => self.reply(reply),
            (None, None) => self.reply(table::AUTH_MECHANISM),
            (None, Some(mechanism)) => Action::Auth { mechanism, initial },
        }
    }
}

#[cfg(test)]
mod tests;
