//! The edge from queue to a store or mbox process: one delivery at a time.
//!
//! queue gets the channel through lookup and parent, for one account; it sends
//! [`Ask`] as a request with the spool file's read-only descriptor, and waits
//! for the [`Answer`].  What the delivery brought forth (`.forward`) is in the
//! answer: queue injects it, so that it happens once.  A [`Notice`] comes before
//! it, of what an attempt that fails after all has done for good.  A channel that
//! ends without an answer means that the delivery may have happened: the next
//! attempt carries `maybe`.

use crate::base::clock::Deadline;
use crate::base::exits::{Outcome, Status};
use crate::ipc::frame::{Broken, Kind, Receiver, Sender};
use crate::ipc::wire::{Malformed, Wire};
use crate::proto::smtp::edit::{Edit, Edits};
use std::io;
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The largest message: edits of many header fields.
pub const MESSAGE: usize = 4 * 1024 * 1024;

crate::wire! {
    /// queue to store or mbox.  The spool file's descriptor comes with it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Ask {
        /// Deliver one message to one recipient.
        Deliver { delivery: Delivery },
    }

    /// One recipient of one message.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Delivery {
        /// The message's id: twelve lower-case letters and digits.
        pub qid: String,
        /// When it was accepted: seconds since 1970.
        pub secs: u64,
        /// Microseconds of that.
        pub usecs: u32,
        /// The recipient's number in the message.
        pub number: u32,
        /// An earlier attempt may have succeeded: look for the message first.
        pub maybe: bool,
        /// The reverse path without brackets; empty: the null path.
        pub sender: String,
        /// The recipient's address, for Delivered-To.
        pub rcpt: String,
        /// The sub-address: delivered to the mailbox of that name if it exists.
        pub detail: Option<String>,
        /// The action says `junk`: spam goes to the mailbox with that use.
        pub junk: bool,
        /// What the filters said, if they said anything; else X-Spam decides.
        pub spam: Option<bool>,
        /// `.forward` is asked first.
        pub forward: bool,
        /// Commands of that file which an earlier attempt has run.
        pub ran: Vec<String>,
        /// Stores died of the message: it is put into the mailbox and no more is
        /// done with it: no `.forward`, no index.
        pub plain: bool,
        /// The message.
        pub body: Body,
    }

    /// How the spool file's body is read.
    #[derive(Clone, PartialEq, Eq)]
    pub struct Body {
        /// The key of the message's chunks.
        pub key: [u8; 32],
        /// Octets of the body as received.
        pub len: u64,
        /// What is put in and left out, in order.
        pub edits: Vec<Change>,
    }

    /// One edit of the body.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Change {
        /// These bytes come before the octet `offset`.
        Insert { offset: u64, bytes: Vec<u8> },
        /// These octets are left out.
        Delete { offset: u64, len: u64 },
    }

    /// store to queue, before the answer: what is not to be done again.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Notice {
        /// A command of `.forward` has run, and others are still to run.
        Ran { command: String },
    }

    /// What became of it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Answer {
        /// Stored durably, or redirected.
        Done {
            /// Where it is, for the log; empty if it was only redirected.
            mailbox: String,
            /// Addresses that are to get it: queue writes the messages.
            inject: Vec<String>,
        },
        /// `.forward` keeps the message, which the action puts elsewhere; the
        /// addresses get it when that is done.  `ran`: commands of the file have.
        Kept { inject: Vec<String>, ran: bool },
        /// Not now: the enhanced code's subject and detail, and why.
        Temp { subject: u16, detail: u16, public: String, private: String },
        /// Never.
        Perm { subject: u16, detail: u16, public: String, private: String },
    }
}

impl std::fmt::Debug for Body {
    // The key stays out of every log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("len", &self.len).field("edits", &self.edits).finish()
    }
}

impl Body {
    /// The edits, checked.
    pub fn edits(&self) -> Result<Edits, Malformed> {
        let mut edits = Edits::new();
        for change in &self.edits {
            let edit = match change {
                Change::Insert { offset, bytes } => {
                    Edit::Insert { offset: *offset, bytes: bytes.clone() }
                }
                Change::Delete { offset, len } => Edit::Delete { offset: *offset, len: *len },
            };
            edits.push(edit).map_err(|_| Malformed)?;
        }
        Ok(edits)
    }
}

/// How long queue may take to read an answer.
const SEND: Duration = Duration::from_secs(60);

/// Serves a channel of deliveries on the caller's thread until queue closes it.
///
/// `deliver` gets each delivery with the spool file's descriptor, and the way to
/// tell queue something before the answer; a queue that is gone does not hear it.
/// A message that is none of this edge ends the channel.
pub fn serve(
    channel: OwnedFd,
    mut deliver: impl FnMut(Delivery, OwnedFd, &dyn Fn(&Notice)) -> Answer,
) -> Result<(), Broken> {
    let sender = Sender::new(channel).map_err(Broken::Io)?;
    let mut receiver = Receiver::new(MESSAGE);
    let malformed = || Broken::Io(io::Error::from(io::ErrorKind::InvalidData));
    loop {
        let message = match receiver.recv(sender.fd(), Deadline::NEVER) {
            Err(Broken::Gone) => return Ok(()),
            other => other?,
        };
        let (Kind::Request, Ok(Ask::Deliver { delivery })) =
            (message.kind, Ask::from_bytes(&message.payload))
        else {
            return Err(malformed());
        };
        let tell = |notice: &Notice| {
            let soon = Deadline::after(SEND);
            drop(sender.send(Kind::Event, message.id, &notice.to_bytes(), None, soon));
        };
        let answer = match message.fd {
            Some(file) => deliver(delivery, file, &tell),
            None if message.lost => {
                let why = "no descriptor left for the message";
                Answer::failed(&Outcome::Temp(Status::new((3, 2), "system is busy").because(why)))
            }
            None => return Err(malformed()),
        }
        .to_bytes();
        sender.send(Kind::Reply, message.id, &answer, None, Deadline::after(SEND))?;
    }
}

impl Answer {
    /// The answer that says why a delivery did not happen.
    pub fn failed(outcome: &Outcome) -> Answer {
        let parts = |s: &Status| (s.code.0, s.code.1, s.public.to_string(), s.private.clone());
        match outcome {
            Outcome::Done => Answer::Done { mailbox: String::new(), inject: Vec::new() },
            Outcome::Temp(status) => {
                let (subject, detail, public, private) = parts(status);
                Answer::Temp { subject, detail, public, private }
            }
            Outcome::Perm(status) => {
                let (subject, detail, public, private) = parts(status);
                Answer::Perm { subject, detail, public, private }
            }
        }
    }

    /// The outcome of the recipient.
    pub fn outcome(&self) -> Outcome {
        let status = |subject: &u16, detail: &u16, public: &str, private: &str| {
            Status::new((*subject, *detail), public.to_string()).because(private)
        };
        match self {
            Answer::Done { .. } | Answer::Kept { .. } => Outcome::Done,
            Answer::Temp { subject, detail, public, private } => {
                Outcome::Temp(status(subject, detail, public, private))
            }
            Answer::Perm { subject, detail, public, private } => {
                Outcome::Perm(status(subject, detail, public, private))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::wire::Wire;

    #[test]
    fn a_delivery_survives_the_channel_and_its_key_no_log() {
        let delivery = Delivery {
            qid: "abcdefghijkl".into(),
            secs: 1,
            usecs: 2,
            number: 3,
            maybe: true,
            sender: String::new(),
            rcpt: "joe@example.org".into(),
            detail: Some("x".into()),
            junk: true,
            spam: None,
            forward: true,
            ran: vec!["/bin/x".into()],
            plain: false,
            body: Body {
                key: [0xab; 32],
                len: 9,
                edits: vec![
                    Change::Insert { offset: 0, bytes: b"X: y\r\n".to_vec() },
                    Change::Delete { offset: 3, len: 4 },
                ],
            },
        };
        let ask = Ask::Deliver { delivery };
        assert_eq!(Ask::from_bytes(&ask.to_bytes()), Ok(ask.clone()));
        assert!(!format!("{ask:?}").contains("171"));
    }

    #[test]
    fn an_outcome_survives_the_answer() {
        let full = Status::new((3, 1), "mailbox full").because("write: No space left");
        for outcome in [Outcome::Done, Outcome::Temp(full.clone()), Outcome::Perm(full)] {
            assert_eq!(Answer::failed(&outcome).outcome(), outcome);
        }
    }
}
