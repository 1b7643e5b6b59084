use super::*;
use crate::proto::testing::assert_linear;

fn sample() -> Results {
    Results {
        authserv_id: "mx.example.org".into(),
        methods: vec![
            Method::new("spf", "pass").with("smtp", "mailfrom", "a@example.com"),
            Method::new("dkim", "fail")
                .because(Some("body hash did not verify".into()))
                .with("header", "d", "example.com")
                .with("header", "s", "sel")
                .with("header", "a", "rsa-sha256")
                .with("header", "b", "Ab/+12=="),
            Method { comment: Some("p=reject (dis=none)".into()), ..Method::new("dmarc", "pass") }
                .with("header", "from", "example.com"),
        ],
    }
}

/// RFC 8601 2.2.
#[test]
fn what_is_written_reads_the_same_and_is_folded() {
    let written = sample().write(false);
    let text = String::from_utf8(written.clone()).unwrap();
    assert!(
        text.starts_with(
            "Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=a@example.com;"
        ),
        "{text}"
    );
    assert!(text.contains("dmarc=pass (p=reject \\(dis=none\\)) header.from=example.com\r\n"));
    assert!(text.split("\r\n").all(|l| l.len() <= 78));
    let mut back = parse(&written[23..]).unwrap();
    back.methods[2].comment = sample().methods[2].comment.clone();
    assert_eq!(back, sample());
    let none = Results { authserv_id: "mx".into(), methods: vec![] };
    assert_eq!(none.write(false), b"Authentication-Results: mx; none\r\n");
    assert_eq!(parse(b" mx; none").unwrap().methods, []);
}

/// RFC 8601 2.2, 2.7: all methods that we report, in one field.
#[test]
fn one_field_has_every_method() {
    let results = Results {
        authserv_id: "mx.example.org".into(),
        methods: vec![
            Method::new("spf", "pass").with("smtp", "mailfrom", "a@example.com"),
            Method::new("dkim", "pass").with("header", "d", "example.com"),
            Method::new("dmarc", "pass").with("header", "from", "example.com"),
            Method::new("arc", "none"),
            Method::new("iprev", "pass").with("policy", "iprev", "2001:db8::1"),
            Method::new("auth", "pass").with("smtp", "auth", "a b@example.org"),
        ],
    };
    let written = results.write(false);
    let text = String::from_utf8(written.clone()).unwrap();
    assert_eq!(text.matches("Authentication-Results:").count(), 1);
    assert!(text.contains("iprev=pass policy.iprev=\"2001:db8::1\";"), "{text}");
    assert!(text.contains("auth=pass smtp.auth=\"a b@example.org\"\r\n"), "{text}");
    assert_eq!(parse(&written[23..]), Some(results));
}

/// CVE-2020-12272, CVE-2020-12460; RFC 8601 7.
#[test]
fn nothing_from_outside_begins_a_line() {
    let evil = "x\r\nBcc: y\0\" \\ é";
    let results = Results {
        authserv_id: "mx".into(),
        methods: vec![Method { comment: Some(evil.into()), ..Method::new("spf\r\n", "pass\n") }
            .because(Some(evil.into()))
            .with("smtp", "helo", evil)],
    };
    let text = String::from_utf8(results.write(false)).unwrap();
    assert!(!text.contains("\nBcc") && !text.contains('\0') && text.is_ascii());
    assert!(text.contains("smtp.helo=\"xBcc: y\\\" \\\\ ?\""), "{text}");
    assert!(String::from_utf8(results.write(true)).unwrap().contains('é'));
    let long = Results {
        authserv_id: "mx".into(),
        methods: vec![Method::new("spf", "pass").with("smtp", "helo", &"x".repeat(10_000))],
    };
    assert!(long.write(false).len() < 600);
}

/// RFC 8601 2.2, 2.5, 5.
#[test]
fn a_forged_field_is_ours_however_it_is_written() {
    for value in [
        " mx.example.org; spf=pass",
        "MX.Example.ORG;spf=pass",
        " mx.example.org 1; spf=pass",
        "\r\n\t(c (d)) mx.example.org (e)\r\n ; spf=pass",
        " \"mx.example.org\"; spf=pass",
        " \"mx\\.example.org\"; spf=pass",
        " mx.example.org",
        " mx.example.org.; spf=pass",
        " mx\u{ff0e}example\u{ff0e}org; spf=pass",
        " mx.example.org spf=pass",
        " ;mx.example.org; spf=pass",
        " (open mx.example.org; spf=pass",
        " \"mx.example.org; dmarc=pass",
        " \"mx.example.org\\\"; dmarc=pass",
        " \" mx.example.org \"; dmarc=pass",
        " \"mx\".example.org; dmarc=pass",
        " \"mx.\" \"example.org\"; dmarc=pass",
        " mx.(x)example.org; dmarc=pass",
        " mx.\r\n example.org; dmarc=pass",
        " (open mx\u{ff0e}example\u{ff0e}org; dmarc=pass",
        " (open) m\u{ff58}.example .org; dmarc=pass",
        " mx.example.org 1 x; dmarc=pass",
    ] {
        assert!(is_ours(value.as_bytes(), "mx.example.org"), "{value}");
    }
    for value in [
        " mx.example.net; spf=pass",
        " other; spf=pass smtp.helo=mx.example.org",
        " amx.example.org; none",
        " \"other\\\\\"; spf=pass smtp.helo=mx.example.org",
        " other 1 (mx.example.org); spf=pass smtp.helo=mx.example.org",
    ] {
        assert!(!is_ours(value.as_bytes(), "mx.example.org"), "{value}");
    }
}

/// RFC 8601 5.
#[test]
fn fields_that_only_we_write_go() {
    let header = b"X-Spam: Yes\r\nx-rmail-spam : 1\r\nX-SPAM-Status: a\r\nAuthentication-Results : mx; none\r\n\
        Authentication-Results: other; none\r\nX-Other: mx\r\n";
    let gone: Vec<bool> =
        crate::proto::mime::Fields::new(header).map(|f| must_go(&f, "mx")).collect();
    assert_eq!(gone, [true, true, true, true, false, false]);
}

/// RFC 8601 B.
#[test]
fn the_examples_of_rfc_8601() {
    // B.3, B.6
    let r = parse(b" example.com;\r\n auth=pass (cleartext) smtp.auth=sender@example.net;\r\n spf=pass smtp.mailfrom=example.net").unwrap();
    assert_eq!(r.methods[0].get("smtp", "auth"), Some("sender@example.net"));
    let r = parse(b" example.com; dkim=pass reason=\"good signature\"\r\n header.i=@mail-router.example.net; dkim=fail reason=\"bad signature\" header.i=@newyork.example.com").unwrap();
    assert_eq!(r.methods[1].reason.as_deref(), Some("bad signature"));
    // B.7: comments everywhere.
    let r = parse(b" foo.example.net (foobar) 1 (baz);\r\n dkim (Because I like it) / 1 (One yay) = (wait for it) fail\r\n policy (A dot can go here) . (like that) expired\r\n (this surprised me) = (as I wasn't expecting it) 1362471462").unwrap();
    assert_eq!(r.methods[0].get("policy", "expired"), Some("1362471462"));
    let most = limits::AUTHRES_METHODS.size();
    let many = parse(format!("mx{}; ?", "; spf=pass".repeat(most)).as_bytes()).unwrap();
    assert_eq!(many.methods.len(), most, "the rest is not read");
    assert!(parse(b" a b c").is_none());
    assert!(parse(b"").is_none());
}

/// RFC 8601 2.2, 7; RFC 5322 2.2: HELO, the name of the client's address, who
/// logged in, an explanation, our own name: each is a text of somebody else.
#[test]
fn each_value_from_outside_is_on_its_line_printable_and_within_512_octets() {
    let evil = format!("x\r\nBcc: y\0\x08\x7f\u{85}\u{2028}({}", "z".repeat(1000));
    let field = |method: Method| {
        let results = Results { authserv_id: "mx".into(), methods: vec![method] };
        results.write(false)
    };
    let blank = || Method::new("spf", "fail");
    for written in [
        field(blank().with("smtp", "helo", &evil)),
        field(blank().with("smtp", "mailfrom", &evil)),
        field(blank().with("policy", "iprev", &evil)),
        field(blank().with("smtp", "auth", &evil)),
        field(blank().with("header", "from", &evil)),
        field(blank().because(Some(evil.clone()))),
        field(Method { comment: Some(evil.clone()), ..blank() }),
        field(Method::new(&evil, "pass")),
        field(Method::new("spf", &evil)),
        field(blank().with(&evil, &evil, "x")),
        Results { authserv_id: evil.clone(), methods: vec![] }.write(false),
    ] {
        let text = String::from_utf8(written).unwrap();
        let lines: Vec<&str> = text.strip_suffix("\r\n").unwrap().split("\r\n").collect();
        assert!(lines[1..].iter().all(|l| l.starts_with('\t')), "{text}");
        let plain = |b: u8| matches!(b, b'\t' | b' '..=b'~');
        assert!(lines.iter().all(|l| l.bytes().all(plain)), "{text}");
        assert!(text.matches('z').count() <= 512, "{text}");
        assert!(parse(&text.as_bytes()[23..]).is_some(), "{text}");
    }
}

/// RFC 8601 2.2: `none` where nothing was checked.
#[test]
fn a_field_without_methods_says_none() {
    let none = Results { authserv_id: "mx.example.org".into(), methods: vec![] };
    assert_eq!(none.write(true), b"Authentication-Results: mx.example.org; none\r\n");
    assert_eq!(parse(b" mx.example.org 1; none"), Some(none));
}

#[test]
fn writing_takes_time_that_doubles_with_its_values() {
    for unit in ["x", "\"", "\r\n", "\u{e9}"] {
        assert_linear(|n| {
            let text = unit.repeat(n / unit.len());
            let method = Method { comment: Some(text.clone()), ..Method::new(&text, &text) };
            let method = method.because(Some(text.clone())).with(&text, &text, &text);
            let results = Results { authserv_id: text, methods: vec![method] };
            std::hint::black_box(results.write(true));
        });
    }
    assert_linear(|n| {
        let one = Method::new("dkim", "pass").with("header", "d", "example.org");
        let results = Results { authserv_id: "mx".into(), methods: vec![one; n / 16] };
        std::hint::black_box(results.write(false));
    });
}

#[test]
fn time_doubles_with_the_input() {
    for unit in ["(", ";", "a=b;", " ", "\"", "a.b=c ", "x"] {
        assert_linear(|n| {
            let value = "mx;a=b ".to_string() + &unit.repeat(n / unit.len());
            std::hint::black_box(parse(value.as_bytes()));
            std::hint::black_box(is_ours(value.as_bytes(), "mx"));
            let unreadable = "m x".to_string() + &unit.repeat(n / unit.len());
            std::hint::black_box(is_ours(unreadable.as_bytes(), "mx.example.org"));
        });
    }
}
