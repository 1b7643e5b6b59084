//! SEARCH and UID SEARCH.  RFC 3501 6.4.4, RFC 4731.
//!
//! A message is opened only if its answer hangs on that, and then its texts are
//! decoded once, whatever the number of keys.  A search may be long all the same,
//! so it ends when nobody waits for it any more.

use super::content::Content;
use super::fetch::{internal_date, local, Trouble};
use crate::base::clock::Since;
use crate::disk::index::codec::Attrs;
use crate::disk::maildir::{Error, Result};
use crate::proc::store::session::{system, Ran, Selected, Session};
use crate::proc::store::view::View;
use crate::proto::date::{Date, DateTime};
use crate::proto::imap::eval::Facts;
use crate::proto::imap::flag::SystemFlags;
use crate::proto::imap::lex::Fault;
use crate::proto::imap::needles::{Seen, Wanted};
use crate::proto::imap::reply::Problem;
use crate::proto::imap::response::{self, Status};
use crate::proto::imap::search::{fold, Needle, Search};
use crate::proto::imap::seqset::Ranges;
use crate::proto::limits;
use crate::proto::mime::{Fields, Part};
use crate::proto::text::{charset, encoded_word, transfer};
use std::collections::BTreeMap;
use std::time::Duration;

/// How often a search looks whether its answer is still waited for.
const LOOK: Duration = Duration::from_millis(100);

/// How often a client hears that it is still being worked on.  A client that is
/// gone is known by that: its end of the connection refuses it.
const STILL: Duration = Duration::from_secs(10);

/// What is asked about a message, or why it is not known.
type Answer<T> = core::result::Result<T, Trouble>;

/// Finds messages.
pub fn run(s: &mut Session, tag: &[u8], uid: bool, search: &Search<'_>) -> Ran {
    let Some(selected) = s.selected.take() else { return s.refuse(tag, Problem::NotSelected) };
    let last = selected.view.len();
    // In an empty mailbox a set names nothing; as with Dovecot that is no error.
    let beyond = last > 0 && search.program.largest_seq() > last;
    let found = if beyond { Ok(Ranges::new()) } else { find(s, &selected, uid, search) };
    s.selected = Some(selected);
    match (found, search.returns) {
        _ if beyond => return s.refuse(tag, Fault::SeqSet),
        (Err(Trouble::Stop(stop)), _) => return Err(stop),
        (Err(Trouble::Message(e)), _) => return s.fail(tag, &e),
        (Ok(found), None) => response::search(&mut s.out, &found),
        (Ok(found), Some(returns)) => response::esearch(&mut s.out, tag, uid, returns, &found),
    }
    s.done_numbered(tag, uid, "Search completed.")
}

/// The messages that meet the criteria.
fn find(s: &mut Session, selected: &Selected, uid: bool, search: &Search<'_>) -> Answer<Ranges> {
    let view = &selected.view;
    let bound = search.program.bind(view.len(), view.last_uid());
    let wanted = search.program.wanted();
    let mut watch = Watch { s, looked: Since::now(), told: Since::now() };
    let mut found = Ranges::new();
    for (seq, id) in (1u32..).zip(view.uids()) {
        watch.look()?;
        let looked = view.with(|m| {
            let attrs = m.get(id).map(|x| x.attrs);
            Ok(attrs.map(|a| (a, m.keywords().names(a.keywords))))
        })?;
        // Gone, though not told yet: it meets no criteria.
        let Some((attrs, keywords)) = looked else { continue };
        let mut message = Message {
            view,
            seq,
            attrs,
            keywords,
            content: Content::new(view, id, None),
            wanted: &wanted,
            watch: &mut watch,
            fields: None,
            sent: None,
            seen: None,
        };
        match bound.matches(&mut message) {
            Ok(true) => found.insert(if uid { id } else { seq }),
            Ok(false) | Err(Trouble::Message(Error::Gone)) => {}
            // One unreadable file must not make all others unfindable.
            Err(Trouble::Message(e)) => message.content.complain(&e),
            Err(stop) => return Err(stop),
        }
    }
    Ok(found)
}

/// Looks now and then whether anybody waits for the answer.
struct Watch<'s> {
    s: &'s mut Session,
    looked: Since,
    told: Since,
}

impl Watch<'_> {
    /// Ends the search if nobody does.  Cheap if it is called often.
    fn look(&mut self) -> Ran {
        if self.looked.elapsed() < LOOK {
            return Ok(());
        }
        self.looked = Since::now();
        self.s.wanted()?;
        if self.told.elapsed() >= STILL {
            self.told = Since::now();
            response::untagged(&mut self.s.out, Status::Ok, None, "Still searching.");
            self.s.flush()?;
        }
        Ok(())
    }
}

/// What SEARCH may ask about a message.
struct Message<'m, 's> {
    view: &'m View,
    seq: u32,
    attrs: Attrs,
    keywords: Vec<String>,
    content: Content<'m>,
    wanted: &'m Wanted<'m>,
    watch: &'m mut Watch<'s>,
    /// The fields that are looked at, by name: their folded values, a line each.
    fields: Option<BTreeMap<Vec<u8>, String>>,
    /// The day of the Date field.
    sent: Option<Option<Date>>,
    /// What is in the body, and what in the whole text.
    seen: Option<(Seen<'m>, Seen<'m>)>,
}

impl<'m> Message<'m, '_> {
    /// Looks for all strings of BODY and TEXT at once.
    fn seen(&mut self) -> Answer<&(Seen<'m>, Seen<'m>)> {
        if self.seen.is_none() {
            self.seen = Some(self.look_through()?);
        }
        // It was put there above.
        self.seen.as_ref().ok_or(Trouble::Message(Error::Gone))
    }

    /// The text of a part counts, and the header of an attached message.  The
    /// headers of other parts, which have the names of attachments, are of TEXT
    /// and not of BODY: as with Dovecot, or every HTML part would be found by `html`.
    fn look_through(&mut self) -> Answer<(Seen<'m>, Seen<'m>)> {
        let (mut body, mut text) = (self.wanted.body.unseen(), self.wanted.text.unseen());
        if !text.all() {
            let folded = folded_fields(self.content.header()?);
            text.look(&folded, || self.watch.look())?;
        }
        if body.all() && text.all() {
            return Ok((body, text));
        }
        let structure = self.content.structure()?;
        for (i, part) in structure.parts.iter().enumerate() {
            if body.all() && text.all() {
                break;
            }
            self.watch.look()?;
            // An attached message's header is part of the body, its own is not.
            let attached = part.parent.is_some_and(|p| is_message(structure.parts.get(p)));
            if i > 0 && (attached || !text.all()) {
                let header = self.content.range(&part.header, limits::IMAP_HEADER.size())?;
                let folded = folded_fields(&header);
                text.look(&folded, || self.watch.look())?;
                if attached {
                    body.look(&folded, || self.watch.look())?;
                }
            }
            if !part.composite && part.content_type.is_main(b"text") {
                let raw = self.content.range(&part.body, limits::IMAP_SEARCH_TEXT.size())?;
                let folded = fold(&part_text(part, &raw));
                text.look(&folded, || self.watch.look())?;
                body.look(&folded, || self.watch.look())?;
            }
        }
        Ok((body, text))
    }

    /// The fields that the program looks at.
    fn fields(&mut self) -> Result<&BTreeMap<Vec<u8>, String>> {
        if self.fields.is_none() {
            let mut all: BTreeMap<Vec<u8>, String> = BTreeMap::new();
            for field in Fields::new(self.content.header()?) {
                let name = field.name.to_ascii_lowercase();
                if self.wanted.fields.binary_search(&name).is_err() {
                    continue;
                }
                let value = encoded_word::decode(&field.text(), limits::HEADER_FIELD.size());
                let values = all.entry(name).or_default();
                values.push_str(&fold(&value));
                values.push('\n');
            }
            self.fields = Some(all);
        }
        // It was put there above.
        self.fields.as_ref().ok_or(Error::Gone)
    }
}

fn is_message(part: Option<&Part>) -> bool {
    part.is_some_and(|p| !p.content_type.is_main(b"multipart"))
}

/// The text of a part: transfer encoding and charset undone.
fn part_text(part: &Part, raw: &[u8]) -> String {
    let cap = limits::IMAP_SEARCH_TEXT.size();
    let bytes = transfer::decode(part.encoding, raw, cap);
    let label = part.content_type.params.get(b"charset");
    charset::decode(label.map_or(b"", |p| p.value.as_slice()), &bytes, cap)
}

/// All fields of a header with their names, folded, a line each: no string that
/// is looked for has a line end.
fn folded_fields(header: &[u8]) -> String {
    let mut all = String::with_capacity(header.len());
    for field in Fields::new(header) {
        let name = String::from_utf8_lossy(field.name);
        let value = encoded_word::decode(&field.text(), limits::HEADER_FIELD.size());
        all.push_str(&fold(&format!("{name}: {value}")));
        all.push('\n');
    }
    all
}

impl Facts for Message<'_, '_> {
    type Error = Trouble;

    fn seq(&self) -> u32 {
        self.seq
    }

    fn uid(&self) -> u32 {
        self.attrs.uid
    }

    fn flags(&self) -> SystemFlags {
        system(self.attrs.flags)
    }

    fn recent(&self) -> bool {
        self.view.is_recent(self.attrs.uid)
    }

    fn has_keyword(&self, keyword: &[u8]) -> bool {
        self.keywords.iter().any(|k| k.as_bytes().eq_ignore_ascii_case(keyword))
    }

    fn internal_day(&mut self) -> Answer<Date> {
        let secs = internal_date(self.view, self.attrs.uid)?;
        Ok(local(secs).local().0)
    }

    fn size(&mut self) -> Answer<u64> {
        Ok(self.view.with(|m| m.size_of(self.attrs.uid))?)
    }

    fn sent_day(&mut self) -> Answer<Option<Date>> {
        if let Some(known) = self.sent {
            return Ok(known);
        }
        let field = Fields::new(self.content.header()?).find(|f| f.is(b"Date"));
        let date = field.and_then(|f| DateTime::parse_rfc5322(&f.text())).map(|d| d.local().0);
        self.sent = Some(date);
        Ok(date)
    }

    fn header_has(&mut self, field: &[u8], needle: &Needle) -> Answer<bool> {
        let values = self.fields()?.get(&field.to_ascii_lowercase());
        Ok(values.is_some_and(|values| needle.is_in(values)))
    }

    fn body_has(&mut self, needle: &Needle) -> Answer<bool> {
        Ok(self.seen()?.0.has(needle))
    }

    fn text_has(&mut self, needle: &Needle) -> Answer<bool> {
        Ok(self.seen()?.1.has(needle))
    }
}
