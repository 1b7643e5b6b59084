//! How things end: the outcome of an attempt, and exit statuses.
//!
//! Whoever answers a peer shows the public text only; the private one is for
//! the log.  What is unknown is temporary: our own fault never bounces mail.

use crate::sys::errno::{self, SysError};
use std::borrow::Cow;
use std::fmt;

/// What became of one recipient, message or command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is done, durably.
    Done,
    /// Not now: try again (4yz).
    Temp(Status),
    /// Never (5yz).
    Perm(Status),
}

/// Why something was not done.
#[derive(Clone, PartialEq, Eq)]
pub struct Status {
    /// Subject and detail of RFC 3463: `(3, 1)` is x.3.1.  The class is the
    /// outcome's.
    pub code: (u16, u16),
    /// What the peer, or the author of a bounced message, may read.
    pub public: Cow<'static, str>,
    /// What the log says beside it: paths, errors, addresses of servers.
    pub private: String,
}

impl Status {
    /// A status with nothing more to say in the log.
    #[must_use]
    pub fn new(code: (u16, u16), public: impl Into<Cow<'static, str>>) -> Self {
        Self { code, public: public.into(), private: String::new() }
    }

    /// The same, with a text for the log.
    #[must_use]
    pub fn because(mut self, private: impl fmt::Display) -> Self {
        self.private = private.to_string();
        self
    }
}

impl fmt::Debug for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "x.{}.{} {} ({})", self.code.0, self.code.1, self.public, self.private)
    }
}

impl Outcome {
    /// A failure that another attempt may not meet; `why` is for the log.
    #[must_use]
    pub fn temp(code: (u16, u16), public: &'static str, why: impl fmt::Display) -> Self {
        Self::Temp(Status::new(code, public).because(why))
    }

    /// Whether it is done.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done)
    }

    /// The enhanced status code, RFC 3463: `2.0.0`, `4.3.1`, `5.1.1`.
    #[must_use]
    pub fn code(&self) -> String {
        let (class, (subject, detail)) = match self {
            Self::Done => (2, (0, 0)),
            Self::Temp(status) => (4, status.code),
            Self::Perm(status) => (5, status.code),
        };
        format!("{class}.{subject}.{detail}")
    }

    /// Why it was not done.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        match self {
            Self::Done => None,
            Self::Temp(status) | Self::Perm(status) => Some(status),
        }
    }

    /// The worse of two: Perm before Temp before Done; of equals the first.
    #[must_use]
    pub fn worse(self, other: Self) -> Self {
        let rank = |o: &Self| match o {
            Self::Done => 0,
            Self::Temp(_) => 1,
            Self::Perm(_) => 2,
        };
        if rank(&other) > rank(&self) {
            other
        } else {
            self
        }
    }
}

impl From<SysError> for Outcome {
    /// A failed system call is always temporary.  RFC 3463: X.3.1 mail system
    /// full, X.2.2 mailbox full, X.3.2 not accepting messages, X.3.0 other.
    fn from(error: SysError) -> Self {
        let status = match error.errno {
            errno::ENOSPC => Status::new((3, 1), "insufficient system storage"),
            errno::EDQUOT => Status::new((2, 2), "mailbox full"),
            errno::EMFILE | errno::ENFILE | errno::EAGAIN => Status::new((3, 2), "system is busy"),
            _ => Status::new((3, 0), "internal error"),
        };
        Self::Temp(status.because(error))
    }
}

/// Exit statuses of sysexits(3).  75 is the only "try again".
pub mod sysexits {
    /// Done.
    pub const OK: u8 = 0;
    /// The command line is wrong.
    pub const USAGE: u8 = 64;
    /// The input is wrong.
    pub const DATAERR: u8 = 65;
    /// The input does not exist.
    pub const NOINPUT: u8 = 66;
    /// The addressee is unknown.
    pub const NOUSER: u8 = 67;
    /// The host is unknown.
    pub const NOHOST: u8 = 68;
    /// A service is not there.
    pub const UNAVAILABLE: u8 = 69;
    /// A fault of ours.
    pub const SOFTWARE: u8 = 70;
    /// A fault of the system.
    pub const OSERR: u8 = 71;
    /// A system file is missing or wrong.
    pub const OSFILE: u8 = 72;
    /// An output file cannot be made.
    pub const CANTCREAT: u8 = 73;
    /// An error of input or output.
    pub const IOERR: u8 = 74;
    /// Try again.
    pub const TEMPFAIL: u8 = 75;
    /// A peer broke the protocol.
    pub const PROTOCOL: u8 = 76;
    /// Not allowed.
    pub const NOPERM: u8 = 77;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_faults_are_temporary() {
        for (errno, code) in [(28, "4.3.1"), (24, "4.3.2"), (5, "4.3.0"), (13, "4.3.0")] {
            let outcome = Outcome::from(SysError::new("write", errno).at("/var/spool/rmail"));
            assert_eq!(outcome.code(), code);
            let status = outcome.status().unwrap();
            assert!(!status.public.contains("/var") && status.private.contains("/var"));
        }
    }

    #[test]
    fn the_worse_outcome_wins() {
        let temp = Outcome::Temp(Status::new((4, 1), "no answer"));
        let perm = Outcome::Perm(Status::new((1, 1), "no such user"));
        assert_eq!(Outcome::Done.worse(temp.clone()), temp);
        assert_eq!(perm.clone().worse(temp), perm);
        assert_eq!(perm.code(), "5.1.1");
    }
}
