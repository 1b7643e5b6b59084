//! TLS, logins, and what users' messages get.

use super::*;

#[test]
fn submission_over_starttls_and_smtps_gets_the_same_fix_ups() {
    for port in [SUBMISSION, SMTPS] {
        let site = Site::new();
        let mut c = site.joe(port);
        c.begin("joe@example.com", "ann@there.example");
        c.send("To: ann\r\nBcc: z@z\r\nSubject: s\n\r\nbare\nlines\r\n.\r\n");
        assert_eq!(c.reply().code, 250);
        let (message, text) = site.only();
        assert_eq!(message.session.protocol, "ESMTPSA");
        assert_eq!(message.session.user.as_deref(), Some("joe@example.com"));
        let header = "To: ann@mx.example\r\nSubject: s\r\nFrom: joe@example.com\r\n\
                      Date: ";
        assert!(text.contains(header), "{text}");
        assert!(text.contains("\r\nMessage-ID: <000000000001@mx.example>\r\n\r\nbare\r\nlines\r\n"));
        assert!(text.contains("with ESMTPSA id 000000000001\r\n\t(TLSv1."), "{text}");
        assert!(!text.contains("z@z") && !text.contains("user="));
    }
}

#[test]
fn mail_from_elsewhere_is_not_touched() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("To: ann\r\nBcc: z@z\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(site.only().1.ends_with("To: ann\r\nBcc: z@z\r\n\r\n"));
}

#[test]
fn trace_fields_stay_above_a_message_without_header() {
    let site = Site::new();
    let mut c = site.ehlo(MX);
    c.begin("a@b", "joe@x");
    c.send("hello\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(site.only().1.ends_with("+0000\r\n\r\nhello\r\n"), "{}", site.only().1);
}

#[test]
fn received_says_or_hides_who_it_was() {
    let site = Site::with(limits(), |all| {
        all[SUBMISSION].received_auth = true;
        all[SUBMISSION].mask_src = true;
    });
    let mut c = site.joe(SUBMISSION);
    c.begin("joe@example.com", "ann@there.example");
    c.send("Received: from laptop\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    let (_, text) = site.only();
    assert!(text.starts_with("Received: by mx.example (rmail) with ESMTPSA"), "{text}");
    assert!(text.contains("auth=yes user=joe@example.com)") && !text.contains("laptop"));
}

#[test]
fn senders_hold_envelope_and_header() {
    let site = Site::with(limits(), |all| all[SUBMISSION].senders = Some("s".into()));
    let mut c = site.joe(SUBMISSION);
    assert_eq!(c.ask("MAIL FROM:<eve@example.com>"), 550);
    assert_eq!(c.ask("MAIL FROM:<>"), 250);
    assert_eq!(c.ask("RSET"), 250);
    c.begin("joe@example.com", "ann@x");
    c.send("From: eve@example.com\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 550);
    c.begin("joe@example.com", "ann@x");
    c.send("From: Joe <joe@example.com>\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert_eq!(site.committed().len(), 1);
}

#[test]
fn who_logged_in_is_told_where_from_is_another() {
    let site = Site::new();
    let mut c = site.joe(SUBMISSION);
    c.begin("ann@example.com", "ann@x");
    c.send("From: ann@example.com\r\nSender: eve@x\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    let (_, text) = site.only();
    assert!(text.contains("From: ann@example.com\r\nSender: joe"), "{text}");
    assert!(!text.contains("eve@x"), "{text}");
}

#[test]
fn of_the_socket_received_tells_who_it_was_and_sender_stays() {
    let site = Site::new();
    let mut c = site.local(1000);
    c.begin("list@mx.example", "joe@x");
    c.send("From: ann@example.com\r\nSender: list@mx.example\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(site.only().1.contains("\r\nSender: list@mx.example\r\n"));
}

#[test]
fn the_socket_is_a_submission_of_its_user() {
    let site = Site::new();
    let mut c = site.local(1000);
    c.begin("user1000@mx.example", "joe@x");
    c.send("Subject: s\r\n\r\nhi\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    let (message, text) = site.only();
    assert_eq!(message.session.client, None);
    assert_eq!(message.session.user.as_deref(), Some("user1000"));
    assert!(text.starts_with("Received: from localhost (uid 1000 [local])\r\n"));
    assert!(text.contains("From: user1000@mx.example\r\nDate: "));
}

#[test]
fn tls_and_login_are_demanded() {
    let site = Site::new();
    let mut c = site.ehlo(SUBMISSION);
    assert_eq!(c.ask("MAIL FROM:<joe@example.com>"), 530);
    assert_eq!(c.ask("AUTH PLAIN AGpvZQBzZWNyZXQ="), 538);
    assert_eq!(c.ask("STARTTLS"), 220);
    c.tls();
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("MAIL FROM:<joe@example.com>"), 530);
}

#[test]
fn login_dialogues() {
    let site = Site::new();
    let mut c = site.connect(SMTPS);
    c.tls();
    assert_eq!(c.reply().code, 220);
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("AUTH LOGIN"), 334);
    assert_eq!(c.ask("*"), 501);
    assert_eq!(c.ask("AUTH LOGIN"), 334);
    assert_eq!(c.ask("!!!"), 501);
    assert_eq!(c.ask("AUTH PLAIN YnVzeQBidXN5AHB3"), 454, "busy is no wrong password");
    assert_eq!(c.ask("AUTH PLAIN AGJyb2tlbgBwdw=="), 454);
    assert_eq!(c.ask("AUTH LOGIN am9l"), 334);
    assert_eq!(c.ask("c2VjcmV0"), 235);
}

#[test]
fn failed_logins_close_the_session_and_then_block_the_address() {
    let site = Site::new();
    let wrong = "AUTH PLAIN AGpvZQB3cm9uZw==";
    let connect = || {
        let mut c = site.connect(SMTPS);
        c.tls();
        assert_eq!((c.reply().code, c.ask("EHLO c")), (220, 250));
        c
    };
    let mut c = connect();
    assert_eq!([c.ask(wrong), c.ask(wrong), c.ask(wrong)], [535, 535, 421]);
    assert!(c.is_closed());
    let mut c = connect();
    assert_eq!(c.ask(wrong), 535);
    assert_eq!(c.ask("AUTH PLAIN AGpvZQBzZWNyZXQ="), 454, "nobody is asked any more");
}
