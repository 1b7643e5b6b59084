//! Time: the only place that reads clocks.  Pure code is given `now`.
//!
//! [`WallTime`] is for logs, headers and what is stored; [`Deadline`] is for
//! waiting and does not notice when somebody sets the clock.

use crate::sys::time;
use std::time::{Duration, Instant};

pub use crate::sys::time::Local;

/// Wall-clock time: seconds since 1970-01-01 00:00 UTC, and nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct WallTime {
    /// Seconds since 1970; negative before it.
    pub secs: i64,
    /// Nanoseconds, below 1,000,000,000.
    pub nanos: u32,
}

impl WallTime {
    /// The present.
    #[must_use]
    pub fn now() -> Self {
        let (secs, nanos) = time::realtime();
        Self { secs, nanos }
    }

    /// Whole seconds.
    #[must_use]
    pub const fn from_secs(secs: i64) -> Self {
        Self { secs, nanos: 0 }
    }

    /// Microseconds within the second, as Maildir names have them.
    #[must_use]
    pub const fn micros(self) -> u32 {
        self.nanos / 1000
    }

    /// This long later; saturates.
    #[must_use]
    pub fn after(self, wait: Duration) -> Self {
        let nanos = self.nanos.saturating_add(wait.subsec_nanos());
        let carry = i64::from(nanos >= 1_000_000_000);
        let secs = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX).saturating_add(carry);
        Self { secs: self.secs.saturating_add(secs), nanos: nanos % 1_000_000_000 }
    }

    /// The time from `earlier` to this; zero if it lies before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        if self <= earlier {
            return Duration::ZERO;
        }
        let secs = u64::try_from(self.secs.saturating_sub(earlier.secs)).unwrap_or(0);
        (Duration::from_secs(secs) + Duration::from_nanos(u64::from(self.nanos)))
            .saturating_sub(Duration::from_nanos(u64::from(earlier.nanos)))
    }

    /// The same moment in the local zone; None in years that do not fit.
    #[must_use]
    pub fn local(self) -> Option<Local> {
        time::local(self.secs)
    }
}

/// The present, to the second.
#[must_use]
pub fn now() -> WallTime {
    WallTime::now()
}

/// The moment until which something may take; or never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(Option<Instant>);

impl Deadline {
    /// No limit.  Only for what another deadline or the peer's end bounds.
    pub const NEVER: Self = Self(None);

    /// This long from now; a time too far to be counted is never.
    #[must_use]
    pub fn after(wait: Duration) -> Self {
        Self(Instant::now().checked_add(wait))
    }

    /// Now: what is ready may be taken, nothing may be waited for.
    #[must_use]
    pub fn now() -> Self {
        Self(Some(Instant::now()))
    }

    /// The time left, for poll(2): None is no limit, zero is over.
    #[must_use]
    pub fn left(self) -> Option<Duration> {
        self.0.map(|end| end.saturating_duration_since(Instant::now()))
    }

    /// Whether it is over.
    #[must_use]
    pub fn expired(self) -> bool {
        self.0.is_some_and(|end| end <= Instant::now())
    }

    /// The earlier of two.
    #[must_use]
    pub fn min(self, other: Self) -> Self {
        match (self.0, other.0) {
            (Some(a), Some(b)) => Self(Some(a.min(b))),
            (a, b) => Self(a.or(b)),
        }
    }

    /// This, but at the latest `wait` from now.
    #[must_use]
    pub fn within(self, wait: Duration) -> Self {
        self.min(Self::after(wait))
    }
}

/// A stop-watch.
#[derive(Clone, Copy, Debug)]
pub struct Since(Instant);

impl Since {
    /// Starts it.
    #[must_use]
    pub fn now() -> Self {
        Self(Instant::now())
    }

    /// How long it has run.
    #[must_use]
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wall_time_carries_and_never_wraps() {
        let t = WallTime { secs: 9, nanos: 999_999_999 };
        assert_eq!(t.after(Duration::from_nanos(2)), WallTime { secs: 10, nanos: 1 });
        assert_eq!(t.after(Duration::MAX).secs, i64::MAX);
        assert_eq!(t.after(Duration::from_nanos(2)).since(t), Duration::from_nanos(2));
        assert_eq!(t.since(t.after(Duration::from_secs(1))), Duration::ZERO);
        assert_eq!(WallTime { secs: 0, nanos: 1_999 }.micros(), 1);
    }

    #[test]
    fn deadlines() {
        assert_eq!(Deadline::NEVER.left(), None);
        assert!(!Deadline::NEVER.expired());
        assert_eq!(Deadline::after(Duration::MAX), Deadline::NEVER);
        assert!(Deadline::now().expired());
        let far = Deadline::after(Duration::from_secs(60));
        assert!(!far.expired() && far.left().unwrap() <= Duration::from_secs(60));
        assert_eq!(far.min(Deadline::NEVER), far);
        assert_eq!(Deadline::NEVER.min(far), far);
        assert!(far.within(Duration::from_millis(1)).left().unwrap() < Duration::from_secs(1));
    }
}
