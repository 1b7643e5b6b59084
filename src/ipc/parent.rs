//! The edge between parent and each of its children: channel 3 of the child.
//!
//! Parent speaks [`Down`], a child [`Up`]; both are events, since parent never
//! waits.  What a child may say depends on its kind: parent closes the channel
//! of one that says anything else, which ends it.

use std::net::SocketAddr;
use std::path::PathBuf;

/// The largest message on this edge: a configuration with its tables.
pub const MESSAGE: usize = 256 * 1024 * 1024;

crate::wire! {
    /// Who owns a mailbox, and where it is.  Made by lookup alone.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Account {
        /// The login or user name, for the log and for `%{user.username}`.
        pub name: String,
        /// The ids that its store runs under.
        pub uid: u32,
        /// Its group.
        pub gid: u32,
        /// The home directory: `.forward`, Sieve scripts.
        pub home: PathBuf,
        /// The expanded absolute path of the Maildir; with `uid` it is the
        /// account's key everywhere.  `None`: no mailbox is opened, mail of the
        /// action goes elsewhere, and only `.forward` is asked.
        pub mail_root: Option<PathBuf>,
        /// The home is this user's own, and so is what `.forward` in it says.
        pub forward: bool,
        /// A user of the system, not one of a table: only these may run programs.
        pub system: bool,
    }

    /// What a channel to a store is for.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Role {
        /// One IMAP session.
        Session,
        /// Deliveries only.
        Deliver,
    }

    /// A program that parent is to start for a delivery.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Program {
        /// The command line, given to sh(1) when `shell`, else split in words.
        pub argv: Vec<Vec<u8>>,
        /// The user's name, for the log.
        pub user: String,
        /// Its ids.
        pub uid: u32,
        /// Its group.
        pub gid: u32,
        /// The working directory.
        pub home: PathBuf,
        /// The whole environment, `NAME=value`.
        pub env: Vec<Vec<u8>>,
    }

    /// What lookup asks parent to open for somebody.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Target {
        /// The store of an account.
        Store { account: Account, role: Role },
        /// The mbox of a system user.
        Mbox { user: String, uid: u32, gid: u32, path: PathBuf },
        /// A program, its standard input, output and error the channel.
        Program { program: Program },
        /// A connection to a unix-domain socket (LMTP).
        Socket { path: PathBuf },
    }

    /// Why nothing was opened.  All are temporary but `Forbidden`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub enum Refusal {
        /// `limit store processes` is reached, or the account's deaths are
        /// being waited out.
        Busy,
        /// uid 0, one of rmail's own users, below `min-uid`, or a path outside
        /// what the configuration can produce.
        Forbidden { why: String },
        /// The system call failed.
        Failed { why: String },
    }

    /// How a program ended.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Ended {
        /// It exited with this code.
        Code { code: i32 },
        /// A signal killed it.
        Signal { signal: i32 },
    }

    /// One listening socket.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Listener {
        /// The place of its `listen` statement in the configuration.
        pub index: u32,
        /// Where it listens; the port is the real one.  `None`: a unix socket.
        pub addr: Option<SocketAddr>,
    }

    /// A file that parent read for a child: a table, certificate, key or CA.
    #[derive(Clone, PartialEq, Eq)]
    pub struct File {
        /// The name under which the configuration text refers to it: the path.
        pub path: PathBuf,
        /// Its contents.
        pub bytes: Vec<u8>,
    }

    /// A child's part of the configuration.
    #[derive(Clone, PartialEq, Eq)]
    pub struct Part {
        /// Counts reloads, from 1.
        pub generation: u64,
        /// Canonical rmail.conf text, without other processes' secrets.
        pub text: Vec<u8>,
        /// The files that go with it.
        pub files: Vec<File>,
    }

    /// A number for `rmailctl show stats`.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Stat {
        /// Its name, `smtp.session.active`.
        pub name: String,
        /// Its value now.
        pub value: u64,
    }

    /// Parent to child.
    pub enum Down {
        /// The first message: which build, which options.
        Hello {
            build: String,
            verbose: u8,
            /// Where lines of the log go: [`crate::base::log::Dest`].
            log: String,
            hostname: String,
            spool: PathBuf,
            socket: PathBuf,
            /// What the administrator has paused: `mda`, `mta`, `smtp`.
            paused: Vec<String>,
        },
        /// The configuration, at start and at each reload.
        Config { part: Part },
        /// A channel to the neighbour of this kind ([`crate::proc::table`]); with a descriptor.
        Peer { kind: u8 },
        /// All listeners of this child: those not named are closed.  The
        /// descriptors follow as `Listen`.
        Listeners { all: Vec<Listener> },
        /// One of them, with its descriptor.
        Listen { listener: Listener },
        /// What was opened for this child under its own request id, with a
        /// descriptor if it worked.
        Opened { request: u64, result: Result<(), Refusal> },
        /// The program that was opened under this id has ended.
        Exited { request: u64, ended: Ended },
        /// A new channel to this store, with its descriptor.
        Attach { account: Account, role: Role, sid: u64, peer: u8 },
        /// A job for a process that lives for one job; with its channel.
        Job { target: Target },
        /// Log more or less.
        Verbose { level: u8 },
        /// Tell your numbers.
        Stats { ask: u64 },
        /// The answer to an administrative request (control alone).
        Answer { request: u64, payload: Vec<u8> },
        /// The record of a system user (lookup alone); `None`: no such user.
        User { request: u64, user: Option<SystemUser> },
        /// The daemon ends: begin nothing more (queue alone).
        Rest,
        /// Take nothing new, finish what runs, leave.
        Stop,
    }

    /// A row of the password database.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SystemUser {
        /// The login name.
        pub name: String,
        /// The user id.
        pub uid: u32,
        /// The group id.
        pub gid: u32,
        /// The home directory.
        pub home: PathBuf,
        /// The login shell.
        pub shell: PathBuf,
    }

    /// Child to parent.
    pub enum Up {
        /// In the sandbox, threads may start, work may come.
        Ready { unenforced: Vec<String> },
        /// The configuration of this generation is in force here.
        Applied { generation: u64 },
        /// Lookup alone: open `target` for the child of kind `kind` under its `request`.
        Open { target: Target, kind: u8, request: u64, sid: u64 },
        /// Store alone: run a program for its own account (`.forward`).
        Run { program: Program, request: u64 },
        /// Queue and store: the program that was opened under this request does not
        /// get all of its input, and is to be killed.
        Unfed { request: u64 },
        /// Lookup alone, where the system's user database needs a process.
        GetUser { name: String, request: u64 },
        /// The same by user id.
        GetUserById { uid: u32, request: u64 },
        /// Numbers.
        Stats { ask: u64, all: Vec<Stat> },
        /// Control alone: a request from the administrator.
        Admin { request: u64, payload: Vec<u8> },
        /// Store alone: no session and no delivery is left of the `attached` channels that it was
        /// given so far; `leave`: nor has been for so long that it may go.
        Idle { attached: u64, leave: bool },
        /// The program on disk is not the one that parent runs: after `make
        /// install`.  The child exits; parent re-executes itself.
        OtherBuild,
        /// The channel to the neighbour of this kind broke the rules of framing
        /// and is closed: another, please.
        Broken { kind: u8 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::wire::Wire;

    #[test]
    fn an_account_survives_the_channel() {
        let account = Account {
            name: "joe@example.com".into(),
            uid: 2000,
            gid: 2000,
            home: "/var/vmail/joe".into(),
            mail_root: Some("/var/vmail/joe".into()),
            forward: false,
            system: false,
        };
        let target = Target::Store { account, role: Role::Session };
        assert_eq!(Target::from_bytes(&target.to_bytes()), Ok(target));
    }

    #[test]
    fn hostile_bytes_are_malformed_and_never_panic() {
        for first in 0..=255u8 {
            for tail in [&b""[..], b"\xff\xff\xff\xff", b"\0\0\0\0\0\0\0\0\0\0\0\0"] {
                let mut bytes = vec![first];
                bytes.extend_from_slice(tail);
                let _ = Up::from_bytes(&bytes); // only that it returns
            }
        }
    }
}
