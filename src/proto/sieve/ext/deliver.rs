//! Where the message goes: `keep`, `discard`, `fileinto`, `redirect`, and `:copy`.
//! RFC 5228 4, RFC 3894.

use super::super::action::{Action, Redirect, Store};
use super::super::check::Check;
use super::super::code::{Given, Op};
use super::super::compose::REDIRECTED_FROM;
use super::super::language::{Extension, Param, Tag, Verb};
use super::super::run::{Ended, Flow, Run};
use super::{imap4flags, mailbox, redirect};
use crate::proto::addr::list::{self, Entry};
use crate::proto::limits;

/// What is always there.
pub const CORE: Extension = Extension {
    verbs: &[
        Verb { name: "keep", ..Verb::command(run_keep) },
        Verb { name: "discard", ..Verb::command(run_discard) },
        Verb {
            name: "redirect",
            params: &[Param::text("address")],
            check: check_redirect,
            ..Verb::command(run_redirect)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5228 4.1
pub const FILEINTO: Extension = Extension {
    name: "fileinto",
    verbs: &[Verb {
        name: "fileinto",
        params: &[Param::text("mailbox")],
        check: check_fileinto,
        ..Verb::command(run_fileinto)
    }],
    ..Extension::NOTHING
};

/// RFC 3894
pub const COPY: Extension = Extension {
    name: "copy",
    tags: &[Tag::new("copy").on(&["fileinto", "redirect"])],
    ..Extension::NOTHING
};

/// RFC 5228 4.3
fn run_keep<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let flags = imap4flags::for_action(run, op)?;
    let store = Store { flags, message: run.message.version(), ..Store::default() };
    let added = run.results.store(store, run.settings);
    run.added(op, added)?;
    run.results.keep_cancelled = true;
    Ok(Flow::Next)
}

/// RFC 5228 4.4
fn run_discard<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let added = run.results.discard(run.settings);
    run.added(op, added)?;
    Ok(Flow::Next)
}

/// RFC 5228 4.1
fn run_fileinto<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let name = run.string(op, 0)?;
    if let Err(why) = mailbox_name(&name) {
        return Err(run.fault(op.pos, why));
    }
    let store = Store {
        mailbox: Some(name.into_owned()),
        flags: imap4flags::for_action(run, op)?,
        message: run.message.version(),
        ..mailbox::target(run, op)?
    };
    let added = run.results.store(store, run.settings);
    run.added(op, added)?;
    if !op.has("copy") {
        run.results.keep_cancelled = true;
    }
    Ok(Flow::Next)
}

fn check_fileinto(check: &mut Check<'_>, op: &mut Op) {
    let bad = |given: &Given| Some((given.pos, mailbox_name(given.constants().next()?).err()?));
    if let Some((pos, why)) = op.arg(0).and_then(bad) {
        check.error(pos, why);
    }
    mailbox::check_tags(check, op);
}

/// The name of a mailbox: UTF-8 without controls.  RFC 5228 4.1, RFC 5198.
pub fn mailbox_name(name: &[u8]) -> Result<(), String> {
    let shown = || String::from_utf8_lossy(name).into_owned();
    if name.is_empty() {
        return Err("a mailbox without a name".into());
    }
    if name.len() > limits::MAILBOX_NAME.size() {
        return Err(format!("a mailbox name of more than {} octets", limits::MAILBOX_NAME.default));
    }
    match std::str::from_utf8(name) {
        Err(_) => Err(format!("the mailbox name '{}' is not UTF-8", shown())),
        Ok(name) if name.chars().any(char::is_control) => {
            Err("a mailbox name with a control character".into())
        }
        Ok(_) => Ok(()),
    }
}

/// RFC 5228 4.2; RFC 6134 2.5
fn run_redirect<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let given = run.string(op, 0)?;
    if has_come_round(run) {
        let why = "the message has been redirected from here before";
        let added = run.results.push(Action::Nothing { name: "redirect", why }, run.settings);
        run.added(op, added)?;
        return Ok(Flow::Next);
    }
    let addresses = if op.has("list") {
        let answer = run.world.list_members(&given, run.settings.max_redirects);
        run.answer(op, answer)?
    } else {
        vec![given.into_owned()]
    };
    for given in addresses {
        let Some(to) = one_address(&given) else {
            let shown = String::from_utf8_lossy(&given).into_owned();
            return Err(run.fault(op.pos, format!("'{shown}' is no address to redirect to")));
        };
        let from = run.settings.redirect_from.resolve(&run.envelope, run.settings);
        let message = run.message.version();
        let owner = run.settings.user.clone().or_else(|| run.envelope.to.clone());
        let mut action = Redirect { to, from, owner, message, ..Redirect::default() };
        redirect::parameters(run, op, &mut action)?;
        let added = run.results.redirect(action, run.settings);
        run.added(op, added)?;
    }
    if !op.has("copy") {
        run.results.keep_cancelled = true;
    }
    Ok(Flow::Next)
}

/// RFC 5228 4.2: a message that bears the mark of an earlier redirect of this user goes in a
/// circle; it is kept.
fn has_come_round(run: &Run<'_>) -> bool {
    let me = [run.settings.user.as_ref(), run.envelope.to.as_ref()];
    run.message
        .decoded_values(REDIRECTED_FROM.as_bytes())
        .iter()
        .any(|from| me.iter().flatten().any(|me| !me.is_empty() && from.eq_ignore_ascii_case(me)))
}

fn check_redirect(check: &mut Check<'_>, op: &mut Op) {
    if !op.has("list") {
        check_address(check, op.arg(0));
    }
    redirect::check_tags(check, op);
}

/// Reports a constant that should be one address and is not.
pub fn check_address(check: &mut Check<'_>, given: Option<&Given>) {
    let Some(given) = given else { return };
    if let Some(bad) = given.constants().find(|text| one_address(text).is_none()) {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("'{bad}' is not one valid address"));
    }
}

/// The addr-spec of a text that is exactly one address, with or without a name.  RFC 5228 2.4.2.3.
///
/// Stricter than reading the fields of a message: nothing may be left over.  The name may be
/// UTF-8, the address may not: what we send is not SMTPUTF8.
pub fn one_address(text: &[u8]) -> Option<Vec<u8>> {
    let text = text.trim_ascii();
    let plain = text.iter().all(|b| (*b >= 0x20 && *b != 0x7f) || *b == b'\t');
    std::str::from_utf8(text).ok()?;
    let entries = list::parse(text);
    let [Entry::Mailbox(address)] = entries.as_slice() else { return None };
    let spec = match memchr::memrchr(b'<', text) {
        Some(at) => text.get(at.saturating_add(1)..)?.strip_suffix(b">")?.trim_ascii(),
        None => text,
    };
    let at = memchr::memrchr(b'@', spec)?;
    let (local, domain) = spec.split_at_checked(at)?;
    let domain = domain.get(1..)?.trim_ascii();
    let local = local.trim_ascii();
    let quoted = local.starts_with(b"\"") && local.ends_with(b"\"") && local.len() > 1;
    let word = |b: &u8| crate::proto::chars::is_atext(*b) || *b == b'.';
    let literal = domain.starts_with(b"[") && domain.ends_with(b"]");
    let labels = || {
        let label = |l: &[u8]| !l.is_empty() && l.iter().all(|b| crate::proto::chars::is_ldh(*b));
        domain.split(|b| *b == b'.').all(label)
    };
    let good = plain
        && spec.is_ascii()
        && !local.is_empty()
        && (quoted || local.iter().all(word))
        && (literal || labels())
        && !address.domain.is_empty()
        && text.len() <= limits::SMTP_PATH.size();
    // Quotes that change nothing go: "joe"@example.org is joe@example.org.  RFC 5321 4.1.2.
    let bare = local.get(1..local.len().saturating_sub(1)).filter(|_| quoted).unwrap_or_default();
    let atoms = bare.split(|b| *b == b'.').all(|a| !a.is_empty() && a.iter().all(word));
    let local = if quoted && atoms { bare } else { local };
    good.then(|| [local, b"@", domain].concat())
}
