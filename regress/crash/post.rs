//! The clients that send: each message once, and what was said to it.

use super::plan::{letters, Letter, Manner, SENDER};
use super::wire::{is_hang, Connection};
use super::Places;
use std::io::Result;
use std::time::{Duration, Instant};

/// What became of a message, as its client knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// 250 to its end: responsibility has passed, for these recipients.
    Accepted(Vec<usize>),
    /// 4xx or 5xx, to whatever command.
    Refused(u16),
    /// The connection was lost before a final reply.
    Lost,
    /// No answer at all within the client's patience.
    Hang,
}

/// How long a client tries to get a session: nothing is sent before.
const PATIENCE: Duration = Duration::from_secs(20);

/// base64 of NUL sender@example.com NUL secret.
const AUTH: &str = "AUTH PLAIN AHNlbmRlckBleGFtcGxlLmNvbQBzZWNyZXQ=";

/// Sends all letters of a client, each at its time.
pub fn run(
    places: &Places,
    seed: u64,
    client: usize,
    begun: Instant,
    ms: u64,
) -> Vec<(Letter, Said)> {
    let manner = Manner::of(client);
    let mut kept: Option<Connection> = None;
    let mut all = Vec::new();
    for letter in letters(seed, client, ms) {
        let at = begun + Duration::from_millis(letter.at_ms);
        // The load is a rate: this is the clock of the test, no synchronisation.
        std::thread::sleep(at.saturating_duration_since(Instant::now()));
        if letter.fresh {
            kept = None;
        }
        let connection = kept.take().or_else(|| greeted(places, manner));
        let said = match connection {
            None => Said::Lost,
            Some(mut c) => match send(&mut c, manner, &letter) {
                Ok(said) => {
                    kept = Some(c);
                    said
                }
                Err(e) if is_hang(&e) => Said::Hang,
                Err(_) => Said::Lost,
            },
        };
        if !matches!(said, Said::Accepted(_)) {
            kept = None;
        }
        all.push((letter, said));
    }
    all
}

/// A session that may send, tried for a while: nothing is at stake before MAIL.
fn greeted(places: &Places, manner: Manner) -> Option<Connection> {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        if let Ok(Some(c)) = greet(places, manner) {
            return Some(c);
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    None
}

fn greet(places: &Places, manner: Manner) -> Result<Option<Connection>> {
    let to = places.get();
    let mut c = Connection::open(match manner {
        Manner::StartTls => to.submission,
        Manner::Implicit => to.smtps,
        _ => to.smtp,
    })?;
    if manner == Manner::Implicit {
        c.start_tls()?;
    }
    if c.code()? != 220 || ask(&mut c, "EHLO client.example")? != 250 {
        return Ok(None);
    }
    if manner == Manner::StartTls {
        if ask(&mut c, "STARTTLS")? != 220 {
            return Ok(None);
        }
        c.start_tls()?;
        if ask(&mut c, "EHLO client.example")? != 250 {
            return Ok(None);
        }
    }
    let login = matches!(manner, Manner::StartTls | Manner::Implicit);
    if login && ask(&mut c, AUTH)? != 235 {
        return Ok(None);
    }
    Ok(Some(c))
}

fn ask(c: &mut Connection, line: &str) -> Result<u16> {
    c.send(format!("{line}\r\n"))?;
    c.code()
}

fn send(c: &mut Connection, manner: Manner, letter: &Letter) -> Result<Said> {
    let mail = format!("MAIL FROM:<{SENDER}@example.com>");
    let rcpts: Vec<String> =
        letter.rcpts.iter().map(|r| format!("RCPT TO:<{}>", r.address)).collect();
    let text = letter.text();
    let mut taken = Vec::new();
    if manner == Manner::Pipelining {
        c.send(format!("{mail}\r\n{}\r\nDATA\r\n", rcpts.join("\r\n")))?;
        let mailed = c.code()?;
        for n in 0..rcpts.len() {
            if c.code()? == 250 {
                taken.push(n);
            }
        }
        match c.code()? {
            354 => {}
            code => return Ok(Said::Refused(if mailed == 250 { code } else { mailed })),
        }
        c.send(format!("{text}.\r\n"))?;
        return end(c.code()?, taken);
    }
    match ask(c, &mail)? {
        250 => {}
        code => return Ok(Said::Refused(code)),
    }
    let mut refused = 0;
    for (n, rcpt) in rcpts.iter().enumerate() {
        match ask(c, rcpt)? {
            250 => taken.push(n),
            code => refused = code,
        }
    }
    if taken.is_empty() {
        return Ok(Said::Refused(refused));
    }
    if manner == Manner::Chunking {
        let (first, rest) = text.split_at(text.len() / 2);
        c.send(format!("BDAT {}\r\n{first}", first.len()))?;
        c.send(format!("BDAT {} LAST\r\n{rest}", rest.len()))?;
        let first = c.code()?;
        let last = c.code()?;
        return end(if first == 250 { last } else { first.max(last) }, taken);
    }
    match ask(c, "DATA")? {
        354 => {}
        code => return Ok(Said::Refused(code)),
    }
    c.send(format!("{text}.\r\n"))?;
    end(c.code()?, taken)
}

fn end(code: u16, taken: Vec<usize>) -> Result<Said> {
    Ok(if code == 250 { Said::Accepted(taken) } else { Said::Refused(code) })
}
