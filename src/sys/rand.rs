//! Random bytes from the kernel, unpredictable in any sandbox and chroot; and
//! the wiping of secrets.

/// Fills a buffer.  Cannot fail: a process that could get no random bytes
/// ends, since nothing that it did from then on would be safe.
pub fn fill(buf: &mut [u8]) {
    #[cfg(target_os = "linux")]
    {
        let mut done = 0;
        while done < buf.len() {
            let rest = &mut buf[done..];
            // SAFETY: pointer and length are of one slice.
            let n = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
            match usize::try_from(n) {
                Ok(n) => done += n,
                Err(_) if std::io::Error::last_os_error().raw_os_error() == Some(libc::EINTR) => {}
                Err(_) => std::process::abort(),
            }
        }
    }
    #[cfg(not(target_os = "linux"))]
    // SAFETY: pointer and length are of one slice; arc4random_buf(3) always
    // succeeds.
    unsafe {
        libc::arc4random_buf(buf.as_mut_ptr().cast(), buf.len());
    }
}

/// A random number.
#[must_use]
pub fn u32() -> u32 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    u32::from_ne_bytes(bytes)
}

/// A random number.
#[must_use]
pub fn u64() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes)
}

/// A random number below `bound`, each as likely; 0 if `bound` is 0.
#[must_use]
pub fn below(bound: u32) -> u32 {
    if bound == 0 {
        return 0;
    }
    // Numbers of the incomplete last stretch are drawn again.
    let limit = u32::MAX - u32::MAX % bound;
    loop {
        let n = u32();
        if n < limit {
            return n % bound;
        }
    }
}

/// explicit_bzero(3): zeros that the compiler must write.
pub fn explicit_zero(bytes: &mut [u8]) {
    // SAFETY: pointer and length are of one slice.
    unsafe { libc::explicit_bzero(bytes.as_mut_ptr().cast(), bytes.len()) };
}

#[cfg(test)]
mod tests {
    #[test]
    fn bounds_hold_and_values_differ() {
        assert_eq!(super::below(0), 0);
        assert_eq!(super::below(1), 0);
        assert!((0..1000).all(|_| super::below(7) < 7));
        assert_ne!(super::u64(), super::u64());
    }
}
