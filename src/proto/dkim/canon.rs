//! Canonicalisation of headers and bodies.  RFC 6376 3.4.
//!
//! The body is read once for all signatures: [`BodyHashes`] keeps one
//! canonicaliser for each algorithm that is wanted and one digest for each
//! (algorithm, length).  What is canonical as it stands, which is most of any
//! message, goes to the digest from the chunk itself, uncopied, as much at a time
//! as there is; only around a change is it looked at byte by byte.
//!
//! A LF alone ends a line and counts as CRLF.  On the wire it does not occur
//! (SMTP refuses it); a message from a file verifies as it did on the wire.

use super::{Canon, Sha256};

/// CRLF.
pub(super) const CRLF: &[u8] = b"\r\n";

/// Appends a header field in canonical form, without its final line end.
/// RFC 6376 3.4.1, 3.4.2.
pub fn push_field(canon: Canon, raw: &[u8], out: &mut Vec<u8>) {
    let raw = crate::proto::mime::field::without_line_end(raw);
    match canon {
        Canon::Simple => {
            let mut before = 0;
            for b in raw {
                if *b == b'\n' && before != b'\r' {
                    out.push(b'\r');
                }
                out.push(*b);
                before = *b;
            }
        }
        Canon::Relaxed => {
            let colon = memchr::memchr(b':', raw).unwrap_or(raw.len());
            let (name, value) = raw.split_at_checked(colon).unwrap_or((raw, &[]));
            out.extend(name.trim_ascii_end().iter().map(u8::to_ascii_lowercase));
            out.push(b':');
            push_relaxed(value.get(1..).unwrap_or_default(), out);
        }
    }
}

/// Appends a value without its line ends, each run of white space as one space,
/// and none at either end.
fn push_relaxed(value: &[u8], out: &mut Vec<u8>) {
    let mut rest = value;
    let (mut space, mut begun) = (false, false);
    while !rest.is_empty() {
        // White space and line ends; a CR that is none of them is a word.
        let mut word: &[u8] = &[];
        while let Some((b, after)) = rest.split_first() {
            match b {
                b' ' | b'\t' => space = true,
                b'\n' => {}
                b'\r' if after.starts_with(b"\n") => {}
                b'\r' => word = b"\r",
                _ => break,
            }
            rest = after;
            if !word.is_empty() {
                break;
            }
        }
        if word.is_empty() {
            // Words, with the single spaces between them.
            let end = find_pair(rest, field_changes).unwrap_or(rest.len());
            word = rest.get(..end).unwrap_or(rest);
            word = word.strip_suffix(b" ").unwrap_or(word);
            rest = rest.get(word.len()..).unwrap_or_default();
        }
        if !word.is_empty() {
            if std::mem::take(&mut space) && begun {
                out.push(b' ');
            }
            begun = true;
            out.extend_from_slice(word);
        }
    }
}

/// What `relaxed` changes in a field: line ends, tabs, two spaces in a row.
const fn field_changes(before: u8, b: u8) -> bool {
    (b == b'\t') | (b == b'\r') | (b == b'\n') | ((before == b' ') & (b == b' '))
}

/// The digest of a canonical body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyHash {
    /// SHA-256 of the canonical body, or of its first octets up to the limit.
    pub digest: [u8; 32],
    /// Octets of the whole canonical body.
    pub octets: u64,
}

/// The digests of one body, computed in one pass.
pub struct BodyHashes<D> {
    wanted: Vec<(Canon, Option<u64>)>,
    simple: Option<Body<D>>,
    relaxed: Option<Body<D>>,
}

impl<D: Sha256> Default for BodyHashes<D> {
    fn default() -> Self {
        BodyHashes { wanted: Vec::new(), simple: None, relaxed: None }
    }
}

impl<D: Sha256> BodyHashes<D> {
    /// Asks for a digest, of the first `length` octets if that is given.
    /// The same question twice is answered once.  Before the first `feed`.
    pub fn want(&mut self, canon: Canon, length: Option<u64>) {
        if self.wanted.contains(&(canon, length)) {
            return;
        }
        self.wanted.push((canon, length));
        let slot = match canon {
            Canon::Simple => &mut self.simple,
            Canon::Relaxed => &mut self.relaxed,
        };
        let body = slot.get_or_insert_with(|| Body::new(canon));
        body.sinks.push(Sink { digest: D::new(), limit: length, left: length });
    }

    /// True if somebody asked: otherwise the body need not be read.
    pub fn is_wanted(&self) -> bool {
        !self.wanted.is_empty()
    }

    /// Takes the next bytes of the body.
    pub fn feed(&mut self, chunk: &[u8]) {
        for body in [&mut self.simple, &mut self.relaxed].into_iter().flatten() {
            body.feed(chunk);
        }
    }

    /// The end of the body: all digests.
    pub fn finish(self) -> HashedBody {
        let mut hashes = Vec::new();
        for body in [self.simple, self.relaxed].into_iter().flatten() {
            body.finish(&mut hashes);
        }
        HashedBody { hashes }
    }
}

/// The digests of a body that was read.
#[derive(Clone, Debug, Default)]
pub struct HashedBody {
    hashes: Vec<(Canon, Option<u64>, BodyHash)>,
}

impl HashedBody {
    /// The digest that was asked for; `None` if it was not.
    pub fn get(&self, canon: Canon, length: Option<u64>) -> Option<&BodyHash> {
        self.hashes.iter().find(|(c, l, _)| *c == canon && *l == length).map(|(.., h)| h)
    }
}

struct Sink<D> {
    digest: D,
    limit: Option<u64>,
    left: Option<u64>,
}

impl<D: Sha256> Sink<D> {
    fn update(&mut self, bytes: &[u8]) {
        match &mut self.left {
            None => self.digest.update(bytes),
            Some(left) => {
                let room = usize::try_from(*left).unwrap_or(usize::MAX);
                let bytes = bytes.get(..room).unwrap_or(bytes);
                *left = left.saturating_sub(octets(bytes));
                self.digest.update(bytes);
            }
        }
    }
}

/// A body being canonicalised.
///
/// A line end is held back until content follows it: at the end all but one of
/// those held back are the empty lines that both algorithms ignore.
struct Body<D> {
    canon: Canon,
    sinks: Vec<Sink<D>>,
    octets: u64,
    /// Line ends held back.
    line_ends: u64,
    /// White space held back (relaxed).
    space: bool,
    /// A CR came, which may begin a line end.
    cr: bool,
    /// Something was given out.
    content: bool,
    out: Vec<u8>,
}

/// Bytes gathered before they go to the digests.
const OUT: usize = 4 << 10;
/// Bytes between changes for which it is not worth while to look by blocks.
const CLOSE: usize = 16;

impl<D: Sha256> Body<D> {
    fn new(canon: Canon) -> Body<D> {
        Body {
            canon,
            sinks: Vec::new(),
            octets: 0,
            line_ends: 0,
            space: false,
            cr: false,
            content: false,
            out: Vec::with_capacity(OUT),
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while !rest.is_empty() {
            let before = rest.len();
            if !self.space && !self.cr {
                rest = self.unchanged(rest);
            }
            // Where changes are close to each other, more of them are expected.
            let close = before.saturating_sub(rest.len()) < CLOSE;
            rest = self.changing(rest, if close { CLOSE } else { 0 });
        }
    }

    /// Takes what stands for itself at the beginning of `bytes`, up to the first
    /// change; gives back what follows.  Nothing but line ends is held back.
    fn unchanged<'c>(&mut self, bytes: &'c [u8]) -> &'c [u8] {
        let change = match self.canon {
            Canon::Simple => find_pair(bytes, simple_changes),
            Canon::Relaxed => find_pair(bytes, relaxed_changes),
        };
        let run = change.and_then(|at| bytes.get(..at)).unwrap_or(bytes);
        // What comes next says what the last byte is.
        let run = match run.split_last() {
            Some((b'\r', before)) => before,
            Some((b' ', before)) if self.canon == Canon::Relaxed => before,
            _ => run,
        };
        let mut text = run;
        let mut line_ends = 0_u64;
        while let Some(before) = text.strip_suffix(CRLF) {
            text = before;
            line_ends = line_ends.saturating_add(1);
        }
        if !text.is_empty() {
            self.push(text);
        }
        self.line_ends = self.line_ends.saturating_add(line_ends);
        bytes.get(run.len()..).unwrap_or_default()
    }

    /// Takes bytes one by one, until there was no change for so many; gives back
    /// what follows.
    fn changing<'c>(&mut self, bytes: &'c [u8], enough: usize) -> &'c [u8] {
        let relaxed = self.canon == Canon::Relaxed;
        // Kept by itself, so that it need not be written back at each byte.
        let mut out = std::mem::take(&mut self.out);
        let (mut space, mut cr) = (self.space, self.cr);
        let mut quiet = 0_usize;
        let mut left = bytes.iter();
        for b in left.by_ref() {
            quiet = quiet.saturating_add(1);
            if *b == b'\n' {
                if space || !cr {
                    quiet = 0;
                }
                (space, cr) = (false, false);
                self.line_ends = self.line_ends.saturating_add(1);
                continue;
            }
            let white = relaxed && matches!(b, b' ' | b'\t');
            let full = out.len().saturating_add(2) > OUT;
            // What was held back comes first: a CR that ended no line before any
            // byte, the rest before content.
            if cr || (self.line_ends > 0 || full) && !white && *b != b'\r' {
                (self.out, self.space) = (out, space);
                self.push(if cr { b"\r" } else { b"" });
                if full {
                    self.flush();
                }
                out = std::mem::take(&mut self.out);
                (space, cr) = (false, false);
            }
            match b {
                b'\r' => cr = true,
                _ if white => {
                    if space || *b == b'\t' {
                        quiet = 0;
                    }
                    space = true;
                }
                _ => {
                    if std::mem::take(&mut space) {
                        out.push(b' ');
                    }
                    out.push(*b);
                    if quiet >= enough {
                        break;
                    }
                }
            }
        }
        (self.out, self.space, self.cr) = (out, space, cr);
        left.as_slice()
    }

    /// Content, after what was held back before it.
    fn push(&mut self, text: &[u8]) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.gather(CRLF);
        }
        if std::mem::take(&mut self.space) {
            self.gather(b" ");
        }
        self.gather(text);
    }

    /// Gathers what is short, for a digest takes long to take little.
    fn gather(&mut self, bytes: &[u8]) {
        if self.out.len().saturating_add(bytes.len()) > OUT {
            self.flush();
        }
        if bytes.len() > OUT / 4 {
            self.flush();
            self.give(bytes);
        } else {
            self.out.extend_from_slice(bytes);
        }
    }

    fn flush(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        self.give(&out);
        out.clear();
        self.out = out;
    }

    fn give(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.content = true;
        self.octets = self.octets.saturating_add(octets(bytes));
        for sink in &mut self.sinks {
            sink.update(bytes);
        }
    }

    fn finish(mut self, hashes: &mut Vec<(Canon, Option<u64>, BodyHash)>) {
        if std::mem::take(&mut self.cr) {
            self.push(b"\r");
        }
        self.flush();
        // 3.4.3: an empty body is CRLF; 3.4.4: an empty body is empty.
        if self.content || self.canon == Canon::Simple {
            self.give(CRLF);
        }
        for sink in self.sinks {
            let digest = sink.digest.finish();
            hashes.push((self.canon, sink.limit, BodyHash { digest, octets: self.octets }));
        }
    }
}

/// What `simple` changes: a LF alone, which stands for CRLF.
const fn simple_changes(before: u8, b: u8) -> bool {
    (b == b'\n') & (before != b'\r')
}

/// What `relaxed` changes besides: a tab, two spaces in a row, a space at the
/// end of a line.  A CR alone after a space is taken for such an end; who looks
/// at every byte knows better.
const fn relaxed_changes(before: u8, b: u8) -> bool {
    simple_changes(before, b) | (b == b'\t') | ((before == b' ') & ((b == b' ') | (b == b'\r')))
}

/// Where the first byte is that changes with the byte before it; before the
/// first there is something that changes nothing.
///
/// A line has a space every few bytes, so that to go from one to the next with
/// memchr(3) costs more than to look at every byte; and a block is looked at to
/// its end, without a jump, for then the compiler does many bytes at a time.
fn find_pair(bytes: &[u8], changes: impl Fn(u8, u8) -> bool) -> Option<usize> {
    const BLOCK: usize = 64;
    let first = bytes.first()?;
    if changes(0, *first) {
        return Some(0);
    }
    let next = bytes.get(1..)?;
    let mut at = 1_usize;
    for (befores, block) in bytes.chunks(BLOCK).zip(next.chunks(BLOCK)) {
        let pairs = || befores.iter().zip(block);
        if pairs().fold(false, |any, (before, b)| any | changes(*before, *b)) {
            let within = pairs().position(|(before, b)| changes(*before, *b))?;
            return Some(at.saturating_add(within));
        }
        at = at.saturating_add(block.len());
    }
    None
}

fn octets(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
