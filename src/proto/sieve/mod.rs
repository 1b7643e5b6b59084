//! The Sieve language.  RFC 5228 and its extensions.
//!
//! Script and message in, actions out; no I/O.  A script goes through
//! [`parse`] (with [`lex`], into [`ast`]), [`check`] (into [`code`]) and
//! [`run`]; what it asks about the world goes through
//! [`surroundings::Surroundings`], and what it wants done comes back as
//! [`action::Outcome`].
//!
//! The language itself is a table, [`ext::EXTENSIONS`]; each family of
//! extensions is one file under [`ext`].  Adding one touches its file and the
//! table.
//!
//! *Runs in* rmailctl (`sieve check`, `sieve test`), and in no daemon yet; it
//! is made for store (delivery, IMAP events) and imap (ManageSieve checks
//! scripts).  Scripts and messages are hostile: depth, sizes and work are
//! bounded by `proto::limits` and by fuel.

pub mod action;
pub mod arguments;
pub mod ast;
pub mod check;
pub mod code;
pub mod compare;
pub mod compose;
pub mod ere;
pub mod ext;
pub mod fault;
pub mod fuzz;
pub mod glob;
pub mod html;
pub mod language;
pub mod lex;
pub mod message;
pub mod needle;
pub mod octets;
pub mod parse;
pub mod print;
pub mod result;
pub mod run;
pub mod settings;
pub mod surroundings;
pub mod template;
