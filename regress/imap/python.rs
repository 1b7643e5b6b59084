//! Python's imaplib as a client: what it makes of our answers.

use super::client::{daemon, PASSWORD, USER};
use crate::{Env, Outcome, Test};
use std::process::Command;

pub const TESTS: &[Test] = &[
    Test { name: "imaplib-append-and-fetch", run: |env| python(env, "append-and-fetch") },
    Test { name: "imaplib-search", run: |env| python(env, "search") },
    Test { name: "imaplib-store-and-expunge", run: |env| python(env, "store-and-expunge") },
    Test { name: "imaplib-copy-and-move", run: |env| python(env, "copy-and-move") },
    Test { name: "imaplib-mailboxes", run: |env| python(env, "mailboxes") },
    Test { name: "imaplib-namespace-and-noop", run: |env| python(env, "namespace-and-noop") },
];

fn python(env: &Env, behaviour: &str) -> Outcome {
    if Command::new("python3").arg("--version").output().is_err() {
        return Outcome::Skipped("no python3: install python3".into());
    }
    let daemon = daemon(env, "");
    let port = daemon.address("imaps", 0).port().to_string();
    let done = Command::new("python3")
        .arg(env.root().join("regress/imap/imaplib_client.py"))
        .args([behaviour, &port, USER, PASSWORD])
        .output()
        .expect("python3");
    if done.status.success() {
        return Outcome::Passed;
    }
    let said = String::from_utf8_lossy(&done.stderr).into_owned();
    Outcome::Failed(format!("{said}\n{}", daemon.log()))
}
