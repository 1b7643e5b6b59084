//! Fuzz targets: commands of a client, and messages as a client sees them.

use std::convert::Infallible;

use super::collect::{Bounds, Collector, Next};
use super::command::{self, Command};
use super::eval::Facts;
use super::fetch::{self, Fetch, Item, Of, Section};
use super::flag::SystemFlags;
use super::search::{fold, Key, Needle, Op, Program, When};
use super::section::{self, Found, Wire};
use super::seqset::SeqSet;
use super::{bodystructure, envelope, lex, response, write};
use crate::proto::cursor::Cursor;
use crate::proto::date::Date;
use crate::proto::mime::{self, Extent};

/// Fuzz target: a command's bytes, as they are and as a collector gathers them.
///
/// Names, sets and items come back as they went in; SEARCH finds what a search
/// that looks everything up finds.
pub fn fuzz_command(bytes: &[u8]) {
    if let Ok(tagged) = command::parse(bytes) {
        look(&tagged.command, bytes);
    }
    // That it answers is all that is asked.
    let _ = command::parse_append(bytes);
    let mut collector = Collector::new(Bounds::LOGIN);
    let mut lines = bytes.split(|b| *b == b'\n');
    while let Some(line) = lines.next() {
        match collector.line(line.strip_suffix(b"\r").unwrap_or(line)) {
            Next::Literal(_) => collector.literal(lines.next().unwrap_or_default()),
            _ => collector.clear(),
        }
        assert!(collector.bytes().len() <= Bounds::LOGIN.command.saturating_add(2));
    }
}

fn look(command: &Command<'_>, bytes: &[u8]) {
    match command {
        Command::Search { search, .. } => {
            let program = &search.program;
            let found = program.bind(10, 100).matches(&mut Mail);
            assert_eq!(found, Ok(looks_everything_up(program)));
        }
        Command::List(list) => {
            // As long as the name of a directory can be.
            let name = bytes.get(..255).unwrap_or(bytes);
            for pattern in list.compile(b'.') {
                pattern.matches(name);
            }
        }
        Command::Fetch { set, items, .. } => {
            ranges(set);
            items.iter().for_each(named_again);
        }
        Command::Store { set, .. } => ranges(set),
        Command::Select(name) | Command::Create(name) | Command::Delete(name) => {
            let mut out = Vec::new();
            write::astring(&mut out, name.name());
            let mut c = Cursor::new(&out);
            assert_eq!(lex::astring(&mut c).as_deref(), Ok(name.name()));
            assert!(c.at_end());
            let mut out = Vec::new();
            response::lsub(&mut out, &[], b'.', name.name());
            assert!(is_response(&out), "LSUB");
        }
        _ => {}
    }
}

/// What is written of a set is the set.
fn ranges(set: &SeqSet) {
    let ranges = set.resolve(1000);
    if ranges.is_empty() {
        return;
    }
    let mut out = Vec::new();
    ranges.write(&mut out);
    let again = SeqSet::parse(&mut Cursor::new(&out)).map(|s| s.resolve(1000));
    assert_eq!(again.as_ref(), Ok(&ranges));
    let ordered = |w: &[(u32, u32)]| matches!(w, [(_, a), (b, _)] if a < b);
    assert!(ranges.ranges().windows(2).all(ordered));
}

/// The name of an answer asks for the same again.
fn named_again(item: &Item<'_>) {
    let Item::Section(asked) = item else { return };
    let mut out = Vec::new();
    asked.write_name(&mut out);
    let whole = match out.strip_suffix(b">") {
        Some(origin) => [origin, b".7>"].concat(),
        None => out,
    };
    let again = fetch::parse_items(&mut Cursor::new(&whole));
    let again = again.as_deref().ok().and_then(|items| match items {
        [Item::Section(again)] => Some(again),
        _ => None,
    });
    let same = |a: &Fetch<'_>| a.name == asked.name && a.section == asked.section;
    assert!(again.is_some_and(same), "{}", whole.escape_ascii());
}

/// Runs a program with every answer, in the plain way.
fn looks_everything_up(program: &Program<'_>) -> bool {
    let mut stack = Vec::new();
    for op in &program.0 {
        let top = match op {
            Op::Key(key) => key_holds(key),
            Op::Not => !stack.pop().unwrap_or(false),
            Op::And => stack.pop().unwrap_or(false) & stack.pop().unwrap_or(false),
            Op::Or => stack.pop().unwrap_or(false) | stack.pop().unwrap_or(false),
        };
        stack.push(top);
    }
    assert!(stack.len() <= 1, "one answer is left");
    stack.pop().unwrap_or(false)
}

fn key_holds(key: &Key<'_>) -> bool {
    let mail = &mut Mail;
    let day = mail.internal_day();
    match key {
        Key::All => true,
        Key::Flag(flag, set) => mail.flags().has(*flag) == *set,
        Key::Recent(recent) => *recent,
        Key::New => false,
        Key::Keyword(keyword, set) => mail.has_keyword(keyword) == *set,
        Key::Internal(when, to) | Key::Sent(when, to) => {
            day.is_ok_and(|day| When::holds(*when, day, *to))
        }
        Key::Larger(n) => *n < 1000,
        Key::Smaller(n) => *n > 1000,
        Key::Header(_, needle) | Key::Body(needle) | Key::Text(needle) => needle.is_in(&fold(TEXT)),
        Key::Seq(set) => set.resolve(10).contains(3),
        Key::Uid(set) => set.resolve(100).contains(30),
    }
}

const TEXT: &str = "Hello World";

/// A message that has something of everything.
struct Mail;

impl Facts for Mail {
    type Error = Infallible;

    fn seq(&self) -> u32 {
        3
    }

    fn uid(&self) -> u32 {
        30
    }

    fn flags(&self) -> SystemFlags {
        SystemFlags::SEEN
    }

    fn recent(&self) -> bool {
        true
    }

    fn has_keyword(&self, keyword: &[u8]) -> bool {
        keyword.eq_ignore_ascii_case(b"$x")
    }

    fn internal_day(&mut self) -> Result<Date, Infallible> {
        Ok(Date { year: 2020, month: 2, day: 1 })
    }

    fn size(&mut self) -> Result<u64, Infallible> {
        Ok(1000)
    }

    fn sent_day(&mut self) -> Result<Option<Date>, Infallible> {
        self.internal_day().map(Some)
    }

    fn header_has(&mut self, _: &[u8], needle: &Needle) -> Result<bool, Infallible> {
        Ok(needle.is_in(&fold(TEXT)))
    }

    fn body_has(&mut self, needle: &Needle) -> Result<bool, Infallible> {
        Ok(needle.is_in(&fold(TEXT)))
    }

    fn text_has(&mut self, needle: &Needle) -> Result<bool, Infallible> {
        Ok(needle.is_in(&fold(TEXT)))
    }
}

/// Fuzz target: a message as FETCH shows it.
///
/// What is written is a response; a section has as many octets as the literal
/// says before its first one, and a partial is that part of the whole.
pub fn fuzz_message(bytes: &[u8]) {
    let structure = mime::scan(bytes);
    for extended in [false, true] {
        let mut out = Vec::new();
        let header = |e: &Extent| Ok::<_, Infallible>(e.of(bytes).to_vec());
        let Ok(()) = bodystructure::write(&mut out, &structure, extended, header);
        assert!(is_response(&out), "BODYSTRUCTURE");
    }
    let mut out = Vec::new();
    envelope::write(&mut out, bytes);
    assert!(is_response(&out), "ENVELOPE");
    let paths: [&[u32]; 6] = [&[], &[1], &[2], &[1, 1], &[2, 1], &[1, 1, 1]];
    for part in paths {
        for of in [Of::All, Of::Header, Of::Text, Of::Mime] {
            let section = Section { part: part.to_vec(), of };
            match section::find(&structure, &section) {
                Found::Bytes(extent) => literal(bytes, &extent),
                Found::Fields { .. } | Found::Nothing => {}
            }
        }
    }
    let names = [b"from".as_slice().into(), b"to".as_slice().into()];
    let header = bytes.get(..500).unwrap_or(bytes);
    let (these, others) = (
        section::select_fields(header, &names, false),
        section::select_fields(header, &names, true),
    );
    assert!(these.ends_with(b"\r\n") && others.ends_with(b"\r\n"));
    let most = header.len().saturating_mul(3).saturating_add(8);
    assert!(these.len().saturating_add(others.len()) <= most);
}

fn literal(bytes: &[u8], extent: &Extent) {
    let text = extent.of(bytes);
    let mut whole = Vec::new();
    Wire::whole().feed(text, &mut whole);
    assert_eq!(u64::try_from(whole.len()), Ok(extent.wire_octets()), "the literal's length");
    assert!(!whole.contains(&0));
    let (skip, count) = section::window(extent.wire_octets(), Some((3, 10)));
    let mut wire = Wire::window(skip, count);
    let mut part = Vec::new();
    text.chunks(2).for_each(|piece| wire.feed(piece, &mut part));
    let wanted: Vec<u8> = whole.iter().copied().skip(3).take(10).collect();
    assert_eq!(part, wanted, "a partial is a part of the whole");
}

/// True if parentheses match, every string is whole, and nothing but a string
/// holds a line end or a byte that no atom has.
fn is_response(out: &[u8]) -> bool {
    let out = out.strip_suffix(b"\r\n").unwrap_or(out);
    let mut c = Cursor::new(out);
    let mut depth: usize = 0;
    while let Some(b) = c.peek() {
        match b {
            b'"' | b'{' => {
                if lex::string(&mut c).is_err() {
                    return false;
                }
                continue;
            }
            b'(' => depth = depth.saturating_add(1),
            b')' => match depth.checked_sub(1) {
                Some(less) => depth = less,
                None => return false,
            },
            0..=0x1f | 0x7f..=0xff => return false,
            _ => {}
        }
        c.next_byte();
    }
    depth == 0
}
