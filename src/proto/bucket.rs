//! Token buckets: what each of many may have of something that costs.
//!
//! *Runs in* filter: a client whose messages make us ask the DNS hundreds of
//! times uses up its own share and nobody else's.  Who finds his bucket empty is
//! put off, not refused.  The clock is the caller's, and what is remembered is
//! bounded: when there is no room, those whose buckets are fullest are forgotten,
//! who have least to lose by it.  `base::listen::PeerKey` is one client.

use std::collections::HashMap;
use std::hash::Hash;

/// How much there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// Tokens of a full bucket: what may be had at once.
    pub burst: u32,
    /// Tokens that come back in a minute.
    pub per_minute: u32,
}

/// Milliseconds of a minute: a token is as many units, of which `per_minute`
/// come back each millisecond.
const MINUTE: u64 = 60_000;

/// The buckets of those who took something lately.
#[derive(Clone, Debug)]
pub struct Buckets<K> {
    rate: Rate,
    most: usize,
    /// Units that are left, and when that was.
    known: HashMap<K, (u64, u64)>,
}

impl<K: Hash + Eq> Buckets<K> {
    /// Full buckets; at most `most` of them are remembered as less than full.
    pub fn new(rate: Rate, most: usize) -> Buckets<K> {
        Buckets { rate, most: most.max(1), known: HashMap::new() }
    }

    /// Takes tokens at a time in milliseconds of a clock that does not go back.
    ///
    /// False if there are not as many: then nothing is taken.  What costs more
    /// than a full bucket never succeeds.
    pub fn take(&mut self, key: K, tokens: u32, now: u64) -> bool {
        let cost = u64::from(tokens).saturating_mul(MINUTE);
        let left = self.known.get(&key).map_or(self.full(), |state| self.level(*state, now));
        let Some(rest) = left.checked_sub(cost) else { return false };
        if cost > 0 {
            if self.known.len() >= self.most && !self.known.contains_key(&key) {
                self.forget_half(now);
            }
            self.known.insert(key, (rest, now));
        }
        true
    }

    /// How many buckets are remembered.
    pub fn len(&self) -> usize {
        self.known.len()
    }

    /// True while nobody took anything.
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    fn full(&self) -> u64 {
        u64::from(self.rate.burst).saturating_mul(MINUTE)
    }

    fn level(&self, (units, at): (u64, u64), now: u64) -> u64 {
        let back = now.saturating_sub(at).saturating_mul(u64::from(self.rate.per_minute));
        units.saturating_add(back).min(self.full())
    }

    /// Half go at once, so that room costs no search for each.
    fn forget_half(&mut self, now: u64) {
        let mut known: Vec<(K, (u64, u64))> = self.known.drain().collect();
        known.sort_by_key(|(_, state)| self.level(*state, now));
        known.truncate(self.most / 2);
        self.known.extend(known);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::testing::assert_linear;

    const RATE: Rate = Rate { burst: 60, per_minute: 30 };

    #[test]
    fn each_client_has_a_bucket_that_fills_again() {
        let mut buckets = Buckets::new(RATE, 10);
        assert!(buckets.take("a", 60, 0));
        assert!(!buckets.take("a", 1, 0), "empty");
        assert!(buckets.take("b", 60, 0), "another's is full");
        assert!(!buckets.take("a", 1, 1_999));
        assert!(buckets.take("a", 1, 2_000), "a token in two seconds");
        assert!(!buckets.take("a", 61, 10_000_000), "never more than a full bucket");
        assert!(buckets.take("a", 60, 10_000_000));
        assert!(buckets.take("c", 0, 0) && buckets.len() == 2, "nothing taken, nothing kept");
    }

    #[test]
    fn what_is_put_off_costs_nothing() {
        let mut buckets = Buckets::new(RATE, 10);
        assert!(buckets.take("a", 50, 0));
        for _ in 0..100 {
            assert!(!buckets.take("a", 11, 0));
        }
        assert!(buckets.take("a", 10, 0));
        assert!(!buckets.take("a", 1, 0), "the clock does not go back");
        assert!(buckets.take("a", 60, u64::MAX));
    }

    #[test]
    fn clients_without_number_are_forgotten_the_fullest_first() {
        let mut buckets = Buckets::new(RATE, 100);
        assert!(buckets.take(0, 60, 0), "the greediest");
        for client in 1..100_000_u32 {
            assert!(buckets.take(client, 1, 0));
            assert!(buckets.len() <= 100);
        }
        assert!(!buckets.take(0, 1, 0), "is still known");
        assert_linear(|n| {
            let mut buckets = Buckets::new(RATE, 1000);
            for client in 0..n {
                std::hint::black_box(buckets.take(client, 1, 0));
            }
        });
    }
}
