//! What the machine has room for: how many connections and stores there are
//! when the configuration does not say, and what is missing when it does.
//!
//! The defaults are for a machine with room; kern.maxthread of OpenBSD is 2620
//! and kern.maxproc 1310 for everything that runs there, and a login class may
//! give few descriptors.  More than that would be refused one by one, by
//! whatever fails first; a cap refuses with words.  What the administrator wrote
//! stands, and the log says at the start what it would need.

use crate::base::log;
use crate::conf::ast::{Config, LimitValue, MdaLimit, Pos, Statement, Stmt};
use crate::proto::limits::{self, Limit};
use crate::sys::limits::{most, raised_by, Bounded, A_USERS_THREADS_COUNT};
use crate::sys::user;

/// Descriptors that a process has for itself.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors of a connection: the client's, the spool file or store's
/// channel, and one that is on its way.
const DESCRIPTORS: u64 = 3;
/// Open files that a store has beside its sessions: its channels' ends, its
/// lock, the index and lists of a mailbox or two.
const STORE_FILES: u64 = 10;
/// Threads of one SMTP and one IMAP connection together; that of IMAP has one
/// in imap and one in the store.
const THREADS: u64 = 3;
/// Threads of a store beside its sessions.
const STORE_THREADS: u64 = 2;
/// The processes that are always there.
const ALWAYS: u64 = 8;
/// Their threads beside those of connections: pools, schedules, readers of channels.
const OWN_THREADS: u64 = 128;
/// However small the machine is.
const LEAST: u64 = 16;

/// The services whose connections are bounded.
const BOUNDED: [&Limit; 2] = [&limits::SMTP_CONNECTIONS, &limits::IMAP_CONNECTIONS];

/// What the system says of itself; `None`: nothing, or that there is no bound.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Descriptors of a process.
    pub descriptors: u64,
    /// Open files of the whole machine.
    pub files: Option<u64>,
    /// Processes of the whole machine.
    pub processes: Option<u64>,
    /// Threads of the whole machine.
    pub threads: Option<u64>,
    /// Processes of one user, or threads where those count.
    pub of_user: Option<u64>,
    /// The daemon changes users; else all is one user's.
    pub root: bool,
}

/// Something of which the configuration needs more than there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shortage {
    /// What.
    pub of: Bounded,
    /// How much of it all limits together come to.
    pub need: u64,
    /// How much there is.
    pub have: u64,
}

impl Bounds {
    /// Asks the system; before pledge.
    pub fn of_machine() -> Bounds {
        Bounds {
            descriptors: most(Bounded::Descriptors).unwrap_or(u64::MAX),
            files: most(Bounded::Files),
            processes: most(Bounded::Processes),
            threads: most(Bounded::Threads),
            of_user: most(Bounded::OfUser),
            root: user::is_root(),
        }
    }

    /// The most connections of one service.
    pub fn connections(&self) -> u64 {
        let by_descriptors = self.descriptors.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS;
        // A third of the threads is for all else.
        let by_threads = self.threads.map_or(u64::MAX, |t| t / 3 * 2 / THREADS);
        by_descriptors.min(by_threads).max(LEAST)
    }

    /// The most stores: each is a process, and parent has a channel to it.
    pub fn stores(&self) -> u64 {
        let by_descriptors = self.descriptors.saturating_sub(OWN_DESCRIPTORS);
        // A third of the processes is for all else, and so are programs.
        let by_processes = self.processes.map_or(u64::MAX, |p| p / 3 * 2);
        let by_files = self.files.map_or(u64::MAX, |f| f / 3 / STORE_FILES);
        by_descriptors.min(by_processes.saturating_sub(ALWAYS)).min(by_files).max(LEAST)
    }

    /// Puts limits where the configuration has none and the default is too much.
    pub fn apply(&self, config: &mut Config) {
        let mut bound = |limit: &'static Limit, most: u64| {
            let set =
                config.stmts().any(|s| matches!(s, Stmt::Limit(l) if l.limit.name == limit.name));
            if !set && limit.default > most {
                let at = Pos { file: "this machine".into(), line: 0 };
                let stmt = Stmt::Limit(LimitValue { limit, value: most });
                config.statements.push(Statement { at, stmt });
            }
        };
        for limit in BOUNDED {
            bound(limit, self.connections());
        }
        bound(&limits::STORE_PROCESSES, self.stores());
    }

    /// What there is too little of if everything that the limits allow were
    /// there at once.
    pub fn shortages(&self, config: &Config) -> Vec<Shortage> {
        let smtp = config.limit(&limits::SMTP_CONNECTIONS);
        let imap = config.limit(&limits::IMAP_CONNECTIONS);
        let jobs = config.limit(&limits::MTA_JOBS);
        let stores = config.limit(&limits::STORE_PROCESSES);
        let deliveries = u64::from(config.mda_limit(MdaLimit::MaxSession));
        let sum = |parts: &[u64]| parts.iter().fold(0, |sum: u64, n| sum.saturating_add(*n));
        let times = |n: u64, of: u64| n.saturating_mul(of);
        // Each delivery may have a program.
        let processes = sum(&[ALWAYS, stores, times(2, deliveries)]);
        let connections = sum(&[smtp, imap, jobs]);
        let sessions = sum(&[imap, deliveries]);
        let threads = sum(&[OWN_THREADS, connections, sessions, times(STORE_THREADS, stores)]);
        let per_process = sum(&[OWN_DESCRIPTORS, times(DESCRIPTORS, smtp.max(imap))]);
        let of_parent = sum(&[OWN_DESCRIPTORS, stores, times(2, deliveries)]);
        let own_files = times(ALWAYS, OWN_DESCRIPTORS);
        let files = sum(&[own_files, times(DESCRIPTORS, connections), times(STORE_FILES, stores)]);
        let of_user = match (A_USERS_THREADS_COUNT, self.root) {
            // The network's processes share a user; the stores have their own.
            (true, true) => sum(&[OWN_THREADS, connections]),
            (true, false) => threads,
            (false, true) => 0,
            (false, false) => processes,
        };
        [
            (Bounded::Descriptors, per_process.max(of_parent), Some(self.descriptors)),
            (Bounded::Files, files, self.files),
            (Bounded::Processes, processes, self.processes),
            (Bounded::Threads, threads, self.threads),
            (Bounded::OfUser, of_user, self.of_user),
        ]
        .into_iter()
        .filter_map(|(of, need, have)| Some(Shortage { of, need, have: have? }))
        .filter(|s| s.need > s.have)
        .collect()
    }

    /// Says in the log what there is too little of, and the way out.
    pub fn warn(&self, config: &Config) {
        for shortage in self.shortages(config) {
            let way =
                format!("lower {}, or raise it: {}", shortage.limits(), raised_by(shortage.of));
            log::warn!(
                "limit",
                of = shortage.name(),
                need = shortage.need,
                have = shortage.have,
                msg = way.as_str()
            );
        }
    }
}

impl Shortage {
    fn name(&self) -> &'static str {
        match self.of {
            Bounded::Descriptors => "descriptors of a process",
            Bounded::Files => "open files of the machine",
            Bounded::Processes => "processes of the machine",
            Bounded::Threads => "threads of the machine",
            Bounded::OfUser if A_USERS_THREADS_COUNT => "threads of a user",
            Bounded::OfUser => "processes of a user",
        }
    }

    /// The limits of rmail.conf(5) that it comes from.
    fn limits(&self) -> &'static str {
        match self.of {
            Bounded::Processes => "store-processes",
            Bounded::OfUser if !A_USERS_THREADS_COUNT => "store-processes",
            _ => "smtp-connections, imap-connections or store-processes",
        }
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let or_none = |n: Option<u64>| n.map_or("any number of".to_string(), |n| n.to_string());
        let (processes, files) = (or_none(self.processes), or_none(self.files));
        let stores = self.stores();
        writeln!(
            f,
            "this machine: {processes} processes, {files} open files in all: room for {stores} stores"
        )?;
        write!(f, "this machine: {} descriptors a process, ", self.descriptors)?;
        match self.threads {
            Some(n) => write!(f, "{n} threads in all: ")?,
            None => write!(f, "threads without number: ")?,
        }
        write!(f, "room for {} connections of smtp and imap each", self.connections())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    /// A machine that bounds nothing but what is said.
    const LARGE: Bounds = Bounds {
        descriptors: 65_536,
        files: None,
        processes: None,
        threads: None,
        of_user: None,
        root: true,
    };

    /// OpenBSD 7.8 as it is installed; the class daemon.
    const OPENBSD: Bounds = Bounds {
        descriptors: 1024,
        files: Some(7030),
        processes: Some(1310),
        threads: Some(2620),
        of_user: None,
        root: true,
    };

    fn config(limits: &str) -> Config {
        let text = format!("{limits}\naction x mbox\nmatch action x\n");
        conf::parse("t", text.as_bytes(), &[], &mut conf::NoFiles).unwrap()
    }

    #[test]
    fn connections_by_descriptors_and_threads() {
        for (descriptors, threads, connections) in [
            (65_536, None, 21_824),
            (65_536, Some(2620), 582),
            (1024, Some(2620), 320),
            (1024, None, 320),
            (64, Some(10), 16),
        ] {
            let bounds = Bounds { descriptors, threads, ..LARGE };
            assert_eq!(bounds.connections(), connections, "{bounds}");
        }
    }

    #[test]
    fn stores_by_descriptors_processes_and_files() {
        for (descriptors, processes, files, stores) in [
            (65_536, None, None, 65_472),
            (1024, Some(1310), Some(7030), 234),
            (1024, Some(1310), None, 864),
            (128, Some(1310), None, 64),
            (1024, Some(150), None, 92),
            (64, Some(10), Some(20), 16),
        ] {
            let bounds = Bounds { descriptors, processes, files, ..LARGE };
            assert_eq!(bounds.stores(), stores, "{bounds}");
        }
    }

    #[test]
    fn what_is_written_stands_and_what_is_not_is_bounded() {
        let mut config = config("limit imap-connections 900");
        let small = Bounds { descriptors: 364, processes: Some(165), ..LARGE };
        small.apply(&mut config);
        assert_eq!(config.limit(&limits::SMTP_CONNECTIONS), 100);
        assert_eq!(config.limit(&limits::IMAP_CONNECTIONS), 900);
        assert_eq!(config.limit(&limits::STORE_PROCESSES), 102);
        let again = conf::parse("t", config.print().as_bytes(), &[], &mut conf::NoFiles).unwrap();
        assert_eq!(again.limit(&limits::SMTP_CONNECTIONS), 100);
        let mut config = self::config("limit imap-connections 900");
        LARGE.apply(&mut config);
        let default = limits::SMTP_CONNECTIONS.default;
        assert_eq!(config.limit(&limits::SMTP_CONNECTIONS), default);
    }

    #[test]
    fn the_defaults_fit_every_machine() {
        let tiny = Bounds { descriptors: 512, files: Some(5000), processes: Some(300), ..OPENBSD };
        for bounds in [OPENBSD, LARGE, tiny] {
            let mut config = config("");
            bounds.apply(&mut config);
            assert_eq!(bounds.shortages(&config), [], "{bounds}");
        }
    }

    #[test]
    fn what_is_written_and_does_not_fit_is_told_with_its_numbers() {
        let short = |limits: &str, bounds: &Bounds| {
            let mut config = config(limits);
            bounds.apply(&mut config);
            bounds.shortages(&config)
        };
        let one = |of, need, have| [Shortage { of, need, have }];
        let plenty = Bounds { files: None, ..OPENBSD };
        let found = short("limit store-processes 800", &plenty);
        let threads = 128 + (320 + 320 + 64) + (320 + 20) + 2 * 800;
        assert_eq!(found, one(Bounded::Threads, threads, 2620));
        let many = Bounds { threads: None, ..plenty };
        let found = short("limit store-processes 1300", &Bounds { descriptors: 4096, ..many });
        assert_eq!(found, one(Bounded::Processes, 8 + 1300 + 2 * 20, 1310));
        let found = short("limit smtp-connections 1000", &many);
        assert_eq!(found, one(Bounded::Descriptors, 64 + 3 * 1000, 1024));
        let found = short("limit store-processes 500", &Bounds { threads: None, ..OPENBSD });
        assert_eq!(found.first().map(|s| s.of), Some(Bounded::Files), "{found:?}");
    }

    #[test]
    fn a_user_s_bound_holds_for_what_runs_as_that_user() {
        let bounds = Bounds { of_user: Some(250), ..LARGE };
        let mut config = config("limit smtp-connections 20\nlimit imap-connections 20");
        bounds.apply(&mut config);
        let found = bounds.shortages(&config);
        let alone = Bounds { root: false, ..bounds };
        // Stores are other users' processes, if there is root.
        assert_eq!(found, []);
        let found = alone.shortages(&config);
        assert_eq!(found.first().map(|s| s.of), (A_USERS_THREADS_COUNT).then_some(Bounded::OfUser));
    }
}
