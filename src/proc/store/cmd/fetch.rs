//! FETCH and UID FETCH.  RFC 3501 6.4.5, 7.4.2.

use super::content::Content;
use crate::base::clock::WallTime;
use crate::base::log::{self, Show};
use crate::disk::index::codec::UNKNOWN;
use crate::disk::maildir::{Error, FlagOp, Flags};
use crate::proc::store::session::{system, Ran, Session, Sid, Stop};
use crate::proc::store::view::View;
use crate::proto::date::DateTime;
use crate::proto::imap::fetch::{Fetch, Item, Of};
use crate::proto::imap::response::{self, Fetched};
use crate::proto::imap::section::{self, Found, Wire};
use crate::proto::imap::seqset::SeqSet;
use crate::proto::imap::{bodystructure, envelope, write};
use crate::proto::limits;
use crate::proto::mime::Extent;

/// How many messages are marked `\Seen` at a time, before they are sent: one
/// change of the index and not one each.
const BATCH: usize = 64;

/// Sends what was asked for about each message.
pub fn run(s: &mut Session, tag: &[u8], uid: bool, set: &SeqSet, items: &[Item<'_>]) -> Ran {
    let messages = match s.messages(set, uid) {
        Ok(messages) => messages,
        Err(reply) => return s.refuse(tag, reply),
    };
    let reads = |item: &Item<'_>| matches!(item, Item::Section(f) if !f.peek);
    let marks = items.iter().any(reads);
    let mut trouble = None;
    for batch in messages.chunks(BATCH) {
        s.wanted()?;
        let mut fresh = Vec::new();
        if marks {
            match mark_seen(s, batch) {
                Ok(marked) => fresh = marked,
                Err(e) => trouble = Some(s.problem(&e)),
            }
        }
        for (seq, id) in batch {
            let show_flags = fresh.binary_search(id).is_ok();
            match one(s, *seq, *id, items, show_flags)? {
                Ok(()) => {}
                // Others are told of all the same.  RFC 2180 4.1.
                Err(e) => trouble = Some(s.problem(&e)),
            }
            s.flush_if_large()?;
        }
    }
    match trouble {
        None => s.done_numbered(tag, uid, "Fetch completed."),
        Some(problem) => {
            s.tell(uid)?;
            s.refuse(tag, problem)
        }
    }
}

/// Marks messages as `\Seen`; gives those that were not, ascending.
fn mark_seen(s: &mut Session, batch: &[(u32, u32)]) -> Result<Vec<u32>, Error> {
    let Some(selected) = &mut s.selected else { return Ok(Vec::new()) };
    if selected.view.read_only {
        return Ok(Vec::new());
    }
    let unseen = selected.view.with(|m| {
        let uids = batch.iter().map(|(_, uid)| *uid);
        let unseen = |uid: &u32| m.get(*uid).is_some_and(|x| !x.attrs.flags.has(Flags::SEEN));
        Ok(uids.filter(unseen).collect::<Vec<u32>>())
    })?;
    if unseen.is_empty() {
        return Ok(unseen);
    }
    let done = selected.view.store_flags(&unseen, FlagOp::Add, Flags::SEEN, &[])?;
    Ok(done.changed)
}

/// One message.  The inner error is the message's, the outer the connection's.
fn one(
    s: &mut Session,
    seq: u32,
    uid: u32,
    items: &[Item<'_>],
    show_flags: bool,
) -> Result<Result<(), Error>, Stop> {
    let Some(mut selected) = s.selected.take() else { return Ok(Ok(())) };
    let known = selected.outline.take_if(|o| o.uid == uid);
    let content = Content::new(&selected.view, uid, known);
    let mut message = Message { view: &selected.view, uid, content };
    let start = s.out.len();
    let result = message.write(s, seq, items, show_flags);
    if let Some(outline) = message.content.into_outline() {
        selected.outline = Some(outline);
    }
    s.selected = Some(selected);
    match result {
        Ok(()) => Ok(Ok(())),
        Err(Trouble::Message(e)) => {
            // Nothing of it has been sent: an item's bytes are found before its
            // name is written.
            s.out.truncate(start);
            Ok(Err(e))
        }
        Err(Trouble::Stop(stop)) => Err(stop),
    }
}

/// What can go wrong with a message.
pub enum Trouble {
    /// It could not be read; nothing of it was sent.
    Message(Error),
    /// The connection cannot go on.
    Stop(Stop),
}

impl From<Error> for Trouble {
    fn from(e: Error) -> Self {
        Trouble::Message(e)
    }
}

impl From<Stop> for Trouble {
    fn from(stop: Stop) -> Self {
        Trouble::Stop(stop)
    }
}

struct Message<'v> {
    view: &'v View,
    uid: u32,
    content: Content<'v>,
}

impl Message<'_> {
    fn write(
        &mut self,
        s: &mut Session,
        seq: u32,
        items: &[Item<'_>],
        show_flags: bool,
    ) -> Result<(), Trouble> {
        // Whatever may fail is read before the first byte is written, so that a
        // message is answered whole or not at all.
        self.read_ahead(items)?;
        let mut out = std::mem::take(&mut s.out);
        let mut fetched = Fetched::new(&mut out, seq);
        let mut large = Vec::new();
        for item in items {
            match self.item(&mut fetched, item) {
                Ok(true) => {}
                Ok(false) => {
                    if let Item::Section(fetch) = item {
                        large.push(fetch);
                    }
                }
                Err(e) => {
                    fetched.abandon();
                    s.out = out;
                    return Err(e.into());
                }
            }
        }
        if show_flags && !items.contains(&Item::Flags) {
            if let Err(e) = self.flags(&mut fetched) {
                fetched.abandon();
                s.out = out;
                return Err(e.into());
            }
        }
        for fetch in &large {
            self.large(s, fetched.named(), fetch)?;
        }
        fetched.end();
        // What a large section has not flushed stands before it.
        s.out.append(&mut out);
        Ok(())
    }

    /// Reads what the items need: nothing, the header, or all.
    fn read_ahead(&mut self, items: &[Item<'_>]) -> Result<(), Error> {
        let mut reads = false;
        // The structure first: with it the message has been read through.
        if items.iter().any(|item| matches!(item, Item::Body | Item::BodyStructure)) {
            reads = true;
            self.content.structure()?;
        }
        for item in items {
            match item {
                Item::Section(f) if !is_header(f) => {
                    self.content.find(&f.section)?;
                }
                Item::Section(_) | Item::Envelope => {
                    self.content.header()?;
                }
                _ => continue,
            }
            reads = true;
        }
        if reads {
            // All may be known of it, and the file be gone.
            self.content.open()?;
        }
        Ok(())
    }

    /// Appends an item; false if it is too large for that and comes last.
    fn item(&mut self, fetched: &mut Fetched<'_>, item: &Item<'_>) -> Result<bool, Error> {
        match item {
            Item::Uid => write::number(fetched.item("UID"), u64::from(self.uid)),
            Item::Flags => self.flags(fetched)?,
            Item::InternalDate => {
                let secs = internal_date(self.view, self.uid)?;
                write::string(fetched.item("INTERNALDATE"), local(secs).imap().as_bytes());
            }
            Item::Size => {
                let octets = self.view.with(|m| m.size_of(self.uid))?;
                write::number(fetched.item("RFC822.SIZE"), octets);
            }
            Item::Envelope => envelope::write(fetched.item("ENVELOPE"), self.content.header()?),
            Item::Body | Item::BodyStructure => {
                let extended = *item == Item::BodyStructure;
                let structure = self.content.structure()?;
                let header = |e: &Extent| self.content.range(e, limits::IMAP_HEADER.size());
                let name = if extended { "BODYSTRUCTURE" } else { "BODY" };
                bodystructure::write(fetched.item(name), &structure, extended, header)?;
            }
            Item::Section(fetch) => return self.section(fetched, fetch),
        }
        Ok(true)
    }

    fn flags(&self, fetched: &mut Fetched<'_>) -> Result<(), Error> {
        let (flags, keywords) = self.view.with(|m| {
            let attrs = m.get(self.uid).ok_or(Error::Gone)?.attrs;
            Ok((attrs.flags, m.keywords().names(attrs.keywords)))
        })?;
        let names = keywords.iter().map(String::as_bytes);
        let recent = self.view.is_recent(self.uid);
        response::flag_list(fetched.item("FLAGS"), system(flags), recent, names);
        Ok(())
    }

    /// Appends a section that is in memory.
    fn section(&mut self, fetched: &mut Fetched<'_>, fetch: &Fetch<'_>) -> Result<bool, Error> {
        let bytes = if is_header(fetch) {
            let header = self.content.header()?;
            match &fetch.section.of {
                Of::Fields(names) => section::select_fields(header, names, false),
                Of::FieldsNot(names) => section::select_fields(header, names, true),
                _ => wire(header),
            }
        } else {
            match self.content.find(&fetch.section)? {
                Found::Nothing => {
                    let out = fetched.named();
                    fetch.write_name(out);
                    out.extend_from_slice(b" NIL");
                    return Ok(true);
                }
                Found::Fields { header, names, not } => {
                    let header = self.content.range(&header, limits::IMAP_HEADER.size())?;
                    section::select_fields(&header, names, not)
                }
                Found::Bytes(extent) if extent.octets() > limits::IMAP_IN_MEMORY.default => {
                    return Ok(false);
                }
                Found::Bytes(extent) => wire(&self.content.range(&extent, usize::MAX)?),
            }
        };
        let octets = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let (skip, count) = section::window(octets, fetch.partial);
        let from = usize::try_from(skip).unwrap_or(usize::MAX).min(bytes.len());
        let to = from.saturating_add(usize::try_from(count).unwrap_or(usize::MAX)).min(bytes.len());
        let out = fetched.named();
        fetch.write_name(out);
        out.push(b' ');
        write::literal(out, bytes.get(from..to).unwrap_or_default());
        Ok(true)
    }

    /// Streams a section that is too large for memory, in pieces.
    fn large(
        &mut self,
        s: &mut Session,
        out: &mut Vec<u8>,
        fetch: &Fetch<'_>,
    ) -> Result<(), Trouble> {
        let Found::Bytes(extent) = self.content.find(&fetch.section)? else { return Ok(()) };
        let (skip, count) = section::window(extent.wire_octets(), fetch.partial);
        fetch.write_name(out);
        out.push(b' ');
        write::literal_head(out, count);
        let sent = self.content.stream(&extent, skip, count, |piece| {
            out.extend_from_slice(piece);
            s.out.append(out);
            s.flush_if_large().map_err(Trouble::from)
        });
        match sent {
            Ok(sent) if sent == count => Ok(()),
            Err(Trouble::Stop(stop)) => Err(Trouble::Stop(stop)),
            // The literal cannot be completed, and nothing else can be said
            // within it.
            Ok(_) => Err(Trouble::Stop(Stop::Done("message file changed while it was sent"))),
            Err(Trouble::Message(e)) => {
                log::warn!("imap", sid = Sid(s.sid), uid = self.uid, error = Show(&e));
                Err(Trouble::Stop(Stop::Done("message could not be read")))
            }
        }
    }
}

/// True if the section is the message's own header or fields of it.
fn is_header(fetch: &Fetch<'_>) -> bool {
    fetch.section.part.is_empty()
        && matches!(fetch.section.of, Of::Header | Of::Fields(_) | Of::FieldsNot(_))
}

/// What bytes of the file are on the wire.
fn wire(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    Wire::whole().feed(bytes, &mut out);
    out
}

/// INTERNALDATE in seconds since 1970.
///
/// The index has room for those from 1970 to 2106; any other is the file's
/// alone, where APPEND put it.  RFC 3501 6.3.11.
pub fn internal_date(view: &View, uid: u32) -> Result<i64, Error> {
    view.with(|m| match m.get(uid).ok_or(Error::Gone)?.attrs.internal {
        UNKNOWN => Ok(m.open_message(uid)?.modified()),
        _ => m.internal_date(uid).ok_or(Error::Gone),
    })
}

/// A moment in the local zone.
pub fn local(unix: i64) -> DateTime {
    let offset = WallTime::from_secs(unix).local().map_or(0, |l| l.offset_secs / 60);
    DateTime { unix, offset: i16::try_from(offset).unwrap_or(0) }
}
