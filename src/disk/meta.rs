//! `rmail.meta`: what a mailbox has that Dovecot's files have no room for.
//!
//! Runs in store.  Text, replaced as a whole and synced, and *not* disposable:
//! keywords without a letter (number 26 and above) with the messages that
//! carry them, and a MODSEQ below which numbers may have been given out.  The
//! index is not synced, so after a crash counting goes on above that mark, and
//! HIGHESTMODSEQ never goes backwards.  Lines:
//!
//! > `rmail.meta 1` / `modseq <n>` / `keyword <n> <name>` / `set <n> <uid>[-<uid>],...`

use std::fs::File;
use std::io::Read;
use std::path::Path;

use crate::disk::atomic;
use crate::disk::index::codec::Range;
use crate::disk::keywords;
use crate::disk::maildir::error::{At, Error, Result};
use crate::disk::maildir::file::LETTER_KEYWORDS;
use crate::proto::cursor::Cursor;
use crate::proto::limits;

/// The file's name in a mailbox's directory.
pub const NAME: &str = "rmail.meta";

/// The version that this code writes, and the only one it reads.
const VERSION: u64 = 1;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Meta {
    /// No MODSEQ above this has been given out.
    pub modseq: u64,
    /// Keywords without a letter, by number.
    pub keywords: Vec<(u32, String)>,
    /// The messages that carry them, by number.
    pub sets: Vec<(u32, Vec<Range>)>,
}

impl Meta {
    /// Reads a mailbox's file; a mailbox without one has nothing extra.
    ///
    /// Lines that make no sense are left out; a later version is [`Error::Newer`].
    pub fn load(dir: &Path) -> Result<Meta> {
        let path = dir.join(NAME);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Meta::default()),
            Err(e) => return Err(e).at("open", &path),
        };
        let mut text = Vec::new();
        file.take(limits::META_FILE.default).read_to_end(&mut text).at("read", &path)?;
        Meta::parse(&text).map_err(|version| match version {
            Some(v) => Error::Newer(path, u32::try_from(v).unwrap_or(u32::MAX)),
            None => Error::Suspect(path, "not a rmail.meta"),
        })
    }

    /// Replaces the file, synced.
    pub fn store(&self, dir: &Path, mode: u32) -> Result<()> {
        Ok(atomic::replace(&dir.join(NAME), &dir.join("rmail.meta.new"), &self.write(), mode)?)
    }

    /// Reads the text; the error is the version, if there is one.
    fn parse(text: &[u8]) -> core::result::Result<Meta, Option<u64>> {
        let mut lines = text.split(|b| *b == b'\n');
        let mut first = Cursor::new(lines.next().unwrap_or_default());
        if !first.eat_exact(b"rmail.meta ") {
            return Err(None);
        }
        match first.number() {
            Some(VERSION) if first.at_end() => {}
            other => return Err(other),
        }
        let mut meta = Meta::default();
        for line in lines {
            // A line that does not parse is left out: the rest is still true.
            let _ = meta.line(line);
        }
        Ok(meta)
    }

    fn line(&mut self, line: &[u8]) -> Option<()> {
        let mut c = Cursor::new(line);
        if c.eat_exact(b"modseq ") {
            self.modseq = c.number()?;
        } else if c.eat_exact(b"keyword ") {
            let n = number_of(&mut c)?;
            let name = std::str::from_utf8(c.rest()).ok()?;
            if keywords::is_keyword(name) {
                self.keywords.push((n, name.to_string()));
            }
        } else if c.eat_exact(b"set ") {
            let n = number_of(&mut c)?;
            let mut set = Vec::new();
            while !c.at_end() {
                let first = u32::try_from(c.number()?).ok()?;
                let last = if c.eat(b'-') { u32::try_from(c.number()?).ok()? } else { first };
                if first <= last {
                    set.push(Range { first, last });
                }
                if !c.eat(b',') && !c.at_end() {
                    return None;
                }
            }
            self.sets.push((n, set));
        }
        Some(())
    }

    fn write(&self) -> Vec<u8> {
        let mut out = format!("rmail.meta {VERSION}\nmodseq {}\n", self.modseq);
        for (n, name) in &self.keywords {
            out.push_str(&format!("keyword {n} {name}\n"));
        }
        for (n, set) in self.sets.iter().filter(|(_, set)| !set.is_empty()) {
            let set: Vec<String> = set
                .iter()
                .map(|r| match r.first == r.last {
                    true => r.first.to_string(),
                    false => format!("{}-{}", r.first, r.last),
                })
                .collect();
            out.push_str(&format!("set {n} {}\n", set.join(",")));
        }
        out.into_bytes()
    }
}

/// A keyword's number and the space behind it.
fn number_of(c: &mut Cursor<'_>) -> Option<u32> {
    let n = u32::try_from(c.number()?).ok()?;
    let known = (LETTER_KEYWORDS..keywords::MAX).contains(&n);
    (known && c.eat(b' ')).then_some(n)
}

/// Fuzz target: a whole file.
pub fn fuzz_meta(bytes: &[u8]) {
    if let Ok(meta) = Meta::parse(bytes) {
        // A second reading loses nothing more.
        let once = Meta::parse(&meta.write());
        assert_eq!(once.as_ref().map(Meta::write), Ok(meta.write()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    #[test]
    fn written_and_read_back() {
        let dir = TestDir::new();
        assert_eq!(Meta::load(dir.path()).unwrap(), Meta::default());
        let meta = Meta {
            modseq: 1 << 41,
            keywords: vec![(26, "$Label27".into()), (63, "last".into())],
            sets: vec![(26, vec![Range { first: 1, last: 1 }, Range { first: 5, last: 9 }])],
        };
        meta.store(dir.path(), 0o600).unwrap();
        assert_eq!(Meta::load(dir.path()).unwrap(), meta);
        let text = std::fs::read_to_string(dir.path().join(NAME)).unwrap();
        assert!(text.starts_with("rmail.meta 1\n") && text.contains("set 26 1,5-9\n"));
    }

    #[test]
    fn a_later_version_is_refused_and_not_written_over() {
        let dir = TestDir::new();
        let path = dir.path().join(NAME);
        std::fs::write(&path, "rmail.meta 2\nmodseq 9\n").unwrap();
        assert_eq!(Meta::load(dir.path()), Err(Error::Newer(path.clone(), 2)));
        std::fs::write(&path, "something else").unwrap();
        assert!(matches!(Meta::load(dir.path()), Err(Error::Suspect(..))));
    }

    #[test]
    fn lines_that_make_no_sense_are_left_out() {
        let text =
            b"rmail.meta 1\nmodseq x\nkeyword 3 low\nkeyword 30 a b\nset 30 9-1,x\nset 31 4\n";
        let meta = Meta::parse(text).unwrap();
        assert_eq!(meta.sets, [(31, vec![Range { first: 4, last: 4 }])]);
        assert!(meta.keywords.is_empty() && meta.modseq == 0);
    }
}
