//! parent: the process that reads the configuration, binds ports, starts and
//! restarts all others and hands out the channels between them.
//!
//! Runs as root, alone and single-threaded: the only one that forks, the one
//! event loop of the daemon.  It never waits: a message to a child is queued,
//! an answer comes as an event.  No mail, no job and no body goes through it.
//! It trusts its children only as far as their row in [`table`] goes; of them
//! lookup alone may have anything opened.

mod admin;
mod bounds;
mod channels;
mod children;
mod directories;
mod grants;
mod listeners;
mod load;
mod offline;

pub use load::check;
mod open;
mod pipe;
mod upgrade;

use crate::base::log::{self, Show};
use crate::ipc::parent::{Down, SystemUser, Up};
use crate::proc::start::program_id;
use crate::proc::table::{self, Kind};
use crate::sys::errno::SysError;
use crate::sys::limits::{raised_by, Bounded};
use crate::sys::poll::{self, PollFd};
use crate::sys::signal::{Signal, Signals};
use crate::sys::user::User;
use crate::sys::{self, sandbox};
use children::{kill, Asker, Running, Slot, KILL};
use load::Loaded;
use open::{AccountKey, StoreDeaths};
use std::collections::{BTreeSet, HashMap};
use std::ffi::CString;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How long sessions may go on after a stop.
const STOP_GRACE: Duration = Duration::from_secs(10);
/// How long all children may take to become ready.
const START_LIMIT: Duration = Duration::from_secs(60);

/// What the command line says.
pub struct Options {
    /// `-d`: stay in the foreground and log to stderr.
    pub foreground: bool,
    /// `-f`: the configuration.
    pub config: PathBuf,
    /// `-D name=value`.
    pub macros: Vec<(String, String)>,
    /// How often `-v` was given.
    pub verbose: u8,
}

/// Where the daemon is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not all children have been ready yet.
    Starting,
    /// At work.
    Running,
    /// Ending; `program` says whether to begin again.
    Stopping,
}

/// All that parent knows.
pub struct Supervisor {
    options: Options,
    loaded: Arc<Loaded>,
    program: CString,
    environment: Vec<CString>,
    build: String,
    hostname: String,
    verbose: u8,
    phase: Phase,
    failed_start: Option<String>,
    stop_wave: usize,
    next_id: u64,
    children: Vec<Running>,
    slots: Vec<Slot>,
    mends: Vec<channels::Mend>,
    store_deaths: HashMap<AccountKey, StoreDeaths>,
    idle_stores: Vec<u64>,
    listeners: listeners::Listeners,
    admin: admin::Pending,
    paused: BTreeSet<String>,
    offline: offline::Offline,
    unenforced: Vec<String>,
    since: Instant,
    bounds: bounds::Bounds,
    upgrade: upgrade::Upgrade,
    /// The queue directory is ours while this is open.
    _lock: std::fs::File,
}

/// The kinds that are told to leave together: first those that take work.  Queue
/// begins nothing more from the first on, and each wave has [`STOP_GRACE`].
const STOP_ORDER: &[&[Kind]] = &[
    &[Kind::Control, Kind::Smtp, Kind::Imap],
    &[Kind::Mta, Kind::Store, Kind::Mbox, Kind::Exec],
    &[Kind::Queue],
    &[Kind::Lookup],
    &[Kind::Keyd],
];

/// Runs the daemon until it is told to stop.
pub fn run(options: Options) -> ExitCode {
    match begin(options).and_then(|(supervisor, signals)| supervisor.supervise(signals)) {
        Ok(Some((program, paused))) => program.execute(environment(), &paused),
        Ok(None) => ExitCode::SUCCESS,
        Err(why) => {
            log::crit!("rmaild", error = why.as_str());
            ExitCode::FAILURE
        }
    }
}

/// Everything up to the first child, in the order that unveil demands.
fn begin(options: Options) -> Result<(Supervisor, Signals), String> {
    log::init("parent", log::Dest::choose(options.foreground));
    log::set_verbose(options.verbose > 0);
    let words = |e: SysError| e.to_string();
    sys::limits::no_cores().map_err(words)?;
    let program = upgrade::program_path()?;
    let mut options = options;
    options.config = std::path::absolute(&options.config).unwrap_or(options.config);
    let bounds = bounds::Bounds::of_machine();
    let mut loaded = load::load(&options, 1).map_err(|errors| {
        for line in &errors {
            log::crit!("config", error = line.as_str());
        }
        let file = options.config.display();
        match errors.len() {
            1 => format!("{file}: 1 error: not started"),
            n => format!("{file}: {n} errors: not started"),
        }
    })?;
    bounds.apply(&mut loaded.config);
    bounds.warn(&loaded.config);
    let hostname = sys::net::hostname().map_err(words)?;
    directories::make_all(&loaded)?;
    let lock = directories::lock_queue(&loaded)?;
    offline::make(&loaded.directories().spool)?;
    let listeners = listeners::Listeners::bind(&loaded)?;
    let directory = std::env::current_dir().unwrap_or_else(|_| "/".into());
    if !options.foreground {
        sys::spawn::daemonize().map_err(words)?;
        // It holds no file system busy, and leaves nothing where a shell was.
        sys::user::chdir(Path::new("/")).map_err(words)?;
    }
    // rc.d(8) knows it by this; the arguments of an upgrade are read here.
    let arguments = std::env::args_os().skip(1).collect();
    sys::title::set("rmaild", "parent");
    let signals = Signals::install().map_err(words)?;
    raise_descriptors();
    if !sys::user::is_root() {
        log::warn!("rmaild", msg = "not started by root: no change of user, no chroot");
    }
    let mut supervisor = Supervisor {
        verbose: options.verbose,
        environment: environment(),
        build: program_id(program.as_c_str()),
        hostname,
        phase: Phase::Starting,
        failed_start: None,
        stop_wave: 0,
        next_id: 1,
        children: Vec::new(),
        slots: Vec::new(),
        mends: Vec::new(),
        store_deaths: HashMap::new(),
        idle_stores: Vec::new(),
        listeners,
        admin: admin::Pending::default(),
        paused: upgrade::paused_before(),
        offline: offline::Offline::default(),
        unenforced: Vec::new(),
        since: Instant::now(),
        bounds,
        _lock: lock,
        loaded: Arc::new(loaded),
        upgrade: upgrade::Upgrade::new(program.clone(), arguments, directory),
        program,
        options,
    };
    // The order of the table is the order of the start: whoever is asked is
    // there before who asks.
    for process in table::PROCESSES.iter().filter(|p| p.always && p.kind != Kind::Parent) {
        supervisor.slots.push(Slot {
            kind: process.kind,
            proven: false,
            deaths: 0,
            restart_at: None,
        });
        supervisor.start(process.kind);
    }
    supervisor.confine()?;
    Ok((supervisor, signals))
}

/// What children inherit: nothing but the time zone.
fn environment() -> Vec<CString> {
    let mut all = vec![c"PATH=/usr/bin:/bin:/usr/sbin:/sbin".to_owned()];
    if let Ok(zone) = std::env::var("TZ") {
        all.extend(CString::new(format!("TZ={zone}")));
    }
    all
}

/// Says that all processes are ready: to whoever waits for a line of `rmaild
/// -d`, and to a service manager that asked.
fn ready(foreground: bool) {
    if foreground {
        // Nobody may be reading.
        let _ = writeln!(std::io::stdout(), "ready");
    }
    if let Some(socket) = std::env::var_os("NOTIFY_SOCKET") {
        if let Err(e) = sys::net::notify(Path::new(&socket), b"READY=1") {
            log::warn!("rmaild", msg = "service manager", error = Show(&e));
        }
    }
}

/// A row of the password database as a message.
fn record(user: User) -> SystemUser {
    let User { name, uid, gid, home, shell } = user;
    SystemUser { name, uid, gid, home, shell }
}

/// True if the kind with this number has a channel to `kind`.
fn is_neighbour(kind: Kind, other: u8) -> bool {
    table::kind(other).is_some_and(|other| table::are_neighbours(kind, other))
}

/// As many descriptors as the system allows: a session has one, and its store
/// another.
fn raise_descriptors() {
    match sys::limits::raise() {
        Ok(n) if n < 1024 => {
            log::warn!(
                "rmaild",
                descriptors = n,
                msg = format!("few: raise {}", raised_by(Bounded::Descriptors)).as_str()
            );
        }
        Ok(_) => {}
        Err(e) => log::warn!("rmaild", error = Show(&e)),
    }
}

impl Supervisor {
    /// Parent's own row.  On Linux it gets no filter, which its children would
    /// inherit through exec.
    fn confine(&mut self) -> Result<(), String> {
        let row = table::process(Kind::Parent);
        let dirs = self.loaded.directories();
        let unveils: Vec<sandbox::Unveil> = row
            .unveil
            .iter()
            .map(|(place, perms)| sandbox::Unveil {
                path: match place {
                    table::Place::SocketDir => dirs.socket.to_path_buf(),
                    table::Place::Spool => dirs.spool.to_path_buf(),
                    table::Place::Path(p) => PathBuf::from(p),
                    _ => PathBuf::from("/"),
                },
                perms,
            })
            .collect();
        self.unenforced =
            sandbox::enter_parent(row.promises, &unveils).map_err(|e| e.to_string())?;
        Ok(())
    }

    /// The event loop.  Ends with the program to execute anew, if it was
    /// replaced on disk.
    fn supervise(
        mut self,
        mut signals: Signals,
    ) -> Result<Option<(upgrade::Again, BTreeSet<String>)>, String> {
        let started = Instant::now();
        loop {
            let now = Instant::now();
            self.timers(now);
            self.admin_timers(now);
            self.advance(started)?;
            if self.phase == Phase::Stopping && self.children.is_empty() {
                self.listeners.remove_sockets();
                return Ok(self.upgrade.agreed().map(|again| (again, self.paused)));
            }
            let mut timeout = self.next_timer().map(|at| at.saturating_duration_since(now));
            if self.phase == Phase::Starting {
                let left = START_LIMIT.saturating_sub(started.elapsed());
                timeout = Some(timeout.map_or(left, |t| t.min(left)));
            }
            let ready = self.poll(&signals, timeout)?;
            for signal in signals.take() {
                self.signal(signal);
            }
            for (id, readable, writable) in ready {
                if writable {
                    self.flush(id);
                }
                if readable {
                    self.receive(id);
                }
            }
        }
    }

    fn poll(
        &mut self,
        signals: &Signals,
        timeout: Option<Duration>,
    ) -> Result<Vec<(u64, bool, bool)>, String> {
        let mut ids = Vec::new();
        let mut fds = vec![PollFd::new(signals.as_fd(), poll::IN)];
        for child in &self.children {
            if let Some(pipe) = &child.pipe {
                let events = if pipe.wants_write() { poll::IN | poll::OUT } else { poll::IN };
                fds.push(PollFd::new(pipe.fd(), events));
                ids.push(child.id);
            }
        }
        poll::wait(&mut fds, timeout).map_err(|e| format!("poll: {e}"))?;
        let state = |(id, fd): (&u64, &PollFd<'_>)| (*id, fd.readable(), fd.writable());
        Ok(ids.iter().zip(fds.iter().skip(1)).map(state).collect())
    }

    fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Chld => self.reap(),
            Signal::Hup => {
                log::info!("config", msg = "SIGHUP: reading it again");
                if let Err(lines) = self.reload() {
                    for line in &lines {
                        log::crit!("config", error = line.as_str());
                    }
                    log::crit!("config", msg = self.stays().as_str());
                }
            }
            Signal::Term | Signal::Int => self.stop(),
            Signal::Usr1 => {}
        }
    }

    fn flush(&mut self, id: u64) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        if let Some(Err(e)) = child.pipe.as_mut().map(pipe::Pipe::flush) {
            log::warn!("child", name = child.process.name, error = Show(&e));
            child.pipe = None;
        }
    }

    fn receive(&mut self, id: u64) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        let Some(pipe) = child.pipe.as_mut() else { return };
        match pipe.receive() {
            Ok(messages) => {
                for (up, fd) in messages {
                    self.said(id, up, fd);
                }
            }
            Err(e) => {
                // Its end follows as SIGCHLD; a live child without a channel
                // would serve nobody.
                if !matches!(e, crate::ipc::frame::Broken::Gone) {
                    log::crit!(
                        "child",
                        name = child.process.name,
                        pid = child.pid,
                        msg = "ended",
                        error = Show(&e)
                    );
                    kill(child.pid, KILL);
                }
                child.pipe = None;
            }
        }
    }

    /// What a child says.  What its kind may not say ends it.
    fn said(&mut self, id: u64, up: Up, _fd: Option<OwnedFd>) {
        let Some(child) = self.children.iter_mut().find(|c| c.id == id) else { return };
        let kind = child.process.kind;
        match (kind, up) {
            (_, Up::Ready { unenforced }) => self.became_ready(id, unenforced),
            (_, Up::Applied { generation }) => child.generation = generation,
            (_, Up::Stats { ask, all }) => self.stats(id, ask, all),
            (_, Up::Broken { kind: other }) if is_neighbour(kind, other) => {
                if let Some(other) = table::kind(other) {
                    self.mend(kind, other, &"broke the rules of framing");
                }
            }
            // Whoever notices it first; but no child alone can have the daemon begin again.
            (_, Up::OtherBuild) if program_id(&self.program) != self.build => self.other_build(),
            (Kind::Lookup, Up::Open { target, kind, request, sid }) => {
                if let Some(asker) = table::kind(kind) {
                    self.open(target, asker, request, sid);
                }
            }
            (Kind::Lookup, Up::GetUser { name, request }) => {
                self.tell_user(request, User::by_name(&name));
            }
            (Kind::Lookup, Up::GetUserById { uid, request }) => {
                self.tell_user(request, User::by_uid(uid));
            }
            (Kind::Store, Up::Run { program, request }) => self.run_for_store(id, program, request),
            (Kind::Queue, Up::Unfed { request }) => {
                self.end_program(Asker::Kind(Kind::Queue), request);
            }
            (Kind::Store, Up::Unfed { request }) => self.end_program(Asker::Child(id), request),
            (Kind::Store, Up::Idle { attached, leave }) => self.store_idle(id, attached, leave),
            (Kind::Control, Up::Admin { request, payload }) => self.administer(request, &payload),
            _ => {
                log::crit!(
                    "child",
                    name = child.process.name,
                    pid = child.pid,
                    msg = "said what it may not say: ended"
                );
                kill(child.pid, KILL);
                child.pipe = None;
            }
        }
    }

    /// The record of a user.  A question that cannot be answered has no answer:
    /// "no such user" would bounce mail, a time-out does not.
    fn tell_user(&mut self, request: u64, found: crate::sys::errno::Result<Option<User>>) {
        match found {
            Ok(user) => {
                let user = user.map(record);
                self.tell(Kind::Lookup, &Down::User { request, user }, None);
            }
            Err(e) => log::warn!("user", msg = "cannot be looked up", error = log::Show(&e)),
        }
    }

    /// Phases follow from what the children are.
    fn advance(&mut self, started: Instant) -> Result<(), String> {
        match self.phase {
            Phase::Starting => {
                if let Some(why) = self.failed_start.take() {
                    self.kill_all();
                    return Err(why);
                }
                if self.slots.iter().all(|s| s.proven) {
                    self.phase = Phase::Running;
                    for kind in [Kind::Smtp, Kind::Imap, Kind::Control] {
                        self.hand_listeners(kind);
                    }
                    ready(self.options.foreground);
                    self.find_offline();
                } else if started.elapsed() >= START_LIMIT {
                    self.kill_all();
                    return Err("the processes were not ready in 60 s".into());
                }
            }
            Phase::Running => {}
            Phase::Stopping => self.next_stop_wave(),
        }
        Ok(())
    }

    /// Begins to end: whoever takes work first.
    pub fn stop(&mut self) {
        if self.phase != Phase::Stopping {
            log::info!("rmaild", msg = "stopping");
            self.phase = Phase::Stopping;
            self.end_trial();
            self.stop_wave = 0;
            self.tell(Kind::Queue, &Down::Rest, None);
        }
    }

    fn next_stop_wave(&mut self) {
        while let Some(kinds) = STOP_ORDER.get(self.stop_wave) {
            let wave = self.children.iter().filter(|c| kinds.contains(&c.process.kind));
            // A program's time may be longer than a stop has patience.
            let soon = Instant::now() + STOP_GRACE;
            let told = |c: &Running| c.kill_at.is_some_and(|at| at <= soon);
            let ids: Vec<(u64, bool)> = wave.map(|c| (c.id, told(c))).collect();
            if ids.is_empty() {
                self.stop_wave += 1;
                continue;
            }
            for (id, told) in ids {
                if !told {
                    self.let_go(id, STOP_GRACE);
                }
            }
            return;
        }
    }

    fn kill_all(&mut self) {
        self.end_trial();
        for child in &self.children {
            kill(child.pid, KILL);
        }
        for child in self.children.drain(..) {
            let _ = sys::spawn::waitpid(child.pid); // reaped by init otherwise
        }
        self.listeners.remove_sockets();
    }

    /// What is to be said behind the errors of a reload.
    fn stays(&self) -> String {
        format!("nothing is changed: configuration {} stays in force", self.loaded.generation)
    }

    /// Reads and checks everything anew; any error leaves what is in force.
    pub fn reload(&mut self) -> Result<(), Vec<String>> {
        let generation = self.loaded.generation + 1;
        let mut loaded = load::load(&self.options, generation)?;
        self.bounds.apply(&mut loaded.config);
        self.bounds.warn(&loaded.config);
        self.loaded.may_become(&loaded)?;
        let listeners = self.listeners.rebind(&loaded).map_err(|e| vec![e])?;
        self.loaded = Arc::new(loaded);
        self.listeners = listeners;
        let ids: Vec<(u64, Kind)> = self.children.iter().map(|c| (c.id, c.process.kind)).collect();
        for (id, kind) in ids {
            if !matches!(kind, Kind::Exec | Kind::Mbox) {
                let part = self.loaded.part(kind);
                self.tell_id(id, &Down::Config { part }, None);
            }
        }
        for kind in [Kind::Smtp, Kind::Imap] {
            self.hand_listeners(kind);
        }
        log::info!("config", generation = generation, msg = "in force");
        Ok(())
    }
}
