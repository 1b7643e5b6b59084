//! Mail through the whole daemon: delivered, announced, read, filed.

use super::client::{daemon, deliver, Client};
use crate::daemon::eventually;
use crate::{Env, Outcome, Test};
use std::process::Command;
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    Test { name: "a-delivery-is-read", run: a_delivery_is_read },
    Test { name: "idle-hears-a-delivery-at-once", run: idle_hears_at_once },
    Test { name: "sessions-of-a-user-share-a-store", run: sessions_share_a_store },
    Test { name: "a-store-that-dies-costs-its-sessions-only", run: a_store_that_dies },
    Test { name: "stopping-says-bye", run: stopping_says_bye },
    Test { name: "a-file-from-elsewhere-is-found", run: a_file_from_elsewhere },
    Test { name: "what-was-appended-survives-a-restart", run: survives_a_restart },
    Test { name: "a-slow-reader-gets-all-of-a-large-message", run: a_large_message },
    Test { name: "a-large-mailbox", run: a_large_mailbox },
    Test { name: "a-move-that-fails-leaves-no-copies", run: a_move_that_fails },
    Test { name: "a-line-that-is-refused-has-its-tag", run: a_refused_line_has_its_tag },
    Test { name: "a-silent-client-keeps-its-session", run: a_silent_client_keeps_its_session },
];

fn a_delivery_is_read(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    deliver(&daemon, "first");
    let mut c = Client::logged_in(&daemon);
    assert!(c.ok("SELECT INBOX").contains(&"* 1 EXISTS".to_string()));
    let text = c.ok("FETCH 1 BODY.PEEK[]").join("\n");
    assert!(text.contains("Subject: first") && text.contains("Hello."), "{text}");
    assert!(text.contains("Delivered-To: joe@example.com"), "{text}");
    assert_eq!(c.ok("SEARCH SUBJECT first FROM ann"), ["* SEARCH 1"]);
    Outcome::Passed
}

fn idle_hears_at_once(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    c.ok("SELECT INBOX");
    c.send(b"i IDLE\r\n");
    assert_eq!(c.line(), "+ idling");
    let begun = Instant::now();
    deliver(&daemon, "news");
    assert_eq!(c.line(), "* 1 EXISTS");
    assert_eq!(c.line(), "* 1 RECENT");
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    c.send(b"DONE\r\n");
    assert_eq!(c.until("i"), ["i OK Idle completed."]);
    Outcome::Passed
}

fn sessions_share_a_store(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut a = Client::logged_in(&daemon);
    let mut b = Client::logged_in(&daemon);
    assert_eq!(daemon.pids("store").len(), 1);
    deliver(&daemon, "shared");
    a.ok("SELECT INBOX");
    b.ok("SELECT INBOX");
    a.ok("STORE 1 +FLAGS.SILENT (\\Seen $Work)");
    let told = b.ok("NOOP").join("\n");
    assert!(told.contains("\\Seen") && told.contains("$Work"), "{told}");
    a.ok("STORE 1 +FLAGS.SILENT \\Deleted");
    a.ok("EXPUNGE");
    assert!(b.ok("NOOP").contains(&"* 1 EXPUNGE".to_string()));
    Outcome::Passed
}

fn a_store_that_dies(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    let pid = daemon.pids("store")[0].to_string();
    assert!(Command::new("kill").args(["-9", &pid]).status().expect("kill").success());
    assert!(c.closed());
    // The account is served again, if not at the first try.
    let served = eventually(Duration::from_secs(30), || {
        let mut c = Client::tls(daemon.address("imaps", 0));
        c.line();
        c.answer("LOGIN joe@example.com secret").starts_with("OK ")
    });
    assert!(served, "{}", daemon.log());
    Outcome::Passed
}

fn stopping_says_bye(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    c.ok("SELECT INBOX");
    c.send(b"i IDLE\r\n");
    assert_eq!(c.line(), "+ idling");
    let status = daemon.stop();
    assert_eq!(c.line(), "* BYE Server shutting down.");
    assert!(status.success(), "{status}");
    Outcome::Passed
}

fn a_file_from_elsewhere(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    c.ok("SELECT INBOX");
    let path = env.dir.join("mail/joe/new/1000000000.foreign.host");
    std::fs::write(&path, "Subject: foreign\n\nbody\n").expect("write");
    std::os::unix::fs::chown(&path, owner_of(env), None).expect("chown");
    assert!(c.ok("NOOP").contains(&"* 1 EXISTS".to_string()));
    let header = c.ok("FETCH 1 BODY[HEADER]").join("\n");
    assert!(header.contains("Subject: foreign"), "{header}");
    Outcome::Passed
}

fn owner_of(env: &Env) -> Option<u32> {
    use std::os::unix::fs::MetadataExt;
    Some(std::fs::metadata(env.dir.join("mail/joe")).expect("stat").uid())
}

fn survives_a_restart(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    c.ok("CREATE Arbeit.&AOQA9gD8-");
    c.send(b"a APPEND Arbeit.&AOQA9gD8- (\\Flagged $x) \"01-Feb-2020 12:00:00 +0000\" {16+}\r\nSubject: y\r\n\r\nz\n\r\n");
    let done = c.until("a").pop().expect("a tagged line");
    assert!(done.starts_with("a OK [APPENDUID "), "{done}");
    let before = c.ok("STATUS Arbeit.&AOQA9gD8- (MESSAGES UIDNEXT UIDVALIDITY)");
    drop(c);
    assert!(daemon.stop().success());
    let daemon = crate::daemon::Daemon::launch(env, &env.dir);
    let mut c = Client::logged_in(&daemon);
    assert_eq!(c.ok("STATUS Arbeit.&AOQA9gD8- (MESSAGES UIDNEXT UIDVALIDITY)"), before);
    c.ok("SELECT Arbeit.&AOQA9gD8-");
    let fetched = c.ok("FETCH 1 (FLAGS INTERNALDATE)").join("\n");
    assert!(fetched.contains("\\Flagged") && fetched.contains("$x"), "{fetched}");
    assert!(fetched.contains("-Feb-2020"), "{fetched}");
    Outcome::Passed
}

fn a_large_message(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    c.ok("SELECT INBOX");
    let body = "0123456789abcdef0123456789abcdef\r\n".repeat(60_000);
    let text = format!("Subject: large\r\n\r\n{body}");
    c.send(format!("a APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()).as_bytes());
    assert!(c.until("a").pop().is_some_and(|l| l.starts_with("a OK ")));
    c.send(b"b FETCH 1 BODY.PEEK[]\r\n");
    std::thread::sleep(Duration::from_millis(300)); // the buffers on the way fill up
    let all = c.until("b");
    let from = all.iter().position(|l| l.contains("BODY[] {")).expect("the message");
    assert!(all[from].ends_with(&format!("{{{}}}", text.len())), "{}", all[from]);
    let got = all[from + 1..].join("\r\n");
    assert!(got.starts_with(&text), "the message differs");
    Outcome::Passed
}

fn a_silent_client_keeps_its_session(env: &Env) -> Outcome {
    // Without a word between login and the next command nothing is lost.
    let daemon = daemon(env, "");
    let mut c = Client::logged_in(&daemon);
    std::thread::sleep(Duration::from_millis(1500));
    assert!(c.answer("NOOP").starts_with("OK"));
    Outcome::Passed
}

/// A mailbox of this many messages.
const MANY: usize = 3000;

fn a_large_mailbox(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    drop(Client::logged_in(&daemon)); // the store makes the mail root
    let owner = owner_of(env);
    for i in 0..MANY {
        let path = env.dir.join(format!("mail/joe/new/{}.M{i}P1.foreign", 1_000_000_000 + i));
        std::fs::write(&path, format!("Subject: number {i}\n\nbody {i}\n")).expect("write");
        std::os::unix::fs::chown(&path, owner, None).expect("chown");
    }
    let mut c = Client::logged_in(&daemon);
    assert!(c.ok("SELECT INBOX").contains(&format!("* {MANY} EXISTS")));
    assert_eq!(c.ok("FETCH 1:* (UID FLAGS)").len(), MANY);
    assert_eq!(c.ok("SEARCH SUBJECT \"number 2999\""), [format!("* SEARCH {MANY}")]);
    assert_eq!(c.ok("STORE 1:* +FLAGS \\Seen").len(), MANY);
    c.ok("STORE 1:2000 +FLAGS.SILENT \\Deleted");
    assert_eq!(c.ok("EXPUNGE").len(), 2000);
    assert_eq!(c.ok("FETCH 1 UID"), ["* 1 FETCH (UID 2001)"]);
    Outcome::Passed
}

/// A client waits for its tag: a line that is too long, or has a NUL, is refused
/// with it, before login and after.
fn a_refused_line_has_its_tag(env: &Env) -> Outcome {
    let daemon = daemon(env, "");
    let mut stranger = Client::tls(daemon.address("imaps", 0));
    stranger.line();
    for c in [&mut stranger, &mut Client::logged_in(&daemon)] {
        for argument in ["ALL ".repeat(100_000), "TEXT \"a\0b\"".into(), "TEXT a\rb".into()] {
            let answer = c.answer(&format!("SEARCH {argument}"));
            assert!(answer.starts_with("BAD "), "{answer}");
        }
        assert!(c.answer("NOOP").starts_with("OK "));
    }
    Outcome::Passed
}

/// RFC 6851 3.3: what is not taken out of its mailbox is not in the other one.
fn a_move_that_fails(env: &Env) -> Outcome {
    use std::os::unix::fs::PermissionsExt;
    let daemon = daemon(env, "");
    for n in 1..=3 {
        deliver(&daemon, &format!("number {n}"));
    }
    let mut c = Client::logged_in(&daemon);
    c.ok("SELECT INBOX");
    let cur = env.dir.join("mail/joe/cur");
    let mode = |mode| {
        std::fs::set_permissions(&cur, std::fs::Permissions::from_mode(mode)).expect("chmod");
    };
    mode(0o500);
    let said = c.command("MOVE 1:3 Junk");
    mode(0o700);
    assert!(said.last().is_some_and(|l| l.starts_with("NO [NOPERM]")), "{said:?}");
    assert!(!said.iter().any(|l| l.contains("EXPUNGE") || l.contains("COPYUID")), "{said:?}");
    let messages = |c: &mut Client, name: &str| c.ok(&format!("STATUS {name} (MESSAGES)"));
    assert_eq!(messages(&mut c, "Junk"), ["* STATUS Junk (MESSAGES 0)"]);
    assert_eq!(messages(&mut c, "INBOX"), ["* STATUS INBOX (MESSAGES 3)"]);
    let said = c.ok("MOVE 1:3 Junk");
    assert!(said[0].contains(" 1:3 4:6] "), "{said:?}");
    assert_eq!(messages(&mut c, "Junk"), ["* STATUS Junk (MESSAGES 3)"]);
    Outcome::Passed
}
