//! How messages have left the queue, for whoever waits for that.
//!
//! The log has it of all; this is a memory of the last that were not delivered
//! to everybody, bounded in messages and lines, and empty after a start.

use crate::disk::spool::qid::Qid;
use crate::disk::spool::record::End;
use crate::disk::spool::state::State;
use std::collections::VecDeque;

/// So many messages are remembered.
const MESSAGES: usize = 1000;
/// So many recipients of one are named.
const LINES: usize = 20;

/// The last messages that were not delivered to all.
#[derive(Default)]
pub struct Undelivered {
    last: VecDeque<(Qid, Vec<String>)>,
}

impl Undelivered {
    /// A message has left.
    pub fn note(&mut self, qid: Qid, state: &State) {
        let line = |(n, r): (u32, &crate::disk::spool::state::Recipient)| {
            let fate = match r.end? {
                End::Delivered => return None,
                End::Failed => "not delivered",
                End::Removed => "removed by an administrator",
            };
            Some(format!("{qid}.{n}: {}: {fate}", r.envelope.rcpt))
        };
        let lines: Vec<String> = (1u32..).zip(&state.rcpts).filter_map(line).take(LINES).collect();
        if lines.is_empty() {
            return;
        }
        if self.last.len() >= MESSAGES {
            self.last.pop_front();
        }
        self.last.push_back((qid, lines));
    }

    /// What there is to say of a message: a line for each recipient who has it not.
    pub fn of(&self, qid: Qid) -> Option<&[String]> {
        self.last.iter().rev().find(|(q, _)| *q == qid).map(|(_, lines)| lines.as_slice())
    }
}
