//! Fuzz targets: any octets as a script, and any octets as script and message.

use std::any::Any;
use std::sync::Arc;

use super::action::{Program, Record};
use super::check::compile;
use super::compose::{self, Stamp};
use super::language::Language;
use super::message::Message;
use super::run::run;
use super::settings::Settings;
use super::surroundings::{Answer, Envelope, NoLibrary, Ran, Surroundings};
use super::{parse, print};
use crate::proto::date::DateTime;

/// Fuzz target: a script without errors is the same tree after printing and parsing, and
/// compiling anything ends.
pub fn fuzz_script(bytes: &[u8]) {
    let mut errors = Vec::new();
    let mut first = parse::parse(bytes, &mut errors);
    if errors.is_empty() {
        let text = print::print(&first);
        let mut second = parse::parse(&text, &mut errors);
        assert!(errors.is_empty(), "what is printed has no errors");
        first.strip_positions();
        second.strip_positions();
        assert_eq!(first, second, "printing and parsing gives the same tree");
        assert_eq!(print::print(&second), text, "the canonical form is one form");
    }
    let compiled = compile(bytes, &Language::default(), &mut NoLibrary);
    assert!(compiled.is_ok() || compiled.is_err_and(|errors| !errors.is_empty()));
}

/// Fuzz target: script, NUL, message.  Whatever they are, the run ends, and what it makes of the
/// message is made of its octets.
pub fn fuzz_run(bytes: &[u8]) {
    let at = memchr::memchr(0, bytes).unwrap_or(bytes.len());
    let (source, message) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
    let Ok(script) = compile(source, &Language::default(), &mut NoLibrary) else { return };
    let original = message.get(1..).unwrap_or_default().to_vec();
    let envelope = Envelope {
        from: Some(b"sender@example.com".to_vec()),
        to: Some(b"me@example.org".to_vec()),
        ..Envelope::default()
    };
    let settings = Settings { fuel: 300_000, ..Settings::default() };
    let message = Message::new(Arc::new(original.clone()));
    let outcome = run(&script, message, &envelope, &settings, &mut Nowhere);
    let date = DateTime::utc(0);
    let stamp = Stamp { date, message_id: "<1@example.org>", postmaster: "postmaster@example.org" };
    for action in &outcome.actions {
        use super::action::Action;
        match action {
            Action::Store(store) => {
                if let Some(edited) = &store.message {
                    let _bytes = edited.bytes(&original);
                }
            }
            Action::Vacation(vacation) => one_header(&compose::vacation(vacation, &stamp)),
            Action::Notify(notify) => one_header(&compose::notification(notify, &stamp)),
            Action::Reject(reject) => {
                let refusal = compose::refusal(reject, &envelope, &original, &stamp);
                refusal.iter().for_each(|bytes| one_header(bytes));
            }
            _ => {}
        }
    }
}

/// What is composed has one recipient field and no line that is no field.
fn one_header(bytes: &[u8]) {
    let fields = crate::proto::mime::Fields::new(bytes);
    let mut to = 0_usize;
    for field in fields {
        assert!(!field.name.is_empty(), "every line of a header is a field");
        to = to.saturating_add(usize::from(field.is(b"From")));
    }
    assert_eq!(to, 1, "one sender");
}

/// A world without anything in it.
pub(super) struct Nowhere;

impl Surroundings for Nowhere {
    fn now(&mut self) -> i64 {
        0
    }

    fn zone(&mut self, _: i64) -> i32 {
        0
    }

    fn environment(&mut self, _: &str) -> Option<Vec<u8>> {
        None
    }

    fn is_mine(&mut self, _: &[u8]) -> bool {
        false
    }

    fn mailbox_exists(&mut self, _: &[u8]) -> Answer<bool> {
        Ok(true)
    }

    fn mailbox_id_exists(&mut self, _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn special_use_exists(&mut self, _: Option<&[u8]>, _: &[u8]) -> Answer<bool> {
        Ok(false)
    }

    fn metadata(&mut self, _: Option<&[u8]>, name: &[u8]) -> Answer<Option<Vec<u8>>> {
        Ok(Some(name.to_vec()))
    }

    fn list_exists(&mut self, _: &[u8]) -> Answer<bool> {
        Ok(true)
    }

    fn list_contains(&mut self, _: &[u8], _: &[u8]) -> Answer<bool> {
        Ok(true)
    }

    fn list_members(&mut self, list: &[u8], _: usize) -> Answer<Vec<Vec<u8>>> {
        Ok(vec![list.to_vec()])
    }

    fn seen(&mut self, _: &Record) -> Answer<bool> {
        Ok(false)
    }

    fn run_program(&mut self, program: &Program) -> Answer<Option<Ran>> {
        Ok(Some(Ran { success: true, output: program.name.clone() }))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCRIPT: &str = r#"require ["fileinto","variables","vacation","enotify","body","mime",
        "foreverypart","replace","enclose","editheader","regex","relational","date","index",
        "imap4flags","encoded-character","extracttext","reject","ihave","envelope","copy",
        "subaddress","comparator-i;unicode-casemap","duplicate","include","spamtest"];
        set :lower :quotewildcard "a" "${hex:40}x${1}";
        if allof (header :matches ["subject","to"] "*[?]*", not size :over 3K) {
            fileinto :copy :flags "\\Seen a" "x/${2}"; }
        elsif anyof (address :detail :contains "to" "x", body :text :regex "(a|b)*c+") {
            addheader "X-A" "${a}"; deleteheader :index 1 :last :is "X-A" "y"; }
        else { notify :message "${1}" "mailto:a@example.net?subject=x&cc=b@example.net"; }
        foreverypart :name "p" { if header :mime :anychild :param "name" :contains
            "content-type" "x" { replace "gone"; break :name "p"; } extracttext :first 9 "t"; }
        if date :value "ge" :zone "+0100" "date" "julian" "5" { enclose :subject "${t}" "w"; }
        vacation :days 3 :addresses "me@example.org" :subject "s" text:
gone
..
.
        ; /* c */ if duplicate { stop; } # end
        redirect "b@example.net"; keep;"#;
    const MESSAGE: &str = "From: sue@example.com\r\nTo: me+x@example.org\r\nSubject: a [b] c\r\n\
        Date: Tue, 1 Apr 1997 09:06:31 -0800\r\nMessage-ID: <1@x>\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\n\
        abc\r\n--b\r\nContent-Type: text/html; name=x\r\n\r\n<b>x\r\n--b--\r\n";

    /// A few thousand mutations at each run of the tests; `FUZZ_SECS` asks for more.
    #[test]
    fn mutations_of_a_long_script_and_message() {
        let seed = [SCRIPT.as_bytes(), b"\0", MESSAGE.as_bytes()].concat();
        fuzz_script(SCRIPT.as_bytes());
        fuzz_run(&seed);
        let words: Vec<&[u8]> =
            seed.split(|b| b.is_ascii_whitespace()).filter(|w| !w.is_empty()).collect();
        let secs = std::env::var("FUZZ_SECS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
        let begun = std::time::Instant::now();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        if secs > 2 {
            state ^= u64::from(std::process::id());
        }
        let mut random = |below: usize| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            usize::try_from(state >> 16).unwrap() % below.max(1)
        };
        let mut runs = 0;
        while begun.elapsed().as_secs() < secs {
            let mut bytes = seed.clone();
            for _ in 0..=random(4) {
                let at = random(bytes.len());
                match random(7) {
                    0 => bytes[at] = u8::try_from(random(256)).unwrap(),
                    1 => drop(bytes.splice(at..at, words[random(words.len())].iter().copied())),
                    2 => drop(bytes.drain(at..(at + random(40)).min(bytes.len()))),
                    3 => bytes.insert(at, b"\"{}[](),;:$*?\\\r\n\0."[random(18)]),
                    4 => bytes.truncate(at.max(1)),
                    5 => {
                        let end = (at + random(60)).min(bytes.len());
                        let copy = bytes[at..end].to_vec();
                        let to = random(bytes.len());
                        bytes.splice(to..to, copy);
                    }
                    _ => {
                        // Whole commands change places.
                        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|b| *b == b';').collect();
                        let (a, b) = (random(lines.len()), random(lines.len()));
                        lines.swap(a, b);
                        bytes = lines.concat();
                    }
                }
                if bytes.is_empty() {
                    bytes.push(b'k');
                }
            }
            fuzz_script(bytes.split(|b| *b == 0).next().unwrap());
            fuzz_run(&bytes);
            runs += 1;
        }
        assert!(runs > 0);
        if secs > 2 {
            println!("{runs} runs");
        }
    }
}
