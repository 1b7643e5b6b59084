//! A job of queue: the hosts of the route are tried, best first, until each
//! recipient has an answer.
//!
//! A host that cannot be reached, does not want us or takes nothing now is
//! followed by the next; a 5xx to MAIL or RCPT is an answer, from whichever
//! host.  What nobody answered is tried again later.  Whatever goes wrong on
//! our side is temporary too.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::base::stream::Stream;
use crate::disk::spool::head::Key as BodyKey;
use crate::disk::spool::message::Message;
use crate::ipc::call::CallError;
use crate::ipc::mta_lookup::{self, Answer, Host, NoRoute, Route, Scheme};
use crate::ipc::queue_mta::{Ask, Job, Outcome, Rcpt, Report};
use crate::ipc::queue_store::Change;
use crate::proc::mta::idle::Key;
use crate::proc::mta::policy::{Action, Snapshot, TlsUse};
use crate::proc::mta::session::{local_ip, Lost, Opening, Session};
use crate::proc::mta::transact::{Lacking, Letter};
use crate::proc::mta::Shared;
use crate::proto::limits;
use crate::proto::secret::Secret;
use crate::proto::smtp::edit::{Edit, Edits};
use std::collections::HashMap;
use std::fs::File;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Connections that one job tries: a domain with a hundred addresses is not
/// tried for hours.
const CONNECTIONS: usize = 10;
/// How long a report that queue did not take waits.
const AGAIN: Duration = Duration::from_millis(200);

/// Recipients that have no answer yet, and why.
struct Open<'a> {
    shared: &'a Shared,
    job: &'a Job,
    left: Vec<&'a Rcpt>,
    /// Code and words for them, should nobody answer.
    why: (u16, u16, String),
    /// What hosts lacked that were asked, by the recipient's number.
    lacking: HashMap<u32, Lacking>,
    /// There was a host that might have had it.
    perhaps: bool,
    reported: bool,
}

/// What else can be done at a host.
enum Next {
    /// Another connection to it takes more.
    Again,
    /// Another host is next.
    Host,
}

impl Open<'_> {
    /// Tells queue of those that have an answer.
    fn settle(&mut self, reports: Vec<Report>) {
        if reports.is_empty() {
            return;
        }
        self.left.retain(|r| !reports.iter().any(|done| done.number == r.number));
        let last = self.left.is_empty();
        self.tell(reports, last);
    }

    fn tell(&mut self, results: Vec<Report>, last: bool) {
        self.reported |= last;
        let ask = Ask::Report { id: self.job.id, results, last };
        loop {
            // What queue hears twice means what it means once, and one that was
            // restarted knows nothing of it and gives the job anew.
            match self.shared.queue.call_again(&ask, self.shared.soon()) {
                Ok(_) => break,
                Err(e) => log::warn!("report", qid = self.job.qid.as_str(), error = Show(&e)),
            }
            // It may be stopped; but a job of which it hears nothing never ends.
            std::thread::sleep(AGAIN);
        }
        if last {
            lock::lock(&self.shared.working).remove(&self.job.id);
        }
    }

    /// Every host has been tried: what all of them lack is lacking for good.
    fn conclude(&mut self) {
        let lacking = std::mem::take(&mut self.lacking);
        if self.perhaps {
            return;
        }
        let report = |r: &&Rcpt| {
            let (result, why) = lacking.get(&r.number)?;
            let said = (*why).to_owned();
            Some(Report { number: r.number, result: *result, host: None, said })
        };
        let reports = self.left.iter().filter_map(report).collect();
        self.settle(reports);
    }

    fn all(&mut self, outcome: Outcome, why: &str) {
        let report = |r: &&Rcpt| Report {
            number: r.number,
            result: outcome,
            host: None,
            said: why.to_owned(),
        };
        let reports = self.left.iter().map(report).collect();
        self.left.clear();
        self.tell(reports, true);
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.reported {
            let (subject, detail, why) = std::mem::take(&mut self.why);
            self.all(Outcome::Temp { subject, detail }, &why);
        }
    }
}

impl<'a> Open<'a> {
    fn of(shared: &'a Shared, job: &'a Job) -> Open<'a> {
        Open {
            shared,
            job,
            left: job.rcpts.iter().collect(),
            why: (3, 0, "internal error".to_owned()),
            lacking: HashMap::new(),
            perhaps: false,
            reported: false,
        }
    }
}

impl Shared {
    /// Tells queue on a fresh channel which jobs this process has.
    pub(super) fn hello(&self) {
        loop {
            let jobs = lock::lock(&self.working).iter().copied().collect();
            match self.queue.call(&Ask::Hello { life: self.life, jobs }, self.soon()) {
                Ok(_) => return,
                Err(CallError::PeerGone) => {
                    // The channel that comes next has a greeting of its own.
                    return;
                }
                Err(e) => log::warn!("hello", error = Show(&e)),
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Reports a job that could not be begun: it is tried again later.
    pub(super) fn give_back(&self, job: &Job, why: &str) {
        Open::of(self, job).all(Outcome::Temp { subject: 3, detail: 2 }, why);
    }

    /// Does a job and reports it, whatever happens.
    pub(super) fn run(&self, job: Job, fd: OwnedFd) {
        let mut open = Open::of(self, &job);
        let snapshot = self.snapshot();
        let Some(action) = snapshot.actions.get(&job.action) else {
            open.why.2 = format!("action \"{}\" is not in the configuration", job.action);
            return;
        };
        let message = match message(&job, fd) {
            Ok(message) => message,
            Err(why) => {
                open.why.2 = why;
                return;
            }
        };
        let sender = match &action.mail_from {
            // Notifications stay what they are: never answered.
            Some(replaced) if !job.sender.is_empty() => replaced.clone(),
            _ => job.sender.clone(),
        };
        let letter = Letter { job: &job, sender: &sender, message: &message };
        if action.socket {
            return self.over_socket(&snapshot, action, &letter, &mut open);
        }
        let ask = mta_lookup::Ask::Route { action: job.action.clone(), domain: job.domain.clone() };
        let route = match self.lookup.call_again(&ask, self.soon()) {
            Ok(Answer::Route { route }) => route,
            Ok(_) => Err(NoRoute::Temporary { why: "lookup answered another question".into() }),
            Err(e) => Err(NoRoute::Temporary { why: e.to_string() }),
        };
        match route {
            Ok(route) => self.over_route(&snapshot, action, &letter, route, &mut open),
            Err(NoRoute::NoDomain) => {
                open.all(Outcome::Perm { subject: 1, detail: 2 }, "the domain does not exist");
            }
            Err(NoRoute::NullMx) => {
                // RFC 7505 4.2.
                let outcome = Outcome::Perm { subject: 1, detail: 10 };
                open.all(outcome, "the domain takes no mail (null MX)");
            }
            Err(NoRoute::Loop) => {
                let why = "mail for the domain loops back to this host";
                open.all(Outcome::Perm { subject: 4, detail: 6 }, why);
            }
            Err(NoRoute::Temporary { why }) => open.why = (4, 3, why),
        }
    }

    /// Tries hosts and addresses in order.
    fn over_route(
        &self,
        snapshot: &Snapshot,
        action: &Action,
        letter: &Letter<'_>,
        route: Route,
        open: &mut Open<'_>,
    ) {
        open.why = (4, 1, "no host could be reached".to_owned());
        let places = route.hosts.iter().flat_map(|h| h.addrs.iter().map(move |a| (h, *a)));
        let mut places = places.enumerate().peekable();
        for _ in 0..CONNECTIONS {
            if open.left.is_empty() {
                return;
            }
            let Some((n, (host, ip))) = places.peek().copied() else { return open.conclude() };
            let Some(source) = self.source(&route.sources, ip) else {
                open.why = (4, 4, format!("no source address for {ip}"));
                open.perhaps = true;
                places.next();
                continue;
            };
            let key = Key {
                action: letter.job.action.clone(),
                host: host.name.clone(),
                addr: SocketAddr::new(ip, host.port),
                source,
                tls: action.tls_use(host.scheme),
                label: host.label.clone(),
                lmtp: host.scheme == Scheme::Lmtp,
            };
            if let Some(mut session) = self.reuse(&key) {
                // It may have been closed meanwhile: RSET tells.
                let time = snapshot.limits.command;
                if session.command("RSET", time).is_ok_and(|r| r.class() == 2) {
                    self.counts.reused.fetch_add(1, Ordering::Relaxed);
                    self.deliver(snapshot, session, Some(key.clone()), letter, open);
                    if open.left.is_empty() {
                        return;
                    }
                }
            }
            match self.connect(snapshot, action, letter.job, host, &key) {
                Ok(session) => match self.deliver(snapshot, session, Some(key), letter, open) {
                    Next::Again => continue,
                    Next::Host => {}
                },
                Err(Lost::Own) => {
                    // RFC 5321 5.1: this host and those behind it would send
                    // the message round.  A better one may be there later.
                    self.unreached(host, ip, &Lost::Own, letter.job, open);
                    if n == 0 {
                        let why = "mail for the domain loops back to this host";
                        open.all(Outcome::Perm { subject: 4, detail: 6 }, why);
                    }
                    return;
                }
                Err(lost) => self.unreached(host, ip, &lost, letter.job, open),
            }
            places.next();
        }
        if places.peek().is_none() {
            open.conclude();
        }
    }

    fn unreached(&self, host: &Host, ip: IpAddr, lost: &Lost, job: &Job, open: &mut Open<'_>) {
        log::info!(
            "mta",
            qid = job.qid.as_str(),
            host = Show(&format_args!("{} [{ip}]", host.name)),
            error = Show(lost)
        );
        let (subject, detail) = match lost {
            Lost::Io(_) => (4, 1),
            Lost::Protocol(_) => (5, 0),
            Lost::Tls(_) => (7, 5),
            Lost::Own => (4, 6),
            Lost::Refused(reply) => reply.status.map_or((4, 0), |s| (s.subject, s.detail)),
        };
        open.why = (subject, detail, format!("{} [{ip}]: {lost}", host.name));
        open.perhaps = true;
    }

    /// The local address for a connection to `ip`: `Some(None)` is any, `None`
    /// that the action has addresses, but none of this family.
    fn source(&self, sources: &[IpAddr], ip: IpAddr) -> Option<Option<IpAddr>> {
        if sources.is_empty() {
            return Some(None);
        }
        let fit: Vec<&IpAddr> = sources.iter().filter(|s| s.is_ipv4() == ip.is_ipv4()).collect();
        let turn = usize::try_from(self.turn.fetch_add(1, Ordering::Relaxed)).unwrap_or(0);
        fit.get(turn.checked_rem(fit.len())?).map(|s| Some(**s))
    }

    /// Connects and talks until mail may be sent.
    fn connect(
        &self,
        snapshot: &Snapshot,
        action: &Action,
        job: &Job,
        host: &Host,
        key: &Key,
    ) -> Result<Session, Lost> {
        let login = match &host.label {
            Some(label) => Some(self.credentials(&job.action, label)?),
            None => None,
        };
        let login = login.as_ref().map(|(user, secret)| (user.as_str(), secret.expose()));
        let who = format!("{} [{}]", host.name, key.addr.ip());
        let begin = |tls| -> Result<Session, Lost> {
            let deadline = Deadline::after(snapshot.limits.connect);
            let stream = Stream::connect(key.addr, key.source, deadline)?;
            self.counts.connections.fetch_add(1, Ordering::Relaxed);
            let local = local_ip(&stream);
            let helo = self.helo(action, &job.action, local)?;
            // Behind another port, or a password, is what the administrator means.
            let own = (key.addr.port() == 25 && host.label.is_none() && is_here(local, key.addr))
                .then_some(snapshot.server.as_str());
            let opening = Opening {
                host: &host.name,
                tls,
                client: &action.client,
                helo: &helo,
                own,
                lmtp: key.lmtp,
                login,
                limits: snapshot.limits,
            };
            Session::open(stream, who.clone(), &opening)
        };
        match begin(key.tls) {
            // Opportunistic: in clear rather than not at all (RFC 7435 3);
            // but never with a password.
            Err(Lost::Tls(why)) if key.tls == TlsUse::Offered && login.is_none() => {
                log::info!(
                    "mta",
                    host = who.as_str(),
                    msg = "TLS failed, going on in clear",
                    why = why.as_str()
                );
                begin(TlsUse::Never)
            }
            other => other,
        }
        .inspect(|session| {
            if session.tls.is_some() {
                self.counts.tls.fetch_add(1, Ordering::Relaxed);
            }
        })
    }

    fn credentials(&self, action: &str, label: &str) -> Result<(String, Secret), Lost> {
        let ask = mta_lookup::Ask::Credentials { action: action.into(), label: label.into() };
        match self.lookup.call_again(&ask, self.soon()) {
            Ok(Answer::Credentials { found: Ok(Some(c)) }) => Ok((c.user, c.password)),
            Ok(Answer::Credentials { found: Ok(None) }) => {
                Err(Lost::Io(format!("no credentials for {label}")))
            }
            Ok(Answer::Credentials { found: Err(why) }) => Err(Lost::Io(why)),
            Ok(_) => Err(Lost::Io("lookup answered another question".into())),
            Err(e) => Err(Lost::Io(e.to_string())),
        }
    }

    /// Our name on this connection.
    fn helo(&self, action: &Action, name: &str, local: Option<IpAddr>) -> Result<String, Lost> {
        let (true, Some(local)) = (action.helo_table, local) else {
            return Ok(action.helo.clone());
        };
        let ask = mta_lookup::Ask::Helo { action: name.to_owned(), local };
        match self.lookup.call_again(&ask, self.soon()) {
            Ok(Answer::Helo { name: Ok(Some(found)) }) => Ok(found),
            Ok(Answer::Helo { name: Ok(None) }) => Ok(action.helo.clone()),
            Ok(Answer::Helo { name: Err(why) }) => Err(Lost::Io(why)),
            Ok(_) => Err(Lost::Io("lookup answered another question".into())),
            Err(e) => Err(Lost::Io(e.to_string())),
        }
    }

    /// LMTP over a socket that parent connects.
    fn over_socket(
        &self,
        snapshot: &Snapshot,
        action: &Action,
        letter: &Letter<'_>,
        open: &mut Open<'_>,
    ) {
        let slot = self.openings.begin();
        let name = letter.job.action.clone();
        let ask = mta_lookup::Ask::Socket { action: name, request: slot.request };
        let asked = match self.lookup.call(&ask, self.soon()) {
            Ok(Answer::Socket { asked }) => asked,
            Ok(_) => Err("lookup answered another question".to_owned()),
            Err(e) => Err(e.to_string()),
        };
        let opened = asked.and_then(|()| slot.wait(self.soon()).map_err(|e| e.to_string()));
        let fd = match opened {
            Ok(Ok(fd)) => fd,
            Ok(Err(why)) => {
                open.why = (4, 1, format!("the LMTP socket cannot be opened: {why:?}"));
                return;
            }
            Err(why) => {
                open.why = (4, 1, why);
                return;
            }
        };
        let opening = Opening {
            host: "localhost",
            tls: TlsUse::Never,
            client: &action.client,
            helo: &action.helo,
            own: None,
            lmtp: true,
            login: None,
            limits: snapshot.limits,
        };
        let session = Stream::local(fd)
            .map_err(|e| Lost::Io(e.to_string()))
            .and_then(|s| Session::open(s, "the LMTP server".into(), &opening));
        match session {
            Ok(session) => {
                self.deliver(snapshot, session, None, letter, open);
                open.conclude();
            }
            Err(lost) => open.why = (4, 1, lost.to_string()),
        }
    }

    /// Sends the message to who is left, in as many transactions as the host
    /// wants, and lets the connection wait for the next job.
    fn deliver(
        &self,
        snapshot: &Snapshot,
        mut session: Session,
        key: Option<Key>,
        letter: &Letter<'_>,
        open: &mut Open<'_>,
    ) -> Next {
        // RFC 9422 2.2: how many recipients one transaction takes.
        let max = session
            .offers
            .rcpt_max
            .map_or(usize::MAX, |n| usize::try_from(n).unwrap_or(usize::MAX).max(1));
        let mail_max = session.offers.mail_max.filter(|n| *n != 0);
        let mail_max = mail_max.unwrap_or(u64::MAX).min(snapshot.limits.mails);
        let mut most = max.min(limits::MTA_RCPTS.size()).max(1);
        open.perhaps |= session.plain;
        let mut todo = open.left.clone();
        let mut next = Next::Host;
        // The last reports go out when the connection is free again: whoever
        // hears of them may have the next message for it.
        let mut reports = Vec::new();
        while !todo.is_empty() {
            if session.mails >= mail_max {
                // RFC 9422 2.1: a new connection takes more.
                next = Next::Again;
                break;
            }
            open.settle(std::mem::take(&mut reports));
            let mut group = todo;
            todo = group.split_off(most.min(group.len()));
            let ended = session.send(letter, &group);
            if ended.reports.iter().any(|r| matches!(r.result, Outcome::Done { .. })) {
                self.counts.sent.fetch_add(1, Ordering::Relaxed);
            }
            reports = ended.reports;
            open.lacking.extend(ended.lacking);
            if let Some(why) = &ended.elsewhere {
                open.why = (4, 0, format!("{}: {why}", session.host));
                open.perhaps = true;
            }
            if let Some(lost) = ended.lost {
                // Of no use, whatever else was said on it.
                if ended.elsewhere.is_none() {
                    open.why = (4, 2, format!("{}: {lost}", session.host));
                }
                open.perhaps = true;
                open.settle(reports);
                return Next::Host;
            }
            if ended.elsewhere.is_some() {
                break;
            }
            if !ended.over.is_empty() {
                // So many it takes at a time.
                most = group.len().saturating_sub(ended.over.len()).max(1);
                group.retain(|r| ended.over.contains(&r.number));
                group.append(&mut todo);
                todo = group;
            }
        }
        match key {
            Some(key) if session.mails < mail_max => {
                self.keep(key, session);
                open.settle(reports);
            }
            _ => {
                open.settle(reports);
                session.quit(Deadline::after(snapshot.limits.connect));
            }
        }
        next
    }
}

/// Whether a connection leads to this machine.
fn is_here(local: Option<IpAddr>, peer: SocketAddr) -> bool {
    let peer = peer.ip().to_canonical();
    peer.is_loopback() || peer.is_unspecified() || local.is_some_and(|l| l.to_canonical() == peer)
}

/// The message of a job.
fn message(job: &Job, fd: OwnedFd) -> Result<Message, String> {
    let mut edits = Edits::new();
    for change in &job.body.edits {
        let edit = match change {
            Change::Insert { offset, bytes } => {
                Edit::Insert { offset: *offset, bytes: bytes.clone() }
            }
            Change::Delete { offset, len } => Edit::Delete { offset: *offset, len: *len },
        };
        edits.push(edit).map_err(|_| "edits out of order".to_owned())?;
    }
    let key = BodyKey::new(job.body.key);
    Message::of_body(File::from(fd), key, job.body.len, edits).map_err(|e| e.to_string())
}
