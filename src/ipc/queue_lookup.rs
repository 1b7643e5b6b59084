//! The edge from queue to lookup: where a recipient's mail is to be put now,
//! and who takes addresses that a delivery brought forth.
//!
//! An envelope names an action.  At each attempt lookup resolves it by the
//! configuration in force and has parent open what is needed; queue gets the
//! channel under its own request id and never learns more than it must.

use crate::ipc::smtp_lookup::{Destination, Verdict};

crate::wire! {
    /// queue to lookup.
    pub enum Ask {
        /// A local delivery is due: have it opened under `request`.  `forward`:
        /// the recipient's `.forward` comes first.
        Deliver {
            request: u64,
            sid: u64,
            to: Destination,
            sender: String,
            rcpt: String,
            forward: bool,
        },
        /// Who takes an address that .forward or Sieve named, or a bounce?
        /// The envelope is the daemon's own: `from local`.
        Route { sender: String, rcpt: String },
    }

    /// lookup to queue.
    pub enum Answer {
        /// To `Deliver`: what parent has been asked for.
        Deliver { opening: Result<Opening, NoOpening> },
        /// To `Route`.
        Route { verdict: Verdict },
    }

    /// What comes under the request id, and what to say to it.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Opening {
        /// The store of the account.
        Store {
            /// Spam goes to the mailbox Junk.
            junk: bool,
            /// The sub-address: the mailbox to put it in, if there is one.
            detail: Option<String>,
        },
        /// The store of the user, for what his `.forward` says; if that keeps
        /// the message, the delivery is asked for again without `forward`.
        Forward,
        /// An mbox process for the user's system mailbox.
        Mbox { user: String },
        /// A program; its exit status says how it went.
        Program,
        /// An mbox process for a file that an alias names.
        File { user: String },
    }

    /// Why nothing can be opened.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum NoOpening {
        /// Now: the envelope waits.  A missing action or user is of this kind
        /// for a while after a reload, since our own fault never bounces mail.
        Temporary { why: String },
        /// For good: the user is gone, or expansion may not end here.
        Permanent { why: String },
        /// There is none to open, and no `.forward` to ask: an LMTP server
        /// delivers, by way of mta.
        Mta,
        /// There is none to open: an alias says `/dev/null`, and that is that.
        Discard,
    }
}
