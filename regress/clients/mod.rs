//! Real clients against the running daemon.

use crate::Test;

mod howto;
mod kept;
mod sendmail;
mod stops;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "howto-mail-is-read-by-every-client", run: howto::mail_is_read_by_every_client },
    Test { name: "sendmail-delivers-through-the-daemon", run: sendmail::delivers },
    Test { name: "sendmail-header-recipients-lose-bcc", run: sendmail::header_recipients },
    Test { name: "sendmail-refused-recipient-is-69", run: sendmail::refused },
    Test { name: "sendmail-speaks-smtp-on-stdin", run: sendmail::speaks_smtp },
    Test { name: "sendmail-mail-kept-offline-is-sent-later", run: sendmail::offline },
    Test {
        name: "sendmail-mail-kept-offline-and-refused-comes-back",
        run: sendmail::offline_refused,
    },
    Test { name: "sendmail-several-transactions", run: sendmail::several_transactions },
    Test {
        name: "sendmail-several-transactions-of-mail-kept-offline",
        run: sendmail::offline_several_transactions,
    },
    Test {
        name: "sendmail-mail-kept-offline-after-the-start-is-sent",
        run: sendmail::offline_after_the_start,
    },
    Test {
        name: "sendmail-of-offline-mail-that-does-not-end-is-killed",
        run: sendmail::offline_stopped,
    },
    Test {
        name: "sendmail-offline-mail-names-what-is-no-address",
        run: sendmail::offline_no_address,
    },
    Test { name: "sendmail-unknown-offline-mail-stays", run: sendmail::offline_unknown },
    Test {
        name: "sendmail-offline-mail-to-many-who-are-refused",
        run: sendmail::offline_many_refused,
    },
    Test { name: "sendmail-offline-mail-comes-back-after-four-days", run: kept::put_off_for_long },
    Test { name: "sendmail-keeps-what-the-daemon-leaves", run: kept::who_leaves },
    Test { name: "sendmail-keeps-what-is-refused-for-now", run: kept::refusals },
    Test { name: "sendmail-keeps-mail-of-a-daemon-that-ends", run: kept::daemon_ends },
    Test { name: "sendmail-keeps-mail-when-the-daemon-stops", run: stops::is_no_daemon },
    Test { name: "sendmail-keeps-mail-that-is-put-off", run: stops::put_off },
    Test { name: "sendmail-reads-its-input-confined", run: kept::confined },
    Test { name: "sendmail-confined-sends-what-is-large", run: kept::large },
    Test { name: "sendmail-prints-the-queue-of-its-daemon", run: sendmail::other_names },
    Test { name: "newaliases-reads-every-table", run: sendmail::new_aliases },
    Test { name: "demo-ends-with-success", run: howto::demo },
];
