//! Deliveries on this machine: lookup says where, parent opens it, and the
//! message goes there over a channel of its own.
//!
//! A store or mbox process answers; one that dies without an answer, or fails,
//! may have delivered, so the next attempt says `maybe`; a death is counted (an
//! answer that does not come in time is none): after the fifth in a row the
//! recipient is held.  A program's exit status is its
//! answer (sysexits(3)).
//!
//! The store of a Maildir asks `.forward` itself, and tells of each command that
//! has run: when another one fails it is not run again.  Before an mbox process, a
//! program or an LMTP server there is a store for that alone: its commands run
//! once, which is recorded, and its addresses are injected when the delivery is
//! done, so an attempt that fails sends nothing on.

use crate::base::clock::Deadline;
use crate::base::exits::sysexits;
use crate::base::log::{self, Show};
use crate::disk::spool::message::Message;
use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{Envelope, Record};
use crate::ipc::call::CallError;
use crate::ipc::frame::{Broken, Kind, Receiver, Sender};
use crate::ipc::parent::{Ended, Refusal};
use crate::ipc::queue_lookup::{self, NoOpening, Opening};
use crate::ipc::queue_store::{Answer, Ask, Body, Change, Delivery, Notice, MESSAGE};
use crate::ipc::smtp_lookup::{AliasItem, Destination};
use crate::ipc::wire::Wire;
use crate::proc::program::feed;
use crate::proc::queue::sched::{Id, Job};
use crate::proc::queue::settle::{How, Settled};
use crate::proc::queue::Shared;
use crate::proto::limits;
use crate::proto::smtp::client::harmless;
use crate::proto::smtp::edit::{Edit, Edits};
use crate::proto::smtp::reply::Enhanced;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};

impl Shared {
    /// Delivers to each recipient of a job.
    pub(super) fn deliver_local(&self, job: &Job) {
        for rcpt in &job.rcpts {
            let settled = self.deliver_one(job, *rcpt);
            if let Some(one) = settled {
                self.settle(job.qid, vec![one]);
            }
        }
    }

    /// Asks `.forward` of each recipient of a job for an LMTP server; gives those
    /// that are to be sent there.
    pub(super) fn forward_first(&self, job: &Job) -> Vec<u32> {
        let mut stay = Vec::new();
        for rcpt in &job.rcpts {
            match self.forward(job, *rcpt) {
                Some(Attempt::Over(one)) => drop(self.settle(job.qid, vec![one])),
                Some(Attempt::Kept(inject)) => {
                    stay.push(*rcpt);
                    if let Some(kept) = self.queue().messages.get_mut(&job.qid) {
                        kept.owed_to.insert(*rcpt, inject);
                    }
                }
                Some(Attempt::Left) | None => {}
            }
        }
        stay
    }

    /// `None`: there is no such recipient any more, or nothing is known of it.
    fn deliver_one(&self, job: &Job, number: u32) -> Option<Settled> {
        let inject = match self.forward(job, number)? {
            Attempt::Over(settled) => return Some(settled),
            Attempt::Kept(inject) => inject,
            Attempt::Left => return None,
        };
        match self.attempt(job, number, false)? {
            Attempt::Left => None,
            Attempt::Over(settled) if settled.how == How::Delivered => {
                Some(Settled { inject, ..settled })
            }
            Attempt::Over(settled) => Some(settled),
            // What lookup was not asked for.
            Attempt::Kept(_) => {
                let why = "lookup answered another question";
                Some(Settled::ours(number, How::Later, 3, 0, why))
            }
        }
    }

    /// What is left of a delivery after its `.forward`, which is asked unless an
    /// earlier attempt got so far.
    fn forward(&self, job: &Job, number: u32) -> Option<Attempt> {
        let id = Id { qid: job.qid, rcpt: number };
        {
            let queue = self.queue();
            let rcpt = queue.rcpt(id)?;
            let kept = queue.messages.get(&job.qid)?;
            if let Some(done) = kept.unsent.get(&number) {
                return Some(Attempt::Over(done.clone()));
            }
            if let Some(addresses) = &rcpt.forwarded {
                return Some(Attempt::Kept(addresses.clone()));
            }
        }
        self.attempt(job, number, true)
    }

    /// Commands of a `.forward` have run: not again.  A disk that does not take
    /// that leaves it in memory.
    fn note_forwarded(&self, qid: Qid, rcpt: u32, addresses: &[String]) {
        self.note(qid, Record::Forwarded { rcpt, addresses: addresses.to_vec() });
    }

    fn note(&self, qid: Qid, record: Record) {
        if let Err(e) = self.spool.append(qid, std::slice::from_ref(&record)) {
            self.trouble("spool", qid, &e);
        }
        if let Some(kept) = self.queue().messages.get_mut(&qid) {
            kept.state.apply(&record);
        }
    }

    /// Has the delivery opened and done; with `forward`, first what the user's
    /// `.forward` says.
    fn attempt(&self, job: &Job, number: u32, forward: bool) -> Option<Attempt> {
        let id = Id { qid: job.qid, rcpt: number };
        let (envelope, ran, sender, maybe, deaths, sid) = {
            let queue = self.queue();
            let rcpt = queue.rcpt(id)?;
            let kept = queue.messages.get(&job.qid)?;
            // An attempt that failed may have got as far as the mailbox: a disk
            // that was full, a store without descriptors.
            let maybe = kept.maybe || rcpt.deaths > 0 || rcpt.tries > 0;
            let sender = kept.state.origin.sender.to_string();
            let sid = kept.state.origin.session.sid;
            (rcpt.envelope.clone(), rcpt.ran.clone(), sender, maybe, rcpt.deaths, sid)
        };
        let over = |settled| Some(Attempt::Over(settled));
        let later = |subject, detail, why: String| {
            over(Settled::ours(number, How::Later, subject, detail, why))
        };
        let loaded = match self.spool.load(job.qid) {
            Ok(loaded) => loaded,
            Err(e) => {
                self.trouble("spool", job.qid, &e);
                return later(3, 0, "the message cannot be read now".into());
            }
        };
        let (file, key) = match self.spool.open_body(job.qid) {
            Ok(open) => open,
            Err(e) => {
                self.trouble("spool", job.qid, &e);
                return later(3, 0, "the message cannot be read now".into());
            }
        };
        // A message of which stores die, whoever of its recipients it was for, is
        // put in its place and no more.
        let most = loaded.state.rcpts.iter().map(|r| r.deaths).fold(deaths, u32::max);
        let plain = u64::from(most) >= limits::PLAIN_DEATHS.default;
        let forward = forward && !plain;
        // Parent answers under this id what lookup asks of it.
        let slot = self.openings.begin();
        // A program may have ended before lookup's answer is read.
        let ended = self.programs.expect(slot.request);
        let ask = queue_lookup::Ask::Deliver {
            request: slot.request,
            sid,
            to: destination(&envelope),
            sender: sender.clone(),
            rcpt: envelope.orig.to_string(),
            forward,
        };
        let opening = match self.lookup.call(&ask, self.soon()) {
            Ok(queue_lookup::Answer::Deliver { opening: Ok(opening) }) => opening,
            Ok(queue_lookup::Answer::Deliver { opening: Err(NoOpening::Temporary { why }) }) => {
                // It may name files and tables: for the log alone.
                log::warn!("local", qid = Show(&job.qid), msg = "put off", why = why.as_str());
                return later(3, 0, "the mailbox cannot be looked up now".into());
            }
            Ok(queue_lookup::Answer::Deliver { opening: Err(NoOpening::Permanent { why }) }) => {
                // It may name formats and tables: for the log alone.
                log::info!("local", qid = Show(&job.qid), msg = "refused", why = why.as_str());
                return over(Settled::ours(number, How::Never, 1, 1, "no such mailbox"));
            }
            Ok(queue_lookup::Answer::Deliver { opening: Err(NoOpening::Discard) }) => {
                return over(Settled {
                    rcpt: number,
                    how: How::Delivered,
                    status: Enhanced::new(2, 1, 5),
                    host: None,
                    said: "/dev/null".to_owned(),
                    inject: Vec::new(),
                });
            }
            Ok(queue_lookup::Answer::Deliver { opening: Err(NoOpening::Mta) }) => {
                return Some(Attempt::Kept(Vec::new()));
            }
            Ok(queue_lookup::Answer::Route { .. }) => {
                return later(3, 0, "lookup answered another question".into());
            }
            Err(e @ CallError::PeerGone) => {
                return over(Settled::ours(number, How::Postponed, 3, 2, e.to_string()));
            }
            Err(e) => return later(3, 0, e.to_string()),
        };
        let channel = match slot.wait(self.soon()) {
            Ok(Ok(channel)) => channel,
            Ok(Err(Refusal::Busy)) => {
                return over(Settled::ours(number, How::Postponed, 3, 2, "too much at once"));
            }
            Ok(Err(Refusal::Forbidden { why } | Refusal::Failed { why })) => {
                log::warn!("local", qid = Show(&job.qid), msg = "not opened", why = why.as_str());
                return later(3, 5, "the mailbox cannot be opened now".into());
            }
            Err(e) => return later(3, 0, e.to_string()),
        };
        if opening == Opening::Program {
            let deadline = Deadline::after(self.config().limit_time(&limits::PROGRAM_TIME));
            let message = Message::open(file, key, loaded.state.edits);
            let done = message.map_err(|e| e.to_string()).and_then(|message| {
                let head = program_head(&sender, &envelope);
                feed(channel, &head, &message, 0, deadline)
            });
            let said = match done {
                Ok(said) => said,
                Err(why) => {
                    self.unfed(ended.request);
                    log::warn!("local", qid = Show(&job.qid), msg = "not fed", why = why.as_str());
                    return later(3, 0, "the program did not get the message".into());
                }
            };
            return match ended.wait(deadline) {
                Ok(ended) => over(by_status(number, ended, said)),
                Err(CallError::Timeout) => later(3, 0, "the program did not end in time".into()),
                Err(e) => later(3, 0, e.to_string()),
            };
        }
        let (junk, detail) = match opening {
            Opening::Store { junk, detail } => (junk, detail),
            _ => (false, None),
        };
        let delivery = Delivery {
            qid: job.qid.to_string(),
            secs: u64::try_from(loaded.created.secs).unwrap_or(0),
            usecs: loaded.created.micros(),
            number,
            maybe,
            sender,
            rcpt: envelope.rcpt.to_string(),
            detail,
            junk,
            spam: loaded.state.verdict.as_ref().map(|v| v.junk),
            forward,
            ran,
            plain,
            body: Body {
                key: *key.expose(),
                len: loaded.body,
                edits: changes(&loaded.state.edits),
            },
        };
        let ask = Ask::Deliver { delivery };
        Some(self.ask_store(id, channel, &ask, &file))
    }

    fn ask_store(&self, id: Id, channel: OwnedFd, ask: &Ask, body: &File) -> Attempt {
        let number = id.rcpt;
        let deadline = Deadline::after(self.config().limit_time(&limits::DELIVERY_TIME));
        let mut taken = true;
        let answer = Sender::new(channel).map_err(Broken::Io).and_then(|sender| {
            match sender.send(Kind::Request, 1, &ask.to_bytes(), Some(body.as_fd()), deadline) {
                // It may have said why before it closed.
                Err(Broken::Gone) => taken = false,
                sent => sent?,
            }
            let mut receiver = Receiver::new(MESSAGE);
            loop {
                let message = receiver.recv(sender.fd(), deadline)?;
                match message.kind {
                    Kind::Busy => return Ok(None),
                    Kind::Event => {
                        let Notice::Ran { command } = Notice::from_bytes(&message.payload)
                            .map_err(|_| Broken::Protocol("not a notice"))?;
                        self.note(id.qid, Record::Ran { rcpt: number, command });
                    }
                    Kind::Request | Kind::Reply => {
                        return Answer::from_bytes(&message.payload)
                            .map(Some)
                            .map_err(|_| Broken::Protocol("not an answer"));
                    }
                }
            }
        });
        let settled = match answer {
            Ok(Some(Answer::Kept { inject, ran })) => {
                if ran {
                    self.note_forwarded(id.qid, number, &inject);
                }
                return Attempt::Kept(inject);
            }
            Ok(Some(answer)) => by_answer(id, answer),
            Ok(None) => Settled::ours(number, How::Postponed, 3, 2, "the store is busy"),
            // Stopped or overloaded, which the message did not do.
            Err(Broken::Timeout) => Settled::ours(number, How::Later, 3, 0, "no answer in time"),
            // Whatever it died of, it never saw this message.
            Err(_) if !taken => {
                Settled::ours(number, How::Postponed, 3, 2, "the delivering process is gone")
            }
            // It was told to go, as this process is next: what it was at stays in
            // work, and the next life of queue finds it so.
            Err(_) if self.queue().resting => return Attempt::Left,
            Err(e) => {
                log::warn!("local", msg = "no answer of a store", error = Show(&e));
                Settled::ours(number, How::Died, 3, 0, "the delivering process died")
            }
        };
        Attempt::Over(settled)
    }
}

/// What came of an attempt.
enum Attempt {
    /// The recipient's fate.
    Over(Settled),
    /// `.forward` keeps the message, and these addresses get it afterwards.
    Kept(Vec<String>),
    /// The daemon ends in the midst of it.
    Left,
}

fn by_answer(id: Id, answer: Answer) -> Settled {
    let number = id.rcpt;
    let log = |msg: &str, private: String| {
        let id = format!("{}.{number}", id.qid);
        log::info!("local", qid = Show(&id), msg = msg, why = private.as_str());
    };
    match answer {
        Answer::Done { mailbox, inject } => Settled {
            rcpt: number,
            how: How::Delivered,
            status: Enhanced::new(2, 1, 5),
            host: None,
            said: harmless(mailbox.as_bytes()),
            inject,
        },
        Answer::Kept { .. } => {
            Settled::ours(number, How::Later, 3, 0, "the mailbox answered another question")
        }
        Answer::Temp { subject, detail, public, private } => {
            log("not now", private);
            Settled::ours(number, How::Later, subject, detail, public)
        }
        Answer::Perm { subject, detail, public, private } => {
            log("never", private);
            Settled::ours(number, How::Never, subject, detail, public)
        }
    }
}

/// sysexits(3).  A fault of the machine or of the command's place is ours and
/// temporary; 126 and 127 are sh(1)'s for a command that cannot be run.
fn by_status(number: u32, ended: Ended, said: String) -> Settled {
    let code = match ended {
        Ended::Code { code } => u8::try_from(code).unwrap_or(sysexits::TEMPFAIL),
        Ended::Signal { signal } => {
            let why = format!("the program died of signal {signal}");
            return Settled::ours(number, How::Later, 3, 0, why);
        }
    };
    let words = if said.is_empty() { format!("the program exited with {code}") } else { said };
    match code {
        sysexits::OK => Settled {
            rcpt: number,
            how: How::Delivered,
            status: Enhanced::new(2, 0, 0),
            host: None,
            said: String::new(),
            inject: Vec::new(),
        },
        sysexits::NOUSER => Settled::ours(number, How::Never, 1, 1, words),
        sysexits::NOHOST => Settled::ours(number, How::Never, 1, 2, words),
        sysexits::NOPERM => Settled::ours(number, How::Never, 7, 1, words),
        sysexits::DATAERR | sysexits::UNAVAILABLE | sysexits::PROTOCOL => {
            Settled::ours(number, How::Never, 3, 0, words)
        }
        // One of the shell's own, of a script without care: what mda has
        // always taken for a refusal.
        1 => Settled::ours(number, How::Never, 3, 0, words),
        _ => Settled::ours(number, How::Later, 3, 0, words),
    }
}

/// What an envelope asks of lookup.
pub fn destination(e: &Envelope) -> Destination {
    Destination {
        action: e.action.clone(),
        dest: e.rcpt.to_string(),
        user: e.user.clone(),
        item: e.item.as_ref().map(|i| AliasItem { key: i.key.clone(), digest: i.digest }),
    }
}

/// Edits as they are sent.
pub fn changes(edits: &Edits) -> Vec<Change> {
    let change = |edit: &Edit| match edit {
        Edit::Insert { offset, bytes } => Change::Insert { offset: *offset, bytes: bytes.clone() },
        Edit::Delete { offset, len } => Change::Delete { offset: *offset, len: *len },
    };
    edits.as_slice().iter().map(change).collect()
}

/// The trace fields of final delivery.  RFC 5321 4.4, RFC 9228.
fn program_head(sender: &str, envelope: &Envelope) -> Vec<u8> {
    format!("Return-Path: <{sender}>\nDelivered-To: {}\n", envelope.rcpt).into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_statuses() {
        let how = |code| by_status(1, Ended::Code { code }, String::new()).how;
        assert_eq!(how(0), How::Delivered);
        for code in [1, 65, 67, 69, 77] {
            assert_eq!(how(code), How::Never, "{code}");
        }
        for code in [75, 71, 74, 126, 127, 2, 300] {
            assert_eq!(how(code), How::Later, "{code}");
        }
        assert_eq!(by_status(1, Ended::Signal { signal: 9 }, String::new()).how, How::Later);
    }
}
