//! What each process is and may do: one row per kind.
//!
//! Everything that starts, sandboxes, documents (`rmaild -nvv`, `rmailctl show
//! procs`, rmail-internals(7)) or tests a process reads this table.
//!
//! Blocking calls form an order, left to right: a process may wait only for
//! those to its right.  `regress/layers` checks that the `calls` column has no
//! cycle.  `tells` are the edges with events only; the channel is the same.

use crate::sys::sandbox::Promise::{self, *};

/// A kind of process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Kind {
    /// Configuration, ports, children.
    Parent,
    /// Private keys.
    Keyd,
    /// Rules, tables, accounts, DNS.
    Lookup,
    /// Incoming SMTP and LMTP.
    Smtp,
    /// Spool, schedule, bounces.
    Queue,
    /// Outgoing SMTP and LMTP.
    Mta,
    /// TLS and login for IMAP.
    Imap,
    /// One account's mailboxes.
    Store,
    /// One delivery into a system mailbox.
    Mbox,
    /// One foreign program.
    Exec,
    /// The control socket.
    Control,
}

/// Who a process runs as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunAs {
    /// It keeps root.
    Root,
    /// One of rmail's own users.
    User(&'static str),
    /// The account or user of its job.
    Account,
}

/// What a process sees as `/`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Root {
    /// The real one, under unveil.
    Real,
    /// /var/empty.
    Empty,
    /// The queue directory.
    Spool,
    /// As its job says.
    Job,
}

/// A path, or what the configuration puts in its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// This path.
    Path(&'static str),
    /// The directory of the control socket.
    SocketDir,
    /// The queue directory, seen from its own root.
    Spool,
    /// The account's mail root.
    MailRoot,
    /// The account's `.forward`.
    Forward,
    /// The directory of the user's mbox.
    MailSpool,
}

/// A row of unveil(2): where, and `r` or `rwc`; parent has its own letters.
pub type Unveiled = (Place, &'static str);

/// A row of the table.
pub struct Process {
    /// Which.
    pub kind: Kind,
    /// Its name in the log, in `rmaild -x` and in the process title.
    pub name: &'static str,
    /// Its user.
    pub user: RunAs,
    /// Its root directory.
    pub root: Root,
    /// What it sees of the file system.
    pub unveil: &'static [Unveiled],
    /// What it may do: the words of pledge(2).
    pub promises: &'static [Promise],
    /// Whom it may ask and wait for.
    pub calls: &'static [Kind],
    /// Whom it tells without waiting.
    pub tells: &'static [Kind],
    /// True if one is always running; else one per account or job.
    pub always: bool,
    /// What it owns, in a line.
    pub owns: &'static str,
}

/// The user of the processes that meet the network.
pub const USER: &str = "_rmaild";
/// The user of keyd.
pub const USER_KEYD: &str = "_rmailk";
/// The user of queue.
pub const USER_QUEUE: &str = "_rmailq";
/// The user of files and commands that aliases name.  It has no process of
/// rmail's: a command may signal and trace whatever has its uid.
pub const USER_ALIAS: &str = "_rmaila";
/// All of rmail's own users: they get no mail and have no login.
pub const USERS: [&str; 4] = [USER, USER_KEYD, USER_QUEUE, USER_ALIAS];

/// What is said of one of them that the system does not know.
pub fn no_user(name: &str) -> String {
    format!("user {name} does not exist: make install makes it, or sh etc/install.sh users")
}

/// The table.
pub const PROCESSES: &[Process] = &[
    Process {
        kind: Kind::Parent,
        name: "parent",
        user: RunAs::Root,
        root: Root::Real,
        // Any program is executed, any file of the configuration read, and any
        // LMTP server's socket connected to, which needs w (unveil(2)).
        unveil: &[(Place::Path("/"), "rwx"), (Place::SocketDir, "rwc"), (Place::Spool, "rwc")],
        promises: &[
            Stdio, Rpath, Wpath, Cpath, Fattr, Chown, Flock, Id, Proc, Exec, Sendfd, Recvfd, Unix,
            Inet, Dns, Route,
        ],
        calls: &[],
        tells: &[],
        always: true,
        owns: "configuration, ports, starting and restarting children, handing out channels",
    },
    Process {
        kind: Kind::Keyd,
        name: "keyd",
        user: RunAs::User(USER_KEYD),
        root: Root::Empty,
        unveil: &[],
        promises: &[Stdio, Recvfd],
        calls: &[],
        tells: &[],
        always: true,
        owns: "private keys; signs digests and gives no key out",
    },
    Process {
        kind: Kind::Lookup,
        name: "lookup",
        user: RunAs::User(USER),
        root: Root::Real,
        unveil: &[
            (Place::Path("/etc/resolv.conf"), "r"),
            (Place::Path("/etc/hosts"), "r"),
            (Place::Path("/etc/pwd.db"), "r"),
            (Place::Path("/etc/group"), "r"),
        ],
        promises: &[Stdio, Rpath, Inet, Recvfd],
        calls: &[Kind::Keyd],
        tells: &[],
        always: true,
        owns: "rules, tables, expansion, password checks, accounts, DNS",
    },
    Process {
        kind: Kind::Queue,
        name: "queue",
        user: RunAs::User(USER_QUEUE),
        root: Root::Spool,
        unveil: &[(Place::Spool, "rwc")],
        promises: &[Stdio, Rpath, Wpath, Cpath, Flock, Sendfd, Recvfd],
        calls: &[Kind::Lookup],
        tells: &[Kind::Mta],
        always: true,
        owns: "spool files, schedule, bounces",
    },
    Process {
        kind: Kind::Smtp,
        name: "smtp",
        user: RunAs::User(USER),
        root: Root::Empty,
        unveil: &[],
        promises: &[Stdio, Inet, Sendfd, Recvfd],
        calls: &[Kind::Queue, Kind::Lookup, Kind::Keyd],
        tells: &[],
        always: true,
        owns: "SMTP, submission and LMTP servers, a thread per connection",
    },
    Process {
        kind: Kind::Mta,
        name: "mta",
        user: RunAs::User(USER),
        root: Root::Empty,
        unveil: &[],
        promises: &[Stdio, Inet, Recvfd],
        calls: &[Kind::Queue, Kind::Lookup, Kind::Keyd],
        tells: &[],
        always: true,
        owns: "outgoing SMTP and LMTP, TLS policy",
    },
    Process {
        kind: Kind::Imap,
        name: "imap",
        user: RunAs::User(USER),
        root: Root::Empty,
        unveil: &[],
        promises: &[Stdio, Inet, Recvfd],
        calls: &[Kind::Lookup, Kind::Keyd],
        tells: &[],
        always: true,
        owns: "TLS and login for IMAP; afterwards relays plaintext to store",
    },
    Process {
        kind: Kind::Control,
        name: "control",
        user: RunAs::User(USER),
        root: Root::Empty,
        unveil: &[],
        promises: &[Stdio, Unix, Sendfd, Recvfd],
        calls: &[Kind::Queue],
        tells: &[Kind::Smtp],
        always: true,
        owns: "the control socket, statistics",
    },
    Process {
        kind: Kind::Store,
        name: "store",
        user: RunAs::Account,
        root: Root::Real,
        unveil: &[(Place::MailRoot, "rwc"), (Place::Forward, "r")],
        promises: &[Stdio, Rpath, Wpath, Cpath, Fattr, Flock, Recvfd],
        calls: &[],
        tells: &[],
        always: false,
        owns: "one account: delivery, IMAP sessions, index, notification",
    },
    Process {
        kind: Kind::Mbox,
        name: "mbox",
        user: RunAs::Root,
        root: Root::Real,
        unveil: &[(Place::MailSpool, "rwc")],
        promises: &[Stdio, Rpath, Wpath, Cpath, Fattr, Chown, Flock, Recvfd],
        calls: &[],
        tells: &[],
        always: false,
        owns: "one delivery into a system mailbox",
    },
    Process {
        kind: Kind::Exec,
        name: "exec",
        user: RunAs::Account,
        root: Root::Job,
        unveil: &[],
        promises: &[],
        calls: &[],
        tells: &[],
        always: false,
        owns: "one foreign program: ids, limits and descriptors set, then exec",
    },
];

/// The row of a kind.
pub fn process(kind: Kind) -> &'static Process {
    // Every kind has a row: the test below counts them.
    PROCESSES.iter().find(|p| p.kind == kind).unwrap_or(&PROCESSES[0])
}

/// The row with this name.
pub fn named(name: &str) -> Option<&'static Process> {
    PROCESSES.iter().find(|p| p.name == name)
}

/// The kind with this number, as it stands in messages.
pub fn kind(number: u8) -> Option<Kind> {
    PROCESSES.iter().map(|p| p.kind).find(|k| *k as u8 == number)
}

/// Every pair of neighbours that are always running, each once, caller first.
pub fn edges() -> Vec<(Kind, Kind)> {
    let mut all: Vec<(Kind, Kind)> = Vec::new();
    for p in PROCESSES {
        for to in p.calls.iter().chain(p.tells) {
            let (from, to) = (p.kind, *to);
            if !all.contains(&(from, to)) && !all.contains(&(to, from)) {
                all.push((from, to));
            }
        }
    }
    all
}

/// True if there is a channel between the two.
pub fn are_neighbours(a: Kind, b: Kind) -> bool {
    edges().iter().any(|edge| *edge == (a, b) || *edge == (b, a))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_its_row() {
        assert_eq!(PROCESSES.len(), 11);
        for p in PROCESSES {
            assert_eq!(process(p.kind).name, p.name);
            assert_eq!(named(p.name).map(|n| n.kind), Some(p.kind));
            assert_eq!(kind(p.kind as u8), Some(p.kind));
        }
    }

    #[test]
    fn every_user_of_a_process_is_one_of_rmails_own_and_none_runs_commands() {
        for p in PROCESSES {
            if let RunAs::User(name) = p.user {
                assert!(USERS.contains(&name) && name != USER_ALIAS, "{}: {name}", p.name);
            }
        }
    }

    #[test]
    fn nobody_can_wait_in_a_circle() {
        // Whoever calls stands further from the leaves than whom it calls.
        fn depth(k: Kind, left: u32) -> u32 {
            assert!(left > 0, "a cycle through {k:?}");
            process(k).calls.iter().map(|c| depth(*c, left - 1) + 1).max().unwrap_or(0)
        }
        for p in PROCESSES {
            depth(p.kind, 20);
        }
    }

    /// The letters in force for a path that is below none of the other places.
    fn letters(kind: Kind, path: &str) -> &'static str {
        let covers = |(place, letters): &Unveiled| match place {
            Place::Path(p) if std::path::Path::new(path).starts_with(p) => {
                Some((p.len(), *letters))
            }
            _ => None,
        };
        let longest = process(kind).unveil.iter().filter_map(covers).max();
        longest.map_or("", |(_, letters)| letters)
    }

    #[test]
    fn parent_reaches_sockets_and_programs_anywhere_and_makes_nothing() {
        for path in ["/var/dovecot/lmtp", "/run/lmtp.sock", "/usr/local/sbin/rmaild"] {
            let may = letters(Kind::Parent, path);
            // unveil(2): connect(2) needs w, execve(2) x.
            assert!(may.contains('w') && may.contains('x') && may.contains('r'), "{path}: {may}");
            assert!(!may.contains('c'), "{path}: {may}");
        }
        assert_eq!(letters(Kind::Lookup, "/run/lmtp.sock"), "");
    }

    #[test]
    fn only_parent_may_fork_and_only_the_network_may_speak() {
        for p in PROCESSES.iter().filter(|p| p.kind != Kind::Parent) {
            for forbidden in [Proc, Exec, Id, Dns, Route] {
                assert!(!p.promises.contains(&forbidden), "{}: {forbidden:?}", p.name);
            }
            if p.promises.contains(&Inet) {
                assert!(!p.promises.contains(&Wpath), "{} writes and has network", p.name);
            }
        }
    }
}
