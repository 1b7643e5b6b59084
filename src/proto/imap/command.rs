//! Every command of a client: one value of [`Command`] for each.
//!
//! The bytes are those that [`super::collect`] gathered, hostile, and borrowed
//! by what is returned.  RFC 3501 6, with the extensions that the capability
//! list names; what it does not name (CONDSTORE's parameters, CREATE's USE,
//! SAVE) is refused here and so never half done.

use super::date;
use super::fetch::{self, Item};
use super::flag::Flags;
use super::lex::{self, Fault, LiteralHead, Parsed, Text};
use super::list::{self, List, StatusItem};
use super::mailbox::Mailbox;
use super::search::Search;
use super::seqset::SeqSet;
use crate::proto::cursor::Cursor;
use crate::proto::date::DateTime;
use crate::proto::limits;

/// A command with its tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged<'a> {
    /// The tag.
    pub tag: &'a [u8],
    /// The command.
    pub command: Command<'a>,
}

/// A command that cannot be carried out as written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The tag, if there is one.
    pub tag: Option<&'a [u8]>,
    /// What is wrong.
    pub fault: Fault,
    /// Where, as an offset into the command.
    pub at: usize,
}

/// The commands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// CAPABILITY.  RFC 3501 6.1.1
    Capability,
    /// NOOP.  RFC 3501 6.1.2
    Noop,
    /// LOGOUT.  RFC 3501 6.1.3
    Logout,
    /// ID.  RFC 2971; field and value pairs, none for NIL.
    Id(Vec<(Text<'a>, Option<Text<'a>>)>),
    /// STARTTLS.  RFC 3501 6.2.1
    StartTls,
    /// AUTHENTICATE.  RFC 3501 6.2.2, RFC 4959
    Authenticate {
        /// The SASL mechanism.
        mechanism: &'a [u8],
        /// The initial response, still in base 64; `=` is an empty one.
        initial: Option<&'a [u8]>,
    },
    /// LOGIN.  RFC 3501 6.2.3
    Login {
        /// The user's name.
        user: Text<'a>,
        /// The password; never logged.
        password: Text<'a>,
    },
    /// ENABLE.  RFC 5161
    Enable(Vec<&'a [u8]>),
    /// SELECT.  RFC 3501 6.3.1
    Select(Mailbox<'a>),
    /// EXAMINE.  RFC 3501 6.3.2
    Examine(Mailbox<'a>),
    /// CREATE.  RFC 3501 6.3.3
    Create(Mailbox<'a>),
    /// DELETE.  RFC 3501 6.3.4
    Delete(Mailbox<'a>),
    /// RENAME.  RFC 3501 6.3.5
    Rename {
        /// The old name.
        from: Mailbox<'a>,
        /// The new name.
        to: Mailbox<'a>,
    },
    /// SUBSCRIBE.  RFC 3501 6.3.6
    Subscribe(Mailbox<'a>),
    /// UNSUBSCRIBE.  RFC 3501 6.3.7
    Unsubscribe(Mailbox<'a>),
    /// LIST.  RFC 3501 6.3.8, RFC 5258
    List(List<'a>),
    /// LSUB.  RFC 3501 6.3.9
    Lsub(List<'a>),
    /// NAMESPACE.  RFC 2342 5
    Namespace,
    /// STATUS.  RFC 3501 6.3.10
    Status(Mailbox<'a>, Vec<StatusItem>),
    /// IDLE.  RFC 2177 3
    Idle,
    /// CHECK.  RFC 3501 6.4.1
    Check,
    /// CLOSE.  RFC 3501 6.4.2
    Close,
    /// UNSELECT.  RFC 3691 2
    Unselect,
    /// EXPUNGE, and UID EXPUNGE with its set.  RFC 3501 6.4.3, RFC 4315 2.1
    Expunge(Option<SeqSet>),
    /// SEARCH and UID SEARCH.  RFC 3501 6.4.4, RFC 4731
    Search {
        /// True for UID SEARCH.
        uid: bool,
        /// The arguments.
        search: Search<'a>,
    },
    /// FETCH and UID FETCH.  RFC 3501 6.4.5
    Fetch {
        /// True for UID FETCH.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// The items.
        items: Vec<Item<'a>>,
    },
    /// STORE and UID STORE.  RFC 3501 6.4.6
    Store {
        /// True for UID STORE.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// What is done with the flags.
        how: How,
        /// True if no FETCH responses are wanted.
        silent: bool,
        /// The flags.
        flags: Flags<'a>,
    },
    /// COPY and UID COPY.  RFC 3501 6.4.7
    Copy {
        /// True for UID COPY.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// Where to.
        to: Mailbox<'a>,
    },
    /// MOVE and UID MOVE.  RFC 6851 3
    Move {
        /// True for UID MOVE.
        uid: bool,
        /// The messages.
        set: SeqSet,
        /// Where to.
        to: Mailbox<'a>,
    },
}

/// What STORE does with its flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// The state a session must be in for a command.  RFC 3501 3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Any state.
    Nothing,
    /// Before login only.
    NoLogin,
    /// After login, a mailbox selected or not.
    Login,
    /// A selected mailbox.
    Mailbox,
}

impl Command<'_> {
    /// The state that the command needs.
    pub fn needs(&self) -> Needs {
        match self {
            Command::Capability | Command::Noop | Command::Logout | Command::Id(_) => {
                Needs::Nothing
            }
            Command::StartTls | Command::Authenticate { .. } | Command::Login { .. } => {
                Needs::NoLogin
            }
            Command::Check
            | Command::Close
            | Command::Unselect
            | Command::Expunge(_)
            | Command::Search { .. }
            | Command::Fetch { .. }
            | Command::Store { .. }
            | Command::Copy { .. }
            | Command::Move { .. } => Needs::Mailbox,
            _ => Needs::Login,
        }
    }

    /// True if no EXPUNGE response may be sent while the command runs: its
    /// numbers would mean other messages.  RFC 3501 7.4.1.
    pub fn holds_numbers(&self) -> bool {
        matches!(
            self,
            Command::Fetch { uid: false, .. }
                | Command::Store { uid: false, .. }
                | Command::Search { uid: false, .. }
        )
    }
}

/// Reads a whole command.
///
/// APPEND is not among them: its message is not collected, see [`parse_append`].
pub fn parse(bytes: &[u8]) -> Result<Tagged<'_>, Refused<'_>> {
    let mut c = Cursor::new(bytes);
    let mut tag = None;
    match parse_tagged(&mut c, &mut tag) {
        Ok(command) => Ok(command),
        Err(fault) => Err(Refused { tag, fault, at: c.pos() }),
    }
}

/// The tag of a command of which no more may be known.
pub fn tag_of(bytes: &[u8]) -> Option<&[u8]> {
    parse_tag(&mut Cursor::new(bytes)).ok()
}

fn parse_tagged<'a>(c: &mut Cursor<'a>, tag: &mut Option<&'a [u8]>) -> Parsed<Tagged<'a>> {
    let found = parse_tag(c)?;
    *tag = Some(found);
    let command = parse_command(c)?;
    lex::end(c)?;
    Ok(Tagged { tag: found, command })
}

fn parse_tag<'a>(c: &mut Cursor<'a>) -> Parsed<&'a [u8]> {
    let tag = lex::tag(c)?;
    if tag.len() > limits::IMAP_TAG.size() || !c.eat(b' ') {
        return Err(Fault::Tag);
    }
    Ok(tag)
}

fn parse_command<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    let word = lex::atom(c).map_err(|_| Fault::Unknown)?;
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    match () {
        () if is(b"APPEND") => {
            parse_append_arguments(c)?;
            Err(Fault::NoMessage)
        }
        () if is(b"AUTHENTICATE") => authenticate(c),
        () if is(b"CAPABILITY") => Ok(Command::Capability),
        () if is(b"CHECK") => Ok(Command::Check),
        () if is(b"CLOSE") => Ok(Command::Close),
        () if is(b"COPY") => copy(c, false),
        () if is(b"CREATE") => mailbox_alone(c).map(Command::Create),
        () if is(b"DELETE") => mailbox_alone(c).map(Command::Delete),
        () if is(b"ENABLE") => enable(c),
        () if is(b"EXAMINE") => mailbox_alone(c).map(Command::Examine),
        () if is(b"EXPUNGE") => Ok(Command::Expunge(None)),
        () if is(b"FETCH") => fetch(c, false),
        () if is(b"ID") => id(c),
        () if is(b"IDLE") => Ok(Command::Idle),
        () if is(b"LIST") => {
            lex::sp(c)?;
            List::parse(c).map(Command::List)
        }
        () if is(b"LOGIN") => login(c),
        () if is(b"LOGOUT") => Ok(Command::Logout),
        () if is(b"LSUB") => lsub(c),
        () if is(b"MOVE") => move_(c, false),
        () if is(b"NAMESPACE") => Ok(Command::Namespace),
        () if is(b"NOOP") => Ok(Command::Noop),
        () if is(b"RENAME") => rename(c),
        () if is(b"SEARCH") => search(c, false),
        () if is(b"SELECT") => mailbox_alone(c).map(Command::Select),
        () if is(b"STARTTLS") => Ok(Command::StartTls),
        () if is(b"STATUS") => status(c),
        () if is(b"STORE") => store(c, false),
        () if is(b"SUBSCRIBE") => mailbox_alone(c).map(Command::Subscribe),
        () if is(b"UID") => uid(c),
        () if is(b"UNSELECT") => Ok(Command::Unselect),
        () if is(b"UNSUBSCRIBE") => mailbox_alone(c).map(Command::Unsubscribe),
        () => Err(Fault::Unknown),
    }
}

/// "UID" SP (copy / fetch / search / store / move / "EXPUNGE" SP sequence-set)
fn uid<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let word = lex::atom(c).map_err(|_| Fault::Unknown)?;
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    match () {
        () if is(b"COPY") => copy(c, true),
        () if is(b"EXPUNGE") => {
            lex::sp(c)?;
            SeqSet::parse(c).map(|set| Command::Expunge(Some(set)))
        }
        () if is(b"FETCH") => fetch(c, true),
        () if is(b"MOVE") => move_(c, true),
        () if is(b"SEARCH") => search(c, true),
        () if is(b"STORE") => store(c, true),
        () => Err(Fault::Unknown),
    }
}

/// SP mailbox, and no parameter list after it.
fn mailbox_alone<'a>(c: &mut Cursor<'a>) -> Parsed<Mailbox<'a>> {
    lex::sp(c)?;
    let mailbox = Mailbox::parse(c)?;
    if c.rest().starts_with(b" (") {
        return Err(Fault::Parameter);
    }
    Ok(mailbox)
}

/// SP auth-type [SP (base64 / "=")]
fn authenticate<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let mechanism = lex::atom(c)?;
    let initial = if c.eat(b' ') {
        let text = c.take_while1(|b| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'='));
        Some(text.ok_or(Fault::AString)?)
    } else {
        None
    };
    Ok(Command::Authenticate { mechanism, initial })
}

/// SP userid SP password
fn login<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let user = lex::astring(c)?;
    lex::sp(c)?;
    let password = lex::astring(c)?;
    Ok(Command::Login { user, password })
}

/// SP (NIL / "(" [string SP nstring *(SP string SP nstring)] ")"), at most 30 pairs.
fn id<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    if lex::keyword(c, b"NIL") || c.eat_exact(b"()") {
        return Ok(Command::Id(Vec::new()));
    }
    let pair = |c: &mut Cursor<'a>| {
        let field = lex::string(c)?;
        lex::sp(c)?;
        Ok((field, lex::nstring(c)?))
    };
    lex::list(c, limits::IMAP_ID_FIELDS.size(), pair).map(Command::Id)
}

/// 1*(SP capability)
fn enable<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    let mut names = Vec::new();
    lex::sp(c)?;
    loop {
        names.push(lex::atom(c)?);
        if names.len() > limits::IMAP_LIST_OPTIONS.size() {
            return Err(Fault::TooMany);
        }
        if !c.eat(b' ') {
            return Ok(Command::Enable(names));
        }
    }
}

/// SP mailbox SP mailbox
fn rename<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let from = Mailbox::parse(c)?;
    lex::sp(c)?;
    let to = Mailbox::parse(c)?;
    Ok(Command::Rename { from, to })
}

/// SP mailbox SP list-mailbox
fn lsub<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let reference = lex::astring(c)?;
    lex::sp(c)?;
    let patterns = vec![lex::list_mailbox(c)?];
    let (select, returns) = (list::Select::default(), list::Returns::default());
    Ok(Command::Lsub(List { select, reference, patterns, returns, extended: false }))
}

/// SP mailbox SP "(" status-att *(SP status-att) ")"
fn status<'a>(c: &mut Cursor<'a>) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    let mailbox = Mailbox::parse(c)?;
    lex::sp(c)?;
    Ok(Command::Status(mailbox, list::parse_status_items(c)?))
}

fn set<'a>(c: &mut Cursor<'a>) -> Parsed<SeqSet> {
    lex::sp(c)?;
    let set = SeqSet::parse(c)?;
    lex::sp(c)?;
    Ok(set)
}

/// SP sequence-set SP mailbox
fn copy<'a>(c: &mut Cursor<'a>, uid: bool) -> Parsed<Command<'a>> {
    Ok(Command::Copy { uid, set: set(c)?, to: Mailbox::parse(c)? })
}

/// SP sequence-set SP mailbox
fn move_<'a>(c: &mut Cursor<'a>, uid: bool) -> Parsed<Command<'a>> {
    Ok(Command::Move { uid, set: set(c)?, to: Mailbox::parse(c)? })
}

/// SP sequence-set SP items, and no modifiers after them.
fn fetch<'a>(c: &mut Cursor<'a>, uid: bool) -> Parsed<Command<'a>> {
    let set = set(c)?;
    let mut items = fetch::parse_items(c)?;
    if c.rest().starts_with(b" (") {
        return Err(Fault::Parameter);
    }
    // RFC 3501 6.4.8: the answers of UID FETCH carry the UID, asked for or not.
    if uid && !items.contains(&Item::Uid) {
        items.insert(0, Item::Uid);
    }
    Ok(Command::Fetch { uid, set, items })
}

/// SP sequence-set SP (["+" / "-"] "FLAGS" [".SILENT"]) SP (flag-list / (flag *(SP flag)))
fn store<'a>(c: &mut Cursor<'a>, uid: bool) -> Parsed<Command<'a>> {
    let set = set(c)?;
    if c.peek() == Some(b'(') {
        return Err(Fault::Parameter);
    }
    let how = match c.peek() {
        Some(b'+') => How::Add,
        Some(b'-') => How::Remove,
        _ => How::Replace,
    };
    if how != How::Replace {
        c.next_byte();
    }
    let word = lex::atom(c).map_err(|_| Fault::StoreItem)?;
    let silent = word.eq_ignore_ascii_case(b"FLAGS.SILENT");
    if !silent && !word.eq_ignore_ascii_case(b"FLAGS") {
        return Err(Fault::StoreItem);
    }
    lex::sp(c)?;
    let flags = match c.peek() {
        Some(b'(') => Flags::parse_list(c)?,
        _ => Flags::parse_bare(c)?,
    };
    Ok(Command::Store { uid, set, how, silent, flags })
}

fn search<'a>(c: &mut Cursor<'a>, uid: bool) -> Parsed<Command<'a>> {
    lex::sp(c)?;
    Ok(Command::Search { uid, search: Search::parse(c)? })
}

/// APPEND up to its message.  RFC 3501 6.3.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append<'a> {
    /// The tag.
    pub tag: &'a [u8],
    /// Where to.
    pub mailbox: Mailbox<'a>,
    /// The flags.
    pub flags: Flags<'a>,
    /// INTERNALDATE; now if `None`.
    pub date: Option<DateTime>,
    /// The message's literal, which follows on the wire.
    pub message: LiteralHead,
}

/// Reads an APPEND whose bytes end with the `{n}CRLF` of a literal not yet read.
///
/// `Ok(None)`: this is another command, or the literal is the mailbox's name;
/// it is to be collected.
pub fn parse_append(bytes: &[u8]) -> Result<Option<Append<'_>>, Refused<'_>> {
    let mut c = Cursor::new(bytes);
    let Ok(tag) = parse_tag(&mut c) else { return Ok(None) };
    if !lex::keyword(&mut c, b"APPEND") {
        return Ok(None);
    }
    // The mailbox's own literal is not there yet.
    if c.rest().starts_with(b" {") && bytes_after_head(c) == Some(0) {
        return Ok(None);
    }
    let arguments = parse_append_arguments(&mut c).and_then(|(mailbox, flags, date)| {
        let message = lex::literal_head(&mut c).map_err(|_| Fault::NoMessage)?;
        lex::end(&mut c)?;
        if message.binary {
            return Err(Fault::Binary);
        }
        Ok(Some(Append { tag, mailbox, flags, date, message }))
    });
    arguments.map_err(|fault| Refused { tag: Some(tag), fault, at: c.pos() })
}

/// How many bytes follow ` {n}CRLF`.
fn bytes_after_head(mut c: Cursor<'_>) -> Option<usize> {
    c.eat(b' ');
    lex::literal_head(&mut c).ok()?;
    c.eat_crlf();
    Some(c.left())
}

/// SP mailbox [SP flag-list] [SP date-time] SP
fn parse_append_arguments<'a>(
    c: &mut Cursor<'a>,
) -> Parsed<(Mailbox<'a>, Flags<'a>, Option<DateTime>)> {
    lex::sp(c)?;
    let mailbox = Mailbox::parse(c)?;
    lex::sp(c)?;
    let mut flags = Flags::default();
    if c.peek() == Some(b'(') {
        flags = Flags::parse_list(c)?;
        lex::sp(c)?;
    }
    let mut date = None;
    if c.peek() == Some(b'"') {
        date = Some(date::date_time(c)?);
        lex::sp(c)?;
    }
    Ok((mailbox, flags, date))
}

#[cfg(test)]
#[path = "command_tests.rs"]
mod tests;
