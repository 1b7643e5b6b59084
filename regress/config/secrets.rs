//! Files with secrets must not be open to others.

use crate::{daemon, Env, Outcome};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A configuration, and the one file of it that holds secrets.
struct Case {
    what: &'static str,
    conf: &'static str,
    /// Relative to the test's folder.
    secret: &'static str,
}

const CASES: &[Case] = &[
    Case {
        what: "key of a pki",
        conf: "pki mx.example.org cert \"@/cert.pem\" key \"@/cert.key\"\n\
               listen on lo smtps port 0 pki mx.example.org\n",
        secret: "cert.key",
    },
    Case {
        what: "credentials in a file",
        conf: "table users file:@/users\n\
               pki mx.example.org cert \"@/cert.pem\" key \"@/cert.key\"\n\
               listen on lo smtps port 0 pki mx.example.org auth <users>\n",
        secret: "users",
    },
    Case {
        what: "credentials of a passwd table",
        conf: "table users passwd:@/passwd\n\
               pki mx.example.org cert \"@/cert.pem\" key \"@/cert.key\"\n\
               listen on lo smtps port 0 pki mx.example.org auth <users>\n",
        secret: "passwd",
    },
    Case {
        what: "inline credentials",
        conf: "table users { \"joe@example.org\" = \"$2b$04$x\" }\n\
               pki mx.example.org cert \"@/cert.pem\" key \"@/cert.key\"\n\
               listen on lo smtps port 0 pki mx.example.org auth <users>\n",
        secret: "rmail.conf",
    },
    Case {
        what: "credentials of a relay",
        conf: "table relays file:@/relays\n\
               action out relay host smtp+tls://out@relay.example.net auth <relays>\n\
               match from local for any action out\n",
        secret: "relays",
    },
    Case {
        what: "inline credentials of a relay",
        conf: "table relays { out = \"joe:secret\" }\n\
               action out relay host smtp+tls://out@relay.example.net auth <relays>\n\
               match from local for any action out\n",
        secret: "rmail.conf",
    },
    Case {
        what: "key of the queue",
        conf: "queue encryption \
               000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f\n",
        secret: "rmail.conf",
    },
];

/// Each is taken with mode 600, and refused when others may read it.
pub fn readable(env: &Env) -> Outcome {
    prepare(env);
    for case in CASES {
        let secret = write(env, case);
        taken(env, case.what);
        for mode in [0o604, 0o644] {
            chmod(&secret, mode);
            let path = secret.display();
            let said = format!(
                "{path}: holds secrets and others may read it (mode {mode:o}): chmod o= {path}"
            );
            refused(env, case.what, &said);
        }
        chmod(&secret, 0o600);
    }
    Outcome::Passed
}

/// The same for a group that may write, and for an owner who is not root.
pub fn writable(env: &Env) -> Outcome {
    prepare(env);
    for case in CASES {
        let secret = write(env, case);
        let path = secret.display();
        chmod(&secret, 0o640);
        taken(env, case.what);
        chmod(&secret, 0o620);
        let said = format!("{path}: its group may write it (mode 620): chmod g-w {path}");
        refused(env, case.what, &said);
        chmod(&secret, 0o600);
        // Only root can give a file away.
        if chown(&secret, Some(65534), None).is_ok() {
            refused(env, case.what, &format!("{path}: must belong to root: chown root {path}"));
            chown(&secret, Some(0), None).expect("chown");
        }
    }
    Outcome::Passed
}

/// The files that the configurations name, readable by nobody else.
fn prepare(env: &Env) {
    daemon::certificate(&env.dir, "cert", &["mx.example.org"]);
    for (name, text) in [
        ("users", "joe@example.org $2b$04$x\n"),
        ("passwd", "joe@example.org:$2b$04$x:65534:65534::/h\n"),
        ("relays", "out joe:secret\n"),
    ] {
        daemon::write(&env.dir.join(name), text);
        chmod(&env.dir.join(name), 0o600);
    }
}

/// Writes the case's configuration; returns its secret.
fn write(env: &Env, case: &Case) -> PathBuf {
    let conf = env.dir.join("rmail.conf");
    let mut text = case.conf.replace("@/", &format!("{}/", env.dir.display()));
    if !text.contains("match ") {
        text.push_str("action in mbox\nmatch from local for local action in\n");
    }
    daemon::write(&conf, text);
    chmod(&conf, if case.secret == "rmail.conf" { 0o600 } else { 0o644 });
    env.dir.join(case.secret)
}

fn chmod(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("chmod");
}

/// What `rmaild -n` answers and says.
fn check(env: &Env) -> (Option<i32>, String) {
    let conf = env.dir.join("rmail.conf");
    let out = Command::new(env.rmaild()).arg("-n").arg("-f").arg(conf).output().expect("rmaild");
    (out.status.code(), String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
}

fn taken(env: &Env, what: &str) {
    let (code, said) = check(env);
    assert_eq!(code, Some(0), "{what}: {said}");
}

fn refused(env: &Env, what: &str, text: &str) {
    let (code, said) = check(env);
    assert_eq!(code, Some(78), "{what}: {said}");
    assert!(said.lines().any(|l| l.ends_with(text)), "{what}: {said}, not {text}");
}
