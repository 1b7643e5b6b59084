//! The offline directory: mail that users sent while no daemon ran.
//!
//! One file a message, written by the user's sendmail, read by it again when
//! the daemon runs.  The directory may be written by all (mode 1733) and
//! listed by root alone, so its entry cannot be synced by a user: on FFS names
//! are written synchronously, elsewhere a power cut may lose a message whose
//! sender was told that it is kept.
//!
//! Layout: `RMOF1\n`, then netstrings: sender, NOTIFY, RET, ENVID (each may be
//! empty), the number of recipients in decimal, each recipient, the message.

use crate::proto::cursor::Cursor;
use crate::sys::errno::SysError;
use crate::sys::{file, rand};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8] = b"RMOF1\n";
/// Recipients that are read from a file.
const RECIPIENTS: u64 = 10_000;
/// The largest file that is read.
const LARGEST: u64 = 1 << 30;

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

/// Writes and syncs a file that only its owner can read, and gives its name.
pub fn write(directory: &Path, kept: &Kept) -> Result<PathBuf, SysError> {
    let mut name = [0u8; 8];
    rand::fill(&mut name);
    let path = directory.join(format!("{:016x}", u64::from_be_bytes(name)));
    let mut f = file::create_new(&path, 0o600)?;
    let done = f.write_all(&encode(kept)).and_then(|()| f.sync_all());
    if let Err(e) = done {
        // Half a message must not be sent; what cannot be removed is refused
        // when it is read.
        let _ = std::fs::remove_file(&path);
        return Err(SysError::of("write", &e).at(&path));
    }
    Ok(path)
}

/// Reads a file of this user; `None` if it is not whole.
pub fn read(path: &Path, uid: u32) -> Result<Option<Kept>, SysError> {
    let mut bytes = Vec::new();
    file::open_owned(path, uid)?
        .take(LARGEST)
        .read_to_end(&mut bytes)
        .map_err(|e| SysError::of("read", &e).at(path))?;
    Ok(decode(&bytes))
}

fn encode(kept: &Kept) -> Vec<u8> {
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
    out
}

/// Total: any bytes give a message or `None`.
pub fn decode(bytes: &[u8]) -> Option<Kept> {
    let mut c = Cursor::new(bytes);
    if !c.eat_exact(MAGIC) {
        return None;
    }
    let sender = text(&mut c)?;
    let mut parameter = || text(&mut c).map(|t| Some(t).filter(|t| !t.is_empty()));
    let (notify, ret, envid) = (parameter()?, parameter()?, parameter()?);
    let count = Cursor::new(netstring(&mut c)?).number().filter(|n| *n <= RECIPIENTS)?;
    let mut recipients = Vec::new();
    for _ in 0..count {
        recipients.push(text(&mut c)?);
    }
    let message = netstring(&mut c)?.to_vec();
    c.at_end().then_some(Kept { sender, notify, ret, envid, recipients, message })
}

fn netstring<'a>(c: &mut Cursor<'a>) -> Option<&'a [u8]> {
    let n = usize::try_from(c.number()?).ok()?;
    if !c.eat(b':') {
        return None;
    }
    let bytes = c.take(n)?;
    c.eat(b',').then_some(bytes)
}

fn text(c: &mut Cursor<'_>) -> Option<String> {
    String::from_utf8(netstring(c)?.to_vec()).ok()
}

/// Fuzz target: a file of the offline directory, which any user may write.
pub fn fuzz_file(bytes: &[u8]) {
    if let Some(kept) = decode(bytes) {
        assert!(u64::try_from(kept.recipients.len()).is_ok_and(|n| n <= RECIPIENTS));
        assert_eq!(decode(&encode(&kept)), Some(kept));
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

    #[test]
    fn a_message_comes_back_as_it_was() {
        assert_eq!(decode(&encode(&kept())), Some(kept()));
    }

    #[test]
    fn half_a_file_is_none() {
        let bytes = encode(&kept());
        for n in 0..bytes.len() {
            assert_eq!(decode(&bytes[..n]), None, "{n}");
        }
    }

    #[test]
    fn a_written_file_is_its_owners_alone() {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("rmail-offline.{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let path = write(&dir, &kept()).unwrap();
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(read(&path, crate::sys::user::uid()), Ok(Some(kept())));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
