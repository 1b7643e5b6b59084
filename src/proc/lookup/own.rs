//! rmail's own users: who gets no mail, and who runs what aliases name.
//!
//! Read from the system once, before the process gives up root: a recipient's
//! fate must not hang on the system's user database.

use super::users::Person;
use crate::proc::table;
use crate::sys::user::{self, User};

/// What the system said of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Own {
    /// Their uids, if the daemon was started by root: parent then opens nothing
    /// for them, nor for other users of the system.
    pub guarded: Option<Vec<u32>>,
    /// Whom files and commands of aliases belong to: a user with nothing else, so
    /// that a command can neither signal nor trace a process of rmail's; without
    /// root, whoever started the daemon.
    pub of_aliases: Person,
}

impl Own {
    /// Asks the system; while this process is root still, if parent is.
    pub fn load() -> Result<Own, String> {
        if !user::is_root() {
            let me = User::me().map_err(|e| e.to_string())?;
            // A uid without a row is no reason to run nothing.
            let (uid, gid) = (user::uid(), user::gid());
            let me = me.map(|u| (u.name, u.home));
            let (name, home) = me.unwrap_or_else(|| (table::USER_ALIAS.into(), "/".into()));
            return Ok(Own {
                guarded: None,
                of_aliases: Person { name, uid, gid, home, shell: None },
            });
        }
        let row = |name: &str| {
            let found = User::by_name(name).map_err(|e| format!("user {name}: {e}"))?;
            found.ok_or_else(|| table::no_user(name))
        };
        let uids = table::USERS.iter().map(|name| row(name).map(|u| u.uid));
        let guarded = uids.collect::<Result<Vec<u32>, String>>()?;
        let User { name, uid, gid, home, .. } = row(table::USER_ALIAS)?;
        // Its shell lets nobody in: commands are for sh(1).
        let of_aliases = Person { name, uid, gid, home, shell: None };
        Ok(Own { guarded: Some(guarded), of_aliases })
    }
}
