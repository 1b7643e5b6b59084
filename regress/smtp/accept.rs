//! Messages from elsewhere, on their way into a mailbox.

use super::{rest, Client, Site, MX};
use crate::{Env, Outcome};
use std::process::Command;
use std::time::{Duration, Instant};

/// Sends the end of a message and gives the code.
fn end(c: &mut Client, text: &str) -> u16 {
    c.send(text);
    c.reply().code
}

pub fn a_message_reaches_the_mailbox(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.begin("a@b.example", "joe@example.com");
    assert_eq!(end(&mut c, "Subject: x\r\nBcc: y\r\n\r\n..one\r\ntwo\r\n.\r\n"), 250);
    let mail = site.only("joe");
    assert!(mail.ends_with("Subject: x\nBcc: y\n\n.one\ntwo\n"), "{mail}");
    assert!(mail.starts_with("Return-Path: <a@b.example>\n"), "{mail}");
    let received =
        "Received: from c.example (localhost [127.0.0.1])\n\tby mx.example (rmail) with ESMTP id ";
    assert!(mail.contains(received), "{mail}");
    assert!(mail.contains("\tfor <joe@example.com>;\n"), "{mail}");
    Outcome::Passed
}

pub fn recipients_by_the_rules(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.send(
        "MAIL FROM:<a@b>\r\nRCPT TO:<nobody@example.com>\r\nRCPT TO:<joe@elsewhere.example>\r\n\
         RCPT TO:<JOE@example.com>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n",
    );
    assert_eq!(c.codes(6), [250, 550, 550, 250, 250, 354]);
    assert_eq!(end(&mut c, "\r\nhi\r\n.\r\n"), 250);
    for name in ["joe", "ann"] {
        let mail = site.only(name);
        assert!(!mail.contains("\tfor <"), "one recipient learns of the other: {mail}");
    }
    Outcome::Passed
}

/// `"@ok.example"@victim.example` is an address at victim.example, whatever
/// its quoted local part spells.
pub fn a_quoted_at_sign_opens_no_relay(env: &Env) -> Outcome {
    let site = Site::with(
        env,
        "action \"out\" relay\n\
         match from any for rcpt-to { \"boss@corp.example\", \"@ok.example\" } action \"out\"\n",
    );
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("MAIL FROM:<>"), 250);
    for (rcpt, code) in [
        ("<x@ok.example>", 250),
        ("<boss@corp.example>", 250),
        ("<\"@ok.example\"@victim.example>", 550),
        ("<\"boss@corp.example\"@victim.example>", 550),
        ("<\"boss@corp.example+x\"@victim.example>", 550),
        // joe@example.com stands in a table of virtual users.
        ("<\"joe@example.com\"@example.com>", 550),
    ] {
        assert_eq!(c.ask(&format!("RCPT TO:{rcpt}")), code, "{rcpt}");
    }
    Outcome::Passed
}

/// What no delivery can take is refused while the client listens: once it is in
/// the queue it can only be sent back to whoever is named as the sender.
pub fn what_no_delivery_takes_is_refused(env: &Env) -> Outcome {
    let site = Site::with(
        env,
        "table all { \"@cat.example\" = \"joe\" }\n\
         action \"cat\" maildir \"@DIR@/mail/%{dest.domain}/%{dest.user:lowercase}\" \
             virtual <all> userbase <users>\n\
         action \"sys\" maildir \"@DIR@/mail/%{user.username}\"\n\
         match from any for domain cat.example action \"cat\"\n\
         match from any for domain sys.example action \"sys\"\n",
    );
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("MAIL FROM:<forged@b.example>"), 250);
    for (rcpt, code) in [
        ("<a/b@cat.example>", 550),
        ("<\"..\"@cat.example>", 550),
        ("<\"x /../y\"@cat.example>", 550),
        ("<xy@cat.example>", 250),
    ] {
        assert_eq!(c.ask(&format!("RCPT TO:{rcpt}")), code, "{rcpt}");
    }
    // Users of the system are parent's to guard if it is root.
    if rmail::sys::user::is_root() {
        assert_eq!(c.ask("RCPT TO:<daemon@sys.example>"), 550);
        for own in rmail::proc::table::USERS {
            assert_eq!(c.ask(&format!("RCPT TO:<{own}@sys.example>")), 550, "{own}");
        }
    }
    Outcome::Passed
}

pub fn chunks_reach_the_mailbox(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@example.com>\r\nBDAT 9\r\nA: b\r\n\r\n.BDAT 8 LAST\r\n\r\n.\r\nx\r\n");
    assert_eq!(c.codes(4), [250; 4]);
    assert!(site.only("joe").ends_with("A: b\n\n.\n.\nx\n"));
    Outcome::Passed
}

pub fn lmtp_answers_for_each(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = Client::connect(site.daemon.address("lmtp", 0));
    assert_eq!(c.reply().code, 220);
    c.send(
        "LHLO c\r\nMAIL FROM:<>\r\nRCPT TO:<joe@example.com>\r\nRCPT TO:<no@example.com>\r\n\
         RCPT TO:<ann@example.com>\r\nDATA\r\n",
    );
    assert_eq!(c.codes(6), [250, 250, 250, 550, 250, 354]);
    c.send("\r\nhi\r\n.\r\nQUIT\r\n");
    assert_eq!(c.codes(3), [250, 250, 221]);
    assert!(site.only("joe").contains("with LMTP id "));
    site.only("ann");
    Outcome::Passed
}

/// After what looks like the end of a message, another is smuggled in.
fn smuggle(env: &Env, ends: &[(&[u8], u16)]) -> Outcome {
    let site = Site::start(env);
    for (fake, code) in ends {
        for split in [false, true] {
            let mut c = site.ehlo(MX);
            c.begin("a@b", "joe@example.com");
            let rest =
                b"MAIL FROM:<evil@x>\r\nRCPT TO:<ann@example.com>\r\nDATA\r\n\r\nevil\r\n.\r\n";
            if split {
                c.trickle(fake);
            } else {
                c.send(fake);
            }
            if *code == 521 {
                assert_eq!(c.reply().code, 521, "{fake:?}");
                assert!(c.is_closed(), "{fake:?}");
            } else {
                c.send(rest);
                assert_eq!(c.reply().code, *code, "{fake:?}");
            }
        }
    }
    assert_eq!((site.mail("joe").len(), site.mail("ann").len()), (0, 0));
    Outcome::Passed
}

pub fn smuggling_with_bare_lf(env: &Env) -> Outcome {
    smuggle(
        env,
        &[
            (b"a\r\n\n.\n", 521),
            (b"a\n.\r\n", 521),
            (b"a\r\n.\n", 521),
            (b"a\n..\n", 550),
            (b"a\r\n\0.\r\n", 550),
        ],
    )
}

pub fn smuggling_with_bare_cr(env: &Env) -> Outcome {
    smuggle(
        env,
        &[(b"a\r.\r", 521), (b"a\r.\r\n", 521), (b"a\r\n.\rx", 521), (b"a\r\n.\r\r\n", 521)],
    )
}

fn kill(pids: &[u32]) {
    for pid in pids {
        let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status(); // it may be gone
    }
}

pub fn a_queue_that_dies_in_data_is_451(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@example.com");
    kill(&site.daemon.pids("queue"));
    assert_eq!(end(&mut c, "\r\nfirst\r\n.\r\n"), 451);
    c.begin("a@b", "joe@example.com");
    assert_eq!(end(&mut c, "\r\nsecond\r\n.\r\n"), 250);
    assert!(site.only("joe").ends_with("second\n"));
    Outcome::Passed
}

pub fn a_lookup_that_dies_is_451(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 250);
    kill(&site.daemon.pids("lookup"));
    let begun = Instant::now();
    loop {
        match c.ask("RCPT TO:<joe@example.com>") {
            250 => break,
            code => assert_eq!(code, 451),
        }
        assert!(begun.elapsed() < Duration::from_secs(30), "lookup does not come back");
        rest();
    }
    assert_eq!(c.ask("DATA"), 354);
    assert_eq!(end(&mut c, "\r\nhi\r\n.\r\n"), 250);
    site.only("joe");
    Outcome::Passed
}

pub fn a_loop_is_refused(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@example.com");
    let many = "Received: from x by y; now\r\n".repeat(51);
    assert_eq!(end(&mut c, &format!("{many}\r\nhi\r\n.\r\n")), 554);
    c.begin("a@b", "joe@example.com");
    assert_eq!(end(&mut c, "Delivered-To: joe@example.com\r\n\r\nhi\r\n.\r\n"), 554);
    assert!(site.mail("joe").is_empty());
    Outcome::Passed
}

pub fn too_big_a_message_leaves_nothing(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@example.com");
    let line = format!("{}\r\n", "x".repeat(998)).repeat(64);
    for _ in 0..20 {
        c.send(&line);
    }
    assert_eq!(end(&mut c, ".\r\n"), 552);
    assert_eq!(c.ask("RCPT TO:<joe@example.com>"), 503);
    assert!(site.mail("joe").is_empty());
    Outcome::Passed
}

pub fn a_header_of_more_than_256_kib_is_refused(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    // 1024 octets each, and one of 65536.
    let fields = |n: usize| format!("X-Field: {}\r\n", "x".repeat(1013)).repeat(n);
    let folded = |more: usize| {
        let line = format!(" {}\r\n", "y".repeat(1021)).repeat(63);
        format!("X-Long: {}\r\n{line}", "x".repeat(1024 - 10 + more))
    };
    for (header, code) in [
        (fields(256), 250),
        (format!("{}X: y\r\n", fields(256)), 552),
        (folded(0), 250),
        (folded(1), 552),
    ] {
        c.begin("a@b", "joe@example.com");
        c.send(&header);
        assert_eq!(end(&mut c, "\r\nhi\r\n.\r\n"), code, "a header of {}", header.len());
    }
    assert_eq!(site.mail("joe").len(), 2);
    Outcome::Passed
}
