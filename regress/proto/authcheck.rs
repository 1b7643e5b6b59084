//! `rmailctl auth check` with a zone in a file.

use std::io::Write;
use std::net::UdpSocket;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::{Env, Outcome};

const ZONE: &str = "football.example.com TXT \"v=spf1 ip4:192.0.2.1 -all\"\n\
    _dmarc.football.example.com TXT \"v=DMARC1; p=reject\"\n\
    brisbane._domainkey.football.example.com TXT \"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"\n";

/// Runs it on a message; what it printed on both channels, and its exit status.
fn run(env: &Env, name: &str, message: &[u8], extra: &[&str]) -> (String, i32) {
    let key = std::fs::read_to_string(env.suites("dkim").ok().unwrap_or_default().join("test.txt"));
    let zone = format!(
        "{ZONE}test._domainkey.football.example.com TXT \"{}\"\n",
        key.unwrap_or_default().trim()
    );
    run_in(env, name, &zone, message, extra)
}

fn run_in(env: &Env, name: &str, zone: &str, message: &[u8], extra: &[&str]) -> (String, i32) {
    let (zone_file, file) = (env.dir.join("zone"), env.dir.join(name));
    std::fs::write(&zone_file, zone).expect("write the zone");
    std::fs::write(&file, message).expect("write the message");
    let mut command = Command::new(env.rmailctl());
    command.args(["auth", "check", "--zone"]).arg(&zone_file).args(extra).arg(&file);
    finish(&mut command)
}

fn finish(command: &mut Command) -> (String, i32) {
    let out = command.output().expect("run rmailctl");
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    (text + &String::from_utf8_lossy(&out.stderr), out.status.code().unwrap_or(-1))
}

/// Fails unless the text has all that is wanted and the status is the one.
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

/// The message of RFC 8463 with SPF, DKIM and DMARC, in words and as JSON.
pub fn check(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let message = std::fs::read(dir.join("rfc6376.signed.msg")).expect("read the suite");
    let options = ["-c", "192.0.2.1", "-h", "mail.example.net", "-m", "joe@football.example.com"];
    let checked = || {
        wanted(
            &run(env, "good", &message, &options),
            0,
            &[
                "client: 192.0.2.1, helo mail.example.net, mail from <joe@football.example.com>",
                "spf mail from: pass for football.example.com, by \"ip4:192.0.2.1\"",
                "dkim: pass by football.example.com, selector brisbane, ed25519-sha256, 256 bits",
                "arc: none",
                "dmarc: pass for football.example.com: _dmarc.football.example.com asks for reject \
                 (p); DKIM and SPF are aligned",
                "note: the signature of football.example.com, selector brisbane, is more than a week old",
                "dmarc=pass (p=reject dis=none) header.from=football.example.com",
            ],
        )?;
        let bad = String::from_utf8_lossy(&message).replace("hungry", "angry");
        let options = ["-c", "198.51.100.1", "-m", "joe@football.example.com"];
        wanted(
            &run(env, "bad", bad.as_bytes(), &options),
            0,
            &[
                "spf mail from: fail for football.example.com, by \"-all\"",
                "body hash did not verify",
                "disposition: reject",
                "reply: 550 5.7.26 football.example.com asks to refuse",
            ],
        )?;
        wanted(
            &run(env, "json", bad.as_bytes(), &[&options[..], &["-j"]].concat()),
            0,
            &[
                "\"client\":\"198.51.100.1\"",
                "\"result\":\"fail\",\"reason\":\"body hash did not verify\"",
                "\"requested\":\"reject\",\"tag\":\"p\",\"testing\":false",
                "\"disposition\":\"reject\"",
                "\"failures\":[]",
            ],
        )
    };
    outcome(checked())
}

/// Client and sender of the trace fields; and what is said where there are none.
pub fn trace_fields(env: &Env) -> Outcome {
    let message = b"From: joe@football.example.com\r\n\r\nbody\r\n".as_slice();
    let with = |header: &str| [header.as_bytes(), message].concat();
    let checked = || {
        let trace = with(
            "Return-Path: <joe@football.example.com>\r\nReceived: from mail.x (a [192.0.2.1]) by mx\r\n\
             Received: from other (b [198.51.100.9]) by mail.x\r\n",
        );
        wanted(
            &run(env, "trace", &trace, &[]),
            0,
            &[
                "client: 192.0.2.1, helo mail.x, mail from <joe@football.example.com>",
                "spf mail from: pass",
                "note: the client is that of the topmost Received field",
                "note: the sender is that of the Return-Path field",
            ],
        )?;
        wanted(
            &run(env, "none", message, &[]),
            0,
            &[
                "spf: not checked",
                "dmarc: temperror for football.example.com: SPF was not checked",
                "disposition: none",
                "note: SPF needs the client's address: Received is not there",
            ],
        )
        .and_then(|()| match run(env, "no-reply", message, &[]).0 {
            text if text.contains("reply: ") => Err(format!("a reply in {text}")),
            _ => Ok(()),
        })?;
        let local = with("Received: by mx with LMTP; date\r\n");
        wanted(&run(env, "local", &local, &[]), 0, &["Received names no client"])?;
        wanted(
            &run(env, "null", message, &["-c", "2001:db8::1", "-h", "mail.x"]),
            0,
            &["client: 2001:db8::1, helo mail.x, mail from <>", "note: without a Return-Path"],
        )?;
        wanted(
            &run(env, "no-helo", message, &["-c", "192.0.2.1"]),
            0,
            &["helo not known", "spf helo: not checked: the name is not known (-h)"],
        )
    };
    outcome(checked())
}

/// What is wrong with the command line, the files or the message is said, with
/// the exit status of its kind.
pub fn faults(env: &Env) -> Outcome {
    const MESSAGE: &[u8] = b"From: a@example.org\r\n\r\nbody\r\n";
    let rmailctl =
        |args: &[&str]| finish(Command::new(env.rmailctl()).args(["auth", "check"]).args(args));
    let checked = || {
        wanted(&rmailctl(&[]), 64, &["one file with one message", "usage: rmailctl"])?;
        wanted(&rmailctl(&["-c", "nonsense", "x"]), 64, &["-c nonsense: not an IP address"])?;
        wanted(&rmailctl(&["-x", "x"]), 64, &["Unrecognized option"])?;
        wanted(&rmailctl(&["a", "b"]), 64, &["one file with one message"])?;
        wanted(&rmailctl(&["--resolver", "ns.x", "x"]), 64, &["--resolver ns.x: write address"])?;
        let both = ["--resolver", "::1", "--zone", "z", "x"];
        wanted(&rmailctl(&both), 64, &["with a zone file no name server is asked"])?;
        wanted(&rmailctl(&["--zone", "-", "-"]), 64, &["the message or the zone file"])?;
        wanted(&rmailctl(&["/nonexistent/message"]), 66, &["/nonexistent/message: No such file"])?;
        wanted(
            &rmailctl(&["--zone", "/nonexistent/zone", "/dev/null"]),
            66,
            &["/nonexistent/zone"],
        )?;
        for (zone, text) in [
            ("a A 192.0.2.1\n\nb A 192.0.2\n", "zone:3: not an IPv4 address"),
            ("$ORIGIN example.org.\n", "zone:1: $ORIGIN, $TTL and @ are not known here"),
            ("a TXT (\n\"x\"\n", "a bracket is not closed"),
        ] {
            wanted(&run_in(env, "message", zone, MESSAGE, &[]), 65, &[text])?;
        }
        wanted(&rmailctl(&["/"]), 66, &["rmailctl: /: Is a directory\n"])?;
        for (junk, why) in [
            (&b""[..], "it is empty"),
            (b"\r\nno header\r\n", "begins with an empty line"),
            (b"\x7fELF\0\0\xff\xfe", "it has no header field"),
            (b"no colon at all\n", "it has no header field"),
            (b"From: a@example.org\rSubject: x\r\rbody\r", "its lines end in CR alone"),
        ] {
            wanted(&run(env, "junk", junk, &[]), 65, &["not a message: ", why])?;
        }
        let endless = b"Subject: ".iter().chain(&[b'x'; 1 << 20]).copied().collect::<Vec<u8>>();
        wanted(&run(env, "endless", &endless, &[]), 65, &["the header is longer than 1048576"])?;
        // A message that is all wrong is still one, and says so.
        let hostile =
            b"From: <a@b.c> <d@e.f>\r\nDKIM-Signature: v=1; d=x\x1b[2J; b\r\nARC-Seal: i=9\r\n\r\n";
        let got = run(env, "hostile", hostile, &["-c", "192.0.2.1"]);
        wanted(
            &got,
            0,
            &[
                "dmarc: permerror: From cannot be read",
                "syntax error in the signature",
                "arc: fail",
            ],
        )?;
        if got.0.contains('\x1b') {
            return Err("an escape of the message reaches the terminal".into());
        }
        Ok(())
    };
    outcome(checked())
}

/// Where the DNS fails the lookups are named, nothing is refused, and the status
/// says to try again.
pub fn failing_dns(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let message = std::fs::read(dir.join("rfc6376.signed.rsa.msg")).expect("read the suite");
    let zone = "_dmarc.football.example.com TXT \"v=DMARC1; p=reject\"\n\
                test._domainkey.football.example.com FAIL\n";
    let got = run_in(env, "slow", zone, &message, &[]);
    let checked = || {
        wanted(
            &got,
            75,
            &[
                "dkim: temperror by football.example.com",
                "the DNS did not answer (TXT at test._domainkey.football.example.com)",
                "dmarc: temperror for football.example.com: SPF or DKIM of the domain could not be",
                "disposition: none",
                "reply: 451 4.4.3",
                "1 failed:\n    test._domainkey.football.example.com TXT: the name server reports a failure",
            ],
        )
    };
    outcome(checked())
}

/// The first message of a mailbox file is what is checked, whatever stands
/// around it; other oddities of a file are said.
pub fn files_as_met(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let message = std::fs::read(dir.join("rfc6376.signed.msg")).expect("read the suite");
    let text = String::from_utf8(message).expect("text");
    let (crlf, lf) = (text.replace("\r\n", "\n").replace('\n', "\r\n"), text.replace("\r\n", "\n"));
    let passes = "dkim: pass by football.example.com, selector brisbane";
    let checked = || {
        for (name, whole) in [("crlf", crlf.clone()), ("lf", lf.clone())] {
            let end = if name == "lf" { "\n" } else { "\r\n" };
            let from = format!("From joe Fri Nov 28 10:00:00 2026{end}");
            let second = format!("{end}{from}From: x@y.z{end}{end}Another.{end}");
            wanted(&run(env, name, whole.as_bytes(), &[]), 0, &[passes])?;
            let one = run(env, name, format!("{from}{whole}{end}").as_bytes(), &[]);
            wanted(&one, 0, &[passes, "note: the file is a mailbox"])?;
            if one.0.contains("more messages") {
                return Err(format!("there is one message: {}", one.0));
            }
            let two = run(env, name, format!("{from}{whole}{second}").as_bytes(), &[]);
            wanted(&two, 0, &[passes, "note: the mailbox has more messages"])?;
            // Without the first line it is no mailbox, and all is the body.
            let body = run(env, name, format!("{whole}{second}").as_bytes(), &[]);
            wanted(&body, 0, &["body hash did not verify"])?;
        }
        let mark = run(env, "mark", format!("\u{feff}{lf}").as_bytes(), &[]);
        wanted(&mark, 0, &["note: a byte order mark stands before"])?;
        let cut = lf.split("\n\n").next().unwrap_or_default();
        wanted(&run(env, "header", cut.as_bytes(), &[]), 0, &["body hash did not verify"])?;
        Ok(())
    };
    outcome(checked())
}

/// A message of any length goes by in pieces: with less memory than it has octets.
pub fn long_message(env: &Env) -> Outcome {
    let file = env.dir.join("long");
    let zone = env.dir.join("zone");
    std::fs::write(&zone, ZONE).expect("write the zone");
    std::fs::write(&file, "From: joe@football.example.com\n\n").expect("write");
    let long = std::fs::OpenOptions::new().write(true).open(&file).expect("open");
    long.set_len(1 << 30).expect("a file with a hole");
    // 512 MB of addresses, shared libraries included.
    let script = "ulimit -v 524288; exec \"$0\" auth check -c 198.51.100.1 --zone \"$1\" \"$2\"";
    let mut command = Command::new("/bin/sh");
    command.args(["-c", script]).arg(env.rmailctl()).arg(&zone).arg(&file);
    let got = finish(&mut command);
    std::fs::remove_file(&file).expect("remove");
    outcome(wanted(&got, 0, &["dmarc: fail for football.example.com"]))
}

/// A name server that is dead, closed or mad: the command ends within its time,
/// says which server did not answer what, and that another try may help.
pub fn dead_name_servers(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let silent = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let mad = UdpSocket::bind("127.0.0.1:0").expect("bind");
    let closed = UdpSocket::bind("127.0.0.1:0").expect("bind").local_addr().expect("an address");
    let address = |socket: &UdpSocket| socket.local_addr().expect("an address").to_string();
    let servers = [address(&silent), address(&mad), closed.to_string()];
    mad.set_read_timeout(Some(Duration::from_millis(100))).expect("set the time-out");
    let done = std::sync::atomic::AtomicBool::new(false);
    let check = |server: &str| {
        let begun = Instant::now();
        let mut command = Command::new(env.rmailctl());
        command.args(["auth", "check", "--resolver", server, "-c", "192.0.2.1"]);
        command.args(["-h", "mx.example.net", "-m", "joe@football.example.com"]);
        (finish(command.arg(dir.join("rfc6376.signed.msg"))), begun.elapsed())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut question = [0; 1500];
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let Ok((n, from)) = mad.recv_from(&mut question) else { continue };
                // Not an answer; the question as an answer to itself; and a header
                // that promises what does not come.
                let mut promise = question[..n].to_vec();
                promise[2..8].copy_from_slice(&[0x81, 0x80, 0, 1, 0xff, 0xff]);
                for answer in [&b"nonsense"[..], &question[..n], &promise] {
                    // Who asked may have gone.
                    let _ = mad.send_to(answer, from);
                }
            }
        });
        let running: Vec<_> = servers.iter().map(|server| scope.spawn(|| check(server))).collect();
        let results = running.into_iter().map(|t| t.join().expect("a check")).collect();
        done.store(true, std::sync::atomic::Ordering::Relaxed);
        results
    });
    let checked = || {
        for (server, (got, time)) in servers.iter().zip(&results) {
            let named = format!("note: the name servers are {server}");
            wanted(
                got,
                75,
                &["dmarc: temperror for football.example.com", "reply: 451 4.4.3", &named],
            )?;
            if *time > Duration::from_secs(30) {
                return Err(format!("{server}: {time:?}"));
            }
        }
        let (silent, mad) = (&results[0].0, &results[1].0);
        wanted(silent, 75, &["TXT: no answer in time", "the DNS took longer than 20 s"])?;
        wanted(mad, 75, &["TXT: the answer cannot be read"])
    };
    outcome(checked())
}

/// Every message of the suite, as it is and cut short: never a crash, and the
/// same results in words and as JSON.
pub fn suite_messages(env: &Env) -> Outcome {
    let dir = match env.suites("dkim") {
        Ok(dir) => dir,
        Err(skipped) => return skipped,
    };
    let mut paths: Vec<_> = std::fs::read_dir(&dir)
        .expect("read the suite")
        .map(|e| e.expect("an entry").path())
        .filter(|p| p.to_string_lossy().contains(".m"))
        .collect();
    paths.sort();
    let checked = || {
        for path in &paths {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let whole = std::fs::read(path).expect("read a message");
            for message in [&whole[..], &whole[..whole.len() / 2]] {
                let (text, status) = run(env, "text", message, &["-c", "192.0.2.1"]);
                let (json, json_status) = run(env, "json", message, &["-c", "192.0.2.1", "-j"]);
                if !matches!(status, 0 | 75) || status != json_status {
                    return Err(format!("{name}: {status}, {json_status}: {text}{json}"));
                }
                for word in ["pass", "fail", "permerror", "policy", "neutral"] {
                    let said = text
                        .lines()
                        .filter_map(|line| line.strip_prefix("dkim: "))
                        .filter(|rest| rest.split([' ', ',', ':']).next() == Some(word))
                        .count();
                    let list = json.split("\"dkim\":[").nth(1).unwrap_or_default();
                    let list = list.split("],\"arc\"").next().unwrap_or_default();
                    if list.matches(&format!("{{\"result\":\"{word}\"")).count() != said {
                        return Err(format!("{name}: {word}: {text}{json}"));
                    }
                }
            }
        }
        if paths.len() < 11 {
            return Err(format!("only {} messages", paths.len()));
        }
        Ok(())
    };
    outcome(checked())
}

/// `-` is standard input.
pub fn standard_input(env: &Env) -> Outcome {
    let zone = env.dir.join("zone");
    std::fs::write(&zone, ZONE).expect("write the zone");
    let mut child = Command::new(env.rmailctl())
        .args(["auth", "check", "-c", "198.51.100.1", "--zone"])
        .arg(&zone)
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run rmailctl");
    let mut input = child.stdin.take().expect("stdin");
    input.write_all(b"From: joe@football.example.com\n\nbody\n").expect("write");
    drop(input);
    let out = child.wait_with_output().expect("wait");
    let got = (String::from_utf8_lossy(&out.stdout).into_owned(), out.status.code().unwrap_or(-1));
    outcome(wanted(&got, 0, &["dmarc: fail for football.example.com", "disposition: reject"]))
}
