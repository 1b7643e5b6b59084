//! Signs that a signed message is being replayed.  RFC 6376 8.6.
//!
//! Who gets one message signed by a good domain can send it to millions, and
//! every copy verifies.  Nothing of that is an error: each sign is one for a
//! classifier.  A message that is old, that names none of those it is sent to,
//! or whose signature was seen again and again, is more likely a copy.
//! [`Seen`] remembers a bounded number of signatures; who keeps it decides how
//! long.

use std::collections::HashMap;

use super::signature::FieldIndex;
use super::Verified;
use crate::proto::limits;
use crate::proto::mime::unfold;

/// Seconds after which a signature is old: mail is not on its way for a week.
const OLD: u64 = 7 * 86_400;

/// True if the signature says that it is more than a week old.
pub fn is_old(verified: &Verified, now: u64) -> bool {
    verified.signed_at.is_some_and(|t| t.saturating_add(OLD) < now)
}

/// True if To or Cc names the recipient, ASCII case folded.
///
/// Lists, aliases and blind copies are not named either: one sign among others.
pub fn is_addressed(fields: &FieldIndex<'_>, recipient: &[u8]) -> bool {
    let recipient = recipient.to_ascii_lowercase();
    let outside = |b: Option<&u8>| {
        b.is_none_or(|b| matches!(b, b' ' | b'\t' | b'<' | b'>' | b',' | b';' | b':' | b'(' | b')'))
    };
    [&b"to"[..], b"cc"].iter().flat_map(|name| fields.named(name)).any(|field| {
        let value = unfold(field.value).to_ascii_lowercase();
        let mut found = memchr::memmem::find_iter(&value, &recipient);
        !recipient.is_empty()
            && found.any(|at| {
                let end = at.saturating_add(recipient.len());
                outside(at.checked_sub(1).and_then(|at| value.get(at))) && outside(value.get(end))
            })
    })
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

    #[test]
    fn who_is_not_named_in_to_or_cc_is_not_addressed() {
        let header = b"To: A <a@example.org>,\r\n\tb@example.org\r\nCC: (x) C@Example.org;\r\nFrom: f@e.f\r\n";
        let fields: Vec<Field<'_>> = Fields::new(header).collect();
        let index = FieldIndex::new(&fields);
        for named in ["a@example.org", "B@example.org", "c@example.org"] {
            assert!(is_addressed(&index, named.as_bytes()), "{named}");
        }
        for other in ["f@e.f", "z@example.org", "a@example.or", "@example.org", ""] {
            assert!(!is_addressed(&index, other.as_bytes()), "{other}");
        }
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
}
