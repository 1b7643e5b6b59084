//! Asking a peer and waiting for its answer, from many threads over one channel.
//!
//! Runs in every process.  A [`Peer`] is what a process holds for a neighbour
//! in the process graph: it stays while the channel below it is replaced
//! whenever the neighbour was restarted.  Each call has an id and a slot; one
//! thread reads the channel and wakes the caller whose answer came.  The
//! peer's death wakes all with [`CallError::PeerGone`]; an answer that comes
//! after its caller gave up is dropped and its descriptor closed.  So does a
//! channel on which the rules of framing were broken; parent is told, and hands
//! out another.
//!
//! A blocking call may only go to the right of the order in
//! [`crate::proc::table`]; the other way there are events only.  So nobody can
//! wait in a circle.

use crate::base::clock::Deadline;
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::ipc::frame::{Broken, Kind, Message, Receiver, Sender, MESSAGE};
use crate::ipc::wire::Wire;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::mpsc::{sync_channel, RecvTimeoutError, SyncSender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// Stack of a channel's reader; it only decodes and hands over.
const STACK: usize = 256 * 1024;

/// How long an answer or event may take to leave: longer, and the peer is
/// stopped or overloaded, and a reply that cannot be sent is a reply not given.
const SEND: Duration = Duration::from_secs(10);

/// Why a call has no answer.  Each is temporary for whoever is served: 4xx,
/// NO \[UNAVAILABLE\], never a refusal for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallError {
    /// The process is being restarted.
    PeerGone,
    /// No answer in time.
    Timeout,
    /// Its pool for this kind of work is full.
    Busy,
    /// It answered what this edge does not allow.
    Malformed,
}

impl std::fmt::Display for CallError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            CallError::PeerGone => "peer process is gone",
            CallError::Timeout => "peer process did not answer in time",
            CallError::Busy => "peer process is busy",
            CallError::Malformed => "peer process gave a malformed answer",
        })
    }
}

impl std::error::Error for CallError {}

/// The time left, as std's waits want it: a year stands for ever.
pub(super) fn left(deadline: Deadline) -> Duration {
    const YEAR: Duration = Duration::from_secs(365 * 24 * 60 * 60);
    deadline.left().unwrap_or(YEAR)
}

type Answer = Result<(Vec<u8>, Option<OwnedFd>), CallError>;

/// Anything that takes requests and events from a peer.
pub trait Serve: Send + Sync + 'static {
    /// A request arrived.  Runs on the channel's reader thread and must not
    /// block: work goes to a [`crate::ipc::pool::Pool`], whose job answers
    /// through `back`.
    fn request(&self, payload: Vec<u8>, fd: Option<OwnedFd>, back: Back);

    /// An event arrived.  The same rule.
    fn event(&self, payload: Vec<u8>, fd: Option<OwnedFd>);

    /// A fresh channel to the peer comes in place: nobody has sent on it yet, and
    /// nothing that the peer has sent has been seen.  It must not send itself.
    fn attached(&self) {}
}

/// A server for edges on which the peer only answers.
pub struct NoRequests;

impl Serve for NoRequests {
    fn request(&self, _: Vec<u8>, _: Option<OwnedFd>, back: Back) {
        back.busy();
    }
    fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
}

/// The way back to whoever asked.  Dropping it unanswered says `Busy`, so a
/// caller is told at once when its job was lost.
pub struct Back {
    link: Arc<Link>,
    id: u64,
    answered: bool,
}

impl Back {
    /// Answers.  An answer that the peer does not take in time is dropped; it
    /// then runs into its own deadline.
    pub fn reply<T: Wire>(mut self, answer: &T, fd: Option<BorrowedFd<'_>>) {
        self.send(Kind::Reply, &answer.to_bytes(), fd);
    }

    /// Says that there is no room.
    pub fn busy(mut self) {
        self.send(Kind::Busy, &[], None);
    }

    fn send(&mut self, kind: Kind, payload: &[u8], fd: Option<BorrowedFd<'_>>) {
        self.answered = true;
        // The peer's death or silence is its own reader's and callers' affair.
        let _ = self.link.sender.send(kind, self.id, payload, fd, Deadline::after(SEND));
    }
}

impl Drop for Back {
    fn drop(&mut self) {
        if !self.answered {
            self.send(Kind::Busy, &[], None);
        }
    }
}

/// One end of a channel to a neighbour, and what is to be done when the channel
/// breaks although both ends live.
pub struct Channel {
    fd: OwnedFd,
    broken: Box<dyn FnOnce() + Send>,
}

impl Channel {
    /// `broken` runs on the channel's reader thread, when that thread has found
    /// what makes the channel useless and has closed it.
    pub fn new(fd: OwnedFd, broken: impl FnOnce() + Send + 'static) -> Channel {
        Channel { fd, broken: Box::new(broken) }
    }
}

/// A channel that nobody replaces.
impl From<OwnedFd> for Channel {
    fn from(fd: OwnedFd) -> Channel {
        Channel::new(fd, || ())
    }
}

/// One channel in use: its writing half and the calls that wait on it.
struct Link {
    sender: Sender,
    waiting: Mutex<Option<Waiting>>,
}

struct Waiting {
    next: u64,
    slots: HashMap<u64, SyncSender<Answer>>,
}

impl Link {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        lock::lock(&self.waiting)
    }

    /// A slot for one call; `None` when the peer is already known to be gone.
    fn slot(&self, to: SyncSender<Answer>) -> Option<u64> {
        let mut waiting = self.waiting();
        let waiting = waiting.as_mut()?;
        waiting.next = waiting.next.wrapping_add(1);
        waiting.slots.insert(waiting.next, to);
        Some(waiting.next)
    }

    fn forget(&self, id: u64) {
        if let Some(w) = self.waiting().as_mut() {
            w.slots.remove(&id);
        }
    }

    fn answer(&self, id: u64, answer: Answer) {
        let slot = self.waiting().as_mut().and_then(|w| w.slots.remove(&id));
        if let Some(slot) = slot {
            // The caller may have given up this instant; its descriptor closes.
            let _ = slot.send(answer);
        }
    }

    /// Wakes every caller: dropping the slots is what they see as `PeerGone`.
    fn close(&self) {
        self.waiting().take();
    }
}

/// A neighbour in the process graph, asked with `Q` and answering `A`.
pub struct Peer<Q, A> {
    name: &'static str,
    link: Mutex<Option<Arc<Link>>>,
    /// A channel has been put in place.
    fresh: Condvar,
    serve: Arc<dyn Serve>,
    types: PhantomData<fn(Q) -> A>,
}

impl<Q: Wire, A: Wire> Peer<Q, A> {
    /// A neighbour without a channel yet: calls fail with `PeerGone`.
    pub fn new(name: &'static str, serve: Arc<dyn Serve>) -> Self {
        Peer { name, link: Mutex::new(None), fresh: Condvar::new(), serve, types: PhantomData }
    }

    /// Puts a fresh channel in place; calls on the old one end in `PeerGone`.
    /// Starts the reader thread.
    pub fn attach(&self, channel: impl Into<Channel>) -> std::io::Result<()> {
        let Channel { fd, broken } = channel.into();
        let link = Arc::new(Link {
            sender: Sender::new(fd)?,
            waiting: Mutex::new(Some(Waiting { next: 0, slots: HashMap::new() })),
        });
        let reader = Arc::clone(&link);
        let serve = Arc::clone(&self.serve);
        let name = self.name;
        let mut current = self.lock();
        // Before anything that the peer has sent on the fresh channel is seen, and
        // under the lock: nobody sends on it before.
        self.serve.attached();
        std::thread::Builder::new().name(format!("<-{name}")).stack_size(STACK).spawn(
            move || {
                let why = read(&reader, serve.as_ref());
                if matches!(why, Broken::Gone) {
                    return reader.close();
                }
                log::warn!("channel", to = name, error = Show(&why));
                reader.sender.shutdown();
                reader.close();
                broken();
            },
        )?;
        if let Some(old) = current.replace(link) {
            old.close();
        }
        drop(current);
        self.fresh.notify_all();
        Ok(())
    }

    /// Asks and waits for the answer; blocks up to `deadline`.  Any thread.
    pub fn call(&self, ask: &Q, deadline: Deadline) -> Result<A, CallError> {
        self.call_fd(ask, None, deadline).map(|(a, _)| a)
    }

    /// The same of a peer that may be dying: asks its successor again, up to
    /// `deadline`.  For questions that change nothing.
    pub fn call_again(&self, ask: &Q, deadline: Deadline) -> Result<A, CallError> {
        loop {
            let tried = self.lock().clone();
            match self.call(ask, deadline) {
                Err(CallError::PeerGone) => self.wait_fresh(tried.as_ref(), deadline)?,
                answer => return answer,
            }
        }
    }

    /// Waits for another channel than this.
    fn wait_fresh(&self, than: Option<&Arc<Link>>, deadline: Deadline) -> Result<(), CallError> {
        let mut link = self.lock();
        while link.as_ref().map(Arc::as_ptr) == than.map(Arc::as_ptr) {
            if deadline.expired() {
                return Err(CallError::PeerGone);
            }
            link = lock::wait_for(&self.fresh, link, deadline.left());
        }
        Ok(())
    }

    /// The same with a descriptor each way.
    pub fn call_fd(
        &self,
        ask: &Q,
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(A, Option<OwnedFd>), CallError> {
        let link = self.current()?;
        let (to, answer) = sync_channel(1);
        let id = link.slot(to).ok_or(CallError::PeerGone)?;
        let sent = link.sender.send(Kind::Request, id, &ask.to_bytes(), fd, deadline);
        if let Err(e) = sent {
            link.forget(id);
            return Err(match e {
                Broken::Timeout => CallError::Timeout,
                _ => CallError::PeerGone,
            });
        }
        match answer.recv_timeout(left(deadline)) {
            Ok(Ok((payload, fd))) => {
                A::from_bytes(&payload).map(|a| (a, fd)).map_err(|_| CallError::Malformed)
            }
            Ok(Err(e)) => Err(e),
            Err(RecvTimeoutError::Disconnected) => Err(CallError::PeerGone),
            Err(RecvTimeoutError::Timeout) => {
                link.forget(id);
                Err(CallError::Timeout)
            }
        }
    }

    /// Tells something and does not wait for an answer; blocks up to
    /// `deadline` for room in the channel.
    pub fn tell<E: Wire>(
        &self,
        event: &E,
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        self.tell_if(|| true, event, fd, deadline)
    }

    /// The same of a peer that may be dying: tells its successor, up to `deadline`.
    /// For what may be told twice.
    pub fn tell_again<E: Wire>(&self, event: &E, deadline: Deadline) -> Result<(), CallError> {
        loop {
            let tried = self.lock().clone();
            match self.tell(event, None, deadline) {
                Err(CallError::PeerGone) => self.wait_fresh(tried.as_ref(), deadline)?,
                told => return told,
            }
        }
    }

    /// The same, if `wanted` says so once the channel is chosen, of which
    /// [`Serve::attached`] has returned by then.
    pub fn tell_if<E: Wire>(
        &self,
        wanted: impl FnOnce() -> bool,
        event: &E,
        fd: Option<BorrowedFd<'_>>,
        deadline: Deadline,
    ) -> Result<(), CallError> {
        let link = self.current()?;
        if !wanted() {
            return Ok(());
        }
        let sent = link.sender.send(Kind::Event, 0, &event.to_bytes(), fd, deadline);
        sent.map_err(|e| match e {
            Broken::Timeout => CallError::Timeout,
            _ => CallError::PeerGone,
        })
    }

    fn current(&self) -> Result<Arc<Link>, CallError> {
        self.lock().clone().ok_or(CallError::PeerGone)
    }

    fn lock(&self) -> MutexGuard<'_, Option<Arc<Link>>> {
        lock::lock(&self.link)
    }
}

/// Reads one channel to its end, and says what ended it.
fn read(link: &Arc<Link>, serve: &dyn Serve) -> Broken {
    let mut receiver = Receiver::new(MESSAGE);
    loop {
        // A descriptor that found no room is not there: what was to come with
        // it fails, and nothing else does.
        let Message { kind, id, payload, fd, .. } =
            match receiver.recv(link.sender.fd(), Deadline::NEVER) {
                Ok(message) => message,
                Err(e) => return e,
            };
        match kind {
            Kind::Reply => link.answer(id, Ok((payload, fd))),
            Kind::Busy => link.answer(id, Err(CallError::Busy)),
            Kind::Event => serve.event(payload, fd),
            Kind::Request => {
                let back = Back { link: Arc::clone(link), id, answered: false };
                serve.request(payload, fd, back);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::fdpass;
    use std::os::fd::AsFd;

    struct Doubler;
    impl Serve for Doubler {
        fn request(&self, payload: Vec<u8>, fd: Option<OwnedFd>, back: Back) {
            match u32::from_bytes(&payload) {
                Ok(7) => drop(back),
                Ok(8) => std::mem::forget(back),
                Ok(n) => back.reply(&(n * 2), fd.as_ref().map(AsFd::as_fd)),
                Err(_) => back.reply(&Vec::<u8>::new(), None),
            }
        }
        fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
    }

    fn pair() -> (Peer<u32, u32>, Peer<u32, u32>) {
        let (a, b) = fdpass::socketpair().unwrap();
        let client = Peer::new("server", Arc::new(NoRequests));
        let server = Peer::new("client", Arc::new(Doubler));
        client.attach(a).unwrap();
        server.attach(b).unwrap();
        (client, server)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(20))
    }

    #[test]
    fn many_threads_each_get_their_own_answer() {
        let (client, _server) = pair();
        std::thread::scope(|s| {
            for t in 0..16u32 {
                let client = &client;
                s.spawn(move || {
                    for i in 100..200 {
                        assert_eq!(client.call(&(t * 1000 + i), soon()), Ok((t * 1000 + i) * 2));
                    }
                });
            }
        });
    }

    #[test]
    fn a_question_is_asked_of_the_successor_of_a_peer_that_died() {
        let client: Peer<u32, u32> = Peer::new("server", Arc::new(NoRequests));
        std::thread::scope(|s| {
            let asked = s.spawn(|| client.call_again(&21, soon()));
            // The first takes the question and dies, the second answers it.
            let (a, b) = fdpass::socketpair().unwrap();
            client.attach(a).unwrap();
            let message = Receiver::new(MESSAGE).recv(b.as_fd(), soon()).unwrap();
            assert_eq!(message.kind, Kind::Request);
            drop(b);
            let (a, b) = fdpass::socketpair().unwrap();
            let server: Peer<u32, u32> = Peer::new("client", Arc::new(Doubler));
            server.attach(b).unwrap();
            client.attach(a).unwrap();
            assert_eq!(asked.join().unwrap(), Ok(42));
        });
        let nobody: Peer<u32, u32> = Peer::new("nobody", Arc::new(NoRequests));
        let soon = Deadline::after(Duration::from_millis(1));
        assert_eq!(nobody.call_again(&1, soon), Err(CallError::PeerGone));
    }

    #[test]
    fn a_descriptor_travels_with_its_message() {
        use std::io::{Read, Write};
        let (client, _server) = pair();
        let (reader, writer) = std::io::pipe().unwrap();
        let writer = OwnedFd::from(writer);
        let (n, back) = client.call_fd(&4, Some(writer.as_fd()), soon()).unwrap();
        assert_eq!(n, 8);
        drop(writer);
        std::fs::File::from(back.unwrap()).write_all(b"through").unwrap();
        let mut got = String::new();
        let mut reader = reader;
        reader.read_to_string(&mut got).unwrap();
        assert_eq!(got, "through");
    }

    #[test]
    fn a_dropped_request_is_busy_and_a_lost_one_times_out() {
        let (client, _server) = pair();
        assert_eq!(client.call(&7, soon()), Err(CallError::Busy));
        let short = Deadline::after(Duration::from_millis(50));
        assert_eq!(client.call(&8, short), Err(CallError::Timeout));
        assert_eq!(client.call(&5, soon()), Ok(10));
    }

    #[test]
    fn the_death_of_a_peer_wakes_its_callers_and_a_fresh_channel_serves_again() {
        let (a, b) = fdpass::socketpair().unwrap();
        let client: Peer<u32, u32> = Peer::new("server", Arc::new(NoRequests));
        assert_eq!(client.call(&1, soon()), Err(CallError::PeerGone));
        client.attach(a).unwrap();
        std::thread::scope(|s| {
            let waiter = s.spawn(|| client.call(&1, soon()));
            Receiver::new(MESSAGE).recv(b.as_fd(), Deadline::NEVER).unwrap();
            drop(b);
            assert_eq!(waiter.join().unwrap(), Err(CallError::PeerGone));
        });
        let (a, b) = fdpass::socketpair().unwrap();
        let server: Peer<u32, u32> = Peer::new("client", Arc::new(Doubler));
        server.attach(b).unwrap();
        client.attach(a).unwrap();
        assert_eq!(client.call(&1, soon()), Ok(2));
    }

    #[test]
    fn a_channel_that_is_broken_is_closed_and_somebody_is_told() {
        let (a, b) = fdpass::socketpair().unwrap();
        let client: Peer<u32, u32> = Peer::new("server", Arc::new(NoRequests));
        let (tell, told) = sync_channel(1);
        client.attach(Channel::new(a, move || tell.send(()).unwrap())).unwrap();
        std::thread::scope(|s| {
            let waiter = s.spawn(|| client.call(&1, soon()));
            Receiver::new(MESSAGE).recv(b.as_fd(), Deadline::NEVER).unwrap();
            fdpass::send(b.as_fd(), &[0xff; 14], &[]).unwrap();
            assert_eq!(waiter.join().unwrap(), Err(CallError::PeerGone));
        });
        assert_eq!(told.recv_timeout(Duration::from_secs(20)), Ok(()));
        // The other end sees it too, and a caller does not wait.
        let end = Receiver::new(MESSAGE).recv(b.as_fd(), soon());
        assert!(matches!(end, Err(Broken::Gone)), "{end:?}");
        assert_eq!(client.call(&1, soon()), Err(CallError::PeerGone));
        // One whose other end died is no news: parent knows.
        let (a, b) = fdpass::socketpair().unwrap();
        let (tell, told) = sync_channel(1);
        client.attach(Channel::new(a, move || tell.send(()).unwrap())).unwrap();
        drop(b);
        assert!(told.recv_timeout(Duration::from_secs(20)).is_err());
    }

    #[test]
    fn a_message_longer_than_a_frame_arrives_whole() {
        struct Echo;
        impl Serve for Echo {
            fn request(&self, payload: Vec<u8>, _: Option<OwnedFd>, back: Back) {
                back.reply(&Vec::<u8>::from_bytes(&payload).unwrap(), None);
            }
            fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
        }
        let (a, b) = fdpass::socketpair().unwrap();
        let client: Peer<Vec<u8>, Vec<u8>> = Peer::new("server", Arc::new(NoRequests));
        let server: Peer<(), ()> = Peer::new("client", Arc::new(Echo));
        client.attach(a).unwrap();
        server.attach(b).unwrap();
        let long: Vec<u8> = (0..100_000u32).map(|i| i.to_le_bytes()[0]).collect();
        assert_eq!(client.call(&long, soon()), Ok(long));
    }

    /// Takes one request before it hears of the channel, if that can be.
    #[derive(Default)]
    struct Order(Mutex<Vec<&'static str>>);

    impl Serve for Order {
        fn request(&self, _: Vec<u8>, _: Option<OwnedFd>, back: Back) {
            lock::lock(&self.0).push("request");
            back.reply(&0u32, None);
        }
        fn event(&self, _: Vec<u8>, _: Option<OwnedFd>) {}
        fn attached(&self) {
            // Whoever reads already would be quicker.
            std::thread::sleep(Duration::from_millis(20));
            lock::lock(&self.0).push("attached");
        }
    }

    #[test]
    fn a_fresh_channel_is_heard_of_before_what_was_sent_on_it() {
        let (a, b) = fdpass::socketpair().unwrap();
        let client: Peer<u32, u32> = Peer::new("server", Arc::new(NoRequests));
        client.attach(a).unwrap();
        let order = Arc::new(Order::default());
        let server: Peer<u32, u32> = Peer::new("client", Arc::clone(&order) as Arc<dyn Serve>);
        std::thread::scope(|s| {
            let asked = s.spawn(|| client.call(&1, Deadline::after(Duration::from_secs(20))));
            server.attach(b).unwrap();
            assert_eq!(asked.join().unwrap(), Ok(0));
        });
        assert_eq!(*lock::lock(&order.0), ["attached", "request"]);
    }
}
