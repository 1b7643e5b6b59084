//! What the configuration lets lookup have opened.
//!
//! lookup reads answers from the network, and parent does as root what lookup
//! asks for; so each target is held against what parent has read itself: the
//! configuration, its tables and the system's users.  A lookup that was taken
//! gets what it could have had by a delivery, and nothing beside.

use crate::base::clock::Deadline;
use crate::conf::ast::{Config, Deliver, Entries, LmtpDest, Method, TableKind, TableRef};
use crate::conf::Use;
use crate::disk::aliases::{self, Item};
use crate::disk::table::{Id, Passwd, Service, Static, Table, UserInfo, Value};
use crate::ipc::parent::{Account, File, Program};
use crate::proc::table;
use crate::proto::limits;
use crate::sys::user::{self, Group, User};
use std::collections::{HashMap, HashSet};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

/// Where system mailboxes are.
const MAIL_SPOOL: &str = "/var/mail";

/// Why something is not opened.
type Verdict = Result<(), String>;

/// Who mail may be delivered as: a row of the password database or a table.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Row {
    name: String,
    gid: u32,
    home: PathBuf,
}

/// All that may be opened.
#[derive(Default)]
pub struct Grants {
    /// What mail roots begin with.
    pub mail_prefixes: Vec<PathBuf>,
    /// LMTP servers.
    sockets: HashSet<PathBuf>,
    /// `/file` of aliases.
    files: HashSet<PathBuf>,
    /// `|command` of aliases.
    commands: HashSet<String>,
    /// Users of tables by their uid.
    people: HashMap<u32, HashSet<Row>>,
    /// An action with aliases has a wrapper.
    wrapped: bool,
    /// Who actions name with `user`.
    named: Vec<String>,
    /// `limit store-min-uid`.
    min_uid: u32,
}

impl Grants {
    /// Of a configuration that was checked, with its files.
    pub fn of<'a>(config: &Config, files: impl Iterator<Item = &'a File> + Clone) -> Grants {
        let mut grants = Grants {
            min_uid: u32::try_from(config.limit(&limits::STORE_MIN_UID)).unwrap_or(u32::MAX),
            ..Grants::default()
        };
        for action in config.actions() {
            let Method::Local(local) = &action.method else { continue };
            grants.named.extend(local.user.clone());
            grants.wrapped |= local.aliases.is_some() && local.wrapper.is_some();
            if let Deliver::Lmtp { dest: LmtpDest::Unix(path), .. } = &local.deliver {
                grants.sockets.insert(path.into());
            }
        }
        let bytes = |path: &str| {
            files.clone().find(|f| f.path == Path::new(path)).map(|f| f.bytes.as_slice())
        };
        let mut seen = Seen::default();
        for table in config.tables() {
            let uses = config.uses_of(&table.name);
            let people = uses.contains(&Use::UserInfo) || uses.contains(&Use::Credentials);
            let aliases = uses.contains(&Use::Alias) || uses.contains(&Use::Virtual);
            match &table.kind {
                TableKind::Passwd(path) if people => {
                    let Some(Ok(passwd)) = bytes(path).map(Passwd::parse) else { continue };
                    grants.add_people(&passwd, passwd.names(), &mut seen);
                }
                TableKind::File(path) => {
                    let Some(Ok(table)) = bytes(path).map(Static::parse) else { continue };
                    grants.add_static(&table, people, aliases, &mut seen, &bytes);
                }
                TableKind::Inline(entries) => {
                    grants.add_static(&of_entries(entries), people, aliases, &mut seen, &bytes);
                }
                TableKind::Passwd(_) | TableKind::Elsewhere => {}
            }
        }
        for (_, table, used) in config.table_uses() {
            let TableRef::Inline(entries) = table else { continue };
            let aliases = matches!(used, Use::Alias | Use::Virtual);
            let people = used == Use::UserInfo;
            grants.add_static(&of_entries(entries), people, aliases, &mut seen, &bytes);
        }
        grants
    }

    fn add_static<'a>(
        &mut self,
        table: &Static,
        people: bool,
        aliases: bool,
        seen: &mut Seen,
        bytes: &dyn Fn(&str) -> Option<&'a [u8]>,
    ) {
        if people {
            self.add_people(table, table.entries().map(|(k, _)| k), seen);
        }
        if aliases {
            for value in table.entries().filter_map(|(_, v)| v) {
                self.add_items(aliases::parse_value(value).unwrap_or_default(), bytes);
            }
        }
    }

    fn add_items<'a>(&mut self, items: Vec<Item>, bytes: &dyn Fn(&str) -> Option<&'a [u8]>) {
        for item in items {
            match item {
                Item::File(path) => {
                    self.files.insert(path.into());
                }
                Item::Command(command) => {
                    self.commands.insert(command);
                }
                Item::Include(path) => {
                    let text = bytes(&path).map(String::from_utf8_lossy).unwrap_or_default();
                    // One that an included file includes is not read.
                    self.add_items(aliases::parse_file(&text).unwrap_or_default(), &|_| None);
                }
                Item::Error { .. } | Item::Address(_) | Item::Name(_) => {}
            }
        }
    }

    fn add_people<'k>(
        &mut self,
        table: &impl Table,
        names: impl Iterator<Item = &'k str>,
        seen: &mut Seen,
    ) {
        for name in names {
            let found = table.lookup(Service::UserInfo, name, Deadline::NEVER);
            let Ok(Some(Value::User(UserInfo { uid, gid, home, .. }))) = found else { continue };
            let (Some(uid), Some(gid)) = (seen.uid(&uid), seen.gid(&gid)) else { continue };
            let row = Row { name: name.to_lowercase(), gid, home: home.into() };
            self.people.entry(uid).or_default().insert(row);
        }
    }

    /// The rows of `uid` in the password database: by the number, and by a name
    /// when several share it.
    fn system(uid: u32, names: &[&str]) -> Vec<User> {
        let mut all: Vec<User> = User::by_uid(uid).ok().flatten().into_iter().collect();
        for name in names {
            if !all.iter().any(|u| u.name == *name) {
                let named = User::by_name(name).ok().flatten();
                all.extend(named.filter(|u| u.uid == uid));
            }
        }
        all
    }

    /// The configuration itself names the user of this uid in an action.
    fn is_named(&self, uid: u32) -> bool {
        let rows = self.people.get(&uid);
        self.named.iter().any(|name| {
            rows.is_some_and(|rows| rows.iter().any(|r| r.name == name.to_lowercase()))
                || User::by_name(name).ok().flatten().is_some_and(|u| u.uid == uid)
        })
    }

    /// Somebody has both ids, and is neither root nor one of rmail's own.
    fn ids(&self, uid: u32, gid: u32, name: &str) -> Verdict {
        // Without root all is done as whoever started the daemon.
        if !user::is_root() {
            return Ok(());
        }
        if uid == 0 || gid == 0 && !self.is_named(uid) {
            return Err("uid or gid 0".into());
        }
        let of_table = self.people.get(&uid).is_some_and(|r| r.iter().any(|r| r.gid == gid));
        if !of_table && !Self::system(uid, &[name]).iter().any(|u| u.gid == gid) {
            return Err(format!("nobody has uid {uid} and gid {gid}"));
        }
        if is_own(uid) && !self.is_named(uid) {
            return Err(format!("uid {uid} is one of rmail's own"));
        }
        Ok(())
    }

    fn least(&self, uid: u32) -> Verdict {
        if user::is_root() && uid < self.min_uid {
            return Err(format!("uid {uid} is below limit store-min-uid"));
        }
        Ok(())
    }

    /// The store of an account.
    pub fn store(&self, account: &Account) -> Verdict {
        let Account { uid, gid, home, .. } = account;
        self.ids(*uid, *gid, &account.name)?;
        self.least(*uid)?;
        if user::is_root() && is_own(*uid) {
            return Err(format!("uid {uid} is one of rmail's own"));
        }
        let mut names = vec![account.name.as_str()];
        names.extend(self.named.iter().map(String::as_str));
        let system = Self::system(*uid, &names);
        let of_table = self.people.get(uid);
        let of_somebody = system.iter().any(|u| u.home == *home)
            || of_table.is_some_and(|rows| rows.iter().any(|r| r.home == *home));
        // The home of many who share a uid is each one's mail root.
        if !of_somebody && account.mail_root.as_ref() != Some(home) {
            return Err(format!("{} is nobody's home with uid {uid}", home.display()));
        }
        if account.system && !system.iter().any(|u| u.home == *home) {
            return Err(format!("uid {uid} is no user of the system"));
        }
        let Some(mail_root) = &account.mail_root else { return Ok(()) };
        if !is_plain(mail_root) {
            return Err(format!("mail root {} is not a plain absolute path", mail_root.display()));
        }
        let below = |home: &Path| home.components().count() > 1 && mail_root.starts_with(home);
        let named = |r: &&Row| self.named.iter().any(|n| n.to_lowercase() == r.name);
        let may = (of_somebody && below(home))
            || system.iter().any(|u| below(&u.home))
            || of_table.is_some_and(|rows| rows.iter().filter(named).any(|r| below(&r.home)))
            || self.mail_prefixes.iter().any(|prefix| {
                mail_root.as_os_str().as_bytes().starts_with(prefix.as_os_str().as_bytes())
            });
        match may {
            true => Ok(()),
            false => {
                Err(format!("no action of the configuration leads to {}", mail_root.display()))
            }
        }
    }

    /// A system mailbox, or a file of an alias, which is the user's for those.
    pub fn mbox(&self, name: &str, uid: u32, gid: u32, path: &Path) -> Verdict {
        if self.files.contains(path) && is_plain(path) {
            return match alias_user() {
                Some(ids) if ids == (uid, gid) => Ok(()),
                _ => Err(format!("{} is not for uid {uid}", path.display())),
            };
        }
        let mut spool = Path::new(MAIL_SPOOL).components();
        let mut parts = path.components();
        let in_spool = spool.all(|c| parts.next() == Some(c));
        let last = parts.next() == Some(Component::Normal(name.as_ref())) && parts.next().is_none();
        if !in_spool || !last {
            return Err(format!("{} is no mailbox of \"{name}\"", path.display()));
        }
        self.ids(uid, gid, name)?;
        let row = |r: &Row| r.gid == gid && r.name == name.to_lowercase();
        let of_table = self.people.get(&uid).is_some_and(|rows| rows.iter().any(row));
        let is = |u: &User| u.gid == gid && u.name == name;
        if user::is_root() && !of_table && !Self::system(uid, &[name]).iter().any(is) {
            return Err(format!("\"{name}\" has other ids than {uid} and {gid}"));
        }
        Ok(())
    }

    /// A program of an action, or the command of an alias.
    pub fn program(&self, program: &Program) -> Verdict {
        let ids = (program.uid, program.gid);
        if self.is_command(&program.argv) && alias_user() == Some(ids) {
            return Ok(());
        }
        self.ids(program.uid, program.gid, &program.user)?;
        if self.is_named(program.uid) {
            return Ok(());
        }
        self.least(program.uid)
    }

    /// `sh -c` with what an alias says; in a wrapper, it stands somewhere.
    fn is_command(&self, argv: &[Vec<u8>]) -> bool {
        let words: Option<Vec<&str>> =
            argv.iter().map(|word| std::str::from_utf8(word).ok()).collect();
        let words = words.unwrap_or_default();
        let is = |words: &[&str]| match words {
            ["/bin/sh", "-c", command] => self.commands.contains(*command),
            _ => false,
        };
        // A wrapper for the shell has it with each quote as the shell wants it.
        let holds = |word: &&str| {
            let plain = word.replace("'\\''", "'");
            self.commands.iter().any(|command| plain.contains(command))
        };
        is(&words) || self.wrapped && (words.windows(3).any(is) || words.iter().any(holds))
    }

    /// The socket of an LMTP server.
    pub fn socket(&self, path: &Path) -> Verdict {
        match self.sockets.contains(path) {
            true => Ok(()),
            false => Err(format!("{} is no LMTP server of the configuration", path.display())),
        }
    }
}

/// Names in tables, each asked once.
#[derive(Default)]
struct Seen {
    uids: HashMap<String, Option<u32>>,
    gids: HashMap<String, Option<u32>>,
}

impl Seen {
    fn uid(&mut self, id: &Id) -> Option<u32> {
        match id {
            Id::Number(n) => Some(*n),
            Id::Name(n) => {
                let ask = || User::by_name(n).ok().flatten().map(|u| u.uid);
                *self.uids.entry(n.clone()).or_insert_with(ask)
            }
        }
    }

    fn gid(&mut self, id: &Id) -> Option<u32> {
        match id {
            Id::Number(n) => Some(*n),
            Id::Name(n) => {
                let ask = || Group::by_name(n).ok().flatten().map(|g| g.gid);
                *self.gids.entry(n.clone()).or_insert_with(ask)
            }
        }
    }
}

fn of_entries(entries: &Entries) -> Static {
    match entries {
        Entries::List(l) => {
            Static::new(l.iter().map(|k| (k.clone(), String::new())).collect(), false)
        }
        Entries::Mapping(m) => Static::new(m.clone(), true),
    }
}

/// One of rmail's own users.
fn is_own(uid: u32) -> bool {
    table::USERS.iter().filter_map(|name| User::by_name(name).ok()?).any(|u| u.uid == uid)
}

/// Who files and commands of aliases are for.
fn alias_user() -> Option<(u32, u32)> {
    if !user::is_root() {
        return Some((user::uid(), user::gid()));
    }
    let user = User::by_name(table::USER_ALIAS).ok().flatten();
    // Whatever the system calls it, root it is not.
    user.filter(|u| u.uid != 0).map(|u| (u.uid, u.gid))
}

fn is_plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|c| matches!(c, Component::RootDir | Component::Normal(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf;

    const UID: u32 = 4_000_001;

    struct Nothing;

    impl conf::Source for Nothing {
        fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
            Err(format!("{path}: no such file"))
        }
        fn port(&mut self, _: &str) -> Option<u16> {
            None
        }
    }

    fn grants() -> Grants {
        let text = format!(
            "table users {{ joe = \"{UID}:{UID}:/home/joe\", own = \"{UID}:0:/home/own\" }}\n\
             table aliases file:/aliases\n\
             action \"in\" maildir userbase <users>\n\
             action \"al\" mbox alias <aliases>\n\
             action \"lm\" lmtp \"/run/lmtp\"\n\
             match from any for domain \"a.example\" action \"in\"\n\
             match from any for domain \"b.example\" action \"al\"\n\
             match from any for domain \"c.example\" action \"lm\"\n"
        );
        let config = conf::parse("t", text.as_bytes(), &[], &mut Nothing).unwrap();
        let file = |path: &str, text: &str| File { path: path.into(), bytes: text.into() };
        let files = [
            file("/aliases", "all: :include:/more\nbox: /srv/box\n"),
            file("/more", "|/usr/bin/list -x\n"),
        ];
        Grants::of(&config, files.iter())
    }

    fn account(uid: u32, home: &str, mail_root: &str) -> Account {
        Account {
            name: "joe".into(),
            uid,
            gid: uid,
            home: home.into(),
            mail_root: Some(mail_root.into()),
            forward: false,
            system: false,
        }
    }

    #[test]
    fn a_store_is_below_the_home_of_somebody() {
        let g = grants();
        assert_eq!(g.store(&account(UID, "/home/joe", "/home/joe/Maildir")), Ok(()));
        for (home, mail_root) in [
            ("/var/spool", "/var/spool/anything"),
            ("/home/joe", "/home/jim/Maildir"),
            ("/home/joe", "/home/joe/../jim"),
            ("/home/jim", "/home/jim"),
            ("/", "/etc"),
        ] {
            assert!(g.store(&account(UID, home, mail_root)).is_err(), "{home} {mail_root}");
        }
        let mut system = account(UID, "/home/joe", "/home/joe/Maildir");
        system.system = true;
        assert!(g.store(&system).is_err(), "a user of a table may run programs");
    }

    #[test]
    fn a_socket_is_an_lmtp_server() {
        assert_eq!(grants().socket(Path::new("/run/lmtp")), Ok(()));
        assert!(grants().socket(Path::new("/run/docker.sock")).is_err());
    }

    #[test]
    fn an_mbox_is_a_users_or_a_file_of_an_alias() {
        let g = grants();
        let (uid, gid) = alias_user().unwrap();
        assert_eq!(g.mbox("_rmaila", uid, gid, Path::new("/srv/box")), Ok(()));
        if user::is_root() {
            for name in table::USERS {
                let own = User::by_name(name).unwrap().unwrap();
                let box_of = Path::new(MAIL_SPOOL).join(name);
                assert!(g.mbox(name, own.uid, own.gid, &box_of).is_err(), "{name}");
                let may = g.mbox(name, own.uid, own.gid, Path::new("/srv/box")).is_ok();
                assert_eq!(may, name == table::USER_ALIAS, "{name}");
            }
        }
        assert!(g.mbox("joe", UID, UID, Path::new("/srv/box")).is_err());
        assert_eq!(g.mbox("joe", UID, UID, Path::new("/var/mail/joe")), Ok(()));
        for path in ["/etc/rc.local", "/var/mail/jim", "/var/mail/../joe", "/var/mail/x/joe"] {
            assert!(g.mbox("joe", UID, UID, Path::new(path)).is_err(), "{path}");
        }
        assert!(g.mbox("..", UID, UID, Path::new("/var/mail/..")).is_err());
    }

    #[test]
    fn a_program_has_the_ids_of_somebody() {
        let g = grants();
        let program = |(uid, gid), command: &str| Program {
            argv: ["/bin/sh", "-c", command].map(|w| w.as_bytes().to_vec()).into(),
            user: "joe".into(),
            uid,
            gid,
            home: "/".into(),
            env: Vec::new(),
        };
        let own = alias_user().unwrap();
        assert_eq!(g.program(&program(own, "/usr/bin/list -x")), Ok(()));
        assert_eq!(g.program(&program((UID, UID), "id")), Ok(()));
        if user::is_root() {
            assert!(g.program(&program(own, "id")).is_err());
            let daemons = User::by_name(table::USER).unwrap().unwrap();
            let ids = (daemons.uid, daemons.gid);
            assert!(g.program(&program(ids, "/usr/bin/list -x")).is_err());
            assert!(g.program(&program((0, 0), "/usr/bin/list -x")).is_err());
            assert!(g.program(&program((UID, 0), "id")).is_err());
            assert!(g.program(&program((UID, 42), "id")).is_err());
            let bin = User::by_name("daemon").unwrap().unwrap();
            assert!(g.program(&program((bin.uid, bin.gid), "id")).is_err());
        }
    }
}
