//! Reports that real senders sent, good and broken.

use std::path::{Path, PathBuf};

use rmail::proto::dmarc::report::Report;
use rmail::proto::mime::{self, Encoding};
use rmail::proto::text::transfer;
use rmail::proto::tlsrpt;
use rmail::proto::unpack::unpack;

use crate::{Env, Outcome};

fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).expect("read the suite");
    let mut files: Vec<PathBuf> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

/// What a file holds: itself, or for a message its attachments, decoded.
fn contents(path: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(path).expect("read a report");
    if path.extension().is_none_or(|e| e != "eml") {
        return vec![bytes];
    }
    let structure = mime::scan(&bytes);
    let parts = structure.parts.iter().filter(|p| !p.composite && p.encoding == Encoding::Base64);
    parts.map(|p| transfer::decode(p.encoding, p.body.of(&bytes), 20 << 20)).collect()
}

/// The sample that no reader can take: it is not XML.
const BROKEN: &[&str] = &["invalid_xml.xml"];

pub fn aggregate(env: &Env) -> Outcome {
    let dir = match env.suites("reports") {
        Ok(dir) => dir.join("aggregate"),
        Err(skipped) => return skipped,
    };
    let mut wrong = Vec::new();
    let files = files(&dir);
    for path in &files {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let reports: Vec<Report> = contents(path)
            .iter()
            .filter_map(|c| unpack(c).ok())
            .filter_map(|xml| Report::parse(&xml).ok())
            .collect();
        let whole = reports.iter().any(|r| !r.rows.is_empty() && !r.published.domain.is_empty());
        let broken = BROKEN.contains(&name.as_str());
        if whole == broken {
            wrong.push(format!("{name}: {} reports", reports.len()));
        }
        for report in reports {
            if Report::parse(report.write().as_bytes()).as_ref() != Ok(&report) {
                wrong.push(format!("{name}: does not come back"));
            }
        }
    }
    if files.len() < 18 {
        wrong.push(format!("only {} samples", files.len()));
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}

pub fn tls(env: &Env) -> Outcome {
    let dir = match env.suites("reports") {
        Ok(dir) => dir.join("smtp_tls"),
        Err(skipped) => return skipped,
    };
    let mut wrong = Vec::new();
    for path in files(&dir) {
        let reports: Vec<tlsrpt::Report> = contents(&path)
            .iter()
            .filter_map(|c| unpack(c).ok())
            .filter_map(|json| tlsrpt::Report::parse(&json))
            .collect();
        if reports.len() != 1 || reports[0].policies.is_empty() {
            wrong.push(format!("{}: {} reports", path.display(), reports.len()));
        }
        for report in reports {
            if tlsrpt::Report::parse(report.write().as_bytes()).as_ref() != Some(&report) {
                wrong.push(format!("{}: does not come back", path.display()));
            }
        }
    }
    if wrong.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(wrong.join("; "))
    }
}
