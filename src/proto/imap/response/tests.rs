use super::super::lex::Fault;
use super::super::reply::Problem;
use super::super::search::Returns;
use super::*;

fn written(f: impl Fn(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    f(&mut out);
    String::from_utf8(out).unwrap()
}

#[test]
fn status_responses() {
    let one: Ranges = [5].into_iter().collect();
    let two: Ranges = [7, 8].into_iter().collect();
    for (code, text) in [
        (None, "a OK done\r\n"),
        (Some(Code::ReadWrite), "a OK [READ-WRITE] done\r\n"),
        (Some(Code::AppendUid(9, &one)), "a OK [APPENDUID 9 5] done\r\n"),
        (Some(Code::CopyUid(9, &two, &one)), "a OK [COPYUID 9 7:8 5] done\r\n"),
        (Some(Code::UidNext(3)), "a OK [UIDNEXT 3] done\r\n"),
        (Some(Code::PermanentFlags(b"(\\*)")), "a OK [PERMANENTFLAGS (\\*)] done\r\n"),
        (Some(Code::Capability("IMAP4rev1 ID")), "a OK [CAPABILITY IMAP4rev1 ID] done\r\n"),
    ] {
        assert_eq!(written(|o| tagged(o, b"a", Status::Ok, code, "done")), text);
    }
    assert_eq!(written(|o| untagged(o, Status::Bye, None, "bye")), "* BYE bye\r\n");
    assert_eq!(written(|o| go_on(o, "OK")), "+ OK\r\n");
}

#[test]
fn every_fault_and_problem_has_an_answer() {
    assert_eq!(
        written(|o| refuse(o, Some(b"a"), Fault::Charset.into())),
        "a NO [BADCHARSET (US-ASCII UTF-8)] Charset not supported.\r\n"
    );
    assert_eq!(
        written(|o| refuse(o, None, Fault::Tag.into())),
        "* BAD Tag missing or malformed.\r\n"
    );
    assert_eq!(
        written(|o| refuse(o, Some(b"a"), Problem::TryCreate.into())),
        "a NO [TRYCREATE] Mailbox doesn't exist.\r\n"
    );
}

#[test]
fn mailbox_data() {
    assert_eq!(written(|o| capability(o, "IMAP4rev1")), "* CAPABILITY IMAP4rev1\r\n");
    assert_eq!(written(|o| enabled(o, &[])), "* ENABLED\r\n");
    assert_eq!(written(|o| id(o, &[("name", "r\"m")])), "* ID (\"name\" \"r\\\"m\")\r\n");
    assert_eq!(written(|o| namespace(o, b'.')), "* NAMESPACE ((\"\" \".\")) NIL NIL\r\n");
    assert_eq!(
        written(|o| list(o, &[Attribute::HasNoChildren, Attribute::Junk], b'.', b"Junk", false)),
        "* LIST (\\HasNoChildren \\Junk) \".\" Junk\r\n"
    );
    assert_eq!(
        written(|o| list(o, &[], b'.', b"a b", true)),
        "* LIST () \".\" \"a b\" (CHILDINFO (\"SUBSCRIBED\"))\r\n"
    );
    assert_eq!(
        written(|o| lsub(o, &[Attribute::NoSelect], b'.', b"x")),
        "* LSUB (\\Noselect) \".\" x\r\n"
    );
    assert_eq!(
        written(|o| status(o, b"INBOX", &[(StatusItem::Messages, 3), (StatusItem::Unseen, 0)])),
        "* STATUS INBOX (MESSAGES 3 UNSEEN 0)\r\n"
    );
    assert_eq!(
        written(|o| exists(o, 3)) + &written(|o| expunge(o, 2)),
        "* 3 EXISTS\r\n* 2 EXPUNGE\r\n"
    );
}

#[test]
fn search_results() {
    let found: Ranges = [2, 3, 9].into_iter().collect();
    assert_eq!(written(|o| search(o, &found)), "* SEARCH 2 3 9\r\n");
    assert_eq!(written(|o| search(o, &Ranges::new())), "* SEARCH\r\n");
    let every = Returns { min: true, max: true, all: true, count: true };
    assert_eq!(
        written(|o| esearch(o, b"a", true, every, &found)),
        "* ESEARCH (TAG \"a\") UID MIN 2 MAX 9 COUNT 3 ALL 2:3,9\r\n"
    );
    assert_eq!(
        written(|o| esearch(o, b"a", false, every, &Ranges::new())),
        "* ESEARCH (TAG \"a\") COUNT 0\r\n"
    );
}

#[test]
fn a_fetch_response_without_items_is_none() {
    let mut out = Vec::new();
    Fetched::new(&mut out, 4).end();
    assert!(out.is_empty());
    let mut f = Fetched::new(&mut out, 4);
    write::number(f.item("UID"), 17);
    flag_list(f.item("FLAGS"), SystemFlags::SEEN, true, [&b"$x"[..]]);
    f.end();
    assert_eq!(out, b"* 4 FETCH (UID 17 FLAGS (\\Seen \\Recent $x))\r\n");
    Fetched::new(&mut out, 5).item("UID");
    Fetched::new(&mut out, 5).abandon();
}

#[test]
fn special_uses_are_found_by_name() {
    assert_eq!(Attribute::special_use("junk"), Some(Attribute::Junk));
    assert_eq!(Attribute::special_use("\\Sent"), Some(Attribute::Sent));
    assert_eq!(Attribute::special_use("\\Noselect"), None);
}
