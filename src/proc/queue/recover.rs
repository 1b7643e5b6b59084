//! The start: what lies on disk becomes the schedule again.
//!
//! The queue is walked in a thread of its own, oldest first, while new mail is
//! taken in.  What a message says it spawned is published before anything in
//! incoming is removed; so incoming is cleared last, of what was there before.
//! A damaged file goes to `bad`; one that is sealed with another key, or of
//! another release, stays and is complained of.

use crate::base::listen::STACK;
use crate::base::log::{self, Show};
use crate::disk::spool::qid::Qid;
use crate::disk::spool::SpoolError;
use crate::proc::queue::message::Kept;
use crate::proc::queue::{Counts, Shared};
use crate::sys::errno::SysError;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How long smtp has to ask what became of its commits.
const RESUME: Duration = Duration::from_secs(5);

/// Lists what is there and starts reading it.  To be called before anything
/// new is begun.
pub fn start(shared: &Arc<Shared>) -> Result<(), SysError> {
    let incoming = shared.spool.list_incoming()?;
    let (committed, others) = shared.spool.list()?;
    for path in others {
        log::warn!("spool", path = Show(&path.display()), msg = "not a file of ours, left alone");
    }
    spawn("recover", shared, move |shared| walk(shared, &committed, &incoming))?;
    spawn("resume", shared, |shared| {
        std::thread::sleep(RESUME);
        shared.queue().resumed = true;
        shared.changed.notify_all();
    })
}

/// A thread that has the shared state.
pub fn spawn(
    name: &str,
    shared: &Arc<Shared>,
    run: impl FnOnce(&Arc<Shared>) + Send + 'static,
) -> Result<(), SysError> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new()
        .name(name.to_owned())
        .stack_size(STACK)
        .spawn(move || run(&shared))
        .map(drop)
        .map_err(|e| SysError::of("pthread_create", &e))
}

fn walk(shared: &Arc<Shared>, committed: &[Qid], incoming: &[Qid]) {
    let unread = committed.iter().filter(|qid| !take(shared, **qid)).count();
    // A message that could not be read may have spawned what lies there.
    if unread == 0 {
        let published: BTreeSet<&Qid> = committed.iter().collect();
        for qid in incoming.iter().filter(|q| !published.contains(q)) {
            if let Err(e) = shared.spool.discard_incoming(*qid) {
                shared.trouble("recover", *qid, &e);
            }
        }
    }
    let mut queue = shared.queue();
    queue.loaded = true;
    let n = queue.messages.len();
    drop(queue);
    shared.changed.notify_all();
    log::info!("recovered", messages = n);
    if unread > 0 {
        Counts::add(&shared.counts.unread, unread);
        log::crit!(
            "recover",
            unread = unread,
            msg = "messages wait in the queue that cannot be read: put back the key or the \
                   release that wrote them, and restart"
        );
    }
}

/// Reads one message; false if what it spawned is not known.
fn take(shared: &Arc<Shared>, qid: Qid) -> bool {
    let loaded = match shared.spool.load(qid) {
        Ok(loaded) => loaded,
        Err(SpoolError::Gone) => return true,
        Err(e @ SpoolError::Damaged(_)) => {
            shared.trouble("quarantine", qid, &e);
            Counts::add(&shared.counts.quarantined, 1);
            if let Err(e) = shared.spool.quarantine(qid) {
                shared.trouble("quarantine", qid, &e);
            }
            return true;
        }
        Err(e) => {
            shared.trouble("recover", qid, &e);
            return false;
        }
    };
    if loaded.cut > 0 {
        log::warn!(
            "recover",
            qid = Show(&qid),
            msg = "incomplete records cut off",
            octets = loaded.cut
        );
    }
    if !loaded.state.spawned.is_empty() {
        let ids = loaded.state.spawned.clone();
        if let Err(e) = shared.spool.publish_spawned(&ids) {
            shared.trouble("recover", qid, &e);
            return false;
        }
        for id in ids {
            shared.take_in(id, true);
        }
    }
    if loaded.state.is_finished() {
        shared.finish(qid);
        return true;
    }
    shared.keep(qid, Kept::new(loaded.created, loaded.body, loaded.state, true));
    true
}
