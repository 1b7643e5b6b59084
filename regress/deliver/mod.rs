//! Tests of kind deliver: from SMTP into mailboxes, through the running daemon.

use crate::Test;

mod local;
mod post;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "maildir-message-is-whole-and-named-by-its-delivery", run: local::maildir },
    Test { name: "spam-goes-to-the-mailbox-for-junk", run: local::junk },
    Test { name: "sub-address-goes-to-its-mailbox-if-there-is-one", run: local::sub_address },
    Test { name: "delivered-to-of-our-own-ends-a-loop", run: local::circle },
    Test { name: "killed-stores-deliver-exactly-once", run: local::exactly_once },
    Test { name: "full-disk-holds-the-message", run: local::full_disk },
    Test { name: "locked-account-holds-the-message", run: local::locked },
    Test { name: "file-of-an-alias-is-appended-to", run: local::mbox },
    Test { name: "mda-gets-the-message-and-its-status-counts", run: local::mda },
];
