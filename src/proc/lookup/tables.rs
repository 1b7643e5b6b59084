//! The tables of a configuration, ready to be asked.
//!
//! A snapshot: made whole when the configuration comes, swapped whole at a
//! reload.  Tables that stand in rules and actions are built once too.

use crate::base::clock::Deadline;
use crate::conf::ast::{Config, Entries, TableKind, TableRef};
use crate::conf::Use;
use crate::disk::table::{BadLine, Passwd, Service, Static, Table, Unavailable, UserInfo, Value};
use crate::ipc::parent::File;
use std::collections::HashMap;
use std::sync::Arc;

/// All tables.  Any thread.
#[derive(Default)]
pub struct Tables {
    named: HashMap<String, Arc<dyn Table>>,
    inline: HashMap<(Entries, bool), Arc<Static>>,
    passwds: Vec<(String, Arc<Passwd>)>,
    files: HashMap<String, Vec<u8>>,
}

impl Tables {
    /// Builds all tables of a configuration from the files that came with it.
    /// The error is for people: parent has checked the same bytes.
    pub fn build(config: &Config, files: &[File]) -> Result<Tables, String> {
        let mut tables = Tables::default();
        for file in files {
            tables.files.insert(file.path.display().to_string(), file.bytes.clone());
        }
        for table in config.tables() {
            let name = &table.name;
            let uses = config.uses_of(name);
            let regex = uses.contains(&Use::Regex);
            let built: Arc<dyn Table> = match &table.kind {
                TableKind::Inline(entries) => Arc::new(static_of(entries, regex)?),
                TableKind::File(path) => {
                    let check = |k: &str, v: Option<&str>| Config::check_entry(&uses, k, v);
                    let parsed = Static::parse_checked(tables.bytes(path)?, &check);
                    let parsed = parsed.map_err(|bad| bad_lines(path, &bad))?;
                    Arc::new(if regex { parsed.with_regexes()? } else { parsed })
                }
                TableKind::Passwd(path) => {
                    let parsed = Passwd::parse(tables.bytes(path)?);
                    let parsed = Arc::new(parsed.map_err(|bad| bad_lines(path, &bad))?);
                    if uses.contains(&Use::Credentials) {
                        tables.passwds.push((name.clone(), Arc::clone(&parsed)));
                    }
                    parsed
                }
                // Only in parts of others.
                TableKind::Elsewhere => continue,
            };
            tables.named.insert(name.clone(), built);
        }
        for (_, table, used) in config.table_uses() {
            if let TableRef::Inline(entries) = table {
                let key = (entries.clone(), used == Use::Regex);
                let built = static_of(entries, key.1)?;
                tables.inline.entry(key).or_insert_with(|| Arc::new(built));
            }
        }
        Ok(tables)
    }

    fn bytes(&self, path: &str) -> Result<&[u8], String> {
        let found = self.files.get(path).map(Vec::as_slice);
        found.ok_or_else(|| format!("{path}: parent sent no such file"))
    }

    /// A file that a table names with `:include:`.
    pub fn include(&self, path: &str) -> Option<&[u8]> {
        self.files.get(path).map(Vec::as_slice)
    }

    /// The table of this name.
    pub fn named(&self, name: &str) -> Result<&dyn Table, Unavailable> {
        let found = self.named.get(name).map(|t| t.as_ref());
        found.ok_or_else(|| Unavailable(format!("no table <{name}>")))
    }

    /// The table that a statement means.
    pub fn of(&self, table: &TableRef, regex: bool) -> Result<&dyn Table, Unavailable> {
        match table {
            TableRef::Named(name) => self.named(name),
            TableRef::Inline(entries) => {
                // The key must be owned; such lists are as short as a line.
                let found = self.inline.get(&(entries.clone(), regex));
                let found = found.map(|t| t.as_ref() as &dyn Table);
                found.ok_or_else(|| Unavailable("no such table in place".to_string()))
            }
        }
    }

    /// Asks a table that a statement means.
    pub fn ask(
        &self,
        table: &TableRef,
        service: Service,
        key: &str,
        deadline: Deadline,
    ) -> Result<Option<Value>, Unavailable> {
        self.of(table, service == Service::Regex)?.lookup(service, key, deadline)
    }

    /// `userdb_mail` of this name in a passwd table of credentials.
    pub fn mail_root(&self, name: &str) -> Option<String> {
        self.passwds.iter().find_map(|(_, table)| {
            match table.lookup(Service::UserInfo, name, Deadline::NEVER) {
                Ok(Some(Value::User(info))) => info.mail_root,
                _ => None,
            }
        })
    }

    /// The user of this name in a passwd table of credentials.
    pub fn passwd_user(&self, table: &str, name: &str) -> Option<UserInfo> {
        let (_, passwd) = self.passwds.iter().find(|(t, _)| t == table)?;
        match passwd.lookup(Service::UserInfo, name, Deadline::NEVER) {
            Ok(Some(Value::User(info))) => Some(info),
            _ => None,
        }
    }

    /// Every name in the passwd tables of credentials, with its table.
    pub fn logins(&self) -> impl Iterator<Item = (&str, &str)> {
        self.passwds
            .iter()
            .flat_map(|(table, passwd)| passwd.names().map(move |name| (table.as_str(), name)))
    }
}

fn static_of(entries: &Entries, regex: bool) -> Result<Static, String> {
    let built = match entries {
        Entries::List(l) => {
            Static::new(l.iter().map(|k| (k.clone(), String::new())).collect(), false)
        }
        Entries::Mapping(m) => Static::new(m.clone(), true),
    };
    if regex {
        built.with_regexes()
    } else {
        Ok(built)
    }
}

fn bad_lines(path: &str, bad: &[BadLine]) -> String {
    let all: Vec<String> = bad.iter().map(|(n, why)| format!("{path}:{n}: {why}")).collect();
    all.join("\n")
}
