use super::*;
use crate::disk::maildir::mailbox::Message;
use crate::disk::testdir::TestDir;
use std::fs;
use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

fn account(dir: &TestDir) -> Account {
    Account::new(Root::open(&dir.path().join("mail"), "host").unwrap(), Vec::new())
}

fn deliver(a: &Account, mailbox: &Name, text: &str) {
    let mut draft = a.draft(mailbox).unwrap();
    draft.write(text.as_bytes()).unwrap();
    a.deliver(mailbox, draft.finish(None).unwrap()).unwrap();
}

/// Runs `work` on a mailbox on which another thread is at work, and gives how
/// long meanwhile a third one took for the inbox, at the worst.
fn beside(a: &Account, busy: &Name, work: impl FnOnce() + Send) -> Duration {
    let (begun, is_begun) = sync_channel(0);
    let (end, ended) = sync_channel::<()>(0);
    std::thread::scope(|s| {
        let open = a.open(busy).unwrap();
        s.spawn(move || {
            open.change(|_| {
                begun.send(()).unwrap();
                // An account that waits as a whole waits for this.
                let _ = ended.recv_timeout(Duration::from_secs(5));
                Ok(())
            })
        });
        is_begun.recv().unwrap();
        let worker = s.spawn(work);
        let mut worst = Duration::ZERO;
        let since = Instant::now();
        while since.elapsed() < Duration::from_millis(300) {
            let asked = Instant::now();
            a.status(&Name::inbox()).unwrap();
            worst = worst.max(asked.elapsed());
        }
        assert!(!worker.is_finished(), "nothing had to wait for the mailbox");
        drop(end);
        worker.join().unwrap();
        worst
    })
}

#[test]
fn a_mailbox_that_is_busy_holds_up_who_deletes_or_renames_it_and_nobody_else() {
    let dir = TestDir::new();
    let a = account(&dir);
    let (slow, child) = (Name::new("Slow").unwrap(), Name::new("Slow.Child").unwrap());
    a.create(&slow).unwrap();
    a.create(&child).unwrap();
    let other = Name::new("Other").unwrap();
    let worst = beside(&a, &child, || a.rename(&slow, &other).unwrap());
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    let worst = beside(&a, &other, || a.delete(&other).unwrap());
    assert!(worst < Duration::from_secs(2), "{worst:?}");
    let names: Vec<String> = a.list().unwrap().into_iter().map(|l| l.name.to_string()).collect();
    assert_eq!(names, ["INBOX", "Other.Child"]);
    assert!(!dir.path().join("mail/..DOVECOT-TRASHED").exists());
}

#[test]
fn mailboxes_made_opened_renamed_and_deleted_by_many_at_once() {
    let dir = TestDir::new();
    let a = account(&dir);
    let names: Vec<Name> =
        ["A", "A.B", "C", "C.B", "D"].iter().map(|n| Name::new(n).unwrap()).collect();
    std::thread::scope(|s| {
        for t in 0..4usize {
            let (a, names) = (&a, &names);
            s.spawn(move || {
                for i in 0..60 {
                    let name = &names[(t + i) % names.len()];
                    let known = |e: Error| {
                        let own = matches!(e, Error::NoMailbox | Error::Exists | Error::Gone);
                        assert!(own || matches!(e, Error::Cannot(_)), "{name:?}: {e}");
                    };
                    let to = &names[(t + 2 * i + 1) % names.len()];
                    let done = match (t + i) % 4 {
                        0 => a.create(name),
                        1 => a.open(name).map(drop),
                        2 => a.rename(name, to),
                        _ => a.delete(name),
                    };
                    done.unwrap_or_else(known);
                }
            });
        }
    });
    // What is listed can be opened, and nothing of the rest is open.
    let listed: Vec<Name> = a.list().unwrap().into_iter().map(|l| l.name).collect();
    for name in &listed {
        assert_eq!(a.open(name).unwrap().change(|m| Ok(m.dir().is_dir())), Ok(true));
    }
    let open = lock::lock(&a.open);
    let live = open.iter().filter(|(_, open)| !open.is_gone());
    assert!(live.into_iter().all(|(name, _)| listed.contains(name)));
}

#[test]
fn what_cannot_be_moved_stays_in_its_mailbox_alone() {
    let dir = TestDir::new();
    let a = account(&dir);
    let (inbox, work) = (Name::inbox(), Name::new("Work").unwrap());
    a.create(&work).unwrap();
    for n in 1..=3 {
        deliver(&a, &inbox, &format!("Subject: {n}\r\n\r\n"));
    }
    let (from, target) = (a.open(&inbox).unwrap(), a.open(&work).unwrap());
    let (placed, marks) = copy_into(&from, &[1, 2, 3], &work, &target).unwrap();
    assert_eq!(a.status(&work).unwrap().messages, 3);
    // A directory, which unlink(2) does not take, where the second was.
    let path = from
        .change(|m| {
            let base = String::from_utf8(m.get(2).unwrap().base.to_vec()).unwrap();
            Ok(m.dir().join("new").join(base))
        })
        .unwrap();
    fs::rename(&path, dir.path().join("kept")).unwrap();
    fs::create_dir(&path).unwrap();
    let moved = take_out(&from, placed, marks, &target);
    assert_eq!((moved.placed.from, moved.placed.to), (vec![1], vec![1]));
    assert!(matches!(moved.failed, Some(Error::Sys(_))), "{:?}", moved.failed);
    fs::remove_dir(&path).unwrap();
    fs::rename(dir.path().join("kept"), &path).unwrap();
    let uids = |name: &Name| -> Vec<u32> {
        let all = |m: &mut Mailbox| Ok(m.messages().iter().map(|m| m.attrs.uid).collect());
        a.open(name).unwrap().change(all).unwrap()
    };
    assert_eq!((uids(&inbox), uids(&work)), (vec![2, 3], vec![1]));
    // Again, and nothing is in the way.
    let moved = a.relocate(&from, &[2, 3], &work).unwrap();
    assert_eq!((moved.placed.to, moved.failed), (vec![4, 5], None));
    assert_eq!((uids(&inbox), uids(&work)), (vec![], vec![1, 4, 5]));
}

#[test]
fn a_move_takes_the_flags_along_that_were_set_while_it_ran() {
    let dir = TestDir::new();
    let a = account(&dir);
    let (inbox, work) = (Name::inbox(), Name::new("Work").unwrap());
    a.create(&work).unwrap();
    for n in 1..=2 {
        deliver(&a, &inbox, &format!("Subject: {n}\r\n\r\n"));
    }
    let (from, target) = (a.open(&inbox).unwrap(), a.open(&work).unwrap());
    let (placed, marks) = copy_into(&from, &[1, 2], &work, &target).unwrap();
    from.change(|m| m.store_flags(&[2], FlagOp::Add, Flags::FLAGGED, &["$Work"])).unwrap();
    let moved = take_out(&from, placed, marks, &target);
    assert_eq!((moved.placed.from, moved.failed), (vec![1, 2], None));
    assert_eq!(a.status(&inbox).unwrap().messages, 0);
    let has = |m: &mut Mailbox| {
        let flags = |x: &Message| (x.attrs.flags, m.keywords().known(x.attrs.keywords));
        Ok(m.messages().iter().map(flags).collect::<Vec<_>>())
    };
    let expected = [(Flags::NONE, vec![]), (Flags::FLAGGED, vec!["$Work".to_owned()])];
    assert_eq!(target.change(has).unwrap(), expected);
}
