//! One connection to a remote host, as its client: greeting, EHLO, TLS, AUTH.
//!
//! *Trusts* nothing of the other side: replies are read by
//! [`ReplyReader`], bounded in length and number; what was sent before TLS began
//! is an error, since anybody could have put it there (CVE-2011-0411, Exim's
//! CVE-2021-38371); passwords go out inside TLS only.
//!
//! RFC 5321 3.1, 4.5.3.2 (times); RFC 3207; RFC 4954; RFC 2033 (LHLO).

use crate::base::clock::Deadline;
use crate::base::line::{LineError, LineReader};
use crate::base::stream::{Stream, StreamError};
use crate::base::tls::{Client, Verify};
use crate::proc::mta::policy::{Limits, TlsUse};
use crate::proto::limits;
use crate::proto::smtp::client::{Offers, RemoteReply, ReplyError, ReplyReader};
use crate::proto::text::base64;
use std::fmt;
use std::net::IpAddr;
use std::os::fd::AsFd;
use std::time::Duration;

/// How long a reply is waited for from a host that takes nothing any more.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why a connection is of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lost {
    /// It broke, or was too slow; in words.
    Io(String),
    /// The host says what no SMTP server says.
    Protocol(String),
    /// TLS failed or is not there as demanded.
    Tls(String),
    /// The host does not want us: its reply to greeting, EHLO or AUTH.
    Refused(RemoteReply),
    /// The host is ourselves.
    Own,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Io(text) | Lost::Protocol(text) => f.write_str(text),
            Lost::Tls(text) => write!(f, "TLS: {text}"),
            Lost::Refused(reply) => f.write_str(&reply_text(reply)),
            Lost::Own => f.write_str("it is this host"),
        }
    }
}

impl From<StreamError> for Lost {
    fn from(e: StreamError) -> Self {
        match e {
            StreamError::Tls(text) => Lost::Tls(text),
            other => Lost::Io(other.to_string()),
        }
    }
}

impl From<LineError> for Lost {
    fn from(e: LineError) -> Self {
        Lost::Io(e.to_string())
    }
}

/// A reply as it was, on one line: `550 5.1.1 No such user`.
pub fn reply_text(reply: &RemoteReply) -> String {
    match reply.status {
        Some(status) => format!("{} {status} {}", reply.code, reply.text()),
        None => format!("{} {}", reply.code, reply.text()),
    }
}

/// How a session is to begin.
pub struct Opening<'a> {
    /// The host's name, for its certificate.
    pub host: &'a str,
    /// What is done about TLS.
    pub tls: TlsUse,
    /// How TLS is spoken.
    pub client: &'a Client,
    /// Our name.
    pub helo: &'a str,
    /// The server's name, if a host that calls itself so is this one.
    pub own: Option<&'a str>,
    /// LHLO in place of EHLO.
    pub lmtp: bool,
    /// User and password.
    pub login: Option<(&'a str, &'a [u8])>,
    /// Times.
    pub limits: Limits,
}

/// A connection that is ready for transactions.
pub struct Session {
    lines: LineReader,
    /// What the host offers.
    pub offers: Offers,
    /// It knows no EHLO, so that its offers say nothing.
    pub plain: bool,
    /// Its name and address, for reports.
    pub host: String,
    /// A reply for each recipient after the message.
    pub lmtp: bool,
    /// Transactions until now.
    pub mails: u64,
    /// The version of TLS, if it is used.
    pub tls: Option<&'static str>,
    pub(super) limits: Limits,
}

/// The address that a connection comes from.
pub fn local_ip(stream: &Stream) -> Option<IpAddr> {
    let fd = stream.as_fd().try_clone_to_owned().ok()?;
    crate::sys::net::local_addr(&fd).ok().map(|a| a.ip())
}

impl Session {
    /// Talks until mail may be sent.  `who` is the host's name and address.
    pub fn open(stream: Stream, who: String, opening: &Opening<'_>) -> Result<Session, Lost> {
        let limits = opening.limits;
        let mut session = Session {
            lines: LineReader::new(stream, Deadline::NEVER),
            offers: Offers::default(),
            plain: false,
            host: who,
            lmtp: opening.lmtp,
            mails: 0,
            tls: None,
            limits,
        };
        if matches!(opening.tls, TlsUse::Implicit { .. }) {
            session.start_tls(opening)?;
        }
        let greeting = session.reply(limits.command)?;
        if greeting.code != 220 {
            return Err(Lost::Refused(greeting));
        }
        session.hello(opening)?;
        let wanted = matches!(opening.tls, TlsUse::Offered | TlsUse::Required { .. });
        if wanted && session.offers.starttls {
            let reply = session.command("STARTTLS", limits.command)?;
            if reply.code == 220 {
                if !session.lines.buffered().is_empty() {
                    return Err(Lost::Protocol(
                        "bytes in clear after the reply to STARTTLS".into(),
                    ));
                }
                session.start_tls(opening)?;
                // RFC 3207 4.2: what was said before counts for nothing.
                session.hello(opening)?;
            } else if matches!(opening.tls, TlsUse::Required { .. }) {
                return Err(Lost::Refused(reply));
            }
        } else if matches!(opening.tls, TlsUse::Required { .. }) {
            return Err(Lost::Tls("demanded, and the host does not offer STARTTLS".into()));
        }
        if let Some((user, password)) = opening.login {
            session.login(user, password)?;
        }
        Ok(session)
    }

    fn start_tls(&mut self, opening: &Opening<'_>) -> Result<(), Lost> {
        // An MX host is known by its name; one that is an address by that.
        let name = opening.host.trim_start_matches('[').trim_end_matches(']');
        let name = name.strip_prefix("IPv6:").unwrap_or(name);
        let verify = opening.tls.verify();
        let deadline = Deadline::after(opening.limits.command);
        let info = self.lines.start_tls_client(opening.client, name, verify, deadline).map_err(
            |e| match e {
                StreamError::Tls(text) => Lost::Tls(text),
                // A host that hangs up on a handshake fails at TLS as well.
                other => Lost::Tls(other.to_string()),
            },
        )?;
        if verify == Verify::Yes && !info.verified {
            return Err(Lost::Tls(info.verdict.unwrap_or("certificate does not hold").into()));
        }
        self.tls = Some(info.version);
        Ok(())
    }

    /// EHLO, and HELO for those who do not know it.  RFC 5321 3.2.
    fn hello(&mut self, opening: &Opening<'_>) -> Result<(), Lost> {
        let time = opening.limits.command;
        let verb = if self.lmtp { "LHLO" } else { "EHLO" };
        let reply = self.command(&format!("{verb} {}", opening.helo), time)?;
        if reply.class() == 2 {
            let name = reply.lines.first().and_then(|l| l.split_ascii_whitespace().next());
            if name.zip(opening.own).is_some_and(|(a, b)| a.eq_ignore_ascii_case(b)) {
                return Err(Lost::Own);
            }
            (self.offers, self.plain) = (Offers::of(&reply), false);
            return Ok(());
        }
        if self.lmtp || reply.class() != 5 || reply.code == 554 {
            return Err(Lost::Refused(reply));
        }
        let reply = self.command(&format!("HELO {}", opening.helo), time)?;
        (self.offers, self.plain) = (Offers::default(), true);
        if reply.class() == 2 {
            Ok(())
        } else {
            Err(Lost::Refused(reply))
        }
    }

    /// AUTH PLAIN, else LOGIN.  RFC 4954, RFC 4616.
    fn login(&mut self, user: &str, password: &[u8]) -> Result<(), Lost> {
        if self.tls.is_none() {
            return Err(Lost::Tls("a password is not sent in clear".into()));
        }
        let time = self.limits.command;
        let has = |o: &Offers, name| o.auth.iter().any(|m| m == name);
        let reply = if has(&self.offers, "PLAIN") {
            let text = [&b"\0"[..], user.as_bytes(), b"\0", password].concat();
            self.secret(b"AUTH PLAIN ", &base64::encode(&text), time)?
        } else if has(&self.offers, "LOGIN") {
            let first = self.command("AUTH LOGIN", time)?;
            if first.code != 334 {
                return Err(Lost::Refused(first));
            }
            let second = self.secret(b"", &base64::encode(user.as_bytes()), time)?;
            if second.code != 334 {
                return Err(Lost::Refused(second));
            }
            self.secret(b"", &base64::encode(password), time)?
        } else {
            return Err(Lost::Protocol("the host offers neither AUTH PLAIN nor LOGIN".into()));
        };
        if reply.code == 235 {
            Ok(())
        } else {
            Err(Lost::Refused(reply))
        }
    }

    fn secret(&mut self, verb: &[u8], text: &[u8], time: Duration) -> Result<RemoteReply, Lost> {
        self.lines.put(verb);
        self.lines.put(text);
        self.lines.put(b"\r\n");
        self.reply(time)
    }

    /// Puts a command into what is sent next.
    pub fn put(&mut self, line: &str) {
        self.lines.put(line.as_bytes());
        self.lines.put(b"\r\n");
    }

    /// Puts a piece of a message, and sends what has gathered.
    pub fn put_data(&mut self, bytes: &[u8]) -> Result<(), Lost> {
        self.lines.put(bytes);
        Ok(self.lines.flush(Deadline::after(self.limits.block))?)
    }

    /// Sends a command and reads its reply.
    pub fn command(&mut self, line: &str, time: Duration) -> Result<RemoteReply, Lost> {
        self.put(line);
        self.reply(time)
    }

    /// Reads a reply, after sending what was put.
    pub fn reply(&mut self, time: Duration) -> Result<RemoteReply, Lost> {
        let deadline = Deadline::after(time);
        let mut reader = ReplyReader::new();
        let mut line = Vec::new();
        loop {
            self.lines.read_line(&mut line, limits::REPLY_LINE.size(), deadline)?;
            match reader.line(&line) {
                Ok(None) => {}
                // RFC 5321 3.8: the host closes the connection.
                Ok(Some(reply)) if reply.code == 421 => return Err(Lost::Refused(reply)),
                Ok(Some(reply)) => return Ok(reply),
                Err(e) => {
                    let what = match e {
                        ReplyError::Form => "a reply out of form",
                        ReplyError::Code => "a reply with two codes",
                        ReplyError::TooLong => "a reply too long",
                        ReplyError::Bytes => "a reply with forbidden bytes",
                    };
                    return Err(Lost::Protocol(what.into()));
                }
            }
        }
    }

    /// What the host said before it stopped reading, if that is a refusal: it may
    /// be there already.
    pub fn last_words(&mut self) -> Option<RemoteReply> {
        self.lines.discard_unflushed();
        match self.reply(LAST_WORDS) {
            Ok(reply) | Err(Lost::Refused(reply)) => {
                Some(reply).filter(|r| matches!(r.class(), 4 | 5))
            }
            Err(_) => None,
        }
    }

    /// Says good-bye and closes.  RFC 5321 4.1.1.10.
    pub fn quit(mut self, deadline: Deadline) {
        self.put("QUIT");
        if self.lines.flush(deadline).is_ok() {
            let mut line = Vec::new();
            // What it says to that changes nothing.
            let _ = self.lines.read_line(&mut line, limits::REPLY_LINE.size(), deadline);
        }
        self.lines.close(deadline);
    }
}
