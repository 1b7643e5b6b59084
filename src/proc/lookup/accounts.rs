//! Accounts: whose mailbox a login opens, and where a delivery goes.
//!
//! Only this process makes an account, and both ways to one lead through the
//! same code: a login is expanded as a recipient, so that what is delivered to
//! somebody is what he reads.  `userdb_mail` of a passwd table stands in place
//! of the action's path on both ways.

use super::expand::{address_of, Expander};
use super::format::{self, Values};
use super::users::Person;
use crate::base::clock::Deadline;
use crate::base::crypto::sha256;
use crate::conf::ast::{Action, Aliases, Deliver, Local, Method};
use crate::disk::aliases::Item;
use crate::disk::table::Unavailable;
use crate::ipc::parent::{Account, Program, Role, Target};
use crate::ipc::queue_lookup::{NoOpening, Opening};
use crate::ipc::smtp_lookup::{Destination, Origin, Verdict};
use crate::proto::addr::{split_detail, Mailbox};
use crate::proto::limits;
use std::path::{Path, PathBuf};

/// Where system mailboxes are.
const MAIL_SPOOL: &str = "/var/mail";
/// The file of an alias that takes mail and keeps none; aliases(5) of every
/// system has many.
const NOWHERE: &str = "/dev/null";
/// What programs find their commands with.
const PATH: &str = "/usr/bin:/bin:/usr/sbin:/sbin:/usr/local/bin:/usr/local/sbin";

fn temporary(e: Unavailable) -> NoOpening {
    NoOpening::Temporary { why: e.0 }
}

fn permanent(why: impl Into<String>) -> NoOpening {
    NoOpening::Permanent { why: why.into() }
}

/// A delivery, with what its parts come from.
struct Delivery<'a> {
    local: &'a Local,
    address: Mailbox,
    person: Person,
    values: Values,
}

impl Delivery<'_> {
    /// Behind virtual users and `user` stands one user of the system for many:
    /// his `.forward` is not theirs.
    fn is_shared(&self) -> bool {
        matches!(self.local.aliases, Some(Aliases::Virtual(_))) || self.local.user.is_some()
    }
}

impl Expander<'_> {
    /// What a destination means by the configuration in force: what queue is to
    /// say, and what parent is to open.
    ///
    /// `forward`: the user's `.forward` has not been asked yet.  A store asks it
    /// of its own accord; before a delivery by another process there is a store
    /// for that alone.
    pub fn deliver(
        &self,
        to: &Destination,
        sender: &str,
        rcpt: &str,
        forward: bool,
        deadline: Deadline,
    ) -> Result<(Opening, Target), NoOpening> {
        // Nobody knows whether an action that is gone comes back: mail waits.
        let gone = || NoOpening::Temporary { why: format!("no action \"{}\"", to.action) };
        let action = self.rules.config.action(&to.action).ok_or_else(gone)?;
        let Method::Local(local) = &action.method else {
            return Err(NoOpening::Temporary { why: format!("\"{}\" relays", to.action) });
        };
        let address = address_of(&to.dest, self.rules.server);
        let address = address.ok_or_else(|| permanent("not an address"))?;
        if to.item.is_some() {
            return self.deliver_item(to, local, &address, sender, rcpt, deadline);
        }
        let user = to.user.as_deref().ok_or_else(|| permanent("no user"))?;
        let d = self.delivery(local, address, user, sender, rcpt, deadline)?;
        let by_another =
            matches!(local.deliver, Deliver::Mbox | Deliver::Mda(_) | Deliver::Lmtp { .. });
        if forward && by_another && self.forwards(&d) {
            let target = Target::Store { account: self.forwarder(&d), role: Role::Deliver };
            return Ok((Opening::Forward, target));
        }
        match &local.deliver {
            Deliver::Maildir { junk, .. } => {
                let account = self.account(&d)?;
                let delim = self.rules.config.sub_addr_delim();
                let (_, detail) = split_detail(d.address.local(), delim);
                let opening = Opening::Store { junk: *junk, detail: detail.map(str::to_string) };
                Ok((opening, Target::Store { account, role: Role::Deliver }))
            }
            Deliver::Mbox => {
                let Person { name, uid, gid, .. } = d.person;
                let path = Path::new(MAIL_SPOOL).join(&name);
                let opening = Opening::Mbox { user: name.clone() };
                Ok((opening, Target::Mbox { user: name, uid, gid, path }))
            }
            Deliver::Mda(command) => {
                let bad = |e: format::Unsafe| permanent(e.0);
                let words = format::command(command, &d.values).map_err(bad)?;
                let program = self.program(&d, words)?;
                Ok((Opening::Program, Target::Program { program }))
            }
            Deliver::Lmtp { .. } => Err(NoOpening::Mta),
            Deliver::ExpandOnly => Err(permanent("no file or command takes this address")),
            Deliver::ForwardOnly => Err(permanent("this address is not forwarded")),
        }
    }

    /// The user that a local action delivers as, and the values of formats.
    fn delivery<'a>(
        &self,
        local: &'a Local,
        address: Mailbox,
        user: &str,
        sender: &str,
        rcpt: &str,
        deadline: Deadline,
    ) -> Result<Delivery<'a>, NoOpening> {
        let person = self.users.of_action(self.rules.tables, local, user, deadline);
        let person = person.map_err(temporary)?;
        let mut person = person.ok_or_else(|| permanent(format!("no user \"{user}\"")))?;
        if let Some(other) = &local.user {
            person = self.many(local, other, deadline)?;
        }
        let barred = self.barred(local, &person);
        let values = Values {
            sender: sender.to_string(),
            rcpt: rcpt.to_string(),
            dest: plain(&address),
            user: person.name.clone(),
            home: person.home.display().to_string(),
            mda: Vec::new(),
            delim: self.rules.config.sub_addr_delim(),
        };
        let d = Delivery { local, address, person, values };
        match barred {
            None => Ok(d),
            // The user for many is the administrator's choice, and his mistake
            // is no reason to bounce mail.
            Some(why) if d.is_shared() => Err(NoOpening::Temporary { why }),
            Some(why) => Err(permanent(why)),
        }
    }

    /// The user that `user` names: of the action's table, else of the system.
    fn many(&self, local: &Local, name: &str, deadline: Deadline) -> Result<Person, NoOpening> {
        let found = self.users.of_action(self.rules.tables, local, name, deadline);
        let found = match found.map_err(temporary)? {
            Some(p) => Some(p),
            None => self.users.system(name, deadline).map_err(temporary)?,
        };
        // The administrator's mistake is no reason to bounce mail.
        found.ok_or_else(|| NoOpening::Temporary { why: format!("no user \"{name}\"") })
    }

    /// Why nothing is delivered as this user.  Parent would refuse it too, but
    /// only once the mail has been accepted.
    fn barred(&self, local: &Local, person: &Person) -> Option<String> {
        if person.uid == 0 {
            return Some("nothing is delivered as root".to_string());
        }
        let store = matches!(local.deliver, Deliver::Maildir { .. });
        let program = matches!(local.deliver, Deliver::Mda(_)) && local.user.is_none();
        if store || program {
            self.without_store(person)
        } else {
            self.is_own(person)
        }
    }

    /// Why parent opens no store for this user.
    fn without_store(&self, person: &Person) -> Option<String> {
        self.own.guarded.as_ref()?;
        let Person { name, uid, gid, .. } = person;
        if u64::from(*uid) < self.rules.config.limit(&limits::STORE_MIN_UID) {
            return Some(format!("uid {uid} of \"{name}\" is below store-min-uid"));
        }
        if *gid == 0 {
            return Some(format!("the group of \"{name}\" is 0"));
        }
        self.is_own(person)
    }

    /// Whether this is one of rmail's own users, who have no mail.
    fn is_own(&self, person: &Person) -> Option<String> {
        let own = self.own.guarded.as_ref()?.contains(&person.uid);
        own.then(|| format!("\"{}\" is one of rmail's own users", person.name))
    }

    /// The account of a delivery into a Maildir.
    fn account(&self, d: &Delivery<'_>) -> Result<Account, NoOpening> {
        let Deliver::Maildir { path, .. } = &d.local.deliver else {
            return Err(permanent("not a Maildir"));
        };
        let plain = plain(&d.address.without_detail(d.values.delim));
        let mail_root = match (self.rules.tables.mail_root(&plain), path) {
            (Some(root), _) => root,
            (None, Some(path)) => format::path(path, &d.values).map_err(|e| permanent(e.0))?,
            (None, None) => format!("{}/Maildir", d.values.home),
        };
        let shared = d.is_shared() || d.local.userbase.is_some();
        let name = if shared { plain } else { d.person.name.clone() };
        let own_home = !shared || (d.local.userbase.is_some() && d.local.user.is_none());
        let home = if own_home { d.person.home.clone() } else { PathBuf::from(&mail_root) };
        Ok(Account {
            name,
            uid: d.person.uid,
            gid: d.person.gid,
            home,
            mail_root: Some(mail_root.into()),
            forward: !d.is_shared(),
            system: !shared && d.person.can_log_in(),
        })
    }

    /// Whether there is a `.forward` to ask: that of a user of his own, for whom
    /// parent opens a store.
    fn forwards(&self, d: &Delivery<'_>) -> bool {
        !d.is_shared() && self.without_store(&d.person).is_none()
    }

    /// The account that tells what `.forward` says, and has no mailbox.
    fn forwarder(&self, d: &Delivery<'_>) -> Account {
        Account {
            name: d.person.name.clone(),
            uid: d.person.uid,
            gid: d.person.gid,
            home: d.person.home.clone(),
            mail_root: None,
            forward: true,
            system: d.local.userbase.is_none() && d.person.can_log_in(),
        }
    }

    /// A program run as the delivery's user, inside the action's wrapper.
    fn program(&self, d: &Delivery<'_>, mut words: Vec<String>) -> Result<Program, NoOpening> {
        if let Some(name) = &d.local.wrapper {
            let missing = || NoOpening::Temporary { why: format!("no wrapper \"{name}\"") };
            let wrapper = self.rules.config.wrapper(name).ok_or_else(missing)?;
            let values = Values { mda: words, ..d.values.clone() };
            words = format::command(&wrapper.command, &values).map_err(|e| permanent(e.0))?;
        }
        let (local, detail) = split_detail(d.address.local(), d.values.delim);
        let shell = d.person.shell.as_ref().map(|s| s.display().to_string());
        let env = [
            ("PATH", PATH),
            ("DOMAIN", d.address.domain().as_str()),
            ("EXTENSION", detail.unwrap_or_default()),
            ("HOME", d.values.home.as_str()),
            ("LOCAL", local),
            ("LOGNAME", d.person.name.as_str()),
            ("ORIGINAL_RECIPIENT", d.values.rcpt.as_str()),
            ("RECIPIENT", d.values.dest.as_str()),
            ("SENDER", d.values.sender.as_str()),
            ("SHELL", shell.as_deref().unwrap_or("/bin/sh")),
            ("USER", d.person.name.as_str()),
        ];
        Ok(Program {
            argv: words.into_iter().map(String::into_bytes).collect(),
            user: d.person.name.clone(),
            uid: d.person.uid,
            gid: d.person.gid,
            home: d.person.home.clone(),
            env: env.iter().map(|(k, v)| format!("{k}={v}").into_bytes()).collect(),
        })
    }

    /// A file or command of an alias, as the user for those: found in the table
    /// again, since an envelope holds no command.
    fn deliver_item(
        &self,
        to: &Destination,
        local: &Local,
        address: &Mailbox,
        sender: &str,
        rcpt: &str,
        deadline: Deadline,
    ) -> Result<(Opening, Target), NoOpening> {
        let item = to.item.as_ref().ok_or_else(|| permanent("no item"))?;
        // The sender did nothing wrong: it waits for the alias, or for whoever
        // removes it.  Another command is not taken for it: one that the table
        // has now may have had this message.
        let changed = || NoOpening::Temporary {
            why: format!(
                "alias \"{}\" no longer has what this mail was taken for: \
                 put it back, or rmailctl remove",
                item.key
            ),
        };
        let table = match &local.aliases {
            Some(Aliases::Alias(t) | Aliases::Virtual(t)) => t,
            None => return Err(changed()),
        };
        let found = self.alias(table, std::slice::from_ref(&item.key), deadline);
        let (_, items) = found.map_err(temporary)?.ok_or_else(changed)?;
        let text = items.iter().find_map(|i| {
            let text = match i {
                Item::File(path) => path.clone(),
                Item::Command(command) => format!("|{command}"),
                _ => return None,
            };
            (sha256(text.as_bytes()) == item.digest).then_some(text)
        });
        let text = text.ok_or_else(changed)?;
        if text == NOWHERE {
            return Err(NoOpening::Discard);
        }
        let person = self.own.of_aliases.clone();
        match text.strip_prefix('|') {
            None => {
                let Person { name, uid, gid, .. } = person;
                let opening = Opening::File { user: name.clone() };
                Ok((opening, Target::Mbox { user: name, uid, gid, path: text.into() }))
            }
            Some(command) => {
                let values = Values {
                    sender: sender.to_string(),
                    rcpt: rcpt.to_string(),
                    dest: plain(address),
                    user: person.name.clone(),
                    home: person.home.display().to_string(),
                    mda: Vec::new(),
                    delim: self.rules.config.sub_addr_delim(),
                };
                // The table is the administrator's, and its commands are for sh(1).
                let words = vec!["/bin/sh".to_string(), "-c".to_string(), command.to_string()];
                let d = Delivery { local, address: address.clone(), person, values };
                Ok((Opening::Program, Target::Program { program: self.program(&d, words)? }))
            }
        }
    }

    /// The account that a login opens; the inner error says why there is none.
    ///
    /// `table` is the one that the password was in.
    pub fn login(
        &self,
        table: &str,
        login: &str,
        deadline: Deadline,
    ) -> Result<Result<Account, String>, Unavailable> {
        let why = match self.login_by_rules(login, deadline)? {
            Ok(account) => return Ok(Ok(account)),
            Err(why) => why,
        };
        let Some(root) = self.rules.config.mailbox_root() else { return Ok(Err(why)) };
        let person = match self.rules.tables.passwd_user(table, login) {
            Some(info) => Some(self.users.of_info(&info, login, deadline)?),
            None => self.users.system(login, deadline)?,
        };
        let Some(person) = person else {
            return Ok(Err(format!("{why}, and no uid is known for mailbox root")));
        };
        let values = Values {
            rcpt: login.to_string(),
            dest: login.to_string(),
            user: person.name.clone(),
            home: person.home.display().to_string(),
            delim: self.rules.config.sub_addr_delim(),
            ..Values::default()
        };
        let own_root = self.rules.tables.mail_root(login);
        let mail_root = match own_root.map(Ok).unwrap_or_else(|| format::path(root, &values)) {
            Ok(root) => PathBuf::from(root),
            Err(e) => return Ok(Err(e.0)),
        };
        Ok(Ok(Account {
            name: login.to_string(),
            uid: person.uid,
            gid: person.gid,
            system: person.can_log_in(),
            home: person.home,
            mail_root: Some(mail_root),
            forward: false,
        }))
    }

    /// A login is the recipient of its name, and must lead to one Maildir.
    fn login_by_rules(
        &self,
        login: &str,
        deadline: Deadline,
    ) -> Result<Result<Account, String>, Unavailable> {
        let Some(address) = address_of(login, self.rules.server) else {
            return Ok(Err("the name is not an address".to_string()));
        };
        let origin = Origin::default();
        let verdict = self.expand(&origin, true, "", &address, deadline);
        let to = match verdict {
            Verdict::Accepted { to } => to,
            Verdict::Unavailable { why } => return Err(Unavailable(why)),
            Verdict::Denied { why } | Verdict::Loop { why } | Verdict::NoSuchUser { why } => {
                return Ok(Err(why));
            }
            Verdict::Refused { text, .. } => return Ok(Err(text)),
        };
        let [to] = to.as_slice() else {
            return Ok(Err("the address leads to several places".to_string()));
        };
        match self.deliver(to, "", login, false, deadline) {
            Ok((_, Target::Store { account, .. })) => Ok(Ok(account)),
            Ok(_) => Ok(Err("the address does not lead to a Maildir".to_string())),
            Err(NoOpening::Temporary { why }) => Ok(Err(why)),
            Err(NoOpening::Permanent { why }) => Ok(Err(why)),
            Err(NoOpening::Mta) => Ok(Err("the mail goes to an LMTP server".to_string())),
            Err(NoOpening::Discard) => Ok(Err("the mail goes to /dev/null".to_string())),
        }
    }

    /// Every login of a passwd table that opens no mailbox, or another one than
    /// the action of its address names: a line for the administrator.
    pub fn check_logins(&self, deadline: Deadline) -> Vec<String> {
        let mut lines = Vec::new();
        for (table, login) in self.rules.tables.logins() {
            match self.login(table, login, deadline) {
                Err(e) => lines.push(format!("{login}: {}", e.0)),
                Ok(Err(why)) => lines.push(format!("{login}: the login opens no mailbox: {why}")),
                Ok(Ok(account)) => {
                    if let Some(path) = self.action_path(login, deadline) {
                        let root = account.mail_root.unwrap_or_default();
                        if Path::new(&path) != root {
                            lines.push(format!(
                                "{login}: userdb_mail {} stands in place of {path}, which the action names: mail delivered there before is not seen",
                                root.display()
                            ));
                        }
                    }
                }
            }
        }
        lines
    }

    /// What is wrong with the local actions, whoever gets mail by them: a line
    /// for the administrator.
    pub fn check_actions(&self, deadline: Deadline) -> Vec<String> {
        let mut lines = Vec::new();
        for action in self.rules.config.actions() {
            let Method::Local(local) = &action.method else { continue };
            let name = &action.name;
            if let Deliver::Maildir { path: Some(path), .. } = &local.deliver {
                for value in format::keeping_case(path) {
                    lines.push(format!("action \"{name}\": %{{{value}}} keeps the case of addresses, so mail to User@ and to user@ lies in two places: write %{{{value}:lowercase}}, after moving what lies in the others"));
                }
            }
            let Some(user) = &local.user else { continue };
            match self.many(local, user, deadline) {
                Ok(person) => {
                    if let Some(why) = self.barred(local, &person) {
                        lines.push(format!("action \"{name}\": {why}: its mail is answered 451"));
                    }
                }
                Err(NoOpening::Temporary { why } | NoOpening::Permanent { why }) => {
                    lines.push(format!("action \"{name}\": {why}"));
                }
                Err(NoOpening::Mta | NoOpening::Discard) => {}
            }
        }
        lines
    }

    /// The path that the action of an address names, whatever tables say.
    fn action_path(&self, login: &str, deadline: Deadline) -> Option<String> {
        let address = address_of(login, self.rules.server)?;
        let verdict = self.expand(&Origin::default(), true, "", &address, deadline);
        let Verdict::Accepted { to } = verdict else { return None };
        let to = to.first()?;
        let action: &Action = self.rules.config.action(&to.action)?;
        let Method::Local(local) = &action.method else { return None };
        let Deliver::Maildir { path, .. } = &local.deliver else { return None };
        let address = address_of(&to.dest, self.rules.server)?;
        let user = to.user.as_deref()?;
        let d = self.delivery(local, address, user, "", login, deadline).ok()?;
        match path {
            Some(path) => format::path(path, &d.values).ok(),
            None => Some(format!("{}/Maildir", d.values.home)),
        }
    }
}

/// An address as formats and tables have it: not quoted.
fn plain(address: &Mailbox) -> String {
    format!("{}@{}", address.local(), address.domain().as_str())
}

#[cfg(test)]
mod tests;
