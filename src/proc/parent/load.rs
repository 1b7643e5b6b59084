//! Reading the configuration and every file that it names, and checking it all.
//!
//! Parent alone opens these files, as root: tables, certificates, keys.  Each
//! child is sent the part that it needs, as canonical text with the contents
//! of its files, so that a child needs no path and a reload is one message.

use super::bounds::Bounds;
use super::directories::check_queue_directory;
use super::grants::Grants;
use super::Options;
use crate::base::exits::sysexits;
use crate::base::log;
use crate::base::tls;
use crate::conf;
use crate::conf::ast::{
    Config, Deliver, Entries, Listen, Method, Owner, Pos, Stmt, Table, TableKind,
};
use crate::conf::Use;
use crate::disk::aliases;
use crate::disk::table::{self, Passwd, Static};
use crate::ipc::parent::{File, Part, MESSAGE};
use crate::proc::start::Directories;
use crate::proc::table::{no_user, Kind, PROCESSES, USERS};
use crate::sys::errno::SysError;
use crate::sys::user::{self, User};
use std::collections::BTreeMap;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// The largest configuration, table or PEM file that is read.
const FILE_MAX: u64 = FILE_MAX_OCTETS as u64;
const FILE_MAX_OCTETS: usize = 64 << 20;

/// A configuration that was checked, with its files.
pub struct Loaded {
    /// Counts reloads, from 1.
    pub generation: u64,
    /// What it says.
    pub config: Config,
    /// What lookup may have opened.
    pub grants: Grants,
    files: Vec<(FileUse, File)>,
}

/// What a file is, which decides who gets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum FileUse {
    Table,
    Certificate,
    Key,
    Authority,
}

/// Reads and checks everything.  Every error is a line `file:line: message`.
pub fn load(options: &Options, generation: u64) -> Result<Loaded, Vec<String>> {
    let path = options.config.display().to_string();
    let text = read_text(&options.config).map_err(|e| vec![e])?;
    let config = conf::parse(&path, &text, &options.macros, &mut Files)
        .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>())?;
    if options.verbose > 0 {
        for warning in &config.warnings {
            log::warn!("config", msg = warning.to_string().as_str());
        }
    }
    let mut errors = missing_users();
    if holds_secrets(&config) {
        errors.extend(too_open(&options.config).map(|e| format!("{path}: {e}")));
    }
    let mut files: Vec<(FileUse, File)> = Vec::new();
    for (at, what, name, secret) in named_files(&config) {
        let name = PathBuf::from(name);
        if files.iter().any(|(u, f)| *u == what && f.path == name) {
            continue;
        }
        if secret {
            errors.extend(too_open(&name).map(|e| format!("{at}: {}: {e}", name.display())));
        }
        match read(&name) {
            Ok(bytes) => files.push((what, File { path: name, bytes })),
            Err(e) => errors.push(format!("{at}: {e}")),
        }
    }
    check_pem(&config, &files, &mut errors);
    check_ciphers(&config, &mut errors);
    let mut mail_prefixes = mail_prefixes(&config);
    check_tables(&config, &mut files, &mut mail_prefixes, &mut errors);
    if !errors.is_empty() {
        return Err(errors);
    }
    let warnings = unknown_users(&config).into_iter().chain(without_hash(&config, &files));
    for line in warnings.chain(out_of_time(&config, &files)) {
        log::warn!("config", msg = line.as_str());
    }
    let mut grants = Grants::of(&config, files.iter().map(|(_, f)| f));
    grants.mail_prefixes = mail_prefixes;
    let loaded = Loaded { generation, grants, config, files };
    // Such a process could be started, and given its part, never again.
    let heavy = PROCESSES.iter().filter_map(|process| {
        let sizes = loaded.files_of(process.kind).map(|f| f.bytes.len());
        too_large(process.name, sizes)
    });
    let heavy: Vec<String> = heavy.collect();
    if !heavy.is_empty() {
        return Err(heavy);
    }
    Ok(loaded)
}

/// Why a process cannot be given its files in one message.
fn too_large(name: &str, sizes: impl Iterator<Item = usize>) -> Option<String> {
    // The text of the configuration, and names, have the rest.
    let most = MESSAGE.saturating_sub(FILE_MAX_OCTETS);
    let all = sizes.fold(0usize, usize::saturating_add);
    (all > most).then(|| {
        format!(
            "tables and certificates for {name} have {} MB in all: more than {} MB",
            all >> 20,
            most >> 20
        )
    })
}

/// A whole regular file, bounded.
fn read(path: &Path) -> Result<Vec<u8>, String> {
    let fail = |e: std::io::Error| SysError::of("read", &e).at(path).to_string();
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_file() {
        return Err(format!("{}: not a regular file", path.display()));
    }
    if meta.len() > FILE_MAX {
        return Err(format!("{}: larger than 64 MB", path.display()));
    }
    std::fs::read(path).map_err(fail)
}

/// A configuration: one that is no text is told once, not line by line.
fn read_text(path: &Path) -> Result<Vec<u8>, String> {
    let bytes = read(path)?;
    if bytes.contains(&0) {
        return Err(format!("{}: not a text: there are NUL octets in it", path.display()));
    }
    Ok(bytes)
}

/// Why a file with secrets is not safe where it is.
fn too_open(path: &Path) -> Option<String> {
    let meta = std::fs::metadata(path).ok()?;
    let mode = meta.permissions().mode() & 0o777;
    let owner_ok = meta.uid() == 0 || meta.uid() == user::uid();
    if mode & 0o007 != 0 {
        Some(format!(
            "holds secrets and others may read it (mode {mode:03o}): chmod o= {}",
            path.display()
        ))
    } else if mode & 0o020 != 0 {
        Some(format!("its group may write it (mode {mode:03o}): chmod g-w {}", path.display()))
    } else if !owner_ok {
        Some(format!("must belong to root: chown root {}", path.display()))
    } else {
        None
    }
}

/// The files that the configuration may include, and the services that it may
/// name.
struct Files;

impl conf::Source for Files {
    fn read(&mut self, path: &str) -> Result<Vec<u8>, String> {
        read_text(Path::new(path))
    }

    fn port(&mut self, service: &str) -> Option<u16> {
        crate::sys::net::service_port(service)
    }
}

/// A queue key, or passwords of an inline table, stand in the text itself.
fn holds_secrets(config: &Config) -> bool {
    let inline = |t: &str| config.table(t).is_some_and(|t| matches!(t.kind, TableKind::Inline(_)));
    config.queue_key().is_some() || credentials(config).iter().any(|t| inline(t))
}

/// The names of the tables that hold passwords or their hashes.
fn credentials(config: &Config) -> Vec<&str> {
    let listeners = config.listeners().filter_map(|l| l.auth.as_ref().map(|a| a.table.as_str()));
    let relays = config.actions().filter_map(|a| match &a.method {
        Method::Relay(relay) => relay.auth.as_deref(),
        Method::Local(_) => None,
    });
    listeners.chain(relays).collect()
}

/// Every file that the configuration names: where, what, and whether it must
/// not be read by others.
fn named_files(config: &Config) -> Vec<(&Pos, FileUse, &str, bool)> {
    let secrets = credentials(config);
    let mut all = Vec::new();
    for s in &config.statements {
        match &s.stmt {
            Stmt::Table(t) => match &t.kind {
                TableKind::File(p) => {
                    let secret = secrets.contains(&t.name.as_str());
                    all.push((&s.at, FileUse::Table, p.as_str(), secret));
                }
                TableKind::Passwd(p) => all.push((&s.at, FileUse::Table, p.as_str(), true)),
                TableKind::Inline(_) | TableKind::Elsewhere => {}
            },
            Stmt::Pki(p) => {
                all.push((&s.at, FileUse::Certificate, p.cert.as_str(), false));
                if let Some(key) = &p.key {
                    all.push((&s.at, FileUse::Key, key.as_str(), true));
                }
            }
            Stmt::Ca(c) => all.push((&s.at, FileUse::Authority, c.cert.as_str(), false)),
            _ => {}
        }
    }
    all
}

fn contents<'a>(files: &'a [(FileUse, File)], path: &str) -> Option<&'a [u8]> {
    files.iter().find(|(_, f)| f.path == Path::new(path)).map(|(_, f)| f.bytes.as_slice())
}

/// Certificates parse, keys parse, and each pair belongs together.
fn check_pem(config: &Config, files: &[(FileUse, File)], errors: &mut Vec<String>) {
    for s in &config.statements {
        let (cert_file, key_file) = match &s.stmt {
            Stmt::Pki(p) => (&p.cert, p.key.as_ref()),
            Stmt::Ca(c) => (&c.cert, None),
            _ => continue,
        };
        let Some(cert) = contents(files, cert_file) else { continue };
        if let Err(e) = tls::certificates(cert) {
            errors.push(format!("{}: {cert_file}: no certificate in PEM form: {e}", s.at));
            continue;
        }
        let Some((path, key)) = key_file.and_then(|k| Some((k, contents(files, k)?))) else {
            continue;
        };
        let wrong = match tls::private_key(key) {
            Err(_) if tls::is_encrypted(key) => format!(
                "{path}: the key is encrypted, and nobody is there to ask for its passphrase: \
                 write it without one by openssl pkey -in {path} -out FILE"
            ),
            Err(e) => format!("{path}: no private key in PEM form: {e}"),
            Ok(_) => match tls::Identity::from_pem(cert, key) {
                Err(e) => format!("{path}: not for the certificate in {cert_file}: {e}"),
                Ok(identity) => match identity.check_server() {
                    Err(e) => format!("{path}: not a key for a server: {e}"),
                    Ok(()) => continue,
                },
            },
        };
        errors.push(format!("{}: {wrong}", s.at));
    }
}

/// The cipher lists are ones of the library.  Only it can tell, and the
/// processes that use them would not start.
fn check_ciphers(config: &Config, errors: &mut Vec<String>) {
    for s in &config.statements {
        let list = match &s.stmt {
            Stmt::Listen(l) => l.ciphers.as_deref(),
            Stmt::SmtpCiphers(list) => Some(list.as_str()),
            Stmt::Action(a) => match &a.method {
                Method::Relay(r) => r.ciphers.as_deref(),
                Method::Local(_) => None,
            },
            _ => None,
        };
        if let Some((list, Err(e))) = list.map(|l| (l, tls::check_ciphers(l))) {
            let hint = format!("openssl ciphers '{list}' prints what a list stands for");
            errors.push(format!("{}: ciphers \"{list}\": {e}: {hint}", s.at));
        }
    }
}

/// Tables are well formed and hold what they are used for.  Files that aliases
/// include are read too, and mail roots that passwd tables name are noted.
fn check_tables(
    config: &Config,
    files: &mut Vec<(FileUse, File)>,
    mail_prefixes: &mut Vec<PathBuf>,
    errors: &mut Vec<String>,
) {
    // By path, with the first place that names it.
    let mut includes: BTreeMap<String, String> = BTreeMap::new();
    for s in &config.statements {
        let Stmt::Table(t) = &s.stmt else { continue };
        let uses = config.uses_of(&t.name);
        let aliases = uses.contains(&Use::Alias) || uses.contains(&Use::Virtual);
        let path = match &t.kind {
            TableKind::File(path) | TableKind::Passwd(path) => path,
            TableKind::Inline(Entries::Mapping(pairs)) if aliases => {
                for (key, value) in pairs {
                    let wrong = check_alias(key, value).err();
                    errors.extend(wrong.map(|why| format!("{}: {why}", s.at)));
                    for path in table::includes_of(value) {
                        includes.entry(path).or_insert_with(|| s.at.to_string());
                    }
                }
                continue;
            }
            TableKind::Inline(_) | TableKind::Elsewhere => continue,
        };
        let Some(bytes) = contents(files, path) else { continue };
        let bad = if let TableKind::Passwd(_) = t.kind {
            match Passwd::parse(bytes) {
                Ok(table) => {
                    mail_prefixes.extend(table.mail_roots().map(PathBuf::from));
                    Vec::new()
                }
                Err(bad) => bad,
            }
        } else {
            if aliases {
                for included in table::includes(bytes) {
                    includes.entry(included).or_insert_with(|| path.clone());
                }
            }
            let check = |k: &str, v: Option<&str>| {
                Config::check_entry(&uses, k, v)?;
                v.filter(|_| aliases).map_or(Ok(()), |v| check_alias(k, v))
            };
            Static::parse_checked(bytes, &check).err().unwrap_or_default()
        };
        errors.extend(bad.into_iter().map(|(line, why)| format!("{path}:{line}: {why}")));
    }
    for (path, place) in includes {
        let path = PathBuf::from(path);
        match read(&path) {
            Ok(bytes) => {
                let items = match std::str::from_utf8(&bytes) {
                    Ok(text) => aliases::parse_file(text).map(drop).map_err(|e| e.to_string()),
                    Err(_) => Err("not UTF-8".into()),
                };
                errors.extend(items.err().map(|why| format!("{}: {why}", path.display())));
                files.push((FileUse::Table, File { path, bytes }));
            }
            Err(e) => errors.push(format!("{place}: an alias includes a file: {e}")),
        }
    }
}

/// What stands behind an alias can be used: else its mail would be refused for the
/// time being, for as long as nobody looks into the log.
fn check_alias(key: &str, value: &str) -> Result<(), String> {
    match aliases::parse_value(value) {
        Ok(items) if items.is_empty() => Err(format!("alias {key} leads to nobody")),
        Ok(_) => Ok(()),
        Err(e) => Err(format!("alias {key}: {e}")),
    }
}

/// Those of rmail's own users who are not there, if they are needed: nothing
/// starts without them, and a daemon that runs would refuse every command of an
/// alias.  That the system cannot say is told by the process that is to start.
fn missing_users() -> Vec<String> {
    let missing = |name: &&&str| matches!(User::by_name(name), Ok(None));
    let own = USERS.iter().filter(|_| user::is_root());
    own.filter(missing).map(|name| no_user(name)).collect()
}

/// Actions that deliver as a user of the system who is not there.  Their mail
/// waits, so this is no error: users may come from somewhere that is down.
fn unknown_users(config: &Config) -> Vec<String> {
    let missing = |s: &crate::conf::ast::Statement| {
        let Stmt::Action(action) = &s.stmt else { return None };
        let Method::Local(local) = &action.method else { return None };
        let user = local.user.as_ref().filter(|_| local.userbase.is_none())?;
        let unknown = matches!(User::by_name(user), Ok(None));
        let said =
            || format!("{}: no user \"{user}\": mail for action {} waits", s.at, action.name);
        unknown.then(said)
    };
    config.statements.iter().filter_map(missing).collect()
}

/// Users of passwd tables whose logins fail whatever they type.
fn without_hash(config: &Config, files: &[(FileUse, File)]) -> Vec<String> {
    let mut all = Vec::new();
    for s in &config.statements {
        let Stmt::Table(Table { kind: TableKind::Passwd(path), .. }) = &s.stmt else { continue };
        let Some(Ok(table)) = contents(files, path).map(Passwd::parse) else { continue };
        let said =
            |user| format!("{path}: {user}: no hash of a password: rmailctl encrypt makes one");
        all.extend(table.without_hash().map(said));
    }
    all.sort();
    all
}

/// Certificates of a pki that are not valid now or not for long.  No error: a
/// server with an old certificate is better than none, and most of its clients
/// do not look.
fn out_of_time(config: &Config, files: &[(FileUse, File)]) -> Vec<String> {
    let mut all = Vec::new();
    for s in &config.statements {
        let Stmt::Pki(p) = &s.stmt else { continue };
        let Some(Ok(chain)) = contents(files, &p.cert).map(tls::certificates) else { continue };
        let at = |said: String| format!("{}: pki {}: {}: {said}", s.at, p.name, p.cert);
        for (number, cert) in (1..).zip(&chain) {
            let said = match tls::time_left(cert) {
                Ok(None) => continue,
                Ok(Some(said)) => said,
                Err(e) => format!("has a time that cannot be read: {e}"),
            };
            // The first is the server's own.
            let which = if number == 1 { String::new() } else { format!(" {number} of its chain") };
            all.push(at(format!("certificate{which} {said}")));
        }
    }
    all
}

/// What every mail root of the configuration begins with: the path of an
/// action up to its first `%`, or `~`.
fn mail_prefixes(config: &Config) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = Vec::new();
    for action in config.actions() {
        let Method::Local(local) = &action.method else { continue };
        if let Deliver::Maildir { path: Some(path), .. } = &local.deliver {
            // One that begins with a specifier begins with the user's home.
            all.extend(Some(path.literal_prefix()).filter(|p| p.len() > 1).map(PathBuf::from));
        }
    }
    all.extend(config.mailbox_root().map(|f| f.literal_prefix()).map(PathBuf::from));
    all
}

impl Loaded {
    /// The files of one kind.
    fn files_of(&self, kind: Kind) -> impl Iterator<Item = &File> {
        let wanted = move |u: FileUse| match kind {
            Kind::Keyd => matches!(u, FileUse::Key | FileUse::Certificate),
            Kind::Lookup => u == FileUse::Table,
            Kind::Smtp | Kind::Imap | Kind::Mta => {
                matches!(u, FileUse::Certificate | FileUse::Authority)
            }
            _ => false,
        };
        self.files.iter().filter(move |(u, _)| wanted(*u)).map(|(_, f)| f)
    }

    /// The part of one kind.
    pub fn part(&self, kind: Kind) -> Part {
        let owner = owner(kind);
        let text = owner.map_or_else(String::new, |o| self.config.print_for(o));
        let files = self.files_of(kind).cloned().collect();
        Part { generation: self.generation, text: text.into_bytes(), files }
    }

    /// Where the directories are.
    pub fn directories(&self) -> Directories {
        let socket = Path::new(self.config.socket()).parent().unwrap_or(Path::new("/var/run"));
        Directories {
            spool: PathBuf::from(self.config.queue_directory()),
            socket: socket.to_path_buf(),
        }
    }

    /// The control socket.
    pub fn socket_path(&self) -> PathBuf {
        PathBuf::from(self.config.socket())
    }

    /// Each `listen on` with its number and place.
    pub fn listens(&self) -> impl Iterator<Item = (u32, &Pos, &Listen)> {
        let all = self.config.statements.iter().filter_map(|s| match &s.stmt {
            Stmt::Listen(l) => Some((&s.at, l)),
            _ => None,
        });
        (0u32..).zip(all).map(|(i, (at, l))| (i, at, l))
    }

    /// What cannot change while the daemon runs.
    pub fn may_become(&self, new: &Loaded) -> Result<(), Vec<String>> {
        let mut errors = Vec::new();
        if self.config.queue_directory() != new.config.queue_directory() {
            errors.push("queue directory: cannot change while running: restart rmaild".into());
        }
        if self.socket_path() != new.socket_path() {
            errors.push("socket: cannot change while running: restart rmaild".into());
        }
        if errors.is_empty() {
            Ok(())
        } else {
            Err(errors)
        }
    }
}

/// Who a kind is to `conf`.
fn owner(kind: Kind) -> Option<Owner> {
    Some(match kind {
        Kind::Keyd => Owner::Keyd,
        Kind::Lookup => Owner::Lookup,
        Kind::Smtp => Owner::Smtp,
        Kind::Queue => Owner::Queue,
        Kind::Mta => Owner::Mta,
        Kind::Imap => Owner::Imap,
        Kind::Store => Owner::Store,
        Kind::Control => Owner::Control,
        Kind::Parent | Kind::Mbox | Kind::Exec => return None,
    })
}

/// What says of lookup's part, and the machine's name, which logins lead nowhere.
pub type LoginCheck = fn(&Part, &str) -> Vec<String>;

/// `rmaild -n`: checks everything and prints what is wrong; with `-v` also what
/// the language has, with `-vv` the canonical form.  `logins` is lookup's check
/// of the logins of passwd tables; what it finds is no error.
pub fn check(options: &Options, logins: LoginCheck) -> ExitCode {
    log::init("rmaild", log::Dest::Stderr);
    let checked = load(options, 1).and_then(|loaded| {
        check_queue_directory(&loaded).map_err(|e| vec![e])?;
        Ok(loaded)
    });
    match checked {
        Ok(loaded) => {
            let hostname = crate::sys::net::hostname().unwrap_or_default();
            for line in logins(&loaded.part(Kind::Lookup), &hostname) {
                log::warn!("login", msg = line.as_str());
            }
            let bounds = Bounds::of_machine();
            let mut config = loaded.config.clone();
            bounds.apply(&mut config);
            bounds.warn(&config);
            match print(&loaded, options.verbose) {
                Ok(()) => ExitCode::SUCCESS,
                // Whoever reads has read enough.
                Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => ExitCode::SUCCESS,
                Err(_) => ExitCode::from(sysexits::IOERR),
            }
        }
        Err(lines) => {
            let mut err = std::io::stderr().lock();
            for line in lines {
                // A closed stderr leaves nobody to tell; the status does.
                let _ = writeln!(err, "{line}");
            }
            ExitCode::from(sysexits::CONFIG)
        }
    }
}

fn print(loaded: &Loaded, verbose: u8) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match verbose {
        0 => writeln!(out, "configuration OK"),
        1 => {
            writeln!(out, "configuration OK")?;
            for f in conf::FEATURES {
                let state = if f.works { "works" } else { "not supported yet" };
                writeln!(out, "{}: {state}", f.name)?;
            }
            writeln!(out, "{}", Bounds::of_machine())
        }
        _ => out.write_all(loaded.config.print().as_bytes()),
    }?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_no_message_holds_are_told_when_they_are_read() {
        let each = FILE_MAX_OCTETS;
        assert_eq!(too_large("lookup", [each; 3].into_iter()), None);
        let why = too_large("lookup", [each; 4].into_iter()).unwrap();
        assert_eq!(why, "tables and certificates for lookup have 256 MB in all: more than 192 MB");
    }
}
