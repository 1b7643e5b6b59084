//! The tree of a script as written, before anything is known about meanings.
//!
//! RFC 5228 8.2 has one shape for commands and tests alike (an identifier,
//! arguments, tests), so there is one [`Node`]; a command is a node that ends
//! in `;` or a block.  Names and strings borrow from the script where they can.
//!
//! A [`Tree`] is three lists in the order of the text, in which each node knows
//! where it ends: a script of hundreds of commands is read into the same memory
//! again and again, without an allocation for each.

use std::borrow::Cow;
use std::ops::{Deref, Range};

use super::fault::Pos;

/// Some commands with all that is in them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree<'a> {
    /// Each is followed by its tests and then by the commands of its block.
    entries: Vec<Entry<'a>>,
    /// The arguments of the first node, then those of the second and so on.
    args: Vec<Arg<'a>>,
    /// The strings of the first list, likewise.
    strings: Vec<Cow<'a, [u8]>>,
}

/// What is said about a command or a test itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Entry<'a> {
    /// Where its name stands.
    pub pos: Pos,
    /// Its name in lower case.
    pub name: Cow<'a, str>,
    /// True if the tests stand in parentheses.
    pub test_list: bool,
    /// True if it has a block.
    pub has_block: bool,
    /// True if part of it could not be parsed: the error has been reported, so that nothing
    /// else is said about it.
    pub broken: bool,
    /// Which arguments of the tree are its own.
    args: Range<usize>,
    /// Where its tests end and its block begins.
    tests_end: usize,
    /// Where its block ends and what follows it begins.
    end: usize,
}

/// A command or a test in a tree.
#[derive(Clone, Copy, Debug)]
pub struct Node<'t, 'a> {
    tree: &'t Tree<'a>,
    at: usize,
    entry: &'t Entry<'a>,
}

/// An argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arg<'a> {
    /// Where it begins.
    pub pos: Pos,
    /// What it is.
    pub value: Value<'a>,
}

/// What an argument is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value<'a> {
    /// A tag without its colon, in lower case.
    Tag(Cow<'a, str>),
    /// A number, its quantifier multiplied in.
    Number(u64),
    /// One string, outside brackets.
    Text(Cow<'a, [u8]>),
    /// Strings in brackets: see [`Node::strings`].
    List(Range<usize>),
}

impl Value<'_> {
    /// What it is called in an error.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Tag(_) => "a tag",
            Value::Number(_) => "a number",
            Value::Text(_) => "a string",
            Value::List(_) => "a string list",
        }
    }
}

impl<'a> Deref for Node<'_, 'a> {
    type Target = Entry<'a>;

    fn deref(&self) -> &Entry<'a> {
        self.entry
    }
}

impl<'t, 'a> Node<'t, 'a> {
    /// Its arguments, tags among them, in order.
    pub fn args(&self) -> &'t [Arg<'a>] {
        self.tree.args.get(self.entry.args.clone()).unwrap_or_default()
    }

    /// The strings of a [`Value::List`] among its arguments.
    pub fn strings(&self, list: &Range<usize>) -> &'t [Cow<'a, [u8]>] {
        self.tree.strings.get(list.clone()).unwrap_or_default()
    }

    /// Its tests.
    pub fn tests(&self) -> Nodes<'t, 'a> {
        let next = self.at.saturating_add(1);
        Nodes { tree: self.tree, next, end: self.entry.tests_end }
    }

    /// The commands in its block.
    pub fn block(&self) -> Nodes<'t, 'a> {
        Nodes { tree: self.tree, next: self.entry.tests_end, end: self.entry.end }
    }
}

/// Commands of one block, or tests of one list.
#[derive(Clone, Debug)]
pub struct Nodes<'t, 'a> {
    tree: &'t Tree<'a>,
    next: usize,
    end: usize,
}

impl<'t, 'a> Iterator for Nodes<'t, 'a> {
    type Item = Node<'t, 'a>;

    fn next(&mut self) -> Option<Node<'t, 'a>> {
        let at = self.next;
        let entry = self.tree.entries.get(at).filter(|_| at < self.end)?;
        self.next = entry.end;
        Some(Node { tree: self.tree, at, entry })
    }
}

impl<'a> Tree<'a> {
    /// Its commands.
    pub fn commands(&self) -> Nodes<'_, 'a> {
        Nodes { tree: self, next: 0, end: self.entries.len() }
    }

    /// Forgets all, but keeps the memory.
    pub(super) fn clear(&mut self) {
        self.entries.clear();
        self.args.clear();
        self.strings.clear();
    }

    /// Begins a node; what is opened before it is closed stands in it.
    pub(super) fn open(&mut self) -> usize {
        self.entries.push(Entry::default());
        self.entries.len().saturating_sub(1)
    }

    /// What is to be said about the node that was opened last.
    pub(super) fn entry(&self, pos: Pos) -> Entry<'a> {
        Entry { pos, args: self.args.len()..self.args.len(), ..Entry::default() }
    }

    /// Ends the node that was opened here.
    pub(super) fn close(&mut self, at: usize, mut entry: Entry<'a>) {
        entry.end = self.entries.len();
        if let Some(place) = self.entries.get_mut(at) {
            *place = entry;
        }
    }

    /// Gives the latest node an argument; false if it has more than `most` then.
    pub(super) fn push(&mut self, entry: &mut Entry<'a>, arg: Arg<'a>, most: usize) -> bool {
        if entry.args.len() >= most {
            return false;
        }
        self.args.push(arg);
        entry.args.end = self.args.len();
        true
    }

    /// Notes that the tests of the latest node end here.
    pub(super) fn end_tests(&self, entry: &mut Entry<'a>) {
        entry.tests_end = self.entries.len();
    }

    /// Adds a string to a list, which is empty or the latest.
    pub(super) fn push_string(&mut self, list: &mut Range<usize>, text: Cow<'a, [u8]>) {
        if list.start == list.end {
            list.start = self.strings.len();
        }
        self.strings.push(text);
        list.end = self.strings.len();
    }

    /// Sets every position to the default, so that trees can be compared for meaning.
    pub fn strip_positions(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.pos = Pos::default());
        self.args.iter_mut().for_each(|arg| arg.pos = Pos::default());
    }
}
