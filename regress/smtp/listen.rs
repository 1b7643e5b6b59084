//! Options of `listen` and `smtp`, as clients see them.

use super::{hash, Client};
use crate::daemon::{certificate, Daemon};
use crate::deliver::post;
use crate::{Env, Outcome};

/// The lines of the EHLO reply on the `n`th listener, and its greeting.
fn hello(daemon: &Daemon, n: usize) -> (Client, String, Vec<String>) {
    let mut c = Client::connect(daemon.address("smtp", n));
    let greeting = c.reply().lines.remove(0);
    c.send("EHLO c.example\r\n");
    let offers = c.reply().lines;
    (c, greeting, offers)
}

pub fn options_show_on_their_listener_only(env: &Env) -> Outcome {
    certificate(&env.dir, "mx", &["mx.example"]);
    let more = format!(
        "pki server cert \"@DIR@/mx.pem\" key \"@DIR@/mx.key\"\n\
         table creds {{ \"joe@example.com\" = \"{}\" }}\n\
         table names {{ \"127.0.0.1\" = \"four.example\", \"::1\" = \"six.example\" }}\n\
         hostname server.example\n\
         listen on 127.0.0.1 port 0 no-dsn hostname plain.example hostnames <names>\n\
         listen on ::1 port 0 tls pki server auth-optional <creds> hostnames <names>\n\
         listen on 127.0.0.2 port 0 hostname plain.example hostnames <names>\n",
        hash()
    );
    let daemon = Daemon::start(env, &post::config(env, "", &more));
    let has = |offers: &[String], word: &str| offers.iter().any(|o| o.starts_with(word));
    for (n, name, dsn) in [
        (0, "server.example", true),
        (1, "four.example", false),
        (2, "six.example", true),
        (3, "plain.example", true),
    ] {
        let (mut c, greeting, offers) = hello(&daemon, n);
        assert!(greeting.starts_with(&format!("{name} ")), "{n}: {greeting}");
        assert_eq!(has(&offers, "DSN"), dsn, "{n}: {offers:?}");
        let mail = c.ask("MAIL FROM:<a@b.example> RET=HDRS");
        assert_eq!(mail, if dsn { 250 } else { 555 }, "{n}");
    }
    // auth-optional: offered inside TLS, and not asked for
    let (mut c, _, offers) = hello(&daemon, 2);
    assert!(!has(&offers, "AUTH"), "{offers:?}");
    assert_eq!(c.ask("STARTTLS"), 220);
    c.start_tls();
    c.send("EHLO c.example\r\n");
    let offers = c.reply().lines;
    assert!(has(&offers, "AUTH"), "{offers:?}");
    c.begin("a@b.example", "joe@example.com");
    Outcome::Passed
}

pub fn a_family_is_kept_to(env: &Env) -> Outcome {
    for (family, only) in [("inet4", "127.0.0.1:"), ("inet6", "[::1]:")] {
        let more = format!("listen on lo {family} port 0 tag it\n");
        let dir = env.dir.join(family);
        let config = post::config(env, "", &more);
        let daemon = Daemon::start_in(env, &dir, &config);
        let text = daemon.ctl_ok(&["show", "listeners"]);
        let it: Vec<&str> = text.lines().filter(|l| l.starts_with("smtp ")).skip(1).collect();
        assert!(!it.is_empty() && it.iter().all(|l| l.contains(only)), "{family}:\n{text}");
    }
    Outcome::Passed
}

pub fn the_servers_own_numbers_count(env: &Env) -> Outcome {
    let more = "admd us.example\nsmtp limit max-mails 2 max-rcpt 2\nsmtp sub-addr-delim \"_\"\n";
    let daemon = Daemon::start(env, &post::config(env, "", more));
    let (mut c, _, _) = hello(&daemon, 0);
    c.begin("a@b.example", "joe_list@example.com");
    assert_eq!(c.ask("Subject: x\r\n\r\nhi\r\n."), 250);
    assert_eq!(c.ask("MAIL FROM:<a@b.example>"), 250);
    assert_eq!(c.ask("RCPT TO:<joe+list@example.com>"), 550, "no sub-address any more");
    assert_eq!(c.ask("RCPT TO:<joe@example.com>"), 250);
    assert_eq!(c.ask("RCPT TO:<joe_a@example.com>"), 250);
    assert_eq!(c.ask("RCPT TO:<jim@example.com>"), 452, "max-rcpt");
    assert_eq!(c.ask("DATA"), 354);
    assert_eq!(c.ask("Subject: y\r\n\r\nhi\r\n."), 250);
    let third = c.ask("MAIL FROM:<a@b.example>");
    assert!([421, 452].contains(&third), "max-mails: {third}");
    // A submission that claims to be us has that field taken out.
    let mut c = Client::local(&daemon.socket);
    assert_eq!(c.reply().code, 220);
    assert_eq!(c.ask("EHLO c.example"), 250);
    c.begin("a@b.example", "joe@example.com");
    let forged = "Authentication-Results: us.example; spf=pass\r\n\
                  Authentication-Results: them.example; spf=pass\r\n";
    assert_eq!(c.ask(&format!("{forged}Subject: x\r\n\r\nhi\r\n.")), 250);
    daemon.drained();
    let all = post::files(&env.dir.join("mail/joe"));
    let read = |f| std::fs::read_to_string(f).expect("read");
    let text: String = all.iter().map(read).collect();
    assert!(text.contains("\nAuthentication-Results: them.example; spf=pass\n"), "{text}");
    assert!(!text.contains("us.example; spf=pass"), "{text}");
    Outcome::Passed
}
