use super::*;

fn config() -> Config {
    Config {
        hostname: "mx.example".into(),
        lmtp: false,
        tls: TlsPolicy::Offered,
        auth: AuthPolicy::Optional,
        dsn: true,
        max_size: 1000,
        max_mails: 2,
        max_rcpt: 2,
        max_errors: 50,
        max_idle_commands: 100,
    }
}

fn server() -> Server {
    Server::new(config())
}

/// Plays lines; the outside says yes to everything.  Gives the last code, and
/// for BDAT the chunk that it became.
fn play(s: &mut Server, lines: &[&str]) -> u16 {
    let mut code = 0;
    for line in lines {
        let action = s.line(line.as_bytes());
        code = match yes(s, action) {
            Action::Reply(r) | Action::Close(r) => r.code,
            other => panic!("{line}: {other:?}"),
        };
    }
    code
}

fn yes(s: &mut Server, action: Action) -> Action {
    match action {
        Action::Mail(mail) => s.mail_ok(mail),
        Action::Rcpt(_) => s.rcpt_ok(),
        Action::Data => s.message_done(table::OK).0,
        Action::StartTls => {
            s.tls_started();
            Action::Reply(table::START_TLS)
        }
        Action::Auth { .. } => s.auth_ok("joe".into()),
        Action::Bdat { chunk: Chunk::Refused(r), .. } => s.reply(r),
        Action::Bdat { last: true, .. } => s.message_done(table::OK).0,
        Action::Bdat { .. } => s.reply(table::CHUNK_OK),
        other => other,
    }
}

fn ehlo(s: &mut Server) -> String {
    match s.line(b"EHLO c.example") {
        Action::Reply(r) => r.text.into_owned(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_message_in_order() {
    let mut s = server();
    assert_eq!(s.greeting().to_string(), "220 mx.example ESMTP rmail");
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"]), 250);
    assert_eq!(s.recipients(), 0);
    assert_eq!(play(&mut s, &["QUIT"]), 221);
}

#[test]
fn commands_out_of_order() {
    let mut s = server();
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>"]), 503);
    assert_eq!(play(&mut s, &["EHLO c", "RCPT TO:<c@d>"]), 503);
    assert_eq!(play(&mut s, &["DATA"]), 503);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>", "DATA"]), 554);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>"]), 503);
    assert_eq!(play(&mut s, &["RCPT TO:<c@d>", "RSET", "RCPT TO:<c@d>"]), 503);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "EHLO c", "DATA"]), 503);
}

#[test]
fn a_second_helo_resets_and_is_no_error() {
    let mut s = server();
    assert_eq!(play(&mut s, &["HELO a", "HELO b", "EHLO c", "MAIL FROM:<a@b>", "HELO d"]), 250);
    assert!(s.transaction().is_none());
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b> SIZE=1"]), 555, "no parameters after HELO");
}

#[test]
fn ehlo_says_what_there_is_now() {
    let mut s = server();
    let text = ehlo(&mut s);
    for word in [
        "PIPELINING",
        "SIZE 1000",
        "8BITMIME",
        "SMTPUTF8",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "DSN",
        "STARTTLS",
        "LIMITS MAILMAX=2 RCPTMAX=2",
        "HELP",
    ] {
        assert!(text.lines().any(|l| l == word), "{word} in {text}");
    }
    assert!(!text.contains("AUTH"));
    s.tls_started();
    let text = ehlo(&mut s);
    assert!(text.contains("AUTH PLAIN LOGIN") && !text.contains("STARTTLS"));
    assert_eq!(play(&mut s, &["AUTH PLAIN"]), 235);
    assert!(!ehlo(&mut s).contains("AUTH"));
    let mut s = Server::new(Config { dsn: false, tls: TlsPolicy::None, ..config() });
    let text = ehlo(&mut s);
    assert!(!text.contains("DSN") && !text.contains("STARTTLS"));
    assert_eq!(play(&mut s, &["MAIL FROM:<> RET=FULL"]), 555);
}

#[test]
fn size_is_enforced_at_mail() {
    let mut s = server();
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<a@b> SIZE=1001"]), 552);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b> SIZE=99999999999999999999"]), 552);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b> SIZE=1000"]), 250);
}

#[test]
fn limits_of_session_and_message() {
    let mut s = server();
    play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "RCPT TO:<e@f>"]);
    assert_eq!(play(&mut s, &["RCPT TO:<g@h>"]), 452);
    assert_eq!(play(&mut s, &["DATA", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "DATA"]), 250);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>"]), 452);
}

#[test]
fn too_many_errors_close() {
    let mut s = Server::new(Config { max_errors: 3, ..config() });
    assert_eq!(play(&mut s, &["FOO", "BAR"]), 500);
    assert!(matches!(s.line(b"BAZ"), Action::Close(r) if r.code == 421));
}

#[test]
fn commands_for_ever_close() {
    let mut s = server();
    play(&mut s, &["EHLO c"]);
    let n = (0..1000).take_while(|_| matches!(s.line(b"NOOP"), Action::Reply(_))).count();
    assert_eq!(n, 99);
}

#[test]
fn http_is_shown_the_door() {
    assert!(matches!(server().line(b"POST / HTTP/1.1"), Action::Close(_)));
}

#[test]
fn tls_required_before_mail() {
    let mut s = Server::new(Config { tls: TlsPolicy::Required, ..config() });
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<a@b>"]), 530);
    assert_eq!(play(&mut s, &["STARTTLS", "MAIL FROM:<a@b>"]), 503, "EHLO is to be said again");
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<a@b>"]), 250);
}

#[test]
fn starttls_forgets_all_and_comes_once() {
    let mut s = server();
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>", "STARTTLS"]), 220);
    assert!(s.hello().is_none() && s.transaction().is_none() && s.user().is_none());
    assert_eq!(play(&mut s, &["DATA"]), 503);
    assert_eq!(play(&mut s, &["EHLO c", "STARTTLS"]), 503);
    let mut s = Server::new(Config { tls: TlsPolicy::Implicit, ..config() });
    assert_eq!(play(&mut s, &["EHLO c", "STARTTLS"]), 503);
    let mut s = Server::new(Config { tls: TlsPolicy::None, ..config() });
    assert_eq!(play(&mut s, &["EHLO c", "STARTTLS"]), 502);
}

#[test]
fn auth_only_in_its_place() {
    let mut s = server();
    assert_eq!(play(&mut s, &["EHLO c", "AUTH PLAIN"]), 538);
    play(&mut s, &["STARTTLS"]);
    assert_eq!(play(&mut s, &["AUTH PLAIN"]), 503);
    assert_eq!(play(&mut s, &["EHLO c", "AUTH CRAM-MD5"]), 504);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>", "AUTH PLAIN"]), 503);
    assert_eq!(play(&mut s, &["RSET", "AUTH LOGIN"]), 235);
    assert_eq!(s.user(), Some("joe"));
    assert_eq!(play(&mut s, &["AUTH PLAIN"]), 503);
    let mut s = Server::new(Config { auth: AuthPolicy::Required, ..config() });
    assert_eq!(play(&mut s, &["STARTTLS", "EHLO c", "MAIL FROM:<a@b>"]), 530);
    assert_eq!(play(&mut s, &["AUTH PLAIN", "MAIL FROM:<a@b>"]), 250);
    let mut s = Server::new(Config { auth: AuthPolicy::None, ..config() });
    assert_eq!(play(&mut s, &["STARTTLS", "EHLO c", "AUTH PLAIN"]), 502);
}

#[test]
fn utf8_addresses_need_smtputf8() {
    let mut s = server();
    assert_eq!(play(&mut s, &["EHLO c", "MAIL FROM:<ä@b>"]), 553);
    assert_eq!(play(&mut s, &["MAIL FROM:<a@b>", "RCPT TO:<ä@d>"]), 553);
    assert_eq!(play(&mut s, &["RSET", "MAIL FROM:<ä@b> SMTPUTF8", "RCPT TO:<ä@d>"]), 250);
    assert_eq!(play(&mut s, &["RSET", "VRFY ä SMTPUTF8", "DATA"]), 503);
}

#[test]
fn chunks() {
    let mut s = server();
    let chunk = |s: &mut Server, line: &str| match s.line(line.as_bytes()) {
        Action::Bdat { chunk, .. } => chunk,
        other => panic!("{other:?}"),
    };
    play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]);
    assert_eq!(chunk(&mut s, "BDAT 5"), Chunk::First);
    assert_eq!(chunk(&mut s, "BDAT 5"), Chunk::Next);
    assert_eq!(play(&mut s, &["DATA"]), 503);
    assert_eq!(play(&mut s, &["RCPT TO:<e@f>"]), 503);
    assert_eq!(play(&mut s, &["MAIL FROM:<e@f>"]), 503);
    assert_eq!(chunk(&mut s, "BDAT 0 LAST"), Chunk::Next);
    s.message_done(table::OK);
    assert!(matches!(chunk(&mut s, "BDAT 5"), Chunk::Refused(r) if r.code == 503));
}

#[test]
fn postfix_2026_bdat_error_then_data_without_rcpt() {
    let mut s = server();
    play(&mut s, &["EHLO c", "MAIL FROM:<a@b>"]);
    assert_eq!(play(&mut s, &["BDAT 5"]), 554);
    assert_eq!(play(&mut s, &["DATA"]), 503);
    assert_eq!(play(&mut s, &["BDAT 5 LAST"]), 503);
    play(&mut s, &["MAIL FROM:<a@b>", "RCPT TO:<c@d>", "BDAT 5"]);
    s.message_done(table::LOCAL_ERROR);
    assert_eq!(play(&mut s, &["DATA"]), 503);
}

#[test]
fn postfix_2026_a_refused_message_leaves_no_transaction() {
    let mut s = server();
    play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]);
    assert!(matches!(s.line(b"DATA"), Action::Data));
    s.message_done(table::TOO_BIG);
    assert_eq!(play(&mut s, &["RCPT TO:<c@d>"]), 503);
    assert_eq!(play(&mut s, &["DATA"]), 503);
}

#[test]
fn millions_of_empty_chunks_close() {
    let mut s = server();
    play(&mut s, &["EHLO c", "MAIL FROM:<a@b>", "RCPT TO:<c@d>"]);
    let n = (0..1000).take_while(|_| matches!(s.line(b"BDAT 0"), Action::Bdat { .. })).count();
    assert!(n <= 100);
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let mut s = Server::new(Config { lmtp: true, ..config() });
    assert_eq!(s.greeting().to_string(), "220 mx.example LMTP rmail");
    assert_eq!(play(&mut s, &["EHLO c"]), 500);
    assert_eq!(play(&mut s, &["LHLO c", "MAIL FROM:<a@b>", "DATA"]), 503);
    assert_eq!(play(&mut s, &["RCPT TO:<c@d>", "RCPT TO:<e@f>"]), 250);
    assert!(matches!(s.line(b"DATA"), Action::Data));
    assert_eq!(s.message_done(table::OK).1, 2);
    assert!(s.transaction().is_none());
}
