//! Where octets of the wire lie in a file whose line ends may be a LF alone.
//!
//! A client asks for octets as the wire counts them, CRLF for every line end; a
//! file is read by its own.  [`Lines`] is made in one pass over the file and
//! remembers at every so many octets how many bare LFs stood before, so that any
//! octet of the wire is found by reading from a little before it.  Its size is
//! bounded: where the file is long the marks are further apart.  RFC 3501 6.4.5.

use crate::proto::mime::Extent;

/// Octets from one mark to the next in a file that is not long.
const STRIDE: u64 = 32 * 1024;
/// The most marks: 16 KiB of them.
const MARKS: usize = 2048;

/// The line ends of a file that has been read through.
#[derive(Clone, Debug)]
pub struct Lines {
    stride: u64,
    /// For each stride the bare LFs before its end, twice, and 1 if the octet before is a CR.
    marks: Vec<u64>,
    octets: u64,
    bare_lf: u64,
    line_ends: u64,
    cr: bool,
}

/// Where to begin to read for an octet of the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The offset in the file.
    pub offset: u64,
    /// Octets of the wire that come before the one that is wanted.
    pub skip: u64,
    /// The octet before the offset is a CR.
    pub after_cr: bool,
}

impl Default for Lines {
    fn default() -> Self {
        Lines::new()
    }
}

impl Lines {
    /// Of an empty file.
    pub const fn new() -> Lines {
        Lines { stride: STRIDE, marks: Vec::new(), octets: 0, bare_lf: 0, line_ends: 0, cr: false }
    }

    /// Takes the next octets of the file.
    pub fn feed(&mut self, piece: &[u8]) {
        let mut rest = piece;
        while !rest.is_empty() {
            let to_mark = self.stride.saturating_sub(self.beyond_mark());
            let n = usize::try_from(to_mark).unwrap_or(usize::MAX).min(rest.len());
            let (part, after) = rest.split_at_checked(n).unwrap_or((rest, &[]));
            self.count(part);
            rest = after;
            if self.beyond_mark() == 0 {
                self.mark();
            }
        }
    }

    /// Octets since the last mark, or since the place where one would be.
    fn beyond_mark(&self) -> u64 {
        self.octets.checked_rem(self.stride).unwrap_or(0)
    }

    fn count(&mut self, part: &[u8]) {
        for at in memchr::memchr_iter(b'\n', part) {
            let after_cr = match at.checked_sub(1) {
                Some(before) => part.get(before) == Some(&b'\r'),
                None => self.cr,
            };
            self.line_ends = self.line_ends.saturating_add(1);
            self.bare_lf = self.bare_lf.saturating_add(u64::from(!after_cr));
        }
        self.cr = part.last() == Some(&b'\r');
        self.octets = self.octets.saturating_add(u64::try_from(part.len()).unwrap_or(u64::MAX));
    }

    fn mark(&mut self) {
        self.marks.push(self.bare_lf.saturating_mul(2).saturating_add(u64::from(self.cr)));
        if self.marks.len() >= MARKS {
            // Every second one stays: that of the end of each longer stride.
            let mut stays = true;
            self.marks.retain(|_| {
                stays = !stays;
                stays
            });
            self.stride = self.stride.saturating_mul(2);
        }
    }

    /// The whole file.
    pub const fn whole(&self) -> Extent {
        Extent {
            start: 0,
            end: self.octets,
            lines: self.line_ends,
            bare_lf: self.bare_lf,
            bare_lf_before: 0,
        }
    }

    /// Where to begin for what comes after the first `skip` octets, as the wire
    /// counts them, of a range of the file: less than a stride before it.
    pub fn place(&self, within: &Extent, skip: u64) -> Place {
        let wanted = within.wire_start().saturating_add(skip);
        // Marks ascend on the wire as in the file.
        let marks = self.marks.iter().zip(1u64..);
        let before = marks.take_while(|(mark, n)| self.wire(**mark, *n) <= wanted).last();
        if let Some((mark, n)) = before {
            let offset = n.saturating_mul(self.stride);
            if offset > within.start {
                let skip = wanted.saturating_sub(self.wire(*mark, n));
                return Place { offset, skip, after_cr: mark & 1 == 1 };
            }
        }
        Place { offset: within.start, skip, after_cr: false }
    }

    /// Where the n-th mark is on the wire.
    fn wire(&self, mark: u64, n: u64) -> u64 {
        n.saturating_mul(self.stride).saturating_add(mark / 2)
    }
}

#[cfg(test)]
mod tests {
    use super::super::section::Wire;
    use super::*;

    /// A file with line ends of both kinds, some of them across a mark.
    fn mixed(octets: usize) -> Vec<u8> {
        let mut seed = 7u32;
        let mut file = Vec::with_capacity(octets);
        while file.len() < octets {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            file.extend_from_slice(match seed >> 29 {
                0 => &b"\r\n"[..],
                1 => b"\n",
                2 => b"\r",
                _ => b"text",
            });
        }
        file
    }

    fn of(file: &[u8], piece: usize) -> Lines {
        let mut lines = Lines::new();
        file.chunks(piece).for_each(|piece| lines.feed(piece));
        lines
    }

    #[test]
    fn every_octet_of_the_wire_is_found_from_a_little_before_it() {
        let file = mixed(200_000);
        let mut wire = Vec::new();
        Wire::whole().feed(&file, &mut wire);
        let lines = of(&file, 1000);
        let whole = lines.whole();
        assert_eq!((whole.octets(), whole.wire_octets()), (file.len() as u64, wire.len() as u64));
        assert_eq!(whole.lines, file.iter().filter(|b| **b == b'\n').count() as u64);
        for skip in (0..wire.len() - 100).step_by(97) {
            let place = lines.place(&whole, skip as u64);
            assert!(place.skip <= 2 * STRIDE, "{place:?}");
            let mut out = Vec::new();
            Wire::window_at(place.skip, 100, place.after_cr)
                .feed(&file[place.offset as usize..], &mut out);
            assert_eq!(out, &wire[skip..skip + 100], "{skip}");
        }
    }

    #[test]
    fn a_range_is_never_begun_before_it_begins() {
        let file = mixed(200_000);
        let start = 100_001;
        let head = of(&file[..start], 999).whole();
        let range = Extent {
            start: start as u64,
            end: file.len() as u64,
            bare_lf_before: head.bare_lf,
            ..Extent::default()
        };
        let mut wire = Vec::new();
        Wire::whole().feed(&file[start..], &mut wire);
        let lines = of(&file, file.len());
        for skip in (0..wire.len() - 50).step_by(331) {
            let place = lines.place(&range, skip as u64);
            assert!(place.offset >= range.start);
            let mut out = Vec::new();
            Wire::window_at(place.skip, 50, place.after_cr)
                .feed(&file[place.offset as usize..], &mut out);
            assert_eq!(out, &wire[skip..skip + 50], "{skip}");
        }
    }

    #[test]
    fn a_long_file_has_no_more_marks_than_another() {
        let piece = "a line of text\n".repeat(70_000).into_bytes();
        let mut lines = Lines::new();
        for _ in 0..200 {
            lines.feed(&piece);
        }
        assert!(lines.marks.len() < MARKS && lines.stride > STRIDE, "{}", lines.stride);
        let whole = lines.whole();
        assert_eq!(whole.bare_lf, 200 * 70_000);
        for skip in (0..whole.wire_octets()).step_by(1_000_003) {
            let place = lines.place(&whole, skip);
            assert!(place.skip <= lines.stride + lines.stride / 15, "{place:?}");
            // A line has 15 octets in the file and 16 on the wire.
            assert_eq!(place.offset + place.offset / 15 + place.skip, skip, "{place:?}");
        }
    }
}
