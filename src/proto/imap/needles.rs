//! The strings that a SEARCH looks for, all of them in one look at each text.
//!
//! A command has room for a thousand `BODY` keys.  Decoding and folding a
//! message's texts costs far more than looking for a string in them, so that is
//! done once for each message and not once for each key: [`Needles`] are the
//! program's strings of one kind, each once, and [`Seen`] which of them a
//! message has.  RFC 3501 6.4.4.

use super::search::{Key, Needle, Op, Program};
use memchr::memmem::Finder;
use std::collections::BTreeMap;

/// What a program looks for in texts.
#[derive(Debug)]
pub struct Wanted<'p> {
    /// By `BODY`.
    pub body: Needles<'p>,
    /// By `TEXT`.
    pub text: Needles<'p>,
    /// The names of fields, in lower case, that `HEADER` and its like look at,
    /// ascending.
    pub fields: Vec<Vec<u8>>,
}

impl Program<'_> {
    /// What the program looks for in texts.
    pub fn wanted(&self) -> Wanted<'_> {
        let (mut body, mut text, mut fields) = (Vec::new(), Vec::new(), Vec::new());
        for op in &self.0 {
            match op {
                Op::Key(Key::Body(needle)) => body.push(needle),
                Op::Key(Key::Text(needle)) => text.push(needle),
                Op::Key(Key::Header(name, _)) => fields.push(name.to_ascii_lowercase()),
                _ => {}
            }
        }
        fields.sort_unstable();
        fields.dedup();
        Wanted { body: Needles::new(body), text: Needles::new(text), fields }
    }
}

/// Strings to be found, each once.
#[derive(Debug)]
pub struct Needles<'p>(BTreeMap<&'p str, Finder<'p>>);

impl<'p> Needles<'p> {
    fn new(needles: Vec<&'p Needle>) -> Needles<'p> {
        let finder = |n: &'p Needle| (n.0.as_str(), Finder::new(n.0.as_bytes()));
        Needles(needles.into_iter().map(finder).collect())
    }

    /// True if nothing is looked for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Nothing seen yet, but for the empty string, which is everywhere.
    pub fn unseen(&self) -> Seen<'_> {
        Seen { missing: self.0.iter().filter(|(n, _)| !n.is_empty()).collect() }
    }
}

/// Which of the strings a message has, as far as it was looked at.
#[derive(Debug)]
pub struct Seen<'n> {
    /// Ascending, so that one is found by bisection.
    missing: Vec<(&'n &'n str, &'n Finder<'n>)>,
}

impl Seen<'_> {
    /// True if all are there: no other text need be looked at.
    pub fn all(&self) -> bool {
        self.missing.is_empty()
    }

    /// True if this one was there.
    pub fn has(&self, needle: &Needle) -> bool {
        self.missing.binary_search_by(|(m, _)| (**m).cmp(needle.0.as_str())).is_err()
    }

    /// Looks for what is missing in text that [`super::search::fold`] gave.
    ///
    /// `between` is called before each string is looked for, and may end it.
    pub fn look<E>(
        &mut self,
        folded: &str,
        mut between: impl FnMut() -> Result<(), E>,
    ) -> Result<(), E> {
        let mut ended = Ok(());
        self.missing.retain(|(_, finder)| {
            if ended.is_ok() {
                ended = between();
            }
            ended.is_err() || finder.find(folded.as_bytes()).is_none()
        });
        ended
    }
}

#[cfg(test)]
mod tests {
    use super::super::search::Search;
    use super::*;
    use crate::proto::cursor::Cursor;

    #[test]
    fn each_string_is_looked_for_once_and_until_it_is_found() {
        let text = b"OR BODY b OR BODY a NOT BODY b OR TEXT \"\" OR TEXT a SUBJECT x";
        let search = Search::parse(&mut Cursor::new(text)).unwrap();
        let wanted = search.program.wanted();
        assert_eq!(wanted.fields, [b"subject"]);
        let mut seen = wanted.body.unseen();
        let mut looks = 0;
        let mut count = || {
            looks += 1;
            Ok::<(), ()>(())
        };
        seen.look("xay", &mut count).unwrap();
        assert!(seen.has(&Needle("a".into())) && !seen.has(&Needle("b".into())) && !seen.all());
        seen.look("b", &mut count).unwrap();
        assert!(seen.all());
        seen.look("b", &mut count).unwrap();
        assert_eq!(looks, 3);
        let seen = wanted.text.unseen();
        assert!(seen.has(&Needle(String::new())) && !seen.has(&Needle("a".into())));
    }

    #[test]
    fn a_look_that_is_ended_finds_nothing_more() {
        let search = Search::parse(&mut Cursor::new(b"BODY a BODY b BODY c")).unwrap();
        let wanted = search.program.wanted();
        let mut seen = wanted.body.unseen();
        let mut left = 1;
        let between = || {
            if left == 0 {
                Err("end")
            } else {
                left -= 1;
                Ok(())
            }
        };
        assert_eq!(seen.look("abc", between), Err("end"));
        assert!(seen.has(&Needle("a".into())) && !seen.has(&Needle("b".into())));
    }
}
