//! What smtp asks of queue, and the one moment at which nobody knows the answer.
//!
//! A commit whose channel breaks may have happened or not.  Its id stays in
//! [`Link::open`]; the first request on the fresh channel is `Resume` with all
//! such ids, nobody else asks anything before its answer, and the sessions that
//! wait for a verdict get it from there: 250 and 451 are then both true.  Where
//! queue says nothing in time neither would be, so nothing is answered and the
//! connection is closed: the client tries again, as after any loss (RFC 5321
//! 4.5.3.2.6, 7.8).

use crate::base::clock::Deadline;
use crate::base::lock::{lock, wait_for};
use crate::base::log::{self, Show};
use crate::ipc::call::{CallError, Channel, NoRequests, Peer};
use crate::ipc::smtp_queue::{Answer, Ask, Begun, Message, Refused};
use crate::proto::smtp::reply::{table, Reply};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// How long queue may take to say what it committed.
const RESUME: Duration = Duration::from_secs(30);
/// How long a commit may take; the client waits ten minutes (RFC 5321 4.5.3.2.6).
const COMMIT: Duration = Duration::from_secs(300);
/// How long the end of a message that came to nothing may hold up its session.
const ABORT: Duration = Duration::from_secs(2);

/// Why a message was not taken.
#[derive(Debug)]
pub enum Uncommitted {
    /// It is not on disk; this says why.
    Refused(Reply),
    /// Nobody knows whether it is.
    Unknown,
}

impl From<Reply> for Uncommitted {
    fn from(reply: Reply) -> Uncommitted {
        Uncommitted::Refused(reply)
    }
}

/// The way to queue.  Any thread.
pub struct Intake {
    peer: Peer<Ask, Answer>,
    link: Mutex<Link>,
    changed: Condvar,
}

#[derive(Default)]
struct Link {
    /// `Resume` has been answered on the channel in use.
    resumed: bool,
    /// Commits without an answer; `Some`: whether they happened.
    open: HashMap<String, Option<bool>>,
}

impl Default for Intake {
    /// Without a channel yet.
    fn default() -> Intake {
        Intake {
            peer: Peer::new("queue", Arc::new(NoRequests)),
            link: Mutex::new(Link::default()),
            changed: Condvar::new(),
        }
    }
}

impl Intake {
    /// A fresh channel: asks `Resume` on it from a thread of its own.
    pub fn attach(self: &Arc<Self>, channel: impl Into<Channel>) {
        lock(&self.link).resumed = false;
        let this = Arc::clone(self);
        let resume = move || this.resume();
        let begun = self.peer.attach(channel).and_then(|()| {
            std::thread::Builder::new().name("resume".into()).spawn(resume).map(|_| ())
        });
        if let Err(e) = begun {
            log::crit!("smtp", peer = "queue", error = Show(&e));
        }
    }

    fn resume(&self) {
        loop {
            let open: Vec<String> = lock(&self.link).open.keys().cloned().collect();
            let answer = self.peer.call(&Ask::Resume { open: open.clone() }, after(RESUME));
            match answer {
                Ok(Answer::Resume { committed }) => {
                    let mut link = lock(&self.link);
                    for qid in open {
                        let happened = committed.contains(&qid);
                        if let Some(state) = link.open.get_mut(&qid) {
                            *state = Some(happened);
                        }
                    }
                    link.resumed = true;
                    self.changed.notify_all();
                    return;
                }
                // Another channel will come, with another of these threads.
                Err(CallError::PeerGone) => return,
                Ok(_) | Err(_) => log::warn!("smtp", peer = "queue", msg = "no answer to resume"),
            }
        }
    }

    /// Begins a message; gives the descriptor to write its body through.  Blocks
    /// up to `wait`.
    pub fn begin(&self, sid: u64, size: u64, wait: Duration) -> Result<(Begun, OwnedFd), Reply> {
        let deadline = after(wait);
        drop(self.wait_resumed(deadline)?);
        match self.peer.call_fd(&Ask::Begin { sid, size }, None, deadline) {
            Ok((Answer::Begin { begun: Ok(begun) }, Some(fd))) => Ok((begun, fd)),
            Ok((Answer::Begin { begun: Err(refused) }, _)) => Err(reply(refused)),
            Ok((Answer::Begin { begun: Ok(begun) }, None)) => {
                // This process had no descriptor left to take it with.
                log::warn!("smtp", sid = Show(format!("{sid:016x}")), msg = "out of descriptors");
                self.abort(&begun.qid);
                Err(table::BUSY)
            }
            Ok(_) => Err(table::LOCAL_ERROR),
            Err(_) => Err(table::UNAVAILABLE),
        }
    }

    /// Hands a message over: when this gives `Ok`, it is on disk.  Blocks for five
    /// minutes at most.
    pub fn commit(&self, qid: &str, message: Message) -> Result<(), Uncommitted> {
        let deadline = after(COMMIT);
        // Noted under the lock that found the channel in use: a channel that is
        // replaced from now on asks for this id too.
        self.wait_resumed(deadline)?.open.insert(qid.to_owned(), None);
        let ask = Ask::Commit { qid: qid.to_owned(), message: Box::new(message) };
        let result = match self.peer.call(&ask, deadline) {
            Ok(Answer::Commit { committed }) => committed.map_err(|refused| reply(refused).into()),
            Err(CallError::PeerGone) => self.verdict(qid, deadline),
            // There was no room for the question, so nothing was done.
            Err(CallError::Busy) => Err(table::BUSY.into()),
            Ok(_) => Err(Uncommitted::Unknown),
            Err(e) => {
                log::warn!("smtp", qid = qid, msg = "commit", error = Show(&e));
                Err(Uncommitted::Unknown)
            }
        };
        lock(&self.link).open.remove(qid);
        result
    }

    /// Gives a message up.
    pub fn abort(&self, qid: &str) {
        // Without an answer queue finds it in incoming at its next start.
        let _ = self.peer.call(&Ask::Abort { qid: qid.to_owned() }, after(ABORT));
    }

    /// Waits for what the next queue says of a commit.
    fn verdict(&self, qid: &str, deadline: Deadline) -> Result<(), Uncommitted> {
        let mut link = lock(&self.link);
        loop {
            match link.open.get(qid) {
                Some(Some(true)) => return Ok(()),
                Some(None) if !deadline.expired() => {
                    link = wait_for(&self.changed, link, deadline.left());
                }
                Some(Some(false)) => return Err(table::LOCAL_ERROR.into()),
                Some(None) | None => return Err(Uncommitted::Unknown),
            }
        }
    }

    fn wait_resumed(&self, deadline: Deadline) -> Result<MutexGuard<'_, Link>, Reply> {
        let mut link = lock(&self.link);
        while !link.resumed {
            if deadline.expired() {
                return Err(table::UNAVAILABLE);
            }
            link = wait_for(&self.changed, link, deadline.left());
        }
        Ok(link)
    }
}

fn after(wait: Duration) -> Deadline {
    Deadline::after(wait)
}

const fn reply(refused: Refused) -> Reply {
    match refused {
        Refused::NoSpace => table::NO_SPACE,
        Refused::Exhausted => table::BUSY,
        Refused::Unknown | Refused::Failed => table::LOCAL_ERROR,
    }
}
