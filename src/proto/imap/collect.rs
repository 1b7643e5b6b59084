//! Gathers a command from its lines and literals, within limits.
//!
//! A session reads a line (without its CRLF), gives it to [`Collector::line`]
//! and does what the answer says; that is all it knows of literals:
//!
//! ```text
//! loop {
//!     match collector.line(&read_line()?) {
//!         Next::Whole => break,                 // parse(collector.bytes())
//!         Next::Literal(head) => {              // ask if it waits, read, give
//!             if head.synchronising { write(b"+ OK\r\n")? }
//!             collector.literal(&read_exactly(head.octets)?);
//!         }
//!         Next::Append => break,                // parse_append, then stream the message
//!         Next::Refused(fault, skip) => ..      // answer; `skip` says how to stay in step
//!     }
//! }
//! ```
//!
//! Memory is bounded before anything is read: a literal's size is known from
//! its announcement, and one that is too large is never asked for.  RFC 3501
//! 4.3, RFC 7888 4.

use super::command;
use super::lex::{self, Fault, LiteralHead};
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// How much of a command is taken in.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// All of a command, lines and literals, in octets.
    pub command: usize,
    /// One literal, APPEND's message apart.
    pub literal: usize,
    /// Literals of one command.
    pub literals: usize,
}

impl Bounds {
    /// Before login: a name and a password.
    pub const LOGIN: Bounds = Bounds {
        command: limits::IMAP_LOGIN_COMMAND.size(),
        literal: limits::IMAP_LOGIN_LITERAL.size(),
        literals: 2,
    };

    /// After login.
    pub const SESSION: Bounds = Bounds {
        command: limits::IMAP_COMMAND.size(),
        literal: limits::IMAP_LITERAL.size(),
        literals: limits::IMAP_LITERALS.size(),
    };
}

/// What the session does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The command is whole.
    Whole,
    /// A literal follows; its octets are to be given to [`Collector::literal`].
    Literal(LiteralHead),
    /// APPEND, whole but for its message, which follows as announced.
    Append,
    /// The command is refused; what was gathered gives its tag.
    Refused(Fault, Skip),
}

/// How to stay in step with a client whose literal is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Skip {
    /// Nothing follows: the client waits for its answer.
    Nothing,
    /// So many octets follow unasked, and then the rest of the command.
    Octets(u64),
    /// More follows than anyone will read: close the connection.
    Close,
}

/// A command as far as it has come.
#[derive(Debug)]
pub struct Collector {
    bytes: Vec<u8>,
    literals: usize,
    bounds: Bounds,
}

impl Collector {
    /// An empty one.
    pub const fn new(bounds: Bounds) -> Collector {
        Collector { bytes: Vec::new(), literals: 0, bounds }
    }

    /// Forgets the command.  A large buffer is given back, so that one long
    /// command does not stay in an idle session's memory; what was in it is
    /// overwritten, for it may have been a password.
    pub fn clear(&mut self) {
        self.bytes.fill(0);
        self.bytes.clear();
        self.bytes.shrink_to(4096);
        self.literals = 0;
    }

    /// Takes what has been gathered, for as long as the command runs; it comes
    /// back to [`Collector::wipe`].
    pub fn take(&mut self) -> Vec<u8> {
        self.literals = 0;
        std::mem::take(&mut self.bytes)
    }

    /// Overwrites a command that has run; its buffer serves the next one.
    pub fn wipe(&mut self, bytes: Vec<u8>) {
        self.bytes = bytes;
        self.clear();
    }

    /// What has been gathered, every line with its CRLF.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes a line without its CRLF.
    pub fn line(&mut self, line: &[u8]) -> Next {
        if self.bytes.len().saturating_add(line.len()) > self.bounds.command {
            return Next::Refused(Fault::TooLarge, self.skip(announced(line)));
        }
        self.bytes.extend_from_slice(line);
        self.bytes.extend_from_slice(b"\r\n");
        let Some(head) = announced(line) else { return Next::Whole };
        match command::parse_append(&self.bytes) {
            Ok(Some(_)) => return Next::Append,
            Ok(None) => {}
            Err(refused) => return Next::Refused(refused.fault, self.skip(Some(head))),
        }
        let after = u64::try_from(self.bounds.command.saturating_sub(self.bytes.len()));
        let room = u64::try_from(self.bounds.literal).unwrap_or(0).min(after.unwrap_or(0));
        self.literals = self.literals.saturating_add(1);
        if head.binary {
            return Next::Refused(Fault::Binary, self.skip(Some(head)));
        }
        if head.octets > room || self.literals > self.bounds.literals {
            return Next::Refused(Fault::TooLarge, self.skip(Some(head)));
        }
        Next::Literal(head)
    }

    /// Takes the octets of a literal, at once or in pieces.
    pub fn literal(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    fn skip(&self, head: Option<LiteralHead>) -> Skip {
        match head {
            Some(head) if !head.synchronising => {
                let most = u64::try_from(self.bounds.literal).unwrap_or(0).saturating_mul(16);
                if head.octets <= most {
                    Skip::Octets(head.octets)
                } else {
                    Skip::Close
                }
            }
            _ => Skip::Nothing,
        }
    }
}

/// The literal that a line announces at its end.
///
/// A quoted string cannot span lines, so a `{n}` at the end of a line is never
/// inside one in a command that is well-formed.
pub fn announced(line: &[u8]) -> Option<LiteralHead> {
    if line.last() != Some(&b'}') {
        return None;
    }
    let mut at = memchr::memrchr(b'{', line)?;
    if at > 0 && line.get(at.saturating_sub(1)) == Some(&b'~') {
        at = at.saturating_sub(1);
    }
    let mut c = Cursor::new(line.get(at..)?);
    let head = lex::literal_head(&mut c).ok()?;
    c.at_end().then_some(head)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session() -> Collector {
        Collector::new(Bounds::SESSION)
    }

    #[test]
    fn a_line_without_a_literal_is_whole() {
        let mut c = session();
        assert_eq!(c.line(b"a NOOP"), Next::Whole);
        assert_eq!(c.bytes(), b"a NOOP\r\n");
        c.clear();
        assert_eq!(c.line(b"a LOGIN x {y}"), Next::Whole);
    }

    #[test]
    fn literals_are_announced_one_by_one() {
        let mut c = session();
        let head = |n, synchronising| LiteralHead { octets: n, synchronising, binary: false };
        assert_eq!(c.line(b"a LOGIN {3}"), Next::Literal(head(3, true)));
        c.literal(b"joe");
        assert_eq!(c.line(b" {4+}"), Next::Literal(head(4, false)));
        c.literal(b"a{1}");
        assert_eq!(c.line(b""), Next::Whole);
        assert_eq!(c.bytes(), b"a LOGIN {3}\r\njoe {4+}\r\na{1}\r\n");
        assert!(command::parse(c.bytes()).is_ok());
    }

    #[test]
    fn the_message_of_append_is_not_collected() {
        let mut c = session();
        assert_eq!(c.line(b"a APPEND INBOX (\\Seen) {3000000000}"), Next::Append);
        c.clear();
        assert!(matches!(c.line(b"a APPEND {5}"), Next::Literal(_)));
        c.literal(b"x {9}");
        assert_eq!(c.line(b" {10+}"), Next::Append);
        let append = command::parse_append(c.bytes()).unwrap().unwrap();
        assert_eq!(append.mailbox.name(), b"x {9}");
        assert_eq!(append.message.octets, 10);
    }

    #[test]
    fn a_bad_append_is_refused_before_its_message_is_asked_for() {
        let mut c = session();
        assert_eq!(
            c.line(b"a APPEND INBOX (\\Foo) {10}"),
            Next::Refused(Fault::Flag, Skip::Nothing)
        );
        c.clear();
        assert_eq!(
            c.line(b"a APPEND INBOX (\\Foo) {10+}"),
            Next::Refused(Fault::Flag, Skip::Octets(10))
        );
        c.clear();
        assert_eq!(c.line(b"a APPEND INBOX ~{10}"), Next::Refused(Fault::Binary, Skip::Nothing));
    }

    #[test]
    fn a_literal_over_the_limit_is_never_asked_for() {
        let mut c = Collector::new(Bounds::LOGIN);
        assert_eq!(c.line(b"a LOGIN {2000}"), Next::Refused(Fault::TooLarge, Skip::Nothing));
        c.clear();
        assert_eq!(c.line(b"a LOGIN {2000+}"), Next::Refused(Fault::TooLarge, Skip::Octets(2000)));
        c.clear();
        assert_eq!(c.line(b"a LOGIN {4000000000+}"), Next::Refused(Fault::TooLarge, Skip::Close));
    }

    #[test]
    fn the_number_of_literals_and_the_whole_are_bounded() {
        let mut c = session();
        let mut next = c.line(b"a SEARCH {0+}");
        let mut n = 0;
        while matches!(next, Next::Literal(_)) {
            n += 1;
            next = c.line(b" {0+}");
        }
        assert_eq!(n, Bounds::SESSION.literals);
        assert_eq!(next, Next::Refused(Fault::TooLarge, Skip::Octets(0)));
        c.clear();
        let long = vec![b'x'; Bounds::SESSION.command + 1];
        assert_eq!(c.line(&long), Next::Refused(Fault::TooLarge, Skip::Nothing));
    }

    #[test]
    fn clearing_gives_memory_back() {
        let mut c = session();
        c.line(&vec![b'x'; 60_000]);
        c.clear();
        assert!(c.bytes.capacity() <= 4096);
    }
}
