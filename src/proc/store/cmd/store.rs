//! STORE and UID STORE.  RFC 3501 6.4.6.

use crate::disk::maildir::FlagOp;
use crate::proc::store::session::{stored, write_message_flags, Ran, Session};
use crate::proto::imap::command::How;
use crate::proto::imap::flag::Flags;
use crate::proto::imap::reply::Problem;
use crate::proto::imap::seqset::SeqSet;

/// The arguments.
pub struct Store<'a> {
    /// True for UID STORE.
    pub uid: bool,
    /// The messages.
    pub set: SeqSet,
    /// What is done with the flags.
    pub how: How,
    /// No FETCH responses are wanted.
    pub silent: bool,
    /// The flags.
    pub flags: Flags<'a>,
}

/// Changes flags: the files have their new names, synced, before the OK.
pub fn run(s: &mut Session, tag: &[u8], store: &Store<'_>) -> Ran {
    let messages = match s.messages(&store.set, store.uid) {
        Ok(messages) => messages,
        Err(reply) => return s.refuse(tag, reply),
    };
    let Some(selected) = &mut s.selected else { return s.refuse(tag, Problem::NotSelected) };
    if selected.view.read_only {
        return s.refuse(tag, Problem::ReadOnly);
    }
    let uids: Vec<u32> = messages.iter().map(|(_, uid)| *uid).collect();
    let op = match store.how {
        How::Replace => FlagOp::Set,
        How::Add => FlagOp::Add,
        How::Remove => FlagOp::Remove,
    };
    // The grammar's atoms are ASCII.
    let words = store.flags.keywords.iter().filter_map(|k| std::str::from_utf8(k).ok());
    let keywords: Vec<&str> = words.collect();
    let done = selected.view.store_flags(&uids, op, stored(store.flags.system), &keywords);
    let done = match done {
        Ok(done) => done,
        Err(e) => return s.fail(tag, &e),
    };
    // One sync for all of the command.  `\Seen` that FETCH sets has none: nothing
    // is said of it, and a message that is unread again is not lost.
    if !done.changed.is_empty() {
        if let Err(e) = selected.view.commit_flags() {
            return s.fail(tag, &e);
        }
    }
    if !store.silent {
        // A keyword that is new is named by FLAGS before it is used.
        s.tell(false)?;
        for uid in &uids {
            let Some(selected) = &s.selected else { break };
            write_message_flags(&mut s.out, &selected.view, *uid, store.uid);
            s.flush_if_large()?;
        }
    }
    if let Some(e) = done.failed {
        return s.fail(tag, &e);
    }
    if !done.gone.is_empty() {
        s.tell(store.uid)?;
        return s.refuse(tag, Problem::Expunged);
    }
    s.done_numbered(tag, store.uid, "Store completed.")
}
