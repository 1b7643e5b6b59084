//! Deliveries: a message of the queue into one of the account's mailboxes.
//!
//! *Runs in* store, a thread for each channel of queue's; parent gives one at
//! a time.  *Trusts* queue for what a delivery is, nobody for what a message
//! says.  *Durability:* the answer `Done` means that the message is synced
//! under a name that the delivery's id fixes, so a second attempt finds it;
//! everything unknown is temporary.

use std::collections::HashSet;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use super::account::Account;
use super::forward::{self, Forwarded};
use super::Shared;
use crate::base::clock::Deadline;
use crate::base::exits::{Outcome, Status};
use crate::base::{lock, log};
use crate::conf::ast::SpecialUse;
use crate::disk::maildir::{DeliveryId, Error, Name};
use crate::disk::spool::head::Key;
use crate::disk::spool::message::Message;
use crate::ipc::queue_store::{self, Answer, Delivery, Notice};
use crate::proto::limits;
use crate::proto::smtp::handover::{handover, Handover, Loop};

/// Serves one channel of queue's until it closes it.
pub fn run(shared: &Shared, channel: OwnedFd) {
    let served = queue_store::serve(channel, |delivery, file, tell| {
        let answer = deliver(shared, &delivery, file, tell).unwrap_or_else(|o| Answer::failed(&o));
        report(&delivery, &answer);
        answer
    });
    if let Err(e) = served {
        log::warn!("deliver", msg = "channel of queue", error = log::Show(&e));
    }
}

/// How long a delivery may be waited for that is the same as another.
const SAME: Duration = Duration::from_secs(5 * 60);

/// The deliveries in work, by message and recipient.  Any thread.
///
/// A queue that was restarted gives out again what its predecessor gave this
/// store, while that is still being written: the two would share one name in
/// `tmp/`, and one would deliver what the other has half written.
#[derive(Debug, Default)]
pub struct InWork {
    ids: Mutex<HashSet<(String, u32)>>,
    changed: Condvar,
}

/// The right to work on a delivery; dropping it gives it up.
#[derive(Debug)]
struct Turn<'a> {
    of: &'a InWork,
    id: (String, u32),
    /// Another attempt had it before: it may have succeeded.
    waited: bool,
}

impl InWork {
    /// Waits until nobody works on this delivery; `None` at the deadline.
    fn turn(&self, qid: &str, number: u32, deadline: Deadline) -> Option<Turn<'_>> {
        let id = (qid.to_string(), number);
        let mut ids = lock::lock(&self.ids);
        let mut waited = false;
        while !ids.insert(id.clone()) {
            if deadline.expired() {
                return None;
            }
            waited = true;
            ids = lock::wait_for(&self.changed, ids, deadline.left());
        }
        Some(Turn { of: self, id, waited })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        lock::lock(&self.of.ids).remove(&self.id);
        self.of.changed.notify_all();
    }
}

/// One line for each delivery, to follow a store's work by: the line of the log is
/// queue's, which knows what becomes of it.
fn report(delivery: &Delivery, answer: &Answer) {
    let (qid, rcpt, n) = (delivery.qid.as_str(), delivery.rcpt.as_str(), delivery.number);
    match answer {
        Answer::Done { mailbox, inject } => {
            let (mailbox, forwarded) = (mailbox.as_str(), inject.len());
            log::debug!(
                "deliver",
                qid = qid,
                rcpt = n,
                to = log::Angle(rcpt.as_bytes()),
                mailbox = mailbox,
                forwarded = forwarded,
                result = "2.0.0"
            );
        }
        // The delivery itself is still to come.
        Answer::Kept { .. } => {}
        failed => {
            let outcome = failed.outcome();
            let why = outcome.status().map_or("", |s| s.private.as_str());
            log::debug!(
                "deliver",
                qid = qid,
                rcpt = n,
                to = log::Angle(rcpt.as_bytes()),
                result = outcome.code().as_str(),
                error = why
            );
        }
    }
}

fn deliver(
    shared: &Shared,
    delivery: &Delivery,
    file: OwnedFd,
    tell: &dyn Fn(&Notice),
) -> Result<Answer, Outcome> {
    if let Some(e) = &shared.trouble {
        let known = e.is_full() || matches!(e, Error::Locked(_));
        let other = || Outcome::temp((3, 0), "the mailbox cannot be opened", e);
        return Err(if known { Outcome::from(e) } else { other() });
    }
    let turn =
        shared.in_work.turn(&delivery.qid, delivery.number, Deadline::after(SAME)).ok_or_else(
            || Outcome::temp((3, 0), "local error", "an earlier attempt is still in work"),
        )?;
    let maybe = delivery.maybe || turn.waited;
    let edits = delivery
        .body
        .edits()
        .map_err(|_| Outcome::temp((3, 0), "local error", "edits of the message make no sense"))?;
    let key = Key::new(delivery.body.key);
    let message = Message::of_body(File::from(file), key, delivery.body.len, edits)
        .map_err(|e| Outcome::temp((3, 0), "local error", e))?;
    let header = message
        .header(limits::QUEUED_HEADER)
        .map_err(|e| Outcome::temp((3, 0), "local error", e))?;
    let skip = header.len();
    let given = handover(&header, &delivery.sender, &delivery.rcpt)
        .map_err(|Loop| Outcome::Perm(Status::new((4, 6), "message goes in a circle")))?;
    let forwarded = if delivery.forward && !delivery.plain && shared.who.forward {
        forward::read(shared, &delivery.rcpt)?
    } else {
        Forwarded::keep()
    };
    // Into the mailbox first: that can be repeated and happens once, which
    // nobody can say of a command.
    let mut mailbox = String::new();
    if let (true, Some(account)) = (forwarded.keep, &shared.account) {
        let detail = forwarded.detail.as_deref().or(delivery.detail.as_deref());
        let name = store(account, delivery, detail, maybe, &given, &message, skip);
        mailbox = name.map_err(|e| Outcome::from(&e))?.to_string();
    }
    let mut commands = forwarded.commands.iter().filter(|c| !delivery.ran.contains(c)).peekable();
    while let Some(command) = commands.next() {
        forward::pipe(shared, delivery, command, &given.header, &message, skip)?;
        // After the last one there is nothing to fail but this answer.
        if commands.peek().is_some() {
            tell(&Notice::Ran { command: command.clone() });
        }
    }
    let inject = forwarded.addresses;
    if forwarded.keep && shared.account.is_none() {
        return Ok(Answer::Kept { inject, ran: !forwarded.commands.is_empty() });
    }
    Ok(Answer::Done { mailbox, inject })
}

/// Writes the message into the mailbox that is meant for it.
fn store(
    account: &Account,
    delivery: &Delivery,
    detail: Option<&str>,
    maybe: bool,
    given: &Handover,
    message: &Message,
    skip: usize,
) -> Result<Name, Error> {
    let Delivery { secs, usecs, ref qid, number, .. } = *delivery;
    let id = DeliveryId { secs, usecs, qid, rcpt: number, copy: 0 };
    if maybe {
        if let Some(name) = account.root().find_delivery(&id)? {
            return Ok(name);
        }
    }
    let spam = delivery.spam.unwrap_or(given.spam);
    let name = target(account, delivery, detail, spam)?;
    let mut draft = match account.root().draft(&name, &account.root().delivery_name(&id)) {
        // The inbox is always there, Junk is made when first used.
        Err(Error::NoMailbox) => {
            match account.create(&name) {
                Ok(()) | Err(Error::Exists) => {}
                Err(e) => return Err(e),
            }
            account.root().draft(&name, &account.root().delivery_name(&id))?
        }
        other => other?,
    };
    draft.write(&given.header)?;
    let mut reader = message.reader();
    let mut left = skip;
    while let Some(piece) = reader.next_piece()? {
        let from = left.min(piece.len());
        left = left.saturating_sub(from);
        draft.write(piece.get(from..).unwrap_or_default())?;
    }
    let finished = draft.finish(None)?;
    if delivery.plain {
        // Open mailboxes and their indexes are left alone: the next sync finds it.
        finished.deliver()?;
    } else {
        account.deliver(&name, finished)?;
    }
    Ok(name)
}

/// Junk for spam if the action says so; the sub-address's mailbox if it exists; the inbox.
fn target(
    account: &Account,
    delivery: &Delivery,
    detail: Option<&str>,
    spam: bool,
) -> Result<Name, Error> {
    if spam && delivery.junk {
        if let Some(junk) = account.by_use(SpecialUse::Junk) {
            return Ok(junk);
        }
        return Ok(Name::new("Junk")?);
    }
    if let Some(name) = detail.and_then(|d| Name::new(d).ok()) {
        if account.root().exists(&name)? {
            return Ok(name);
        }
    }
    Ok(Name::inbox())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_delivery_waits_for_the_one_in_work_and_others_do_not() {
        let work = InWork::default();
        let first = work.turn("q", 1, Deadline::NEVER).unwrap();
        assert!(!first.waited);
        assert!(!work.turn("q", 2, Deadline::NEVER).unwrap().waited);
        assert!(work.turn("q", 1, Deadline::after(Duration::from_millis(10))).is_none());
        std::thread::scope(|s| {
            let second = s.spawn(|| work.turn("q", 1, Deadline::NEVER).is_some());
            drop(first);
            assert!(second.join().unwrap());
        });
        assert!(lock::lock(&work.ids).is_empty());
    }
}
