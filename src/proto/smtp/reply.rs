//! The replies of the server: one table from every error to its code and text.
//!
//! *Runs in* smtp.  A reply never tells what went wrong inside us, nor repeats
//! what the client sent; both are in the log.  The writer makes the lines and
//! lets no byte through that could end one early.
//!
//! RFC 5321 4.2; RFC 2034 and RFC 3463 (enhanced codes).

use std::borrow::Cow;
use std::fmt;

use crate::proto::addr::{AddrError, What};
use crate::proto::cursor::Cursor;
use crate::proto::smtp::command::CommandError;
use crate::proto::smtp::data::Fault;
use crate::proto::smtp::fixup::FixupError;
use crate::proto::smtp::sasl::SaslError;

/// An enhanced status code, `5.7.1`.  RFC 3463 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Enhanced {
    /// 2, 4 or 5.
    pub class: u8,
    /// What it is about.
    pub subject: u16,
    /// What precisely.
    pub detail: u16,
}

impl Enhanced {
    /// Makes a code of its three numbers.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Enhanced {
        Enhanced { class, subject, detail }
    }

    /// status-code = class "." subject "." detail; class 2, 4 or 5, the others
    /// up to three digits.
    pub fn parse(c: &mut Cursor<'_>) -> Option<Enhanced> {
        let start = c.pos();
        let found = Enhanced::rule(c);
        if found.is_none() {
            c.seek(start);
        }
        found
    }

    fn rule(c: &mut Cursor<'_>) -> Option<Enhanced> {
        let class = c.next_byte().filter(|b| matches!(b, b'2' | b'4' | b'5'))?;
        let mut number = || {
            let digits = Some(c.eat(b'.')).filter(|dot| *dot).map(|_| c.pos())?;
            let n = c.number()?;
            (c.since(digits).len() <= 3).then(|| u16::try_from(n).ok()).flatten()
        };
        let (subject, detail) = (number()?, number()?);
        Some(Enhanced { class: class.wrapping_sub(b'0'), subject, detail })
    }
}

impl fmt::Display for Enhanced {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// A reply: code, enhanced code where there is one, text of one or more lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Three digits.
    pub code: u16,
    /// Repeated on every line; none in greeting, EHLO, 354 and 334.
    pub status: Option<Enhanced>,
    /// Lines separated by LF.
    pub text: Cow<'static, str>,
}

impl Reply {
    /// A reply with an enhanced code and its own text.
    pub fn new(code: u16, status: Enhanced, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, status: Some(status), text: text.into() }
    }

    /// A refusal in an administrator's words.  They may begin with an enhanced
    /// code of their own, which must be of the same class (RFC 2034 4).
    pub fn refusal(code: u16, text: &str) -> Reply {
        let class = if code < 500 { 4 } else { 5 };
        let mut c = Cursor::new(text.as_bytes());
        match Enhanced::parse(&mut c).filter(|s| s.class == class && c.eat(b' ')) {
            Some(status) => {
                let words = text.get(c.pos()..).unwrap_or_default().trim_start();
                Reply::new(code, status, words.to_string())
            }
            None => Reply::new(code, Enhanced::new(class, 7, 1), text.to_string()),
        }
    }

    /// A reply that has no enhanced code.
    pub fn plain(code: u16, text: impl Into<Cow<'static, str>>) -> Reply {
        Reply { code, status: None, text: text.into() }
    }

    const fn fixed(code: u16, class: u8, subject: u16, detail: u16, text: &'static str) -> Reply {
        Reply {
            code,
            status: Some(Enhanced::new(class, subject, detail)),
            text: Cow::Borrowed(text),
        }
    }

    /// True for 2xx and 3xx.
    pub const fn is_positive(&self) -> bool {
        self.code < 400
    }

    /// True for 421 and 521, after which the connection is closed.
    pub const fn closes(&self) -> bool {
        matches!(self.code, 221 | 421 | 521)
    }

    /// Appends the reply's lines with their CRLF.
    ///
    /// A byte that is not printable becomes `?`; a line over 510 octets is cut.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut lines = self.text.split('\n').peekable();
        while let Some(text) = lines.next() {
            let mark = if lines.peek().is_some() { '-' } else { ' ' };
            let mut line = match self.status {
                Some(status) => format!("{}{mark}{status} ", self.code),
                None => format!("{}{mark}", self.code),
            };
            line.extend(text.chars().map(|ch| if ch.is_control() { '?' } else { ch }));
            let mut cut = line.len().min(MAX_LINE);
            while !line.is_char_boundary(cut) {
                cut = cut.saturating_sub(1);
            }
            out.extend_from_slice(line.get(..cut).unwrap_or_default().as_bytes());
            out.extend_from_slice(b"\r\n");
        }
    }
}

/// RFC 5321 4.5.3.1.5: 512 octets with the CRLF.
const MAX_LINE: usize = 510;

/// One line, for logs: `550 5.1.1 No such user`.
impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ", self.code)?;
        if let Some(status) = self.status {
            write!(f, "{status} ")?;
        }
        f.write_str(self.text.split('\n').next().unwrap_or_default())
    }
}

/// The replies that need nothing filled in.
pub mod table {
    use super::Reply;

    /// RSET, NOOP.
    pub const OK: Reply = Reply::fixed(250, 2, 0, 0, "Ok");
    /// MAIL.
    pub const SENDER_OK: Reply = Reply::fixed(250, 2, 1, 0, "Sender ok");
    /// RCPT.
    pub const RECIPIENT_OK: Reply = Reply::fixed(250, 2, 1, 5, "Recipient ok");
    /// QUIT.
    pub const BYE: Reply = Reply::fixed(221, 2, 0, 0, "Bye");
    /// STARTTLS.
    pub const START_TLS: Reply = Reply::fixed(220, 2, 0, 0, "Ready to start TLS");
    /// AUTH succeeded.
    pub const AUTHENTICATED: Reply = Reply::fixed(235, 2, 7, 0, "Authentication succeeded");
    /// VRFY: neither yes nor no.  RFC 5321 7.3.
    pub const CANNOT_VERIFY: Reply =
        Reply::fixed(252, 2, 5, 2, "Cannot verify, but send some mail and see");
    /// HELP.
    pub const HELP: Reply = Reply::fixed(214, 2, 0, 0, "See RFC 5321");
    /// DATA.  No enhanced code: RFC 2034 4 leaves 3xx out.
    pub const START_MAIL: Reply = Reply {
        code: 354,
        status: None,
        text: std::borrow::Cow::Borrowed("End data with <CR><LF>.<CR><LF>"),
    };
    /// A BDAT chunk was taken.
    pub const CHUNK_OK: Reply = Reply::fixed(250, 2, 0, 0, "Chunk ok");

    /// EXPN.
    pub const NOT_IMPLEMENTED: Reply = Reply::fixed(502, 5, 5, 1, "Command not implemented");
    /// A command out of order.
    pub const BAD_SEQUENCE: Reply = Reply::fixed(503, 5, 5, 1, "Bad sequence of commands");
    /// MAIL and others before EHLO.
    pub const SAY_HELLO: Reply = Reply::fixed(503, 5, 5, 1, "Introduce yourself first");
    /// RCPT, DATA or BDAT without MAIL.
    pub const NEED_MAIL: Reply = Reply::fixed(503, 5, 5, 1, "MAIL first");
    /// DATA or BDAT LAST without an accepted recipient.  RFC 5321 3.3.
    pub const NO_RECIPIENTS: Reply = Reply::fixed(554, 5, 5, 1, "No valid recipients");
    /// LMTP: DATA without an accepted recipient.  RFC 2033 4.2.
    pub const LMTP_NO_RECIPIENTS: Reply = Reply::fixed(503, 5, 5, 1, "No valid recipients");
    /// AUTH twice.  RFC 4954 4.
    pub const ALREADY_AUTHENTICATED: Reply = Reply::fixed(503, 5, 5, 1, "Already authenticated");
    /// STARTTLS twice.
    pub const TLS_ACTIVE: Reply = Reply::fixed(503, 5, 5, 1, "TLS is already active");
    /// STARTTLS or AUTH where the listener has none.
    pub const NOT_OFFERED: Reply = Reply::fixed(502, 5, 5, 1, "Not offered here");
    /// MAIL before STARTTLS on a `tls-require` listener.  RFC 3207 4.
    pub const TLS_REQUIRED: Reply =
        Reply::fixed(530, 5, 7, 0, "Must issue a STARTTLS command first");
    /// MAIL before AUTH on an `auth` listener.  RFC 4954 6.
    pub const AUTH_REQUIRED: Reply = Reply::fixed(530, 5, 7, 0, "Authentication required");
    /// AUTH in clear text.  RFC 4954 6.
    pub const AUTH_NEEDS_TLS: Reply =
        Reply::fixed(538, 5, 7, 11, "Encryption required for authentication");
    /// A mechanism that we have not.  RFC 4954 6.
    pub const AUTH_MECHANISM: Reply =
        Reply::fixed(504, 5, 5, 4, "Unknown authentication mechanism");
    /// Wrong user or password.
    pub const AUTH_FAILED: Reply = Reply::fixed(535, 5, 7, 8, "Authentication credentials invalid");
    /// The password could not be checked now.
    pub const AUTH_TEMPORARY: Reply =
        Reply::fixed(454, 4, 7, 0, "Temporary authentication failure");
    /// The TLS library could not begin.  RFC 3207 4.
    pub const TLS_UNAVAILABLE: Reply =
        Reply::fixed(454, 4, 7, 0, "TLS not available due to temporary reason");

    /// SIZE of MAIL, or the message itself, is over the limit.  RFC 1870 6.1.
    pub const TOO_BIG: Reply = Reply::fixed(552, 5, 3, 4, "Message size exceeds fixed limit");
    /// A recipient more than `max-rcpt`.  RFC 5321 4.5.3.1.10.
    pub const TOO_MANY_RECIPIENTS: Reply = Reply::fixed(452, 4, 5, 3, "Too many recipients");
    /// A message more than `max-mails`.
    pub const TOO_MANY_MAILS: Reply =
        Reply::fixed(452, 4, 5, 3, "Too many messages in this session");
    /// A non-ASCII address without SMTPUTF8.  RFC 6531 3.5.
    pub const NEEDS_SMTPUTF8: Reply =
        Reply::fixed(553, 5, 6, 7, "Non-ASCII address needs SMTPUTF8");

    /// A sender that the user may not use.
    pub const SENDER_NOT_OWNED: Reply =
        Reply::fixed(550, 5, 7, 1, "Sender address not owned by you");
    /// No rule takes the recipient.
    pub const RECIPIENT_REFUSED: Reply = Reply::fixed(550, 5, 7, 1, "Recipient refused");
    /// The recipient does not exist.
    pub const NO_SUCH_USER: Reply = Reply::fixed(550, 5, 1, 1, "No such recipient here");

    /// More than 50 Received fields, or our own Delivered-To.
    pub const LOOP: Reply = Reply::fixed(554, 5, 4, 6, "Mail loop detected");
    /// Our own fault.
    pub const LOCAL_ERROR: Reply = Reply::fixed(451, 4, 3, 0, "Local error, try again later");
    /// The disk is full.
    pub const NO_SPACE: Reply = Reply::fixed(452, 4, 3, 1, "Insufficient system storage");
    /// Too much at once.
    pub const BUSY: Reply = Reply::fixed(452, 4, 3, 2, "System is busy, try again later");
    /// Something of ours does not answer.
    pub const UNAVAILABLE: Reply = Reply::fixed(451, 4, 3, 2, "Temporarily unavailable");
    /// The session ends because of us.
    pub const SHUTTING_DOWN: Reply = Reply::fixed(421, 4, 3, 2, "Service shutting down");
    /// The session ends because a thread of ours failed.
    pub const INTERNAL: Reply = Reply::fixed(421, 4, 3, 0, "Internal error, closing connection");
    /// Too many connections.
    pub const TOO_MANY_CONNECTIONS: Reply = Reply::fixed(421, 4, 7, 0, "Too many connections");
    /// Nothing came for too long.
    pub const TIMEOUT: Reply = Reply::fixed(421, 4, 4, 2, "Timeout exceeded");
    /// Too many commands were wrong.
    pub const TOO_MANY_ERRORS: Reply = Reply::fixed(421, 4, 7, 0, "Too many errors");
    /// Too many failed logins.
    pub const TOO_MANY_LOGINS: Reply =
        Reply::fixed(421, 4, 7, 0, "Too many failed authentication attempts");
    /// A line over the limit; it was skipped.
    pub const LINE_TOO_LONG: Reply = Reply::fixed(500, 5, 5, 2, "Line too long");
    /// A command line that ends in a bare LF, or holds a bare CR.
    pub const BARE_LINE_END: Reply = Reply::fixed(500, 5, 5, 2, "Line must end in CRLF");
    /// Client and server disagree where the message ends.
    pub const DESYNC: Reply =
        Reply::fixed(521, 5, 5, 2, "End of data without CRLF, closing connection");
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Reply {
        match error {
            CommandError::Unknown => Reply::fixed(500, 5, 5, 1, "Command unrecognised"),
            CommandError::Foreign => Reply::fixed(421, 4, 7, 0, "This is not HTTP"),
            CommandError::Bytes => Reply::fixed(500, 5, 5, 2, "Invalid character in command"),
            CommandError::Arguments => {
                Reply::fixed(501, 5, 5, 4, "Syntax error in parameters or arguments")
            }
            CommandError::HeloName => Reply::fixed(501, 5, 5, 2, "Invalid host name"),
            CommandError::From(e) => address(e, "Bad sender address syntax", 7, 8),
            CommandError::To(e) => address(e, "Bad recipient address syntax", 3, 2),
            // RFC 5321 4.1.1.11
            CommandError::UnknownParameter => {
                Reply::fixed(555, 5, 5, 4, "Parameter not recognised or not implemented")
            }
            CommandError::Parameter => Reply::fixed(501, 5, 5, 4, "Invalid parameter"),
            CommandError::Size => table::TOO_BIG,
        }
    }
}

/// `mailbox` and `system` are the details of subject 1 for a bad mailbox or domain.
fn address(error: AddrError, text: &'static str, mailbox: u16, system: u16) -> Reply {
    let detail = match error.what {
        What::NoDomain | What::Domain | What::DomainLength | What::Literal => system,
        _ => mailbox,
    };
    match error.what {
        What::Charset => Reply::fixed(553, 5, 6, 7, "Address is not valid UTF-8"),
        _ => Reply::new(501, Enhanced::new(5, 1, detail), text),
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Reply {
        match fault {
            Fault::BareLf => {
                Reply::fixed(550, 5, 5, 2, "Message has a line feed without carriage return")
            }
            Fault::BareCr => {
                Reply::fixed(550, 5, 5, 2, "Message has a carriage return without line feed")
            }
            Fault::Nul => Reply::fixed(550, 5, 6, 0, "Message has a NUL byte"),
            Fault::LineLength => Reply::fixed(550, 5, 6, 0, "Message has an overlong line"),
            Fault::TooBig => table::TOO_BIG,
            Fault::Header => Reply::fixed(552, 5, 3, 4, "Message header exceeds fixed limit"),
            Fault::Loop => table::LOOP,
        }
    }
}

impl From<FixupError> for Reply {
    fn from(error: FixupError) -> Reply {
        match error {
            FixupError::Twice(name) => Reply::new(
                550,
                Enhanced::new(5, 6, 0),
                format!("Message has more than one {name} field"),
            ),
            FixupError::NotOwned => {
                Reply::fixed(550, 5, 7, 1, "Message header names an author who is not you")
            }
            FixupError::TooMany => {
                Reply::fixed(550, 5, 6, 0, "Message header needs too many changes")
            }
        }
    }
}

impl From<SaslError> for Reply {
    fn from(error: SaslError) -> Reply {
        match error {
            // RFC 4954 4: 501 for `*` and for what cannot be decoded.
            SaslError::Cancelled => Reply::fixed(501, 5, 7, 0, "Authentication cancelled"),
            SaslError::Base64 => Reply::fixed(501, 5, 5, 2, "Cannot decode response"),
            SaslError::TooLong => {
                Reply::fixed(500, 5, 5, 6, "Authentication exchange line is too long")
            }
            SaslError::Form => table::AUTH_FAILED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(reply: &Reply) -> String {
        let mut out = Vec::new();
        reply.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines() {
        assert_eq!(written(&table::OK), "250 2.0.0 Ok\r\n");
        assert_eq!(written(&Reply::plain(250, "a\nB\nC")), "250-a\r\n250-B\r\n250 C\r\n");
        let two = Reply::new(550, Enhanced::new(5, 7, 1), "No.\nReally.");
        assert_eq!(written(&two), "550-5.7.1 No.\r\n550 5.7.1 Really.\r\n");
        assert_eq!(two.to_string(), "550 5.7.1 No.");
    }

    #[test]
    fn a_refusal_may_bring_its_enhanced_code() {
        for (code, text, line) in [
            (550, "5.1.6 moved away", "550 5.1.6 moved away\r\n"),
            (451, "4.2.1 later", "451 4.2.1 later\r\n"),
            (550, "gone", "550 5.7.1 gone\r\n"),
            (450, "5.1.1 not of this class", "450 4.7.1 5.1.1 not of this class\r\n"),
            (550, "5.1.1", "550 5.7.1 5.1.1\r\n"),
            (550, "5.1.1é", "550 5.7.1 5.1.1é\r\n"),
        ] {
            assert_eq!(written(&Reply::refusal(code, text)), line);
        }
    }

    #[test]
    fn nothing_ends_a_line_early() {
        let r = Reply::plain(250, "a\r\0\u{85}b");
        assert_eq!(written(&r), "250 a???b\r\n");
        let long = Reply::plain(250, "ä".repeat(600));
        let text = written(&long);
        assert!(text.len() <= 512 && text.ends_with("ä\r\n"));
    }

    #[test]
    fn enhanced_codes() {
        let parse = |t: &str| Enhanced::parse(&mut Cursor::new(t.as_bytes()));
        assert_eq!(parse("5.7.1 x"), Some(Enhanced::new(5, 7, 1)));
        assert_eq!(parse("2.123.456"), Some(Enhanced::new(2, 123, 456)));
        for bad in ["", "5", "5.7", "5.7.", "3.0.0", "5.1234.1", "5..1", "x.1.1", "5.7.0001"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn class_agrees_with_code_everywhere() {
        let errors = [
            CommandError::Unknown,
            CommandError::Bytes,
            CommandError::Arguments,
            CommandError::HeloName,
            CommandError::UnknownParameter,
            CommandError::Parameter,
            CommandError::Size,
            CommandError::From(AddrError { what: What::Charset, at: 0 }),
            CommandError::To(AddrError { what: What::NoDomain, at: 0 }),
        ];
        for e in errors {
            let r = Reply::from(e);
            assert_eq!(r.status.map(|s| u16::from(s.class)), Some(r.code / 100), "{e:?}");
        }
        for r in [table::LOOP, table::DESYNC, table::TIMEOUT, table::NO_SPACE, table::AUTH_FAILED] {
            assert_eq!(r.status.map(|s| u16::from(s.class)), Some(r.code / 100), "{r}");
        }
    }
}
