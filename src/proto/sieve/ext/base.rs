//! Control commands and the tests that need no message.  RFC 5228 3, 5.
//!
//! `require`, `if`, `elsif`, `else`, `stop`; `true`, `false`, `not`, `allof`,
//! `anyof`, `size`.

use super::super::check::{truth, Check};
use super::super::code::{Noted, Op};
use super::super::language::{Extension, Param, Tag, Tests, Verb};
use super::super::run::{Ended, Flow, Frame, Run};

/// What is always there.
pub const CORE: Extension = Extension {
    verbs: &[
        Verb {
            name: "require",
            params: &[Param::list("capabilities")],
            check: check_require,
            ..Verb::command(|_, _| Ok(Flow::Next))
        },
        Verb { name: "if", tests: Tests::One, ..Verb::block(run_if) },
        Verb { name: "elsif", tests: Tests::One, check: check_elsif, ..Verb::block(run_elsif) },
        Verb { name: "else", check: check_elsif, ..Verb::block(run_else) },
        Verb { name: "stop", ..Verb::command(|_, _| Ok(Flow::Stop)) },
        Verb { name: "true", check: |_, op| note(op, true), ..Verb::test(|_, _| Ok(true)) },
        Verb { name: "false", check: |_, op| note(op, false), ..Verb::test(|_, _| Ok(false)) },
        Verb { name: "not", tests: Tests::One, check: check_not, ..Verb::test(test_not) },
        Verb {
            name: "allof",
            tests: Tests::ListUntil(false),
            check: |_, op| check_list(op, false),
            ..Verb::test(test_allof)
        },
        Verb {
            name: "anyof",
            tests: Tests::ListUntil(true),
            check: |_, op| check_list(op, true),
            ..Verb::test(test_anyof)
        },
        Verb {
            name: "size",
            tags: &[Tag::new("over").group("size"), Tag::new("under").group("size")],
            params: &[Param::number("limit")],
            check: check_size,
            ..Verb::test(test_size)
        },
    ],
    ..Extension::NOTHING
};

/// RFC 5228 2.4.2.4: what it does is done when strings are compiled.
pub const ENCODED_CHARACTER: Extension =
    Extension { name: "encoded-character", ..Extension::NOTHING };

/// RFC 5228 3.2
fn check_require(check: &mut Check<'_>, op: &mut Op) {
    if !check.only_require || !check.enclosing.is_empty() {
        let text = "require must stand at the beginning of the script, before other commands";
        return check.error(op.pos, text);
    }
    let Some(given) = op.arg(0) else { return };
    let names: Vec<Vec<u8>> = given.constants().map(<[u8]>::to_vec).collect();
    for name in names {
        if !check.require(&name) {
            let name = String::from_utf8_lossy(&name);
            check.error(given.pos, format!("the extension '{name}' is not supported"));
        }
    }
}

/// RFC 5228 3.1
fn run_if<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    if let Some(frame) = run.frame() {
        frame.taken = false;
    }
    run_elsif(run, op)
}

fn run_elsif<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    if run.frame().is_some_and(|frame| frame.taken) {
        return Ok(Flow::Next);
    }
    let Some(test) = op.tests.first() else { return Ok(Flow::Next) };
    if !run.test(test)? {
        return Ok(Flow::Next);
    }
    run_else(run, op)
}

fn run_else<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    match run.frame() {
        Some(frame) if !frame.taken => {
            frame.taken = true;
            Ok(Flow::Enter(Frame::block(&op.block)))
        }
        _ => Ok(Flow::Next),
    }
}

fn check_elsif(check: &mut Check<'_>, op: &mut Op) {
    if !matches!(check.previous, Some("if" | "elsif")) {
        let text = format!("{} must follow an if or elsif", op.verb.title());
        check.error(op.pos, text);
    }
}

fn note(op: &mut Op, value: bool) {
    op.noted = Noted::Truth { value, by_ihave: false };
}

/// RFC 5228 5.8
fn test_not<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    match op.tests.first() {
        Some(test) => Ok(!run.test(test)?),
        None => Ok(false),
    }
}

fn check_not(_: &mut Check<'_>, op: &mut Op) {
    if let Some((value, by_ihave)) = op.tests.first().and_then(truth) {
        op.noted = Noted::Truth { value: !value, by_ihave };
    }
}

/// RFC 5228 5.2
fn test_allof<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for test in &op.tests {
        if !run.test(test)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// RFC 5228 5.3
fn test_anyof<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    for test in &op.tests {
        if run.test(test)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// One test that gives `decided` decides the list; otherwise all must be known.
fn check_list(op: &mut Op, decided: bool) {
    let known: Vec<_> = op.tests.iter().map(truth).collect();
    if let Some((_, by_ihave)) = known.iter().flatten().find(|(value, _)| *value == decided) {
        op.noted = Noted::Truth { value: decided, by_ihave: *by_ihave };
    } else if known.iter().all(Option::is_some) {
        let by_ihave = known.iter().flatten().any(|(_, by_ihave)| *by_ihave);
        op.noted = Noted::Truth { value: !decided, by_ihave };
    }
}

/// RFC 5228 5.9
fn test_size<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let size = u64::try_from(run.message.len()).unwrap_or(u64::MAX);
    let limit = op.number(0).unwrap_or(0);
    Ok(if op.has("over") { size > limit } else { size < limit })
}

fn check_size(check: &mut Check<'_>, op: &mut Op) {
    if !op.has("over") && !op.has("under") {
        check.error(op.pos, "the size test needs ':over' or ':under'");
    }
}
