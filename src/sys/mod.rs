//! The operating system: the only place of unsafe code and cfg(target_os).
//!
//! Each function wraps one thing that the kernel or the C library does and
//! gives its error as an [`errno::SysError`].  No policy, no logic.

pub mod crypt;
pub mod errno;
pub mod fdpass;
pub mod file;
pub mod limits;
pub mod net;
pub mod poll;
pub mod rand;
pub mod sandbox;
pub mod signal;
pub mod spawn;
pub mod syslog;
pub mod time;
pub mod title;
pub mod user;
