//! The offline directory: mail that users sent while no daemon ran.
//!
//! One file a message, written by the user's sendmail, read by it again when
//! the daemon runs.  The directory may be written by all (mode 1733) and
//! listed by root alone, so its entry cannot be synced by a user: on FFS names
//! are written synchronously, elsewhere a power cut may lose a message whose
//! sender was told that it is kept.
//!
//! Whoever writes or sends a file holds a lock of it, so that no file is sent
//! twice and none is taken for half a message while it is written.
//!
//! Layout: `RMOF1\n`, then netstrings: sender, NOTIFY, RET, ENVID (each may be
//! empty), the number of recipients in decimal, each recipient, the message.

use crate::base::clock::WallTime;
use crate::base::exits::sysexits;
use crate::proto::cursor::Cursor;
use crate::sys::errno::{self, SysError};
use crate::sys::file::{self, Lock};
use crate::sys::rand;
use std::fmt;
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

const MAGIC: &[u8] = b"RMOF1\n";
/// Recipients of a file.
const RECIPIENTS: usize = 10_000;
/// The largest file.
const LARGEST: u64 = 1 << 30;
/// Names that are tried for a new file.
const NAMES: u32 = 8;

/// The exit status of `sendmail -Z` for a file that is [`Contents::Unknown`].
pub const UNKNOWN: u8 = sysexits::DATAERR;
/// And for one that was [`Contents::Half`].
pub const HALF: u8 = sysexits::NOINPUT;

/// A message that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The envelope sender; empty is the null path.
    pub sender: String,
    /// NOTIFY of each recipient.
    pub notify: Option<String>,
    /// RET.
    pub ret: Option<String>,
    /// ENVID.
    pub envid: Option<String>,
    /// The recipients.
    pub recipients: Vec<String>,
    /// Header and body with CRLF.
    pub message: Vec<u8>,
}

/// Why a message cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotKept {
    /// It has too many recipients for a file.
    Recipients,
    /// It is too large for a file.
    Size,
    /// The system says no.
    System(SysError),
}

impl fmt::Display for NotKept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotKept::Recipients => write!(f, "more than {RECIPIENTS} addresses are not kept"),
            NotKept::Size => write!(f, "more than {LARGEST} octets are not kept"),
            NotKept::System(e) => e.fmt(f),
        }
    }
}

/// What a file has in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Contents {
    /// A message.
    Whole(Kept),
    /// The beginning of one: whoever wrote it was cut short, and told nobody
    /// that it is kept.
    Half,
    /// Something else: a layout of another version, more than is read, or what
    /// a disk has spoilt.  Somebody may have been told that it is kept.
    Unknown,
}

/// A file of the directory, held so that nobody else sends it meanwhile.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    lock: File,
}

/// Writes and syncs a file that only its owner can read, and gives its name.
/// What could not be read back is not written.
pub fn write(directory: &Path, kept: &Kept) -> Result<PathBuf, NotKept> {
    let bytes = encode(kept)?;
    for _ in 0..NAMES {
        let mut name = [0u8; 8];
        rand::fill(&mut name);
        let path = directory.join(format!("{:016x}", u64::from_be_bytes(name)));
        if put(&path, &bytes).map_err(NotKept::System)?.is_some() {
            return Ok(path);
        }
    }
    Err(NotKept::System(SysError::new("flock", errno::EAGAIN).at(directory)))
}

/// Creates a file with these bytes, synced and held; `None` if it was taken for
/// half a message between its creation and its lock, and removed.
fn put(path: &Path, bytes: &[u8]) -> Result<Option<File>, SysError> {
    let mut f = file::create_new(path, 0o600)?;
    if !hold(&f).map_err(|e| e.at(path))? {
        let _ = std::fs::remove_file(path); // who held it has, perhaps
        return Ok(None);
    }
    let done = f.write_all(bytes).and_then(|()| f.sync_all());
    if let Err(e) = done {
        // Half a message must not be sent; what cannot be removed is known by
        // its end when it is read.
        let _ = std::fs::remove_file(path);
        return Err(SysError::of("write", &e).at(path));
    }
    Ok(Some(f))
}

/// Holds a file: false if another does, or has removed or replaced it.
fn hold(f: &File) -> Result<bool, SysError> {
    let there = || f.metadata().map(|m| m.nlink() > 0).map_err(|e| SysError::of("fstat", &e));
    Ok(file::try_lock(f, Lock::Exclusive)? && there()?)
}

/// Holds and reads a file of this user.  EAGAIN if another program writes or
/// sends it just now.
pub fn open(path: &Path, uid: u32) -> Result<(Held, Contents), SysError> {
    let lock = file::open_owned(path, uid)?;
    if !hold(&lock).map_err(|e| e.at(path))? {
        return Err(SysError::new("flock", errno::EAGAIN).at(path));
    }
    let mut bytes = Vec::new();
    let read = (&lock).take(LARGEST.saturating_add(1)).read_to_end(&mut bytes);
    read.map_err(|e| SysError::of("read", &e).at(path))?;
    let large = u64::try_from(bytes.len()).map_or(true, |n| n > LARGEST);
    let contents = if large { Contents::Unknown } else { decode(&bytes) };
    Ok((Held { path: path.to_path_buf(), lock }, contents))
}

impl Held {
    /// Puts another message in the place of this one; at no moment are both
    /// there, or none.
    pub fn replace(&mut self, kept: &Kept) -> Result<(), NotKept> {
        let bytes = encode(kept)?;
        let name = self.path.file_name().unwrap_or_default();
        // Nobody looks at names with a dot, so that of a crash is in nobody's
        // way but the next one's here.
        let mut dotted = std::ffi::OsString::from(".");
        dotted.push(name);
        let new = self.path.with_file_name(dotted);
        let _ = std::fs::remove_file(&new); // there is none, mostly
        let system = |e: SysError| NotKept::System(e.at(&new));
        let lock = put(&new, &bytes).map_err(NotKept::System)?;
        let lock = lock.ok_or_else(|| system(SysError::new("flock", errno::EAGAIN)))?;
        if let Err(e) = std::fs::rename(&new, &self.path) {
            let _ = std::fs::remove_file(&new);
            return Err(system(SysError::of("rename", &e)));
        }
        // Its age is that of the message.
        if let Ok(kept_since) = self.lock.metadata().and_then(|m| m.modified()) {
            let _ = lock.set_modified(kept_since); // then it is tried longer
        }
        self.lock = lock;
        Ok(())
    }

    /// How long ago the message was kept.
    pub fn age(&self) -> Duration {
        let since = self.lock.metadata().map_or(i64::MAX, |m| m.mtime());
        let secs = WallTime::now().secs.saturating_sub(since);
        Duration::from_secs(u64::try_from(secs).unwrap_or(0))
    }

    /// Removes it.
    pub fn remove(self) -> Result<(), SysError> {
        std::fs::remove_file(&self.path).map_err(|e| SysError::of("unlink", &e).at(&self.path))
    }
}

fn encode(kept: &Kept) -> Result<Vec<u8>, NotKept> {
    let fits = |n: usize| u64::try_from(n).is_ok_and(|n| n <= LARGEST);
    if kept.recipients.len() > RECIPIENTS {
        return Err(NotKept::Recipients);
    }
    if !fits(kept.message.len()) {
        return Err(NotKept::Size);
    }
    let mut out = MAGIC.to_vec();
    let mut put = |bytes: &[u8]| {
        out.extend_from_slice(format!("{}:", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.push(b',');
    };
    put(kept.sender.as_bytes());
    for parameter in [&kept.notify, &kept.ret, &kept.envid] {
        put(parameter.as_deref().unwrap_or("").as_bytes());
    }
    put(kept.recipients.len().to_string().as_bytes());
    for r in &kept.recipients {
        put(r.as_bytes());
    }
    put(&kept.message);
    if fits(out.len()) {
        Ok(out)
    } else {
        Err(NotKept::Size)
    }
}

/// Total: any bytes are something.
pub fn decode(bytes: &[u8]) -> Contents {
    let mut c = Cursor::new(bytes);
    match whole(&mut c) {
        Ok(kept) if c.at_end() => Contents::Whole(kept),
        // A whole file ends with a comma: one that does, and whose lengths say
        // that more should follow, is spoilt and not cut short.
        Err(Broken::Short) if bytes.last() != Some(&b',') => Contents::Half,
        Ok(_) | Err(_) => Contents::Unknown,
    }
}

/// Why bytes are no message.
enum Broken {
    /// They end too early.
    Short,
    /// They are not of this layout.
    Wrong,
}

fn whole(c: &mut Cursor<'_>) -> Result<Kept, Broken> {
    if !c.eat_exact(MAGIC) {
        return Err(if MAGIC.starts_with(c.rest()) { Broken::Short } else { Broken::Wrong });
    }
    let sender = text(c)?;
    let mut parameter = || text(c).map(|t| Some(t).filter(|t| !t.is_empty()));
    let (notify, ret, envid) = (parameter()?, parameter()?, parameter()?);
    let mut count = Cursor::new(netstring(c)?);
    let count = count.number().filter(|_| count.at_end()).ok_or(Broken::Wrong)?;
    if usize::try_from(count).map_or(true, |n| n > RECIPIENTS) {
        return Err(Broken::Wrong);
    }
    let mut recipients = Vec::new();
    for _ in 0..count {
        recipients.push(text(c)?);
    }
    let message = netstring(c)?.to_vec();
    Ok(Kept { sender, notify, ret, envid, recipients, message })
}

fn netstring<'a>(c: &mut Cursor<'a>) -> Result<&'a [u8], Broken> {
    let broken = |c: &Cursor<'_>| if c.at_end() { Broken::Short } else { Broken::Wrong };
    let n = c.number().ok_or_else(|| broken(c))?;
    if !c.eat(b':') {
        return Err(broken(c));
    }
    // No file has a string of more than this.
    let n = Some(n).filter(|n| *n <= LARGEST).and_then(|n| usize::try_from(n).ok());
    let bytes = c.take(n.ok_or(Broken::Wrong)?).ok_or(Broken::Short)?;
    if !c.eat(b',') {
        return Err(broken(c));
    }
    Ok(bytes)
}

fn text(c: &mut Cursor<'_>) -> Result<String, Broken> {
    String::from_utf8(netstring(c)?.to_vec()).map_err(|_| Broken::Wrong)
}

/// Fuzz target: a file of the offline directory, which any user may write.
pub fn fuzz_file(bytes: &[u8]) {
    if let Contents::Whole(kept) = decode(bytes) {
        assert!(kept.recipients.len() <= RECIPIENTS);
        assert_eq!(encode(&kept).map(|b| decode(&b)), Ok(Contents::Whole(kept)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept() -> Kept {
        Kept {
            sender: "me".into(),
            notify: Some("NEVER".into()),
            ret: None,
            envid: None,
            recipients: vec!["a@b".into(), "ü@b".into()],
            message: b"Subject: x\r\n\r\n.\r\n".to_vec(),
        }
    }

    fn encoded(kept: &Kept) -> Vec<u8> {
        encode(kept).unwrap()
    }

    /// A directory that is gone when the test ends, however it ends.
    struct Dir(PathBuf);

    impl Dir {
        fn new(name: &str) -> Dir {
            let name = format!("rmail-offline.{name}.{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            std::fs::create_dir_all(&path).unwrap();
            Dir(path)
        }

        fn names(&self) -> Vec<PathBuf> {
            std::fs::read_dir(&self.0).unwrap().map(|e| e.unwrap().path()).collect()
        }
    }

    impl Drop for Dir {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    fn uid() -> u32 {
        crate::sys::user::uid()
    }

    #[test]
    fn a_message_comes_back_as_it_was() {
        assert_eq!(decode(&encoded(&kept())), Contents::Whole(kept()));
    }

    #[test]
    fn what_was_cut_short_is_half_unless_it_ends_as_a_whole_file_does() {
        let bytes = encoded(&kept());
        for n in 0..bytes.len() {
            let cut = &bytes[..n];
            let comma = cut.last() == Some(&b',');
            let found = decode(cut);
            assert_eq!(found, if comma { Contents::Unknown } else { Contents::Half }, "{n}");
        }
    }

    #[test]
    fn another_layout_and_a_spoilt_file_are_unknown() {
        let bytes = encoded(&kept());
        let mut later = bytes.clone();
        later[4] = b'2';
        assert_eq!(decode(&later), Contents::Unknown);
        assert_eq!(decode(&[&bytes[..], b"x"].concat()), Contents::Unknown);
        let text = String::from_utf8(bytes).unwrap();
        for (right, wrong) in [
            ("2:me,", "2:meX"),             // a byte
            ("2:me,", "9999:me,"),          // a length past the end, and a whole end
            ("1:2,3:a@b", "5:10001,3:a@b"), // more recipients than are written
            ("17:", "99999999999:"),        // more octets than are written
        ] {
            assert!(text.contains(right), "{right} in {text}");
            let spoilt = text.replacen(right, wrong, 1);
            assert_eq!(decode(spoilt.as_bytes()), Contents::Unknown, "{wrong}");
        }
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let dir = Dir::new("bounds");
        let mut many = kept();
        many.recipients = vec!["a@b".to_string(); RECIPIENTS];
        let path = write(&dir.0, &many).unwrap();
        assert_eq!(open(&path, uid()).unwrap().1, Contents::Whole(many.clone()));
        many.recipients.push("a@b".into());
        assert_eq!(write(&dir.0, &many), Err(NotKept::Recipients));
        assert_eq!(dir.names(), [path]);
    }

    #[test]
    fn a_written_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = Dir::new("mode");
        let path = write(&dir.0, &kept()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(open(&path, uid()).unwrap().1, Contents::Whole(kept()));
    }

    #[test]
    fn who_sends_a_file_holds_it_until_it_is_gone() {
        let dir = Dir::new("held");
        let path = write(&dir.0, &kept()).unwrap();
        let (mut held, _) = open(&path, uid()).unwrap();
        let busy = |path: &Path| open(path, uid()).map(drop).map_err(|e| e.errno);
        assert_eq!(busy(&path), Err(errno::EAGAIN));
        let rest = Kept { recipients: vec!["ü@b".into()], ..kept() };
        held.replace(&rest).unwrap();
        assert_eq!(dir.names(), std::slice::from_ref(&path));
        assert_eq!(busy(&path), Err(errno::EAGAIN));
        drop(held);
        let (held, contents) = open(&path, uid()).unwrap();
        assert_eq!(contents, Contents::Whole(rest));
        held.remove().unwrap();
        assert_eq!(dir.names(), [] as [PathBuf; 0]);
    }

    #[test]
    fn a_file_that_is_being_written_is_not_taken_for_half() {
        let dir = Dir::new("writing");
        let path = dir.0.join("f");
        let f = file::create_new(&path, 0o600).unwrap();
        assert!(hold(&f).unwrap());
        assert_eq!(open(&path, uid()).unwrap_err().errno, errno::EAGAIN);
        // And whoever comes between creation and lock is noticed.
        drop(f);
        let f = file::open_owned(&path, uid()).unwrap();
        open(&path, uid()).unwrap().0.remove().unwrap();
        assert!(!hold(&f).unwrap());
    }
}
