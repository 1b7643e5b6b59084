//! The structure of the code: who imports whom, and what stands where.

use crate::{Env, Outcome, Test};
use std::path::{Path, PathBuf};

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "imports-follow-the-layers", run: imports_follow_the_layers },
    Test { name: "no-process-imports-another", run: no_process_imports_another },
    Test { name: "unsafe-and-target_os-only-in-sys", run: unsafe_and_target_os_only_in_sys },
    Test { name: "only-disk-atomic-syncs-and-links", run: only_disk_atomic_syncs_and_links },
    Test { name: "proto-and-conf-are-pure", run: proto_and_conf_are_pure },
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

fn sources(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).expect("src").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, all);
        } else if path.extension().is_some_and(|e| e == "rs") {
            all.push(path);
        }
    }
}

/// Every source file with its path below src and its code: comments and what
/// stands behind `#[cfg(test)]` at the end of a file are left out.
fn code(env: &Env) -> Vec<(String, Vec<(usize, String)>)> {
    let src = env.root().join("src");
    let mut paths = Vec::new();
    sources(&src, &mut paths);
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&src).expect("below src").display().to_string();
        if name.contains("tests") || name.ends_with("testing.rs") || name.ends_with("hostile.rs") {
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("source");
        let mut lines = Vec::new();
        for (i, line) in text.lines().enumerate() {
            if line.trim() == "#[cfg(test)]" {
                break;
            }
            let line = line.split("//").next().unwrap_or_default();
            lines.push((i + 1, line.to_string()));
        }
        all.push((name, lines));
    }
    all
}

fn verdict(found: Vec<String>) -> Outcome {
    if found.is_empty() {
        Outcome::Passed
    } else {
        Outcome::Failed(found.join("\n"))
    }
}

/// The modules that a line names as `crate::X`.
fn named<'a>(line: &'a str, what: &'a str) -> impl Iterator<Item = &'a str> {
    line.split(what).skip(1).map(|rest| {
        let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}

fn imports_follow_the_layers(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for (file, lines) in code(env) {
        let layer = file.split('/').next().unwrap_or_default();
        let Some((_, may)) = LAYERS.iter().find(|(l, _)| *l == layer) else { continue };
        for (n, line) in lines {
            for module in named(&line, "crate::") {
                let ours = LAYERS.iter().any(|(l, _)| *l == module);
                if ours && !may.contains(&module) {
                    found.push(format!("{file}:{n}: {layer} imports {module}"));
                }
            }
        }
    }
    verdict(found)
}

fn no_process_imports_another(env: &Env) -> Outcome {
    // The table, the start of a child, and the TLS side of a listener.
    let shared = ["table", "start", "tls_server"];
    let mut found = Vec::new();
    for (file, lines) in code(env) {
        let mut parts = file.split('/');
        if parts.next() != Some("proc") {
            continue;
        }
        let own = parts.next().unwrap_or_default().trim_end_matches(".rs").to_string();
        if shared.contains(&own.as_str()) || own == "mod" {
            continue;
        }
        for (n, line) in lines {
            for module in named(&line, "crate::proc::") {
                let other = module != own && !shared.contains(&module) && !module.is_empty();
                if other {
                    found.push(format!("{file}:{n}: {own} imports {module}"));
                }
            }
        }
    }
    verdict(found)
}

fn unsafe_and_target_os_only_in_sys(env: &Env) -> Outcome {
    let mut found = Vec::new();
    for (file, lines) in code(env) {
        if file.starts_with("sys/") || file == "base/remotekey.rs" || file == "lib.rs" {
            continue;
        }
        for (n, line) in lines {
            let unsafe_code = line.contains("unsafe ") || line.contains("unsafe{");
            let lint = line.contains("unsafe_code");
            if (unsafe_code && !lint) || line.contains("target_os") {
                found.push(format!("{file}:{n}: {}", line.trim()));
            }
        }
    }
    verdict(found)
}

fn only_disk_atomic_syncs_and_links(env: &Env) -> Outcome {
    // Offline mail is written by users' programs, logs and sockets are no mail.
    let calls = ["fs::rename", "fs::hard_link", ".sync_all()", ".sync_data()", "file::sync_dir("];
    let mut found = Vec::new();
    for (file, lines) in code(env) {
        let mail = file.starts_with("disk/") || file.starts_with("proc/");
        let atomic = file.starts_with("disk/atomic") || file == "disk/offline.rs";
        if !mail || atomic {
            continue;
        }
        for (n, line) in lines {
            if let Some(call) = calls.iter().find(|c| line.contains(**c)) {
                found.push(format!("{file}:{n}: {call} outside disk/atomic"));
            }
        }
    }
    verdict(found)
}

fn proto_and_conf_are_pure(env: &Env) -> Outcome {
    let impure = [
        "std::fs",
        "std::net::Tcp",
        "std::net::Udp",
        "std::thread",
        "std::env",
        "std::process",
        "Instant::now",
        "SystemTime",
        "openssl::",
        "libc::",
        "static mut",
    ];
    let mut found = Vec::new();
    for (file, lines) in code(env) {
        if !file.starts_with("proto/") && !file.starts_with("conf/") {
            continue;
        }
        for (n, line) in lines {
            if let Some(what) = impure.iter().find(|w| line.contains(**w)) {
                found.push(format!("{file}:{n}: {what}"));
            }
        }
    }
    verdict(found)
}

/// Each IMAP command has a file, and each cites the section that it follows.
fn handlers_cite_their_rfc(env: &Env) -> Outcome {
    let dir = env.root().join("src/proc/store/cmd");
    let mut paths = Vec::new();
    if dir.is_dir() {
        sources(&dir, &mut paths);
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
