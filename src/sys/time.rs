//! The clocks and the local time zone.  Only `base::clock` reads them.

/// Loads the time zone; to be called before chroot, once.
pub fn tzset() {
    extern "C" {
        fn tzset();
    }
    // SAFETY: tzset(3) reads TZ and the zone file; the process has one thread
    // at this point of its start.
    unsafe { tzset() };
}

/// Wall-clock time: seconds since 1970-01-01 UTC, and nanoseconds.
#[must_use]
pub fn realtime() -> (i64, u32) {
    // SAFETY: timespec is plain data, written by the call.
    let mut ts: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to our own value; CLOCK_REALTIME always exists.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &mut ts) };
    (ts.tv_sec, u32::try_from(ts.tv_nsec).unwrap_or(0))
}

/// A moment in the local time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Local {
    /// Year, as in 2026.
    pub year: i32,
    /// Month, 1 to 12.
    pub month: u8,
    /// Day of the month, 1 to 31.
    pub day: u8,
    /// Hour, 0 to 23.
    pub hour: u8,
    /// Minute, 0 to 59.
    pub minute: u8,
    /// Second, 0 to 60.
    pub second: u8,
    /// Day of the week, Sunday is 0.
    pub weekday: u8,
    /// Seconds east of UTC.
    pub offset_secs: i32,
}

/// The local time at `secs` since 1970; None beyond the years that fit.
/// Needs [`tzset`] before chroot, else it is UTC.  Any thread.
#[must_use]
pub fn local(secs: i64) -> Option<Local> {
    // SAFETY: tm is plain data for which zero (and a null zone) is valid.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    let secs: libc::time_t = secs;
    // SAFETY: both pointers are to our own values; localtime_r is thread-safe.
    if unsafe { libc::localtime_r(&secs, &mut tm) }.is_null() {
        return None;
    }
    let small = |n: i32| u8::try_from(n).ok();
    Some(Local {
        year: tm.tm_year.checked_add(1900)?,
        month: small(tm.tm_mon.checked_add(1)?)?,
        day: small(tm.tm_mday)?,
        hour: small(tm.tm_hour)?,
        minute: small(tm.tm_min)?,
        second: small(tm.tm_sec)?,
        weekday: small(tm.tm_wday)?,
        offset_secs: i32::try_from(tm.tm_gmtoff).ok()?,
    })
}

/// What this thread has used of a processor: what other work takes is not in it.
#[cfg(test)]
#[must_use]
pub fn thread_cpu() -> std::time::Duration {
    // SAFETY: timespec is plain data, written by the call.
    let mut ts: libc::timespec = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to our own value; a failure leaves it zero.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut ts) };
    std::time::Duration::new(
        u64::try_from(ts.tv_sec).unwrap_or(0),
        u32::try_from(ts.tv_nsec).unwrap_or(0),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_time_is_utc_plus_its_offset() {
        tzset();
        let t = local(1_700_000_000).unwrap();
        assert!((2023..=2023).contains(&t.year) && t.offset_secs.abs() < 86_400);
        let utc = local(1_700_000_000 - i64::from(t.offset_secs)).unwrap();
        assert_eq!((utc.hour, utc.minute, utc.second), (22, 13, 20));
        assert!(local(i64::MAX).is_none());
    }
}
