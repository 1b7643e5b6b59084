//! TLS as clients meet it: the keys are in keyd, the certificates may change.

use crate::daemon::{certificate, eventually, Daemon};
use crate::{Env, Outcome, Test};
use rmail::base::clock::Deadline;
use rmail::base::line::LineReader;
use rmail::base::stream::Stream;
use rmail::base::tls::{certificates, Client, ClientConfig, Verify, Versions};
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "smtp-and-imap-with-keys-in-keyd", run: keys_in_keyd },
    Test { name: "sni-chooses-the-certificate", run: sni },
    Test { name: "what-comes-before-tls-is-no-command", run: injection },
    Test { name: "a-renewed-certificate-drops-no-session", run: renewal },
    Test { name: "handshakes-work-again-after-the-death-of-keyd", run: keyd_dies },
    Test { name: "a-starttls-session-meets-no-delayed-ack", run: no_delay },
    Test { name: "old-versions-and-unmatched-protocols-are-refused", run: refused },
    Test { name: "a-client-certificate-may-be-demanded", run: client_certificate },
    Test { name: "dhe-none-negotiates-no-finite-field", run: no_dhe },
];

const RULES: &str =
    "table users { joe = \"$2b$04$abcdefghijklmnopqrstuuvwxyzvwxyzabcdefghijklmnopqrstu\" }\n\
    action \"in\" maildir \"@DIR@/mail/%{dest.user}\"\n\
    match from any for domain \"example.com\" action \"in\"\n";

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(30))
}

/// A client in this dialogue.
struct Talk(LineReader);

impl Talk {
    fn to(addr: SocketAddr) -> Talk {
        let stream = Stream::connect(addr, None, soon()).expect("connect");
        Talk(LineReader::new(stream, Deadline::NEVER))
    }

    fn line(&mut self) -> String {
        let mut line = Vec::new();
        self.0.read_line(&mut line, 4096, soon()).expect("a line");
        String::from_utf8(line).expect("text")
    }

    /// An SMTP reply: its last line.
    fn reply(&mut self) -> String {
        loop {
            let line = self.line();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line;
            }
        }
    }

    fn say(&mut self, text: &str) -> String {
        self.0.put(format!("{text}\r\n").as_bytes());
        self.reply()
    }

    fn starttls(&mut self, client: &Client, name: &str) -> Result<(), String> {
        let info = self.0.start_tls_client(client, name, Verify::Yes, soon());
        info.map(|i| assert!(i.verified)).map_err(|e| e.to_string())
    }
}

/// A client that trusts these certificates.
fn trusting(files: &[&Path]) -> Client {
    let ca: Vec<_> = files
        .iter()
        .flat_map(|f| certificates(&std::fs::read(f).expect("read")).expect("certificates"))
        .collect();
    Client::new(&ClientConfig { ca: &ca, ..Default::default() }).expect("client")
}

fn pki(name: &str) -> String {
    format!("pki {name} cert \"@DIR@/{name}.pem\"\npki {name} key \"@DIR@/{name}.key\"\n")
}

fn keys_in_keyd(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 tls pki mx.example.com\n\
         listen on 127.0.0.1 port 0 smtps pki mx.example.com\n\
         listen on 127.0.0.1 port 0 imaps auth <users> pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let client = trusting(&[&cert]);
    let mut talk = Talk::to(daemon.address("smtp", 0));
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.say("EHLO client.example").starts_with("250 "));
    assert!(talk.say("STARTTLS").starts_with("220 "));
    talk.starttls(&client, "mx.example.com").expect("STARTTLS");
    assert!(talk.say("EHLO client.example").starts_with("250 "));
    assert!(talk.say("STARTTLS").starts_with("503 "), "TLS is active already");
    assert!(talk.say("QUIT").starts_with("221 "));
    let mut talk = Talk::to(daemon.address("smtps", 0));
    talk.starttls(&client, "mx.example.com").expect("smtps");
    assert!(talk.reply().starts_with("220 "));
    assert!(talk.say("QUIT").starts_with("221 "));
    let mut talk = Talk::to(daemon.address("imaps", 0));
    talk.starttls(&client, "mx.example.com").expect("imaps");
    assert!(talk.line().starts_with("* OK "));
    // The key is where it belongs: the process that signs is keyd.
    let stats = daemon.ctl_ok(&["show", "stats"]);
    let signed = stats.lines().find(|l| l.starts_with("keyd.signed")).unwrap_or("");
    assert!(signed.ends_with('3'), "keyd signed each handshake: {stats}");
    Outcome::Passed
}

fn sni(env: &Env) -> Outcome {
    let (a, _) = certificate(&env.dir, "a.example.com", &["a.example.com"]);
    let (b, _) = certificate(&env.dir, "b.example.com", &["b.example.com", "*.c.example.com"]);
    let config = format!(
        "{}{}{RULES}listen on 127.0.0.1 port 0 smtps pki a.example.com pki b.example.com\n",
        pki("a.example.com"),
        pki("b.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtps", 0);
    let client = trusting(&[&a, &b]);
    for name in ["a.example.com", "b.example.com", "x.c.example.com"] {
        Talk::to(addr).starttls(&client, name).expect(name);
    }
    assert!(Talk::to(addr).starttls(&client, "d.example.com").is_err(), "shown the first");
    Outcome::Passed
}

fn injection(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 tls pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let mut talk = Talk::to(daemon.address("smtp", 0));
    talk.reply();
    talk.say("EHLO client.example");
    // CVE-2011-0411: what stands behind STARTTLS in the same segment was
    // written by somebody who is not the client.  Closing is as good an answer
    // as forgetting it.
    talk.0.put(b"STARTTLS\r\nNOOP\r\nNOOP\r\n");
    if talk.reply().starts_with("220 ") {
        if talk.starttls(&trusting(&[&cert]), "mx.example.com").is_err() {
            return Outcome::Passed;
        }
        // The first reply is that to our own command and no other's.
        assert!(talk.say("HELP").starts_with("214 "), "an injected command was answered");
    }
    Outcome::Passed
}

fn renewal(env: &Env) -> Outcome {
    let (old, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 smtps pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtps", 0);
    let trusted = trusting(&[&old]);
    let mut session = Talk::to(addr);
    session.starttls(&trusted, "mx.example.com").expect("old");
    assert!(session.reply().starts_with("220 "));
    let (new, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    daemon.ctl_ok(&["reload"]);
    let renewed = trusting(&[&new]);
    let shown = || Talk::to(addr).starttls(&renewed, "mx.example.com").is_ok();
    assert!(eventually(Duration::from_secs(20), shown), "{}", daemon.log());
    assert!(Talk::to(addr).starttls(&trusted, "mx.example.com").is_err(), "the old one is gone");
    assert!(session.say("NOOP").starts_with("250 "), "the session was dropped");
    Outcome::Passed
}

fn keyd_dies(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 smtps pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtps", 0);
    let client = trusting(&[&cert]);
    let mut session = Talk::to(addr);
    session.starttls(&client, "mx.example.com").expect("before");
    session.reply();
    let pid = daemon.pids("keyd")[0];
    assert!(Command::new("kill").arg("-9").arg(pid.to_string()).status().expect("kill").success());
    let works = || Talk::to(addr).starttls(&client, "mx.example.com").is_ok();
    assert!(eventually(Duration::from_secs(30), works), "{}", daemon.log());
    assert!(session.say("NOOP").starts_with("250 "));
    Outcome::Passed
}

/// A peer whose every step met Nagle and delayed acknowledgement would take 40
/// ms and more for each; the best of some tries must be far below one such.
fn no_delay(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 tls pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtp", 0);
    let client = trusting(&[&cert]);
    // Delayed acknowledgement costs each of them 40 ms; other work of the machine
    // not all.
    let mut best = Duration::MAX;
    let limit = Duration::from_millis(40);
    for n in 0..200 {
        if n >= 10 && best < limit {
            break;
        }
        let begun = Instant::now();
        let mut talk = Talk::to(addr);
        talk.reply();
        talk.say("EHLO client.example");
        talk.say("STARTTLS");
        talk.starttls(&client, "mx.example.com").expect("STARTTLS");
        talk.say("EHLO client.example");
        talk.say("NOOP");
        talk.say("QUIT");
        best = best.min(begun.elapsed());
    }
    assert!(best < limit, "{best:?}");
    Outcome::Passed
}

fn refused(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}{RULES}listen on 127.0.0.1 port 0 smtps pki mx.example.com protocols \"tlsv1.3\"\n\
         listen on 127.0.0.1 port 0 imaps auth <users> pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let ca = certificates(&std::fs::read(&cert).expect("read")).expect("certificates");
    let versions = Versions { v1_2: true, v1_3: false };
    let old = Client::new(&ClientConfig { ca: &ca, versions, ..Default::default() });
    let old = old.expect("client");
    assert!(Talk::to(daemon.address("smtps", 0)).starttls(&old, "mx.example.com").is_err());
    // A browser that was led to this port offers http and must get nowhere.
    let offer = |protocol: &str| {
        let addr = daemon.address("imaps", 0).to_string();
        let out = Command::new("openssl")
            .args(["s_client", "-connect", &addr, "-alpn", protocol, "-verify_quiet"])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl");
        out.status.success()
    };
    assert!(offer("imap"), "imap is ours");
    assert!(!offer("http/1.1"), "http is not");
    Outcome::Passed
}

/// RFC 5246 has suites with finite-field Diffie-Hellman: a client that knows no
/// other gets no session, even where the list of ciphers would have them.
fn no_dhe(env: &Env) -> Outcome {
    certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let config = format!(
        "{}pki mx.example.com dhe none\n{RULES}\
         listen on 127.0.0.1 port 0 smtps pki mx.example.com ciphers \"kDHE:kECDHE\"\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtps", 0).to_string();
    let offer = |suites: &str| {
        let out = Command::new("openssl")
            .args(["s_client", "-connect", &addr, "-tls1_2", "-cipher", suites, "-brief"])
            .stdin(std::process::Stdio::null())
            .output()
            .expect("openssl");
        let said = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
        (out.status.success(), said)
    };
    let (done, said) = offer("kECDHE");
    assert!(done && said.contains("Ciphersuite: ECDHE-RSA-"), "{said}");
    // Refused by the server, and not for want of suites in the client.
    let (done, said) = offer("kDHE");
    assert!(!done && said.contains("alert handshake failure"), "{said}");
    Outcome::Passed
}

fn client_certificate(env: &Env) -> Outcome {
    let (cert, _) = certificate(&env.dir, "mx.example.com", &["mx.example.com"]);
    let (shown, key) = certificate(&env.dir, "friend.example", &["friend.example"]);
    let config = format!(
        "{}ca friends cert \"@DIR@/friend.example.pem\"\n{RULES}\
         listen on 127.0.0.1 port 0 smtps verify ca friends pki mx.example.com\n",
        pki("mx.example.com")
    );
    let daemon = Daemon::start(env, &config);
    let addr = daemon.address("smtps", 0);
    let ca = certificates(&std::fs::read(&cert).expect("read")).expect("certificates");
    let read = |path: &Path| std::fs::read(path).expect("read");
    let identity = rmail::base::tls::Identity::from_pem(&read(&shown), &read(&key));
    let identity = Some(identity.expect("identity"));
    let friend = Client::new(&ClientConfig { ca: &ca, identity, ..Default::default() });
    let mut talk = Talk::to(addr);
    talk.starttls(&friend.expect("client"), "mx.example.com").expect("a friend");
    assert!(talk.reply().starts_with("220 "));
    // With TLS 1.3 a client learns of the refusal when it reads.
    let mut stranger = Talk::to(addr);
    let handshake = stranger.starttls(&trusting(&[&cert]), "mx.example.com");
    let mut line = Vec::new();
    let refused = handshake.is_err() || stranger.0.read_line(&mut line, 512, soon()).is_err();
    assert!(refused, "a client without a certificate was greeted");
    Outcome::Passed
}
