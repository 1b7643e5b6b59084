//! Deliveries to other servers: routes, retries, reports.

use std::time::Duration;

use super::post::{self, files, post, Client};
use crate::daemon::{certificate, eventually, Daemon};
use crate::dns::{Dns, Record};
use crate::sink::{Action, Options, Sink, Stage};
use crate::{Env, Outcome};
use openssl::ssl::{SslContext, SslFiletype, SslMethod, SslVerifyMode};

/// As it is sent, with the dot doubled.
const TEXT: &str = "From: joe@example.com\r\nSubject: out\r\n\r\n..dot\r\nbye\r\n";
/// As it must arrive.
const WANT: &str = "From: joe@example.com\r\nSubject: out\r\n\r\n.dot\r\nbye\r\n";

/// A daemon whose action `out` relays as `relay` says.
fn daemon(env: &Env, relay: &str, more: &str) -> Daemon {
    let config = post::config(env, "", "");
    Daemon::start(
        env,
        &format!(
            "{config}queue retry remote 100ms\nqueue retry local 100ms\nhostname our.example\n{more}\
             action \"out\" relay {relay}\n\
             match from any for any action \"out\"\n"
        ),
    )
}

fn via(env: &Env, sink: &Sink) -> Daemon {
    daemon(env, &format!("host \"smtp://{}\"", sink.addr), "")
}

fn scripted(script: impl Fn(&crate::sink::Event<'_>) -> Action + Send + Sync + 'static) -> Sink {
    Sink::start(Options { script: Box::new(script), ..Options::default() })
}

/// Posts as joe, who is at home here, so that he can be told.
fn send(daemon: &Daemon, to: &str) -> String {
    Client::connect(daemon.address("smtp", 0)).post("joe@example.com", to, TEXT)
}

/// The only message in joe's mailbox.
fn report(env: &Env, daemon: &Daemon) -> String {
    daemon.drained();
    let all = files(&env.dir.join("mail/joe"));
    assert_eq!(all.len(), 1, "{}", daemon.log());
    std::fs::read_to_string(&all[0]).unwrap()
}

pub fn smarthost(env: &Env) -> Outcome {
    let sink = scripted(|_| Action::Usual);
    let daemon = via(env, &sink);
    assert!(send(&daemon, "x@far.example").starts_with("250"));
    let mails = sink.wait(1);
    assert!(mails[0].text.starts_with("Received: from"), "{}", mails[0].text);
    assert!(mails[0].text.ends_with(WANT), "{}", mails[0].text);
    daemon.drained();
    assert!(files(&env.dir.join("mail/joe")).is_empty(), "{}", daemon.log());
    Outcome::Passed
}

/// Notifications as they were asked for, by us or by the host that takes them
/// over.  RFC 3461 5.2.
pub fn notify(env: &Env) -> Outcome {
    let plain = scripted(|e| match e.line {
        line if line.starts_with("RCPT TO:<no@") => Action::Say("550 5.1.1 nobody"),
        _ => Action::Usual,
    });
    let dsn = Sink::start(Options { offers: vec!["DSN"], ..Options::default() });
    let more = format!(
        "action \"dsn\" relay host \"smtp://{}\"\n\
         match from any for domain \"dsn.example\" action \"dsn\"\n",
        dsn.addr
    );
    let daemon = daemon(env, &format!("host \"smtp://{}\"", plain.addr), &more);
    let mut client = Client::connect(daemon.address("smtp", 0));
    client.ask("MAIL FROM:<joe@example.com> RET=HDRS ENVID=e+2B1");
    for rcpt in [
        "<x@far.example> NOTIFY=SUCCESS ORCPT=rfc822;old@far.example",
        "<no@far.example> NOTIFY=NEVER",
        "<y@dsn.example> NOTIFY=SUCCESS,FAILURE",
        "<jim@example.com> NOTIFY=SUCCESS",
    ] {
        let said = client.ask(&format!("RCPT TO:{rcpt}"));
        assert!(said.starts_with("250"), "{rcpt}: {said}");
    }
    client.ask("DATA");
    assert!(client.ask(&format!("{TEXT}.")).starts_with("250"));
    daemon.drained();
    let all = files(&env.dir.join("mail/joe"));
    let text: String = all.iter().map(|f| std::fs::read_to_string(f).unwrap()).collect();
    assert_eq!(all.len(), 2, "{text}");
    for line in [
        "Original-Recipient: rfc822;old@far.example\nFinal-Recipient: rfc822; x@far.example\nAction: relayed\n",
        "Final-Recipient: rfc822; jim@example.com\nAction: delivered\nStatus: 2.1.5\nLast-",
        "Original-Envelope-Id: e+1\n",
    ] {
        assert!(text.contains(line), "no {line:?} in {text}");
    }
    for line in ["no@far.example", "y@dsn.example", "INBOX", "bye\n"] {
        assert!(!text.contains(line), "{line:?} in {text}");
    }
    let taken = dsn.wait(1);
    assert!(taken[0].from.ends_with(" RET=HDRS ENVID=e+2B1"), "{}", taken[0].from);
    let rcpt = &taken[0].rcpts[0];
    assert!(rcpt.starts_with("RCPT TO:<y@dsn.example> NOTIFY=SUCCESS,FAILURE"), "{rcpt}");
    Outcome::Passed
}

/// What the options of a relay say is what the host sees.
pub fn relay_options(env: &Env) -> Outcome {
    let (cert, key) = certificate(&env.dir, "sink", &["localhost"]);
    let (own, _) = certificate(&env.dir, "own", &["our.example"]);
    let mut tls = SslContext::builder(SslMethod::tls_server()).unwrap();
    tls.set_certificate_file(&cert, SslFiletype::PEM).unwrap();
    tls.set_private_key_file(&key, SslFiletype::PEM).unwrap();
    // Only who shows our certificate is let in.
    tls.set_ca_file(&own).unwrap();
    tls.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let offers = vec!["PIPELINING", "AUTH PLAIN"];
    let sink = Sink::start(Options { tls: Some(tls.build()), offers, ..Options::default() });
    let port = sink.addr.port();
    let more = "pki own cert \"@DIR@/own.pem\" key \"@DIR@/own.key\"\n\
                ca sink cert \"@DIR@/sink.pem\"\n\
                table secrets { me = \"user:pass\" }\n\
                table names { 127.0.0.2 = \"by.source\" }\n\
                action \"slow\" relay host \"smtp://127.0.0.1:1\" ttl 1h\n\
                match from any for domain \"slow.example\" action \"slow\"\n";
    let relay = format!(
        "host \"smtp+tls://me@localhost:{port}\" auth <secrets> ca sink pki own src 127.0.0.2 \
         helo \"not.this\" helo-src <names> mail-from \"list@our.example\" protocols \"tlsv1.3\""
    );
    let daemon = daemon(env, &relay, more);
    assert!(send(&daemon, "x@far.example").starts_with("250"));
    daemon.drained();
    let mails = sink.wait(1);
    let mail = &mails[0];
    assert_eq!(
        mail.from.split(' ').take(2).collect::<Vec<_>>(),
        ["MAIL", "FROM:<list@our.example>"]
    );
    assert!(mail.tls && mail.login.as_deref() == Some("AUTH PLAIN AHVzZXIAcGFzcw=="), "{mail:?}");
    assert_eq!(mail.peer.map(|p| p.ip().to_string()).as_deref(), Some("127.0.0.2"));
    assert_eq!(sink.commands()[0], "EHLO by.source");
    // ttl
    assert!(send(&daemon, "x@slow.example").starts_with("250"));
    let row = daemon.ctl_ok(&["-j", "show", "queue"]);
    let number = |key: &str| {
        let text = row.split(&format!("\"{key}\":")).nth(1).unwrap_or_else(|| panic!("{row}"));
        text.split([',', '}']).next().unwrap().parse::<i64>().unwrap()
    };
    assert_eq!(number("expires") - number("created"), 3600, "{row}");
    Outcome::Passed
}

pub fn lmtp(env: &Env) -> Outcome {
    let sink = Sink::start(Options { lmtp: true, ..Options::default() });
    let more = format!(
        "action \"user\" lmtp \"{0}\" userbase <users>\n\
         action \"address\" lmtp \"{0}\" rcpt-to userbase <users>\n\
         match from any for domain \"user.example\" action \"user\"\n\
         match from any for domain \"address.example\" action \"address\"\n",
        sink.addr
    );
    let daemon = daemon(env, "", &more);
    assert!(send(&daemon, "jim@user.example").starts_with("250"));
    assert!(send(&daemon, "jim@address.example").starts_with("250"));
    daemon.drained();
    let mails = sink.wait(2);
    let rcpts: Vec<&String> = mails.iter().flat_map(|m| &m.rcpts).collect();
    assert!(rcpts.iter().any(|r| *r == "RCPT TO:<jim>"), "{rcpts:?}");
    assert!(rcpts.iter().any(|r| *r == "RCPT TO:<jim@address.example>"), "{rcpts:?}");
    assert!(mails.iter().all(|m| m.text.ends_with(WANT)), "{}", daemon.log());
    assert!(sink.commands().iter().any(|c| c.starts_with("LHLO our.example")));
    Outcome::Passed
}

pub fn retries(env: &Env) -> Outcome {
    let sink = scripted(|e| match (e.stage, e.line) {
        (Stage::Rcpt, "RCPT TO:<x@far.example>") => {
            static TIMES: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
            match TIMES.fetch_add(1, std::sync::atomic::Ordering::SeqCst) {
                0..=2 => Action::Say("451 4.7.1 come back later"),
                _ => Action::Usual,
            }
        }
        _ => Action::Usual,
    });
    let daemon = via(env, &sink);
    send(&daemon, "x@far.example");
    assert_eq!(sink.wait(1).len(), 1);
    daemon.drained();
    let log = daemon.log();
    assert_eq!(log.matches("result=later").count(), 3, "{log}");
    assert!(files(&env.dir.join("mail/joe")).is_empty(), "{log}");
    Outcome::Passed
}

pub fn failure(env: &Env) -> Outcome {
    let sink = scripted(|e| match e.line {
        "RCPT TO:<no@far.example>" => Action::Say("550 5.1.1 no such <user>"),
        _ => Action::Usual,
    });
    let daemon = via(env, &sink);
    let mut client = Client::connect(daemon.address("smtp", 0));
    client.ask("MAIL FROM:<joe@example.com> RET=HDRS ENVID=abc");
    client.ask("RCPT TO:<no@far.example>");
    client.ask("RCPT TO:<yes@far.example>");
    client.ask("DATA");
    assert!(client.ask(&format!("{TEXT}.")).starts_with("250"));
    let text = report(env, &daemon);
    assert_eq!(sink.mails()[0].rcpts, ["RCPT TO:<yes@far.example>"]);
    for line in [
        "Return-Path: <>",
        "Content-Type: multipart/report; report-type=delivery-status;",
        "Auto-Submitted: auto-replied",
        "Final-Recipient: rfc822; no@far.example",
        "Action: failed",
        "Status: 5.1.1",
        "Original-Envelope-Id: abc",
        "Subject: out",
    ] {
        assert!(text.lines().any(|l| l == line), "{line}\n{text}");
    }
    assert!(text.contains("550 5.1.1 no such"), "{text}");
    assert!(!text.contains("\nbye\n") && !text.contains("yes@far.example"), "{text}");
    Outcome::Passed
}

pub fn never_twice(env: &Env) -> Outcome {
    let sink = scripted(|e| match e.stage {
        Stage::Mail => Action::Say("550 5.7.1 no"),
        _ => Action::Usual,
    });
    let daemon = via(env, &sink);
    Client::connect(daemon.address("smtp", 0)).post("", "x@far.example", TEXT);
    daemon.drained();
    // a sender far away: the report fails there, and nothing answers it
    Client::connect(daemon.address("smtp", 0)).post("a@far.example", "x@far.example", TEXT);
    daemon.drained();
    let reports = sink.commands().iter().filter(|c| c.starts_with("MAIL FROM:<>")).count();
    assert_eq!(reports, 2, "{:?}", sink.commands());
    assert!(sink.mails().is_empty());
    Outcome::Passed
}

pub fn expiry(env: &Env) -> Outcome {
    let sink = scripted(|e| match e.stage {
        Stage::Greeting => Action::Say("421 4.3.2 too busy"),
        _ => Action::Usual,
    });
    let relay = format!("host \"smtp://{}\" ttl 1s", sink.addr);
    let daemon = daemon(env, &relay, "bounce warn-interval 200ms\n");
    send(&daemon, "x@far.example");
    daemon.drained();
    let texts: Vec<String> = files(&env.dir.join("mail/joe"))
        .iter()
        .map(|f| std::fs::read_to_string(f).unwrap())
        .collect();
    let of = |action: &str| texts.iter().filter(|t| t.contains(action)).count();
    assert_eq!((of("\nAction: delayed"), of("\nAction: failed")), (1, 1), "{}", daemon.log());
    assert!(texts.iter().any(|t| t.contains("\nStatus: 5.4.7")), "{texts:?}");
    assert!(texts.iter().all(|t| t.contains("too busy")));
    Outcome::Passed
}

pub fn lost_connections(env: &Env) -> Outcome {
    let sink = scripted(|e| match (e.stage, e.connection) {
        (Stage::Data, 0) | (Stage::End, 1) => Action::Close,
        _ => Action::Usual,
    });
    let daemon = via(env, &sink);
    send(&daemon, "x@far.example");
    assert_eq!(sink.wait(1).len(), 1);
    daemon.drained();
    assert_eq!((sink.mails().len(), sink.connections()), (1, 3), "{}", daemon.log());
    Outcome::Passed
}

pub fn killed(env: &Env) -> Outcome {
    let sink = scripted(|e| match (e.stage, e.connection) {
        (Stage::Mail, 0) => Action::Say("451 4.3.0 later"),
        _ => Action::Usual,
    });
    let daemon = via(env, &sink);
    daemon.ctl_ok(&["pause", "mta"]);
    for n in 0..5 {
        assert!(send(&daemon, &format!("x{n}@far.example")).starts_with("250"));
    }
    for pid in daemon.pids("queue").into_iter().chain(daemon.pids("mta")) {
        let _ = std::process::Command::new("kill").arg("-9").arg(pid.to_string()).status();
    }
    // Nothing goes before the pause ends, and everything is still there.
    let two = || daemon.pids("queue").len() == 1 && daemon.pids("mta").len() == 1;
    assert!(eventually(Duration::from_secs(20), || daemon.log().contains("recovered messages=5")));
    assert!(eventually(Duration::from_secs(20), two), "{}", daemon.log());
    assert_eq!(sink.connections(), 0, "{}", daemon.log());
    daemon.ctl_ok(&["resume", "mta"]);
    let mut rcpts: Vec<String> = sink.wait(5).into_iter().flat_map(|m| m.rcpts).collect();
    daemon.drained();
    rcpts.sort();
    rcpts.dedup();
    assert_eq!(rcpts.len(), 5, "{}", daemon.log());
    Outcome::Passed
}

pub fn administered(env: &Env) -> Outcome {
    let sink = scripted(|_| Action::Usual);
    let daemon = via(env, &sink);
    daemon.ctl_ok(&["pause", "mta"]);
    send(&daemon, "a@far.example");
    send(&daemon, "b@far.example");
    let ids: Vec<String> = std::fs::read_dir(env.dir.join("spool/queue"))
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(ids.len(), 2);
    let shown = daemon.ctl_ok(&["show", "queue"]);
    assert!(ids.iter().all(|id| shown.contains(id.as_str())) && shown.contains("a@far.example"));
    assert!(daemon.ctl_ok(&["show", "message", &ids[0]]).ends_with(WANT));
    let envelope = daemon.ctl_ok(&["show", "envelope", &format!("{}.1", ids[0])]);
    assert!(envelope.contains("action: out"), "{envelope}");
    daemon.ctl_ok(&["hold", &ids[0]]);
    daemon.ctl_ok(&["remove", &ids[1]]);
    daemon.ctl_ok(&["resume", "mta"]);
    daemon.ctl_ok(&["schedule", "all"]);
    assert!(daemon.ctl_ok(&["show", "queue"]).contains("held"));
    assert_eq!(sink.connections(), 0);
    daemon.ctl_ok(&["release", &ids[0]]);
    sink.wait(1);
    daemon.drained();
    assert_eq!(sink.mails().len(), 1);
    assert!(!daemon.ctl(&["show", "message", &ids[0]]).status.success());
    Outcome::Passed
}

pub fn full_disk(env: &Env) -> Outcome {
    let sink = scripted(|_| Action::Usual);
    let relay = format!("host \"smtp://{}\"", sink.addr);
    let daemon = daemon(env, &relay, "limit queue-free-files 4000000000\n");
    let mut client = Client::connect(daemon.address("smtp", 0));
    client.ask("MAIL FROM:<joe@example.com>");
    client.ask("RCPT TO:<x@far.example>");
    let said = client.ask("DATA");
    assert!(said.starts_with("452 4.3.1"), "{said}");
    assert!(client.ask("NOOP").starts_with("250"));
    assert_eq!(std::fs::read_dir(env.dir.join("spool/incoming")).unwrap().count(), 0);
    Outcome::Passed
}

pub fn damaged(env: &Env) -> Outcome {
    let sink = scripted(|_| Action::Usual);
    let daemon = via(env, &sink);
    daemon.ctl_ok(&["pause", "mta"]);
    send(&daemon, "a@far.example");
    send(&daemon, "b@far.example");
    let dir = daemon.dir.clone();
    drop(daemon);
    let queue = dir.join("spool/queue");
    let mut names: Vec<_> = std::fs::read_dir(&queue).unwrap().map(|e| e.unwrap().path()).collect();
    names.sort();
    let file = std::fs::File::options().write(true).open(&names[0]).unwrap();
    file.set_len(2000).unwrap();
    let daemon = Daemon::launch(env, &dir);
    assert_eq!(sink.wait(1)[0].rcpts, ["RCPT TO:<b@far.example>"]);
    daemon.drained();
    assert!(dir.join("spool/bad").join(names[0].file_name().unwrap()).exists());
    assert!(daemon.log().contains("quarantine"), "{}", daemon.log());
    Outcome::Passed
}

pub fn other_key(env: &Env) -> Outcome {
    let sink = scripted(|_| Action::Usual);
    let keys = [
        "queue encryption \"12345678901234567890123456789012\"\n".to_owned(),
        format!("queue encryption {}\n", "ab".repeat(32)),
    ];
    let daemon = via(env, &sink);
    let dir = daemon.dir.clone();
    drop(daemon);
    let conf = dir.join("rmail.conf");
    let plain = std::fs::read_to_string(&conf).unwrap();
    let with = |key: &str| crate::daemon::write(&conf, format!("{plain}{key}"));
    for n in 0..keys.len() {
        with(&keys[n]);
        let daemon = Daemon::launch(env, &dir);
        daemon.ctl_ok(&["pause", "mta"]);
        send(&daemon, &format!("rcpt{n}@far.example"));
        drop(daemon);
        // Without the key, or with the other: it waits, and somebody is told.
        for key in ["", &keys[1 - n]] {
            with(key);
            let daemon = Daemon::launch(env, &dir);
            let stats = || daemon.ctl_ok(&["show", "stats"]);
            let told = || stats().lines().any(|l| l == "queue.unread=1");
            assert!(eventually(Duration::from_secs(30), told), "{}", daemon.log());
            assert!(daemon.log().contains("put back the key"), "{}", daemon.log());
        }
        with(&keys[n]);
        let daemon = Daemon::launch(env, &dir);
        assert_eq!(sink.wait(n + 1)[n].rcpts, [format!("RCPT TO:<rcpt{n}@far.example>")]);
        daemon.drained();
    }
    assert_eq!(std::fs::read_dir(dir.join("spool/bad")).unwrap().count(), 0);
    Outcome::Passed
}

/// Sinks at port 25 of addresses of this machine, where MX hosts are.
fn port_25(n: u8, options: Options) -> Option<Sink> {
    let addr = format!("127.0.0.{n}:25");
    std::net::TcpListener::bind(&addr).ok()?;
    Some(Sink::start_on(&addr, options))
}

/// The DNS and the rules know an internationalised domain by its A-labels, the
/// next server by what the sender wrote.
pub fn international(env: &Env) -> Outcome {
    let options = Options {
        script: Box::new(|e| match e.stage {
            Stage::Hello => Action::Say("250-sink.example\r\n250-8BITMIME\r\n250 SMTPUTF8"),
            _ => Action::Usual,
        }),
        ..Options::default()
    };
    let Some(sink) = port_25(78, options) else {
        return Outcome::Skipped("port 25 cannot be bound without root".into());
    };
    let dns = Dns::start(&[
        ("xn--bcher-kva.example", Record::Mx(10, "a.example")),
        ("a.example", Record::A(std::net::Ipv4Addr::new(127, 0, 0, 78))),
    ]);
    let rules = "match from any for domain \"xn--mller-kva.example\" action \"in\"\n";
    let daemon = daemon(env, "", &format!("resolver {}\n{rules}", dns.addr));
    let mail = |to: &str| {
        let mut client = Client::connect(daemon.address("smtp", 0));
        client.ask("EHLO client.example");
        client.ask("MAIL FROM:<joe@example.com> SMTPUTF8");
        let said = client.ask(&format!("RCPT TO:<{to}>"));
        assert!(said.starts_with("250"), "{to}: {said}");
        client.ask("DATA");
        let said = client.ask("Subject: x\r\n\r\nhello\r\n.");
        assert!(said.starts_with("250"), "{to}: {said}");
    };
    mail("joe@b\u{fc}cher.example");
    let rcpts = sink.wait(1)[0].rcpts.clone();
    assert_eq!(rcpts, ["RCPT TO:<joe@b\u{fc}cher.example>"]);
    mail("joe@m\u{fc}ller.example");
    mail("joe@xn--mller-kva.example");
    daemon.drained();
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 2, "{}", daemon.log());
    Outcome::Passed
}

pub fn mx(env: &Env) -> Outcome {
    let usual = Options::default;
    let (Some(a), Some(b)) = (port_25(71, usual()), port_25(72, usual())) else {
        return Outcome::Skipped("port 25 cannot be bound without root".into());
    };
    let ip = |n| Record::A(std::net::Ipv4Addr::new(127, 0, 0, n));
    let dns = Dns::start(&[
        ("order.example", Record::Mx(20, "b.example")),
        ("order.example", Record::Mx(10, "a.example")),
        ("order.example", Record::Mx(5, "dead.example")),
        ("a.example", ip(71)),
        ("b.example", ip(72)),
        ("dead.example", ip(73)),
        ("alias.example", Record::Cname("order.example")),
        ("implicit.example", ip(72)),
        ("null.example", Record::Mx(0, ".")),
        ("later.example", Record::Fail),
    ]);
    let daemon = daemon(env, "", &format!("resolver {}\n", dns.addr));
    send(&daemon, "1@order.example");
    assert_eq!(a.wait(1).len(), 1);
    send(&daemon, "2@alias.example");
    a.wait(2);
    send(&daemon, "3@implicit.example");
    assert_eq!(b.wait(1)[0].rcpts, ["RCPT TO:<3@implicit.example>"]);
    daemon.drained();
    assert!(files(&env.dir.join("mail/joe")).is_empty(), "{}", daemon.log());
    for (to, status) in [("4@null.example", "5.1.10"), ("5@nowhere.example", "5.1.2")] {
        send(&daemon, to);
        let text = report(env, &daemon);
        assert!(text.contains(&format!("\nStatus: {status}\n")), "{text}");
        for file in files(&env.dir.join("mail/joe")) {
            std::fs::remove_file(file).unwrap();
        }
    }
    // a host that is ourselves, under whatever name
    let own = |e: &crate::sink::Event<'_>| match e.stage {
        Stage::Hello => Action::Say("250-our.example\r\n250 PIPELINING"),
        _ => Action::Usual,
    };
    let own = port_25(74, Options { script: Box::new(own), ..Options::default() }).unwrap();
    dns.set("own.example", &[Record::Mx(5, "alias-of-ours.example")]);
    dns.set("alias-of-ours.example", &[ip(74)]);
    send(&daemon, "7@own.example");
    let text = report(env, &daemon);
    assert!(text.contains("\nStatus: 5.4.6\n"), "{text}");
    assert_eq!(own.connections(), 1);
    for file in files(&env.dir.join("mail/joe")) {
        std::fs::remove_file(file).unwrap();
    }
    // a server that fails is no answer: the message waits until there is one
    send(&daemon, "6@later.example");
    let log = || daemon.log().contains("6@later.example") && daemon.log().contains("4.4.3");
    assert!(eventually(Duration::from_secs(20), log), "{}", daemon.log());
    dns.set("later.example", &[Record::Mx(1, "a.example")]);
    a.wait(3);
    daemon.drained();
    assert!(files(&env.dir.join("mail/joe")).is_empty(), "{}", daemon.log());
    Outcome::Passed
}

pub fn compressed(env: &Env) -> Outcome {
    let daemon = daemon(env, "host \"smtp://127.0.0.1:1\"", "queue compression\n");
    let long = format!("{TEXT}{}", "a line of which there are many\r\n".repeat(20_000));
    post(&daemon, "joe@example.com", &long);
    daemon.drained();
    let all = files(&env.dir.join("mail/joe"));
    assert_eq!(all.len(), 1, "{}", daemon.log());
    let text = std::fs::read_to_string(&all[0]).unwrap();
    assert_eq!(text.matches("a line of which").count(), 20_000);
    Outcome::Passed
}
