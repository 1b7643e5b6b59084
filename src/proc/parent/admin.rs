//! Administrative requests, which control hands on.
//!
//! What needs the children's word (numbers) is asked of all and answered when
//! all have answered or after half a second: a stopped child costs its own
//! rows, not the answer.

use super::{Phase, Supervisor};
use crate::base::log;
use crate::conf::ast::{Listen, Service, Tls};
use crate::ipc::ctl::{LimitRow, ListenerRow, ProcRow, Reply, Request};
use crate::ipc::parent::{Account, Down, Stat};
use crate::ipc::wire::Wire;
use crate::proc::start::Directories;
use crate::proc::table::{self, Kind, Place, Process, Root, RunAs, Unveiled};
use std::time::{Duration, Instant};

/// How long the children have to tell their numbers.
const PATIENCE: Duration = Duration::from_millis(500);

/// Requests that wait for children.
#[derive(Default)]
pub struct Pending {
    next: u64,
    asks: Vec<Ask>,
}

struct Ask {
    ask: u64,
    request: u64,
    until: Instant,
    waiting: Vec<u64>,
    rows: Vec<Stat>,
}

/// What `rmailctl pause` takes.
pub const PAUSABLE: [&str; 3] = ["mda", "mta", "smtp"];

impl Supervisor {
    /// A request from control.
    pub fn administer(&mut self, request: u64, payload: &[u8]) {
        let reply = match Request::from_bytes(payload) {
            Err(e) => Reply::Error { text: e.to_string() },
            Ok(Request::Reload) => match self.reload() {
                Ok(()) => Reply::Ok {
                    text: format!("configuration {} is in force", self.loaded.generation),
                },
                Err(lines) => self.refused(lines),
            },
            Ok(Request::Stop) => {
                self.answer(request, &Reply::Ok { text: "stopping".into() });
                return self.stop();
            }
            Ok(Request::ShowProcs) => Reply::Procs { rows: self.procs() },
            Ok(Request::ShowListeners) => Reply::Listeners { rows: self.listener_rows() },
            Ok(Request::ShowLimits) => Reply::Limits { rows: self.limit_rows() },
            Ok(Request::ShowStats) => return self.ask_stats(request),
            Ok(Request::Verbose { level }) => {
                self.verbose = level;
                log::set_verbose(level > 0);
                let ids: Vec<u64> = self.children.iter().map(|c| c.id).collect();
                for id in ids {
                    self.tell_id(id, &Down::Verbose { level }, None);
                }
                Reply::Ok { text: String::new() }
            }
            Ok(Request::UpdateTable { name }) => match self.loaded.config.table(&name) {
                None => Reply::Error { text: format!("no table {name} in the configuration") },
                // Everything is read anew: one table alone could not be
                // checked against what refers to it.
                Some(_) => match self.reload() {
                    Ok(()) => Reply::Ok { text: format!("table {name} is read") },
                    Err(lines) => self.refused(lines),
                },
            },
            Ok(Request::Pause { what }) => self.pause(what, true),
            Ok(Request::Resume { what }) => self.pause(what, false),
            Ok(_) => Reply::Error { text: "not a request for parent".into() },
        };
        self.answer(request, &reply);
    }

    /// Keeps in mind what a process that is started anew must not begin with.
    fn pause(&mut self, what: String, on: bool) -> Reply {
        if !PAUSABLE.contains(&what.as_str()) {
            return Reply::Error { text: format!("{what}: mta, mda or smtp can be paused") };
        }
        if on {
            self.paused.insert(what);
        } else {
            self.paused.remove(&what);
        }
        Reply::Ok { text: String::new() }
    }

    /// What is wrong with a configuration that was to be read anew, and what
    /// becomes of the daemon.
    fn refused(&self, mut lines: Vec<String>) -> Reply {
        lines.push(self.stays());
        Reply::Errors { lines }
    }

    fn answer(&mut self, request: u64, reply: &Reply) {
        self.tell(Kind::Control, &Down::Answer { request, payload: reply.to_bytes() }, None);
    }

    fn procs(&self) -> Vec<ProcRow> {
        let dirs = self.loaded.directories();
        let row = |process: &Process, fill: &dyn Fn(&mut ProcRow)| row(process, &dirs, fill);
        let mut rows = vec![row(table::process(Kind::Parent), &|r| {
            r.pid = std::process::id();
            r.state = "running".into();
            r.uptime = self.since.elapsed().as_secs();
            r.unenforced = self.unenforced.clone();
        })];
        for process in table::PROCESSES.iter().filter(|p| p.kind != Kind::Parent) {
            for child in self.children.iter().filter(|c| c.process.kind == process.kind) {
                rows.push(row(process, &|r| {
                    r.pid = u32::try_from(child.pid).unwrap_or(0);
                    let program = process.kind == Kind::Exec;
                    r.state = match (child.kill_at.is_some(), child.ready) {
                        // It has its time from the start.
                        (true, _) if program => "running".into(),
                        (true, _) => "leaving".into(),
                        (_, true) => "running".into(),
                        (_, false) => "starting".into(),
                    };
                    r.uptime = child.since.elapsed().as_secs();
                    r.unenforced = child.unenforced.clone();
                    if let Some(a) = &child.account {
                        r.account = a.name.clone();
                        r.user = a.uid.to_string();
                        r.unveil = unveiled(process, &dirs, Some(a));
                    }
                }));
            }
            let slot = self.slots.iter().find(|s| s.kind == process.kind);
            if let Some(at) = slot.and_then(|s| s.restart_at) {
                let wait = at.saturating_duration_since(Instant::now()).as_millis();
                rows.push(row(process, &|r| r.state = format!("restarts in {wait} ms")));
            }
        }
        rows
    }

    fn listener_rows(&self) -> Vec<ListenerRow> {
        let listens: Vec<_> = self.loaded.listens().collect();
        let row = |bound: &super::listeners::Bound| {
            let listen = listens.iter().find(|(i, _, _)| *i == bound.listener.index);
            ListenerRow {
                listener: bound.listener.clone(),
                protocol: listen.map_or("", |(_, _, l)| protocol(l)).to_string(),
                tag: listen.and_then(|(_, _, l)| l.tag.clone()).unwrap_or_default(),
            }
        };
        self.listeners.all.iter().map(row).collect()
    }

    fn limit_rows(&self) -> Vec<LimitRow> {
        let row = |(name, value, default): (&str, u64, u64)| LimitRow {
            name: name.to_string(),
            value,
            default,
        };
        self.loaded.config.limits().into_iter().map(row).collect()
    }

    fn ask_stats(&mut self, request: u64) {
        self.admin.next += 1;
        let ask = self.admin.next;
        let ready = self.children.iter().filter(|c| c.ready && c.pipe.is_some());
        let waiting: Vec<u64> = ready.map(|c| c.id).collect();
        for id in &waiting {
            self.tell_id(*id, &Down::Stats { ask }, None);
        }
        let until = Instant::now() + PATIENCE;
        self.admin.asks.push(Ask { ask, request, until, waiting, rows: Vec::new() });
    }

    /// A child's numbers.
    pub fn stats(&mut self, id: u64, ask: u64, all: Vec<Stat>) {
        if let Some(a) = self.admin.asks.iter_mut().find(|a| a.ask == ask) {
            if a.waiting.contains(&id) {
                a.waiting.retain(|w| *w != id);
                a.rows.extend(all);
            }
        }
    }

    /// Answers what is complete or out of time.
    pub fn admin_timers(&mut self, now: Instant) {
        let stopping = self.phase == Phase::Stopping;
        let (done, open) = std::mem::take(&mut self.admin.asks)
            .into_iter()
            .partition(|a: &Ask| a.waiting.is_empty() || a.until <= now || stopping);
        self.admin.asks = open;
        for mut ask in done {
            ask.rows
                .push(Stat { name: "parent.children".into(), value: self.children.len() as u64 });
            ask.rows.push(Stat { name: "parent.offline".into(), value: self.offline.waiting() });
            ask.rows
                .push(Stat { name: "parent.unanswered".into(), value: ask.waiting.len() as u64 });
            // Stores count the same things: one row for all of them.
            ask.rows.sort_by(|a, b| a.name.cmp(&b.name));
            ask.rows.dedup_by(|b, a| {
                let same = a.name == b.name;
                if same {
                    a.value = a.value.saturating_add(b.value);
                }
                same
            });
            self.answer(ask.request, &Reply::Stats { rows: ask.rows });
        }
    }

    /// When [`Supervisor::admin_timers`] has something to do next.
    pub fn next_admin(&self) -> Option<Instant> {
        let now = Instant::now();
        self.admin.asks.iter().map(|a| if a.waiting.is_empty() { now } else { a.until }).min()
    }
}

/// What a listener speaks, by the name of its service.
fn protocol(listen: &Listen) -> &'static str {
    match (listen.service, listen.tls) {
        (Service::Smtp, Tls::Implicit) => "smtps",
        (Service::Smtp, _) => "smtp",
        (Service::Lmtp, _) => "lmtp",
        (Service::Imap, Tls::Implicit) => "imaps",
        (Service::Imap, _) => "imap",
    }
}

/// What a process sees of the file system; the places of a job that is not
/// known keep their names.
fn unveiled(process: &Process, dirs: &Directories, account: Option<&Account>) -> String {
    let place = |(place, perms): &Unveiled| {
        let place = match (place, account) {
            (Place::Path(p), _) => (*p).to_string(),
            (Place::SocketDir, _) => dirs.socket.display().to_string(),
            (Place::Spool, _) if process.root == Root::Spool => "/".to_string(),
            (Place::Spool, _) => dirs.spool.display().to_string(),
            (Place::MailRoot, Some(a)) => a.mail_root.as_ref()?.display().to_string(),
            (Place::MailRoot, None) => "MAILROOT".to_string(),
            (Place::Forward, Some(a)) if a.forward => a.home.join(".forward").display().to_string(),
            (Place::Forward, Some(_)) => return None,
            (Place::Forward, None) => "~/.forward".to_string(),
            (Place::MailSpool, _) => "MAILSPOOL".to_string(),
        };
        Some(format!("{place} {perms}"))
    };
    process.unveil.iter().filter_map(place).collect::<Vec<_>>().join(", ")
}

/// A row of the process table as text; `fill` adds what is known of a process.
fn row(process: &Process, dirs: &Directories, fill: &dyn Fn(&mut ProcRow)) -> ProcRow {
    let mut row = ProcRow {
        name: process.name.into(),
        pid: 0,
        state: String::new(),
        uptime: 0,
        user: match process.user {
            RunAs::Root => "root".into(),
            RunAs::User(name) => name.into(),
            RunAs::Account => "account".into(),
        },
        root: match process.root {
            Root::Real => "/".into(),
            Root::Empty => "/var/empty".into(),
            Root::Spool => dirs.spool.display().to_string(),
            Root::Job => "job".into(),
        },
        unveil: unveiled(process, dirs, None),
        promises: process.promises.iter().map(|p| p.word()).collect::<Vec<_>>().join(" "),
        unenforced: Vec::new(),
        account: String::new(),
    };
    fill(&mut row);
    row
}
