//! Measurements: only with BENCH set, as `make bench` does, in a release build.
use std::time::Duration;

use nix::time::{clock_gettime, ClockId};

use crate::Test;

mod alloc;
mod auth;
mod mail;
mod postfix;
mod sieve;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "mail-auth", run: auth::run },
    Test { name: "mail-receive", run: mail::receive },
    Test { name: "mail-read", run: mail::read },
    Test { name: "sieve", run: sieve::bench },
];

/// What this thread has worked so far, to the nanosecond: getrusage(2) counts
/// clock ticks on some kernels, in which a millisecond is nothing.
fn thread_time() -> Duration {
    let clock = ClockId::from_raw(libc::CLOCK_THREAD_CPUTIME_ID);
    clock_gettime(clock).expect("the thread's clock").into()
}

/// How often each of some things that take turns is run.
const RUNS: usize = 20;

/// The median time of each of some things, which take turns so that what the
/// machine does besides meets all alike.
///
/// Time is that of the thread's own work: none of them waits for anything.
fn medians<const N: usize>(mut things: [&mut dyn FnMut(); N]) -> [Duration; N] {
    let mut times = [const { Vec::new() }; N];
    for run in 0..=RUNS {
        for (thing, times) in things.iter_mut().zip(&mut times) {
            let begun = thread_time();
            thing();
            // The first is for the caches.
            if run > 0 {
                times.push(thread_time() - begun);
            }
        }
    }
    times.map(|mut times| {
        times.sort();
        times[RUNS / 2]
    })
}
