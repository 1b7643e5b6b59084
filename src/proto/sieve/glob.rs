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

/// A character of the value: folded, and where it came from.
#[derive(Clone, Copy, Debug)]
struct Unit {
    folded: u32,
    from: usize,
    to: usize,
}

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
        let mut units = Vec::with_capacity(value.len());
        for (char, range) in (Characters { rest: value, at: 0 }) {
            fold.each(char, &mut |folded| {
                units.push(Unit { folded, from: range.start, to: range.end });
            });
        }
        let mut found = Vec::new();
        let (first, others) = self.pieces.split_first()?;
        let Some((last, middle)) = others.split_last() else {
            return (first.len() == units.len() && holds(first, &units, &mut found))
                .then_some(found);
        };
        let mut at = 0;
        if !holds(first, &units, &mut found) {
            return None;
        }
        at = first.len().max(at);
        for piece in middle {
            let rest = units.get(at..)?;
            let start = at.checked_add(search(piece, rest)?)?;
            found.push(span(&units, at..start, value.len()));
            holds(piece, units.get(start..)?, &mut found);
            at = start.checked_add(piece.len())?;
        }
        let start = units.len().checked_sub(last.len()).filter(|start| *start >= at)?;
        found.push(span(&units, at..start, value.len()));
        holds(last, units.get(start..)?, &mut found).then_some(found)
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

/// True if the piece stands at the beginning of `units`; adds what its `?` matched.
fn holds(piece: &[Glyph], units: &[Unit], found: &mut Vec<Range<usize>>) -> bool {
    let Some(units) = units.get(..piece.len()) else { return false };
    let equal = piece.iter().zip(units).all(|(glyph, unit)| *glyph == ANY || *glyph == unit.folded);
    if equal {
        let any = piece.iter().zip(units).filter(|(glyph, _)| **glyph == ANY);
        found.extend(any.map(|(_, unit)| unit.from..unit.to));
    }
    equal
}

/// The octets of a run of units.
fn span(units: &[Unit], range: Range<usize>, end: usize) -> Range<usize> {
    let at = |i: usize| units.get(i).map_or(end, |unit| unit.from);
    at(range.start)..at(range.end).max(at(range.start))
}

/// The first place in `units` where the piece stands: Shift-And over words of 64 places.
fn search(piece: &[Glyph], units: &[Unit]) -> Option<usize> {
    let words = piece.len().div_ceil(64);
    if words == 0 {
        return Some(0);
    }
    let mut any = vec![0u64; words];
    let mut masks: HashMap<u32, Vec<u64>> = HashMap::new();
    for (i, glyph) in piece.iter().enumerate() {
        let bit = 1u64 << (i & 63);
        let mask = match *glyph {
            ANY => &mut any,
            char => masks.entry(char).or_insert_with(|| vec![0; words]),
        };
        if let Some(word) = mask.get_mut(i >> 6) {
            *word |= bit;
        }
    }
    for mask in masks.values_mut() {
        mask.iter_mut().zip(&any).for_each(|(word, any)| *word |= any);
    }
    let last = piece.len().saturating_sub(1);
    let mut state = vec![0u64; words];
    for (i, unit) in units.iter().enumerate() {
        let mask = masks.get(&unit.folded).unwrap_or(&any);
        let mut carry = 1;
        for (word, mask) in state.iter_mut().zip(mask) {
            let out = *word >> 63;
            *word = (*word << 1 | carry) & mask;
            carry = out;
        }
        if state.last().is_some_and(|word| word >> (last & 63) & 1 == 1) {
            return i.checked_sub(last);
        }
    }
    None
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
