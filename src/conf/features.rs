//! What of the language works now and what is refused, as `rmaild -n -v` prints it.
//!
//! regress/config has a file for each row, named after it.

use super::parse::{Failed, Parsed, Parser};

/// A row: what an administrator may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Feature {
    /// The statement or option.
    pub name: &'static str,
    /// True: it works.  False: "not supported yet".
    pub works: bool,
}

const fn works(name: &'static str) -> Feature {
    Feature { name, works: true }
}

const fn not_yet(name: &'static str) -> Feature {
    Feature { name, works: false }
}

/// Both lists, in the order of rmail.conf(5).
pub const FEATURES: &[Feature] = &[
    works("macro"),
    works("include"),
    works("action expand-only"),
    works("action forward-only"),
    works("action lmtp"),
    works("action lmtp rcpt-to"),
    works("action maildir"),
    works("action maildir junk"),
    works("action mbox"),
    works("action mda"),
    works("action relay"),
    works("action relay auth"),
    works("action relay backup"),
    works("action relay ca"),
    works("action relay ciphers"),
    works("action relay domain"),
    works("action relay helo"),
    works("action relay helo-src"),
    works("action relay host"),
    works("action relay mail-from"),
    works("action relay pki"),
    works("action relay protocols"),
    works("action relay src"),
    works("action relay tls"),
    works("action alias"),
    works("action ttl"),
    works("action user"),
    works("action userbase"),
    works("action virtual"),
    works("action wrapper"),
    works("admd"),
    works("bounce warn-interval"),
    works("ca"),
    works("hostname"),
    works("limit"),
    works("listen on"),
    works("listen on auth"),
    works("listen on auth-optional"),
    works("listen on ca"),
    works("listen on ciphers"),
    works("listen on hostname"),
    works("listen on hostnames"),
    works("listen on imap"),
    works("listen on imaps"),
    works("listen on inet4"),
    works("listen on inet6"),
    works("listen on lmtp"),
    works("listen on mask-src"),
    works("listen on no-dsn"),
    works("listen on pki"),
    works("listen on port"),
    works("listen on protocols"),
    works("listen on received-auth"),
    works("listen on senders"),
    works("listen on smtps"),
    works("listen on socket"),
    works("listen on tag"),
    works("listen on tls"),
    works("listen on tls-require"),
    works("listen on verify"),
    works("mailbox"),
    works("mailbox root"),
    works("match"),
    works("match auth"),
    works("match for any"),
    works("match for domain"),
    works("match for local"),
    works("match for rcpt-to"),
    works("match from any"),
    works("match from auth"),
    works("match from local"),
    works("match from mail-from"),
    works("match from rdns"),
    works("match from socket"),
    works("match from src"),
    works("match helo"),
    works("match mail-from"),
    works("match rcpt-to"),
    works("match regex"),
    works("match reject"),
    works("match tag"),
    works("match tls"),
    works("mda limit max-session"),
    works("mda limit max-session-per-user"),
    works("mda wrapper"),
    works("mta max-deferred"),
    works("pki"),
    works("pki dhe none"),
    works("queue compression"),
    works("queue directory"),
    works("queue encryption"),
    works("queue retry"),
    works("queue ttl"),
    works("resolver"),
    works("smtp ciphers"),
    works("smtp limit"),
    works("smtp max-message-size"),
    works("smtp sub-addr-delim"),
    works("socket"),
    works("table file"),
    works("table inline"),
    works("table passwd"),
    not_yet("action relay filter"),
    not_yet("action relay srs"),
    not_yet("filter"),
    not_yet("listen on auth without a table"),
    not_yet("listen on filter"),
    not_yet("listen on proxy-v2"),
    not_yet("listen on senders masquerade"),
    not_yet("listen on socket filter"),
    not_yet("mda limit task-hiwat"),
    not_yet("mda limit task-lowat"),
    not_yet("mda limit task-release"),
    not_yet("mta limit"),
    not_yet("pki dhe auto"),
    not_yet("pki dhe legacy"),
    not_yet("proc"),
    not_yet("queue encryption from stdin"),
    not_yet("scheduler limit"),
    not_yet("srs"),
    not_yet("state directory"),
    not_yet("table db"),
    not_yet("table external"),
];

/// Refuses a whole statement, whose rest is skipped.
pub(super) fn refuse(p: &mut Parser<'_>, name: &'static str, way_out: &str) -> Parsed<()> {
    refused(p, name, way_out);
    p.skip_statement();
    Ok(())
}

/// Records at the next token that a part of a statement does not work yet.
pub(super) fn refused(p: &mut Parser<'_>, name: &'static str, way_out: &str) {
    debug_assert!(FEATURES.contains(&not_yet(name)), "{name} has no row");
    let at = p.here();
    p.error_at(at, format!("{name}: not supported yet: {way_out}"));
}

/// The same, where nothing sensible can follow.
pub(super) fn refused_here<T>(p: &mut Parser<'_>, name: &'static str, way_out: &str) -> Parsed<T> {
    refused(p, name, way_out);
    p.skip_statement();
    Err(Failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, a) in FEATURES.iter().enumerate() {
            assert!(FEATURES[i + 1..].iter().all(|b| b.name != a.name), "{}", a.name);
        }
    }
}
