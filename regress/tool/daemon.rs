//! A daemon under test: its own directory, free ports, and an end.
//!
//! The configuration of a test is the text that it gives, after lines that put
//! every directory below the test's own.  `@DIR@` in the text is that
//! directory.  [`Daemon::start`] returns when the daemon has said `ready`.

use crate::Env;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// How long a daemon may take to start or stop.
const LIMIT: Duration = Duration::from_secs(60);

/// A running daemon; dropped, it is stopped.
pub struct Daemon {
    child: Child,
    rmailctl: PathBuf,
    rmaild: PathBuf,
    /// The test's directory.
    pub dir: PathBuf,
    /// The control socket.
    pub socket: PathBuf,
}

/// Writes a file that only its owner may read, making its directory.
pub fn write(path: &Path, text: impl AsRef<[u8]>) {
    std::fs::create_dir_all(path.parent().expect("a directory")).expect("mkdir");
    std::fs::write(path, text).expect("write");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("chmod");
}

/// A certificate for these names, signed by itself, and its key, as PEM files
/// `NAME.pem` and `NAME.key` below `dir`.
pub fn certificate(dir: &Path, name: &str, hosts: &[&str]) -> (PathBuf, PathBuf) {
    let (cert, key) = (dir.join(format!("{name}.pem")), dir.join(format!("{name}.key")));
    let names: Vec<String> = hosts.iter().map(|h| format!("DNS:{h}")).collect();
    let done = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "30", "-subj"])
        .arg(format!("/CN={}", hosts[0]))
        .arg("-addext")
        .arg(format!("subjectAltName={}", names.join(",")))
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&cert)
        .stderr(Stdio::null())
        .status()
        .expect("openssl");
    assert!(done.success(), "openssl req");
    std::fs::set_permissions(&key, std::fs::Permissions::from_mode(0o600)).expect("chmod");
    (cert, key)
}

impl Daemon {
    /// Writes the configuration and starts the daemon with it.
    pub fn start(env: &Env, config: &str) -> Daemon {
        Daemon::start_in(env, &env.dir, config)
    }

    /// The same in a directory of its own, for tests with several.
    pub fn start_in(env: &Env, dir: &Path, config: &str) -> Daemon {
        Daemon::configure(dir, config);
        Daemon::launch(env, dir)
    }

    /// Writes the configuration only.
    pub fn configure(dir: &Path, config: &str) {
        std::fs::create_dir_all(dir.join("run")).expect("mkdir");
        // The daemon's users must be able to pass through.
        for d in [dir, dir.parent().expect("a parent")] {
            let _ = std::fs::set_permissions(d, std::fs::Permissions::from_mode(0o755));
        }
        let head = "socket \"@DIR@/run/rmaild.sock\"\nqueue directory \"@DIR@/spool\"\n";
        let text = format!("{head}{config}").replace("@DIR@", &dir.display().to_string());
        write(&dir.join("rmail.conf"), text);
    }

    /// Starts the daemon with what [`Daemon::configure`] wrote.
    pub fn launch(env: &Env, dir: &Path) -> Daemon {
        Daemon::launch_as(env, dir, Command::new(env.rmaild()))
    }

    /// The same in a mount namespace of its own, in which the shell commands
    /// `mounts` have been carried out.  Its files are below `/proc/PID/root`.
    pub fn launch_within(env: &Env, dir: &Path, mounts: &str) -> Daemon {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--propagation", "private", "sh", "-e", "-c"]);
        command.arg(format!("{mounts}\nexec \"$0\" \"$@\"")).arg(env.rmaild());
        Daemon::launch_as(env, dir, command)
    }

    /// The same with a command of the test's own.
    pub fn launch_as(env: &Env, dir: &Path, mut command: Command) -> Daemon {
        let log =
            std::fs::File::options().create(true).append(true).open(dir.join("log")).expect("log");
        let mut child = command
            .arg("-d")
            .arg("-f")
            .arg(dir.join("rmail.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("rmaild");
        let mut line = String::new();
        let stdout = child.stdout.take().expect("stdout");
        // The daemon prints one line or ends; it has its own limit for the start.
        BufReader::new(stdout).read_line(&mut line).expect("read");
        let daemon = Daemon {
            child,
            rmailctl: env.rmailctl().to_path_buf(),
            rmaild: env.rmaild().to_path_buf(),
            dir: dir.to_path_buf(),
            socket: dir.join("run/rmaild.sock"),
        };
        assert_eq!(line, "ready\n", "the daemon did not start: {}", daemon.log());
        daemon
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.dir.join("log")).unwrap_or_default())
            .into_owned()
    }

    /// The daemon's process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The program under test.
    pub fn program(&self) -> &Path {
        &self.rmaild
    }

    /// Runs rmailctl on this daemon.
    pub fn ctl(&self, args: &[&str]) -> Output {
        Command::new(&self.rmailctl)
            .arg("-s")
            .arg(&self.socket)
            .args(args)
            .output()
            .expect("rmailctl")
    }

    /// Runs rmailctl, which must succeed, and gives what it printed.
    pub fn ctl_ok(&self, args: &[&str]) -> String {
        let out = self.ctl(args);
        let err = String::from_utf8_lossy(&out.stderr);
        assert!(out.status.success(), "rmailctl {args:?}: {err}\n{}", self.log());
        String::from_utf8_lossy(&out.stdout).into_owned()
    }

    /// The address of the `n`th listener of a protocol: `smtp`, `smtps`,
    /// `lmtp`, `imap`, `imaps`.
    pub fn address(&self, protocol: &str, n: usize) -> SocketAddr {
        let text = self.ctl_ok(&["show", "listeners"]);
        let of = |l: &str| {
            let mut words = l.split_whitespace();
            (words.next() == Some(protocol)).then(|| words.next().and_then(|w| w.parse().ok()))
        };
        let all: Vec<SocketAddr> = text.lines().filter_map(of).flatten().collect();
        *all.get(n).unwrap_or_else(|| panic!("no {protocol} listener {n} in:\n{text}"))
    }

    /// The process ids of a kind.
    pub fn pids(&self, kind: &str) -> Vec<u32> {
        let text = self.ctl_ok(&["show", "procs"]);
        let of = |l: &str| {
            let words: Vec<&str> = l.split_whitespace().collect();
            (words.first() == Some(&kind) && words.get(1) == Some(&"pid"))
                .then(|| words.get(2).and_then(|p| p.parse().ok()))
        };
        text.lines().filter_map(of).flatten().collect()
    }

    /// Waits until nothing is in the queue.
    pub fn drained(&self) {
        self.ctl_ok(&["wait", "queue-empty", "60"]);
    }

    /// Stops it and gives its exit status.
    pub fn stop(mut self) -> std::process::ExitStatus {
        self.terminate(15)
    }

    fn terminate(&mut self, signal: i32) -> std::process::ExitStatus {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").arg(format!("-{signal}")).arg(&pid).status(); // it may be gone
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status;
            }
            if begun.elapsed() > LIMIT {
                // Its children see their channels close and end.
                let _ = self.child.kill();
                return self.child.wait().expect("wait");
            }
            std::thread::yield_now();
            std::thread::park_timeout(Duration::from_millis(5));
        }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            self.terminate(15);
        }
    }
}

/// Tries until it holds, for at most this long: for what no event announces.
pub fn eventually(limit: Duration, mut holds: impl FnMut() -> bool) -> bool {
    let begun = Instant::now();
    loop {
        if holds() {
            return true;
        }
        if begun.elapsed() > limit {
            return false;
        }
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
