//! Fuzz targets: what a peer that was broken into can write on a channel.

use super::frame::{self, Assembler, Broken, Kind};
use super::wire::{Malformed, Wire};
use super::{
    control_smtp, ctl, imap_lookup, imap_store, keyd, mta_lookup, parent, queue_lookup, queue_mta,
    queue_store, smtp_lookup, smtp_queue,
};
use crate::sys::fdpass;
use std::os::fd::AsFd;

/// What reads a message of one edge and writes it again.
type Codec = fn(&[u8]) -> Result<Vec<u8>, Malformed>;

fn codec<T: Wire>(bytes: &[u8]) -> Result<Vec<u8>, Malformed> {
    T::from_bytes(bytes).map(|message| message.to_bytes())
}

/// Both directions of every edge.
const EDGES: &[Codec] = &[
    codec::<parent::Up>,
    codec::<parent::Down>,
    codec::<ctl::Request>,
    codec::<ctl::Reply>,
    codec::<control_smtp::ToSmtp>,
    codec::<smtp_lookup::Ask>,
    codec::<smtp_lookup::Answer>,
    codec::<smtp_queue::Ask>,
    codec::<smtp_queue::Answer>,
    codec::<queue_lookup::Ask>,
    codec::<queue_lookup::Answer>,
    codec::<queue_mta::Down>,
    codec::<queue_mta::Ask>,
    codec::<queue_mta::Answer>,
    codec::<mta_lookup::Ask>,
    codec::<mta_lookup::Answer>,
    codec::<imap_lookup::Ask>,
    codec::<imap_lookup::Answer>,
    codec::<imap_store::Session>,
    codec::<keyd::Ask>,
    codec::<keyd::Answer>,
    codec::<queue_store::Ask>,
    codec::<queue_store::Answer>,
];

/// Fuzz target: a byte that chooses an edge and direction, and a message.
///
/// What is a message at all has one spelling, and the edits that come with a
/// delivery are well formed or refused.
pub fn fuzz_message(bytes: &[u8]) {
    let Some((edge, message)) = bytes.split_first() else { return };
    let Some(codec) = EDGES.get(usize::from(*edge)) else { return };
    if let Ok(again) = codec(message) {
        assert_eq!(again, message, "one spelling");
    }
    // imap writes a store a length before its message.
    if let Some((head, _)) = message.split_at_checked(4) {
        // Whatever it is, it is bounded.
        let _ = imap_store::Session::length(head);
    }
    if let Ok(queue_store::Ask::Deliver { delivery }) = Wire::from_bytes(message) {
        if let Ok(edits) = delivery.body.edits() {
            assert!(edits.size(delivery.body.len).is_ok() || !edits.is_empty());
        }
    }
}

/// Fuzz target: a byte for the size of the pieces, and what comes on a channel.
///
/// Messages do not depend on the pieces, and none is longer than the edge allows.
pub fn fuzz_frames(bytes: &[u8]) {
    const LONGEST: usize = 1000;
    let Some((step, stream)) = bytes.split_first() else { return };
    let whole = receive(stream, usize::MAX, LONGEST);
    let pieces = receive(stream, usize::from(*step).saturating_add(16), LONGEST);
    assert_eq!(whole, pieces);
    // What we send arrives as it was sent.
    let sent = frame::frames(Kind::Event, 7, stream, false);
    let (messages, broken) = receive(&sent, 5000, stream.len());
    assert!(!broken);
    assert_eq!(messages, [(Kind::Event, 7, stream.to_vec())]);
}

type Received = (Vec<(Kind, u64, Vec<u8>)>, bool);

/// The messages up to the end, or to what breaks the channel.
fn receive(stream: &[u8], step: usize, longest: usize) -> Received {
    let mut messages = Vec::new();
    let Ok((ours, theirs)) = fdpass::socketpair() else { return (messages, false) };
    let mut assembler = Assembler::new(longest);
    for piece in stream.chunks(step.min(8192)) {
        let sent = fdpass::send(theirs.as_fd(), piece, &[]);
        assert_eq!(sent.ok(), Some(piece.len()), "a fresh channel takes a piece");
        assert!(matches!(assembler.fill(ours.as_fd()), Ok(true)));
        loop {
            match assembler.next_message() {
                Ok(Some(m)) => {
                    assert!(m.payload.len() <= longest && m.fd.is_none());
                    messages.push((m.kind, m.id, m.payload));
                }
                Ok(None) => break,
                Err(Broken::Protocol(_)) => return (messages, true),
                Err(_) => return (messages, false),
            }
        }
    }
    (messages, false)
}
