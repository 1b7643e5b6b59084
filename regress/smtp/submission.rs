//! Mail of users: logins, fix-ups, senders, the socket.

use super::{Client, Site, SUBMISSION};
use crate::{Env, Outcome};

const RIGHT: &str = "AUTH PLAIN AGpvZUBleGFtcGxlLmNvbQBzZWNyZXQ=";
const WRONG: &str = "AUTH PLAIN AGpvZUBleGFtcGxlLmNvbQB3cm9uZw==";

fn joe(site: &Site, implicit: bool) -> Client {
    let mut c = if implicit {
        site.smtps()
    } else {
        let mut c = site.ehlo(SUBMISSION);
        assert_eq!(c.ask("STARTTLS"), 220);
        c.start_tls();
        assert_eq!(c.ask("EHLO c.example"), 250);
        c
    };
    assert_eq!(c.ask(RIGHT), 235);
    c
}

pub fn fixed_up_on_both_ports(env: &Env) -> Outcome {
    let site = Site::start(env);
    for implicit in [false, true] {
        let mut c = joe(&site, implicit);
        c.begin("joe@example.com", "joe@example.com");
        c.send("To: ann\r\nBcc: z@z\r\nSubject: s\r\n\r\nbare\nlines\r\n.\r\n");
        assert_eq!(c.reply().code, 250);
        assert_eq!(c.ask("QUIT"), 221);
    }
    let all = site.mail("joe");
    assert_eq!(all.len(), 2);
    for mail in &all {
        assert!(mail.contains("\nTo: ann@mx.example\n"), "{mail}");
        assert!(mail.contains("\nFrom: joe@example.com\nDate: "), "{mail}");
        assert!(mail.contains("\nMessage-ID: <") && mail.ends_with("\n\nbare\nlines\n"), "{mail}");
        assert!(!mail.contains("z@z") && mail.contains("with ESMTPSA id "), "{mail}");
    }
    let named = all.iter().filter(|m| m.contains("auth=yes user=joe@example.com")).count();
    assert_eq!(named, 1, "received-auth is an option of one listener");
    Outcome::Passed
}

pub fn wrong_passwords_close_and_block(env: &Env) -> Outcome {
    let site = Site::with(env, "limit login-failures-peer 4");
    let mut c = site.smtps();
    assert_eq!([c.ask(WRONG), c.ask(WRONG), c.ask(WRONG)], [535, 535, 421]);
    assert!(c.is_closed());
    let mut c = site.smtps();
    assert_eq!(c.ask("AUTH LOGIN"), 334);
    assert_eq!(c.ask("*"), 501);
    assert_eq!(c.ask("AUTH PLAIN !!!!"), 501);
    assert_eq!(c.ask("AUTH PLAIN AGpvZQpldmlsAHg="), 535, "a line end in a user name");
    assert_eq!(c.ask(WRONG), 535);
    assert_eq!(c.ask(RIGHT), 454, "the address is blocked");
    let log = site.daemon.log();
    assert!(!log.contains("AGpvZ") && !log.contains("wrong"), "{log}");
    Outcome::Passed
}

pub fn login_in_two_steps(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.smtps();
    assert_eq!(c.ask("AUTH LOGIN"), 334);
    assert_eq!(c.ask("am9lQGV4YW1wbGUuY29t"), 334);
    assert_eq!(c.ask("c2VjcmV0"), 235);
    assert_eq!(c.ask(RIGHT), 503);
    Outcome::Passed
}

pub fn senders_are_held_to(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = joe(&site, false);
    assert_eq!(c.ask("MAIL FROM:<eve@example.com>"), 550);
    c.begin("joe@example.com", "ann@example.com");
    c.send("From: Eve <eve@example.com>\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 550);
    c.begin("joe@example.com", "ann@example.com");
    c.send("From: joe@example.com\r\nFrom: eve@example.com\r\n\r\n.\r\n");
    assert_eq!(c.reply().code, 550);
    c.begin("joe@example.com", "ann@example.com");
    c.send("From: Joe <joe@example.com>\r\n\r\nhi\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    assert!(site.mail("ann").iter().all(|m| m.ends_with("hi\n")));
    site.only("ann");
    Outcome::Passed
}

pub fn a_session_over_the_socket(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = Client::local(&site.daemon.socket);
    assert_eq!(c.reply().code, 220);
    assert_eq!(c.ask("EHLO localhost"), 250);
    c.begin("root@example.com", "joe@example.com");
    c.send("Subject: s\r\n\r\nhi\r\n.\r\n");
    assert_eq!(c.reply().code, 250);
    let mail = site.only("joe");
    let uid = rmail::sys::user::uid();
    assert!(mail.contains(&format!("Received: from localhost (uid {uid} [local])\n")), "{mail}");
    assert!(mail.contains("\nMessage-ID: <"), "{mail}");
    Outcome::Passed
}
