//! What is answered to what goes wrong: the one table of the protocol.
//!
//! A [`Fault`] is a command that cannot be read; a [`Problem`] one that cannot
//! be done.  Texts name no path, errno or peer process.  RFC 3501 7.1,
//! RFC 5530 for the codes.

use super::lex::Fault;
use super::response::{Code, Status};

/// An answer, but for its tag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// NO or BAD, or OK.
    pub status: Status,
    /// The code in brackets.
    pub code: Option<Code<'static>>,
    /// The text.
    pub text: &'static str,
}

const fn bad(text: &'static str) -> Reply {
    Reply { status: Status::Bad, code: None, text }
}

const fn no(code: Code<'static>, text: &'static str) -> Reply {
    Reply { status: Status::No, code: Some(code), text }
}

impl Fault {
    /// The answer.
    pub const fn reply(self) -> Reply {
        match self {
            Fault::Tag => bad("Tag missing or malformed."),
            Fault::Unknown => bad("Unknown command."),
            Fault::Space => bad("Space or argument missing."),
            Fault::Trailing => bad("Unexpected arguments."),
            Fault::AString => bad("String missing or malformed."),
            Fault::Literal => bad("Malformed literal."),
            Fault::TooLarge => Reply {
                status: Status::Bad,
                code: Some(Code::TooBig),
                text: "Command or literal too large.",
            },
            Fault::LineTooLong => bad("Command line too long."),
            Fault::Number => bad("Number missing or out of range."),
            Fault::SeqSet => bad("Invalid message set."),
            Fault::Flag => bad("Invalid flag."),
            Fault::KeywordTooLong => no(Code::Limit, "Keyword too long."),
            Fault::Date => bad("Invalid date."),
            Fault::Parenthesis => bad("Parenthesis missing."),
            Fault::FetchItem => bad("Unknown FETCH item."),
            Fault::StoreItem => bad("Unknown STORE item."),
            Fault::StatusItem => bad("Unknown STATUS item."),
            Fault::ListOption => bad("Unknown LIST option."),
            Fault::SearchKey => bad("Unknown SEARCH key."),
            Fault::SearchReturn => bad("Unknown SEARCH RETURN option."),
            Fault::Charset => no(Code::BadCharset, "Charset not supported."),
            Fault::Parameter => bad("Parameter not supported."),
            Fault::TooDeep => bad("Nested too deeply."),
            Fault::TooMany => bad("Too many arguments."),
            Fault::NoMessage => bad("Message literal missing."),
            Fault::NoDone => bad("Expected DONE."),
            Fault::Binary => no(Code::Cannot, "Binary literals are not supported."),
        }
    }
}

/// Why a command that was read cannot be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The command needs a login first.
    NotLoggedIn,
    /// The command is for before login only.
    LoggedIn,
    /// The command needs a selected mailbox.
    NotSelected,
    /// What was asked is not possible with this mailbox.
    Cannot,
    /// APPEND with a message of no octets.
    EmptyMessage,
    /// The mailbox was opened by EXAMINE.
    ReadOnly,
    /// A sequence number beyond the last message.
    BadNumber,
    /// No such mailbox.
    NoMailbox,
    /// No such mailbox to put messages into; the client may create it.
    TryCreate,
    /// The mailbox exists.
    Exists,
    /// The name is not one that a mailbox can have.
    BadName,
    /// The name has a slash.
    SlashInName,
    /// INBOX cannot be deleted.
    DeleteInbox,
    /// The mailbox has children and nothing else, or cannot be selected.
    NoSelect,
    /// The mailbox has children: it cannot be deleted.
    HasChildren,
    /// Another command holds the mailbox.
    InUse,
    /// The message is gone but not yet announced.
    Expunged,
    /// The message is larger than allowed.
    TooBig,
    /// The message holds NUL.
    Nul,
    /// Disk full or over quota.
    NoSpace,
    /// Too many mailboxes, keywords or messages.
    Limit,
    /// The file system refuses.
    NoPermission,
    /// Something that will pass.
    Unavailable,
    /// What is on disk cannot be used.
    Corrupt,
    /// Our own fault.
    Bug,
    /// LOGIN and PLAIN need TLS first.
    PrivacyRequired,
    /// Wrong name or password.
    AuthFailed,
    /// The password is right, but there is no mailbox to it.
    NoAccount,
    /// The address has failed too often.
    LoginsBlocked,
    /// The login service cannot answer now.
    AuthUnavailable,
    /// No such SASL mechanism.
    NoMechanism,
    /// The exchange was ended by the client, or what it sent is malformed.
    AuthCancelled,
    /// TLS is on already.
    TlsActive,
    /// TLS is not offered here.
    NoTls,
    /// More sessions than allowed.
    TooManySessions,
}

impl Problem {
    /// The answer.
    pub const fn reply(self) -> Reply {
        match self {
            Problem::NotLoggedIn => bad("Log in first."),
            Problem::LoggedIn => bad("Already logged in."),
            Problem::NotSelected => bad("No mailbox selected."),
            Problem::Cannot => no(Code::Cannot, "Not possible with this mailbox."),
            Problem::EmptyMessage => no(Code::Cannot, "An empty message can't be saved."),
            Problem::ReadOnly => no(Code::Cannot, "Mailbox is read-only."),
            Problem::BadNumber => bad("No such message."),
            Problem::NoMailbox => no(Code::NonExistent, "Mailbox doesn't exist."),
            Problem::TryCreate => no(Code::TryCreate, "Mailbox doesn't exist."),
            Problem::Exists => no(Code::AlreadyExists, "Mailbox already exists."),
            Problem::BadName => no(Code::Cannot, "Invalid mailbox name."),
            Problem::SlashInName => {
                no(Code::Cannot, "Invalid mailbox name: Name must not have '/' characters.")
            }
            Problem::DeleteInbox => no(Code::Cannot, "INBOX can't be deleted."),
            Problem::NoSelect => no(Code::NonExistent, "Mailbox isn't selectable."),
            Problem::HasChildren => no(Code::HasChildren, "Mailbox has children."),
            Problem::InUse => no(Code::InUse, "Mailbox is in use, try again."),
            Problem::Expunged => no(Code::ExpungeIssued, "Some messages no longer exist."),
            Problem::TooBig => no(Code::TooBig, "Message is too large."),
            Problem::Nul => no(Code::Cannot, "Message holds NUL bytes."),
            Problem::NoSpace => no(Code::OverQuota, "Not enough disk space."),
            Problem::Limit => no(Code::Limit, "Limit reached."),
            Problem::NoPermission => no(Code::NoPerm, "Permission denied."),
            Problem::Unavailable => no(Code::Unavailable, "Temporary failure, try again later."),
            Problem::Corrupt => no(Code::Corruption, "Mailbox is damaged."),
            Problem::Bug => no(Code::ServerBug, "Internal error."),
            Problem::PrivacyRequired => no(Code::PrivacyRequired, "Use STARTTLS first."),
            Problem::AuthFailed => no(Code::AuthenticationFailed, "Authentication failed."),
            Problem::AuthUnavailable => {
                no(Code::Unavailable, "Authentication is not possible now, try again later.")
            }
            Problem::NoAccount => no(Code::ContactAdmin, "This login has no mailbox."),
            Problem::LoginsBlocked => {
                no(Code::Unavailable, "Too many failed logins, try again later.")
            }
            Problem::NoMechanism => no(Code::Cannot, "Unsupported authentication mechanism."),
            Problem::AuthCancelled => bad("Authentication cancelled."),
            Problem::TlsActive => bad("TLS is already active."),
            Problem::NoTls => bad("TLS is not available."),
            Problem::TooManySessions => no(Code::Limit, "Too many sessions."),
        }
    }
}

impl From<Fault> for Reply {
    fn from(fault: Fault) -> Reply {
        fault.reply()
    }
}

impl From<Problem> for Reply {
    fn from(problem: Problem) -> Reply {
        problem.reply()
    }
}
