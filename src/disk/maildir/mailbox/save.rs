//! Messages that come into an open mailbox: APPEND, COPY, MOVE.
//!
//! Every message is first a whole, synced file in this mailbox's `tmp/`; then
//! all of one command are renamed, get their UIDs in one append to the
//! uidlist, and the directories are synced.  Either all of a command's
//! messages are in the mailbox or none.

use std::collections::HashSet;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::scan::attrs_of;
use super::{Changes, Mailbox, Message};
use crate::base::clock;
use crate::base::log::{self, Show};
use crate::disk::atomic;
use crate::disk::dotlock::Dotlock;
use crate::disk::index::codec::{Entry, Stamp};
use crate::disk::maildir::draft::{part, Finished};
use crate::disk::maildir::error::{At, Error, Result};
use crate::disk::maildir::file::{self, Flags};
use crate::disk::maildir::name::Name;
use crate::disk::maildir::Root;
use crate::disk::uidlist;
use crate::disk::uidlist::codec::Record;
use crate::sys::file::{create_new, set_mtime};

/// A message in `tmp/` of the mailbox that is to have it; dropping it removes the file.
#[derive(Debug)]
pub struct Incoming {
    path: PathBuf,
    base: Vec<u8>,
    /// What identified the message where it comes from.
    guid: Option<Box<[u8]>>,
    /// Its flags.
    pub flags: Flags,
    /// Its keywords by name.
    pub keywords: Vec<String>,
}

impl Incoming {
    /// A message that a client appends.
    pub fn new(message: Finished, flags: Flags, keywords: Vec<String>) -> Incoming {
        let (path, base) = message.into_parts();
        Incoming { path, base: base.into_bytes(), guid: None, flags, keywords }
    }
}

impl Drop for Incoming {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            // What stays is garbage that goes after 36 hours.
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Mailbox {
    /// Links messages (UIDs ascending) into another mailbox's `tmp/`, for its [`Mailbox::adopt`].
    ///
    /// Copies the bytes where the file system cannot link.  UIDs that are
    /// unknown are passed over, as COPY does; [`Error::Gone`] if one that is
    /// known has lost its file.  The destination may be this mailbox.
    pub fn lend(&mut self, uids: &[u32], to: &Name) -> Result<Vec<(u32, Incoming)>> {
        let root = self.root.clone();
        let dir = root.dir_of(to)?;
        root.make_parts(&dir)?;
        let mut lent = Vec::new();
        for uid in uids {
            let Some(guid) = self.message_guid(*uid).map(Box::from) else { continue };
            let path = part(&dir, "tmp", root.unique().as_bytes());
            self.link_to(*uid, &path, &root)?;
            let Some(message) = self.get(*uid) else { return Err(Error::Gone) };
            let incoming = Incoming {
                path,
                base: message.base.to_vec(),
                guid: Some(guid),
                flags: message.attrs.flags,
                keywords: self.keywords.known(message.attrs.keywords),
            };
            lent.push((*uid, incoming));
        }
        Ok(lent)
    }

    fn link_to(&mut self, uid: u32, to: &Path, root: &Root) -> Result<()> {
        for again in [false, true] {
            let Some(message) = self.get(uid) else { return Err(Error::Gone) };
            let from = self.path_of(message);
            match atomic::link(&from, to) {
                Ok(()) => return Ok(()),
                Err(e) if e.is_missing() && !again => {
                    self.rescan()?;
                }
                Err(e) if e.is_missing() => return Err(Error::Gone),
                Err(e) if e.is_full() => return Err(e.into()),
                // Another file system, or too many links.
                Err(_) => return copy_file(&from, to, root),
            }
        }
        Err(Error::Gone)
    }

    /// Takes messages into the mailbox and gives their UIDs, in the same order.
    ///
    /// Committed when this returns: files, UIDs and directories are synced.
    /// After an error none of them is in the mailbox.  What other programs did
    /// meanwhile is found by the next sync.
    pub fn adopt(&mut self, messages: Vec<Incoming>) -> Result<Vec<u32>> {
        if messages.is_empty() {
            return Ok(Vec::new());
        }
        let mut bits = Vec::with_capacity(messages.len());
        for m in &messages {
            let names: Vec<&str> = m.keywords.iter().map(String::as_str).collect();
            bits.push(self.keyword_bits(&names, true)?);
        }
        let mut lock = uidlist::lock(&self.dir, self.root.owner(), self.root.file_mode())?;
        let news = self.refresh_list()?;
        self.take_news(news, &mut Changes::default())?;
        // Nothing may fail once they are in place and have their UIDs.
        let modseq = self.issue()?;
        let mut placed = Placed::default();
        let result = self.own_change(|me| me.place(messages, &bits, &mut placed, &mut lock));
        let committed = result.and_then(|()| {
            let records: Vec<Record> = placed.records.clone();
            self.write_records(&records)
        });
        if let Err(e) = committed {
            self.own_change(|_| {
                for path in &placed.paths {
                    // A file that stays is found by the next scan and shown:
                    // twice at worst, never lost.
                    let _ = fs::remove_file(path);
                }
            });
            return Err(e);
        }
        let mut new = placed.messages;
        let extra = bits.iter().any(|b| b & !file::LETTER_MASK != 0);
        for (m, r) in new.iter_mut().zip(&placed.records) {
            m.attrs.modseq = modseq;
            if !r.ext.is_empty() {
                self.ext.insert(r.uid, r.ext.clone());
            }
        }
        let uids: Vec<u32> = new.iter().map(|m| m.attrs.uid).collect();
        let entry = Entry::Add(new.iter().map(|m| m.attrs).collect());
        self.insert(new);
        if let Err(e) = if extra { self.store_meta() } else { Ok(()) } {
            // The messages are in the mailbox; their keywords without a
            // letter are written with the next change of one.
            log::warn!("store", event = "no-meta", path = self.dir.as_path(), error = Show(&e));
        }
        self.journal(&[(modseq, entry), (modseq, Entry::Stamp(self.stamp))]);
        Ok(uids)
    }

    /// Delivers a message into this open mailbox: as [`Finished::deliver`], and the UID at once.
    ///
    /// `None`: it is there without a UID of now, because an earlier attempt
    /// had delivered it or because the UID could not be written; the next sync
    /// shows it.  An error means that it is not there, or perhaps.
    pub fn deliver(&mut self, message: Finished) -> Result<Option<u32>> {
        let base: Box<[u8]> = message.base.clone().into_bytes().into();
        let _lock = uidlist::lock(&self.dir, self.root.owner(), self.root.file_mode())?;
        let news = self.refresh_list()?;
        self.take_news(news, &mut Changes::default())?;
        // What is here under this name was delivered before, and is in `cur/` by
        // now perhaps: another link in `new/` would show it twice.
        let known = self.find_base(&base).is_some() || self.pending.contains_key(&base);
        if known {
            return Ok(None);
        }
        let delivered = self.own_change(|_| message.deliver());
        if delivered.is_err() {
            // The name may be there all the same: the next sync looks.
            self.stamp = Stamp::default();
        }
        if !delivered? {
            return Ok(None);
        }
        match self.number_delivered(base) {
            Ok(uid) => Ok(Some(uid)),
            Err(e) => {
                // Delivered is delivered: on a disk that is full now the UID is
                // given by the first scan that can write it down.
                self.stamp = Stamp::default();
                crate::base::log::warn!(
                    "store",
                    event = "no-uid-yet",
                    path = self.dir.as_path(),
                    error = crate::base::log::Show(&e)
                );
                Ok(None)
            }
        }
    }

    /// Gives the UID to a message that was just delivered.
    fn number_delivered(&mut self, base: Box<[u8]>) -> Result<u32> {
        let path = part(&self.dir, "new", &base);
        let meta = fs::symlink_metadata(&path).at("stat", &path)?;
        let modseq = self.issue()?;
        let uid = self.take_uid()?;
        self.write_records(&[Record { uid, ext: Box::default(), base: base.clone() }])?;
        let mut attrs = attrs_of(uid, &base, None, &meta);
        (attrs.in_new, attrs.modseq) = (true, modseq);
        self.insert(vec![Message { attrs, base }]);
        self.journal(&[
            (attrs.modseq, Entry::Add(vec![attrs])),
            (attrs.modseq, Entry::Stamp(self.stamp)),
        ]);
        Ok(uid)
    }

    /// Renames all into place and makes their records.
    fn place(
        &mut self,
        messages: Vec<Incoming>,
        bits: &[u64],
        placed: &mut Placed,
        lock: &mut Dotlock,
    ) -> Result<()> {
        let (mut to_new, mut to_cur) = (false, false);
        let mut bases = HashSet::new();
        for (mut m, keywords) in messages.into_iter().zip(bits) {
            lock.touch()?;
            let mut ext = Vec::new();
            // A name of our own making is new; a copy's may be here already.
            let taken = m.guid.is_some()
                && (self.find_base(&m.base).is_some()
                    || self.is_dead(&m.base)
                    || self.pending.contains_key(&*m.base)
                    || !bases.insert(m.base.clone()));
            if taken {
                // The GUID stays that of the original.
                if let Some(guid) = m.guid.as_deref().filter(|g| is_word(g)) {
                    ext = [b"G", guid].concat();
                }
                m.base = self.fresh_base(&m.base);
            } else if let Some(guid) = m.guid.as_deref().filter(|g| is_word(g) && **g != *m.base) {
                ext = [b"G", guid].concat();
            }
            // As Dovecot does it: without flags the message is new.
            let in_new = m.flags == Flags::NONE && *keywords & file::LETTER_MASK == 0;
            let (dir, info) = if in_new {
                to_new = true;
                ("new", Vec::new())
            } else {
                to_cur = true;
                ("cur", file::set_info(b"", m.flags, *keywords & file::LETTER_MASK))
            };
            let path = part(&self.dir, dir, &[&m.base[..], &info].concat());
            let meta = fs::symlink_metadata(&m.path).at("stat", &m.path)?;
            atomic::rename(&m.path, &path)?;
            m.path = PathBuf::new();
            placed.paths.push(path);
            let uid = self.take_uid()?;
            let mut attrs = attrs_of(uid, &m.base, Some(&ext), &meta);
            (attrs.flags, attrs.keywords, attrs.in_new) = (m.flags, *keywords, in_new);
            attrs.saved = u32::try_from(clock::now().secs).unwrap_or(attrs.saved);
            let base: Box<[u8]> = std::mem::take(&mut m.base).into();
            placed.records.push(Record { uid, ext: ext.into(), base: base.clone() });
            placed.messages.push(Message { attrs, base });
        }
        if to_new {
            atomic::sync_dir(&self.dir.join("new"))?;
        }
        if to_cur {
            atomic::sync_dir(&self.dir.join("cur"))?;
        }
        Ok(())
    }

    /// A base name that no message has, with the sizes of another.
    fn fresh_base(&self, old: &[u8]) -> Vec<u8> {
        let mut base = self.root.unique();
        for key in [b'S', b'W'] {
            if let Some(n) = file::size_field(old, key) {
                base.push_str(&format!(",{}={n}", char::from(key)));
            }
        }
        base.into_bytes()
    }
}

/// What [`Mailbox::place`] has done so far.
#[derive(Default)]
struct Placed {
    paths: Vec<PathBuf>,
    records: Vec<Record>,
    messages: Vec<Message>,
}

/// True for what can stand as a field of a uidlist record.
fn is_word(guid: &[u8]) -> bool {
    !guid.is_empty() && guid.iter().all(|b| *b > b' ' && *b != 0x7f)
}

/// Copies a message's bytes and its date, synced.
fn copy_file(from: &Path, to: &Path, root: &Root) -> Result<()> {
    let mut source = crate::sys::file::open_nofollow(from)?;
    let meta = source.metadata().at("fstat", from)?;
    let target = create_new(to, root.file_mode())?;
    let copied = pump(&mut source, &target, from, to).and_then(|()| {
        let mtime = std::os::unix::fs::MetadataExt::mtime(&meta);
        set_mtime(std::os::fd::AsFd::as_fd(&target), mtime, 0)?;
        Ok(atomic::sync_file(&target, to)?)
    });
    if copied.is_err() {
        // What stays is garbage that goes after 36 hours.
        let _ = fs::remove_file(to);
    }
    copied
}

fn pump(source: &mut File, mut target: &File, from: &Path, to: &Path) -> Result<()> {
    let mut buffer = vec![0u8; 64 * 1024];
    loop {
        let got = match source.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.at("read", from)?,
        };
        let bytes = buffer.get(..got).unwrap_or_default();
        std::io::Write::write_all(&mut target, bytes).at("write", to)?;
    }
}
