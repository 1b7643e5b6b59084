//! The edge from smtp to queue: how responsibility for a message passes.
//!
//! At the start of DATA smtp asks [`Ask::Begin`] and gets the message's id, its
//! body key and a descriptor (it comes with the answer) to write the body
//! through, with [`crate::disk::spool::body::BodyWriter`].  After the verdict it
//! asks [`Ask::Commit`]; the answer is the moment from which the message is on
//! disk, and only then may 250 be said.
//!
//! If the channel breaks while a commit is open, nobody knows how it ended: the
//! first message on the fresh channel is [`Ask::Resume`], and queue says which
//! of them are committed.  It starts no delivery of what it found on disk
//! before (or for five seconds), so 250 and 451 are both true.

use crate::ipc::smtp_lookup::Destination;

pub use crate::ipc::queue_store::Change;

crate::wire! {
    /// smtp to queue.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Ask {
        /// A message begins; `size` as SIZE claims, 0 if it does not.
        Begin { sid: u64, size: u64 },
        /// The body is written: take responsibility.
        Commit { qid: String, message: Box<Message> },
        /// It will not come to that.  Needs no answer but gets one.
        Abort { qid: String },
        /// Always the first request on a channel: the ids whose commit was
        /// asked for and not answered.
        Resume { open: Vec<String> },
    }

    /// queue to smtp.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Answer {
        /// To `Begin`; a descriptor comes with it if it worked.
        Begin { begun: Result<Begun, Refused> },
        /// To `Commit`.
        Commit { committed: Result<(), Refused> },
        /// To `Abort`.
        Abort,
        /// To `Resume`: those of them that are committed.
        Resume { committed: Vec<String> },
    }

    /// A message that can be written.
    #[derive(Clone, PartialEq, Eq)]
    pub struct Begun {
        /// Its id: twelve digits and lower-case letters.
        pub qid: String,
        /// The key of its chunks.
        pub key: [u8; 32],
        /// Chunks are to be deflated.
        pub deflate: bool,
        /// The time of acceptance, for Received.
        pub secs: i64,
    }

    /// Why not.  Each is a 4xx.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Refused {
        /// Disk or quota is full: 452 4.3.1.
        NoSpace,
        /// Too much at once (descriptors, memory): 452 4.3.2.
        Exhausted,
        /// queue was restarted since `Begin`, or the id is not an open one: 451.
        Unknown,
        /// Anything else; queue has logged it: 451 4.3.0.
        Failed,
    }

    /// A message that is ready to be accepted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Message {
        /// The reverse path without brackets; empty: the null path.
        pub sender: String,
        /// MAIL had SMTPUTF8.
        pub smtputf8: bool,
        /// The body may hold bytes of 0x80 and above.
        pub eight_bit: bool,
        /// RET: true is FULL.
        pub ret_full: Option<bool>,
        /// ENVID, decoded.
        pub envid: Option<String>,
        /// Facts of the session.
        pub session: Session,
        /// Recipients, never none.
        pub rcpts: Vec<Rcpt>,
        /// The changes to the body, in order: trace, fix-ups, verdict.
        pub edits: Vec<Change>,
        /// What the filters found.
        pub verdict: Option<Verdict>,
        /// Octets of the body, as [`crate::disk::spool::body::BodyEnd`] says.
        pub body: u64,
        /// Where the file ended then.
        pub file: u64,
    }

    /// Facts of a session.
    #[derive(Clone, Debug, PartialEq, Eq, Default)]
    pub struct Session {
        /// Its id.
        pub sid: u64,
        /// What the client called itself.
        pub helo: String,
        /// The name of its address.
        pub rdns: Option<String>,
        /// Its address; `None`: the socket.
        pub client: Option<std::net::IpAddr>,
        /// The protocol, as in Received: `ESMTPSA`.
        pub protocol: String,
        /// TLS version and cipher.
        pub tls: Option<String>,
        /// Who logged in.
        pub user: Option<String>,
        /// The listener's tag.
        pub tag: Option<String>,
    }

    /// A recipient that was accepted.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Rcpt {
        /// The address as the client named it.
        pub rcpt: String,
        /// Where it goes, never nowhere.
        pub to: Vec<Destination>,
        /// NOTIFY; `None`: not given.
        pub notify: Option<Notify>,
        /// ORCPT, type and address.
        pub orcpt: Option<(String, String)>,
    }

    /// NOTIFY of RFC 3461; all false is NEVER.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Notify {
        /// On delivery.
        pub success: bool,
        /// When it failed for good.
        pub failure: bool,
        /// When it takes long.
        pub delay: bool,
    }

    /// What the filters found.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Verdict {
        /// It is spam.
        pub junk: bool,
        /// How likely, in millionths.
        pub p: u32,
        /// Why, in words.
        pub reasons: Vec<String>,
    }
}

impl std::fmt::Debug for Begun {
    // The key stays out of every log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Begun").field("qid", &self.qid).finish_non_exhaustive()
    }
}
