//! The header of a message at its final delivery.  RFC 5321 4.4.
//!
//! Pure; used by store and mbox.  Return-Path and Delivered-To go on top, a
//! Return-Path that the message brought is taken out, and a message that has
//! been delivered to this address before goes in a circle.

use crate::proto::limits;
use crate::proto::mime::field::Fields;

/// What a header becomes at final delivery, and what it says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The header as it is to be stored, CRLF, without the empty line.
    pub header: Vec<u8>,
    /// `X-Spam: yes` or `X-Spam-Flag: yes`.
    pub spam: bool,
}

/// The message goes in a circle: 5.4.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loop;

/// Reworks a header (CRLF; the empty line may follow and stays).
///
/// `sender` is the reverse path without brackets, empty for the null path;
/// `rcpt` the address delivered to.  [`Loop`]: it has been here, or has more
/// Received fields than a way can have.
pub fn handover(header: &[u8], sender: &str, rcpt: &str) -> Result<Handover, Loop> {
    let mut out = format!("Return-Path: <{sender}>\r\nDelivered-To: {rcpt}\r\n").into_bytes();
    let (mut received, mut spam, mut end) = (0u64, false, 0usize);
    for field in Fields::new(header) {
        end = field.at.saturating_add(field.raw.len());
        if field.is(b"Return-Path") {
            continue;
        }
        if field.is(b"Received") {
            received = received.saturating_add(1);
        }
        if field.is(b"Delivered-To") && field.text().eq_ignore_ascii_case(rcpt.as_bytes()) {
            return Err(Loop);
        }
        if field.is(b"X-Spam") || field.is(b"X-Spam-Flag") {
            spam |= field.text().get(..3).is_some_and(|v| v.eq_ignore_ascii_case(b"yes"));
        }
        out.extend_from_slice(field.raw);
    }
    if received > limits::RECEIVED_FIELDS.default {
        return Err(Loop);
    }
    out.extend_from_slice(header.get(end..).unwrap_or_default());
    Ok(Handover { header: out, spam })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_old_return_path_goes_and_the_rest_stays() {
        let header =
            b"Received: x\r\nReturn-Path: <forged>\r\n y\r\nreturn-path:z\r\nSubject: a\r\n\r\n";
        let h = handover(header, "a@b", "joe@example.org").unwrap();
        let want = "Return-Path: <a@b>\r\nDelivered-To: joe@example.org\r\nReceived: x\r\nSubject: a\r\n\r\n";
        assert_eq!(h.header, want.as_bytes());
        assert!(!h.spam);
    }

    #[test]
    fn a_message_that_was_here_before_goes_in_a_circle() {
        let header = b"Delivered-To: JOE@example.org\r\n\r\n";
        assert_eq!(handover(header, "", "joe@example.org"), Err(Loop));
        assert!(handover(header, "", "jim@example.org").is_ok());
        let many = b"Received: x\r\n".repeat(51);
        assert_eq!(handover(&many, "", "a"), Err(Loop));
    }

    #[test]
    fn spam_is_what_says_yes() {
        for (field, spam) in [
            ("X-Spam: Yes, score=9", true),
            ("x-spam-flag: YES", true),
            ("X-Spam: no", false),
            ("X-Spam-Status: yes", false),
        ] {
            let h = handover(format!("{field}\r\n").as_bytes(), "", "a").unwrap();
            assert_eq!(h.spam, spam, "{field}");
        }
    }
}
