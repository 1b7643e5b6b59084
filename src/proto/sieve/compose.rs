//! The messages that actions make: replies, refusals, notifications.
//!
//! Pure: date and ids come from the caller.  CRLF line ends; nothing from a
//! script or message gets into a header field without being encoded, so that
//! nothing can begin a field of its own.

use super::action::{Notify, Redirect, Reject, Vacation};
use super::settings::Settings;
use super::surroundings::Envelope;
use crate::proto::date::DateTime;
use crate::proto::mime;
use crate::proto::text::{encoded_word, transfer};

/// What only the caller knows of a new message.
#[derive(Clone, Copy, Debug)]
pub struct Stamp<'a> {
    /// When.
    pub date: DateTime,
    /// A fresh id, in its brackets.
    pub message_id: &'a str,
    /// Who speaks for the mail system: an address.
    pub postmaster: &'a str,
}

/// The reply that `vacation` asks for.  RFC 5230 5.  Its envelope sender is null.
pub fn vacation(vacation: &Vacation, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    common(&mut out, stamp);
    address(&mut out, "From", &vacation.from);
    address(&mut out, "To", &vacation.to);
    // A script may give the subject encoded already.
    let subject = super::message::decoded(&vacation.subject);
    text(&mut out, "Subject", &subject);
    if let Some(id) = &vacation.in_reply_to {
        ids(&mut out, "In-Reply-To", id);
    }
    if let Some(references) = &vacation.references {
        ids(&mut out, "References", references);
    }
    // RFC 3834 5, RFC 5230 5.8; the others are what some programs still look at.
    raw(&mut out, "Auto-Submitted", "auto-replied (vacation)");
    raw(&mut out, "Precedence", "bulk");
    raw(&mut out, "X-Auto-Response-Suppress", "All");
    raw(&mut out, "MIME-Version", "1.0");
    if vacation.mime {
        out.extend_from_slice(&crlf(&vacation.reason));
        // An entity without a body still has the end of its header.
        if memchr::memmem::find(&out, b"\r\n\r\n").is_none() {
            out.extend_from_slice(b"\r\n");
        }
    } else {
        body(&mut out, &vacation.reason);
    }
    out
}

/// The disposition notification that `reject` sends.  RFC 5429 2.2, RFC 8098.
///
/// `None` if there is nobody to tell: the envelope sender is null or unknown.
pub fn refusal(
    reject: &Reject,
    envelope: &Envelope,
    original: &[u8],
    stamp: &Stamp<'_>,
) -> Option<Vec<u8>> {
    let sender = envelope.from.as_ref().filter(|from| !from.is_empty())?;
    let recipient = envelope.to.clone().unwrap_or_default();
    let (header, _) = mime::split(original);
    let mut out = Vec::new();
    common(&mut out, stamp);
    address(&mut out, "From", format!("Mail System <{}>", stamp.postmaster).as_bytes());
    address(&mut out, "To", sender);
    text(&mut out, "Subject", b"Automatically rejected mail");
    raw(&mut out, "Auto-Submitted", "auto-replied (rejected)");
    raw(&mut out, "Precedence", "bulk");
    raw(&mut out, "MIME-Version", "1.0");
    let boundary = boundary(stamp);
    raw(
        &mut out,
        "Content-Type",
        &format!(
            "multipart/report; report-type=disposition-notification;\r\n\tboundary=\"{boundary}\""
        ),
    );
    out.extend_from_slice(format!("\r\n--{boundary}\r\n").as_bytes());
    let mut words = b"Your message to <".to_vec();
    words.extend_from_slice(&recipient);
    words.extend_from_slice(b"> was automatically rejected:\r\n");
    words.extend_from_slice(&reject.reason);
    body(&mut out, &words);
    let head =
        format!("\r\n--{boundary}\r\nContent-Type: message/disposition-notification\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    raw(&mut out, "Reporting-UA", "rmail; Sieve");
    if let Some(orig) = &envelope.orig_to {
        report(&mut out, "Original-Recipient", orig);
    }
    report(&mut out, "Final-Recipient", &recipient);
    let id = mime::Fields::new(header).find(|field| field.is(b"Message-ID"));
    if let Some(id) = id {
        text(&mut out, "Original-Message-ID", &id.text());
    }
    raw(&mut out, "Disposition", "automatic-action/MDN-sent-automatically; deleted");
    let head = format!("\r\n--{boundary}\r\nContent-Type: message/rfc822-headers\r\n\r\n");
    out.extend_from_slice(head.as_bytes());
    out.extend_from_slice(&crlf(header));
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    Some(out)
}

/// The message that `notify` sends.  RFC 5436 2.
pub fn notification(notify: &Notify, stamp: &Stamp<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    common(&mut out, stamp);
    let from = notify.from.as_deref().unwrap_or(stamp.postmaster.as_bytes());
    address(&mut out, "From", from);
    for (name, list) in [("To", &notify.to), ("Cc", &notify.cc)] {
        if !list.is_empty() {
            raw(&mut out, name, &String::from_utf8_lossy(&list.join(&b", "[..])));
        }
    }
    text(&mut out, "Subject", &notify.subject);
    // RFC 5436 2.7.1: the parameter tells whom the notification is about.
    let owner = notify.owner.as_deref().unwrap_or_default();
    let plain = owner.iter().all(|b| b.is_ascii_graphic() && !b"\"\\;".contains(b));
    let auto = if plain && !owner.is_empty() {
        format!("auto-notified; owner-email=\"{}\"", String::from_utf8_lossy(owner))
    } else {
        "auto-notified".to_string()
    };
    raw(&mut out, "Auto-Submitted", &auto);
    raw(&mut out, "Precedence", "bulk");
    let (priority, importance) = match notify.importance {
        1 => ("1 (High)", "High"),
        3 => ("5 (Low)", "Low"),
        _ => ("3 (Normal)", "Normal"),
    };
    raw(&mut out, "X-Priority", priority);
    raw(&mut out, "Importance", importance);
    for (name, value) in &notify.fields {
        text(&mut out, &String::from_utf8_lossy(name), value);
    }
    raw(&mut out, "MIME-Version", "1.0");
    body(&mut out, &notify.body);
    out
}

/// The field that tells who has redirected a message.
pub const REDIRECTED_FROM: &str = "X-Sieve-Redirected-From";

/// What is put on top of a redirected message: whose script it was, so that loops show.
pub fn redirected(redirect: &Redirect) -> Vec<u8> {
    let mut out = Vec::new();
    raw(&mut out, "X-Sieve", &format!("rmail {}", env!("CARGO_PKG_VERSION")));
    if let Some(owner) = &redirect.owner {
        text(&mut out, REDIRECTED_FROM, owner);
    }
    out
}

/// From whom redirected mail and notifications are sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Sender {
    /// The sender of the message.
    #[default]
    Sender,
    /// The recipient of the message.
    Recipient,
    /// Its original recipient.
    OrigRecipient,
    /// The user's own address.
    User,
    /// The mail system.
    Postmaster,
    /// This address; empty is the null sender.
    Address(Vec<u8>),
}

impl Sender {
    /// The envelope sender; mail from nobody stays mail from nobody.
    pub fn resolve(&self, envelope: &Envelope, settings: &Settings) -> Vec<u8> {
        let from = envelope.from.clone().unwrap_or_default();
        if from.is_empty() && *self != Sender::Sender {
            return from;
        }
        let recipient = || envelope.to.clone().unwrap_or_default();
        match self {
            Sender::Sender => from,
            Sender::Recipient => recipient(),
            Sender::OrigRecipient => envelope.orig_to.clone().unwrap_or_else(recipient),
            Sender::User => settings.user.clone().unwrap_or_else(recipient),
            Sender::Postmaster => settings.postmaster.clone(),
            Sender::Address(address) => address.clone(),
        }
    }
}

fn common(out: &mut Vec<u8>, stamp: &Stamp<'_>) {
    raw(out, "X-Sieve", &format!("rmail {}", env!("CARGO_PKG_VERSION")));
    raw(out, "Message-ID", stamp.message_id);
    raw(out, "Date", &stamp.date.rfc5322());
}

/// A field whose value is known to be good.
fn raw(out: &mut Vec<u8>, name: &str, value: &str) {
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A field with any text.
fn text(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let value = String::from_utf8_lossy(value);
    let encoded = encoded_word::encode(value.trim(), name.len().saturating_add(2));
    raw(out, name, &String::from_utf8_lossy(&encoded));
}

/// A field with an address: the name before it is encoded, the address has been checked.
fn address(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let printable = |b: &&u8| (0x20..0x7f).contains(*b);
    let Some(at) = memchr::memrchr(b'<', value).filter(|_| !value.is_ascii()) else {
        let value: Vec<u8> = value.iter().filter(printable).copied().collect();
        return raw(out, name, String::from_utf8_lossy(&value).trim());
    };
    let (phrase, spec) = value.split_at_checked(at).unwrap_or((value, &[]));
    let phrase = String::from_utf8_lossy(phrase);
    let phrase = phrase.trim().trim_matches('"');
    let encoded = encoded_word::encode(phrase, name.len().saturating_add(2));
    let spec: Vec<u8> = spec.iter().filter(printable).copied().collect();
    let line = [&encoded[..], b" ", &spec].concat();
    raw(out, name, &String::from_utf8_lossy(&line));
}

/// Ids, folded between them: each line stays short.
fn ids(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let words: Vec<&[u8]> =
        value.split(|b| matches!(b, b' ' | b'\t')).filter(|w| !w.is_empty()).collect();
    raw(out, name, &String::from_utf8_lossy(&words.join(&b"\r\n "[..])));
}

fn report(out: &mut Vec<u8>, name: &str, value: &[u8]) {
    let value = [b"rfc822; ", value].concat();
    text(out, name, &value);
}

/// The fields of a text and the text: as it is if that can pass everywhere.
fn body(out: &mut Vec<u8>, text: &[u8]) {
    let text = crlf(text);
    raw(out, "Content-Type", "text/plain; charset=utf-8");
    let long = text.split(|b| *b == b'\n').any(|line| line.len() > 998);
    if text.is_ascii() && !long {
        raw(out, "Content-Transfer-Encoding", "7bit");
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&text);
    } else {
        raw(out, "Content-Transfer-Encoding", "quoted-printable");
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&transfer::encode_quoted(&text));
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
}

/// With CRLF line ends and without NUL.
fn crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    for b in text.iter().filter(|b| **b != 0) {
        if *b == b'\n' && out.last() != Some(&b'\r') {
            out.push(b'\r');
        }
        out.push(*b);
    }
    out
}

/// A boundary from the message's id, which is fresh.
fn boundary(stamp: &Stamp<'_>) -> String {
    let word = stamp.message_id.chars().filter(char::is_ascii_alphanumeric).take(40);
    format!("=_{}_", word.collect::<String>())
}
