//! APPEND.  RFC 3501 6.3.11, RFC 4315 3.
//!
//! The message goes from the connection into the file as it comes; it is asked
//! for only after everything that can be refused has been looked at.

use crate::base::clock::Deadline;
use crate::disk::maildir::draft::Finished;
use crate::disk::maildir::{Draft, Error, Name};
use crate::proc::store::session::{stored, Ran, Session, Stop, PACE};
use crate::proto::imap::collect::{self, Skip};
use crate::proto::imap::command::{self, Append};
use crate::proto::imap::lex::Fault;
use crate::proto::imap::reply::{Problem, Reply};
use crate::proto::imap::response::Code;
use crate::proto::imap::seqset::Ranges;
use crate::proto::limits;

/// Takes a message from the client.  `bytes` is the command up to its literal.
pub fn run(s: &mut Session, bytes: &[u8]) -> Ran {
    let append = match command::parse_append(bytes) {
        Ok(Some(append)) => append,
        // The collector has parsed it once, so neither can be.
        Ok(None) => return s.refuse(b"*", Fault::NoMessage),
        Err(refused) => return s.refuse(refused.tag.unwrap_or(b"*"), refused.fault),
    };
    let (name, mut draft) = match begin(s, &append) {
        Ok(begun) => begun,
        Err(reply) => return refuse_unread(s, &append, reply),
    };
    let received = receive(s, &append, &mut draft)?;
    // A second message (RFC 3502) is not announced, so the command ends here.
    let mut rest = Vec::new();
    let deadline = Deadline::after(limits::IMAP_IDLE.duration());
    let ended = match s.io.read_line(&mut rest, limits::IMAP_LINE.size(), deadline) {
        Ok(()) => rest.is_empty(),
        Err(e) if e.in_step() => false,
        Err(e) => return Err(e.into()),
    };
    if !ended {
        s.refuse(append.tag, Fault::Trailing)?;
        return match collect::announced(&rest) {
            Some(head) if !head.synchronising => s.skip(Skip::Octets(head.octets)),
            None if s.io.refused_a_literal() => s.skip(Skip::Close),
            _ => Ok(()),
        };
    }
    let finished = match received.and_then(|()| {
        let date = append.date.map(|d| d.unix);
        draft.finish(date).map_err(|e| s.problem(&e))
    }) {
        Ok(finished) => finished,
        Err(problem) => return s.refuse(append.tag, problem),
    };
    commit(s, &append, &name, finished)
}

/// Looks at everything that can be refused before the message is read.
fn begin(s: &mut Session, append: &Append<'_>) -> Result<(Name, Draft), Reply> {
    if append.message.octets > limits::IMAP_APPEND.default {
        return Err(Problem::TooBig.into());
    }
    if append.message.octets == 0 {
        return Err(Problem::EmptyMessage.into());
    }
    let name = s.target(&append.mailbox)?;
    match s.account.draft(&name) {
        Ok(draft) => Ok((name, draft)),
        Err(Error::NoMailbox) => Err(Problem::TryCreate.into()),
        Err(e) => Err(s.problem(&e).into()),
    }
}

/// Refuses; a message that the client sends unasked is thrown away.
fn refuse_unread(s: &mut Session, append: &Append<'_>, reply: Reply) -> Ran {
    s.refuse(append.tag, reply)?;
    match append.message {
        m if m.synchronising => Ok(()),
        m if m.octets > limits::IMAP_APPEND.default.saturating_mul(2) => s.skip(Skip::Close),
        m => s.skip(Skip::Octets(m.octets)),
    }
}

/// Streams the literal into the draft.  The outer error is the connection's.
fn receive(
    s: &mut Session,
    append: &Append<'_>,
    draft: &mut Draft,
) -> Result<Result<(), Problem>, Stop> {
    if append.message.synchronising {
        s.out.extend_from_slice(b"+ OK\r\n");
    }
    s.hand_over();
    let mut failed = None;
    s.io.read_paced(append.message.octets, PACE, |bytes| {
        if failed.is_none() {
            // literal = *CHAR8, which has no NUL.  RFC 3501 9.
            if memchr::memchr(0, bytes).is_some() {
                failed = Some(Err(Problem::Nul));
            } else if let Err(e) = draft.write(bytes) {
                failed = Some(Ok(e));
            }
        }
    })?;
    Ok(match failed {
        None => Ok(()),
        Some(Err(problem)) => Err(problem),
        Some(Ok(e)) => Err(s.problem(&e)),
    })
}

/// Takes the message into the mailbox: on disk before the OK.
fn commit(s: &mut Session, append: &Append<'_>, name: &Name, finished: Finished) -> Ran {
    let word = |k: &&[u8]| String::from_utf8_lossy(k).into_owned();
    let keywords = append.flags.keywords.iter().map(word).collect();
    let message = (finished, stored(append.flags.system), keywords);
    match s.account.append(name, vec![message]) {
        Ok(placed) => {
            let uids: Ranges = placed.to.iter().copied().collect();
            let code = Code::AppendUid(placed.uidvalidity, &uids);
            s.done(append.tag, Some(code), "Append completed.")
        }
        Err(Error::NoMailbox) => s.refuse(append.tag, Problem::TryCreate),
        Err(e) => s.fail(append.tag, &e),
    }
}
