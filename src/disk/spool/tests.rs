use super::record::tests::{envelope, origin};
use super::record::End;
use super::*;
use crate::disk::testdir::TestDir;
use crate::proto::smtp::edit::{Edit, Edits};

const TEXT: &[u8] = b"Subject: hi\r\n\r\nhello\r\n";

fn now() -> WallTime {
    WallTime { secs: 1_700_000_000, nanos: 5_000 }
}

fn records() -> Vec<Record> {
    vec![
        Record::Origin(Box::new(origin("a@b.example"))),
        Record::Envelope(Box::new(envelope("x@c.example", None))),
        Record::Envelope(Box::new(envelope("y@c.example", Some("y")))),
        Record::Edit(Edit::Insert { offset: 0, bytes: b"Received: x\r\n".to_vec() }),
        Record::Commit,
    ]
}

fn ready(spool: &Spool) -> Ready {
    let draft = spool.begin(now(), false).unwrap();
    let mut w = draft.body_writer().unwrap();
    w.write(TEXT).unwrap();
    let end = w.finish().unwrap();
    draft.complete(end, &records()).unwrap()
}

fn names(spool: &Spool, dir: &str) -> Vec<Qid> {
    list(&spool.dir.join(dir)).unwrap().0
}

#[test]
fn a_message_is_written_published_read_and_removed() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let ready = ready(&spool);
    assert_eq!((names(&spool, "incoming").len(), names(&spool, "queue").len()), (1, 0));
    let qid = spool.publish(ready).unwrap();
    assert_eq!((names(&spool, "incoming").len(), names(&spool, "queue")), (0, vec![qid]));
    assert!(spool.is_committed(qid).unwrap());
    let loaded = spool.load(qid).unwrap();
    assert_eq!((loaded.created, loaded.body, loaded.cut), (now(), TEXT.len() as u64, 0));
    assert_eq!(loaded.state, State::fold(&records()).unwrap());
    let (file, key) = spool.open_body(qid).unwrap();
    let message = Message::open(file, key, loaded.state.edits).unwrap();
    let text = message.read_all(1000).unwrap().unwrap();
    assert_eq!(text, [b"Received: x\r\n", TEXT].concat());
    assert_eq!(message.size(), text.len() as u64);
    assert_eq!(message.read_all(10).unwrap(), None);
    assert_eq!(message.header(1000).unwrap(), b"Received: x\r\nSubject: hi\r\n\r\n");
    assert_eq!(message.header(20).unwrap(), b"Received: x\r\n");
    let mut by_read = Vec::new();
    message.reader().read_to_end(&mut by_read).unwrap();
    assert_eq!(by_read, text);
    spool.remove(qid).unwrap();
    assert_eq!(spool.load(qid), Err(SpoolError::Gone));
    assert_eq!(spool.append(qid, &[Record::Commit]), Err(SpoolError::Gone));
    assert!(!spool.is_committed(qid).unwrap());
}

#[test]
fn a_descriptor_that_is_read_only_is_enough_for_a_reader() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let qid = spool.publish(ready(&spool)).unwrap();
    let (file, key) = spool.open_body(qid).unwrap();
    assert!(file.write_all_at(b"x", 5000).is_err());
    assert!(Message::open(file, key, Edits::new()).is_ok());
}

#[test]
fn giving_up_at_any_step_leaves_nothing() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    drop(spool.begin(now(), true).unwrap());
    drop(ready(&spool));
    let draft = spool.begin(now(), true).unwrap();
    let mut w = draft.body_writer().unwrap();
    w.write(TEXT).unwrap();
    let end = w.finish().unwrap();
    // whoever wrote the body claims another end than the file has
    let lie = BodyEnd { body: end.body, file: end.file - 1 };
    assert_eq!(draft.complete(lie, &records()).unwrap_err().errno, errno::EINVAL);
    assert!(names(&spool, "incoming").is_empty() && names(&spool, "queue").is_empty());
}

#[test]
fn records_after_the_commit_are_appended_and_folded() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let qid = spool.publish(ready(&spool)).unwrap();
    let attempt = Record::Attempt { rcpt: 1, at: 9, tries: 1, deaths: 0, said: "no".into() };
    spool.append(qid, &[attempt]).unwrap();
    spool.append(qid, &[Record::Done { rcpts: vec![2], end: End::Delivered }]).unwrap();
    let state = spool.load(qid).unwrap().state;
    assert_eq!(state.open().map(|(n, r)| (n, r.tries)).collect::<Vec<_>>(), [(1, 1)]);
}

#[test]
fn what_a_message_spawned_is_published_once() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let parent = spool.publish(ready(&spool)).unwrap();
    let child = ready(&spool).park().unwrap();
    spool.sync_incoming().unwrap();
    let (ids, ends) = (vec![child], vec![(1, End::Delivered)]);
    let spawned = Record::Spawned { ids, ends, warned: vec![] };
    spool.append(parent, &[spawned]).unwrap();
    // a crash here: the next start reads the record
    drop(spool);
    let spool = Spool::open(dir.path(), None).unwrap();
    let state = spool.load(parent).unwrap().state;
    assert_eq!(state.spawned, [child]);
    spool.publish_spawned(&state.spawned).unwrap();
    spool.publish_spawned(&state.spawned).unwrap();
    assert_eq!(names(&spool, "queue"), [parent, child]);
    assert_eq!(spool.load(child).unwrap().state.rcpts.len(), 2);
}

#[test]
fn every_truncation_and_flip_of_a_file_recovers_or_is_refused() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let qid = spool.publish(ready(&spool)).unwrap();
    let path = spool.queue(qid);
    let committed = fs::metadata(&path).unwrap().len();
    let attempt = |n| Record::Attempt { rcpt: 1, at: 9, tries: n, deaths: 0, said: "no".into() };
    let mut ends = vec![committed];
    for n in 1..4 {
        spool.append(qid, &[attempt(n)]).unwrap();
        ends.push(fs::metadata(&path).unwrap().len());
    }
    let whole = fs::read(&path).unwrap();
    let log = Head::parse(&whole[..HEAD]).unwrap().log;
    for len in (0..whole.len()).filter(|n| *n < 300 || *n + 20 > HEAD) {
        fs::write(&path, &whole[..len]).unwrap();
        let tries = ends.iter().filter(|end| **end <= len as u64).count();
        match spool.load(qid) {
            Ok(loaded) => {
                assert_eq!(loaded.state.rcpts[0].tries as usize + 1, tries, "{len}");
                assert_eq!(fs::metadata(&path).unwrap().len(), ends[tries - 1]);
                // and it goes on from there
                spool.append(qid, &[attempt(9)]).unwrap();
                assert_eq!(spool.load(qid).unwrap().state.rcpts[0].tries, 9);
            }
            Err(e) => {
                assert!(matches!(e, SpoolError::Damaged(_)), "{len} {e}");
                assert_eq!(tries, 0, "a committed message was lost at {len}");
            }
        }
    }
    for at in (0..whole.len()).filter(|n| *n < 300 || *n + 8 > HEAD) {
        let mut bad = whole.clone();
        bad[at] ^= 0x20;
        fs::write(&path, &bad).unwrap();
        let at = at as u64;
        match spool.load(qid) {
            // The body has seals of its own, looked at when it is read.
            Ok(loaded) if at >= HEAD as u64 && at < log => assert_eq!(loaded.cut, 0),
            Ok(loaded) => {
                let tries = ends.iter().filter(|end| **end <= at).count();
                assert_eq!(loaded.state.rcpts[0].tries as usize + 1, tries, "{at}");
            }
            Err(_) => assert!(at < committed, "{at}"),
        }
    }
    fs::write(&path, &whole[..100]).unwrap();
    spool.quarantine(qid).unwrap();
    assert_eq!((names(&spool, "queue").len(), names(&spool, "bad")), (0, vec![qid]));
}

#[test]
fn keys_come_from_the_configuration_or_a_file_of_our_own() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TestDir::new();
    let plain = Spool::open(dir.path(), None).unwrap();
    let before = plain.publish(ready(&plain)).unwrap();
    let mode = fs::metadata(dir.path().join("key")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    drop(plain);
    // encryption is configured later: what was there is still read
    let sealed = Spool::open(dir.path(), Some([7; 32])).unwrap();
    sealed.load(before).unwrap();
    let after = sealed.publish(ready(&sealed)).unwrap();
    drop(sealed);
    // the key is changed: nothing is destroyed
    let other = Spool::open(dir.path(), Some([8; 32])).unwrap();
    assert_eq!(other.load(after), Err(SpoolError::ForeignKey));
    assert!(other.is_committed(after).unwrap());
    other.load(before).unwrap();
    drop(other);
    fs::write(dir.path().join("key"), b"short").unwrap();
    assert!(matches!(Spool::open(dir.path(), None), Err(SpoolError::Version(_))));
}

#[test]
fn one_queue_at_a_time_works_on_a_spool() {
    let dir = TestDir::new();
    let first = Spool::open(dir.path(), None).unwrap();
    assert_eq!(
        Spool::open(dir.path(), None).unwrap_err(),
        SpoolError::Locked(dir.path().join("lock"))
    );
    drop(first);
    Spool::open(dir.path(), None).unwrap();
}

#[test]
fn a_spool_of_another_release_is_refused_with_words() {
    let dir = TestDir::new();
    Spool::open(dir.path(), None).unwrap();
    fs::write(dir.path().join("VERSION"), "rmail spool 9\nwritten by rmail 7.1\n").unwrap();
    let error = Spool::open(dir.path(), None).unwrap_err().to_string();
    assert!(error.contains("rmail spool 9") && error.contains("7.1"), "{error}");
    let text = fs::read_to_string(dir.path().join("VERSION")).unwrap();
    assert!(text.starts_with("rmail spool 9"));
}

#[test]
fn no_plaintext_of_body_or_envelope_is_on_the_disk() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let qid = spool.publish(ready(&spool)).unwrap();
    let bytes = fs::read(spool.queue(qid)).unwrap();
    for secret in [&b"hello"[..], b"c.example", b"Received"] {
        assert_eq!(memchr::memmem::find(&bytes, secret), None);
    }
}

/// Ids of this second are used by nobody who begins in it: smtp may write to a
/// file of that name, or ask what became of it.
#[test]
fn no_id_is_used_again_after_a_restart() {
    let dir = TestDir::new();
    let mut used = std::collections::BTreeSet::new();
    for _ in 0..3 {
        let spool = Spool::open(dir.path(), None).unwrap();
        let begun = WallTime::now();
        for _ in 0..3 {
            let draft = spool.begin(WallTime::now(), false).unwrap();
            assert!(draft.created().secs > begun.secs, "a second has passed");
            assert!(used.insert(draft.qid()));
        }
    }
    assert!(names(&Spool::open(dir.path(), None).unwrap(), "incoming").is_empty());
}

#[test]
fn ids_of_what_is_committed_are_known_before_it_is_read() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let first = spool.publish(ready(&spool)).unwrap();
    let ahead = Qid::from_bits(first.bits() + (1 << 40)).unwrap();
    fs::rename(spool.queue(first), spool.queue(ahead)).unwrap();
    drop(spool);
    let spool = Spool::open(dir.path(), None).unwrap();
    assert_eq!(spool.list().unwrap().0, [ahead]);
    assert!(spool.begin(now(), false).unwrap().qid() > ahead);
}

#[test]
fn a_message_never_takes_the_place_of_another() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let ready = ready(&spool);
    let name = spool.queue(ready.qid());
    fs::write(&name, "another").unwrap();
    assert!(spool.publish(ready).is_err());
    assert_eq!(fs::read(&name).unwrap(), b"another");
    assert!(names(&spool, "incoming").is_empty());
}

#[test]
fn asking_for_an_id_that_is_none_moves_no_others() {
    let dir = TestDir::new();
    let spool = Spool::open(dir.path(), None).unwrap();
    let last = Qid::from_bits((1 << 60) - 1).unwrap();
    assert_eq!(spool.load(last), Err(SpoolError::Gone));
    let qid = spool.publish(ready(&spool)).unwrap();
    assert_eq!(Qid::parse(qid.to_string().as_bytes()), Some(qid));
    assert!(spool.load(qid).is_ok() && qid < last);
}
