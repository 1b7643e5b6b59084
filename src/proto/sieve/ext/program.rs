//! Programs: vnd.dovecot.pipe, vnd.dovecot.filter, vnd.dovecot.execute.
//!
//! A script names a program of the one directory that the site has configured;
//! whether it exists and how it is run is the surroundings' business.

use super::super::action::{Action, Input, Program};
use super::super::check::Check;
use super::super::code::{Given, Noted, Op};
use super::super::language::{Extension, Param, Shape, Tag, Verb};
use super::super::run::{Ended, Flow, Run};
use super::variables::writable;
use crate::proto::limits;

const PARAMS: &[Param] = &[Param::text("program name"), Param::list("arguments").or_none()];

/// Gives the message to a program instead of a mailbox.
pub const PIPE: Extension = Extension {
    name: "vnd.dovecot.pipe",
    verbs: &[Verb {
        name: "pipe",
        params: PARAMS,
        tags: &[Tag::new("try")],
        check: check_program,
        ..Verb::command(run_pipe)
    }],
    tags: &[Tag::new("copy").on(&["pipe"])],
    ..Extension::NOTHING
};

/// Puts what a program makes of the message in its place.
pub const FILTER: Extension = Extension {
    name: "vnd.dovecot.filter",
    verbs: &[
        Verb {
            name: "filter",
            params: PARAMS,
            check: check_program,
            ..Verb::command(|run, op| test_filter(run, op).map(|_| Flow::Next))
        },
        Verb { name: "filter", params: PARAMS, check: check_program, ..Verb::test(test_filter) },
    ],
    ..Extension::NOTHING
};

/// Runs a program and keeps what it writes.
pub const EXECUTE: Extension = Extension {
    name: "vnd.dovecot.execute",
    verbs: &[
        Verb {
            name: "execute",
            params: PARAMS,
            tags: EXECUTE_TAGS,
            check: check_execute,
            ..Verb::command(|run, op| test_execute(run, op).map(|_| Flow::Next))
        },
        Verb {
            name: "execute",
            params: PARAMS,
            tags: EXECUTE_TAGS,
            check: check_execute,
            ..Verb::test(test_execute)
        },
    ],
    ..Extension::NOTHING
};

const EXECUTE_TAGS: &[Tag] = &[
    Tag::of("input", Shape::Text).group("input"),
    Tag::new("pipe").group("input"),
    Tag::of("output", Shape::Constant),
];

fn run_pipe<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let input = Input::Message(run.message.version());
    let program = Program { may_fail: op.has("try"), ..program(run, op, input)? };
    let added = run.results.push(Action::Pipe(program), run.settings);
    run.added(op, added)?;
    if !op.has("copy") {
        run.results.keep_cancelled = true;
    }
    Ok(Flow::Next)
}

fn test_filter<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let input = Input::Message(run.message.version());
    let program = program(run, op, input)?;
    run.charge_bytes(run.message.len())?;
    let answer = run.world.run_program(&program);
    match run.answer(op, answer)? {
        Some(ran) if ran.success && !ran.output.is_empty() => {
            run.message.replace_all(ran.output);
            Ok(true)
        }
        Some(_) => Ok(false),
        None => Err(unknown(run, op, &program)),
    }
}

fn test_execute<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let input = if op.has("pipe") {
        Input::Message(run.message.version())
    } else {
        match run.tag(op, "input")? {
            Some(text) => Input::Text(text.into_owned()),
            None => Input::None,
        }
    };
    let program = program(run, op, input)?;
    let answer = run.world.run_program(&program);
    match run.answer(op, answer)? {
        Some(ran) => {
            if let (true, Noted::Variables(variables)) = (ran.success, &op.noted) {
                if let Some(variable) = variables.first() {
                    run.set_variable(variable, ran.output);
                }
            }
            Ok(ran.success)
        }
        None => Err(unknown(run, op, &program)),
    }
}

fn unknown(run: &Run<'_>, op: &Op, program: &Program) -> Ended {
    let name = String::from_utf8_lossy(&program.name);
    run.fault(op.pos, format!("there is no program '{name}'"))
}

fn program<'a>(run: &mut Run<'a>, op: &'a Op, input: Input) -> Result<Program, Ended> {
    let name = run.string(op, 0)?.into_owned();
    if !is_program_name(&name) {
        return Err(run.fault(op.pos, "this is no name of a program"));
    }
    let args: Vec<Vec<u8>> = run.list(op, 1)?.into_iter().map(|arg| arg.into_owned()).collect();
    if args.iter().any(|arg| !is_argument(arg)) || args.len() > limits::SIEVE_ARGUMENTS.size() {
        return Err(run.fault(op.pos, "a program's argument with a control character, or too many"));
    }
    Ok(Program { name, args, input, may_fail: false })
}

fn check_program(check: &mut Check<'_>, op: &mut Op) {
    let bad = |given: Option<&Given>, good: fn(&[u8]) -> bool| {
        let given = given?;
        given.constants().any(|text| !good(text)).then_some(given.pos)
    };
    if let Some(pos) = bad(op.arg(0), is_program_name) {
        check.error(pos, "this is no name of a program");
    }
    if let Some(pos) = bad(op.arg(1), is_argument) {
        check.error(pos, "a program's argument with a control character");
    }
}

fn check_execute(check: &mut Check<'_>, op: &mut Op) {
    check_program(check, op);
    let Some(given) = op.tag("output") else { return };
    let pos = given.pos;
    let name = given.constants().next().map(<[u8]>::to_vec).unwrap_or_default();
    if !check.has("variables") {
        return check.error(pos, "':output' needs require \"variables\"");
    }
    if let Some(variable) = writable(check, pos, &name) {
        op.noted = Noted::Variables([variable].into());
    }
}

/// A file's name in the configured directory, and nothing that leads out of it.
fn is_program_name(name: &[u8]) -> bool {
    let good = |b: &u8| b.is_ascii_alphanumeric() || b"-_.+".contains(b);
    !name.is_empty() && name.len() <= 128 && !name.starts_with(b".") && name.iter().all(good)
}

/// What may be given to a program: no line ends, no NUL.
fn is_argument(arg: &[u8]) -> bool {
    arg.len() <= 1024 && arg.iter().all(|b| *b >= 0x20 && *b != 0x7f)
}
