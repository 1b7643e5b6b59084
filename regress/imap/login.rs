//! From the greeting to the login.

use super::client::{daemon, Client, PASSWORD, USER};
use crate::{Env, Outcome, Test};
use std::time::{Duration, Instant};

pub const TESTS: &[Test] = &[
    Test { name: "capabilities-are-one-list", run: capabilities_are_one_list },
    Test { name: "login-with-a-password", run: login_with_a_password },
    Test { name: "login-with-literals", run: login_with_literals },
    Test { name: "authenticate-plain-and-login", run: authenticate },
    Test { name: "authenticate-can-be-cancelled", run: authenticate_cancelled },
    Test { name: "no-login-without-tls", run: no_login_without_tls },
    Test { name: "nothing-may-follow-starttls", run: nothing_may_follow_starttls },
    Test { name: "a-wrong-password-is-answered-late", run: wrong_password_is_late },
    Test { name: "wrong-passwords-end-the-connection", run: wrong_passwords_end_it },
    Test { name: "an-address-that-guesses-is-blocked", run: guessing_is_blocked },
    Test { name: "strangers-get-small-literals", run: small_literals },
    Test { name: "strangers-get-no-memory-for-parentheses", run: parentheses },
    Test { name: "strangers-have-little-time", run: little_time },
    Test { name: "commands-behind-the-login-are-kept", run: commands_behind_login },
    Test { name: "append-before-login-is-not-read", run: append_before_login },
    Test { name: "logins-without-mail-have-the-mailbox-root", run: mailbox_root },
];

const QUICK: &str = "limit login-delay 1ms";

fn capabilities_are_one_list(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    let greeting = c.line();
    let asked = c.ok("CAPABILITY").remove(0);
    let list = asked.strip_prefix("* CAPABILITY ").expect("a list");
    assert_eq!(greeting, format!("* OK [CAPABILITY {list}] mail.example.com ready."));
    assert!(list.contains("AUTH=PLAIN") && !list.contains("LOGINDISABLED"), "{list}");
    let welcome = c.answer(&format!("LOGIN {USER} {PASSWORD}"));
    let asked = c.ok("CAPABILITY").remove(0);
    let list = asked.strip_prefix("* CAPABILITY ").expect("a list");
    assert_eq!(welcome, format!("OK [CAPABILITY {list}] Logged in"));
    Outcome::Passed
}

fn login_with_a_password(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    assert_eq!(c.answer("SELECT INBOX"), "BAD Log in first.");
    for wrong in [format!("{USER} nope"), format!("nobody@example.com {PASSWORD}")] {
        assert!(c.answer(&format!("LOGIN {wrong}")).starts_with("NO [AUTHENTICATIONFAILED]"));
    }
    assert!(c.answer(&format!("LOGIN \"{USER}\" {PASSWORD}")).starts_with("OK "));
    assert!(c.answer("SELECT INBOX").starts_with("OK [READ-WRITE]"));
    assert!(daemon.log().contains("event=login-failed"));
    assert!(!daemon.log().contains(PASSWORD));
    Outcome::Passed
}

fn login_with_literals(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    c.send(format!("a LOGIN {{{}}}\r\n", USER.len()).as_bytes());
    assert_eq!(c.line(), "+ OK");
    c.send(format!("{USER} {{{}+}}\r\n{PASSWORD}\r\n", PASSWORD.len()).as_bytes());
    assert!(c.until("a").pop().is_some_and(|l| l.starts_with("a OK ")));
    Outcome::Passed
}

fn base64(text: &str) -> String {
    openssl::base64::encode_block(text.as_bytes())
}

fn authenticate(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let plain = base64(&format!("\0{USER}\0{PASSWORD}"));
    let fresh = || {
        let mut c = Client::tls(daemon.address("imaps", 0));
        c.line();
        c
    };
    let mut c = fresh();
    assert!(c.answer(&format!("AUTHENTICATE PLAIN {plain}")).starts_with("OK "));
    let mut c = fresh();
    c.send(b"a AUTHENTICATE plain\r\n");
    assert_eq!(c.line(), "+ ");
    c.send(format!("{plain}\r\n").as_bytes());
    assert!(c.until("a").pop().is_some_and(|l| l.starts_with("a OK ")));
    let mut c = fresh();
    c.send(b"a AUTHENTICATE LOGIN\r\n");
    assert_eq!(c.line(), "+ VXNlcm5hbWU6");
    c.send(format!("{}\r\n", base64(USER)).as_bytes());
    assert_eq!(c.line(), "+ UGFzc3dvcmQ6");
    c.send(format!("{}\r\n", base64(PASSWORD)).as_bytes());
    assert!(c.until("a").pop().is_some_and(|l| l.starts_with("a OK ")));
    Outcome::Passed
}

fn authenticate_cancelled(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    for line in ["*", "not base64!"] {
        c.send(b"a AUTHENTICATE PLAIN\r\n");
        assert_eq!(c.line(), "+ ");
        c.send(format!("{line}\r\n").as_bytes());
        assert_eq!(c.line(), "a BAD Authentication cancelled.");
    }
    assert!(c.answer("AUTHENTICATE CRAM-MD5").starts_with("NO "));
    Outcome::Passed
}

fn no_login_without_tls(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::plain(daemon.address("imap", 0));
    let greeting = c.line();
    assert!(
        greeting.contains("STARTTLS LOGINDISABLED") && !greeting.contains("AUTH="),
        "{greeting}"
    );
    assert!(c.answer(&format!("LOGIN {USER} {PASSWORD}")).starts_with("NO [PRIVACYREQUIRED]"));
    assert!(c.answer("AUTHENTICATE PLAIN AAAA").starts_with("NO [PRIVACYREQUIRED]"));
    c.ok("STARTTLS");
    c.start_tls();
    assert!(c.ok("CAPABILITY").remove(0).contains("AUTH=PLAIN"));
    assert_eq!(c.answer("STARTTLS"), "BAD TLS is already active.");
    assert!(c.answer(&format!("LOGIN {USER} {PASSWORD}")).starts_with("OK "));
    Outcome::Passed
}

fn nothing_may_follow_starttls(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::plain(daemon.address("imap", 0));
    c.line();
    c.send(b"a STARTTLS\r\nb NOOP\r\n");
    assert!(c.line().starts_with("* BYE "));
    assert!(c.closed());
    Outcome::Passed
}

fn wrong_password_is_late(env: &Env) -> Outcome {
    let daemon = daemon(env, "limit login-delay 700ms");
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    let begun = Instant::now();
    assert!(c.answer(&format!("LOGIN {USER} nope")).starts_with("NO "));
    assert!(begun.elapsed() >= Duration::from_millis(700));
    Outcome::Passed
}

fn wrong_passwords_end_it(env: &Env) -> Outcome {
    let daemon = daemon(env, &format!("{QUICK}\nlimit login-failures 3"));
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    for _ in 0..3 {
        assert!(c.answer(&format!("LOGIN {USER} nope")).starts_with("NO "));
    }
    assert_eq!(c.line(), "* BYE Too many failed logins.");
    assert!(c.closed());
    Outcome::Passed
}

fn guessing_is_blocked(env: &Env) -> Outcome {
    let daemon = daemon(env, &format!("{QUICK}\nlimit login-failures-peer 2"));
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    for _ in 0..2 {
        assert!(c.answer(&format!("LOGIN {USER} nope")).starts_with("NO [AUTHENTICATIONFAILED]"));
    }
    // The right password is not even looked at: another connection, too.
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    assert!(c.answer(&format!("LOGIN {USER} {PASSWORD}")).starts_with("NO [UNAVAILABLE]"));
    Outcome::Passed
}

fn small_literals(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    assert!(c.answer("LOGIN {1000000}").starts_with("BAD [TOOBIG]"));
    assert!(c.answer("LOGIN {99999999999999999999999}").starts_with("BAD"));
    c.send(b"a LOGIN {4000000000+}\r\n");
    assert!(c.line().starts_with("a BAD [TOOBIG]"));
    assert!(c.line().starts_with("* BYE "));
    Outcome::Passed
}

fn parentheses(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    c.send(format!("a ID {}\r\n", "(".repeat(8000)).as_bytes());
    assert!(c.line().starts_with("a BAD "));
    c.send(format!("a ID {}\r\n", "(".repeat(1_000_000)).as_bytes());
    let line = c.line();
    // Its tag is known, whatever becomes of the rest.
    assert!(line.starts_with("a BAD ") || line.starts_with("* BYE "), "{line}");
    Outcome::Passed
}

fn little_time(env: &Env) -> Outcome {
    let daemon = daemon(env, &format!("{QUICK}\nlimit imap-login-time 3s"));
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    assert_eq!(c.line(), "* BYE Disconnected: no login in time.");
    assert!(c.closed());
    Outcome::Passed
}

fn commands_behind_login(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    c.send(format!("a LOGIN {USER} {PASSWORD}\r\nb SELECT INBOX\r\nc LOGOUT\r\n").as_bytes());
    assert!(c.until("a").pop().is_some_and(|l| l.starts_with("a OK ")));
    assert!(c.until("b").pop().is_some_and(|l| l.starts_with("b OK ")));
    assert_eq!(c.until("c"), ["* BYE Logging out", "c OK Logout completed."]);
    assert!(c.closed());
    Outcome::Passed
}

fn append_before_login(env: &Env) -> Outcome {
    let daemon = daemon(env, QUICK);
    let mut c = Client::tls(daemon.address("imaps", 0));
    c.line();
    c.send(b"a APPEND INBOX {100000000+}\r\n");
    assert!(c.line().starts_with("a BAD "));
    assert!(c.line().starts_with("* BYE "));
    Outcome::Passed
}

/// Whose name receives no mail reads what lies below `mailbox root`; without the
/// statement he is refused.
fn mailbox_root(env: &Env) -> Outcome {
    use super::client::owner;
    std::fs::create_dir_all(env.dir.join("mail")).expect("mkdir");
    let (owner, hash) =
        (owner(&env.dir), rmail::sys::crypt::new_hash(b"secret", 4).expect("crypt"));
    crate::daemon::write(
        &env.dir.join("readers"),
        format!("reader@elsewhere.example:{hash}:{owner}::/nonexistent::\n"),
    );
    let listen = "table readers passwd:@DIR@/readers\nlimit login-delay 1ms\n\
                  listen on 127.0.0.1 port 0 imaps pki \"mail.example.com\" auth <readers>";
    let root = "mailbox root \"@DIR@/mail/root-%{dest.user}\"";
    for (more, begins) in [(listen.to_owned(), "NO "), (format!("{listen}\n{root}"), "OK ")] {
        let daemon = daemon(env, &more);
        let mut c = Client::tls(daemon.address("imaps", 0));
        c.line();
        let answer = c.answer("LOGIN reader@elsewhere.example secret");
        assert!(answer.starts_with(begins), "{answer}\n{}", daemon.log());
        if begins == "OK " {
            c.ok("SELECT INBOX");
            assert!(env.dir.join("mail/root-reader/cur").is_dir());
        }
        daemon.stop();
    }
    Outcome::Passed
}
