//! Channels between neighbours: handed out when one of them starts, and anew
//! when one breaks although both live.
//!
//! A process that finds the rules of framing broken closes the channel and says
//! so.  Which end is at fault cannot be known, and a process that was broken
//! into could have its neighbours ended if parent believed it: so nobody is
//! ended, both get the ends of another channel, and the log has a line at level
//! CRIT.  Channels that break as soon as they are there are replaced after the
//! waits of a child that dies.

use super::children::{backoff, deaths_after};
use super::Supervisor;
use crate::base::log::{self, Show};
use crate::ipc::parent::Down;
use crate::proc::table::{self, Kind};
use crate::sys::fdpass;
use std::time::Instant;

/// A channel that is to be replaced, or has been.
pub struct Mend {
    ends: (Kind, Kind),
    /// How often in a row it broke soon after it was made.
    breaks: u32,
    /// When the last one was made.
    since: Instant,
    /// When the next one is.
    at: Option<Instant>,
}

impl Supervisor {
    /// Gives two children the ends of a fresh channel, if both are there.
    pub fn connect(&mut self, a: Kind, b: Kind) {
        if self.child(a).is_none() || self.child(b).is_none() {
            return;
        }
        if let Some(mend) = self.mends.iter_mut().find(|m| m.is_between(a, b)) {
            (mend.since, mend.at) = (Instant::now(), None);
        }
        match fdpass::socketpair() {
            Ok((ours, theirs)) => {
                self.tell(a, &Down::Peer { kind: b as u8 }, Some(ours));
                self.tell(b, &Down::Peer { kind: a as u8 }, Some(theirs));
            }
            Err(e) => self.mend(a, b, &e),
        }
    }

    /// Plans a fresh channel between two neighbours.
    pub fn mend(&mut self, a: Kind, b: Kind, why: &dyn std::fmt::Display) {
        let now = Instant::now();
        let at = self.mends.iter().position(|m| m.is_between(a, b)).unwrap_or_else(|| {
            self.mends.push(Mend { ends: (a, b), breaks: 0, since: now, at: None });
            self.mends.len() - 1
        });
        let mend = &mut self.mends[at];
        if mend.at.is_some() {
            // The other end has said so already.
            return;
        }
        mend.breaks = deaths_after(mend.breaks, now.duration_since(mend.since));
        let wait = backoff(mend.breaks);
        mend.at = Some(now + wait);
        log::crit!(
            "channel",
            from = table::process(a).name,
            to = table::process(b).name,
            again_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
            error = Show(why)
        );
    }

    /// Hands out the channels that are due.
    pub fn mend_due(&mut self, now: Instant) {
        let due = self.mends.iter().filter(|m| m.at.is_some_and(|at| at <= now));
        let due: Vec<(Kind, Kind)> = due.map(|m| m.ends).collect();
        for (a, b) in due {
            // An end that is not there gets its channel when it starts.
            self.connect(a, b);
        }
        for mend in self.mends.iter_mut().filter(|m| m.at.is_some_and(|at| at <= now)) {
            mend.at = None;
        }
    }

    /// When [`Supervisor::mend_due`] has something to do next.
    pub fn next_mend(&self) -> Option<Instant> {
        self.mends.iter().filter_map(|m| m.at).min()
    }
}

impl Mend {
    fn is_between(&self, a: Kind, b: Kind) -> bool {
        self.ends == (a, b) || self.ends == (b, a)
    }
}
