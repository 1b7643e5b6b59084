//! What became of recipients: on disk first, then in memory.
//!
//! *Durability.*  Notifications and redirects are written and parked in
//! incoming; then one record tells both of them and of the recipients that need
//! nothing more; then they are published.  A crash before the record leaves
//! nothing but files in incoming that the next start removes; a crash after it
//! leaves what the next start finishes.  So nobody is told twice, nothing is
//! sent on twice, and no failure goes without its notification.  A disk that
//! does not take the record (it is full) is the first case with this process
//! alive: what was delivered is remembered, and written with the next record.
//!
//! A recipient of which processes die is held after some deaths, for a person.
//! A message whose recipients are all done is removed.  If that is the first
//! thing that becomes of it (the usual case), no record is written before.

use crate::base::clock::Since;
use crate::base::log::{self, Show};
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{End, Record};
use crate::disk::spool::state::Recipient;
use crate::disk::spool::SpoolError;
use crate::proc::queue::bounce::Notice;
use crate::proc::queue::message::Kept;
use crate::proc::queue::sched::{Id, Next, Now};
use crate::proc::queue::{Counts, Queue, Shared, Whole};
use crate::proto::dsn::Action;
use crate::proto::limits;
use crate::proto::smtp::reply::Enhanced;
use std::time::Duration;

/// How long failures of a message may wait to be told of together.
const TOGETHER: Duration = Duration::from_secs(60);

/// What became of one recipient.
#[derive(Clone, Debug)]
pub struct Settled {
    /// Its number.
    pub rcpt: u32,
    /// How it went.
    pub how: How,
    /// The enhanced code.
    pub status: Enhanced,
    /// The host that said so.
    pub host: Option<String>,
    /// What it said, or what went wrong here: harmless text.
    pub said: String,
    /// Messages that the delivery brought forth: addresses, with a redirect.
    pub inject: Vec<String>,
}

/// How it went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// It is in a mailbox, or a program took it.
    Delivered,
    /// Another host has it; true: it takes over notifications of success.
    Relayed(bool),
    /// Not now.
    Later,
    /// Not now, for a reason of ours that is no attempt.
    Postponed,
    /// The process that had it died.
    Died,
    /// Never.
    Never,
}

impl Settled {
    /// One that was not delivered for a reason of ours.
    pub fn ours(
        rcpt: u32,
        how: How,
        subject: u16,
        detail: u16,
        said: impl Into<String>,
    ) -> Settled {
        let class = if how == How::Never { 5 } else { 4 };
        Settled {
            rcpt,
            how,
            status: Enhanced::new(class, subject, detail),
            host: None,
            said: said.into(),
            inject: Vec::new(),
        }
    }
}

/// What became of some recipients, sorted by what is to be done about it.
#[derive(Default)]
struct Fates {
    records: Vec<Record>,
    delivered: Vec<u32>,
    failed: Vec<u32>,
    notices: Vec<Notice>,
    /// Who is told that it takes long, and for which time.
    warned: Vec<(u32, u32)>,
}

impl Fates {
    fn fail(&mut self, one: &Settled, rcpt: &Recipient, at: Now) {
        self.failed.push(one.rcpt);
        if rcpt.envelope.notify.is_none_or(|n| n.failure) {
            self.notices.push(Notice::new(Action::Failed, one, rcpt, at.wall));
        }
    }
}

/// What is to be written down of some recipients.
struct Decided {
    records: Vec<Record>,
    delivered: Vec<u32>,
    failed: Vec<u32>,
    /// Those of `delivered` whose delivery brought forth some of `ids`.
    injecting: Vec<u32>,
    /// Messages in incoming that the records name.
    ids: Vec<Qid>,
}

impl Shared {
    /// Records what became of these recipients.  False if the disk refused:
    /// those that are done are so in memory, the others are tried again.
    pub(super) fn settle(&self, qid: Qid, all: Vec<Settled>) -> bool {
        let _whole = Whole::begin();
        let config = self.config();
        let warn = config.warn_intervals();
        let mut all = self.gather(qid, all, &warn);
        if all.is_empty() {
            return true;
        }
        for one in &mut all {
            cut(&mut one.said);
        }
        self.note_unsent(qid, &all);
        let brings = |one: &&Settled| !one.inject.is_empty();
        let injecting: Vec<u32> = all.iter().filter(brings).map(|one| one.rcpt).collect();
        let mut injected = self.inject_all(qid, &mut all);
        let mut fates = Fates::default();
        {
            let mut queue = self.queue();
            let at = self.now();
            for one in all {
                self.decide(&mut queue, qid, one, at, &warn, &mut fates);
            }
        }
        let Fates { mut records, delivered, mut failed, notices, mut warned } = fates;
        Counts::add(&self.counts.delivered, delivered.len());
        Counts::add(&self.counts.failed, failed.len());
        let mut ids = Vec::new();
        match self.notify(qid, &notices) {
            Ok(more) => ids = more,
            Err(why) => {
                // Without its notification nothing may fail for good, nor what
                // came of it be sent on: the next attempt does both.
                self.trouble("bounce", qid, &why);
                let (gone, stay): (Vec<_>, Vec<_>) =
                    injected.into_iter().partition(|(rcpt, _)| failed.contains(rcpt));
                self.discard(&gone.into_iter().map(|(_, id)| id).collect::<Vec<_>>());
                injected = stay;
                self.keep_failed(qid, &failed, &mut records);
                (failed, warned) = (Vec::new(), Vec::new());
            }
        }
        ids.extend(injected.into_iter().map(|(_, id)| id));
        if ids.is_empty() {
            for (rcpts, end) in [(&delivered, End::Delivered), (&failed, End::Failed)] {
                if !rcpts.is_empty() {
                    records.push(Record::Done { rcpts: rcpts.clone(), end });
                }
            }
        } else {
            let ended = |all: &[u32], end| all.iter().map(|n| (*n, end)).collect::<Vec<_>>();
            let mut ends = ended(&delivered, End::Delivered);
            ends.append(&mut ended(&failed, End::Failed));
            records.push(Record::Spawned { ids: ids.clone(), ends, warned });
        }
        self.write_down(qid, Decided { records, delivered, failed, injecting, ids })
    }

    /// What follows from one recipient's fate: a record, a notification, a next
    /// attempt.
    fn decide(
        &self,
        queue: &mut Queue,
        qid: Qid,
        mut one: Settled,
        at: Now,
        warn: &[Duration],
        fates: &mut Fates,
    ) {
        let id = Id { qid, rcpt: one.rcpt };
        let Some(rcpt) = queue.rcpt(id).cloned() else { return };
        let Some(kept) = queue.messages.get(&qid) else { return };
        let age = at.wall.saturating_sub(kept.created_ms());
        log_one(qid, &kept.state.origin, &rcpt.envelope, &one);
        let notify = rcpt.envelope.notify;
        match one.how {
            How::Delivered | How::Relayed(_) => {
                fates.delivered.push(one.rcpt);
                let action = match one.how {
                    How::Relayed(false) => Some(Action::Relayed),
                    How::Relayed(true) => None,
                    _ => Some(Action::Delivered),
                };
                if let Some(action) = action.filter(|_| notify.is_some_and(|n| n.success)) {
                    fates.notices.push(Notice::new(action, &one, &rcpt, at.wall));
                }
            }
            How::Never => fates.fail(&one, &rcpt, at),
            How::Later | How::Postponed | How::Died => {
                Counts::add(&self.counts.deferred, 1);
                let count = one.how != How::Postponed;
                if queue.sched.defer(id, count, at) == Next::Expired {
                    // RFC 3463 X.4.7: delivery time expired.
                    one.status = Enhanced::new(5, 4, 7);
                    return fates.fail(&one, &rcpt, at);
                }
                let deaths = match one.how {
                    How::Died => rcpt.deaths.saturating_add(1),
                    // The wait between a store's deaths is one of these.
                    How::Postponed => rcpt.deaths,
                    _ => 0,
                };
                fates.records.push(Record::Attempt {
                    rcpt: one.rcpt,
                    at: at.wall.div_euclid(1000),
                    tries: rcpt.tries.saturating_add(u32::from(count)),
                    deaths,
                    said: one.said.clone(),
                });
                if u64::from(deaths) >= limits::POISON_DEATHS.default {
                    let why = "processes die of it".to_owned();
                    log::crit!("hold", qid = Show(&qid), rcpt = one.rcpt, why = Show(&why));
                    queue.sched.hold(id);
                    fates.records.push(Record::Hold { rcpt: one.rcpt, on: true, why });
                }
                if is_late(&rcpt, age, warn) {
                    let passed = warn.iter().filter(|d| over(age, **d)).count();
                    let times = u32::try_from(passed).unwrap_or(u32::MAX);
                    fates.warned.push((one.rcpt, times));
                    fates.notices.push(Notice::new(Action::Delayed, &one, &rcpt, at.wall));
                }
            }
        }
    }

    /// Of a message to many, the sender gets one notification and not as many as
    /// there are recipients who fail: whoever he is to be told of waits until no
    /// other of the message is in work or next, a minute at most beyond the next
    /// that ends.  What waits is in no record, and is tried again after a crash.
    fn gather(&self, qid: Qid, mut all: Vec<Settled>, warn: &[Duration]) -> Vec<Settled> {
        let now = self.now();
        let mut queue = self.queue();
        let Queue { messages, sched, untold: waiting, .. } = &mut *queue;
        let Some(kept) = messages.get_mut(&qid) else { return all };
        let others = sched.busy(qid).any(|n| all.iter().all(|one| one.rcpt != n));
        let waited = kept.untold_since.is_some_and(|since| since.elapsed() > TOGETHER);
        if !others || waited {
            kept.untold_since = None;
            waiting.remove(&qid);
            all.append(&mut kept.untold);
            return all;
        }
        let age = now.wall.saturating_sub(kept.created_ms());
        let is_told = |one: &Settled| match one.how {
            How::Never => true,
            How::Later | How::Died | How::Postponed => {
                let rcpt = kept.state.rcpt(one.rcpt);
                sched.is_over(Id { qid, rcpt: one.rcpt }, now)
                    || rcpt.is_some_and(|r| is_late(r, age, warn))
            }
            // That it is done must not wait.
            How::Delivered | How::Relayed(_) => false,
        };
        let (untold, rest): (Vec<Settled>, Vec<Settled>) = all.into_iter().partition(is_told);
        if !untold.is_empty() {
            kept.untold_since.get_or_insert_with(Since::now);
            waiting.insert(qid);
            untold.iter().for_each(|one| sched.park(Id { qid, rcpt: one.rcpt }));
            kept.untold.extend(untold);
        }
        rest
    }

    /// What a delivery brings forth may not get to the disk; then it is no reason
    /// to deliver again.
    fn note_unsent(&self, qid: Qid, all: &[Settled]) {
        let brings = |one: &&Settled| !one.inject.is_empty();
        if let Some(kept) = self.queue().messages.get_mut(&qid) {
            let some = all.iter().filter(brings).map(|one| (one.rcpt, one.clone()));
            kept.unsent.extend(some);
        }
    }

    /// The messages whose failures have waited long enough: what they waited for
    /// is slow, or has been held.
    pub(super) fn overdue(queue: &Queue) -> Vec<Qid> {
        let since = |qid: &&Qid| queue.messages.get(qid).and_then(|kept| kept.untold_since);
        let over = |qid: &&Qid| since(qid).is_some_and(|since| since.elapsed() > TOGETHER);
        queue.untold.iter().filter(over).copied().collect()
    }

    /// Settles what waited for deliveries that have ended without a result of
    /// their own.
    pub(super) fn settle_untold(&self, qid: Qid) {
        if self.queue().messages.get(&qid).is_some_and(|kept| !kept.untold.is_empty()) {
            self.settle(qid, Vec::new());
        }
    }

    /// Records, publishes, and forgets what is done.
    fn write_down(&self, qid: Qid, decided: Decided) -> bool {
        let Decided { records, mut delivered, failed, injecting, ids } = decided;
        // Nothing but an end for all: the file goes, that is record enough.
        let only_ends = records.iter().all(|r| matches!(r, Record::Done { .. }));
        let last = only_ends && {
            let queue = self.queue();
            queue.messages.get(&qid).is_none_or(|kept| {
                kept.state.open().all(|(n, _)| delivered.contains(&n) || failed.contains(&n))
            })
        };
        let mut written = true;
        let mut owed = Vec::new();
        if !last && !records.is_empty() {
            owed = self.queue().messages.get(&qid).map(|k| k.owed.clone()).unwrap_or_default();
            let mut all = records.clone();
            if !owed.is_empty() {
                // Ends that a full disk did not take at their time.
                all.push(Record::Done { rcpts: owed.clone(), end: End::Delivered });
            }
            if let Err(e) = self.spool.append(qid, &all) {
                written = false;
                if e != SpoolError::Gone {
                    self.trouble("spool", qid, &e);
                }
            }
        }
        if !written {
            self.discard(&ids);
            // What a delivery brought forth went with the record that names it:
            // the delivery is repeated, and finds what it has delivered.
            let mut again = failed.clone();
            again.extend(delivered.iter().filter(|n| injecting.contains(n)));
            delivered.retain(|n| !injecting.contains(n));
            self.keep_failed(qid, &again, &mut Vec::new());
        } else if !ids.is_empty() {
            if let Some(kept) = self.queue().messages.get_mut(&qid) {
                kept.unpublished.extend_from_slice(&ids);
            }
            self.publish(qid);
        }
        let mut queue = self.queue();
        let mut finished = false;
        if let Some(kept) = queue.messages.get_mut(&qid) {
            if written {
                records.iter().for_each(|r| kept.state.apply(r));
                kept.owed.retain(|n| !owed.contains(n));
            } else {
                // Tries and deaths count all the same.
                let counts =
                    |r: &&Record| matches!(r, Record::Attempt { .. } | Record::Hold { .. });
                records.iter().filter(counts).for_each(|r| kept.state.apply(r));
                let rcpts = delivered.clone();
                kept.state.apply(&Record::Done { rcpts, end: End::Delivered });
                kept.owed.extend(&delivered);
                kept.maybe = true;
            }
            finished = kept.state.is_finished() && kept.unpublished.is_empty();
        }
        let gone: &[u32] = if written { &failed } else { &[] };
        for rcpt in delivered.iter().chain(gone) {
            queue.sched.remove(Id { qid, rcpt: *rcpt });
        }
        drop(queue);
        if finished {
            self.finish(qid);
        }
        self.changed.notify_all();
        written
    }

    /// Removes a message that needs nothing more.
    pub(super) fn finish(&self, qid: Qid) {
        if let Err(e) = self.spool.remove(qid) {
            self.trouble("spool", qid, &e);
        }
        let mut queue = self.queue();
        queue.untold.remove(&qid);
        queue.unpublished.remove(&qid);
        let known = queue.messages.remove(&qid);
        let known = known.map(|kept| queue.undelivered.note(qid, &kept.state)).is_some();
        drop(queue);
        if known {
            log::info!("done", qid = Show(&qid));
        }
        self.changed.notify_all();
    }

    /// Makes spawned messages visible and takes them in.  What the disk refuses
    /// is tried again, and keeps the message whose record names it.
    fn publish(&self, qid: Qid) {
        let ids = self.queue().messages.get(&qid).map(|k| k.unpublished.clone());
        let ids = ids.unwrap_or_default();
        let published = self.spool.publish_spawned(&ids);
        let mut queue = self.queue();
        if let Err(e) = published {
            queue.unpublished.insert(qid);
            drop(queue);
            return self.trouble("spool", qid, &e);
        }
        queue.unpublished.remove(&qid);
        if let Some(kept) = queue.messages.get_mut(&qid) {
            kept.unpublished.retain(|id| !ids.contains(id));
        }
        drop(queue);
        for id in ids {
            self.take_in(id, false);
        }
    }

    /// Publishes what could not be, and finishes a message that stayed for that.
    pub(super) fn publish_again(&self, qid: Qid) {
        self.publish(qid);
        let done = |kept: &Kept| kept.state.is_finished() && kept.unpublished.is_empty();
        if self.queue().messages.get(&qid).is_some_and(done) {
            self.finish(qid);
        }
    }

    /// Recipients that would fail but cannot be told of: they wait instead.
    fn keep_failed(&self, qid: Qid, failed: &[u32], records: &mut Vec<Record>) {
        let (config, now) = (self.config(), self.now());
        let mut queue = self.queue();
        for rcpt in failed {
            let id = Id { qid, rcpt: *rcpt };
            records.retain(|r| !matches!(r, Record::Attempt { rcpt: n, .. } if n == rcpt));
            if queue.sched.defer(id, false, now) == Next::Expired {
                // Its time is over, and still it must stay: as if it were new.
                let sender = "".into();
                let Some(r) = queue.rcpt(id).cloned() else { continue };
                let item = super::sched::Item {
                    id,
                    sender,
                    dest: std::sync::Arc::new(Shared::dest(&config, &r.envelope)),
                    created: now.wall,
                    ttl: config.queue_ttl(),
                    tries: 1,
                    last_try: now.wall,
                    held: r.held.is_some(),
                };
                queue.sched.remove(id);
                queue.sched.add(item, now);
            }
        }
    }
}

/// True if the sender is to be told now that it takes long.
fn is_late(rcpt: &Recipient, age_ms: i64, warn: &[Duration]) -> bool {
    let next = warn.get(usize::try_from(rcpt.warned).unwrap_or(usize::MAX));
    next.is_some_and(|d| over(age_ms, *d)) && rcpt.envelope.notify.is_none_or(|n| n.delay)
}

fn over(age_ms: i64, interval: Duration) -> bool {
    u128::try_from(age_ms).is_ok_and(|age| age >= interval.as_millis())
}

/// Bounded, at a character's edge.
fn cut(text: &mut String) {
    let mut end = limits::SAID.size().min(text.len());
    while !text.is_char_boundary(end) {
        end = end.saturating_sub(1);
    }
    text.truncate(end);
}

fn log_one(
    qid: Qid,
    origin: &crate::disk::spool::record::Origin,
    envelope: &crate::disk::spool::record::Envelope,
    one: &Settled,
) {
    let result = match one.how {
        How::Delivered => "delivered",
        How::Relayed(_) => "relayed",
        How::Later => "later",
        How::Postponed => "postponed",
        How::Died => "died",
        How::Never => "failed",
    };
    log::info!(
        "deliver",
        qid = Show(&format_args!("{qid}.{}", one.rcpt)),
        from = Show(&format_args!("<{}>", origin.sender)),
        to = Show(&format_args!("<{}>", envelope.rcpt)),
        action = envelope.action.as_str(),
        result = result,
        status = Show(&one.status),
        host = one.host.as_deref().unwrap_or("-"),
        said = one.said.as_str()
    );
}
