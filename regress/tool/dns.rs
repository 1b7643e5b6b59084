//! A scriptable DNS server: records by name, over UDP and TCP.

#![allow(missing_docs, reason = "a tool of tests")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::{Arc, Mutex};

/// What a name has.
#[derive(Clone, Debug)]
pub enum Record {
    A(Ipv4Addr),
    Aaaa(Ipv6Addr),
    Mx(u16, &'static str),
    Cname(&'static str),
    /// The server fails for this name.
    Fail,
}

/// A running server.
pub struct Dns {
    pub addr: SocketAddr,
    zone: Arc<Mutex<Vec<(String, Record)>>>,
}

impl Dns {
    pub fn start(zone: &[(&str, Record)]) -> Dns {
        // The same port for both; another process may have one of the two.
        let (udp, tcp) = loop {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            if let Ok(tcp) = TcpListener::bind(udp.local_addr().unwrap()) {
                break (udp, tcp);
            }
        };
        let addr = udp.local_addr().unwrap();
        let zone = zone.iter().map(|(n, r)| ((*n).to_owned(), r.clone())).collect();
        let zone: Arc<Mutex<Vec<(String, Record)>>> = Arc::new(Mutex::new(zone));
        let shared = Arc::clone(&zone);
        std::thread::spawn(move || {
            let mut query = [0; 1500];
            while let Ok((n, from)) = udp.recv_from(&mut query) {
                if let Some(answer) = answer(&query[..n], &shared.lock().unwrap()) {
                    let _ = udp.send_to(&answer, from); // it asks again
                }
            }
        });
        let shared = Arc::clone(&zone);
        std::thread::spawn(move || {
            for mut stream in tcp.incoming().flatten() {
                let mut len = [0; 2];
                let Ok(()) = stream.read_exact(&mut len) else { continue };
                let mut query = vec![0; usize::from(u16::from_be_bytes(len))];
                let Ok(()) = stream.read_exact(&mut query) else { continue };
                if let Some(answer) = answer(&query, &shared.lock().unwrap()) {
                    let len = u16::try_from(answer.len()).unwrap().to_be_bytes();
                    let _ = stream.write_all(&[&len[..], &answer].concat()); // it is gone
                }
            }
        });
        Dns { addr, zone }
    }

    /// Replaces all that a name has.
    pub fn set(&self, name: &str, records: &[Record]) {
        let mut zone = self.zone.lock().unwrap();
        zone.retain(|(n, _)| n != name);
        zone.extend(records.iter().map(|r| (name.to_owned(), r.clone())));
    }
}

/// The answer to a query; `None`: silence.
fn answer(query: &[u8], zone: &[(String, Record)]) -> Option<Vec<u8>> {
    let mut at = 12;
    let mut name = String::new();
    while *query.get(at)? != 0 {
        let len = usize::from(query[at]);
        name.push_str(&String::from_utf8_lossy(query.get(at + 1..at + 1 + len)?));
        name.push('.');
        at += 1 + len;
    }
    let question = query.get(12..at + 5)?;
    let kind = u16::from_be_bytes([query[at + 1], query[at + 2]]);
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let mut records = Vec::new();
    let mut owner = name.clone();
    let mut exists = false;
    let mut code = 0u16;
    for _ in 0..8 {
        let mut next = None;
        for (_, record) in zone.iter().filter(|(n, _)| *n == owner) {
            exists = true;
            let (number, data) = match record {
                Record::Fail => {
                    code = 2;
                    continue;
                }
                Record::A(ip) => (1, ip.octets().to_vec()),
                Record::Aaaa(ip) => (28, ip.octets().to_vec()),
                Record::Mx(preference, host) => {
                    (15, [&preference.to_be_bytes()[..], &wire(host)].concat())
                }
                Record::Cname(to) => {
                    next = Some((*to).to_owned());
                    (5, wire(to))
                }
            };
            if number == kind || number == 5 {
                let mut rr = wire(&owner);
                rr.extend_from_slice(&number.to_be_bytes());
                rr.extend_from_slice(&[0, 1, 0, 0, 0, 0]);
                rr.extend_from_slice(&u16::try_from(data.len()).unwrap().to_be_bytes());
                rr.extend_from_slice(&data);
                records.push(rr);
            }
        }
        match next {
            Some(to) => owner = to,
            None => break,
        }
    }
    if !exists {
        code = 3;
    }
    let mut out = query.get(..2)?.to_vec();
    out.extend_from_slice(&(0x8180 | code).to_be_bytes());
    out.extend_from_slice(&[0, 1]);
    out.extend_from_slice(&u16::try_from(records.len()).unwrap().to_be_bytes());
    out.extend_from_slice(&[0, 0, 0, 0]);
    out.extend_from_slice(question);
    records.iter().for_each(|rr| out.extend_from_slice(rr));
    Some(out)
}

fn wire(name: &str) -> Vec<u8> {
    let mut out = Vec::new();
    for label in name.split('.').filter(|l| !l.is_empty()) {
        out.push(u8::try_from(label.len()).unwrap());
        out.extend_from_slice(label.as_bytes());
    }
    out.push(0);
    out
}
