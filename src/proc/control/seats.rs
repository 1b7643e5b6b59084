//! Who may be connected: so many in all, so many of one user, and some places
//! that only an administrator gets, so that nobody can shut him out.

use crate::base::lock;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Connections at a time; mail sessions leave at once.
const ALL: usize = 64;
/// Of them for administrators.
const KEPT: usize = 16;
/// Of one user.
const EACH: usize = 8;

/// The connections there are, by user.
#[derive(Debug, Default)]
pub struct Seats(Mutex<HashMap<u32, usize>>);

/// A connection's place; dropping it frees the place.
#[derive(Debug)]
pub struct Seat {
    of: Arc<Seats>,
    uid: u32,
}

impl Seats {
    /// A place for a user, if there is one.
    pub fn take(self: &Arc<Seats>, uid: u32, admin: bool) -> Option<Seat> {
        let mut all = lock::lock(&self.0);
        let taken: usize = all.values().sum();
        let own = all.get(&uid).copied().unwrap_or(0);
        let free = if admin { taken < ALL } else { taken < ALL - KEPT && own < EACH };
        if !free {
            return None;
        }
        all.insert(uid, own + 1);
        Some(Seat { of: Arc::clone(self), uid })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut all = lock::lock(&self.of.0);
        if let Some(own) = all.get_mut(&self.uid) {
            *own = own.saturating_sub(1);
            if *own == 0 {
                all.remove(&self.uid);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_user_and_all_together_leave_places_for_the_administrator() {
        let seats = Arc::new(Seats::default());
        let mut held: Vec<Seat> = (0..EACH).map(|_| seats.take(1000, false).unwrap()).collect();
        assert!(seats.take(1000, false).is_none());
        for uid in 1001.. {
            match seats.take(uid, false) {
                Some(seat) => held.push(seat),
                None => break,
            }
        }
        assert_eq!(held.len(), ALL - KEPT);
        held.extend((0..KEPT).map(|_| seats.take(0, true).unwrap()));
        assert!(seats.take(0, true).is_none());
        drop(held);
        assert!(lock::lock(&seats.0).is_empty());
    }
}
