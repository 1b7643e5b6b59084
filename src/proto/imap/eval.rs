//! Runs a SEARCH program over a message, asking for as little as will do.
//!
//! Answers are yes, no and not yet known (Kleene's logic).  The program is run
//! with the keys that the index answers; only if the outcome still hangs on the
//! others is it run again with the header read, and then with the body.  So
//! `UNDELETED BODY x` opens no file of a deleted message, however the client
//! wrote it.  Time is linear in the program, memory its number of open operands.

use super::flag::SystemFlags;
use super::search::{Key, Needle, Op, Program, When};
use super::seqset::Ranges;
use crate::proto::date::Date;

/// What SEARCH asks about a message.  An error ends the search of it.
pub trait Facts {
    /// What can go wrong: the message may be gone.
    type Error;
    /// Its sequence number.
    fn seq(&self) -> u32;
    /// Its UID.
    fn uid(&self) -> u32;
    /// Its system flags.
    fn flags(&self) -> SystemFlags;
    /// True if it is recent in this session.
    fn recent(&self) -> bool;
    /// True if it has the keyword, ASCII case folded.
    fn has_keyword(&self, keyword: &[u8]) -> bool;
    /// The day of its internal date, as FETCH would show it.
    fn internal_day(&mut self) -> Result<Date, Self::Error>;
    /// Its RFC822.SIZE.
    fn size(&mut self) -> Result<u64, Self::Error>;
    /// The day of its Date field, zone disregarded; `None` if it has none.
    fn sent_day(&mut self) -> Result<Option<Date>, Self::Error>;
    /// True if a field of this name holds the needle.
    fn header_has(&mut self, field: &[u8], needle: &Needle) -> Result<bool, Self::Error>;
    /// True if the body holds the needle.
    fn body_has(&mut self, needle: &Needle) -> Result<bool, Self::Error>;
    /// True if header or body hold the needle.
    fn text_has(&mut self, needle: &Needle) -> Result<bool, Self::Error>;
}

/// How much a key costs to answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Cost {
    Index,
    Name,
    Header,
    Body,
}

const COSTS: [Cost; 4] = [Cost::Index, Cost::Name, Cost::Header, Cost::Body];

/// A program whose number sets stand for this mailbox.
#[derive(Debug)]
pub struct Bound<'p> {
    ops: Vec<BoundOp<'p>>,
    needs: Cost,
}

#[derive(Debug)]
enum BoundOp<'p> {
    Seq(Ranges),
    Uid(Ranges),
    Key(&'p Key<'p>),
    Not,
    And,
    Or,
}

impl Program<'_> {
    /// Gives `*` its meaning: the last sequence number and the largest UID.
    pub fn bind(&self, last_seq: u32, last_uid: u32) -> Bound<'_> {
        let mut needs = Cost::Index;
        let ops = self.0.iter().map(|op| match op {
            Op::Key(Key::Seq(set)) => BoundOp::Seq(set.resolve(last_seq)),
            Op::Key(Key::Uid(set)) => BoundOp::Uid(set.resolve(last_uid)),
            Op::Key(key) => {
                needs = needs.max(cost(key));
                BoundOp::Key(key)
            }
            Op::Not => BoundOp::Not,
            Op::And => BoundOp::And,
            Op::Or => BoundOp::Or,
        });
        let ops = ops.collect();
        Bound { ops, needs }
    }

    /// The largest sequence number that is named, 0 if none is: one beyond the
    /// mailbox is an error of the client.
    pub fn largest_seq(&self) -> u32 {
        let seq = |op: &Op<'_>| match op {
            Op::Key(Key::Seq(set)) => set.largest_number(),
            _ => 0,
        };
        self.0.iter().map(seq).max().unwrap_or(0)
    }
}

const fn cost(key: &Key<'_>) -> Cost {
    match key {
        Key::All
        | Key::Flag(..)
        | Key::Recent(_)
        | Key::New
        | Key::Keyword(..)
        | Key::Seq(_)
        | Key::Uid(_) => Cost::Index,
        Key::Internal(..) | Key::Larger(_) | Key::Smaller(_) => Cost::Name,
        Key::Sent(..) | Key::Header(..) => Cost::Header,
        Key::Body(_) | Key::Text(_) => Cost::Body,
    }
}

impl Bound<'_> {
    /// True if the message meets the criteria.
    pub fn matches<F: Facts>(&self, facts: &mut F) -> Result<bool, F::Error> {
        for up_to in COSTS {
            if let Some(answer) = self.run(facts, up_to)? {
                return Ok(answer);
            }
            if up_to >= self.needs {
                break;
            }
        }
        // A program of the parser always leaves an answer; an empty one finds nothing.
        Ok(false)
    }

    fn run<F: Facts>(&self, facts: &mut F, up_to: Cost) -> Result<Option<bool>, F::Error> {
        let mut stack: Vec<Option<bool>> = Vec::new();
        for (i, op) in self.ops.iter().enumerate() {
            let answer = match op {
                BoundOp::Seq(set) => Some(set.contains(facts.seq())),
                BoundOp::Uid(set) => Some(set.contains(facts.uid())),
                BoundOp::Key(key) if cost(key) > up_to => None,
                // What the other operand decides need not be looked up.
                BoundOp::Key(key) if cost(key) > Cost::Index && self.settled(&stack, i) => None,
                BoundOp::Key(key) => Some(answer(facts, key)?),
                BoundOp::Not => stack.pop().flatten().map(|a| !a),
                BoundOp::And => match (stack.pop().flatten(), stack.pop().flatten()) {
                    (Some(false), _) | (_, Some(false)) => Some(false),
                    (Some(true), Some(true)) => Some(true),
                    _ => None,
                },
                BoundOp::Or => match (stack.pop().flatten(), stack.pop().flatten()) {
                    (Some(true), _) | (_, Some(true)) => Some(true),
                    (Some(false), Some(false)) => Some(false),
                    _ => None,
                },
            };
            stack.push(answer);
        }
        Ok(stack.pop().flatten())
    }

    /// True if the operand before the key at `i` already decides their joint
    /// answer, which is the next step.
    fn settled(&self, stack: &[Option<bool>], i: usize) -> bool {
        let before = stack.last().copied().flatten();
        match self.ops.get(i.saturating_add(1)) {
            Some(BoundOp::And) => before == Some(false),
            Some(BoundOp::Or) => before == Some(true),
            _ => false,
        }
    }
}

fn answer<F: Facts>(facts: &mut F, key: &Key<'_>) -> Result<bool, F::Error> {
    Ok(match key {
        Key::All => true,
        Key::Flag(flag, set) => facts.flags().has(*flag) == *set,
        Key::Recent(recent) => facts.recent() == *recent,
        Key::New => facts.recent() && !facts.flags().has(SystemFlags::SEEN),
        Key::Keyword(keyword, set) => facts.has_keyword(keyword) == *set,
        Key::Internal(when, day) => when.holds(facts.internal_day()?, *day),
        Key::Sent(when, day) => facts.sent_day()?.is_some_and(|d| When::holds(*when, d, *day)),
        Key::Larger(n) => facts.size()? > u64::from(*n),
        Key::Smaller(n) => facts.size()? < u64::from(*n),
        Key::Header(field, needle) => facts.header_has(field, needle)?,
        Key::Body(needle) => facts.body_has(needle)?,
        Key::Text(needle) => facts.text_has(needle)?,
        Key::Seq(_) | Key::Uid(_) => false,
    })
}

#[cfg(test)]
mod tests {
    use super::super::search::{fold, Search};
    use super::*;
    use crate::proto::cursor::Cursor;

    #[derive(Default)]
    struct Mail {
        flags: SystemFlags,
        header_reads: usize,
        body_reads: usize,
    }

    impl Facts for Mail {
        type Error = ();
        fn seq(&self) -> u32 {
            3
        }
        fn uid(&self) -> u32 {
            30
        }
        fn flags(&self) -> SystemFlags {
            self.flags
        }
        fn recent(&self) -> bool {
            true
        }
        fn has_keyword(&self, keyword: &[u8]) -> bool {
            keyword.eq_ignore_ascii_case(b"$Work")
        }
        fn internal_day(&mut self) -> Result<Date, ()> {
            Ok(Date::new(2020, 5, 5).unwrap())
        }
        fn size(&mut self) -> Result<u64, ()> {
            Ok(1000)
        }
        fn sent_day(&mut self) -> Result<Option<Date>, ()> {
            self.header_reads += 1;
            Ok(None)
        }
        fn header_has(&mut self, field: &[u8], needle: &Needle) -> Result<bool, ()> {
            self.header_reads += 1;
            Ok(field.eq_ignore_ascii_case(b"Subject") && needle.is_in(&fold("Hello World")))
        }
        fn body_has(&mut self, needle: &Needle) -> Result<bool, ()> {
            self.body_reads += 1;
            Ok(needle.is_in(&fold("the body")))
        }
        fn text_has(&mut self, needle: &Needle) -> Result<bool, ()> {
            self.body_reads += 1;
            Ok(needle.is_in(&fold("Hello World the body")))
        }
    }

    fn run(mail: &mut Mail, text: &str) -> bool {
        let search = Search::parse(&mut Cursor::new(text.as_bytes())).unwrap();
        search.program.bind(5, 50).matches(mail).unwrap()
    }

    fn holds(text: &str) -> bool {
        run(&mut Mail::default(), text)
    }

    #[test]
    fn keys_of_the_index() {
        assert!(
            holds("ALL") && holds("3") && holds("UID 30") && holds("1:*") && holds("KEYWORD $work")
        );
        assert!(
            !holds("4:*")
                && !holds("UID 31:40")
                && holds("UNSEEN")
                && holds("NEW")
                && !holds("OLD")
        );
        assert!(holds("UNKEYWORD x") && !holds("SEEN") && holds("RECENT"));
    }

    #[test]
    fn dates_and_sizes() {
        assert!(holds("ON 5-May-2020") && holds("SINCE 5-May-2020") && !holds("BEFORE 5-May-2020"));
        assert!(holds("BEFORE 6-May-2020") && !holds("SINCE 6-May-2020"));
        assert!(holds("LARGER 999") && !holds("LARGER 1000") && holds("SMALLER 1001"));
        assert!(!holds("SENTSINCE 1-Jan-1970") && !holds("SENTBEFORE 1-Jan-2030"));
    }

    #[test]
    fn logic() {
        assert!(holds("OR SEEN UNSEEN") && !holds("SEEN UNSEEN") && holds("NOT SEEN"));
        assert!(
            holds("NOT (SEEN NOT 3)")
                && !holds("OR SEEN (DELETED 3)")
                && holds("OR (ALL ALL) SEEN")
        );
        assert!(holds("SUBJECT \"hello world\" BODY BODY NOT TEXT absent"));
    }

    #[test]
    fn files_are_read_only_if_the_answer_hangs_on_them() {
        for cheap in [
            "BODY x SEEN",
            "SEEN BODY x",
            "OR BODY x UNSEEN",
            "UID 31 (OR BODY x SUBJECT y)",
            "NOT (OR 3 BODY y)",
        ] {
            let mut mail = Mail::default();
            run(&mut mail, cheap);
            assert_eq!((mail.header_reads, mail.body_reads), (0, 0), "{cheap}");
        }
        let mut mail = Mail::default();
        assert!(!run(&mut mail, "BODY body SUBJECT absent"));
        assert_eq!(mail.body_reads, 0);
        let mut mail = Mail::default();
        assert!(run(&mut mail, "BODY body SUBJECT hello"));
        assert_eq!(mail.body_reads, 1);
    }

    #[test]
    fn the_largest_programs_run() {
        assert!(holds(&("NOT ".repeat(200) + "ALL")));
        assert!(holds(&("OR SEEN ".repeat(200) + "ALL")));
        assert!(holds("ALL ".repeat(1000).trim_end()));
    }
}
