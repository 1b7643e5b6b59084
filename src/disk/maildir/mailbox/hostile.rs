//! Tests of stores that other programs, users and crashes have left behind.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::disk::maildir::Flags;
use crate::disk::testdir::TestDir;

struct Store(TestDir);

impl Store {
    /// A mail root with these files; a name that ends in '/' is a directory.
    fn new(files: &[(&str, &str)]) -> Store {
        let store = Store(TestDir::new());
        for part in ["cur", "new", "tmp"] {
            fs::create_dir_all(store.path(part)).unwrap();
        }
        for (name, text) in files {
            fs::create_dir_all(store.path(name).parent().unwrap()).unwrap();
            fs::write(store.path(name), text).unwrap();
        }
        store
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.0.path().join("mail").join(rest)
    }

    fn root(&self) -> Arc<Root> {
        Arc::new(Root::open(&self.0.path().join("mail"), "host").unwrap())
    }

    fn inbox(&self) -> Mailbox {
        Mailbox::open(self.root(), &Name::inbox()).unwrap()
    }

    fn names(&self, part: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(part)).unwrap();
        let mut all: Vec<String> =
            entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        all.sort();
        all
    }
}

fn shown(m: &Mailbox) -> Vec<(u32, String)> {
    let text = |b: &[u8]| String::from_utf8(b.to_vec()).unwrap();
    m.messages().iter().map(|m| (m.attrs.uid, text(&m.base))).collect()
}

const LIST: &str = "3 V7 N2 G0123456789abcdef0123456789abcdef\n";

#[test]
fn one_file_under_two_names_is_one_message() {
    let store = Store::new(&[("cur/1.a.h:2,S", "x\n")]);
    fs::hard_link(store.path("cur/1.a.h:2,S"), store.path("new/1.a.h")).unwrap();
    // Just made: it may be a rename on its way, so both names stay.
    let mailbox = store.inbox();
    assert_eq!(shown(&mailbox), [(1, "1.a.h".into())]);
    assert_eq!((store.names("new").len(), store.names("cur").len()), (1, 1));
}

#[test]
fn two_files_with_one_base_are_two_messages() {
    let store = Store::new(&[("cur/1.a.h,S=2:2,S", "x\n"), ("new/1.a.h,S=2", "y\n")]);
    let mailbox = store.inbox();
    assert_eq!(mailbox.messages().len(), 2);
    let all = [store.names("cur"), store.names("new")].concat();
    let bases: std::collections::BTreeSet<&[u8]> =
        all.iter().map(|n| file::split(n.as_bytes()).0).collect();
    assert_eq!(bases.len(), 2, "{all:?}");
    assert!(bases.iter().all(|b| file::size_field(b, b'S') == Some(2)));
}

#[test]
fn what_is_no_message_is_not_shown() {
    let store = Store::new(&[
        ("cur/1.ok:2,", "x\n"),
        ("cur/.hidden", "x"),
        ("cur/:2,S", "x"),
        ("cur/dir/inside", "x"),
        ("new/with\nline", "x"),
    ]);
    std::os::unix::fs::symlink("/etc/passwd", store.path("cur/2.link:2,")).unwrap();
    assert_eq!(shown(&store.inbox()), [(1, "1.ok".into())]);
}

#[test]
fn a_message_that_became_a_link_is_not_opened() {
    let store = Store::new(&[("cur/1.a:2,", "x\n")]);
    let mut mailbox = store.inbox();
    fs::remove_file(store.path("cur/1.a:2,")).unwrap();
    std::os::unix::fs::symlink("/etc/passwd", store.path("cur/1.a:2,")).unwrap();
    assert!(mailbox.open_message(1).is_err());
}

#[test]
fn records_without_files_files_without_records_and_a_low_next_uid() {
    let list = format!("{LIST}1 :1.gone\n4 :1.there\n9 :1.gone-too\n");
    let store = Store::new(&[
        ("dovecot-uidlist", &list),
        ("cur/1.there:2,F", "x\n"),
        ("new/1.fresh:2,S", "x\n"),
    ]);
    let mailbox = store.inbox();
    assert_eq!(shown(&mailbox), [(4, "1.there".into()), (10, "1.fresh".into())]);
    assert_eq!((mailbox.uidvalidity(), mailbox.uidnext()), (7, 11));
    // Flags in new/ count, and stay when it moves.
    assert_eq!(mailbox.get(10).unwrap().attrs.flags, Flags::SEEN);
}

#[test]
fn a_damaged_line_costs_only_its_own_uid() {
    let list = format!("{LIST}1 :1.a\nrubbish\n3 :1.c\n2 :1.b\n\u{1}\n77");
    let files = [
        ("dovecot-uidlist", list.as_str()),
        ("cur/1.a:2,", ""),
        ("cur/1.b:2,", ""),
        ("cur/1.c:2,", ""),
    ];
    let store = Store::new(&files);
    let mailbox = store.inbox();
    assert_eq!(shown(&mailbox), [(1, "1.a".into()), (3, "1.c".into()), (4, "1.b".into())]);
    let text = fs::read_to_string(store.path("dovecot-uidlist")).unwrap();
    assert!(text.ends_with("\n1 :1.a\n3 :1.c\n4 :1.b\n"), "{text}");
}

#[test]
fn a_list_that_is_no_list_means_a_new_uidvalidity() {
    for text in ["", "\n", "2 x\n", "3 V0 N1\n", "\0\0\0\0"] {
        let store = Store::new(&[
            ("dovecot-uidlist", text),
            ("dovecot-uidvalidity.70000000", ""),
            ("cur/1.a:2,", ""),
        ]);
        let mailbox = store.inbox();
        assert_eq!(mailbox.uidvalidity(), 0x7000_0001, "{text:?}");
        assert_eq!(shown(&mailbox), [(1, "1.a".into())]);
    }
}

#[test]
fn a_list_without_a_uid_left_means_a_new_uidvalidity() {
    for list in [
        "3 V7 N4294967294 G0123456789abcdef0123456789abcdef\n4 :1.a\n",
        "3 V7 N9\n4294967294 :1.a\n",
    ] {
        let store = Store::new(&[("dovecot-uidlist", list), ("cur/1.a:2,S", ""), ("new/1.b", "")]);
        let mailbox = store.inbox();
        assert_ne!(mailbox.uidvalidity(), 7, "{list:?}");
        let shown = shown(&mailbox);
        assert_eq!(shown.iter().map(|(uid, _)| *uid).collect::<Vec<_>>(), [1, 2], "{shown:?}");
    }
}

#[test]
fn a_list_without_guid_or_of_version_1_is_taken_over_with_its_uids() {
    for (text, uid) in [("3 V7 N9\n5 :1.a\n", 5), ("1 7 9\n6 1.a:2,S\n", 6)] {
        let store = Store::new(&[("dovecot-uidlist", text), ("cur/1.a:2,", "")]);
        let mailbox = store.inbox();
        assert_eq!((mailbox.uidvalidity(), mailbox.uidnext()), (7, 9));
        assert_eq!(shown(&mailbox), [(uid, "1.a".into())]);
        let text = fs::read_to_string(store.path("dovecot-uidlist")).unwrap();
        assert!(text.starts_with("3 V7 N9 G"), "{text}");
    }
}

#[test]
fn sizes_in_names_that_lie_are_not_believed() {
    let store = Store::new(&[
        ("cur/1.a,S=2,W=3:2,", "x\n"),
        ("cur/1.b,S=999,W=1000:2,", "x\ny\n"),
        ("cur/1.c:2,", "x\r\ny\r\n"),
    ]);
    let mut mailbox = store.inbox();
    let sizes: Vec<u64> = (1..=3).map(|uid| mailbox.size_of(uid).unwrap()).collect();
    assert_eq!(sizes, [3, 6, 6]);
    let physical: Vec<u32> = mailbox.messages().iter().map(|m| m.attrs.size).collect();
    assert_eq!(physical, [2, 4, 6]);
    // Counted once, then kept.
    drop(mailbox);
    let mailbox = store.inbox();
    assert!(mailbox.messages().iter().all(|m| m.attrs.vsize != UNKNOWN));
}

#[test]
fn keyword_letters_without_a_name_are_shown_and_not_given_away() {
    let store =
        Store::new(&[("dovecot-keywords", "1 known\n99 no\nrubbish\n"), ("cur/1.a:2,Sabc", "")]);
    let mut mailbox = store.inbox();
    let names = |m: &Mailbox| m.keywords().names(m.get(1).unwrap().attrs.keywords);
    assert_eq!(names(&mailbox), ["unknown-0", "known", "unknown-2"]);
    mailbox.store_flags(&[1], FlagOp::Add, Flags::NONE, &["fresh"]).unwrap();
    assert_eq!(store.names("cur"), ["1.a:2,Sabcd"]);
    assert_eq!(fs::read(store.path("dovecot-keywords")).unwrap(), b"1 known\n3 fresh\n");
}

#[test]
fn a_lock_of_the_store_before_does_not_hold_anybody_up() {
    let store = Store::new(&[
        ("rmail.lock", "4711\n"),
        ("dovecot-uidlist.lock", "4711:host"),
        ("new/1.a", ""),
    ]);
    let begun = std::time::Instant::now();
    assert_eq!(shown(&store.inbox()), [(1, "1.a".into())]);
    assert!(begun.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_folder_without_parts_or_marker_is_a_mailbox_and_others_are_not() {
    let store = Store::new(&[(".A/note", ""), (".file", ""), ("..DOVECOT-TRASHED/x", "")]);
    std::os::unix::fs::symlink("/", store.path(".link")).unwrap();
    fs::create_dir(store.path(".dovecot.sieve")).unwrap();
    fs::create_dir(store.path(".bad&name")).unwrap();
    let root = store.root();
    let names: Vec<String> = root.list().unwrap().iter().map(Name::to_string).collect();
    assert_eq!(names, ["INBOX", "A"]);
    let a = Name::new("A").unwrap();
    assert!(Mailbox::open(root.clone(), &a).is_ok());
    assert!(store.path(".A/cur").is_dir());
    let link = Name::new("link").unwrap();
    assert!(matches!(Mailbox::open(root, &link), Err(Error::NoMailbox)));
}

#[test]
fn two_stores_of_one_account_are_one_too_many() {
    let store = Store::new(&[]);
    let _root = store.root();
    let second = Root::open(&store.0.path().join("mail"), "host");
    assert!(matches!(second, Err(Error::Locked(_))));
}
