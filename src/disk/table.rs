//! Tables: lists and mappings in text files, and passwd files.
//!
//! *Runs in* parent (which reads the files and checks them) and lookup (which
//! answers from them).  A table is an immutable snapshot of a file's bytes: a
//! reload makes a new one.  A file with a bad line is refused whole, with every
//! bad line named, since half a table is a wrong table.
//!
//! [`Static`] is a list or mapping with smtpd's syntax; [`Passwd`] is the file
//! that smtpd's table-passwd and Dovecot's passwd-file share.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::base::clock::Deadline;
use crate::proto::addr::split_detail;
use crate::proto::pattern::{self, Network};
use crate::proto::text::idna;

/// What is asked of a table; it decides how keys are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// Exact keys with values: aliases, labels, addresses and names.
    Mapping,
    /// Domain names with values.
    DomainMapping,
    /// User to password hash.
    Credentials,
    /// User to ids, home and mail root.
    UserInfo,
    /// Domain names; entries may have asterisks.
    Domain,
    /// Addresses; entries are networks.
    NetAddr,
    /// Mail addresses; entries are patterns.  The delimiter begins sub-addresses.
    MailAddr(char),
    /// Exact keys; values do not matter.
    Text,
    /// Any text; entries are regular expressions.
    Regex,
}

/// What a table answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// The key is there.
    Present,
    /// The value of the key.
    Text(String),
    /// Credentials: the user's name as the table has it, and the hash.
    Hash(String, String),
    /// UserInfo.
    User(UserInfo),
}

/// A user of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserInfo {
    /// The user id.
    pub uid: Id,
    /// The group id.
    pub gid: Id,
    /// The home directory.
    pub home: String,
    /// `userdb_mail`: the mail root, in place of the action's.
    pub mail_root: Option<String>,
}

/// A user or group id; a name is looked up by whoever may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    /// The number.
    Number(u32),
    /// The name of a user or group of the system.
    Name(String),
}

impl Id {
    fn parse(text: &str) -> Option<Id> {
        if text.is_empty() {
            return None;
        }
        if text.bytes().all(|b| b.is_ascii_digit()) {
            return text.parse().ok().map(Id::Number);
        }
        Some(Id::Name(text.to_string()))
    }
}

/// The table cannot answer now: always 4xx.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unavailable(pub String);

/// A table.  Any thread; those in memory do not block.
pub trait Table: Send + Sync {
    /// The answer for a key.
    fn lookup(
        &self,
        service: Service,
        key: &str,
        deadline: Deadline,
    ) -> Result<Option<Value>, Unavailable>;

    /// All entries of a list: relay hosts, source addresses.
    fn fetch(&self, deadline: Deadline) -> Result<Vec<String>, Unavailable>;

    /// Any key, where there is one.
    fn first(&self, deadline: Deadline) -> Result<Option<String>, Unavailable>;
}

/// A check of an entry: its key, and its value in a mapping.
pub type Check<'a> = &'a dyn Fn(&str, Option<&str>) -> Result<(), String>;

/// A bad line: its number, and why.
pub type BadLine = (u32, String);

/// A list or mapping.
#[derive(Debug, Default)]
pub struct Static {
    mapping: bool,
    order: Vec<String>,
    values: HashMap<String, String>,
    globs: Vec<String>,
    /// Keys that are not ASCII, by their form as domains of A-labels.
    domains: HashMap<String, String>,
    networks: Vec<Network>,
    regexes: Vec<regex::bytes::Regex>,
}

impl Static {
    /// Reads a file.  The first line of data decides: a key alone makes a list.
    pub fn parse(bytes: &[u8]) -> Result<Static, Vec<BadLine>> {
        Static::parse_checked(bytes, &|_, _| Ok(()))
    }

    /// The same, with a check of each entry.
    pub fn parse_checked(bytes: &[u8], check: Check<'_>) -> Result<Static, Vec<BadLine>> {
        let mut mapping = None;
        let mut entries = Vec::new();
        let mut bad = Vec::new();
        for (number, line) in lines(bytes, &mut bad) {
            if let Some(comment) = line.strip_prefix('#') {
                if mapping.is_none() && comment.trim() == "@list" {
                    mapping = Some(false);
                }
                continue;
            }
            let (key, value) = split(&line);
            if *mapping.get_or_insert(value.is_some() || line.len() > key.len()) {
                match value {
                    Some(v) => {
                        bad.extend(check(key, Some(v)).err().map(|why| (number, why)));
                        entries.push((key.to_string(), v.to_string()));
                    }
                    None => bad.push((number, format!("\"{key}\" has no value"))),
                }
            } else {
                bad.extend(check(&line, None).err().map(|why| (number, why)));
                entries.push((line, String::new()));
            }
        }
        if !bad.is_empty() {
            return Err(bad);
        }
        // An empty file is a mapping: it has no entry of either kind.
        Ok(Static::new(entries, mapping.unwrap_or(true)))
    }

    /// From entries of the configuration.
    pub fn new(entries: Vec<(String, String)>, mapping: bool) -> Static {
        let mut table = Static { mapping, ..Static::default() };
        for (key, value) in entries {
            if let Some(network) = Network::parse(&key) {
                table.networks.push(network);
            }
            let folded = fold(&key);
            if !key.is_ascii() && !key.contains('@') {
                // Perhaps a domain; only a question for one looks here.
                let domain = idna::domain_key(&key).into_owned();
                if domain.contains('*') {
                    table.globs.push(domain);
                } else {
                    table.domains.insert(domain, fold(&key));
                }
            }
            if folded.contains('*') {
                table.globs.push(folded.clone());
            }
            table.order.push(key);
            table.values.insert(folded, value);
        }
        table
    }

    /// Compiles the entries as regular expressions: for a table that is asked
    /// with [`Service::Regex`].  The error is for people.
    pub fn with_regexes(mut self) -> Result<Static, String> {
        self.regexes = self.order.iter().map(|k| pattern::regex(k)).collect::<Result<_, _>>()?;
        Ok(self)
    }

    /// True for keys with values.
    pub fn is_mapping(&self) -> bool {
        self.mapping
    }

    /// The entries in the order of the file: keys, and values if it has any.
    pub fn entries(&self) -> impl Iterator<Item = (&str, Option<&str>)> {
        self.order.iter().map(|k| {
            let value = self.mapping.then(|| self.values.get(&fold(k)));
            (k.as_str(), value.flatten().map(String::as_str))
        })
    }

    /// The value of a domain, in whichever form the table and the question have it.
    fn get_domain(&self, domain: &str) -> Option<&str> {
        let ascii = idna::domain_key(domain);
        let written = self.domains.get(ascii.as_ref()).map(String::as_str);
        self.get(&ascii).or_else(|| self.get(written?))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(&fold(key)).map(String::as_str)
    }
}

impl Table for Static {
    fn lookup(
        &self,
        service: Service,
        key: &str,
        _deadline: Deadline,
    ) -> Result<Option<Value>, Unavailable> {
        let present = |yes: bool| yes.then_some(Value::Present);
        Ok(match service {
            Service::DomainMapping => self.get_domain(key).map(|v| Value::Text(v.to_string())),
            Service::Mapping => self.get(key).map(|v| Value::Text(v.to_string())),
            Service::Credentials => self.get(key).map(|v| match v.split_once(':') {
                // smtpd's tables may give `user:hash`.
                Some((user, hash)) => Value::Hash(user.to_string(), hash.to_string()),
                None => Value::Hash(key.to_lowercase(), v.to_string()),
            }),
            Service::UserInfo => match self.get(key) {
                None => None,
                Some(v) => Some(Value::User(userinfo(v).map_err(Unavailable)?)),
            },
            Service::Domain => {
                let ascii = idna::domain_key(key);
                present(
                    self.get_domain(key).is_some()
                        || self.globs.iter().any(|g| pattern::glob(g, &ascii)),
                )
            }
            Service::NetAddr => match key.parse::<IpAddr>() {
                Ok(ip) => present(self.networks.iter().any(|n| n.contains(ip))),
                // `local`: the socket and the daemon itself.
                Err(_) => present(self.get(key).is_some()),
            },
            Service::MailAddr(delim) => {
                let key = idna::address_key(key);
                let (local, domain) = key.rsplit_once('@').unwrap_or((&key, ""));
                let (bare, _) = split_detail(local, delim);
                // A quoted local part may hold an at sign.  As a name without
                // domain it would be an entry with one: `"@a.example"@b.example`.
                let name = |n: &str| if n.contains('@') { "" } else { n }.to_string();
                // A pattern without an asterisk is one of these keys, so a long
                // table costs no more than a short one.
                let exact = [
                    format!("{local}@{domain}"),
                    format!("{bare}@{domain}"),
                    name(local),
                    name(bare),
                    format!("@{domain}"),
                    "@".to_string(),
                ];
                let in_globs = |p: &String| pattern::mail_address(p, local, domain, delim);
                present(
                    exact.iter().any(|k| !k.is_empty() && self.get(k).is_some())
                        || self.globs.iter().any(in_globs),
                )
            }
            Service::Text => present(self.get(key).is_some()),
            Service::Regex => present(self.regexes.iter().any(|r| r.is_match(key.as_bytes()))),
        })
    }

    fn fetch(&self, _deadline: Deadline) -> Result<Vec<String>, Unavailable> {
        Ok(self.order.clone())
    }

    fn first(&self, _deadline: Deadline) -> Result<Option<String>, Unavailable> {
        Ok(self.order.first().cloned())
    }
}

/// The form in which keys are compared: lower case, the domain of an address in
/// A-labels, so that both forms of an internationalised domain are one key.
fn fold(key: &str) -> String {
    idna::address_key(key).to_lowercase()
}

/// `uid:gid:home`
fn userinfo(text: &str) -> Result<UserInfo, String> {
    let mut fields = text.splitn(3, ':');
    let mut next = || fields.next().unwrap_or_default().trim();
    let (uid, gid, home) = (Id::parse(next()), Id::parse(next()), next());
    match (uid, gid) {
        (Some(uid), Some(gid)) if home.starts_with('/') => {
            Ok(UserInfo { uid, gid, home: home.to_string(), mail_root: None })
        }
        _ => Err(format!("\"{text}\" is not uid:gid:/home")),
    }
}

/// The lines with something in them, trimmed, with their numbers.
fn lines(bytes: &[u8], bad: &mut Vec<BadLine>) -> Vec<(u32, String)> {
    let mut all = Vec::new();
    let mut number = 0u32;
    for line in bytes.split(|b| *b == b'\n') {
        number = number.saturating_add(1);
        match std::str::from_utf8(line) {
            Ok(text) if text.contains('\0') => bad.push((number, "a NUL byte".to_string())),
            Ok(text) if text.trim().is_empty() => {}
            Ok(text) => all.push((number, text.trim().to_string())),
            Err(_) => bad.push((number, "not UTF-8".to_string())),
        }
    }
    all
}

/// Key and value: the separator is the first blank or colon, outside brackets;
/// blanks after it, and a colon that a blank follows, belong to it.
fn split(line: &str) -> (&str, Option<&str>) {
    let from = match line.strip_prefix('[') {
        Some(_) => line.find(']').unwrap_or(0),
        None => 0,
    };
    let separator = |c: char| matches!(c, ' ' | '\t' | ':');
    let Some(at) = line.get(from..).and_then(|l| l.find(separator)) else { return (line, None) };
    let (key, rest) = line.split_at_checked(from.saturating_add(at)).unwrap_or((line, ""));
    let mut value = rest.get(1..).unwrap_or_default();
    loop {
        let trimmed = value.trim_start();
        match trimmed.strip_prefix(':') {
            Some(after) if after.starts_with([' ', '\t']) => value = after,
            _ => {
                value = trimmed;
                break;
            }
        }
    }
    (key, Some(value).filter(|v| !v.is_empty()))
}

/// The files that values of a table of aliases include.
pub fn includes(bytes: &[u8]) -> Vec<String> {
    let Ok(table) = Static::parse(bytes) else { return Vec::new() };
    let mut paths = Vec::new();
    for (_, value) in table.entries() {
        paths.extend(includes_of(value.unwrap_or_default()));
    }
    paths
}

/// The files that one such value includes.
pub fn includes_of(value: &str) -> Vec<String> {
    let items = crate::disk::aliases::parse_value(value).unwrap_or_default();
    let path = |item| match item {
        crate::disk::aliases::Item::Include(path) => Some(path),
        _ => None,
    };
    items.into_iter().filter_map(path).collect()
}

/// A passwd file: `user:hash:uid:gid:gecos:home[:shell[:extra]]`.
///
/// smtpd reads the first six fields; Dovecot is content with two and reads
/// `userdb_mail=` and others in the eighth.  A uid or gid may be a name.
#[derive(Debug, Default)]
pub struct Passwd {
    users: HashMap<String, PasswdUser>,
}

struct PasswdUser {
    name: String,
    hash: String,
    info: Option<UserInfo>,
}

// Hashes stay out of the log.
impl std::fmt::Debug for PasswdUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

impl Passwd {
    /// Reads a file.
    pub fn parse(bytes: &[u8]) -> Result<Passwd, Vec<BadLine>> {
        let mut users = HashMap::new();
        let mut bad = Vec::new();
        for (number, line) in lines(bytes, &mut bad) {
            // As table-passwd does: a hash sign cuts the line wherever it is.
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() {
                continue;
            }
            match passwd_line(line) {
                Ok(user) => {
                    users.insert(user.name.to_lowercase(), user);
                }
                Err(why) => bad.push((number, why)),
            }
        }
        if bad.is_empty() {
            Ok(Passwd { users })
        } else {
            Err(bad)
        }
    }

    /// Every `userdb_mail`.
    pub fn mail_roots(&self) -> impl Iterator<Item = &str> {
        self.users.values().filter_map(|u| u.info.as_ref()?.mail_root.as_deref())
    }

    /// The users with a password that is no hash of crypt(3), nor what stands for none.
    pub fn without_hash(&self) -> impl Iterator<Item = &str> {
        let hash = |h: &str| h.is_empty() || h == "x" || h.starts_with(['$', '_', '*', '!']);
        // The traditional hash has thirteen characters and no mark.
        self.users.values().filter(move |u| !hash(&u.hash) && u.hash.len() != 13).map(|u| &*u.name)
    }

    /// The names of the users, as the file has them.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.users.values().map(|u| u.name.as_str())
    }
}

impl Table for Passwd {
    fn lookup(
        &self,
        service: Service,
        key: &str,
        _deadline: Deadline,
    ) -> Result<Option<Value>, Unavailable> {
        let user = self.users.get(&key.to_lowercase());
        Ok(match service {
            Service::Credentials => user.map(|u| Value::Hash(u.name.clone(), u.hash.clone())),
            Service::UserInfo => user.and_then(|u| u.info.clone()).map(Value::User),
            // The grammar lets a passwd table be asked for nothing else.
            _ => None,
        })
    }

    fn fetch(&self, _deadline: Deadline) -> Result<Vec<String>, Unavailable> {
        Ok(self.names().map(str::to_string).collect())
    }

    fn first(&self, _deadline: Deadline) -> Result<Option<String>, Unavailable> {
        Ok(self.names().next().map(str::to_string))
    }
}

fn passwd_line(line: &str) -> Result<PasswdUser, String> {
    let mut fields = line.splitn(8, ':');
    let mut next = || fields.next();
    let name = next().unwrap_or_default().trim().to_string();
    if name.is_empty() {
        return Err("there is no user name".to_string());
    }
    let Some(hash) = next() else {
        return Err(format!("\"{name}\" has no password field: user:hash:uid:gid:gecos:home"));
    };
    let hash = crypt_hash(hash).ok_or_else(|| {
        format!("the password of \"{name}\" has a scheme that is not known: make a hash with \"rmailctl encrypt\"")
    })?;
    let (mut uid, mut gid) = (next().and_then(Id::parse), next().and_then(Id::parse));
    let _gecos = next(); // nobody asks for it
    let mut home = next().unwrap_or_default().to_string();
    let _shell = next(); // nobody asks for it
    let mut mail = None;
    for field in next().unwrap_or_default().split_ascii_whitespace() {
        let Some((key, value)) = field.split_once('=') else { continue };
        match key {
            "userdb_mail" => mail = Some(maildir_location(value)?),
            "userdb_mail_path" => mail = Some(value),
            "userdb_home" => home = value.to_string(),
            "userdb_uid" => uid = Id::parse(value),
            "userdb_gid" => gid = Id::parse(value),
            // Fields of other programs: Dovecot's own have dozens.
            _ => {}
        }
    }
    let mail_root = mail.map(|m| mail_path(m, &name, &home)).transpose()?;
    let info = match (uid, gid) {
        (Some(uid), Some(gid)) if home.starts_with('/') => {
            Some(UserInfo { uid, gid, home, mail_root })
        }
        // Enough for a login, not for a delivery.
        _ => None,
    };
    Ok(PasswdUser { name, hash, info })
}

/// The hash for crypt(3), without Dovecot's name of its scheme.
fn crypt_hash(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('{') else { return Some(text.to_string()) };
    let (scheme, hash) = rest.split_once('}')?;
    let known = ["BLF-CRYPT", "CRYPT", "SHA256-CRYPT", "SHA512-CRYPT", "MD5-CRYPT"];
    known.iter().any(|k| scheme.eq_ignore_ascii_case(k)).then(|| hash.to_string())
}

/// `maildir:PATH[:LAYOUT=..][:INDEX=..][:CONTROL=..]`
fn maildir_location(text: &str) -> Result<&str, String> {
    let Some(rest) = text.strip_prefix("maildir:") else {
        return Err(format!("userdb_mail={text}: only maildir: is known"));
    };
    let mut parts = rest.split(':');
    let path = parts.next().unwrap_or_default();
    for option in parts {
        // INDEX is Dovecot's cache: rmail's own lies in the mail root.
        if option.starts_with("INDEX=") || option.eq_ignore_ascii_case("LAYOUT=Maildir++") {
            continue;
        }
        return Err(format!("userdb_mail={text}: {option} is not supported"));
    }
    Ok(path)
}

/// The path with Dovecot's variables `%u`, `%n`, `%d`, `%h` and `~/`.
fn mail_path(text: &str, name: &str, home: &str) -> Result<String, String> {
    let (user, domain) = name.split_once('@').unwrap_or((name, ""));
    let mut path = String::new();
    let text = match text.strip_prefix('~') {
        Some(rest) => format!("%h{rest}"),
        None => text.to_string(),
    };
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, if c == '%' { chars.next() } else { None }) {
            ('%', Some('u')) => path.push_str(name),
            ('%', Some('n')) => path.push_str(user),
            ('%', Some('d')) => path.push_str(domain),
            ('%', Some('h')) => path.push_str(home),
            ('%', Some('%')) => path.push('%'),
            ('%', other) => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("mail path \"{text}\": %{other} is not known"));
            }
            (c, _) => path.push(c),
        }
    }
    let safe = path.starts_with('/') && path.split('/').all(|part| part != "..");
    if !safe {
        return Err(format!("mail path \"{path}\" is not an absolute path without .."));
    }
    // A trailing slash would make another account of the same directory.
    Ok(path.trim_end_matches('/').to_string())
}

/// Fuzz target: both readings of a table's bytes.
pub fn fuzz_table(bytes: &[u8]) {
    if let Ok(table) = Static::parse(bytes) {
        let _ = table.lookup(Service::MailAddr('+'), "a+b@example.org", Deadline::NEVER);
    }
    let _ = Passwd::parse(bytes);
}

#[cfg(test)]
mod tests;
