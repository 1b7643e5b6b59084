//! Compression of chunks: raw deflate (RFC 1951), a chunk at a time.
//!
//! The library keeps hundreds of kilobytes on the stack, and the threads of
//! sessions have small ones.  So a chunk is worked on by a thread of its own
//! that has room; starting it costs a fraction of deflating 64 KiB.

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress, Status};

use crate::sys::errno::{self, SysError};

/// A stack with room, several times over.
const STACK: usize = 2 * 1024 * 1024;

/// `text`, deflated; `None` if that would take `max` octets or more.
pub fn deflate(text: &[u8], max: usize) -> Result<Option<Vec<u8>>, SysError> {
    with_room(|| {
        let mut out = Vec::with_capacity(max);
        let mut state = Compress::new(Compression::fast(), false);
        let done = state.compress_vec(text, &mut out, FlushCompress::Finish);
        (matches!(done, Ok(Status::StreamEnd)) && out.len() < max).then_some(out)
    })
}

/// What `bytes` were before, if that is at most `max` octets; `None` if it is
/// more, or they are not deflated text.
pub fn inflate(bytes: &[u8], max: usize) -> Result<Option<Vec<u8>>, SysError> {
    with_room(|| {
        let mut text = Vec::with_capacity(max.saturating_add(1));
        let mut state = Decompress::new(false);
        let done = state.decompress_vec(bytes, &mut text, FlushDecompress::Finish);
        (matches!(done, Ok(Status::StreamEnd)) && text.len() <= max).then_some(text)
    })
}

fn with_room<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, SysError> {
    std::thread::scope(|scope| {
        std::thread::Builder::new()
            .name("deflate".into())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|e| SysError::of("pthread_create", &e))?
            .join()
            .map_err(|_| SysError::new("deflate", errno::EIO))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_comes_back_and_nothing_longer_than_allowed() {
        let text = b"hello hello hello hello ".repeat(50);
        let out = deflate(&text, text.len()).unwrap().unwrap();
        assert!(out.len() < 100);
        assert_eq!(inflate(&out, text.len()).unwrap().unwrap(), text);
        assert_eq!(inflate(&out, text.len() - 1).unwrap(), None);
        assert_eq!(inflate(&out[..out.len() - 1], text.len()).unwrap(), None);
        assert_eq!(inflate(b"\xff\xff\xff", 10).unwrap(), None);
        assert_eq!(deflate(b"xyz", 3).unwrap(), None, "too short to shrink");
    }

    #[test]
    fn a_small_stack_is_enough() {
        let run = || {
            let out = deflate(&vec![b'a'; 65_536], 65_536).unwrap().unwrap();
            inflate(&out, 65_536).unwrap().unwrap();
        };
        std::thread::Builder::new().stack_size(64 * 1024).spawn(run).unwrap().join().unwrap();
    }
}
