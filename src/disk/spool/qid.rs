//! Queue ids: 60 bits, written as 12 characters of lower-case base32.
//!
//! 34 bits of seconds since 1970 (until the year 2514) above a counter of 26
//! bits that begins at random.  Each id is greater than the one before, also
//! if somebody sets the clock back; and since the digits are those of RFC 4648 7
//! (`0-9a-v`), names sort as the ids do.
//!
//! None is ever used twice, also after a restart, when those of messages that
//! are gone by now are known to nobody here: smtp may still be writing to one,
//! or be about to ask what became of it.  So a process uses no id of the second
//! in which it began, nor of one before: [`Qids::first_second`] is waited for.

use std::fmt;
use std::path::PathBuf;
use std::sync::Mutex;

use crate::base::lock;
use crate::sys::rand;

const COUNTER_BITS: u32 = 26;
const COUNTER: u64 = (1 << COUNTER_BITS) - 1;
const SECONDS: u64 = (1 << 34) - 1;
const DIGITS: &[u8; 32] = b"0123456789abcdefghijklmnopqrstuv";

/// Characters of an id.
pub const LEN: usize = 12;

/// The id of a message in the queue.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Qid(u64);

impl Qid {
    /// The id with these 60 bits; `None` if there are more.
    pub const fn from_bits(bits: u64) -> Option<Qid> {
        if bits >> 60 == 0 {
            Some(Qid(bits))
        } else {
            None
        }
    }

    /// The 60 bits.
    pub const fn bits(self) -> u64 {
        self.0
    }

    /// Parses exactly twelve digits: also the check that a file name or a word
    /// from the command line can be used in a path.
    pub fn parse(text: &[u8]) -> Option<Qid> {
        if text.len() != LEN {
            return None;
        }
        let mut bits = 0u64;
        for b in text {
            let digit = DIGITS.iter().position(|d| d == b)?;
            bits = (bits << 5) | u64::try_from(digit).ok()?;
        }
        Some(Qid(bits))
    }

    /// The name of its file.
    pub fn file_name(self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl fmt::Display for Qid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for shift in (0..LEN).rev() {
            let shift = u32::try_from(shift).unwrap_or(0).saturating_mul(5);
            let digit = usize::try_from((self.0 >> shift) & 31).unwrap_or(0);
            let byte = DIGITS.get(digit).copied().unwrap_or(b'0');
            fmt::Write::write_char(f, char::from(byte))?;
        }
        Ok(())
    }
}

impl fmt::Debug for Qid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Makes ids.  Any thread.
#[derive(Debug)]
pub struct Qids {
    began: i64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    last: u64,
    counter: u64,
}

impl Qids {
    /// Of a process that begins in the second `secs` since 1970, or that finds
    /// traces of another from then.
    pub fn after(secs: i64) -> Qids {
        Qids::starting_at(secs, u64::from(rand::u32()))
    }

    fn starting_at(secs: i64, counter: u64) -> Qids {
        let last = (seconds(secs) << COUNTER_BITS) | COUNTER;
        Qids { began: secs, state: Mutex::new(State { last, counter: counter & COUNTER }) }
    }

    /// True if `secs` is the second in which the process began: ids wait for the
    /// next.
    pub const fn first_second(&self, secs: i64) -> bool {
        secs == self.began
    }

    /// Tells of an id that was used before: those to come are greater.
    pub fn seen(&self, qid: Qid) {
        let mut state = lock::lock(&self.state);
        state.last = state.last.max(qid.0);
    }

    /// A fresh id; `secs` is the present.
    pub fn next(&self, secs: i64) -> Qid {
        let mut state = lock::lock(&self.state);
        state.counter = state.counter.wrapping_add(1) & COUNTER;
        let fresh = (seconds(secs) << COUNTER_BITS) | state.counter;
        // The clock went back, or the counter around within a second.
        state.last = fresh.max(state.last.saturating_add(1));
        Qid(state.last)
    }
}

fn seconds(secs: i64) -> u64 {
    u64::try_from(secs).unwrap_or(0).min(SECONDS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_written_and_read() {
        for bits in [0, 1, 31, 32, (1 << 60) - 1, 0x0123_4567_89ab_cdef] {
            let qid = Qid::from_bits(bits).unwrap();
            let text = qid.to_string();
            assert_eq!(text.len(), LEN);
            assert_eq!(Qid::parse(text.as_bytes()), Some(qid));
        }
        assert_eq!(Qid::from_bits(1 << 60), None);
        for bad in ["", "0", "00000000000w", "0000000000000", "../../../etc", "00000000000A"] {
            assert_eq!(Qid::parse(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn ids_only_grow_whatever_the_clock_does() {
        let qids = Qids::starting_at(0, COUNTER - 3);
        let mut last = Qid(0);
        for secs in [100, 100, 100, 100, 100, 101, 50, -7, 0, 101, 102, i64::MAX, 5] {
            let qid = qids.next(secs);
            assert!(qid > last, "{secs}");
            assert!(qid.to_string() > last.to_string());
            last = qid;
        }
        let fresh = Qids::after(0);
        fresh.seen(last);
        assert!(fresh.next(100) > last);
    }
}
