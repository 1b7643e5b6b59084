//! The daemon as a whole: start, control socket, reload, stop, deaths.

mod commands;

use crate::daemon::{eventually, Daemon};
use crate::{Env, Outcome, Test};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "second-daemon-of-a-queue-is-refused", run: a_second_daemon_of_a_queue },
    Test { name: "lines-of-children-have-their-level-in-the-journal", run: journal },
    Test { name: "starts-and-stops", run: starts_and_stops },
    Test { name: "who-stops-it-is-told-that-it-stops", run: who_stops_it },
    Test { name: "a-killed-process-comes-back", run: a_killed_process_comes_back },
    Test { name: "a-bad-configuration-changes-nothing", run: a_bad_configuration_changes_nothing },
    Test { name: "show-procs-knows-every-process", run: show_procs_knows_every_process },
    Test { name: "show-procs-tells-real-places", run: show_procs_tells_real_places },
    Test { name: "every-answer-is-json-when-asked", run: every_answer_is_json },
    Test { name: "garbage-on-the-socket-hurts-nobody", run: garbage_on_the_socket },
    Test { name: "silent-connections-shut-nobody-out", run: silent_connections },
    Test { name: "a-pause-outlives-the-process", run: a_pause_outlives_the_process },
    Test { name: "wrong-words-are-told", run: wrong_words_are_told },
    Test { name: "a-changed-file-counts-after-update-table", run: commands::update_table },
    Test { name: "stop-ends-the-daemon", run: commands::stop },
    Test { name: "check-needs-no-daemon", run: commands::check },
    Test { name: "wait-delivered-means-in-the-mailbox", run: commands::wait_delivered },
    Test { name: "rmailctl-reads-its-input-confined", run: commands::confined },
    Test { name: "wait-delivered-tells-what-was-not", run: commands::wait_undelivered },
    Test { name: "log-says-why-a-recipient-is-refused", run: commands::refusal_reasons },
    Test { name: "log-verbose-and-brief", run: commands::log_level },
    Test { name: "a-second-daemon-leaves-the-socket-alone", run: a_second_daemon },
    Test { name: "found-in-path-and-begun-again", run: found_in_path },
    Test { name: "a-new-program-that-would-not-run-is-not-begun", run: not_begun_again },
    Test { name: "a-stopped-child-does-not-stop-show", run: a_stopped_child_does_not_stop_show },
];

const CONFIG: &str = "listen on 127.0.0.1 port 0\n\
    action \"in\" maildir \"@DIR@/mail/%{dest.user}\"\n\
    match from any for domain \"example.com\" action \"in\"\n";

const ALWAYS: &[&str] = &["parent", "keyd", "lookup", "queue", "smtp", "mta", "imap", "control"];

fn starts_and_stops(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let socket = daemon.socket.clone();
    assert!(socket.exists());
    assert!(daemon.address("smtp", 0).port() != 0);
    assert!(daemon.stop().success());
    assert!(!socket.exists(), "the control socket outlived the daemon");
    Outcome::Passed
}

fn show_procs_knows_every_process(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    for kind in ALWAYS {
        assert_eq!(daemon.pids(kind).len(), 1, "{kind}");
    }
    Outcome::Passed
}

/// No name of the table stands where a path is known.
fn show_procs_tells_real_places(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let text = daemon.ctl_ok(&["show", "procs"]);
    let dir = env.dir.display();
    let parent = format!("unveil / rwx, {dir}/run rwc, {dir}/spool rwc\n");
    assert!(text.contains(&parent), "{text}");
    assert!(text.contains(&format!(" user _rmailq root {dir}/spool\n")), "{text}");
    let uptime = || {
        let text = daemon.ctl_ok(&["show", "procs"]);
        !text.lines().next().unwrap_or_default().contains(" up 0 s ")
    };
    assert!(eventually(Duration::from_secs(10), uptime), "parent's age stands still");
    Outcome::Passed
}

fn every_answer_is_json(env: &Env) -> Outcome {
    // Mail that waits: nobody is at this port.
    let relay = "action \"out\" relay host \"smtp://127.0.0.1:1\"\n\
                 match from any for domain \"out.example\" action \"out\"\n";
    let daemon = Daemon::start(env, &format!("{CONFIG}{relay}"));
    let mut session = crate::deliver::Client::connect(daemon.address("smtp", 0));
    let said = session.post("\"q\"@a.example", "x@out.example", "Subject: \"q\"\r\n\r\nhi\r\n");
    assert!(said.starts_with("250"), "{said}");
    let qid = said.split_whitespace().nth(2).expect("a queue id").to_string();
    let envelope = format!("{qid}.1");
    let asked = [
        vec!["show", "procs"],
        vec!["show", "listeners"],
        vec!["show", "stats"],
        vec!["show", "limits"],
        vec!["show", "queue"],
        vec!["show", "message", &qid],
        vec!["show", "envelope", &envelope],
        vec!["hold", "all"],
        vec!["log", "brief"],
        vec!["pause", "mta"],
    ];
    for words in asked {
        let before: Vec<&str> = ["-j"].into_iter().chain(words.iter().copied()).collect();
        let behind: Vec<&str> = words.iter().copied().chain(["-j"]).collect();
        for args in [before, behind] {
            let text = daemon.ctl_ok(&args);
            assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
            let mut child = std::process::Command::new("python3")
                .args(["-c", "import json,sys; json.load(sys.stdin)"])
                .stdin(std::process::Stdio::piped())
                .spawn()
                .expect("python3");
            use std::io::Write;
            child.stdin.take().expect("stdin").write_all(text.as_bytes()).expect("write");
            assert!(child.wait().expect("wait").success(), "{args:?}: {text}");
        }
    }
    let conf = env.dir.join("rmail.conf").display().to_string();
    let text = daemon.ctl_ok(&["-j", "-f", &conf, "check"]);
    assert_eq!(text, "{\"done\":\"configuration OK\"}\n");
    Outcome::Passed
}

/// What any user may send to the control socket (CVE-2025-62875).
fn garbage_on_the_socket(env: &Env) -> Outcome {
    use rmail::ipc::ctl::{ADMIN, MAIL};
    use std::io::{Read, Write};
    let daemon = Daemon::start(env, CONFIG);
    let before: Vec<_> = ["parent", "control", "queue", "smtp"].map(|k| daemon.pids(k)).into();
    let mut all: Vec<Vec<u8>> =
        vec![vec![], vec![0], vec![ADMIN], vec![MAIL], b"GET / HTTP/1.0\r\n\r\n".to_vec()];
    for first in [ADMIN, MAIL, 0xff] {
        for tail in [&[0xff; 64][..], &[0; 64], &[0, 0, 0, 1], b"QUIT\r\n\xff\0\r\n"] {
            all.push([&[first][..], tail].concat());
        }
    }
    let mut seed = 1u32;
    for len in 1..200 {
        let mut next = || {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 24) as u8
        };
        all.push([vec![ADMIN], (0..len).map(|_| next()).collect()].concat());
    }
    for bytes in &all {
        let mut s = std::os::unix::net::UnixStream::connect(&daemon.socket).expect("connect");
        s.set_read_timeout(Some(Duration::from_millis(20))).expect("timeout");
        // It may be closed while we still write; what is answered is all one.
        let _ = s.write_all(bytes);
        let _ = s.read(&mut [0; 256]);
    }
    let after: Vec<_> = ["parent", "control", "queue", "smtp"].map(|k| daemon.pids(k)).into();
    assert_eq!(before, after, "{}", daemon.log());
    Outcome::Passed
}

/// A user without rights who connects as often as he can and says nothing.
fn silent_connections(env: &Env) -> Outcome {
    if !rmail::sys::user::is_root() {
        return Outcome::Skipped("another user's connections need root".into());
    }
    let config = "listen on 127.0.0.1 port 0\n\
                  table people { joe = \"65534:65534:@DIR@/joe\" }\n\
                  action \"in\" maildir \"@DIR@/joe/mail\" userbase <people>\n\
                  match from any for domain \"example.com\" action \"in\"\n";
    let daemon = Daemon::start(env, config);
    let script = "import socket, sys\n\
                  held = []\n\
                  for _ in range(100):\n\
                  \x20   s = socket.socket(socket.AF_UNIX)\n\
                  \x20   s.connect(sys.argv[1])\n\
                  \x20   held.append(s)\n\
                  print('held', flush=True)\n\
                  sys.stdin.read()\n";
    let mut other = Command::new("python3")
        .args(["-c", script])
        .arg(&daemon.socket)
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3");
    let mut line = String::new();
    let read = BufReader::new(other.stdout.take().expect("piped")).read_line(&mut line);
    let asked = daemon.ctl(&["show", "queue"]);
    let mut sendmail = Command::new(env.sendmail());
    sendmail.arg("-S").arg(&daemon.socket).args(["-f", "a@b.example", "joe@example.com"]);
    let mut sendmail = sendmail.stdin(Stdio::piped()).spawn().expect("sendmail");
    let text = sendmail.stdin.take().expect("piped").write_all(b"Subject: x\n\nhello\n");
    let mail = sendmail.wait().expect("sendmail");
    drop(other.stdin.take());
    let _ = other.wait();
    assert!(read.is_ok() && line == "held\n", "{line:?}");
    assert!(asked.status.success() && text.is_ok() && mail.success(), "{asked:?} {mail:?}");
    Outcome::Passed
}

fn a_pause_outlives_the_process(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    daemon.ctl_ok(&["pause", "smtp"]);
    let before = daemon.pids("smtp");
    for pid in &before {
        let _ = Command::new("kill").arg("-9").arg(pid.to_string()).status();
    }
    let anew = || {
        let now = daemon.pids("smtp");
        now.len() == 1 && now != before
    };
    assert!(eventually(Duration::from_secs(20), anew), "{}", daemon.log());
    let client = TcpStream::connect(daemon.address("smtp", 0)).expect("connect");
    client.set_read_timeout(Some(Duration::from_millis(500))).expect("time-out");
    assert!((&client).read(&mut [0; 1]).is_err(), "somebody greets: {}", daemon.log());
    daemon.ctl_ok(&["resume", "smtp"]);
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    let mut line = String::new();
    BufReader::new(client).read_line(&mut line).expect("a greeting");
    assert!(line.starts_with("220 "), "{line}");
    Outcome::Passed
}

fn wrong_words_are_told(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    for (args, said) in [
        (&["frobnicate", "x"][..], "rmailctl: frobnicate x: no such command\n"),
        (&["rel"], "rmailctl: rel: which one: release, reload?\n"),
        (&["-q", "reload"], "rmailctl: -q: no such option"),
        (&["log"], "rmailctl: log: no such command, but there are\n"),
        (&["reload", "x"], "usage: rmailctl [-j] [-f file] [-s socket] reload\n"),
        (&["hold"], "usage: rmailctl [-j] [-f file] [-s socket] hold qid | envelope | all\n"),
    ] {
        let out = daemon.ctl(args);
        let text = String::from_utf8_lossy(&out.stderr).into_owned();
        assert_eq!(out.status.code(), Some(64), "{args:?}: {text}");
        assert!(text.starts_with(said), "{args:?}: {text}");
    }
    let out = daemon.ctl(&["hold", "3b1b2s07mb86"]);
    let text = String::from_utf8_lossy(&out.stderr);
    assert_eq!(text, "rmailctl: 3b1b2s07mb86: no such message\n");
    Outcome::Passed
}

fn a_killed_process_comes_back(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    // control last: it is what is asked.
    for kind in ALWAYS.iter().filter(|k| **k != "parent") {
        let old = daemon.pids(kind);
        let _ = std::process::Command::new("kill").arg("-9").arg(old[0].to_string()).status();
        let back = || {
            let out = daemon.ctl(&["show", "procs"]);
            let text = String::from_utf8_lossy(&out.stdout).into_owned();
            text.lines().any(|l| {
                let words: Vec<&str> = l.split_whitespace().collect();
                words.first() == Some(kind)
                    && words.get(3) == Some(&"running")
                    && words.get(2) != Some(&old[0].to_string().as_str())
            })
        };
        assert!(eventually(Duration::from_secs(30), back), "{kind} is not back: {}", daemon.log());
    }
    assert!(daemon.log().contains("died=\"signal 9\""));
    Outcome::Passed
}

fn a_bad_configuration_changes_nothing(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let before = daemon.address("smtp", 0);
    Daemon::configure(&env.dir, "listen on 127.0.0.1 port nonsense-port\n");
    let out = daemon.ctl(&["reload"]);
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(!out.status.success());
    assert!(text.contains("rmail.conf:3:"), "{text}");
    let stays = "nothing is changed: configuration 1 stays in force";
    assert_eq!(text.lines().last(), Some(format!("rmailctl: {stays}").as_str()), "{text}");
    let hup = Command::new("kill").arg("-HUP").arg(daemon.pid().to_string()).status();
    assert!(hup.expect("kill").success());
    let told = || daemon.log().contains(&format!("config msg=\"{stays}\""));
    assert!(eventually(Duration::from_secs(30), told), "{}", daemon.log());
    assert_eq!(daemon.address("smtp", 0), before);
    Daemon::configure(&env.dir, CONFIG);
    daemon.ctl_ok(&["reload"]);
    assert_eq!(daemon.address("smtp", 0), before, "a listener that stays keeps its port");
    Outcome::Passed
}

fn a_stopped_child_does_not_stop_show(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let pid = daemon.pids("lookup")[0].to_string();
    let signal = |s: &str| std::process::Command::new("kill").arg(s).arg(&pid).status();
    signal("-STOP").expect("kill");
    let begun = std::time::Instant::now();
    let text = daemon.ctl_ok(&["show", "stats"]);
    let procs = daemon.ctl_ok(&["show", "procs"]);
    let took = begun.elapsed();
    signal("-CONT").expect("kill");
    assert!(text.contains("parent.unanswered=1"), "{text}");
    assert!(procs.contains("lookup"));
    assert!(took < Duration::from_secs(2), "{took:?}");
    Outcome::Passed
}

/// One that is started by mistake, with other ports, does not take the control
/// socket from the first, neither when it starts nor when it ends.
fn a_second_daemon(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let other = env.dir.join("other.conf");
    let text = std::fs::read_to_string(env.dir.join("rmail.conf")).expect("read");
    std::fs::write(&other, text.replace("/spool\"", "/spool2\"")).expect("write");
    let out = Command::new(env.rmaild()).arg("-d").arg("-f").arg(&other).output().expect("rmaild");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    let socket = daemon.socket.display();
    assert!(said.contains(&format!("{socket}: another rmaild listens on this socket: ")), "{said}");
    assert!(daemon.ctl_ok(&["show", "listeners"]).starts_with("smtp "));
    // The socket of one that was killed is in nobody's way.
    drop(daemon);
    std::os::unix::net::UnixListener::bind(env.dir.join("run/rmaild.sock")).expect("bind");
    assert!(Daemon::launch(env, &env.dir).stop().success());
    Outcome::Passed
}

/// One with the queue of the first is told so before it binds anything.
fn a_second_daemon_of_a_queue(env: &Env) -> Outcome {
    let daemon = Daemon::start(env, CONFIG);
    let other = env.dir.join("other.conf");
    let text = std::fs::read_to_string(env.dir.join("rmail.conf")).expect("read");
    std::fs::write(&other, text.replace("/rmaild.sock\"", "/other.sock\"")).expect("write");
    let out = Command::new(env.rmaild()).arg("-d").arg("-f").arg(&other).output().expect("rmaild");
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{said}");
    let spool = env.dir.join("spool");
    assert!(
        said.contains(&format!("{}: another rmaild has this queue: ", spool.display())),
        "{said}"
    );
    assert!(!daemon.socket.with_file_name("other.sock").exists());
    daemon.ctl_ok(&["show", "queue"]);
    Outcome::Passed
}

/// Started as a shell does that found it in PATH: its children are the same
/// program, and so is what it becomes when that is replaced.
fn found_in_path(env: &Env) -> Outcome {
    let bin = env.dir.join("bin");
    std::fs::create_dir(&bin).expect("mkdir");
    std::fs::copy(env.rmaild(), bin.join("rmaild")).expect("copy");
    Daemon::configure(&env.dir, CONFIG);
    let mut command = Command::new("rmaild");
    command.env("PATH", format!("/nonexistent:{}:/usr/bin:/bin", bin.display())).current_dir("/");
    let daemon = Daemon::launch_as(env, &env.dir, command);
    daemon.ctl_ok(&["pause", "smtp"]);
    std::fs::copy(env.rmaild(), bin.join("new")).expect("copy");
    std::fs::rename(bin.join("new"), bin.join("rmaild")).expect("rename");
    let keyd = daemon.pids("keyd")[0].to_string();
    assert!(Command::new("kill").arg("-9").arg(&keyd).status().expect("kill").success());
    let again = || daemon.log().matches("recovered messages=0").count() == 2;
    assert!(eventually(Duration::from_secs(30), again), "{}", daemon.log());
    let works = || daemon.ctl(&["show", "listeners"]).stdout.starts_with(b"smtp ");
    assert!(eventually(Duration::from_secs(30), works), "{}", daemon.log());
    // What was paused still is.
    let client = TcpStream::connect(daemon.address("smtp", 0)).expect("connect");
    client.set_read_timeout(Some(Duration::from_millis(500))).expect("time-out");
    assert!((&client).read(&mut [0; 1]).is_err(), "somebody greets: {}", daemon.log());
    daemon.ctl_ok(&["resume", "smtp"]);
    client.set_read_timeout(Some(Duration::from_secs(20))).expect("time-out");
    assert_eq!((&client).read(&mut [0; 1]).ok(), Some(1), "{}", daemon.log());
    assert!(daemon.stop().success());
    Outcome::Passed
}

/// `make install` beside a configuration that the new program would refuse.
fn not_begun_again(env: &Env) -> Outcome {
    let program = env.dir.join("bin/rmaild");
    let install = || {
        let new = env.dir.join("bin/new");
        std::fs::create_dir_all(env.dir.join("bin")).expect("mkdir");
        std::fs::copy(env.rmaild(), &new).expect("copy");
        std::fs::rename(&new, &program).expect("rename");
    };
    install();
    Daemon::configure(&env.dir, &crate::deliver::post::config(env, "", ""));
    let daemon = Daemon::launch_as(env, &env.dir, Command::new(&program));
    let file = env.dir.join("rmail.conf");
    let good = std::fs::read_to_string(&file).expect("read");
    std::fs::write(&file, format!("{good}nonsense\n")).expect("write");
    install();
    crate::deliver::post::post(&daemon, "joe@example.com", "Subject: x\r\n\r\n");
    let refused = || daemon.log().contains("would not run");
    assert!(eventually(Duration::from_secs(30), refused), "{}", daemon.log());
    // Mail is taken, and the administrator answered.
    crate::deliver::post::post(&daemon, "joe@example.com", "Subject: y\r\n\r\n");
    assert!(daemon.ctl_ok(&["show", "queue"]).contains("joe@example.com"));
    assert_eq!(daemon.log().matches("recovered messages=").count(), 1, "{}", daemon.log());
    std::fs::write(&file, good).expect("write");
    let delivered = || {
        // Between the two nobody answers.
        daemon.ctl(&["schedule", "all"]);
        crate::deliver::post::files(&env.dir.join("mail/joe")).len() == 2
    };
    assert!(eventually(Duration::from_secs(60), delivered), "{}", daemon.log());
    assert_eq!(daemon.log().matches("recovered messages=").count(), 2, "{}", daemon.log());
    Outcome::Passed
}

/// The answer to stop is sent before control leaves, each time.
fn who_stops_it(env: &Env) -> Outcome {
    for n in 0..5 {
        let daemon = Daemon::start_in(env, &env.dir.join(n.to_string()), CONFIG);
        let out = daemon.ctl(&["stop"]);
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success(), "{said}");
        assert_eq!(out.stdout, b"stopping\n");
    }
    Outcome::Passed
}

/// systemd.exec(5): JOURNAL_STREAM names what standard error is.
fn journal(env: &Env) -> Outcome {
    use std::os::unix::fs::MetadataExt;
    Daemon::configure(&env.dir, &crate::deliver::post::config(env, "", ""));
    let log = std::fs::File::create(env.dir.join("log")).expect("log").metadata().expect("stat");
    let mut command = std::process::Command::new(env.rmaild());
    command.env("JOURNAL_STREAM", format!("{}:{}", log.dev(), log.ino()));
    let daemon = Daemon::launch_as(env, &env.dir, command);
    crate::deliver::post::post(&daemon, "joe@example.com", "Subject: x\r\n\r\n");
    daemon.drained();
    let log = daemon.log();
    let delivered: Vec<&str> = log.lines().filter(|l| l.contains("result=delivered")).collect();
    assert!(delivered.len() == 1 && delivered[0].starts_with("<6>"), "{log}");
    assert!(log.lines().all(|l| l.starts_with('<')), "{log}");
    Outcome::Passed
}
