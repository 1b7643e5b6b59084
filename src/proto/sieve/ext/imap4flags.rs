//! Flags: `setflag`, `addflag`, `removeflag`, `hasflag`, `:flags`.  RFC 5232.
//!
//! Without a variable's name they work on the internal variable, which is what
//! keep and fileinto set; in a variable flags are words with blanks between.

use std::borrow::Cow;

use super::super::check::Check;
use super::super::code::{Noted, Op};
use super::super::compare::{MatchType, Matcher};
use super::super::language::{Extension, Param, Shape, Tag, Verb, MATCHES};
use super::super::run::{Ended, Flow, Run};
use super::variables::writable;
use crate::proto::limits;

/// The extension.
pub const IMAP4FLAGS: Extension = Extension {
    name: "imap4flags",
    verbs: &[
        Verb { name: "setflag", ..change(run_setflag) },
        Verb { name: "addflag", ..change(run_addflag) },
        Verb { name: "removeflag", ..change(run_removeflag) },
        Verb {
            name: "hasflag",
            params: &[Param::list("variable list").or_none(), Param::list("flags")],
            classes: &[MATCHES],
            check: check_variables,
            ..Verb::test(test_hasflag)
        },
    ],
    tags: &[
        Tag::of("flags", Shape::List).on(&["keep", "fileinto"]),
        Tag::of("flags", Shape::List).with("fcc").on(&["vacation", "notify"]),
    ],
    ..Extension::NOTHING
};

const PARAMS: &[Param] = &[Param::text("variable name").or_none(), Param::list("flags")];

const fn change(run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<Flow<'a>, Ended>) -> Verb {
    Verb { params: PARAMS, check: check_variables, ..Verb::command(run) }
}

fn check_variables(check: &mut Check<'_>, op: &mut Op) {
    let Some(given) = op.arg(0) else { return };
    let pos = given.pos;
    if !check.has("variables") {
        let text = format!("{} with a variable needs require \"variables\"", op.verb.title());
        return check.error(pos, text);
    }
    if given.constants().count() < given.texts().len() {
        return check.error(pos, "the name of a variable must be constant");
    }
    let names: Vec<Vec<u8>> = given.constants().map(<[u8]>::to_vec).collect();
    let variables = names.iter().filter_map(|name| writable(check, pos, name));
    op.noted = Noted::Variables(variables.collect());
}

/// RFC 5232 3.1
fn run_setflag<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    changed(run, op, |_, new| new)
}

/// RFC 5232 3.2
fn run_addflag<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    changed(run, op, |mut old, new| {
        old.extend(new);
        old
    })
}

/// RFC 5232 3.3
fn run_removeflag<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    changed(run, op, |mut old, new| {
        old.retain(|flag| !new.iter().any(|gone| gone.eq_ignore_ascii_case(flag)));
        old
    })
}

type Change = fn(Vec<Vec<u8>>, Vec<Vec<u8>>) -> Vec<Vec<u8>>;

fn changed<'a>(run: &mut Run<'a>, op: &'a Op, change: Change) -> Result<Flow<'a>, Ended> {
    let given = flags(&run.list(op, 1)?);
    run.charge_bytes(given.iter().map(Vec::len).sum::<usize>().saturating_mul(8))?;
    match &op.noted {
        Noted::Variables(variables) => {
            for variable in variables {
                let old = flags(&[Cow::Owned(run.variable(variable))]);
                charge(run, old.len(), given.len())?;
                let new = flags_of(change(old, given.clone()));
                run.set_variable(variable, new.join(&b' '));
            }
        }
        _ => {
            charge(run, run.results.flags.len(), given.len())?;
            let old = std::mem::take(&mut run.results.flags);
            run.results.flags = flags_of(change(old, given));
        }
    }
    Ok(Flow::Next)
}

/// Charges for comparing each flag with each.
fn charge(run: &mut Run<'_>, old: usize, given: usize) -> Result<(), Ended> {
    let most = limits::SIEVE_FLAGS.size();
    let all = old.saturating_add(given);
    run.charge_bytes(all.saturating_mul(all.min(most)))
}

/// RFC 5232 4
fn test_hasflag<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let values = match &op.noted {
        Noted::Variables(variables) => {
            let mut all = Vec::new();
            for variable in variables {
                all.extend(flags(&[Cow::Owned(run.variable(variable))]));
            }
            all
        }
        _ => run.results.flags.clone(),
    };
    let keys = run.list(op, 1)?;
    let keys = match op.matching.kind {
        MatchType::Count(_) | MatchType::Value(_) | MatchType::Regex => keys,
        _ => words(&keys).map(|word| Cow::Owned(word.to_vec())).collect(),
    };
    let mut matcher = Matcher::of_keys(op, keys);
    for value in values {
        if matcher.value(run, &value)? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

/// The flags that keep or fileinto sets: those of the tag, or the internal variable.  RFC 5232 5.
pub fn for_action<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Vec<Vec<u8>>, Ended> {
    match run.tag_list(op, "flags")? {
        Some(given) => Ok(flags(&given)),
        None => Ok(run.results.flags.clone()),
    }
}

/// The flags in a list of strings, each of which may hold several, each flag once.
pub fn flags(given: &[Cow<'_, [u8]>]) -> Vec<Vec<u8>> {
    flags_of(words(given).map(<[u8]>::to_vec).collect())
}

fn words<'t>(given: &'t [Cow<'_, [u8]>]) -> impl Iterator<Item = &'t [u8]> {
    let split = |text: &'t Cow<'_, [u8]>| text.split(|b| b.is_ascii_whitespace());
    given.iter().flat_map(split).filter(|word| !word.is_empty())
}

/// Drops what is no flag, and what stands there already.
fn flags_of(given: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for flag in given {
        let known = out.iter().any(|other| other.eq_ignore_ascii_case(&flag));
        if !known && is_flag(&flag) && out.len() < limits::SIEVE_FLAGS.size() {
            out.push(flag);
        }
    }
    out
}

/// flag-keyword, or one of the system flags; `\Recent` cannot be set.  RFC 5232 2.
fn is_flag(flag: &[u8]) -> bool {
    if flag.starts_with(b"\\") {
        let system: [&[u8]; 5] = [b"\\Answered", b"\\Flagged", b"\\Deleted", b"\\Seen", b"\\Draft"];
        return system.iter().any(|s| s.eq_ignore_ascii_case(flag));
    }
    let atom = |b: &u8| *b > 0x20 && *b < 0x7f && !b"(){%*\"\\]".contains(b);
    flag.len() <= limits::KEYWORD.size() && flag.iter().all(atom)
}
