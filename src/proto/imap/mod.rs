//! IMAP4rev1 as pure code: a command's bytes in, responses' bytes out.
//!
//! [`collect`] gathers a command from lines and literals, [`command`] parses
//! it; [`response`] and [`write`](mod@write) write the answers, [`reply`] says how each
//! fault is answered.  FETCH items are rendered by [`envelope`],
//! [`bodystructure`] and [`section`]; SEARCH is parsed by [`search`] and run by
//! [`eval`].  Sockets, mailboxes and policy are the caller's.  RFC 3501.

pub mod bodystructure;
pub mod capability;
pub mod collect;
pub mod command;
pub mod date;
pub mod envelope;
pub mod eval;
pub mod fetch;
pub mod flag;
pub mod fuzz;
pub mod lex;
pub mod lines;
pub mod list;
pub mod mailbox;
pub mod needles;
pub mod reply;
pub mod response;
pub mod search;
pub mod section;
pub mod seqset;
pub mod uidmap;
pub mod write;

#[cfg(test)]
mod tests {
    /// Words that commands and messages are made of, put together at random.
    #[test]
    fn the_fuzz_targets_hold_on_random_words() {
        const WORDS: &[&[u8]] = &[
            b"a ",
            b"SEARCH ",
            b"OR ",
            b"NOT ",
            b"(",
            b")",
            b"{3}\r\n",
            b"{3+}\r\n",
            b"abc",
            b"\"",
            b"\\",
            b"FETCH 1 ",
            b"BODY[",
            b"]",
            b"<0.5>",
            b"LIST ",
            b"% ",
            b"* ",
            b"RETURN ",
            b"\r\n",
            b"\n",
            b": ",
            b"From: ",
            b"Content-Type: multipart/mixed; boundary=b",
            b"--b",
            b"--b--",
            b"message/rfc822",
            b"Subject: ",
            b"=?utf-8?q?x?=",
            b"<a@b>",
            b", ",
            b";",
            b"\xff",
            b"\0",
            b"name*=utf-8''%41",
        ];
        let mut seed = 11u64;
        for _ in 0..20_000 {
            let mut bytes = Vec::new();
            for _ in 0..14 {
                seed = seed
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                bytes.extend_from_slice(WORDS[(seed >> 33) as usize % WORDS.len()]);
            }
            super::fuzz::fuzz_command(&bytes);
            super::fuzz::fuzz_message(&bytes);
        }
    }
}
