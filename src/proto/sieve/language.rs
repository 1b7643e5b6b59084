//! What the language consists of: a table of extensions.
//!
//! An extension is one file under `ext` with one [`Extension`] constant, and
//! one row of [`EXTENSIONS`], which stands in `ext` beside the files' names.
//! The row brings commands, tests, tags for the verbs of others, comparators
//! and namespaces of variables; checker, evaluator and capability list read it
//! from here and know no extension by name.

use super::check::Check;
use super::code::{Op, Variable};
use super::compare::{Comparator, Matching};
use super::fault::Pos;
use super::run::{Ended, Flow, Run};

pub use super::ext::EXTENSIONS;

/// A capability and what it brings.
pub struct Extension {
    /// The string for `require`; empty for what needs none.
    pub name: &'static str,
    /// Extensions that it requires along.
    pub implies: &'static [&'static str],
    /// Its commands and tests.
    pub verbs: &'static [Verb],
    /// Its tags for commands and tests of other extensions.
    pub tags: &'static [Tag],
    /// Its comparator.
    pub comparator: Option<Comparator>,
    /// Its namespace of variables.
    pub namespace: Option<&'static Namespace>,
}

impl Extension {
    /// An extension that brings nothing yet; for struct update syntax.
    pub const NOTHING: Extension = Extension {
        name: "",
        implies: &[],
        verbs: &[],
        tags: &[],
        comparator: None,
        namespace: None,
    };
}

/// A command or a test.
pub struct Verb {
    /// Its name, in lower case.
    pub name: &'static str,
    /// Its positional arguments.
    pub params: &'static [Param],
    /// Its own tags.
    pub tags: &'static [Tag],
    /// The classes of tags that it takes: [`MATCHES`], [`ADDRESS_PARTS`].
    pub classes: &'static [&'static str],
    /// The comparator without the tag.
    pub comparator: Comparator,
    /// How many tests it takes.
    pub tests: Tests,
    /// Looks at one use of it, after arguments and tests and before the block.
    pub check: fn(&mut Check<'_>, &mut Op),
    /// Command or test, and how it is run.
    pub kind: Kind,
}

/// How a verb is run.
pub enum Kind {
    /// A command; with or without a block.
    Command {
        /// A block is required; without this one is an error.
        block: bool,
        /// Carries it out.
        run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<Flow<'a>, Ended>,
    },
    /// A test.
    Test {
        /// Decides it.
        run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<bool, Ended>,
    },
}

impl Verb {
    /// A command without arguments; for struct update syntax.
    pub const fn command(run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<Flow<'a>, Ended>) -> Verb {
        Verb::new(Kind::Command { block: false, run })
    }

    /// A command with a block and no arguments.
    pub const fn block(run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<Flow<'a>, Ended>) -> Verb {
        Verb::new(Kind::Command { block: true, run })
    }

    /// A test without arguments.
    pub const fn test(run: for<'a> fn(&mut Run<'a>, &'a Op) -> Result<bool, Ended>) -> Verb {
        Verb::new(Kind::Test { run })
    }

    const fn new(kind: Kind) -> Verb {
        Verb {
            name: "",
            params: &[],
            tags: &[],
            classes: &[],
            comparator: Comparator::AsciiCasemap,
            tests: Tests::None,
            check: |_, _| (),
            kind,
        }
    }

    /// True for a command.
    pub fn is_command(&self) -> bool {
        matches!(self.kind, Kind::Command { .. })
    }

    /// "the fileinto command", "the header test", for errors.
    pub fn title(&self) -> Title {
        Title { name: self.name, is_command: self.is_command() }
    }
}

/// What a verb is called in errors; costs nothing until it is printed.
#[derive(Clone, Copy, Debug)]
pub struct Title {
    name: &'static str,
    is_command: bool,
}

impl std::fmt::Display for Title {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_command { "command" } else { "test" };
        write!(f, "the {} {kind}", self.name)
    }
}

impl std::fmt::Debug for Verb {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

/// How many tests a verb takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tests {
    /// None.
    None,
    /// Exactly one, without parentheses.
    One,
    /// A list in parentheses; those after a test that is known to give this are not looked at.
    ListUntil(bool),
}

/// A positional argument.
#[derive(Clone, Copy, Debug)]
pub struct Param {
    /// What it is called in errors.
    pub name: &'static str,
    /// What it has to be.
    pub shape: Shape,
    /// True if it may be left out.
    pub optional: bool,
}

impl Param {
    /// One string.
    pub const fn text(name: &'static str) -> Param {
        Param { name, shape: Shape::Text, optional: false }
    }

    /// One string or several.
    pub const fn list(name: &'static str) -> Param {
        Param { name, shape: Shape::List, optional: false }
    }

    /// A number.
    pub const fn number(name: &'static str) -> Param {
        Param { name, shape: Shape::Number, optional: false }
    }

    /// The same, but it may be left out.
    pub const fn or_none(self) -> Param {
        Param { optional: true, ..self }
    }
}

/// What an argument has to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// A number.
    Number,
    /// One string.
    Text,
    /// One string or several.
    List,
    /// One string without variables.
    Constant,
}

impl Shape {
    /// What it is called in errors.
    pub fn describe(self) -> &'static str {
        match self {
            Shape::Number => "a number",
            Shape::Text => "a string",
            Shape::List => "a string list",
            Shape::Constant => "a constant string",
        }
    }
}

/// A tag.
#[derive(Clone, Copy, Debug)]
pub struct Tag {
    /// Its name without the colon, in lower case.
    pub name: &'static str,
    /// What follows it.
    pub value: Option<Shape>,
    /// Of the tags with the same group only one may be given.
    pub group: &'static str,
    /// Another tag without which it makes no sense.
    pub with: Option<&'static str>,
    /// The verbs or classes that take it; not looked at in a verb's own tags.
    pub on: &'static [&'static str],
    /// What it makes of the match type or comparator of the test that it stands in.
    pub sets: Option<Sets>,
}

/// Changes how a test matches, given the string after the tag; the error is words for the
/// script's author.
pub type Sets = fn(&Check<'_>, &mut Matching, &[u8]) -> Result<(), String>;

impl Tag {
    /// A tag without a value.
    pub const fn new(name: &'static str) -> Tag {
        Tag { name, value: None, group: name, with: None, on: &[], sets: None }
    }

    /// A tag with a value.
    pub const fn of(name: &'static str, shape: Shape) -> Tag {
        Tag { value: Some(shape), ..Tag::new(name) }
    }

    /// Excludes the others of a group.
    pub const fn group(self, group: &'static str) -> Tag {
        Tag { group, ..self }
    }

    /// Makes sense only beside another tag.
    pub const fn with(self, with: &'static str) -> Tag {
        Tag { with: Some(with), ..self }
    }

    /// A match type or comparator, for every test that matches.
    pub const fn sets(self, group: &'static str, sets: Sets) -> Tag {
        Tag { group, on: &[MATCHES], sets: Some(sets), ..self }
    }

    /// For verbs of other extensions.
    pub const fn on(self, on: &'static [&'static str]) -> Tag {
        Tag { on, ..self }
    }
}

/// The class of the verbs that take match type and comparator.
pub const MATCHES: &str = "(match)";
/// The class of the verbs that take an address part.
pub const ADDRESS_PARTS: &str = "(address)";

/// Variables of the form `${name.something}` that an extension answers.
pub struct Namespace {
    /// What stands before the dot, in lower case.
    pub name: &'static str,
    /// Where a variable lives that the script names; `None` if `get` answers it.
    pub resolve: Option<Resolve>,
    /// The value of a [`Variable::Space`]; `None` is the empty string.
    pub get: fn(&mut Run<'_>, &str) -> Option<Vec<u8>>,
}

/// Finds where a variable of a namespace lives; `None` after an error.
pub type Resolve = fn(&mut Check<'_>, Pos, &str) -> Option<Variable>;

impl std::fmt::Debug for Namespace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Namespace {}

/// The extensions that may be used, indexed by the names that they bring.
pub struct Language {
    extensions: Vec<&'static Extension>,
    verbs: Index<Verb>,
    tags: Index<Tag>,
}

/// What the extensions bring, by its name.
///
/// Every word of a script is looked up here: a bucket for names of one length and with the same
/// ends has nearly always one row, and that is then compared.
struct Index<T: 'static> {
    /// Where the rows of each bucket begin, and at last where all end.
    starts: Vec<usize>,
    /// What an extension brings, with its number; bucket by bucket.
    rows: Vec<(usize, &'static T)>,
}

impl<T> Index<T> {
    /// Of rows with their names; those of one name stay in their order.
    fn new(mut rows: Vec<(usize, &'static T)>, name: fn(&T) -> &'static str) -> Self {
        rows.sort_by_key(|(_, brought)| bucket(name(brought)));
        let start = |b: usize| rows.partition_point(|(_, row)| bucket(name(row)) < b);
        Index { starts: (0..=BUCKETS).map(start).collect(), rows }
    }

    /// The rows among which those of a name are.
    fn near(&self, name: &str) -> &[(usize, &'static T)] {
        let at = bucket(name);
        let from = self.starts.get(at).copied().unwrap_or_default();
        let to = self.starts.get(at.saturating_add(1)).copied().unwrap_or_default();
        self.rows.get(from..to).unwrap_or_default()
    }
}

/// How many buckets an [`Index`] has.
const BUCKETS: usize = 256;

/// The bucket of a name.
fn bucket(name: &str) -> usize {
    let [first, .., last] = name.as_bytes() else { return 0 };
    let ends = usize::from(*first).wrapping_mul(31).wrapping_add(usize::from(*last));
    ends.wrapping_add(name.len().wrapping_mul(7)) % BUCKETS
}

impl Default for Language {
    /// All of [`EXTENSIONS`].
    fn default() -> Self {
        Language::new(EXTENSIONS.iter().copied())
    }
}

impl Language {
    /// A language of these extensions.
    pub fn new(extensions: impl IntoIterator<Item = &'static Extension>) -> Self {
        let extensions: Vec<_> = extensions.into_iter().collect();
        let mut verbs = Vec::with_capacity(128);
        let mut tags = Vec::with_capacity(128);
        for (number, extension) in extensions.iter().enumerate() {
            verbs.extend(extension.verbs.iter().map(|verb| (number, verb)));
            tags.extend(extension.tags.iter().map(|tag| (number, tag)));
        }
        let verbs = Index::new(verbs, |verb| verb.name);
        let tags = Index::new(tags, |tag| tag.name);
        Language { extensions, verbs, tags }
    }

    /// What to announce: every capability string, in the order of the table.
    pub fn capabilities(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.extensions.iter().map(|e| e.name).filter(|name| !name.is_empty())
    }

    /// How many extensions there are.
    pub fn len(&self) -> usize {
        self.extensions.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.extensions.is_empty()
    }

    /// An extension by its number.
    pub fn extension(&self, index: usize) -> Option<&'static Extension> {
        self.extensions.get(index).copied()
    }

    /// The number of the extension with this capability string.
    pub fn find(&self, name: &[u8]) -> Option<usize> {
        self.extensions.iter().position(|e| !e.name.is_empty() && e.name.as_bytes() == name)
    }

    /// A command or test by its name in lower case, with the number of its extension.
    pub fn verb(&self, name: &str, is_command: bool) -> Option<(usize, &'static Verb)> {
        let mut rows = self.verbs.near(name).iter();
        let wanted = |verb: &Verb| verb.name == name && verb.is_command() == is_command;
        rows.find(|(_, verb)| wanted(verb)).copied()
    }

    /// The tags of this name that extensions add to a verb, with their extensions' numbers.
    pub fn tags<'l>(
        &'l self,
        verb: &'l Verb,
        name: &'l str,
    ) -> impl Iterator<Item = (usize, &'static Tag)> + 'l {
        let takes = |on: &&str| *on == verb.name || verb.classes.contains(on);
        let rows = self.tags.near(name).iter().copied();
        rows.filter(move |(_, tag)| tag.name == name && tag.on.iter().any(takes))
    }
}

/// True if this is the name of a command of any extension.
pub fn is_command(name: &str) -> bool {
    EXTENSIONS.iter().flat_map(|e| e.verbs).any(|verb| verb.name == name && verb.is_command())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_no_name_twice_and_implies_only_what_is_there() {
        let mut verbs: Vec<_> =
            EXTENSIONS.iter().flat_map(|e| e.verbs).map(|v| (v.name, v.is_command())).collect();
        let mut names: Vec<_> =
            EXTENSIONS.iter().map(|e| e.name).filter(|n| !n.is_empty()).collect();
        for extension in EXTENSIONS {
            assert!(extension.implies.iter().all(|name| names.contains(name)));
            for on in extension.tags.iter().flat_map(|t| t.on) {
                let known = verbs.iter().any(|(name, _)| name == on);
                assert!(known || [MATCHES, ADDRESS_PARTS].contains(on), "{on}");
            }
        }
        let counts = (verbs.len(), names.len());
        verbs.sort_unstable();
        verbs.dedup();
        names.sort_unstable();
        names.dedup();
        assert_eq!((verbs.len(), names.len()), counts);
    }
}
