//! A mail session over the control socket: the client's side of SMTP.

use crate::base::clock::Deadline;
use crate::base::line::{LineError, LineReader};
use crate::base::stream::Stream;
use crate::ipc::ctl::MAIL;
use crate::proto::smtp::client::{RemoteReply, ReplyReader, Stuffer};
use crate::proto::smtp::reply::Enhanced;
use crate::sys::errno::reason;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

/// How long the daemon may take for one reply.  RFC 5321 4.5.3.2.6.
const PATIENCE: Duration = Duration::from_secs(600);
/// A reply line, with room for the daemon's own.
const LINE: usize = 2048;

/// A message and its envelope.
pub struct Mail {
    /// The envelope sender; empty is the null path.
    pub sender: String,
    /// The name for a From field that is made.
    pub full_name: Option<String>,
    /// NOTIFY of each recipient.
    pub notify: Option<String>,
    /// RET.
    pub ret: Option<String>,
    /// ENVID, not yet as xtext.
    pub envid: Option<String>,
    /// The recipients.
    pub recipients: Vec<String>,
    /// Header and body with CRLF.
    pub message: Vec<u8>,
}

/// Why it was not sent.
pub enum Failed {
    /// Nobody listens, or the daemon has left (421, or the connection ended):
    /// who left after the end of the message may have it on disk or not.
    NoDaemon(String),
    /// Try again.
    Temporary(String),
    /// The daemon's disk is full, and with it the offline directory's.  RFC 3463
    /// X.3.1.
    Full(String),
    /// This transaction takes no more recipients: another does.  RFC 5321
    /// 4.5.3.1.10.
    Enough(String),
    /// For good.
    Refused(String),
}

impl Failed {
    /// What was said.
    pub fn why(&self) -> &str {
        match self {
            Failed::NoDaemon(why)
            | Failed::Temporary(why)
            | Failed::Full(why)
            | Failed::Enough(why)
            | Failed::Refused(why) => why,
        }
    }

    /// The same, with the recipient that it is about.
    fn of(self, recipient: &str) -> Failed {
        let named = |why: String| format!("{recipient}: {why}");
        match self {
            Failed::NoDaemon(why) => Failed::NoDaemon(why),
            Failed::Temporary(why) => Failed::Temporary(named(why)),
            Failed::Full(why) => Failed::Full(named(why)),
            Failed::Enough(why) => Failed::Enough(named(why)),
            Failed::Refused(why) => Failed::Refused(named(why)),
        }
    }
}

/// Why a message was not sent to all.
pub struct Stopped {
    /// What happened.
    pub failed: Failed,
    /// How many recipients, from the first on, have it.
    pub sent: usize,
}

impl From<Failed> for Stopped {
    fn from(failed: Failed) -> Stopped {
        Stopped { failed, sent: 0 }
    }
}

/// Sends a message; blocks until the daemon has it on disk.  One recipient who is
/// refused, and nobody gets it: where it needs several transactions, all
/// recipients are asked for before the first is sent.
pub fn submit(socket: &Path, mail: &Mail) -> Result<(), Stopped> {
    let all = &mail.recipients[..];
    let mut groups = Vec::new();
    let mut rest = all;
    while !rest.is_empty() {
        let mut session = Session::open(socket)?;
        let asked = session.begin(mail, rest, &mut all_or_none)?;
        if asked == all.len() {
            return Ok(session.end(mail)?);
        }
        session.leave();
        let (group, others) = rest.split_at(asked);
        groups.push(group);
        rest = others;
    }
    let mut sent = 0;
    for group in groups {
        let send = || -> Result<(), Failed> {
            let mut session = Session::open(socket)?;
            if session.begin(mail, group, &mut all_or_none)? < group.len() {
                return Err(Failed::Temporary("rmaild takes fewer recipients now".into()));
            }
            session.end(mail)
        };
        send().map_err(|failed| Stopped { failed, sent })?;
        sent += group.len();
    }
    Ok(())
}

fn all_or_none(recipient: &str, reply: Result<(), Failed>) -> Result<(), Failed> {
    reply.map_err(|failed| failed.of(recipient))
}

/// What became of the recipients in one transaction.
#[derive(Default)]
pub struct Sent {
    /// Refused for good, and what was said.
    pub refused: Vec<(String, String)>,
    /// Not now, and what was said.
    pub later: Vec<(String, String)>,
    /// Not asked for: another transaction takes them.
    pub rest: Vec<String>,
}

/// Sends a message in one transaction, to those recipients who are taken.
pub fn submit_some(socket: &Path, mail: &Mail) -> Result<Sent, Failed> {
    let mut sent = Sent::default();
    let mut taken = Vec::new();
    let mut session = Session::open(socket)?;
    let each = &mut |recipient: &str, reply: Result<(), Failed>| {
        match reply {
            Ok(()) => taken.push(recipient.to_string()),
            Err(Failed::Refused(why)) => sent.refused.push((recipient.to_string(), why)),
            Err(Failed::Temporary(why) | Failed::Full(why) | Failed::Enough(why)) => {
                sent.later.push((recipient.to_string(), why));
            }
            Err(failed @ Failed::NoDaemon(_)) => return Err(failed),
        }
        Ok(())
    };
    let all_of = |all: Vec<String>, why: String| all.into_iter().map(move |r| (r, why.clone()));
    let asked = match session.begin(mail, &mail.recipients, each) {
        Ok(asked) => asked,
        Err(Failed::Refused(why)) => {
            sent.refused = all_of(mail.recipients.clone(), why).collect();
            return Ok(sent);
        }
        // It closes at so many that are refused: those are done with, and the
        // others come in another session.
        Err(Failed::NoDaemon(_)) if !sent.refused.is_empty() => {
            let refused = |r: &String| sent.refused.iter().any(|(other, _)| other == r);
            sent.rest = mail.recipients.iter().filter(|r| !refused(r)).cloned().collect();
            sent.later.clear();
            return Ok(sent);
        }
        Err(failed) => return Err(failed),
    };
    sent.rest = mail.recipients.iter().skip(asked).cloned().collect();
    if taken.is_empty() {
        session.leave();
        return Ok(sent);
    }
    match session.end(mail) {
        Ok(()) => {}
        Err(Failed::Refused(why)) => sent.refused.extend(all_of(taken, why)),
        Err(failed) => return Err(failed),
    }
    Ok(sent)
}

/// The daemon's host name.
pub fn server_name(socket: &Path) -> Result<String, Failed> {
    Ok(Session::open(socket)?.name)
}

/// What is done about the reply to a recipient.
type Each<'a> = &'a mut dyn FnMut(&str, Result<(), Failed>) -> Result<(), Failed>;

impl Session {
    /// Begins a transaction with as many of these recipients as it takes, and
    /// gives how many were asked for.
    fn begin(
        &mut self,
        mail: &Mail,
        recipients: &[String],
        each: Each<'_>,
    ) -> Result<usize, Failed> {
        let sender = complete(&mail.sender, &self.name);
        self.expect(format!("EHLO {}\r\n", host()).as_bytes(), 250)?;
        let mut from = format!("MAIL FROM:<{sender}>");
        if !sender.is_ascii() || recipients.iter().any(|r| !r.is_ascii()) {
            from.push_str(" SMTPUTF8");
        }
        if mail.message.iter().any(|b| *b >= 0x80) {
            from.push_str(" BODY=8BITMIME");
        }
        if let Some(ret) = &mail.ret {
            from.push_str(&format!(" RET={ret}"));
        }
        if let Some(envid) = &mail.envid {
            from.push_str(&format!(" ENVID={}", xtext(envid)));
        }
        self.expect(format!("{from}\r\n").as_bytes(), 250)?;
        let mut taken = false;
        for (n, recipient) in recipients.iter().enumerate() {
            let mut to = format!("RCPT TO:<{}>", complete(recipient, &self.name));
            if let Some(notify) = &mail.notify {
                to.push_str(&format!(" NOTIFY={notify}"));
            }
            let reply = self.expect(format!("{to}\r\n").as_bytes(), 250).map(drop);
            taken |= reply.is_ok();
            match reply {
                Err(Failed::Enough(_)) if taken => return Ok(n),
                reply => each(recipient, reply)?,
            }
        }
        Ok(recipients.len())
    }

    /// Sends the message to the recipients who were taken.
    fn end(mut self, mail: &Mail) -> Result<(), Failed> {
        self.expect(b"DATA\r\n", 354)?;
        let mut body = Vec::with_capacity(mail.message.len() + 64);
        let mut stuffer = Stuffer::new();
        if let Some(from) = made_from(mail, &complete(&mail.sender, &self.name)) {
            stuffer.feed(from.as_bytes(), &mut body);
        }
        stuffer.feed(&mail.message, &mut body);
        stuffer.finish(&mut body);
        self.expect(&body, 250)?;
        // It is on disk; how the farewell goes changes nothing.
        self.leave();
        Ok(())
    }

    /// Ends the session, and with it a transaction that was not sent.
    fn leave(mut self) {
        let _ = self.expect(b"QUIT\r\n", 221); // it ends in any case
    }
}

/// An address without a domain gets the server's name.
pub fn complete(address: &str, server: &str) -> String {
    match address {
        "" => String::new(),
        a if a.contains('@') => a.to_string(),
        a => format!("{a}@{server}"),
    }
}

/// A From field for a message that has none, when a name was given.
pub fn made_from(mail: &Mail, sender: &str) -> Option<String> {
    let name = mail.full_name.as_ref()?;
    let has = crate::proto::mime::field::Fields::new(&mail.message).any(|f| f.is(b"from"));
    let plain = !has && name.bytes().all(|b| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\');
    plain.then(|| format!("From: \"{name}\" <{sender}>\r\n"))
}

/// xtext of RFC 3461 4.
fn xtext(text: &str) -> String {
    let mut out = String::new();
    for b in text.bytes() {
        if crate::proto::chars::is_vchar(b) && b != b'+' && b != b'=' {
            out.push(char::from(b));
        } else {
            out.push_str(&format!("+{b:02X}"));
        }
    }
    out
}

fn host() -> String {
    crate::sys::net::hostname().unwrap_or_else(|_| "localhost".into())
}

struct Session {
    lines: LineReader,
    /// The server's name.
    name: String,
}

impl Session {
    fn open(socket: &Path) -> Result<Session, Failed> {
        let none =
            |e: std::io::Error| Failed::NoDaemon(format!("{}: {}", socket.display(), reason(&e)));
        let mut stream = UnixStream::connect(socket).map_err(none)?;
        stream.write_all(&[MAIL]).map_err(none)?;
        let stream =
            Stream::new(OwnedFd::from(stream)).map_err(|e| Failed::Temporary(e.to_string()))?;
        let lines = LineReader::new(stream, Deadline::NEVER);
        let mut session = Session { lines, name: String::new() };
        let greeting = session.expect(b"", 220)?;
        // The greeting begins with the server's name.  RFC 5321 4.2.
        let name = greeting.split_ascii_whitespace().next().unwrap_or("localhost");
        session.name = name.to_string();
        Ok(session)
    }

    /// Sends bytes, and reads a reply that must have this code; gives its text.
    fn expect(&mut self, bytes: &[u8], code: u16) -> Result<String, Failed> {
        let deadline = Deadline::after(PATIENCE);
        self.lines.put(bytes);
        let mut reader = ReplyReader::new();
        let mut line = Vec::new();
        let reply: RemoteReply = loop {
            self.lines.read_line(&mut line, LINE, deadline).map_err(|e| match e {
                LineError::Eof(_) | LineError::Stream(_) => {
                    Failed::NoDaemon(format!("rmaild has left: {e}"))
                }
                e => Failed::Temporary(format!("rmaild: {e}")),
            })?;
            match reader.line(&line) {
                Ok(Some(reply)) => break reply,
                Ok(None) => {}
                Err(_) => return Err(Failed::Temporary("rmaild gave no SMTP reply".into())),
            }
        };
        let said = || match reply.status {
            Some(status) => format!("{} {status} {}", reply.code, reply.text()),
            None => format!("{} {}", reply.code, reply.text()),
        };
        match reply.code {
            c if c == code => Ok(reply.text()),
            // It closes, whatever it was asked.  RFC 5321 3.8, 4.2.1.
            421 => Err(Failed::NoDaemon(said())),
            452 if reply.status == Some(Enhanced::new(4, 3, 1)) => Err(Failed::Full(said())),
            452 if reply.status == Some(Enhanced::new(4, 5, 3)) => Err(Failed::Enough(said())),
            400..=499 => Err(Failed::Temporary(said())),
            _ => Err(Failed::Refused(said())),
        }
    }
}

/// `-bs`: passes standard input to the daemon and its replies to standard
/// output, until one of them ends.
pub fn relay_stdin(socket: &Path) -> ExitCode {
    let open = || -> std::io::Result<()> {
        let mut stream = UnixStream::connect(socket)?;
        stream.write_all(&[MAIL])?;
        let mut replies = stream.try_clone()?;
        let mut commands = stream.try_clone()?;
        let copier = std::thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut chunk = [0u8; 8192];
            loop {
                match stdin.read(&mut chunk) {
                    Ok(n) if n > 0 && commands.write_all(&chunk[..n]).is_ok() => {}
                    _ => break,
                }
            }
            // The daemon sees the end, answers what it has and closes.
            let _ = commands.shutdown(std::net::Shutdown::Write);
        });
        std::io::copy(&mut replies, &mut std::io::stdout().lock())?;
        drop(copier);
        Ok(())
    };
    match open() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => super::fail(&e.to_string(), crate::base::exits::sysexits::TEMPFAIL),
    }
}
