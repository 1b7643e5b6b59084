//! What can go wrong in the mail store, as its callers tell the cases apart.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::name::BadName;
use crate::base::exits::Outcome;
use crate::sys::errno::SysError;

/// The result of anything that touches the mail store.
pub type Result<T> = core::result::Result<T, Error>;

/// Why something in the mail store did not happen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The system said no; `errno` tells a full disk (452, `NO [OVERQUOTA]`) from the rest.
    Sys(SysError),
    /// There is no such mailbox.  `NO [NONEXISTENT]`, `NO [TRYCREATE]`.
    NoMailbox,
    /// The mailbox is there already.  `NO [ALREADYEXISTS]`.
    Exists,
    /// The name cannot be a mailbox's.  `NO [CANNOT]`.
    BadName(BadName),
    /// The inbox cannot be deleted, a mailbox cannot become its own child.  `NO [CANNOT]`.
    Cannot(&'static str),
    /// The message is gone.  `NO [EXPUNGEISSUED]`.
    Gone,
    /// No room for one more of these: keywords of a mailbox, UIDs.  `NO [LIMIT]`.
    Limit(&'static str),
    /// Another program holds the lock.  `NO [INUSE]`, or try again.
    Locked(PathBuf),
    /// A file that is not what it should be: a link, of another owner, too big.  `NO [SERVERBUG]`.
    Suspect(PathBuf, &'static str),
    /// A file that belongs to another user than the one whose mail it is to hold.
    Foreign {
        /// Which.
        path: PathBuf,
        /// Its owner.
        is: u32,
        /// The owner that it should have.
        wants: u32,
    },
    /// A file of rmail's own that a later release wrote; it is not touched.
    Newer(PathBuf, u32),
}

impl Error {
    /// True when no space or quota is left on the file system.
    pub fn is_full(&self) -> bool {
        matches!(self, Error::Sys(e) if e.is_full())
    }

    /// True when a path does not exist.
    pub fn is_missing(&self) -> bool {
        matches!(self, Error::Sys(e) if e.is_missing())
    }
}

impl From<&Error> for Outcome {
    /// What an error of the mail store means to the sender of a message.  All are
    /// temporary: our own fault, and a full disk, bounce no mail.
    fn from(e: &Error) -> Outcome {
        match e {
            e if e.is_full() => Outcome::temp((3, 1), "mail system is full", e),
            Error::Locked(_) => Outcome::temp((2, 0), "mailbox is in use", e),
            e => Outcome::temp((3, 0), "local error", e),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Sys(e) => e.fmt(f),
            Error::NoMailbox => f.write_str("no such mailbox"),
            Error::Exists => f.write_str("mailbox exists already"),
            Error::BadName(e) => e.fmt(f),
            Error::Cannot(why) => f.write_str(why),
            Error::Gone => f.write_str("message is gone"),
            Error::Limit(what) => write!(f, "too many {what}"),
            Error::Locked(path) => write!(f, "{}: locked by another program", path.display()),
            Error::Suspect(path, why) => write!(f, "{}: {why}", path.display()),
            Error::Foreign { path, is, wants } => {
                let path = path.display();
                write!(
                    f,
                    "{path}: belongs to uid {is}, and not to uid {wants}: chown {wants} {path}"
                )
            }
            Error::Newer(path, version) => {
                write!(f, "{}: version {version}, written by a later rmail", path.display())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<SysError> for Error {
    fn from(e: SysError) -> Self {
        Error::Sys(e)
    }
}

impl From<BadName> for Error {
    fn from(e: BadName) -> Self {
        Error::BadName(e)
    }
}

/// Gives std's errors the call and the path, so that errno survives.
pub trait At<T> {
    /// The same result, the error naming `op` and `path`.
    fn at(self, op: &'static str, path: &Path) -> Result<T>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, op: &'static str, path: &Path) -> Result<T> {
        self.map_err(|e| Error::Sys(SysError::of(op, &e).at(path)))
    }
}
