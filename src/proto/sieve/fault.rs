//! Errors of scripts: those found when compiling, and those met when running.
//!
//! A script has many [`Error`]s at once, each with its place; one mistake
//! gives one error.  A run ends at its first [`Fault`].

use std::fmt;

/// A place in a script's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pos {
    /// Line, from 1.
    pub line: u32,
    /// Column in octets, from 1.
    pub column: u32,
}

/// One mistake in a script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The included script that has the mistake; `None` is the script itself.
    pub script: Option<String>,
    /// Where.
    pub pos: Pos,
    /// What, in words for the script's author.
    pub text: String,
}

impl Error {
    /// True if it stands at no place of the script but is about all of it: that it is too large,
    /// say.
    pub fn is_about_all(&self) -> bool {
        self.script.is_none() && self.pos == Pos::default()
    }
}

impl fmt::Display for Error {
    /// `line:column: text`; the caller puts the file's name in front.  What is about a whole
    /// script has no line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = &self.script {
            write!(f, "{name}:")?;
        }
        match (self.pos == Pos::default(), &self.script) {
            (true, Some(_)) => write!(f, " {}", self.text),
            (true, None) => f.write_str(&self.text),
            (false, _) => write!(f, "{}:{}: {}", self.pos.line, self.pos.column, self.text),
        }
    }
}

/// Why a run ended early.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Where.
    pub pos: Pos,
    /// What, in words for the script's author.
    pub text: String,
    /// The surroundings could not answer: try again later, keep nothing now.
    pub temporary: bool,
    /// The script asked for it, with the `error` command.  RFC 5463 5.
    pub by_script: bool,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.pos.line, self.pos.column, self.text)
    }
}
