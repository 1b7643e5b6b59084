//! Tests of kind deliver: from SMTP into mailboxes, through the running daemon.

use crate::Test;

mod alias;
mod forward;
mod local;
mod options;
pub mod post;
mod remote;

pub use post::Client;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "maildir-message-is-whole-and-named-by-its-delivery", run: local::maildir },
    Test { name: "spam-goes-to-the-mailbox-for-junk", run: local::junk },
    Test { name: "sub-address-goes-to-its-mailbox-if-there-is-one", run: local::sub_address },
    Test { name: "report-of-delivery-tells-no-mailbox", run: local::success },
    Test { name: "delivered-to-of-our-own-ends-a-loop", run: local::circle },
    Test { name: "killed-stores-deliver-exactly-once", run: local::exactly_once },
    Test { name: "full-disk-holds-the-message", run: local::full_disk },
    Test { name: "locked-account-holds-the-message", run: local::locked },
    Test { name: "file-of-an-alias-is-appended-to", run: local::mbox },
    Test { name: "command-of-an-alias-has-a-user-of-its-own", run: alias::ids },
    Test { name: "command-of-an-alias-signals-none-of-rmails", run: alias::signals_nothing },
    Test { name: "file-of-an-alias-is-the-users-for-those", run: alias::file },
    Test { name: "dev-null-of-an-alias-takes-the-message", run: local::nowhere },
    Test { name: "alias-that-is-edited-holds-its-message", run: local::alias_edited },
    Test { name: "mbox-interrupted-has-the-message-once", run: local::mbox_interrupted },
    Test { name: "mda-gets-the-message-and-its-status-counts", run: local::mda },
    Test { name: "mda-without-end-is-killed", run: local::killed_mda },
    Test { name: "mda-whose-queue-dies-gets-no-half-message", run: local::half_fed },
    Test { name: "stop-begins-no-delivery", run: local::stop_begins_nothing },
    Test { name: "mda-that-is-not-there-is-told", run: local::missing_mda },
    Test { name: "failures-of-a-message-come-back-in-one-report", run: local::told_once },
    Test { name: "wrapper-runs-around-the-mda", run: local::wrapper },
    Test { name: "forward-sends-on-whatever-the-action", run: forward::sends_on },
    Test { name: "forward-with-the-own-name-keeps-a-copy", run: forward::keeps },
    Test { name: "forward-with-the-own-name-written-otherwise-keeps", run: forward::own_name },
    Test { name: "forward-sends-nothing-on-before-the-delivery", run: forward::waits },
    Test { name: "forward-before-an-lmtp-server", run: forward::lmtp },
    Test { name: "commands-of-a-forward-run-once", run: forward::commands },
    Test { name: "of-several-commands-the-failing-one-runs-again", run: forward::several_commands },
    Test { name: "forward-that-cannot-be-used-holds-the-message", run: forward::holds },
    Test { name: "expand-only-and-forward-only-refuse-the-rest", run: options::expansion_alone },
    Test { name: "sub-addresses-by-another-sign", run: options::sub_addr_delim },
    Test { name: "relays-by-domain-in-turn-and-encrypted", run: options::relays },
    Test { name: "backup-mx-sends-to-better-hosts-only", run: options::backup },
    Test { name: "limits-of-deliveries-and-of-the-queue", run: options::limits },
    Test { name: "limit-of-a-users-deliveries", run: options::limits_of_a_user },
    Test { name: "host-that-answers-again-gets-what-waits", run: options::max_deferred },
    Test { name: "smarthost-gets-the-message-whole", run: remote::smarthost },
    Test { name: "notifications-are-as-they-were-asked-for", run: remote::notify },
    Test { name: "relay-options-are-what-the-host-sees", run: remote::relay_options },
    Test { name: "lmtp-server-gets-the-message", run: remote::lmtp },
    Test { name: "refused-for-now-is-tried-until-taken", run: remote::retries },
    Test { name: "failure-comes-back-as-a-report-on-that-recipient", run: remote::failure },
    Test { name: "report-that-fails-is-not-answered", run: remote::never_twice },
    Test { name: "old-message-is-warned-of-and-expires", run: remote::expiry },
    Test { name: "connection-lost-before-and-after-the-dot", run: remote::lost_connections },
    Test { name: "killed-queue-and-mta-lose-nothing", run: remote::killed },
    Test { name: "administrator-shows-holds-and-removes", run: remote::administered },
    Test { name: "full-queue-is-452-and-leaves-nothing", run: remote::full_disk },
    Test { name: "damaged-spool-file-is-put-aside", run: remote::damaged },
    Test { name: "message-sealed-with-another-key-waits-for-it", run: remote::other_key },
    Test { name: "compressed-queue-delivers", run: remote::compressed },
    Test { name: "mx-order-alias-implicit-and-null", run: remote::mx },
    Test { name: "domains-of-u-labels-are-asked-by-a-labels", run: remote::international },
];
