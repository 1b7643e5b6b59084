//! What sendmail(8) does with mail that the daemon does not take.

use super::sendmail::{mailbox, messages, start};
use crate::daemon::{eventually, Daemon};
use crate::{Env, Outcome};
use rmail::disk::offline::{decode, Contents, Kept};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

/// Longer than anything here takes.
const LIMIT: Duration = Duration::from_secs(60);
/// A daemon that ends, or has no thread.
const LEAVES: &str = "421 4.3.2 Closing";
/// One that fails at something.
const LATER: &str = "451 4.3.0 Later";
const FULL: &str = "452 4.3.1 No room";
const NEVER: &str = "550 5.7.1 No";

/// Where in a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    Greeting,
    Hello,
    Mail,
    Rcpt,
    Data,
    /// In the middle of the message.
    Text,
    /// After the final dot.
    End,
}

/// Serves one session, in which it says this at one place, or closes.
fn serve(mut stream: UnixStream, at: At, says: Option<&str>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    stream.read_exact(&mut [0])?;
    let mut lines = BufReader::new(stream.try_clone()?);
    let mut say = |now: At, usual: &str| -> std::io::Result<bool> {
        match (now == at, says) {
            (true, None) => return Ok(false),
            (true, Some(says)) => writeln!(stream, "{says}\r")?,
            (false, _) => writeln!(stream, "{usual}\r")?,
        }
        Ok(true)
    };
    let mut go_on = say(At::Greeting, "220 mail.example.com ESMTP")?;
    let mut line = Vec::new();
    while go_on {
        line.clear();
        if lines.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        go_on = match &line[..4] {
            b"EHLO" => say(At::Hello, "250 mail.example.com")?,
            b"MAIL" => say(At::Mail, "250 2.1.0 Ok")?,
            b"RCPT" => say(At::Rcpt, "250 2.1.5 Ok")?,
            b"DATA" => {
                let on = say(At::Data, "354 Go on")?;
                let text = on && at != At::Data;
                while text && line != b".\r\n" {
                    line.clear();
                    lines.read_until(b'\n', &mut line)?;
                    if at == At::Text {
                        return Ok(());
                    }
                }
                on && (!text || say(At::End, "250 2.0.0 Ok")?)
            }
            _ => say(At::Greeting, "221 2.0.0 Bye")?,
        };
    }
    Ok(())
}

/// A queue directory with nothing in it.
fn queue(env: &Env, name: &str) -> PathBuf {
    let queue = env.dir.join(name);
    std::fs::create_dir_all(queue.join("offline")).expect("mkdir");
    queue
}

fn kept_in(queue: &Path) -> Vec<Kept> {
    let files = std::fs::read_dir(queue.join("offline")).expect("read").flatten();
    let one = |file: std::fs::DirEntry| match decode(&std::fs::read(file.path()).expect("read")) {
        Contents::Whole(kept) => kept,
        other => panic!("{other:?}"),
    };
    files.map(one).collect()
}

fn spawn(env: &Env, socket: &Path, queue: &Path, args: &[&str]) -> Child {
    Command::new(env.sendmail())
        .arg("-S")
        .arg(socket)
        .arg("-Q")
        .arg(queue)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("sendmail")
}

fn send(env: &Env, socket: &Path, queue: &Path, args: &[&str], message: &[u8]) -> Output {
    let mut child = spawn(env, socket, queue, args);
    child.stdin.take().expect("stdin").write_all(message).expect("write");
    child.wait_with_output().expect("sendmail")
}

/// Sends to a server that says this at one place; what became of it.
fn against(env: &Env, at: At, says: Option<&'static str>) -> (Output, Vec<Kept>) {
    let name = format!("{at:?}{}", says.map_or("closed", |s| &s[..9]));
    let (socket, queue) = (env.dir.join(&name).with_extension("sock"), queue(env, &name));
    let listener = UnixListener::bind(&socket).expect("bind");
    std::thread::spawn(move || {
        if let Ok((stream, _)) = listener.accept() {
            // The client sees the close, whatever it was.
            let _ = serve(stream, at, says);
        }
    });
    // More than a socket holds, so that it is still sending as the server goes.
    let message = format!("Subject: x\n\n{}", "some text\n".repeat(200_000));
    let args = ["-f", "ann@example.com", "joe@example.com", "bob@example.com"];
    let out = send(env, &socket, &queue, &args, message.as_bytes());
    (out, kept_in(&queue))
}

/// What is put off for four days comes back to its sender; before, it is kept.
pub fn put_off_for_long(env: &Env) -> Outcome {
    for (days, stays) in [(3, true), (5, false)] {
        let name = format!("old{days}");
        let (socket, queue) = (env.dir.join(&name).with_extension("sock"), queue(env, &name));
        let kept = Kept {
            sender: "joe@example.com".into(),
            notify: None,
            ret: None,
            envid: None,
            recipients: vec!["bob@example.com".into()],
            message: b"Subject: kept\r\n\r\nhi\r\n".to_vec(),
        };
        let file = rmail::disk::offline::write(&queue.join("offline"), &kept).expect("write");
        let then = std::time::SystemTime::now() - Duration::from_secs(days * 24 * 3600);
        let opened = std::fs::File::options().write(true).open(&file).expect("open");
        opened.set_modified(then).expect("utimensat");
        drop(opened);
        let listener = UnixListener::bind(&socket).expect("bind");
        std::thread::spawn(move || {
            // The message is put off; a report to its sender is taken.
            for (n, stream) in listener.incoming().flatten().enumerate() {
                let says = if n == 0 { LATER } else { "250 2.1.5 Ok" };
                let _ = serve(stream, At::Rcpt, Some(says));
            }
        });
        let out = Command::new(env.sendmail())
            .arg("-S")
            .arg(&socket)
            .arg("-Z")
            .arg(&file)
            .output()
            .expect("sendmail");
        let said = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(if stays { 75 } else { 0 }), "{days} days: {said}");
        assert_eq!(file.exists(), stays, "{days} days: {said}");
    }
    Outcome::Passed
}

/// Whoever leaves has not taken it: as if nobody had listened.  That goes also
/// for who leaves after the final dot, who may have it: twice is better than
/// not at all.
pub fn who_leaves(env: &Env) -> Outcome {
    use At::{Data, End, Greeting, Hello, Mail, Rcpt, Text};
    for at in [Greeting, Hello, Mail, Rcpt, Data, Text, End] {
        for says in [None, Some(LEAVES)].into_iter().filter(|s| at != Text || s.is_none()) {
            let (out, kept) = against(env, at, says);
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(0), "{at:?} {says:?}: {said}");
            assert_eq!(kept.len(), 1, "{at:?} {says:?}");
            assert_eq!(kept[0].sender, "ann@example.com");
            assert_eq!(kept[0].recipients, ["joe@example.com", "bob@example.com"]);
            assert!(kept[0].message.starts_with(b"Subject: x\r\n\r\nsome text\r\n"));
            assert_eq!(kept[0].message.len(), 14 + 11 * 200_000);
        }
    }
    Outcome::Passed
}

/// Who sends from cron(8) does not try again, so it is done for him; but not
/// what has no room, nor what is refused for good.
pub fn refusals(env: &Env) -> Outcome {
    for at in [At::Mail, At::Rcpt, At::End] {
        for (says, status, keeps) in [(LATER, 0, 1), (FULL, 75, 0), (NEVER, 69, 0)] {
            let (out, kept) = against(env, at, Some(says));
            let said = String::from_utf8_lossy(&out.stderr);
            assert_eq!(out.status.code(), Some(status), "{at:?} {says}: {said}");
            assert_eq!(kept.len(), keeps, "{at:?} {says}");
            assert!(keeps == 1 || said.contains(says), "{at:?} {said}");
        }
    }
    Outcome::Passed
}

/// The whole way: a session that the daemon does not end, and the next daemon.
pub fn daemon_ends(env: &Env) -> Outcome {
    let daemon = start(env);
    let (dir, socket) = (env.dir.clone(), daemon.socket.clone());
    let smtp = daemon.pids("smtp")[0].to_string();
    let signal = |s: &str| Command::new("kill").arg(s).arg(&smtp).status().expect("kill");
    assert!(signal("-STOP").success());
    let mut child = spawn(env, &socket, &dir.join("spool"), &["joe@example.com"]);
    child.stdin.take().expect("stdin").write_all(b"Subject: late\n\nx\n").expect("write");
    let passed = || daemon.ctl_ok(&["show", "stats"]).contains("control.sessions=1\n");
    let passed = eventually(LIMIT, passed);
    assert!(signal("-KILL").success());
    let out = child.wait_with_output().expect("sendmail");
    assert!(passed, "{}", daemon.log());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    assert!(daemon.stop().success());
    let daemon = Daemon::launch(env, &dir);
    let joe = mailbox(&daemon, "joe");
    assert!(eventually(LIMIT, || messages(&joe).len() == 1), "{}", daemon.log());
    assert!(messages(&joe)[0].contains("\nSubject: late\n"));
    Outcome::Passed
}

/// What reads a message is in a sandbox by then.
pub fn confined(env: &Env) -> Outcome {
    if !Path::new("/proc/self/status").exists() {
        return Outcome::Skipped("/proc tells who has a filter".into());
    }
    for args in [&["-t"][..], &["-bs"]] {
        let socket = env.dir.join(format!("{}.sock", args[0]));
        // Nobody is served, but it can connect.
        let listener = UnixListener::bind(&socket).expect("bind");
        let mut child = spawn(env, &socket, &queue(env, "none"), args);
        let status = format!("/proc/{}/status", child.id());
        // It waits for its input: 2 is a filter that it has installed.
        let filtered = || {
            let text = std::fs::read_to_string(&status).unwrap_or_default();
            text.lines().any(|l| l == "Seccomp:\t2")
        };
        let is = eventually(LIMIT, filtered);
        drop((listener, child.stdin.take()));
        let ended = child.wait().expect("wait");
        assert!(is, "{args:?} reads without a sandbox");
        assert!(ended.code().is_some(), "{args:?}: {ended}");
    }
    Outcome::Passed
}

/// The sandbox has room for what is large: to the daemon, and to the offline
/// directory.
pub fn large(env: &Env) -> Outcome {
    let daemon = start(env);
    let text = "some text, and more of it\n".repeat(20 << 20 >> 5) + &"x\n".repeat(2 << 20);
    let all = ["joe@example.com", "ann@example.com"];
    let message = format!("To: {}\nSubject: large\n\n{text}", all.join(", "));
    let place = queue(env, "none");
    let out = send(env, &daemon.socket, &place, &["-t"], message.as_bytes());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    daemon.drained();
    for user in ["joe", "ann"] {
        let got = messages(&mailbox(&daemon, user));
        assert!(got.len() == 1 && got[0].ends_with(&text), "{user}: {}", daemon.log());
    }
    let many: Vec<String> = (0..9000).map(|n| format!("user-{n}@example.com")).collect();
    let fields: String =
        many.chunks(3000).map(|some| format!("Bcc: {}\n", some.join(",\n "))).collect();
    let message = format!("{fields}Subject: many\n\n{text}");
    let out = send(env, &env.dir.join("no.sock"), &place, &["-t"], message.as_bytes());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let kept = kept_in(&place);
    assert!(kept.len() == 1 && kept[0].recipients == many);
    assert_eq!(kept[0].message.len(), 17 + text.len() + text.matches('\n').count());
    Outcome::Passed
}
