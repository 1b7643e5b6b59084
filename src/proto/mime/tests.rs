use super::*;
use crate::proto::limits;
use crate::proto::testing::assert_linear;

fn crlf(text: &str) -> Vec<u8> {
    text.replace('\n', "\r\n").into_bytes()
}

/// `depth type body` of each part.
fn outline(message: &[u8]) -> Vec<String> {
    fuzz_message(message);
    let s = scan(message);
    s.parts
        .iter()
        .map(|p| {
            format!(
                "{} {}/{} {:?}",
                p.depth,
                String::from_utf8_lossy(&p.content_type.main),
                String::from_utf8_lossy(&p.content_type.sub),
                if p.composite {
                    String::new()
                } else {
                    String::from_utf8_lossy(p.body.of(message)).into_owned()
                }
            )
        })
        .collect()
}

const TWO: &str = "Subject: x\nContent-Type: multipart/mixed; boundary=b\n\npre\n--b\n\
                   Content-Type: text/html; charset=utf-8\n\n<p>\n--b  \n\n\none\ntwo\n\n--b--\nepi\n";

#[test]
fn ranges_sizes_and_lines_of_parts() {
    let m = crlf(TWO);
    let s = scan(&m);
    assert_eq!(
        outline(&m),
        [
            "0 multipart/mixed \"\"",
            "1 text/html \"<p>\"",
            "1 text/plain \"\\r\\none\\r\\ntwo\\r\\n\""
        ]
    );
    let p = &s.parts[2];
    assert_eq!((p.body.octets(), p.body.lines, p.body.bare_lf), (12, 3, 0));
    assert_eq!(p.header.of(&m), b"\r\n");
    assert_eq!(s.parts[1].header.lines, 2);
    assert_eq!(s.parts[0].body.end, m.len() as u64);
    assert_eq!(s.children(0).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(s.odd, Oddities::default());
}

#[test]
fn files_with_lf_have_the_same_structure_and_the_same_size_on_the_wire() {
    let (wire, file) = (crlf(TWO), TWO.as_bytes().to_vec());
    let (a, b) = (scan(&wire), scan(&file));
    for (a, b) in a.parts.iter().zip(&b.parts) {
        assert_eq!(a.body.octets(), b.body.wire_octets());
        assert_eq!(a.header.octets(), b.header.wire_octets());
        assert_eq!(a.body.lines, b.body.lines);
    }
    assert_eq!(a.parts.len(), b.parts.len());
}

#[test]
fn an_attached_message_has_parts_of_its_own() {
    let m = crlf(
        "Content-Type: message/rfc822\n\nSubject: in\nContent-Type: multipart/mixed; boundary=\"x\"\n\n\
         --x\n\nhi\n--x--\n",
    );
    assert_eq!(
        outline(&m),
        ["0 message/rfc822 \"\"", "1 multipart/mixed \"\"", "2 text/plain \"hi\""]
    );
    let s = scan(&m);
    assert_eq!(s.parts[0].body.start, s.parts[1].header.start);
    assert_eq!(s.parts[0].body.end, s.parts[1].body.end);
}

#[test]
fn a_digest_holds_messages() {
    let m =
        crlf("Content-Type: multipart/digest; boundary=x\n\n--x\n\nSubject: a\n\nbody\n--x--\n");
    assert_eq!(
        outline(&m),
        ["0 multipart/digest \"\"", "1 message/rfc822 \"\"", "2 text/plain \"body\""]
    );
}

#[test]
fn nesting_over_20_is_opaque_and_noted() {
    let mut m = String::new();
    for i in 0..40 {
        m += &format!("Content-Type: multipart/mixed; boundary=b{i}\n\n--b{i}\n");
    }
    m += "\nend\n";
    let s = scan(m.as_bytes());
    assert_eq!(s.parts.last().unwrap().depth, 20);
    assert!(s.odd.too_deep);
    assert!(s.parts.last().unwrap().body.of(m.as_bytes()).ends_with(b"end\n"));
    let rfc822 = "Content-Type: message/rfc822\n\n".repeat(1000);
    assert_eq!(scan(rfc822.as_bytes()).parts.len(), 21);
}

#[test]
fn parts_over_1000_are_the_body_of_the_last() {
    let m = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--b\n\nx\n".repeat(5000));
    let s = scan(m.as_bytes());
    assert_eq!(s.parts.len(), limits::MIME_PARTS.size());
    assert!(s.odd.too_many_parts);
    assert_eq!(s.parts.last().unwrap().body.end, m.len() as u64);
}

#[test]
fn boundaries_over_200_octets_are_none_and_over_70_are_noted() {
    for (n, parts, long, none) in
        [(70, 2, false, false), (71, 2, true, false), (200, 2, true, false), (201, 1, false, true)]
    {
        let b = "b".repeat(n);
        let m = format!("Content-Type: multipart/mixed; boundary={b}\n\n--{b}\n\nx\n--{b}--\n");
        let s = scan(m.as_bytes());
        assert_eq!(
            (s.parts.len(), s.odd.long_boundary, s.odd.no_boundary),
            (parts, long, none),
            "{n}"
        );
    }
}

#[test]
fn a_boundary_that_is_the_beginning_of_another_is_told_apart() {
    let m = crlf(
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\
         Content-Type: multipart/mixed; boundary=ab\n\n--ab\n\nin\n--abc\n--ab--\n--a\n\nout\n--a--\n",
    );
    assert_eq!(
        outline(&m),
        [
            "0 multipart/mixed \"\"",
            "1 multipart/mixed \"\"",
            "2 text/plain \"in\\r\\n--abc\"",
            "1 text/plain \"out\""
        ]
    );
}

#[test]
fn the_same_boundary_inside_belongs_to_the_inner_multipart() {
    let m = crlf(
        "Content-Type: multipart/mixed; boundary=a\n\n--a\n\
         Content-Type: multipart/mixed; boundary=a\n\n--a\n\nin\n--a--\n--a\n\nout\n--a--\n",
    );
    assert_eq!(
        outline(&m),
        [
            "0 multipart/mixed \"\"",
            "1 multipart/mixed \"\"",
            "2 text/plain \"in\"",
            "1 text/plain \"out\""
        ]
    );
}

#[test]
fn a_delimiter_in_the_preamble_begins_the_first_part() {
    let m =
        crlf("Content-Type: multipart/mixed; boundary=a\n\ntext --a\n--a--x\n--a\n\np\n--a--\n");
    assert_eq!(outline(&m)[1..], ["1 text/plain \"p\""]);
}

#[test]
fn missing_terminators_are_implied_by_the_outer_delimiter_and_the_end() {
    let m = crlf(
        "Content-Type: multipart/mixed; boundary=o\n\n--o\n\
         Content-Type: multipart/alternative; boundary=i\n\n--i\n\nhtml\n--o\n\nlast\n",
    );
    assert_eq!(
        outline(&m),
        [
            "0 multipart/mixed \"\"",
            "1 multipart/alternative \"\"",
            "2 text/plain \"html\"",
            "1 text/plain \"last\\r\\n\""
        ]
    );
    assert!(scan(&m).odd.unclosed);
}

#[test]
fn after_the_close_delimiter_comes_the_epilogue() {
    let m = crlf("Content-Type: multipart/mixed; boundary=a\n\n--a\n\np\n--a--\n--a\n\nno\n");
    assert_eq!(outline(&m).len(), 2);
}

/// RFC 2231 3, 4: no form of a boundary hides the parts that readers see.
#[test]
fn an_encoded_boundary_is_decoded_and_a_plain_one_counts_before_it() {
    for (params, delimiter) in [
        ("boundary=B; boundary*=us-ascii''Z", "B"),
        ("boundary*=us-ascii''Z; boundary=B", "B"),
        ("boundary*=us-ascii''Z%3D", "Z="),
        ("boundary*0*=us-ascii''Z; boundary*1=z", "Zz"),
        ("boundary*0=Z; boundary*1=z", "Zz"),
    ] {
        let m = crlf(&format!(
            "Content-Type: multipart/mixed; {params}\n\n--{delimiter}\n\np\n--{delimiter}--\n"
        ));
        assert_eq!(outline(&m)[1..], ["1 text/plain \"p\""], "{params}");
        assert!(scan(&m).odd.encoded_boundary, "{params}");
    }
    let plain = crlf("Content-Type: multipart/mixed; boundary=B\n\n--B\n\np\n--B--\n");
    assert!(!scan(&plain).odd.encoded_boundary);
}

/// A second Content-Type must not hide the body from us and show it to readers.
#[test]
fn of_two_content_types_the_first_valid_one_counts_and_it_is_noted() {
    let m = crlf(
        "Content-Type: nonsense\nContent-Type: multipart/mixed; boundary=a; boundary=b\n\
         Content-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\
         Content-Transfer-Encoding: base64\n\n--a\n\np\n--a--\n",
    );
    let s = scan(&m);
    assert_eq!(outline(&m)[1..], ["1 text/plain \"p\""]);
    assert!(s.odd.repeated_type && s.odd.repeated_encoding && s.odd.repeated_param);
    assert_eq!(s.parts[0].encoding, Encoding::EightBit);
}

/// RFC 2046 5.2.1, 5.2.2.
#[test]
fn message_partial_and_an_encoded_message_are_opaque() {
    let m = crlf("Content-Type: message/partial; id=x; number=1\n\nSubject: a\n\nb\n");
    assert_eq!(outline(&m).len(), 1);
    let m =
        crlf("Content-Type: message/rfc822\nContent-Transfer-Encoding: base64\n\nU3ViamVjdA==\n");
    assert_eq!(outline(&m).len(), 1);
    assert!(scan(&m).odd.encoded_composite);
}

#[test]
fn a_multipart_that_is_said_to_be_encoded_is_looked_into() {
    let m = crlf(
        "Content-Type: multipart/mixed; boundary=a\nContent-Transfer-Encoding: base64\n\n--a\n\np\n--a--\n",
    );
    assert_eq!(outline(&m).len(), 2);
    assert!(scan(&m).odd.encoded_composite);
}

#[test]
fn a_header_cut_by_a_delimiter_has_an_empty_body() {
    let m =
        crlf("Content-Type: multipart/mixed; boundary=a\n\n--a\nContent-ID: <x>\n--a\n\n--a--\n");
    let s = scan(&m);
    assert_eq!(outline(&m)[1..], ["1 text/plain \"\"", "1 text/plain \"\""]);
    assert_eq!(s.parts[1].id.as_deref(), Some(&b"<x>"[..]));
    assert_eq!(s.parts[1].header.of(&m), b"Content-ID: <x>\r\n");
}

#[test]
fn oddities_of_headers_are_noted() {
    let s = scan(b"no field\r\nA\0: b\rc\r\n\r\n");
    assert!(s.odd.no_field && s.odd.nul_in_header && s.odd.bare_cr_in_header);
    assert!(!scan(b"From a@b Thu\nA: b\n\n").odd.no_field);
    let long = format!("A: {}\n", "x".repeat(1000)).repeat(300) + "Content-Type: text/html\n\n";
    let s = scan(long.as_bytes());
    assert!(s.odd.long_header);
    assert!(!s.parts[0].type_given);
}

/// RFC 5322 2.1.1: read as it is, and noted.
#[test]
fn lines_over_998_octets_and_bytes_beyond_ascii_are_noted() {
    let odd = |m: &str| scan(m.as_bytes()).odd;
    assert!(!odd(&format!("A: {}\r\n\r\nb\r\n", "x".repeat(995))).long_line);
    assert!(odd(&format!("A: {}\r\n\r\nb\r\n", "x".repeat(996))).long_line);
    assert!(odd(&format!("A: b\r\n\r\n{}\r\n", "x".repeat(999))).long_line);
    assert!(odd("A: é\r\n\r\nb\r\n").eight_bit_in_header);
    assert!(!odd("A: b\r\n\r\né\r\n").eight_bit_in_header);
}

/// What the scanner keeps of a message does not grow with the message: neither
/// with lines, nor with a line or a field without end, nor with closed parts.
#[test]
fn memory_does_not_grow_with_the_message() {
    let head = "Content-Type: multipart/mixed; boundary=b\r\n\r\n";
    for piece in ["x\r\n".repeat(1000), "x".repeat(4000), "--b\r\n\r\nx\r\n".repeat(400)] {
        let mut scanner = Scanner::new();
        scanner.feed(head.as_bytes());
        for _ in 0..1000 {
            scanner.feed(piece.as_bytes());
        }
        assert!(scanner.held() < 1 << 10, "{} of a body", scanner.held());
        let structure = scanner.finish();
        assert!(structure.parts.len() <= limits::MIME_PARTS.size());
        assert!(structure.parts[0].body.end > 2 << 20);
    }
    let mut scanner = Scanner::new();
    scanner.feed(b"Content-Type: ");
    for _ in 0..1000 {
        scanner.feed(&[b'x'; 4000]);
    }
    assert!(scanner.held() <= 4 * limits::HEADER_FIELD.size(), "{} of a header", scanner.held());
}

/// RFC 2045 6.4; nobody decodes these, and neither do we.
#[test]
fn uuencode_and_yenc_are_opaque() {
    for name in ["x-uuencode", "uuencode", "x-yenc", "x-gzip64"] {
        let m = crlf(&format!("Content-Transfer-Encoding: {name}\n\nbegin 644 a\n#86)C\nend\n"));
        let s = scan(&m);
        assert_eq!(s.parts[0].encoding, Encoding::Unknown, "{name}");
        assert!(s.parts[0].body.of(&m).starts_with(b"begin 644 a"));
    }
}

#[test]
fn a_field_over_its_limit_is_cut() {
    let m = format!("Content-Description: {}\n\n", "x".repeat(200_000));
    let s = scan(m.as_bytes());
    assert!(s.parts[0].description.as_ref().unwrap().len() <= limits::HEADER_FIELD.size());
    let mut scanner = Scanner::new();
    m.as_bytes().chunks(4096).for_each(|c| scanner.feed(c));
    assert!(
        scanner.finish().parts[0].description.as_ref().unwrap().len()
            <= limits::HEADER_FIELD.size()
    );
}

#[test]
fn every_field_keeps_its_raw_bytes() {
    let header = b"From: a\r\n\tb\r\n \r\nnofield\r\nX :y\r\n: z\r\nEnd: 1";
    let fields: Vec<Field> = Fields::new(header).collect();
    assert_eq!(fields.iter().map(|f| f.raw).collect::<Vec<_>>().concat(), header);
    let names: Vec<&[u8]> = fields.iter().map(|f| f.name).collect();
    assert_eq!(names, [&b"From"[..], b"", b"X", b"", b"End"]);
    assert_eq!(fields[0].value, b" a\r\n\tb\r\n ");
    assert_eq!(fields[0].text(), b"a\tb");
    assert_eq!(split(b"A: b\r\n\r\nbody"), (&b"A: b\r\n"[..], &b"body"[..]));
    assert_eq!(split(b"\nbody"), (&b""[..], &b"body"[..]));
    assert_eq!(split(b"A: b"), (&b"A: b"[..], &b""[..]));
}

fn param(field: &str, name: &str) -> Option<String> {
    ContentType::parse(field.as_bytes())?.params.get(name.as_bytes()).map(Param::text)
}

/// RFC 2231 3, 4, 7.
#[test]
fn parameters_of_rfc_2231() {
    let title = "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20; \
                 title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"";
    assert_eq!(param(title, "title").unwrap(), "This is even more ***fun*** isn't it!");
    assert_eq!(param("a/b; url*1=\"two\"; URL*0=one", "url").unwrap(), "onetwo");
    assert_eq!(param("a/b; n*=utf-8''%e2%82%ac%20rates; n=EUR", "n").unwrap(), "€ rates");
    assert_eq!(param("a/b; n*0=a; n*2=c", "n").unwrap(), "a");
    assert_eq!(param("a/b; n*1=a", "n"), None);
    assert_eq!(param("a/b; n*=no-quotes%41", "n").unwrap(), "no-quotesA");
    assert_eq!(param("a/b; n*99999999999999999999999=x", "n"), None);
}

#[test]
fn parameters_as_senders_write_them() {
    assert_eq!(param("a/b;name=my file.pdf; x=y", "name").unwrap(), "my file.pdf");
    assert_eq!(
        param("a/b (c;x=1) ; ( (d) ) name = \"q\\\"r\" junk \"; y=2\"; x=3", "name").unwrap(),
        "q\"r"
    );
    assert_eq!(param("a/b; name=\"q\" junk \"; y=2\"; x=3", "x").unwrap(), "3");
    assert_eq!(param("a/b; name==?utf-8?Q?=C3=A9?=", "name").unwrap(), "é");
    assert_eq!(param("a/b; name=\"open", "name").unwrap(), "open");
    assert_eq!(param("text/plain; charset=\"utf-8\"", "charset").unwrap(), "utf-8");
    assert!(ContentType::parse(b"text").is_none());
    assert!(ContentType::parse(b"").is_none());
    let d = Disposition::parse(b" attachment; filename=x").unwrap();
    assert_eq!(d.kind, b"attachment");
}

#[test]
fn continuations_over_64_are_ignored() {
    let many: String = (0..1000).map(|i| format!("; n*{i}=x")).collect();
    assert_eq!(param(&format!("a/b{many}"), "n").unwrap().len(), 64);
}

#[test]
fn time_doubles_with_the_input() {
    let head = "Content-Type: multipart/mixed; boundary=a\n\n";
    for unit in [
        "--a\n\n",
        "--a\nContent-Type: multipart/mixed; boundary=a\n\n",
        "--\n",
        "--a--\n",
        "x\n",
        "--aaaaaaaaaaaaaaaaaaaaaaaaaaa\n",
    ] {
        assert_linear(|n| {
            std::hint::black_box(scan(
                (head.to_string() + &unit.repeat(n / unit.len())).as_bytes(),
            ));
        });
    }
    for unit in ["(", "\"", ";", ";a=\"", "a=(", "\\", ";a*0=b", "=?"] {
        assert_linear(|n| {
            let value = "a/b".to_string() + &unit.repeat(n / unit.len());
            std::hint::black_box(ContentType::parse(value.as_bytes()));
        });
    }
    for unit in ["a:b\n", "\n ", "a\n", " ", ":"] {
        assert_linear(|n| {
            let header = "a".to_string() + &unit.repeat(n / unit.len());
            std::hint::black_box(Fields::new(header.as_bytes()).count());
        });
    }
}

#[test]
fn the_end_of_a_header_is_found_in_pieces_of_any_size() {
    for (message, end) in [
        (&b"a: b\n\nbody\n\n"[..], Some(6)),
        (b"a: b\r\n\r\nbody", Some(8)),
        (b"a: b\n\r\nbody", Some(7)),
        (b"\nbody", Some(1)),
        (b"\r\nbody\n\n", Some(2)),
        (b"a: b\r\n\r", None),
        (b"a: b\n\rc\n", None),
        (b"", None),
    ] {
        for piece in 1..=message.len().max(1) {
            let mut looked_at = 0;
            let mut found = None;
            while found.is_none() && looked_at < message.len() {
                let here = (looked_at + piece).min(message.len());
                found = header_end(&message[..here], looked_at);
                looked_at = here;
            }
            assert_eq!(found, end, "{message:?} in pieces of {piece}");
        }
    }
}

#[test]
fn a_structure_weighs_at_least_what_it_holds() {
    let part = format!("--b\nContent-ID: <{}>\n\nx\n", "i".repeat(1000));
    let text = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", part.repeat(50));
    assert!((50_000..120_000).contains(&scan(text.as_bytes()).weight()));
}

/// RFC 2045 6.1, RFC 2046 5.1.1: fed an octet at a time, with as many boundaries
/// open as can be, each as long as it can be and alike but for its end.
#[test]
fn time_doubles_with_lines_that_are_almost_delimiters_of_all_that_is_open() {
    let depth = limits::MIME_DEPTH.size();
    let boundary = |i: usize| format!("{}{i:02}", "b".repeat(limits::MIME_BOUNDARY.size() - 2));
    let head: String = (0..depth)
        .map(|i| {
            let b = boundary(i);
            format!("Content-Type: multipart/mixed; boundary={b}\n\n--{b}\n")
        })
        .collect();
    let almost = format!("--{}\n", "b".repeat(limits::MIME_BOUNDARY.size()));
    for unit in [almost.as_str(), "--\n", "-"] {
        for piece in [1, 4096] {
            assert_linear(|n| {
                let mut scanner = Scanner::new();
                scanner.feed(head.as_bytes());
                let body = unit.repeat(n / unit.len());
                body.as_bytes().chunks(piece).for_each(|c| scanner.feed(c));
                std::hint::black_box(scanner.finish());
            });
        }
    }
}

/// A header fed an octet at a time, of one line or field without end.
#[test]
fn time_doubles_with_a_header_in_pieces() {
    for unit in ["Content-Type: a/b\n", "Content-Type: a/b\n ", "Content-ID: x", "x", " \n", "\n "]
    {
        assert_linear(|n| {
            let mut scanner = Scanner::new();
            let header = format!("Content-Type: {}", unit.repeat(n / unit.len()));
            header.as_bytes().chunks(1).for_each(|c| scanner.feed(c));
            std::hint::black_box(scanner.finish());
        });
    }
}

/// RFC 2231 3: every piece is compared with every other, of which there are few.
#[test]
fn time_doubles_with_the_names_of_parameters() {
    for octets in [1, 100, 1000] {
        let name = "n".repeat(octets);
        let units: [&dyn Fn(usize) -> String; 4] = [
            &|i| format!("; {name}{i:05}=v"),
            &|i| format!("; {name}*{i}=v"),
            &|i| format!("; {name}*{i}*=utf-8''%41"),
            &|_| format!("; {name}=v"),
        ];
        for unit in units {
            assert_linear(|n| {
                let many: String = (0..n / (octets + 8)).map(unit).collect();
                let value = format!("a/b{many}");
                let parsed = ContentType::parse(value.as_bytes()).unwrap();
                assert!(parsed.params.0.len() <= limits::MIME_PARAMETERS.size());
                parsed.params.0.iter().for_each(|p| {
                    std::hint::black_box((p.text(), p.octets()));
                });
            });
        }
    }
}

/// RFC 2045 5.1: the parameters of one field that are read.
#[test]
fn names_of_parameters_over_64_are_ignored() {
    let many: String = (0..500).map(|i| format!("; n{i}=v")).collect();
    let parsed = ContentType::parse(format!("a/b{many}").as_bytes()).unwrap();
    assert_eq!(parsed.params.0.len(), 64);
    assert_eq!(parsed.params.get(b"n63").map(Param::text).as_deref(), Some("v"));
    assert!(parsed.params.get(b"n64").is_none());
    let disposition = Disposition::parse(format!("attachment{many}").as_bytes()).unwrap();
    assert_eq!(disposition.params.0.len(), 64);
}

/// RFC 2046 5.1.1: the part is what lies between, whatever the part is.
#[test]
fn a_thousand_attached_messages_within_each_other_need_no_stack() {
    let one = "Content-Type: message/rfc822\n\n";
    let m = one.repeat(50_000);
    let s = scan(m.as_bytes());
    assert_eq!(s.parts.len(), limits::MIME_DEPTH.size() + 1);
    assert!(s.odd.too_deep);
    assert_linear(|n| {
        std::hint::black_box(scan(one.repeat(n / one.len()).as_bytes()));
    });
}
