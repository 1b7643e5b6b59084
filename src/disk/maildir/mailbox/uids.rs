//! UIDs: which a new file gets, and what other programs have given.
//!
//! The uidlist is the truth and is shared: a UID is given under its lock, after
//! what others wrote into it meanwhile was taken over, and is in the file,
//! synced, before anybody is told of it.

use std::fs;
use std::hash::BuildHasher;

use super::scan::{Changes, Found};
use super::{Mailbox, LAST_UID};
use crate::disk::maildir::error::{Error, Result};
use crate::disk::maildir::file;
use crate::disk::uidlist::codec::Record;
use crate::disk::uidlist::{self, News};

impl Mailbox {
    /// Gives UIDs to files that have none.
    pub(super) fn number(
        &mut self,
        fresh: Vec<(Found, fs::Metadata)>,
        changes: &mut Changes,
    ) -> Result<()> {
        // The lock keeps others from giving the same UIDs until ours are in the file.
        let _lock = uidlist::lock(&self.dir, self.root.owner(), self.root.file_mode())?;
        let news = self.refresh_list()?;
        self.take_news(news, changes)?;
        // Another program may just have given some of them a UID.
        let (given, mut fresh): (Vec<_>, Vec<_>) =
            fresh.into_iter().partition(|(f, _)| self.pending.contains_key(&f.base));
        let given = given.into_iter().filter_map(|(f, meta)| {
            let uid = self.pending.remove(&f.base)?;
            Some((uid, f, meta))
        });
        let given = given.collect();
        self.enter(given, changes)?;
        fresh.sort_by(|(a, _), (b, _)| file::uid_order(&a.base, &b.base));
        let (mut records, mut numbered) = (Vec::new(), Vec::new());
        for (f, meta) in fresh {
            let uid = self.take_uid()?;
            records.push(Record { uid, ext: Box::default(), base: f.base.clone() });
            numbered.push((uid, f, meta));
        }
        if !records.is_empty() {
            self.write_records(&records)?;
        }
        self.enter(numbered, changes)
    }

    /// The next UID.
    pub(super) fn take_uid(&mut self) -> Result<u32> {
        let uid = self.next_uid.max(self.list.next_uid());
        if uid >= LAST_UID {
            return Err(Error::Limit("UIDs in this mailbox"));
        }
        self.next_uid = uid.saturating_add(1);
        Ok(uid)
    }

    /// Puts new records into the uidlist, synced.  The caller holds the lock.
    pub(super) fn write_records(&mut self, records: &[Record]) -> Result<()> {
        let live = self.messages.len().saturating_add(self.pending.len());
        // A file that came back under a dead line's name: that line must go.
        let risen = records.iter().any(|r| self.is_dead(&r.base));
        let append = !risen && self.list.bad == 0 && !self.list.is_sparse(live);
        if append && !self.list.must_rewrite()? {
            return self.list.append(records);
        }
        let none: &[u8] = b"";
        let mut lines: Vec<(u32, &[u8], &[u8])> = Vec::new();
        let ext = |uid: &u32| self.ext.get(uid).map_or(none, |e| e);
        lines.extend(self.messages.iter().map(|m| (m.attrs.uid, ext(&m.attrs.uid), &*m.base)));
        lines.extend(self.pending.iter().map(|(base, uid)| (*uid, ext(uid), &**base)));
        lines.extend(records.iter().map(|r| (r.uid, &*r.ext, &*r.base)));
        lines.sort_unstable_by_key(|(uid, _, _)| *uid);
        self.list.rewrite(self.next_uid, lines.into_iter())?;
        self.dead.clear();
        Ok(())
    }

    /// True if the uidlist still has a line with this base, of a message that is gone.
    pub(super) fn is_dead(&self, base: &[u8]) -> bool {
        self.dead.contains(&self.hasher.hash_one(base))
    }

    /// Takes over what another program wrote into the uidlist.
    pub(super) fn take_news(&mut self, news: News, changes: &mut Changes) -> Result<()> {
        match news {
            News::Same => Ok(()),
            News::Appended(records) => {
                for r in records {
                    if !r.ext.is_empty() {
                        self.ext.insert(r.uid, r.ext);
                    }
                    self.pending.insert(r.base, r.uid);
                }
                self.drop_renumbered(changes)
            }
            News::Replaced(records) => {
                let known = self.next_uid;
                self.ext.clear();
                self.pending.clear();
                let mut uids = std::collections::HashMap::with_capacity(records.len());
                for r in records {
                    if !r.ext.is_empty() {
                        self.ext.insert(r.uid, r.ext);
                    }
                    uids.insert(r.base, r.uid);
                }
                let gone: Vec<u32> = self
                    .messages
                    .iter()
                    .filter(|m| uids.get(&m.base) != Some(&m.attrs.uid))
                    .map(|m| m.attrs.uid)
                    .collect();
                self.drop_gone(gone, changes)?;
                self.dead.clear();
                for (base, uid) in uids {
                    if uid >= known {
                        self.pending.insert(base, uid);
                    } else if self.find(uid).is_none() {
                        self.dead.insert(self.hasher.hash_one(&*base));
                    }
                }
                Ok(())
            }
        }
    }

    /// Drops messages to whose base name another program has given a later UID.
    pub(super) fn drop_renumbered(&mut self, changes: &mut Changes) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let pending: Vec<Box<[u8]>> = self.pending.keys().cloned().collect();
        let mut gone = Vec::new();
        for base in pending {
            let at = self.find_base(&base);
            gone.extend(at.and_then(|at| self.messages.get(at)).map(|m| m.attrs.uid));
        }
        gone.sort_unstable();
        self.drop_gone(gone, changes)
    }
}
