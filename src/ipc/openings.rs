//! What a process waits for from parent under its own request ids: channels to
//! stores, programs and sockets that lookup had opened for it.
//!
//! Runs in imap, queue and mta.  The request is made by lookup, the answer
//! comes from parent: that is why a broken imap cannot open mailboxes by
//! asking, and why this is not a call.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::ipc::call::CallError;
use crate::ipc::parent::Refusal;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError, SyncSender};
use std::sync::Mutex;

/// What parent gave: a channel, or why there is none.
pub type Opened = Result<OwnedFd, Refusal>;

/// The requests of this process that are still open.  Any thread.
#[derive(Default)]
pub struct Openings {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    next: u64,
    slots: HashMap<u64, SyncSender<Opened>>,
}

/// One request, to be waited for.
pub struct Opening<'a> {
    /// The id to give to lookup.
    pub request: u64,
    from: &'a Openings,
    slot: Receiver<Opened>,
}

impl Openings {
    /// A fresh id to wait for.
    pub fn begin(&self) -> Opening<'_> {
        let (to, slot) = sync_channel(1);
        let mut state = self.lock();
        state.next = state.next.wrapping_add(1);
        let request = state.next;
        state.slots.insert(request, to);
        Opening { request, from: self, slot }
    }

    /// Parent's answer arrived.  One that nobody waits for any more is closed.
    pub fn complete(&self, request: u64, opened: Opened) {
        let slot = self.lock().slots.remove(&request);
        if let Some(slot) = slot {
            // The waiter may give up this instant; the descriptor closes then.
            let _ = slot.send(opened);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        lock::lock(&self.state)
    }
}

impl Opening<'_> {
    /// Waits up to `deadline`.
    pub fn wait(self, deadline: Deadline) -> Result<Opened, CallError> {
        match self.slot.recv_timeout(super::call::left(deadline)) {
            Ok(opened) => Ok(opened),
            Err(RecvTimeoutError::Timeout) => Err(CallError::Timeout),
            Err(RecvTimeoutError::Disconnected) => Err(CallError::PeerGone),
        }
    }
}

impl Drop for Opening<'_> {
    fn drop(&mut self) {
        self.from.lock().slots.remove(&self.request);
    }
}
