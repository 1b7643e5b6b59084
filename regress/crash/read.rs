//! The clients that read all the while, and what they hold the server to: what
//! was seen once stays, under its UID; flags that were acknowledged stay; no
//! number goes back.

use super::wire::Connection;
use super::Places;
use rmail::disk::index::Index;
use rmail::disk::uidlist::UidList;
use std::collections::BTreeMap;
use std::io::{Error, Result};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// What a reader remembers of an inbox.
#[derive(Default)]
pub struct Memory {
    uidvalidity: Option<u32>,
    uidnext: u32,
    /// The message under each UID.
    seen: BTreeMap<u32, String>,
    /// UIDs whose `\Flagged` was acknowledged.
    flagged: Vec<u32>,
    modseq: u64,
    /// Whole looks at the mailbox.
    pub rounds: usize,
    /// What must not be.
    pub wrong: Vec<String>,
}

/// Reads an account's inbox until told to stop, then once more.
pub fn run(places: &Places, dir: &Path, account: &str, stop: &AtomicBool) -> Memory {
    let mut memory = Memory::default();
    loop {
        let last = stop.load(Ordering::SeqCst);
        // A server that dies ends the session; what was seen is remembered.
        let done = session(places, account, &mut memory, stop);
        memory.look_at_modseq(dir, account);
        if last && done.is_ok() {
            return memory;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn session(places: &Places, account: &str, memory: &mut Memory, stop: &AtomicBool) -> Result<()> {
    let mut c = Imap { wire: Connection::open(places.get().imaps)?, tags: 0 };
    c.wire.start_tls()?;
    c.wire.line()?;
    c.ok(&format!("LOGIN {account}@example.com secret"))?;
    // All of it once in each session, then what is new.
    let mut from = 1;
    for _ in 0..20 {
        memory.look(&mut c, from)?;
        memory.rounds += 1;
        from = memory.uidnext;
        if stop.load(Ordering::SeqCst) {
            break;
        }
        std::thread::sleep(Duration::from_millis(150));
    }
    Ok(())
}

impl Memory {
    fn wrong(&mut self, what: String) {
        self.wrong.push(what);
    }

    /// Looks at the messages from a UID on.
    fn look(&mut self, c: &mut Imap, from: u32) -> Result<()> {
        for line in c.ok("SELECT INBOX")? {
            if let Some(n) = number(&line, "UIDVALIDITY ") {
                let before = *self.uidvalidity.get_or_insert(n);
                if before != n {
                    self.wrong(format!("UIDVALIDITY was {before} and is {n}"));
                }
            }
            if let Some(n) = number(&line, "UIDNEXT ") {
                if n < self.uidnext {
                    self.wrong(format!("UIDNEXT was {} and is {n}", self.uidnext));
                }
                self.uidnext = n;
            }
        }
        let mut now = BTreeMap::new();
        let (mut uid, mut flags) = (0, String::new());
        let fetch = format!("UID FETCH {from}:* (UID FLAGS BODY.PEEK[HEADER.FIELDS (X-Id)])");
        for line in c.ok(&fetch)? {
            if let Some(n) = number(&line, "UID ") {
                uid = n;
                flags.clone_from(&line);
            }
            if let Some(id) = line.strip_prefix("X-Id: ") {
                if self.flagged.contains(&uid) && !flags.contains("\\Flagged") {
                    self.wrong(format!("UID {uid} lost a flag that was acknowledged: {flags}"));
                }
                now.insert(uid, id.to_owned());
            }
        }
        for (uid, id) in &self.seen.range(from..).map(|(u, i)| (*u, i.clone())).collect::<Vec<_>>()
        {
            if now.get(uid) != Some(id) {
                self.wrong(format!("UID {uid} was {id} and is {:?}", now.get(uid)));
            }
        }
        let highest = self.seen.keys().next_back().copied().unwrap_or(0);
        let fresh: Vec<u32> = now.keys().copied().filter(|u| !self.seen.contains_key(u)).collect();
        for uid in fresh.iter().filter(|u| **u <= highest) {
            self.wrong(format!("UID {uid} is new, but {highest} was there before"));
        }
        self.seen.extend(now);
        if let Some(uid) = fresh.first() {
            c.ok(&format!("UID STORE {uid} +FLAGS (\\Flagged)"))?;
            self.flagged.push(*uid);
        }
        Ok(())
    }

    /// MODSEQ is not announced yet: the index says which have been given out.
    fn look_at_modseq(&mut self, dir: &Path, account: &str) {
        let dir = dir.join("mail").join(account);
        let Ok(Some((list, _))) = UidList::load(&dir, 0o600) else { return };
        let text = list.header.guid.unwrap_or([b'0'; 32]);
        let text = std::str::from_utf8(&text).unwrap_or_default();
        let guid = u128::from_str_radix(text, 16).unwrap_or(0).to_be_bytes();
        // Between two files there is none; it is looked at again.
        let Ok(Some((_, loaded))) = Index::load(&dir, list.header.uidvalidity, &guid) else {
            return;
        };
        if loaded.modseq < self.modseq {
            self.wrong(format!("MODSEQ was {} and is {}", self.modseq, loaded.modseq));
        }
        self.modseq = self.modseq.max(loaded.modseq);
    }
}

/// The number after a word.
fn number(line: &str, word: &str) -> Option<u32> {
    let rest = &line[line.find(word)? + word.len()..];
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

struct Imap {
    wire: Connection,
    tags: u32,
}

impl Imap {
    /// The untagged lines of a command; NO and BAD are errors here.
    fn ok(&mut self, command: &str) -> Result<Vec<String>> {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        self.wire.send(format!("{tag}{command}\r\n"))?;
        let mut all = Vec::new();
        loop {
            let line = self.wire.line()?;
            match line.strip_prefix(&tag) {
                Some(text) if text.starts_with("OK") => return Ok(all),
                Some(text) => return Err(Error::other(format!("{command}: {text}"))),
                None => all.push(line),
            }
        }
    }
}
