//! The name servers that are asked: those of the configuration, else those of
//! resolv.conf(5), which is looked at again as asr(3) does: a machine may have
//! its network, and the file its text, only after the start.
//!
//! In the sandbox the file may be out of reach, as a link to another directory:
//! what was read before it stays in force then.

use crate::base::clock::Since;
use crate::base::dns::{parse_resolv_conf, Resolver, TRY_TIME};
use crate::base::lock;
use crate::base::log::{self, Show};
use crate::conf::ast::Config;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Between two looks at the file.
const LOOK: Duration = Duration::from_secs(30);

/// The servers in force.
pub struct NameServers {
    /// The file that they are from; `None`: the configuration says them.
    file: Option<PathBuf>,
    state: Mutex<State>,
}

struct State {
    servers: Vec<SocketAddr>,
    resolver: Arc<Resolver>,
    /// The file's time of change; `None`: there is none.
    stamp: Option<SystemTime>,
    looked: Since,
}

impl NameServers {
    /// Those of a configuration; `before`: those of the one before it.
    pub fn new(config: &Config, before: Option<&NameServers>) -> NameServers {
        let servers: Vec<SocketAddr> = config.resolvers().collect();
        match servers.is_empty() {
            true => NameServers::of_file(Path::new("/etc/resolv.conf"), before),
            false => NameServers::fixed(servers),
        }
    }

    /// These and no others.
    pub fn fixed(servers: Vec<SocketAddr>) -> NameServers {
        NameServers { file: None, state: Mutex::new(State::new(servers, None)) }
    }

    fn of_file(path: &Path, before: Option<&NameServers>) -> NameServers {
        let state = read(path).unwrap_or_else(|e| {
            log::warn!("dns", file = path, error = Show(&e));
            let before = before.filter(|b| b.file.as_deref() == Some(path));
            match before.map(|b| lock::lock(&b.state)) {
                Some(state) => State::new(state.servers.clone(), state.stamp),
                None => State::new(parse_resolv_conf(b""), None),
            }
        });
        NameServers { file: Some(path.to_path_buf()), state: Mutex::new(state) }
    }

    /// What asks them.  Looks at the file now and then.
    pub fn resolver(&self) -> Arc<Resolver> {
        let mut state = lock::lock(&self.state);
        if let Some(path) = self.file.as_deref().filter(|_| state.looked.elapsed() >= LOOK) {
            state.look(path);
        }
        Arc::clone(&state.resolver)
    }
}

impl State {
    fn new(servers: Vec<SocketAddr>, stamp: Option<SystemTime>) -> State {
        let resolver = Arc::new(Resolver::new(servers.clone(), TRY_TIME));
        State { servers, resolver, stamp, looked: Since::now() }
    }

    /// Takes over what the file says if it is another now.
    fn look(&mut self, path: &Path) {
        self.looked = Since::now();
        match stamp(path) {
            Ok(stamp) if stamp == self.stamp => {}
            Ok(_) => match read(path) {
                Ok(new) if new.servers != self.servers => {
                    log::info!("dns", file = path, servers = new.servers.len(), msg = "changed");
                    *self = new;
                }
                Ok(new) => self.stamp = new.stamp,
                Err(e) => log::warn!("dns", file = path, error = Show(&e)),
            },
            // It cannot be reached from here: what is known stays.
            Err(_) => {}
        }
    }
}

/// Without the file it is the server on this machine, as resolv.conf(5) says.
fn read(path: &Path) -> std::io::Result<State> {
    let stamp = stamp(path)?;
    let text = match std::fs::read(path) {
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        text => text?,
    };
    Ok(State::new(parse_resolv_conf(&text), stamp))
}

fn stamp(path: &Path) -> std::io::Result<Option<SystemTime>> {
    match std::fs::metadata(path) {
        Ok(meta) => meta.modified().map(Some),
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::testdir::TestDir;

    fn servers(of: &NameServers) -> Vec<String> {
        lock::lock(&of.state).servers.iter().map(|s| s.ip().to_string()).collect()
    }

    fn write(path: &Path, text: &str, secs: u64) {
        std::fs::write(path, text).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(secs);
        std::fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }

    fn look(of: &NameServers) {
        lock::lock(&of.state).look(of.file.as_deref().unwrap());
    }

    #[test]
    fn the_file_may_come_and_change_after_the_start() {
        let dir = TestDir::new();
        let path = dir.path().join("resolv.conf");
        let all = NameServers::of_file(&path, None);
        assert_eq!(servers(&all), ["127.0.0.1"]);
        write(&path, "nameserver 192.0.2.1\n", 1000);
        look(&all);
        assert_eq!(servers(&all), ["192.0.2.1"]);
        write(&path, "nameserver 192.0.2.2\nnameserver 2001:db8::1\n", 2000);
        look(&all);
        assert_eq!(servers(&all), ["192.0.2.2", "2001:db8::1"]);
    }

    /// A link to what the sandbox hides looks like this.
    #[test]
    fn a_file_out_of_reach_changes_nothing() {
        let dir = TestDir::new();
        let path = dir.path().join("resolv.conf");
        write(&path, "nameserver 192.0.2.1\n", 1000);
        let before = NameServers::of_file(&path, None);
        std::fs::remove_file(&path).unwrap();
        std::os::unix::fs::symlink("resolv.conf", &path).unwrap();
        look(&before);
        assert_eq!(servers(&before), ["192.0.2.1"]);
        let after = NameServers::of_file(&path, Some(&before));
        assert_eq!(servers(&after), ["192.0.2.1"]);
        let another = NameServers::fixed(vec!["192.0.2.9:53".parse().unwrap()]);
        assert_eq!(servers(&NameServers::of_file(&path, Some(&another))), ["127.0.0.1"]);
    }
}
