//! Delivery status notifications: the multipart/report that tells a sender what
//! became of a message.
//!
//! *Runs in* queue.  Written in two pieces with the returned message, or its
//! header, between them: [`Report::head`], the octets, [`Report::tail`].  All
//! that comes from a remote host (its name, what it said) is hostile text: it is
//! bounded, folded, and shown with everything unprintable replaced, so that it
//! can neither begin a field nor a part.  A notification goes out with the null
//! reverse-path, which the caller sees to, and never about another notification.
//!
//! RFC 3461 6; RFC 3464; RFC 6522; RFC 6533 (addresses in UTF-8); RFC 3834 2
//! (Auto-Submitted).

use std::fmt::Write;

use crate::proto::addr::Mailbox;
use crate::proto::date::DateTime;
use crate::proto::smtp::command::{Orcpt, Ret};
use crate::proto::smtp::reply::Enhanced;

/// A notification about one message.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// Our host name.
    pub host: &'a str,
    /// Who sent the message.
    pub to: &'a Mailbox,
    /// What the notification is about as a whole.
    pub action: Action,
    /// The recipients that it is about.
    pub recipients: &'a [Recipient<'a>],
    /// Others, whose addresses are none and can stand in the text alone: what
    /// was given for each, and why it was refused.
    pub unparsed: &'a [(&'a str, &'a str)],
    /// The sender's name for the transaction.
    pub envid: Option<&'a str>,
    /// The queue id of the message.
    pub id: &'a str,
    /// When the message came.
    pub arrival: DateTime,
    /// When this is written.
    pub now: DateTime,
    /// Letters and digits that are used for no other report: Message-ID, boundary.
    pub unique: &'a str,
    /// What stands between head and tail: the message, or its header.
    pub returned: Ret,
    /// True if that has bytes of 0x80 or above.
    pub eight_bit: bool,
}

/// What became of a recipient.  RFC 3464 2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Given up.
    Failed,
    /// Not yet.
    Delayed,
    /// In the mailbox.
    Delivered,
    /// Handed to a host that sends no notifications.
    Relayed,
    /// Handed to several others.
    Expanded,
}

/// A recipient and what became of it.
#[derive(Clone, Debug)]
pub struct Recipient<'a> {
    /// The address that was tried.
    pub address: &'a Mailbox,
    /// ORCPT.
    pub original: Option<&'a Orcpt>,
    /// What became of it.
    pub action: Action,
    /// The code.
    pub status: Enhanced,
    /// The host that said so.
    pub remote: Option<&'a str>,
    /// What it said, with its code; or our own reason.
    pub diagnostic: Option<Diagnostic<'a>>,
    /// When it was tried last.
    pub last_attempt: Option<DateTime>,
    /// How long it will be tried, for a delay.
    pub until: Option<DateTime>,
}

/// Why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Diagnostic<'a> {
    /// The reply of a remote server: hostile.
    Smtp(&'a str),
    /// Our own words.
    Local(&'a str),
}

impl Action {
    const fn word(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Delivered => "delivered",
            Action::Relayed => "relayed",
            Action::Expanded => "expanded",
        }
    }

    const fn subject(self) -> &'static str {
        match self {
            Action::Failed => "Undelivered mail returned to sender",
            Action::Delayed => "Delayed mail (still being retried)",
            Action::Delivered | Action::Relayed | Action::Expanded => "Mail delivery report",
        }
    }

    const fn explanation(self) -> &'static str {
        match self {
            Action::Failed => {
                "Your message could not be delivered to the following recipients.\r\n\
                 It will not be tried again.\r\n"
            }
            Action::Delayed => {
                "Your message could not be delivered yet to the following recipients.\r\n\
                 It is still being tried; you need not send it again.\r\n"
            }
            Action::Delivered => "Your message was delivered to the following recipients.\r\n",
            Action::Relayed | Action::Expanded => {
                "Your message was passed on for the following recipients.\r\n\
                 Their servers may send no report of delivery.\r\n"
            }
        }
    }
}

impl Report<'_> {
    /// Everything up to the returned message.
    pub fn head(&self) -> Vec<u8> {
        let mut out = String::new();
        self.header(&mut out);
        self.text_part(&mut out);
        // A report without a group for a recipient is none.  RFC 3464 2.1.
        if !self.recipients.is_empty() {
            self.status_part(&mut out);
        }
        let boundary = self.boundary();
        let (kind, description) = match self.returned {
            Ret::Full => ("message/rfc822", "Message"),
            Ret::Hdrs => ("text/rfc822-headers", "Message headers"),
        };
        line(&mut out, &format!("--{boundary}"));
        line(&mut out, &format!("Content-Description: {description}"));
        line(&mut out, &format!("Content-Type: {kind}"));
        if self.eight_bit {
            line(&mut out, "Content-Transfer-Encoding: 8bit");
        }
        line(&mut out, "");
        out.into_bytes()
    }

    /// Everything after the returned message, which ended in CRLF.
    pub fn tail(&self) -> Vec<u8> {
        format!("\r\n--{}--\r\n", self.boundary()).into_bytes()
    }

    fn boundary(&self) -> String {
        format!("{}/{}", atoms(self.unique), atoms(self.host))
    }

    fn header(&self, out: &mut String) {
        let host = atoms(self.host);
        line(out, &format!("From: Mail Delivery System <MAILER-DAEMON@{host}>"));
        line(out, &format!("To: <{}>", self.to));
        line(out, &format!("Subject: {}", self.action.subject()));
        line(out, &format!("Date: {}", self.now.rfc5322()));
        line(out, &format!("Message-ID: <{}@{host}>", atoms(self.unique)));
        line(out, "Auto-Submitted: auto-replied");
        line(out, "MIME-Version: 1.0");
        let kind = if self.recipients.is_empty() {
            "Content-Type: multipart/mixed;"
        } else {
            "Content-Type: multipart/report; report-type=delivery-status;"
        };
        line(out, kind);
        line(out, &format!("\tboundary=\"{}\"", self.boundary()));
        if self.eight_bit || !self.text().is_ascii() {
            line(out, "Content-Transfer-Encoding: 8bit");
        }
        line(out, "");
        line(out, "This is a multi-part message in MIME format.");
        line(out, "");
    }

    /// For people.
    fn text_part(&self, out: &mut String) {
        let text = self.text();
        line(out, &format!("--{}", self.boundary()));
        line(out, "Content-Description: Notification");
        line(out, "Content-Type: text/plain; charset=utf-8");
        if !text.is_ascii() {
            line(out, "Content-Transfer-Encoding: 8bit");
        }
        line(out, "");
        out.push_str(&text);
        line(out, "");
    }

    fn text(&self) -> String {
        let mut out = String::new();
        line(&mut out, &format!("This is the mail system at host {}.", atoms(self.host)));
        line(&mut out, "");
        out.push_str(self.action.explanation());
        for recipient in self.recipients {
            line(&mut out, "");
            line(&mut out, &format!("<{}>", recipient.address));
            if let Some(host) = recipient.remote {
                folded(&mut out, "    ", &format!("host {} said:", printable(host)));
            }
            match recipient.diagnostic {
                Some(Diagnostic::Smtp(text) | Diagnostic::Local(text)) => {
                    folded(&mut out, "    ", &printable(text));
                }
                None => folded(&mut out, "    ", &recipient.status.to_string()),
            }
            if let Some(until) = recipient.until {
                line(&mut out, &format!("    It will be tried until {}.", until.rfc5322()));
            }
        }
        for (given, why) in self.unparsed {
            line(&mut out, "");
            folded(&mut out, "", &format!("<{}>", printable(given)));
            folded(&mut out, "    ", &printable(why));
        }
        out
    }

    /// For programs.  RFC 3464 2.1.
    fn status_part(&self, out: &mut String) {
        line(out, &format!("--{}", self.boundary()));
        line(out, "Content-Description: Delivery report");
        line(out, "Content-Type: message/delivery-status");
        line(out, "");
        // RFC 3464 2.2
        if let Some(envid) = self.envid {
            folded(out, "", &format!("Original-Envelope-Id: {}", printable(envid)));
        }
        line(out, &format!("Reporting-MTA: dns; {}", atoms(self.host)));
        line(out, &format!("Arrival-Date: {}", self.arrival.rfc5322()));
        for recipient in self.recipients {
            line(out, "");
            recipient.fields(out, atoms(self.id).as_str());
        }
        line(out, "");
    }
}

impl Recipient<'_> {
    /// RFC 3464 2.3.
    fn fields(&self, out: &mut String, id: &str) {
        if let Some(original) = self.original {
            let kind = atoms(&original.kind);
            folded(out, "", &format!("Original-Recipient: {kind};{}", address(&original.address)));
        }
        let kind = if self.address.is_ascii() { "rfc822" } else { "utf-8" };
        let written = address(&self.address.to_string());
        folded(out, "", &format!("Final-Recipient: {kind}; {written}"));
        line(out, &format!("Action: {}", self.action.word()));
        line(out, &format!("Status: {}", self.status));
        if let Some(host) = self.remote {
            folded(out, "", &format!("Remote-MTA: dns; {}", atoms(host)));
        }
        match self.diagnostic {
            Some(Diagnostic::Smtp(text)) => {
                folded(out, "", &format!("Diagnostic-Code: smtp; {}", printable(text)));
            }
            Some(Diagnostic::Local(text)) => {
                folded(out, "", &format!("Diagnostic-Code: x-rmail; {}", printable(text)));
            }
            None => {}
        }
        if let Some(at) = self.last_attempt {
            line(out, &format!("Last-Attempt-Date: {}", at.rfc5322()));
        }
        line(out, &format!("Final-Log-ID: {id}"));
        if let Some(until) = self.until {
            line(out, &format!("Will-Retry-Until: {}", until.rfc5322()));
        }
    }
}

/// Octets of remote text that are shown.
const MAX_TEXT: usize = 1000;
/// Where lines are folded.
const WIDTH: usize = 76;

fn line(out: &mut String, text: &str) {
    out.push_str(text);
    out.push_str("\r\n");
}

/// A line that is broken at blanks, and within words where there are none; what
/// follows is indented, so that it continues a field and begins none.
fn folded(out: &mut String, indent: &str, text: &str) {
    out.push_str(indent);
    let mut column = indent.len();
    for (at, word) in text.split(' ').enumerate() {
        if at > 0 {
            if column.saturating_add(word.len()) >= WIDTH {
                out.push_str("\r\n    ");
                column = 4;
            } else {
                out.push(' ');
                column = column.saturating_add(1);
            }
        }
        for ch in word.chars() {
            if column >= MAX_TEXT.saturating_sub(20) {
                out.push_str("\r\n    "); // RFC 5322 2.1.1: 998
                column = 4;
            }
            out.push(ch);
            column = column.saturating_add(ch.len_utf8());
        }
    }
    out.push_str("\r\n");
}

/// Printable ASCII; anything else is `?`, and what is too long is cut.
fn printable(text: &str) -> String {
    text.chars()
        .take(MAX_TEXT)
        .map(|ch| if ch == ' ' || ch.is_ascii_graphic() { ch } else { '?' })
        .collect()
}

/// The bytes of host names and ids; anything else is `?`.
fn atoms(text: &str) -> String {
    text.chars()
        .take(255)
        .map(|ch| {
            let good =
                ch.is_ascii_alphanumeric() || matches!(ch, '.' | '-' | '_' | '[' | ']' | ':');
            if good {
                ch
            } else {
                '?'
            }
        })
        .collect()
}

/// An address in ASCII: utf-8-addr-xtext for the rest.  RFC 6533 3.
fn address(text: &str) -> String {
    let mut out = String::new();
    for ch in text.chars().take(MAX_TEXT) {
        if ch.is_ascii() {
            out.push(if ch == ' ' || ch.is_ascii_graphic() { ch } else { '?' });
        } else {
            // Writing to a String does not fail.
            let _ = write!(out, "\\x{{{:X}}}", u32::from(ch));
        }
    }
    out
}

/// Fuzz target: what a remote server said, its name, an envelope id and an
/// original recipient, each on a line.
///
/// Whatever they are, the report has its fields, its parts and short lines.
pub fn fuzz_report(bytes: &[u8]) {
    use crate::proto::addr::Charset;
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.split('\n');
    let mut next = || lines.next().unwrap_or_default();
    let (said, remote, envid, kind) = (next(), next(), next(), next());
    let ours = Mailbox::parse(b"joe@example.org", Charset::Ascii);
    let theirs = Mailbox::parse(next().as_bytes(), Charset::Utf8).or_else(|_| ours.clone());
    let (Ok(to), Ok(address)) = (ours, theirs) else { return };
    let original = Orcpt { kind: kind.to_owned(), address: next().to_owned() };
    let recipient = Recipient {
        address: &address,
        original: Some(&original),
        action: Action::Failed,
        status: Enhanced::new(5, 0, 0),
        remote: Some(remote),
        diagnostic: Some(Diagnostic::Smtp(said)),
        last_attempt: None,
        until: None,
    };
    let local = Recipient { diagnostic: Some(Diagnostic::Local(said)), ..recipient.clone() };
    let report = Report {
        host: "mx.example.org",
        to: &to,
        action: Action::Failed,
        recipients: &[recipient, local],
        unparsed: &[(said, envid)],
        envid: Some(envid),
        id: "abcdefghijkl",
        arrival: DateTime::utc(0),
        now: DateTime::utc(1),
        unique: "u1",
        returned: Ret::Hdrs,
        eight_bit: false,
    };
    let mut whole = report.head();
    whole.extend_from_slice(b"Subject: x\r\n");
    whole.extend(report.tail());
    for line in whole.split_inclusive(|b| *b == b'\n') {
        assert!(line.ends_with(b"\r\n") && line.len() <= 1000, "RFC 5322 2.1.1");
    }
    let structure = crate::proto::mime::scan(&whole);
    assert_eq!(structure.parts.len(), 4, "the report, its text, its status, the header");
    // RFC 3464 2.1: what the message is, an empty line, then each recipient.
    let status = structure.parts.get(2).map(|part| part.body.of(&whole)).unwrap_or_default();
    let text = String::from_utf8_lossy(status);
    let groups: Vec<&str> = text.split("\r\n\r\n").filter(|g| !g.trim().is_empty()).collect();
    assert_eq!(groups.len(), 3);
    for line in groups.iter().flat_map(|g| g.split("\r\n")).filter(|l| !l.is_empty()) {
        let name = line.split_once(':').map_or("", |(name, _)| name);
        let field = !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-');
        assert!(line.is_ascii() && (field || line.starts_with(' ')), "{line}");
    }
}

#[cfg(test)]
mod tests;
