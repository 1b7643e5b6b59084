//! The SMTP server as clients meet it: the whole daemon, real sockets.
//!
//! What needs a whole daemon is here: TLS with keys in another process, logins,
//! rules, the queue's files, deaths and reloads.  The dialogue itself, with
//! every hostile case, is also tested in `src/proc/smtp/tests`, without one.

mod accept;
pub mod client;
mod hostile;
mod listen;
mod options;
mod session;
mod submission;

use crate::daemon::{certificate, Daemon};
use crate::{Env, Test};
use client::Client;
use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

/// The tests of this kind.
pub const TESTS: &[Test] = &[
    Test { name: "greeting-and-extensions", run: session::greeting_and_extensions },
    Test { name: "starttls-with-the-key-in-keyd", run: session::starttls_with_the_key_in_keyd },
    Test { name: "smtps-with-the-key-in-keyd", run: session::smtps_with_the_key_in_keyd },
    Test { name: "a-session-outlives-a-reload", run: session::a_session_outlives_a_reload },
    Test { name: "no-mail-before-tls-and-login", run: session::no_mail_before_tls_and_login },
    Test { name: "pause-and-resume", run: session::pause_and_resume },
    Test { name: "starttls-drops-what-was-ahead", run: hostile::starttls_drops_what_was_ahead },
    Test { name: "a-slow-client-is-cut-off", run: hostile::a_slow_client_is_cut_off },
    Test { name: "errors-are-counted", run: hostile::errors_are_counted },
    Test { name: "long-lines-and-odd-bytes", run: hostile::long_lines_and_odd_bytes },
    Test { name: "http-is-shown-the-door", run: hostile::http_is_shown_the_door },
    Test { name: "two-hundred-idle-connections", run: hostile::two_hundred_idle_connections },
    Test { name: "pipelined-and-gone", run: hostile::pipelined_and_gone },
    Test { name: "a-message-reaches-the-mailbox", run: accept::a_message_reaches_the_mailbox },
    Test { name: "recipients-by-the-rules", run: accept::recipients_by_the_rules },
    Test { name: "a-quoted-at-sign-opens-no-relay", run: accept::a_quoted_at_sign_opens_no_relay },
    Test {
        name: "what-no-delivery-takes-is-refused",
        run: accept::what_no_delivery_takes_is_refused,
    },
    Test { name: "chunks-reach-the-mailbox", run: accept::chunks_reach_the_mailbox },
    Test { name: "lmtp-answers-for-each", run: accept::lmtp_answers_for_each },
    Test { name: "smuggling-with-bare-lf", run: accept::smuggling_with_bare_lf },
    Test { name: "smuggling-with-bare-cr", run: accept::smuggling_with_bare_cr },
    Test {
        name: "a-queue-that-dies-in-data-is-451",
        run: accept::a_queue_that_dies_in_data_is_451,
    },
    Test { name: "a-lookup-that-dies-is-451", run: accept::a_lookup_that_dies_is_451 },
    Test { name: "a-loop-is-refused", run: accept::a_loop_is_refused },
    Test {
        name: "too-big-a-message-leaves-nothing",
        run: accept::too_big_a_message_leaves_nothing,
    },
    Test {
        name: "a-header-of-more-than-256-kib-is-refused",
        run: accept::a_header_of_more_than_256_kib_is_refused,
    },
    Test {
        name: "options-show-on-their-listener-only",
        run: listen::options_show_on_their_listener_only,
    },
    Test { name: "a-family-is-kept-to", run: listen::a_family_is_kept_to },
    Test { name: "the-servers-own-numbers-count", run: listen::the_servers_own_numbers_count },
    Test { name: "conditions-of-match-decide", run: options::conditions },
    Test { name: "options-of-listen-are-what-clients-meet", run: options::listeners },
    Test { name: "ipv6-from-listener-to-relay", run: options::ipv6 },
    Test { name: "macros-of-the-command-line-go-first", run: options::macros },
    Test { name: "fixed-up-on-both-ports", run: submission::fixed_up_on_both_ports },
    Test {
        name: "wrong-passwords-close-and-block",
        run: submission::wrong_passwords_close_and_block,
    },
    Test { name: "login-in-two-steps", run: submission::login_in_two_steps },
    Test { name: "senders-are-held-to", run: submission::senders_are_held_to },
    Test { name: "a-session-over-the-socket", run: submission::a_session_over_the_socket },
];

/// bcrypt of `secret`, cost 4.
fn hash() -> String {
    rmail::sys::crypt::new_hash(b"secret", 4).expect("crypt")
}

/// The listeners, in their order.
const MX: usize = 0;
const SUBMISSION: usize = 1;

/// A daemon with every kind of listener and mailboxes joe and ann.
struct Site {
    daemon: Daemon,
}

impl Site {
    fn start(env: &Env) -> Site {
        Site::with(env, "")
    }

    /// `more` is added to the configuration, before the listeners.
    fn with(env: &Env, more: &str) -> Site {
        std::fs::create_dir_all(env.dir.join("mail")).expect("mkdir");
        certificate(&env.dir, "mx", &["mx.example"]);
        // The accounts' users make their mailboxes below it.
        let open = std::fs::Permissions::from_mode(0o777);
        std::fs::set_permissions(env.dir.join("mail"), open).expect("chmod");
        let uid = match rmail::sys::user::uid() {
            0 => 12_000,
            own => own,
        };
        let config = format!(
            "pki mx.example cert \"@DIR@/mx.pem\"\n\
             pki mx.example key \"@DIR@/mx.key\"\n\
             table creds {{ \"joe@example.com\" = \"{hash}\" }}\n\
             table users {{ \"joe\" = \"{uid}:{uid}:@DIR@/mail/joe\", \
                            \"ann\" = \"{uid}:{uid}:@DIR@/mail/ann\" }}\n\
             table virt {{ \"joe@example.com\" = \"joe\", \"ann@example.com\" = \"ann\" }}\n\
             table may {{ \"joe@example.com\" = \"joe@example.com\" }}\n\
             smtp limit max-rcpt 5\n\
             smtp max-message-size 1M\n\
             limit login-delay 10ms\n\
             {more}\n\
             listen on 127.0.0.1 port 0 hostname mx.example tls pki mx.example\n\
             listen on 127.0.0.1 port 0 hostname mx.example tls-require pki mx.example \
                 auth <creds> senders <may> received-auth mask-src\n\
             listen on 127.0.0.1 port 0 hostname mx.example smtps pki mx.example auth <creds>\n\
             listen on 127.0.0.1 port 0 hostname mx.example lmtp\n\
             listen on socket\n\
             action \"in\" maildir \"@DIR@/mail/%{{dest.user:lowercase}}\" virtual <virt> userbase <users>\n\
             match from any for domain \"example.com\" action \"in\"\n",
            hash = hash(),
        );
        Site { daemon: Daemon::start(env, &config) }
    }

    /// A client that has read the greeting of the `n`th SMTP listener.
    fn client(&self, n: usize) -> Client {
        let mut client = Client::connect(self.daemon.address("smtp", n));
        assert_eq!(client.reply().code, 220);
        client
    }

    /// The same, after EHLO.
    fn ehlo(&self, n: usize) -> Client {
        let mut client = self.client(n);
        assert_eq!(client.ask("EHLO c.example"), 250);
        client
    }

    /// A client on the port with implicit TLS, greeting read.
    fn smtps(&self) -> Client {
        let mut client = Client::connect(self.daemon.address("smtps", 0));
        client.start_tls();
        assert_eq!(client.reply().code, 220);
        assert_eq!(client.ask("EHLO c.example"), 250);
        client
    }
}

impl Site {
    /// What has been delivered to a user, once the queue is empty.
    fn mail(&self, name: &str) -> Vec<String> {
        self.daemon.drained();
        let new = self.daemon.dir.join("mail").join(name).join("new");
        let Ok(files) = std::fs::read_dir(new) else { return Vec::new() };
        let read = |f: std::io::Result<std::fs::DirEntry>| {
            std::fs::read_to_string(f.expect("a file").path()).expect("read")
        };
        files.map(read).collect()
    }

    /// The only message of a user.
    fn only(&self, name: &str) -> String {
        let mut all = self.mail(name);
        assert_eq!(all.len(), 1, "{name}: {all:?}\n{}", self.daemon.log());
        all.remove(0)
    }
}

/// Rests between tries of something that no event announces.
fn rest() {
    std::thread::sleep(Duration::from_millis(20));
}
