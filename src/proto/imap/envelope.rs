//! ENVELOPE: ten fields of the header, parsed for the client.
//!
//! Built from the raw header, nothing decoded: encoded words go out as they
//! came and the client decodes them.  Of a field that stands twice the first
//! counts, as most readers show it; addresses of repeated address fields are
//! joined.  RFC 3501 7.4.2.

use super::write;
use crate::proto::addr::list::{self, Entry, Mailbox};
use crate::proto::limits;
use crate::proto::mime::{Field, Fields};

/// What stands for a missing domain, since NIL would mean a group.  As Dovecot
/// writes it.
const NO_DOMAIN: &[u8] = b"MISSING_DOMAIN";
/// And for a missing local part.
const NO_LOCAL: &[u8] = b"MISSING_MAILBOX";

/// Appends the envelope of a header: `("date" "subject" ((from...)) ...)`.
///
/// Linear in the header, which the caller bounds.
pub fn write(out: &mut Vec<u8>, header: &[u8]) {
    let mut text: [Option<Vec<u8>>; 4] = Default::default();
    let mut lists: [Vec<Entry>; 6] = Default::default();
    for field in Fields::new(header) {
        let texts: [&[u8]; 4] = [b"Date", b"Subject", b"In-Reply-To", b"Message-ID"];
        let named: [&[u8]; 6] = [b"From", b"Sender", b"Reply-To", b"To", b"Cc", b"Bcc"];
        if let Some(slot) = slot(&field, &texts, &mut text) {
            if slot.is_none() {
                *slot = Some(short(&field));
            }
        } else if let Some(slot) = slot(&field, &named, &mut lists) {
            let room = limits::HEADER_ADDRESSES.size().saturating_sub(slot.len());
            slot.extend(list::parse(field.value).into_iter().take(room));
        }
    }
    let [date, subject, in_reply_to, message_id] = &text;
    let [from, sender, reply_to, to, cc, bcc] = &lists;
    // RFC 3501 7.4.2: without Sender or Reply-To, and with an empty one, From
    // takes their place.
    let or_from = |list| if Vec::is_empty(list) { from } else { list };
    out.push(b'(');
    write::nstring(out, date.as_deref());
    out.push(b' ');
    write::nstring(out, subject.as_deref());
    for list in [from, or_from(sender), or_from(reply_to), to, cc, bcc] {
        out.push(b' ');
        addresses(out, list);
    }
    out.push(b' ');
    write::nstring(out, in_reply_to.as_deref());
    out.push(b' ');
    write::nstring(out, message_id.as_deref());
    out.push(b')');
}

/// The slot of the name that the field has.
fn slot<'s, T, const N: usize>(
    field: &Field<'_>,
    names: &[&[u8]; N],
    slots: &'s mut [T; N],
) -> Option<&'s mut T> {
    let i = names.iter().position(|name| field.is(name))?;
    slots.get_mut(i)
}

/// The value on one line, cut at the limit of a field.
fn short(field: &Field<'_>) -> Vec<u8> {
    let mut text = field.text();
    text.truncate(limits::HEADER_FIELD.size());
    text
}

/// "(" 1*address ")" / nil
fn addresses(out: &mut Vec<u8>, entries: &[Entry]) {
    if entries.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    out.push(b'(');
    for entry in entries {
        match entry {
            Entry::Mailbox(mailbox) => address(out, mailbox),
            // RFC 3501 7.4.2: a group begins with its name where a mailbox has
            // its local part, and ends with nothing at all.
            Entry::GroupStart(name) => {
                out.extend_from_slice(b"(NIL NIL ");
                write::string(out, name);
                out.extend_from_slice(b" NIL)");
            }
            Entry::GroupEnd => out.extend_from_slice(b"(NIL NIL NIL NIL)"),
        }
    }
    out.push(b')');
}

/// address = "(" addr-name SP addr-adl SP addr-mailbox SP addr-host ")"
fn address(out: &mut Vec<u8>, mailbox: &Mailbox) {
    let or = |text: &'_ [u8], missing: &'static [u8]| {
        if text.is_empty() {
            missing.to_vec()
        } else {
            text.to_vec()
        }
    };
    out.push(b'(');
    write::nstring(out, mailbox.name.as_deref());
    out.push(b' ');
    write::nstring(out, mailbox.route.as_deref());
    out.push(b' ');
    write::string(out, &or(&mailbox.local, NO_LOCAL));
    out.push(b' ');
    write::string(out, &or(&mailbox.domain, NO_DOMAIN));
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(header: &[u8]) -> String {
        let mut out = Vec::new();
        write(&mut out, header);
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn the_example_of_rfc_3501() {
        let header = b"Date: Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\r\n\
            From: Terry Gray <gray@cac.washington.edu>\r\n\
            Subject: IMAP4rev1 WG mtg summary and minutes\r\n\
            To: imap@cac.washington.edu\r\n\
            cc: minutes@CNRI.Reston.VA.US, John Klensin <KLENSIN@MIT.EDU>\r\n\
            Message-Id: <B27397-0100000@cac.washington.edu>\r\n\
            MIME-Version: 1.0\r\n\r\n";
        assert_eq!(
            envelope(header),
            "(\"Wed, 17 Jul 1996 02:23:25 -0700 (PDT)\" \
             \"IMAP4rev1 WG mtg summary and minutes\" \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((\"Terry Gray\" NIL \"gray\" \"cac.washington.edu\")) \
             ((NIL NIL \"imap\" \"cac.washington.edu\")) \
             ((NIL NIL \"minutes\" \"CNRI.Reston.VA.US\")(\"John Klensin\" NIL \"KLENSIN\" \"MIT.EDU\")) \
             NIL NIL \"<B27397-0100000@cac.washington.edu>\")"
        );
    }

    #[test]
    fn an_empty_header_has_an_envelope() {
        assert_eq!(envelope(b""), "(NIL NIL NIL NIL NIL NIL NIL NIL NIL NIL)");
    }

    #[test]
    fn groups_and_missing_halves() {
        let text = envelope(b"To: team: a@b;\nCc: joe\nBcc: @x.org\n\n");
        assert!(text.contains("((NIL NIL \"team\" NIL)(NIL NIL \"a\" \"b\")(NIL NIL NIL NIL))"));
        assert!(text.contains("((NIL NIL \"joe\" \"MISSING_DOMAIN\"))"));
        assert!(text.contains("((NIL NIL \"MISSING_MAILBOX\" \"x.org\"))"));
    }

    #[test]
    fn an_empty_sender_falls_back_to_from() {
        let text = envelope(b"From: a@b\nSender:\nReply-To: c@d\n\n");
        assert_eq!(text.matches("(NIL NIL \"a\" \"b\")").count(), 2);
        assert!(text.contains("((NIL NIL \"c\" \"d\"))"));
    }

    #[test]
    fn folds_are_taken_out_and_the_first_subject_counts() {
        let text = envelope(b"Subject: a\r\n b\r\nSubject: c\r\n\r\n");
        assert!(text.contains("\"a b\""), "{text}");
    }

    #[test]
    fn eight_bit_text_is_a_literal() {
        assert!(envelope("Subject: gr\u{fc}n\n\n".as_bytes()).contains("{5}\r\n"));
    }
}
