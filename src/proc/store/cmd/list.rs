//! LIST.  RFC 3501 6.3.8; RFC 5258, RFC 5819, RFC 6154.

use super::status;
use crate::conf::ast::SpecialUse;
use crate::disk::maildir::name::SEPARATOR;
use crate::disk::maildir::{Name, Result};
use crate::proc::store::account::Account;
use crate::proc::store::session::{Ran, Session};
use crate::proto::imap::list::{List, Pattern};
use crate::proto::imap::response::{self, Attribute};
use crate::proto::text::mutf7;
use std::collections::{BTreeMap, BTreeSet};

/// A name of the hierarchy: a mailbox, or only the parent of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// There is such a mailbox.
    pub exists: bool,
    /// It has mailboxes below it.
    pub children: bool,
    /// It is subscribed.
    pub subscribed: bool,
    /// A name below it is subscribed.
    pub child_subscribed: bool,
    /// Its special use.
    pub special_use: Option<Attribute>,
}

/// The separator as a byte.
pub const DOT: u8 = b'.';

/// All names of an account, existing or subscribed, and the parents that they imply.
pub fn tree(account: &Account) -> Result<BTreeMap<String, Entry>> {
    let mut all: BTreeMap<String, Entry> = BTreeMap::new();
    for listed in account.list()? {
        for parent in parents(listed.name.as_str()) {
            all.entry(parent.to_owned()).or_default().children = true;
        }
        let entry = all.entry(listed.name.as_str().to_owned()).or_default();
        entry.exists = true;
        entry.special_use = listed.special_use.map(attribute);
    }
    for name in account.subscriptions()? {
        for parent in parents(name.as_str()) {
            all.entry(parent.to_owned()).or_default().child_subscribed = true;
        }
        all.entry(name.as_str().to_owned()).or_default().subscribed = true;
    }
    Ok(all)
}

/// `a.b` and `a` of `a.b.c`.
fn parents(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices(SEPARATOR).filter_map(|(at, _)| name.get(..at))
}

const fn attribute(of: SpecialUse) -> Attribute {
    match of {
        SpecialUse::All => Attribute::All,
        SpecialUse::Archive => Attribute::Archive,
        SpecialUse::Drafts => Attribute::Drafts,
        SpecialUse::Flagged => Attribute::Flagged,
        SpecialUse::Important => Attribute::Important,
        SpecialUse::Junk => Attribute::Junk,
        SpecialUse::Sent => Attribute::Sent,
        SpecialUse::Trash => Attribute::Trash,
    }
}

/// Lists names, and what else was asked for about each.
pub fn run(s: &mut Session, tag: &[u8], list: &List<'_>) -> Ran {
    // RFC 3501 6.3.8: an empty pattern asks for the separator.
    if !list.extended && list.patterns.iter().all(|p| p.is_empty()) {
        response::list(&mut s.out, &[Attribute::NoSelect], DOT, b"", false);
        return s.ok(tag, "List completed.");
    }
    let tree = match tree(&s.account) {
        Ok(tree) => tree,
        Err(e) => return s.fail(tag, &e),
    };
    let chosen = choose(&tree, list, &list.compile(DOT));
    for line in chosen {
        let wire = mutf7::encode(&line.name);
        response::list(&mut s.out, &line.attributes, DOT, &wire, line.child_info);
        if line.selectable && !list.returns.status.is_empty() {
            if let Ok(name) = Name::new(&line.name) {
                // RFC 5819 2: a mailbox whose STATUS fails is listed without it.
                if let Err(e) = status::write(s, &name, &list.returns.status) {
                    s.problem(&e);
                }
            }
        }
        s.flush_if_large()?;
    }
    s.ok(tag, "List completed.")
}

/// A LIST response.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: String,
    attributes: Vec<Attribute>,
    child_info: bool,
    selectable: bool,
}

/// The responses that a LIST has, in the order of the tree, INBOX first.
fn choose(tree: &BTreeMap<String, Entry>, list: &List<'_>, patterns: &[Pattern]) -> Vec<Line> {
    let matches = |name: &str| {
        let wire = mutf7::encode(name);
        patterns.iter().any(|p| p.matches(&wire))
    };
    let select = &list.select;
    // RFC 5258 3.5: a name that is not subscribed itself is told only for the
    // sake of a child that is not told.
    let for_a_child: BTreeSet<&str> = match select.subscribed && select.recursive_match {
        true => {
            let untold = tree.iter().filter(|(name, e)| e.subscribed && !matches(name));
            untold.flat_map(|(name, _)| parents(name)).collect()
        }
        false => BTreeSet::new(),
    };
    let mut lines = Vec::new();
    let inbox_first = tree
        .get_key_value("INBOX")
        .into_iter()
        .chain(tree.iter().filter(|(name, _)| *name != "INBOX"));
    for (name, entry) in inbox_first {
        if !matches(name) {
            continue;
        }
        let mut wanted = true;
        let mut child_info = false;
        if select.subscribed {
            wanted = entry.subscribed;
            if select.recursive_match && entry.child_subscribed {
                child_info = true;
                wanted |= for_a_child.contains(name.as_str());
            }
        } else if !entry.exists && !entry.children {
            // Only subscribed, or the parent of what is only subscribed.
            wanted = false;
        }
        if select.special_use {
            wanted &= entry.special_use.is_some();
        }
        if wanted {
            let attributes = attributes(entry, list);
            lines.push(Line {
                name: name.clone(),
                attributes,
                child_info,
                selectable: entry.exists,
            });
        }
    }
    lines
}

/// What is told about a name.  Without options: existence, children and use,
/// as clients of every age expect; RFC 6154 2 allows the last.
fn attributes(entry: &Entry, list: &List<'_>) -> Vec<Attribute> {
    let mut all = Vec::new();
    if !entry.exists {
        if list.extended {
            all.push(Attribute::NonExistent);
        } else {
            all.push(Attribute::NoSelect);
        }
    }
    if !list.extended || list.returns.children {
        let children = entry.children;
        all.push(if children { Attribute::HasChildren } else { Attribute::HasNoChildren });
    }
    if entry.subscribed && (list.select.subscribed || list.returns.subscribed) {
        all.push(Attribute::Subscribed);
    }
    if !list.extended || list.returns.special_use || list.select.special_use {
        all.extend(entry.special_use);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::cursor::Cursor;
    use crate::proto::testing::assert_linear;

    /// INBOX, Work with two children, Deep.a.b without parents, Junk with a
    /// use, and a subscription to Gone.x that does not exist.
    fn sample() -> BTreeMap<String, Entry> {
        let entry = |exists, children, subscribed, child_subscribed| Entry {
            exists,
            children,
            subscribed,
            child_subscribed,
            special_use: None,
        };
        let mut tree = BTreeMap::new();
        let mut add = |name: &str, e: Entry| tree.insert(name.to_owned(), e);
        add("INBOX", entry(true, false, true, false));
        add("Deep", entry(false, true, false, true));
        add("Deep.a", entry(false, true, false, true));
        add("Deep.a.b", entry(true, false, true, false));
        add("Gone", entry(false, false, false, true));
        add("Gone.x", entry(false, false, true, false));
        add("Work", entry(true, true, false, false));
        add("Work.one", entry(true, false, false, false));
        let junk = Entry { special_use: Some(Attribute::Junk), ..entry(true, false, true, false) };
        add("Junk", junk);
        tree
    }

    fn lines(arguments: &str) -> Vec<String> {
        let list = List::parse(&mut Cursor::new(arguments.as_bytes())).unwrap();
        let patterns = list.compile(DOT);
        choose(&sample(), &list, &patterns)
            .iter()
            .map(|line| {
                let names: Vec<&str> = line.attributes.iter().map(|a| a.name()).collect();
                let info = if line.child_info { " CHILDINFO" } else { "" };
                format!("{} {}{info}", line.name, names.join(" "))
            })
            .collect()
    }

    #[test]
    fn parents_that_do_not_exist_are_shown_and_cannot_be_selected() {
        assert_eq!(
            lines("\"\" *"),
            [
                "INBOX \\HasNoChildren",
                "Deep \\Noselect \\HasChildren",
                "Deep.a \\Noselect \\HasChildren",
                "Deep.a.b \\HasNoChildren",
                "Junk \\HasNoChildren \\Junk",
                "Work \\HasChildren",
                "Work.one \\HasNoChildren",
            ]
        );
        assert_eq!(lines("\"\" %").len(), 4);
        assert_eq!(lines("Work. %"), ["Work.one \\HasNoChildren"]);
        assert_eq!(lines("\"\" inbox"), ["INBOX \\HasNoChildren"]);
    }

    #[test]
    fn subscribed_names_need_not_exist() {
        assert_eq!(
            lines("(SUBSCRIBED) \"\" *"),
            [
                "INBOX \\Subscribed",
                "Deep.a.b \\Subscribed",
                "Gone.x \\NonExistent \\Subscribed",
                "Junk \\Subscribed",
            ]
        );
    }

    #[test]
    fn recursive_match_tells_of_children_that_do_not_match() {
        assert_eq!(
            lines("(SUBSCRIBED RECURSIVEMATCH) \"\" %"),
            [
                "INBOX \\Subscribed",
                "Deep \\NonExistent CHILDINFO",
                "Gone \\NonExistent CHILDINFO",
                "Junk \\Subscribed",
            ]
        );
        let all = lines("(SUBSCRIBED RECURSIVEMATCH) \"\" *");
        assert!(!all.iter().any(|l| l.starts_with("Deep ")), "{all:?}");
    }

    /// Names below names, all of them to be told for the sake of their children.
    #[test]
    fn recursive_match_looks_at_each_name_a_few_times() {
        let list = |tree: &BTreeMap<String, Entry>| {
            let text = b"(SUBSCRIBED RECURSIVEMATCH) \"\" %";
            let list = List::parse(&mut Cursor::new(text)).unwrap();
            choose(tree, &list, &list.compile(DOT)).len()
        };
        assert_linear(|n| {
            let mut tree = BTreeMap::new();
            let names = n / 100;
            for i in 0..names {
                let parent = Entry { child_subscribed: true, children: true, ..Entry::default() };
                tree.insert(format!("a{i}"), parent);
                tree.insert(format!("a{i}.b"), Entry { subscribed: true, ..Entry::default() });
            }
            assert_eq!(list(&tree), names);
        });
    }

    #[test]
    fn return_options_add_attributes() {
        assert_eq!(
            lines("\"\" (Junk Work) RETURN (SUBSCRIBED CHILDREN SPECIAL-USE)"),
            ["Junk \\HasNoChildren \\Subscribed \\Junk", "Work \\HasChildren"]
        );
        assert_eq!(lines("(SPECIAL-USE) \"\" *"), ["Junk \\Junk"]);
        assert_eq!(lines("\"\" Work RETURN ()"), ["Work "]);
    }
}
