//! Domain names as bytes.
//!
//! A name is kept as the wire has it, uncompressed: length octet and label, the
//! root's zero octet left out.  Labels may hold any byte, a dot and NUL
//! included; only [`Name::parse`] and [`std::fmt::Display`] know the text form
//! with its escapes.  Names compare without regard to ASCII case: length octets
//! are below 64 and no letter, so the whole wire form can be compared that way.
//!
//! RFC 1035 2.3.4, 3.1, 5.1; RFC 4343.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A label may have this many octets.  RFC 1035 2.3.4.
pub const LABEL_OCTETS: usize = 63;
/// The wire form with the root's octet may have this many octets.  RFC 1035 2.3.4.
pub const NAME_OCTETS: usize = 255;

/// A domain name, absolute.  The default is the root.
#[derive(Clone, Default)]
pub struct Name {
    wire: Vec<u8>,
}

/// Why a text is no domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Two dots in a row, or one at the beginning.
    EmptyLabel,
    /// A label of more than 63 octets.
    LongLabel,
    /// More than 253 octets in all.
    LongName,
    /// A backslash that is followed by neither three digits nor a byte.
    Escape,
}

impl Name {
    /// The root of the tree.
    pub const ROOT: Name = Name { wire: Vec::new() };

    /// Reads the text form: labels between dots, `\.` and `\DDD` escapes, one
    /// dot at the end allowed.  The empty text and `.` are the root.
    pub fn parse(text: &[u8]) -> Result<Name, NameError> {
        let mut name = Name::ROOT;
        let mut label = Vec::new();
        let mut bytes = text.iter().copied();
        let mut open = false;
        if text == b"." {
            return Ok(name);
        }
        while let Some(b) = bytes.next() {
            match b {
                b'.' => {
                    name.push_label(&label)?;
                    label.clear();
                    open = false;
                    continue;
                }
                b'\\' => label.push(unescape(&mut bytes).ok_or(NameError::Escape)?),
                b => label.push(b),
            }
            open = true;
        }
        if open {
            name.push_label(&label)?;
        }
        Ok(name)
    }

    /// Reads labels between dots without any escapes, as mail writes a domain;
    /// one dot at the end allowed.
    pub fn from_dotted(text: &[u8]) -> Result<Name, NameError> {
        let text = text.strip_suffix(b".").unwrap_or(text);
        let octets = text.len().saturating_add(1).min(NAME_OCTETS);
        let mut name = Name { wire: Vec::with_capacity(octets) };
        if !text.is_empty() {
            for label in text.split(|b| *b == b'.') {
                name.push_label(label)?;
            }
        }
        Ok(name)
    }

    /// Appends a label on the right, that is, nearer to the root.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        let length = u8::try_from(label.len())
            .ok()
            .filter(|n| usize::from(*n) <= LABEL_OCTETS)
            .ok_or(NameError::LongLabel)?;
        // One octet for this label's length, one for the root.
        if self.wire.len().saturating_add(label.len()).saturating_add(2) > NAME_OCTETS {
            return Err(NameError::LongName);
        }
        self.wire.push(length);
        self.wire.extend_from_slice(label);
        Ok(())
    }

    /// `self` under `parent`: `_dmarc` and `example.org` give `_dmarc.example.org`.
    pub fn under(&self, parent: &Name) -> Result<Name, NameError> {
        if self.wire.len().saturating_add(parent.wire.len()) >= NAME_OCTETS {
            return Err(NameError::LongName);
        }
        Ok(Name { wire: [self.wire.as_slice(), &parent.wire].concat() })
    }

    /// The labels, the leftmost first.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = self.wire.as_slice();
        std::iter::from_fn(move || {
            let (length, after) = rest.split_first()?;
            let (label, after) = after.split_at_checked(usize::from(*length))?;
            rest = after;
            Some(label)
        })
    }

    /// How many labels there are; the root has none.
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// True for the root.
    pub fn is_root(&self) -> bool {
        self.wire.is_empty()
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(&self) -> Option<Name> {
        let first = usize::from(*self.wire.first()?);
        let rest = self.wire.get(first.saturating_add(1)..)?;
        Some(Name { wire: rest.to_vec() })
    }

    /// The last `count` labels; the whole name if it has no more.
    pub fn last_labels(&self, count: usize) -> Name {
        let mut rest = self.wire.as_slice();
        for _ in count..self.label_count() {
            let Some((length, after)) = rest.split_first() else { break };
            rest = after.get(usize::from(*length)..).unwrap_or_default();
        }
        Name { wire: rest.to_vec() }
    }

    /// True if the name is `ancestor` or lies below it.
    pub fn is_within(&self, ancestor: &Name) -> bool {
        self.last_labels(ancestor.label_count()) == *ancestor
    }

    /// The wire form, with the root's octet.
    pub fn to_wire(&self) -> Vec<u8> {
        let mut wire = self.wire.clone();
        wire.push(0);
        wire
    }

    /// The same name in lower case.
    pub fn to_lower(&self) -> Name {
        Name { wire: self.wire.to_ascii_lowercase() }
    }

    /// Octets of the wire form, with the root's.
    pub fn wire_len(&self) -> usize {
        self.wire.len().saturating_add(1)
    }
}

/// The byte after a backslash: itself, or three decimal digits.  RFC 1035 5.1.
pub(super) fn unescape(bytes: &mut impl Iterator<Item = u8>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first.wrapping_sub(b'0'));
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        value = value.saturating_mul(10).saturating_add(u16::from(digit.wrapping_sub(b'0')));
    }
    u8::try_from(value).ok()
}

impl PartialEq for Name {
    fn eq(&self, other: &Name) -> bool {
        self.wire.eq_ignore_ascii_case(&other.wire)
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // In one piece: a hasher takes as long for an octet as for eight.
        let mut lower = [0; NAME_OCTETS];
        for (to, b) in lower.iter_mut().zip(&self.wire) {
            *to = b.to_ascii_lowercase();
        }
        state.write(lower.get(..self.wire.len()).unwrap_or(&self.wire));
    }
}

/// Writes the text form without the final dot; bytes that are not printable
/// ASCII, dots and backslashes within a label, are escaped.  The root is `.`.
impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_root() {
            return f.write_str(".");
        }
        for (i, label) in self.labels().enumerate() {
            if i > 0 {
                f.write_str(".")?;
            }
            for b in label {
                match b {
                    b'.' | b'\\' => write!(f, "\\{}", char::from(*b))?,
                    0x21..=0x7e => write!(f, "{}", char::from(*b))?,
                    _ => write!(f, "\\{b:03}")?,
                }
            }
        }
        Ok(())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    #[test]
    fn text_and_wire_agree() {
        assert_eq!(name("a.bc").to_wire(), b"\x01a\x02bc\x00");
        assert_eq!(name("a.bc."), name("A.BC"));
        assert_eq!(name(".").to_wire(), b"\0");
        assert_eq!(name(r"a\.b.c").to_wire(), b"\x03a.b\x01c\0");
        assert_eq!(name(r"a\000b").to_string(), r"a\000b");
        assert_eq!(name(r"a\.b.c").to_string(), r"a\.b.c");
    }

    #[test]
    fn what_is_no_name_is_refused() {
        assert_eq!(Name::parse(b"a..b"), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse(b".a"), Err(NameError::EmptyLabel));
        assert_eq!(Name::parse(&[b'a'; 64]), Err(NameError::LongLabel));
        assert_eq!(Name::parse(b"a\\25"), Err(NameError::Escape));
        assert_eq!(Name::parse(b"a\\256"), Err(NameError::Escape));
        let long = [&[b'a'; 63][..]; 4].join(&b'.');
        assert_eq!(Name::parse(&long), Err(NameError::LongName));
        assert!(Name::parse(&long[..253]).is_ok());
        assert_eq!(Name::parse(&long[..254]), Err(NameError::LongName));
    }

    #[test]
    fn reading_a_name_takes_time_that_doubles_with_its_text() {
        for unit in ["a", "a.", ".", "\\", "\\000", "\\1", "\0"] {
            crate::proto::testing::assert_linear(|n| {
                let text = unit.repeat(n / unit.len());
                let _ = std::hint::black_box(Name::parse(text.as_bytes()));
                let _ = std::hint::black_box(Name::from_dotted(text.as_bytes()));
            });
        }
    }

    #[test]
    fn the_tree() {
        let n = name("a.b.example.com");
        assert_eq!(n.label_count(), 4);
        assert_eq!(n.parent(), Some(name("b.example.com")));
        assert_eq!(n.last_labels(2), name("example.com"));
        assert_eq!(n.last_labels(9), n);
        assert!(n.is_within(&name("EXAMPLE.com")));
        assert!(!n.is_within(&name("ample.com")));
        assert!(n.is_within(&Name::ROOT));
        assert_eq!(name("_dmarc").under(&n).unwrap(), name("_dmarc.a.b.example.com"));
        assert_eq!(Name::ROOT.parent(), None);
    }
}
