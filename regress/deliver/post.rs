//! A client that posts messages, and a place where they arrive.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::daemon::Daemon;
use crate::Env;

/// The user of the accounts: stores do not run as root.
pub fn user() -> u32 {
    match rmail::sys::user::uid() {
        0 => 2000,
        own => own,
    }
}

/// A daemon with a table of users and their mail below `mail/`; `more` is put before the rules.
pub fn daemon(env: &Env, maildir_options: &str, more: &str) -> Daemon {
    Daemon::start(env, &config(env, maildir_options, more))
}

/// The configuration of [`daemon`]; makes the directories that it needs.
pub fn config(env: &Env, maildir_options: &str, more: &str) -> String {
    let id = user();
    for dir in ["mail", "home"] {
        let dir = env.dir.join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        if rmail::sys::user::is_root() {
            chown(&dir, Some(id), Some(id)).unwrap();
        }
    }
    format!(
        "table users {{ joe = \"{id}:{id}:@DIR@/home\", jim = \"{id}:{id}:@DIR@/home\" }}\n\
         listen on 127.0.0.1 port 0\n{more}\
         action \"in\" maildir \"@DIR@/mail/%{{dest.user}}\" {maildir_options} userbase <users>\n\
         match from any for domain \"example.com\" action \"in\"\n"
    )
}

/// A session with the daemon.
pub struct Client {
    lines: BufReader<TcpStream>,
    to: TcpStream,
}

impl Client {
    pub fn connect(to: SocketAddr) -> Client {
        let to = TcpStream::connect(to).unwrap();
        to.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        let mut client = Client { lines: BufReader::new(to.try_clone().unwrap()), to };
        client.reply();
        client.ask("EHLO client.example");
        client
    }

    /// The last line of a reply.
    fn reply(&mut self) -> String {
        loop {
            let mut line = String::new();
            self.lines.read_line(&mut line).unwrap();
            if line.as_bytes().get(3) != Some(&b'-') {
                return line.trim_end().to_string();
            }
        }
    }

    pub fn ask(&mut self, command: &str) -> String {
        self.to.write_all(format!("{command}\r\n").as_bytes()).unwrap();
        self.reply()
    }

    /// Sends a message; the answer to its end, or to the recipient that was refused.
    pub fn post(&mut self, from: &str, to: &str, text: &str) -> String {
        self.ask(&format!("MAIL FROM:<{from}>"));
        let said = self.ask(&format!("RCPT TO:<{to}>"));
        if !said.starts_with('2') {
            return said;
        }
        self.ask("DATA");
        self.to.write_all(text.as_bytes()).unwrap();
        self.ask(if text.ends_with("\r\n") { "." } else { "\r\n." })
    }
}

/// Posts one message that must be accepted.
pub fn post(daemon: &Daemon, to: &str, text: &str) {
    let said = Client::connect(daemon.address("smtp", 0)).post("a@sender.example", to, text);
    assert!(said.starts_with("250"), "{said}\n{}", daemon.log());
}

/// The message files of a mailbox.
pub fn files(mailbox: &Path) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for part in ["new", "cur"] {
        let Ok(entries) = std::fs::read_dir(mailbox.join(part)) else { continue };
        all.extend(entries.map(|e| e.unwrap().path()));
    }
    all.sort();
    all
}
