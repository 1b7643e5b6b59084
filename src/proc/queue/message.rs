//! A message as queue keeps it in memory: everything but body and edits.

use crate::base::clock::{Since, WallTime};
use crate::conf::ast::Config;
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::Envelope;
use crate::disk::spool::state::{Recipient, State};
use crate::proc::queue::sched::{Id, Item, Now, Settings};
use crate::proc::queue::settle::Settled;
use crate::proc::queue::{Queue, Shared};
use crate::proto::smtp::edit::Edits;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A committed message.
pub struct Kept {
    /// When it was accepted.
    pub created: WallTime,
    /// Octets, with its edits.
    pub size: u64,
    /// What its log amounts to; without the edits, which stay on disk.
    pub state: State,
    /// Attempts that this process knows nothing of may have succeeded.
    pub maybe: bool,
    /// Recipients that are delivered, which the disk did not take: written with
    /// the next record.
    pub owed: Vec<u32>,
    /// Addresses of a `.forward` that get the message when an LMTP server has it.
    pub owed_to: BTreeMap<u32, Vec<String>>,
    /// Deliveries that are done but for what they bring forth, which the disk did
    /// not take yet.
    pub unsent: BTreeMap<u32, Settled>,
    /// What the sender is to be told of, when the message's other deliveries of
    /// this round have ended: of all in one notification.
    pub untold: Vec<Settled>,
    /// Since when the first of them waits.
    pub untold_since: Option<Since>,
    /// Messages that it brought forth, recorded, which the disk did not let
    /// become visible yet: until it does the message stays.
    pub unpublished: Vec<Qid>,
}

impl Kept {
    /// Keeps what was loaded or committed.
    pub fn new(created: WallTime, body: u64, mut state: State, maybe: bool) -> Kept {
        let size = state.edits.size(body).unwrap_or(body);
        state.edits = Edits::new();
        Kept {
            created,
            size,
            state,
            maybe,
            owed: Vec::new(),
            owed_to: BTreeMap::new(),
            unsent: BTreeMap::new(),
            untold: Vec::new(),
            untold_since: None,
            unpublished: Vec::new(),
        }
    }

    /// When it was accepted, in milliseconds since 1970.
    pub fn created_ms(&self) -> i64 {
        let ms = i64::from(self.created.nanos / 1_000_000);
        self.created.secs.saturating_mul(1000).saturating_add(ms)
    }

    /// Whoever is to have his turn: a login, else the sender, else the client.
    fn turn(&self) -> Arc<str> {
        let origin = &self.state.origin;
        match (&origin.session.user, origin.sender.mailbox(), origin.session.client) {
            (Some(user), _, _) => user.as_str().into(),
            (None, Some(sender), _) => sender.key().as_str().into(),
            (None, None, Some(client)) => client.to_string().as_str().into(),
            (None, None, None) => "".into(),
        }
    }
}

/// How long a recipient is tried.
pub fn ttl(config: &Config, envelope: &Envelope) -> Duration {
    config.action(&envelope.action).and_then(|a| a.ttl).unwrap_or_else(|| config.queue_ttl())
}

impl Queue {
    /// Takes a message in and plans its recipients.
    pub fn insert(&mut self, qid: Qid, kept: Kept, config: &Config, now: Now) {
        // Taken in by recovery, or a moment ago.
        if self.messages.contains_key(&qid) {
            return;
        }
        let sender = kept.turn();
        for (rcpt, r) in kept.state.open() {
            let dest = Arc::new(Shared::dest(config, &r.envelope));
            self.sched.add(
                Item {
                    id: Id { qid, rcpt },
                    sender: Arc::clone(&sender),
                    dest,
                    created: kept.created_ms(),
                    ttl: ttl(config, &r.envelope),
                    tries: r.tries,
                    last_try: r.last_try.saturating_mul(1000),
                    held: r.held.is_some(),
                },
                now,
            );
        }
        self.messages.insert(qid, kept);
    }

    /// Another configuration: each recipient is tried for as long as it says now.
    pub fn configure(&mut self, config: &Config, settings: Settings, now: Now) {
        self.sched.configure(settings);
        for (qid, kept) in &self.messages {
            for (rcpt, r) in kept.state.open() {
                self.sched.keep_for(Id { qid: *qid, rcpt }, ttl(config, &r.envelope), now);
            }
        }
    }

    /// A recipient that is not done.
    pub fn rcpt(&self, id: Id) -> Option<&Recipient> {
        self.messages.get(&id.qid)?.state.rcpt(id.rcpt).filter(|r| r.end.is_none())
    }
}
