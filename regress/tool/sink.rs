//! A scriptable SMTP and LMTP server that keeps what it is given.
//!
//! A script looks at each event of a connection and may answer in place of the
//! sink, or close.  Used by the regress suite and by the unit tests of mta.

#![allow(missing_docs, dead_code, reason = "a tool of tests; not each uses all of it")]

use openssl::ssl::{Ssl, SslContext, SslStream};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

/// What just happened on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    Greeting,
    Hello,
    StartTls,
    Auth,
    Mail,
    Rcpt,
    Data,
    /// The final dot; once for each recipient with LMTP.
    End,
    Other,
}

/// An event: what, on which connection (from 0), with which line.
pub struct Event<'a> {
    pub stage: Stage,
    pub connection: usize,
    pub line: &'a str,
}

/// What is done about it.
pub enum Action {
    /// What a server would do.
    Usual,
    /// Answer this, without the CRLF of the last line.
    Say(&'static str),
    /// These bytes, as they are.
    Raw(&'static [u8]),
    /// Close without a word.
    Close,
}

/// A message that arrived.
#[derive(Clone, Debug, Default)]
pub struct Mail {
    pub connection: usize,
    pub from: String,
    pub rcpts: Vec<String>,
    /// As it came, dots undone.
    pub text: String,
    pub tls: bool,
    pub login: Option<String>,
    /// Where the client comes from.
    pub peer: Option<SocketAddr>,
}

#[derive(Default)]
struct Kept {
    mails: Vec<Mail>,
    commands: Vec<String>,
    connections: usize,
}

type Script = dyn Fn(&Event<'_>) -> Action + Send + Sync;

/// The options of a sink.
pub struct Options {
    /// Lines of the EHLO reply.
    pub offers: Vec<&'static str>,
    pub tls: Option<SslContext>,
    pub implicit: bool,
    pub lmtp: bool,
    pub script: Box<Script>,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            offers: vec!["PIPELINING", "8BITMIME", "SIZE 1000000"],
            tls: None,
            implicit: false,
            lmtp: false,
            script: Box::new(|_| Action::Usual),
        }
    }
}

/// A running sink; it stops accepting with the process.
pub struct Sink {
    pub addr: SocketAddr,
    kept: Arc<(Mutex<Kept>, Condvar)>,
}

impl Sink {
    pub fn start(options: Options) -> Sink {
        Sink::start_on("127.0.0.1:0", options)
    }

    pub fn start_on(addr: &str, options: Options) -> Sink {
        let listener = TcpListener::bind(addr).unwrap();
        let addr = listener.local_addr().unwrap();
        let kept: Arc<(Mutex<Kept>, Condvar)> = Arc::default();
        let (shared, options) = (Arc::clone(&kept), Arc::new(options));
        std::thread::spawn(move || {
            for (number, stream) in listener.incoming().flatten().enumerate() {
                let (shared, options) = (Arc::clone(&shared), Arc::clone(&options));
                shared.0.lock().unwrap().connections += 1;
                // A client that goes away is no error here.
                std::thread::spawn(move || {
                    drop(Conversation::run(stream, number, &options, &shared))
                });
            }
        });
        Sink { addr, kept }
    }

    pub fn mails(&self) -> Vec<Mail> {
        self.kept.0.lock().unwrap().mails.clone()
    }

    pub fn commands(&self) -> Vec<String> {
        self.kept.0.lock().unwrap().commands.clone()
    }

    pub fn connections(&self) -> usize {
        self.kept.0.lock().unwrap().connections
    }

    /// Waits until so many messages have come; panics after 20 seconds.
    pub fn wait(&self, n: usize) -> Vec<Mail> {
        let end = Instant::now() + Duration::from_secs(20);
        let mut kept = self.kept.0.lock().unwrap();
        while kept.mails.len() < n {
            let left = end.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "{} of {n} messages: {:?}", kept.mails.len(), kept.commands);
            kept = self.kept.1.wait_timeout(kept, left).unwrap().0;
        }
        kept.mails.clone()
    }
}

trait Wire: Read + Write {}
impl<T: Read + Write> Wire for T {}

struct Conversation<'a> {
    wire: BufReader<Box<dyn Wire>>,
    number: usize,
    options: &'a Options,
    kept: &'a (Mutex<Kept>, Condvar),
    mail: Mail,
}

impl Conversation<'_> {
    fn run(
        stream: TcpStream,
        number: usize,
        options: &Options,
        kept: &(Mutex<Kept>, Condvar),
    ) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let raw = stream.try_clone()?;
        let peer = raw.peer_addr().ok();
        let mut tls = false;
        let wire: Box<dyn Wire> = if options.implicit {
            tls = true;
            Box::new(encrypt(options, stream)?)
        } else {
            Box::new(stream)
        };
        let mail = Mail { connection: number, tls, peer, ..Mail::default() };
        let wire = BufReader::new(wire);
        let mut c = Conversation { wire, number, options, kept, mail };
        if !c.answer(Stage::Greeting, "", "220 sink.example ESMTP")? {
            return Ok(());
        }
        loop {
            let Some(line) = c.line()? else { return Ok(()) };
            c.kept.0.lock().unwrap().commands.push(line.clone());
            let verb = line.split([' ', ':']).next().unwrap_or_default().to_ascii_uppercase();
            let go_on = match verb.as_str() {
                "EHLO" | "LHLO" => {
                    let mut all = vec!["sink.example"];
                    all.extend(&c.options.offers);
                    if c.options.tls.is_some() && !c.mail.tls {
                        all.push("STARTTLS");
                    }
                    let last = all.len() - 1;
                    let text: Vec<String> = all
                        .iter()
                        .enumerate()
                        .map(|(i, o)| format!("250{}{o}", if i == last { ' ' } else { '-' }))
                        .collect();
                    c.answer(Stage::Hello, &line, &text.join("\r\n"))?
                }
                "HELO" => c.answer(Stage::Other, &line, "250 sink.example")?,
                "STARTTLS" => {
                    let go_on = c.answer(Stage::StartTls, &line, "220 go")?;
                    if go_on && c.options.tls.is_some() {
                        c.wire = BufReader::new(Box::new(encrypt(c.options, raw.try_clone()?)?));
                        c.mail.tls = true;
                    }
                    go_on
                }
                "AUTH" => {
                    c.mail.login = Some(line.clone());
                    c.answer(Stage::Auth, &line, "235 2.7.0 welcome")?
                }
                "MAIL" => {
                    c.mail.from.clone_from(&line);
                    c.mail.rcpts.clear();
                    c.answer(Stage::Mail, &line, "250 2.1.0 ok")?
                }
                "RCPT" => c.answer(Stage::Rcpt, &line, "250 2.1.5 ok")?,
                "DATA" => c.data(&line)?,
                "RSET" => c.answer(Stage::Other, &line, "250 2.0.0 ok")?,
                "QUIT" => {
                    c.say("221 2.0.0 bye")?;
                    return Ok(());
                }
                _ => c.answer(Stage::Other, &line, "500 5.5.2 what?")?,
            };
            if !go_on {
                return Ok(());
            }
        }
    }

    fn line(&mut self) -> std::io::Result<Option<String>> {
        let mut line = Vec::new();
        if self.wire.read_until(b'\n', &mut line)? == 0 {
            return Ok(None);
        }
        let text = String::from_utf8_lossy(&line).into_owned();
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    fn say(&mut self, text: &str) -> std::io::Result<()> {
        let wire = self.wire.get_mut();
        wire.write_all(format!("{text}\r\n").as_bytes())?;
        wire.flush()
    }

    /// False: the connection is to be closed.
    fn answer(&mut self, stage: Stage, line: &str, usual: &str) -> std::io::Result<bool> {
        let event = Event { stage, connection: self.number, line };
        match (self.options.script)(&event) {
            Action::Usual => {
                if stage == Stage::Rcpt {
                    self.mail.rcpts.push(line.to_owned());
                }
                self.say(usual)?;
            }
            Action::Say(text) => {
                self.say(text)?;
                return Ok(!text.starts_with("421"));
            }
            Action::Raw(bytes) => {
                self.wire.get_mut().write_all(bytes)?;
                self.wire.get_mut().flush()?;
            }
            Action::Close => return Ok(false),
        }
        Ok(true)
    }

    fn data(&mut self, line: &str) -> std::io::Result<bool> {
        let event = Event { stage: Stage::Data, connection: self.number, line };
        match (self.options.script)(&event) {
            Action::Usual => self.say("354 go ahead")?,
            Action::Say(text) => {
                self.say(text)?;
                return Ok(true);
            }
            Action::Raw(_) | Action::Close => return Ok(false),
        }
        let mut text = Vec::new();
        loop {
            let mut line = Vec::new();
            if self.wire.read_until(b'\n', &mut line)? == 0 {
                return Ok(false);
            }
            if line == b".\r\n" {
                break;
            }
            text.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
        self.mail.text = String::from_utf8_lossy(&text).into_owned();
        let rcpts = if self.options.lmtp { self.mail.rcpts.clone() } else { vec![String::new()] };
        let mut kept = false;
        for rcpt in rcpts {
            let event = Event { stage: Stage::End, connection: self.number, line: &rcpt };
            match (self.options.script)(&event) {
                Action::Usual => {
                    if !std::mem::replace(&mut kept, true) {
                        self.kept.0.lock().unwrap().mails.push(self.mail.clone());
                        self.kept.1.notify_all();
                    }
                    self.say("250 2.0.0 taken")?;
                }
                Action::Say(text) => self.say(text)?,
                Action::Raw(bytes) => self.wire.get_mut().write_all(bytes)?,
                Action::Close => return Ok(false),
            }
        }
        Ok(true)
    }
}

fn encrypt(options: &Options, stream: TcpStream) -> std::io::Result<SslStream<TcpStream>> {
    let context = options.tls.as_ref().ok_or_else(|| std::io::Error::other("no context"))?;
    let ssl = Ssl::new(context).map_err(std::io::Error::other)?;
    let mut tls = SslStream::new(ssl, stream).map_err(std::io::Error::other)?;
    tls.accept().map_err(std::io::Error::other)?;
    Ok(tls)
}
