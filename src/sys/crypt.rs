//! Password hashes: crypt(3), thread-safe.
//!
//! OpenBSD: crypt_checkpass(3) and crypt_newhash(3), which know bcrypt alone.
//! Linux: crypt_r(3) of libcrypt, which knows most schemes.  A hash takes CPU
//! time by design (bcrypt with cost 12 a third of a second): callers have a
//! pool of threads for it, and a full pool is "try later", not "wrong".

use super::errno::{Result, SysError};
use std::ffi::CString;

/// Octets of a password; crypt(3) takes no more, and bcrypt only looks at 72.
pub const PASSWORD_MAX: usize = 512;

/// Whether a password belongs to a hash.
///
/// ENOSYS: the C library does not know the hash's scheme, so that nobody can
/// say; that is never a wrong password.  The comparison takes the same time
/// wherever the difference lies.  Any thread; blocks for the hash's cost.
pub fn check(password: &[u8], hash: &str) -> Result<bool> {
    if password.len() > PASSWORD_MAX {
        return Ok(false);
    }
    // An empty hash would let everybody in, `*` and `!` stand for nobody.
    if hash.is_empty() || hash.starts_with(['*', '!']) {
        return Ok(false);
    }
    let (Ok(password), Ok(hash)) = (CString::new(password), CString::new(bcrypt_b(hash))) else {
        return Ok(false);
    };
    let result = platform::check(&password, &hash);
    wipe(password);
    result
}

/// A new bcrypt hash; `cost` is the binary logarithm of the rounds, 4 to 31.
/// Any thread; blocks for the hash's cost.
pub fn new_hash(password: &[u8], cost: u8) -> Result<String> {
    let invalid = || SysError::new("crypt", libc::EINVAL);
    if password.len() > PASSWORD_MAX || !(4..=31).contains(&cost) {
        return Err(invalid());
    }
    let password = CString::new(password).map_err(|_| invalid())?;
    let result = platform::new_hash(&password, cost);
    wipe(password);
    result
}

/// `$2y$` is what others call `$2b$`: the same algorithm.
fn bcrypt_b(hash: &str) -> String {
    match hash.strip_prefix("$2y$") {
        Some(rest) => format!("$2b${rest}"),
        None => hash.to_owned(),
    }
}

fn wipe(text: CString) {
    let mut bytes = text.into_bytes();
    super::rand::explicit_zero(&mut bytes);
}

#[cfg(target_os = "linux")]
mod platform {
    use super::{Result, SysError};
    use std::ffi::{CStr, CString};

    #[link(name = "crypt")]
    extern "C" {
        fn crypt_r(
            key: *const libc::c_char,
            setting: *const libc::c_char,
            data: *mut libc::c_void,
        ) -> *mut libc::c_char;
    }

    /// struct crypt_data has 32 KB with libxcrypt and 131,232 octets with the
    /// older glibc; all zero is its initial state in both.
    const WORDS: usize = 192 * 1024 / 8;

    fn crypt(password: &CStr, setting: &CStr) -> Result<CString> {
        let mut data = vec![0u64; WORDS];
        // SAFETY: both strings are terminated; the area is larger than any
        // struct crypt_data, aligned and zero.  The result points into it.
        let hash =
            unsafe { crypt_r(password.as_ptr(), setting.as_ptr(), data.as_mut_ptr().cast()) };
        let result = if hash.is_null() {
            Err(SysError::new("crypt", libc::ENOSYS))
        } else {
            // SAFETY: a terminated string inside `data`, which is alive.
            let hash = unsafe { CStr::from_ptr(hash) }.to_owned();
            // `*0` and `*1` mean that the setting is not understood.
            match hash.as_bytes() {
                [b'*', ..] | [] => Err(SysError::new("crypt", libc::ENOSYS)),
                _ => Ok(hash),
            }
        };
        // The area holds the password and key material made from it.
        // SAFETY: the length is that of the vector.
        unsafe { libc::explicit_bzero(data.as_mut_ptr().cast(), WORDS * 8) };
        result
    }

    pub fn check(password: &CStr, hash: &CStr) -> Result<bool> {
        let made = crypt(password, hash)?;
        let (a, b) = (made.as_bytes(), hash.to_bytes());
        Ok(a.len() == b.len() && a.iter().zip(b).fold(0, |acc, (x, y)| acc | (x ^ y)) == 0)
    }

    pub fn new_hash(password: &CStr, cost: u8) -> Result<String> {
        let mut salt = [0; 16];
        crate::sys::rand::fill(&mut salt);
        let setting = format!("$2b${cost:02}${}", base64(&salt));
        let setting = CString::new(setting).map_err(|_| SysError::new("crypt", libc::EINVAL))?;
        crypt(password, &setting)?.into_string().map_err(|_| SysError::new("crypt", libc::EIO))
    }

    /// bcrypt's base 64: its own alphabet, no padding.
    fn base64(bytes: &[u8]) -> String {
        const ALPHABET: &[u8; 64] =
            b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mut out = String::new();
        for group in bytes.chunks(3) {
            let n = group.iter().fold(0u32, |n, b| n << 8 | u32::from(*b));
            let n = n << (8 * (3 - group.len()));
            for i in 0..=group.len() {
                out.push(ALPHABET[(n >> (18 - 6 * i)) as usize & 63] as char);
            }
        }
        out
    }
}

#[cfg(not(target_os = "linux"))]
mod platform {
    use super::{Result, SysError};
    use std::ffi::CStr;

    extern "C" {
        fn crypt_checkpass(pass: *const libc::c_char, hash: *const libc::c_char) -> libc::c_int;
        fn crypt_newhash(
            pass: *const libc::c_char,
            pref: *const libc::c_char,
            hash: *mut libc::c_char,
            size: libc::size_t,
        ) -> libc::c_int;
    }

    pub fn check(password: &CStr, hash: &CStr) -> Result<bool> {
        if !hash.to_bytes().starts_with(b"$2") {
            return Err(SysError::new("crypt_checkpass", libc::ENOSYS));
        }
        // SAFETY: two terminated strings.
        Ok(unsafe { crypt_checkpass(password.as_ptr(), hash.as_ptr()) } == 0)
    }

    pub fn new_hash(password: &CStr, cost: u8) -> Result<String> {
        let preference = std::ffi::CString::new(format!("bcrypt,{cost}"))
            .map_err(|_| SysError::new("crypt_newhash", libc::EINVAL))?;
        let mut hash = [0; 128];
        // SAFETY: terminated strings; the buffer is _PASSWORD_LEN long and its
        // length is passed.
        let n = unsafe {
            crypt_newhash(password.as_ptr(), preference.as_ptr(), hash.as_mut_ptr(), hash.len())
        };
        if n != 0 {
            return Err(SysError::last("crypt_newhash"));
        }
        // SAFETY: terminated by the call above.
        let hash = unsafe { CStr::from_ptr(hash.as_ptr()) };
        hash.to_str().map(str::to_owned).map_err(|_| SysError::new("crypt_newhash", libc::EIO))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // From OpenBSD's and PHP's test suites: `U*U` and `rasmuslerdorf`.
    const A: &str = "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW";
    const Y: &str = "$2y$07$BCryptRequires22Chrcte/VlQH0piJtjXl.0t1XkA8pw9dMXTpOq";

    #[test]
    fn bcrypt_in_all_its_spellings() {
        assert!(check(b"U*U", A).unwrap());
        assert!(!check(b"U*V", A).unwrap());
        assert!(check(b"rasmuslerdorf", Y).unwrap());
        assert!(!check(b"", Y).unwrap());
    }

    #[test]
    fn a_new_hash_checks() {
        let hash = new_hash(b"secret", 4).unwrap();
        assert!(hash.starts_with("$2b$04$") && hash.len() == 60);
        assert!(check(b"secret", &hash).unwrap());
        assert!(!check(b"Secret", &hash).unwrap());
        assert_ne!(new_hash(b"secret", 4).unwrap(), hash);
        assert!(new_hash(b"a", 3).is_err() && new_hash(b"a\0b", 4).is_err());
    }

    #[test]
    fn what_is_no_hash_lets_nobody_in() {
        for hash in ["", "*", "!", "!$2b$04$x", "*0"] {
            assert!(!check(b"", hash).unwrap());
            assert!(!check(b"*0", hash).unwrap());
        }
        assert!(!check(&[b'a'; 600], A).unwrap());
        assert!(!check(b"U*U\0", A).unwrap());
        assert_eq!(check(b"x", "$99$nonsense$").unwrap_err().errno, libc::ENOSYS);
        let damaged = check(b"x", "$2b$04$short");
        // crypt_checkpass(3) has one answer for a wrong password and a wrong hash.
        match cfg!(target_os = "openbsd") {
            true => assert!(!damaged.unwrap()),
            false => assert_eq!(damaged.unwrap_err().errno, libc::ENOSYS),
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn sha_512_as_linux_has_it() {
        let hash = concat!(
            "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJ",
            "uesI68u4OTLiBFdcbYEdFCoEOfaS35inz1"
        );
        assert!(check(b"Hello world!", hash).unwrap());
    }
}
