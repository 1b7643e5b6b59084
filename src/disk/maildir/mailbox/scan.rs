//! Finding what other programs did: the directories against the model.
//!
//! A scan reads names only, and looks at a file only when its name is new.
//! readdir(3) beside a foreign rename can miss a file that was there all the
//! time, or show it twice: a message is gone only when two scans miss it and
//! nothing moved during the second, and of two names the one that still leads
//! to the file counts.  A directory's mtime proves something only when it is
//! more than a second old, since its clock is coarse.

use std::fs;
use std::hash::BuildHasher;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use super::{Mailbox, Message};
use crate::base::clock::Since;
use crate::disk::atomic;
use crate::disk::index::codec::{Attrs, Entry, Range, Stamp, UNKNOWN};
use crate::disk::index::{self, ranges};
use crate::disk::maildir::draft::part;
use crate::disk::maildir::error::{At, Error, Result};
use crate::disk::maildir::file::{self, Flags, LETTER_MASK};
use crate::disk::maildir::{nanos, now_nanos};
use crate::disk::uidlist::News;

/// What a sync found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New messages.
    pub added: Vec<u32>,
    /// Messages whose flags or keywords are others now.
    pub flags: Vec<u32>,
    /// Messages that are gone.
    pub expunged: Vec<u32>,
    /// There are keywords that were not there before.
    pub keywords: bool,
}

impl Changes {
    /// True when nothing changed.
    pub fn is_empty(&self) -> bool {
        *self == Changes::default()
    }
}

/// A file that the model does not have.
pub(super) struct Found {
    pub(super) base: Box<[u8]>,
    info: Box<[u8]>,
    in_new: bool,
}

/// A message whose name is another than the model says.
struct Moved {
    at: usize,
    info: Vec<u8>,
    in_new: bool,
}

/// What one reading of both directories gave.
#[derive(Default)]
struct Pass {
    moved: Vec<Moved>,
    found: Vec<Found>,
    twins: Vec<(PathBuf, PathBuf)>,
    missing: Vec<u32>,
}

/// The age below which an mtime proves nothing.
const SETTLED: u64 = 1_000_000_000;

/// How often a scan is begun again while other programs keep changing things.
const PASSES: usize = 5;

impl Mailbox {
    /// Brings the model in step with the files, if something may have changed.
    ///
    /// Costs four stat(2) when nothing has.  The changes are those of other
    /// programs and deliveries since the last sync; what this mailbox's own
    /// methods did is not among them.  [`Error::NoMailbox`]: see
    /// [`Mailbox::is_void`].
    pub fn sync(&mut self) -> Result<Changes> {
        match self.look() {
            Err(e) if e.is_missing() => {}
            done => return done,
        }
        match self.root.dir_of(&self.name) {
            Ok(dir) => self.root.make_parts(&dir)?,
            Err(e) => {
                self.void |= e == Error::NoMailbox;
                return Err(e);
            }
        }
        self.look()
    }

    fn look(&mut self) -> Result<Changes> {
        let mut changes = Changes::default();
        let news = self.refresh_list()?;
        self.take_news(news, &mut changes)?;
        changes.keywords = self.read_keywords()?;
        let times = self.dir_times()?;
        if self.is_due(times) {
            self.scan(&mut changes)?;
        }
        Ok(changes)
    }

    /// Reads what other programs changed in the uidlist.
    pub(super) fn refresh_list(&mut self) -> Result<News> {
        if self.void {
            return Err(Error::NoMailbox);
        }
        let news = self.list.refresh();
        self.void = matches!(news, Err(Error::NoMailbox));
        news
    }

    /// Scans although nothing seems to have changed.
    pub(super) fn rescan(&mut self) -> Result<Changes> {
        self.stamp = Stamp::default();
        self.sync()
    }

    /// The mtimes of `cur/` and `new/`.
    pub(super) fn dir_times(&self) -> Result<(u64, u64)> {
        let of = |name: &str| {
            let path = self.dir.join(name);
            let meta = fs::symlink_metadata(&path).at("stat", &path)?;
            Ok::<u64, Error>(nanos(meta.mtime(), meta.mtime_nsec()))
        };
        Ok((of("cur")?, of("new")?))
    }

    fn is_due(&self, (cur, new): (u64, u64)) -> bool {
        if !self.pending.is_empty() || (cur, new) != (self.stamp.cur, self.stamp.new) {
            return true;
        }
        // A doubtful stamp is worth one scan, but scans for a doubt take at
        // most a hundredth of the time, however large the mailbox is.
        self.stamp.provisional
            && now_nanos().saturating_sub(cur.max(new)) > SETTLED
            && self.last_scan.elapsed() >= self.scan_cost.saturating_mul(100)
    }

    /// Runs `f`, which renames or removes files here, and keeps the stamp true.
    ///
    /// If the directories were as the stamp says before, they are afterwards
    /// what `f` made them; a foreign change in the same tick stays possible,
    /// so the stamp is provisional.
    pub(super) fn own_change<T>(&mut self, f: impl FnOnce(&mut Self) -> T) -> T {
        let known = self.dir_times().is_ok_and(|(c, n)| (c, n) == (self.stamp.cur, self.stamp.new));
        let result = f(self);
        self.stamp = match self.dir_times() {
            Ok((cur, new)) if known => Stamp { cur, new, provisional: true },
            _ => Stamp::default(),
        };
        result
    }

    /// Scans until the picture is consistent.
    fn scan(&mut self, changes: &mut Changes) -> Result<()> {
        let timer = Since::now();
        let had_pending = !self.pending.is_empty();
        if let Err(e) = self.reserve_modseqs() {
            if !e.is_full() || had_pending {
                return Err(e);
            }
            // On a full disk the mailbox is what it was: reading goes on, and
            // what is new is found when there is room to write its UID.
            self.put_off(&e);
            return Ok(());
        }
        self.drop_renumbered(changes)?;
        let mut suspects: Option<Vec<u32>> = None;
        self.stamp = Stamp::default();
        for _ in 0..PASSES {
            let before = self.dir_times()?;
            let begun = now_nanos();
            let pass = self.pass()?;
            let calm = self.dir_times()? == before;
            if self.part_twins(&pass.twins)? {
                continue;
            }
            self.apply_moved(pass.moved, changes)?;
            let all = match self.take_found(pass.found, changes) {
                Err(e) if e.is_full() => {
                    // The new messages wait; those that have their UID can be read.
                    self.put_off(&e);
                    break;
                }
                all => all?,
            };
            let settled = begun.saturating_sub(before.0.max(before.1)) > SETTLED;
            let stamp = Stamp { cur: before.0, new: before.1, provisional: !settled };
            if pass.missing.is_empty() {
                if calm && all {
                    self.stamp = stamp;
                    break;
                }
                suspects = None;
                continue;
            }
            match suspects {
                Some(before) if calm => {
                    let gone: Vec<u32> = pass
                        .missing
                        .into_iter()
                        .filter(|uid| before.binary_search(uid).is_ok())
                        .collect();
                    self.drop_gone(gone, changes)?;
                    if all {
                        self.stamp = stamp;
                    }
                    break;
                }
                _ => suspects = Some(pass.missing),
            }
        }
        (self.last_scan, self.scan_cost) = (Since::now(), timer.elapsed());
        if self.stamp != Stamp::default() && had_pending {
            // What was not found is gone for good; only a snapshot remembers
            // that those UIDs were looked for.
            for (base, uid) in std::mem::take(&mut self.pending) {
                self.ext.remove(&uid);
                self.dead.insert(self.hasher.hash_one(&*base));
            }
            self.index = None;
        }
        self.journal(&[(self.modseq, Entry::Stamp(self.stamp))]);
        Ok(())
    }

    /// Reads both directories once and compares names.
    fn pass(&mut self) -> Result<Pass> {
        let mut pass = Pass::default();
        let mut seen = vec![false; self.messages.len()];
        for (dir, in_new) in [("new", true), ("cur", false)] {
            let path = self.dir.join(dir);
            for entry in fs::read_dir(&path).at("opendir", &path)? {
                let entry = entry.at("readdir", &path)?;
                let name = entry.file_name();
                let name = name.as_bytes();
                if !file::is_message(name) {
                    continue;
                }
                let (base, info) = file::split(name);
                let Some(at) = self.find_base(base) else {
                    if entry.file_type().is_ok_and(|t| t.is_file()) {
                        pass.found.push(Found { base: base.into(), info: info.into(), in_new });
                    }
                    continue;
                };
                let Some(message) = self.messages.get(at) else { continue };
                let same = message.attrs.in_new == in_new && self.info_of(message) == info;
                let first = match seen.get_mut(at) {
                    Some(seen) => !std::mem::replace(seen, true),
                    None => continue,
                };
                if first {
                    if !same {
                        pass.moved.push(Moved { at, info: info.to_vec(), in_new });
                    }
                    continue;
                }
                // A second name of one message.
                let other = match pass.moved.iter().position(|m| m.at == at) {
                    Some(i) => {
                        let m = pass.moved.swap_remove(i);
                        let dir = if m.in_new { "new" } else { "cur" };
                        part(&self.dir, dir, &[base, &m.info].concat())
                    }
                    None => self.path_of(message),
                };
                if other != entry.path() {
                    pass.twins.push((other, entry.path()));
                }
            }
        }
        // Two new files with one base.
        pass.found.sort_by(|a, b| a.base.cmp(&b.base).then(b.in_new.cmp(&a.in_new)));
        for pair in pass.found.windows(2) {
            if let [a, b] = pair {
                if a.base == b.base && (a.in_new, &a.info) != (b.in_new, &b.info) {
                    pass.twins.push((self.path_found(a), self.path_found(b)));
                }
            }
        }
        pass.found.dedup_by(|b, a| a.base == b.base);
        let missing = self.messages.iter().zip(&seen).filter(|(_, seen)| !**seen);
        pass.missing = missing.map(|(m, _)| m.attrs.uid).collect();
        Ok(pass)
    }

    fn path_found(&self, found: &Found) -> PathBuf {
        let dir = if found.in_new { "new" } else { "cur" };
        part(&self.dir, dir, &[&*found.base, &*found.info].concat())
    }

    /// Ends that one message has two names; true if a new look is needed.
    ///
    /// One file under two names (a crash in the middle of a rename leaves that)
    /// loses the name in `new/`, or the first of two in `cur/`, after 30 s: a
    /// younger one may be a rename in progress.  Two files with one base name
    /// are two messages: the second gets a new name in `new/`.
    fn part_twins(&mut self, twins: &[(PathBuf, PathBuf)]) -> Result<bool> {
        let mut again = false;
        for (a, b) in twins {
            let (Ok(first), Ok(second)) = (fs::symlink_metadata(a), fs::symlink_metadata(b)) else {
                // One name is gone: it was a rename, and the next look shows one.
                again = true;
                continue;
            };
            if (first.dev(), first.ino()) == (second.dev(), second.ino()) {
                let age = now_nanos().saturating_sub(nanos(first.ctime(), first.ctime_nsec()));
                if u128::from(age) > Duration::from_secs(30).as_nanos() {
                    fs::remove_file(a).at("unlink", a)?;
                    again = true;
                }
                continue;
            }
            let name = b.file_name().map(OsStrExt::as_bytes).unwrap_or_default();
            let mut fresh = self.root.unique();
            for key in [b'S', b'W'] {
                if let Some(n) = file::size_field(file::split(name).0, key) {
                    fresh.push_str(&format!(",{}={n}", char::from(key)));
                }
            }
            crate::base::log::warn!("store", event = "duplicate-name", path = b.as_path());
            atomic::rename(b, &part(&self.dir, "new", fresh.as_bytes()))?;
            again = true;
        }
        Ok(again)
    }

    /// Takes over names that changed: new flags, or another directory.
    fn apply_moved(&mut self, moved: Vec<Moved>, changes: &mut Changes) -> Result<()> {
        let mut facts = Vec::new();
        let mut changed = Vec::new();
        for m in moved {
            let Some(message) = self.messages.get_mut(m.at) else { continue };
            let (flags, letters) = file::parse_info(&m.info);
            let attrs = &mut message.attrs;
            let keywords = letters | (attrs.keywords & !LETTER_MASK);
            attrs.in_new = m.in_new;
            let uid = attrs.uid;
            if (attrs.flags, attrs.keywords) == (flags, keywords) {
                facts.push(*attrs);
            } else {
                (attrs.flags, attrs.keywords) = (flags, keywords);
                changed.push(uid);
            }
            self.note_info(uid, &m.info, m.in_new);
        }
        let mut entries = Vec::new();
        if !facts.is_empty() {
            entries.push((self.modseq, Entry::Facts(facts)));
        }
        if !changed.is_empty() {
            let modseq = self.issue()?;
            changed.sort_unstable();
            entries.push((modseq, self.flags_entry(&changed, modseq)));
            changes.flags.extend(changed);
        }
        if !entries.is_empty() {
            self.journal(&entries);
        }
        Ok(())
    }

    /// Gives messages (ascending UIDs) a MODSEQ and makes the journal entry of their flags.
    pub(super) fn flags_entry(&mut self, uids: &[u32], modseq: u64) -> Entry {
        let mut all: Vec<(Range, Flags, bool, u64)> = Vec::new();
        let mut before = None;
        for uid in uids {
            let Some(at) = self.find(*uid) else { continue };
            let Some(message) = self.messages.get_mut(at) else { continue };
            let a = &mut message.attrs;
            a.modseq = modseq;
            // Neighbours in the model share a range: no message is between them.
            let joins = before.and_then(|b: usize| b.checked_add(1)) == Some(at);
            match all.last_mut() {
                Some((range, flags, in_new, keywords))
                    if joins && (*flags, *in_new, *keywords) == (a.flags, a.in_new, a.keywords) =>
                {
                    range.last = *uid;
                }
                _ => {
                    let range = Range { first: *uid, last: *uid };
                    all.push((range, a.flags, a.in_new, a.keywords));
                }
            }
            before = Some(at);
        }
        Entry::Flags(all)
    }

    /// Gives UIDs to files that have none and takes all into the model; false if a file was
    /// gone again before it could be looked at.
    fn take_found(&mut self, found: Vec<Found>, changes: &mut Changes) -> Result<bool> {
        if found.is_empty() {
            return Ok(true);
        }
        let mut all = true;
        let (numbered, fresh) = self.sort_found(found, &mut all);
        // Into the model first: the uidlist may be written anew below, from the model.
        self.enter(numbered, changes)?;
        if fresh.is_empty() {
            return Ok(all);
        }
        self.number(fresh, changes).map(|()| all)
    }

    /// The next sync scans again; until then new messages are not seen.
    fn put_off(&mut self, e: &Error) {
        self.stamp = Stamp::default();
        crate::base::log::warn!(
            "store",
            event = "no-uids-yet",
            path = self.dir.as_path(),
            error = crate::base::log::Show(e)
        );
    }

    /// Takes files that have a UID into the model and the journal.
    pub(super) fn enter(
        &mut self,
        mut numbered: Vec<(u32, Found, fs::Metadata)>,
        changes: &mut Changes,
    ) -> Result<()> {
        if numbered.is_empty() {
            return Ok(());
        }
        numbered.sort_by_key(|(uid, _, _)| *uid);
        let modseq = self.issue()?;
        let mut new = Vec::new();
        for (uid, f, meta) in numbered {
            let ext = self.ext.get(&uid).cloned();
            let (flags, letters) = file::parse_info(&f.info);
            let mut attrs = attrs_of(uid, &f.base, ext.as_deref(), &meta);
            (attrs.flags, attrs.in_new, attrs.modseq) = (flags, f.in_new, modseq);
            attrs.keywords = letters | self.extra_keywords(uid);
            self.note_info(uid, &f.info, f.in_new);
            changes.added.push(uid);
            new.push(Message { attrs, base: f.base });
        }
        let entry = Entry::Add(new.iter().map(|m| m.attrs).collect());
        self.insert(new);
        self.journal(&[(modseq, entry)]);
        Ok(())
    }

    /// Looks at new files, and parts those that the uidlist knows from those that it does not.
    #[expect(clippy::type_complexity, reason = "two lists of the same things, used once")]
    fn sort_found(
        &mut self,
        found: Vec<Found>,
        all: &mut bool,
    ) -> (Vec<(u32, Found, fs::Metadata)>, Vec<(Found, fs::Metadata)>) {
        let (mut numbered, mut fresh) = (Vec::new(), Vec::new());
        for f in found {
            let meta = match fs::symlink_metadata(self.path_found(&f)) {
                Ok(meta) if meta.is_file() => meta,
                Ok(_) => continue,
                Err(_) => {
                    *all = false;
                    continue;
                }
            };
            match self.pending.remove(&f.base) {
                Some(uid) => numbered.push((uid, f, meta)),
                None => fresh.push((f, meta)),
            }
        }
        (numbered, fresh)
    }

    /// Takes messages whose files are gone out of the model; ascending UIDs.
    pub(super) fn drop_gone(&mut self, gone: Vec<u32>, changes: &mut Changes) -> Result<()> {
        if gone.is_empty() {
            return Ok(());
        }
        let modseq = self.issue()?;
        self.remove(&gone);
        let all = ranges(gone.iter().copied());
        self.note_expunged(modseq, &all);
        self.journal(&[(modseq, Entry::Expunge(all))]);
        changes.expunged.extend(gone);
        Ok(())
    }

    /// Remembers expunges for `VANISHED`.
    pub(super) fn note_expunged(&mut self, modseq: u64, all: &[Range]) {
        index::note_expunged(&mut self.expunged, &mut self.floor, modseq, all);
    }
}

/// What a file's name, its uidlist record and its metadata say of a message.
pub(super) fn attrs_of(uid: u32, base: &[u8], ext: Option<&[u8]>, meta: &fs::Metadata) -> Attrs {
    let field = |key: u8| {
        let in_ext = || {
            let word = ext?.split(|b| *b == b' ').find_map(|w| w.strip_prefix(&[key]))?;
            std::str::from_utf8(word).ok()?.parse::<u64>().ok()
        };
        file::size_field(base, key).or_else(in_ext)
    };
    // A name that lies about the size is not believed about the other size either.
    let truthful = field(b'S').is_none_or(|s| s == meta.size());
    let vsize = field(b'W').filter(|_| truthful);
    Attrs {
        uid,
        flags: Flags::NONE,
        in_new: false,
        keywords: 0,
        modseq: 0,
        size: u32::try_from(meta.size()).unwrap_or(UNKNOWN),
        vsize: vsize.and_then(|w| u32::try_from(w).ok()).unwrap_or(UNKNOWN),
        internal: u32::try_from(meta.mtime()).unwrap_or(UNKNOWN),
        saved: u32::try_from(meta.ctime()).unwrap_or(UNKNOWN),
    }
}
