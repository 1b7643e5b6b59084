//! What a process may not say: a false imap on the channels of a real daemon,
//! and a real store on channels that are used for what they were not made for.
//!
//! parent executes its own name for each child, so a daemon that is started
//! under the name of this program has it for its children: it is a false imap
//! ([`stand_in`]) and, for all other kinds, the daemon's own code.

use crate::daemon::{eventually, write, Daemon};
use crate::deliver::post;
use crate::{Env, Outcome};
use rmail::base::clock::Deadline;
use rmail::disk::spool::body::BodyWriter;
use rmail::disk::spool::head::Key;
use rmail::disk::spool::qid::Qid;
use rmail::ipc::ctl;
use rmail::ipc::frame::{frames, Broken, Kind as FrameKind, Receiver, Sender};
use rmail::ipc::imap_store::Session;
use rmail::ipc::parent::{Account, Down, Part, Program, Role, Target, Up, MESSAGE};
use rmail::ipc::queue_store::{Answer, Ask, Body, Delivery};
use rmail::ipc::wire::Wire;
use rmail::proc::table::Kind;
use rmail::sys::{fdpass, spawn, user};
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);

/// Where the false imap says what it tried and what it got.
const REPORT: &str = "false-imap";

/// With a file of this name there the false imap breaks its channel to lookup
/// instead, and reports each that it is given.
const BREAKS: &str = "false-imap-breaks";

/// A daemon that is started under this name has a false lookup.
const FALSE_LOOKUP: &str = "false-lookup";

/// What is wanted opened, in the test's directory, and for whom.
type Wanted = fn(&Path) -> (Target, Kind);

/// What a false lookup wants opened, one after the other.
const OPENS: &[(&str, Wanted)] = &[
    ("a file of root's directory", |dir| {
        let id = post::user();
        let path = dir.join("closed/rc.local");
        (Target::Mbox { user: "joe".into(), uid: id, gid: id, path }, Kind::Queue)
    }),
    ("a program with a group of root's", |dir| {
        let program = Program { gid: 0, argv: touch(dir), ..program(&joe(dir)) };
        (Target::Program { program }, Kind::Queue)
    }),
    ("a program as queue", |dir| {
        let own = user::User::by_name("_rmailq").expect("users");
        let (uid, gid) = own.map_or((0, 0), |u| (u.uid, u.gid));
        let program = Program { uid, gid, argv: touch(dir), ..program(&joe(dir)) };
        (Target::Program { program }, Kind::Queue)
    }),
    ("a program of the system's", |dir| {
        let program = Program { uid: 1, gid: 1, argv: touch(dir), ..program(&joe(dir)) };
        (Target::Program { program }, Kind::Queue)
    }),
    ("a socket", |dir| (Target::Socket { path: dir.join("foreign") }, Kind::Mta)),
    ("a socket for smtp", |dir| (Target::Socket { path: dir.join("lmtp") }, Kind::Smtp)),
    ("a mail root in a home of its own making", |dir| {
        let home = dir.join("closed");
        let account = Account { mail_root: Some(home.join("x")), home, ..joe(dir) };
        (Target::Store { account, role: Role::Deliver }, Kind::Queue)
    }),
];

fn touch(dir: &Path) -> Vec<Vec<u8>> {
    let made = dir.join("home/made");
    [Path::new("/bin/touch"), &made].iter().map(|w| w.as_os_str().as_bytes().to_vec()).collect()
}

/// A claim's name and the message that makes it.
type Claim = (&'static str, fn(&Account) -> Vec<u8>);

/// What a false imap tells parent, each in a life of its own.
const CLAIMS: &[Claim] = &[
    ("open-a-session", |a| open(a, Role::Session)),
    ("open-for-delivery", |a| open(a, Role::Deliver)),
    ("open-a-program", |a| {
        let target = Target::Program { program: program(a) };
        Up::Open { target, kind: Kind::Imap as u8, request: 1, sid: 1 }.to_bytes()
    }),
    ("run-a-program", |a| Up::Run { program: program(a), request: 1 }.to_bytes()),
    ("stop-the-daemon", |_| {
        Up::Admin { request: 1, payload: ctl::Request::Stop.to_bytes() }.to_bytes()
    }),
    ("ask-for-a-user", |_| Up::GetUser { name: "root".into(), request: 1 }.to_bytes()),
    ("restart-the-daemon", |_| Up::OtherBuild.to_bytes()),
    ("be-an-idle-store", |_| Up::Idle { attached: 0, leave: true }.to_bytes()),
    ("break-the-channel-of-others", |_| Up::Broken { kind: Kind::Queue as u8 }.to_bytes()),
    ("nonsense", |_| vec![0xff, 1, 2]),
];

fn open(account: &Account, role: Role) -> Vec<u8> {
    let target = Target::Store { account: account.clone(), role };
    Up::Open { target, kind: Kind::Imap as u8, request: 1, sid: 1 }.to_bytes()
}

fn program(account: &Account) -> Program {
    Program {
        argv: vec![b"/bin/true".to_vec()],
        user: account.name.clone(),
        uid: account.uid,
        gid: account.gid,
        home: account.home.clone(),
        env: Vec::new(),
    }
}

/// The account that the daemon of the test has, as lookup would name it.
fn joe(dir: &Path) -> Account {
    Account {
        name: "joe".into(),
        uid: post::user(),
        gid: post::user(),
        home: dir.join("home"),
        mail_root: Some(dir.join("mail/joe")),
        forward: true,
        system: false,
    }
}

/// The other side, if this program was started as a child of the daemon.
pub fn stand_in() -> Option<ExitCode> {
    let args: Vec<_> = std::env::args_os().collect();
    if args.get(1).is_some_and(|a| a == "-d") {
        // The daemon begins again, which no claim may bring about.
        return Some(ExitCode::FAILURE);
    }
    let [_, x, name] = args.as_slice() else { return None };
    if x != "-x" {
        return None;
    }
    let false_lookup_runs = Path::new(&args[0]).ends_with(FALSE_LOOKUP);
    if name == "lookup" && false_lookup_runs {
        false_lookup();
        return Some(ExitCode::SUCCESS);
    }
    if name == "imap" && !false_lookup_runs {
        false_imap();
        return Some(ExitCode::SUCCESS);
    }
    Some(rmail::proc::main())
}

/// Starts as imap does.  Asked for its numbers, it makes its next claim.
fn false_imap() {
    let parent = Sender::new(spawn::inherited(3).expect("channel 3")).expect("a channel");
    let mut inbox = Receiver::new(MESSAGE);
    let mut dir = PathBuf::new();
    let mut claimed = "";
    let mut lookup = None;
    loop {
        // parent ends this process as soon as it has read the claim.
        let Ok(message) = inbox.recv(parent.fd(), Deadline::after(LIMIT)) else { return };
        let say = |bytes: &[u8]| {
            let deadline = Deadline::after(LIMIT);
            parent.send(FrameKind::Event, 0, bytes, None, deadline).expect("parent reads");
        };
        match Down::from_bytes(&message.payload).expect("a message of parent") {
            Down::Hello { spool, .. } => dir = spool.parent().expect("a directory").to_path_buf(),
            Down::Config { .. } => say(&Up::Ready { unenforced: Vec::new() }.to_bytes()),
            Down::Peer { kind } if kind == Kind::Lookup as u8 => {
                lookup = message.fd;
                if dir.join(BREAKS).exists() {
                    report(&dir, "lookup");
                }
            }
            Down::Stats { .. } if dir.join(BREAKS).exists() => {
                // Nobody reads what comes of it.
                if let Some(lookup) = &lookup {
                    fdpass::send(lookup.as_fd(), &[0xff; 64], &[]).expect("send");
                }
            }
            Down::Stats { .. } => {
                let done = fs::read_to_string(dir.join(REPORT)).unwrap_or_default();
                let Some((name, claim)) = CLAIMS.get(done.lines().count()) else { return };
                claimed = name;
                report(&dir, &format!("{name} claimed"));
                say(&claim(&joe(&dir)));
            }
            Down::Opened { result: Ok(()), .. } => report(&dir, &format!("{claimed} OPENED")),
            Down::User { .. } | Down::Answer { .. } => report(&dir, &format!("{claimed} ANSWERED")),
            Down::Stop => return,
            _ => {}
        }
    }
}

/// Starts as lookup does.  Asked for its numbers, it has everything opened.
fn false_lookup() {
    let parent = Sender::new(spawn::inherited(3).expect("channel 3")).expect("a channel");
    let mut inbox = Receiver::new(MESSAGE);
    let mut dir = PathBuf::new();
    loop {
        let Ok(message) = inbox.recv(parent.fd(), Deadline::after(LIMIT)) else { return };
        let say = |up: Up| {
            let deadline = Deadline::after(LIMIT);
            parent.send(FrameKind::Event, 0, &up.to_bytes(), None, deadline).expect("parent reads");
        };
        match Down::from_bytes(&message.payload).expect("a message of parent") {
            Down::Hello { spool, .. } => dir = spool.parent().expect("a directory").to_path_buf(),
            Down::Config { .. } => say(Up::Ready { unenforced: Vec::new() }),
            Down::Stats { ask } => {
                for (_, open) in OPENS {
                    let (target, kind) = open(&dir);
                    say(Up::Open { target, kind: kind as u8, request: 1 << 40, sid: 1 });
                }
                say(Up::Stats { ask, all: Vec::new() });
            }
            Down::Stop => return,
            _ => {}
        }
    }
}

/// Whatever lookup says, parent opens only what the configuration leads to.
pub fn false_lookup_opens_in_vain(env: &Env) -> Outcome {
    if !user::is_root() {
        return Outcome::Skipped("without root there are no others to open anything of".into());
    }
    let more = "action \"lm\" lmtp \"@DIR@/lmtp\"\n\
                match from any for domain \"lmtp.example\" action \"lm\"\n";
    Daemon::configure(&env.dir, &post::config(env, "", more));
    let closed = env.dir.join("closed");
    fs::create_dir(&closed).expect("mkdir");
    let listen = |name: &str| {
        let socket = UnixListener::bind(env.dir.join(name)).expect("bind");
        socket.set_nonblocking(true).expect("nonblocking");
        socket
    };
    let sockets = [listen("foreign"), listen("lmtp")];
    let name = env.dir.join(FALSE_LOOKUP);
    std::os::unix::fs::symlink(std::env::current_exe().expect("this program"), &name)
        .expect("symlink");
    let mut command = Command::new(env.rmaild());
    command.arg0(&name);
    let daemon = Daemon::launch_as(env, &env.dir, command);
    daemon.ctl_ok(&["show", "stats"]);
    let refused = || daemon.log().matches("msg=refused").count();
    assert!(eventually(LIMIT, || refused() == OPENS.len()), "{}", daemon.log());
    for socket in sockets {
        let error = socket.accept().expect_err("a connection").kind();
        assert_eq!(error, std::io::ErrorKind::WouldBlock);
    }
    for kind in ["store", "mbox", "exec"] {
        assert!(daemon.pids(kind).is_empty(), "{kind} runs: {}", daemon.log());
    }
    assert_eq!(fs::read_dir(&closed).expect("a directory").count(), 0, "a file was made");
    assert!(!env.dir.join("home/made").exists(), "a program ran");
    Outcome::Passed
}

fn report(dir: &Path, line: &str) {
    let mut file = File::options().create(true).append(true).open(dir.join(REPORT)).expect("open");
    writeln!(file, "{line}").expect("write");
}

/// Whatever a false imap claims, it gets nothing and is ended; the others go on.
pub fn false_imap_claims_a_mailbox(env: &Env) -> Outcome {
    Daemon::configure(&env.dir, &post::config(env, "", ""));
    let mut command = Command::new(env.rmaild());
    command.arg0(std::env::current_exe().expect("this program"));
    let daemon = Daemon::launch_as(env, &env.dir, command);
    let ended = || {
        let log = daemon.log();
        log.lines().filter(|l| l.contains("name=imap") && l.contains("ended")).count()
    };
    for (n, (name, _)) in CLAIMS.iter().enumerate() {
        let before = ended();
        let told = eventually(LIMIT, || {
            daemon.ctl(&["show", "stats"]);
            let report = fs::read_to_string(env.dir.join(REPORT)).unwrap_or_default();
            report.lines().count() > n
        });
        assert!(told, "{name} was not claimed:\n{}", daemon.log());
        assert!(eventually(LIMIT, || ended() > before), "{name} has no end:\n{}", daemon.log());
        assert!(daemon.pids("store").is_empty(), "{name}: a store runs");
    }
    let report = fs::read_to_string(env.dir.join(REPORT)).expect("a report");
    let claims: String = CLAIMS.iter().map(|(name, _)| format!("{name} claimed\n")).collect();
    assert_eq!(report, claims, "{}", daemon.log());
    assert!(!env.dir.join("mail/joe").exists(), "a mailbox was made");
    // lookup may: the same account is opened for a delivery.
    post::post(&daemon, "joe@example.com", "Subject: x\r\n\r\n");
    daemon.drained();
    assert_eq!(post::files(&env.dir.join("mail/joe")).len(), 1, "{}", daemon.log());
    Outcome::Passed
}

/// A false imap that breaks its channel to lookup gets another, after a while;
/// lookup serves the others as before.
pub fn a_broken_channel_is_replaced(env: &Env) -> Outcome {
    Daemon::configure(&env.dir, &post::config(env, "", ""));
    write(&env.dir.join(BREAKS), "");
    let mut command = Command::new(env.rmaild());
    command.arg0(std::env::current_exe().expect("this program"));
    let daemon = Daemon::launch_as(env, &env.dir, command);
    let given = || fs::read_to_string(env.dir.join(REPORT)).unwrap_or_default().lines().count();
    let lookup = daemon.pids("lookup");
    for breaks in 1..=3 {
        assert!(eventually(LIMIT, || given() == breaks), "{}", daemon.log());
        daemon.ctl_ok(&["show", "stats"]);
        let told = || daemon.log().matches("broke the rules of framing").count() == breaks;
        assert!(eventually(LIMIT, told), "{}", daemon.log());
        post::post(&daemon, "joe@example.com", "Subject: x\r\n\r\n");
    }
    assert!(eventually(LIMIT, || given() == 4), "{}", daemon.log());
    daemon.drained();
    assert_eq!(post::files(&env.dir.join("mail/joe")).len(), 3, "{}", daemon.log());
    assert_eq!(daemon.pids("lookup"), lookup);
    assert!(!daemon.log().contains("died="), "{}", daemon.log());
    Outcome::Passed
}

/// A store process of its own, whose parent is the test.
struct Store {
    child: Child,
    parent: Sender,
    inbox: Receiver,
    account: Account,
}

impl Store {
    fn start(env: &Env) -> Store {
        let account = Account { uid: user::uid(), gid: user::gid(), ..joe(&env.dir) };
        let (ours, theirs) = fdpass::socketpair().expect("socketpair");
        let child = Command::new("sh")
            .args(["-c", "exec \"$0\" -x store 3<&0 0</dev/null"])
            .arg(env.rmaild())
            .stdin(Stdio::from(theirs))
            .stderr(File::create(env.dir.join("log")).expect("log"))
            .spawn()
            .expect("a store");
        let program = CString::new(env.rmaild().as_os_str().as_bytes()).expect("a path");
        let mut store = Store {
            child,
            parent: Sender::new(ours).expect("a channel"),
            inbox: Receiver::new(MESSAGE),
            account,
        };
        store.tell(
            &Down::Hello {
                build: rmail::proc::start::program_id(&program),
                verbose: 0,
                log: "stderr".into(),
                hostname: "mx.example.org".into(),
                spool: env.dir.join("spool"),
                socket: env.dir.join("run"),
                paused: Vec::new(),
            },
            None,
        );
        let part = Part { generation: 1, text: Vec::new(), files: Vec::new() };
        store.tell(&Down::Config { part }, None);
        let (account, role) = (store.account.clone(), Role::Session);
        store.tell(&Down::Job { target: Target::Store { account, role } }, None);
        // That it is idle may come first: another thread says so.
        let deadline = Deadline::after(LIMIT);
        loop {
            let said = store.inbox.recv(store.parent.fd(), deadline);
            let log = fs::read_to_string(env.dir.join("log")).unwrap_or_default();
            let said = said.unwrap_or_else(|e| panic!("the store does not start: {e}: {log}"));
            if let Ok(Up::Ready { .. }) = Up::from_bytes(&said.payload) {
                break;
            }
        }
        store
    }

    fn tell(&mut self, down: &Down, fd: Option<OwnedFd>) {
        let fd = fd.as_ref().map(AsFd::as_fd);
        let deadline = Deadline::after(LIMIT);
        self.parent.send(FrameKind::Event, 0, &down.to_bytes(), fd, deadline).expect("a store");
    }

    /// A new channel for this role.
    fn attach(&mut self, role: Role) -> OwnedFd {
        let (ours, theirs) = fdpass::socketpair().expect("socketpair");
        let peer = match role {
            Role::Session => Kind::Imap,
            Role::Deliver => Kind::Queue,
        };
        let account = self.account.clone();
        self.tell(&Down::Attach { account, role, sid: 1, peer: peer as u8 }, Some(theirs));
        ours
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A message in a file as queue has it, and what queue asks about it.
fn delivery(dir: &Path, number: u32) -> (File, Ask) {
    let path = dir.join(format!("message-{number}"));
    let file = File::create(&path).expect("a file");
    let key = [7; 32];
    let mut body = BodyWriter::new(file.try_clone().expect("dup"), Key::new(key), false);
    body.write(b"Subject: x\r\n\r\n").expect("write");
    let len = body.finish().expect("write").body;
    let qid = Qid::from_bits(u64::from(number) + (1 << 40)).expect("an id").to_string();
    let delivery = Delivery {
        qid,
        secs: 1_700_000_000,
        usecs: 1,
        number,
        maybe: false,
        sender: "a@sender.example".into(),
        rcpt: "joe@example.com".into(),
        detail: None,
        junk: false,
        spam: None,
        forward: false,
        ran: Vec::new(),
        plain: false,
        body: Body { key, len, edits: Vec::new() },
    };
    (File::open(&path).expect("a file"), Ask::Deliver { delivery })
}

/// What comes on a channel until the store closes it.
fn rest(channel: OwnedFd) -> Vec<u8> {
    let mut stream = UnixStream::from(channel);
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(LIMIT)).expect("a time-out");
    let mut all = Vec::new();
    let end = stream.read_to_end(&mut all);
    let closed = end.map_err(|e| e.kind());
    // What it had not read yet makes the end a reset one.
    assert!(
        closed.is_ok() || closed == Err(std::io::ErrorKind::ConnectionReset),
        "the channel stays open: {closed:?}"
    );
    all
}

fn session() -> Vec<u8> {
    Session {
        sid: 1,
        user: "joe".into(),
        client: "192.0.2.1".into(),
        tls: true,
        tag: b"t1".to_vec(),
    }
    .framed()
    .expect("a session")
}

/// A channel carries what parent made it for, and ends at anything else.
pub fn channels_are_for_their_role(env: &Env) -> Outcome {
    let mut store = Store::start(env);
    let mailbox = env.dir.join("mail/joe");

    // As it should be: a session is greeted, a delivery is stored.
    let mut good = UnixStream::from(store.attach(Role::Session));
    good.write_all(&session()).expect("write");
    good.write_all(b"t2 LOGOUT\r\n").expect("write");
    let greeted = rest(OwnedFd::from(good));
    assert!(greeted.starts_with(b"t1 OK"), "{}", greeted.escape_ascii());
    let queue = Sender::new(store.attach(Role::Deliver)).expect("a channel");
    let (file, ask) = delivery(&env.dir, 1);
    let deadline = Deadline::after(LIMIT);
    let fd = Some(file.as_fd());
    queue.send(FrameKind::Request, 5, &ask.to_bytes(), fd, deadline).expect("send");
    let reply = Receiver::new(MESSAGE).recv(queue.fd(), deadline).expect("an answer");
    let answer = Answer::from_bytes(&reply.payload);
    assert!(matches!(answer, Ok(Answer::Done { .. })), "{answer:?}");
    assert_eq!(post::files(&mailbox).len(), 1);

    // A session on a channel for deliveries: nobody is greeted.
    let mut channel = UnixStream::from(store.attach(Role::Deliver));
    let all = [session().as_slice(), b"t2 SELECT INBOX\r\nt3 FETCH 1 BODY[]\r\n"].concat();
    channel.write_all(&all).expect("write");
    let _ = channel.shutdown(std::net::Shutdown::Write); // it may be closed by now
    assert_eq!(rest(OwnedFd::from(channel)), b"");

    // A delivery on a channel for a session: nothing is stored, nobody answers.
    let channel = store.attach(Role::Session);
    let (file, ask) = delivery(&env.dir, 2);
    let bytes = frames(FrameKind::Request, 5, &ask.to_bytes(), true);
    fdpass::send(channel.as_fd(), &bytes, &[file.as_fd()]).expect("send");
    let said = rest(channel);
    assert!(!said.windows(3).any(|w| w == b" OK"), "{}", said.escape_ascii());

    // Not a request, without a descriptor, or not a message at all.
    for (kind, with_file, cut) in [
        (FrameKind::Event, true, 0),
        (FrameKind::Reply, true, 0),
        (FrameKind::Request, false, 0),
        (FrameKind::Request, true, 1),
    ] {
        let channel = store.attach(Role::Deliver);
        let (file, ask) = delivery(&env.dir, 3);
        let payload = ask.to_bytes();
        let bytes = frames(kind, 5, &payload[cut..], with_file);
        let fds = [file.as_fd()];
        let fds: &[_] = if with_file { &fds } else { &[] };
        fdpass::send(channel.as_fd(), &bytes, fds).expect("send");
        assert_eq!(rest(channel), b"", "{kind:?} {with_file} {cut}");
    }
    assert_eq!(post::files(&mailbox).len(), 1, "only the right one was stored");

    // The store itself goes on.
    let broken = store.inbox.recv(store.parent.fd(), Deadline::after(Duration::ZERO));
    assert!(!matches!(broken, Err(Broken::Gone)), "the store has ended");
    Outcome::Passed
}
