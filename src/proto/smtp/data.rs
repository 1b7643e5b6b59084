//! The one machine that reads a message off the wire, for DATA and BDAT.
//!
//! *Runs in* smtp (SMTP, submission, LMTP and socket sessions alike); input is
//! hostile, in chunks of any size.  DATA ends at CRLF.CRLF and nowhere else.
//! What looks like an end to others (LF.LF, LF.CRLF, CRLF.LF, CR.CR, CRLF.CR
//! ...) is [`Fed::Desync`]: the two sides no longer agree where the message
//! ends, which is all that SMTP smuggling needs (CVE-2023-51764 and its
//! brothers), so the session must close.  A bare LF or CR elsewhere is refused
//! at the end, or normalised where the policy says so.  BDAT obeys the same
//! rules but for the dots, RFC 3030 3.
//!
//! What comes out is the body: dots removed, CRLF line ends only, no NUL.
//!
//! RFC 5321 2.3.8, 4.1.1.4, 4.5.2, 6.3.

use crate::proto::addr::{Charset, Mailbox};
use crate::proto::limits;
use crate::proto::smtp::header::{End, Field, HeaderReader};

/// What to do with a bare LF or CR inside a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BareLineEnds {
    /// The message is refused.
    Refuse,
    /// LF becomes CRLF, CR becomes a space; for submission.
    Normalise,
}

/// Why a message that has been read to its end is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A LF without CR before it.
    BareLf,
    /// A CR without LF after it.
    BareCr,
    /// A NUL.
    Nul,
    /// A line over the limit.
    LineLength,
    /// More octets than the session takes.
    TooBig,
    /// The header is over a limit.
    Header,
    /// More Received fields than a sane path has.
    Loop,
}

/// How a message comes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// DATA: dots, and an end mark.
    Dots,
    /// BDAT: counted, the session knows the end.
    Chunks,
}

/// What a call of [`Data::feed`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fed {
    /// Everything was taken; the message goes on.
    More,
    /// The message ended after this many octets of the input.
    End(usize),
    /// Something looked like the end and was not one: answer 521 and close.
    Desync,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the start of a line, after CRLF.
    Line,
    /// Within a line.
    Mid,
    /// After a CR.
    Cr,
    /// After a dot at the start of a line.
    Dot,
    /// After that dot and a CR.
    DotCr,
    /// At the start of what only a sloppy reader takes for a line.
    Loose,
    /// After a dot there.
    LooseDot,
}

/// What is known of a message after its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Octets of the body.
    pub size: u64,
    /// Where the header ended.
    pub header: End,
    /// How many Received fields it has.
    pub received: u64,
    /// The addresses of its Delivered-To fields as [`Mailbox::key`]s, the first few.
    pub delivered_to: Vec<String>,
    /// True if a byte of 0x80 or above was seen.
    pub eight_bit: bool,
}

/// The machine.
#[derive(Debug)]
pub struct Data {
    framing: Framing,
    policy: BareLineEnds,
    max_size: u64,
    state: State,
    size: u64,
    line: usize,
    fault: Option<Fault>,
    header: HeaderReader,
    received: u64,
    delivered_to: Vec<String>,
    eight_bit: bool,
}

impl Data {
    /// Begins a message of at most `max_size` octets.
    pub fn new(framing: Framing, policy: BareLineEnds, max_size: u64) -> Data {
        Data {
            framing,
            policy,
            max_size,
            state: State::Line,
            size: 0,
            line: 0,
            fault: None,
            header: HeaderReader::new(),
            received: 0,
            delivered_to: Vec::new(),
            eight_bit: false,
        }
    }

    /// Takes the next octets off the wire, appends body to `out` and shows every
    /// header field to `each` as soon as it is complete.
    ///
    /// Once there is a fault nothing more is given out, but the message is still
    /// read to its end so that the dialogue stays in step.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>, each: impl FnMut(Field<'_>)) -> Fed {
        let before = out.len();
        let fed = self.scan(input, out);
        if self.fault.is_some() {
            out.truncate(before);
        }
        let fresh = out.get(before..).unwrap_or_default();
        self.look(fresh, each);
        if self.fault.is_some() {
            out.truncate(before);
        }
        fed
    }

    /// Ends a message: after [`Fed::End`], or after the last chunk of BDAT.
    ///
    /// Gives the rest of the body, and what the message is or why it is refused.
    pub fn finish(
        mut self,
        out: &mut Vec<u8>,
        mut each: impl FnMut(Field<'_>),
    ) -> Result<Summary, Fault> {
        let before = out.len();
        if self.state == State::Cr {
            self.bare_cr(out);
            self.state = State::Mid;
        }
        // Loose at the end means a LF that became CRLF.
        let open = !matches!(self.state, State::Line | State::Loose);
        if open && self.framing == Framing::Chunks {
            // A body that does not end in CRLF could not be sent on with DATA.
            self.emit(b"\r\n", out);
        }
        let fresh = out.get(before..).unwrap_or_default();
        self.look(fresh, &mut each);
        if let Some(fault) = self.fault {
            out.truncate(before);
            return Err(fault);
        }
        let mut counts = Counts { received: self.received, delivered_to: self.delivered_to };
        let header = self.header.finish(|field| {
            counts.add(&field);
            each(field);
        });
        if counts.received > limits::RECEIVED_FIELDS.default {
            return Err(Fault::Loop);
        }
        Ok(Summary {
            size: self.size,
            header,
            received: counts.received,
            delivered_to: counts.delivered_to,
            eight_bit: self.eight_bit,
        })
    }

    /// The end of the header, once it has been seen.
    pub const fn header_end(&self) -> Option<End> {
        self.header.end()
    }

    /// Why the message will be refused, as far as it is known now.
    pub const fn fault(&self) -> Option<Fault> {
        self.fault
    }

    fn scan(&mut self, input: &[u8], out: &mut Vec<u8>) -> Fed {
        let mut at: usize = 0;
        while let Some(rest) = input.get(at..).filter(|r| !r.is_empty()) {
            let run = match self.state {
                State::Mid => self.run(rest, out),
                _ => 0,
            };
            at = at.saturating_add(run);
            let Some(byte) = input.get(at).copied() else { break };
            at = at.saturating_add(1);
            match self.byte(byte, out) {
                Fed::More => {}
                Fed::End(_) => return Fed::End(at),
                Fed::Desync => return Fed::Desync,
            }
        }
        Fed::More
    }

    /// Takes bytes that mean nothing, up to the next that does.
    fn run(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let n = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
        self.emit(rest.get(..n).unwrap_or_default(), out);
        n
    }

    /// The transitions.
    fn byte(&mut self, byte: u8, out: &mut Vec<u8>) -> Fed {
        let dots = self.framing == Framing::Dots;
        match (self.state, byte) {
            (State::Line, b'.') if dots => self.state = State::Dot,
            (State::Dot, b'\r') => self.state = State::DotCr,
            (State::DotCr, b'\n') => {
                self.state = State::Line;
                return Fed::End(0);
            }
            (State::Loose, b'.') if dots => {
                self.emit(b".", out);
                self.state = State::LooseDot;
            }
            // CRLF.LF, CRLF.CRx, LF.LF, LF.CR, CR.CR, CR.LF
            (State::Dot, b'\n') | (State::DotCr, _) | (State::LooseDot, b'\r' | b'\n') => {
                return Fed::Desync
            }
            (State::Cr, b'\n') => {
                self.end_line(out);
                self.state = State::Line;
            }
            (State::Cr, _) => {
                // The byte after a bare CR stands where a sloppy reader sees a
                // line begin.  The state is not Cr then: this goes one level deep.
                self.bare_cr(out);
                self.state = State::Loose;
                return self.byte(byte, out);
            }
            (_, b'\r') => self.state = State::Cr,
            (_, b'\n') => {
                self.complain(Fault::BareLf);
                self.end_line(out);
                self.state = State::Loose;
            }
            (_, 0) => {
                self.refuse(Fault::Nul);
                self.state = State::Mid;
            }
            (_, byte) => {
                self.emit(&[byte], out);
                self.state = State::Mid;
            }
        }
        Fed::More
    }

    fn emit(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        self.line = self.line.saturating_add(bytes.len());
        if self.line > limits::TEXT_LINE.size() {
            self.refuse(Fault::LineLength);
        }
        self.count(bytes.len());
        if self.fault.is_none() {
            self.eight_bit = self.eight_bit || !bytes.is_ascii();
            out.extend_from_slice(bytes);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        self.line = 0;
        self.count(2);
        if self.fault.is_none() {
            out.extend_from_slice(b"\r\n");
        }
    }

    fn count(&mut self, n: usize) {
        self.size = self.size.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        if self.size > self.max_size {
            self.refuse(Fault::TooBig);
        }
    }

    fn bare_cr(&mut self, out: &mut Vec<u8>) {
        self.complain(Fault::BareCr);
        self.emit(b" ", out);
    }

    fn complain(&mut self, fault: Fault) {
        if self.policy == BareLineEnds::Refuse {
            self.refuse(fault);
        }
    }

    /// The first fault is the one that is reported.
    fn refuse(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }

    /// Shows fresh octets of the body to the header reader.
    fn look(&mut self, fresh: &[u8], mut each: impl FnMut(Field<'_>)) {
        if self.header.end().is_some() || fresh.is_empty() {
            return;
        }
        let mut counts = Counts {
            received: self.received,
            delivered_to: std::mem::take(&mut self.delivered_to),
        };
        let fed = self.header.feed(fresh, |field| {
            counts.add(&field);
            each(field);
        });
        self.received = counts.received;
        self.delivered_to = counts.delivered_to;
        if fed.is_err() {
            self.refuse(Fault::Header);
        }
        if self.received > limits::RECEIVED_FIELDS.default {
            self.refuse(Fault::Loop); // RFC 5321 6.3
        }
    }
}

/// What the trace fields tell of loops.
struct Counts {
    received: u64,
    delivered_to: Vec<String>,
}

impl Counts {
    fn add(&mut self, field: &Field<'_>) {
        if field.is("Received") {
            self.received = self.received.saturating_add(1);
        } else if field.is("Delivered-To")
            && self.delivered_to.len() < limits::RECEIVED_FIELDS.size()
        {
            let address = Mailbox::parse(field.value.trim_ascii(), Charset::Utf8);
            self.delivered_to.extend(address.ok().map(|a| a.key()));
        }
    }
}

#[cfg(test)]
mod tests;
