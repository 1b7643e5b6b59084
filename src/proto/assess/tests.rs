use super::*;
use crate::proto::dkim::tests::{request, signed, Echo, Sum, ED25519};
use crate::proto::dmarc::{dispose, Disposition, Verdict};
use crate::proto::dns::zone::Zone;
use crate::proto::dns::{Answer, Failure, Query};
use crate::proto::mime::split;

const MESSAGE: &str = "From: a@example.org\r\nSubject: x\r\n\r\nbody\r\n";
const NOW: u64 = 1500;

fn sender(mail_from: &str) -> spf::Sender {
    spf::Sender {
        ip: [192, 0, 2, 1].into(),
        helo: b"mail.example.net".to_vec(),
        mail_from: mail_from.as_bytes().to_vec(),
        receiver: b"mx.example.com".to_vec(),
        now: NOW,
    }
}

fn zone(text: &str) -> Zone {
    let key = format!("s._domainkey.example.org TXT \"{}\"\n", String::from_utf8_lossy(ED25519));
    Zone::parse((key + text).as_bytes()).unwrap()
}

/// Evaluates with a function that answers, and gives what was asked, in order.
fn run(
    message: &[u8],
    sender: Option<spf::Sender>,
    mut answer: impl FnMut(&Query) -> Answer,
) -> (Findings, Vec<String>) {
    let (header, body) = split(message);
    let mut reader = Reader::<Sum>::new(header, sender, Policy::default(), NOW);
    reader.feed(body);
    let message = reader.finish();
    let mut asked = Vec::new();
    let findings = Answers::new().run(
        |answers| message.evaluate(&Echo, answers),
        |query| {
            asked.push(query.name.to_string());
            answer(query)
        },
    );
    (findings, asked)
}

fn find(message: &[u8], mail_from: &str, records: &str) -> Findings {
    let zone = zone(records);
    run(message, Some(sender(mail_from)), |q| zone.answer(q)).0
}

/// RFC 7208 2.3, 2.4: both identities are checked, and each has its own result.
#[test]
fn spf_is_checked_for_helo_and_for_mail_from() {
    let records =
        "mail.example.net TXT \"v=spf1 ip4:192.0.2.1 -all\"\nexample.org TXT \"v=spf1 -all\"\n";
    let found = find(MESSAGE.as_bytes(), "a@example.org", records);
    let (helo, mail_from) = found.spf.as_ref().unwrap();
    assert_eq!((helo.verdict, mail_from.verdict), (spf::Verdict::Pass, spf::Verdict::Fail));
    let field = String::from_utf8(found.results("mx", Disposition::None).write(false)).unwrap();
    assert!(field.contains("spf=pass smtp.helo=mail.example.net"), "{field}");
    assert!(field.contains("spf=fail smtp.mailfrom=a@example.org"), "{field}");
}

/// RFC 9989 4.4.2: of SPF only MAIL FROM counts, and HELO for the null path.
#[test]
fn a_pass_of_helo_is_aligned_for_the_null_path_only() {
    let message = MESSAGE.replace("example.org", "mail.example.net");
    let records = "mail.example.net TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
                   _dmarc.mail.example.net TXT \"v=DMARC1; p=reject\"\n";
    let verdict = |mail_from| find(message.as_bytes(), mail_from, records).dmarc.verdict;
    assert_eq!(verdict("a@example.com"), Verdict::Fail);
    assert_eq!(verdict(""), Verdict::Pass);
}

/// RFC 9989 5.3.4, 5.4: what a forwarder breaks is mended by DKIM, and SPF alone
/// refuses nothing.
#[test]
fn a_fail_of_spf_alone_disposes_of_nothing() {
    let message = signed(MESSAGE, &request());
    let records =
        "example.org TXT \"v=spf1 -all\"\n_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n";
    let found = find(&message, "a@example.org", records);
    assert_eq!(found.spf.as_ref().unwrap().1.verdict, spf::Verdict::Fail);
    assert_eq!(found.dmarc.verdict, Verdict::Pass);
    assert_eq!(dispose(&found.dmarc, None), (Disposition::None, None));
    let without = find(MESSAGE.as_bytes(), "a@example.org", "example.org TXT \"v=spf1 -all\"\n");
    assert_eq!(without.dmarc.verdict, Verdict::None);
    assert_eq!(dispose(&without.dmarc, None), (Disposition::None, None));
}

/// RFC 9989 5.3.6: where the key of an aligned signature, or the SPF record of an
/// aligned sender, could not be asked for, nobody is turned away for good.
#[test]
fn a_key_or_spf_record_that_is_not_answered_makes_dmarc_temperror() {
    let policy = "_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n";
    let message = signed(MESSAGE, &request());
    let slow_key =
        Zone::parse(format!("s._domainkey.example.org FAIL\n{policy}").as_bytes()).unwrap();
    let (found, _) = run(&message, None, |q| slow_key.answer(q));
    assert_eq!(found.dkim[0].verdict, dkim::Verdict::TempError);
    assert_eq!(found.dmarc.verdict, Verdict::TempError);
    let spf = |mail_from| {
        let records = format!("{policy}example.org FAIL\nexample.net FAIL\n");
        find(MESSAGE.as_bytes(), mail_from, &records).dmarc.verdict
    };
    assert_eq!(spf("a@example.org"), Verdict::TempError);
    assert_eq!(spf("a@example.net"), Verdict::Fail, "another domain's trouble");
}

/// RFC 8601 2.2, 2.7; RFC 6008: one field has it all, each signature on its own.
#[test]
fn every_signature_has_a_result_of_its_own() {
    let second = dkim::sign::Request { selector: "gone", ..request() };
    let first = signed(MESSAGE, &request());
    let header = first.len() - MESSAGE.len();
    let mut message = first[..header].to_vec();
    message.extend_from_slice(&signed(MESSAGE, &second));
    let found = find(&message, "a@example.org", "_dmarc.example.org TXT \"v=DMARC1; p=none\"\n");
    let results = found.results("mx", Disposition::None);
    let of = |name: &str| {
        let methods = results.methods.iter().filter(move |m| m.name == name);
        methods.map(|m| m.result.as_str()).collect::<Vec<_>>()
    };
    assert_eq!(of("dkim"), ["pass", "permerror"]);
    assert_eq!(of("dmarc"), ["pass"], "one aligned signature that passes is enough");
    let dkim = results.methods.iter().find(|m| m.name == "dkim").unwrap();
    assert_eq!(dkim.get("header", "d"), Some("example.org"));
    assert_eq!(dkim.get("header", "s"), Some("s"));
    assert_eq!(dkim.get("header", "a"), Some("ed25519-sha256"));
    assert_eq!(dkim.get("header", "b").unwrap().len(), 8);
    let dmarc = results.methods.iter().find(|m| m.name == "dmarc").unwrap();
    assert_eq!(dmarc.comment.as_deref(), Some("p=none dis=none"));
    assert_eq!(dmarc.get("header", "from"), Some("example.org"));
}

/// RFC 5322 3.6; RFC 6376 8.15.
#[test]
fn a_field_that_may_stand_once_and_stands_twice_is_noted() {
    let found = |header: &str| find(format!("{header}{MESSAGE}").as_bytes(), "", "");
    assert!(!found("Received: a\r\nReceived: b\r\n").duplicates);
    for field in [
        "subject: 2",
        "Date: 1\r\nDATE : 2",
        "To: 1\r\nTo: 2",
        "MIME-Version: 1\r\nMIME-Version: 1",
    ] {
        assert!(found(&format!("{field}\r\n")).duplicates, "{field}");
    }
    let twice = found("From: b@example.net\r\n");
    assert!(twice.duplicates);
    assert_eq!(twice.author, Err(AuthorFault::ManyFields));
    assert_eq!(twice.dmarc.verdict, Verdict::PermError);
    let field = String::from_utf8(twice.results("mx", Disposition::None).write(false)).unwrap();
    assert!(field.contains("dmarc=permerror reason=\"more than one From field\""), "{field}");
}

/// RFC 9989 5.3.1; CVE-2019-16378, CVE-2019-20790, CVE-2021-34555: what no reader
/// agrees on never passes, whatever else passes.
#[test]
fn a_from_in_doubt_is_never_a_pass() {
    for from in
        ["group: a@example.org;", "a@example.org, b@example.net", "<>", "", "a@example.org\0"]
    {
        let message = MESSAGE.replace("a@example.org", from);
        let found = find(
            &signed(&message, &request()),
            "a@example.org",
            "example.org TXT \"v=spf1 +all\"\n",
        );
        assert_eq!(found.dkim[0].verdict, dkim::Verdict::Pass, "{from:?}");
        assert_eq!(found.dmarc.verdict, Verdict::PermError, "{from:?}");
    }
}

/// A stranger's SPF record, as long as it may be, is asked for after all that
/// the policy of the author's domain needs.
#[test]
fn long_spf_records_of_strangers_do_not_starve_dmarc() {
    // Ten terms of ten hosts each: over a hundred lookups.
    let mut terms = String::new();
    let mut records = String::from("_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n");
    for i in 0..10 {
        terms += &format!(" mx:m{i}.example.net");
        for j in 0..10 {
            records += &format!("m{i}.example.net MX 10 h{i}-{j}.example.net\nh{i}-{j}.example.net A 198.51.100.1\n");
        }
    }
    records += &format!("mail.example.net TXT \"v=spf1{terms} -all\"\n");
    let zone = zone(&records);
    let mut left = 60_u32;
    let (found, asked) = run(&signed(MESSAGE, &request()), Some(sender("a@example.org")), |q| {
        match left.checked_sub(1) {
            Some(n) => {
                left = n;
                zone.answer(q)
            }
            None => Answer::failed(&q.name, Failure::Timeout),
        }
    });
    assert_eq!(left, 0, "the budget was used up");
    assert_eq!(found.spf.unwrap().0.verdict, spf::Verdict::TempError);
    assert_eq!(found.dmarc.verdict, Verdict::Pass);
    assert_eq!(asked[..2], ["s._domainkey.example.org", "_dmarc.example.org"]);
}

/// The most that a message can make us ask, if nobody bounded it: SPF twice 1 and
/// 10 terms of 11, 4 keys of DKIM, DMARC's walks, and the keys of 50 ARC sets.
#[test]
fn what_a_message_makes_us_ask_is_bounded_without_a_budget() {
    let many = "v=spf1".to_string() + &" mx:%{i}.%{l}.%{d}".repeat(100) + " ptr";
    let mut message = String::new();
    for i in 0..60 {
        let own = dkim::sign::Request { selector: &format!("s{i}"), ..request() };
        let one = String::from_utf8(signed(MESSAGE, &own)).unwrap();
        message += &one[..one.len() - MESSAGE.len()];
    }
    message += MESSAGE;
    let (_, asked) = run(message.as_bytes(), Some(sender("a@example.org")), |q| {
        use crate::proto::dns::{Data, Type};
        let records = match q.rtype {
            Type::TXT => vec![Data::txt(many.as_bytes())],
            Type::MX => (0..100).map(|i| Data::Mx(i, q.name.clone())).collect(),
            Type::PTR => vec![Data::Ptr(q.name.clone()); 100],
            _ => Vec::new(),
        };
        Answer::found(&q.name, 60, records)
    });
    assert!(asked.len() <= 4 + 8 + 2 * (1 + 10 * 11), "{}", asked.len());
}

/// The chain of RFC 8617 comes last, and a failing one changes nothing else.
#[test]
fn a_broken_arc_chain_is_reported_and_no_more() {
    let message =
        format!("ARC-Seal: i=1\r\n{}", String::from_utf8(signed(MESSAGE, &request())).unwrap());
    let found = find(message.as_bytes(), "", "_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n");
    assert_eq!(found.arc.validation, arc::Validation::Fail);
    assert_eq!(found.dmarc.verdict, Verdict::Pass);
    let field = String::from_utf8(found.results("mx", Disposition::None).write(false)).unwrap();
    assert!(field.contains("arc=fail reason=\"the sets are not complete\""), "{field}");
}

/// RFC 9990 3.1: the source, what was done and why, and each result.
#[test]
fn a_message_is_counted_for_the_report_of_its_policy() {
    let policy = "_dmarc.example.org TXT \"v=DMARC1; p=reject; rua=mailto:d@example.org\"\n";
    let zone =
        format!("{policy}example.org TXT \"v=spf1 -all\"\nmail.example.net TXT \"v=spf1 +all\"\n");
    let message = signed(MESSAGE, &request());
    let found = find(&message, "bounce@example.org", &zone);
    let counted = found.counted(Disposition::None, None).unwrap();
    let row = &counted.row;
    assert_eq!(counted.published.domain, "example.org");
    assert_eq!((row.source.as_str(), row.count), ("192.0.2.1", 1));
    assert_eq!(row.disposition, "pass", "nothing was asked for");
    assert_eq!((row.dkim_aligned.as_str(), row.spf_aligned.as_str()), ("pass", "fail"));
    assert_eq!(
        (row.header_from.as_str(), row.envelope_from.as_str()),
        ("example.org", "example.org")
    );
    // RFC 9990 3.1.1.9: pass is said of a policy that is enforced.
    let lenient = zone.replace("p=reject", "p=none");
    let counted = find(&message, "bounce@example.org", &lenient).counted(Disposition::None, None);
    assert_eq!(counted.unwrap().row.disposition, "none");
    assert_eq!(row.dkim.len(), 1);
    assert_eq!((row.dkim[0].which.as_str(), row.dkim[0].result.as_str()), ("s", "pass"));
    assert_eq!(row.spf.len(), 1, "MAIL FROM alone, though HELO passed");
    assert_eq!((row.spf[0].which.as_str(), row.spf[0].result.as_str()), ("mfrom", "fail"));

    let forged = find(MESSAGE.as_bytes(), "bounce@example.org", &zone);
    let list = Some(dmarc::Exception::MailingList);
    let (disposition, exception) = dispose(&forged.dmarc, list);
    let row = forged.counted(disposition, exception).unwrap().row;
    assert_eq!((row.disposition.as_str(), row.dkim.len()), ("quarantine", 0));
    assert_eq!(row.reasons, [("mailing_list".to_string(), String::new())]);
}

#[test]
fn a_message_without_policy_address_or_client_is_not_counted() {
    let counted = |message: &str, zone: &str| {
        find(message.as_bytes(), "", zone).counted(Disposition::None, None).is_some()
    };
    let with = |tags: &str| format!("_dmarc.example.org TXT \"v=DMARC1; p=none; {tags}\"\n");
    assert!(counted(MESSAGE, &with("rua=mailto:d@example.org")));
    assert!(!counted(MESSAGE, &with("rua=https://example.org/d")), "mailto only");
    assert!(!counted(MESSAGE, &with("ruf=mailto:d@example.org")));
    assert!(!counted(MESSAGE, ""));
    assert!(!counted(MESSAGE, "_dmarc.example.org FAIL\n"), "it could not be evaluated");
    let two = format!("From: b@example.net\r\n{MESSAGE}");
    assert!(!counted(&two, &with("rua=mailto:d@example.org")));
    let zone = zone(&with("rua=mailto:d@example.org"));
    let (found, _) = run(MESSAGE.as_bytes(), None, |q| zone.answer(q));
    assert_eq!(found.counted(Disposition::None, None), None);
}

/// All of it together, header and body.
#[test]
fn time_doubles_with_the_message() {
    use crate::proto::testing::assert_linear;
    let zone = zone("example.org TXT \"v=spf1 exists:%{l}.%{h}.e.example -all\"\n");
    let one = String::from_utf8(signed(MESSAGE, &request())).unwrap();
    let signature = &one[..one.len() - MESSAGE.len()];
    for unit in ["X: y\r\n", "From: a@b.c,\r\n", signature, "ARC-Seal: i=1\r\n", " \t\r\n", "("] {
        assert_linear(|n| {
            let header = unit.repeat(n / unit.len());
            let message = format!("{signature}Subject: x\r\n{header}\r\n{MESSAGE}");
            let found = run(message.as_bytes(), Some(sender("a@example.org")), |q| zone.answer(q));
            std::hint::black_box(found.0.results("mx", Disposition::None).write(true));
        });
    }
}

/// RFC 9989 4.4, RFC 6376 5.4.2: what lies beyond the fields that are looked at
/// is shown by readers all the same.
#[test]
fn a_header_of_too_many_fields_is_not_judged_by_its_beginning() {
    let many = "a: b\r\n".repeat(crate::proto::limits::HEADER_FIELDS.size());
    let found = |text: &str| find(text.as_bytes(), "", "");
    let second = found(&format!("From: a@example.org\r\n{many}From: ceo@bank.example\r\n\r\n"));
    assert_eq!(second.author, Err(AuthorFault::ManyFields));
    assert!(second.duplicates);
    let below = found(&format!("{many}From: a@example.org\r\n\r\n"));
    assert_eq!(below.author.map(|n| n.to_string()).as_deref(), Ok("example.org"));
    assert_eq!(below.arc.validation, arc::Validation::None);
    let sealed = found(&format!("ARC-Seal: i=1\r\n{many}{MESSAGE}"));
    assert_eq!(sealed.arc.fault, Some(arc::verify::Fault::TooManyFields));
}

/// RFC 6376 3.6.1 (t=y): such a signature is treated as if it were not there.
#[test]
fn a_key_in_test_mode_gives_dmarc_nothing() {
    let policy = "_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n";
    let key = String::from_utf8_lossy(ED25519).replace("k=", "t=y; k=");
    let zone = Zone::parse(format!("s._domainkey.example.org TXT \"{key}\"\n{policy}").as_bytes())
        .unwrap();
    let (found, _) = run(&signed(MESSAGE, &request()), None, |q| zone.answer(q));
    assert_eq!(found.dkim[0].verdict, dkim::Verdict::Policy);
    assert!(!found.dmarc.dkim);
    assert_ne!(found.dmarc.verdict, Verdict::Pass);
}

/// RFC 6376 8.2: nor does one with `l=` after which the body goes on.
#[test]
fn a_signature_that_leaves_a_tail_unsigned_gives_dmarc_nothing() {
    let whole = String::from_utf8(signed(MESSAGE, &request())).unwrap();
    let limited = whole.replacen("v=1;", "v=1; l=0;", 1);
    let policy = "_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n";
    let found = find(limited.as_bytes(), "", policy);
    assert_ne!(found.dkim[0].verdict, dkim::Verdict::Pass);
    assert_eq!(found.dmarc.verdict, Verdict::Fail);
}

/// RFC 6376 6.3, RFC 9989 4.4.1: `d=` of a top-level domain signs nothing and is
/// aligned with nobody.
#[test]
fn a_signature_of_a_top_level_domain_is_never_aligned() {
    let own = dkim::sign::Request { domain: "org", ..request() };
    let records = format!(
        "s._domainkey.org TXT \"{}\"\n_dmarc.example.org TXT \"v=DMARC1; p=reject\"\n\
         _dmarc.org TXT \"v=DMARC1; p=none; psd=y\"\n",
        String::from_utf8_lossy(ED25519)
    );
    let found = find(&signed(MESSAGE, &own), "", &records);
    assert_eq!(found.dkim[0].verdict, dkim::Verdict::PermError);
    assert_eq!(found.dmarc.verdict, Verdict::Fail);
}
