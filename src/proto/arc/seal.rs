//! Adding a set to a chain.  RFC 8617 5.1.
//!
//! Tags are written in alphabetical order, and a signature on one line: the
//! seals of others cover these fields with their white space, and what has none
//! cannot be changed on the way.

use super::verify::{instance_of_results, instance_of_tags};
use super::Validation;
use crate::proto::dkim::signature::digest;
use crate::proto::dkim::signature::FieldIndex;
use crate::proto::dkim::tag::TagList;
use crate::proto::dkim::{Algorithm, Canon, Sha256};
use crate::proto::limits;
use crate::proto::mime::field::unfold;
use crate::proto::text::base64;

/// What is sealed as whom.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// `d=`
    pub domain: &'a str,
    /// `s=`
    pub selector: &'a str,
    /// `a=`
    pub algorithm: Algorithm,
    /// `t=`, seconds since 1970.
    pub now: u64,
    /// The state of the chain as it came in.
    pub validation: Validation,
    /// Our results, from the authserv-id on: the value of our field.
    pub results: &'a str,
    /// `h=` of the message signature, lower case.  Fields of ARC and
    /// Authentication-Results, which the next host removes, are left out.
    pub headers: &'a [String],
}

/// The three fields of a set, each with its final CRLF, in the order in which
/// they are put on top of the message: seal, message signature, results.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Set {
    /// ARC-Seal
    pub seal: Vec<u8>,
    /// ARC-Message-Signature
    pub message: Vec<u8>,
    /// ARC-Authentication-Results
    pub results: Vec<u8>,
}

/// Makes the next set.
///
/// `None` if the chain says of itself that it failed, or is full: nothing is
/// added then.  RFC 8617 5.1, step 1.  `body_hash` is that of the relaxed
/// canonical body; `signer` signs a digest, and its error is returned.
pub fn seal<D: Sha256, E>(
    index: &FieldIndex<'_>,
    body_hash: &[u8; 32],
    request: &Request<'_>,
    mut signer: impl FnMut(&[u8; 32]) -> Result<Vec<u8>, E>,
) -> Result<Option<Set>, E> {
    let failed =
        |value: &[u8]| TagList::parse(value).is_ok_and(|tags| tags.get(b"cv") == Some(b"fail"));
    let newest = newest_instance(index);
    let room = usize::try_from(newest).is_ok_and(|newest| newest < limits::ARC_SETS.size());
    if !room || index.named(b"arc-seal").iter().any(|s| failed(s.value)) {
        return Ok(None);
    }
    let instance = newest.saturating_add(1);
    let unfolded = unfold(request.results.as_bytes());
    let text = String::from_utf8_lossy(unfolded.trim_ascii()).into_owned();
    let results = format!("ARC-Authentication-Results: i={instance}; {text}\r\n").into_bytes();

    let algorithm = request.algorithm.word();
    // RFC 8617 4.1.2.
    let signable = |name: &&String| !name.starts_with("arc-") && *name != "authentication-results";
    let signed: Vec<&String> = request.headers.iter().filter(signable).collect();
    let headers = signed.iter().map(|n| n.as_str()).collect::<Vec<_>>().join(":");
    let bh = String::from_utf8_lossy(&base64::encode(body_hash)).into_owned();
    let (domain, selector, now) = (request.domain, request.selector, request.now);
    let before = format!("ARC-Message-Signature: a={algorithm};\r\n\tb=");
    let after = format!(
        ";\r\n\tbh={bh};\r\n\tc=relaxed/relaxed; d={domain};\r\n\th={headers};\r\n\ti={instance}; s={selector}; t={now}"
    );
    let selected = index.select(signed.iter().map(|h| h.as_bytes()), usize::MAX);
    let own = format!("{before}{after}");
    let signature = signer(&digest::<D>(Canon::Relaxed, &selected, own.as_bytes()))?;
    let message = join(&before, &signature, &after);

    let before = format!("ARC-Seal: a={algorithm};\r\n\tb=");
    let after = format!(
        ";\r\n\tcv={}; d={domain}; i={instance}; s={selector};\r\n\tt={now}",
        request.validation.word()
    );
    let mut covered: Vec<Vec<u8>> = Vec::new();
    // A chain that failed is sealed by its last set alone.  5.1.2.
    if request.validation != Validation::Fail {
        covered.extend(earlier_sets(index, newest));
    }
    covered.extend([results.clone(), message.clone()]);
    let covered: Vec<&[u8]> = covered.iter().map(Vec::as_slice).collect();
    let own = format!("{before}{after}");
    let signature = signer(&digest::<D>(Canon::Relaxed, &covered, own.as_bytes()))?;
    let seal = join(&before, &signature, &after);
    Ok(Some(Set { seal, message, results }))
}

fn join(before: &str, signature: &[u8], after: &str) -> Vec<u8> {
    let mut out = before.as_bytes().to_vec();
    out.extend_from_slice(&base64::encode(signature));
    out.extend_from_slice(after.as_bytes());
    out.extend_from_slice(b"\r\n");
    out
}

/// Reads `i=` of a field's value.
type Instance = fn(&[u8]) -> Option<u64>;

/// The fields of a set in the order of a seal.
const SET: [(&[u8], Instance); 3] = [
    (b"arc-authentication-results", instance_of_results),
    (b"arc-message-signature", instance_of_tags),
    (b"arc-seal", instance_of_tags),
];

/// The highest instance that a field has; 0 without a chain.  A chain that failed
/// may have gaps.  RFC 8617 4.2.1.
fn newest_instance(index: &FieldIndex<'_>) -> u64 {
    let instances = SET.iter().flat_map(|(name, instance)| {
        index.named(name).iter().filter_map(|field| instance(field.value))
    });
    instances.max().unwrap_or(0)
}

/// The fields of the sets before ours, by instance, in the order of a seal.
fn earlier_sets(index: &FieldIndex<'_>, newest: u64) -> Vec<Vec<u8>> {
    let mut fields = Vec::new();
    for i in 1..=newest {
        for (name, instance) in SET {
            let found = index.named(name).iter().find(|f| instance(f.value) == Some(i));
            fields.extend(found.map(|f| f.raw.to_vec()));
        }
    }
    fields
}

/// The results of our own fields as one value: what `results` of a [`Request`]
/// takes when a message already carries them.  `none` stands alone.  RFC 8601 2.2.
pub fn own_results(index: &FieldIndex<'_>, ours: &str) -> String {
    let mut parts = Vec::new();
    for field in index.named(b"authentication-results") {
        if !crate::proto::authres::is_ours(field.value, ours) {
            continue;
        }
        let text = String::from_utf8_lossy(&unfold(field.value)).into_owned();
        let results = text.split_once(';').map_or("", |(_, results)| results.trim());
        if !results.is_empty() && !results.eq_ignore_ascii_case("none") {
            parts.push(results.to_string());
        }
    }
    let results = if parts.is_empty() { "none".to_string() } else { parts.join("; ") };
    format!("{ours}; {results}")
}
