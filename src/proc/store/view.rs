//! What one session knows of its selected mailbox.
//!
//! The model is shared and always the newest; a session has numbered its
//! messages as it was told, and may be told of expunges only at certain times
//! (RFC 9051 7.5.1).  So a view is the list of UIDs in the session's numbering
//! and a MODSEQ up to which flags have been announced; everything owed to the
//! client is the difference to the model, found when asked for.

use std::sync::Arc;

use super::account::Open;
use super::notify::Waker;
use crate::disk::index::codec::Attrs;
use crate::disk::keywords::Keywords;
use crate::disk::maildir::{Error, FlagOp, Flags, Mailbox, Result, Stored};
use crate::proto::imap::seqset::Ranges;
use crate::proto::imap::uidmap::UidMap;
use crate::sys::errno::SysError;

/// A selected mailbox as a session sees it.  Owner only: the session's thread.
pub struct View {
    open: Arc<Open>,
    /// The messages in the session's numbering, as runs of UIDs: an idle
    /// session with a hundred thousand messages is still small.
    uids: UidMap,
    /// The highest UID ever seen by this session.
    last: u32,
    /// The UIDs that are `\Recent` here, ascending.
    recent: Vec<u32>,
    /// Flags changed up to this MODSEQ have been announced.
    seen: u64,
    /// MODSEQs of this session's own changes, whose answer is STORE's own.
    mine: Vec<u64>,
    /// Messages whose flags are owed although their MODSEQ is one of `mine`.
    owed: Vec<u32>,
    keywords: Keywords,
    waker: Option<Arc<Waker>>,
    /// EXAMINE: nothing may be changed.  RFC 9051 6.3.3.
    pub read_only: bool,
    /// The mailbox's UIDVALIDITY when it was selected.
    pub uidvalidity: u32,
}

/// What the session has not been told yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct News {
    /// Sequence numbers that went, the highest first: each is right when those before it have
    /// been announced.
    pub expunged: Vec<u32>,
    /// The same messages by UID, ascending, for VANISHED.  RFC 7162 3.2.10.
    pub vanished: Vec<u32>,
    /// The new number of messages, if there are new ones.
    pub exists: Option<u32>,
    /// The number of `\Recent` messages, if it changed.
    pub recent: Option<u32>,
    /// Messages whose flags changed: UIDs, ascending.
    pub flags: Vec<u32>,
    /// The mailbox has keywords that FLAGS did not name yet.
    pub keywords: bool,
}

impl News {
    /// True when there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        *self == News::default()
    }
}

impl View {
    /// Selects a mailbox that is in step with the disk.
    pub(super) fn new(open: Arc<Open>, read_only: bool) -> Result<View> {
        let mut view = View {
            open: open.clone(),
            uids: UidMap::new(),
            last: 0,
            recent: Vec::new(),
            seen: 0,
            mine: Vec::new(),
            owed: Vec::new(),
            keywords: Keywords::default(),
            waker: None,
            read_only,
            uidvalidity: 0,
        };
        open.change(|m| {
            view.recent = recent(m, 0, read_only);
            view.uids = m.messages().iter().map(|m| m.attrs.uid).collect();
            view.last = m.uidnext().saturating_sub(1);
            view.seen = m.highest_modseq();
            view.keywords = m.keywords().clone();
            view.uidvalidity = m.uidvalidity();
            Ok(())
        })?;
        Ok(view)
    }

    /// The open mailbox.
    pub fn open(&self) -> &Arc<Open> {
        &self.open
    }

    /// Works on the model.
    pub fn with<R>(&self, f: impl FnOnce(&mut Mailbox) -> Result<R>) -> Result<R> {
        self.open.change(f)
    }

    /// How many messages the session knows: the last EXISTS.
    pub fn len(&self) -> u32 {
        self.uids.len()
    }

    /// True when the session knows no message.
    pub fn is_empty(&self) -> bool {
        self.uids.is_empty()
    }

    /// The UIDs in the session's numbering, ascending; the first has sequence number 1.
    pub fn uids(&self) -> impl Iterator<Item = u32> + '_ {
        self.uids.uids()
    }

    /// The largest UID that the session knows; 0 without messages.
    pub fn last_uid(&self) -> u32 {
        self.uids.last_uid()
    }

    /// UIDNEXT as it was when the session last looked: no message that it does
    /// not know yet has a lower UID.
    pub fn uidnext(&self) -> u32 {
        self.last.saturating_add(1)
    }

    /// The UID of a sequence number.
    pub fn uid(&self, seq: u32) -> Option<u32> {
        self.uids.uid(seq)
    }

    /// The messages with UIDs of a range: sequence number and UID, ascending.
    pub fn within(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        self.uids.within(first, last)
    }

    /// The sequence number of a UID.
    pub fn seq(&self, uid: u32) -> Option<u32> {
        self.uids.seq(uid)
    }

    /// True if a message is `\Recent` in this session.
    pub fn is_recent(&self, uid: u32) -> bool {
        self.recent.binary_search(&uid).is_ok()
    }

    /// How many messages are `\Recent` in this session.
    pub fn recent(&self) -> usize {
        self.recent.len()
    }

    /// Brings the model in step with the disk: NOOP, CHECK, the start of IDLE.
    pub fn refresh(&self) -> Result<()> {
        self.open.change(|m| m.sync().map(drop))
    }

    /// What is owed to the client, and takes it as told.
    ///
    /// Without `expunge` (during FETCH, STORE, SEARCH by sequence number) what
    /// is gone stays in the numbering and is told later.  From memory only; see
    /// [`View::refresh`].  [`Error::NoMailbox`]: it was deleted.
    pub fn poll(&mut self, expunge: bool) -> Result<News> {
        if let Some(waker) = &self.waker {
            waker.drain();
        }
        let open = self.open.clone();
        open.change(|m| Ok(self.compare(m, expunge)))
    }

    /// Nothing here fails: what the numbering has taken in is told.
    fn compare(&mut self, m: &mut Mailbox, expunge: bool) -> News {
        let mut news = News::default();
        let known = m.messages().partition_point(|x| x.attrs.uid <= self.last);
        if expunge && u32::try_from(known) != Ok(self.uids.len()) {
            self.drop_gone(m, &mut news);
        }
        if m.highest_modseq() > self.seen {
            for message in m.messages() {
                let a = &message.attrs;
                let changed = a.modseq > self.seen && !self.mine.contains(&a.modseq);
                if changed && a.uid <= self.last && self.seq(a.uid).is_some() {
                    news.flags.push(a.uid);
                }
            }
            self.seen = m.highest_modseq();
        }
        self.mine.clear();
        for uid in std::mem::take(&mut self.owed) {
            if m.get(uid).is_some() {
                news.flags.push(uid);
            }
        }
        news.flags.sort_unstable();
        news.flags.dedup();
        let new: Vec<u32> =
            m.messages().get(known..).unwrap_or_default().iter().map(|x| x.attrs.uid).collect();
        if !new.is_empty() {
            let first = new.first().copied().unwrap_or(0);
            new.iter().for_each(|uid| self.uids.push(*uid));
            self.last = self.last.max(self.uids.last_uid());
            news.exists = Some(self.uids.len());
            let fresh = recent(m, first, self.read_only);
            if !fresh.is_empty() {
                self.recent.extend(fresh);
                self.recent.sort_unstable();
                self.recent.dedup();
                news.recent = u32::try_from(self.recent.len()).ok();
            }
        }
        if *m.keywords() != self.keywords {
            self.keywords = m.keywords().clone();
            news.keywords = true;
        }
        news
    }

    /// Takes what the model does not have any more out of the numbering.
    fn drop_gone(&mut self, m: &Mailbox, news: &mut News) {
        let mut there = m.messages().iter().map(|x| x.attrs.uid).peekable();
        for uid in self.uids.uids() {
            while there.next_if(|t| *t < uid).is_some() {}
            if there.next_if_eq(&uid).is_none() {
                news.vanished.push(uid);
            }
        }
        let vanished = &news.vanished;
        news.expunged = vanished.iter().rev().filter_map(|uid| self.uids.seq(*uid)).collect();
        self.uids.remove(vanished);
        self.recent.retain(|uid| vanished.binary_search(uid).is_err());
    }

    /// STORE: changes flags of messages (UIDs ascending).
    ///
    /// The change is not among the next [`News`]: the command answers for it.
    /// What others had changed before it is owed all the same.
    pub fn store_flags(
        &mut self,
        uids: &[u32],
        op: FlagOp,
        flags: Flags,
        keywords: &[&str],
    ) -> Result<Stored> {
        if self.read_only {
            return Err(Error::Cannot("the mailbox was opened read-only"));
        }
        let open = self.open.clone();
        open.change(|m| {
            for uid in uids {
                let modseq = m.get(*uid).map_or(0, |x| x.attrs.modseq);
                if modseq > self.seen && !self.mine.contains(&modseq) {
                    self.owed.push(*uid);
                }
            }
            let stored = m.store_flags(uids, op, flags, keywords)?;
            if stored.modseq != 0 {
                self.mine.push(stored.modseq);
            }
            // What another program did, found on the way: the answer to this
            // command may be silent.
            self.owed
                .extend(stored.foreign.flags.iter().filter(|uid| self.uids.seq(**uid).is_some()));
            Ok(stored)
        })
    }

    /// Makes what STORE has changed durable; blocks on the disk.
    pub fn commit_flags(&self) -> Result<()> {
        self.open.change(|m| m.commit_flags())
    }

    /// EXPUNGE: removes for good what is marked `\Deleted`, of a set if one is given.
    /// The next poll with expunges tells.
    ///
    /// A message that came after the last news is left alone: the client has not
    /// seen that it is marked.
    pub fn expunge(&mut self, wanted: Option<&Ranges>) -> Result<Stored> {
        if self.read_only {
            return Err(Error::Cannot("the mailbox was opened read-only"));
        }
        let marked = |a: &Attrs| a.flags.has(Flags::DELETED);
        self.open.change(|m| {
            let uids = m.messages().iter().filter(|x| marked(&x.attrs)).map(|x| x.attrs.uid);
            let known = uids.filter(|uid| self.seq(*uid).is_some());
            let uids: Vec<u32> =
                known.filter(|uid| wanted.is_none_or(|w| w.contains(*uid))).collect();
            Ok(m.expunge(&uids, marked))
        })
    }

    /// What becomes readable when the mailbox changes, for poll(2) in IDLE.
    ///
    /// Poll the view after this and before waiting, or a change in between is
    /// heard only with the next.
    pub fn waker(&mut self) -> core::result::Result<Arc<Waker>, SysError> {
        if let Some(waker) = &self.waker {
            return Ok(waker.clone());
        }
        let waker = Arc::new(Waker::new()?);
        self.open.wakers.add(&waker);
        self.waker = Some(waker.clone());
        Ok(waker)
    }
}

/// The `\Recent` messages from a UID on.  A session that may write takes them: it moves them to
/// `cur/`, and no other session sees them as recent.
fn recent(m: &mut Mailbox, from: u32, read_only: bool) -> Vec<u32> {
    let mut all = if read_only {
        m.messages().iter().filter(|x| x.attrs.in_new).map(|x| x.attrs.uid).collect()
    } else {
        m.settle()
    };
    all.retain(|uid| *uid >= from);
    all
}

#[cfg(test)]
mod tests {
    use super::super::account::Account;
    use super::*;
    use crate::conf::ast::{Auto, Mailbox as Configured, SpecialUse};
    use crate::disk::maildir::{Name, Root};
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicU32, Ordering};

    struct Place(PathBuf);

    impl Drop for Place {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0); // clutter
        }
    }

    fn account() -> (Place, Account) {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let n = NEXT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("rmail-view.{}.{n}", std::process::id()));
        let root = Root::open(&path, "host").unwrap();
        let junk = Configured {
            name: "Junk".into(),
            special_use: Some(SpecialUse::Junk),
            auto: Auto::Subscribe,
        };
        (Place(path), Account::new(root, vec![junk]))
    }

    fn deliver(a: &Account, mailbox: &Name) {
        let mut draft = a.draft(mailbox).unwrap();
        draft.write(b"Subject: x\r\n\r\n").unwrap();
        a.deliver(mailbox, draft.finish(None).unwrap()).unwrap();
    }

    #[test]
    fn a_delivery_wakes_a_session_and_is_recent_to_one() {
        let (_place, a) = account();
        let inbox = Name::inbox();
        let mut first = a.select(&inbox, false).unwrap();
        let mut second = a.select(&inbox, false).unwrap();
        let waker = first.waker().unwrap();
        deliver(&a, &inbox);
        assert!(crate::sys::poll::wait_for(
            waker.fd(),
            crate::sys::poll::IN,
            Some(std::time::Duration::ZERO)
        )
        .unwrap());
        // It has UID 1 and is not announced yet.
        assert_eq!((first.len(), first.uidnext()), (0, 1));
        let news = first.poll(true).unwrap();
        assert_eq!((news.exists, news.recent), (Some(1), Some(1)));
        assert_eq!((first.len(), first.uidnext()), (1, 2));
        let news = second.poll(true).unwrap();
        assert_eq!((news.exists, news.recent), (Some(1), None));
        assert!(first.poll(true).unwrap().is_empty());
    }

    #[test]
    fn flags_are_told_to_others_and_not_to_who_set_them() {
        let (_place, a) = account();
        let inbox = Name::inbox();
        deliver(&a, &inbox);
        deliver(&a, &inbox);
        let mut first = a.select(&inbox, false).unwrap();
        let mut second = a.select(&inbox, false).unwrap();
        first.store_flags(&[1, 2], FlagOp::Add, Flags::SEEN, &["word"]).unwrap();
        let news = first.poll(true).unwrap();
        assert!(news.flags.is_empty() && news.keywords);
        let news = second.poll(false).unwrap();
        assert_eq!((news.flags, news.keywords), (vec![1, 2], true));
        // What another changed in between is owed even if this session then changes it too.
        first.store_flags(&[2], FlagOp::Add, Flags::FLAGGED, &[]).unwrap();
        second.store_flags(&[2], FlagOp::Add, Flags::DRAFT, &[]).unwrap();
        assert_eq!(second.poll(true).unwrap().flags, [2]);
        assert_eq!(first.poll(true).unwrap().flags, [2]);
    }

    #[test]
    fn expunges_wait_until_they_may_be_told() {
        let (_place, a) = account();
        let inbox = Name::inbox();
        for _ in 0..4 {
            deliver(&a, &inbox);
        }
        let mut first = a.select(&inbox, false).unwrap();
        let mut second = a.select(&inbox, false).unwrap();
        first.store_flags(&[1, 3, 4], FlagOp::Add, Flags::DELETED, &[]).unwrap();
        first.expunge(Some(&[1, 2, 3].into_iter().collect())).unwrap();
        deliver(&a, &inbox);
        let news = second.poll(false).unwrap();
        assert_eq!((news.expunged.len(), news.exists), (0, Some(5)));
        assert_eq!((second.uid(3), second.seq(4)), (Some(3), Some(4)));
        let news = second.poll(true).unwrap();
        assert_eq!((news.expunged, news.vanished), (vec![3, 1], vec![1, 3]));
        assert_eq!(second.uids().collect::<Vec<_>>(), [2, 4, 5]);
        assert_eq!(first.poll(true).unwrap().expunged, [3, 1]);
    }

    #[test]
    fn a_file_that_cannot_leave_new_hides_no_news() {
        let (place, a) = account();
        let inbox = Name::inbox();
        deliver(&a, &inbox);
        deliver(&a, &inbox);
        let mut view = a.select(&inbox, false).unwrap();
        let mut other = a.select(&inbox, false).unwrap();
        other.store_flags(&[1], FlagOp::Add, Flags::DELETED, &[]).unwrap();
        other.expunge(None).unwrap();
        // With an info part its name would be too long.
        std::fs::write(place.0.join("new").join("x".repeat(254)), "Subject: x\n\n").unwrap();
        view.refresh().unwrap();
        let news = view.poll(true).unwrap();
        assert_eq!((news.expunged, news.exists), (vec![1], Some(2)));
        assert_eq!(a.select(&inbox, false).unwrap().len(), 2);
    }

    #[test]
    fn copying_moving_and_renaming_with_sessions_open() {
        let (place, a) = account();
        let (inbox, junk) = (Name::inbox(), Name::new("Junk").unwrap());
        deliver(&a, &inbox);
        deliver(&a, &inbox);
        assert!(a.exists(&junk).unwrap() && !place.0.join(".Junk").exists());
        let mut view = a.select(&inbox, false).unwrap();
        let moved = a.relocate(view.open(), &[1], &junk).unwrap();
        assert_eq!((moved.placed.from, moved.placed.to), (vec![1], vec![1]));
        assert_eq!(view.poll(true).unwrap().vanished, [1]);
        let mut other = a.select(&junk, false).unwrap();
        a.rename(&junk, &Name::new("Spam").unwrap()).unwrap();
        other.store_flags(&[1], FlagOp::Add, Flags::SEEN, &[]).unwrap();
        a.rename(&inbox, &Name::new("Old").unwrap()).unwrap();
        assert_eq!(view.poll(true).unwrap().vanished, [2]);
        assert_eq!(a.status(&Name::new("Old").unwrap()).unwrap().messages, 1);
        a.delete(&Name::new("Spam").unwrap()).unwrap();
        assert_eq!(other.poll(true).err(), Some(Error::NoMailbox));
        let names: Vec<String> =
            a.list().unwrap().into_iter().map(|l| l.name.to_string()).collect();
        assert_eq!(names, ["INBOX", "Junk", "Old"]);
    }
}
