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
    fn random_bodies_in_random_chunks_agree_with_the_words_of_the_rfc() {
        let mut seed = 7_u64;
        let mut random = |below: usize| {
            seed = seed.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            usize::try_from(seed >> 33).unwrap() % below
        };
        let pieces: [&[u8]; 9] =
            [b"\r\n", b"\n", b"\r", b" ", b"  ", b"\t", b"word", b"\r\n\r\n", &[b'x'; 200]];
        for round in 0..400 {
            // Plain text with few changes, and changes all over.
            let rare = [2, 20, 200][round % 3];
            let mut text = Vec::new();
            for _ in 0..random(2000) {
                let piece = if random(rare) == 0 { pieces[random(9)] } else { &b"plain text"[..] };
                text.extend_from_slice(piece);
                if random(8) == 0 {
                    text.extend_from_slice(b"\r\n");
                }
            }
            for canon in [Canon::Simple, Canon::Relaxed] {
                let mut hashes = BodyHashes::<Tape>::default();
                hashes.want(canon, None);
                let mut rest = text.as_slice();
                while !rest.is_empty() {
                    let (chunk, after) = rest.split_at((1 + random(5000)).min(rest.len()));
                    hashes.feed(chunk);
                    rest = after;
                }
                hashes.finish();
                let given = LAST.with(|l| l.borrow_mut().pop().unwrap());
                assert!(given == model(canon, &text), "{canon:?}, round {round}");
            }
        }
    }

    /// RFC 6376 5.3: what SMTP would not carry is read as it would have been sent.
    #[test]
    fn a_bare_lf_ends_a_line_and_a_bare_cr_is_content() {
        for canon in [Canon::Simple, Canon::Relaxed] {
            assert_eq!(run(canon, None, b"a\nb\n\n\n", 3), run(canon, None, b"a\r\nb\r\n", 100));
            assert_eq!(run(canon, None, b"a\rb\r", 2), b"a\rb\r\r\n");
            let (mut lf, mut crlf) = (Vec::new(), Vec::new());
            push_field(canon, b"Subject: a\n\tb\n", &mut lf);
            push_field(canon, b"Subject: a\r\n\tb\r\n", &mut crlf);
            assert_eq!(lf, crlf);
        }
        let field = |raw: &[u8]| {
            let mut out = Vec::new();
            push_field(Canon::Relaxed, raw, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(field(b"A : \t b \t\r\n \tc  d\t\r\n"), "a:b c d");
        assert_eq!(field(b"A:b\rc \r d\r\r\n"), "a:b\rc \r d\r");
        assert_eq!(field(b"A:"), "a:");
        assert_eq!(field(b"A: \r\n\t\r\n "), "a:");
    }

    /// The field as RFC 6376 3.4.2 says it, step by step.
    fn field_model(raw: &[u8]) -> Vec<u8> {
        let raw = crate::proto::mime::field::without_line_end(raw);
        let colon = raw.iter().position(|b| *b == b':').unwrap_or(raw.len());
        let mut out = raw[..colon].trim_ascii_end().to_ascii_lowercase();
        out.push(b':');
        let unfolded = crate::proto::mime::unfold(raw.get(colon + 1..).unwrap_or_default());
        let blank = |b: &u8| matches!(b, b' ' | b'\t');
        let words: Vec<&[u8]> = unfolded.split(blank).filter(|w| !w.is_empty()).collect();
        out.extend_from_slice(&words.join(&b' '));
        out
    }

    #[test]
    fn every_short_field_agrees_with_the_words_of_the_rfc() {
        let letters = b"a \t\r\n";
        for n in 0..5_usize.pow(7) {
            let mut raw = b"X:".to_vec();
            let mut n = n;
            while n > 0 {
                raw.push(letters[n % 5]);
                n /= 5;
            }
            let mut out = Vec::new();
            push_field(Canon::Relaxed, &raw, &mut out);
            assert_eq!(out, field_model(&raw), "{raw:?}");
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
