//! LSUB.  RFC 3501 6.3.9.

use super::list::{tree, Entry, DOT};
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::list::List;
use crate::proto::imap::response::{self, Attribute};
use crate::proto::text::mutf7;

/// Lists subscribed names.  With a pattern that ends in `%`, a parent of what
/// is subscribed is told with `\Noselect` if it is not subscribed itself.
pub fn run(s: &mut Session, tag: &[u8], list: &List<'_>) -> Ran {
    if list.patterns.iter().all(|p| p.is_empty()) {
        response::lsub(&mut s.out, &[Attribute::NoSelect], DOT, b"");
        return s.ok(tag, "Lsub completed.");
    }
    let tree = match tree(&s.account) {
        Ok(tree) => tree,
        Err(e) => return s.fail(tag, &e),
    };
    let patterns = list.compile(DOT);
    for (name, entry) in &tree {
        let wire = mutf7::encode(name);
        let Some(pattern) = patterns.iter().find(|p| p.matches(&wire)) else { continue };
        if let Some(attributes) = told(entry, pattern.ends_in_percent()) {
            response::lsub(&mut s.out, &attributes, DOT, &wire);
            s.flush_if_large()?;
        }
    }
    s.ok(tag, "Lsub completed.")
}

/// The attributes of a name that is told.
fn told(entry: &Entry, percent: bool) -> Option<Vec<Attribute>> {
    if entry.subscribed {
        return Some(if entry.exists { Vec::new() } else { vec![Attribute::NoSelect] });
    }
    (percent && entry.child_subscribed).then(|| vec![Attribute::NoSelect])
}
