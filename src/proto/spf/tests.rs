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
        |a| check(Identity::MailFrom, sender, a),
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

#[test]
fn a_mapped_address_is_ipv4() {
    let s = sender("::ffff:192.0.2.1", "a@example.org");
    assert_eq!(
        run(&s, &[("example.org", txt("v=spf1 ip4:192.0.2.1 -all"))]).0.verdict,
        Verdict::Pass
    );
}

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

#[test]
fn an_include_loop_ends_at_the_tenth_term() {
    let zone = [("example.org", txt("v=spf1 include:example.org -all"))];
    assert_eq!(problem(&zone), Some(Problem::TooManyTerms));
    let zone = [("example.org", txt("v=spf1 redirect=example.org"))];
    assert_eq!(problem(&zone), Some(Problem::TooManyTerms));
}

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

#[test]
fn a_third_void_lookup_is_an_error() {
    assert_eq!(problem(&[("example.org", txt("v=spf1 a:x.e.org a:y.e.org -all"))]), None);
    let three = "v=spf1 a:x.e.org mx:y.e.org exists:z.e.org -all";
    assert_eq!(problem(&[("example.org", txt(three))]), Some(Problem::TooManyVoid));
}

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

#[test]
fn exists_cannot_be_made_to_ask_more_than_ten_times() {
    let many = "v=spf1".to_string() + &" exists:%{i}.%{l}.%{d}".repeat(100);
    let zone = [("example.org", txt(&many)), ("192.0.2.1.a.example.org", Data::Txt(vec![]))];
    let (_, lookups) = run(&sender("192.0.2.1", "a@example.org"), &zone);
    assert!(lookups <= 3, "{lookups}");
}

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

#[test]
fn a_local_part_that_is_not_ascii_never_matches() {
    let zone = [("example.org", txt("v=spf1 exists:%{l}.%{d} include:%{s}.example.org +all"))];
    let (outcome, lookups) = run(&sender("192.0.2.1", "é@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Pass, 1));
}

#[test]
fn nul_in_the_local_part_and_empty_labels_ask_nothing_odd() {
    let zone = [("example.org", txt("v=spf1 exists:%{l}.%{d} -all"))];
    let s = Sender { mail_from: b"a\0b@example.org".to_vec(), ..sender("192.0.2.1", "") };
    assert_eq!(run(&s, &zone).0.verdict, Verdict::Fail);
    let (outcome, lookups) = run(&sender("192.0.2.1", "a..b@example.org"), &zone);
    assert_eq!((outcome.verdict, lookups), (Verdict::Fail, 1));
}

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

#[test]
fn a_failure_of_the_dns_is_temporary() {
    let s = sender("192.0.2.1", "a@example.org");
    let outcome = Answers::new()
        .run(|a| check(Identity::MailFrom, &s, a), |q| Answer::failed(&q.name, Failure::Timeout));
    assert_eq!(outcome.verdict, Verdict::TempError);
    assert_eq!(outcome.verdict.reply(), Some((451, "4.4.3")));
    assert_eq!(Verdict::Fail.reply(), Some((550, "5.7.23")));
    assert_eq!(Verdict::PermError.reply(), Some((550, "5.7.24")));
}

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
