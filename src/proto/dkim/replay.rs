//! Signs that a signed message is being replayed.  RFC 6376 8.6.
//!
//! Who gets one message signed by a good domain can send it to millions, and
//! every copy verifies.  Nothing of that is an error: each sign is one for a
//! classifier.  A message that is old, that names none of those it is sent to,
//! or whose signature was seen again and again, is more likely a copy.
//! [`Seen`] remembers a bounded number of signatures; who keeps it decides how
//! long.

use std::collections::{HashMap, HashSet};

use super::signature::FieldIndex;
use super::{Verdict, Verified};
use crate::proto::addr::list;
use crate::proto::limits;

/// Seconds after which a signature is old: mail is not on its way for a week.
const OLD: u64 = 7 * 86_400;

/// What a message that is being received shows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Signs {
    /// A signature that passes says that it is more than a week old.
    pub old: bool,
    /// Recipients that no signed To or Cc names.  Lists, aliases and blind
    /// copies are not named either: one sign among others.
    pub unaddressed: usize,
    /// Recipients who had the same signed message before, in other
    /// transactions; of several signatures the one seen most often.
    pub copies: u32,
}

/// Looks for the signs in a message for these recipients, and notes it in `seen`.
///
/// Only signatures that pass count: without one there is nothing to replay, and
/// no sign.  `recipients` are the forward-paths without angle brackets.
pub fn signs(
    results: &[Verified],
    fields: &FieldIndex<'_>,
    recipients: &[&[u8]],
    now: u64,
    seen: &mut Seen,
) -> Signs {
    let passing = || results.iter().filter(|v| v.verdict == Verdict::Pass);
    if passing().next().is_none() {
        return Signs::default();
    }
    let mut named = HashSet::new();
    for verified in passing() {
        let signed = [(&b"to"[..], verified.signed_to), (b"cc", verified.signed_cc)];
        for (name, count) in signed {
            // Signed are the lowest: what a replayer adds stands above them.
            for field in fields.named(name).iter().rev().take(count) {
                named.extend(list::mailboxes(field.value).map(|m| address(&m.local, &m.domain)));
            }
        }
    }
    let unaddressed = recipients.iter().filter(|path| {
        let at = memchr::memrchr(b'@', path).unwrap_or(path.len());
        let (local, domain) = path.split_at_checked(at).unwrap_or((path, &[]));
        !named.contains(&address(local, domain.get(1..).unwrap_or_default()))
    });
    let count = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
    Signs {
        old: passing().any(|v| is_old(v, now)),
        unaddressed: unaddressed.count(),
        copies: passing().map(|v| seen.note(v, count)).max().unwrap_or(0),
    }
}

/// An address to be compared: without quotes, ASCII case folded.
fn address(local: &[u8], domain: &[u8]) -> Vec<u8> {
    let local = local.strip_prefix(b"\"").and_then(|l| l.strip_suffix(b"\"")).unwrap_or(local);
    [local, b"@", domain].concat().to_ascii_lowercase()
}

/// True if the signature says that it is more than a week old.
pub fn is_old(verified: &Verified, now: u64) -> bool {
    verified.signed_at.is_some_and(|t| t.saturating_add(OLD) < now)
}

/// What tells one signed message: `d=`, `s=` and `bh=`.
type Key = (String, String, [u8; 32]);

/// How often signatures were seen, the latest [`limits::DKIM_SEEN`] of them.
#[derive(Debug, Default)]
pub struct Seen {
    /// Recipients so far, and when the signature was last seen.
    signatures: HashMap<Key, (u32, u64)>,
    /// Counts what is noted.
    clock: u64,
}

impl Seen {
    /// Notes a signature that passed, and so many recipients; gives how many had
    /// the same message before, in other transactions.
    pub fn note(&mut self, verified: &Verified, recipients: u32) -> u32 {
        let Some(body_hash) = verified.body_hash else { return 0 };
        self.clock = self.clock.saturating_add(1);
        let key = (verified.domain.clone(), verified.selector.clone(), body_hash);
        if self.signatures.len() >= limits::DKIM_SEEN.size() && !self.signatures.contains_key(&key)
        {
            self.forget_half();
        }
        let entry = self.signatures.entry(key).or_default();
        let before = entry.0;
        *entry = (before.saturating_add(recipients), self.clock);
        before
    }

    /// How many signatures are remembered.
    pub fn len(&self) -> usize {
        self.signatures.len()
    }

    /// True at the beginning.
    pub fn is_empty(&self) -> bool {
        self.signatures.is_empty()
    }

    /// The half that was seen least lately goes at once, so that room costs no
    /// search for each signature.
    fn forget_half(&mut self) {
        let mut times: Vec<u64> = self.signatures.values().map(|(_, at)| *at).collect();
        times.sort_unstable();
        let median = times.get(times.len() / 2).copied().unwrap_or(u64::MAX);
        self.signatures.retain(|_, (_, at)| *at >= median);
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Algorithm, Verdict};
    use super::*;
    use crate::proto::mime::{Field, Fields};
    use crate::proto::testing::assert_linear;

    fn verified(domain: &str, body: u8, signed_at: Option<u64>) -> Verified {
        Verified {
            verdict: Verdict::Pass,
            fault: None,
            domain: domain.into(),
            selector: "s".into(),
            algorithm: Some(Algorithm::RsaSha256),
            b_prefix: String::new(),
            key_bits: Some(2048),
            signed_at,
            body_hash: Some([body; 32]),
            signed_to: 1,
            signed_cc: 1,
        }
    }

    #[test]
    fn a_signature_is_old_after_a_week() {
        let now = 10_000_000;
        assert!(!is_old(&verified("a.b", 1, Some(now - 604_800)), now));
        assert!(is_old(&verified("a.b", 1, Some(now - 604_801)), now));
        assert!(!is_old(&verified("a.b", 1, None), now), "not dated");
        assert!(!is_old(&verified("a.b", 1, Some(u64::MAX)), now));
    }

    fn unaddressed(header: &[u8], verified: &Verified, recipients: &[&str]) -> usize {
        let fields: Vec<Field<'_>> = Fields::new(header).collect();
        let recipients: Vec<&[u8]> = recipients.iter().map(|r| r.as_bytes()).collect();
        let results = std::slice::from_ref(verified);
        let seen = &mut Seen::default();
        signs(results, &FieldIndex::new(&fields), &recipients, 0, seen).unaddressed
    }

    #[test]
    fn who_is_not_named_in_a_signed_to_or_cc_is_not_addressed() {
        let header = b"To: A <a@example.org>,\r\n\tb@example.org, \"x y\"@example.org\r\n\
            CC: (x) C@Example.org;\r\nFrom: f@e.f\r\n";
        let signed = verified("a.b", 1, None);
        for named in ["a@example.org", "B@example.org", "c@example.org", "\"X Y\"@example.org"] {
            assert_eq!(unaddressed(header, &signed, &[named]), 0, "{named}");
        }
        for other in ["f@e.f", "z@example.org", "a@example.or", "@example.org", ""] {
            assert_eq!(unaddressed(header, &signed, &[other, "a@example.org"]), 1, "{other}");
        }
        let neither = Verified { signed_to: 0, signed_cc: 0, ..signed.clone() };
        assert_eq!(unaddressed(header, &neither, &["a@example.org", "c@example.org"]), 2);
        // A To that was put on top is not the signed one.
        let added = [b"To: victim@example.net\r\n", &header[..]].concat();
        assert_eq!(unaddressed(&added, &signed, &["victim@example.net", "a@example.org"]), 1);
    }

    #[test]
    fn copies_are_counted_by_domain_selector_and_body() {
        let mut seen = Seen::default();
        assert_eq!(seen.note(&verified("a.b", 1, None), 3), 0);
        assert_eq!(seen.note(&verified("a.b", 1, None), 1), 3);
        assert_eq!(seen.note(&verified("a.b", 2, None), 1), 0, "another body");
        assert_eq!(seen.note(&verified("c.d", 1, None), 1), 0, "another domain");
        assert_eq!(seen.note(&verified("a.b", 1, None), 1), 4);
        let unread = Verified { body_hash: None, ..verified("a.b", 1, None) };
        assert_eq!((seen.note(&unread, 1), seen.len()), (0, 3));
    }

    #[test]
    fn a_message_without_a_signature_that_passes_has_no_sign_and_is_not_noted() {
        let index = FieldIndex::new(&[]);
        let mut seen = Seen::default();
        let failed = Verified { verdict: Verdict::Fail, ..verified("a.b", 1, Some(0)) };
        let rcpt: &[&[u8]] = &[b"a@example.org"];
        assert_eq!(signs(&[failed], &index, rcpt, 10_000_000, &mut seen), Signs::default());
        assert!(seen.is_empty());
        let both = [verified("a.b", 1, Some(0)), verified("c.d", 1, None)];
        let first = signs(&both, &index, rcpt, 10_000_000, &mut seen);
        assert_eq!(first, Signs { old: true, unaddressed: 1, copies: 0 });
        assert_eq!(signs(&both, &index, rcpt, 10_000_000, &mut seen).copies, 1);
    }

    #[test]
    fn what_is_remembered_is_bounded_and_the_latest_stay() {
        let mut seen = Seen::default();
        let most = limits::DKIM_SEEN.size();
        for i in 0..most * 3 {
            seen.note(&verified(&format!("d{i}.example"), 1, None), 1);
            seen.note(&verified("kept.example", 1, None), 1);
            assert!(seen.len() <= most);
        }
        assert_eq!(seen.note(&verified("kept.example", 1, None), 1) as usize, most * 3);
    }

    #[test]
    fn time_doubles_with_the_recipients_and_with_the_field() {
        let signed = verified("a.b", 1, None);
        assert_linear(|n| {
            let header = format!("To: {}\r\n", "a@b.c, ".repeat(n / 7));
            let recipients = vec!["x@y.z"; n / 16];
            std::hint::black_box(unaddressed(header.as_bytes(), &signed, &recipients));
        });
    }
}
