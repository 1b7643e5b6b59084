use super::*;

fn ok(text: &str) -> String {
    Mailbox::parse(text.as_bytes(), Charset::Ascii).unwrap().to_string()
}

fn what(text: &[u8]) -> What {
    Mailbox::parse(text, Charset::Ascii).unwrap_err().what
}

#[test]
fn quoted_local_parts_become_canonical() {
    assert_eq!(ok(r#""joe"@Example.ORG"#), "joe@example.org");
    assert_eq!(ok(r#""j\o\e"@a"#), "joe@a");
    assert_eq!(ok(r#""a b"@a"#), r#""a b"@a"#);
    assert_eq!(ok(r#""a\"b\\c"@a"#), r#""a\"b\\c"@a"#);
    assert_eq!(ok(r#""a@b"@c"#), r#""a@b"@c"#);
    assert_eq!(ok(r#""a..b"@c"#), r#""a..b"@c"#);
    assert_eq!(Mailbox::parse(br#""a b"@a"#, Charset::Ascii).unwrap().local(), "a b");
}

#[test]
fn what_is_written_parses_to_the_same() {
    for local in ["joe", "a b", "a\"b", "\\", ".", "a.", "-f", ";sh;", "a@b", "a>b", "|x", "<"] {
        let m = Mailbox::new(local, Domain::parse(b"x.org", Charset::Ascii).unwrap()).unwrap();
        assert_eq!(Mailbox::parse(m.to_string().as_bytes(), Charset::Ascii), Ok(m));
    }
}

#[test]
fn cve_2020_7247_an_empty_domain_saves_no_local_part_from_its_check() {
    assert_eq!(what(b";sh;"), What::NoLocal);
    assert_eq!(what(b";sh;@"), What::NoLocal);
    assert_eq!(what(b"a;sh;"), What::Local);
    assert_eq!(what(b"a;sh;@"), What::Local);
    assert_eq!(what(b"joe"), What::NoDomain);
    assert_eq!(what(b"joe@"), What::NoDomain);
    for bad in ["$(x)", "a(b", "a b", "a\tb", "a,b", "a:b", "a\\b", "a\"b", "a<b", "a\nb", "a\0b"] {
        assert!(Mailbox::parse(format!("{bad}@a").as_bytes(), Charset::Ascii).is_err(), "{bad}");
        assert!(Mailbox::parse(bad.as_bytes(), Charset::Ascii).is_err(), "{bad}");
    }
    for path in ["<;sh;>", "<;sh;@>", "<|x>", "<`x`>", "<-f>", "<>x", "<@>", "<@a>", "<a@-b>"] {
        assert!(ReversePath::parse(path.as_bytes(), Charset::Ascii).is_err(), "{path}");
    }
}

#[test]
fn shell_bytes_that_the_grammar_allows_stay_data() {
    for local in ["a|b", "a`b`", "a&b", "$x", "${run{x}}", "-f", "--", "a/b"] {
        assert_eq!(ok(&format!("{local}@x")), format!("{local}@x"));
    }
}

#[test]
fn control_bytes_are_refused_quoted_too() {
    for b in (0..32).chain([127]) {
        let text = [b"\"a", &[b][..], b"\"@x"].concat();
        assert_eq!(what(&text), What::Local, "{b}");
        let text = [b"\"a\\", &[b][..], b"\"@x"].concat();
        assert_eq!(what(&text), What::Local, "{b}");
        assert!(Mailbox::new(
            &format!("a{}", char::from(b)),
            Domain::parse(b"x", Charset::Ascii).unwrap()
        )
        .is_err());
    }
}

#[test]
fn an_empty_local_part_never_reaches_the_catch_all() {
    assert_eq!(what(b"\"\"@a"), What::NoLocal);
    assert_eq!(what(b"@a"), What::NoLocal);
    assert_eq!(what(b""), What::NoLocal);
}

#[test]
fn dots_of_a_dot_string() {
    assert_eq!(what(b".a@b"), What::Local);
    assert_eq!(what(b"a.@b"), What::Local);
    assert_eq!(what(b"a..b@c"), What::Local);
    assert_eq!(ok("a.b.c@d"), "a.b.c@d");
}

#[test]
fn domains() {
    assert_eq!(ok("a@XN--BCHER-KVA.example"), "a@xn--bcher-kva.example");
    assert_eq!(ok("a@my_host.example"), "a@my_host.example");
    for bad in
        ["a@b.", "a@.b", "a@b..c", "a@-b", "a@b-", "a@b/c", "a@b c", "a@b;c", "a@[x", "a@b@c"]
    {
        assert!(Mailbox::parse(bad.as_bytes(), Charset::Ascii).is_err(), "{bad}");
    }
    assert!(Domain::parse(b"", Charset::Ascii).is_err());
    let label = "a".repeat(63);
    assert!(Domain::parse(label.as_bytes(), Charset::Ascii).is_ok());
    assert_eq!(what(format!("a@{label}a").as_bytes()), What::DomainLength);
    assert_eq!(what(format!("a@{}", "ab.".repeat(85)).as_bytes()), What::Domain);
    assert_eq!(what(format!("a@{}ab", "ab.".repeat(85)).as_bytes()), What::DomainLength);
}

#[test]
fn address_literals() {
    assert_eq!(ok("a@[192.0.2.1]"), "a@[192.0.2.1]");
    assert_eq!(ok("a@[ipv6:2001:DB8:0::1]"), "a@[IPv6:2001:db8::1]");
    let m = Mailbox::parse(b"a@[IPv6:::1]", Charset::Ascii).unwrap();
    assert_eq!(m.domain().address(), Some("::1".parse().unwrap()));
    for bad in [
        "a@[]",
        "a@[1.2.3]",
        "a@[1.2.3.256]",
        "a@[01.2.3.4]",
        "a@[::1]",
        "a@[IPv6:1.2.3.4]",
        "a@[IPv6:fe80::1%em0]",
        "a@[x:y]",
        "a@[1.2.3.4",
        "a@[1.2.3.4]x",
    ] {
        assert!(Mailbox::parse(bad.as_bytes(), Charset::Ascii).is_err(), "{bad}");
    }
}

#[test]
fn paths() {
    let reverse = |t: &str| ReversePath::parse(t.as_bytes(), Charset::Ascii);
    assert_eq!(reverse("<>"), Ok(ReversePath::Null));
    assert_eq!(reverse("<>").unwrap().to_string(), "");
    assert_eq!(reverse("<a@b>").unwrap().to_string(), "a@b");
    assert_eq!(reverse("<@x,@y.z:a@b>").unwrap().to_string(), "a@b");
    assert_eq!(reverse("<@x:>").unwrap_err().what, What::NoLocal);
    assert_eq!(reverse("<@x;a@b>").unwrap_err().what, What::Route);
    assert_eq!(reverse("<x:a@b>").unwrap_err().what, What::Local);
    assert_eq!(reverse("a@b").unwrap_err().what, What::Bracket);
    assert_eq!(reverse("<a@b").unwrap_err().what, What::Bracket);
    assert_eq!(reverse("<a@b>>").unwrap_err().what, What::Trailing);
    assert_eq!(reverse("<postmaster>").unwrap_err().what, What::NoDomain);
    let forward = |t: &str| ForwardPath::parse(t.as_bytes(), Charset::Ascii);
    assert_eq!(forward("<PostMaster>"), Ok(ForwardPath::Postmaster));
    assert_eq!(forward("<>").unwrap_err().what, What::NoLocal);
    let here = Domain::parse(b"here.example", Charset::Ascii).unwrap();
    assert_eq!(
        forward("<postmaster>").unwrap().into_mailbox(&here).to_string(),
        "postmaster@here.example"
    );
}

#[test]
fn lengths_are_bounded() {
    let local = "a".repeat(limits::SMTP_LOCAL_PART.size());
    assert_eq!(ok(&format!("{local}@b")), format!("{local}@b"));
    assert_eq!(what(format!("{local}a@b").as_bytes()), What::LocalLength);
    assert_eq!(what(format!("\"{local}a\"@b").as_bytes()), What::LocalLength);
    let route = format!("<{}:a@b>", vec!["@x"; 5000].join(","));
    assert_eq!(
        ReversePath::parse(route.as_bytes(), Charset::Ascii).unwrap_err().what,
        What::PathLength
    );
}

#[test]
fn utf8_only_where_it_is_allowed() {
    let text = "jürgen@bücher.example".as_bytes();
    assert_eq!(what(text), What::Charset);
    let m = Mailbox::parse(text, Charset::Utf8).unwrap();
    assert!(!m.is_ascii());
    assert_eq!(m.to_string().as_bytes(), text);
    assert_eq!(Mailbox::parse(b"\xff@a", Charset::Utf8).unwrap_err().what, What::Charset);
    assert_eq!(Mailbox::parse(b"\xc2\x85@a", Charset::Utf8).unwrap_err().what, What::Charset);
    assert_eq!(Mailbox::parse(b"a@b\xc0\xae", Charset::Utf8).unwrap_err().what, What::Charset);
}

#[test]
fn sub_addresses() {
    assert_eq!(split_detail("joe+a+b", '+'), ("joe", Some("a+b")));
    assert_eq!(split_detail("joe", '+'), ("joe", None));
    assert_eq!(split_detail("+joe", '+'), ("+joe", None));
    assert_eq!(split_detail("joe+", '+'), ("joe", Some("")));
    let m = Mailbox::parse(b"Joe+Tag@B.c", Charset::Ascii).unwrap();
    assert_eq!(m.key(), "joe+tag@b.c");
    assert_eq!(m.without_detail('+').to_string(), "Joe@b.c");
}

#[test]
fn any_bytes_give_a_value_or_an_error() {
    let mut seed = 7u32;
    for _ in 0..20_000 {
        let mut bytes = Vec::new();
        for _ in 0..(seed % 24) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            bytes.push(b"ab@<>\".\\[]:;, \r\n\x00\xc3\xa9-1"[(seed >> 16) as usize % 21]);
        }
        seed = seed.wrapping_add(1);
        if let Ok(m) = Mailbox::parse(&bytes, Charset::Utf8) {
            assert_eq!(Mailbox::parse(m.to_string().as_bytes(), Charset::Utf8), Ok(m));
        }
        let _ = ForwardPath::parse(&bytes, Charset::Utf8); // must not panic
    }
}

/// Lists without end, of all that opens something and never closes it.
#[test]
fn address_lists_take_linear_time() {
    for unit in ["(", "\"", "\"\"", "<", "a@b,", "g:", ";", "\\", "@", "[", " ", "a\r\n "] {
        crate::proto::testing::assert_linear(|n| {
            std::hint::black_box(list::parse(unit.repeat(n / unit.len()).as_bytes()).len());
        });
    }
}
