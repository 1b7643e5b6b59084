//! Appending to a system mailbox: one file, messages one behind the other.
//!
//! *Runs in* mbox, as root, on a file in a directory that others may be able
//! to write; the file is opened without following links and must be a regular
//! file of the user's with one name.  Locked twice, as mail.local(8) does it:
//! `user.lock` beside the file, and flock(2) on it.  A message begins with a
//! `From ` line and ends with an empty one; a line of its own that begins with
//! `From ` after an empty line gets a `>`.
//!
//! *Durability:* appended, then synced; after an error the file is cut back to
//! what it was.  A process that dies leaves its lock, which says where it began
//! and with which line: the next one, which sees that nobody holds the lock,
//! cuts off what stands there.  So nobody ever sees half a message for longer,
//! and one that had been written whole, but not answered, is not there twice.

use std::fs::File;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;
use std::time::Duration;

use crate::base::clock::Since;
use crate::disk::atomic;
use crate::disk::dotlock::{Dotlock, Owner, Rule};
use crate::disk::maildir::error::{At, Error, Result};
use crate::sys::file::{create_new, fchown, open_update, try_lock, Lock};
use crate::sys::user::uid;

/// How long a mailbox may be in use by somebody else.  The locks of mail.local(8)
/// and lockspool(1) are empty while they are held, as ours is: it is the time
/// alone that tells.
const LOCK: Rule = Rule {
    wait: Duration::from_secs(30),
    stale: Duration::from_secs(300),
    empty: Duration::from_secs(300),
    flocked: true,
};

/// A mailbox to which a message is being appended; dropping it cuts the message off again.
#[derive(Debug)]
pub struct Mbox<'a> {
    path: &'a Path,
    file: File,
    /// Where the message began.
    start: u64,
    end: u64,
    buffer: Vec<u8>,
    lines: Lines,
    done: bool,
    /// The file was made for this message.
    made: bool,
    lock: Dotlock,
}

/// Whose mailbox.
#[derive(Clone, Copy, Debug)]
pub struct Whose {
    /// The owner; never root.
    pub uid: u32,
    /// The group of a file that is made.
    pub gid: u32,
}

impl<'a> Mbox<'a> {
    /// Opens and locks a mailbox, making it if it does not exist.
    ///
    /// Blocks up to 30 s for each lock, then [`Error::Locked`].
    /// [`Error::Suspect`]: a link, no regular file; [`Error::Foreign`]: another owner's.
    pub fn open(path: &'a Path, whose: Whose, owner: &Owner) -> Result<Mbox<'a>> {
        let lock = Dotlock::acquire(path, LOCK, owner, 0o600)?;
        let (file, made) = match open_update(path) {
            Ok(file) => (file, false),
            Err(e) if e.is_missing() => (create_new(path, 0o600)?, true),
            Err(e) => return Err(e.into()),
        };
        let mut meta = file.metadata().at("fstat", path)?;
        // One that is empty and ours was made by a process that died before this.
        if meta.is_file() && meta.nlink() == 1 && meta.len() == 0 && meta.uid() == uid() {
            fchown(&file, whose.uid, whose.gid)?;
            meta = file.metadata().at("fstat", path)?;
        }
        if !meta.is_file() || meta.nlink() != 1 {
            return Err(Error::Suspect(path.into(), "not a regular file with one name"));
        }
        if meta.uid() != whose.uid {
            return Err(Error::Foreign { path: path.into(), is: meta.uid(), wants: whose.uid });
        }
        let begun = Since::now();
        while !try_lock(&file, Lock::Exclusive)? {
            if begun.elapsed() >= LOCK.wait {
                return Err(Error::Locked(path.into()));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        for (start, line) in lock.left().unwrap_or_default().split_inclusive('\n').filter_map(noted)
        {
            // With another line there it is no message of the dead one.
            if holds(&file, start, line.as_bytes()) {
                file.set_len(start).at("ftruncate", path)?;
            }
        }
        let start = file.metadata().at("fstat", path)?.len();
        Ok(Mbox {
            path,
            file,
            start,
            end: start,
            buffer: Vec::new(),
            lines: Lines::new(),
            done: false,
            made,
            lock,
        })
    }

    /// Writes the `From ` line: the sender, and the time as asctime(3) has it.
    ///
    /// Behind a file that does not end in an empty line there come line ends first.
    pub fn begin(&mut self, sender: &str, time: &str) -> Result<()> {
        let sender = if sender.is_empty() { "MAILER-DAEMON" } else { sender };
        let sender: String = sender.chars().map(|c| if c == ' ' { '_' } else { c }).collect();
        let ends = match self.start {
            0 => "",
            1 if holds(&self.file, 0, b"\n") => "",
            n if holds(&self.file, n.saturating_sub(2), b"\n\n") => "",
            n if holds(&self.file, n.saturating_sub(1), b"\n") => "\n",
            _ => "\n\n",
        };
        let line = format!("From {sender} {time}\n");
        let at = self.start.saturating_add(u64::try_from(ends.len()).unwrap_or(0));
        self.lock.note(&format!("{at} {line}"))?;
        self.buffer.extend_from_slice(ends.as_bytes());
        self.buffer.extend_from_slice(line.as_bytes());
        Ok(())
    }

    /// Adds bytes of the message; CRLF becomes LF, and `From ` lines are quoted.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.lines.feed(bytes, &mut self.buffer);
        if self.buffer.len() >= 64 * 1024 {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.file.write_all_at(&self.buffer, self.end).at("write", self.path)?;
        let len = u64::try_from(self.buffer.len()).unwrap_or(u64::MAX);
        self.end = self.end.saturating_add(len);
        self.buffer.clear();
        Ok(())
    }

    /// Ends the message: the last line, the empty line, synced.
    pub fn finish(mut self) -> Result<()> {
        self.lines.finish(&mut self.buffer);
        self.flush()?;
        atomic::sync_file(&self.file, self.path)?;
        if self.made {
            if let Some(dir) = self.path.parent() {
                atomic::sync_dir(dir)?;
            }
        }
        self.done = true;
        Ok(())
    }
}

impl Drop for Mbox<'_> {
    fn drop(&mut self) {
        if !self.done {
            // Half a message would run into the next one.  If this fails too,
            // the log says why the write did.
            let _ = self.file.set_len(self.start);
        }
    }
}

/// Where a process that died began its message, and the line that it began with.
fn noted(note: &str) -> Option<(u64, &str)> {
    let (start, line) = note.split_once(' ')?;
    (line.starts_with("From ") && line.ends_with('\n')).then_some((start.parse().ok()?, line))
}

/// True if these bytes stand at this place of the file.
fn holds(file: &File, at: u64, bytes: &[u8]) -> bool {
    let mut there = vec![0; bytes.len()];
    file.read_exact_at(&mut there, at).is_ok() && there == bytes
}

/// Makes the lines of a message those of a mailbox, in pieces of any size.
#[derive(Debug)]
struct Lines {
    /// The line before was empty, so that a `From ` now would begin a message.
    empty: bool,
    /// What of the current line is held back: too short to tell, or a CR.
    held: Vec<u8>,
    /// Inside a line whose beginning has been given out.
    within: bool,
}

impl Lines {
    /// Begins behind the `From ` line.
    const fn new() -> Lines {
        Lines { empty: true, held: Vec::new(), within: false }
    }

    fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|b| *b == b'\n') {
            let mut line = std::mem::take(&mut self.held);
            line.extend_from_slice(piece);
            if let Some(text) = line.strip_suffix(b"\n") {
                let text = text.strip_suffix(b"\r").unwrap_or(text);
                self.line(text, out);
                out.push(b'\n');
                self.empty = !self.within && text.is_empty();
                self.within = false;
            } else {
                // A CR may belong to the line's end, five bytes may become a `From `.
                let keep = if !self.within && line.len() < 5 {
                    line.len()
                } else {
                    usize::from(line.ends_with(b"\r"))
                };
                let cut = line.len().saturating_sub(keep);
                self.held = line.split_off(cut);
                if !line.is_empty() {
                    self.line(&line, out);
                    self.within = true;
                }
            }
        }
    }

    /// The last line and the empty line that ends a message.
    fn finish(&mut self, out: &mut Vec<u8>) {
        let held = std::mem::take(&mut self.held);
        if !held.is_empty() {
            self.line(&held, out);
            self.within = true;
        }
        if self.within {
            out.push(b'\n');
            self.empty = false;
        }
        if !self.empty {
            out.push(b'\n');
        }
    }

    /// A line or its beginning, quoted if it needs to be.
    fn line(&self, text: &[u8], out: &mut Vec<u8>) {
        if !self.within && self.empty && text.starts_with(b"From ") {
            out.push(b'>');
        }
        out.extend_from_slice(text);
    }
}

/// Fuzz target: a byte for the size of the pieces, and a message.
///
/// In the mailbox no line of it begins another message, and it ends in an empty
/// line; but for the `>` and the line ends it is what it was.
pub fn fuzz_lines(bytes: &[u8]) {
    let Some((step, message)) = bytes.split_first() else { return };
    let write = |step: usize| {
        let (mut lines, mut out) = (Lines::new(), Vec::new());
        message.chunks(step).for_each(|piece| lines.feed(piece, &mut out));
        lines.finish(&mut out);
        out
    };
    let out = write(usize::MAX);
    assert_eq!(write(usize::from(*step).saturating_add(1)), out, "the pieces do not matter");
    assert!(out.is_empty() || out == b"\n" || out.ends_with(b"\n\n"));
    let whole = [b"\n", out.as_slice()].concat();
    assert!(memchr::memmem::find(&whole, b"\n\nFrom ").is_none(), "one message");
    assert!(!out.starts_with(b"From "), "one message");
    let quoted = out.split(|b| *b == b'\n').filter(|l| l.starts_with(b">From ")).count();
    let longest = message.len().saturating_add(quoted).saturating_add(2);
    assert!(out.len() <= longest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn whose() -> Whose {
        Whose { uid: crate::sys::user::uid(), gid: crate::sys::user::gid() }
    }

    fn owner() -> Owner {
        Owner { pid: std::process::id(), host: "h".into(), dead: Vec::new() }
    }

    fn append(path: &Path, text: &[u8], step: usize) -> Result<()> {
        let mut mbox = Mbox::open(path, whose(), &owner())?;
        mbox.begin("a b@c", "Mon Jan  1 00:00:00 2024")?;
        for piece in text.chunks(step) {
            mbox.write(piece)?;
        }
        mbox.finish()
    }

    #[test]
    fn messages_are_parted_and_from_lines_quoted_whatever_the_pieces() {
        let text = b"Subject: x\r\n\r\nFrom here\r\nFrom there\r\n\r\nFrom\r\n\r\nFrom end";
        let want = "From a_b@c Mon Jan  1 00:00:00 2024\nSubject: x\n\n>From here\nFrom there\n\n\
                    From\n\n>From end\n\n";
        for step in 1..=text.len() {
            let dir = TestDir::new();
            let path = dir.path().join("joe");
            append(&path, text, step).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), want, "step {step}");
            append(&path, text, step).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), want.repeat(2));
            assert!(!dir.path().join("joe.lock").exists());
            assert_eq!(std::fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        }
    }

    #[test]
    fn an_empty_lock_is_held_for_as_long_as_mail_local_holds_one() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        std::fs::write(&path, "").unwrap();
        let rule = Rule { wait: Duration::from_millis(20), ..LOCK };
        let taken = |secs| {
            let lock = File::create(dir.path().join("joe.lock")).unwrap();
            let made = std::time::SystemTime::now() - Duration::from_secs(secs);
            lock.set_modified(made).unwrap();
            Dotlock::acquire(&path, rule, &owner(), 0o600).is_ok()
        };
        assert!(!taken(60));
        assert!(taken(301));
    }

    #[test]
    fn a_message_given_up_is_cut_off() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        std::fs::write(&path, "before\n\n").unwrap();
        let mut mbox = Mbox::open(&path, whose(), &owner()).unwrap();
        mbox.write(&b"x\r\n".repeat(100_000)).unwrap();
        drop(mbox);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\n\n");
    }

    /// What a process leaves that is killed in mid-message: its lock, held by nobody.
    fn killed(path: &Path, written: &[u8]) {
        let mut mbox = Mbox::open(path, whose(), &owner()).unwrap();
        mbox.begin("dead@c", "Mon Jan  1 00:00:00 2024").unwrap();
        mbox.write(written).unwrap();
        mbox.flush().unwrap();
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        let lock = std::path::PathBuf::from(lock);
        let text = std::fs::read(&lock).unwrap();
        let half = std::fs::read(path).unwrap();
        drop(mbox);
        std::fs::write(lock, text).unwrap();
        std::fs::write(path, half).unwrap();
    }

    #[test]
    fn what_a_dead_process_had_begun_is_cut_off_by_the_next_one_at_once() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        append(&path, b"one\r\n", 9).unwrap();
        let before = std::fs::read_to_string(&path).unwrap();
        killed(&path, b"half a li");
        killed(&path, b"another half");
        append(&path, b"two\r\n", 9).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            before.clone() + &before.replace("one", "two")
        );
        assert!(!dir.path().join("joe.lock").exists());
    }

    #[test]
    fn a_mailbox_that_somebody_has_changed_since_is_not_cut() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        append(&path, b"one\r\n", 9).unwrap();
        killed(&path, b"half a li");
        let other = "From x Mon Jan  1 00:00:00 2024\nanother text altogether, without an end";
        std::fs::write(&path, other).unwrap();
        append(&path, b"two\r\n", 9).unwrap();
        let now = std::fs::read_to_string(&path).unwrap();
        assert!(now.starts_with(&format!("{other}\n\nFrom a_b@c ")), "{now}");
    }

    #[test]
    fn a_lock_without_a_word_of_ours_waits_for_the_time() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        std::fs::write(&path, "").unwrap();
        let rule = Rule { wait: Duration::from_millis(20), ..LOCK };
        for (text, free) in [("", false), ("4711:h", false), ("rmail:4711:h\n", true)] {
            std::fs::write(dir.path().join("joe.lock"), text).unwrap();
            assert_eq!(Dotlock::acquire(&path, rule, &owner(), 0o600).is_ok(), free, "{text}");
        }
        let held = Dotlock::acquire(&path, rule, &owner(), 0o600).unwrap();
        assert!(Dotlock::acquire(&path, rule, &owner(), 0o600).is_err());
        drop(held);
    }

    #[test]
    fn a_message_begins_on_a_line_of_its_own() {
        for (before, between) in
            [("", ""), ("\n", ""), ("x", "\n\n"), ("x\n", "\n"), ("x\n\n", ""), ("\n\n", "")]
        {
            let dir = TestDir::new();
            let path = dir.path().join("joe");
            std::fs::write(&path, before).unwrap();
            append(&path, b"two\r\n", 9).unwrap();
            let now = std::fs::read_to_string(&path).unwrap();
            assert!(now.starts_with(&format!("{before}{between}From ")), "{now:?}");
        }
    }

    /// Death between making the file and giving it away must not lock the user out.
    #[test]
    fn an_empty_file_that_was_made_and_not_given_away_becomes_the_users() {
        if !crate::sys::user::is_root() {
            return;
        }
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        std::fs::write(&path, "").unwrap();
        let joe = Whose { uid: 4711, gid: 4712 };
        drop(Mbox::open(&path, joe, &owner()).unwrap());
        let meta = std::fs::metadata(&path).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (4711, 4712));
    }

    #[test]
    fn links_and_foreign_files_are_refused() {
        let dir = TestDir::new();
        let path = dir.path().join("joe");
        let other = dir.path().join("other");
        std::fs::write(&other, "").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        assert!(append(&path, b"x", 1).is_err());
        std::fs::remove_file(&path).unwrap();
        std::fs::hard_link(&other, &path).unwrap();
        assert!(matches!(append(&path, b"x", 1), Err(Error::Suspect(..))));
        let foreign = Whose { uid: whose().uid + 1, gid: 0 };
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mail\n\n").unwrap();
        let refused = Mbox::open(&path, foreign, &owner()).unwrap_err();
        let (is, wants) = (whose().uid, foreign.uid);
        assert_eq!(refused, Error::Foreign { path: path.clone(), is, wants });
        // Who reads the log sees what to do.
        assert!(refused.to_string().ends_with(&format!("chown {wants} {}", path.display())));
        assert_eq!(std::fs::read(&other).unwrap(), b"");
    }
}
