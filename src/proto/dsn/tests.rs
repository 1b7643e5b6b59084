use super::*;
use crate::proto::addr::Charset;

fn mailbox(text: &str) -> Mailbox {
    Mailbox::parse(text.as_bytes(), Charset::Utf8).unwrap()
}

fn report<'a>(to: &'a Mailbox, recipients: &'a [Recipient<'a>]) -> Report<'a> {
    Report {
        host: "mx.example",
        to,
        action: Action::Failed,
        recipients,
        unparsed: &[],
        envid: Some("QQ314159"),
        id: "abcdefghijkl",
        arrival: DateTime::utc(1_795_473_261),
        now: DateTime::utc(1_795_473_361),
        unique: "u1",
        returned: Ret::Hdrs,
        eight_bit: false,
    }
}

fn recipient(address: &Mailbox) -> Recipient<'_> {
    Recipient {
        address,
        original: None,
        action: Action::Failed,
        status: Enhanced::new(5, 1, 1),
        remote: Some("mail.there.example"),
        diagnostic: Some(Diagnostic::Smtp("550 5.1.1 No such user")),
        last_attempt: Some(DateTime::utc(1_795_473_300)),
        until: None,
    }
}

fn whole(report: &Report<'_>, message: &str) -> String {
    let mut bytes = report.head();
    bytes.extend_from_slice(message.as_bytes());
    bytes.extend(report.tail());
    String::from_utf8(bytes).unwrap()
}

#[test]
fn a_failure_report() {
    let (to, rcpt) = (mailbox("joe@example.com"), mailbox("ann@there.example"));
    let orcpt = Orcpt { kind: "rfc822".into(), address: "Ann@list.example".into() };
    let recipients = [Recipient { original: Some(&orcpt), ..recipient(&rcpt) }];
    let text = whole(&report(&to, &recipients), "Subject: x\r\n");
    assert_eq!(
        text,
        "From: Mail Delivery System <MAILER-DAEMON@mx.example>\r\n\
         To: <joe@example.com>\r\n\
         Subject: Undelivered mail returned to sender\r\n\
         Date: Mon, 23 Nov 2026 22:36:01 +0000\r\n\
         Message-ID: <u1@mx.example>\r\n\
         Auto-Submitted: auto-replied\r\n\
         MIME-Version: 1.0\r\n\
         Content-Type: multipart/report; report-type=delivery-status;\r\n\
         \tboundary=\"u1/mx.example\"\r\n\
         \r\n\
         This is a multi-part message in MIME format.\r\n\
         \r\n\
         --u1/mx.example\r\n\
         Content-Description: Notification\r\n\
         Content-Type: text/plain; charset=utf-8\r\n\
         \r\n\
         This is the mail system at host mx.example.\r\n\
         \r\n\
         Your message could not be delivered to the following recipients.\r\n\
         It will not be tried again.\r\n\
         \r\n\
         <ann@there.example>\r\n\
         \x20   host mail.there.example said:\r\n\
         \x20   550 5.1.1 No such user\r\n\
         \r\n\
         --u1/mx.example\r\n\
         Content-Description: Delivery report\r\n\
         Content-Type: message/delivery-status\r\n\
         \r\n\
         Original-Envelope-Id: QQ314159\r\n\
         Reporting-MTA: dns; mx.example\r\n\
         Arrival-Date: Mon, 23 Nov 2026 22:34:21 +0000\r\n\
         \r\n\
         Original-Recipient: rfc822;Ann@list.example\r\n\
         Final-Recipient: rfc822; ann@there.example\r\n\
         Action: failed\r\n\
         Status: 5.1.1\r\n\
         Remote-MTA: dns; mail.there.example\r\n\
         Diagnostic-Code: smtp; 550 5.1.1 No such user\r\n\
         Last-Attempt-Date: Mon, 23 Nov 2026 22:35:00 +0000\r\n\
         Final-Log-ID: abcdefghijkl\r\n\
         \r\n\
         --u1/mx.example\r\n\
         Content-Description: Message headers\r\n\
         Content-Type: text/rfc822-headers\r\n\
         \r\n\
         Subject: x\r\n\
         \r\n\
         --u1/mx.example--\r\n"
    );
}

#[test]
fn what_is_no_address_is_named_in_the_text() {
    let (to, rcpt) = (mailbox("joe@example.com"), mailbox("ann@there.example"));
    let unparsed = [("foo bar\r\n\r\n--u1", "501 5.1.3 Bad recipient address")];
    let recipients = [recipient(&rcpt)];
    let both = Report { unparsed: &unparsed, ..report(&to, &recipients) };
    let text = whole(&both, "Subject: x\r\n");
    let named = "\r\n<foo bar????--u1>\r\n    501 5.1.3 Bad recipient address\r\n\r\n--u1/mx";
    assert!(text.contains(named), "{text}");
    assert_eq!(text.matches("Final-Recipient: ").count(), 1, "{text}");
    // Alone it makes no report for programs, which would name nobody.
    let text = whole(&Report { recipients: &[], ..both }, "Subject: x\r\n");
    assert!(text.contains(named) && text.contains("Content-Type: multipart/mixed;"), "{text}");
    assert!(!text.contains("delivery-status") && !text.contains("Reporting-MTA"), "{text}");
    assert!(text.ends_with("Subject: x\r\n\r\n--u1/mx.example--\r\n"), "{text}");
}

#[test]
fn a_delay_says_how_long_and_a_full_return_is_a_message() {
    let (to, rcpt) = (mailbox("joe@example.com"), mailbox("ann@there.example"));
    let recipients = [Recipient {
        action: Action::Delayed,
        status: Enhanced::new(4, 4, 1),
        remote: None,
        diagnostic: Some(Diagnostic::Local("connection timed out")),
        until: Some(DateTime::utc(1_795_873_261)),
        ..recipient(&rcpt)
    }];
    let r = Report {
        action: Action::Delayed,
        returned: Ret::Full,
        eight_bit: true,
        ..report(&to, &recipients)
    };
    let text = whole(&r, "");
    for want in [
        "Subject: Delayed mail (still being retried)\r\n",
        "Will-Retry-Until: Sat, 28 Nov 2026 13:41:01 +0000\r\n",
        "    It will be tried until Sat, 28 Nov 2026 13:41:01 +0000.\r\n",
        "Diagnostic-Code: x-rmail; connection timed out\r\n",
        "Content-Type: message/rfc822\r\nContent-Transfer-Encoding: 8bit\r\n",
        "boundary=\"u1/mx.example\"\r\nContent-Transfer-Encoding: 8bit\r\n",
    ] {
        assert!(text.contains(want), "{want} in {text}");
    }
}

#[test]
fn hostile_remote_text_begins_no_field_and_no_part() {
    let (to, rcpt) = (mailbox("joe@example.com"), mailbox("ann@there.example"));
    let evil = "550 a\r\n\r\n--u1/mx.example--\r\nX: y\n\u{1b}[2J\u{85}\0ä";
    let long = format!("550 {} {}", "word ".repeat(100), "x".repeat(3000));
    let recipients = [
        Recipient {
            remote: Some("evil\r\nBcc: z"),
            diagnostic: Some(Diagnostic::Smtp(evil)),
            ..recipient(&rcpt)
        },
        Recipient { diagnostic: Some(Diagnostic::Smtp(&long)), ..recipient(&rcpt) },
    ];
    let text = whole(&report(&to, &recipients), "");
    assert!(text.lines().all(|l| l.len() < 998));
    assert!(!text.contains("\r\nX: y") && !text.contains("\r\nBcc"));
    assert_eq!(text.matches("\r\n--u1/mx.example").count(), 4);
    assert!(text.bytes().all(|b| b == b'\r' || b == b'\n' || b == b'\t' || (32..127).contains(&b)));
    assert!(text.contains("Remote-MTA: dns; evil??Bcc:?z\r\n"));
}

#[test]
fn addresses_in_utf8() {
    let (to, rcpt) = (mailbox("joe@example.com"), mailbox("jürgen@there.example"));
    let text = whole(&report(&to, &[recipient(&rcpt)]), "");
    assert!(text.contains("Final-Recipient: utf-8; j\\x{FC}rgen@there.example\r\n"));
    assert!(text.contains("<jürgen@there.example>\r\n"));
    assert!(text.contains("charset=utf-8\r\nContent-Transfer-Encoding: 8bit\r\n"));
}
