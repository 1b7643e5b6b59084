//! The beginning of an IMAP session: what imap tells the store before it only
//! relays.
//!
//! imap writes one [`Session`] with its length before it, and after that the
//! client's bytes as they come; the store answers with the client's: the tagged
//! OK of the login is its first word.  The channel was made for one session of
//! one account, so nothing here says whose mail it is.

use crate::ipc::wire::{Malformed, Wire};

/// The largest message.
pub const MAX: usize = 4096;

/// Octets of the length.
pub const LENGTH: usize = 4;

crate::wire! {
    /// A session that has logged in.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Session {
        /// The connection's id, for the log.
        pub sid: u64,
        /// The name that logged in.
        pub user: String,
        /// The client's address, for the log.
        pub client: String,
        /// TLS is active between the client and imap.
        pub tls: bool,
        /// The tag of the command that logged in; its OK is still to be sent.
        pub tag: Vec<u8>,
    }
}

impl Session {
    /// The message with its length.  [`Malformed`] if it is too large.
    pub fn framed(&self) -> Result<Vec<u8>, Malformed> {
        let payload = self.to_bytes();
        if payload.len() > MAX {
            return Err(Malformed);
        }
        let length = u32::try_from(payload.len()).map_err(|_| Malformed)?;
        Ok([&length.to_be_bytes(), payload.as_slice()].concat())
    }

    /// The payload's length, from its first octets.
    pub fn length(head: &[u8]) -> Result<usize, Malformed> {
        let head: [u8; LENGTH] = head.try_into().map_err(|_| Malformed)?;
        usize::try_from(u32::from_be_bytes(head)).ok().filter(|n| *n <= MAX).ok_or(Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_survives_its_channel() {
        let session = Session {
            sid: 7,
            user: "joe".into(),
            client: "192.0.2.1".into(),
            tls: true,
            tag: b"a1".to_vec(),
        };
        let bytes = session.framed().unwrap();
        let (head, payload) = bytes.split_at(LENGTH);
        assert_eq!(Session::length(head), Ok(payload.len()));
        assert_eq!(Session::from_bytes(payload), Ok(session));
    }

    #[test]
    fn a_length_over_the_limit_is_malformed() {
        assert_eq!(Session::length(&[0xff; 4]), Err(Malformed));
        assert_eq!(Session::length(&[0; 3]), Err(Malformed));
    }
}
