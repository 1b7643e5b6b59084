//! A connection from its greeting to its login, and then the relay.
//!
//! The client is a stranger here: lines, literals and time are short, and a
//! password is taken only under TLS.  Whether it is right is asked of lookup,
//! which itself has parent open the account's store; the channel comes under
//! our request id.  A failed login is answered late, logged at once, and counts
//! against its address.  RFC 3501 6.1, 6.2; RFC 2971, RFC 4959, RFC 7888.

use super::config::{Limits, Listener};
use super::relay::{relay, End, Patience};
use super::Shared;
use crate::base::clock::Deadline;
use crate::base::imap::Reading;
use crate::base::line::{LineError, LineReader, Pace};
use crate::base::listen::Slot;
use crate::base::log::{self, Show};
use crate::base::stream::Stream;
use crate::ipc::imap_lookup::{Answer, Ask, Login};
use crate::ipc::imap_store::Session as Hello;
use crate::proto::imap::capability;
use crate::proto::imap::collect::{Bounds, Collector, Next, Skip};
use crate::proto::imap::command::{self, Command};
use crate::proto::imap::lex::Fault;
use crate::proto::imap::reply::{Problem, Reply};
use crate::proto::imap::response::{self, Code, Status};
use crate::proto::limits;
use crate::proto::smtp::sasl::{self, Credentials, Dialogue, Mechanism, Step};
use crate::sys::rand;
use std::net::{IpAddr, Shutdown};
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;
use std::time::Duration;

/// How long a good-bye may take.
const GOODBYE: Duration = Duration::from_secs(5);
/// How long a relay waits when neither side says anything: longer than the
/// store, which says BYE first.
const RELAY: Duration = Duration::from_secs(35 * 60);

/// The session's own limit is what ends a slow one.
const READING: Reading =
    Reading { line: limits::IMAP_LOGIN_LINE.size(), deadline: || Deadline::NEVER, pace: Pace::ANY };

/// What is said when the daemon stops.
const STOPPING: &str = "Server shutting down.";

/// A connection that has not logged in.
pub struct Session<'s> {
    shared: &'s Shared,
    listener: Arc<Listener>,
    limits: Limits,
    io: LineReader,
    peer: IpAddr,
    slot: Slot,
    sid: u64,
    collector: Collector,
    line: Vec<u8>,
    out: Vec<u8>,
    failures: u64,
    bad: u64,
}

/// How the dialogue goes on.
enum Flow {
    /// The next command.
    On,
    /// The connection is closed; the word is for the log.
    Close(&'static str),
    /// The password was right and the store is there.
    Welcome(Box<Welcome>),
}

/// What the relay needs.
struct Welcome {
    store: OwnedFd,
    user: String,
    account: String,
    tag: Vec<u8>,
}

/// What a step gives; the error is the connection's.
type Stepped = Result<Flow, LineError>;

impl<'s> Session<'s> {
    /// A connection that was accepted.
    pub fn new(
        shared: &'s Shared,
        listener: Arc<Listener>,
        limits: Limits,
        stream: Stream,
        peer: IpAddr,
        slot: Slot,
    ) -> Session<'s> {
        let io = LineReader::new(stream, Deadline::after(limits.login_time));
        Session {
            shared,
            listener,
            limits,
            io,
            peer,
            slot,
            sid: rand::u64(),
            collector: Collector::new(Bounds::LOGIN),
            line: Vec::new(),
            out: Vec::new(),
            failures: 0,
            bad: 0,
        }
    }

    /// Serves it to its end.
    pub fn serve(self) {
        let (shared, sid) = (self.shared, self.sid);
        shared.wake_by(sid, self.io.stream().as_fd(), Shutdown::Read);
        self.serve_to_its_end();
        shared.forget(sid);
    }

    fn serve_to_its_end(mut self) {
        log::info!("imap", sid = self.id(), event = "connect", client = self.peer);
        let dialogue = catch_unwind(AssertUnwindSafe(|| self.dialogue()));
        let flow = dialogue.unwrap_or_else(|_| {
            // Whatever was begun of an answer is not said.
            self.out.clear();
            log::crit!("imap", sid = self.id(), msg = "lost to a panic");
            Ok(self.bye("Internal error, closing connection."))
        });
        match flow {
            Ok(Flow::Welcome(welcome)) => return self.relay(*welcome),
            Ok(Flow::Close(why)) => {
                log::info!("imap", sid = self.id(), event = "close", reason = why);
            }
            Ok(Flow::On) => {}
            Err(e) => {
                if self.shared.is_stopping() {
                    self.bye(STOPPING);
                } else if e.is_timeout() {
                    self.bye("Disconnected: no login in time.");
                } else if e == LineError::BareLf {
                    self.bye("Line ends must be CRLF.");
                }
                log::info!("imap", sid = self.id(), event = "close", error = e);
            }
        }
        self.io.put(&self.out);
        self.io.close(Deadline::after(GOODBYE));
    }

    fn id(&self) -> Show<String> {
        Show(format!("{:016x}", self.sid))
    }

    /// TLS if it comes first, the greeting, then command after command.
    fn dialogue(&mut self) -> Stepped {
        if self.listener.implicit {
            self.start_tls()?;
        }
        let code = Some(Code::Capability(self.capabilities()));
        let text = format!("{} ready.", self.listener.hostname);
        response::untagged(&mut self.out, Status::Ok, code, &text);
        loop {
            self.io.put(&self.out);
            self.out.clear();
            let next = self.collect()?;
            let bytes = self.collector.take();
            let flow = match next {
                Next::Refused(fault, skip) => self.refused(&bytes, fault, skip)?,
                Next::Append => self.refused(&bytes, Fault::TooLarge, Skip::Close)?,
                Next::Whole | Next::Literal(_) => match command::parse(&bytes) {
                    Ok(tagged) => self.run(tagged.tag, tagged.command)?,
                    Err(refused) => {
                        response::refuse(&mut self.out, refused.tag, refused.fault.into());
                        self.count_bad()
                    }
                },
            };
            self.collector.wipe(bytes);
            match flow {
                Flow::On => {}
                end => return Ok(end),
            }
        }
    }

    fn start_tls(&mut self) -> Result<(), LineError> {
        let listener = Arc::clone(&self.listener);
        let Some(server) = &listener.tls else { return Ok(()) };
        self.io.start_tls_server(server, Deadline::after(self.limits.login_time))?;
        Ok(())
    }

    fn capabilities(&self) -> &'static str {
        let tls = self.io.stream().is_tls();
        capability::Login { starttls: !tls && self.listener.tls.is_some(), passwords: tls }.list()
    }

    /// Gathers a command within the bounds for strangers.
    fn collect(&mut self) -> Result<Next, LineError> {
        self.collector.clear();
        READING.command(&mut self.io, &mut self.collector, &mut self.line)
    }

    /// Answers what was refused while it was gathered.
    fn refused(&mut self, bytes: &[u8], fault: Fault, skip: Skip) -> Stepped {
        response::refuse(&mut self.out, command::tag_of(bytes), fault.into());
        match skip {
            Skip::Nothing => {}
            Skip::Octets(octets) => {
                if !READING.skip(&mut self.io, &mut self.line, octets)? {
                    return Ok(self.bye("Line too long."));
                }
            }
            Skip::Close => return Ok(self.bye("Literal too large.")),
        }
        Ok(self.count_bad())
    }

    fn count_bad(&mut self) -> Flow {
        self.bad = self.bad.saturating_add(1);
        if self.bad >= limits::IMAP_BAD_COMMANDS.default {
            return self.bye("Too many invalid commands.");
        }
        Flow::On
    }

    fn bye(&mut self, text: &'static str) -> Flow {
        response::untagged(&mut self.out, Status::Bye, None, text);
        Flow::Close(text)
    }

    fn ok(&mut self, tag: &[u8], text: &str) -> Stepped {
        response::tagged(&mut self.out, tag, Status::Ok, None, text);
        Ok(Flow::On)
    }

    fn refuse(&mut self, tag: &[u8], reply: impl Into<Reply>) -> Stepped {
        response::refuse(&mut self.out, Some(tag), reply.into());
        Ok(Flow::On)
    }

    fn run(&mut self, tag: &[u8], command: Command<'_>) -> Stepped {
        match command {
            Command::Capability => {
                let list = self.capabilities();
                response::capability(&mut self.out, list);
                self.ok(tag, "Capability completed.")
            }
            Command::Noop => self.ok(tag, "NOOP completed."),
            Command::Id(_) => {
                response::id(&mut self.out, &[("name", "rmail")]);
                self.ok(tag, "ID completed.")
            }
            Command::Logout => {
                response::untagged(&mut self.out, Status::Bye, None, "Logging out");
                self.ok(tag, "Logout completed.")?;
                Ok(Flow::Close("logout"))
            }
            Command::StartTls => self.begin_tls(tag),
            Command::Login { user, password } => {
                if !self.io.stream().is_tls() {
                    return self.refuse(tag, Problem::PrivacyRequired);
                }
                match (sasl::user_name(&user), sasl::password(password.to_vec())) {
                    (Ok(user), Ok(password)) => self.check(tag, Credentials { user, password }),
                    _ => self.failed(tag, ""),
                }
            }
            Command::Authenticate { mechanism, initial } => {
                self.authenticate(tag, mechanism, initial)
            }
            _ => self.refuse(tag, Problem::NotLoggedIn),
        }
    }

    /// STARTTLS.  RFC 3501 6.2.1: what came before TLS means nothing after it.
    fn begin_tls(&mut self, tag: &[u8]) -> Stepped {
        if self.io.stream().is_tls() {
            return self.refuse(tag, Problem::TlsActive);
        }
        if self.listener.tls.is_none() {
            return self.refuse(tag, Problem::NoTls);
        }
        if !self.io.buffered().is_empty() {
            // Commands behind STARTTLS are an injection, or a client that would
            // not notice one.  CVE-2011-0411.
            return Ok(self.bye("Nothing may follow STARTTLS."));
        }
        self.ok(tag, "Begin TLS negotiation now.")?;
        self.io.put(&self.out);
        self.out.clear();
        self.start_tls()?;
        Ok(Flow::On)
    }

    /// AUTHENTICATE.  RFC 3501 6.2.2, RFC 4959.
    fn authenticate(&mut self, tag: &[u8], name: &[u8], initial: Option<&[u8]>) -> Stepped {
        if !self.io.stream().is_tls() {
            return self.refuse(tag, Problem::PrivacyRequired);
        }
        let mechanism = std::str::from_utf8(name).ok().and_then(Mechanism::by_name);
        let Some(mechanism) = mechanism else { return self.refuse(tag, Problem::NoMechanism) };
        let Ok((mut dialogue, mut step)) = Dialogue::begin(mechanism, initial) else {
            return self.refuse(tag, Problem::AuthCancelled);
        };
        loop {
            match step {
                Step::Done(credentials) => return self.check(tag, credentials),
                Step::Challenge(text) => {
                    response::challenge(&mut self.out, text.as_bytes());
                    self.io.put(&self.out);
                    self.out.clear();
                }
            }
            let max = limits::IMAP_LOGIN_LINE.size();
            let read = self.io.read_line(&mut self.line, max, Deadline::NEVER);
            let answered = match read {
                Ok(()) => dialogue.response(&self.line),
                Err(e) if e.in_step() => return self.refuse(tag, Problem::AuthCancelled),
                Err(e) => return Err(e),
            };
            self.line.fill(0);
            step = match answered {
                Ok(step) => step,
                Err(_) => return self.refuse(tag, Problem::AuthCancelled),
            };
        }
    }

    /// Asks whether the password is right, and for the store.
    fn check(&mut self, tag: &[u8], credentials: Credentials) -> Stepped {
        let blocked = self.limits.logins.failures_peer;
        if self.shared.logins.is_blocked(self.peer, blocked) {
            self.wait();
            return self.refuse(tag, Problem::LoginsBlocked);
        }
        let opening = self.shared.openings.begin();
        let user = credentials.user.clone();
        let ask = Ask::Login {
            table: self.listener.credentials.clone(),
            user: credentials.user,
            password: credentials.password,
            request: opening.request,
            sid: self.sid,
        };
        let account = match self.shared.lookup.call(&ask, Deadline::after(self.limits.answer)) {
            Ok(Answer::Login { outcome: Ok(Login::Welcome { account }) }) => account,
            Ok(Answer::Login { outcome: Ok(Login::Wrong) }) => return self.failed(tag, &user),
            Ok(Answer::Login { outcome: Ok(Login::NoMailbox { why }) }) => {
                log::warn!("imap", sid = self.id(), event = "login", user = user, error = why);
                return self.refuse(tag, Problem::NoAccount);
            }
            Ok(Answer::Login { outcome: Err(_) }) => {
                log::warn!(
                    "imap",
                    sid = self.id(),
                    event = "login",
                    user = user,
                    msg = "no answer"
                );
                return self.refuse(tag, Problem::AuthUnavailable);
            }
            Err(e) => {
                log::warn!("imap", sid = self.id(), event = "login", user = user, error = Show(e));
                return self.refuse(tag, Problem::AuthUnavailable);
            }
        };
        self.shared.logins.succeeded(self.peer);
        let store = match opening.wait(Deadline::after(self.limits.answer)) {
            Ok(Ok(store)) => store,
            Ok(Err(refusal)) => {
                let why = format!("{refusal:?}");
                log::warn!("imap", sid = self.id(), event = "open", acct = account, error = why);
                return self.refuse(tag, Problem::Unavailable);
            }
            Err(e) => {
                log::warn!(
                    "imap",
                    sid = self.id(),
                    event = "open",
                    acct = account,
                    error = Show(e)
                );
                return self.refuse(tag, Problem::Unavailable);
            }
        };
        Ok(Flow::Welcome(Box::new(Welcome { store, user, account, tag: tag.to_vec() })))
    }

    /// A wrong name or password: logged at once, answered late, counted.
    fn failed(&mut self, tag: &[u8], user: &str) -> Stepped {
        log::info!(
            "imap",
            sid = self.id(),
            event = "login-failed",
            user = user,
            client = self.peer
        );
        self.shared.logins.failed(self.peer, self.limits.logins.window);
        self.failures = self.failures.saturating_add(1);
        self.wait();
        self.refuse(tag, Problem::AuthFailed)?;
        if self.failures >= self.limits.logins.failures {
            return Ok(self.bye("Too many failed logins."));
        }
        Ok(Flow::On)
    }

    /// The delay of a failed login; this thread has nobody else to serve.
    fn wait(&self) {
        std::thread::sleep(self.limits.logins.delay);
    }

    /// Gives the connection to the store and carries bytes until one side ends.
    fn relay(self, welcome: Welcome) {
        let Session { shared, io, mut slot, sid, peer, limits, .. } = self;
        let id = || Show(format!("{sid:016x}"));
        slot.promote();
        shared.logged_in();
        let tls = io.stream().tls().map_or("none", |t| t.version);
        log::info!(
            "imap",
            sid = id(),
            event = "login",
            user = welcome.user,
            acct = welcome.account,
            client = peer,
            tls = tls
        );
        let hello = Hello {
            sid,
            user: welcome.user,
            client: peer.to_string(),
            tls: tls != "none",
            tag: welcome.tag.clone(),
        };
        let (mut client, early) = io.into_parts();
        let opened = Stream::local(welcome.store).ok().and_then(|mut store| {
            let framed = hello.framed().ok()?;
            store.write_all(&framed, Deadline::after(GOODBYE)).ok()?;
            Some(store)
        });
        let (end, count) = match opened {
            Some(mut store) => {
                shared.wake_by(sid, store.as_fd(), Shutdown::Write);
                let patience = Patience { greeting: limits.answer, idle: RELAY };
                relay(&mut client, &mut store, early, patience)
            }
            None => (End::Store, super::relay::Count::default()),
        };
        if matches!(end, End::Store | End::Silent) && count.down == 0 {
            // The store died, or is stopped, before it greeted; the client still
            // waits.
            let mut out = Vec::new();
            response::refuse(&mut out, Some(&welcome.tag), Problem::Unavailable.into());
            // A client that is gone needs no answer.
            let _ = client.write_all(&out, Deadline::after(GOODBYE));
        }
        if end == End::Store && shared.is_stopping() {
            // The store has ended its last answer, so this is said between two.
            let mut out = Vec::new();
            response::untagged(&mut out, Status::Bye, None, STOPPING);
            let _ = client.write_all(&out, Deadline::after(GOODBYE)); // as above
        }
        let why = match end {
            End::Store => "store closed",
            End::Client => "client closed",
            End::Idle => "idle",
            End::Silent => "no answer of the store",
        };
        log::info!(
            "imap",
            sid = id(),
            event = "end",
            reason = why,
            up = count.up,
            down = count.down
        );
        client.close(Deadline::after(GOODBYE));
    }
}
