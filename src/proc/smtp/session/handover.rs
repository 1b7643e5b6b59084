//! A message that was read: whether it may be taken, what its header gets, and
//! the moment at which queue has it.
//!
//! Runs in smtp.  *Durability*: 250 is said after queue has answered `Commit`,
//! by which time file and directory are synced; everything else is 4xx or 5xx.
//!
//! RFC 5321 4.1.1.4, 4.4, 6.3; RFC 6409 8.

use super::{Client, Lost, Session};
use crate::base::clock::WallTime;
use crate::base::log::{self, Show};
use crate::ipc::smtp_queue as queue;
use crate::proc::smtp::intake::Uncommitted;
use crate::proc::smtp::message::{Complete, Incoming, Start};
use crate::proto::addr::{Charset, Mailbox};
use crate::proto::date::DateTime;
use crate::proto::limits;
use crate::proto::smtp::command::{Mail, Ret};
use crate::proto::smtp::data::Framing;
use crate::proto::smtp::edit::{Edit, Edits};
use crate::proto::smtp::fixup::{self, FixupError, Rules};
use crate::proto::smtp::reply::{table, Enhanced, Reply};
use crate::proto::smtp::trace::{Peer, Trace, With};

impl Session<'_> {
    /// Has queue open a file for the message.
    pub(super) fn open(&self, framing: Framing) -> Result<Incoming, Reply> {
        let submission = self.is_submission();
        let start = Start {
            framing,
            bare: self.listener.bare(submission),
            max_size: self.listener.server.max_size,
            sid: self.sid,
            size: self.server.transaction().and_then(|m| m.size).unwrap_or(0),
            wait: self.limits.answer,
            time: self.limits.message,
        };
        let rules = submission.then(|| Rules {
            domain: self.domain(),
            author: self.author(),
            // Of the socket, Received tells the uid: a list or a program that
            // sends for others keeps its own Sender.
            tell_sender: self.server.user().is_some() && !self.is_held_to_senders(),
            authserv_id: self.listener.authserv_id.clone(),
            mask_src: self.listener.mask_src,
            now: local_time(WallTime::now()),
            unique: String::new(),
        });
        Incoming::begin(&self.shared.intake, &start, rules)
    }

    /// The message was read to its end: hands it over, and says what to answer.
    pub(super) fn accept(&mut self, incoming: Incoming) -> Result<Reply, Lost> {
        let qid = incoming.ticket.qid.clone();
        let mut size = None;
        let result = incoming.finish().map_err(Uncommitted::from).and_then(|complete| {
            size = Some(complete.summary.size);
            self.commit(complete)
        });
        let reply = match result {
            Ok(()) => Reply::new(250, Enhanced::new(2, 0, 0), format!("{qid} Message accepted")),
            Err(Uncommitted::Refused(reply)) => reply,
            Err(Uncommitted::Unknown) => return Err(Lost::Commit(qid)),
        };
        let from = self.server.transaction().map(|m| m.from.to_string());
        for (_, rcpt) in &self.rcpts {
            log::info!(
                "smtp",
                sid = self.sid(),
                qid = qid,
                from = from,
                to = rcpt.rcpt,
                size = size,
                tls = self.tls_text(),
                result = Show(&reply)
            );
        }
        Ok(reply)
    }

    fn commit(&mut self, complete: Complete) -> Result<(), Uncommitted> {
        let Complete { summary, fixup, end, mut ticket, secs } = complete;
        let mail = self.server.transaction().cloned().ok_or(table::LOCAL_ERROR)?;
        let submission = fixup.is_some();
        // A message that one of these recipients has had already goes in a circle.
        let had = |m: &Mailbox| summary.delivered_to.contains(&m.key());
        if !submission && self.rcpts.iter().any(|(m, _)| had(m)) {
            return Err(table::LOOP.into());
        }
        let mut edits = match fixup {
            Some(fixup) => {
                let owned = self.owned(fixup.authors())?;
                let may: &dyn Fn(&Mailbox) -> bool = &|m| owned.contains(&m.key());
                fixup
                    .finish(summary.header, self.is_held_to_senders().then_some(may))
                    .map_err(Reply::from)?
            }
            None => {
                let mut edits = Edits::new();
                fixup::separate(&mut edits, summary.header)
                    .map_err(FixupError::from)
                    .map_err(Reply::from)?;
                edits
            }
        };
        let now = local_time(WallTime::from_secs(secs));
        let received = self.received(&mail, &ticket.qid, now);
        edits.prepend(received.into_bytes()).map_err(FixupError::from).map_err(Reply::from)?;
        let message = queue::Message {
            sender: mail.from.to_string(),
            smtputf8: mail.smtputf8,
            eight_bit: summary.eight_bit,
            ret_full: mail.ret.map(|ret| ret == Ret::Full),
            envid: mail.envid.clone(),
            session: self.facts(&mail),
            rcpts: self.rcpts.iter().map(|(_, rcpt)| rcpt.clone()).collect(),
            edits: edits.as_slice().iter().map(change).collect(),
            verdict: None,
            body: end.body,
            file: end.file,
        };
        let committed = self.shared.intake.commit(&ticket.qid, message);
        if committed.is_ok() {
            ticket.done();
            self.shared.accepted();
        }
        committed
    }

    /// Those of the authors that the user may write as, where that matters.
    fn owned<'m>(&self, authors: impl Iterator<Item = &'m Mailbox>) -> Result<Vec<String>, Reply> {
        let mut owned = Vec::new();
        if !self.is_held_to_senders() {
            return Ok(owned);
        }
        for author in authors.take(limits::HEADER_AUTHORS.size()) {
            if self.may_send(&author.to_string())? {
                owned.push(author.key());
            }
        }
        Ok(owned)
    }

    fn received(&mut self, mail: &Mail, qid: &str, date: DateTime) -> String {
        let tls = self.tls_text();
        let helo = self.server.hello().map(|h| h.name.clone());
        let (from, rdns);
        match self.client {
            Client::Net { peer, .. } => {
                rdns = self.rdns(peer);
                let (helo, rdns) = (helo.as_ref(), rdns.as_deref());
                from = Peer::Host { helo, rdns, address: peer.to_canonical() };
            }
            Client::Local { uid } => from = Peer::Local { uid },
        }
        let recipient = match self.rcpts.as_slice() {
            [(mailbox, _)] => Some(mailbox),
            _ => None,
        };
        Trace {
            from: (!self.listener.mask_src).then_some(from),
            by: &self.server.config().hostname,
            with: self.with(mail),
            tls: tls.as_deref(),
            user: self.server.user().filter(|_| self.listener.received_auth),
            id: qid,
            recipient,
            date,
        }
        .field()
    }

    fn with(&self, mail: &Mail) -> With {
        With {
            lmtp: self.listener.server.lmtp,
            esmtp: self.server.hello().is_some_and(|h| h.esmtp),
            utf8: mail.smtputf8,
            tls: self.server.is_tls(),
            auth: self.server.user().is_some(),
        }
    }

    /// For queue's log and notifications.
    fn facts(&self, mail: &Mail) -> queue::Session {
        queue::Session {
            sid: self.sid,
            helo: self.helo(),
            rdns: self.rdns.clone().flatten(),
            client: match self.client {
                Client::Net { peer, .. } => Some(peer),
                Client::Local { .. } => None,
            },
            protocol: self.with(mail).name(),
            tls: self.tls_text(),
            user: self.server.user().map(str::to_owned).or_else(|| self.local_user.clone()),
            tag: self.listener.tag.clone(),
        }
    }

    /// The address that a From which is missing gets.
    fn author(&self) -> Option<Mailbox> {
        let user = self.server.user().or(self.local_user.as_deref())?;
        Mailbox::parse(user.as_bytes(), Charset::Utf8)
            .or_else(|_| Mailbox::new(user, self.domain()))
            .ok()
    }
}

/// Where the clocks on the wall are.
fn local_time(now: WallTime) -> DateTime {
    let offset = now.local().and_then(|l| i16::try_from(l.offset_secs / 60).ok());
    DateTime { unix: now.secs, offset: offset.unwrap_or(0) }
}

fn change(edit: &Edit) -> queue::Change {
    match edit {
        Edit::Insert { offset, bytes } => {
            queue::Change::Insert { offset: *offset, bytes: bytes.clone() }
        }
        Edit::Delete { offset, len } => queue::Change::Delete { offset: *offset, len: *len },
    }
}
