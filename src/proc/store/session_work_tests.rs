//! How much of a message file is read for a command: never more than in
//! proportion to the message, however it is made and however it is asked for.
//!
//! The sessions run on the test's own thread, which counts.  The figures are
//! printed: `cargo test --lib session::tests::work -- --nocapture`.

use super::*;
use crate::disk::maildir::message::OCTETS_READ;

/// Runs the commands in a session on this thread, INBOX selected; gives what it
/// answered and how many octets it read of message files.
fn session(house: &House, commands: &str) -> (Vec<u8>, u64) {
    let (ours, theirs) = fdpass::socketpair().unwrap();
    let mut client = File::from(ours);
    let mut reader = client.try_clone().unwrap();
    let answers = std::thread::spawn(move || {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).unwrap();
        all
    });
    client.write_all(&hello().framed().unwrap()).unwrap();
    let input = format!("s EXAMINE INBOX\r\n{commands}z LOGOUT\r\n").into_bytes();
    let writer = std::thread::spawn(move || client.write_all(&input).unwrap());
    let before = OCTETS_READ.get();
    run(house.account.clone(), theirs, 7, house.sessions.stopping.clone());
    let read = OCTETS_READ.get() - before;
    writer.join().unwrap();
    let answers = answers.join().unwrap();
    assert!(answers.ends_with(b"z OK Logout completed.\r\n"));
    (answers, read)
}

/// Puts a file into INBOX as it is.
fn place(house: &House, text: &[u8]) {
    std::fs::write(house.place.0.join("new/1000000000.M1P1.host"), text).unwrap();
}

/// Reads a message of `n` and one of `2n`, and asserts that it costs no more
/// than twice, and a small multiple of the message.
fn doubling(
    what: &str,
    n: usize,
    message: impl Fn(usize) -> Vec<u8>,
    ask: impl Fn(usize) -> String,
) {
    let cost = |n| {
        let house = House::new();
        house.log_in().ok("SELECT INBOX");
        let text = message(n);
        place(&house, &text);
        (text.len() as u64, session(&house, &ask(text.len())).1)
    };
    let ((size, one), (size2, two)) = (cost(n), cost(2 * n));
    println!("{what}: {one} octets read of {size}, {two} of {size2}");
    assert!(one > 0 && two * 10 <= one * 23, "{what}: {one} octets read, then {two}");
    assert!(two <= 4 * size2, "{what}: {two} octets read of {size2}");
}

/// A multipart of `n` attached messages of some 3 KB.
fn attached(n: usize) -> Vec<u8> {
    let mut text = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    for i in 0..n {
        text += &format!("--b\nContent-Type: message/rfc822\n\nSubject: {i}\n\n");
        text += &"a line of the text of an attached message\n".repeat(72);
    }
    (text + "--b--\n").into_bytes()
}

/// A multipart of `n` texts of some 3 KB.
fn texts(n: usize) -> Vec<u8> {
    let mut text = String::from("Content-Type: multipart/mixed; boundary=b\n\n");
    for i in 0..n {
        text += &format!("--b\n\npart {i}\n");
        text += &"a line of the text of a part of a message\n".repeat(72);
    }
    (text + "--b--\n").into_bytes()
}

/// A header and `n` lines with an end each.
fn lines(n: usize, end: &str) -> Vec<u8> {
    let mut text = format!("Subject: long{end}{end}");
    for i in 0..n {
        text += &format!("line {i:058}{end}");
    }
    text.into_bytes()
}

/// A FETCH for each 64 KiB of a section.
fn in_pieces(section: &str, octets: usize) -> String {
    let piece = 65_536;
    let ask = |k| format!("a FETCH 1 BODY.PEEK[{section}]<{}.{piece}>\r\n", k * piece);
    (0..=octets / piece).map(ask).collect()
}

#[test]
fn the_structure_of_many_attached_messages() {
    doubling("BODYSTRUCTURE", 200, attached, |_| "a FETCH 1 BODYSTRUCTURE\r\n".into());
}

#[test]
fn a_search_of_many_texts() {
    doubling("SEARCH BODY", 400, texts, |_| "a SEARCH BODY xyzzy TEXT xyzzy\r\n".into());
}

#[test]
fn a_search_of_many_attached_messages() {
    doubling("SEARCH TEXT", 200, attached, |_| "a SEARCH TEXT xyzzy\r\n".into());
}

#[test]
fn every_part_fetched_alone() {
    let each = |_| (1..=100).map(|i| format!("a FETCH 1 BODY.PEEK[{i}]\r\n")).collect();
    doubling("BODY[n]", 400, texts, each);
}

#[test]
fn a_message_fetched_in_pieces() {
    for (name, end) in [("LF", "\n"), ("CRLF", "\r\n")] {
        doubling(
            &format!("BODY[]<k.65536>, {name}"),
            40_000,
            |n| lines(n, end),
            |octets| in_pieces("", octets + octets / 60),
        );
    }
}

#[test]
fn a_part_fetched_in_pieces() {
    let message = |n| {
        let body = lines(n, "\n");
        let head = b"Content-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst\n--b\n\n";
        [&head[..], &body, b"\n--b--\n"].concat()
    };
    doubling("BODY[2]<k.65536>", 40_000, message, |octets| in_pieces("2", octets + octets / 60));
}

/// The literals of the answers, one after the other.
fn literals(answers: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    let mut rest = answers;
    while let Some(end) = memchr::memmem::find(rest, b"\r\n") {
        let (line, after) = rest.split_at(end + 2);
        let octets = crate::proto::imap::collect::announced(&line[..end]).map_or(0, |h| h.octets);
        let (literal, after) = after.split_at(octets as usize);
        all.extend_from_slice(literal);
        rest = after;
    }
    all
}

#[test]
fn the_pieces_of_a_message_are_the_whole_whatever_its_line_ends() {
    let house = House::new();
    house.log_in().ok("SELECT INBOX");
    let mut text =
        b"Content-Type: multipart/mixed; boundary=b\n\n--b\r\n\r\nfirst\n--b\n\n".to_vec();
    for i in 0..40_000 {
        text.extend_from_slice([&b"a\n"[..], b"line\r\n", b"\r", b"\0\n", b"\r\r\n"][i * i % 5]);
        text.extend_from_slice(b"and more of it");
    }
    text.extend_from_slice(b"\r\n--b--\r\nend\n");
    place(&house, &text);
    for section in ["", "TEXT", "2"] {
        let (whole, _) = session(&house, &format!("a FETCH 1 BODY.PEEK[{section}]\r\n"));
        let (pieces, _) = session(&house, &in_pieces(section, text.len() * 6 / 5));
        let whole = literals(&whole);
        assert!(whole.len() > text.len() && whole == literals(&pieces), "{section}");
    }
}

#[test]
fn a_message_that_goes_between_its_pieces_is_refused_whole() {
    let house = House::new();
    house.log_in().ok("SELECT INBOX");
    place(&house, &lines(10_000, "\n"));
    let mut c = house.select("INBOX");
    c.ok("FETCH 1 BODY.PEEK[]<0.10>");
    for part in ["new", "cur"] {
        for file in std::fs::read_dir(house.place.0.join(part)).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
    }
    let gone = c.command("FETCH 1 BODY.PEEK[]<10.10>");
    assert!(gone.last().unwrap().starts_with("NO [EXPUNGEISSUED]"), "{gone:?}");
    assert!(!gone.join("").contains("BODY"), "{gone:?}");
}

/// A SEARCH with a thousand different strings, none of which is there.
fn many_keys() -> String {
    let keys: String = (0..1000).map(|i| format!(" NOT BODY q{i:03}")).collect();
    format!("a SEARCH{keys}\r\n")
}

#[test]
fn a_thousand_keys_read_a_message_once() {
    let house = House::new();
    house.log_in().ok("SELECT INBOX");
    place(&house, &texts(200));
    let (_, one) = session(&house, "a SEARCH NOT BODY q000\r\n");
    let (answers, many) = session(&house, &many_keys());
    println!("SEARCH: {one} octets read for one BODY key, {many} for 1000");
    assert_eq!(one, many);
    assert!(memchr::memmem::find(&answers, b"* SEARCH 1\r\n").is_some());
}

/// A mailbox that such a SEARCH is busy with for minutes.
fn busy_house() -> House {
    let house = House::new();
    house.log_in().ok("SELECT INBOX");
    let text = format!("Subject: x\n\n{}", "some words of a long text\n".repeat(160_000));
    place(&house, text.as_bytes());
    let new = house.place.0.join("new");
    for i in 0..200 {
        let copy = new.join(format!("1000000001.M{i}P1.host"));
        crate::disk::atomic::link(&new.join("1000000000.M1P1.host"), &copy).unwrap();
    }
    house
}

#[test]
fn a_search_ends_when_the_process_does() {
    let house = busy_house();
    let mut c = house.select("INBOX");
    // Only the flag: a session that is busy does not look at its input.
    house.sessions.stopping.store(true, Ordering::SeqCst);
    c.send(many_keys().as_bytes());
    assert_eq!(c.response(), "* BYE Server shutting down.");
    assert!(c.closed());
}

#[test]
fn a_long_search_says_that_it_goes_on() {
    let house = busy_house();
    let mut c = house.select("INBOX");
    c.send(many_keys().as_bytes());
    assert_eq!(c.response(), "* OK Still searching.");
    house.sessions.stopping.store(true, Ordering::SeqCst);
    assert_eq!(c.response(), "* BYE Server shutting down.");
}

#[test]
fn a_fetch_ends_when_the_process_does() {
    let house = busy_house();
    let mut c = house.select("INBOX");
    house.sessions.stopping.store(true, Ordering::SeqCst);
    c.send(b"a FETCH 1:* BODY.PEEK[]\r\n");
    assert_eq!(c.response(), "* BYE Server shutting down.");
    assert!(c.closed());
}

#[test]
fn a_search_ends_when_its_client_has_gone() {
    let house = busy_house();
    let (ours, theirs) = fdpass::socketpair().unwrap();
    let (account, stopping) = (house.account.clone(), house.sessions.stopping.clone());
    let (ended, end) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        run(account, theirs, 7, stopping);
        ended.send(()).unwrap();
    });
    let mut c = Client { wire: File::from(ours), read: Vec::new(), tags: 0 };
    c.send(&hello().framed().unwrap());
    c.until("login");
    c.ok("EXAMINE INBOX");
    c.send(many_keys().as_bytes());
    drop(c);
    end.recv_timeout(Duration::from_secs(60)).expect("the session ends");
}
