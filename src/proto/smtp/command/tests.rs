use super::*;

const ALL: Features = Features { dsn: true, lmtp: false, esmtp: true };

fn ok(line: &str) -> Command {
    parse(line.as_bytes(), ALL).unwrap_or_else(|e| panic!("{line}: {e:?}"))
}

fn err(line: &str) -> CommandError {
    parse(line.as_bytes(), ALL).expect_err(line)
}

fn mail_of(line: &str) -> Mail {
    match ok(line) {
        Command::Mail(m) => m,
        other => panic!("{other:?}"),
    }
}

fn rcpt_of(line: &str) -> Rcpt {
    match ok(line) {
        Command::Rcpt(r) => r,
        other => panic!("{other:?}"),
    }
}

#[test]
fn verbs_in_any_case_and_trailing_blanks() {
    assert_eq!(ok("quit"), Command::Quit);
    assert_eq!(ok("QuIt  \t"), Command::Quit);
    assert_eq!(ok("NOOP anything at all"), Command::Noop);
    assert_eq!(ok("HELP me"), Command::Help);
    assert_eq!(ok("DATA"), Command::Data);
    assert_eq!(ok("rset"), Command::Rset);
    assert_eq!(ok("STARTTLS"), Command::StartTls);
    assert_eq!(err("DATA now"), CommandError::Arguments);
    assert_eq!(err("QUIT x"), CommandError::Arguments);
    assert_eq!(err("STARTTLS x"), CommandError::Arguments);
    assert_eq!(err(""), CommandError::Unknown);
    assert_eq!(err(" NOOP"), CommandError::Unknown);
    assert_eq!(err("NOOPS"), CommandError::Unknown);
    assert_eq!(err("GET / HTTP/1.1"), CommandError::Foreign);
    assert_eq!(err("wiz"), CommandError::Unknown);
    assert_eq!(err("NÖÖP"), CommandError::Bytes);
}

#[test]
fn nul_and_stray_line_ends_are_no_command() {
    for line in ["NOOP\0", "NO\0OP", "QUIT\r", "RSET\nQUIT", "\0"] {
        assert_eq!(err(line), CommandError::Bytes, "{line:?}");
    }
}

#[test]
fn helo_names() {
    assert_eq!(ok("EHLO a.example"), Command::Ehlo(HeloName("a.example".into())));
    assert_eq!(ok("HELO [127.0.0.1]"), Command::Helo(HeloName("[127.0.0.1]".into())));
    assert_eq!(ok("ehlo  MY_PC"), Command::Ehlo(HeloName("MY_PC".into())));
    assert_eq!(HeloName("(x".into()).domain(), None);
    for line in ["EHLO", "EHLO ", "HELO a b", "HELO a\tb", "EHLO ä", "HELO \x7f"] {
        assert_eq!(err(line), CommandError::HeloName, "{line:?}");
    }
    assert_eq!(err(&format!("HELO {}", "a".repeat(256))), CommandError::HeloName);
    assert_eq!(err("LHLO a"), CommandError::Unknown);
    let lmtp = Features { lmtp: true, ..ALL };
    assert_eq!(parse(b"LHLO a", lmtp), Ok(Command::Lhlo(HeloName("a".into()))));
    assert_eq!(parse(b"EHLO a", lmtp), Err(CommandError::Unknown));
}

#[test]
fn mail_with_every_parameter() {
    let m = mail_of(
        "mail from:<a@b> SIZE=100 body=8bitmime SMTPUTF8 RET=HDRS ENVID=QQ+2B1 AUTH=e+3Dmc2@example.com",
    );
    assert_eq!(m.from.to_string(), "a@b");
    assert_eq!(m.size, Some(100));
    assert_eq!(m.body, Some(Body::EightBitMime));
    assert!(m.smtputf8);
    assert_eq!(m.ret, Some(Ret::Hdrs));
    assert_eq!(m.envid.as_deref(), Some("QQ+1"));
    assert_eq!(mail_of("MAIL FROM: <>").from, ReversePath::Null);
    assert_eq!(mail_of("MAIL FROM:<a@b> AUTH=<>").from.to_string(), "a@b");
}

#[test]
fn mail_errors() {
    assert_eq!(err("MAIL"), CommandError::Arguments);
    assert_eq!(err("MAIL TO:<a@b>"), CommandError::Arguments);
    assert_eq!(err("MAILFROM:<a@b>"), CommandError::Unknown);
    assert!(matches!(err("MAIL FROM:a@b"), CommandError::From(_)));
    assert!(matches!(err("MAIL FROM:<;sh;>"), CommandError::From(_)));
    assert_eq!(err("MAIL FROM:<a@b>SIZE=1"), CommandError::Arguments);
    assert_eq!(err("MAIL FROM:<a@b> SIZE"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SIZE="), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SIZE=x"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SIZE=-1"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SIZE=1 SIZE=1"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SIZE=99999999999999999999"), CommandError::Size);
    assert_eq!(err("MAIL FROM:<a@b> SIZE=999999999999999999999"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> BODY=BINARYMIME"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SMTPUTF8=yes"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> SMTPUTF8 SMTPUTF8"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> FOO=BAR"), CommandError::UnknownParameter);
    assert_eq!(err("MAIL FROM:<a@b> NOTIFY=NEVER"), CommandError::UnknownParameter);
    assert_eq!(err("MAIL FROM:<a@b> ENVID=a+0Ab"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> ENVID=a+"), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<a@b> ENVID=a=b"), CommandError::Arguments);
    assert_eq!(
        err(&format!("MAIL FROM:<a@b>{}", " X=1".repeat(40))),
        CommandError::UnknownParameter
    );
}

#[test]
fn exim_underflow_auth_with_quotes() {
    assert_eq!(err("MAIL FROM:<> AUTH=\""), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<> AUTH="), CommandError::Parameter);
    assert_eq!(err("MAIL FROM:<> AUTH=\"\" AUTH=\"\""), CommandError::Parameter);
}

#[test]
fn rcpt_with_every_parameter() {
    let r = rcpt_of("RCPT TO:<a@b> NOTIFY=SUCCESS,delay ORCPT=rfc822;Bob@X+2Bz");
    assert_eq!(r.notify, Some(Notify { success: true, failure: false, delay: true }));
    assert_eq!(r.orcpt, Some(Orcpt { kind: "rfc822".into(), address: "Bob@X+z".into() }));
    assert_eq!(rcpt_of("RCPT TO:<a@b> NOTIFY=never").notify, Some(Notify::default()));
    let r = rcpt_of("RCPT TO:<a@b> ORCPT=utf-8;j\\x{FC}rgen@b");
    assert_eq!(r.orcpt.unwrap().address, "jürgen@b");
    assert_eq!(rcpt_of("RCPT TO:<postmaster>").to, ForwardPath::Postmaster);
}

#[test]
fn rcpt_errors() {
    assert_eq!(err("RCPT TO:<a@b> NOTIFY=NEVER,SUCCESS"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> NOTIFY="), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> NOTIFY=SUCCESS,"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> ORCPT=a@b"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> ORCPT=rfc822;"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> ORCPT=rfc822;a+0D+0Ab"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> ORCPT=utf-8;\\x{A}"), CommandError::Parameter);
    assert_eq!(err("RCPT TO:<a@b> ORCPT=utf-8;\\x{"), CommandError::Parameter);
    let long = format!("RCPT TO:<a@b> ORCPT=rfc822;{}", "a".repeat(501));
    assert_eq!(err(&long), CommandError::Parameter);
    assert!(matches!(err("RCPT TO:<>"), CommandError::To(_)));
    assert!(matches!(err("RCPT TO:<a@>"), CommandError::To(_)));
}

#[test]
fn without_dsn_its_parameters_are_unknown() {
    let no_dsn = Features { dsn: false, ..ALL };
    for line in [
        "MAIL FROM:<> RET=FULL",
        "MAIL FROM:<> ENVID=x",
        "RCPT TO:<a@b> NOTIFY=NEVER",
        "RCPT TO:<a@b> ORCPT=rfc822;a@b",
    ] {
        assert_eq!(parse(line.as_bytes(), no_dsn), Err(CommandError::UnknownParameter));
    }
    let helo = Features { esmtp: false, ..ALL };
    assert_eq!(parse(b"MAIL FROM:<> SIZE=1", helo), Err(CommandError::UnknownParameter));
}

#[test]
fn bdat() {
    assert_eq!(ok("BDAT 0 LAST"), Command::Bdat { size: 0, last: true });
    assert_eq!(ok("bdat 86 last"), Command::Bdat { size: 86, last: true });
    assert_eq!(ok("BDAT 86"), Command::Bdat { size: 86, last: false });
    assert_eq!(err("BDAT"), CommandError::Arguments);
    assert_eq!(err("BDAT x"), CommandError::Arguments);
    assert_eq!(err("BDAT -1"), CommandError::Arguments);
    assert_eq!(err("BDAT 1 FIRST"), CommandError::Arguments);
    assert_eq!(err("BDAT 1 LAST x"), CommandError::Arguments);
    assert_eq!(err("BDAT 18446744073709551616"), CommandError::Size);
}

#[test]
fn auth() {
    assert_eq!(ok("AUTH plain"), Command::Auth { mechanism: "PLAIN".into(), initial: None });
    assert_eq!(
        ok("AUTH PLAIN AGEAYg=="),
        Command::Auth { mechanism: "PLAIN".into(), initial: Some(b"AGEAYg==".to_vec()) }
    );
    assert_eq!(err("AUTH"), CommandError::Arguments);
    assert_eq!(err("AUTH PLAIN a b"), CommandError::Arguments);
    assert_eq!(err(&format!("AUTH {}", "A".repeat(21))), CommandError::Arguments);
}

#[test]
fn xtext_round_trip() {
    let all: Vec<u8> = (0..=255).collect();
    assert_eq!(xtext(write_xtext(&all).as_bytes()), Some(all));
    assert_eq!(xtext(b"+4"), None);
    assert_eq!(xtext(b"++4"), None);
    assert_eq!(xtext(b"a b"), None);
}

/// RFC 6533 3: what is written with `\\x{..}` is read as it was.
#[test]
fn orcpt_round_trip() {
    for address in ["a+b@example", "a=\\b c@example", "jörg@bücher.example", "日本@example"] {
        let written = write_orcpt("utf-8", address).unwrap();
        assert!(written.is_ascii(), "{written}");
        let line = format!("RCPT TO:<x@example> ORCPT={written}");
        let Command::Rcpt(rcpt) = ok(&line) else { panic!("{line}") };
        let orcpt = rcpt.orcpt.unwrap();
        assert_eq!((orcpt.kind.as_str(), orcpt.address.as_str()), ("utf-8", address));
    }
    assert_eq!(write_orcpt("rfc822", "a+b@example").unwrap(), "rfc822;a+2Bb@example");
    assert_eq!(write_orcpt("rfc822", "jörg@example"), None);
    assert_eq!(write_orcpt("x y", "a@example"), None);
}

#[test]
fn any_line_gives_a_command_or_an_error() {
    let words = [
        "MAIL FROM:",
        "RCPT TO:",
        "<",
        ">",
        "a@b",
        " ",
        "SIZE=",
        "ORCPT=",
        "rfc822;",
        "+",
        "\\x{",
        "BDAT ",
        "99999999999999999999",
        "AUTH ",
        "\u{fc}",
        "\"",
        "NOTIFY=",
        ",",
    ];
    let mut seed = 3u32;
    for _ in 0..20_000 {
        let mut line = String::new();
        for _ in 0..8 {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            line.push_str(words[(seed >> 16) as usize % words.len()]);
        }
        let _ = parse(line.as_bytes(), ALL); // must not panic
    }
}
