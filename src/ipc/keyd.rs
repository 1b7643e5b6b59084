//! The edges to keyd: one signature, please.
//!
//! smtp, imap and mta ask for what a TLS handshake needs; keyd knows by the
//! channel who asks, and which keys he may have used.  A key is named by its
//! public half, so that the answer to an old certificate is never made with a
//! new key.

use crate::base::clock::Deadline;
use crate::base::remotekey::{self, Op};
use crate::ipc::call::{NoRequests, Peer};
use crate::proto::limits;
use std::sync::Arc;

crate::wire! {
    /// To keyd.
    pub enum Ask {
        /// Sign `input` in this way with the key that is named so.
        Sign { key: [u8; 32], way: Way, input: Vec<u8> },
    }

    /// What is to be done, see [`Op`].
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub enum Way {
        /// RSA over a DigestInfo.
        RsaPkcs1,
        /// RSA over a PSS encoding.
        RsaBlock,
        /// ECDSA over a digest.
        Ecdsa,
    }

    /// From keyd.
    pub enum Answer {
        /// The signature; `None`: this peer does not get one for this input.
        Signed { signature: Option<Vec<u8>> },
    }
}

impl From<Op> for Way {
    fn from(op: Op) -> Self {
        match op {
            Op::RsaPkcs1 => Way::RsaPkcs1,
            Op::RsaBlock => Way::RsaBlock,
            Op::Ecdsa => Way::Ecdsa,
        }
    }
}

impl From<Way> for Op {
    fn from(way: Way) -> Self {
        match way {
            Way::RsaPkcs1 => Op::RsaPkcs1,
            Way::RsaBlock => Op::RsaBlock,
            Way::Ecdsa => Op::Ecdsa,
        }
    }
}

/// What a process that speaks TLS holds for keyd.
pub type Keyd = Peer<Ask, Answer>;

/// The neighbour keyd, without a channel yet, and from now on the one that TLS
/// in this process asks for signatures.  Without a channel, when keyd dies, or
/// when it does not answer in time, a handshake fails and the client tries again.
pub fn neighbour() -> Arc<Keyd> {
    let keyd: Arc<Keyd> = Arc::new(Peer::new("keyd", Arc::new(NoRequests)));
    let asked = Arc::clone(&keyd);
    remotekey::install(Arc::new(move |key, op, input| {
        let ask = Ask::Sign { key: *key, way: op.into(), input: input.to_vec() };
        match asked.call(&ask, Deadline::after(limits::SIGNATURE_TIME.duration())) {
            Ok(Answer::Signed { signature }) => signature,
            Err(error) => {
                crate::log_warn!("keyd", error = crate::base::log::Show(error));
                None
            }
        }
    }));
    keyd
}
