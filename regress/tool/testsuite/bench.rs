//! The world of a test file: an in-memory mail store, an SMTP sink, records,
//! annotations, lists and programs.

use std::any::Any;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use rmail::proto::date::DateTime;
use rmail::proto::sieve::action::{Action, Input, Program, Record, RecordKind, Store};
use rmail::proto::sieve::check::compile;
use rmail::proto::sieve::code::Script;
use rmail::proto::sieve::compose::{self, Stamp};
use rmail::proto::sieve::language::{Language, EXTENSIONS};
use rmail::proto::sieve::message::Message;
use rmail::proto::sieve::result::Results;
use rmail::proto::sieve::run::conclude;
use rmail::proto::sieve::settings::Settings;
use rmail::proto::sieve::surroundings::{
    Answer, Envelope, Library, Location, Ran, Surroundings, Trace,
};

use super::verbs::TESTSUITE;

/// A stored message.
#[derive(Clone)]
pub struct Stored {
    pub bytes: Vec<u8>,
    pub flags: Vec<Vec<u8>>,
}

/// A message that was sent.
#[derive(Clone)]
pub struct Sent {
    pub from: Vec<u8>,
    pub to: Vec<u8>,
    pub bytes: Vec<u8>,
}

/// Mailbox, or the server, and name.
type Annotation = (Option<Vec<u8>>, Vec<u8>);

/// The world of a test file.
pub struct Bench {
    pub dir: PathBuf,
    pub mailboxes: HashMap<Vec<u8>, Vec<Stored>>,
    pub sent: Vec<Sent>,
    pub metadata: HashMap<Annotation, Vec<u8>>,
    pub records: Vec<(Record, i64)>,
    pub settings: Settings,
    pub config: HashMap<String, String>,
    pub envelope: Envelope,
    /// Compiled scripts that were put aside.
    pub saved: HashMap<Vec<u8>, Arc<Script>>,
    pub compiled: Option<Arc<Script>>,
    pub errors: Vec<String>,
    pub running: Option<String>,
    pub failure: Option<String>,
    pub passed: usize,
    pub failed: Vec<(String, String)>,
    pub skipped: Option<String>,
    pub ids: u32,
}

impl Bench {
    pub fn new(dir: PathBuf) -> Self {
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

    pub fn begin_test(&mut self, name: String) {
        self.end_test();
        self.running = Some(name);
    }

    pub fn end_test(&mut self) {
        let Some(name) = self.running.take() else { return };
        match self.failure.take() {
            Some(why) => self.failed.push((name, why)),
            None => self.passed += 1,
        }
    }

    pub fn fail(&mut self, why: &str) {
        self.running.get_or_insert_with(|| "outside of tests".into());
        self.failure.get_or_insert_with(|| why.to_string());
    }

    /// A mailbox, where INBOX has one name in any case, before a separator too.
    pub fn mailbox(&mut self, name: &[u8]) -> Option<&mut Vec<Stored>> {
        let mut name = name.to_vec();
        if let Some(first) = name.split_mut(|b| matches!(b, b'.' | b'/')).next() {
            if first.eq_ignore_ascii_case(b"INBOX") {
                first.make_ascii_uppercase();
            }
        }
        self.mailboxes.get_mut(&name)
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
        let failed = |why| format!("failed to store into mailbox '{shown}': {why}");
        if name.split(|b| *b == b'/').any(<[u8]>::is_empty) {
            return Err(failed("the name has an empty part"));
        }
        let mailbox = self.mailbox(&name).ok_or_else(|| failed("it does not exist"))?;
        mailbox.push(Stored { bytes, flags: store.flags.clone() });
        Ok(())
    }

    /// Carries out the actions; after a failure the message is kept as it came.
    pub fn execute(&mut self, results: Results, message: &Message) -> Result<(), String> {
        let done = self.carry_out(results, message);
        if done.is_err() {
            self.store(&Store::default(), message.original().to_vec())?;
        }
        done
    }

    fn carry_out(&mut self, results: Results, message: &Message) -> Result<(), String> {
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
                    let mut bytes = compose::redirected(redirect);
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
}

impl Bench {
    /// Compiles a file; errors are kept, with one more that sums them up.
    pub fn compile(&mut self, file: &str) -> Option<Arc<Script>> {
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
        // Scripts under test may use the test language too.
        let language = Language::new(EXTENSIONS.iter().copied().chain([&TESTSUITE]));
        match compile(&source, &language, &mut library) {
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

fn now() -> i64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |d| i64::try_from(d.as_secs()).unwrap_or(0))
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
pub struct Files {
    pub dir: PathBuf,
    pub global: Option<PathBuf>,
    pub script: PathBuf,
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
