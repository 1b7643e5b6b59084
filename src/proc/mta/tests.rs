//! Jobs from a played queue, by the answers of a played lookup, to real sinks.

use super::*;
use crate::base::testcert;
use crate::disk::spool::body::BodyWriter;
use crate::disk::spool::head::{Key as BodyKey, HEAD};
use crate::disk::testdir::TestDir;
use crate::ipc::mta_lookup::{
    Answer as LookupAnswer, Ask as LookupAsk, Credentials, Host, Route, Scheme,
};
use crate::ipc::queue_mta::{Body, Job, Outcome, Rcpt, Report};
use crate::proto::secret::Secret;
use crate::sys::fdpass;
use openssl::ssl::{SslContext, SslMethod};
use sink::{Action, Event, Options, Sink, Stage};
use std::os::fd::AsFd;
use std::sync::mpsc::{channel, Receiver, Sender};
use std::time::Duration;

#[path = "../../../regress/tool/sink.rs"]
mod sink;

type Routes = Box<dyn Fn(&str) -> Result<Route, mta_lookup::NoRoute> + Send + Sync>;

/// Answers as lookup would.
struct Lookup(Routes);

impl Serve for Lookup {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let answer = match LookupAsk::from_bytes(&payload).unwrap() {
            LookupAsk::Route { domain, .. } => LookupAnswer::Route { route: (self.0)(&domain) },
            LookupAsk::Credentials { label, .. } => {
                let password = Secret::new(b"secret".to_vec());
                let found = Some(Credentials { user: label, password });
                LookupAnswer::Credentials { found: Ok(found) }
            }
            LookupAsk::Helo { .. } => LookupAnswer::Helo { name: Ok(Some("by.table".into())) },
            LookupAsk::Socket { .. } => LookupAnswer::Socket { asked: Err("no".into()) },
        };
        back.reply(&answer, None);
    }
    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// Keeps reports, and the jobs of greetings.
struct Queue(Mutex<(Sender<Reports>, Sender<Vec<u64>>)>);

/// Some of a job, and whether they are the last.
type Reports = (Vec<Report>, bool);

impl Serve for Queue {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let to = lock::lock(&self.0);
        match Ask::from_bytes(&payload).unwrap() {
            Ask::Report { results, last, .. } => to.0.send((results, last)).unwrap(),
            // A test that does not want them is over early.
            Ask::Hello { jobs, .. } => drop(to.1.send(jobs)),
        }
        back.reply(&Answer::Recorded, None);
    }
    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

struct Mta {
    queue: Peer<Down, ()>,
    _lookup: Peer<(), LookupAnswer>,
    reports: Receiver<Reports>,
    hellos: Receiver<Vec<u64>>,
    shared: Arc<Shared>,
    dir: TestDir,
}

const CONFIG: &str = "action \"out\" relay\n\
    action \"tls\" relay tls\n\
    action \"named\" relay mail-from \"list@our.example\"\n\
    limit mta-command-time 2s\nlimit mta-end-time 2s\nlimit mta-connect-time 2s\n";

impl Mta {
    fn new(routes: Routes, authorities: &[X509]) -> Mta {
        let part = Part { generation: 1, text: CONFIG.as_bytes().to_vec(), files: Vec::new() };
        let snapshot = Snapshot::build(&part, "our.example", authorities).unwrap();
        let server = Arc::new(Server::default());
        let serve = Arc::clone(&server) as Arc<dyn Serve>;
        let shared = Arc::new(Shared::new("our.example".into(), snapshot, serve));
        let pool = Pool::start("job", 4, 64).unwrap();
        assert!(server.0.set((Arc::clone(&shared), pool)).is_ok());
        let (to, reports) = channel();
        let (greet, hellos) = channel();
        let queue: Peer<Down, ()> = Peer::new("mta", Arc::new(Queue(Mutex::new((to, greet)))));
        let lookup: Peer<(), LookupAnswer> = Peer::new("mta", Arc::new(Lookup(routes)));
        let (a, b) = fdpass::socketpair().unwrap();
        queue.attach(a).unwrap();
        shared.queue.attach(b).unwrap();
        let (a, b) = fdpass::socketpair().unwrap();
        lookup.attach(a).unwrap();
        shared.lookup.attach(b).unwrap();
        Mta { queue, _lookup: lookup, reports, hellos, shared, dir: TestDir::new() }
    }

    fn to(sinks: &[(&Sink, Scheme)]) -> Mta {
        Mta::to_with(sinks, None, &[])
    }

    fn to_with(sinks: &[(&Sink, Scheme)], label: Option<&str>, cas: &[X509]) -> Mta {
        let hosts: Vec<Host> = sinks
            .iter()
            .map(|(sink, scheme)| Host {
                name: "mx.example".into(),
                addrs: vec![sink.addr.ip()],
                port: sink.addr.port(),
                scheme: *scheme,
                label: label.map(Into::into),
                preference: 0,
                authentic: false,
            })
            .collect();
        Mta::new(Box::new(move |_| Ok(Route { hosts: hosts.clone(), sources: vec![] })), cas)
    }

    /// Gives a job, and waits for the reports; the message is `text`.
    fn send(&self, text: &str, rcpts: &[&str], change: impl Fn(&mut Job)) -> Vec<Report> {
        self.give(text, rcpts, change);
        self.reported(rcpts.len())
    }

    /// Gives a job.
    fn give(&self, text: &str, rcpts: &[&str], change: impl Fn(&mut Job)) {
        let path = self.dir.path().join(format!("m{}", crate::sys::rand::u32()));
        let file = crate::sys::file::create_new(&path, 0o600).unwrap();
        file.set_len(HEAD as u64).unwrap();
        let key = BodyKey::random();
        let mut w = BodyWriter::new(file.try_clone().unwrap(), key.clone(), false);
        w.write(text.as_bytes()).unwrap();
        let end = w.finish().unwrap();
        let numbers = 1u32..;
        let mut job = Job {
            id: 1,
            qid: "000000000001".into(),
            action: "out".into(),
            domain: "example".into(),
            sender: "a@our.example".into(),
            smtputf8: false,
            eight_bit: false,
            ret_full: None,
            envid: None,
            rcpts: numbers
                .zip(rcpts)
                .map(|(number, r)| Rcpt { number, address: (*r).into(), notify: None, orcpt: None })
                .collect(),
            body: Body { key: *key.expose(), len: end.body, edits: vec![] },
        };
        change(&mut job);
        let down = Down::Job { job: Box::new(job) };
        self.queue
            .tell(&down, Some(file.as_fd()), Deadline::after(Duration::from_secs(20)))
            .unwrap();
    }

    /// The reports for so many recipients.
    fn reported(&self, n: usize) -> Vec<Report> {
        let mut all = Vec::new();
        loop {
            let (mut some, last) = self.reports.recv_timeout(Duration::from_secs(20)).unwrap();
            all.append(&mut some);
            if last {
                break;
            }
        }
        assert_eq!(all.len(), n, "each recipient is reported once: {all:?}");
        all.sort_by_key(|r| r.number);
        all
    }

    fn one(&self, change: impl Fn(&mut Job)) -> Report {
        self.send("Subject: x\r\n\r\nhi\r\n", &["x@example"], change).remove(0)
    }
}

fn plain(script: impl Fn(&Event<'_>) -> Action + Send + Sync + 'static) -> Sink {
    Sink::start(Options { script: Box::new(script), ..Options::default() })
}

fn context(made: &testcert::Made) -> SslContext {
    let mut b = SslContext::builder(SslMethod::tls_server()).unwrap();
    b.set_certificate(&made.cert).unwrap();
    b.set_private_key(&made.key).unwrap();
    b.build()
}

const DONE: Outcome = Outcome::Done { dsn: false };

#[test]
fn a_message_arrives_as_it_is_with_its_dots() {
    let sink = plain(|_| Action::Usual);
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let text = "Subject: x\r\n\r\n.\r\n..a\r\n.b\r\nlast";
    let reports = mta.send(text, &["x@example", "y@example"], |_| ());
    assert!(reports.iter().all(|r| r.result == DONE), "{reports:?}");
    assert!(reports[0].host.as_deref().unwrap().starts_with("mx.example [127.0.0.1]"));
    let mails = sink.wait(1);
    assert_eq!(mails[0].text, format!("{text}\r\n"));
    assert_eq!(mails[0].from, "MAIL FROM:<a@our.example> SIZE=30");
    assert_eq!(mails[0].rcpts, ["RCPT TO:<x@example>", "RCPT TO:<y@example>"]);
    assert_eq!(sink.commands()[0], "EHLO our.example");
}

#[test]
fn recipients_are_answered_one_by_one() {
    for offers in [vec!["PIPELINING"], vec![]] {
        let sink = Sink::start(Options {
            offers,
            script: Box::new(|e| match e.line {
                "RCPT TO:<no@example>" => Action::Say("550-5.1.1 no\r\n550 5.1.1 such user"),
                "RCPT TO:<later@example>" => Action::Say("451 4.2.1 later"),
                _ => Action::Usual,
            }),
            ..Options::default()
        });
        let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
        let to = ["no@example", "x@example", "later@example"];
        let reports = mta.send("\r\nhi\r\n", &to, |_| ());
        assert_eq!(reports[0].result, Outcome::Perm { subject: 1, detail: 1 });
        assert_eq!(reports[0].said, "550 5.1.1 no such user");
        assert_eq!(reports[1].result, DONE);
        assert_eq!(reports[2].result, Outcome::Temp { subject: 2, detail: 1 });
        assert_eq!(sink.mails().len(), 1);
    }
}

#[test]
fn the_next_host_is_tried_until_one_answers() {
    let dead = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = dead.local_addr().unwrap();
    drop(dead);
    let rude = plain(|e| match e.stage {
        Stage::Greeting => Action::Say("554 go away"),
        _ => Action::Usual,
    });
    let busy = plain(|e| match e.stage {
        Stage::Mail => Action::Say("451 4.3.2 busy"),
        _ => Action::Usual,
    });
    let breaks = plain(|e| match e.stage {
        Stage::Data => Action::Close,
        _ => Action::Usual,
    });
    let good = plain(|_| Action::Usual);
    let mut hosts: Vec<Host> = Vec::new();
    for addr in [addr, rude.addr, busy.addr, breaks.addr, good.addr] {
        hosts.push(Host {
            name: "mx.example".into(),
            addrs: vec![addr.ip()],
            port: addr.port(),
            scheme: Scheme::Smtp,
            label: None,
            preference: 0,
            authentic: false,
        });
    }
    let mta = Mta::new(Box::new(move |_| Ok(Route { hosts: hosts.clone(), sources: vec![] })), &[]);
    assert_eq!(mta.one(|_| ()).result, DONE);
    assert_eq!((good.mails().len(), breaks.connections()), (1, 1));
}

#[test]
fn a_host_that_says_yes_before_it_has_the_message_has_not_taken_it() {
    for answer in ["250 2.0.0 taken", "220 hello", "334 go on", "355 almost"] {
        let hasty = plain(move |e| match e.stage {
            Stage::Data => Action::Say(answer),
            _ => Action::Usual,
        });
        let mta = Mta::to(&[(&hasty, Scheme::Smtp)]);
        let report = mta.one(|_| ());
        assert_eq!(report.result, Outcome::Temp { subject: 4, detail: 2 }, "{answer}");
        assert!(report.said.contains("out of step"), "{answer}: {}", report.said);
        assert_eq!(hasty.connections(), 1, "{answer}: the connection is not used again");
        let good = plain(|_| Action::Usual);
        let both = Mta::to(&[(&hasty, Scheme::Smtp), (&good, Scheme::Smtp)]);
        assert_eq!(both.one(|_| ()).result, DONE, "{answer}");
        assert_eq!(good.mails().len(), 1, "{answer}");
    }
}

#[test]
fn a_connection_lost_after_the_final_dot_is_tried_later_and_nowhere_else() {
    let lost = plain(|e| match e.stage {
        Stage::End => Action::Close,
        _ => Action::Usual,
    });
    let other = plain(|_| Action::Usual);
    let mta = Mta::to(&[(&lost, Scheme::Smtp), (&other, Scheme::Smtp)]);
    let report = mta.one(|_| ());
    assert_eq!(report.result, Outcome::Temp { subject: 4, detail: 2 });
    assert_eq!(other.connections(), 0);
}

#[test]
fn hostile_replies_end_the_connection_and_are_temporary() {
    let replies: [&[u8]; 7] = [
        b"553-\r\n55\r\n",
        b"250-a\r\n550 b\r\n",
        b"2x0 a\r\n",
        b"\r\n",
        b"250 a\nb\r\n",
        b"250 \0\r\n",
        b"999 no\r\n",
    ];
    for reply in replies {
        let sink = plain(move |e| match e.stage {
            Stage::Mail => Action::Raw(reply),
            _ => Action::Usual,
        });
        let report = Mta::to(&[(&sink, Scheme::Smtp)]).one(|_| ());
        assert!(matches!(report.result, Outcome::Temp { .. }), "{reply:?} {report:?}");
        assert!(!report.said.contains(['\n', '\r', '\0']));
    }
}

#[test]
fn ehlo_falls_back_to_helo_and_nothing_is_assumed_then() {
    let sink = plain(|e| match e.stage {
        Stage::Hello => Action::Say("502 5.5.1 what?"),
        _ => Action::Usual,
    });
    assert_eq!(Mta::to(&[(&sink, Scheme::Smtp)]).one(|_| ()).result, DONE);
    assert_eq!(sink.commands()[1..3], ["HELO our.example", "MAIL FROM:<a@our.example>"]);
}

#[test]
fn size_utf8_and_addresses_are_looked_at_before_anything_is_sent() {
    let sink = Sink::start(Options { offers: vec!["SIZE 10"], ..Options::default() });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, Outcome::Perm { subject: 3, detail: 4 });
    let sink = Sink::start(Options { offers: vec![], ..Options::default() });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let never = |detail, subject| Outcome::Perm { subject, detail };
    let reports = mta.send("\r\nx\r\n", &["ä@example", "x\r\nDATA", "x@example"], |_| ());
    assert_eq!(reports[0].result, never(7, 6));
    assert_eq!(reports[1].result, never(3, 1));
    assert_eq!(reports[2].result, DONE);
    let reports = mta.send("Subject: ä\r\n\r\n", &["x@example"], |job| job.smtputf8 = true);
    assert_eq!(reports[0].result, never(7, 6));
    // the client asked for it and did not need it
    let reports = mta.send("Subject: a\r\n\r\n", &["x@example"], |job| job.smtputf8 = true);
    assert_eq!(reports[0].result, DONE);
    assert!(sink.commands().iter().all(|c| c != "DATA" || !c.contains('\n')));
}

#[test]
fn parameters_go_to_hosts_that_offer_them() {
    let offers = vec!["8BITMIME", "SMTPUTF8", "DSN"];
    let sink = Sink::start(Options { offers, ..Options::default() });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let report = mta.one(|job| {
        (job.eight_bit, job.smtputf8) = (true, true);
        (job.ret_full, job.envid) = (Some(false), Some("a+b c".into()));
        let notify = crate::ipc::smtp_queue::Notify { success: true, failure: false, delay: true };
        job.rcpts[0].notify = Some(notify);
        job.rcpts[0].orcpt = Some(("rfc822".into(), "x=y@example".into()));
    });
    assert_eq!(report.result, Outcome::Done { dsn: true });
    let mail = &sink.mails()[0];
    assert_eq!(
        mail.from,
        "MAIL FROM:<a@our.example> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+20c"
    );
    assert_eq!(mail.rcpts, ["RCPT TO:<x@example> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;x+3Dy@example"]);
}

#[test]
fn a_connection_is_used_again_and_a_dead_one_replaced() {
    let sink = plain(|e| match (e.stage, e.connection) {
        // the first connection dies when it is wanted a third time
        (Stage::Other, 0) if e.line == "RSET" => Action::Usual,
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    for _ in 0..3 {
        assert_eq!(mta.one(|_| ()).result, DONE);
    }
    assert_eq!((sink.mails().len(), sink.connections()), (3, 1));
    let counts = &mta.shared.counts;
    assert_eq!(counts.reused.load(Ordering::Relaxed), 2);
    let dies = plain(|e| if e.line == "RSET" { Action::Close } else { Action::Usual });
    let mta = Mta::to(&[(&dies, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, DONE);
    assert_eq!(mta.one(|_| ()).result, DONE);
    assert_eq!((dies.mails().len(), dies.connections()), (2, 2));
}

#[test]
fn the_host_says_how_many_recipients_a_transaction_takes() {
    let offers = vec!["PIPELINING", "LIMITS RCPTMAX=2"];
    let sink = Sink::start(Options { offers, ..Options::default() });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let to = ["a@example", "b@example", "c@example", "d@example", "e@example"];
    let reports = mta.send("\r\nhi\r\n", &to, |_| ());
    assert!(reports.iter().all(|r| r.result == DONE));
    let sizes: Vec<usize> = sink.mails().iter().map(|m| m.rcpts.len()).collect();
    assert_eq!(sizes, [2, 2, 1]);
}

#[test]
fn tls_is_used_where_offered_and_its_failure_costs_nothing() {
    let made = testcert::make(&["mx.example"], testcert::ec_key(), None);
    let sink = Sink::start(Options { tls: Some(context(&made)), ..Options::default() });
    assert_eq!(Mta::to(&[(&sink, Scheme::Smtp)]).one(|_| ()).result, DONE);
    assert!(sink.mails()[0].tls);
    // STARTTLS that leads nowhere: the next connection is in clear
    let broken = Sink::start(Options { offers: vec!["STARTTLS"], ..Options::default() });
    assert_eq!(Mta::to(&[(&broken, Scheme::Smtp)]).one(|_| ()).result, DONE);
    assert!(!broken.mails()[0].tls && broken.connections() == 2);
}

#[test]
fn tls_that_is_demanded_must_be_there_and_hold() {
    let ca = testcert::make(&[], testcert::ec_key(), None);
    let good = testcert::make(&["mx.example"], testcert::ec_key(), Some(&ca));
    let other = testcert::make(&["other.example"], testcert::ec_key(), Some(&ca));
    let own = testcert::make(&["mx.example"], testcert::ec_key(), None);
    let cas = [ca.cert.clone()];
    let sink = |made: &testcert::Made, implicit| {
        Sink::start(Options { tls: Some(context(made)), implicit, ..Options::default() })
    };
    for (scheme, implicit) in [(Scheme::SmtpTls, false), (Scheme::Smtps, true)] {
        let s = sink(&good, implicit);
        assert_eq!(Mta::to_with(&[(&s, scheme)], None, &cas).one(|_| ()).result, DONE);
        assert!(s.mails()[0].tls);
        for bad in [&other, &own] {
            let s = sink(bad, implicit);
            let report = Mta::to_with(&[(&s, scheme)], None, &cas).one(|_| ());
            assert_eq!(report.result, Outcome::Temp { subject: 7, detail: 5 }, "{report:?}");
            assert!(s.mails().is_empty());
        }
    }
    // `tls` of the action
    let s = sink(&good, false);
    let mta = Mta::to_with(&[(&s, Scheme::Smtp)], None, &cas);
    assert_eq!(mta.one(|job| job.action = "tls".into()).result, DONE);
    let clear = plain(|_| Action::Usual);
    let mta = Mta::to_with(&[(&clear, Scheme::Smtp)], None, &cas);
    let report = mta.one(|job| job.action = "tls".into());
    assert_eq!(report.result, Outcome::Temp { subject: 7, detail: 5 });
    // and never where it is forbidden
    let s = sink(&good, false);
    assert_eq!(Mta::to(&[(&s, Scheme::SmtpNoTls)]).one(|_| ()).result, DONE);
    assert!(!s.mails()[0].tls);
}

#[test]
fn bytes_after_the_reply_to_starttls_end_the_connection() {
    let made = testcert::make(&["mx.example"], testcert::ec_key(), None);
    let sink = Sink::start(Options {
        tls: Some(context(&made)),
        script: Box::new(|e| match e.stage {
            Stage::StartTls => Action::Raw(b"220 go\r\n250-evil.example\r\n250 AUTH PLAIN\r\n"),
            _ => Action::Usual,
        }),
        ..Options::default()
    });
    let report = Mta::to(&[(&sink, Scheme::Smtp)]).one(|_| ());
    assert_eq!(report.result, Outcome::Temp { subject: 5, detail: 0 }, "{report:?}");
}

#[test]
fn passwords_are_sent_inside_tls_only() {
    let ca = testcert::make(&[], testcert::ec_key(), None);
    let made = testcert::make(&["mx.example"], testcert::ec_key(), Some(&ca));
    let cas = [ca.cert.clone()];
    let offers = || vec!["AUTH LOGIN PLAIN"];
    let s =
        Sink::start(Options { offers: offers(), tls: Some(context(&made)), ..Options::default() });
    let mta = Mta::to_with(&[(&s, Scheme::SmtpTls)], Some("me"), &cas);
    assert_eq!(mta.one(|_| ()).result, DONE);
    assert_eq!(s.mails()[0].login.as_deref(), Some("AUTH PLAIN AG1lAHNlY3JldA=="));
    let clear = Sink::start(Options { offers: offers(), ..Options::default() });
    let mta = Mta::to_with(&[(&clear, Scheme::Smtp)], Some("me"), &cas);
    assert_eq!(mta.one(|_| ()).result, Outcome::Temp { subject: 7, detail: 5 });
    assert!(clear.commands().iter().all(|c| !c.starts_with("AUTH")));
}

#[test]
fn lmtp_answers_for_each_recipient() {
    let sink = Sink::start(Options {
        lmtp: true,
        script: Box::new(|e| match (e.stage, e.line) {
            (Stage::End, "RCPT TO:<full>") => Action::Say("452 4.2.2 full"),
            (Stage::End, "RCPT TO:<gone@example>") => Action::Say("550 5.1.1 gone"),
            _ => Action::Usual,
        }),
        ..Options::default()
    });
    let mta = Mta::to(&[(&sink, Scheme::Lmtp)]);
    let reports = mta.send("\r\nhi\r\n", &["joe", "full", "gone@example"], |_| ());
    assert_eq!(reports[0].result, DONE);
    assert_eq!(reports[1].result, Outcome::Temp { subject: 2, detail: 2 });
    assert_eq!(reports[2].result, Outcome::Perm { subject: 1, detail: 1 });
    assert_eq!(sink.commands()[0], "LHLO our.example");
}

#[test]
fn what_the_dns_says_for_good_is_permanent_and_the_rest_waits() {
    use mta_lookup::NoRoute;
    let routes: [(NoRoute, Outcome); 4] = [
        (NoRoute::NoDomain, Outcome::Perm { subject: 1, detail: 2 }),
        (NoRoute::NullMx, Outcome::Perm { subject: 1, detail: 10 }),
        (NoRoute::Loop, Outcome::Perm { subject: 4, detail: 6 }),
        (NoRoute::Temporary { why: "x".into() }, Outcome::Temp { subject: 4, detail: 3 }),
    ];
    for (no, outcome) in routes {
        let mta = Mta::new(Box::new(move |_| Err(no.clone())), &[]);
        assert_eq!(mta.one(|_| ()).result, outcome);
    }
    let sink = plain(|_| Action::Usual);
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let report = mta.one(|job| job.action = "gone".into());
    assert!(matches!(report.result, Outcome::Temp { .. }));
}

#[test]
fn mail_from_replaces_the_sender_but_not_the_null_path() {
    let sink = plain(|_| Action::Usual);
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    mta.one(|job| job.action = "named".into());
    mta.one(|job| (job.action, job.sender) = ("named".into(), String::new()));
    let from: Vec<String> = sink.mails().iter().map(|m| m.from.clone()).collect();
    assert!(from[0].starts_with("MAIL FROM:<list@our.example>"));
    assert!(from[1].starts_with("MAIL FROM:<>"));
}

#[test]
fn a_host_that_says_nothing_is_given_up_in_time() {
    let sink = plain(|e| match e.stage {
        Stage::Greeting => Action::Raw(b""),
        _ => Action::Usual,
    });
    let begun = std::time::Instant::now();
    let report = Mta::to(&[(&sink, Scheme::Smtp)]).one(|_| ());
    assert_eq!(report.result, Outcome::Temp { subject: 4, detail: 1 });
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_fresh_channel_is_told_of_the_jobs_at_work_and_gets_their_reports() {
    let (go, wait) = channel::<()>();
    let wait = Mutex::new(wait);
    let sink = plain(move |e| {
        if e.line.starts_with("MAIL") {
            lock::lock(&wait).recv().unwrap();
        }
        Action::Usual
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let soon = Duration::from_secs(20);
    assert_eq!(mta.hellos.recv_timeout(soon).unwrap(), [0u64; 0]);
    mta.give("Subject: x\r\n\r\nhi\r\n", &["x@example"], |job| job.id = 5);
    while sink.commands().is_empty() {
        std::thread::yield_now();
    }
    let (a, b) = fdpass::socketpair().unwrap();
    mta.queue.attach(a).unwrap();
    mta.shared.queue.attach(b).unwrap();
    assert_eq!(mta.hellos.recv_timeout(soon).unwrap(), [5]);
    go.send(()).unwrap();
    assert_eq!(mta.reported(1)[0].result, DONE);
}

#[test]
fn an_unfamiliar_refusal_is_for_its_recipient_or_message_alone() {
    let sink = plain(|e| match e.line {
        "RCPT TO:<no@example>" => Action::Say("571 5.7.1 message refused"),
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    let reports = mta.send("\r\nx\r\n", &["no@example", "x@example"], |_| ());
    assert_eq!(reports[0].result, Outcome::Perm { subject: 7, detail: 1 });
    assert_eq!(reports[1].result, DONE);
    let sink = plain(|e| match e.stage {
        Stage::End => Action::Say("571 no"),
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, Outcome::Perm { subject: 0, detail: 0 });
}

/// RFC 5321 4.5.3.1.10: temporary, and the rest goes in another transaction.
#[test]
fn recipients_that_are_too_many_are_in_the_next_transaction() {
    for (code, offers) in [("552", vec!["PIPELINING"]), ("452 4.5.3", vec![])] {
        let taken = std::sync::atomic::AtomicUsize::new(0);
        let refusal = if code == "552" { "552 too many recipients" } else { "452 4.5.3 too many" };
        let sink = Sink::start(Options {
            offers,
            script: Box::new(move |e| match e.stage {
                Stage::Mail => {
                    taken.store(0, Ordering::Relaxed);
                    Action::Usual
                }
                Stage::Rcpt if taken.fetch_add(1, Ordering::Relaxed) >= 2 => Action::Say(refusal),
                _ => Action::Usual,
            }),
            ..Options::default()
        });
        let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
        let to = ["a@example", "b@example", "c@example", "d@example", "e@example"];
        let reports = mta.send("\r\nx\r\n", &to, |_| ());
        assert!(reports.iter().all(|r| r.result == DONE), "{reports:?}");
        let mails = sink.mails();
        assert_eq!(mails.iter().map(|m| m.rcpts.len()).collect::<Vec<_>>(), [2, 2, 1]);
        assert!(mails.iter().all(|m| m.connection == 0));
    }
    // Nobody is taken: temporary.
    let sink = plain(|e| match e.stage {
        Stage::Rcpt => Action::Say("552 too many recipients"),
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, Outcome::Temp { subject: 5, detail: 3 });
    // A mailbox that is full is another thing.
    let sink = plain(|e| match e.stage {
        Stage::Rcpt => Action::Say("552 5.2.2 mailbox full"),
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, Outcome::Perm { subject: 2, detail: 2 });
}

/// RFC 9422 2.1.
#[test]
fn a_host_that_takes_few_messages_a_connection_is_connected_to_again() {
    let offers = vec!["LIMITS MAILMAX=1 RCPTMAX=1"];
    let sink = Sink::start(Options { offers, ..Options::default() });
    let worse = plain(|_| Action::Usual);
    let mta = Mta::to(&[(&sink, Scheme::Smtp), (&worse, Scheme::Smtp)]);
    let reports = mta.send("\r\nx\r\n", &["a@example", "b@example", "c@example"], |_| ());
    assert!(reports.iter().all(|r| r.result == DONE), "{reports:?}");
    let connections: Vec<usize> = sink.mails().iter().map(|m| m.connection).collect();
    assert_eq!(connections, [0, 1, 2]);
    assert!(worse.mails().is_empty());
}

#[test]
fn what_one_host_lacks_another_may_have() {
    let with = |offers| Sink::start(Options { offers, ..Options::default() });
    let (bare, small, able) = (with(vec![]), with(vec!["SIZE 1"]), with(vec!["SMTPUTF8"]));
    let mta = Mta::to(&[(&bare, Scheme::Smtp), (&small, Scheme::Smtp), (&able, Scheme::Smtp)]);
    let reports = mta.send("\r\nx\r\n", &["ä@example"], |_| ());
    assert_eq!(reports[0].result, DONE);
    // All were asked.
    let mta = Mta::to(&[(&bare, Scheme::Smtp), (&small, Scheme::Smtp)]);
    let reports = mta.send("\r\nx\r\n", &["ä@example"], |_| ());
    assert_eq!(reports[0].result, Outcome::Perm { subject: 3, detail: 4 });
    // One was not there, or said nothing of what it offers.
    let away = plain(|e| match e.stage {
        Stage::Greeting => Action::Close,
        _ => Action::Usual,
    });
    let old = plain(|e| match e.line.starts_with("EHLO") {
        true => Action::Say("500 what"),
        false => Action::Usual,
    });
    for other in [&away, &old] {
        let mta = Mta::to(&[(&bare, Scheme::Smtp), (other, Scheme::Smtp)]);
        let reports = mta.send("\r\nx\r\n", &["ä@example"], |_| ());
        assert!(matches!(reports[0].result, Outcome::Temp { .. }), "{reports:?}");
    }
}

/// Its late reply would be taken for that to the next command.
#[test]
fn a_connection_whose_rset_failed_is_not_used_again() {
    let sink = plain(|e| match (e.connection, e.stage, e.line) {
        (0, Stage::Mail, _) => Action::Say("451 4.3.0 later"),
        (0, _, "RSET") => Action::Raw(b"what?\r\n"),
        _ => Action::Usual,
    });
    let mta = Mta::to(&[(&sink, Scheme::Smtp)]);
    assert_eq!(mta.one(|_| ()).result, Outcome::Temp { subject: 4, detail: 0 });
    assert_eq!(mta.one(|_| ()).result, DONE);
    assert_eq!(sink.mails()[0].connection, 1);
}

/// RFC 5321 4.2.1: a 5xx is final, also from a host that then hangs up.
#[test]
fn a_refusal_in_the_middle_of_the_message_is_heard() {
    use std::io::{BufRead, BufReader, Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let host = std::thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        let mut lines = BufReader::new(stream.try_clone().unwrap());
        let say = |text: &str| (&stream).write_all(text.as_bytes()).unwrap();
        say("220 mx\r\n");
        for answer in ["250 mx\r\n", "250 from\r\n", "250 to\r\n", "354 go\r\n"] {
            lines.read_line(&mut String::new()).unwrap();
            say(answer);
        }
        lines.read_exact(&mut [0; 1000]).unwrap();
        say("552 5.3.4 too big\r\n");
        // Unread octets: the peer is reset.
    });
    let place = Host {
        name: "mx.example".into(),
        addrs: vec![addr.ip()],
        port: addr.port(),
        scheme: Scheme::Smtp,
        label: None,
        preference: 0,
        authentic: false,
    };
    let route = move |_: &str| Ok(Route { hosts: vec![place.clone()], sources: vec![] });
    let mta = Mta::new(Box::new(route), &[]);
    let text = format!("\r\n{}", "x\r\n".repeat(8 << 20));
    let reports = mta.send(&text, &["x@example"], |_| ());
    host.join().unwrap();
    assert_eq!(reports[0].result, Outcome::Perm { subject: 3, detail: 4 }, "{reports:?}");
}
