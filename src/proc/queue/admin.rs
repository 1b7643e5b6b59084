//! What an administrator asks of the queue, through control.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::disk::spool::message::Message;
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{End, Record};
use crate::disk::spool::SpoolError;
use crate::ipc::call::{Back, Serve};
use crate::ipc::ctl::{Event, QueueRow, Reply, Request};
use crate::ipc::pool::Pool;
use crate::ipc::wire::Wire;
use crate::proc::queue::message::{ttl, Kept};
use crate::proc::queue::sched::{Class, Id, Standing};
use crate::proc::queue::{Queue, Shared};
use crate::proto::date::DateTime;
use std::fmt::Write;
use std::ops::Bound;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Duration;

/// Rows of one answer to `show queue`.
const ROWS: usize = 1000;
/// Octets of one answer to `show message`.
const PIECE: usize = 256 * 1024;

/// Serves control.
pub struct Server {
    shared: Arc<Shared>,
    pool: Pool,
    waits: Pool,
}

impl Server {
    /// With a pool for what is answered at once, and one for `wait`.
    pub fn new(shared: &Arc<Shared>, pool: Pool, waits: Pool) -> Server {
        Server { shared: Arc::clone(shared), pool, waits }
    }
}

impl Serve for Server {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let Ok(request) = Request::from_bytes(&payload) else {
            log::crit!("admin", msg = "malformed request of control");
            return back.busy();
        };
        let shared = Arc::clone(&self.shared);
        let pool = match request {
            Request::Wait { .. } => &self.waits,
            _ => &self.pool,
        };
        // A full pool drops the job, which answers Busy.
        pool.submit(move || back.reply(&shared.administer(&request), None));
    }

    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// What a word of rmailctl(8) names.
enum What {
    All,
    Message(Qid),
    Envelope(Id),
}

impl What {
    fn parse(text: &str) -> Option<What> {
        if text == "all" {
            return Some(What::All);
        }
        match text.split_once('.') {
            None => Qid::parse(text.as_bytes()).map(What::Message),
            Some((qid, rcpt)) => {
                let qid = Qid::parse(qid.as_bytes())?;
                Some(What::Envelope(Id { qid, rcpt: rcpt.parse().ok().filter(|n| *n > 0)? }))
            }
        }
    }
}

fn error(text: impl Into<String>) -> Reply {
    Reply::Error { text: text.into() }
}

/// What the names of `rmailctl pause` are of queue's.
pub fn class(what: &str) -> Option<Class> {
    match what {
        "mta" => Some(Class::Remote),
        "mda" => Some(Class::Local),
        _ => None,
    }
}

impl Shared {
    fn administer(&self, request: &Request) -> Reply {
        match request {
            Request::ShowQueue { after, max } => self.show_queue(after, *max),
            Request::ShowMessage { qid, offset } => self.show_message(qid, *offset),
            Request::ShowEnvelope { id } => self.show_envelope(id),
            Request::Schedule { what } => self.each(what, "scheduled", |shared, id| {
                let now = shared.now();
                Ok(shared.queue().sched.try_now(id, now))
            }),
            Request::Remove { what } => self.each(what, "removed", Shared::remove_one),
            Request::Hold { what } => self.each(what, "held", |shared, id| {
                let why = "held by the administrator".to_owned();
                shared.record(id.qid, Record::Hold { rcpt: id.rcpt, on: true, why })?;
                Ok(shared.queue().sched.hold(id))
            }),
            Request::Release { what } => self.each(what, "released", |shared, id| {
                if shared.queue().rcpt(id).is_none_or(|r| r.held.is_none()) {
                    return Ok(false);
                }
                let why = String::new();
                shared.record(id.qid, Record::Hold { rcpt: id.rcpt, on: false, why })?;
                let now = shared.now();
                Ok(shared.queue().sched.release(id, now))
            }),
            Request::Pause { what } => self.pause(what, true),
            Request::Resume { what } => self.pause(what, false),
            Request::Wait { event, millis } => self.wait(event, *millis),
            _ => error("not a request for the queue"),
        }
    }

    fn pause(&self, what: &str, on: bool) -> Reply {
        let Some(class) = class(what) else {
            return error(format!("{what}: mta, mda or smtp can be paused"));
        };
        let mut queue = self.queue();
        if on {
            queue.paused.insert(class);
        } else {
            queue.paused.remove(&class);
        }
        drop(queue);
        self.changed.notify_all();
        Reply::Ok { text: String::new() }
    }

    /// Does something to each recipient that a word names.
    fn each(
        &self,
        what: &str,
        done: &str,
        act: impl Fn(&Shared, Id) -> Result<bool, SpoolError>,
    ) -> Reply {
        let Some(named) = What::parse(what) else {
            return error(format!("{what}: not a message, an envelope (message.N) or all"));
        };
        let ids = self.ids(&named);
        if ids.is_empty() && !matches!(named, What::All) {
            return error(format!("{what}: no such message"));
        }
        let mut n = 0usize;
        for id in ids {
            match act(self, id) {
                Ok(yes) => n = n.saturating_add(usize::from(yes)),
                Err(e) => {
                    self.trouble("admin", id.qid, &e);
                    return error(format!("{}.{}: {e}", id.qid, id.rcpt));
                }
            }
        }
        self.changed.notify_all();
        Reply::Ok { text: format!("{n} {done}") }
    }

    fn ids(&self, what: &What) -> Vec<Id> {
        let queue = self.queue();
        let of = |qid: &Qid, kept: &Kept| {
            let qid = *qid;
            kept.state.open().map(|(rcpt, _)| Id { qid, rcpt }).collect::<Vec<_>>()
        };
        match what {
            What::All => queue.messages.iter().flat_map(|(qid, kept)| of(qid, kept)).collect(),
            What::Message(qid) => queue.messages.get(qid).map(|k| of(qid, k)).unwrap_or_default(),
            What::Envelope(id) => queue.rcpt(*id).map(|_| vec![*id]).unwrap_or_default(),
        }
    }

    /// Appends a record and applies it.
    fn record(&self, qid: Qid, record: Record) -> Result<(), SpoolError> {
        self.spool.append(qid, std::slice::from_ref(&record))?;
        if let Some(kept) = self.queue().messages.get_mut(&qid) {
            kept.state.apply(&record);
        }
        Ok(())
    }

    fn remove_one(&self, id: Id) -> Result<bool, SpoolError> {
        if !self.queue().sched.withdraw(id) {
            // Its outcome is on the way, and would come too late to be true.
            return Ok(false);
        }
        let done = Record::Done { rcpts: vec![id.rcpt], end: End::Removed };
        if let Err(e) = self.record(id.qid, done) {
            let now = self.now();
            self.queue().sched.defer(id, false, now);
            return Err(e);
        }
        let mut queue = self.queue();
        queue.sched.remove(id);
        let finished = queue.messages.get(&id.qid).is_some_and(|k| k.state.is_finished());
        drop(queue);
        log::info!("remove", qid = Show(&format_args!("{}.{}", id.qid, id.rcpt)));
        if finished {
            self.finish(id.qid);
        }
        Ok(true)
    }

    fn show_queue(&self, after: &str, max: u32) -> Reply {
        let begin = Qid::parse(after.as_bytes()).map_or(Bound::Unbounded, Bound::Excluded);
        let max = usize::try_from(max).unwrap_or(ROWS).clamp(1, ROWS);
        let (config, now) = (self.config(), self.now());
        let queue = self.queue();
        let mut rows = Vec::new();
        // Whole messages only: the next question goes on after the last one.
        for (qid, kept) in queue.messages.range((begin, Bound::Unbounded)) {
            if rows.len() >= max {
                return Reply::Queue { rows, more: true };
            }
            for (rcpt, r) in kept.state.open() {
                let id = Id { qid: *qid, rcpt };
                let created = kept.created.secs;
                let ttl = i64::try_from(ttl(&config, &r.envelope).as_secs()).unwrap_or(i64::MAX);
                let (state, next_try) = standing(&queue, id, now);
                rows.push(QueueRow {
                    qid: qid.to_string(),
                    rcpt,
                    kind: self.kind(&config, kept, r).into(),
                    state: state.into(),
                    sender: kept.state.origin.sender.to_string().into_bytes(),
                    recipient: r.envelope.rcpt.to_string().into_bytes(),
                    size: kept.size,
                    created,
                    expires: created.saturating_add(ttl),
                    last_try: r.last_try,
                    next_try,
                    tries: r.tries,
                    last_error: r.said.clone().into_bytes(),
                });
            }
        }
        Reply::Queue { rows, more: false }
    }

    fn kind(
        &self,
        config: &crate::conf::ast::Config,
        kept: &Kept,
        r: &crate::disk::spool::state::Recipient,
    ) -> &'static str {
        let own = kept.state.origin.session.protocol == "local";
        if own && kept.state.origin.sender.mailbox().is_none() {
            return "bounce";
        }
        match Shared::dest(config, &r.envelope).class {
            Class::Local => "mda",
            Class::Remote => "mta",
        }
    }

    fn show_message(&self, qid: &str, offset: u64) -> Reply {
        let Some(qid) = Qid::parse(qid.as_bytes()) else { return error("not a message's id") };
        match self.piece(qid, offset) {
            Ok((bytes, more)) => Reply::Bytes { bytes, more },
            Err(SpoolError::Gone) => error(format!("{qid}: no such message")),
            Err(e) => error(e.to_string()),
        }
    }

    fn piece(&self, qid: Qid, offset: u64) -> Result<(Vec<u8>, bool), SpoolError> {
        let loaded = self.spool.load(qid)?;
        let (file, key) = self.spool.open_body(qid)?;
        let message = Message::open(file, key, loaded.state.edits)?;
        let mut reader = message.reader();
        let mut skip = offset;
        let mut bytes = Vec::new();
        while let Some(piece) = reader.next_piece()? {
            let drop = usize::try_from(skip).unwrap_or(usize::MAX).min(piece.len());
            skip = skip.saturating_sub(u64::try_from(drop).unwrap_or(0));
            bytes.extend_from_slice(&piece[drop..]);
            if bytes.len() >= PIECE {
                bytes.truncate(PIECE);
                break;
            }
        }
        let here = offset.saturating_add(u64::try_from(bytes.len()).unwrap_or(0));
        Ok((bytes, here < message.size()))
    }

    fn show_envelope(&self, id: &str) -> Reply {
        let Some(What::Envelope(id)) = What::parse(id) else {
            return error("not an envelope's id (message.N)");
        };
        let now = self.now();
        let config = self.config();
        let queue = self.queue();
        let (Some(r), Some(kept)) = (queue.rcpt(id), queue.messages.get(&id.qid)) else {
            return error("no such envelope");
        };
        let origin = &kept.state.origin;
        let s = &origin.session;
        let e = &r.envelope;
        let mut text = String::new();
        // Writing into a string cannot fail.  Texts of clients are escaped: they
        // go to a terminal.
        let mut line = |name: &str, value: String| {
            if !value.is_empty() {
                let _ = writeln!(text, "{name}: {}", value.escape_debug());
            }
        };
        let date = |secs: i64| DateTime::utc(secs).rfc5322();
        let option = |o: &Option<String>| o.clone().unwrap_or_default();
        line("id", format!("{}.{}", id.qid, id.rcpt));
        line("kind", self.kind(&config, kept, r).into());
        line("state", standing(&queue, id, now).0.into());
        line("sender", format!("<{}>", origin.sender));
        line("recipient", e.rcpt.to_string());
        line("original-recipient", e.orig.to_string());
        line("action", e.action.clone());
        line("user", option(&e.user));
        line("alias", e.item.as_ref().map(|i| i.key.clone()).unwrap_or_default());
        line("created", date(kept.created.secs));
        let ttl = i64::try_from(ttl(&config, e).as_secs()).unwrap_or(0);
        line("expires", date(kept.created.secs.saturating_add(ttl)));
        line("size", kept.size.to_string());
        line("tries", r.tries.to_string());
        line("last-try", if r.last_try == 0 { String::new() } else { date(r.last_try) });
        line("last-error", r.said.clone());
        line("held", option(&r.held));
        line("deaths", if r.deaths == 0 { String::new() } else { r.deaths.to_string() });
        line("session", if s.sid == 0 { String::new() } else { format!("{:016x}", s.sid) });
        line("protocol", s.protocol.clone());
        line("client", s.client.map(|c| c.to_string()).unwrap_or_default());
        line("client-name", option(&s.rdns));
        line("helo", s.helo.clone());
        line("tls", option(&s.tls));
        line("login", option(&s.user));
        line("tag", option(&s.tag));
        line("envid", option(&origin.envid));
        if let Some(n) = e.notify {
            let words = [(n.success, "success"), (n.failure, "failure"), (n.delay, "delay")];
            let on: Vec<&str> = words.iter().filter(|(on, _)| *on).map(|(_, w)| *w).collect();
            line("notify", if on.is_empty() { "never".into() } else { on.join(",") });
        }
        if let Some(o) = &e.orcpt {
            line("orcpt", format!("{};{}", o.kind, o.address));
        }
        if let Some(v) = &kept.state.verdict {
            line("junk", v.junk.to_string());
            line("reasons", v.reasons.join(", "));
        }
        Reply::Bytes { bytes: text.into_bytes(), more: false }
    }

    fn wait(&self, event: &Event, millis: u64) -> Reply {
        let deadline = Deadline::after(Duration::from_millis(millis));
        let qid = match event {
            Event::Delivered { qid } => match Qid::parse(qid.as_bytes()) {
                Some(qid) => Some(qid),
                None => return error("not a message's id"),
            },
            _ => None,
        };
        let mut queue = self.queue();
        loop {
            let ready = queue.loaded && queue.resumed;
            let jobs = queue.sched.jobs(Class::Local) + queue.sched.jobs(Class::Remote);
            let come = match event {
                Event::Delivered { .. } => qid.is_some_and(|q| !queue.messages.contains_key(&q)),
                Event::QueueEmpty => queue.messages.is_empty(),
                Event::Idle => {
                    let now = self.now();
                    let due = queue.sched.sleep(now).is_some_and(|d| d.is_zero());
                    let told = queue.untold.is_empty();
                    jobs == 0 && told && (!due || !queue.paused.is_empty())
                }
            };
            if ready && come {
                if let Some(lines) = qid.and_then(|qid| queue.undelivered.of(qid)) {
                    return Reply::Errors { lines: lines.to_vec() };
                }
                return Reply::Ok { text: String::new() };
            }
            if deadline.expired() {
                return error("it has not come to that in time");
            }
            let left = deadline.left().map(|d| d.min(Duration::from_secs(1)));
            queue = lock::wait_for(&self.changed, queue, left);
        }
    }
}

/// State and next attempt (Unix seconds) of a recipient.
fn standing(queue: &Queue, id: Id, now: crate::proc::queue::sched::Now) -> (&'static str, i64) {
    match queue.sched.standing(id, now) {
        Some(Standing::Waiting(ms)) => {
            ("pending", now.wall.saturating_add(ms.max(0)).div_euclid(1000))
        }
        Some(Standing::InWork) => ("running", 0),
        Some(Standing::Held) => ("held", 0),
        Some(Standing::Paused) => ("suspended", 0),
        // It ends this moment.
        None => ("running", 0),
    }
}
