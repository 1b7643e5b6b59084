//! The edge between rmailctl(8) and control, over /var/run/rmaild.sock, and
//! the requests that control hands on to parent.
//!
//! A connection begins with one byte: `A` for administrative requests (frames
//! of [`crate::ipc::frame`], each a [`Request`] answered by one or more
//! [`Reply`]), `M` for a mail session (control passes the connection to smtp,
//! which takes it as `from local`).  Administrative requests need uid 0, the
//! daemon's own uid, or the group `_rmaild`.

use crate::ipc::parent::{Listener, Stat};

/// The first byte of an administrative connection.
pub const ADMIN: u8 = b'A';
/// The first byte of a mail session.
pub const MAIL: u8 = b'M';

crate::wire! {
    /// What is waited for.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Event {
        /// No session, no delivery in flight.
        Idle,
        /// This message has left the queue, all recipients done.
        Delivered { qid: String },
        /// The queue holds nothing.
        QueueEmpty,
    }

    /// What an administrator asks.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Request {
        /// Read the configuration again.
        Reload,
        /// End the daemon.
        Stop,
        /// Each process: pid, state, sandbox.
        ShowProcs,
        /// Each listening socket with its real port.
        ShowListeners,
        /// Every process's numbers.
        ShowStats,
        /// The limits in force.
        ShowLimits,
        /// Messages in the queue, after this id, at most `max`.
        ShowQueue { after: String, max: u32 },
        /// A piece of a message as it will be sent, from this offset.
        ShowMessage { qid: String, offset: u64 },
        /// An envelope with all that is known of it.
        ShowEnvelope { id: String },
        /// Try now: a message, an envelope, or `all`.
        Schedule { what: String },
        /// Forget without a bounce.
        Remove { what: String },
        /// Keep, and do not try.
        Hold { what: String },
        /// End a hold.
        Release { what: String },
        /// Pause `mta`, `mda` or `smtp`.
        Pause { what: String },
        /// End a pause.
        Resume { what: String },
        /// Log more or less.
        Verbose { level: u8 },
        /// Read a table's file again.
        UpdateTable { name: String },
        /// Wait for an event; the deadline is in milliseconds.
        Wait { event: Event, millis: u64 },
    }

    /// A process as `show procs` prints it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ProcRow {
        /// Its kind's name.
        pub name: String,
        /// Its process id; 0: not running.
        pub pid: u32,
        /// `running`, `starting`, `restarts in N ms`.
        pub state: String,
        /// Seconds since it was started.
        pub uptime: u64,
        /// Its user.
        pub user: String,
        /// Its root directory.
        pub root: String,
        /// Its unveiled places.
        pub unveil: String,
        /// Its promises.
        pub promises: String,
        /// What the platform cannot enforce.
        pub unenforced: Vec<String>,
        /// A store's account.
        pub account: String,
    }

    /// A listening socket as `show listeners` prints it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct ListenerRow {
        /// Where; no address is a unix socket.
        pub listener: Listener,
        /// `smtp`, `smtps`, `submission`, `imap`, `imaps`, `lmtp`.
        pub protocol: String,
        /// Its tag, or empty.
        pub tag: String,
    }

    /// A limit as `show limits` prints it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct LimitRow {
        /// Its name.
        pub name: String,
        /// Its value now.
        pub value: u64,
        /// Its default.
        pub default: u64,
    }

    /// A recipient in the queue as `show queue` prints it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct QueueRow {
        /// The message's id.
        pub qid: String,
        /// The recipient's number; the envelope is `qid.rcpt`.
        pub rcpt: u32,
        /// `mta`, `mda` or `bounce`.
        pub kind: String,
        /// `pending`, `running`, `held`, `suspended`.
        pub state: String,
        /// Envelope sender; empty: the null path.
        pub sender: Vec<u8>,
        /// Envelope recipient.
        pub recipient: Vec<u8>,
        /// Octets.
        pub size: u64,
        /// When it was accepted, Unix seconds.
        pub created: i64,
        /// When it expires.
        pub expires: i64,
        /// When it was last tried; 0: never.
        pub last_try: i64,
        /// When it is tried next; 0: not planned.
        pub next_try: i64,
        /// How often it was tried.
        pub tries: u32,
        /// What the last try said.
        pub last_error: Vec<u8>,
    }

    /// What comes back.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Reply {
        /// Done; what was done, in words, may be empty.
        Ok { text: String },
        /// Not done, and why.
        Error { text: String },
        /// Several lines of errors, as `file:line: message`.
        Errors { lines: Vec<String> },
        /// Rows of `show procs`.
        Procs { rows: Vec<ProcRow> },
        /// Rows of `show listeners`.
        Listeners { rows: Vec<ListenerRow> },
        /// Rows of `show stats`.
        Stats { rows: Vec<Stat> },
        /// Rows of `show limits`.
        Limits { rows: Vec<LimitRow> },
        /// Some rows of `show queue`; `more`: ask again after the last.
        Queue { rows: Vec<QueueRow>, more: bool },
        /// Bytes of `show message` or lines of `show envelope`; `more`: they go on.
        Bytes { bytes: Vec<u8>, more: bool },
    }
}
