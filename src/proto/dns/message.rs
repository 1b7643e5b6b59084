//! The DNS message, read and written.
//!
//! The reader takes what the network brings: it follows compression pointers
//! only backwards and never more octets than a name may have, keeps at most
//! [`RECORDS`] records, and reads numbers with a cursor that cannot leave the
//! message.  The writer compresses owner names, which is all that a small
//! message needs.  RFC 1035 4; RFC 6891 6.1.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::name::{LABEL_OCTETS, NAME_OCTETS};
use super::{Name, Query};
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// Records of one section that are used; the rest is read over.
const RECORDS: usize = limits::DNS_RECORDS.size();
/// What we say we can take over UDP: fits every path unfragmented.
const EDNS_PAYLOAD: u16 = 1232;
/// Pointers followed for one name: as many as it can have labels.
const JUMPS: usize = NAME_OCTETS / 2;
/// Class IN, and the bits that mDNS puts there are none of ours.
const CLASS_IN: u16 = 1;

/// A record type.  RFC 1035 3.2.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Type(pub u16);

impl Type {
    /// An IPv4 address.
    pub const A: Type = Type(1);
    /// A name server.
    pub const NS: Type = Type(2);
    /// Another name for this one.
    pub const CNAME: Type = Type(5);
    /// The start of a zone.
    pub const SOA: Type = Type(6);
    /// A name for an address.
    pub const PTR: Type = Type(12);
    /// A mail exchange.
    pub const MX: Type = Type(15);
    /// Text.
    pub const TXT: Type = Type(16);
    /// An IPv6 address.
    pub const AAAA: Type = Type(28);
    /// A service.
    pub const SRV: Type = Type(33);
    /// EDNS0's pseudo record.
    pub const OPT: Type = Type(41);
    /// A certificate association.  RFC 6698.
    pub const TLSA: Type = Type(52);

    /// The types that have a name here.
    pub const NAMED: &[(&str, Type)] = &[
        ("A", Type::A),
        ("NS", Type::NS),
        ("CNAME", Type::CNAME),
        ("SOA", Type::SOA),
        ("PTR", Type::PTR),
        ("MX", Type::MX),
        ("TXT", Type::TXT),
        ("AAAA", Type::AAAA),
        ("SRV", Type::SRV),
        ("TLSA", Type::TLSA),
    ];
}

impl std::fmt::Display for Type {
    /// Writes `MX`, or `TYPE257` for what has no name here.  RFC 3597 5.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match Type::NAMED.iter().find(|(_, t)| t == self) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "TYPE{}", self.0),
        }
    }
}

/// The start of a zone.  RFC 1035 3.3.13.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Soa {
    /// The primary server.
    pub primary: Name,
    /// The mailbox in charge.
    pub mailbox: Name,
    /// The version of the zone.
    pub serial: u32,
    /// Seconds between refreshes.
    pub refresh: u32,
    /// Seconds between attempts.
    pub retry: u32,
    /// Seconds until the zone is no longer served.
    pub expire: u32,
    /// Seconds for negative answers.  RFC 2308 4.
    pub minimum: u32,
}

/// What a record says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A.
    A(Ipv4Addr),
    /// AAAA.
    Aaaa(Ipv6Addr),
    /// NS.
    Ns(Name),
    /// CNAME.
    Cname(Name),
    /// PTR.
    Ptr(Name),
    /// SOA.
    Soa(Soa),
    /// MX: the preference, the exchange.
    Mx(u16, Name),
    /// TXT: its character-strings.
    Txt(Vec<Vec<u8>>),
    /// SRV.  RFC 2782.
    Srv {
        /// Lower is tried first.
        priority: u16,
        /// Share among equals.
        weight: u16,
        /// The port.
        port: u16,
        /// The host.
        target: Name,
    },
    /// TLSA.  RFC 6698 2.1.
    Tlsa {
        /// Certificate usage.
        usage: u8,
        /// Selector.
        selector: u8,
        /// Matching type.
        matching: u8,
        /// Certificate association data.
        data: Vec<u8>,
    },
    /// Any other type, as it came.
    Other(Type, Vec<u8>),
}

impl Data {
    /// The type of the record.
    pub const fn rtype(&self) -> Type {
        match self {
            Data::A(_) => Type::A,
            Data::Aaaa(_) => Type::AAAA,
            Data::Ns(_) => Type::NS,
            Data::Cname(_) => Type::CNAME,
            Data::Ptr(_) => Type::PTR,
            Data::Soa(_) => Type::SOA,
            Data::Mx(..) => Type::MX,
            Data::Txt(_) => Type::TXT,
            Data::Srv { .. } => Type::SRV,
            Data::Tlsa { .. } => Type::TLSA,
            Data::Other(rtype, _) => *rtype,
        }
    }

    /// A TXT record of one text, cut into strings of 255 octets.
    pub fn txt(text: &[u8]) -> Data {
        if text.is_empty() {
            return Data::Txt(vec![Vec::new()]);
        }
        Data::Txt(text.chunks(255).map(<[u8]>::to_vec).collect())
    }
}

/// A resource record of class IN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner.
    pub name: Name,
    /// Seconds; a value with the top bit is 0.  RFC 2181 8.
    pub ttl: u32,
    /// What it says.
    pub data: Data,
}

/// A message, query or response.  The additional section is read over but for
/// EDNS0; nothing in it is needed to believe an answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Ties an answer to its query.
    pub id: u16,
    /// QR: it is an answer.
    pub response: bool,
    /// AA: the server owns the zone.
    pub authoritative: bool,
    /// TC: ask again over TCP.
    pub truncated: bool,
    /// RD: please resolve.
    pub recursion_desired: bool,
    /// RA: the server resolves.
    pub recursion_available: bool,
    /// AD: validated; in a query, "tell me AD".
    pub authentic: bool,
    /// The lower four bits of the response code.
    pub rcode: u8,
    /// The sender's UDP size if it speaks EDNS0.
    pub edns: Option<u16>,
    /// The question.  A message has one here; RFC 9619.
    pub question: Option<Query>,
    /// Answer section.
    pub answers: Vec<Record>,
    /// Authority section.
    pub authority: Vec<Record>,
}

/// What could be read of a message before it broke off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// Its identifier.
    pub id: Option<u16>,
    /// QR: it is an answer.
    pub response: bool,
    /// TC: it was cut, so that it may well break off.
    pub truncated: bool,
    /// Its question.
    pub question: Option<Query>,
}

impl Message {
    /// A query: recursion and AD asked for, EDNS0 announced, DO not set.
    pub fn query(id: u16, query: Query) -> Message {
        Message {
            id,
            recursion_desired: true,
            authentic: true,
            edns: Some(EDNS_PAYLOAD),
            question: Some(query),
            ..Message::default()
        }
    }

    /// An empty answer to a query, for a name server to fill.
    pub fn reply(query: &Message) -> Message {
        Message {
            id: query.id,
            response: true,
            recursion_desired: query.recursion_desired,
            recursion_available: true,
            edns: query.edns.map(|_| EDNS_PAYLOAD),
            question: query.question.clone(),
            ..Message::default()
        }
    }

    /// True for an answer that only names other servers.  RFC 2308 2.2.
    pub fn is_referral(&self) -> bool {
        self.answers.is_empty()
            && !self.authoritative
            && self.authority.iter().any(|r| r.data.rtype() == Type::NS)
            && !self.authority.iter().any(|r| r.data.rtype() == Type::SOA)
    }

    /// The wire form in at most `room` octets.
    ///
    /// A message that does not fit is sent without records and with TC set, so
    /// that nobody takes half an answer for the whole.  RFC 2181 9.
    pub fn write(&self, room: usize) -> Vec<u8> {
        let whole = self.write_sections(self.truncated, &self.answers, &self.authority);
        match whole {
            Some(bytes) if bytes.len() <= room => bytes,
            _ => self.write_sections(true, &[], &[]).unwrap_or_default(),
        }
    }

    /// `None` if a count or length does not fit its field.
    fn write_sections(
        &self,
        truncated: bool,
        answers: &[Record],
        authority: &[Record],
    ) -> Option<Vec<u8>> {
        let mut w = Writer::default();
        w.u16(self.id);
        let mut flags = u16::from(self.rcode & 0x0f);
        for (set, bit) in [
            (self.response, 0x8000),
            (self.authoritative, 0x0400),
            (truncated, 0x0200),
            (self.recursion_desired, 0x0100),
            (self.recursion_available, 0x0080),
            (self.authentic, 0x0020),
        ] {
            if set {
                flags |= bit;
            }
        }
        w.u16(flags);
        w.u16(u16::from(self.question.is_some()));
        w.u16(u16::try_from(answers.len()).ok()?);
        w.u16(u16::try_from(authority.len()).ok()?);
        w.u16(u16::from(self.edns.is_some()));
        if let Some(question) = &self.question {
            w.name(&question.name);
            w.u16(question.rtype.0);
            w.u16(CLASS_IN);
        }
        for record in answers.iter().chain(authority) {
            w.record(record)?;
        }
        if let Some(payload) = self.edns {
            // RFC 6891 6.1.2: root name, OPT, payload, no extended code or flags.
            w.bytes.push(0);
            w.u16(Type::OPT.0);
            w.u16(payload);
            w.u32(0);
            w.u16(0);
        }
        Some(w.bytes)
    }
}

/// Bytes written so far, and where owner names stand in them.
#[derive(Default)]
struct Writer {
    bytes: Vec<u8>,
    names: Vec<(Name, u16)>,
}

impl Writer {
    fn u16(&mut self, n: u16) {
        self.bytes.extend_from_slice(&n.to_be_bytes());
    }

    fn u32(&mut self, n: u32) {
        self.bytes.extend_from_slice(&n.to_be_bytes());
    }

    /// A name in full, or a pointer to where the same one stands.  Only whole
    /// names are looked for: owners of one answer are mostly all the same.
    fn name(&mut self, name: &Name) {
        if let Some((_, at)) = self.names.iter().find(|(n, _)| n == name) {
            let pointer = 0xc000 | at;
            self.u16(pointer);
            return;
        }
        if let Some(at) = u16::try_from(self.bytes.len()).ok().filter(|at| *at < 0x4000) {
            // A handful is enough, and keeps the search short.
            if self.names.len() < 8 && !name.is_root() {
                self.names.push((name.clone(), at));
            }
        }
        self.bytes.extend_from_slice(&name.to_wire());
    }

    fn record(&mut self, record: &Record) -> Option<()> {
        self.name(&record.name);
        self.u16(record.data.rtype().0);
        self.u16(CLASS_IN);
        self.u32(record.ttl);
        let data = write_data(&record.data)?;
        self.u16(u16::try_from(data.len()).ok()?);
        self.bytes.extend_from_slice(&data);
        Some(())
    }
}

/// RDATA.  Names in it are not compressed: newer types forbid it (RFC 3597 4).
fn write_data(data: &Data) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    match data {
        Data::A(v4) => out.extend_from_slice(&v4.octets()),
        Data::Aaaa(v6) => out.extend_from_slice(&v6.octets()),
        Data::Ns(name) | Data::Cname(name) | Data::Ptr(name) => out = name.to_wire(),
        Data::Soa(soa) => {
            out = soa.primary.to_wire();
            out.extend_from_slice(&soa.mailbox.to_wire());
            for n in [soa.serial, soa.refresh, soa.retry, soa.expire, soa.minimum] {
                out.extend_from_slice(&n.to_be_bytes());
            }
        }
        Data::Mx(preference, exchange) => {
            out.extend_from_slice(&preference.to_be_bytes());
            out.extend_from_slice(&exchange.to_wire());
        }
        Data::Txt(strings) => {
            for string in strings {
                out.push(u8::try_from(string.len()).ok()?);
                out.extend_from_slice(string);
            }
        }
        Data::Srv { priority, weight, port, target } => {
            for n in [priority, weight, port] {
                out.extend_from_slice(&n.to_be_bytes());
            }
            out.extend_from_slice(&target.to_wire());
        }
        Data::Tlsa { usage, selector, matching, data } => {
            out.extend_from_slice(&[*usage, *selector, *matching]);
            out.extend_from_slice(data);
        }
        Data::Other(_, bytes) => out.extend_from_slice(bytes),
    }
    Some(out)
}

/// Reads a message.
///
/// A section that breaks off, a record longer than the message, or a name that
/// loops makes the whole of it malformed: half an answer is no answer.
pub fn parse(bytes: &[u8]) -> Result<Message, Malformed> {
    let mut known = Malformed { id: None, response: false, truncated: false, question: None };
    read_message(bytes, &mut known).ok_or(known)
}

fn read_message(bytes: &[u8], known: &mut Malformed) -> Option<Message> {
    let mut c = Cursor::new(bytes);
    let id = u16_at(&mut c)?;
    known.id = Some(id);
    let flags = u16_at(&mut c)?;
    known.response = flags & 0x8000 != 0;
    known.truncated = flags & 0x0200 != 0;
    let [questions, answers, authority, additional] =
        [u16_at(&mut c)?, u16_at(&mut c)?, u16_at(&mut c)?, u16_at(&mut c)?];
    let mut m = Message {
        id,
        response: flags & 0x8000 != 0,
        authoritative: flags & 0x0400 != 0,
        truncated: flags & 0x0200 != 0,
        recursion_desired: flags & 0x0100 != 0,
        recursion_available: flags & 0x0080 != 0,
        authentic: flags & 0x0020 != 0,
        rcode: flags.to_be_bytes().last().copied().unwrap_or(0) & 0x0f,
        ..Message::default()
    };
    // Some servers leave the question out of an error; two are never ours.
    match questions {
        0 => {}
        1 => {
            let name = name_at(&mut c, bytes)?;
            let rtype = Type(u16_at(&mut c)?);
            if u16_at(&mut c)? == CLASS_IN {
                m.question = Some(Query::new(name, rtype));
                known.question.clone_from(&m.question);
            }
        }
        _ => return None,
    }
    for _ in 0..answers {
        if let Some(record) = record_at(&mut c, bytes, m.answers.len(), &mut None)? {
            m.answers.push(record);
        }
    }
    for _ in 0..authority {
        if let Some(record) = record_at(&mut c, bytes, m.authority.len(), &mut None)? {
            m.authority.push(record);
        }
    }
    for _ in 0..additional {
        record_at(&mut c, bytes, RECORDS, &mut m.edns)?;
    }
    Some(m)
}

/// One record.  `Some(None)` is one that is read over: another class, one
/// beyond the limit, or the EDNS0 record, whose payload size goes to `edns`.
fn record_at<'a>(
    c: &mut Cursor<'a>,
    whole: &'a [u8],
    have: usize,
    edns: &mut Option<u16>,
) -> Option<Option<Record>> {
    let name = name_at(c, whole)?;
    let rtype = Type(u16_at(c)?);
    let class = u16_at(c)?;
    let ttl = u32_at(c)?;
    let length = usize::from(u16_at(c)?);
    let start = c.pos();
    let rdata = c.take(length)?;
    let end = c.pos();
    if rtype == Type::OPT {
        *edns = Some(class);
        return Some(None);
    }
    if class != CLASS_IN || have >= RECORDS {
        return Some(None);
    }
    // The cursor of the data may see the message before it (pointers), not after.
    let upto = whole.get(..end)?;
    let mut d = Cursor::new(upto);
    d.seek(start);
    let data = data_at(&mut d, upto, rtype, rdata)?;
    let ttl = if ttl & 0x8000_0000 == 0 { ttl } else { 0 };
    Some(Some(Record { name, ttl, data }))
}

/// RDATA; the data must be of exactly its length.
fn data_at<'a>(d: &mut Cursor<'a>, upto: &'a [u8], rtype: Type, rdata: &[u8]) -> Option<Data> {
    let data = match rtype {
        Type::A => Data::A(<[u8; 4]>::try_from(d.take(4)?).ok()?.into()),
        Type::AAAA => Data::Aaaa(<[u8; 16]>::try_from(d.take(16)?).ok()?.into()),
        Type::NS => Data::Ns(name_at(d, upto)?),
        Type::CNAME => Data::Cname(name_at(d, upto)?),
        Type::PTR => Data::Ptr(name_at(d, upto)?),
        Type::SOA => Data::Soa(Soa {
            primary: name_at(d, upto)?,
            mailbox: name_at(d, upto)?,
            serial: u32_at(d)?,
            refresh: u32_at(d)?,
            retry: u32_at(d)?,
            expire: u32_at(d)?,
            minimum: u32_at(d)?,
        }),
        Type::MX => Data::Mx(u16_at(d)?, name_at(d, upto)?),
        Type::TXT => {
            let mut strings = Vec::new();
            while !d.at_end() {
                let length = usize::from(d.next_byte()?);
                strings.push(d.take(length)?.to_vec());
            }
            Data::Txt(strings)
        }
        Type::SRV => Data::Srv {
            priority: u16_at(d)?,
            weight: u16_at(d)?,
            port: u16_at(d)?,
            target: name_at(d, upto)?,
        },
        Type::TLSA => {
            let (usage, selector, matching) = (d.next_byte()?, d.next_byte()?, d.next_byte()?);
            Data::Tlsa { usage, selector, matching, data: d.take(d.left())?.to_vec() }
        }
        _ => Data::Other(rtype, d.take(rdata.len())?.to_vec()),
    };
    d.at_end().then_some(data)
}

/// A name, with compression.  RFC 1035 4.1.4.
///
/// A pointer must lead to before the place where this name, or the part of it
/// reached by the last pointer, began: so every jump goes strictly back, and
/// there is no loop.  A name has no more labels than [`JUMPS`]: pointers to
/// pointers beyond that only cost time.
fn name_at<'a>(c: &mut Cursor<'a>, whole: &'a [u8]) -> Option<Name> {
    let mut name = Name::ROOT;
    let mut part = c.pos();
    let mut jumped: Option<Cursor<'a>> = None;
    let mut jumps = 0_usize;
    loop {
        let at = jumped.as_mut().unwrap_or(c);
        let length = at.next_byte()?;
        match length {
            0 => return Some(name),
            1..=63 => {
                name.push_label(at.take(usize::from(length))?).ok()?;
            }
            0xc0.. => {
                let low = at.next_byte()?;
                let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
                jumps = jumps.saturating_add(1);
                if target >= part || jumps > JUMPS {
                    return None;
                }
                part = target;
                let mut to = Cursor::new(whole);
                to.seek(target);
                jumped = Some(to);
            }
            // 01 and 10: the extended label types that never came to life.
            _ => return None,
        }
    }
}

fn u16_at(c: &mut Cursor<'_>) -> Option<u16> {
    Some(u16::from_be_bytes(c.take(2)?.try_into().ok()?))
}

fn u32_at(c: &mut Cursor<'_>) -> Option<u32> {
    Some(u32::from_be_bytes(c.take(4)?.try_into().ok()?))
}

const _: () = assert!(LABEL_OCTETS == 63 && NAME_OCTETS == 255, "as name_at reads them");

#[cfg(test)]
mod tests;
