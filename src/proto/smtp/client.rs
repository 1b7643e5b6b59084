//! What a client needs: the replies of a server, and the writer of a body.
//!
//! *Runs in* mta; a remote server is as hostile as a remote client.  A reply is
//! taken only whole and in form: every line with the same code (CVE-2020-8794
//! began with a last line that was too short), bounded in length and number,
//! its text made harmless at once, for it goes into logs, the queue and bounces.
//!
//! RFC 5321 4.2, 4.5.2; RFC 2034 4.

use crate::proto::cursor::Cursor;
use crate::proto::limits;
use crate::proto::smtp::reply::Enhanced;

/// A whole reply of a remote server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RemoteReply {
    /// 200 to 599.
    pub code: u16,
    /// The enhanced code, if there is one that agrees with the code.
    pub status: Option<Enhanced>,
    /// The lines' text, without codes: printable, bounded, never trusted.
    pub lines: Vec<String>,
}

impl RemoteReply {
    /// 2 to 5.
    pub const fn class(&self) -> u16 {
        self.code.wrapping_div(100)
    }

    /// The text as one line.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }
}

/// Why a line is not part of a reply.  The connection is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyError {
    /// Not three digits and a space, a hyphen or nothing.
    Form,
    /// Another code than the lines before.
    Code,
    /// Too many lines, or one that is too long.
    TooLong,
    /// A NUL, or a CR or LF that ends no line.
    Bytes,
}

/// Puts a reply together, line by line.
#[derive(Debug, Default)]
pub struct ReplyReader {
    code: Option<u16>,
    status: Option<Enhanced>,
    lines: Vec<String>,
}

impl ReplyReader {
    /// Waits for the first line of a reply.
    pub fn new() -> ReplyReader {
        ReplyReader::default()
    }

    /// Takes a line without its CRLF; gives the reply when this was its last.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<RemoteReply>, ReplyError> {
        if line.len() > limits::REPLY_LINE.size() || self.lines.len() >= limits::REPLY_LINES.size()
        {
            return Err(ReplyError::TooLong);
        }
        if line.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
            return Err(ReplyError::Bytes);
        }
        let mut c = Cursor::new(line);
        let code = reply_code(&mut c).ok_or(ReplyError::Form)?;
        if self.code.is_some_and(|first| first != code) {
            return Err(ReplyError::Code);
        }
        // RFC 5321 4.2: a client takes a last line without text.
        let last = match c.next_byte() {
            None | Some(b' ') => true,
            Some(b'-') => false,
            Some(_) => return Err(ReplyError::Form),
        };
        let status = Enhanced::parse(&mut c).filter(|s| {
            u16::from(s.class) == code.wrapping_div(100) && matches!(c.peek(), None | Some(b' '))
        });
        match status {
            Some(status) => {
                self.status.get_or_insert(status);
                c.eat(b' ');
            }
            None => c.seek(4),
        }
        self.lines.push(harmless(c.rest()));
        if !last {
            self.code = Some(code);
            return Ok(None);
        }
        let whole = std::mem::take(self);
        Ok(Some(RemoteReply { code, status: whole.status, lines: whole.lines }))
    }

    /// True between the lines of one reply.
    pub const fn is_open(&self) -> bool {
        self.code.is_some()
    }
}

/// Reply-code = %x32-35 %x30-35 %x30-39; but hosts say 571 and the like, and what a
/// client does not know it takes by its first digit (RFC 5321 4.2.1, 4.3.2).
fn reply_code(c: &mut Cursor<'_>) -> Option<u16> {
    let digits = c.take(3)?;
    let [b'2'..=b'5', b'0'..=b'9', b'0'..=b'9'] = digits else { return None };
    Cursor::new(digits).number().and_then(|n| u16::try_from(n).ok())
}

/// Remote text as printable text: what is not becomes `?`.
pub fn harmless(text: &[u8]) -> String {
    String::from_utf8_lossy(text)
        .chars()
        .map(|ch| if ch.is_control() || ch == '\u{fffd}' { '?' } else { ch })
        .collect()
}

/// What an EHLO reply offers.  The first line is the greeting.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offers {
    /// SIZE, with the limit if one is given.
    pub size: Option<Option<u64>>,
    /// STARTTLS.
    pub starttls: bool,
    /// PIPELINING.
    pub pipelining: bool,
    /// 8BITMIME.
    pub eight_bit: bool,
    /// SMTPUTF8.
    pub smtputf8: bool,
    /// DSN.
    pub dsn: bool,
    /// CHUNKING.
    pub chunking: bool,
    /// The mechanisms of AUTH, in capitals.
    pub auth: Vec<String>,
    /// RCPTMAX of LIMITS, RFC 9422.
    pub rcpt_max: Option<u64>,
    /// MAILMAX of LIMITS, RFC 9422.
    pub mail_max: Option<u64>,
}

impl Offers {
    /// Reads the keywords of an EHLO or LHLO reply; unknown ones are skipped.
    pub fn of(reply: &RemoteReply) -> Offers {
        let mut offers = Offers::default();
        for line in reply.lines.iter().skip(1) {
            let mut words = line.split([' ', '=']).filter(|w| !w.is_empty());
            let name = words.next().unwrap_or_default().to_ascii_uppercase();
            match name.as_str() {
                "SIZE" => {
                    let max = words.next().and_then(|n| n.parse().ok());
                    offers.size = Some(max.filter(|n| *n > 0));
                }
                "STARTTLS" => offers.starttls = true,
                "PIPELINING" => offers.pipelining = true,
                "8BITMIME" => offers.eight_bit = true,
                "SMTPUTF8" => offers.smtputf8 = true,
                "DSN" => offers.dsn = true,
                "CHUNKING" => offers.chunking = true,
                "AUTH" => offers.auth.extend(words.map(str::to_ascii_uppercase)),
                "LIMITS" => offers.limits(line),
                _ => {}
            }
        }
        offers
    }

    fn limits(&mut self, line: &str) {
        for word in line.split(' ').skip(1) {
            match word.split_once('=') {
                Some(("RCPTMAX", n)) => self.rcpt_max = n.parse().ok(),
                Some(("MAILMAX", n)) => self.mail_max = n.parse().ok(),
                _ => {}
            }
        }
    }
}

/// Makes a message ready for DATA: dots doubled, CRLF line ends, the end mark.
///
/// Whatever goes in, no bare CR or LF comes out: a LF alone becomes CRLF, a CR
/// alone a space, a NUL too.  The spool holds none of them; the rule stands here
/// again because smuggling needs only one hop that forgets it.
#[derive(Debug)]
pub struct Stuffer {
    state: Stuff,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stuff {
    Line,
    Mid,
    Cr,
}

impl Default for Stuffer {
    fn default() -> Stuffer {
        Stuffer { state: Stuff::Line }
    }
}

impl Stuffer {
    /// Begins at the first octet of a message.
    pub fn new() -> Stuffer {
        Stuffer::default()
    }

    /// Takes the next octets of the message, appends what goes on the wire.
    pub fn feed(&mut self, input: &[u8], out: &mut Vec<u8>) {
        let mut rest = input;
        while let Some((&byte, later)) = rest.split_first() {
            if self.state == Stuff::Mid {
                let n = memchr::memchr3(b'\r', b'\n', 0, rest).unwrap_or(rest.len());
                if n > 0 {
                    let (run, later) = rest.split_at_checked(n).unwrap_or((rest, &[]));
                    out.extend_from_slice(run);
                    rest = later;
                    continue;
                }
            }
            rest = later;
            match (self.state, byte) {
                (_, b'\n') => {
                    out.extend_from_slice(b"\r\n");
                    self.state = Stuff::Line;
                    continue;
                }
                (Stuff::Cr, _) => {
                    out.push(b' ');
                    self.state = Stuff::Mid;
                }
                (Stuff::Line, b'.') => out.push(b'.'),
                _ => {}
            }
            match byte {
                b'\r' => self.state = Stuff::Cr,
                0 => {
                    out.push(b' ');
                    self.state = Stuff::Mid;
                }
                byte => {
                    out.push(byte);
                    self.state = Stuff::Mid;
                }
            }
        }
    }

    /// Ends the message: completes the last line and appends the end mark.
    pub fn finish(self, out: &mut Vec<u8>) {
        if self.state == Stuff::Cr {
            out.push(b' ');
        }
        if self.state != Stuff::Line {
            out.extend_from_slice(b"\r\n");
        }
        out.extend_from_slice(b".\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::smtp::data::{BareLineEnds, Data, Fed, Framing};

    fn read(lines: &[&[u8]]) -> Result<Option<RemoteReply>, ReplyError> {
        let mut reader = ReplyReader::new();
        let mut last = None;
        for line in lines {
            last = reader.line(line)?;
        }
        Ok(last)
    }

    fn whole(lines: &[&[u8]]) -> RemoteReply {
        read(lines).unwrap().unwrap()
    }

    #[test]
    fn replies_of_one_and_many_lines() {
        let r = whole(&[b"550-5.1.1 No such user", b"550 5.1.1 here"]);
        assert_eq!((r.code, r.class()), (550, 5));
        assert_eq!(r.status, Some(Enhanced::new(5, 1, 1)));
        assert_eq!(r.text(), "No such user here");
        assert_eq!(whole(&[b"250"]).lines, [""]);
        assert_eq!(whole(&[b"250 2.1.0"]).lines, [""]);
        assert_eq!(whole(&[b"220 mx.example ESMTP"]).status, None);
    }

    #[test]
    fn an_enhanced_code_of_another_class_is_text() {
        let r = whole(&[b"451 5.7.1 odd"]);
        assert_eq!((r.status, r.text()), (None, "5.7.1 odd".into()));
        assert_eq!(whole(&[b"250 2.0.0x"]).text(), "2.0.0x");
    }

    /// RFC 5321 4.2.1: by the first digit, for hosts do say 571.
    #[test]
    fn an_unfamiliar_code_is_a_reply_all_the_same() {
        for (line, code) in [(&b"571 5.7.1 no"[..], 571), (b"299 yes", 299), (b"460 later", 460)] {
            let r = whole(&[line]);
            assert_eq!((r.code, r.class()), (code, code / 100));
        }
    }

    #[test]
    fn cve_2020_8794_short_and_odd_lines() {
        assert_eq!(read(&[b"553-"]), Ok(None));
        assert_eq!(whole(&[b"553-", b"553"]).lines, ["", ""]);
        for bad in [&b""[..], b"5", b"55", b"5x5 a", b"553x", b"199 a", b"600 a", b"099 a", b" 250"]
        {
            assert_eq!(read(&[bad]), Err(ReplyError::Form), "{bad:?}");
            assert_eq!(read(&[b"553-first", bad]), Err(ReplyError::Form), "{bad:?}");
        }
        assert_eq!(read(&[b"553-a", b"250 b"]), Err(ReplyError::Code));
    }

    #[test]
    fn text_cannot_carry_lines_or_escapes() {
        assert_eq!(read(&[b"550 a\nb"]), Err(ReplyError::Bytes));
        assert_eq!(read(&[b"550 a\rb"]), Err(ReplyError::Bytes));
        assert_eq!(read(&[b"550 a\0b"]), Err(ReplyError::Bytes));
        assert_eq!(whole(&[b"550 \x1b[2J\x07\xff\xc2\x9b"]).text(), "?[2J???");
    }

    #[test]
    fn a_reply_without_end_is_bounded() {
        let mut reader = ReplyReader::new();
        let n = (0..100_000).take_while(|_| reader.line(b"250-x").is_ok()).count();
        assert_eq!(n, limits::REPLY_LINES.size());
        let long = [b"250 ", &[b'x'; 4000][..]].concat();
        assert_eq!(read(&[&long]), Err(ReplyError::TooLong));
    }

    #[test]
    fn offers() {
        let r = whole(&[
            b"250-mx.example hello",
            b"250-size 35651584",
            b"250-PIPELINING",
            b"250-AUTH PLAIN login",
            b"250-AUTH=PLAIN",
            b"250-LIMITS RCPTMAX=100 MAILMAX=x",
            b"250 SMTPUTF8",
        ]);
        let o = Offers::of(&r);
        assert_eq!(o.size, Some(Some(35_651_584)));
        assert!(o.pipelining && o.smtputf8 && !o.starttls && !o.dsn);
        assert_eq!(o.auth, ["PLAIN", "LOGIN", "PLAIN"]);
        assert_eq!((o.rcpt_max, o.mail_max), (Some(100), None));
        assert_eq!(Offers::of(&whole(&[b"250 STARTTLS"])), Offers::default());
    }

    fn stuffed(input: &[u8], step: usize) -> Vec<u8> {
        let mut out = Vec::new();
        let mut s = Stuffer::new();
        input.chunks(step).for_each(|c| s.feed(c, &mut out));
        s.finish(&mut out);
        out
    }

    #[test]
    fn dots_are_doubled_and_the_end_mark_follows() {
        for step in 1..8 {
            assert_eq!(stuffed(b".a\r\n..\r\nb.\r\n", step), b"..a\r\n...\r\nb.\r\n.\r\n");
            assert_eq!(stuffed(b"", step), b".\r\n");
            assert_eq!(stuffed(b"x", step), b"x\r\n.\r\n");
            assert_eq!(stuffed(b".", step), b"..\r\n.\r\n");
        }
    }

    #[test]
    fn no_bare_cr_or_lf_is_ever_sent() {
        let letters = [&b"\r"[..], b"\n", b".", b"a", b"\r\n", b"\0"];
        let mut seed = 9u32;
        for _ in 0..5_000 {
            let mut body = Vec::new();
            for _ in 0..10 {
                seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                body.extend_from_slice(letters[(seed >> 16) as usize % letters.len()]);
            }
            let wire = stuffed(&body, (seed >> 8) as usize % 4 + 1);
            // our own strict reader takes it and finds the end at the very end
            let mut data = Data::new(Framing::Dots, BareLineEnds::Refuse, 1 << 20);
            let mut out = Vec::new();
            assert_eq!(data.feed(&wire, &mut out, |_| ()), Fed::End(wire.len()), "{body:?}");
            assert!(data.finish(&mut out, |_| ()).is_ok(), "{body:?}");
        }
    }
}
