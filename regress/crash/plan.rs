//! What a seed decides: messages, their recipients and sizes, and all chance.

/// SplitMix64: small, and the same everywhere.
#[derive(Clone)]
pub struct Chance(u64);

impl Chance {
    /// A stream of its own for each use, so that threads do not share one.
    pub fn new(seed: u64, stream: u64) -> Chance {
        let mut chance = Chance(seed ^ stream.wrapping_mul(0xd6e8_feb8_6659_fd93));
        chance.next();
        chance
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    pub fn shuffle<T>(&mut self, all: &mut [T]) {
        for i in (1..all.len()).rev() {
            let j = usize::try_from(self.below(i as u64 + 1)).unwrap();
            all.swap(i, j);
        }
    }
}

pub const CLIENTS: usize = 50;
pub const EACH: usize = 20;

/// The accounts that get mail; each has a password for IMAP.
pub const ACCOUNTS: &[&str] = &["joe", "jim", "ann", "bob", "eve"];
/// Where mail of the daemon's own would go: nothing may ever fail here.
pub const SENDER: &str = "sender";

/// How a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// A command, a reply.
    Plain,
    /// MAIL to DATA in one write.
    Pipelining,
    /// BDAT in several chunks.
    Chunking,
    /// STARTTLS and AUTH on the submission listener.
    StartTls,
    /// TLS from the first byte, and AUTH.
    Implicit,
}

impl Manner {
    pub fn of(client: usize) -> Manner {
        match client {
            0..=17 => Manner::Plain,
            18..=30 => Manner::Pipelining,
            31..=38 => Manner::Chunking,
            39..=44 => Manner::StartTls,
            _ => Manner::Implicit,
        }
    }
}

/// Where the mailbox of [`Rcpt`]s that mbox delivers is.
pub const BOX: &str = "box";
/// Who gets mail from a program of an action.
pub const RUN: &str = "ran";

/// A recipient: the address, and where its mail arrives.
#[derive(Clone, Debug)]
pub struct Rcpt {
    pub address: String,
    pub at: Vec<String>,
    /// Exactly once: into a Maildir.  Nobody can say of a relay, a program or a
    /// mailbox in one file what became of a copy whose answer was lost.
    pub once: bool,
}

/// A message of one client.
#[derive(Clone, Debug)]
pub struct Letter {
    pub id: String,
    pub rcpts: Vec<Rcpt>,
    pub lines: usize,
    /// When it is sent, milliseconds after the begin.
    pub at_ms: u64,
    /// On a connection of its own.
    pub fresh: bool,
}

impl Letter {
    /// Header and body, CRLF; the body can be told from the id.
    pub fn text(&self) -> String {
        let mut text = format!(
            "From: <{SENDER}@example.com>\r\nTo: undisclosed:;\r\nMessage-ID: <{0}@example.com>\r\n\
             Date: Sat, 28 Nov 2026 00:00:00 +0000\r\nX-Id: {0}\r\n\r\n",
            self.id
        );
        text.push_str(&self.body().replace('\n', "\r\n"));
        text
    }

    /// The body as it is in a mailbox.
    pub fn body(&self) -> String {
        let mut body = String::new();
        for n in 0..self.lines {
            body.push_str(&format!("line {n} of {} 0123456789 abcdefghij\n", self.id));
        }
        body.push_str(&format!("end of {}\n", self.id));
        body
    }
}

/// The letters of a client.
pub fn letters(seed: u64, client: usize, lasts_ms: u64) -> Vec<Letter> {
    let mut chance = Chance::new(seed, 1000 + client as u64);
    let slot = lasts_ms / EACH as u64;
    let mut accounts = ACCOUNTS.to_vec();
    (0..EACH)
        .map(|n| {
            chance.shuffle(&mut accounts);
            let local = |name: &str| Rcpt {
                address: format!("{name}@example.com"),
                at: vec![name.to_owned()],
                once: true,
            };
            let again = |address: &str, at: &str| Rcpt {
                address: address.to_owned(),
                at: vec![at.to_owned()],
                once: false,
            };
            let relay = |n: u64| {
                let address = format!("someone{n}@relay.example");
                again(&address, &address)
            };
            // Only root's daemon has files of other users.
            let file = || match rmail::sys::user::is_root() {
                true => again("filed@example.com", BOX),
                false => relay(3),
            };
            let program = || again("joe@run.example", RUN);
            let rcpts = match chance.below(24) {
                0..=8 => vec![local(accounts[0])],
                9 | 10 => vec![Rcpt {
                    address: format!("{}+lists@example.com", accounts[0]),
                    ..local(accounts[0])
                }],
                11 | 12 => vec![Rcpt {
                    address: "team@example.com".into(),
                    at: vec!["joe".into(), "jim".into()],
                    once: true,
                }],
                13 | 14 => vec![local(accounts[0]), local(accounts[1])],
                15 => vec![local(accounts[0]), local(accounts[1]), relay(1)],
                16 => vec![relay(1), relay(2)],
                17 => vec![local(accounts[0]), file()],
                18 => vec![program(), local(accounts[0]), file()],
                19 | 20 => vec![file()],
                21 | 22 => vec![program()],
                _ => vec![relay(1)],
            };
            let lines = match chance.below(10) {
                0 => 4000,
                1 | 2 => 400,
                _ => 5,
            };
            Letter {
                id: format!("s{seed}c{client}n{n}"),
                rcpts,
                lines,
                at_ms: n as u64 * slot + chance.below(slot),
                fresh: chance.below(3) == 0,
            }
        })
        .collect()
}
