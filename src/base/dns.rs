//! Asking name servers: a stub resolver's transport.
//!
//! Runs in lookup.  Answers are hostile: each query has a random identifier and
//! a socket of its own, connected (so that the kernel drops what others send)
//! on a port that the kernel chose at random; what does not repeat identifier
//! and question is not ours, and the wait goes on (RFC 5452 9).  UDP first with
//! EDNS0 (1232 octets, so that nothing is fragmented), TCP when the answer is
//! cut (RFC 7766 5).  AD is asked for (RFC 6840 5.7).
//!
//! It reads no files and caches nothing.  Any thread; blocks up to a deadline.
//! The wire format and its meaning are `proto::dns`'s.

use crate::base::clock::Deadline;
use crate::base::stream::{Stream, StreamError};
use crate::proto::dns::answer::{read, Answer, Failure, Reading, Status};
use crate::proto::dns::message::Message;
use crate::proto::dns::step::Query;
use crate::sys::errno;
use crate::sys::{net, poll, rand};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// How long one server has for one answer.
pub const TRY_TIME: Duration = Duration::from_secs(3);
/// How often each server is asked.
pub const TRIES: usize = 2;
/// Servers that are asked; resolv.conf(5) has no more.
pub const SERVERS: usize = 3;
/// Datagrams of others that are looked at while waiting for an answer.
const STRANGERS: usize = 100;

/// What one message, session or evaluation may ask.  When it is used up every
/// further question is answered "time-out", at once.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    /// Questions that are left.
    pub queries: u32,
    /// When all of them must be answered.
    pub deadline: Deadline,
}

/// The name servers.
pub struct Resolver {
    servers: Vec<SocketAddr>,
    try_time: Duration,
    // The server that answered last is asked first.  Only a hint.
    first: AtomicUsize,
}

/// What one try came to.
enum Tried {
    Answer(Answer),
    /// No answer: the reason counts if nobody else has one.
    None(Failure),
}

impl Resolver {
    /// A resolver of these servers, the first [`SERVERS`] of them, in their
    /// order; [`parse_resolv_conf`] makes the list.  Each has `try_time` for an
    /// answer, as a rule [`TRY_TIME`].
    #[must_use]
    pub fn new(mut servers: Vec<SocketAddr>, try_time: Duration) -> Self {
        servers.truncate(SERVERS);
        Self { servers, try_time, first: AtomicUsize::new(0) }
    }

    /// Asks within a budget.
    pub fn ask_within(&self, query: &Query, budget: &mut Budget) -> Answer {
        match budget.queries.checked_sub(1) {
            Some(left) if !budget.deadline.expired() => {
                budget.queries = left;
                self.ask(query, budget.deadline)
            }
            _ => Answer::failed(&query.name, Failure::Timeout),
        }
    }

    /// Asks each server in turn, [`TRIES`] times, until one has an answer.  A
    /// failure is the last one that a server reported, else a time-out; all
    /// failures are temporary.  Blocks up to `deadline`.
    pub fn ask(&self, query: &Query, deadline: Deadline) -> Answer {
        let mut failure = Failure::Timeout;
        let count = self.servers.len();
        let first = self.first.load(Ordering::Relaxed);
        for n in 0..count.saturating_mul(TRIES) {
            let at = first.wrapping_add(n).checked_rem(count).unwrap_or(0);
            let Some(server) = self.servers.get(at) else { break };
            if deadline.expired() {
                break;
            }
            match ask_one(*server, query, deadline.within(self.try_time)) {
                Tried::Answer(answer) => {
                    self.first.store(at, Ordering::Relaxed);
                    return answer;
                }
                // That nothing came says less than what another server said.
                Tried::None(Failure::Timeout) => {}
                Tried::None(why) => failure = why,
            }
        }
        Answer::failed(&query.name, failure)
    }
}

fn judge(answer: Answer) -> Tried {
    match answer.status {
        // Another server may know better.
        Status::Failed(why) => Tried::None(why),
        _ => Tried::Answer(answer),
    }
}

fn ask_one(server: SocketAddr, query: &Query, deadline: Deadline) -> Tried {
    let [a, b, ..] = rand::u32().to_ne_bytes();
    let id = u16::from_ne_bytes([a, b]);
    let question = Message::query(id, query.clone()).write(usize::from(u16::MAX));
    match udp(server, id, query, &question, deadline) {
        Ok(Reading::Mine(answer)) => judge(answer),
        Ok(Reading::Truncated) => match tcp(server, id, query, &question, deadline) {
            Ok(answer) => judge(answer),
            Err(_) => Tried::None(Failure::Timeout),
        },
        // An unreachable server is one that does not answer.
        Ok(Reading::NotMine) | Err(_) => Tried::None(Failure::Timeout),
    }
}

fn udp(
    server: SocketAddr,
    id: u16,
    query: &Query,
    question: &[u8],
    deadline: Deadline,
) -> io::Result<Reading> {
    let mut socket = File::from(net::connect_udp(server)?);
    socket.write_all(question)?;
    let mut buf = [0; 4096];
    for _ in 0..STRANGERS {
        loop {
            match socket.read(&mut buf) {
                Ok(n) => match read(buf.get(..n).unwrap_or_default(), id, query) {
                    Reading::NotMine => break,
                    reading => return Ok(reading),
                },
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    if !poll::wait_for(socket.as_fd(), poll::IN, deadline.left())? {
                        return Err(io::ErrorKind::TimedOut.into());
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                // ECONNREFUSED: an ICMP message; nobody listens there.
                Err(e) => return Err(e),
            }
        }
        if deadline.expired() {
            break;
        }
    }
    Ok(Reading::NotMine)
}

/// RFC 1035 4.2.2: two octets of length before each message.
fn tcp(
    server: SocketAddr,
    id: u16,
    query: &Query,
    question: &[u8],
    deadline: Deadline,
) -> Result<Answer, StreamError> {
    let mut stream = Stream::connect(server, None, deadline)?;
    let mut message = u16::try_from(question.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    message.extend_from_slice(question);
    stream.write_all(&message, deadline)?;
    let mut len = [0; 2];
    read_exact(&mut stream, &mut len, deadline)?;
    let mut answer = vec![0; usize::from(u16::from_be_bytes(len))];
    read_exact(&mut stream, &mut answer, deadline)?;
    Ok(match read(&answer, id, query) {
        Reading::Mine(answer) => answer,
        // TCP has room for everything; and it is no stranger's message.
        Reading::Truncated | Reading::NotMine => Answer::failed(&query.name, Failure::Malformed),
    })
}

fn read_exact(
    stream: &mut Stream,
    mut buf: &mut [u8],
    deadline: Deadline,
) -> Result<(), StreamError> {
    while !buf.is_empty() {
        let n = stream.read(buf, deadline)?;
        if n == 0 {
            return Err(crate::sys::errno::SysError::new("read", errno::ECONNRESET).into());
        }
        buf = buf.get_mut(n..).unwrap_or_default();
    }
    Ok(())
}

/// The name servers of a resolv.conf(5): `nameserver 192.0.2.1`, and with a
/// port as OpenBSD has it, `nameserver [192.0.2.1]:5353`.  Without any it is
/// the one on this machine.
#[must_use]
pub fn parse_resolv_conf(text: &[u8]) -> Vec<SocketAddr> {
    let text = String::from_utf8_lossy(text);
    let servers: Vec<SocketAddr> = text
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            if words.next() != Some("nameserver") {
                return None;
            }
            server(words.next()?)
        })
        .take(SERVERS)
        .collect();
    if servers.is_empty() {
        return vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 53)];
    }
    servers
}

/// Fuzz target: a resolv.conf(5).
pub fn fuzz_resolv_conf(bytes: &[u8]) {
    let servers = parse_resolv_conf(bytes);
    assert!((1..=SERVERS).contains(&servers.len()));
}

fn server(word: &str) -> Option<SocketAddr> {
    if let Some(rest) = word.strip_prefix('[') {
        let (address, port) = rest.split_once(']')?;
        let port = match port.strip_prefix(':') {
            Some(port) => port.parse().ok()?,
            None => 53,
        };
        return Some(SocketAddr::new(address.parse().ok()?, port));
    }
    Some(SocketAddr::new(word.parse().ok()?, 53))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::dns::message::{parse, Data, Record, Type};
    use crate::proto::dns::name::Name;
    use std::net::{TcpListener, UdpSocket};
    use std::sync::Arc;

    fn query() -> Query {
        Query::new(Name::parse(b"example.org").unwrap(), Type::MX)
    }

    fn reply(bytes: &[u8], records: usize) -> Message {
        let asked = parse(bytes).unwrap();
        let mut reply = Message::reply(&asked);
        for i in 0..records {
            reply.answers.push(Record {
                name: query().name,
                ttl: 60,
                data: Data::Mx(i as u16, Name::parse(b"mx.example.org").unwrap()),
            });
        }
        reply
    }

    /// A server that answers `times` datagrams as `act` says.
    fn serve(
        times: usize,
        act: impl Fn(usize, &[u8]) -> Vec<Vec<u8>> + Send + 'static,
    ) -> (SocketAddr, std::thread::JoinHandle<()>) {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buf = [0; 4096];
            for time in 0..times {
                let (n, from) = socket.recv_from(&mut buf).unwrap();
                for answer in act(time, &buf[..n]) {
                    socket.send_to(&answer, from).unwrap();
                }
            }
        });
        (addr, thread)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(10))
    }

    #[test]
    fn forged_answers_are_passed_over() {
        let (addr, thread) = serve(1, |_, bytes| {
            let good = reply(bytes, 1);
            let mut other_id = good.clone();
            other_id.id = !good.id;
            let mut other_question = good.clone();
            other_question.question.as_mut().unwrap().rtype = Type::A;
            let mut other_name = good.clone();
            other_name.question.as_mut().unwrap().name = Name::parse(b"example.net").unwrap();
            [other_id, other_question, other_name, good].map(|m| m.write(1232)).to_vec()
        });
        let resolver = Resolver::new(vec![addr], TRY_TIME);
        let answer = resolver.ask(&query(), soon());
        assert_eq!((answer.status, answer.records.len()), (Status::Found, 1));
        thread.join().unwrap();
    }

    /// RFC 5452 9.2; RFC 6056: who forges an answer has both to guess.
    #[test]
    fn each_question_has_its_own_identifier_and_port() {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let addr = socket.local_addr().unwrap();
        let thread = std::thread::spawn(move || {
            let mut buf = [0; 4096];
            let mut seen = Vec::new();
            for _ in 0..16 {
                let (n, from) = socket.recv_from(&mut buf).unwrap();
                seen.push((parse(&buf[..n]).unwrap().id, from.port()));
                socket.send_to(&reply(&buf[..n], 1).write(1232), from).unwrap();
            }
            seen
        });
        let resolver = Resolver::new(vec![addr], TRY_TIME);
        for _ in 0..16 {
            assert_eq!(resolver.ask(&query(), soon()).status, Status::Found);
        }
        let seen = thread.join().unwrap();
        let different = |of: fn(&(u16, u16)) -> u16| {
            seen.iter().map(of).collect::<std::collections::HashSet<_>>().len()
        };
        // By chance two of sixteen may be alike, but not nearly all.
        assert!(different(|s| s.0) > 12 && different(|s| s.1) > 8, "{seen:?}");
    }

    #[test]
    fn the_next_server_is_asked_and_remembered() {
        let closed = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (silent, _silent) = serve(9, |_, _| Vec::new());
        let (good, thread) = serve(2, |_, bytes| vec![reply(bytes, 1).write(1232)]);
        let resolver = Resolver::new(vec![closed, silent, good], Duration::from_millis(50));
        assert_eq!(resolver.ask(&query(), soon()).status, Status::Found);
        let begun = std::time::Instant::now();
        assert_eq!(resolver.ask(&query(), soon()).status, Status::Found);
        assert!(begun.elapsed() < Duration::from_millis(50));
        thread.join().unwrap();
    }

    #[test]
    fn failures_are_told_apart() {
        let (silent, _silent) = serve(9, |_, _| Vec::new());
        let resolver = Resolver::new(vec![silent], Duration::from_millis(20));
        assert_eq!(resolver.ask(&query(), soon()).failure(), Some(Failure::Timeout));
        let (broken, thread) = serve(2, |_, bytes| {
            let mut reply = reply(bytes, 0);
            reply.rcode = 2;
            vec![reply.write(1232)]
        });
        let resolver = Resolver::new(vec![broken], TRY_TIME);
        assert_eq!(resolver.ask(&query(), soon()).failure(), Some(Failure::ServFail));
        thread.join().unwrap();
        assert_eq!(
            Resolver::new(vec![], TRY_TIME).ask(&query(), soon()).failure(),
            Some(Failure::Timeout)
        );
    }

    #[test]
    fn a_budget_ends() {
        let (addr, thread) = serve(1, |_, bytes| vec![reply(bytes, 1).write(1232)]);
        let resolver = Resolver::new(vec![addr], TRY_TIME);
        let mut budget = Budget { queries: 1, deadline: soon() };
        assert_eq!(resolver.ask_within(&query(), &mut budget).status, Status::Found);
        let answer = resolver.ask_within(&query(), &mut budget);
        assert_eq!(answer.failure(), Some(Failure::Timeout));
        thread.join().unwrap();
    }

    #[test]
    fn a_cut_answer_is_fetched_by_tcp() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let socket = UdpSocket::bind(addr).unwrap();
        let thread = std::thread::spawn(move || {
            let mut buf = [0; 4096];
            let (n, from) = socket.recv_from(&mut buf).unwrap();
            let whole = Arc::new(reply(&buf[..n], 100));
            socket.send_to(&whole.write(512), from).unwrap();
            let (mut peer, _) = listener.accept().unwrap();
            let mut len = [0; 2];
            peer.read_exact(&mut len).unwrap();
            let mut asked = vec![0; usize::from(u16::from_be_bytes(len))];
            peer.read_exact(&mut asked).unwrap();
            let answer = reply(&asked, 100).write(65535);
            peer.write_all(&(answer.len() as u16).to_be_bytes()).unwrap();
            // In pieces, as TCP may.
            for piece in answer.chunks(700) {
                peer.write_all(piece).unwrap();
            }
        });
        let answer = Resolver::new(vec![addr], TRY_TIME).ask(&query(), soon());
        assert_eq!((answer.status, answer.records.len()), (Status::Found, 100));
        thread.join().unwrap();
    }

    #[test]
    fn resolv_conf() {
        let text = b"# c\nsearch x\nnameserver 192.0.2.1\nnameserver [127.0.0.1]:5353\n\
                     nameserver nonsense\nnameserver ::1\nnameserver 192.0.2.9\n";
        let servers: Vec<String> =
            parse_resolv_conf(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, ["192.0.2.1:53", "127.0.0.1:5353", "[::1]:53"]);
        assert_eq!(parse_resolv_conf(b""), ["127.0.0.1:53".parse().unwrap()]);
    }
}
