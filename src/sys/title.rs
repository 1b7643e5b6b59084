//! The process title that ps(1) shows: `rmaild: queue`.

use std::ffi::CString;

/// Sets the title to `name: what`.  Owner only, with a single thread, after
/// the arguments were read (on Linux they are overwritten) and before the
/// sandbox (there /proc is read).  A title that cannot be set is left alone.
#[cfg(target_os = "linux")]
pub fn set(name: &str, what: &str) {
    if let Ok(comm) = CString::new(format!("{name}-{what}")) {
        // SAFETY: PR_SET_NAME reads a terminated string and keeps 15 bytes.
        unsafe { libc::prctl(libc::PR_SET_NAME, comm.as_ptr()) };
    }
    let Some((start, len)) = argument_area() else { return };
    let title = format!("{name}: {what}");
    let title = &title.as_bytes()[..title.len().min(len.saturating_sub(1))];
    // SAFETY: the kernel says that [start, start + len) is where it put this
    // process's arguments: writable memory of the initial stack, which nothing
    // else refers to any more (contract above).
    unsafe {
        std::ptr::write_bytes(start as *mut u8, 0, len);
        std::ptr::copy_nonoverlapping(title.as_ptr(), start as *mut u8, title.len());
    }
}

/// arg_start and the length up to arg_end, fields 48 and 49 of proc_pid_stat(5).
#[cfg(target_os = "linux")]
fn argument_area() -> Option<(usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is in parentheses and may contain anything.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split_ascii_whitespace().skip(45);
    let start: usize = fields.next()?.parse().ok()?;
    let end: usize = fields.next()?.parse().ok()?;
    let len = end.checked_sub(start).filter(|n| *n < 1 << 20)?;
    (start != 0 && len != 0).then_some((start, len))
}

/// Sets the title to `name: what`.
#[cfg(not(target_os = "linux"))]
pub fn set(_name: &str, what: &str) {
    extern "C" {
        fn setproctitle(fmt: *const libc::c_char, ...);
    }
    if let Ok(what) = CString::new(what) {
        // SAFETY: setproctitle(3) with a constant format and a terminated
        // string; it puts the program's name before it itself.
        unsafe { setproctitle(c"%s".as_ptr(), what.as_ptr()) };
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    #[test]
    fn the_argument_area_holds_argv_0() {
        let (start, len) = super::argument_area().unwrap();
        let area = unsafe { std::slice::from_raw_parts(start as *const u8, len) };
        let argv0 = std::env::args_os().next().unwrap();
        assert!(area.starts_with(argv0.as_encoded_bytes()));
    }
}
