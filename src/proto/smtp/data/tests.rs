use super::*;

const BIG: u64 = 1 << 30;

/// What became of wire bytes fed in pieces of `step` octets.
#[derive(Debug, PartialEq)]
enum Got {
    /// Body and how many octets of the input were taken.
    Message(Vec<u8>, usize),
    Refused(Fault, usize),
    Open,
    Desync,
}

fn feed(wire: &[u8], policy: BareLineEnds, steps: impl Iterator<Item = usize>) -> Got {
    let mut data = Data::new(Framing::Dots, policy, BIG);
    let (mut out, mut at) = (Vec::new(), 0);
    for step in steps {
        if at == wire.len() {
            break;
        }
        let end = wire.len().min(at + step);
        match data.feed(&wire[at..end], &mut out, |_| ()) {
            Fed::More => at = end,
            Fed::Desync => return Got::Desync,
            Fed::End(n) => {
                return match data.finish(&mut out, |_| ()) {
                    Ok(summary) => {
                        assert_eq!(summary.size, out.len() as u64);
                        Got::Message(out, at + n)
                    }
                    Err(fault) => Got::Refused(fault, at + n),
                };
            }
        }
    }
    Got::Open
}

/// The same in every split into equal pieces and in random ones.
fn all_splits(wire: &[u8], policy: BareLineEnds) -> Got {
    let whole = feed(wire, policy, std::iter::repeat(wire.len()));
    for step in 1..wire.len() {
        assert_eq!(feed(wire, policy, std::iter::repeat(step)), whole, "{wire:?} by {step}");
    }
    let mut seed = 1u32;
    for _ in 0..50 {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            Some((seed >> 16) as usize % 7 + 1)
        };
        assert_eq!(feed(wire, policy, std::iter::from_fn(&mut next)), whole, "{wire:?}");
    }
    whole
}

fn refuse(wire: &[u8]) -> Got {
    all_splits(wire, BareLineEnds::Refuse)
}

fn normalise(wire: &[u8]) -> Got {
    all_splits(wire, BareLineEnds::Normalise)
}

fn message(body: &[u8], used: usize) -> Got {
    Got::Message(body.to_vec(), used)
}

#[test]
fn data_ends_at_crlf_dot_crlf_and_leaves_the_rest() {
    let wire = b"A: b\r\n\r\nhello\r\n.\r\nMAIL FROM:<x@y>\r\n";
    assert_eq!(refuse(wire), message(b"A: b\r\n\r\nhello\r\n", 18));
    assert_eq!(refuse(b".\r\n"), message(b"", 3));
    assert_eq!(refuse(b"\r\n.\r\n"), message(b"\r\n", 5));
    assert_eq!(refuse(b"a\r\n"), Got::Open);
    assert_eq!(refuse(b"a\r\n.\r"), Got::Open);
    assert_eq!(refuse(b"a.\r\n"), Got::Open);
}

#[test]
fn one_dot_is_removed_at_the_start_of_a_line_only() {
    assert_eq!(
        refuse(b"..a\r\n...\r\na..b\r\n.x\r\n.\r\n"),
        message(b".a\r\n..\r\na..b\r\nx\r\n", 23)
    );
}

#[test]
fn smuggling_lf_dot_lf() {
    assert_eq!(refuse(b"a\n.\nMAIL FROM:<x@y>\r\n.\r\n"), Got::Desync);
    assert_eq!(normalise(b"a\n.\nMAIL FROM:<x@y>\r\n.\r\n"), Got::Desync);
}

#[test]
fn smuggling_lf_dot_crlf() {
    assert_eq!(refuse(b"a\n.\r\nMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\n.\r\nMAIL"), Got::Desync);
}

#[test]
fn smuggling_crlf_dot_lf() {
    assert_eq!(refuse(b"a\r\n.\nMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\r\n.\nMAIL"), Got::Desync);
}

#[test]
fn smuggling_cr_dot_cr() {
    assert_eq!(refuse(b"a\r.\rMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\r.\rMAIL"), Got::Desync);
}

#[test]
fn smuggling_cr_dot_crlf() {
    assert_eq!(refuse(b"a\r.\r\nMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\r.\r\nMAIL"), Got::Desync);
}

#[test]
fn smuggling_crlf_dot_cr() {
    assert_eq!(refuse(b"a\r\n.\rMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\r\n.\rMAIL"), Got::Desync);
}

#[test]
fn smuggling_crlf_dot_cr_crlf() {
    assert_eq!(refuse(b"a\r\n.\r\r\nMAIL"), Got::Desync);
    assert_eq!(normalise(b"a\r\n.\r\r\nMAIL"), Got::Desync);
}

#[test]
fn smuggling_crlf_nul_dot_crlf() {
    let wire = b"a\r\n\0.\r\nMAIL\r\n.\r\n";
    assert_eq!(refuse(wire), Got::Refused(Fault::Nul, wire.len()));
    assert_eq!(normalise(wire), Got::Refused(Fault::Nul, wire.len()));
    let wire = b"a\r\n.\0\r\nMAIL\r\n.\r\n";
    assert_eq!(refuse(wire), Got::Refused(Fault::Nul, wire.len()));
}

#[test]
fn smuggling_lf_dot_dot_lf() {
    let wire = b"a\n..\nMAIL\r\n.\r\n";
    assert_eq!(refuse(wire), Got::Refused(Fault::BareLf, wire.len()));
    assert_eq!(normalise(wire), message(b"a\r\n..\r\nMAIL\r\n", wire.len()));
}

#[test]
fn smuggling_crlf_cr_dot_crlf() {
    assert_eq!(refuse(b"a\r\n\r.\r\nMAIL"), Got::Desync);
}

#[test]
fn a_bare_lf_is_refused_or_normalised() {
    let wire = b"a\nb\n\nc\r\n.\r\n";
    assert_eq!(refuse(wire), Got::Refused(Fault::BareLf, wire.len()));
    assert_eq!(normalise(wire), message(b"a\r\nb\r\n\r\nc\r\n", wire.len()));
}

#[test]
fn a_bare_cr_is_refused_or_a_space() {
    let wire = b"a\rb\r\r\nc\r\n.\r\n";
    assert_eq!(refuse(wire), Got::Refused(Fault::BareCr, wire.len()));
    assert_eq!(normalise(wire), message(b"a b \r\nc\r\n", wire.len()));
}

#[test]
fn the_size_counts_crlf_and_is_enforced() {
    let run = |max| {
        let mut data = Data::new(Framing::Dots, BareLineEnds::Normalise, max);
        let mut out = Vec::new();
        let wire = b"..a\nb\r\n.\r\n";
        assert_eq!(data.feed(wire, &mut out, |_| ()), Fed::End(wire.len()));
        data.finish(&mut out, |_| ()).map(|s| s.size)
    };
    assert_eq!(run(7), Ok(7)); // ".a" CRLF "b" CRLF
    assert_eq!(run(6), Err(Fault::TooBig));
}

#[test]
fn after_a_fault_nothing_is_kept_in_memory() {
    let mut data = Data::new(Framing::Dots, BareLineEnds::Refuse, 1000);
    let mut out = Vec::new();
    for _ in 0..100 {
        assert_eq!(data.feed(&[b'x'; 4096], &mut out, |_| ()), Fed::More);
        assert!(out.len() <= 4096);
    }
    assert_eq!(data.fault(), Some(Fault::TooBig));
}

#[test]
fn an_overlong_line_is_refused() {
    let mut wire = vec![b'x'; limits::TEXT_LINE.size()];
    wire.extend_from_slice(b"\r\n.\r\n");
    let run = |wire: &[u8]| feed(wire, BareLineEnds::Refuse, std::iter::repeat(1 << 20));
    assert!(matches!(run(&wire), Got::Message(..)));
    wire.insert(0, b'x');
    assert_eq!(run(&wire), Got::Refused(Fault::LineLength, wire.len()));
}

#[test]
fn the_fifty_first_received_is_a_loop() {
    let wire = |n: usize| {
        let mut w = b"Received: from a by b; now\r\n".repeat(n);
        w.extend_from_slice(b"\r\nReceived: in the body\r\n.\r\n");
        w
    };
    let run = |n| feed(&wire(n), BareLineEnds::Refuse, std::iter::repeat(100));
    assert!(matches!(run(50), Got::Message(..)));
    assert!(matches!(run(51), Got::Refused(Fault::Loop, _)));
    // without a body the last field shows at the end only
    let mut headers = b"Received: x\r\n".repeat(51);
    headers.extend_from_slice(b".\r\n");
    assert!(matches!(
        feed(&headers, BareLineEnds::Refuse, std::iter::repeat(9)),
        Got::Refused(Fault::Loop, _)
    ));
}

#[test]
fn delivered_to_is_reported() {
    let mut data = Data::new(Framing::Dots, BareLineEnds::Refuse, BIG);
    let mut out = Vec::new();
    let wire = b"Delivered-To: Joe@X.org\r\nSubject: s\r\n\tt\r\n\r\nDelivered-To: a@b\r\n.\r\n";
    let mut names = Vec::new();
    let fed = data.feed(wire, &mut out, |f| names.push(f.name.to_vec()));
    assert_eq!(fed, Fed::End(wire.len()));
    let summary = data.finish(&mut out, |_| ()).unwrap();
    assert_eq!(summary.delivered_to, ["joe@x.org"]);
    assert_eq!(summary.header, End { offset: 41, missing_line: false });
    assert_eq!(names, [&b"Delivered-To"[..], b"Subject"]);
}

fn chunks(list: &[&[u8]], policy: BareLineEnds) -> Result<Vec<u8>, Fault> {
    let mut data = Data::new(Framing::Chunks, policy, BIG);
    let mut out = Vec::new();
    for chunk in list {
        assert_eq!(data.feed(chunk, &mut out, |_| ()), Fed::More);
    }
    data.finish(&mut out, |_| ()).map(|_| out)
}

#[test]
fn bdat_obeys_the_same_rules_but_for_dots() {
    let r = BareLineEnds::Refuse;
    assert_eq!(chunks(&[b"a\r", b"\n.", b"\r\n..b\r\n"], r), Ok(b"a\r\n.\r\n..b\r\n".to_vec()));
    assert_eq!(chunks(&[b"a\n.\nMAIL\r\n"], r), Err(Fault::BareLf));
    assert_eq!(chunks(&[b"a\r", b"b\r\n"], r), Err(Fault::BareCr));
    assert_eq!(chunks(&[b"a\r"], r), Err(Fault::BareCr));
    assert_eq!(chunks(&[b"a\0\r\n"], r), Err(Fault::Nul));
    assert_eq!(chunks(&[b"a"], r), Ok(b"a\r\n".to_vec()));
    assert_eq!(chunks(&[], r), Ok(vec![]));
    let n = BareLineEnds::Normalise;
    assert_eq!(chunks(&[b"a\n.\nb\n"], n), Ok(b"a\r\n.\r\nb\r\n".to_vec()));
    assert_eq!(chunks(&[b"a\r"], n), Ok(b"a \r\n".to_vec()));
}

#[test]
fn millions_of_tiny_chunks_need_no_memory() {
    let mut data = Data::new(Framing::Chunks, BareLineEnds::Refuse, BIG);
    let mut out = Vec::new();
    for _ in 0..300_000 {
        data.feed(b"x\r\n", &mut out, |_| ());
        out.clear();
    }
    assert_eq!(data.finish(&mut out, |_| ()).unwrap().size, 900_000);
}

/// A slow oracle: the message ends at the first CRLF.CRLF of the whole input.
#[test]
fn random_input_agrees_with_a_plain_search() {
    let letters = [&b"\r\n"[..], b".", b"a", b"\r\n.", b"\r\n.\r\n", b".."];
    let mut seed = 5u32;
    for _ in 0..5_000 {
        let mut wire = Vec::new();
        for _ in 0..12 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            wire.extend_from_slice(letters[(seed >> 16) as usize % letters.len()]);
        }
        let framed = [b"\r\n", &wire[..]].concat();
        let end = framed.windows(5).position(|w| w == b"\r\n.\r\n");
        let step = (seed >> 8) as usize % 5 + 1;
        match (feed(&wire, BareLineEnds::Refuse, std::iter::repeat(step)), end) {
            (Got::Message(body, used), Some(at)) => {
                assert_eq!(used, at + 3);
                let raw = &wire[..at];
                let plain = [b"\r\n", raw].concat();
                let text = String::from_utf8(plain).unwrap().replace("\r\n.", "\r\n");
                assert_eq!(String::from_utf8(body).unwrap(), &text[2..]);
            }
            (Got::Open, None) => {}
            (got, end) => panic!("{wire:?}: {got:?} {end:?}"),
        }
    }
}
