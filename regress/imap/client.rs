//! A raw IMAP client and the daemon that it speaks to.

use crate::daemon::{certificate, write, Daemon};
use crate::tcp::{start_tls, Tcp};
use crate::Env;
use openssl::ssl::SslStream;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

/// Longer than any answer may take.
const LIMIT: Duration = Duration::from_secs(60);

/// The user of every test.
pub const USER: &str = "joe@example.com";
/// And the password.
pub const PASSWORD: &str = "secret";

/// A daemon with one mailbox, an LMTP, an IMAP and an IMAPS listener.
pub fn daemon(env: &Env, more: &str) -> Daemon {
    let dir = &env.dir;
    std::fs::create_dir_all(dir.join("mail")).expect("mkdir");
    let owner = owner(dir);
    let (cert, key) = certificate(dir, "server", &["mail.example.com", "localhost"]);
    let hash = Command::new("openssl")
        .args(["passwd", "-6", "-salt", "regress", PASSWORD])
        .output()
        .expect("openssl passwd");
    let hash = String::from_utf8(hash.stdout).expect("ASCII");
    let mail = dir.join("mail/joe");
    let line = format!("{USER}:{}:{owner}::{}::\n", hash.trim(), mail.display());
    write(&dir.join("credentials"), line);
    write(&dir.join("virtuals"), format!("{USER}: vmail\n"));
    let config = format!(
        "hostname \"mail.example.com\"\n\
         pki \"mail.example.com\" cert \"{}\"\n\
         pki \"mail.example.com\" key \"{}\"\n\
         table credentials passwd:@DIR@/credentials\n\
         table virtuals file:@DIR@/virtuals\n\
         table people {{ \"vmail\" = \"{owner}:@DIR@/mail\" }}\n\
         mailbox \"Junk\" special-use junk auto subscribe\n\
         mailbox \"Sent\" special-use sent auto create\n\
         {more}\n\
         listen on 127.0.0.1 port 0 lmtp\n\
         listen on 127.0.0.1 port 0 imap tls-require pki \"mail.example.com\" auth <credentials>\n\
         listen on 127.0.0.1 port 0 imaps pki \"mail.example.com\" auth <credentials>\n\
         action \"inbound\" maildir \"@DIR@/mail/%{{dest.user:lowercase}}\" \
         virtual <virtuals> userbase <people>\n\
         match from any for domain \"example.com\" action \"inbound\"\n",
        cert.display(),
        key.display()
    );
    Daemon::start(env, &config)
}

/// The ids of the mailbox's owner: as root somebody without privilege.
pub fn owner(dir: &std::path::Path) -> String {
    use std::os::unix::fs::MetadataExt;
    let mail = dir.join("mail");
    let uid = std::fs::metadata(&mail).expect("stat").uid();
    if uid != 0 {
        let gid = std::fs::metadata(&mail).expect("stat").gid();
        return format!("{uid}:{gid}");
    }
    std::os::unix::fs::chown(&mail, Some(65534), Some(65534)).expect("chown");
    "65534:65534".to_string()
}

/// Hands a message to the daemon by LMTP and waits until it is delivered.
pub fn deliver(daemon: &Daemon, subject: &str) {
    let mut lmtp = Client::plain(daemon.address("lmtp", 0));
    lmtp.line();
    for (command, want) in [
        ("LHLO test".to_string(), "250 "),
        ("MAIL FROM:<ann@example.net>".into(), "250 "),
        (format!("RCPT TO:<{USER}>"), "250 "),
        ("DATA".into(), "354 "),
        (format!("From: ann@example.net\r\nSubject: {subject}\r\n\r\nHello.\r\n."), "250 "),
        ("QUIT".into(), "221 "),
    ] {
        lmtp.send(format!("{command}\r\n").as_bytes());
        let mut line = lmtp.line();
        while line.as_bytes().get(3) == Some(&b'-') {
            line = lmtp.line();
        }
        assert!(line.starts_with(want), "{command}: {line}\n{}", daemon.log());
    }
    daemon.drained();
}

enum Wire {
    Plain(Tcp),
    Tls(Box<SslStream<Tcp>>),
    Gone,
}

/// One connection.
pub struct Client {
    wire: Wire,
    read: Vec<u8>,
    tags: u32,
}

impl Client {
    /// Without TLS.
    pub fn plain(to: SocketAddr) -> Client {
        let tcp = Tcp::connect(to, LIMIT);
        Client { wire: Wire::Plain(tcp), read: Vec::new(), tags: 0 }
    }

    /// With TLS from the first byte.
    pub fn tls(to: SocketAddr) -> Client {
        let mut client = Client::plain(to);
        client.start_tls();
        client
    }

    /// Logged in over IMAPS, the greeting read.
    pub fn logged_in(daemon: &Daemon) -> Client {
        let mut client = Client::tls(daemon.address("imaps", 0));
        client.line();
        let answer = client.answer(&format!("LOGIN {USER} {PASSWORD}"));
        assert!(answer.starts_with("OK "), "{answer}\n{}", daemon.log());
        client
    }

    /// Begins TLS on a connection that has none.
    pub fn start_tls(&mut self) {
        let Wire::Plain(tcp) = std::mem::replace(&mut self.wire, Wire::Gone) else {
            panic!("TLS is active")
        };
        let tls = start_tls("mail.example.com", tcp).expect("handshake");
        self.wire = Wire::Tls(Box::new(tls));
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        match &mut self.wire {
            Wire::Plain(tcp) => tcp.write_all(bytes),
            Wire::Tls(tls) => tls.write_all(bytes),
            Wire::Gone => panic!("no connection"),
        }
        .expect("write");
    }

    /// Reads more; false at the end.
    fn more(&mut self) -> bool {
        let mut piece = [0; 4096];
        let got = match &mut self.wire {
            Wire::Plain(tcp) => tcp.read(&mut piece),
            Wire::Tls(tls) => tls.read(&mut piece),
            Wire::Gone => Ok(0),
        };
        match got {
            Ok(n) => {
                self.read.extend_from_slice(&piece[..n]);
                n > 0
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                panic!("no answer within {LIMIT:?}")
            }
            Err(_) => false, // reset
        }
    }

    /// The next line without its CRLF.
    pub fn line(&mut self) -> String {
        loop {
            if let Some(at) = self.read.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.read.drain(..at + 2).collect();
                return String::from_utf8_lossy(&line[..at]).into_owned();
            }
            assert!(self.more(), "closed after {:?}", String::from_utf8_lossy(&self.read));
        }
    }

    /// True if the server closes without another word.
    pub fn closed(&mut self) -> bool {
        !self.more()
    }

    /// Lines up to the one with the tag.
    pub fn until(&mut self, tag: &str) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            all.push(self.line());
            if all.last().is_some_and(|l| l.starts_with(&format!("{tag} "))) {
                return all;
            }
        }
    }

    /// The responses to a command; the tag of the last is taken off.
    pub fn command(&mut self, text: &str) -> Vec<String> {
        self.tags += 1;
        let tag = format!("t{}", self.tags);
        self.send(format!("{tag} {text}\r\n").as_bytes());
        let mut all = self.until(&tag);
        let last = all.pop().expect("a tagged line");
        all.push(last[tag.len() + 1..].to_string());
        all
    }

    /// The tagged answer to a command.
    pub fn answer(&mut self, text: &str) -> String {
        self.command(text).pop().expect("a tagged line")
    }

    /// The untagged responses to a command that must succeed.
    pub fn ok(&mut self, text: &str) -> Vec<String> {
        let mut all = self.command(text);
        let last = all.pop().expect("a tagged line");
        assert!(last.starts_with("OK"), "{text}: {last}");
        all
    }
}
