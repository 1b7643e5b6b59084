//! The extensions, one file for each family.  The table is in
//! [`language`](super::language::EXTENSIONS).

pub mod base;
pub mod body;
pub mod comparator;
pub mod date;
pub mod deliver;
pub mod dovecot;
pub mod duplicate;
pub mod editheader;
pub mod enotify;
pub mod envelope;
pub mod environment;
pub mod extlists;
pub mod fcc;
pub mod header;
pub mod ihave;
pub mod imap4flags;
pub mod imapsieve;
pub mod include;
pub mod mailbox;
pub mod mime;
pub mod program;
pub mod redirect;
pub mod regex;
pub mod reject;
pub mod relational;
pub mod replace;
pub mod spamtest;
pub mod subaddress;
pub mod vacation;
pub mod variables;
