//! What tests of pure code share.

use nix::time::{clock_gettime, ClockId};
use std::time::Duration;

/// Fails if sixteen times the input takes much more than sixteen times the time.
///
/// Quadratic work takes 256 times; the bound is 80, and the least of some runs
/// counts.  Time is the thread's own, so that a busy machine, on which a long
/// run is interrupted and a short one is not, does not fail the test.
pub fn assert_linear(mut run: impl FnMut(usize)) {
    const SMALL: usize = 1 << 13;
    let now = || -> Duration {
        clock_gettime(ClockId::from_raw(libc::CLOCK_THREAD_CPUTIME_ID)).unwrap().into()
    };
    let mut least = |n: usize| -> Duration {
        (0..5)
            .map(|_| {
                let begun = now();
                run(n);
                now() - begun
            })
            .min()
            .unwrap()
    };
    // What is quadratic is so every time; what other work disturbed is not.
    for last in [false, false, true] {
        let small = least(SMALL).max(Duration::from_micros(20));
        let large = least(SMALL * 16);
        if large < small * 80 {
            return;
        }
        assert!(!last, "{small:?} for {SMALL}, {large:?} for sixteen times that");
    }
}
