//! SEARCH: its grammar, and the program that the criteria become.
//!
//! Criteria nest without end in the grammar, so they are not a tree here: the
//! parser keeps a bounded stack of open brackets and writes the keys in postfix
//! order; [`super::eval`] runs them with a stack of its own.  Neither recurses.
//! RFC 3501 6.4.4; RFC 4731 (ESEARCH).

use super::date;
use super::flag::{self, SystemFlags};
use super::lex::{self, Fault, Parsed, Text};
use super::seqset::SeqSet;
use crate::proto::cursor::Cursor;
use crate::proto::date::Date;
use crate::proto::limits;

/// The arguments of SEARCH.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Search<'a> {
    /// `RETURN (...)`; `None` asks for the old SEARCH response.
    pub returns: Option<Returns>,
    /// What to look for.
    pub program: Program<'a>,
}

/// search-return-opts
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Returns {
    /// `MIN`
    pub min: bool,
    /// `MAX`
    pub max: bool,
    /// `ALL`, also the meaning of `()`.
    pub all: bool,
    /// `COUNT`
    pub count: bool,
}

/// The criteria in postfix order; running it leaves one answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Program<'a>(pub Vec<Op<'a>>);

/// One step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op<'a> {
    /// Puts the answer to a key on the stack.
    Key(Key<'a>),
    /// Turns the top answer round.
    Not,
    /// Joins the two top answers.
    And,
    /// Joins the two top answers.
    Or,
}

/// search-key, without those that are made of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key<'a> {
    /// `ALL`
    All,
    /// `ANSWERED` and its like; false for `UNANSWERED`.
    Flag(SystemFlags, bool),
    /// `RECENT`; false for `OLD`.
    Recent(bool),
    /// `NEW`: recent and not seen.
    New,
    /// `KEYWORD`; false for `UNKEYWORD`.
    Keyword(&'a [u8], bool),
    /// `BEFORE`, `ON`, `SINCE`: the internal date.
    Internal(When, Date),
    /// `SENTBEFORE`, `SENTON`, `SENTSINCE`: the Date field.
    Sent(When, Date),
    /// `LARGER`
    Larger(u32),
    /// `SMALLER`
    Smaller(u32),
    /// A sequence set.
    Seq(SeqSet),
    /// `UID`
    Uid(SeqSet),
    /// `HEADER`, and `FROM`, `TO`, `CC`, `BCC`, `SUBJECT`: field and needle.
    Header(Text<'a>, Needle),
    /// `BODY`
    Body(Needle),
    /// `TEXT`
    Text(Needle),
}

/// How a day compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// Earlier than the day.
    Before,
    /// On the day.
    On,
    /// On the day or later.
    Since,
}

impl When {
    /// True if `day` stands so to `to`.
    pub fn holds(self, day: Date, to: Date) -> bool {
        match self {
            When::Before => day < to,
            When::On => day == to,
            When::Since => day >= to,
        }
    }
}

/// A string to be found, case folded once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needle(pub String);

impl Needle {
    /// Folds a string; bytes that are no UTF-8 are replaced.
    pub fn new(text: &[u8]) -> Needle {
        Needle(fold(&String::from_utf8_lossy(text)))
    }

    /// True if the needle is in text that [`fold`] gave.
    pub fn is_in(&self, folded: &str) -> bool {
        self.0.is_empty() || memchr::memmem::find(folded.as_bytes(), self.0.as_bytes()).is_some()
    }
}

/// Text as it is compared: lower case, each run of white space one space.
///
/// RFC 3501 asks for case-insensitive comparison and leaves the rest open; a
/// folded header line and a wrapped paragraph are found as one would type them.
pub fn fold(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut space = false;
    for c in text.chars() {
        if matches!(c, ' ' | '\t' | '\r' | '\n') {
            space = true;
            continue;
        }
        if std::mem::take(&mut space) {
            out.push(' ');
        }
        if c.is_ascii() {
            out.push(c.to_ascii_lowercase());
        } else {
            out.extend(c.to_lowercase());
        }
    }
    if space {
        out.push(' ');
    }
    out
}

impl<'a> Search<'a> {
    /// [SP "RETURN" SP "(" ... ")"] SP [("CHARSET" SP astring SP)] search-key *(SP search-key)
    ///
    /// The space before has been read.
    pub fn parse(c: &mut Cursor<'a>) -> Parsed<Search<'a>> {
        let mut returns = None;
        if lex::keyword(c, b"RETURN") {
            lex::sp(c)?;
            returns = Some(parse_returns(c)?);
            lex::sp(c)?;
        }
        let mut ascii = false;
        if lex::keyword(c, b"CHARSET") {
            lex::sp(c)?;
            let name = lex::astring(c)?;
            ascii = name.eq_ignore_ascii_case(b"US-ASCII");
            if !ascii && !name.eq_ignore_ascii_case(b"UTF-8") {
                return Err(Fault::Charset);
            }
            lex::sp(c)?;
        }
        let program = Program::parse(c, ascii)?;
        Ok(Search { returns, program })
    }
}

fn parse_returns(c: &mut Cursor<'_>) -> Parsed<Returns> {
    let mut returns = Returns::default();
    if c.eat_exact(b"()") {
        returns.all = true;
        return Ok(returns);
    }
    let options = lex::list(c, limits::IMAP_LIST_OPTIONS.size(), |c| {
        lex::atom(c).map_err(|_| Fault::SearchReturn)
    })?;
    for option in options {
        match () {
            () if option.eq_ignore_ascii_case(b"MIN") => returns.min = true,
            () if option.eq_ignore_ascii_case(b"MAX") => returns.max = true,
            () if option.eq_ignore_ascii_case(b"ALL") => returns.all = true,
            () if option.eq_ignore_ascii_case(b"COUNT") => returns.count = true,
            () => return Err(Fault::SearchReturn),
        }
    }
    Ok(returns)
}

/// What waits for its operands.
enum Open {
    /// The criteria or a parenthesis: keys joined by AND; true if one was read.
    List { bracket: bool, some: bool },
    /// `NOT`
    Not,
    /// `OR`; true if the first key was read.
    Or(bool),
}

impl<'a> Program<'a> {
    /// search-key *(SP search-key)
    fn parse(c: &mut Cursor<'a>, ascii: bool) -> Parsed<Program<'a>> {
        let mut ops = Vec::new();
        let mut open = vec![Open::List { bracket: false, some: false }];
        loop {
            if open.len() > limits::IMAP_SEARCH_DEPTH.size() {
                return Err(Fault::TooDeep);
            }
            if ops.len() >= limits::IMAP_SEARCH_KEYS.size() {
                return Err(Fault::TooMany);
            }
            if c.eat(b'(') {
                open.push(Open::List { bracket: true, some: false });
                continue;
            }
            if lex::keyword(c, b"NOT") {
                lex::sp(c)?;
                open.push(Open::Not);
                continue;
            }
            if lex::keyword(c, b"OR") {
                lex::sp(c)?;
                open.push(Open::Or(false));
                continue;
            }
            ops.push(Op::Key(parse_key(c, ascii)?));
            // A key is whole: close whatever it completes.
            loop {
                match open.last_mut() {
                    Some(Open::Not) => {
                        ops.push(Op::Not);
                        open.pop();
                    }
                    Some(Open::Or(true)) => {
                        ops.push(Op::Or);
                        open.pop();
                    }
                    Some(Open::Or(first)) => {
                        *first = true;
                        break;
                    }
                    Some(Open::List { bracket, some }) => {
                        if std::mem::replace(some, true) {
                            ops.push(Op::And);
                        }
                        if !*bracket || !c.eat(b')') {
                            break;
                        }
                        open.pop();
                    }
                    None => return Err(Fault::SearchKey),
                }
            }
            if open.len() == 1 && (c.at_end() || c.rest() == b"\r\n") {
                return Ok(Program(ops));
            }
            lex::sp(c)?;
        }
    }
}

/// The keys that are a word alone.
const WORDS: [(&[u8], Key<'static>); 14] = [
    (b"ALL", Key::All),
    (b"ANSWERED", Key::Flag(SystemFlags::ANSWERED, true)),
    (b"UNANSWERED", Key::Flag(SystemFlags::ANSWERED, false)),
    (b"DELETED", Key::Flag(SystemFlags::DELETED, true)),
    (b"UNDELETED", Key::Flag(SystemFlags::DELETED, false)),
    (b"DRAFT", Key::Flag(SystemFlags::DRAFT, true)),
    (b"UNDRAFT", Key::Flag(SystemFlags::DRAFT, false)),
    (b"FLAGGED", Key::Flag(SystemFlags::FLAGGED, true)),
    (b"UNFLAGGED", Key::Flag(SystemFlags::FLAGGED, false)),
    (b"SEEN", Key::Flag(SystemFlags::SEEN, true)),
    (b"UNSEEN", Key::Flag(SystemFlags::SEEN, false)),
    (b"RECENT", Key::Recent(true)),
    (b"OLD", Key::Recent(false)),
    (b"NEW", Key::New),
];

fn parse_key<'a>(c: &mut Cursor<'a>, ascii: bool) -> Parsed<Key<'a>> {
    if c.peek().is_some_and(|b| b.is_ascii_digit() || b == b'*') {
        return SeqSet::parse(c).map(Key::Seq);
    }
    let word = lex::atom(c).map_err(|_| Fault::SearchKey)?;
    if let Some((_, key)) = WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(word)) {
        return Ok(key.clone());
    }
    let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
    let needle = |c: &mut Cursor<'a>| {
        lex::sp(c)?;
        let text = lex::astring(c)?;
        if (ascii && !text.is_ascii()) || text.len() > limits::IMAP_SEARCH_STRING.size() {
            return Err(if ascii { Fault::Charset } else { Fault::TooLarge });
        }
        Ok(Needle::new(&text))
    };
    let day = |c: &mut Cursor<'a>| {
        lex::sp(c)?;
        date::date(c)
    };
    let field =
        |c: &mut Cursor<'a>, name: &'static [u8]| Ok(Key::Header(Text::Borrowed(name), needle(c)?));
    match () {
        () if is(b"BCC") => field(c, b"Bcc"),
        () if is(b"BEFORE") => Ok(Key::Internal(When::Before, day(c)?)),
        () if is(b"BODY") => Ok(Key::Body(needle(c)?)),
        () if is(b"CC") => field(c, b"Cc"),
        () if is(b"FROM") => field(c, b"From"),
        () if is(b"HEADER") => {
            lex::sp(c)?;
            let name = lex::astring(c)?;
            Ok(Key::Header(name, needle(c)?))
        }
        () if is(b"KEYWORD") || is(b"UNKEYWORD") => {
            lex::sp(c)?;
            Ok(Key::Keyword(flag::parse_keyword(c)?, is(b"KEYWORD")))
        }
        () if is(b"LARGER") => {
            lex::sp(c)?;
            lex::number(c).map(Key::Larger)
        }
        () if is(b"ON") => Ok(Key::Internal(When::On, day(c)?)),
        () if is(b"SENTBEFORE") => Ok(Key::Sent(When::Before, day(c)?)),
        () if is(b"SENTON") => Ok(Key::Sent(When::On, day(c)?)),
        () if is(b"SENTSINCE") => Ok(Key::Sent(When::Since, day(c)?)),
        () if is(b"SINCE") => Ok(Key::Internal(When::Since, day(c)?)),
        () if is(b"SMALLER") => {
            lex::sp(c)?;
            lex::number(c).map(Key::Smaller)
        }
        () if is(b"SUBJECT") => field(c, b"Subject"),
        () if is(b"TEXT") => Ok(Key::Text(needle(c)?)),
        () if is(b"TO") => field(c, b"To"),
        () if is(b"UID") => {
            lex::sp(c)?;
            SeqSet::parse(c).map(Key::Uid)
        }
        () => Err(Fault::SearchKey),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Parsed<Search<'_>> {
        let mut c = Cursor::new(text.as_bytes());
        let search = Search::parse(&mut c)?;
        lex::end(&mut c)?;
        Ok(search)
    }

    /// The program in a few letters: k for a key, ! & | for the rest.
    fn shape(text: &str) -> String {
        let letter = |op: &Op<'_>| match op {
            Op::Key(_) => 'k',
            Op::Not => '!',
            Op::And => '&',
            Op::Or => '|',
        };
        search(text).unwrap().program.0.iter().map(letter).collect()
    }

    #[test]
    fn criteria_become_postfix() {
        assert_eq!(shape("ALL"), "k");
        assert_eq!(shape("SEEN UNDELETED 1:4"), "kk&k&");
        assert_eq!(shape("OR SEEN FLAGGED DRAFT"), "kk|k&");
        assert_eq!(shape("NOT SEEN"), "k!");
        assert_eq!(shape("NOT (SEEN DRAFT) ALL"), "kk&!k&");
        assert_eq!(shape("OR (SEEN (DRAFT)) NOT OR ALL NOT NEW"), "kk&kk!|!|");
        assert_eq!(shape("((ALL))"), "k");
    }

    #[test]
    fn every_key_of_the_rfc_is_known() {
        for key in [
            "ALL",
            "ANSWERED",
            "BCC x",
            "BEFORE 1-Feb-1994",
            "BODY x",
            "CC x",
            "DELETED",
            "DRAFT",
            "FLAGGED",
            "FROM \"x y\"",
            "HEADER Message-ID \"\"",
            "KEYWORD $Junk",
            "LARGER 10",
            "NEW",
            "OLD",
            "ON \"1-Feb-1994\"",
            "RECENT",
            "SEEN",
            "SENTBEFORE 1-Feb-1994",
            "SENTON 1-Feb-1994",
            "SENTSINCE 1-Feb-1994",
            "SINCE 1-Feb-1994",
            "SMALLER 10",
            "SUBJECT {3}\r\na b",
            "TEXT x",
            "TO x",
            "UID 1:*",
            "UNANSWERED",
            "UNDELETED",
            "UNDRAFT",
            "UNFLAGGED",
            "UNKEYWORD x",
            "UNSEEN",
            "1,3:*",
            "*",
        ] {
            assert_eq!(shape(key), "k", "{key}");
        }
    }

    #[test]
    fn return_options() {
        assert_eq!(search("ALL").unwrap().returns, None);
        let all = Returns { all: true, ..Returns::default() };
        assert_eq!(search("RETURN () ALL").unwrap().returns, Some(all));
        let two = Returns { min: true, count: true, ..Returns::default() };
        assert_eq!(search("return (min COUNT) CHARSET utf-8 ALL").unwrap().returns, Some(two));
        assert_eq!(search("RETURN (SAVE) ALL"), Err(Fault::SearchReturn));
    }

    #[test]
    fn only_charsets_that_are_known() {
        assert_eq!(search("CHARSET KOI8-R TEXT x"), Err(Fault::Charset));
        assert_eq!(search("CHARSET US-ASCII TEXT \"\u{e4}\""), Err(Fault::Charset));
        assert!(search("CHARSET UTF-8 TEXT \"\u{e4}\"").is_ok());
    }

    #[test]
    fn malformed_criteria_are_refused() {
        for bad in [
            "",
            "()",
            "(ALL",
            "ALL)",
            "NOT",
            "OR ALL",
            "ALL ",
            "FOO",
            "BEFORE x",
            "LARGER -1",
            "HEADER x",
            "ALL  SEEN",
            "(ALL )",
            "UID",
            "KEYWORD \\Seen",
            "MODSEQ 5",
            "$",
            "NOT  ALL",
            "CHARSET UTF-8",
        ] {
            assert!(search(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn depth_and_number_of_keys_are_bounded() {
        let deep = "(".repeat(60_000);
        assert_eq!(search(&deep), Err(Fault::TooDeep));
        let nots = "NOT ".repeat(10_000) + "ALL";
        assert_eq!(search(&nots), Err(Fault::TooDeep));
        let many = "ALL ".repeat(20_000) + "ALL";
        assert_eq!(search(&many), Err(Fault::TooMany));
    }

    #[test]
    fn folding_ignores_case_and_line_ends() {
        assert_eq!(fold("Größe\r\n\tDER  Welt"), "größe der welt");
        assert!(Needle::new("ÄRGER".as_bytes()).is_in(&fold("viel ärger")));
        assert!(!Needle::new(b"x y").is_in(&fold("xy")));
    }
}
