//! Byte strings of a compiled script.
//!
//! A script has hundreds of them, most of them short: a key, the name of a
//! field, of a mailbox, of a flag.  Short ones are kept in place, so that a
//! compiled script is few allocations and near each other.

use std::fmt;
use std::ops::Deref;

/// What a short one may have: the whole is then as large as a `Vec`.
const SHORT: usize = 22;

/// A byte string that does not change.
#[derive(Clone)]
pub struct Octets(Place);

#[derive(Clone)]
enum Place {
    Here(u8, [u8; SHORT]),
    There(Box<[u8]>),
}

impl From<&[u8]> for Octets {
    fn from(text: &[u8]) -> Self {
        let mut here = [0; SHORT];
        match (u8::try_from(text.len()), here.get_mut(..text.len())) {
            (Ok(len), Some(place)) => {
                place.copy_from_slice(text);
                Octets(Place::Here(len, here))
            }
            _ => Octets(Place::There(text.into())),
        }
    }
}

impl Deref for Octets {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Here(len, text) => text.get(..usize::from(*len)).unwrap_or_default(),
            Place::There(text) => text,
        }
    }
}

impl fmt::Debug for Octets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", String::from_utf8_lossy(self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_length_is_kept_as_it_is() {
        let text: Vec<u8> = (0..=255).chain(0..=255).collect();
        for len in 0..text.len() {
            assert_eq!(&*Octets::from(&text[..len]), &text[..len]);
        }
    }

    #[test]
    fn a_text_is_no_larger_than_a_vector() {
        assert_eq!(size_of::<super::super::code::Text>(), size_of::<Vec<u8>>());
    }
}
