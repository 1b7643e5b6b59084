//! Sieve: compile and run, and the same scripts under Debian's Pigeonhole.
//!
//! Three named scripts (200 header rules, wildcards and expressions, body and
//! MIME) over ten messages of about 5 KB; medians of CPU time, which other work
//! of the machine changes little.
//!
//! Like is compared with like, in four readings:
//!
//! - *within a process*, what a server does: compile and run, each by itself, over
//!   and over in a process that is warm.  Ours are those of this process,
//!   Pigeonhole's are measured inside of sieve-test (`pigeonhole.c`, preloaded).
//!   Both do the same work in the same order: for each message, as many times the
//!   reading and compiling of the script's file, then as many times the run, of
//!   which the printing of the result is not counted.  Each run of ours begins with
//!   octets, each of theirs with the message that sieve-test has opened;
//! - the *run of a compiled script* alone, likewise: Pigeonhole keeps compiled
//!   scripts on disk, so a delivery need not compile;
//! - *processes with start-up*: `rmailctl sieve test`, and `sieve-test -C`, which
//!   reads no compiled script and is not let write one: both read, compile and run
//!   a script once;
//! - *processes without start-up*: the same, less the time of the same program
//!   with the script `keep;`.  What is left is reading, compiling and running the
//!   script for the first time, cold, and printing the result, on both sides.
//!
//! The four kinds of process take turns, so that whatever else the machine does
//! strikes all of them.

use crate::{Env, Outcome};
use nix::sys::resource::{getrusage, UsageWho};
use nix::sys::time::TimeVal;
use rmail::proto::sieve::check::compile;
use rmail::proto::sieve::language::Language;
use rmail::proto::sieve::message::Message;
use rmail::proto::sieve::run;
use rmail::proto::sieve::settings::Settings;
use rmail::proto::sieve::surroundings::{Envelope, NoLibrary};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Compile anew each time, and run without any account.
const PIGEONHOLE: &[&str] = &[
    "-C",
    "-o",
    "mail_uid=65534",
    "-o",
    "mail_gid=65534",
    "-o",
    "mail_home=/nonexistent",
    "-o",
    "mail_location=maildir:/nonexistent/Maildir",
];

/// How often compiling and running is measured with each message: as in `pigeonhole.c`.
const ROUNDS: usize = 100;

/// How often each process is.
const PROCESSES: usize = 100;

pub fn bench(env: &Env) -> Outcome {
    if std::env::var_os("BENCH").is_none() {
        return Outcome::Skipped("set BENCH, or make bench".into());
    }
    let messages: Vec<Vec<u8>> = (0..10).map(message).collect();
    for (name, script) in scripts() {
        let file = env.dir.join(format!("{name}.sieve"));
        let files: Vec<_> = (0..messages.len()).map(|i| env.dir.join(format!("{i}.eml"))).collect();
        let written = std::fs::write(&file, &script).is_ok()
            && files.iter().zip(&messages).all(|(file, m)| std::fs::write(file, m).is_ok());
        if !written {
            return Outcome::Failed("cannot write".into());
        }
        let empty = env.dir.join("empty.sieve");
        if std::fs::write(&empty, "keep;\n").is_err() {
            return Outcome::Failed("cannot write".into());
        }
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        let ([compile, run], theirs) = match within(env, &file, &files) {
            Ok(times) => times,
            Err(why) => return Outcome::Failed(format!("{name}: {why}")),
        };
        println!("{name}: compile {compile:?}, run {run:?}");
        match theirs {
            Some([their_compile, their_run]) => println!(
                "{name}: within a process Pigeonhole compiles in {their_compile:?} and runs in \
                 {their_run:?}: {:.1} times compile and run, {:.1} times the run of a compiled \
                 script",
                ratio(their_compile + their_run, compile + run),
                ratio(their_run, run)
            ),
            None => println!("{name}: nothing can be measured within sieve-test here"),
        }
        match beside(env.rmailctl(), &file, &empty, &files) {
            Some([ours, our_start, theirs, their_start]) => {
                let work = [ours.saturating_sub(our_start), theirs.saturating_sub(their_start)];
                println!(
                    "{name}: as processes, compile and run: {ours:?}, Pigeonhole {theirs:?}: \
                     {:.1} times; without start-up {:?}, Pigeonhole {:?}: {:.1} times",
                    ratio(theirs, ours),
                    work[0],
                    work[1],
                    ratio(work[1], work[0])
                );
            }
            None => println!("{name}: no sieve-test (Debian: dovecot-sieve)"),
        }
        if name == "rules" && compile + run > Duration::from_millis(1) && !cfg!(debug_assertions) {
            return Outcome::Failed(format!("{:?} is over 1 ms", compile + run));
        }
    }
    Outcome::Passed
}

/// The medians of compile and run, ours and Pigeonhole's, which take turns over the messages;
/// theirs are `None` if they cannot be had.
fn within(
    env: &Env,
    script: &Path,
    messages: &[PathBuf],
) -> Result<([Duration; 2], Option<[Duration; 2]>), String> {
    let preloaded = env.dir.join("pigeonhole.so");
    let built = Command::new("cc")
        .args(["-O2", "-shared", "-fPIC", "-o"])
        .arg(&preloaded)
        .arg(env.root().join("regress/bench/pigeonhole.c"))
        .status();
    let mut ours = [const { Vec::new() }; 2];
    let mut theirs =
        built.is_ok_and(|status| status.success()).then_some([const { Vec::new() }; 2]);
    for message in messages {
        for (times, time) in ours.iter_mut().zip(our_times(script, message)?) {
            times.push(time);
        }
        if let Some(all) = &mut theirs {
            match their_times(&preloaded, script, message) {
                Some(found) => all.iter_mut().zip(found).for_each(|(times, t)| times.push(t)),
                None => theirs = None,
            }
        }
    }
    let ours = ours.map(median);
    assert!(ours.iter().all(|time| !time.is_zero()), "the clock stands still");
    Ok((ours, theirs.map(|all| all.map(median))))
}

/// The medians of our compile and run with one message.
fn our_times(script: &Path, message: &Path) -> Result<[Duration; 2], String> {
    let language = Language::default();
    let settings = Settings::default();
    let envelope = Envelope {
        from: Some(b"sue@example.com".to_vec()),
        to: Some(b"me@example.org".to_vec()),
        ..Envelope::default()
    };
    let mut compiled = None;
    let mut compiling = Vec::new();
    for _ in 0..ROUNDS {
        drop(compiled.take());
        let begun = super::thread_time();
        let text = std::fs::read(script).map_err(|e| e.to_string())?;
        let made = compile(&text, &language, &mut NoLibrary).map_err(|e| e[0].to_string())?;
        compiling.push(super::thread_time().saturating_sub(begun));
        compiled = Some(made);
    }
    let compiled = compiled.ok_or("no rounds")?;
    let bytes = Arc::new(std::fs::read(message).map_err(|e| e.to_string())?);
    let mut running = Vec::new();
    for _ in 0..ROUNDS {
        let begun = super::thread_time();
        let mut world = crate::svtest::world();
        let message = Message::new(bytes.clone());
        let outcome = run::run(&compiled, message, &envelope, &settings, &mut *world);
        running.push(super::thread_time().saturating_sub(begun));
        if outcome.fault.is_some() || outcome.actions.is_empty() {
            return Err(format!("{:?}", outcome.fault));
        }
    }
    Ok([median(compiling), median(running)])
}

/// The same of Pigeonhole, within sieve-test.
fn their_times(preloaded: &Path, script: &Path, message: &Path) -> Option<[Duration; 2]> {
    let ran = Command::new("sieve-test")
        .args(PIGEONHOLE)
        .args([script, message])
        .env("LD_PRELOAD", preloaded)
        // It runs itself once more, with an environment that it has cleaned.
        .env("DOVECOT_PRESERVE_ENVS", "LD_PRELOAD")
        .stdout(Stdio::null())
        .output()
        .ok()?;
    let said = String::from_utf8_lossy(&ran.stderr).into_owned();
    let find = |what| said.lines().find_map(|line: &str| line.strip_prefix(what))?.parse().ok();
    let [compile, run] = ["median compile ", "median run "].map(find);
    Some([Duration::from_nanos(compile?), Duration::from_nanos(run?)])
}

/// The median times of four processes that take turns over the messages: ours with the script
/// and with an empty one, Pigeonhole's likewise; `None` if one of them cannot be run.
fn beside(
    rmailctl: &Path,
    script: &Path,
    empty: &Path,
    messages: &[PathBuf],
) -> Option<[Duration; 4]> {
    let theirs = Path::new("sieve-test");
    let kinds: [(&Path, &[&str], &Path); 4] = [
        (rmailctl, &["sieve", "test"], script),
        (rmailctl, &["sieve", "test"], empty),
        (theirs, PIGEONHOLE, script),
        (theirs, PIGEONHOLE, empty),
    ];
    let mut times = [const { Vec::new() }; 4];
    for round in 0..PROCESSES {
        for ((program, words, script), times) in kinds.iter().zip(&mut times) {
            let begun = children_time();
            let status = Command::new(program)
                .args(*words)
                .arg(script)
                .arg(&messages[round % messages.len()])
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            if !status.ok()?.success() {
                return None;
            }
            times.push(children_time().saturating_sub(begun));
        }
    }
    Some(times.map(median))
}

/// CPU time so far of all processes that have been waited for.
fn children_time() -> Duration {
    let usage =
        getrusage(UsageWho::RUSAGE_CHILDREN).expect("getrusage fails for wrong arguments only");
    let micros = |time: TimeVal| time.tv_sec() * 1_000_000 + time.tv_usec();
    let micros = micros(usage.user_time()) + micros(usage.system_time());
    Duration::from_micros(micros.try_into().expect("time goes forward"))
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

fn scripts() -> [(&'static str, String); 3] {
    let mut rules = "require [\"fileinto\", \"imap4flags\"];\n".to_string();
    for i in 0..200 {
        let test = match i % 4 {
            0 => format!("header :contains \"subject\" [\"topic{i}\", \"matter{i}\"]"),
            1 => format!("address :is [\"from\", \"sender\"] \"user{i}@lists.example.com\""),
            2 => format!("header :is \"list-id\" \"<list{i}.example.com>\""),
            _ => format!(
                "allof (header :contains \"x-spam\" \"yes{i}\", not size :over {}K)",
                i + 100
            ),
        };
        let _ = writeln!(rules, "if {test} {{ addflag \"f{i}\"; fileinto \"box/{i}\"; stop; }}");
    }
    let mut patterns = "require [\"fileinto\", \"regex\", \"variables\"];\n".to_string();
    for i in 0..40 {
        let _ = writeln!(
            patterns,
            "if header :matches \"subject\" \"*[topic{i}]*end\" {{ fileinto \"${{1}}\"; }}\n\
             if header :regex \"subject\" \"^(re|aw): .*{i}x[0-9]+$\" {{ fileinto \"${{1}}\"; }}"
        );
    }
    let mut body = "require [\"fileinto\", \"body\"];\n".to_string();
    for i in 0..20 {
        let _ = writeln!(
            body,
            "if body :text :contains \"phrase number {i}x\" {{ fileinto \"b{i}\"; }}\n\
             if body :content \"text/html\" :contains \"<blink{i}>\" {{ fileinto \"h{i}\"; }}"
        );
    }
    [("rules", rules), ("patterns", patterns), ("body", body)]
}

/// A message of about 5 KB: a usual header, text and HTML.
fn message(number: usize) -> Vec<u8> {
    let mut out = String::new();
    for i in 0..5 {
        let _ = write!(
            out,
            "Received: from relay{i}.example.net (relay{i}.example.net [192.0.2.{i}])\r\n\
             \tby mx{i}.example.org with ESMTPS id {number}abc{i};\r\n\
             \tMon, 7 Jul 2025 23:59:5{i} +0200\r\n"
        );
    }
    let _ = write!(
        out,
        "From: \"Sue Example\" <sue{number}@example.com>\r\nTo: me@example.org\r\n\
         Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= about subject {number}\r\n\
         Date: Mon, 7 Jul 2025 23:59:58 +0200\r\nMessage-ID: <{number}@example.com>\r\n\
         MIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary=xyz\r\n\r\n\
         --xyz\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n"
    );
    for i in 0..34 {
        let _ = write!(out, "Line {i} of the text of message {number}, as long as lines are.\r\n");
    }
    out.push_str("--xyz\r\nContent-Type: text/html; charset=utf-8\r\n\r\n<html><body>\r\n");
    for i in 0..34 {
        let _ = write!(out, "<p class=\"c\">Line <b>{i}</b> of message {number}, as HTML.</p>\r\n");
    }
    out.push_str("</body></html>\r\n--xyz--\r\n");
    out.into_bytes()
}
