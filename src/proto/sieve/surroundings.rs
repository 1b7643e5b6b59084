//! What a running script asks its surroundings.
//!
//! Evaluation is pure: everything that is not in the script, the message or the
//! envelope is asked through [`Surroundings`]; delivery, the IMAP events,
//! `rmailctl sieve test` and the test tool each bring their own.  A script's
//! text is found through [`Library`], at compile time only.
//!
//! *Trust:* arguments come from scripts, hence from users: a name may be any
//! byte string of bounded length.  What cannot be answered now is
//! [`Unavailable`]; the message is then tried again later, for our own fault
//! must not turn into a wrong decision.

use std::any::Any;

use super::action::{Program, Record};
use super::code::Op;

/// The question cannot be answered now; the caller tries the message again later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Unavailable;

/// An answer of the surroundings.
pub type Answer<T> = Result<T, Unavailable>;

/// The envelope of the message, as the protocol gave it.  RFC 5228 5.4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Envelope {
    /// The reverse path without brackets; empty for `<>`, `None` if there is no envelope.
    pub from: Option<Vec<u8>>,
    /// The recipient that this delivery is for.
    pub to: Option<Vec<u8>>,
    /// The recipient as it was before aliases and rules.
    pub orig_to: Option<Vec<u8>>,
    /// The name under which the sender had logged in.
    pub auth: Option<Vec<u8>>,
    /// NOTIFY=, RET=, ENVID= and ORCPT= as given.  RFC 6009 3.
    pub notify: Option<Vec<u8>>,
    /// RET= as given: `FULL` or `HDRS`.
    pub ret: Option<Vec<u8>>,
    /// ENVID=, xtext decoded.
    pub envid: Option<Vec<u8>>,
    /// ORCPT= with its address type, xtext decoded.
    pub orcpt: Option<Vec<u8>>,
    /// BY= of RFC 2852: the time by which to deliver, in seconds since 1970.
    pub by_time: Option<i64>,
    /// BY= mode: `N` or `R`.
    pub by_mode: Option<u8>,
    /// BY= with the trace modifier `T`.
    pub by_trace: bool,
}

/// Why a script runs.  RFC 6785 4.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Occasion {
    /// A message is being delivered.
    #[default]
    Delivery,
    /// Something happened in a mailbox: APPEND, COPY or a change of flags.
    ImapEvent,
}

/// What happened while a script ran, for whoever wants to watch.
#[derive(Clone, Copy, Debug)]
pub enum Trace<'a> {
    /// A command begins.
    Command {
        /// The included script that it stands in; empty for the script itself.
        script: &'a str,
        /// The command.
        op: &'a Op,
    },
    /// A test has been decided.
    Test {
        /// As above.
        script: &'a str,
        /// The test.
        op: &'a Op,
        /// What it gave.
        held: bool,
    },
    /// `debug_log` said something.
    Debug {
        /// The line of the command.
        line: u32,
        /// What it said.
        text: &'a [u8],
    },
}

/// What a program of the `execute` and `filter` kind did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ran {
    /// True if it ended with exit code 0.
    pub success: bool,
    /// Its standard output, bounded by the caller.
    pub output: Vec<u8>,
}

/// All that a script can learn beyond the message and its envelope.
///
/// Methods may block as long as the caller likes; each is asked at most once
/// per test, and the number of tests is bounded by the script's fuel.
pub trait Surroundings {
    /// The time, in seconds since 1970.  RFC 5260 5 (`currentdate`).
    fn now(&mut self) -> i64;

    /// The local zone's offset at a time, in minutes east of UTC.
    fn zone(&mut self, at: i64) -> i32;

    /// An environment item by its lower-case name; `None` if it is not known.
    ///
    /// RFC 5183 4.1, RFC 6785 4 and `vnd.dovecot.*`.  `name` and `version` are
    /// answered by the evaluator.
    fn environment(&mut self, item: &str) -> Option<Vec<u8>>;

    /// True if an address belongs to the owner of the script.  RFC 5230 4.6.
    fn is_mine(&mut self, address: &[u8]) -> bool;

    /// True if mail can be delivered into a mailbox (UTF-8 name).  RFC 5490 3.1.
    fn mailbox_exists(&mut self, mailbox: &[u8]) -> Answer<bool>;

    /// True if a mailbox has this OBJECTID mailbox id.  RFC 9042 4.
    fn mailbox_id_exists(&mut self, id: &[u8]) -> Answer<bool>;

    /// True if the mailbox, or with `None` any mailbox, has a special-use attribute such as
    /// `\Junk`.  RFC 8579 3.
    fn special_use_exists(&mut self, mailbox: Option<&[u8]>, attribute: &[u8]) -> Answer<bool>;

    /// An annotation of a mailbox, or with `None` of the server.  RFC 5490 3.3 and 4.
    fn metadata(&mut self, mailbox: Option<&[u8]>, annotation: &[u8]) -> Answer<Option<Vec<u8>>>;

    /// True if a list of this name can be asked.  RFC 6134 2.7.
    fn list_exists(&mut self, list: &[u8]) -> Answer<bool>;

    /// True if a value is in a list.  RFC 6134 2.3.
    fn list_contains(&mut self, list: &[u8], value: &[u8]) -> Answer<bool>;

    /// The members of a list, at most `max`; for `redirect :list`.  RFC 6134 2.5.
    fn list_members(&mut self, list: &[u8], max: usize) -> Answer<Vec<Vec<u8>>>;

    /// True if a record of this kind and key is there and has not expired.
    ///
    /// Looks only.  The record is written by whoever carries out the actions, when that has
    /// succeeded ([`Outcome::records`](super::action::Outcome::records)) or, for a vacation
    /// reply, just before it is sent.  RFC 7352 3.1, RFC 5230 4.2.
    fn seen(&mut self, record: &Record) -> Answer<bool>;

    /// Runs a program for `execute` or `filter`; `None` if there is no such program.
    fn run_program(&mut self, program: &Program) -> Answer<Option<Ran>>;

    /// Called for each command and test; does nothing unless someone watches.
    fn trace(&mut self, _event: Trace<'_>) {}

    /// The surroundings themselves, for an extension that its user has added.
    fn as_any(&mut self) -> &mut dyn Any;
}

/// Where an included script is looked for.  RFC 6609 3.2.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Location {
    /// Among the user's own scripts.
    Personal,
    /// Among those of the site.
    Global,
}

/// Finds included scripts while a script is compiled.
pub trait Library {
    /// The text of a script; `None` if there is none of this name.
    ///
    /// The name has been checked: UTF-8 without slash, controls and leading dot.
    fn script(&mut self, location: Location, name: &str) -> Answer<Option<Vec<u8>>>;
}

/// A library without scripts.
pub struct NoLibrary;

impl Library for NoLibrary {
    fn script(&mut self, _: Location, _: &str) -> Answer<Option<Vec<u8>>> {
        Ok(None)
    }
}
