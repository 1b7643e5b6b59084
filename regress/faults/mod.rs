//! What goes wrong around a daemon that is right: a full disk, no descriptor
//! left, a process that is stopped or dies, a reload in the middle of work.
//!
//! Nothing is simulated.  A disk is full because a small file system is,
//! descriptors are gone because the process under test has no more
//! (prlimit(2)), and a process is stopped by SIGSTOP.  Each test ends with the
//! fault taken away and the next message delivered, without a restart.

mod deaths;
mod descriptors;
mod reload;
mod site;
pub mod space;
mod stopped;

use crate::Test;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "full-disk-in-data", run: space::in_data },
    Test { name: "full-disk-in-commit", run: space::in_commit },
    Test { name: "full-disk-in-delivery", run: space::in_delivery },
    Test { name: "full-disk-in-append", run: space::in_append },
    Test { name: "no-inodes-in-data", run: space::no_inodes },
    Test { name: "every-shortage-of-pages-in-delivery", run: space::every_shortage },
    Test { name: "full-disk-takes-no-record", run: space::no_record },
    Test { name: "full-disk-takes-no-log", run: space::no_log },
    Test { name: "full-disk-is-read-and-emptied", run: space::read_and_emptied },
    Test { name: "no-descriptors-in-data", run: descriptors::in_data },
    Test { name: "no-descriptors-in-data-in-smtp", run: descriptors::in_data_in_smtp },
    Test { name: "no-descriptors-in-commit", run: descriptors::in_commit },
    Test { name: "no-descriptors-in-delivery", run: descriptors::in_delivery },
    Test { name: "no-descriptors-in-delivery-in-queue", run: descriptors::in_delivery_in_queue },
    Test { name: "no-descriptors-in-relaying", run: descriptors::in_relaying },
    Test { name: "no-descriptors-in-append", run: descriptors::in_append },
    Test { name: "no-descriptors-in-imap", run: descriptors::in_imap },
    Test { name: "no-descriptors-in-parent", run: descriptors::in_parent },
    Test { name: "no-descriptors-in-control", run: descriptors::in_control },
    Test { name: "stopped-keyd", run: stopped::keyd },
    Test { name: "keyd-dies-in-a-handshake", run: stopped::keyd_dies },
    Test { name: "stopped-lookup", run: stopped::lookup },
    Test { name: "stopped-smtp", run: stopped::smtp },
    Test { name: "stopped-queue", run: stopped::queue },
    Test { name: "stopped-mta", run: stopped::mta },
    Test { name: "stopped-imap", run: stopped::imap },
    Test { name: "stopped-store", run: stopped::store },
    Test { name: "stopped-store-is-not-dead", run: stopped::store_is_not_dead },
    Test { name: "stopped-control", run: stopped::control },
    Test { name: "fifty-reloads-under-load", run: reload::fifty_under_load },
    Test { name: "last-listener-of-a-process-goes-at-a-reload", run: reload::listeners },
    Test { name: "restarts-wait-longer-each-time", run: deaths::backoff },
    Test { name: "message-of-which-stores-die-is-held", run: deaths::poison },
    Test { name: "message-of-which-mta-dies-is-held", run: deaths::poison_of_mta },
    Test { name: "mail-root-that-cannot-be-opened-is-no-death", run: deaths::no_mail_root },
];
