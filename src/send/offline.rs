//! Mail that the daemon was not there for, or could not take: a file in the
//! offline directory.
//!
//! The directory can be written by all and listed by none but root.  A file
//! belongs to who sent it and is readable by him alone; the daemon, when it
//! finds it, has each sent anew by this program, as its owner, so that a link to
//! another's file gains nothing.

use super::session::{self, Failed, Mail};
use crate::base::clock::WallTime;
use crate::conf::view::QUEUE_TTL;
use crate::disk::offline::{self, Contents, Kept, NotKept};
use crate::proto::addr::{Charset, Mailbox};
use crate::proto::cursor::Cursor;
use crate::proto::date::DateTime;
use crate::proto::dsn::{Action, Diagnostic, Recipient, Report};
use crate::proto::mime::split;
use crate::proto::smtp::command::Ret;
use crate::proto::smtp::reply::Enhanced;
use crate::sys::errno::SysError;
use std::path::Path;

/// Why a kept message is not sent.
pub enum Unsent {
    /// The daemon's word, or the lack of one.
    Session(Failed),
    /// It is no message that this program knows: it stays.
    Unknown,
    /// It was half a message, and is removed: its sender was told that it could
    /// not be kept.
    Half,
}

impl From<Failed> for Unsent {
    fn from(failed: Failed) -> Unsent {
        Unsent::Session(failed)
    }
}

impl From<SysError> for Unsent {
    fn from(e: SysError) -> Unsent {
        Unsent::Session(Failed::Temporary(e.to_string()))
    }
}

impl From<NotKept> for Unsent {
    fn from(e: NotKept) -> Unsent {
        Unsent::Session(Failed::Temporary(e.to_string()))
    }
}

/// Keeps a message until the daemon takes it; it is synced when this returns.
pub fn keep(directory: &Path, mail: &Mail) -> Result<(), NotKept> {
    // A From field that is made has its name from the command line.
    let mut message = session::made_from(mail, &mail.sender).unwrap_or_default().into_bytes();
    message.extend_from_slice(&mail.message);
    let kept = Kept { message, ..kept_for(mail, mail.recipients.clone()) };
    offline::write(directory, &kept).map(drop)
}

/// The message for these recipients.
fn kept_for(mail: &Mail, recipients: Vec<String>) -> Kept {
    Kept {
        sender: mail.sender.clone(),
        recipients,
        notify: mail.notify.clone(),
        ret: mail.ret.clone(),
        envid: mail.envid.clone(),
        message: mail.message.clone(),
    }
}

/// Sends a kept message of this user and removes it.  Nobody waits for the
/// answer any more: who is refused comes back in a report, as from a queue.
pub fn send(socket: &Path, path: &Path) -> Result<(), Unsent> {
    let (mut held, contents) = offline::open(path, crate::sys::user::uid())?;
    let kept = match contents {
        Contents::Whole(kept) => kept,
        Contents::Unknown => return Err(Unsent::Unknown),
        Contents::Half => {
            held.remove()?;
            return Err(Unsent::Half);
        }
    };
    let mut mail = Mail {
        sender: kept.sender,
        full_name: None,
        notify: kept.notify,
        ret: kept.ret,
        envid: kept.envid,
        recipients: kept.recipients,
        message: kept.message,
    };
    loop {
        let mut sent = session::submit_some(socket, &mail)?;
        if held.age() >= QUEUE_TTL {
            // As in the queue: its sender hears of it at last.
            sent.refused.append(&mut sent.later);
        }
        let names = |of: &[(String, String)]| of.iter().map(|(r, _)| r.clone()).collect();
        let left: Vec<String> = [sent.rest.clone(), names(&sent.later)].concat();
        let wanted = mail.notify.as_ref().is_none_or(|n| n.contains("FAILURE"));
        if !sent.refused.is_empty() && wanted {
            let untold: Vec<String> = [left.clone(), names(&sent.refused)].concat();
            if untold.len() < mail.recipients.len() {
                // Whoever has it must not get it again, whatever comes of the report.
                held.replace(&kept_for(&mail, untold))?;
            }
            tell(socket, path, &mail, &sent.refused)?;
        }
        if left.is_empty() {
            return Ok(held.remove()?);
        }
        if left.len() < mail.recipients.len() {
            held.replace(&kept_for(&mail, left.clone()))?;
        }
        if let (true, Some((recipient, why))) = (sent.rest.is_empty(), sent.later.first()) {
            return Err(Failed::Temporary(format!("{recipient}: {why}")).into());
        }
        // What is left was not asked for, since others were taken: it is less
        // each time.
        mail.recipients = left;
    }
}

/// Tells the sender who was refused.
fn tell(
    socket: &Path,
    path: &Path,
    mail: &Mail,
    refused: &[(String, String)],
) -> Result<(), Unsent> {
    let whole = mail.ret.as_deref() != Some("HDRS");
    let told = match report(socket, path, mail, refused, whole) {
        // Too large, perhaps.
        Err(Failed::Refused(_)) if whole => report(socket, path, mail, refused, false),
        told => told,
    };
    match told {
        // Nobody can be told: as with a notification that fails.
        Ok(()) | Err(Failed::Refused(_)) => Ok(()),
        Err(failed) => Err(failed.into()),
    }
}

/// Tells the sender whom the daemon refused, and why.  RFC 3464.
fn report(
    socket: &Path,
    path: &Path,
    mail: &Mail,
    refused: &[(String, String)],
    whole: bool,
) -> Result<(), Failed> {
    let server = session::server_name(socket)?;
    let mailbox = |address: &str| {
        let address = session::complete(address, &server);
        Mailbox::parse(address.as_bytes(), Charset::Utf8).ok()
    };
    let Some(sender) = mailbox(&mail.sender) else {
        return Ok(());
    };
    let mut named: Vec<(Mailbox, &str)> = Vec::new();
    let mut unparsed: Vec<(&str, &str)> = Vec::new();
    for (recipient, why) in refused {
        match mailbox(recipient) {
            Some(address) => named.push((address, why)),
            None => unparsed.push((recipient, why)),
        }
    }
    let now = DateTime::utc(WallTime::now().secs);
    let recipients: Vec<Recipient<'_>> = named
        .iter()
        .map(|(address, why)| Recipient {
            address,
            original: None,
            action: Action::Failed,
            status: status(why),
            remote: None,
            diagnostic: Some(Diagnostic::Local(why)),
            last_attempt: Some(now),
            until: None,
        })
        .collect();
    let id = path.file_name().unwrap_or_default().to_string_lossy();
    // A message can have several reports; each is about fewer recipients.
    let unique = format!("{id}.{}", mail.recipients.len());
    let text = if whole { &mail.message[..] } else { split(&mail.message).0 };
    let report = Report {
        host: &server,
        to: &sender,
        action: Action::Failed,
        recipients: &recipients,
        unparsed: &unparsed,
        envid: mail.envid.as_deref(),
        id: &id,
        arrival: now,
        now,
        unique: &unique,
        returned: if whole { Ret::Full } else { Ret::Hdrs },
        eight_bit: !text.is_ascii(),
    };
    let message = [&report.head()[..], text, &report.tail()].concat();
    let recipients = vec![sender.to_string()];
    let back = Mail {
        sender: String::new(),
        full_name: None,
        notify: None,
        ret: None,
        envid: None,
        recipients,
        message,
    };
    session::submit(socket, &back).map_err(|stopped| stopped.failed)
}

/// The code in a refusal, `550 5.1.1 why`.
fn status(said: &str) -> Enhanced {
    let code = said.get(4..).unwrap_or_default();
    let code = Enhanced::parse(&mut Cursor::new(code.as_bytes()));
    code.filter(|c| c.class == 5).unwrap_or(Enhanced::new(5, 0, 0))
}
