//! One IMAP session: reads commands, has each carried out, answers.
//!
//! *Runs in* store, a thread each; the client's bytes come through imap, which
//! ended TLS and checked the password, and are hostile all the same.  A session
//! owns its connection, its buffers and its [`View`]; what it shares with
//! others is in [`Account`].  The loop reads top to bottom; each command is a
//! file of [`super::cmd`].  Answers to pipelined commands leave in one write,
//! unless they are much.
//! RFC 3501.

use super::account::Account;
use super::cmd;
use super::cmd::content::Outline;
use super::view::{News, View};
use crate::base::clock::Deadline;
use crate::base::imap::Reading;
use crate::base::line::{LineError, LineReader, Pace};
use crate::base::log::{self, Show};
use crate::base::stream::Stream;
use crate::disk::maildir::{BadName, Error, Flags, Name};
use crate::ipc::imap_store::{self as opening, Session as Hello};
use crate::ipc::wire::Wire;
use crate::proto::imap::capability;
use crate::proto::imap::collect::{Bounds, Collector, Next, Skip};
use crate::proto::imap::command::{self, Command, Needs};
use crate::proto::imap::flag::SystemFlags;
use crate::proto::imap::lex::Fault;
use crate::proto::imap::mailbox::Mailbox as WireName;
use crate::proto::imap::reply::{Problem, Reply};
use crate::proto::imap::response::{self, Code, Status};
use crate::proto::imap::seqset::SeqSet;
use crate::proto::limits;
use crate::proto::text::mutf7;
use crate::sys::errno;
use crate::sys::poll::{self, PollFd};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// How long imap may take to say whose session it is.
const HELLO: Duration = Duration::from_secs(10);

/// How much of an answer is gathered before it is written.
const FLIGHT: usize = 64 * 1024;

/// How much of a buffer a waiting session keeps.
const KEPT: usize = 1024;

/// A client that sends a message is waited for as long as it goes on: each wait
/// may be as long as any other, but octets must come at the rate of an old modem
/// on the whole, or one every half-hour would hold the session for ever.
pub const PACE: Pace =
    Pace { patience: limits::IMAP_IDLE.duration(), rate: limits::IMAP_APPEND_RATE.default };

/// A client that waits is waited for as long as RFC 3501 5.4 has it.
const READING: Reading = Reading {
    line: limits::IMAP_LINE.size(),
    deadline: || Deadline::after(limits::IMAP_IDLE.duration()),
    pace: PACE,
};

/// Why a session ends.
#[derive(Debug)]
pub enum Stop {
    /// The client logged out, or was told BYE; what was written goes out.
    Done(&'static str),
    /// The connection cannot go on.
    Lost(LineError),
}

impl From<LineError> for Stop {
    fn from(e: LineError) -> Self {
        Stop::Lost(e)
    }
}

impl From<crate::base::stream::StreamError> for Stop {
    fn from(e: crate::base::stream::StreamError) -> Self {
        Stop::Lost(e.into())
    }
}

/// What a command gives: nothing, for its answer is in the flight, or the end.
pub type Ran = Result<(), Stop>;

/// The selected mailbox.
pub struct Selected {
    /// Its name when it was selected.
    pub name: Name,
    /// The session's numbering of it.
    pub view: View,
    /// The large message of which the last FETCH sent something.
    pub outline: Option<Outline>,
}

/// A session.  Owner only: its thread.
pub struct Session {
    /// The account that it works on.
    pub account: Arc<Account>,
    /// The connection.
    pub io: LineReader,
    /// What is answered and not yet given to the connection.
    pub out: Vec<u8>,
    /// The selected mailbox.
    pub selected: Option<Selected>,
    /// The connection's id, for the log.
    pub sid: u64,
    collector: Collector,
    line: Vec<u8>,
    /// Commands in a row that could not be read.
    bad: u64,
    /// Set when the process stops.
    stopping: Arc<AtomicBool>,
}

/// Runs a session on the caller's thread until it ends.
///
/// `stopping` is looked at when the connection ends: it then says BYE.
pub fn run(account: Arc<Account>, fd: OwnedFd, sid: u64, stopping: Arc<AtomicBool>) {
    let io = match Stream::local(fd) {
        Ok(stream) => LineReader::new(stream, Deadline::NEVER),
        Err(e) => return log::warn!("imap", sid = Sid(sid), error = e),
    };
    let mut session = Session {
        account,
        io,
        out: Vec::new(),
        selected: None,
        sid,
        collector: Collector::new(Bounds::SESSION),
        line: Vec::new(),
        bad: 0,
        stopping,
    };
    let why = match session.serve() {
        Ok(()) => "logout",
        Err(Stop::Done(why)) => why,
        Err(Stop::Lost(e)) => {
            session.farewell(&e);
            log::info!("imap", sid = Sid(sid), event = "disconnect", error = e);
            return session.close();
        }
    };
    log::info!("imap", sid = Sid(sid), event = "disconnect", reason = why);
    session.close();
}

/// A session's id as the log has it: 16 hexadecimal digits.
pub struct Sid(pub u64);

impl log::Value for Sid {
    fn put(&self, line: &mut log::Line) -> bool {
        Show(format_args!("{:016x}", self.0)).put(line)
    }
}

impl Session {
    /// Greets, then command after command.
    fn serve(&mut self) -> Ran {
        let hello = self.hello()?;
        log::info!(
            "imap",
            sid = Sid(self.sid),
            event = "session",
            user = hello.user.as_str(),
            client = hello.client.as_str(),
            tls = hello.tls
        );
        let code = Some(Code::Capability(capability::SESSION));
        response::tagged(&mut self.out, &hello.tag, Status::Ok, code, "Logged in");
        loop {
            self.hand_over();
            if self.io.unflushed() >= FLIGHT {
                // What a client sends in one write can be answered by a thousand
                // times as much.
                self.flush()?;
            }
            let next = self.collect()?;
            let bytes = self.collector.take();
            match next {
                Next::Refused(fault, skip) => self.refused(&bytes, fault, skip)?,
                Next::Append => cmd::append::run(self, &bytes)?,
                Next::Whole | Next::Literal(_) => match command::parse(&bytes) {
                    Ok(tagged) => {
                        self.bad = 0;
                        self.run(tagged.tag, tagged.command)?;
                    }
                    Err(refused) => {
                        response::refuse(&mut self.out, refused.tag, refused.fault.into());
                        self.count_bad()?;
                    }
                },
            }
            self.collector.wipe(bytes);
        }
    }

    /// imap's first message: whose session this is.
    fn hello(&mut self) -> Result<Hello, Stop> {
        let deadline = Deadline::after(HELLO);
        let mut head = Vec::new();
        self.io.read_octets(4, deadline, |b| head.extend_from_slice(b))?;
        let malformed = |_| Stop::Done("malformed session message");
        let length = Hello::length(&head).map_err(malformed)?;
        let mut payload = Vec::with_capacity(length.min(opening::MAX));
        let octets = u64::try_from(length).unwrap_or(0);
        self.io.read_octets(octets, deadline, |b| payload.extend_from_slice(b))?;
        Hello::from_bytes(&payload).map_err(malformed)
    }

    /// Gathers a command: lines, and literals that are asked for.
    fn collect(&mut self) -> Result<Next, Stop> {
        self.collector.clear();
        // A session that waits keeps no large buffers.
        self.out.shrink_to(KEPT);
        self.line.clear();
        self.line.shrink_to(KEPT);
        Ok(READING.command(&mut self.io, &mut self.collector, &mut self.line)?)
    }

    /// Answers a command that was refused while it was gathered, and gets back
    /// in step: what the client sends unasked is read and thrown away.
    fn refused(&mut self, bytes: &[u8], fault: Fault, skip: Skip) -> Ran {
        response::refuse(&mut self.out, command::tag_of(bytes), fault.into());
        self.count_bad()?;
        self.skip(skip)
    }

    /// Throws a refused literal away, and the rest of its command.
    pub fn skip(&mut self, skip: Skip) -> Ran {
        let octets = match skip {
            Skip::Nothing => return Ok(()),
            Skip::Close => return self.bye(None, "Literal too large.", "literal too large"),
            Skip::Octets(n) => n,
        };
        self.hand_over();
        match READING.skip(&mut self.io, &mut self.line, octets)? {
            true => Ok(()),
            false => self.bye(None, "Line too long.", "line too long"),
        }
    }

    fn count_bad(&mut self) -> Ran {
        self.bad = self.bad.saturating_add(1);
        if self.bad < limits::IMAP_BAD_COMMANDS.default {
            return Ok(());
        }
        self.bye(None, "Too many invalid commands.", "too many invalid commands")
    }

    /// Carries out a command.
    fn run(&mut self, tag: &[u8], command: Command<'_>) -> Ran {
        match command.needs() {
            Needs::NoLogin => return self.refuse(tag, Problem::LoggedIn),
            Needs::Mailbox if self.selected.is_none() => {
                return self.refuse(tag, Problem::NotSelected)
            }
            _ => {}
        }
        if !matches!(command, Command::Fetch { .. }) {
            // Nobody fetches it piece by piece any more; a session in IDLE keeps
            // no large buffers.
            if let Some(selected) = &mut self.selected {
                selected.outline = None;
            }
        }
        match command {
            Command::Capability => cmd::capability::run(self, tag),
            Command::Noop => cmd::noop::run(self, tag),
            Command::Logout => cmd::logout::run(self, tag),
            Command::Id(pairs) => cmd::id::run(self, tag, &pairs),
            Command::Enable(names) => cmd::enable::run(self, tag, &names),
            Command::Select(name) => cmd::select::run(self, tag, &name, false),
            Command::Examine(name) => cmd::select::run(self, tag, &name, true),
            Command::Create(name) => cmd::create::run(self, tag, &name),
            Command::Delete(name) => cmd::delete::run(self, tag, &name),
            Command::Rename { from, to } => cmd::rename::run(self, tag, &from, &to),
            Command::Subscribe(name) => cmd::subscribe::run(self, tag, &name),
            Command::Unsubscribe(name) => cmd::unsubscribe::run(self, tag, &name),
            Command::List(list) => cmd::list::run(self, tag, &list),
            Command::Lsub(list) => cmd::lsub::run(self, tag, &list),
            Command::Namespace => cmd::namespace::run(self, tag),
            Command::Status(name, items) => cmd::status::run(self, tag, &name, &items),
            Command::Idle => cmd::idle::run(self, tag),
            Command::Check => cmd::check::run(self, tag),
            Command::Close => cmd::close::run(self, tag),
            Command::Unselect => cmd::unselect::run(self, tag),
            Command::Expunge(set) => cmd::expunge::run(self, tag, set.as_ref()),
            Command::Search { uid, search } => cmd::search::run(self, tag, uid, &search),
            Command::Fetch { uid, set, items } => cmd::fetch::run(self, tag, uid, &set, &items),
            Command::Store { uid, set, how, silent, flags } => {
                cmd::store::run(self, tag, &cmd::store::Store { uid, set, how, silent, flags })
            }
            Command::Copy { uid, set, to } => cmd::copy::run(self, tag, uid, &set, &to),
            Command::Move { uid, set, to } => cmd::move_::run(self, tag, uid, &set, &to),
            Command::StartTls | Command::Authenticate { .. } | Command::Login { .. } => {
                self.refuse(tag, Problem::LoggedIn)
            }
        }
    }

    /// Ends a command well: what is owed, then the tagged OK.
    pub fn ok(&mut self, tag: &[u8], text: &str) -> Ran {
        self.done(tag, None, text)
    }

    /// The same with a code.
    pub fn done(&mut self, tag: &[u8], code: Option<Code<'_>>, text: &str) -> Ran {
        self.tell(true)?;
        response::tagged(&mut self.out, tag, Status::Ok, code, text);
        Ok(())
    }

    /// Ends a FETCH, STORE or SEARCH by sequence number: expunges stay untold.
    /// RFC 3501 7.4.1.
    pub fn done_numbered(&mut self, tag: &[u8], uid: bool, text: &str) -> Ran {
        self.tell(uid)?;
        response::tagged(&mut self.out, tag, Status::Ok, None, text);
        Ok(())
    }

    /// Refuses a command.
    pub fn refuse(&mut self, tag: &[u8], reply: impl Into<Reply>) -> Ran {
        response::refuse(&mut self.out, Some(tag), reply.into());
        Ok(())
    }

    /// Refuses a command because the store could not do it; the log has the reason.
    pub fn fail(&mut self, tag: &[u8], e: &Error) -> Ran {
        self.refuse(tag, self.problem(e))
    }

    /// The problem that an error is for the client.
    pub fn problem(&self, e: &Error) -> Problem {
        let told = matches!(e, Error::Sys(_) | Error::Newer(..) | Error::Locked(_));
        if told || matches!(e, Error::Suspect(..) | Error::Foreign { .. }) {
            log::warn!("imap", sid = Sid(self.sid), error = Show(e));
        }
        match e {
            Error::Sys(e) if e.is_full() => Problem::NoSpace,
            Error::Sys(e) if matches!(e.errno, errno::EACCES | errno::EPERM) => {
                Problem::NoPermission
            }
            Error::Sys(_) => Problem::Unavailable,
            Error::NoMailbox => Problem::NoMailbox,
            Error::Exists => Problem::Exists,
            Error::BadName(BadName::Slash) => Problem::SlashInName,
            Error::BadName(_) => Problem::BadName,
            Error::Cannot(_) => Problem::Cannot,
            Error::Gone => Problem::Expunged,
            Error::Limit(_) => Problem::Limit,
            Error::Locked(_) => Problem::InUse,
            Error::Suspect(..) | Error::Foreign { .. } => Problem::Bug,
            Error::Newer(..) => Problem::Corrupt,
        }
    }

    /// The mailbox that a name on the wire is.
    pub fn name(&self, wire: &WireName<'_>) -> Result<Name, Problem> {
        // A client that sends UTF-8 as it is means what it says.
        let text = match mutf7::decode(wire.name()) {
            Some(text) => text,
            None => match std::str::from_utf8(wire.name()) {
                Ok(text) if !text.is_ascii() => text.to_owned(),
                _ => return Err(Problem::BadName),
            },
        };
        Name::new(&text).map_err(|e| self.problem(&Error::BadName(e)))
    }

    /// The mailbox of a name that must exist to be written to.
    pub fn target(&self, wire: &WireName<'_>) -> Result<Name, Problem> {
        let name = self.name(wire)?;
        match self.account.exists(&name) {
            Ok(true) => Ok(name),
            Ok(false) => Err(Problem::TryCreate),
            Err(e) => Err(self.problem(&e)),
        }
    }

    /// The messages of a set, by sequence number and UID, ascending.
    ///
    /// A sequence number beyond the last message is an error; a UID that is not
    /// there names nothing.  RFC 3501 6.4.8.
    pub fn messages(&self, set: &SeqSet, uid: bool) -> Result<Vec<(u32, u32)>, Reply> {
        let Some(selected) = &self.selected else { return Err(Problem::NotSelected.into()) };
        let view = &selected.view;
        let last = if uid { view.last_uid() } else { view.len() };
        if !uid && (set.largest_number() > last || (set.has_star() && last == 0)) {
            return Err(Fault::SeqSet.into());
        }
        let mut messages = Vec::new();
        for &(first, last) in set.resolve(last).ranges() {
            // Sequence numbers ascend as their UIDs do.
            let ends = if uid { Some((first, last)) } else { view.uid(first).zip(view.uid(last)) };
            messages.extend(ends.into_iter().flat_map(|(first, last)| view.within(first, last)));
        }
        Ok(messages)
    }

    /// Writes what is owed to the client about its mailbox.
    ///
    /// A mailbox that another session deleted, or another program took away or
    /// replaced (its UIDVALIDITY changed), ends this session: there is no way
    /// to tell a client that its numbers mean nothing any more.
    pub fn tell(&mut self, expunge: bool) -> Ran {
        let Some(selected) = &mut self.selected else { return Ok(()) };
        if expunge {
            if let Err(e) = selected.view.refresh() {
                if e != Error::NoMailbox {
                    log::warn!("imap", sid = Sid(self.sid), error = Show(&e));
                }
            }
        }
        match selected.view.poll(expunge) {
            Ok(news) => write_news(&mut self.out, &selected.view, &news),
            Err(Error::NoMailbox) => {
                self.selected = None;
                return self.bye(
                    Some(Code::NonExistent),
                    "Selected mailbox was deleted or replaced, have to reconnect.",
                    "mailbox deleted or replaced",
                );
            }
            Err(e) => log::warn!("imap", sid = Sid(self.sid), error = Show(&e)),
        }
        Ok(())
    }

    /// Says BYE; the session ends.
    pub fn bye(&mut self, code: Option<Code<'_>>, text: &str, why: &'static str) -> Ran {
        response::untagged(&mut self.out, Status::Bye, code, text);
        Err(Stop::Done(why))
    }

    /// Gives the answers to the connection, which writes them before it waits.
    pub fn hand_over(&mut self) {
        if !self.out.is_empty() {
            self.io.put(&self.out);
            self.out.clear();
        }
    }

    /// Writes what has gathered if it is much.  For long answers.
    pub fn flush_if_large(&mut self) -> Ran {
        if self.out.len() < FLIGHT {
            return Ok(());
        }
        self.flush()
    }

    /// Writes what has gathered.
    pub fn flush(&mut self) -> Ran {
        self.hand_over();
        Ok(self.io.flush(Deadline::after(limits::IMAP_WRITE.duration()))?)
    }

    /// The last words to a client whose connection is not lost.
    fn farewell(&mut self, e: &LineError) {
        let text = match e {
            _ if self.stopping.load(Ordering::SeqCst) => "Server shutting down.",
            e if e.is_timeout() => "Disconnected for inactivity.",
            LineError::BareLf => "Line ends must be CRLF.",
            LineError::Flood => "Line without end.",
            _ => return,
        };
        response::untagged(&mut self.out, Status::Bye, None, text);
    }

    fn close(mut self) {
        self.hand_over();
        self.io.close(Deadline::after(Duration::from_secs(5)));
    }

    /// For commands that take long: ends the session if the process is about to
    /// end, or if the client is not there any more to be answered.
    pub fn wanted(&mut self) -> Ran {
        if self.is_stopping() {
            return self.bye(None, "Server shutting down.", "stopped");
        }
        let mut client = [PollFd::new(self.io.stream().as_fd(), 0)];
        let polled = poll::wait(&mut client, Some(Duration::ZERO));
        if polled.is_ok() && client.iter().any(PollFd::hung_up) {
            return Err(LineError::Eof(true).into());
        }
        Ok(())
    }

    /// True when the process is about to end.
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }
}

/// Appends what a session is owed.  RFC 3501 7.3, 7.4.
fn write_news(out: &mut Vec<u8>, view: &View, news: &News) {
    if news.keywords {
        write_flags(out, view);
    }
    for seq in &news.expunged {
        response::expunge(out, *seq);
    }
    if let Some(n) = news.exists {
        response::exists(out, n);
    }
    if let Some(n) = news.recent {
        response::recent(out, n);
    }
    for uid in &news.flags {
        write_message_flags(out, view, *uid, true);
    }
}

/// `* FLAGS` and PERMANENTFLAGS: the flags that the mailbox knows, and `\*`
/// because it takes others.
pub fn write_flags(out: &mut Vec<u8>, view: &View) {
    let mut list = Vec::new();
    let known = view.with(|m| {
        let names = m.keywords().all().map(|(_, name)| name.as_bytes());
        response::flag_list(&mut list, SystemFlags::ALL, false, names);
        Ok(())
    });
    if known.is_err() {
        // The mailbox is gone; the next poll says so.
        return;
    }
    response::flags(out, &list);
    if view.read_only {
        list = b"()".to_vec();
    } else {
        list.pop();
        list.extend_from_slice(b" \\*)");
    }
    let code = Some(Code::PermanentFlags(&list));
    response::untagged(out, Status::Ok, code, "Flags permitted.");
}

/// `* n FETCH (UID u FLAGS (...))`; nothing if the session does not know the
/// message or it is gone.
pub fn write_message_flags(out: &mut Vec<u8>, view: &View, uid: u32, with_uid: bool) {
    let Some(seq) = view.seq(uid) else { return };
    let found = view.with(|m| {
        let found = m.get(uid).map(|x| (x.attrs.flags, m.keywords().names(x.attrs.keywords)));
        Ok(found)
    });
    // An error here is a mailbox that is gone; the next poll says so.
    let Ok(Some((flags, keywords))) = found else { return };
    let mut fetched = response::Fetched::new(out, seq);
    if with_uid {
        crate::proto::imap::write::number(fetched.item("UID"), u64::from(uid));
    }
    let names = keywords.iter().map(String::as_bytes);
    response::flag_list(fetched.item("FLAGS"), system(flags), view.is_recent(uid), names);
    fetched.end();
}

/// The store's flags as the protocol has them: the bits are the same.
pub fn system(flags: Flags) -> SystemFlags {
    SystemFlags::from_bits(flags.0)
}

/// The protocol's flags as the store has them.
pub fn stored(flags: SystemFlags) -> Flags {
    Flags(flags.bits())
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
