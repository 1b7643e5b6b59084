//! rmailctl's side of the control socket.

use super::json::Json;
use super::{fail, Options};
use crate::base::clock::Deadline;
use crate::base::exits::sysexits;
use crate::ipc::ctl::{Reply, Request, ADMIN};
use crate::ipc::frame::{Broken, Kind, Receiver, Sender, MESSAGE};
use crate::ipc::wire::Wire;
use crate::sys::errno::reason;
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

/// How long the daemon may take for what queue answers: longer than control
/// waits, which then says what is wrong.
const PATIENCE: Duration = Duration::from_secs(40);
/// How long for what parent answers, which waits for nobody.
const AT_ONCE: Duration = Duration::from_secs(10);

/// A connection to the daemon.
pub struct Client {
    sender: Sender,
    receiver: Receiver,
    next: u64,
}

impl Client {
    /// Connects.  The error is for people.
    pub fn connect(options: &Options) -> Result<Client, String> {
        let path = options.socket.display();
        let mut stream = UnixStream::connect(&options.socket).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => {
                format!("{path}: {}: is rmaild running?", reason(&e))
            }
            _ => format!("{path}: {}", reason(&e)),
        })?;
        stream.write_all(&[ADMIN]).map_err(|e| format!("{path}: {}", reason(&e)))?;
        let sender = Sender::new(OwnedFd::from(stream)).map_err(|e| format!("{path}: {e}"))?;
        Ok(Client { sender, receiver: Receiver::new(MESSAGE), next: 0 })
    }

    /// Asks; blocks for as long as the request may take.
    pub fn ask(&mut self, request: &Request) -> Result<Reply, String> {
        let patience = match request {
            Request::Wait { millis, .. } => {
                Duration::from_millis(*millis).saturating_add(Duration::from_secs(10))
            }
            Request::Stop
            | Request::ShowProcs
            | Request::ShowListeners
            | Request::ShowStats
            | Request::ShowLimits
            | Request::Verbose { .. } => AT_ONCE,
            _ => PATIENCE,
        };
        let deadline = Deadline::after(patience);
        self.next = self.next.wrapping_add(1);
        self.sender
            .send(Kind::Request, self.next, &request.to_bytes(), None, deadline)
            .map_err(|e| unanswered(&e, patience))?;
        let received = self.receiver.recv(self.sender.fd(), deadline);
        let m = received.map_err(|e| unanswered(&e, patience))?;
        Reply::from_bytes(&m.payload).map_err(|e| format!("rmaild: {e}: another version?"))
    }
}

/// Why there is no answer, and what to do.
fn unanswered(e: &Broken, patience: Duration) -> String {
    match e {
        Broken::Timeout => format!(
            "rmaild: no answer within {} s: its control process is stopped or overloaded \
             (mail is not concerned; ps(1) shows \"rmaild: control\", kill -CONT or -KILL helps it)",
            patience.as_secs()
        ),
        Broken::Gone => {
            "rmaild: its control process ended the connection: try again".to_owned()
        }
        e => format!("rmaild: {e}"),
    }
}

/// Connects, asks, and gives what is not an error.  The other case is printed
/// already, with the status to exit with.
pub fn ask(options: &Options, request: &Request) -> Result<Reply, ExitCode> {
    let mut client = Client::connect(options).map_err(|e| fail(&e, sysexits::UNAVAILABLE))?;
    again(&mut client, request)
}

/// The same on a connection that is there.
pub fn again(client: &mut Client, request: &Request) -> Result<Reply, ExitCode> {
    match client.ask(request) {
        Ok(Reply::Error { text }) => Err(fail(&text, 1)),
        Ok(Reply::Errors { lines }) => {
            for line in &lines {
                fail(line, 1);
            }
            Err(ExitCode::FAILURE)
        }
        Ok(reply) => Ok(reply),
        Err(e) => Err(fail(&e, sysexits::UNAVAILABLE)),
    }
}

/// For requests whose answer is that it is done.
pub fn command(options: &Options, request: &Request) -> ExitCode {
    match ask(options, request) {
        Ok(Reply::Ok { text }) if options.json => {
            super::print(&Json::Object(vec![("done", Json::Text(text))]).line())
        }
        Ok(Reply::Ok { text }) if text.is_empty() => ExitCode::SUCCESS,
        Ok(Reply::Ok { text }) => super::print(format!("{text}\n").as_bytes()),
        Ok(_) => fail("rmaild gave an unexpected answer", sysexits::PROTOCOL),
        Err(code) => code,
    }
}
