//! What hostile clients do: one case of the catalogue each.

use super::*;

/// After the message the session must be closed and nothing smuggled be there.
fn smuggle(wire: &[u8], code: u16) {
    for split in [false, true] {
        let site = Site::new();
        let mut c = site.ehlo(MX);
        c.begin("a@b", "joe@x");
        let tail = b"MAIL FROM:<evil@x>\r\nRCPT TO:<ann@x>\r\nDATA\r\nsmuggled\r\n.\r\n";
        if split {
            c.trickle(wire);
        } else {
            c.send(wire);
        }
        if code == 521 {
            assert_eq!(c.reply().code, 521, "{wire:?}");
            assert!(c.is_closed());
        } else {
            c.send(tail);
            assert_eq!(c.reply().code, code, "{wire:?}");
        }
        assert!(site.committed().is_empty(), "{wire:?}");
    }
}

#[test]
fn smuggling_with_lf_dot_lf() {
    smuggle(b"a\r\n\n.\n", 521);
}

#[test]
fn smuggling_with_lf_dot_crlf() {
    smuggle(b"a\n.\r\n", 521);
}

#[test]
fn smuggling_with_crlf_dot_lf() {
    smuggle(b"a\r\n.\n", 521);
}

#[test]
fn smuggling_with_cr_dot_cr() {
    smuggle(b"a\r.\r", 521);
}

#[test]
fn smuggling_with_cr_dot_crlf() {
    smuggle(b"a\r.\r\n", 521);
}

#[test]
fn smuggling_with_crlf_dot_cr_crlf() {
    smuggle(b"a\r\n.\r\r\n", 521);
}

#[test]
fn smuggling_with_crlf_nul_dot_crlf() {
    smuggle(b"a\r\n\0.\r\n", 550);
}

#[test]
fn smuggling_with_lf_dot_dot_lf() {
    smuggle(b"a\n..\n", 550);
}

#[test]
fn the_true_end_is_found_in_every_split_and_record() {
    let site = Site::new();
    for port in [MX, SMTPS] {
        let mut c = if port == MX { site.ehlo(MX) } else { site.joe(SMTPS) };
        c.begin("joe@example.com", "joe@x");
        c.trickle(b"a: b\r\n\r\nx\r\n.\r\n");
        assert_eq!(c.reply().code, 250);
        assert_eq!(c.ask("NOOP"), 250);
    }
    assert_eq!(site.committed().len(), 2);
}

#[test]
fn a_bare_lf_in_a_command_closes() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("NOOP\nMAIL FROM:<a@b>\r\n");
    assert_eq!(c.reply().code, 500);
    assert!(c.is_closed());
}

#[test]
fn starttls_forgets_what_was_sent_ahead() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("STARTTLS\r\nEHLO evil\r\nMAIL FROM:<evil@x>\r\n");
    assert_eq!(c.reply().code, 220);
    c.tls();
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 503, "EHLO before TLS does not count");
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("STARTTLS"), 503);
    assert_eq!(c.ask("RCPT TO:<joe@x>"), 503);
}

#[test]
fn a_long_command_is_skipped_and_the_dialogue_stays_in_step() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send([b"NOOP ".to_vec(), vec![b'x'; 60_000], b"\r\nNOOP\r\n".to_vec()].concat());
    assert_eq!((c.reply().code, c.reply().code), (500, 250));
}

#[test]
fn a_nul_does_not_cut_a_command() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("RSET\0 x\r\nNOOP\r\n");
    assert_eq!((c.reply().code, c.reply().code), (500, 250));
}

#[test]
fn cve_2020_7247_local_parts_without_domain() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    for path in ["<;sh;>", "<;sh;@>", "<`id`>", "<|x>", "<$(x)>", "<-f>", "<a b@c>"] {
        let code = c.ask(&format!("MAIL FROM:{path}"));
        assert_eq!(code, 501, "{path}");
    }
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 250);
    assert_eq!(c.ask("RCPT TO:<;sh;>"), 501);
}

#[test]
fn a_reply_carries_no_line_of_others() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.ask("MAIL FROM:<a@b>");
    c.send("RCPT TO:<gone@x>\r\n");
    let reply = c.reply();
    assert_eq!(reply.lines.len(), 2, "an alias's text may have lines, all with its own code");
    assert_eq!(reply.code, 550);
    assert_eq!(c.ask("NOOP"), 250);
}

#[test]
fn a_refused_message_leaves_nothing_behind() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("bare\nlf\r\n.\r\n");
    assert_eq!(c.reply().code, 550);
    assert_eq!(c.ask("RCPT TO:<joe@x>"), 503);
    assert_eq!(c.ask("DATA"), 503);
    assert_eq!(c.ask("BDAT 0 LAST"), 503);
}

#[test]
fn a_bdat_error_keeps_step_and_ends_the_transaction() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b>\r\nBDAT 6\r\nQUIT\r\nDATA\r\nBDAT 3 LAST\r\nxyzNOOP\r\n");
    let codes: Vec<u16> = (0..5).map(|_| c.reply().code).collect();
    assert_eq!(codes, [250, 554, 503, 503, 250]);
    c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nBDAT 4\r\na\nb\nBDAT 1 LAST\r\nxDATA\r\n");
    let codes: Vec<u16> = (0..5).map(|_| c.reply().code).collect();
    assert_eq!(codes, [250, 250, 550, 503, 503]);
    assert!(site.committed().is_empty());
}

#[test]
fn too_big_a_message_is_read_to_its_end_and_refused() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("MAIL FROM:<a@b> SIZE=100001"), 552);
    c.begin("a@b", "joe@x");
    for _ in 0..120 {
        c.send([vec![b'x'; 998], b"\r\n".to_vec()].concat());
    }
    c.send(".\r\n");
    assert_eq!(c.reply().code, 552);
    assert_eq!(c.ask("NOOP"), 250);
    assert!(site.committed().is_empty());
}

#[test]
fn a_header_without_end_is_refused() {
    let site = Site::with(limits(), |all| all[MX].server.max_size = 10_000_000);
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    for _ in 0..250 {
        c.send("A: b\r\n".repeat(100));
    }
    c.send("\r\n.\r\n");
    assert_eq!(c.reply().code, 552);
}

#[test]
fn a_disconnect_in_the_middle_accepts_nothing() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("a: b\r\n\r\nhalf\r\n.");
    drop(c);
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nQUIT\r\n");
    drop(c);
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("NOOP"), 250);
    assert!(site.committed().is_empty());
}

#[test]
fn a_slow_client_is_cut_off() {
    let slow = Limits {
        command: Duration::from_secs(5),
        message: Duration::from_millis(300),
        session: Duration::from_millis(900),
        ..limits()
    };
    let site = Site::with(slow, |_| ());
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    for _ in 0..10 {
        c.send("x");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(c.reply().code, 421);
    assert!(c.is_closed());
    // The same in chunks: the time is that of the message.
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    for _ in 0..10 {
        c.send("BDAT 1\r\nx");
        std::thread::sleep(Duration::from_millis(50));
    }
    let last = (0..10).map(|_| c.reply().code).find(|code| *code != 250);
    assert_eq!(last, Some(421));
    // each command in good time, the session never
    let mut c = site.ehlo(MX);
    let mut last = 0;
    for _ in 0..40 {
        c.io.put(b"NOOP\r\n");
        if c.io.flush(soon()).is_err() {
            break;
        }
        last = c.reply().code;
        if last == 421 {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(last, 421);
    // nothing at all
    let idle = Limits { command: Duration::from_millis(100), ..limits() };
    let site = Site::with(idle, |_| ());
    let mut c = site.client(MX);
    assert_eq!(c.reply().code, 421);
}

#[test]
fn errors_and_idle_commands_are_counted() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    let mut codes = Vec::new();
    for _ in 0..20 {
        codes.push(c.ask("FOO"));
    }
    assert_eq!(codes.iter().filter(|c| **c == 500).count(), 19);
    assert_eq!(codes.last(), Some(&421));
    let mut c = site.ehlo(MX);
    let n = (0..100).take_while(|_| c.ask("NOOP") == 250).count();
    assert_eq!(n, 49);
    assert!(c.is_closed());
}

#[test]
fn connections_are_bounded() {
    let few = Limits { connections: 4, ..limits() };
    let site = Site::with(few, |_| ());
    let held: Vec<Client> = (0..4).map(|_| site.client(MX)).collect();
    assert_eq!(site.connect(MX).reply().code, 421);
    drop(held);
    let begun = std::time::Instant::now();
    while site.connect(MX).reply().code != 220 {
        assert!(begun.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn recipients_are_bounded() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.ask("MAIL FROM:<a@b>");
    for i in 0..5 {
        assert_eq!(c.ask(&format!("RCPT TO:<u{i}@x>")), 250);
    }
    assert_eq!(c.ask("RCPT TO:<u5@x>"), 452);
}

#[test]
fn http_gets_no_second_line() {
    let site = Site::new();
    let mut c = site.client(MX);
    c.send("POST / HTTP/1.1\r\nHost: x\r\n\r\nEHLO x\r\nMAIL FROM:<a@b>\r\n");
    assert_eq!(c.reply().code, 421);
    assert!(c.is_closed());
}

#[test]
fn a_helo_cannot_forge_a_header() {
    let site = Site::new();
    let mut c = site.client(MX);
    assert_eq!(c.ask("EHLO a(b);c<d>\"e"), 250);
    c.begin("a@b", "joe@x");
    c.send("\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(site.only().1.starts_with("Received: from a?b??c?d??e (localhost [127.0.0.1])\r\n"));
}

#[test]
fn smuggling_with_crlf_dot_cr() {
    smuggle(b"a\r\n.\rx", 521);
}

#[test]
fn smuggling_in_chunks() {
    for chunk in ["a\n.\n", "a\r\n.\n", "a\r.\r", "a\r\n\n.\r\n"] {
        let site = Site::new();
        let mut c = site.ehlo(MX);
        c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\n");
        c.send(format!("BDAT {} LAST\r\n{chunk}NOOP\r\n", chunk.len()));
        let codes: Vec<u16> = (0..4).map(|_| c.reply().code).collect();
        assert_eq!(codes, [250, 250, 550, 250], "{chunk:?}");
        assert!(site.committed().is_empty(), "{chunk:?}");
    }
}

#[test]
fn many_tiny_chunks_are_one_message() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\n");
    assert_eq!((c.reply().code, c.reply().code), (250, 250));
    let text = format!("A: b\r\n\r\n{}\r\n", "x".repeat(900));
    for byte in text.bytes() {
        c.send([b"BDAT 1\r\n", &[byte][..]].concat());
        assert_eq!(c.reply().code, 250);
    }
    assert_eq!(c.ask("BDAT 0 LAST"), 250);
    assert!(site.only().1.ends_with(&text));
}

#[test]
fn vrfy_in_utf8_leaves_the_session_as_it_was() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("VRFY jos\u{e9}@x"), 252);
    c.begin("a@b", "joe@x");
    c.send("a: b\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(!site.only().0.smtputf8);
}

#[test]
fn cve_2019_10149_nothing_is_expanded() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 250);
    for path in ["<${run{id}}@localhost>", "<root+${run{\\x2Fbin\\x2Fsh}}@localhost>"] {
        let code = c.ask(&format!("RCPT TO:{path}"));
        assert!(code == 250 || code == 501, "{path}: {code}");
    }
    assert_eq!(c.ask("NOOP"), 250);
}

#[test]
fn quotes_in_parameters_end_nothing() {
    let site = Site::new();
    let mut c = site.joe(SMTPS);
    for auth in ["\"", "\"x", "=", "+", "+4", "<", "<>\""] {
        assert_eq!(c.ask(&format!("MAIL FROM:<> AUTH={auth}")), 501, "{auth}");
    }
    assert_eq!(c.ask("MAIL FROM:<> AUTH=<>"), 250);
}

#[test]
fn mechanisms_that_are_not_offered_are_refused() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("STARTTLS"), 220);
    c.tls();
    assert_eq!(c.ask("EHLO c"), 250);
    for mechanism in ["EXTERNAL =", "EXTERNAL", "CRAM-MD5", "NTLM", "XOAUTH2 dXNlcg=="] {
        assert_eq!(c.ask(&format!("AUTH {mechanism}")), 504, "{mechanism}");
    }
}

#[test]
fn a_proxy_header_is_no_command() {
    let site = Site::new();
    let mut c = site.client(MX);
    assert_eq!(c.ask("PROXY TCP4 127.0.0.1 127.0.0.1 1 25"), 500);
    let mut c = site.client(MX);
    c.send(b"\r\n\r\n\0\r\nQUIT\n\r\n");
    assert_eq!(c.reply().code, 500);
}

#[test]
fn a_header_may_begin_with_a_blank() {
    let site = Site::new();
    for (port, begin) in [(MX, " : x\r\nA: b"), (SMTPS, "\tx\r\nTo: \\\"a\\, b")] {
        let mut c = if port == MX { site.ehlo(MX) } else { site.joe(SMTPS) };
        c.begin("joe@example.com", "joe@x");
        c.send(format!("{begin}\r\n\r\ntext\r\n.\r\n"));
        let code = c.reply().code;
        assert!(code == 250 || code == 550, "{code}");
        assert_eq!(c.ask("NOOP"), 250);
    }
}
