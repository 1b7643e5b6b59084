//! Mail that is sent while no daemon runs: a file in the offline directory.
//!
//! The directory can be written by all and listed by none but root.  A file
//! belongs to who sent it and is readable by him alone; when the daemon starts
//! it has each sent anew by this program, as its owner, so that a link to
//! another's file gains nothing.

use super::session::{self, Failed, Mail};
use crate::disk::offline::{self, Kept};
use std::path::Path;

/// Where they are kept.
pub const DIRECTORY: &str = "/var/spool/rmail/offline";

/// Keeps a message until the daemon runs; it is synced when this returns.
pub fn keep(mail: &Mail) -> Result<(), String> {
    // A From field that is made has its name from the command line.
    let mut message = session::made_from(mail, &mail.sender).unwrap_or_default().into_bytes();
    message.extend_from_slice(&mail.message);
    let kept = Kept {
        sender: mail.sender.clone(),
        recipients: mail.recipients.clone(),
        notify: mail.notify.clone(),
        ret: mail.ret.clone(),
        envid: mail.envid.clone(),
        message,
    };
    offline::write(Path::new(DIRECTORY), &kept).map(|_| ()).map_err(|e| e.to_string())
}

/// Sends a kept message of this user and removes it.  One that is not whole is
/// removed too: its sender was told that it could not be kept.
pub fn send(socket: &Path, path: &Path) -> Result<(), Failed> {
    let read = offline::read(path, crate::sys::user::uid())
        .map_err(|e| Failed::Temporary(e.to_string()))?;
    if let Some(kept) = read {
        let mail = Mail {
            sender: kept.sender,
            full_name: None,
            notify: kept.notify,
            ret: kept.ret,
            envid: kept.envid,
            recipients: kept.recipients,
            message: kept.message,
        };
        session::submit(socket, &mail)?;
    }
    std::fs::remove_file(path).map_err(|e| Failed::Temporary(format!("{}: {e}", path.display())))
}
