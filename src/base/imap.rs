//! IMAP commands off the wire: lines, and the literals that they announce.
//!
//! Runs in imap before login and in store after it.  What a command may hold is
//! the [`Collector`]'s; here is the dialogue around it, and how it stays in step
//! with a client that sends what is refused.  RFC 3501 4.3, RFC 7888 4.

use crate::base::clock::Deadline;
use crate::base::line::{LineError, LineReader, Pace};
use crate::proto::imap::collect::{announced, Collector, Next, Skip};
use crate::proto::imap::lex::Fault;

/// How a session reads.
pub struct Reading {
    /// The longest line, in octets.
    pub line: usize,
    /// Until when a line and the literal after it are waited for.
    pub deadline: fn() -> Deadline,
    /// How slowly a literal may come that is only thrown away: it may be large.
    pub pace: Pace,
}

impl Reading {
    /// Gathers a command; blocks.  `line` is scratch space.
    pub fn command(
        &self,
        io: &mut LineReader,
        collector: &mut Collector,
        line: &mut Vec<u8>,
    ) -> Result<Next, LineError> {
        loop {
            let deadline = (self.deadline)();
            match io.read_line(line, self.line, deadline) {
                Ok(()) => {}
                Err(e) if e.in_step() => {
                    // What is there of it has the tag; the fault is the line's.
                    collector.line(line);
                    let fault =
                        if e == LineError::TooLong { Fault::LineTooLong } else { Fault::AString };
                    // How long its literal is went with the line.
                    let skip = if io.refused_a_literal() { Skip::Close } else { Skip::Nothing };
                    return Ok(Next::Refused(fault, skip));
                }
                Err(e) => return Err(e),
            }
            match collector.line(line) {
                Next::Literal(head) => {
                    if head.synchronising {
                        io.put(b"+ OK\r\n");
                    }
                    io.read_octets(head.octets, deadline, |b| collector.literal(b))?;
                }
                next => return Ok(next),
            }
        }
    }

    /// Throws away a refused literal of so many octets, and the rest of its command
    /// with the literals that follow unasked; blocks.  False if it cannot be said
    /// where the next command begins.
    pub fn skip(
        &self,
        io: &mut LineReader,
        line: &mut Vec<u8>,
        mut octets: u64,
    ) -> Result<bool, LineError> {
        loop {
            io.read_paced(octets, self.pace, |_| ())?;
            let deadline = (self.deadline)();
            match io.read_line(line, self.line, deadline) {
                Ok(()) => {}
                Err(e) if e.in_step() => return Ok(!io.refused_a_literal()),
                Err(e) => return Err(e),
            }
            match announced(line) {
                Some(head) if !head.synchronising => octets = head.octets,
                _ => return Ok(true),
            }
        }
    }
}
