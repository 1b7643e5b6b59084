//! The commands of a session that has logged in, one file each.
//!
//! A command writes its answers into the session's flight and ends with
//! [`Session::ok`](super::session::Session::ok) or
//! [`Session::refuse`](super::session::Session::refuse).  Its arguments were
//! parsed by `proto::imap`; what a command needs (login, a mailbox) has been
//! checked.

pub mod append;
pub mod capability;
pub mod check;
pub mod close;
pub mod content;
pub mod copy;
pub mod create;
pub mod delete;
pub mod enable;
pub mod expunge;
pub mod fetch;
pub mod id;
pub mod idle;
pub mod list;
pub mod logout;
pub mod lsub;
pub mod move_;
pub mod namespace;
pub mod noop;
pub mod rename;
pub mod search;
pub mod select;
pub mod status;
pub mod store;
pub mod subscribe;
pub mod unselect;
pub mod unsubscribe;
