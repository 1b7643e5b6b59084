//! Reports that real senders sent, good and broken.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

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

/// Runs `rmailctl dmarc`; what it printed on both channels, and its exit status.
fn dmarc(env: &Env, args: &[&Path]) -> (String, i32) {
    let out = Command::new(env.rmailctl()).arg("dmarc").args(args).output().expect("run rmailctl");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (text + &String::from_utf8_lossy(&out.stderr), out.status.code().unwrap_or(-1))
}

fn wanted(got: &(String, i32), status: i32, texts: &[&str]) -> Result<(), String> {
    if got.1 != status {
        return Err(format!("status {}, not {status}: {}", got.1, got.0));
    }
    match texts.iter().find(|t| !got.0.contains(**t)) {
        Some(text) => Err(format!("no {text:?} in {}", got.0)),
        None => Ok(()),
    }
}

fn outcome(result: Result<(), String>) -> Outcome {
    result.map_or_else(Outcome::Failed, |()| Outcome::Passed)
}

/// What real senders sent, added up in words and as JSON.
pub fn summary(env: &Env) -> Outcome {
    let dir = match env.suites("reports") {
        Ok(dir) => dir.join("aggregate"),
        Err(skipped) => return skipped,
    };
    let files = files(&dir);
    let broken = |path: &&PathBuf| BROKEN.iter().any(|b| path.ends_with(b));
    let good: Vec<&Path> = files.iter().filter(|p| !broken(p)).map(PathBuf::as_path).collect();
    let all: Vec<&Path> = files.iter().map(PathBuf::as_path).collect();
    let checked = || {
        let got = dmarc(env, &good);
        wanted(&got, 0, &["example.com:", " pass, ", "source  ", " reports by "])?;
        let got = dmarc(env, &[&[Path::new("-j")], good.as_slice()].concat());
        wanted(
            &got,
            0,
            &["{\"domains\":[{\"domain\":", "\"total\":{\"messages\":", "\"sources\":["],
        )?;
        // The one that is broken is named, and the others are printed.
        let got = dmarc(env, &all);
        let name = format!("{}: no aggregate report", dir.join(BROKEN[0]).display());
        wanted(&got, 65, &["example.com:", &name])?;
        let twice = dmarc(env, &[good[0], good[0]]);
        wanted(&twice, 0, &["1 reports were there before, and count once"])
    };
    outcome(checked())
}

/// Bombs, web pages and escapes: each is named, none takes memory, time or the
/// terminal.
pub fn hostile(env: &Env) -> Outcome {
    let file = |name: &str, bytes: &[u8]| {
        let path = env.dir.join(name);
        std::fs::write(&path, bytes).expect("write");
        path
    };
    let gzip = |bytes: &[u8]| {
        let mut z = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        z.write_all(bytes).expect("pack");
        z.finish().expect("pack")
    };
    let report = "<feedback><report_metadata><org_name>o\u{1b}[2J</org_name></report_metadata>\
        <policy_published><domain>example.org\u{1b}[2J</domain><p>none</p></policy_published>\
        <record><row><source_ip>192.0.2.1</source_ip><count>3</count></row></record></feedback>";
    let entity = "<!DOCTYPE f [<!ENTITY a \"aaaaaaaaaa\"><!ENTITY b \"&a;&a;&a;\">]><feedback>&b;</feedback>";
    let checked = || {
        for (name, bytes, why) in [
            ("bomb.gz", gzip(&vec![b' '; 64 << 20]), "unpacks to more than a report may have"),
            (
                "page.html",
                b"<!DOCTYPE html><html><body>Report<br></body></html>".to_vec(),
                "no aggregate report",
            ),
            ("entity.xml", entity.as_bytes().to_vec(), "no aggregate report"),
            ("deep.xml", "<a>".repeat(1 << 20).into_bytes(), "no aggregate report"),
            ("half.gz", gzip(b"<feedback/>")[..12].to_vec(), "damaged, encrypted, or packed"),
            ("empty", Vec::new(), "no aggregate report"),
        ] {
            let path = file(name, &bytes);
            wanted(&dmarc(env, &[&path]), 65, &[name, why])?;
        }
        let escapes = dmarc(env, &[&file("escapes.xml.gz", &gzip(report.as_bytes()))]);
        wanted(
            &escapes,
            0,
            &["example.org?[2j: p=none", "3 messages: 0 pass, 3 fail", "192.0.2.1"],
        )?;
        if escapes.0.contains('\x1b') {
            return Err("an escape of the report reaches the terminal".into());
        }
        wanted(&dmarc(env, &[]), 64, &["usage: rmailctl"])?;
        wanted(&dmarc(env, &[Path::new("/nonexistent")]), 66, &["/nonexistent: No such file"])
    };
    outcome(checked())
}
