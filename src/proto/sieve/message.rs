//! The message that a script looks at, and how it changes it.
//!
//! The header is kept as a list of fields, each a range of the message or new
//! text, so that `addheader` and `deleteheader` cost nothing but the field.
//! The MIME structure is read when first asked for.  What replaces bodies
//! (`replace`, `enclose`, `filter`) makes a new base.
//!
//! Parsing is `proto::mime`'s and decoding `proto::text`'s business.

use std::cell::OnceCell;
use std::ops::Range;
use std::sync::Arc;

use super::action::{Edited, Piece, Version};
use super::html;
use crate::proto::addr::list;
use crate::proto::limits;
use crate::proto::mime::{self, Encoding, Part, Structure};
use crate::proto::text::{charset, encoded_word, transfer};

/// A message.
#[derive(Clone, Debug)]
pub struct Message {
    /// As received.
    original: Arc<Vec<u8>>,
    /// What the ranges of fields and parts refer to.
    base: Arc<Vec<u8>>,
    /// The header of the message itself.
    fields: Vec<Field>,
    /// Where the empty line after the header begins, in the base.
    header_end: usize,
    /// True if the base is not the original.
    rebased: bool,
    /// True if fields were added or deleted.
    edited: bool,
    structure: OnceCell<Structure>,
    /// Texts of the parts, with markup and without.
    texts: [Texts; 2],
}

/// What has been made of the parts, by their number; `None` of what is no text.
type Texts = OnceCell<Vec<OnceCell<Option<Arc<[u8]>>>>>;

/// A field of the message's own header.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Field {
    /// In the base.
    Base {
        /// The whole field.
        raw: Range<usize>,
        /// Its name.
        name: Range<usize>,
        /// What follows the colon.
        value: Range<usize>,
        /// The value as [`decoded`] has it, kept for the next test.
        decoded: OnceCell<Arc<[u8]>>,
        /// The value as [`addresses`] has it, likewise.
        addresses: OnceCell<Arc<[Address]>>,
    },
    /// Added by the script.
    New {
        /// Its name.
        name: Vec<u8>,
        /// The value, unfolded, UTF-8 as the script gave it.
        value: Arc<[u8]>,
        /// The whole field as it is written, with its CRLF.
        raw: Arc<[u8]>,
    },
}

/// An address of a field, as tests look at it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What stands before the at sign, decoded; of half an address all of it.
    pub local: Vec<u8>,
    /// What stands behind it; `None` of half an address, of which only the text can match.
    /// RFC 5228 5.1.
    pub domain: Option<Vec<u8>>,
}

impl Message {
    /// A message as received; CRLF or LF.
    pub fn new(bytes: Arc<Vec<u8>>) -> Self {
        let mut message = Message {
            original: bytes.clone(),
            base: bytes,
            fields: Vec::new(),
            header_end: 0,
            rebased: false,
            edited: false,
            structure: OnceCell::new(),
            texts: Default::default(),
        };
        message.read_fields();
        message
    }

    fn read_fields(&mut self) {
        let base = self.base.clone();
        let (header, _) = mime::split(&base);
        let mut end = 0;
        self.fields.clear();
        for field in mime::Fields::new(header).take(limits::HEADER_LINES.size()) {
            let start = field.at;
            end = start.saturating_add(field.raw.len());
            let tail = mime::field::without_line_end(field.raw).len();
            let name = start..start.saturating_add(field.name.len());
            let first = start.saturating_add(tail.saturating_sub(field.value.len()));
            let value = first..start.saturating_add(tail);
            let (decoded, addresses) = Default::default();
            self.fields.push(Field::Base { raw: start..end, name, value, decoded, addresses });
        }
        self.header_end = end;
        self.structure = OnceCell::new();
        self.texts = Default::default();
    }

    /// The octets of the message as it is now.
    pub fn len(&self) -> usize {
        if self.edited {
            let fields = self.fields.iter().map(|f| self.raw(f).len()).sum::<usize>();
            return fields.saturating_add(self.base.len().saturating_sub(self.header_end));
        }
        self.base.len()
    }

    /// True if there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The message as received.
    pub fn original(&self) -> &Arc<Vec<u8>> {
        &self.original
    }

    /// The message as it is now, to be stored or sent.
    pub fn version(&self) -> Version {
        if !self.edited && !self.rebased {
            return None;
        }
        let mut pieces: Vec<Piece> = Vec::new();
        for field in &self.fields {
            match field {
                Field::Base { raw, .. } => self.push_piece(&mut pieces, raw.clone()),
                Field::New { raw, .. } => pieces.push(Piece::Text(raw.clone())),
            }
        }
        self.push_piece(&mut pieces, self.header_end..self.base.len());
        Some(Arc::new(Edited { pieces }))
    }

    fn push_piece(&self, pieces: &mut Vec<Piece>, range: Range<usize>) {
        if self.rebased {
            let text = self.base.get(range).unwrap_or_default();
            return pieces.push(Piece::Text(text.into()));
        }
        match pieces.last_mut() {
            Some(Piece::Original(last)) if last.end == range.start => last.end = range.end,
            _ => pieces.push(Piece::Original(range)),
        }
    }

    /// The octets as they are now.
    pub fn bytes(&self) -> Vec<u8> {
        match self.version() {
            Some(edited) => edited.bytes(&self.original),
            None => self.original.to_vec(),
        }
    }

    /// The octets to which [`Message::parts`] refers: as they are now, added and deleted fields
    /// left aside.
    pub fn base(&self) -> &Arc<Vec<u8>> {
        &self.base
    }

    /// Puts other octets in the place of the message.
    pub fn replace_all(&mut self, bytes: Vec<u8>) {
        self.base = Arc::new(bytes);
        self.rebased = true;
        self.edited = false;
        self.read_fields();
    }

    /// True if an empty line follows the header.  RFC 5173 4.
    pub fn has_body(&self) -> bool {
        self.header_end < self.base.len()
    }

    /// Where the body of the message itself begins, in the base.
    pub fn body(&self) -> usize {
        let rest = self.base.get(self.header_end..).unwrap_or_default();
        let body = rest.strip_prefix(b"\r").unwrap_or(rest);
        let body = body.strip_prefix(b"\n").unwrap_or(body);
        self.base.len().saturating_sub(body.len())
    }

    fn raw<'m>(&'m self, field: &'m Field) -> &'m [u8] {
        match field {
            Field::Base { raw, .. } => self.base.get(raw.clone()).unwrap_or_default(),
            Field::New { raw, .. } => raw,
        }
    }

    fn name<'m>(&'m self, field: &'m Field) -> &'m [u8] {
        match field {
            Field::Base { name, .. } => self.base.get(name.clone()).unwrap_or_default(),
            Field::New { name, .. } => name,
        }
    }

    /// How many fields there are.
    pub fn fields(&self) -> usize {
        self.fields.len()
    }

    /// The fields with this name, from the top.
    fn named<'m>(&'m self, name: &'m [u8]) -> impl DoubleEndedIterator<Item = &'m Field> {
        self.fields.iter().filter(move |field| self.name(field).eq_ignore_ascii_case(name))
    }

    /// The values of the fields with this name, from the top, as written.
    pub fn values<'m>(&'m self, name: &'m [u8]) -> impl DoubleEndedIterator<Item = &'m [u8]> {
        self.named(name).map(|field| match field {
            Field::Base { value, .. } => self.base.get(value.clone()).unwrap_or_default(),
            Field::New { value, .. } => value,
        })
    }

    /// The same as [`decoded`] has them.
    pub fn decoded_values(&self, name: &[u8]) -> Vec<Arc<[u8]>> {
        let values = self.named(name).map(|field| match field {
            Field::Base { value, decoded: kept, .. } => {
                let raw = || self.base.get(value.clone()).unwrap_or_default();
                kept.get_or_init(|| decoded(raw()).into()).clone()
            }
            Field::New { value, .. } => decoded(value).into(),
        });
        values.collect()
    }

    /// The same as [`addresses`] has them.
    pub fn addresses(&self, name: &[u8]) -> Vec<Arc<[Address]>> {
        let values = self.named(name).map(|field| match field {
            Field::Base { value, addresses: kept, .. } => {
                let raw = || self.base.get(value.clone()).unwrap_or_default();
                kept.get_or_init(|| addresses(raw())).clone()
            }
            Field::New { value, .. } => addresses(value),
        });
        values.collect()
    }

    /// True if there is a field with this name.
    pub fn has(&self, name: &[u8]) -> bool {
        self.values(name).next().is_some()
    }

    /// The first field of this name, decoded.
    pub fn text(&self, name: &[u8]) -> Option<Vec<u8>> {
        self.values(name).next().map(decoded)
    }

    /// Adds a field at the top of the header, or with `last` at its bottom.
    pub fn add_field(&mut self, name: &[u8], value: &[u8], raw: Vec<u8>, last: bool) {
        let field = Field::New { name: name.to_vec(), value: value.into(), raw: raw.into() };
        let at = if last { self.fields.len() } else { 0 };
        self.fields.insert(at, field);
        self.edited = true;
    }

    /// Deletes those fields of a name whose number, from 0 at the top, is in `which`.
    pub fn delete_fields(&mut self, name: &[u8], which: &[usize]) {
        let fields = std::mem::take(&mut self.fields);
        let mut number = 0usize;
        let mut kept = Vec::with_capacity(fields.len());
        for field in fields {
            let named = self.name(&field).eq_ignore_ascii_case(name);
            if !(named && which.contains(&number)) {
                kept.push(field);
            }
            number = number.saturating_add(usize::from(named));
        }
        self.fields = kept;
        self.edited |= !which.is_empty();
    }

    /// The MIME parts; the message itself is the first.
    pub fn parts(&self) -> &[Part] {
        &self.structure().parts
    }

    /// The MIME structure.
    pub fn structure(&self) -> &Structure {
        self.structure.get_or_init(|| mime::scan(&self.base))
    }

    /// A part.
    pub fn part(&self, number: usize) -> Option<&Part> {
        self.parts().get(number)
    }

    /// The values of a part's header fields, as written.
    pub fn part_values(&self, number: usize, name: &[u8]) -> Vec<Vec<u8>> {
        if number == 0 {
            return self.values(name).map(<[u8]>::to_vec).collect();
        }
        let header = self.part(number).map_or(&[][..], |part| part.header.of(&self.base));
        let fields = mime::Fields::new(header).take(limits::HEADER_LINES.size());
        fields.filter(|field| field.is(name)).map(|field| field.value.to_vec()).collect()
    }

    /// The body of a part, its transfer encoding undone.
    pub fn content(&self, number: usize) -> Vec<u8> {
        let Some(part) = self.part(number) else { return Vec::new() };
        let body = part.body.of(&self.base);
        transfer::decode(part.encoding, body, self.base.len())
    }

    /// The body of a text part as UTF-8, or with `plain` without markup; `None` if it is no text.
    ///
    /// Kept for the next test; the number tells how many octets had to be looked at now.
    pub fn kept_text(&self, number: usize, plain: bool) -> (Option<Arc<[u8]>>, u64) {
        let [with, without] = &self.texts;
        let texts = if plain { without } else { with };
        let texts = texts.get_or_init(|| vec![OnceCell::new(); self.parts().len()]);
        let (Some(slot), Some(part)) = (texts.get(number), self.part(number)) else {
            return (None, 0);
        };
        if let Some(text) = slot.get() {
            return (text.clone(), 0);
        }
        let max = self.base.len().saturating_mul(3);
        let content = &part.content_type;
        let markup = content.is(b"text", b"html") || content.is(b"application", b"xhtml+xml");
        let text = self.text_content(number, max);
        let text = text.map(|text| if plain && markup { html::text(&text) } else { text });
        (slot.get_or_init(|| text.map(Arc::from)).clone(), part.body.octets())
    }

    /// The body of a text part as UTF-8 of at most `max` octets; `None` if it is no text.
    fn text_content(&self, number: usize, max: usize) -> Option<Vec<u8>> {
        let part = self.part(number)?;
        let content = &part.content_type;
        let is_text = content.is_main(b"text") || content.is(b"application", b"xhtml+xml");
        // RFC 2045 6.4: of an unknown encoding nothing can be said.
        if !is_text || part.encoding == Encoding::Unknown {
            return None;
        }
        let name = part.content_type.params.get(b"charset").map(|p| p.value.clone());
        let content = self.content(number);
        let text = charset::decode(name.as_deref().unwrap_or(b"us-ascii"), &content, max);
        Some(text.into_bytes())
    }
}

/// The addresses in a field's value, groups opened up.
pub fn addresses(value: &[u8]) -> Arc<[Address]> {
    let addresses = list::mailboxes(value).map(|address| {
        let local = decoded(&address.local);
        match (address.local.is_empty(), address.domain.is_empty()) {
            (false, false) => Address { local, domain: Some(address.domain) },
            (_, true) => Address { local, domain: None },
            (true, false) => Address { local: [b"@", &*address.domain].concat(), domain: None },
        }
    });
    addresses.collect()
}

/// A field's value for comparing: one line, no blanks at the ends, encoded words decoded.
///
/// RFC 5228 2.7.2 and 5.7.
pub fn decoded(value: &[u8]) -> Vec<u8> {
    let line = mime::unfold(value);
    let line = line.trim_ascii();
    if memchr::memmem::find(line, b"=?").is_none() {
        return line.to_vec();
    }
    encoded_word::decode(line, limits::HEADER_FIELD.size()).into_bytes()
}
