//! The extension `vnd.dovecot.testsuite`: its commands and tests.

use std::sync::Arc;

use rmail::proto::addr::list;
use rmail::proto::sieve::check::Check;
use rmail::proto::sieve::code::{Op, Script};
use rmail::proto::sieve::compare::Matcher;
use rmail::proto::sieve::language::{Extension, Namespace, Param, Shape, Tag, Verb, MATCHES};
use rmail::proto::sieve::message::Message;
use rmail::proto::sieve::result::Results;
use rmail::proto::sieve::run::{conclude, sequence, Ended, Flow, Frame, Run};
use rmail::proto::sieve::settings::Settings;
use rmail::proto::sieve::surroundings::Envelope;

use super::bench::Bench;

type Done<'a> = Result<Flow<'a>, Ended>;

/// The extension of the test language.
pub static TESTSUITE: Extension = Extension {
    name: "vnd.dovecot.testsuite",
    verbs: &[
        Verb { name: "test", params: &[Param::text("name")], ..Verb::block(run_test) },
        Verb { name: "test_fail", params: &[Param::text("reason")], ..Verb::command(run_fail) },
        Verb {
            name: "test_set",
            params: &[Param::text("what"), Param::text("value")],
            ..Verb::command(run_set)
        },
        Verb {
            name: "test_config_set",
            params: &[Param::text("setting"), Param::text("value")],
            ..Verb::command(run_config_set)
        },
        Verb {
            name: "test_config_unset",
            params: &[Param::text("setting")],
            ..Verb::command(run_config_unset)
        },
        Verb {
            name: "test_config_reload",
            tags: &[Tag::of("extension", Shape::Text)],
            ..Verb::command(|_, _| Ok(Flow::Next))
        },
        Verb {
            name: "test_script_compile",
            params: &[Param::text("file")],
            ..Verb::test(test_compile)
        },
        Verb {
            name: "test_script_run",
            tags: &[Tag::new("append_result")],
            ..Verb::test(test_run)
        },
        Verb {
            name: "test_multiscript",
            params: &[Param::list("scripts")],
            ..Verb::test(test_multiscript)
        },
        Verb {
            name: "test_error",
            params: &[Param::list("keys")],
            tags: &[Tag::of("index", Shape::Number)],
            classes: &[MATCHES],
            ..Verb::test(test_error)
        },
        Verb { name: "test_result_execute", ..Verb::test(test_result_execute) },
        Verb {
            name: "test_result_action",
            params: &[Param::list("keys")],
            tags: &[Tag::of("index", Shape::Number)],
            classes: &[MATCHES],
            ..Verb::test(test_result_action)
        },
        Verb { name: "test_result_reset", ..Verb::command(run_result_reset) },
        Verb { name: "test_result_print", ..Verb::command(run_result_print) },
        Verb { name: "test_message", ..MESSAGE_COMMAND },
        Verb { name: "test_message", ..MESSAGE_TEST },
        Verb {
            name: "test_mailbox_create",
            params: &[Param::text("mailbox")],
            ..Verb::command(run_mailbox_create)
        },
        Verb {
            name: "test_mailbox_delete",
            params: &[Param::text("mailbox")],
            ..Verb::command(run_mailbox_delete)
        },
        Verb {
            name: "test_imap_metadata_set",
            params: &[Param::text("annotation"), Param::text("value")],
            tags: &[Tag::of("mailbox", Shape::Text)],
            ..Verb::command(run_metadata_set)
        },
        Verb {
            name: "test_binary_save",
            params: &[Param::text("name")],
            ..Verb::command(run_binary_save)
        },
        Verb {
            name: "test_binary_load",
            params: &[Param::text("name")],
            ..Verb::command(run_binary_load)
        },
    ],
    namespace: Some(&Namespace { name: "tst", resolve: None, get: namespace }),
    ..Extension::NOTHING
};

const MESSAGE_TAGS: &[Tag] =
    &[Tag::new("smtp").group("source"), Tag::of("folder", Shape::Text).group("source")];
const MESSAGE_PARAMS: &[Param] = &[Param::number("number")];
const MESSAGE_COMMAND: Verb = Verb {
    params: MESSAGE_PARAMS,
    tags: MESSAGE_TAGS,
    check: check_message,
    ..Verb::command(run_message)
};
const MESSAGE_TEST: Verb = Verb {
    params: MESSAGE_PARAMS,
    tags: MESSAGE_TAGS,
    check: check_message,
    ..Verb::test(test_message)
};

fn check_message(check: &mut Check<'_>, op: &mut Op) {
    if !op.has("smtp") && !op.has("folder") {
        check.error(op.pos, "test_message needs ':smtp' or ':folder'");
    }
}

fn namespace(run: &mut Run<'_>, name: &str) -> Option<Vec<u8>> {
    (name == "path").then(|| bench(run).dir.to_string_lossy().into_owned().into_bytes())
}

/// The world of the running file.
fn bench<'r>(run: &'r mut Run<'_>) -> &'r mut Bench {
    run.world.as_any().downcast_mut().expect("test files run on the bench alone")
}

fn string<'a>(run: &mut Run<'a>, op: &'a Op, param: usize) -> Result<String, Ended> {
    Ok(String::from_utf8_lossy(&run.string(op, param)?).into_owned())
}

fn run_test<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = string(run, op, 0)?;
    bench(run).begin_test(name);
    Ok(Flow::Enter(Frame::owned(op, None)))
}

fn run_fail<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let why = format!("line {}: {}", op.pos.line, string(run, op, 0)?);
    bench(run).fail(&why);
    Ok(run.find_block(|block| block.verb.name == "test").map_or(Flow::Next, Flow::Leave))
}

fn run_set<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let what = string(run, op, 0)?;
    let value = run.string(op, 1)?.into_owned();
    let path = || path(&value);
    match what.as_str() {
        "message" => {
            run.message = Message::new(Arc::new(value));
            // The envelope is what the header says until it is set.
            let first = |run: &Run<'_>, name: &[u8]| {
                let value = run.message.values(name).next()?;
                let address = list::mailboxes(value).next()?;
                Some([address.local, address.domain].join(&b'@'))
            };
            run.envelope.from = first(run, b"from").or(run.envelope.from.take());
            run.envelope.to = first(run, b"to").or(run.envelope.to.take());
        }
        "envelope.from" => run.envelope.from = path(),
        "envelope.to" => run.envelope.to = path(),
        "envelope.orig_to" => run.envelope.orig_to = path(),
        "envelope.auth" => run.envelope.auth = Some(value),
        // Beyond Pigeonhole: the parts of RFC 6009.
        "envelope.notify" => run.envelope.notify = Some(value),
        "envelope.ret" => run.envelope.ret = Some(value),
        "envelope.envid" => run.envelope.envid = Some(value),
        "envelope.orcpt" => run.envelope.orcpt = Some(value),
        "envelope.bymode" => run.envelope.by_mode = value.first().copied(),
        "envelope.bytime" => {
            run.envelope.by_time = String::from_utf8_lossy(&value).trim().parse().ok();
        }
        "envelope.bytrace" => run.envelope.by_trace = value == b"true",
        "date" => {}
        _ => return Err(run.fault(op.pos, format!("test_set knows no '{what}'"))),
    }
    let envelope = run.envelope.clone();
    bench(run).envelope = envelope;
    Ok(Flow::Next)
}

/// The address of an envelope path: brackets and route go; what is no path is `None`.
///
/// Addresses are taken as mail systems have them, more freely than SMTP's grammar: a local part
/// may have dots anywhere, or no domain.
fn path(value: &[u8]) -> Option<Vec<u8>> {
    let bracketed = value.strip_prefix(b"<").and_then(|v| v.strip_suffix(b">"));
    let mut inner = bracketed.unwrap_or(value);
    if inner.starts_with(b"@") {
        // A-d-l = At-domain *( "," At-domain ) ":"
        let colon = inner.iter().position(|b| *b == b':')?;
        let (route, rest) = inner.split_at(colon);
        let hop = |hop: &[u8]| hop.strip_prefix(b"@").is_some_and(is_domain);
        route.split(|b| *b == b',').all(hop).then_some(())?;
        inner = &rest[1..];
    }
    if inner.is_empty() {
        return Some(Vec::new());
    }
    let quoted = inner.starts_with(b"\"");
    let at = match inner.iter().rposition(|b| *b == b'@') {
        Some(at) => at,
        // Only a bracketed path may lack the domain.
        None => bracketed.map(|_| inner.len())?,
    };
    let (local, domain) = inner.split_at(at);
    let word = |b: &u8| rmail::proto::chars::is_atext(*b) || *b == b'.' || !b.is_ascii();
    let good = match quoted {
        true => local.len() > 1 && local.ends_with(b"\""),
        false => !local.is_empty() && local.iter().all(word),
    };
    (good && (domain.is_empty() || is_domain(&domain[1..]))).then(|| inner.to_vec())
}

fn is_domain(domain: &[u8]) -> bool {
    let literal = domain.starts_with(b"[") && domain.ends_with(b"]");
    let good = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_') || !b.is_ascii();
    literal || domain.split(|b| *b == b'.').all(|l| !l.is_empty() && l.iter().all(good))
}

fn run_config_set<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let (name, value) = (string(run, op, 0)?, string(run, op, 1)?);
    configure(run, op, &name, Some(&value))
}

fn run_config_unset<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = string(run, op, 0)?;
    configure(run, op, &name, None)
}

/// The tests of the file itself follow the settings too.
fn configure<'a>(run: &mut Run<'a>, _: &'a Op, name: &str, value: Option<&str>) -> Done<'a> {
    let bench = bench(run);
    bench.configure(name, value);
    let settings = Settings { fuel: u64::MAX, max_actions: 1000, ..bench.settings.clone() };
    let stop = bench.skipped.is_some();
    // A test file sets a few dozen settings; what is leaked ends with the process.
    run.settings = Box::leak(Box::new(settings));
    Ok(if stop { Flow::Stop } else { Flow::Next })
}

fn test_compile<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let file = string(run, op, 0)?;
    let bench = bench(run);
    Ok(bench.compile(&file).is_some())
}

/// Runs scripts after the results so far; true if none failed.
fn run_scripts(run: &mut Run<'_>, scripts: &[&Script], results: Results) -> bool {
    let envelope = run.envelope.clone();
    let mut message = run.message.clone();
    let bench = bench(run);
    let settings = bench.settings.clone();
    let (results, fault) = sequence(scripts, results, &mut message, &envelope, &settings, bench);
    bench.errors = fault.iter().map(|fault| fault.text.clone()).collect();
    run.message = message;
    run.results = results;
    fault.is_none()
}

fn test_run<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let Some(script) = bench(run).compiled.clone() else {
        return Err(run.fault(op.pos, "no script has been compiled"));
    };
    let before = match op.has("append_result") {
        true => std::mem::take(&mut run.results),
        false => Results::default(),
    };
    Ok(run_scripts(run, &[&script], before))
}

fn test_multiscript<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let files = run.list(op, 0)?;
    let mut scripts = Vec::new();
    for file in &files {
        match bench(run).compile(&String::from_utf8_lossy(file)) {
            Some(script) => scripts.push(script),
            None => return Ok(false),
        }
    }
    let scripts: Vec<&Script> = scripts.iter().map(|script| &**script).collect();
    Ok(run_scripts(run, &scripts, Results::default()) && test_result_execute(run, op)?)
}

/// Offers values to the keys of a test; with `:index` only one of them.
fn matched<'a>(run: &mut Run<'a>, op: &'a Op, values: Vec<String>) -> Result<bool, Ended> {
    let mut matcher = Matcher::new(run, op, 0)?;
    let values = match op.tag_number("index") {
        Some(index) => {
            let at = usize::try_from(index).unwrap_or(usize::MAX).wrapping_sub(1);
            values.into_iter().skip(at).take(1).collect()
        }
        None => values,
    };
    for value in values {
        if matcher.value(run, value.as_bytes())? {
            return Ok(true);
        }
    }
    matcher.finish(run)
}

fn test_error<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let errors = bench(run).errors.clone();
    matched(run, op, errors)
}

fn actions(run: &Run<'_>) -> Vec<String> {
    let outcome = conclude(run.results.clone(), &run.message, None);
    outcome.actions.iter().map(|action| action.name().to_string()).collect()
}

fn test_result_action<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let names = actions(run);
    matched(run, op, names)
}

fn test_result_execute<'a>(run: &mut Run<'a>, _: &'a Op) -> Result<bool, Ended> {
    let results = run.results.clone();
    let message = run.message.clone();
    let bench = bench(run);
    bench.errors.clear();
    match bench.execute(results, &message) {
        Ok(()) => Ok(true),
        Err(why) => {
            bench.errors.push(why);
            Ok(false)
        }
    }
}

fn run_result_reset<'a>(run: &mut Run<'a>, _: &'a Op) -> Done<'a> {
    run.results = Results::default();
    bench(run).sent.clear();
    Ok(Flow::Next)
}

fn run_result_print<'a>(run: &mut Run<'a>, _: &'a Op) -> Done<'a> {
    println!("    result: {}", actions(run).join(", "));
    Ok(Flow::Next)
}

fn test_message<'a>(run: &mut Run<'a>, op: &'a Op) -> Result<bool, Ended> {
    let at = usize::try_from(op.number(0).unwrap_or(0)).unwrap_or(usize::MAX);
    if op.has("smtp") {
        let Some(sent) = bench(run).sent.get(at).cloned() else { return Ok(false) };
        run.envelope = Envelope { from: Some(sent.from), to: Some(sent.to), ..Envelope::default() };
        run.message = Message::new(Arc::new(sent.bytes));
        return Ok(true);
    }
    let folder = run.tag(op, "folder")?.unwrap_or_default().into_owned();
    let stored = bench(run).mailbox(&folder).and_then(|mailbox| mailbox.get(at).cloned());
    let Some(stored) = stored else { return Ok(false) };
    run.message = Message::new(Arc::new(stored.bytes));
    run.results.flags = stored.flags;
    Ok(true)
}

fn run_message<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    // Without such a message the current one stays.
    test_message(run, op)?;
    Ok(Flow::Next)
}

fn run_mailbox_create<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = run.string(op, 0)?.into_owned();
    bench(run).mailboxes.entry(name).or_default();
    Ok(Flow::Next)
}

fn run_mailbox_delete<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = run.string(op, 0)?.into_owned();
    bench(run).mailboxes.remove(&name);
    Ok(Flow::Next)
}

fn run_metadata_set<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let mailbox = run.tag(op, "mailbox")?.map(|name| name.into_owned());
    let name = run.string(op, 0)?.to_ascii_lowercase();
    let value = run.string(op, 1)?.into_owned();
    bench(run).metadata.insert((mailbox, name), value);
    Ok(Flow::Next)
}

fn run_binary_save<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = run.string(op, 0)?.into_owned();
    let bench = bench(run);
    if let Some(script) = bench.compiled.clone() {
        bench.saved.insert(name, script);
    }
    Ok(Flow::Next)
}

fn run_binary_load<'a>(run: &mut Run<'a>, op: &'a Op) -> Done<'a> {
    let name = run.string(op, 0)?.into_owned();
    let bench = bench(run);
    bench.compiled = bench.saved.get(&name).cloned();
    Ok(Flow::Next)
}
