//! Jobs for mta: sent with the body's descriptor, reported by calls.
//!
//! queue never waits for mta.  While mta is being restarted nothing is sent,
//! and the jobs that it had are tried again: as far as anybody knows they were
//! not done (at least once, as SMTP is).  A channel that is replaced while mta
//! lives costs no more than the jobs that were lost in it.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf::ast::{Config, Deliver, Method};
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::Envelope;
use crate::disk::spool::state::Recipient;
use crate::ipc::call::{Back, CallError, Serve};
use crate::ipc::pool::Pool;
use crate::ipc::queue_mta::{self, Answer, Ask, Body, Down, Outcome, Report};
use crate::ipc::smtp_queue::Notify;
use crate::ipc::wire::Wire;
use crate::proc::queue::local::changes;
use crate::proc::queue::sched::{Class, Id, Job};
use crate::proc::queue::settle::{How, Settled};
use crate::proc::queue::work::{end, postpone};
use crate::proc::queue::Shared;
use crate::proto::smtp::client::harmless;
use crate::proto::smtp::command::Ret;
use crate::proto::smtp::reply::Enhanced;
use std::cell::Cell;
use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// How long mta may take to make room for a job.  The schedule waits meanwhile,
/// so it is hardly more than a look: a stopped mta costs its own jobs only.
const SEND: Duration = Duration::from_millis(50);

/// Jobs that mta has.
pub struct Remote {
    next: u64,
    jobs: HashMap<u64, Sent>,
    /// The mta that has them.
    life: Option<u64>,
}

/// A job, and the count of channels at the time when it was made for one.
struct Sent {
    job: Job,
    channel: u64,
}

/// Jobs that mta does not have, and why.
#[derive(Debug, PartialEq)]
enum Lost {
    /// It died with them.
    Died(Vec<Job>),
    /// They did not reach it.
    OnTheWay(Vec<Job>),
}

impl Default for Remote {
    /// Ids begin at random: mta may report what the queue before this one had
    /// it do, and that must not be taken for the end of another message.
    fn default() -> Remote {
        Remote { next: crate::sys::rand::u64(), jobs: HashMap::new(), life: None }
    }
}

impl Remote {
    /// A job made for this channel, to be sent: its id.
    fn add(&mut self, job: Job, channel: u64) -> u64 {
        self.next = self.next.wrapping_add(1);
        self.jobs.insert(self.next, Sent { job, channel });
        self.next
    }

    /// What is not with the mta that says on this channel who it is and which jobs
    /// it has.  Those that were made for the channel itself are on their way.
    fn hello(&mut self, life: u64, has: &HashSet<u64>, channel: u64) -> Lost {
        let lost = |(id, sent): (&u64, &Sent)| {
            (sent.channel != channel && !has.contains(id)).then_some(*id)
        };
        let ids: Vec<u64> = self.jobs.iter().filter_map(lost).collect();
        let jobs = ids.iter().filter_map(|id| self.jobs.remove(id)).map(|sent| sent.job).collect();
        match self.life.replace(life) == Some(life) {
            true => Lost::OnTheWay(jobs),
            false => Lost::Died(jobs),
        }
    }
}

/// Serves mta.
#[derive(Default)]
pub struct Server(OnceLock<(Arc<Shared>, Pool)>);

impl Server {
    /// The shared state has the channel that this serves, hence the detour.
    pub fn serve(&self, shared: &Arc<Shared>, pool: Pool) {
        let fresh = self.0.set((Arc::clone(shared), pool)).is_ok();
        debug_assert!(fresh, "called once, at the start");
    }
}

impl Serve for Server {
    fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        let Some((shared, pool)) = self.0.get() else { return back.busy() };
        let Ok(ask) = Ask::from_bytes(&payload) else {
            log::crit!("remote", msg = "malformed report of mta");
            return back.busy();
        };
        let shared = Arc::clone(shared);
        pool.submit(move || match ask {
            Ask::Hello { life, jobs } => shared.hello(life, &jobs.into_iter().collect(), back),
            Ask::Report { id, results, last } => shared.report(id, results, last, back),
        });
    }

    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}

    fn attached(&self) {
        let Some((shared, _)) = self.0.get() else { return };
        let mut queue = shared.queue();
        queue.mta_down = true;
        queue.mta_channels = queue.mta_channels.wrapping_add(1);
    }
}

impl Shared {
    /// mta says on a fresh channel which jobs it has.
    fn hello(self: &Arc<Self>, life: u64, has: &HashSet<u64>, back: Back) {
        let channel = self.queue().mta_channels;
        let lost = lock::lock(&self.remote).hello(life, has, channel);
        match lost {
            Lost::Died(jobs) => jobs.iter().for_each(|job| self.died(job)),
            Lost::OnTheWay(jobs) => {
                jobs.iter().for_each(|job| postpone(self, job, "it was lost on its way to mta"));
            }
        }
        self.queue().mta_down = false;
        self.changed.notify_all();
        back.reply(&Answer::Recorded, None);
    }

    /// Sends a job to mta.
    pub(super) fn send_job(self: &Arc<Self>, job: Job, first: &Envelope) {
        let config = self.config();
        let wire = match self.wire_job(&config, &job, first) {
            Ok(Some(wire)) => wire,
            Ok(None) => return end(self, &job),
            Err(why) => {
                log::crit!("remote", qid = Show(&job.qid), error = why.as_str());
                return postpone(self, &job, "the message cannot be read now");
            }
        };
        let (mut wire, file) = wire;
        let channel = self.queue().mta_channels;
        let id = lock::lock(&self.remote).add(job, channel);
        wire.id = id;
        let down = Down::Job { job: Box::new(wire) };
        // Not on another channel than it was made for: mta, which has not got it,
        // says so there.
        let replaced = Cell::new(false);
        let wanted = || {
            replaced.set(self.queue().mta_channels != channel);
            !replaced.get()
        };
        let sent = self.mta.tell_if(wanted, &down, Some(file.as_fd()), Deadline::after(SEND));
        let sent = sent.and(if replaced.get() { Err(CallError::PeerGone) } else { Ok(()) });
        if let Err(e) = sent {
            let sent = lock::lock(&self.remote).jobs.remove(&id);
            let Some(Sent { job, .. }) = sent else { return };
            if e != CallError::Timeout && job.dest.class == Class::Remote {
                // It is being restarted: a fresh channel will say when it is
                // back, if it has not come while this one was given up.
                let mut queue = self.queue();
                queue.mta_down |= queue.mta_channels == channel;
                drop(queue);
                end(self, &job);
            } else {
                // Stopped, or slow: no fresh channel will come.
                postpone(self, &job, "mta does not take it now");
            }
        }
    }

    /// mta died with this job.  It may be what it died of: deaths count as those
    /// of a store do.  After the first, which may have been any other's fault, it
    /// is tried again at once.
    fn died(&self, job: &Job) {
        let died = |n: u32| Settled::ours(n, How::Died, 3, 0, "the relaying process died");
        // Those of which it had not said yet what became of them.
        let open: Vec<u32> = {
            let queue = self.queue();
            let in_work = |n: &u32| queue.sched.is_in_work(Id { qid: job.qid, rcpt: *n });
            job.rcpts.iter().copied().filter(in_work).collect()
        };
        self.settle(job.qid, open.iter().copied().map(died).collect());
        let now = self.now();
        let mut queue = self.queue();
        for rcpt in open {
            let id = Id { qid: job.qid, rcpt };
            if queue.rcpt(id).is_some_and(|r| r.deaths == 1) {
                queue.sched.try_now(id, now);
            }
        }
        drop(queue);
        end(self, job);
    }

    fn wire_job(
        &self,
        config: &Config,
        job: &Job,
        first: &Envelope,
    ) -> Result<Option<(queue_mta::Job, std::fs::File)>, String> {
        let loaded = self.spool.load(job.qid).map_err(|e| e.to_string())?;
        let (file, key) = self.spool.open_body(job.qid).map_err(|e| e.to_string())?;
        let queue = self.queue();
        let rcpts: Vec<queue_mta::Rcpt> = job
            .rcpts
            .iter()
            .filter_map(|n| {
                let r = queue.rcpt(Id { qid: job.qid, rcpt: *n })?;
                Some(wire_rcpt(config, *n, r))
            })
            .collect();
        drop(queue);
        if rcpts.is_empty() {
            return Ok(None);
        }
        let origin = &loaded.state.origin;
        let body =
            Body { key: *key.expose(), len: loaded.body, edits: changes(&loaded.state.edits) };
        let wire = queue_mta::Job {
            id: 0,
            qid: job.qid.to_string(),
            action: first.action.clone(),
            domain: first.rcpt.domain().to_ascii().into_owned(),
            sender: origin.sender.to_string(),
            smtputf8: origin.smtputf8,
            eight_bit: origin.eight_bit,
            ret_full: origin.ret.map(|r| r == Ret::Full),
            envid: origin.envid.clone(),
            rcpts,
            body,
        };
        Ok(Some((wire, file)))
    }

    /// What an LMTP server has taken goes to the addresses of the users'
    /// `.forward` too.
    fn forward_after(&self, qid: Qid, all: &mut [Settled]) {
        let queue = self.queue();
        let Some(kept) = queue.messages.get(&qid).filter(|k| !k.owed_to.is_empty()) else {
            return;
        };
        for one in all.iter_mut().filter(|one| matches!(one.how, How::Relayed(_))) {
            one.inject = kept.owed_to.get(&one.rcpt).cloned().unwrap_or_default();
        }
    }

    /// mta says what became of some recipients.
    fn report(self: &Arc<Self>, id: u64, results: Vec<Report>, last: bool, back: Back) {
        // A recipient is reported once: mta repeats what it hears no answer to, and
        // may die while this is written down.
        let (job, results) = {
            let mut remote = lock::lock(&self.remote);
            let Some(Sent { job, .. }) = remote.jobs.get_mut(&id) else {
                return back.reply(&Answer::Recorded, None);
            };
            let known = |r: &Report| job.rcpts.contains(&r.number);
            let results: Vec<Report> = results.into_iter().filter(known).collect();
            let whole = job.clone();
            job.rcpts.retain(|n| results.iter().all(|r| r.number != *n));
            if last {
                remote.jobs.remove(&id);
            }
            (whole, results)
        };
        let mut settled: Vec<Settled> = results.into_iter().map(settled).collect();
        self.forward_after(job.qid, &mut settled);
        let answered = settled.iter().any(|s| matches!(s.how, How::Relayed(_)));
        let written = settled.is_empty() || self.settle(job.qid, settled);
        if answered {
            let now = self.now();
            self.queue().sched.answered(&job.dest, now);
        }
        if last {
            end(self, &job);
        }
        let answer = if written { Answer::Recorded } else { Answer::NotRecorded };
        back.reply(&answer, None);
    }
}

/// The address for RCPT TO, and what goes with it.
fn wire_rcpt(config: &Config, number: u32, r: &Recipient) -> queue_mta::Rcpt {
    let e = &r.envelope;
    // LMTP names the user, unless the action says `rcpt-to`.
    let by_user = config.action(&e.action).is_some_and(|a| {
        matches!(&a.method, Method::Local(l)
            if matches!(l.deliver, Deliver::Lmtp { rcpt_to: false, .. }))
    });
    let address = match (&e.user, by_user) {
        (Some(user), true) => user.clone(),
        _ => e.rcpt.to_string(),
    };
    queue_mta::Rcpt {
        number,
        address,
        notify: e.notify.map(|n| Notify { success: n.success, failure: n.failure, delay: n.delay }),
        orcpt: e.orcpt.as_ref().map(|o| (o.kind.clone(), o.address.clone())),
    }
}

fn settled(r: Report) -> Settled {
    let (how, class, subject, detail) = match r.result {
        Outcome::Done { dsn } => (How::Relayed(dsn), 2, 0, 0),
        Outcome::Temp { subject, detail } => (How::Later, 4, subject, detail),
        Outcome::Perm { subject, detail } => (How::Never, 5, subject, detail),
    };
    Settled {
        rcpt: r.number,
        how,
        status: Enhanced::new(class, subject, detail),
        host: r.host.map(|h| harmless(h.as_bytes())),
        said: harmless(r.said.as_bytes()),
        inject: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proc::queue::sched::Dest;

    fn job(n: u32) -> Job {
        let dest = Dest { class: Class::Remote, name: "example".into() };
        let qid = Qid::parse(b"000000000001").unwrap();
        Job { qid, dest: Arc::new(dest), rcpts: vec![n] }
    }

    #[test]
    fn a_living_mta_keeps_what_it_has_and_a_new_one_has_nothing() {
        let mut remote = Remote::default();
        assert_eq!(remote.hello(7, &HashSet::new(), 1), Lost::Died(vec![]));
        let has = remote.add(job(1), 1);
        remote.add(job(2), 1);
        let on_its_way = remote.add(job(3), 2);
        assert_eq!(remote.hello(7, &HashSet::from([has]), 2), Lost::OnTheWay(vec![job(2)]));
        assert_eq!(remote.hello(8, &HashSet::new(), 2), Lost::Died(vec![job(1)]));
        assert_eq!(remote.jobs.into_keys().collect::<Vec<_>>(), [on_its_way]);
    }
}
