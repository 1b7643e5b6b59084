//! Sending what was kept in the offline directory while no daemon ran.
//!
//! Each file is sent by the sendmail program as the file's owner, one after
//! another, so that whoever put a link there gains nothing that he could not
//! send himself.  Parent reads names and owners, never contents.

use super::children::Running;
use super::Supervisor;
use crate::base::log::{self, Show};
use crate::ipc::parent::{Program, Target};
use crate::proc::table::{self, Kind};
use crate::sys::fdpass;
use crate::sys::user::User;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The directory's name below the queue directory.
const NAME: &str = "offline";
/// Files that are sent after one start; the rest wait for the next.
const MOST: usize = 10_000;

/// The files that wait, and the process that sends one.
#[derive(Default)]
pub struct Offline {
    waiting: Vec<PathBuf>,
    sending: Option<u64>,
}

/// Makes the directory: all may write, root alone may list.
pub fn make(spool: &Path) -> Result<(), String> {
    let path = spool.join(NAME);
    let fail = |e: std::io::Error| format!("{}: {e}", path.display());
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(fail)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o1733)).map_err(fail)
}

impl Supervisor {
    /// Looks what is there, once, when the daemon is at work.
    pub fn find_offline(&mut self) {
        let directory = self.loaded.directories().spool.join(NAME);
        let entries = match std::fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(e) => return log::warn!("offline", error = Show(&e)),
        };
        let names = entries.flatten().map(|e| e.path()).take(MOST);
        self.offline.waiting = names.collect();
        self.send_offline();
    }

    /// Sends the next.
    pub fn send_offline(&mut self) {
        while let Some(path) = self.offline.waiting.pop() {
            let Some(uid) = owner(&path) else { continue };
            match self.send_file(&path, uid) {
                Ok(id) => {
                    self.offline.sending = Some(id);
                    return;
                }
                Err(e) => log::warn!("offline", uid = uid, error = e.as_str()),
            }
        }
        self.offline.sending = None;
    }

    /// A program has ended: if it was sending, the next is sent.
    pub fn offline_ended(&mut self, child: &Running, sent: bool) {
        if self.offline.sending == Some(child.id) {
            if !sent {
                log::warn!(
                    "offline",
                    msg = "a message was not sent: it is tried at the next start"
                );
            }
            self.send_offline();
        }
    }

    fn send_file(&mut self, path: &Path, uid: u32) -> Result<u64, String> {
        let sendmail = self.sendmail().ok_or("no sendmail program beside rmaild")?;
        let user = User::by_uid(uid).map_err(|e| e.to_string())?;
        let user = user.ok_or_else(|| format!("uid {uid} has no name"))?;
        let words = [sendmail.as_path(), Path::new("-S"), &self.loaded.socket_path()]
            .iter()
            .chain(&[Path::new("-Z"), path])
            .map(|w| w.as_os_str().as_bytes().to_vec())
            .collect();
        let program = Program {
            argv: words,
            user: user.name,
            uid,
            gid: user.gid,
            home: PathBuf::from("/"),
            env: vec![b"PATH=/usr/bin:/bin".to_vec()],
        };
        // Nobody reads what it says: the log has its exit status.
        let (_, theirs) = fdpass::socketpair().map_err(|e| e.to_string())?;
        self.spawn(table::process(Kind::Exec), Some((Target::Program { program }, Some(theirs))))
            .map_err(|e| e.to_string())
    }

    /// The sendmail program: beside rmaild, or where make install puts it.
    fn sendmail(&self) -> Option<PathBuf> {
        let program = PathBuf::from(std::ffi::OsStr::from_bytes(self.program.as_bytes()));
        let beside = program.parent()?;
        let places = [beside.join("sendmail"), beside.join("../libexec/rmail/sendmail")];
        places.into_iter().find(|p| p.is_file())
    }
}

/// Who owns a file that may be sent: regular, one name, nobody else's to write.
fn owner(path: &Path) -> Option<u32> {
    let meta = std::fs::symlink_metadata(path).ok()?;
    let plain = meta.is_file() && meta.nlink() == 1 && meta.permissions().mode() & 0o077 == 0;
    plain.then(|| meta.uid())
}
