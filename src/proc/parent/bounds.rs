//! What the machine has room for: how many connections are taken when the
//! configuration does not say.
//!
//! The defaults are for a machine with room; kern.maxthread of OpenBSD is 2620
//! for everything that runs there, and a login class may give few descriptors.
//! More connections than that would be refused one by one, by whatever fails
//! first; a cap refuses them with words.  What the administrator wrote stands.

use crate::base::log;
use crate::conf::ast::{Config, LimitValue, Pos, Statement, Stmt};
use crate::proto::limits::{self, Limit};
use crate::sys;

/// Descriptors that a process has for itself.
const OWN_DESCRIPTORS: u64 = 64;
/// Descriptors of a connection: the client's, the spool file or store's
/// channel, and one that is on its way.
const DESCRIPTORS: u64 = 3;
/// Threads of one SMTP and one IMAP connection together; that of IMAP has one
/// in imap and one in the store.
const THREADS: u64 = 3;
/// However small the machine is.
const LEAST: u64 = 16;

/// The services whose connections are bounded.
const BOUNDED: [&Limit; 2] = [&limits::SMTP_CONNECTIONS, &limits::IMAP_CONNECTIONS];

/// What the system says of itself.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// Descriptors of a process.
    pub descriptors: u64,
    /// Threads of the whole machine; `None`: it does not say.
    pub threads: Option<u64>,
}

impl Bounds {
    /// Asks the system; before pledge.
    pub fn of_machine() -> Bounds {
        let descriptors = sys::limits::most_descriptors().unwrap_or(u64::MAX);
        Bounds { descriptors, threads: sys::limits::threads() }
    }

    /// The most connections of one service.
    pub fn connections(&self) -> u64 {
        let by_descriptors = self.descriptors.saturating_sub(OWN_DESCRIPTORS) / DESCRIPTORS;
        // A third of the threads is for all else.
        let by_threads = self.threads.map_or(u64::MAX, |t| t / 3 * 2 / THREADS);
        by_descriptors.min(by_threads).max(LEAST)
    }

    /// Puts limits where the configuration has none and the default is too much.
    pub fn apply(&self, config: &mut Config) {
        let most = self.connections();
        for limit in BOUNDED {
            let set = config
                .statements
                .iter()
                .any(|s| matches!(&s.stmt, Stmt::Limit(l) if l.limit.name == limit.name));
            if set {
                let value = config.limit(limit);
                if value > most {
                    let (name, text) = (limit.name, "more than this machine has room for");
                    log::warn!("limit", name = name, value = value, room = most, msg = text);
                }
            } else if limit.default > most {
                let at = Pos { file: "this machine".into(), line: 0 };
                let stmt = Stmt::Limit(LimitValue { limit, value: most });
                config.statements.push(Statement { at, stmt });
            }
        }
    }
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
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

    #[test]
    fn connections_by_descriptors_and_threads() {
        for (descriptors, threads, connections) in [
            (65_536, None, 21_824),
            (65_536, Some(2620), 582),
            (1024, Some(2620), 320),
            (1024, None, 320),
            (64, Some(10), 16),
        ] {
            let bounds = Bounds { descriptors, threads };
            assert_eq!(bounds.connections(), connections, "{bounds}");
        }
    }

    #[test]
    fn what_is_written_stands_and_what_is_not_is_bounded() {
        let text = b"limit imap-connections 900\naction x mbox\nmatch action x\n";
        let mut config = conf::parse("t", text, &[], &mut conf::NoFiles).unwrap();
        let small = Bounds { descriptors: 364, threads: None };
        small.apply(&mut config);
        assert_eq!(config.limit(&limits::SMTP_CONNECTIONS), 100);
        assert_eq!(config.limit(&limits::IMAP_CONNECTIONS), 900);
        let again = conf::parse("t", config.print().as_bytes(), &[], &mut conf::NoFiles).unwrap();
        assert_eq!(again.limit(&limits::SMTP_CONNECTIONS), 100);
        let large = Bounds { descriptors: 65_536, threads: None };
        let mut config = conf::parse("t", text, &[], &mut conf::NoFiles).unwrap();
        large.apply(&mut config);
        let default = limits::SMTP_CONNECTIONS.default;
        assert_eq!(config.limit(&limits::SMTP_CONNECTIONS), default);
    }
}
