//! Taking responsibility: what smtp asks, from DATA to 250.
//!
//! *Durability.*  [`Ask::Commit`] is answered after body and records are
//! synced, the name is published and the directory synced.  An error before
//! that leaves no file.  Whatever fails, smtp says 4xx and the client keeps the
//! message.
//!
//! smtp faces the network: what it sends is checked as if a client had sent it.

use crate::base::clock::{Deadline, Since, WallTime};
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::disk::spool::body::BodyEnd;
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{Envelope, Item, Origin, Record, Session, Verdict};
use crate::disk::spool::state::State;
use crate::disk::spool::Draft;
use crate::ipc::call::{Back, Serve};
use crate::ipc::pool::Pool;
use crate::ipc::queue_store::Change;
use crate::ipc::smtp_lookup::Destination;
use crate::ipc::smtp_queue::{Answer, Ask, Begun, Message, Notify as WireNotify, Refused};
use crate::ipc::wire::Wire;
use crate::proc::queue::message::Kept;
use crate::proc::queue::{Counts, Shared, Whole};
use crate::proto::addr::{Charset, Mailbox, ReversePath};
use crate::proto::limits;
use crate::proto::smtp::command::{Notify, Orcpt, Ret};
use crate::proto::smtp::edit::{Edit, Edits};
use crate::sys::errno::SysError;
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

/// Messages that are being written at a time: more than smtp has connections.
const DRAFTS: usize = 4096;
/// How long smtp waits for the answer to a commit, and some more.
const ASKED: Duration = Duration::from_secs(330);
/// Commits that are remembered for that time: more than smtp has sessions.
const COMMITTED: usize = 65_536;
/// How long the answer to `Resume` may wait for a commit: less than smtp waits.
const RESUME: Duration = Duration::from_secs(20);

/// Messages that are not committed yet.
#[derive(Default)]
pub struct Drafts {
    /// Since when, on the clock that nobody sets.
    open: HashMap<Qid, (Draft, Since)>,
    /// Their commit is in work.
    committing: HashSet<Qid>,
    /// Those of the last minutes, oldest first: they may be delivered and gone
    /// when smtp asks for an answer that was lost with its channel.
    committed: VecDeque<(Since, Qid)>,
}

impl Drafts {
    fn note_committed(&mut self, qid: Qid) {
        let old = |(since, _): &(Since, Qid)| since.elapsed() > ASKED;
        while self.committed.len() >= COMMITTED || self.committed.front().is_some_and(old) {
            self.committed.pop_front();
        }
        self.committed.push_back((Since::now(), qid));
    }
}

/// Serves smtp.
pub struct Server {
    shared: Arc<Shared>,
    pool: Pool,
}

impl Server {
    /// With these threads.
    pub fn new(shared: &Arc<Shared>, pool: Pool) -> Server {
        Server { shared: Arc::clone(shared), pool }
    }
}

impl Serve for Server {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let Ok(ask) = Ask::from_bytes(&payload) else {
            log::crit!("intake", msg = "malformed request of smtp");
            return back.busy();
        };
        // The drafts of the channel before this one are nobody's any more.
        // Taken out here, where requests are still in order.
        let lost = match &ask {
            Ask::Resume { .. } => std::mem::take(&mut lock::lock(&self.shared.drafts).open),
            Ask::Commit { qid, .. } => {
                if let Some(qid) = Qid::parse(qid.as_bytes()) {
                    lock::lock(&self.shared.drafts).committing.insert(qid);
                }
                HashMap::new()
            }
            _ => HashMap::new(),
        };
        let commit = match &ask {
            Ask::Commit { qid, .. } => Qid::parse(qid.as_bytes()),
            _ => None,
        };
        let shared = Arc::clone(&self.shared);
        // A full pool drops the job, which answers Busy.
        let taken = self.pool.submit(move || {
            drop(lost);
            shared.intake(ask, back);
        });
        if let (false, Some(qid)) = (taken, commit) {
            let mut drafts = lock::lock(&self.shared.drafts);
            drafts.committing.remove(&qid);
            drafts.open.remove(&qid);
            drop(drafts);
            self.shared.committed.notify_all();
        }
    }

    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

impl Shared {
    fn intake(&self, ask: Ask, back: Back) {
        match ask {
            Ask::Begin { sid, size } => match self.begin(size) {
                Ok((begun, file)) => {
                    back.reply(&Answer::Begin { begun: Ok(begun) }, Some(file.as_fd()));
                }
                Err(refused) => {
                    log::warn!(
                        "intake",
                        sid = Show(&format_args!("{sid:016x}")),
                        msg = "message refused",
                        why = Show(&refused.word())
                    );
                    back.reply(&Answer::Begin { begun: Err(refused) }, None);
                }
            },
            Ask::Commit { qid, message } => {
                let _whole = Whole::begin();
                let parsed = Qid::parse(qid.as_bytes());
                let committed =
                    parsed.ok_or(Refused::Unknown).and_then(|q| self.commit(q, &message));
                if let Some(qid) = parsed {
                    lock::lock(&self.drafts).committing.remove(&qid);
                    self.committed.notify_all();
                }
                back.reply(&Answer::Commit { committed }, None);
            }
            Ask::Abort { qid } => {
                let draft = Qid::parse(qid.as_bytes())
                    .and_then(|q| lock::lock(&self.drafts).open.remove(&q));
                drop(draft);
                back.reply(&Answer::Abort, None);
            }
            Ask::Resume { open } => match self.resume(&open) {
                Some(committed) => back.reply(&Answer::Resume { committed }, None),
                None => back.busy(),
            },
        }
    }

    fn begin(&self, size: u64) -> Result<(Begun, OwnedFd), Refused> {
        let config = self.config();
        let space = self.spool.space().map_err(|e| refused(&e))?;
        let wanted = config.limit(&limits::QUEUE_FREE_OCTETS).saturating_add(size);
        if space.octets < wanted || space.files < config.limit(&limits::QUEUE_FREE_FILES) {
            return Err(Refused::NoSpace);
        }
        self.forget_old_drafts(config.limit_time(&limits::SMTP_SESSION_TIME));
        if lock::lock(&self.drafts).open.len() >= DRAFTS {
            return Err(Refused::Exhausted);
        }
        let draft = self
            .spool
            .begin(WallTime::now(), config.queue_compression())
            .map_err(|e| refused(&e))?;
        let begun = Begun {
            qid: draft.qid().to_string(),
            key: *draft.body_key().expose(),
            deflate: draft.deflate(),
            secs: draft.created().secs,
        };
        let file = draft.descriptor().map_err(|e| refused(&e))?;
        lock::lock(&self.drafts).open.insert(draft.qid(), (draft, Since::now()));
        Ok((begun, file.into()))
    }

    /// Removes what smtp was given after it had stopped waiting (this process was
    /// stopped): no session lasts so long.
    fn forget_old_drafts(&self, session: Duration) {
        let longest = session.saturating_add(Duration::from_secs(60));
        let old: Vec<_> = {
            let mut drafts = lock::lock(&self.drafts);
            let over = |(_, (_, begun)): &(_, &(Draft, Since))| begun.elapsed() > longest;
            let ids: Vec<Qid> = drafts.open.iter().filter(over).map(|(qid, _)| *qid).collect();
            ids.iter().filter_map(|qid| drafts.open.remove(qid)).collect()
        };
        if !old.is_empty() {
            log::warn!("intake", msg = "files that nobody writes are removed", files = old.len());
        }
    }

    fn commit(&self, qid: Qid, message: &Message) -> Result<(), Refused> {
        let (draft, _) = lock::lock(&self.drafts).open.remove(&qid).ok_or(Refused::Unknown)?;
        let records = records(message).ok_or_else(|| {
            log::crit!("intake", qid = Show(&qid), msg = "smtp sent what is no message");
            Refused::Failed
        })?;
        let created = draft.created();
        let end = BodyEnd { body: message.body, file: message.file };
        let state = State::fold(&records).ok_or(Refused::Failed)?;
        let ready = draft.complete(end, &records).map_err(|e| refused(&e))?;
        self.spool.publish(ready).map_err(|e| refused(&e))?;
        lock::lock(&self.drafts).note_committed(qid);
        Counts::add(&self.counts.accepted, 1);
        self.keep(qid, Kept::new(created, message.body, state, false));
        Ok(())
    }

    /// Puts a committed message into memory and wakes the loop.
    pub(super) fn keep(&self, qid: Qid, kept: Kept) {
        let (config, now) = (self.config(), self.now());
        self.queue().insert(qid, kept, &config, now);
        self.changed.notify_all();
    }

    /// Which of the open commits have happened; `None`: one is still in work, ask
    /// again.
    fn resume(&self, open: &[String]) -> Option<Vec<String>> {
        let asked: Vec<Qid> = open.iter().filter_map(|t| Qid::parse(t.as_bytes())).collect();
        // One that is in work here is awaited: its end is what is asked for.
        let deadline = Deadline::after(RESUME);
        let mut drafts = lock::lock(&self.drafts);
        while asked.iter().any(|q| drafts.committing.contains(q)) {
            if deadline.expired() {
                return None;
            }
            drafts = lock::wait_for(&self.committed, drafts, deadline.left());
        }
        let recent: HashSet<Qid> = drafts.committed.iter().map(|(_, qid)| *qid).collect();
        drop(drafts);
        let committed: Vec<String> = asked
            .iter()
            .filter(|qid| match self.spool.is_committed(**qid) {
                Ok(yes) => yes || recent.contains(qid) || self.queue().messages.contains_key(qid),
                Err(e) => {
                    self.trouble("intake", **qid, &e);
                    false
                }
            })
            .map(ToString::to_string)
            .collect();
        // The queue that renamed it may have died before it synced the name,
        // and 250 is said to this answer.
        if !committed.is_empty() {
            if let Err(e) = self.spool.sync_committed() {
                log::fatal("queue", &e.to_string());
            }
        }
        self.queue().resumed = true;
        self.changed.notify_all();
        Some(committed)
    }
}

impl Refused {
    const fn word(&self) -> &'static str {
        match self {
            Refused::NoSpace => "no space",
            Refused::Exhausted => "out of descriptors or memory",
            Refused::Unknown => "unknown id",
            Refused::Failed => "failed",
        }
    }
}

/// What smtp is told of a failed system call; the log has all of it.
fn refused(e: &SysError) -> Refused {
    log::crit!("intake", error = Show(e));
    if e.is_full() {
        Refused::NoSpace
    } else if e.is_exhausted() {
        Refused::Exhausted
    } else {
        Refused::Failed
    }
}

/// The records of a message up to its commit; `None` if it is none.
fn records(m: &Message) -> Option<Vec<Record>> {
    let text = |t: &str, max: usize| (t.len() <= max).then(|| t.to_owned());
    let sender = match m.sender.as_bytes() {
        [] => ReversePath::Null,
        text => ReversePath::Mailbox(Mailbox::parse(text, Charset::Utf8).ok()?),
    };
    let s = &m.session;
    let origin = Origin {
        sender,
        smtputf8: m.smtputf8,
        eight_bit: m.eight_bit,
        ret: m.ret_full.map(|full| if full { Ret::Full } else { Ret::Hdrs }),
        envid: m.envid.clone().filter(|t| t.len() <= limits::DSN_ENVID.size()),
        session: Session {
            sid: s.sid,
            helo: text(&s.helo, limits::SMTP_DOMAIN.size())?,
            rdns: s.rdns.clone(),
            client: s.client,
            protocol: text(&s.protocol, 32)?,
            tls: s.tls.clone(),
            user: s.user.clone(),
            tag: s.tag.clone(),
        },
    };
    let mut all = vec![Record::Origin(Box::new(origin))];
    for rcpt in &m.rcpts {
        let orig = Mailbox::parse(rcpt.rcpt.as_bytes(), Charset::Utf8).ok()?;
        let notify = rcpt.notify.map(notify);
        let orcpt = rcpt
            .orcpt
            .as_ref()
            .map(|(kind, address)| Orcpt { kind: kind.clone(), address: address.clone() });
        for to in &rcpt.to {
            let e = envelope(to, &orig, notify, orcpt.as_ref())?;
            all.push(Record::Envelope(Box::new(e)));
        }
    }
    let mut edits = Edits::new();
    for change in &m.edits {
        let edit = match change {
            Change::Insert { offset, bytes } => {
                Edit::Insert { offset: *offset, bytes: bytes.clone() }
            }
            Change::Delete { offset, len } => Edit::Delete { offset: *offset, len: *len },
        };
        edits.push(edit).ok()?;
    }
    edits.size(m.body).ok()?;
    all.extend(edits.as_slice().iter().cloned().map(Record::Edit));
    all.extend(
        m.verdict
            .as_ref()
            .map(|v| Record::Verdict(Verdict { junk: v.junk, p: v.p, reasons: v.reasons.clone() })),
    );
    all.push(Record::Commit);
    Some(all)
}

/// NOTIFY off the wire.
pub fn notify(n: WireNotify) -> Notify {
    Notify { success: n.success, failure: n.failure, delay: n.delay }
}

/// An envelope for a destination; `None` if its address is none.
pub fn envelope(
    to: &Destination,
    orig: &Mailbox,
    notify: Option<Notify>,
    orcpt: Option<&Orcpt>,
) -> Option<Envelope> {
    Some(Envelope {
        rcpt: Mailbox::parse(to.dest.as_bytes(), Charset::Utf8).ok()?,
        orig: orig.clone(),
        action: to.action.clone(),
        user: to.user.clone(),
        item: to.item.as_ref().map(|i| Item { key: i.key.clone(), digest: i.digest }),
        notify,
        orcpt: orcpt.cloned(),
    })
}
