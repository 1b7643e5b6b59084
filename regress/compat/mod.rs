//! Tests of kind compat: other programs' files, and ours of other versions.

use crate::Test;

mod dovecot;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "dovecot-store-is-served-unchanged", run: dovecot::served_unchanged },
    Test { name: "dovecot-serves-what-rmail-changed", run: dovecot::serves_changes },
    Test { name: "dovecot-and-rmail-in-turns", run: dovecot::in_turns },
    Test { name: "dovecot-to-the-running-daemon-and-back", run: dovecot::through_the_daemon },
    Test { name: "dovecot-import-of-a-foreign-maildir", run: dovecot::same_uid_order },
];
