//! The tree of a script as written, before anything is known about meanings.
//!
//! RFC 5228 8.2 has one shape for commands and tests alike (an identifier,
//! arguments, tests), so there is one [`Node`]; a command is a node that ends
//! in `;` or a block.  Names and strings borrow from the script where they can.

use std::borrow::Cow;

use super::fault::Pos;

/// A command or a test.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Node<'a> {
    /// Where its name stands.
    pub pos: Pos,
    /// Its name in lower case.
    pub name: Cow<'a, str>,
    /// Its arguments, tags among them, in order.
    pub args: Vec<Arg<'a>>,
    /// Its tests.
    pub tests: Vec<Node<'a>>,
    /// True if the tests stand in parentheses.
    pub test_list: bool,
    /// Its block, if it has one.
    pub block: Option<Vec<Node<'a>>>,
    /// True if part of it could not be parsed: the error has been reported, so that nothing
    /// else is said about it.
    pub broken: bool,
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
    /// Strings in brackets.
    List(Vec<Cow<'a, [u8]>>),
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

/// Sets every position to the default, so that trees can be compared for meaning.
pub fn strip_positions(nodes: &mut [Node<'_>]) {
    for node in nodes {
        node.pos = Pos::default();
        for arg in &mut node.args {
            arg.pos = Pos::default();
        }
        strip_positions(&mut node.tests);
        strip_positions(node.block.as_deref_mut().unwrap_or_default());
    }
}
