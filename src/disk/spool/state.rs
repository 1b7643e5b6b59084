//! What the records of a log amount to: a message and its recipients.
//!
//! Pure.  [`State::fold`] is the only reading of a log; recovery and the
//! running daemon use the same.

use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::{End, Envelope, Origin, Record, Verdict};
use crate::proto::smtp::edit::Edits;

/// A message of the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it comes from.
    pub origin: Origin,
    /// Its recipients; `qid.N` is the one at N - 1.
    pub rcpts: Vec<Recipient>,
    /// The changes to its body.
    pub edits: Edits,
    /// What the filters found.
    pub verdict: Option<Verdict>,
    /// Messages that came out of it: published, or to be published now.
    pub spawned: Vec<Qid>,
}

/// A recipient and what became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// The envelope.
    pub envelope: Envelope,
    /// How it ended, if it has.
    pub end: Option<End>,
    /// Why it is held, if it is.
    pub held: Option<String>,
    /// Attempts until now.
    pub tries: u32,
    /// When the last one ended, seconds since 1970; 0: there was none.
    pub last_try: i64,
    /// What it said.
    pub said: String,
    /// Deaths of processes while it was in work, in a row.
    pub deaths: u32,
    /// How often the sender was told that it takes long.
    pub warned: u32,
    /// The commands of its `.forward` have run, and these addresses get the
    /// message when it is delivered.
    pub forwarded: Option<Vec<String>>,
    /// Commands of its `.forward` that have run while others had not.
    pub ran: Vec<String>,
}

impl State {
    /// The state after these records; `None` if they are no committed message.
    pub fn fold(records: &[Record]) -> Option<State> {
        let mut records = records.iter();
        let Some(Record::Origin(origin)) = records.next() else { return None };
        let mut state = State {
            origin: (**origin).clone(),
            rcpts: Vec::new(),
            edits: Edits::new(),
            verdict: None,
            spawned: Vec::new(),
        };
        loop {
            match records.next()? {
                Record::Envelope(e) => state.rcpts.push(Recipient::new((**e).clone())),
                Record::Edit(edit) => state.edits.push(edit.clone()).ok()?,
                Record::Verdict(v) => state.verdict = Some(v.clone()),
                Record::Commit if !state.rcpts.is_empty() => break,
                _ => return None,
            }
        }
        records.for_each(|record| state.apply(record));
        Some(state)
    }

    /// The state after one more record.
    pub fn apply(&mut self, record: &Record) {
        match record {
            Record::Attempt { rcpt, at, tries, deaths, said } => {
                if let Some(r) = self.rcpt_mut(*rcpt) {
                    (r.last_try, r.tries, r.deaths) = (*at, *tries, *deaths);
                    r.said.clone_from(said);
                }
            }
            Record::Done { rcpts, end } => self.end(rcpts, *end),
            Record::Spawned { ids, ends, warned } => {
                self.spawned.extend_from_slice(ids);
                ends.iter().for_each(|(rcpt, end)| self.end(&[*rcpt], *end));
                for (rcpt, times) in warned {
                    if let Some(r) = self.rcpt_mut(*rcpt) {
                        r.warned = *times;
                    }
                }
            }
            Record::Forwarded { rcpt, addresses } => {
                if let Some(r) = self.rcpt_mut(*rcpt) {
                    r.forwarded = Some(addresses.clone());
                }
            }
            Record::Ran { rcpt, command } => {
                if let Some(r) = self.rcpt_mut(*rcpt) {
                    r.ran.push(command.clone());
                }
            }
            Record::Hold { rcpt, on, why } => {
                let held = on.then(|| why.clone());
                match *rcpt {
                    0 => self.rcpts.iter_mut().for_each(|r| r.held.clone_from(&held)),
                    n => {
                        if let Some(r) = self.rcpt_mut(n) {
                            r.held = held;
                        }
                    }
                }
                if !on {
                    // Whoever releases it wants it tried as if it were new.
                    let all = *rcpt == 0;
                    let n = usize::try_from(*rcpt).unwrap_or(0);
                    for (i, r) in self.rcpts.iter_mut().enumerate() {
                        if all || i.saturating_add(1) == n {
                            r.deaths = 0;
                        }
                    }
                }
            }
            // These stand before the commit and nowhere else.
            Record::Origin(_)
            | Record::Envelope(_)
            | Record::Edit(_)
            | Record::Verdict(_)
            | Record::Commit => {}
        }
    }

    /// The recipient `qid.number`.
    pub fn rcpt(&self, number: u32) -> Option<&Recipient> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rcpts.get(at)
    }

    fn rcpt_mut(&mut self, number: u32) -> Option<&mut Recipient> {
        let at = usize::try_from(number).ok()?.checked_sub(1)?;
        self.rcpts.get_mut(at)
    }

    /// The recipients that need something still, with their numbers.
    pub fn open(&self) -> impl Iterator<Item = (u32, &Recipient)> {
        (1u32..).zip(&self.rcpts).filter(|(_, r)| r.end.is_none())
    }

    /// True when no recipient is left: the file can go.
    pub fn is_finished(&self) -> bool {
        self.rcpts.iter().all(|r| r.end.is_some())
    }

    fn end(&mut self, rcpts: &[u32], end: End) {
        for n in rcpts {
            if let Some(r) = self.rcpt_mut(*n) {
                r.end = Some(end);
            }
        }
    }
}

impl Recipient {
    const fn new(envelope: Envelope) -> Recipient {
        Recipient {
            envelope,
            end: None,
            held: None,
            tries: 0,
            last_try: 0,
            said: String::new(),
            deaths: 0,
            warned: 0,
            forwarded: None,
            ran: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::spool::record::tests::{envelope, origin};

    #[test]
    fn a_log_amounts_to_a_message() {
        let head = |to: &str| Record::Envelope(Box::new(envelope(to, None)));
        let mut records =
            vec![Record::Origin(Box::new(origin("a@b.example"))), head("x@c.example")];
        assert_eq!(State::fold(&[]), None);
        assert_eq!(State::fold(&records), None, "no commit");
        records.extend([head("y@c.example"), Record::Commit]);
        let mut state = State::fold(&records).unwrap();
        assert_eq!(state.open().map(|(n, _)| n).collect::<Vec<_>>(), [1, 2]);
        state.apply(&Record::Attempt { rcpt: 2, at: 9, tries: 1, deaths: 3, said: "no".into() });
        state.apply(&Record::Done { rcpts: vec![1, 7, 0], end: End::Delivered });
        assert_eq!(state.open().map(|(n, r)| (n, r.tries)).collect::<Vec<_>>(), [(2, 1)]);
        state.apply(&Record::Hold { rcpt: 0, on: true, why: "admin".into() });
        assert_eq!(state.rcpts[1].held.as_deref(), Some("admin"));
        state.apply(&Record::Hold { rcpt: 2, on: false, why: String::new() });
        assert_eq!((state.rcpts[1].held.as_ref(), state.rcpts[1].deaths), (None, 0));
        let ids = vec![Qid::from_bits(3).unwrap()];
        let spawned = |ends, warned| Record::Spawned { ids: ids.clone(), ends, warned };
        state.apply(&spawned(vec![], vec![(2, 1)]));
        assert!(!state.is_finished() && state.rcpts[1].warned == 1);
        state.apply(&spawned(vec![(2, End::Failed)], vec![]));
        assert!(state.is_finished() && state.spawned.len() == 2);
    }

    #[test]
    fn a_commit_without_origin_or_recipients_is_no_message() {
        let o = || Record::Origin(Box::new(origin("")));
        assert_eq!(State::fold(&[o(), Record::Commit]), None);
        assert_eq!(State::fold(&[Record::Commit]), None);
        assert_eq!(State::fold(&[o(), o(), Record::Commit]), None);
    }
}
