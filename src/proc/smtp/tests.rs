//! Real sessions over real sockets; lookup and queue are played by threads.

mod dialogue;
mod hostile;
mod submission;

use super::config::{Limits, Listener, Snapshot};
use super::*;
use crate::base::logins;
use crate::base::testcert;
use crate::base::tls::{self, ClientConfig, Identity, ServerConfig, Verify};
use crate::disk::spool::body::BodyEnd;
use crate::disk::spool::head::{Key, HEAD};
use crate::ipc::call::Serve as Serving;
use crate::ipc::smtp_lookup::{Destination, Rdns, Unavailable, Verdict};
use crate::ipc::smtp_queue::{self as q, Change};
use crate::proto::limits;
use crate::proto::smtp::client::{RemoteReply, ReplyReader};
use crate::proto::smtp::edit::{Edit, Edits};
use crate::proto::smtp::server::{self, AuthPolicy, TlsPolicy};
use crate::sys::fdpass;
use std::collections::HashMap;
use std::fs::File;
use std::os::fd::AsFd;

/// Plays lookup.  Who a recipient is, his name says.
struct Lookup;

impl Serving for Lookup {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let answer = match Ask::from_bytes(&payload).unwrap() {
            Ask::Client { .. } => Answer::Client { rdns: Rdns::NoName },
            Ask::Hostname { .. } => Answer::Hostname { name: Ok(Some("byaddr.example".into())) },
            Ask::UserName { uid } => Answer::UserName { name: Some(format!("user{uid}")) },
            Ask::Login { user, password, .. } => match user.as_str() {
                "busy" => return drop(back),
                "broken" => Answer::Login { user: Err(Unavailable { why: "table".into() }) },
                "joe" if password.expose() == b"secret" => {
                    Answer::Login { user: Ok(Some("joe@example.com".into())) }
                }
                _ => Answer::Login { user: Ok(None) },
            },
            Ask::MaySend { sender, .. } => Answer::MaySend { yes: Ok(sender == "joe@example.com") },
            Ask::Rcpt { rcpt, origin, .. } => {
                let local = rcpt.split('@').next().unwrap_or_default();
                let verdict = match local {
                    "nobody" => Verdict::NoSuchUser { why: "no such user".into() },
                    "denied" => Verdict::Denied { why: "no rule".into() },
                    "later" => Verdict::Unavailable { why: "dns".into() },
                    "gone" => Verdict::Refused { code: 550, text: "moved\r\n250 away".into() },
                    "authonly" if !origin.authenticated => Verdict::Denied { why: "auth".into() },
                    _ => Verdict::Accepted {
                        to: vec![Destination {
                            action: "in".into(),
                            dest: rcpt.clone(),
                            user: Some("joe".into()),
                            item: None,
                        }],
                    },
                };
                Answer::Rcpt { verdict }
            }
        };
        back.reply(&answer, None);
    }
    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// What queue does with a commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Fine,
    NoSpace,
    /// Takes it and dies before the answer.
    DieAfter,
    /// Dies and has not taken it.
    DieBefore,
}

/// Plays queue.
struct Queue {
    state: Mutex<State>,
}

struct State {
    mood: Mood,
    next: u64,
    open: HashMap<String, File>,
    committed: Vec<(q::Message, String)>,
    ids: Vec<String>,
    aborted: u64,
    resumes: Vec<Vec<String>>,
}

const KEY: [u8; 32] = [7; 32];

impl Serving for Queue {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let mut s = self.state.lock().unwrap();
        match q::Ask::from_bytes(&payload).unwrap() {
            q::Ask::Begin { .. } if s.mood == Mood::NoSpace => {
                back.reply(&q::Answer::Begin { begun: Err(q::Refused::NoSpace) }, None);
            }
            q::Ask::Begin { .. } => {
                s.next += 1;
                let qid = format!("{:012}", s.next);
                let dir = std::env::temp_dir();
                let path = dir.join(format!(
                    "rmail-smtp-{}-{:x}",
                    std::process::id(),
                    crate::sys::rand::u64()
                ));
                let file =
                    File::options().read(true).write(true).create_new(true).open(&path).unwrap();
                std::fs::remove_file(&path).unwrap();
                let begun =
                    q::Begun { qid: qid.clone(), key: KEY, deflate: false, secs: 1_795_473_261 };
                back.reply(&q::Answer::Begin { begun: Ok(begun) }, Some(file.as_fd()));
                s.open.insert(qid, file);
            }
            q::Ask::Commit { qid, message } => {
                let mood = std::mem::replace(&mut s.mood, Mood::Fine);
                let file = s.open.remove(&qid);
                if mood != Mood::DieBefore {
                    let text = text(&file.unwrap(), &message);
                    s.committed.push((*message, text));
                    s.ids.push(qid);
                }
                if mood == Mood::Fine {
                    back.reply(&q::Answer::Commit { committed: Ok(()) }, None);
                } else {
                    std::mem::forget(back); // dead men tell no tales
                }
            }
            q::Ask::Abort { qid } => {
                s.open.remove(&qid);
                s.aborted += 1;
                back.reply(&q::Answer::Abort, None);
            }
            q::Ask::Resume { open } => {
                s.resumes.push(open.clone());
                let committed = open.into_iter().filter(|id| s.ids.contains(id)).collect();
                back.reply(&q::Answer::Resume { committed }, None);
            }
        }
    }
    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// The message as its recipient will read it.
fn text(file: &File, message: &q::Message) -> String {
    let mut edits = Edits::new();
    for change in &message.edits {
        edits
            .push(match change {
                Change::Insert { offset, bytes } => {
                    Edit::Insert { offset: *offset, bytes: bytes.clone() }
                }
                Change::Delete { offset, len } => Edit::Delete { offset: *offset, len: *len },
            })
            .unwrap();
    }
    let (key, mut out) = (Key::new(KEY), Vec::new());
    let end = BodyEnd { body: message.body, file: message.file };
    assert!(end.file >= HEAD as u64);
    let mut reader = crate::disk::spool::body::BodyReader::new(file, &key, end.body);
    let mut splice = edits.splice();
    while let Some(chunk) = reader.chunk().unwrap() {
        splice.feed(&chunk, |b| out.extend_from_slice(b));
    }
    splice.finish(|b| out.extend_from_slice(b));
    String::from_utf8(out).unwrap()
}

/// The listeners of a site, by number.
const MX: usize = 0;
const SUBMISSION: usize = 1;
const SMTPS: usize = 2;
const LMTP: usize = 3;

/// A running smtp process, in threads.
struct Site {
    shared: Arc<Shared>,
    ports: Vec<SocketAddr>,
    queue: Arc<Queue>,
    queue_peer: Mutex<Option<Peer<(), ()>>>,
    _lookup: Peer<(), ()>,
}

fn limits() -> Limits {
    Limits {
        answer: Duration::from_secs(20),
        command: Duration::from_secs(20),
        message: Duration::from_secs(20),
        session: Duration::from_secs(60),
        connections: 50,
        per_peer: 50,
        logins: logins::Limits {
            failures: 3,
            failures_peer: 4,
            window: Duration::from_secs(60),
            delay: Duration::from_millis(1),
        },
    }
}

fn listener(tls: TlsPolicy, auth: AuthPolicy) -> Listener {
    let made = testcert::make(&["mx.example"], testcert::ec_key(), None);
    let identity = Identity::new(vec![made.cert], made.key).unwrap();
    let server = ServerConfig { identities: vec![identity], ..ServerConfig::default() };
    Listener {
        server: server::Config {
            hostname: "mx.example".into(),
            lmtp: false,
            tls,
            auth,
            dsn: true,
            max_size: 100_000,
            max_mails: 100,
            max_rcpt: 5,
            max_errors: 20,
            max_idle_commands: 50,
        },
        tls: Some(tls::Server::new(&server).unwrap()),
        hostnames: None,
        credentials: Some("c".into()),
        senders: None,
        mask_src: false,
        received_auth: false,
        tag: None,
        authserv_id: "mx.example".into(),
        local: false,
    }
}

impl Site {
    fn new() -> Site {
        Site::with(limits(), |_| ())
    }

    /// `change` may alter the listeners before they are opened.
    fn with(limits: Limits, change: impl Fn(&mut Vec<Listener>)) -> Site {
        let lmtp = listener(TlsPolicy::None, AuthPolicy::None);
        let lmtp = Listener { server: server::Config { lmtp: true, ..lmtp.server }, ..lmtp };
        let mut all = vec![
            listener(TlsPolicy::Offered, AuthPolicy::Optional),
            listener(TlsPolicy::Required, AuthPolicy::Required),
            listener(TlsPolicy::Implicit, AuthPolicy::Required),
            lmtp,
        ];
        change(&mut all);
        let socket = Listener { local: true, ..listener(TlsPolicy::None, AuthPolicy::None) };
        let snapshot = Snapshot {
            listeners: all.into_iter().map(|l| Some(Arc::new(l))).collect(),
            socket: Arc::new(socket),
            limits,
        };
        let n = snapshot.listeners.len();
        let shared = Shared::new(snapshot, "mx.example".into()).unwrap();
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let lookup = Peer::new("smtp", Arc::new(Lookup));
        lookup.attach(theirs).unwrap();
        shared.lookup.attach(ours).unwrap();
        let state = State {
            mood: Mood::Fine,
            next: 0,
            open: HashMap::new(),
            committed: Vec::new(),
            ids: Vec::new(),
            aborted: 0,
            resumes: Vec::new(),
        };
        let queue = Arc::new(Queue { state: Mutex::new(state) });
        let mut ports = Vec::new();
        for i in 0..n {
            let fd = net::listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
            let addr = net::local_addr(&fd).unwrap();
            let index = u32::try_from(i).unwrap();
            let options = shared.snapshot().listener(index).unwrap();
            shared.sockets.add(Socket { index, addr: Some(addr) }, fd, options);
            ports.push(addr);
        }
        shared.relisten();
        let accept = Arc::clone(&shared);
        std::thread::spawn(move || accept.accept());
        let site = Site { shared, ports, queue, queue_peer: Mutex::new(None), _lookup: lookup };
        site.start_queue();
        site
    }

    /// Gives smtp a fresh channel to queue; the old one breaks.
    fn start_queue(&self) {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let serving: Arc<dyn Serving> = self.queue.clone();
        let peer = Peer::new("smtp", serving);
        peer.attach(theirs).unwrap();
        self.shared.intake.attach(ours);
        *self.queue_peer.lock().unwrap() = Some(peer);
    }

    fn mood(&self, mood: Mood) {
        self.queue.state.lock().unwrap().mood = mood;
    }

    fn committed(&self) -> Vec<(q::Message, String)> {
        self.queue.state.lock().unwrap().committed.clone()
    }

    /// The only message that was accepted.
    fn only(&self) -> (q::Message, String) {
        let mut all = self.committed();
        assert_eq!(all.len(), 1);
        all.remove(0)
    }

    /// A client that has read the greeting.
    fn client(&self, port: usize) -> Client {
        let mut client = self.connect(port);
        assert_eq!(client.reply().code, 220);
        client
    }

    fn connect(&self, port: usize) -> Client {
        let stream = Stream::connect(self.ports[port], None, soon()).unwrap();
        Client { io: LineReader::new(stream, Deadline::NEVER) }
    }

    /// A client that has said EHLO.
    fn ehlo(&self, port: usize) -> Client {
        let mut client = self.client(port);
        assert_eq!(client.ask(if port == LMTP { "LHLO c.example" } else { "EHLO c.example" }), 250);
        client
    }

    /// A client that is logged in as joe.
    fn joe(&self, port: usize) -> Client {
        let mut client = self.connect(port);
        if port == SMTPS {
            client.tls();
        }
        assert_eq!(client.reply().code, 220);
        if port != SMTPS {
            assert_eq!(client.ask("EHLO c.example"), 250);
            assert_eq!(client.ask("STARTTLS"), 220);
            client.tls();
        }
        assert_eq!(client.ask("EHLO c.example"), 250);
        assert_eq!(client.ask("AUTH PLAIN AGpvZQBzZWNyZXQ="), 235);
        client
    }

    /// A session over the socket.
    fn local(&self, uid: u32) -> Client {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        self.shared.local(uid, theirs);
        let mut client =
            Client { io: LineReader::new(Stream::local(ours).unwrap(), Deadline::NEVER) };
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.ask("EHLO localhost"), 250);
        client
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.shared.listeners.stop();
    }
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

/// A client that sends what it is told and trusts no reply.
struct Client {
    io: LineReader,
}

impl Client {
    fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.io.put(bytes.as_ref());
        self.io.flush(soon()).unwrap();
    }

    /// Octet by octet, each in a segment (or TLS record) of its own.
    fn trickle(&mut self, bytes: &[u8]) {
        for b in bytes {
            self.send([*b]);
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    fn reply(&mut self) -> RemoteReply {
        let mut reader = ReplyReader::new();
        let mut line = Vec::new();
        loop {
            self.io.read_line(&mut line, limits::REPLY_LINE.size(), soon()).unwrap();
            if let Some(reply) = reader.line(&line).unwrap() {
                return reply;
            }
        }
    }

    /// Sends a line and gives the code of the reply.
    fn ask(&mut self, line: &str) -> u16 {
        self.send(format!("{line}\r\n"));
        self.reply().code
    }

    fn tls(&mut self) {
        let client = tls::Client::new(&ClientConfig::default()).unwrap();
        self.io.start_tls_client(&client, "mx.example", Verify::No, soon()).unwrap();
    }

    /// MAIL, RCPT and DATA up to 354.
    fn begin(&mut self, from: &str, to: &str) {
        assert_eq!(self.ask(&format!("MAIL FROM:<{from}>")), 250);
        assert_eq!(self.ask(&format!("RCPT TO:<{to}>")), 250);
        assert_eq!(self.ask("DATA"), 354);
    }

    /// True if the server closes and says nothing more.
    fn is_closed(&mut self) -> bool {
        let mut line = Vec::new();
        self.io.read_line(&mut line, 1000, soon()).is_err()
    }
}
