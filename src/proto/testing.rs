//! What tests of pure code share.

use std::time::Duration;

use crate::sys::time::thread_cpu;

/// Fails if sixteen times the input takes much more than sixteen times the time.
///
/// Time is what the thread used of a processor, which a busy machine changes
/// little.  Quadratic work takes 256 times; the bound is 80, and the least of
/// some runs counts.
pub fn assert_linear(mut run: impl FnMut(usize)) {
    const SMALL: usize = 1 << 13;
    let mut least = |n: usize| -> Duration {
        (0..5)
            .map(|_| {
                let begun = thread_cpu();
                run(n);
                thread_cpu().saturating_sub(begun)
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
