//! IDLE.  RFC 2177: news as they happen, until the client says DONE.
//!
//! The session waits in poll(2) for its client and for the mailbox's waker; a
//! delivery by this server rings it from memory, so the client hears in the
//! time of a system call.  No timer looks for news: the only deadline is that
//! of a client which says nothing.  What other programs do in the directories
//! is found by the session's next command.

use crate::base::clock::Deadline;
use crate::base::line::LineError;
use crate::base::log::{self, Show};
use crate::proc::store::notify::Waker;
use crate::proc::store::session::{Ran, Session, Sid, Stop};
use crate::proto::imap::lex::Fault;
use crate::proto::imap::response;
use crate::proto::limits;
use crate::sys::errno::SysError;
use crate::sys::poll::{self, PollFd};
use std::os::fd::AsFd;
use std::sync::Arc;

/// Waits, tells, waits, until DONE.
pub fn run(s: &mut Session, tag: &[u8]) -> Ran {
    let deadline = Deadline::after(limits::IMAP_IDLE.duration());
    let waker = match s.selected.as_mut().map(|selected| selected.view.waker()) {
        None => None,
        Some(Ok(waker)) => Some(waker),
        Some(Err(e)) => {
            // Without descriptors there is still DONE to wait for.
            log::warn!("imap", sid = Sid(s.sid), error = Show(&e));
            None
        }
    };
    response::go_on(&mut s.out, "idling");
    loop {
        // After the waker exists and before the wait, or a change in between
        // is heard only with the next.
        s.tell(true)?;
        s.flush()?;
        if wait(s, waker.as_ref(), deadline)? {
            break;
        }
    }
    let mut line = Vec::new();
    match s.io.read_line(&mut line, limits::IMAP_LINE.size(), deadline) {
        Ok(()) if line.eq_ignore_ascii_case(b"DONE") => s.ok(tag, "Idle completed."),
        Ok(()) => s.refuse(tag, Fault::NoDone),
        Err(e) if e.in_step() => s.refuse(tag, Fault::NoDone),
        Err(e) => Err(e.into()),
    }
}

/// Waits for the client (true) or for news (false).
fn wait(s: &Session, waker: Option<&Arc<Waker>>, deadline: Deadline) -> Result<bool, Stop> {
    if !s.io.buffered().is_empty() || s.is_stopping() {
        return Ok(true);
    }
    let news = waker.map_or_else(PollFd::none, |w| PollFd::new(w.fd(), poll::IN));
    let mut fds = [PollFd::new(s.io.stream().as_fd(), poll::IN), news];
    match poll::wait(&mut fds, deadline.left()) {
        Ok(_) => {}
        Err(e) => return Err(LineError::Stream(SysError::of("poll", &e).into()).into()),
    }
    let [client, _] = &fds;
    Ok(client.ready() || deadline.expired())
}
