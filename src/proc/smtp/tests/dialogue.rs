//! What well-behaved clients do.

use super::*;

#[test]
fn a_message_goes_into_the_spool_with_its_trace() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b.example", "joe@here.example");
    c.send("Subject: x\r\n\r\n..dots\r\n.\r\n");
    let reply = c.reply();
    assert_eq!((reply.code, reply.text().as_str()), (250, "000000000001 Message accepted"));
    assert_eq!(c.ask("QUIT"), 221);
    assert!(c.is_closed());
    let (message, text) = site.only();
    assert_eq!(message.sender, "a@b.example");
    assert_eq!(message.rcpts[0].rcpt, "joe@here.example");
    assert_eq!(message.session.protocol, "ESMTP");
    assert_eq!(message.session.helo, "c.example");
    let (received, body) = text.split_once("Subject").unwrap();
    assert!(received.starts_with("Received: from c.example (localhost [127.0.0.1])\r\n\tby mx.example (rmail) with ESMTP id 000000000001\r\n\tfor <joe@here.example>;\r\n"), "{received}");
    assert_eq!(body, ": x\r\n\r\n.dots\r\n");
}

#[test]
fn a_pipelined_session_is_one_flight() {
    let site = Site::new();
    let mut c = site.client(MX);
    c.send("EHLO c\r\nMAIL FROM:<a@b>\r\nRCPT TO:<nobody@x>\r\nRCPT TO:<joe@x>\r\nRCPT TO:<ann@x>\r\nDATA\r\n");
    let codes: Vec<u16> = (0..6).map(|_| c.reply().code).collect();
    assert_eq!(codes, [250, 250, 550, 250, 250, 354]);
    c.send("\r\nx\r\n.\r\nQUIT\r\n");
    assert_eq!((c.reply().code, c.reply().code), (250, 221));
    let (message, text) = site.only();
    assert_eq!(message.rcpts.len(), 2);
    assert!(!text.contains("for <"), "recipients are nobody's business: {text}");
}

#[test]
fn bdat_in_chunks() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b> BODY=8BITMIME\r\nRCPT TO:<joe@x>\r\nBDAT 10\r\nA: b\r\n\r\n.\rBDAT 6 LAST\r\n\n..x\r\n");
    let codes: Vec<u16> = (0..4).map(|_| c.reply().code).collect();
    assert_eq!(codes, [250, 250, 250, 250]);
    assert!(site.only().1.ends_with("A: b\r\n\r\n.\r\n..x\r\n"));
}

#[test]
fn dsn_parameters_are_kept() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b> RET=HDRS ENVID=q+2B1\r\nRCPT TO:<joe@x> NOTIFY=SUCCESS ORCPT=rfc822;J@y\r\nDATA\r\n");
    assert_eq!((c.reply().code, c.reply().code, c.reply().code), (250, 250, 354));
    c.send("\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    let (message, _) = site.only();
    assert_eq!((message.ret_full, message.envid.as_deref()), (Some(false), Some("q+1")));
    let notify = q::Notify { success: true, failure: false, delay: false };
    assert_eq!(message.rcpts[0].notify, Some(notify));
    assert_eq!(message.rcpts[0].orcpt, Some(("rfc822".into(), "J@y".into())));
}

#[test]
fn lmtp_answers_once_for_each_recipient() {
    let site = Site::new();
    let mut c = site.ehlo(LMTP);
    assert_eq!(c.ask("MAIL FROM:<>"), 250);
    for to in ["joe@x", "nobody@x", "ann@x", "joe@x"] {
        c.ask(&format!("RCPT TO:<{to}>"));
    }
    assert_eq!(c.ask("DATA"), 354);
    c.send("\r\nhi\r\n.\r\n");
    assert_eq!((c.reply().code, c.reply().code, c.reply().code), (250, 250, 250));
    assert_eq!(c.ask("QUIT"), 221);
    assert_eq!(site.only().0.rcpts.len(), 2);
}

/// RFC 2033 4.2 and 4.3.
#[test]
fn lmtp_refuses_data_once_and_the_last_chunk_for_each_recipient() {
    let site = Site::new();
    site.mood(Mood::NoSpace);
    let mut c = site.ehlo(LMTP);
    let begin = |c: &mut Client| {
        assert_eq!(c.ask("MAIL FROM:<>"), 250);
        assert_eq!((c.ask("RCPT TO:<joe@x>"), c.ask("RCPT TO:<ann@x>")), (250, 250));
    };
    begin(&mut c);
    assert_eq!(c.ask("DATA"), 452);
    assert_eq!(c.ask("NOOP"), 250);
    begin(&mut c);
    c.send("BDAT 1 LAST\r\nx");
    assert_eq!((c.reply().code, c.reply().code), (452, 452));
    assert_eq!(c.ask("NOOP"), 250);
}

#[test]
fn the_greeting_has_the_name_of_the_address() {
    let site = Site::with(limits(), |all| all[MX].hostnames = Some("names".into()));
    let mut c = site.connect(MX);
    assert_eq!(c.reply().text(), "byaddr.example ESMTP rmail");
}

#[test]
fn recipients_are_refused_for_what_they_are() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.ask("MAIL FROM:<a@b>");
    for (to, code) in [("nobody", 550), ("denied", 550), ("later", 451), ("gone", 550)] {
        c.send(format!("RCPT TO:<{to}@x>\r\n"));
        let reply = c.reply();
        assert_eq!(reply.code, code, "{to}");
        assert_eq!(reply.status.map(|s| u16::from(s.class)), Some(code / 100));
    }
    assert_eq!(c.ask("DATA"), 554);
}

#[test]
fn a_message_that_comes_back_is_a_loop() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("Delivered-To: JOE@x\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 554);
    c.begin("a@b", "joe@x");
    c.send(format!("{}\r\n.\r\n", "Received: x\r\n".repeat(51)));
    assert_eq!(c.reply().code, 554);
    c.begin("a@b", "joe@x");
    c.send("Delivered-To: ann@x\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
}

#[test]
fn a_full_disk_is_452_and_passes() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    assert_eq!((c.ask("MAIL FROM:<a@b>"), c.ask("RCPT TO:<joe@x>")), (250, 250));
    site.mood(Mood::NoSpace);
    assert_eq!(c.ask("DATA"), 452);
    site.mood(Mood::Fine);
    c.begin("a@b", "joe@x");
    c.send("\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
}

#[test]
fn a_commit_whose_queue_died_is_settled_by_the_next() {
    for (mood, code) in [(Mood::DieAfter, 250), (Mood::DieBefore, 451)] {
        let site = Site::new();
        let mut c = site.ehlo(MX);
        c.begin("a@b", "joe@x");
        site.mood(mood);
        c.send("\r\n.\r\n");
        while site.queue.state.lock().unwrap().mood != Mood::Fine {
            std::thread::sleep(Duration::from_millis(5));
        }
        site.start_queue();
        assert_eq!(c.reply().code, code, "{mood:?}");
        assert_eq!(site.committed().len(), usize::from(code == 250));
        let resumes = site.queue.state.lock().unwrap().resumes.clone();
        assert_eq!(resumes, [vec![], vec!["000000000001".to_string()]]);
        c.begin("a@b", "joe@x");
        c.send("\r\n.\r\n");
        assert_eq!(c.reply().code, 250);
    }
}

#[test]
fn a_message_that_is_not_finished_is_given_up() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("half");
    drop(c);
    let mut c = site.ehlo(MX);
    c.send("MAIL FROM:<a@b>\r\nRCPT TO:<joe@x>\r\nBDAT 1\r\nxRSET\r\n");
    assert_eq!([c.reply().code, c.reply().code, c.reply().code, c.reply().code], [250; 4]);
    let begun = std::time::Instant::now();
    while site.queue.state.lock().unwrap().aborted < 2 {
        assert!(begun.elapsed() < Duration::from_secs(10));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(site.committed().is_empty());
}
