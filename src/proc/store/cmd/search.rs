//! SEARCH and UID SEARCH.  RFC 3501 6.4.4, RFC 4731.

use super::content::Content;
use super::fetch::local;
use crate::disk::index::codec::Attrs;
use crate::disk::maildir::{Error, Result};
use crate::proc::store::session::{system, Ran, Session};
use crate::proc::store::view::View;
use crate::proto::date::{Date, DateTime};
use crate::proto::imap::eval::Facts;
use crate::proto::imap::flag::SystemFlags;
use crate::proto::imap::lex::Fault;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::response;
use crate::proto::imap::search::{fold, Needle, Search};
use crate::proto::imap::seqset::Ranges;
use crate::proto::limits;
use crate::proto::mime::{Fields, Part};
use crate::proto::text::{charset, encoded_word, transfer};

/// Finds messages.
pub fn run(s: &mut Session, tag: &[u8], uid: bool, search: &Search<'_>) -> Ran {
    let Some(selected) = &s.selected else { return s.refuse(tag, Problem::NotSelected) };
    let view = &selected.view;
    let last = view.len();
    if search.program.largest_seq() > last {
        return s.refuse(tag, Fault::SeqSet);
    }
    let bound = search.program.bind(last, view.last_uid());
    let mut found = Ranges::new();
    let mut trouble = None;
    for (seq, id) in (1u32..).zip(view.uids()) {
        let looked = view.with(|m| {
            let attrs = m.get(id).map(|x| x.attrs);
            Ok(attrs.map(|a| (a, m.keywords().names(a.keywords))))
        });
        let (attrs, keywords) = match looked {
            Ok(Some(facts)) => facts,
            // Gone, though not told yet: it meets no criteria.
            Ok(None) => continue,
            Err(e) => {
                trouble = Some(e);
                break;
            }
        };
        let content = Content::new(view, id, None);
        let mut message = Message { view, seq, attrs, keywords, content, header: None };
        match bound.matches(&mut message) {
            Ok(true) => found.insert(if uid { id } else { seq }),
            Ok(false) | Err(Error::Gone) => {}
            // One unreadable file must not make all others unfindable.
            Err(e) => message.content.complain(&e),
        }
    }
    if let Some(e) = trouble {
        return s.fail(tag, &e);
    }
    match search.returns {
        None => response::search(&mut s.out, &found),
        Some(returns) => response::esearch(&mut s.out, tag, uid, returns, &found),
    }
    s.done_numbered(tag, uid, "Search completed.")
}

/// What SEARCH may ask about a message.
struct Message<'v> {
    view: &'v View,
    seq: u32,
    attrs: Attrs,
    keywords: Vec<String>,
    content: Content<'v>,
    header: Option<Vec<u8>>,
}

impl Message<'_> {
    fn load_header(&mut self) -> Result<&[u8]> {
        if self.header.is_none() {
            self.header = Some(self.content.header()?.to_vec());
        }
        Ok(self.header.as_deref().unwrap_or_default())
    }

    /// True if a text part, or the header of an attached message, holds the needle; with `mime`
    /// also if the header of a part does, which has the names of attachments.
    fn parts_have(&mut self, needle: &Needle, mime: bool) -> Result<bool> {
        let structure = self.content.structure()?;
        for (i, part) in structure.parts.iter().enumerate() {
            // An attached message's header is part of the body, its own is not.
            let attached = part.parent.is_some_and(|p| is_message(structure.parts.get(p)));
            if i > 0 && (mime || attached) {
                let header = self.content.range(&part.header, limits::IMAP_HEADER.size())?;
                if header_text_has(&header, needle) {
                    return Ok(true);
                }
            }
            if !part.composite && part.content_type.is_main(b"text") {
                let raw = self.content.range(&part.body, limits::IMAP_SEARCH_TEXT.size())?;
                if needle.is_in(&fold(&part_text(part, &raw))) {
                    return Ok(true);
                }
            }
        }
        Ok(needle.0.is_empty())
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

/// True if any field, its name included, holds the needle.
fn header_text_has(header: &[u8], needle: &Needle) -> bool {
    Fields::new(header).any(|field| {
        let name = String::from_utf8_lossy(field.name);
        let value = encoded_word::decode(&field.text(), limits::HEADER_FIELD.size());
        needle.is_in(&fold(&format!("{name}: {value}")))
    })
}

impl Facts for Message<'_> {
    type Error = Error;

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

    fn internal_day(&mut self) -> Result<Date> {
        let secs = self.view.with(|m| m.internal_date(self.attrs.uid).ok_or(Error::Gone))?;
        Ok(local(secs).local().0)
    }

    fn size(&mut self) -> Result<u64> {
        self.view.with(|m| m.size_of(self.attrs.uid))
    }

    fn sent_day(&mut self) -> Result<Option<Date>> {
        let header = self.load_header()?;
        let field = Fields::new(header).find(|f| f.is(b"Date"));
        Ok(field.and_then(|f| DateTime::parse_rfc5322(&f.text())).map(|d| d.local().0))
    }

    fn header_has(&mut self, field: &[u8], needle: &Needle) -> Result<bool> {
        let header = self.load_header()?;
        Ok(Fields::new(header).filter(|f| f.is(field)).any(|f| {
            let value = encoded_word::decode(&f.text(), limits::HEADER_FIELD.size());
            needle.is_in(&fold(&value))
        }))
    }

    fn body_has(&mut self, needle: &Needle) -> Result<bool> {
        self.parts_have(needle, false)
    }

    fn text_has(&mut self, needle: &Needle) -> Result<bool> {
        let found = header_text_has(self.load_header()?, needle);
        // As with Dovecot, TEXT looks at the headers of parts and BODY does not:
        // every HTML part would be found by `html`.
        Ok(found || self.parts_have(needle, true)?)
    }
}
