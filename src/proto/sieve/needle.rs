//! What a value must contain to match a pattern at all.
//!
//! Most keys of most rules do not match.  A stretch of text that stands
//! literally in a key of `:matches` or `:regex` is looked for first: without it
//! the pattern need not be compiled, let alone be run.

use std::borrow::Cow;

use super::compare::Fold;

/// A stretch of text that every match contains; empty if there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Needle(Vec<u8>);

impl Needle {
    /// The longest of some stretches; `fold` is the comparator's.
    pub fn longest(stretches: impl IntoIterator<Item = Vec<u8>>, fold: Fold) -> Needle {
        let mut text = stretches.into_iter().max_by_key(Vec::len).unwrap_or_default();
        match fold {
            Fold::None => {}
            Fold::Ascii => text.make_ascii_lowercase(),
            // Beyond ASCII several spellings are equal.
            Fold::Unicode if !text.is_ascii() => text.clear(),
            Fold::Unicode => text.make_ascii_lowercase(),
        }
        Needle(text)
    }

    /// False if nothing in the value can match; true promises nothing.
    pub fn may_be_in(&self, hay: &Hay<'_>) -> bool {
        self.0.is_empty() || !hay.exact || memchr::memmem::find(&hay.text, &self.0).is_some()
    }
}

/// A value in the form in which needles are looked for: made once for all keys of a test.
pub struct Hay<'v> {
    text: Cow<'v, [u8]>,
    /// Finding nothing means something.
    exact: bool,
}

impl<'v> Hay<'v> {
    /// Prepares a value.
    pub fn new(value: &'v [u8], fold: Fold) -> Self {
        let text = match fold {
            Fold::None => Cow::Borrowed(value),
            _ if !value.iter().any(u8::is_ascii_uppercase) => Cow::Borrowed(value),
            _ => Cow::Owned(value.to_ascii_lowercase()),
        };
        Hay { text, exact: fold != Fold::Unicode || value.is_ascii() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn may(stretch: &str, value: &str, fold: Fold) -> bool {
        let needle = Needle::longest([b"x".to_vec(), stretch.as_bytes().to_vec()], fold);
        needle.may_be_in(&Hay::new(value.as_bytes(), fold))
    }

    #[test]
    fn case_counts_as_the_comparator_says() {
        assert!(may("Topic", "a tOPIC b", Fold::Ascii));
        assert!(!may("Topic", "a tOPIC b", Fold::None));
        assert!(!may("Topic", "a tonic b", Fold::Ascii));
    }

    #[test]
    fn beyond_ascii_nothing_is_ruled_out_that_could_be_equal() {
        // The Kelvin sign folds to k.
        assert!(may("kelvin", "\u{212a}elvin", Fold::Unicode));
        assert!(may("\u{212a}elvin", "kelvin", Fold::Unicode));
        assert!(!may("kelvin", "celsius", Fold::Unicode));
    }
}
