//! Tests of the open mailbox, on real directories.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::*;
use crate::disk::maildir::{DeliveryId, Flags, MessageFile};
use crate::disk::testdir::TestDir;

struct Store {
    dir: TestDir,
    root: Option<Arc<Root>>,
}

impl Store {
    fn new() -> Store {
        let dir = TestDir::new();
        let root = Some(Arc::new(Root::open(&dir.path().join("mail"), "host.example").unwrap()));
        Store { dir, root }
    }

    /// As a new process would find it.
    fn reopen(&mut self) {
        self.root = None;
        let path = self.dir.path().join("mail");
        // Other tests start programs, which hold a copy of the lock until exec.
        let opened = (0..200).find_map(|_| match Root::open(&path, "host.example") {
            Err(Error::Locked(_)) => {
                std::thread::sleep(Duration::from_millis(10));
                None
            }
            other => Some(other),
        });
        self.root = Some(Arc::new(opened.unwrap().unwrap()));
    }

    fn root(&self) -> &Arc<Root> {
        self.root.as_ref().unwrap()
    }

    fn path(&self, rest: &str) -> PathBuf {
        self.dir.path().join("mail").join(rest)
    }

    fn inbox(&self) -> Mailbox {
        Mailbox::open(self.root().clone(), &Name::inbox()).unwrap()
    }

    fn open(&self, name: &str) -> Mailbox {
        Mailbox::open(self.root().clone(), &Name::new(name).unwrap()).unwrap()
    }

    fn deliver(&self, n: u32) {
        let id = DeliveryId { secs: 1_700_000_000, usecs: n, qid: "abc", rcpt: 1, copy: 0 };
        let name = self.root().delivery_name(&id);
        let mut draft = self.root().draft(&Name::inbox(), &name).unwrap();
        draft.write(format!("Subject: {n}\r\n\r\nbody\r\n").as_bytes()).unwrap();
        draft.finish(None).unwrap().deliver().unwrap();
    }

    fn append(&self, mailbox: &mut Mailbox, flags: Flags, keywords: &[&str]) -> u32 {
        let mut draft = self.root().draft(mailbox.name(), &self.root().unique()).unwrap();
        draft.write(b"Subject: x\r\n\r\nx\r\n").unwrap();
        let message = draft.finish(Some(1_600_000_000)).unwrap();
        let keywords = keywords.iter().map(|k| k.to_string()).collect();
        mailbox.adopt(vec![Incoming::new(message, flags, keywords)]).unwrap()[0]
    }
}

fn uids(mailbox: &Mailbox) -> Vec<u32> {
    mailbox.messages().iter().map(|m| m.attrs.uid).collect()
}

/// All that a client can see.
fn state(m: &Mailbox) -> Vec<(u32, Flags, Vec<String>, Option<i64>)> {
    let of = |x: &Message| {
        let a = &x.attrs;
        (a.uid, a.flags, m.keywords().names(a.keywords), m.internal_date(a.uid))
    };
    m.messages().iter().map(of).collect()
}

fn names(dir: &std::path::Path) -> Vec<String> {
    let mut all: Vec<String> =
        fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    all.sort();
    all
}

/// Makes a directory's mtime older than the second in which it proves nothing.
fn age(dir: &std::path::Path) {
    let old = SystemTime::now() - Duration::from_secs(5);
    fs::File::open(dir).unwrap().set_modified(old).unwrap();
}

#[test]
fn deliveries_get_uids_in_order_and_keep_them() {
    let mut store = Store::new();
    for n in [3, 1, 2] {
        store.deliver(n);
    }
    let mailbox = store.inbox();
    assert_eq!(uids(&mailbox), [1, 2, 3]);
    let first = &mailbox.messages()[0];
    assert!(first.base.starts_with(b"1700000000.M1QabcR1C0.host.example,S="));
    assert_eq!(first.attrs.size + 3, first.attrs.vsize);
    let validity = mailbox.uidvalidity();
    let before = state(&mailbox);
    drop(mailbox);
    store.reopen();
    store.deliver(0);
    let mailbox = store.inbox();
    assert_eq!(uids(&mailbox), [1, 2, 3, 4]);
    assert_eq!(mailbox.uidvalidity(), validity);
    assert_eq!(state(&mailbox)[..3], before[..]);
    assert_eq!(mailbox.uidnext(), 5);
}

#[test]
fn a_delivery_happens_once_and_is_found() {
    let store = Store::new();
    store.deliver(7);
    store.deliver(7);
    assert_eq!(names(&store.path("new")).len(), 1);
    assert!(names(&store.path("tmp")).is_empty());
    let id = DeliveryId { secs: 1_700_000_000, usecs: 7, qid: "abc", rcpt: 1, copy: 0 };
    assert_eq!(store.root().find_delivery(&id).unwrap(), Some(Name::inbox()));
    let mut mailbox = store.inbox();
    mailbox.expunge(&[1], |_| true);
    assert_eq!(store.root().find_delivery(&id).unwrap(), Some(Name::inbox()));
    let other = DeliveryId { rcpt: 2, ..id };
    assert_eq!(store.root().find_delivery(&other).unwrap(), None);
}

#[test]
fn a_delivery_whose_uid_cannot_be_written_is_one_all_the_same() {
    let store = Store::new();
    let mut mailbox = store.inbox();
    let id = DeliveryId { secs: 1_700_000_000, usecs: 7, qid: "abc", rcpt: 1, copy: 0 };
    let finished = || {
        let name = store.root().delivery_name(&id);
        let mut draft = store.root().draft(&Name::inbox(), &name).unwrap();
        draft.write(b"Subject: x\r\n\r\n").unwrap();
        draft.finish(None).unwrap()
    };
    // An unfinished line, so that the list must be replaced, and nothing to replace it with.
    let list = store.path("dovecot-uidlist");
    let whole = fs::read(&list).unwrap();
    fs::write(&list, [&whole[..], b"9 :unfin"].concat()).unwrap();
    fs::create_dir(store.path("dovecot-uidlist.tmp")).unwrap();
    assert_eq!(mailbox.deliver(finished()), Ok(None));
    assert_eq!(names(&store.path("new")).len(), 1);
    assert!(mailbox.messages().is_empty());
    fs::remove_dir(store.path("dovecot-uidlist.tmp")).unwrap();
    assert_eq!(mailbox.sync().unwrap().added.len(), 1);
    // The client takes it; the attempt is made again.
    mailbox.settle();
    assert_eq!(mailbox.deliver(finished()), Ok(None));
    assert!(names(&store.path("new")).is_empty() && names(&store.path("tmp")).is_empty());
    assert!(mailbox.sync().unwrap().is_empty());
    assert_eq!(mailbox.messages().len(), 1);
}

#[test]
fn flags_are_names_and_survive_every_loss_of_our_own_files() {
    let mut store = Store::new();
    store.deliver(1);
    store.deliver(2);
    let mut mailbox = store.inbox();
    let stored = mailbox
        .store_flags(&[1, 2, 99], FlagOp::Add, Flags::SEEN.with(Flags::FLAGGED), &["$Label1"])
        .unwrap();
    assert_eq!((stored.changed, stored.gone.len()), (vec![1, 2], 0));
    mailbox.store_flags(&[2], FlagOp::Remove, Flags::SEEN, &["$LABEL1", "unknown"]).unwrap();
    mailbox.store_flags(&[2], FlagOp::Set, Flags::DRAFT, &["two"]).unwrap();
    assert!(names(&store.path("cur"))[0].ends_with(":2,FSa"));
    assert!(names(&store.path("cur"))[1].ends_with(":2,Db"));
    assert_eq!(fs::read(store.path("dovecot-keywords")).unwrap(), b"0 $Label1\n1 two\n");
    let (before, modseq) = (state(&mailbox), mailbox.highest_modseq());
    drop(mailbox);
    for lost in [None, Some("rmail.index"), Some("rmail.meta")] {
        if let Some(name) = lost {
            fs::remove_file(store.path(name)).unwrap();
        }
        store.reopen();
        let mailbox = store.inbox();
        assert_eq!(state(&mailbox), before, "{lost:?}");
        assert!(mailbox.highest_modseq() >= modseq, "{lost:?}");
    }
}

#[test]
fn no_change_means_no_new_modseq() {
    let store = Store::new();
    store.deliver(1);
    let mut mailbox = store.inbox();
    let first = mailbox.store_flags(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    let again = mailbox.store_flags(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    assert_eq!((again.changed.len(), again.modseq), (0, 0));
    assert_eq!(mailbox.highest_modseq(), first.modseq);
    assert_eq!(mailbox.get(1).unwrap().attrs.modseq, first.modseq);
    let next = mailbox.store_flags(&[1], FlagOp::Remove, Flags::SEEN, &[]).unwrap();
    assert_eq!(next.modseq, first.modseq + 1);
}

#[test]
fn append_is_committed_with_its_date_flags_and_keywords() {
    let mut store = Store::new();
    let mut mailbox = store.inbox();
    assert_eq!(store.append(&mut mailbox, Flags::NONE, &[]), 1);
    assert_eq!(store.append(&mut mailbox, Flags::SEEN, &["k"]), 2);
    assert_eq!(names(&store.path("new")).len(), 1);
    assert_eq!(names(&store.path("cur")).len(), 1);
    assert_eq!(mailbox.internal_date(2), Some(1_600_000_000));
    assert!(mailbox.sync().unwrap().is_empty());
    let before = state(&mailbox);
    drop(mailbox);
    store.reopen();
    let mut mailbox = store.inbox();
    assert_eq!(state(&mailbox), before);
    assert_eq!(mailbox.size_of(2).unwrap(), 17);
    let text = mailbox.open_message(2).unwrap().read(0, 100).unwrap();
    assert_eq!(text, b"Subject: x\n\nx\n");
}

#[test]
fn settle_moves_new_mail_once_without_a_modseq() {
    let store = Store::new();
    store.deliver(1);
    let mut mailbox = store.inbox();
    let modseq = mailbox.highest_modseq();
    assert_eq!(mailbox.settle(), [1]);
    assert!(mailbox.settle().is_empty());
    assert_eq!(mailbox.highest_modseq(), modseq);
    assert!(names(&store.path("new")).is_empty());
    assert!(names(&store.path("cur"))[0].ends_with(":2,"));
    assert!(mailbox.sync().unwrap().is_empty());
}

#[test]
fn expunged_messages_are_remembered_and_their_uids_not_used_again() {
    let mut store = Store::new();
    for n in 1..=5 {
        store.deliver(n);
    }
    let mut mailbox = store.inbox();
    let start = mailbox.highest_modseq();
    mailbox.expunge(&[2, 3, 5], |_| true);
    assert_eq!(uids(&mailbox), [1, 4]);
    let gone = |m: &Mailbox| {
        m.expunged_since(start).map(|r| r.iter().map(|r| (r.first, r.last)).collect::<Vec<_>>())
    };
    assert_eq!(gone(&mailbox), Some(vec![(2, 3), (5, 5)]));
    drop(mailbox);
    store.reopen();
    let mailbox = store.inbox();
    assert_eq!(gone(&mailbox), Some(vec![(2, 3), (5, 5)]));
    assert_eq!(mailbox.expunged_since(0), None);
    drop(mailbox);
    fs::remove_file(store.path("rmail.index")).unwrap();
    store.deliver(9);
    let mailbox = store.inbox();
    assert_eq!(uids(&mailbox), [1, 4, 6]);
}

#[test]
fn a_file_that_comes_back_after_its_expunge_gets_a_new_uid() {
    let mut store = Store::new();
    store.deliver(1);
    store.deliver(2);
    let mut mailbox = store.inbox();
    let kept = store.path("kept");
    let name = names(&store.path("new"))[0].clone();
    fs::hard_link(store.path("new").join(&name), &kept).unwrap();
    mailbox.expunge(&[1], |_| true);
    drop(mailbox);
    fs::rename(&kept, store.path("cur").join(format!("{name}:2,S"))).unwrap();
    store.reopen();
    let mailbox = store.inbox();
    assert_eq!(uids(&mailbox), [2, 3]);
    drop(mailbox);
    store.reopen();
    assert_eq!(uids(&store.inbox()), [2, 3]);
}

#[test]
fn foreign_changes_are_found() {
    let store = Store::new();
    for n in 1..=3 {
        store.deliver(n);
    }
    let mut mailbox = store.inbox();
    mailbox.settle();
    let cur = store.path("cur");
    let all = names(&cur);
    fs::rename(cur.join(&all[0]), cur.join(format!("{}S", all[0]))).unwrap();
    fs::remove_file(cur.join(&all[1])).unwrap();
    fs::write(cur.join("1700000001.M1P1.other:2,F"), "x\n").unwrap();
    let changes = mailbox.sync().unwrap();
    assert_eq!((changes.flags, changes.expunged, changes.added), (vec![1], vec![2], vec![4]));
    assert_eq!(uids(&mailbox), [1, 3, 4]);
    assert_eq!(mailbox.get(1).unwrap().attrs.flags, Flags::SEEN);
    let modseqs: Vec<u64> = mailbox.messages().iter().map(|m| m.attrs.modseq).collect();
    assert!(modseqs[0] > modseqs[1] && modseqs[2] > modseqs[1]);
}

#[test]
fn a_message_that_another_program_renamed_is_still_stored_read_and_expunged() {
    let store = Store::new();
    store.deliver(1);
    let mut mailbox = store.inbox();
    let from = store.path("new").join(&names(&store.path("new"))[0]);
    let base = from.file_name().unwrap().to_str().unwrap().to_string();
    fs::rename(&from, store.path("cur").join(format!("{base}:2,F"))).unwrap();
    assert!(mailbox.open_message(1).is_ok());
    fs::rename(
        store.path("cur").join(format!("{base}:2,F")),
        store.path("cur").join(format!("{base}:2,R")),
    )
    .unwrap();
    let stored = mailbox.store_flags(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
    assert_eq!((stored.changed, stored.foreign.flags), (vec![1], vec![1]));
    assert_eq!(names(&store.path("cur")), [format!("{base}:2,RS")]);
    fs::rename(
        store.path("cur").join(format!("{base}:2,RS")),
        store.path("cur").join(format!("{base}:2,")),
    )
    .unwrap();
    assert_eq!(mailbox.expunge(&[1], |_| true).changed, [1]);
    assert!(matches!(mailbox.open_message(1), Err(Error::Gone)));
}

#[test]
fn what_others_have_unmarked_is_not_expunged() {
    let store = Store::new();
    store.deliver(1);
    store.deliver(2);
    let mut mailbox = store.inbox();
    mailbox.store_flags(&[1, 2], FlagOp::Add, Flags::DELETED, &[]).unwrap();
    let cur = store.path("cur");
    let marked = names(&cur);
    let unmarked = marked[0].trim_end_matches('T');
    fs::rename(cur.join(&marked[0]), cur.join(unmarked)).unwrap();
    let stored = mailbox.expunge(&[1, 2], |a| a.flags.has(Flags::DELETED));
    assert_eq!((stored.changed, stored.kept), (vec![2], vec![1]));
    assert_eq!(stored.foreign.flags, [1]);
    assert_eq!(names(&cur), [unmarked]);
}

#[test]
fn no_file_is_renamed_before_its_change_has_a_modseq() {
    let mut store = Store::new();
    store.deliver(1);
    drop(store.inbox());
    store.reopen();
    // Opened anew, the first change writes the mark of MODSEQs.
    let mut mailbox = store.inbox();
    let (before, modseq) = (names(&store.path("new")), mailbox.highest_modseq());
    fs::rename(store.path("rmail.meta"), store.path("aside")).unwrap();
    fs::create_dir(store.path("rmail.meta")).unwrap();
    let failed = mailbox.store_flags(&[1], FlagOp::Add, Flags::SEEN, &[]);
    assert!(failed.is_err(), "{failed:?}");
    assert_eq!((names(&store.path("new")), mailbox.highest_modseq()), (before, modseq));
    assert_eq!(mailbox.get(1).unwrap().attrs.flags, Flags::NONE);
    // What is expunged is gone from the mailbox all the same.
    let stored = mailbox.expunge(&[1], |_| true);
    assert!(stored.failed.is_some() && mailbox.messages().is_empty(), "{stored:?}");
    assert_eq!(stored.changed, [1]);
}

#[test]
fn keywords_without_a_letter_survive_an_index_that_is_behind() {
    let mut store = Store::new();
    let mut mailbox = store.inbox();
    let all: Vec<String> = (0..30).map(|n| format!("k{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let first = store.append(&mut mailbox, Flags::NONE, &all);
    let second = store.append(&mut mailbox, Flags::NONE, &all[29..]);
    drop(mailbox);
    let index = fs::read(store.path("rmail.index")).unwrap();
    store.reopen();
    let mut mailbox = store.inbox();
    mailbox.store_flags(&[first], FlagOp::Remove, Flags::NONE, &all[28..]).unwrap();
    mailbox.store_flags(&[second], FlagOp::Add, Flags::NONE, &all[28..29]).unwrap();
    let before = state(&mailbox);
    drop(mailbox);
    fs::write(store.path("rmail.index"), index).unwrap();
    store.reopen();
    assert_eq!(state(&store.inbox()), before);
}

#[test]
fn copies_keep_name_date_flags_keywords_and_guid() {
    let store = Store::new();
    store.root().create(&Name::new("Work").unwrap()).unwrap();
    let mut inbox = store.inbox();
    let uid = store.append(&mut inbox, Flags::FLAGGED, &["k1", "k2"]);
    let mut work = store.open("Work");
    let lent = inbox.lend(&[uid, 77], work.name()).unwrap();
    let incoming: Vec<Incoming> = lent.into_iter().map(|(_, m)| m).collect();
    let new = work.adopt(incoming).unwrap();
    assert_eq!(new, [1]);
    assert_eq!(work.get(1).unwrap().base, inbox.get(uid).unwrap().base);
    assert_eq!(work.keywords().names(work.get(1).unwrap().attrs.keywords), ["k1", "k2"]);
    assert_eq!(work.internal_date(1), Some(1_600_000_000));
    assert_eq!(work.message_guid(1), inbox.message_guid(uid));
    // Again: the name is taken, the GUID stays.
    let again: Vec<Incoming> =
        inbox.lend(&[uid], work.name()).unwrap().into_iter().map(|(_, m)| m).collect();
    assert_eq!(work.adopt(again).unwrap(), [2]);
    assert_ne!(work.get(2).unwrap().base, inbox.get(uid).unwrap().base);
    assert_eq!(work.message_guid(2), inbox.message_guid(uid));
    // Into itself.
    let own: Vec<Incoming> =
        inbox.lend(&[uid], &Name::inbox()).unwrap().into_iter().map(|(_, m)| m).collect();
    let own = inbox.adopt(own).unwrap();
    assert_eq!(inbox.message_guid(own[0]), inbox.message_guid(uid));
    assert!(work.sync().unwrap().is_empty() && inbox.sync().unwrap().is_empty());
    assert!(names(&store.path("tmp")).is_empty() && names(&store.path(".Work/tmp")).is_empty());
}

#[test]
fn more_keywords_than_letters_live_in_our_own_file() {
    let mut store = Store::new();
    let mut mailbox = store.inbox();
    let all: Vec<String> = (0..64).map(|n| format!("k{n}")).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let uid = store.append(&mut mailbox, Flags::NONE, &all);
    let more = mailbox.store_flags(&[uid], FlagOp::Add, Flags::NONE, &["k64"]);
    assert_eq!(more.err(), Some(Error::Limit("keywords in this mailbox")));
    mailbox.store_flags(&[uid], FlagOp::Remove, Flags::NONE, &["k0", "k63"]).unwrap();
    assert!(names(&store.path("cur"))[0].ends_with(":2,bcdefghijklmnopqrstuvwxyz"));
    let before = state(&mailbox);
    assert_eq!(before[0].2.len(), 62);
    drop(mailbox);
    fs::remove_file(store.path("rmail.index")).unwrap();
    store.reopen();
    let mailbox = store.inbox();
    assert_eq!(state(&mailbox), before);
}

#[test]
fn a_quiet_mailbox_is_not_scanned() {
    let mut store = Store::new();
    store.deliver(1);
    let mut mailbox = store.inbox();
    mailbox.settle();
    age(&store.path("cur"));
    age(&store.path("new"));
    mailbox.sync().unwrap();
    assert!(!mailbox.stamp.provisional && mailbox.stamp.cur != 0);
    drop(mailbox);
    store.reopen();
    // A file that comes without the directory's time changing is not seen:
    // nothing was read, neither at the opening nor later.
    let cur = store.path("cur");
    let stamp = fs::metadata(&cur).unwrap().modified().unwrap();
    fs::write(cur.join("1.x:2,"), "x").unwrap();
    fs::File::open(&cur).unwrap().set_modified(stamp).unwrap();
    let mut mailbox = store.inbox();
    assert_eq!(uids(&mailbox), [1]);
    assert!(mailbox.sync().unwrap().is_empty());
    age(&cur);
    assert_eq!(mailbox.sync().unwrap().added, [2]);
}

#[test]
fn odd_line_ends_come_back_as_they_came_and_are_counted_right() {
    let store = Store::new();
    let texts: [&[u8]; 5] =
        [b"a\r\r\nb\r\n", b"\r\r\r\n\r\n", b"a\rb\r\n\r", b"\n", b"\r\n\r\r\n\r\r\r\n\n"];
    for (text, step) in texts.iter().flat_map(|t| [1, 2, 3, 100].map(|step| (t, step))) {
        let unique = store.root().unique();
        let mut draft = store.root().draft(&Name::inbox(), &unique).unwrap();
        text.chunks(step).for_each(|chunk| draft.write(chunk).unwrap());
        let finished = draft.finish(None).unwrap();
        let (size, vsize) = (finished.size, finished.vsize);
        let path = store.path("new").join(&finished.base);
        finished.deliver().unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), size, "{text:?}");
        let uid = fs::metadata(&path).unwrap();
        let uid = std::os::unix::fs::MetadataExt::uid(&uid);
        let raw = MessageFile::open(&path, uid).unwrap().read(0, 100).unwrap();
        let mut shown = Vec::new();
        crate::proto::imap::section::Wire::whole().feed(&raw, &mut shown);
        assert_eq!(shown.len() as u64, vsize, "{text:?}");
        // A bare LF is shown with a CR; all else is what the client sent.
        if !text.starts_with(b"\n") && !text.ends_with(b"\n\n") {
            assert_eq!(shown, *text, "by {step}");
        }
    }
}
