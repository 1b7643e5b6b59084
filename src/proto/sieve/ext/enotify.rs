//! Notifications: `notify`, `valid_notify_method`, `notify_method_capability`,
//! `:encodeurl`.  RFC 5435, with the mailto method of RFC 5436.

use super::super::action::{Action, Notify};
use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Flow, Run};
use super::deliver::{check_address, one_address};
use super::vacation::is_automatic;
use super::variables::MODIFIED;
use super::{fcc, mailbox};

/// The extension.
pub const ENOTIFY: Extension = Extension {
    name: "enotify",
    verbs: &[
        Verb {
            name: "notify",
            params: &[Param::text("method")],
            tags: &[
                Tag::of("from", Shape::Text),
                Tag::of("importance", Shape::Text),
                Tag::of("options", Shape::List),
                Tag::of("message", Shape::Text),
            ],
            check: check_notify,
            ..Verb::command(run_notify)
        },
        Verb {
            name: "valid_notify_method",
            params: &[Param::list("notification uris")],
            ..Verb::test(test_valid)
        },
        Verb {
            name: "notify_method_capability",
            params: &[
                Param::text("notification uri"),
                Param::text("notification capability"),
                Param::list("key list"),
            ],
            classes: &[MATCHES],
            ..Verb::test(test_capability)
        },
    ],
    tags: &[Tag::new("encodeurl").on(MODIFIED)],
    ..Extension::NOTHING
};

fn check_notify(check: &mut Check<'_>, op: &mut Op) {
    check_address(check, op.tag("from"));
    mailbox::check_tags(check, op);
    if let Some(given) = op.tag("importance") {
        if given.constants().any(|text| !matches!(text, b"1" | b"2" | b"3")) {
            check.error(given.pos, "':importance' is \"1\", \"2\" or \"3\"");
        }
    }
    let Some(given) = op.arg(0) else { return };
    if let Some(why) = given.constants().find_map(|uri| Mailto::parse(uri).err()) {
        check.error(given.pos, why);
    }
    if let Some(given) = op.tag("options") {
        if given.constants().any(|option| !is_option(option)) {
            check.error(given.pos, "an option of notify has the form name=value");
        }
        check.warning(given.pos, "the mailto method has no options");
    }
}

/// RFC 5435 3.6: `<optionname>=<value>`.
fn is_option(option: &[u8]) -> bool {
    let name = option.split(|b| *b == b'=').next().unwrap_or_default();
    option.contains(&b'=')
        && !option.iter().any(u8::is_ascii_control)
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(b))
}

/// RFC 5435 3
fn run_notify<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let method = run.string(op, 0)?.into_owned();
    let from = run.tag(op, "from")?.map(|text| text.into_owned());
    let message = run.tag(op, "message")?.map(|text| text.into_owned());
    let importance = match run.tag(op, "importance")?.as_deref() {
        None => 2,
        Some(b"1") => 1,
        Some(b"2") => 2,
        Some(b"3") => 3,
        Some(_) => return Err(run.fault(op.pos, "':importance' is \"1\", \"2\" or \"3\"")),
    };
    let fcc = fcc::copy(run, op)?;
    let uri = match Mailto::parse(&method) {
        Ok(uri) => uri,
        Err(why) => return Err(run.fault(op.pos, why)),
    };
    if let Some(bad) = from.as_ref().filter(|from| one_address(from).is_none()) {
        let bad = String::from_utf8_lossy(bad).into_owned();
        return Err(run.fault(op.pos, format!("'{bad}' is not one valid address")));
    }
    run.charge_bytes(method.len().saturating_add(4096))?;
    // RFC 5436 2.7.1: an automatic message is not notified of, or two machines may talk for ever.
    if is_automatic(&run.message) || uri.to.is_empty() && uri.cc.is_empty() {
        return Ok(Flow::Next);
    }
    let number = run.results.actions.iter().filter(|a| matches!(a, Action::Notify(_))).count();
    if number >= run.settings.max_notifies {
        let max = run.settings.max_notifies;
        return Err(run.fault(op.pos, format!("more than {max} notify actions")));
    }
    // RFC 5436 2.3: the message, or the subject of the URI, or one that tells whose mail it is.
    let sender = run.message.text(b"from").unwrap_or_default();
    let about = run.message.text(b"subject").unwrap_or_default();
    let subject = message.or(uri.subject).unwrap_or_else(|| {
        if sender.is_empty() {
            b"New message".to_vec()
        } else {
            [&b"New message from "[..], &sender].concat()
        }
    });
    let body = uri.body.unwrap_or_else(|| {
        let mut body = b"Notification of new message:\r\n\r\nFrom: ".to_vec();
        body.extend_from_slice(&sender);
        body.extend_from_slice(b"\r\nSubject: ");
        body.extend_from_slice(&about);
        body.extend_from_slice(b"\r\n");
        body
    });
    let notify = Notify {
        method,
        to: uri.to,
        cc: uri.cc,
        fields: uri.fields,
        from,
        importance,
        subject,
        body,
        envelope_from: run.settings.notify_from.resolve(&run.envelope, run.settings),
        owner: run.settings.user.clone().or_else(|| run.envelope.to.clone()),
        fcc,
    };
    // The same twice is once.
    if run.results.actions.contains(&Action::Notify(notify.clone())) {
        return Ok(Flow::Next);
    }
    let added = run.results.push(Action::Notify(notify), run.settings);
    run.added(op, added)?;
    Ok(Flow::Next)
}

/// RFC 5435 4
fn test_valid<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    Ok(run.list(op, 0)?.iter().all(|uri| Mailto::parse(uri).is_ok()))
}

/// RFC 5435 5: of "online" nothing can be known for mail.
fn test_capability<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let uri = run.string(op, 0)?;
    let capability = run.string(op, 1)?;
    let mut matcher = Matcher::new(run, op, 2)?;
    let known = Mailto::parse(&uri).is_ok() && capability.eq_ignore_ascii_case(b"online");
    if known && matcher.value(run, b"maybe")? {
        return Ok(true);
    }
    matcher.finish(run)
}

/// A mailto URI.  RFC 6068 2, RFC 5436 2.1.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mailto {
    /// Recipients.
    pub to: Vec<Vec<u8>>,
    /// Further ones.
    pub cc: Vec<Vec<u8>>,
    /// The subject, if given.
    pub subject: Option<Vec<u8>>,
    /// The text, if given.
    pub body: Option<Vec<u8>>,
    /// Other fields that may be set, in order.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Most recipients of one URI.
const MAX_RECIPIENTS: usize = 8;
/// Most other fields of one URI.
const MAX_FIELDS: usize = 16;

impl Mailto {
    /// Reads a URI; the error is words for the script's author.
    pub fn parse(uri: &[u8]) -> Result<Mailto, String> {
        let colon = memchr::memchr(b':', uri).ok_or("a notification method is a URI")?;
        let (scheme, rest) = uri.split_at_checked(colon).unwrap_or((uri, &[]));
        if !scheme.eq_ignore_ascii_case(b"mailto") {
            let scheme = String::from_utf8_lossy(scheme);
            return Err(format!("the notification method '{scheme}' is not supported"));
        }
        let mut halves = rest.get(1..).unwrap_or_default().splitn(2, |b| *b == b'?');
        let mut mailto = Mailto::default();
        let to = halves.next().unwrap_or_default();
        recipients(&mut mailto.to, to)?;
        for header in halves.next().unwrap_or_default().split(|b| *b == b'&') {
            if !header.is_empty() {
                mailto.header(header)?;
            }
        }
        // Whoever is among the recipients needs no copy.
        let Mailto { to, cc, .. } = &mut mailto;
        cc.retain(|copy| !to.iter().any(|other| other.eq_ignore_ascii_case(copy)));
        Ok(mailto)
    }

    /// hfield = hfname "=" hfvalue
    fn header(&mut self, header: &[u8]) -> Result<(), String> {
        let mut halves = header.splitn(2, |b| *b == b'=');
        let name = unescaped(halves.next().unwrap_or_default())?;
        let raw = halves.next().ok_or("a field of the mailto URI has no '='")?;
        let value = unescaped(raw)?;
        let lower = name.to_ascii_lowercase();
        match lower.as_slice() {
            b"to" => return recipients(&mut self.to, raw),
            b"cc" => return recipients(&mut self.cc, raw),
            b"body" => self.body = Some(value),
            _ if value.iter().any(|b| matches!(b, b'\r' | b'\n' | 0)) => {
                return Err("a field of the mailto URI with a line end".into());
            }
            b"subject" => self.subject = Some(value),
            // RFC 5436 2.1: these are ignored.
            b"bcc" | b"from" | b"sender" | b"date" | b"message-id" | b"received"
            | b"auto-submitted" | b"reply-to" | b"mime-version" | b"return-path" => {}
            _ if lower.starts_with(b"resent-") || lower.starts_with(b"content-") => {}
            _ if !super::header::is_field_name(&name) => {
                return Err("a field of the mailto URI has no valid name".into());
            }
            _ if self.fields.len() >= MAX_FIELDS => {
                return Err("too many fields in the mailto URI".into());
            }
            _ => self.fields.push((name, value)),
        }
        Ok(())
    }
}

/// to = addr-spec *("," addr-spec), each percent-encoded.
fn recipients(into: &mut Vec<Vec<u8>>, list: &[u8]) -> Result<(), String> {
    let list = unescaped(list)?;
    for text in list.split(|b| *b == b',').filter(|one| !one.trim_ascii().is_empty()) {
        let shown = || String::from_utf8_lossy(text).into_owned();
        let address = one_address(text)
            .ok_or_else(|| format!("'{}' in the mailto URI is no address", shown()))?;
        if !into.iter().any(|other| other.eq_ignore_ascii_case(&address)) {
            if into.len() >= MAX_RECIPIENTS {
                return Err(format!("more than {MAX_RECIPIENTS} recipients in the mailto URI"));
            }
            into.push(address);
        }
    }
    Ok(())
}

/// pct-encoded = "%" HEXDIG HEXDIG; what may not stand in a URI is an error.
fn unescaped(text: &[u8]) -> Result<Vec<u8>, String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.iter();
    while let Some(b) = bytes.next() {
        match b {
            b'%' => {
                let digit = |b: Option<&u8>| char::from(*b?).to_digit(16);
                match (digit(bytes.next()), digit(bytes.next())) {
                    (Some(high), Some(low)) => {
                        out.extend(u8::try_from(high.saturating_mul(16).saturating_add(low)));
                    }
                    _ => return Err("a '%' in the URI without two hexadecimal digits".into()),
                }
            }
            b if b.is_ascii_graphic() && !b"\"<>[]\\^`{|}#".contains(b) => out.push(*b),
            _ => return Err("a character that has no place in a URI".into()),
        }
    }
    Ok(out)
}
