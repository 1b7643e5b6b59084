//! The Sieve test language: runs `.svtest` files.
//!
//! Such a file is a Sieve script that requires `vnd.dovecot.testsuite`.  The
//! extension is defined here, as one more row for the language's table; the
//! mail store and the SMTP sink that results are carried out on are in memory.
//! Each file has a state of its own.  The language is described in regress(7)'s
//! README and used by public suites, which run unchanged.

use std::any::Any;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use rmail::proto::addr::{list, Charset, ReversePath};
use rmail::proto::date::DateTime;
use rmail::proto::sieve::action::{Action, Input, Program, Record, RecordKind, Store};
use rmail::proto::sieve::check::{compile, Check};
use rmail::proto::sieve::code::{Op, Script};
use rmail::proto::sieve::compare::Matcher;
use rmail::proto::sieve::compose::{self, Sender, Stamp};
use rmail::proto::sieve::language::{
    Extension, Language, Namespace, Param, Shape, Tag, Verb, EXTENSIONS, MATCHES,
};
use rmail::proto::sieve::message::Message;
use rmail::proto::sieve::result::Results;
use rmail::proto::sieve::run::{conclude, sequence, Ended, Flow, Frame, Run};
use rmail::proto::sieve::settings::{Scale, Score, Settings};
use rmail::proto::sieve::surroundings::{
    Answer, Envelope, Library, Location, Ran, Surroundings, Trace,
};

/// What became of a file.
#[derive(Debug, Default)]
pub struct Report {
    /// How many test blocks held.
    pub passed: usize,
    /// The others: name and reason.
    pub failed: Vec<(String, String)>,
    /// Why the file was not run, or not to its end.
    pub skipped: Option<String>,
}

/// `regress --svtest FILE...`: one line for each file, and a total.
pub fn main(files: &[String]) -> ExitCode {
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for file in files {
        let report = run_file(Path::new(file));
        passed += report.passed;
        failed += report.failed.len();
        skipped += usize::from(report.skipped.is_some());
        match &report.skipped {
            Some(why) => println!("SKIPPED {file}: {why}"),
            None if report.failed.is_empty() => println!("passed {file}: {} tests", report.passed),
            None => println!("FAILED {file}: {} of its tests", report.failed.len()),
        }
        for (name, why) in &report.failed {
            println!("    {name}: {why}");
        }
    }
    println!("svtest: {passed} passed, {failed} failed, {skipped} skipped");
    ExitCode::from(u8::from(failed > 0))
}

/// An empty world, for who only wants to run scripts.
pub fn world() -> Box<dyn Surroundings> {
    Box::new(Bench::new(PathBuf::new()))
}

/// Runs one file.
pub fn run_file(path: &Path) -> Report {
    let source = match std::fs::read(path) {
        Ok(source) => source,
        Err(e) => return Report { skipped: Some(e.to_string()), ..Report::default() },
    };
    let dir = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let mut bench = Bench::new(dir);
    let language = Language::new(EXTENSIONS.iter().copied().chain([&TESTSUITE]));
    let mut library = Files { dir: bench.dir.clone(), global: None, script: PathBuf::new() };
    let script = match compile(&source, &language, &mut library) {
        Ok(script) => script,
        Err(errors) => {
            let text: Vec<String> = errors.iter().map(ToString::to_string).collect();
            let text = text.join("; ");
            if text.contains("is not supported") {
                return Report { skipped: Some(text), ..Report::default() };
            }
            let failed = vec![("compile".to_string(), text)];
            return Report { failed, ..Report::default() };
        }
    };
    let settings = Settings { fuel: u64::MAX, max_actions: 1000, ..Settings::default() };
    let envelope = bench.envelope.clone();
    let message = Message::new(Arc::new(b"\r\n".to_vec()));
    let mut run = Run::new(&script, message, envelope, &settings, &mut bench);
    if let Err(fault) = run.execute() {
        bench.fail(&fault.to_string());
    }
    bench.end_test();
    Report { passed: bench.passed, failed: bench.failed, skipped: bench.skipped }
}

/// A stored message.
#[derive(Clone)]
struct Stored {
    bytes: Vec<u8>,
    flags: Vec<Vec<u8>>,
}

/// A message that was sent.
#[derive(Clone)]
struct Sent {
    from: Vec<u8>,
    to: Vec<u8>,
    bytes: Vec<u8>,
}

/// Mailbox, or the server, and name.
type Annotation = (Option<Vec<u8>>, Vec<u8>);

/// The world of a test file.
struct Bench {
    dir: PathBuf,
    mailboxes: HashMap<Vec<u8>, Vec<Stored>>,
    sent: Vec<Sent>,
    metadata: HashMap<Annotation, Vec<u8>>,
    records: Vec<(Record, i64)>,
    settings: Settings,
    config: HashMap<String, String>,
    envelope: Envelope,
    /// Compiled scripts that were put aside.
    saved: HashMap<Vec<u8>, Arc<Script>>,
    compiled: Option<Arc<Script>>,
    errors: Vec<String>,
    running: Option<String>,
    failure: Option<String>,
    passed: usize,
    failed: Vec<(String, String)>,
    skipped: Option<String>,
    ids: u32,
}

impl Bench {
    fn new(dir: PathBuf) -> Self {
        let envelope = Envelope {
            from: Some(b"sender@example.com".to_vec()),
            to: Some(b"recipient@example.com".to_vec()),
            ..Envelope::default()
        };
        Bench {
            dir,
            mailboxes: HashMap::from([(b"INBOX".to_vec(), Vec::new())]),
            sent: Vec::new(),
            metadata: HashMap::new(),
            records: Vec::new(),
            settings: Settings {
                postmaster: b"postmaster@example.com".to_vec(),
                ..Settings::default()
            },
            config: HashMap::new(),
            envelope,
            saved: HashMap::new(),
            compiled: None,
            errors: Vec::new(),
            running: None,
            failure: None,
            passed: 0,
            failed: Vec::new(),
            skipped: None,
            ids: 0,
        }
    }

    fn begin_test(&mut self, name: String) {
        self.end_test();
        self.running = Some(name);
    }

    fn end_test(&mut self) {
        let Some(name) = self.running.take() else { return };
        match self.failure.take() {
            Some(why) => self.failed.push((name, why)),
            None => self.passed += 1,
        }
    }

    fn fail(&mut self, why: &str) {
        self.running.get_or_insert_with(|| "outside of tests".into());
        self.failure.get_or_insert_with(|| why.to_string());
    }

    /// A mailbox, where INBOX has one name in any case.
    fn mailbox(&mut self, name: &[u8]) -> Option<&mut Vec<Stored>> {
        let name = if name.eq_ignore_ascii_case(b"INBOX") { b"INBOX" } else { name };
        self.mailboxes.get_mut(name)
    }

    fn send(&mut self, from: &[u8], to: &[u8], bytes: Vec<u8>) {
        let [from, to] = [from, to].map(<[u8]>::to_vec);
        self.sent.push(Sent { from, to, bytes });
    }

    fn store(&mut self, store: &Store, bytes: Vec<u8>) -> Result<(), String> {
        let name = store.mailbox.clone().unwrap_or_else(|| b"INBOX".to_vec());
        if store.create && self.mailbox(&name).is_none() {
            self.mailboxes.insert(name.clone(), Vec::new());
        }
        let shown = String::from_utf8_lossy(&name).into_owned();
        let mailbox = self.mailbox(&name).ok_or(format!("no mailbox '{shown}'"))?;
        mailbox.push(Stored { bytes, flags: store.flags.clone() });
        Ok(())
    }

    /// Carries out the actions.
    fn execute(&mut self, results: Results, message: &Message) -> Result<(), String> {
        let outcome = conclude(results, message, None);
        let original = message.original().clone();
        let whole = |version: &rmail::proto::sieve::action::Version| match version {
            Some(edited) => edited.bytes(&original),
            None => original.to_vec(),
        };
        let envelope = self.envelope.clone();
        for action in &outcome.actions {
            self.ids += 1;
            let id = format!("<{}.svtest@example.com>", self.ids);
            let postmaster = String::from_utf8_lossy(&self.settings.postmaster).into_owned();
            let date = DateTime::utc(now());
            let stamp = Stamp { date, message_id: &id, postmaster: &postmaster };
            match action {
                Action::Store(store) => self.store(store, whole(&store.message))?,
                Action::Redirect(redirect) => {
                    let mut bytes = compose::redirected(redirect, &envelope);
                    bytes.extend(whole(&redirect.message));
                    self.send(&redirect.from, &redirect.to, bytes);
                }
                Action::Reject(reject) => {
                    let refusal = compose::refusal(reject, &envelope, &original, &stamp);
                    if let Some(bytes) = refusal {
                        let to = envelope.from.clone().unwrap_or_default();
                        self.send(b"", &to, bytes);
                    }
                }
                Action::Discard | Action::Nothing { .. } => {}
                Action::Vacation(vacation) => {
                    self.records.push((vacation.record.clone(), now()));
                    let bytes = compose::vacation(vacation, &stamp);
                    if let Some(fcc) = &vacation.fcc {
                        self.store(fcc, bytes.clone())?;
                    }
                    self.send(b"", &vacation.to, bytes);
                }
                Action::Notify(notify) => {
                    let bytes = compose::notification(notify, &stamp);
                    if let Some(fcc) = &notify.fcc {
                        self.store(fcc, bytes.clone())?;
                    }
                    for to in notify.to.iter().chain(&notify.cc) {
                        self.send(&notify.envelope_from, to, bytes.clone());
                    }
                }
                Action::Pipe(program) => {
                    if !self.run_program(program).is_ok_and(|ran| ran.is_some())
                        && !program.may_fail
                    {
                        return Err("a program cannot be run".into());
                    }
                }
            }
        }
        self.records.extend(outcome.records.into_iter().map(|record| (record, now())));
        Ok(())
    }

    /// Applies a setting of Pigeonhole's by its name; an unknown one skips the file.
    fn configure(&mut self, name: &str, value: Option<&str>) {
        match value {
            Some(value) => self.config.insert(name.into(), value.into()),
            None => self.config.remove(name),
        };
        let fresh = Settings::default();
        let value = value.map(str::trim);
        let spam = self.score("spamtest", 10);
        let virus = self.score("virustest", 5);
        let set = &mut self.settings;
        let count = |default: usize| value.and_then(|v| v.parse().ok()).unwrap_or(default);
        let secs = |default: u64| value.and_then(period).unwrap_or(default);
        let yes = matches!(value, Some("yes"));
        let words = || value.unwrap_or("").split_whitespace().map(str::to_lowercase).collect();
        match name {
            "sieve_max_actions" => set.max_actions = count(fresh.max_actions),
            "sieve_max_redirects" => set.max_redirects = count(fresh.max_redirects),
            "sieve_notify_max_actions" => set.max_notifies = count(fresh.max_notifies),
            "sieve_variables_max_variable_size" | "sieve_variables_max_value_size" => {
                set.variable_size = value.and_then(size).unwrap_or(fresh.variable_size);
            }
            "sieve_include_max_nesting_depth" => {
                set.include_nesting = count(fresh.include_nesting);
            }
            // A unit of fuel is a few nanoseconds.
            "sieve_max_cpu_time" => {
                set.fuel = value.and_then(period).map_or(fresh.fuel, |secs| secs * 4_000_000);
            }
            "sieve_vacation_min_period" => set.vacation_min_secs = secs(fresh.vacation_min_secs),
            "sieve_vacation_max_period" => set.vacation_max_secs = secs(fresh.vacation_max_secs),
            "sieve_vacation_default_period" => {
                set.vacation_default_secs = secs(fresh.vacation_default_secs);
            }
            "sieve_vacation_dont_check_recipient" => set.vacation_any_recipient = yes,
            "sieve_vacation_check_recipient" => set.vacation_any_recipient = !yes,
            "sieve_vacation_use_original_recipient" => set.vacation_original_recipient = yes,
            "sieve_duplicate_default_period" => {
                set.duplicate_default_secs = secs(fresh.duplicate_default_secs);
            }
            "sieve_duplicate_max_period" => set.duplicate_max_secs = secs(fresh.duplicate_max_secs),
            "sieve_editheader_max_header_size" => {
                set.header_size = value.and_then(size).unwrap_or(fresh.header_size);
            }
            "sieve_editheader_protected" => set.header_protected = words(),
            "sieve_editheader_forbid_add" => set.header_no_add = words(),
            "sieve_editheader_forbid_delete" => set.header_no_delete = words(),
            "recipient_delimiter" => set.delimiters = value.unwrap_or("+").to_string(),
            "sieve_user_email" => {
                let address = value.map(|v| v.trim_matches(['<', '>'])).filter(|v| !v.is_empty());
                set.user = address.map(|v| v.as_bytes().to_vec());
            }
            "sieve_redirect_envelope_from" => set.redirect_from = sender(value),
            "sieve_notify_mailto_envelope_from" => {
                set.notify_from = value.map_or(Sender::Recipient, |_| sender(value));
            }
            "sieve_global" | "sieve" | "sieve_include_max_includes" => {}
            "rmail_vacation_records" => {}
            _ if name.starts_with("sieve_spamtest_") => set.spamtest = spam,
            _ if name.starts_with("sieve_virustest_") => set.virustest = virus,
            _ => self.skipped = Some(format!("the setting {name} is unknown here")),
        }
    }

    fn score(&self, test: &str, most: usize) -> Option<Score> {
        let get = |what: &str| self.config.get(&format!("sieve_{test}_{what}"));
        let field = |text: &str| match text.split_once(':') {
            Some((field, expression)) => {
                (field.trim().to_string(), Some(format!("^{}", expression.trim_start())))
            }
            None => (text.trim().to_string(), None),
        };
        let (name, expression) = field(get("status_header")?);
        let kind = get("status_type").map_or("score", |kind| kind.trim());
        let max = get("max_value").and_then(|v| v.trim().parse().ok());
        let scale = match (kind, get("max_header")) {
            ("text", _) => {
                let word = |n: usize| get(&format!("text_value{n}")).map(|w| (n, w.clone()));
                Scale::Words((0..=most).filter_map(word).collect())
            }
            (kind, Some(header)) => {
                let (field, expression) = field(header);
                match kind {
                    "strlen" => Scale::StarsIn { field, expression },
                    _ => Scale::MaxIn { field, expression },
                }
            }
            ("strlen", None) => Scale::Stars(max?),
            (_, None) => Scale::Max(max?),
        };
        Some(Score { field: name, expression, scale })
    }
}

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0))
}

/// `1d`, `30s`; a bare number is seconds.
fn period(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: u64 = text[..digits].parse().ok()?;
    let unit = match text[digits..].trim() {
        "" | "s" | "sec" | "secs" => 1,
        "m" | "min" | "mins" => 60,
        "h" | "hour" | "hours" => 3600,
        "d" | "day" | "days" => 86_400,
        _ => return None,
    };
    Some(number * unit)
}

/// `2k`, `1M`; a bare number is octets.
fn size(text: &str) -> Option<usize> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let number: usize = text[..digits].parse().ok()?;
    Some(match text[digits..].trim() {
        "k" | "K" | "kB" => number << 10,
        "M" | "MB" => number << 20,
        _ => number,
    })
}

fn sender(value: Option<&str>) -> Sender {
    match value.unwrap_or("sender").trim() {
        "" | "sender" => Sender::Sender,
        "recipient" => Sender::Recipient,
        "orig_recipient" => Sender::OrigRecipient,
        "user_email" => Sender::User,
        "postmaster" => Sender::Postmaster,
        other => Sender::Address(other.trim_matches(['<', '>']).as_bytes().to_vec()),
    }
}

impl Surroundings for Bench {
    fn now(&mut self) -> i64 {
        now()
    }

    fn zone(&mut self, _: i64) -> i32 {
        0
    }

    fn environment(&mut self, item: &str) -> Option<Vec<u8>> {
        Some(match item {
            "phase" => b"post".to_vec(),
            "location" => b"MS".to_vec(),
            "domain" => b"example.com".to_vec(),
            "host" => b"host.example.com".to_vec(),
            "vnd.dovecot.default-mailbox" | "default-mailbox" => b"INBOX".to_vec(),
            "vnd.dovecot.username" | "username" => b"tester".to_vec(),
            "imap.cause" => b"APPEND".to_vec(),
            "imap.mailbox" => b"INBOX".to_vec(),
            "imap.user" => b"tester".to_vec(),
            _ => return None,
        })
    }

    fn is_mine(&mut self, address: &[u8]) -> bool {
        self.settings.user.as_ref().is_some_and(|user| user.eq_ignore_ascii_case(address))
    }

    fn mailbox_exists(&mut self, mailbox: &[u8]) -> Answer<bool> {
        Ok(self.mailbox(mailbox).is_some())
    }

    fn mailbox_id_exists(&mut self, id: &[u8]) -> Answer<bool> {
        let name = id.strip_prefix(b"id-").unwrap_or_default().to_vec();
        Ok(self.mailbox(&name).is_some())
    }

    fn special_use_exists(&mut self, mailbox: Option<&[u8]>, attribute: &[u8]) -> Answer<bool> {
        let name = attribute.strip_prefix(b"\\").unwrap_or(attribute).to_vec();
        let asked = mailbox.is_none_or(|mailbox| mailbox.eq_ignore_ascii_case(&name));
        Ok(asked && self.mailbox(&name).is_some())
    }

    fn metadata(&mut self, mailbox: Option<&[u8]>, annotation: &[u8]) -> Answer<Option<Vec<u8>>> {
        let key = (mailbox.map(<[u8]>::to_vec), annotation.to_ascii_lowercase());
        Ok(self.metadata.get(&key).cloned())
    }

    fn list_exists(&mut self, list: &[u8]) -> Answer<bool> {
        Ok(list.starts_with(b"tag:example.com,2026:"))
    }

    fn list_contains(&mut self, list: &[u8], value: &[u8]) -> Answer<bool> {
        Ok(self.list_members(list, 10)?.iter().any(|member| member.eq_ignore_ascii_case(value)))
    }

    fn list_members(&mut self, list: &[u8], max: usize) -> Answer<Vec<Vec<u8>>> {
        // The list's name holds its members.
        let members = list.rsplit(|b| *b == b':').next().unwrap_or_default();
        let members = members.split(|b| *b == b',').filter(|member| !member.is_empty());
        Ok(members.take(max).map(<[u8]>::to_vec).collect())
    }

    fn seen(&mut self, record: &Record) -> Answer<bool> {
        // Public suites expect every vacation to answer, as without a database.
        let remembers = self.config.contains_key("rmail_vacation_records");
        if record.kind == RecordKind::Vacation && !remembers {
            return Ok(false);
        }
        let now = now();
        Ok(self.records.iter().any(|(other, at)| {
            let age = u64::try_from(now - at).unwrap_or(0);
            other.kind == record.kind && other.key == record.key && age < other.seconds
        }))
    }

    fn run_program(&mut self, program: &Program) -> Answer<Option<Ran>> {
        let shown = |arg: &[u8]| String::from_utf8_lossy(arg).into_owned();
        let input = match &program.input {
            Input::Text(text) => text.clone(),
            _ => Vec::new(),
        };
        Ok(match program.name.as_slice() {
            b"cat" => Some(Ran { success: true, output: input }),
            b"false" => Some(Ran { success: false, output: Vec::new() }),
            b"args" => {
                let args: Vec<String> = program.args.iter().map(|arg| shown(arg)).collect();
                Some(Ran { success: true, output: args.join("|").into_bytes() })
            }
            _ => None,
        })
    }

    fn trace(&mut self, event: Trace<'_>) {
        if let Trace::Debug { line, text } = event {
            println!("    line {line}: {}", String::from_utf8_lossy(text));
        }
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

/// Scripts as files beside the test.
struct Files {
    dir: PathBuf,
    global: Option<PathBuf>,
    script: PathBuf,
}

impl Library for Files {
    fn script(&mut self, location: Location, name: &str) -> Answer<Option<Vec<u8>>> {
        let dirs: Vec<PathBuf> = match location {
            Location::Global => vec![
                self.global.clone().unwrap_or_default(),
                self.dir.join("included-global"),
                self.script.join("included-global"),
            ],
            Location::Personal => {
                vec![self.dir.join("included"), self.script.clone(), self.dir.clone()]
            }
        };
        let files = dirs.iter().map(|dir| dir.join(format!("{name}.sieve")));
        Ok(files.filter(|file| file.is_file()).find_map(|file| std::fs::read(file).ok()))
    }
}

type Done<'a> = Result<Flow<'a>, Ended>;

/// The extension of the test language.
static TESTSUITE: Extension = Extension {
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
    namespace: Some(&Namespace { name: "tst", get: namespace }),
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
    // As SMTP would have it: brackets and routes go, what is no path is no envelope.
    let path = || {
        let inner = value.strip_prefix(b"<").and_then(|v| v.strip_suffix(b">"));
        let inner = inner.unwrap_or(&value);
        let bracketed = [b"<", inner, b">"].concat();
        let path = ReversePath::parse(&bracketed, Charset::Utf8).ok()?;
        Some(path.mailbox().map_or_else(Vec::new, |_| {
            let from = inner.rsplit(|b| *b == b':').next().unwrap_or_default();
            from.to_vec()
        }))
    };
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

impl Bench {
    /// Compiles a file; errors are kept, with one more that sums them up.
    fn compile(&mut self, file: &str) -> Option<Arc<Script>> {
        let path = self.dir.join(file);
        self.errors.clear();
        self.compiled = None;
        let source = match std::fs::read(&path) {
            Ok(source) => source,
            Err(e) => {
                self.errors.push(format!("{}: {e}", path.display()));
                return None;
            }
        };
        let global = self.config.get("sieve_global").map(PathBuf::from);
        let script = path.parent().unwrap_or(&self.dir).to_path_buf();
        let mut library = Files { dir: self.dir.clone(), global, script };
        match compile(&source, &Language::default(), &mut library) {
            Ok(script) if script.warnings.iter().any(|w| w.text.contains("is no script")) => {
                self.errors.extend(script.warnings.iter().map(|warning| warning.text.clone()));
                self.errors.push(format!("{file}: validation failed"));
                None
            }
            Ok(script) => {
                let script = Arc::new(script);
                self.compiled = Some(script.clone());
                Some(script)
            }
            Err(errors) => {
                self.errors.extend(errors.into_iter().map(|error| error.text));
                self.errors.push(format!("{file}: validation failed"));
                None
            }
        }
    }
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
