//! `include`, `return`, `global`.  RFC 6609.
//!
//! An included script is compiled with the script that includes it; its name
//! must be constant (RFC 6609 3.2), so nothing is left to look up at run time.

use super::super::check::Check;
use super::super::code::{Noted, Op};
use super::super::language::{Extension, Namespace, Param, Shape, Tag, Verb};
use super::super::run::{Ended, Flow, Run};
use super::super::surroundings::Location;
use super::super::template::{self, Name};
use crate::proto::cursor::Cursor;

/// The extension.
pub const INCLUDE: Extension = Extension {
    name: "include",
    verbs: &[
        Verb {
            name: "include",
            params: &[Param { shape: Shape::Constant, ..Param::text("script name") }],
            tags: &[
                Tag::new("personal").group("location"),
                Tag::new("global").group("location"),
                Tag::new("once"),
                Tag::new("optional"),
            ],
            check: check_include,
            ..Verb::command(run_include)
        },
        Verb { name: "return", ..Verb::command(|_, _| Ok(Flow::Return)) },
        Verb {
            name: "global",
            params: &[Param::list("variable names")],
            check: check_global,
            ..Verb::command(|_, _| Ok(Flow::Next))
        },
    ],
    // RFC 6609 3.4
    namespace: Some(&Namespace {
        name: "global",
        resolve: Some(|check, pos, name| check.global(pos, name)),
        get: |_, _| None,
    }),
    ..Extension::NOTHING
};

fn check_include(check: &mut Check<'_>, op: &mut Op) {
    let Some(given) = op.arg(0) else { return };
    let raw = given.constants().next().unwrap_or_default();
    let (pos, name) = (given.pos, String::from_utf8_lossy(raw).into_owned());
    if !is_script_name(&name) {
        return check.error(pos, format!("'{name}' is no name of a script"));
    }
    let location = if op.has("global") { Location::Global } else { Location::Personal };
    if let Some(unit) = check.include(pos, location, &name) {
        op.noted = Noted::Unit(unit);
    }
}

/// A name that can be a file: RFC 5804 1.6, and neither path nor hidden file.
pub fn is_script_name(name: &str) -> bool {
    let bad = |c: char| c.is_control() || c == '/' || matches!(c, '\u{2028}' | '\u{2029}');
    !name.is_empty() && name.len() <= 256 && !name.starts_with('.') && !name.contains(bad)
}

/// Scripts that have been included.
#[derive(Default)]
struct Included(Vec<usize>);

/// RFC 6609 3.2
fn run_include<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let Noted::Unit(number) = op.noted else { return Ok(Flow::Next) };
    let Some(unit) = run.script.units.get(number) else { return Ok(Flow::Next) };
    if op.has("once") && run.kept().is_some_and(|Included(units)| units.contains(&number)) {
        return Ok(Flow::Next);
    }
    if unit.missing {
        if op.has("optional") {
            return Ok(Flow::Next);
        }
        return Err(run.fault(op.pos, format!("there is no script '{}'", unit.name)));
    }
    if run.nesting() > run.settings.include_nesting {
        let max = run.settings.include_nesting;
        return Err(run.fault(op.pos, format!("includes are nested deeper than {max}")));
    }
    let Included(units) = run.keep();
    if !units.contains(&number) {
        units.push(number);
    }
    run.charge(1024)?;
    Ok(Flow::Include(number))
}

/// RFC 6609 3.4: before any use of the variable.
fn check_global(check: &mut Check<'_>, op: &mut Op) {
    if !check.has("variables") {
        return check.error(op.pos, "the global command needs require \"variables\"");
    }
    let Some(given) = op.arg(0) else { return };
    let (pos, all) = (given.pos, given.texts().len());
    let names: Vec<Vec<u8>> = given.constants().map(<[u8]>::to_vec).collect();
    if names.len() < all {
        return check.error(pos, "the name of a global variable must be constant");
    }
    for raw in names {
        let mut c = Cursor::new(&raw);
        let shown = String::from_utf8_lossy(&raw).into_owned();
        match template::variable_name(&mut c).filter(|_| c.at_end()) {
            Some(Name::Plain(name)) => {
                if !check.declare_global(pos, &name) {
                    let text = format!("'{shown}' is used as a variable of this script already");
                    check.error(pos, text);
                }
            }
            _ => check.error(pos, format!("'{shown}' is no name of a variable")),
        }
    }
}
