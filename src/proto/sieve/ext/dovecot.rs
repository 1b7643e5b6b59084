//! Pigeonhole's own small extensions: vnd.dovecot.debug, vnd.dovecot.environment.

use super::super::code::Op;
use super::super::language::{Extension, Namespace, Param, Verb};
use super::super::run::{Ended, Flow, Run};
use super::super::surroundings::Trace;
use super::environment::item;

/// `debug_log`: says something to whoever watches the script.
pub const DEBUG: Extension = Extension {
    name: "vnd.dovecot.debug",
    verbs: &[Verb {
        name: "debug_log",
        params: &[Param::text("message")],
        ..Verb::command(run_debug)
    }],
    ..Extension::NOTHING
};

/// The namespace `env`: items of the environment as variables.
pub const ENVIRONMENT: Extension = Extension {
    name: "vnd.dovecot.environment",
    implies: &["environment"],
    namespace: Some(&Namespace {
        name: "env",
        resolve: None,
        get: |run, name| item(run, &named(name)),
    }),
    ..Extension::NOTHING
};

/// Item names have dashes and dots, variables underscores.
fn named(name: &str) -> String {
    name.replace('_', "-")
}

fn run_debug<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<Flow<'a>, Ended> {
    let text = run.string(op, 0)?;
    run.world.trace(Trace::Debug { line: op.pos.line, text: &text });
    Ok(Flow::Next)
}
