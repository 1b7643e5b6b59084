//! Sequence numbers of a session: which message is the n-th.
//!
//! A mailbox's UIDs come in long runs, so the map holds runs and not messages:
//! a session with a hundred thousand messages costs a few hundred bytes, and
//! both directions are a binary search.  RFC 3501 2.3.1.2.

/// UIDs in the order of their sequence numbers, which is ascending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UidMap {
    runs: Vec<Run>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: u32,
    last: u32,
    /// The sequence number of `first`.
    seq: u32,
}

impl Run {
    /// The sequence number of the run's last UID.
    const fn last_seq(&self) -> u32 {
        self.seq.saturating_add(self.last.saturating_sub(self.first))
    }
}

impl UidMap {
    /// No messages.
    pub const fn new() -> UidMap {
        UidMap { runs: Vec::new() }
    }

    /// How many messages there are: the largest sequence number.
    pub fn len(&self) -> u32 {
        self.runs.last().map_or(0, Run::last_seq)
    }

    /// True without messages.
    pub fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// The largest UID; 0 without messages.
    pub fn last_uid(&self) -> u32 {
        self.runs.last().map_or(0, |r| r.last)
    }

    /// Appends a message.  A UID that is not above all others is left out.
    pub fn push(&mut self, uid: u32) {
        let seq = self.len().saturating_add(1);
        match self.runs.last_mut() {
            Some(run) if uid <= run.last => {}
            Some(run) if uid == run.last.saturating_add(1) => run.last = uid,
            _ => self.runs.push(Run { first: uid, last: uid, seq }),
        }
    }

    /// The UID of a sequence number.
    pub fn uid(&self, seq: u32) -> Option<u32> {
        let i = self.runs.partition_point(|r| r.last_seq() < seq);
        let run = self.runs.get(i).filter(|r| r.seq <= seq)?;
        Some(run.first.saturating_add(seq.saturating_sub(run.seq)))
    }

    /// The sequence number of a UID.
    pub fn seq(&self, uid: u32) -> Option<u32> {
        let i = self.runs.partition_point(|r| r.last < uid);
        let run = self.runs.get(i).filter(|r| r.first <= uid)?;
        Some(run.seq.saturating_add(uid.saturating_sub(run.first)))
    }

    /// All UIDs, ascending.
    pub fn uids(&self) -> impl Iterator<Item = u32> + '_ {
        self.runs.iter().flat_map(|r| r.first..=r.last)
    }

    /// The messages with UIDs of a range: sequence number and UID, ascending.
    pub fn within(&self, first: u32, last: u32) -> impl Iterator<Item = (u32, u32)> + '_ {
        let from = self.runs.partition_point(|r| r.last < first);
        let runs = self.runs.get(from..).unwrap_or_default();
        runs.iter().take_while(move |r| r.first <= last).flat_map(move |r| {
            let (first, last) = (r.first.max(first), r.last.min(last));
            let seq = r.seq.saturating_add(first.saturating_sub(r.first));
            (first..=last).zip(seq..).map(|(uid, seq)| (seq, uid))
        })
    }

    /// Takes messages out and gives the numbers for EXPUNGE from the lowest up,
    /// each as it is after those before it.  `gone` is ascending.  RFC 3501 7.4.1.
    pub fn remove(&mut self, gone: &[u32]) -> Vec<u32> {
        let mut numbers = Vec::new();
        let mut rest = UidMap::new();
        let mut gone = gone.iter().copied().peekable();
        for run in std::mem::take(&mut self.runs) {
            let mut from = Some(run.first);
            while let Some(uid) = gone.next_if(|uid| *uid <= run.last) {
                let Some(start) = from.filter(|start| *start <= uid) else {
                    continue; // not in the map, or named twice
                };
                rest.push_run(start, uid.checked_sub(1));
                numbers.push(rest.len().saturating_add(1));
                from = uid.checked_add(1);
            }
            if let Some(start) = from {
                rest.push_run(start, Some(run.last));
            }
        }
        *self = rest;
        numbers
    }

    fn push_run(&mut self, first: u32, last: Option<u32>) {
        let Some(last) = last.filter(|last| *last >= first) else { return };
        let seq = self.len().saturating_add(1);
        match self.runs.last_mut() {
            Some(run) if first == run.last.saturating_add(1) => run.last = last,
            _ => self.runs.push(Run { first, last, seq }),
        }
    }
}

impl FromIterator<u32> for UidMap {
    fn from_iter<I: IntoIterator<Item = u32>>(uids: I) -> UidMap {
        let mut map = UidMap::new();
        for uid in uids {
            map.push(uid);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_of_uids() {
        let map: UidMap = [3, 4, 5, 9, 11, 12, u32::MAX].into_iter().collect();
        let within = |first, last| map.within(first, last).collect::<Vec<_>>();
        assert_eq!(within(4, 11), [(2, 4), (3, 5), (4, 9), (5, 11)]);
        assert_eq!(within(0, 3), [(1, 3)]);
        assert_eq!(within(6, 8), []);
        assert_eq!(within(9, 4), []);
        assert_eq!(within(12, u32::MAX), [(6, 12), (7, u32::MAX)]);
        assert_eq!(within(0, u32::MAX).len(), 7);
    }

    #[test]
    fn both_directions() {
        let map: UidMap = [3, 4, 5, 9, 11, 12].into_iter().collect();
        assert_eq!((map.len(), map.last_uid()), (6, 12));
        assert_eq!(map.runs.len(), 3);
        let pairs: Vec<_> = (0..8).map(|s| map.uid(s)).collect();
        assert_eq!(pairs, [None, Some(3), Some(4), Some(5), Some(9), Some(11), Some(12), None]);
        assert_eq!(
            [2, 3, 5, 6, 9, 12, 13].map(|u| map.seq(u)),
            [None, Some(1), Some(3), None, Some(4), Some(6), None]
        );
    }

    #[test]
    fn expunge_numbers_count_down_as_they_go() {
        let mut map: UidMap = (1..=8).collect();
        // RFC 3501 7.4.1's example: 3, 3, 5, 8 of twelve become what remains.
        assert_eq!(map.remove(&[3, 4, 7]), [3, 3, 5]);
        assert_eq!(map.uids().collect::<Vec<_>>(), [1, 2, 5, 6, 8]);
        assert_eq!(map.remove(&[]), []);
        assert_eq!(map.remove(&[4, 100]), []);
        assert_eq!(map.remove(&[1, 2, 5, 6, 8]), [1, 1, 1, 1, 1]);
        assert!(map.is_empty());
    }

    #[test]
    fn it_agrees_with_a_list() {
        let mut seed = 5u32;
        let mut dice = |n: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 16) % n
        };
        for _ in 0..300 {
            let mut list: Vec<u32> = (1..60).filter(|_| dice(4) > 0).collect();
            let mut map: UidMap = list.iter().copied().collect();
            let gone: Vec<u32> = (1..60).filter(|_| dice(3) == 0).collect();
            let mut numbers = Vec::new();
            for uid in &gone {
                if let Some(i) = list.iter().position(|u| u == uid) {
                    list.remove(i);
                    numbers.push(i as u32 + 1);
                }
            }
            assert_eq!(map.remove(&gone), numbers);
            assert_eq!(map.uids().collect::<Vec<_>>(), list);
            for (i, uid) in list.iter().enumerate() {
                assert_eq!(map.seq(*uid), Some(i as u32 + 1));
                assert_eq!(map.uid(i as u32 + 1), Some(*uid));
            }
        }
    }

    #[test]
    fn the_last_uid_of_all() {
        let mut map: UidMap = [u32::MAX - 1, u32::MAX].into_iter().collect();
        assert_eq!(map.remove(&[u32::MAX]), [2]);
        assert_eq!(map.len(), 1);
    }
}
