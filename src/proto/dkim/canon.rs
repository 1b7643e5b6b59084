//! Canonicalisation of headers and bodies.  RFC 6376 3.4.
//!
//! The body is read once for all signatures: [`BodyHashes`] keeps one
//! canonicaliser for each algorithm that is wanted and one digest for each
//! (algorithm, length).  Runs of lines that are canonical already, which is
//! most of any message, go to the digest from the chunk itself, uncopied.
//!
//! A LF alone ends a line and counts as CRLF.  On the wire it does not occur
//! (SMTP refuses it); a message from a file verifies as it did on the wire.

use super::{Canon, Sha256};

/// CRLF.
const CRLF: &[u8] = b"\r\n";

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
            let mut space = false;
            let mut begun = false;
            let mut bytes = value.iter().copied().skip(1).peekable();
            while let Some(b) = bytes.next() {
                match b {
                    b' ' | b'\t' => space = true,
                    b'\n' => {}
                    b'\r' if bytes.peek() == Some(&b'\n') => {}
                    b => {
                        if space && begun {
                            out.push(b' ');
                        }
                        space = false;
                        begun = true;
                        out.push(b);
                    }
                }
            }
        }
    }
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
    /// The line being read has begun: the quick way is for whole lines.
    in_line: bool,
    /// Something was given out.
    content: bool,
    out: Vec<u8>,
}

/// Bytes gathered before they go to the digests.
const OUT: usize = 16 << 10;

impl<D: Sha256> Body<D> {
    fn new(canon: Canon) -> Body<D> {
        Body {
            canon,
            sinks: Vec::new(),
            octets: 0,
            line_ends: 0,
            space: false,
            cr: false,
            in_line: false,
            content: false,
            out: Vec::with_capacity(OUT),
        }
    }

    fn feed(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        // First the end of a line that began in an earlier chunk.
        if self.in_line {
            let n = memchr::memchr(b'\n', rest).map_or(rest.len(), |n| n.saturating_add(1));
            let (line, after) = rest.split_at_checked(n).unwrap_or((rest, &[]));
            self.slowly(line);
            rest = after;
        }
        rest = self.quickly(rest);
        self.slowly(rest);
    }

    /// Whole lines; gives back what is left of the last one.
    ///
    /// A run is a piece of the chunk that is canonical as it stands, but for
    /// the line ends after it, which are held back.
    fn quickly<'c>(&mut self, chunk: &'c [u8]) -> &'c [u8] {
        let mut run = 0_usize..0;
        let mut at = 0_usize;
        for newline in memchr::memchr_iter(b'\n', chunk) {
            let next = newline.saturating_add(1);
            let line = chunk.get(at..newline).unwrap_or_default();
            match line.strip_suffix(b"\r") {
                Some(b"") => self.line_ends = self.line_ends.saturating_add(1),
                Some(text) if self.is_canonical(text) => {
                    // The line ends since the run stand in the chunk as they
                    // would be written: the run goes on.
                    let held = usize::try_from(self.line_ends.saturating_mul(2)).ok();
                    if held.and_then(|h| run.end.checked_add(h)) != Some(at) || run.is_empty() {
                        self.give(chunk.get(run.clone()).unwrap_or_default());
                        self.give_line_ends();
                        run.start = at;
                    }
                    run.end = at.saturating_add(text.len());
                    self.line_ends = 1;
                }
                _ => {
                    self.give(chunk.get(run.clone()).unwrap_or_default());
                    run = 0..0;
                    self.slowly(chunk.get(at..next).unwrap_or_default());
                }
            }
            at = next;
        }
        self.give(chunk.get(run).unwrap_or_default());
        chunk.get(at..).unwrap_or_default()
    }

    /// True if the text of a line needs no change.
    fn is_canonical(&self, text: &[u8]) -> bool {
        match self.canon {
            Canon::Simple => true,
            Canon::Relaxed => !needs_relaxing(text),
        }
    }

    /// Byte by byte: what the quick way cannot take.
    fn slowly(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.byte(*b);
            if self.out.len() >= OUT {
                self.flush();
            }
        }
        self.flush();
    }

    fn byte(&mut self, b: u8) {
        if b == b'\n' {
            self.cr = false;
            self.space = false;
            self.in_line = false;
            self.line_ends = self.line_ends.saturating_add(1);
            return;
        }
        self.in_line = true;
        if std::mem::take(&mut self.cr) {
            self.push(b'\r');
        }
        match b {
            b'\r' => self.cr = true,
            b' ' | b'\t' if self.canon == Canon::Relaxed => self.space = true,
            b => self.push(b),
        }
    }

    fn push(&mut self, b: u8) {
        if self.line_ends > 0 {
            self.flush();
            self.give_line_ends();
        }
        if std::mem::take(&mut self.space) {
            self.out.push(b' ');
        }
        self.out.push(b);
    }

    fn give_line_ends(&mut self) {
        for _ in 0..std::mem::take(&mut self.line_ends) {
            self.out.extend_from_slice(CRLF);
            if self.out.len() >= OUT {
                self.flush();
            }
        }
        self.flush();
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
            self.push(b'\r');
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

/// True if a line has a tab, two spaces in a row or a space at its end.
///
/// Eight bytes at a time: a line of text has a space every few bytes, so that
/// looking for the next one costs more than looking at all of them.
fn needs_relaxing(text: &[u8]) -> bool {
    if matches!(text.last(), Some(b' ' | b'\t')) {
        return true;
    }
    // Within a run of lines, CR is never at the end here, and elsewhere is
    // content.
    let mut before_was_space = 0_u64;
    let mut words = text.chunks_exact(8);
    for word in &mut words {
        let Ok(word) = <[u8; 8]>::try_from(word) else { return true };
        let word = u64::from_le_bytes(word);
        let spaces = bytes_equal(word, b' ');
        // The flag of each byte, moved to the byte after it.
        let after = spaces << 8 | before_was_space;
        if bytes_equal(word, b'\t') != 0 || spaces & after != 0 {
            return true;
        }
        before_was_space = spaces >> 56;
    }
    let mut space = before_was_space != 0;
    for b in words.remainder() {
        if *b == b'\t' || (*b == b' ' && space) {
            return true;
        }
        space = *b == b' ';
    }
    false
}

/// 0x80 in each byte of `word` that is `byte`, exactly.
fn bytes_equal(word: u64, byte: u8) -> u64 {
    const LOW: u64 = 0x7f7f_7f7f_7f7f_7f7f;
    let x = word ^ u64::from_le_bytes([byte; 8]);
    // (x & LOW) + LOW carries into the top bit of each byte that is not zero,
    // and never out of it.
    !((x & LOW).wrapping_add(LOW) | x | LOW)
}

fn octets(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A "digest" that shows its input: its first 32 bytes, and a sum of all.
    #[derive(Clone, Default)]
    struct Tape(Vec<u8>);

    thread_local! {
        static LAST: std::cell::RefCell<Vec<Vec<u8>>> = const { std::cell::RefCell::new(Vec::new()) };
    }

    impl Sha256 for Tape {
        fn new() -> Tape {
            Tape::default()
        }
        fn update(&mut self, bytes: &[u8]) {
            self.0.extend_from_slice(bytes);
        }
        fn finish(self) -> [u8; 32] {
            LAST.with(|l| l.borrow_mut().push(self.0));
            [0; 32]
        }
    }

    fn run(canon: Canon, length: Option<u64>, body: &[u8], chunk: usize) -> Vec<u8> {
        let mut hashes = BodyHashes::<Tape>::default();
        hashes.want(canon, length);
        for piece in body.chunks(chunk.max(1)) {
            hashes.feed(piece);
        }
        hashes.finish();
        LAST.with(|l| l.borrow_mut().pop().unwrap())
    }

    fn body(canon: Canon, text: &str) -> String {
        let whole = run(canon, None, text.as_bytes(), usize::MAX);
        for chunk in 1..9 {
            assert_eq!(run(canon, None, text.as_bytes(), chunk), whole, "{text:?} by {chunk}");
        }
        String::from_utf8(whole).unwrap()
    }

    /// The algorithms as the RFC words them, on a whole body.
    fn model(canon: Canon, text: &[u8]) -> Vec<u8> {
        let mut lines: Vec<Vec<u8>> = text.split(|b| *b == b'\n').map(<[u8]>::to_vec).collect();
        let last = lines.len() - 1;
        for (i, line) in lines.iter_mut().enumerate() {
            if i < last && line.last() == Some(&b'\r') {
                line.pop();
            }
            if canon == Canon::Relaxed {
                let mut out: Vec<u8> = Vec::new();
                for b in line.iter() {
                    let b = if *b == b'\t' { b' ' } else { *b };
                    if !(b == b' ' && out.last() == Some(&b' ')) {
                        out.push(b);
                    }
                }
                if out.last() == Some(&b' ') {
                    out.pop();
                }
                *line = out;
            }
        }
        while lines.last().is_some_and(Vec::is_empty) {
            lines.pop();
        }
        let mut out = lines.join(&b"\r\n"[..]);
        if !lines.is_empty() || canon == Canon::Simple {
            out.extend_from_slice(b"\r\n");
        }
        out
    }

    #[test]
    fn the_example_of_rfc_6376_3_4_5() {
        let text = " C \r\nD \t E\r\n\r\n\r\n";
        assert_eq!(body(Canon::Relaxed, text), " C\r\nD E\r\n");
        assert_eq!(body(Canon::Simple, text), " C \r\nD \t E\r\n");
        for (canon, expected) in
            [(Canon::Relaxed, "a:X\r\nb:Y Z\r\n"), (Canon::Simple, "A: X\r\nB : Y\t\r\n\tZ  \r\n")]
        {
            let mut out = Vec::new();
            for field in ["A: X\r\n", "B : Y\t\r\n\tZ  \r\n"] {
                push_field(canon, field.as_bytes(), &mut out);
                out.extend_from_slice(b"\r\n");
            }
            assert_eq!(out, expected.as_bytes());
        }
    }

    #[test]
    fn empty_bodies() {
        for text in ["", "\r\n", "\r\n\r\n", "\n\n\n"] {
            assert_eq!(body(Canon::Simple, text), "\r\n");
            assert_eq!(body(Canon::Relaxed, text), "");
        }
        assert_eq!(body(Canon::Relaxed, " \t\r\n "), "");
        assert_eq!(body(Canon::Simple, " \r\n"), " \r\n");
    }

    #[test]
    fn a_final_line_end_is_added_and_empty_lines_within_stay() {
        for canon in [Canon::Simple, Canon::Relaxed] {
            assert_eq!(body(canon, "a"), "a\r\n");
            assert_eq!(body(canon, "a\r\n\r\n\r\nb\r\n\r\n"), "a\r\n\r\n\r\nb\r\n");
            assert_eq!(body(canon, "a\nb\n"), "a\r\nb\r\n", "a file with LF");
            assert_eq!(body(canon, "a\rb\r\r\n\r"), "a\rb\r\r\n\r\r\n");
        }
        assert_eq!(body(Canon::Relaxed, "a \r b\r\n"), "a \r b\r\n");
    }

    #[test]
    fn every_short_body_agrees_with_the_words_of_the_rfc() {
        let alphabet = [b'a', b' ', b'\t', b'\r', b'\n', 0xe9];
        let mut text = Vec::new();
        for mut n in 0..6_usize.pow(6) {
            text.clear();
            for _ in 0..6 {
                text.push(alphabet[n % 6]);
                n /= 6;
            }
            for canon in [Canon::Simple, Canon::Relaxed] {
                let expected = model(canon, &text);
                assert_eq!(run(canon, None, &text, 100), expected, "{text:?}");
                assert_eq!(run(canon, None, &text, 2), expected, "{text:?}");
            }
        }
    }

    #[test]
    fn long_lines_agree_with_the_words_of_the_rfc() {
        let mut seed = 1_u64;
        for _ in 0..500 {
            let mut text = Vec::new();
            for _ in 0..300 {
                seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                text.extend_from_slice(match seed >> 59 {
                    0 => b"\r\n",
                    1 => b"  ",
                    2 => b"\t",
                    3 | 4 => b" ",
                    5 => b"\xa0\x89",
                    6 => b"\r\n\r\n",
                    _ => b"word",
                });
            }
            for canon in [Canon::Simple, Canon::Relaxed] {
                assert_eq!(run(canon, None, &text, 97), model(canon, &text));
            }
        }
    }

    #[test]
    fn a_length_takes_the_first_octets_only() {
        assert_eq!(run(Canon::Relaxed, Some(3), b"a  b  c\r\n", 100), b"a b");
        assert_eq!(run(Canon::Simple, Some(0), b"abc\r\n", 100), b"");
        assert_eq!(run(Canon::Simple, Some(99), b"abc\r\n", 100), b"abc\r\n");
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in ["\r\n", " ", "\r", "\n", "a \r\n", "\t\r\n", "a\r\n\r\n"] {
            crate::proto::testing::assert_linear(|n| {
                let text = unit.repeat(n / unit.len());
                for canon in [Canon::Simple, Canon::Relaxed] {
                    std::hint::black_box(run(canon, None, text.as_bytes(), 4096));
                }
            });
        }
    }
}
