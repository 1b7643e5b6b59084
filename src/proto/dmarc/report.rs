//! Aggregate reports, written and read.  RFC 9990.
//!
//! What is read was sent by a stranger: [`crate::proto::unpack`] bounds what it
//! unpacks to, [`super::xml`] what it may be, and rows over the limit are
//! refused.  Reports of the older schema (RFC 7489) are read too, as most are.

use super::walk::walk;
use super::xml::{escape, Event, NotXml, Reader};
use crate::proto::addr::Mailbox;
use crate::proto::dns::{Answer, Answers, Name, Need, Query, Step, Type};
use crate::proto::limits;

/// Who reports, and about when.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata {
    /// `org_name`
    pub organization: String,
    /// `email`
    pub email: String,
    /// `extra_contact_info`
    pub contact: String,
    /// `report_id`
    pub id: String,
    /// Seconds since 1970.
    pub begin: u64,
    /// Seconds since 1970.
    pub end: u64,
    /// `error`: what the report leaves out, for people.
    pub errors: Vec<String>,
}

/// Texts of `error` that are read.
const ERRORS: usize = 16;
/// Results and reasons of all rows together: an element of a few octets becomes
/// one of many more.
const RESULTS: usize = limits::REPORT_ROWS.size().saturating_mul(10);

/// The policy that was found.  Empty texts are left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// `domain`
    pub domain: String,
    /// `adkim`
    pub adkim: String,
    /// `aspf`
    pub aspf: String,
    /// `p`
    pub p: String,
    /// `sp`
    pub sp: String,
    /// `np`
    pub np: String,
    /// `testing`: `y` or `n`.
    pub testing: String,
    /// `discovery_method`: `treewalk` or `psl`.
    pub discovery: String,
}

/// Result of DKIM or SPF in a row.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Auth {
    /// `domain`
    pub domain: String,
    /// `selector` of DKIM, `scope` of SPF.
    pub which: String,
    /// `result`
    pub result: String,
}

/// Messages that are alike.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// `source_ip`
    pub source: String,
    /// `count`
    pub count: u64,
    /// `disposition`: `none`, `quarantine` or `reject`; `pass` for what passed.
    pub disposition: String,
    /// `policy_evaluated/dkim`
    pub dkim_aligned: String,
    /// `policy_evaluated/spf`
    pub spf_aligned: String,
    /// `reason`: type and comment.
    pub reasons: Vec<(String, String)>,
    /// `header_from`
    pub header_from: String,
    /// `envelope_from`
    pub envelope_from: String,
    /// Signatures.
    pub dkim: Vec<Auth>,
    /// SPF.
    pub spf: Vec<Auth>,
}

/// A report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Who and when.
    pub metadata: Metadata,
    /// The policy.
    pub published: Published,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Report {
    /// The XML of RFC 9990 3.1.1.
    pub fn write(&self) -> String {
        let mut w = Writer(String::from(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<feedback xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\">\n",
        ));
        w.always("version", "1.0");
        let m = &self.metadata;
        w.open("report_metadata");
        w.always("org_name", &m.organization);
        w.always("email", &m.email);
        w.given("extra_contact_info", &m.contact);
        w.always("report_id", &m.id);
        w.open("date_range");
        w.always("begin", &m.begin.to_string());
        w.always("end", &m.end.to_string());
        w.close("date_range");
        for error in &m.errors {
            w.always("error", error);
        }
        w.close("report_metadata");
        let p = &self.published;
        w.open("policy_published");
        w.always("domain", &p.domain);
        for (name, value) in [
            ("adkim", &p.adkim),
            ("aspf", &p.aspf),
            ("p", &p.p),
            ("sp", &p.sp),
            ("np", &p.np),
            ("testing", &p.testing),
            ("discovery_method", &p.discovery),
        ] {
            w.given(name, value);
        }
        w.close("policy_published");
        for row in &self.rows {
            w.row(row);
        }
        w.0.push_str("</feedback>\n");
        w.0
    }

    /// Reads a report, unpacked.
    pub fn parse(bytes: &[u8]) -> Result<Report, NotXml> {
        let mut reader = Reader::new(bytes);
        let mut report = Report::default();
        let mut row = Row::default();
        let mut auth = Auth::default();
        let mut reason = (String::new(), String::new());
        let mut results = 0_usize;
        // The names of the open elements below "feedback": what an end belongs
        // to.  Some senders put it into a schema element that they never close;
        // so it is looked for at any depth, and its end is the end.
        let mut found = false;
        let mut path: Vec<String> = Vec::new();
        while let Some(event) = reader.next_event()? {
            match event {
                Event::Start(name) => {
                    if found {
                        path.push(String::from_utf8_lossy(name).into_owned());
                    }
                    found |= name == b"feedback";
                }
                Event::End(text) => {
                    if found && path.is_empty() {
                        return Ok(report);
                    }
                    let names: Vec<&str> = path.iter().map(String::as_str).collect();
                    if let ["record", "auth_results", "dkim" | "spf"]
                    | ["record", "row", "policy_evaluated", "reason"] = names.as_slice()
                    {
                        results = results.saturating_add(1);
                        if results > RESULTS {
                            return Err(NotXml);
                        }
                    }
                    match names.as_slice() {
                        ["record"] => {
                            if report.rows.len() >= limits::REPORT_ROWS.size() {
                                return Err(NotXml);
                            }
                            report.rows.push(std::mem::take(&mut row));
                        }
                        ["record", "auth_results", "dkim"] => {
                            row.dkim.push(std::mem::take(&mut auth));
                        }
                        ["record", "auth_results", "spf"] => {
                            row.spf.push(std::mem::take(&mut auth));
                        }
                        ["record", "row", "policy_evaluated", "reason"] => {
                            row.reasons.push(std::mem::take(&mut reason));
                        }
                        ["report_metadata", rest @ ..] => {
                            metadata(&mut report.metadata, rest, text)
                        }
                        ["policy_published", name] => published(&mut report.published, name, text),
                        ["record", "auth_results", "dkim" | "spf", name] => match *name {
                            "domain" => auth.domain = text,
                            "selector" | "scope" => auth.which = text,
                            "result" => auth.result = text,
                            _ => {}
                        },
                        ["record", "row", "policy_evaluated", "reason", name] => match *name {
                            "type" => reason.0 = text,
                            "comment" => reason.1 = text,
                            _ => {}
                        },
                        ["record", rest @ ..] => in_row(&mut row, rest, text),
                        _ => {}
                    }
                    path.pop();
                }
            }
        }
        Err(NotXml)
    }
}

fn metadata(m: &mut Metadata, path: &[&str], text: String) {
    match path {
        ["org_name"] => m.organization = text,
        ["email"] => m.email = text,
        ["extra_contact_info"] => m.contact = text,
        ["report_id"] => m.id = text,
        ["error"] if m.errors.len() < ERRORS => m.errors.push(text),
        ["date_range", "begin"] => m.begin = number(&text),
        ["date_range", "end"] => m.end = number(&text),
        _ => {}
    }
}

fn published(p: &mut Published, name: &str, text: String) {
    match name {
        "domain" => p.domain = text,
        "adkim" => p.adkim = text,
        "aspf" => p.aspf = text,
        "p" => p.p = text,
        "sp" => p.sp = text,
        "np" => p.np = text,
        "testing" => p.testing = text,
        "discovery_method" => p.discovery = text,
        _ => {}
    }
}

fn in_row(row: &mut Row, path: &[&str], text: String) {
    match path {
        ["row", "source_ip"] => row.source = text,
        ["row", "count"] => row.count = number(&text),
        ["row", "policy_evaluated", "disposition"] => row.disposition = text,
        ["row", "policy_evaluated", "dkim"] => row.dkim_aligned = text,
        ["row", "policy_evaluated", "spf"] => row.spf_aligned = text,
        // Old drafts call it "identities".
        ["identifiers" | "identities", "header_from"] => row.header_from = text,
        ["identifiers" | "identities", "envelope_from"] => row.envelope_from = text,
        _ => {}
    }
}

fn number(text: &str) -> u64 {
    text.trim().parse().unwrap_or(0)
}

struct Writer(String);

impl Writer {
    fn open(&mut self, name: &str) {
        self.0.push_str(&format!("<{name}>\n"));
    }

    fn close(&mut self, name: &str) {
        self.0.push_str(&format!("</{name}>\n"));
    }

    fn always(&mut self, name: &str, text: &str) {
        self.0.push_str(&format!("<{name}>{}</{name}>\n", escape(text)));
    }

    fn given(&mut self, name: &str, text: &str) {
        if !text.is_empty() {
            self.always(name, text);
        }
    }

    fn row(&mut self, row: &Row) {
        self.open("record");
        self.open("row");
        self.always("source_ip", &row.source);
        self.always("count", &row.count.to_string());
        self.open("policy_evaluated");
        self.always("disposition", &row.disposition);
        self.always("dkim", &row.dkim_aligned);
        self.always("spf", &row.spf_aligned);
        for (kind, comment) in &row.reasons {
            self.open("reason");
            self.always("type", kind);
            self.given("comment", comment);
            self.close("reason");
        }
        self.close("policy_evaluated");
        self.close("row");
        self.open("identifiers");
        self.always("header_from", &row.header_from);
        self.given("envelope_from", &row.envelope_from);
        self.close("identifiers");
        self.open("auth_results");
        for (name, which, all) in [("dkim", "selector", &row.dkim), ("spf", "scope", &row.spf)] {
            for auth in all {
                self.open(name);
                self.always("domain", &auth.domain);
                self.given(which, &auth.which);
                self.always("result", &auth.result);
                self.close(name);
            }
        }
        self.close("auth_results");
        self.close("record");
    }
}

/// The name of a report's file.  RFC 9990 3.5.2.
pub fn file_name(receiver: &str, domain: &str, begin: u64, end: u64, id: &str) -> String {
    let unique: String = id.chars().filter(|c| c.is_ascii_alphanumeric()).take(64).collect();
    let unique = if unique.is_empty() { unique } else { format!("!{unique}") };
    format!("{receiver}!{domain}!{begin}!{end}{unique}.xml.gz")
}

/// The Subject of a report's message.  RFC 9990 3.5.2.
pub fn subject(domain: &str, submitter: &str, id: &str) -> String {
    format!("Report Domain: {domain} Submitter: {submitter} Report-ID: <{id}>")
}

/// True if a destination belongs to another organization than the policy does,
/// so that its consent is needed; `None` if the DNS failed.  RFC 9990 4.
pub fn is_external(
    policy_domain: &Name,
    destination: &Name,
    answers: &Answers,
) -> Step<Option<bool>> {
    let organization = |name: &Name| -> Result<Option<Name>, Need> {
        Ok(walk(name, answers)?.ok().map(|w| w.organizational_domain()))
    };
    let both = || -> Result<Option<bool>, Need> {
        if policy_domain == destination {
            return Ok(Some(false));
        }
        let (ours, theirs) = (organization(policy_domain)?, organization(destination)?);
        Ok(ours.zip(theirs).map(|(ours, theirs)| ours != theirs))
    };
    both().into()
}

/// Where a destination outside of the policy's organization says that it takes
/// the reports: `<policy-domain>._report._dmarc.<destination>`.  RFC 9990 4.
///
/// `None` if the name would be too long: nothing is sent there then.
pub fn consent_query(policy_domain: &Name, destination: &Name) -> Option<Query> {
    let label = Name::from_dotted(b"_report._dmarc").ok()?;
    let below = label.under(destination).ok()?;
    Some(Query::new(policy_domain.under(&below).ok()?, Type::TXT))
}

/// What a destination answered.  RFC 9990 4.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Consent {
    /// It takes them, at these addresses of its own instead if there are any.
    Given(Vec<Mailbox>),
    /// It does not: nothing is sent there.
    Refused,
    /// The DNS failed: ask again later.
    Later,
}

/// Reads the answer to [`consent_query`].
///
/// With an address of another host, which would hand on the flood that the
/// question is there to prevent, it has refused: nothing is sent there, and
/// nothing to the address that was to be replaced.
pub fn consent(answer: &Answer, destination: &Name) -> Consent {
    if answer.failure().is_some() {
        return Consent::Later;
    }
    let here = |address: &Mailbox| {
        let host = Name::from_dotted(address.domain().as_str().as_bytes());
        host.is_ok_and(|host| host == *destination)
    };
    let mut given = None;
    for record in answer.texts().filter_map(|text| super::record::parse(&text)) {
        if record.other_rua || !record.rua.iter().all(here) {
            return Consent::Refused;
        }
        given.get_or_insert_with(Vec::new).extend(record.rua);
    }
    given.map_or(Consent::Refused, |mut instead| {
        instead.truncate(limits::REPORT_ADDRESSES.size());
        Consent::Given(instead)
    })
}

/// Fuzz target: what is read is written and reads the same.
pub fn fuzz_report(bytes: &[u8]) {
    if let Ok(report) = Report::parse(bytes) {
        let again = Report::parse(report.write().as_bytes());
        assert_eq!(again.map(|r| r.rows.len()), Ok(report.rows.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dns::{Data, Failure, Status};

    /// RFC 9990 3.1.1.
    #[test]
    fn a_report_comes_back() {
        let auth = |which: &str| Auth {
            domain: "example.com".into(),
            which: which.into(),
            result: "pass".into(),
        };
        let report = Report {
            metadata: Metadata {
                organization: "A & <B>".into(),
                email: "a@b.c".into(),
                id: "1".into(),
                begin: 1,
                end: 2,
                ..Metadata::default()
            },
            published: Published {
                domain: "example.com".into(),
                p: "reject".into(),
                np: "none".into(),
                testing: "n".into(),
                discovery: "treewalk".into(),
                ..Published::default()
            },
            rows: vec![Row {
                source: "192.0.2.1".into(),
                count: 7,
                disposition: "none".into(),
                dkim_aligned: "pass".into(),
                spf_aligned: "fail".into(),
                reasons: vec![("mailing_list".into(), "x".into())],
                header_from: "example.com".into(),
                envelope_from: "bounce.example.com".into(),
                dkim: vec![auth("s1"), auth("s2")],
                spf: vec![auth("mfrom")],
            }],
        };
        let xml = report.write();
        assert!(xml.contains("xmlns=\"urn:ietf:params:xml:ns:dmarc-2.0\"") && !xml.contains("pct"));
        assert_eq!(Report::parse(xml.as_bytes()), Ok(report));
    }

    /// RFC 9990 3.5.2, 4.
    #[test]
    fn names_and_consent() {
        assert_eq!(file_name("mx.a", "b.c", 1, 2, "x-9"), "mx.a!b.c!1!2!x9.xml.gz");
        assert_eq!(
            subject("b.c", "mx.a", "1"),
            "Report Domain: b.c Submitter: mx.a Report-ID: <1>"
        );
        let n = |t: &str| Name::parse(t.as_bytes()).unwrap();
        let q = consent_query(&n("example.com"), &n("rua.example.net")).unwrap();
        assert_eq!(q.name.to_string(), "example.com._report._dmarc.rua.example.net");
        let found = |t: &str| Answer::found(&q.name, 1, vec![Data::txt(t.as_bytes())]);
        let consent = |answer: &Answer| consent(answer, &n("RUA.example.net"));
        assert_eq!(consent(&found("v=DMARC1")), Consent::Given(vec![]));
        assert_eq!(consent(&found("v=DMARC1;")), Consent::Given(vec![]));
        assert_eq!(consent(&found("no")), Consent::Refused);
        assert_eq!(consent(&Answer::negative(&q.name, Status::NxDomain, 1)), Consent::Refused);
        assert_eq!(consent(&Answer::failed(&q.name, Failure::Timeout)), Consent::Later);
        assert_eq!(consent_query(&n(&["x"; 100].join(".")), &n(&["y"; 20].join("."))), None);
    }

    /// RFC 9990 4: an overriding URI has the host that was asked; with another one
    /// nothing is sent, there or to the address that it was to replace.
    #[test]
    fn a_destination_may_move_reports_within_its_own_host_only() {
        let n = |t: &str| Name::parse(t.as_bytes()).unwrap();
        let answer = |texts: &[&str]| {
            let records = texts.iter().map(|t| Data::txt(t.as_bytes())).collect();
            consent(&Answer::found(&n("x"), 1, records), &n("rua.example.net"))
        };
        let moved =
            answer(&["v=DMARC1; rua=mailto:x@RUA.example.net!10m,mailto:y@rua.example.net"]);
        let Consent::Given(instead) = moved else { panic!("{moved:?}") };
        let instead: Vec<String> = instead.iter().map(ToString::to_string).collect();
        assert_eq!(instead, ["x@rua.example.net", "y@rua.example.net"]);
        for elsewhere in [
            "mailto:y@victim.example",
            "mailto:x@rua.example.net,mailto:y@victim.example",
            "mailto:y@sub.rua.example.net",
            "mailto:y@%72ua.example.com",
            "https://rua.example.net/",
        ] {
            let record = format!("v=DMARC1; rua={elsewhere}");
            assert_eq!(answer(&[&record]), Consent::Refused, "{elsewhere}");
            assert_eq!(answer(&["v=DMARC1", &record]), Consent::Refused, "{elsewhere}");
        }
    }

    /// RFC 9990 4.
    #[test]
    fn a_destination_of_the_same_organization_needs_no_consent() {
        let n = |t: &str| Name::parse(t.as_bytes()).unwrap();
        let external = |destination: &str| {
            Answers::new().run(
                |a| is_external(&n("blue.example.com"), &n(destination), a),
                |q| match q.name.to_string().as_str() {
                    "_dmarc.example.com" => {
                        Answer::found(&q.name, 1, vec![Data::txt(b"v=DMARC1; p=none")])
                    }
                    "_dmarc.slow.example.org" => Answer::failed(&q.name, Failure::Timeout),
                    _ => Answer::negative(&q.name, Status::NxDomain, 1),
                },
            )
        };
        assert_eq!(external("blue.example.com"), Some(false));
        assert_eq!(external("red.example.com"), Some(false));
        assert_eq!(external("red.example.net"), Some(true));
        assert_eq!(external("slow.example.org"), None);
    }

    #[test]
    fn rows_over_the_limit_are_refused() {
        let rows = |n: usize| format!("<feedback>{}</feedback>", "<record></record>".repeat(n));
        assert_eq!(Report::parse(rows(10_000).as_bytes()).unwrap().rows.len(), 10_000);
        assert_eq!(Report::parse(rows(10_001).as_bytes()), Err(NotXml));
        assert_eq!(Report::parse(b"<other/>"), Err(NotXml));
    }

    /// However they are spread over the rows.
    #[test]
    fn results_without_end_are_refused() {
        for (unit, row) in [("<dkim/>", 7), ("<spf></spf>", 11), ("<dkim/>", 70_000)] {
            let rows = |octets: usize| {
                let row = format!("<record><auth_results>{}", unit.repeat(row / unit.len()));
                let row = row + "</auth_results></record>";
                format!("<feedback>{}</feedback>", row.repeat(octets / row.len() + 1))
            };
            let few = Report::parse(rows(1000).as_bytes()).unwrap();
            assert!(few.rows.iter().all(|r| r.dkim.len() + r.spf.len() == row / unit.len()));
            assert_eq!(Report::parse(rows(2 << 20).as_bytes()), Err(NotXml));
        }
        let reasons = "<reason/>".repeat(RESULTS + 1);
        let row = format!("<row><policy_evaluated>{reasons}</policy_evaluated></row>");
        let text = format!("<feedback><record>{row}</record></feedback>");
        assert_eq!(Report::parse(text.as_bytes()), Err(NotXml));
    }

    #[test]
    fn time_doubles_with_the_input() {
        for unit in [
            "<record></record>",
            "<record><row><policy_evaluated><reason><type>a</type></reason></policy_evaluated></row></record>",
            "<a>",
            "<a></a>",
            "<record><auth_results>",
            "</record>",
        ] {
            crate::proto::testing::assert_linear(|n| {
                let text = "<feedback>".to_string() + &unit.repeat(n / unit.len());
                let _ = std::hint::black_box(Report::parse(text.as_bytes()));
            });
        }
        // One record that grows.
        for unit in ["<dkim><domain>a</domain></dkim>", "<spf></spf>", "x"] {
            crate::proto::testing::assert_linear(|n| {
                let text = "<feedback><record><auth_results>".to_string()
                    + &unit.repeat(n / unit.len())
                    + "</auth_results></record></feedback>";
                let _ = std::hint::black_box(Report::parse(text.as_bytes()));
            });
        }
    }
}
