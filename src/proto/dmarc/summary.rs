//! What aggregate reports say, added up: who sends for a domain, and with what
//! success.
//!
//! Reports are written by strangers; that many of them come, or that they name
//! sources without end, makes a summary no longer than [`limits::REPORT_ROWS`]
//! for each domain.  A report that comes twice, by mail and from a copy, counts
//! once.

use std::collections::{BTreeMap, BTreeSet};

use super::report::{Published, Report, Row};
use crate::proto::limits;

/// All reports that were added.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// By the domain that published the policy.
    pub domains: BTreeMap<String, Domain>,
    /// Reports that had been added before, or are of domains over the limit.
    pub left_out: u64,
    /// By domain, reporter and id, which is unique "among reports to the same
    /// domain" only.  RFC 9990 3.5.1.
    seen: BTreeSet<(String, String, String)>,
}

/// What was reported about one domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Domain {
    /// Its policy, as the report about the latest time says.
    pub published: Published,
    /// Who reported.
    pub reporters: BTreeSet<String>,
    /// Seconds since 1970.
    pub begin: u64,
    /// Seconds since 1970.
    pub end: u64,
    /// How many reports.
    pub reports: u64,
    /// All messages.
    pub total: Counts,
    /// By source address.
    pub sources: BTreeMap<String, Counts>,
    /// Messages of sources over the limit.
    pub others: Counts,
}

/// What became of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages.
    pub messages: u64,
    /// DKIM passed, aligned.
    pub dkim: u64,
    /// SPF passed, aligned.
    pub spf: u64,
    /// At least one of the two: DMARC passed.
    pub pass: u64,
    /// Went to Junk.
    pub quarantined: u64,
    /// Were refused.
    pub rejected: u64,
}

impl Counts {
    fn add(&mut self, row: &Row) {
        let pass = |word: &str| word.eq_ignore_ascii_case("pass");
        let (dkim, spf) = (pass(&row.dkim_aligned), pass(&row.spf_aligned));
        for (sum, counts) in [
            (&mut self.messages, true),
            (&mut self.dkim, dkim),
            (&mut self.spf, spf),
            (&mut self.pass, dkim || spf),
            (&mut self.quarantined, row.disposition.eq_ignore_ascii_case("quarantine")),
            (&mut self.rejected, row.disposition.eq_ignore_ascii_case("reject")),
        ] {
            if counts {
                *sum = sum.saturating_add(row.count);
            }
        }
    }
}

impl Summary {
    /// Adds a report.  False if it was left out.
    pub fn add(&mut self, report: &Report) -> bool {
        let most = limits::REPORT_ROWS.size();
        let name = report.published.domain.trim_end_matches('.').to_ascii_lowercase();
        let (organization, id) = (&report.metadata.organization, &report.metadata.id);
        let key = (name.clone(), organization.clone(), id.clone());
        let room = self.domains.len() < limits::REPORT_DOMAINS.size();
        if !(room || self.domains.contains_key(&name)) || !self.seen.insert(key) {
            self.left_out = self.left_out.saturating_add(1);
            return false;
        }
        let domain = self.domains.entry(name).or_default();
        let m = &report.metadata;
        if domain.reports == 0 || m.end >= domain.end {
            domain.published = report.published.clone();
        }
        let first = domain.reports == 0;
        domain.begin = if first { m.begin } else { domain.begin.min(m.begin) };
        domain.end = domain.end.max(m.end);
        domain.reports = domain.reports.saturating_add(1);
        domain.reporters.insert(m.organization.clone());
        for row in &report.rows {
            domain.total.add(row);
            let known = domain.sources.contains_key(&row.source);
            if known || domain.sources.len() < most {
                domain.sources.entry(row.source.clone()).or_default().add(row);
            } else {
                domain.others.add(row);
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::report::Metadata;
    use super::*;
    use crate::proto::testing::assert_linear;

    fn report(id: &str, begin: u64, p: &str, rows: Vec<Row>) -> Report {
        Report {
            metadata: Metadata {
                organization: "org".into(),
                id: id.into(),
                begin,
                end: begin + 86_399,
                ..Metadata::default()
            },
            published: Published {
                domain: "Example.COM.".into(),
                p: p.into(),
                ..Published::default()
            },
            rows,
        }
    }

    fn row(source: &str, count: u64, dkim: &str, spf: &str, disposition: &str) -> Row {
        Row {
            source: source.into(),
            count,
            dkim_aligned: dkim.into(),
            spf_aligned: spf.into(),
            disposition: disposition.into(),
            ..Row::default()
        }
    }

    #[test]
    fn reports_about_one_domain_add_up_by_source() {
        let mut summary = Summary::default();
        let new = report("2", 200_000, "reject", vec![row("192.0.2.1", 5, "pass", "fail", "none")]);
        let old = report(
            "1",
            100_000,
            "none",
            vec![
                row("192.0.2.1", 2, "pass", "pass", "none"),
                row("198.51.100.1", 3, "fail", "fail", "reject"),
                row("198.51.100.1", 1, "fail", "FAIL", "quarantine"),
            ],
        );
        assert!(summary.add(&new) && summary.add(&old));
        assert!(!summary.add(&old), "the same report again");
        let domain = &summary.domains["example.com"];
        assert_eq!((summary.domains.len(), summary.left_out, domain.reports), (1, 1, 2));
        assert_eq!((domain.begin, domain.end), (100_000, 286_399));
        assert_eq!(domain.published.p, "reject", "of the latest");
        let total = Counts { messages: 11, dkim: 7, spf: 2, pass: 7, quarantined: 1, rejected: 3 };
        assert_eq!(domain.total, total);
        assert_eq!(domain.sources["198.51.100.1"].messages, 4);
        assert_eq!(domain.sources["192.0.2.1"].pass, 7);
    }

    /// RFC 9990 3.5.1.
    #[test]
    fn an_id_tells_reports_about_one_domain_only() {
        let mut summary = Summary::default();
        let one = report("1", 0, "none", vec![]);
        let mut other = one.clone();
        other.published.domain = "example.net".into();
        assert!(summary.add(&one) && summary.add(&other) && !summary.add(&other));
        assert_eq!((summary.domains.len(), summary.left_out), (2, 1));
    }

    #[test]
    fn a_summary_of_reports_without_end_is_bounded() {
        let mut summary = Summary::default();
        let rows = |from: usize| {
            let all = from..from + limits::REPORT_ROWS.size();
            all.map(|i| row(&i.to_string(), u64::MAX, "pass", "pass", "none")).collect::<Vec<_>>()
        };
        summary.add(&report("1", 0, "none", rows(0)));
        summary.add(&report("2", 0, "none", rows(5)));
        let domain = &summary.domains["example.com"];
        assert_eq!(domain.sources.len(), limits::REPORT_ROWS.size());
        assert_eq!(domain.others.messages, u64::MAX, "numbers do not wrap");
        for i in 0..limits::REPORT_DOMAINS.size() + 5 {
            let mut one = report(&format!("d{i}"), 0, "none", vec![]);
            one.published.domain = format!("d{i}");
            summary.add(&one);
        }
        assert_eq!(summary.domains.len(), limits::REPORT_DOMAINS.size());
        assert_eq!(summary.left_out, 6);
    }

    #[test]
    fn time_doubles_with_the_rows() {
        assert_linear(|n| {
            let rows = (0..n / 16).map(|i| row(&i.to_string(), 1, "pass", "fail", "none"));
            let mut summary = Summary::default();
            summary.add(&report("1", 0, "none", rows.collect()));
            std::hint::black_box(summary);
        });
    }
}
