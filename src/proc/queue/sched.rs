//! The schedule: which message is tried when, and with which others.
//!
//! Pure: it is told the time, reads no clock and touches no disk.  It is built
//! anew from the spool at each start.
//!
//! Attempt n+1 is due `base * n * n` after the message was accepted (400 s, for
//! other servers: at once, 6m40, 26m40, 1h, 1h47 ...; 10 s here).  Recipients of one message that go to one
//! destination go together; senders are served in turn; a destination and a
//! class of deliveries have only so many jobs in work at a time.  A destination
//! that answers again has its waiting messages tried at once.
//!
//! *Clock jumps.*  The wall clock is looked at once per message, when it is
//! added, to learn its age; from then on only the monotonic clock counts.  So
//! nobody's mail expires because somebody sets the clock, and since expiry is
//! decided after an attempt only, a wrong clock at boot costs an attempt first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::disk::spool::qid::Qid;
use crate::proc::queue::fair::Fair;

/// A recipient of a message: `qid.N`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id {
    /// The message.
    pub qid: Qid,
    /// The recipient, from 1.
    pub rcpt: u32,
}

/// The time, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since 1970.
    pub wall: i64,
    /// Since some moment before the first message was added.
    pub mono: i64,
}

/// Which deliveries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Class {
    /// Into stores and programs of this machine.
    Local,
    /// To other servers.
    Remote,
}

/// What messages go to together.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Dest {
    /// Local or remote.
    pub class: Class,
    /// Action and user, or action and domain.
    pub name: String,
}

/// How a class is treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The base of the retry times.
    pub base: Duration,
    /// Jobs in work at a time.
    pub jobs: usize,
    /// The same for one destination.
    pub jobs_per_dest: usize,
    /// Recipients of one job.
    pub rcpts: usize,
}

/// What the configuration says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Local deliveries.
    pub local: Rules,
    /// Deliveries to other servers.
    pub remote: Rules,
    /// Waiting recipients of a destination that are tried at once when it
    /// answers again.
    pub max_deferred: usize,
}

/// A recipient to be scheduled.
#[derive(Clone, Debug)]
pub struct Item {
    /// Which.
    pub id: Id,
    /// Who sent it: whoever is to have his turn.
    pub sender: Arc<str>,
    /// Where it goes.
    pub dest: Arc<Dest>,
    /// When it was accepted, milliseconds since 1970.
    pub created: i64,
    /// How long it is tried.
    pub ttl: Duration,
    /// Attempts until now.
    pub tries: u32,
    /// When the last one ended, milliseconds since 1970.
    pub last_try: i64,
    /// Not to be tried.
    pub held: bool,
}

/// What is to be done now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Where.
    pub dest: Arc<Dest>,
    /// The message.
    pub qid: Qid,
    /// Its recipients.
    pub rcpts: Vec<u32>,
}

/// What becomes of a recipient that could not be delivered now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It is tried again, this long from now.
    Retry(Duration),
    /// Its time is over: it is no longer scheduled.
    Expired,
}

/// Where a recipient stands, for `show queue`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Due in this many milliseconds; zero or less: it waits for its turn.
    Waiting(i64),
    /// A job has it.
    InWork,
    /// Not to be tried.
    Held,
    /// Its class is paused.
    Paused,
}

#[derive(Debug)]
struct Entry {
    sender: Arc<str>,
    dest: Arc<Dest>,
    /// On the monotonic clock; negative if it is older than this process.
    born: i64,
    ttl: i64,
    tries: u32,
    state: State,
    /// To be held when the job that has it ends.
    hold: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Waiting {
        due: i64,
    },
    Ready,
    InWork,
    /// Its fate is known and not written down yet.
    Parked,
    Held,
}

#[derive(Debug, Default)]
struct DestState {
    jobs: usize,
    /// Jobs that wait until one of these ends.
    blocked: Fair<Qid>,
    /// Recipients that wait for their time after a failure.
    deferred: BTreeSet<Id>,
}

#[derive(Debug, Default)]
struct ClassState {
    jobs: usize,
    paused: bool,
    ready: Fair<(Qid, Arc<Dest>)>,
}

/// The schedule.
#[derive(Debug)]
pub struct Sched {
    settings: Settings,
    entries: BTreeMap<Id, Entry>,
    timers: BTreeSet<(i64, Id)>,
    ready: HashMap<(Qid, Arc<Dest>), BTreeSet<u32>>,
    dests: HashMap<Arc<Dest>, DestState>,
    local: ClassState,
    remote: ClassState,
}

impl Sched {
    /// An empty one.
    pub fn new(settings: Settings) -> Sched {
        Sched {
            settings,
            entries: BTreeMap::new(),
            timers: BTreeSet::new(),
            ready: HashMap::new(),
            dests: HashMap::new(),
            local: ClassState::default(),
            remote: ClassState::default(),
        }
    }

    /// Another configuration is in force; what is planned stays planned.
    pub fn configure(&mut self, settings: Settings) {
        self.settings = settings;
    }

    /// Takes a recipient in.
    pub fn add(&mut self, item: Item, now: Now) {
        let age = now.wall.saturating_sub(item.created).max(0);
        let born = now.mono.saturating_sub(age);
        let base = millis(self.rules(item.dest.class).base);
        let due = if item.tries == 0 {
            now.mono
        } else {
            // The last attempt was at this age, unless the clock was wrong.
            let tried = item.last_try.saturating_sub(item.created).clamp(0, age);
            next_age(base, item.tries, tried).saturating_add(born).max(now.mono)
        };
        let id = item.id;
        let state = if item.held { State::Held } else { State::Waiting { due } };
        if let State::Waiting { due } = state {
            self.timers.insert((due, id));
            if item.tries > 0 {
                self.dests.entry(Arc::clone(&item.dest)).or_default().deferred.insert(id);
            }
        }
        let (ttl, tries) = (millis(item.ttl), item.tries);
        let entry =
            Entry { sender: item.sender, dest: item.dest, born, ttl, tries, state, hold: false };
        self.entries.insert(id, entry);
    }

    /// The next job, if there is one now.
    pub fn next(&mut self, now: Now) -> Option<Job> {
        self.wake(now);
        [Class::Local, Class::Remote].into_iter().find_map(|class| self.next_of(class))
    }

    /// How long until something becomes due; `None`: nothing will by itself.
    pub fn sleep(&self, now: Now) -> Option<Duration> {
        let (due, _) = self.timers.first()?;
        Some(Duration::from_millis(u64::try_from(due.saturating_sub(now.mono)).unwrap_or(0)))
    }

    /// A job has ended.  Its recipients have been told of one by one before,
    /// with [`Sched::defer`] or [`Sched::remove`]; others are tried again now.
    pub fn ended(&mut self, job: &Job, now: Now) {
        for rcpt in &job.rcpts {
            let id = Id { qid: job.qid, rcpt: *rcpt };
            if self.entries.get(&id).is_some_and(|e| e.state == State::InWork) {
                self.settle(id, now.mono);
            }
        }
        let class = self.class(job.dest.class);
        class.jobs = class.jobs.saturating_sub(1);
        let Some(dest) = self.dests.get_mut(&job.dest) else { return };
        dest.jobs = dest.jobs.saturating_sub(1);
        if let Some((sender, qid)) = dest.blocked.pop() {
            self.class(job.dest.class).ready.push_front(&sender, (qid, Arc::clone(&job.dest)));
        }
        self.forget_idle(&job.dest);
    }

    /// A recipient in work was not delivered now.  `count`: it was an attempt.
    pub fn defer(&mut self, id: Id, count: bool, now: Now) -> Next {
        let Some(entry) = self.entries.get_mut(&id) else { return Next::Expired };
        if count {
            entry.tries = entry.tries.saturating_add(1);
        }
        let age = now.mono.saturating_sub(entry.born);
        let (tries, ttl, born) = (entry.tries.max(1), entry.ttl, entry.born);
        let dest = Arc::clone(&entry.dest);
        if self.is_over(id, now) {
            self.remove(id);
            return Next::Expired;
        }
        let base = millis(self.rules(dest.class).base);
        // One more attempt when the time is over, then it is.
        let due = next_age(base, tries, age).min(ttl).saturating_add(born);
        self.dests.entry(dest).or_default().deferred.insert(id);
        self.settle(id, due);
        Next::Retry(Duration::from_millis(u64::try_from(due.saturating_sub(now.mono)).unwrap_or(0)))
    }

    /// A recipient in work waits until its fate is written down, with
    /// [`Sched::defer`] or [`Sched::remove`]: the end of its job changes nothing.
    pub fn park(&mut self, id: Id) {
        if let Some(entry) = self.entries.get_mut(&id) {
            if entry.state == State::InWork {
                entry.state = State::Parked;
            }
        }
    }

    /// A recipient that no job has is being taken out: no job gets it until its fate
    /// is written down, as with [`Sched::park`].  False if one has it.
    pub fn withdraw(&mut self, id: Id) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return true };
        if matches!(entry.state, State::InWork | State::Parked) {
            return false;
        }
        let (dest, state) = (Arc::clone(&entry.dest), entry.state);
        // For the case that it cannot be written down.
        entry.hold = state == State::Held;
        entry.state = State::Parked;
        self.unplan(id, &dest, state);
        true
    }

    /// A recipient is tried for another time than before.
    pub fn keep_for(&mut self, id: Id, ttl: Duration, now: Now) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.ttl = millis(ttl);
        let over = entry.born.saturating_add(entry.ttl);
        match entry.state {
            // One last attempt when the time is over.
            State::Waiting { due } if due > over => self.settle(id, over.max(now.mono)),
            _ => {}
        }
    }

    /// Recipients of a message that a job has, or that are next.
    pub fn busy(&self, qid: Qid) -> impl Iterator<Item = u32> + '_ {
        let all = Id { qid, rcpt: 0 }..=Id { qid, rcpt: u32::MAX };
        let busy = |e: &Entry| match e.state {
            State::InWork => true,
            State::Ready => !self.is_paused(e.dest.class),
            State::Waiting { .. } | State::Parked | State::Held => false,
        };
        self.entries.range(all).filter(move |(_, e)| busy(e)).map(|(id, _)| id.rcpt)
    }

    /// True if a job has it, and its fate is not known.
    pub fn is_in_work(&self, id: Id) -> bool {
        self.entries.get(&id).is_some_and(|e| e.state == State::InWork)
    }

    /// True if a recipient that is not delivered now never will be.
    pub fn is_over(&self, id: Id, now: Now) -> bool {
        self.entries.get(&id).is_none_or(|e| now.mono.saturating_sub(e.born) >= e.ttl)
    }

    /// A recipient needs nothing more.
    pub fn remove(&mut self, id: Id) {
        let Some(entry) = self.entries.remove(&id) else { return };
        self.unplan(id, &entry.dest, entry.state);
        self.forget_idle(&entry.dest);
    }

    /// A destination has taken something: what waits for it is tried at once.
    pub fn answered(&mut self, dest: &Arc<Dest>, now: Now) {
        let max = self.settings.max_deferred;
        let Some(state) = self.dests.get(dest) else { return };
        let some: Vec<Id> = state.deferred.iter().take(max).copied().collect();
        for id in some {
            self.try_now(id, now);
        }
    }

    /// A recipient is tried at once, whatever its time is; false if there is
    /// none that waits.
    pub fn try_now(&mut self, id: Id, now: Now) -> bool {
        let Some(entry) = self.entries.get(&id) else { return false };
        if !matches!(entry.state, State::Waiting { .. }) {
            return false;
        }
        self.settle(id, now.mono);
        true
    }

    /// A recipient is not tried until it is released.  One in work is held
    /// when its job ends without success.
    pub fn hold(&mut self, id: Id) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        if matches!(entry.state, State::InWork | State::Parked) {
            entry.hold = true;
            return true;
        }
        let (dest, state) = (Arc::clone(&entry.dest), entry.state);
        entry.state = State::Held;
        self.unplan(id, &dest, state);
        true
    }

    /// A held recipient is tried again, at once; false if it was not held.
    pub fn release(&mut self, id: Id, now: Now) -> bool {
        let Some(entry) = self.entries.get_mut(&id) else { return false };
        let held = entry.state == State::Held || entry.hold;
        entry.hold = false;
        if entry.state == State::Held {
            self.settle(id, now.mono);
        }
        held
    }

    /// No jobs of a class are begun, or they are again.
    pub fn pause(&mut self, class: Class, paused: bool) {
        self.class(class).paused = paused;
    }

    /// Where a recipient stands.
    pub fn standing(&self, id: Id, now: Now) -> Option<Standing> {
        let entry = self.entries.get(&id)?;
        let paused = self.is_paused(entry.dest.class);
        Some(match entry.state {
            State::Held => Standing::Held,
            State::InWork | State::Parked => Standing::InWork,
            _ if paused => Standing::Paused,
            State::Waiting { due } => Standing::Waiting(due.saturating_sub(now.mono)),
            State::Ready => Standing::Waiting(0),
        })
    }

    /// Recipients in the schedule.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// True when there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Jobs in work.
    pub const fn jobs(&self, class: Class) -> usize {
        match class {
            Class::Local => self.local.jobs,
            Class::Remote => self.remote.jobs,
        }
    }

    const fn is_paused(&self, class: Class) -> bool {
        match class {
            Class::Local => self.local.paused,
            Class::Remote => self.remote.paused,
        }
    }

    const fn rules(&self, class: Class) -> &Rules {
        match class {
            Class::Local => &self.settings.local,
            Class::Remote => &self.settings.remote,
        }
    }

    const fn class(&mut self, class: Class) -> &mut ClassState {
        match class {
            Class::Local => &mut self.local,
            Class::Remote => &mut self.remote,
        }
    }

    /// Moves what is due to the ready jobs.
    fn wake(&mut self, now: Now) {
        while let Some((due, id)) = self.timers.first().copied() {
            if due > now.mono {
                return;
            }
            self.timers.pop_first();
            let Some(entry) = self.entries.get_mut(&id) else { continue };
            entry.state = State::Ready;
            let (sender, dest) = (Arc::clone(&entry.sender), Arc::clone(&entry.dest));
            if let Some(state) = self.dests.get_mut(&dest) {
                state.deferred.remove(&id);
            }
            let rcpts = self.ready.entry((id.qid, Arc::clone(&dest))).or_default();
            if rcpts.is_empty() {
                self.class(dest.class).ready.push(&sender, (id.qid, dest));
                self.ready_again(id);
            } else {
                rcpts.insert(id.rcpt);
            }
        }
    }

    fn ready_again(&mut self, id: Id) {
        let Some(entry) = self.entries.get(&id) else { return };
        let key = (id.qid, Arc::clone(&entry.dest));
        self.ready.entry(key).or_default().insert(id.rcpt);
    }

    fn next_of(&mut self, class: Class) -> Option<Job> {
        let rules = *self.rules(class);
        loop {
            let state = self.class(class);
            if state.paused || state.jobs >= rules.jobs {
                return None;
            }
            let (sender, (qid, dest)) = state.ready.pop()?;
            let key = (qid, Arc::clone(&dest));
            // Everything that was ready has been held or removed meanwhile.
            let Some(rcpts) = self.ready.get_mut(&key) else { continue };
            let place = self.dests.entry(Arc::clone(&dest)).or_default();
            if place.jobs >= rules.jobs_per_dest {
                place.blocked.push(&sender, qid);
                continue;
            }
            let mut chosen = Vec::new();
            while chosen.len() < rules.rcpts.max(1) {
                match rcpts.pop_first() {
                    Some(rcpt) => chosen.push(rcpt),
                    None => break,
                }
            }
            if rcpts.is_empty() {
                self.ready.remove(&key);
            } else {
                self.class(class).ready.push(&sender, key);
            }
            if chosen.is_empty() {
                continue;
            }
            for rcpt in &chosen {
                if let Some(entry) = self.entries.get_mut(&Id { qid, rcpt: *rcpt }) {
                    entry.state = State::InWork;
                }
            }
            self.class(class).jobs += 1;
            if let Some(place) = self.dests.get_mut(&dest) {
                place.jobs += 1;
            }
            return Some(Job { dest, qid, rcpts: chosen });
        }
    }

    /// Plans a recipient for a time, from whatever state it is in.
    fn settle(&mut self, id: Id, due: i64) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let before = entry.state;
        if std::mem::take(&mut entry.hold) {
            entry.state = State::Held;
        } else {
            entry.state = State::Waiting { due };
            self.timers.insert((due, id));
        }
        match before {
            State::Waiting { due: old } if old != due || entry.state == State::Held => {
                self.timers.remove(&(old, id));
            }
            _ => {}
        }
    }

    /// Takes a recipient out of every list but `entries`.
    fn unplan(&mut self, id: Id, dest: &Arc<Dest>, state: State) {
        if let State::Waiting { due } = state {
            self.timers.remove(&(due, id));
        }
        if let Some(place) = self.dests.get_mut(dest) {
            place.deferred.remove(&id);
        }
        let key = (id.qid, Arc::clone(dest));
        if let Some(rcpts) = self.ready.get_mut(&key) {
            rcpts.remove(&id.rcpt);
            if rcpts.is_empty() {
                self.ready.remove(&key);
            }
        }
    }

    fn forget_idle(&mut self, dest: &Arc<Dest>) {
        let idle = |d: &DestState| d.jobs == 0 && d.blocked.is_empty() && d.deferred.is_empty();
        if self.dests.get(dest).is_some_and(idle) {
            self.dests.remove(dest);
        }
    }
}

fn millis(d: Duration) -> i64 {
    i64::try_from(d.as_millis()).unwrap_or(i64::MAX)
}

/// The age at which a message is tried after `tries` attempts, the last one at
/// `age`: the first of the times `base * n * n`, n at least `tries`, after it.
fn next_age(base: i64, tries: u32, age: i64) -> i64 {
    let base = base.max(1);
    let passed = u64::try_from(age / base).unwrap_or(0).isqrt();
    let n = i64::try_from(passed).unwrap_or(i64::MAX).saturating_add(1).max(i64::from(tries));
    base.saturating_mul(n.saturating_mul(n))
}

#[cfg(test)]
mod tests;
