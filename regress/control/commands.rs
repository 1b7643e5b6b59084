//! rmailctl's commands that the other tests do not need.

use super::CONFIG;
use crate::daemon::{eventually, Daemon};
use crate::deliver::post::{self, files, Client};
use crate::{Env, Outcome};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const TEXT: &str = "Subject: hello\r\n\r\nline\r\n";

/// Posts a message; the answer to the recipient or to the end.
fn say(daemon: &Daemon, to: &str) -> String {
    Client::connect(daemon.address("smtp", 0)).post("a@sender.example", to, TEXT)
}

/// A file of a table counts when it was read again, and never half.
pub fn update_table(env: &Env) -> Outcome {
    let file = env.dir.join("aliases");
    std::fs::write(&file, "list: joe\n").expect("write");
    let rules = "table aliases file:@DIR@/aliases\n\
                 action \"al\" maildir \"@DIR@/mail/%{dest.user:lowercase}\" userbase <users> \
                 alias <aliases>\n\
                 match from any for domain \"al.example\" action \"al\"\n";
    // The table of users stands behind these lines.
    let config = post::config(env, "", "");
    let (head, tail) = config.split_once("listen").expect("a listener");
    let daemon = Daemon::start(env, &format!("{head}{rules}listen{tail}"));
    let knows = |name: &str| say(&daemon, &format!("{name}@al.example")).starts_with("250");
    assert!(knows("list") && !knows("other"), "{}", daemon.log());
    std::fs::write(&file, "other: jim\n").expect("write");
    assert!(knows("list") && !knows("other"), "before it is read again");
    daemon.ctl_ok(&["update", "table", "aliases"]);
    assert!(!knows("list") && knows("other"), "{}", daemon.log());
    std::fs::write(&file, "third: joe\nfourth: \"unclosed\n").expect("write");
    let refused = daemon.ctl(&["update", "table", "aliases"]);
    let text = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && text.contains("aliases:2: "), "{text}");
    assert!(knows("other") && !knows("third"), "a bad file leaves the old one in force");
    let unknown = daemon.ctl(&["update", "table", "nosuch"]);
    let text = String::from_utf8_lossy(&unknown.stderr).into_owned();
    assert!(!unknown.status.success() && text.contains("nosuch"), "{text}");
    Outcome::Passed
}

pub fn stop(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    assert!(daemon.ctl_ok(&["stop"]).contains("stopping"));
    assert!(eventually(SOON, || !daemon.socket.exists()), "{}", daemon.log());
    let after = daemon.ctl(&["show", "queue"]);
    assert_eq!(after.status.code(), Some(69), "{after:?}");
    Outcome::Passed
}

/// The file is looked at and nothing else: no daemon, and none that runs, is needed.
pub fn check(env: &Env) -> Outcome {
    let good = env.dir.join("good.conf");
    let bad = env.dir.join("bad.conf");
    let config = CONFIG.replace("@DIR@", "/var/empty").replace("port 0", "port 2525");
    std::fs::write(&good, &config).expect("write");
    std::fs::write(&bad, format!("{config}listen no\n")).expect("write");
    let run = |file: &std::path::Path| {
        let out = std::process::Command::new(env.rmailctl())
            .arg("-f")
            .arg(file)
            .arg("check")
            .output()
            .expect("rmailctl");
        let text = [out.stdout, out.stderr].concat();
        (out.status.success(), String::from_utf8_lossy(&text).into_owned())
    };
    let (ok, text) = run(&good);
    assert!(ok && text.contains("configuration OK"), "{text}");
    let (ok, text) = run(&bad);
    assert!(!ok && text.contains("bad.conf:4: "), "{text}");
    Outcome::Passed
}

/// Who has waited finds the message in the mailbox.
pub fn wait_delivered(env: &Env) -> Outcome {
    let daemon = post::daemon(env, "", "");
    for n in 1..=5 {
        let said = say(&daemon, "joe@example.com");
        let qid = said.split(' ').nth(2).expect("an id").to_string();
        daemon.ctl_ok(&["wait", "delivered", &qid, "20"]);
        assert_eq!(files(&env.dir.join("mail/joe")).len(), n, "{said}: {}", daemon.log());
    }
    assert_eq!(daemon.ctl(&["wait", "delivered", "not-an-id", "1"]).status.code(), Some(64));
    Outcome::Passed
}

/// Who waits for a delivery is not told that it has come when the message was
/// removed, or came back.
pub fn wait_undelivered(env: &Env) -> Outcome {
    let more = "action \"out\" relay host smtp://127.0.0.1:1\n\
                match from any for domain \"far.example\" action \"out\"\n\
                table prog { \"no@prog.example\" = \"|exit 67\" }\n\
                action \"prog\" maildir \"@DIR@/mail/%{dest.user}\" virtual <prog> userbase <users> \
                user USER\n\
                match from any for domain \"prog.example\" action \"prog\"\n";
    let daemon = post::daemon(env, "", &more.replace("USER", &user_name()));
    let id = |to: &str| {
        let said = say(&daemon, to);
        said.split(' ').nth(2).unwrap_or_else(|| panic!("{said}")).to_string()
    };
    let waits = |qid: &str, secs: &str| {
        let out = daemon.ctl(&["wait", "delivered", qid, secs]);
        (out.status.code(), String::from_utf8_lossy(&out.stderr).into_owned())
    };
    let removed = id("x@far.example");
    assert_eq!(waits(&removed, "0").0, Some(75), "it is still there");
    daemon.ctl_ok(&["remove", &removed]);
    let (code, said) = waits(&removed, "20");
    assert_eq!(code, Some(1), "{said}");
    let line = format!("{removed}.1: x@far.example: removed by an administrator\n");
    assert!(said.contains(&line), "{said}");
    let failed = id("no@prog.example");
    let (code, said) = waits(&failed, "20");
    assert_eq!(code, Some(1), "{said}: {}", daemon.log());
    assert!(said.contains(&format!("{failed}.1: no@prog.example: not delivered\n")), "{said}");
    Outcome::Passed
}

/// The user who runs what tables name.
fn user_name() -> String {
    let root = rmail::sys::user::is_root();
    let out = std::process::Command::new("id").arg("-un").args(root.then_some("nobody")).output();
    String::from_utf8_lossy(&out.expect("id").stdout).trim().to_string()
}

/// The log says of every refused recipient why; the client learns no more than
/// that there is none.
pub fn refusal_reasons(env: &Env) -> Outcome {
    let more = "table ring { \"a\" = \"b\", \"b\" = \"a\" }\n\
                table few { \"joe@v.example\" = \"joe\" }\n\
                action \"ring\" maildir \"@DIR@/mail/%{dest.user}\" userbase <users> alias <ring>\n\
                action \"few\" maildir \"@DIR@/mail/%{dest.user}\" userbase <users> virtual <few>\n\
                match from any for domain \"ring.example\" action \"ring\"\n\
                match from any for domain \"v.example\" action \"few\"\n";
    let daemon = post::daemon(env, "", more);
    for (to, why) in [
        ("nobody@example.com", "no user \\\"nobody\\\""),
        ("nobody@v.example", "not in <few>"),
        ("a@ring.example", "aliases lead in a circle"),
        ("c@ring.example", "not in <ring>, no user \\\"c\\\""),
    ] {
        let out = std::process::Command::new(env.sendmail())
            .arg("-S")
            .arg(&daemon.socket)
            .arg(to)
            .stdin(std::process::Stdio::null())
            .output()
            .expect("sendmail");
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(69), "{said}");
        assert!(said.contains(": 550 5.1.1 No such recipient here\n"), "{said}");
        let log = daemon.log();
        let line = log.lines().find(|l| l.contains(&format!("to={to} ")) && l.contains("550"));
        let line = line.unwrap_or_else(|| panic!("{to}: {log}"));
        assert!(line.ends_with(&format!("why=\"{why}\"")), "{line}");
    }
    Outcome::Passed
}

/// Lines for following the work come when they are asked for, and go again.
pub fn log_level(env: &Env) -> Outcome {
    let daemon = post::daemon(env, "", "");
    let lines = || daemon.log().matches(" mailbox=INBOX").count();
    let deliver = || {
        assert!(say(&daemon, "joe@example.com").starts_with("250"));
        daemon.drained();
    };
    deliver();
    assert_eq!(lines(), 0, "{}", daemon.log());
    daemon.ctl_ok(&["log", "verbose"]);
    assert!(
        eventually(SOON, || {
            deliver();
            lines() > 0
        }),
        "{}",
        daemon.log()
    );
    daemon.ctl_ok(&["log", "brief"]);
    assert!(
        eventually(SOON, || {
            let before = lines();
            deliver();
            lines() == before
        }),
        "{}",
        daemon.log()
    );
    Outcome::Passed
}

/// What reads a foreign message, or a password, is in a sandbox by then.
pub fn confined(env: &Env) -> Outcome {
    use std::io::Write;
    use std::process::{Command, Stdio};
    if !std::path::Path::new("/proc/self/status").exists() {
        return Outcome::Skipped("/proc tells who has a filter".into());
    }
    for args in [vec!["encrypt"], vec!["auth", "check", "-"], vec!["sieve", "check", "-"]] {
        let mut child = Command::new(env.rmailctl())
            .args(&args)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("rmailctl");
        let status = format!("/proc/{}/status", child.id());
        // It waits for its input: 2 is a filter that it has installed.
        let filtered = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.lines().any(|l| l == "Seccomp:\t2")
        };
        let is = eventually(SOON, filtered);
        let _ = child.stdin.take().expect("a pipe").write_all(b"keep;\n");
        let ended = child.wait().expect("wait");
        assert!(is, "{args:?} reads without a sandbox");
        assert!(ended.code().is_some(), "{args:?}: {ended}");
    }
    Outcome::Passed
}
