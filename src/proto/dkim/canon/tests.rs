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
fn an_empty_body_is_crlf_in_simple_and_nothing_in_relaxed() {
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
