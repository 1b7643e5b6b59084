//! Whole dialogues with a session over a socketpair, on a mail root of their own.

use super::*;
use crate::conf::ast::{Auto, Mailbox as Configured, SpecialUse};
use crate::disk::maildir::Root;
use crate::sys::fdpass;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::atomic::AtomicU32;

#[path = "session_work_tests.rs"]
mod work;

/// The sessions of a house, so that they can be told to end.
#[derive(Default)]
struct Sessions {
    running: std::sync::Mutex<Vec<OwnedFd>>,
    stopping: Arc<AtomicBool>,
}

impl Sessions {
    fn start(&self, account: Arc<Account>, fd: OwnedFd, sid: u64) {
        self.running.lock().unwrap().push(fd.try_clone().unwrap());
        let stopping = self.stopping.clone();
        std::thread::spawn(move || run(account, fd, sid, stopping));
    }

    /// As the process does it: the input is closed, which wakes those that wait.
    fn stop(&self) {
        self.stopping.store(true, Ordering::SeqCst);
        for fd in self.running.lock().unwrap().iter() {
            crate::sys::net::shutdown(fd.as_fd(), std::net::Shutdown::Read).unwrap();
        }
    }
}

/// A mail root that goes when the test ends.
struct Place(PathBuf);

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0); // clutter
    }
}

/// An account and the sessions on it.
struct House {
    place: Place,
    account: Arc<Account>,
    sessions: Sessions,
}

/// A client's end of a session.
struct Client {
    wire: File,
    read: Vec<u8>,
    tags: u32,
}

impl House {
    fn new() -> House {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("rmail-session.{}.{n}", std::process::id()));
        let root = Root::open(&path, "host").unwrap();
        let configured = |name: &str, special_use, auto| Configured {
            name: name.into(),
            special_use: Some(special_use),
            auto,
        };
        let settings = vec![
            configured("Junk", SpecialUse::Junk, Auto::Subscribe),
            configured("Sent", SpecialUse::Sent, Auto::Create),
        ];
        let account = Arc::new(Account::new(root, settings));
        House { place: Place(path), account, sessions: Sessions::default() }
    }

    fn log_in(&self) -> Client {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        self.sessions.start(self.account.clone(), theirs, 7);
        let mut client = Client { wire: File::from(ours), read: Vec::new(), tags: 0 };
        client.send(&hello().framed().unwrap());
        let welcome = client.until("login");
        assert!(welcome[0].starts_with("login OK [CAPABILITY IMAP4rev1 "), "{welcome:?}");
        client
    }

    /// A client that has a mailbox selected.
    fn select(&self, name: &str) -> Client {
        let mut client = self.log_in();
        client.ok(&format!("SELECT {name}"));
        client
    }

    fn deliver(&self, mailbox: &str, text: &str) {
        let name = Name::new(mailbox).unwrap();
        let mut draft = self.account.draft(&name).unwrap();
        draft.write(text.replace('\n', "\r\n").as_bytes()).unwrap();
        self.account.deliver(&name, draft.finish(Some(1_000_000_000)).unwrap()).unwrap();
    }
}

impl Client {
    fn send(&mut self, bytes: &[u8]) {
        self.wire.write_all(bytes).unwrap();
    }

    fn read_more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let n = self.wire.read(&mut piece).unwrap();
        self.read.extend_from_slice(&piece[..n]);
        n > 0
    }

    /// The next response without its CRLF, literals included.
    fn response(&mut self) -> String {
        let mut from = 0;
        loop {
            let Some(at) = memchr::memmem::find(&self.read[from..], b"\r\n") else {
                assert!(self.read_more(), "closed; {}", String::from_utf8_lossy(&self.read));
                continue;
            };
            let end = from + at;
            match crate::proto::imap::collect::announced(&self.read[from..end]) {
                Some(head) => {
                    from = end + 2 + head.octets as usize;
                    while self.read.len() < from {
                        assert!(self.read_more());
                    }
                }
                None => {
                    let line: Vec<u8> = self.read.drain(..end + 2).collect();
                    return String::from_utf8_lossy(&line[..end]).into_owned();
                }
            }
        }
    }

    /// All responses up to the tagged one.
    fn until(&mut self, tag: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.response());
            if all.last().unwrap().starts_with(&format!("{tag} ")) {
                return all;
            }
        }
    }

    /// Sends a command and gives its responses, tags taken off.
    fn command(&mut self, text: &str) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {text}\r\n").as_bytes());
        let mut all = self.until(&tag);
        let last = all.pop().unwrap();
        all.push(last[tag.len() + 1..].to_string());
        all
    }

    /// The untagged responses of a command that must succeed.
    fn ok(&mut self, text: &str) -> Vec<String> {
        let mut all = self.command(text);
        let last = all.pop().unwrap();
        assert!(last.starts_with("OK"), "{text}: {last}");
        all
    }

    /// The tagged answer of a command.
    fn answer(&mut self, text: &str) -> String {
        self.command(text).pop().unwrap()
    }

    fn closed(&mut self) -> bool {
        !self.read_more()
    }
}

/// imap's first word.
fn hello() -> Hello {
    Hello {
        sid: 7,
        user: "joe".into(),
        client: "192.0.2.1".into(),
        tls: true,
        tag: b"login".to_vec(),
    }
}

const MAIL: &str =
    "From: Joe <joe@example.com>\nTo: ann@example.com\nSubject: =?utf-8?q?gr=C3=BCn?=\n\
    Date: Sun, 09 Sep 2001 03:46:40 +0200\nMessage-ID: <1@x>\n\nHello World\nsecond line\n";

#[test]
fn the_capabilities_are_the_same_at_login_and_on_request() {
    let house = House::new();
    let mut c = house.log_in();
    assert_eq!(c.ok("CAPABILITY"), [format!("* CAPABILITY {}", capability::SESSION)]);
}

#[test]
fn select_tells_the_mailbox() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    house.deliver("INBOX", MAIL);
    let mut c = house.log_in();
    let all = c.command("SELECT inbox");
    let text = all.join("\n");
    assert!(text.contains("* FLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft)"), "{text}");
    assert!(
        text.contains("* OK [PERMANENTFLAGS (\\Answered \\Flagged \\Deleted \\Seen \\Draft \\*)]")
    );
    assert!(text.contains("* 2 EXISTS") && text.contains("* 2 RECENT"));
    assert!(text.contains("* OK [UNSEEN 1]") && text.contains("* OK [UIDNEXT 3]"));
    assert!(text.contains("* OK [UIDVALIDITY ") && text.contains("OK [READ-WRITE]"));
    // Recent messages are recent once.
    let again = c.command("EXAMINE INBOX").join("\n");
    assert!(again.contains("* 0 RECENT") && again.contains("[READ-ONLY]"));
    assert!(again.contains("[CLOSED]") && again.contains("[PERMANENTFLAGS ()]"));
}

#[test]
fn a_select_that_fails_leaves_nothing_selected() {
    let house = House::new();
    let mut c = house.select("INBOX");
    assert!(c.answer("SELECT nope").starts_with("NO [NONEXISTENT]"));
    assert_eq!(c.answer("FETCH 1 FLAGS"), "BAD No mailbox selected.");
}

#[test]
fn fetch_gives_every_item() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut c = house.select("INBOX");
    let all = c.ok("FETCH 1 (UID FLAGS RFC822.SIZE INTERNALDATE ENVELOPE BODY)");
    assert_eq!(all.len(), 1);
    assert!(all[0].starts_with("* 1 FETCH (UID 1 FLAGS (\\Recent) RFC822.SIZE "), "{}", all[0]);
    let size = MAIL.len() + MAIL.matches('\n').count();
    assert!(all[0].contains(&format!("RFC822.SIZE {size} ")), "{}", all[0]);
    assert!(
        all[0].contains("INTERNALDATE \"09-Sep-2001 ")
            || all[0].contains("INTERNALDATE \" 9-Sep-2001 ")
    );
    assert!(all[0].contains("\"=?utf-8?q?gr=C3=BCn?=\" ((\"Joe\" NIL \"joe\" \"example.com\"))"));
    assert!(all[0]
        .ends_with("BODY (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 26 2))"));
}

#[test]
fn a_body_is_marked_seen_unless_it_is_peeked_at() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut c = house.select("INBOX");
    assert_eq!(
        c.ok("FETCH 1 BODY.PEEK[TEXT]"),
        ["* 1 FETCH (BODY[TEXT] {26}\r\nHello World\r\nsecond line\r\n)"]
    );
    assert_eq!(
        c.ok("FETCH 1 BODY[TEXT]<6.5>"),
        ["* 1 FETCH (BODY[TEXT]<6> {5}\r\nWorld FLAGS (\\Seen \\Recent))"]
    );
    assert_eq!(
        c.ok("UID FETCH 1 BODY[HEADER.FIELDS (Message-ID)]"),
        ["* 1 FETCH (UID 1 BODY[HEADER.FIELDS (Message-ID)] {21}\r\nMessage-ID: <1@x>\r\n\r\n)"]
    );
    assert_eq!(c.ok("FETCH 1 BODY[7]"), ["* 1 FETCH (BODY[7] NIL)"]);
}

#[test]
fn a_read_only_mailbox_marks_nothing() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut c = house.log_in();
    c.ok("EXAMINE INBOX");
    assert!(!c.ok("FETCH 1 BODY[]")[0].contains("Seen"));
    assert!(c.answer("STORE 1 +FLAGS \\Seen").starts_with("NO"));
    assert!(c.answer("EXPUNGE").starts_with("NO"));
}

#[test]
fn a_large_message_is_sent_in_pieces_and_whole() {
    let house = House::new();
    let line = "0123456789abcdef\n";
    let text = format!("Subject: big\n\n{}", line.repeat(40_000));
    house.deliver("INBOX", &text);
    let mut c = house.select("INBOX");
    let wire = text.replace('\n', "\r\n");
    let all = c.ok("FETCH 1 (UID BODY.PEEK[])");
    assert_eq!(all[0], format!("* 1 FETCH (UID 1 BODY[] {{{}}}\r\n{wire})", wire.len()));
    let part = c.ok("FETCH 1 BODY.PEEK[TEXT]<500000.20>");
    let body = &wire[wire.find("\r\n\r\n").unwrap() + 4..];
    assert_eq!(
        part[0],
        format!("* 1 FETCH (BODY[TEXT]<500000> {{20}}\r\n{})", &body[500_000..500_020])
    );
}

#[test]
fn sequence_numbers_beyond_the_mailbox_are_an_error_and_uids_are_not() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut c = house.select("INBOX");
    assert_eq!(c.answer("FETCH 2 FLAGS"), "BAD Invalid message set.");
    assert_eq!(c.answer("STORE 1:2 FLAGS x"), "BAD Invalid message set.");
    assert_eq!(c.command("UID FETCH 5 FLAGS"), ["OK Fetch completed."]);
    assert_eq!(c.ok("UID FETCH 5:* FLAGS"), ["* 1 FETCH (UID 1 FLAGS (\\Recent))"]);
    let mut empty = house.select("Sent");
    assert_eq!(empty.answer("FETCH * FLAGS"), "BAD Invalid message set.");
    assert_eq!(empty.command("UID FETCH 1:* FLAGS"), ["OK Fetch completed."]);
}

#[test]
fn a_set_in_an_empty_mailbox_names_nothing_where_a_search_has_it() {
    let house = House::new();
    let mut c = house.select("Sent");
    for set in ["1:*", "*", "1", "5:7,9", "NOT 1:*", "UID 1:*"] {
        assert_eq!(c.ok(&format!("SEARCH {set}")), ["* SEARCH"], "{set}");
        assert_eq!(c.ok(&format!("UID SEARCH {set}")), ["* SEARCH"], "{set}");
    }
    let esearch = |lines: Vec<String>| lines[0].split_once(')').unwrap().1.to_string();
    assert_eq!(esearch(c.ok("SEARCH RETURN () 1:*")), "");
    assert_eq!(esearch(c.ok("SEARCH RETURN (MIN MAX COUNT) 1:*")), " COUNT 0");
    assert_eq!(esearch(c.ok("UID SEARCH RETURN (ALL COUNT) 1:*")), " UID COUNT 0");
    // By number it is an error elsewhere, by UID it is none: as with Dovecot.
    for command in ["FETCH 1:* FLAGS", "STORE 1:* FLAGS \\Seen", "COPY 1:* Junk", "MOVE 1:* Junk"] {
        assert_eq!(c.answer(command), "BAD Invalid message set.", "{command}");
        assert!(c.ok(&format!("UID {command}")).is_empty(), "{command}");
    }
}

#[test]
fn store_changes_flags_and_answers_unless_silent() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut c = house.select("INBOX");
    let all = c.ok("STORE 1 +FLAGS (\\Seen $Work)");
    assert_eq!(all.last().unwrap(), "* 1 FETCH (FLAGS (\\Seen \\Recent $Work))");
    assert!(all[0].starts_with("* FLAGS (") && all[0].contains("$Work"), "{all:?}");
    assert_eq!(c.ok("UID STORE 1 -FLAGS \\Seen"), ["* 1 FETCH (UID 1 FLAGS (\\Recent $Work))"]);
    assert!(c.ok("STORE 1 FLAGS.SILENT (\\Draft)").is_empty());
    assert_eq!(c.ok("FETCH 1 FLAGS"), ["* 1 FETCH (FLAGS (\\Draft \\Recent))"]);
}

#[test]
fn another_session_hears_of_flags_expunges_and_new_mail() {
    let house = House::new();
    for _ in 0..3 {
        house.deliver("INBOX", MAIL);
    }
    let (mut a, mut b) = (house.select("INBOX"), house.select("INBOX"));
    a.ok("STORE 1:2 +FLAGS.SILENT \\Deleted");
    assert_eq!(b.ok("NOOP").len(), 2);
    assert_eq!(a.ok("EXPUNGE"), ["* 2 EXPUNGE", "* 1 EXPUNGE"]);
    house.deliver("INBOX", MAIL);
    // RFC 3501 7.4.1: no EXPUNGE while a command uses sequence numbers.
    let during = b.ok("FETCH 3 UID");
    assert_eq!(during[0], "* 3 FETCH (UID 3)");
    assert!(!during.iter().any(|l| l.contains("EXPUNGE")), "{during:?}");
    let after = b.ok("NOOP");
    assert_eq!(&after[..2], ["* 2 EXPUNGE", "* 1 EXPUNGE"]);
    assert_eq!(b.ok("FETCH 1:* UID"), ["* 1 FETCH (UID 3)", "* 2 FETCH (UID 4)"]);
}

#[test]
fn close_expunges_silently_and_unselect_does_not() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    house.deliver("INBOX", MAIL);
    let mut c = house.select("INBOX");
    c.ok("STORE 1 +FLAGS \\Deleted");
    assert!(c.ok("UNSELECT").is_empty());
    assert!(c.ok("SELECT INBOX").contains(&"* 2 EXISTS".to_string()));
    assert!(c.ok("CLOSE").is_empty());
    assert!(c.ok("SELECT INBOX").contains(&"* 1 EXISTS".to_string()));
}

#[test]
fn uid_expunge_removes_only_its_set() {
    let house = House::new();
    for _ in 0..3 {
        house.deliver("INBOX", MAIL);
    }
    let mut c = house.select("INBOX");
    c.ok("STORE 1:3 +FLAGS.SILENT \\Deleted");
    assert_eq!(c.ok("UID EXPUNGE 2"), ["* 2 EXPUNGE"]);
}

#[test]
fn copy_and_move_tell_the_new_uids() {
    let house = House::new();
    for _ in 0..3 {
        house.deliver("INBOX", MAIL);
    }
    let mut c = house.select("INBOX");
    assert!(c.answer("COPY 1 nope").starts_with("NO [TRYCREATE]"));
    let copied = c.answer("COPY 1:2 Junk");
    assert!(copied.starts_with("OK [COPYUID ") && copied.contains(" 1:2 1:2]"), "{copied}");
    let moved = c.command("UID MOVE 3 Junk");
    assert!(moved[0].starts_with("* OK [COPYUID ") && moved[0].contains(" 3 3]"), "{moved:?}");
    assert_eq!(moved[1], "* 3 EXPUNGE");
    assert_eq!(c.answer("UID COPY 99 Junk"), "OK No messages copied.");
    let mut junk = house.select("Junk");
    assert_eq!(junk.ok("FETCH 1:* FLAGS").len(), 3);
}

#[test]
fn append_streams_a_message_with_flags_and_date() {
    let house = House::new();
    let mut c = house.select("INBOX");
    c.send(b"a APPEND INBOX (\\Seen $Tag) \" 1-Feb-2020 12:00:00 +0000\" {18}\r\n");
    assert_eq!(c.response(), "+ OK");
    c.send(b"Subject: x\r\n\r\nabc\n\r\n");
    let all = c.until("a");
    assert!(all.contains(&"* 1 EXISTS".to_string()), "{all:?}");
    assert!(all.last().unwrap().starts_with("a OK [APPENDUID "), "{all:?}");
    let fetched = c.ok("FETCH 1 (FLAGS INTERNALDATE RFC822)");
    assert!(fetched[0].contains("\\Seen") && fetched[0].contains("$Tag"), "{fetched:?}");
    assert!(fetched[0].contains("-Feb-2020"));
    assert!(fetched[0].contains("Subject: x\r\n\r\nabc\r\n"));
}

#[test]
fn a_date_that_the_index_has_no_room_for_is_kept_all_the_same() {
    let house = House::new();
    let mut c = house.log_in();
    for year in [1960, 2020, 2150] {
        c.ok(&format!("APPEND INBOX \" 1-Jul-{year} 12:00:00 +0000\" {{3+}}\r\na\r\n"));
    }
    c.ok("SELECT INBOX");
    let dates = c.ok("FETCH 1:3 INTERNALDATE");
    for (line, year) in dates.iter().zip([1960, 2020, 2150]) {
        assert!(line.contains(&format!("-Jul-{year} ")), "{line}");
    }
    assert_eq!(c.ok("SEARCH BEFORE 1-Jan-1970"), ["* SEARCH 1"]);
    assert_eq!(c.ok("SEARCH SINCE 1-Jan-2110"), ["* SEARCH 3"]);
}

#[test]
fn append_refuses_before_it_asks() {
    let house = House::new();
    let mut c = house.log_in();
    assert!(c.answer("APPEND nope {5}").starts_with("NO [TRYCREATE]"));
    assert!(c.answer("APPEND INBOX {999999999}").starts_with("NO [TOOBIG]"));
    assert!(c.answer("APPEND INBOX {0}").starts_with("NO"));
    assert!(c.answer("APPEND INBOX (\\Nope) {5}").starts_with("BAD"));
    // Unasked literals of refused commands are read over.
    c.send(b"a APPEND nope {5+}\r\nabcde\r\nb NOOP\r\n");
    assert!(c.until("a").pop().unwrap().starts_with("a NO [TRYCREATE]"));
    assert!(c.until("b").pop().unwrap().starts_with("b OK"));
    c.send(b"c APPEND INBOX {3+}\r\na\0b\r\nd NOOP\r\n");
    assert!(c.until("c").pop().unwrap().starts_with("c NO"));
    assert!(c.until("d").pop().unwrap().starts_with("d OK"));
    assert!(c.ok("STATUS INBOX (MESSAGES)").contains(&"* STATUS INBOX (MESSAGES 0)".to_string()));
}

#[test]
fn search_finds_by_index_header_and_body() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    house.deliver("INBOX", "Subject: other\nContent-Transfer-Encoding: base64\n\nZsO8ciBkaWNo\n");
    let mut c = house.select("INBOX");
    for (criteria, want) in [
        ("ALL", "* SEARCH 1 2"),
        ("SUBJECT \"grün\"", "* SEARCH 1"),
        ("CHARSET UTF-8 SUBJECT \"GRÜN\"", "* SEARCH 1"),
        ("BODY \"hello world second\"", "* SEARCH 1"),
        ("TEXT message-id", "* SEARCH 1"),
        ("FROM joe@EXAMPLE", "* SEARCH 1"),
        ("SENTON 9-Sep-2001", "* SEARCH 1"),
        ("NOT SUBJECT other UNSEEN", "* SEARCH 1"),
        ("OR SUBJECT other BODY nothing", "* SEARCH 2"),
        ("HEADER Message-ID \"\"", "* SEARCH 1"),
        ("SINCE 1-Jan-2002", "* SEARCH"),
        ("SMALLER 100", "* SEARCH 2"),
    ] {
        assert_eq!(c.ok(&format!("SEARCH {criteria}")), [want], "{criteria}");
    }
    house.deliver(
        "INBOX",
        "Subject: bill\nContent-Type: multipart/mixed; boundary=b\n\n--b\n\nsee there\n--b\n\
         Content-Type: application/pdf; name=\"invoice.pdf\"\n\nJVBERg==\n--b--\n",
    );
    assert_eq!(c.ok("NOOP")[0], "* 3 EXISTS");
    assert_eq!(c.ok("SEARCH TEXT invoice.pdf"), ["* SEARCH 3"]);
    assert_eq!(c.ok("SEARCH BODY invoice.pdf"), ["* SEARCH"]);
    c.ok("STORE 3 FLAGS.SILENT \\Deleted");
    c.ok("EXPUNGE");
    let esearch = c.ok("UID SEARCH RETURN (MIN MAX COUNT ALL) ALL");
    assert!(esearch[0].ends_with(" UID MIN 1 MAX 2 COUNT 2 ALL 1:2"), "{esearch:?}");
    assert!(c.answer("SEARCH CHARSET KOI8-R ALL").starts_with("NO [BADCHARSET (US-ASCII UTF-8)]"));
    assert_eq!(c.answer("SEARCH 5"), "BAD Invalid message set.");
}

#[test]
fn list_shows_special_use_and_mailboxes_that_are_not_there_yet() {
    let house = House::new();
    let mut c = house.log_in();
    c.ok("CREATE Deep.er");
    assert_eq!(
        c.ok("LIST \"\" *"),
        [
            "* LIST (\\HasNoChildren) \".\" INBOX",
            "* LIST (\\Noselect \\HasChildren) \".\" Deep",
            "* LIST (\\HasNoChildren) \".\" Deep.er",
            "* LIST (\\HasNoChildren \\Junk) \".\" Junk",
            "* LIST (\\HasNoChildren \\Sent) \".\" Sent",
        ]
    );
    assert!(!house.place.0.join(".Junk").exists());
    assert_eq!(c.ok("LIST \"\" \"\""), ["* LIST (\\Noselect) \".\" \"\""]);
    assert_eq!(c.ok("LSUB \"\" *"), ["* LSUB () \".\" Junk"]);
    let status = c.ok("LIST \"\" INBOX RETURN (STATUS (MESSAGES UIDNEXT))");
    assert_eq!(status, ["* LIST () \".\" INBOX", "* STATUS INBOX (MESSAGES 0 UIDNEXT 1)"]);
}

#[test]
fn phantom_folders_of_sieve_are_hidden() {
    let house = House::new();
    std::os::unix::fs::symlink("sieve/x", house.place.0.join(".dovecot.sieve")).unwrap();
    std::fs::create_dir(house.place.0.join("..DOVECOT-TRASHED")).unwrap();
    let mut c = house.log_in();
    let all = c.ok("LIST \"\" *").join("\n");
    assert!(!all.contains("sieve") && !all.contains("TRASHED"), "{all}");
}

#[test]
fn what_the_configuration_subscribes_can_be_unsubscribed_for_good() {
    let house = House::new();
    let mut c = house.log_in();
    let shown = |c: &mut Client| c.command("LSUB \"\" *").iter().any(|l| l.contains("Junk"));
    assert!(shown(&mut c));
    c.ok("UNSUBSCRIBE Junk");
    assert!(!shown(&mut c));
    assert!(!shown(&mut house.log_in()), "the file has it");
    c.ok("CREATE Junk");
    assert!(!shown(&mut c), "used or not");
    c.ok("SUBSCRIBE Junk");
    assert!(shown(&mut c));
    c.ok("UNSUBSCRIBE Junk");
    assert!(!shown(&mut c));
}

#[test]
fn mailboxes_are_created_renamed_subscribed_and_deleted() {
    let house = House::new();
    let mut c = house.log_in();
    c.ok("CREATE Arbeit.&AOQA9gD8-");
    assert!(house.place.0.join(".Arbeit.&AOQA9gD8-").is_dir());
    assert!(c.answer("CREATE Arbeit.&AOQA9gD8-").starts_with("NO [ALREADYEXISTS]"));
    assert_eq!(
        c.answer("CREATE a/b"),
        "NO [CANNOT] Invalid mailbox name: Name must not have '/' characters."
    );
    assert!(c.answer("CREATE &bad").starts_with("NO [CANNOT]"));
    c.ok("SUBSCRIBE Arbeit.&AOQA9gD8-");
    assert!(c.answer("SUBSCRIBE nope").starts_with("NO [NONEXISTENT]"));
    c.ok("RENAME Arbeit.&AOQA9gD8- Neu.x");
    c.ok("UNSUBSCRIBE Arbeit.&AOQA9gD8-");
    assert!(c.answer("DELETE INBOX").starts_with("NO [CANNOT]"));
    assert!(c.answer("DELETE nope").starts_with("NO [NONEXISTENT]"));
    c.ok("RENAME Junk Spam");
    assert!(house.place.0.join(".Spam").is_dir() && !house.place.0.join(".Junk").exists());
    c.ok("SELECT Neu.x");
    c.ok("DELETE Neu.x");
    assert_eq!(c.answer("FETCH 1 FLAGS"), "BAD No mailbox selected.");
}

#[test]
fn a_mailbox_that_another_session_deletes_ends_this_one() {
    let house = House::new();
    let mut a = house.log_in();
    a.ok("CREATE x");
    let mut b = house.select("x");
    a.ok("DELETE x");
    b.send(b"b NOOP\r\n");
    assert!(b.response().starts_with("* BYE [NONEXISTENT]"));
    assert!(b.closed());
}

#[test]
fn a_mailbox_that_another_program_removed_ends_its_sessions_and_can_be_made_again() {
    let house = House::new();
    house.log_in().ok("CREATE x");
    let mut b = house.select("x");
    std::fs::remove_dir_all(house.place.0.join(".x")).unwrap();
    b.send(b"b NOOP\r\n");
    assert!(b.response().starts_with("* BYE [NONEXISTENT]"));
    let mut c = house.log_in();
    assert!(c.answer("SELECT x").starts_with("NO [NONEXISTENT]"));
    c.ok("CREATE x");
    assert!(c.ok("SELECT x").contains(&"* 0 EXISTS".to_string()));
    house.deliver("x", MAIL);
    assert!(c.ok("NOOP").contains(&"* 1 EXISTS".to_string()));
}

#[test]
fn another_uidvalidity_ends_a_session_and_the_next_one_has_it() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let mut a = house.select("INBOX");
    std::fs::remove_file(house.place.0.join("dovecot-uidlist")).unwrap();
    // A delivery meanwhile is not lost.
    let name = Name::inbox();
    let mut draft = house.account.draft(&name).unwrap();
    draft.write(b"Subject: x\r\n\r\n").unwrap();
    house.account.deliver(&name, draft.finish(None).unwrap()).unwrap();
    a.send(b"a NOOP\r\n");
    assert!(a.response().starts_with("* BYE [NONEXISTENT]"));
    let mut b = house.select("INBOX");
    assert_eq!(b.ok("FETCH 1:* UID").len(), 2);
}

#[test]
fn parts_of_a_mailbox_that_are_missing_are_made() {
    let house = House::new();
    let mut a = house.select("INBOX");
    std::fs::remove_dir(house.place.0.join("new")).unwrap();
    a.ok("NOOP");
    house.deliver("INBOX", MAIL);
    assert!(a.ok("NOOP").contains(&"* 1 EXISTS".to_string()));
}

#[test]
fn a_mailbox_that_takes_long_to_open_holds_nobody_else_up() {
    let house = House::new();
    house.deliver("INBOX", MAIL);
    let slow = house.place.0.join(".slow");
    std::fs::create_dir(&slow).unwrap();
    // Another program works on it, so that making its list of UIDs must wait.
    let lock = slow.join("dovecot-uidlist.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let mut a = house.log_in();
    a.send(b"a STATUS slow (MESSAGES)\r\n");
    while !slow.join("tmp").exists() {
        std::thread::yield_now();
    }
    let mut b = house.select("INBOX");
    house.deliver("INBOX", MAIL);
    assert!(b.ok("NOOP").contains(&"* 2 EXISTS".to_string()));
    std::fs::remove_file(&lock).unwrap();
    assert_eq!(a.until("a")[0], "* STATUS slow (MESSAGES 0)");
}

#[test]
fn idle_is_told_from_memory() {
    let house = House::new();
    let mut c = house.select("INBOX");
    c.send(b"i IDLE\r\n");
    assert_eq!(c.response(), "+ idling");
    let begun = std::time::Instant::now();
    house.deliver("INBOX", MAIL);
    assert_eq!(c.response(), "* 1 EXISTS");
    assert_eq!(c.response(), "* 1 RECENT");
    assert!(begun.elapsed() < Duration::from_secs(5));
    c.send(b"done\r\n");
    assert_eq!(c.until("i"), ["i OK Idle completed."]);
    c.send(b"j IDLE\r\nk NOOP\r\n");
    assert_eq!(c.until("j").pop().unwrap(), "j BAD Expected DONE.");
}

#[test]
fn stopping_says_bye_to_those_who_wait() {
    let house = House::new();
    let mut idle = house.select("INBOX");
    idle.send(b"i IDLE\r\n");
    assert_eq!(idle.response(), "+ idling");
    let mut quiet = house.log_in();
    house.sessions.stop();
    assert_eq!(idle.response(), "* BYE Server shutting down.");
    assert_eq!(quiet.response(), "* BYE Server shutting down.");
    assert!(quiet.closed());
}

#[test]
fn pipelined_commands_are_answered_in_order() {
    let house = House::new();
    let mut c = house.select("INBOX");
    c.send(b"a NOOP\r\nb STATUS INBOX (MESSAGES)\r\nc LOGOUT\r\nd NOOP\r\n");
    assert_eq!(c.until("a").len(), 1);
    assert_eq!(c.until("b").len(), 2);
    assert_eq!(c.until("c"), ["* BYE Logging out", "c OK Logout completed."]);
    assert!(c.closed());
}

#[test]
fn what_pipelined_commands_are_answered_leaves_before_it_is_much() {
    let house = House::new();
    house.deliver("INBOX", &format!("Subject: x\n\n{}", "0123456789abcde\n".repeat(3700)));
    let slow = house.place.0.join(".slow");
    std::fs::create_dir(&slow).unwrap();
    // Another program works on it: STATUS of it is not answered for now.
    let lock = slow.join("dovecot-uidlist.lock");
    std::fs::write(&lock, "1:elsewhere").unwrap();
    let mut c = house.select("INBOX");
    // All of it is read at once; each answer is less than a flight.
    let fetch = "a FETCH 1 RFC822\r\n".repeat(2);
    c.send(format!("{fetch}b STATUS slow (MESSAGES)\r\n").as_bytes());
    let wait = Some(Duration::from_secs(30));
    assert!(crate::sys::poll::wait_for(c.wire.as_fd(), crate::sys::poll::IN, wait).unwrap());
    assert_eq!(c.until("a").last().unwrap(), "a OK Fetch completed.");
    assert!(lock.exists());
    std::fs::remove_file(&lock).unwrap();
    c.until("a");
    c.until("b");
}

#[test]
fn nonsense_is_answered_and_too_much_of_it_ends_the_session() {
    let house = House::new();
    let mut c = house.log_in();
    assert_eq!(c.answer("FROBNICATE"), "BAD Unknown command.");
    assert_eq!(c.answer("LOGIN a b"), "BAD Already logged in.");
    c.send(b"\r\n");
    assert_eq!(c.response(), "* BAD Tag missing or malformed.");
    c.send(&[vec![b'x'; 100_000], b"\r\n".to_vec()].concat());
    assert_eq!(c.response(), "* BAD Command line too long.");
    assert!(c.answer("SELECT {70000}").starts_with("BAD [TOOBIG]"));
    for _ in 0..limits::IMAP_BAD_COMMANDS.default {
        c.send(b"(((((\r\n");
    }
    let mut last = c.response();
    while last.starts_with("* BAD") {
        last = c.response();
    }
    assert_eq!(last, "* BYE Too many invalid commands.");
}

#[test]
fn a_refused_line_with_a_literal_behind_it_ends_the_session() {
    let house = House::new();
    let long = [vec![b'x'; 100_000], b" {14+}\r\nz LOGOUT\r\nabcd\r\n".to_vec()].concat();
    for line in [long, b"a NO\0OP {10+}\r\nz LOGOUT\r\n\r\n".to_vec()] {
        let mut c = house.log_in();
        c.send(&line);
        let bad = c.response();
        assert!(bad.contains("BAD "), "{bad}");
        assert_eq!(c.response(), "* BYE Literal too large.");
        assert!(c.closed(), "what was in the literal is no command");
    }
}

#[test]
fn odds_and_ends() {
    let house = House::new();
    let mut c = house.log_in();
    assert_eq!(c.ok("NAMESPACE"), ["* NAMESPACE ((\"\" \".\")) NIL NIL"]);
    assert_eq!(c.ok("ENABLE CONDSTORE"), ["* ENABLED"]);
    assert_eq!(c.ok("ID (\"name\" \"x\")"), ["* ID (\"name\" \"rmail\")"]);
    let status = c.ok("STATUS Junk (RECENT UNSEEN)");
    assert_eq!(status, ["* STATUS Junk (RECENT 0 UNSEEN 0)"]);
}

#[test]
fn delete_deselects_what_it_deleted_and_not_what_had_its_name() {
    let house = House::new();
    let mut c = house.log_in();
    c.ok("CREATE A");
    c.ok("SELECT A");
    let mut other = house.log_in();
    other.ok("RENAME A B");
    other.ok("CREATE A");
    c.ok("DELETE A");
    // B is selected still.
    c.ok("CHECK");
    c.ok("DELETE B");
    assert!(!c.answer("CHECK").starts_with("OK "), "nothing is selected now");
}

#[test]
fn a_source_that_is_gone_is_no_reason_to_create_the_target() {
    let house = House::new();
    let mut c = house.log_in();
    c.ok("CREATE A");
    house.deliver("A", "Subject: x\n\nx\n");
    c.ok("SELECT A");
    house.log_in().ok("DELETE A");
    let answer = c.answer("COPY 1 INBOX");
    assert!(answer.starts_with("NO ") && !answer.contains("TRYCREATE"), "{answer}");
}

#[test]
fn renaming_the_inbox_leaves_no_empty_mailbox_behind_when_it_fails() {
    let house = House::new();
    house.deliver("INBOX", "Subject: x\n\nx\n");
    let mut c = house.select("INBOX");
    let cur = house.place.0.join("cur");
    let name = std::fs::read_dir(&cur).unwrap().next().unwrap().unwrap().path();
    std::fs::rename(&name, house.place.0.join("kept")).unwrap();
    std::fs::create_dir(&name).unwrap();
    for _ in 0..2 {
        let answer = c.answer("RENAME INBOX Old");
        assert!(answer.starts_with("NO ") && !answer.contains("ALREADYEXISTS"), "{answer}");
    }
    std::fs::remove_dir(&name).unwrap();
    std::fs::rename(house.place.0.join("kept"), &name).unwrap();
    c.ok("RENAME INBOX Old");
    assert_eq!(c.ok("STATUS Old (MESSAGES)"), ["* STATUS Old (MESSAGES 1)"]);
}

#[test]
fn what_another_program_changed_is_told_although_store_is_silent() {
    let house = House::new();
    house.deliver("INBOX", "Subject: x\n\nx\n");
    let mut c = house.select("INBOX");
    let cur = house.place.0.join("cur");
    let name = std::fs::read_dir(&cur).unwrap().next().unwrap().unwrap().path();
    let flagged = format!("{}F", name.to_str().unwrap());
    std::fs::rename(&name, flagged).unwrap();
    let told = c.ok("STORE 1 +FLAGS.SILENT (\\Seen)");
    assert_eq!(told, ["* 1 FETCH (UID 1 FLAGS (\\Flagged \\Seen \\Recent))"]);
}
