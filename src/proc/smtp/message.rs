//! A message on its way from the wire into the spool.
//!
//! One pass: what the DATA machine gives out is shown to the fix-ups as fields
//! and written, sealed, through the descriptor that queue passed.  A fault, or a
//! full disk, is kept until the message's end: the client is not listening
//! before.  Dropping an [`Incoming`] that was not handed over tells queue.

use super::intake::Intake;
use crate::base::clock::Deadline;
use crate::base::log;
use crate::disk::spool::body::{BodyEnd, BodyWriter};
use crate::disk::spool::head::Key;
use crate::proto::smtp::data::{BareLineEnds, Data, Fed, Framing, Summary};
use crate::proto::smtp::fixup::{Fixup, Rules};
use crate::proto::smtp::reply::{table, Reply};
use crate::sys::errno::{self, SysError};
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

/// A message that is being received.
pub struct Incoming {
    data: Data,
    fixup: Option<Fixup>,
    writer: Option<BodyWriter>,
    failed: Option<Reply>,
    out: Vec<u8>,
    /// Its id, and queue to tell if it comes to nothing.
    pub ticket: Ticket,
    /// When it is accepted, for Received.
    pub secs: i64,
    /// When the client must have sent all of it.
    pub end: Deadline,
}

/// The right to commit a message; dropping it gives the message up.
pub struct Ticket {
    /// The id.
    pub qid: String,
    intake: Arc<Intake>,
    open: bool,
}

impl Ticket {
    /// queue has the message, or said why not: it needs to hear no more.
    pub fn done(&mut self) {
        self.open = false;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if self.open {
            self.intake.abort(&self.qid);
        }
    }
}

/// A message that was read to its end and is complete in the spool.
pub struct Complete {
    /// What the machine found.
    pub summary: Summary,
    /// The fix-ups, for a submission.
    pub fixup: Option<Fixup>,
    /// Where the body ends.
    pub end: BodyEnd,
    /// Its id.
    pub ticket: Ticket,
    /// When it is accepted.
    pub secs: i64,
}

/// What the session knows at the start.
pub struct Start {
    /// DATA or BDAT.
    pub framing: Framing,
    /// What a bare LF means.
    pub bare: BareLineEnds,
    /// Octets at most.
    pub max_size: u64,
    /// The session.
    pub sid: u64,
    /// What SIZE claims.
    pub size: u64,
    /// How long queue may take.
    pub wait: Duration,
    /// How long the client may take.
    pub time: Duration,
}

impl Incoming {
    /// Has queue open a file.  `rules` is given for submissions: its `unique`
    /// becomes the message's id, and `now` its time.
    pub fn begin(
        intake: &Arc<Intake>,
        start: &Start,
        rules: Option<Rules>,
    ) -> Result<Incoming, Reply> {
        let (begun, fd) = intake.begin(start.sid, start.size, start.wait)?;
        let ticket = Ticket { qid: begun.qid.clone(), intake: Arc::clone(intake), open: true };
        let fixup = rules.map(|mut rules| {
            rules.unique.clone_from(&begun.qid);
            rules.now.unix = begun.secs;
            Fixup::new(rules)
        });
        let writer = BodyWriter::new(File::from(fd), Key::new(begun.key), begun.deflate);
        Ok(Incoming {
            data: Data::new(start.framing, start.bare, start.max_size),
            fixup,
            writer: Some(writer),
            failed: None,
            out: Vec::new(),
            ticket,
            secs: begun.secs,
            end: Deadline::after(start.time),
        })
    }

    /// Takes the next octets off the wire.
    pub fn feed(&mut self, input: &[u8]) -> Fed {
        self.out.clear();
        let fixup = &mut self.fixup;
        let fed = self.data.feed(input, &mut self.out, |field| {
            if let Some(fixup) = fixup {
                fixup.field(&field);
            }
        });
        self.write();
        fed
    }

    /// Why the message will be refused, as far as it is known.
    pub fn fault(&self) -> Option<Reply> {
        self.failed.clone().or_else(|| self.data.fault().map(Reply::from))
    }

    /// The message is over.
    pub fn finish(mut self) -> Result<Complete, Reply> {
        self.out.clear();
        let fixup = &mut self.fixup;
        let summary = self.data.finish(&mut self.out, |field| {
            if let Some(fixup) = fixup {
                fixup.field(&field);
            }
        })?;
        write(&mut self.writer, &mut self.failed, &self.out);
        if let Some(reply) = self.failed {
            return Err(reply);
        }
        let writer = self.writer.take().ok_or(table::LOCAL_ERROR)?;
        let end = writer.finish().map_err(|e| failure(&e))?;
        let Incoming { fixup, ticket, secs, .. } = self;
        Ok(Complete { summary, fixup, end, ticket, secs })
    }

    fn write(&mut self) {
        write(&mut self.writer, &mut self.failed, &self.out);
    }
}

/// Writes, unless it failed before; after a failure the file is given up.
fn write(writer: &mut Option<BodyWriter>, failed: &mut Option<Reply>, bytes: &[u8]) {
    if let Some(open) = writer {
        if let Err(e) = open.write(bytes) {
            *failed = Some(failure(&e));
            *writer = None;
        }
    }
}

/// 452 for a full disk, 451 for everything else of ours.
fn failure(e: &SysError) -> Reply {
    log::warn!("smtp", msg = "body", error = e);
    match e.errno {
        errno::ENOSPC | errno::EDQUOT => table::NO_SPACE,
        _ => table::LOCAL_ERROR,
    }
}
