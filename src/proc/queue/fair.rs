//! A queue of queues: each sender has one, and they are served in turn, so
//! that one sender's ten thousand messages delay another's by one.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// First in, first out for each sender; round robin among senders.
#[derive(Debug)]
pub struct Fair<T> {
    ring: VecDeque<Arc<str>>,
    lines: HashMap<Arc<str>, VecDeque<T>>,
}

impl<T> Default for Fair<T> {
    fn default() -> Fair<T> {
        Fair { ring: VecDeque::new(), lines: HashMap::new() }
    }
}

impl<T> Fair<T> {
    /// Puts something at the end of its sender's line.
    pub fn push(&mut self, sender: &Arc<str>, value: T) {
        self.line(sender).push_back(value);
    }

    /// Puts something at the head of its sender's line.
    pub fn push_front(&mut self, sender: &Arc<str>, value: T) {
        self.line(sender).push_front(value);
    }

    /// The first of the sender whose turn it is.
    pub fn pop(&mut self) -> Option<(Arc<str>, T)> {
        let sender = self.ring.pop_front()?;
        let line = self.lines.get_mut(&sender)?;
        let value = line.pop_front()?;
        if line.is_empty() {
            self.lines.remove(&sender);
        } else {
            self.ring.push_back(Arc::clone(&sender));
        }
        Some((sender, value))
    }

    /// True when nothing waits.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    fn line(&mut self, sender: &Arc<str>) -> &mut VecDeque<T> {
        if !self.lines.contains_key(sender) {
            self.ring.push_back(Arc::clone(sender));
        }
        self.lines.entry(Arc::clone(sender)).or_default()
    }
}
