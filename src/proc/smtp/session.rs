//! One session, from greeting to good-bye.  Reads top to bottom.
//!
//! Runs in smtp, one thread per connection; the client is hostile.  What may
//! come when is decided by [`Server`]; this asks the others (lookup who a client
//! is, whether a password is right, who takes a recipient; queue for a file and
//! for the commit) and answers.  Replies are gathered and leave in one write
//! when the client's next input is waited for.  A fault of ours is 4xx.
//!
//! [`login`] is AUTH, [`handover`] what becomes of a message that was read.
//!
//! RFC 5321, RFC 2033, RFC 2920 (PIPELINING), RFC 3030, RFC 3207.

mod handover;
mod login;

use super::config::{Limits, Listener};
use super::message::Incoming;
use super::Shared;
use crate::base::clock::Deadline;
use crate::base::line::{LineError, LineReader};
use crate::base::listen::Slot;
use crate::base::log::{self, Show};
use crate::base::stream::StreamError;
use crate::base::tls::TlsInfo;
use crate::ipc::smtp_lookup::{Answer, Ask, Origin, Rdns, Verdict};
use crate::ipc::smtp_queue as queue;
use crate::proto::addr::{Charset, Domain, Mailbox};
use crate::proto::limits;
use crate::proto::smtp::command::{Mail, Rcpt};
use crate::proto::smtp::data::{Fed, Framing};
use crate::proto::smtp::reply::{table, Reply};
use crate::proto::smtp::server::{Action, Chunk, Server, TlsPolicy};
use std::net::IpAddr;
use std::sync::Arc;

/// Where a session comes from.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// The network, and at which of our addresses it arrived.
    Net {
        /// The peer.
        peer: IpAddr,
        /// Us.
        local: IpAddr,
    },
    /// The socket.
    Local {
        /// The peer's user.
        uid: u32,
    },
}

/// Why a session ended early.
#[derive(Debug)]
pub enum Lost {
    /// The connection is gone, or of no use.
    Stream(StreamError),
    /// The client closed without QUIT.
    Closed,
    /// Nobody knows whether this message is in the queue.
    Commit(String),
}

impl From<StreamError> for Lost {
    fn from(e: StreamError) -> Lost {
        Lost::Stream(e)
    }
}

/// Whether the session goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Go {
    On,
    End,
}

/// A session.  Owned by its thread.
pub struct Session<'a> {
    shared: &'a Shared,
    listener: Arc<Listener>,
    limits: Limits,
    io: LineReader,
    server: Server,
    sid: u64,
    client: Client,
    slot: Option<Slot>,
    /// Asked of lookup when it is needed first.
    rdns: Option<Option<String>>,
    /// The socket's user.
    local_user: Option<String>,
    failures: u64,
    rcpts: Vec<(Mailbox, queue::Rcpt)>,
    incoming: Option<Incoming>,
}

impl<'a> Session<'a> {
    /// A session that has said nothing yet.
    pub fn new(
        shared: &'a Shared,
        listener: Arc<Listener>,
        limits: Limits,
        io: LineReader,
        client: Client,
        slot: Option<Slot>,
    ) -> Session<'a> {
        Session {
            shared,
            server: Server::new(listener.server.clone()),
            listener,
            limits,
            io,
            sid: crate::sys::rand::u64(),
            client,
            slot,
            rdns: None,
            local_user: None,
            failures: 0,
            rcpts: Vec::new(),
            incoming: None,
        }
    }

    /// Serves it to its end, and says so in the log.
    pub fn serve(mut self) {
        let run = std::panic::AssertUnwindSafe(|| self.run());
        let ended = std::panic::catch_unwind(run);
        self.incoming = None;
        // The good-bye has a time of its own.
        self.io.set_session_deadline(Deadline::NEVER);
        match ended {
            Ok(Ok(())) => log::info!("smtp", sid = self.sid(), disconnected = "done"),
            Ok(Err(Lost::Closed)) => {
                log::info!("smtp", sid = self.sid(), disconnected = "closed by client");
            }
            Ok(Err(Lost::Commit(qid))) => {
                let msg = "queue does not say whether it has the message: closed unanswered";
                log::crit!("smtp", sid = self.sid(), qid = qid.as_str(), msg = msg);
            }
            Ok(Err(Lost::Stream(e))) => {
                log::info!("smtp", sid = self.sid(), disconnected = Show(&e));
                if matches!(e, StreamError::Timeout) {
                    self.put(&table::TIMEOUT);
                }
            }
            Err(_) => {
                log::crit!("smtp", sid = self.sid(), msg = "session lost to a panic");
                self.put(&table::INTERNAL);
            }
        }
        self.io.close(Deadline::after(super::GOODBYE));
    }

    fn run(&mut self) -> Result<(), Lost> {
        self.introduce()?;
        self.put(&self.server.greeting());
        let mut line = Vec::new();
        loop {
            if self.shared.is_stopping() {
                self.put(&table::SHUTTING_DOWN);
                return Ok(());
            }
            let max = limits::SMTP_COMMAND_LINE.size().saturating_sub(2);
            let action = match self.io.read_line(&mut line, max, self.soon()) {
                Ok(()) => self.server.line(&line),
                Err(e) => self.bad_line(e)?,
            };
            if self.act(action)? == Go::End {
                return Ok(());
            }
            // RSET, EHLO, STARTTLS and every end of a message come by here.
            if self.server.transaction().is_none() {
                self.incoming = None;
                self.rcpts.clear();
            }
        }
    }

    /// Who is there, and under which name are we?
    fn introduce(&mut self) -> Result<(), Lost> {
        let tag = self.listener.tag.as_deref();
        match self.client {
            Client::Net { peer, local } => {
                log::info!("smtp", sid = self.sid(), connected = peer, to = local, tag = tag);
                if let Some(table) = self.listener.hostnames.clone() {
                    self.own_name(table, local);
                }
            }
            Client::Local { uid } => {
                log::info!("smtp", sid = self.sid(), connected = "local", uid = uid, tag = tag);
                if let Ok(Answer::UserName { name }) = self.shared.ask(&Ask::UserName { uid }) {
                    self.local_user = name;
                }
            }
        }
        if self.listener.server.tls == TlsPolicy::Implicit {
            self.start_tls()?;
        }
        Ok(())
    }

    /// `hostnames`: the name of the address that the client reached.
    fn own_name(&mut self, table: String, local: IpAddr) {
        match self.shared.ask(&Ask::Hostname { table, local }) {
            Ok(Answer::Hostname { name: Ok(Some(hostname)) }) => {
                let config = self.listener.server.clone();
                self.server =
                    Server::new(crate::proto::smtp::server::Config { hostname, ..config });
            }
            Ok(Answer::Hostname { name: Ok(None) }) => {}
            Ok(_) | Err(_) => log::warn!("smtp", sid = self.sid(), msg = "hostnames: no answer"),
        }
    }

    /// A line that was none.
    fn bad_line(&mut self, e: LineError) -> Result<Action, Lost> {
        Ok(match e {
            LineError::TooLong => self.server.reply(table::LINE_TOO_LONG),
            LineError::BareCr | LineError::Nul => self.server.reply(table::BARE_LINE_END),
            // The client's lines end elsewhere than ours: nothing that follows
            // can be trusted to be a command.
            LineError::BareLf => Action::Close(table::BARE_LINE_END),
            LineError::Flood => Action::Close(table::LINE_TOO_LONG),
            LineError::Eof(_) => return Err(Lost::Closed),
            LineError::Stream(e) => return Err(e.into()),
        })
    }

    /// Does what the state machine wants done.
    fn act(&mut self, action: Action) -> Result<Go, Lost> {
        let action = match action {
            Action::Reply(reply) => {
                self.put(&reply);
                return Ok(Go::On);
            }
            Action::Close(reply) => {
                self.put(&reply);
                return Ok(Go::End);
            }
            Action::StartTls => {
                self.put(&table::START_TLS);
                self.start_tls()?;
                return Ok(Go::On);
            }
            Action::Auth { mechanism, initial } => self.auth(mechanism, initial)?,
            Action::Mail(mail) => self.mail(mail),
            Action::Rcpt(rcpt) => self.rcpt(rcpt),
            Action::Data => self.data()?,
            Action::Bdat { size, last, chunk } => self.bdat(size, last, chunk)?,
        };
        self.act(action)
    }

    /// RFC 3207 4: what was sent ahead of the handshake is thrown away.
    fn start_tls(&mut self) -> Result<(), Lost> {
        let Some(tls) = &self.listener.tls else { return Err(Lost::Closed) };
        let deadline = self.soon();
        self.io.start_tls_server(tls, deadline)?;
        self.server.tls_started();
        log::info!("smtp", sid = self.sid(), tls = self.tls_text());
        Ok(())
    }

    /// RFC 5321 3.3.
    fn mail(&mut self, mail: Mail) -> Action {
        // The null path is nobody's: clients send receipts with it (RFC 8098).
        let sender = mail.from.mailbox().map(ToString::to_string);
        if let Some(sender) = sender.filter(|_| self.is_held_to_senders()) {
            match self.may_send(&sender) {
                Ok(true) => {}
                Ok(false) => {
                    log::info!("smtp", sid = self.sid(), from = sender, result = "5.7.1");
                    return self.server.reply(table::SENDER_NOT_OWNED);
                }
                Err(reply) => return self.server.reply(reply),
            }
        }
        self.rcpts.clear();
        self.server.mail_ok(mail)
    }

    /// Whether `senders` says whose addresses the user may use.
    fn is_held_to_senders(&self) -> bool {
        self.listener.senders.is_some() && self.server.user().is_some()
    }

    fn may_send(&self, sender: &str) -> Result<bool, Reply> {
        let (Some(table), Some(user)) = (self.listener.senders.clone(), self.server.user()) else {
            return Ok(true);
        };
        let ask = Ask::MaySend { table, user: user.to_owned(), sender: sender.to_owned() };
        match self.shared.ask(&ask) {
            Ok(Answer::MaySend { yes: Ok(yes) }) => Ok(yes),
            Ok(Answer::MaySend { yes: Err(e) }) => {
                log::warn!("smtp", sid = self.sid(), msg = "senders", error = e.why);
                Err(table::UNAVAILABLE)
            }
            Ok(_) | Err(_) => Err(table::UNAVAILABLE),
        }
    }

    /// RFC 5321 3.3; NOTIFY and ORCPT are kept with the recipient.
    fn rcpt(&mut self, rcpt: Rcpt) -> Action {
        let mailbox = rcpt.to.clone().into_mailbox(&self.domain());
        let name = mailbox.to_string();
        let from = self.server.transaction().map(|m| m.from.to_string()).unwrap_or_default();
        let origin = self.origin();
        let ask = Ask::Rcpt { origin, sender: from.clone(), rcpt: name.clone() };
        let verdict = match self.shared.ask(&ask) {
            Ok(Answer::Rcpt { verdict }) => verdict,
            Ok(_) => Verdict::Unavailable { why: "not an answer".into() },
            Err(e) => Verdict::Unavailable { why: e.to_string() },
        };
        let (refusal, why) = match verdict {
            Verdict::Accepted { to } => {
                // Once is enough, however often it is named; LMTP counts replies.
                if !self.rcpts.iter().any(|(m, _)| m.key() == mailbox.key()) {
                    let notify = rcpt.notify.map(|n| queue::Notify {
                        success: n.success,
                        failure: n.failure,
                        delay: n.delay,
                    });
                    let orcpt = rcpt.orcpt.map(|o| (o.kind, o.address));
                    self.rcpts.push((mailbox, queue::Rcpt { rcpt: name, to, notify, orcpt }));
                }
                return self.server.rcpt_ok();
            }
            Verdict::Denied { why } => (table::RECIPIENT_REFUSED, why),
            Verdict::NoSuchUser { why } => (table::NO_SUCH_USER, why),
            Verdict::Refused { code, text } => (Reply::refusal(code, &text), text),
            Verdict::Loop { why } => (table::LOOP, why),
            Verdict::Unavailable { why } => (table::UNAVAILABLE, why),
        };
        let result = Show(&refusal);
        log::info!("smtp", sid = self.sid(), from = from, to = name, result = result, why = why);
        self.server.reply(refusal)
    }

    /// What rules may look at.
    fn origin(&mut self) -> Origin {
        let (addr, rdns) = match self.client {
            Client::Net { peer, .. } => (Some(peer), self.rdns(peer)),
            Client::Local { .. } => (None, None),
        };
        Origin {
            addr,
            rdns,
            helo: self.helo(),
            user: self.server.user().map(str::to_owned).or_else(|| self.local_user.clone()),
            authenticated: self.server.user().is_some(),
            tag: self.listener.tag.clone(),
            tls: self.server.is_tls(),
        }
    }

    /// The client's name, asked for when the first recipient needs it.
    fn rdns(&mut self, peer: IpAddr) -> Option<String> {
        if self.rdns.is_none() {
            let found = if peer.to_canonical().is_loopback() {
                Some(String::from("localhost"))
            } else {
                match self.shared.ask(&Ask::Client { addr: peer }) {
                    Ok(Answer::Client { rdns: Rdns::Confirmed { name } }) => Some(name),
                    Ok(_) | Err(_) => None,
                }
            };
            self.rdns = Some(found);
        }
        self.rdns.clone().flatten()
    }

    /// RFC 5321 4.1.1.4.
    fn data(&mut self) -> Result<Action, Lost> {
        let mut incoming = match self.open(Framing::Dots) {
            Ok(incoming) => incoming,
            Err(reply) => {
                // RFC 2033 4.2: DATA itself has one reply.
                self.server.reset();
                return Ok(self.server.reply(reply));
            }
        };
        self.put(&table::START_MAIL);
        let end = incoming.end;
        loop {
            let input = self.io.chunk(Deadline::after(self.limits.command).min(end))?;
            if input.is_empty() {
                return Err(Lost::Closed);
            }
            match incoming.feed(input) {
                Fed::More => {
                    let n = input.len();
                    self.io.consume(n);
                }
                Fed::End(n) => {
                    self.io.consume(n);
                    break;
                }
                Fed::Desync => {
                    log::info!("smtp", sid = self.sid(), msg = "end of data that is none");
                    return Ok(Action::Close(table::DESYNC));
                }
            }
        }
        let reply = self.accept(incoming)?;
        Ok(self.done(reply))
    }

    /// RFC 3030 2: the octets are read whatever becomes of them.
    fn bdat(&mut self, size: u64, last: bool, chunk: Chunk) -> Result<Action, Lost> {
        let refusal = match chunk {
            Chunk::Refused(reply) => Some(reply),
            Chunk::Next => None,
            Chunk::First => match self.open(Framing::Chunks) {
                Ok(incoming) => {
                    self.incoming = Some(incoming);
                    None
                }
                Err(reply) => Some(reply),
            },
        };
        let mut incoming = if refusal.is_some() { None } else { self.incoming.take() };
        // For all chunks, from the first.
        let end = incoming.as_ref().map_or_else(|| Deadline::after(self.limits.message), |i| i.end);
        let mut left = size;
        while left > 0 {
            let input = self.io.chunk(Deadline::after(self.limits.command).min(end))?;
            if input.is_empty() {
                return Err(Lost::Closed);
            }
            let n = input.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if let Some(incoming) = &mut incoming {
                incoming.feed(input.get(..n).unwrap_or_default());
            }
            self.io.consume(n);
            left = left.saturating_sub(u64::try_from(n).unwrap_or(u64::MAX));
        }
        let Some(incoming) = incoming else {
            let reply = refusal.unwrap_or(table::LOCAL_ERROR);
            if last {
                // RFC 2033 4.3: the last one has a reply for each recipient.
                return Ok(self.done(reply));
            }
            self.server.reset();
            return Ok(self.server.reply(reply));
        };
        if last {
            let reply = self.accept(incoming)?;
            return Ok(self.done(reply));
        }
        if let Some(reply) = incoming.fault() {
            self.server.reset();
            return Ok(self.server.reply(reply));
        }
        self.incoming = Some(incoming);
        Ok(self.server.reply(table::CHUNK_OK))
    }

    /// Ends the transaction; in LMTP every recipient gets the reply.
    fn done(&mut self, reply: Reply) -> Action {
        let (action, times) = self.server.message_done(reply);
        if let Action::Reply(reply) = &action {
            for _ in 1..times {
                let reply = reply.clone();
                self.put(&reply);
            }
        }
        action
    }

    /// Logged in, or a user of this machine.
    fn is_submission(&self) -> bool {
        self.listener.local || self.server.user().is_some()
    }

    /// Our name as a domain.
    fn domain(&self) -> Domain {
        let name = self.server.config().hostname.as_bytes();
        Domain::parse(name, Charset::Ascii)
            .unwrap_or_else(|_| Domain::from(IpAddr::from([127, 0, 0, 1])))
    }

    fn helo(&self) -> String {
        self.server.hello().map(|h| h.name.as_str().to_owned()).unwrap_or_default()
    }

    fn tls_text(&self) -> Option<String> {
        let text = |t: &TlsInfo| format!("{}:{}:{}", t.version, t.cipher, t.bits);
        self.io.stream().tls().map(text)
    }

    fn put(&mut self, reply: &Reply) {
        let mut out = Vec::new();
        reply.write(&mut out);
        self.io.put(&out);
    }

    fn soon(&self) -> Deadline {
        Deadline::after(self.limits.command)
    }

    fn sid(&self) -> String {
        format!("{:016x}", self.sid)
    }
}
