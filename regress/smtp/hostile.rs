//! Hostile clients against the whole daemon.

use super::{rest, Client, Site, MX};
use crate::{Env, Outcome};
use std::time::{Duration, Instant};

pub fn starttls_drops_what_was_ahead(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.send("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x>\r\nRCPT TO:<joe@example.com>\r\n");
    assert_eq!(c.reply().code, 220);
    c.start_tls();
    assert_eq!(c.ask("RCPT TO:<joe@example.com>"), 503);
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("RCPT TO:<joe@example.com>"), 503);
    Outcome::Passed
}

pub fn a_slow_client_is_cut_off(env: &Env) -> Outcome {
    let site = Site::with(env, "limit smtp-command-time 500ms\nlimit smtp-session-time 1500ms");
    let mut idle = site.client(MX);
    assert_eq!(idle.reply().code, 421);
    assert!(idle.is_closed());
    // Fast enough for each command, too slow for the session.
    let begun = Instant::now();
    let mut c = site.client(MX);
    loop {
        if !c.try_send(b"NOOP\r\n") || c.reply().code == 421 {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
        assert!(begun.elapsed() < Duration::from_secs(20));
    }
    // An octet at a time does not prolong a command.
    let mut c = site.client(MX);
    for b in b"NOOP with a long argument that is sent so slowly" {
        if !c.try_send(&[*b]) {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(c.reply().code, 421);
    Outcome::Passed
}

pub fn errors_are_counted(env: &Env) -> Outcome {
    let site = Site::with(env, "limit smtp-errors 5\nlimit smtp-idle-commands 10");
    let mut c = site.ehlo(MX);
    let codes: Vec<u16> = (0..5).map(|_| c.ask("FOO")).collect();
    assert_eq!(codes, [500, 500, 500, 500, 421]);
    assert!(c.is_closed());
    let mut c = site.ehlo(MX);
    assert_eq!((0..20).take_while(|_| c.ask("RSET") == 250).count(), 9);
    Outcome::Passed
}

pub fn long_lines_and_odd_bytes(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.send([b"NOOP ".to_vec(), vec![b'x'; 64 << 10], b"\r\nNOOP\r\n".to_vec()].concat());
    assert_eq!(c.codes(2), [500, 250]);
    c.send(b"RSET\0\r\nNO\rOP\r\nMAIL FROM:<\xff@b>\r\nNOOP\r\n");
    assert_eq!(c.codes(4), [500, 500, 553, 250]);
    for path in ["<;sh;>", "<;sh;@>", "<|x>", "<`x`>", "<$(x)>", "<-f>", "<a@b>x", "<a@>"] {
        assert_eq!(c.ask(&format!("MAIL FROM:{path}")), 501, "{path}");
    }
    c.send(b"NOOP\nMAIL FROM:<evil@x>\r\n");
    assert_eq!(c.reply().code, 500);
    assert!(c.is_closed());
    // A line without end is not read for ever.
    let mut c = site.ehlo(MX);
    let mut sent = 0;
    while sent < 64 << 20 && c.try_send(&[b'x'; 64 << 10]) {
        sent += 64 << 10;
    }
    assert!(sent < 64 << 20, "the server reads on");
    Outcome::Passed
}

pub fn http_is_shown_the_door(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.client(MX);
    c.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(c.reply().code, 421);
    assert!(c.is_closed());
    Outcome::Passed
}

pub fn two_hundred_idle_connections(env: &Env) -> Outcome {
    let site = Site::with(env, "limit smtp-connections 100");
    let address = site.daemon.address("smtp", MX);
    let mut all: Vec<Client> = (0..200).map(|_| Client::connect(address)).collect();
    let greeted = all.iter_mut().map(|c| c.reply().code).filter(|code| *code == 220).count();
    assert_eq!(greeted, 100);
    drop(all);
    let begun = Instant::now();
    while Client::connect(address).reply().code != 220 {
        assert!(begun.elapsed() < Duration::from_secs(20), "nobody is served any more");
        rest();
    }
    Outcome::Passed
}

pub fn pipelined_and_gone(env: &Env) -> Outcome {
    let site = Site::start(env);
    for _ in 0..50 {
        let mut c = Client::connect(site.daemon.address("smtp", MX));
        c.send("HELO x\r\nMAIL FROM:<a@b>\r\nRCPT TO:<joe@example.com>\r\nQUIT\r\n");
    }
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("NOOP"), 250);
    assert!(!site.daemon.log().contains("panic"), "{}", site.daemon.log());
    Outcome::Passed
}
