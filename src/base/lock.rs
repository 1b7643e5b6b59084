//! The one way to take a lock.
//!
//! A poisoned lock means that a thread panicked while shared state was half
//! changed.  Going on would make one bug a permanent, silent one; so the
//! process ends, its parent starts it anew, and what is on disk is the truth.

use std::sync::{
    Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
};
use std::time::Duration;

/// Locks; the end of the process if it is poisoned.
pub fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(poisoned)
}

/// Locks for reading, as [`lock`].
pub fn read<T: ?Sized>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(poisoned)
}

/// Locks for writing, as [`lock`].
pub fn write<T: ?Sized>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(poisoned)
}

/// Waits on a condition, as [`lock`].
pub fn wait<'a, T>(condition: &Condvar, guard: MutexGuard<'a, T>) -> MutexGuard<'a, T> {
    condition.wait(guard).unwrap_or_else(poisoned)
}

/// Waits on a condition, at most this long (None: no limit), as [`lock`].
pub fn wait_for<'a, T>(
    condition: &Condvar,
    guard: MutexGuard<'a, T>,
    time: Option<Duration>,
) -> MutexGuard<'a, T> {
    match time {
        Some(time) => condition.wait_timeout(guard, time).unwrap_or_else(poisoned).0,
        None => wait(condition, guard),
    }
}

fn poisoned<G, R>(_: PoisonError<G>) -> R {
    super::log::fatal("lock", "a thread panicked while it held shared state")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_ends_with_its_time() {
        let (mutex, condition) = (Mutex::new(1), Condvar::new());
        let guard = wait_for(&condition, lock(&mutex), Some(Duration::from_millis(5)));
        assert_eq!(*guard, 1);
    }
}
