//! A position in a byte string, for parsers that never index.
//!
//! All parsers of `proto` and `conf` read through this: no method panics, none
//! copies, and each consumes only what it returns.  A rule that fails puts the
//! cursor back with [`Cursor::seek`] to the place that [`Cursor::pos`] gave.

/// Bytes and the place reached in them.
#[derive(Clone, Copy, Debug)]
pub struct Cursor<'a> {
    all: &'a [u8],
    pos: usize,
}

impl<'a> Cursor<'a> {
    /// Begins at the first byte of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Cursor { all: bytes, pos: 0 }
    }

    /// The offset of the next byte from the start.
    pub const fn pos(&self) -> usize {
        self.pos
    }

    /// Goes to an offset that [`Cursor::pos`] gave; past the end means the end.
    pub fn seek(&mut self, pos: usize) {
        self.pos = pos.min(self.all.len());
    }

    /// What has not been read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.all.get(self.pos..).unwrap_or_default()
    }

    /// How many bytes are left.
    pub fn left(&self) -> usize {
        self.rest().len()
    }

    /// True when nothing is left.
    pub fn at_end(&self) -> bool {
        self.rest().is_empty()
    }

    /// The bytes from an earlier offset to here.
    pub fn since(&self, start: usize) -> &'a [u8] {
        self.all.get(start..self.pos).unwrap_or_default()
    }

    /// The next byte, not consumed.
    pub fn peek(&self) -> Option<u8> {
        self.all.get(self.pos).copied()
    }

    /// The byte `n` places after the next one, not consumed.
    pub fn peek_at(&self, n: usize) -> Option<u8> {
        self.rest().get(n).copied()
    }

    /// Consumes and gives the next byte.
    pub fn next_byte(&mut self) -> Option<u8> {
        let b = self.peek()?;
        self.pos = self.pos.saturating_add(1);
        Some(b)
    }

    /// Consumes `byte` if it is next.
    pub fn eat(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        if found {
            self.pos = self.pos.saturating_add(1);
        }
        found
    }

    /// Consumes `word` if it is next, to the letter.
    pub fn eat_exact(&mut self, word: &[u8]) -> bool {
        let found = self.rest().starts_with(word);
        if found {
            self.pos = self.pos.saturating_add(word.len());
        }
        found
    }

    /// Consumes `word` if it is next, ASCII case folded.
    pub fn eat_word(&mut self, word: &[u8]) -> bool {
        let found = self.rest().get(..word.len()).is_some_and(|w| w.eq_ignore_ascii_case(word));
        if found {
            self.pos = self.pos.saturating_add(word.len());
        }
        found
    }

    /// Consumes CRLF if it is next.
    pub fn eat_crlf(&mut self) -> bool {
        self.eat_exact(b"\r\n")
    }

    /// Consumes exactly `n` bytes; none if fewer are left.
    pub fn take(&mut self, n: usize) -> Option<&'a [u8]> {
        let bytes = self.rest().get(..n)?;
        self.pos = self.pos.saturating_add(n);
        Some(bytes)
    }

    /// Consumes the bytes, perhaps none, for which `f` holds.
    pub fn take_while(&mut self, f: impl Fn(u8) -> bool) -> &'a [u8] {
        let rest = self.rest();
        let n = rest.iter().position(|b| !f(*b)).unwrap_or(rest.len());
        self.pos = self.pos.saturating_add(n);
        rest.get(..n).unwrap_or_default()
    }

    /// Like [`Cursor::take_while`], but at least one byte, or nothing is consumed.
    pub fn take_while1(&mut self, f: impl Fn(u8) -> bool) -> Option<&'a [u8]> {
        Some(self.take_while(f)).filter(|b| !b.is_empty())
    }

    /// Consumes up to, not including, the first `byte`; `None` if there is none.
    pub fn take_until(&mut self, byte: u8) -> Option<&'a [u8]> {
        let n = memchr::memchr(byte, self.rest())?;
        self.take(n)
    }

    /// Consumes a run of decimal digits that fits the type.
    ///
    /// Nothing is consumed without a digit or when the number is too large.
    pub fn number(&mut self) -> Option<u64> {
        let start = self.pos;
        let mut n: u64 = 0;
        for d in self.take_while1(|b| b.is_ascii_digit())? {
            let next =
                n.checked_mul(10).and_then(|n| n.checked_add(u64::from(d.wrapping_sub(b'0'))));
            match next {
                Some(next) => n = next,
                None => {
                    self.pos = start;
                    return None;
                }
            }
        }
        Some(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn number_refuses_overflow_and_consumes_nothing() {
        let mut c = Cursor::new(b"18446744073709551616");
        assert_eq!(c.number(), None);
        assert_eq!(c.pos(), 0);
        assert_eq!(Cursor::new(b"18446744073709551615x").number(), Some(u64::MAX));
    }

    #[test]
    fn take_past_the_end_consumes_nothing() {
        let mut c = Cursor::new(b"abc");
        assert_eq!(c.take(4), None);
        assert_eq!(c.take(3), Some(&b"abc"[..]));
        assert!(c.at_end());
        assert_eq!(c.next_byte(), None);
    }

    #[test]
    fn eat_word_folds_case() {
        let mut c = Cursor::new(b"MaIl FROM");
        assert!(c.eat_word(b"mail"));
        assert!(!c.eat_word(b"from"));
        assert!(c.eat(b' '));
        assert!(c.eat_word(b"from"));
    }
}
