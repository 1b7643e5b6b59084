//! What `listen`, `match` and `smtp` say is what clients meet.

use super::{hash, Client};
use crate::daemon::{certificate, Daemon};
use crate::{Env, Outcome};
use std::net::SocketAddr;

/// Mail that is let in goes nowhere: the answer to RCPT is what counts.
const SINK: &str = "action \"take\" relay host \"smtp://127.0.0.1:1\"\n";

fn open(to: SocketAddr) -> Client {
    let mut client = Client::connect(to);
    assert_eq!(client.reply().code, 220);
    client
}

/// Each condition is met by one kind of session and not by another.
pub fn conditions(env: &Env) -> Outcome {
    let (cert, key) = certificate(&env.dir, "mx", &["mx.example"]);
    // The name of a loopback address is known without the DNS.
    let rules: String = [
        ("from-local", "from local"),
        ("from-any", "from any"),
        ("from-src", "from src \"127.0.0.0/8\""),
        ("from-src-set", "from src { \"192.0.2.0/24\", \"::1\" }"),
        ("from-src-not", "! from src \"127.0.0.0/8\""),
        ("from-rdns", "from rdns"),
        ("from-rdns-named", "from rdns \"localhos*\""),
        ("from-rdns-other", "from rdns \"*.invalid\""),
        ("from-rdns-regex", "from rdns regex \"^localhost$\""),
        ("from-auth", "from auth"),
        ("from-auth-joe", "from auth \"joe\""),
        ("from-auth-ann", "from auth \"ann\""),
        ("from-socket", "from socket"),
        ("from-mail-from", "from mail-from \"a@known.example\""),
        ("auth", "from any auth"),
        ("auth-not", "from any ! auth"),
        ("helo", "from any helo \"tls.client\""),
        ("mail-from", "from any mail-from <known>"),
        ("mail-from-null", "from any mail-from \"<>\""),
        ("rcpt-to", "from any rcpt-to \"one@*\""),
        ("tag", "from any tag \"marked\""),
        ("tag-not", "from any ! tag \"marked\""),
        ("tls", "from any tls"),
        ("tls-not", "from any ! tls"),
    ]
    .iter()
    .map(|(name, condition)| {
        format!("match {condition} for domain \"{name}.example\" action \"take\"\n")
    })
    .collect();
    let config = format!(
        "hostname \"mx.example\"\n\
         pki \"mx.example\" cert \"{}\" key \"{}\"\n\
         table creds {{ joe = \"{}\" }}\n\
         table known {{ \"@known.example\" }}\n\
         listen on 127.0.0.1 port 0 tag \"marked\"\n\
         listen on 127.0.0.1 port 0 tls pki \"mx.example\" auth-optional <creds>\n\
         {SINK}{rules}\
         match from any for rcpt-to \"to@exact.example\" action \"take\"\n\
         match from any for domain regex \"^r[0-9]+[.]example$\" action \"take\"\n\
         match from any for local action \"take\"\n\
         match from any for domain \"refused.example\" reject\n\
         match from any for domain \"*.example\" rcpt-to \"last@*\" action \"take\"\n",
        cert.display(),
        key.display(),
        hash()
    );
    let daemon = Daemon::start(env, &config);
    let plain = || {
        let mut client = open(daemon.address("smtp", 0));
        assert_eq!(client.ask("EHLO plain.client"), 250);
        client
    };
    let tls = || {
        let mut client = open(daemon.address("smtp", 1));
        assert_eq!(client.ask("EHLO tls.client"), 250);
        assert_eq!(client.ask("STARTTLS"), 220);
        client.start_tls();
        assert_eq!(client.ask("EHLO tls.client"), 250);
        client
    };
    let joe = || {
        let mut client = tls();
        // \0joe\0secret
        assert_eq!(client.ask("AUTH PLAIN AGpvZQBzZWNyZXQ="), 235);
        client
    };
    let socket = || {
        let mut client = Client::local(&daemon.dir.join("run/rmaild.sock"));
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.ask("EHLO plain.client"), 250);
        client
    };
    let sessions: [(&str, &dyn Fn() -> Client); 4] =
        [("plain", &plain), ("tls", &tls), ("joe", &joe), ("socket", &socket)];
    // Which of the four sessions are let through.
    for (to, from, through) in [
        ("x@from-local.example", "", [true, true, true, true]),
        ("x@from-any.example", "", [true, true, true, true]),
        ("x@from-src.example", "", [true, true, true, false]),
        ("x@from-src-set.example", "", [false, false, false, false]),
        ("x@from-src-not.example", "", [false, false, false, true]),
        ("x@from-rdns.example", "", [true, true, true, false]),
        ("x@from-rdns-named.example", "", [true, true, true, false]),
        ("x@from-rdns-other.example", "", [false, false, false, false]),
        ("x@from-rdns-regex.example", "", [true, true, true, false]),
        ("x@from-auth.example", "", [false, false, true, false]),
        ("x@from-auth-joe.example", "", [false, false, true, false]),
        ("x@from-auth-ann.example", "", [false, false, false, false]),
        ("x@from-socket.example", "", [false, false, false, true]),
        ("x@from-mail-from.example", "a@known.example", [true, true, true, true]),
        ("x@from-mail-from.example", "b@known.example", [false, false, false, false]),
        ("x@auth.example", "", [false, false, true, false]),
        ("x@auth-not.example", "", [true, true, false, true]),
        ("x@helo.example", "", [false, true, true, false]),
        ("x@mail-from.example", "b@known.example", [true, true, true, true]),
        ("x@mail-from.example", "b@other.example", [false, false, false, false]),
        ("x@mail-from-null.example", "", [true, true, true, true]),
        ("x@mail-from-null.example", "b@known.example", [false, false, false, false]),
        ("one@rcpt-to.example", "", [true, true, true, true]),
        ("two@rcpt-to.example", "", [false, false, false, false]),
        ("x@tag.example", "", [true, false, false, false]),
        ("x@tag-not.example", "", [false, true, true, true]),
        ("x@tls.example", "", [false, true, true, false]),
        ("x@tls-not.example", "", [true, false, false, true]),
        ("to@exact.example", "", [true, true, true, true]),
        ("other@exact.example", "", [false, false, false, false]),
        ("x@r12.example", "", [true, true, true, true]),
        ("x@r12x.example", "", [false, false, false, false]),
        ("x@mx.example", "", [true, true, true, true]),
        ("last@refused.example", "", [false, false, false, false]),
        ("last@elsewhere.example", "", [true, true, true, true]),
    ] {
        for ((name, session), through) in sessions.iter().zip(through) {
            // The sender of the socket's session is its user's own.
            let from = if *name == "socket" && from.is_empty() { "<>" } else { from };
            let mut client = session();
            client.ask(&format!("MAIL FROM:<{}>", from.trim_matches(['<', '>'])));
            let code = client.ask(&format!("RCPT TO:<{to}>"));
            let log = || daemon.log().lines().rev().take(5).collect::<Vec<_>>().join("\n");
            assert_eq!(code == 250, through, "{name}: <{from}> to {to}: {code}\n{}", log());
        }
    }
    Outcome::Passed
}

/// Names, ciphers and logins of listeners.
pub fn listeners(env: &Env) -> Outcome {
    let (cert, key) = certificate(&env.dir, "mx", &["mx.example"]);
    let config = format!(
        "hostname \"server.example\"\n\
         pki \"mx.example\" cert \"{}\" key \"{}\"\n\
         table creds {{ joe = \"{}\" }}\n\
         table names {{ 127.0.0.2 = \"two.example\" }}\n\
         smtp ciphers \"ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES128-GCM-SHA256\"\n\
         listen on 127.0.0.1 port 0 hostname \"one.example\" hostnames <names>\n\
         listen on 127.0.0.2 port 0 hostname \"one.example\" hostnames <names>\n\
         listen on 127.0.0.1 port 0 tls pki \"mx.example\" auth-optional <creds> protocols \"tlsv1.2\"\n\
         listen on 127.0.0.1 port 0 tls pki \"mx.example\" protocols \"tlsv1.2\" \
             ciphers \"ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES256-GCM-SHA384\"\n\
         {SINK}\
         match from any for domain \"out.example\" action \"take\"\n",
        cert.display(),
        key.display(),
        hash()
    );
    let daemon = Daemon::start(env, &config);
    let at = |n| daemon.address("smtp", n);
    for (n, name) in [(0, "one.example"), (1, "two.example"), (2, "server.example")] {
        let mut client = Client::connect(at(n));
        assert_eq!(client.reply().lines[0].split(' ').next(), Some(name));
    }
    // auth-optional: inside TLS it is offered, and mail comes without it too.
    let secure = |n| {
        let mut client = open(at(n));
        client.ask("EHLO c.example");
        assert_eq!(client.ask("STARTTLS"), 220);
        client.start_tls();
        client
    };
    let mut client = secure(2);
    assert_eq!(client.cipher(), ("TLSv1.2".into(), true, 128));
    client.send("EHLO c.example\r\n");
    assert!(client.reply().lines.iter().any(|l| l == "AUTH PLAIN LOGIN"));
    assert_eq!(client.ask("MAIL FROM:<a@b.example>"), 250);
    assert_eq!(client.ask("RCPT TO:<x@out.example>"), 250);
    assert_eq!(secure(3).cipher(), ("TLSv1.2".into(), true, 256));
    Outcome::Passed
}

/// IPv6 from the listener to the field in the header, and as a literal.
pub fn ipv6(env: &Env) -> Outcome {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        return Outcome::Skipped("this machine has no IPv6 loopback".into());
    }
    let far = crate::sink::Sink::start_on("[::1]:0", crate::sink::Options::default());
    let config = format!(
        "hostname \"mx.example\"\n\
         listen on ::1 port 0\n\
         action \"out\" relay host \"smtp://[::1]:{}\"\n\
         match from src \"::1\" for domain {{ \"far.example\", \"[IPv6:2001:db8::1]\" }} action \"out\"\n",
        far.addr.port()
    );
    let daemon = Daemon::start(env, &config);
    let to = daemon.address("smtp", 0);
    assert!(to.is_ipv6());
    let mut client = open(to);
    client.send("EHLO [IPv6:::1]\r\n");
    assert_eq!(client.reply().code, 250);
    assert_eq!(client.ask("MAIL FROM:<a@[IPv6:2001:db8::2]>"), 250);
    assert_eq!(client.ask("RCPT TO:<x@far.example>"), 250);
    assert_eq!(client.ask("RCPT TO:<y@[IPv6:2001:db8::1]>"), 250);
    assert_eq!(client.ask("RCPT TO:<y@[IPv6:2001:db8::3]>"), 550);
    assert_eq!(client.ask("RCPT TO:<y@[IPv6:2001:db8::g]>"), 501);
    assert_eq!(client.ask("DATA"), 354);
    client.send("Subject: six\r\n\r\nx\r\n.\r\n");
    assert_eq!(client.reply().code, 250);
    daemon.drained();
    let mails = far.wait(1);
    let mut rcpts: Vec<String> = mails.iter().flat_map(|m| m.rcpts.clone()).collect();
    rcpts.sort();
    assert_eq!(rcpts, ["RCPT TO:<x@far.example>", "RCPT TO:<y@[IPv6:2001:db8::1]>"]);
    assert!(mails[0].from.starts_with("MAIL FROM:<a@[IPv6:2001:db8::2]>"), "{}", mails[0].from);
    let text = &mails[0].text;
    assert!(text.contains("[IPv6:::1]"), "{text}");
    Outcome::Passed
}

/// A macro of the command line goes before that of the file.
pub fn macros(env: &Env) -> Outcome {
    Daemon::configure(
        &env.dir,
        &format!(
            "where=\"file.example\"\nlisten on 127.0.0.1 port 0\n{SINK}\
             match from any for domain $where action \"take\"\n"
        ),
    );
    let mut command = std::process::Command::new(env.rmaild());
    command.args(["-D", "where=\"line.example\""]);
    let daemon = Daemon::launch_as(env, &env.dir, command);
    let mut client = open(daemon.address("smtp", 0));
    client.ask("EHLO c.example");
    client.ask("MAIL FROM:<>");
    assert_eq!(client.ask("RCPT TO:<x@line.example>"), 250);
    assert_eq!(client.ask("RCPT TO:<x@file.example>"), 550);
    // As it was at the start, so it is after a reload.
    daemon.ctl_ok(&["reload"]);
    assert_eq!(client.ask("RCPT TO:<x@line.example>"), 250);
    Outcome::Passed
}
