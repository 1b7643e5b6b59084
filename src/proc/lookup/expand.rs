//! Expansion: from the address of a RCPT to where its mail goes.
//!
//! A recipient meets the rules; an action with aliases turns it into users,
//! other addresses (which meet the rules again, as this machine's own), files
//! and commands.  smtpd does the same, with the same bounds: ten levels deep,
//! and one bad branch refuses the whole recipient, so that nobody believes that
//! a list was reached which was not.
//!
//! Iterative over a list of work; whatever has been seen is not done again, so
//! a circle ends.

use super::own::Own;
use super::rules::{Facts, Rules};
use super::users::Users;
use crate::base::clock::Deadline;
use crate::base::crypto::sha256;
use crate::conf::ast::{Action, Aliases, Deliver, Local, Method, TableRef};
use crate::disk::aliases::{self, Item};
use crate::disk::table::{Service, Unavailable, Value};
use crate::ipc::queue_lookup::NoOpening;
use crate::ipc::smtp_lookup::{AliasItem, Destination, Origin, Verdict};
use crate::proto::addr::{split_detail, Charset, Domain, Mailbox};
use crate::proto::limits;
use std::collections::{HashSet, VecDeque};

/// What expansion needs.
#[derive(Clone, Copy)]
pub struct Expander<'a> {
    /// Rules and tables.
    pub rules: Rules<'a>,
    /// The users.
    pub users: &'a dyn Users,
    /// rmail's own.
    pub own: &'a Own,
}

/// A piece of work.
struct Node<'a> {
    what: What<'a>,
    depth: u64,
}

enum What<'a> {
    /// An address that meets the rules.
    Address { address: Mailbox, internal: bool, must_leave: bool },
    /// A name within a local action: an alias or a user.
    /// `from`: the keys of the aliases that led to it.
    Name { name: String, action: &'a Action, local: &'a Local, dest: Mailbox, from: Vec<String> },
}

/// Why expansion ends early: the whole recipient's fate.
type Ended = Verdict;

/// What the log says of aliases that lead to nobody but each other.
const CIRCLE: &str = "aliases lead in a circle";

/// So many circles are told of at once.
const TOLD: usize = 20;

/// Nobody has this address, and why: for the log.
fn nobody(why: impl Into<String>) -> Ended {
    Verdict::NoSuchUser { why: why.into() }
}

/// A table of aliases as the log names it.
fn named(table: &TableRef) -> String {
    match table {
        TableRef::Named(name) => format!("not in <{name}>"),
        TableRef::Inline(_) => "not in the table of its action".to_string(),
    }
}

fn unavailable(e: Unavailable) -> Ended {
    Verdict::Unavailable { why: e.0 }
}

impl<'a> Expander<'a> {
    /// Expands one recipient of a session, or (`internal`) an address that the
    /// daemon itself sends to.  Blocks up to `deadline`, for tables and users.
    pub fn expand(
        &self,
        origin: &Origin,
        internal: bool,
        sender: &str,
        rcpt: &Mailbox,
        deadline: Deadline,
    ) -> Verdict {
        let what = What::Address { address: rcpt.clone(), internal, must_leave: false };
        self.from(what, origin, sender, rcpt.to_string(), deadline)
    }

    /// Expands from here on.
    fn from(
        &self,
        what: What<'a>,
        origin: &Origin,
        sender: &str,
        rcpt: String,
        deadline: Deadline,
    ) -> Verdict {
        let (seen, to) = (HashSet::new(), Vec::new());
        let work = VecDeque::from([Node { what, depth: 0 }]);
        let mut run = Run { x: *self, origin, sender, rcpt, deadline, work, seen, to };
        match run.all() {
            Ok(()) if run.to.is_empty() => Verdict::Loop { why: CIRCLE.to_string() },
            Ok(()) => Verdict::Accepted { to: run.to },
            Err(ended) => ended,
        }
    }

    /// Each alias, or virtual address, whose mail reaches nobody since aliases lead
    /// in a circle: a line for the administrator, of the first few.
    pub fn check_aliases(&self, deadline: Deadline) -> Vec<String> {
        let mut lines = Vec::new();
        for action in self.rules.config.actions() {
            let Method::Local(local) = &action.method else { continue };
            let Some(Aliases::Alias(table) | Aliases::Virtual(table)) = &local.aliases else {
                continue;
            };
            let keys = self.rules.tables.of(table, false).and_then(|t| t.fetch(deadline));
            for key in keys.unwrap_or_default() {
                if deadline.expired() {
                    lines.push(format!("{key} and others: aliases were not followed in time"));
                    return lines;
                }
                let Some(why) = self.astray(action, local, &key, deadline) else { continue };
                let line = match table {
                    TableRef::Named(name) => format!("<{name}> {key}: {why}"),
                    TableRef::Inline(_) => format!("action \"{}\": {key}: {why}", action.name),
                };
                // Two actions may have one table.
                if lines.len() < TOLD && !lines.contains(&line) {
                    lines.push(line);
                }
            }
        }
        lines
    }

    /// Why mail for an alias goes in a circle, if it does.
    fn astray(
        &self,
        action: &'a Action,
        local: &'a Local,
        key: &str,
        deadline: Deadline,
    ) -> Option<String> {
        let is_virtual = matches!(local.aliases, Some(Aliases::Virtual(_)));
        // A domain, or what is left of one, is no address to begin with.
        let address =
            if is_virtual { key.to_string() } else { format!("{key}@{}", self.rules.server) };
        let dest =
            address_of(&address, self.rules.server).filter(|_| key.contains('@') == is_virtual)?;
        let what = match is_virtual {
            true => What::Address { address: dest, internal: true, must_leave: false },
            false => What::Name { name: key.to_string(), action, local, dest, from: Vec::new() },
        };
        match self.from(what, &Origin::default(), "", address, deadline) {
            Verdict::Loop { why } => Some(why),
            Verdict::NoSuchUser { why } if why == CIRCLE => Some(why),
            _ => None,
        }
    }

    /// The items of an alias of this action, and its key.
    pub fn alias(
        &self,
        table: &TableRef,
        keys: &[String],
        deadline: Deadline,
    ) -> Result<Option<(String, Vec<Item>)>, Unavailable> {
        for key in keys {
            let found = self.rules.tables.ask(table, Service::Mapping, key, deadline)?;
            let Some(Value::Text(value)) = found else { continue };
            let items = aliases::parse_value(&value);
            let items = items.map_err(|e| Unavailable(format!("alias {key}: {e}")))?;
            return Ok(Some((key.clone(), self.with_includes(key, items)?)));
        }
        Ok(None)
    }

    /// Puts the contents of `:include:` files in their place; they do not nest.
    fn with_includes(&self, key: &str, items: Vec<Item>) -> Result<Vec<Item>, Unavailable> {
        let mut all = Vec::new();
        for item in items {
            let Item::Include(path) = item else {
                all.push(item);
                continue;
            };
            let bad = |why: String| Unavailable(format!("alias {key}: include {path}: {why}"));
            let bytes = self.rules.tables.include(&path).ok_or_else(|| bad("not loaded".into()))?;
            let text = std::str::from_utf8(bytes).map_err(|_| bad("not UTF-8".into()))?;
            let included = aliases::parse_file(text).map_err(|e| bad(e.to_string()))?;
            if included.iter().any(|i| matches!(i, Item::Include(_))) {
                return Err(bad("an include inside an include".into()));
            }
            all.extend(included);
        }
        Ok(all)
    }
}

/// One expansion.
struct Run<'a, 'f> {
    x: Expander<'a>,
    origin: &'f Origin,
    sender: &'f str,
    /// As envelopes have it.
    rcpt: String,
    deadline: Deadline,
    work: VecDeque<Node<'a>>,
    seen: HashSet<String>,
    to: Vec<Destination>,
}

impl<'a> Run<'a, '_> {
    fn all(&mut self) -> Result<(), Ended> {
        let mut nodes = 0u64;
        while let Some(Node { what, depth }) = self.work.pop_front() {
            nodes += 1;
            let (levels, most) = (limits::EXPANSION_DEPTH.default, limits::EXPANSION_NODES.default);
            if depth > levels {
                return Err(Verdict::Loop { why: format!("more than {levels} levels of aliases") });
            }
            if nodes > most {
                return Err(Verdict::Loop { why: format!("more than {most} addresses") });
            }
            match what {
                What::Address { address, internal, must_leave } => {
                    self.address(address, internal, must_leave, depth)?;
                }
                What::Name { name, action, local, dest, from } => {
                    self.name(name, action, local, dest, from, depth)?;
                }
            }
        }
        Ok(())
    }

    fn address(
        &mut self,
        address: Mailbox,
        internal: bool,
        must_leave: bool,
        depth: u64,
    ) -> Result<(), Ended> {
        if !self.seen.insert(format!("@{}", address.key())) {
            return Ok(());
        }
        let facts = Facts { origin: self.origin, internal, sender: self.sender, rcpt: &address };
        let rule = self.x.rules.evaluate(&facts, self.deadline).map_err(unavailable)?;
        let denied = |why: &str| Verdict::Denied { why: why.to_string() };
        let name = match rule {
            None => return Err(denied("no rule takes it")),
            Some(m) => m.action.as_ref().ok_or_else(|| denied("a rule rejects it"))?,
        };
        let Some(action) = self.x.rules.config.action(name) else {
            return Err(Verdict::Unavailable { why: format!("no action \"{name}\"") });
        };
        let local = match &action.method {
            Method::Relay(_) => {
                self.accept(destination(action, &address, None, None));
                return Ok(());
            }
            Method::Local(_) if must_leave => {
                return Err(denied("forward-only, and it leads to an address here"));
            }
            Method::Local(local) => local,
        };
        let Some(Aliases::Virtual(table)) = &local.aliases else {
            let name = address.local().to_string();
            let what = What::Name { name, action, local, dest: address, from: Vec::new() };
            self.work.push_back(Node { what, depth });
            return Ok(());
        };
        let keys = virtual_keys(&address, self.x.rules.config.sub_addr_delim());
        match self.x.alias(table, &keys, self.deadline).map_err(unavailable)? {
            None => Err(nobody(named(table))),
            Some((key, items)) => self.items(&key, items, action, local, &address, &[], depth),
        }
    }

    fn name(
        &mut self,
        name: String,
        action: &'a Action,
        local: &'a Local,
        dest: Mailbox,
        mut from: Vec<String>,
        depth: u64,
    ) -> Result<(), Ended> {
        let delim = self.x.rules.config.sub_addr_delim();
        if name.contains('@') {
            // A quoted local part is nobody's name; in a table it could be the
            // address of another domain.
            return Err(nobody("a quoted local part with \"@\" is nobody's name"));
        }
        let name = name.to_ascii_lowercase();
        let (user, detail) = split_detail(&name, delim);
        let user = user.to_string();
        if let Some(Aliases::Alias(table)) = &local.aliases {
            let mut keys = Vec::new();
            // An alias that names itself means the user of that name.
            if !from.contains(&name) {
                keys.extend(detail.map(|_| name.clone()));
                keys.push(user.clone());
                keys.retain(|key| !from.contains(key));
            }
            let found = self.x.alias(table, &keys, self.deadline).map_err(unavailable)?;
            if let Some((key, items)) = found {
                from.push(key.clone());
                return self.items(&key, items, action, local, &dest, &from, depth);
            }
        }
        let refused = |text: &str| Verdict::Refused { code: 550, text: text.to_string() };
        match &local.deliver {
            Deliver::ExpandOnly => return Err(refused("no file or command takes this address")),
            Deliver::ForwardOnly => return Err(refused("this address is not forwarded")),
            _ => {}
        }
        let found = self.x.users.of_action(self.x.rules.tables, local, &user, self.deadline);
        let Some(found) = found.map_err(unavailable)? else {
            // `joe: joe` is a user who is not there; with others between, a ring.
            return Err(match &local.aliases {
                Some(Aliases::Alias(_)) if from.len() > 1 && from.contains(&user) => nobody(CIRCLE),
                Some(Aliases::Alias(table)) if from.is_empty() => {
                    nobody(format!("{}, no user \"{}\"", named(table), user.escape_debug()))
                }
                _ => nobody(format!("no user \"{}\"", user.escape_debug())),
            });
        };
        if found.uid == 0 && local.user.is_none() {
            return Err(refused("nothing is delivered to root: it needs an alias"));
        }
        self.local(destination(action, &dest, Some(user), None))
    }

    /// The items of one alias.
    #[expect(clippy::too_many_arguments, reason = "one call from each of two places")]
    fn items(
        &mut self,
        key: &str,
        items: Vec<Item>,
        action: &'a Action,
        local: &'a Local,
        dest: &Mailbox,
        from: &[String],
        depth: u64,
    ) -> Result<(), Ended> {
        let depth = depth + 1;
        let must_leave = local.deliver == Deliver::ForwardOnly;
        let no_items = items.is_empty();
        for item in items {
            match item {
                Item::Error { code, text } => return Err(Verdict::Refused { code, text }),
                Item::Address(address) => {
                    let what = What::Address { address, internal: true, must_leave };
                    self.work.push_back(Node { what, depth });
                }
                Item::Name(name) => {
                    // A list may name an alias twice on two ways: once is enough.
                    let once = format!("{}/{name}/{}/{}", action.name, from.len(), dest.key());
                    if !self.seen.insert(once) {
                        continue;
                    }
                    let (dest, from) = (self.filed(dest, &name)?, from.to_vec());
                    let what = What::Name { name, action, local, dest, from };
                    self.work.push_back(Node { what, depth });
                }
                Item::File(_) | Item::Command(_) if must_leave => {
                    let text = "this address is not forwarded".to_string();
                    return Err(Verdict::Refused { code: 550, text });
                }
                Item::File(text) => {
                    self.item(action, dest, key, &text)?;
                }
                Item::Command(text) => {
                    self.item(action, dest, key, &format!("|{text}"))?;
                }
                // with_includes() has put their contents in their place.
                Item::Include(_) => {}
            }
        }
        if no_items {
            return Err(Verdict::Unavailable { why: format!("alias {key} is empty") });
        }
        Ok(())
    }

    /// The destination of a user whom an alias names: `ann+lists` files mail in
    /// ann's mailbox `lists`, whatever sub-address the alias was reached by.
    fn filed(&self, dest: &Mailbox, name: &str) -> Result<Mailbox, Ended> {
        let delim = self.x.rules.config.sub_addr_delim();
        let Some(detail) = split_detail(name, delim).1 else { return Ok(dest.clone()) };
        let local = format!("{}{delim}{detail}", split_detail(dest.local(), delim).0);
        // Behind a catch-all an address may leave no room: nobody has it.
        Mailbox::new(&local, dest.domain().clone())
            .map_err(|_| nobody("the sub-address of its alias leaves no room"))
    }

    fn item(
        &mut self,
        action: &Action,
        dest: &Mailbox,
        key: &str,
        text: &str,
    ) -> Result<(), Ended> {
        let item = AliasItem { key: key.to_string(), digest: sha256(text.as_bytes()) };
        self.local(destination(action, dest, None, Some(item)))
    }

    /// Accepts what a delivery could be made of now: what none can take is
    /// refused while the client listens, not sent back to whoever is named as
    /// the sender.
    fn local(&mut self, to: Destination) -> Result<(), Ended> {
        match self.x.deliver(&to, self.sender, &self.rcpt, false, self.deadline) {
            Ok(_) | Err(NoOpening::Mta | NoOpening::Discard) => self.accept(to),
            Err(NoOpening::Temporary { why }) => return Err(Verdict::Unavailable { why }),
            Err(NoOpening::Permanent { why }) => {
                return Err(nobody(why));
            }
        }
        Ok(())
    }

    fn accept(&mut self, to: Destination) {
        if !self.to.contains(&to) {
            self.to.push(to);
        }
    }
}

fn destination(
    action: &Action,
    dest: &Mailbox,
    user: Option<String>,
    item: Option<AliasItem>,
) -> Destination {
    Destination { action: action.name.clone(), dest: dest.to_string(), user, item }
}

/// The keys of a virtual table for an address, in their order.
///
/// A quoted local part may hold an at sign; as a key without domain it would be
/// the address of another domain, or that domain's catch-all.
fn virtual_keys(address: &Mailbox, delim: char) -> Vec<String> {
    let (local, domain) = (address.local(), address.domain().to_ascii());
    let (user, detail) = split_detail(local, delim);
    let mut keys = Vec::new();
    if detail.is_some() {
        keys.push(format!("{local}@{domain}"));
    }
    keys.push(format!("{user}@{domain}"));
    if detail.is_some() && !local.contains('@') {
        keys.push(local.to_string());
    }
    if !user.contains('@') {
        keys.push(user.to_string());
    }
    keys.push(format!("@{domain}"));
    keys.push("@".to_string());
    keys
}

/// An address as the envelope has it; a name alone belongs to this server.
pub fn address_of(text: &str, server: &str) -> Option<Mailbox> {
    if let Ok(address) = Mailbox::parse(text.as_bytes(), Charset::Utf8) {
        return Some(address);
    }
    if text.contains('@') {
        return None;
    }
    Mailbox::new(text, Domain::parse(server.as_bytes(), Charset::Utf8).ok()?).ok()
}

#[cfg(test)]
mod tests;
