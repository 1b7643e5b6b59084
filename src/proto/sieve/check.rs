//! From the tree to code: the checker.
//!
//! Looks up every name in the [`Language`], resolves variables and reports what
//! is wrong, once per mistake.  Arguments are put in their places by
//! [`arguments`](super::arguments); what only one verb knows about itself is in
//! that verb's own `check` function.
//!
//! Included scripts are compiled one after the other from a list, each once,
//! whatever includes it: neither depth nor number of includes multiplies work.
//! RFC 5228 2.10.5 and 2.10.7, RFC 5463 4, RFC 6609.

use std::borrow::Cow;
use std::collections::HashMap;

use super::ast::{Node, Nodes};
use super::code::{Noted, Op, Script, Unit, Variable};
use super::compare::Matching;
use super::fault::{Error, Pos};
use super::language::{Extension, Kind, Language, Tests, Verb};
use super::parse::Parser;
use super::surroundings::{Library, Location};
use super::template::Name;
use crate::proto::limits;

/// Compiles a script and those it includes.
///
/// Errors come in the order of the text.  `library` is asked for included scripts; one that it
/// does not have is an error when the script runs, unless `:optional`, and a warning now: it may
/// be uploaded later.
pub fn compile(
    source: &[u8],
    language: &Language,
    library: &mut dyn Library,
) -> Result<Script, Vec<Error>> {
    let mut errors = Vec::new();
    let mut shared =
        Shared { warnings: Vec::new(), globals: HashMap::new(), units: Vec::new(), automata: 0 };
    shared.units.push(Wanted { location: Location::Personal, name: String::new(), by: None });
    let mut units = Vec::new();
    while let Some(wanted) = shared.units.get(units.len()) {
        let name = wanted.name.clone();
        let text = if units.is_empty() {
            Ok(Some(Cow::Borrowed(source)))
        } else {
            library.script(wanted.location, &name).map(|text| text.map(Cow::Owned))
        };
        let first = errors.len();
        let unit = match text {
            Ok(Some(text)) => unit(&text, &name, language, &mut shared, &mut errors),
            Ok(None) => Unit { missing: true, ..Unit::default() },
            Err(_) => {
                let text = format!("the script '{name}' cannot be read now");
                errors.push(Error { script: None, pos: Pos::default(), text });
                Unit::default()
            }
        };
        // What the parser and what the checker has found, in the order of the text.
        if let Some(new) = errors.get_mut(first..) {
            new.sort_by_key(|error| error.pos);
            for error in new.iter_mut().filter(|_| !name.is_empty()) {
                error.script.get_or_insert_with(|| name.clone());
            }
        }
        units.push(Unit { name, ..unit });
        if errors.len() >= limits::SIEVE_ERRORS.size() {
            break;
        }
    }
    if units.len() > 1 {
        circles(&shared.units, &units, &mut errors);
        missing(&units, &mut shared.warnings);
    }
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(Script { units, globals: shared.globals.len(), warnings: shared.warnings })
}

/// What the units of a script share while it is compiled.
struct Shared {
    warnings: Vec<Error>,
    globals: HashMap<String, usize>,
    units: Vec<Wanted>,
    /// What the automata take that may be kept, in octets.
    automata: usize,
}

/// An included script, and from where.
struct Wanted {
    location: Location,
    name: String,
    by: Option<(usize, Pos)>,
}

fn unit(
    source: &[u8],
    name: &str,
    language: &Language,
    shared: &mut Shared,
    errors: &mut Vec<Error>,
) -> Unit {
    let number = shared.units.iter().position(|u| u.name == name).unwrap_or(0);
    // Command by command: the tree of one is gone when the next is read.
    let mut commands = Parser::new(source);
    let enabled = (0..language.len()).filter_map(|i| language.extension(i));
    let mut check = Check {
        language,
        errors,
        shared,
        enabled: enabled.map(|e| e.name.is_empty()).collect(),
        locals: HashMap::new(),
        named: HashMap::new(),
        unit: number,
        previous: None,
        enclosing: Vec::new(),
        only_require: true,
    };
    // Space for more commands than there will be; what is not needed is given back.
    let mut block = Block { ops: Vec::with_capacity(source.len() / 64), chain_taken: false };
    while let Some(node) = commands.next_command() {
        check.command(node, &mut block);
    }
    let ops = block.ops.into();
    let locals = check.locals.len();
    let on = check.enabled.iter().enumerate().filter(|(_, on)| **on);
    let requires = on.filter_map(|(i, _)| language.extension(i).map(|e| e.name));
    let requires = requires.filter(|name| !name.is_empty()).collect();
    errors.extend(commands.errors);
    Unit { name: String::new(), ops, locals, requires, missing: false }
}

/// Included scripts that are not there yet are worth a remark, once for each include.
fn missing(units: &[Unit], warnings: &mut Vec<Error>) {
    for unit in units {
        let mut blocks = vec![&unit.ops];
        while let Some(op) = blocks.pop() {
            for op in op {
                let Noted::Unit(n) = op.noted else {
                    blocks.push(&op.block);
                    continue;
                };
                let name = units.get(n).filter(|u| u.missing && !op.has("optional"));
                if let Some(included) = name {
                    let script = Some(unit.name.clone()).filter(|name| !name.is_empty());
                    let text = format!("there is no script '{}'", included.name);
                    warnings.push(Error { script, pos: op.pos, text });
                }
            }
        }
    }
}

/// Scripts that include themselves, through others or not, are errors.  RFC 6609 3.2.
fn circles(wanted: &[Wanted], units: &[Unit], errors: &mut Vec<Error>) {
    let mut edges: Vec<Vec<usize>> = Vec::new();
    for unit in units {
        let mut targets = Vec::new();
        let mut blocks = vec![&unit.ops];
        while let Some(ops) = blocks.pop() {
            for op in ops {
                // With ':once' a circle ends.
                if let (Noted::Unit(n), false) = (&op.noted, op.has("once")) {
                    targets.push(*n);
                }
                blocks.push(&op.block);
            }
        }
        edges.push(targets);
    }
    // Taking away, again and again, units that include nothing more leaves only circles.
    let mut done = vec![false; units.len()];
    loop {
        let next = edges.iter().enumerate().position(|(i, targets)| {
            let all = targets.iter().all(|t| done.get(*t).copied().unwrap_or(true));
            all && done.get(i) == Some(&false)
        });
        match next.and_then(|i| done.get_mut(i)) {
            Some(slot) => *slot = true,
            None => break,
        }
    }
    for (i, wanted) in wanted.iter().enumerate() {
        let in_circle = done.get(i) == Some(&false);
        if let (true, Some((by, pos))) = (in_circle, wanted.by) {
            let script = units.get(by).map(|u| u.name.clone()).filter(|n| !n.is_empty());
            let text = format!("the script '{}' includes itself in a circle", wanted.name);
            errors.push(Error { script, pos, text });
        }
    }
    if done.first() == Some(&false) && errors.is_empty() {
        let text = "the script includes itself in a circle".into();
        errors.push(Error { script: None, pos: Pos::default(), text });
    }
}

/// A block that is being checked.
struct Block {
    ops: Vec<Op>,
    /// An `ihave` that is known to hold makes the rest of the chain unreachable: it may be in a
    /// language that we do not know.  RFC 5463 4.
    chain_taken: bool,
}

/// The state of checking one script; what a verb's own check may use.
pub struct Check<'c> {
    pub(super) language: &'c Language,
    pub(super) errors: &'c mut Vec<Error>,
    shared: &'c mut Shared,
    pub(super) enabled: Vec<bool>,
    locals: HashMap<String, usize>,
    /// Names that the script has tied to global variables.  RFC 6609 3.4.
    named: HashMap<String, Variable>,
    unit: usize,
    /// The command before this one in the same block.
    pub previous: Option<&'static str>,
    /// The commands whose blocks are open, outermost first.
    pub enclosing: Vec<Enclosing>,
    /// True as long as nothing but `require` has been seen.
    pub only_require: bool,
}

/// A command whose block is open.
#[derive(Debug)]
pub struct Enclosing {
    /// What it is.
    pub verb: &'static Verb,
    /// The string after its tag `:name`.
    pub name: Option<Vec<u8>>,
}

impl Check<'_> {
    /// Reports a mistake.
    pub fn error(&mut self, pos: Pos, text: impl Into<String>) {
        if self.errors.len() < limits::SIEVE_ERRORS.size() {
            self.errors.push(Error { script: None, pos, text: text.into() });
        }
    }

    /// Reports that a limit is reached; what goes further beyond it is the same mistake.
    fn error_once(&mut self, pos: Pos, text: String) {
        if !self.errors.iter().any(|error| error.text == text) {
            self.error(pos, text);
        }
    }

    /// True if the script may keep one more automaton of this size.
    pub(super) fn may_keep(&mut self, octets: usize) -> bool {
        let sum = self.shared.automata.saturating_add(octets);
        let fits = sum <= limits::SIEVE_AUTOMATA.size();
        if fits {
            self.shared.automata = sum;
        }
        fits
    }

    /// Reports what is no mistake but probably not meant.
    pub fn warning(&mut self, pos: Pos, text: impl Into<String>) {
        if self.shared.warnings.len() < limits::SIEVE_ERRORS.size() {
            self.shared.warnings.push(Error { script: None, pos, text: text.into() });
        }
    }

    /// True if an extension has been required.
    pub fn has(&self, extension: &str) -> bool {
        self.language.find(extension.as_bytes()).is_some_and(|i| self.is_on(i))
    }

    /// True if what the extension with this number brings may be used.
    pub(super) fn is_on(&self, extension: usize) -> bool {
        self.enabled.get(extension) == Some(&true)
    }

    /// An extension by its capability string, required or not.
    pub fn extension(&self, name: &str) -> Option<&'static Extension> {
        self.language.find(name.as_bytes()).and_then(|i| self.language.extension(i))
    }

    /// Requires an extension and what it implies; false if it is not offered.
    pub fn require(&mut self, name: &[u8]) -> bool {
        let Some(i) = self.language.find(name) else { return false };
        if let Some(slot) = self.enabled.get_mut(i) {
            *slot = true;
        }
        let implied = self.language.extension(i).map_or(&[][..], |e| e.implies);
        for name in implied {
            self.require(name.as_bytes());
        }
        true
    }

    /// True if the extension exists, required or not.
    pub fn offers(&self, name: &[u8]) -> bool {
        self.language.find(name).is_some()
    }

    /// Resolves a variable reference; `None` after an error, or for a variable that is never set.
    pub fn variable(&mut self, pos: Pos, name: Name) -> Option<Variable> {
        match name {
            Name::Match(n) if n > limits::SIEVE_MATCH_VALUES.size() => {
                let max = limits::SIEVE_MATCH_VALUES.default;
                self.error(pos, format!("there are no match variables beyond {max}"));
                None
            }
            Name::Match(n) => Some(Variable::Match(n)),
            Name::Plain(name) if name.len() > 64 => {
                self.error(pos, "the name of a variable has more than 64 octets");
                None
            }
            Name::Plain(name) => self.plain(pos, name),
            Name::Spaced(space, rest) => {
                let mut enabled = self.enabled.iter().enumerate().filter(|(_, on)| **on);
                let found = enabled.find_map(|(i, _)| {
                    let namespace = self.language.extension(i)?.namespace?;
                    (namespace.name == space).then_some(namespace)
                });
                if found.is_none() {
                    self.error(pos, format!("unknown variable namespace '{space}'"));
                }
                match found?.resolve {
                    Some(resolve) => resolve(self, pos, &rest),
                    None => found.map(|namespace| Variable::Space(namespace, rest)),
                }
            }
        }
    }

    fn plain(&mut self, pos: Pos, name: String) -> Option<Variable> {
        if let Some(variable) = self.named.get(&name) {
            return Some(variable.clone());
        }
        let n = self.locals.len();
        let max = limits::SIEVE_VARIABLES.size();
        if n >= max && !self.locals.contains_key(&name) {
            self.error_once(pos, format!("more than {max} variables"));
            return None;
        }
        Some(Variable::Local(*self.locals.entry(name).or_insert(n)))
    }

    /// The global variable of this name.
    pub fn global(&mut self, pos: Pos, name: &str) -> Option<Variable> {
        let n = self.shared.globals.len();
        let max = limits::SIEVE_VARIABLES.size();
        if n >= max && !self.shared.globals.contains_key(name) {
            self.error_once(pos, format!("more than {max} global variables"));
            return None;
        }
        Some(Variable::Global(*self.shared.globals.entry(name.to_string()).or_insert(n)))
    }

    /// Ties a name of this script to the global variable of the same name; false if the name
    /// has been used for a variable of the script already.
    pub fn declare_global(&mut self, pos: Pos, name: &str) -> bool {
        if self.locals.contains_key(name) {
            return false;
        }
        if let Some(variable) = self.global(pos, name) {
            self.named.insert(name.to_string(), variable);
        }
        true
    }

    /// The number of an included script; it is compiled after this one.
    pub fn include(&mut self, pos: Pos, location: Location, name: &str) -> Option<usize> {
        let known = |w: &Wanted| w.by.is_some() && w.location == location && w.name == name;
        if let Some(n) = self.shared.units.iter().position(known) {
            return Some(n);
        }
        if self.shared.units.len() > limits::SIEVE_INCLUDES.size() {
            self.error(
                pos,
                format!("more than {} included scripts", limits::SIEVE_INCLUDES.default),
            );
            return None;
        }
        let by = Some((self.unit, pos));
        self.shared.units.push(Wanted { location, name: name.to_string(), by });
        Some(self.shared.units.len().saturating_sub(1))
    }

    /// Checks the commands of a block.
    fn block(&mut self, nodes: Nodes<'_, '_>) -> Box<[Op]> {
        let outer = self.previous.take();
        let mut block =
            Block { ops: Vec::with_capacity(nodes.clone().count()), chain_taken: false };
        for node in nodes {
            self.command(node, &mut block);
        }
        self.previous = outer;
        block.ops.into()
    }

    /// Checks the next command of a block.
    fn command(&mut self, node: Node<'_, '_>, block: &mut Block) {
        if !matches!(&*node.name, "elsif" | "else") {
            block.chain_taken = false;
        }
        if block.chain_taken {
            return;
        }
        if let Some(op) = self.node(node, true) {
            if truth_by_ihave(op.tests.first()) == Some(true) {
                block.chain_taken = true;
            }
            block.ops.push(op);
        }
        if node.name != "require" {
            self.only_require = false;
        }
    }

    /// Checks a command or test.
    fn node(&mut self, node: Node<'_, '_>, as_command: bool) -> Option<Op> {
        if node.broken {
            // Its block may still be read, so that later errors do not hide.
            self.inside(node);
            self.previous = self.language.verb(&node.name, true).map(|(_, verb)| verb.name);
            return None;
        }
        self.known(node, as_command)
    }

    /// Reports a mistake in what a node is; its block is looked at all the same.
    fn wrong(&mut self, node: Node<'_, '_>, text: String) -> Option<Op> {
        self.error(node.pos, text);
        self.inside(node);
        None
    }

    /// Looks for mistakes in the block of a command that is a mistake itself.
    fn inside(&mut self, node: Node<'_, '_>) {
        let verb = self.language.verb(&node.name, true).map(|(_, verb)| verb);
        self.enclosing.extend(verb.map(|verb| Enclosing { verb, name: None }));
        // Whatever it was meant to be: what stands in it is not at the beginning of the script.
        let only_require = std::mem::take(&mut self.only_require);
        self.block(node.block());
        self.only_require = only_require;
        self.enclosing.truncate(self.enclosing.len().saturating_sub(usize::from(verb.is_some())));
    }

    fn known(&mut self, node: Node<'_, '_>, as_command: bool) -> Option<Op> {
        let other = || self.language.verb(&node.name, !as_command);
        let found = self.language.verb(&node.name, as_command).or_else(other);
        let Some((extension, verb)) = found else {
            let kind = if as_command { "command" } else { "test" };
            return self.wrong(node, format!("unknown {kind} '{}'", node.name));
        };
        if !self.is_on(extension) {
            let name = self.language.extension(extension).map_or("", |e| e.name);
            return self.wrong(node, format!("{} needs require \"{name}\"", verb.title()));
        }
        if verb.is_command() != as_command {
            let (is, not) = if as_command { ("test", "command") } else { ("command", "test") };
            return self.wrong(node, format!("cannot use {is} '{}' as a {not}", verb.name));
        }
        let before = self.errors.len();
        // `address is "from"`: what looks like a test is a tag.
        if let (Tests::None, Some(test)) = (verb.tests, node.tests().next()) {
            if self.tag_rule(verb, &test.name).is_some() {
                let text =
                    format!("missing colon before '{}', a tag of {}", test.name, verb.title());
                self.error(test.pos, text);
                self.inside(node);
                return None;
            }
        }
        let mut op = Op {
            pos: node.pos,
            verb,
            given: Vec::new(),
            matching: Matching { comparator: verb.comparator, ..Matching::default() },
            tests: Box::default(),
            block: Box::default(),
            noted: Noted::Nothing,
        };
        self.arguments(node, &mut op);
        let good = self.errors.len() == before;
        op.tests = self.tests(node, verb, good);
        if self.errors.len() == before {
            (verb.check)(self, &mut op);
        }
        self.previous = as_command.then_some(verb.name).or(self.previous);
        self.body(node, &mut op);
        (self.errors.len() == before).then_some(op)
    }

    /// The block, or the lack of one.
    fn body(&mut self, node: Node<'_, '_>, op: &mut Op) {
        let wants = matches!(op.verb.kind, Kind::Command { block: true, .. });
        if node.has_block && !wants {
            let text = format!("{} takes no block", op.verb.title());
            self.error(node.pos, text);
            self.inside(node);
        } else if wants && !node.has_block {
            let text = format!("{} needs a block", op.verb.title());
            self.error(node.pos, text);
        } else if wants && truth_by_ihave(op.tests.first()) != Some(false) {
            // A block that an `ihave` rules out may be in a language that we do not know.
            let name = op.tag("name").and_then(|given| given.constants().next());
            let name = name.map(<[u8]>::to_vec);
            self.enclosing.push(Enclosing { verb: op.verb, name });
            op.block = self.block(node.block());
            self.enclosing.pop();
        }
    }

    /// The tests; what is wrong about their number is said only if all was `good` before.
    fn tests(&mut self, node: Node<'_, '_>, verb: &Verb, good: bool) -> Box<[Op]> {
        let title = verb.title();
        let given = node.tests().count();
        let mut tests = Vec::with_capacity(given);
        match verb.tests {
            Tests::None if given == 0 => {}
            Tests::None => {
                if good {
                    let text = format!("{title} accepts no sub-tests, but some are specified");
                    self.error(node.pos, text);
                }
            }
            Tests::One if given == 1 && !node.test_list => {
                tests.extend(node.tests().filter_map(|test| self.node(test, false)));
            }
            Tests::One => {
                if good {
                    let text = match node.test_list {
                        true => format!("{title} takes one test, not a list in parentheses"),
                        false => format!("{title} needs a test"),
                    };
                    self.error(node.pos, text);
                }
            }
            Tests::ListUntil(decided) if node.test_list => {
                for test in node.tests() {
                    let test = self.node(test, false);
                    let last = truth_by_ihave(test.as_ref()) == Some(decided);
                    tests.extend(test);
                    if last {
                        break;
                    }
                }
            }
            Tests::ListUntil(_) => {
                if good {
                    self.error(node.pos, format!("{title} needs a list of tests in parentheses"));
                }
            }
        }
        tests.into()
    }
}

/// What a test gives whatever the message, if an `ihave` decides it.
fn truth_by_ihave(op: Option<&Op>) -> Option<bool> {
    match op?.noted {
        Noted::Truth { value, by_ihave: true } => Some(value),
        _ => None,
    }
}

/// The truth of a test, if it is known already.
pub fn truth(op: &Op) -> Option<(bool, bool)> {
    match op.noted {
        Noted::Truth { value, by_ihave } => Some((value, by_ihave)),
        _ => None,
    }
}
