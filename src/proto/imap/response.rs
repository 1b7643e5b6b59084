//! Responses of the server, each appended to the flight that is being written.
//!
//! RFC 3501 7, 9; RFC 5530 and the extensions' own codes.

use super::flag::SystemFlags;
use super::list::StatusItem;
use super::reply::Reply;
use super::seqset::Ranges;
use super::write;

/// The condition of a status response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Done.
    Ok,
    /// Understood, but not done.
    No,
    /// Not understood.
    Bad,
    /// The connection is closed.
    Bye,
    /// The greeting of a session that is logged in.
    PreAuth,
}

/// resp-text-code
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code<'a> {
    /// RFC 3501: the text must be shown to the user.
    Alert,
    /// RFC 5530
    AlreadyExists,
    /// RFC 4315: UIDVALIDITY and UIDs of what was appended.
    AppendUid(u32, &'a Ranges),
    /// RFC 5530
    AuthenticationFailed,
    /// RFC 3501; the charsets that are known come with it.
    BadCharset,
    /// RFC 5530
    Cannot,
    /// RFC 3501: the capabilities, in one line.
    Capability(&'a str),
    /// RFC 5530
    ClientBug,
    /// RFC 7162: the mailbox that was selected no longer is.
    Closed,
    /// RFC 4315: UIDVALIDITY of the target, UIDs there (second) of those here (first).
    CopyUid(u32, &'a Ranges, &'a Ranges),
    /// RFC 5530
    ContactAdmin,
    /// RFC 5530
    Corruption,
    /// RFC 5530
    ExpungeIssued,
    /// RFC 9051
    HasChildren,
    /// RFC 5530
    InUse,
    /// RFC 5530
    Limit,
    /// RFC 5530
    NonExistent,
    /// RFC 5530
    NoPerm,
    /// RFC 5530
    OverQuota,
    /// RFC 3501: the flags that can be changed, as [`flag_list`] writes them.
    PermanentFlags(&'a [u8]),
    /// RFC 5530
    PrivacyRequired,
    /// RFC 3501
    ReadOnly,
    /// RFC 3501
    ReadWrite,
    /// RFC 5530
    ServerBug,
    /// RFC 7889
    TooBig,
    /// RFC 3501
    TryCreate,
    /// RFC 3501
    UidNext(u32),
    /// RFC 3501
    UidValidity(u32),
    /// RFC 5530
    Unavailable,
    /// RFC 3501: the sequence number of the first message not seen.
    Unseen(u32),
}

impl Code<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut numbered = |word: &str, n: u32| {
            out.extend_from_slice(word.as_bytes());
            write::number(out, u64::from(n));
        };
        let word = match self {
            Code::Alert => "ALERT",
            Code::AlreadyExists => "ALREADYEXISTS",
            Code::AppendUid(validity, uids) => {
                numbered("APPENDUID ", *validity);
                out.push(b' ');
                return uids.write(out);
            }
            Code::AuthenticationFailed => "AUTHENTICATIONFAILED",
            Code::BadCharset => "BADCHARSET (US-ASCII UTF-8)",
            Code::Cannot => "CANNOT",
            Code::Capability(list) => {
                out.extend_from_slice(b"CAPABILITY ");
                return write::text(out, list);
            }
            Code::ClientBug => "CLIENTBUG",
            Code::Closed => "CLOSED",
            Code::CopyUid(validity, from, to) => {
                numbered("COPYUID ", *validity);
                out.push(b' ');
                from.write(out);
                out.push(b' ');
                return to.write(out);
            }
            Code::ContactAdmin => "CONTACTADMIN",
            Code::Corruption => "CORRUPTION",
            Code::ExpungeIssued => "EXPUNGEISSUED",
            Code::HasChildren => "HASCHILDREN",
            Code::InUse => "INUSE",
            Code::Limit => "LIMIT",
            Code::NonExistent => "NONEXISTENT",
            Code::NoPerm => "NOPERM",
            Code::OverQuota => "OVERQUOTA",
            Code::PermanentFlags(flags) => {
                out.extend_from_slice(b"PERMANENTFLAGS ");
                return out.extend_from_slice(flags);
            }
            Code::PrivacyRequired => "PRIVACYREQUIRED",
            Code::ReadOnly => "READ-ONLY",
            Code::ReadWrite => "READ-WRITE",
            Code::ServerBug => "SERVERBUG",
            Code::TooBig => "TOOBIG",
            Code::TryCreate => "TRYCREATE",
            Code::UidNext(n) => return numbered("UIDNEXT ", *n),
            Code::UidValidity(n) => return numbered("UIDVALIDITY ", *n),
            Code::Unavailable => "UNAVAILABLE",
            Code::Unseen(n) => return numbered("UNSEEN ", *n),
        };
        out.extend_from_slice(word.as_bytes());
    }
}

/// response-tagged
pub fn tagged(out: &mut Vec<u8>, tag: &[u8], status: Status, code: Option<Code<'_>>, text: &str) {
    out.extend_from_slice(tag);
    condition(out, status, code, text);
}

/// A status response without a tag: `* OK`, `* NO`, `* BYE`.
pub fn untagged(out: &mut Vec<u8>, status: Status, code: Option<Code<'_>>, text: &str) {
    tagged(out, b"*", status, code, text);
}

/// The answer of the table in [`super::reply`]; without a tag if there was none.
pub fn refuse(out: &mut Vec<u8>, tag: Option<&[u8]>, reply: Reply) {
    tagged(out, tag.unwrap_or(b"*"), reply.status, reply.code, reply.text);
}

fn condition(out: &mut Vec<u8>, status: Status, code: Option<Code<'_>>, text: &str) {
    out.extend_from_slice(match status {
        Status::Ok => b" OK ",
        Status::No => b" NO ",
        Status::Bad => b" BAD ",
        Status::Bye => b" BYE ",
        Status::PreAuth => b" PREAUTH ",
    });
    if let Some(code) = code {
        out.push(b'[');
        code.write(out);
        out.extend_from_slice(b"] ");
    }
    write::text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// continue-req
pub fn go_on(out: &mut Vec<u8>, text: &str) {
    out.extend_from_slice(b"+ ");
    write::text(out, text);
    out.extend_from_slice(b"\r\n");
}

/// A server's challenge of AUTHENTICATE, already in base 64.
pub fn challenge(out: &mut Vec<u8>, base64: &[u8]) {
    out.extend_from_slice(b"+ ");
    out.extend_from_slice(base64);
    out.extend_from_slice(b"\r\n");
}

/// `* CAPABILITY ...`
pub fn capability(out: &mut Vec<u8>, list: &str) {
    line(out, b"CAPABILITY ", list.as_bytes());
}

/// `* ENABLED ...`, with a list that may be empty.  RFC 5161 3.2.
pub fn enabled(out: &mut Vec<u8>, names: &[&str]) {
    out.extend_from_slice(b"* ENABLED");
    for name in names {
        out.push(b' ');
        write::text(out, name);
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ID (...)`.  RFC 2971 3.2.
pub fn id(out: &mut Vec<u8>, pairs: &[(&str, &str)]) {
    out.extend_from_slice(b"* ID (");
    for (i, (field, value)) in pairs.iter().enumerate() {
        if i > 0 {
            out.push(b' ');
        }
        write::string(out, field.as_bytes());
        out.push(b' ');
        write::string(out, value.as_bytes());
    }
    out.extend_from_slice(b")\r\n");
}

/// `* NAMESPACE`, one personal name space without a prefix.  RFC 2342 5.
pub fn namespace(out: &mut Vec<u8>, separator: u8) {
    out.extend_from_slice(b"* NAMESPACE ((\"\" ");
    write::string(out, &[separator]);
    out.extend_from_slice(b")) NIL NIL\r\n");
}

fn line(out: &mut Vec<u8>, word: &[u8], rest: &[u8]) {
    out.extend_from_slice(b"* ");
    out.extend_from_slice(word);
    out.extend_from_slice(rest);
    out.extend_from_slice(b"\r\n");
}

fn counted(out: &mut Vec<u8>, n: u32, word: &[u8]) {
    out.extend_from_slice(b"* ");
    write::number(out, u64::from(n));
    out.extend_from_slice(word);
}

/// `* n EXISTS`
pub fn exists(out: &mut Vec<u8>, n: u32) {
    counted(out, n, b" EXISTS\r\n");
}

/// `* n RECENT`
pub fn recent(out: &mut Vec<u8>, n: u32) {
    counted(out, n, b" RECENT\r\n");
}

/// `* n EXPUNGE`
pub fn expunge(out: &mut Vec<u8>, n: u32) {
    counted(out, n, b" EXPUNGE\r\n");
}

/// flag-list of a message: system flags, `\Recent`, keywords.
pub fn flag_list<'k>(
    out: &mut Vec<u8>,
    system: SystemFlags,
    recent: bool,
    keywords: impl IntoIterator<Item = &'k [u8]>,
) {
    out.push(b'(');
    let start = out.len();
    for name in system.names().map(str::as_bytes) {
        word(out, start, name);
    }
    if recent {
        word(out, start, b"\\Recent");
    }
    for keyword in keywords {
        word(out, start, keyword);
    }
    out.push(b')');
}

/// Appends a word, after a space unless it is the first since `start`.
fn word(out: &mut Vec<u8>, start: usize, bytes: &[u8]) {
    if out.len() > start {
        out.push(b' ');
    }
    out.extend_from_slice(bytes);
}

/// `* FLAGS (...)`; the list is what [`flag_list`] wrote.
pub fn flags(out: &mut Vec<u8>, list: &[u8]) {
    line(out, b"FLAGS ", list);
}

/// An attribute of a mailbox in LIST.  RFC 3501 7.2.2, RFC 5258 3.4, RFC 6154 2.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// `\Noselect`
    NoSelect,
    /// `\NonExistent`
    NonExistent,
    /// `\HasChildren`
    HasChildren,
    /// `\HasNoChildren`
    HasNoChildren,
    /// `\Subscribed`
    Subscribed,
    /// `\Marked`
    Marked,
    /// `\UnMarked`
    UnMarked,
    /// `\All`
    All,
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
    /// `\Important`.  RFC 8457
    Important,
}

impl Attribute {
    /// Each attribute with its word.
    pub const NAMES: [(Attribute, &'static str); 15] = [
        (Attribute::NoSelect, "\\Noselect"),
        (Attribute::NonExistent, "\\NonExistent"),
        (Attribute::HasChildren, "\\HasChildren"),
        (Attribute::HasNoChildren, "\\HasNoChildren"),
        (Attribute::Subscribed, "\\Subscribed"),
        (Attribute::Marked, "\\Marked"),
        (Attribute::UnMarked, "\\UnMarked"),
        (Attribute::All, "\\All"),
        (Attribute::Archive, "\\Archive"),
        (Attribute::Drafts, "\\Drafts"),
        (Attribute::Flagged, "\\Flagged"),
        (Attribute::Junk, "\\Junk"),
        (Attribute::Sent, "\\Sent"),
        (Attribute::Trash, "\\Trash"),
        (Attribute::Important, "\\Important"),
    ];

    /// The attribute's word.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(a, _)| *a == self).map_or("", |(_, name)| *name)
    }

    /// The special use of a word, with or without its backslash, in any case.
    pub fn special_use(word: &str) -> Option<Attribute> {
        let bare = word.strip_prefix('\\').unwrap_or(word);
        let uses = Self::NAMES.iter().skip(7);
        let same = |name: &str| name.get(1..).is_some_and(|n| n.eq_ignore_ascii_case(bare));
        uses.clone().find(|(_, name)| same(name)).map(|(a, _)| *a)
    }
}

/// `* LIST (attributes) "." name`, with CHILDINFO if a subscribed child made it
/// match.  RFC 5258 3.5.
pub fn list(
    out: &mut Vec<u8>,
    attributes: &[Attribute],
    separator: u8,
    name: &[u8],
    child_subscribed: bool,
) {
    mailbox_line(out, b"* LIST (", attributes, separator, name);
    if child_subscribed {
        out.extend_from_slice(b" (CHILDINFO (\"SUBSCRIBED\"))");
    }
    out.extend_from_slice(b"\r\n");
}

/// `* LSUB (attributes) "." name`
pub fn lsub(out: &mut Vec<u8>, attributes: &[Attribute], separator: u8, name: &[u8]) {
    mailbox_line(out, b"* LSUB (", attributes, separator, name);
    out.extend_from_slice(b"\r\n");
}

fn mailbox_line(
    out: &mut Vec<u8>,
    head: &[u8],
    attributes: &[Attribute],
    separator: u8,
    name: &[u8],
) {
    out.extend_from_slice(head);
    let start = out.len();
    for attribute in attributes {
        word(out, start, attribute.name().as_bytes());
    }
    out.extend_from_slice(b") ");
    write::string(out, &[separator]);
    out.push(b' ');
    write::astring(out, name);
}

/// `* STATUS name (item n ...)`
pub fn status(out: &mut Vec<u8>, name: &[u8], items: &[(StatusItem, u64)]) {
    out.extend_from_slice(b"* STATUS ");
    write::astring(out, name);
    out.extend_from_slice(b" (");
    let start = out.len();
    for (item, n) in items {
        word(out, start, item.name().as_bytes());
        out.push(b' ');
        write::number(out, *n);
    }
    out.extend_from_slice(b")\r\n");
}

/// `* SEARCH n n n`
pub fn search(out: &mut Vec<u8>, numbers: &Ranges) {
    out.extend_from_slice(b"* SEARCH");
    for n in numbers.iter() {
        out.push(b' ');
        write::number(out, u64::from(n));
    }
    out.extend_from_slice(b"\r\n");
}

/// `* ESEARCH (TAG "a") UID MIN n ...`.  RFC 4731 3.1: MIN, MAX and ALL are
/// left out when nothing was found, COUNT never is.
pub fn esearch(
    out: &mut Vec<u8>,
    tag: &[u8],
    uid: bool,
    returns: super::search::Returns,
    found: &Ranges,
) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write::string(out, tag);
    out.push(b')');
    if uid {
        out.extend_from_slice(b" UID");
    }
    let mut item = |word: &[u8], n: Option<u64>| {
        if let Some(n) = n {
            out.extend_from_slice(word);
            write::number(out, n);
        }
    };
    item(b" MIN ", found.first().filter(|_| returns.min).map(u64::from));
    item(b" MAX ", found.last().filter(|_| returns.max).map(u64::from));
    item(b" COUNT ", Some(found.count()).filter(|_| returns.count));
    if returns.all && !found.is_empty() {
        out.extend_from_slice(b" ALL ");
        found.write(out);
    }
    out.extend_from_slice(b"\r\n");
}

/// One FETCH response, item by item.
///
/// Nothing is written if no item is: the caller need not know beforehand.
#[derive(Debug)]
pub struct Fetched<'o> {
    out: &'o mut Vec<u8>,
    start: usize,
    seq: u32,
    open: bool,
}

impl<'o> Fetched<'o> {
    /// Begins the response for a message.
    pub fn new(out: &'o mut Vec<u8>, seq: u32) -> Fetched<'o> {
        let start = out.len();
        Fetched { out, start, seq, open: false }
    }

    /// Appends an item's name and a space, and gives the place for its value.
    pub fn item(&mut self, name: &str) -> &mut Vec<u8> {
        self.named();
        self.out.extend_from_slice(name.as_bytes());
        self.out.push(b' ');
        self.out
    }

    /// The same for a name that the caller writes, space and value after it.
    pub fn named(&mut self) -> &mut Vec<u8> {
        if self.open {
            self.out.push(b' ');
        } else {
            counted(self.out, self.seq, b" FETCH (");
            self.open = true;
        }
        self.out
    }

    /// Takes back what was written for this message.
    pub fn abandon(self) {
        self.out.truncate(self.start);
    }

    /// Ends the response.
    pub fn end(self) {
        if self.open {
            self.out.extend_from_slice(b")\r\n");
        }
    }
}

#[cfg(test)]
mod tests;
