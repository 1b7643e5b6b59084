//! The `environment` test.  RFC 5183.

use super::super::code::Op;
use super::super::compare::Matcher;
use super::super::language::{Extension, Param, Verb, MATCHES};
use super::super::run::{Ended, Run};

/// The extension.
pub const ENVIRONMENT: Extension = Extension {
    name: "environment",
    verbs: &[Verb {
        name: "environment",
        params: &[Param::text("name"), Param::list("key list")],
        classes: &[MATCHES],
        ..Verb::test(test_environment)
    }],
    ..Extension::NOTHING
};

/// RFC 5183 4: an unknown item fails every test, `:count` too.
fn test_environment<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let name = String::from_utf8_lossy(&run.string(op, 0)?).to_ascii_lowercase();
    let mut matcher = Matcher::new(run, op, 1)?;
    if let Some(value) = item(run, &name) {
        return Ok(matcher.value(run, &value)? || matcher.finish(run)?);
    }
    Ok(false)
}

/// An item of the environment, by its name in lower case.
pub fn item(run: &mut Run<'_>, name: &str) -> Option<Vec<u8>> {
    match name {
        "name" => Some(b"rmail Sieve".to_vec()),
        "version" => Some(env!("CARGO_PKG_VERSION").as_bytes().to_vec()),
        _ => run.world.environment(name),
    }
}
