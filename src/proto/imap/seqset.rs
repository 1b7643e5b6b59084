//! Sets of message numbers: as a client writes them, and as ranges.
//!
//! `sequence-set = (seq-number / seq-range) *("," sequence-set)`,
//! `seq-number = nz-number / "*"`.  Order and overlap mean nothing, so a set is
//! resolved against the largest number in use into sorted, disjoint ranges; a
//! message is looked up by binary search however the client wrote the set.
//! RFC 3501 6.4.8, 9.

use super::lex::{self, Fault, Parsed};
use crate::proto::cursor::Cursor;

/// seq-number = nz-number / "*"
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SeqNumber {
    /// A number.
    Number(u32),
    /// The largest number in use.
    Star,
}

impl SeqNumber {
    fn or(self, largest: u32) -> u32 {
        match self {
            SeqNumber::Number(n) => n,
            SeqNumber::Star => largest,
        }
    }
}

/// A set as the client wrote it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeqSet(Vec<(SeqNumber, SeqNumber)>);

impl SeqSet {
    /// Reads a set.  Its length is bounded by that of the command.
    pub fn parse(c: &mut Cursor<'_>) -> Parsed<SeqSet> {
        let mut ranges = Vec::new();
        loop {
            let first = seq_number(c)?;
            let last = if c.eat(b':') { seq_number(c)? } else { first };
            ranges.push((first, last));
            if !c.eat(b',') {
                return Ok(SeqSet(ranges));
            }
        }
    }

    /// The set as ranges, `*` being `largest`.
    ///
    /// `largest` of 0 says that there are no messages; `*` then names none,
    /// and a range with `*` at one end only what the other end names.
    /// A range is the same read backwards: `4:2` is `2:4`.
    pub fn resolve(&self, largest: u32) -> Ranges {
        let mut ranges = Vec::with_capacity(self.0.len());
        for (first, last) in &self.0 {
            let (a, b) = (first.or(largest), last.or(largest));
            let (low, high) = (a.min(b), a.max(b));
            if high > 0 {
                ranges.push((low.max(1), high));
            }
        }
        Ranges::from_unsorted(ranges)
    }

    /// The largest number written, `*` left aside; 0 if there is none.
    pub fn largest_number(&self) -> u32 {
        let number = |n: &SeqNumber| n.or(0);
        self.0.iter().map(|(a, b)| number(a).max(number(b))).max().unwrap_or(0)
    }

    /// True if `*` occurs.
    pub fn has_star(&self) -> bool {
        self.0.iter().any(|(a, b)| *a == SeqNumber::Star || *b == SeqNumber::Star)
    }
}

fn seq_number(c: &mut Cursor<'_>) -> Parsed<SeqNumber> {
    if c.eat(b'*') {
        return Ok(SeqNumber::Star);
    }
    lex::nz_number(c).map(SeqNumber::Number).map_err(|_| Fault::SeqSet)
}

/// Sorted, disjoint, non-adjacent ranges of numbers, both ends included.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ranges(Vec<(u32, u32)>);

impl Ranges {
    /// No number at all.
    pub const fn new() -> Ranges {
        Ranges(Vec::new())
    }

    /// One range; empty if `first` is over `last`.
    pub fn span(first: u32, last: u32) -> Ranges {
        Ranges::from_unsorted(vec![(first, last)])
    }

    fn from_unsorted(mut ranges: Vec<(u32, u32)>) -> Ranges {
        ranges.retain(|(first, last)| first <= last);
        ranges.sort_unstable();
        let mut out: Vec<(u32, u32)> = Vec::with_capacity(ranges.len());
        for (first, last) in ranges {
            match out.last_mut() {
                Some(top) if first <= top.1.saturating_add(1) => top.1 = top.1.max(last),
                _ => out.push((first, last)),
            }
        }
        Ranges(out)
    }

    /// Adds a number; cheapest if it is above all others.
    pub fn insert(&mut self, n: u32) {
        match self.0.last_mut() {
            Some(top) if n == top.1.saturating_add(1) => top.1 = n,
            Some(top) if n <= top.1 => {
                if !self.contains(n) {
                    let mut all = std::mem::take(&mut self.0);
                    all.push((n, n));
                    *self = Ranges::from_unsorted(all);
                }
            }
            _ => self.0.push((n, n)),
        }
    }

    /// True if the number is in the set.
    pub fn contains(&self, n: u32) -> bool {
        let i = self.0.partition_point(|(_, last)| *last < n);
        self.0.get(i).is_some_and(|(first, _)| *first <= n)
    }

    /// True if no number is in the set.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many numbers are in the set.
    pub fn count(&self) -> u64 {
        let len = |(a, b): &(u32, u32)| u64::from(b.saturating_sub(*a)).saturating_add(1);
        self.0.iter().map(len).fold(0, u64::saturating_add)
    }

    /// The smallest number.
    pub fn first(&self) -> Option<u32> {
        self.0.first().map(|r| r.0)
    }

    /// The largest number.
    pub fn last(&self) -> Option<u32> {
        self.0.last().map(|r| r.1)
    }

    /// The ranges, ascending.
    pub fn ranges(&self) -> &[(u32, u32)] {
        &self.0
    }

    /// Every number, ascending.  A range can be 2^32 long: a caller that has
    /// fewer messages walks those and asks [`Ranges::contains`].
    pub fn iter(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.iter().flat_map(|(first, last)| *first..=*last)
    }

    /// Appends the set in the client's notation.
    pub fn write(&self, out: &mut Vec<u8>) {
        for (i, (first, last)) in self.0.iter().enumerate() {
            if i > 0 {
                out.push(b',');
            }
            out.extend_from_slice(first.to_string().as_bytes());
            if last > first {
                out.push(b':');
                out.extend_from_slice(last.to_string().as_bytes());
            }
        }
    }
}

impl FromIterator<u32> for Ranges {
    fn from_iter<I: IntoIterator<Item = u32>>(numbers: I) -> Ranges {
        let mut set = Ranges::new();
        for n in numbers {
            set.insert(n);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(text: &str) -> SeqSet {
        let mut c = Cursor::new(text.as_bytes());
        let set = SeqSet::parse(&mut c).unwrap();
        assert!(c.at_end(), "{text}");
        set
    }

    #[test]
    fn overlap_order_and_direction_mean_nothing() {
        assert_eq!(set("2,4:7,9,12:*").resolve(15).ranges(), [(2, 2), (4, 7), (9, 9), (12, 15)]);
        assert_eq!(set("7:4,2,5:6,3").resolve(15).ranges(), [(2, 7)]);
        assert_eq!(set("*").resolve(15).ranges(), [(15, 15)]);
    }

    #[test]
    fn a_number_over_star_still_names_the_last_message() {
        // RFC 3501 6.4.8: UID 559:* always includes the last message.
        assert_eq!(set("559:*").resolve(3).ranges(), [(3, 559)]);
    }

    #[test]
    fn star_names_nothing_in_an_empty_mailbox() {
        assert!(set("*").resolve(0).is_empty());
        assert_eq!(set("1:*").resolve(0).ranges(), [(1, 1)]);
        assert!(set("1:*,*").has_star());
        assert_eq!(set("5,7:*").largest_number(), 7);
    }

    #[test]
    fn malformed_sets_are_refused() {
        for bad in ["", "0", "1:", ":1", "1,", "a", "1:2:3", "1,,2", "4294967296", "-1", "1:0"] {
            let mut c = Cursor::new(bad.as_bytes());
            let set = SeqSet::parse(&mut c);
            assert!(set.is_err() || !c.at_end(), "{bad}");
        }
    }

    #[test]
    fn ranges_know_their_numbers() {
        let r: Ranges = [1, 2, 3, 7, 9, 10, 5, 9].into_iter().collect();
        assert_eq!(r.ranges(), [(1, 3), (5, 5), (7, 7), (9, 10)]);
        assert_eq!(r.count(), 7);
        assert_eq!(r.iter().collect::<Vec<_>>(), [1, 2, 3, 5, 7, 9, 10]);
        assert!(r.contains(5) && !r.contains(4) && !r.contains(0) && !r.contains(11));
        let mut out = Vec::new();
        r.write(&mut out);
        assert_eq!(out, b"1:3,5,7,9:10");
        assert_eq!(set(std::str::from_utf8(&out).unwrap()).resolve(1), r);
    }

    #[test]
    fn the_whole_number_range_is_one_range() {
        let all = set("1:4294967295,4294967295:*").resolve(u32::MAX);
        assert_eq!(all.ranges(), [(1, u32::MAX)]);
        assert_eq!(all.count(), u64::from(u32::MAX));
    }
}
