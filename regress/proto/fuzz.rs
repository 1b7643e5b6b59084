//! The fuzz targets of mail authentication and IMAP over seeds and their mutations.
//!
//! A few seconds at each run of the suite; the targets are the same functions
//! that a fuzzer calls, and a finding is a panic.

use std::path::Path;

use crate::fuzz::{finding, TARGETS};
use crate::{Env, Outcome};

/// Changed copies of each seed.
const MUTATIONS: usize = 60;
/// Seeds are cut to this, so that the time is spent on many of them.
const SEED: usize = 4096;

/// What reads mail of strangers: the shapes and suites below are for these.
const KINDS: &[&str] = &["auth-", "dns-", "imap-", "mime-", "report-"];

/// Small seeds that have the shape of what each target reads.
const SHAPES: &[&[u8]] = &[
    b"v=spf1 a:%{d1r-}.x/24//64 include:%{l}.e mx ptr exists:%{ir}.%{v}._spf.%{d2} redirect=e.org exp=x.%{p}",
    b"v=1; a=rsa-sha256; c=relaxed/simple; d=example.org; s=s; h=from:to; bh=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=; b=AAAA",
    b"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=",
    b"v=DMARC1; p=reject; sp=none; np=quarantine; rua=mailto:a@b.c!1m,mailto:d@e.f; t=y; psd=n",
    b"\"A, B\" <a@example.org>, (c) d@example.org",
    b" mx.example.org 1; spf=pass (x) reason=\"y\" smtp.mailfrom=a@b.c; dkim=fail header.d=e",
    b"version: STSv1\nmode: enforce\nmx: *.example.org\nmax_age: 1\n",
    b"{\"policies\":[{\"policy\":{\"policy-string\":[\"a\"]},\"summary\":{}}],\"date-range\":{}}",
    b"<feedback><record><row><count>1</count></row></record></feedback>",
    b"a SEARCH RETURN (MIN ALL) CHARSET UTF-8 OR (SEEN NOT 1:3) HEADER X \"y\" SUBJECT {4}\r\na\r\nb\r\n",
    b"a UID FETCH 1:*,4 (FLAGS BODY.PEEK[1.HEADER.FIELDS (From {2}\r\nTo)]<0.100>)\r\n",
    b"a LIST (SUBSCRIBED RECURSIVEMATCH) \"\" (a \"b c\" d%*) RETURN (STATUS (MESSAGES))\r\n",
    b"a APPEND INBOX (\\Seen $x) \" 1-Feb-2020 12:00:00 +0000\" {310}\r\n",
    b"=?utf-8?Q?=C3=A9?= =?iso-8859-1?B?6Q==?= a",
    b"\x12\x34\x81\x80\0\x01\0\x02\0\0\0\0\x07example\x03org\0\0\x10\0\x01\xc0\x0c\0\x10\0\x01\0\0\0\x3c\0\x04\x03abc\xc0\x0c\0\x0f\0\x01\0\0\0\x3c\0\x04\0\x0a\xc0\x0c",
];

pub fn seeds(env: &Env) -> Outcome {
    let mut seeds: Vec<Vec<u8>> = SHAPES.iter().map(|s| s.to_vec()).collect();
    for folder in ["dkim", "reports/aggregate", "reports/smtp_tls"] {
        match env.suites(folder) {
            Ok(dir) => collect(&dir, &mut seeds),
            Err(skipped) => return skipped,
        }
    }
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as usize % below.max(1)
    };
    for seed in &seeds {
        for round in 0..MUTATIONS {
            let mut bytes = seed.clone();
            for _ in 0..round.min(8) {
                let at = next(bytes.len());
                match next(5) {
                    0 if !bytes.is_empty() => bytes[at] = next(256) as u8,
                    1 if !bytes.is_empty() => bytes[at] ^= 1 << next(8),
                    2 => bytes.truncate(at),
                    3 => {
                        let piece = bytes[at..(at + next(40)).min(bytes.len())].to_vec();
                        let to = next(bytes.len());
                        bytes.splice(to..to, piece);
                    }
                    _ => bytes.insert(at.min(bytes.len()), b"\0\r\n =;:%\"\\(<,&"[next(14)]),
                }
            }
            for target in TARGETS.iter().filter(|t| KINDS.iter().any(|k| t.0.starts_with(k))) {
                if let Some(why) = finding(target, &bytes) {
                    return Outcome::Failed(format!("{why}: {}", bytes.escape_ascii()));
                }
            }
        }
    }
    Outcome::Passed
}

fn collect(dir: &Path, seeds: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> = std::fs::read_dir(dir)
        .expect("read the suite")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.is_file())
        .collect();
    paths.sort();
    for path in paths {
        let mut bytes = std::fs::read(path).expect("read a seed");
        bytes.truncate(SEED);
        seeds.push(bytes);
    }
}
