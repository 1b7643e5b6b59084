//! The loop: takes what is due out of the schedule and gives it to whoever
//! does it.  Local deliveries have a thread each while they last, bounded by
//! the schedule; jobs for mta are sent and reported later.

use crate::base::listen::STACK;
use crate::base::lock;
use crate::base::log;
use crate::conf::ast::{Config, Deliver, Method};
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
        let job = if queue.resumed { queue.sched.next(now) } else { None };
        let Some(job) = job else {
            let sleep = if queue.resumed { queue.sched.sleep(now) } else { None };
            let sleep = sleep.unwrap_or(TICK).clamp(Duration::from_millis(1), TICK);
            drop(lock::wait_for(&shared.changed, queue, Some(sleep)));
            continue;
        };
        drop(queue);
        begin(shared, job);
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
    match by_mta(&config, &envelope.action) {
        Some(true) => shared.send_job(job, &envelope),
        Some(false) => {
            let owner = Arc::clone(shared);
            let copy = job.clone();
            let spawned = std::thread::Builder::new().name("local".into()).stack_size(STACK).spawn(
                move || {
                    let guard = Ends(&owner, &copy);
                    owner.deliver_local(&copy);
                    drop(guard);
                },
            );
            if let Err(e) = spawned {
                log::crit!("local", error = log::Show(&e));
                postpone(shared, &job, "no thread");
            }
        }
        None => {
            let why = format!("action \"{}\" is not in the configuration", envelope.action);
            log::warn!("deliver", qid = log::Show(&job.qid), msg = why.as_str());
            postpone(shared, &job, &why);
        }
    }
}

/// Whether mta performs an action; `None`: there is no such action any more.
pub fn by_mta(config: &Config, action: &str) -> Option<bool> {
    config.action(action).map(|a| match &a.method {
        Method::Relay(_) => true,
        Method::Local(local) => matches!(local.deliver, Deliver::Lmtp { .. }),
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
    shared.changed.notify_all();
}

/// Ends a job also if its thread panics.
struct Ends<'a>(&'a Shared, &'a Job);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The recipients would be tried again at once, and panic again.
            let died = |n: &u32| Settled::ours(*n, How::Died, 3, 0, "internal error");
            self.0.settle(self.1.qid, self.1.rcpts.iter().map(died).collect());
        }
        end(self.0, self.1);
    }
}
