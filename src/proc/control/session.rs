//! One connection to the control socket.

use super::Shared;
use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::ipc::control_smtp::ToSmtp;
use crate::ipc::ctl::{Reply, Request, ADMIN, MAIL};
use crate::ipc::frame::{Broken, Kind, Receiver, Sender};
use crate::ipc::parent::Up;
use crate::ipc::wire::Wire;
use crate::sys::poll;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The largest request: names and ids.
const REQUEST: usize = 8 * 1024;
/// How long a client may take to say what it wants.
const GREETING: Duration = Duration::from_secs(5);
/// How long an administrator may be silent.
const IDLE: Duration = Duration::from_secs(120);
/// How long a request may take, except `Wait`, which says so itself.
const ANSWER: Duration = Duration::from_secs(30);
/// The longest `Wait`.
const WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Serves one connection to its end.
pub fn serve(shared: &Shared, fd: OwnedFd, uid: u32, gid: u32) {
    match first_byte(&fd) {
        Some(MAIL) => {
            shared.sessions.fetch_add(1, Ordering::Relaxed);
            if !shared.pass(&fd, uid, gid, Deadline::after(ANSWER)) {
                let busy = b"421 4.3.0 Service not available, try again later\r\n";
                // The client may be gone; it sees the close in any case.
                let _ = crate::sys::fdpass::send(fd.as_fd(), busy, &[]);
            }
        }
        Some(ADMIN) => {
            if let Err(e) = administrate(shared, fd, uid) {
                if !matches!(e, Broken::Gone | Broken::Timeout) {
                    log::warn!("control", uid = uid, error = Show(&e));
                }
            }
        }
        Some(_) | None => {}
    }
}

/// The byte that says what the connection is for.
fn first_byte(fd: &OwnedFd) -> Option<u8> {
    poll::set_nonblocking(fd.as_fd(), true).ok()?;
    let mut byte = [0u8; 1];
    // A descriptor that comes with it is closed: nobody expects one.
    let mut fds = Vec::new();
    match poll::wait_for(fd.as_fd(), poll::IN, Some(GREETING)) {
        Ok(true) => {}
        Ok(false) | Err(_) => return None,
    }
    match crate::sys::fdpass::recv(fd.as_fd(), &mut byte, &mut fds) {
        Ok(got) if got.bytes == 1 => Some(byte[0]),
        Ok(_) | Err(_) => None,
    }
}

/// Request by request until the client closes.
fn administrate(shared: &Shared, fd: OwnedFd, uid: u32) -> Result<(), Broken> {
    let sender = Sender::new(fd)?;
    let may = shared.admins.may(uid);
    let mut receiver = Receiver::new(REQUEST);
    loop {
        let patience = if may { IDLE } else { GREETING };
        let message = receiver.recv(sender.fd(), Deadline::after(patience))?;
        let request = Request::from_bytes(&message.payload)
            .map_err(|_| Broken::Protocol("malformed request"))?;
        shared.requests.fetch_add(1, Ordering::Relaxed);
        // Nobody waits at a stop for who waits for something else.
        let waits = matches!(request, Request::Wait { .. });
        let _answering = (!waits).then(|| Answering::begin(shared));
        let reply = if may {
            ask(shared, &request)
        } else {
            Reply::Error { text: "permission denied: be root, or in the group _rmaild".into() }
        };
        let payload = reply.to_bytes();
        sender.send(Kind::Reply, message.id, &payload, None, Deadline::after(ANSWER))?;
        if !may {
            return Ok(());
        }
    }
}

/// Has something paused, or resumed.  Parent is told first, and has the last word:
/// the process that does it may be started anew at any time, and begins as parent
/// has it.  So what is asked for counts even if that process does not answer.
fn pause(shared: &Shared, request: &Request) -> Reply {
    let (Request::Pause { what } | Request::Resume { what }) = request else {
        return Reply::Error { text: "not a pause".into() };
    };
    // Two at once would reach the two processes in any order.
    let _turn = lock::lock(&shared.pausing);
    let kept = ask_parent(shared, request);
    if !matches!(kept, Reply::Ok { .. }) {
        return kept;
    }
    let deadline = Deadline::after(ANSWER);
    let done = match what.as_str() {
        "smtp" => {
            let paused = matches!(request, Request::Pause { .. });
            shared.smtp.tell_again(&ToSmtp::Pause { paused }, deadline).map(|()| kept)
        }
        _ => shared.queue.call_again(request, deadline),
    };
    done.unwrap_or_else(|e| Reply::Error {
        text: format!("{e}: it is so when the process answers, or is started anew"),
    })
}

/// Counts a request until its answer was sent.
struct Answering<'a>(&'a Shared);

impl<'a> Answering<'a> {
    fn begin(shared: &'a Shared) -> Self {
        shared.answering.fetch_add(1, Ordering::SeqCst);
        Answering(shared)
    }
}

impl Drop for Answering<'_> {
    fn drop(&mut self) {
        self.0.answering.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Has a request answered by whom it concerns.
fn ask(shared: &Shared, request: &Request) -> Reply {
    let failed = |e: crate::ipc::call::CallError| Reply::Error { text: e.to_string() };
    match request {
        Request::Pause { .. } | Request::Resume { .. } => pause(shared, request),
        Request::Wait { millis, .. } => {
            // A little longer than queue waits, so that it is queue that answers.
            let wait = Duration::from_millis(*millis).min(WAIT) + Duration::from_secs(2);
            shared.queue.call(request, Deadline::after(wait)).unwrap_or_else(failed)
        }
        Request::ShowQueue { .. }
        | Request::ShowMessage { .. }
        | Request::ShowEnvelope { .. }
        | Request::Schedule { .. }
        | Request::Remove { .. }
        | Request::Hold { .. }
        | Request::Release { .. } => {
            shared.queue.call(request, Deadline::after(ANSWER)).unwrap_or_else(failed)
        }
        Request::Reload
        | Request::Stop
        | Request::ShowProcs
        | Request::ShowListeners
        | Request::ShowStats
        | Request::ShowLimits
        | Request::Verbose { .. }
        | Request::UpdateTable { .. } => ask_parent(shared, request),
    }
}

fn ask_parent(shared: &Shared, request: &Request) -> Reply {
    let slot = shared.answers.begin();
    let up = Up::Admin { request: slot.request, payload: request.to_bytes() };
    if let Err(e) = shared.parent.tell(&up, None) {
        return Reply::Error { text: e.to_string() };
    }
    match slot.wait(Deadline::after(ANSWER)).map(|bytes| Reply::from_bytes(&bytes)) {
        Ok(Ok(reply)) => reply,
        Ok(Err(e)) => Reply::Error { text: e.to_string() },
        Err(e) => Reply::Error { text: e.to_string() },
    }
}
