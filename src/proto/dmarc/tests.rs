use super::evaluate::Problem;
use super::record::Psd;
use super::walk::walk;
use super::*;
use crate::proto::dns::{Answer, Answers, Data, Failure, Name, Query, Status, Step};
use crate::proto::testing::assert_linear;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

/// `(name, text)`; a text of "" is a name that exists without TXT, "!" fails.
type Zone<'a> = &'a [(&'a str, &'a str)];

fn answer(zone: Zone<'_>, q: &Query) -> Answer {
    let here: Vec<&str> = zone.iter().filter(|(n, _)| name(n) == q.name).map(|(_, t)| *t).collect();
    if here.contains(&"!") {
        return Answer::failed(&q.name, Failure::ServFail);
    }
    let texts: Vec<Data> =
        here.iter().filter(|t| !t.is_empty()).map(|t| Data::txt(t.as_bytes())).collect();
    if here.is_empty() {
        Answer::negative(&q.name, Status::NxDomain, 1)
    } else {
        Answer::found(&q.name, 1, texts)
    }
}

fn run(author: &str, ids: &Identifiers, zone: Zone<'_>) -> (Outcome, Vec<String>) {
    let mut asked = Vec::new();
    let author = name(author);
    let outcome = Answers::new().run(
        |a| evaluate(&author, ids, a),
        |q| {
            asked.push(q.name.to_string());
            answer(zone, q)
        },
    );
    (outcome, asked)
}

fn organization(start: &str, zone: Zone<'_>) -> (String, usize) {
    let mut answers = Answers::new();
    let start = name(start);
    let walked = answers.run(|a| Step::from(walk(&start, a)), |q| answer(zone, q)).unwrap();
    (walked.organizational_domain().to_string(), answers.len())
}

fn dkim(domain: &str) -> Identifiers {
    Identifiers { dkim: vec![name(domain)], ..Default::default() }
}

/// RFC 9989 4.10, steps 3 to 7.
#[test]
fn the_walk_of_a_long_name_jumps_to_seven_labels_and_asks_eight_times() {
    let (_, asked) = run("a.b.c.d.e.f.g.h.i.example.com", &Identifiers::default(), &[]);
    assert_eq!(
        asked,
        [
            "_dmarc.a.b.c.d.e.f.g.h.i.example.com",
            "_dmarc.e.f.g.h.i.example.com",
            "_dmarc.f.g.h.i.example.com",
            "_dmarc.g.h.i.example.com",
            "_dmarc.h.i.example.com",
            "_dmarc.i.example.com",
            "_dmarc.example.com",
            "_dmarc.com",
        ]
    );
    for labels in 1..20 {
        let n = ["x"; 20][..labels].join(".");
        assert_eq!(organization(&n, &[]).1, labels.min(8), "{labels} labels");
    }
}

/// RFC 9989 4.10.2.
#[test]
fn the_organizational_domain_has_the_fewest_labels_unless_psd_says_otherwise() {
    let p = "v=DMARC1; p=none";
    // RFC 9989 4.10.2: the fewest labels; psd=n ends; psd=y is one above.
    for (start, zone, expected) in [
        ("example.com", &[][..], "example.com"),
        ("a.b.example.com", &[][..], "a.b.example.com"),
        ("a.example.com", &[("_dmarc.example.com", p)][..], "example.com"),
        ("a.example.com", &[("_dmarc.a.example.com", p), ("_dmarc.example.com", p)], "example.com"),
        ("a.example.com", &[("_dmarc.a.example.com", p)], "a.example.com"),
        ("a.example.com", &[("_dmarc.com", "v=DMARC1; psd=y")], "example.com"),
        ("a.b.example.co.uk", &[("_dmarc.co.uk", "v=DMARC1; psd=y")], "example.co.uk"),
        (
            "a.b.example.com",
            &[("_dmarc.b.example.com", "v=DMARC1; psd=n"), ("_dmarc.example.com", p)],
            "b.example.com",
        ),
        (
            "a.example.com",
            &[("_dmarc.example.com", "v=DMARC1; psd=n"), ("_dmarc.com", p)],
            "example.com",
        ),
        ("co.uk", &[("_dmarc.co.uk", "v=DMARC1; psd=y")], "co.uk"),
        ("a.com", &[("_dmarc.a.com", "v=DMARC1; psd=u"), ("_dmarc.com", p)], "com"),
        ("a.example.com", &[("_dmarc.example.com", p), ("_dmarc.example.com", p)], "a.example.com"),
        (
            "a.example.com",
            &[("_dmarc.example.com", p), ("_dmarc.example.com", "v=spf1")],
            "example.com",
        ),
        ("com", &[("_dmarc.com", p)], "com"),
        (
            "a.b.c.d.e.f.g.h.example.com",
            &[("_dmarc.c.d.e.f.g.h.example.com", p)],
            "a.b.c.d.e.f.g.h.example.com",
        ),
        ("b.c.d.e.f.example.com", &[("_dmarc.c.d.e.f.example.com", p)], "c.d.e.f.example.com"),
    ] {
        assert_eq!(organization(start, zone).0, expected, "{start} {zone:?}");
    }
}

/// RFC 9989 4.10, steps 2 and 6.
#[test]
fn a_record_with_psd_ends_the_walk() {
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject; psd=n")];
    let (_, asked) = run("a.example.com", &Identifiers::default(), &zone);
    assert_eq!(asked.last().unwrap(), "_dmarc.example.com");
}

fn asked_for(author: &str, zone: Zone<'_>) -> Option<(Request, evaluate::Tag)> {
    let (outcome, _) = run(author, &Identifiers::default(), zone);
    (outcome.verdict == Verdict::Fail).then_some((outcome.requested, outcome.tag))
}

/// RFC 9989 4.7, 4.10.1.
#[test]
fn the_policy_is_the_author_s_own_else_the_organization_s_else_the_suffix_s() {
    use super::evaluate::Tag;
    let r = |t: &str| format!("v=DMARC1; {t}");
    let org = |t: &str| {
        asked_for("a.example.com", &[("_dmarc.example.com", &r(t)), ("a.example.com", "")])
    };
    let gone = |t: &str| asked_for("a.example.com", &[("_dmarc.example.com", &r(t))]);
    let own = |t: &str| asked_for("example.com", &[("_dmarc.example.com", &r(t))]);
    assert_eq!(own("p=reject; sp=none"), Some((Request::Reject, Tag::P)));
    assert_eq!(org("p=reject"), Some((Request::Reject, Tag::P)));
    assert_eq!(org("p=none; sp=reject"), Some((Request::Reject, Tag::Sp)));
    assert_eq!(org("p=none; sp=quarantine; np=reject"), Some((Request::Quarantine, Tag::Sp)));
    assert_eq!(gone("p=none; sp=quarantine; np=reject"), Some((Request::Reject, Tag::Np)));
    assert_eq!(gone("p=none; sp=quarantine"), Some((Request::Quarantine, Tag::Sp)));
    assert_eq!(gone("p=quarantine; np=none"), Some((Request::None, Tag::Np)));
    // Without a valid p: an address makes it p=none, without one it is nothing.
    assert_eq!(own("p=bogus; rua=mailto:a@b.c"), Some((Request::None, Tag::P)));
    assert_eq!(own("rua=mailto:a@b.c"), Some((Request::None, Tag::P)));
    assert_eq!(own("p=bogus"), None);
    assert_eq!(own("rua=http://x"), Some((Request::None, Tag::P)), "a URI that we do not use");
    assert_eq!(own("rua=x"), None);
    assert_eq!(own("rua=mailto:x"), None);
    // The public suffix's record is the last resort.
    let psd = [
        ("_dmarc.com", "v=DMARC1; p=none; sp=quarantine; np=reject; psd=y"),
        ("a.example.com", ""),
    ];
    assert_eq!(asked_for("a.example.com", &psd), Some((Request::Quarantine, Tag::Sp)));
    assert_eq!(asked_for("b.example.com", &psd), Some((Request::Reject, Tag::Np)));
    let both = [psd[0], ("_dmarc.example.com", "v=DMARC1; p=reject"), ("a.example.com", "")];
    assert_eq!(asked_for("a.example.com", &both), Some((Request::Reject, Tag::P)));
    // Intermediate records are neither the author's nor the organization's.
    let middle = [
        ("_dmarc.b.example.com", "v=DMARC1; p=none"),
        ("_dmarc.example.com", "v=DMARC1; p=reject"),
    ];
    assert_eq!(asked_for("a.b.example.com", &middle), Some((Request::Reject, Tag::P)));
}

/// RFC 9989 4.10.1: such a record counts as p=none, or not at all.
#[test]
fn an_sp_or_np_that_is_none_takes_the_policy_away() {
    use super::evaluate::Tag;
    let own =
        |t: &str| asked_for("example.com", &[("_dmarc.example.com", &format!("v=DMARC1; {t}"))]);
    for bad in ["sp=maybe", "np=maybe", "sp=", "np=none none"] {
        assert_eq!(own(&format!("p=reject; {bad}")), None, "{bad}");
        let with_rua = own(&format!("p=reject; {bad}; rua=mailto:a@b.c"));
        assert_eq!(with_rua, Some((Request::None, Tag::P)), "{bad}");
    }
    assert_eq!(own("p=reject; zz=maybe"), Some((Request::Reject, Tag::P)));
}

/// RFC 9989 3.2.13: the answer to any question about the name says it.
#[test]
fn only_nxdomain_is_a_name_that_does_not_exist() {
    use super::evaluate::Tag;
    let record = ("_dmarc.example.com", "v=DMARC1; p=none; np=reject");
    assert_eq!(
        asked_for("a.example.com", &[record, ("a.example.com", "")]),
        Some((Request::None, Tag::P))
    );
    assert_eq!(asked_for("a.example.com", &[record]), Some((Request::Reject, Tag::Np)));
}

/// RFC 9989 4.10.1, 5.3.6: whether np applies is not known then, and nothing is
/// done that another answer would forbid.
#[test]
fn an_author_domain_of_which_the_dns_does_not_say_whether_it_exists_is_temporary() {
    let verdict = |record: &str, ids: &Identifiers| {
        let zone = [("_dmarc.example.com", record), ("a.example.com", "!")];
        let (outcome, _) = run("a.example.com", ids, &zone);
        assert_eq!(
            dispose(&outcome, None).0 == Disposition::None,
            outcome.verdict != Verdict::Fail
        );
        (outcome.verdict, outcome.problem)
    };
    let doubt = (Verdict::TempError, Some(Problem::Existence));
    let nobody = Identifiers::default();
    assert_eq!(verdict("v=DMARC1; p=none; np=reject", &nobody), doubt);
    assert_eq!(verdict("v=DMARC1; p=reject; np=none", &nobody), doubt);
    let same = verdict("v=DMARC1; p=none; sp=reject; np=reject", &nobody);
    assert_eq!(same, (Verdict::Fail, None), "the same either way");
    let passes = verdict("v=DMARC1; p=none; np=reject", &dkim("a.example.com"));
    assert_eq!(passes, (Verdict::Pass, None), "no policy is needed");
}

/// RFC 9989 4.7, 4.10.1: p is not there, so the record is p=none or none at all,
/// whatever it says of the names below.
#[test]
fn an_sp_or_np_without_p_asks_for_nothing() {
    use super::evaluate::Tag;
    for below in ["sp=reject", "np=reject", "sp=reject; np=reject"] {
        let asked = |rest: &str| {
            let record = format!("v=DMARC1; {below}{rest}");
            let zone = [("_dmarc.example.com", record.as_str())];
            (asked_for("example.com", &zone), asked_for("a.example.com", &zone))
        };
        assert_eq!(asked(""), (None, None), "{below}");
        let none = Some((Request::None, Tag::P));
        assert_eq!(asked("; rua=mailto:a@b.c"), (none, none), "{below}");
    }
}

/// RFC 9989 4.7, 4.8; RFC 6376 3.2: a second tag of a name is an error in the
/// record, and errors after v are dropped; names of tags have no case.
#[test]
fn of_duplicate_tags_the_first_counts_in_either_case() {
    let r = |t: &str| record::parse(t.as_bytes()).unwrap();
    assert_eq!(r("v=DMARC1; p=none; p=reject").p, Some(Request::None));
    assert_eq!(r("v=DMARC1; P=none; p=reject").p, Some(Request::None));
    assert_eq!(r("v=DMARC1; p=maybe; p=reject").p, None, "the first, valid or not");
    assert_eq!(r("v=DMARC1; SP=quarantine; NP=Reject; PSD=Y; T=Y").np, Some(Request::Reject));
    assert!(r("v=DMARC1; T=Y").testing);
    assert_eq!(r("v=DMARC1; AdKim=S; ASPF=S").adkim, Alignment::Strict);
}

/// RFC 9991: none are sent, so an address for them alone asks for nothing.
#[test]
fn failure_reports_are_not_sent_and_ruf_alone_is_no_request() {
    let record = record::parse(b"v=DMARC1; p=none; ruf=mailto:a@b.c; fo=1").unwrap();
    assert!(record.rua.is_empty() && !record.wants_reports());
    let zone = [("_dmarc.example.com", "v=DMARC1; ruf=mailto:a@example.com")];
    assert_eq!(run("example.com", &Identifiers::default(), &zone).0.verdict, Verdict::None);
}

/// RFC 9989 4.4.1, 4.4.2.
#[test]
fn relaxed_is_the_same_organization_and_strict_the_same_name() {
    let p = "v=DMARC1; p=reject";
    let strict = "v=DMARC1; p=reject; adkim=s; aspf=s";
    let pass = |author, ids: &Identifiers, zone| run(author, ids, zone).0.verdict == Verdict::Pass;
    let relaxed = [("_dmarc.example.com", p)];
    assert!(pass("example.com", &dkim("example.com"), &relaxed));
    assert!(pass("example.com", &dkim("EXAMPLE.com."), &relaxed));
    assert!(pass("example.com", &dkim("mail.example.com"), &relaxed));
    assert!(pass("a.example.com", &dkim("b.example.com"), &relaxed));
    assert!(pass("a.example.com", &dkim("example.com"), &relaxed));
    assert!(!pass("example.com", &dkim("example.net"), &relaxed));
    assert!(!pass("example.com", &dkim("notexample.com"), &relaxed));
    assert!(!pass("example.com", &dkim("com"), &relaxed), "a TLD is never aligned");
    let s = [("_dmarc.example.com", strict)];
    assert!(pass("example.com", &dkim("example.com"), &s));
    assert!(!pass("example.com", &dkim("a.example.com"), &s));
    // A department with psd=n is an organization of its own.
    let split = [("_dmarc.example.com", p), ("_dmarc.dept.example.com", "v=DMARC1; p=none; psd=n")];
    assert!(!pass("example.com", &dkim("dept.example.com"), &split));
    assert!(!pass("dept.example.com", &dkim("example.com"), &split));
    let spf = Identifiers { spf: Some(name("bounce.example.com")), ..Default::default() };
    assert!(pass("example.com", &spf, &relaxed));
    assert!(!pass("example.com", &spf, &s));
}

/// RFC 9989 4.10.2.
#[test]
fn an_identifier_elsewhere_costs_no_lookup() {
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject")];
    let (_, asked) = run("example.com", &dkim("a.b.c.evil.net"), &zone);
    assert_eq!(asked, ["_dmarc.example.com", "_dmarc.com"]);
}

/// RFC 9989 4.10.1, 5.3.6.
#[test]
fn a_failure_of_the_dns_is_temporary_unless_something_passes() {
    let (outcome, _) =
        run("a.example.com", &dkim("a.example.com"), &[("_dmarc.a.example.com", "!")]);
    assert_eq!(outcome.verdict, Verdict::TempError);
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject"), ("_dmarc.x.example.com", "!")];
    assert_eq!(run("example.com", &dkim("x.example.com"), &zone).0.verdict, Verdict::TempError);
    let ids = Identifiers {
        dkim: vec![name("x.example.com"), name("example.com")],
        ..Default::default()
    };
    assert_eq!(run("example.com", &ids, &zone).0.verdict, Verdict::Pass);
}

/// RFC 9989 5.3.6: such a message cannot be said to fail.
#[test]
fn a_check_that_the_dns_left_unfinished_is_no_failure() {
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject")];
    let dkim_unknown = |d: &str| Identifiers { dkim_unknown: vec![name(d)], ..Default::default() };
    let spf_unknown = |d: &str| Identifiers { spf_unknown: Some(name(d)), ..Default::default() };
    for ids in [dkim_unknown("mail.example.com"), spf_unknown("example.com")] {
        let (outcome, _) = run("example.com", &ids, &zone);
        let found = (outcome.verdict, outcome.problem);
        assert_eq!(found, (Verdict::TempError, Some(Problem::Identifier)));
        assert_eq!(dispose(&outcome, None), (Disposition::None, None));
        assert!(!outcome.dkim && !outcome.spf);
    }
    // What could not have been aligned does not save a forgery.
    for ids in [dkim_unknown("evil.example"), spf_unknown("com")] {
        assert_eq!(run("example.com", &ids, &zone).0.verdict, Verdict::Fail);
    }
    let strict = [("_dmarc.example.com", "v=DMARC1; p=reject; adkim=s")];
    assert_eq!(
        run("example.com", &dkim_unknown("a.example.com"), &strict).0.verdict,
        Verdict::Fail
    );
    let passes = Identifiers { dkim: vec![name("example.com")], ..spf_unknown("example.com") };
    let (outcome, _) = run("example.com", &passes, &zone);
    assert_eq!((outcome.verdict, outcome.problem), (Verdict::Pass, None));
}

/// RFC 9989 7.2; RFC 7372 3.4.
#[test]
fn replies_name_the_domain_and_its_record() {
    let author = name("a.example.com");
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject"), ("a.example.com", "")];
    let (outcome, _) = run("a.example.com", &Identifiers::default(), &zone);
    let (code, enhanced, text) = outcome.reply(&author, Disposition::Reject).unwrap();
    assert_eq!((code, enhanced), (550, "5.7.26"));
    assert!(text.contains("a.example.com") && text.contains("_dmarc.example.com"), "{text}");
    assert!(text.contains("https://"), "{text}");
    assert_eq!(outcome.reply(&author, Disposition::Quarantine), None);
    let (outcome, _) =
        run("a.example.com", &Identifiers::default(), &[("_dmarc.a.example.com", "!")]);
    let (code, enhanced, _) = outcome.reply(&author, Disposition::None).unwrap();
    assert_eq!((code, enhanced), (451, "4.4.3"));
    assert_eq!(AuthorFault::ManyFields.reply(), (550, "5.7.1"));
}

/// RFC 9989 B.4.1, B.4.2 and B.4.3.
#[test]
fn the_tree_walks_of_rfc_9989_b_4() {
    let p = "v=DMARC1; p=reject";
    let zone = [("_dmarc.example.com", p), ("_dmarc.signing.example.com", p)];
    let ids = Identifiers { spf: Some(name("example.com")), ..dkim("signing.example.com") };
    let (simple, _) = run("example.com", &ids, &zone);
    assert_eq!(
        (simple.organization, simple.spf, simple.dkim),
        (Some(name("example.com")), true, true)
    );

    let (deep, asked) = run("a.b.c.d.e.f.g.h.i.j.k.example.com", &ids, &zone);
    assert_eq!((deep.organization, deep.spf, deep.dkim), (Some(name("example.com")), true, true));
    assert_eq!(deep.policy.unwrap().0, name("example.com"));
    assert_eq!(asked[0], "_dmarc.a.b.c.d.e.f.g.h.i.j.k.example.com");
    assert_eq!(asked[1], "_dmarc.g.h.i.j.k.example.com");
    assert_eq!(asked[7], "_dmarc.com");

    let zone =
        [("_dmarc.bank.example", "v=DMARC1; p=none; psd=y"), ("_dmarc.giant.bank.example", p)];
    let ids = Identifiers {
        spf: Some(name("mail.giant.bank.example")),
        ..dkim("mail.mega.bank.example")
    };
    let (bank, asked) = run("giant.bank.example", &ids, &zone);
    assert_eq!((bank.spf, bank.dkim), (true, false));
    assert_eq!(bank.organization, Some(name("giant.bank.example")));
    assert_eq!(bank.policy.unwrap().0, name("giant.bank.example"));
    assert!(!asked.contains(&"_dmarc.example".to_string()), "psd=y ends the walk");
}

/// RFC 9989 4.10.2: a walk of each identifier is one of the same message.
#[test]
fn no_name_is_asked_about_twice() {
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject")];
    let ids = Identifiers {
        spf: Some(name("a.b.example.com")),
        dkim: vec![name("c.example.com"), name("d.example.com")],
        ..Default::default()
    };
    let (_, asked) = run("example.com", &ids, &zone);
    let different: std::collections::HashSet<&String> = asked.iter().collect();
    assert_eq!(different.len(), asked.len(), "{asked:?}");
}

/// RFC 9989 4.7, 4.8.
#[test]
fn records_are_read_generously() {
    let r = |t: &str| record::parse(t.as_bytes());
    assert!(r("p=none; v=DMARC1").is_none());
    assert!(r("v=DMARC10; p=none").is_none());
    assert!(r("v=dmarc1; p=none").is_none());
    assert!(r("V = DMARC1 ;p=none").is_some(), "a name in ABNF has no case");
    assert!(r("v=DMARC1;p=none").unwrap().fo.is_none());
    let full = r("v=DMARC1;P=Reject; sp=none;psd=y;t=y;adkim=s;x;;=;rua=mailto:a@b.c!10m, https://x, mailto:d@e.f;rf=afrf;p=none").unwrap();
    assert_eq!(
        (full.p, full.sp, full.psd, full.testing),
        (Some(Request::Reject), Some(Request::None), Psd::Yes, true)
    );
    let rua = |record: record::Record| -> Vec<String> {
        record.rua.iter().map(ToString::to_string).collect()
    };
    assert_eq!(rua(full.clone()), ["a@b.c", "d@e.f"]);
    // RFC 6068 2: what is not of the address, and what must be encoded in one.
    let encoded =
        r("v=DMARC1; rua=mailto:a%21b@c.d?subject=x%2C!1m,MAILTO:%22e%2Cf%22@c.d").unwrap();
    assert_eq!(rua(encoded), ["a!b@c.d", "\"e,f\"@c.d"]);
    for none in ["mailto:a@b%0D%0Ac", "mailto:a%20b@c.d", "mailto:a@", "mailto:?to=a@b.c", "a@b.c"]
    {
        assert!(rua(r(&format!("v=DMARC1; rua={none}")).unwrap()).is_empty(), "{none}");
    }
    assert_eq!((full.adkim, full.aspf), (Alignment::Strict, Alignment::Relaxed));
    assert!(r("v=DMARC1; p=none; pct=0").unwrap().testing);
    assert!(!r("v=DMARC1; p=none; pct=0; t=n").unwrap().testing);
    assert!(!r("v=DMARC1; p=none; pct=50").unwrap().testing);
    assert!(
        r(&format!("v=DMARC1; p=none; rua={}", "mailto:a@b.c,".repeat(1000))).unwrap().rua.len()
            <= 10
    );
    for unit in ["a=b;", "=", ";", " ", "p=;", "rua=mailto:a@b.c,", "mailto:a@b.c!10m,", ",", "!"] {
        assert_linear(|n| {
            let many = unit.repeat(n / unit.len());
            std::hint::black_box(r(&format!("v=DMARC1;{many}")));
            std::hint::black_box(r(&format!("v=DMARC1;rua={many}")));
        });
    }
}

/// RFC 9989 5.3.6: what was not checked has not failed; and it is nobody's fault
/// who could try again.
#[test]
fn without_spf_a_message_does_not_fail() {
    let zone = [("_dmarc.example.com", "v=DMARC1; p=reject")];
    let skipped = Identifiers { spf_skipped: true, ..Default::default() };
    let outcome = run("example.com", &skipped, &zone).0;
    assert_eq!((outcome.verdict, outcome.problem), (Verdict::TempError, Some(Problem::Skipped)));
    let (disposition, _) = dispose(&outcome, None);
    assert_eq!(
        (disposition, outcome.reply(&name("example.com"), disposition)),
        (Disposition::None, None)
    );
    let signed = Identifiers { dkim: vec![name("example.com")], ..skipped.clone() };
    assert_eq!(run("example.com", &signed, &zone).0.verdict, Verdict::Pass);
    assert_eq!(run("example.net", &skipped, &zone).0.verdict, Verdict::None);
}

/// RFC 9989 4.7 (t), 5.4, 7.4; RFC 9990 3.1.6.
#[test]
fn a_policy_in_test_is_lowered_and_what_has_an_excuse_is_not_refused() {
    let outcome = |policy: &str| {
        run("example.com", &Identifiers::default(), &[("_dmarc.example.com", policy)]).0
    };
    let reject = outcome("v=DMARC1; p=reject");
    assert_eq!(dispose(&reject, None), (Disposition::Reject, None));
    let list = Some(Exception::MailingList);
    assert_eq!(dispose(&reject, list), (Disposition::Quarantine, list));
    let testing = outcome("v=DMARC1; p=reject; t=y");
    assert_eq!(dispose(&testing, None), (Disposition::Quarantine, Some(Exception::PolicyTestMode)));
    for excuse in [Exception::TrustedForwarder, Exception::LocalPolicy] {
        assert_eq!(dispose(&reject, Some(excuse)), (Disposition::Quarantine, Some(excuse)));
    }
    let testing = outcome("v=DMARC1; p=quarantine; t=y");
    assert_eq!(dispose(&testing, None), (Disposition::None, Some(Exception::PolicyTestMode)));
    assert_eq!(dispose(&outcome("v=DMARC1; p=none"), None), (Disposition::None, None));
    let pass =
        run("example.com", &dkim("example.com"), &[("_dmarc.example.com", "v=DMARC1; p=reject")]).0;
    assert_eq!(dispose(&pass, None), (Disposition::None, None));
}

fn from(value: &str) -> Result<String, AuthorFault> {
    author::domain_of(value.as_bytes()).map(|n| n.to_string())
}

/// RFC 9989 3.2.2, 5.3.1, 11.4.
#[test]
fn the_author_domain() {
    for (value, domain) in [
        ("a@example.org", "example.org"),
        (" A B <a@Example.ORG.>\r\n", "example.org"),
        ("\"ceo@bank.example\" <a@example.org>", "example.org"),
        ("ceo@bank.example <a@example.org>", "example.org"),
        ("(c@d.e) a(x)@(y)example(z).org (w)", "example.org"),
        ("\"a\\\"@b.c\"@example.org", "example.org"),
        ("a@example.org, \"B, C\" <b@example.org>", "example.org"),
        ("<@relay.example,@other.example:a@example.org>", "example.org"),
        ("a . b @ example . org", "example.org"),
        ("ü <ü@bücher.example>", "xn--bcher-kva.example"),
        (",a@example.org,,", "example.org"),
        ("\"\"@example.org", "example.org"),
        ("B (the (one)) <(x) a(y)@(z)example.org (w)>", "example.org"),
        ("<@relay.example, (x) @other.example : a@example.org>", "example.org"),
    ] {
        assert_eq!(from(value).as_deref(), Ok(domain), "{value}");
    }
}

/// RFC 9989 5.3.1, 11.5.
#[test]
fn a_from_that_leaves_a_doubt_has_no_domain() {
    for (value, fault) in [
        ("", AuthorFault::NoAddress),
        ("<>", AuthorFault::NoAddress),
        (" (only a comment) ", AuthorFault::NoAddress),
        ("group: a@example.org;", AuthorFault::Group),
        ("undisclosed:;", AuthorFault::Group),
        ("a@example.org, b@example.net", AuthorFault::ManyDomains),
        ("<a@example.org> <b@example.net>", AuthorFault::Syntax),
        ("<a@example.org", AuthorFault::Syntax),
        ("\"a@example.org", AuthorFault::Syntax),
        ("(a@example.org", AuthorFault::Syntax),
        ("a@example.org b@example.net", AuthorFault::Syntax),
        ("name only", AuthorFault::Syntax),
        ("word", AuthorFault::Syntax),
        ("a@[192.0.2.1]", AuthorFault::NoName),
        ("a@exa\0mple.org", AuthorFault::Syntax),
        ("a@", AuthorFault::NoName),
        ("a@b..c", AuthorFault::NoName),
        ("<ceo@bank.example,x@evil.example>", AuthorFault::Syntax),
        ("<ceo@bank.example;x@evil.example>", AuthorFault::Syntax),
        ("<ceo@bank.example b@evil.example>", AuthorFault::Syntax),
        ("<ceo@bank.example(b)b@evil.example>", AuthorFault::Syntax),
        ("<ceo@bank.example\\@evil.example>", AuthorFault::Syntax),
        ("ceo@bank.example\\@evil.example", AuthorFault::Syntax),
        ("ceo@bank.example@evil.example", AuthorFault::Syntax),
        ("<ceo@bank.example@evil.example>", AuthorFault::Syntax),
        ("<ceo@bank.example evil.org>", AuthorFault::Syntax),
        ("<ceo@bank.example(x)evil.org>", AuthorFault::Syntax),
        ("ceo@bank.example(x)evil.org", AuthorFault::Syntax),
        ("ceo@bank.example evil.org", AuthorFault::Syntax),
        ("<ceo@bank.\"x\".example>", AuthorFault::Syntax),
        ("<@a.example:@b.example:c@evil.example>", AuthorFault::Syntax),
        ("<@a.example,@evil.example>", AuthorFault::Syntax),
        ("<[a]@evil.example>", AuthorFault::Syntax),
        ("<@evil.example>", AuthorFault::Syntax),
        ("a@\"b.example\"", AuthorFault::Syntax),
    ] {
        assert_eq!(from(value), Err(fault), "{value}");
    }
    let fields = |h: &'static str| {
        let fields: Vec<_> = crate::proto::mime::Fields::new(h.as_bytes()).collect();
        author_domain(&fields)
    };
    assert_eq!(fields("To: a@b.c\r\n"), Err(AuthorFault::NoField));
    assert_eq!(fields("From: a@b.c\r\nFROM : a@b.c\r\n"), Err(AuthorFault::ManyFields));
}

#[test]
fn from_takes_linear_time() {
    for unit in ["(", "\"", "<", "a@b,", "a@b.c,", "\\", " ", "@"] {
        assert_linear(|n| {
            let _ = std::hint::black_box(author::domain_of(unit.repeat(n / unit.len()).as_bytes()));
        });
    }
}

/// RFC 9989 4.10.1, 5.3.6: what a name above answers is not required where the
/// Author Domain has a record of its own and nothing is to be aligned by it.
#[test]
fn a_parent_that_fails_spares_no_forger_of_a_domain_with_a_record() {
    let zone = [("_dmarc.shop.brand", "v=DMARC1; p=reject"), ("_dmarc.brand", "!")];
    let verdict = |ids: &Identifiers, zone| run("shop.brand", ids, zone).0.verdict;
    assert_eq!(verdict(&Identifiers::default(), &zone), Verdict::Fail);
    assert_eq!(verdict(&dkim("shop.brand"), &zone), Verdict::Pass);
    assert_eq!(verdict(&dkim("shop.example"), &zone), Verdict::Fail, "no ancestor in common");
    assert_eq!(verdict(&dkim("mail.shop.brand"), &zone), Verdict::TempError, "perhaps aligned");
    let strict = [("_dmarc.shop.brand", "v=DMARC1; p=reject; adkim=s"), ("_dmarc.brand", "!")];
    assert_eq!(verdict(&dkim("mail.shop.brand"), &strict), Verdict::Fail);
}

/// RFC 9990 3.1.6; sampled_out is of RFC 7489 and is read, never written.
#[test]
fn overrides_have_the_words_of_rfc_9990() {
    let words = [
        Exception::LocalPolicy,
        Exception::TrustedForwarder,
        Exception::MailingList,
        Exception::PolicyTestMode,
        Exception::Other,
    ]
    .map(Exception::word);
    let wanted = ["local_policy", "trusted_forwarder", "mailing_list", "policy_test_mode", "other"];
    assert_eq!(words, wanted);
    let legacy = "<feedback><record><row><policy_evaluated><reason><type>sampled_out</type>\
                  <comment>pct</comment></reason></policy_evaluated></row></record></feedback>";
    let read = report::Report::parse(legacy.as_bytes()).unwrap();
    assert_eq!(read.rows[0].reasons, [("sampled_out".to_string(), "pct".to_string())]);
}

/// RFC 9990 3.1.1: the version of the schema, and its name space, come first.
#[test]
fn a_report_has_version_1_0_of_the_schema_and_no_pct() {
    let xml = report::Report::default().write();
    let begin = "<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n<version>1.0</version>\n";
    assert!(xml.contains(begin), "{xml}");
    assert!(!xml.contains("pct"), "{xml}");
}

/// RFC 9989 4.7: pct, rf and ri are tags that are not known.
#[test]
fn removed_and_unknown_tags_change_nothing() {
    let plain = record::parse(b"v=DMARC1; p=reject").unwrap();
    for tag in ["pct=50", "pct=100", "pct=x", "rf=iodef", "ri=3600", "zz=1", "x", "=", ""] {
        for text in [format!("v=DMARC1; {tag}; p=reject"), format!("v=DMARC1; p=reject; {tag}")] {
            assert_eq!(record::parse(text.as_bytes()).as_ref(), Some(&plain), "{text}");
        }
    }
}

/// RFC 9989 4.10: answers of as many records and labels as the DNS can say.
#[test]
fn a_walk_takes_time_that_doubles_with_its_answers() {
    let long = name(&["x"; 120].join("."));
    for unit in ["v=DMARC1; p=none", "v=DMARC1; psd=y", "v=spf1", "v=DMARC1;;;;;;;;;;;;;;;;;"] {
        assert_linear(|n| {
            let texts = vec![Data::txt(unit.as_bytes()); n / unit.len() / 8];
            let mut answers = Answers::new();
            let walked = answers
                .run(|a| Step::from(walk(&long, a)), |q| Answer::found(&q.name, 1, texts.clone()));
            let _ = std::hint::black_box(walked);
            assert!(answers.len() <= 8);
        });
    }
}
