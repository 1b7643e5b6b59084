//! IMAP4rev1 as pure code: a command's bytes in, responses' bytes out.
//!
//! [`collect`] gathers a command from lines and literals, [`command`] parses
//! it; [`response`] and [`write`](mod@write) write the answers, [`reply`] says how each
//! fault is answered.  FETCH items are rendered by [`envelope`],
//! [`bodystructure`] and [`section`]; SEARCH is parsed by [`search`] and run by
//! [`eval`].  Sockets, mailboxes and policy are the caller's.  RFC 3501.

pub mod bodystructure;
pub mod capability;
pub mod collect;
pub mod command;
pub mod date;
pub mod envelope;
pub mod eval;
pub mod fetch;
pub mod flag;
pub mod lex;
pub mod list;
pub mod mailbox;
pub mod reply;
pub mod response;
pub mod search;
pub mod section;
pub mod seqset;
pub mod uidmap;
pub mod write;
