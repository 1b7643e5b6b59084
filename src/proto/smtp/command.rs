//! The commands of SMTP, submission and LMTP, with every parameter we know.
//!
//! *Runs in* smtp, on a line without its CRLF; input is hostile.  A command is
//! valid once parsed: paths, numbers and xtext are decoded and bounded.
//! Whether it is allowed now is decided in [`server`](super::server), the reply to an error in
//! [`reply`](super::reply).
//!
//! RFC 5321 4.1, RFC 1870 (SIZE), RFC 3030 (BDAT), RFC 3207 (STARTTLS), RFC
//! 3461 (DSN), RFC 4954 (AUTH), RFC 6152 (8BITMIME), RFC 6531 (SMTPUTF8), RFC
//! 2033 (LMTP).

use crate::proto::addr::{self, AddrError, Charset, Domain, ForwardPath, Mailbox, ReversePath};
use crate::proto::chars;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// One command with its arguments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// HELO name.
    Helo(HeloName),
    /// EHLO name.
    Ehlo(HeloName),
    /// LHLO name, the EHLO of LMTP.
    Lhlo(HeloName),
    /// MAIL FROM.
    Mail(Mail),
    /// RCPT TO.
    Rcpt(Rcpt),
    /// DATA.
    Data,
    /// BDAT: that many octets follow the line.
    Bdat {
        /// Octets of the chunk.
        size: u64,
        /// The message ends with it.
        last: bool,
    },
    /// RSET.
    Rset,
    /// NOOP, its argument ignored.
    Noop,
    /// QUIT.
    Quit,
    /// VRFY with what is asked for.
    Vrfy,
    /// EXPN.
    Expn,
    /// HELP.
    Help,
    /// STARTTLS.
    StartTls,
    /// AUTH with a mechanism in capitals and perhaps an initial response.
    Auth {
        /// `PLAIN`, `LOGIN` or whatever was sent.
        mechanism: String,
        /// The response as sent, still base64; `=` means an empty one.
        initial: Option<Vec<u8>>,
    },
}

/// MAIL FROM and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mail {
    /// Where notifications go.
    pub from: ReversePath,
    /// SIZE: what the client believes the message to be.
    pub size: Option<u64>,
    /// BODY.
    pub body: Option<Body>,
    /// SMTPUTF8 was given.
    pub smtputf8: bool,
    /// RET.
    pub ret: Option<Ret>,
    /// ENVID, decoded; printable ASCII.
    pub envid: Option<String>,
}

/// BODY of MAIL.  BINARYMIME is not announced, so it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Body {
    /// 7BIT.
    SevenBit,
    /// 8BITMIME.
    EightBitMime,
}

/// How much of the message a failure notification returns.  RFC 3461 4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ret {
    /// All of it.
    Full,
    /// The header.
    Hdrs,
}

/// RCPT TO and its parameters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rcpt {
    /// The recipient.
    pub to: ForwardPath,
    /// NOTIFY.
    pub notify: Option<Notify>,
    /// ORCPT.
    pub orcpt: Option<Orcpt>,
}

/// When a sender wants to hear of a recipient.  All false is NEVER.  RFC 3461 4.1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// On delivery.
    pub success: bool,
    /// When it failed for good.
    pub failure: bool,
    /// When it takes long.
    pub delay: bool,
}

/// The recipient as the first sender knew it.  RFC 3461 4.2.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Orcpt {
    /// The address type in lower case, `rfc822` or `utf-8`.
    pub kind: String,
    /// The address, decoded; printable ASCII, or UTF-8 where the type says so.
    pub address: String,
}

/// What a client calls itself: printable ASCII without spaces, as sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeloName(String);

impl HeloName {
    /// Takes a name that came over an internal hop.
    pub fn parse(bytes: &[u8]) -> Result<HeloName, CommandError> {
        // Clients in offices send what their machine is called; only what could
        // leave its place in a header field or a log line is refused.
        let printable = !bytes.is_empty() && bytes.iter().all(|b| chars::is_vchar(*b));
        match std::str::from_utf8(bytes) {
            Ok(name) if printable && bytes.len() <= limits::SMTP_DOMAIN.size() => {
                Ok(HeloName(name.to_owned()))
            }
            _ => Err(CommandError::HeloName),
        }
    }

    /// The name as sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name if it is one: a domain or an address literal.
    pub fn domain(&self) -> Option<Domain> {
        Domain::parse(self.0.as_bytes(), Charset::Ascii).ok()
    }
}

/// What the session offers; a parameter of something not offered is unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features {
    /// DSN: RET, ENVID, NOTIFY, ORCPT.
    pub dsn: bool,
    /// LMTP: LHLO in place of HELO and EHLO.
    pub lmtp: bool,
    /// The client said EHLO or LHLO; after HELO there are no parameters.
    pub esmtp: bool,
}

/// Why a line is no command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandError {
    /// No such verb.
    Unknown,
    /// A request of HTTP: a browser was made to speak to us for somebody else.
    Foreign,
    /// A NUL, or a byte of 0x80 and above where none may be.
    Bytes,
    /// Something is missing, too much, or not of its form.
    Arguments,
    /// EHLO, HELO or LHLO without a name that could be one.
    HeloName,
    /// The reverse path.
    From(AddrError),
    /// The forward path.
    To(AddrError),
    /// A parameter that we do not know or did not offer.
    UnknownParameter,
    /// A parameter twice, or with a value that it does not take.
    Parameter,
    /// SIZE is a number no message can have.
    Size,
}

/// Parses one line, its CRLF already taken off.
pub fn parse(line: &[u8], features: Features) -> Result<Command, CommandError> {
    if line.iter().any(|b| matches!(b, 0 | b'\r' | b'\n')) {
        return Err(CommandError::Bytes);
    }
    // Trailing blanks are tolerated, as RFC 5321 4.1.1 asks.
    let mut c = Cursor::new(line.trim_ascii_end());
    let verb = c.take_while(|b| b.is_ascii_alphabetic()).to_ascii_uppercase();
    if is_http(&verb, &c) {
        return Err(CommandError::Foreign);
    }
    if !matches!(c.peek(), None | Some(b' ')) {
        return Err(if line.is_ascii() { CommandError::Unknown } else { CommandError::Bytes });
    }
    match verb.as_slice() {
        // RFC 5321 4.1.1.1
        b"HELO" if !features.lmtp => helo(&mut c).map(Command::Helo),
        b"EHLO" if !features.lmtp => helo(&mut c).map(Command::Ehlo),
        // RFC 2033 4.1
        b"LHLO" if features.lmtp => helo(&mut c).map(Command::Lhlo),
        // RFC 5321 4.1.1.2
        b"MAIL" => mail(&mut c, features).map(Command::Mail),
        // RFC 5321 4.1.1.3
        b"RCPT" => rcpt(&mut c, features).map(Command::Rcpt),
        // RFC 5321 4.1.1.4
        b"DATA" => alone(&c, Command::Data),
        // RFC 3030 2
        b"BDAT" => bdat(&mut c),
        // RFC 5321 4.1.1.5
        b"RSET" => alone(&c, Command::Rset),
        // RFC 5321 4.1.1.6: an argument is not looked at, for a name has no use here.
        b"VRFY" => Ok(Command::Vrfy),
        // RFC 5321 4.1.1.7
        b"EXPN" => Ok(Command::Expn),
        // RFC 5321 4.1.1.8
        b"HELP" => Ok(Command::Help),
        // RFC 5321 4.1.1.9
        b"NOOP" => Ok(Command::Noop),
        // RFC 5321 4.1.1.10
        b"QUIT" => alone(&c, Command::Quit),
        // RFC 3207 4
        b"STARTTLS" => alone(&c, Command::StartTls),
        // RFC 4954 4
        b"AUTH" => auth(&mut c),
        _ => Err(CommandError::Unknown),
    }
}

/// A method of HTTP with its target.  A page in a browser can send lines of its
/// choice after such a one (ALPACA and its elders); none of them is for us.
fn is_http(verb: &[u8], c: &Cursor<'_>) -> bool {
    const METHODS: [&[u8]; 7] =
        [b"GET", b"POST", b"PUT", b"HEAD", b"CONNECT", b"OPTIONS", b"DELETE"];
    METHODS.contains(&verb) && c.peek() == Some(b' ')
}

fn alone(c: &Cursor<'_>, command: Command) -> Result<Command, CommandError> {
    if c.at_end() {
        Ok(command)
    } else {
        Err(CommandError::Arguments)
    }
}

fn spaces(c: &mut Cursor<'_>) -> Option<()> {
    c.take_while1(|b| b == b' ').map(|_| ())
}

fn helo(c: &mut Cursor<'_>) -> Result<HeloName, CommandError> {
    spaces(c).ok_or(CommandError::HeloName)?;
    HeloName::parse(c.rest())
}

/// mail = "MAIL FROM:" Reverse-path [SP Mail-parameters]
///
/// Blanks after the colon are no grammar of RFC 5321, but so much software
/// sends them that refusing would lose mail.
fn mail(c: &mut Cursor<'_>, features: Features) -> Result<Mail, CommandError> {
    spaces(c).filter(|()| c.eat_word(b"FROM:")).ok_or(CommandError::Arguments)?;
    c.take_while(|b| b == b' ');
    let from = addr::reverse_path(c, Charset::Utf8).map_err(CommandError::From)?;
    let mut mail = Mail { from, size: None, body: None, smtputf8: false, ret: None, envid: None };
    let mut auth = None;
    parameters(c, features, |name, value| {
        match name {
            // RFC 1870 6: 1*20DIGIT
            b"SIZE" => once(&mut mail.size, size(value?)?),
            // RFC 6152 2
            b"BODY" => once(&mut mail.body, body(value?)?),
            // RFC 6531 3.4: takes no value
            b"SMTPUTF8" if value.is_err() && !mail.smtputf8 => {
                mail.smtputf8 = true;
                Ok(())
            }
            b"SMTPUTF8" => Err(CommandError::Parameter),
            // RFC 3461 4.3
            b"RET" if features.dsn => once(&mut mail.ret, ret(value?)?),
            // RFC 3461 4.4
            b"ENVID" if features.dsn => once(&mut mail.envid, envid(value?)?),
            // RFC 4954 5: checked, then treated as AUTH=<>, as a server does that
            // trusts no client's word about who submitted a message.
            b"AUTH" => once(&mut auth, auth_mailbox(value?)?),
            _ => Err(CommandError::UnknownParameter),
        }
    })?;
    Ok(mail)
}

/// rcpt = "RCPT TO:" Forward-path [SP Rcpt-parameters]
fn rcpt(c: &mut Cursor<'_>, features: Features) -> Result<Rcpt, CommandError> {
    spaces(c).filter(|()| c.eat_word(b"TO:")).ok_or(CommandError::Arguments)?;
    c.take_while(|b| b == b' ');
    let to = addr::forward_path(c, Charset::Utf8).map_err(CommandError::To)?;
    let mut rcpt = Rcpt { to, notify: None, orcpt: None };
    parameters(c, features, |name, value| {
        match name {
            // RFC 3461 4.1
            b"NOTIFY" if features.dsn => once(&mut rcpt.notify, notify(value?)?),
            // RFC 3461 4.2
            b"ORCPT" if features.dsn => once(&mut rcpt.orcpt, orcpt(value?)?),
            _ => Err(CommandError::UnknownParameter),
        }
    })?;
    Ok(rcpt)
}

/// esmtp-param = esmtp-keyword ["=" esmtp-value], each after SP.  RFC 5321 4.1.2.
///
/// `each` gets the keyword in capitals and the value, or the error of a value
/// that is missing.
fn parameters<'a>(
    c: &mut Cursor<'a>,
    features: Features,
    mut each: impl FnMut(&[u8], Result<&'a [u8], CommandError>) -> Result<(), CommandError>,
) -> Result<(), CommandError> {
    let mut count: usize = 0;
    while !c.at_end() {
        spaces(c).ok_or(CommandError::Arguments)?;
        count = count.saturating_add(1);
        if count > limits::SMTP_PARAMETERS.size() {
            return Err(CommandError::Arguments);
        }
        let name = c
            .take_while1(|b| b.is_ascii_alphanumeric() || b == b'-')
            .ok_or(CommandError::Arguments)?
            .to_ascii_uppercase();
        let value = if c.eat(b'=') {
            // esmtp-value is VCHAR without "="; RFC 6531 3.3 adds UTF-8.
            c.take_while1(|b| (chars::is_vchar(b) && b != b'=') || b >= 0x80)
                .ok_or(CommandError::Parameter)
                .map(Ok)?
        } else {
            Err(CommandError::Parameter)
        };
        if !features.esmtp {
            return Err(CommandError::UnknownParameter);
        }
        each(&name, value)?;
    }
    Ok(())
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<(), CommandError> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(CommandError::Parameter),
    }
}

fn size(value: &[u8]) -> Result<u64, CommandError> {
    if value.len() > 20 || !value.iter().all(u8::is_ascii_digit) {
        return Err(CommandError::Parameter);
    }
    // Twenty digits may pass 2^64: a fine number of octets, but none of ours.
    Cursor::new(value).number().ok_or(CommandError::Size)
}

fn body(value: &[u8]) -> Result<Body, CommandError> {
    if value.eq_ignore_ascii_case(b"7BIT") {
        Ok(Body::SevenBit)
    } else if value.eq_ignore_ascii_case(b"8BITMIME") {
        Ok(Body::EightBitMime)
    } else {
        Err(CommandError::Parameter)
    }
}

fn ret(value: &[u8]) -> Result<Ret, CommandError> {
    if value.eq_ignore_ascii_case(b"FULL") {
        Ok(Ret::Full)
    } else if value.eq_ignore_ascii_case(b"HDRS") {
        Ok(Ret::Hdrs)
    } else {
        Err(CommandError::Parameter)
    }
}

fn envid(value: &[u8]) -> Result<String, CommandError> {
    let bytes = xtext(value).ok_or(CommandError::Parameter)?;
    printable(bytes, limits::DSN_ENVID.size())
}

/// NOTIFY=NEVER, or a list of SUCCESS, FAILURE, DELAY.
fn notify(value: &[u8]) -> Result<Notify, CommandError> {
    let mut notify = Notify::default();
    if value.eq_ignore_ascii_case(b"NEVER") {
        return Ok(notify);
    }
    for word in value.split(|b| *b == b',') {
        let flag = match word.to_ascii_uppercase().as_slice() {
            b"SUCCESS" => &mut notify.success,
            b"FAILURE" => &mut notify.failure,
            b"DELAY" => &mut notify.delay,
            _ => return Err(CommandError::Parameter),
        };
        *flag = true;
    }
    Ok(notify)
}

/// original-recipient-address = addr-type ";" xtext
fn orcpt(value: &[u8]) -> Result<Orcpt, CommandError> {
    let mut c = Cursor::new(value);
    let kind = c.take_while1(|b| b.is_ascii_alphanumeric() || b == b'-');
    let kind = kind.filter(|_| c.eat(b';')).ok_or(CommandError::Parameter)?;
    let mut kind = String::from_utf8_lossy(kind).into_owned();
    kind.make_ascii_lowercase();
    let address = if kind == "utf-8" {
        utf8_address(c.rest()).ok_or(CommandError::Parameter)?
    } else {
        xtext(c.rest()).ok_or(CommandError::Parameter).and_then(|a| printable(a, usize::MAX))?
    };
    if address.is_empty() || address.len() > limits::DSN_ORCPT.size() || kind.len() > 64 {
        return Err(CommandError::Parameter);
    }
    Ok(Orcpt { kind, address })
}

/// AUTH=<> or AUTH=xtext of a mailbox.
fn auth_mailbox(value: &[u8]) -> Result<Option<Mailbox>, CommandError> {
    let bytes = xtext(value).ok_or(CommandError::Parameter)?;
    if bytes == b"<>" {
        return Ok(None);
    }
    Mailbox::parse(&bytes, Charset::Utf8).map(Some).map_err(|_| CommandError::Parameter)
}

/// xtext = *( xchar / "+" 2HEXDIG ).  RFC 3461 4.
///
/// Gives the decoded bytes; whoever keeps them must check what they are.
pub fn xtext(text: &[u8]) -> Option<Vec<u8>> {
    let mut c = Cursor::new(text);
    let mut out = Vec::new();
    while let Some(b) = c.next_byte() {
        match b {
            // "hexchar" is capitals by the grammar; small letters are seen too.
            b'+' => out.push(hex(c.take(2)?)?),
            b'=' => return None,
            b if chars::is_vchar(b) => out.push(b),
            _ => return None,
        }
    }
    Some(out)
}

/// Writes xtext.
pub fn write_xtext(bytes: &[u8]) -> String {
    let mut out = String::new();
    for b in bytes {
        if chars::is_vchar(*b) && !matches!(b, b'+' | b'=') {
            out.push(char::from(*b));
        } else {
            out.push_str(&format!("+{b:02X}"));
        }
    }
    out
}

/// The value of ORCPT, type and address, as every host with DSN reads it: an
/// address of type utf-8 as utf-8-addr-xtext (RFC 6533 3), any other as xtext.
/// `None`: the address is of a type that cannot be written so.
pub fn write_orcpt(kind: &str, address: &str) -> Option<String> {
    let text = match kind {
        kind if kind.eq_ignore_ascii_case("utf-8") => write_utf8_address(address),
        _ if address.is_ascii() => write_xtext(address.as_bytes()),
        _ => return None,
    };
    let plain = kind.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    plain.then(|| format!("{kind};{text}"))
}

fn write_utf8_address(address: &str) -> String {
    let mut out = String::new();
    for ch in address.chars() {
        if ch.is_ascii_graphic() && !matches!(ch, '+' | '=' | '\\') {
            out.push(ch);
        } else {
            out.push_str(&format!("\\x{{{:02X}}}", u32::from(ch)));
        }
    }
    out
}

/// utf-8-addr-xtext and utf-8-addr-unitext: `\x{HEX}` and plain UTF-8.  RFC 6533 3.
fn utf8_address(text: &[u8]) -> Option<String> {
    let mut out = String::new();
    let mut rest = std::str::from_utf8(text).ok()?;
    while let Some(ch) = rest.chars().next() {
        if let Some(after) = rest.strip_prefix("\\x{") {
            let (digits, after) = after.split_once('}')?;
            let ch = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
            out.push(Some(ch).filter(|c| digits.len() <= 6 && !c.is_control())?);
            rest = after;
        } else {
            if ch.is_control() || matches!(ch, '+' | '=' | '\\') {
                return None;
            }
            out.push(ch);
            rest = rest.strip_prefix(ch)?;
        }
    }
    Some(out)
}

fn hex(digits: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(digits).ok().filter(|t| !t.starts_with('+'))?;
    u8::from_str_radix(text, 16).ok()
}

/// RFC 3461 4.2 and 4.4: what is decoded must be printable ASCII.
fn printable(bytes: Vec<u8>, max: usize) -> Result<String, CommandError> {
    let good = bytes.len() <= max && bytes.iter().all(|b| chars::is_vchar(*b) || *b == b' ');
    match String::from_utf8(bytes) {
        Ok(text) if good => Ok(text),
        _ => Err(CommandError::Parameter),
    }
}

/// bdat-cmd = "BDAT" SP chunk-size [ SP "LAST" ]
fn bdat(c: &mut Cursor<'_>) -> Result<Command, CommandError> {
    spaces(c).ok_or(CommandError::Arguments)?;
    if !c.peek().is_some_and(|b| b.is_ascii_digit()) {
        return Err(CommandError::Arguments);
    }
    let size = c.number().ok_or(CommandError::Size)?;
    if c.at_end() {
        return Ok(Command::Bdat { size, last: false });
    }
    spaces(c).ok_or(CommandError::Arguments)?;
    if c.eat_word(b"LAST") && c.at_end() {
        Ok(Command::Bdat { size, last: true })
    } else {
        Err(CommandError::Arguments)
    }
}

/// "AUTH" SP sasl-mech [SP initial-response]
fn auth(c: &mut Cursor<'_>) -> Result<Command, CommandError> {
    spaces(c).ok_or(CommandError::Arguments)?;
    let mechanism = c
        .take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
        .filter(|m| m.len() <= 20) // RFC 4422 3.1
        .ok_or(CommandError::Arguments)?;
    let mechanism = String::from_utf8_lossy(mechanism).to_ascii_uppercase();
    if c.at_end() {
        return Ok(Command::Auth { mechanism, initial: None });
    }
    spaces(c).ok_or(CommandError::Arguments)?;
    if c.rest().contains(&b' ') {
        return Err(CommandError::Arguments);
    }
    Ok(Command::Auth { mechanism, initial: Some(c.rest().to_vec()) })
}

#[cfg(test)]
mod tests;
