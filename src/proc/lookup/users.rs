//! Users: of the system, asked of parent, and of `userbase` tables.
//!
//! The system's user database may need libraries and files that a confined
//! process cannot have (NSS on Linux), so parent reads it; answers are kept for
//! a minute.  Names of groups come from /etc/group, which this process may read.

use super::tables::Tables;
use crate::base::clock::{Deadline, Since};
use crate::base::lock;
use crate::conf::ast::{Local, TableRef};
use crate::disk::table::{Id, Service, Unavailable, UserInfo, Value};
use crate::ipc::openings::Slots;
use crate::ipc::parent::{SystemUser, Up};
use crate::proc::start::Parent;
use crate::sys::user::{Group, User};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

/// How long a user of the system is believed.
const KEEP: Duration = Duration::from_secs(60);
/// How many users are kept: senders make names up.
const KEPT_MAX: usize = 10_000;
/// How long parent has for an answer.
const ANSWER: Duration = Duration::from_secs(10);

/// A user that mail can be delivered as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// The login name.
    pub name: String,
    /// The user id.
    pub uid: u32,
    /// The group id.
    pub gid: u32,
    /// The home directory.
    pub home: PathBuf,
    /// The login shell; none for a user of a table.
    pub shell: Option<PathBuf>,
}

impl Person {
    /// A user of the system whose shell lets him in; without a name it is sh(1).
    pub fn can_log_in(&self) -> bool {
        let closed = |shell: &PathBuf| shell.ends_with("nologin") || shell.ends_with("false");
        self.shell.as_ref().is_some_and(|shell| !closed(shell))
    }
}

/// Where users are looked up.
pub trait Users: Sync {
    /// The system's user of this name.
    fn system(&self, name: &str, deadline: Deadline) -> Result<Option<Person>, Unavailable>;

    /// The id of the system's group of this name.
    fn group(&self, name: &str) -> Result<Option<u32>, Unavailable>;

    /// The user of this name for a local action: of its `userbase`, else of the
    /// system.
    fn of_action(
        &self,
        tables: &Tables,
        local: &Local,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Person>, Unavailable> {
        match &local.userbase {
            None => self.system(name, deadline),
            Some(table) => self.of_table(tables, table, name, deadline),
        }
    }

    /// The user of this name in a table.
    fn of_table(
        &self,
        tables: &Tables,
        table: &TableRef,
        name: &str,
        deadline: Deadline,
    ) -> Result<Option<Person>, Unavailable> {
        let Some(Value::User(info)) = tables.ask(table, Service::UserInfo, name, deadline)? else {
            return Ok(None);
        };
        self.of_info(&info, name, deadline).map(Some)
    }

    /// A user of a table, with names of the system's users and groups resolved.
    fn of_info(
        &self,
        info: &UserInfo,
        name: &str,
        deadline: Deadline,
    ) -> Result<Person, Unavailable> {
        let missing = |what: &str, n: &str| Unavailable(format!("user {name}: no {what} \"{n}\""));
        let uid = match &info.uid {
            Id::Number(n) => *n,
            Id::Name(n) => self.system(n, deadline)?.ok_or_else(|| missing("system user", n))?.uid,
        };
        let gid = match &info.gid {
            Id::Number(n) => *n,
            Id::Name(n) => self.group(n)?.ok_or_else(|| missing("system group", n))?,
        };
        let home = PathBuf::from(&info.home);
        Ok(Person { name: name.to_string(), uid, gid, home, shell: None })
    }
}

/// The users of the system, by way of parent.  Any thread.
pub struct System {
    parent: Parent,
    /// Requests that parent has not answered yet.
    pub asked: Slots<Option<SystemUser>>,
    known: Mutex<HashMap<String, (Since, Option<Person>)>>,
}

impl System {
    /// Knows nobody yet.
    pub fn new(parent: Parent) -> System {
        System { parent, asked: Slots::default(), known: Mutex::new(HashMap::new()) }
    }

    /// The name that belongs to a user id, of the system.
    pub fn name_of(&self, uid: u32, deadline: Deadline) -> Result<Option<String>, Unavailable> {
        let slot = self.asked.begin();
        let ask = Up::GetUserById { uid, request: slot.request };
        self.parent.tell(&ask, None).map_err(|e| Unavailable(e.to_string()))?;
        let user = slot.wait(deadline.within(ANSWER));
        user.map(|u| u.map(|u| u.name)).map_err(|e| Unavailable(format!("uid {uid}: {e}")))
    }
}

impl Users for System {
    fn system(&self, name: &str, deadline: Deadline) -> Result<Option<Person>, Unavailable> {
        if let Some((since, person)) = lock::lock(&self.known).get(name) {
            if since.elapsed() < KEEP {
                return Ok(person.clone());
            }
        }
        let slot = self.asked.begin();
        let ask = Up::GetUser { name: name.to_string(), request: slot.request };
        self.parent.tell(&ask, None).map_err(|e| Unavailable(e.to_string()))?;
        let user = slot.wait(deadline.within(ANSWER));
        let user = user.map_err(|e| Unavailable(format!("user {name}: {e}")))?;
        let person = user.map(|u| Person {
            name: u.name,
            uid: u.uid,
            gid: u.gid,
            home: u.home,
            shell: Some(u.shell),
        });
        let mut known = lock::lock(&self.known);
        if known.len() >= KEPT_MAX {
            known.clear();
        }
        known.insert(name.to_string(), (Since::now(), person.clone()));
        Ok(person)
    }

    fn group(&self, name: &str) -> Result<Option<u32>, Unavailable> {
        // group(5): name:password:gid:members
        let text = std::fs::read_to_string("/etc/group")
            .map_err(|e| Unavailable(format!("/etc/group: {e}")))?;
        Ok(text.lines().find_map(|line| {
            let mut fields = line.split(':');
            let found = fields.next() == Some(name);
            fields.nth(1).filter(|_| found)?.parse().ok()
        }))
    }
}

/// The users of the system for a check that no confined process makes.
pub struct Direct;

impl Users for Direct {
    fn system(&self, name: &str, _: Deadline) -> Result<Option<Person>, Unavailable> {
        let found = User::by_name(name).map_err(|e| Unavailable(e.to_string()))?;
        Ok(found.map(|u| Person {
            name: u.name,
            uid: u.uid,
            gid: u.gid,
            home: u.home,
            shell: Some(u.shell),
        }))
    }

    fn group(&self, name: &str) -> Result<Option<u32>, Unavailable> {
        let found = Group::by_name(name).map_err(|e| Unavailable(e.to_string()))?;
        Ok(found.map(|g| g.gid))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    /// rmail's own among them.
    pub fn own() -> super::super::own::Own {
        let of_aliases = Person {
            name: "_rmaila".into(),
            uid: 901,
            gid: 901,
            home: "/var/empty".into(),
            shell: None,
        };
        super::super::own::Own { guarded: Some(vec![900, 901]), of_aliases }
    }

    /// A system of a few users.
    pub struct Few;

    impl Users for Few {
        fn system(&self, name: &str, _: Deadline) -> Result<Option<Person>, Unavailable> {
            let uid = match name {
                "root" => 0,
                "ann" => 1001,
                "bob" => 1002,
                "vmail" => 2000,
                "sys" => 499,
                "_rmaild" => 900,
                "_rmaila" => 901,
                "down" => return Err(Unavailable("down".into())),
                _ => return Ok(None),
            };
            Ok(Some(Person {
                name: name.into(),
                uid,
                gid: uid,
                home: format!("/home/{name}").into(),
                shell: Some("/bin/sh".into()),
            }))
        }
        fn group(&self, name: &str) -> Result<Option<u32>, Unavailable> {
            Ok((name == "mail").then_some(8))
        }
    }
}
