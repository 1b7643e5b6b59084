//! The canonical form: what `rmaild -nvv` prints, and what children are given.
//!
//! It parses again to the same configuration.  The part for one process has the
//! statements that it owns ([`Stmt::owners`]), without what it has no need to
//! know: entries of tables (lookup alone has them), key files (parent alone).

use std::time::Duration;

use super::ast::*;
use super::{action, listen, matches, own, pki, queue, scalar, smtp, table};

impl Config {
    /// The whole configuration, secrets included.
    pub fn print(&self) -> String {
        print(self, None)
    }

    /// The part for one process; it is read with [`super::part`].
    pub fn print_for(&self, owner: Owner) -> String {
        print(self, Some(owner))
    }
}

fn print(config: &Config, owner: Option<Owner>) -> String {
    let mut out = Printer { text: String::new(), fresh: true, owner };
    for s in config.stmts() {
        if owner.is_some_and(|o| !s.owners().contains(&o)) {
            continue;
        }
        statement(s, &mut out);
        out.text.push('\n');
        out.fresh = true;
    }
    out.text
}

fn statement(s: &Stmt, out: &mut Printer) {
    match s {
        Stmt::Action(a) => action::print(a, out),
        Stmt::Admd(name) => smtp::print_admd(name, out),
        Stmt::BounceWarn(times) => queue::print_bounce(times, out),
        Stmt::Ca(ca) => pki::print_ca(ca, out),
        Stmt::Listen(l) => listen::print(l, out),
        Stmt::ListenSocket(l) => listen::print_socket(l, out),
        Stmt::Match(m) => matches::print(m, out),
        Stmt::MdaLimit(which, n) => action::print_mda_limit(*which, *n, out),
        Stmt::MdaWrapper(w) => action::print_wrapper(w, out),
        Stmt::MtaMaxDeferred(n) => queue::print_max_deferred(*n, out),
        Stmt::Pki(p) => pki::print(p, out),
        Stmt::QueueCompression
        | Stmt::QueueDirectory(_)
        | Stmt::QueueEncryption(_)
        | Stmt::QueueRetry(..)
        | Stmt::QueueTtl(_) => queue::print(s, out),
        Stmt::SmtpCiphers(_)
        | Stmt::SmtpLimit(..)
        | Stmt::SmtpMaxMessageSize(_)
        | Stmt::SmtpSubAddrDelim(_) => smtp::print(s, out),
        Stmt::Hostname(_)
        | Stmt::Limit(_)
        | Stmt::Mailbox(_)
        | Stmt::MailboxRoot(_)
        | Stmt::Resolver(_)
        | Stmt::Socket(_) => own::print(s, out),
        Stmt::Table(t) => table::print(t, out),
    }
}

/// Puts words on a line.
pub(super) struct Printer {
    text: String,
    fresh: bool,
    owner: Option<Owner>,
}

impl Printer {
    /// A keyword, number or duration.
    pub(super) fn word(&mut self, word: &str) -> &mut Self {
        if !self.fresh {
            self.text.push(' ');
        }
        self.fresh = false;
        self.text.push_str(word);
        self
    }

    /// Keywords that are there if a condition holds.
    pub(super) fn flag(&mut self, on: bool, words: &str) -> &mut Self {
        if on {
            self.word(words);
        }
        self
    }

    /// A text, quoted.
    pub(super) fn text(&mut self, text: &str) -> &mut Self {
        self.word(&quote(text))
    }

    /// A keyword and a text, if there is one.
    pub(super) fn option(&mut self, word: &str, text: Option<&String>) -> &mut Self {
        if let Some(text) = text {
            self.word(word).text(text);
        }
        self
    }

    pub(super) fn number(&mut self, n: impl std::fmt::Display) -> &mut Self {
        self.word(&n.to_string())
    }

    pub(super) fn delay(&mut self, d: Duration) -> &mut Self {
        self.word(&scalar::print_delay(d))
    }

    /// `<name>`
    pub(super) fn named(&mut self, name: &str) -> &mut Self {
        let name = format!("<{}>", quote(name));
        self.word(&name)
    }

    pub(super) fn table(&mut self, table: &TableRef) -> &mut Self {
        match table {
            TableRef::Named(name) => self.named(name),
            TableRef::Inline(Entries::List(l)) if l.len() == 1 => {
                self.text(l.first().map_or("", String::as_str))
            }
            TableRef::Inline(entries) => self.entries(entries),
        }
    }

    pub(super) fn pattern(&mut self, p: &Pattern) -> &mut Self {
        self.flag(p.regex, "regex").table(&p.table)
    }

    pub(super) fn entries(&mut self, entries: &Entries) -> &mut Self {
        let all: Vec<String> = match entries {
            Entries::List(l) => l.iter().map(|k| quote(k)).collect(),
            Entries::Mapping(m) => {
                m.iter().map(|(k, v)| format!("{} = {}", quote(k), quote(v))).collect()
            }
        };
        self.word(&format!("{{ {} }}", all.join(", ")))
    }

    pub(super) fn protocols(&mut self, p: Option<Protocols>) -> &mut Self {
        match p {
            None => self,
            Some(p) => {
                let versions = [(p.v1_2, "tlsv1.2"), (p.v1_3, "tlsv1.3")];
                let names: Vec<&str> =
                    versions.iter().filter(|(on, _)| *on).map(|(_, n)| *n).collect();
                self.word("protocols").text(&names.join(","))
            }
        }
    }

    /// True if entries of tables may be shown: to parent and lookup.
    pub(super) fn sees_tables(&self) -> bool {
        matches!(self.owner, None | Some(Owner::Lookup))
    }

    /// True if paths of key files may be shown: to parent.
    pub(super) fn sees_keys(&self) -> bool {
        self.owner.is_none()
    }
}

/// A text as the lexer reads it back.
///
/// In quotes a backslash stands for itself, unless the quote, a space or a tab
/// follows; so those are escaped, and it cannot be last.  A text that ends in
/// one can only have been written as a word, and is written so again.
fn quote(text: &str) -> String {
    if text.ends_with('\\') {
        return text.replace('\\', "\\\\");
    }
    let mut out = String::with_capacity(text.len().saturating_add(2));
    out.push('"');
    let mut after_backslash = false;
    for c in text.chars() {
        if c == '"' || (after_backslash && matches!(c, ' ' | '\t')) {
            out.push('\\');
        }
        out.push(c);
        after_backslash = c == '\\';
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::lex::{Lexer, Token};
    use crate::conf::NoFiles;

    #[test]
    fn texts_come_back() {
        for text in [
            "", "a", "a b", "a\"b", "a'b", "a\\ b", "a\\\tb", "a\\\"b", "a\\nb", "\\\\ x", "ab\\",
            "a\\b\\", "$x", "# no", "é", "a\\\\",
        ] {
            let mut none = NoFiles;
            let mut lexer = Lexer::new("t", quote(text).as_bytes(), &[], &mut none);
            match lexer.next() {
                Token::Quoted(s) | Token::Word(s) => assert_eq!(s, text),
                other => panic!("{text:?} -> {other:?}"),
            }
            assert_eq!(lexer.next(), Token::Newline, "{text:?}");
        }
    }
}
