//! Comparators and match types.  RFC 5228 2.7, RFC 4790, RFC 5051, RFC 5231.
//!
//! [`Matcher`] is what every test with keys uses: it is given the values one
//! after the other, says when one matches, sets the match variables, and
//! counts for `:count`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::ops::Range;

use super::code::Op;
use super::ere::Ere;
use super::glob::Glob;
use super::needle::Hay;
use super::run::{Ended, Run};
use crate::proto::limits;
use crate::proto::text::casemap;

/// A comparator of the registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Comparator {
    /// i;octet.  RFC 4790 9.3.
    Octet,
    /// i;ascii-casemap, the default.  RFC 4790 9.2, RFC 5228 2.7.3.
    #[default]
    AsciiCasemap,
    /// i;ascii-numeric.  RFC 4790 9.1.
    AsciiNumeric,
    /// i;unicode-casemap.  RFC 5051.
    UnicodeCasemap,
}

/// How a match compares value and key.
#[derive(Clone, Copy, Debug, Default)]
pub enum MatchType {
    /// `:is`
    #[default]
    Is,
    /// `:contains`
    Contains,
    /// `:matches`
    Matches,
    /// `:count`, RFC 5231 4.2
    Count(Relation),
    /// `:value`, RFC 5231 4.1
    Value(Relation),
    /// `:regex`, draft-murchison-sieve-regex
    Regex,
    /// In the way of an extension: asked about a value and a key.  A match sets `${0}`.
    Other(Matches),
}

/// Decides whether a value matches a key of a test.
pub type Matches = fn(&mut Run<'_>, &Op, &[u8], &[u8]) -> Result<bool, Ended>;

/// relational-match = DQUOTE ("gt" / "ge" / "lt" / "le" / "eq" / "ne") DQUOTE
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Relation {
    /// Greater.
    Gt,
    /// Greater or equal.
    Ge,
    /// Less.
    Lt,
    /// Less or equal.
    Le,
    /// Equal.
    Eq,
    /// Not equal.
    Ne,
}

impl Relation {
    /// By its name in a script.
    pub fn parse(name: &[u8]) -> Option<Relation> {
        Some(match name.to_ascii_lowercase().as_slice() {
            b"gt" => Relation::Gt,
            b"ge" => Relation::Ge,
            b"lt" => Relation::Lt,
            b"le" => Relation::Le,
            b"eq" => Relation::Eq,
            b"ne" => Relation::Ne,
            _ => return None,
        })
    }

    fn holds(self, order: Ordering) -> bool {
        match self {
            Relation::Gt => order.is_gt(),
            Relation::Ge => order.is_ge(),
            Relation::Lt => order.is_lt(),
            Relation::Le => order.is_le(),
            Relation::Eq => order.is_eq(),
            Relation::Ne => order.is_ne(),
        }
    }
}

/// What of a character does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// Nothing: every difference counts.
    None,
    /// The case of ASCII letters.
    Ascii,
    /// What RFC 5051 maps together.
    Unicode,
}

impl Fold {
    /// Gives the characters that a character folds to.
    pub fn each(self, char: u32, give: &mut dyn FnMut(u32)) {
        match self {
            Fold::Ascii if (0x41..=0x5a).contains(&char) => give(char | 0x20),
            Fold::Unicode => match char::from_u32(char) {
                Some(c) => casemap::fold_char(c, &mut |c| give(u32::from(c))),
                None => give(char),
            },
            _ => give(char),
        }
    }
}

impl Comparator {
    /// Its name in the registry.
    pub fn name(self) -> &'static str {
        match self {
            Comparator::Octet => "i;octet",
            Comparator::AsciiCasemap => "i;ascii-casemap",
            Comparator::AsciiNumeric => "i;ascii-numeric",
            Comparator::UnicodeCasemap => "i;unicode-casemap",
        }
    }

    /// True if it has the substring operation.
    pub fn has_substring(self) -> bool {
        self != Comparator::AsciiNumeric
    }

    /// What it does not distinguish.
    pub fn fold(self) -> Fold {
        match self {
            Comparator::Octet | Comparator::AsciiNumeric => Fold::None,
            Comparator::AsciiCasemap => Fold::Ascii,
            Comparator::UnicodeCasemap => Fold::Unicode,
        }
    }

    /// The ordering operation.
    pub fn order(self, a: &[u8], b: &[u8]) -> Ordering {
        match self {
            Comparator::Octet => a.cmp(b),
            // RFC 4790 9.2.1: letters are compared as upper case.
            Comparator::AsciiCasemap => a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase()),
            Comparator::AsciiNumeric => numeric(a, b),
            Comparator::UnicodeCasemap => casemap::fold(a).cmp(&casemap::fold(b)),
        }
    }

    /// The equality operation.
    pub fn equal(self, a: &[u8], b: &[u8]) -> bool {
        match self {
            Comparator::AsciiCasemap => a.eq_ignore_ascii_case(b),
            _ => self.order(a, b).is_eq(),
        }
    }

    /// A form in which equal means equal octets; not for numbers.
    fn canonical<'t>(self, text: Cow<'t, [u8]>) -> Cow<'t, [u8]> {
        match self.fold() {
            Fold::Ascii if text.iter().any(u8::is_ascii_uppercase) => {
                Cow::Owned(text.to_ascii_lowercase())
            }
            Fold::Unicode => Cow::Owned(casemap::fold(&text)),
            Fold::None | Fold::Ascii => text,
        }
    }
}

/// RFC 4790 9.1: the leading digits; without one, positive infinity.
fn numeric(a: &[u8], b: &[u8]) -> Ordering {
    fn digits(text: &[u8]) -> Option<&[u8]> {
        let n = text.iter().position(|b| !b.is_ascii_digit()).unwrap_or(text.len());
        let digits = text.get(..n).filter(|d| !d.is_empty())?;
        let zeros = digits.iter().position(|b| *b != b'0').unwrap_or(digits.len());
        digits.get(zeros..)
    }
    match (digits(a), digits(b)) {
        (Some(a), Some(b)) => a.len().cmp(&b.len()).then_with(|| a.cmp(b)),
        (Some(_), None) => Ordering::Less,
        (None, Some(_)) => Ordering::Greater,
        (None, None) => Ordering::Equal,
    }
}

/// The match type and comparator of a test, and what has been prepared of its keys.
#[derive(Debug, Default)]
pub struct Matching {
    /// The match type.
    pub kind: MatchType,
    /// The comparator.
    pub comparator: Comparator,
    /// The compiled keys of `:matches` and `:regex`, if all keys are constant.
    pub compiled: Box<[Compiled]>,
}

impl Matching {
    /// Matches in this way; for tags.
    pub fn by(&mut self, kind: MatchType) -> Result<(), String> {
        self.kind = kind;
        Ok(())
    }

    /// True if keys are compiled before they are used.
    pub fn compiles(&self) -> bool {
        matches!(self.kind, MatchType::Matches | MatchType::Regex)
    }

    /// Compiles a key.
    pub fn compile(&self, key: &[u8]) -> Result<Compiled, String> {
        let fold = self.comparator.fold();
        Ok(match self.kind {
            MatchType::Regex => Compiled::Ere(Ere::new(key, fold)?),
            _ if key.len() > limits::SIEVE_PATTERN.size() => {
                let max = limits::SIEVE_PATTERN.default;
                return Err(format!("a key of ':matches' of more than {max} octets"));
            }
            _ => Compiled::Glob(Glob::new(key, fold)),
        })
    }
}

/// A compiled key.
#[derive(Debug)]
pub enum Compiled {
    /// For `:matches`.
    Glob(Glob),
    /// For `:regex`.
    Ere(Ere),
}

/// True if the match type of a command or test is `:count`.
pub fn counts(op: &Op) -> bool {
    matches!(op.matching.kind, MatchType::Count(_))
}

/// The keys of a running test.
pub struct Matcher<'a> {
    op: &'a Op,
    kind: MatchType,
    comparator: Comparator,
    /// The keys; for `:contains` in canonical form.
    keys: Vec<Cow<'a, [u8]>>,
    /// The keys compiled, as far as the checker has done it.
    compiled: &'a [Compiled],
    /// A match sets the match variables.
    sets: bool,
    count: u64,
}

impl<'a> Matcher<'a> {
    /// Expands the keys in a parameter of the test.
    pub fn new(run: &mut Run<'a>, op: &'a Op, param: usize) -> Result<Self, Ended> {
        let keys = run.list(op, param)?;
        Ok(Matcher { compiled: &op.matching.compiled, ..Matcher::of_keys(op, keys) })
    }

    /// Takes keys that the test has made itself.
    pub fn of_keys(op: &'a Op, mut keys: Vec<Cow<'a, [u8]>>) -> Self {
        let (kind, comparator) = (op.matching.kind, op.matching.comparator);
        if matches!(kind, MatchType::Contains) {
            keys = keys.into_iter().map(|key| comparator.canonical(key)).collect();
        }
        Matcher { op, kind, comparator, keys, compiled: &[], sets: true, count: 0 }
    }

    /// Leaves the match variables alone.
    pub fn without_match_values(self) -> Self {
        Matcher { sets: false, ..self }
    }

    /// True for `:count`, which looks at the number of values and not at them.
    pub fn counts(&self) -> bool {
        matches!(self.kind, MatchType::Count(_))
    }

    /// Offers a value; true if it matches a key.
    pub fn value(&mut self, run: &mut Run<'a>, value: &[u8]) -> Result<bool, Ended> {
        self.count = self.count.saturating_add(1);
        match self.kind {
            MatchType::Count(_) => Ok(false),
            MatchType::Is => {
                run.charge_bytes(value.len().saturating_add(self.keys.len()))?;
                Ok(self.keys.iter().any(|key| self.comparator.equal(value, key)))
            }
            MatchType::Contains => {
                // Finding octets is some ten times faster than looking at each of them.
                let looks = (self.keys.len() / 8).saturating_add(1);
                run.charge_bytes(value.len().saturating_mul(looks))?;
                let value = self.comparator.canonical(Cow::Borrowed(value));
                Ok(self.keys.iter().any(|key| memchr::memmem::find(&value, key).is_some()))
            }
            MatchType::Value(relation) => {
                run.charge_bytes(value.len().saturating_mul(self.keys.len()))?;
                let order = |key: &[u8]| self.comparator.order(value, key);
                Ok(self.keys.iter().any(|key| relation.holds(order(key))))
            }
            MatchType::Matches | MatchType::Regex => self.pattern(run, value),
            MatchType::Other(matches) => {
                for key in &self.keys {
                    if matches(run, self.op, value, key)? {
                        let whole = 0..value.len();
                        self.matched(run, value, std::slice::from_ref(&whole))?;
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }

    /// After the last value: the result of `:count`, or false.
    pub fn finish(self, _: &mut Run<'a>) -> Result<bool, Ended> {
        let MatchType::Count(relation) = self.kind else { return Ok(false) };
        let count = self.count.to_string();
        Ok(self.keys.iter().any(|key| relation.holds(self.comparator.order(count.as_bytes(), key))))
    }

    fn pattern(&self, run: &mut Run<'a>, value: &[u8]) -> Result<bool, Ended> {
        let fold = self.comparator.fold();
        let hay = Hay::new(value, fold);
        for (i, key) in self.keys.iter().enumerate() {
            let made;
            let compiled = match self.compiled.get(i) {
                Some(compiled) => compiled,
                None => {
                    run.charge_bytes(key.len().saturating_mul(16))?;
                    made =
                        self.op.matching.compile(key).map_err(|why| run.fault(self.op.pos, why))?;
                    &made
                }
            };
            let found = match compiled {
                Compiled::Glob(glob) => {
                    run.charge(glob.cost(value.len()))?;
                    let found =
                        if glob.needle.may_be_in(&hay) { glob.matches(value, fold) } else { None };
                    found.map(|mut ranges| {
                        ranges.insert(0, 0..value.len());
                        ranges
                    })
                }
                Compiled::Ere(ere) => {
                    run.charge_bytes(value.len())?;
                    if ere.needle.may_be_in(&hay) {
                        run.charge(ere.cost(value.len()))?;
                        run.charge(ere.cost_of_building())?;
                        ere.captures(value).map_err(|why| run.fault(self.op.pos, why))?
                    } else {
                        None
                    }
                }
            };
            if let Some(ranges) = found {
                self.matched(run, value, &ranges)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Sets the match variables: the whole match, then what its parts have matched.
    fn matched(
        &self,
        run: &mut Run<'a>,
        value: &[u8],
        ranges: &[Range<usize>],
    ) -> Result<(), Ended> {
        if self.sets {
            let values = ranges.iter().map(|r| value.get(r.clone()).unwrap_or_default());
            run.set_match_values(values)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ascii_numeric_orders_numbers_of_any_length_and_puts_others_last() {
        let order = |a: &str, b: &str| numeric(a.as_bytes(), b.as_bytes());
        assert_eq!(order("007", "7"), Ordering::Equal);
        assert_eq!(order("123456789012345678901234567890", "9"), Ordering::Greater);
        assert_eq!(order("12abc", "12"), Ordering::Equal);
        assert_eq!(order("abc", "99999999999"), Ordering::Greater);
        assert_eq!(order("", "x"), Ordering::Equal);
    }

    #[test]
    fn ascii_casemap_orders_as_upper_case() {
        // '_' is between upper and lower case letters.
        assert_eq!(Comparator::AsciiCasemap.order(b"_", b"a"), Ordering::Greater);
        assert_eq!(Comparator::Octet.order(b"_", b"a"), Ordering::Less);
    }
}
