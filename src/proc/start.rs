//! How a child begins: the same steps in the same order for every kind.
//!
//! exec with parent's environment; signals; `Hello` and configuration on
//! channel 3; whatever must read files before the sandbox (the process's own
//! main function does it between [`greet`] and [`Greeted::confine`]); time
//! zone; chroot, chdir, groups and ids; unveil; pledge; threads.  Nothing
//! above a step may be moved below it: chroot(2) is allowed under no promise,
//! unveil needs its own, and a thread started before would not be confined on
//! Linux.

use crate::base::clock::Deadline;
use crate::base::exits::sysexits;
use crate::base::log::{self, Show};
use crate::conf::{self, ast::Config};
use crate::ipc::call::Channel;
use crate::ipc::frame::{Broken, Kind as FrameKind, Receiver, Sender};
use crate::ipc::parent::{Account, Down, Ended, Listener, Part, Refusal, Role, Stat, SystemUser};
use crate::ipc::parent::{Target, Up, MESSAGE};
use crate::ipc::wire::Wire;
use crate::proc::table::{self, Kind, Place, Process, Root, RunAs};
use crate::sys::sandbox::{self, Unveil};
use crate::sys::user::User;
use crate::sys::{self, errno::SysError};
use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

/// How long a child waits for its greeting and configuration.
const GREETING: Duration = Duration::from_secs(60);

/// How long it takes parent, at the worst, to make room for a message.
const TELL: Duration = Duration::from_secs(30);

/// Why a child cannot begin.  It is printed, the child exits with EX_OSERR or
/// EX_CONFIG, and parent says that it did not start.
#[derive(Debug)]
pub enum StartError {
    /// A system call failed.
    Sys(SysError),
    /// The channel to parent failed.
    Channel(Broken),
    /// Anything else, in words.
    Other(String),
}

impl std::fmt::Display for StartError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            StartError::Sys(e) => e.fmt(f),
            StartError::Channel(e) => write!(f, "channel to parent: {e}"),
            StartError::Other(e) => f.write_str(e),
        }
    }
}

impl From<SysError> for StartError {
    fn from(e: SysError) -> Self {
        StartError::Sys(e)
    }
}

impl From<Broken> for StartError {
    fn from(e: Broken) -> Self {
        StartError::Channel(e)
    }
}

/// A child that has its configuration and is not confined yet.
pub struct Greeted {
    /// Its row.
    pub process: &'static Process,
    /// Its part of the configuration.
    pub part: Part,
    /// The machine's name.
    pub hostname: String,
    /// The account or job, for kinds that have one.
    pub job: Option<Job>,
    control: Arc<Sender>,
    inbox: Receiver,
    dirs: Directories,
    paused: Vec<String>,
}

/// What a process that is not always running is for.
pub enum Job {
    /// A store's account.  Its first channel follows as `Attach`.
    Account(Account),
    /// A single job and its channel.
    Target(Target, OwnedFd),
}

/// A confined child, with its way to parent.  Cheap to clone; any thread.
#[derive(Clone)]
pub struct Parent {
    control: Arc<Sender>,
}

impl Parent {
    /// Tells parent; blocks for room.  Parent gone means that this process
    /// ends soon: the error is its main loop's affair.
    pub fn tell(&self, message: &Up, fd: Option<&OwnedFd>) -> Result<(), Broken> {
        let fd = fd.map(AsFd::as_fd);
        let payload = message.to_bytes();
        self.control.send(FrameKind::Event, 0, &payload, fd, Deadline::after(TELL))
    }
}

/// What parent says to a running child.  All run on its main thread and must
/// not block for long: they swap a value or start a thread.
pub trait Events {
    /// A new configuration.  An error ends the child, which starts anew with it.
    fn config(&self, part: Part) -> Result<(), String>;
    /// A fresh channel to a neighbour.
    fn peer(&self, kind: Kind, channel: Channel);
    /// These are all listeners; those not named are to be closed.
    fn listeners(&self, _: Vec<Listener>) {}
    /// One of them.
    fn listen(&self, _: Listener, _: OwnedFd) {}
    /// What was opened for this process, or why not.
    fn opened(&self, _: u64, _: Result<OwnedFd, Refusal>) {}
    /// A program opened for this process has ended.
    fn exited(&self, _: u64, _: Ended) {}
    /// Store: a new channel; `None`: there was no descriptor left to take it with.
    fn attach(&self, _: Account, _: Role, _sid: u64, _peer: Option<Kind>, _: Option<OwnedFd>) {}
    /// Control: parent's answer to an administrative request.
    fn answer(&self, _request: u64, _payload: Vec<u8>) {}
    /// Lookup: a system user's record.
    fn user(&self, _request: u64, _: Option<SystemUser>) {}
    /// The numbers of this process.
    fn stats(&self) -> Vec<Stat>;
    /// Queue: begin no delivery more; the daemon ends.
    fn rest(&self) {}
    /// Take nothing new, finish, and return from [`Parent::serve`] by exiting.
    fn stop(&self);
}

/// Reads the greeting: the first thing that a child does.
pub fn greet(process: &'static Process) -> Result<Greeted, StartError> {
    let control = Arc::new(Sender::new(sys::spawn::inherited(3)?).map_err(Broken::Io)?);
    let mut inbox = Receiver::reserving(MESSAGE);
    let mut next = |deadline| next(&control, &mut inbox, deadline);
    let deadline = Deadline::after(GREETING);
    let Down::Hello { build, verbose, log: dest, hostname, spool, socket, paused } =
        next(deadline)?.0
    else {
        return Err(StartError::Other("parent did not say hello".into()));
    };
    log::init(process.name, log::Dest::parse(&dest).unwrap_or(log::Dest::Stderr));
    log::set_verbose(verbose > 0);
    let arg0 = std::env::args_os().next().unwrap_or_default();
    let own = CString::new(arg0.into_vec()).unwrap_or_default();
    if build != program_id(&own) {
        let parent = Parent { control };
        parent.tell(&Up::OtherBuild, None)?;
        return Err(StartError::Other("the program on disk is another build than parent's".into()));
    }
    let Down::Config { part } = next(deadline)?.0 else {
        return Err(StartError::Other("parent sent no configuration".into()));
    };
    let job = match process.user {
        RunAs::Account => match next(deadline)? {
            (Down::Job { target: Target::Store { account, .. } }, _) => Some(Job::Account(account)),
            (Down::Job { target }, Some(fd)) => Some(Job::Target(target, fd)),
            _ => return Err(StartError::Other("parent gave no job".into())),
        },
        RunAs::Root | RunAs::User(_) if !process.always => match next(deadline)? {
            (Down::Job { target }, Some(fd)) => Some(Job::Target(target, fd)),
            _ => return Err(StartError::Other("parent gave no job".into())),
        },
        _ => None,
    };
    Ok(Greeted {
        process,
        part,
        hostname,
        job,
        control,
        inbox,
        dirs: Directories { spool, socket },
        paused,
    })
}

/// One message of the greeting.
fn next(
    control: &Sender,
    inbox: &mut Receiver,
    deadline: Deadline,
) -> Result<(Down, Option<OwnedFd>), StartError> {
    let m = inbox.recv(control.fd(), deadline)?;
    let down = Down::from_bytes(&m.payload)
        .map_err(|_| StartError::Other("malformed message from parent".into()))?;
    Ok((down, m.fd))
}

/// Which program is on disk at this path, so that a child started after `make
/// install` is noticed: device, inode, size and time.
pub fn program_id(path: &CStr) -> String {
    use std::os::unix::fs::MetadataExt;
    match std::fs::metadata(OsStr::from_bytes(path.to_bytes())) {
        Ok(m) => format!("{}-{}-{}-{}.{}", m.dev(), m.ino(), m.size(), m.mtime(), m.mtime_nsec()),
        Err(_) => String::new(),
    }
}

/// A child in its sandbox.
pub struct Child {
    /// Its row.
    pub process: &'static Process,
    /// Its part of the configuration.
    pub part: Part,
    /// The machine's name.
    pub hostname: String,
    /// The account or job, for kinds that have one.
    pub job: Option<Job>,
    /// The way to parent.
    pub parent: Parent,
    /// Where the queue directory is, as this process sees it.
    pub spool: PathBuf,
    /// What the administrator has paused, by the names of `rmailctl pause`.
    pub paused: Vec<String>,
    /// A store's mail root that is not there and cannot be made: why.
    pub no_mail_root: Option<SysError>,
    inbox: Receiver,
    unenforced: Vec<String>,
}

/// Where things are, as the configuration says; parent tells its children.
#[derive(Clone)]
pub struct Directories {
    /// The queue directory.
    pub spool: PathBuf,
    /// The directory of the control socket.
    pub socket: PathBuf,
}

/// A part of the configuration, read.  An error means that this program and
/// parent's are not the same.
pub fn config(part: &Part) -> Result<Config, String> {
    conf::part(&part.text)
}

impl Greeted {
    /// The configuration of this process.
    pub fn config(&self) -> Result<Config, StartError> {
        config(&self.part).map_err(StartError::Other)
    }

    /// Enters the sandbox of the process's row.
    ///
    /// Without root there is no change of user and no chroot; unveil and
    /// pledge, or what the platform has for them, are in force all the same.
    pub fn confine(self) -> Result<Child, StartError> {
        let Greeted { process, part, hostname, job, control, inbox, dirs, paused } = self;
        sys::time::tzset();
        crate::base::tls::init();
        // On Linux it reads a file of /proc: before chroot.
        match &job {
            Some(Job::Account(a)) => {
                sys::title::set("rmaild", &format!("{} {}", process.name, a.name));
            }
            _ => sys::title::set("rmaild", process.name),
        }
        let root = sys::user::is_root();
        let mut spool = dirs.spool.clone();
        let new_root: Option<&Path> = match process.root {
            Root::Empty => Some(Path::new("/var/empty")),
            Root::Spool => Some(&dirs.spool),
            Root::Real | Root::Job => None,
        };
        let user = match process.user {
            RunAs::User(name) if root => {
                let found = User::by_name(name)?;
                Some(found.ok_or_else(|| StartError::Other(table::no_user(name)))?)
            }
            _ => None,
        };
        if let (Some(new_root), true) = (new_root, root) {
            sys::user::chroot(new_root)?;
            if process.root == Root::Spool {
                spool = PathBuf::from("/");
            }
        }
        if let Some(user) = &user {
            sys::user::become_user(user.uid, user.gid, &[user.gid])?;
        }
        if let (Some(Job::Account(account)), true) = (&job, root) {
            sys::user::become_user(account.uid, account.gid, &[account.gid])?;
        }
        let no_mail_root = match &job {
            // unveil of a directory is by inode: it must exist before.
            Some(Job::Account(Account { mail_root: Some(path), .. })) => make_directory(path).err(),
            _ => None,
        };
        let mut unveiled = unveils(process, &dirs, &spool, job.as_ref());
        if let (Some(_), Some(Job::Account(account))) = (&no_mail_root, &job) {
            unveiled.retain(|u| Some(&u.path) != account.mail_root.as_ref());
        }
        let unenforced = sandbox::enter(process.promises, &unveiled)?;
        let parent = Parent { control };
        Ok(Child {
            process,
            part,
            hostname,
            job,
            parent,
            spool,
            paused,
            no_mail_root,
            inbox,
            unenforced,
        })
    }

    /// For exec, which is not confined but becomes another program.
    pub fn into_job(self) -> Option<Job> {
        self.job
    }
}

/// The mail root and what leads to it, as the account's user.
fn make_directory(path: &Path) -> Result<(), SysError> {
    use std::os::unix::fs::DirBuilderExt;
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(|e| SysError::of("mkdir", &e).at(path))
}

/// The row's places as paths.
fn unveils(process: &Process, dirs: &Directories, spool: &Path, job: Option<&Job>) -> Vec<Unveil> {
    let account = match job {
        Some(Job::Account(a)) => Some(a),
        _ => None,
    };
    let path = |place: Place| match place {
        Place::Path(p) => Some(PathBuf::from(p)),
        Place::SocketDir => Some(dirs.socket.to_path_buf()),
        Place::Spool => Some(spool.to_path_buf()),
        Place::MailRoot => account.and_then(|a| a.mail_root.clone()),
        Place::Forward => account.filter(|a| a.forward).map(|a| a.home.join(".forward")),
        Place::MailSpool => match job {
            Some(Job::Target(Target::Mbox { path, .. }, _)) => path.parent().map(Path::to_path_buf),
            _ => None,
        },
    };
    process
        .unveil
        .iter()
        .filter_map(|(place, perms)| path(*place).map(|path| Unveil { path, perms }))
        .collect()
}

impl Child {
    /// Says that this process is in its sandbox and takes work, then serves
    /// parent until it stops or is gone.  Blocks on the main thread.
    pub fn serve(mut self, events: &dyn Events) -> ExitCode {
        let ready = Up::Ready { unenforced: std::mem::take(&mut self.unenforced) };
        if let Err(e) = self.parent.tell(&ready, None) {
            return gone(&e);
        }
        loop {
            let message = match self.inbox.recv(self.parent.control.fd(), Deadline::NEVER) {
                Ok(m) => m,
                Err(e) => return gone(&e),
            };
            let Ok(down) = Down::from_bytes(&message.payload) else {
                log::crit!("parent", msg = "malformed message");
                return ExitCode::from(sysexits::SOFTWARE);
            };
            if let Err(code) = self.handle(down, message.fd, events) {
                return code;
            }
        }
    }

    fn handle(&self, down: Down, fd: Option<OwnedFd>, events: &dyn Events) -> Result<(), ExitCode> {
        match (down, fd) {
            (Down::Config { part }, _) => {
                let generation = part.generation;
                if let Err(why) = events.config(part) {
                    log::crit!(
                        "config",
                        msg = "cannot apply what parent checked",
                        error = Show(&why)
                    );
                    return Err(ExitCode::from(sysexits::CONFIG));
                }
                self.tell(&Up::Applied { generation })?;
            }
            (Down::Peer { kind }, Some(fd)) => {
                let parent = self.parent.clone();
                // Parent gone: the main thread ends the process.
                let broken = move || drop(parent.tell(&Up::Broken { kind }, None));
                if let Some(kind) = table::kind(kind) {
                    events.peer(kind, Channel::new(fd, broken));
                }
            }
            (Down::Listeners { all }, _) => events.listeners(all),
            (Down::Listen { listener }, Some(fd)) => events.listen(listener, fd),
            (Down::Opened { request, result: Ok(()) }, Some(fd)) => events.opened(request, Ok(fd)),
            // It found no room here: as if parent had had none.
            (Down::Opened { request, result: Ok(()) }, None) => {
                log::warn!("parent", msg = "out of descriptors: what was opened is lost");
                events.opened(request, Err(Refusal::Busy));
            }
            (Down::Opened { request, result: Err(why) }, _) => events.opened(request, Err(why)),
            (Down::Exited { request, ended }, _) => events.exited(request, ended),
            (Down::Attach { account, role, sid, peer }, fd) => {
                events.attach(account, role, sid, table::kind(peer), fd);
            }
            (Down::Verbose { level }, _) => log::set_verbose(level > 0),
            (Down::Stats { ask }, _) => self.tell(&Up::Stats { ask, all: events.stats() })?,
            (Down::Answer { request, payload }, _) => events.answer(request, payload),
            (Down::User { request, user }, _) => events.user(request, user),
            (Down::Rest, _) => events.rest(),
            (Down::Stop, _) => events.stop(),
            (Down::Peer { .. } | Down::Listen { .. }, None) => {
                // Parent gives it anew to the process that follows this one.
                log::crit!("parent", msg = "out of descriptors: a channel or listener is lost");
                return Err(ExitCode::from(sysexits::OSERR));
            }
            _ => {
                log::crit!("parent", msg = "unexpected message");
                return Err(ExitCode::from(sysexits::SOFTWARE));
            }
        }
        Ok(())
    }

    fn tell(&self, up: &Up) -> Result<(), ExitCode> {
        self.parent.tell(up, None).map_err(|e| gone(&e))
    }
}

/// Parent is gone: this process has nobody to serve for.
fn gone(why: &Broken) -> ExitCode {
    if !matches!(why, Broken::Gone) {
        log::crit!("parent", error = Show(why));
    }
    ExitCode::SUCCESS
}
