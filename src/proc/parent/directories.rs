//! The daemon's own directories: made with their owners, and looked at before
//! anything is trusted to lie in them.

use super::load::Loaded;
use crate::conf::ast::Stmt;
use crate::proc::table;
use crate::sys::errno::SysError;
use crate::sys::file::{open_directory, try_lock, Lock};
use crate::sys::user::{self, User};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::Path;

/// What is wrong with the queue directory, if it is there: queue could not tell,
/// which sees no path above it.
pub fn check_queue_directory(loaded: &Loaded) -> Result<(), String> {
    let at = loaded.config.statements.iter().find_map(|s| match &s.stmt {
        Stmt::QueueDirectory(_) => Some(format!("{}: ", s.at)),
        _ => None,
    });
    let spool = loaded.directories().spool;
    let path = spool.display();
    let no = |why: String| Err(format!("{}queue directory: {why}", at.unwrap_or_default()));
    let meta = match std::fs::metadata(&spool) {
        Ok(meta) => meta,
        // It is made at the start.
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return no(SysError::of("stat", &e).at(&spool).to_string()),
    };
    if !meta.is_dir() {
        return no(format!("{path} is no directory"));
    }
    let mode = meta.permissions().mode() & 0o777;
    if mode & 0o022 != 0 {
        return no(format!("others may write it (mode {mode:03o}): chmod go-w {path}"));
    }
    let name = table::USER_QUEUE;
    let owner = User::by_name(name).map_err(|e| e.to_string())?;
    if user::is_root() && owner.is_some_and(|u| u.uid != meta.uid()) {
        let uid = meta.uid();
        return no(format!("{path} belongs to uid {uid}, and not to {name}: chown {name} {path}"));
    }
    Ok(())
}

/// The daemon's own directories, with their owners.
pub fn make_all(loaded: &Loaded) -> Result<(), String> {
    check_queue_directory(loaded)?;
    let dirs = loaded.directories();
    let queue = User::by_name(table::USER_QUEUE);
    let queue = queue.map_err(|e| e.to_string())?.map(|u| (u.uid, u.gid));
    // Users reach the offline directory in it; what is beside that is closed.
    make(&dirs.spool, 0o711, queue)?;
    make(&dirs.socket, 0o755, None)?;
    if user::is_root() {
        make(Path::new("/var/empty"), 0o755, None)?;
    }
    Ok(())
}

/// Takes the queue directory for this daemon; held until the file is closed.
pub fn lock_queue(loaded: &Loaded) -> Result<std::fs::File, String> {
    let spool = loaded.directories().spool;
    let directory = std::fs::File::open(&spool).map_err(|e| format!("{}: {e}", spool.display()))?;
    match try_lock(&directory, Lock::Exclusive) {
        Ok(true) => Ok(directory),
        Ok(false) => Err(format!(
            "{}: another rmaild has this queue: stop it, or give each its own with queue \
             directory \"path\"",
            spool.display()
        )),
        Err(e) => Err(e.at(&spool).to_string()),
    }
}

/// Makes a directory, or makes sure that one which is there is its owner's
/// alone to write: whoever else may put names into it has us follow them.
fn make(path: &Path, mode: u32, owner: Option<(u32, u32)>) -> Result<(), String> {
    let fail = |e: std::io::Error| SysError::of("mkdir", &e).at(path).to_string();
    let owner = owner.filter(|_| user::is_root());
    if let Err(e) = std::fs::metadata(path) {
        if e.kind() != std::io::ErrorKind::NotFound {
            return Err(fail(e));
        }
        std::fs::DirBuilder::new().recursive(true).mode(mode).create(path).map_err(fail)?;
        let made = open_directory(path).map_err(|e| e.to_string())?;
        made.set_permissions(std::fs::Permissions::from_mode(mode)).map_err(fail)?;
        if let Some((uid, gid)) = owner {
            std::os::unix::fs::fchown(&made, Some(uid), Some(gid)).map_err(fail)?;
        }
        return Ok(());
    }
    let meta = std::fs::metadata(path).map_err(fail)?;
    if !meta.is_dir() {
        return Err(format!("{}: not a directory", path.display()));
    }
    let ours = [Some(0), Some(user::uid()), owner.map(|(uid, _)| uid)];
    if !ours.contains(&Some(meta.uid())) {
        return Err(format!(
            "{}: belongs to uid {}, who could have rmaild write elsewhere: chown it",
            path.display(),
            meta.uid()
        ));
    }
    // In a sticky one nobody renames what is ours.
    let mode = meta.permissions().mode();
    if mode & 0o022 != 0 && mode & 0o1000 == 0 {
        return Err(format!(
            "{}: others may write in it (mode {:04o}): chmod go-w {0}",
            path.display(),
            mode & 0o7777,
        ));
    }
    Ok(())
}
