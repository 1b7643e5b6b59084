//! Changes to a message, as data: the received body is never rewritten.
//!
//! *Runs in* smtp (submission fix-ups, trace field), filter (verdict header
//! fields), queue (kept as a record of the spool file), and wherever a message
//! is read.  *Trusts* nothing: [`Edits::push`] refuses what is out of order,
//! overlaps or exceeds the bounds, so an `Edits` is always well formed.
//! Offsets count octets of the body as received (after dot removal, CRLF).

use crate::proto::limits;

/// One change at a place of the unchanged body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// These bytes come before the body's octet `offset`.
    Insert {
        /// Where, in octets of the body; the body's length means the end.
        offset: u64,
        /// What; whole lines with CRLF, or a piece within one.
        bytes: Vec<u8>,
    },
    /// `len` octets from `offset` on are left out.
    Delete {
        /// The first octet that is left out.
        offset: u64,
        /// How many octets.
        len: u64,
    },
}

impl Edit {
    /// The place in the body where this change begins.
    pub const fn offset(&self) -> u64 {
        match self {
            Edit::Insert { offset, .. } | Edit::Delete { offset, .. } => *offset,
        }
    }

    /// The first octet of the body after this change.
    pub const fn end(&self) -> u64 {
        match self {
            Edit::Insert { offset, .. } => *offset,
            Edit::Delete { offset, len } => offset.saturating_add(*len),
        }
    }
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EditError {
    /// It begins before the end of the one before it, or overflows.
    Order,
    /// There are too many changes, or too many bytes to insert.
    TooMany,
    /// It reaches past the end of the body.
    PastEnd,
}

/// Changes in the order of their places, not overlapping, bounded.
///
/// Insertions at one place stand in the order in which they are read out; a
/// deletion at the same place comes after them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edits {
    list: Vec<Edit>,
    inserted: usize,
}

impl Edits {
    /// No change at all.
    pub const fn new() -> Self {
        Edits { list: Vec::new(), inserted: 0 }
    }

    /// Adds a change after all others.  A change of nothing is dropped.
    pub fn push(&mut self, edit: Edit) -> Result<(), EditError> {
        let last = self.list.last().map_or(0, Edit::end);
        if edit.offset() < last {
            return Err(EditError::Order);
        }
        let inserted = match &edit {
            Edit::Insert { bytes, .. } if bytes.is_empty() => return Ok(()),
            Edit::Insert { bytes, .. } => bytes.len(),
            Edit::Delete { len: 0, .. } => return Ok(()),
            Edit::Delete { offset, len } => {
                offset.checked_add(*len).ok_or(EditError::Order)?;
                0
            }
        };
        self.count(inserted)?;
        self.list.push(edit);
        Ok(())
    }

    /// Puts header fields, with their CRLF, above everything else.
    pub fn prepend(&mut self, bytes: Vec<u8>) -> Result<(), EditError> {
        if bytes.is_empty() {
            return Ok(());
        }
        self.count(bytes.len())?;
        self.list.insert(0, Edit::Insert { offset: 0, bytes });
        Ok(())
    }

    fn count(&mut self, more: usize) -> Result<(), EditError> {
        let inserted = self.inserted.saturating_add(more);
        if self.list.len() >= limits::EDITS.size() || inserted > limits::EDIT_OCTETS.size() {
            return Err(EditError::TooMany);
        }
        self.inserted = inserted;
        Ok(())
    }

    /// The changes in order.
    pub fn as_slice(&self) -> &[Edit] {
        &self.list
    }

    /// True when the message is read out as it came.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The size of the changed message; an error if a change is outside `body` octets.
    pub fn size(&self, body: u64) -> Result<u64, EditError> {
        let mut size = body;
        for edit in &self.list {
            if edit.end() > body {
                return Err(EditError::PastEnd);
            }
            size = match edit {
                Edit::Insert { bytes, .. } => {
                    size.saturating_add(u64::try_from(bytes.len()).unwrap_or(u64::MAX))
                }
                Edit::Delete { len, .. } => size.saturating_sub(*len),
            };
        }
        Ok(size)
    }

    /// Begins to read a body with these changes.
    pub fn splice(&self) -> Splice<'_> {
        Splice { edits: &self.list, pos: 0 }
    }
}

/// Reads a body in chunks of any size and gives the changed message.
#[derive(Clone, Debug)]
pub struct Splice<'e> {
    edits: &'e [Edit],
    pos: u64,
}

impl Splice<'_> {
    /// Takes the next chunk of the body; `out` gets the pieces of the message in order.
    pub fn feed(&mut self, chunk: &[u8], mut out: impl FnMut(&[u8])) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let Some((edit, later)) = self.edits.split_first() else {
                out(rest);
                self.advance(&mut rest, usize::MAX);
                return;
            };
            let before = edit.offset().saturating_sub(self.pos);
            if before > 0 {
                let n = usize::try_from(before).unwrap_or(usize::MAX).min(rest.len());
                out(rest.get(..n).unwrap_or_default());
                self.advance(&mut rest, n);
                continue;
            }
            match edit {
                Edit::Insert { bytes, .. } => out(bytes),
                Edit::Delete { .. } => {
                    let left = edit.end().saturating_sub(self.pos);
                    let n = usize::try_from(left).unwrap_or(usize::MAX);
                    self.advance(&mut rest, n);
                    if self.pos < edit.end() {
                        return; // the deletion goes on in the next chunk
                    }
                }
            }
            self.edits = later;
        }
    }

    /// Gives what stands at the body's end.  Call it once, after the last chunk.
    pub fn finish(&mut self, mut out: impl FnMut(&[u8])) {
        for edit in std::mem::take(&mut self.edits) {
            if let Edit::Insert { bytes, .. } = edit {
                out(bytes);
            }
        }
    }

    fn advance(&mut self, rest: &mut &[u8], n: usize) {
        let n = n.min(rest.len());
        *rest = rest.get(n..).unwrap_or_default();
        self.pos = self.pos.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edits(list: &[Edit]) -> Edits {
        let mut edits = Edits::new();
        for edit in list {
            edits.push(edit.clone()).unwrap();
        }
        edits
    }

    fn insert(offset: u64, text: &str) -> Edit {
        Edit::Insert { offset, bytes: text.as_bytes().to_vec() }
    }

    fn read(edits: &Edits, body: &[u8], step: usize) -> Vec<u8> {
        let mut got = Vec::new();
        let mut splice = edits.splice();
        for chunk in body.chunks(step) {
            splice.feed(chunk, |b| got.extend_from_slice(b));
        }
        splice.finish(|b| got.extend_from_slice(b));
        got
    }

    #[test]
    fn every_split_of_the_body_gives_the_same_message() {
        let mut e = edits(&[
            insert(0, "A"),
            insert(0, "B"),
            Edit::Delete { offset: 2, len: 3 },
            insert(5, "C"),
            Edit::Delete { offset: 5, len: 1 },
            insert(10, "Z"),
        ]);
        e.prepend(b"^".to_vec()).unwrap();
        for step in 1..=10 {
            assert_eq!(read(&e, b"0123456789", step), b"^AB01C6789Z", "step {step}");
        }
        assert_eq!(e.size(10), Ok(10 + 5 - 4));
        assert_eq!(e.size(9), Err(EditError::PastEnd));
    }

    #[test]
    fn an_empty_body_gets_its_insertions() {
        assert_eq!(read(&edits(&[insert(0, "Received: x\r\n")]), b"", 1), b"Received: x\r\n");
    }

    #[test]
    fn overlap_disorder_and_overflow_are_refused() {
        let mut e = edits(&[Edit::Delete { offset: 2, len: 3 }]);
        assert_eq!(e.push(insert(4, "x")), Err(EditError::Order));
        assert_eq!(e.push(Edit::Delete { offset: 9, len: u64::MAX }), Err(EditError::Order));
        assert_eq!(e.push(insert(5, "x")), Ok(()));
    }

    #[test]
    fn count_and_octets_are_bounded() {
        let mut e = Edits::new();
        for _ in 0..limits::EDITS.size() {
            e.push(insert(0, "x")).unwrap();
        }
        assert_eq!(e.push(insert(0, "x")), Err(EditError::TooMany));
        let big = vec![b'x'; limits::EDIT_OCTETS.size() + 1];
        assert_eq!(Edits::new().prepend(big), Err(EditError::TooMany));
    }
}
