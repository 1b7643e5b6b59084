use super::*;
use crate::sys::fdpass::socketpair;
use std::fs::File;
use std::io::{Read, Write};
use std::time::Duration;

fn pair() -> (LineReader, File) {
    let (a, b) = socketpair().unwrap();
    (LineReader::new(Stream::new(a).unwrap(), Deadline::NEVER), b.into())
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(5))
}

/// What the reader makes of an input that comes in pieces of `step`.
fn lines(input: &[u8], max: usize, step: usize) -> Vec<Result<Vec<u8>, LineError>> {
    let (mut reader, mut peer) = pair();
    let mut all = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for piece in input.chunks(step) {
                peer.write_all(piece).unwrap();
                if step < 8 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
        loop {
            let mut line = Vec::new();
            let result = reader.read_line(&mut line, max, soon());
            let over = matches!(result, Err(LineError::Eof(_) | LineError::Flood));
            all.push(result.map(|()| line));
            if over {
                break;
            }
        }
    });
    all
}

fn ok(text: &str) -> Result<Vec<u8>, LineError> {
    Ok(text.as_bytes().to_vec())
}

#[test]
fn lines_end_with_crlf_however_they_arrive() {
    for step in [1, 2, 3, 7, 100] {
        assert_eq!(
            lines(b"EHLO x\r\n\r\nNOOP\r\nQU", 512, step),
            [ok("EHLO x"), ok(""), ok("NOOP"), Err(LineError::Eof(true))]
        );
        assert_eq!(lines(b"", 512, step), [Err(LineError::Eof(false))]);
    }
}

#[test]
fn other_line_ends_and_nul_are_told_apart() {
    for step in [1, 2, 100] {
        assert_eq!(
            lines(b"A\nB\r\n", 512, step),
            [Err(LineError::BareLf), ok("B"), Err(LineError::Eof(false))]
        );
        assert_eq!(
            lines(b"A\rB\r\nC\r\n", 512, step),
            [Err(LineError::BareCr), ok("C"), Err(LineError::Eof(false))]
        );
        assert_eq!(
            lines(b"A\r\r\nC\r\n", 512, step),
            [Err(LineError::BareCr), ok("C"), Err(LineError::Eof(false))]
        );
        assert_eq!(
            lines(b"A\0\r\nC\r\n", 512, step),
            [Err(LineError::Nul), ok("C"), Err(LineError::Eof(false))]
        );
        // A line that is bad already ends with CRLF, not with LF.
        assert_eq!(
            lines(b"A\0\nB\nC\r\nD\r\n", 512, step),
            [Err(LineError::Nul), ok("D"), Err(LineError::Eof(false))]
        );
    }
}

#[test]
fn a_long_line_is_read_to_its_end() {
    for step in [1, 3, 100] {
        assert_eq!(
            lines(b"12345\r\n123456\r\n1234567\r\n12\r\n", 5, step),
            [
                ok("12345"),
                Err(LineError::TooLong),
                Err(LineError::TooLong),
                ok("12"),
                Err(LineError::Eof(false))
            ]
        );
    }
    let mut long = vec![b'x'; 100_000];
    long.extend_from_slice(b"\nRSET\r\nNOOP\r\n");
    assert_eq!(
        lines(&long, 512, 4096),
        [Err(LineError::TooLong), ok("NOOP"), Err(LineError::Eof(false))]
    );
}

#[test]
fn a_refused_line_says_whether_a_literal_follows_it() {
    for step in [1, 2, 3, 100] {
        let text = b"a 1234567 {5+}\r\na 1234567 {5}\r\n\0{5+}\r\n{5+}\r\n\0{5+}\n+}\r\n";
        let (mut reader, mut peer) = pair();
        let writer = std::thread::spawn(move || {
            text.chunks(step).for_each(|chunk| peer.write_all(chunk).unwrap());
        });
        let mut line = Vec::new();
        let mut refused = || {
            let failed = reader.read_line(&mut line, 5, soon()).is_err();
            (failed, reader.refused_a_literal())
        };
        assert_eq!(refused(), (true, true));
        assert_eq!(refused(), (true, false));
        assert_eq!(refused(), (true, true));
        assert_eq!(refused(), (false, false));
        assert_eq!(refused(), (true, true));
        writer.join().unwrap();
    }
}

#[test]
fn a_line_without_end_is_given_up() {
    let (mut reader, mut peer) = pair();
    let writer = std::thread::spawn(move || {
        let block = [b'x'; 65536];
        while peer.write_all(&block).is_ok() {}
    });
    let mut line = Vec::new();
    assert_eq!(reader.read_line(&mut line, 512, soon()), Err(LineError::Flood));
    drop(reader);
    writer.join().unwrap();
}

#[test]
fn deadlines_of_call_and_session_hold() {
    let (mut reader, mut peer) = pair();
    peer.write_all(b"half").unwrap();
    let mut line = Vec::new();
    let soon = Deadline::after(Duration::from_millis(20));
    assert!(reader.read_line(&mut line, 512, soon).unwrap_err().is_timeout());
    reader.set_session_deadline(Deadline::after(Duration::from_millis(20)));
    assert!(reader.read_line(&mut line, 512, Deadline::NEVER).unwrap_err().is_timeout());
    peer.write_all(b" line\r\n").unwrap();
    reader.set_session_deadline(Deadline::NEVER);
    reader.read_line(&mut line, 512, Deadline::NEVER).unwrap();
    assert_eq!(line, b"half line");
}

#[test]
fn counted_octets_leave_the_rest_in_place() {
    let (mut reader, mut peer) = pair();
    peer.write_all(b"A {3}\r\n\n\0\r)\r\nDATA\r\nx\r\n.\r\nQUIT\r\n").unwrap();
    let (mut line, mut literal) = (Vec::new(), Vec::new());
    reader.read_line(&mut line, 512, soon()).unwrap();
    reader.read_octets(3, soon(), |piece| literal.extend_from_slice(piece)).unwrap();
    assert_eq!(literal, b"\n\0\r");
    reader.read_line(&mut line, 512, soon()).unwrap();
    assert_eq!(line, b")");
    assert!(reader.has_line());
    reader.read_line(&mut line, 512, soon()).unwrap();
    assert!(reader.chunk(soon()).unwrap().starts_with(b"x\r\n.\r\n"));
    reader.consume(6);
    reader.read_line(&mut line, 512, soon()).unwrap();
    assert_eq!(line, b"QUIT");
    drop(peer);
    assert!(reader.chunk(soon()).unwrap().is_empty());
}

#[test]
fn replies_to_pipelined_commands_go_out_together() {
    let (mut reader, mut peer) = pair();
    peer.write_all(b"A\r\nB\r\n").unwrap();
    let mut line = Vec::new();
    for reply in [b"1\r\n", b"2\r\n"] {
        reader.read_line(&mut line, 512, soon()).unwrap();
        reader.put(reply);
    }
    assert_eq!(reader.unflushed(), 6);
    let short = Deadline::after(Duration::from_millis(5));
    assert!(reader.read_line(&mut line, 512, short).unwrap_err().is_timeout());
    let mut buf = [0; 64];
    assert_eq!(peer.read(&mut buf).unwrap(), 6);
}

#[test]
fn what_came_before_tls_can_be_dropped() {
    let (mut reader, mut peer) = pair();
    peer.write_all(b"STARTTLS\r\nMAIL FROM:<a@b>\r\n").unwrap();
    let mut line = Vec::new();
    reader.read_line(&mut line, 512, soon()).unwrap();
    assert_eq!(reader.buffered(), b"MAIL FROM:<a@b>\r\n");
    assert_eq!(reader.discard_buffered(), 17);
    assert!(reader.buffered().is_empty());
}

#[test]
fn a_peer_that_keeps_the_pace_has_its_time_and_one_that_trickles_has_not() {
    let pace = Pace { patience: Duration::from_secs(60), rate: 1024 };
    let left = |got, secs| pace.deadline(got, Duration::from_secs(secs)).left().unwrap();
    let about = |wait: Duration, secs: i64| {
        let off = i64::try_from(wait.as_millis()).unwrap() - secs * 1000;
        (-5000..100).contains(&off)
    };
    // Whoever flows is waited for, however long it takes on the whole.
    assert!(about(left(0, 0), 60) && about(left(100 * 1024, 100), 60));
    assert!(about(left(1 << 30, 1 << 20), 60));
    // Whoever was quick may pause no longer than others.
    assert!(about(left(1 << 30, 1), 60));
    // A trickle is waited for once, not for each octet.
    assert!(about(left(1, 31), 29) && about(left(2, 59), 1) && left(3, 62).is_zero());
}

#[test]
fn octets_that_come_slowly_but_steadily_arrive_and_a_trickle_times_out() {
    for (rate, arrives) in [(100, true), (u64::MAX, false)] {
        let (mut reader, mut peer) = pair();
        let pace = Pace { patience: Duration::from_millis(400), rate };
        let mut got = 0;
        std::thread::scope(|scope| {
            let (ended, end) = std::sync::mpsc::channel::<()>();
            scope.spawn(move || {
                // 100 octets every 100 ms, five times the patience on the whole.
                for _ in 0..20 {
                    peer.write_all(&[b'x'; 100]).unwrap();
                    let wait = end.recv_timeout(Duration::from_millis(100));
                    if wait != Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
                        return;
                    }
                }
            });
            let result = reader.read_paced(2000, pace, |piece| got += piece.len());
            drop(ended);
            assert_eq!(result.is_ok(), arrives, "{result:?} after {got}");
            assert!(arrives || result.unwrap_err().is_timeout());
        });
        assert_eq!(got == 2000, arrives);
    }
}
