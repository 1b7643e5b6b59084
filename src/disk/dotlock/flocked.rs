//! Locks that are flocked as long as they are held, and say so: those of mbox.
//!
//! Such a lock is never there without its holder's name, so that one which a
//! death left is not taken for another program's, which would keep everybody
//! out until it is stale: it is made beside its place, `x.lock.rmail`, flocked
//! and written, and linked there.  Whoever has a file locked may take its name
//! away; so no newer file can be meant.  A dead holder's lock is replaced by a
//! rename while it is held, so that what that one had noted is never lost.
//! Its flock tells that a holder of this host lives; another host's lock, on a
//! file system that both have, goes by time.

use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{create, is_at, remove, system, Owner, Rule, Taken};
use crate::base::clock::WallTime;
use crate::disk::atomic;
use crate::disk::maildir::error::{At, Result};
use crate::sys::errno;
use crate::sys::file::{open_nofollow, try_lock, Lock};
use crate::sys::user::uid;

/// The first word of such a lock.
const FLOCKED: &str = "rmail:";

/// Octets of it that are looked at.
const NOTES: u64 = 4096;

/// Tries to make the lock, or to take that of a dead holder.
pub fn take(lock: &Path, rule: Rule, owner: &Owner, mode: u32) -> Result<Taken> {
    let mut draft = lock.as_os_str().to_owned();
    draft.push(".rmail");
    let draft = PathBuf::from(draft);
    let name = format!("{FLOCKED}{}:{}\n", owner.pid, owner.host);
    let Some(file) = drafted(&draft, &name, rule, mode)? else { return Ok(Taken::Busy) };
    let linked = atomic::link(&draft, lock);
    remove(&draft)?;
    match linked {
        Ok(()) => return Ok(Taken::Ours(file, None)),
        Err(e) if e.errno == errno::EEXIST => {}
        Err(e) if errno::NO_LINKS.contains(&e.errno) => {
            // A file system without links: the name comes a moment later.
            if let Some(file) = create(lock, mode)? {
                return Ok(match named(file, lock, &name)? {
                    Some(file) => Taken::Ours(file, None),
                    None => Taken::Busy,
                });
            }
        }
        Err(e) => return Err(e.into()),
    }
    let Ok(there) = open_ours(lock) else { return Ok(Taken::Held) };
    // A name is written before the lock is there, or at once.
    if text(&there, lock)?.0 != owner.host {
        return Ok(Taken::Held);
    }
    if !try_lock(&there, Lock::Exclusive)? || !is_at(lock, &there)? {
        return Ok(Taken::Busy);
    }
    // What it had noted up to its end.
    let (_, owed) = text(&there, lock)?;
    let Some(file) = drafted(&draft, &format!("{name}{owed}"), rule, mode)? else {
        return Ok(Taken::Busy);
    };
    atomic::rename(&draft, lock)?;
    Ok(Taken::Ours(file, Some(owed)))
}

/// Makes the draft.  One that is there is another's who makes the lock, or a
/// death left it: then it is removed for the next try.
fn drafted(draft: &Path, text: &str, rule: Rule, mode: u32) -> Result<Option<File>> {
    if let Some(file) = create(draft, mode)? {
        return named(file, draft, text);
    }
    match open_ours(draft) {
        Ok(left) if try_lock(&left, Lock::Exclusive)? && is_at(draft, &left)? => remove(draft)?,
        Ok(_) => {}
        // Nobody of ours made this; who may write here shall not shut a mailbox.
        Err(_) if is_old(draft, rule) => remove(draft)?,
        Err(_) => {}
    }
    Ok(None)
}

/// Locks a new file and writes who has it; `None` if it was taken away meanwhile.
fn named(mut file: File, path: &Path, text: &str) -> Result<Option<File>> {
    if !try_lock(&file, Lock::Exclusive)? || !is_at(path, &file)? {
        return Ok(None);
    }
    file.write_all(text.as_bytes()).at("write", path)?;
    Ok(Some(file))
}

/// Opens a file of this user's.  It may have the names of draft and lock both, if
/// its maker died between the two.
fn open_ours(path: &Path) -> Result<File> {
    let file = open_nofollow(path)?;
    let meta = file.metadata().at("fstat", path)?;
    match meta.is_file() && meta.nlink() <= 2 && meta.uid() == uid() {
        true => Ok(file),
        false => Err(std::io::Error::from_raw_os_error(errno::EPERM)).at("open", path),
    }
}

/// The host of a lock of rmail's, and the notes; both empty for any other file.
fn text(mut file: &File, path: &Path) -> Result<(String, String)> {
    let mut text = Vec::new();
    file.rewind().at("lseek", path)?;
    file.take(NOTES).read_to_end(&mut text).at("read", path)?;
    let text = String::from_utf8_lossy(&text);
    let whole = text.strip_prefix(FLOCKED).and_then(|t| t.split_once('\n'));
    let parts = whole.and_then(|(name, notes)| Some((name.split_once(':')?.1, notes)));
    let (host, notes) = parts.unwrap_or_default();
    Ok((host.to_owned(), notes.to_owned()))
}

/// Whether nothing has happened to a file for as long as makes a lock stale.
fn is_old(path: &Path, rule: Rule) -> bool {
    let made = std::fs::symlink_metadata(path).ok().and_then(|m| m.modified().ok());
    let age = made.and_then(|t| system(WallTime::now()).duration_since(t).ok());
    age.is_some_and(|age| age >= rule.stale)
}

#[cfg(test)]
mod tests {
    use super::super::Dotlock;
    use super::*;
    use crate::disk::maildir::error::Error;
    use crate::disk::testdir::TestDir;
    use std::time::{Duration, SystemTime};

    const RULE: Rule = Rule {
        wait: Duration::from_millis(50),
        stale: Duration::from_secs(300),
        empty: Duration::from_secs(300),
        flocked: true,
    };

    fn owner() -> Owner {
        Owner { pid: std::process::id(), host: "h".into(), dead: Vec::new() }
    }

    /// A mailbox, its lock, the draft of that, and our name in it.
    fn place() -> (TestDir, PathBuf, PathBuf, PathBuf, String) {
        let dir = TestDir::new();
        let [target, lock, draft] = ["x", "x.lock", "x.lock.rmail"].map(|n| dir.path().join(n));
        (dir, target, lock, draft, format!("rmail:{}:h\n", std::process::id()))
    }

    fn acquire(target: &Path) -> Result<Dotlock> {
        Dotlock::acquire(target, RULE, &owner(), 0o600)
    }

    /// As if nothing had happened to it for an hour.
    fn age(path: &Path) {
        let old = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(path).unwrap().set_modified(old).unwrap();
    }

    #[test]
    fn a_lock_has_its_holders_name_and_is_his_alone() {
        let (_dir, target, path, draft, name) = place();
        let mut lock = acquire(&target).unwrap();
        assert_eq!(lock.left(), None);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), name);
        lock.note("17\n").unwrap();
        assert_eq!(acquire(&target).err(), Some(Error::Locked(path.clone())));
        // Not by time either, while he lives.
        age(&path);
        assert_eq!(acquire(&target).err(), Some(Error::Locked(path.clone())));
        assert!(!draft.exists());
        drop(lock);
        assert!(!path.exists());
    }

    #[test]
    fn whatever_a_death_left_is_in_nobodys_way() {
        let (_dir, target, path, draft, name) = place();
        // Killed before it wrote, before it linked, and after: one file, two names.
        for (text, linked) in [("", false), ("rmail:1:h\n", false), ("rmail:1:h\n", true)] {
            std::fs::write(&draft, text).unwrap();
            if linked {
                std::fs::hard_link(&draft, &path).unwrap();
            }
            let lock = Dotlock::acquire(
                &target,
                Rule { wait: Duration::from_secs(5), ..RULE },
                &owner(),
                0o600,
            );
            let lock = lock.unwrap();
            assert_eq!(lock.left(), linked.then_some(""));
            assert_eq!(std::fs::read_to_string(&path).unwrap(), name);
            assert!(!draft.exists());
        }
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_holder_had_noted_is_owed_by_the_next_however_late() {
        let (_dir, target, path, draft, name) = place();
        std::fs::write(&path, "rmail:1:h\n17\n").unwrap();
        std::fs::write(&draft, "rmail:2:h\n").unwrap();
        age(&path);
        age(&draft);
        let patient = Rule { wait: Duration::from_secs(5), ..RULE };
        let lock = Dotlock::acquire(&target, patient, &owner(), 0o600).unwrap();
        assert_eq!(lock.left(), Some("17\n"));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), format!("{name}17\n"));
    }

    #[test]
    fn locks_of_other_programs_and_hosts_go_by_time() {
        for text in ["", "0", "4711", "rmail:1:elsewhere\n17\n"] {
            let (_dir, target, path, _draft, name) = place();
            std::fs::write(&path, text).unwrap();
            assert_eq!(acquire(&target).err(), Some(Error::Locked(path.clone())), "{text}");
            age(&path);
            let patient = Rule { wait: Duration::from_secs(5), ..RULE };
            let lock = Dotlock::acquire(&target, patient, &owner(), 0o600).unwrap();
            assert_eq!(lock.left(), None, "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), name);
        }
    }

    #[test]
    fn a_foreign_file_in_the_drafts_place_is_in_the_way_for_a_time_only() {
        let (dir, target, path, draft, _name) = place();
        let foreign = dir.path().join("foreign");
        std::fs::write(&foreign, "").unwrap();
        std::fs::hard_link(&foreign, dir.path().join("more")).unwrap();
        std::fs::hard_link(&foreign, &draft).unwrap();
        assert_eq!(acquire(&target).err(), Some(Error::Locked(path)));
        age(&foreign);
        let patient = Rule { wait: Duration::from_secs(5), ..RULE };
        assert!(Dotlock::acquire(&target, patient, &owner(), 0o600).is_ok());
        assert!(foreign.exists() && !draft.exists());
    }

    #[test]
    fn of_many_that_want_a_lock_one_has_it_at_a_time() {
        use std::sync::atomic::{AtomicUsize, Ordering};
        let (_dir, target, path, _draft, _name) = place();
        let inside = AtomicUsize::new(0);
        let patient = Rule { wait: Duration::from_secs(60), ..RULE };
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..10 {
                        let lock = Dotlock::acquire(&target, patient, &owner(), 0o600).unwrap();
                        assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two hold it");
                        inside.fetch_sub(1, Ordering::SeqCst);
                        let text = std::fs::read(&path).unwrap();
                        drop(lock);
                        // As if it had died: the file is there, and not locked.
                        if n % 3 == 0 {
                            if let Some(mut file) = create(&path, 0o600).unwrap() {
                                file.write_all(&text).unwrap();
                            }
                        }
                    }
                });
            }
        });
    }
}
