//! `vacation`.  RFC 5230, RFC 6131.
//!
//! All rules on when to answer are applied here; what comes out is a reply that
//! only has to be recorded and sent.

use super::super::action::{Action, Record, RecordKind, Vacation};
use super::super::check::Check;
use super::super::code::Op;
use super::super::language::{Extension, Param, Shape, Tag, Verb};
use super::super::message::{decoded, Message};
use super::super::run::{Ended, Flow, Run};
use super::deliver::{check_address, one_address};
use super::imapsieve::delivery_only;
use super::{fcc, mailbox};
use crate::proto::addr::list;

/// RFC 5230
pub const VACATION: Extension = Extension {
    name: "vacation",
    verbs: &[Verb {
        name: "vacation",
        params: &[Param::text("reason")],
        tags: &[
            Tag::of("days", Shape::Number).group("interval"),
            Tag::of("subject", Shape::Text),
            Tag::of("from", Shape::Text),
            Tag::of("addresses", Shape::List),
            Tag::new("mime"),
            Tag::of("handle", Shape::Text),
        ],
        check: check_vacation,
        ..Verb::command(run_vacation)
    }],
    ..Extension::NOTHING
};

/// RFC 6131
pub const VACATION_SECONDS: Extension = Extension {
    name: "vacation-seconds",
    implies: &["vacation"],
    tags: &[Tag::of("seconds", Shape::Number).group("interval").on(&["vacation"])],
    ..Extension::NOTHING
};

fn check_vacation(check: &mut Check<'_>, op: &mut Op) {
    check_address(check, op.tag("from"));
    mailbox::check_tags(check, op);
    let not_mime = || {
        let reason = op.arg(0)?;
        let text = reason.constants().next()?;
        // RFC 5230 4.1.2: a MIME entity begins with its header.
        let first = text.split(|b| *b == b'\n').next().unwrap_or_default();
        let empty = first.trim_ascii().is_empty();
        (!empty && !first.contains(&b':')).then_some(reason.pos)
    };
    if op.has("mime") {
        if let Some(pos) = not_mime() {
            check.error(pos, "the reason of a vacation with ':mime' must be a MIME entity");
        }
    }
}

fn run_vacation<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    delivery_only(run, op)?;
    let allowed = run.results.vacation_allowed();
    run.added(op, allowed)?;
    run.results.answered = true;
    let reason = run.string(op, 0)?.into_owned();
    let subject = run.tag(op, "subject")?.map(|text| text.into_owned());
    let from = run.tag(op, "from")?.map(|text| text.into_owned());
    let addresses = run.tag_list(op, "addresses")?.unwrap_or_default();
    let handle = run.tag(op, "handle")?.map(|text| text.into_owned());
    let fcc = fcc::copy(run, op)?;
    if let Some(bad) = from.as_ref().filter(|from| one_address(from).is_none()) {
        let bad = String::from_utf8_lossy(bad).into_owned();
        return Err(run.fault(op.pos, format!("'{bad}' is not one valid address")));
    }
    run.charge_bytes(reason.len().saturating_add(4096))?;
    let own: Vec<Vec<u8>> = addresses.iter().filter_map(|a| one_address(a)).collect();
    let sender = run.envelope.from.clone().unwrap_or_default();
    let me = match whom_it_was_for(run, &own) {
        Some(me) => me,
        None => return silent(run, op, "no address of the user is in a recipient field"),
    };
    if let Some(why) = not_to_be_answered(run, &sender, &own) {
        return silent(run, op, why);
    }
    let handle = handle.unwrap_or_else(|| {
        // RFC 5230 4.2: without a handle, what the reply says makes it the same.
        let mut key = Vec::new();
        for part in [subject.as_deref(), from.as_deref(), Some(&reason)] {
            key.extend_from_slice(part.unwrap_or_default());
            key.push(0);
        }
        key.push(u8::from(op.has("mime")));
        key
    });
    let mut key = format!("{}:", handle.len()).into_bytes();
    key.extend_from_slice(&handle);
    key.extend_from_slice(&sender.to_ascii_lowercase());
    let record =
        Record { kind: RecordKind::Vacation, key, seconds: interval(run, op), last: false };
    let answer = run.world.seen(&record);
    if record.seconds > 0 && run.answer(op, answer)? {
        return silent(run, op, "the sender has had this reply already");
    }
    let id = run.message.text(b"message-id").filter(|id| is_id_list(id));
    let vacation = Vacation {
        to: sender,
        from: from.unwrap_or(me),
        subject: subject.unwrap_or_else(|| auto_subject(run)),
        reason,
        mime: op.has("mime"),
        references: references(run, id.as_deref()),
        in_reply_to: id,
        fcc,
        record,
    };
    let added = run.results.vacation(vacation, run.settings);
    run.added(op, added)?;
    Ok(Flow::Next)
}

/// RFC 5230 4.1, RFC 6131 2: within what the site allows; `:seconds 0` answers every time.
fn interval(run: &Run<'_>, op: &Op) -> u64 {
    let set = run.settings;
    let wanted = match (op.tag_number("seconds"), op.tag_number("days")) {
        (Some(seconds), _) => seconds,
        (None, Some(days)) => days.max(1).saturating_mul(86_400),
        (None, None) => set.vacation_default_secs,
    };
    let wanted = wanted.max(set.vacation_min_secs);
    if set.vacation_max_secs > 0 {
        wanted.min(set.vacation_max_secs)
    } else {
        wanted
    }
}

/// RFC 5230 4.4: "Auto: " and the subject of the message.
fn auto_subject(run: &Run<'_>) -> Vec<u8> {
    match run.message.text(b"subject").filter(|subject| !subject.is_empty()) {
        Some(subject) => [&b"Auto: "[..], &subject].concat(),
        None => b"Automated reply".to_vec(),
    }
}

/// RFC 5322 3.6.4: the References of the message, or its In-Reply-To, and its own id.
fn references(run: &Run<'_>, id: Option<&[u8]>) -> Option<Vec<u8>> {
    let old = run.message.text(b"references").filter(|ids| is_id_list(ids));
    let old = old.or_else(|| run.message.text(b"in-reply-to").filter(|ids| is_id_list(ids)));
    match (old, id) {
        (Some(old), Some(id)) => Some([&old, id].join(&b' ')),
        (None, Some(id)) => Some(id.to_vec()),
        (old, None) => old,
    }
}

/// Ids in brackets, fit to be written into a field.
fn is_id_list(ids: &[u8]) -> bool {
    let good = |b: &u8| (0x20..0x7f).contains(b) || *b == b'\t';
    ids.starts_with(b"<") && ids.ends_with(b">") && ids.iter().all(good) && ids.len() <= 8192
}

/// The address of the user that stands in a recipient field, or `None` if there is none: then
/// the message came through a list or as a blind copy.  RFC 5230 4.5.
fn whom_it_was_for(run: &mut Run<'_>, own: &[Vec<u8>]) -> Option<Vec<u8>> {
    let fields: [&[u8]; 6] = [b"to", b"cc", b"bcc", b"resent-to", b"resent-cc", b"resent-bcc"];
    let mut mine: Vec<Vec<u8>> = own.to_vec();
    mine.extend(run.settings.user.clone());
    mine.extend(run.envelope.to.clone());
    if run.settings.vacation_original_recipient {
        mine.extend(run.envelope.orig_to.clone());
    }
    for name in fields {
        let values: Vec<Vec<u8>> = run.message.values(name).map(<[u8]>::to_vec).collect();
        for address in values.iter().flat_map(|value| list::mailboxes(value)) {
            let address = [address.local, address.domain].join(&b'@');
            let listed = mine.iter().any(|own| own.eq_ignore_ascii_case(&address));
            if listed || run.world.is_mine(&address) {
                // Not as the message writes it: it may be hostile.
                return one_address(&address);
            }
        }
    }
    if run.settings.vacation_any_recipient {
        return run.settings.user.clone().or_else(|| run.envelope.to.clone());
    }
    None
}

/// The reply is not sent; the result says why.
fn silent<'a>(run: &mut Run<'a>, op: &'a Op, why: &'static str) -> Result<Flow<'a>, Ended> {
    let action = Action::Nothing { name: "vacation", why };
    let added = run.results.push(action, run.settings);
    run.added(op, added)?;
    Ok(Flow::Next)
}

/// RFC 5230 4.6, RFC 3834 2: why this message is not answered; never nobody, oneself, lists or
/// other machines.
fn not_to_be_answered(run: &mut Run<'_>, sender: &[u8], own: &[Vec<u8>]) -> Option<&'static str> {
    if one_address(sender).is_none() {
        return Some("there is no sender to answer");
    }
    if is_machine(sender) {
        return Some("the sender is no person");
    }
    let me = [run.settings.user.clone(), run.envelope.to.clone()];
    let to_me = |own: &Vec<u8>| own.eq_ignore_ascii_case(sender);
    if own.iter().chain(me.iter().flatten()).any(to_me) || run.world.is_mine(sender) {
        return Some("the sender is the user");
    }
    let message = &run.message;
    let lists: [&[u8]; 7] = [
        b"list-id",
        b"list-help",
        b"list-subscribe",
        b"list-unsubscribe",
        b"list-post",
        b"list-owner",
        b"list-archive",
    ];
    if lists.iter().any(|name| message.has(name)) {
        return Some("the message is from a mailing list");
    }
    if is_automatic(message) {
        return Some("the message is an automatic one");
    }
    let bulk = message.values(b"precedence").map(decoded).any(|value| {
        ["bulk", "junk", "list"].iter().any(|word| value.eq_ignore_ascii_case(word.as_bytes()))
    });
    if bulk {
        return Some("the message is bulk mail");
    }
    let suppressed = message.values(b"x-auto-response-suppress").map(decoded).any(|value| {
        let word = |w: &[u8]| {
            let w = w.trim_ascii();
            w.eq_ignore_ascii_case(b"all") || w.eq_ignore_ascii_case(b"oof")
        };
        value.split(|b| *b == b',').any(word)
    });
    if suppressed {
        return Some("the message asks for no automatic answers");
    }
    // A Return-Path that an earlier delivery has left.
    let null_path = message.values(b"return-path").map(decoded).any(|value| value == b"<>");
    null_path.then_some("the message has a null return path")
}

/// True if a machine has sent it by itself: Auto-Submitted is there and is not "no".
///
/// What follows the word is a parameter or a comment.  RFC 3834 5.
pub fn is_automatic(message: &Message) -> bool {
    message.values(b"auto-submitted").map(decoded).any(|value| {
        let ends = |b: &u8| matches!(b, b';' | b' ' | b'\t' | b'(');
        let word = value.split(ends).next().unwrap_or_default();
        !word.eq_ignore_ascii_case(b"no")
    })
}

/// Local parts behind which no person is.  RFC 5230 4.6.
fn is_machine(sender: &[u8]) -> bool {
    let at = memchr::memrchr(b'@', sender).unwrap_or(sender.len());
    let local = sender.get(..at).unwrap_or_default().to_ascii_lowercase();
    // A detail does not make it somebody else.
    let user = local.split(|b| *b == b'+').next().unwrap_or_default();
    let known: [&[u8]; 12] = [
        b"mailer-daemon",
        b"mailerdaemon",
        b"mailer",
        b"daemon",
        b"listserv",
        b"majordomo",
        b"noreply",
        b"no-reply",
        b"no_reply",
        b"donotreply",
        b"do-not-reply",
        b"do_not_reply",
    ];
    known.contains(&user)
        || local.starts_with(b"owner-")
        || local.ends_with(b"-request")
        || local.ends_with(b"-owner")
        || local.ends_with(b"-bounces")
}
