//! sendmail's command line, and what it makes of a message.

use crate::proto::addr::list;
use crate::proto::limits::HEADER_ADDRESSES;
use crate::proto::mime::field::Fields;
use std::ffi::OsString;
use std::path::PathBuf;

/// What sendmail is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Send the message on standard input.
    Deliver,
    /// `-bp`: print the queue.
    Queue,
    /// `-bi`: read the aliases anew.
    Aliases,
    /// `-bs`: speak SMTP on standard input and output.
    Session,
    /// `-Z file`: send a message of the offline directory, and remove it.
    Offline,
}

/// The command line.
#[derive(Clone, Debug)]
pub struct Options {
    /// What to do.
    pub mode: Mode,
    /// `-f`, `-r`: the envelope sender; empty is the null path.
    from: Option<String>,
    /// `-F`: the name for a From field that is made.
    pub full_name: Option<String>,
    /// `-t`: the recipients are in the header.
    pub from_header: bool,
    /// `-i`, `-oi`: a line with a single dot does not end the message.
    pub dot_is_data: bool,
    /// `-N`: the NOTIFY parameter of each recipient.  RFC 3461 4.1.
    pub notify: Option<String>,
    /// `-R`: RET.  RFC 3461 4.3.
    pub ret: Option<String>,
    /// `-V`: ENVID.  RFC 3461 4.4.
    pub envid: Option<String>,
    /// The control socket.
    pub socket: PathBuf,
    /// `-Q`: the queue directory, in which `offline` is.
    queue: PathBuf,
    /// The file of `-Z`.
    pub offline: PathBuf,
    recipients: Vec<String>,
}

impl Options {
    /// Reads the command line.  Options of other sendmails that mean nothing
    /// here are passed over; what would change the meaning is an error.
    pub fn parse(args: &[OsString]) -> Result<Options, String> {
        let mut o = Options {
            mode: Mode::Deliver,
            from: None,
            full_name: None,
            from_header: false,
            dot_is_data: false,
            notify: None,
            ret: None,
            envid: None,
            socket: crate::conf::view::SOCKET.into(),
            queue: crate::conf::view::QUEUE_DIRECTORY.into(),
            offline: PathBuf::new(),
            recipients: Vec::new(),
        };
        let mut args = args.iter().map(|a| a.to_string_lossy().into_owned());
        while let Some(arg) = args.next() {
            let Some(option) = arg.strip_prefix('-').filter(|o| !o.is_empty()) else {
                o.recipients.push(arg);
                continue;
            };
            if option == "-" {
                o.recipients.extend(args);
                break;
            }
            let (letter, rest) = option.split_at(option.chars().next().map_or(0, char::len_utf8));
            let mut value = || match rest {
                "" => args.next().ok_or_else(|| format!("-{letter}: a value is missing")),
                rest => Ok(rest.to_string()),
            };
            match letter {
                "b" => o.mode = mode(rest)?,
                "f" | "r" => o.from = Some(one_line(value()?)?),
                "F" => o.full_name = Some(value()?),
                "N" => o.notify = Some(notify(&value()?)?),
                "R" => o.ret = Some(ret(&value()?)?),
                "V" => o.envid = Some(value()?),
                "Q" => o.queue = value()?.into(),
                "S" => o.socket = value()?.into(),
                "Z" => {
                    o.offline = value()?.into();
                    o.mode = Mode::Offline;
                }
                // These may stand together, as in -ti.
                "t" | "i" | "n" | "v"
                    if option.bytes().all(|b| matches!(b, b't' | b'i' | b'n' | b'v')) =>
                {
                    o.from_header |= option.contains('t');
                    o.dot_is_data |= option.contains('i');
                }
                "o" if rest.starts_with('i') => o.dot_is_data = true,
                // Values of options that other sendmails know.
                "A" | "B" | "C" | "h" | "L" | "O" | "p" | "X" | "D" | "M" | "d" => {
                    value()?;
                }
                "o" if rest.is_empty() => {
                    value()?;
                }
                "o" | "e" | "E" | "G" | "m" | "s" | "U" | "x" => {}
                "q" => return Err("-q: rmail runs its queue itself: see rmailctl schedule".into()),
                _ => return Err(format!("-{option}: unknown option")),
            }
        }
        Ok(o)
    }

    /// Where mail is kept that the daemon does not take now.
    pub fn offline_directory(&self) -> PathBuf {
        self.queue.join("offline")
    }

    /// The envelope sender: as given, or the user's name, which the daemon
    /// completes.
    pub fn sender(&self) -> String {
        match &self.from {
            Some(from) if from == "<>" => String::new(),
            Some(from) => from.trim_start_matches('<').trim_end_matches('>').to_string(),
            None => user_name(),
        }
    }

    /// The recipients of the command line and, with `-t`, of the header.
    pub fn all_recipients(&self, message: &[u8]) -> Result<Vec<String>, String> {
        let mut all = Vec::new();
        for arg in &self.recipients {
            all.extend(addresses(arg.as_bytes())?);
        }
        if self.from_header {
            for field in Fields::new(message) {
                if field.is(b"to") || field.is(b"cc") || field.is(b"bcc") {
                    all.extend(addresses(&field.text())?);
                }
            }
        }
        let mut seen = std::collections::HashSet::new();
        all.retain(|a| seen.insert(a.clone()));
        Ok(all)
    }
}

fn mode(rest: &str) -> Result<Mode, String> {
    Ok(match rest {
        "m" | "a" | "" => Mode::Deliver,
        "p" => Mode::Queue,
        "i" => Mode::Aliases,
        "s" => Mode::Session,
        _ => return Err(format!("-b{rest}: not supported")),
    })
}

/// What becomes part of a command must be no more than that.
fn one_line(value: String) -> Result<String, String> {
    if value.chars().any(char::is_control) {
        return Err(format!("a control character in an address: {}", value.escape_debug()));
    }
    Ok(value)
}

/// notify-esmtp-value of RFC 3461 4.1.
fn notify(value: &str) -> Result<String, String> {
    let value = value.to_ascii_uppercase();
    let known = |w: &str| matches!(w, "SUCCESS" | "FAILURE" | "DELAY");
    if value == "NEVER" || value.split(',').all(known) {
        Ok(value)
    } else {
        Err(format!("-N {value}: never, or some of success, failure, delay"))
    }
}

fn ret(value: &str) -> Result<String, String> {
    match value.to_ascii_uppercase().as_str() {
        v @ ("FULL" | "HDRS") => Ok(v.to_string()),
        _ => Err(format!("-R {value}: full or hdrs")),
    }
}

/// The addresses of a list, as RCPT wants them.
fn addresses(list: &[u8]) -> Result<Vec<String>, String> {
    let one = |m: list::Mailbox| {
        let text = |b: Vec<u8>| {
            String::from_utf8(b).map_err(|_| "an address that is not UTF-8".to_string())
        };
        let (local, domain) = (text(m.local)?, text(m.domain)?);
        if local.is_empty() {
            return Err("an address without a local part".to_string());
        }
        if local.chars().chain(domain.chars()).any(char::is_control) {
            let shown = format!("{local}@{domain}");
            return Err(format!("an address with a control character: {}", shown.escape_debug()));
        }
        let local = quoted(&local);
        Ok(if domain.is_empty() { local } else { format!("{local}@{domain}") })
    };
    // No more are read, and who is left out would not be told.
    if list::parse(list).len() >= HEADER_ADDRESSES.size() {
        let most = HEADER_ADDRESSES.size();
        return Err(format!("{most} addresses or more in one field: make several of it"));
    }
    list::mailboxes(list).map(one).collect()
}

/// A local part as it stands in a path: a dot-atom, or quoted.  RFC 5321 4.1.2.
fn quoted(local: &str) -> String {
    let atoms = local
        .split('.')
        .all(|atom| !atom.is_empty() && atom.bytes().all(crate::proto::chars::is_atext_utf8));
    if atoms {
        return local.to_string();
    }
    let mut out = String::from("\"");
    for c in local.chars() {
        if matches!(c, '"' | '\\') {
            out.push('\\');
        }
        out.push(c);
    }
    out.push('"');
    out
}

fn user_name() -> String {
    match crate::sys::user::User::me() {
        Ok(Some(user)) => user.name,
        Ok(None) | Err(_) => std::env::var("LOGNAME").unwrap_or_else(|_| "nobody".into()),
    }
}

/// A message as the wire wants it: every line ends with CRLF, whatever mixture
/// came in, and without `-i` it ends before a line with a single dot.
pub fn normalise(message: &[u8], dot_is_data: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + message.len() / 32);
    let mut rest = message;
    while !rest.is_empty() {
        let end = rest.iter().position(|b| *b == b'\n');
        let (line, tail) = match end {
            Some(at) => (&rest[..at], &rest[at + 1..]),
            None => (rest, &rest[rest.len()..]),
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line == b"." && !dot_is_data {
            break;
        }
        // A CR elsewhere is no line end of any system that runs this.
        out.extend(line.iter().map(|b| if *b == b'\r' { b' ' } else { *b }));
        out.extend_from_slice(b"\r\n");
        rest = tail;
    }
    out
}

/// The message without its Bcc fields: with `-t` they are the envelope's alone.
pub fn without_bcc(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len());
    let mut at = 0;
    for f in Fields::new(message) {
        if f.is(b"bcc") {
            out.extend_from_slice(message.get(at..f.at).unwrap_or_default());
            at = f.at + f.raw.len();
        }
    }
    out.extend_from_slice(message.get(at..).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(args: &[&str]) -> Result<Options, String> {
        Options::parse(&args.iter().map(OsString::from).collect::<Vec<_>>())
    }

    #[test]
    fn an_address_is_one_word_of_a_command() {
        let o = parse(&["-t"]).unwrap();
        for to in ["\"a\0b\"@c.example", "\"\\\u{1b}\"@b.example"] {
            assert!(o.all_recipients(format!("To: {to}\n").as_bytes()).is_err(), "{to:?}");
            assert!(parse(&[to]).unwrap().all_recipients(b"").is_err(), "{to:?}");
        }
        let two = parse(&["\"a\r\nDATA\"@b.example"]).unwrap().all_recipients(b"");
        assert!(two.is_err() || !two.unwrap().concat().contains(['\r', '\n']));
        assert!(parse(&["-f", "a>\r\nRSET", "b@c.example"]).is_err());
    }

    #[test]
    fn options_with_and_without_space_and_foreign_ones() {
        let o = parse(&["-oi", "-fme@example.org", "-F", "Me", "-B8BITMIME", "a@b", "--", "-c@d"])
            .unwrap();
        assert!(o.dot_is_data);
        assert_eq!(o.sender(), "me@example.org");
        assert_eq!(o.full_name.as_deref(), Some("Me"));
        assert_eq!(o.all_recipients(b"").unwrap(), ["a@b", "-c@d"]);
        assert_eq!(parse(&["-f", "<>", "a@b"]).unwrap().sender(), "");
        assert!(parse(&["-q"]).is_err());
        for together in ["-it", "-ti", "-tvi", "-nit"] {
            let o = parse(&[together]).unwrap();
            assert!(o.from_header && o.dot_is_data, "{together}");
        }
        assert!(parse(&["-tz"]).is_err());
        assert!(parse(&["-N", "sometimes"]).is_err());
    }

    #[test]
    fn header_recipients_are_found_and_bcc_is_removed() {
        let m = b"To: A <a@x>, b@x\r\nBcc: c@x,\r\n d@x\r\nSubject: s\r\n\r\nbody\r\n";
        let o = parse(&["-t"]).unwrap();
        assert_eq!(o.all_recipients(m).unwrap(), ["a@x", "b@x", "c@x", "d@x"]);
        assert_eq!(without_bcc(m), b"To: A <a@x>, b@x\r\nSubject: s\r\n\r\nbody\r\n");
    }

    #[test]
    fn a_field_with_more_addresses_than_are_read_is_refused() {
        let to = |n: usize| format!("To: {}\n", vec!["a@b.example"; n].join(", "));
        let all = |n| parse(&["-t"]).unwrap().all_recipients(to(n).as_bytes());
        assert!(all(HEADER_ADDRESSES.size() - 1).is_ok());
        assert!(all(HEADER_ADDRESSES.size() + 1).unwrap_err().contains("make several of it"));
    }

    #[test]
    fn line_ends_become_crlf_and_a_dot_ends_the_message_unless_told() {
        assert_eq!(normalise(b"a\nb\r\nc\rd\n.\ne\n", false), b"a\r\nb\r\nc d\r\n");
        assert_eq!(normalise(b"a\n.\nb", true), b"a\r\n.\r\nb\r\n");
    }
}
