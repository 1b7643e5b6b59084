//! What a process waits for under its own ids, when who asks is not who
//! answers.
//!
//! Runs in imap, queue and mta: channels to stores, programs and sockets.  The
//! request is made by lookup, the answer comes from parent: that is why a
//! broken imap cannot open mailboxes by asking, and why this is not a call.
//! Control waits in the same way for parent's answers.
//!
//! Parent answers a kind of process, not one life of it: what the predecessor
//! asked for can be answered to its successor.  So ids begin at random, and an
//! answer that is not ours meets no slot.  Counted from 0 it would meet one,
//! and give one account's channel to who waits for another's.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::ipc::call::CallError;
use crate::ipc::parent::Refusal;
use crate::sys::rand;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::Mutex;

/// What parent gave: a channel, or why there is none.
pub type Opened = Result<OwnedFd, Refusal>;

/// Requests for channels that are still open.
pub type Openings = Slots<Opened>;

/// One of them.
pub type Opening<'a> = Slot<'a, Opened>;

/// The requests of this process that are still open.  Any thread.
pub struct Slots<T> {
    state: Mutex<State<T>>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Slots { state: Mutex::new(State { next: rand::u64(), slots: HashMap::new() }) }
    }
}

struct State<T> {
    next: u64,
    slots: HashMap<u64, SyncSender<T>>,
}

/// One request, to be waited for.
pub struct Slot<'a, T> {
    /// Its id.
    pub request: u64,
    from: &'a Slots<T>,
    slot: Receiver<T>,
}

impl<T> Slots<T> {
    /// A fresh id to wait for.
    pub fn begin(&self) -> Slot<'_, T> {
        let (to, slot) = sync_channel(1);
        let mut state = lock::lock(&self.state);
        state.next = state.next.wrapping_add(1);
        let request = state.next;
        state.slots.insert(request, to);
        Slot { request, from: self, slot }
    }

    /// The same for an id that [`Slots::begin`] of other slots gave: what opens
    /// a program and what tells of its end have one id.
    pub fn expect(&self, request: u64) -> Slot<'_, T> {
        let (to, slot) = sync_channel(1);
        lock::lock(&self.state).slots.insert(request, to);
        Slot { request, from: self, slot }
    }

    /// The answer arrived.  False: nobody waits for it any more, and it is dropped.
    pub fn complete(&self, request: u64, answer: T) -> bool {
        let slot = lock::lock(&self.state).slots.remove(&request);
        // The waiter may give up this instant; a descriptor closes then.
        slot.is_some_and(|slot| slot.send(answer).is_ok())
    }
}

impl<T> Slot<'_, T> {
    /// Waits up to `deadline`.
    pub fn wait(self, deadline: Deadline) -> Result<T, CallError> {
        match self.slot.recv_timeout(super::call::left(deadline)) {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(CallError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(CallError::PeerGone),
        }
    }
}

impl<T> Drop for Slot<'_, T> {
    fn drop(&mut self) {
        lock::lock(&self.from.state).slots.remove(&self.request);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn an_answer_to_a_predecessor_meets_no_slot_of_its_successor() {
        let (before, after) = (Slots::<u32>::default(), Slots::<u32>::default());
        let asked: Vec<_> = (0..100).map(|_| before.begin()).collect();
        let mine = after.begin();
        for slot in &asked {
            after.complete(slot.request, 1);
        }
        let request = mine.request;
        after.complete(request, 2);
        assert_eq!(mine.wait(Deadline::after(Duration::from_secs(20))), Ok(2));
    }
}
