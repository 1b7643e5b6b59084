//! What a script wants done: plain data, complete, in the order of the script.
//!
//! Made by the evaluator, carried out by delivery (`proc::store`), by the test
//! tool's in-memory store, or only printed (`rmailctl sieve test`).  The rules
//! on which actions exclude each other (RFC 5228 2.10, RFC 5429 2) have been
//! applied: whoever carries out the list need not know Sieve.

use std::ops::Range;
use std::sync::Arc;

use super::fault::Fault;

/// What became of a script.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outcome {
    /// What to do, in this order; the implicit keep is among them.
    pub actions: Vec<Action>,
    /// To be marked once all actions have been carried out.  RFC 7352 3.1.
    pub records: Vec<Record>,
    /// Why the script ended early; `actions` is then the implicit keep alone, and nothing at
    /// all if the fault is temporary.
    pub fault: Option<Fault>,
}

/// One thing to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Put the message into a mailbox: keep and fileinto.
    Store(Store),
    /// Send the message on.  RFC 5228 4.2.
    Redirect(Redirect),
    /// Refuse the message.  RFC 5429.
    Reject(Reject),
    /// Throw the message away, silently.  RFC 5228 4.4.
    Discard,
    /// Answer the sender.  RFC 5230.
    Vacation(Vacation),
    /// Tell somebody.  RFC 5435.
    Notify(Notify),
    /// Give the message to a program (vnd.dovecot.pipe).
    Pipe(Program),
    /// Nothing: the rules forbid the action for this message, and this is why.
    Nothing {
        /// The action's name.
        name: &'static str,
        /// The rule, in words.
        why: &'static str,
    },
}

impl Action {
    /// The action's name, as logs and tests say it.
    pub fn name(&self) -> &'static str {
        match self {
            Action::Store(Store { mailbox: None, .. }) => "keep",
            Action::Store(_) => "store",
            Action::Redirect(_) => "redirect",
            Action::Reject(Reject { at_protocol: true, .. }) => "ereject",
            Action::Reject(_) => "reject",
            Action::Discard => "discard",
            Action::Vacation(_) => "vacation",
            Action::Notify(_) => "notify",
            Action::Pipe(_) => "pipe",
            Action::Nothing { name, .. } => name,
        }
    }
}

/// The message as it was when an action was decided; `None` is the message as received.
pub type Version = Option<Arc<Edited>>;

/// A message that the script has changed (editheader, replace, enclose, filter).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edited {
    /// Its parts, in order.
    pub pieces: Vec<Piece>,
}

/// A stretch of a changed message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Octets of the message as received.
    Original(Range<usize>),
    /// Octets that the script made, CRLF line ends.
    Text(Arc<[u8]>),
}

impl Edited {
    /// The octets, given the message as received.
    pub fn bytes(&self, original: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        for piece in &self.pieces {
            match piece {
                Piece::Original(range) => {
                    out.extend_from_slice(original.get(range.clone()).unwrap_or_default());
                }
                Piece::Text(text) => out.extend_from_slice(text),
            }
        }
        out
    }
}

/// Keep or fileinto.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Store {
    /// The mailbox, UTF-8; `None` is where mail goes without a script.
    pub mailbox: Option<Vec<u8>>,
    /// If there is a mailbox with this id it is used instead.  RFC 9042 3.
    pub mailbox_id: Option<Vec<u8>>,
    /// If a mailbox has this attribute it is used instead; a mailbox that is created gets it.
    /// RFC 8579 4.
    pub special_use: Option<Vec<u8>>,
    /// Create the mailbox if it is missing.  RFC 5490 3.2.
    pub create: bool,
    /// Flags and keywords to set; RFC 5232 5.
    pub flags: Vec<Vec<u8>>,
    /// What to store.
    pub message: Version,
    /// True if no command of the script asked for it.
    pub implicit: bool,
}

/// Send the message on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The recipient, an addr-spec.
    pub to: Vec<u8>,
    /// The envelope sender; empty is the null sender.
    pub from: Vec<u8>,
    /// Whose script sends it on: to be told in a field, so that loops show.
    pub owner: Option<Vec<u8>>,
    /// NOTIFY= for it.  RFC 6009 5.
    pub notify: Option<Vec<u8>>,
    /// RET= for it.
    pub ret: Option<Vec<u8>>,
    /// BY= for it.  RFC 6009 6.
    pub deliver_by: Option<DeliverBy>,
    /// What to send.
    pub message: Version,
}

/// A BY= parameter.  RFC 2852.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliverBy {
    /// The instant, in seconds since 1970.
    pub at: i64,
    /// `N` (notify) or `R` (return).
    pub mode: u8,
    /// The trace modifier.
    pub trace: bool,
}

/// Refuse the message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reject {
    /// Why, UTF-8 with CRLF line ends.
    pub reason: Vec<u8>,
    /// True for ereject: at the protocol if that is still possible; never an MDN.  RFC 5429 2.1.
    pub at_protocol: bool,
}

/// A vacation reply: everything has been decided except whether it can be sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Vacation {
    /// To whom; the envelope sender.
    pub to: Vec<u8>,
    /// From whom: the value of `:from`, or the address of the user that the message had.
    pub from: Vec<u8>,
    /// Subject, UTF-8, not yet encoded.
    pub subject: Vec<u8>,
    /// The text, or with `mime` a whole MIME entity with its header.
    pub reason: Vec<u8>,
    /// `:mime` was given.
    pub mime: bool,
    /// Message-ID of what is answered, with brackets.
    pub in_reply_to: Option<Vec<u8>>,
    /// References for the reply, with brackets and spaces.
    pub references: Option<Vec<u8>>,
    /// Keep a copy here.  RFC 8580.
    pub fcc: Option<Store>,
    /// To be marked before the reply is sent.
    pub record: Record,
}

/// A notification.  RFC 5435.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// The URI of the method; `mailto:` is the only scheme that passes the check.
    pub method: Vec<u8>,
    /// Recipients taken from the URI.  RFC 5436 2.1.
    pub to: Vec<Vec<u8>>,
    /// Further recipients (`cc` in the URI).
    pub cc: Vec<Vec<u8>>,
    /// Header fields from the URI that are allowed there: name and value.
    pub fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// The value of `:from`.
    pub from: Option<Vec<u8>>,
    /// 1 (high) to 3 (low).
    pub importance: u8,
    /// Subject, UTF-8.
    pub subject: Vec<u8>,
    /// Text, UTF-8 with CRLF line ends.
    pub body: Vec<u8>,
    /// The envelope sender; empty is the null sender.
    pub envelope_from: Vec<u8>,
    /// The owner, for Auto-Submitted's `owner-email`.
    pub owner: Option<Vec<u8>>,
    /// Keep a copy here.  RFC 8580.
    pub fcc: Option<Store>,
}

/// A program to run: `pipe`, `filter`, `execute`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program {
    /// Its name within the one configured directory: checked, no slash.
    pub name: Vec<u8>,
    /// Arguments, without NUL.
    pub args: Vec<Vec<u8>>,
    /// What it reads.
    pub input: Input,
    /// `:try`: a failure is no error.
    pub may_fail: bool,
}

/// What a program reads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Input {
    /// Nothing.
    #[default]
    None,
    /// The message.
    Message(Version),
    /// This text.
    Text(Vec<u8>),
}

/// Something to remember about a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// What it is for.
    pub kind: RecordKind,
    /// What makes it the same again; arbitrary octets, bounded.
    pub key: Vec<u8>,
    /// How long to remember it, in seconds.
    pub seconds: u64,
    /// `:last`: the time begins anew whenever it is seen.  RFC 7352 3.2.
    pub last: bool,
}

/// What a record is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecordKind {
    /// A message seen by `duplicate`.
    #[default]
    Duplicate,
    /// A sender answered by `vacation`.
    Vacation,
}
