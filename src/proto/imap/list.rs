//! LIST and LSUB: options, patterns, and STATUS items, which LIST can return.
//!
//! RFC 3501 6.3.8 to 6.3.10; RFC 5258 (LIST-EXTENDED), RFC 5819 (LIST-STATUS),
//! RFC 6154 (SPECIAL-USE).

use super::lex::{self, Fault, Parsed, Text};
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// The arguments of LIST.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<'a> {
    /// Which mailboxes are looked at.
    pub select: Select,
    /// What stands before every pattern.
    pub reference: Text<'a>,
    /// One pattern, or several in the extended form.
    pub patterns: Vec<Text<'a>>,
    /// What is told about each mailbox.
    pub returns: Returns,
    /// True if anything of RFC 5258 was used: an empty pattern is then no
    /// question for the separator.
    pub extended: bool,
}

/// list-select-opts
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Select {
    /// `SUBSCRIBED`: subscribed names, existing or not.
    pub subscribed: bool,
    /// `REMOTE`: accepted; there are no remote mailboxes.
    pub remote: bool,
    /// `RECURSIVEMATCH`: parents of what matches too, with CHILDINFO.
    pub recursive_match: bool,
    /// `SPECIAL-USE`: only mailboxes with a special use.
    pub special_use: bool,
}

/// list-return-opts
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// `SUBSCRIBED`
    pub subscribed: bool,
    /// `CHILDREN`
    pub children: bool,
    /// `SPECIAL-USE`
    pub special_use: bool,
    /// `STATUS (...)`
    pub status: Vec<StatusItem>,
}

/// status-att
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusItem {
    /// `MESSAGES`
    Messages,
    /// `RECENT`
    Recent,
    /// `UIDNEXT`
    UidNext,
    /// `UIDVALIDITY`
    UidValidity,
    /// `UNSEEN`
    Unseen,
}

impl StatusItem {
    /// Each item with its word.
    pub const NAMES: [(StatusItem, &'static str); 5] = [
        (StatusItem::Messages, "MESSAGES"),
        (StatusItem::Recent, "RECENT"),
        (StatusItem::UidNext, "UIDNEXT"),
        (StatusItem::UidValidity, "UIDVALIDITY"),
        (StatusItem::Unseen, "UNSEEN"),
    ];

    /// The item's word.
    pub fn name(self) -> &'static str {
        Self::NAMES.iter().find(|(item, _)| *item == self).map_or("MESSAGES", |(_, name)| *name)
    }
}

/// "(" status-att *(SP status-att) ")"
pub fn parse_status_items(c: &mut Cursor<'_>) -> Parsed<Vec<StatusItem>> {
    let mut items = Vec::new();
    for item in lex::list(c, limits::IMAP_LIST_OPTIONS.size(), |c| {
        let word = lex::atom(c).map_err(|_| Fault::StatusItem)?;
        let known = |(_, name): &&(StatusItem, &str)| name.as_bytes().eq_ignore_ascii_case(word);
        StatusItem::NAMES.iter().find(known).map(|(item, _)| *item).ok_or(Fault::StatusItem)
    })? {
        if !items.contains(&item) {
            items.push(item);
        }
    }
    Ok(items)
}

impl<'a> List<'a> {
    /// [list-select-opts SP] mailbox SP mbox-or-pat [SP list-return-opts]
    pub fn parse(c: &mut Cursor<'a>) -> Parsed<List<'a>> {
        let mut select = Select::default();
        let mut extended = c.peek() == Some(b'(');
        if extended {
            for option in options(c, |c| lex::atom(c).map_err(|_| Fault::ListOption))? {
                match () {
                    () if option.eq_ignore_ascii_case(b"SUBSCRIBED") => select.subscribed = true,
                    () if option.eq_ignore_ascii_case(b"REMOTE") => select.remote = true,
                    () if option.eq_ignore_ascii_case(b"RECURSIVEMATCH") => {
                        select.recursive_match = true;
                    }
                    () if option.eq_ignore_ascii_case(b"SPECIAL-USE") => select.special_use = true,
                    () => return Err(Fault::ListOption),
                }
            }
            // RFC 5258 3: RECURSIVEMATCH modifies another option and cannot stand alone.
            if select.recursive_match && !select.subscribed && !select.special_use {
                return Err(Fault::ListOption);
            }
            lex::sp(c)?;
        }
        let reference = lex::astring(c)?;
        lex::sp(c)?;
        let patterns = if c.peek() == Some(b'(') {
            extended = true;
            lex::list(c, limits::IMAP_LIST_PATTERNS.size(), lex::list_mailbox)?
        } else {
            vec![lex::list_mailbox(c)?]
        };
        let mut returns = Returns::default();
        if c.eat(b' ') {
            extended = true;
            if !lex::keyword(c, b"RETURN") {
                return Err(Fault::ListOption);
            }
            lex::sp(c)?;
            for option in options(c, return_option)? {
                match option {
                    ReturnOption::Subscribed => returns.subscribed = true,
                    ReturnOption::Children => returns.children = true,
                    ReturnOption::SpecialUse => returns.special_use = true,
                    ReturnOption::Status(items) => returns.status = items,
                }
            }
        }
        Ok(List { select, reference, patterns, returns, extended })
    }

    /// The patterns, each after the reference, ready for matching.
    pub fn compile(&self, separator: u8) -> Vec<Pattern> {
        self.patterns.iter().map(|p| Pattern::new(&self.reference, p, separator)).collect()
    }
}

enum ReturnOption {
    Subscribed,
    Children,
    SpecialUse,
    Status(Vec<StatusItem>),
}

fn return_option(c: &mut Cursor<'_>) -> Parsed<ReturnOption> {
    let word = lex::atom(c).map_err(|_| Fault::ListOption)?;
    match () {
        () if word.eq_ignore_ascii_case(b"SUBSCRIBED") => Ok(ReturnOption::Subscribed),
        () if word.eq_ignore_ascii_case(b"CHILDREN") => Ok(ReturnOption::Children),
        () if word.eq_ignore_ascii_case(b"SPECIAL-USE") => Ok(ReturnOption::SpecialUse),
        () if word.eq_ignore_ascii_case(b"STATUS") => {
            lex::sp(c)?;
            parse_status_items(c).map(ReturnOption::Status)
        }
        () => Err(Fault::ListOption),
    }
}

/// "(" [option *(SP option)] ")"
fn options<'a, T>(
    c: &mut Cursor<'a>,
    option: impl Fn(&mut Cursor<'a>) -> Parsed<T>,
) -> Parsed<Vec<T>> {
    if c.eat_exact(b"()") {
        return Ok(Vec::new());
    }
    lex::list(c, limits::IMAP_LIST_OPTIONS.size(), option)
}

/// A pattern that is matched in time (length of name) x (length of pattern) / 64,
/// whatever its wildcards: all positions it could be in are followed at once, as
/// bits, and nothing is tried again.  One that no name so short can match costs
/// nothing.
#[derive(Clone, Debug)]
pub struct Pattern {
    bytes: Vec<u8>,
    separator: u8,
    /// How many octets a name that matches has at least.
    least: usize,
    /// Where a step is made at each octet that the pattern has.
    steps: Vec<(u8, Positions)>,
    /// Where it stays at any octet: at `*`.
    stars: Positions,
    /// Where it stays at any octet but the separator: at `%`.
    percents: Positions,
}

/// A set of positions in a pattern, 64 in each word.
type Positions = Vec<u64>;

impl Pattern {
    /// Joins reference and pattern.  RFC 3501 6.3.8 leaves the meaning of a
    /// reference to the server; as in Dovecot it is simply what stands before.
    /// Neighbouring wildcards become one.
    pub fn new(reference: &[u8], pattern: &[u8], separator: u8) -> Pattern {
        let mut bytes: Vec<u8> = Vec::with_capacity(reference.len().saturating_add(pattern.len()));
        for &b in reference.iter().chain(pattern) {
            match (bytes.last_mut(), b) {
                (Some(b'*'), b'*' | b'%') | (Some(b'%'), b'%') => {}
                (Some(last @ b'%'), b'*') => *last = b'*',
                _ => bytes.push(b),
            }
        }
        bytes.truncate(limits::IMAP_LIST_PATTERN.size());
        let least = bytes.iter().filter(|b| !matches!(b, b'*' | b'%')).count();
        let of = |wanted: u8| {
            let mut positions = vec![0; words(bytes.len())];
            for (i, _) in bytes.iter().enumerate().filter(|(_, b)| **b == wanted) {
                set(&mut positions, i);
            }
            positions
        };
        let mut octets: Vec<u8> = bytes.clone();
        octets.sort_unstable();
        octets.dedup();
        octets.retain(|b| !matches!(b, b'*' | b'%'));
        let steps = octets.into_iter().map(|b| (b, of(b))).collect();
        let (stars, percents) = (of(b'*'), of(b'%'));
        Pattern { bytes, separator, least, steps, stars, percents }
    }

    /// True if the whole name matches.  INBOX matches in any case.
    pub fn matches(&self, name: &[u8]) -> bool {
        if self.least > name.len() {
            return false;
        }
        let fold = name == b"INBOX";
        // The bit i: the first i bytes of the pattern can account for what was read.
        let mut at = vec![0; words(self.bytes.len())];
        set(&mut at, 0);
        self.skip_wildcards(&mut at);
        for &b in name {
            let folded = b.to_ascii_lowercase();
            let step = self.steps(b);
            let other = if fold && folded != b { self.steps(folded) } else { None };
            let mut carry = 0;
            let mut any = 0;
            for (i, word) in at.iter_mut().enumerate() {
                let of = |positions: Option<&Positions>| {
                    positions.and_then(|p| p.get(i)).copied().unwrap_or(0)
                };
                let percents = if b == self.separator { 0 } else { of(Some(&self.percents)) };
                let stays = *word & (of(Some(&self.stars)) | percents);
                let goes = *word & (of(step) | of(other));
                *word = stays | (goes << 1) | carry;
                carry = goes >> 63;
                any |= *word;
            }
            if any == 0 {
                return false;
            }
            self.skip_wildcards(&mut at);
        }
        is_set(&at, self.bytes.len())
    }

    fn steps(&self, octet: u8) -> Option<&Positions> {
        let found = self.steps.binary_search_by_key(&octet, |(b, _)| *b).ok()?;
        self.steps.get(found).map(|(_, positions)| positions)
    }

    /// A wildcard may match nothing, and what follows it is none.
    fn skip_wildcards(&self, at: &mut Positions) {
        let mut carry = 0;
        for ((word, stars), percents) in at.iter_mut().zip(&self.stars).zip(&self.percents) {
            let skipped = *word & (stars | percents);
            *word |= (skipped << 1) | carry;
            carry = skipped >> 63;
        }
    }

    /// True if the pattern has a wildcard; without one it names one mailbox.
    pub fn has_wildcard(&self) -> bool {
        self.bytes.iter().any(|b| matches!(b, b'*' | b'%'))
    }

    /// True if the pattern ends in `%`, which in LSUB brings in unsubscribed
    /// parents.  RFC 3501 6.3.9.
    pub fn ends_in_percent(&self) -> bool {
        self.bytes.last() == Some(&b'%')
    }
}

/// Words for the positions of a pattern, the one behind its end included.
const fn words(len: usize) -> usize {
    (len / 64).saturating_add(1)
}

fn set(at: &mut Positions, i: usize) {
    if let Some(word) = at.get_mut(i / 64) {
        *word |= 1 << (i % 64);
    }
}

fn is_set(at: &Positions, i: usize) -> bool {
    at.get(i / 64).is_some_and(|word| word & (1 << (i % 64)) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(text: &str) -> Parsed<List<'_>> {
        let mut c = Cursor::new(text.as_bytes());
        let list = List::parse(&mut c)?;
        lex::end(&mut c)?;
        Ok(list)
    }

    fn matches(pattern: &str, name: &str) -> bool {
        Pattern::new(b"", pattern.as_bytes(), b'.').matches(name.as_bytes())
    }

    #[test]
    fn the_plain_form() {
        let l = list("\"\" \"*\"").unwrap();
        assert!(!l.extended && l.patterns == [&b"*"[..]] && l.reference.is_empty());
        assert_eq!(list("Work. %").unwrap().patterns, [&b"%"[..]]);
        assert!(list("\"\"").is_err());
    }

    #[test]
    fn the_extended_form() {
        let l = list("(SUBSCRIBED RECURSIVEMATCH) \"\" (INBOX \"a b\" Drafts.%) RETURN (CHILDREN STATUS (MESSAGES UNSEEN MESSAGES) SPECIAL-USE)").unwrap();
        assert!(l.extended && l.select.subscribed && l.select.recursive_match);
        assert_eq!(l.patterns.len(), 3);
        assert!(l.returns.children && l.returns.special_use && !l.returns.subscribed);
        assert_eq!(l.returns.status, [StatusItem::Messages, StatusItem::Unseen]);
        assert!(list("() \"\" * RETURN ()").unwrap().extended);
    }

    #[test]
    fn unknown_options_are_refused() {
        for bad in [
            "(RECURSIVEMATCH) \"\" *",
            "(RECURSIVEMATCH REMOTE) \"\" *",
            "(FOO) \"\" *",
            "\"\" * RETURN (FOO)",
            "\"\" * FOO",
            "\"\" * RETURN",
            "\"\" ()",
            "\"\" * RETURN (STATUS)",
            "\"\" * RETURN (STATUS ())",
            "\"\" * RETURN (STATUS (SIZE))",
        ] {
            assert!(list(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_pattern_that_is_all_work_costs_little_for_each_of_many_names() {
        let name = "a".repeat(250);
        let begun = std::time::Instant::now();
        for pattern in ["*a".repeat(500), format!("{}*", "x".repeat(2000)), "b*".repeat(120)] {
            let pattern = Pattern::new(b"", pattern.as_bytes(), b'.');
            assert!((0..2000).all(|_| !pattern.matches(name.as_bytes())));
        }
        // Well over a minute where nothing cuts it short.
        assert!(begun.elapsed() < std::time::Duration::from_secs(20), "{:?}", begun.elapsed());
        assert!(matches(&"*a".repeat(250), &name) && !matches(&"*a".repeat(251), &name));
    }

    #[test]
    fn star_crosses_the_separator_and_percent_does_not() {
        assert!(matches("*", "a.b.c") && matches("%", "a") && !matches("%", "a.b"));
        assert!(matches("a.%", "a.b") && !matches("a.%", "a.b.c") && matches("a*c", "a.b.c"));
        assert!(matches("%.%", "a.b") && !matches("%.%", "a") && matches("*%", "a.b"));
        assert!(matches("a%b", "ab") && matches("a%b", "axxb") && !matches("a%b", "a.b"));
        assert!(!matches("", "a") && matches("", "") && !matches("a", "ab") && !matches("ab", "a"));
        assert!(matches("*b%", "a.bc") && !matches("*b%", "b.c") && matches("%*", "a.b"));
    }

    #[test]
    fn inbox_matches_in_any_case_and_nothing_else_does() {
        assert!(matches("inbox", "INBOX") && matches("InB%", "INBOX"));
        assert!(!matches("work", "Work"));
    }

    #[test]
    fn many_wildcards_do_not_blow_up() {
        let pattern = "%a*".repeat(300);
        assert!(!matches(&pattern, &"a".repeat(250)));
        assert!(matches(&"%*".repeat(5000), &"a.".repeat(120)));
    }

    #[test]
    fn matching_agrees_with_a_plain_backtracking_one() {
        fn slow(p: &[u8], n: &[u8]) -> bool {
            match p.split_first() {
                None => n.is_empty(),
                Some((b'*', rest)) => (0..=n.len()).any(|i| slow(rest, &n[i..])),
                Some((b'%', rest)) => (0..=n.len())
                    .take_while(|i| !n[..*i].contains(&b'.'))
                    .any(|i| slow(rest, &n[i..])),
                Some((b, rest)) => n.first() == Some(b) && slow(rest, &n[1..]),
            }
        }
        let mut seed = 1u32;
        let mut pick = |from: &[u8], n: usize| -> Vec<u8> {
            (0..n)
                .map(|_| {
                    seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    from[(seed >> 24) as usize % from.len()]
                })
                .collect()
        };
        for i in 0..20_000 {
            let (p, n) = (pick(b"ab.*%", i % 7), pick(b"ab.", i % 6));
            let expected = slow(&p, &n);
            assert_eq!(Pattern::new(b"", &p, b'.').matches(&n), expected, "{p:?} {n:?}");
            // The same where the positions pass from one word to the next.
            let before = vec![b'c'; 58 + i % 8];
            let n = [&before[..], &n].concat();
            assert_eq!(Pattern::new(&before, &p, b'.').matches(&n), expected, "{p:?} {n:?}");
        }
    }
}
