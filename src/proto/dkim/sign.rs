//! Making a signature.  RFC 6376 5.
//!
//! The body's digest comes from [`super::canon::BodyHashes`], the signature
//! over the header's digest from whoever has the key.  Which fields are signed,
//! and which are signed once more than they occur so that nobody can add one,
//! is decided here ([`fields_to_sign`]).  No `l=` and no `z=` is ever written.

use super::signature::{digest, FieldIndex};
use super::{Algorithm, Canon, Sha256};
use crate::proto::text::base64;

/// Fields that are signed whenever they occur, and once more: RFC 6376 8.15.
const OVERSIGNED: &[&str] = &[
    "From",
    "Reply-To",
    "Subject",
    "Date",
    "To",
    "Cc",
    "Message-ID",
    "In-Reply-To",
    "References",
    "MIME-Version",
    "Content-Type",
    "Content-Transfer-Encoding",
    "Autocrypt",
];
/// Fields that are signed if they occur, once more only then: a forwarder or a
/// list may add the first of them.
const OVERSIGNED_IF_PRESENT: &[&str] = &[
    "Sender",
    "List-Id",
    "List-Help",
    "List-Unsubscribe",
    "List-Unsubscribe-Post",
    "List-Subscribe",
    "List-Post",
    "List-Owner",
    "List-Archive",
];

/// What is signed as whom.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `d=`, A-labels, the domain of From.
    pub domain: &'a str,
    /// `s=`
    pub selector: &'a str,
    /// `a=`
    pub algorithm: Algorithm,
    /// `c=` for the header.
    pub header_canon: Canon,
    /// `c=` for the body.
    pub body_canon: Canon,
    /// `t=`, seconds since 1970; left out if `None`.
    pub signed_at: Option<u64>,
    /// `x=`, seconds since 1970; left out if `None`.
    pub expires: Option<u64>,
}

/// Seconds for which a signature holds.  Mail that is on its way longer has been
/// given up; what is replayed later is none of ours.
const LIFETIME: u64 = 7 * 86_400;

impl<'a> Request<'a> {
    /// A signature as this server makes it: relaxed/relaxed, dated, for a week.
    pub const fn new(
        domain: &'a str,
        selector: &'a str,
        algorithm: Algorithm,
        now: u64,
    ) -> Request<'a> {
        Request {
            domain,
            selector,
            algorithm,
            header_canon: Canon::Relaxed,
            body_canon: Canon::Relaxed,
            signed_at: Some(now),
            expires: Some(now.saturating_add(LIFETIME)),
        }
    }
}

/// The names for `h=`: every field that is to be signed as often as it occurs,
/// and once more where that is wanted.
pub fn fields_to_sign(index: &FieldIndex<'_>) -> Vec<String> {
    let mut names = Vec::new();
    let always = OVERSIGNED.iter().map(|n| (n, true));
    let present = OVERSIGNED_IF_PRESENT.iter().map(|n| (n, false));
    for (name, missing_too) in always.chain(present) {
        let count = index.named(name.as_bytes()).len();
        if count > 0 || missing_too {
            names.extend(std::iter::repeat_n((*name).to_string(), count.saturating_add(1)));
        }
    }
    names
}

/// Writes a DKIM-Signature field, with its final CRLF.
///
/// `body_hash` is that of the request's body canonicalisation; `signer` is
/// given the digest to sign, and its error is returned.
pub fn sign<D: Sha256, E>(
    index: &FieldIndex<'_>,
    names: &[String],
    body_hash: &[u8; 32],
    request: &Request<'_>,
    signer: impl FnOnce(&[u8; 32]) -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let mut tags = vec![
        "v=1".to_string(),
        format!("a={}", request.algorithm.word()),
        format!("c={}/{}", request.header_canon.word(), request.body_canon.word()),
        format!("d={}", request.domain),
        format!("s={}", request.selector),
    ];
    tags.extend(request.signed_at.map(|t| format!("t={t}")));
    tags.extend(request.expires.map(|x| format!("x={x}")));
    tags.push(format!("h={}", names.join(":")));
    tags.push(format!("bh={}", String::from_utf8_lossy(&base64::encode(body_hash))));
    let mut field = fold_tags("DKIM-Signature: ", &tags);
    let selected = index.select(names.iter().map(String::as_bytes), usize::MAX);
    let digest = digest::<D>(request.header_canon, &selected, &field);
    push_folded(&mut field, &base64::encode(&signer(&digest)?));
    field.extend_from_slice(b"\r\n");
    Ok(field)
}

const LINE: usize = 76;

/// A field of tags, folded, ending in an empty `b=` on a line of its own.
///
/// A long `h=` is folded at its colons; white space is allowed there.
pub fn fold_tags(name: &str, tags: &[String]) -> Vec<u8> {
    let mut out = name.as_bytes().to_vec();
    let mut column = out.len();
    for tag in tags {
        let pieces = if tag.starts_with("h=") {
            tag.split_inclusive(':').collect()
        } else {
            vec![tag.as_str()]
        };
        for (i, piece) in pieces.iter().enumerate() {
            let begins = i == 0 && out.ends_with(b";");
            let width = piece.len().saturating_add(2);
            if column.saturating_add(width) > LINE {
                out.extend_from_slice(b"\r\n\t");
                column = 8;
            } else if begins {
                out.push(b' ');
                column = column.saturating_add(1);
            }
            out.extend_from_slice(piece.as_bytes());
            column = column.saturating_add(piece.len());
        }
        out.push(b';');
        column = column.saturating_add(1);
    }
    out.extend_from_slice(b"\r\n\tb=");
    out
}

/// Appends base 64 in lines.
pub fn push_folded(out: &mut Vec<u8>, value: &[u8]) {
    for (i, line) in value.chunks(66).enumerate() {
        if i > 0 {
            out.extend_from_slice(b"\r\n\t ");
        }
        out.extend_from_slice(line);
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{request, signed, verify_with, ED25519, MESSAGE};
    use super::super::Fault;
    use super::*;
    use crate::proto::dns::{Answer, Data};
    use crate::proto::mime::{Field, Fields};

    /// RFC 6376 5.4, 5.4.1, 8.15; 3.5 (no l=, no z=).
    #[test]
    fn what_is_signed_and_what_never_is() {
        let message = "Return-Path: <a@b>\r\nReceived: x\r\nAuthentication-Results: x\r\n\
                       ARC-Seal: x\r\nDKIM-Signature: x\r\nX-Mine: x\r\nBcc: x\r\nFrom: a@b\r\n\
                       List-Id: x\r\nSubject: x\r\nSubject: y\r\n\r\nbody\r\n";
        let fields: Vec<Field<'_>> = Fields::new(message.as_bytes()).collect();
        let names = fields_to_sign(&FieldIndex::new(&fields));
        let count = |name: &str| names.iter().filter(|n| n.as_str() == name).count();
        for (name, times) in
            [("From", 2), ("Subject", 3), ("List-Id", 2), ("Sender", 0), ("List-Post", 0)]
        {
            assert_eq!(count(name), times, "{name}");
        }
        for name in [
            "Reply-To",
            "Date",
            "To",
            "Cc",
            "Message-ID",
            "In-Reply-To",
            "References",
            "MIME-Version",
            "Content-Type",
            "Content-Transfer-Encoding",
            "Autocrypt",
        ] {
            assert_eq!(count(name), 1, "{name} is signed as missing");
        }
        for never in ["return-path", "received", "bcc", "authentication-results", "dkim-signature"]
        {
            assert!(!names.iter().any(|n| n.eq_ignore_ascii_case(never)), "{never}");
        }
        assert!(!names.iter().any(|n| n.starts_with("ARC-") || n.starts_with("X-")));
        let field = String::from_utf8(signed(message, &request())).unwrap();
        let field = field.split("Return-Path").next().unwrap().to_string();
        assert!(!field.contains(" l=") && !field.contains(" z="), "{field}");
    }

    /// What a signature says of itself unless told otherwise: relaxed/relaxed, the
    /// time, and a week for which it holds.  RFC 6376 3.5 (t, x).
    #[test]
    fn a_signature_is_relaxed_and_holds_for_a_week() {
        let request = Request::new("example.org", "s", Algorithm::Ed25519Sha256, 1000);
        let field = String::from_utf8(signed(MESSAGE, &request)).unwrap();
        for tag in ["c=relaxed/relaxed;", "d=example.org;", "s=s;", "t=1000;", "x=605800;"] {
            assert!(field.contains(tag), "{tag} in {field}");
        }
        let at = |now| {
            verify_with(field.as_bytes(), now, |q| {
                Answer::found(&q.name, 60, vec![Data::txt(ED25519)])
            })[0]
                .fault
        };
        assert_eq!((at(605_800), at(605_800 + 301)), (None, Some(Fault::Expired)));
    }
}
