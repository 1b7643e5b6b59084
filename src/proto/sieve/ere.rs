//! POSIX extended regular expressions, for `:regex`.  POSIX.1-2017 9.4,
//! draft-murchison-sieve-regex.
//!
//! The expression is checked and translated here, piece by piece, and run by
//! the `regex` crate, whose automata take time linear in the value: no
//! expression can blow up.  Building an automaton costs more than running it,
//! so that is put off until a value has the [`Needle`] of the expression; what
//! would be too big is refused before.
//!
//! What is found is the *leftmost-first* match, as with Pigeonhole 2.4 (PCRE2),
//! not POSIX's longest: of `(a|ab)` the first alternative that leads to a match
//! wins.  Whether there is a match does not depend on that, only what the match
//! variables hold.
//!
//! Beyond POSIX: `\d \D \w \W \s \S \b \B` (ASCII), `(?:...)`, and a `?` after
//! a repetition for the shortest one.  Back-references are refused.

use std::ops::Range;
use std::sync::OnceLock;

use regex::bytes::{Regex, RegexBuilder};

use super::compare::Fold;
use super::needle::Needle;
use crate::proto::limits;

/// A checked expression; its automaton is built when a value may match.
#[derive(Clone, Debug)]
pub struct Ere {
    translated: String,
    /// What every match contains.
    pub needle: Needle,
    regex: OnceLock<Result<Regex, String>>,
    places: usize,
    /// The automaton is kept for the next value.
    pub keep: bool,
}

impl Ere {
    /// Checks and translates an expression.
    pub fn new(pattern: &[u8], fold: Fold) -> Result<Ere, String> {
        translate(pattern, fold)
    }

    /// The ranges of the whole match and its groups, at most `SIEVE_MATCH_VALUES`.
    ///
    /// The error is words for the script's author.
    pub fn captures(&self, value: &[u8]) -> Result<Option<Vec<Range<usize>>>, String> {
        let made;
        let regex = match self.regex.get() {
            Some(regex) => regex,
            None if self.keep => self.regex.get_or_init(|| build(&self.translated)),
            None => {
                made = build(&self.translated);
                &made
            }
        };
        let Some(found) = regex.as_ref().map_err(String::clone)?.captures(value) else {
            return Ok(None);
        };
        let groups = found.iter().take(limits::SIEVE_MATCH_VALUES.size());
        Ok(Some(groups.map(|group| group.map_or(0..0, |m| m.range())).collect()))
    }

    /// What the automaton takes once values have been looked at, in octets, roughly.
    pub fn octets(&self) -> usize {
        self.places.saturating_mul(PLACE_OCTETS_RUNNING).saturating_add(DFA_OCTETS)
    }

    /// How much work is to be done before a value can be looked at, in units of fuel.
    pub fn cost_of_building(&self) -> u64 {
        let places = if self.regex.get().is_some() { 0 } else { self.places };
        u64::try_from(places).unwrap_or(u64::MAX).saturating_mul(PLACE_FUEL)
    }

    /// How much work a value of this length is, in units of fuel.
    pub fn cost(&self, value: usize) -> u64 {
        // Without an automaton that fits into memory every place may have to be tried.
        let factor = self.places.div_ceil(16).max(1);
        u64::try_from(value.saturating_mul(factor)).unwrap_or(u64::MAX)
    }
}

fn build(translated: &str) -> Result<Regex, String> {
    RegexBuilder::new(translated)
        .size_limit(limits::SIEVE_REGEX_MEMORY.size())
        .dfa_size_limit(DFA_OCTETS)
        .nest_limit(64)
        .build()
        .map_err(|e| match e {
            regex::Error::CompiledTooBig(_) => TOO_BIG.to_string(),
            _ => "the regular expression is not valid".to_string(),
        })
}

const TOO_BIG: &str = "the regular expression needs too much memory";

/// Memory that one character of an expression takes when it is built, roughly.
const PLACE_OCTETS: usize = 64;

/// The same when it runs: for each place the match values of two generations.
const PLACE_OCTETS_RUNNING: usize = 1024;

/// Memory for the deterministic automaton that is made on the way.
const DFA_OCTETS: usize = 256 << 10;

/// What building it costs.
const PLACE_FUEL: u64 = 1024;

struct Translator<'a> {
    chars: std::iter::Peekable<std::str::Chars<'a>>,
    fold: Fold,
    out: String,
    /// True if something that can be repeated has just been written.
    atom: bool,
    /// What literally stands here, as far as it is outside of groups.
    run: Vec<u8>,
    /// Where the last character of the run begins.
    last: usize,
    /// The stretches that every match contains.
    runs: Vec<Vec<u8>>,
    /// There is a `|` outside of groups: nothing is contained in every match.
    alternatives: bool,
    /// Places of the automaton: of what stands before each open group, and of this one so far.
    places: Vec<usize>,
    /// Places of what can be repeated.
    atom_places: usize,
    /// How many groups have been opened that match variables show.
    groups: usize,
}

fn translate(pattern: &[u8], fold: Fold) -> Result<Ere, String> {
    if pattern.len() > limits::SIEVE_REGEX.size() {
        return Err(format!(
            "a regular expression of more than {} octets",
            limits::SIEVE_REGEX.default
        ));
    }
    let text = std::str::from_utf8(pattern).map_err(|_| "the regular expression is not UTF-8")?;
    let mut t = Translator {
        chars: text.chars().peekable(),
        fold,
        out: String::with_capacity(pattern.len().saturating_mul(4)),
        atom: false,
        run: Vec::new(),
        last: 0,
        runs: Vec::new(),
        alternatives: false,
        places: vec![0],
        atom_places: 0,
        groups: 0,
    };
    while let Some(c) = t.chars.next() {
        t.one(c)?;
    }
    if t.depth() > 0 {
        return Err("a '(' in the regular expression is not closed".into());
    }
    t.cut();
    let runs = if t.alternatives { Vec::new() } else { t.runs };
    Ok(Ere {
        translated: t.out,
        needle: Needle::longest(runs, fold),
        regex: OnceLock::new(),
        places: t.places.iter().sum(),
        keep: false,
    })
}

impl Translator<'_> {
    fn one(&mut self, c: char) -> Result<(), String> {
        match c {
            '^' => self.bare(r"\A"),
            '$' => self.bare(r"\z"),
            '|' => {
                self.alternatives |= self.depth() == 0;
                self.bare("|");
            }
            '.' => self.done(r"(?s:.)", WIDE)?,
            '[' => self.bracket()?,
            '(' => {
                if self.depth() >= 32 {
                    return Err("the regular expression is nested too deep".into());
                }
                self.bare("(");
                self.places.push(0);
                let plain = self.chars.next_if_eq(&'?').is_some();
                if plain && self.chars.next_if_eq(&':').is_none() {
                    return Err("'(?' is only known as '(?:'".into());
                }
                // A value that no match variable can have need not be kept track of.
                self.groups = self.groups.saturating_add(usize::from(!plain));
                if plain || self.groups >= limits::SIEVE_MATCH_VALUES.size() {
                    self.out.push_str("?:");
                }
            }
            ')' if self.depth() == 0 => {
                return Err("a ')' in the regular expression closes nothing".into());
            }
            ')' => {
                let inner = self.places.pop().unwrap_or(0);
                self.done(")", inner.saturating_add(1))?;
            }
            '*' => self.repeat("*", 1)?,
            '+' => self.repeat("+", 1)?,
            '?' => self.repeat("?", 1)?,
            '{' if self.chars.peek().is_some_and(char::is_ascii_digit) => self.interval()?,
            '\\' => self.escape()?,
            c => self.literal(c)?,
        }
        Ok(())
    }

    /// How many groups are open.
    fn depth(&self) -> usize {
        self.places.len().saturating_sub(1)
    }

    /// Ends the literal stretch.
    fn cut(&mut self) {
        if !self.run.is_empty() {
            self.runs.push(std::mem::take(&mut self.run));
        }
        self.last = 0;
    }

    /// Writes something that cannot be repeated.
    fn bare(&mut self, text: &str) {
        self.cut();
        self.out.push_str(text);
        self.atom = false;
    }

    /// Writes something that can be repeated and is no literal.
    fn done(&mut self, text: &str, places: usize) -> Result<(), String> {
        self.cut();
        self.write(text, places)
    }

    fn write(&mut self, text: &str, places: usize) -> Result<(), String> {
        self.out.push_str(text);
        self.atom = true;
        self.atom_places = places;
        self.take_places(places)
    }

    /// Counts places; what would be too big is refused when the script is compiled.
    fn take_places(&mut self, places: usize) -> Result<(), String> {
        let most = limits::SIEVE_REGEX_MEMORY.size() / PLACE_OCTETS;
        if let Some(sum) = self.places.last_mut() {
            *sum = sum.saturating_add(places);
        }
        if self.places.iter().any(|sum| *sum > most) {
            return Err(TOO_BIG.into());
        }
        Ok(())
    }

    /// Repeats the last atom, as often as `copies` at most as far as the automaton is concerned.
    fn repeat(&mut self, how: &str, copies: usize) -> Result<(), String> {
        if !self.atom {
            return Err(format!("'{how}' in the regular expression repeats nothing"));
        }
        // The last character may not be there at all.
        self.run.truncate(self.last);
        self.cut();
        self.take_places(self.atom_places.saturating_mul(copies.saturating_sub(1)))?;
        self.out.push_str(how);
        if self.chars.next_if_eq(&'?').is_some() {
            self.out.push('?');
        }
        self.atom = false;
        Ok(())
    }

    /// Interval: `{m}`, `{m,}`, `{m,n}`, at most RE_DUP_MAX (255).
    fn interval(&mut self) -> Result<(), String> {
        let wrong = || "a '{' in the regular expression begins no valid interval".to_string();
        let mut text = String::new();
        loop {
            match self.chars.next() {
                Some('}') => break,
                Some(c) if (c.is_ascii_digit() || c == ',') && text.len() < 8 => text.push(c),
                _ => return Err(wrong()),
            }
        }
        let (low, high) = text.split_once(',').map_or((text.as_str(), None), |(l, h)| (l, Some(h)));
        let number = |s: &str| s.parse::<u8>().map_err(|_| wrong());
        let low = number(low)?;
        match high {
            None => self.repeat(&format!("{{{low}}}"), low.into()),
            Some("") => self.repeat(&format!("{{{low},}}"), usize::from(low).saturating_add(1)),
            Some(high) => {
                let high = number(high)?;
                if high < low {
                    return Err(wrong());
                }
                self.repeat(&format!("{{{low},{high}}}"), high.into())
            }
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        match self.chars.next() {
            Some(c @ ('d' | 'D' | 'w' | 'W' | 's' | 'S')) => {
                let class = match c.to_ascii_lowercase() {
                    'd' => "0-9",
                    'w' => "0-9A-Za-z_",
                    _ => r" \t-\r",
                };
                let not = if c.is_ascii_uppercase() { "^" } else { "" };
                self.done(&format!("[{not}{class}]"), if not.is_empty() { 1 } else { WIDE })?;
            }
            Some(c @ ('b' | 'B')) => self.bare(&format!(r"(?-u:\{c})")),
            Some('0'..='9') => {
                return Err("back-references are not supported in regular expressions".into())
            }
            Some(c) if c.is_ascii_alphabetic() => {
                return Err(format!(r"'\{c}' has no meaning in a regular expression"));
            }
            Some(c) => self.literal(c)?,
            None => return Err("the regular expression ends in a backslash".into()),
        }
        Ok(())
    }

    fn literal(&mut self, c: char) -> Result<(), String> {
        if self.depth() == 0 {
            self.last = self.run.len();
            self.run.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        }
        let several = match self.fold {
            Fold::None => false,
            Fold::Ascii => c.is_ascii_alphabetic(),
            Fold::Unicode => true,
        };
        if several {
            self.out.push('[');
            variants(self.fold, &mut self.out, c);
            self.out.push(']');
        } else {
            itself(&mut self.out, c);
        }
        self.write("", c.len_utf8())
    }

    /// bracket expression: backslash is an ordinary character in it.  POSIX.1-2017 9.3.5.
    fn bracket(&mut self) -> Result<(), String> {
        let open = || "a '[' in the regular expression is not closed".to_string();
        let mut set = String::new();
        let not = self.chars.next_if_eq(&'^').is_some();
        let mut first = true;
        loop {
            let c = self.chars.next().ok_or_else(open)?;
            match c {
                ']' if !first => break,
                '[' if matches!(self.chars.peek(), Some(':')) => {
                    let name = self.named(':')?;
                    set.push_str(class(&name, self.fold)?);
                }
                _ => {
                    let low = self.element(c)?;
                    let mut ahead = self.chars.clone();
                    let is_range = ahead.next() == Some('-') && ahead.next() != Some(']');
                    if is_range {
                        self.chars.next();
                        let c = self.chars.next().ok_or_else(open)?;
                        let high = self.element(c)?;
                        self.range(&mut set, low, high)?;
                    } else {
                        variants(self.fold, &mut set, low);
                    }
                }
            }
            first = false;
        }
        let text = format!("[{}{set}]", if not { "^" } else { "" });
        let wide = not || !set.is_ascii();
        self.done(&text, if wide { WIDE } else { 1 })
    }

    /// A collating element: a character, `[.c.]` or `[=c=]`.
    fn element(&mut self, c: char) -> Result<char, String> {
        match self.chars.peek().copied() {
            Some(mark @ ('.' | '=')) if c == '[' => {
                let name = self.named(mark)?;
                let mut chars = name.chars();
                match (chars.next(), chars.next()) {
                    (Some(c), None) => Ok(c),
                    _ => Err("a collating element of several characters".into()),
                }
            }
            _ => Ok(c),
        }
    }

    /// The name in `[:name:]`, `[.name.]` or `[=name=]`.
    fn named(&mut self, mark: char) -> Result<String, String> {
        self.chars.next();
        let mut name = String::new();
        loop {
            let c = self.chars.next().ok_or("a '[' in the regular expression is not closed")?;
            if c == mark && self.chars.next_if_eq(&']').is_some() {
                return Ok(name);
            }
            name.push(c);
        }
    }

    fn range(&self, set: &mut String, low: char, high: char) -> Result<(), String> {
        if low > high {
            return Err(format!("'{low}-{high}' is no range in a regular expression"));
        }
        itself(set, low);
        set.push('-');
        itself(set, high);
        if self.fold == Fold::None {
            return Ok(());
        }
        for (from, to) in [('a', 'z'), ('A', 'Z')] {
            let (a, b) = (low.max(from), high.min(to));
            if a <= b {
                let other = |c: char| char::from_u32(u32::from(c) ^ 0x20).unwrap_or(c);
                set.push(other(a));
                set.push('-');
                set.push(other(b));
            }
        }
        // Beyond ASCII one by one, as long as that stays small.
        if self.fold == Fold::Unicode && u32::from(high).saturating_sub(u32::from(low)) < 512 {
            (low..=high).filter(|c| !c.is_ascii()).for_each(|c| variants(self.fold, set, c));
        }
        Ok(())
    }
}

/// Places that a class beyond ASCII takes.
const WIDE: usize = 20;

/// A character and those that the comparator does not distinguish from it, inside a class.
fn variants(fold: Fold, out: &mut String, c: char) {
    itself(out, c);
    match fold {
        Fold::None => {}
        Fold::Ascii => {
            if c.is_ascii_alphabetic() {
                out.push(char::from_u32(u32::from(c) ^ 0x20).unwrap_or(c));
            }
        }
        Fold::Unicode => {
            let one = |mut chars: Box<dyn Iterator<Item = char>>, out: &mut String| {
                if let (Some(other), None) = (chars.next(), chars.next()) {
                    if other != c {
                        itself(out, other);
                    }
                }
            };
            one(Box::new(c.to_lowercase()), out);
            one(Box::new(c.to_uppercase()), out);
        }
    }
}

/// A character in the crate's syntax, inside a class or outside.
fn itself(out: &mut String, c: char) {
    if r"\.+*?()|[]{}^$#&-~".contains(c) {
        out.push('\\');
    }
    out.push(c);
}

fn class(name: &str, fold: Fold) -> Result<&'static str, String> {
    Ok(match name {
        "alnum" => "0-9A-Za-z",
        "alpha" => "A-Za-z",
        "upper" | "lower" if fold != Fold::None => "A-Za-z",
        "upper" => "A-Z",
        "lower" => "a-z",
        "digit" => "0-9",
        "xdigit" => "0-9A-Fa-f",
        "blank" => r"\x20\t",
        "space" => r"\x20\t-\r",
        "cntrl" => r"\x00-\x1f\x7f",
        "graph" => r"\x21-\x7e",
        "print" => r"\x20-\x7e",
        "punct" => r"\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e",
        _ => return Err(format!("'[:{name}:]' is no character class")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(pattern: &str, value: &str) -> Option<Vec<String>> {
        let ere = Ere::new(pattern.as_bytes(), Fold::Ascii).unwrap_or_else(|e| panic!("{e}"));
        let found = ere.captures(value.as_bytes()).unwrap()?;
        Some(found.into_iter().map(|r| value[r].to_string()).collect())
    }

    #[test]
    fn posix_syntax_is_understood() {
        assert_eq!(run("^([[:alpha:]]+)-([0-9]{2,3})$", "Abc-123").unwrap()[1..], ["Abc", "123"]);
        assert_eq!(run("[]a-]+", "x]-a").unwrap(), ["]-a"]);
        assert_eq!(run(r"[\.]", r"\").unwrap(), [r"\"]);
        assert_eq!(run("[[.-.]x]", "-").unwrap(), ["-"]);
        assert_eq!(run("a.c", "A\u{e9}C").unwrap(), ["A\u{e9}C"]);
        assert!(run("[^[:space:]]", " \t").is_none());
    }

    #[test]
    fn the_match_is_leftmost_first() {
        assert_eq!(run("(a|ab)(c|bcd)?", "abcd").unwrap(), ["abcd", "a", "bcd"]);
        assert_eq!(run("(a|ab)", "ab").unwrap(), ["a", "a"]);
    }

    #[test]
    fn only_groups_that_match_variables_show_are_kept_track_of() {
        let found = run(&"(a)".repeat(100), &"a".repeat(100)).unwrap();
        assert_eq!(found.len(), limits::SIEVE_MATCH_VALUES.size());
        assert!(found.iter().skip(1).all(|value| value == "a"));
    }

    #[test]
    fn mistakes_are_named() {
        for (bad, why) in [
            ("(", "not closed"),
            (")", "closes nothing"),
            ("[a", "not closed"),
            ("*a", "repeats nothing"),
            ("a**", "repeats nothing"),
            ("a{3,2}", "interval"),
            ("a{256}", "interval"),
            (r"(a)\1", "back-references"),
            ("[[:nope:]]", "character class"),
            ("[z-a]", "range"),
            ("(?i)a", "'(?'"),
            ("\\", "backslash"),
        ] {
            let error = Ere::new(bad.as_bytes(), Fold::None).map(|_| ()).unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }

    #[test]
    fn what_stands_literally_in_every_match_is_found() {
        let needle = |pattern: &str| translate(pattern.as_bytes(), Fold::Ascii).unwrap().needle;
        let want = |text: &str| Needle::longest([text.as_bytes().to_vec()], Fold::Ascii);
        for (pattern, text) in [
            ("^(re|aw): .*7x[0-9]+$", "7x"),
            ("abcd?ef", "abc"),
            ("abc+", "ab"),
            (r"a\.b\*c", "a.b*c"),
            ("abc|d", ""),
            ("(abc)x", "x"),
            ("ab{0,2}cd", "cd"),
            ("Gr\u{fc}\u{df}e?", "gr\u{fc}\u{df}"),
            ("[abc]", ""),
        ] {
            assert_eq!(needle(pattern), want(text), "{pattern}");
        }
    }

    #[test]
    fn bombs_are_refused_or_harmless() {
        assert!(Ere::new(b"(((((a{255}){255}){255}){255}){255})", Fold::None).is_err());
        // What passes the estimate is built within the real limit.
        let large = Ere::new(b"(abc){255}(.{255}){2}", Fold::Ascii).unwrap();
        assert!(build(&large.translated).is_ok());
        let evil = Ere::new(b"^(a+)+$", Fold::None).unwrap();
        let value = format!("{}b", "a".repeat(1 << 20));
        let begun = std::time::Instant::now();
        assert_eq!(evil.captures(value.as_bytes()), Ok(None));
        assert!(begun.elapsed().as_secs() < 20);
    }
}
