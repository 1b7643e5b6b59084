//! The edge from smtp to lookup: names of clients, passwords, recipients.
//!
//! smtp faces the network and is trusted with nothing: it learns no table, no
//! hash and no path, only yes, no, and which action takes a recipient.  A
//! question that cannot be answered now (a table, the DNS, a full pool) has an
//! answer of its own, which is always a 4xx.

use crate::ipc::wire::{Dec, Enc, Malformed, Wire};
use crate::proto::secret::Secret;
use std::net::IpAddr;

/// A password on its way: it cannot be printed, and is wiped where it ends.
impl Wire for Secret {
    fn put(&self, to: &mut Enc) {
        self.expose().to_vec().put(to);
    }
    fn get(from: &mut Dec<'_>) -> Result<Self, Malformed> {
        Vec::get(from).map(Secret::new)
    }
}

crate::wire! {
    /// What rules may ask of a session.
    #[derive(Clone, Debug, PartialEq, Eq, Default)]
    pub struct Origin {
        /// The client's address; `None` is the socket, or the daemon itself.
        pub addr: Option<IpAddr>,
        /// Its host name, if address and name confirm each other.
        pub rdns: Option<String>,
        /// What it called itself.
        pub helo: String,
        /// Who is logged in; on the socket, the peer's user name.
        pub user: Option<String>,
        /// True if that was a login with a password: `match auth`.
        pub authenticated: bool,
        /// The listener's tag.
        pub tag: Option<String>,
        /// The session is encrypted.
        pub tls: bool,
    }

    /// smtp to lookup.
    pub enum Ask {
        /// Which host is this?  Forward-confirmed reverse DNS.
        Client { addr: IpAddr },
        /// Our name on this local address, by the listener's `hostnames`.
        Hostname { table: String, local: IpAddr },
        /// Is this the password?  `table` is the listener's.
        Login { table: String, user: String, password: Secret },
        /// May this user send as this address?  `table` is the listener's `senders`.
        MaySend { table: String, user: String, sender: String },
        /// Who takes this recipient?  `sender` is empty for `<>`.
        Rcpt { origin: Origin, sender: String, rcpt: String },
        /// What does a system user call himself?  For the socket's sessions.
        UserName { uid: u32 },
    }

    /// lookup to smtp.
    pub enum Answer {
        /// To `Client`.
        Client { rdns: Rdns },
        /// To `Hostname`; `None`: the table has no such address.
        Hostname { name: Result<Option<String>, Unavailable> },
        /// To `Login`: the name as the table has it, `None` for a wrong name or
        /// password; the two are told apart nowhere, nor by time.
        Login { user: Result<Option<String>, Unavailable> },
        /// To `MaySend`.
        MaySend { yes: Result<bool, Unavailable> },
        /// To `Rcpt`.
        Rcpt { verdict: Verdict },
        /// To `UserName`.
        UserName { name: Option<String> },
    }

    /// It is not known now: a table or the DNS cannot be asked.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Unavailable {
        /// Why, for the log.
        pub why: String,
    }

    /// What the DNS says of a client's address.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Rdns {
        /// Name and address confirm each other.
        Confirmed { name: String },
        /// There is a name that does not lead back to the address.
        Unconfirmed { name: String },
        /// There is no name.
        NoName,
        /// The DNS did not answer.
        Unknown,
    }

    /// What becomes of a recipient.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Verdict {
        /// It is taken; the message goes to all of these, never none.
        Accepted { to: Vec<Destination> },
        /// No rule, or a rule with `reject`: 550 5.7.1.
        Denied { why: String },
        /// There is no such user here: 550 5.1.1.  Why is for the log alone: the
        /// sender learns neither tables nor users.
        NoSuchUser { why: String },
        /// An alias with `error:`: this code and text.
        Refused { code: u16, text: String },
        /// Aliases lead in a circle, too deep or to too many: 554 5.4.6.
        Loop { why: String },
        /// Not known now: 451.
        Unavailable { why: String },
    }

    /// Where one copy of a message goes: what an envelope in the queue holds.
    ///
    /// It names an action and never holds a command or path: those are found
    /// anew by the configuration in force at each attempt.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Destination {
        /// The action's name.
        pub action: String,
        /// The address after expansion, `local@domain`.
        pub dest: String,
        /// The user that a local action delivers to; `None` for `relay`.
        pub user: Option<String>,
        /// Set if an alias names a file or command in place of a user.
        pub item: Option<AliasItem>,
    }

    /// A file or command that stands in a table of aliases: found there again
    /// at delivery, and refused if the table has changed meanwhile.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct AliasItem {
        /// The key of the alias.
        pub key: String,
        /// SHA-256 of the item's text.
        pub digest: [u8; 32],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_survives_the_channel() {
        let to = vec![Destination {
            action: "in".into(),
            dest: "joe+x@example.org".into(),
            user: Some("joe".into()),
            item: Some(AliasItem { key: "root".into(), digest: [7; 32] }),
        }];
        let verdict = Verdict::Accepted { to };
        assert_eq!(Verdict::from_bytes(&verdict.to_bytes()), Ok(verdict));
    }
}
