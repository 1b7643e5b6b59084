//! rmail: a mail server in the manner of OpenBSD.
//!
//! The modules stand in layer order; a module may import only those named
//! below it here (`regress/layers` checks it).  Bytes from outside meet
//! `proto` and `conf` first, which are pure: bytes in, values out.
//!
//! | layer | what | may import |
//! |---|---|---|
//! | `ctl`, `send` | rmailctl, and the sendmail, mailq, newaliases front ends | ipc, base, conf, proto, disk (offline tools) |
//! | `proc` | one directory per process; `proc::X` never imports `proc::Y` | all below |
//! | `ipc` | typed messages, one file per edge of the process graph | proto, conf, sys, base |
//! | `disk` | the only code that knows an on-disk format | proto, sys, base |
//! | `base` | log, clock, deadlines, bounded I/O, TLS, remote keys, DNS transport | proto, sys, openssl |
//! | `sys` | system calls: unsafe and cfg(target_os) live here | libc, nix, pledge, unveil, landlock, seccompiler |
//! | `conf` | rmail.conf: lexer, grammar, check, canonical print | proto |
//! | `proto` | SMTP, IMAP, MIME, Sieve, SPF, DKIM, DMARC, ARC, DNS as pure code | nothing of ours |
//!
//! A message's way in, in reading order: `proc::smtp` (accept, session),
//! `proto::smtp` (commands, transaction, data), `ipc` `smtp_lookup`,
//! `proc::lookup` (rules, expansion), `ipc` `smtp_queue`, `proc::queue`
//! (intake, schedule), `disk::spool`; then `proc::mta` or, through
//! `proc::parent`, `proc::store` and `disk::maildir`.  Reading it:
//! `proc::imap` (TLS, login, relay), `proc::store` (session, one file per
//! command).  `proc::table` says what each process is and may do.
//!
//! | where to look first for | file |
//! |---|---|
//! | line ends: bare CR and LF, in commands and in messages | `base::line`, `proto::smtp::data`; the answers' words are in `proto::smtp::reply`, in IMAP `base::imap`; `bare` in `proc::smtp::config` says who is borne with |
//! | what a process may do and whom it may ask | `proc::table`; enforced by `sys::sandbox`, after `proc::start` has changed root and user |
//! | who holds keys, and how others sign with them | `proc::keyd`, `base::remotekey`, `ipc::keyd`; `proc::parent::load` reads them from the disk |
//! | a full disk while a message comes in | `proc::smtp::message`; what stays on disk, `disk::spool`; room is looked for in `proc::queue::intake` before each |
//! | what 250 stands for | `proc::queue::intake`, `publish` of `disk::spool`, `disk::atomic` (every fsync of it); said in `proc::smtp::session::handover` |
//! | a process that dies before 250, or does not answer | `proc::smtp::intake` |
//! | when a message is tried again, and for how long | `proc::queue::sched`, `proc::queue::settle`; the defaults are in `conf::view` |
//! | what a sender is told | `proc::queue::bounce` |
//! | a process that dies; a message that processes die of | `proc::parent::children`, a store's `proc::parent::open`; `proc::queue::settle` holds the message, `proc::queue::local` delivers it plainly before |
//! | `make install` while the daemon runs | `proc::parent::upgrade` |
//! | as whom commands and files of aliases are run and written | `proc::lookup::own`; held against the configuration in `proc::parent::grants` |
//! | a reload, and what it leaves alone | `proc::parent` (`reload`), `proc::parent::load`, `proc::start` |
//! | whose mailbox a login or a recipient is | `proc::lookup::accounts` |
//! | who may have a mailbox opened | `proc::parent::open`, `proc::parent::load` |
//! | what makes a delivery happen once | `proc::queue::local`, `proc::store::deliver`, `disk::maildir::draft` |
//! | how a session hears of a delivery | `proc::store::account`, `proc::store::notify`, `proc::store::cmd::idle` |
//! | UIDs and UIDVALIDITY: where they are kept, and a list that is damaged | `disk::uidlist`, `disk::uidvalidity`; made anew in `disk::maildir::mailbox::load` |
//! | what bounds a Sieve script and its expressions | `proto::sieve::run` (fuel), `proto::sieve::ere`; the numbers, `proto::limits` |
//! | a limit: its default, and what happens there | `proto::limits`; `smtp max-message-size` and `smtp limit` are of `conf::view`; counted in `base::listen`, `proto::smtp::server` |

#![warn(rustdoc::broken_intra_doc_links)]

pub mod ctl;
pub mod send;

pub mod proc;

pub mod ipc;

pub mod disk;

pub mod base;

#[allow(unsafe_code)]
pub mod sys;

pub mod conf;
pub mod proto;
