//! BODY and BODYSTRUCTURE: the MIME structure as a parenthesised list.
//!
//! Written from the structure that one pass over the message gave, with a
//! stack and no recursion; the depth is that of the structure, which is bounded
//! where it is made.  A part that claims to be composite but could not be
//! opened (too deep, no boundary) is shown as application/octet-stream, so that
//! clients never meet a multipart without parts.  RFC 3501 7.4.2.

use super::envelope;
use super::write;
use crate::proto::mime::{ContentType, Extent, Params, Part, Structure};

/// What is left to be written.
enum Step {
    /// A part and all within it.
    Part(usize),
    /// What follows the parts of a multipart, or the message of a message/rfc822.
    Rest(usize),
}

/// Appends the structure; with the extension data if `extended`.
///
/// `header` gives the bytes of an attached message's header.
pub fn write<E>(
    out: &mut Vec<u8>,
    structure: &Structure,
    extended: bool,
    mut header: impl FnMut(&Extent) -> Result<Vec<u8>, E>,
) -> Result<(), E> {
    let mut steps = vec![Step::Part(0)];
    while let Some(step) = steps.pop() {
        match step {
            Step::Part(i) => {
                let Some(part) = structure.parts.get(i) else { continue };
                let children: Vec<usize> =
                    if part.composite { structure.children(i).collect() } else { Vec::new() };
                out.push(b'(');
                if part.composite && part.content_type.is_main(b"multipart") {
                    if children.is_empty() {
                        empty_part(out);
                    }
                    steps.push(Step::Rest(i));
                    steps.extend(children.iter().rev().map(|c| Step::Part(*c)));
                    continue;
                }
                let message = children.first().filter(|_| part.composite).copied();
                let kind = shown_type(part, message.is_some());
                single(out, part, &kind);
                if let Some(inner) = message {
                    out.push(b' ');
                    let extent = structure.parts.get(inner).map(|p| p.header).unwrap_or_default();
                    envelope::write(out, &header(&extent)?);
                    out.push(b' ');
                    steps.push(Step::Rest(i));
                    steps.push(Step::Part(inner));
                    continue;
                }
                if kind.is_main(b"text") {
                    out.push(b' ');
                    write::number(out, part.body.lines);
                }
                if extended {
                    extension(out, part);
                }
                out.push(b')');
            }
            Step::Rest(i) => {
                let Some(part) = structure.parts.get(i) else { continue };
                out.push(b' ');
                if part.content_type.is_main(b"multipart") {
                    write::string(out, &part.content_type.sub);
                    if extended {
                        out.push(b' ');
                        params(out, &part.content_type.params, false);
                        disposition_to_location(out, part);
                    }
                } else {
                    write::number(out, part.body.lines);
                    if extended {
                        extension(out, part);
                    }
                }
                out.push(b')');
            }
        }
    }
    Ok(())
}

/// The type under which a part without shown parts goes out.
fn shown_type(part: &Part, has_message: bool) -> ContentType {
    let kind = &part.content_type;
    let claims = kind.is_main(b"multipart") || kind.is(b"message", b"rfc822");
    if claims && !has_message {
        return ContentType::new(b"application", b"octet-stream");
    }
    kind.clone()
}

/// A multipart must have a part: RFC 3501 9, body-type-mpart = 1*body.
fn empty_part(out: &mut Vec<u8>) {
    out.extend_from_slice(b"(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 0 0)");
}

/// type subtype params id description encoding octets
fn single(out: &mut Vec<u8>, part: &Part, kind: &ContentType) {
    write::string(out, &kind.main);
    out.push(b' ');
    write::string(out, &kind.sub);
    out.push(b' ');
    params(out, &kind.params, kind.is_main(b"text"));
    out.push(b' ');
    write::nstring(out, part.id.as_deref());
    out.push(b' ');
    write::nstring(out, part.description.as_deref());
    out.push(b' ');
    let named = !part.encoding_name.is_empty();
    write::string(out, if named { &part.encoding_name } else { b"7bit" });
    out.push(b' ');
    write::number(out, part.body.wire_octets());
}

/// SP md5 SP disposition SP language SP location
fn extension(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    write::nstring(out, part.md5.as_deref());
    disposition_to_location(out, part);
}

fn disposition_to_location(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    match &part.disposition {
        Some(disposition) => {
            out.push(b'(');
            write::string(out, &disposition.kind);
            out.push(b' ');
            params(out, &disposition.params, false);
            out.push(b')');
        }
        None => out.extend_from_slice(b"NIL"),
    }
    out.push(b' ');
    languages(out, part.language.as_deref());
    out.push(b' ');
    write::nstring(out, part.location.as_deref());
}

/// nstring / "(" string *(SP string) ")"
fn languages(out: &mut Vec<u8>, value: Option<&[u8]>) {
    let tags: Vec<&[u8]> = value
        .unwrap_or_default()
        .split(|b| *b == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|tag| !tag.is_empty())
        .collect();
    match tags.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => write::string(out, one),
        many => {
            out.push(b'(');
            for (i, tag) in many.iter().enumerate() {
                if i > 0 {
                    out.push(b' ');
                }
                write::string(out, tag);
            }
            out.push(b')');
        }
    }
}

/// "(" string SP string *(SP string SP string) ")" / nil
///
/// A parameter that was encoded by RFC 2231 goes out under `name*` with its
/// charset and language, which is what clients decode.
fn params(out: &mut Vec<u8>, params: &Params, text: bool) {
    let start = out.len();
    let mut pair = |name: &[u8], star: bool, value: &[u8]| {
        out.push(if out.len() == start { b'(' } else { b' ' });
        let mut name = name.to_vec();
        if star {
            name.push(b'*');
        }
        write::string(out, &name);
        out.push(b' ');
        write::string(out, value);
    };
    for param in &params.0 {
        pair(&param.name, param.extended, &param.value);
    }
    if text && params.get(b"charset").is_none() {
        pair(b"charset", false, b"us-ascii");
    }
    if out.len() == start {
        out.extend_from_slice(b"NIL");
    } else {
        out.push(b')');
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::mime::scan;

    fn body(message: &[u8], extended: bool) -> String {
        let mut out = Vec::new();
        let header = |e: &Extent| Ok::<_, ()>(e.of(message).to_vec());
        write(&mut out, &scan(message), extended, header).unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[test]
    fn a_plain_message() {
        let message = b"Subject: x\r\n\r\none\r\ntwo\r\n";
        assert_eq!(
            body(message, false),
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2)"
        );
        assert_eq!(
            body(message, true),
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2 NIL NIL NIL NIL)"
        );
    }

    #[test]
    fn line_ends_of_the_file_do_not_matter() {
        let crlf = body(b"Subject: x\r\n\r\none\r\ntwo\r\n", true);
        assert_eq!(body(b"Subject: x\n\none\ntwo\n", true), crlf);
    }

    const MIXED: &[u8] = b"Content-Type: multipart/mixed; boundary=\"b 1\"\r\n\
        Content-Language: en, de\r\n\r\n\
        preamble\r\n--b 1\r\n\r\nhello\r\n--b 1\r\n\
        Content-Type: image/png; name=x.png\r\n\
        Content-Transfer-Encoding: base64\r\n\
        Content-ID: <i@d>\r\n\
        Content-Disposition: attachment; filename*=utf-8''%C3%A4.png\r\n\r\nAAAA\r\n--b 1--\r\n";

    #[test]
    fn a_multipart_with_an_attachment() {
        assert_eq!(
            body(MIXED, false),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0)\
             (\"image\" \"png\" (\"name\" \"x.png\") \"<i@d>\" NIL \"base64\" 4) \"mixed\")"
        );
        assert_eq!(
            body(MIXED, true),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 5 0 NIL NIL NIL NIL)\
             (\"image\" \"png\" (\"name\" \"x.png\") \"<i@d>\" NIL \"base64\" 4 NIL \
             (\"attachment\" (\"filename*\" \"utf-8''%C3%A4.png\")) NIL NIL) \
             \"mixed\" (\"boundary\" \"b 1\") NIL (\"en\" \"de\") NIL)"
        );
    }

    #[test]
    fn an_attached_message_brings_its_envelope() {
        let message = b"Content-Type: message/rfc822\n\nSubject: inner\nFrom: a@b\n\nhi\n";
        assert_eq!(
            body(message, false),
            "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 33 \
             (NIL \"inner\" ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) ((NIL NIL \"a\" \"b\")) \
             NIL NIL NIL NIL NIL) \
             (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 4 1) 4)"
        );
    }

    #[test]
    fn a_multipart_without_parts_still_has_one() {
        let text = body(b"Content-Type: multipart/mixed; boundary=x\n\nnothing\n", false);
        assert!(
            text.starts_with("((\"text\" \"plain\"") && text.ends_with(" \"mixed\")"),
            "{text}"
        );
    }

    #[test]
    fn parentheses_always_match() {
        let mut message = Vec::new();
        for i in 0..200 {
            message.extend_from_slice(
                format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n").as_bytes(),
            );
        }
        for extended in [false, true] {
            let text = body(&message, extended);
            assert_eq!(text.matches('(').count(), text.matches(')').count());
            assert!(!text.contains("\"multipart\""));
        }
    }
}
