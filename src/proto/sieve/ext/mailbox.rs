//! Mailboxes and what is known of them: `mailboxexists` and `:create`,
//! metadata, special use, mailbox ids.  RFC 5490, RFC 8579, RFC 9042.

use super::super::action::Store;
use super::super::check::Check;
use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Run};
use super::deliver::mailbox_name;

const FILEINTO: &[&str] = &["fileinto"];
const FCC: &[&str] = &["vacation", "notify"];

/// RFC 5490 3.1 and 3.2
pub const MAILBOX: Extension = Extension {
    name: "mailbox",
    verbs: &[Verb {
        name: "mailboxexists",
        params: &[Param::list("mailbox names")],
        check: |check, op| check_name(check, op, 0),
        ..Verb::test(test_mailboxexists)
    }],
    tags: &[Tag::new("create").on(FILEINTO), Tag::new("create").with("fcc").on(FCC)],
    ..Extension::NOTHING
};

/// RFC 5490 3.3 and 3.4
pub const MBOXMETADATA: Extension = Extension {
    name: "mboxmetadata",
    verbs: &[
        Verb {
            name: "metadata",
            params: &[
                Param::text("mailbox"),
                Param::text("annotation name"),
                Param::list("key list"),
            ],
            classes: &[MATCHES],
            check: |check, op| {
                check_name(check, op, 0);
                check_annotation(check, op, 1);
            },
            ..Verb::test(test_metadata)
        },
        Verb {
            name: "metadataexists",
            params: &[Param::text("mailbox"), Param::list("annotation names")],
            check: |check, op| {
                check_name(check, op, 0);
                check_annotation(check, op, 1);
            },
            ..Verb::test(test_metadataexists)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5490 4
pub const SERVERMETADATA: Extension = Extension {
    name: "servermetadata",
    verbs: &[
        Verb {
            name: "servermetadata",
            params: &[Param::text("annotation name"), Param::list("key list")],
            classes: &[MATCHES],
            check: |check, op| check_annotation(check, op, 0),
            ..Verb::test(test_servermetadata)
        },
        Verb {
            name: "servermetadataexists",
            params: &[Param::list("annotation names")],
            check: |check, op| check_annotation(check, op, 0),
            ..Verb::test(test_servermetadataexists)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 8579
pub const SPECIAL_USE: Extension = Extension {
    name: "special-use",
    verbs: &[Verb {
        name: "specialuse_exists",
        params: &[Param::text("mailbox").or_none(), Param::list("special-use attributes")],
        check: check_specialuse,
        ..Verb::test(test_specialuse_exists)
    }],
    tags: &[
        Tag::of("specialuse", Shape::Text).on(FILEINTO),
        Tag::of("specialuse", Shape::Text).with("fcc").on(FCC),
    ],
    ..Extension::NOTHING
};

/// RFC 9042
pub const MAILBOXID: Extension = Extension {
    name: "mailboxid",
    verbs: &[Verb {
        name: "mailboxidexists",
        params: &[Param::list("mailbox ids")],
        ..Verb::test(test_mailboxidexists)
    }],
    tags: &[
        Tag::of("mailboxid", Shape::Text).on(FILEINTO),
        Tag::of("mailboxid", Shape::Text).with("fcc").on(FCC),
    ],
    ..Extension::NOTHING
};

/// How the tags of fileinto, or those beside `:fcc`, choose the mailbox.
pub fn target<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Store, Ended> {
    let special_use = run.tag(op, "specialuse")?.map(|text| text.into_owned());
    if let Some(bad) = special_use.as_ref().filter(|name| !is_attribute(name)) {
        let bad = String::from_utf8_lossy(bad).into_owned();
        return Err(run.fault(op.pos, format!("'{bad}' is no special-use attribute")));
    }
    Ok(Store {
        mailbox_id: run.tag(op, "mailboxid")?.map(|text| text.into_owned()),
        special_use,
        create: op.has("create"),
        ..Store::default()
    })
}

/// Reports constant tags that cannot be right.
pub fn check_tags(check: &mut Check<'_>, op: &mut Op) {
    if op.has("specialuse") && op.has("mailboxid") {
        // RFC 9042 4.1
        check.error(op.pos, "':specialuse' and ':mailboxid' exclude each other");
    }
    let Some(given) = op.tag("specialuse") else { return };
    if let Some(bad) = given.constants().find(|name| !is_attribute(name)) {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("'{bad}' is no special-use attribute"));
    }
}

/// RFC 5490 3.1
fn test_mailboxexists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for name in run.list(op, 0)? {
        let answer = run.world.mailbox_exists(&name);
        if mailbox_name(&name).is_err() || !run.answer(op, answer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 5490 3.3
fn test_metadata<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let mailbox = run.string(op, 0)?;
    let name = run.string(op, 1)?;
    let mut matcher = Matcher::new(run, op, 2)?;
    let answer = run.world.metadata(Some(&mailbox), &name);
    if let Some(value) = run.answer(op, answer)? {
        if matcher.value(run, &value)? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

/// RFC 5490 3.4
fn test_metadataexists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let mailbox = run.string(op, 0)?;
    for name in run.list(op, 1)? {
        let answer = run.world.metadata(Some(&mailbox), &name);
        if run.answer(op, answer)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 5490 4.1
fn test_servermetadata<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let name = run.string(op, 0)?;
    let mut matcher = Matcher::new(run, op, 1)?;
    let answer = run.world.metadata(None, &name);
    if let Some(value) = run.answer(op, answer)? {
        if matcher.value(run, &value)? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

/// RFC 5490 4.2
fn test_servermetadataexists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for name in run.list(op, 0)? {
        let answer = run.world.metadata(None, &name);
        if run.answer(op, answer)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 8579 3
fn test_specialuse_exists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let mailbox = match op.arg(0) {
        Some(_) => Some(run.string(op, 0)?),
        None => None,
    };
    for attribute in run.list(op, 1)? {
        if !is_attribute(&attribute) {
            return Ok(false);
        }
        let answer = run.world.special_use_exists(mailbox.as_deref(), &attribute);
        if !run.answer(op, answer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 9042 4
fn test_mailboxidexists<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for id in run.list(op, 0)? {
        let answer = run.world.mailbox_id_exists(&id);
        if !run.answer(op, answer)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn check_name(check: &mut Check<'_>, op: &mut Op, param: usize) {
    let Some(given) = op.arg(param) else { return };
    if let Some(why) = given.constants().find_map(|name| mailbox_name(name).err()) {
        check.warning(given.pos, why);
    }
}

fn check_specialuse(check: &mut Check<'_>, op: &mut Op) {
    check_name(check, op, 0);
    let Some(given) = op.arg(1) else { return };
    if let Some(bad) = given.constants().find(|name| !is_attribute(name)) {
        let bad = String::from_utf8_lossy(bad);
        check.error(given.pos, format!("'{bad}' is no special-use attribute"));
    }
}

/// Annotation names begin with /private/ or /shared/.  RFC 5464 3.2.
fn check_annotation(check: &mut Check<'_>, op: &mut Op, param: usize) {
    let Some(given) = op.arg(param) else { return };
    let good = |name: &&[u8]| {
        let name = name.to_ascii_lowercase();
        let known = name.starts_with(b"/private/") || name.starts_with(b"/shared/");
        known
            && !name.ends_with(b"/")
            && memchr::memmem::find(&name, b"//").is_none()
            && name.iter().all(|b| *b > 0x1f && *b < 0x7f && !b"*%".contains(b))
    };
    if let Some(bad) = given.constants().find(|name| !good(name)) {
        let bad = String::from_utf8_lossy(bad);
        check.warning(given.pos, format!("'{bad}' is no name of an annotation"));
    }
}

/// use-attr = "\" atom.  RFC 6154 6.
fn is_attribute(name: &[u8]) -> bool {
    let Some(atom) = name.strip_prefix(b"\\") else { return false };
    !atom.is_empty() && atom.iter().all(|b| crate::proto::chars::is_token(*b))
}
