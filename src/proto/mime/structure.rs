//! What a message is made of: parts, where they lie, and what was odd.
//!
//! Filled by [`super::scan`]; ranges are of the message as it came, and nothing
//! of it is copied here but the few fields that MIME needs.  RFC 2045, RFC 2046.

use super::param::{ContentType, Disposition, Param};

/// A range of a message, in octets of the message as it was fed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// The first octet.
    pub start: u64,
    /// The octet after the last.
    pub end: u64,
    /// Line ends in it.
    pub lines: u64,
    /// Line ends in it that are a LF alone.
    pub bare_lf: u64,
    /// Line ends before it that are a LF alone: where it begins when every line
    /// end is CRLF.
    pub bare_lf_before: u64,
}

impl Extent {
    /// Octets as they are.
    pub const fn octets(&self) -> u64 {
        self.end.saturating_sub(self.start)
    }

    /// Octets when every line end is CRLF: what IMAP and SIZE count.
    pub const fn wire_octets(&self) -> u64 {
        self.octets().saturating_add(self.bare_lf)
    }

    /// The first octet when every line end is CRLF.
    pub const fn wire_start(&self) -> u64 {
        self.start.saturating_add(self.bare_lf_before)
    }

    /// This range of the message; empty if the message is shorter than it was.
    pub fn of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        let (Ok(start), Ok(end)) = (usize::try_from(self.start), usize::try_from(self.end)) else {
            return &[];
        };
        message.get(start..end).unwrap_or_default()
    }
}

/// `Content-Transfer-Encoding`.  RFC 2045 6.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// `7bit`, and what it is without the field.
    #[default]
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `base64`.
    Base64,
    /// `quoted-printable`.
    QuotedPrintable,
    /// Anything else: the content is opaque.  RFC 2045 6.4.
    Unknown,
}

impl Encoding {
    /// The encoding of that name.
    pub fn parse(name: &[u8]) -> Encoding {
        match name.to_ascii_lowercase().as_slice() {
            b"7bit" => Encoding::SevenBit,
            b"8bit" => Encoding::EightBit,
            b"binary" => Encoding::Binary,
            b"base64" => Encoding::Base64,
            b"quoted-printable" => Encoding::QuotedPrintable,
            _ => Encoding::Unknown,
        }
    }

    /// True if the content is what is written.
    pub const fn is_identity(self) -> bool {
        matches!(self, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary)
    }
}

/// One entity: the message itself, a part of a multipart, or an attached message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// The multipart or message/rfc822 that holds it; `None` for the message.
    pub parent: Option<usize>,
    /// 0 for the message itself.
    pub depth: usize,
    /// The header with the empty line after it.
    pub header: Extent,
    /// The body, without the line end that belongs to the delimiter after it.
    pub body: Extent,
    /// The type; the default of RFC 2045 5.2 or RFC 2046 5.1.5 without a field.
    pub content_type: ContentType,
    /// A Content-Type that could be read was given.
    pub type_given: bool,
    /// How the body is encoded.
    pub encoding: Encoding,
    /// The encoding's name as written; empty without the field.
    pub encoding_name: Vec<u8>,
    /// Content-Disposition.
    pub disposition: Option<Disposition>,
    /// Content-ID, on one line.
    pub id: Option<Vec<u8>>,
    /// Content-Description, on one line.
    pub description: Option<Vec<u8>>,
    /// Content-MD5, on one line.
    pub md5: Option<Vec<u8>>,
    /// Content-Language, on one line.
    pub language: Option<Vec<u8>>,
    /// Content-Location, on one line.
    pub location: Option<Vec<u8>>,
    /// Its parts are entries of their own: a multipart, or an attached message.
    pub composite: bool,
}

/// What was odd about a message.  Each is a signal for a classifier, none an error.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Oddities {
    /// A composite part deeper than the limit was taken as opaque.
    pub too_deep: bool,
    /// There were more parts than the limit.
    pub too_many_parts: bool,
    /// A multipart had no boundary that can be used.
    pub no_boundary: bool,
    /// A boundary had more than the 70 octets of RFC 2046 5.1.1.
    pub long_boundary: bool,
    /// A multipart was not closed.
    pub unclosed: bool,
    /// A part had two Content-Type fields.
    pub repeated_type: bool,
    /// A part had two Content-Transfer-Encoding fields.
    pub repeated_encoding: bool,
    /// A Content-Type had a parameter twice.
    pub repeated_param: bool,
    /// A boundary was encoded or continued as RFC 2231 has it.
    pub encoded_boundary: bool,
    /// A multipart or attached message was said to be encoded.
    pub encoded_composite: bool,
    /// A header had a line that is no field.
    pub no_field: bool,
    /// A header had a NUL.
    pub nul_in_header: bool,
    /// A header had a CR without LF.
    pub bare_cr_in_header: bool,
    /// A header had bytes beyond ASCII.
    pub eight_bit_in_header: bool,
    /// A line had more than the 998 octets of RFC 5322 2.1.1.
    pub long_line: bool,
    /// A header or a MIME field was over its limit.
    pub long_header: bool,
}

/// The structure of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Structure {
    /// The parts in the order of the message; the message itself is the first.
    pub parts: Vec<Part>,
    /// What was odd.
    pub odd: Oddities,
}

impl Structure {
    /// The indices of the parts directly within a composite part, in order.
    pub fn children(&self, of: usize) -> impl Iterator<Item = usize> + '_ {
        // What lies within follows it, up to the next part at its own depth or above.
        let depth = self.parts.get(of).map_or(0, |p| p.depth);
        let first = of.saturating_add(1);
        let rest = self.parts.iter().enumerate().skip(first);
        rest.take_while(move |(_, p)| p.depth > depth)
            .filter(move |(_, p)| p.parent == Some(of))
            .map(|(i, _)| i)
    }

    /// About how many octets of memory it takes.
    pub fn weight(&self) -> usize {
        self.parts.iter().map(Part::weight).fold(0, usize::saturating_add)
    }
}

impl Part {
    fn weight(&self) -> usize {
        let texts = [&self.id, &self.description, &self.md5, &self.language, &self.location];
        let texts = texts.into_iter().flatten().map(Vec::len);
        let mut octets: usize = texts.fold(size_of::<Part>(), usize::saturating_add);
        let kind = &self.content_type;
        for name in [&kind.main, &kind.sub, &self.encoding_name] {
            octets = octets.saturating_add(name.len());
        }
        let disposition = self.disposition.as_ref().map(|d| &d.params);
        for params in [Some(&kind.params), disposition].into_iter().flatten() {
            for param in &params.0 {
                let held = param.name.len().saturating_add(param.value.len());
                octets = octets.saturating_add(size_of::<Param>()).saturating_add(held);
            }
        }
        octets
    }
}
