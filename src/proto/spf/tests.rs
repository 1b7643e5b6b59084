use super::*;
use crate::proto::dns::{Answer, Data, Failure, Name, Query, Type};
use crate::proto::testing::assert_linear;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn sender(ip: &str, from: &str) -> Sender {
    Sender {
        ip: ip.parse().unwrap(),
        helo: b"mail.example.net".to_vec(),
        mail_from: from.as_bytes().to_vec(),
        receiver: b"mx.example.com".to_vec(),
        now: 1000,
    }
}

/// Evaluates over a zone of `(name, record)`; what is not there does not exist.
fn run(sender: &Sender, zone: &[(&str, Data)]) -> (Outcome, usize) {
    let mut lookups = 0;
    let outcome = Answers::new().run(
        |a| check(Identity::MailFrom, sender, Policy::default(), a),
        |q: &Query| {
            lookups += 1;
            let here: Vec<&(&str, Data)> = zone.iter().filter(|(n, _)| name(n) == q.name).collect();
            let found: Vec<Data> =
                here.iter().filter(|(_, d)| d.rtype() == q.rtype).map(|(_, d)| d.clone()).collect();
            match (found.is_empty(), here.is_empty()) {
                (true, true) => Answer::negative(&q.name, crate::proto::dns::Status::NxDomain, 1),
                _ => Answer::found(&q.name, 1, found),
            }
        },
    );
    (outcome, lookups)
}

fn txt(text: &str) -> Data {
    Data::txt(text.as_bytes())
}

fn verdict(record: &str) -> Verdict {
    run(&sender("192.0.2.1", "a@example.org"), &[("example.org", txt(record))]).0.verdict
}

fn problem(zone: &[(&str, Data)]) -> Option<Problem> {
    run(&sender("192.0.2.1", "a@example.org"), zone).0.problem
}

/// RFC 7208 4.6.
#[test]
fn the_whole_record_is_read_before_anything_matches() {
    assert_eq!(verdict("v=spf1 +all moo"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 +all redirect=a.example redirect=b.example"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 +all exp=a.example exp=b.example"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 +all unknown=%{x}"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 +all unknown=fine"), Verdict::Pass);
    assert_eq!(verdict("V=SPF1 +ALL"), Verdict::Pass);
    assert_eq!(verdict("v=spf10 +all"), Verdict::None);
    assert_eq!(verdict("v=spf1 \u{e9}=1 +all"), Verdict::PermError);
}

/// RFC 7208 5.6, 12.
#[test]
fn prefix_lengths_have_no_leading_zeros_and_end_at_32_and_128() {
    for (record, ok) in [
        ("ip4:192.0.2.0/24", true),
        ("ip4:192.0.2.0/024", false),
        ("ip4:192.0.2.0/33", false),
        ("ip4:192.0.2/24", false),
        ("ip4:192.0.2.01", false),
        ("ip6:2001:db8::/128", true),
        ("ip6:2001:db8::/129", false),
        ("ip6:2001:db8::%eth0", false),
        ("a/24//64", true),
        ("a//064", false),
        ("a/33", false),
        ("a//129", false),
        ("ptr/24", false),
        ("all/8", false),
    ] {
        let v = verdict(&format!("v=spf1 {record} -all"));
        assert_eq!(v != Verdict::PermError, ok, "{record}");
    }
}

/// RFC 7208 5.
#[test]
fn a_mapped_address_is_ipv4() {
    let s = sender("::ffff:192.0.2.1", "a@example.org");
    assert_eq!(
        run(&s, &[("example.org", txt("v=spf1 ip4:192.0.2.1 -all"))]).0.verdict,
        Verdict::Pass
    );
}

/// RFC 7208 2.4, 4.3.
#[test]
fn the_null_path_is_postmaster_at_helo() {
    let s = sender("192.0.2.1", "");
    let zone = [
        ("mail.example.net", txt("v=spf1 exists:%{l}.%{o}.e.example -all")),
        ("postmaster.mail.example.net.e.example", Data::A([127, 0, 0, 1].into())),
    ];
    let (outcome, _) = run(&s, &zone);
    assert_eq!((outcome.verdict, outcome.domain.as_str()), (Verdict::Pass, "mail.example.net"));
    let s = sender("192.0.2.1", "@mail.example.net");
    assert_eq!(run(&s, &zone).0.verdict, Verdict::Pass, "empty local part");
}

/// RFC 7208 4.3; RFC 8616 4.
#[test]
fn names_that_can_have_no_record_give_none_without_a_lookup() {
    let long = format!("a@{}", ["x"; 130].join("."));
    for from in ["a@[192.0.2.1]", "a@single", "a@a..b", "a@.a.b", &long, "a@"] {
        let (outcome, lookups) = run(&sender("192.0.2.1", from), &[]);
        assert_eq!((outcome.verdict, lookups), (Verdict::None, 0), "{from}");
    }
    let s = Sender { helo: b"\xff\xfe.example".to_vec(), ..sender("192.0.2.1", "") };
    assert_eq!(run(&s, &[]).0.verdict, Verdict::None, "a HELO that is no text");
    let s = Sender { helo: "bücher.example".into(), ..sender("192.0.2.1", "") };
    assert_eq!(run(&s, &[("xn--bcher-kva.example", txt("v=spf1 +all"))]).0.verdict, Verdict::Pass);
}

/// RFC 7208 4.6.4.
#[test]
fn an_include_loop_ends_at_the_tenth_term() {
    let zone = [("example.org", txt("v=spf1 include:example.org -all"))];
    assert_eq!(problem(&zone), Some(Problem::TooManyTerms));
    let zone = [("example.org", txt("v=spf1 redirect=example.org"))];
    assert_eq!(problem(&zone), Some(Problem::TooManyTerms));
}

/// RFC 7208 4.6.4.
#[test]
fn eleven_terms_through_nested_includes_are_too_many() {
    let a = Data::A([198, 51, 100, 1].into());
    let mut zone = vec![
        ("example.org", txt("v=spf1 include:i.example.org a:h.example.org -all")),
        ("h.example.org", a),
    ];
    let nine = "v=spf1".to_string() + &" a:h.example.org".repeat(8) + " ?all";
    zone.push(("i.example.org", txt(&nine)));
    assert_eq!(problem(&zone), None, "ten");
    let ten = "v=spf1".to_string() + &" a:h.example.org".repeat(9) + " ?all";
    zone[2].1 = txt(&ten);
    assert_eq!(problem(&zone), Some(Problem::TooManyTerms));
}

/// RFC 7208 4.6.4.
#[test]
fn a_third_void_lookup_is_an_error() {
    assert_eq!(problem(&[("example.org", txt("v=spf1 a:x.e.org a:y.e.org -all"))]), None);
    let three = "v=spf1 a:x.e.org mx:y.e.org exists:z.e.org -all";
    assert_eq!(problem(&[("example.org", txt(three))]), Some(Problem::TooManyVoid));
}

/// RFC 7208 4.6.4: the terms are limited, not their lookups.
#[test]
fn an_mx_of_hosts_without_addresses_of_the_family_is_one_void_term() {
    let mut zone = vec![("example.org", txt("v=spf1 mx ip6:2001:db8::1 -all"))];
    for host in ["a.example.org", "b.example.org", "c.example.org"] {
        zone.push(("example.org", Data::Mx(10, name(host))));
        zone.push((host, Data::A([192, 0, 2, 9].into())));
    }
    let (outcome, _) = run(&sender("2001:db8::1", "a@example.org"), &zone);
    assert_eq!((outcome.verdict, outcome.problem), (Verdict::Pass, None));
}

/// RFC 7208 4.6.4, 5.5: an address without a name is a void answer like any
/// other; so is a name without an address.
#[test]
fn a_ptr_that_finds_nothing_is_a_void_term() {
    let outcome = |record: &str, more: &[(&str, Data)]| {
        let mut zone = vec![("example.org", txt(record))];
        zone.extend_from_slice(more);
        let outcome = run(&sender("192.0.2.1", "a@example.org"), &zone).0;
        (outcome.verdict, outcome.problem)
    };
    let (pass, many) = ((Verdict::Pass, None), (Verdict::PermError, Some(Problem::TooManyVoid)));
    assert_eq!(outcome("v=spf1 ptr ptr:b.example ip4:192.0.2.1 -all", &[]), pass);
    let three = "v=spf1 ptr ptr:b.example ptr:c.example ip4:192.0.2.1 -all";
    assert_eq!(outcome(three, &[]), many);
    let pointer = ("1.2.0.192.in-addr.arpa", Data::Ptr(name("h.example.net")));
    assert_eq!(outcome(three, std::slice::from_ref(&pointer)), many);
    let address = ("h.example.net", Data::A([192, 0, 2, 9].into()));
    assert_eq!(outcome(three, &[pointer, address]), pass);
}

/// RFC 7208 4.6.4: terms are counted, and a macro is none.
#[test]
fn a_macro_p_that_finds_nothing_is_no_void_term() {
    let zone = [
        (
            "example.org",
            txt(&format!("v=spf1{} ip4:192.0.2.1 -all", " a:%{p}.example.org".repeat(3))),
        ),
        ("unknown.example.org", Data::A([192, 0, 2, 9].into())),
    ];
    assert_eq!(run(&sender("192.0.2.1", "a@example.org"), &zone).0.verdict, Verdict::Pass);
}

/// RFC 7208 4.6.4: "defaulting to two", and up to the receiver.
#[test]
fn how_many_void_lookups_are_an_error_is_the_operator_s_choice() {
    let s = sender("192.0.2.1", "a@example.org");
    let problem = |void_lookups| {
        let record = txt("v=spf1 a:x.e.org mx:y.e.org exists:z.e.org -all");
        let ask = |q: &Query| match q.rtype {
            Type::TXT => Answer::found(&q.name, 1, vec![record.clone()]),
            _ => Answer::negative(&q.name, crate::proto::dns::Status::NoData, 1),
        };
        let policy = Policy { void_lookups };
        Answers::new().run(|a| check(Identity::MailFrom, &s, policy, a), ask).problem
    };
    assert_eq!(problem(3), None);
    for fewer in [0, 1, 2] {
        assert_eq!(problem(fewer), Some(Problem::TooManyVoid), "{fewer}");
    }
    assert_eq!(Policy::default().void_lookups, 2);
}

/// RFC 7208 4.6.4, 5.4.
#[test]
fn more_than_ten_exchanges_are_an_error_before_any_address_is_asked() {
    let mut zone = vec![("example.org", txt("v=spf1 mx -all"))];
    let hosts: Vec<String> = (0..100).map(|i| format!("m{i}.example.org")).collect();
    for host in &hosts {
        zone.push(("example.org", Data::Mx(1, name(host))));
    }
    let (outcome, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert_eq!((outcome.problem, lookups), (Some(Problem::TooManyMx), 2));
}

/// RFC 7208 4.6.4, 5.5.
#[test]
fn ptr_uses_ten_names_and_its_failures_do_not_match() {
    let hosts: Vec<String> = (0..100).map(|i| format!("h{i}.example.org")).collect();
    let mut zone = vec![("example.org", txt("v=spf1 ptr -all"))];
    for host in &hosts {
        zone.push(("1.2.0.192.in-addr.arpa", Data::Ptr(name(host))));
    }
    zone.push((&hosts[10], Data::A([192, 0, 2, 1].into())));
    let (outcome, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Fail, 12));
    assert!(outcome.problem.is_none());
}

/// RFC 7208 4.6.4, 11.1.
#[test]
fn exists_cannot_be_made_to_ask_more_than_ten_times() {
    let many = "v=spf1".to_string() + &" exists:%{i}.%{l}.%{d}".repeat(100);
    let zone = [("example.org", txt(&many)), ("192.0.2.1.a.example.org", Data::Txt(vec![]))];
    let (_, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert!(lookups <= 3, "{lookups}");
}

/// RFC 7208 7.3; CVE-2021-20314, CVE-2023-42118.
#[test]
fn an_expansion_over_253_octets_loses_labels_on_the_left() {
    let s = sender("192.0.2.1", &format!("{}@example.org", ["label"; 40].join(".")));
    let kept = format!("{}.example.org", ["label"; 40].join("."));
    assert_eq!(kept.len(), 251);
    let zone = [
        ("example.org", txt("v=spf1 exists:more.%{l}.%{d} -all")),
        (kept.as_str(), Data::A([127, 0, 0, 1].into())),
    ];
    assert_eq!(run(&s, &zone).0.verdict, Verdict::Pass);
}

/// RFC 7208 7.3: labels are counted from the right, and the root is none of them.
#[test]
fn a_final_dot_of_the_domain_is_no_label() {
    let zone = [
        ("mail.example.org", txt("v=spf1 exists:%{d2}.e.example -all")),
        ("example.org.e.example", Data::A([127, 0, 0, 1].into())),
    ];
    let s = Sender { helo: b"mail.example.org.".to_vec(), ..sender("192.0.2.1", "") };
    let outcome = run(&s, &zone).0;
    assert_eq!((outcome.verdict, outcome.domain.as_str()), (Verdict::Pass, "mail.example.org"));
}

/// RFC 7208 7.1: domain-end may be a macro-expand, and the escapes are some.
#[test]
fn a_domain_spec_may_end_in_an_escape() {
    for end in ["%%", "%_", "%-", "a%%", "a.%-", "%%%%"] {
        assert_eq!(verdict(&format!("v=spf1 exists:{end} ?all")), Verdict::Neutral, "{end}");
    }
    // An escape and a letter; a top label must not have one.
    for end in ["%%_", "%%a", "a.%%org", "a.o%-g", "%", "%%%"] {
        assert_eq!(verdict(&format!("v=spf1 exists:{end} ?all")), Verdict::PermError, "{end}");
    }
}

/// RFC 7208 7.3; CVE-2021-20314, CVE-2023-42118.
#[test]
fn transformers_take_any_number_but_zero() {
    let zone = [
        ("example.org", txt("v=spf1 exists:%{l1000r-}.%{d} -all")),
        ("c.b.a.example.org", Data::A([127, 0, 0, 1].into())),
    ];
    assert_eq!(run(&sender("192.0.2.1", "a-b-c@example.org"), &zone).0.verdict, Verdict::Pass);
    assert_eq!(verdict("v=spf1 exists:%{l99999999999999999999999r-}.%{d} -all"), Verdict::Fail);
    assert_eq!(verdict("v=spf1 exists:%{l0}.%{d} -all"), Verdict::PermError);
}

/// RFC 8616 4.
#[test]
fn a_local_part_that_is_not_ascii_never_matches() {
    let zone = [("example.org", txt("v=spf1 exists:%{l}.%{d} include:%{s}.example.org +all"))];
    let (outcome, lookups) = run(&sender("192.0.2.1", "é@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Pass, 1));
}

/// RFC 7208 4.3, 4.8.
#[test]
fn nul_in_the_local_part_and_empty_labels_ask_nothing_odd() {
    let zone = [("example.org", txt("v=spf1 exists:%{l}.%{d} -all"))];
    let s = Sender { mail_from: b"a\0b@example.org".to_vec(), ..sender("192.0.2.1", "") };
    assert_eq!(run(&s, &zone).0.verdict, Verdict::Fail);
    let (outcome, lookups) = run(&sender("192.0.2.1", "a..b@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Fail, 1));
}

/// RFC 7208 6.2, 11.5.
#[test]
fn an_explanation_with_line_ends_is_dropped() {
    let explain = |text: &str, local: &str| {
        let zone =
            [("example.org", txt("v=spf1 -all exp=e.example.org")), ("e.example.org", txt(text))];
        run(&sender("192.0.2.1", &format!("{local}@example.org")), &zone).0.explanation
    };
    assert_eq!(explain("no %{c} %{r} %{t}", "a").unwrap(), "no 192.0.2.1 mx.example.com 1000");
    assert_eq!(explain("no\r\nway", "a"), None);
    assert_eq!(explain("no %{l}", "a\r\nb"), None);
    assert_eq!(explain("no %{L}", "a\r\nb").unwrap(), "no a%0D%0Ab");
    assert_eq!(explain(&"x".repeat(5000), "a").unwrap().len(), 512);
}

/// RFC 7208 4.4.
#[test]
fn a_failure_of_the_dns_is_temporary() {
    let s = sender("192.0.2.1", "a@example.org");
    let outcome = Answers::new().run(
        |a| check(Identity::MailFrom, &s, Policy::default(), a),
        |q| Answer::failed(&q.name, Failure::Timeout),
    );
    assert_eq!(outcome.verdict, Verdict::TempError);
    assert_eq!(outcome.verdict.reply(), Some((451, "4.4.3")));
    assert_eq!(Verdict::Fail.reply(), Some((550, "5.7.23")));
    assert_eq!(Verdict::PermError.reply(), Some((550, "5.7.24")));
}

/// RFC 7208 5.5, 11.1.
#[test]
fn signals_of_careless_records() {
    let signals =
        |r: &str| run(&sender("192.0.2.1", "a@example.org"), &[("example.org", txt(r))]).0.signals;
    assert!(signals("v=spf1 +all").plus_all);
    assert!(!signals("v=spf1 -all").plus_all);
    assert!(signals("v=spf1 ip4:10.0.0.0/8 -all").wide);
    assert!(signals("v=spf1 ip4:10.0.0.0/16 ip4:10.1.0.0/24 -all").wide);
    assert!(!signals("v=spf1 ip4:10.0.0.0/16 -all").wide);
    assert!(signals("v=spf1 ptr -all").ptr);
}

#[test]
fn a_giant_record_takes_linear_time() {
    for unit in [" ip4:192.0.2.2", " %{", " a=%%", " moo=", " ", " exists:%{l1r-}.e"] {
        assert_linear(|n| {
            let record = "v=spf1".to_string() + &unit.repeat(n / unit.len());
            std::hint::black_box(verdict(&record));
        });
    }
    // One term of many macros, and an explanation of as many.
    for unit in ["%{l1r-}", "%{i}.", "%%", "%{d100r.-+,/_=}", "a."] {
        assert_linear(|n| {
            let many = unit.repeat(n / unit.len());
            std::hint::black_box(verdict(&format!("v=spf1 exists:{many}.e.example -all")));
        });
        assert_linear(|n| {
            let text = txt(&unit.repeat(n / unit.len()));
            let zone =
                [("example.org", txt("v=spf1 -all exp=e.example.org")), ("e.example.org", text)];
            std::hint::black_box(run(&sender("192.0.2.1", "a@example.org"), &zone));
        });
    }
    // Long values for short macros.
    assert_linear(|n| {
        let s = sender("192.0.2.1", &format!("{}@example.org", "a-".repeat(n / 2)));
        let zone = [("example.org", txt("v=spf1 exists:%{l1r-}.%{lr-}.%{s}.e.example -all"))];
        std::hint::black_box(run(&s, &zone));
    });
}

#[test]
fn a_zero_prefix_matches_everything_of_its_family() {
    let ip = |t: &str| t.parse::<IpAddr>().unwrap();
    assert!(eval::in_network(ip("1.2.3.4"), ip("9.9.9.9"), 0));
    assert!(eval::in_network(ip("::1"), ip("ffff::"), 0));
    assert!(!eval::in_network(ip("::1"), ip("9.9.9.9"), 0));
    assert!(!eval::in_network(ip("10.0.0.1"), ip("10.0.0.2"), 32));
    assert_eq!(Type::TXT.to_string(), "TXT");
}

/// RFC 7208 4.3.
#[test]
fn a_domain_that_does_not_exist_has_no_spf() {
    let s = sender("192.0.2.1", "a@gone.example");
    let (outcome, lookups) = run(&s, &[]);
    assert_eq!(
        (outcome.verdict, outcome.problem, lookups),
        (Verdict::None, Some(Problem::NxDomain), 1)
    );
    let label = format!("a@{}.example", "x".repeat(64));
    assert_eq!(run(&sender("192.0.2.1", &label), &[]).1, 0, "a label of 64 octets");
}

/// RFC 7208 3.1, 3.2, 3.3, 4.4, 4.5.
#[test]
fn the_record_is_one_txt_with_its_strings_joined() {
    let strings = |s: &[&str]| Data::Txt(s.iter().map(|s| s.as_bytes().to_vec()).collect());
    let verdict = |records: &[Data]| {
        let zone: Vec<(&str, Data)> = records.iter().map(|r| ("example.org", r.clone())).collect();
        let (outcome, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
        assert_eq!(lookups, 1, "nothing but TXT is asked for");
        (outcome.verdict, outcome.problem)
    };
    assert_eq!(verdict(&[strings(&["v=sp", "f1 +a", "ll"])]).0, Verdict::Pass);
    assert_eq!(verdict(&[strings(&["v=spf1", "+all"])]), (Verdict::None, Some(Problem::NoRecord)));
    assert_eq!(verdict(&[txt("v=spf1 +all"), txt("other")]).0, Verdict::Pass);
    let two = [txt("v=spf1 +all"), txt("v=spf1 -all")];
    assert_eq!(verdict(&two), (Verdict::PermError, Some(Problem::ManyRecords)));
    assert_eq!(verdict(&[Data::Other(Type(99), b"\x0bv=spf1 +all".to_vec())]).0, Verdict::None);
    assert_eq!(verdict(&[txt("v=spf1")]).0, Verdict::Neutral, "nothing but the version");
}

/// RFC 7208 4.6.1, 12: what stands behind the name decides what it is.
#[test]
fn an_equals_sign_makes_a_modifier_and_a_colon_a_mechanism() {
    assert_eq!(verdict("v=spf1 moo=x +all"), Verdict::Pass);
    assert_eq!(verdict("v=spf1 all=x"), Verdict::Neutral, "an unknown modifier");
    assert_eq!(verdict("v=spf1 moo:x +all"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 redirect:a.example +all"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 +moo=x +all"), Verdict::PermError, "no qualifier there");
    assert_eq!(verdict("v=spf1 =x +all"), Verdict::PermError);
    assert_eq!(verdict("v=spf1 IP4:192.0.2.1 -ALL"), Verdict::Pass);
}

/// RFC 7208 7.1, 4.8.
#[test]
fn a_domain_spec_ends_in_a_toplabel_or_a_macro() {
    for (spec, ok) in [
        ("a.example", true),
        ("a.example.", true),
        ("a.x-1", true),
        ("%{d}", true),
        ("%{d}.example", true),
        ("example", false),
        ("a.123", false),
        ("a.1x", true),
        ("a.-x", false),
        ("a.x-", false),
        ("a.e_x", false),
        ("a..", false),
        ("%{d}x", false),
        ("", false),
    ] {
        let v = verdict(&format!("v=spf1 exists:{spec} -all"));
        assert_eq!(v != Verdict::PermError, ok, "{spec}");
    }
    // A name that is none after all matches nothing, and asks nothing.
    let zone = [("example.org", txt("v=spf1 a:%{l} exists:%{h}..e.example -all"))];
    let (outcome, lookups) = run(&sender("192.0.2.1", "..@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Fail, 1));
}

/// RFC 7208 5.2.
#[test]
fn what_an_include_gives_for_each_result_of_its_record() {
    let including = |record: Option<&str>| {
        let mut zone = vec![("example.org", txt("v=spf1 include:i.example.org ?all"))];
        zone.extend(record.map(|r| ("i.example.org", txt(r))));
        run(&sender("192.0.2.1", "a@example.org"), &zone).0.verdict
    };
    assert_eq!(including(Some("v=spf1 +all")), Verdict::Pass);
    for no_match in ["v=spf1 -all", "v=spf1 ~all", "v=spf1 ?all", "v=spf1"] {
        assert_eq!(including(Some(no_match)), Verdict::Neutral, "{no_match}");
    }
    for error in [Some("v=spf1 moo"), Some("other"), None] {
        assert_eq!(including(error), Verdict::PermError, "{error:?}");
    }
    let s = sender("192.0.2.1", "a@example.org");
    let slow = Answers::new().run(
        |a| check(Identity::MailFrom, &s, Policy::default(), a),
        |q| match q.name.to_string().as_str() {
            "example.org" => {
                Answer::found(&q.name, 1, vec![txt("v=spf1 include:i.example.org ?all")])
            }
            _ => Answer::failed(&q.name, Failure::ServFail),
        },
    );
    assert_eq!(slow.verdict, Verdict::TempError);
}

/// RFC 7208 6.1.
#[test]
fn a_redirect_counts_where_nothing_matched_and_there_is_no_all() {
    let zone = |own: &str| {
        let zone = [("example.org", txt(own)), ("r.example.org", txt("v=spf1 ~all"))];
        let (outcome, _) = run(&sender("192.0.2.1", "a@example.org"), &zone);
        (outcome.verdict, outcome.problem)
    };
    assert_eq!(zone("v=spf1 redirect=r.example.org").0, Verdict::SoftFail);
    assert_eq!(zone("v=spf1 redirect=r.example.org ip4:192.0.2.1").0, Verdict::Pass);
    assert_eq!(zone("v=spf1 redirect=r.example.org -all").0, Verdict::Fail);
    let gone = zone("v=spf1 redirect=gone.example.org");
    assert_eq!(gone, (Verdict::PermError, Some(Problem::NoTarget)));
}

/// RFC 7208 5, 5.3, 5.4, 5.5, 5.7: the DNS fails at a term.
#[test]
fn a_failing_lookup_is_temporary_but_for_ptr() {
    let at = |term: &str| {
        let record = format!("v=spf1 {term} ?all");
        let s = sender("192.0.2.1", "a@example.org");
        let ask = |q: &Query| match q.rtype {
            Type::TXT => Answer::found(&q.name, 1, vec![txt(&record)]),
            _ => Answer::failed(&q.name, Failure::Timeout),
        };
        Answers::new().run(|a| check(Identity::MailFrom, &s, Policy::default(), a), ask).verdict
    };
    for term in ["a", "mx", "exists:x.example"] {
        assert_eq!(at(term), Verdict::TempError, "{term}");
    }
    assert_eq!(at("ptr"), Verdict::Neutral);
    assert_eq!(at("exists:%{p}.example"), Verdict::TempError, "the term's own lookup");
}

/// RFC 7208 5.7: an A record, also for a client of IPv6; 5.3, 5.4: AAAA for it.
#[test]
fn exists_asks_for_a_and_others_for_the_client_s_family() {
    let asked = |ip: &str, term: &str| {
        let mut types = Vec::new();
        let s = sender(ip, "a@example.org");
        let record = format!("v=spf1 {term} ?all");
        Answers::new().run(
            |a| check(Identity::MailFrom, &s, Policy::default(), a),
            |q| {
                types.push(q.rtype);
                let records = match q.rtype {
                    Type::TXT => vec![txt(&record)],
                    Type::MX => vec![Data::Mx(1, name("m.example"))],
                    _ => vec![],
                };
                Answer::found(&q.name, 1, records)
            },
        );
        types.last().copied().unwrap()
    };
    assert_eq!(asked("2001:db8::1", "exists:x.example"), Type::A);
    assert_eq!(asked("2001:db8::1", "a"), Type::AAAA);
    assert_eq!(asked("2001:db8::1", "mx"), Type::AAAA);
    assert_eq!(asked("192.0.2.1", "a"), Type::A);
}

/// RFC 7208 7.4: the examples, but for those of a letter that others cover.
#[test]
fn the_macros_of_rfc_7208_7_4() {
    let expand = |ip: &str, macros: &str| {
        let values = macros::Values {
            ip: ip.parse().unwrap(),
            local: b"strong-bad",
            sender_domain: b"email.example.com",
            domain: b"email.example.com",
            validated: b"mx.example.org",
            helo: b"mx.example.org",
            receiver: b"r",
            now: 0,
        };
        let string = macros::MacroString::parse(macros.as_bytes()).unwrap();
        String::from_utf8(string.expand(&values, 1000).unwrap()).unwrap()
    };
    let v4 = |m: &str| expand("192.0.2.3", m);
    for (macros, expected) in [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{ir}.%{v}.%{l1r-}.lp._spf.%{d2}", "3.2.0.192.in-addr.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%%%_%-", "% %20"),
        ("%{h}%{p}", "mx.example.orgmx.example.org"),
        ("%{S}", "strong-bad%40email.example.com"),
        ("%{l+-,/_=.}", "strong.bad"),
    ] {
        assert_eq!(v4(macros), expected, "{macros}");
    }
    assert_eq!(
        expand("2001:db8::cb01", "%{ir}.%{v}._spf.%{d2}"),
        "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com"
    );
}

/// RFC 7208 7.2: c, r and t are for explanations; what is no macro is an error.
#[test]
fn letters_of_explanations_are_errors_elsewhere() {
    for bad in ["%{c}", "%{r}", "%{t}", "%{x}", "%{", "%", "%(d)", "%{d", "%{dd}", "%{d-r}"] {
        assert!(macros::MacroString::parse(bad.as_bytes()).is_none(), "{bad}");
    }
    for good in ["%{c} %{r} %{t}", "a b", ""] {
        assert!(macros::MacroString::parse_explanation(good.as_bytes()).is_some(), "{good}");
    }
    assert!(macros::MacroString::parse_explanation("é".as_bytes()).is_none());
}

/// RFC 7208 6.2: the explanation is that of the record that failed, after a
/// redirect the target's, after an include the including one's; it is asked for
/// last and never counted.
#[test]
fn an_explanation_is_of_the_record_that_gave_the_fail() {
    let explain = |records: &[(&str, &str)]| {
        let zone: Vec<(&str, Data)> = records.iter().map(|(n, t)| (*n, txt(t))).collect();
        let (outcome, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
        (outcome.verdict, outcome.explanation, lookups)
    };
    let texts = [("own.e.example", "own %{d}"), ("other.e.example", "other %{d}")];
    let with = |records: &[(&'static str, &'static str)]| explain(&[records, &texts[..]].concat());
    let redirected = with(&[
        ("example.org", "v=spf1 redirect=r.example.org exp=own.e.example"),
        ("r.example.org", "v=spf1 -all exp=other.e.example"),
    ]);
    assert_eq!(
        (redirected.0, redirected.1.as_deref()),
        (Verdict::Fail, Some("other r.example.org"))
    );
    let included = with(&[
        ("example.org", "v=spf1 include:r.example.org -all exp=own.e.example"),
        ("r.example.org", "v=spf1 -all exp=other.e.example"),
    ]);
    assert_eq!(included.1.as_deref(), Some("own example.org"));
    assert_eq!(with(&[("example.org", "v=spf1 -all exp=gone.e.example")]).1, None);
    let soft = with(&[("example.org", "v=spf1 ~all exp=own.e.example")]);
    assert_eq!((soft.1, soft.2), (None, 1), "asked for after a fail only");
    let ten = "v=spf1".to_string() + &" a:example.org".repeat(10) + " -all exp=own.e.example";
    let zone = [
        ("example.org", txt(&ten)),
        ("example.org", Data::A([198, 51, 100, 1].into())),
        ("own.e.example", txt("own %{d}")),
    ];
    let (outcome, _) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert_eq!(outcome.explanation.as_deref(), Some("own example.org"), "an eleventh lookup");
    let two = [
        ("example.org", txt("v=spf1 -all exp=own.e.example")),
        ("own.e.example", txt("a")),
        ("own.e.example", txt("b")),
    ];
    assert_eq!(run(&sender("192.0.2.1", "a@example.org"), &two).0.explanation, None);
}

/// RFC 7208 4.6.4, 5.5, 7.3: the first ten names of an address, for `%{p}` too.
#[test]
fn the_macro_p_uses_ten_names() {
    let hosts: Vec<String> = (0..50).map(|i| format!("h{i}.example.net")).collect();
    let mut zone = vec![
        ("example.org", txt("v=spf1 exists:%{p}.e.example -all")),
        ("unknown.e.example", Data::A([127, 0, 0, 1].into())),
    ];
    for host in &hosts {
        zone.push(("1.2.0.192.in-addr.arpa", Data::Ptr(name(host))));
    }
    let (outcome, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Pass, 13), "none leads back: unknown");
}

/// RFC 7208 2.6, 8.4 to 8.7; RFC 7372 3.2.
#[test]
fn results_have_their_words_and_replies() {
    for (verdict, word, reply) in [
        (Verdict::None, "none", None),
        (Verdict::Neutral, "neutral", None),
        (Verdict::Pass, "pass", None),
        (Verdict::Fail, "fail", Some((550, "5.7.23"))),
        (Verdict::SoftFail, "softfail", None),
        (Verdict::TempError, "temperror", Some((451, "4.4.3"))),
        (Verdict::PermError, "permerror", Some((550, "5.7.24"))),
    ] {
        assert_eq!((verdict.word(), verdict.reply()), (word, reply));
    }
}

/// RFC 7208 4.6.4: include, a, mx, ptr, exists and redirect count; all, ip4, ip6
/// and what is not reached do not.
#[test]
fn each_term_that_asks_the_dns_counts_and_others_do_not() {
    let nine = " a:example.org".repeat(9);
    let with = |terms: &str| {
        let zone = [
            ("example.org", txt(&format!("v=spf1{nine}{terms}"))),
            ("example.org", Data::A([198, 51, 100, 1].into())),
            ("example.org", Data::Mx(1, name("example.org"))),
            ("i.example.org", txt("v=spf1 ?all")),
        ];
        problem(&zone)
    };
    for term in ["include:i.example.org", "a:example.org", "mx", "ptr", "exists:example.org"] {
        let one = if term.starts_with("exists") { "exists:i.example.org" } else { term };
        assert_eq!(with(&format!(" {one} -all")), None, "{term} is the tenth");
        assert_eq!(with(&format!(" a:example.org {term} -all")), Some(Problem::TooManyTerms));
    }
    assert_eq!(with(" redirect=i.example.org"), None);
    let eleventh = with(" a:example.org redirect=i.example.org");
    assert_eq!(eleventh, Some(Problem::TooManyTerms));
    let networks = " ip4:198.51.100.7 ip6:2001:db8::1".repeat(20);
    assert_eq!(with(&format!(" a:example.org{networks} -all")), None);
    assert_eq!(with(" a:example.org -all a:example.org"), None, "not reached");
}

/// RFC 7208 4.8, 5.2, 6.1: a name that macros leave nothing of is none.
#[test]
fn a_domain_that_expands_to_nothing_matches_nothing_and_is_an_error_where_a_record_must_be() {
    let result = |term: &str| {
        let s = Sender { helo: Vec::new(), ..sender("192.0.2.1", "a@example.org") };
        let (outcome, lookups) = run(&s, &[("example.org", txt(&format!("v=spf1 {term}")))]);
        assert_eq!(lookups, 1, "{term}");
        (outcome.verdict, outcome.problem)
    };
    for term in ["a:%{h}", "mx:%{h}", "ptr:%{h}", "exists:%{h}"] {
        assert_eq!(result(&format!("{term} ~all")), (Verdict::SoftFail, None), "{term}");
    }
    for term in ["include:%{h} +all", "redirect=%{h}"] {
        assert_eq!(result(term), (Verdict::PermError, Some(Problem::NoTarget)), "{term}");
    }
}

/// RFC 7208 6.2: whatever is wrong with it, the result is the same.
#[test]
fn an_explanation_that_is_not_ascii_or_cannot_be_had_is_none() {
    let explain = |answer: &dyn Fn(&Query) -> Answer| {
        let s = sender("192.0.2.1", "a@example.org");
        let outcome = Answers::new().run(
            |a| check(Identity::MailFrom, &s, Policy::default(), a),
            |q| match q.name.to_string().as_str() {
                "example.org" => {
                    Answer::found(&q.name, 1, vec![txt("v=spf1 -all exp=e.example.org")])
                }
                _ => answer(q),
            },
        );
        assert_eq!(outcome.verdict, Verdict::Fail);
        outcome.explanation
    };
    assert_eq!(explain(&|q| Answer::found(&q.name, 1, vec![txt("no")])).as_deref(), Some("no"));
    for bad in ["n\u{f6}", "%{x}", "50%", "%{s", "a\tb", "a\0b"] {
        assert_eq!(explain(&|q| Answer::found(&q.name, 1, vec![txt(bad)])), None, "{bad}");
    }
    assert_eq!(explain(&|q| Answer::found(&q.name, 1, vec![txt("a"), txt("b")])), None);
    assert_eq!(explain(&|q| Answer::found(&q.name, 1, vec![])), None);
    for failure in [Failure::Timeout, Failure::ServFail] {
        assert_eq!(explain(&|q| Answer::failed(&q.name, failure)), None);
    }
}

/// RFC 7208 2.6.6, 4.4: whatever the failure is.
#[test]
fn each_failure_of_the_dns_is_a_temperror() {
    let s = sender("192.0.2.1", "a@example.org");
    for failure in
        [Failure::ServFail, Failure::Timeout, Failure::Lame, Failure::Malformed, Failure::Other]
    {
        let outcome = Answers::new().run(
            |a| check(Identity::MailFrom, &s, Policy::default(), a),
            |q| Answer::failed(&q.name, failure),
        );
        let found = (outcome.verdict, outcome.problem);
        assert_eq!(found, (Verdict::TempError, Some(Problem::Dns)), "{failure:?}");
    }
}

/// RFC 7208 3.1, 4.5.
#[test]
fn a_record_with_a_byte_beyond_ascii_is_a_permerror() {
    for record in ["v=spf1 +all \u{e9}", "v=spf1 a:b\u{fc}cher.example +all", "v=spf1\u{a0}+all"] {
        let zone = [("example.org", txt(record))];
        let wanted = if record.contains('\u{a0}') { Problem::NoRecord } else { Problem::NotAscii };
        assert_eq!(problem(&zone), Some(wanted), "{record}");
    }
    assert_eq!(problem(&[("example.org", txt("v=spf1 +all\t"))]), Some(Problem::NotAscii));
}

/// RFC 7208 4.3, 4.8; RFC 5321 4.5.3.1.1: a record that repeats them multiplies
/// what the sender wrote.
#[test]
fn a_local_part_or_helo_longer_than_any_is_not_multiplied_by_macros() {
    let at = |local: usize| {
        let zone = [("example.org", txt("v=spf1 exists:%{l}.e.example +all"))];
        let s = sender("192.0.2.1", &format!("{}@example.org", "a".repeat(local)));
        run(&s, &zone).0.verdict
    };
    assert_eq!((at(255), at(256)), (Verdict::Pass, Verdict::None));
    for letter in ["%{l}", "%{h}", "%{H1r-}"] {
        for long in [false, true] {
            assert_linear(|n| {
                let many = letter.repeat(n / letter.len());
                let zone = [
                    ("example.org", txt(&format!("v=spf1 exists:{many} -all exp=x.e.example"))),
                    ("x.e.example", txt(&many)),
                ];
                let octets = if long { n } else { 255 };
                let s = Sender {
                    helo: vec![b'a'; n],
                    ..sender("192.0.2.1", &format!("{}@example.org", "a".repeat(octets)))
                };
                std::hint::black_box(run(&s, &zone));
            });
        }
    }
}
