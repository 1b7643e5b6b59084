//! A mail store that goes from Dovecot 2.3 to rmail and back.
//!
//! Dovecot's own `imap` program runs on its standard input and output, without
//! a master process, as another user when this is root; rmail's side is the
//! library that the store process uses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::os::unix::fs::{chown, MetadataExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use rmail::disk::maildir::{DeliveryId, Error, FlagOp, Flags, Incoming, Mailbox, Name, Root};
use rmail::proto::date::DateTime;
use rmail::proto::text::mutf7;

use crate::imap::client::{self, Client};
use crate::{Env, Outcome};

const IMAP: &str = "/usr/lib/dovecot/imap";

/// The user as whom Dovecot runs when this is root: it refuses uid 0.
const OTHER: u32 = 2000;

/// What a client can see of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    flags: Vec<String>,
    internal: i64,
    size: u64,
    guid: String,
}

/// What a client can see of a mailbox.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shown {
    uidvalidity: u32,
    uidnext: u32,
    guid: String,
    messages: BTreeMap<u32, Seen>,
}

/// What a client can see of an account.
type Account = (BTreeMap<String, Shown>, Vec<String>);

struct Store {
    dir: PathBuf,
}

impl Store {
    fn new(env: &Env) -> Result<Store, Outcome> {
        if !Path::new(IMAP).exists() {
            return Err(Outcome::Skipped("package dovecot-imapd is missing".into()));
        }
        let dir = env.dir.clone();
        let d = dir.display();
        let config = format!(
            "protocols = imap\nbase_dir = {d}/run\nstate_dir = {d}/run\nssl = no\n\
             mail_location = maildir:{d}/mail\nfirst_valid_uid = 1\nlog_path = {d}/log\n\
             stats_writer_socket_path =\n"
        );
        std::fs::write(dir.join("dovecot.conf"), config).unwrap();
        std::fs::create_dir(dir.join("run")).unwrap();
        Ok(Store { dir })
    }

    fn mail(&self) -> PathBuf {
        self.dir.join("mail")
    }

    fn own(&self, uid: u32) {
        if root() {
            give(&self.dir, uid);
        }
    }

    /// Runs commands in Dovecot and gives what it answered.
    fn dovecot(&self, commands: &[String]) -> String {
        self.own(OTHER);
        let mut imap = Command::new(IMAP);
        imap.arg("-c").arg(self.dir.join("dovecot.conf"));
        imap.env_clear().env("HOME", &self.dir).env("USER", "joe").env("PATH", "/usr/bin:/bin");
        imap.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if root() {
            imap.uid(OTHER).gid(OTHER).current_dir("/");
        }
        let mut child = imap.spawn().unwrap();
        let mut script = String::new();
        for (n, command) in commands.iter().enumerate() {
            script.push_str(&format!("t{n} {command}\r\n"));
        }
        script.push_str("end LOGOUT\r\n");
        let mut stdin = child.stdin.take().unwrap();
        let writer = std::thread::spawn(move || stdin.write_all(script.as_bytes()));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let log = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let log = [log, String::from_utf8_lossy(&output.stderr).into_owned()].concat();
        // Its own doing, see `doubles`.
        let log: Vec<&str> = log.lines().filter(|l| !l.contains("Duplicate file entry")).collect();
        let log = log.join("\n");
        for bad in ["Error", "Warning", "Panic", "Fatal"] {
            assert!(!log.contains(bad), "Dovecot complains: {log}");
        }
        for (n, command) in commands.iter().enumerate() {
            let ok = format!("t{n} OK");
            assert!(text.lines().any(|l| l.starts_with(&ok)), "{command}: {text}");
        }
        self.own(me());
        text
    }

    /// What Dovecot shows.
    fn by_dovecot(&self) -> Account {
        let listed = self.dovecot(&["LIST \"\" \"*\"".into(), "LSUB \"\" \"*\"".into()]);
        let names = |kind: &str| -> Vec<String> {
            let of = |l: &str| {
                let rest = l.strip_prefix(&format!("* {kind} "))?;
                if rest.contains("\\Noselect") {
                    return None;
                }
                Some(rest.rsplit_once("\".\" ")?.1.trim_matches('"').to_string())
            };
            listed.lines().filter_map(of).collect()
        };
        let mut boxes = BTreeMap::new();
        for name in names("LIST") {
            let text = self.dovecot(&[
                format!("EXAMINE \"{name}\""),
                "UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE X-GUID)".into(),
                format!("STATUS \"{name}\" (X-GUID UIDNEXT UIDVALIDITY)"),
            ]);
            boxes.insert(mutf7::decode(name.as_bytes()).unwrap(), shown(&text));
        }
        let mut subscribed: Vec<String> =
            names("LSUB").iter().map(|n| mutf7::decode(n.as_bytes()).unwrap()).collect();
        subscribed.sort();
        (boxes, subscribed)
    }

    /// What rmail shows.
    fn by_rmail(&self) -> Account {
        let root = self.root();
        let mut boxes = BTreeMap::new();
        for name in root.list().unwrap() {
            let mut m = Mailbox::open(root.clone(), &name).unwrap();
            let uids: Vec<u32> = m.messages().iter().map(|m| m.attrs.uid).collect();
            let mut messages = BTreeMap::new();
            for uid in uids {
                let attrs = m.get(uid).unwrap().attrs;
                let mut flags = m.keywords().names(attrs.keywords);
                flags.extend(
                    FLAGS.iter().filter(|(_, f)| attrs.flags.has(*f)).map(|(n, _)| n.to_string()),
                );
                flags.sort();
                let guid = String::from_utf8(m.message_guid(uid).unwrap().to_vec()).unwrap();
                let internal = m.internal_date(uid).unwrap();
                let size = m.size_of(uid).unwrap();
                messages.insert(uid, Seen { flags, internal, size, guid });
            }
            let shown = Shown {
                uidvalidity: m.uidvalidity(),
                uidnext: m.uidnext(),
                guid: String::from_utf8(m.guid().to_vec()).unwrap(),
                messages,
            };
            boxes.insert(name.to_string(), shown);
        }
        let mut subscribed: Vec<String> =
            root.subscriptions().unwrap().iter().map(Name::to_string).collect();
        subscribed.sort();
        (boxes, subscribed)
    }

    fn root(&self) -> Arc<Root> {
        // Other tests start programs meanwhile, which hold a copy of the last
        // root's lock between fork and exec.
        let mut opened = Root::open(&self.mail(), "rmail.example");
        for _ in 0..100 {
            if !matches!(opened, Err(Error::Locked(_))) {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(20));
            opened = Root::open(&self.mail(), "rmail.example");
        }
        Arc::new(opened.unwrap())
    }

    /// Names that stand twice in a uidlist.  Dovecot writes such a line when a message comes back
    /// under the name of one that it expunged; the later line counts.
    fn doubles(&self) -> BTreeSet<String> {
        let mut doubles = BTreeSet::new();
        for dir in ["", ".a", ".a.b"] {
            let list = self.mail().join(dir).join("dovecot-uidlist");
            let text = std::fs::read_to_string(list).unwrap_or_default();
            let mut seen = BTreeSet::new();
            for line in text.lines().skip(1) {
                let base = line.split_once(" :").unwrap().1;
                if !seen.insert(base) {
                    doubles.insert(format!("{dir} {base}"));
                }
            }
        }
        doubles
    }

    fn compare(&self, when: &str) {
        let dovecot = self.by_dovecot();
        let rmail = self.by_rmail();
        assert_eq!(rmail.1, dovecot.1, "{when}: subscriptions");
        let names = |a: &Account| a.0.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&rmail), names(&dovecot), "{when}: mailboxes");
        for (name, theirs) in &dovecot.0 {
            assert_eq!(&rmail.0[name], theirs, "{when}: {name}");
        }
    }
}

const FLAGS: [(&str, Flags); 5] = [
    ("\\Answered", Flags::ANSWERED),
    ("\\Flagged", Flags::FLAGGED),
    ("\\Deleted", Flags::DELETED),
    ("\\Seen", Flags::SEEN),
    ("\\Draft", Flags::DRAFT),
];

fn me() -> u32 {
    rmail::sys::user::uid()
}

fn root() -> bool {
    me() == 0
}

/// Gives a tree to a user; times of files stay.
fn give(path: &Path, uid: u32) {
    let meta = std::fs::symlink_metadata(path).unwrap();
    if meta.uid() != uid {
        chown(path, Some(uid), Some(uid)).unwrap();
    }
    if meta.is_dir() {
        for entry in std::fs::read_dir(path).unwrap() {
            give(&entry.unwrap().path(), uid);
        }
    }
}

/// Reads the answers to EXAMINE, FETCH and STATUS.
fn shown(text: &str) -> Shown {
    let number = |key: &str| -> u32 {
        let at = text.find(key).unwrap_or_else(|| panic!("no {key} in {text}")) + key.len();
        text[at..]
            .trim_start()
            .split(|c: char| !c.is_ascii_digit())
            .next()
            .unwrap()
            .parse()
            .unwrap()
    };
    let after = |line: &str, key: &str| -> String {
        let at = line.find(key).unwrap_or_else(|| panic!("no {key} in {line}")) + key.len();
        line[at..].to_string()
    };
    let mut messages = BTreeMap::new();
    for line in text.lines().filter(|l| l.starts_with("* ") && l.contains(" FETCH (")) {
        let uid = after(line, "UID ").split([' ', ')']).next().unwrap().parse().unwrap();
        let flags = after(line, "FLAGS (");
        let mut flags: Vec<String> = flags[..flags.find(')').unwrap()]
            .split_whitespace()
            .filter(|f| *f != "\\Recent")
            .map(str::to_string)
            .collect();
        flags.sort();
        let date = after(line, "INTERNALDATE \"");
        let date = DateTime::parse_imap(date.split('"').next().unwrap().as_bytes()).unwrap();
        let size = after(line, "RFC822.SIZE ").split([' ', ')']).next().unwrap().parse().unwrap();
        let guid = match line.contains("X-GUID ") {
            true => after(line, "X-GUID ").trim_end_matches(')').trim_matches('"').to_string(),
            false => String::new(),
        };
        messages.insert(uid, Seen { flags, internal: date.unix, size, guid });
    }
    let status = text.lines().find(|l| l.starts_with("* STATUS"));
    let guid = status.map_or(String::new(), |l| after(l, "X-GUID "));
    Shown {
        uidvalidity: number("[UIDVALIDITY "),
        uidnext: number("[UIDNEXT "),
        guid: guid.split([' ', ')']).next().unwrap().to_string(),
        messages,
    }
}

fn append(mailbox: &str, flags: &str, n: u32) -> String {
    let body = format!("Subject: number {n}\r\nMessage-ID: <{n}@example.org>\r\n\r\nline\r\n.\r\n");
    format!(
        "APPEND \"{mailbox}\" ({flags}) \"0{}-Mar-2021 1{}:00:00 +0100\" {{{}+}}\r\n{body}",
        n % 9 + 1,
        n % 10,
        body.len()
    )
}

/// Fills the store as a user would over the years.
fn fill(store: &Store) {
    let mut all: Vec<String> = Vec::new();
    for name in ["Sent", "Work", "Work.Old.Deep", "Arbeit.&AOQA9gD8-", "R&-D", "INBOX.child"] {
        all.push(format!("CREATE \"{name}\""));
    }
    for name in ["Sent", "Arbeit.&AOQA9gD8-", "INBOX", "Work.Old.Deep"] {
        all.push(format!("SUBSCRIBE \"{name}\""));
    }
    let flags =
        ["", "\\Seen", "\\Seen \\Answered", "\\Flagged \\Draft", "$Label1", "custom \\Seen"];
    for n in 0..30u32 {
        let mailbox = ["INBOX", "Work", "Arbeit.&AOQA9gD8-"][(n % 3) as usize];
        all.push(append(mailbox, flags[(n % 6) as usize], n));
    }
    all.push("SELECT INBOX".into());
    all.push("STORE 2,4,6 +FLAGS (\\Deleted)".into());
    all.push("EXPUNGE".into());
    all.push("COPY 1:3 Work".into());
    all.push("COPY 1:3 Work".into());
    all.push("COPY 2 INBOX".into());
    all.push("MOVE 4 Sent".into());
    all.push("STORE 1 +FLAGS ($Forwarded NonJunk)".into());
    all.push("RENAME \"R&-D\" Research".into());
    store.dovecot(&all);
    // What OpenSMTPD delivers, and a message that Dovecot has not numbered yet.
    for (name, text) in
        [("1700000000.0123abcd.mx", "Subject: a\n\nb\n"), ("1700000001.x.mx", "A: b\r\n\r\nc\r\n")]
    {
        std::fs::write(store.mail().join("new").join(name), text).unwrap();
    }
}

pub fn served_unchanged(env: &Env) -> Outcome {
    let store = match Store::new(env) {
        Ok(store) => store,
        Err(skipped) => return skipped,
    };
    fill(&store);
    let before = store.by_dovecot();
    // Only files of Dovecot's, then with rmail's own beside them, then without again.
    for round in 0..3 {
        let ours = store.by_rmail();
        assert_eq!(ours.0, before.0, "round {round}");
        assert_eq!(ours.1, before.1, "round {round}");
        if round == 1 {
            for name in ["rmail.index", "rmail.meta"] {
                std::fs::remove_file(store.mail().join(name)).unwrap();
            }
        }
    }
    assert_eq!(store.by_dovecot(), before);
    Outcome::Passed
}

pub fn serves_changes(env: &Env) -> Outcome {
    let store = match Store::new(env) {
        Ok(store) => store,
        Err(skipped) => return skipped,
    };
    fill(&store);
    {
        let root = store.root();
        let name = |text: &str| Name::new(text).unwrap();
        let mut inbox = Mailbox::open(root.clone(), &Name::inbox()).unwrap();
        inbox.settle();
        let uids: Vec<u32> = inbox.messages().iter().map(|m| m.attrs.uid).collect();
        inbox
            .store_flags(&uids[..3], FlagOp::Set, Flags::SEEN, &["new-keyword", "$label1"])
            .unwrap();
        inbox.store_flags(&uids[3..4], FlagOp::Add, Flags::ANSWERED, &[]).unwrap();
        inbox.expunge(&uids[4..6], |_| true);
        root.create(&name("Neu.ßüß")).unwrap();
        let lent = inbox.lend(&uids[..2], &name("Neu.ßüß")).unwrap();
        let mut fresh = Mailbox::open(root.clone(), &name("Neu.ßüß")).unwrap();
        fresh.adopt(lent.into_iter().map(|(_, m)| m).collect()).unwrap();
        let lent = inbox.lend(&uids[..2], &name("Work")).unwrap();
        let mut work = Mailbox::open(root.clone(), &name("Work")).unwrap();
        work.adopt(lent.into_iter().map(|(_, m)| m).collect()).unwrap();
        let mut draft = root.draft(&name("Sent"), &root.unique()).unwrap();
        draft.write(b"Subject: sent\r\n\r\nhello\r\n").unwrap();
        let message = Incoming::new(
            draft.finish(Some(1_500_000_000)).unwrap(),
            Flags::SEEN,
            vec!["sent".into()],
        );
        Mailbox::open(root.clone(), &name("Sent")).unwrap().adopt(vec![message]).unwrap();
        let id =
            DeliveryId { secs: 1_800_000_000, usecs: 5, qid: "abcdefghijkl", rcpt: 1, copy: 0 };
        let mut draft = root.draft(&Name::inbox(), &root.delivery_name(&id)).unwrap();
        draft.write(b"Subject: delivered\r\n\r\n").unwrap();
        draft.finish(None).unwrap().deliver().unwrap();
        root.rename(&name("Work"), &name("Beruf")).unwrap();
        root.trash(&name("Research")).unwrap();
        root.empty_trash();
        root.subscribe(&name("Neu.ßüß")).unwrap();
        root.unsubscribe(&name("Work.Old.Deep")).unwrap();
    }
    let ours = store.by_rmail();
    let theirs = store.by_dovecot();
    assert_eq!(theirs.1, ours.1);
    assert_eq!(theirs.0, ours.0);
    Outcome::Passed
}

/// A small generator of numbers, so that a failure can be run again.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }
}

pub fn in_turns(env: &Env) -> Outcome {
    let store = match Store::new(env) {
        Ok(store) => store,
        Err(skipped) => return skipped,
    };
    let seed = std::env::var("SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(20_211);
    let mut dice = Dice(seed);
    let boxes = ["INBOX", "a", "a.b"];
    store.dovecot(&["CREATE a".into(), "CREATE a.b".into()]);
    let words = ["k1", "k2", "k3", "$Forwarded"];
    let flags = ["\\Seen", "\\Flagged", "\\Answered", "\\Draft", "k1", "k4"];
    for round in 0..8u32 {
        let mut script = Vec::new();
        for n in 0..6u32 {
            let to = boxes[dice.below(3)];
            script.push(append(to, flags[dice.below(6)], round * 10 + n));
        }
        for _ in 0..3 {
            script.push(format!("SELECT {}", boxes[dice.below(3)]));
            // A mailbox can be empty: UID commands with no message are OK.
            script.push(format!(
                "UID STORE {}:* +FLAGS ({})",
                dice.below(9) + 1,
                flags[dice.below(6)]
            ));
            script.push(format!("UID STORE {} +FLAGS (\\Deleted)", dice.below(30) + 1));
            script.push("EXPUNGE".into());
            script.push(format!(
                "UID COPY {}:{} {}",
                dice.below(9) + 1,
                dice.below(20) + 9,
                boxes[dice.below(3)]
            ));
        }
        store.dovecot(&script);
        store.compare(&format!("seed {seed} round {round} after Dovecot"));
        let doubles = store.doubles();
        let root = store.root();
        for n in 0..8u32 {
            let name = Name::new(boxes[dice.below(3)]).unwrap();
            let mut m = Mailbox::open(root.clone(), &name).unwrap();
            let uids: Vec<u32> = m.messages().iter().map(|m| m.attrs.uid).collect();
            let some: Vec<u32> = uids.iter().copied().filter(|_| dice.below(4) == 0).collect();
            match dice.below(6) {
                0 => drop(m.expunge(&some, |_| true)),
                1 => drop(
                    m.store_flags(&some, FlagOp::Add, Flags::SEEN, &[words[dice.below(4)]])
                        .unwrap(),
                ),
                2 => drop(m.store_flags(&some, FlagOp::Set, Flags::FLAGGED, &[]).unwrap()),
                3 => drop(m.settle()),
                4 => {
                    let to = Name::new(boxes[dice.below(3)]).unwrap();
                    let lent = m.lend(&some, &to).unwrap();
                    drop(m);
                    let mut to = Mailbox::open(root.clone(), &to).unwrap();
                    to.adopt(lent.into_iter().map(|(_, m)| m).collect()).unwrap();
                }
                _ => {
                    let id = DeliveryId {
                        secs: 1_800_000_000,
                        usecs: round * 10 + n,
                        qid: "abcdefghijkl",
                        rcpt: 1,
                        copy: 0,
                    };
                    let mut draft = root.draft(&name, &root.delivery_name(&id)).unwrap();
                    draft.write(b"Subject: delivered\r\n\r\n").unwrap();
                    let finished = draft.finish(None).unwrap();
                    if dice.below(2) == 0 {
                        m.deliver(finished).unwrap();
                    } else {
                        finished.deliver().unwrap();
                    }
                }
            }
        }
        drop(root);
        assert!(store.doubles().is_subset(&doubles), "seed {seed} round {round}");
        store.compare(&format!("seed {seed} round {round} after rmail"));
    }
    Outcome::Passed
}

/// The same unnumbered files get the same UIDs from both.
pub fn same_uid_order(env: &Env) -> Outcome {
    let store = match Store::new(env) {
        Ok(store) => store,
        Err(skipped) => return skipped,
    };
    let mail = store.mail();
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(mail.join(part)).unwrap();
    }
    for (n, name) in [
        "new/1700000001.M5P1.h",
        "new/1700000001.M10P1.h",
        "new/1700000001.abc.h",
        "cur/1700000000.M7P2.h,S=5:2,FS",
        "cur/999.zz.h:2,S",
        "cur/nonumber:2,",
        "cur/1700000001.M10P0.h:2,T",
        "cur/1700000003.q.h,S=999,W=1000:2,",
    ]
    .iter()
    .enumerate()
    {
        std::fs::write(mail.join(name), format!("A: {n}\n\nx\n")).unwrap();
    }
    let copy = store.dir.join("copy");
    let done = Command::new("cp").arg("-a").arg(&mail).arg(&copy).status().unwrap();
    assert!(done.success());
    let order = |account: Account| {
        let inbox = &account.0["INBOX"];
        inbox.messages.iter().map(|(uid, m)| (*uid, m.guid.clone())).collect::<Vec<_>>()
    };
    let ours = order(store.by_rmail());
    std::fs::remove_dir_all(&mail).unwrap();
    std::fs::rename(&copy, &mail).unwrap();
    // Dovecot finds out that a size in a name is a lie when it reads the file, and complains; so
    // only what it numbers is asked.
    let text = store.dovecot(&["SELECT INBOX".into(), "FETCH 1:* (UID X-GUID)".into()]);
    let theirs: Vec<(u32, String)> = text
        .lines()
        .filter(|l| l.contains(" FETCH ("))
        .map(|l| {
            let rest = l.split_once("UID ").unwrap().1;
            let uid = rest.split(' ').next().unwrap().parse().unwrap();
            let guid = rest.split_once("X-GUID ").unwrap().1.trim_end_matches(')');
            (uid, guid.trim_matches('"').to_string())
        })
        .collect();
    assert_eq!(ours, theirs);
    Outcome::Passed
}

/// What a client of the daemon is shown; names that no client asks for are left empty.
fn by_client(client: &mut Client) -> Account {
    let names = |lines: Vec<String>| -> Vec<String> {
        let of = |l: &String| {
            let (flags, name) = l.split_once(" \".\" ")?;
            let there = !flags.contains("\\Noselect") && !flags.contains("\\NonExistent");
            there.then(|| mutf7::decode(name.trim_matches('"').as_bytes()).unwrap())
        };
        lines.iter().filter_map(of).collect()
    };
    let mut boxes = BTreeMap::new();
    for name in names(client.ok("LIST \"\" *")) {
        let wire = String::from_utf8(mutf7::encode(&name)).unwrap();
        let mut text = client.ok(&format!("EXAMINE \"{wire}\""));
        text.extend(client.ok("UID FETCH 1:* (FLAGS INTERNALDATE RFC822.SIZE)"));
        boxes.insert(name, shown(&text.join("\n")));
    }
    let mut subscribed = names(client.ok("LSUB \"\" *"));
    subscribed.sort();
    (boxes, subscribed)
}

/// The account as one sees it who cannot ask for GUIDs, without the mailboxes that only the
/// daemon's configuration has.
fn without_guids(mut account: Account) -> Account {
    for name in ["Junk", "Sent"] {
        if account.0.get(name).is_some_and(|b| b.messages.is_empty()) {
            account.0.remove(name);
        }
    }
    account.1.retain(|name| name != "Junk");
    for shown in account.0.values_mut() {
        shown.guid.clear();
        for seen in shown.messages.values_mut() {
            seen.guid.clear();
        }
    }
    account
}

pub fn through_the_daemon(env: &Env) -> Outcome {
    let theirs = Env { dir: env.dir.join("dovecot") };
    std::fs::create_dir_all(&theirs.dir).unwrap();
    let store = match Store::new(&theirs) {
        Ok(store) => store,
        Err(skipped) => return skipped,
    };
    fill(&store);
    let before = store.by_dovecot();
    std::fs::create_dir(env.dir.join("mail")).unwrap();
    let joe = env.dir.join("mail/joe");
    std::fs::rename(store.mail(), &joe).unwrap();
    if root() {
        give(&joe, 65534);
    }
    let daemon = client::daemon(env, "");
    let mut client = Client::logged_in(&daemon);
    assert_eq!(without_guids(by_client(&mut client)), without_guids(before));
    client.ok("SELECT INBOX");
    client.ok("STORE 1:2 +FLAGS (\\Flagged new-word)");
    client.ok("STORE 3 FLAGS (\\Deleted)");
    client.ok("EXPUNGE");
    client.ok("COPY 1:2 Sent");
    client.ok("MOVE 1 Work");
    client.ok("CREATE Made.Here");
    client.ok("SUBSCRIBE Made.Here");
    client.ok("RENAME Research Science");
    client::deliver(&daemon, "meanwhile");
    let after = by_client(&mut client);
    assert!(daemon.stop().success());
    std::fs::rename(&joe, store.mail()).unwrap();
    assert_eq!(without_guids(store.by_dovecot()), without_guids(after));
    Outcome::Passed
}
