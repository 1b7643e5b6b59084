//! Tag=value lists: signatures, key records, DMARC and policy records.
//!
//!     tag-list  =  tag-spec *( ";" tag-spec ) [ ";" ]
//!     tag-spec  =  [FWS] tag-name [FWS] "=" [FWS] tag-value [FWS]
//!     tag-name  =  ALPHA *ALNUMPUNC
//!     tag-value =  [ tval *( 1*(WSP / FWS) tval ) ]
//!
//! A duplicate name makes the whole list invalid; names and values keep their
//! case.  Bytes of UTF-8 may stand in values (RFC 8616 5).  RFC 6376 3.2.

use std::borrow::Cow;

use crate::proto::limits;

/// One `name=value`, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag<'a> {
    /// The name.
    pub name: &'a [u8],
    /// The value without white space around it.
    pub value: &'a [u8],
}

/// A list, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TagList<'a>(pub Vec<Tag<'a>>);

/// Why a text is no tag list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TagError {
    /// It does not follow the grammar.
    Syntax,
    /// A tag occurs twice.
    Duplicate,
    /// There are more tags than any list has a use for.
    TooMany,
}

impl<'a> TagList<'a> {
    /// Reads a list, folded or not.
    pub fn parse(text: &'a [u8]) -> Result<TagList<'a>, TagError> {
        // As many as a signature has.
        let mut tags: Vec<Tag<'a>> = Vec::with_capacity(12);
        for (at, spec) in specs(text) {
            // A final semicolon leaves an empty piece.
            let last = at.saturating_add(spec.len()) >= text.len();
            if last && spec.trim_ascii().is_empty() && !tags.is_empty() {
                break;
            }
            let tag = parse_tag(spec).ok_or(TagError::Syntax)?;
            if tags.iter().any(|t| t.name == tag.name) {
                return Err(TagError::Duplicate);
            }
            if tags.len() >= limits::TAGS.size() {
                return Err(TagError::TooMany);
            }
            tags.push(tag);
        }
        Ok(TagList(tags))
    }

    /// The value of a tag.
    pub fn get(&self, name: &[u8]) -> Option<&'a [u8]> {
        self.0.iter().find(|t| t.name == name).map(|t| t.value)
    }
}

/// What stands between semicolons, with its offset.
fn specs(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = Some(0_usize);
    std::iter::from_fn(move || {
        let start = at?;
        let rest = text.get(start..)?;
        let end = memchr::memchr(b';', rest);
        at = end.map(|end| start.saturating_add(end).saturating_add(1));
        Some((start, rest.get(..end.unwrap_or(rest.len()))?))
    })
}

fn parse_tag(spec: &[u8]) -> Option<Tag<'_>> {
    let equals = memchr::memchr(b'=', spec)?;
    let (name, value) = spec.split_at_checked(equals)?;
    let name = name.trim_ascii();
    let value = value.get(1..)?.trim_ascii();
    let (first, rest) = name.split_first()?;
    let well_named =
        first.is_ascii_alphabetic() && rest.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_');
    // tval = 1*VALCHAR; VALCHAR = %x21-3A / %x3C-7E, and white space between.
    // Without a jump at each byte: values are long.
    let valued = value.iter().fold(true, |all, b| {
        all & matches!(b, 0x21..=0x7e | 0x80.. | b' ' | b'\t' | b'\r' | b'\n')
    });
    (well_named && valued).then_some(Tag { name, value })
}

/// A value without any white space: what base 64 and colon lists need.
///
/// It is that of folding for the most part, after words as long as a line; a CR
/// that ends no line is none.
pub fn without_space(value: &[u8]) -> Cow<'_, [u8]> {
    if memchr::memchr3(b' ', b'\t', b'\n', value).is_none() {
        return Cow::Borrowed(value);
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value;
    loop {
        let end = memchr::memchr3(b' ', b'\t', b'\n', rest).unwrap_or(rest.len());
        let (word, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
        let folds = after.first() == Some(&b'\n');
        let word = if folds { word.strip_suffix(b"\r").unwrap_or(word) } else { word };
        out.extend_from_slice(word);
        match after.get(1..) {
            Some(next) => rest = next,
            None => return Cow::Owned(out),
        }
    }
}

/// Where the `b=` value of a signature's field value is: all that stands between
/// `=` and the semicolon, white space too.  RFC 6376 3.5, 3.7.
pub fn b_value(text: &[u8]) -> Option<std::ops::Range<usize>> {
    for (start, spec) in specs(text) {
        let Some(equals) = memchr::memchr(b'=', spec) else { continue };
        if spec.get(..equals).is_some_and(|name| name.trim_ascii() == b"b") {
            let from = start.saturating_add(equals).saturating_add(1);
            return Some(from..start.saturating_add(spec.len()));
        }
    }
    None
}
