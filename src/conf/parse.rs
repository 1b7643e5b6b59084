//! The parser's ground: tokens one ahead, scalars, errors, statements in turn.
//!
//! The grammar of each statement is in the file of its family.  A rule that
//! fails has recorded why and gives [`Failed`]; the parser then goes on after
//! the end of the line, so that a run reports every mistake.

use std::time::Duration;

use super::ast::{Config, Pos, Statement, Stmt};
use super::lex::{Lexer, Token};
use super::{action, features, listen, matches, own, pki, queue, smtp, table};
use super::{Error, Source};

/// How many errors a run reports.
const ERRORS_MAX: usize = 100;

/// Stands for every kind of thing that a statement may have declared.
const ANY: &str = "";

/// A rule failed, and has recorded why.
#[derive(Debug)]
pub(super) struct Failed;

/// What a rule gives.
pub(super) type Parsed<T> = Result<T, Failed>;

/// What a run gives.
pub(super) struct Finished {
    pub(super) config: Config,
    pub(super) errors: Vec<Error>,
    pub(super) warnings: Vec<Error>,
    /// Kind and name of what was declared with a mistake.
    pub(super) broken: Vec<(&'static str, String)>,
    /// Where the text ends.
    pub(super) end: Pos,
}

impl Finished {
    /// Records that a name is declared nowhere, unless it was, with a mistake.
    pub(super) fn missing(&mut self, kind: &str, name: &str, at: &Pos, text: String) {
        if !self.broken.iter().any(|(k, n)| (*k == kind || *k == ANY) && n == name) {
            self.errors.push(Error { at: at.clone(), text });
        }
    }
}

/// The state of a run.
pub(super) struct Parser<'s> {
    lex: Lexer<'s>,
    token: Token,
    at: Pos,
    /// The place of the statement in work.
    pub(super) statement: Pos,
    /// True: a part that another process has checked; names may be elsewhere.
    pub(super) part: bool,
    /// What has been read.
    pub(super) config: Config,
    errors: Vec<Error>,
    /// The options of the statement in work.
    seen: Vec<&'static str>,
    /// What the statement in work declares: its kind and name.
    declares: Option<(&'static str, String)>,
    /// True after a mistake at which the next statement begins already.
    pub(super) at_statement: bool,
    /// What was declared with a mistake: to use it is not another one.
    broken: Vec<(&'static str, String)>,
}

/// Reads a whole configuration; the checks of the whole come after.
pub(super) fn run<'s>(
    name: &str,
    text: &[u8],
    defines: &[(String, String)],
    part: bool,
    source: &'s mut dyn Source,
) -> Parser<'s> {
    let mut lex = Lexer::new(name, text, defines, source);
    let token = lex.next();
    let at = lex.at.clone();
    let errors = std::mem::take(&mut lex.errors);
    let mut p = Parser {
        lex,
        token,
        statement: at.clone(),
        at,
        part,
        config: Config::default(),
        errors,
        seen: Vec::new(),
        declares: None,
        at_statement: false,
        broken: Vec::new(),
    };
    while !p.is(&Token::End) && p.errors.len() < ERRORS_MAX {
        if p.is(&Token::Newline) {
            p.advance();
            continue;
        }
        p.begin();
        if statement(&mut p).and_then(|()| p.end_of_statement()).is_err() {
            let declared = p.declares.take();
            p.broken.extend(declared);
            p.resync();
        }
    }
    p
}

/// One statement, by its first word.
fn statement(p: &mut Parser<'_>) -> Parsed<()> {
    let word = match p.peek() {
        Token::Keyword(k) => *k,
        Token::Word(_) => return own::word(p),
        _ => {
            return p.unexpected("a statement begins with a word such as listen, action or match");
        }
    };
    match word {
        "action" => action::parse(p),
        "admd" => smtp::admd(p),
        "bounce" => queue::bounce(p),
        "ca" => pki::ca(p),
        "filter" => features::refuse(p, "filter", "remove the filter and its uses"),
        "hostname" => own::hostname(p),
        "include" => include(p),
        "limit" => own::limit(p),
        "listen" => listen::parse(p),
        "match" => matches::parse(p),
        "mda" => action::mda(p),
        "mta" => queue::mta(p),
        "pki" => pki::parse(p),
        "proc" => features::refuse(p, "proc", "remove the proc and the filters that use it"),
        "queue" => queue::parse(p),
        "scheduler" => queue::scheduler(p),
        "smtp" => smtp::parse(p),
        "socket" => own::socket(p),
        "srs" => features::refuse(p, "srs", "remove it, and srs from the relay actions"),
        "table" => table::parse(p),
        _ => {
            let at = p.here();
            p.advance();
            if p.is(&Token::Sign(b'=')) {
                let text =
                    format!("{word} is a keyword: give the macro another name, such as my_{word}");
                return p.fail_at(at, text);
            }
            p.fail_at(at, format!("unexpected {word}: no statement begins so"))
        }
    }
}

/// `include "path"`
fn include(p: &mut Parser<'_>) -> Parsed<()> {
    p.advance();
    let at = p.here();
    let path = p.string("the path of a file")?;
    if !p.at_end_of_line() {
        return p.unexpected("an include ends after its path");
    }
    // The end of this line is read already: the next token is the file's first.
    match p.lex.include(&path) {
        Ok(()) => Ok(()),
        Err(e) => p.fail_at(at, e),
    }
}

impl Parser<'_> {
    /// The token that comes next.
    pub(super) fn peek(&self) -> &Token {
        &self.token
    }

    /// The place of the next token.
    pub(super) fn here(&self) -> Pos {
        self.at.clone()
    }

    /// Consumes the next token.
    pub(super) fn advance(&mut self) -> Token {
        let next = self.lex.next();
        self.at = self.lex.at.clone();
        self.errors.append(&mut self.lex.errors);
        std::mem::replace(&mut self.token, next)
    }

    pub(super) fn is(&self, token: &Token) -> bool {
        self.token == *token
    }

    /// True where the statement ends.
    pub(super) fn at_end_of_line(&self) -> bool {
        matches!(self.token, Token::Newline | Token::End)
    }

    /// Consumes an unquoted word, keyword or not, if it is next.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = match self.peek() {
            Token::Keyword(k) => *k == word,
            Token::Word(w) => w == word,
            _ => false,
        };
        if found {
            self.advance();
        }
        found
    }

    /// Consumes a sign if it is next.
    pub(super) fn eat_sign(&mut self, sign: u8) -> bool {
        let found = self.is(&Token::Sign(sign));
        if found {
            self.advance();
        }
        found
    }

    /// Consumes an unquoted word that must be there.
    pub(super) fn expect(&mut self, word: &str) -> Parsed<()> {
        if self.eat(word) {
            return Ok(());
        }
        self.unexpected(&format!("expected {word}"))
    }

    /// Consumes the word if it is next, as an option that is given once.
    pub(super) fn option(&mut self, word: &'static str) -> Parsed<bool> {
        if !self.eat(word) {
            return Ok(false);
        }
        self.once(word)?;
        Ok(true)
    }

    /// Notes an option; the second time is an error.
    pub(super) fn once(&mut self, word: &'static str) -> Parsed<()> {
        if self.seen.contains(&word) {
            return self.fail(format!("{word} is given twice: once is enough, remove one"));
        }
        self.seen.push(word);
        Ok(())
    }

    /// Says what the statement in work declares.
    pub(super) fn declares(&mut self, kind: &'static str, name: &str) {
        self.declares = Some((kind, name.to_string()));
    }

    /// True if this was declared, but with a mistake.
    pub(super) fn is_broken(&self, kind: &str, name: &str) -> bool {
        self.broken.iter().any(|(k, n)| (*k == kind || *k == ANY) && n == name)
    }

    /// True if the statement in work had this option.
    pub(super) fn seen(&self, word: &str) -> bool {
        self.seen.contains(&word)
    }

    /// A name or text: a word, quoted or not, that is no keyword.
    pub(super) fn string(&mut self, what: &str) -> Parsed<String> {
        match self.peek() {
            Token::Word(s) | Token::Quoted(s) | Token::Number(_, s) => {
                let s = s.clone();
                self.advance();
                Ok(s)
            }
            Token::Keyword(k) => {
                let text =
                    format!("expected {what}; {k} is a keyword: to use it so, quote it: \"{k}\"");
                // Perhaps it was to be declared here.
                self.declares.get_or_insert((ANY, (*k).to_string()));
                self.fail(text)
            }
            _ => self.unexpected(&format!(
                "expected {what}, which must be quoted unless it begins with a letter or digit"
            )),
        }
    }

    /// The same, and not empty.
    pub(super) fn name(&mut self, what: &str) -> Parsed<String> {
        let at = self.here();
        let s = self.string(what)?;
        if s.is_empty() {
            return self.fail_at(at, format!("expected {what}, which cannot be empty"));
        }
        if s.bytes().any(|b| b.is_ascii_control()) {
            return self.fail_at(at, format!("{what} has a control character in it"));
        }
        Ok(s)
    }

    /// A path from the root.
    pub(super) fn absolute(&mut self, what: &str) -> Parsed<String> {
        let at = self.here();
        let s = self.name(what)?;
        if !s.starts_with('/') {
            return self.fail_at(at, format!("{what} \"{s}\" must begin with /"));
        }
        Ok(s)
    }

    /// A host name in lower case.
    pub(super) fn hostname(&mut self, what: &str) -> Parsed<String> {
        let at = self.here();
        let s = self.name(what)?.to_ascii_lowercase();
        if !super::scalar::is_hostname(&s) {
            return self.fail_at(
                at,
                format!("{what} \"{s}\" is not a host name, such as mail.example.com"),
            );
        }
        Ok(s)
    }

    /// A number within a range.
    pub(super) fn number<T: TryFrom<i64> + PartialOrd + std::fmt::Display>(
        &mut self,
        what: &str,
        from: T,
    ) -> Parsed<T> {
        let at = self.here();
        let n = match *self.peek() {
            Token::Number(n, _) => n,
            _ => return self.unexpected(&format!("expected {what}, a number")),
        };
        self.advance();
        match T::try_from(n) {
            Ok(v) if v >= from => Ok(v),
            _ => {
                self.fail_at(at, format!("{what} {n} is out of range: it must be at least {from}"))
            }
        }
    }

    /// A duration: digits and one of s, m, h, d (and ms for rmail's own).
    pub(super) fn delay(&mut self, what: &str, ms: bool) -> Parsed<Duration> {
        let at = self.here();
        let units = if ms { "s, m, h, d or ms, such as 4h" } else { "s, m, h or d, such as 4h" };
        let s = self.string(what)?;
        match super::scalar::delay(&s, ms) {
            Some(d) => Ok(d),
            None => self.fail_at(at, format!("{what} \"{s}\" is not a number of {units}")),
        }
    }

    /// A size in octets: a number, or one with B, K, M, G or T.
    pub(super) fn size(&mut self, what: &str) -> Parsed<u64> {
        let at = self.here();
        let s = self.string(what)?;
        match super::scalar::size(&s) {
            Some(n) => Ok(n),
            None => self.fail_at(at, format!("{what} \"{s}\" is not a size, such as 35M")),
        }
    }

    /// A port: a number from 0, or the name of a service.
    pub(super) fn port(&mut self) -> Parsed<u16> {
        let at = self.here();
        if let Token::Number(n, _) = *self.peek() {
            self.advance();
            return match u16::try_from(n) {
                Ok(port) => Ok(port),
                Err(_) => self.fail_at(at, format!("port {n} is not between 0 and 65535")),
            };
        }
        let name = match self.peek() {
            Token::Keyword(k @ ("smtp" | "smtps" | "lmtp")) => {
                let k = (*k).to_string();
                self.advance();
                k
            }
            _ => self.string("a port")?,
        };
        match super::scalar::service(&name).or_else(|| self.lex.service(&name)) {
            Some(port) => Ok(port),
            None => {
                self.fail_at(at, format!("no service is named \"{name}\": write the port's number"))
            }
        }
    }

    /// `name = value`, with the name read and `=` next.
    pub(super) fn define(&mut self, name: &str) -> Parsed<()> {
        let at = self.here();
        self.advance();
        let value = match self.peek() {
            Token::Word(s) | Token::Quoted(s) => s.clone(),
            Token::Number(_, s) => {
                let text = format!("the value of a macro is a text: write {name} = \"{s}\"");
                return self.fail(text);
            }
            Token::Keyword(k) => {
                let text = format!("the value of a macro is a text: write {name} = \"{k}\"");
                return self.fail(text);
            }
            _ => {
                return self.unexpected(&format!("expected the value of {name}, a text in quotes"))
            }
        };
        if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
            return self
                .fail_at(at, format!("macro \"{name}\": a name has letters, digits and _ only"));
        }
        self.lex.define(name, &value, at);
        self.advance();
        Ok(())
    }

    /// Records a mistake at the next token and fails.
    pub(super) fn fail<T>(&mut self, text: impl Into<String>) -> Parsed<T> {
        let at = self.here();
        self.fail_at(at, text)
    }

    /// Records a mistake and fails.
    pub(super) fn fail_at<T>(&mut self, at: Pos, text: impl Into<String>) -> Parsed<T> {
        self.error_at(at, text);
        Err(Failed)
    }

    /// The next token is wrong: says so, and what would be right.
    pub(super) fn unexpected<T>(&mut self, right: &str) -> Parsed<T> {
        // A word that the lexer could not read has been reported already.
        if self.at_end_of_line() && self.errors.last().is_some_and(|e| e.at == self.at) {
            return Err(Failed);
        }
        let text = match self.peek() {
            Token::Sign(b'/' | b'.' | b'~' | b'@' | b'+' | b'*' | b'[') => {
                format!("unexpected {}: {right}; a text that begins so must be quoted", self.peek())
            }
            Token::Newline | Token::End => format!("the line ends too early: {right}"),
            other => format!("unexpected {other}: {right}"),
        };
        self.fail(text)
    }

    /// Records a mistake and goes on.
    pub(super) fn error_at(&mut self, at: Pos, text: impl Into<String>) {
        let mut text = text.into();
        if let Some(line) = self.lex.long_quote.take() {
            text.push_str(&format!(
                " (the quoted text that begins on line {line} goes over several lines: is its closing quote missing?)"
            ));
        }
        self.errors.push(Error { at, text });
    }

    /// Adds the statement in work.
    pub(super) fn push(&mut self, stmt: Stmt) {
        let at = self.statement.clone();
        self.config.statements.push(Statement { at, stmt });
    }

    /// Adds a statement that may stand once in a configuration.
    pub(super) fn push_single(
        &mut self,
        stmt: Stmt,
        what: &str,
        same: impl Fn(&Stmt) -> bool,
    ) -> Parsed<()> {
        let earlier = self.config.statements.iter().find(|s| same(&s.stmt)).map(|s| s.at.clone());
        if let Some(earlier) = earlier {
            let at = self.statement.clone();
            return self
                .fail_at(at, format!("{what} is set already at {earlier}: remove one of the two"));
        }
        self.push(stmt);
        Ok(())
    }

    fn begin(&mut self) {
        self.statement = self.here();
        self.seen.clear();
        self.declares = None;
        self.lex.long_quote = None;
    }

    fn end_of_statement(&mut self) -> Parsed<()> {
        if self.at_end_of_line() {
            return Ok(());
        }
        self.unexpected("the statement should end here")
    }

    /// Goes to the end of the line after a mistake.
    fn resync(&mut self) {
        let begun = std::mem::take(&mut self.at_statement);
        if !begun && !self.at_end_of_line() {
            self.token = self.lex.skip_line();
            self.errors.append(&mut self.lex.errors);
        }
    }

    /// Goes to the end of a statement that is well formed but refused.
    pub(super) fn skip_statement(&mut self) {
        let mut depth = 0usize;
        loop {
            match self.peek() {
                Token::End => return,
                Token::Newline if depth == 0 => return,
                Token::Sign(b'{') => depth = depth.saturating_add(1),
                Token::Sign(b'}') => depth = depth.saturating_sub(1),
                _ => {}
            }
            self.advance();
        }
    }

    /// Skips line ends, where a list in braces goes on.
    pub(super) fn skip_newlines(&mut self) {
        while self.is(&Token::Newline) {
            self.advance();
        }
    }

    /// Ends the run: all mistakes, and warnings about what does nothing.
    pub(super) fn finish(self) -> Finished {
        let warnings = self
            .lex
            .unused()
            .map(|(name, at)| Error {
                at: at.clone(),
                text: format!("macro \"{name}\" is not used"),
            })
            .collect();
        Finished {
            config: self.config,
            errors: self.errors,
            warnings,
            broken: self.broken,
            end: self.at,
        }
    }
}
