//! The structure of the code: who imports whom, and what stands where.
//!
//! Each rule of the design that can be seen in the source is a test here;
//! [`source`] gives the code without comments and tests.  A module cannot opt
//! out: what is compiled for tests alone is found by `#[cfg(test)]`, not by name.

use crate::{Env, Outcome, Test};
use source::Source;

pub mod source;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "imports-follow-the-layers", run: imports_follow_the_layers },
    Test { name: "no-process-imports-another", run: no_process_imports_another },
    Test { name: "crates-enter-where-they-may", run: crates_enter_where_they_may },
    Test { name: "unsafe-and-target_os-only-in-sys", run: unsafe_and_target_os_only_in_sys },
    Test { name: "only-disk-atomic-syncs-and-links", run: only_disk_atomic_syncs_and_links },
    Test { name: "proto-and-conf-are-pure", run: proto_and_conf_are_pure },
    Test { name: "what-reads-foreign-bytes-cannot-panic", run: cannot_panic },
    Test { name: "handlers-cite-their-rfc", run: handlers_cite_their_rfc },
];

/// What each layer may import of ours.
const LAYERS: &[(&str, &[&str])] = &[
    ("proto", &["proto"]),
    ("conf", &["conf", "proto"]),
    ("sys", &["sys"]),
    ("base", &["base", "sys", "proto"]),
    ("disk", &["disk", "base", "sys", "proto"]),
    ("ipc", &["ipc", "base", "sys", "conf", "proto"]),
    ("proc", &["proc", "ipc", "disk", "base", "sys", "conf", "proto"]),
    ("ctl", &["ctl", "ipc", "disk", "base", "sys", "conf", "proto"]),
    ("send", &["send", "ipc", "disk", "base", "sys", "conf", "proto"]),
];

/// Where each crate may be named: a layer, or a file of one.
const CRATES: &[(&str, &[&str])] = &[
    ("libc", &["sys/"]),
    ("nix", &["sys/"]),
    ("pledge", &["sys/"]),
    ("unveil", &["sys/"]),
    ("landlock", &["sys/"]),
    ("seccompiler", &["sys/"]),
    ("openssl", &["base/", "proc/keyd/"]),
    ("openssl_sys", &["base/remotekey.rs"]),
    ("foreign_types", &["base/remotekey.rs"]),
    ("getopts", &["ctl/", "send/", "proc/mod.rs"]),
    ("regex", &["proto/", "conf/", "disk/"]),
    ("encoding_rs", &["proto/"]),
    ("flate2", &["proto/", "disk/"]),
];

/// The lints that a panic on foreign bytes would have to get past.
const LINTS: [&str; 6] = [
    "unwrap_used",
    "expect_used",
    "panic",
    "indexing_slicing",
    "arithmetic_side_effects",
    "as_conversions",
];

fn code(env: &Env) -> Vec<Source> {
    source::read(&env.root().join("src"))
}

fn verdict(found: Vec<String>) -> Outcome {
    if found.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(found.join("\n"))
    }
}

/// Each line with its number.
fn numbered(source: &Source) -> impl Iterator<Item = (usize, &String)> {
    source.lines.iter().enumerate().map(|(i, line)| (i + 1, line))
}

fn imports_follow_the_layers(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for source in code(env) {
        let layer = source.layer();
        let Some((_, may)) = LAYERS.iter().find(|(l, _)| *l == layer) else {
            // The crate's root and the programs name whom they start.
            if !matches!(layer, "" | "bin") {
                found.push(format!("{}: {layer} is no layer", source.name));
            }
            continue;
        };
        for (n, path) in source.paths() {
            let to = path.first().map_or("*", String::as_str);
            let ours = LAYERS.iter().any(|(l, _)| *l == to) || to == "*";
            if ours && !may.contains(&to) {
                found.push(format!("{}:{n}: {layer} imports {to}", source.name));
            }
        }
    }
    verdict(found)
}

fn no_process_imports_another(env: &Env) -> Outcome {
    // The table, the start of a child, and the TLS side of a listener.
    let shared = ["table", "start", "listening", "program"];
    let mut found = Vec::new();
    for source in code(env) {
        let [layer, own, ..] = source.module.as_slice() else { continue };
        if layer != "proc" || shared.contains(&own.as_str()) {
            continue;
        }
        for (n, path) in source.paths() {
            let (Some("proc"), other) = (path.first().map(String::as_str), path.get(1)) else {
                continue;
            };
            let other = other.map_or("*", String::as_str);
            if other != own && !shared.contains(&other) {
                found.push(format!("{}:{n}: {own} imports {other}", source.name));
            }
        }
    }
    verdict(found)
}

/// True if the line names a crate: the word, not behind a path of ours, and `::` after it.
fn names(line: &str, name: &str) -> bool {
    line.match_indices(name).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        let word = before.is_none_or(|c| !c.is_alphanumeric() && !matches!(c, '_' | ':'));
        let root = word || line[..at].ends_with(" ::");
        let after = &line[at + name.len()..];
        root && (after.starts_with("::") || after.starts_with(';') && line.contains("use "))
    })
}

fn crates_enter_where_they_may(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for source in code(env) {
        for (name, places) in CRATES {
            if places.iter().any(|p| source.name.starts_with(p)) {
                continue;
            }
            // A module of ours of that name, in the same file or imported.
            let own = source.lines.iter().any(|l| l.contains(&format!("mod {name}")))
                || source.paths().iter().any(|(_, p)| p.last().is_some_and(|l| l == name));
            for (n, line) in numbered(&source).filter(|(_, l)| !own && names(l, name)) {
                found.push(format!("{}:{n}: {name}: {}", source.name, line.trim()));
            }
        }
    }
    verdict(found)
}

fn unsafe_and_target_os_only_in_sys(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for source in code(env) {
        let name = source.name.as_str();
        if name.starts_with("sys/") {
            continue;
        }
        for (n, line) in numbered(&source) {
            let mut words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let unsafe_code = words.clone().any(|w| w == "unsafe");
            // lib.rs allows it to sys, remotekey.rs to itself.
            let lint = words.any(|w| w == "unsafe_code") && !line.contains("forbid");
            let here = name == "base/remotekey.rs" || (lint && name == "lib.rs");
            if (unsafe_code || lint) && !here || line.contains("target_os") {
                found.push(format!("{name}:{n}: {}", line.trim()));
            }
        }
    }
    verdict(found)
}

fn only_disk_atomic_syncs_and_links(env: &Env) -> Outcome {
    // Offline mail is written by users' programs, logs and sockets are no mail.
    let calls = [
        "fs::rename",
        "fs::hard_link",
        ".sync_all()",
        ".sync_data()",
        "file::sync_dir(",
        "fsync(",
        "fdatasync(",
    ];
    let mut found = Vec::new();
    for source in code(env) {
        let name = source.name.as_str();
        let mail = name.starts_with("disk/") || name.starts_with("proc/");
        let atomic = name.starts_with("disk/atomic") || name == "disk/offline.rs";
        if !mail || atomic {
            continue;
        }
        for (n, line) in numbered(&source) {
            if let Some(call) = calls.iter().find(|c| line.contains(**c)) {
                found.push(format!("{name}:{n}: {call} outside disk/atomic"));
            }
        }
    }
    verdict(found)
}

fn proto_and_conf_are_pure(env: &Env) -> Outcome {
    // Of std: values, addresses, collections, and io's traits over bytes.
    let impure = [
        "fs",
        "env",
        "thread",
        "process",
        "os",
        "net::Tcp",
        "net::Udp",
        "net::ToSocketAddrs",
        "time::Instant",
        "time::SystemTime",
        "sync::Mutex",
        "sync::RwLock",
        "sync::LazyLock",
        "sync::atomic",
    ];
    let mut found = Vec::new();
    for source in code(env) {
        if !matches!(source.layer(), "proto" | "conf") {
            continue;
        }
        let top = source.name == format!("{}/mod.rs", source.layer());
        if top && !source.lines.iter().any(|l| l == "#![forbid(unsafe_code)]") {
            found.push(format!("{}: does not forbid unsafe code", source.name));
        }
        let text = source.lines.join("\n");
        for (at, _) in text.match_indices("std::") {
            let rest = &text[at + "std::".len()..];
            let line = text[..at].matches('\n').count() + 1;
            let named = |what: &&&str| {
                rest.strip_prefix(**what).is_some_and(|r| !r.starts_with(char::is_lowercase))
            };
            if rest.starts_with('{') {
                found.push(format!("{}:{line}: one use for each of std", source.name));
            } else if let Some(what) = impure.iter().find(named) {
                found.push(format!("{}:{line}: std::{what}", source.name));
            }
        }
        for (n, line) in numbered(&source) {
            let words = ["static mut", "thread_local!", "Instant::now", "println!", "io::std"];
            if let Some(what) = words.iter().find(|w| line.contains(**w)) {
                found.push(format!("{}:{n}: {what}", source.name));
            }
            // A constant may be static; what changes is a global.
            let changes = ["OnceLock", "LazyLock", "Cell", "Atomic", "Lock<", "Mutex"];
            let item = line.trim_start().trim_start_matches("pub ").starts_with("static ");
            if item && changes.iter().any(|c| line.contains(c)) {
                found.push(format!("{}:{n}: a global: {}", source.name, line.trim()));
            }
        }
    }
    verdict(found)
}

/// The layers that meet bytes from outside deny the lints at their root, and
/// whoever makes an exception says with `expect` what makes it safe.
fn cannot_panic(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for source in code(env) {
        if !matches!(source.layer(), "proto" | "conf" | "ipc" | "disk") {
            continue;
        }
        let name = source.name.as_str();
        let text = source.lines.join("\n");
        let mut denied = false;
        for (n, attribute) in attributes(&text) {
            let words: Vec<&str> =
                attribute.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
            let has = |word: &str| words.contains(&word);
            let all = ["all", "restriction", "pedantic", "warnings"];
            let lints =
                has("clippy") && (LINTS.iter().any(|l| has(l)) || all.iter().any(|l| has(l)));
            if !lints {
                continue;
            }
            let tight: String = attribute.split_whitespace().collect();
            let root = tight.starts_with("#![cfg_attr(not(test),deny(clippy::")
                && LINTS.iter().all(|l| has(l))
                && name == format!("{}/mod.rs", source.layer());
            let exception = attribute.starts_with("#[expect(") && has("reason");
            denied |= root;
            if !root && !exception {
                found.push(format!("{name}:{n}: not an expect with its reason: {attribute}"));
            }
        }
        if name == format!("{}/mod.rs", source.layer()) && !denied {
            found.push(format!("{name}: does not deny {}", LINTS.join(", ")));
        }
    }
    for file in ["clippy.toml", ".clippy.toml"] {
        if env.root().join(file).exists() {
            found.push(format!("{file}: could allow what is denied"));
        }
    }
    verdict(found)
}

/// The attributes of a file with their lines.
fn attributes(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices('#') {
        let rest = &text[at..];
        if !rest.starts_with("#[") && !rest.starts_with("#![") {
            continue;
        }
        let mut depth = 0_usize;
        let end = rest.find(|c: char| {
            match c {
                '[' => depth += 1,
                ']' => depth -= 1,
                _ => return false,
            }
            depth == 0
        });
        let whole = rest.get(..end.map_or(rest.len(), |e| e + 1)).unwrap_or(rest);
        let line = text[..at].matches('\n').count() + 1;
        found.push((line, whole.split_whitespace().collect::<Vec<_>>().join(" ")));
    }
    found
}

/// Each IMAP command has a file, and each cites the section that it follows.
fn handlers_cite_their_rfc(env: &Env) -> Outcome {
    let dir = env.root().join("src/proc/store/cmd");
    let mut paths = Vec::new();
    if dir.is_dir() {
        source::files(&dir, &mut paths);
    }
    // What several commands share.
    paths.retain(|p| !p.ends_with("mod.rs") && !p.ends_with("content.rs"));
    paths.push(env.root().join("src/proto/smtp/command.rs"));
    let mut found = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).expect("source");
        if !text.contains("RFC ") {
            found.push(format!("{}: cites no RFC", path.display()));
        }
    }
    verdict(found)
}
