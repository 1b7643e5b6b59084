//! The `:matches` match type: `*` and `?` in linear time.  RFC 5228 2.7.1.
//!
//! A key is cut at its stars.  The first and the last piece are tied to the
//! ends of the value; each piece between is taken at its first occurrence,
//! which is also what RFC 5229 3.2 wants of the match variables (every `*` as
//! short as possible, from the left).  Pieces are found with the Shift-And
//! method, so the work is value length times piece length / 64, whatever the
//! key; nothing is ever tried twice.
//!
//! `?` is one character of UTF-8; an octet that is not part of one counts as a
//! character.

use std::collections::HashMap;
use std::ops::Range;

use super::compare::Fold;
use super::needle::Needle;

/// A compiled key.
#[derive(Clone, Debug)]
pub struct Glob {
    /// The pieces between stars; n stars make n + 1 pieces.
    pieces: Vec<Vec<Glyph>>,
    /// What every match contains.
    pub needle: Needle,
}

/// One place of a piece: a character, folded, or [`ANY`].
type Glyph = u32;

/// `?`; no character has this number, nor a stray octet.
const ANY: Glyph = u32::MAX;

impl Glob {
    /// Compiles a key; a backslash takes the next character as it is.
    pub fn new(key: &[u8], fold: Fold) -> Glob {
        let mut pieces = Vec::new();
        let mut piece = Vec::new();
        let mut chars = Characters { rest: key, at: 0 };
        while let Some((char, _)) = chars.next() {
            match char {
                0x2a => pieces.push(std::mem::take(&mut piece)),
                0x3f => piece.push(ANY),
                0x5c => {
                    let char = chars.next().map_or(char, |(char, _)| char);
                    fold.each(char, &mut |c| piece.push(c));
                }
                _ => fold.each(char, &mut |c| piece.push(c)),
            }
        }
        pieces.push(piece);
        let needle = Needle::longest(pieces.iter().flat_map(|piece| literal(piece)), fold);
        Glob { pieces, needle }
    }

    /// How much work a value of this length is, in units of fuel.
    pub fn cost(&self, value: usize) -> u64 {
        let longest = self.pieces.iter().map(Vec::len).max().unwrap_or(0);
        let words = u64::try_from(longest.div_ceil(64)).unwrap_or(u64::MAX).max(1);
        u64::try_from(value).unwrap_or(u64::MAX).saturating_mul(words)
    }

    /// The ranges of the value that the wildcards matched, in order; `None` if it does not match.
    pub fn matches(&self, value: &[u8], fold: Fold) -> Option<Vec<Range<usize>>> {
        let mut units = Units::new(value, fold);
        let mut found = Vec::new();
        let (first, others) = self.pieces.split_first()?;
        for glyph in first {
            let unit = units.next()?;
            match *glyph {
                ANY => found.push(unit.from..unit.to),
                char if char == unit.folded => {}
                _ => return None,
            }
        }
        let Some((last, middle)) = others.split_last() else {
            return units.next().is_none().then_some(found);
        };
        for piece in middle {
            let star = units.at();
            units.find(piece, false, star, &mut found)?;
        }
        let star = units.at();
        units.find(last, true, star, &mut found)?;
        Some(found)
    }
}

/// The stretches of a piece between its `?`, as octets.
fn literal(piece: &[Glyph]) -> impl Iterator<Item = Vec<u8>> + '_ {
    piece.split(|glyph| *glyph == ANY).map(|run| {
        let mut text = Vec::with_capacity(run.len());
        for glyph in run {
            match char::from_u32(*glyph) {
                Some(c) => text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                None => text.extend(u8::try_from(glyph.saturating_sub(0x11_0000))),
            }
        }
        text
    })
}

/// A character of the value: folded, and where it came from.
#[derive(Clone, Copy, Debug, Default)]
struct Unit {
    folded: u32,
    from: usize,
    to: usize,
}

/// The characters of a value, folded one after the other: a value may be a whole message, so that
/// they are never there all at once.
struct Units<'v> {
    chars: Characters<'v>,
    fold: Fold,
    /// What the last character has become, backwards: RFC 5051 makes several of some.
    ready: Vec<Unit>,
    end: usize,
}

impl<'v> Units<'v> {
    fn new(value: &'v [u8], fold: Fold) -> Self {
        let chars = Characters { rest: value, at: 0 };
        Units { chars, fold, ready: Vec::new(), end: value.len() }
    }

    /// Where the next one begins, in the value.
    fn at(&mut self) -> usize {
        match self.next() {
            Some(unit) => {
                self.ready.push(unit);
                unit.from
            }
            None => self.end,
        }
    }

    /// Goes behind the first place where a piece stands, or with `at_end` behind the last of the
    /// value, where it has to stand then.  Adds what the star before it, which begins at `star`,
    /// and its `?` have matched.
    ///
    /// Shift-And over words of 64 places.
    fn find(
        &mut self,
        piece: &[Glyph],
        at_end: bool,
        star: usize,
        found: &mut Vec<Range<usize>>,
    ) -> Option<()> {
        let Some(last) = piece.len().checked_sub(1) else {
            found.push(star..if at_end { self.end } else { star });
            return Some(());
        };
        let masks = Masks::new(piece);
        let mut state = vec![0u64; masks.words];
        // The last units, as many as there are places in the piece.
        let mut window = vec![Unit::default(); piece.len()];
        let mut oldest = 0usize;
        loop {
            let unit = match self.next() {
                Some(unit) => unit,
                None if at_end => break,
                None => return None,
            };
            *window.get_mut(oldest)? = unit;
            oldest = if oldest == last { 0 } else { oldest.saturating_add(1) };
            let mut carry = 1;
            for (word, mask) in state.iter_mut().zip(masks.of(unit.folded)) {
                let out = *word >> 63;
                *word = (*word << 1 | carry) & mask;
                carry = out;
            }
            if !at_end && stands(&state, last) {
                break;
            }
        }
        if !stands(&state, last) {
            return None;
        }
        let (newer, older) = window.split_at_checked(oldest)?;
        let window = older.iter().chain(newer);
        found.push(star..window.clone().next()?.from);
        let any = piece.iter().zip(window).filter(|(glyph, _)| **glyph == ANY);
        found.extend(any.map(|(_, unit)| unit.from..unit.to));
        Some(())
    }
}

impl Iterator for Units<'_> {
    type Item = Unit;

    fn next(&mut self) -> Option<Unit> {
        loop {
            if let Some(unit) = self.ready.pop() {
                return Some(unit);
            }
            let (char, range) = self.chars.next()?;
            let ready = &mut self.ready;
            self.fold.each(char, &mut |folded| {
                ready.insert(0, Unit { folded, from: range.start, to: range.end });
            });
        }
    }
}

/// True if the last place of a piece has been reached.
fn stands(state: &[u64], last: usize) -> bool {
    state.last().is_some_and(|word| word >> (last & 63) & 1 == 1)
}

/// For each character the places of a piece where it may stand.
struct Masks {
    words: usize,
    /// Rows of words; the first is of the characters that only `?` takes.
    rows: Vec<u64>,
    /// The row of each ASCII character.
    ascii: [usize; 128],
    /// The rows of the others.
    others: HashMap<u32, usize>,
}

impl Masks {
    fn new(piece: &[Glyph]) -> Masks {
        let words = piece.len().div_ceil(64);
        let mut masks =
            Masks { words, rows: vec![0; words], ascii: [0; 128], others: HashMap::new() };
        for (i, _) in piece.iter().enumerate().filter(|(_, glyph)| **glyph == ANY) {
            masks.set(0, i);
        }
        for (i, glyph) in piece.iter().enumerate().filter(|(_, glyph)| **glyph != ANY) {
            let mut row = masks.row(*glyph);
            if row == 0 {
                row = masks.rows.len();
                masks.rows.extend_from_within(..words);
                match usize::try_from(*glyph).ok().and_then(|c| masks.ascii.get_mut(c)) {
                    Some(slot) => *slot = row,
                    None => {
                        masks.others.insert(*glyph, row);
                    }
                }
            }
            masks.set(row, i);
        }
        masks
    }

    fn set(&mut self, row: usize, place: usize) {
        if let Some(word) = self.rows.get_mut(row.saturating_add(place >> 6)) {
            *word |= 1u64 << (place & 63);
        }
    }

    fn row(&self, char: u32) -> usize {
        match usize::try_from(char).ok().and_then(|c| self.ascii.get(c)) {
            Some(row) => *row,
            None => self.others.get(&char).copied().unwrap_or(0),
        }
    }

    fn of(&self, char: u32) -> &[u64] {
        let row = self.row(char);
        self.rows.get(row..row.saturating_add(self.words)).unwrap_or_default()
    }
}

/// The characters of a byte string with their ranges; a stray octet is 0x110000 + itself.
pub struct Characters<'a> {
    /// What has not been read.
    pub rest: &'a [u8],
    /// The offset of the rest.
    pub at: usize,
}

impl Iterator for Characters<'_> {
    type Item = (u32, Range<usize>);

    fn next(&mut self) -> Option<Self::Item> {
        let (first, others) = self.rest.split_first()?;
        let len = match first {
            0..=0x7f => 1,
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 0,
        };
        let text = self.rest.get(..len).and_then(|b| std::str::from_utf8(b).ok());
        let (char, rest, len) = match text.and_then(|text| text.chars().next()) {
            Some(char) => (u32::from(char), self.rest.get(len..).unwrap_or_default(), len),
            None => (u32::from(*first).saturating_add(0x11_0000), others, 1),
        };
        let start = self.at;
        self.at = self.at.saturating_add(len);
        self.rest = rest;
        Some((char, start..self.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(key: &str, value: &str) -> Option<Vec<String>> {
        let glob = Glob::new(key.as_bytes(), Fold::Ascii);
        let found = glob.matches(value.as_bytes(), Fold::Ascii)?;
        Some(found.into_iter().map(|r| value[r].to_string()).collect())
    }

    #[test]
    fn stars_take_as_little_as_possible_from_the_left() {
        assert_eq!(run("*-*", "a-b-c"), Some(vec!["a".into(), "b-c".into()]));
        assert_eq!(run("*a*a*", "xaayaz").unwrap(), ["x", "", "yaz"]);
        assert_eq!(run("?*é?", "aébÉéc").unwrap(), ["a", "ébÉ", "c"]);
        assert_eq!(run("", ""), Some(vec![]));
        assert_eq!(run("*", "").unwrap(), [""]);
        assert_eq!(run("a*a", "a"), None);
        assert_eq!(run("*foo", "foofoo").unwrap(), ["foo"]);
    }

    #[test]
    fn a_backslash_takes_a_wildcard_literally() {
        assert!(run(r"\*\?\\", r"*?\").is_some());
        assert!(run(r"\*", "x").is_none());
    }

    #[test]
    fn long_pieces_with_wildcards_are_found_across_words() {
        let piece = "ab?".repeat(50);
        let value = format!("{}{}{}", "ab".repeat(40), "abc".repeat(50), "zz");
        let found = run(&format!("*{piece}*"), &value).unwrap();
        assert_eq!(found.first().unwrap().len(), 80);
        assert_eq!(found.last().unwrap(), "zz");
    }

    #[test]
    fn the_bomb_of_backtracking_matchers_takes_linear_time() {
        let value = "a".repeat(1 << 20);
        let key = format!("{}b", "*a?".repeat(300));
        let begun = std::time::Instant::now();
        assert!(run(&key, &value).is_none());
        assert!(begun.elapsed().as_secs() < 20);
    }
}
