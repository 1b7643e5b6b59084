//! The edge from imap to lookup: a password, and the store that it opens.
//!
//! After a right password lookup itself has parent open the account's store for
//! imap's request id: imap cannot name an account, so a broken imap gets
//! nobody's mailbox.

use crate::ipc::smtp_lookup::Unavailable;
use crate::proto::secret::Secret;

crate::wire! {
    /// imap to lookup.
    pub enum Ask {
        /// Is this the password?  If so, open the store under `request`.
        /// `table` is the listener's.
        Login { table: String, user: String, password: Secret, request: u64, sid: u64 },
    }

    /// lookup to imap.
    pub enum Answer {
        /// To `Login`.
        Login { outcome: Result<Login, Unavailable> },
    }

    /// What became of a login.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Login {
        /// The password is right; the channel comes under the request id.
        Welcome {
            /// The account's name, for the log.
            account: String,
        },
        /// Wrong name or password: which of them, nobody is told.
        Wrong,
        /// The password is right, but the login leads to no mailbox.
        NoMailbox {
            /// Why, for the log.
            why: String,
        },
    }
}
