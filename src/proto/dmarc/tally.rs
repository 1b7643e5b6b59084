//! What messages add up to: the rows of aggregate reports.  RFC 9990 3.1.
//!
//! Each message to which a policy applies is [`Counted`] once, and messages that
//! are alike are one row.  All of it is bounded: a domain has at most
//! [`limits::REPORT_ROWS`] rows, and what comes from further sources is a number
//! in its report's `error`; domains beyond [`limits::REPORT_DOMAINS`] have no
//! report.

use std::collections::BTreeMap;

use super::record::{Psd, Record};
use super::report::{Metadata, Published, Report, Row};
use crate::proto::dns::Name;
use crate::proto::limits;

/// A message, as a report counts it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    /// The policy that applied.
    pub published: Published,
    /// The message, as a row of its own.
    pub row: Row,
}

impl Published {
    /// The policy of a record, as it was found: by the tree walk, since no list of
    /// public suffixes is ever asked.  RFC 9990 3.1.1, 3.1.1.5.
    pub fn of(name: &Name, record: &Record) -> Published {
        let word = |request: Option<super::Request>| {
            request.map_or_else(String::new, |r| r.word().to_string())
        };
        Published {
            domain: name.to_string(),
            adkim: record.adkim.word().into(),
            aspf: record.aspf.word().into(),
            p: record.p.map_or("none", super::Request::word).into(),
            sp: word(record.sp),
            np: word(record.np),
            testing: if record.testing { "y" } else { "n" }.into(),
            discovery: "treewalk".into(),
        }
    }
}

impl Record {
    /// True if the owner of the record wants reports that we send: at an address.
    pub fn takes_reports(&self) -> bool {
        !self.rua.is_empty()
    }

    /// True for the record of a public suffix.  RFC 9989 4.7 (psd).
    pub fn is_of_a_suffix(&self) -> bool {
        self.psd == Psd::Yes
    }
}

/// The messages of some time, mostly a day.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    domains: BTreeMap<String, Domain>,
}

#[derive(Clone, Debug, Default)]
struct Domain {
    /// As it was last.
    published: Published,
    rows: BTreeMap<Row, u64>,
    left_out: u64,
}

impl Tally {
    /// Adds a message.
    pub fn add(&mut self, counted: Counted) {
        let Counted { published, mut row } = counted;
        let known = self.domains.contains_key(&published.domain);
        if !known && self.domains.len() >= limits::REPORT_DOMAINS.size() {
            return;
        }
        let domain = self.domains.entry(published.domain.clone()).or_default();
        domain.published = published;
        let count = std::mem::take(&mut row.count);
        let room = domain.rows.len() < limits::REPORT_ROWS.size();
        if room || domain.rows.contains_key(&row) {
            let sum = domain.rows.entry(row).or_default();
            *sum = sum.saturating_add(count);
        } else {
            domain.left_out = domain.left_out.saturating_add(count);
        }
    }

    /// True without any message.
    pub fn is_empty(&self) -> bool {
        self.domains.is_empty()
    }

    /// A report for each domain, in the order of their names.
    ///
    /// `metadata` is that of all of them; the domain is added to its `id`, which
    /// must be unique for each report.  RFC 9990 3.5.1.
    pub fn reports<'a>(&'a self, metadata: &'a Metadata) -> impl Iterator<Item = Report> + 'a {
        self.domains.iter().map(|(name, domain)| {
            let mut metadata = metadata.clone();
            metadata.id = format!("{}.{name}", metadata.id);
            if domain.left_out > 0 {
                let text =
                    format!("{} messages of further sources are not listed", domain.left_out);
                metadata.errors.push(text);
            }
            let rows = domain.rows.iter().map(|(row, count)| Row { count: *count, ..row.clone() });
            Report { metadata, published: domain.published.clone(), rows: rows.collect() }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::record;
    use super::*;
    use crate::proto::testing::assert_linear;

    fn counted(domain: &str, source: &str) -> Counted {
        let name = Name::parse(domain.as_bytes()).unwrap();
        let record = record::parse(b"v=DMARC1; p=reject; np=none; t=y; rua=mailto:a@b.c").unwrap();
        let row = Row { source: source.into(), count: 1, ..Row::default() };
        Counted { published: Published::of(&name, &record), row }
    }

    fn reports(tally: &Tally) -> Vec<Report> {
        let metadata =
            Metadata { organization: "mx".into(), id: "7".into(), ..Metadata::default() };
        tally.reports(&metadata).collect()
    }

    /// RFC 9990 3.1.1: np, testing and discovery_method, and no pct.
    #[test]
    fn a_report_says_that_the_policy_was_found_by_the_tree_walk() {
        let published = counted("example.com", "192.0.2.1").published;
        let words = [&published.p, &published.sp, &published.np, &published.testing];
        assert_eq!(words, ["reject", "", "none", "y"]);
        assert_eq!((published.discovery.as_str(), published.adkim.as_str()), ("treewalk", "r"));
        let record = record::parse(b"v=DMARC1; psd=y; rua=https://x").unwrap();
        assert!(record.is_of_a_suffix() && !record.takes_reports(), "mailto only");
        let published = Published::of(&Name::parse(b"com").unwrap(), &record);
        assert_eq!((published.p.as_str(), published.testing.as_str()), ("none", "n"));
    }

    #[test]
    fn messages_that_are_alike_are_one_row_of_their_domain_s_report() {
        let mut tally = Tally::default();
        assert!(tally.is_empty());
        for (domain, source) in [
            ("b.example", "192.0.2.1"),
            ("a.example", "192.0.2.1"),
            ("a.example", "192.0.2.2"),
            ("a.example", "192.0.2.1"),
        ] {
            tally.add(counted(domain, source));
        }
        let reports = reports(&tally);
        let found: Vec<_> = reports
            .iter()
            .map(|r| {
                let rows: Vec<_> = r.rows.iter().map(|r| (r.source.as_str(), r.count)).collect();
                (r.published.domain.as_str(), r.metadata.id.as_str(), rows)
            })
            .collect();
        assert_eq!(
            found,
            [
                ("a.example", "7.a.example", vec![("192.0.2.1", 2), ("192.0.2.2", 1)]),
                ("b.example", "7.b.example", vec![("192.0.2.1", 1)]),
            ]
        );
        for report in &reports {
            assert_eq!(Report::parse(report.write().as_bytes()).as_ref(), Ok(report));
        }
    }

    #[test]
    fn rows_and_domains_over_the_limits_are_a_number_and_nothing() {
        let mut tally = Tally::default();
        let most = limits::REPORT_ROWS.size();
        for i in 0..most + 5 {
            tally.add(counted("a.example", &format!("s{i}")));
        }
        tally.add(counted("a.example", "s0"));
        let report = &reports(&tally)[0];
        assert_eq!(report.rows.len(), most);
        assert_eq!(report.rows.iter().find(|r| r.source == "s0").unwrap().count, 2);
        assert_eq!(report.metadata.errors, ["5 messages of further sources are not listed"]);
        assert_eq!(Report::parse(report.write().as_bytes()).as_ref(), Ok(report));
        for i in 0..limits::REPORT_DOMAINS.size() + 5 {
            tally.add(counted(&format!("d{i}.example"), "s"));
        }
        assert_eq!(reports(&tally).len(), limits::REPORT_DOMAINS.size());
    }

    #[test]
    fn time_doubles_with_the_messages() {
        assert_linear(|n| {
            let mut tally = Tally::default();
            let one = counted("a.example", "");
            for i in 0..n / 16 {
                let mut one = one.clone();
                one.row.source = i.to_string();
                tally.add(one);
            }
            std::hint::black_box(reports(&tally));
        });
    }
}
