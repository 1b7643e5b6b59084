//! The DNS tree walk.  RFC 9989 4.10.
//!
//! From a name towards the root, one `_dmarc` record at each step, at most
//! eight questions: a name of more than eight labels jumps to its last seven.

use super::record::{self, Psd, Record};
use crate::proto::dns::{Answers, Name, Need, Query, Type};
use crate::proto::limits;

/// The labels that are left after the first question about a long name.
const LABELS_AFTER_FIRST: usize = 7;

/// The DNS failed on the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Failed;

/// The records that were found, the longest name first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Walk {
    start: Name,
    /// The names and their records.
    pub found: Vec<(Name, Record)>,
}

/// Where policy comes from at a name.
pub fn query(name: &Name) -> Option<Query> {
    let label = Name::from_dotted(b"_dmarc").ok()?;
    Some(Query::new(label.under(name).ok()?, Type::TXT))
}

/// The record at one name: if several remain that are for DMARC, there is none.
fn record_at(name: &Name, answers: &Answers) -> Result<Result<Option<Record>, Failed>, Need> {
    // A name so long that nothing fits below it has no record.
    let Some(query) = query(name) else { return Ok(Ok(None)) };
    let answer = answers.get(&query)?;
    if answer.failure().is_some() {
        return Ok(Err(Failed));
    }
    let mut records = answer.texts().filter_map(|text| record::parse(&text));
    Ok(Ok(match (records.next(), records.next()) {
        (Some(record), None) => Some(record),
        _ => None,
    }))
}

/// Walks from `start` to the top-level domain.
pub fn walk(start: &Name, answers: &Answers) -> Result<Result<Walk, Failed>, Need> {
    let mut found = Vec::new();
    let mut name = start.clone();
    for _ in 0..limits::DMARC_WALK.size() {
        match record_at(&name, answers)? {
            Err(failed) => return Ok(Err(failed)),
            Ok(Some(record)) => {
                let last = record.psd != Psd::Unknown;
                found.push((name.clone(), record));
                if last {
                    break;
                }
            }
            Ok(None) => {}
        }
        let labels = name.label_count();
        if labels <= 1 {
            break;
        }
        name = name.last_labels(labels.saturating_sub(1).min(LABELS_AFTER_FIRST));
    }
    Ok(Ok(Walk { start: start.clone(), found }))
}

/// The first step of the walk alone: the record of the name itself.
pub fn own(name: &Name, answers: &Answers) -> Result<Option<Walk>, Need> {
    let record = record_at(name, answers)?.ok().flatten();
    Ok(record.map(|record| Walk { start: name.clone(), found: vec![(name.clone(), record)] }))
}

impl Walk {
    /// The Organizational Domain.  RFC 9989 4.10.2.
    pub fn organizational_domain(&self) -> Name {
        for (name, record) in &self.found {
            match record.psd {
                Psd::No => return name.clone(),
                Psd::Yes if *name != self.start => {
                    return self.start.last_labels(name.label_count().saturating_add(1));
                }
                _ => {}
            }
        }
        self.found.last().map_or_else(|| self.start.clone(), |(name, _)| name.clone())
    }

    /// The record of a name that was met.
    pub fn at(&self, name: &Name) -> Option<&Record> {
        self.found.iter().find(|(n, _)| n == name).map(|(_, r)| r)
    }

    /// The record that sets the policy, and its name: the Author Domain's own,
    /// else the Organizational Domain's, else that of the public suffix.
    /// RFC 9989 4.10.1.
    pub fn policy(&self) -> Option<(&Name, &Record)> {
        let organization = self.organizational_domain();
        let at = |wanted: &Name| self.found.iter().find(|(n, _)| n == wanted);
        at(&self.start)
            .or_else(|| at(&organization))
            .or_else(|| self.found.iter().find(|(_, r)| r.psd == Psd::Yes))
            .map(|(n, r)| (n, r))
    }
}
