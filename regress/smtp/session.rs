//! Sessions that bring no mail: greeting, TLS, reload, pause.

use super::{rest, Client, Site, MX, SUBMISSION};
use crate::{Env, Outcome};
use std::net::TcpStream;
use std::time::{Duration, Instant};

pub fn greeting_and_extensions(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = Client::connect(site.daemon.address("smtp", MX));
    assert_eq!(c.reply().lines, ["mx.example ESMTP rmail"]);
    c.send("EHLO c.example\r\n");
    let reply = c.reply();
    for word in [
        "PIPELINING",
        "SIZE 1048576",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        "STARTTLS",
        "LIMITS MAILMAX=100 RCPTMAX=5",
    ] {
        assert!(reply.lines.iter().any(|l| l == word), "{word} in {:?}", reply.lines);
    }
    assert_eq!(c.ask("MAIL FROM:<a@b> SIZE=1048577"), 552);
    assert_eq!(c.ask("VRFY joe"), 252);
    assert_eq!(c.ask("QUIT"), 221);
    assert!(c.is_closed());
    let mut c = Client::connect(site.daemon.address("lmtp", 0));
    assert_eq!(c.reply().lines, ["mx.example LMTP rmail"]);
    assert_eq!((c.ask("EHLO c"), c.ask("LHLO c")), (500, 250));
    Outcome::Passed
}

pub fn starttls_with_the_key_in_keyd(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(MX);
    assert_eq!(c.ask("STARTTLS"), 220);
    c.start_tls();
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 503, "EHLO comes first");
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("STARTTLS"), 503);
    assert_eq!(c.ask("MAIL FROM:<a@b>"), 250);
    Outcome::Passed
}

pub fn smtps_with_the_key_in_keyd(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.smtps();
    assert_eq!(c.ask("NOOP"), 250);
    Outcome::Passed
}

pub fn no_mail_before_tls_and_login(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut c = site.ehlo(SUBMISSION);
    assert_eq!(c.ask("MAIL FROM:<joe@example.com>"), 530);
    assert_eq!(c.ask("AUTH PLAIN AGpvZQBzZWNyZXQ="), 538);
    assert_eq!(c.ask("STARTTLS"), 220);
    c.start_tls();
    assert_eq!(c.ask("EHLO c"), 250);
    assert_eq!(c.ask("MAIL FROM:<joe@example.com>"), 530);
    assert_eq!(c.ask("AUTH CRAM-MD5"), 504);
    Outcome::Passed
}

pub fn a_session_outlives_a_reload(env: &Env) -> Outcome {
    let site = Site::start(env);
    let mut old = site.ehlo(MX);
    site.daemon.ctl_ok(&["reload"]);
    assert_eq!(old.ask("MAIL FROM:<a@b>"), 250);
    let mut new = site.ehlo(MX);
    assert_eq!(new.ask("STARTTLS"), 220);
    new.start_tls();
    assert_eq!(new.ask("EHLO c"), 250);
    Outcome::Passed
}

pub fn pause_and_resume(env: &Env) -> Outcome {
    let site = Site::start(env);
    let address = site.daemon.address("smtp", MX);
    let mut c = site.ehlo(MX);
    site.daemon.ctl_ok(&["pause", "smtp"]);
    assert_eq!(c.ask("NOOP"), 250, "who is there stays");
    // Parent keeps the socket open: connections wait in its backlog.  smtp is
    // told without being waited for, so the first may still be served.
    let begun = Instant::now();
    let waiting = loop {
        let waiting = TcpStream::connect(address).expect("connect");
        waiting.set_read_timeout(Some(Duration::from_millis(500))).expect("timeout");
        if std::io::Read::read(&mut &waiting, &mut [0]).is_err() {
            break waiting;
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "not paused");
        rest();
    };
    site.daemon.ctl_ok(&["resume", "smtp"]);
    waiting.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
    assert_eq!(std::io::Read::read(&mut &waiting, &mut [0]).expect("a greeting"), 1);
    Outcome::Passed
}
