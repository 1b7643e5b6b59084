//! Tests of every command: well-formed, malformed, hostile, in random pieces.

use super::*;
use crate::proto::imap::collect::{Bounds, Collector, Next};
use crate::proto::imap::flag::SystemFlags;

fn ok(text: &str) -> Command<'_> {
    let parsed = parse(text.as_bytes()).unwrap_or_else(|e| panic!("{text}: {e:?}"));
    assert_eq!(parsed.tag, b"a1");
    parsed.command
}

fn fault(text: &str) -> Fault {
    match parse(text.as_bytes()) {
        Ok(command) => panic!("{text}: {command:?}"),
        Err(refused) => refused.fault,
    }
}

#[test]
fn commands_without_arguments() {
    for (word, command) in [
        ("CAPABILITY", Command::Capability),
        ("NOOP", Command::Noop),
        ("LOGOUT", Command::Logout),
        ("STARTTLS", Command::StartTls),
        ("NAMESPACE", Command::Namespace),
        ("IDLE", Command::Idle),
        ("CHECK", Command::Check),
        ("CLOSE", Command::Close),
        ("UNSELECT", Command::Unselect),
        ("EXPUNGE", Command::Expunge(None)),
    ] {
        assert_eq!(ok(&format!("a1 {word}")), command);
        assert_eq!(ok(&format!("a1 {}\r\n", word.to_lowercase())), command);
        assert_eq!(fault(&format!("a1 {word} x")), Fault::Trailing);
        assert_eq!(fault(&format!("a1 {word} ")), Fault::Trailing);
    }
}

#[test]
fn the_tag_comes_back_with_the_fault() {
    let refused = parse(b"x.7 FOO bar").unwrap_err();
    assert_eq!((refused.tag, refused.fault), (Some(&b"x.7"[..]), Fault::Unknown));
    for bad in ["", " NOOP", "a1", "a+ NOOP", "a1  NOOP", "\r\n", "(a NOOP"] {
        assert!(matches!(fault(bad), Fault::Tag | Fault::Unknown), "{bad}");
    }
    let long = format!("{} NOOP", "t".repeat(limits::IMAP_TAG.size() + 1));
    assert_eq!(parse(long.as_bytes()).unwrap_err().tag, None);
}

#[test]
fn login_takes_atoms_quoted_strings_and_literals() {
    for text in [
        "a1 LOGIN joe secret",
        "a1 login \"joe\" \"secret\"",
        "a1 LOGIN {3}\r\njoe {6+}\r\nsecret",
        "a1 LOGIN joe \"se\\cret\"",
    ] {
        match parse(text.as_bytes()).map(|t| t.command) {
            Ok(Command::Login { user, password }) => {
                assert_eq!((&*user, &*password), (&b"joe"[..], &b"secret"[..]));
            }
            other => assert!(text.contains("\\c") && other.is_err(), "{text}"),
        }
    }
    assert_eq!(fault("a1 LOGIN joe"), Fault::Space);
    assert_eq!(fault("a1 LOGIN joe a b"), Fault::Trailing);
}

#[test]
fn authenticate_may_carry_its_first_response() {
    let auth = |m, i| Command::Authenticate { mechanism: m, initial: i };
    assert_eq!(ok("a1 AUTHENTICATE PLAIN"), auth(b"PLAIN", None));
    assert_eq!(ok("a1 AUTHENTICATE PLAIN AGEAYg=="), auth(b"PLAIN", Some(b"AGEAYg==")));
    assert_eq!(ok("a1 AUTHENTICATE EXTERNAL ="), auth(b"EXTERNAL", Some(b"=")));
    assert_eq!(fault("a1 AUTHENTICATE"), Fault::Space);
    assert_eq!(fault("a1 AUTHENTICATE PLAIN "), Fault::AString);
}

#[test]
fn id_has_pairs_or_nil() {
    assert_eq!(ok("a1 ID NIL"), Command::Id(vec![]));
    match ok("a1 ID (\"name\" \"mutt\" \"os\" NIL)") {
        Command::Id(pairs) => {
            assert_eq!(pairs.len(), 2);
            assert_eq!(pairs[1].1, None);
        }
        other => panic!("{other:?}"),
    }
    assert!(parse(b"a1 ID (\"name\")").is_err());
    let many = format!("a1 ID ({}\"x\" NIL)", "\"x\" NIL ".repeat(limits::IMAP_ID_FIELDS.size()));
    assert_eq!(fault(&many), Fault::TooMany);
}

#[test]
fn mailbox_commands_know_inbox_in_any_case() {
    let inbox = Mailbox::from_text(Text::Borrowed(b"INBOX"));
    assert_eq!(ok("a1 SELECT inbox"), Command::Select(inbox.clone()));
    assert_eq!(ok("a1 EXAMINE \"InBox\""), Command::Examine(inbox.clone()));
    assert!(matches!(ok("a1 CREATE a.b"), Command::Create(m) if m.name() == b"a.b"));
    assert!(matches!(ok("a1 DELETE {3}\r\na b"), Command::Delete(m) if m.name() == b"a b"));
    assert!(matches!(ok("a1 SUBSCRIBE x]"), Command::Subscribe(m) if m.name() == b"x]"));
    assert!(matches!(ok("a1 UNSUBSCRIBE x"), Command::Unsubscribe(_)));
    match ok("a1 RENAME inbox \"old mail\"") {
        Command::Rename { from, to } => assert!(from.is_inbox() && to.name() == b"old mail"),
        other => panic!("{other:?}"),
    }
    assert_eq!(fault("a1 SELECT"), Fault::Space);
    assert_eq!(fault("a1 SELECT a%"), Fault::Trailing);
}

#[test]
fn parameters_of_extensions_that_are_not_announced_are_refused() {
    assert_eq!(fault("a1 SELECT x (CONDSTORE)"), Fault::Parameter);
    assert_eq!(fault("a1 EXAMINE x (QRESYNC (1 2))"), Fault::Parameter);
    assert_eq!(fault("a1 CREATE x (USE (\\Drafts))"), Fault::Parameter);
    assert_eq!(fault("a1 FETCH 1 FLAGS (CHANGEDSINCE 5)"), Fault::Parameter);
    assert_eq!(fault("a1 STORE 1 (UNCHANGEDSINCE 5) FLAGS x"), Fault::Parameter);
    assert_eq!(fault("a1 STATUS x (HIGHESTMODSEQ)"), Fault::StatusItem);
}

#[test]
fn status_has_items() {
    match ok("a1 STATUS x (MESSAGES unseen UIDNEXT UIDVALIDITY RECENT MESSAGES)") {
        Command::Status(_, items) => assert_eq!(items.len(), 5),
        other => panic!("{other:?}"),
    }
    assert!(parse(b"a1 STATUS x ()").is_err() && parse(b"a1 STATUS x").is_err());
}

#[test]
fn lsub_is_list_without_options() {
    assert!(matches!(ok("a1 LSUB \"\" *"), Command::Lsub(l) if !l.extended));
    assert!(parse(b"a1 LSUB () \"\" *").is_err());
}

#[test]
fn enable_names_capabilities() {
    assert_eq!(ok("a1 ENABLE CONDSTORE x"), Command::Enable(vec![b"CONDSTORE", b"x"]));
    assert!(parse(b"a1 ENABLE").is_err());
}

#[test]
fn uid_forms() {
    assert!(matches!(ok("a1 UID COPY 1:* x"), Command::Copy { uid: true, .. }));
    assert!(matches!(ok("a1 COPY 1 x"), Command::Copy { uid: false, .. }));
    assert!(matches!(ok("a1 uid move 1 x"), Command::Move { uid: true, .. }));
    assert!(matches!(ok("a1 MOVE 1 x"), Command::Move { uid: false, .. }));
    assert!(matches!(ok("a1 UID EXPUNGE 3,5"), Command::Expunge(Some(_))));
    assert!(matches!(ok("a1 UID SEARCH ALL"), Command::Search { uid: true, .. }));
    assert_eq!(fault("a1 UID NOOP"), Fault::Unknown);
    assert_eq!(fault("a1 UID"), Fault::Space);
    assert_eq!(fault("a1 EXPUNGE 3"), Fault::Trailing);
}

#[test]
fn uid_fetch_always_gives_the_uid() {
    match ok("a1 UID FETCH 1 FLAGS") {
        Command::Fetch { items, .. } => assert_eq!(items, [Item::Uid, Item::Flags]),
        other => panic!("{other:?}"),
    }
    match ok("a1 UID FETCH 1 (FLAGS UID)") {
        Command::Fetch { items, .. } => assert_eq!(items, [Item::Flags, Item::Uid]),
        other => panic!("{other:?}"),
    }
    assert!(ok("a1 FETCH 1 FLAGS").holds_numbers());
    assert!(!ok("a1 UID FETCH 1 FLAGS").holds_numbers());
}

#[test]
fn store_replaces_adds_and_removes() {
    for (text, want, quiet) in [
        ("a1 STORE 1:2 FLAGS (\\Seen)", How::Replace, false),
        ("a1 STORE 1:2 +FLAGS \\Seen", How::Add, false),
        ("a1 UID STORE 1:2 -flags.silent (\\Seen)", How::Remove, true),
    ] {
        match ok(text) {
            Command::Store { how, silent, flags, .. } => {
                assert_eq!((how, silent), (want, quiet));
                assert_eq!(flags.system, SystemFlags::SEEN);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(ok("a1 STORE 1 FLAGS ()"), Command::Store { .. }));
    assert!(
        matches!(ok("a1 STORE 1 FLAGS a b"), Command::Store { flags, .. } if flags.keywords.len() == 2)
    );
    assert_eq!(fault("a1 STORE 1 +FLAG x"), Fault::StoreItem);
    assert_eq!(fault("a1 STORE 1 FLAGS \\Recent"), Fault::Flag);
    assert_eq!(fault("a1 STORE x FLAGS y"), Fault::SeqSet);
}

#[test]
fn append_up_to_its_message() {
    let append = |text: &'static str| parse_append(text.as_bytes()).unwrap().unwrap();
    let a = append("a1 APPEND INBOX {10}\r\n");
    assert!(a.mailbox.is_inbox() && a.date.is_none() && a.message.synchronising);
    let a = append("a1 append x (\\Seen $Mdn) \"17-Jul-1996 02:44:25 -0700\" {10+}\r\n");
    assert_eq!(a.flags.keywords, [&b"$Mdn"[..]]);
    assert_eq!(a.date.map(|d| d.unix), Some(837_596_665));
    assert!(!a.message.synchronising);
    assert_eq!(parse_append(b"a1 APPEND {5}\r\n"), Ok(None));
    assert_eq!(parse_append(b"a1 LOGIN {5}\r\n"), Ok(None));
    assert_eq!(fault("a1 APPEND INBOX"), Fault::Space);
    assert_eq!(fault("a1 APPEND INBOX \"not a literal\""), Fault::Date);
    assert_eq!(fault("a1 APPEND INBOX foo"), Fault::NoMessage);
    assert_eq!(parse_append(b"a1 APPEND INBOX foo {3}\r\n").unwrap_err().fault, Fault::NoMessage);
    assert_eq!(parse_append(b"a1 APPEND INBOX ~{3}\r\n").unwrap_err().fault, Fault::Binary);
}

/// A small generator, the same numbers on every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % n
    }
}

const SAMPLES: &[&str] = &[
    "a1 LOGIN {3}\r\njoe {2}\r\npw\r\n",
    "a1 LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a \"b c\" {2}\r\nd%) RETURN (STATUS (MESSAGES))\r\n",
    "a1 UID FETCH 1:*,4 (FLAGS BODY.PEEK[1.HEADER.FIELDS (From {2}\r\nTo)]<0.100>)\r\n",
    "a1 SEARCH RETURN (MIN) CHARSET UTF-8 OR (SEEN NOT 1:3) HEADER X \"y\" SUBJECT {4}\r\na\r\nb\r\n",
    "a1 STORE 1:2 -FLAGS.SILENT (\\Seen $x)\r\n",
    "a1 ID (\"name\" {4}\r\nmutt)\r\n",
    "a1 STATUS \"a b\" (UIDNEXT)\r\n",
    "a1 RENAME {3}\r\nabc {3+}\r\nd\te\r\n",
];

#[test]
fn mutated_commands_always_get_an_answer() {
    let mut dice = Dice(1);
    for round in 0..60_000 {
        let mut bytes = SAMPLES[round % SAMPLES.len()].as_bytes().to_vec();
        for _ in 0..=dice.below(4) {
            let at = dice.below(bytes.len());
            match dice.below(4) {
                0 => bytes[at] = b"(){}[]<>\"\\ *%\r\n0aN~+\xff\0"[dice.below(22)],
                1 => bytes.insert(at, b"({[\" \\1*"[dice.below(8)]),
                2 if bytes.len() > 1 => {
                    bytes.remove(at);
                }
                _ => bytes.truncate(at.max(1)),
            }
        }
        let _ = parse(&bytes);
        let _ = parse_append(&bytes);
    }
}

/// Feeds wire bytes to a collector as a session would.
fn collect(wire: &[u8]) -> Vec<u8> {
    let mut collector = Collector::new(Bounds::SESSION);
    let mut rest = wire;
    loop {
        let at = rest.windows(2).position(|w| w == b"\r\n").unwrap();
        let line = &rest[..at];
        rest = &rest[at + 2..];
        match collector.line(line) {
            Next::Whole => return collector.bytes().to_vec(),
            Next::Literal(head) => {
                let n = head.octets as usize;
                // In two pieces, as the network may bring them.
                let half = n / 2;
                collector.literal(&rest[..half]);
                collector.literal(&rest[half..n]);
                rest = &rest[n..];
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn collecting_and_parsing_agree_on_where_a_command_ends() {
    for sample in SAMPLES {
        let wire = format!("{sample}a2 NOOP\r\n");
        let bytes = collect(wire.as_bytes());
        assert_eq!(bytes, sample.as_bytes());
        assert!(parse(&bytes).is_ok(), "{sample}: {:?}", parse(&bytes));
    }
}
