//! Debian's Postfix as a peer: unpacked below target/, not installed, since an
//! administrator's own mail server would have to go for it.
//!
//! It needs root: `master` changes users, and the place where its programs
//! expect their libraries is a bind mount in a mount namespace of its own.  The
//! users are those of rmail, which exist already.

use crate::daemon::{certificate, eventually};
use crate::Env;
use std::fmt::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::{chown, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// A running Postfix; dropped, it is stopped.
pub struct Postfix {
    master: Child,
    /// Where it listens.
    pub address: SocketAddr,
    /// Where mailboxes are: `USER/new`.
    pub mail: PathBuf,
}

/// Fetches and unpacks the package; the words say why there is none.
fn unpack(env: &Env) -> Result<PathBuf, String> {
    let root = env.root().join("target/peers");
    let postfix = root.join("postfix");
    if postfix.join("usr/lib/postfix/sbin/master").exists() {
        return Ok(postfix);
    }
    std::fs::create_dir_all(&root).map_err(|e| e.to_string())?;
    let fetched = Command::new("apt-get")
        .args(["download", "-q", "postfix"])
        .current_dir(&root)
        .stdout(Stdio::null())
        .status();
    if !fetched.is_ok_and(|s| s.success()) {
        return Err("apt-get download postfix".into());
    }
    let deb = std::fs::read_dir(&root)
        .map_err(|e| e.to_string())?
        .filter_map(Result::ok)
        .map(|e| e.path())
        .find(|p| p.extension().is_some_and(|e| e == "deb"))
        .ok_or("no package came")?;
    let unpacked = Command::new("dpkg").arg("-x").arg(&deb).arg(&postfix).status();
    if unpacked.is_ok_and(|s| s.success()) {
        Ok(postfix)
    } else {
        Err(format!("dpkg -x {}", deb.display()))
    }
}

/// The user and group ids of a user.
fn ids(user: &str) -> Option<(u32, u32)> {
    let of = |option| {
        let out = Command::new("id").arg(option).arg(user).output().ok()?;
        String::from_utf8(out.stdout).ok()?.trim().parse().ok()
    };
    Some((of("-u")?, of("-g")?))
}

/// A directory with this owner and mode.
fn directory(path: &Path, owner: u32, group: u32, mode: u32) {
    std::fs::create_dir_all(path).expect("mkdir");
    chown(path, Some(owner), Some(group)).expect("chown");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("chmod");
}

/// A port that was free a moment ago: Postfix cannot say which one it took.
fn port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("bind").port()
}

impl Postfix {
    /// Starts one with these virtual users of example.com, whose mail belongs to
    /// `owner`.
    pub fn start(env: &Env, users: &[String], owner: u32) -> Result<Postfix, String> {
        let Some(((mail_owner, _), (_, setgid))) = ids("_rmaild").zip(ids("_rmailq")) else {
            return Err("no user _rmaild".into());
        };
        let root = unpack(env)?;
        let dir = env.dir.join("postfix");
        let (conf, queue, data, mail) =
            (dir.join("conf"), dir.join("queue"), dir.join("data"), dir.join("mail"));
        directory(&dir, 0, 0, 0o755);
        directory(&conf, 0, 0, 0o755);
        directory(&queue, 0, 0, 0o755);
        directory(&data, mail_owner, 0, 0o700);
        directory(&mail, owner, owner, 0o755);
        for name in [
            "active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming",
            "private", "saved", "trace",
        ] {
            directory(&queue.join(name), mail_owner, 0, 0o700);
        }
        directory(&queue.join("maildrop"), mail_owner, setgid, 0o730);
        directory(&queue.join("public"), mail_owner, setgid, 0o710);
        directory(&queue.join("pid"), 0, 0, 0o755);
        let (cert, key) = certificate(&dir, "postfix", &["mail.example.com"]);
        let mut map = String::new();
        for user in users {
            let _ = writeln!(map, "{user}@example.com {user}/"); // a String takes it
        }
        std::fs::write(conf.join("map"), map).expect("write");
        let port = port();
        std::fs::write(conf.join("main.cf"), main_cf(&root, &dir, owner, &cert, &key))
            .expect("write");
        std::fs::write(conf.join("master.cf"), master_cf(port)).expect("write");
        let log = std::fs::File::create(dir.join("log")).expect("log");
        let script = "mkdir -p /usr/lib/postfix && mount --bind \"$1\" /usr/lib/postfix && \
                      exec /usr/lib/postfix/sbin/master -d -c \"$2\"";
        let master = Command::new("unshare")
            .args(["--mount", "--propagation", "private", "sh", "-c", script, "sh"])
            .arg(root.join("usr/lib/postfix"))
            .arg(&conf)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("log"))
            .stderr(log)
            .spawn()
            .map_err(|e| format!("unshare: {e}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let postfix = Postfix { master, address, mail };
        if eventually(Duration::from_secs(20), || TcpStream::connect(address).is_ok()) {
            Ok(postfix)
        } else {
            Err(std::fs::read_to_string(dir.join("maillog")).unwrap_or_default()
                + &std::fs::read_to_string(dir.join("log")).unwrap_or_default())
        }
    }

    /// The process of which all others are children.
    pub fn pid(&self) -> u32 {
        self.master.id()
    }
}

impl Drop for Postfix {
    fn drop(&mut self) {
        let pid = self.master.id().to_string();
        let _ = Command::new("kill").arg(&pid).status(); // it may be gone
        let _ = self.master.wait(); // it has ended or is none of ours
    }
}

fn main_cf(root: &Path, dir: &Path, owner: u32, cert: &Path, key: &Path) -> String {
    let (r, d) = (root.display(), dir.display());
    let (cert, key) = (cert.display(), key.display());
    format!(
        "compatibility_level = 3.6\n\
         queue_directory = {d}/queue\n\
         data_directory = {d}/data\n\
         daemon_directory = /usr/lib/postfix/sbin\n\
         shlib_directory = /usr/lib/postfix\n\
         command_directory = {r}/usr/sbin\n\
         meta_directory = {r}/etc/postfix\n\
         mail_owner = _rmaild\n\
         setgid_group = _rmailq\n\
         myhostname = mail.example.com\n\
         mydestination =\n\
         mynetworks =\n\
         smtpd_client_event_limit_exceptions = 127.0.0.0/8\n\
         smtpd_relay_restrictions = reject_unauth_destination\n\
         inet_interfaces = 127.0.0.1\n\
         inet_protocols = ipv4\n\
         alias_maps =\n\
         local_recipient_maps =\n\
         in_flow_delay = 0\n\
         virtual_mailbox_domains = example.com\n\
         virtual_mailbox_base = {d}/mail\n\
         virtual_mailbox_maps = texthash:{d}/conf/map\n\
         virtual_uid_maps = static:{owner}\n\
         virtual_gid_maps = static:{owner}\n\
         maillog_file_prefixes = {d}\n\
         maillog_file = {d}/maillog\n\
         smtpd_tls_cert_file = {cert}\n\
         smtpd_tls_key_file = {key}\n\
         smtpd_tls_security_level = may\n"
    )
}

fn master_cf(port: u16) -> String {
    let mut rows = format!("127.0.0.1:{port} inet n - n - - smtpd\n");
    for row in [
        "postlog unix-dgram n - n - 1 postlogd",
        "pickup unix n - n 60 1 pickup",
        "cleanup unix n - n - 0 cleanup",
        "qmgr unix n - n 300 1 qmgr",
        "tlsmgr unix - - n 1000? 1 tlsmgr",
        "rewrite unix - - n - - trivial-rewrite",
        "proxymap unix - - n - - proxymap",
        "anvil unix - - n - 1 anvil",
        "scache unix - - n - 1 scache",
        "flush unix n - n 1000? 0 flush",
        "virtual unix - n n - - virtual",
        "smtp unix - - n - - smtp",
        "relay unix - - n - - smtp",
        "showq unix n - n - - showq",
        "bounce unix - - n - 0 bounce",
        "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce",
        "error unix - - n - - error",
        "retry unix - - n - - error",
        "verify unix - - n - 1 verify",
    ] {
        rows.push_str(row);
        rows.push('\n');
    }
    rows
}
