//! The loop: takes what is due out of the schedule and gives it to whoever
//! does it.  Local deliveries have a thread each while they last, bounded by
//! the schedule; jobs for mta are sent and reported later.

use crate::base::clock::Since;
use crate::base::listen::STACK;
use crate::base::lock;
use crate::base::log;
use crate::conf::ast::{Aliases, Config, Deliver, Method};
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::Envelope;
use crate::proc::queue::recover::spawn;
use crate::proc::queue::sched::{Class, Id, Job};
use crate::proc::queue::settle::{How, Settled};
use crate::proc::queue::Shared;
use crate::sys::errno::SysError;
use std::sync::Arc;
use std::time::Duration;

/// Something is looked at so often, whatever the schedule says: the sleep
/// between may have been cut short of what a stopped machine slept through.
const TICK: Duration = Duration::from_secs(60);

/// How often what is overdue is looked after.
const AGAIN: Duration = Duration::from_secs(10);

/// Starts the loop.
pub fn start(shared: &Arc<Shared>) -> Result<(), SysError> {
    spawn("work", shared, run)
}

fn run(shared: &Arc<Shared>) {
    loop {
        let now = shared.now();
        let mut queue = shared.queue();
        let local = queue.paused.contains(&Class::Local);
        let remote = queue.paused.contains(&Class::Remote) || queue.mta_down;
        queue.sched.pause(Class::Local, local);
        queue.sched.pause(Class::Remote, remote);
        let begins = queue.resumed && !queue.resting;
        let job = if begins { queue.sched.next(now) } else { None };
        let Some(job) = job else {
            let overdue = Shared::overdue(&queue);
            let unpublished: Vec<Qid> = queue.unpublished.iter().copied().collect();
            // One thread at a time, and not without end at a disk that is full.
            let rests = queue.catching_up.is_some_and(|since| since.elapsed() < AGAIN);
            let some = !overdue.is_empty() || !unpublished.is_empty();
            if some && !rests {
                queue.catching_up = Some(Since::now());
                drop(queue);
                catch_up(shared, overdue, unpublished);
                queue = shared.queue();
            }
            let sleep = if begins { queue.sched.sleep(now) } else { None };
            let most = if queue.unpublished.is_empty() { TICK } else { AGAIN };
            let sleep = sleep.unwrap_or(TICK).clamp(Duration::from_millis(1), most);
            drop(lock::wait_for(&shared.changed, queue, Some(sleep)));
            continue;
        };
        drop(queue);
        begin(shared, job);
    }
}

/// Tells of failures that nothing else will tell of, and publishes what the disk
/// did not take; a thread that cannot be had is tried for again.
fn catch_up(shared: &Arc<Shared>, overdue: Vec<Qid>, unpublished: Vec<Qid>) {
    let settle = move |shared: &Arc<Shared>| {
        overdue.iter().for_each(|qid| shared.settle_untold(*qid));
        unpublished.iter().for_each(|qid| shared.publish_again(*qid));
    };
    if let Err(e) = spawn("overdue", shared, settle) {
        log::crit!("overdue", error = log::Show(&e));
    }
}

fn begin(shared: &Arc<Shared>, job: Job) {
    let config = shared.config();
    let envelope = {
        let queue = shared.queue();
        let first = job.rcpts.first().copied().unwrap_or(0);
        queue.rcpt(Id { qid: job.qid, rcpt: first }).map(|r| r.envelope.clone())
    };
    let Some(envelope) = envelope else { return end(shared, &job) };
    match by_mta(&config, &envelope) {
        Some(true) if forwards(&config, &envelope.action) => {
            in_thread(shared, job, move |shared, job| {
                let rcpts = shared.forward_first(&job);
                match rcpts.is_empty() {
                    true => end(shared, &job),
                    false => shared.send_job(Job { rcpts, ..job }, &envelope),
                }
            });
        }
        Some(true) => shared.send_job(job, &envelope),
        Some(false) => in_thread(shared, job, |shared, job| {
            shared.deliver_local(&job);
            end(shared, &job);
        }),
        None => {
            let why = format!("action \"{}\" is not in the configuration", envelope.action);
            log::warn!("deliver", qid = log::Show(&job.qid), msg = why.as_str());
            postpone(shared, &job, &why);
        }
    }
}

/// Runs a job in a thread of its own.
fn in_thread(shared: &Arc<Shared>, job: Job, run: impl FnOnce(&Arc<Shared>, Job) + Send + 'static) {
    let (owner, copy) = (Arc::clone(shared), job.clone());
    let whole = move || {
        let guard = Panics(&owner, &copy);
        run(&owner, copy.clone());
        drop(guard);
    };
    let thread = std::thread::Builder::new().name("local".into()).stack_size(STACK);
    if let Err(e) = thread.spawn(whole) {
        log::crit!("local", error = log::Show(&e));
        postpone(shared, &job, "no thread");
    }
}

/// Whether the users of an action that mta performs have a `.forward`: behind
/// virtual users and `user` stands one for many.
fn forwards(config: &Config, action: &str) -> bool {
    config.action(action).is_some_and(|a| match &a.method {
        Method::Local(local) => {
            local.user.is_none() && !matches!(local.aliases, Some(Aliases::Virtual(_)))
        }
        Method::Relay(_) => false,
    })
}

/// Whether mta delivers this; `None`: there is no such action any more.  A file or
/// command that an alias names is none of it, whatever the action does for users.
pub fn by_mta(config: &Config, envelope: &Envelope) -> Option<bool> {
    config.action(&envelope.action).map(|a| match &a.method {
        Method::Relay(_) => true,
        Method::Local(local) => {
            envelope.item.is_none() && matches!(local.deliver, Deliver::Lmtp { .. })
        }
    })
}

/// A job that nothing came of, and which was no attempt.
pub fn postpone(shared: &Arc<Shared>, job: &Job, why: &str) {
    let all = job.rcpts.iter().map(|n| Settled::ours(*n, How::Postponed, 3, 0, why)).collect();
    shared.settle(job.qid, all);
    end(shared, job);
}

/// Gives a job's place back.
pub fn end(shared: &Shared, job: &Job) {
    let now = shared.now();
    shared.queue().sched.ended(job, now);
    shared.settle_untold(job.qid);
    shared.changed.notify_all();
}

/// Ends a job whose thread panics.
struct Panics<'a>(&'a Arc<Shared>, &'a Job);

impl Drop for Panics<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The recipients would be tried again at once, and panic again.
            let died = |n: &u32| Settled::ours(*n, How::Died, 3, 0, "internal error");
            self.0.settle(self.1.qid, self.1.rcpts.iter().map(died).collect());
            end(self.0, self.1);
        }
    }
}
