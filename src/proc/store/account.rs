//! The account of this process: its mail root, and the mailboxes that are open.
//!
//! Everything that the account's sessions and deliveries share is here.  Lock
//! order: `moving`, so that one CREATE, DELETE or RENAME goes on at a time; a mailbox's
//! model, of which only RENAME holds several; the table of open mailboxes.  A
//! model is held for as long as a large mailbox takes to be read, the table
//! never: under it nobody waits for a model (a fresh one, which nobody else has
//! seen, is no wait), so what is slow in one mailbox is slow there alone.
//!
//! Mailboxes of the configuration with `auto` are shown although they do not
//! exist, and made when first used.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, RwLock};

use super::notify::Wakers;
use super::view::View;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf::ast::{Auto, Mailbox as Configured, SpecialUse};
use crate::disk::index::codec::Attrs;
use crate::disk::maildir::draft::Finished;
use crate::disk::maildir::{
    Draft, Error, FlagOp, Flags, Incoming, Mailbox, Name, Result, Root, Stored,
};

/// How many mailboxes that no session has selected stay in memory.
const KEPT: usize = 16;

/// An account with its open mailboxes.  Any thread.
pub struct Account {
    root: Arc<Root>,
    settings: RwLock<Arc<Vec<Configured>>>,
    moving: Mutex<()>,
    open: Mutex<HashMap<Name, Arc<Open>>>,
}

/// A mailbox that is open: its model, and who wants to hear of changes.
#[derive(Default)]
pub struct Open {
    /// `None` while it is being opened, and if that failed.
    model: Mutex<Option<Mailbox>>,
    /// Deleted, taken away by another program, or never opened.
    gone: AtomicBool,
    /// Sessions to wake when the model has changed.
    pub wakers: Wakers,
}

/// A row of LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// The mailbox.
    pub name: Name,
    /// What it is for.
    pub special_use: Option<SpecialUse>,
}

/// What STATUS tells.  RFC 9051 6.3.11, RFC 7162 3.1.7.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// MESSAGES
    pub messages: u32,
    /// RECENT: messages still in `new/`.
    pub recent: u32,
    /// UNSEEN
    pub unseen: u32,
    /// DELETED
    pub deleted: u32,
    /// UIDNEXT
    pub uidnext: u32,
    /// UIDVALIDITY
    pub uidvalidity: u32,
    /// HIGHESTMODSEQ
    pub highest_modseq: u64,
    /// MAILBOXID
    pub guid: [u8; 32],
}

/// Where messages went: for APPENDUID and COPYUID.  RFC 4315 3.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Placed {
    /// The UIDVALIDITY of the mailbox that has them now.
    pub uidvalidity: u32,
    /// The UIDs that were copied; empty for an APPEND.
    pub from: Vec<u32>,
    /// The UIDs that they have, in the same order.
    pub to: Vec<u32>,
}

/// What became of a move.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// The messages that are in the other mailbox now, and nowhere else.
    pub placed: Placed,
    /// Why the others stayed where they were.
    pub failed: Option<Error>,
}

impl Account {
    /// Takes a mail root, with the mailboxes that the configuration names.
    pub fn new(root: Root, settings: Vec<Configured>) -> Account {
        Account {
            root: Arc::new(root),
            settings: RwLock::new(Arc::new(settings)),
            moving: Mutex::new(()),
            open: Mutex::new(HashMap::new()),
        }
    }

    /// The mail root.
    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    /// A new configuration.
    pub fn configure(&self, settings: Vec<Configured>) {
        *lock::write(&self.settings) = Arc::new(settings);
    }

    fn settings(&self) -> Arc<Vec<Configured>> {
        lock::read(&self.settings).clone()
    }

    /// All mailboxes, also those that are made when first used; the inbox first, then by name.
    pub fn list(&self) -> Result<Vec<Listed>> {
        let mut names = self.root.list()?;
        let settings = self.settings();
        for m in settings.iter().filter(|m| m.auto != Auto::No) {
            if let Ok(name) = Name::new(&m.name) {
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        if let Some(rest) = names.get_mut(1..) {
            rest.sort();
        }
        let special = |name: &Name| special_use(&settings, name);
        Ok(names.into_iter().map(|n| Listed { special_use: special(&n), name: n }).collect())
    }

    /// True if LIST shows the mailbox.
    pub fn exists(&self, name: &Name) -> Result<bool> {
        Ok(self.is_auto(name) || self.root.exists(name)?)
    }

    fn is_auto(&self, name: &Name) -> bool {
        self.settings().iter().any(|m| m.auto != Auto::No && m.name == name.as_str())
    }

    /// The mailbox that the configuration has for a use.
    pub fn by_use(&self, wanted: SpecialUse) -> Option<Name> {
        let settings = self.settings();
        let found = settings.iter().find(|m| m.special_use == Some(wanted))?;
        Name::new(&found.name).ok()
    }

    /// The subscribed mailboxes: those of the file, then those that the configuration
    /// subscribes and the user never unsubscribed.
    pub fn subscriptions(&self) -> Result<Vec<Name>> {
        let mut names = self.root.subscriptions()?;
        let own = self.root.own_subscriptions()?;
        for m in self.settings().iter().filter(|m| m.auto == Auto::Subscribe) {
            if let Ok(name) = Name::new(&m.name) {
                if !names.contains(&name) && !own.contains(&name) {
                    names.push(name);
                }
            }
        }
        Ok(names)
    }

    /// Subscribes.  The mailbox need not exist.
    pub fn subscribe(&self, name: &Name) -> Result<()> {
        self.root.subscribe(name)
    }

    /// Unsubscribes, for good also what the configuration subscribes.
    pub fn unsubscribe(&self, name: &Name) -> Result<()> {
        let settings = self.settings();
        if settings.iter().any(|m| m.auto == Auto::Subscribe && m.name == name.as_str()) {
            self.root.own_subscription(name)?;
        }
        self.root.unsubscribe(name)
    }

    /// Makes a mailbox.  [`Error::Exists`]: it is there, if only by the configuration.
    pub fn create(&self, name: &Name) -> Result<()> {
        let _moving = lock::lock(&self.moving);
        match self.alone(name, |_| self.root.create(name)) {
            Err(Error::Exists) if name.is_inbox() => Err(Error::Cannot("INBOX is always there")),
            other => other,
        }
    }

    /// Takes a mailbox away.  Sessions that have it selected find it gone.
    pub fn delete(&self, name: &Name) -> Result<()> {
        let _moving = lock::lock(&self.moving);
        self.alone(name, |open| {
            self.root.trash(name)?;
            open.gone.store(true, Ordering::SeqCst);
            open.wakers.wake();
            Ok(())
        })?;
        self.root.empty_trash();
        Ok(())
    }

    /// Works on the files of a mailbox, there or not, while nobody has it open or
    /// opens it.  The caller holds `moving`.
    fn alone<R>(&self, name: &Name, work: impl FnOnce(&Open) -> Result<R>) -> Result<R> {
        loop {
            let mut table = lock::lock(&self.open);
            let known = table.get(name).filter(|open| !open.is_gone()).cloned();
            // One that is not open has its place too, at which others wait.
            let open = known.clone().unwrap_or_default();
            let model = if known.is_some() {
                drop(table);
                lock::lock(&open.model)
            } else {
                table.insert(name.clone(), open.clone());
                let model = lock::lock(&open.model);
                drop(table);
                model
            };
            if open.is_gone() {
                // While we waited; it may be open anew.
                continue;
            }
            let result = work(&open);
            if model.is_none() {
                // There is nothing in that place: who waited for it looks again.
                open.gone.store(true, Ordering::SeqCst);
            }
            if open.is_gone() {
                lock::lock(&self.open).retain(|_, there| !Arc::ptr_eq(there, &open));
            }
            return result;
        }
    }

    /// Renames a mailbox and those below it.  Sessions that have one selected keep it.
    ///
    /// Renaming the inbox moves its messages to a new mailbox and leaves it
    /// empty; mailboxes below it stay.  RFC 9051 6.3.6.
    pub fn rename(&self, old: &Name, new: &Name) -> Result<()> {
        if old.is_inbox() {
            self.create(new)?;
            let inbox = self.open(old)?;
            let uids: Vec<u32> =
                inbox.change(|m| Ok(m.messages().iter().map(|m| m.attrs.uid).collect()))?;
            let moved = self.relocate(&inbox, &uids, new);
            let failed = moved.map_or_else(Some, |moved| moved.failed);
            let Some(e) = failed else { return Ok(()) };
            // What was made for nothing goes: else the next attempt finds it there.
            if self.status(new).is_ok_and(|status| status.messages == 0) {
                self.delete(new)?;
            }
            return Err(e);
        }
        if self.is_auto(old) && !self.root.exists(new)? {
            // It is listed, so it can be renamed, used or not.
            match self.create(old) {
                Ok(()) | Err(Error::Exists) => {}
                Err(e) => return Err(e),
            }
        }
        let _moving = lock::lock(&self.moving);
        let concerned = |(name, _): &(&Name, &Arc<Open>)| *name == old || name.is_below(old);
        loop {
            let open: Vec<(Name, Arc<Open>)> = lock::lock(&self.open)
                .iter()
                .filter(concerned)
                .map(|(name, open)| (name.clone(), open.clone()))
                .collect();
            // Nobody works on the files while they move.
            let mut models: HashMap<&Name, MutexGuard<'_, Option<Mailbox>>> =
                open.iter().map(|(name, open)| (name, lock::lock(&open.model))).collect();
            let mut table = lock::lock(&self.open);
            let held = |(name, there): (&Name, &Arc<Open>)| {
                open.iter().any(|(n, open)| n == name && Arc::ptr_eq(open, there))
            };
            if !table.iter().filter(concerned).all(held) {
                // Another was opened while we waited for these.
                continue;
            }
            // The table is held for a few renames: who opens a mailbox that
            // moves waits, and finds it in its new place.
            for (from, to) in self.root.rename(old, new)? {
                let Some(open) = table.remove(&from) else { continue };
                if let Some(Some(model)) = models.get_mut(&from).map(|m| &mut **m) {
                    if model.set_name(to.clone()).is_err() {
                        // It moved again under our hands: opened anew when next used.
                        open.gone.store(true, Ordering::SeqCst);
                    }
                }
                table.insert(to, open);
            }
            return Ok(());
        }
    }

    /// An open mailbox, shared with all who have it, in step with the disk.
    ///
    /// One that the configuration has with `auto` is made if it does not exist.
    pub fn open(&self, name: &Name) -> Result<Arc<Open>> {
        match self.find_or_load(name) {
            Err(Error::NoMailbox) if self.is_auto(name) => {
                match self.create(name) {
                    Ok(()) | Err(Error::Exists) => {}
                    Err(e) => return Err(e),
                }
                self.find_or_load(name)
            }
            other => other,
        }
    }

    fn find_or_load(&self, name: &Name) -> Result<Arc<Open>> {
        loop {
            let mut table = lock::lock(&self.open);
            let known = table.get(name).filter(|open| !open.is_gone()).cloned();
            if let Some(open) = known {
                drop(table);
                match open.change(|m| m.sync().map(drop)) {
                    // It went while we waited for it, or another program took it
                    // away or put another in its place: we read it anew.
                    Err(Error::NoMailbox) if open.is_gone() => continue,
                    done => return done.map(|()| open),
                }
            }
            if table.len() >= KEPT {
                table.retain(|_, open| Arc::strong_count(open) > 1);
            }
            let open = Arc::new(Open::default());
            // Others wait for this mailbox while it is read, and not for the table.
            let mut model = lock::lock(&open.model);
            table.insert(name.clone(), open.clone());
            drop(table);
            match Mailbox::open(self.root.clone(), name) {
                Ok(mailbox) => *model = Some(mailbox),
                Err(e) => {
                    open.gone.store(true, Ordering::SeqCst);
                    return Err(e);
                }
            }
            drop(model);
            return Ok(open);
        }
    }

    /// Selects a mailbox for a session.
    pub fn select(&self, name: &Name, read_only: bool) -> Result<View> {
        View::new(self.open(name)?, read_only)
    }

    /// What STATUS tells of a mailbox; it is brought in step with the disk first.
    pub fn status(&self, name: &Name) -> Result<Status> {
        self.open(name)?.change(|m| Ok(status_of(m)))
    }

    /// STATUS SIZE: the octets of all messages with CRLF.  RFC 8438.
    ///
    /// Reads each message whose size is not known yet, once.
    pub fn size(&self, name: &Name) -> Result<u64> {
        self.open(name)?.change(|m| {
            let uids: Vec<u32> = m.messages().iter().map(|m| m.attrs.uid).collect();
            let mut total = 0u64;
            for uid in uids {
                match m.size_of(uid) {
                    Ok(octets) => total = total.saturating_add(octets),
                    Err(Error::Gone) => {}
                    Err(e) => return Err(e),
                }
            }
            Ok(total)
        })
    }

    /// Starts a message that a client appends to a mailbox.
    pub fn draft(&self, name: &Name) -> Result<Draft> {
        // Made first if it is one of the configuration's.
        self.open(name)?;
        self.root.draft(name, &self.root.unique())
    }

    /// Takes finished messages into a mailbox: all or none.  RFC 9051 6.3.12, RFC 3502.
    pub fn append(
        &self,
        name: &Name,
        messages: Vec<(Finished, Flags, Vec<String>)>,
    ) -> Result<Placed> {
        let incoming =
            messages.into_iter().map(|(m, flags, words)| Incoming::new(m, flags, words)).collect();
        self.open(name)?.change(|m| {
            let to = m.adopt(incoming)?;
            Ok(Placed { uidvalidity: m.uidvalidity(), from: Vec::new(), to })
        })
    }

    /// Copies messages (UIDs ascending) to a mailbox: all or none.  RFC 9051 6.4.7.
    pub fn copy(&self, from: &Open, uids: &[u32], to: &Name) -> Result<Placed> {
        let target = self.open(to)?;
        copy_into(from, uids, to, &target).map(|(placed, _)| placed)
    }

    /// Moves messages (UIDs ascending): copied, then expunged here.
    ///
    /// An error means that none was moved.  RFC 6851 3.1.
    pub fn relocate(&self, from: &Open, uids: &[u32], to: &Name) -> Result<Moved> {
        let target = self.open(to)?;
        let (placed, marks) = copy_into(from, uids, to, &target)?;
        Ok(take_out(from, placed, marks, &target))
    }

    /// Delivers a finished message; sessions that have the mailbox selected hear of it at once.
    pub fn deliver(&self, name: &Name, message: Finished) -> Result<()> {
        let open = lock::lock(&self.open).get(name).filter(|open| !open.is_gone()).cloned();
        match open {
            Some(open) => open.change(|m| m.deliver(message).map(drop)),
            // Nobody looks: the UID is given when somebody does.
            None => message.deliver().map(drop),
        }
    }
}

/// Flags and keywords of messages by UID, as their copies have them.
type Marks = HashMap<u32, (Flags, u64)>;

/// Copies messages to an open mailbox, which has the name `to`.
fn copy_into(from: &Open, uids: &[u32], to: &Name, target: &Open) -> Result<(Placed, Marks)> {
    let lent = from.change(|m| {
        let lent = m.lend(uids, to)?;
        let attrs = lent.iter().filter_map(|(uid, _)| m.get(*uid)).map(|x| &x.attrs);
        let marks: Marks = attrs.map(|a| (a.uid, (a.flags, a.keywords))).collect();
        Ok((lent, marks))
    });
    let (lent, marks) = lent.map_err(|e| match e {
        // It is not the target that is missing.
        Error::NoMailbox => Error::Gone,
        e => e,
    })?;
    let (from, incoming): (Vec<u32>, Vec<Incoming>) = lent.into_iter().unzip();
    target.change(|m| {
        let to = m.adopt(incoming)?;
        Ok((Placed { uidvalidity: m.uidvalidity(), from, to }, marks))
    })
}

/// How often copies are brought up to date before they count as they are.
const ROUNDS: u32 = 10;

/// Removes what was copied, once its copy has the flags that it has now: others may
/// have changed them meanwhile, and were told that it is done.
fn expunge_copied(from: &Open, placed: &Placed, mut marks: Marks, target: &Open) -> Result<Stored> {
    let copies: HashMap<u32, u32> =
        placed.from.iter().copied().zip(placed.to.iter().copied()).collect();
    let mut all = Stored::default();
    let mut left = placed.from.clone();
    for round in 0..=ROUNDS {
        let mut done = from.change(|m| {
            let same = |a: &Attrs| marks.get(&a.uid) == Some(&(a.flags, a.keywords));
            Ok(m.expunge(&left, |a| round == ROUNDS || same(a)))
        })?;
        all.changed.append(&mut done.changed);
        all.gone.append(&mut done.gone);
        all.failed = all.failed.or(done.failed);
        left = done.kept;
        if left.is_empty() || all.failed.is_some() {
            break;
        }
        for uid in &left {
            let now = from.change(|m| {
                let attrs = m.get(*uid).map(|x| x.attrs);
                Ok(attrs.map(|a| (a.flags, a.keywords, m.keywords().known(a.keywords))))
            })?;
            let (Some((flags, bits, words)), Some(copy)) = (now, copies.get(uid)) else { continue };
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            let told = target.change(|m| m.store_flags(&[*copy], FlagOp::Set, flags, &words));
            match told.map(|stored| stored.failed) {
                Ok(None) => drop(marks.insert(*uid, (flags, bits))),
                Ok(Some(e)) | Err(e) => all.failed = Some(e),
            }
        }
        if all.failed.is_some() {
            break;
        }
    }
    Ok(all)
}

/// Ends a move: takes out of `from` what was copied.
///
/// What cannot be taken out has not moved, and its copy goes again: a client
/// that is told of a failure tries once more, and would make another each time.
/// A message is left in both mailboxes rather than in none.  RFC 6851 3.3.
fn take_out(from: &Open, placed: Placed, marks: Marks, target: &Open) -> Moved {
    let stored = match expunge_copied(from, &placed, marks, target) {
        Ok(stored) => stored,
        // The mailbox went meanwhile, and its messages with it.
        Err(_) => return Moved { placed, failed: None },
    };
    let Some(failed) = stored.failed else { return Moved { placed, failed: None } };
    let mut moved = Placed { uidvalidity: placed.uidvalidity, ..Placed::default() };
    let mut copies = Vec::new();
    let stays = |uid: u32| {
        let gone = stored.changed.contains(&uid) || stored.gone.contains(&uid);
        // A mailbox that went has kept nothing.
        !gone && from.change(|m| Ok(m.is_there(uid))).unwrap_or(false)
    };
    for (old, new) in placed.from.into_iter().zip(placed.to) {
        if stays(old) {
            copies.push(new);
        } else {
            moved.from.push(old);
            moved.to.push(new);
        }
    }
    let left = target.change(|m| Ok(m.expunge(&copies, |_| true))).map(|taken| taken.failed);
    // A mailbox that went has taken the copies along.
    if let Ok(Some(e)) = left {
        log::warn!("store", event = "copies-left", error = Show(&e));
    }
    Moved { placed: moved, failed: Some(failed) }
}

/// The use that the configuration gives a mailbox.
fn special_use(settings: &[Configured], name: &Name) -> Option<SpecialUse> {
    settings.iter().find(|m| m.name == name.as_str())?.special_use
}

/// Counts a mailbox.
pub fn status_of(m: &Mailbox) -> Status {
    let mut status = Status {
        uidnext: m.uidnext(),
        uidvalidity: m.uidvalidity(),
        highest_modseq: m.highest_modseq(),
        guid: m.guid(),
        ..Status::default()
    };
    for message in m.messages() {
        let a = &message.attrs;
        status.messages = status.messages.saturating_add(1);
        status.recent = status.recent.saturating_add(u32::from(a.in_new));
        status.unseen = status.unseen.saturating_add(u32::from(!a.flags.has(Flags::SEEN)));
        status.deleted = status.deleted.saturating_add(u32::from(a.flags.has(Flags::DELETED)));
    }
    status
}

impl Open {
    /// Works on the model; sessions are woken if it changed.
    ///
    /// [`Error::NoMailbox`]: it was deleted.  Blocks while another thread works
    /// on the same mailbox; `f` must not wait for a client.
    pub fn change<R>(&self, f: impl FnOnce(&mut Mailbox) -> Result<R>) -> Result<R> {
        let mut guard = lock::lock(&self.model);
        let Some(model) = guard.as_mut().filter(|_| !self.is_gone()) else {
            return Err(Error::NoMailbox);
        };
        let before = (model.highest_modseq(), model.uidnext());
        let result = f(model);
        let mut changed = (model.highest_modseq(), model.uidnext()) != before;
        if model.is_void() {
            self.gone.store(true, Ordering::SeqCst);
            changed = true;
        }
        drop(guard);
        if changed {
            self.wakers.wake();
        }
        result
    }

    /// True if it was deleted, or taken away by another program.
    pub fn is_gone(&self) -> bool {
        self.gone.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests;
