//! The grammar of scripts.  RFC 5228 8.2.
//!
//! Knows no command: what a name means is the checker's business.  After an
//! error the parser goes on at the next `;` or block end, so that one mistake
//! is reported once and the rest of the script is still looked at.  Recursion
//! is bounded by `limits::SIEVE_BLOCK_NESTING` and `SIEVE_TEST_NESTING`.

use std::ops::Range;

use crate::proto::limits;

use super::ast::{Arg, Entry, Node, Tree, Value};
use super::fault::{Error, Pos};
use super::language::is_command;
use super::lex::{Lexer, Token};

/// Parses a script; `errors` receives what is wrong with it.
///
/// The tree is useful even then: nodes with an error in them are marked
/// [`Entry::broken`].
pub fn parse<'a>(script: &'a [u8], errors: &mut Vec<Error>) -> Tree<'a> {
    let mut parser = Parser::new(script);
    while parser.top_command() {}
    errors.append(&mut parser.errors);
    parser.tree
}

/// Scripts are UTF-8 (RFC 5228 2.1); the first octet that is not is an error.
fn text_of(script: &[u8]) -> Result<&str, Error> {
    if script.len() > limits::SIEVE_SCRIPT.size() {
        let text = format!("the script is larger than {} octets", limits::SIEVE_SCRIPT.default);
        return Err(Error { script: None, pos: Pos::default(), text });
    }
    let at = match std::str::from_utf8(script) {
        Ok(text) => return Ok(text),
        Err(error) => error.valid_up_to(),
    };
    let before = script.get(..at).unwrap_or_default();
    let line = before.iter().filter(|b| **b == b'\n').count().saturating_add(1);
    let column = before.rsplit(|b| *b == b'\n').next().map_or(0, <[u8]>::len).saturating_add(1);
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let pos = Pos { line: number(line), column: number(column) };
    Err(Error { script: None, pos, text: "the script is not UTF-8".into() })
}

/// Reads a script, command by command.
pub struct Parser<'a> {
    lexer: Lexer<'a>,
    pos: Pos,
    token: Token<'a>,
    tree: Tree<'a>,
    /// What is wrong with what has been read.
    pub errors: Vec<Error>,
}

impl<'a> Parser<'a> {
    /// Begins at the script's first octet.  Of a script that is too large or not UTF-8 nothing is
    /// read.
    pub fn new(script: &'a [u8]) -> Self {
        let mut errors = Vec::new();
        let script = text_of(script).unwrap_or_else(|wrong| {
            errors.push(wrong);
            ""
        });
        let mut lexer = Lexer::new(script);
        let (pos, token) = lexer.next_token();
        Parser { lexer, pos, token, tree: Tree::default(), errors }
    }

    /// The next command of the script itself, with its block; the one before is forgotten.
    pub fn next_command(&mut self) -> Option<Node<'_, 'a>> {
        self.tree.clear();
        self.top_command();
        self.tree.commands().next()
    }

    /// Reads a command of the script itself; false if there is none left.
    fn top_command(&mut self) -> bool {
        loop {
            let found = self.command(0);
            if found || self.full() || self.token == Token::End {
                return found;
            }
            // A stray '}' ends no block.
            self.error_here("this '}' closes nothing");
            self.advance();
        }
    }

    fn advance(&mut self) -> Token<'a> {
        let (pos, token) = self.lexer.next_token();
        self.pos = pos;
        std::mem::replace(&mut self.token, token)
    }

    fn full(&self) -> bool {
        self.errors.len() >= limits::SIEVE_ERRORS.size()
    }

    fn error(&mut self, pos: Pos, text: impl Into<String>) {
        if !self.full() {
            self.errors.push(Error { script: None, pos, text: text.into() });
        }
    }

    fn error_here(&mut self, text: impl Into<String>) {
        let pos = self.pos;
        self.error(pos, text);
    }

    /// Reports the current token, which does not fit, as an error.
    fn unexpected(&mut self, wanted: &str) {
        let text = match &self.token {
            Token::Bad(why) => why.clone(),
            other => format!("{} where {wanted} was expected", other.describe()),
        };
        self.error_here(text);
    }

    fn at(&self, punct: u8) -> bool {
        self.token == Token::Punct(punct)
    }

    /// commands = *command
    ///
    /// The next one; false if there is none before a `}` or the end.
    fn command(&mut self, depth: usize) -> bool {
        while !self.full() {
            match &self.token {
                Token::End | Token::Punct(b'}') => break,
                // Harmless, but not in the grammar.
                Token::Punct(b';') => {
                    self.error_here("a semicolon without a command");
                    self.advance();
                }
                Token::Identifier(_) => {
                    let at = self.tree.open();
                    let entry = self.one_command(depth);
                    self.tree.close(at, entry);
                    return true;
                }
                _ => {
                    self.unexpected("a command");
                    self.recover();
                }
            }
        }
        false
    }

    /// command = identifier arguments (";" / block)
    fn one_command(&mut self, depth: usize) -> Entry<'a> {
        let mut node = self.node(0);
        if node.broken && !self.at(b'{') {
            self.recover();
            return node;
        }
        match &self.token {
            Token::Punct(b';') if matches!(&*node.name, "if" | "elsif") => {
                self.error_here(format!("the {} command needs a block", node.name));
                node.broken = true;
                self.advance();
                // A semicolon in the middle of the test: what follows is the rest of it.
                if matches!(&self.token, Token::Identifier(name) if !is_command(name)) {
                    self.recover();
                }
            }
            Token::Punct(b';') => {
                self.advance();
            }
            Token::Punct(b'{') => {
                if depth >= limits::SIEVE_BLOCK_NESTING.size() {
                    self.error_here(format!(
                        "blocks are nested deeper than {}",
                        limits::SIEVE_BLOCK_NESTING.default
                    ));
                    node.broken = true;
                    self.skip_nested(b'{', b'}');
                    return node;
                }
                self.block(&mut node, depth);
            }
            // The next command begins: only the semicolon is missing.
            Token::Identifier(_) | Token::Punct(b'}') | Token::End => {
                let text = format!("missing semicolon after the {} command", node.name);
                self.error_here(text);
            }
            _ => {
                self.unexpected("';' or a block");
                node.broken = true;
                self.recover();
            }
        }
        node
    }

    /// block = "{" commands "}"
    fn block(&mut self, node: &mut Entry<'a>, depth: usize) {
        let start = self.pos;
        self.advance();
        while self.command(depth.saturating_add(1)) {}
        if self.at(b'}') {
            self.advance();
        } else {
            self.error(start, "this block does not end");
        }
        node.has_block = true;
    }

    /// identifier arguments; for commands and tests.
    ///
    /// arguments = *argument [ test / test-list ]
    fn node(&mut self, depth: usize) -> Entry<'a> {
        let mut node = self.tree.entry(self.pos);
        if let Token::Identifier(name) = self.advance() {
            node.name = name;
        }
        self.arguments(&mut node);
        match &self.token {
            Token::Identifier(_) | Token::Punct(b'(') if node.broken => {}
            Token::Identifier(_) if self.starts_next_command(&node) => {}
            Token::Identifier(_) | Token::Punct(b'(')
                if depth >= limits::SIEVE_TEST_NESTING.size() =>
            {
                self.error_here(format!(
                    "tests are nested deeper than {}",
                    limits::SIEVE_TEST_NESTING.default
                ));
                node.broken = true;
                self.skip_to_block();
            }
            Token::Identifier(_) => self.test(&mut node, depth),
            Token::Punct(b'(') => self.test_list(&mut node, depth),
            _ => {}
        }
        self.tree.end_tests(&mut node);
        node
    }

    /// test = identifier arguments
    fn test(&mut self, node: &mut Entry<'a>, depth: usize) {
        let at = self.tree.open();
        let test = self.node(depth.saturating_add(1));
        node.broken |= test.broken;
        self.tree.close(at, test);
    }

    /// A name at the start of a line after a command that takes no test: what is missing is a
    /// semicolon.  Only the known control commands are followed by a test.
    fn starts_next_command(&self, node: &Entry<'_>) -> bool {
        self.pos.line > node.pos.line
            && !matches!(&*node.name, "if" | "elsif" | "not" | "anyof" | "allof" | "else")
            && is_command(match &self.token {
                Token::Identifier(name) => name,
                _ => "",
            })
    }

    /// test-list = "(" test *("," test) ")"
    fn test_list(&mut self, node: &mut Entry<'a>, depth: usize) {
        node.test_list = true;
        self.advance();
        loop {
            if !matches!(self.token, Token::Identifier(_)) {
                self.unexpected("a test");
                node.broken = true;
                if self.at(b')') {
                    self.advance();
                } else {
                    self.skip_to_block();
                }
                return;
            }
            self.test(node, depth);
            if node.broken && !self.at(b',') && !self.at(b')') {
                self.skip_to_block();
                return;
            }
            match self.token {
                Token::Punct(b',') => self.advance(),
                Token::Punct(b')') => {
                    self.advance();
                    return;
                }
                _ => {
                    self.unexpected("',' or ')' in a test list");
                    node.broken = true;
                    self.skip_to_block();
                    return;
                }
            };
        }
    }

    /// argument = string-list / number / tag
    fn arguments(&mut self, node: &mut Entry<'a>) {
        loop {
            let pos = self.pos;
            let value = match &self.token {
                Token::Tag(_) | Token::Number(_) | Token::Text(_) => match self.advance() {
                    Token::Tag(name) => Value::Tag(name),
                    Token::Number(n) => Value::Number(n),
                    Token::Text(text) => Value::Text(text),
                    _ => return,
                },
                Token::Punct(b'[') => match self.string_list() {
                    Some(list) => Value::List(list),
                    None => {
                        node.broken = true;
                        return;
                    }
                },
                Token::Bad(_) => {
                    self.unexpected("an argument");
                    node.broken = true;
                    self.skip_to_block();
                    return;
                }
                _ => return,
            };
            let most = limits::SIEVE_ARGUMENTS.size();
            if !self.tree.push(node, Arg { pos, value }, most) {
                let text = format!("more than {} arguments", limits::SIEVE_ARGUMENTS.default);
                self.error(pos, text);
                node.broken = true;
                self.skip_to_block();
                return;
            }
        }
    }

    /// string-list = "[" string *("," string) "]"
    fn string_list(&mut self) -> Option<Range<usize>> {
        self.advance();
        let mut list = 0..0;
        loop {
            if !matches!(self.token, Token::Text(_)) {
                self.unexpected("a string");
                self.skip_to_block();
                return None;
            }
            if let Token::Text(text) = self.advance() {
                self.tree.push_string(&mut list, text);
            }
            match self.token {
                Token::Punct(b',') => self.advance(),
                Token::Punct(b']') => {
                    self.advance();
                    return Some(list);
                }
                _ => {
                    self.unexpected("',' or ']' in a string list");
                    self.skip_to_block();
                    return None;
                }
            };
        }
    }

    /// After an error inside a command: to its `;`, its block, or what must end it.
    fn skip_to_block(&mut self) {
        while !matches!(self.token, Token::End | Token::Punct(b';' | b'{' | b'}')) {
            self.advance();
        }
    }

    /// After a broken command: past its `;` or its block.
    fn recover(&mut self) {
        self.skip_to_block();
        match self.token {
            Token::Punct(b';') => {
                self.advance();
            }
            Token::Punct(b'{') => self.skip_nested(b'{', b'}'),
            _ => {}
        }
    }

    /// Past a balanced pair, of which the opening one is the current token.
    fn skip_nested(&mut self, open: u8, close: u8) {
        let mut depth = 0usize;
        loop {
            match &self.token {
                Token::End => return,
                Token::Punct(b) if *b == open => depth = depth.saturating_add(1),
                Token::Punct(b) if *b == close => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
            if depth == 0 {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn errors(script: &str) -> Vec<String> {
        let mut errors = Vec::new();
        parse(script.as_bytes(), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_mistake_gives_one_error() {
        for script in [
            "keep\nstop;",
            "if true { keep }",
            "if anyof (true, ) { keep; }",
            "keep $$$; stop;",
            "fileinto [\"a\", ]; stop;",
            "if true { keep;",
            "keep; } stop;",
            "fileinto [\"a\" \"b\"]; keep;",
            "if address :count \"eq\" ;comparator \"x\" \"to\" \"3\" { keep; }",
            "if true; keep;",
        ] {
            assert_eq!(errors(script).len(), 1, "{script}: {:?}", errors(script));
        }
    }

    #[test]
    fn nesting_is_bounded() {
        let deep = "if true {".repeat(100_000);
        assert!(errors(&deep)[0].contains("nested"), "{:?}", errors(&deep));
        let deep = format!("if {} true {{}}", "not ".repeat(100_000));
        assert_eq!(errors(&deep).len(), 1);
        let deep = format!("if {}true{} {{}}", "anyof(".repeat(40_000), ")".repeat(40_000));
        assert_eq!(errors(&deep).len(), 1);
    }

    #[test]
    fn a_script_that_is_not_utf8_is_refused_with_its_place() {
        let mut found = Vec::new();
        parse(b"keep;\n # \xff", &mut found);
        assert_eq!(found[0].pos, Pos { line: 2, column: 4 });
    }
}
