//! What an answer means to who asked.
//!
//! SPF counts void lookups, DMARC's `np` and DANE turn on whether a name does
//! not exist, has no such record, or could not be asked: the four are never one
//! "not found".  RFC 2308 2; RFC 7208 4.6.4; RFC 9989; RFC 7672 2.1.

use std::net::IpAddr;

use super::{message, Data, Name, Query, Record, Type};

/// CNAMEs followed within one answer.
const CNAME_CHAIN: usize = 8;

/// Why there is no answer.  All of these are temporary.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// SERVFAIL: the zone is broken, unreachable, or bogus under DNSSEC.
    ServFail,
    /// Nothing came in time, or the budget of the message was used up.
    Timeout,
    /// REFUSED, NOTAUTH or a mere referral: this server does not serve the name.
    Lame,
    /// What came cannot be read, or breaks a limit.
    Malformed,
    /// FORMERR, NOTIMP or an unknown code.
    Other,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Failure::ServFail => "the name server reports a failure (SERVFAIL)",
            Failure::Timeout => "no answer in time",
            Failure::Lame => "the name server does not serve the name",
            Failure::Malformed => "the answer cannot be read",
            Failure::Other => "the name server refuses the question",
        })
    }
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// There are records of the type.
    Found,
    /// The name exists, records of the type do not.
    NoData,
    /// The name does not exist.
    NxDomain,
    /// It is not known.
    Failed(Failure),
}

/// The answer to one [`Query`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// What became of the question.
    pub status: Status,
    /// The records of the type asked for, in the order of the message.
    pub records: Vec<Data>,
    /// The name at the end of the chain of CNAMEs; the name asked without one.
    pub canonical: Name,
    /// Seconds for which this may be kept: the least TTL of the chain, or that
    /// of the negative answer (RFC 2308 5).  0 when there is none.
    pub ttl: u32,
    /// AD: a validating resolver vouches for it.  Worth something only over a
    /// trusted path.
    pub authentic: bool,
}

impl Answer {
    /// Records that were found; for zones in files and for tests.
    pub fn found(name: &Name, ttl: u32, records: Vec<Data>) -> Answer {
        let status = if records.is_empty() { Status::NoData } else { Status::Found };
        Answer { status, records, canonical: name.clone(), ttl, authentic: false }
    }

    /// No such name, or no such record.
    pub fn negative(name: &Name, status: Status, ttl: u32) -> Answer {
        Answer { status, records: Vec::new(), canonical: name.clone(), ttl, authentic: false }
    }

    /// No answer.
    pub fn failed(name: &Name, failure: Failure) -> Answer {
        Answer::negative(name, Status::Failed(failure), 0)
    }

    /// The failure, if the question was not answered.
    pub fn failure(&self) -> Option<Failure> {
        match self.status {
            Status::Failed(failure) => Some(failure),
            _ => None,
        }
    }

    /// True if the question was answered with "nothing": NXDOMAIN or NODATA.
    pub fn is_void(&self) -> bool {
        matches!(self.status, Status::NxDomain | Status::NoData)
    }

    /// The TXT records, the strings of each joined with nothing between.
    /// RFC 7208 3.3, RFC 6376 3.6.2.2.
    pub fn texts(&self) -> impl Iterator<Item = Vec<u8>> + '_ {
        self.records.iter().filter_map(|data| match data {
            Data::Txt(strings) => Some(strings.concat()),
            _ => None,
        })
    }

    /// The addresses of A and AAAA records.
    pub fn addresses(&self) -> impl Iterator<Item = IpAddr> + '_ {
        self.records.iter().filter_map(|data| match data {
            Data::A(v4) => Some(IpAddr::V4(*v4)),
            Data::Aaaa(v6) => Some(IpAddr::V6(*v6)),
            _ => None,
        })
    }
}

/// What a datagram or TCP message is to who waits for an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reading {
    /// The answer.
    Mine(Answer),
    /// TC: ask again over TCP.  Nothing in a cut message is used.
    Truncated,
    /// Another question's answer, or a forged one: go on waiting.
    NotMine,
}

/// Reads an answer to `query` that was sent with `id`.
///
/// A message that cannot be read to its question is not ours: anybody can send
/// one, and the true answer may still come.  RFC 5452 9.1.
pub fn read(bytes: &[u8], id: u16, query: &Query) -> Reading {
    let message = match message::parse(bytes) {
        Ok(message) => message,
        Err(malformed) => {
            let mine = malformed.response
                && malformed.id == Some(id)
                && malformed.question.as_ref() == Some(query);
            return match mine {
                false => Reading::NotMine,
                // RFC 2181 9: cut anywhere, also within a record.
                true if malformed.truncated => Reading::Truncated,
                true => Reading::Mine(Answer::failed(&query.name, Failure::Malformed)),
            };
        }
    };
    if !message.response || message.id != id || message.question.as_ref() != Some(query) {
        return Reading::NotMine;
    }
    if message.truncated {
        return Reading::Truncated;
    }
    Reading::Mine(interpret(message, query))
}

/// RCODEs.  RFC 1035 4.1.1, RFC 2136 2.2.
mod rcode {
    pub const NOERROR: u8 = 0;
    pub const SERVFAIL: u8 = 2;
    pub const NXDOMAIN: u8 = 3;
    pub const REFUSED: u8 = 5;
    pub const NOTAUTH: u8 = 9;
}

fn interpret(message: message::Message, query: &Query) -> Answer {
    match message.rcode {
        rcode::NOERROR | rcode::NXDOMAIN => {}
        rcode::SERVFAIL => return Answer::failed(&query.name, Failure::ServFail),
        rcode::REFUSED | rcode::NOTAUTH => return Answer::failed(&query.name, Failure::Lame),
        _ => return Answer::failed(&query.name, Failure::Other),
    }
    let Some((canonical, mut ttl)) = follow(&message.answers, query) else {
        return Answer::failed(&query.name, Failure::Malformed);
    };
    let mut records = Vec::new();
    for record in &message.answers {
        if record.name == canonical && record.data.rtype() == query.rtype {
            ttl = ttl.min(record.ttl);
            records.push(record.data.clone());
        }
    }
    let status = match (records.is_empty(), message.rcode) {
        (false, rcode::NOERROR) => Status::Found,
        // RFC 6604 3: the code speaks of the last name of the chain.
        (_, rcode::NXDOMAIN) => Status::NxDomain,
        // A referral: no answer, no SOA, only other servers.  RFC 2308 2.2.
        _ if message.is_referral() => return Answer::failed(&query.name, Failure::Lame),
        _ => Status::NoData,
    };
    if status != Status::Found {
        records.clear();
        ttl = ttl.min(negative_ttl(&message.authority));
    }
    Answer { status, records, canonical, ttl, authentic: message.authentic }
}

/// The name at the end of the CNAMEs, and their least TTL.  `None` if the chain
/// is a loop or too long.
fn follow(answers: &[Record], query: &Query) -> Option<(Name, u32)> {
    let mut at = query.name.clone();
    let mut ttl = u32::MAX;
    if query.rtype == Type::CNAME {
        return Some((at, ttl));
    }
    for _ in 0..=CNAME_CHAIN {
        let next = answers.iter().find_map(|record| match &record.data {
            Data::Cname(target) if record.name == at => Some((target, record.ttl)),
            _ => None,
        });
        match next {
            Some((target, t)) => {
                ttl = ttl.min(t);
                at = target.clone();
            }
            None => return Some((at, ttl)),
        }
    }
    None
}

/// RFC 2308 5: the lesser of the SOA's own TTL and its MINIMUM; 0 without a SOA.
fn negative_ttl(authority: &[Record]) -> u32 {
    authority
        .iter()
        .find_map(|record| match &record.data {
            Data::Soa(soa) => Some(record.ttl.min(soa.minimum)),
            _ => None,
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::super::message::{Message, Soa};
    use super::*;

    fn name(text: &str) -> Name {
        Name::parse(text.as_bytes()).unwrap()
    }

    fn query() -> Query {
        Query::new(name("www.example.org"), Type::A)
    }

    fn record(at: &str, ttl: u32, data: Data) -> Record {
        Record { name: name(at), ttl, data }
    }

    fn reply() -> Message {
        Message::reply(&Message::query(7, query()))
    }

    fn soa() -> Record {
        let soa = Soa { primary: name("ns.example.org"), minimum: 60, ..Soa::default() };
        record("example.org", 300, Data::Soa(soa))
    }

    fn mine(message: &Message) -> Answer {
        match read(&message.write(65535), 7, &query()) {
            Reading::Mine(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    /// RFC 2308 2; RFC 1035 4.1.1.
    #[test]
    fn found_nodata_nxdomain_servfail_truncated_and_lame_are_told_apart() {
        let a = Data::A([192, 0, 2, 1].into());
        let mut m = reply();
        m.answers.push(record("WWW.example.org", 30, a.clone()));
        assert_eq!((mine(&m).status, mine(&m).ttl), (Status::Found, 30));

        let mut m = reply();
        m.authority.push(soa());
        assert_eq!((mine(&m).status, mine(&m).ttl), (Status::NoData, 60));
        m.rcode = 3;
        assert_eq!((mine(&m).status, mine(&m).ttl), (Status::NxDomain, 60));

        let mut m = reply();
        m.rcode = 2;
        assert_eq!(mine(&m).status, Status::Failed(Failure::ServFail));
        m.rcode = 5;
        assert_eq!(mine(&m).status, Status::Failed(Failure::Lame));
        m.rcode = 1;
        assert_eq!(mine(&m).status, Status::Failed(Failure::Other));

        let mut m = reply();
        m.authority.push(record("org", 300, Data::Ns(name("a.nic.example"))));
        assert_eq!(mine(&m).status, Status::Failed(Failure::Lame));

        let mut m = reply();
        m.truncated = true;
        assert_eq!(read(&m.write(65535), 7, &query()), Reading::Truncated);
    }

    /// RFC 5452 9.1.
    #[test]
    fn another_question_or_id_is_not_mine() {
        let m = reply();
        assert_eq!(read(&m.write(512), 8, &query()), Reading::NotMine);
        let other = Query::new(name("www.example.org"), Type::AAAA);
        assert_eq!(read(&m.write(512), 7, &other), Reading::NotMine);
        let mut m = reply();
        m.response = false;
        assert_eq!(read(&m.write(512), 7, &query()), Reading::NotMine);
        assert_eq!(read(b"junk", 7, &query()), Reading::NotMine);
    }

    /// RFC 2181 9.
    #[test]
    fn a_cut_answer_that_breaks_off_within_a_record_is_asked_for_again() {
        let mut m = reply();
        m.edns = None;
        m.answers.push(record("www.example.org", 30, Data::A([192, 0, 2, 1].into())));
        let whole = m.write(65535);
        let broken = &whole[..whole.len() - 2];
        let failed = Answer::failed(&query().name, Failure::Malformed);
        assert_eq!(read(broken, 7, &query()), Reading::Mine(failed));
        let mut cut = broken.to_vec();
        cut[2] |= 0x02;
        assert_eq!(read(&cut, 7, &query()), Reading::Truncated);
        assert_eq!(read(&cut, 8, &query()), Reading::NotMine);
        cut[2] &= 0x7f;
        assert_eq!(read(&cut, 7, &query()), Reading::NotMine, "no answer");
    }

    /// RFC 1034 3.6.2; RFC 6604 3.
    #[test]
    fn cnames_are_followed_to_the_canonical_name() {
        let mut m = reply();
        m.answers.push(record("b.example.org", 9, Data::A([192, 0, 2, 7].into())));
        m.answers.push(record("www.example.org", 5, Data::Cname(name("b.example.org"))));
        m.answers.push(record("evil.example.org", 9, Data::A([192, 0, 2, 66].into())));
        let answer = mine(&m);
        assert_eq!(answer.canonical, name("b.example.org"));
        assert_eq!(answer.ttl, 5);
        assert_eq!(answer.records, [Data::A([192, 0, 2, 7].into())]);
    }

    /// Aliases in the worst order and without end, and records without end.
    #[test]
    fn reading_an_answer_takes_time_that_doubles_with_it() {
        let alias = |from: &str, to: &str| record(from, 5, Data::Cname(name(to)));
        let kinds: [&dyn Fn(usize) -> Record; 5] = [
            &|i| alias(&format!("c{i}.example.org"), &format!("c{}.example.org", i + 1)),
            &|i| alias("www.example.org", &format!("c{i}.example.org")),
            &|_| alias("www.example.org", "www.example.org"),
            &|_| record("www.example.org", 5, Data::A([192, 0, 2, 7].into())),
            &|_| record("www.example.org", 5, Data::Txt(vec![Vec::new(); 16])),
        ];
        for kind in kinds {
            crate::proto::testing::assert_linear(|n| {
                let mut m = reply();
                m.answers = (0..n / 32).rev().map(kind).collect();
                m.authority = m.answers.clone();
                let _ = std::hint::black_box(read(&m.write(usize::MAX), 7, &query()));
            });
        }
    }

    #[test]
    fn a_cname_loop_and_a_chain_of_nine_are_failures() {
        let mut m = reply();
        m.answers.push(record("www.example.org", 5, Data::Cname(name("b.example.org"))));
        m.answers.push(record("b.example.org", 5, Data::Cname(name("www.example.org"))));
        assert_eq!(mine(&m).status, Status::Failed(Failure::Malformed));
        for (links, ok) in [(8, true), (9, false)] {
            let mut m = reply();
            for i in 0..links {
                let at =
                    if i == 0 { "www.example.org".into() } else { format!("c{i}.example.org") };
                m.answers.push(record(
                    &at,
                    5,
                    Data::Cname(name(&format!("c{}.example.org", i + 1))),
                ));
            }
            m.answers.push(record(
                &format!("c{links}.example.org"),
                5,
                Data::A([192, 0, 2, 7].into()),
            ));
            assert_eq!(mine(&m).status == Status::Found, ok, "{links}");
        }
    }
}
