//! What actions and the statements around them say is what becomes of mail.

use super::post::{self, files, post, Client};
use crate::daemon::{certificate, eventually, write, Daemon};
use crate::dns::{Dns, Record};
use crate::sink::{Action, Options, Sink};
use crate::{Env, Outcome};
use openssl::ssl::{SslContext, SslFiletype, SslMethod};
use std::net::Ipv4Addr;
use std::time::Duration;

const TEXT: &str = "Subject: x\r\n\r\nx\r\n";

fn usual() -> Sink {
    Sink::start(Options::default())
}

/// The answer to RCPT.
fn rcpt(daemon: &Daemon, to: &str) -> String {
    let mut client = Client::connect(daemon.address("smtp", 0));
    client.ask("MAIL FROM:<a@sender.example>");
    client.ask(&format!("RCPT TO:<{to}>"))
}

/// Who is no alias, or one for the wrong kind of place, is refused in the
/// dialogue.
pub fn expansion_alone(env: &Env) -> Outcome {
    let sink = usual();
    write(&env.dir.join("more"), "far@far.example\n# a comment\nother@far.example\n");
    let rules = format!(
        "table aliases {{ file = \"/dev/null/none\", far = \"x@far.example\", \
                          \"local\" = \"joe\", many = \":include:@DIR@/more\" }}\n\
         action \"files\" expand-only alias <aliases>\n\
         action \"away\" forward-only alias <aliases>\n\
         action \"out\" relay host \"smtp://{}\"\n\
         match from any for domain \"expand.example\" action \"files\"\n\
         match from any for domain \"forward.example\" action \"away\"\n\
         match from any for domain \"far.example\" action \"out\"\n",
        sink.addr
    );
    let daemon = post::daemon(env, "", &rules);
    for (to, begins) in [
        ("file@expand.example", "250"),
        ("local@expand.example", "550"),
        ("nobody@expand.example", "550"),
        ("far@forward.example", "250"),
        ("local@forward.example", "550"),
        ("file@forward.example", "550"),
        ("nobody@forward.example", "550"),
        ("many@forward.example", "250"),
    ] {
        let said = rcpt(&daemon, to);
        assert!(said.starts_with(begins), "{to}: {said}\n{}", daemon.log());
    }
    post(&daemon, "far@forward.example", TEXT);
    post(&daemon, "many@forward.example", TEXT);
    let mails = sink.wait(2);
    daemon.drained();
    let mut rcpts: Vec<String> = mails.iter().flat_map(|m| m.rcpts.clone()).collect();
    rcpts.sort();
    let expected = ["far", "other", "x"].map(|name| format!("RCPT TO:<{name}@far.example>"));
    assert_eq!(rcpts, expected);
    Outcome::Passed
}

pub fn sub_addr_delim(env: &Env) -> Outcome {
    let daemon = post::daemon(env, "", "smtp sub-addr-delim \"-\"\n");
    post(&daemon, "joe-lists@example.com", TEXT);
    daemon.drained();
    assert_eq!(files(&env.dir.join("mail/joe")).len(), 1, "{}", daemon.log());
    assert!(rcpt(&daemon, "joe+lists@example.com").starts_with("550"));
    Outcome::Passed
}

/// Relays: by domain, several in turn, and encrypted to whom nobody vouches for.
pub fn relays(env: &Env) -> Outcome {
    let (cert, key) = certificate(&env.dir, "sink", &["sink.invalid"]);
    let mut tls = SslContext::builder(SslMethod::tls_server()).unwrap();
    tls.set_certificate_file(&cert, SslFiletype::PEM).unwrap();
    tls.set_private_key_file(&key, SslFiletype::PEM).unwrap();
    let (one, two) = (usual(), usual());
    let sealed = Sink::start(Options { tls: Some(tls.build()), ..Options::default() });
    let bare = usual();
    let rules = format!(
        "queue retry remote 100ms\n\
         table routes {{ \"one.example\" = \"smtp://{one}\", \"two.example\" = \"smtp://{two}\" }}\n\
         action \"by-domain\" relay domain <routes>\n\
         action \"either\" relay host {{ \"smtp://127.0.0.1:1\", \"smtp://{two}\" }}\n\
         action \"sealed\" relay tls no-verify host \"{sealed}\"\n\
         action \"vouched\" relay tls host \"{sealed}\"\n\
         action \"bare\" relay tls no-verify host \"{bare}\"\n\
         match from any for domain {{ \"one.example\", \"two.example\" }} action \"by-domain\"\n\
         match from any for domain \"either.example\" action \"either\"\n\
         match from any for domain \"sealed.example\" action \"sealed\"\n\
         match from any for domain \"vouched.example\" action \"vouched\"\n\
         match from any for domain \"bare.example\" action \"bare\"\n",
        one = one.addr,
        two = two.addr,
        sealed = sealed.addr,
        bare = bare.addr,
    );
    let daemon = post::daemon(env, "", &rules);
    post(&daemon, "a@one.example", TEXT);
    assert_eq!(one.wait(1)[0].rcpts, ["RCPT TO:<a@one.example>"]);
    post(&daemon, "a@two.example", TEXT);
    assert_eq!(two.wait(1)[0].rcpts, ["RCPT TO:<a@two.example>"]);
    for n in 2..=5 {
        post(&daemon, "a@either.example", TEXT);
        two.wait(n);
    }
    post(&daemon, "a@sealed.example", TEXT);
    assert!(sealed.wait(1)[0].tls);
    daemon.drained();
    post(&daemon, "a@vouched.example", TEXT);
    post(&daemon, "a@bare.example", TEXT);
    let waits =
        |to: &str| daemon.log().lines().any(|l| l.contains(to) && l.contains("result=later"));
    for to in ["<a@vouched.example>", "<a@bare.example>"] {
        assert!(eventually(Duration::from_secs(20), || waits(to)), "{to}\n{}", daemon.log());
    }
    assert!(sealed.mails().len() == 1 && bare.mails().is_empty());
    Outcome::Passed
}

/// A backup MX passes mail to hosts that are better than itself only.
pub fn backup(env: &Env) -> Outcome {
    let listen = |n: u8| {
        let addr = format!("127.0.0.{n}:25");
        std::net::TcpListener::bind(&addr).ok()?;
        Some(Sink::start_on(&addr, Options::default()))
    };
    let (Some(better), Some(worse)) = (listen(81), listen(82)) else {
        return Outcome::Skipped("port 25 cannot be bound without root".into());
    };
    let ip = |n| Record::A(Ipv4Addr::new(127, 0, 0, n));
    let dns = Dns::start(&[
        ("kept.example", Record::Mx(10, "better.example")),
        ("kept.example", Record::Mx(20, "backup.example")),
        ("kept.example", Record::Mx(30, "worse.example")),
        ("ours.example", Record::Mx(10, "backup.example")),
        ("better.example", ip(83)),
        ("backup.example", ip(84)),
        ("worse.example", ip(82)),
    ]);
    let rules = format!(
        "resolver {}\nhostname \"our.example\"\nqueue retry remote 100ms\n\
         action \"keep\" relay backup mx \"backup.example\"\n\
         match from any for domain {{ \"kept.example\", \"ours.example\" }} action \"keep\"\n",
        dns.addr
    );
    let daemon = post::daemon(env, "", &rules);
    // The better one is away: the message waits and does not go to the worse.
    post(&daemon, "a@kept.example", TEXT);
    let waits = || daemon.log().contains("result=later");
    assert!(eventually(Duration::from_secs(20), waits), "{}", daemon.log());
    dns.set("better.example", &[ip(81)]);
    better.wait(1);
    daemon.drained();
    assert!(worse.mails().is_empty());
    // A host that has IPv6 alone.
    if let Ok(free) = std::net::TcpListener::bind("[::1]:25") {
        drop(free);
        let six = Sink::start_on("[::1]:25", Options::default());
        dns.set("kept.example", &[Record::Mx(10, "six.example"), Record::Mx(20, "backup.example")]);
        dns.set("six.example", &[Record::Aaaa(std::net::Ipv6Addr::LOCALHOST)]);
        post(&daemon, "b@kept.example", TEXT);
        assert_eq!(six.wait(1)[0].rcpts, ["RCPT TO:<b@kept.example>"]);
        daemon.drained();
    }
    // Who is the best himself would send it round.
    let said =
        Client::connect(daemon.address("smtp", 0)).post("joe@example.com", "a@ours.example", TEXT);
    assert!(said.starts_with("250"), "{said}");
    daemon.drained();
    let back = files(&env.dir.join("mail/joe"));
    let text = std::fs::read_to_string(&back[0]).unwrap();
    assert!(text.contains("\nStatus: 5.4.6\n"), "{text}");
    Outcome::Passed
}

/// Local deliveries at a time, and how long the queue tries.
pub fn limits(env: &Env) -> Outcome {
    let id = post::user();
    std::fs::create_dir_all(env.dir.join("home")).unwrap();
    let script = env.dir.join("once");
    let dir = env.dir.join("home");
    // Two at once find each other's directory.
    write(
        &script,
        format!(
            "#!/bin/sh\ncat >/dev/null\nmkdir {0}/busy || echo x >>{0}/met\nsleep 0.2\n\
             rmdir {0}/busy\necho x >>{0}/done\n",
            dir.display()
        ),
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rules = format!(
        "mda limit max-session 1\nqueue ttl 1s\nqueue retry remote 200ms\n\
         bounce warn-interval 1h\n\
         table four {{ a = \"{id}:{id}:@DIR@/home\", b = \"{id}:{id}:@DIR@/home\", \
                       c = \"{id}:{id}:@DIR@/home\", d = \"{id}:{id}:@DIR@/home\" }}\n\
         action \"run\" mda \"{}\" userbase <four>\n\
         action \"dead\" relay host \"smtp://127.0.0.1:1\"\n\
         match from any for domain \"run.example\" action \"run\"\n\
         match from any for domain \"dead.example\" action \"dead\"\n",
        script.display()
    );
    let daemon = post::daemon(env, "", &rules);
    for user in ["a", "b", "c", "d"] {
        post(&daemon, &format!("{user}@run.example"), TEXT);
    }
    daemon.drained();
    let count = |name| std::fs::read_to_string(dir.join(name)).map_or(0, |t| t.lines().count());
    assert_eq!((count("done"), count("met")), (4, 0), "{}", daemon.log());
    // queue ttl
    let said =
        Client::connect(daemon.address("smtp", 0)).post("joe@example.com", "a@dead.example", TEXT);
    assert!(said.starts_with("250"), "{said}");
    daemon.drained();
    let back = files(&env.dir.join("mail/joe"));
    assert_eq!(back.len(), 1, "{}", daemon.log());
    let text = std::fs::read_to_string(&back[0]).unwrap();
    assert!(text.contains("\nStatus: 5.4.7\n"), "{text}");
    Outcome::Passed
}

/// Deliveries of one user at a time, while another's go on.
pub fn limits_of_a_user(env: &Env) -> Outcome {
    let id = post::user();
    let dir = env.dir.join("home");
    std::fs::create_dir_all(&dir).unwrap();
    let script = env.dir.join("once");
    // It says that it has begun, and ends when it may.
    write(
        &script,
        format!(
            "#!/bin/sh\ncat >/dev/null\ncd {}\necho x >>begun-$1\n\
             until test -e go-$1; do sleep 0.05; done\necho x >>done-$1\n",
            dir.display()
        ),
    );
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let rules = format!(
        "mda limit max-session-per-user 2\n\
         table both {{ a = \"{id}:{id}:@DIR@/home\", b = \"{id}:{id}:@DIR@/home\" }}\n\
         action \"run\" mda \"{} %{{user.username}}\" userbase <both>\n\
         match from any for domain \"run.example\" action \"run\"\n",
        script.display()
    );
    let daemon = post::daemon(env, "", &rules);
    let count = |name| std::fs::read_to_string(dir.join(name)).map_or(0, |t| t.lines().count());
    let soon = Duration::from_secs(20);
    for _ in 0..4 {
        post(&daemon, "a@run.example", TEXT);
    }
    assert!(eventually(soon, || count("begun-a") == 2), "{}", daemon.log());
    // One who came later is not held up, nor does his going let a third of a's begin.
    std::fs::write(dir.join("go-b"), "").unwrap();
    post(&daemon, "b@run.example", TEXT);
    assert!(eventually(soon, || count("done-b") == 1), "{}", daemon.log());
    assert_eq!(count("begun-a"), 2, "{}", daemon.log());
    std::fs::write(dir.join("go-a"), "").unwrap();
    daemon.drained();
    assert_eq!(count("done-a"), 4, "{}", daemon.log());
    Outcome::Passed
}

/// When a host answers again, so many of what waits for it are tried at once.
pub fn max_deferred(env: &Env) -> Outcome {
    let sink = Sink::start(Options {
        script: Box::new(|e| match e.line.starts_with("RCPT TO:<later") {
            true => Action::Say("451 4.2.0 later"),
            false => Action::Usual,
        }),
        ..Options::default()
    });
    let rules = format!(
        "mta max-deferred 2\nqueue retry remote 1h\n\
         action \"out\" relay host \"smtp://{}\"\n\
         match from any for domain \"far.example\" action \"out\"\n",
        sink.addr
    );
    let daemon = post::daemon(env, "", &rules);
    for n in 0..5 {
        post(&daemon, &format!("later{n}@far.example"), TEXT);
    }
    let tried = |n| move |log: String| log.matches("result=later").count() == n;
    assert!(eventually(Duration::from_secs(20), || tried(5)(daemon.log())), "{}", daemon.log());
    post(&daemon, "taken@far.example", TEXT);
    sink.wait(1);
    assert!(eventually(Duration::from_secs(20), || tried(7)(daemon.log())), "{}", daemon.log());
    daemon.ctl_ok(&["wait", "idle", "60"]);
    assert!(tried(7)(daemon.log()), "{}", daemon.log());
    Outcome::Passed
}
