//! Flags, keywords and expunges: renames and unlinks, then the journal.
//!
//! The file's name is the truth, so it changes first; when a method returns,
//! what it reports is visible to every other program.  Renames are not synced:
//! OpenBSD writes them synchronously anyway, and a flag that a power cut takes
//! back is found by the next scan and gets a new MODSEQ.

use std::fs;

use super::load::KEYWORDS;
use super::{Changes, Mailbox};
use crate::base::log::{self, Show};
use crate::disk::atomic;
use crate::disk::dotlock::{Dotlock, UIDLIST};
use crate::disk::index::codec::{Attrs, Entry, Stamp};
use crate::disk::index::ranges;
use crate::disk::keywords::{is_keyword, Keywords};
use crate::disk::maildir::draft::part;
use crate::disk::maildir::error::{At, Error, Result};
use crate::disk::maildir::file::{self, Flags, LETTER_KEYWORDS, LETTER_MASK};
use crate::disk::maildir::read_small;
use crate::disk::uidlist;
use crate::proto::limits;

/// What STORE does with the flags it names.  RFC 9051 6.4.6.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagOp {
    /// They replace the old ones.
    Set,
    /// They are added.
    Add,
    /// They are taken away.
    Remove,
}

/// What became of a change to several messages.
#[derive(Clone, Debug, Default)]
pub struct Stored {
    /// The messages that were changed (flags, or gone by expunge), ascending.
    pub changed: Vec<u32>,
    /// Messages that were gone before they could be changed.
    pub gone: Vec<u32>,
    /// Messages that were not to be expunged any more.
    pub kept: Vec<u32>,
    /// The MODSEQ of the change; 0 if nothing changed.
    pub modseq: u64,
    /// Why it ended early; what is in `changed` is done nevertheless.
    pub failed: Option<Error>,
    /// What other programs did, found on the way.
    pub foreign: Changes,
}

/// The flags and keywords that a message has after STORE.
fn changed(attrs: &Attrs, op: FlagOp, flags: Flags, bits: u64) -> (Flags, u64) {
    match op {
        FlagOp::Set => (flags, bits),
        FlagOp::Add => (attrs.flags.with(flags), attrs.keywords | bits),
        FlagOp::Remove => (attrs.flags.without(flags), attrs.keywords & !bits),
    }
}

impl Mailbox {
    /// Changes flags and keywords of messages; UIDs ascending, unknown ones are passed over.
    ///
    /// Keywords that the mailbox does not know yet are made, unless they are to
    /// be removed.  [`Error::Limit`]: the mailbox has no room for another.
    pub fn store_flags(
        &mut self,
        uids: &[u32],
        op: FlagOp,
        flags: Flags,
        keywords: &[&str],
    ) -> Result<Stored> {
        let bits = self.keyword_bits(keywords, op != FlagOp::Remove)?;
        let mut stored = Stored::default();
        let differs = |uid: &u32| {
            self.get(*uid).is_some_and(|m| {
                changed(&m.attrs, op, flags, bits) != (m.attrs.flags, m.attrs.keywords)
            })
        };
        if !uids.iter().any(differs) {
            return Ok(stored);
        }
        // Before the first file has another name: then all that is done is told.
        let modseq = self.issue_though_full()?;
        let mut extra = false;
        let mut retry = Vec::new();
        self.own_change(|me| {
            for uid in uids {
                match me.rename_flags(*uid, op, flags, bits, &mut extra) {
                    Ok(true) => stored.changed.push(*uid),
                    Ok(false) => {}
                    Err(e) if e.is_missing() => retry.push(*uid),
                    Err(e) => {
                        stored.failed = Some(e);
                        break;
                    }
                }
            }
        });
        if !retry.is_empty() {
            match self.rescan() {
                Ok(foreign) => stored.foreign = foreign,
                Err(e) => {
                    stored.failed.get_or_insert(e);
                }
            }
            for uid in retry {
                match self.own_change(|me| me.rename_flags(uid, op, flags, bits, &mut extra)) {
                    Ok(true) => stored.changed.push(uid),
                    Ok(false) if self.get(uid).is_some() => {}
                    Ok(false) => stored.gone.push(uid),
                    Err(e) if e.is_missing() => stored.gone.push(uid),
                    Err(e) => stored.failed = Some(e),
                }
            }
            stored.changed.sort_unstable();
        }
        if let Err(e) = if extra { self.store_meta() } else { Ok(()) } {
            stored.failed.get_or_insert(e);
        }
        if !stored.changed.is_empty() {
            stored.modseq = modseq;
            let entry = self.flags_entry(&stored.changed, stored.modseq);
            self.journal(&[(stored.modseq, entry), (stored.modseq, Entry::Stamp(self.stamp))]);
        }
        Ok(stored)
    }

    /// Renames one message's file for its new flags; false if it has them already, or is unknown.
    fn rename_flags(
        &mut self,
        uid: u32,
        op: FlagOp,
        flags: Flags,
        bits: u64,
        extra: &mut bool,
    ) -> Result<bool> {
        let Some(at) = self.find(uid) else { return Ok(false) };
        let Some(message) = self.messages.get(at) else { return Ok(false) };
        let old = (message.attrs.flags, message.attrs.keywords);
        let new = changed(&message.attrs, op, flags, bits);
        if new == old {
            return Ok(false);
        }
        let letters = |(f, k): (Flags, u64)| (f, k & LETTER_MASK);
        let in_new = message.attrs.in_new;
        if letters(new) != letters(old) {
            let info = file::set_info(&self.info_of(message), new.0, new.1 & LETTER_MASK);
            let to = part(&self.dir, "cur", &[&*message.base, &info].concat());
            atomic::rename(&self.path_of(message), &to)?;
            self.note_info(uid, &info, false);
        }
        *extra |= new.1 & !LETTER_MASK != old.1 & !LETTER_MASK;
        if let Some(message) = self.messages.get_mut(at) {
            (message.attrs.flags, message.attrs.keywords) = new;
            message.attrs.in_new = in_new && letters(new) == letters(old);
        }
        Ok(true)
    }

    /// Makes flags durable that [`Mailbox::store_flags`] has changed.
    pub fn commit_flags(&self) -> Result<()> {
        Ok(atomic::sync_dir(&self.dir.join("cur"))?)
    }

    /// Removes messages for good; UIDs ascending, unknown ones are passed over.
    ///
    /// `still` is asked of each, and again of those whose files others have renamed
    /// meanwhile; [`Stored::kept`] are those of which it said no.
    ///
    /// The directories are synced before this returns.  An error that comes
    /// when files are gone is in [`Stored::failed`], beside what is done.  RFC
    /// 9051 6.4.3.
    pub fn expunge(&mut self, uids: &[u32], still: impl Fn(&Attrs) -> bool) -> Stored {
        let mut stored = Stored::default();
        let mut retry = Vec::new();
        let in_new = uids.iter().any(|uid| self.get(*uid).is_some_and(|m| m.attrs.in_new));
        self.own_change(|me| {
            for uid in uids {
                let Some(message) = me.get(*uid) else { continue };
                if !still(&message.attrs) {
                    stored.kept.push(*uid);
                    continue;
                }
                let path = me.path_of(message);
                match fs::remove_file(&path).at("unlink", &path) {
                    Ok(()) => stored.changed.push(*uid),
                    Err(e) if e.is_missing() => retry.push(*uid),
                    Err(e) => {
                        stored.failed = Some(e);
                        break;
                    }
                }
            }
        });
        if let Err(e) = self.end_expunge(&mut stored, retry, in_new, still) {
            // The model may have messages still that have no file: the next sync looks.
            self.stamp = Stamp::default();
            stored.failed.get_or_insert(e);
        }
        stored
    }

    /// The rest of an expunge: messages that another program renamed, the model, the disk.
    fn end_expunge(
        &mut self,
        stored: &mut Stored,
        retry: Vec<u32>,
        in_new: bool,
        still: impl Fn(&Attrs) -> bool,
    ) -> Result<()> {
        self.take_out(stored)?;
        if !retry.is_empty() {
            stored.foreign = self.rescan()?;
            let mut rest = Stored::default();
            for uid in retry {
                let Some(message) = self.get(uid) else {
                    stored.gone.push(uid);
                    continue;
                };
                if !still(&message.attrs) {
                    stored.kept.push(uid);
                    continue;
                }
                let path = self.path_of(message);
                match self.own_change(|_| fs::remove_file(&path)).at("unlink", &path) {
                    Ok(()) => rest.changed.push(uid),
                    Err(e) if e.is_missing() => rest.changed.push(uid),
                    Err(e) => stored.failed = Some(e),
                }
            }
            let taken = self.take_out(&mut rest);
            stored.modseq = stored.modseq.max(rest.modseq);
            stored.changed.append(&mut rest.changed);
            stored.changed.sort_unstable();
            taken?;
        }
        if !stored.changed.is_empty() {
            if in_new {
                atomic::sync_dir(&self.dir.join("new"))?;
            }
            atomic::sync_dir(&self.dir.join("cur"))?;
            self.journal(&[(self.modseq, Entry::Stamp(self.stamp))]);
        }
        Ok(())
    }

    /// True if a message's file is where the model has it.  False proves
    /// nothing: another program may have renamed it.
    pub fn is_there(&self, uid: u32) -> bool {
        self.get(uid).is_some_and(|m| fs::symlink_metadata(self.path_of(m)).is_ok())
    }

    /// Takes expunged messages out of the model and journals it.
    fn take_out(&mut self, stored: &mut Stored) -> Result<()> {
        if stored.changed.is_empty() {
            return Ok(());
        }
        // They are gone, whether there is a MODSEQ for it or not.
        let modseq = self.issue_though_full();
        stored.modseq = *modseq.as_ref().unwrap_or(&self.modseq);
        let extra = stored
            .changed
            .iter()
            .any(|uid| self.get(*uid).is_some_and(|m| m.attrs.keywords & !LETTER_MASK != 0));
        self.remove(&stored.changed);
        let all = ranges(stored.changed.iter().copied());
        self.note_expunged(stored.modseq, &all);
        self.journal(&[(stored.modseq, Entry::Expunge(all))]);
        if extra {
            self.store_meta()?;
        }
        modseq.map(drop)
    }

    /// Moves all messages from `new/` to `cur/`, as opening a mailbox for writing does.
    ///
    /// The UIDs moved are those that are `\Recent` to the session that asked.
    /// No MODSEQ changes.  What cannot be moved stays where it is, for the next
    /// who opens it.  RFC 3501 2.3.2.
    pub fn settle(&mut self) -> Vec<u32> {
        let waiting: Vec<u32> =
            self.messages.iter().filter(|m| m.attrs.in_new).map(|m| m.attrs.uid).collect();
        if waiting.is_empty() {
            return waiting;
        }
        let (mut moved, mut facts) = (Vec::new(), Vec::new());
        let mut failed = None;
        self.own_change(|me| {
            for uid in waiting {
                let Some(at) = me.find(uid) else { continue };
                let Some(message) = me.messages.get(at) else { continue };
                let (flags, letters) = (message.attrs.flags, message.attrs.keywords & LETTER_MASK);
                let info = file::set_info(&me.info_of(message), flags, letters);
                let to = part(&me.dir, "cur", &[&*message.base, &info].concat());
                match atomic::rename(&me.path_of(message), &to) {
                    Ok(()) => {}
                    // Another program was quicker; the next scan shows where it is.
                    Err(e) if e.is_missing() => continue,
                    Err(e) => {
                        failed.get_or_insert(e);
                        continue;
                    }
                }
                me.note_info(uid, &info, false);
                if let Some(message) = me.messages.get_mut(at) {
                    message.attrs.in_new = false;
                    facts.push(message.attrs);
                }
                moved.push(uid);
            }
        });
        if let Some(e) = failed {
            log::warn!("store", event = "stays-in-new", error = Show(&e));
        }
        self.journal(&[
            (self.modseq, Entry::Facts(facts)),
            (self.modseq, Entry::Stamp(self.stamp)),
        ]);
        moved
    }

    /// The bits of keywords; with `create`, unknown ones are given numbers.
    pub(super) fn keyword_bits(&mut self, names: &[&str], create: bool) -> Result<u64> {
        let mut bits = 0u64;
        let mut missing = Vec::new();
        for name in names {
            match self.keywords.find(name) {
                Some(n) => bits |= 1u64.checked_shl(n).unwrap_or(0),
                None if is_keyword(name) => missing.push(*name),
                None => return Err(Error::Limit("characters in a keyword")),
            }
        }
        if create && !missing.is_empty() {
            bits |= self.make_keywords(&missing)?;
        }
        Ok(bits)
    }

    /// Gives keywords numbers: the lowest letter that no file carries, else one in `rmail.meta`.
    fn make_keywords(&mut self, names: &[&str]) -> Result<u64> {
        let path = self.dir.join(KEYWORDS);
        let mode = self.root.file_mode();
        // Dovecot changes its keywords under the uidlist's lock.
        let _lock = uidlist::lock(&self.dir, self.root.owner(), mode)?;
        self.read_keywords()?;
        let mut used = self.messages.iter().fold(0, |all, m| all | m.attrs.keywords);
        let mut keywords = self.keywords.clone();
        let (mut bits, mut letters) = (0u64, false);
        let mut extra = self.meta.keywords.clone();
        for name in names {
            let n = match keywords.find(name) {
                Some(n) => n,
                None => {
                    let n = keywords.free(used).ok_or(Error::Limit("keywords in this mailbox"))?;
                    if !keywords.set(n, name) {
                        return Err(Error::Limit("keywords in this mailbox"));
                    }
                    if n < LETTER_KEYWORDS {
                        letters = true;
                    } else {
                        extra.push((n, (*name).to_string()));
                    }
                    n
                }
            };
            let bit = 1u64.checked_shl(n).unwrap_or(0);
            bits |= bit;
            used |= bit;
        }
        if letters {
            let lock = Dotlock::acquire(&path, UIDLIST, self.root.owner(), mode)?;
            // Read again under the lock, so that a line that another program
            // added is not lost.
            let now = Keywords::parse(&read_small(&path, limits::KEYWORDS_FILE.default)?);
            let clash = now.all().any(|(n, name)| keywords.name(n) != Some(name));
            if clash {
                return Err(Error::Locked(path));
            }
            let before = fs::symlink_metadata(&path).and_then(|m| m.modified()).ok();
            lock.commit(&keywords.write(), before)?;
        }
        if extra != self.meta.keywords {
            self.meta.keywords = extra;
            self.store_meta()?;
        }
        self.keywords = keywords;
        // The file that was just written is not news.
        self.keywords_seen = None;
        self.read_keywords()?;
        Ok(bits)
    }

    /// Writes which messages carry keywords without a letter.
    pub(super) fn store_meta(&mut self) -> Result<()> {
        let mut sets = Vec::new();
        for (n, _) in &self.meta.keywords {
            let bit = 1u64.checked_shl(*n).unwrap_or(0);
            let carriers = self.messages.iter().filter(|m| m.attrs.keywords & bit != 0);
            sets.push((*n, ranges(carriers.map(|m| m.attrs.uid))));
        }
        self.meta.sets = sets;
        self.meta.store(&self.dir, self.root.file_mode())
    }
}
