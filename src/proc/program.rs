//! A message for a program that parent has started: on its standard input,
//! lines ending in LF, as programs of this system read it.
//!
//! *Runs in* queue, for an action's program, and in store, for `.forward`.  The
//! program's three descriptors are one socket.  It may talk before it reads, so
//! it is heard all the time; what it says beyond a bound is thrown away.  Its
//! exit status, which parent tells, is its answer.

use crate::base::clock::Deadline;
use crate::disk::spool::message::Message;
use crate::proto::limits;
use crate::proto::smtp::client::harmless;
use crate::sys::{net, poll};
use std::fs::File;
use std::io::{ErrorKind, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, OwnedFd};

/// Gives a program `head` and what of the message is behind its first `skip`
/// octets, and takes what it says meanwhile and after; gives its first line.
///
/// Blocks up to `deadline`.  An error: it has not been given the message,
/// whatever its exit status will be; its input has no end, since parent keeps it
/// open: parent is to be told, and kills it.  One that closes its input is content with
/// what it has, and one that keeps its output open (a child of it may) has had
/// the message all the same: its exit status tells.
pub fn feed(
    channel: OwnedFd,
    head: &[u8],
    message: &Message,
    skip: usize,
    deadline: Deadline,
) -> Result<String, String> {
    poll::set_nonblocking(channel.as_fd(), true).map_err(|e| e.to_string())?;
    let mut pipe = File::from(channel);
    let (mut said, mut open) = (Vec::new(), true);
    let mut reader = message.reader();
    let (mut out, mut cr) = (Vec::new(), false);
    lf(head, &mut cr, &mut out);
    let mut left = skip;
    'write: loop {
        while !out.is_empty() {
            match pipe.write(&out) {
                Ok(n) => {
                    out.drain(..n);
                }
                Err(e) if e.kind() == ErrorKind::WouldBlock => {
                    open = open && listen(&mut pipe, &mut said);
                    let events = if open { poll::OUT | poll::IN } else { poll::OUT };
                    match poll::wait_for(pipe.as_fd(), events, deadline.left()) {
                        Ok(true) => {}
                        _ => return Err("the program did not read in time".into()),
                    }
                }
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(_) => break 'write,
            }
        }
        let Some(piece) = reader.next_piece().map_err(|e| e.to_string())? else { break };
        let from = left.min(piece.len());
        left -= from;
        lf(&piece[from..], &mut cr, &mut out);
    }
    // The end of its input, while we still listen.  Already closed is as good.
    let _ = net::shutdown(pipe.as_fd(), Shutdown::Write);
    while let Ok(true) = poll::wait_for(pipe.as_fd(), poll::IN, deadline.left()) {
        if !listen(&mut pipe, &mut said) {
            break;
        }
    }
    let first = said.split(|b| *b == b'\n').find(|l| !l.trim_ascii().is_empty());
    Ok(harmless(first.unwrap_or_default().trim_ascii()))
}

/// Takes what there is; false at the end.
fn listen(pipe: &mut File, said: &mut Vec<u8>) -> bool {
    let mut chunk = [0; 1024];
    loop {
        match pipe.read(&mut chunk) {
            Ok(0) => return false,
            Ok(n) => {
                let room = limits::PROGRAM_OUTPUT.size().saturating_sub(said.len()).min(n);
                said.extend_from_slice(&chunk[..room]);
            }
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) => return e.kind() == ErrorKind::WouldBlock,
        }
    }
}

/// CRLF becomes LF; `cr`: the piece before ended in CR.
fn lf(piece: &[u8], cr: &mut bool, out: &mut Vec<u8>) {
    for byte in piece {
        if std::mem::take(cr) && *byte != b'\n' {
            out.push(b'\r');
        }
        if *byte == b'\r' {
            *cr = true;
        } else {
            out.push(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::spool::body::BodyWriter;
    use crate::disk::spool::head::Key;
    use crate::disk::testdir::TestDir;
    use crate::proto::smtp::edit::Edits;
    use crate::sys::fdpass;
    use crate::sys::file::create_new;
    use std::time::Duration;

    /// A message with this body, of which `len` octets are said to be there.
    fn message(body: &[u8], len: usize) -> Message {
        let dir = TestDir::new();
        let path = dir.path().join("x");
        let file = create_new(&path, 0o600).unwrap();
        let key = Key::random();
        let mut writer = BodyWriter::new(file.try_clone().unwrap(), key.clone(), false);
        writer.write(body).unwrap();
        writer.finish().unwrap();
        Message::of_body(file, key, len.try_into().unwrap(), Edits::new()).unwrap()
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_millis(50))
    }

    #[test]
    fn lines_end_in_lf_whatever_the_pieces() {
        let text = b"a\r\nb\rc\r\n\r\n.\r\r\nx\n";
        for split in 0..=text.len() {
            let (a, b) = text.split_at(split);
            let (mut cr, mut out) = (false, Vec::new());
            lf(a, &mut cr, &mut out);
            lf(b, &mut cr, &mut out);
            assert_eq!(out, b"a\nb\rc\n\n.\r\nx\n", "{split}");
        }
    }

    #[test]
    fn a_program_may_talk_before_it_reads_and_after() {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        let body = b"line\r\n".repeat(100_000);
        let program = std::thread::spawn(move || {
            let mut io = File::from(theirs);
            io.write_all(b"\nhello\n").unwrap();
            io.write_all(&b"x".repeat(1 << 20)).unwrap();
            let mut got = Vec::new();
            io.read_to_end(&mut got).unwrap();
            io.write_all(b"bye\n").unwrap();
            got.len()
        });
        let said = feed(ours, b"head\r\n", &message(&body, body.len()), 6, Deadline::NEVER);
        assert_eq!(said.as_deref(), Ok("hello"));
        assert_eq!(program.join().unwrap(), 500_000);
    }

    #[test]
    fn one_that_does_not_read_costs_its_time_and_no_more() {
        let (ours, _theirs) = fdpass::socketpair().unwrap();
        assert!(feed(ours, &b"x".repeat(1 << 22), &message(b"", 0), 0, soon()).is_err());
    }

    #[test]
    fn a_message_that_cannot_be_read_is_not_given_in_part() {
        let (ours, _theirs) = fdpass::socketpair().unwrap();
        assert!(feed(ours, b"Subject: x\r\n", &message(b"", 9), 0, soon()).is_err());
    }

    #[test]
    fn one_whose_output_stays_open_or_that_reads_nothing_has_its_exit_status() {
        let (ours, theirs) = fdpass::socketpair().unwrap();
        assert_eq!(feed(ours, b"x", &message(b"", 0), 0, soon()).as_deref(), Ok(""));
        drop(theirs);
        let (ours, theirs) = fdpass::socketpair().unwrap();
        drop(theirs);
        assert_eq!(feed(ours, b"x", &message(b"", 0), 0, soon()).as_deref(), Ok(""));
    }
}
