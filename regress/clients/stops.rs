//! sendmail(8) beside a daemon that stops, or has no time, in the middle.

use crate::faults::space;
use crate::{Env, Outcome};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// What the daemon says at its greeting, and then to each of EHLO, MAIL, RCPT,
/// DATA and the message.
const REPLIES: [&str; 6] = [
    "220 mail.example.com ESMTP",
    "250 mail.example.com",
    "250 2.1.0 Ok",
    "250 2.1.5 Ok",
    "354 Go ahead",
    "250 2.0.0 Ok",
];
/// Larger than what a socket holds, so that a daemon that closes is met in the
/// middle of the message.
const LINES: usize = 40_000;

/// Serves one session as a daemon would, up to step `at`, at which it answers
/// with `word`, or with nothing, and ends.  A daemon that ends at DATA reads
/// nothing of the message.
fn serve(listener: &UnixListener, at: usize, word: Option<&str>) {
    let (session, _) = listener.accept().expect("accept");
    let mut input = BufReader::new(session.try_clone().expect("clone"));
    let mut first = [0];
    input.read_exact(&mut first).expect("the first byte");
    assert_eq!(first, [rmail::ipc::ctl::MAIL]);
    let say = |mut session: &UnixStream, text: &str| {
        session.write_all(format!("{text}\r\n").as_bytes()).expect("write");
    };
    for (step, reply) in REPLIES.iter().enumerate() {
        let mut line = String::new();
        while step > 0 && line.is_empty() {
            input.read_line(&mut line).expect("read");
            // The message is read to its end.
            if step == 5 && line != ".\r\n" {
                line.clear();
            }
        }
        if step == at {
            word.into_iter().for_each(|word| say(&session, word));
            return;
        }
        say(&session, reply);
        if step == 4 && at == 6 {
            // It is gone with the message under way.
            let mut piece = [0; 4096];
            input.read_exact(&mut piece).expect("a piece");
            return;
        }
    }
    // QUIT.
    let _ = input.read_line(&mut String::new());
}

/// Runs sendmail where the offline directory is `place`.
fn send(env: &Env, socket: &Path, place: &Path, message: &str) -> Output {
    let place = place.display();
    let mounts = format!(
        "mount -t tmpfs tmpfs /var/spool && mkdir -p /var/spool/rmail/offline && \
         mount --bind {place} /var/spool/rmail/offline && exec \"$0\" \"$@\""
    );
    let mut child = Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-e", "-c", &mounts])
        .arg(env.sendmail())
        .arg("-S")
        .arg(socket)
        .args(["-f", "joe@example.com", "ann@example.com"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare");
    child.stdin.take().expect("stdin").write_all(message.as_bytes()).expect("write");
    child.wait_with_output().expect("sendmail")
}

fn kept(place: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(place).expect("read").map(|e| e.expect("entry").path()).collect()
}

/// A session that goes so, sendmail's status, and how much is kept.
fn case(env: &Env, at: usize, word: Option<&str>, status: i32, files: usize) {
    let name = format!("{at}-{}", word.map_or("close", |w| &w[..3]));
    let dir = env.dir.join(format!("{name}-{files}"));
    let place = dir.join("offline");
    std::fs::create_dir_all(&place).expect("mkdir");
    let socket = dir.join("sock");
    let listener = UnixListener::bind(&socket).expect("bind");
    let message = format!("Subject: kept\n\n{}", "a line of the message\n".repeat(LINES));
    let out = std::thread::scope(|scope| {
        scope.spawn(|| serve(&listener, at, word));
        send(env, &socket, &place, &message)
    });
    let said = String::from_utf8_lossy(&out.stderr);
    assert_eq!(out.status.code(), Some(status), "{name}: {said}");
    let all = kept(&place);
    assert_eq!(all.len(), files, "{name}: {said}");
    for path in all {
        let uid = rmail::sys::user::uid();
        let (_held, contents) = rmail::disk::offline::open(&path, uid).expect("open");
        let rmail::disk::offline::Contents::Whole(kept) = contents else {
            panic!("{name}: not a whole message");
        };
        assert_eq!(kept.recipients, ["ann@example.com"], "{name}");
        assert_eq!(kept.message.len(), message.replace('\n', "\r\n").len(), "{name}");
    }
}

/// A daemon that says 421 or closes, at whatever step, is as one that does not
/// run: also after the whole message, when nobody knows what became of it.
pub fn is_no_daemon(env: &Env) -> Outcome {
    if let Some(skipped) = space::cannot() {
        return skipped;
    }
    for at in 0..=6 {
        case(env, at, None, 0, 1);
    }
    for at in 0..=5 {
        case(env, at, Some("421 4.3.2 Service shutting down"), 0, 1);
    }
    // One that takes it.
    case(env, 7, None, 0, 0);
    Outcome::Passed
}

/// Who is put off would have to try again, which nobody does for cron: it is
/// kept.  A full disk is not filled further, and what is refused comes back.
pub fn put_off(env: &Env) -> Outcome {
    if let Some(skipped) = space::cannot() {
        return skipped;
    }
    for at in 1..=5 {
        case(env, at, Some("451 4.3.0 Local error, try again later"), 0, 1);
        case(env, at, Some("452 4.3.1 Insufficient system storage"), 75, 0);
        case(env, at, Some("550 5.7.1 Refused"), 69, 0);
    }
    Outcome::Passed
}
