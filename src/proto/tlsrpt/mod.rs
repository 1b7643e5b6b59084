//! SMTP TLS Reporting: where reports go, reports written and read.  RFC 8460.
//!
//! *Runs in* filter (counts, writing) and rmailctl (reading what others sent).
//! Reports of others are hostile: size, depth and counts are bounded.

pub mod json;

use json::Value;

use crate::proto::addr::Mailbox;
use crate::proto::cursor::Cursor;
use crate::proto::date::Date;
use crate::proto::limits;
use crate::proto::mtasts::field_of_record;

/// Where a report is sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// `mailto:`
    Mail(Mailbox),
    /// `https:`
    Https(String),
}

/// The destinations of a domain, from its `_smtp._tls` TXT records.  RFC 8460 3.
///
///     tlsrpt-rua = %s"rua=" tlsrpt-uri *(*WSP "," *WSP tlsrpt-uri)
///
/// A URI that cannot be used is left out.
pub fn destinations(texts: &[Vec<u8>]) -> Vec<Destination> {
    let rua = field_of_record(texts, b"v=TLSRPTv1", b"rua").unwrap_or_default();
    rua.split(|b| *b == b',')
        .filter_map(|uri| destination(uri.trim_ascii()))
        .take(limits::REPORT_ADDRESSES.size())
        .collect()
}

fn destination(uri: &[u8]) -> Option<Destination> {
    if let Some(address) = Mailbox::from_mailto(uri) {
        return Some(Destination::Mail(address));
    }
    let https = uri.get(..8).is_some_and(|s| s.eq_ignore_ascii_case(b"https://"));
    let clean = https && uri.len() > 8 && uri.iter().all(u8::is_ascii_graphic);
    clean.then(|| Destination::Https(String::from_utf8_lossy(uri).into_owned()))
}

/// The result types of RFC 8460 4.3.
pub const RESULT_TYPES: &[&str] = &[
    "starttls-not-supported",
    "certificate-host-mismatch",
    "certificate-expired",
    "certificate-not-trusted",
    "validation-failure",
    "tlsa-invalid",
    "dnssec-invalid",
    "dane-required",
    "sts-policy-fetch-error",
    "sts-policy-invalid",
    "sts-webpki-invalid",
];

/// One kind of failure.  Empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    /// One of [`RESULT_TYPES`].
    pub result_type: String,
    /// Our address.
    pub sending_mta_ip: String,
    /// The host.
    pub receiving_mx_hostname: String,
    /// What it called itself.
    pub receiving_mx_helo: String,
    /// Its address.
    pub receiving_ip: String,
    /// Sessions.
    pub count: u64,
    /// Where to read more.
    pub additional_information: String,
    /// The library's word.
    pub reason_code: String,
}

/// One policy and what became of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// `tlsa`, `sts` or `no-policy-found`.
    pub policy_type: String,
    /// The policy, line by line.
    pub policy_string: Vec<String>,
    /// Whose it is.
    pub policy_domain: String,
    /// The patterns of an `sts` policy.
    pub mx_host: Vec<String>,
    /// Sessions that succeeded.
    pub successful: u64,
    /// Sessions that failed.
    pub failed: u64,
    /// How.
    pub failures: Vec<Failure>,
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Who reports.
    pub organization: String,
    /// The beginning, RFC 3339.
    pub start: String,
    /// The end, RFC 3339.
    pub end: String,
    /// Whom to ask.
    pub contact: String,
    /// Unique for the organization.
    pub id: String,
    /// The policies.
    pub policies: Vec<Policy>,
}

/// A time of RFC 3339 in UTC, from seconds since 1970.
pub fn rfc3339(secs: u64) -> String {
    let days = i64::try_from(secs / 86_400).unwrap_or(i64::MAX);
    let date = Date::from_days(days)
        .map_or_else(String::new, |d| format!("{:04}-{:02}-{:02}", d.year, d.month, d.day));
    let (h, m, s) = (secs / 3600 % 24, secs / 60 % 60, secs % 60);
    format!("{date}T{h:02}:{m:02}:{s:02}Z")
}

impl Report {
    /// The JSON of RFC 8460 4.4.
    pub fn write(&self) -> String {
        let text = |t: &str| Value::Text(t.to_string());
        let texts = |all: &[String]| Value::List(all.iter().map(|t| text(t)).collect());
        let object = |pairs: Vec<(&str, Value)>| {
            let empty = |v: &Value| matches!(v, Value::Text(t) if t.is_empty());
            let pairs = pairs.into_iter().filter(|(_, v)| !empty(v));
            Value::Object(pairs.map(|(k, v)| (k.to_string(), v)).collect())
        };
        let failure = |f: &Failure| {
            object(vec![
                ("result-type", text(&f.result_type)),
                ("sending-mta-ip", text(&f.sending_mta_ip)),
                ("receiving-mx-hostname", text(&f.receiving_mx_hostname)),
                ("receiving-mx-helo", text(&f.receiving_mx_helo)),
                ("receiving-ip", text(&f.receiving_ip)),
                ("failed-session-count", Value::Number(f.count)),
                ("additional-information", text(&f.additional_information)),
                ("failure-reason-code", text(&f.reason_code)),
            ])
        };
        let policy = |p: &Policy| {
            let mut described = vec![
                ("policy-type", text(&p.policy_type)),
                ("policy-string", texts(&p.policy_string)),
                ("policy-domain", text(&p.policy_domain)),
            ];
            if !p.mx_host.is_empty() {
                described.push(("mx-host", texts(&p.mx_host)));
            }
            let mut all = vec![
                ("policy", object(described)),
                (
                    "summary",
                    object(vec![
                        ("total-successful-session-count", Value::Number(p.successful)),
                        ("total-failure-session-count", Value::Number(p.failed)),
                    ]),
                ),
            ];
            if !p.failures.is_empty() {
                let list = p.failures.iter().map(failure).collect();
                all.push(("failure-details", Value::List(list)));
            }
            object(all)
        };
        let range = vec![("start-datetime", text(&self.start)), ("end-datetime", text(&self.end))];
        object(vec![
            ("organization-name", text(&self.organization)),
            ("date-range", object(range)),
            ("contact-info", text(&self.contact)),
            ("report-id", text(&self.id)),
            ("policies", Value::List(self.policies.iter().map(policy).collect())),
        ])
        .write()
    }

    /// Reads a report, unpacked.  `None` if it is no JSON object with policies,
    /// or over a limit.
    pub fn parse(bytes: &[u8]) -> Option<Report> {
        let value = json::parse(bytes)?;
        let range = value.get("date-range");
        let policies = value.get("policies")?.list();
        if policies.len() > limits::REPORT_ROWS.size() {
            return None;
        }
        let policies = policies.iter().map(read_policy).collect();
        Some(Report {
            organization: value.text("organization-name"),
            start: range.map(|r| r.text("start-datetime")).unwrap_or_default(),
            end: range.map(|r| r.text("end-datetime")).unwrap_or_default(),
            contact: value.text("contact-info"),
            id: value.text("report-id"),
            policies,
        })
    }
}

fn read_policy(value: &Value) -> Policy {
    let none = Value::Object(Vec::new());
    let policy = value.get("policy").unwrap_or(&none);
    let summary = value.get("summary").unwrap_or(&none);
    // Both are an array or one text, as met in practice.
    let texts = |key| policy.get(key).map(Value::texts).unwrap_or_default();
    let failures = value.get("failure-details").map(Value::list).unwrap_or_default();
    Policy {
        policy_type: policy.text("policy-type"),
        policy_string: texts("policy-string"),
        policy_domain: policy.text("policy-domain"),
        mx_host: texts("mx-host"),
        successful: summary.number("total-successful-session-count"),
        failed: summary.number("total-failure-session-count"),
        failures: failures
            .iter()
            .map(|f| Failure {
                result_type: f.text("result-type"),
                sending_mta_ip: f.text("sending-mta-ip"),
                receiving_mx_hostname: f.text("receiving-mx-hostname"),
                receiving_mx_helo: f.text("receiving-mx-helo"),
                receiving_ip: f.text("receiving-ip"),
                count: f.number("failed-session-count"),
                additional_information: f.text("additional-information"),
                reason_code: f.text("failure-reason-code"),
            })
            .collect(),
    }
}

/// True if a result type is one that RFC 8460 knows.
pub fn is_result_type(word: &[u8]) -> bool {
    let mut c = Cursor::new(word);
    RESULT_TYPES.iter().any(|t| {
        c.seek(0);
        c.eat_exact(t.as_bytes()) && c.at_end()
    })
}

/// Fuzz target: what is read is written and reads the same.
pub fn fuzz_report(bytes: &[u8]) {
    let _where = destinations(&[bytes.to_vec()]);
    if let Some(report) = Report::parse(bytes) {
        assert_eq!(Report::parse(report.write().as_bytes()), Some(report));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(texts: &[&str]) -> Vec<Destination> {
        destinations(&texts.iter().map(|t| t.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    fn mailbox(text: &str) -> Mailbox {
        Mailbox::parse(text.as_bytes(), crate::proto::addr::Charset::Ascii).unwrap()
    }

    /// RFC 8460 3.
    #[test]
    fn exactly_one_record_counts() {
        let both = to(&["v=TLSRPTv1;rua=mailto:r@example.com,https://r.example.com/v1, ftp://x"]);
        assert_eq!(
            both,
            [
                Destination::Mail(mailbox("r@example.com")),
                Destination::Https("https://r.example.com/v1".into())
            ]
        );
        assert_eq!(to(&["v=TLSRPTv1;rua=mailto:a@b.c", "v=TLSRPTv1;rua=mailto:a@b.c"]), []);
        assert_eq!(to(&["v=TLSRPTv2;rua=mailto:a@b.c", "x"]), []);
        assert_eq!(to(&["v=TLSRPTv10;rua=mailto:a@b.c", "v=TLSRPTv1;rua=mailto:a@b.c"]).len(), 1);
        assert_eq!(to(&["v=TLSRPTv1"]), []);
        assert_eq!(to(&["v=TLSRPTv1;rua=mailto:a@b.c;rua=mailto:d@e.f"]), []);
        assert_eq!(to(&[&format!("v=TLSRPTv1;rua={}", "mailto:a@b.c,".repeat(50))]).len(), 10);
    }

    /// RFC 8460 3 (tlsrpt-extension), RFC 6068 2.
    #[test]
    fn extensions_and_uris_have_their_own_grammar() {
        let mail = |t: &str| [Destination::Mail(mailbox(t))];
        let more = "v=TLSRPTv1; x-1.a=b; x-1.a=c; rua=MailTo:%22a%2Cb%22@b.c?subject=x=y ;";
        assert_eq!(to(&[more]), mail("\"a,b\"@b.c"));
        let query = "https://a.example/?x=1&y=2";
        assert_eq!(
            to(&[&format!("v=TLSRPTv1;rua= {query} , mailto:a@b%0Ac, https://, https:a")]),
            [Destination::Https(query.into())]
        );
        assert_eq!(to(&["v=TLSRPTv1; rua=mailto:a@b.c; x"]), []);
    }

    /// RFC 8460 4.3, 4.4.
    #[test]
    fn a_report_comes_back() {
        let report = Report {
            organization: "Ex \"A\" \u{e9}\n".into(),
            start: rfc3339(1_459_468_800),
            end: rfc3339(1_459_555_199),
            contact: "a@example.org".into(),
            id: "1".into(),
            policies: vec![Policy {
                policy_type: "sts".into(),
                policy_string: vec!["version: STSv1".into()],
                policy_domain: "example.com".into(),
                mx_host: vec!["*.example.com".into()],
                successful: 5326,
                failed: 303,
                failures: vec![Failure {
                    result_type: RESULT_TYPES[2].into(),
                    count: 100,
                    ..Failure::default()
                }],
            }],
        };
        assert_eq!(
            (report.start.as_str(), report.end.as_str()),
            ("2016-04-01T00:00:00Z", "2016-04-01T23:59:59Z")
        );
        assert_eq!(Report::parse(report.write().as_bytes()), Some(report));
        assert!(is_result_type(b"dane-required") && !is_result_type(b"dane"));
    }

    #[test]
    fn what_is_no_report_is_refused() {
        for bad in ["", "[]", "{}", "{\"policies\":[", "nul", "{\"policies\":[]}x"] {
            assert_eq!(Report::parse(bad.as_bytes()), None, "{bad}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(Report::parse(deep.as_bytes()), None);
    }

    /// RFC 8460 4.3.1 to 4.3.3, all of them.
    #[test]
    fn the_result_types_of_rfc_8460_4_3_are_known_and_no_others() {
        let negotiation = [
            "starttls-not-supported",
            "certificate-host-mismatch",
            "certificate-expired",
            "certificate-not-trusted",
            "validation-failure",
        ];
        let dane = ["tlsa-invalid", "dnssec-invalid", "dane-required"];
        let sts = ["sts-policy-fetch-error", "sts-policy-invalid", "sts-webpki-invalid"];
        let all: Vec<&str> = [&negotiation[..], &dane, &sts].concat();
        assert_eq!(RESULT_TYPES, all);
        for word in &all {
            assert!(is_result_type(word.as_bytes()), "{word}");
            assert!(!is_result_type(format!("{word}-x").as_bytes()), "{word}");
            assert!(!is_result_type(word.to_uppercase().as_bytes()), "{word}");
            let json = format!(
                "{{\"policies\":[{{\"failure-details\":[{{\"result-type\":\"{word}\"}}]}}]}}"
            );
            let report = Report::parse(json.as_bytes()).unwrap();
            assert_eq!(report.policies[0].failures[0].result_type, *word);
        }
        assert!(!is_result_type(b""));
    }

    /// Members without end, of the report, of a policy and of a failure: each is
    /// looked for by its name.
    #[test]
    fn objects_take_time_that_doubles_with_their_members() {
        for (before, after) in [
            ("{", "\"policies\":[]}"),
            ("{\"policies\":[{\"policy\":{", "\"x\":1}}]}"),
            ("{\"policies\":[{\"summary\":{", "\"x\":1}}]}"),
            ("{\"policies\":[{\"failure-details\":[{", "\"x\":1}]}]}"),
        ] {
            for unit in ["\"a\":1,", "\"policy-string\":[\"a\"],", "\"policies\":[{}],"] {
                crate::proto::testing::assert_linear(|n| {
                    let text = format!("{before}{}{after}", unit.repeat(n / unit.len()));
                    let report = Report::parse(text.as_bytes()).unwrap();
                    std::hint::black_box(report.write());
                });
            }
        }
        crate::proto::testing::assert_linear(|n| {
            std::hint::black_box(to(&vec!["v=TLSRPTv1;rua=mailto:a@b.c"; n / 32]));
        });
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in [";", "rua=", ",mailto:a@b.c", ",https://a/", "=", " "] {
            crate::proto::testing::assert_linear(|n| {
                let text = "v=TLSRPTv1;rua=mailto:a@b.c".to_string() + &unit.repeat(n / unit.len());
                std::hint::black_box(to(&[&text]));
            });
        }
        for unit in [
            r#"{"policy":{"policy-type":"sts","mx-host":["a","b"]}},"#,
            r#"{"failure-details":[{"result-type":"a"},{"result-type":"b"}]},"#,
            r#"{"a":1,"a":1,"a":1,"a":1},"#,
            "{},",
        ] {
            crate::proto::testing::assert_linear(|n| {
                let text = format!("{{\"policies\":[{}{{}}]}}", unit.repeat(n / unit.len()));
                std::hint::black_box(Report::parse(text.as_bytes()));
            });
        }
    }
}
