//! mbox: one delivery into a system mailbox.
//!
//! *Runs as* root, with nothing of the file system but the directory of
//! mailboxes: it alone can make a file there and give it to its user.  Parent
//! starts one for each delivery; its channel is queue's.  The rules of the file
//! are in [`crate::disk::mbox`].

use crate::base::clock::WallTime;
use crate::base::exits::{Outcome, Status};
use crate::base::listen::STACK;
use crate::base::{lock, log};
use crate::disk::dotlock::Owner;
use crate::disk::maildir::Error;
use crate::disk::mbox::{Mbox, Whose};
use crate::disk::spool::head::Key;
use crate::disk::spool::message::Message;
use crate::ipc::call::Channel;
use crate::ipc::parent::{Part, Stat, Target};
use crate::ipc::queue_store::{self, Answer, Delivery};
use crate::proc::start::{Events, Greeted, Job, StartError};
use crate::proc::table::Kind;
use crate::proto::date::DateTime;
use crate::proto::limits;
use crate::proto::smtp::handover::{handover, Loop};
use crate::sys::spawn::exit_now;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What the delivery and the stop know of each other.
#[derive(Clone, Debug, Default)]
struct Shared(Arc<State>);

#[derive(Debug, Default)]
struct State {
    /// A delivery is in work.
    busy: Mutex<bool>,
    /// It is to be given up: cut off, and answered for.
    stopping: AtomicBool,
}

impl Events for Shared {
    fn config(&self, _: Part) -> Result<(), String> {
        Ok(())
    }
    fn peer(&self, _: Kind, _: Channel) {}
    fn stats(&self) -> Vec<Stat> {
        Vec::new()
    }
    fn stop(&self) {
        self.0.stopping.store(true, Ordering::SeqCst);
        if !*lock::lock(&self.0.busy) {
            exit_now(0);
        }
    }
}

/// Whose mailbox this process writes, and as whom it locks.
struct Mailbox {
    path: PathBuf,
    whose: Whose,
    owner: Owner,
}

/// The process's main function.
pub fn run(greeted: Greeted) -> Result<ExitCode, StartError> {
    let mut child = greeted.confine()?;
    let Some(Job::Target(Target::Mbox { uid, gid, path, .. }, channel)) = child.job.take() else {
        return Err(StartError::Other("no mailbox to deliver to".into()));
    };
    let owner = Owner { pid: std::process::id(), host: child.hostname.clone(), dead: Vec::new() };
    let mailbox = Mailbox { path, whose: Whose { uid, gid }, owner };
    let shared = Shared::default();
    let state = shared.0.clone();
    let worker = move || {
        let served = queue_store::serve(channel, |delivery, file, _| {
            *lock::lock(&state.busy) = true;
            mailbox.answer(&delivery, file, &state.stopping)
        });
        if let Err(e) = served {
            log::warn!("mbox", msg = "channel of queue", error = log::Show(&e));
        }
        exit_now(0);
    };
    std::thread::Builder::new()
        .name("deliver".into())
        .stack_size(STACK)
        .spawn(worker)
        .map_err(|e| StartError::Other(format!("thread: {e}")))?;
    Ok(child.serve(&shared))
}

impl Mailbox {
    fn answer(&self, delivery: &Delivery, file: OwnedFd, stopping: &AtomicBool) -> Answer {
        let outcome = self.deliver(delivery, file, stopping).err().unwrap_or(Outcome::Done);
        log::info!(
            "mbox",
            qid = delivery.qid.as_str(),
            rcpt = delivery.number,
            to = log::Angle(delivery.rcpt.as_bytes()),
            file = self.path.as_path(),
            result = outcome.code().as_str(),
            error = outcome.status().map_or("", |s| s.private.as_str())
        );
        match outcome {
            Outcome::Done => {
                Answer::Done { mailbox: self.path.display().to_string(), inject: Vec::new() }
            }
            failed => Answer::failed(&failed),
        }
    }

    fn deliver(
        &self,
        delivery: &Delivery,
        file: OwnedFd,
        stopping: &AtomicBool,
    ) -> Result<(), Outcome> {
        let local = |why: &dyn std::fmt::Display| Outcome::temp((3, 0), "local error", why);
        let edits = delivery.body.edits().map_err(|e| local(&e))?;
        let key = Key::new(delivery.body.key);
        let message = Message::of_body(File::from(file), key, delivery.body.len, edits)
            .map_err(|e| local(&e))?;
        let header = message.header(limits::QUEUED_HEADER).map_err(|e| local(&e))?;
        let given = handover(&header, &delivery.sender, &delivery.rcpt)
            .map_err(|Loop| Outcome::Perm(Status::new((4, 6), "message goes in a circle")))?;
        self.append(&delivery.sender, &given.header, &message, header.len(), stopping)
            .map_err(|e| Outcome::from(&e))
    }

    /// Appends the message, `header` in place of its first `skip` octets.
    fn append(
        &self,
        sender: &str,
        header: &[u8],
        message: &Message,
        skip: usize,
        stopping: &AtomicBool,
    ) -> Result<(), Error> {
        let mut mbox = Mbox::open(&self.path, self.whose, &self.owner)?;
        mbox.begin(sender, &asctime(WallTime::now()))?;
        mbox.write(header)?;
        let mut reader = message.reader();
        let mut left = skip;
        while let Some(piece) = reader.next_piece()? {
            if stopping.load(Ordering::SeqCst) {
                return Err(Error::Cannot("the server is being stopped"));
            }
            let from = left.min(piece.len());
            left = left.saturating_sub(from);
            mbox.write(piece.get(from..).unwrap_or_default())?;
        }
        mbox.finish()
    }
}

/// The time of a `From ` line, in UTC: `Mon Jan  1 00:00:00 2024`.
fn asctime(now: WallTime) -> String {
    // `Mon, 1 Jan 2024 00:00:00 +0000`, put in the old order.
    let text = DateTime::utc(now.secs).rfc5322();
    let words: Vec<&str> = text.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    match words.as_slice() {
        [week, day, month, year, time, ..] => format!("{week} {month} {day:>2} {time} {year}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn from_lines_have_the_old_order_of_a_date() {
        assert_eq!(asctime(WallTime::from_secs(0)), "Thu Jan  1 00:00:00 1970");
        assert_eq!(asctime(WallTime::from_secs(1_700_000_000)), "Tue Nov 14 22:13:20 2023");
    }
}
