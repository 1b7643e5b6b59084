//! A script that has been checked: what the evaluator runs.
//!
//! Immutable and free of borrows, so that one compiled script can be shared by
//! threads and kept between deliveries.

use std::fmt;

use super::compare::Matching;
use super::fault::{Error, Pos};
use super::language::{Tag, Verb};
use super::octets::Octets;

/// A compiled script with those it includes.
#[derive(Debug)]
pub struct Script {
    /// The script itself, then the included ones.
    pub units: Vec<Unit>,
    /// How many global variables all units share.  RFC 6609 3.4.
    pub globals: usize,
    /// What deserves a remark but is no error.
    pub warnings: Vec<Error>,
}

/// One script's text, compiled.
#[derive(Debug, Default)]
pub struct Unit {
    /// The name by which it was included; empty for the script itself.
    pub name: String,
    /// Its commands.
    pub ops: Box<[Op]>,
    /// How many variables of its own it has.
    pub locals: usize,
    /// The names of the extensions that it uses.
    pub requires: Vec<&'static str>,
    /// True if it could not be found when the script was compiled.
    pub missing: bool,
}

/// A command or test with its arguments put in their places.
#[derive(Debug)]
pub struct Op {
    /// Where it stands.
    pub pos: Pos,
    /// What it is.
    pub verb: &'static Verb,
    /// The tags that were given, then the positional arguments.
    pub given: Vec<Given>,
    /// Match type and comparator, for verbs that match.
    pub matching: Matching,
    /// Its tests.
    pub tests: Box<[Op]>,
    /// Its block.
    pub block: Box<[Op]>,
    /// What the verb's own check has found out.
    pub noted: Noted,
}

/// An argument and its place.
#[derive(Debug)]
pub struct Given {
    /// Where it begins.
    pub pos: Pos,
    /// What it is given for.
    pub slot: Slot,
    /// Its value.
    pub value: Value,
}

/// What an argument is given for.
#[derive(Clone, Copy, Debug)]
pub enum Slot {
    /// A parameter of the verb, by its number.
    Param(usize),
    /// A tag, of which it is the value.
    Tag(&'static Tag),
}

/// The value of an argument.
#[derive(Debug)]
pub enum Value {
    /// None: of a tag that takes none.
    Nothing,
    /// A number.
    Number(u64),
    /// One string; a list is wanted and one string given counts as a list.
    Text(Text),
    /// Several.
    List(Box<[Text]>),
}

/// A string, perhaps with variables in it.
#[derive(Debug)]
pub enum Text {
    /// Without variables.
    Constant(Octets),
    /// Parts to be put together.  RFC 5229 3.
    Template(Box<[Part]>),
}

/// A part of a template.
#[derive(Debug)]
pub enum Part {
    /// Text.
    Text(Vec<u8>),
    /// A variable's value.
    Variable(Variable),
}

/// Where a variable lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Variable {
    /// A match variable.  RFC 5229 3.2.
    Match(usize),
    /// One of the unit's own.
    Local(usize),
    /// One that all units share.  RFC 6609 3.4.
    Global(usize),
    /// One of a namespace: which, and the name in it.
    Space(&'static super::language::Namespace, String),
}

/// What a verb's check leaves for its run.
#[derive(Debug, Default)]
pub enum Noted {
    /// Nothing.
    #[default]
    Nothing,
    /// Variables, in the order of the arguments.
    Variables(Box<[Variable]>),
    /// The index of a unit.
    Unit(usize),
    /// What the test gives whatever the message.
    Truth {
        /// True or false.
        value: bool,
        /// True if an `ihave` has decided it.
        by_ihave: bool,
    },
}

impl Op {
    /// The tags that were given.
    pub fn tags(&self) -> impl Iterator<Item = (&'static Tag, &Given)> {
        self.given.iter().map_while(|given| match given.slot {
            Slot::Tag(tag) => Some((tag, given)),
            Slot::Param(_) => None,
        })
    }

    /// The value of a tag; `None` if the tag is absent or takes no value.
    pub fn tag(&self, name: &str) -> Option<&Given> {
        let (_, given) = self.tags().find(|(tag, _)| tag.name == name)?;
        Some(given).filter(|given| !matches!(given.value, Value::Nothing))
    }

    /// True if the tag was given.
    pub fn has(&self, name: &str) -> bool {
        self.tags().any(|(tag, _)| tag.name == name)
    }

    /// A positional argument, if given.
    pub fn arg(&self, param: usize) -> Option<&Given> {
        self.given.iter().rev().find(|given| matches!(given.slot, Slot::Param(n) if n == param))
    }

    /// The number in a parameter.
    pub fn number(&self, param: usize) -> Option<u64> {
        match self.arg(param)?.value {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// The number that a tag has.
    pub fn tag_number(&self, name: &str) -> Option<u64> {
        match self.tag(name)?.value {
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// True if no variable occurs in a parameter.
    pub fn is_constant(&self, param: usize) -> bool {
        self.arg(param).is_some_and(|given| given.texts().iter().all(|t| t.constant().is_some()))
    }
}

impl Given {
    /// The strings of the value; none for a number.
    pub fn texts(&self) -> &[Text] {
        match &self.value {
            Value::Nothing | Value::Number(_) => &[],
            Value::Text(text) => std::slice::from_ref(text),
            Value::List(list) => list,
        }
    }

    /// The strings that have no variables.
    pub fn constants(&self) -> impl Iterator<Item = &[u8]> {
        self.texts().iter().filter_map(Text::constant)
    }
}

impl Text {
    /// The string, if it has no variables.
    pub fn constant(&self) -> Option<&[u8]> {
        match self {
            Text::Constant(text) => Some(text),
            Text::Template(_) => None,
        }
    }
}

/// The verb with its arguments, long ones cut: for traces.
impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.verb.name)?;
        for given in &self.given {
            if let Slot::Tag(tag) = given.slot {
                write!(f, " :{}", tag.name)?;
            }
            if !matches!(given.value, Value::Nothing) {
                write!(f, " {}", given.value)?;
            }
        }
        Ok(())
    }
}

/// How many strings of a list, and characters of a string, a trace shows.
const SHOWN: (usize, usize) = (8, 40);

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = match self {
            Value::Nothing => return Ok(()),
            Value::Number(n) => return write!(f, "{n}"),
            Value::Text(text) => return write!(f, "{text}"),
            Value::List(list) => list,
        };
        f.write_str("[")?;
        for (i, text) in list.iter().take(SHOWN.0).enumerate() {
            write!(f, "{}{text}", if i > 0 { ", " } else { "" })?;
        }
        f.write_str(if list.len() > SHOWN.0 { ", ...]" } else { "]" })
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = String::new();
        let mut add = |text: &[u8]| {
            let start = text.get(..text.len().min(SHOWN.1.saturating_mul(4))).unwrap_or_default();
            shown.push_str(&String::from_utf8_lossy(start));
        };
        match self {
            Text::Constant(text) => add(text),
            Text::Template(parts) => parts.iter().for_each(|part| match part {
                Part::Text(text) => add(text),
                Part::Variable(Variable::Match(n)) => add(format!("${{{n}}}").as_bytes()),
                Part::Variable(Variable::Space(space, name)) => {
                    add(format!("${{{}.{name}}}", space.name).as_bytes());
                }
                Part::Variable(_) => add(b"${...}"),
            }),
        }
        let cut: String = shown.chars().take(SHOWN.1).collect();
        let more = if cut.len() < shown.len() { "..." } else { "" };
        write!(f, "\"{}\"{more}", cut.escape_debug())
    }
}
