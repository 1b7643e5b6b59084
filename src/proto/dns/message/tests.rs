use super::*;

fn name(text: &str) -> Name {
    Name::parse(text.as_bytes()).unwrap()
}

fn record(data: Data) -> Record {
    Record { name: name("example.org"), ttl: 60, data }
}

fn every_kind() -> Vec<Record> {
    vec![
        record(Data::A([192, 0, 2, 1].into())),
        record(Data::Aaaa("2001:db8::1".parse().unwrap())),
        record(Data::Ns(name("ns.example.org"))),
        record(Data::Cname(name("www.example.org"))),
        record(Data::Ptr(name("host.example.org"))),
        record(Data::Mx(10, name("mx.example.org"))),
        record(Data::Txt(vec![b"v=spf1".to_vec(), b" -all\0\xff".to_vec()])),
        record(Data::Srv { priority: 1, weight: 2, port: 993, target: name("i.example.org") }),
        record(Data::Tlsa { usage: 3, selector: 1, matching: 1, data: vec![7; 32] }),
        record(Data::Soa(Soa { primary: name("ns"), mailbox: name("h"), ..Soa::default() })),
        record(Data::Other(Type(257), vec![1, 2, 3])),
    ]
}

/// RFC 6840 5.7; RFC 6891 6.1.2: AD asked for, DO not, 1232 octets.
#[test]
fn a_query_asks_for_recursion_and_ad_and_announces_edns() {
    let q = Query::new(name("example.org"), Type::TXT);
    let bytes = Message::query(0x1234, q.clone()).write(512);
    assert_eq!(
        bytes,
        b"\x12\x34\x01\x20\0\x01\0\0\0\0\0\x01\x07example\x03org\0\0\x10\0\x01\
          \0\0\x29\x04\xd0\0\0\0\0\0\0"
    );
    let back = parse(&bytes).unwrap();
    assert_eq!(back.question, Some(q));
    assert_eq!(back.edns, Some(1232));
}

#[test]
fn every_kind_of_record_comes_back() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("example.org"), Type::MX)));
    m.answers = every_kind();
    m.authority = every_kind();
    m.authentic = true;
    let bytes = m.write(65535);
    assert_eq!(parse(&bytes), Ok(m.clone()));
    assert!(bytes.len() < 900, "owners are compressed");
}

#[test]
fn what_does_not_fit_is_truncated_and_carries_no_records() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("example.org"), Type::TXT)));
    m.answers = (0..100).map(|_| record(Data::txt(&[b'x'; 700]))).collect();
    let bytes = m.write(1232);
    assert!(bytes.len() <= 1232);
    let back = parse(&bytes).unwrap();
    assert!(back.truncated);
    assert!(back.answers.is_empty());
    // Over 64 KiB no length fits: the same.
    assert!(parse(&m.write(usize::MAX)).unwrap().answers.len() == 100);
}

/// A message whose question is the given name, written out.
fn with_name(wire: &[u8]) -> Vec<u8> {
    let mut bytes = b"\0\x01\x80\0\0\x01\0\0\0\0\0\0".to_vec();
    bytes.extend_from_slice(wire);
    bytes.extend_from_slice(b"\0\x01\0\x01");
    bytes
}

/// RFC 1035 4.1.4.
#[test]
fn compression_loops_end() {
    for wire in [
        &b"\xc0\x0c"[..],    // to itself
        b"\x01a\xc0\x0c",    // to its own beginning
        b"\xc0\x0e\xc0\x0c", // forward, then back
        b"\xc0\xff",         // past the end
        b"\x01a\xc0\x0d",    // into its own label
        b"\x41a\0",          // reserved label type
        b"\x81a\0",
        b"\x3fshort\0",
    ] {
        assert!(parse(&with_name(wire)).is_err(), "{wire:?}");
    }
    assert!(parse(&with_name(b"\x01a\0")).is_ok());
}

#[test]
fn a_name_over_255_octets_through_pointers_is_malformed() {
    // Each answer's owner is a label and a pointer to the owner before.
    let mut bytes = b"\0\x01\x80\0\0\0\0\x50\0\0\0\0".to_vec();
    let mut last: Option<u16> = None;
    for _ in 0..0x50 {
        let at = u16::try_from(bytes.len()).unwrap();
        bytes.extend_from_slice(b"\x0aaaaaaaaaaa");
        match last {
            Some(last) => bytes.extend_from_slice(&(0xc000u16 | last).to_be_bytes()),
            None => bytes.push(0),
        }
        last = Some(at);
        bytes.extend_from_slice(b"\0\x01\0\x01\0\0\0\0\0\x04\x7f\0\0\x01");
    }
    assert!(parse(&bytes).is_err());
}

#[test]
fn rdata_may_not_reach_outside_its_length() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("e"), Type::TXT)));
    m.edns = None;
    m.answers = vec![Record { name: name("e"), ttl: 1, data: Data::Txt(vec![b"abc".to_vec()]) }];
    let good = m.write(512);
    let n = good.len();
    let mut long = good.clone();
    long[n - 4] = 200; // the string says it is longer than the data
    assert!(parse(&long).is_err());
    let mut short = good.clone();
    short[n - 5] = 3; // the data ends within the string
    assert!(parse(&short).is_err());
    assert!(parse(&good[..n - 1]).is_err());
}

/// The rest is read over.
#[test]
fn no_more_than_128_records_of_a_section_are_kept() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("example.org"), Type::A)));
    m.answers = (0..500).map(|_| record(Data::A([127, 0, 0, 1].into()))).collect();
    assert_eq!(parse(&m.write(65535)).unwrap().answers.len(), 128);
}

/// RFC 1035 3.3.14.
#[test]
fn a_txt_of_300_strings_and_60_kb_is_read() {
    let text = Data::Txt(vec![vec![b'x'; 200]; 300]);
    let mut m = Message::reply(&Message::query(1, Query::new(name("example.org"), Type::TXT)));
    m.answers = vec![record(text.clone())];
    assert_eq!(parse(&m.write(65535)).unwrap().answers[0].data, text);
}

#[test]
fn every_prefix_and_every_flipped_byte_is_taken_without_harm() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("example.org"), Type::MX)));
    m.answers = every_kind();
    let bytes = m.write(65535);
    for n in 0..bytes.len() {
        crate::proto::dns::fuzz_message(&bytes[..n]);
        for flip in [0x01, 0x80, 0xff] {
            let mut b = bytes.clone();
            b[n] ^= flip;
            crate::proto::dns::fuzz_message(&b);
        }
    }
}

/// RFC 2181 8.
#[test]
fn a_negative_ttl_is_zero() {
    let mut m = Message::reply(&Message::query(1, Query::new(name("e"), Type::A)));
    m.answers =
        vec![Record { name: name("e"), ttl: 0x8000_0001, data: Data::A([1, 2, 3, 4].into()) }];
    assert_eq!(parse(&m.write(512)).unwrap().answers[0].ttl, 0);
}

#[test]
fn time_doubles_with_the_input() {
    // Type TXT, class IN, a TTL, no data.
    const REST: &[u8] = b"\0\x10\0\x01\0\0\0\x09\0\0";
    // Names: the root; a pointer to the question; one to itself; one to the
    // name before it, so that a chain grows; and labels without end.
    type Owner = fn(usize, usize) -> Vec<u8>;
    let pointer = |to: usize| (0xc000 | u16::try_from(to & 0x3fff).unwrap()).to_be_bytes();
    let owners: [Owner; 5] = [
        |_, _| vec![0],
        |_, _| vec![0xc0, 12],
        |here, _| (0xc000 | u16::try_from(here & 0x3fff).unwrap()).to_be_bytes().to_vec(),
        |_, before| (0xc000 | u16::try_from(before & 0x3fff).unwrap()).to_be_bytes().to_vec(),
        |_, before| {
            let to = (0xc000 | u16::try_from(before & 0x3fff).unwrap()).to_be_bytes();
            [&b"\x03abc"[..], &to].concat()
        },
    ];
    let query = Message::query(7, Query::new(name("a.example.org"), Type::TXT)).write(512);
    for owner in owners {
        crate::proto::testing::assert_linear(|n| {
            let mut bytes = query.clone();
            // A response with as many answers as can be said, and no OPT.
            bytes[2] |= 0x80;
            bytes[6..8].copy_from_slice(&[0xff, 0xff]);
            bytes[10..12].copy_from_slice(&[0, 0]);
            bytes.truncate(bytes.len() - 11);
            let mut before = 12;
            while bytes.len() < n {
                let here = bytes.len();
                bytes.extend_from_slice(&owner(here, before));
                bytes.extend_from_slice(REST);
                before = here;
            }
            let _ = std::hint::black_box(parse(&bytes));
        });
    }
    // One name whose pointers lead backwards through the whole message.
    crate::proto::testing::assert_linear(|n| {
        let mut bytes = query.clone();
        bytes[6..8].copy_from_slice(&[0, 1]);
        bytes.truncate(bytes.len() - 11);
        while bytes.len() < n {
            let to = bytes.len().saturating_sub(2);
            bytes.extend_from_slice(&pointer(to));
        }
        let _ = std::hint::black_box(parse(&bytes));
    });
}

/// RFC 1035 4.1.4: pointers to pointers without end would be followed anew for
/// each record.
#[test]
fn a_name_follows_no_more_pointers_than_it_can_have_labels() {
    let with = |pointers: u16| {
        // Header, a root name at 12, then pointers each to the one before.
        let mut bytes = b"\0\x01\x80\0\0\0\0\x02\0\0\0\0".to_vec();
        bytes.extend_from_slice(b"\0\0\x0a\0\x01\0\0\0\0");
        bytes.extend_from_slice(&(1 + 2 * (pointers - 1)).to_be_bytes());
        let root = u16::try_from(bytes.len()).unwrap();
        bytes.push(0);
        for i in 0..pointers - 1 {
            let to = if i == 0 { root } else { root + 1 + 2 * (i - 1) };
            bytes.extend_from_slice(&(0xc000 | to).to_be_bytes());
        }
        let last = root + 1 + 2 * (pointers - 2);
        bytes.extend_from_slice(&(0xc000 | last).to_be_bytes());
        bytes.extend_from_slice(b"\0\x0a\0\x01\0\0\0\0\0\0");
        parse(&bytes).is_ok()
    };
    assert!(with(127));
    assert!(!with(128));
}
